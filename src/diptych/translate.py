"""Translate image files and folders of any sizes with a trained model."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from itertools import groupby, islice, zip_longest
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from rich.console import Console

from diptych.data import mask_files, unread
from diptych.data.datasets import stem
from diptych.data.outputs import Job, plan, require_no_input
from diptych.devices import Device, Precision
from diptych.files import remove_leftovers_beside
from diptych.images.blend import Blend
from diptych.images.files import Pixels, in_srgb
from diptych.images.metadata import Metadata, not_kept
from diptych.images.remarks import Remark, collected, lines
from diptych.kinds import Direction
from diptych.model import Model, load
from diptych.progress import Notes, say
from diptych.translators.base import Request, require_working_size

Format = Literal["png", "tiff", "jpg", "webp"]
LOSSY = (".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".webp")
LARGE = 3 * 2**22
"""Values of a picture, 4 megapixels of RGB, beyond which it is large: only one of those is at work at a time."""


def translate(
    run: Path | str,
    inputs: Path | str | Iterable[Path | str],
    *,
    out: Path | str,
    direction: Direction | None = None,
    overwrite: bool = False,
    mask: Path | str | None = None,
    blend: Blend = "none",
    stochastic: bool = False,
    seed: int = 0,
    working_size: int | None = None,
    batch_size: int = 1,
    format: Format | None = None,
    quality: int | None = None,
    strip_metadata: bool = False,
    device: Device = "auto",
    precision: Precision = "auto",
    progress: Callable[[int, int], None] | None = None,
    console: Console | None = None,
) -> list[str]:
    """Translates files and folders: one file to the file `out`, anything else into the folder `out`.

    Folders are walked; a picture keeps its path below its folder. Returns one line for each picture that could not be read
    or written; the others are translated all the same. Raises a `ValueError` before the first picture for a problem of all
    of them: no model, no pictures, an output that exists already or is one of the inputs.

    Args:
        run: The folder of a run, also while it is still training, or a model folder, or an exported file (onnx).
        inputs: Pictures, or folders of them.
        out: The file or folder to write.
        direction: Which way, for a model that knows both; without it, the way of its training.
        overwrite: Write over older results. Inputs are never written over.
        mask: For completion: the holes, white, see-through or painted; one mask for all, or a folder that has one for each
            picture, of the same name or such as cat_mask for cat.
        blend: For completion: make what was drawn meet its surroundings, by fast marching or by Poisson blending.
        stochastic: Leave dropout on, the pix2pix paper's source of variety.
        seed: Seed of --stochastic.
        working_size: Shrink each picture so that its shorter side has this many pixels, translate, and scale back.
        batch_size: Pictures of one size that follow each other go through the network together, up to so many.
        format: The format of what is written into a folder; without it, that of each picture.
        quality: Of JPEG and WebP, 1 to 100; without it, that of the picture where it is a JPEG too, else 95.
        strip_metadata: Write no EXIF, XMP, IPTC, resolution, texts and tags; the colour profile stays.
        device: Where to run.
        precision: auto is fp32; bf16 is faster and off by some levels.
        progress: Called with the number of pictures that are done, and of all.
        console: Where lines say which files are not read, or not wholly, what was taken as a mask's hole, and what the
            format of the output cannot hold.
    """
    model = load(run, direction=direction, device=device, precision=precision)
    paths = [Path(path) for path in ([inputs] if isinstance(inputs, Path | str) else inputs)]
    console = console or Console(stderr=True)
    with collected() as remarks:
        jobs = plan(paths, Path(out), overwrite, model.suffix, format)
    model.translator.require_request(mask is not None, blend)
    masks = list[Path]()
    if mask is not None:
        jobs = _without_masks(jobs, Path(mask), console or Console(stderr=True))
        masks = mask_files.match([_name(job, Path(out)) for job in jobs], Path(mask), [source for source, _ in jobs])
    require_no_input([(file, target) for file, (_, target) in zip(masks, jobs, strict=False)])
    _require_numbers(working_size, batch_size, quality, seed, jobs)
    torch.manual_seed(seed)
    remove_leftovers_beside(target for _, target in jobs)
    if mask is not None and any(target.suffix.lower() in LOSSY for _, target in jobs):
        say(console, "JPEG and WebP change pixels outside the holes too, a little; PNG and TIFF keep them")
    if unused := unread.describe(paths):
        say(console, unused)
    one_for_all = mask_files.read(masks[0]) if len(set(masks)) == 1 else None
    reader = _Reader(model, one_for_all, blend, working_size, strip_metadata, Notes(console), remarks)
    writer = _Writer(model, quality)
    readings = [partial(reader.read, *job) for job in zip_longest(jobs, masks)]
    problems = list[str]()
    with ThreadPoolExecutor(1) as reading, ThreadPoolExecutor(1) as writing:
        outcomes = _outcomes(model, _read_ahead(readings, reading), 1 if stochastic else batch_size, stochastic)
        for done, problem in enumerate(_written(outcomes, writer.write, writing), start=1):
            problems += [problem] if problem else []
            if progress:
                progress(done, len(jobs))
    reader.notes.end()
    for line in (*lines(remarks), *not_kept(writer.losses)):
        say(console, line)
    return problems


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


class _Reader:
    """Reads pictures, each with its mask, and collects what is to be said of them."""

    def __init__(
        self,
        model: Model,
        mask: mask_files.UserMask | None,
        blend: Blend,
        working_size: int | None,
        strip_metadata: bool,
        notes: Notes,
        remarks: list[Remark],
    ) -> None:
        self.model, self.mask, self.blend, self.working_size = model, mask, blend, working_size
        self.strip_metadata, self.notes, self.remarks = strip_metadata, notes, remarks
        self.most = model.most_pixels()  # before pictures and the network take memory of their own

    def read(self, job: Job, holes: Path | None) -> "Picture":
        """The picture of a job, and of its hole; a `ValueError` for what cannot be read."""
        with collected() as of_it:
            pixels, known = self.model.read(job[0], self.most)
            mask = self.mask or (mask_files.read(holes) if holes else None)
            hole = mask.fitted(pixels.size, self.notes) if mask else None
        self.remarks.extend(of_it)
        kept = known.without_all_but_colours() if self.strip_metadata else known
        return Picture(job, pixels, kept, Request(hole, self.blend, self.working_size))


class _Writer:
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


def _require_quality(quality: int, jobs: Sequence[Job]) -> None:
    if not 1 <= quality <= 100:
        raise ValueError(f"--quality {quality}: a number from 1 to 100 is expected")
    if not any(target.suffix.lower() in LOSSY for _, target in jobs):
        raise ValueError(
            f"--quality {quality}: is for JPEG and WebP, and {jobs[0][1]} is neither; leave it out, or write one of them"
        )


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


class Picture(NamedTuple):
    """A picture on its way from file to file."""

    job: Job
    pixels: Pixels
    """In the colours of the file."""
    known: Metadata
    request: Request


Outcome = tuple[Picture, Pixels]
"""A picture, and its translation in sRGB."""


def _read_ahead(readings: Sequence[Callable[[], Picture]], reader: Executor) -> Iterator[Picture | str]:
    """What each reading gives, or the line of its error; the next one is read meanwhile, unless this picture is large."""
    ahead = None
    for number, reading in enumerate(readings):
        result = _or_line((ahead or reader.submit(reading)).result)
        alone = isinstance(result, Picture) and _is_large(result.pixels)
        ahead = None if alone or reading is readings[-1] else reader.submit(readings[number + 1])
        yield result


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
    outcomes: Iterable[Outcome | str], write: Callable[[Picture, Pixels], str], writer: Executor
) -> Iterator[str]:
    """The line of each picture's error, empty where there is none; each is written while the next one is translated."""
    before: Callable[[], str] | None = None
    for outcome in outcomes:
        if before:
            yield before()
        before = partial(str, outcome) if isinstance(outcome, str) else writer.submit(write, *outcome).result
        if isinstance(outcome, tuple) and _is_large(outcome[1]):
            yield before()
            before = None
    if before:
        yield before()


def _or_line(read: Callable[[], Picture]) -> Picture | str:
    try:
        return read()
    except ValueError as error:
        return str(error)


def _name(job: Job, out: Path) -> str:
    """The path of an image relative to its folder, without suffix."""
    source, target = job
    return stem(target, out) if target != out else source.stem
