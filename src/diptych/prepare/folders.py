"""Applies one tool to whole folders: several pictures at once, resuming where it was stopped."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console

from diptych.data import unread
from diptych.data.outputs import Job, plan_folder
from diptych.files import OwnedFolder, alone, lies_in
from diptych.images.files import Pixels, decode_to_rewrite, encode, in_srgb
from diptych.images.formats import one_sample
from diptych.images.metadata import not_kept
from diptych.images.remarks import FOURTH_LEFT_OUT, collected, lines, note
from diptych.images.spec import RGBX
from diptych.progress import counting, say

Item = TypeVar("Item")
Result = TypeVar("Result")

KEPT = "what is done is kept; the same command goes on"
AHEAD = 32  # items per worker in flight: large results wait in memory for those before them


def convert(
    tool: str,
    inputs: Path | str | Iterable[Path | str],
    out: Path | str,
    change: Callable[[Pixels, str], Pixels],
    settings: Mapping[str, Any],
    *,
    suffix: str | None = None,
    colours: bool = True,
    strip_metadata: bool = False,
    workers: int | None = None,
    console: Console | None = None,
) -> list[str]:
    """Puts every picture of `inputs` (files and folders) through `change(pixels, name)` into the folder `out`.

    A picture keeps its place and name below its folder, or gets another `suffix`. Its colours are those of its file, which
    also hands on what it knows of itself, unless that is stripped. A tool whose results have no `colours` sees sRGB.
    Returns one line for each picture that could not be read or written; the others are written, and what is to be said of
    them is. The same call resumes an interrupted one. Raises a `ValueError` before the first picture for a problem of all.
    """
    out = Path(out)
    sources = as_paths(inputs)
    with collected() as remarks:
        jobs = plan_folder(sources, out, suffix)
    claim(out, tool, {**settings, **({"strip-metadata": True} if strip_metadata else {})}, sources)
    say_left_out(sources, console)
    losses: list[tuple[Job, Sequence[str]]] = []

    def work(job: Job) -> None:
        source, target = job
        with collected() as of_it:
            pixels, known = decode_to_rewrite(source)
            if not colours:
                pixels, known = in_srgb(pixels, known.profile), replace(known, profile=b"")
            changed = change(pixels, target.relative_to(out).as_posix())
            if changed.values.shape[-1] < pixels.values.shape[-1] == RGBX:
                note(str(source), FOURTH_LEFT_OUT)
        remarks.extend(of_it)
        target.parent.mkdir(parents=True, exist_ok=True)
        losses.append((job, encode(changed, target, known.without_all_but_colours() if strip_metadata else known)))

    problems = each_missing(jobs, out, work, tool, workers, console)
    for line in (*lines(sorted(remarks)), *not_kept(losses)):
        say(console or Console(stderr=True), line)
    return problems


def say_left_out(folders: Iterable[Path], console: Console | None) -> None:
    """Says what in the folders is not read, if there is any."""
    if unused := unread.describe(folders):
        say(console or Console(stderr=True), unused)


def as_paths(inputs: Path | str | Iterable[Path | str]) -> list[Path]:
    """One path or several, as a list."""
    return [Path(path) for path in ([inputs] if isinstance(inputs, Path | str) else inputs)]


def claim(out: Path, tool: str, settings: Mapping[str, Any], inputs: Sequence[Path]) -> None:
    """Makes `out` the folder of this call; a `ValueError` when it lies in an input, or belongs to another call or nobody."""
    require_outside(out, inputs)
    OwnedFolder(out, made_with(tool, settings, inputs)).claim(
        "exists and was not made by this command; choose another --out, nothing is overwritten",
        "was made with other settings ({}); give its command again to go on with it, or choose another --out",
    )


def require_outside(out: Path, inputs: Iterable[Path]) -> None:
    """Raises a `ValueError` when `out` lies in a folder that is read."""
    for path in inputs:
        # Unlike Path.resolve, realpath bears links that lead in circles.
        if path.is_dir() and Path(os.path.realpath(out)).is_relative_to(os.path.realpath(path)):
            raise ValueError(f"{out}: lies inside {path}, which is only read; choose an --out beside it")


def made_with(tool: str, settings: Mapping[str, Any], inputs: Iterable[Path]) -> dict[str, Any]:
    """What a label says: the tool, its settings, the paths of its inputs.

    >>> made_with("blank", {"size": (4, 2)}, [])
    {'tool': 'blank', 'size': (4, 2), 'inputs': []}
    """
    return {"tool": tool, **settings, "inputs": [os.path.realpath(path) for path in inputs]}


@contextmanager
def locked(out: Path, doing: str) -> Iterator[None]:
    """Inside, no other process of this kind writes `out`; a `ValueError` when one does already."""
    lock = out.with_name(f".partial-{out.name}.lock")
    with alone(lock, f"{out}: another process is {doing} it; wait for it or choose another --out"):
        try:
            yield
        finally:
            with suppress(PermissionError):  # Windows keeps a file that is open
                lock.unlink()


def each_missing(
    jobs: Sequence[Job],
    out: Path,
    work: Callable[[Job], None],
    doing: str,
    workers: int | None,
    console: Console | None = None,
) -> list[str]:
    """Does `work` for every job whose target, below `out`, is missing; returns a line for each that failed, in their order.

    Targets appear whole or not at all, so an existing one is done. `workers` are threads, by default one a core. Raises a
    `ValueError` for a folder in `out` that is a link.
    """
    for folder in sorted({target.parent for _, target in jobs}):
        if not lies_in(out, folder):
            raise ValueError(f"{folder}: is, or lies below, a link out of {out}; remove it, or choose another --out")
    missing = [job for job in jobs if not job[1].exists()]

    def problem(job: Job) -> str | None:
        try:
            work(job)
        except ValueError as error:
            return str(error)
        return None

    try:
        return [line for line in each(missing, problem, doing, workers, console, len(jobs) - len(missing)) if line]
    except KeyboardInterrupt:
        raise KeyboardInterrupt(KEPT) from None


def each(
    items: Sequence[Item],
    work: Callable[[Item], Result],
    doing: str,
    workers: int | None = None,
    console: Console | None = None,
    done_before: int = 0,
) -> Iterator[Result]:
    """The results of `work` on `items`, in their order, several at once; `done_before` more were done earlier."""

    @one_sample()
    def one(item: Item) -> Result:
        return work(item)

    workers = workers or os.cpu_count() or 1
    pool, block = ThreadPoolExecutor(workers), AHEAD * workers
    results = (result for i in range(0, len(items), block) for result in pool.map(one, items[i : i + block]))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the workers are the parallelism; with threads below them each call waits for a core
    try:
        with counting(console or Console(stderr=True), doing) as progress:
            for done, result in enumerate(results, start=done_before + 1):
                yield result
                progress(done, done_before + len(items))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(threads)
