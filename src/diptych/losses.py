"""Losses: pure functions, tensors in, a scalar tensor out."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Adversarial = Literal["vanilla", "lsgan", "hinge"]
Pixelwise = Literal["l1", "l2"]


def discriminator(logits: Tensor, real: bool, kind: Adversarial) -> Tensor:
    """How far a discriminator's logits are from saying "real" (or "fake"), per patch, then averaged.

    vanilla: binary cross-entropy on logits (Goodfellow et al. 2014). lsgan: squared distance to 1 or 0 (Mao et al. 2017).
    hinge: how far they are from 1 or -1, nothing beyond (Lim and Ye 2017).

    >>> round(discriminator(torch.zeros(1, 1, 2, 2), real=True, kind="vanilla").item(), 4)  # ln 2: undecided
    0.6931
    """
    if kind == "hinge":
        return F.relu(1 - logits if real else 1 + logits).mean()
    target = torch.ones_like(logits) if real else torch.zeros_like(logits)
    if kind == "vanilla":
        return F.binary_cross_entropy_with_logits(logits, target)
    return F.mse_loss(logits, target)


def generator(logits: Tensor, kind: Adversarial) -> Tensor:
    """How far a discriminator's logits for generated pictures are from saying "real", per patch, then averaged.

    vanilla and lsgan: the discriminator's own loss for real pictures, for vanilla the non-saturating form of Goodfellow et
    al. 2014. hinge: the logits' negative, without a bound.

    >>> generator(torch.full((1, 1, 2, 2), 3.0), kind="hinge").item()
    -3.0
    """
    return -logits.mean() if kind == "hinge" else discriminator(logits, True, kind)


def pixelwise(output: Tensor, target: Tensor, kind: Pixelwise) -> Tensor:
    """Mean absolute (l1) or mean squared (l2) difference of pictures in [-1, 1].

    >>> pixelwise(torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2), "l1").item()
    1.0
    """
    return F.l1_loss(output, target) if kind == "l1" else F.mse_loss(output, target)
