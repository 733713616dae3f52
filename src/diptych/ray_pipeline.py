"""Pictures through the processes of a Ray cluster, each with the model, to files."""

import os
import platform
from collections.abc import Callable, Generator, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

from diptych import ray_engine
from diptych.data.outputs import Job
from diptych.devices import Device
from diptych.images.remarks import Remark
from diptych.journal import Facts, Part, facts_of
from diptych.model import Model
from diptych.pipeline import Line, Way
from diptych.translators.strips import Watch

PORTION = 16
"""Pictures that a process of an engine is given at a time, or fewer."""

_Item = tuple[int, Job, Path | None]
"""A job, its number, and the mask of its picture."""


def require_ray_for(processes: int | None, stochastic: bool, device: Device) -> None:
    """Raises a `ValueError` where Ray is not there, or is asked for what it does not do."""
    ray_engine.require_ray()
    if processes is not None and processes < 1:
        raise ValueError(f"--processes {processes}: a number of processes, 1 or more, is expected")
    if stochastic:
        raise ValueError("--stochastic: draws for one picture after the other, in one process; leave --engine out")
    if ":" in device:
        raise ValueError(f"--device {device}: the engine gives each process its GPU; give cuda")


def ray_through(
    cluster: ray_engine.Cluster,
    processes: int | None,
    device: Device,
    opening: Callable[..., Model],
    line: Line,
    part: Part,
    jobs: Sequence[Job],
    masks: Sequence[Path],
) -> Generator[tuple[int, str]]:
    """What `line.results` gives, from the processes of a cluster, in any order; what these have to say is kept here."""
    on_gpus = device == "cuda" or (device == "auto" and line.model.runtime == "torch" and cluster.gpus > 0)
    count = processes or (cluster.gpus if on_gpus else cluster.cores)
    if not count:
        raise ValueError(
            "--device cuda: the cluster has no GPU now; if it gets machines when asked, give --processes N"
        )
    size = max(min(PORTION, len(jobs) // (4 * count)), 1)
    size += -size % line.way.batch_size
    items = [*zip_longest(range(len(jobs)), jobs, masks)]
    portions = [items[at : at + size] for at in range(0, len(items), size)]
    folder, watch, count = jobs[0][1].parent, line.model.watch, min(count, len(portions))
    watch.say(
        f"Ray {cluster.place}: {count} process{'' if count == 1 else 'es'}{' with a GPU each' if on_gpus else ''}"
    )

    def begin(portion: Sequence[_Item]) -> None:
        part.begin(job for _, job, _ in portion)

    folder.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=folder, prefix=".diptych-ray-") as seen:
        make = partial(
            There,
            partial(opening, device="cuda" if on_gpus else "cpu" if device == "auto" else device),
            line.model.fingerprint,
            line.way,
            line.mask,
            Path.cwd(),
            Path(seen.name).absolute(),
        )
        for portion, told in cluster.spread(make, portions, processes=count, on_gpus=on_gpus, begin=begin):
            if told is None:
                [(number, (source, _), _)] = portion
                yield number, f"{source}: {ray_engine.TRIES} processes ended while they had it"
                continue
            line.reader.remarks.extend(told.remarks)
            line.writer.losses.extend(told.losses)
            for note in told.notes:
                line.note(*note)
            for text in told.lines:
                watch.say(text)
            for (number, job, _), (problem, facts) in zip(portion, told.results, strict=True):
                if not problem:
                    part.done(job, facts)
                yield number, problem


class _Told(NamedTuple):
    """What became of some jobs in another process, and what is to be said of them."""

    results: list[tuple[str, Facts]]
    """The line of an error, else what the output is known by."""
    remarks: list[Remark]
    losses: list[tuple[Job, Sequence[str]]]
    notes: list[tuple[str, str, str]]
    lines: list[str]


class There:
    """A line in another process, maybe on another machine; a `ValueError` where that does not see what this one sees."""

    def __init__(
        self, opening: Callable[[], Model], fingerprint: str, way: Way, mask: Path | None, here: Path, seen: Path
    ) -> None:
        machine = platform.node()
        if not (here.is_dir() and seen.exists()):
            raise ValueError(
                f"--engine ray: {machine} does not see {here} and {seen.parent} as this machine does; all machines need "
                "model, inputs and --out under the same paths"
            )
        os.chdir(here)
        model = opening()
        if model.fingerprint != fingerprint:
            raise ValueError(f"--engine ray: {model.name} on {machine} is another model; all machines need the same")
        self.notes, self.lines = list[tuple[str, str, str]](), list[str]()
        model.watch = Watch(say=self.lines.append)
        self.line = Line(model, way, mask, lambda *note: self.notes.append(note), [])

    def __call__(self, items: Sequence[_Item]) -> _Told:
        """Translates the pictures of these jobs."""
        said = self.notes, self.lines, self.line.reader.remarks, self.line.writer.losses
        for words in said:
            words.clear()
        jobs = [job for _, job, _ in items]
        problems = [problem for _, problem in self.line.results(jobs, [mask for _, _, mask in items])]
        results = [(problem, {} if problem else facts_of(job)) for job, problem in zip(jobs, problems, strict=True)]
        return _Told(results, self.line.reader.remarks, self.line.writer.losses, self.notes, self.lines)
