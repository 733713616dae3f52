"""The layers that several networks share: normalisation, upsampling, initialisation."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["batch", "instance", "affine-instance", "none"]
Upsampling = Literal["transposed", "resize"]


class ImageNetwork(nn.Module):
    """A generator: from images `[B, C, H, W]` to images of the same height and width."""

    stride: int
    """Heights and widths must be multiples of this."""

    @property
    def stages(self) -> Mapping[str, nn.Module]:
        """Consecutive parts of the network by name, from the input on; empty if it is not divided."""
        return {}


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that normalises each image by its own statistics in eval mode.

    pix2pix, section 3.4: "we apply batch normalization using the statistics of the test batch, rather than aggregated
    statistics of the training batch". Each image is its own test batch here, so that a translation does not depend on the
    rest of its batch.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` -> the same shape."""
        if self.training:
            return super().forward(x)
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


def normalisation(norm: Norm, channels: int) -> list[nn.Module]:
    """The normalisation layer in a list; empty for "none"."""
    if norm == "batch":
        return [BatchNorm(channels)]
    if norm == "instance":
        return [nn.InstanceNorm2d(channels)]
    if norm == "affine-instance":
        return [nn.InstanceNorm2d(channels, affine=True)]
    return []


def needs_bias(norm: Norm) -> bool:
    """Whether a convolution before the norm has a bias: it is redundant before a norm with a learnt shift."""
    return norm not in ("batch", "affine-instance")


def upsample(channels: int, out: int, upsampling: Upsampling, bias: bool, kernel_size: Literal[3, 4] = 4) -> nn.Module:
    """Twice the height and width: by a transposed convolution (4x4 or 3x3), or by nearest resize + 3x3 convolution.

    The second avoids checkerboard artifacts (Odena et al. 2016, "Deconvolution and Checkerboard Artifacts").
    """
    if upsampling == "transposed":
        extra = kernel_size % 2  # without it, a 3x3 kernel turns n into 2 n - 1
        return nn.ConvTranspose2d(channels, out, kernel_size, stride=2, padding=1, output_padding=extra, bias=bias)
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Conv2d(channels, out, kernel_size=3, padding=1, bias=bias),
    )


def initialise(network: nn.Module) -> None:
    """Convolution weights from N(0, 0.02), scales of norms from N(1, 0.02), biases 0 (pix2pix, section 6.2)."""
    # The meta device has no values to initialise, and torch would import its compiler: two seconds
    if next(network.parameters()).is_meta:
        return
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d) and layer.affine:
            nn.init.normal_(layer.weight, 1.0, 0.02)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


class Embedding(nn.Embedding):
    """A learnt vector for each class; not initialised on the meta device, see `initialise`."""

    def reset_parameters(self) -> None:
        """Weights from N(0, 1)."""
        if not self.weight.is_meta:
            super().reset_parameters()


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Inside, gradients flow through the networks to their inputs, but not to their weights."""
    parameters = [p for network in networks for p in network.parameters()]
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)
