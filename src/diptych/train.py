"""Train a method on image data: all data and settings are checked before the first step."""

import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import tomli_w
import torch
from rich.console import Console

from diptych.data import layouts
from diptych.data.datasets import Dataset, classes_of
from diptych.data.loaders import CachedDataset, TrainLoader, open_cached
from diptych.data.paths import DataPaths
from diptych.devices import choose_device, choose_precision, memory_or
from diptych.files import alone, is_vacant, remove_leftovers
from diptych.methods import METHODS, require_memory, sketch
from diptych.progress import counting, say
from diptych.training import checkpoint
from diptych.training.loop import Interrupted, learn
from diptych.training.run import Run, command_line, names_digest, set_aside
from diptych.training.settings import Settings, require_method, settings_from
from diptych.training.state import PreviewBatches, Training
from diptych.training.validation import MAX_IMAGES, Validation, best_so_far, out_of_patience
from diptych.translators.base import Translator

SHOWN = 8  # names of images in a line
LOWER = "lower --batch-size, --size or --method.width, or --memory-gib where pictures fill it"


def train(
    method: str,
    /,
    *,
    out: Path | str,
    data: Path | str | None = None,
    data_a: Path | str | None = None,
    data_b: Path | str | None = None,
    recipe: Path | str | None = None,
    fresh: bool = False,
    dry_run: bool = False,
    console: Console | None = None,
    **settings: Any,
) -> Run:
    """Trains `method` on the images in `data`, or in `data_a` and `data_b`, or continues the run in `out`; returns the run.

    `settings` are those of the command line: `train("pix2pix", data=..., out=..., size=128, method={"width": 16})`.
    The same call again continues an interrupted run, and does nothing for a finished one; `fresh` renames the old run first.
    All data and settings are checked before the first step: a `ValueError` names the problem and a remedy.
    """
    require_method(method)
    paths, out, console = DataPaths.from_flags(data, data_a, data_b), Path(out), console or Console()
    kind = METHODS[method].data
    given = settings_from(method, settings, Path(recipe) if recipe else None, layouts.uniform(kind, paths))
    device = choose_device(given.device)
    precision = choose_precision(given.precision, device)
    datasets = layouts.find(kind, paths, "train", given.specs)
    assert datasets is not None
    run = Run(out, method, given.resolved(max(map(len, datasets))), paths, classes_of(datasets))
    translator = _translator(run, device)
    aside = fresh and (out / "settings.toml").exists()
    if not aside:
        _require_free_or_same(run, datasets)
        if not dry_run and _is_finished(run):
            return _nothing_to_do(run, console)
    cached = open_cached(datasets, given.load_size, given.fit, given.memory_gib)
    left_out = _check_all(cached, run, translator, console)
    description = _describe(cached)
    say(console, f"{paths}: {description}")
    run = Run(out, method, given.resolved(max(map(len, cached))), paths, run.classes)  # without what is left out
    if not (aside or dry_run) and _is_finished(run):
        return _nothing_to_do(run, console)
    held_out = _held_out(run, translator, cached, console)
    batches = PreviewBatches(run, cached, held_out, translator)
    validation = _validation(run, held_out, device)
    if dry_run:
        for line in tomli_w.dumps(run.values()).rstrip().split("\n"):
            say(console, line)
        return run
    if aside:
        _set_aside(out, console)
    out.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        _require_free_or_same(run, datasets)
        _remove_remains(out)
        run.write_settings(command_line(), description, names_digest(datasets), left_out)
        with memory_or(f"{out}: a step does not fit in the memory of {device}; {LOWER}"):
            training = Training(run, _loader(given, cached, translator), batches, device, precision, console)
            last = _learn(training, validation, fresh)
    verb = f"evaluate {shlex.quote(str(out))} {paths.arguments}" if held_out else f"report {shlex.quote(str(out))}"
    say(console, f"{out}: finished at {last}; next: diptych {verb}")
    return run


def _learn(training: Training, validation: Validation | None, fresh: bool) -> str:
    try:
        return learn(training, validation)
    except Interrupted as stopped:
        raise Interrupted(f"{stopped}{', without --fresh' if fresh else ''}") from None


def _set_aside(folder: Path, console: Console) -> None:
    """Renames the old run, unless another process is training in it."""
    with _locked(folder):
        pass
    say(console, f"{folder}: set aside as {set_aside(folder)}")


def _translator(run: Run, device: torch.device) -> Translator:
    """The run's translator without weights; a `ValueError` if the networks do not accept the settings, or take too much."""
    method = sketch(run.method, run.settings.method, run.shape)
    require_memory(run.method, method, run.settings.method, device)
    return method.translators(run.settings.direction)[run.settings.direction]


def _loader(settings: Settings, cached: Sequence[CachedDataset], translator: Translator) -> TrainLoader:
    return TrainLoader(
        cached,
        size=settings.size,
        batch_size=settings.batch_size,
        flip=settings.flip,
        seed=settings.seed,
        direction=settings.direction,
        mask_spec=translator.mask_spec,
    )


def _nothing_to_do(run: Run, console: Console) -> Run:
    if (run.path / ".lock").exists():  # not in the run of an older version, which is left as it is
        with (
            suppress(ValueError, OSError),
            _locked(run.path),
        ):  # another process may be in it, or nobody may write there
            _remove_remains(run.path)
    more = "--steps or --epochs" if _steps_done(run) >= run.settings.steps else "--patience"
    say(console, f"{run.path}: finished; nothing to do (a larger {more} goes on, --fresh starts anew)")
    return run


def _check_all(datasets: Sequence[CachedDataset], run: Run, translator: Translator, console: Console) -> list[str]:
    """Decodes every image once; returns the names of the images that are left out because they are of no use."""
    names = list[str]()
    for dataset in datasets:
        with counting(console, "looking at every picture") as progress:
            left_out = dataset.check(run.settings.workers, progress, translator.reject_reason)
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


def _by_reason(left_out: dict[str, str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        groups.setdefault(reason, []).append(name)
    return groups


def _describe(datasets: Sequence[CachedDataset]) -> str:
    if len(datasets) == 1:
        return datasets[0].describe()
    return "; ".join(f"{side}: {dataset.describe()}" for side, dataset in zip("AB", datasets, strict=True))


def _require_free_or_same(run: Run, datasets: Sequence[Dataset]) -> None:
    """Raises a `ValueError` if `run.path` has any content other than this run."""
    if (run.path / "settings.toml").exists():
        existing = Run.open(run.path)
        existing.require_same(run)
        existing.require_no_links()
        if existing.digest != names_digest(datasets):
            raise ValueError(
                f"{run.path}: was trained on other pictures (the names in {run.data_paths} differ from those it began "
                "with); give the same pictures, choose another --out, or add --fresh to set it aside and start anew"
            )
        if not _steps_done(run) and checkpoint.model_step(run.path / "model") is not None:
            raise ValueError(
                f"{run.path}: has a model but no checkpoints to continue from; put its checkpoints back, choose another "
                "--out, or add --fresh to set it aside and start anew"
            )
    elif not is_vacant(run.path, ".lock"):
        raise ValueError(f"{run.path}: exists and is not a run; choose another --out, nothing of yours is overwritten")


def _remove_remains(out: Path) -> None:
    """Removes what killed processes left in the run, and nothing that `evaluate` or `report` are writing there."""
    for folder in (out, out / "samples"):
        if not folder.is_symlink():
            remove_leftovers(folder)
    checkpoint.remove_half_written(out)
    checkpoint.remove_old(out / "checkpoints")


def _steps_done(run: Run) -> int:
    checkpoints = checkpoint.list_checkpoints(run.path / "checkpoints")
    return checkpoints[-1][0] if checkpoints else 0


def _is_finished(run: Run) -> bool:
    done = _steps_done(run)
    over = done >= run.settings.steps or out_of_patience(run, best_so_far(run, done))
    return over and checkpoint.model_step(run.path / "model") == done


def _locked(folder: Path) -> AbstractContextManager[None]:
    return alone(folder / ".lock", f"{folder}: another process is training in it; wait for it or choose another --out")


def _held_out(
    run: Run, translator: Translator, training: Sequence[CachedDataset], console: Console
) -> list[CachedDataset]:
    """Held-out data at the training size, at most MAX_IMAGES images; empty without a val or test split.

    It is cached for validation, in the memory that the training set leaves. Raises a `ValueError` for a class that the
    training set does not have.
    """
    settings, kind = run.settings, METHODS[run.method].data
    used = sum(dataset.bytes for dataset in training if dataset.cache is not None) / 2**30
    memory_left = settings.memory_gib - used if settings.validate_every else 0
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
    return held_out if all(map(len, held_out)) else []


def _validation(run: Run, held_out: list[CachedDataset], device: torch.device) -> Validation | None:
    every = run.settings.validate_every
    if every and not held_out:
        raise ValueError(
            f"--validate-every {every}: {run.data_paths} has no val or test split with pictures of any use; put pictures "
            "that training does not see in a folder val (`diptych data split` divides them), or leave it out"
        )
    return Validation(run, held_out, device) if every else None
