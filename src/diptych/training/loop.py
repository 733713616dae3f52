"""The training loop: batches, training steps and hooks, the same for all methods."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

import torch

from diptych import distributed
from diptych.data.remote import UnreachableError
from diptych.devices import computing
from diptych.methods.base import Batch
from diptych.progress import TrainingProgress, say
from diptych.signals import heard
from diptych.training import checkpoint
from diptych.training.state import Hook, Moment, Stop, Training, seed_of
from diptych.training.validation import Validation


class Interrupted(KeyboardInterrupt):
    """Training was interrupted by a signal, and stopped at a checkpoint."""


def learn(training: Training, validation: Validation | None) -> str:
    """Trains from the newest checkpoint to the last step; returns a message with that step, and why it was the last.

    The first of several processes alone has hooks, and prints; the others wait for it after every step.
    """
    settings, start = training.settings, training.start
    training.require_same()
    display = TrainingProgress(training.console, start, settings.steps, settings.batch_size)
    with distributed.agreeing():
        hooks = _Hooks(training, validation, display) if distributed.is_first() else None
    over = start and distributed.chosen(lambda: bool(hooks and hooks.validator.out_of_patience()))
    with _stop_signals() as stop, display:
        done = start if over else _steps(training, hooks, stop, display)
    if not (hooks and validation and (best := hooks.validator.best)):
        return f"step {done}"
    early = f" of {settings.steps}, after --patience {settings.patience}" if done < settings.steps else ""
    folder = checkpoint.model_folder(training.run.path, checkpoint.BEST)
    return f"step {done}{early}; the best by {validation.by} is that of step {best.step}, in {folder}"


class _Hooks:
    """What is done after every step, in its order; begins by saying what is to be trained."""

    def __init__(self, training: Training, validation: Validation | None, display: TrainingProgress) -> None:
        from diptych.training.board import Board  # slow to import, for TensorBoard is
        from diptych.training.hooks import Logger, Previewer, Validator, save_checkpoint, save_snapshot

        run, settings, start = training.run, training.settings, training.start
        header = f"{run.path}: {run.method} at {settings.size} px on {training.device} ({training.precision}), "
        if distributed.size() > 1:
            header += f"{distributed.size()} processes, "
        say(
            training.console,
            header + (f"continuing at step {start} of {settings.steps}" if start else f"{settings.steps} steps"),
        )
        if start:  # a process that was killed between checkpoint and model leaves an older model
            training.save_model(start)
        board = Board(run.path / "tensorboard", start, partial(say, training.console))
        self.validator, previewer = Validator(training, validation), Previewer(training, board)
        logger = Logger(training, board, previewer, display)
        savers = [partial(save_snapshot, training), partial(save_checkpoint, training)]
        self.all: list[Hook] = [self.validator.after, previewer.after, logger.after, *savers]
        self.run = run

    def after(self, now: Moment) -> int:
        """Calls all of them; returns 1 if validation ends the run."""
        self.run.require_there()  # a hook would make another folder in its place
        for hook in self.all:
            hook(now)
        return now.stop is Stop.END


def _steps(training: Training, hooks: _Hooks | None, stop: threading.Event, display: TrainingProgress) -> int:
    method, settings, updater, device = training.method, training.settings, training.updater, training.device
    phased = training.phased
    process = () if distributed.is_first() else (distributed.rank(),)  # the first draws as a process alone does
    stream = training.loader.stream(training.start, settings.steps, device, settings.workers)
    for step, batch in enumerate(_or_checkpoint(stream, training), start=training.start):
        torch.manual_seed(seed_of(settings.seed, 3, step, *process))
        updater.begin(step)
        with computing(training.precision, device, training.operators):
            scalars = method.train_step(batch, updater, step)
        training.losses.add(training.averaged(scalars))

        done = step + 1
        if phased:
            phased.after_step(done, distributed.mean)
        stopping = distributed.asked_to_stop(stop.is_set())
        end = Stop.END if done == settings.steps else Stop.NO
        now = Moment(done, Stop.INTERRUPTED if stopping and end is Stop.NO else end)
        if now.due(settings.checkpoint_every):
            training.require_same()
        if distributed.chosen(lambda now=now: hooks.after(now) if hooks else 0):  # type: ignore[misc]
            now.stop = Stop.END
        display.advance(phased.phase(step) if phased else "")
        if now.stop is Stop.END:
            return done
        if now.stop is Stop.INTERRUPTED:
            raise Interrupted(f"stopped at the checkpoint of step {done}; the same command continues")
    return training.start


def _or_checkpoint(stream: Iterator[Batch], training: Training) -> Iterator[Batch]:
    """The batches; a checkpoint, too, before the error of a server that gives no more of them.

    Of several processes each meets it by itself, and the last checkpoint of all counts.
    """
    done = training.start
    try:
        for batch in stream:
            yield batch
            done += 1
    except UnreachableError as error:
        if distributed.size() > 1 or done == training.start:
            raise
        training.require_finite()
        training.save_checkpoint(done)
        raise UnreachableError(
            f"{error}; stopped at the checkpoint of step {done}; the same command continues"
        ) from error


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """A signal to end sets the event, and the loop stops after the current step; a second one stops immediately."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, request) for number in heard()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
