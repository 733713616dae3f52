"""Differentiable augmentation (Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training").

With a few hundred real images the discriminator overfits. Here all its inputs, real and generated, are augmented in the
same way; the gradient flows through the augmentation to the generator, which therefore does not learn to generate augmented
images. The policy is the paper's strongest, colour + translation + cutout (section 3.2), with its ranges. Images are
`[B, C, H, W]` in [-1, 1]; each has its own random parameters, drawn on its device.
"""

import torch
from torch import Tensor

TRANSLATION = 1 / 8  # of the side, at most
CUTOUT = 1 / 2  # of the side


def augment(images: Tensor, recolour: bool = True) -> Tensor:
    """Colour, translation and cutout, one after the other; the same shape. Label maps are not to be recoloured.

    >>> augment(torch.zeros(2, 3, 16, 16)).shape
    torch.Size([2, 3, 16, 16])
    """
    return cutout(translation(colour(images) if recolour else images))


def colour(images: Tensor) -> Tensor:
    """Brightness (an offset in [-0.5, 0.5]), saturation (times 0 to 2) and contrast (times 0.5 to 1.5)."""
    images = images + (_uniform(images) - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * (2 * _uniform(images))
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (images - mean) * (_uniform(images) + 0.5)


def translation(images: Tensor) -> Tensor:
    """A shift of up to an eighth of the side in both directions, padded with 0."""
    for dim in (2, 3):
        side = images.shape[dim]
        most = round(side * TRANSLATION)
        by = torch.randint(-most, most + 1, (len(images), 1), device=images.device)
        position = torch.arange(side, device=images.device) + by  # [B, side]
        outside = (position < 0) | (position >= side)
        shape = [len(images), 1, 1, 1]
        shape[dim] = side
        index = position.clamp(0, side - 1).view(shape).expand_as(images)
        images = images.gather(dim, index).masked_fill(outside.view(shape), 0.0)
    return images


def cutout(images: Tensor) -> Tensor:
    """Sets a square of half the side to 0, at a random position, possibly across the edge."""
    inside = []
    for dim in (2, 3):
        side = images.shape[dim]
        hole = round(side * CUTOUT)
        first = torch.randint(-(hole // 2), side - hole + hole // 2 + 1, (len(images), 1), device=images.device)
        position = torch.arange(side, device=images.device)
        inside.append((position >= first) & (position < first + hole))  # [B, side]
    rows, columns = inside
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def _uniform(images: Tensor) -> Tensor:
    """A random number in [0, 1) for each image, `[B, 1, 1, 1]`."""
    return torch.rand(len(images), 1, 1, 1, device=images.device, dtype=images.dtype)
