"""The completion network of otenim/GLCIC-PyTorch, by the names of its weights."""

from collections.abc import Sequence

import torch
from torch import nn

from diptych.networks.completion import CompletionNetwork
from diptych.peers.weights import Weights

PROGRAM = "otenim/GLCIC-PyTorch"
CONVOLUTIONS = (*(f"conv{i}" for i in range(1, 13)), "deconv13", "conv14", "deconv15", "conv16", "conv17")


def is_completion(weights: Weights) -> bool:
    """Whether these are the weights of its completion network."""
    return {"conv1.weight", "bn1.weight", "deconv13.weight"} <= weights.keys()


def load_into(network: CompletionNetwork, weights: Weights, mean_pixel: Sequence[float]) -> None:
    """Gives our network their weights, and the mean pixel, in [0, 1]; a `ValueError` names what does not fit."""
    convolutions = [layer for layer in network.layers if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    norms = [layer for layer in network.layers if isinstance(layer, nn.BatchNorm2d)]
    named = [*CONVOLUTIONS, *(f"bn{number}" for number in range(1, len(norms) + 1))]
    for name, layer in zip(named, [*convolutions, *norms], strict=True):
        for key, value in layer.state_dict().items():
            theirs = weights.get(f"{name}.{key}")
            if theirs is None or theirs.shape != value.shape:
                found = "missing" if theirs is None else f"of the shape {list(theirs.shape)}"
                raise ValueError(f"{name}.{key} is {found}, and {list(value.shape)} is expected")
            value.copy_(theirs)
    network.mean_pixel.copy_(torch.tensor(mean_pixel).view(1, -1, 1, 1) * 2 - 1)
