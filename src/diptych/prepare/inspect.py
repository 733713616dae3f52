"""Reports on a folder of pictures: contents, problems, and the method that it fits. Each file is decoded once."""

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
from statistics import median_high
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from diptych.data import layouts, notices, tfrecords, unread
from diptych.data.datasets import (
    ArrayDataset,
    Dataset,
    FileDataset,
    FilePairs,
    RecordDataset,
    SideBySide,
    are_halves,
    classes_of,
    stem,
)
from diptych.data.idx import IdxDataset, idx_files
from diptych.data.loaders import SPREAD, evenly_spaced
from diptych.data.pairs import ChoiceError
from diptych.data.partners import SAME, canonical
from diptych.data.paths import SPLIT_FOLDERS, DataPaths, list_pictures
from diptych.data.remote import UnreachableError, spelled
from diptych.data.shards import INDEX, TAR, OfSamples, is_place, open_samples
from diptych.data.shards import find as find_shards
from diptych.data.sides import no_images
from diptych.files import atomic_file
from diptych.images.files import encode, from_bytes, from_tensor, merge
from diptych.images.size import Size
from diptych.images.spec import ImageSpec
from diptych.kinds import DataKind, Direction
from diptych.methods import METHODS, sketch
from diptych.methods.settings import Shape
from diptych.prepare import scan
from diptych.prepare.folders import claim
from diptych.prepare.scan import ImageInfo
from diptych.progress import say
from diptych.wording import counted

MONTAGE, COLUMNS = 64, 8  # pictures in all, pictures in a row
USUAL, SMALLEST = 256, 32  # pixels: the default size of a training, and the least for a PatchGAN of 70 pixels
SHOWN = 10  # names of a kind, in the terminal
SIDES = (DataKind.PAIRED, DataKind.UNPAIRED)
SAME_STEMS = "names that differ in their suffixes only are refused: rename one of each"
GREY = torch.zeros(3, 1, 1, dtype=torch.uint8)  # a picture without colour


@dataclass(frozen=True)
class Findings:
    """The result of `inspect`. Files are named by their paths below the folder; a pair by its A."""

    folder: str
    pictures: int
    """Readable picture files; the following fields are about these."""
    counts: dict[str, int]
    """Pictures in train/A, in val/B and so on: in the two top folders."""
    sizes: dict[str, int]
    """Pictures of each WIDTHxHEIGHT in pixels, most frequent first."""
    smallest: str
    largest: str
    modes: dict[str, int]
    """Pictures in grey, RGB, palette and so on, most frequent first."""
    grey_in_colour: int
    """Pictures saved in colour that are grey."""
    records: int
    """Pictures in TFRecord or idx files, which are counted but not decoded."""
    samples: int
    """Samples in tar files, of which some evenly spaced ones are decoded."""
    unreadable: list[str]
    """A line for each file that cannot be read, with the reason."""
    remarks: list[str]
    """A line for each picture that is not wholly read, such as the first frame of several."""
    duplicates: list[list[str]]
    """Groups of near-duplicates; in a group each is a near-duplicate of another."""
    leaks: list[list[str]]
    """The near-duplicates in more than one of train, val and test."""
    same_stems: list[list[str]]
    """Files whose names differ only in their suffixes, which training refuses."""
    other_files: list[str]
    """Files that are no pictures."""
    methods: list[str]
    """The methods that the folder fits, best first."""
    reason: str
    command: str | None
    """The command that trains the first of the methods."""
    notes: list[str]
    """What to repair or to choose first."""
    layouts: list[str]
    """One line for each layout that training knows: whether the folder fits, and why not."""


def inspect(
    folder: Path | str,
    *,
    out: Path | str | None = None,
    suffix_a: str | None = None,
    suffix_b: str | None = None,
    workers: int | None = None,
    console: Console | None = None,
) -> Findings:
    """Decodes every picture in `folder` and below, and reports on them.

    `out` gets `montage.png`, up to 64 pictures spread evenly over all, and `inspect.json`; without it nothing is written.
    Raises a `ValueError` when there are no pictures, or when `out` holds anything else.

    Args:
        folder: The folder of pictures; it is only read.
        out: A new folder for a montage and the findings as JSON.
        suffix_a: How the file names of A end, if partners differ in that.
        suffix_b: The same for B.
        workers: Threads; by default one per core.

    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> Image.new("RGB", (40, 20)).save(folder / "a pair.png")
    >>> inspect(folder).reason
    '1 picture, all twice as wide as tall: side-by-side pairs'
    """
    folder = _require_folder(Path(folder))
    given = DataPaths.from_flags(folder, None, None, suffix_a, suffix_b)
    contents = _contents(folder)
    if out is not None:
        claim(Path(out), "inspect", {}, [folder])
    infos, problems = scan.scan_all(contents.pictures, workers, console, _montage_of(contents.pictures))
    records, broken = _count_records(contents)
    problems += broken
    paths, pairs = scan.partners(given, contents.pictures)
    groups = _duplicates(contents.pictures, scan.as_tuples(pairs), infos)
    leaks = [group for group in groups if len({scan.split_of(sample[0], folder) for sample in group} - {None}) > 1]
    same_stems = _same_stems(folder, contents.pictures)
    fit = _Fit(None, paths, SAME_STEMS) if same_stems else _fit(paths, infos, pairs, contents, records)
    methods = [name for name in methods_for(fit.kind) if not _only_grey(infos) or _learns_from_grey(name)]
    findings = Findings(
        folder=spelled(folder),
        **_of_pictures(folder, infos),
        records=records,
        samples=sum(map(len, contents.shards)),
        unreadable=problems,
        duplicates=[_names(folder, (sample[0] for sample in group)) for group in groups],
        leaks=[_names(folder, (sample[0] for sample in group)) for group in leaks],
        same_stems=[_names(folder, files) for files in same_stems],
        other_files=_names(folder, contents.others),
        methods=methods,
        reason=fit.reason,
        command=_command(methods[0], fit, infos) if methods else None,
        notes=_notes(folder, fit, infos, scan.as_tuples(pairs), contents, _warnings(problems, leaks)),
        layouts=layouts.explain(given),
    )
    if out is not None:
        _write(Path(out), findings, [info.cell for info in infos.values() if info.cell is not None])
    return findings


def _require_folder(folder: Path) -> Path:
    if not (folder.is_dir() or is_place(folder)):
        expected = unread.remedy(folder) or "a folder of pictures is expected"
        raise ValueError(f"{folder}: is not there, or no folder; {expected}")
    return folder


def _duplicates(
    pictures: Sequence[Path], pairs: Sequence[tuple[Path, Path]], infos: dict[Path, ImageInfo]
) -> list[list[scan.Sample]]:
    """The groups of samples that are nearly the same."""
    return [group for group in scan.alike(scan.samples(pictures, pairs), infos) if len(group) > 1]


def _of_pictures(folder: Path, infos: Mapping[Path, ImageInfo]) -> dict[str, Any]:
    """The entries of the findings about the pictures that can be read."""
    return {
        "pictures": len(infos),
        "counts": dict(Counter(Path(*path.relative_to(folder).parts[:-1][:2]).as_posix() for path in infos)),
        **_sizes(infos.values()),
        "modes": dict(Counter(info.mode for info in infos.values()).most_common()),
        "grey_in_colour": sum(info.seen.channels in (3, 4) and not info.coloured for info in infos.values()),
        "remarks": [str(remark) for info in infos.values() for remark in info.remarks],
    }


def _notes(
    folder: Path,
    fit: "_Fit",
    infos: Mapping[Path, ImageInfo],
    pairs: Sequence[tuple[Path, Path]],
    contents: "_Contents",
    warnings: Sequence[str],
) -> list[str]:
    """What to repair or to choose first."""
    classes = [] if contents.idx_files else _classes(fit, infos)
    left_out = "" if contents.shards else unread.describe([folder])
    places = _of_places(folder, contents.pictures)
    return [*fit.notes, *_losses(infos, pairs), *classes, *warnings, *places, *filter(None, [left_out])]


def _losses(infos: Mapping[Path, ImageInfo], pairs: Sequence[tuple[Path, Path]]) -> list[str]:
    """What a training with default settings would lose of the files: of A and B where they are pairs, else of all."""
    if pairs:
        sides = [[infos[path].seen for path in side if path in infos] for side in zip(*pairs, strict=True)]
        return notices.of_sides((ImageSpec(), ImageSpec()), sides)
    return notices.of_files("", ImageSpec(), [info.seen for info in infos.values()])


def _warnings(problems: Sequence[str], leaks: Sequence[object]) -> list[str]:
    warnings = []
    if problems:
        warnings.append(f"what cannot be read ({counted(len(problems), 'file')}) stops a training: repair or remove it")
    if leaks:
        warnings.append("val and test hold pictures of train: `diptych data split` keeps near-duplicates on one side")
    return warnings


def _of_places(folder: Path, pictures: Sequence[Path]) -> list[str]:
    """Notes on names that collide where case does not count, and on folders of code whose pictures are read."""
    by_name = defaultdict[str, list[Path]](list)
    for path in pictures:
        by_name[str(path).casefold()].append(path)
    notes = [
        f"{' and '.join(_names(folder, same))} are one file on disks of Windows and macOS: rename one before copying"
        for same in by_name.values()
        if len(same) > 1
    ]
    parents = {
        parent for path in pictures for parent in path.parents if parent != folder and parent.is_relative_to(folder)
    }
    for code in sorted(parent for parent in parents if (parent / ".git").exists()):
        count = sum(path.is_relative_to(code) for path in pictures)
        inside = f"{counted(count, 'picture')} in it {'is' if count == 1 else 'are'} read too"
        notes.append(f"{code} is a repository (.git), and {inside}; move it if it is code")
    return notes[:SHOWN]


def _sizes(infos: Iterable[ImageInfo]) -> dict[str, Any]:
    """The entries of the findings about sizes."""
    by_area = sorted(infos, key=lambda info: (info.width * info.height, info.width))
    sizes = [f"{info.width}x{info.height}" for info in by_area]
    smallest, largest = (sizes[0], sizes[-1]) if sizes else ("", "")
    return {"sizes": dict(Counter(sizes).most_common()), "smallest": smallest, "largest": largest}


def _names(folder: Path, files: Iterable[Path]) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in files]


@dataclass(frozen=True)
class _Contents:
    """The files in a folder, by what they are."""

    pictures: list[Path]
    records: list[Path]
    idx_files: list[tuple[Path, Path]]
    others: list[Path]
    shards: list[Dataset]
    """The datasets of tar files."""


def _contents(folder: Path) -> _Contents:
    """Raises a `ValueError` for a folder in which there is nothing to train on."""
    if is_place(folder):
        return _Contents([], [], [], [], _shards(DataPaths(folder)))
    pictures, others = list_pictures(folder), scan.other_files(folder)
    records = [file for file in others if tfrecords.NAMES.fullmatch(file.name)]
    pairs = [] if pictures or records else list(idx_files(folder).values())
    of_shards = [] if pictures or records or pairs else _shards(DataPaths(folder))
    if not (pictures or records or pairs or of_shards or _custom(DataPaths(folder), DataKind)):
        _require_no_array(folder)
        raise no_images(folder, ", and no TFRecord or idx files")
    packed = {*pictures, *records, *chain.from_iterable(pairs)}
    others = [file for file in others if file not in packed and not (of_shards and file.suffix.lower() in (TAR, INDEX))]
    return _Contents(pictures, records, pairs, others, of_shards)


def _shards(paths: DataPaths) -> list[Dataset]:
    """What is in tar files, each of their splits or sides; a `ValueError` where something is wrong with one."""
    for split in SPLIT_FOLDERS:
        if tars := find_shards(paths.folder, split):
            open_samples(tars)
    found = [layouts.matches(kind, paths, [*SPLIT_FOLDERS]) for kind in DataKind]
    of_shards = [[one for one in matches if isinstance(one.datasets[0], OfSamples)] for matches in found]
    return next(([one for match in matches for one in match.datasets] for matches in of_shards if matches), [])


def _require_no_array(folder: Path) -> None:
    """Raises a `ValueError` with the command for a folder of arrays, which are not looked into."""
    for found in layouts.matches(DataKind.IMAGES, DataPaths(folder)):
        method, *_ = methods_for(DataKind.IMAGES)
        raise ValueError(
            f"{folder}: holds an array of {counted(len(found.datasets[0]), 'picture')}, which is not looked into here; "
            f"training reads it: {train_command(method, DataPaths(folder))}"
        )


def _count_records(contents: _Contents) -> tuple[int, list[str]]:
    """The number of pictures in files of many, and a line for each file that cannot be read."""
    reads: list[Callable[[], Sized]] = [partial(tfrecords.list_records, file) for file in contents.records]
    reads += [partial(IdxDataset, images, (ImageSpec(),), labels) for images, labels in contents.idx_files]
    count, problems = 0, [line for dataset in contents.shards for line in _unreadable(dataset)]
    for read in reads:
        try:
            count += len(read())
        except ValueError as error:
            problems.append(str(error))
    return count, problems


def _unreadable(dataset: Dataset) -> list[str]:
    """A line for each of some evenly spaced samples that cannot be read."""
    problems = list[str]()
    for index in evenly_spaced(SPREAD, len(dataset)):
        try:
            dataset.load(index)
        except UnreachableError:
            raise
        except ValueError as error:
            problems.append(str(error))
    return problems


def _usual_side(infos: Mapping[Path, ImageInfo]) -> int | None:
    sides = [min(info.width, info.height) for info in infos.values()]
    return median_high(sides) if sides else None


def _write(out: Path, findings: Findings, cells: Sequence[Tensor]) -> None:
    if cells:
        sheet = merge([from_bytes(cell) for cell in cells], columns=min(COLUMNS, len(cells)))
        encode(from_tensor(sheet), out / "montage.png")
    with atomic_file(out / "inspect.json") as partial_file:
        partial_file.write_text(json.dumps(asdict(findings), indent=2) + "\n", encoding="utf-8")


def _montage_of(paths: Sequence[Path]) -> set[Path]:
    """A stratified sample: one from each of 64 stretches of the list, the same at each call."""
    total, count, generator = len(paths), min(len(paths), MONTAGE), Random(0)
    return {paths[generator.randrange(n * total // count, (n + 1) * total // count)] for n in range(count)}


# ---- which method it fits


def _same_stems(folder: Path, paths: Iterable[Path]) -> list[list[Path]]:
    by_stem = defaultdict[str, list[Path]](list)
    for path in paths:
        by_stem[canonical(stem(path, folder))].append(path)
    return [files for files in by_stem.values() if len(files) > 1]


@dataclass(frozen=True)
class _Fit:
    """The kind of data in a folder, the paths that training finds it by, the reason, and choices to make."""

    kind: DataKind | None
    paths: DataPaths
    reason: str
    notes: Sequence[str] = ()


def _fit(
    paths: DataPaths, infos: Mapping[Path, ImageInfo], pairs: Sequence[FilePairs], contents: _Contents, records: int
) -> _Fit:
    if contents.idx_files:
        kind = DataKind.LABELLED if records else None
        return _Fit(kind, paths, f"{counted(records, 'picture')} with labels in idx files")
    if pairs:
        direction = "AtoB makes B from A, BtoA makes A from B: choose the --direction that you need"
        names = "with the same stem" if pairs[0].affixes == SAME else "whose names differ"
        _, comma, sides = pairs[0].where.partition(", ")
        reason = f"{counted(sum(map(len, pairs)), 'pair')} of two files {names}{comma}{sides}"
        return _Fit(DataKind.PAIRED, paths, reason, [direction])
    try:
        layouts.match(DataKind.PAIRED, paths, "train")
    except ChoiceError as error:
        return _Fit(None, paths, str(error))
    except ValueError:
        pass
    has_files = contents.pictures or contents.records
    if fit := _unpaired(paths, contents.records) or _custom(paths, SIDES if has_files else DataKind):
        return fit
    try:
        layouts.match(DataKind.IMAGES, paths, "train")
    except ValueError as error:
        return _Fit(None, paths, str(error))
    return _of_single_files(paths, infos)


def _of_single_files(paths: DataPaths, infos: Mapping[Path, ImageInfo]) -> _Fit:
    wide, others, known = _side_by_side(paths, infos)
    if wide and not others:
        direction = "AtoB makes the right half from the left one, BtoA the left from the right: choose the --direction"
        why = "joined by `diptych data combine`" if known else "all twice as wide as tall"
        return _Fit(DataKind.PAIRED, paths, f"{counted(wide, 'picture')}, {why}: side-by-side pairs", [direction])
    coloured = sum(info.coloured for info in infos.values())
    reason = f"{counted(len(infos), 'single picture')}, {coloured} of them in colour"
    if not infos:
        return _Fit(None, paths, f"{reason}, and no second set to learn from")
    reason = f"{reason}: too few to learn colours from" if _only_grey(infos) else reason
    remark = f"{wide} are twice as wide as tall, as side-by-side pairs are; {others} are not, such as "
    odd = next((path.name for path, info in infos.items() if not are_halves(info.height, info.width)), "")
    return _Fit(DataKind.IMAGES, paths, reason, [remark + odd] if wide > others else [])


def _side_by_side(paths: DataPaths, infos: Mapping[Path, ImageInfo]) -> tuple[int, int, bool]:
    """How many pictures have the shape of side-by-side pairs, how many have not; and whether it is known that all are."""
    datasets = [dataset for found in layouts.matches(DataKind.PAIRED, paths) for dataset in found.datasets]
    if any(isinstance(pairs, SideBySide) and pairs.any_shape for pairs in datasets):
        return len(infos), 0, True
    wide = sum(are_halves(info.height, info.width) for info in infos.values())
    return wide, len(infos) - wide, False


def _only_grey(infos: Mapping[Path, ImageInfo]) -> bool:
    """Whether most pictures have no colour to learn from."""
    return 2 * sum(info.coloured for info in infos.values()) <= len(infos)


def _unpaired(paths: DataPaths, record_files: Sequence[Path]) -> _Fit | None:
    """A and B, where training without pairs finds them in the folder, or in its two folders of TFRecord files."""
    record_folders = sorted({file.parent for file in record_files})
    for candidate in [paths, *([DataPaths(record_folders[0], record_folders[1])] if len(record_folders) == 2 else [])]:
        for found in layouts.matches(DataKind.UNPAIRED, candidate):
            a, b = found.datasets
            if not (isinstance(a, FileDataset | RecordDataset) and isinstance(b, FileDataset | RecordDataset)):
                continue
            reason = f"two sets without partners: A is {a.folder.name} ({len(a)}), B is {b.folder.name} ({len(b)})"
            shared = len({canonical(a.name(i)) for i in range(len(a))} & {canonical(b.name(i)) for i in range(len(b))})
            missing = f"{counted(shared, 'stem')} of A and B are the same: if they are pairs, add the missing partners"
            return _Fit(DataKind.UNPAIRED, candidate, reason, [missing] if shared else [])
    return None


def _custom(paths: DataPaths, kinds: Iterable[DataKind]) -> _Fit | None:
    """A layout that is recognised without its pictures, and has no case of its own here; arrays are not inspected."""
    for kind in kinds:
        for found in layouts.matches(kind, paths):
            if not found.layout.fits_any_images and not isinstance(found.datasets[0], FilePairs | ArrayDataset):
                count = " and ".join(str(len(dataset)) for dataset in found.datasets)
                return _Fit(kind, paths, f"{found.layout.name}: {count} samples")
    return None


def _command(method: str, fit: _Fit, infos: Mapping[Path, ImageInfo]) -> str:
    direction: Direction | None = "AtoB" if fit.kind == DataKind.PAIRED else None
    return train_command(method, fit.paths, direction, _usual_side(infos))


def _classes(fit: _Fit, infos: Mapping[Path, ImageInfo]) -> list[str]:
    """A note on folders that may be classes: two or more, or three where two may be A and B."""
    if fit.kind == DataKind.LABELLED:
        return []
    least = 3 if fit.kind is None or fit.kind.has_sides else 2
    classes = {name for found in layouts.matches(DataKind.LABELLED, fit.paths) for name in classes_of(found.datasets)}
    if not classes or len(classes) < least:
        return []
    method, *_ = methods_for(DataKind.LABELLED)
    command = train_command(method, fit.paths, side=_usual_side(infos))
    return [f"its {len(classes)} folders may be classes, of which {method} draws more: {command}"]


def _learns_from_grey(name: str) -> bool:
    method = sketch(name, METHODS[name].Settings(), Shape(size=Size.square(USUAL), classes=("a",)))
    return all(translator.reject_reason(GREY) is None for translator in method.translators().values())


def methods_for(kind: DataKind | None) -> list[str]:
    """The methods that learn from this kind of data.

    >>> "cyclegan" in methods_for(DataKind.UNPAIRED)
    True
    """
    return [name for name, method in METHODS.items() if method.data == kind]


def train_command(method: str, paths: DataPaths, direction: Direction | None = None, side: int | None = None) -> str:
    """The command that trains a method on the data at `paths`, in a run of its name.

    `side` is the shorter side of a typical picture in pixels: small pictures are not enlarged to 256.

    >>> train_command("pix2pix", DataPaths(Path("my pairs")), "AtoB", side=100)
    "diptych train pix2pix --data 'my pairs' --direction AtoB --size 64 --out 'runs/my pairs'"
    """
    words = [f"diptych train {method} {paths.arguments}"]
    words += [f"--direction {direction}"] if direction else []
    if side is not None and side < USUAL:
        words.append(f"--size {max(2 ** (side.bit_length() - 1), SMALLEST)}")
    name = Path(os.path.realpath(paths.folder)).name  # unlike Path.resolve, it accepts circular links
    return " ".join([*words, f"--out {shlex.quote(f'runs/{name}')}"])


# ---- for people


def show(findings: Findings, console: Console) -> None:
    """Prints the findings; long lists are cut."""
    contents = list[str]()
    if findings.pictures or not (findings.records or findings.samples):
        contents.append(counted(findings.pictures, "picture"))
    if findings.records:
        contents.append(f"{counted(findings.records, 'picture')} in TFRecord or idx files, counted and not looked at")
    if findings.samples:
        samples = counted(findings.samples, "sample")
        contents.append(f"{samples} in tar files, of which up to {SPREAD} of a set were looked at")
    lines = [f"{findings.folder}: {contents[0]}", *contents[1:]]
    for title, counts in (("folders", findings.counts), ("modes", findings.modes), ("sizes", findings.sizes)):
        first = ", ".join(f"{name} ({count})" for name, count in [*counts.items()][:SHOWN])
        lines += [f"{title}: {first}{_more(len(counts), ', ')}"] if counts else []
    if len(findings.sizes) > 1:
        lines.append(f"the smallest {findings.smallest}, the largest {findings.largest}")
    if findings.grey_in_colour:
        lines.append(f"saved in colour, but grey: {findings.grey_in_colour}")
    for title, entries in (
        ("cannot be read", findings.unreadable),
        ("read, with a remark", findings.remarks),
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
        say(console, line)
    if findings.command:
        say(console, findings.command)


def _more(count: int, before: str = "") -> str:
    return f"{before}and {count - SHOWN} more" if count > SHOWN else ""
