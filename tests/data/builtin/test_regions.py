"""The built-in fields and scans: what they hide is in the fourth channel, or below one 8-bit level, and nowhere else."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from diptych.data.builtin import regions
from diptych.images.labels import read_labels
from diptych.images.spec import to_bits


def test_crop_and_turf_are_one_colour_and_two_in_the_near_infrared() -> None:
    seen, kinds = (np.stack(all_of) for all_of in zip(*(regions.draw_field(n, 48) for n in range(12)), strict=True))
    crop, turf = (seen[(kinds == regions.KINDS[kind]).all(-1)].mean(0) for kind in ("crop", "turf"))
    assert np.abs(crop - turf)[:3].max() < 8  # each picture has its own light
    assert crop[3] - turf[3] > 100


def test_tissues_are_one_level_at_8_bits_and_three_at_16() -> None:
    seen, tissues = regions.draw_scan(3, 64)
    soft = [seen[(tissues == regions.TISSUES[name]).all(-1)] for name in ("fat", "muscle", "liver")]
    soft = [values for values in soft if len(values)]
    assert len(soft) > 1
    assert len({level for values in soft for level in np.unique(to_bits(values, 8))}) <= 2
    means = sorted(values.mean() for values in soft)
    assert min(np.diff(means)) > 60


@pytest.mark.parametrize(("word", "suffix"), [("field", ".tif"), ("scan", ".png")])
def test_the_files_are_whole_and_drawn_once(tmp_path: Path, word: str, suffix: str) -> None:
    write = regions.write_fields if word == "field" else regions.write_scans
    for train, val in ((2, 1), (2, 1)):
        write(tmp_path, size=16, train=train, val=val)
    assert len(list(tmp_path.glob(f"*A/*{suffix}"))) == len(list(tmp_path.glob("*B/*.png"))) == 3
    seen, kinds = (regions.draw_field if word == "field" else regions.draw_scan)(2, 16)
    file = tmp_path / f"valA/{word}-0002{suffix}"
    values = tifffile.imread(file) if suffix == ".tif" else np.asarray(Image.open(file))
    np.testing.assert_array_equal(values.reshape(seen.shape), seen)
    labels = read_labels(tmp_path / "labels.csv")
    with Image.open(tmp_path / f"valB/{word}-0002.png") as drawn:
        np.testing.assert_array_equal(np.asarray(drawn), kinds)
        assert labels.unknown(np.asarray(drawn)) == 0
