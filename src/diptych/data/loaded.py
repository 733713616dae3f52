"""Data sets in files of many pictures that are read whole: what their readers give, and the dataset of it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar, TypeVarTuple

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
    """Pictures, uint8 `[N, H, W]` or `[N, H, W, C]`, and the label of each; no labels where there are none."""

    images: Array
    labels: Sequence[str] = ()


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
        """All images."""
        return self.read().images

    @cached_property
    def labels(self) -> Sequence[str]:
        """The label of each image; empty where there are none."""
        return self.read().labels

    def name(self, index: int) -> str:
        """The label and the number."""
        return "/".join([*self.labels[index : index + 1], super().name(index)])


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
