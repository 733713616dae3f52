"""A and B in two folders: which folders these are, and which files belong together."""

from pathlib import Path

from diptych.data.datasets import TwoFolders, stem
from diptych.data.paths import (
    SPLIT_FOLDERS,
    DataPaths,
    Split,
    first,
    folders_in,
    folders_of_images,
    list_pictures,
    listed,
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


def no_images(folder: Path, more: str) -> ValueError:
    """The error for a folder without images."""
    return ValueError(f"{folder}: no pictures found ({', '.join(SUFFIXES)}){more}")


def match_stems(folder_a: Path, folder_b: Path, specs: Specs = RGB) -> TwoFolders:
    """The images in two folders and below as pairs of the same stems; a `ValueError` names one without a partner."""
    a, b = (_stems_in(folder) for folder in (folder_a, folder_b))
    for one, other, missing_in in ((a, b, folder_b), (b, a, folder_a)):
        unmatched = sorted(one.keys() - other.keys())
        if unmatched:
            also = f" (and {len(unmatched) - 1} more like it)" if len(unmatched) > 1 else ""
            raise ValueError(
                f"{one[unmatched[0]]}: has no partner named {unmatched[0]!r} in {missing_in}{also}; add it or remove "
                "this one"
            )
    stems = sorted(a)
    return TwoFolders(folder_a, [a[name] for name in stems], [b[name] for name in stems], specs)


def _stems_in(folder: Path) -> dict[str, Path]:
    folders_in(folder)
    if files := by_stem(folder):
        return files
    raise no_images(folder, f"; the layouts are: {TWO_SIDES}")


def by_stem(folder: Path) -> dict[str, Path]:
    """The image files in a folder by name without suffix, which pairs partners and names results."""
    files: dict[str, Path] = {}
    for path in list_pictures(folder):
        name = stem(path, folder)
        if name in files:
            raise ValueError(
                f"{path}: {files[name].name} has the same stem, and pictures are told apart by it; rename one"
            )
        files[name] = path
    return files


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


def first_two_by_name(data: Path, split: Split) -> tuple[Path, Path] | None:
    """Two folders of any names: `horse` + `zebra`, `train/horse` + `train/zebra` or `horse/train` + `zebra/train`."""
    folder = split_folder(data, split, TWO_SIDES)
    sides = folders_of_images(folder or data)
    if len(sides) > 2 and folder:
        raise ValueError(
            f"{folder}: holds {len(sides)} folders ({listed(sides)}), of which two are A and B; "
            "say which with --data-a DIR --data-b DIR"
        )
    if len(sides) != 2:
        return None
    a, b = sides
    inside_a_split = folder not in (None, data)  # train/horse + train/zebra, without splits of their own
    return (a, b) if inside_a_split else _both(a, b, split)
