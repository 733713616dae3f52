"""How far pictures that are prepared for training are from junyanz's: python benchmarks/preprocessing.py FOLDER

His transforms (data/base_dataset.py, commit 2a7afba) are Pillow's resize and crop; their numbers are repeated here. Compared
is what the random crop is taken from, for load_size 286 and crop_size 256, in levels of 255.
Pictures with a colour profile are passed over: here they are seen in sRGB.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from diptych.data.datasets import FileDataset
from diptych.data.layouts import find_singles
from diptych.data.loaders import CachedDataset, Fit
from diptych.images.size import Size

LOAD, CROP = 286, 256
BICUBIC = Image.Resampling.BICUBIC


def resized(picture: Image.Image) -> Image.Image:
    """resize_and_crop."""
    return picture.resize((LOAD, LOAD), BICUBIC)


def scaled(picture: Image.Image) -> Image.Image:
    """scale_width_and_crop."""
    width, height = picture.size
    return picture.resize((LOAD, int(max(LOAD * height / width, CROP))), BICUBIC)


def as_it_is(picture: Image.Image) -> Image.Image:
    """crop."""
    return picture


PAIRS: dict[str, tuple[Callable[[Image.Image], Image.Image], Fit]] = {
    "resize_and_crop": (resized, "stretch"),
    "scale_width_and_crop": (scaled, "scale-width"),
    "crop": (as_it_is, "none"),
}


def measure(pictures: FileDataset, preprocess: str, exact: bool) -> str:
    """What to say of one --preprocess; with `exact`, every pixel of a file is decoded, as it is there."""
    theirs, fit = PAIRS[preprocess]
    store = CachedDataset(pictures, Size.square(CROP if fit == "none" else LOAD), fit, exact, Size.square(CROP))
    differences = []
    for number in range(len(pictures)):
        picture = Image.open(pictures.files(number))
        if picture.info.get("icc_profile") or (fit == "none" and min(picture.size) < CROP):
            continue
        ours = store.sides(number)[0].permute(1, 2, 0).numpy()
        differences.append(np.abs(ours - np.asarray(theirs(picture.convert("RGB"))).astype(int)).ravel())
    if not differences:
        return f"--preprocess {preprocess}: no picture is large enough"
    levels = np.concatenate(differences)
    most = f"mean {levels.mean():.4f}, {(levels > 1).mean():.3%} above 1 level, at most {levels.max()}"
    return f"--preprocess {preprocess} and --fit {fit}: {len(differences)} pictures, {most}"


def main() -> None:
    """Prints a line for each of his --preprocess that has an equal here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    pictures = find_singles(parser.parse_args().folder)
    assert isinstance(pictures, FileDataset)
    for exact in (True, False):
        print("every pixel decoded:" if exact else "as in training, large JPEGs decoded at a part of their size:")
        for preprocess in PAIRS:
            print(measure(pictures, preprocess, exact))


if __name__ == "__main__":
    main()
