"""Mask files: the hole of each for its picture, and the picture that each belongs to."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diptych.data.datasets import FileDataset
from diptych.data.layouts import find_singles
from diptych.data.partners import canonical, kinds, partners_of_all, split_up
from diptych.images import files, ifd, objects, tiff
from diptych.images.files import Pixels
from diptych.images.formats import MAX_PIXELS
from diptych.images.mask_pictures import REMEDY, read_hole
from diptych.images.masks import Mask
from diptych.images.spec import EIGHT_BIT, Array, NoFixedRangeError

Note = Callable[[str, str, str], None]
"""Takes a name, what is noted of it, and the details, for a line `name: what (details)`."""

CALLED = ("mask", "hole", "matte")  # in the names of masks
MOST = 0.9  # share of the picture beyond which a hole may have been meant to be what is kept


@dataclass(frozen=True)
class UserMask:
    """A person's mask, of any size."""

    name: str
    hole: Mask
    taken: str = ""
    """What was taken as the hole; empty where it was plain."""
    seen: str = ""

    def fitted(self, size: tuple[int, int], note: Note) -> Mask:
        """The hole for a picture of `size` (height, width), bool, resized by nearest neighbour.

        `note` is told of what may not be meant so. Raises a `ValueError` when all of it is a hole, or when one of the two
        lies on its side.
        """
        import cv2

        (height, width), (own_height, own_width) = size, self.hole.shape
        sizes = f"{own_width}x{own_height} for {width}x{height}"
        if abs(own_width * height - own_height * width) > max(
            *size, *self.hole.shape
        ):  # more than a pixel rounded away
            if (own_width - own_height) * (width - height) < 0:
                raise ValueError(
                    f"{self.name}: of the mask and its picture one is upright and one lies ({sizes}); turn the mask"
                )
            note(self.name, "has not the aspect ratio of its picture, and is stretched", sizes)
        hole = cv2.resize(self.hole.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT).view(
            np.bool_
        )
        share, taken = hole.mean(), self.taken or "white"
        if share == 1:
            raise ValueError(
                f"{self.name}: all of it is a hole ({taken}), so nothing is left to go by; what is kept is black"
            )
        if share == 0:
            note(self.name, "has no hole, so its picture stays as it is", "")
        elif self.taken or share > MOST:
            doubt = ", nearly all of it: invert it if the rest is meant" if share > MOST else ""
            details = [self.seen] if self.seen else []
            note(self.name, f"{taken} is taken as the hole{doubt}", ", ".join([*details, f"{share:.2%} of the pixels"]))
        return hole


def read(path: Path) -> UserMask:
    """The mask in a file; a `ValueError` that names it when it shows no hole that can be told."""
    return from_bytes(files.read_bytes(path), str(path))


def from_bytes(data: bytes, name: str, most: int = MAX_PIXELS) -> UserMask:
    """The same of the bytes of a file: a picture, or numbers as TIFF or .npy, of at most so many pixels."""
    if data.startswith(np.lib.format.MAGIC_PREFIX):
        return from_array(files.numbers_in(data, name), name)
    try:
        return from_pixels(files.decode_bytes(data, name, most), name)
    except NoFixedRangeError:
        if data.startswith(ifd.SIGNATURES) and tiff.layout(data).photometric == tiff.WHITE_IS_ZERO:
            raise ValueError(
                f"{name}: holds numbers of which the lowest is white, so black is unknown; {REMEDY}, in 8 bits"
            ) from None
        return from_array(files.numbers_in(data, name, most), name)


def from_array(array: Array, name: str = "the mask") -> UserMask:
    """The same of an array, which `objects.pixels_of` understands, or of booleans."""
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(EIGHT_BIT.full)
    return from_pixels(objects.pixels_of(array, name), name)


def from_pixels(pixels: Pixels, name: str = "the mask") -> UserMask:
    """The same of a picture.

    >>> mask = from_pixels(Pixels(np.array([[[0], [1]]], np.uint8)))
    >>> mask.fitted((2, 4), lambda *line: print(*line)).astype(int).tolist()
    the mask the higher of its two levels is taken as the hole 0 and 1, 50.00% of the pixels
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    try:
        return UserMask(name, *read_hole(pixels))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def among(names: Sequence[str], mask: Path) -> tuple[set[str], str]:
    """Those of some pictures in the folder `mask` that are the masks of the others, and what their names have more.

    A `ValueError` where names tell several kinds apart, and not which of them are the masks.

    >>> found, affix = among(["cat", "cat_mask", "dog", "dog_mask"], Path("photos"))
    >>> sorted(found), affix
    (['cat_mask', 'dog_mask'], '*_mask')
    """
    by_name = {canonical(name): name for name in names}
    found = kinds(by_name)
    if not found:
        return set(), ""
    of_masks = [affix for affix in found.affixes if any(word in str(affix).lower() for word in CALLED)]
    if len(of_masks) != 1 or len(found.affixes) != 2:
        raise ValueError(
            f"--mask {mask}: holds {len(found.affixes)} pictures of each name ({', '.join(map(str, found.affixes))}), and "
            "names do not say which are the masks; put the masks in a folder of their own, named like their pictures"
        )
    divided, _ = split_up(by_name, found.affixes)
    return {by_name[name] for name in divided[of_masks[0]].values()}, str(of_masks[0])


def match(names: Sequence[str], mask: Path, pictures: Sequence[Path] = ()) -> list[Path]:
    """The mask file for each picture: `mask` itself for all, or one in the folder `mask`, where the pictures may lie too.

    There it has the name of its picture, or one that differs in the same way for all, as cat_mask does from cat. `names`
    are the paths of the `pictures` below their folder, without suffix. Raises a `ValueError` that names one without mask.
    """
    if not mask.is_dir():
        if not mask.exists():
            raise ValueError(f"--mask {mask}: no such file or folder")
        return [mask] * len(names)
    masks = find_singles(mask)
    if not isinstance(masks, FileDataset):
        raise ValueError(f"--mask {mask}: masks are picture files, one for each picture or one for all")
    by_name = {canonical(masks.name(index)): path for index, path in enumerate(masks.paths)}
    own = {os.path.realpath(picture) for picture in pictures}
    others = {name for name, path in by_name.items() if os.path.realpath(path) not in own}
    names = [canonical(name) for name in names]
    missing = [name for name in names if name not in by_name]
    ways = [] if others.issuperset(names) else partners_of_all(names, others)
    if not ways and not missing:  # maybe the pictures themselves, with holes in their alpha
        ways = [names]
    if len(ways) > 1:
        several = ", ".join(way[0] for way in ways)
        raise ValueError(
            f"--mask {mask}: has several masks for {names[0]!r} ({several}); give a folder that has one of each"
        )
    if not ways:
        more = f" (and {len(missing) - 1} more are missing)" if len(missing) > 1 else ""
        raise ValueError(f"--mask {mask}: has no mask named {missing[0]!r}{more}; add it, black where nothing is to do")
    return [by_name[name] for name in ways[0]]
