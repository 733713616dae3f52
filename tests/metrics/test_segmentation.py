"""Accuracy and intersection over union, on cases counted by hand and against a count pixel by pixel."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.metrics.segmentation import class_iou, confusion, per_class_accuracy, per_pixel_accuracy

# Two pictures of 2 x 4 pixels, four classes, of which the last is nowhere in the truth and was found once.
TRUE = torch.tensor([[[0, 0, 0, 1], [0, 0, 0, 1]], [[0, 0, 0, 2], [1, 1, 1, 1]]])
FOUND = torch.tensor([[[0, 0, 1, 1], [0, 0, 0, 1]], [[0, 3, 0, 1], [1, 0, 0, 1]]])


def test_a_case_counted_by_hand() -> None:
    matrix = confusion(FOUND, TRUE, classes=4)
    assert matrix.tolist() == [[7, 1, 0, 1], [2, 4, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert matrix.dtype == torch.int64
    assert per_pixel_accuracy(matrix) == pytest.approx(11 / 16)
    assert per_class_accuracy(matrix) == pytest.approx((7 / 9 + 4 / 6 + 0) / 3)
    assert class_iou(matrix) == pytest.approx((7 / 11 + 4 / 8 + 0 / 1) / 3)


def test_all_right_and_all_wrong() -> None:
    for found, want in ((TRUE, 1), ((TRUE + 1) % 3, 0)):
        matrix = confusion(found, TRUE, classes=4)
        assert per_pixel_accuracy(matrix) == per_class_accuracy(matrix) == class_iou(matrix) == want


def test_a_rare_class_counts_as_much_as_a_common_one() -> None:
    true = torch.tensor([0] * 99 + [1])
    matrix = confusion(torch.zeros(100, dtype=torch.int64), true, classes=2)
    assert per_pixel_accuracy(matrix) == pytest.approx(0.99)
    assert per_class_accuracy(matrix) == pytest.approx(0.5)
    assert class_iou(matrix) == pytest.approx(0.495)


def test_millions_of_pixels_are_counted_exactly() -> None:
    """A float of 32 bits holds whole numbers up to 2^24 only."""
    count = 2**24 + 2
    matrix = torch.tensor([[count - 1, 1], [0, 0]])
    assert per_pixel_accuracy(matrix) == pytest.approx(1 - 1 / count, abs=1e-12)
    assert per_class_accuracy(matrix) == pytest.approx(1 - 1 / count, abs=1e-12)
    assert class_iou(matrix) == pytest.approx(1 - 1 / count, abs=1e-12)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(1, 5), st.integers(1, 60), st.integers(0, 2**31))
def test_against_a_count_pixel_by_pixel(classes: int, pixels: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    true, found = generator.integers(0, classes, (2, pixels))
    accuracies, overlaps = [], []
    for one in set(true.tolist()):
        accuracies.append(sum((true == one) & (found == one)) / sum(true == one))
        overlaps.append(sum((true == one) & (found == one)) / sum((true == one) | (found == one)))
    matrix = confusion(torch.from_numpy(found), torch.from_numpy(true), classes)
    assert per_pixel_accuracy(matrix) == pytest.approx(np.mean(true == found))
    assert per_class_accuracy(matrix) == pytest.approx(np.mean(accuracies))
    assert class_iou(matrix) == pytest.approx(np.mean(overlaps))


def test_parts_add_up_to_the_whole() -> None:
    parts = sum(confusion(f, t, classes=4) for f, t in zip(FOUND, TRUE, strict=True))
    assert torch.equal(torch.as_tensor(parts), confusion(FOUND, TRUE, classes=4))
