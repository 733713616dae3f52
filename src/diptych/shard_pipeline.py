"""Tar shards through a model to tar shards."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from diptych.data.outputs import Job
from diptych.data.remote import spelled
from diptych.data.shards import CLASS, Samples, open_samples
from diptych.data.shards import write as write_shard
from diptych.files import alone
from diptych.images.files import FORMATS
from diptych.images.remarks import WRITTEN_AS_PNG, note
from diptych.journal import Write
from diptych.model import Model
from diptych.pipeline import Line

Failed = Callable[[int, Job, str], None]
"""Takes the number of a tar file, a picture in it, and the line of its error."""


class _Shard(NamedTuple):
    """A tar file on its way, as the journal knows it."""

    job: Job


def shards_through(
    line: Line, jobs: Sequence[Job], noting: Callable[[Write], Write], failed: Failed, format: str | None
) -> Generator[tuple[int, str]]:
    """Translates the pictures of each tar file into another, which appears when all of it is done, but for those that fail.

    Gives the number of each tar file, and nothing beside it: what fails is a picture, and `failed` is told of it.
    """
    older = {target for _, target in jobs if target.exists()}
    for number, shard in enumerate(jobs):
        _through(line, shard, noting, partial(failed, number), shard[1] in older, format)
        yield number, ""


def _through(
    line: Line,
    shard: Job,
    noting: Callable[[Write], Write],
    failed: Callable[[Job, str], None],
    may_exist: bool,
    format: str | None,
) -> None:
    source, target = shard
    samples = open_samples([spelled(source)])
    if samples.sides > 1:
        raise ValueError(f"{samples.file(0)}: is a side of a pair, and single pictures are translated")
    jobs = [(Path(samples.file(index)), _member(samples, index, line.model, format)) for index in range(len(samples))]
    targets = [name for _, name in jobs]
    if len({*targets}) < len(targets):
        raise ValueError(
            f"{spelled(source)}: holds pictures whose names differ in their suffixes only; rename one of each"
        )
    readings = [partial(line.reader.read_from, samples, index, job) for index, job in enumerate(jobs)]
    made: dict[Path, bytes] = {}

    def members() -> Iterator[tuple[str, bytes]]:
        for index, problem in enumerate(line.through(readings, partial(line.writer.encode, made))):
            if problem:
                failed(jobs[index], problem)
                continue
            name = targets[index]
            yield name.as_posix(), made.pop(name)
            if samples.classes:
                yield name.with_suffix(f".{CLASS}").as_posix(), samples.classes[index].encode()

    def write(picture: _Shard, result: None) -> str:
        write_shard(target, members())
        return ""

    target.parent.mkdir(parents=True, exist_ok=True)
    lock = target.with_name(f".{target.name}.lock")
    with alone(lock, f"{target}: another job is writing it; wait for it, or give each a --shard of its own"):
        try:
            if target.exists() and not may_exist:
                raise ValueError(
                    f"{target}: another job has written it meanwhile; the same command goes on with the others"
                )
            noting(write)(_Shard(shard), None)
        except OSError as error:
            raise ValueError(f"{error.filename or target}: could not be written ({error.strerror or error})") from error
        finally:
            with suppress(OSError):
                lock.unlink()


def _member(samples: Samples, index: int, model: Model, format: str | None) -> Path:
    """The name of a translated picture in its tar file; one of a format that is only read becomes a PNG."""
    name = Path(samples.members[index][0])
    if suffix := f".{format}" if format else model.suffix:
        return name.with_suffix(suffix)
    if name.suffix.lower() in FORMATS:
        return name
    note(samples.file(index), WRITTEN_AS_PNG)
    return name.with_suffix(".png")
