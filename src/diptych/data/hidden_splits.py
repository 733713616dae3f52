"""Splits below the top: those in each class are read, all others refused, so that no held-out picture is trained on."""

import os
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from diptych.data.datasets import Dataset, FilePairs, LabelledDataset, RecordDataset
from diptych.data.paths import SPLIT_FOLDERS, DataPaths, Split, folders_of_images, is_array, listed

SPLIT_OF: dict[str, Split] = {word: split for split, words in SPLIT_FOLDERS.items() for word in words}
HELD_OUT = {word for word, split in SPLIT_OF.items() if split != "train"}
SIDES = {word + side for word in SPLIT_OF for side in "ab"}
"""Folders of one side of a split."""
LIKE_HELD_OUT = re.compile(
    r"(?P<before>.*?[^a-z])??(test|val|valid|validation|eval|dev)(ing|set|data)?([^a-z].*)?", re.IGNORECASE
)
LIKE_TRAIN = re.compile(r"(?P<before>.*?[^a-z])??train(ing|set|data)?([^a-z].*)?", re.IGNORECASE)


def in_each_folder(data: Path, split: Split) -> dict[Split, list[Path]]:
    """The folders of the splits in each of two or more folders, such as `cat/train` and `dog/train`.

    Empty where pictures lie elsewhere, too. A `ValueError` where `split` is train, and one of the folders has none.
    """
    found: dict[Split, list[Path]] = {}
    tops = [] if is_array(data) else folders_of_images(data)
    if len(tops) < 2 or any(top.name.lower() in SPLIT_OF for top in tops):
        return {}
    for top in tops:
        inside = folders_of_images(top)
        if not inside or any(folder.name.lower() not in SPLIT_OF for folder in inside):
            return {}
        splits = [SPLIT_OF[folder.name.lower()] for folder in inside]
        if split == "train" and split not in splits:
            raise ValueError(
                f"{top}: has no train folder, only {listed(inside)}; put the pictures to learn from in {top / 'train'}"
            )
        for name, folder in zip(splits, inside, strict=True):
            found.setdefault(name, []).append(folder)
    return found


def require_none(paths: DataPaths, datasets: Sequence[Dataset], count: Callable[[DataPaths], int]) -> None:
    """Raises a `ValueError` where pictures to train on lie in a folder that is named like a held-out split.

    `count` says how many files all splits have together at other paths, for the remedy.
    """
    sides = [set(side) for dataset in datasets for side in _parents(dataset)]
    roots = [os.path.join(root, "") for root in paths.flags.values()]  # noqa: PTH118 -- ends in a slash
    hidden = [_hidden(side, roots) for side in sides]
    if not any(hidden):
        return
    first = min(min(folders) for folders in hidden if folders)
    train_like = [path for path in folders_of_images(first.parent) if LIKE_TRAIN.fullmatch(path.name)]
    if first.name.lower() not in HELD_OUT | SIDES:
        raise ValueError(
            f"{first}: is named like held-out pictures, beside {listed(train_like)}; name them train, val or test, or give "
            f"--data {shlex.quote(str(train_like[0]))}"
        )
    what = (
        "one side of a split, and would be taken for all"
        if first.name.lower() in SIDES
        else "held-out pictures, and would be trained on"
    )
    said = f"{first}: is named like {what}"
    files = count_files(datasets)
    for candidate in _candidates(paths, hidden):
        if candidate != paths and count(candidate) == files:
            raise ValueError(f"{said}; give {candidate.arguments}")
    raise ValueError(
        f"{said}; move it to {paths.folder / first.name}, and what is to be learnt from to {paths.folder / 'train'}, or "
        "rename it if it is no split"
    )


def _candidates(paths: DataPaths, hidden: Sequence[set[Path]]) -> Iterator[DataPaths]:
    """Folders that have the splits on top, or in each of their folders: one for all, or one for A and one for B."""
    holders = [{folder.parent for folder in side} for side in hidden if side]
    if paths.folder_b is None:
        yield replace(paths, folder=Path(os.path.commonpath(set().union(*holders))))
    sides = [Path(os.path.commonpath(side)) for side in holders] if len(holders) > 1 else sorted(holders[0])
    if len(sides) == 2 and not any(sides[number].is_relative_to(sides[1 - number]) for number in (0, 1)):
        yield replace(paths, folder=sides[0], folder_b=sides[1], halves=False)


def count_files(datasets: Sequence[Dataset]) -> int:
    """The number of files that samples are read from; of samples, where one file holds many."""
    files = {path for one in datasets for number in range(len(one)) for path in one.sources(number)}
    return len(files) or sum(map(len, datasets))


def _parents(dataset: Dataset) -> list[list[str]]:
    """The folders of the files that samples are read from: of A and of B, or of all."""
    if isinstance(dataset, LabelledDataset):
        return _parents(dataset.images)
    if isinstance(dataset, RecordDataset):
        return [[str(record.file.parent) for record in dataset.records]]
    if isinstance(dataset, FilePairs):
        return [[os.path.dirname(path) for path in side] for side in (dataset.a, dataset.b)]  # noqa: PTH120 -- as in `walk`
    return [[os.path.dirname(path) for number in range(len(dataset)) for path in dataset.sources(number)]]  # noqa: PTH120


def _hidden(parents: set[str], roots: Sequence[str]) -> set[Path]:
    """The folders below the roots that are named like held-out splits, and the sides of splits further below.

    Names such as `val2017` count where a name such as `train2017` stands beside them.
    """
    places = set[Path]()
    for parent in parents:
        for root in roots:
            if parent.startswith(root):
                parts = Path(parent[len(root) :]).parts
                places |= {Path(root, *parts[: number + 1]) for number in range(len(parts))}
    beside_train = {(place.parent, like["before"]) for place in places if (like := LIKE_TRAIN.fullmatch(place.name))}
    tops = {Path(root) for root in roots}
    return {
        place
        for place in places
        if place.name.lower() in HELD_OUT
        or (place.name.lower() in SIDES and place.parent not in tops)
        or ((like := LIKE_HELD_OUT.fullmatch(place.name)) and (place.parent, like["before"]) in beside_train)
    }
