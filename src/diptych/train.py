"""From pictures and settings to a trained run: all that can be wrong is found here, before the first step."""

import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import tomli_w
import torch
from rich.console import Console

from diptych.data import layouts
from diptych.data.datasets import Dataset, classes_of
from diptych.data.layouts import DataPaths
from diptych.data.loaders import CachedDataset, TrainLoader, open_cached
from diptych.devices import choose_device, choose_precision
from diptych.files import alone, is_vacant
from diptych.methods import METHODS
from diptych.progress import counting, say
from diptych.training import checkpoint
from diptych.training.loop import Interrupted, PreviewBatches, Training
from diptych.training.run import Run, command_line, names_digest, require_method, set_aside, settings_from
from diptych.training.validation import MOST, Validation, best_so_far, out_of_patience

SHOWN = 8  # names of pictures in a line


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
    """Trains `method` on the pictures in `data`, or in `data_a` and `data_b`, or continues the run in `out`; gives the run.

    `settings` are those of the command line: `train("pix2pix", data=..., out=..., size=128, method={"width": 16})`.
    The same call again continues a run that was interrupted, and does nothing for a finished one; `fresh` sets the old
    run aside first. Everything is checked before the first step: a `ValueError` says what a person can mend.
    """
    console = console or Console()
    require_method(method)
    place, out = DataPaths.from_flags(data, data_a, data_b), Path(out)
    asked = settings_from(
        method, settings, Path(recipe) if recipe else None, layouts.uniform(METHODS[method].data, place)
    )
    device = choose_device(asked.device)
    precision = choose_precision(asked.precision, device)
    sources = layouts.find(METHODS[method].data, place, "train", (asked.channels_a, asked.channels_b))
    assert sources is not None
    classes = classes_of(sources)
    run = Run(out, method, asked.resolved(max(map(len, sources))), place, classes)
    with torch.device("meta"):  # can the networks take these settings? Costs nothing to ask
        sketch = METHODS[method](asked.method, run.shape)
    aside = fresh and (out / "settings.toml").exists()
    may_be_finished = not aside and not dry_run
    if not aside:
        _require_place(run, sources)
        if may_be_finished and _is_finished(run):
            return _nothing_to_do(run, console)
    stores = open_cached(sources, asked.load_size, asked.fit, asked.memory_gib)
    left_out = _look_at_all(stores, run, console)
    found = _describe(stores)
    say(console, f"{place}: {found}")
    run = Run(
        out, method, asked.resolved(max(map(len, stores))), place, classes
    )  # an epoch has only what was not left out
    if may_be_finished and _is_finished(run):
        return _nothing_to_do(run, console)
    held_out = _held_out_stores(run, sketch.classes, stores, console)
    glimpses, validation = PreviewBatches(run, stores, held_out, sketch), _validation(run, held_out, device)
    if dry_run:
        _print_settings(run, console)
        return run

    if aside:
        with _locked(out):
            pass
        say(console, f"{out}: set aside as {set_aside(out)}")
    out.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        _require_place(run, sources)
        run.write_settings(command_line(), found, names_digest(sources), left_out)
        batches = TrainLoader(
            stores,
            size=asked.size,
            batch_size=asked.batch_size,
            flip=asked.flip,
            seed=asked.seed,
            direction=asked.direction,
            holes=sketch.holes,
        )
        try:
            last = Training(run, batches, glimpses, validation, device, precision, console).go()
        except Interrupted as stopped:
            raise Interrupted(f"{stopped}{', without --fresh' if fresh else ''}") from None
    verb = f"evaluate {shlex.quote(str(out))} {place.arguments}" if held_out else f"report {shlex.quote(str(out))}"
    say(console, f"{out}: finished at {last}; next: diptych {verb}")
    return run


def _nothing_to_do(run: Run, console: Console) -> Run:
    more = "--steps or --epochs" if _steps_done(run) >= run.settings.steps else "--patience"
    say(console, f"{run.path}: finished; nothing to do (a larger {more} goes on, --fresh starts anew)")
    return run


def _look_at_all(stores: list[CachedDataset], run: Run, console: Console) -> list[str]:
    """The names of the pictures that are left out, because the method has no use for them."""
    names = list[str]()
    for store in stores:
        with counting(console, "looking at every picture") as progress:
            left_out = store.check(run.settings.workers, progress, METHODS[run.method].of_no_use)
        for word, group in _by_word(left_out).items():
            more = f" and {len(group) - SHOWN} more (settings.toml names them all)" if len(group) > SHOWN else ""
            say(console, f"left out, {word}: {', '.join(group[:SHOWN])}{more}")
            if not len(store):
                raise ValueError(
                    f"{run.place}: all {len(group)} pictures are {word}, and {run.method} learns nothing from them; "
                    "give others"
                )
        names += left_out
    return names


def _by_word(left_out: dict[str, str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, word in left_out.items():
        groups.setdefault(word, []).append(name)
    return groups


def _describe(stores: list[CachedDataset]) -> str:
    if len(stores) == 1:
        return stores[0].describe()
    return "; ".join(f"{side}: {store.describe()}" for side, store in zip("AB", stores, strict=True))


def _require_place(run: Run, sources: list[Dataset]) -> None:
    """Raises a `ValueError` when `run.path` holds anything but this very run."""
    if (run.path / "settings.toml").exists():
        there = Run.open(run.path)
        there.require_same(run)
        if there.digest != names_digest(sources):
            raise ValueError(
                f"{run.path}: was trained on other pictures (the names in {run.place} differ from those it began with); "
                "give the same pictures, choose another --out, or add --fresh to set it aside and start anew"
            )
        if not _steps_done(run) and checkpoint.model_step(run.path / "model"):
            raise ValueError(
                f"{run.path}: has a model but no checkpoints to continue from; put its checkpoints back, choose another "
                "--out, or add --fresh to set it aside and start anew"
            )
    elif not is_vacant(run.path, ".lock"):
        raise ValueError(f"{run.path}: exists and is not a run; choose another --out, nothing of yours is overwritten")


def _steps_done(run: Run) -> int:
    found = checkpoint.list_checkpoints(run.path / "checkpoints")
    return found[-1][0] if found else 0


def _is_finished(run: Run) -> bool:
    done = _steps_done(run)
    over = done >= run.settings.steps or out_of_patience(run, best_so_far(run, done))
    return over and checkpoint.model_step(run.path / "model") == done


def _locked(folder: Path) -> AbstractContextManager[None]:
    return alone(folder / ".lock", f"{folder}: another process is training in it; wait for it or choose another --out")


def _print_settings(run: Run, console: Console) -> None:
    values = run.values()
    own = values.pop("method")
    say(console, tomli_w.dumps({**values, "method": own}).rstrip())


def _held_out_stores(
    run: Run, classes: Sequence[str], training: list[CachedDataset], console: Console
) -> list[CachedDataset]:
    """Held-out pictures of any use at the training size, as many as a validation looks at; none where nothing is held out.

    Those that are looked at again and again are kept in memory, where the pictures of the training leave room for them.
    Raises a `ValueError` where one is in none of the `classes` that a method learns.
    """
    settings = run.settings
    kept = sum(store.bytes for store in training if store.kept is not None) / 2**30
    room = settings.memory_gib - kept if settings.validate_every else 0
    found = layouts.held_out(METHODS[run.method].data, run.place, (settings.channels_a, settings.channels_b))
    stores = open_cached(found[1] if found else [], settings.size, settings.fit, room, MOST)
    for store in stores:
        strange = set(classes_of([store.source])) - set(classes)
        if classes and strange:
            raise ValueError(
                f"{run.place}: {min(strange)} is a class of the held-out pictures and none of the training's, which are "
                f"{', '.join(classes)}; add such pictures to those of the training, or move these away"
            )
        with counting(console, "looking at held-out pictures") as progress:
            store.check(settings.workers, progress, METHODS[run.method].of_no_use)
    return stores if all(map(len, stores)) else []


def _validation(run: Run, held_out: list[CachedDataset], device: torch.device) -> Validation | None:
    every = run.settings.validate_every
    if every and not held_out:
        raise ValueError(
            f"--validate-every {every}: {run.place} has no val or test split with pictures of any use; put pictures that "
            "training does not see in a folder val (`diptych data split` divides them), or leave it out"
        )
    return Validation(run, held_out, device) if every else None
