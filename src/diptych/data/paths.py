"""Where a user's files are: the flags that say it, the folders of splits, and the files below a folder."""

import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from diptych.data import tfrecords
from diptych.images.files import SUFFIXES

Split = Literal["train", "val", "test"]
SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
ARRAY = ".npy"


@dataclass(frozen=True)
class DataPaths:
    """The paths that a user gives: one folder or array, or one for A and one for B."""

    folder: Path
    folder_b: Path | None = None

    @classmethod
    def from_flags(cls, data: Path | str | None, data_a: Path | str | None, data_b: Path | str | None) -> Self:
        """From the flags of a command; a `ValueError` when there are too few or too many."""
        if data is not None and data_a is None and data_b is None:
            return cls(Path(data))
        if data is None and data_a is not None and data_b is not None:
            a, b = (
                Path(os.path.realpath(path)) for path in (data_a, data_b)
            )  # unlike Path.resolve, it bears circular links
            if a.is_relative_to(b) or b.is_relative_to(a):
                raise ValueError(
                    f"--data-a {data_a} and --data-b {data_b}: one holds the other; give two folders side by side"
                )
            return cls(Path(data_a), Path(data_b))
        raise ValueError("the pictures: give --data DIR, or both --data-a DIR and --data-b DIR, and not more")

    @property
    def flags(self) -> dict[str, Path]:
        """The flags, without their dashes."""
        if self.folder_b is None:
            return {"data": self.folder}
        return {"data-a": self.folder, "data-b": self.folder_b}

    @property
    def arguments(self) -> str:
        """The flags as typed on a command line."""
        return " ".join(f"--{flag} {shlex.quote(str(folder))}" for flag, folder in self.flags.items())

    def __str__(self) -> str:
        return " and ".join(str(folder) for folder in self.flags.values())


# ---- splits


def split_folder(data: Path, split: Split, hint: str) -> Path | None:
    """The folder or array of a split; a folder without splits is all "train". Error messages end with `hint`."""
    if is_array(data):
        array = array_of(data, split)
        return array if array.is_file() else None
    if arrays := arrays_in(data):
        if "train" not in arrays:
            raise ValueError(f"{data}: has no train{ARRAY}, only {listed(arrays.values())}; the layouts are: {hint}")
        return arrays.get(split)
    folders = folders_in(data)
    found = first(folders, SPLIT_FOLDERS[split])
    if found or split != "train":
        return found
    splits = [name for names in SPLIT_FOLDERS.values() for name in names]
    if any(name + side in folders for name in splits for side in ("", "a", "b")):
        raise ValueError(f"{data}: has no train folder, only {listed(folders.values())}; the layouts are: {hint}")
    return data


def array_of(file: Path, split: Split) -> Path:
    """The array file of a split, given that of the training split.

    >>> array_of(Path("faces.npy"), "val").name
    'faces-val.npy'
    """
    return file if split == "train" else file.with_name(f"{file.stem}-{split}{file.suffix}")


def arrays_in(data: Path) -> dict[Split, Path]:
    """The arrays of the splits in a folder that contains them instead of image files."""
    folders_in(data)
    with os.scandir(data) as entries:
        names = sorted(entry.name for entry in entries if entry.name.lower().endswith(ARRAY))
    files = {name.lower(): data / name for name in names if is_array(data / name)}
    arrays = {
        split: file
        for split, words in SPLIT_FOLDERS.items()
        if (file := first(files, [word + ARRAY for word in words]))
    }
    if arrays and (picture := next(walk(data, is_image_or_record), None)):
        raise ValueError(
            f"{data}: holds arrays ({listed(arrays.values())}) and pictures ({Path(picture).name}), maybe the same ones "
            "twice; keep the one or the other in a folder of its own"
        )
    return arrays


def folders_in(data: Path) -> dict[str, Path]:
    """The folders in a folder, by name in lower case."""
    if not data.exists():
        raise ValueError(f"{data}: no such {'file' if data.suffix.lower() == ARRAY else 'folder'}")
    if is_array(data):
        raise ValueError(f"{data}: is an array of single pictures, where none belongs to another; give a folder")
    if not data.is_dir():
        raise ValueError(f"{data}: is a file; a folder of pictures is expected")
    with os.scandir(data) as entries:
        names = sorted(entry.name for entry in entries if Path(entry).is_dir())  # False for a circular link
    return {name.lower(): data / name for name in names}


def folders_of_images(folder: Path) -> list[Path]:
    """The folders with images in a folder that contains no images itself, by name."""
    if is_array(folder):
        return []
    with os.scandir(folder) as entries:
        if any(is_image_or_record(entry.name) and Path(entry).is_file() for entry in entries):
            return []
    below = folders_in(folder).values()
    return [entry for entry in below if not entry.name.startswith(".") and any(walk(entry, is_image_or_record))]


def first(paths: dict[str, Path], names: Sequence[str]) -> Path | None:
    """The path of the first name that has one."""
    return next((paths[name] for name in names if name in paths), None)


def listed(paths: Iterable[Path]) -> str:
    """Names for a message."""
    return ", ".join(path.name for path in paths)


# ---- files


def list_pictures(folder: Path) -> list[Path]:
    """All image files in `folder` and below, by name; hidden files, hidden folders and runs are skipped."""
    return list_files(folder, is_image)


def list_files(folder: Path, wanted: Callable[[str], bool]) -> list[Path]:
    """All files in `folder` and below whose name is `wanted`, by name."""
    return [Path(name) for name in sorted(walk(folder, wanted))]


def walk(folder: Path, wanted: Callable[[str], bool]) -> Iterator[str]:
    """The files of `list_files`, unsorted, as they are found."""
    for parent, folders, files in os.walk(folder):
        if "settings.toml" in files:  # a run inside the data: its previews and results are not data
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if wanted(name):
                yield os.path.join(parent, name)  # noqa: PTH118 -- a Path for each of 100,000 files takes seconds


def is_image(name: str) -> bool:
    """Whether a file has the name of an image."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def is_record(name: str) -> bool:
    """Whether a file has the name of a TFRecord file."""
    return tfrecords.NAMES.fullmatch(name) is not None and not name.startswith(".")


def is_image_or_record(name: str) -> bool:
    """Whether a file has the name of an image or of a TFRecord file."""
    return is_image(name) or is_record(name)


def is_array(path: Path) -> bool:
    """Whether it is an array file."""
    return path.suffix.lower() == ARRAY and path.is_file()
