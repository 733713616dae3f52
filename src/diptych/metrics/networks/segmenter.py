"""A small fully convolutional network for semantic segmentation."""

import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (16, 32, 64, 128)


class Segmenter(nn.Module):
    """Per-pixel classifier: four downsampling and four upsampling steps with additive skip connections.

    The skips follow Long et al. 2015, "Fully Convolutional Networks for Semantic Segmentation", section 4.2. Most of the
    work is done at low resolution, so that it trains in minutes on a CPU; the last step gives the logits of four pixels at
    once (pixel shuffle). In eval mode the result for an image does not depend on the rest of its batch.

    >>> import torch
    >>> Segmenter(3, classes=8).eval()(torch.zeros(2, 3, 32, 48)).shape
    torch.Size([2, 8, 32, 48])
    """

    def __init__(self, channels: int, *, classes: int) -> None:
        super().__init__()
        self.down = nn.ModuleList()
        for number, (before, after) in enumerate(zip((channels, *WIDTHS), WIDTHS, strict=False)):
            second = _convolution(after, after) if number else nn.Identity()  # none at the highest resolution
            self.down.append(nn.Sequential(_convolution(before, after, stride=2), second))
        self.up, self.across = nn.ModuleList(), nn.ModuleList()
        for before, after in zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True):
            self.up.append(_convolution(before, after))
            self.across.append(nn.Conv2d(after, after, kernel_size=1))
        last = nn.Conv2d(WIDTHS[0], 4 * classes, kernel_size=1)
        self.logits = nn.Sequential(_convolution(WIDTHS[0], WIDTHS[0]), last, nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, channels, H, W]` in [-1, 1] -> logits `[B, classes, H, W]`, for any size of 16 pixels and up."""
        height, width = x.shape[-2:]
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = skips.pop()
        for up, across in zip(self.up, self.across, strict=True):
            skip = skips.pop()
            x = F.interpolate(up(x), size=skip.shape[-2:], mode="nearest") + across(skip)
        logits: Tensor = self.logits(x)
        return logits[..., :height, :width]


def _convolution(before: int, after: int, stride: int = 1) -> nn.Module:
    convolution = nn.Conv2d(before, after, kernel_size=3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())
