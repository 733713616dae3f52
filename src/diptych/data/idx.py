"""The idx files of MNIST and its kin, gzip or not: a few bytes that say what is in them, then all the numbers.

The format: two zero bytes, the type of the numbers (8 for uint8), the number of dimensions, the length of each as a
big-endian 32-bit integer, the numbers (LeCun, Cortes, Burges, "The MNIST database of handwritten digits").
"""

import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from torch import Tensor

from diptych.images.files import Array, Pixels, to_bytes

SPLITS = "train|training|val|valid|validation|t10k|test|testing"
NAMES = re.compile(rf"(?:.*[-_. ])?({SPLITS})[-_. ](images|labels)[-_. ]idx[13](?:-ubyte)?(?:\.gz)?", re.IGNORECASE)
"""train-images-idx3-ubyte.gz, t10k-labels.idx1-ubyte, emnist-letters-train-images-idx3-ubyte: a split, and what it holds."""

UINT8 = 8
GZIP = b"\x1f\x8b"


def read(file: Path, dimensions: int) -> Array:
    """The uint8 numbers of an idx file with so many dimensions, 3 for pictures and 1 for labels, gzip or not.

    Raises a `ValueError` that names the file when it holds anything else, or more or less than it says.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "train-labels-idx1-ubyte"
    >>> _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 7]))
    >>> read(file, 1).tolist()
    [5, 7]
    """
    with _opened(file) as stream:
        lengths = _lengths(stream, file, dimensions)
        data = stream.read()
    expected = math.prod(lengths)
    if len(data) != expected:
        raise ValueError(
            f"{file}: says {_times(lengths)}, which is {expected} bytes, and holds {len(data)}; it was cut off or changed, "
            "copy it again"
        )
    if not expected:
        raise ValueError(f"{file}: says {_times(lengths)}, so there is nothing in it; copy it again")
    return np.frombuffer(data, np.uint8).reshape(lengths)


def shape(file: Path, dimensions: int) -> tuple[int, ...]:
    """What an idx file says of its lengths, without a look at the numbers; a `ValueError` as from `read`."""
    with _opened(file) as stream:
        return _lengths(stream, file, dimensions)


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked where it is packed."""
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


@dataclass(frozen=True)
class IdxDataset:
    """The pictures of an idx file, grey, each with the label that a second file gives it.

    Raises a `ValueError` that names the file when one of the two is not right, or has more than the other.
    """

    file: Path
    labels_file: Path
    channels: tuple[int]

    def __post_init__(self) -> None:
        if len(self.array) != len(self.labels):
            raise ValueError(
                f"{self.file}: holds {len(self.array)} pictures and {self.labels_file.name} {len(self.labels)} labels; they "
                "belong to different sets, copy both again"
            )

    @cached_property
    def array(self) -> Array:
        """All pictures, uint8 `[N, H, W]`."""
        return read(self.file, 3)

    @cached_property
    def labels(self) -> Sequence[str]:
        """What each shows: its label as it is written."""
        return [str(label) for label in read(self.labels_file, 1).tolist()]

    def __len__(self) -> int:
        return len(self.array)

    def describe(self, height: int, width: int) -> str:  # noqa: D102
        return f"{len(self)} pictures of {self.file}, {width}x{height}"

    def name(self, index: int) -> str:  # noqa: D102
        return f"{self.labels[index]}/{index:05d}"

    def files(self, index: int) -> str:  # noqa: D102
        return f"{self.file}, picture {index}"

    def decode(self, index: int) -> Pixels:  # noqa: D102
        return Pixels(np.array(self.array[index])[..., None])  # a copy: the array is read-only

    def load(self, index: int) -> tuple[Tensor]:  # noqa: D102
        return (to_bytes(self.decode(index), self.channels[0]),)
