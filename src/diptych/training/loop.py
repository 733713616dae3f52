"""The training loop: batches, training steps and hooks, the same for all methods."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType

import torch

from diptych import distributed
from diptych.devices import computing
from diptych.progress import TrainingProgress, say
from diptych.signals import heard
from diptych.training import checkpoint
from diptych.training.state import Hook, Moment, Stop, Training, seed_of
from diptych.training.validation import Validation


class Interrupted(KeyboardInterrupt):
    """Training was interrupted by a signal, and stopped at a checkpoint."""


def learn(training: Training, validation: Validation | None) -> str:
    """Trains from the newest checkpoint to the last step; returns a message with that step, and why it was the last."""
    from diptych.training.board import Board  # slow to import, for TensorBoard is
    from diptych.training.hooks import Logger, Previewer, Validator, save_checkpoint, save_snapshot

    run, settings, start = training.run, training.settings, training.start
    header = f"{run.path}: {run.method} at {settings.size} px on {training.device} ({training.precision}), "
    say(
        training.console,
        header + (f"continuing at step {start} of {settings.steps}" if start else f"{settings.steps} steps"),
    )
    if start:  # a process that was killed between checkpoint and model leaves an older model
        training.save_model(start)
    board = Board(run.path / "tensorboard", start, partial(say, training.console))
    with (
        _stop_signals() as stop,
        TrainingProgress(training.console, start, settings.steps, settings.batch_size) as display,
    ):
        validator, previewer = Validator(training, validation), Previewer(training, board)
        logger = Logger(training, board, previewer, display)
        savers = [partial(save_snapshot, training), partial(save_checkpoint, training)]
        hooks: list[Hook] = [validator.after, previewer.after, logger.after, *savers]
        done = start if start and validator.out_of_patience() else _steps(training, hooks, stop, display)
    if not (validation and validator.best):
        return f"step {done}"
    early = f" of {settings.steps}, after --patience {settings.patience}" if done < settings.steps else ""
    folder = checkpoint.model_folder(run.path, checkpoint.BEST)
    return f"step {done}{early}; the best by {validation.by} is that of step {validator.best.step}, in {folder}"


def _steps(training: Training, hooks: Sequence[Hook], stop: threading.Event, display: TrainingProgress) -> int:
    method, settings, updater, device = training.method, training.settings, training.updater, training.device
    phased = training.phased
    stream = training.loader.stream(training.start, settings.steps, device, settings.workers)
    for step, batch in enumerate(stream, start=training.start):
        torch.manual_seed(seed_of(settings.seed, 3, step))
        updater.begin(step)
        with computing(training.precision, device, training.operators):
            scalars = method.train_step(batch, updater, step)
        training.losses.add(scalars)

        done = step + 1
        if phased:
            phased.after_step(done, distributed.mean)
        end = Stop.END if done == settings.steps else Stop.NO
        now = Moment(done, Stop.INTERRUPTED if stop.is_set() and end is Stop.NO else end)
        training.run.require_there()  # a hook would make another folder in its place
        for hook in hooks:
            hook(now)
        display.advance(phased.phase(step) if phased else "")
        if now.stop is Stop.END:
            return done
        if now.stop is Stop.INTERRUPTED:
            raise Interrupted(f"stopped at the checkpoint of step {done}; the same command continues")
    return training.start


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
