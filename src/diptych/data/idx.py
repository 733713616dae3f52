"""The idx files of MNIST and its relatives, gzip or not: a short header, then all values.

The format: two zero bytes, the type of the values (8 for uint8), the number of dimensions, the length of each as a
big-endian 32-bit integer, the values (LeCun, Cortes, Burges, "The MNIST database of handwritten digits").
"""

import gzip
import math
import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from diptych.data.datasets import ArrayDataset
from diptych.data.paths import SPLIT_FOLDERS, Split, arrays_in, folders_in, is_array, is_image_or_record
from diptych.data.walk import walk
from diptych.files import require_file
from diptych.images.spec import Array

IDX_SPLITS: dict[Split, tuple[str, ...]] = {**SPLIT_FOLDERS, "test": ("t10k", *SPLIT_FOLDERS["test"])}
_WORDS = "|".join(chain.from_iterable(IDX_SPLITS.values()))
NAMES = re.compile(rf"(?:.*[-_. ])?({_WORDS})[-_. ](images|labels)[-_. ]idx[13](?:-ubyte)?(?:\.gz)?", re.IGNORECASE)
"""train-images-idx3-ubyte.gz, t10k-labels.idx1-ubyte, emnist-letters-train-images-idx3-ubyte: a split and a kind."""
OTHER = {"images": "labels", "labels": "images"}

UINT8 = 8
GZIP = b"\x1f\x8b"
LARGEST = 2 * 2**30  # bytes of values; the largest of the family, EMNIST, has a third of that
PIECE = 2**20


def read(file: Path, dimensions: int) -> Array:
    """The uint8 values of an idx file, gzip or not; `dimensions` is 3 for images and 1 for labels.

    Raises a `ValueError` that names the file when it holds anything else, or its length contradicts its header.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "train-labels-idx1-ubyte"
    >>> _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 7]))
    >>> read(file, 1).tolist()
    [5, 7]
    """
    with _opened(file) as stream:
        lengths = _lengths(stream, file, dimensions)
        expected = math.prod(lengths)
        if not expected:
            raise ValueError(f"{file}: says {_times(lengths)}, so there is nothing in it; copy it again")
        if expected > LARGEST:
            raise ValueError(
                f"{file}: says {_times(lengths)}, and at most {LARGEST:,} bytes are read into memory; copy it again, or "
                "save so large a set as an array (.npy), which is read where it is"
            )
        values = np.empty(expected, np.uint8)
        held = _fill(values, stream)
        held += len(stream.read(1))
    if held != expected:
        found = f"{held}" if held < expected else "more"
        raise ValueError(
            f"{file}: says {_times(lengths)}, which is {expected} bytes, and holds {found}; it was cut off or changed, copy "
            "it again"
        )
    return values.reshape(lengths)


def _fill(values: Array, stream: BinaryIO) -> int:
    """Reads as many bytes as `values` has, piece by piece: a small file unpacks to as much as its author likes."""
    space, filled = values.data, 0
    while piece := stream.read(min(PIECE, len(values) - filled)):
        space[filled : filled + len(piece)] = piece
        filled += len(piece)
    return filled


def shape(file: Path, dimensions: int) -> tuple[int, ...]:
    """The lengths in the header of an idx file; a `ValueError` as from `read`."""
    with _opened(file) as stream:
        return _lengths(stream, file, dimensions)


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed if needed."""
    require_file(file)
    try:
        with file.open("rb") as stream:
            packed = stream.read(len(GZIP)) == GZIP
            stream.seek(0)
            yield cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if packed else stream
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{file}: cannot be read, or only in part ({reason}); copy it again") from error


def _lengths(stream: BinaryIO, file: Path, dimensions: int) -> tuple[int, ...]:
    expected = bytes([0, 0, UINT8, dimensions])
    begin = stream.read(len(expected))
    if begin != expected:
        what = "pictures" if dimensions == 3 else "labels"
        raise ValueError(
            f"{file}: begins with {begin.hex(' ') or 'nothing'}, and idx files of {what} with {expected.hex(' ')}; maybe it "
            "is another file by this name, copy it again"
        )
    lengths = stream.read(4 * dimensions)
    if len(lengths) < 4 * dimensions:
        raise ValueError(f"{file}: is cut off after {len(begin) + len(lengths)} bytes; copy it again")
    return struct.unpack(f">{dimensions}I", lengths)


def _times(lengths: Sequence[int]) -> str:
    return "x".join(map(str, lengths))


@dataclass
class IdxDataset(ArrayDataset):
    """The images of an idx file, grey, each with a label from a second file.

    Raises a `ValueError` that names the file when one of the two is damaged, or their lengths differ.
    """

    labels_file: Path

    def __post_init__(self) -> None:
        if len(self.array) != len(self.labels):
            raise ValueError(
                f"{self.file}: holds {len(self.array)} pictures and {self.labels_file.name} {len(self.labels)} labels; they "
                "belong to different sets, copy both again"
            )

    @cached_property
    def array(self) -> Array:
        """All images, uint8 `[N, H, W]`."""
        return read(self.file, 3)

    @cached_property
    def labels(self) -> Sequence[str]:
        """The label of each image, as text."""
        return [str(label) for label in read(self.labels_file, 1).tolist()]

    def name(self, index: int) -> str:
        return f"{self.labels[index]}/{super().name(index)}"


def idx_files(folder: Path) -> dict[Split, tuple[Path, Path]]:
    """The idx files in a folder, images and labels, by split; a `ValueError` for one without the other, or two sets."""
    if is_array(folder):
        return {}
    folders_in(folder)
    with os.scandir(folder) as entries:
        named = sorted(entry.name for entry in entries if NAMES.fullmatch(entry.name) and entry.name[0] != ".")
    names = [name for name in named if (folder / name).is_file()]  # unlike an entry's, False for a circular link
    found: dict[tuple[str, str], Path] = {}
    for name in names:  # a plain file takes precedence over the same one compressed
        if not (parts := NAMES.fullmatch(name)) or (name.lower().endswith(".gz") and name[:-3] in names):
            continue
        split, kind = parts[1].lower(), parts[2].lower()
        if other := found.get((split, kind)):
            raise _two_sets(folder, other, folder / name)
        found[split, kind] = folder / name
    files: dict[Split, tuple[Path, Path]] = {}
    for (word, kind), file in found.items():
        if (word, OTHER[kind]) not in found:
            raise ValueError(f"{file}: has no file of {OTHER[kind]} beside it; copy that too")
        split = next(split for split, words in IDX_SPLITS.items() if word in words)
        pair = (found[word, "images"], found[word, "labels"])
        if files.setdefault(split, pair) != pair:
            raise _two_sets(folder, files[split][0], pair[0])
    others = chain(walk(folder, is_image_or_record), map(str, arrays_in(folder).values()) if files else ())
    if files and (picture := next(others, None)):
        raise ValueError(
            f"{folder}: holds idx files and pictures ({Path(picture).name}), maybe the same ones twice; keep the one or the "
            "other in a folder of its own"
        )
    return files


def _two_sets(folder: Path, one: Path, other: Path) -> ValueError:
    return ValueError(f"{folder}: holds two sets ({one.name}, {other.name}); keep each in a folder of its own")
