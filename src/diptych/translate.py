"""Translate image files and folders of any sizes with a trained model."""

import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console

from diptych import ray_engine
from diptych.data import mask_files, unread
from diptych.data.datasets import stem
from diptych.data.outputs import Job, plan, plan_shards, require_no_input
from diptych.data.shards import TAR
from diptych.data.side_names import side_of
from diptych.devices import Device, Precision
from diptych.files import digest, remove_leftovers_beside
from diptych.images.blend import Blend
from diptych.images.metadata import not_kept
from diptych.images.remarks import collected, lines
from diptych.journal import Part
from diptych.kinds import Direction, ends_of, in_words
from diptych.model import Model, load
from diptych.pipeline import Line, Way
from diptych.progress import Notes, say
from diptych.ray_pipeline import ray_through, require_ray_for
from diptych.runtimes.sessions import Runtime
from diptych.shard_pipeline import shards_through
from diptych.translators.base import require_working_size
from diptych.translators.strips import Watch
from diptych.wording import counted

Format = Literal["png", "tiff", "jpg", "webp"]
Engine = Literal["ray"]
LOSSY = (".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".webp")
Ask = Callable[[tuple[str, str]], str]
"""Asks a person which of two names is meant; the first is what a model makes where nothing is said."""


def translate(
    run: Path | str,
    inputs: Path | str | Iterable[Path | str],
    *,
    out: Path | str,
    to: str | None = None,
    direction: Direction | None = None,
    overwrite: bool = False,
    mask: Path | str | None = None,
    blend: Blend = "none",
    stochastic: bool = False,
    seed: int = 0,
    working_size: int | None = None,
    batch_size: int = 1,
    workers: int | None = None,
    format: Format | None = None,
    quality: int | None = None,
    strip_metadata: bool = False,
    skip_existing: bool = False,
    shard: str | None = None,
    failures: Path | str | None = None,
    engine: Engine | None = None,
    processes: int | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    runtime: Runtime | None = None,
    memory: str | None = None,
    scratch: Path | str | None = None,
    progress: Callable[[int, int], None] | None = None,
    strip_progress: Callable[[int, int, str], None] | None = None,
    console: Console | None = None,
    ask: Ask | None = None,
) -> list[str]:
    """Translates files and folders: one file to the file `out`, anything else into the folder `out`.

    Folders are walked; a picture keeps its path below its folder. Returns one line for each picture that could not be read
    or written; the others are translated all the same. Raises a `ValueError` before the first picture for a problem of all
    of them: no model, no pictures, an output that exists already or is one of the inputs.

    Args:
        run: The folder of a run, also while it is still training, or a model folder, or an exported file (onnx).
        inputs: Pictures, or folders of them.
        out: The file or folder to write.
        to: What to make, for a model that translates both ways: the name of the folder that such pictures were in at its
            training, or A or B. Without it, what the names of the inputs say, else the way of its training.
        direction: The same as AtoB or BtoA.
        overwrite: Write over older results. Inputs are never written over.
        mask: For completion: the holes, white, see-through or painted; one mask for all, or a folder that has one for each
            picture, of the same name or such as cat_mask for cat.
        blend: For completion: make what was drawn meet its surroundings, by fast marching or by Poisson blending.
        stochastic: Leave dropout on, the pix2pix paper's source of variety.
        seed: Seed of --stochastic.
        working_size: Shrink each picture so that its shorter side has this many pixels, translate, and scale back.
        batch_size: Pictures of one size that follow each other go through the network together, up to so many.
        workers: Pictures that are read, and that are written, at the same time; 1 is enough for the network of a CPU.
        format: The format of what is written into a folder; without it, that of each picture.
        quality: Of JPEG and WebP, 1 to 100; without it, that of the picture where it is a JPEG too, else 95.
        strip_metadata: Write no EXIF, XMP, IPTC, resolution, texts and tags; the colour profile stays.
        skip_existing: Go on where an earlier run with this flag stopped: what it made, with the same model and options,
            is not made again. A hidden file in --out keeps account.
        shard: 3/64: translate every 64th picture from number 3 on, counted from 0; for jobs that share a folder.
        failures: A file that gets a line of JSON for each picture that was skipped, with the reason.
        engine: ray: the pictures go through the processes of a Ray cluster: the one at RAY_ADDRESS, else one that is started
            on this machine and ends with the command. All machines see model, inputs and --out under the same paths.
        processes: With --engine, how many there have the model; without it, one for each GPU of the cluster, else each core.
        device: Where to run.
        precision: auto is fp32; bf16 is faster and off by some levels.
        runtime: What computes the network; without it, torch. onnxruntime and openvino run on the CPU, and bf16 in openvino
            alone; the first time, the network is written into the cache and compared with the model.
        memory: What one picture may take, such as 4G; without it, half of what is free. One that would need more goes in
            strips of rows, with the same result.
        scratch: The folder for what does not fit into that memory, in a file without a name; without it, that of the output.
        progress: Called with the number of pictures that are done, and of all.
        strip_progress: Called for a picture in strips with the thousandths that are done, 1000, and its name, with what is
            being done.
        console: Where lines say what is translated into what, which files are not read, or not wholly, what was taken as a
            mask's hole, and what the format of the output cannot hold.
        ask: Called with the names of what can be made, where nothing says which one; returns one of them.
    """
    if engine:
        require_ray_for(processes, stochastic, device)
    elif processes is not None:
        raise ValueError(
            "--processes: is for --engine ray; --shard divides the pictures between commands, --workers N reads and writes "
            "several at a time"
        )
    scratch = scratch or next(folder for folder in Path(out).absolute().parents if folder.is_dir())
    opening = partial(load, run, precision=precision, runtime=runtime, memory=memory, scratch=scratch)
    model = opening(direction=direction, to=to, device="cpu" if engine else device)
    paths = [Path(path) for path in ([inputs] if isinstance(inputs, Path | str) else inputs)]
    console = console or Console(stderr=True)
    model.watch = Watch(say=partial(say, console), show=strip_progress or (lambda *_: None))
    choice = _turn(model, paths, is_told=bool(to or direction), ask=ask)
    may_exist = overwrite or skip_existing or shard is not None
    with collected() as remarks:
        tars = plan_shards(paths, Path(out), may_exist)
        jobs = tars or plan(paths, Path(out), may_exist, model.suffix, format)
    if tars and mask is not None:
        raise ValueError(f"{paths[0]}: holds tar files, whose pictures have no masks; unpack them to complete them")
    if tars and engine:
        raise ValueError(
            f"{paths[0]}: holds tar files, which no engine takes; --shard I/N divides them between commands"
        )
    model.translator.require_request(mask is not None, blend)
    jobs, masks = _with_masks(jobs, Path(mask), Path(out), console) if mask is not None else (jobs, [])
    _require_numbers(working_size, batch_size, quality, seed, jobs)
    options = model.direction, mask, blend, stochastic and seed, working_size, format, quality, strip_metadata
    maker = digest(model.fingerprint, model.precision, model.runtime, repr(options)) if skip_existing else ""
    part = Part(Path(out), shard, maker, Path(failures) if failures is not None else None)
    jobs, masks = part.of(jobs, masks, overwrite, console)
    torch.manual_seed(seed)
    remove_leftovers_beside(target for _, target in jobs)
    say(console, f"{_what(model)}, {counted(len(jobs), 'tar file' if tars else 'picture')}, into {out}{choice}")
    if masks and any(target.suffix.lower() in LOSSY for _, target in jobs):
        say(console, "JPEG and WebP change pixels outside the holes too, a little; PNG and TIFF keep them")
    if unused := "" if tars else unread.describe(paths):
        say(console, unused)
    way = Way(blend, working_size, strip_metadata, quality, stochastic, batch_size, workers or 1)
    notes, problems = Notes(console), list[tuple[int, str]]()

    def failed(number: int, job: Job, problem: str) -> None:
        problems.append((number, problem))
        part.failed(job, problem)

    line = Line(model, way, masks[0] if len(set(masks)) == 1 else None, notes, remarks)
    with part.kept() as noting, ExitStack() as stack:
        if engine and jobs:
            cluster = stack.enter_context(ray_engine.joined(processes))
            results = ray_through(
                cluster, processes, device, partial(opening, direction=model.direction), line, part, jobs, masks
            )
        elif tars:
            results = shards_through(line, jobs, noting, failed, format)
        else:
            results = line.results(jobs, masks, noting)
        for done, (number, problem) in enumerate(stack.enter_context(closing(results)), start=1):
            if problem:
                failed(number, jobs[number], problem)
            if progress:
                progress(done, len(jobs))
    notes.end()
    for text in (*lines(remarks), *not_kept(line.writer.losses)):
        say(console, text)
    return [problem for _, problem in sorted(problems, key=itemgetter(0))]


def _turn(model: Model, pictures: Sequence[Path], is_told: bool, ask: Ask | None) -> str:
    """Turns a model that was not told which way it should translate; returns what is to be said of the choice."""
    if not (sides := model.sides):
        return ""
    seen = side_of(pictures, sides)
    goes_in, comes_out = ends_of(model.direction, sides)
    if is_told or len(model.translators) == 1:
        return f"; by their names they are {seen} already" if seen == comes_out else ""
    if seen:
        model.turn_to(goes_in if seen == comes_out else comes_out)
        return f"; by their names they are {seen}, and {_to(seen)} goes the other way"
    if ask:
        model.turn_to(ask((comes_out, goes_in)))
        return ""
    return f"; no name says which way, and {_to(goes_in)} goes the other"


def _to(side: str) -> str:
    return f"--to {shlex.quote(side)}"


def _what(model: Model) -> str:
    """What becomes of what, in words."""
    return in_words(model.direction, model.sides) if model.sides else model.config.method


def _require_numbers(
    working_size: int | None, batch_size: int, quality: int | None, seed: int, jobs: Sequence[Job]
) -> None:
    """Raises a `ValueError` for a number outside of its range."""
    require_working_size(working_size)
    if batch_size < 1:
        raise ValueError(f"--batch-size {batch_size}: a number of pictures, 1 or more, is expected")
    if quality is not None:
        _require_quality(quality, jobs)
    if not 0 <= seed < 2**63:
        raise ValueError(f"--seed {seed}: a number from 0 to 2^63 - 1 is expected")


def _require_quality(quality: int, jobs: Sequence[Job]) -> None:
    if not 1 <= quality <= 100:
        raise ValueError(f"--quality {quality}: a number from 1 to 100 is expected")
    if not any(target.suffix.lower() in (*LOSSY, TAR) for _, target in jobs):
        raise ValueError(
            f"--quality {quality}: is for JPEG and WebP, and {jobs[0][1]} is neither; leave it out, or write one of them"
        )


def _with_masks(jobs: list[Job], mask: Path, out: Path, console: Console) -> tuple[list[Job], list[Path]]:
    """The pictures to complete, and the mask of each; a `ValueError` where a result would be written over a mask."""
    jobs = _without_masks(jobs, mask, console)
    masks = mask_files.match([_name(job, out) for job in jobs], mask, [source for source, _ in jobs])
    require_no_input([(file, target) for file, (_, target) in zip(masks, jobs, strict=True)])
    return jobs, masks


def _without_masks(jobs: list[Job], mask: Path, console: Console) -> list[Job]:
    """The jobs but for masks that lie among the pictures, in the folder `mask`, which a line says."""
    folder = os.path.realpath(mask)
    places = {source: Path(os.path.realpath(source)) for source, _ in jobs}
    inside = {source: stem(place, Path(folder)) for source, place in places.items() if place.is_relative_to(folder)}
    masks, affix = mask_files.among([*inside.values()], mask) if mask.is_dir() else (set[str](), "")
    if masks:
        say(
            console,
            f"{mask}: {len(masks)} of {len(jobs)} pictures are masks by their names, {affix}; the others are completed",
        )
    return [job for job in jobs if inside.get(job[0]) not in masks]


def _name(job: Job, out: Path) -> str:
    """The path of an image relative to its folder, without suffix."""
    source, target = job
    return stem(target, out) if target != out else source.stem
