"""The losses against hand-computed cases."""

import math

import pytest
import torch

from diptych.losses import discriminator, generator, pixelwise

LOGITS = torch.tensor([2.0, -1.0, 0.0]).reshape(1, 1, 1, 3)


@pytest.mark.parametrize("real", [True, False])
def test_vanilla_is_cross_entropy(real: bool) -> None:
    sign = 1 if real else -1
    want = sum(math.log(1 + math.exp(-sign * logit)) for logit in (2.0, -1.0, 0.0)) / 3
    assert discriminator(LOGITS, real, "vanilla").item() == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize(("real", "want"), [(True, (1 + 4 + 1) / 3), (False, (4 + 1 + 0) / 3)])
def test_lsgan_is_squared_distance(real: bool, want: float) -> None:
    assert discriminator(LOGITS, real, "lsgan").item() == pytest.approx(want)


@pytest.mark.parametrize(("real", "want"), [(True, (0 + 2 + 1) / 3), (False, (3 + 0 + 1) / 3)])
def test_hinge_has_nothing_to_say_beyond_one(real: bool, want: float) -> None:
    # Lim and Ye 2017: max(0, 1 - D(y)), max(0, 1 + D(G(x)))
    assert discriminator(LOGITS, real, "hinge").item() == pytest.approx(want)


def test_the_generator_wants_to_be_called_real() -> None:
    assert generator(LOGITS, "hinge").item() == pytest.approx(-(2 - 1 + 0) / 3)
    for kind in ("vanilla", "lsgan"):  # the non-saturating form
        assert generator(LOGITS, kind) == discriminator(LOGITS, True, kind)


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
