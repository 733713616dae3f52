"""The paper's post-processing: what was drawn meets its surroundings, and nothing else changes."""

from typing import Any, get_args

import numpy as np
import pytest

from diptych.images.blend import SEAM, Blend, blend

BOXES = {"inside": (20, 30, 44, 60), "at a corner": (0, 0, 24, 30), "at an edge": (40, 10, 64, 90)}


def filled(box: tuple[int, int, int, int], kind: Any = np.uint8, channels: int = 3) -> tuple[Any, Any]:
    """A flat surrounding of 100, a flat hole of 180 in it: of the same gradients, and another colour."""
    top, left, bottom, right = box
    mask = np.zeros((64, 100), bool)
    mask[top:bottom, left:right] = True
    values = np.where(mask, 180, 100)[..., None].repeat(channels, axis=-1) * (np.iinfo(kind).max // 255)
    return values.astype(kind), mask


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("place", BOXES)
def test_poisson_keeps_gradients_and_takes_the_colour_of_the_surroundings(kind: Any, channels: int, place: str) -> None:
    values, mask = filled(BOXES[place], kind, channels)
    levels = blend(values, mask, "poisson") / (np.iinfo(kind).max // 255)
    assert np.abs(levels - 100).max() <= 8  # by which OpenCV's fast marching drifts into a hole without a far side
    assert np.array_equal(levels[~mask], np.full((~mask).sum() * channels, 100).reshape(-1, channels))


@pytest.mark.parametrize("place", BOXES)
def test_poisson_keeps_what_was_drawn(place: str) -> None:
    values, mask = filled(BOXES[place])
    stripes = (np.arange(100) // 6 % 2 * 40)[None, :, None]
    values = np.where(mask[..., None], values + stripes, values).astype(np.uint8)
    inner = blend(values, mask, "poisson")[mask].astype(int)
    assert inner.max() - inner.min() > 25


@pytest.mark.parametrize("place", BOXES)
def test_telea_draws_the_seam_anew_and_keeps_what_is_further_in(place: str) -> None:
    values, mask = filled(BOXES[place])
    result = blend(values, mask, "telea")
    top, left, bottom, right = BOXES[place]
    deep = slice(top + SEAM, bottom - SEAM), slice(left + SEAM, right - SEAM)
    assert (result[deep] == 180).all()
    assert (result[~mask] == 100).all()
    if place == "inside":
        assert (result[top + SEAM - 1, left + SEAM : right - SEAM] != 180).all()
    seam = result[mask & (values[..., 0] == 180)]
    assert ((seam > 105) & (seam < 175)).any()
    if place == "at a corner":
        assert (result[0:8, 0:8] == 180).all()  # the picture's own border is no seam


@pytest.mark.parametrize("how", get_args(Blend))
@pytest.mark.parametrize("side", [1, 2, 5, 7, 8])
def test_the_smallest_holes(how: Blend, side: int) -> None:
    values, mask = filled((10, 10, 10 + side, 10 + side))
    result = blend(values, mask, how)
    assert (result[~mask] == 100).all()
    if how == "poisson":
        assert np.abs(result.astype(int) - 100).max() <= 3


def test_holes_are_blended_one_by_one() -> None:
    """A second hole beside the first one changes nothing of how that is blended."""
    values, mask = filled((10, 10, 30, 30))
    alone = blend(values, mask, "poisson")
    both = mask.copy()
    both[10:30, 38:60] = True
    result = blend(np.where(both[..., None] & ~mask[..., None], np.uint8(20), values), both, "poisson")
    assert np.array_equal(result[mask], alone[mask])
    assert np.abs(result[both].astype(int) - 100).max() <= 8


def test_all_16_bits_are_blended() -> None:
    _, mask = filled((20, 30, 44, 60), np.uint16)
    bright = np.where(mask[..., None], np.uint16(60000), np.uint16(65535)).repeat(3, axis=-1)
    assert blend(bright, mask, "poisson").min() > 63000
