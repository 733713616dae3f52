"""Holes cut into pictures: the inputs of a completion, for which the whole picture is the answer."""

import os
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Literal

import numpy as np
from rich.console import Console

from diptych.images.files import Pixels
from diptych.images.geometry import middle
from diptych.prepare.folders import convert
from diptych.prepare.resize import in_kind, parse_colour

Hole = Literal["centre", "random"]
Box = tuple[slice, slice]


def blank(
    inputs: Path | str | Iterable[Path | str],
    *,
    out: Path | str,
    hole: Hole = "centre",
    share: float = 0.3,
    min_share: float = 0.1,
    count: int = 1,
    fill: str = "white",
    seed: int = 0,
    strip_metadata: bool = False,
    workers: int | None = None,
    console: Console | None = None,
) -> list[str]:
    """Fills a hole in every picture (files and folders) and writes it as PNG into the folder `out`.

    The default is that of pix2pix-tensorflow's tools/process.py. Random holes lie anywhere up to the border and depend on
    the seed and the picture's name alone. Returns one line for each picture that was skipped; raises a `ValueError` for a
    problem of all of them.

    Args:
        inputs: Pictures, or folders of them.
        out: The folder to write.
        hole: One in the centre, or rectangles anywhere.
        share: The hole's share of the picture's height and width; for random holes the largest.
        min_share: The smallest share of a random hole.
        count: Random holes per picture.
        fill: What a hole is filled with: a colour name or #rrggbb.
        seed: Seed of the random holes, which also depend on the picture's name.
        strip_metadata: Write no EXIF, XMP, IPTC, resolution, texts and tags; the colour profile stays.
        workers: Threads; by default one per core.

    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> Image.new("L", (4, 4)).save(folder / "dark.png")
    >>> blank(folder / "dark.png", out=folder / "blanked", share=0.5)
    []
    >>> np.asarray(Image.open(folder / "blanked/dark.png")).tolist()
    [[0, 0, 0, 0], [0, 255, 255, 0], [0, 255, 255, 0], [0, 0, 0, 0]]
    """
    _require_numbers(hole, share, min_share, count)
    colour = parse_colour(fill, "--fill")

    def change(pixels: Pixels, name: str) -> Pixels:
        if hole != "random":
            return _filled(pixels, [centre(pixels.size, share)], colour)
        generator = Random(os.fsencode(f"{seed} {name}"))
        return _filled(pixels, [anywhere(pixels.size, min_share, share, generator) for _ in range(count)], colour)

    settings = {"hole": hole, "share": share, "min-share": min_share, "count": count, "fill": fill, "seed": seed}
    return convert(
        "blank",
        inputs,
        Path(out),
        change,
        settings,
        suffix=".png",
        strip_metadata=strip_metadata,
        workers=workers,
        console=console,
    )


def _require_numbers(hole: Hole, share: float, min_share: float, count: int) -> None:
    """Raises a `ValueError` for a share or a count outside of its range."""
    if not 0 < min_share <= 1 or not 0 < share <= 1 or (hole == "random" and min_share > share):
        raise ValueError(f"--min-share {min_share} --share {share}: are parts of a side, 0 < min-share <= share <= 1")
    if count < 1:
        raise ValueError(f"--count {count}: at least one hole is cut")


def _filled(pixels: Pixels, boxes: Iterable[Box], colour: Pixels) -> Pixels:
    """A copy with opaque boxes of one colour."""
    values = pixels.values.copy()
    alpha = None if pixels.alpha is None else pixels.alpha.copy()
    for box in boxes:
        values[box] = in_kind(colour, pixels)
        if alpha is not None:
            alpha[box] = np.iinfo(alpha.dtype).max
    return Pixels(values, alpha)


def centre(size: tuple[int, int], share: float) -> Box:
    """The rows and columns in the middle of a picture of `size` (height, width)."""
    height, width = (max(1, int(side * share)) for side in size)
    return middle((height, width), size)


def anywhere(size: tuple[int, int], least: float, most: float, generator: Random) -> Box:
    """The rows and columns of a rectangle; every offset that fits is as likely as another."""
    lengths = [max(1, int(side * generator.uniform(least, most))) for side in size]
    first = [generator.randint(0, side - length) for side, length in zip(size, lengths, strict=True)]
    rows, columns = (slice(start, start + length) for start, length in zip(first, lengths, strict=True))
    return rows, columns
