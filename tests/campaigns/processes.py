"""Commands as processes: started, watched, signalled, and judged by their exit status and by what they print."""

import itertools
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .harness import Case
from .warm import Order

ROOT = Path(__file__).parents[2]
LONG = 100
"""Characters."""
LONGEST = 90.0
"""Seconds; tiny commands take two, and five at a time on two cores take their time."""


@dataclass(frozen=True)
class Ended:
    """What a process leaves behind."""

    status: int
    """The exit status; below zero the signal that ended it."""
    terminal: str


class Process:
    """A command that runs, or has ended."""

    def __init__(self, order: Order, pid: int) -> None:
        self.order, self.pid, self.began = order, pid, time.monotonic()

    def send(self, number: int) -> None:
        """Sends a signal, unless the process has ended."""
        if not self.has_ended():
            os.kill(self.pid, number)

    def has_ended(self) -> bool:
        """Without waiting."""
        server().read(0)
        return self.pid in server().ended

    def is_stopped(self) -> bool:
        """Whether it has stopped itself (SIGSTOP)."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2][0]
        except (OSError, IndexError):
            return False
        return state == "T"

    def wait_until_stopped(self) -> bool:
        """False when it has ended before."""
        end = time.monotonic() + LONGEST
        while not self.is_stopped():
            if self.has_ended() or time.monotonic() > end:
                return False
            time.sleep(0.001)
        return True

    def wait(self, seconds: float = LONGEST) -> Ended:
        """Waits for its end; a `TimeoutError`, with the stack of a hang, after so many seconds."""
        if not server().wait(self.pid, seconds):
            os.kill(self.pid, signal.SIGCONT)
            os.kill(self.pid, signal.SIGABRT)
            server().wait(self.pid, LONGEST)
            raise TimeoutError(f"{seconds:g} s: {self.order.arguments}: {self._printed()}")
        return Ended(os.waitstatus_to_exitcode(server().ended[self.pid]), self._printed())

    def _printed(self) -> str:
        try:
            return Path(self.order.terminal).read_text(encoding="utf-8", errors="backslashreplace")
        except FileNotFoundError:
            return ""


class Server:
    """The process of `warm.py`."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment,
            bufsize=0,
        )
        self.rest, self.started = b"", list[int]()
        self.ended: dict[int, int] = {}

    def start(self, order: Order) -> Process:
        """Starts a process."""
        assert self.process.stdin is not None
        self.process.stdin.write(order.as_line().encode())
        while not self.started:
            self.read(LONGEST)
        return Process(order, self.started.pop())

    def wait(self, pid: int, seconds: float) -> bool:
        """Whether the process has ended within so many seconds."""
        end = time.monotonic() + seconds
        while pid not in self.ended and time.monotonic() < end:
            self.read(max(end - time.monotonic(), 0))
        return pid in self.ended

    def read(self, seconds: float) -> None:
        """Takes in what the server says, and waits so long for its first word."""
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return
        received = os.read(self.process.stdout.fileno(), 2**16)
        if not received:
            raise RuntimeError("the server of processes has ended")
        *lines, self.rest = (self.rest + received).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "started" in said:
                self.started.append(said["started"])
            else:
                self.ended[said["ended"]] = said["status"]


@cache
def server() -> Server:
    """The one of this worker, started when it is first needed."""
    return Server()


NUMBERS = itertools.count(1)


class Commands:
    """The commands of a case, each with a file of its own for what it prints."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.long_name = ""
        """A name so long that it does not count where a line must be short."""

    def start(self, arguments: list[str], folder: Path, **more: Any) -> Process:
        """Starts a command in a folder; `more` are fields of its `Order`."""
        terminal = self.case.folder / f"terminal-{next(NUMBERS)}.txt"
        return server().start(Order(arguments, str(folder), str(terminal), **more))

    def run(self, arguments: list[str], folder: Path, **more: Any) -> Ended:
        """Runs a command to its end, and notes what is wrong with its status and its words."""
        ended = self.wait(self.start(arguments, folder, **more))
        self.judge(arguments, ended)
        return ended

    def wait(self, process: Process) -> Ended:
        """Waits; a hang is a fault."""
        try:
            return process.wait()
        except TimeoutError as error:
            self.case.fault("hang", str(error))
            return Ended(-signal.SIGABRT, "")

    def judge(self, arguments: list[str], ended: Ended, *, also: tuple[int, ...] = ()) -> None:
        """Notes what is wrong; `also` are statuses that are right too, below zero the signals."""
        what, terminal = " ".join(arguments), ended.terminal
        if len(self.long_name) >= LONG:
            terminal = terminal.replace(self.long_name, "(long)")
        if ended.status in also:
            require_calm(self.case, what, terminal)
        else:
            self.case.judge(what, ended.status, terminal)

    def expect_success(self, arguments: list[str], folder: Path, **more: Any) -> bool:
        """Runs a command that must succeed."""
        ended = self.run(arguments, folder, **more)
        if ended.status != 0:
            self.case.fault("wrong", f"{' '.join(arguments)}: exit status {ended.status}: {ended.terminal}")
        return ended.status == 0


def require_calm(case: Case, what: str, terminal: str) -> None:
    """Notes a traceback, and more than one line to a person."""
    if "Traceback (most recent call last)" in terminal or "Fatal Python error" in terminal:
        case.fault("traceback", f"{what}: {terminal}")
    told = [line for line in terminal.splitlines() if line.startswith("diptych: ")]
    if len(told) > 1:
        case.fault("terminal", f"{what}: one line is expected, and there is: {terminal}")
    for line in told:
        case.judge_line(line.removeprefix("diptych: "))


# ---- what was written


LEFTOVER = re.compile(r"\.partial-")


CHANGING = re.compile(
    rb'"seconds": [0-9.]+|\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?|/[^"\s<>&]*(?=/data/)|transforms = \[[^]]*\]'
)
"""What differs from run to run, and from place to place: which transforms pay is measured where there is no cache."""


def tree(folder: Path) -> dict[str, bytes]:
    """What each file holds, without TensorBoard, locks, seconds and places."""
    files = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        name = str(path.relative_to(folder)) if path != folder else path.name
        if "tensorboard" in name or name.endswith(".lock"):
            continue
        if path.is_symlink():
            files[name] = os.fsencode(path.readlink())
        elif path.is_file():
            files[name] = _comparable(path)
    return files


def _comparable(path: Path) -> bytes:
    content = path.read_bytes()
    if zipfile.is_zipfile(path):  # its times are of today
        with zipfile.ZipFile(path) as archive:
            return b"".join(name.encode() + archive.read(name) for name in archive.namelist())
    if path.suffix in (".toml", ".json", ".jsonl", ".html"):
        content = CHANGING.sub(b"", content)
    if path.name == "metrics.jsonl":  # an evaluation that was killed at its very end has been noted
        content = b"".join(dict.fromkeys(content.splitlines(keepends=True)))
    return content


def leftovers(folder: Path) -> list[str]:
    """What is half-written, by its name."""
    return [name for name in tree(folder) if LEFTOVER.search(name)]


def differing(ours: dict[str, bytes], theirs: dict[str, bytes]) -> list[str]:
    """The names of the files that only one has, or that differ."""
    return [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
