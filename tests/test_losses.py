"""The losses against hand-computed cases."""

import math

import pytest
import torch

from diptych.losses import discriminator, pixelwise

LOGITS = torch.tensor([2.0, -1.0, 0.0]).reshape(1, 1, 1, 3)


@pytest.mark.parametrize("real", [True, False])
def test_vanilla_is_cross_entropy(real: bool) -> None:
    sign = 1 if real else -1
    want = sum(math.log(1 + math.exp(-sign * logit)) for logit in (2.0, -1.0, 0.0)) / 3
    assert discriminator(LOGITS, real, "vanilla").item() == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize(("real", "want"), [(True, (1 + 4 + 1) / 3), (False, (4 + 1 + 0) / 3)])
def test_lsgan_is_squared_distance(real: bool, want: float) -> None:
    assert discriminator(LOGITS, real, "lsgan").item() == pytest.approx(want)


def test_confident_logits_stay_finite() -> None:
    assert torch.isfinite(discriminator(torch.tensor([[1e4, -1e4]]), True, "vanilla"))


def test_loss_is_per_patch_then_averaged() -> None:
    # the slip of note 001: averaging the patches first lets wrong patches cancel
    undecided_on_average = torch.tensor([5.0, -5.0])
    assert (
        discriminator(undecided_on_average, True, "lsgan").item() > discriminator(torch.zeros(2), True, "lsgan").item()
    )


def test_pixelwise() -> None:
    a, b = torch.tensor([0.0, 1.0]), torch.tensor([0.5, -1.0])
    assert pixelwise(a, b, "l1").item() == pytest.approx((0.5 + 2) / 2)
    assert pixelwise(a, b, "l2").item() == pytest.approx((0.25 + 4) / 2)
