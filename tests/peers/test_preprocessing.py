"""What --fit does beside the transforms of junyanz/pytorch-CycleGAN-and-pix2pix, data/base_dataset.py (commit 2a7afba).

Those are Pillow's resize and crop; its numbers are repeated here, because the program itself is not installed.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.data.layouts import find_singles
from diptych.data.loaders import CachedDataset, Fit
from diptych.images.size import Size
from diptych.peers.train_opt import as_command

LOAD, CROP = 48, 40


def theirs(picture: Image.Image, preprocess: str) -> Image.Image:
    """A picture before the random crop and the flip, by get_transform."""
    if preprocess == "resize_and_crop":
        return picture.resize((LOAD, LOAD), Image.Resampling.BICUBIC)
    if preprocess == "scale_width_and_crop":
        width, height = picture.size
        return picture.resize((LOAD, int(max(LOAD * height / width, CROP))), Image.Resampling.BICUBIC)
    return picture  # "crop"


@pytest.mark.parametrize(
    ("preprocess", "fit"), [("resize_and_crop", "stretch"), ("scale_width_and_crop", "scale-width"), ("crop", "none")]
)
@pytest.mark.parametrize("size", [(100, 75), (64, 90), (90, 41)])
def test_pictures_before_the_crop_are_theirs_within_a_level(
    preprocess: str, fit: Fit, size: tuple[int, int], tmp_path: Path
) -> None:
    # Of little contrast: Pillow clips to 0 and 255 between its two passes, in an order that depends on the sizes.
    picture = Image.effect_noise(size, 15).convert("RGB")
    picture.save(tmp_path / "1.png")
    assert f"--fit {fit}" in as_command({"model": "pix2pix", "preprocess": preprocess}).command or fit == "stretch"
    load = Size.square(CROP if fit == "none" else LOAD)
    store = CachedDataset(find_singles(tmp_path), load, fit, exact=False, part=Size.square(CROP))
    [ours] = store.sides(0)
    want = np.asarray(theirs(picture, preprocess)).astype(int)
    assert ours.shape[1:] == want.shape[:2]
    assert np.abs(ours.permute(1, 2, 0).numpy() - want).max() <= 1
