"""What is in a folder of pictures, what is wrong with it, and which method it is for. Each file is decoded once."""

import json
import os
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from random import Random

import torch
from rich.console import Console
from torch import Tensor

from diptych.data import layouts, tfrecords
from diptych.data.datasets import FileDataset, LabelledDataset, RecordDataset, stem
from diptych.data.idx import IdxDataset
from diptych.data.layouts import DataPaths
from diptych.files import atomic_file
from diptych.images.files import SUFFIXES, encode, from_bytes, from_tensor, merge
from diptych.kinds import DataKind, Direction
from diptych.methods import METHODS
from diptych.prepare.folders import claim
from diptych.prepare.scan import ImageInfo, Sample, alike, counted, look_at, other_files, partners, samples, split_of
from diptych.progress import say

MONTAGE, COLUMNS = 64, 8  # pictures in all, pictures in a row
USUAL, SMALLEST = 256, 32  # pixels: the size of a training if nobody says, and the least for a PatchGAN of 70 pixels
SHOWN = 10  # names of a kind, in the terminal
GREY = torch.zeros(3, 1, 1, dtype=torch.uint8)  # a picture without colour


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
    """How many pictures there are in TFRecord or idx files; they are counted, not looked at."""
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
    >>> from PIL import Image
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
    idx_files = [] if paths or record_files else list(layouts.idx_files(folder).values())
    if not paths and not record_files and not idx_files:
        raise ValueError(f"{folder}: no pictures found ({', '.join(SUFFIXES)}), and no TFRecord or idx files")
    if out is not None:
        claim(Path(out), "inspect", {}, [folder])
    looks, problems = look_at(paths, workers, console, _spread(paths))
    of_many = {*record_files, *chain.from_iterable(idx_files)}
    records, broken = _count_records(record_files, idx_files)
    problems += broken
    place, pairs = partners(folder, paths)
    groups = [group for group in alike(samples(paths, pairs), looks) if len(group) > 1]
    leaks = [group for group in groups if len({split_of(sample[0], folder) for sample in group} - {None}) > 1]
    same_stems = _same_stems(folder, paths)
    needs, place, reason, notes = _fit(folder, looks, place, pairs, record_files, bool(same_stems))
    if idx_files:
        needs, reason = (
            DataKind.LABELLED if records else None,
            f"{counted(records, 'picture')} with labels in idx files",
        )
    else:
        notes += _classes(place, looks, 3 if needs is None or needs.has_sides else 2)
    if problems:
        notes.append(f"what cannot be read ({counted(len(problems), 'file')}) stops a training: repair or remove it")
    if leaks:
        notes.append("val and test hold pictures of train: `diptych data split` keeps near-duplicates on one side")

    def names(files: Iterable[Path]) -> list[str]:
        return [file.relative_to(folder).as_posix() for file in files]

    methods = [name for name in methods_for(needs) if not _only_grey(looks) or METHODS[name].of_no_use(GREY) is None]
    side = _usual_side(looks)
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
        grey_in_colour=sum(look.channels >= 3 and not look.coloured for look in looks.values()),
        records=records,
        unreadable=problems,
        duplicates=[names(sample[0] for sample in group) for group in groups],
        leaks=[names(sample[0] for sample in group) for group in leaks],
        same_stems=[names(files) for files in same_stems],
        other_files=names(file for file in others if file not in of_many),
        methods=methods,
        reason=reason,
        command=train_command(methods[0], place, "AtoB" if needs == DataKind.PAIRED else None, side)
        if methods
        else None,
        notes=notes,
    )
    if out is not None:
        _write(Path(out), findings, [look.cell for look in looks.values() if look.cell is not None])
    return findings


def _count_records(record_files: Iterable[Path], idx_files: Iterable[tuple[Path, Path]]) -> tuple[int, list[str]]:
    """How many pictures lie in files that hold many, and a line for each that cannot be read."""
    reads: list[Callable[[], Sized]] = [partial(tfrecords.list_records, file) for file in record_files]
    reads += [partial(IdxDataset, *files, (3,)) for files in idx_files]
    count, problems = 0, list[str]()
    for read in reads:
        try:
            count += len(read())
        except ValueError as error:
            problems.append(str(error))
    return count, problems


def _usual_side(looks: Mapping[Path, ImageInfo]) -> int | None:
    """The shorter side of a typical picture."""
    return sorted(min(look.width, look.height) for look in looks.values())[len(looks) // 2] if looks else None


def _write(out: Path, findings: Findings, cells: Sequence[Tensor]) -> None:
    if cells:
        sheet = merge([from_bytes(cell) for cell in cells], columns=min(COLUMNS, len(cells)))
        encode(from_tensor(sheet), out / "montage.png")
    with atomic_file(out / "inspect.json") as beside:
        beside.write_text(json.dumps(asdict(findings), indent=2) + "\n", encoding="utf-8")


def _spread(paths: Sequence[Path]) -> set[Path]:
    """One from each of 64 stretches of the list, the same at each call."""
    total, count, generator = len(paths), min(len(paths), MONTAGE), Random(0)
    return {paths[generator.randrange(n * total // count, (n + 1) * total // count)] for n in range(count)}


# ---- which method it fits


def _same_stems(folder: Path, paths: Iterable[Path]) -> list[list[Path]]:
    by_stem = defaultdict[str, list[Path]](list)
    for path in paths:
        by_stem[stem(path, folder)].append(path)
    return [files for files in by_stem.values() if len(files) > 1]


def _fit(
    folder: Path,
    looks: dict[Path, ImageInfo],
    place: DataPaths,
    pairs: Sequence[Sample],
    record_files: Sequence[Path],
    has_same_stems: bool,
) -> tuple[DataKind | None, DataPaths, str, list[str]]:
    """Which kind of data it is (a method's `needs`), how a command calls its place, why, and what is to be chosen."""
    if has_same_stems:
        return None, place, "names that differ in their suffixes only are refused: rename one of each", []
    count = len(looks)
    if pairs:
        direction = "AtoB makes B from A, BtoA makes A from B: choose the --direction that you need"
        return DataKind.PAIRED, place, f"{counted(len(pairs), 'pair')} of two files with the same stem", [direction]
    if sides := _unpaired(folder, record_files):
        place, (a, b) = sides
        reason = f"two sets without partners: A is {a.folder.name} ({len(a)}), B is {b.folder.name} ({len(b)})"
        shared = len({a.name(i) for i in range(len(a))} & {b.name(i) for i in range(len(b))})
        missing = f"{counted(shared, 'stem')} of A and B are the same: if they are pairs, add the missing partners"
        return DataKind.UNPAIRED, place, reason, [missing] if shared else []
    if looks and all(look.width == 2 * look.height for look in looks.values()):
        direction = "AtoB makes the right half from the left one, BtoA the left from the right: choose the --direction"
        reason = f"{counted(count, 'picture')}, all twice as wide as tall: side-by-side pairs"
        return DataKind.PAIRED, place, reason, [direction]
    coloured = sum(look.coloured for look in looks.values())
    reason = f"{counted(count, 'single picture')}, {coloured} of them in colour"
    if not count:
        return None, place, f"{reason}, and no second set to learn from", []
    return DataKind.IMAGES, place, f"{reason}: too few to learn colours from" if _only_grey(looks) else reason, []


def _only_grey(looks: dict[Path, ImageInfo]) -> bool:
    """Whether most pictures have no colour to learn from."""
    return 2 * sum(look.coloured for look in looks.values()) <= len(looks)


def _unpaired(folder: Path, record_files: Sequence[Path]) -> tuple[DataPaths, list[FileDataset | RecordDataset]] | None:
    """A and B, where training without pairs finds them in the folder, or in its two folders of TFRecord files."""
    record_folders = sorted({file.parent for file in record_files})
    for place in [DataPaths(folder), *([DataPaths(*record_folders)] if len(record_folders) == 2 else [])]:
        try:
            found = layouts.find_unpaired(place, "train") or []
        except ValueError:  # another layout, or none
            continue
        sides = [side for side in found if isinstance(side, FileDataset | RecordDataset)]
        if sides:
            return place, sides
    return None


def _classes(place: DataPaths, looks: Mapping[Path, ImageInfo], least: int) -> list[str]:
    """Folders that may be classes are worth a note, where there are at least so many."""
    try:
        found = layouts.find_labelled(place, "train")
    except ValueError:  # another layout, or none
        return []
    if not isinstance(found, LabelledDataset) or len(found.classes) < least:
        return []
    method, *_ = methods_for(DataKind.LABELLED)
    command = train_command(method, place, side=_usual_side(looks))
    return [f"its {len(found.classes)} folders may be classes, of which {method} draws more: {command}"]


def methods_for(kind: DataKind | None) -> list[str]:
    """The methods that learn from this kind of data.

    >>> "cyclegan" in methods_for(DataKind.UNPAIRED)
    True
    """
    return [name for name, method in METHODS.items() if method.data == kind]


def train_command(method: str, place: DataPaths, direction: Direction | None = None, side: int | None = None) -> str:
    """The command that trains a method on a place, in a run of its name.

    `side` is how many pixels a typical picture has on its shorter side: small pictures are not blown up to 256.

    >>> train_command("pix2pix", DataPaths(Path("my pairs")), "AtoB", side=100)
    "diptych train pix2pix --data 'my pairs' --direction AtoB --size 64 --out 'runs/my pairs'"
    """
    words = [f"diptych train {method} {place.arguments}"]
    words += [f"--direction {direction}"] if direction else []
    if side is not None and side < USUAL:
        words.append(f"--size {max(2 ** (side.bit_length() - 1), SMALLEST)}")
    name = Path(os.path.realpath(place.folder)).name  # unlike Path.resolve, it bears links that lead in circles
    return " ".join([*words, f"--out {shlex.quote(f'runs/{name}')}"])


# ---- for people


def show(findings: Findings, console: Console) -> None:
    """Prints the findings; of long lists the beginning."""
    lines = [f"{findings.folder}: {counted(findings.pictures, 'picture')}"]
    if findings.records:
        lines.append(f"in TFRecord or idx files: {counted(findings.records, 'picture')}, counted and not looked at")
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
