"""Translate image files and folders of any sizes with a trained model."""

from collections.abc import Callable, Iterable
from itertools import zip_longest
from pathlib import Path

import torch

from diptych.data import mask_files
from diptych.data.datasets import stem
from diptych.data.outputs import Job, plan, require_no_input
from diptych.devices import Device, Precision
from diptych.images.blend import Blend
from diptych.images.files import decode, encode
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

    For image completion, `mask` is one mask file for all images, or a folder with a mask of the same name for each. Folders
    are searched recursively; outputs keep their paths relative to the folder. Returns one line for each image that could not
    be read or written; the remaining ones are translated. Raises a `ValueError` before the first image for a problem of the
    whole call: no model, no images, an output that exists (unless `overwrite`) or that is one of the inputs.
    """
    model = load(run, direction=direction, device=device, precision=precision)
    given = [inputs] if isinstance(inputs, Path | str) else inputs
    jobs = plan([Path(path) for path in given], Path(out), overwrite)
    model.translator.require_request(mask is not None, blend)
    masks = mask_files.match([_name(job, Path(out)) for job in jobs], Path(mask)) if mask is not None else []
    require_no_input([(file, target) for file, (_, target) in zip(masks, jobs, strict=False)])
    require_working_size(working_size)
    if not 0 <= seed < 2**63:
        raise ValueError(f"--seed {seed}: a number from 0 to 2^63 - 1 is expected")
    torch.manual_seed(seed)
    problems = []
    for done, ((source, target), file) in enumerate(zip_longest(jobs, masks), start=1):
        try:
            pixels = decode(source)
            holes = mask_files.read(file, pixels.size) if file else None
            translated = model.pixels(pixels, Request(holes, blend, working_size), stochastic)
            target.parent.mkdir(parents=True, exist_ok=True)
            encode(translated, target)
        except ValueError as error:
            problems.append(str(error))
        if progress:
            progress(done, len(jobs))
    return problems


def _name(job: Job, out: Path) -> str:
    """The path of an image relative to its folder, without suffix."""
    source, target = job
    return stem(target, out) if target != out else source.stem
