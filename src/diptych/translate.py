"""Translate image files and folders of any sizes with a trained model."""

from collections.abc import Callable, Iterable
from itertools import zip_longest
from pathlib import Path

import torch

from diptych.data import mask_files
from diptych.data.datasets import stem
from diptych.data.outputs import Job, plan, require_no_input
from diptych.devices import Device, Precision
from diptych.files import remove_leftovers_beside
from diptych.images.blend import Blend
from diptych.images.files import decode, encode
from diptych.images.formats import TooLargeError
from diptych.kinds import Direction
from diptych.model import load
from diptych.translators.base import Request, require_working_size


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
    device: Device = "auto",
    precision: Precision = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Translates files and folders: one file to the file `out`, anything else into the folder `out`.

    Folders are walked; a picture keeps its path below its folder. Returns one line for each picture that could not be read
    or written; the others are translated all the same. Raises a `ValueError` before the first picture for a problem of all
    of them: no model, no pictures, an output that exists already or is one of the inputs.

    Args:
        run: The folder of a run, also while it is still training, or a model folder.
        inputs: Pictures, or folders of them.
        out: The file or folder to write.
        direction: Which way, for a model that knows both; without it, the way of its training.
        overwrite: Write over older results. Inputs are never written over.
        mask: For completion: the holes, white; one mask for all, or a folder that has one of the same name for each
            picture.
        blend: For completion: make what was drawn meet its surroundings, by fast marching or by Poisson blending.
        stochastic: Leave dropout on, the pix2pix paper's source of variety.
        seed: Seed of --stochastic.
        working_size: Shrink each picture so that its shorter side has this many pixels, translate, and scale back.
        device: Where to run.
        precision: bf16 or fp32.
        progress: Called with the number of pictures that are done, and of all.
    """
    model = load(run, direction=direction, device=device, precision=precision)
    jobs = plan([Path(path) for path in ([inputs] if isinstance(inputs, Path | str) else inputs)], Path(out), overwrite)
    model.translator.require_request(mask is not None, blend)
    masks = mask_files.match([_name(job, Path(out)) for job in jobs], Path(mask)) if mask is not None else []
    require_no_input([(file, target) for file, (_, target) in zip(masks, jobs, strict=False)])
    require_working_size(working_size)
    if not 0 <= seed < 2**63:
        raise ValueError(f"--seed {seed}: a number from 0 to 2^63 - 1 is expected")
    torch.manual_seed(seed)
    remove_leftovers_beside(target for _, target in jobs)
    problems = []
    for done, ((source, target), file) in enumerate(zip_longest(jobs, masks), start=1):
        try:
            pixels = decode(source, model.most_pixels())
            holes = mask_files.read(file, pixels.size) if file else None
            translated = model.pixels(pixels, Request(holes, blend, working_size), stochastic)
            target.parent.mkdir(parents=True, exist_ok=True)
            encode(translated, target)
        except TooLargeError as error:
            problems.append(f"{source}: {error}")
        except ValueError as error:
            problems.append(str(error))
        if progress:
            progress(done, len(jobs))
    return problems


def _name(job: Job, out: Path) -> str:
    """The path of an image relative to its folder, without suffix."""
    source, target = job
    return stem(target, out) if target != out else source.stem
