"""One direction of a trained model as a single graph of tensors, for runtimes that know nothing of Diptych.

A graph of "bytes" goes from the levels of pictures to the levels of pictures: what `translate` does with a file lies inside.
A graph of "float" is the bare network. Neither holds the networks that only training needs.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from diptych.images.spec import Bits, ImageSpec
from diptych.translators.base import InputSpec, LabelSpec, NoiseSpec, Translator

Io = Literal["bytes", "float"]
Weights = Literal["fp32", "fp16", "int8"]
"""How a file stores them."""
NAMES = {"x": "picture", "z": "noise"}
"""What a translator calls an input, and what the graph calls it; others keep their name."""
MASK, RESULT = "mask", "result"

Axes = tuple[str | None, ...]
"""The name of each axis of a tensor that is free, None for one of a fixed length."""


class Levels(nn.Module):
    """A translator between levels as files hold them, `[B, H, W, C]` of any height and width.

    >>> from diptych.networks.resnet import ResNet
    >>> from diptych.translators.image import ImageTranslator
    >>> translator = ImageTranslator(ResNet(3, 1, blocks=1, width=4), ImageSpec(3), ImageSpec(1))
    >>> Levels(translator, bits=8)(torch.zeros(2, 61, 67, 3, dtype=torch.uint8)).shape
    torch.Size([2, 61, 67, 1])
    """

    def __init__(self, translator: Translator, bits: Bits) -> None:
        super().__init__()
        self.translator, self.spec = translator, ImageSpec(bits=bits)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Levels of pictures `[B, H, W, C]` and of masks `[B, H, W, 1]`, above 127 in a hole; noise; labels."""
        specs = used(self.translator.input_specs)
        tensors = (self._read(name, specs[name], value) for name, value in zip(specs, inputs, strict=True))
        output = self.translator.for_files(*tensors, levels=self.spec.full)
        return self.spec.to_levels(output).permute(0, 2, 3, 1)

    def _read(self, name: str, spec: InputSpec, value: Tensor) -> Tensor:
        if not isinstance(spec, ImageSpec):
            return value
        picture = value.permute(0, 3, 1, 2)
        return (picture > 127).float() if name == MASK else self.spec.to_float(picture)


def used(specs: dict[str, InputSpec]) -> dict[str, InputSpec]:
    """The inputs; without labels for a model that learnt without them."""
    return {name: spec for name, spec in specs.items() if not isinstance(spec, LabelSpec) or spec.classes}


@dataclass(frozen=True)
class Graph:
    """What an exporter needs to know of a translator."""

    translator: Translator
    io: Io = "bytes"
    bits: Bits = 8
    """Of the levels of pictures, with "bytes"."""

    @property
    def module(self) -> nn.Module:
        """From the tensors of `inputs` to one of images, `[B, H, W, C]` of levels or `[B, C, H, W]` in [-1, 1]."""
        return Levels(self.translator, self.bits) if self.io == "bytes" else self.translator.network

    @property
    def inputs(self) -> dict[str, InputSpec]:
        """By the names of the graph."""
        specs = self.translator.input_specs if self.io == "bytes" else self.translator.network_specs
        return {NAMES.get(name, name): spec for name, spec in used(specs).items()}

    @property
    def has_pictures(self) -> bool:
        """Whether there is a picture among the inputs, so that heights and widths are free."""
        return any(isinstance(spec, ImageSpec) for spec in self.inputs.values())

    @property
    def multiple(self) -> int:
        """Heights and widths of pictures must be multiples of this; 1 where any will do."""
        return self.translator.stride if self.io == "float" and self.has_pictures else 1

    @property
    def axes(self) -> dict[str, Axes]:
        """The free axes of the inputs and of the result."""
        free: Axes = ("batch", "height", "width", None) if self.io == "bytes" else ("batch", None, "height", "width")
        kinds: dict[type, Axes] = {ImageSpec: free, NoiseSpec: ("batch", None), LabelSpec: ("batch",)}
        axes = {name: kinds[type(spec)] for name, spec in self.inputs.items()}
        return axes | {RESULT: free if self.has_pictures else ("batch", None, None, None)}

    def tensors(self, batch: int, height: int, width: int, seed: int = 0) -> dict[str, Tensor]:
        """Inputs for trying the graph: pictures of soft shapes and some noise, a hole of at most half the sides."""
        generator = torch.Generator().manual_seed(seed)
        return {name: self._tensor(name, batch, height, width, generator) for name in self.inputs}

    def _tensor(self, name: str, batch: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        spec = self.inputs[name]
        if isinstance(spec, NoiseSpec):
            return torch.rand(batch, spec.size, generator=generator) * 2 - 1
        if isinstance(spec, LabelSpec):
            return torch.randint(len(spec.classes), (batch,), generator=generator)
        if name == MASK:
            values = torch.zeros(batch, 1, height, width)
            most = self.translator.largest_hole or max(height, width)
            tall, wide = (max(1, min(side // 2, most)) for side in (height, width))
            values[:, :, height // 3 : height // 3 + tall, width // 4 : width // 4 + wide] = 1
            return values if self.io == "float" else (values * 255).to(torch.uint8).permute(0, 2, 3, 1)
        coarse, fine = (
            torch.rand(batch, spec.channels, *size, generator=generator) * 2 - 1 for size in ((4, 4), (height, width))
        )
        soft = nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
        values = (soft + 0.2 * fine).clamp(-1, 1)
        return values if self.io == "float" else ImageSpec(bits=self.bits).to_levels(values).permute(0, 2, 3, 1)
