"""The losses against hand-computed cases."""

import math

import pytest
import torch

from diptych.losses import ADVERSARIAL, pixelwise

LOGITS = torch.tensor([2.0, -1.0, 0.0]).reshape(1, 1, 1, 3)


@pytest.mark.parametrize("real", [True, False])
def test_vanilla_is_cross_entropy(real: bool) -> None:
    sign = 1 if real else -1
    want = sum(math.log(1 + math.exp(-sign * logit)) for logit in (2.0, -1.0, 0.0)) / 3
    assert ADVERSARIAL["vanilla"].discriminator(LOGITS, real).item() == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize(("real", "want"), [(True, (1 + 4 + 1) / 3), (False, (4 + 1 + 0) / 3)])
def test_lsgan_is_squared_distance(real: bool, want: float) -> None:
    assert ADVERSARIAL["lsgan"].discriminator(LOGITS, real).item() == pytest.approx(want)


@pytest.mark.parametrize(("real", "want"), [(True, (0 + 2 + 1) / 3), (False, (3 + 0 + 1) / 3)])
def test_hinge_has_nothing_to_say_beyond_one(real: bool, want: float) -> None:
    # Lim and Ye 2017: max(0, 1 - D(y)), max(0, 1 + D(G(x)))
    assert ADVERSARIAL["hinge"].discriminator(LOGITS, real).item() == pytest.approx(want)


def test_the_generator_wants_to_be_called_real() -> None:
    assert ADVERSARIAL["hinge"].generator(LOGITS).item() == pytest.approx(-(2 - 1 + 0) / 3)
    for kind in ("vanilla", "lsgan"):  # the non-saturating form
        assert ADVERSARIAL[kind].generator(LOGITS) == ADVERSARIAL[kind].discriminator(LOGITS, True)


@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_chance_is_what_a_discriminator_pays_that_tells_nothing_apart(kind: str) -> None:
    """The one logit that it gives to all images is the best one for it: where both its terms together are smallest."""
    loss = ADVERSARIAL[kind]
    everywhere = torch.linspace(-2, 2, 401)
    costs = [(loss.discriminator(logit, True) + loss.discriminator(logit, False)).item() / 2 for logit in everywhere]
    assert min(costs) == pytest.approx(loss.chance_level, abs=1e-4)
    undecided = torch.tensor(0.5 if kind == "lsgan" else 0.0)
    assert (loss.discriminator(undecided, True) + loss.discriminator(undecided, False)).item() / 2 == pytest.approx(
        loss.chance_level
    )
    assert loss.generator(undecided).item() == pytest.approx(loss.generator_chance_level)


def test_confident_logits_stay_finite() -> None:
    assert torch.isfinite(ADVERSARIAL["vanilla"].discriminator(torch.tensor([[1e4, -1e4]]), True))


def test_loss_is_per_patch_then_averaged() -> None:
    # the slip of note 001: averaging the patches first lets wrong patches cancel
    undecided_on_average, discriminator = torch.tensor([5.0, -5.0]), ADVERSARIAL["lsgan"].discriminator
    assert discriminator(undecided_on_average, True).item() > discriminator(torch.zeros(2), True).item()


def test_pixelwise() -> None:
    a, b = torch.tensor([0.0, 1.0]), torch.tensor([0.5, -1.0])
    assert pixelwise(a, b, "l1").item() == pytest.approx((0.5 + 2) / 2)
    assert pixelwise(a, b, "l2").item() == pytest.approx((0.25 + 4) / 2)
