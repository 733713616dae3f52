"""Paths -> datasets. `LAYOUTS` is the ordered list of the ways in which people store images: the first that fits is used.

`train`, `evaluate` and `data inspect` all ask this list. A new layout is one class here, and one entry in the list.
"""

import os
import re
import shlex
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, combinations
from pathlib import Path
from typing import ClassVar

from diptych.data import cifar, hidden_splits, idx, npz, pixel_tables, remote, shards, tfrecords
from diptych.data.datasets import (
    ArrayDataset,
    Dataset,
    FileDataset,
    FilePairs,
    ImageDataset,
    LabelledDataset,
    PairSide,
    RecordDataset,
    SideBySide,
    are_halves,
    open_array,
)
from diptych.data.loaded import LoadedDataset, Source
from diptych.data.pairs import ChoiceError, Files, Typed, by_stem, chosen, in_one_folder, in_two_folders, suffix_flags
from diptych.data.partners import Affix, Affixes, are_partners, canonical, kinds, kinds_in_each, sides_in_each
from diptych.data.paths import (
    LIKE_SPLIT,
    SPLIT_FOLDERS,
    DataPaths,
    Split,
    arrays_in,
    folders_in,
    folders_of_images,
    is_array,
    is_image_or_record,
    is_record,
    list_files,
    list_pictures,
    listed,
    require_no_hidden_splits,
    split_folder,
)
from diptych.data.sides import (
    RGB,
    TWO_SIDES,
    Specs,
    first_two_by_name,
    folders_by_name,
    named_sides,
    no_images,
    too_many,
)
from diptych.data.walk import walk
from diptych.files import LABEL, Label
from diptych.images.files import size_in_header
from diptych.images.size import Size
from diptych.images.spec import ImageSpec
from diptych.kinds import DataKind, Direction

MOST_ARE = 0.75  # share of halves from which the others are the odd ones, which a look at all of them names
HELD_OUT: tuple[Split, ...] = ("val", "test")
LOOKED_AT = 16  # pictures whose shape tells whether they are pairs; each is looked at before training
ONE_SIDE = re.compile(r"_((left|right)Img8bit|gt(Fine|Coarse)_\w+|masks?|labels?|seg)$", re.IGNORECASE)
"""Names of pictures that are one side of a pair: Cityscapes' own, and those of masks and labels."""
Uniform = tuple[int, int, int]
"""Height, width and channels."""

HINTS: dict[DataKind, str] = {
    DataKind.PAIRED: TWO_SIDES,
    DataKind.UNPAIRED: TWO_SIDES,
    DataKind.IMAGES: (
        "pictures, or TFRecord files, in DIR or DIR/train, for measuring also in DIR/val or DIR/test; or arrays of "
        "pictures, FILE.npy beside FILE-val.npy or FILE-test.npy, or DIR/train.npy beside DIR/val.npy or DIR/test.npy"
    ),
    DataKind.LABELLED: (
        "a folder for each class in DIR or DIR/train, for measuring also in DIR/val or DIR/test; or MNIST as idx files, "
        "DIR/train-images-idx3-ubyte beside DIR/train-labels-idx1-ubyte, for measuring also DIR/t10k-...; or DIR/train.csv, "
        "FILE.npz, CIFAR's .bin files"
    ),
}
"""The layouts of each kind of data, for messages."""


class Layout(ABC):
    """One way in which people store images."""

    name: ClassVar[str]
    kinds: ClassVar[tuple[DataKind, ...]]
    looks_like: ClassVar[str]
    """What it expects, for explanations."""
    fits_any_images: ClassVar[bool] = False
    """It takes any folder of images, so that only their content shows whether it was meant."""

    @abstractmethod
    def find(self, kind: DataKind, paths: DataPaths, split: Split, specs: Specs) -> Sequence[Dataset] | None:
        """The datasets of a split: one of pairs or single images, or A and B.

        None where this is not the layout, so that the next one is asked; empty where it is and has no such split. A
        `ValueError` where it is the layout and something is wrong with it.
        """

    def uniform(self, paths: DataPaths) -> Uniform | None:
        """The size and channels of all training images, where one file holds them all."""
        return None

    def affixes_of_training(self, paths: DataPaths, split: Split, specs: Specs) -> Affixes | None:
        """By what the names of the training pairs differ, for pairs of another split; None where there are none."""
        with suppress(ValueError):
            for pairs in (split != "train" and self.find(DataKind.PAIRED, paths, "train", specs)) or ():
                return pairs.affixes if isinstance(pairs, FilePairs) else None
        return None

    def explain(self, paths: DataPaths, split: Split = "train") -> str:
        """One line: whether the layout fits, and why not."""
        why = f"does not fit, expects {self.looks_like}"
        for kind in self.kinds:
            try:
                if datasets := self.find(kind, paths, split, RGB):
                    hidden_splits.require_none(paths, datasets, partial(_count, kind))
                    return f"{self.name}: fits as {kind}, {' and '.join(str(len(one)) for one in datasets)} samples"
            except ValueError as error:
                why = f"does not fit, {error}"
        return f"{self.name}: {why}"


class IdxFiles(Layout):
    """The files of MNIST and its relatives."""

    name, kinds = "idx files", (DataKind.LABELLED,)
    looks_like = "DIR/train-images-idx3-ubyte beside DIR/train-labels-idx1-ubyte"

    def find(self, kind: DataKind, paths: DataPaths, split: Split, specs: Specs) -> Sequence[Dataset] | None:
        if paths.folder_b is not None or not (files := idx.idx_files(paths.folder)):
            return None
        if "train" not in files:
            images = listed(images for images, _ in files.values())
            raise ValueError(f"{paths}: has no train-images, only {images}; the layouts are: {HINTS[kind]}")
        if split not in files:
            return []
        images_file, labels_file = files[split]
        dataset = idx.IdxDataset(images_file, specs[:1], labels_file)
        return [LabelledDataset(dataset, dataset.labels)]

    def uniform(self, paths: DataPaths) -> Uniform | None:
        if files := idx.idx_files(paths.folder).get("train"):
            _, height, width = idx.shape(files[0], 3)
            return height, width, 1
        return None


class Published(Layout):
    """Labelled pictures in files of another form, as a well-known data set is published; they are read whole."""

    kinds = (DataKind.LABELLED,)

    @abstractmethod
    def sources(self, path: Path) -> Mapping[Split, Source]:
        """The splits in a folder or file; none where this is not the layout."""

    def why_not(self, path: Path) -> str:
        """Why something in a folder or file that looks like this layout is not read, in a line; empty where nothing is."""
        return ""

    def _sources(self, path: Path) -> Mapping[Split, Source]:
        """The same, but none in a folder of pictures: what lies beside them may be about them."""
        sources = self.sources(path)
        return {} if sources and any(walk(path, is_image_or_record)) else sources

    def find(self, kind: DataKind, paths: DataPaths, split: Split, specs: Specs) -> Sequence[Dataset] | None:
        if paths.folder_b is not None:
            return None
        if not (sources := self._sources(paths.folder)):
            if paths.folder.is_file() and (why := self.why_not(paths.folder)):
                raise ValueError(why)
            return None
        if "train" not in sources:
            raise ValueError(f"{paths}: has no training pictures, only {listed(one.file for one in sources.values())}")
        if split not in sources:
            return []
        dataset = LoadedDataset(sources[split].file, specs[:1], sources[split].read)
        return [LabelledDataset(dataset, dataset.labels) if dataset.labels else dataset]

    def uniform(self, paths: DataPaths) -> Uniform | None:
        if source := self._sources(paths.folder).get("train"):
            _, height, width, *channels = source.read().images.shape
            return height, width, channels[0] if channels else 1
        return None


class PixelTables(Published):
    """Tables of pixels."""

    name, looks_like = "tables of pixels", "DIR/train.csv or FILE.csv, a picture a row: label,pixel0,...,pixel783"

    def sources(self, path: Path) -> Mapping[Split, Source]:
        return pixel_tables.find(path)

    def why_not(self, path: Path) -> str:
        return pixel_tables.why_not(path)


class NpzFiles(Published):
    """Named arrays in one file."""

    name, looks_like = "arrays with labels", "FILE.npz of x_train and y_train, also x_test and y_test"

    def sources(self, path: Path) -> Mapping[Split, Source]:
        return npz.find(path)

    def why_not(self, path: Path) -> str:
        return npz.why_not(path)


class Cifar(Published):
    """CIFAR-10 and CIFAR-100."""

    name, looks_like = "CIFAR's binary version", "DIR/data_batch_1.bin, best beside DIR/batches.meta.txt"

    def sources(self, path: Path) -> Mapping[Split, Source]:
        return cifar.find(path)


class ClassFolders(Layout):
    """A folder for each class."""

    name, kinds = "a folder for each class", (DataKind.LABELLED,)
    looks_like = "DIR/cat/ + DIR/dog/, or those in DIR/train/"

    def find(self, kind: DataKind, paths: DataPaths, split: Split, specs: Specs) -> Sequence[Dataset] | None:
        _require_no_class_beside_splits(paths)
        images = _open_split(open_folder, kind, paths, split, specs[0])
        if not isinstance(images, FileDataset):
            return None
        names = [class_of(path, images.folder) for path in images.paths]
        if not any(names):
            return None
        for name in set(names):
            _require_unicode(images.folder / name)
        if not all(names):
            raise ValueError(
                f"{images.paths[names.index('')]}: lies in no class, beside folders that are classes; move it into one of "
                f"them, or away; the layouts are: {HINTS[kind]}"
            )
        return [LabelledDataset(images, [*map(canonical, names)])]


class NamedSides(Layout):
    """A folder for A and one for B, known by their names or by their flags."""

    name, kinds = "A and B in two folders", (DataKind.PAIRED, DataKind.UNPAIRED)
    looks_like = "DIR/A + DIR/B, DIR/trainA + DIR/trainB, DIR/train/A + DIR/train/B, or --data-a DIR --data-b DIR"

    def find(self, kind: DataKind, paths: DataPaths, split: Split, specs: Specs) -> Sequence[Dataset] | None:
        if paths.halves or not (sides := named_sides(paths, split)):
            return None
        if kind == DataKind.PAIRED:
            return [in_two_folders(*sides, paths.typed, specs, self.affixes_of_training(paths, split, specs))]
        return _open_sides(sides, paths, specs)


class SidesInEachFolder(Layout):
    """A and B in each of several folders, which have equal names there."""

    name, kinds = "A and B in each of several folders", (DataKind.PAIRED, DataKind.UNPAIRED)
    looks_like = "DIR/cam0/depth + DIR/cam0/rgb, DIR/cam1/depth + DIR/cam1/rgb, of equal names of files"

    def find(self, kind: DataKind, paths: DataPaths, split: Split, specs: Specs) -> Sequence[Dataset] | None:
        if paths.folder_b is not None or paths.halves or any(paths.typed):
            return None
        folder = split_folder(paths.folder, split, HINTS[kind])
        if folder is None or is_array(folder) or len(tops := folders_of_images(folder)) < 2:
            return None
        if folder == paths.folder:
            require_no_hidden_splits(tops, "A and B")
        files = by_stem(folder)
        affixes = self.affixes_of_training(paths, split, specs) or self._found(kind, folder, tops, files)
        pairs = in_one_folder(folder, files, specs=specs, known=affixes) if affixes else None
        return _sides_of(pairs, kind, folder) if pairs else None

    def _found(self, kind: DataKind, folder: Path, tops: Sequence[Path], files: Files) -> Affixes | None:
        found = sides_in_each(files)
        if not found or any(part.lower() in hidden_splits.SPLIT_OF for name in files for part in name.split("/")[:-1]):
            return None
        sides, may_be_tops = found
        may_be_tops |= kind == DataKind.UNPAIRED and len(tops) == 2  # where names need not be those of partners
        if len(sides) == 2 and (not may_be_tops or [side.before.lower() for side in sides] == ["a/", "b/"]):
            return sides[0], sides[1]
        of_tops = (
            f"--data-a {shlex.quote(str(tops[0]))} --data-b {shlex.quote(str(tops[1]))}, or " if may_be_tops else ""
        )
        raise ChoiceError(
            f"{folder}: A and B may be {f'{listed(tops)}, or ' if may_be_tops else ''}two of the folders in each of them "
            f"({', '.join(map(str, sides))}); give {of_tops}{suffix_flags(*sides[:2])}"
        )


class AnyTwoFolders(Layout):
    """Two folders of any names; the first by name is A. Where pairs are wanted they hold partners."""

    name, kinds = "A and B in the order of their names", (DataKind.PAIRED, DataKind.UNPAIRED)
    looks_like = (
        "two folders in DIR or DIR/train, such as DIR/horses + DIR/zebras, or with partners DIR/images + DIR/masks"
    )

    def find(self, kind: DataKind, paths: DataPaths, split: Split, specs: Specs) -> Sequence[Dataset] | None:
        if paths.folder_b is not None or paths.halves:
            return None
        folders = folders_by_name(paths.folder, split)
        if len(folders) > 2 and split_folder(paths.folder, split, HINTS[kind]):
            if not _hold_pairs(folders, kind, paths):
                raise too_many(folders)
        elif (sides := first_two_by_name(paths.folder, split)) and not _hold_pairs(sides, kind, paths):
            if kind == DataKind.UNPAIRED:
                return _open_sides(sides, paths, specs, f" ({self.name})")
            return self._find_pairs(sides, paths, split, specs)
        return None

    def _find_pairs(self, sides: tuple[Path, Path], paths: DataPaths, split: Split, specs: Specs) -> Sequence[Dataset]:
        a, b = (by_stem(side) for side in sides)
        title_a, title_b = (side.relative_to(paths.folder).as_posix() for side in sides)
        if not any(paths.typed):
            if inside := kinds_in_each([a, b]):
                raise ChoiceError(
                    f"{paths}: {title_a} and {title_b} may be A and B, or each of them holds both; say --data-a DIR "
                    f"--data-b DIR, or {suffix_flags(inside[0], inside[-1])}"
                )
            if not are_partners(a, b):
                raise ValueError(
                    f"{paths}: {title_a} ({len(a)}) and {title_b} ({len(b)}) hold no partners of the same names; `diptych "
                    f"train cyclegan {paths.arguments}` learns without, {_flags_for(a, b)} would say how names differ"
                )
        known = self.affixes_of_training(paths, split, specs)
        pairs = in_two_folders(*sides, paths.typed, specs, known, (title_a, title_b))
        if any(affix.before for affix in pairs.affixes) and not any(paths.typed) and _all_halves([a, b]):
            raise _may_be_either(paths.folder, *pairs.affixes)
        return [pairs]


class PartnersInOneFolder(Layout):
    """A and B in one folder, told apart by what their names end in, or begin with."""

    name, kinds = "partners in one folder", (DataKind.PAIRED, DataKind.UNPAIRED)
    looks_like = "1_A.png + 1_B.png, or cat.png + cat_mask.png, in DIR or DIR/train"

    def find(self, kind: DataKind, paths: DataPaths, split: Split, specs: Specs) -> Sequence[Dataset] | None:
        if paths.folder_b is not None or paths.halves:
            return None
        folder = split_folder(paths.folder, split, HINTS[kind])
        files = {} if folder is None or is_array(folder) else by_stem(folder)
        if not folder or not files:
            return None
        if kind == DataKind.UNPAIRED and any(paths.typed):
            return [_chosen(folder, paths.typed, side, spec) for side, spec in enumerate(specs)]
        if not any(paths.typed) and _all_halves([files]) and (found := kinds(files)):
            with suppress(ValueError):
                if split != "train" and self.find(kind, paths, "train", specs) is None:
                    return None  # the training has no partners, so that these are halves as its pictures are
            raise _may_be_either(folder, found.affixes[0], found.affixes[-1])
        pairs = in_one_folder(folder, files, paths.typed, specs, self.affixes_of_training(paths, split, specs))
        return _sides_of(pairs, kind, folder) if pairs else None


class SideBySideFiles(Layout):
    """Every file holds A and B; without pairs they are two sets."""

    name, kinds, fits_any_images = "side-by-side pictures", (DataKind.PAIRED, DataKind.UNPAIRED), True
    looks_like = "pictures of A beside B, twice as wide as tall, in DIR or DIR/train"

    def find(self, kind: DataKind, paths: DataPaths, split: Split, specs: Specs) -> Sequence[Dataset] | None:
        if paths.folder_b is not None or not (folder := split_folder(paths.folder, split, HINTS[kind])):
            return None
        folders_in(folder)
        if not (files := by_stem(folder)):
            return None
        any_shape = paths.halves or _made_by_combine(paths.folder)
        if not any_shape:
            _require_no_partners_elsewhere(paths.folder, folder, files)
            if (sizes := _sizes([files])) and _share_of_halves(sizes) < MOST_ARE:
                raise _no_halves(folder, files, sizes, kind)
        pairs = SideBySide(folder, [*files.values()], specs, any_shape)
        return [pairs] if kind == DataKind.PAIRED else [PairSide(pairs, 0), PairSide(pairs, 1)]


def _sides_of(pairs: FilePairs, kind: DataKind, folder: Path) -> Sequence[Dataset]:
    """The pairs, or where none are wanted their two sides."""
    if kind == DataKind.PAIRED:
        return [pairs]
    sides = zip((pairs.a, pairs.b), pairs.specs, pairs.affixes, strict=True)
    return [FileDataset(folder, side, (spec,), f" named {affix}") for side, spec, affix in sides]


def _require_no_partners_elsewhere(data: Path, folder: Path, files: Files) -> None:
    """Raises a `ValueError` where the pictures of a split have partners in a folder beside it, or the names of one side."""
    for other in () if folder == data else folders_in(data).values():
        like = LIKE_SPLIT.fullmatch(other.name)
        if other == folder or (like and like["word"].lower() not in folder.name.lower()):
            continue  # another split may well have pictures of the same names
        beside: Files = {}
        with suppress(ValueError):
            beside = by_stem(other)
        if beside and are_partners(files, beside):
            raise ChoiceError(
                f"{folder}: {other.name} beside it holds partners of its pictures; give --data-a {shlex.quote(str(folder))} "
                f"--data-b {shlex.quote(str(other))}, or --halves if each picture holds both"
            )
    if all(map(ONE_SIDE.search, files)):
        raise ChoiceError(
            f"{folder}: its pictures are all named as one side of pairs, such as {Path(min(files)).name!r}; give --data-a "
            "DIR --data-b DIR for the two sides, or --halves if each picture holds both"
        )


def _may_be_either(folder: Path, a: Affix, b: Affix) -> ChoiceError:
    return ChoiceError(
        f"{folder}: each picture may hold A beside its B (it is twice as wide as tall), or be one of two partners, as their "
        f"names say; give --halves, or {suffix_flags(a, b)}"
    )


def _flags_for(*sides: Files) -> str:
    """The flags by which these may be partners; an example where nothing is seen."""
    found = kinds(*sides, maybe_classes=True)
    return suffix_flags(found.affixes[0], found.affixes[-1]) if found else "--suffix-a _x --suffix-b _y"


def _hold_pairs(folders: Sequence[Path], kind: DataKind, paths: DataPaths) -> bool:
    """Whether A and B lie side by side in each of some folders: partners, or, where pairs are wanted, halves of a picture.

    If partners may as well lie in two of the folders, they do not.
    """
    files = [by_stem(folder) for folder in folders]
    if any(paths.typed):
        telling = [text for text in paths.suffixes.values() if text != "*"]  # which takes all of a side
        return bool(telling and kinds_in_each(files, telling))
    if any(are_partners(a, b) for a, b in combinations(files, 2)):
        return False
    return bool(kinds_in_each(files)) or (kind == DataKind.PAIRED and _all_halves(files))


def holds_halves_of(paths: DataPaths, size: Size) -> bool:
    """Whether the training pictures in one folder are as wide as two rectangles of the shape of `size` side by side."""
    if size.height == size.width or paths.folder_b is not None or paths.reading or shards.is_place(paths.folder):
        return False
    folder = split_folder(paths.folder, "train", TWO_SIDES)
    sizes = _sizes([by_stem(folder)]) if folder else Counter()
    return bool(sizes) and all(are_halves(height * size.width, width * size.height) for height, width in sizes)


def _all_halves(folders: Sequence[Files]) -> bool:
    sizes = _sizes(folders)
    return bool(sizes) and all(are_halves(*size) for size in sizes)


def _sizes(folders: Sequence[Files]) -> Counter[tuple[int, int]]:
    """Height and width of some evenly spaced pictures, by their headers, the commonest first."""
    files = [*chain.from_iterable(files.values() for files in folders)]
    some = files[:: max(len(files) // LOOKED_AT, 1)]
    return Counter(size for path in some if (size := size_in_header(path)))


def _share_of_halves(sizes: Counter[tuple[int, int]]) -> float:
    return sum(count for size, count in sizes.items() if are_halves(*size)) / sizes.total()


def _no_halves(folder: Path, files: Files, sizes: Counter[tuple[int, int]], kind: DataKind) -> ValueError:
    """The error for pictures that are no pairs: what was seen, and what may be meant."""
    (height, width), *_ = (size for size, _ in sizes.most_common() if not are_halves(*size))
    below = folders_of_images(folder)
    where = f" in {len(below)} folders ({listed(below)})" if below else ""
    found = (
        f"{len(files)} pictures{where}, such as {width}x{height}, and only those twice as wide as tall are A beside B"
    )
    two = f"--data-a DIR --data-b DIR for two folders, {_flags_for(files)} for partners in one"
    halves = ", --halves if each picture holds both" if width > height else ""
    single = "; single pictures are for colorize and glcic" if kind == DataKind.PAIRED else ""
    return ValueError(f"{folder}: {found}; give {two}{halves}{single}")


def _made_by_combine(folder: Path) -> bool:
    """Whether `diptych data combine` put the pairs together, which may have any shape."""
    with suppress(ValueError):
        return (Label(folder / LABEL, {}).read() or {}).get("tool") == "combine"
    return False


def _chosen(folder: Path, typed: Typed, side: int, spec: ImageSpec) -> ImageDataset:
    """The pictures of a folder that suffixes choose for A (`side` 0) or B."""
    files = by_stem(folder)
    taken = chosen(folder, files, typed, side)
    return FileDataset(folder, [*taken.values()], (spec,), f" ({len(taken)} of {len(files)}, by suffix)")


class SingleImages(Layout):
    """One folder or file of single images; such a one is also a side of unpaired data."""

    kinds: ClassVar[tuple[DataKind, ...]] = (DataKind.IMAGES, DataKind.LABELLED)

    @abstractmethod
    def open(self, folder: Path, spec: ImageSpec, remark: str = "") -> ImageDataset | None:
        """The images of one folder or file; None where this is not the layout."""

    def find(self, kind: DataKind, paths: DataPaths, split: Split, specs: Specs) -> Sequence[Dataset] | None:
        dataset = None if paths.folder_b else _open_split(self.open, kind, paths, split, specs[0])
        return [dataset] if dataset else None


class Arrays(SingleImages):
    """Images in an array file."""

    name, looks_like = "an array", "FILE.npy, or DIR/train.npy"

    def open(self, folder: Path, spec: ImageSpec, remark: str = "") -> ImageDataset | None:
        return ArrayDataset(folder, (spec,)) if is_array(folder) else None

    def uniform(self, paths: DataPaths) -> Uniform | None:
        array = paths.folder if is_array(paths.folder) else arrays_in(paths.folder).get("train")
        if not array:
            return None
        *_, channels = shape = open_array(array).shape
        is_last = len(shape) == 4 and channels < min(shape[1:3])  # else there are no channels, or they come first
        return ArrayDataset(array, (ImageSpec(channels if is_last else 3, bits=16),)).uniform


class TFRecordFiles(SingleImages):
    """Images in TFRecord files."""

    name, looks_like = "TFRecord files", "*.tfrec or *.tfrecord in DIR or DIR/train"

    def open(self, folder: Path, spec: ImageSpec, remark: str = "") -> ImageDataset | None:
        files = [] if is_array(folder) else list_files(folder, is_record)
        if not files:
            return None
        if images := list_pictures(folder):
            raise ValueError(
                f"{folder}: holds TFRecord files ({files[0].name}) and pictures ({images[0].name}), maybe the same ones "
                "twice; keep the one or the other in a folder of its own"
            )
        records = [record for file in files for record in tfrecords.list_records(file)]
        if not records:
            raise ValueError(f"{folder}: its TFRecord files hold no records; copy them again")
        return RecordDataset(folder, records, (spec,), remark)


class TarShards(SingleImages):
    """Tar files of many samples, in a folder or at an address. Two sets of unpaired ones lie in two folders."""

    name, kinds = "tar shards", tuple(DataKind)
    looks_like = (
        "*.tar in DIR or DIR/train, or an address of them, of NAME.jpg, NAME.jpg + NAME.cls, or NAME.a.jpg + NAME.b.jpg"
    )

    def open(self, folder: Path, spec: ImageSpec, remark: str = "") -> ImageDataset | None:
        tars = [] if is_array(folder) else shards.in_folder(folder)
        return _single_images(tars, DataKind.IMAGES, (spec,), remark) if tars else None

    def find(self, kind: DataKind, paths: DataPaths, split: Split, specs: Specs) -> Sequence[Dataset] | None:
        places = [*paths.flags.values()]
        remotely = any(map(remote.is_address, places))
        if remotely and (len(places) == 2) != (kind == DataKind.UNPAIRED):
            wanted = "two sets, --data-a and --data-b" if kind == DataKind.UNPAIRED else "one set, --data"
            raise ValueError(f"{paths.arguments}: {kind} pictures at an address are {wanted}")
        if not remotely and (len(places) == 2 or kind == DataKind.UNPAIRED):
            return None  # each folder is opened by itself
        found = [shards.find(place, split) for place in places]
        if None in found:
            return None
        tars = [files for files in found if files]
        if len(tars) < len(found):
            return []
        if kind == DataKind.PAIRED:
            return [_pairs_in_shards(tars[0], paths, specs)]
        return [_single_images(files, kind, (spec,)) for files, spec in zip(tars, specs, strict=False)]


def _single_images(tars: Sequence[str], kind: DataKind, specs: tuple[ImageSpec], remark: str = "") -> ImageDataset:
    samples = shards.open_samples(tars)
    if samples.sides > 1:
        raise ValueError(
            f"{samples.file(0)}: is a side of a pair, and single pictures are expected; pack the pictures of one side"
        )
    images = shards.ShardImages(samples, specs, remark)
    return LabelledDataset(images, samples.classes) if kind == DataKind.LABELLED and samples.classes else images


def _pairs_in_shards(tars: Sequence[str], paths: DataPaths, specs: Specs) -> Dataset:
    """Pairs of two members, or of one that is twice as wide as tall, which some evenly spaced ones show."""
    samples = shards.open_samples(tars)
    if samples.sides > 1:
        return shards.ShardPairs(samples, specs)
    shapes = [are_halves(*size) for size in samples.some_sizes]
    if not paths.halves and sum(shapes) < MOST_ARE * len(shapes):
        raise ValueError(
            f"{samples.file(0)}: is a single picture that is not twice as wide as tall; a pair is NAME.a.jpg and "
            "NAME.b.jpg, or give --halves if each picture holds both"
        )
    return shards.ShardHalves(samples, specs, paths.halves)


class ImageFiles(SingleImages):
    """Image files."""

    name, looks_like, fits_any_images = "single pictures", "pictures in DIR or DIR/train", True

    def open(self, folder: Path, spec: ImageSpec, remark: str = "") -> ImageDataset | None:
        files = {} if is_array(folder) else by_stem(folder)
        return FileDataset(folder, [*files.values()], (spec,), remark) if files else None


LAYOUTS: list[Layout] = [
    TarShards(),
    PixelTables(),
    NpzFiles(),
    Cifar(),
    IdxFiles(),
    ClassFolders(),
    NamedSides(),
    SidesInEachFolder(),
    AnyTwoFolders(),
    PartnersInOneFolder(),
    SideBySideFiles(),
    Arrays(),
    TFRecordFiles(),
    ImageFiles(),
]


HELD_OUT_FOLDERS: dict[DataKind, str] = {
    DataKind.PAIRED: " (val/A + val/B, or a val in each of two folders)",
    DataKind.UNPAIRED: " (val/A + val/B, or a val in each of two folders)",
    DataKind.IMAGES: " (or beside NAME.npy in NAME-val.npy)",
    DataKind.LABELLED: ", a folder for each class (beside idx files: t10k-images-idx3-ubyte and its labels)",
}
"""What a message says about a split's folder for each kind, after its name."""


# ---- asking the list


@dataclass(frozen=True)
class Match:
    """The layout that fits, and the datasets of one split."""

    layout: Layout
    datasets: Sequence[Dataset]


def match(kind: DataKind, paths: DataPaths, split: Split, specs: Specs = RGB) -> Match | None:
    """The first layout of this kind that fits; None where none does."""
    for layout in LAYOUTS:
        if kind in layout.kinds and (datasets := layout.find(kind, paths, split, specs)) is not None:
            if kind.has_sides and split != "train" and datasets:
                _require_as_in_training(layout, kind, paths, split, specs)
            if split == "train":
                hidden_splits.require_none(paths, datasets, partial(_count, kind))
            return Match(layout, datasets)
    return None


def _require_as_in_training(layout: Layout, kind: DataKind, paths: DataPaths, split: Split, specs: Specs) -> None:
    """Raises a `ValueError` where the training has A and B, stored in another way than those of this split."""
    trained = None
    with suppress(ValueError):
        trained = match(kind, paths, "train", specs)
    if trained and trained.datasets and trained.layout is not layout:
        folder = split_folder(paths.folder, split, HINTS[kind]) or paths
        raise ValueError(f"{folder}: holds no A and B as train does; the layouts are: {HINTS[kind]}")


def _count(kind: DataKind, paths: DataPaths) -> int:
    """How many files all splits have; 0 where something is wrong with one."""
    found = matches(kind, paths, [*SPLIT_FOLDERS])
    return hidden_splits.count_files([dataset for one in found for dataset in one.datasets])


def matches(kind: DataKind, paths: DataPaths, splits: Sequence[Split] = ("train",)) -> list[Match]:
    """What fits a folder that may hold anything: the match of each split, none where something is wrong with one."""
    try:
        return [found for split in splits if (found := match(kind, paths, split)) and found.datasets]
    except ValueError:
        return []


def explain(paths: DataPaths) -> list[str]:
    """One line for each layout: whether it fits, and why not."""
    only_shards = shards.is_place(paths.folder)  # where the others find no folder
    return [layout.explain(paths) for layout in LAYOUTS if isinstance(layout, TarShards) or not only_shards]


def find(kind: DataKind, paths: DataPaths, split: Split, specs: Specs = RGB) -> list[Dataset] | None:
    """The datasets of one split, or None where there is no such split.

    Paired data is one dataset of pairs, unpaired data two datasets, A and B; single images are one dataset, with labels
    where they are in classes. A folder without splits is all "train". Raises a `ValueError` that names what is wrong: no
    such folder, an empty one, an A without its B.
    """
    if not kind.has_sides and (paths.folder_b is not None or paths.reading):
        raise ValueError(
            f"{paths.arguments}: single pictures are learnt from, not an A and a B; give one --data DIR alone"
        )
    if found := match(kind, paths, split, specs):
        if split == "train" and not found.datasets:
            raise ValueError(f"{paths}: has no pictures to train on; put them in a folder train; {HINTS[kind]}")
        return [*found.datasets] or None
    folder = None if paths.folder_b else split_folder(paths.folder, split, HINTS[kind])
    if folder is None:
        return None
    for layout in LAYOUTS:
        if isinstance(layout, Published) and kind in layout.kinds and (why := layout.why_not(folder)):
            raise ValueError(why)
    raise no_images(folder, f"; the layouts are: {HINTS[kind]}" if kind.has_sides else ", and no TFRecord files")


def find_one(kind: DataKind, paths: DataPaths, split: Split, spec: ImageSpec | Specs = RGB) -> Dataset | None:
    """`find` for a kind of data that is one dataset."""
    found = find(kind, paths, split, (spec, spec) if isinstance(spec, ImageSpec) else spec)
    return found[0] if found else None


def held_out(kind: DataKind, paths: DataPaths, specs: Specs = RGB) -> tuple[Split, list[Dataset]] | None:
    """The split for evaluation: val, else test, else None. Side-by-side pairs stay pairs, whatever the kind."""
    for split in HELD_OUT:
        if found := find(kind, paths, split, specs):
            return split, [found[0].pairs] if isinstance(found[0], PairSide) else found
    return None


def input_side(datasets: Sequence[Dataset], direction: Direction) -> Dataset:
    """The dataset of the inputs of a direction: the pairs, or one side."""
    return datasets[0] if len(datasets) == 1 or direction == "AtoB" else datasets[1]


def uniform(kind: DataKind, paths: DataPaths) -> Uniform | None:
    """Height, width and channels of all training images, where one file holds them all; None elsewhere."""
    if paths.folder_b is not None or shards.is_place(paths.folder):
        return None
    asked = (layout.uniform(paths) for layout in LAYOUTS if kind in layout.kinds)
    return next((shape for shape in asked if shape), None)


def find_singles(
    folder: Path, spec: ImageSpec = RGB[0], remark: str = "", hint: str = ", and no TFRecord files"
) -> ImageDataset:
    """The images of one folder, files or the records of TFRecord files, or of one array."""
    if not is_array(folder):
        folders_in(folder)
    if dataset := open_folder(folder, spec, remark):
        return dataset
    raise no_images(folder, hint)


def open_folder(folder: Path, spec: ImageSpec, remark: str = "") -> ImageDataset | None:
    """The images of one folder or array, by the first layout of single images that fits."""
    opened = (layout.open(folder, spec, remark) for layout in LAYOUTS if isinstance(layout, SingleImages))
    return next((dataset for dataset in opened if dataset), None)


def _open_split(
    opened: Callable[[Path, ImageSpec], ImageDataset | None],
    kind: DataKind,
    paths: DataPaths,
    split: Split,
    spec: ImageSpec,
) -> ImageDataset | None:
    """The single images of a split, which lie in one folder or in each of several, such as `cat/train` and `dog/train`."""
    folder = split_folder(paths.folder, split, HINTS[kind])
    if folder not in (None, paths.folder):
        return opened(folder, spec)
    below = hidden_splits.in_each_folder(paths.folder, split)
    if below and (folders := below.get(split)):
        whole = opened(paths.folder, spec)
        return whole and _within(whole, folders)
    return None if below or folder is None else opened(folder, spec)


def _within(images: ImageDataset, folders: Sequence[Path]) -> ImageDataset:
    """Those of some images whose files lie in some folders."""
    tops = tuple(os.path.join(folder, "") for folder in folders)  # noqa: PTH118 -- ends in a slash
    names = sorted({folder.name for folder in folders})
    remark = f" ({', '.join(names)} in {len(folders)} folders)"
    if isinstance(images, RecordDataset):
        records = [record for record in images.records if str(record.file).startswith(tops)]
        return replace(images, records=records, remark=remark)
    assert isinstance(images, FileDataset)
    return replace(images, paths=[path for path in images.paths if str(path).startswith(tops)], remark=remark)


def _open_sides(sides: tuple[Path, Path], paths: DataPaths, specs: Specs, remark: str = "") -> list[ImageDataset]:
    if len({os.path.realpath(side) for side in sides}) == 1 and not all(paths.typed):
        raise ValueError(
            f"{sides[0]} and {sides[1]}: lead to the same folder; give B another, or say which of its pictures are A and B: "
            "--suffix-a _A --suffix-b _B"
        )
    hint, opened = f"; the layouts are: {TWO_SIDES}", list[ImageDataset]()
    own: tuple[Typed, Typed] = (paths.suffix_a, ""), ("", paths.suffix_b)
    for side, (folder, spec) in enumerate(zip(sides, specs, strict=True)):
        if paths.typed[side] in ("", "*"):
            images = find_singles(folder, spec, remark, hint)
            opened.append(images if paths.typed[side] else _of_one_kind(images, folder, side))
        else:
            opened.append(_chosen(folder, own[side], side, spec))
    return opened


def _of_one_kind(images: ImageDataset, folder: Path, side: int) -> ImageDataset:
    """A side; a `ChoiceError` where it holds several kinds of pictures of each name, because one kind may be meant."""
    names = [canonical(images.name(number)) for number in range(len(images))] if isinstance(images, FileDataset) else []
    found = kinds(names)
    endings = [affix.as_typed for affix in found.affixes] if found else []
    if found and (all(endings) or any(map(ONE_SIDE.search, endings))):  # else copies, or turned and mirrored pictures
        typed = next(affix.as_typed for affix in found.affixes if affix.as_typed)
        raise ChoiceError(
            f"{folder}: holds {len(found.affixes)} pictures of each name ({', '.join(map(str, found.affixes))}); say which "
            f"are {'AB'[side]}, such as --suffix-{'ab'[side]} {shlex.quote(typed)}, or --suffix-{'ab'[side]} '*' for all"
        )
    return images


# ---- classes


def class_of(path: Path, folder: Path) -> str:
    """The class of an image below a folder: the name of the top folder that it is in, "" where there is none.

    >>> class_of(Path("animals/a cat/indoors/1.png"), Path("animals"))
    'a cat'
    """
    return "".join(path.parts[len(folder.parts) : -1][:1])


def _require_no_class_beside_splits(paths: DataPaths) -> None:
    """Raises a `ValueError` where a folder could be a class or a split, as the others would be ignored."""
    if paths.folder_b is not None or is_array(paths.folder):
        return
    below = folders_of_images(paths.folder)
    require_no_hidden_splits(below, "classes")
    words = {word for names in SPLIT_FOLDERS.values() for word in names}
    splits = [path for path in below if path.name.lower() in words]
    if splits and (others := [path for path in below if path not in splits]):
        raise ValueError(
            f"{splits[0]}: is taken for a split, and beside it are {listed(others)}; rename it if it is a class, else move "
            f"them; the layouts are: {HINTS[DataKind.LABELLED]}"
        )


def _require_unicode(folder: Path) -> None:
    """Raises a `ValueError` for a folder name that a settings file cannot hold."""
    try:
        folder.name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{str(folder)!r}: the name of a class must be Unicode, and this one is not; rename the folder"
        ) from error
