"""Pictures of one size: fitted into it, filling it, or padded to it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

from diptych.images import geometry
from diptych.images.files import Array, Pixels, from_image, from_tensor, to_bytes, to_tensor
from diptych.images.geometry import as_large_as_fits, middle
from diptych.images.size import Size
from diptych.images.spec import strips
from diptych.prepare.folders import convert

Fit = Literal["fit", "fill", "pad"]
GivenSize = int | str | tuple[int, int]
"""256, "512x256" or (512, 256): width and height."""

LARGEST = 10_000  # pixels: a picture of that size takes a gigabyte while it is scaled


def resize(
    inputs: Path | str | Iterable[Path | str],
    *,
    out: Path | str,
    size: GivenSize = "256",
    fit: Fit = "fill",
    background: str = "black",
    strip_metadata: bool = False,
    workers: int | None = None,
    console: Console | None = None,
) -> list[str]:
    """Scales pictures (files and folders) to one size, into the folder `out`; each keeps its shape.

    Bicubic and antialiased; grey stays grey, 16 bits stay 16, alpha is scaled along. Returns one line for each picture that
    was skipped; raises a `ValueError` for a problem of all of them.

    Args:
        inputs: Pictures, or folders of them.
        out: The folder to write.
        size: In pixels: 256, or 512x256 (width x height).
        fit: "fill" cuts off what does not fit, "fit" shows the whole picture at its own shape, "pad" adds a border to that.
        background: The border of "pad": a colour name or #rrggbb.
        strip_metadata: Write no EXIF, XMP, IPTC, resolution, texts and tags; the colour profile stays.
        workers: Threads; by default one per core.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> Image.new("RGB", (40, 20)).save(folder / "wide.png")
    >>> resize(folder / "wide.png", out=folder / "small", size=16, fit="fit")
    []
    >>> from diptych.images.files import decode
    >>> decode(folder / "small/wide.png").size
    (8, 16)
    """
    width, height = parse_size(size)
    colour = parse_colour(background, "--background")

    def change(pixels: Pixels, _: str) -> Pixels:
        if fit == "fill":
            return fill(pixels, height, width)
        fitted = scale(pixels, *as_large_as_fits(pixels.size, (height, width)))
        return fitted if fit == "fit" else _pad(fitted, height, width, colour)

    settings = {"size": [width, height], "fit": fit, "background": background}
    return convert(
        "resize", inputs, Path(out), change, settings, strip_metadata=strip_metadata, workers=workers, console=console
    )


def parse_size(size: GivenSize) -> tuple[int, int]:
    """Width and height, from one number or two; a `ValueError` when no picture could be scaled to that.

    >>> parse_size(256), parse_size("512x256"), parse_size((16, 8))
    ((256, 256), (512, 256), (16, 8))
    """
    given = Size(size[1], size[0]) if isinstance(size, tuple) else size
    try:
        height, width = Size.parse(given, LARGEST)
    except ValueError as error:
        raise ValueError(f"--size {given}: {error}") from error
    return width, height


def parse_colour(text: str, flag: str) -> Pixels:
    """One pixel of a colour; a `ValueError` that names the flag when there is no such colour."""
    try:
        return from_image(Image.new("RGB", (1, 1), text))
    except ValueError as error:
        raise ValueError(f"{flag} {text}: is no colour; give a name such as white, or #rrggbb") from error


def in_kind(colour: Pixels, pixels: Pixels) -> Array:
    """The colour as one pixel `[1, 1, C]` in the channels and bits of others; a fourth channel is full."""
    channels = pixels.values.shape[-1]
    opaque = Pixels(colour.values, np.full((1, 1), np.iinfo(colour.values.dtype).max, colour.values.dtype))
    return from_tensor(to_tensor(opaque if channels == 4 else colour, channels), pixels.bits).values


def fill(pixels: Pixels, height: int, width: int) -> Pixels:
    """The middle of a picture, as much as has the shape wanted, scaled: nothing is stretched."""
    return scale(_cut(pixels, *as_large_as_fits((height, width), pixels.size)), height, width)


def scale(pixels: Pixels, height: int, width: int) -> Pixels:
    """Colours count by their opacity, as in Pillow: what is see-through does not bleed into what is not."""
    if pixels.size == (height, width):
        return pixels
    channels, bits = pixels.values.shape[-1], pixels.bits
    if pixels.alpha is None and bits == 8:
        levels = geometry.resize(to_bytes(Pixels(pixels.values), channels), height, width)
        return Pixels(levels.permute(1, 2, 0).numpy())
    # Across, then down, as torch does it: the floats of a whole large picture would take four times its memory.
    parts = strips(pixels.size[0], channels * pixels.size[1])
    narrow = torch.cat(
        [geometry.resize(_weighed(pixels, rows), rows.stop - rows.start, width) for rows in parts], dim=1
    )
    weighed = geometry.resize(narrow, height, width)
    if pixels.alpha is None:
        return from_tensor(weighed, bits)
    alpha = from_tensor(weighed[-1:] * 2 - 1, bits).values[..., 0]
    return from_tensor(weighed[:-1] / weighed[-1:].clamp(min=1e-6), bits, alpha)


def _weighed(pixels: Pixels, rows: slice) -> Tensor:
    """Some rows as floats in [-1, 1]; where there is an alpha, weighed by it, with it as one more channel in [0, 1]."""
    x = to_tensor(Pixels(pixels.values[rows]), pixels.values.shape[-1])
    if pixels.alpha is None:
        return x
    opacity = (to_tensor(Pixels(pixels.alpha[rows, :, None]), 1) + 1) / 2
    return torch.cat([x * opacity, opacity])


def _cut(pixels: Pixels, height: int, width: int) -> Pixels:
    box = middle((height, width), pixels.size)
    return Pixels(pixels.values[box], None if pixels.alpha is None else pixels.alpha[box])


def _pad(pixels: Pixels, height: int, width: int, colour: Pixels) -> Pixels:
    box = middle(pixels.size, (height, width))
    values = np.tile(in_kind(colour, pixels), (height, width, 1))
    values[box] = pixels.values
    if pixels.alpha is None:
        return Pixels(values)
    alpha = np.full((height, width), np.iinfo(pixels.alpha.dtype).max, pixels.alpha.dtype)
    alpha[box] = pixels.alpha
    return Pixels(values, alpha)
