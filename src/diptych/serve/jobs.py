"""Pictures that take longer than a request may: each is a folder on the disk, and they are computed one after the other.

All that is known of a job stands in its folder. So every process of a server knows all jobs, and a server that is started
again goes on with them. A job is computed in a process of its own: the server answers meanwhile, and what is cancelled ends
at once. Knows no web.
"""

import io
import json
import multiprocessing
import os
import re
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from diptych import signals
from diptych.devices import Device, Precision
from diptych.files import alone, atomic_file, is_vacant
from diptych.images.formats import kind_of
from diptych.runtimes.sessions import Runtime

MOST = 64  # jobs that are kept, those that are done included
KEPT = 24 * 60 * 60  # seconds that a result is kept
TRIES = 3  # processes that may end before a job is done
LOOKED_EVERY = 0.2  # seconds
LOCK = ".diptych-jobs"
ID = re.compile("[A-Za-z0-9_-]{22}")
ABOUT, PICTURE, RESULT = "job.json", "picture", "result"
WIDE = 10_000
"""Columns of a terminal in which no line is folded."""

State = Literal["waiting", "running", "done", "failed"]


class FullError(Exception):
    """As many jobs are kept as may be."""


@dataclass(frozen=True)
class Computing:
    """How the networks of a server are computed."""

    device: Device = "auto"
    precision: Precision = "auto"
    runtime: Runtime | None = None


@dataclass(frozen=True)
class Job:
    """A picture on its way."""

    id: str
    model: str
    """Its name in addresses."""
    run: str
    options: Mapping[str, Any]
    """Those of `diptych.translate`."""
    picture: str
    """The name of its file."""
    asked_at: float
    """Seconds since 1970, as all times."""
    state: State = "waiting"
    progress: float = 0
    """The part of the work that is done, from 0 to 1."""
    doing: str = ""
    notes: tuple[str, ...] = ()
    """What is to be said of the result."""
    problem: str = ""
    """Why there is none."""
    tries: int = 0
    ended_at: float = 0

    @property
    def has_ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in ("done", "failed")

    def write(self, folder: Path) -> None:
        """Into its folder, which must be there."""
        with atomic_file(folder / ABOUT, durable=False) as temporary:
            temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")

    def ended(self, problem: str = "", notes: tuple[str, ...] = ()) -> "Job":
        """As it is when it is done, or has failed with a problem."""
        state: State = "failed" if problem else "done"
        progress = self.progress if problem else 1.0
        return replace(
            self, state=state, progress=progress, doing="", problem=problem, notes=notes, ended_at=time.time()
        )


class Jobs:
    """The jobs in a folder, and the thread that works on them."""

    def __init__(self, folder: Path, computing: Computing = Computing()) -> None:
        """A `ValueError` for a folder that holds anything else."""
        self.folder, self.computing = folder, computing
        if not is_vacant(folder, LOCK) and not (folder / LOCK).is_file():
            raise ValueError(
                f"--jobs {folder}: holds other files; give a new folder, which the server clears by itself"
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / LOCK).touch()
        except OSError as error:
            raise ValueError(f"--jobs {folder}: cannot be written to ({error.strerror})") from error
        self._ending, self._something_new = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)

    def start(self) -> None:
        """Begins to work."""
        self._thread.start()

    def close(self) -> None:
        """Ends the work; what is not done goes on at the next start."""
        self._ending.set()
        self._something_new.set()
        if self._thread.is_alive():
            self._thread.join()

    # ---- jobs

    def place(self) -> Path:
        """A new folder for a picture that is about to arrive; a `FullError` where there are too many."""
        if sum(1 for _ in self._folders()) >= MOST:
            raise FullError
        folder = self.folder / secrets.token_urlsafe(16)
        folder.mkdir(mode=0o700)
        return folder

    def add(self, folder: Path, model: str, run: str, options: Mapping[str, Any]) -> Job:
        """A job for the picture that lies in its folder; a `ValueError` where its format is none that is read."""
        arrived = folder / PICTURE
        with arrived.open("rb") as file:
            kind = kind_of(file.read(16))
        if not kind:
            raise ValueError("the picture: is of no format that is read")
        file_name = f"{PICTURE}.{kind.lower()}"
        arrived.rename(folder / file_name)
        job = Job(folder.name, model, run, options, file_name, time.time())
        job.write(folder)
        self._something_new.set()
        return job

    def find(self, id: str) -> Job | None:
        """The job of this id, as it is now."""
        return _read(self.folder / id) if ID.fullmatch(id) else None

    def result(self, job: Job) -> Path:
        """The picture that a job which is done has made."""
        [file] = (self.folder / job.id / RESULT).iterdir()
        return file

    def remove(self, folder: Path) -> None:
        """Forgets a job, whatever becomes of it."""
        with suppress(OSError):
            (folder / ABOUT).unlink()  # at once, for all who look
        shutil.rmtree(folder, ignore_errors=True)

    def _folders(self) -> Iterator[Path]:
        return (path for path in self.folder.iterdir() if ID.fullmatch(path.name) and path.is_dir())

    # ---- work

    def _work(self) -> None:
        while not self._ending.is_set():
            with (
                suppress(ValueError, OSError),
                alone(self.folder / LOCK, "another process of the server works on them"),
            ):
                while self._work_on_next():
                    pass
            self._something_new.wait(5 * LOOKED_EVERY)
            self._something_new.clear()

    def _work_on_next(self) -> bool:
        """Computes the oldest job that has not ended, if there is one."""
        self._remove_old()
        jobs = [job for folder in self._folders() if (job := _read(folder)) and not job.has_ended]
        if not jobs or self._ending.is_set():
            return False
        job = min(jobs, key=lambda one: one.asked_at)
        folder = self.folder / job.id
        with suppress(OSError):  # cancelled meanwhile
            if job.tries == TRIES:
                job.ended(f"{TRIES} processes ended while they had it").write(folder)
            else:
                replace(job, state="running", tries=job.tries + 1).write(folder)
                self._compute(folder)
        return True

    def _compute(self, folder: Path) -> None:
        process = multiprocessing.get_context("spawn").Process(
            target=_compute, args=(folder, self.computing, os.getpid()), daemon=True
        )
        process.start()
        while process.is_alive():
            process.join(LOOKED_EVERY)
            if self._ending.is_set() or not (folder / ABOUT).exists():
                process.kill()  # what it has not written yet is in its folder, or in files without a name
        if self._ending.is_set() and (job := _read(folder)) and not job.has_ended:
            replace(job, tries=job.tries - 1).write(folder)
        if not (folder / ABOUT).exists():  # cancelled, and the process may have written into it once more
            self.remove(folder)

    def _remove_old(self) -> None:
        for folder in self._folders():
            with suppress(OSError):
                job = _read(folder)
                since = job.ended_at if job else folder.stat().st_mtime  # without one, its picture never arrived
                if since and time.time() - since > KEPT:
                    self.remove(folder)


def _read(folder: Path) -> Job | None:
    """The job in a folder; None where none is."""
    try:
        values = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except OSError:
        return None
    return Job(**{**values, "notes": tuple(values["notes"])})


def _compute(folder: Path, computing: Computing, parent: int) -> None:
    """Computes a job in a process of its own."""
    from diptych.translate import translate

    for number in signals.heard():
        signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)  # the parent ends it
    signals.end_after(parent)
    job = _read(folder)
    assert job
    said = io.StringIO()
    console = Console(file=said, width=WIDE)
    try:
        [problem] = translate(
            job.run, folder / job.picture, out=folder / RESULT, overwrite=True, scratch=folder, console=console,
            device=computing.device, precision=computing.precision, runtime=computing.runtime,
            strip_progress=_noting(job, folder), **job.options,
        ) or [""]  # fmt: skip
    except (ValueError, OSError, MemoryError) as error:
        problem = str(error) or "there is not enough memory"
    _, *notes = (line.replace(f"{folder}/", "") for line in said.getvalue().splitlines() or [""])
    with suppress(OSError, ValueError):  # cancelled meanwhile
        job.ended(problem.replace(f"{folder}/", ""), tuple(notes)).write(folder)
        (folder / job.picture).unlink()


def _noting(job: Job, folder: Path) -> Callable[[int, int, str], None]:
    """Writes down how far a job is, every second."""
    last = 0.0

    def show(done: int, of: int, doing: str) -> None:
        nonlocal last
        if time.monotonic() - last > 1:
            last = time.monotonic()
            with suppress(OSError, ValueError):  # cancelled meanwhile
                replace(job, progress=done / of, doing=doing.partition(": ")[2]).write(folder)

    return show
