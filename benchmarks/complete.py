"""What one hole in a large photograph costs: seconds and peak memory of filling it, beside those of opening the picture.

    python benchmarks/complete.py [--megapixels 24] [--hole 200] [--size 512] [--width 64]

A picture and a mask are drawn and written, a model of the paper's width is made untrained. Two processes of their own open
the model, the picture and the mask; the second one fills the hole, too.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import diptych
from diptych.data import mask_files
from diptych.images import files
from diptych.images.files import Pixels
from diptych.images.size import Size
from diptych.methods.glcic import GLCIC, GLCICSettings
from diptych.methods.settings import Shape
from diptych.training import checkpoint
from diptych.translators.base import Request
from interleave import provenance

OPENED, FILLED = "model, picture and mask opened", "and the hole filled"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--megapixels", type=float, default=24)
    arguments.add_argument("--hole", type=int, default=200)
    arguments.add_argument("--size", type=int, default=512, help="of the training, whose largest hole is half of it")
    arguments.add_argument("--width", type=int, default=64)
    given = arguments.parse_args()
    width = round((given.megapixels * 1e6 * 3 / 2) ** 0.5)
    height = round(width * 2 / 3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, height, width, given.hole, given.size, given.width)
        print(f"{width}x{height}, a hole of {given.hole} px, width {given.width}, {torch.get_num_threads()} threads")
        _, before = in_a_process_of_its_own(OPENED, folder)
        print(f"{OPENED}: peak {before:.0f} MiB")
        seconds, peak = in_a_process_of_its_own(FILLED, folder)
        print(f"{FILLED}: peak {peak:.0f} MiB ({peak - before:+.0f}), {seconds:.1f} s")
    print(provenance(torch.device("cpu")))


def write(folder: Path, height: int, width: int, hole: int, size: int, channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    files.encode(Pixels(values), folder / "photo.png")
    mask = np.zeros((height, width, 1), np.uint8)
    mask[height // 3 : height // 3 + hole, width // 2 : width // 2 + hole] = 255
    files.encode(Pixels(mask), folder / "mask.png")
    settings, shape = GLCICSettings(width=channels), Shape(size=Size.square(size))
    config = checkpoint.ModelConfig(
        method="glcic", direction="AtoB", shape=shape, settings=settings.model_dump(mode="json", by_alias=True)
    )
    checkpoint.save_model(folder / "model", config, 0, GLCIC(settings, shape))


def in_a_process_of_its_own(what: str, folder: Path) -> tuple[float, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (what, folder))


def measure(what: str, folder: Path) -> tuple[float, float]:
    """Seconds of the work itself, and the peak of the process in MiB."""
    model = diptych.load(folder, device="cpu")
    picture = files.decode(folder / "photo.png")
    mask = mask_files.read(folder / "mask.png").fitted(picture.size, print)
    began = time.perf_counter()
    if what == FILLED:
        model.pixels(picture, Request(mask))
    return time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
