"""A folder or an array -> its samples. The layouts that people have are found by themselves; what is found is said aloud."""

import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal, Self

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
    TwoFolders,
    stem,
)
from diptych.data.idx import IdxDataset
from diptych.images.files import SUFFIXES
from diptych.kinds import DataKind

Split = Literal["train", "val", "test"]
SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
HELD_OUT: tuple[Split, ...] = ("val", "test")
LAYOUTS = (
    "side-by-side pictures in DIR or DIR/train; DIR/A + DIR/B, DIR/trainA + DIR/trainB or DIR/train/A + DIR/train/B "
    "(pairs have the same stems; unpaired pictures may lie in two folders of any names or be TFRecords); or "
    "--data-a DIR --data-b DIR"
)
SINGLE_LAYOUTS = (
    "pictures, or TFRecord files, in DIR or DIR/train, for measuring also in DIR/val or DIR/test; or arrays of pictures, "
    "FILE.npy beside FILE-val.npy or FILE-test.npy, or DIR/train.npy beside DIR/val.npy or DIR/test.npy"
)
LABELLED_LAYOUTS = (
    "a folder for each class in DIR or DIR/train, for measuring also in DIR/val or DIR/test; or idx files as MNIST has "
    "them, DIR/train-images-idx3-ubyte beside DIR/train-labels-idx1-ubyte, gzip or not, for measuring also DIR/t10k-..."
)
ARRAY = ".npy"
IDX_SPLITS: dict[Split, tuple[str, ...]] = {**SPLIT_FOLDERS, "test": ("t10k", *SPLIT_FOLDERS["test"])}
OTHER = {"images": "labels", "labels": "images"}


@dataclass(frozen=True)
class DataPaths:
    """Where a person's pictures lie: one folder or array, or one for A and one for B."""

    folder: Path
    folder_b: Path | None = None

    @classmethod
    def from_flags(cls, data: Path | str | None, data_a: Path | str | None, data_b: Path | str | None) -> Self:
        """From the flags of a command; a `ValueError` when they say too little or too much."""
        if data is not None and data_a is None and data_b is None:
            return cls(Path(data))
        if data is None and data_a is not None and data_b is not None:
            a, b = Path(data_a).resolve(), Path(data_b).resolve()
            if a.is_relative_to(b) or b.is_relative_to(a):
                raise ValueError(
                    f"--data-a {data_a} and --data-b {data_b}: one holds the other; give two folders side by side"
                )
            return cls(Path(data_a), Path(data_b))
        raise ValueError("the pictures: give --data DIR, or both --data-a DIR and --data-b DIR, and not more")

    @property
    def flags(self) -> dict[str, Path]:
        """The flags that say it, without their dashes."""
        if self.folder_b is None:
            return {"data": self.folder}
        return {"data-a": self.folder, "data-b": self.folder_b}

    @property
    def arguments(self) -> str:
        """The flags as one would type them."""
        return " ".join(f"--{flag} {shlex.quote(str(folder))}" for flag, folder in self.flags.items())

    def __str__(self) -> str:
        return " and ".join(str(folder) for folder in self.flags.values())


def find(needs: DataKind, place: DataPaths, split: Split, channels: tuple[int, int] = (3, 3)) -> list[Dataset] | None:
    """The samples of one split that a method needs, or None where there is no such split.

    "paired" pictures are one source of pairs, "unpaired" ones two sources, A and B; "images" are one source of single
    pictures, and so are "labelled" ones, which have labels where they lie in classes. Where the folder has no splits, all
    is "train". `channels` says how A and B are read: 3 for RGB, 1 for grey. Raises a `ValueError` that names what is wrong:
    no such folder, nothing in it, an A without its B.
    """
    if needs == "images":
        found = find_images(place, split, channels[0])
        return [found] if found else None
    if needs == "labelled":
        labelled = find_labelled(place, split, channels[0])
        return [labelled] if labelled else None
    if needs == "paired":
        pairs = find_paired(place, split, channels)
        return [pairs] if pairs else None
    assert needs == "unpaired"
    return find_unpaired(place, split, channels)


def find_paired(place: DataPaths, split: Split, channels: tuple[int, int] = (3, 3)) -> SideBySide | TwoFolders | None:
    """The pairs of one split, as `find` finds them."""
    sides = _two_sides(place, split)
    if sides is not None:
        return match_stems(*sides, channels)
    return find_side_by_side(place, split, channels)


def find_side_by_side(place: DataPaths, split: Split, channels: tuple[int, int] = (3, 3)) -> SideBySide | None:
    """The side-by-side pictures of one split of a folder that is not divided into A and B."""
    if place.folder_b is not None:
        return None
    folder = _split_folder(place.folder, split)
    return SideBySide(folder, list(_by_stem(folder).values()), channels) if folder else None


def find_unpaired(place: DataPaths, split: Split, channels: tuple[int, int] = (3, 3)) -> list[Dataset] | None:
    """A and B of one split, as `find` finds them; side-by-side pairs are taken apart."""
    sides, remark = _sides(place, split)
    if sides is not None:
        return [_singles(folder, count, remark) for folder, count in zip(sides, channels, strict=True)]
    pairs = find_side_by_side(place, split, channels)
    if pairs is None:
        return None
    has_train = _first(_folders(place.folder), SPLIT_FOLDERS["train"])
    if split != "train" and (_two_sides(place, "train") or (has_train and _first_two_by_name(place.folder, "train"))):
        raise ValueError(f"{pairs.folder}: holds no A and B as train does; the layouts are: {LAYOUTS}")
    pairs = replace(pairs, taken_apart=True)
    return [PairSide(pairs, 0), PairSide(pairs, 1)]


def find_images(
    place: DataPaths, split: Split, channels: int = 3, layouts: str = SINGLE_LAYOUTS
) -> ImageDataset | None:
    """The single pictures of one split, as `find` finds them; `layouts` are those that a message lists."""
    if place.folder_b is not None:
        raise ValueError(f"{place.arguments}: single pictures are learnt from, not an A and a B; give one --data DIR")
    folder = _split_folder(place.folder, split, layouts)
    return find_singles(folder, channels) if folder else None


def find_labelled(place: DataPaths, split: Split, channels: int = 3) -> LabelledDataset | ImageDataset | None:
    """The pictures of one split with their labels, as `find` finds them: idx files, or a folder for each class.

    Pictures in no folders have no labels. Raises a `ValueError` for a picture that lies beside such folders.
    """
    if place.folder_b is None and (files := idx_files(place.folder)):
        if "train" not in files:
            listed = _listed(images for images, _ in files.values())
            raise ValueError(f"{place}: has no train-images, only {listed}; the layouts are: {LABELLED_LAYOUTS}")
        if split not in files:
            return None
        idx = IdxDataset(*files[split], (channels,))
        return LabelledDataset(idx, idx.labels)
    _require_no_class_beside_splits(place)
    singles = find_images(place, split, channels, LABELLED_LAYOUTS)
    if not isinstance(singles, FileDataset):
        return singles
    names = [class_of(path, singles.folder) for path in singles.paths]
    if not any(names):
        return singles
    for name in set(names):
        _require_unicode(singles.folder / name)
    if not all(names):
        raise ValueError(
            f"{singles.paths[names.index('')]}: lies in no class, beside folders that are classes; move it into one of "
            f"them, or away; the layouts are: {LABELLED_LAYOUTS}"
        )
    return LabelledDataset(singles, names)


def _require_no_class_beside_splits(place: DataPaths) -> None:
    """Raises a `ValueError` where a class may be called as a split is, and the others would be passed over."""
    if place.folder_b is not None or _is_array(place.folder):
        return
    below = _folders_of_pictures(place.folder)
    words = {word for names in SPLIT_FOLDERS.values() for word in names}
    splits, others = (
        [path for path in below if (path.name.lower() in words) == is_split] for is_split in (True, False)
    )
    if splits and others:
        raise ValueError(
            f"{splits[0]}: is taken for a split, and beside it are {_listed(others)}; rename it if it is a class, else move "
            f"them; the layouts are: {LABELLED_LAYOUTS}"
        )


def _require_unicode(folder: Path) -> None:
    """Raises a `ValueError` for a folder whose name no settings file can hold."""
    try:
        folder.name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{str(folder)!r}: the name of a class must be Unicode, and this one is not; rename the folder"
        ) from error


def class_of(path: Path, folder: Path) -> str:
    """The class of a picture below a folder: the name of the uppermost folder that it lies in there, "" where there is none.

    >>> class_of(Path("animals/a cat/indoors/1.png"), Path("animals"))
    'a cat'
    """
    return "".join(path.parts[len(folder.parts) : -1][:1])


def uniform(needs: DataKind, place: DataPaths) -> tuple[int, int, int] | None:
    """Height, width and channels of all training pictures, where one file holds them all; None elsewhere."""
    if place.folder_b is not None:
        return None
    if needs == "labelled" and (files := idx_files(place.folder).get("train")):
        _, height, width = idx.shape(files[0], 3)
        return height, width, 1
    array = place.folder if _is_array(place.folder) else _arrays(place.folder).get("train")
    return ArrayDataset(array, (3,)).uniform if array else None


def idx_files(folder: Path) -> dict[Split, tuple[Path, Path]]:
    """The idx files in a folder, pictures and labels, by split; a `ValueError` for one without the other, or two sets."""

    def two_sets(one: Path, other: Path) -> ValueError:
        return ValueError(f"{folder}: holds two sets ({one.name}, {other.name}); keep each in a folder of its own")

    if _is_array(folder):
        return {}
    _folders(folder)
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file())
    found: dict[tuple[str, str], Path] = {}
    for name in names:  # a file comes before the same one packed
        if not (match := idx.NAMES.fullmatch(name)) or (name.lower().endswith(".gz") and name[:-3] in names):
            continue
        split, kind = match[1].lower(), match[2].lower()
        if other := found.get((split, kind)):
            raise two_sets(other, folder / name)
        found[split, kind] = folder / name
    files: dict[Split, tuple[Path, Path]] = {}
    for (word, kind), file in found.items():
        if (word, OTHER[kind]) not in found:
            raise ValueError(f"{file}: has no file of {OTHER[kind]} beside it; copy that too")
        split = next(split for split, words in IDX_SPLITS.items() if word in words)
        pair = (found[word, "images"], found[word, "labels"])
        if files.setdefault(split, pair) != pair:
            raise two_sets(files[split][0], pair[0])
    others = chain(_walk(folder, _is_single), map(str, _arrays(folder).values()) if files else ())
    if files and (picture := next(others, None)):
        raise ValueError(
            f"{folder}: holds idx files and pictures ({Path(picture).name}), maybe the same ones twice; keep the one or the "
            "other in a folder of its own"
        )
    return files


def _sides(place: DataPaths, split: Split) -> tuple[tuple[Path, Path] | None, str]:
    """Where A and B of this split lie, if they lie in two folders, and what to say of it."""
    if (sides := _two_sides(place, split)) or place.folder_b is not None:
        return sides, ""
    return _first_two_by_name(place.folder, split), " (A and B in the order of their names)"


def held_out(
    needs: DataKind, place: DataPaths, channels: tuple[int, int] = (3, 3)
) -> tuple[Split, list[Dataset]] | None:
    """The split to measure on: val where there is one, else test, else None. Side-by-side pairs stay pairs for any needs."""
    for split in HELD_OUT:
        if found := find(needs, place, split, channels):
            return split, [found[0].pairs] if isinstance(found[0], PairSide) else found
    return None


def find_singles(folder: Path, channels: int = 3) -> ImageDataset:
    """The pictures of one folder, files or the records of TFRecord files, or of one array."""
    if _is_array(folder):
        return _singles(folder, channels)
    _folders(folder)
    if not any(_walk(folder, _is_single)):
        raise ValueError(f"{folder}: no pictures found ({', '.join(SUFFIXES)}), and no TFRecord files")
    return _singles(folder, channels)


def array_of(file: Path, split: Split) -> Path:
    """The array that holds a split of the pictures whose training split is `file`.

    >>> array_of(Path("faces.npy"), "val").name
    'faces-val.npy'
    """
    return file if split == "train" else file.with_name(f"{file.stem}-{split}{file.suffix}")


def list_pictures(folder: Path) -> list[Path]:
    """All picture files in `folder` and below, by name; hidden files, hidden folders and runs are passed over."""
    return _list_files(folder, _is_picture)


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _is_tfrecord(name: str) -> bool:
    return tfrecords.NAMES.fullmatch(name) is not None and not name.startswith(".")


def _is_array(path: Path) -> bool:
    return path.suffix.lower() == ARRAY and path.is_file()


def _is_single(name: str) -> bool:
    return _is_picture(name) or _is_tfrecord(name)


def _list_files(folder: Path, wanted: Callable[[str], bool]) -> list[Path]:
    return [Path(name) for name in sorted(_walk(folder, wanted))]


def _walk(folder: Path, wanted: Callable[[str], bool]) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        if "settings.toml" in files:  # a run inside the data: its samples and results are no data
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if wanted(name):
                yield os.path.join(parent, name)  # noqa: PTH118 -- a Path for each of 100,000 files takes seconds


def _folders(data: Path) -> dict[str, Path]:
    """The folders in a folder, by name in lower case."""
    if not data.exists():
        raise ValueError(f"{data}: no such {'file' if data.suffix.lower() == ARRAY else 'folder'}")
    if _is_array(data):
        raise ValueError(f"{data}: is an array of single pictures, where none belongs to another; give a folder")
    if not data.is_dir():
        raise ValueError(f"{data}: is a file; a folder of pictures is expected")
    with os.scandir(data) as entries:
        names = sorted(entry.name for entry in entries if Path(entry).is_dir())  # False where a link leads in circles
    return {name.lower(): data / name for name in names}


def _first(paths: dict[str, Path], names: Sequence[str]) -> Path | None:
    return next((paths[name] for name in names if name in paths), None)


def _split_folder(data: Path, split: Split, layouts: str = LAYOUTS) -> Path | None:
    """Where the pictures of a split lie, a folder or an array; a folder without splits is all "train"."""
    if _is_array(data):
        array = array_of(data, split)
        return array if array.is_file() else None
    if arrays := _arrays(data):
        if "train" not in arrays:
            raise ValueError(
                f"{data}: has no train{ARRAY}, only {_listed(arrays.values())}; the layouts are: {layouts}"
            )
        return arrays.get(split)
    folders = _folders(data)
    found = _first(folders, SPLIT_FOLDERS[split])
    if found or split != "train":
        return found
    splits = [name for names in SPLIT_FOLDERS.values() for name in names]
    if any(name + side in folders for name in splits for side in ("", "a", "b")):
        raise ValueError(f"{data}: has no train folder, only {_listed(folders.values())}; the layouts are: {layouts}")
    return data


def _arrays(data: Path) -> dict[Split, Path]:
    """The arrays of the splits in a folder that holds them in place of pictures."""
    _folders(data)
    with os.scandir(data) as entries:
        names = sorted(entry.name for entry in entries if entry.name.lower().endswith(ARRAY))
    files = {name.lower(): data / name for name in names if _is_array(data / name)}
    arrays = {
        split: file
        for split, words in SPLIT_FOLDERS.items()
        if (file := _first(files, [word + ARRAY for word in words]))
    }
    if arrays and (found := next(_walk(data, _is_single), None)):
        raise ValueError(
            f"{data}: holds arrays ({_listed(arrays.values())}) and pictures ({Path(found).name}), maybe the same ones "
            "twice; keep the one or the other in a folder of its own"
        )
    return arrays


def _two_sides(place: DataPaths, split: Split) -> tuple[Path, Path] | None:
    """Where A and B of this split lie, if they lie in two folders of these names."""
    if place.folder_b is not None:
        return _both(place.folder, place.folder_b, split)
    folders = _folders(place.folder)
    split_folder = _first(folders, SPLIT_FOLDERS[split])
    candidates = [(folders, name) for name in SPLIT_FOLDERS[split]]  # trainA + trainB
    if split_folder:
        candidates.append((_folders(split_folder), ""))  # train/A + train/B
    elif split == "train" or {"a", "b"} <= folders.keys():
        candidates.append((folders, ""))  # A + B, or A/train + B/train
    for places, name in candidates:
        a, b = places.get(f"{name}a"), places.get(f"{name}b")
        if a and b:
            return (a, b) if name or split_folder else _both(a, b, split)
        if a or b:
            raise ValueError(f"{a or b}: the other side is missing in {place}; the layouts are: {LAYOUTS}")
    return None


def _both(a: Path, b: Path, split: Split) -> tuple[Path, Path] | None:
    """The split's folders in a folder for A and one for B, which may be without splits."""
    inside_a, inside_b = _split_folder(a, split), _split_folder(b, split)
    if inside_a and inside_b:
        return inside_a, inside_b
    if inside_a or inside_b:
        missing_in = b if inside_a else a
        raise ValueError(
            f"{inside_a or inside_b}: the other side is missing in {missing_in}; the layouts are: {LAYOUTS}"
        )
    return None


def _first_two_by_name(data: Path, split: Split) -> tuple[Path, Path] | None:
    """Two folders of any names in one: `horse` + `zebra`, `train/horse` + `train/zebra` or `horse/train` + `zebra/train`."""
    folder = _split_folder(data, split)
    sides = _folders_of_pictures(folder or data)
    if len(sides) > 2 and folder:
        raise ValueError(
            f"{folder}: holds {len(sides)} folders ({_listed(sides)}), of which two are A and B; "
            "say which with --data-a DIR --data-b DIR"
        )
    if len(sides) != 2:
        return None
    a, b = sides
    inside_a_split = folder not in (None, data)  # train/horse + train/zebra, which hold no splits of their own
    return (a, b) if inside_a_split else _both(a, b, split)


def _folders_of_pictures(folder: Path) -> list[Path]:
    """The folders of pictures in a folder that holds no pictures itself, by name."""
    if _is_array(folder):
        return []
    with os.scandir(folder) as entries:
        if any(_is_single(entry.name) and Path(entry).is_file() for entry in entries):
            return []
    below = _folders(folder).values()
    return [entry for entry in below if not entry.name.startswith(".") and any(_walk(entry, _is_single))]


def _singles(folder: Path, channels: int, remark: str = "") -> ImageDataset:
    if _is_array(folder):
        return ArrayDataset(folder, (channels,))
    files = _list_files(folder, _is_tfrecord)
    if not files:
        return FileDataset(folder, list(_by_stem(folder).values()), (channels,), remark)
    if found := list_pictures(folder):
        raise ValueError(
            f"{folder}: holds TFRecord files ({files[0].name}) and pictures ({found[0].name}), maybe the same ones twice; "
            "keep the one or the other in a folder of its own"
        )
    records = [record for file in files for record in tfrecords.list_records(file)]
    if not records:
        raise ValueError(f"{folder}: its TFRecord files hold no records; copy them again")
    return RecordDataset(folder, records, (channels,), remark)


def match_stems(folder_a: Path, folder_b: Path, channels: tuple[int, int]) -> TwoFolders:
    """The pictures in two folders and below as pairs of the same stems; a `ValueError` names one without partner."""
    a, b = (_by_stem(folder) for folder in (folder_a, folder_b))
    for one, other, missing_in in ((a, b, folder_b), (b, a, folder_a)):
        lonely = sorted(one.keys() - other.keys())
        if lonely:
            also = f" (and {len(lonely) - 1} more like it)" if len(lonely) > 1 else ""
            raise ValueError(
                f"{one[lonely[0]]}: has no partner named {lonely[0]!r} in {missing_in}{also}; add it or remove this one"
            )
    stems = sorted(a)
    return TwoFolders(folder_a, [a[name] for name in stems], [b[name] for name in stems], channels)


def _by_stem(folder: Path) -> dict[str, Path]:
    """The pictures in a folder by name without suffix: what partners find each other by, and results are kept by."""
    _folders(folder)
    by_stem: dict[str, Path] = {}
    for path in list_pictures(folder):
        name = stem(path, folder)
        if name in by_stem:
            raise ValueError(
                f"{path}: {by_stem[name].name} has the same stem, and pictures are told apart by it; rename one"
            )
        by_stem[name] = path
    if not by_stem:
        raise ValueError(f"{folder}: no pictures found ({', '.join(SUFFIXES)}); the layouts are: {LAYOUTS}")
    return by_stem


def _listed(paths: Iterable[Path]) -> str:
    return ", ".join(path.name for path in paths)
