"""Photographs into line drawings, dark on white, like the edges of edges2shoes; no network, no Caffe, no MATLAB."""

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rich.console import Console

from diptych.images.files import Array, Pixels, to_bytes
from diptych.images.spec import EIGHT_BIT
from diptych.prepare.folders import convert

WIDEST = 100  # pixels
LOWER = 0.4  # of the higher threshold, as in MATLAB's edge(); Canny (1986) asks for a third to a half
FAINTEST = 12  # of Sobel's 0 to 1020, a step of about 8 levels under a sigma of 2; grain and JPEG's blocks are fainter


def edges(
    inputs: Path | str | Iterable[Path | str],
    *,
    out: Path | str,
    sigma: float = 2.0,
    detail: float = 1.0,
    shortest: int = 10,
    strip_metadata: bool = False,
    workers: int | None = None,
    console: Console | None = None,
) -> list[str]:
    """Draws the edges of every picture (files and folders), black on white, as an 8-bit grey PNG into the folder `out`.

    Returns one line for each picture that was skipped; raises a `ValueError` for a problem of all of them.

    Args:
        inputs: Pictures, or folders of them.
        out: The folder to write.
        sigma: Pixels over which texture is smoothed away first.
        detail: Above 1 more lines, below 1 fewer.
        shortest: Lines of fewer pixels are left out.
        strip_metadata: Write no EXIF, XMP, IPTC, resolution, texts and tags.
        workers: Threads; by default one per core.

    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> Image.linear_gradient("L").point(lambda level: 255 * (level > 127)).save(folder / "step.png")
    >>> edges(folder / "step.png", out=folder / "drawn")
    []
    >>> Image.open(folder / "drawn/step.png").getcolors()
    [(256, 0), (65280, 255)]
    """
    if not 0 < sigma <= WIDEST:
        raise ValueError(f"--sigma {sigma}: is a length in pixels, above 0 and up to {WIDEST}")
    if not 0 < detail < math.inf:
        raise ValueError(f"--detail {detail}: is above 0; 1 is the default, 2 draws more lines, 0.5 fewer")
    if shortest < 1:
        raise ValueError(f"--shortest {shortest}: is a number of pixels, 1 or more; 1 keeps every line")

    def change(pixels: Pixels, _: str) -> Pixels:
        return Pixels(draw(to_bytes(pixels, 3).permute(1, 2, 0).numpy(), sigma, detail, shortest)[..., None])

    settings = {"sigma": sigma, "detail": detail, "shortest": shortest}
    return convert(
        "edges",
        inputs,
        Path(out),
        change,
        settings,
        suffix=".png",
        colours=False,
        strip_metadata=strip_metadata,
        workers=workers,
        console=console,
    )


def draw(picture: Array, sigma: float, detail: float, shortest: int) -> Array:
    """uint8 `[H, W, 3]` -> uint8 `[H, W]`, 0 on edges and 255 elsewhere.

    Canny's detector (1986) on the channel that changes most at each pixel, so that two colours of one luma have an edge
    between them. Its higher threshold is Otsu's (1979) on the magnitude of the gradient, which parts edges from the rest
    (Fang, Yue and Yu 2009), divided by `detail`.
    """
    import cv2

    smooth = cv2.GaussianBlur(picture, (0, 0), sigma)
    gradient = [cv2.Sobel(smooth, cv2.CV_32F, *way, borderType=cv2.BORDER_REPLICATE) for way in ((1, 0), (0, 1))]
    magnitude = np.hypot(*gradient).max(axis=-1).astype(np.uint16)
    otsu, _ = cv2.threshold(magnitude, 0, 1, cv2.THRESH_OTSU)
    higher = max(otsu / detail, FAINTEST)
    lines = cv2.Canny(smooth, LOWER * higher, higher, L2gradient=True)
    _, pieces, about, _ = cv2.connectedComponentsWithStats(lines, connectivity=8)
    drawn = about[:, cv2.CC_STAT_AREA] >= shortest
    drawn[0] = False  # piece 0 is what is no line
    return np.where(drawn[pieces], np.uint8(0), np.uint8(EIGHT_BIT.full))
