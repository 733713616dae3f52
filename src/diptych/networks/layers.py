"""The layers that several networks share: normalisation, upsampling, initialisation."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from diptych.kinds import Statistics

Norm = Literal["batch", "instance", "affine-instance", "none"]
Upsampling = Literal["transposed", "resize", "antialiased"]


class ImageNetwork(nn.Module):
    """A generator: from images `[B, C, H, W]` to images of the same height and width."""

    stride: int
    """Heights and widths must be multiples of this."""

    @property
    def stages(self) -> Mapping[str, nn.Module]:
        """Consecutive parts of the network by name, from the input on; empty if it is not divided."""
        return {}


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that in eval mode normalises each image by its own statistics, or by those of training images.

    "picture": pix2pix, section 3.4, "we apply batch normalization using the statistics of the test batch, rather than
    aggregated statistics of the training batch". Each image is its own test batch here, so that a translation does not
    depend on the rest of its batch. "running": the average over batches of training images, measured with the weights that
    are deployed, by `measured_statistics` (Ioffe and Szegedy 2015, algorithm 2). An average that follows the weights while
    they learn, as torch's, does not fit the moving average of the weights.
    """

    def __init__(self, channels: int, statistics: Statistics = "picture") -> None:
        super().__init__(channels, track_running_stats=False)
        self.measured: list[tuple[Tensor, Tensor]] | None = None
        """Variance and mean of each batch, while they are measured."""
        if statistics == "running":
            self.register_buffer("running_mean", torch.zeros(channels))
            self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` -> the same shape."""
        if self.measured is not None:
            self.measured.append(torch.var_mean(x, dim=(0, 2, 3)))
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
        if self.training or self.running_mean is not None:
            return super().forward(x)
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


def has_statistics(network: nn.Module) -> bool:
    """Whether a network has batch norms with the statistics of training images."""
    return any(isinstance(layer, BatchNorm) and layer.running_mean is not None for layer in network.modules())


@contextmanager
def measured_statistics(network: nn.Module) -> Iterator[None]:
    """The batches that go through the network inside give its batch norms the averages of their means and variances."""
    layers = [layer for layer in network.modules() if isinstance(layer, BatchNorm) and layer.running_mean is not None]
    for layer in layers:
        layer.measured = []
    try:
        yield
        for layer in layers:
            assert layer.measured
            assert layer.running_mean is not None
            assert layer.running_var is not None
            variances, means = zip(*layer.measured, strict=True)
            layer.running_var.copy_(torch.stack(variances).mean(0))
            layer.running_mean.copy_(torch.stack(means).mean(0))
    finally:
        for layer in layers:
            layer.measured = None


def normalisation(norm: Norm, channels: int, statistics: Statistics = "picture") -> list[nn.Module]:
    """The normalisation layer in a list; empty for "none"."""
    if norm == "batch":
        return [BatchNorm(channels, statistics)]
    if norm == "instance":
        return [nn.InstanceNorm2d(channels)]
    if norm == "affine-instance":
        return [nn.InstanceNorm2d(channels, affine=True)]
    return []


def needs_bias(norm: Norm) -> bool:
    """Whether a convolution before the norm has a bias: it is redundant before a norm with a learnt shift."""
    return norm not in ("batch", "affine-instance")


def upsample(channels: int, out: int, upsampling: Upsampling, bias: bool, kernel_size: Literal[3, 4] = 4) -> nn.Module:
    """Twice the height and width: by a transposed convolution (4x4 or 3x3), or by a resize and a 3x3 convolution.

    A resize avoids checkerboard artifacts (Odena et al. 2016, "Deconvolution and Checkerboard Artifacts"): to the nearest
    pixel, or, for "antialiased", bilinear, which is CUT's transposed convolution with the fixed filter [1, 3, 3, 1] / 4.
    """
    if upsampling == "transposed":
        extra = kernel_size % 2  # without it, a 3x3 kernel turns n into 2 n - 1
        return nn.ConvTranspose2d(channels, out, kernel_size, stride=2, padding=1, output_padding=extra, bias=bias)
    mode = "nearest" if upsampling == "resize" else "bilinear"
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode=mode),
        nn.Conv2d(channels, out, kernel_size=3, padding=1, bias=bias),
    )


def blurred_half() -> nn.Sequential:
    """Half the height and width, blurred before by [1, 2, 1] / 4 both ways: two averages of neighbours are that filter.

    Zhang 2019, "Making Convolutional Networks Shift-Invariant Again", section 3.

    >>> blurred_half()(torch.tensor([[[[0.0, 4, 0, 0], [0, 4, 0, 0]]]]))
    tensor([[[[2., 1.]]]])
    """
    return nn.Sequential(nn.ReflectionPad2d(1), nn.AvgPool2d(2, stride=1), nn.AvgPool2d(2, stride=2))


InitType = Literal["normal", "xavier", "kaiming", "orthogonal"]
GAIN = 0.02  # of weights that are not normal, as the code of pix2pix and CycleGAN has it


def initialise(network: nn.Module, kind: InitType = "normal") -> None:
    """Convolution weights from N(0, 0.02), scales of norms from N(1, 0.02), biases 0 (pix2pix, section 6.2).

    Other kinds: Glorot and Bengio 2010 (xavier), He et al. 2015 (kaiming), or orthogonal (Saxe et al. 2014).
    """
    # The meta device has no values to initialise, and torch would import its compiler: two seconds
    if next(network.parameters()).is_meta:
        return
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            if kind == "normal":
                nn.init.normal_(layer.weight, 0.0, 0.02)
            elif kind == "xavier":
                nn.init.xavier_normal_(layer.weight, GAIN)
            elif kind == "kaiming":
                nn.init.kaiming_normal_(layer.weight)
            else:
                nn.init.orthogonal_(layer.weight, GAIN)
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


def normalise_spectrum(network: nn.Module) -> None:
    """Divides each convolution's weight by its largest singular value (Miyato et al. 2018, sections 2.1 and 2.2).

    Not on the meta device, where the first estimate of its vectors would import torch's compiler, as in `initialise`.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and not layer.weight.is_meta:
            spectral_norm(layer)


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
