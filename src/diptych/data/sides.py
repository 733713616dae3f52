"""A and B in two folders: which folders these are."""

from collections.abc import Sequence
from pathlib import Path

from diptych.data import unread
from diptych.data.paths import (
    SPLIT_FOLDERS,
    DataPaths,
    Split,
    first,
    folders_in,
    folders_of_images,
    listed,
    require_no_hidden_splits,
    split_folder,
)
from diptych.images.files import SUFFIXES
from diptych.images.spec import ImageSpec

Specs = tuple[ImageSpec, ImageSpec]
"""How A and B are read; single images are read as A."""
RGB: Specs = (ImageSpec(), ImageSpec())
TWO_SIDES = (
    "side-by-side pictures in DIR or DIR/train; DIR/A + DIR/B, DIR/trainA + DIR/trainB or DIR/train/A + DIR/train/B "
    "(pairs have the same stems; unpaired pictures may lie in two folders of any names or be TFRecords); or "
    "--data-a DIR --data-b DIR"
)


def no_images(folder: Path, more: str = "") -> ValueError:
    """The error for a folder without images; it ends with what is there instead, else with what could be, and `more`."""
    expected = f" ({', '.join(SUFFIXES)}){more}"
    return ValueError(f"{folder}: no pictures found{unread.hint(folder) or expected}")


def named_sides(paths: DataPaths, split: Split) -> tuple[Path, Path] | None:
    """The folders of A and B of this split, where their names or flags say so."""
    if paths.folder_b is not None:
        return _both(paths.folder, paths.folder_b, split)
    folders = folders_in(paths.folder)
    inside_split = first(folders, SPLIT_FOLDERS[split])
    candidates = [(folders, name) for name in SPLIT_FOLDERS[split]]  # trainA + trainB
    if inside_split:
        candidates.append((folders_in(inside_split), ""))  # train/A + train/B
    elif split == "train" or {"a", "b"} <= folders.keys():
        candidates.append((folders, ""))  # A + B, or A/train + B/train
    for below, name in candidates:
        a, b = below.get(f"{name}a"), below.get(f"{name}b")
        if a and b:
            return (a, b) if name or inside_split else _both(a, b, split)
        if a or b:
            raise ValueError(f"{a or b}: the other side is missing in {paths}; the layouts are: {TWO_SIDES}")
    return None


def _both(a: Path, b: Path, split: Split) -> tuple[Path, Path] | None:
    """The split's folders in a folder for A and one for B, which need not have splits."""
    inside_a, inside_b = (split_folder(side, split, TWO_SIDES) for side in (a, b))
    if inside_a and inside_b:
        return inside_a, inside_b
    if inside_a or inside_b:
        missing_in = b if inside_a else a
        raise ValueError(
            f"{inside_a or inside_b}: the other side is missing in {missing_in}; the layouts are: {TWO_SIDES}"
        )
    return None


def folders_by_name(data: Path, split: Split) -> list[Path]:
    """The folders of any names that may be A and B: those in the split, else those that hold everything.

    A `ValueError` where the folders of another split than train have other names than those of train: which of them is A?
    """
    folder = split_folder(data, split, TWO_SIDES)
    found = folders_of_images(folder or data)
    if split != "train" and folder and (of_train := first(folders_in(data), SPLIT_FOLDERS["train"])):
        names, trained = ([path.name for path in folders] for folders in (found, folders_of_images(of_train)))
        if len(found) == len(trained) == 2 and names != trained:
            raise ValueError(
                f"{folder}: holds {listed(found)}, and train holds {', '.join(trained)}; give them the same names"
            )
    if split == "train" and found and found[0].parent == data:
        require_no_hidden_splits(found, "A and B")
    return found


def first_two_by_name(data: Path, split: Split) -> tuple[Path, Path] | None:
    """Two folders of any names: `horse` + `zebra`, `train/horse` + `train/zebra` or `horse/train` + `zebra/train`."""
    sides = folders_by_name(data, split)
    if len(sides) != 2:
        return None
    a, b = sides
    inside_a_split = a.parent != data  # train/horse + train/zebra, without splits of their own
    return (a, b) if inside_a_split else _both(a, b, split)


def too_many(sides: Sequence[Path]) -> ValueError:
    """The error for more folders than two."""
    return ValueError(
        f"{sides[0].parent}: holds {len(sides)} folders ({listed(sides)}), of which two are A and B; "
        "say which with --data-a DIR --data-b DIR"
    )
