"""The context discriminators (Iizuka et al. 2017, table 2): a global one, and a local one for the window around the hole."""

import math

import torch
from torch import Tensor, nn

from diptych.networks.layers import BatchNorm, initialise

SMALLEST = 16


class ContextDiscriminator(nn.Module):
    """One logit for an image `[B, channels, H, W]` of one `size` and its window `[B, channels, window, window]`.

    Each passes 5x5 convolutions of stride 2, until its shorter side has about 4 pixels, and a linear layer to 1024 features
    (for a width of 64); the features of both are concatenated for one logit. Six convolutions for 256 px and five for 128,
    as in the paper.

    >>> D = ContextDiscriminator(3, size=(64, 96), window=32, width=4)
    >>> D(torch.zeros(2, 3, 64, 96), torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 1])
    """

    def __init__(self, channels: int, *, size: tuple[int, int], window: int, width: int = 64) -> None:
        super().__init__()
        features = 16 * width
        self.whole = _encoder(channels, size, width, features)
        self.local = _encoder(channels, (window, window), width, features)
        self.together = nn.Linear(2 * features, 1)
        initialise(self)

    def forward(self, x: Tensor, window: Tensor) -> Tensor:
        """`[B, C, H, W]` and `[B, C, window, window]` -> logits `[B, 1]`."""
        logits: Tensor = self.together(torch.cat([self.whole(x), self.local(window)], dim=1))
        return logits


def _encoder(channels: int, size: tuple[int, int], width: int, features: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    before, halvings = channels, round(math.log2(min(size) / 4))
    for i in range(halvings):
        after = width * min(2**i, 8)
        layers += [nn.Conv2d(before, after, kernel_size=5, stride=2, padding=2), BatchNorm(after), nn.ReLU()]
        before = after
    pixels = math.prod(-(-side // 2**halvings) for side in size)  # of the last map
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * pixels, features), nn.ReLU())
