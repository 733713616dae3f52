"""Paths -> datasets. `LAYOUTS` is the ordered list of the ways in which people store images: the first that fits is used.

`train`, `evaluate` and `data inspect` all ask this list. A new layout is one class here, and one entry in the list.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from diptych.data import idx, tfrecords
from diptych.data.datasets import (
    ArrayDataset,
    Dataset,
    FileDataset,
    ImageDataset,
    LabelledDataset,
    PairSide,
    RecordDataset,
    SideBySide,
    open_array,
)
from diptych.data.paths import (
    SPLIT_FOLDERS,
    DataPaths,
    Split,
    arrays_in,
    first,
    folders_in,
    folders_of_images,
    is_array,
    is_record,
    list_files,
    list_pictures,
    listed,
    split_folder,
)
from diptych.data.sides import RGB, TWO_SIDES, Specs, by_stem, first_two_by_name, match_stems, named_sides, no_images
from diptych.images.spec import ImageSpec
from diptych.kinds import DataKind

HELD_OUT: tuple[Split, ...] = ("val", "test")
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
        "a folder for each class in DIR or DIR/train, for measuring also in DIR/val or DIR/test; or idx files as MNIST "
        "has them, DIR/train-images-idx3-ubyte beside DIR/train-labels-idx1-ubyte, gzip or not, for measuring also "
        "DIR/t10k-..."
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

    def explain(self, paths: DataPaths, split: Split = "train") -> str:
        """One line: whether the layout fits, and why not."""
        why = f"does not fit, expects {self.looks_like}"
        for kind in self.kinds:
            try:
                if datasets := self.find(kind, paths, split, RGB):
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


class ClassFolders(Layout):
    """A folder for each class."""

    name, kinds = "a folder for each class", (DataKind.LABELLED,)
    looks_like = "DIR/cat/ + DIR/dog/, or those in DIR/train/"

    def find(self, kind: DataKind, paths: DataPaths, split: Split, specs: Specs) -> Sequence[Dataset] | None:
        _require_no_class_beside_splits(paths)
        folder = split_folder(paths.folder, split, HINTS[kind])
        images = open_folder(folder, specs[0]) if folder else None
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
        return [LabelledDataset(images, names)]


class NamedSides(Layout):
    """A folder for A and one for B, known by their names or by their flags."""

    name, kinds = "A and B in two folders", (DataKind.PAIRED, DataKind.UNPAIRED)
    looks_like = "DIR/A + DIR/B, DIR/trainA + DIR/trainB, DIR/train/A + DIR/train/B, or --data-a DIR --data-b DIR"

    def find(self, kind: DataKind, paths: DataPaths, split: Split, specs: Specs) -> Sequence[Dataset] | None:
        if not (sides := named_sides(paths, split)):
            return None
        if kind == DataKind.PAIRED:
            return [match_stems(*sides, specs)]
        return _open_sides(sides, specs)


class AnyTwoFolders(Layout):
    """Two folders of any names; the first by name is A."""

    name, kinds = "A and B in the order of their names", (DataKind.UNPAIRED,)
    looks_like = "two folders of pictures in DIR or DIR/train, such as DIR/horses + DIR/zebras"

    def find(self, kind: DataKind, paths: DataPaths, split: Split, specs: Specs) -> Sequence[Dataset] | None:
        if paths.folder_b is not None or not (sides := first_two_by_name(paths.folder, split)):
            return None
        return _open_sides(sides, specs, f" ({self.name})")


class SideBySideFiles(Layout):
    """Every file holds A and B; without pairs they are two sets."""

    name, kinds, fits_any_images = "side-by-side pictures", (DataKind.PAIRED, DataKind.UNPAIRED), True
    looks_like = "pictures of A beside B in DIR or DIR/train"

    def find(self, kind: DataKind, paths: DataPaths, split: Split, specs: Specs) -> Sequence[Dataset] | None:
        if paths.folder_b is not None or not (folder := split_folder(paths.folder, split, HINTS[kind])):
            return None
        folders_in(folder)
        if not (files := by_stem(folder)):
            return None
        pairs = SideBySide(folder, [*files.values()], specs, taken_apart=kind == DataKind.UNPAIRED)
        if kind == DataKind.PAIRED:
            return [pairs]
        has_train = first(folders_in(paths.folder), SPLIT_FOLDERS["train"])
        if split != "train" and (
            named_sides(paths, "train") or (has_train and first_two_by_name(paths.folder, "train"))
        ):
            raise ValueError(f"{folder}: holds no A and B as train does; the layouts are: {HINTS[kind]}")
        return [PairSide(pairs, 0), PairSide(pairs, 1)]


class SingleImages(Layout):
    """One folder or file of single images; such a one is also a side of unpaired data."""

    kinds = (DataKind.IMAGES, DataKind.LABELLED)

    @abstractmethod
    def open(self, folder: Path, spec: ImageSpec, remark: str = "") -> ImageDataset | None:
        """The images of one folder or file; None where this is not the layout."""

    def find(self, kind: DataKind, paths: DataPaths, split: Split, specs: Specs) -> Sequence[Dataset] | None:
        folder = None if paths.folder_b else split_folder(paths.folder, split, HINTS[kind])
        dataset = self.open(folder, specs[0]) if folder else None
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


class ImageFiles(SingleImages):
    """Image files."""

    name, looks_like, fits_any_images = "single pictures", "pictures in DIR or DIR/train", True

    def open(self, folder: Path, spec: ImageSpec, remark: str = "") -> ImageDataset | None:
        files = {} if is_array(folder) else by_stem(folder)
        return FileDataset(folder, [*files.values()], (spec,), remark) if files else None


LAYOUTS: list[Layout] = [
    IdxFiles(),
    ClassFolders(),
    NamedSides(),
    AnyTwoFolders(),
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
            return Match(layout, datasets)
    return None


def matches(kind: DataKind, paths: DataPaths, splits: Sequence[Split] = ("train",)) -> list[Match]:
    """What fits a folder that may hold anything: the match of each split, none where something is wrong with one."""
    try:
        return [found for split in splits if (found := match(kind, paths, split)) and found.datasets]
    except ValueError:
        return []


def explain(paths: DataPaths) -> list[str]:
    """One line for each layout: whether it fits, and why not."""
    return [layout.explain(paths) for layout in LAYOUTS]


def find(kind: DataKind, paths: DataPaths, split: Split, specs: Specs = RGB) -> list[Dataset] | None:
    """The datasets of one split, or None where there is no such split.

    Paired data is one dataset of pairs, unpaired data two datasets, A and B; single images are one dataset, with labels
    where they are in classes. A folder without splits is all "train". Raises a `ValueError` that names what is wrong: no
    such folder, an empty one, an A without its B.
    """
    if not kind.has_sides and paths.folder_b is not None:
        raise ValueError(f"{paths.arguments}: single pictures are learnt from, not an A and a B; give one --data DIR")
    if found := match(kind, paths, split, specs):
        if split == "train" and not found.datasets:
            raise ValueError(f"{paths}: has no pictures to train on; put them in a folder train; {HINTS[kind]}")
        return [*found.datasets] or None
    folder = None if paths.folder_b else split_folder(paths.folder, split, HINTS[kind])
    if folder is None:
        return None
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


def uniform(kind: DataKind, paths: DataPaths) -> Uniform | None:
    """Height, width and channels of all training images, where one file holds them all; None elsewhere."""
    if paths.folder_b is not None:
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


def _open_sides(sides: tuple[Path, Path], specs: Specs, remark: str = "") -> list[ImageDataset]:
    hint = f"; the layouts are: {TWO_SIDES}"
    return [find_singles(folder, spec, remark, hint) for folder, spec in zip(sides, specs, strict=True)]


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
