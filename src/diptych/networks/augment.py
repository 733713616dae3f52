"""Differentiable augmentation (Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training").

A discriminator that sees a few hundred real pictures learns them by heart. Here everything that it sees, real and
generated, is augmented alike; the gradient goes through the augmentation to the generator, which never learns to make
augmented pictures. The policy is the paper's strongest, colour + translation + cutout (section 3.2), with its
ranges. Pictures are `[B, C, H, W]` in [-1, 1]; each draws for itself, on its device.
"""

import torch
from torch import Tensor

TRANSLATION = 1 / 8  # of the side, at most
CUTOUT = 1 / 2  # of the side


def augment(pictures: Tensor) -> Tensor:
    """Colour, translation and cutout, one after the other; the same shape.

    >>> augment(torch.zeros(2, 3, 16, 16)).shape
    torch.Size([2, 3, 16, 16])
    """
    return cutout(translation(colour(pictures)))


def colour(pictures: Tensor) -> Tensor:
    """Brightness (an offset in [-0.5, 0.5]), saturation (times 0 to 2) and contrast (times 0.5 to 1.5)."""
    pictures = pictures + (_uniform(pictures) - 0.5)
    grey = pictures.mean(dim=1, keepdim=True)
    pictures = grey + (pictures - grey) * (2 * _uniform(pictures))
    mean = pictures.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (pictures - mean) * (_uniform(pictures) + 0.5)


def translation(pictures: Tensor) -> Tensor:
    """Moved by up to an eighth of the side in both directions; what comes in from outside is 0."""
    for dim in (2, 3):
        side = pictures.shape[dim]
        most = round(side * TRANSLATION)
        by = torch.randint(-most, most + 1, (len(pictures), 1), device=pictures.device)
        position = torch.arange(side, device=pictures.device) + by  # [B, side]
        outside = (position < 0) | (position >= side)
        shape = [len(pictures), 1, 1, 1]
        shape[dim] = side
        index = position.clamp(0, side - 1).view(shape).expand_as(pictures)
        pictures = pictures.gather(dim, index).masked_fill(outside.view(shape), 0.0)
    return pictures


def cutout(pictures: Tensor) -> Tensor:
    """A square of half the side, anywhere, also over the edge, is 0."""
    inside = []
    for dim in (2, 3):
        side = pictures.shape[dim]
        hole = round(side * CUTOUT)
        first = torch.randint(-(hole // 2), side - hole + hole // 2 + 1, (len(pictures), 1), device=pictures.device)
        position = torch.arange(side, device=pictures.device)
        inside.append((position >= first) & (position < first + hole))  # [B, side]
    rows, columns = inside
    return pictures.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def _uniform(pictures: Tensor) -> Tensor:
    """A number in [0, 1) for each picture, `[B, 1, 1, 1]`."""
    return torch.rand(len(pictures), 1, 1, 1, device=pictures.device, dtype=pictures.dtype)
