"""Weights that take less room in a file. What is computed with them stays float32."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from diptych.graph import Weights


class Half(nn.Module):
    """Weights that are stored as float16."""

    def right_inverse(self, weight: Tensor) -> tuple[Tensor]:
        """What is stored."""
        return (weight.half(),)

    def forward(self, stored: Tensor) -> Tensor:
        """The weights."""
        return stored.float()


class Int8(nn.Module):
    """Weights that are stored as whole numbers from -127 to 127 and one scale for each output channel.

    >>> int8 = Int8(channels=0)
    >>> int8(*int8.right_inverse(torch.tensor([[1.0, -0.5], [0.0, 0.0]]))).tolist()
    [[1.0, -0.5039370059967041], [0.0, 0.0]]
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """What is stored."""
        others = [axis for axis in range(weight.ndim) if axis != self.channels]
        scale = weight.abs().amax(dim=others, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny) / 127
        return (weight / scale).round().to(torch.int8), scale

    def forward(self, stored: Tensor, scale: Tensor) -> Tensor:
        """The weights."""
        return stored.float() * scale


def compact(network: nn.Module, weights: Weights) -> None:
    """Rounds the weights of all convolutions and linear layers, in place: the network computes with the rounded ones.

    Biases and norms stay as they are; they take hardly any room.
    """
    if weights == "fp32":
        return
    network.requires_grad_(False)
    for layer in list(network.modules()):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            channels = 1 if isinstance(layer, nn.ConvTranspose2d) else 0  # the axis of the output channels
            form = Half() if weights == "fp16" else Int8(channels)
            parametrize.register_parametrization(layer, "weight", form, unsafe=True)  # another dtype than the weights'
