"""Losses: pure functions, tensors in, a scalar tensor out."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Adversarial = Literal["vanilla", "lsgan"]
Pixelwise = Literal["l1", "l2"]


def adversarial(logits: Tensor, real: bool, kind: Adversarial) -> Tensor:
    """How far a discriminator's logits are from saying "real" (or "fake"), per patch, then averaged.

    vanilla: binary cross-entropy on logits (Goodfellow et al. 2014; for the generator its non-saturating form, ask
    with `real=True`). lsgan: squared distance to 1 or 0 (Mao et al. 2017).

    >>> round(adversarial(torch.zeros(1, 1, 2, 2), real=True, kind="vanilla").item(), 4)  # ln 2: undecided
    0.6931
    """
    target = torch.ones_like(logits) if real else torch.zeros_like(logits)
    if kind == "vanilla":
        return F.binary_cross_entropy_with_logits(logits, target)
    return F.mse_loss(logits, target)


def pixelwise(output: Tensor, target: Tensor, kind: Pixelwise) -> Tensor:
    """Mean absolute (l1) or mean squared (l2) difference of pictures in [-1, 1].

    >>> pixelwise(torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2), "l1").item()
    1.0
    """
    return F.l1_loss(output, target) if kind == "l1" else F.mse_loss(output, target)
