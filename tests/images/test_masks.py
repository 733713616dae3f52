"""Holes drawn at random, and where a person's holes are."""

from collections import Counter
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diptych.images.masks import Kind, Mask, MaskSpec, bounding_box, components, cut, grown, thickness, window


def drawn(kind: Kind, smallest: int, largest: int, size: int, count: int) -> list[Mask]:
    holes = MaskSpec(kind, smallest, largest)
    return [holes.draw((size, size), Random(f"hole {number}"))[0].numpy() for number in range(count)]


def sides(mask: Mask) -> tuple[int, int]:
    rows, columns = bounding_box(mask)
    return rows.stop - rows.start, columns.stop - columns.start


# ---- random holes (requirement 004-6)


def test_rectangles_have_every_side_from_24_to_48_and_no_other() -> None:
    masks = drawn("rectangle", 24, 48, 128, 4000)
    heights, widths = (Counter(sides(mask)[side] for mask in masks) for side in (0, 1))
    for lengths in (heights, widths):
        assert set(lengths) == set(range(24, 49))
        assert max(lengths.values()) < 2 * min(lengths.values())  # 160 of each are expected
    assert all(mask.sum() == np.prod(sides(mask)) for mask in masks)


def test_rectangles_lie_anywhere_the_borders_included() -> None:
    """The notes' holes were hardly ever at the border; of n places that fit, the first and the last are two."""
    boxes = [bounding_box(mask) for mask in drawn("rectangle", 8, 8, 16, 3000)]
    for side in (0, 1):
        starts = Counter(box[side].start for box in boxes)
        assert set(starts) == set(range(9))
        assert max(starts.values()) < 1.5 * min(starts.values())


@pytest.mark.parametrize("kind", ["rectangle", "several", "free-form", "any"])
@given(size=st.tuples(st.integers(32, 80), st.integers(32, 80)), data=st.data())
def test_every_kind_leaves_something_and_takes_something(
    kind: Kind, size: tuple[int, int], data: st.DataObject
) -> None:
    smallest = data.draw(st.integers(1, min(size) - 1))
    largest = data.draw(st.integers(smallest, min(size) - 1))
    seed = data.draw(st.integers(0, 10**6))
    mask = MaskSpec(kind, smallest, largest).draw(size, Random(seed))
    assert mask.shape == (1, *size)
    assert mask.dtype == torch.bool
    assert 0 < mask.sum() < size[0] * size[1]
    if kind in ("rectangle", "free-form"):
        assert max(sides(mask[0].numpy())) <= largest


def test_several_are_several_of_half_the_sides() -> None:
    masks = drawn("several", 24, 48, 128, 300)
    counts = Counter(len(components(mask)[1]) for mask in masks)
    assert set(counts) >= {2, 3, 4}
    for mask in masks:
        _, boxes = components(mask)
        if len(boxes) == 4:  # none lies over another
            for rows, columns in boxes:
                assert 12 <= rows.stop - rows.start <= 24
                assert 12 <= columns.stop - columns.start <= 24


def test_strokes_are_no_rectangles() -> None:
    masks = drawn("free-form", 40, 48, 128, 200)
    shares = [mask.sum() / np.prod(sides(mask)) for mask in masks]
    assert np.mean(shares) < 0.7
    assert np.mean([max(sides(mask)) for mask in masks]) > 24


def test_any_draws_all_of_them() -> None:
    masks = drawn("any", 20, 24, 64, 300)
    full = [mask.sum() == np.prod(sides(mask)) for mask in masks]
    several = [len(components(mask)[1]) > 1 for mask in masks]
    assert 0.2 < np.mean(full) < 0.5
    assert 0.2 < np.mean(several) < 0.5


def test_a_name_decides_the_hole_that_a_picture_is_measured_with() -> None:
    holes = MaskSpec("any", 8, 16)
    assert torch.equal(holes.draw_for("a", (32, 32)), holes.draw_for("a", (32, 32)))
    assert not torch.equal(holes.draw_for("a", (32, 32)), holes.draw_for("b", (32, 32)))


# ---- the window of the local discriminator


@given(st.integers(1, 16), st.integers(1, 16), st.data())
def test_the_window_has_the_hole_in_its_middle_unless_the_border_is_nearer(
    height: int, width: int, data: st.DataObject
) -> None:
    top, left = data.draw(st.integers(0, 32 - height)), data.draw(st.integers(0, 32 - width))
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., top : top + height, left : left + width] = 1
    for place, start, length in zip(window(mask, 16), (top, left), (height, width), strict=True):
        ideal = min(max(start + length / 2 - 8, 0), 16)
        assert abs(place.item() - ideal) <= 0.5
        assert place.item() <= start
        assert start + length <= place.item() + 16


def test_of_several_holes_the_window_sees_the_densest_place() -> None:
    mask = torch.zeros(2, 1, 64, 64)
    mask[0, 0, 0:4, 0:4] = 1
    mask[0, 0, 40:52, 40:52] = 1
    mask[1, 0, 10:14, 20:24] = 1
    tops, lefts = window(mask, 32)
    assert (tops[0].item(), lefts[0].item()) == (30, 30)
    assert (tops[1].item(), lefts[1].item()) == (0, 6)


def test_holes_that_fit_into_one_window_count_together() -> None:
    """Three smaller ones beside each other are more than one larger one far away."""
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 0:6, 0:6] = 1
    for left in (30, 40, 50):
        mask[..., 40:44, left : left + 4] = 1
    assert [place.item() for place in window(mask, 32)] == [26, 26]


def test_windows_are_cut_where_they_are_said_to_be() -> None:
    pictures = torch.rand(3, 2, 20, 24)
    tops, lefts = torch.tensor([0, 5, 12]), torch.tensor([16, 3, 0])
    expected = [p[:, t : t + 8, le : le + 8] for p, t, le in zip(pictures, tops, lefts, strict=True)]
    assert torch.equal(cut(pictures, tops, lefts, 8), torch.stack(expected))


# ---- a person's holes


def test_pixels_that_touch_at_a_corner_are_one_hole() -> None:
    mask = np.zeros((8, 8), bool)
    mask[0, 0] = mask[1, 1] = mask[5:7, 6] = True
    labels, boxes = components(mask)
    assert boxes == [(slice(0, 2), slice(0, 2)), (slice(5, 7), slice(6, 7))]
    assert [(labels == number).sum() for number in (1, 2)] == [2, 2]


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 30), st.sampled_from([1, 4]), st.data())
def test_a_grown_box_holds_its_margin_as_far_as_the_picture_goes(
    height: int, width: int, margin: int, multiple: int, data: st.DataObject
) -> None:
    lengths = (height, width)
    starts = [data.draw(st.integers(0, length - 1)) for length in lengths]
    stops = [data.draw(st.integers(start + 1, length)) for start, length in zip(starts, lengths, strict=True)]
    rows, columns = (slice(a, b) for a, b in zip(starts, stops, strict=True))
    for side, length, start, stop in zip(
        grown((rows, columns), margin, lengths, multiple), lengths, starts, stops, strict=True
    ):
        assert side.start % multiple == side.stop % multiple == 0
        assert max(start - margin - multiple, -1) < side.start <= max(start - margin, 0)
        assert min(stop + margin, length) <= side.stop < min(stop + margin, length) + multiple


@given(st.integers(1, 40), st.integers(1, 40))
def test_thickness_of_a_rectangle_is_its_shorter_side(height: int, width: int) -> None:
    shorter = min(height, width)
    assert thickness(np.ones((height, width), bool)) == shorter - (shorter + 1) % 2


def test_thickness_of_a_diamond_is_the_side_of_the_square_in_it() -> None:
    away = np.abs(np.arange(-10, 11))
    assert thickness(away[:, None] + away <= 10) == 11


def test_a_long_scratch_is_thin() -> None:
    assert thickness(np.eye(200, dtype=bool) | np.eye(200, k=1, dtype=bool)) <= 3
