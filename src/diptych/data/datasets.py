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
from diptych.data.partners import SAME, Affixes
from diptych.files import require_file
from diptych.images import numbers, observed
from diptych.images.files import Array, Pixels, decode_bytes
from diptych.images.spec import ImageSpec
from diptych.wording import brief

SHOWN = 10  # class names in a line
TOLERANCE = 0.02
"""How far the width of a side-by-side pair may be from twice its height."""


class Dataset(ABC):
    """A list of samples. A sample is one image, or a pair of images of one size, A first."""

    specs: tuple[ImageSpec, ...]
    """How each image of a sample is read."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; empty where samples have no labels."""
        return ()

    @property
    def variant(self) -> str:
        """What tells it from another dataset of samples of the same names; empty where names say it all."""
        return ""

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

    def sources(self, index: int) -> Sequence[Path]:
        """The files that hold this sample alone; none where one file holds many samples."""
        return ()

    @property
    def folders(self) -> Sequence[Path]:
        """The folders that were walked to find the samples; none where they were not found so."""
        return ()

    @property
    def is_streamed(self) -> bool:
        """Whether there may be too many samples to look at each before training: some are, and a bad one is replaced."""
        return False

    def ahead(self, index: int) -> None:  # noqa: B027 -- most datasets have nothing to wait for
        """Begins to read a sample that will soon be loaded, where it takes long to come."""

    @abstractmethod
    def load(self, index: int) -> tuple[Tensor, ...]:
        """The images of a sample: levels `[C, H, W]`, each as its spec says; a `ValueError` names a bad file."""

    def load_reduced(self, index: int, at_least: tuple[int, int]) -> tuple[tuple[Tensor, ...], tuple[int, int]]:
        """`load`, for images that are to be scaled down: images, and the height and width that they have in their files.

        Each may be smaller than in its file, but not below `at_least` (height, width), where that saves time. Label maps and
        16 bits never are.
        """
        sides = self.load(index)
        height, width = sides[0].shape[1:]
        return sides, (height, width)


def least_size(spec: ImageSpec, at_least: tuple[int, int] | None) -> tuple[int, int] | None:
    """The height and width to which an image may be decoded smaller; None where it may not."""
    return at_least if spec.kind == "image" and spec.bits == 8 else None


def levels_of(pixels: Pixels, spec: ImageSpec, file: str) -> Tensor:
    """The levels `[C, H, W]` that a spec reads of what was decoded; a `ValueError` names a `file` of other channels."""
    try:
        levels = spec.read(pixels.values, pixels.alpha)
    except ValueError as error:
        raise ValueError(f"{file}: {error}{'' if spec.labels else '; see --channels-a and --channels-b'}") from error
    observed.note(pixels, spec)
    return levels


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

    def sources(self, index: int) -> Sequence[Path]:
        return (self.paths[index],)

    @property
    def folders(self) -> Sequence[Path]:
        return (self.folder,)


# ---- pairs


@dataclass
class SideBySide(_Files):
    """One file holds a pair: A is the left half, B the right one."""

    any_shape: bool = False
    """They are known to be pairs; else each must be twice as wide as tall, for a single image could be cut by mistake."""

    def describe(self, height: int, width: int) -> str:
        return f"{len(self)} side-by-side pairs, {2 * width}x{height}, A left"

    def load(self, index: int) -> tuple[Tensor, Tensor]:
        return self._halves(self.files(index), self._decode(index))

    def load_reduced(self, index: int, at_least: tuple[int, int]) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        least = [least_size(spec, at_least) for spec in self.specs]
        height, width = at_least
        pixels = self._decode(index, (height, 2 * width) if all(least) else None)
        if pixels.reduced > 1 and pixels.size[1] % 2:  # the middle would lie within a pixel
            pixels = self._decode(index)
        height, width = pixels.file_size
        return self._halves(self.files(index), pixels), (height, width // 2)

    def _decode(self, index: int, at_least: tuple[int, int] | None = None) -> Pixels:
        asking = max(self.specs, key=lambda spec: bool(spec.range))  # one half may hold levels, the other one numbers
        return numbers.read(self.paths[index], asking, at_least=at_least)

    def _halves(self, file: str, pixels: Pixels) -> tuple[Tensor, Tensor]:
        height, width = pixels.file_size
        if width % 2:
            raise ValueError(
                f"{file}: {width} pixels wide, so it has no two equal halves; a side-by-side pair is one "
                "picture of even width, A left and B right"
            )
        if not (self.any_shape or are_halves(height, width)):
            raise ValueError(
                f"{file}: {width}x{height} pixels, which is no A beside its B (twice as wide as tall); remove it, or say "
                "by --halves that all are pairs"
            )

        middle = pixels.size[1] // 2

        def half(columns: slice, spec: ImageSpec) -> Tensor:
            alpha = None if pixels.alpha is None else pixels.alpha[:, columns]
            return levels_of(Pixels(pixels.values[:, columns], alpha), spec, file)

        return half(slice(middle), self.specs[0]), half(slice(middle, None), self.specs[1])


def are_halves(height: int, width: int) -> bool:
    """Whether a picture has the shape of two squares side by side.

    >>> are_halves(256, 512), are_halves(255, 512), are_halves(256, 256), are_halves(1080, 1920)
    (True, True, False, False)
    """
    return abs(width - 2 * height) <= TOLERANCE * 2 * height


@dataclass
class FilePairs(Dataset):
    """A pair is two files."""

    names: Sequence[str]
    a: Sequence[Path]
    b: Sequence[Path]
    specs: tuple[ImageSpec, ImageSpec]
    where: str = "in two folders"
    """Where the files are and how they were told apart, for `describe`."""
    affixes: Affixes = SAME
    """What the names of A and of B have beside what they share."""

    @property
    def variant(self) -> str:
        return "" if self.affixes == SAME else "{} + {}".format(*self.affixes)

    def __len__(self) -> int:
        return len(self.a)

    def describe(self, height: int, width: int) -> str:
        return f"{len(self)} pairs {self.where}, {width}x{height}"

    def name(self, index: int) -> str:
        return self.names[index]

    def files(self, index: int) -> str:
        return f"{self.a[index]} and {self.b[index]}"

    def sources(self, index: int) -> Sequence[Path]:
        return self.a[index], self.b[index]

    @property
    def folders(self) -> Sequence[Path]:
        return [Path(os.path.commonpath([path.parent for path in side])) for side in (self.a, self.b)]

    def load(self, index: int) -> tuple[Tensor, Tensor]:
        return self._load(index, None)[0]

    def load_reduced(self, index: int, at_least: tuple[int, int]) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        return self._load(index, at_least)

    def _load(self, index: int, at_least: tuple[int, int] | None) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        def side(path: Path, spec: ImageSpec) -> tuple[Tensor, tuple[int, int]]:
            pixels = numbers.read(path, spec, at_least=least_size(spec, at_least))
            return levels_of(pixels, spec, str(path)), pixels.file_size

        # One after the other: of large pictures the levels are a fraction of what decoding takes.
        a, size_a = side(self.a[index], self.specs[0])
        b, size_b = side(self.b[index], self.specs[1])
        if size_a != size_b:
            raise ValueError(
                f"{self.a[index]} is {_times(size_a)} and {self.b[index]} is {_times(size_b)}; "
                "the two sides of a pair must have the same size"
            )
        return (a, b), size_a


# ---- single images


class ImageDataset(Dataset):
    """A list of single images."""

    @abstractmethod
    def decode(self, index: int, at_least: tuple[int, int] | None = None) -> Pixels:
        """Image `index` as it is stored, with all its bits and its alpha; a `ValueError` names a bad file.

        `at_least` is that of `images.files.decode`.
        """

    def load(self, index: int) -> tuple[Tensor]:
        return (levels_of(self.decode(index), self.specs[0], self.files(index)),)

    def load_reduced(self, index: int, at_least: tuple[int, int]) -> tuple[tuple[Tensor], tuple[int, int]]:
        pixels = self.decode(index, least_size(self.specs[0], at_least))
        return (levels_of(pixels, self.specs[0], self.files(index)),), pixels.file_size


@dataclass
class FileDataset(_Files, ImageDataset):
    """Every file is an image."""

    remark: str = ""
    """How the files were chosen, for `describe`."""

    def describe(self, height: int, width: int) -> str:
        return f"{_counted(self)} in {self.folder}{self.remark}, {width}x{height}"

    def decode(self, index: int, at_least: tuple[int, int] | None = None) -> Pixels:
        return numbers.read(self.paths[index], self.specs[0], at_least=at_least)


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

    @property
    def folders(self) -> Sequence[Path]:
        return (self.folder,)

    def decode(self, index: int, at_least: tuple[int, int] | None = None) -> Pixels:
        record = self.records[index]
        return decode_bytes(tfrecords.read_bytes(record, "image"), str(record), at_least=at_least)


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
        if dtype != np.uint8 and not (dtype == np.uint16 and spec.bits == 16) and not spec.range:
            also = ", or give --bits-a 16" if dtype == np.uint16 else ", or state its range: --range-a LOW HIGH"
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

    def decode(self, index: int, at_least: tuple[int, int] | None = None) -> Pixels:
        values = np.array(self.array[index])  # a copy: the map is read-only
        pixels = Pixels(values.reshape(*values.shape[:2], -1))
        numbers.note_not_finite(pixels, self.files(index))
        return pixels


def open_array(file: Path) -> Array:
    """The array in a file, memory-mapped; a `ValueError` if it is none."""
    require_file(file)
    try:
        with np.errstate(all="ignore"):  # a shape of 2^63 is refused, and needs no warning of numpy's
            return np.lib.format.open_memmap(file, mode="r")  # never unpickles, unlike np.load with allow_pickle
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # for a damaged header numpy raises whatever its parser did, such as TokenError
        raise ValueError(
            f"{file}: is no whole array of 8-bit pictures ({brief(error)}); copy it or make it again"
        ) from error


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

    def sources(self, index: int) -> Sequence[Path]:
        return self.images.sources(index)

    @property
    def folders(self) -> Sequence[Path]:
        return self.images.folders

    @property
    def is_streamed(self) -> bool:
        return self.images.is_streamed

    def ahead(self, index: int) -> None:
        self.images.ahead(index)

    def decode(self, index: int, at_least: tuple[int, int] | None = None) -> Pixels:
        return self.images.decode(index, at_least)


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

    def sources(self, index: int) -> Sequence[Path]:
        return self.pairs.sources(index)

    @property
    def folders(self) -> Sequence[Path]:
        return self.pairs.folders

    def load(self, index: int) -> tuple[Tensor]:
        return (self.pairs.load(index)[self.side],)

    def load_reduced(self, index: int, at_least: tuple[int, int]) -> tuple[tuple[Tensor], tuple[int, int]]:
        sides, size = self.pairs.load_reduced(index, at_least)
        return (sides[self.side],), size


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


def _times(size: tuple[int, int]) -> str:
    height, width = size
    return f"{width}x{height}"
