"""What the campaigns share: cases that are a function of a seed and a number, tried in worker processes and measured.

A campaign is a module of this package, named in `__main__.NAMES`, with a constant `CAMPAIGN`:

    def prepare(shared: Path) -> None:                # once, before the first case: what all cases use and none changes
        (shared / "plain.png").write_bytes(...)

    def make(case: Case) -> Attempt:                  # not measured: writes the files of one case below case.folder
        case.title = "png with a flipped bit"         # shown with a fault
        data = bytearray((case.shared / "plain.png").read_bytes())
        data[case.random.randrange(len(data))] ^= 1   # all choices come from case.random
        (case.folder / "x.png").write_bytes(data)
        return lambda: decode(case.folder / "x.png") is not None   # measured: True opened, False or ValueError refused

    CAMPAIGN = Campaign(make, count=10_000, prepare=prepare)

Faults that the harness finds by itself, in every case: an exception other than `ValueError`, a refusal that is not one short
line, more than `hang` seconds, the death of the process, more than `memory` MiB above what it had before, anything written
to the terminal (file descriptors 1 and 2, also from C, also Python's warnings), a change below `case.precious` or below a
path that was given to `case.guard(path)`, and a file at `case.executed`, which whatever should not be run tries to write. A
case adds others with `case.fault(kind, text)`.

`case.command("translate", RUN, ...)` runs a command line inside the worker and judges its status and what it prints; it
gives True for status 0, and False where something was refused. A case may start processes of its own (`subprocess`), and
give `case.judge` what they printed: whatever is left of them after a hang is killed with the worker's process group.
"""

import ctypes
import faulthandler
import hashlib
import io
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, TypeVar, get_args

T = TypeVar("T")
Kind = Literal["traceback", "hang", "death", "memory", "files", "terminal", "wrong"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MIB = 2**20
MOST_MEMORY = 8 * 2**30  # bytes above its own that a worker is given at most, so that a bomb does not end the machine
LONGEST_LINE = 300
LISTS = re.compile(r"; (?:the layouts are|there are:|put there what) ")
"""What follows is a list of all that is possible, or an address, as long as it is."""
BUILD = 600  # seconds to import, to prepare, or to write the files of a case
NOT_FOR_A_TERMINAL = re.compile(r"[^\n\t\x20-\x7e\xa0-\U0010ffff]")

Attempt = Callable[[], bool]
"""What is measured. True: it was opened; False or a `ValueError`: it was refused."""


@dataclass(frozen=True)
class Fault:
    """Something that should not have happened."""

    kind: Kind
    text: str


@dataclass
class Case:
    """One case: everything in it follows from seed and number."""

    number: int
    random: random.Random
    folder: Path
    """Empty at first, and the case's own; kept when there is a fault."""
    shared: Path
    """What `prepare` wrote."""
    precious: Path
    """Files of somebody's: whatever the case does, they must stay as they are."""
    title: str = ""
    faults: list[Fault] = field(default_factory=list)
    guarded: dict[Path, str] = field(default_factory=dict)

    @property
    def executed(self) -> Path:
        """A file that code or a program in hostile input tries to write."""
        return self.folder / "executed"

    def fault(self, kind: Kind, text: str) -> None:
        """Notes a fault; the case goes on."""
        self.faults.append(Fault(kind, text))

    def guard(self, path: Path) -> None:
        """The harness compares this file or folder before and after the attempt."""
        self.guarded[path] = digest(path)

    def command(self, *arguments: object) -> bool:
        """Runs `diptych ARGUMENTS` in this process; True for status 0. Whatever is not one right line is a fault."""
        from diptych.cli import run

        _take_terminal()
        status = run(list(map(str, arguments)))
        self.judge(" ".join(map(str, arguments[:2])), status, _take_terminal())
        return status == 0

    def judge(self, what: str, status: int, terminal: str) -> None:
        """Notes what is wrong with the status of a command and with what it printed, errors among the rest."""
        if status not in (0, 1, 2):
            self.fault("wrong", f"{what}: exit status {status}")
        if "Traceback (most recent call last)" in terminal:
            self.fault("traceback", f"{what}: beside its own line: {terminal}")
        if found := NOT_FOR_A_TERMINAL.search(terminal):
            self.fault("terminal", f"{what}: prints the character {found[0]!r} as it is: {terminal!r}")
        told = [line for line in terminal.splitlines() if line.startswith("diptych: ")]
        if status == 2 and (len(told) != 1 or terminal.splitlines()[-1:] != told):
            self.fault("terminal", f"{what}: one line is expected, and there is: {terminal}")
        if status == 1 and not told and "cannot be read" not in terminal:
            self.fault("wrong", f"{what}: exit status 1 without a line that says why: {terminal}")
        for line in terminal.splitlines():
            if re.search(r"\w(Warning|Error): |^\w+: Warning|^libpng|^\[.*(WARN|ERROR)", line):
                self.fault("terminal", f"{what}: a line of a library's: {line}")
        for line in told:
            self.judge_line(line.removeprefix("diptych: "))

    def judge_line(self, line: str) -> None:
        """Notes what is wrong with the one line that refuses something."""
        line = " ".join(line.split())  # as the command line does
        short = LISTS.split(line)[0].replace(str(self.shared.parent), "")
        if len(short) > LONGEST_LINE:
            self.fault("wrong", f"a line of {len(short)} characters: {line}")
        if not short.strip() or short.startswith(":"):
            self.fault("wrong", f"a line that names nothing: {line!r}")
        if NOT_FOR_A_TERMINAL.search(line):
            self.fault("terminal", f"not text: {line!r}")
        if "pydantic" in line or "validation error" in line:
            self.fault("wrong", f"a library's own message: {line}")


@dataclass(frozen=True)
class Campaign:
    """How to make a case, how many there are in the full campaign, and what a case may take."""

    make: Callable[[Case], Attempt]
    count: int
    prepare: Callable[[Path], None] | None = None
    hang: float = 20
    """Seconds."""
    memory: int = 2048
    """MiB above what the worker had before."""


@dataclass(frozen=True)
class Result:
    """What came of a case."""

    number: int
    title: str
    opened: bool
    faults: tuple[Fault, ...]
    seconds: float = 0
    mib: int = 0


def random_of(seed: str, name: str, number: int) -> random.Random:
    """The source of all choices of a case."""
    return random.Random(f"{seed}/{name}/{number}")


def campaign_of(name: str) -> Campaign:
    """The campaign of the module `name`."""
    campaign = import_module(f"{__package__}.{name}").CAMPAIGN
    assert isinstance(campaign, Campaign)
    return campaign


# ---- files that nobody may touch


SECRET = b"SECRET-7f3a9c"
"""Is in every precious file, so that a copy of one can be found."""


def write_precious(folder: Path) -> None:
    """A small tree of somebody's, with the names that Diptych uses itself in the folder of a run."""
    png = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de")
    text = b"tEXtComment\0" + SECRET
    png += (len(text) - 4).to_bytes(4, "big") + text + zlib.crc32(text).to_bytes(4, "big")
    png += bytes.fromhex("0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082")
    names = ("letter.txt", "val/keep.txt", "samples/step-00000004.png", "a.png", "results/val/x.png", "log.jsonl")
    for name in (*names, "model/.partial-0a1b2c3d.json", "checkpoints/step-00000004/training.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png if name.endswith(".png") else b'{"name": "%s"}\n' % SECRET)
    (folder / "empty").mkdir()


def digest(path: Path) -> str:
    """The names, kinds, links and bytes of a file or of all that lies in a folder. Links are not followed."""
    whole = hashlib.sha256()
    for file in [path, *sorted(path.rglob("*"))] if path.is_dir() and not path.is_symlink() else [path]:
        whole.update(os.fsencode(file.relative_to(path)) + b"\n")
        if file.is_symlink():
            whole.update(os.fsencode(file.readlink()))
        elif file.is_file():
            whole.update(file.read_bytes())
        else:
            whole.update(b"folder" if file.is_dir() else b"special" if file.exists() else b"nothing")
    return whole.hexdigest()


# ---- in the worker

_libc = ctypes.CDLL(None)


def work(connection: Connection, name: str, seed: str, lane: Path, shared: Path) -> None:
    """A worker: prepares, then tries the cases whose numbers it is sent, and answers with a `Result` each."""
    os.setsid()
    _catch_terminal(lane / "terminal.txt")
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    os.environ.update(HOME=str(shared.with_name("home")), DIPTYCH_CACHE=str(shared.with_name("cache")), COLUMNS="1000")
    os.environ["OMP_NUM_THREADS"] = "1"  # a case takes as long beside another as alone
    campaign, ready = campaign_of(name), shared.with_name(f"{shared.name}.ready")
    shared.mkdir(exist_ok=True)
    if campaign.prepare and not ready.exists():
        campaign.prepare(shared)
        ready.touch()
    soft = _status("VmSize") + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (soft, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection.send("ready")
    for number in iter(connection.recv, None):
        case = Case(number, random_of(seed, name, number), lane / "c", shared, lane / "precious")
        connection.send(_try(case, campaign, connection))


def _try(case: Case, campaign: Campaign, connection: Connection) -> Result:
    for folder in (case.folder, case.precious):
        shutil.rmtree(folder, ignore_errors=True)
    case.folder.mkdir()
    write_precious(case.precious)
    try:
        attempt = campaign.make(case)
    except Exception:
        case.fault("wrong", f"the campaign itself cannot make this case: {traceback.format_exc()}")
        attempt = bool
    case.guard(case.precious)
    before = _begin()
    connection.send(case.title)
    start = time.monotonic()
    opened = _attempt(case, attempt)
    seconds = time.monotonic() - start
    mib = max(0, _status("VmHWM") - before) // MIB
    if mib > campaign.memory:
        case.fault("memory", f"{mib} MiB")
    if terminal := _take_terminal():
        case.fault("terminal", terminal)
    if case.executed.exists():
        case.fault("wrong", "code or a program in the input was run")
    for path, whole in case.guarded.items():
        if digest(path) != whole:
            case.fault("files", f"{path} is no longer what it was")
    return Result(case.number, case.title, opened, tuple(case.faults), seconds, mib)


def _attempt(case: Case, attempt: Attempt) -> bool:
    try:
        return attempt()
    except ValueError as error:
        if type(error) is not ValueError and not type(error).__module__.startswith("diptych."):  # a library's
            case.fault("traceback", traceback.format_exc())
        case.judge_line(str(error))
    except BaseException:
        case.fault("traceback", traceback.format_exc())
    return False


def _begin() -> int:
    """Makes ready to measure; gives the bytes that the process has."""
    warnings.filterwarnings("ignore", "a message that nobody writes")  # and so every warning is shown again
    _take_terminal()
    _libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM begins again
    return _status("VmHWM")


def _status(field: str) -> int:
    """Bytes, from what Linux says about this process."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found
    return int(found[1]) * 1024


def _catch_terminal(file: Path) -> None:
    """From now on file descriptors 1 and 2 are this file."""
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _take_terminal() -> str:
    """What was written to the terminal since the last call."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    _libc.fflush(None)
    text = os.pread(1, 2**24, 0).decode(errors="backslashreplace")
    os.ftruncate(1, 0)
    return text


# ---- outside of it


class Lane:
    """One worker at a time, and a fresh one after a death or a hang."""

    def __init__(self, name: str, seed: str, folder: Path, shared: Path) -> None:
        self.name, self.seed, self.folder, self.shared = name, seed, folder, shared
        self.campaign = campaign_of(name)
        folder.mkdir(parents=True)
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        arguments = (other, self.name, self.seed, self.folder, self.shared)
        self.worker = context.Process(target=work, args=arguments)
        self.worker.start()
        other.close()
        try:
            ready = self.connection.poll(BUILD) and self.connection.recv() == "ready"
        except EOFError:
            ready = False
        if not ready:
            self.stop()
            raise RuntimeError(f"campaign {self.name}: its worker cannot start: {self._terminal()}")

    def stop(self) -> None:
        """Ends the worker and all that it started."""
        try:
            os.killpg(self.worker.pid or 0, signal.SIGKILL)
        except ProcessLookupError:
            self.worker.kill()
        self.worker.join()
        self.connection.close()

    def attempt(self, number: int) -> Result:
        """Tries a case."""
        title = ""
        try:
            self.connection.send(number)
            title = self._receive(BUILD, str)
            return self._receive(self.campaign.hang, Result)
        except TimeoutError as error:
            fault = Fault("hang", f"{error} s; {self._stack()}")
            self.stop()
        except (EOFError, OSError):
            self.worker.join()
            fault = Fault("death", f"exit status {self.worker.exitcode}; {self._terminal()}")
            self.stop()
        self._start()
        return Result(number, title, False, (fault,))

    def _receive(self, seconds: float, kind: type[T]) -> T:
        if not self.connection.poll(seconds):
            raise TimeoutError(f"{seconds:g}")
        received = self.connection.recv()
        assert isinstance(received, kind)
        return received

    def _stack(self) -> str:
        """Where the worker is."""
        os.kill(self.worker.pid or 0, signal.SIGUSR1)
        time.sleep(0.5)
        return self._terminal()

    def _terminal(self) -> str:
        return (self.folder / "terminal.txt").read_text(encoding="utf-8", errors="backslashreplace")


def keep(lane: Lane, result: Result, folder: Path) -> Path:
    """Moves the files of a case to where they can be looked at, with a text that says what is wrong."""
    kept = folder / f"{lane.name}-{lane.seed}-{result.number}"
    shutil.rmtree(kept, ignore_errors=True)
    (lane.folder / "c").rename(kept)
    text = "\n\n".join(f"{fault.kind}\n{fault.text}" for fault in result.faults)
    (kept / "fault.txt").write_text(f"{result.title}\n{result.seconds:.1f} s, {result.mib} MiB\n\n{text}\n", "utf-8")
    return kept


def again(lane: Lane, result: Result) -> str:
    """The command that tries this case alone."""
    return f"python -m {__package__} {lane.name} --seed {lane.seed} --case {result.number}"


def first_words(faults: Sequence[Fault]) -> str:
    """One line about the faults of a case: of a traceback the end, of a hang the innermost line of the stack."""
    lines = []
    for fault in faults:
        text = [line.strip() for line in fault.text.splitlines() if line.strip()] or [""]
        lines.append(f"{fault.kind}: {text[-1 if fault.kind == 'traceback' else 0][:200]}")
    return "; ".join(lines)
