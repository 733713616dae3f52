"""A list of samples, wherever they lie: picture files, halves of side-by-side pictures, TFRecords, arrays; with labels."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from torch import Tensor

from diptych.data import tfrecords
from diptych.images.files import Array, Pixels, decode, decode_bytes, to_bytes

SHOWN = 10  # names of classes, in a line


class Dataset(Protocol):
    """A list of samples. A sample is one picture, or a pair of pictures of one size, A first."""

    @property
    def channels(self) -> tuple[int, ...]:
        """How each picture of a sample is read: 3 for RGB, 1 for grey."""

    def __len__(self) -> int:
        """How many samples."""

    def describe(self, height: int, width: int) -> str:
        """What was found, in words, for pictures of this size."""

    def name(self, index: int) -> str:
        """What the sample is called: its path below the data folder, without the suffix."""

    def files(self, index: int) -> str:
        """The file or files that the sample is read from, for messages."""

    def load(self, index: int) -> tuple[Tensor, ...]:
        """Its pictures as uint8 `[C, H, W]`; a `ValueError` names the file that is not right."""


# ---- pairs


@dataclass(frozen=True)
class SideBySide:
    """One file holds a pair: A is the left half, B the right one."""

    folder: Path
    paths: Sequence[Path]
    channels: tuple[int, int]
    taken_apart: bool = False
    """It was looked for as two sets of pictures, where a folder of single pictures would be taken for pairs."""

    def __len__(self) -> int:
        return len(self.paths)

    def describe(self, height: int, width: int) -> str:  # noqa: D102
        return f"{len(self)} side-by-side pairs, {2 * width}x{height}, A left"

    def name(self, index: int) -> str:  # noqa: D102
        return stem(self.paths[index], self.folder)

    def files(self, index: int) -> str:  # noqa: D102
        return str(self.paths[index])

    def load(self, index: int) -> tuple[Tensor, Tensor]:  # noqa: D102
        pixels = decode(self.paths[index])
        width = pixels.size[1]
        if width % 2:
            raise ValueError(
                f"{self.paths[index]}: {width} pixels wide, so it has no two equal halves; a side-by-side pair is one "
                "picture of even width, A left and B right"
            )
        half, height = width // 2, pixels.size[0]
        if self.taken_apart and width <= height:
            raise ValueError(
                f"{self.files(index)}: {width}x{height} pixels, which is no A beside a B; give two sets of pictures "
                "as two folders, --data-a DIR --data-b DIR"
            )
        left, right = (Pixels(part, alpha) for part, alpha in _halves(pixels, half))
        return to_bytes(left, self.channels[0]), to_bytes(right, self.channels[1])


def _halves(pixels: Pixels, half: int) -> list[tuple[Array, Array | None]]:
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
        return stem(self.a[index], self.folder)

    def files(self, index: int) -> str:  # noqa: D102
        return f"{self.a[index]} and {self.b[index]}"

    def load(self, index: int) -> tuple[Tensor, Tensor]:  # noqa: D102
        a, b = decode(self.a[index]), decode(self.b[index])
        if a.size != b.size:
            raise ValueError(
                f"{self.a[index]} is {_times(a.size)} and {self.b[index]} is {_times(b.size)}; "
                "the two sides of a pair must have the same size"
            )
        return to_bytes(a, self.channels[0]), to_bytes(b, self.channels[1])


# ---- single pictures


class ImageDataset(Dataset, Protocol):
    """A list of single pictures."""

    def decode(self, index: int) -> Pixels:
        """Picture `index` as it was kept, with all its bits and its alpha; a `ValueError` names what is not right."""


@dataclass(frozen=True)
class FileDataset:
    """Every file is a picture. `remark` says what else a person should know of how they were found."""

    folder: Path
    paths: Sequence[Path]
    channels: tuple[int]
    remark: str = ""

    def __len__(self) -> int:
        return len(self.paths)

    def describe(self, height: int, width: int) -> str:  # noqa: D102
        return f"{_counted(self)} in {self.folder}{self.remark}, {width}x{height}"

    def name(self, index: int) -> str:  # noqa: D102
        return stem(self.paths[index], self.folder)

    def files(self, index: int) -> str:  # noqa: D102
        return str(self.paths[index])

    def decode(self, index: int) -> Pixels:  # noqa: D102
        return decode(self.paths[index])

    def load(self, index: int) -> tuple[Tensor]:  # noqa: D102
        return (to_bytes(self.decode(index), self.channels[0]),)


@dataclass(frozen=True)
class RecordDataset:
    """Every record of some TFRecord files is a picture, encoded in its feature `image`."""

    folder: Path
    records: Sequence[tfrecords.Record]
    channels: tuple[int]
    remark: str = ""

    def __len__(self) -> int:
        return len(self.records)

    def describe(self, height: int, width: int) -> str:  # noqa: D102
        files = len({record.file for record in self.records})
        also = f" of {files} TFRecord file{'s' if files > 1 else ''}"
        return f"{_counted(self)}{also} in {self.folder}{self.remark}, {width}x{height}"

    def name(self, index: int) -> str:  # noqa: D102
        record = self.records[index]
        return f"{_below(record.file, self.folder)}/{record.number:05d}"

    def files(self, index: int) -> str:  # noqa: D102
        return str(self.records[index])

    def decode(self, index: int) -> Pixels:  # noqa: D102
        record = self.records[index]
        return decode_bytes(tfrecords.read_bytes(record, "image"), str(record))

    def load(self, index: int) -> tuple[Tensor]:  # noqa: D102
        return (to_bytes(self.decode(index), self.channels[0]),)


@dataclass(frozen=True)
class ArrayDataset:
    """Pictures of one size in one array file (.npy): uint8 `[N, H, W, 3]`, `[N, H, W, 1]` or `[N, H, W]`.

    The file is mapped and not read: what is not asked for stays on the disk, and the system keeps what is asked for often.
    Raises a `ValueError` that names the file when it holds anything else, or is cut off.

    >>> import tempfile
    >>> np.save(file := Path(tempfile.mkdtemp()) / "faces.npy", np.zeros((2, 8, 6), np.uint8))
    >>> faces = ArrayDataset(file, (3,))
    >>> len(faces), faces.name(1), faces.load(1)[0].shape
    (2, '00001', torch.Size([3, 8, 6]))
    """

    file: Path
    channels: tuple[int]

    def __post_init__(self) -> None:
        found, shape = self.array.dtype, self.array.shape
        if found != np.uint8:
            raise ValueError(f"{self.file}: holds {found}; 8-bit pictures are expected: save it as uint8, 0 to 255")
        if not (len(shape) == 3 or (len(shape) == 4 and shape[-1] in (1, 3))):
            raise ValueError(
                f"{self.file}: has the shape {list(shape)}; [N, H, W, 3] for RGB is expected, or [N, H, W] for grey: "
                "change the order of its axes, or leave out what is no colour"
            )
        if 0 in shape:
            raise ValueError(f"{self.file}: has the shape {list(shape)}, so there are no pictures in it; make it again")

    def __reduce__(self) -> tuple[type["ArrayDataset"], tuple[Path, tuple[int]]]:
        return ArrayDataset, (self.file, self.channels)  # a map by itself would be pickled with all its pictures

    @cached_property
    def array(self) -> Array:
        """All pictures, as they lie in the file."""
        try:
            return np.lib.format.open_memmap(self.file, mode="r")  # never unpickles, unlike what np.load can be told to
        except OSError as error:
            raise ValueError(f"{self.file}: cannot be read ({error.strerror or error})") from error
        except Exception as error:  # of a damaged header numpy raises whatever its parser did, TokenError for one
            raise ValueError(
                f"{self.file}: is no whole array of 8-bit pictures ({error}); copy it or make it again"
            ) from error

    @property
    def uniform(self) -> tuple[int, int, int]:
        """Height, width and channels of all."""
        _, height, width, *channels = self.array.shape
        return height, width, channels[0] if channels else 1

    def __len__(self) -> int:
        return len(self.array)

    def describe(self, height: int, width: int) -> str:  # noqa: D102
        return f"{_counted(self)} of {self.file}, {width}x{height}"

    def name(self, index: int) -> str:  # noqa: D102
        return f"{index:05d}"

    def files(self, index: int) -> str:  # noqa: D102
        return f"{self.file}, picture {index}"

    def decode(self, index: int) -> Pixels:  # noqa: D102
        values = np.array(self.array[index])  # a copy: the map is read-only
        return Pixels(values.reshape(*values.shape[:2], -1))

    def load(self, index: int) -> tuple[Tensor]:  # noqa: D102
        return (to_bytes(self.decode(index), self.channels[0]),)


@dataclass(frozen=True)
class LabelledDataset:
    """Single pictures, each of a class.

    >>> folder = Path("animals")
    >>> files = FileDataset(folder, [folder / "cat/1.png", folder / "a dog/1.png"], (3,))
    >>> animals = LabelledDataset(files, ["cat", "a dog"])
    >>> animals.classes, animals.label(0)
    (('a dog', 'cat'), 1)
    """

    singles: ImageDataset
    names: Sequence[str]
    """What each picture's class is called."""

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """What the classes are called, in the order of their names; numbers come first and are counted up."""
        return tuple(sorted(set(self.names), key=_counted_up))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.classes)}

    def label(self, index: int) -> int:
        """The number of a picture's class among `classes`."""
        return self._numbers[self.names[index]]

    @property
    def channels(self) -> tuple[int, ...]:  # noqa: D102
        return self.singles.channels

    def __len__(self) -> int:
        return len(self.singles)

    def describe(self, height: int, width: int) -> str:  # noqa: D102
        return f"{self.singles.describe(height, width)}, in {len(self.classes)} classes ({_shortened(self.classes)})"

    def name(self, index: int) -> str:  # noqa: D102
        return self.singles.name(index)

    def files(self, index: int) -> str:  # noqa: D102
        return self.singles.files(index)

    def decode(self, index: int) -> Pixels:  # noqa: D102
        return self.singles.decode(index)

    def load(self, index: int) -> tuple[Tensor, ...]:  # noqa: D102
        return self.singles.load(index)


def _counted_up(name: str) -> tuple[float, str]:
    return (int(name) if name.isdecimal() else math.inf, name)


def classes_of(sources: Sequence[Dataset]) -> tuple[str, ...]:
    """What the classes of the samples are called; none where they have no labels."""
    return sources[0].classes if isinstance(sources[0], LabelledDataset) else ()


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= SHOWN else f"{', '.join(names[: SHOWN - 1])}, ... {names[-1]}"


@dataclass(frozen=True)
class PairSide:
    """One side of side-by-side pairs, by itself."""

    pairs: SideBySide
    side: Literal[0, 1]

    @property
    def channels(self) -> tuple[int]:  # noqa: D102
        return (self.pairs.channels[self.side],)

    def __len__(self) -> int:
        return len(self.pairs)

    def describe(self, height: int, width: int) -> str:  # noqa: D102
        half = ("left", "right")[self.side]
        return f"the {half} halves of {len(self)} side-by-side pictures in {self.pairs.folder}, {width}x{height}"

    def name(self, index: int) -> str:  # noqa: D102
        return self.pairs.name(index)

    def files(self, index: int) -> str:  # noqa: D102
        return self.pairs.files(index)

    def load(self, index: int) -> tuple[Tensor]:  # noqa: D102
        return (self.pairs.load(index)[self.side],)


def stem(path: Path, folder: Path) -> str:
    """What a picture in a folder is called: its path there, without the suffix.

    >>> stem(Path("data/train/houses/1.png"), Path("data/train"))
    'houses/1'
    """
    return os.path.splitext(_below(path, folder))[0]  # noqa: PTH122 -- `with_suffix` takes seconds for 100,000 files


def _below(path: Path, folder: Path) -> str:
    return "/".join(path.parts[len(folder.parts) :])  # and so does `relative_to`


def _counted(source: Dataset) -> str:
    return f"{len(source)} picture{'s' if len(source) > 1 else ''}"


def _times(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
