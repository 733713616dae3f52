"""Pictures a second from disk to a float batch on one core, and how that compares with the plain Pillow pipeline.

The ways take turns over the same side-by-side files, which the first, untimed turn has brought into the system's
file cache: what is measured is reading, decoding, scaling, cropping and converting, not the disk.

    python benchmarks/loading.py                    the built-in facades, written as JPEG to a temporary folder
    python benchmarks/loading.py --data DIR         side-by-side pairs in DIR or DIR/train
    python benchmarks/loading.py --camera           single JPEGs of 4000x3000 as cameras write them, upright and turned
    python benchmarks/loading.py --camera --data DIR    the same, made of the pictures in DIR instead of facades

What a camera writes is made here: a picture enlarged, with grain, so that the JPEG has the usual size in bytes.
"""

import argparse
import os
import random
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from diptych.data.builtin import facades
from diptych.data.datasets import Dataset, FileDataset, SideBySide
from diptych.data.layouts import find_one
from diptych.data.loaders import CachedDataset, TrainLoader, open_cached
from diptych.data.paths import DataPaths
from diptych.images import files
from diptych.images.size import Size
from diptych.images.spec import EIGHT_BIT
from diptych.kinds import DataKind
from interleave import interleave, provenance, times_as_fast

LOAD_SCALE = 286 / 256
CPU = torch.device("cpu")
SIMPLEJPEG = "simplejpeg"  # the name in `files` that is None where the extra is not installed
CAMERA = 4000, 3000
GRAIN = 6  # levels, for JPEGs of 2 to 3 MB
TURNED = 6  # EXIF orientation: the right side of what was seen lies at the top


# ---- the plain pipeline, as research code has it


Sides = Callable[[Path, int], list[Image.Image]]


def plain_sides(path: Path, load_size: int) -> list[Image.Image]:
    """A and B, scaled."""
    both = Image.open(path).convert("RGB")
    width, height = both.size
    halves = both.crop((0, 0, width // 2, height)), both.crop((width // 2, 0, width, height))
    return [half.resize((load_size, load_size), Image.Resampling.BICUBIC) for half in halves]


def plain_single(path: Path, load_size: int) -> list[Image.Image]:
    """One picture, turned upright and scaled."""
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    return [picture.resize((load_size, load_size), Image.Resampling.BICUBIC)]


def plain_tensor(picture: Image.Image) -> Tensor:
    """float `[1, 3, H, W]` in [-1, 1]: torchvision's ToTensor and Normalize, written out."""
    levels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
    return levels.float().div(255).sub_(0.5).div_(0.5)[None]


def plain_epoch(paths: list[Path], size: int, sides: Sides = plain_sides) -> None:
    load_size = round(size * LOAD_SCALE)
    for path in paths:
        left, top = random.randint(0, load_size - size), random.randint(0, load_size - size)
        flip = random.random() < 0.5
        batch: dict[str, Tensor] = {}
        for name, side in zip("xy", sides(path, load_size), strict=False):
            cut = side.crop((left, top, left + size, top + size))
            batch[name] = plain_tensor(cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else cut)
        assert all(picture.shape == (1, 3, size, size) for picture in batch.values())


# ---- Diptych's


class Epochs:
    """Each call is one epoch of `diptych.data.loaders`, with or without simplejpeg."""

    def __init__(self, source: Dataset, size: int, memory_gib: float, fast: bool, exact: bool = False) -> None:
        self.size, self.decoder = size, getattr(files, SIMPLEJPEG) if fast else None
        [self.store] = open_cached([source], Size.square(round(size * LOAD_SCALE)), "stretch", memory_gib, exact=exact)
        self.batches = TrainLoader(
            [self.store], size=Size.square(size), batch_size=1, flip=True, seed=0, direction="AtoB"
        )
        self.number = count()

    def __call__(self) -> None:
        setattr(files, SIMPLEJPEG, self.decoder)
        first = next(self.number) * len(self.store)
        for batch in self.batches.stream(first, first + len(self.store), CPU, workers=0):
            assert all(picture.shape == (1, 3, self.size, self.size) for picture in batch.values())


def difference(source: SideBySide | FileDataset, store: CachedDataset, sides: Sides = plain_sides) -> float:
    """Mean distance of Diptych's scaled pictures from Pillow's, in 8-bit levels: is it the same work?"""
    levels = []
    for index, path in enumerate(source.paths[:8]):
        plain = np.concatenate([np.asarray(side).transpose(2, 0, 1) for side in sides(path, store.size.height)])
        levels.append(np.abs(plain.astype(float) - torch.cat(store.sides(index)).numpy()).mean())
    return float(np.mean(levels))


def measure(data: Path, arguments: argparse.Namespace) -> None:
    found = find_one(DataKind.PAIRED, DataPaths(data), "train")
    if not isinstance(found, SideBySide):
        raise SystemExit(f"{data}: side-by-side pairs are expected, the plain pipeline reads nothing else")
    source = replace(found, paths=found.paths[: arguments.pictures])
    kept = Epochs(source, arguments.size, memory_gib=4, fast=True)
    ways: dict[str, Callable[[], None]] = {
        "plain Pillow": partial(plain_epoch, list(source.paths), arguments.size),
        "Diptych from disk, without simplejpeg": Epochs(source, arguments.size, memory_gib=0, fast=False),
        "Diptych from disk": Epochs(source, arguments.size, memory_gib=0, fast=True),
        "Diptych, kept in memory": kept,
    }
    interleave(ways, turns=1)
    first = dict(kept.store.cache or {})
    seconds = timed(ways, arguments.turns)
    decoded_again = sum(kept.store.sides(index) is not sides for index, sides in first.items())

    print(f"{kept.store.describe()}; {len(source)} of {len(found)} files, to {arguments.size} px, one core")
    tell(seconds, len(source), "pairs")
    print(f"decoded after the first epoch where pictures are kept: {decoded_again} files")
    print(
        f"Diptych's scaled pictures differ from Pillow's by {difference(source, kept.store):.2f} levels of 255 (mean)"
    )
    print(provenance(CPU))


def measure_camera(folder: Path, arguments: argparse.Namespace) -> None:
    for name in ("upright", "turned"):
        source = FileDataset(folder / name, sorted((folder / name).iterdir()), (EIGHT_BIT,))
        plain = partial(plain_epoch, list(source.paths), arguments.size, plain_single)
        fast = Epochs(source, arguments.size, memory_gib=0, fast=True)
        exact = Epochs(source, arguments.size, memory_gib=0, fast=True, exact=True)
        ways: dict[str, Callable[[], None]] = {
            "plain Pillow": plain,
            "Diptych from disk, without simplejpeg": Epochs(source, arguments.size, memory_gib=0, fast=False),
            "Diptych from disk, every pixel, as evaluation does": exact,
            "Diptych from disk": fast,
        }
        seconds = timed(ways, arguments.turns)
        megabytes = statistics.mean(path.stat().st_size for path in source.paths) / 1e6
        width, height = CAMERA
        print(
            f"{len(source)} JPEGs of {width}x{height}, {name}, {megabytes:.1f} MB each; to {arguments.size} px, one core"
        )
        tell(seconds, len(source), "pictures")
        far, near = (difference(source, epochs.store, plain_single) for epochs in (fast, exact))
        print(
            f"Diptych's scaled pictures differ from Pillow's by {far:.2f} levels of 255 (mean), exact ones by {near:.2f}"
        )
    print(provenance(CPU))


def timed(ways: dict[str, Callable[[], None]], turns: int) -> dict[str, list[float]]:
    """Seconds of each turn of each way that can be measured here, after a turn that is not timed."""
    if getattr(files, SIMPLEJPEG) is None:
        ways.pop("Diptych from disk", None)
        print("simplejpeg is not installed (pip install diptych[fast]): measured without it")
    interleave(ways, turns=1)
    return interleave(ways, turns)


def tell(seconds: dict[str, list[float]], files_a_turn: int, what: str) -> None:
    for name, measured in seconds.items():
        ratio = "" if name == "plain Pillow" else f"; {times_as_fast(seconds['plain Pillow'], measured)}"
        print(f"{name}: {files_a_turn / statistics.median(measured):.1f} {what}/s{ratio}")


def write_facades(folder: Path, size: int, pairs: int) -> None:
    """The built-in facades as side-by-side JPEG files."""
    for number in range(pairs):
        both = Image.new("RGB", (2 * size, size))
        for side, picture in enumerate(facades.draw_pair(number, size, 0)):
            both.paste(picture, (side * size, 0))
        both.save(folder / f"{number:04d}.jpg", quality=95)


def write_photographs(folder: Path, data: Path | None, count: int) -> None:
    """Large JPEGs in `folder/upright`, and the same in `folder/turned` with the EXIF tag that turns them."""
    found = sorted(path for path in data.iterdir() if path.suffix.lower() in files.SUFFIXES) if data else []
    exif = Image.Exif()
    exif[files.ORIENTATION] = TURNED
    for name in ("upright", "turned"):
        (folder / name).mkdir()
    for number in range(count):
        if found:
            small = Image.open(found[number * len(found) // count]).convert("RGB")
        else:
            small = facades.draw_pair(number, 256, 0)[1]
        large = np.asarray(small.resize(CAMERA, Image.Resampling.BICUBIC), np.float32)
        grain = np.random.default_rng(number).normal(0, GRAIN, large.shape).astype(np.float32)
        picture = Image.fromarray((large + grain).clip(0, 255).astype(np.uint8))
        picture.save(folder / f"upright/{number}.jpg", quality=90)
        picture.save(folder / f"turned/{number}.jpg", quality=90, exif=exif)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of pairs, or of pictures; the built-in facades without it")
    parser.add_argument("--camera", action="store_true", help="large single JPEGs in place of pairs")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--pictures", type=int, help="how many files a turn reads (default: 40 pairs, or 4 large ones)")
    parser.add_argument("--turns", type=int, default=9)
    arguments = parser.parse_args()
    arguments.pictures = arguments.pictures or (4 if arguments.camera else 40)
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if arguments.data and not arguments.camera:
        measure(arguments.data, arguments)
    else:
        with tempfile.TemporaryDirectory() as folder:
            if arguments.camera:
                write_photographs(Path(folder), arguments.data, arguments.pictures)
                measure_camera(Path(folder), arguments)
                raise SystemExit
            write_facades(Path(folder), arguments.size, arguments.pictures)
            measure(Path(folder), arguments)
