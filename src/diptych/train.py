"""Train a method on image data: all data and settings are checked before the first step."""

import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tomli_w
import torch
from rich.console import Console

from diptych.data import layouts, leaks, notices, unread
from diptych.data.datasets import Dataset, classes_of
from diptych.data.loaders import CachedDataset, TrainLoader, open_cached
from diptych.data.looked_at import LookedAt
from diptych.data.paths import DataPaths
from diptych.devices import (
    Computation,
    choose_device,
    layout_name,
    memory_or,
    training_precision,
    training_transforms,
)
from diptych.files import alone, anchored, is_vacant, remove_leftovers
from diptych.methods import METHODS, build, require_memory, sketch
from diptych.progress import counting, say
from diptych.training import checkpoint
from diptych.training.loop import Interrupted, learn
from diptych.training.origin import Origin, begin_from, branch_off, continue_optimizers, find_origin, find_trunk
from diptych.training.run import Run, command_line, names_digest, set_aside
from diptych.training.settings import Settings, require_method, settings_from
from diptych.training.state import PreviewBatches, Training
from diptych.training.updater import Updater
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
    suffix_a: str | None = None,
    suffix_b: str | None = None,
    halves: bool = False,
    recipe: Path | str | None = None,
    fresh: bool = False,
    init: Path | str | None = None,
    init_optimizer: bool = False,
    branch_from: Path | str | None = None,
    dry_run: bool = False,
    console: Console | None = None,
    **settings: Any,
) -> Run:
    """Trains `method` on the images in `data`, or in `data_a` and `data_b`, or continues the run in `out`; returns the run.

    `suffix_a` and `suffix_b` are what the names of A and B end in, where they differ; with `halves` each image holds both.

    `settings` are those of the command line: `train("pix2pix", data=..., out=..., size=128, method={"width": 16})`.
    The same call again continues an interrupted run, and does nothing for a finished one; `fresh` renames the old run first.
    `init` is a run or model whose weights a new run begins with, as far as they fit; with `init_optimizer` its optimisers'
    moments too. `branch_from` is a run from whose last checkpoint a new run goes on, with other settings or pictures.
    All data and settings are checked before the first step: a `ValueError` names the problem and a remedy.
    """
    require_method(method)
    paths = DataPaths.from_flags(data, data_a, data_b, suffix_a, suffix_b, halves)
    out, console = Path(out), console or Console()
    start = _start(out, init, init_optimizer, branch_from)
    uniform = layouts.uniform(METHODS[method].data, paths)
    given = settings_from(method, settings, Path(recipe) if recipe else None, uniform)
    device = choose_device(given.device)
    run, datasets = _found(out, method, paths, given)
    translator = _translator(run, device)
    aside = fresh and (out / "settings.toml").exists()
    if not aside:
        _require_own(run, datasets, start.origin)
        if not dry_run and _is_finished(run):
            return _nothing_to_do(run, console)
    pictures = _look_at_all(run, datasets, translator, console)
    precision = _precision(given, device, None if aside else _begun_in(out, device), console)
    resolved = given.resolved(max(map(len, pictures.cached)))  # without what is left out
    run = Run(out, method, resolved, run.data_paths, run.classes)
    if not (aside or dry_run) and _is_finished(run):
        return _nothing_to_do(run, console)
    held_out = _held_out(run, translator, pictures.cached, console)
    batches = PreviewBatches(run, pictures.cached, held_out, translator)
    validation = _validation(run, held_out, device)
    _require_steps_left(run, start.trunk)
    if dry_run:
        if start.origin and (aside or not _steps_done(out)):
            _try_origin(start.origin, run, init_optimizer, console)
        return _show_settings(run, console)
    checked = _Checked(run, start, pictures, held_out, batches, translator, validation, device, precision)
    return _train(checked, console, fresh)


class _Start(NamedTuple):
    """What a new run begins with: weights of another, or its last checkpoint; or nothing."""

    origin: Origin | None
    with_optimizers: bool
    trunk: Origin | None


class _Pictures(NamedTuple):
    """The training pictures, after a look at each of them."""

    datasets: list[Dataset]
    cached: list[CachedDataset]
    left_out: list[str]
    """Names of the pictures that are of no use."""
    description: str


@dataclass(frozen=True)
class _Checked:
    """All that a training needs for its first step."""

    run: Run
    start: _Start
    pictures: _Pictures
    held_out: list[CachedDataset]
    batches: PreviewBatches
    translator: Translator
    validation: Validation | None
    device: torch.device
    precision: Literal["fp32", "bf16"]


def _train(checked: _Checked, console: Console, fresh: bool) -> Run:
    """Trains in the run's folder, alone, to the last step."""
    run, start, pictures, device = checked.run, checked.start, checked.pictures, checked.device
    out, paths = run.path, run.data_paths
    if fresh and (out / "settings.toml").exists():
        _set_aside(out, console)
    out.mkdir(parents=True, exist_ok=True)
    with _locked(out), anchored(out, "checkpoints"):
        _require_free_or_same(run, pictures.datasets)
        _remove_remains(out)
        computation = Computation(device, checked.precision, training_transforms(device, _begun_with(out)))
        _write_settings(run, start, pictures, computation)
        if start.trunk and not _steps_done(out):
            branch_off(start.trunk, run)
        loader = _loader(run.settings, pictures.cached, checked.translator)
        with memory_or(f"{out}: a step does not fit in the memory of {device}; {LOWER}"):
            training = Training(run, loader, checked.batches, computation, console, start.origin, start.with_optimizers)
            last = _learn(training, checked.validation, fresh)
    next_verb = "evaluate" if checked.held_out else "report"
    arguments = f" {paths.arguments}" if checked.held_out else ""
    say(console, f"{out}: finished at {last}; next: diptych {next_verb} {shlex.quote(str(out))}{arguments}")
    return run


def _start(out: Path, init: Path | str | None, init_optimizer: bool, branch_from: Path | str | None) -> _Start:
    origin = find_origin(Path(init), out) if init else None
    if init_optimizer and not origin:
        raise ValueError("--init-optimizer: say of which run, with --init RUN")
    return _Start(origin, init_optimizer, find_trunk(Path(branch_from)) if branch_from else None)


def _look_at_all(run: Run, datasets: list[Dataset], translator: Translator, console: Console) -> _Pictures:
    """Looks at every training picture, and says what there is and what would be lost of it."""
    given = run.settings
    cached = open_cached(datasets, given.load_size, given.fit, given.memory_gib, exact=False)
    left_out = _check_all(cached, run, translator, console)
    description = _describe(cached)
    say(console, f"{run.data_paths}: {description}")
    if unused := unread.describe((folder for one in datasets for folder in one.folders), bool(run.classes)):
        say(console, unused)
    for line in notices.of_training(cached):
        say(console, line)
    return _Pictures(datasets, cached, left_out, description)


def _precision(
    given: Settings, device: torch.device, begun: Literal["fp32", "bf16"] | None, console: Console
) -> Literal["fp32", "bf16"]:
    """The precision to train in, and a line about it where it was not asked for."""
    precision, why = training_precision(given.precision, device, begun)
    if given.precision == "auto":
        if precision == "bf16" and not begun and any(spec.bits == 16 for spec in given.specs):
            precision, why = "fp32", "because bf16 has 8 bits of the 16 that are asked for"
        say(console, f"--precision auto: {precision}, {why}; {layout_name(device)} tensors")
    return precision


def _require_steps_left(run: Run, trunk: Origin | None) -> None:
    """Raises a `ValueError` for a branch that would be at its end when it begins."""
    if trunk and trunk.step >= run.settings.steps and not _steps_done(run.path):
        raise ValueError(
            f"{trunk.path}: has done all of its {trunk.step:,} steps; give more, such as --steps {2 * trunk.step}"
        )


def _show_settings(run: Run, console: Console) -> Run:
    for line in tomli_w.dumps(run.values()).rstrip().split("\n"):
        say(console, line)
    return run


def _write_settings(run: Run, start: _Start, pictures: _Pictures, computation: Computation) -> None:
    begun_from = _begun_from(run.path) or next((one.about for one in (start.trunk, start.origin) if one), {})
    run.write_settings(
        command_line(),
        pictures.description,
        names_digest(pictures.datasets),
        pictures.left_out,
        computation.precision,
        begun_from,
        computation.transforms,
    )


def _try_origin(origin: Origin, run: Run, with_optimizers: bool, console: Console) -> None:
    """Says how far the weights fit that a run would begin with; a `ValueError` where the run would stop with one."""
    cpu = torch.device("cpu")
    method = build(run.method, run.settings.method, run.shape, cpu)
    say(console, begin_from(origin, method))
    if with_optimizers:
        method.freeze(run.settings.frozen_stages)
        say(console, continue_optimizers(origin, method, Updater(method, run.settings, cpu).optimizers))


def _found(out: Path, method: str, paths: DataPaths, settings: Settings) -> tuple[Run, list[Dataset]]:
    """The run on the training data that are found; a rectangular size tells halves of another shape than squares, too."""
    kind = METHODS[method].data
    try:
        datasets = layouts.find(kind, paths, "train", settings.specs)
    except ValueError:
        if not layouts.holds_halves_of(paths, settings.size):
            raise
        paths = replace(paths, halves=True)
        datasets = layouts.find(kind, paths, "train", settings.specs)
    assert datasets is not None
    return Run(out, method, settings.resolved(max(map(len, datasets))), paths, classes_of(datasets)), datasets


def continue_training(
    source: Path | str,
    /,
    *,
    out: Path | str | None = None,
    data: Path | str | None = None,
    data_a: Path | str | None = None,
    data_b: Path | str | None = None,
    suffix_a: str | None = None,
    suffix_b: str | None = None,
    halves: bool = False,
    dry_run: bool = False,
    console: Console | None = None,
    **settings: Any,
) -> Run:
    """Goes on with a run, whose settings and pictures are taken where nothing else is given; returns the run.

    With another `out` it is a new run: it goes on from the last checkpoint of the old one, which stays as it is, and may
    have another learning rate, batch size, length or other pictures.
    """
    run = Run.open(Path(source))
    pictures: dict[str, Any] = {"data": data, "data_a": data_a, "data_b": data_b}
    reading: dict[str, Any] = {"suffix_a": suffix_a, "suffix_b": suffix_b, "halves": halves}
    if not any(pictures.values()):
        pictures = {flag.replace("-", "_"): folder for flag, folder in run.data_paths.flags.items()}
        if missing := next((folder for folder in pictures.values() if not folder.exists()), None):
            flags = " ".join(f"--{flag} DIR" for flag in run.data_paths.flags)
            raise ValueError(f"{missing}: is gone, and {run.path} learnt from it; say where it is now with {flags}")
        if not any(reading.values()):
            reading = {flag.replace("-", "_"): value for flag, value in run.data_paths.reading.items()}
    is_branch = out is not None and Path(out).resolve() != run.path.resolve()
    return train(
        run.method,
        out=out if out is not None and is_branch else run.path,
        recipe=run.path / "settings.toml",
        branch_from=run.path if is_branch else None,
        dry_run=dry_run,
        console=console,
        **pictures,
        **reading,
        **settings,
    )


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
    method.freeze(run.settings.frozen_stages)
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
    more = "--steps or --epochs" if _steps_done(run.path) >= run.settings.steps else "--patience"
    say(console, f"{run.path}: finished; nothing to do (a larger {more} goes on, --fresh starts anew)")
    return run


def _check_all(datasets: Sequence[CachedDataset], run: Run, translator: Translator, console: Console) -> list[str]:
    """Decodes every image that is new or has changed; returns the names of the images that are of no use, and left out."""
    names = list[str]()
    for which, dataset in enumerate(datasets):
        memory = _looked_at(run, which, dataset, console)
        with counting(console, "looking at every picture") as progress:
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


def _say_remarks(dataset: CachedDataset, console: Console) -> None:
    for remark, group in _by_reason(dataset.remarks).items():
        more = f" and {len(group) - SHOWN} more" if len(group) > SHOWN else ""
        say(console, f"used as they are: {remark}: {', '.join(group[:SHOWN])}{more}")


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


def _by_reason(left_out: dict[str, str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        groups.setdefault(reason, []).append(name)
    return groups


def _describe(datasets: Sequence[CachedDataset]) -> str:
    if len(datasets) == 1:
        return datasets[0].describe()
    return "; ".join(f"{side}: {dataset.describe()}" for side, dataset in zip("AB", datasets, strict=True))


def _require_own(run: Run, datasets: Sequence[Dataset], origin: Origin | None) -> None:
    """Raises a `ValueError` if `run.path` has any content other than this run, or this run began from another origin."""
    _require_free_or_same(run, datasets)
    _require_same_origin(run.path, origin)


def _require_free_or_same(run: Run, datasets: Sequence[Dataset]) -> None:
    """Raises a `ValueError` if `run.path` has any content other than this run."""
    if (run.path / "settings.toml").exists():
        existing = Run.open(run.path)
        existing.require_same(run)
        existing.require_no_links()
        if existing.digest != names_digest(datasets):
            raise ValueError(
                f"{run.path}: was trained on other pictures (the names in {run.data_paths} differ from those it began "
                "with); give the same pictures, branch off with these: diptych train --continue "
                f"{shlex.quote(str(run.path))} --out NEW, or add --fresh to set it aside and start anew"
            )
        if not _steps_done(run.path) and checkpoint.model_step(run.path / "model") is not None:
            raise ValueError(
                f"{run.path}: has a model but no checkpoints to continue from; put its checkpoints back, choose another "
                "--out, or add --fresh to set it aside and start anew"
            )
    elif not is_vacant(run.path, ".lock"):
        raise ValueError(f"{run.path}: exists and is not a run; choose another --out, nothing of yours is overwritten")


def _begun_from(out: Path) -> dict[str, Any]:
    """What a run with checkpoints began from; empty where it began from nothing, or has not begun."""
    return Run.open(out).about.begun_from if _steps_done(out) else {}


def _require_same_origin(out: Path, origin: Origin | None) -> None:
    """Raises a `ValueError` for an --init that is not what the run in `out` began from."""
    if origin and _steps_done(out) and (begun_from := _begun_from(out)).get("sha256") != origin.digest:
        began = f"from {begun_from['path']}, step {begun_from['step']}" if begun_from else "without --init"
        raise ValueError(
            f"{out}: began {began}, and --init {origin.path} is another; leave it out to continue, choose another --out, or "
            "add --fresh to set it aside and start anew"
        )


def _begun_in(out: Path, device: torch.device) -> Literal["fp32", "bf16"] | None:
    """The precision that a run was begun in; None where no run is."""
    if not _steps_done(out):
        return None
    return Run.open(out).about.precision or ("fp32" if device.type == "cpu" else None)  # older versions did not note it


def _begun_with(out: Path) -> list[str] | None:
    """The convolutions that went through a transform when the run began; None where no run is, or it noted none."""
    return Run.open(out).about.transforms if _steps_done(out) else None


def _remove_remains(out: Path) -> None:
    """Removes what killed processes left in the run, and nothing that `evaluate` or `report` are writing there."""
    for folder in (out, out / "samples"):
        if not folder.is_symlink():
            remove_leftovers(folder)
    checkpoint.remove_half_written(out)
    checkpoint.remove_old(out / "checkpoints")


def _steps_done(out: Path) -> int:
    checkpoints = checkpoint.list_checkpoints(out / "checkpoints")
    return checkpoints[-1][0] if checkpoints else 0


def _is_finished(run: Run) -> bool:
    done = _steps_done(run.path)
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
        _say_remarks(dataset, console)
    line = ""
    if split and settings.validate_every:
        line = leaks.describe(*split, [dataset.dataset for dataset in training])
    elif not split and not settings.validate_every:  # else it is refused
        line = leaks.describe_missing(kind, run.data_paths, [dataset.dataset for dataset in training])
    if line:
        say(console, line)
    return held_out if all(map(len, held_out)) else []


def _validation(run: Run, held_out: list[CachedDataset], device: torch.device) -> Validation | None:
    every = run.settings.validate_every
    if every and not held_out:
        raise ValueError(
            f"--validate-every {every}: {run.data_paths} has no val or test split with pictures of any use; put pictures "
            "that training does not see in a folder val (`diptych data split` divides them), or leave it out"
        )
    return Validation(run, held_out, device) if every else None
