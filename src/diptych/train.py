"""The loop. It knows players, steps and batches; it knows no method by name and nothing of what a picture shows."""

import shlex
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import numpy as np
import tomli_w
import torch
from rich.console import Console
from torch import Tensor

from diptych import checkpoint, doctor
from diptych.atomic import alone
from diptych.data import layouts, pictures
from diptych.data.batches import PictureStore, PlainBatches, TrainingBatches, open_stores
from diptych.data.layouts import Place
from diptych.data.sources import Source, classes_of
from diptych.devices import autocast, choose_device, choose_precision, memory_format
from diptych.methods import METHODS
from diptych.methods.base import Method
from diptych.progress import TrainingProgress, counting, say
from diptych.run import Run, command_line, names_digest, require_method, set_aside, settings_from
from diptych.updater import Updater, learning_rate
from diptych.validation import Standing, Validation, after, standing

SAMPLES = 4  # rows of a sample sheet
PROBED = 8 * 256 * 256  # pixels that the doctor looks at, of training and of held-out pictures each
MOST_PROBED = 64  # pictures
SHOWN = 8  # names of pictures in a line


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop and did, at a checkpoint."""


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
    place, out = Place.given(data, data_a, data_b), Path(out)
    asked = settings_from(
        method, settings, Path(recipe) if recipe else None, layouts.uniform(METHODS[method].needs, place)
    )
    device = choose_device(asked.device)
    precision = choose_precision(asked.precision, device)
    sources = layouts.find(METHODS[method].needs, place, "train", (asked.channels_a, asked.channels_b))
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
    stores = open_stores(sources, asked.load_size, asked.fit, asked.memory_gib)
    left_out = _look_at_all(stores, run, console)
    found = _describe(stores)
    say(console, f"{place}: {found}")
    run = Run(
        out, method, asked.resolved(max(map(len, stores))), place, classes
    )  # an epoch has only what was not left out
    if may_be_finished and _is_finished(run):
        return _nothing_to_do(run, console)
    held_out = _held_out_stores(run, sketch.classes, stores, console)
    glimpses, validation = _Glimpses(run, stores, held_out, sketch), _validation(run, held_out, device)
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
        batches = TrainingBatches(
            stores,
            size=asked.size,
            batch_size=asked.batch_size,
            flip=asked.flip,
            seed=asked.seed,
            direction=asked.direction,
            holes=sketch.holes,
        )
        try:
            _Training(run, batches, glimpses, validation, device, precision, console).go()
        except Interrupted as stopped:
            raise Interrupted(f"{stopped}{', without --fresh' if fresh else ''}") from None
    return run


# ---- before the first step


def _nothing_to_do(run: Run, console: Console) -> Run:
    more = "--steps or --epochs" if _steps_done(run) >= run.settings.steps else "--patience"
    say(console, f"{run.path}: finished; nothing to do (a larger {more} goes on, --fresh starts anew)")
    return run


def _look_at_all(stores: list[PictureStore], run: Run, console: Console) -> list[str]:
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


def _each(stores: Sequence[PictureStore], progress: Callable[[int, int], None]) -> Iterator[Tensor]:
    places = [(store, index) for store in stores for index in range(len(store))]
    for done, (holder, index) in enumerate(places, start=1):
        yield holder.get(index)
        progress(done, len(places))


def _describe(stores: list[PictureStore]) -> str:
    if len(stores) == 1:
        return stores[0].describe()
    return "; ".join(f"{side}: {store.describe()}" for side, store in zip("AB", stores, strict=True))


def _require_place(run: Run, sources: list[Source]) -> None:
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
    elif run.path.exists() and (not run.path.is_dir() or any(f for f in run.path.iterdir() if f.name != ".lock")):
        raise ValueError(f"{run.path}: exists and is not a run; choose another --out, nothing of yours is overwritten")


def _steps_done(run: Run) -> int:
    found = checkpoint.list_checkpoints(run.path / "checkpoints")
    return found[-1][0] if found else 0


def _is_finished(run: Run) -> bool:
    done = _steps_done(run)
    over = done >= run.settings.steps or _out_of_patience(run, _standing(run, done))
    return over and checkpoint.model_step(run.path / "model") == done


def _standing(run: Run, done: int) -> Standing | None:
    """How the validations of the first `done` steps went; None where the model that was kept is not the best of them.

    It is another one after a change of --validate-by, or a kill before its line was in the log.
    """
    by = run.settings.validate_by or METHODS[run.method].best_by
    found = standing([entry for entry in run.read_log() if entry["step"] <= done], by)
    return found if found and checkpoint.model_step(run.path / checkpoint.BEST) == found.step else None


def _out_of_patience(run: Run, found: Standing | None) -> bool:
    return bool(run.settings.patience and found and found.since >= run.settings.patience)


def _locked(folder: Path) -> AbstractContextManager[None]:
    return alone(folder / ".lock", f"{folder}: another process is training in it; wait for it or choose another --out")


def _print_settings(run: Run, console: Console) -> None:
    values = run.values()
    own = values.pop("method")
    say(console, tomli_w.dumps({**values, "method": own}).rstrip())


def _held_out(run: Run) -> list[Source] | None:
    channels = (run.settings.channels_a, run.settings.channels_b)
    found = layouts.held_out(METHODS[run.method].needs, run.place, channels)
    return found[1] if found else None


def _held_out_stores(
    run: Run, classes: Sequence[str], training: list[PictureStore], console: Console
) -> list[PictureStore]:
    """The held-out pictures of any use at the training size; none where nothing is held out.

    Those that are looked at again and again are kept, where the pictures of the training leave room for them. Raises a
    `ValueError` where one is in none of the `classes` that a method learns.
    """
    settings = run.settings
    kept = sum(store.bytes for store in training if store.kept is not None) / 2**30
    room = settings.memory_gib - kept if settings.validate_every else 0
    stores = open_stores(_held_out(run) or [], settings.size, settings.fit, room)
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


def _validation(run: Run, held_out: list[PictureStore], device: torch.device) -> Validation | None:
    every = run.settings.validate_every
    if every and not held_out:
        raise ValueError(
            f"--validate-every {every}: {run.place} has no val or test split with pictures of any use; put pictures that "
            "training does not see in a folder val (`diptych data split` divides them), or leave it out"
        )
    return Validation(run, held_out, device) if every else None


class _Glimpses:
    """The same few pictures whenever the training is looked at: those of the sample sheet, and those for the doctor."""

    def __init__(self, run: Run, training: list[PictureStore], held_out: list[PictureStore], sketch: Method) -> None:
        settings = run.settings
        some = min(PROBED // settings.size**2, MOST_PROBED)

        def batch(stores: list[PictureStore], most: int) -> dict[str, Tensor]:
            sized = [store.at(settings.size) for store in stores]
            plain = PlainBatches(sized, settings.direction, sketch.holes, sketch.classes)
            count = max(min(most, len(plain)), 1)
            return plain.batch(range(count), count)

        self.samples = batch(held_out or training, SAMPLES)
        self.training = batch(training, some)
        self.held_out = batch(held_out, some) if held_out else None


# ---- the steps


def _is_time(done: int, every: int) -> bool:
    return every > 0 and done % every == 0


def _seed(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])


class _Training:
    """One process's work on one run."""

    def __init__(
        self,
        run: Run,
        batches: TrainingBatches,
        glimpses: _Glimpses,
        validation: Validation | None,
        device: torch.device,
        precision: Literal["fp32", "bf16"],
        console: Console,
    ) -> None:
        self.run, self.batches, self.console = run, batches, console
        self.settings = run.settings.model_copy(update={"precision": precision})
        self.glimpses, self.validation = glimpses, validation
        self.device, self.precision = device, precision
        torch.manual_seed(_seed(self.settings.seed, 2))
        method = METHODS[run.method](self.settings.method, run.shape)
        self.method = method.to(device, memory_format=memory_format(device))  # type: ignore[call-overload]
        self.updater = Updater(self.method, self.settings, device)
        self.config = checkpoint.ModelConfig(
            method=run.method,
            direction=self.settings.direction,
            shape=run.shape,
            settings=self.settings.method.model_dump(mode="json", by_alias=True),
        )
        self.checkpoints = run.path / "checkpoints"
        self.start = self._resume()
        if not self.start:
            with counting(console, "what the method takes from every picture") as progress:
                self.method.learn_before(_each(batches.stores, progress))
        run.cut_log(self.start)
        self.lines = run.read_log()
        self.seconds_before = self.lines[-1]["seconds"] if self.lines else 0.0
        self.standing = _standing(run, self.start) if validation else None
        last = self.lines[-1].get("doctor", []) if self.lines else []
        self.seen_in_pictures: list[doctor.Finding] = [
            found for found in last if found["finding"] in doctor.OF_PICTURES
        ]
        self.told = {(found["finding"], found["of"]) for found in last}

    def _resume(self) -> int:
        found = checkpoint.list_checkpoints(self.checkpoints)
        if not found:
            return 0
        step, path = found[-1]
        checkpoint.load_training(path, self.method, self.updater.optimizers, self.updater.ema)
        return step

    def go(self) -> None:
        """From the last checkpoint to the last step."""
        steps, run = self.settings.steps, self.run
        say(
            self.console,
            f"{run.path}: {run.method} at {self.settings.size} px on {self.device} ({self.precision}), "
            + (f"continuing at step {self.start} of {steps}" if self.start else f"{steps} steps"),
        )
        if self.start:  # a kill between checkpoint and model leaves an older model
            self._save_model(self.start)
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and only training needs it

        self.board = SummaryWriter(str(run.path / "tensorboard"), purge_step=self.start + 1)
        try:
            with (
                _stop_signals() as stop,
                TrainingProgress(self.console, self.start, steps, self.settings.batch_size) as self.display,
            ):
                # A run that was killed after its last look may be at its end already
                over = self.start and _out_of_patience(run, self.standing)
                done = self.start if over else self._steps(stop)
        finally:
            self.board.close()
        say(self.console, f"{run.path}: finished at step {done}{self._why(done)}; next: {self._next_command()}")

    def _why(self, done: int) -> str:
        """Which model is the best, and why the training ended before its time."""
        if not (self.validation and self.standing):
            return ""
        best = f"the best by {self.validation.by} is that of step {self.standing.step}, in {self.run.path / checkpoint.BEST}"
        early = (
            f" of {self.settings.steps}, after --patience {self.settings.patience}"
            if done < self.settings.steps
            else ""
        )
        return f"{early}; {best}"

    def _next_command(self) -> str:
        run, folder = self.run, shlex.quote(str(self.run.path))
        return f"diptych evaluate {folder} {run.place.arguments}" if _held_out(run) else f"diptych report {folder}"

    def _steps(self, stop: threading.Event) -> int:
        """Gives the number of the last step."""
        settings, began = self.settings, time.monotonic()
        sums: dict[str, Tensor] = {}
        summed: Counter[str] = Counter()  # a method may have other losses in each phase
        stream = self.batches.stream(self.start, settings.steps, self.device, settings.workers)
        for step, batch in enumerate(stream, start=self.start):
            torch.manual_seed(_seed(settings.seed, 3, step))
            self.updater.begin(step)
            with autocast(self.precision, self.device):
                scalars = self.method.train_step(batch, self.updater, step)
            for name, value in scalars.items():
                sums[name] = sums[name] + value.detach() if name in sums else value.detach()
            summed.update(scalars.keys())

            done = step + 1
            self.method.decide(done)
            stopping = stop.is_set()  # asked once: a signal may arrive at any line below
            end = done == settings.steps
            validated = self._validate(done) if end or _is_time(done, settings.validate_every) else {}
            end = end or bool(validated and _out_of_patience(self.run, self.standing))
            last = stopping or end
            if last or _is_time(done, settings.sample_every):
                self._sample(done)
            if last or validated or _is_time(done, settings.log_every):
                self.updater.require_finite(self._kept())
                totals = torch.stack([total.float() for total in sums.values()]).tolist()
                losses = {name: total / summed[name] for name, total in zip(sums, totals, strict=True)}
                self._log(done, losses, self.seconds_before + time.monotonic() - began, validated)
                sums, summed = {}, Counter()
            if name := self.method.kept_as(done):
                self.updater.require_finite(self._kept())
                self._save_model(done, f"model-{name}")
            if last or _is_time(done, settings.checkpoint_every):
                self.updater.require_finite(self._kept())
                self._save(done)
            self.display.advance(self.method.phase(step))
            if end:
                return done
            if stopping:
                raise Interrupted(f"stopped at the checkpoint of step {done}; the same command continues")
        return self.start

    def _kept(self) -> str:
        found = checkpoint.list_checkpoints(self.checkpoints)
        return f"the checkpoint of step {found[-1][0]} is kept" if found else "there is no checkpoint yet"

    def _log(self, done: int, losses: dict[str, float], seconds: float, validated: dict[str, float]) -> None:
        """One line of the log, with what the doctor says of it and of those before."""
        scalars = {f"losses/{name}": value for name, value in losses.items()}
        scalars["lr"] = learning_rate(done - 1, self.settings)
        gradients = self.updater.mean_norms()
        entry = {
            "step": done,
            "pictures": done * self.settings.batch_size,
            "seconds": round(seconds, 3),
            "lr": scalars["lr"],
            "losses": losses,
            "gradients": gradients,
        }
        if validated:
            entry["validation"] = validated
        self.lines.append(entry)
        found = [
            *doctor.in_losses(self.lines, self.method.games, self.settings),
            *doctor.in_gradients(self.lines, self.settings),
            *self.seen_in_pictures,
        ]
        entry["doctor"] = found
        self.run.log(entry)
        scalars |= {f"gradients/{player}": norm for player, norm in gradients.items()}
        scalars |= {f"validation/{name}": value for name, value in validated.items()}
        for name, value in scalars.items():
            self.board.add_scalar(name, value, done)
        for finding in found:
            if (key := (finding["finding"], finding["of"])) not in self.told:
                self.told.add(key)
                words = f"{finding['finding']}: {finding['saw']}; try {finding['try']}"
                say(self.console, f"step {done}: {words}")
                self.board.add_text("doctor", words, done)
        self.display.show(losses, doctor.briefly(found))

    @contextmanager
    def _as_deployed(self) -> Iterator[None]:
        """Inside, the method is what would be deployed now."""
        self.method.eval()
        try:
            with torch.no_grad(), self.updater.deployed_weights(), autocast(self.precision, self.device):
                yield
        finally:
            self.method.train()

    def _on_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.to(self.device) for name, value in batch.items()}

    def _validate(self, done: int) -> dict[str, float]:
        """Measures on the held-out pictures, and keeps the model where it is the best so far."""
        if self.validation is None:
            return {}
        self.updater.require_finite(self._kept())
        with self._as_deployed():
            values = self.validation(self.method)
        self.standing = after(self.standing, {"step": done, "validation": values}, self.validation.by)
        if self.standing and self.standing.step == done:
            self._save_model(done, checkpoint.BEST)
        return values

    def _sample(self, done: int) -> None:
        """Draws the sample sheet, and lets the doctor look at pictures."""
        glimpses, settings = self.glimpses, self.settings
        with self._as_deployed():
            panels = self.method.panels(self._on_device(glimpses.samples))
            training, unseen = self._on_device(glimpses.training), self._on_device(glimpses.held_out or {})
            self.seen_in_pictures = doctor.in_pictures(
                self.method.outcomes(unseen or training), self.method.needs == "unpaired", settings
            )
            if unseen:
                known, new = self.method.judgements(training), self.method.judgements(unseen)
                self.seen_in_pictures += doctor.in_judgements(known, new, settings)
        rows = [picture for row in zip(*panels, strict=True) for picture in row]
        sheet = pictures.merge([picture.float() for picture in rows], columns=len(panels))
        folder = self.run.path / "samples"
        folder.mkdir(exist_ok=True)
        pictures.encode(pictures.from_tensor(sheet), folder / f"step-{done:08d}.png")
        self.board.add_image("samples", (sheet + 1) / 2, done)

    def _save(self, done: int) -> None:
        self.checkpoints.mkdir(exist_ok=True)
        checkpoint.save_training(self.checkpoints, done, self.method, self.updater.optimizers, self.updater.ema)
        self._save_model(done)

    def _save_model(self, done: int, folder: str = "model") -> None:
        checkpoint.save_model(self.run.path / folder, self.config, done, self.method, self.updater.ema)


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM ask the loop to stop after this step; a second Ctrl-C stops at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
