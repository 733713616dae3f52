"""Pictures a second from disk to a float batch on one core, and how that compares with the plain Pillow pipeline.

The ways take turns over the same side-by-side files, which the first, untimed turn has brought into the system's
file cache: what is measured is reading, decoding, scaling, cropping and converting, not the disk.

    python benchmarks/loading.py                    the built-in facades, written as JPEG to a temporary folder
    python benchmarks/loading.py --data DIR         side-by-side pairs in DIR or DIR/train
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
from PIL import Image
from torch import Tensor

from diptych.data.builtin import facades
from diptych.data.datasets import SideBySide
from diptych.data.layouts import find_one
from diptych.data.loaders import CachedDataset, TrainLoader, open_cached
from diptych.data.paths import DataPaths
from diptych.images import files
from diptych.kinds import DataKind
from interleave import interleave, provenance, times_as_fast

LOAD_SCALE = 286 / 256
CPU = torch.device("cpu")
SIMPLEJPEG = "simplejpeg"  # the name in `pictures` that is None where the extra is not installed


# ---- the plain pipeline, as research code has it


def plain_sides(path: Path, load_size: int) -> list[Image.Image]:
    """A and B, scaled."""
    both = Image.open(path).convert("RGB")
    width, height = both.size
    halves = both.crop((0, 0, width // 2, height)), both.crop((width // 2, 0, width, height))
    return [half.resize((load_size, load_size), Image.Resampling.BICUBIC) for half in halves]


def plain_tensor(picture: Image.Image) -> Tensor:
    """float `[1, 3, H, W]` in [-1, 1]: torchvision's ToTensor and Normalize, written out."""
    levels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
    return levels.float().div(255).sub_(0.5).div_(0.5)[None]


def plain_epoch(paths: list[Path], size: int) -> None:
    load_size = round(size * LOAD_SCALE)
    for path in paths:
        left, top = random.randint(0, load_size - size), random.randint(0, load_size - size)
        flip = random.random() < 0.5
        batch: dict[str, Tensor] = {}
        for name, side in zip("xy", plain_sides(path, load_size), strict=True):
            cut = side.crop((left, top, left + size, top + size))
            batch[name] = plain_tensor(cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else cut)
        assert batch["x"].shape == batch["y"].shape == (1, 3, size, size)


# ---- Diptych's


class Epochs:
    """Each call is one epoch of `diptych.data.loaders`, with or without simplejpeg."""

    def __init__(self, source: SideBySide, size: int, memory_gib: float, fast: bool) -> None:
        self.size, self.decoder = size, getattr(files, SIMPLEJPEG) if fast else None
        [self.store] = open_cached([source], round(size * LOAD_SCALE), "stretch", memory_gib)
        self.batches = TrainLoader([self.store], size=size, batch_size=1, flip=True, seed=0, direction="AtoB")
        self.number = count()

    def __call__(self) -> None:
        setattr(files, SIMPLEJPEG, self.decoder)
        first = next(self.number) * len(self.store)
        for batch in self.batches.stream(first, first + len(self.store), CPU, workers=0):
            assert batch["x"].shape == batch["y"].shape == (1, 3, self.size, self.size)


def difference(source: SideBySide, store: CachedDataset) -> float:
    """Mean distance of Diptych's scaled pictures from Pillow's, in 8-bit levels: is it the same work?"""
    levels = []
    for index, path in enumerate(source.paths[:8]):
        plain = np.concatenate([np.asarray(side).transpose(2, 0, 1) for side in plain_sides(path, store.size)])
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
    if getattr(files, SIMPLEJPEG) is None:
        del ways["Diptych from disk"]
        print("simplejpeg is not installed (pip install diptych[fast]): measured without it")
    interleave(ways, turns=1)
    seconds = interleave(ways, arguments.turns)
    decoded_again = kept.store.sizes.total() - len(source)

    print(f"{kept.store.describe()}; {len(source)} of {len(found)} files, to {arguments.size} px, one core")
    for name, measured in seconds.items():
        ratio = "" if name == "plain Pillow" else f"; {times_as_fast(seconds['plain Pillow'], measured)}"
        print(f"{name}: {len(source) / statistics.median(measured):.0f} pairs/s{ratio}")
    print(f"decoded after the first epoch where pictures are kept: {decoded_again} files")
    print(
        f"Diptych's scaled pictures differ from Pillow's by {difference(source, kept.store):.2f} levels of 255 (mean)"
    )
    print(provenance(CPU))


def write_facades(folder: Path, size: int, pairs: int) -> None:
    """The built-in facades as side-by-side JPEG files."""
    for number in range(pairs):
        both = Image.new("RGB", (2 * size, size))
        for side, picture in enumerate(facades.draw_pair(number, size, 0)):
            both.paste(picture, (side * size, 0))
        both.save(folder / f"{number:04d}.jpg", quality=95)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of side-by-side pairs; the built-in facades if not given")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--pictures", type=int, default=40, help="how many files of the folder a turn reads")
    parser.add_argument("--turns", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if arguments.data:
        measure(arguments.data, arguments)
    else:
        with tempfile.TemporaryDirectory() as folder:
            write_facades(Path(folder), arguments.size, arguments.pictures)
            measure(Path(folder), arguments)
