"""A folder of pictures -> train, val and test, drawn by a seed. Pairs and near-duplicates stay on one side."""

import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from random import Random
from typing import Literal

from rich.console import Console

from diptych.data.datasets import FileDataset
from diptych.data.idx import idx_files
from diptych.data.layouts import find_singles
from diptych.data.outputs import Job
from diptych.data.paths import DataPaths, Split
from diptych.files import atomic_file
from diptych.prepare.folders import claim, each_missing, say_left_out
from diptych.prepare.scan import (
    Sample,
    alike,
    as_tuples,
    other_files,
    partners,
    samples,
    scan_all,
    split_of,
    two_folders,
)
from diptych.progress import say
from diptych.wording import counted

Group = list[Sample]


def split(
    folder: Path | str,
    *,
    out: Path | str,
    val: float = 0.1,
    test: float = 0.0,
    seed: int = 0,
    by: Literal["copy", "link"] = "copy",
    workers: int | None = None,
    console: Console | None = None,
) -> list[str]:
    """Divides the pictures in `folder` into `out/train`, `out/val` and `out/test`; each keeps its path below the folder.

    The shares are met as nearly as near-duplicates allow, in each sub-folder as in all. In two folders, files of the same
    stem are pairs if each has its partner; pairs in folders of other names than A and B become NAME/train, NAME/val, as
    training expects them. Links are symbolic and relative: unlike hard links they are seen to be links, lead to other
    disks, and hold when both folders are moved. The same call goes on with what was stopped.

    Returns one line for each picture that was left out because it or its partner cannot be read. Raises a `ValueError` for
    a problem of all of them: shares, a folder that has splits, too few pictures, a target in the folder or of another call.

    Args:
        folder: The folder of pictures; it is only read.
        out: The folder to write.
        val: Share that goes to val, from 0 to 1.
        test: Share that goes to test, from 0 to 1.
        seed: Another seed divides in another way.
        by: Copies, or symbolic links.
        workers: Threads; by default one per core.

    >>> import tempfile
    >>> from diptych.data.builtin import facades
    >>> facades.write(folder := Path(tempfile.mkdtemp()), size=32, train=10, val=0)
    >>> split(folder / "train", out=folder / "divided", val=0.2)
    []
    >>> len([*(folder / "divided/val").iterdir()])
    2
    """
    folder, out, console = Path(folder), Path(out), console or Console(stderr=True)
    shares = _shares(val, test)
    paths = undivided(folder)
    data_paths, of_each_split = partners(DataPaths(folder), paths)
    pairs = as_tuples(of_each_split)
    found = samples(paths, pairs)
    sides, unit = ([], "pair") if pairs else (two_folders(folder, paths), "picture")
    _require_enough(found, sides or [folder], unit, shares)
    claim(out, "split", {"val": val, "test": test, "seed": seed, "by": by}, [folder])
    each = f", {sides[0].name} and {sides[1].name} each by itself" if sides else ""
    others = len(other_files(folder))
    behind = f"; left behind: {counted(others, 'file')} of other kinds" if others else ""
    say(console, f"{folder}: {counted(len(found), unit)}{' by stem' if pairs else ''}{each}{behind}")
    say_left_out([folder], console)

    infos, problems = scan_all(paths, workers, console)
    problems += _left_behind(pairs, infos)
    groups = alike(found, infos)
    say_alike(folder, groups, console)
    division = divide(groups, shares, seed, sides or [folder])
    jobs = _plan(division, folder, out, data_paths, console)
    return problems + each_missing(jobs, out, partial(_place, by), "split", workers, console)


def _require_enough(found: Sequence[Sample], sides: Sequence[Path], unit: str, shares: Collection[Split]) -> None:
    """Raises a `ValueError` for a side that has fewer samples than there are splits."""
    for side in sides:
        if (count := sum(sample[0].is_relative_to(side) for sample in found)) < len(shares):
            raise ValueError(f"{side}: {counted(count, unit)}, too few for {' and '.join(shares)}; add pictures")


def _plan(
    division: dict[Split, list[Group]], folder: Path, out: Path, data_paths: DataPaths, console: Console
) -> list[Job]:
    """Which picture goes where; a `ValueError` when an earlier call put one of them into another split."""
    jobs: list[Job] = []
    for part, its_groups in division.items():
        its_paths = [path for group in its_groups for sample in group for path in sample]
        names = [path.relative_to(folder) for path in its_paths]
        targets = {split: [_target(out, split, name, data_paths) for name in names] for split in division}
        jobs += zip(its_paths, targets.pop(part), strict=True)
        if stray := next(filter(os.path.lexists, chain.from_iterable(targets.values())), None):
            raise ValueError(
                f"{stray}: belongs to {part} now, because pictures in {folder} have changed since; choose another --out"
            )
        say(console, f"{part}: {counted(len(its_paths), 'picture')}")
    return jobs


def _left_behind(pairs: Iterable[tuple[Path, Path]], infos: Collection[Path]) -> list[str]:
    """A line for each half of a pair whose other half cannot be read."""
    broken = [(a, b) if a in infos else (b, a) for a, b in pairs if (a in infos) != (b in infos)]
    return [f"{a}: left behind, because its partner {b} cannot be read" for a, b in broken]


def _target(out: Path, split: Split, name: Path, data_paths: DataPaths) -> Path:
    """Where a picture of this path below its folder goes: into the split, or, of two folders, into the split of its own."""
    if data_paths.folder_b is None:
        return out / split / name
    return out / name.parts[0] / split / Path(*name.parts[1:])


def _shares(val: float, test: float) -> dict[Split, float]:
    shares: dict[Split, float] = {"train": round(1 - val - test, 9), "val": val, "test": test}
    if not (val >= 0 and test >= 0 and shares["train"] > 0 and val + test > 0):
        raise ValueError(f"--val {val} --test {test}: shares between 0 and 1 are expected, which leave some for train")
    return {split: share for split, share in shares.items() if share}


def undivided(folder: Path) -> Sequence[Path]:
    """The pictures in a folder; a `ValueError` when it holds train, val or test already, or no picture files."""
    if folder.is_dir() and idx_files(folder):
        raise ValueError(
            f"{folder}: holds idx files, which are not divided; the published sets are, t10k is their test split"
        )
    source = find_singles(folder)
    if not isinstance(source, FileDataset):
        if not folder.is_dir():
            raise ValueError(f"{folder}: is an array, which is not divided; give the folder that it was packed from")
        raise ValueError(f"{folder}: holds TFRecord files, which are not divided; two folders of them can be A and B")
    for path in source.paths:
        if split := split_of(path, folder):
            raise ValueError(
                f"{path}: is in {split} already; give a folder without splits, such as {folder / 'train'} by itself"
            )
    return source.paths


def say_alike(folder: Path, groups: Iterable[Group], console: Console) -> None:
    """Says how many near-duplicates there are, if there are any."""
    if kept := [len(group) for group in groups if len(group) > 1]:
        say(console, f"{folder}: {counted(len(kept), 'group')} of near-duplicates, of up to {max(kept)}, stay together")


def divide(
    groups: Sequence[Group], shares: dict[Split, float], seed: int, folders: Sequence[Path]
) -> dict[Split, list[Group]]:
    """Every group of near-duplicates to one split, as nearly by the shares as that allows; the seed draws.

    Train gets pictures of each sub-folder, which may be a class, where a group of equal size can be exchanged. Each split
    gets pictures of each of `folders`; a `ValueError` names the one that has too few for that.
    """
    division = _divide(groups, shares, Random(seed))
    _learn_of_all(division)
    for folder in folders:
        _fill_up(division, folder)
    return division


def _divide(groups: Sequence[Group], shares: dict[Split, float], generator: Random) -> dict[Split, list[Group]]:
    """Each group goes to the split that is furthest below its share so far.

    Folder after folder, so that each is divided as all are; in a folder the large groups first, so that small ones can
    even out what they leave.
    """
    drawn = generator.sample(groups, len(groups))
    drawn.sort(key=lambda group: (group[0][0].parent, -len(group)))
    division: dict[Split, list[Group]] = {split: [] for split in shares}
    given = dict.fromkeys(shares, 0)
    for group in drawn:
        total = sum(given.values()) + len(group)
        split = max(shares, key=lambda split: shares[split] * total - given[split])
        division[split].append(group)
        given[split] += len(group)
    return division


def _learn_of_all(division: dict[Split, list[Group]]) -> None:
    """Where train has no group of a sub-folder, exchanges one of equal size, of a sub-folder that train knows better."""
    train = division["train"]
    learnt = Counter(parent for group in train for parent in _parents(group))
    for groups in (groups for split, groups in division.items() if split != "train"):
        for index, group in enumerate(groups):
            if any(parent in learnt for parent in _parents(group)):
                continue
            alike = (own for own in train if len(own) == len(group))
            if own := next((own for own in alike if all(learnt[parent] > 1 for parent in _parents(own))), None):
                groups[index], train[train.index(own)] = own, group
                learnt.subtract(_parents(own))
                learnt.update(_parents(group))


def _parents(group: Group) -> set[Path]:
    return {path.parent for sample in group for path in sample}


def _fill_up(division: dict[Split, list[Group]], side: Path) -> None:
    """If a split has no picture of one side, moves the smallest group there from the split with the most groups."""
    for split, groups in division.items():
        here = {
            other: [group for group in its if any(path.is_relative_to(side) for sample in group for path in sample)]
            for other, its in division.items()
        }
        if here[split]:
            continue
        richest = max(here, key=lambda other: len(here[other]))
        if len(here[richest]) < 2:
            raise ValueError(
                f"{side}: without near-duplicates there are too few pictures for {' and '.join(division)}; add pictures"
            )
        smallest = min(here[richest], key=len)
        division[richest].remove(smallest)
        groups.append(smallest)


def _place(by: Literal["copy", "link"], job: Job) -> None:
    source, target = job
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(target, durable=False) as beside:
            if by == "copy":
                shutil.copyfile(source, beside)
            else:
                real = Path(os.path.realpath(source.parent), source.name)
                beside.unlink()  # no link can be made where a file is
                beside.symlink_to(os.path.relpath(real, os.path.realpath(target.parent)))
    except OSError as error:
        raise ValueError(f"{target}: could not be written ({error.strerror or error})") from error
