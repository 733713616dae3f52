"""The residual generator (Johnson et al. 2016) as CycleGAN builds it (Zhu et al. 2017, section 4 and appendix 7.2)."""

from itertools import accumulate

from torch import Tensor, nn

from diptych.images.size import Size
from diptych.kinds import Statistics
from diptych.networks.layers import ImageNetwork, Norm, Upsampling, blurred_half, needs_bias, normalisation, upsample

STRIDE = 8  # two halvings, then at least 2 x 2 pixels, as reflection padding by one pixel needs


class ResNet(ImageNetwork):
    """c7s1-64, d128, d256, `blocks` times R256, u128, u64, c7s1-3, for `width` 64; reflection padding everywhere.

    With antialiased `upsampling`, as the authors' code of CUT has it, halving is blurred too.

    Shapes: `[B, in_channels, H, W]` in [-1, 1] -> `[B, out_channels, H, W]` in [-1, 1]; H and W are multiples of 8. The
    layers do not depend on `size`, the training size, an argument of every generator.

    >>> import torch
    >>> ResNet(3, 1, blocks=1, width=4)(torch.zeros(1, 3, 16, 24)).shape
    torch.Size([1, 1, 16, 24])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        size: tuple[int, int] = (256, 256),
        blocks: int = 9,
        width: int = 64,
        norm: Norm = "instance",
        upsampling: Upsampling = "transposed",
        dropout: bool = False,
        statistics: Statistics = "picture",
    ) -> None:
        super().__init__()
        bias = needs_bias(norm)

        def block(layer: nn.Module, channels: int) -> list[nn.Module]:
            return [layer, *normalisation(norm, channels, statistics), nn.ReLU()]

        def down(channels: int) -> list[nn.Module]:
            stride, blur = (1, [blurred_half()]) if upsampling == "antialiased" else (2, [])
            conv = nn.Conv2d(channels, 2 * channels, kernel_size=3, stride=stride, padding=1, bias=bias)
            return [*block(conv, 2 * channels), *blur]

        def up(channels: int) -> nn.Module:
            return upsample(channels, channels // 2, upsampling, bias, kernel_size=3)

        first = nn.Conv2d(in_channels, width, kernel_size=7, padding=3, padding_mode="reflect", bias=bias)
        last = nn.Conv2d(width, out_channels, kernel_size=7, padding=3, padding_mode="reflect")
        stages: dict[str, list[nn.Module]] = {
            "stem": block(first, width),
            "down1": down(width),
            "down2": down(2 * width),
            **{f"block{i}": [ResidualBlock(4 * width, norm, dropout, statistics)] for i in range(1, blocks + 1)},
            "up1": block(up(4 * width), 2 * width),
            "up2": block(up(2 * width), width),
            "out": [last, nn.Tanh()],
        }
        self.layers = nn.Sequential(*(layer for layers in stages.values() for layer in layers))
        self.stage_lengths = {name: len(layers) for name, layers in stages.items()}
        self.stride = STRIDE

    @property
    def stages(self) -> dict[str, nn.Module]:
        """Consecutive parts of the network by name, with shared weights."""
        starts = accumulate(self.stage_lengths.values(), initial=0)
        return {
            name: nn.Sequential(*list(self.layers)[start : start + length])
            for (name, length), start in zip(self.stage_lengths.items(), starts, strict=False)
        }

    def forward(self, x: Tensor) -> Tensor:
        """`[B, in_channels, H, W]` -> `[B, out_channels, H, W]`."""
        y: Tensor = self.layers(x)
        return y


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a skip connection; no ReLU after the sum (Gross and Wilber 2016)."""

    def __init__(self, channels: int, norm: Norm, dropout: bool, statistics: Statistics) -> None:
        super().__init__()

        def conv() -> nn.Module:
            return nn.Conv2d(
                channels, channels, kernel_size=3, padding=1, padding_mode="reflect", bias=needs_bias(norm)
            )

        self.layers = nn.Sequential(
            conv(),
            *normalisation(norm, channels, statistics),
            nn.ReLU(),
            *([nn.Dropout(0.5)] if dropout else []),
            conv(),
            *normalisation(norm, channels, statistics),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[B, channels, H, W]` -> the same shape."""
        y: Tensor = x + self.layers(x)
        return y


def require_size(size: Size) -> None:
    """Raises a `ValueError` with the nearest size if the residual generator does not accept this one."""
    nearest = Size(*(max(round(side / STRIDE), 1) * STRIDE for side in size))
    if size != nearest:
        raise ValueError(f"--size {size}: the residual generator takes multiples of {STRIDE}; the nearest is {nearest}")
