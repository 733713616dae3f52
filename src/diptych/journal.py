"""Long translations in parts: a share of the files for each of several jobs, and a journal of what is done."""

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from diptych.data.outputs import Job, require_free
from diptych.data.remote import address, is_address, size
from diptych.data.shards import TAR
from diptych.files import alone, atomic_file, require_file, require_plain
from diptych.progress import say

NAME = ".diptych-translated{part}.jsonl"
KEEPS = 2**31  # bytes of a journal: about 10 million lines

Facts = Mapping[str, Any]
Write = Callable[..., str]
"""Writes a picture, which has a `job`; gives the line of an error, empty where there is none."""


def share(text: str) -> tuple[int, int]:
    """The number of a job and how many there are; a `ValueError` for what does not say so.

    >>> share("3/64")
    (3, 64)
    """
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    number, of = (int(match[1]), int(match[2])) if match else (0, 0)
    if number >= of:
        raise ValueError(f"--shard {text[:30]}: NUMBER/OF is expected, from 0/3 to 2/3 for three jobs")
    return number, of


class Part:
    """What one job of several translates, and what it keeps account of; without `shard`, `maker` and `failures` all of it.

    `maker` stands for the model and the options that an output is made with; empty keeps no journal.
    """

    def __init__(self, out: Path, shard: str | None, maker: str, failures: Path | None) -> None:
        self.out, self.maker, self.failures = out, maker, failures
        self.number, self.count = share(shard) if shard is not None else (0, 1)
        self.skipped = list[tuple[Path, str]]()
        self.journal: Journal | None = None
        if failures is not None:
            require_failures_file(failures)

    def of(
        self, jobs: Sequence[Job], masks: Sequence[Path], overwrite: bool, console: Console
    ) -> tuple[list[Job], list[Path]]:
        """Its jobs that are not done yet, and their masks; a line says how many are done.

        A `ValueError` for outputs that exist and may not be written.
        """
        own = [*zip_longest(jobs, masks)][self.number :: self.count]
        if self.maker:
            one_file = len(jobs) == 1 and jobs[0][1] == self.out
            part = f"-{self.number}-of-{self.count}" if self.count > 1 else ""
            self.journal = Journal(self.out.parent if one_file else self.out, self.maker, part)
            left = set(self.journal.left([job for job, _ in own], overwrite))
            if len(left) < len(own):
                what = "tar files" if jobs[0][1].suffix.lower() == TAR else "pictures"
                say(
                    console,
                    f"{len(own) - len(left):,} of {len(own):,} {what} are translated already; {len(left):,} to go",
                )
            own = [(job, mask) for job, mask in own if job in left]
        elif self.count > 1:
            require_free([target for (_, target), _ in own], overwrite)
        return [job for job, _ in own], [mask for _, mask in own if mask]

    @contextmanager
    def kept(self) -> Iterator[Callable[[Write], Write]]:
        """Inside, what is done is noted; gives what makes a function that writes into one that notes too."""
        try:
            if self.journal:
                with self.journal.kept():
                    yield self.journal.noting
            else:
                yield lambda write: write
        finally:
            if self.failures is not None:
                write_failures(self.failures, self.skipped)

    def begin(self, jobs: Iterable[Job]) -> None:
        """Notes, inside `kept`, that other processes are about to make these."""
        for job in jobs:
            if self.journal:
                self.journal.begin(job)

    def done(self, job: Job, facts: Facts) -> None:
        """Notes what another process has made."""
        if self.journal:
            self.journal.done(job, facts)

    def failed(self, job: Job, reason: str) -> None:
        """Notes a picture that was skipped."""
        self.skipped.append((job[0], reason))


class Journal:
    """What was translated into the folder `out`, kept in files beside the outputs: one for each of several jobs.

    An output counts where it is whole, its picture has not changed since, and it was made with the same `maker`: model and
    options. A name that a killed job had begun may be written again.
    """

    def __init__(self, out: Path, maker: str, part: str) -> None:
        self.out, self.maker = out, maker
        self.path = out / NAME.format(part=part)
        self.noted: dict[str, dict[str, Any]] = {}
        """The newest line of each output, whichever file it is in: another number of jobs may have made it before."""
        for file in out.glob(NAME.format(part="*")):
            for line in _lines(file):
                if line["time"] >= self.noted.get(line["out"], line)["time"]:
                    self.noted[line["out"]] = line
        self.file: TextIO | None = None

    def left(self, jobs: Sequence[Job], overwrite: bool) -> list[Job]:
        """The jobs that are not done; a `ValueError` for an output that exists, does not count, and may not be written."""
        left = list[Job]()
        for source, target in jobs:
            line = self.noted.get(self._name(target), {})
            there = os.path.lexists(target)
            if there and line.get("size") == target.lstat().st_size and self._fits(line, source):
                continue
            begun = "size" not in line and line.get("maker") == self.maker
            if there and not (overwrite or begun):
                raise ValueError(
                    f"{target}: exists already, and was not made of {source.name} as it is now by this model with these "
                    "options; choose another --out, or add --overwrite to make those anew that were not"
                )
            left.append((source, target))
        return left

    def _fits(self, line: Mapping[str, Any], source: Path) -> bool:
        return line.get("maker") == self.maker and line.get("picture") == _stamp(source)

    def _name(self, target: Path) -> str:
        return target.relative_to(self.out).as_posix()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Inside, what is done is noted; no other job writes the same part."""
        self.out.mkdir(parents=True, exist_ok=True)
        busy = f"{self.path}: another job is writing this part; wait for it, or give each a --shard of its own"
        if os.path.lexists(self.path):
            require_plain(self.path)
        with alone(self.path.with_suffix(".lock"), busy), self.path.open("a", encoding="utf-8") as self.file:
            self.file.write("\n" * bool(self.file.tell()))  # the last line of a killed job may have no end
            yield

    def noting(self, write: Write) -> Write:
        """`write`, with a note before it and another one after it."""

        def noted(picture: Any, result: Any) -> str:
            self.begin(picture.job)
            line = write(picture, result)
            if not line:
                self.done(picture.job, facts_of(picture.job))
            return line

        return noted

    def begin(self, job: Job) -> None:
        """Notes that the output of this job may lie there from now on, whole or not."""
        self._note({"out": self._name(job[1]), "maker": self.maker})

    def done(self, job: Job, facts: Facts) -> None:
        """Notes that it is there, and what it is known by."""
        self._note({"out": self._name(job[1]), "maker": self.maker, **facts})

    def _note(self, line: Mapping[str, Any]) -> None:
        assert self.file
        self.file.write(json.dumps({**line, "time": time.time()}) + "\n")
        self.file.flush()


def facts_of(job: Job) -> Facts:
    """What an output that was just written is known by: its size, and size and time of its picture."""
    source, target = job
    return {"size": target.stat().st_size, "picture": _stamp(source)}


def _stamp(file: Path) -> list[int]:
    """Size and time of a file, size of one at an address; empty where it is gone."""
    if is_address(file):
        return [size(address(file))]
    try:
        found = file.stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    """The notes in a journal; what a killed job has half written is passed over."""
    require_file(file)
    if file.stat().st_size > KEEPS:
        raise ValueError(f"{file}: is larger than any journal of Diptych; move it away, or choose another --out")
    with file.open(encoding="utf-8", errors="replace") as lines:
        for text in lines:
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                continue
            line = {"time": 0, **line} if isinstance(line, dict) else {}  # early versions noted no time
            if isinstance(line.get("out"), str) and isinstance(line["time"], int | float):
                yield line


def require_failures_file(file: Path) -> None:
    """Raises a `ValueError` for a file that is there and is no list of failures, which is written anew."""
    if not os.path.lexists(file):
        return
    require_plain(file)
    with file.open(encoding="utf-8", errors="replace") as lines:
        first = lines.readline(2**16)
    if first and not first.startswith('{"picture": '):
        raise ValueError(f"{file}: exists and is no list of failures; choose another name for --failures")


def write_failures(file: Path, failures: Sequence[tuple[Path, str]]) -> None:
    """Writes a line of JSON for each picture that was not translated, with the reason; an empty file where all were."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file) as partial:
        lines = [json.dumps({"picture": str(picture), "reason": reason}) for picture, reason in failures]
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
