"""The U-Net generator of pix2pix (Isola et al. 2017, sections 3.2 and 6.1.1)."""

import torch
from torch import Tensor, nn

from diptych.networks.layers import ImageNetwork, Norm, Upsampling, needs_bias, normalisation, upsample

SIZES = (16, 32, 64, 128, 256, 512)


class UNet(ImageNetwork):
    """An encoder down to 1 x 1 and a decoder, with skip connections between steps of the same size.

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
    ) -> None:
        super().__init__()
        assert size in SIZES
        self.stride = size
        steps = size.bit_length() - 1  # 256 = 2^8: eight halvings end at 1 x 1
        widths = [width * min(2**i, 8) for i in range(steps)]
        bias = needs_bias(norm)

        self.down = nn.ModuleList()
        for i, (before, after) in enumerate(zip([in_channels, *widths], widths, strict=False)):
            # no norm on the first step, nor on the last, where a 1 x 1 map has a deviation of 0
            norms = normalisation(norm, after) if 0 < i < steps - 1 else []
            activation = [nn.LeakyReLU(0.2)] if i > 0 else []
            conv = nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1, bias=bias)
            self.down.append(nn.Sequential(*activation, conv, *norms))

        self.up = nn.ModuleList()
        for i, (from_below, after) in enumerate(zip(widths[::-1], widths[-2::-1], strict=False)):
            before = from_below if i == 0 else 2 * from_below  # with the skip connection
            drop = [nn.Dropout(0.5)] if dropout and i < 3 else []
            self.up.append(
                nn.Sequential(nn.ReLU(), upsample(before, after, upsampling, bias), *normalisation(norm, after), *drop)
            )
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


def require_size(size: int) -> None:
    """Raises a `ValueError` with the nearest sizes if the U-Net cannot be built for this one."""
    if size not in SIZES:
        near = sorted(sorted(SIZES, key=lambda known: abs(known - size))[:2])
        raise ValueError(
            f"--size {size}: the U-Net halves a picture down to 1 x 1, so its size is a power of two from "
            f"{SIZES[0]} to {SIZES[-1]}; the nearest are {near[0]} and {near[1]}"
        )
