"""Lists of samples, wherever they are stored: image files, halves of side-by-side images, TFRecords, arrays."""

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from diptych.data import tfrecords
from diptych.files import require_file
from diptych.images.files import Array, Pixels, decode, decode_bytes
from diptych.images.spec import ImageSpec

SHOWN = 10  # class names in a line


class Dataset(ABC):
    """A list of samples. A sample is one image, or a pair of images of one size, A first."""

    specs: tuple[ImageSpec, ...]
    """How each image of a sample is read."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; empty where samples have no labels."""
        return ()

    @abstractmethod
    def __len__(self) -> int:
        """How many samples."""

    @abstractmethod
    def describe(self, height: int, width: int) -> str:
        """One line about the dataset, for images of this size."""

    @abstractmethod
    def name(self, index: int) -> str:
        """The sample's path below the data folder, without the suffix."""

    @abstractmethod
    def files(self, index: int) -> str:
        """The file or files that the sample is read from, for messages."""

    @abstractmethod
    def load(self, index: int) -> tuple[Tensor, ...]:
        """The images of a sample: levels `[C, H, W]`, each as its spec says; a `ValueError` names a bad file."""


def _read(pixels: Pixels, spec: ImageSpec, file: str) -> Tensor:
    try:
        return spec.read(pixels.values, pixels.alpha)
    except ValueError as error:
        raise ValueError(f"{file}: {error}; see --channels-a and --channels-b") from error


@dataclass
class _Files(Dataset):
    """Every file is a sample."""

    folder: Path
    paths: Sequence[Path]
    specs: tuple[ImageSpec, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        return stem(self.paths[index], self.folder)

    def files(self, index: int) -> str:
        return str(self.paths[index])


# ---- pairs


@dataclass
class SideBySide(_Files):
    """One file holds a pair: A is the left half, B the right one."""

    taken_apart: bool = False
    """The halves are used as two unpaired sets, where a folder of single images could be taken for pairs by mistake."""

    def describe(self, height: int, width: int) -> str:
        return f"{len(self)} side-by-side pairs, {2 * width}x{height}, A left"

    def load(self, index: int) -> tuple[Tensor, Tensor]:
        file, pixels = self.files(index), decode(self.paths[index])
        height, width = pixels.size
        if width % 2:
            raise ValueError(
                f"{file}: {width} pixels wide, so it has no two equal halves; a side-by-side pair is one "
                "picture of even width, A left and B right"
            )
        if self.taken_apart and width <= height:
            raise ValueError(
                f"{file}: {width}x{height} pixels, which is no A beside a B; give two sets of pictures "
                "as two folders, --data-a DIR --data-b DIR"
            )

        def half(columns: slice, spec: ImageSpec) -> Tensor:
            alpha = None if pixels.alpha is None else pixels.alpha[:, columns]
            return _read(Pixels(pixels.values[:, columns], alpha), spec, file)

        return half(slice(width // 2), self.specs[0]), half(slice(width // 2, None), self.specs[1])


@dataclass
class TwoFolders(Dataset):
    """A pair is two files of the same stem in two folders."""

    folder: Path
    a: Sequence[Path]
    b: Sequence[Path]
    specs: tuple[ImageSpec, ImageSpec]

    def __len__(self) -> int:
        return len(self.a)

    def describe(self, height: int, width: int) -> str:
        return f"{len(self)} pairs in two folders, {width}x{height}"

    def name(self, index: int) -> str:
        return stem(self.a[index], self.folder)

    def files(self, index: int) -> str:
        return f"{self.a[index]} and {self.b[index]}"

    def load(self, index: int) -> tuple[Tensor, Tensor]:
        # One after the other: of large pictures the levels are a fraction of what decoding takes.
        a = _read(decode(self.a[index]), self.specs[0], str(self.a[index]))
        b = _read(decode(self.b[index]), self.specs[1], str(self.b[index]))
        if a.shape[1:] != b.shape[1:]:
            raise ValueError(
                f"{self.a[index]} is {_times(a)} and {self.b[index]} is {_times(b)}; "
                "the two sides of a pair must have the same size"
            )
        return a, b


# ---- single images


class ImageDataset(Dataset):
    """A list of single images."""

    @abstractmethod
    def decode(self, index: int) -> Pixels:
        """Image `index` as it is stored, with all its bits and its alpha; a `ValueError` names a bad file."""

    def load(self, index: int) -> tuple[Tensor]:
        return (_read(self.decode(index), self.specs[0], self.files(index)),)


@dataclass
class FileDataset(_Files, ImageDataset):
    """Every file is an image."""

    remark: str = ""
    """How the files were chosen, for `describe`."""

    def describe(self, height: int, width: int) -> str:
        return f"{_counted(self)} in {self.folder}{self.remark}, {width}x{height}"

    def decode(self, index: int) -> Pixels:
        return decode(self.paths[index])


@dataclass
class RecordDataset(ImageDataset):
    """Every record of some TFRecord files is an image, encoded in its feature `image`."""

    folder: Path
    records: Sequence[tfrecords.Record]
    specs: tuple[ImageSpec]
    remark: str = ""

    def __len__(self) -> int:
        return len(self.records)

    def describe(self, height: int, width: int) -> str:
        files = len({record.file for record in self.records})
        also = f" of {files} TFRecord file{'s' if files > 1 else ''}"
        return f"{_counted(self)}{also} in {self.folder}{self.remark}, {width}x{height}"

    def name(self, index: int) -> str:
        record = self.records[index]
        return f"{_below(record.file, self.folder)}/{record.number:05d}"

    def files(self, index: int) -> str:
        return str(self.records[index])

    def decode(self, index: int) -> Pixels:
        record = self.records[index]
        return decode_bytes(tfrecords.read_bytes(record, "image"), str(record))


@dataclass
class ArrayDataset(ImageDataset):
    """Images of one size in an array file (.npy): uint8 or, for 16 bits, uint16, `[N, H, W, C]` or `[N, H, W]`.

    The file is memory-mapped: only what is used is read, and the system caches it. Raises a `ValueError` that names the file
    when it holds anything else, or is truncated.

    >>> import tempfile
    >>> np.save(file := Path(tempfile.mkdtemp()) / "faces.npy", np.zeros((2, 8, 6), np.uint8))
    >>> faces = ArrayDataset(file, (ImageSpec(3),))
    >>> len(faces), faces.name(1), faces.load(1)[0].shape
    (2, '00001', torch.Size([3, 8, 6]))
    """

    file: Path
    specs: tuple[ImageSpec]

    def __post_init__(self) -> None:
        dtype, shape, [spec] = self.array.dtype, self.array.shape, self.specs
        if dtype != np.uint8 and not (dtype == np.uint16 and spec.bits == 16):
            also = ", or give --bits-a 16" if dtype == np.uint16 else ""
            raise ValueError(
                f"{self.file}: holds {dtype}; 8-bit pictures are expected: save it as uint8, 0 to 255{also}"
            )
        if not (len(shape) == 3 or (len(shape) == 4 and shape[-1] in (1, 3, spec.channels))):
            raise ValueError(
                f"{self.file}: has the shape {list(shape)}; [N, H, W, 3] for RGB is expected, or [N, H, W] for grey: "
                "change the order of its axes, or leave out what is no colour"
            )
        if 0 in shape:
            raise ValueError(f"{self.file}: has the shape {list(shape)}, so there are no pictures in it; make it again")

    def __getstate__(self) -> dict[str, Any]:
        return {"file": self.file, "specs": self.specs}  # the memory map itself would be pickled with all its images

    @cached_property
    def array(self) -> Array:
        """All images, as they are in the file."""
        return open_array(self.file)

    @property
    def uniform(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        _, height, width, *channels = self.array.shape
        return height, width, channels[0] if channels else 1

    def __len__(self) -> int:
        return len(self.array)

    def describe(self, height: int, width: int) -> str:
        return f"{_counted(self)} of {self.file}, {width}x{height}"

    def name(self, index: int) -> str:
        return f"{index:05d}"

    def files(self, index: int) -> str:
        return f"{self.file}, picture {index}"

    def decode(self, index: int) -> Pixels:
        values = np.array(self.array[index])  # a copy: the map is read-only
        return Pixels(values.reshape(*values.shape[:2], -1))


def open_array(file: Path) -> Array:
    """The array in a file, memory-mapped; a `ValueError` if it is none."""
    require_file(file)
    try:
        with np.errstate(all="ignore"):  # a shape of 2^63 is refused, and needs no warning of numpy's
            return np.lib.format.open_memmap(file, mode="r")  # never unpickles, unlike np.load with allow_pickle
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # for a damaged header numpy raises whatever its parser did, such as TokenError
        raise ValueError(f"{file}: is no whole array of 8-bit pictures ({error}); copy it or make it again") from error


@dataclass
class LabelledDataset(ImageDataset):
    """Single images, each with a class.

    >>> folder = Path("animals")
    >>> files = FileDataset(folder, [folder / "cat/1.png", folder / "a dog/1.png"], (ImageSpec(3),))
    >>> animals = LabelledDataset(files, ["cat", "a dog"])
    >>> animals.classes, animals.label(0)
    (('a dog', 'cat'), 1)
    """

    images: ImageDataset
    names: Sequence[str]
    """The name of each image's class."""

    def __post_init__(self) -> None:
        self.specs = self.images.specs

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes in order; numbers come first, in numeric order."""
        return tuple(sorted(set(self.names), key=lambda name: (int(name) if name.isdecimal() else math.inf, name)))

    @cached_property
    def _labels(self) -> dict[str, int]:
        return {name: label for label, name in enumerate(self.classes)}

    def label(self, index: int) -> int:
        """The index of an image's class in `classes`."""
        return self._labels[self.names[index]]

    def __len__(self) -> int:
        return len(self.images)

    def describe(self, height: int, width: int) -> str:
        return f"{self.images.describe(height, width)}, in {len(self.classes)} classes ({_shortened(self.classes)})"

    def name(self, index: int) -> str:
        return self.images.name(index)

    def files(self, index: int) -> str:
        return self.images.files(index)

    def decode(self, index: int) -> Pixels:
        return self.images.decode(index)


def classes_of(datasets: Sequence[Dataset]) -> tuple[str, ...]:
    """The classes of the samples; empty where they have no labels."""
    return datasets[0].classes


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= SHOWN else f"{', '.join(names[: SHOWN - 1])}, ... {names[-1]}"


@dataclass
class PairSide(Dataset):
    """One side of side-by-side pairs."""

    pairs: SideBySide
    side: Literal[0, 1]

    def __post_init__(self) -> None:
        self.specs = (self.pairs.specs[self.side],)

    def __len__(self) -> int:
        return len(self.pairs)

    def describe(self, height: int, width: int) -> str:
        half = ("left", "right")[self.side]
        return f"the {half} halves of {len(self)} side-by-side pictures in {self.pairs.folder}, {width}x{height}"

    def name(self, index: int) -> str:
        return self.pairs.name(index)

    def files(self, index: int) -> str:
        return self.pairs.files(index)

    def load(self, index: int) -> tuple[Tensor]:
        return (self.pairs.load(index)[self.side],)


def stem(path: Path, folder: Path) -> str:
    """The name of an image in a folder: its path below it, without the suffix.

    >>> stem(Path("data/train/houses/1.png"), Path("data/train"))
    'houses/1'
    """
    return os.path.splitext(_below(path, folder))[0]  # noqa: PTH122 -- `with_suffix` takes seconds for 100,000 files


def _below(path: Path, folder: Path) -> str:
    return "/".join(path.parts[len(folder.parts) :])  # `relative_to` is as slow


def _counted(dataset: Dataset) -> str:
    return f"{len(dataset)} picture{'s' if len(dataset) > 1 else ''}"


def _times(levels: Tensor) -> str:
    return f"{levels.shape[2]}x{levels.shape[1]}"
