"""Pictures through a model: read ahead, translated in batches, written behind."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import groupby, islice, zip_longest
from pathlib import Path
from typing import NamedTuple

from diptych.data import mask_files
from diptych.data.outputs import Job
from diptych.data.remote import UnreachableError
from diptych.data.shards import THREADS, Samples
from diptych.images.blend import Blend
from diptych.images.files import Pixels, in_srgb
from diptych.images.masks import Mask
from diptych.images.metadata import Metadata
from diptych.images.remarks import Remark, collected
from diptych.journal import Write
from diptych.model import Model
from diptych.translators.base import Request

LARGE = 3 * 2**22
"""Values of a picture, 4 megapixels of RGB, beyond which it is large: only one of those is at work at a time."""


class Way(NamedTuple):
    """How pictures go through a model."""

    blend: Blend
    working_size: int | None
    strip_metadata: bool
    quality: int | None
    stochastic: bool
    batch_size: int
    workers: int


class Picture(NamedTuple):
    """A picture on its way from file to file."""

    job: Job
    pixels: Pixels
    """In the colours of the file."""
    known: Metadata
    request: Request


Outcome = tuple[Picture, Pixels]
"""A picture, and its translation in sRGB."""


class Line:
    """Files through a model to files: read ahead, translated in batches, written behind."""

    def __init__(self, model: Model, way: Way, mask: Path | None, note: mask_files.Note, remarks: list[Remark]) -> None:
        self.model, self.way, self.mask, self.note = model, way, mask, note
        one_for_all = mask_files.read(mask) if mask else None
        self.reader = Reader(model, one_for_all, way.blend, way.working_size, way.strip_metadata, note, remarks)
        self.writer = Writer(model, way.quality)

    def results(
        self, jobs: Sequence[Job], masks: Sequence[Path | None], noting: Callable[[Write], Write] = lambda write: write
    ) -> Generator[tuple[int, str]]:
        """The number of each job, and the line of its error, empty where there is none."""
        readings = [partial(self.reader.read, *job) for job in zip_longest(jobs, masks)]
        yield from enumerate(self.through(readings, noting(self.writer.write)))

    def through(
        self, readings: Sequence[Callable[[], Picture]], write: Callable[[Picture, Pixels], str]
    ) -> Iterator[str]:
        """The line of each picture's error, empty where there is none."""
        most, stochastic = self.way.workers, self.way.stochastic
        with ThreadPoolExecutor(most) as reading, ThreadPoolExecutor(most) as writing:
            ahead = _read_ahead(readings, reading, most)
            outcomes = _outcomes(self.model, ahead, 1 if stochastic else self.way.batch_size, stochastic)
            yield from _written(outcomes, write, writing, most)


class Reader:
    """Reads pictures, each with its mask, and collects what is to be said of them."""

    def __init__(
        self,
        model: Model,
        mask: mask_files.UserMask | None,
        blend: Blend,
        working_size: int | None,
        strip_metadata: bool,
        note: mask_files.Note,
        remarks: list[Remark],
    ) -> None:
        self.model, self.mask, self.blend, self.working_size = model, mask, blend, working_size
        self.strip_metadata, self.note, self.remarks = strip_metadata, note, remarks
        self.most = model.most_pixels()  # before pictures and the network take memory of their own

    def read(self, job: Job, holes: Path | None) -> "Picture":
        """The picture of a job, and of its hole; a `ValueError` for what cannot be read."""
        with collected() as of_it:
            pixels, known = self.model.read(job[0], self.most)
            mask = self.mask or (mask_files.read(holes) if holes else None)
            hole = mask.fitted(pixels.size, self.note) if mask else None
        self.remarks.extend(of_it)
        return self._picture(job, pixels, known, hole)

    def read_from(self, samples: Samples, index: int, job: Job) -> "Picture":
        """The picture of a sample of shards; a `ValueError` for what cannot be read."""
        for later in range(index + 1, min(index + THREADS, len(samples))):
            samples.ahead(later)
        with collected() as of_it:
            pixels, known = self.model.read_bytes(samples.read(index)[0], samples.file(index), self.most)
        self.remarks.extend(of_it)
        return self._picture(job, pixels, known, None)

    def _picture(self, job: Job, pixels: Pixels, known: Metadata, hole: Mask | None) -> "Picture":
        kept = known.without_all_but_colours() if self.strip_metadata else known
        return Picture(job, pixels, kept, Request(hole, self.blend, self.working_size))


class Writer:
    """Writes translated pictures, and collects what their formats do not hold."""

    def __init__(self, model: Model, quality: int | None) -> None:
        self.model, self.quality = model, quality
        self.losses: list[tuple[Job, Sequence[str]]] = []

    def write(self, picture: "Picture", result: Pixels) -> str:
        """Writes one; returns a line where that is not possible, else nothing."""
        pixels, known = self.model.in_own_colours(result, picture.pixels, picture.known, picture.request)
        target = picture.job[1]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self.losses.append((picture.job, self.model.write(pixels, target, known, self.quality)))
        except ValueError as error:
            return str(error)
        except (OSError, MemoryError) as error:
            return f"{target}: could not be written ({error})"
        return ""

    def encode(self, into: dict[Path, bytes], picture: "Picture", result: Pixels) -> str:
        """Gives the bytes of one, by the name that it is written under; returns a line as `write` does."""
        pixels, known = self.model.in_own_colours(result, picture.pixels, picture.known, picture.request)
        target = picture.job[1]
        try:
            into[target], lost = self.model.encoded(pixels, target.suffix, known, self.quality)
        except (ValueError, OSError, MemoryError) as error:
            return f"{picture.job[0]}: could not be written ({error})"
        self.losses.append((picture.job, lost))
        return ""


def _read_ahead(readings: Sequence[Callable[[], Picture]], reader: Executor, workers: int) -> Iterator[Picture | str]:
    """What each reading gives, or the line of its error; the next ones are read meanwhile, unless this picture is large."""
    left, ahead = iter(readings), deque[Future[Picture]]()
    ahead.extend(reader.submit(reading) for reading in islice(left, 1))
    while ahead:
        result = _or_line(ahead.popleft().result)
        alone = isinstance(result, Picture) and _is_large(result.pixels)
        if not alone:
            ahead.extend(reader.submit(reading) for reading in islice(left, workers - len(ahead)))
        yield result
        if not ahead:
            ahead.extend(reader.submit(reading) for reading in islice(left, 1))


def _is_large(pixels: Pixels) -> bool:
    return pixels.values.size > LARGE


def _kind(picture: Picture | str) -> tuple[object, ...]:
    """What pictures of one batch have in common; empty for the line of an error."""
    if isinstance(picture, str):
        return ()
    pixels = picture.pixels
    return pixels.values.shape, pixels.bits, pixels.alpha is None


def _outcomes(
    model: Model, pictures: Iterable[Picture | str], batch_size: int, stochastic: bool
) -> Iterator[Outcome | str]:
    """What becomes of each picture, or the line of its error; pictures of one size that follow each other share a batch."""
    for kind, group in groupby(pictures, _kind):
        if not kind:
            yield from (line for line in group if isinstance(line, str))
            continue
        alike = (picture for picture in group if isinstance(picture, Picture))
        for first in alike:
            more = 0 if _is_large(first.pixels) else batch_size - 1
            yield from _translated(model, [first, *islice(alike, more)], stochastic)


def _translated(model: Model, batch: Sequence[Picture], stochastic: bool) -> Iterator[Outcome | str]:
    sources = [in_srgb(picture.pixels, picture.known.profile) for picture in batch]
    requests = [picture.request for picture in batch]
    model.watch = replace(model.watch, name=str(batch[0].job[0]))
    try:
        results = model.all_pixels(sources, requests, stochastic)
    except ValueError as error:
        if len(batch) == 1:
            yield f"{batch[0].job[0]}: {error}"
            return
        for picture in batch:
            yield from _translated(model, [picture], stochastic)
    else:
        yield from zip(batch, results, strict=True)


def _written(
    outcomes: Iterable[Outcome | str], write: Callable[[Picture, Pixels], str], writer: Executor, workers: int
) -> Iterator[str]:
    """The line of each picture's error, empty where there is none; each is written while the next ones are translated."""
    behind = deque[Callable[[], str]]()
    for outcome in outcomes:
        if len(behind) == workers:
            yield behind.popleft()()
        behind.append(partial(str, outcome) if isinstance(outcome, str) else writer.submit(write, *outcome).result)
        if isinstance(outcome, tuple) and _is_large(outcome[1]):
            while behind:
                yield behind.popleft()()
    while behind:
        yield behind.popleft()()


def _or_line(read: Callable[[], Picture]) -> Picture | str:
    try:
        return read()
    except UnreachableError:  # the next ones would not be read either
        raise
    except ValueError as error:
        return str(error)
