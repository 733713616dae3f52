"""`diptych data`: the tools that make a data set."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from diptych.cli.frame import data_app

Inputs = Annotated[Path, Parameter(help="Pictures, or folders of them.")]
Out = Annotated[Path, Parameter(help="The folder to write.")]
Workers = Annotated[int | None, Parameter(help="Threads; by default one a core.", validator=validators.Number(gte=1))]


def _status(problems: Sequence[str]) -> int:
    """1 where pictures were skipped, each with a line that says why."""
    for problem in problems:
        print(f"diptych: skipped: {' '.join(problem.split())}", file=sys.stderr)  # noqa: T201
    return 1 if problems else 0


@data_app.command
def inspect(folder: Path, *, out: Path | None = None, workers: Workers = None) -> int:
    """Say what is in a folder, what is wrong with it, and which method it is for, with the command to train it.

    Counts, sizes, modes, unreadable files, near-duplicates, and those that lie on both sides of train and val.

    Parameters
    ----------
    folder
        The folder of pictures; it is only read.
    out
        A new folder for a montage and the findings as JSON.
    """
    from rich.console import Console

    from diptych.prepare.inspect import inspect, show

    findings = inspect(folder, out=out, workers=workers)
    show(findings, Console())
    return 1 if findings.unreadable else 0


@data_app.command
def resize(
    *inputs: Inputs,
    out: Out,
    size: str = "256",
    fit: Literal["fit", "fill", "pad"] = "fill",
    background: str = "black",
    workers: Workers = None,
) -> int:
    """Scale pictures to one size.

    Parameters
    ----------
    size
        In pixels: 256, or 512x256 (width x height).
    fit
        "fill" cuts the middle out of what does not fit, "fit" makes a picture as large as fits, "pad" fills that up.
    background
        What "pad" fills up with: a colour name or #rrggbb.
    """
    from diptych.prepare.resize import parse_size, resize

    return _status(
        resize(_given(inputs), out=out, size=parse_size(size), fit=fit, background=background, workers=workers)
    )


@data_app.command
def blank(
    *inputs: Inputs,
    out: Out,
    hole: Literal["centre", "random"] = "centre",
    share: float = 0.3,
    min_share: float = 0.1,
    count: int = 1,
    fill: str = "white",
    seed: int = 0,
    workers: Workers = None,
) -> int:
    """Cut the centre out of pictures, or random holes.

    Parameters
    ----------
    hole
        One in the centre, or rectangles anywhere.
    share
        The hole's part of the picture's height and width; of a random one the largest.
    min_share
        The smallest part of a random hole.
    count
        Random holes a picture.
    fill
        What a hole is filled with: a colour name or #rrggbb.
    seed
        Seed of the random holes, which depend on the picture's name besides.
    """
    from diptych.prepare.blank import blank

    return _status(
        blank(
            _given(inputs),
            out=out,
            hole=hole,
            share=share,
            min_share=min_share,
            count=count,
            fill=fill,
            seed=seed,
            workers=workers,
        )
    )


@data_app.command
def combine(a: Path, b: Path, *, out: Out, workers: Workers = None) -> int:
    """Put each picture of A beside the one of the same stem in B: one file a pair.

    Parameters
    ----------
    a
        The folder of the left halves.
    b
        The folder of the right halves.
    """
    from diptych.prepare.combine import combine

    return _status(combine(a, b, out=out, workers=workers))


@data_app.command
def grayscale(*inputs: Inputs, out: Out, workers: Workers = None) -> int:
    """Take the colour out of pictures (ITU-R 601 luma)."""
    from diptych.prepare.grayscale import grayscale

    return _status(grayscale(_given(inputs), out=out, workers=workers))


@data_app.command
def edges(
    *inputs: Inputs,
    out: Out,
    sigma: float = 2.0,
    detail: float = 1.0,
    shortest: int = 10,
    workers: Workers = None,
) -> int:
    """Draw the edges of pictures, black on white.

    Parameters
    ----------
    sigma
        Pixels over which texture is smoothed away first.
    detail
        Above 1 more lines, below 1 fewer.
    shortest
        Lines of fewer pixels are left out.
    """
    from diptych.prepare.edges import edges

    return _status(edges(_given(inputs), out=out, sigma=sigma, detail=detail, shortest=shortest, workers=workers))


@data_app.command
def split(
    folder: Path,
    *,
    out: Out,
    val: float = 0.1,
    test: float = 0.0,
    seed: int = 0,
    by: Literal["copy", "link"] = "copy",
    workers: Workers = None,
) -> int:
    """Divide pictures into train, val and test; pairs and near-duplicates stay on one side.

    Parameters
    ----------
    folder
        The folder of pictures; it is only read.
    val
        Share that goes to val, from 0 to 1.
    test
        Share that goes to test, from 0 to 1.
    seed
        Another seed divides in another way.
    by
        Copies, or symbolic links.
    """
    from diptych.prepare.split import split

    return _status(split(folder, out=out, val=val, test=test, seed=seed, by=by, workers=workers))


@data_app.command
def pack(
    folder: Path,
    *,
    out: Annotated[Path, Parameter(help="The array to write, such as faces.npy.")],
    size: str = "256",
    count: int = 0,
    val: float = 0.0,
    seed: int = 0,
    workers: Workers = None,
) -> int:
    """Pack pictures into one array (npy, 8 bit), which trains as the folder does and is never decoded again.

    Parameters
    ----------
    folder
        The folder of pictures; it is only read. Its train and val become two arrays.
    size
        In pixels: 256, or 512x256 (width x height); the middle is cut out of what does not fit.
    count
        So many, drawn; 0 takes all.
    val
        Share that goes to an array of its own, from 0 to 1; near-duplicates stay on one side.
    seed
        Another seed draws and divides in another way.
    """
    from diptych.prepare.pack import pack
    from diptych.prepare.resize import parse_size

    return _status(pack(folder, out=out, size=parse_size(size), count=count, val=val, seed=seed, workers=workers))


@data_app.command
def download(name: str | None = None, *, out: Out | None = None, mirror: str | None = None) -> None:
    """Fetch a public data set, check it, unpack it. Without a name: list them, with sizes, licences and mirrors.

    Parameters
    ----------
    name
        Which one, such as facades or horse2zebra.
    mirror
        The number of another address in the list, or an address of your own.
    """
    from diptych.prepare.catalogue import show_catalogue
    from diptych.prepare.download import download

    if name is None:
        show_catalogue()
    elif out is None:
        raise ValueError(f"download {name}: say where to; add --out DIR")
    else:
        download(name, out=out, mirror=mirror)


@data_app.command
def demo(
    name: Literal["facades", "shapes"],
    *,
    out: Out,
    size: int | None = None,
    train: int | None = None,
    val: int | None = None,
    seed: int = 0,
) -> None:
    """Draw a built-in data set: facades (pairs) or shapes (single pictures in colour, in five kinds). No network.

    Parameters
    ----------
    name
        Which one.
    size
        Height and width in pixels; 128 for facades, 64 for shapes.
    train
        Number of files to train on; 200 or 500.
    val
        Number of files held out; 24 or 50.
    seed
        Another seed draws another set.
    """
    from diptych.prepare.demo import demo

    demo(name, out=out, size=size, train=train, val=val, seed=seed)


def _given(inputs: tuple[Path, ...]) -> tuple[Path, ...]:
    if not inputs:
        raise ValueError("no pictures given; diptych data TOOL INPUT... --out DIR")
    return inputs
