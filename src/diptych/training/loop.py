"""The loop. It knows players, steps and batches; it knows no method by name and nothing of what a picture shows."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Literal

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from diptych.data.loaders import CachedDataset, EvalLoader, TrainLoader
from diptych.devices import autocast, memory_format
from diptych.images.files import encode, from_tensor, merge
from diptych.methods import METHODS
from diptych.methods.base import Method
from diptych.progress import TrainingProgress, counting, say
from diptych.training import checkpoint, doctor
from diptych.training.run import Run
from diptych.training.updater import Updater, learning_rate
from diptych.training.validation import Validation, after, best_so_far, out_of_patience

SAMPLES = 4  # rows of a sample sheet
PROBED = 8 * 256 * 256  # pixels that the doctor looks at, of training and of held-out pictures each
MOST_PROBED = 64  # pictures


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop and did, at a checkpoint."""


class PreviewBatches:
    """The same few pictures whenever the training is looked at: those of the sample sheet, and those for the doctor."""

    def __init__(self, run: Run, training: list[CachedDataset], held_out: list[CachedDataset], sketch: Method) -> None:
        settings = run.settings
        some = min(PROBED // settings.size**2, MOST_PROBED)

        def batch(stores: list[CachedDataset], most: int) -> dict[str, Tensor]:
            sized = [store.resized(settings.size) for store in stores]
            plain = EvalLoader(sized, settings.direction, sketch.holes, sketch.classes)
            count = max(min(most, len(plain)), 1)
            return plain.batch(range(count), count)

        self.samples = batch(held_out or training, SAMPLES)
        # Of two sides as many are looked at as the smaller one has: pictures that come back would look like a collapse
        self.training = batch(training, min(some, *map(len, training)))
        self.held_out = batch(held_out, min(some, *map(len, held_out))) if held_out else None


class Training:
    """One process's work on one run."""

    def __init__(
        self,
        run: Run,
        batches: TrainLoader,
        glimpses: PreviewBatches,
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
                self.method.learn_before(_each(batches.datasets, progress))
        run.cut_log(self.start)
        self.lines = run.read_log()
        self.seconds_before = self.lines[-1]["seconds"] if self.lines else 0.0
        self.standing = best_so_far(run, self.start) if validation else None
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

    def go(self) -> str:
        """From the last checkpoint to the last step; says which that was, and why."""
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
                over = self.start and out_of_patience(run, self.standing)
                done = self.start if over else self._steps(stop)
        finally:
            self.board.close()
        if not (self.validation and self.standing):
            return f"step {done}"
        folder = checkpoint.kept(run.path, checkpoint.BEST)
        best = f"the best by {self.validation.by} is that of step {self.standing.step}, in {folder}"
        early = (
            f" of {self.settings.steps}, after --patience {self.settings.patience}"
            if done < self.settings.steps
            else ""
        )
        return f"step {done}{early}; {best}"

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
            end = end or bool(validated and out_of_patience(self.run, self.standing))
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
                self._save_model(done, name)
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
                self.method.outcomes(unseen or training), self.method.data == "unpaired", settings
            )
            if unseen:
                known, new = self.method.judgements(training), self.method.judgements(unseen)
                self.seen_in_pictures += doctor.in_judgements(known, new, settings)
        rows = [picture for row in zip(*panels, strict=True) for picture in row]
        sheet = merge([picture.float() for picture in rows], columns=len(panels))
        folder = self.run.path / "samples"
        folder.mkdir(exist_ok=True)
        encode(from_tensor(sheet), folder / f"step-{done:08d}.png")
        self.board.add_image("samples", (sheet + 1) / 2, done)

    def _save(self, done: int) -> None:
        self.checkpoints.mkdir(exist_ok=True)
        checkpoint.save_training(self.checkpoints, done, self.method, self.updater.optimizers, self.updater.ema)
        self._save_model(done)

    def _save_model(self, done: int, name: str = "") -> None:
        checkpoint.save_model(checkpoint.kept(self.run.path, name), self.config, done, self.method, self.updater.ema)


def _is_time(done: int, every: int) -> bool:
    return every > 0 and done % every == 0


def _seed(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])


def _each(stores: Sequence[CachedDataset], progress: Callable[[int, int], None]) -> Iterator[Tensor]:
    places = [(store, index) for store in stores for index in range(len(store))]
    for done, (holder, index) in enumerate(places, start=1):
        yield holder.get(index)
        progress(done, len(places))


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
