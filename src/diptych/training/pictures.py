"""A look at all pictures of a training, before its first step."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from rich.console import Console

from diptych import distributed
from diptych.data import layouts, leaks, notices, unread
from diptych.data.datasets import Dataset, classes_of
from diptych.data.loaders import CachedDataset, open_cached
from diptych.data.looked_at import LookedAt
from diptych.methods import METHODS
from diptych.progress import counting, say
from diptych.training.run import Run
from diptych.training.validation import MAX_IMAGES
from diptych.translators.base import Translator

SHOWN = 8  # names of images in a line


class Pictures(NamedTuple):
    """The training pictures, after a look at each of them."""

    datasets: list[Dataset]
    cached: list[CachedDataset]
    left_out: list[str]
    """Names of the pictures that are of no use."""
    description: str


def look_at_all(run: Run, datasets: list[Dataset], translator: Translator, console: Console) -> Pictures:
    """Looks at every training picture, and says what there is and what would be lost of it."""
    given = run.settings
    memory_gib = given.memory_gib / distributed.local_size()
    cached = open_cached(datasets, given.load_size, given.fit, memory_gib, exact=False, part=given.size)
    left_out = _check_all(cached, run, translator, console)
    description = _describe(cached)
    say(console, f"{run.data_paths}: {description}")
    if unused := unread.describe((folder for one in datasets for folder in one.folders), bool(run.classes)):
        say(console, unused)
    for line in notices.of_training(cached):
        say(console, line)
    return Pictures(datasets, cached, left_out, description)


def held_out_of(
    run: Run, translator: Translator, training: Sequence[CachedDataset], console: Console
) -> list[CachedDataset]:
    """Held-out data at the training size, at most MAX_IMAGES images; empty without a val or test split.

    It is cached for validation, in the memory that the training set leaves. Raises a `ValueError` for a class that the
    training set does not have.
    """
    settings, kind = run.settings, METHODS[run.method].data
    used = sum(dataset.bytes for dataset in training if dataset.cache is not None) / 2**30
    memory_left = settings.memory_gib / distributed.local_size() - used if settings.validate_every else 0
    split = layouts.held_out(kind, run.data_paths, settings.specs)
    held_out = open_cached(split[1] if split else [], settings.size, settings.fit, memory_left, MAX_IMAGES)
    for dataset in held_out:
        unknown = set(classes_of([dataset.dataset])) - set(translator.classes)
        if translator.classes and unknown:
            raise ValueError(
                f"{run.data_paths}: {min(unknown)} is a class of the held-out pictures and none of the training's, which "
                f"are {', '.join(translator.classes)}; add such pictures to those of the training, or move these away"
            )
        with counting(console, "looking at held-out pictures") as progress:
            dataset.check(settings.workers, progress, translator.reject_reason)
        _say_remarks(dataset, console)
    line = ""
    if split and settings.validate_every:
        line = leaks.describe(*split, [dataset.dataset for dataset in training])
    elif not split and not settings.validate_every:  # else it is refused
        line = leaks.describe_missing(kind, run.data_paths, [dataset.dataset for dataset in training])
    if line:
        say(console, line)
    return held_out if all(map(len, held_out)) else []


def _check_all(datasets: Sequence[CachedDataset], run: Run, translator: Translator, console: Console) -> list[str]:
    """Decodes every image that is new or has changed; returns the names of the images that are of no use, and left out."""
    names = list[str]()
    for which, dataset in enumerate(datasets):
        dataset.note = partial(say, console)
        memory = None if dataset.replaces else _looked_at(run, which, dataset, console)
        with counting(console, f"looking at {'some' if dataset.replaces else 'every'} picture") as progress:
            left_out = dataset.check(run.settings.workers, progress, translator.reject_reason, memory)
        _say_remarks(dataset, console)
        for reason, group in _by_reason(left_out).items():
            more = f" and {len(group) - SHOWN} more (settings.toml names them all)" if len(group) > SHOWN else ""
            say(console, f"left out, {reason}: {', '.join(group[:SHOWN])}{more}")
            if not len(dataset):
                raise ValueError(
                    f"{run.data_paths}: all {len(group)} pictures are {reason}, and {run.method} learns nothing from them; "
                    "give others"
                )
        names += left_out
    return names


def _looked_at(run: Run, which: int, dataset: CachedDataset, console: Console) -> LookedAt:
    """What is known of dataset number `which`, and a line about it; what is known is not decoded before the first step."""
    folders = [str(folder.absolute()) for folder in run.data_paths.flags.values()]
    found_by = [*folders, *run.data_paths.reading]
    memory = LookedAt(dataset.dataset, run.method, which, dataset.size, dataset.fit, dataset.exact, found_by)
    known, all_of_them = len(memory.found), len(dataset)
    if known:
        rest = f"; looking at {all_of_them - known:,}" if known < all_of_them else ""
        say(console, f"{known:,} of {all_of_them:,} pictures were looked at before and have not changed{rest}")
    return memory


def _say_remarks(dataset: CachedDataset, console: Console) -> None:
    for remark, group in _by_reason(dataset.remarks).items():
        more = f" and {len(group) - SHOWN} more" if len(group) > SHOWN else ""
        say(console, f"used as they are: {remark}: {', '.join(group[:SHOWN])}{more}")


def _by_reason(left_out: dict[str, str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        groups.setdefault(reason, []).append(name)
    return groups


def _describe(datasets: Sequence[CachedDataset]) -> str:
    if len(datasets) == 1:
        return datasets[0].describe()
    return "; ".join(f"{side}: {dataset.describe()}" for side, dataset in zip("AB", datasets, strict=True))
