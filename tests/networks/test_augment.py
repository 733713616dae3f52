"""Differentiable augmentation has the paper's ranges, differs from picture to picture, and lets the gradient through."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from diptych.networks.augment import augment, colour, cutout, translation

ALL = pytest.mark.parametrize("change", [augment, colour, translation, cutout], ids=lambda f: f.__name__)


@ALL
def test_each_picture_draws_for_itself_and_by_the_seed(change: Callable[[Tensor], Tensor]) -> None:
    pictures = (torch.rand(1, 3, 16, 16) * 2 - 1).expand(8, 3, 16, 16)
    torch.manual_seed(0)
    one = change(pictures)
    torch.manual_seed(0)
    assert torch.equal(change(pictures), one)
    assert one.shape == pictures.shape
    assert len(torch.unique(one, dim=0)) > 4


@ALL
def test_the_gradient_goes_through(change: Callable[[Tensor], Tensor]) -> None:
    pictures = (torch.rand(2, 2, 6, 8, dtype=torch.double) * 2 - 1).requires_grad_()

    def seeded(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return change(x)

    assert torch.autograd.gradcheck(seeded, pictures)


def test_translation_moves_by_an_eighth_at_most_and_fills_with_nothing() -> None:
    torch.manual_seed(0)
    picture = torch.arange(1.0, 1 + 32 * 16).reshape(1, 1, 32, 16)
    seen = set()
    for moved in translation(picture.expand(400, 1, 32, 16)):
        known = moved[0].nonzero()
        values = moved[0][known[:, 0], known[:, 1]].long() - 1
        by = {(int(r - v // 16), int(c - v % 16)) for (r, c), v in zip(known, values, strict=True)}
        [(down, right)] = by  # all that is left moved together
        assert len(known) == (32 - abs(down)) * (16 - abs(right))
        seen.add((down, right))
    assert {down for down, _ in seen} == set(range(-4, 5))
    assert {right for _, right in seen} == set(range(-2, 3))


def test_cutout_is_half_the_side_anywhere() -> None:
    torch.manual_seed(0)
    rows = set()
    for cut in cutout(torch.ones(500, 3, 16, 16)):
        hole = cut[0] == 0
        assert torch.equal(cut[0], cut[2])
        tall, wide = hole.any(1), hole.any(0)
        assert int(hole.sum()) == int(tall.sum()) * int(wide.sum())  # a rectangle
        assert 4 <= int(tall.sum()) <= 8
        rows |= {int(tall.nonzero().min())}
    assert rows == set(range(13))  # over the upper edge it begins at 0, over the lower one at up to 12


def test_colour_ranges() -> None:
    torch.manual_seed(0)
    flat = colour(torch.zeros(2000, 3, 2, 2))  # brightness alone changes a flat grey
    assert -0.5 <= flat.min() < -0.49
    assert 0.49 < flat.max() <= 0.5
    halves = torch.zeros(2000, 3, 2, 2)
    halves[:, :, 0], halves[:, :, 1] = -0.5, 0.5
    seen = colour(halves)
    contrast = seen[:, 0, 1, 0] - seen[:, 0, 0, 0]
    assert 0.5 <= contrast.min() < 0.51
    assert 1.49 < contrast.max() <= 1.5
    red = torch.zeros(2000, 3, 2, 2)
    red[:, 0] = 0.9
    seen = colour(red)
    saturated = (seen[:, 0] - seen[:, 1])[:, 0, 0] / 0.9  # saturation times contrast
    assert saturated.min() < 0.01
    assert 2 < saturated.max() <= 3


def test_the_policy_is_colour_then_translation_then_cutout() -> None:
    pictures = torch.rand(4, 3, 16, 16) * 2 - 1
    torch.manual_seed(5)
    want = cutout(translation(colour(pictures)))
    torch.manual_seed(5)
    assert torch.equal(augment(pictures), want)
