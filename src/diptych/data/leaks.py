"""What is said about held-out pictures: that there are none, or that some are trained on too."""

import os
import shlex
import sys
from collections.abc import Hashable, Sequence
from hashlib import blake2b
from pathlib import Path

from diptych.data.datasets import (
    ArrayDataset,
    Dataset,
    FileDataset,
    FilePairs,
    LabelledDataset,
    PairSide,
    RecordDataset,
)
from diptych.data.layouts import HELD_OUT_FOLDERS
from diptych.data.loaders import evenly_spaced
from diptych.data.paths import SPLIT_FOLDERS, DataPaths, folders_in, folders_of_images
from diptych.kinds import DataKind

COMPARED = 16  # samples of A and of B
STAGES = (0, 2**12, sys.maxsize)
"""Bytes that are compared: lengths only, then a page, and the whole of what may still be the same."""


def describe(split: str, held_out: Sequence[Dataset], training: Sequence[Dataset]) -> str:
    """A line about the held-out samples that are trained on too; empty where there are none."""
    shared = sum(count_shared(*sides) for sides in zip(held_out, training, strict=False))
    unit, among = "pairs" if len(held_out[0].specs) > 1 else "pictures", "in train too, byte for byte"
    if not shared:
        for name, ours, theirs in zip("AB", _sides(held_out), _sides(training), strict=False):
            if shared := count_shared(ours, theirs):
                unit, among = f"pictures of {name}", f"{among}, with other partners"
                break
        else:
            return ""
    return (
        f"{split}: {shared} of {sum(map(len, held_out))} {unit} are {among}: numbers on them say nothing of new ones; take "
        "them out of the one or the other (`diptych data split` divides without this)"
    )


def _sides(datasets: Sequence[Dataset]) -> Sequence[Dataset]:
    """The pictures of A and of B by themselves, where pairs of files are one dataset."""
    if datasets and isinstance(pairs := datasets[0], FilePairs):
        return [FileDataset(Path(), files, pairs.specs[:1]) for files in (pairs.a, pairs.b)]
    return datasets


def count_shared(held_out: Dataset, training: Dataset) -> int:
    """How many held-out samples have the bytes of a training sample: in files, records or rows of an array."""
    ours, theirs = [*range(len(held_out))], [*range(len(training))]
    for most in STAGES:
        keys = {index: _key(held_out, index, most) for index in ours}
        their_keys = {index: _key(training, index, most) for index in theirs}
        both = ({*keys.values()} & {*their_keys.values()}) - {None}
        ours, theirs = ([index for index, key in of.items() if key in both] for of in (keys, their_keys))
    return len(ours)


def describe_same_sides(training: Sequence[Dataset]) -> str:
    """A line about A and B that are byte copies of each other, as some evenly spaced samples show; empty where not."""
    sides = _sides(training)
    if len(sides) != 2 or isinstance(sides[0], PairSide) or len(sides[0]) != len(sides[1]):
        return ""
    keys = [[_key(side, index, sys.maxsize) for index in evenly_spaced(COMPARED, len(side))] for side in sides]
    if keys[0] != keys[1] or None in keys[0]:
        return ""
    return (
        "A and B hold the same pictures, byte for byte: a network learns to copy its input; give B pictures of its own"
    )


def _key(dataset: Dataset, index: int, most: int) -> Hashable:
    """The lengths of what a sample is read from, with a digest of the first `most` bytes; None for what is not readable."""
    if isinstance(dataset, LabelledDataset):
        return _key(dataset.images, index, most)
    if isinstance(dataset, ArrayDataset):
        row = dataset.array[index]
        return row.dtype.str, row.shape, _digest(row.reshape(-1)[:most].tobytes())
    try:
        if isinstance(dataset, RecordDataset):
            record = dataset.records[index]
            pieces = [(record.file, record.offset, record.length)]
        else:
            pieces = [(path, 0, path.stat().st_size) for path in dataset.sources(index)]
        return tuple((length, _digest(_read(path, start, min(length, most)))) for path, start, length in pieces) or None
    except OSError:
        return None


def _read(path: Path, start: int, length: int) -> bytes:
    if not length:
        return b""
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length)


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


def describe_missing(kind: DataKind, paths: DataPaths, training: Sequence[Dataset]) -> str:
    """A line for data without held-out pictures, with the command that sets some aside."""
    if folder := _undivided(paths, training):
        remedy = f"`diptych data split {shlex.quote(str(folder))} --out NEW` sets some aside"
    else:
        remedy = f"put some that training does not see in a folder val{HELD_OUT_FOLDERS[kind]}"
    return f"{paths}: no val or test pictures, so that nothing can be measured; {remedy}"


def _undivided(paths: DataPaths, training: Sequence[Dataset]) -> Path | None:
    """The folder that `diptych data split` divides; None where it does not."""
    folders = [folder for dataset in training for folder in dataset.folders]
    if not folders or isinstance(training[0], RecordDataset):
        return None
    if paths.folder_b is None:
        folder = Path(os.path.commonpath(folders))
    elif paths.folder.parent == paths.folder_b.parent:
        folder = paths.folder.parent
        if folders_of_images(folder) != sorted([paths.folder, paths.folder_b]):  # it would divide others too
            return None
    else:
        return None
    words = {word + side for names in SPLIT_FOLDERS.values() for word in names for side in ("", "a", "b")}
    return None if words & folders_in(folder).keys() else folder
