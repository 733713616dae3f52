"""Progress display: a live bar in a terminal, a line every 30 seconds in a file."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from diptych.wording import printable

LINE_EVERY = 30.0  # seconds between lines in a file


def say(console: Console, text: str) -> None:
    """Prints one line literally: no wrapping, colours or markup, and nothing that the terminal would obey."""
    console.print(printable(text), highlight=False, markup=False, soft_wrap=True)


@contextmanager
def counting(console: Console, task: str) -> Iterator[Callable[..., None]]:
    """Displays the progress of a task; gives a callback `(done, total)`, or `(done, total, name of a subtask)`.

    The bar appears with its first call, so that a person may be asked something before.
    """
    last_line = time.monotonic()

    def show(done: int, total: int, name: str = task) -> None:
        nonlocal last_line
        bar.start()
        bar.update(bar_task, completed=done, total=total, description=printable(name))
        if not console.is_terminal and time.monotonic() - last_line > LINE_EVERY:
            last_line = time.monotonic()
            say(console, f"{name}: {done} of {total}")

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    bar_task = bar.add_task(printable(task), total=None)
    try:
        yield show
    finally:
        bar.stop()


class Notes:
    """Lines `name: what (details)` about many files: one for each `what`, and at the end how many more there were.

    >>> import sys
    >>> notes = Notes(Console(file=sys.stdout))
    >>> for name in ("a.png", "b.png", "c.png"):
    ...     notes(name, "has no hole", "8x8")
    a.png: has no hole (8x8)
    >>> notes.end()
    2 more: has no hole
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.names: dict[str, set[str]] = {}

    def __call__(self, name: str, what: str, details: str = "") -> None:
        """Says the line, or counts it."""
        names = self.names.setdefault(what, set())
        if not names:
            say(self.console, f"{name}: {what}{details and f' ({details})'}")
        names.add(name)

    def end(self) -> None:
        """Says how many more there were."""
        for what, names in self.names.items():
            if len(names) > 1:
                say(self.console, f"{len(names) - 1} more: {what}")


class TrainingProgress:
    """Progress of a training: steps, images per second, time left, losses."""

    def __init__(self, console: Console, start: int, steps: int, batch_size: int) -> None:
        self.console, self.start, self.steps, self.batch_size = console, start, steps, batch_size
        self.done, self.losses = start, ""
        self.bar = Progress(
            TextColumn("{task.fields[phase]}step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[speed]:.1f} pictures/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "TrainingProgress":
        self.began = self.last_line = time.monotonic()
        self.bar.start()
        self.task = self.bar.add_task("", total=self.steps, completed=self.start, phase="", speed=0.0, losses="")
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def show(self, losses: dict[str, float], findings: str) -> None:
        """Displays the latest losses and the doctor's findings."""
        shown = [f"{name} {value:.3f}" for name, value in losses.items()]
        self.losses = printable("  ".join([*shown, f"({findings})"] if findings else shown))

    def advance(self, phase: str = "") -> None:
        """Counts one finished step, with the name of its phase for methods that train in phases."""
        prefix = f"{phase}, " if phase else ""
        self.done += 1
        now = time.monotonic()
        speed = (self.done - self.start) * self.batch_size / (now - self.began)
        self.bar.update(self.task, completed=self.done, phase=prefix, speed=speed, losses=self.losses)
        if not self.console.is_terminal and now - self.last_line > LINE_EVERY:
            self.last_line = now
            left = (self.steps - self.done) * self.batch_size / speed / 60
            step = f"{prefix}step {self.done}/{self.steps}"
            say(self.console, f"{step}  {speed:.1f} pictures/s  {left:.0f} min left  {self.losses}")
