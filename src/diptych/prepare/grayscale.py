"""Colour pictures in grey."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from diptych.images.files import Pixels, to_channels
from diptych.prepare.folders import convert


def grayscale(
    inputs: Path | str | Iterable[Path | str],
    *,
    out: Path | str,
    strip_metadata: bool = False,
    workers: int | None = None,
    console: Console | None = None,
) -> list[str]:
    """Writes the ITU-R 601 luma of every picture (files and folders) as a PNG of one channel into the folder `out`.

    16 bits and alpha are kept. Returns one line for each picture that was skipped; raises a `ValueError` for a problem of
    all of them.

    Args:
        inputs: Pictures, or folders of them.
        out: The folder to write.
        strip_metadata: Write no EXIF, XMP, IPTC, resolution, texts and tags.
        workers: Threads; by default one per core.

    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> Image.new("RGB", (4, 2), "red").save(folder / "red.png")
    >>> grayscale(folder / "red.png", out=folder / "grey")
    []
    >>> Image.open(folder / "grey/red.png").getpixel((0, 0))
    76
    """

    def change(pixels: Pixels, _: str) -> Pixels:
        return Pixels(to_channels(Pixels(pixels.values), 1), pixels.alpha)

    return convert(
        "grayscale",
        inputs,
        Path(out),
        change,
        {},
        suffix=".png",
        colours=False,
        strip_metadata=strip_metadata,
        workers=workers,
        console=console,
    )
