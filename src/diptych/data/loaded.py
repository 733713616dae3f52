"""Data sets in files of many pictures that are read whole: what their readers give, and the dataset of it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import numpy as np

from diptych.data.datasets import ArrayDataset
from diptych.data.walk import is_passed_over
from diptych.files import require_file
from diptych.images.spec import Array
from diptych.wording import brief

LARGEST = 2 * 2**30
"""Bytes of pictures that are read into memory."""

More = TypeVarTuple("More")
Read = TypeVar("Read")


@dataclass(frozen=True)
class Contents:
    """Pictures, numbers `[N, H, W]` or `[N, H, W, C]`, and the label of each; no labels where there are none."""

    images: Array
    labels: Sequence[str] = ()
    remark: str = ""
    """How they were read, where it was not plain, for `describe`."""


@dataclass(frozen=True)
class Source:
    """One split of a data set: the file that stands for it, and how it is read."""

    file: Path
    read: Callable[[], Contents]


@dataclass
class LoadedDataset(ArrayDataset):
    """The pictures of one split."""

    read: Callable[[], Contents]

    @cached_property
    def array(self) -> Array:
        """All images: levels, or with a range the numbers of the file."""
        return self._images[0]

    @cached_property
    def _images(self) -> tuple[Array, str]:
        images = self.read().images
        return (images, "") if self.specs[0].range else as_levels(self.file, images)

    def describe(self, height: int, width: int) -> str:
        """That of any array, and how it was read where that was not plain."""
        return super().describe(height, width) + "".join(filter(None, (self.read().remark, self._images[1])))

    @cached_property
    def labels(self) -> Sequence[str]:
        """The label of each image; empty where there are none."""
        return self.read().labels

    def name(self, index: int) -> str:
        """The label and the number."""
        return "/".join([*self.labels[index : index + 1], super().name(index)])


def as_levels(file: Path, images: Array) -> tuple[Array, str]:
    """uint8 of numbers of other types that are plainly 0 to 255, 0 to 1 or -1 to 1, and a remark; others stay as they are.

    >>> as_levels(Path("x.npz"), np.array([[[-1.0, 0.0, 1.0]]]))
    (array([[[  0, 128, 255]]], dtype=uint8), ', -1 to 1 read as black to white')
    >>> as_levels(Path("x.npz"), np.array([[[0, 255]]]))[0].dtype
    dtype('uint8')
    """
    if images.dtype in (np.uint8, np.uint16) or images.dtype.kind not in "biuf" or not images.size:
        return images, ""
    if images.dtype == np.bool_:
        return images.astype(np.uint8) * np.uint8(255), ""
    low, high = float(images.min()), float(images.max())
    if low >= 0 and 1 < high <= 255 and (images == np.rint(images)).all():
        return images.astype(np.uint8), ""
    if images.dtype.kind == "f" and (0 <= low <= 0.5 < high <= 1 or (-1 <= low < -0.9 and 0.9 < high <= 1)):
        black = 0 if low >= 0 else -1
        levels = np.floor((images.astype(np.float32) - black) / (1 - black) * 255 + 0.5).astype(np.uint8)
        return levels, f", {black} to 1 read as black to white"
    raise ValueError(
        f"{file}: holds {images.dtype}, {low:g} to {high:g}; 0 to 255, 0 to 1 or -1 to 1 are expected, or state its range: "
        "--range-a LOW HIGH"
    )


def once(read: Callable[[Path, *More], Read]) -> Callable[[Path, *More], Read]:
    """`read`, which is not asked again for a file that has not changed: layouts are looked for many times.

    What it raises becomes a `ValueError` that names the file.
    """

    @lru_cache(maxsize=8)
    def remembered(path: Path, size: int, time: int, *more: *More) -> Read:
        return read(path, *more)

    def reading(path: Path, *more: *More) -> Read:
        require_file(path)
        found = path.stat()
        try:
            return remembered(path, found.st_size, found.st_mtime_ns, *more)
        except MemoryError:
            raise
        except Exception as error:  # of a damaged file a decoder may raise anything
            if isinstance(error, ValueError) and str(error).startswith(str(path)):
                raise
            raise ValueError(f"{path}: is damaged or only half written ({brief(error)}); copy it again") from error

    return reading


def require_small(path: Path, size: int) -> None:
    """Raises a `ValueError` for pictures of more bytes than are read into memory."""
    if size > LARGEST:
        raise ValueError(
            f"{path}: holds {size:,} bytes of pictures, and at most {LARGEST:,} are read into memory; save them as an array "
            "(.npy), which is read where it is"
        )


def files_in(folder: Path, suffix: str) -> list[Path]:
    """The files in a folder that end so, by name; none of those in folders below it."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.name.lower().endswith(suffix))
    return [folder / name for name in names if not is_passed_over(name) and (folder / name).is_file()]
