"""The completion network (Iizuka et al. 2017, table 1): 17 convolutions, four of them dilated, no skips."""

from typing import Literal

import torch
from torch import Tensor, nn

from diptych.networks.layers import initialise

Form = Literal["paper", "otenim"]
"""The paper's, or that of otenim/GLCIC-PyTorch, whose weights can be imported: ReLU before norm, pictures in [0, 1]."""
STRIDE = 4  # two strided convolutions, and two transposed ones back
RECEPTIVE_RADIUS = 153
"""Pixels: the receptive field is 299 or 303 wide, depending on the position; the paper counts 307."""


class CompletionNetwork(nn.Module):
    """Images and hole masks -> images.

    The content of a hole is never an input: it is replaced by the mean pixel of the training set, a buffer of the model, and
    the mask is a separate channel. In eval mode batch normalisation uses the statistics of the training, so that a filling
    depends on no pixel beyond `RECEPTIVE_RADIUS`.

    Shapes: `[B, channels, H, W]` and `[B, 1, H, W]` -> `[B, channels, H, W]` in [-1, 1], H and W multiples of 4.

    >>> C = CompletionNetwork(3, width=4)
    >>> C(torch.zeros(1, 3, 64, 48), torch.zeros(1, 1, 64, 48)).shape
    torch.Size([1, 3, 64, 48])
    """

    mean_pixel: Tensor

    def __init__(self, channels: int, *, width: int = 64, form: Form = "paper") -> None:
        super().__init__()
        self.form = form
        self.register_buffer("mean_pixel", torch.zeros(1, channels, 1, 1))
        n = width
        self.layers = nn.Sequential(
            *_convolution(form, channels + 1, n, kernel_size=5),
            *_convolution(form, n, 2 * n, stride=2),
            *_convolution(form, 2 * n, 2 * n),
            *_convolution(form, 2 * n, 4 * n, stride=2),
            *_convolution(form, 4 * n, 4 * n),
            *_convolution(form, 4 * n, 4 * n),
            *_convolution(form, 4 * n, 4 * n, dilation=2),
            *_convolution(form, 4 * n, 4 * n, dilation=4),
            *_convolution(form, 4 * n, 4 * n, dilation=8),
            *_convolution(form, 4 * n, 4 * n, dilation=16),
            *_convolution(form, 4 * n, 4 * n),
            *_convolution(form, 4 * n, 4 * n),
            *_doubled(form, 4 * n, 2 * n),
            *_convolution(form, 2 * n, 2 * n),
            *_doubled(form, 2 * n, n),
            *_convolution(form, n, n // 2),
            nn.Conv2d(n // 2, channels, kernel_size=3, padding=1),
            # The paper's sigmoid, for images in [-1, 1] instead of [0, 1]
            nn.Tanh() if form == "paper" else nn.Sigmoid(),
        )
        initialise(self)

    def fill(self, x: Tensor, mask: Tensor) -> Tensor:
        """The images `[B, C, H, W]` with the mean pixel in their holes `[B, 1, H, W]`."""
        return torch.where(mask > 0.5, self.mean_pixel.to(x), x)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`[B, C, H, W]` and `[B, 1, H, W]` -> the raw output `[B, C, H, W]`, also outside the holes."""
        filled = self.fill(x, mask)
        if self.form == "otenim":
            of_unit: Tensor = self.layers(torch.cat([(filled + 1) / 2, mask], dim=1))
            return of_unit * 2 - 1
        output: Tensor = self.layers(torch.cat([filled, mask], dim=1))
        return output


def _convolution(
    form: Form, channels: int, out: int, *, kernel_size: int = 3, stride: int = 1, dilation: int = 1
) -> tuple[nn.Module, ...]:
    padding = dilation * (kernel_size // 2)
    return (
        nn.Conv2d(channels, out, kernel_size, stride=stride, dilation=dilation, padding=padding),
        *_after(form, out),
    )


def _doubled(form: Form, channels: int, out: int) -> tuple[nn.Module, ...]:
    return (
        nn.ConvTranspose2d(channels, out, kernel_size=4, stride=2, padding=1),
        *_after(form, out),
    )


def _after(form: Form, channels: int) -> tuple[nn.Module, ...]:
    norm, activation = nn.BatchNorm2d(channels), nn.ReLU()
    return (norm, activation) if form == "paper" else (activation, norm)
