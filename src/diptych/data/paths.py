"""Where a user's files are: the flags that say it, the folders of splits, and the files below a folder."""

import os
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

from diptych.data import tfrecords, unread
from diptych.data.remote import spelled
from diptych.data.walk import distinct, folders_below, walk
from diptych.images.files import ARRAY, SUFFIXES

SHOWN = 4  # names in a line
Split = Literal["train", "val", "test"]
SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class DataPaths:
    """The paths that a user gives, one folder or array, or one for A and one for B; and how A and B are told apart."""

    folder: Path
    folder_b: Path | None = None
    suffix_a: str = ""
    """What the names of A end in; empty where it is to be found."""
    suffix_b: str = ""
    halves: bool = False
    """Every picture is a pair, whatever its shape."""

    @classmethod
    def from_flags(
        cls,
        data: Path | str | None,
        data_a: Path | str | None,
        data_b: Path | str | None,
        suffix_a: str | None = None,
        suffix_b: str | None = None,
        halves: bool | None = False,
    ) -> Self:
        """From the flags of a command; a `ValueError` when there are too few or too many."""
        suffix_a, suffix_b = (without_file_suffix(suffix or "") for suffix in (suffix_a, suffix_b))
        if suffix_a and suffix_a == suffix_b and data is not None:
            raise ValueError(
                f"--suffix-a {suffix_a} and --suffix-b {suffix_b}: are the same, which tells nothing apart"
            )
        if halves and (data is None or suffix_a or suffix_b):
            raise ValueError(
                "--halves: every picture of --data DIR holds A beside its B; leave out the flags that say where A and B are"
            )
        if data is not None and data_a is None and data_b is None:
            return cls(Path(data), None, suffix_a, suffix_b, bool(halves))
        if data is None and data_a is not None and data_b is not None:
            a, b = (
                Path(os.path.realpath(path)) for path in (data_a, data_b)
            )  # unlike Path.resolve, it bears circular links
            if a.is_relative_to(b) or b.is_relative_to(a):
                raise ValueError(
                    f"--data-a {data_a} and --data-b {data_b}: one holds the other; give two folders side by side"
                )
            return cls(Path(data_a), Path(data_b), suffix_a, suffix_b)
        raise ValueError("the pictures: give --data DIR, or both --data-a DIR and --data-b DIR, and not more")

    @property
    def flags(self) -> dict[str, Path]:
        """The flags of the folders, without their dashes."""
        if self.folder_b is None:
            return {"data": self.folder}
        return {"data-a": self.folder, "data-b": self.folder_b}

    @property
    def typed(self) -> tuple[str, str]:
        """The suffixes of A and B."""
        return self.suffix_a, self.suffix_b

    @property
    def suffixes(self) -> dict[str, str]:
        """The flags of the suffixes that are given, without their dashes."""
        return {flag: text for flag, text in (("suffix-a", self.suffix_a), ("suffix-b", self.suffix_b)) if text}

    @property
    def reading(self) -> dict[str, str | bool]:
        """What settings.toml notes beside the folders."""
        return {**self.suffixes, **({"halves": True} if self.halves else {})}

    def reads(self, other: "DataPaths") -> "DataPaths":
        """Other folders, where A and B are told apart as in these."""
        halves = self.halves and other.folder_b is None
        return replace(other, suffix_a=self.suffix_a, suffix_b=self.suffix_b, halves=halves)

    @property
    def arguments(self) -> str:
        """The flags as typed on a command line."""
        folders = {flag: spelled(folder) for flag, folder in self.flags.items()}
        given = " ".join(typed_flag(flag, value) for flag, value in {**folders, **self.suffixes}.items())
        return f"{given} --halves" if self.halves else given

    def __str__(self) -> str:
        return " and ".join(map(spelled, self.flags.values()))


def typed_flag(flag: str, value: str) -> str:
    """A flag and its value as typed on a command line; a value that begins with a dash would be read as another flag.

    >>> typed_flag("suffix-a", "_A"), typed_flag("suffix-a", "-A")
    ('--suffix-a _A', '--suffix-a=-A')
    """
    return f"--{flag}{'=' if value.startswith('-') else ' '}{shlex.quote(value)}"


def without_file_suffix(text: str) -> str:
    """What a name ends in before the suffix of its file, which somebody may have typed too.

    >>> without_file_suffix("_A.png")
    '_A'
    """
    return text[: text.rindex(".")] if text.lower().endswith(SUFFIXES) else text


# ---- splits

LIKE_SPLIT = re.compile(
    r"(?P<before>.*?[^a-z])??(?P<word>train|test|val|valid|validation|eval|dev|fold)(ing|set|data|x)?([^a-z].*)?",
    re.IGNORECASE,
)


def _are_like_splits(names: Iterable[str]) -> bool:
    """Whether all are named much like splits. Of steam_train and model_train one is as good a split as the other."""
    found = [LIKE_SPLIT.fullmatch(name) for name in names]
    before = {like["before"] for like in found if like}
    words = {like["word"].lower() for like in found if like}
    return len(found) > 1 and all(found) and len(before) == 1 and (before == {None} or len(words) > 1)


def require_no_hidden_splits(folders: Sequence[Path], taken_for: str) -> None:
    """Raises a `ValueError` where all of some folders are named much like splits, which would be taken for something else.

    >>> require_no_hidden_splits([Path("data/train_set"), Path("data/test_set")], "A and B")
    Traceback (most recent call last):
        ...
    ValueError: data: train_set, test_set look like splits, and not like A and B; name them train, val or test, or give ...
    """
    words = {word for names in SPLIT_FOLDERS.values() for word in names}
    names = [path.name for path in folders]
    if _are_like_splits(names) and not words.issuperset(map(str.lower, names)):
        trained = next((path for path in folders if "train" in path.name.lower()), folders[0])
        raise ValueError(
            f"{folders[0].parent}: {', '.join(names[:SHOWN])} look like splits, and not like {taken_for}; name them train, "
            f"val or test, or give --data {shlex.quote(str(trained))}"
        )


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
    """The folders in a folder, by name in lower case, as `folders_below` finds them."""
    if not data.exists():
        raise ValueError(f"{data}: no such {'file' if data.suffix.lower() == ARRAY else 'folder'}")
    if is_array(data):
        raise ValueError(f"{data}: is an array of single pictures, where none belongs to another; give a folder")
    if not data.is_dir():
        raise ValueError(f"{data}: is a file; {unread.remedy(data) or 'a folder of pictures is expected'}")
    return {path.name.lower(): path for path in folders_below(data)}


def folders_of_images(folder: Path) -> list[Path]:
    """The folders with images in a folder that contains no images itself, by name."""
    if is_array(folder):
        return []
    with os.scandir(folder) as entries:
        if any(is_image_or_record(entry.name) and Path(entry).is_file() for entry in entries):
            return []
    below = distinct([*folders_in(folder).values()])
    return [entry for entry in below if any(walk(entry, is_image_or_record))]


def first(paths: dict[str, Path], names: Sequence[str]) -> Path | None:
    """The path of the first name that has one."""
    return next((paths[name] for name in names if name in paths), None)


def listed(paths: Iterable[Path]) -> str:
    """Names for a message."""
    return ", ".join(path.name for path in paths)


# ---- files


def list_pictures(folder: Path) -> list[Path]:
    """All image files in `folder` and below, by name, as `walk` finds them.

    Where there are none: arrays, each of which holds one picture.
    """
    return list_files(folder, is_image) or list_files(folder, is_array_name)


def list_files(folder: Path, wanted: Callable[[str], bool]) -> list[Path]:
    """All files in `folder` and below whose name is `wanted`, by name."""
    return [Path(name) for name in sorted(walk(folder, wanted))]


def is_image(name: str) -> bool:
    """Whether a file has the name of an image."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def is_record(name: str) -> bool:
    """Whether a file has the name of a TFRecord file."""
    return tfrecords.NAMES.fullmatch(name) is not None and not name.startswith(".")


def is_image_or_record(name: str) -> bool:
    """Whether a file has the name of an image or of a TFRecord file."""
    return is_image(name) or is_record(name)


def is_array_name(name: str) -> bool:
    """Whether a file has the name of an array, and not that of a split, which holds many pictures."""
    stem, suffix = os.path.splitext(name.lower())  # noqa: PTH122 -- as in `walk`
    return suffix == ARRAY and not name.startswith(".") and all(stem not in words for words in SPLIT_FOLDERS.values())


def is_array(path: Path) -> bool:
    """Whether it is an array file."""
    return path.suffix.lower() == ARRAY and path.is_file()
