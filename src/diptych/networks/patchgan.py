"""The PatchGAN discriminator (Isola et al. 2017, sections 3.2.2 and 6.1.2): real or fake, patch by patch."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from diptych.images.size import Size
from diptych.networks.layers import Norm, needs_bias, normalisation

STRIDED_LAYERS = {16: 1, 70: 3, 286: 5}


class PatchGAN(nn.Module):
    """One logit per position, with a receptive field of `patch` x `patch` pixels.

    1: C64-C128 of 1x1 convolutions; 16: C64-C128; 70: C64-C128-C256-C512; 286: C64-C128-C256-C512-C512-C512.
    Shapes: `[B, in_channels, H, W]` -> `[B, 1, h, w]`, 30 x 30 for 256 px and a patch of 70.

    >>> PatchGAN(3, width=4)(torch.zeros(1, 3, 256, 256)).shape
    torch.Size([1, 1, 30, 30])
    """

    def __init__(self, in_channels: int, *, patch: int = 70, width: int = 64, norm: Norm = "batch") -> None:
        super().__init__()
        bias = needs_bias(norm)
        if patch == 1:
            self.layers = nn.Sequential(
                nn.Conv2d(in_channels, width, kernel_size=1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(width, 2 * width, kernel_size=1, bias=bias),
                *normalisation(norm, 2 * width),
                nn.LeakyReLU(0.2),
                nn.Conv2d(2 * width, 1, kernel_size=1),
            )
            return
        strided = STRIDED_LAYERS[patch]
        layers: list[nn.Module] = [nn.Conv2d(in_channels, width, kernel_size=4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        before = width
        for i in range(1, strided + 1):
            after = width * min(2**i, 8)
            stride = 2 if i < strided else 1
            layers += [
                nn.Conv2d(before, after, kernel_size=4, stride=stride, padding=1, bias=bias),
                *normalisation(norm, after),
                nn.LeakyReLU(0.2),
            ]
            before = after
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, 1, kernel_size=4, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, in_channels, H, W]` -> logits `[B, 1, h, w]`."""
        logits: Tensor = self.layers(x)
        return logits


def score_both(
    discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, *, norm: Norm
) -> tuple[Tensor, Tensor]:
    """The discriminator's logits for real and fake images `[B, C, H, W]`, in one pass if the norm allows it.

    Batch norm would mix the statistics of real and fake images; every other norm treats each image separately.
    """
    if norm == "batch":
        return discriminator(real), discriminator(fake)
    scores_real, scores_fake = discriminator(torch.cat([real, fake])).chunk(2)
    return scores_real, scores_fake


def smallest_picture(patch: int) -> int:
    """The smallest side of an image for at least 2 x 2 logits (a norm of one value is undefined).

    >>> smallest_picture(70)
    32
    """
    return 2 if patch == 1 else 2 ** (STRIDED_LAYERS[patch] + 2)


def require_size(patch: int, size: Size) -> None:
    """Raises a `ValueError` for images that are too small for a discriminator of this patch."""
    if min(size) < smallest_picture(patch):
        raise ValueError(
            f"--method.patch {patch}: a discriminator of that receptive field needs pictures of at least "
            f"{smallest_picture(patch)} pixels, --size is {size}; use a smaller patch or a larger size"
        )
