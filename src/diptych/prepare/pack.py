"""A folder of pictures -> one array file, which is mapped into memory and never decoded again; or tar files."""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, BinaryIO

import numpy as np
from rich.console import Console

from diptych.data.datasets import FileDataset, ImageDataset
from diptych.data.layouts import find_one
from diptych.data.paths import SPLIT_FOLDERS, DataPaths, Split, array_of
from diptych.files import LABEL, Label, differences, is_plain, require_plain
from diptych.images.files import ARRAY, to_bytes
from diptych.kinds import DataKind
from diptych.prepare.catalogue import megabytes
from diptych.prepare.folders import KEPT, each, locked, made_with, require_outside, say_left_out
from diptych.prepare.pack_shards import pack_shards
from diptych.prepare.resize import GivenSize, fill, parse_size
from diptych.prepare.scan import alike, samples, scan_all
from diptych.prepare.split import divide, say_alike, undivided
from diptych.progress import say
from diptych.wording import counted

KEEP_EVERY = 500
"""Pictures between notes of the progress: a killed process loses no more."""

Share = tuple[ImageDataset, Sequence[int]]
"""The rows of one array: a dataset, and the indices of its pictures."""


def pack(
    folder: Path | str,
    *,
    out: Path | str,
    shards: int = 0,
    size: GivenSize | None = None,
    count: int = 0,
    val: float = 0.0,
    seed: int = 0,
    workers: int | None = None,
    console: Console | None = None,
) -> list[str]:
    """Packs the pictures in `folder` into the array file `out`, uint8 `[N, H, W, 3]`, or into tar files.

    Both train as the folder does. Pictures are read as RGB, and are rows in the order of their names. A folder of train and
    val becomes two arrays, `out` and one of its name with `-val` (and `-test`). The arrays appear whole or not at all; the
    same call goes on with what was stopped. A hidden file beside each says what it was made with, and which picture each row
    is. In tar files lie the files of the pictures as they are.

    Returns one line for each picture that was left out because it cannot be read. Raises a `ValueError` for a problem of
    all of them: no pictures, too few, an array that exists already.

    Args:
        folder: The folder of pictures; it is only read. Its train and val become two arrays.
        out: The array to write, such as faces.npy; with shards, a folder.
        shards: Tar files to write in place of an array, with the files of single pictures, pairs or classes as they are.
        size: In pixels: 256, or 512x256 (width x height), by default 256; the middle is cut out of what does not fit.
        count: How many pictures, drawn at random; 0 takes all.
        val: Share that goes to an array of its own, from 0 to 1; near-duplicates stay on one side.
        seed: Another seed draws and divides in another way.
        workers: Threads; by default one per core.

    >>> import tempfile
    >>> from diptych.data.builtin import facades
    >>> facades.write(folder := Path(tempfile.mkdtemp()), size=32, train=5, val=2)
    >>> pack(folder, out=folder.with_name(f"{folder.name}.npy"), size="16x8")
    []
    >>> np.load(folder.with_name(f"{folder.name}-val.npy"), mmap_mode="r").shape
    (2, 8, 16, 3)
    """
    folder, out, console = Path(folder), Path(out), console or Console(stderr=True)
    if shards:
        if size is not None or count or val:
            raise ValueError(
                f"--shards {shards}: files go in as they are, all of them; leave out --size, --count and --val"
            )
        pack_shards(folder, out, shards, console)
        return []
    sides = parse_size(size or "256")
    _require_array_path(out, folder)
    say_left_out([folder], console)
    shares = _find(folder, count, val, seed)
    about = made_with("pack", {"size": sides, "count": count, "val": val, "seed": seed}, [folder])
    arrays = {split: _Array(array_of(out, split), sides, about) for split in SPLIT_FOLDERS}
    wanted = [array for split, array in arrays.items() if split in shares or (val and split == "val")]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with locked(out, "packing"):
            _require_own([*arrays.values()], wanted)
            if all(array.file.exists() for array in wanted):
                say(console, f"{out}: packed already; nothing to do")
                return [line for array in wanted for line in array.read_note().left_out.values()]
            if val:
                shares = _divide(folder, shares["train"], val, seed, workers, console)
            return [line for split in shares for line in arrays[split].make(*shares[split], workers, console)]
    except OSError as error:
        raise ValueError(
            f"{out}: cannot be written ({error.strerror or error}); mend that, and the same command goes on"
        ) from error


def _require_array_path(out: Path, folder: Path) -> None:
    if out.suffix.lower() != ARRAY:
        raise ValueError(
            f"{out}: the array is a {ARRAY} file; --out faces{ARRAY} is expected, or --shards N for tar files"
        )
    require_outside(out, [folder])


def _require_own(arrays: "list[_Array]", wanted: "list[_Array]") -> None:
    """Raises a `ValueError` for an array of another call; forgets what another call began and gave up."""
    for array in arrays:
        array.require_own(array in wanted)
    for array in arrays:
        if array not in wanted:
            array.forget()


def _find(folder: Path, count: int, val: float, seed: int) -> dict[Split, Share]:
    """The pictures of each split, or `count` of them; a `ValueError` when there are too few."""
    if not 0 <= val < 1:
        raise ValueError(f"--val {val}: a share from 0 to 1 is expected, which leaves some for train")
    each_split = {split: find_one(DataKind.IMAGES, DataPaths(folder), split) for split in SPLIT_FOLDERS}
    found = {split: images for split, images in each_split.items() if isinstance(images, ImageDataset)}
    if val:
        undivided(folder)
    if not count:
        return {split: (source, range(len(source))) for split, source in found.items()}
    if len(found) > 1:
        splits = " and ".join(found)
        raise ValueError(f"--count {count}: {folder} is divided into {splits} already; give one of them by itself")
    source = found["train"]
    if not 0 < count <= len(source):
        there = counted(len(source), "picture")
        raise ValueError(f"--count {count}: {folder} has {there}; give fewer, or leave it out for all")
    return {"train": (source, sorted(Random(seed).sample(range(len(source)), count)))}


def _divide(
    folder: Path, share: Share, val: float, seed: int, workers: int | None, console: Console
) -> dict[Split, Share]:
    """Train and val, near-duplicates on one side."""
    source, numbers = share
    assert isinstance(source, FileDataset)
    paths = {source.paths[number]: number for number in numbers}
    infos, _ = scan_all([*paths], workers, console)
    groups = alike(samples(paths, []), infos)
    say_alike(folder, groups, console)
    division = divide(groups, {"train": 1 - val, "val": val}, seed, [folder])
    held_out = {paths[path] for group in division["val"] for (path,) in group}
    # What cannot be read is in no group: it is left in train, where it will be named.
    return {"train": (source, [n for n in numbers if n not in held_out]), "val": (source, sorted(held_out))}


@dataclass
class _Note:
    """The progress of an array: the names of its rows, in their order, and why others were left out."""

    pictures: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def done(self) -> int:
        return len(self.pictures) + len(self.left_out)

    def begins(self, names: Sequence[str]) -> bool:
        """Whether the work so far was on the first of these pictures."""
        return self.pictures == [name for name in names[: self.done] if name not in self.left_out]


class _Array:
    """One array file, the part of it that is written so far, and the label that says what it is made with."""

    def __init__(self, file: Path, size: tuple[int, int], about: dict[str, Any]) -> None:
        self.file = file
        self.width, self.height = size
        self.partial = file.with_name(f".{file.name}.partial")
        self.label = Label(file.with_name(f".{file.name}{LABEL}"), about)

    def require_own(self, wanted: bool) -> None:
        """Raises a `ValueError` when the array exists and was not made by this call, or its part not by any."""
        require_plain(self.partial)
        if self.partial.exists() and not is_plain(self.label.file):
            raise ValueError(f"{self.partial}: is in the way, and no call of this command wrote it; move it away")
        if not os.path.lexists(self.file):
            return
        about = self.label.about
        other = differences(about, self.label.read() or {})
        if other or not wanted:
            how = f", made with other settings ({', '.join(other)})" if 0 < len(other) < len(about) else ""
            raise ValueError(f"{self.file}: exists already{how}; choose another --out, nothing is overwritten")

    def forget(self) -> None:
        self.partial.unlink(missing_ok=True)
        self.label.file.unlink(missing_ok=True)

    def read_note(self) -> _Note:
        """The progress; none when the label is another call's."""
        content = self.label.read() or {}
        pictures, left_out = content.get("pictures"), content.get("left-out")
        if differences(self.label.about, content) or not isinstance(pictures, list) or not isinstance(left_out, dict):
            return _Note()
        return _Note(pictures, left_out)

    def make(self, source: ImageDataset, numbers: Sequence[int], workers: int | None, console: Console) -> list[str]:
        """Writes the missing rows; returns one line for each picture that was left out."""
        note, names = self.read_note(), [source.name(number) for number in numbers]
        if self.file.exists():
            if note.done != len(names) or not note.begins(names):
                raise ValueError(f"{self.file}: its pictures have changed since it was packed; choose another --out")
            return [*note.left_out.values()]
        written = self.partial.stat().st_size if self.partial.exists() else 0
        if not note.done or not note.begins(names) or written < self._end(note):
            note = _Note()
            self.forget()  # an older label must not describe what is written now
            self._label(note)  # first: a part without a label is somebody else's
        self.partial.touch()
        with self.partial.open("r+b") as file:
            file.seek(self._end(note))
            file.truncate()
            remaining = numbers[note.done :]
            rows = each(remaining, partial(self._row, source), f"packing {self.file.name}", workers, console, note.done)
            try:
                for number, row in zip(remaining, rows, strict=True):
                    self._append(file, note, source.name(number), row)
            except KeyboardInterrupt:
                self._keep(file, note)
                raise KeyboardInterrupt(KEPT) from None
            file.seek(0)
            file.write(_header(len(note.pictures), self.height, self.width))
            self._keep(file, note)
            size = file.seek(0, os.SEEK_END)
        if not note.pictures:
            self.forget()
            raise ValueError(f"{source.files(numbers[0])}: cannot be read, and none of the others; copy them again")
        self.partial.replace(self.file)
        shape = f"{counted(len(note.pictures), 'picture')} of {self.width}x{self.height}"
        say(console, f"{self.file}: {shape}, {megabytes(size)}")
        return [*note.left_out.values()]

    def _row(self, source: ImageDataset, number: int) -> bytes | ValueError:
        try:
            pixels = fill(source.decode(number), self.height, self.width)
        except ValueError as error:
            return error
        return to_bytes(pixels, 3).permute(1, 2, 0).numpy().tobytes()

    def _append(self, file: BinaryIO, note: _Note, name: str, row: bytes | ValueError) -> None:
        if isinstance(row, bytes):
            file.write(row)
            note.pictures.append(name)
        else:
            note.left_out[name] = str(row)
        if note.done % KEEP_EVERY == 0:
            self._keep(file, note)

    def _keep(self, file: BinaryIO, note: _Note) -> None:
        """Notes the progress, after the rows are safe on the disk."""
        file.flush()
        os.fsync(file.fileno())
        self._label(note)

    def _label(self, note: _Note) -> None:
        self.label.write(**{"pictures": note.pictures, "left-out": note.left_out})

    def _end(self, note: _Note) -> int:  # in bytes
        rows = len(note.pictures)
        return len(_header(rows, self.height, self.width)) + rows * self.height * self.width * 3


def _header(rows: int, height: int, width: int) -> bytes:
    """The header of an array file; numpy leaves space in it for the number of rows to change in place."""
    header = io.BytesIO()
    shape = (rows, height, width, 3)
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()
