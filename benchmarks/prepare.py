"""Pictures a second of the tools behind `diptych data` on many small files, beside the plain Pillow loop in one thread.

The ways take turns over the same JPEG files, which were just written and so lie in the system's file cache; what they
wrote is removed between the turns, outside of the time.

    python benchmarks/prepare.py [--pictures 10000] [--side 64] [--workers N] [--turns 3]
"""

import argparse
import random
import shutil
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console

from diptych.prepare.combine import combine
from diptych.prepare.resize import resize
from diptych.prepare.split import split
from interleave import interleave, provenance, times_as_fast


def plain_resize(folder: Path, out: Path, side: int) -> None:
    out.mkdir()
    for path in sorted(folder.iterdir()):
        with Image.open(path) as picture:
            picture.resize((side, side), Image.Resampling.BICUBIC).save(out / path.name, quality=95)


def plain_combine(a: Path, b: Path, out: Path) -> None:
    out.mkdir()
    for path in sorted(a.iterdir()):
        with Image.open(path) as left, Image.open(b / path.name) as right:
            both = Image.new("RGB", (left.width + right.width, left.height))
            both.paste(left, (0, 0))
            both.paste(right, (left.width, 0))
        both.save(out / f"{path.stem}.png")


def plain_split(folder: Path, out: Path) -> None:
    paths = sorted(folder.iterdir())
    random.Random(0).shuffle(paths)
    for number, path in enumerate(paths):
        with Image.open(path) as picture:
            picture.load()  # is it a whole picture?
        target = out / ("val" if 10 * number < len(paths) else "train") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def write_pairs(folder: Path, side: int, pictures: int) -> None:
    """Clouds of colour, no two alike, as JPEG files in `a` and `b`."""
    generator = np.random.default_rng(0)
    for name in "ab":
        (folder / name).mkdir()
        for number in range(pictures):
            spots = Image.fromarray(generator.integers(0, 256, (8, 8, 3), np.uint8))
            clouds = spots.resize((side, side), Image.Resampling.BICUBIC)
            clouds.save(folder / name / f"{number:06d}.jpg", quality=95)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    a, b, out = folder / "a", folder / "b", folder / "out"
    half, workers, silent = arguments.side // 2, arguments.workers, Console(quiet=True)
    tools: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "resize": (
            partial(plain_resize, a, out, half),
            partial(resize, a, out=out, size=(half, half), workers=workers, console=silent),
        ),
        "combine": (
            partial(plain_combine, a, b, out),
            partial(combine, a, b, out=out, workers=workers, console=silent),
        ),
        "split": (partial(plain_split, a, out), partial(split, a, out=out, workers=workers, console=silent)),
    }
    for tool, (plain, diptych) in tools.items():
        ways: dict[str, Callable[[], object]] = {"plain": plain, "diptych": diptych}
        seconds: dict[str, list[float]] = {"plain": [], "diptych": []}
        for _ in range(arguments.turns):
            for name, work in ways.items():
                seconds[name] += interleave({name: work}, turns=1)[name]
                shutil.rmtree(out)
        speed = {name: arguments.pictures / statistics.median(measured) for name, measured in seconds.items()}
        print(
            f"{tool}: {speed['diptych']:.0f} pictures/s, plain Pillow {speed['plain']:.0f}; "
            f"{times_as_fast(seconds['plain'], seconds['diptych'])}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--workers", type=int, default=None, help="threads; one a core if not given")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        write_pairs(Path(temporary), arguments.side, arguments.pictures)
        print(f"{arguments.pictures} JPEG files of {arguments.side} x {arguments.side}")
        measure(Path(temporary), arguments)
    print(provenance(torch.device("cpu")))
