"""Train a method on image data: all data and settings are checked before the first step."""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tomli_w
import torch
from rich.console import Console

from diptych import distributed
from diptych.data import layouts
from diptych.data.datasets import Dataset, classes_of
from diptych.data.loaders import CachedDataset, TrainLoader
from diptych.data.paths import DataPaths
from diptych.data.remote import is_address
from diptych.data.side_names import names_of
from diptych.devices import (
    Computation,
    choose_device,
    layout_name,
    memory_or,
    training_precision,
    training_transforms,
)
from diptych.files import anchored
from diptych.methods import METHODS, build, require_memory, sketch
from diptych.progress import say
from diptych.training.loop import Interrupted, learn
from diptych.training.origin import Origin, begin_from, branch_off, continue_optimizers, find_origin, find_trunk
from diptych.training.ownership import (
    is_finished,
    locked,
    recorded_origin,
    recorded_precision,
    recorded_transforms,
    remove_remains,
    require_free_or_same,
    require_own,
    set_aside_old,
    steps_done,
)
from diptych.training.pictures import Pictures, held_out_of, look_at_all
from diptych.training.run import Run, command_line, names_digest
from diptych.training.settings import Settings, require_method, settings_from
from diptych.training.state import PreviewBatches, Training
from diptych.training.updater import Updater
from diptych.training.validation import Validation
from diptych.translators.base import Translator

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
    with distributed.joined():
        if not distributed.is_first():
            console = Console(quiet=True, force_terminal=False)
        console = console or Console()
        with distributed.agreeing():
            require_method(method)
            paths = DataPaths.from_flags(data, data_a, data_b, suffix_a, suffix_b, halves)
            start = _start(Path(out), init, init_optimizer, branch_from)
            place = distributed.local_rank(), distributed.size()
            plan = _plan(method, paths, Path(out), start, settings, recipe, fresh, *place)
            checked = plan.run if plan.is_finished and not dry_run else _check(plan, dry_run, console)
        if isinstance(checked, Run):
            return checked if dry_run else _nothing_to_do(checked, console)
        return _train(checked, console, fresh)


def _plan(
    method: str,
    paths: DataPaths,
    out: Path,
    start: "_Start",
    settings: Mapping[str, Any],
    recipe: Path | str | None,
    fresh: bool,
    process: int,
    processes: int,
) -> "_Plan":
    """What is to be done; everything is checked for which no picture needs to be decoded."""
    uniform = layouts.uniform(METHODS[method].data, paths)
    given = settings_from(method, settings, Path(recipe) if recipe else None, uniform)
    if given.batch_size % processes:
        raise ValueError(
            f"--batch-size {given.batch_size}: the {processes} processes of this training share every batch; give a "
            f"multiple of {processes}, such as {-(-given.batch_size // processes) * processes}"
        )
    device = choose_device(given.device, process, processes)
    run, datasets = _found(out, method, paths, given)
    translator = _translator(run, device)
    aside = fresh and (out / "settings.toml").exists()
    if not aside:
        require_own(run, datasets, start.origin)
    return _Plan(run, given, start, datasets, translator, device, aside, not aside and is_finished(run))


def _check(plan: "_Plan", dry_run: bool, console: Console) -> "_Checked | Run":
    """Looks at all pictures; gives the run alone where nothing is left to do, or to be done."""
    given, start, device, translator, aside = plan.given, plan.start, plan.device, plan.translator, plan.aside
    run, out = plan.run, plan.run.path
    pictures = look_at_all(run, plan.datasets, translator, console)
    begun = None if aside else recorded_precision(out, device)
    precision = distributed.decided(lambda: _precision(given, device, begun, console))
    resolved = given.resolved(max(map(len, pictures.cached)))  # without what is left out
    run = Run(out, run.method, resolved, run.data_paths, run.classes, sides=run.sides)
    if not (aside or dry_run) and is_finished(run):
        return run
    held_out = held_out_of(run, translator, pictures.cached, console)
    batches = PreviewBatches(run, pictures.cached, held_out, translator)
    validation = _validation(run, held_out, device)
    _require_steps_left(run, start.trunk)
    if dry_run:
        if start.origin and (aside or not steps_done(out)):
            _try_origin(start.origin, run, start.with_optimizers, console)
        return _show_settings(run, console)
    return _Checked(run, start, pictures, held_out, batches, translator, validation, device, precision)


def is_to_be_trained(
    method: str,
    /,
    *,
    processes: int,
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
    **settings: Any,
) -> bool:
    """Whether `train` would have something to do in so many processes; a `ValueError` for what can be known at once."""
    require_method(method)
    paths = DataPaths.from_flags(data, data_a, data_b, suffix_a, suffix_b, halves)
    start = _start(Path(out), init, init_optimizer, branch_from)
    place = processes - 1, processes
    return not _plan(method, paths, Path(out), start, settings, recipe, fresh, *place).is_finished


class _Start(NamedTuple):
    """What a new run begins with: weights of another, or its last checkpoint; or nothing."""

    origin: Origin | None
    with_optimizers: bool
    trunk: Origin | None


class _Plan(NamedTuple):
    """What is to be trained, before a picture was looked at."""

    run: Run
    given: Settings
    start: _Start
    datasets: list[Dataset]
    translator: Translator
    device: torch.device
    aside: bool
    """Whether an older run is to be set aside first."""
    is_finished: bool


@dataclass(frozen=True)
class _Checked:
    """All that a training needs for its first step."""

    run: Run
    start: _Start
    pictures: Pictures
    held_out: list[CachedDataset]
    batches: PreviewBatches
    translator: Translator
    validation: Validation | None
    device: torch.device
    precision: Literal["fp32", "bf16"]


def _train(checked: _Checked, console: Console, fresh: bool) -> Run:
    """Trains in the run's folder, alone, to the last step."""
    run, start, device = checked.run, checked.start, checked.device
    out, paths = run.path, run.data_paths
    with ExitStack() as held:
        transforms = distributed.decided(lambda: _begin(checked, console, fresh, held))
        computation = Computation(device, checked.precision, transforms)
        loader = _loader(run.settings, checked.pictures.cached, checked.translator)
        with memory_or(f"{out}: a step does not fit in the memory of {device}; {LOWER}"):
            with distributed.agreeing():
                training = Training(
                    run, loader, checked.batches, computation, console, start.origin, start.with_optimizers
                )
            last = _learn(training, checked.validation, fresh)
    next_verb = "evaluate" if checked.held_out else "report"
    arguments = f" {paths.arguments}" if checked.held_out else ""
    say(console, f"{out}: finished at {last}; next: diptych {next_verb} {shlex.quote(str(out))}{arguments}")
    return run


def _begin(checked: _Checked, console: Console, fresh: bool, held: ExitStack) -> Sequence[str] | None:
    """Takes the run's folder for this training alone, which is `held`; gives the transforms that it computes with."""
    run, start, out = checked.run, checked.start, checked.run.path
    if fresh and (out / "settings.toml").exists():
        set_aside_old(out, console)
    out.mkdir(parents=True, exist_ok=True)
    held.enter_context(locked(out))
    held.enter_context(anchored(out, "checkpoints"))
    require_free_or_same(run, checked.pictures.datasets)
    remove_remains(out)
    transforms = training_transforms(checked.device, recorded_transforms(out))
    _write_settings(run, start, checked.pictures, Computation(checked.device, checked.precision, transforms))
    if start.trunk and not steps_done(out):
        branch_off(start.trunk, run)
    return transforms


def _start(out: Path, init: Path | str | None, init_optimizer: bool, branch_from: Path | str | None) -> _Start:
    origin = find_origin(Path(init), out) if init else None
    if init_optimizer and not origin:
        raise ValueError("--init-optimizer: say of which run, with --init RUN")
    return _Start(origin, init_optimizer, find_trunk(Path(branch_from)) if branch_from else None)


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
    if trunk and trunk.step >= run.settings.steps and not steps_done(run.path):
        raise ValueError(
            f"{trunk.path}: has done all of its {trunk.step:,} steps; give more, such as --steps {2 * trunk.step}"
        )


def _show_settings(run: Run, console: Console) -> Run:
    for line in tomli_w.dumps(run.values()).rstrip().split("\n"):
        say(console, line)
    return run


def _write_settings(run: Run, start: _Start, pictures: Pictures, computation: Computation) -> None:
    begun_from = recorded_origin(run.path) or next((one.about for one in (start.trunk, start.origin) if one), {})
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
    resolved = settings.resolved(max(map(len, datasets)))
    return Run(out, method, resolved, paths, classes_of(datasets), sides=names_of(datasets)), datasets


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
    given: dict[str, Any] = {
        "data": data,
        "data_a": data_a,
        "data_b": data_b,
        "suffix_a": suffix_a,
        "suffix_b": suffix_b,
    }
    with distributed.joined():
        with distributed.agreeing():
            method, known = to_continue(source, out=out, halves=halves, **given)
        return train(method, dry_run=dry_run, console=console, **known, **settings)


def to_continue(
    source: Path | str,
    /,
    *,
    out: Path | str | None,
    data: Path | str | None,
    data_a: Path | str | None,
    data_b: Path | str | None,
    suffix_a: str | None,
    suffix_b: str | None,
    halves: bool,
) -> tuple[str, dict[str, Any]]:
    """The method of a run to go on with, and what `train` is to be told of it."""
    run = Run.open(Path(source))
    pictures: dict[str, Any] = {"data": data, "data_a": data_a, "data_b": data_b}
    reading: dict[str, Any] = {"suffix_a": suffix_a, "suffix_b": suffix_b, "halves": halves}
    if not any(pictures.values()):
        pictures = {flag.replace("-", "_"): folder for flag, folder in run.data_paths.flags.items()}
        gone = (folder for folder in pictures.values() if not (is_address(folder) or folder.exists()))
        if missing := next(gone, None):
            flags = " ".join(f"--{flag} DIR" for flag in run.data_paths.flags)
            raise ValueError(f"{missing}: is gone, and {run.path} learnt from it; say where it is now with {flags}")
        if not any(reading.values()):
            reading = {flag.replace("-", "_"): value for flag, value in run.data_paths.reading.items()}
    is_branch = out is not None and Path(out).resolve() != run.path.resolve()
    return run.method, {
        "out": out if out is not None and is_branch else run.path,
        "recipe": run.path / "settings.toml",
        "branch_from": run.path if is_branch else None,
        **pictures,
        **reading,
    }


def _learn(training: Training, validation: Validation | None, fresh: bool) -> str:
    try:
        return learn(training, validation)
    except Interrupted as stopped:
        raise Interrupted(f"{stopped}{', without --fresh' if fresh else ''}") from None


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
        share=(distributed.rank(), distributed.size()),
    )


def _nothing_to_do(run: Run, console: Console) -> Run:
    # An older version's run has no lock, and is left as it is
    if distributed.is_first() and (run.path / ".lock").exists():
        # Another process may be in it, or nobody may write there
        with suppress(ValueError, OSError), locked(run.path):
            remove_remains(run.path)
    more = "--steps or --epochs" if steps_done(run.path) >= run.settings.steps else "--patience"
    say(console, f"{run.path}: finished; nothing to do (a larger {more} continues it, --fresh starts a new one)")
    return run


def _validation(run: Run, held_out: list[CachedDataset], device: torch.device) -> Validation | None:
    every = run.settings.validate_every
    if every and not held_out:
        raise ValueError(
            f"--validate-every {every}: {run.data_paths} has no val or test split with pictures of any use; put pictures "
            "that training does not see in a folder val (`diptych data split` divides them), or leave it out"
        )
    return Validation(run, held_out, device) if every and distributed.is_first() else None
