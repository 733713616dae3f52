"""Network architectures. They know tensor shapes, and nothing about data, losses or training.

A generator or discriminator that users can choose by name is one line in a registry here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from torch import nn

from diptych.images.size import Size
from diptych.networks import patchgan, resnet, unet
from diptych.networks.layers import ImageNetwork
from diptych.networks.patchgan import PatchGAN
from diptych.networks.resnet import ResNet

Network = TypeVar("Network", bound=nn.Module, covariant=True)


@dataclass(frozen=True)
class Architecture(Generic[Network]):
    """A network that settings can choose by name."""

    build: Callable[..., Network]
    """Generators: `(in_channels, out_channels, *, size, width, norm, upsampling, dropout)`; the height and width of inputs
    are multiples of their `stride`. Discriminators: `(in_channels, *, width, norm)`."""
    require_size: Callable[[Size], None]
    """Raises a `ValueError` with a remedy for a training size that the network does not accept."""


GENERATORS: dict[str, Architecture[ImageNetwork]] = {
    "unet": Architecture(unet.build, unet.require_size),
    "resnet6": Architecture(partial(ResNet, blocks=6), resnet.require_size),
    "resnet9": Architecture(partial(ResNet, blocks=9), resnet.require_size),
}
DISCRIMINATORS: dict[int, Architecture[nn.Module]] = {
    patch: Architecture(partial(PatchGAN, patch=patch), partial(patchgan.require_size, patch))
    for patch in (1, *patchgan.STRIDED_LAYERS)
}
"""PatchGANs by their receptive field in pixels."""
