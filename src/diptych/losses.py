"""Losses: tensors in, a scalar tensor out. An adversarial loss is one object for both players, with its chance level."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Pixelwise = Literal["l1", "l2"]


@dataclass(frozen=True)
class AdversarialLoss:
    """The losses of discriminator and generator. Logits are per patch; a loss is the mean over all of them.

    >>> round(ADVERSARIAL["vanilla"].discriminator(torch.zeros(1, 1, 2, 2), True).item(), 4)  # ln 2: undecided
    0.6931
    """

    discriminator: Callable[[Tensor, bool], Tensor]
    """The loss of logits that should say "real" (True) or "fake" (False)."""
    generator: Callable[[Tensor], Tensor]
    """The loss of the logits of generated images, which should say "real"."""
    chance_level: float
    """The discriminator's loss if it cannot distinguish real from fake; 0 if the loss says nothing of it (the doctor then
    does not judge the balance)."""
    generator_chance_level: float
    """The generator's loss against such a discriminator."""


def _cross_entropy(logits: Tensor, real: bool) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits) if real else torch.zeros_like(logits))


def _least_squares(logits: Tensor, real: bool) -> Tensor:
    return F.mse_loss(logits, torch.ones_like(logits) if real else torch.zeros_like(logits))


def _hinge(logits: Tensor, real: bool) -> Tensor:
    return F.relu(1 - logits if real else 1 + logits).mean()


ADVERSARIAL: dict[str, AdversarialLoss] = {
    # Goodfellow et al. 2014; the generator's loss is their non-saturating one
    "vanilla": AdversarialLoss(
        _cross_entropy, lambda logits: _cross_entropy(logits, True), math.log(2), generator_chance_level=math.log(2)
    ),
    # Mao et al. 2017
    "lsgan": AdversarialLoss(
        _least_squares, lambda logits: _least_squares(logits, True), 0.25, generator_chance_level=0.25
    ),
    # Lim and Ye 2017: logits beyond 1 or -1 have no loss; the generator's loss is unbounded
    "hinge": AdversarialLoss(_hinge, lambda logits: -logits.mean(), 1.0, generator_chance_level=0.0),
}
"""The adversarial losses by name: a new one is a line here."""


def gradient_penalty(logits: Tensor, inputs: Tensor) -> Tensor:
    """R1 without its weight: half of the squared gradient of the logits, averaged over the batch (Mescheder et al. 2018).

    Equation 9, with the mean over patches as a picture's logit. `logits` `[B, 1, h, w]` were made of `inputs` `[B, ...]`.

    >>> x = torch.ones(1, 1, 2, 2, requires_grad=True)
    >>> gradient_penalty(3 * x, x).item()  # each pixel has a gradient of 3/4
    1.125
    """
    total = logits.mean(dim=(1, 2, 3)).sum()
    [gradient] = torch.autograd.grad(total, inputs, create_graph=True)
    return gradient.float().square().sum() / (2 * len(inputs))


def pixelwise(output: Tensor, target: Tensor, kind: Pixelwise) -> Tensor:
    """Mean absolute (l1) or mean squared (l2) difference of images in [-1, 1].

    >>> pixelwise(torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2), "l1").item()
    1.0
    """
    return F.l1_loss(output, target) if kind == "l1" else F.mse_loss(output, target)
