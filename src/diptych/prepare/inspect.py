"""What is in a folder of pictures, what is wrong with it, and which method it is for. Each file is decoded once."""

import json
import os
import shlex
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

from diptych.atomic import atomic_file
from diptych.color import is_grey
from diptych.data import duplicates, geometry, layouts, pictures, tfrecords
from diptych.data.batches import Direction
from diptych.data.layouts import SPLIT_FOLDERS, Place, Split
from diptych.data.pictures import Array, Pixels
from diptych.data.sources import PictureFiles, PictureRecords, TwoFolders, stem
from diptych.methods import METHODS
from diptych.prepare.folders import claim
from diptych.prepare.resize import middle
from diptych.progress import counting, say

MONTAGE, COLUMNS, CELL = 64, 8, 128  # pictures in all, pictures in a row, pixels of one
JUDGED = 256  # pixels in a row are enough to tell colour from grey
SHOWN = 10  # names of a kind, in the terminal
SPLITS: dict[str, Split] = {
    word + side: split for split, words in SPLIT_FOLDERS.items() for word in words for side in ("", "a", "b")
}
UNUSUAL = {"1": "black and white", "P": "palette", "PA": "palette", "CMYK": "CMYK"}
Sample = tuple[Path, ...]
"""One picture, or a pair of them."""


@dataclass(frozen=True)
class Findings:
    """What `inspect` found. Files are named by their paths below the folder; a pair by its A."""

    folder: str
    pictures: int
    """How many picture files can be read; what follows is about these."""
    counts: dict[str, int]
    """How many lie in train/A, in val/B and so on: in the two uppermost folders."""
    sizes: dict[str, int]
    """How many have which WIDTHxHEIGHT in pixels, the commonest first."""
    smallest: str
    largest: str
    modes: dict[str, int]
    """How many are grey, RGB, palette and so on, the commonest first."""
    grey_in_colour: int
    """How many are saved in colour and show none."""
    records: int
    """How many pictures there are in TFRecord files; they are counted, not looked at."""
    unreadable: list[str]
    """A line for each file that cannot be read, with the reason."""
    duplicates: list[list[str]]
    """Near-duplicates, as chains in which each is like another."""
    leaks: list[list[str]]
    """Those of the near-duplicates that lie in more than one of train, val and test."""
    same_stems: list[list[str]]
    """Files whose names differ in their suffixes only, which training refuses."""
    other_files: list[str]
    """Files that are no pictures."""
    methods: list[str]
    """Which methods the folder fits, the nearest first."""
    reason: str
    command: str | None
    """The command that trains the first of the methods."""
    notes: list[str]
    """What to mend or to choose before."""


def inspect(
    folder: Path | str, *, out: Path | str | None = None, workers: int | None = None, console: Console | None = None
) -> Findings:
    """Looks at every picture in `folder` and below, and says what is there.

    `out`, a new folder, gets `montage.png`, up to 64 pictures spread evenly over all, and `inspect.json`, the findings;
    without it nothing is written. `workers` are threads, by default one a core. Raises a `ValueError` when there are no
    pictures, or when `out` holds anything else.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> Image.new("RGB", (40, 20)).save(folder / "a pair.png")
    >>> inspect(folder).reason
    '1 picture, all twice as wide as tall: side-by-side pairs'
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: is not there, or no folder; a folder of pictures is expected")
    paths, others = layouts.list_pictures(folder), other_files(folder)
    record_files = [file for file in others if tfrecords.NAMES.fullmatch(file.name)]
    if not paths and not record_files:
        raise ValueError(f"{folder}: no pictures found ({', '.join(pictures.SUFFIXES)}), and no TFRecord files")
    if out is not None:
        claim(Path(out), "inspect", {}, [folder])
    looks, problems = look_at(paths, workers, console, _spread(paths))
    records = 0
    for file in record_files:
        try:
            records += len(tfrecords.list_records(file))
        except ValueError as error:
            problems.append(str(error))
    place, pairs = partners(folder, paths)
    groups = [group for group in alike(samples(paths, pairs), looks) if len(group) > 1]
    leaks = [group for group in groups if len({split_of(sample[0], folder) for sample in group} - {None}) > 1]
    same_stems = _same_stems(folder, paths)
    needs, place, reason, notes = _fit(folder, looks, place, pairs, record_files, bool(same_stems))
    if problems:
        notes.append(f"what cannot be read ({counted(len(problems), 'file')}) stops a training: repair or remove it")
    if leaks:
        notes.append("val and test hold pictures of train: `diptych data split` keeps near-duplicates on one side")

    def names(files: Iterable[Path]) -> list[str]:
        return [file.relative_to(folder).as_posix() for file in files]

    methods = methods_for(needs)
    sides = sorted(((look.width, look.height) for look in looks.values()), key=lambda side: (side[0] * side[1], side))
    sizes = [f"{width}x{height}" for width, height in sides]
    findings = Findings(
        folder=str(folder),
        pictures=len(looks),
        counts=dict(Counter(Path(*path.relative_to(folder).parts[:-1][:2]).as_posix() for path in looks)),
        sizes=dict(Counter(sizes).most_common()),
        smallest=next(iter(sizes), ""),
        largest=next(reversed(sizes), ""),
        modes=dict(Counter(look.mode for look in looks.values()).most_common()),
        grey_in_colour=sum(look.channels == 3 and not look.coloured for look in looks.values()),
        records=records,
        unreadable=problems,
        duplicates=[names(sample[0] for sample in group) for group in groups],
        leaks=[names(sample[0] for sample in group) for group in leaks],
        same_stems=[names(files) for files in same_stems],
        other_files=names(file for file in others if file not in record_files),
        methods=methods,
        reason=reason,
        command=train_command(methods[0], place, "AtoB" if needs == "paired" else None) if methods else None,
        notes=notes,
    )
    if out is not None:
        _write(Path(out), findings, [look.cell for look in looks.values() if look.cell is not None])
    return findings


def _write(out: Path, findings: Findings, cells: Sequence[Tensor]) -> None:
    if cells:
        sheet = pictures.merge([pictures.from_bytes(cell) for cell in cells], columns=min(COLUMNS, len(cells)))
        pictures.encode(pictures.from_tensor(sheet), out / "montage.png")
    with atomic_file(out / "inspect.json") as beside:
        beside.write_text(json.dumps(asdict(findings), indent=2) + "\n", encoding="utf-8")


# ---- one look at every file


@dataclass(frozen=True)
class Look:
    """What is kept of one picture."""

    width: int
    height: int
    mode: str
    channels: int
    coloured: bool
    thumbnail: Array
    cell: Tensor | None
    """uint8 `[3, CELL, CELL]`, if it is shown in the montage."""


def look_at(
    paths: Sequence[Path], workers: int | None, console: Console | None, shown: Collection[Path] = ()
) -> tuple[dict[Path, Look], list[str]]:
    """What is kept of every picture that can be read, and a line for each that cannot, both in the order of `paths`."""
    looks, problems = dict[Path, Look](), list[str]()
    with counting(console or Console(stderr=True), "looking at every picture") as progress:
        # The workers are the parallelism: with threads of torch's own below them, each of its calls waits for a core.
        pool = ThreadPoolExecutor(workers or os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,))
        try:
            found = pool.map(lambda path: _look(path, path in shown), paths)
            for done, (path, look) in enumerate(zip(paths, found, strict=True), start=1):
                if isinstance(look, Look):
                    looks[path] = look
                else:
                    problems.append(look)
                progress(done, len(paths))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return looks, problems


def _look(path: Path, shown: bool) -> Look | str:
    try:
        pixels = pictures.decode(path)
    except ValueError as error:
        return str(error)
    with Image.open(path) as header:
        mode = UNUSUAL.get(header.mode, "RGB" if pixels.values.shape[-1] == 3 else "grey")
    stride = -(-max(pixels.size) // JUDGED)
    deep, alpha = "16-bit " if pixels.bits == 16 else "", " with alpha" if pixels.alpha is not None else ""
    height, width = pixels.size
    return Look(
        width,
        height,
        f"{deep}{mode}{alpha}",
        channels=pixels.values.shape[-1],
        coloured=not is_grey(pictures.to_bytes(pixels, 3)[:, ::stride, ::stride]),
        thumbnail=duplicates.thumbnail(pixels),
        cell=_cell(pixels) if shown else None,
    )


def _cell(pixels: Pixels) -> Tensor:
    scale = CELL / max(pixels.size)
    height, width = (max(1, round(side * scale)) for side in pixels.size)
    cell = torch.full((3, CELL, CELL), 255, dtype=torch.uint8)
    rows, columns = middle((height, width), (CELL, CELL))
    cell[:, rows, columns] = geometry.resize(pictures.to_bytes(pixels, 3), height, width)
    return cell


def _spread(paths: Sequence[Path]) -> set[Path]:
    """One from each of 64 stretches of the list, the same at each call."""
    total, count, generator = len(paths), min(len(paths), MONTAGE), Random(0)
    return {paths[generator.randrange(n * total // count, (n + 1) * total // count)] for n in range(count)}


# ---- what belongs together


def other_files(folder: Path) -> list[Path]:
    """The files in a folder and below that do not have the name of a picture; what is hidden is passed over."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = [name for name in files if not name.startswith(".") and not name.lower().endswith(pictures.SUFFIXES)]
        found += [Path(parent, name) for name in files]
    return sorted(found)


def split_of(path: Path, folder: Path) -> Split | None:
    """Train, val or test, by the two uppermost folders that a picture lies in; None where there are no splits.

    >>> split_of(Path("data/A/Validation/1.png"), Path("data"))
    'val'
    """
    parents = path.relative_to(folder).parts[:-1]
    return next((SPLITS[name.lower()] for name in parents[:2] if name.lower() in SPLITS), None)


def partners(folder: Path, paths: Iterable[Path]) -> tuple[Place, list[tuple[Path, Path]]]:
    """The pairs by stem, of every split, if each A has its B; and how a command calls the place where they lie.

    They are found where training finds them, or in the two folders of any names that a folder consists of.
    """
    places, tops = [Place(folder)], two_folders(folder, paths)
    if tops and not any(top.name.lower() in SPLITS for top in tops):
        places.append(Place(*tops))
    for place in places:
        try:
            found = [layouts.find_paired(place, split) for split in SPLIT_FOLDERS]
        except ValueError:  # an A without its B, or no layout of pairs at all
            continue
        pairs = [pair for two in found if isinstance(two, TwoFolders) for pair in zip(two.a, two.b, strict=True)]
        if pairs:
            return place, pairs
    return Place(folder), []


def two_folders(folder: Path, paths: Iterable[Path]) -> list[Path]:
    """The two folders that all pictures of a folder lie in, by name, if there are exactly two."""
    tops = sorted({path.relative_to(folder).parts[:-1][:1] for path in paths})
    return [folder.joinpath(*top) for top in tops] if len(tops) == 2 and all(tops) else []


def samples(paths: Iterable[Path], pairs: Sequence[tuple[Path, Path]]) -> list[Sample]:
    """The pairs, and every other picture by itself."""
    paired = {path for pair in pairs for path in pair}
    return [*pairs, *((path,) for path in paths if path not in paired)]


def alike(found: Sequence[Sample], looks: dict[Path, Look]) -> list[list[Sample]]:
    """The samples that can be read, near-duplicates together; a pair is like another when both sides are."""
    readable = [sample for sample in found if all(path in looks for path in sample)]
    thumbnails = [[looks[path].thumbnail for path in sample] for sample in readable]
    of_samples = [duplicates.beside(*sides) if len(sides) == 2 else sides[0] for sides in thumbnails]
    return [[readable[number] for number in group] for group in duplicates.groups(of_samples)]


# ---- which method it fits


def _same_stems(folder: Path, paths: Iterable[Path]) -> list[list[Path]]:
    by_stem = defaultdict[str, list[Path]](list)
    for path in paths:
        by_stem[stem(path, folder)].append(path)
    return [files for files in by_stem.values() if len(files) > 1]


def _fit(
    folder: Path,
    looks: dict[Path, Look],
    place: Place,
    pairs: Sequence[Sample],
    record_files: Sequence[Path],
    has_same_stems: bool,
) -> tuple[str, Place, str, list[str]]:
    """Which kind of data it is (a method's `needs`), how a command calls its place, why, and what is to be chosen."""
    if has_same_stems:
        return "", place, "names that differ in their suffixes only are refused: rename one of each", []
    count = len(looks)
    if pairs:
        direction = "AtoB makes B from A, BtoA makes A from B: choose the --direction that you need"
        return "paired", place, f"{counted(len(pairs), 'pair')} of two files with the same stem", [direction]
    if sides := _unpaired(folder, record_files):
        place, (a, b) = sides
        reason = f"two sets without partners: A is {a.folder.name} ({len(a)}), B is {b.folder.name} ({len(b)})"
        shared = len({a.name(i) for i in range(len(a))} & {b.name(i) for i in range(len(b))})
        missing = f"{counted(shared, 'stem')} of A and B are the same: if they are pairs, add the missing partners"
        return "unpaired", place, reason, [missing] if shared else []
    if looks and all(look.width == 2 * look.height for look in looks.values()):
        direction = "AtoB makes the right half from the left one, BtoA the left from the right: choose the --direction"
        reason = f"{counted(count, 'picture')}, all twice as wide as tall: side-by-side pairs"
        return "paired", place, reason, [direction]
    coloured = sum(look.coloured for look in looks.values())
    reason = f"{counted(count, 'single picture')}, {coloured} of them in colour"
    notes = _classes(folder, looks)
    if 2 * coloured > count:
        return "images", place, reason, notes
    return "", place, f"{reason}: too few to learn colours from, and there is no second set to learn from", notes


def _unpaired(folder: Path, record_files: Sequence[Path]) -> tuple[Place, list[PictureFiles | PictureRecords]] | None:
    """A and B, where training without pairs finds them in the folder, or in its two folders of TFRecord files."""
    record_folders = sorted({file.parent for file in record_files})
    for place in [Place(folder), *([Place(*record_folders)] if len(record_folders) == 2 else [])]:
        try:
            found = layouts.find_unpaired(place, "train") or []
        except ValueError:  # another layout, or none
            continue
        sides = [side for side in found if isinstance(side, PictureFiles | PictureRecords)]
        if sides:
            return place, sides
    return None


def _classes(folder: Path, looks: Iterable[Path]) -> list[str]:
    """Folders that may be classes are worth a note when there is a method that learns from them."""
    methods = " and ".join(methods_for("labelled"))
    names = {path.parent.name for path in looks if path.parent != folder and path.parent.name.lower() not in SPLITS}
    return [f"its {len(names)} folders may be classes, which {methods} can learn"] if methods and len(names) > 1 else []


def methods_for(needs: str) -> list[str]:
    """The methods that learn from this kind of data.

    >>> "cyclegan" in methods_for("unpaired")
    True
    """
    return [name for name, method in METHODS.items() if method.needs == needs]


def train_command(method: str, place: Place, direction: Direction | None = None, size: int | None = None) -> str:
    """The command that trains a method on a place, in a run of its name.

    >>> train_command("pix2pix", Place(Path("my pairs")), "AtoB")
    "diptych train pix2pix --data 'my pairs' --direction AtoB --out 'runs/my pairs'"
    """
    words = [f"diptych train {method} {place.arguments}"]
    words += [f"--direction {direction}"] if direction else []
    words += [f"--size {size}"] if size else []
    name = Path(os.path.realpath(place.folder)).name  # unlike Path.resolve, it bears links that lead in circles
    return " ".join([*words, f"--out {shlex.quote(f'runs/{name}')}"])


def counted(count: int, what: str) -> str:
    """A number and what it counts.

    >>> counted(1, "pair"), counted(2, "pair")
    ('1 pair', '2 pairs')
    """
    return f"{count} {what}{'' if count == 1 else 's'}"


# ---- for people


def show(findings: Findings, console: Console) -> None:
    """Prints the findings; of long lists the beginning."""
    lines = [f"{findings.folder}: {counted(findings.pictures, 'picture')}"]
    if findings.records:
        lines.append(f"in TFRecord files: {counted(findings.records, 'picture')}, counted and not looked at")
    for title, counts in (("folders", findings.counts), ("modes", findings.modes), ("sizes", findings.sizes)):
        first = ", ".join(f"{name} ({count})" for name, count in [*counts.items()][:SHOWN])
        lines += [f"{title}: {first}{_more(len(counts), ', ')}"] if counts else []
    if len(findings.sizes) > 1:
        lines.append(f"the smallest {findings.smallest}, the largest {findings.largest}")
    if findings.grey_in_colour:
        lines.append(f"saved in colour, but grey: {findings.grey_in_colour}")
    for title, entries in (
        ("cannot be read", findings.unreadable),
        ("near-duplicates", [", ".join(group) for group in findings.duplicates]),
        ("near-duplicates in more than one of train, val and test", [", ".join(group) for group in findings.leaks]),
        ("names that differ in their suffixes only", [", ".join(group) for group in findings.same_stems]),
        ("files that are no pictures", findings.other_files),
    ):
        if entries:
            lines += [f"{title}: {len(entries)}", *(f"  {entry}" for entry in entries[:SHOWN])]
            lines += [f"  {_more(len(entries))}"] if len(entries) > SHOWN else []
    lines.append(f"fits {' and '.join(findings.methods) or 'no method'}: {findings.reason}")
    lines += [f"note: {note}" for note in findings.notes]
    for line in lines:
        say(console, "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line))
    if findings.command:
        say(console, findings.command)


def _more(count: int, before: str = "") -> str:
    return f"{before}and {count - SHOWN} more" if count > SHOWN else ""
