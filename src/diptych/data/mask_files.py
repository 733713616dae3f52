"""Mask files: their holes, and the picture that each belongs to. White is a hole, black is kept."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diptych.data.datasets import FileDataset
from diptych.data.layouts import find_singles
from diptych.images.files import Pixels, decode, to_channels
from diptych.images.masks import Mask


def read(path: Path, size: tuple[int, int]) -> Mask:
    """The holes of a mask file for a picture of `size` (height, width), bool; a `ValueError` when all of it is a hole."""
    return from_pixels(decode(path), size, str(path))


def from_pixels(pixels: Pixels, size: tuple[int, int], name: str = "the mask") -> Mask:
    """Holes are the pixels that are more white than black, and opaque; resized to `size` by nearest neighbour.

    >>> from_pixels(Pixels(np.array([[[0], [255]]], np.uint8)), (2, 4)).astype(int).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    import cv2

    if pixels.values.max() == 1:
        raise ValueError(f"{name}: its pixels are 0 and 1, which are both black; a hole is white: 255, or all 16 bits")
    half = np.iinfo(pixels.values.dtype).max // 2
    hole = to_channels(Pixels(pixels.values), 1)[..., 0] > half
    if pixels.alpha is not None:
        hole &= pixels.alpha > half
    height, width = size
    hole = cv2.resize(hole.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT).view(np.bool_)
    if hole.all():
        raise ValueError(f"{name}: all of it is a hole (white), so nothing is left to go by; what is kept is black")
    return hole


def match(names: Sequence[str], mask: Path) -> list[Path]:
    """The mask file for each picture: `mask` itself for all, or the one of the same name in the folder `mask`.

    `names` are the pictures' paths below their folder, without suffix. Raises a `ValueError` that names one without mask.
    """
    if not mask.is_dir():
        if not mask.exists():
            raise ValueError(f"--mask {mask}: no such file or folder")
        return [mask] * len(names)
    masks = find_singles(mask)
    if not isinstance(masks, FileDataset):
        raise ValueError(f"--mask {mask}: masks are picture files, one for each picture or one for all")
    by_name = {masks.name(index): path for index, path in enumerate(masks.paths)}
    if missing := [name for name in names if name not in by_name]:
        more = f" (and {len(missing) - 1} more are missing)" if len(missing) > 1 else ""
        raise ValueError(f"--mask {mask}: has no mask named {missing[0]!r}{more}; add it, black where nothing is to do")
    return [by_name[name] for name in names]
