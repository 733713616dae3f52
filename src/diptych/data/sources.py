"""A folder -> a list of samples. The layouts that people have are found by themselves; what is found is said aloud."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from torch import Tensor

from diptych.data import pictures

Split = Literal["train", "val", "test"]
SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
LAYOUTS = (
    "side-by-side pictures in DIR or DIR/train; DIR/A + DIR/B with the same stems; "
    "DIR/trainA + DIR/trainB; DIR/train/A + DIR/train/B"
)


class Paired(Protocol):
    """Samples that are a pair of pictures, A and B, of one size."""

    @property
    def channels(self) -> tuple[int, int]:
        """How A and B are read: 3 for RGB, 1 for grey."""

    def __len__(self) -> int:
        """How many pairs."""

    def describe(self, height: int, width: int) -> str:
        """What was found, in words, for sides of this size."""

    def name(self, index: int) -> str:
        """What the pair is called: its path below the data folder, without the suffix."""

    def files(self, index: int) -> str:
        """The file or files that the pair is read from, for messages."""

    def load(self, index: int) -> tuple[Tensor, Tensor]:
        """A and B as uint8 `[C, H, W]` of the same size; a `ValueError` names the file that is not right."""


@dataclass(frozen=True)
class SideBySide:
    """One file holds a pair: A is the left half, B the right one."""

    folder: Path
    paths: Sequence[Path]
    channels: tuple[int, int]

    def __len__(self) -> int:
        return len(self.paths)

    def describe(self, height: int, width: int) -> str:  # noqa: D102
        return f"{len(self)} side-by-side pairs, {2 * width}x{height}, A left"

    def name(self, index: int) -> str:  # noqa: D102
        return _stem(self.paths[index], self.folder)

    def files(self, index: int) -> str:  # noqa: D102
        return str(self.paths[index])

    def load(self, index: int) -> tuple[Tensor, Tensor]:  # noqa: D102
        pixels = pictures.decode(self.paths[index])
        width = pixels.size[1]
        if width % 2:
            raise ValueError(
                f"{self.paths[index]}: {width} pixels wide, so it has no two equal halves; a side-by-side pair is one "
                "picture of even width, A left and B right"
            )
        half = width // 2
        left, right = (pictures.Pixels(part, alpha) for part, alpha in _halves(pixels, half))
        return pictures.to_bytes(left, self.channels[0]), pictures.to_bytes(right, self.channels[1])


def _halves(pixels: pictures.Pixels, half: int) -> list[tuple[pictures.Array, pictures.Array | None]]:
    return [
        (pixels.values[:, part], None if pixels.alpha is None else pixels.alpha[:, part])
        for part in (slice(None, half), slice(half, None))
    ]


@dataclass(frozen=True)
class TwoFolders:
    """A pair is two files of the same stem in two folders."""

    folder: Path
    a: Sequence[Path]
    b: Sequence[Path]
    channels: tuple[int, int]

    def __len__(self) -> int:
        return len(self.a)

    def describe(self, height: int, width: int) -> str:  # noqa: D102
        return f"{len(self)} pairs in two folders, {width}x{height}"

    def name(self, index: int) -> str:  # noqa: D102
        return _stem(self.a[index], self.folder)

    def files(self, index: int) -> str:  # noqa: D102
        return f"{self.a[index]} and {self.b[index]}"

    def load(self, index: int) -> tuple[Tensor, Tensor]:  # noqa: D102
        a, b = pictures.decode(self.a[index]), pictures.decode(self.b[index])
        if a.size != b.size:
            raise ValueError(
                f"{self.a[index]} is {_times(a.size)} and {self.b[index]} is {_times(b.size)}; "
                "the two sides of a pair must have the same size"
            )
        return pictures.to_bytes(a, self.channels[0]), pictures.to_bytes(b, self.channels[1])


def find_paired(data: Path, split: Split, channels: tuple[int, int] = (3, 3)) -> Paired | None:
    """The pairs of one split below `data`, or None where there is no such split.

    A folder without splits is all "train". `channels` says how A and B are read: 3 for RGB, 1 for grey.
    Raises a `ValueError` that names what is wrong: no such folder, nothing in it, an A without its B.
    """
    folders = _folders(data)
    sides = _two_sides(data, folders, split)
    if sides is not None:
        return _match_stems(*sides, channels)
    split_folder = _first(folders, SPLIT_FOLDERS[split])
    if split_folder is None:
        if split != "train":
            return None
        splits = [name for names in SPLIT_FOLDERS.values() for name in names]
        if any(name + side in folders for name in splits for side in ("", "a", "b")):
            raise ValueError(f"{data}: has no train folder, only {_listed(folders)}; the layouts are: {LAYOUTS}")
        split_folder = data
    return SideBySide(split_folder, list(_by_stem(split_folder).values()), channels)


def held_out(data: Path, channels: tuple[int, int] = (3, 3)) -> tuple[Split, Paired] | None:
    """The split to measure on: val where there is one, else test, else None."""
    splits: tuple[Split, ...] = ("val", "test")
    for split in splits:
        if found := find_paired(data, split, channels):
            return split, found
    return None


def list_pictures(folder: Path) -> list[Path]:
    """All picture files in `folder` and below, by name; hidden files, hidden folders and runs are passed over."""
    found: list[str] = []
    for parent, folders, files in os.walk(folder):
        if "settings.toml" in files:  # a run inside the data: its samples and results are no data
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            os.path.join(parent, name)  # noqa: PTH118 -- a Path for each of 100,000 files takes seconds
            for name in files
            if name.lower().endswith(pictures.SUFFIXES) and not name.startswith(".")
        ]
    return [Path(name) for name in sorted(found)]


def _folders(data: Path) -> dict[str, Path]:
    if not data.exists():
        raise ValueError(f"{data}: no such folder")
    if not data.is_dir():
        raise ValueError(f"{data}: is a file; a folder of pictures is expected")
    return {entry.name.lower(): entry for entry in sorted(data.iterdir()) if entry.is_dir()}


def _first(folders: dict[str, Path], names: Sequence[str]) -> Path | None:
    return next((folders[name] for name in names if name in folders), None)


def _two_sides(data: Path, folders: dict[str, Path], split: Split) -> tuple[Path, Path] | None:
    """Where A and B of this split lie, if they lie in two folders."""
    candidates = [(folders, f"{name}{{}}") for name in SPLIT_FOLDERS[split]]  # trainA + trainB
    split_folder = _first(folders, SPLIT_FOLDERS[split])
    if split_folder:
        candidates.append((_folders(split_folder), "{}"))  # train/A + train/B
    if "a" in folders and "b" in folders:
        inside = {side: _first(_folders(folders[side]), SPLIT_FOLDERS[split]) for side in "ab"}
        candidates.append(({side: folder for side, folder in inside.items() if folder}, "{}"))  # A/train + B/train
    if split == "train" and not split_folder:
        candidates.append((folders, "{}"))  # A + B
    for places, pattern in candidates:
        a, b = places.get(pattern.format("a")), places.get(pattern.format("b"))
        if a and b:
            return a, b
        if a or b:
            raise ValueError(f"{a or b}: the other side is missing in {data}; the layouts are: {LAYOUTS}")
    return None


def _match_stems(folder_a: Path, folder_b: Path, channels: tuple[int, int]) -> TwoFolders:
    a, b = (_by_stem(folder) for folder in (folder_a, folder_b))
    for one, other, missing_in in ((a, b, folder_b), (b, a, folder_a)):
        lonely = sorted(one.keys() - other.keys())
        if lonely:
            also = f" (and {len(lonely) - 1} more like it)" if len(lonely) > 1 else ""
            raise ValueError(
                f"{one[lonely[0]]}: has no partner named {lonely[0]!r} in {missing_in}{also}; add it or remove this one"
            )
    stems = sorted(a)
    return TwoFolders(folder_a, [a[stem] for stem in stems], [b[stem] for stem in stems], channels)


def _by_stem(folder: Path) -> dict[str, Path]:
    """The pictures in a folder by name without suffix: what partners find each other by, and results are kept by."""
    by_stem: dict[str, Path] = {}
    for path in list_pictures(folder):
        stem = _stem(path, folder)
        if stem in by_stem:
            raise ValueError(
                f"{path}: {by_stem[stem].name} has the same stem, and pairs are told apart by it; rename one"
            )
        by_stem[stem] = path
    if not by_stem:
        raise ValueError(f"{folder}: no pictures found ({', '.join(pictures.SUFFIXES)}); the layouts are: {LAYOUTS}")
    return by_stem


def _stem(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _times(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _listed(folders: dict[str, Path]) -> str:
    return ", ".join(folder.name for folder in folders.values())
