"""Networks as junyanz/pytorch-CycleGAN-and-pix2pix names their weights, from 2017 to today.

Its modules have the same order as ours, so the names of the layers are all that is needed, and one list of names serves both
import and export.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from diptych.networks.layers import Norm
from diptych.peers.weights import Weights
from diptych.wording import brief

PROGRAM = "junyanz/pytorch-CycleGAN-and-pix2pix"
BLOCKS = (6, 9)  # of the residual generators
STRIDED_OF_PATCH = {16: 1, 70: 3, 286: 5}
STATISTICS = ("running_mean", "running_var")


class Layer(NamedTuple):
    """A convolution or a norm, by the name of its module there."""

    kind: Literal["convolution", "norm"]
    name: str


class Generator(NamedTuple):
    """What the weights say of a generator."""

    settings: dict[str, Any]
    """Those of the method."""
    size: int
    """The training size, as far as it follows from the network: that of a U-Net is the power of two that it ends at."""
    in_channels: int
    out_channels: int
    layers: list[Layer]


class Discriminator(NamedTuple):
    """What the weights say of a discriminator."""

    settings: dict[str, Any]
    in_channels: int
    layers: list[Layer]


# ---- the names of its layers, in order


def unet_layers(steps: int) -> list[Layer]:
    """The layers of a U-Net: each step down holds the next one, so that the ones up follow from the inside out."""
    down, up = list[Layer](), list[Layer]()
    sequence = "model.model"
    for step in range(steps):
        outermost, innermost = step == 0, step == steps - 1
        first = 0 if outermost else 1
        down.append(Layer("convolution", f"{sequence}.{first}"))
        if not (outermost or innermost):
            down.append(Layer("norm", f"{sequence}.{first + 1}"))
        last = 5 if not (outermost or innermost) else 3
        if not outermost:
            up.append(Layer("norm", f"{sequence}.{last + 1}"))
        up.append(Layer("convolution", f"{sequence}.{last}"))
        sequence += ".1.model" if outermost else ".3.model"
    return [*down, *reversed(up)]


def resnet_layers(blocks: int, dropout: bool, antialiased: bool = False) -> list[Layer]:
    """The layers of a residual generator; its activations, paddings and blurs are modules too, and are counted."""

    def pair(index: int) -> list[Layer]:
        return [Layer("convolution", f"model.{index}"), Layer("norm", f"model.{index + 1}")]

    blur = int(antialiased)
    first = 10 + 2 * blur
    after = first + blocks
    second = 6 if dropout else 5
    return [
        *chain.from_iterable(pair(index) for index in (1, 4, 7 + blur)),
        *(
            layer
            for block in range(first, after)
            for index in (1, second)
            for layer in (
                Layer("convolution", f"model.{block}.conv_block.{index}"),
                Layer("norm", f"model.{block}.conv_block.{index + 1}"),
            )
        ),
        *chain.from_iterable(pair(index) for index in (after + blur, after + 3 + 2 * blur)),
        Layer("convolution", f"model.{after + 7 + 2 * blur}"),
    ]


def blurs(blocks: int, width: int) -> Weights:
    """The fixed filters of CUT's antialiased residual generator, which its program saves among the weights."""
    down, up = torch.tensor([1.0, 2, 1]) / 4, torch.tensor([1.0, 3, 3, 1]) / 4
    places = {7: (down, 2), 11: (down, 4), 12 + blocks: (up, 4), 16 + blocks: (up, 2)}
    return {
        f"model.{index}.filt": line.outer(line).expand(width * times, 1, -1, -1).clone()
        for index, (line, times) in places.items()
    }


def patch_layers(strided: int) -> list[Layer]:
    """The layers of a PatchGAN with so many strided layers after the first."""
    between = [
        layer
        for index in range(2, 2 + 3 * strided, 3)
        for layer in (Layer("convolution", f"model.{index}"), Layer("norm", f"model.{index + 1}"))
    ]
    return [Layer("convolution", "model.0"), *between, Layer("convolution", f"model.{2 + 3 * strided}")]


PIXEL_LAYERS = [
    Layer("convolution", "net.0"),
    Layer("convolution", "net.2"),
    Layer("norm", "net.3"),
    Layer("convolution", "net.5"),
]
"""The layers of its PixelGAN."""


# ---- weights -> a network


def generator_of(weights: Weights) -> Generator:
    """The generator that these weights are of; a `ValueError` with what they are instead."""
    filters = {name: weights.pop(name) for name in list(weights) if name.endswith(".filt")}
    if "model.model.0.weight" in weights:
        steps = sum(value.ndim == 4 for value in weights.values()) // 2
        layers = unet_layers(steps)
        settings: dict[str, Any] = {"generator": "unet"}
        size = 2**steps
    elif "model.1.weight" in weights:
        blocks = len({found[1] for name in weights if (found := re.match(r"model\.(\d+)\.conv_block\.", name))})
        if blocks not in BLOCKS:
            raise ValueError(f"a residual generator of {blocks} blocks, and those of 6 and 9 are known here")
        dropout = any(name.endswith(".conv_block.6.weight") for name in weights) and not any(
            name.endswith(".conv_block.5.weight") for name in weights
        )
        if filters:
            _require_same(filters, blurs(blocks, len(weights["model.1.weight"])))
        layers = resnet_layers(blocks, dropout, bool(filters))
        settings = {"generator": f"resnet{blocks}", "dropout": dropout}
        settings |= {"upsampling": "antialiased"} if filters else {}
        size = 256
    else:
        raise _unknown(weights, "a generator")
    first, last = (_weight(weights, layers[at]) for at in (0, -1))
    norm = _norm(weights, layers)
    if settings["generator"] == "unet":
        settings["dropout"] = norm == "batch"  # it leaves no trace in the weights; its pix2pix has it, its CycleGAN not
    out_channels = last.shape[1] if settings["generator"] == "unet" else last.shape[0]
    return Generator({**settings, "norm": norm, "width": first.shape[0]}, size, first.shape[1], out_channels, layers)


def discriminator_of(weights: Weights) -> Discriminator:
    """The discriminator that these weights are of; a `ValueError` with what they are instead."""
    if any(name.endswith(".filt") for name in weights):
        raise ValueError(
            "a discriminator of CUT's program with antialiased sampling, which is not built here; import the generator alone"
        )
    if "net.0.weight" in weights:
        patch, layers = 1, PIXEL_LAYERS
    elif "model.0.weight" in weights:
        strided = sum(value.ndim == 4 for value in weights.values()) - 2
        patch = next((patch for patch, own in STRIDED_OF_PATCH.items() if own == strided), 0)
        if not patch:
            raise ValueError(f"a discriminator of {strided} strided layers; those of 1, 3 and 5 are known here")
        layers = patch_layers(strided)
    else:
        raise _unknown(weights, "a discriminator")
    first = _weight(weights, layers[0])
    return Discriminator(
        {"patch": patch, "norm": _norm(weights, layers), "width": first.shape[0]}, first.shape[1], layers
    )


def load_into(network: nn.Module, weights: Weights, layers: Sequence[Layer]) -> None:
    """Gives a network of ours the weights of `layers`; a `ValueError` names one that is missing, left over or misshapen.

    Statistics of a batch norm go where the network has them. Where this program has no bias and ours has, it is 0.
    """
    left = {name for name in weights if not name.endswith(".num_batches_tracked")}
    state = network.state_dict()
    for theirs, ours in zip(layers, modules(network), strict=True):
        assert (theirs.kind == "norm") == _is_norm(ours[1])
        for name in {name.rpartition(".")[2] for name in left if name.rpartition(".")[0] == theirs.name} | {"bias"}:
            their_name, our_name = f"{theirs.name}.{name}", f"{ours[0]}.{name}"
            value = weights.get(their_name)
            left.discard(their_name)
            if our_name not in state:
                if value is not None and not (theirs.kind == "norm" and name in STATISTICS):
                    raise ValueError(f"{their_name} is nothing that this network has")
            elif value is None:
                state[our_name].zero_()
            elif value.shape != state[our_name].shape:
                raise ValueError(
                    f"{their_name} has the shape {list(value.shape)}, and {list(state[our_name].shape)} is expected"
                )
            else:
                state[our_name].copy_(value)
        if f"{ours[0]}.weight" in state and f"{theirs.name}.weight" not in weights:
            raise ValueError(f"{theirs.name}.weight is missing")
    if left:
        raise ValueError(f"{brief(min(left), 60)} is nothing that this network has")


def named(network: nn.Module, layers: Sequence[Layer]) -> Weights:
    """The weights of a network of ours by the names of `layers`."""
    return {
        f"{theirs.name}.{name}": value.detach().clone()
        for theirs, (_, module) in zip(layers, modules(network), strict=True)
        for name, value in module.state_dict().items()
    }


def modules(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The convolutions and norms of a network of ours, in order."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) or _is_norm(module):
            yield name, module


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d)


def _weight(weights: Weights, layer: Layer) -> Tensor:
    weight = weights.get(f"{layer.name}.weight")
    if weight is None or weight.ndim != 4:
        raise ValueError(f"{layer.name}.weight is missing, or is no convolution")
    return weight


def _norm(weights: Weights, layers: Sequence[Layer]) -> Norm:
    """The norm; without weights instance norm is assumed: there it has none, and a network without any norm is rare."""
    first = next(layer for layer in layers if layer.kind == "norm")
    if f"{first.name}.weight" in weights:
        return "batch"
    # before version 0.4 of torch instance norms kept statistics that were not used
    for name in [name for name in weights if name.endswith(STATISTICS)]:
        del weights[name]
    return "instance"


def _require_same(filters: Weights, blurs: Weights) -> None:
    """Raises a `ValueError` unless the fixed filters are those of CUT's program by default, in both directions."""
    if filters.keys() != blurs.keys():
        raise ValueError(
            "a generator of CUT's program that is antialiased in one direction only; those with neither or both of "
            "--no_antialias and --no_antialias_up can be imported"
        )
    for name, blur in blurs.items():
        if filters[name].shape != blur.shape or not torch.allclose(filters[name], blur, atol=1e-6):
            raise ValueError(f"{name} is another filter than that of CUT's program")


def _unknown(weights: Weights, what: str) -> ValueError:
    return ValueError(
        f"no weights of {what} of {PROGRAM} that is known here (they are called {brief(', '.join(list(weights)[:3]), 90)}, "
        "...); its resnet_6blocks, resnet_9blocks, unet_128, unet_256, basic, n_layers and pixel are"
    )
