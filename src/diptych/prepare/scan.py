"""Scans every picture of a folder: sizes, modes and thumbnails; pairs, splits and near-duplicates."""

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from diptych.data import layouts
from diptych.data.datasets import TwoFolders
from diptych.data.paths import SPLIT_FOLDERS, DataPaths, Split
from diptych.images import geometry
from diptych.images.color import is_grey
from diptych.images.files import SUFFIXES, Array, Pixels, decode, to_bytes
from diptych.images.formats import open_image
from diptych.images.spec import EIGHT_BIT
from diptych.kinds import DataKind
from diptych.prepare import duplicates
from diptych.prepare.folders import each
from diptych.prepare.resize import as_large_as_fits, middle

CELL = 128  # pixels of a picture in a montage
SAMPLED = 256  # pixels in a row are enough to tell colour from grey
SPLITS: dict[str, Split] = {
    word + side: split for split, words in SPLIT_FOLDERS.items() for word in words for side in ("", "a", "b")
}
UNUSUAL = {"1": "black and white", "P": "palette", "PA": "palette", "CMYK": "CMYK"}
Sample = tuple[Path, ...]
"""One picture, or a pair of them."""


@dataclass(frozen=True)
class ImageInfo:
    """The properties of one picture."""

    width: int
    height: int
    mode: str
    channels: int
    coloured: bool
    thumbnail: Array
    cell: Tensor | None
    """uint8 `[3, CELL, CELL]`, if it is shown in the montage."""


def scan_all(
    paths: Sequence[Path], workers: int | None, console: Console | None, shown: Collection[Path] = ()
) -> tuple[dict[Path, ImageInfo], list[str]]:
    """The properties of every readable picture, and a line for each other one, both in the order of `paths`."""
    infos, problems = dict[Path, ImageInfo](), list[str]()
    scanned = each(paths, lambda path: _scan_one(path, path in shown), "looking at every picture", workers, console)
    for path, info in zip(paths, scanned, strict=True):
        if isinstance(info, ImageInfo):
            infos[path] = info
        else:
            problems.append(info)
    return infos, problems


def _scan_one(path: Path, shown: bool) -> ImageInfo | str:
    try:
        pixels = decode(path)
    except ValueError as error:
        return str(error)
    with open_image(path.read_bytes()) as header:
        mode = UNUSUAL.get(header.mode, "RGB" if pixels.values.shape[-1] >= 3 else "grey")
    stride = -(-max(pixels.size) // SAMPLED)
    deep, alpha = "16-bit " if pixels.bits == 16 else "", " with alpha" if pixels.alpha is not None else ""
    height, width = pixels.size
    return ImageInfo(
        width,
        height,
        f"{deep}{mode}{alpha}",
        channels=pixels.values.shape[-1],
        coloured=not is_grey(to_bytes(pixels, 3)[:, ::stride, ::stride]),
        thumbnail=duplicates.thumbnail(pixels),
        cell=_cell(pixels) if shown else None,
    )


def _cell(pixels: Pixels) -> Tensor:
    height, width = as_large_as_fits(pixels.size, (CELL, CELL))
    cell = torch.full((3, CELL, CELL), EIGHT_BIT.full, dtype=torch.uint8)
    rows, columns = middle((height, width), (CELL, CELL))
    cell[:, rows, columns] = geometry.resize(to_bytes(pixels, 3), height, width)
    return cell


# ---- pairs, splits, duplicates


def other_files(folder: Path) -> list[Path]:
    """The files in a folder and below that are not named as pictures; hidden ones are skipped."""
    others = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = [name for name in files if not name.startswith(".") and not name.lower().endswith(SUFFIXES)]
        others += [Path(parent, name) for name in files]
    return sorted(others)


def split_of(path: Path, folder: Path) -> Split | None:
    """Train, val or test, by the two top folders that a picture is in; None where there are no splits.

    >>> split_of(Path("data/A/Validation/1.png"), Path("data"))
    'val'
    """
    parents = path.relative_to(folder).parts[:-1]
    return next((SPLITS[name.lower()] for name in parents[:2] if name.lower() in SPLITS), None)


def partners(folder: Path, paths: Iterable[Path]) -> tuple[DataPaths, list[tuple[Path, Path]]]:
    """The pairs by stem, of every split, if each A has its B; and the paths that training finds them by.

    These are the folder itself, or the two folders of any names that it consists of.
    """
    candidates, tops = [DataPaths(folder)], two_folders(folder, paths)
    if tops and not any(top.name.lower() in SPLITS for top in tops):
        candidates.append(DataPaths(*tops))
    for candidate in candidates:
        datasets = [
            one for match in layouts.matches(DataKind.PAIRED, candidate, [*SPLIT_FOLDERS]) for one in match.datasets
        ]
        pairs = [pair for two in datasets if isinstance(two, TwoFolders) for pair in zip(two.a, two.b, strict=True)]
        if pairs:
            return candidate, pairs
    return DataPaths(folder), []


def two_folders(folder: Path, paths: Iterable[Path]) -> list[Path]:
    """The two top folders that contain all pictures of a folder, by name, if there are exactly two."""
    tops = sorted({path.relative_to(folder).parts[:-1][:1] for path in paths})
    return [folder.joinpath(*top) for top in tops] if len(tops) == 2 and all(tops) else []


def samples(paths: Iterable[Path], pairs: Sequence[tuple[Path, Path]]) -> list[Sample]:
    """The pairs, and every other picture as a sample of its own."""
    paired = {path for pair in pairs for path in pair}
    return [*pairs, *((path,) for path in paths if path not in paired)]


def alike(samples: Sequence[Sample], infos: dict[Path, ImageInfo]) -> list[list[Sample]]:
    """The readable samples, grouped by near-duplicates; pairs are near-duplicates when both sides are."""
    readable = [sample for sample in samples if all(path in infos for path in sample)]
    thumbnails = [[infos[path].thumbnail for path in sample] for sample in readable]
    of_samples = [duplicates.beside(*sides) if len(sides) == 2 else sides[0] for sides in thumbnails]
    return [[readable[number] for number in group] for group in duplicates.groups(of_samples)]


def counted(count: int, what: str) -> str:
    """A number with its noun.

    >>> counted(1, "pair"), counted(2, "pair")
    ('1 pair', '2 pairs')
    """
    return f"{count} {what}{'' if count == 1 else 's'}"
