"""The U-Net generator of pix2pix (Isola et al. 2017, sections 3.2 and 6.1.1)."""

from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from diptych.images.size import Size
from diptych.kinds import Statistics
from diptych.networks.layers import ImageNetwork, Norm, Upsampling, needs_bias, normalisation, upsample

STRIDES = (512, 256, 128, 64, 32, 16)
INNERMOST = 3
"""The most pixels that the shorter side may have on the innermost map. One of them sees about 3 strides of the picture, and
so all of that side."""


class UNet(ImageNetwork):
    """An encoder down to 1 x 1 for a picture of `size` x `size`, and a decoder; steps of the same size are connected.

    The encoder is C64-C128-C256-C512-...-C512, the decoder CD512-CD512-CD512-C512-...-C256-C128-C64 (D: dropout of one
    half), for `width` 64. At 256 px that is 8 steps each way. Shapes: `[B, in_channels, H, W]` in [-1, 1] ->
    `[B, out_channels, H, W]` in [-1, 1]; H and W are multiples of `size`.

    >>> UNet(3, 1, size=32, width=4)(torch.zeros(1, 3, 32, 64)).shape
    torch.Size([1, 1, 32, 64])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        size: int = 256,
        width: int = 64,
        norm: Norm = "batch",
        upsampling: Upsampling = "transposed",
        dropout: bool = True,
        statistics: Statistics = "picture",
    ) -> None:
        super().__init__()
        assert size in STRIDES
        if upsampling == "antialiased":
            raise ValueError("--method.upsampling antialiased: is for residual generators; the U-Net takes resize")
        self.stride = size
        steps = size.bit_length() - 1  # 256 = 2^8: eight halvings end at 1 x 1
        widths = [width * min(2**i, 8) for i in range(steps)]
        bias = needs_bias(norm)

        self.down = nn.ModuleList()
        for i, (before, after) in enumerate(zip([in_channels, *widths], widths, strict=False)):
            # no norm on the first step, nor on the last, where a 1 x 1 map has a deviation of 0
            norms = normalisation(norm, after, statistics) if 0 < i < steps - 1 else []
            activation = [nn.LeakyReLU(0.2)] if i > 0 else []
            conv = nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1, bias=bias)
            self.down.append(nn.Sequential(*activation, conv, *norms))

        self.up = nn.ModuleList()
        for i, (from_below, after) in enumerate(zip(widths[::-1], widths[-2::-1], strict=False)):
            before = from_below if i == 0 else 2 * from_below  # with the skip connection
            drop = [nn.Dropout(0.5)] if dropout and i < 3 else []
            norms = normalisation(norm, after, statistics)
            self.up.append(nn.Sequential(nn.ReLU(), upsample(before, after, upsampling, bias), *norms, *drop))
        self.out = nn.Sequential(nn.ReLU(), upsample(2 * width, out_channels, upsampling, bias=True), nn.Tanh())

    @property
    def stages(self) -> dict[str, nn.Module]:
        """The encoder steps by name; the decoder is no chain, because of its skip connections."""
        return {f"down{i}": down for i, down in enumerate(self.down, start=1)}

    def forward(self, x: Tensor) -> Tensor:
        """`[B, in_channels, H, W]` -> `[B, out_channels, H, W]`."""
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = self.up[0](skips.pop())
        for up in self.up[1:]:
            x = up(torch.cat([skips.pop(), x], dim=1))
        y: Tensor = self.out(torch.cat([skips.pop(), x], dim=1))
        return y


def build(in_channels: int, out_channels: int, *, size: Size, **settings: Any) -> UNet:
    """The U-Net for pictures of a size; `settings` are those of `UNet`."""
    return UNet(in_channels, out_channels, size=stride_for(size), **settings)


def stride_for(size: Size) -> int:
    """The largest power of two that divides both sides: so many pixels become one on the innermost map.

    0 for a size that the U-Net does not take, where so few halvings are possible that the innermost map is too large.

    >>> stride_for(Size(256, 256)), stride_for(Size(256, 512)), stride_for(Size(384, 512)), stride_for(Size(375, 500))
    (256, 256, 128, 0)
    """
    stride = next((stride for stride in STRIDES if not any(side % stride for side in size)), 0)
    return stride if min(size) <= INNERMOST * stride else 0


def require_size(size: Size) -> None:
    """Raises a `ValueError` with the nearest sizes if the U-Net cannot be built for this one."""
    if not stride_for(size):
        first, second = _nearest(size)
        raise ValueError(
            f"--size {size}: the U-Net halves both sides until the shorter one is {INNERMOST} pixels or less; the nearest "
            f"sizes for which that can be done are {first} and {second}"
        )


def _nearest(size: Size) -> list[Size]:
    """The two sizes nearest to this one that the U-Net takes; squares for a square."""
    shorter, longer = sorted(size)
    taken = set()
    for stride, pixels in product(STRIDES, range(1, INNERMOST + 1)):
        others = pixels if shorter == longer else max(round(longer / stride), pixels)
        taken.add((pixels * stride, others * stride))
    near = sorted(taken, key=lambda sides: abs(sides[0] - shorter) + abs(sides[1] - longer))[:2]
    return sorted(Size(*(sides if size.height == shorter else sides[::-1])) for sides in near)
