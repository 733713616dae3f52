"""Scans every picture of a folder: sizes, modes and thumbnails; pairs, splits and near-duplicates."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from diptych.data import layouts
from diptych.data.datasets import FilePairs
from diptych.data.paths import SPLIT_FOLDERS, DataPaths, Split, list_files
from diptych.data.walk import is_passed_over
from diptych.images import geometry
from diptych.images.color import is_grey
from diptych.images.files import SUFFIXES, Array, Pixels, to_bytes
from diptych.images.geometry import as_large_as_fits, middle
from diptych.images.numbers import as_shown, read_numbers
from diptych.images.observed import Seen, seen
from diptych.images.remarks import Remark, collected
from diptych.images.spec import EIGHT_BIT, ImageSpec
from diptych.kinds import DataKind
from diptych.prepare import duplicates
from diptych.prepare.folders import each

CELL = 128  # pixels of a picture in a montage
SAMPLED = 256  # pixels in a row are enough to tell colour from grey
SPLITS: dict[str, Split] = {
    word + side: split for split, words in SPLIT_FOLDERS.items() for word in words for side in ("", "a", "b")
}
UNUSUAL = {"1": "black and white", "P": "palette", "PA": "palette", "CMYK": "CMYK"}
DEPTHS = {"uint8": "", "uint16": "16-bit "}
Sample = tuple[Path, ...]
"""One picture, or a pair of them."""


@dataclass(frozen=True)
class ImageInfo:
    """The properties of one picture."""

    width: int
    height: int
    mode: str
    seen: Seen
    coloured: bool
    thumbnail: Array
    cell: Tensor | None
    """uint8 `[3, CELL, CELL]`, if it is shown in the montage."""
    remarks: tuple[Remark, ...]


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
        with collected() as remarks:
            found = read_numbers(path)
    except ValueError as error:
        return str(error)
    pixels, facts = as_shown(found), seen(found, ImageSpec())
    plain = "RGB" if facts.channels in (3, 4) else "grey" if facts.channels == 1 else f"{facts.channels} channels"
    mode = UNUSUAL.get(found.stored, plain)
    stride = -(-max(pixels.size) // SAMPLED)
    deep, alpha = DEPTHS.get(facts.type, f"{facts.type} "), " with alpha" if pixels.alpha is not None else ""
    more = " and one more" if facts.channels == 4 else ""
    height, width = pixels.size
    return ImageInfo(
        width,
        height,
        f"{deep}{mode}{more}{alpha}",
        seen=facts,
        coloured=not is_grey(to_bytes(_every(stride, pixels), 3)),
        thumbnail=duplicates.thumbnail(pixels),
        cell=_cell(pixels) if shown else None,
        remarks=tuple(remarks),
    )


def _as_shown(pixels: Pixels) -> Pixels:
    """Of two channels the first, of more than four the first three."""
    channels = pixels.values.shape[-1]
    return pixels if channels in (1, 3, 4) else Pixels(pixels.values[..., : 3 if channels > 2 else 1])


def _every(stride: int, pixels: Pixels) -> Pixels:
    """Each `stride`-th pixel of each `stride`-th row."""
    alpha = None if pixels.alpha is None else pixels.alpha[::stride, ::stride]
    return Pixels(pixels.values[::stride, ::stride], alpha)


def _cell(pixels: Pixels) -> Tensor:
    height, width = as_large_as_fits(pixels.size, (CELL, CELL))
    cell = torch.full((3, CELL, CELL), EIGHT_BIT.full, dtype=torch.uint8)
    rows, columns = middle((height, width), (CELL, CELL))
    cell[:, rows, columns] = geometry.resize(to_bytes(pixels, 3), height, width)
    return cell


# ---- pairs, splits, duplicates


def other_files(folder: Path) -> list[Path]:
    """The files in a folder and below that are not named as pictures, without hidden ones and other programs'."""
    return list_files(folder, lambda name: not is_passed_over(name) and not name.lower().endswith(SUFFIXES))


def split_of(path: Path, folder: Path) -> Split | None:
    """Train, val or test, by the two top folders that a picture is in; None where there are no splits.

    >>> split_of(Path("data/A/Validation/1.png"), Path("data"))
    'val'
    """
    parents = path.relative_to(folder).parts[:-1]
    return next((SPLITS[name.lower()] for name in parents[:2] if name.lower() in SPLITS), None)


def partners(paths: DataPaths, pictures: Iterable[Path]) -> tuple[DataPaths, list[FilePairs]]:
    """The pairs of two files each, of every split, if each A has its B; and the paths that training finds them by.

    These are the folder itself, or the two folders of any names that it consists of.
    """
    matches = layouts.matches(DataKind.PAIRED, paths, [*SPLIT_FOLDERS])
    found = [pairs for match in matches for pairs in match.datasets if isinstance(pairs, FilePairs)]
    tops = two_folders(paths.folder, pictures)
    of_any_names = found and isinstance(matches[0].layout, layouts.AnyTwoFolders)
    if of_any_names and tops and not any(top.name.lower() in SPLITS for top in tops):
        return replace(paths, folder=tops[0], folder_b=tops[1]), found
    return paths, found


def as_tuples(found: Iterable[FilePairs]) -> list[tuple[Path, Path]]:
    """The two files of each pair."""
    return [pair for pairs in found for pair in zip(pairs.a, pairs.b, strict=True)]


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
