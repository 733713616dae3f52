"""A generator as junyanz/pytorch-CycleGAN-and-pix2pix saves it, by its names: `latest_net_G.pth`.

The one place where something is pickled: that program reads nothing else. It holds tensors alone.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from diptych.model import Model, load
from diptych.networks.resnet import ResNet
from diptych.networks.unet import UNet
from diptych.peers import import_weights, junyanz
from diptych.peers.junyanz import Layer
from diptych.peers.weights import Weights

EQUAL = 1e-5  # largest difference of outputs in [-1, 1]


def write(model: Model, file: Path) -> float:
    """Writes the generator, reads it back, and returns the largest difference of its output; a `ValueError` for others."""
    network = model.translator.network
    state = _state(network, _layers(model, network))
    if isinstance(network, ResNet) and model.config.settings.get("upsampling") == "antialiased":
        state |= junyanz.blurs(_blocks(network), len(state["model.1.weight"]))
    torch.save(state, file)
    size = model.config.shape.size
    spec = model.x_spec
    channels = 1 if model.config.method == "colorize" else spec.channels
    x = torch.rand(1, channels, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    statistics = model.config.settings.get("statistics", "picture")
    with TemporaryDirectory() as folder, torch.inference_mode():
        import_weights([file], out=Path(folder, "model"), statistics=statistics)
        back = load(Path(folder, "model"), device="cpu").translator.network
        return float((back(x) - network(x)).abs().max())


def _layers(model: Model, network: nn.Module) -> list[Layer]:
    settings, method = model.config.settings, model.config.method
    if settings.get("upsampling") == "resize" or settings.get("norm") not in ("batch", "instance"):
        raise ValueError(
            f"--format junyanz: that program has batch and instance norm and transposed convolutions, and this {method} "
            f"has {settings.get('norm')} and {settings.get('upsampling')}"
        )
    if isinstance(network, UNet):
        return junyanz.unet_layers(len(network.down))
    if isinstance(network, ResNet):
        dropout = any(isinstance(layer, nn.Dropout) for layer in network.modules())
        return junyanz.resnet_layers(_blocks(network), dropout, settings.get("upsampling") == "antialiased")
    raise ValueError(f"--format junyanz: that program has no network of {method}; its own are U-Nets and ResNets")


def _blocks(network: ResNet) -> int:
    return sum(name.startswith("block") for name in network.stages)


def _state(network: nn.Module, layers: list[Layer]) -> Weights:
    """The weights by their names; statistics that ours does not keep are those of a new batch norm, which nothing uses."""
    state = junyanz.named(network, layers)
    for layer in layers:
        weight = state.get(f"{layer.name}.weight")
        if layer.kind == "norm" and weight is not None:
            state.setdefault(f"{layer.name}.running_mean", torch.zeros_like(weight))
            state.setdefault(f"{layer.name}.running_var", torch.ones_like(weight))
            state.setdefault(f"{layer.name}.num_batches_tracked", torch.zeros((), dtype=torch.long))
    return state
