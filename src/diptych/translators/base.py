"""Translators: the deployed networks of a trained method, and their use.

Translation of files, evaluation, export and servers use translators and nothing else of a trained model.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from torch import Tensor, nn

from diptych.images import remarks
from diptych.images.blend import Blend
from diptych.images.files import Array, Pixels
from diptych.images.masks import Mask, MaskSpec
from diptych.images.spec import SIXTEEN_BIT, ImageSpec

Predictor = Callable[[dict[str, Tensor]], Tensor]
"""From input tensors by name to output images `[B, C, H, W]`."""


@dataclass(frozen=True)
class NoiseSpec:
    """A noise input, uniform in [-1, 1]: `[B, size]`."""

    size: int


@dataclass(frozen=True)
class LabelSpec:
    """A label input: int64 `[B]`, indices into `classes`."""

    classes: tuple[str, ...]


InputSpec = ImageSpec | NoiseSpec | LabelSpec


@dataclass(frozen=True)
class Request:
    """Options for the translation of one image."""

    mask: Mask | None = None
    """Bool `[H, W]`, True in the holes."""
    blend: Blend = "none"
    working_size: int | None = None
    """The shorter side is shrunk to this many pixels before the network sees the image."""


PLAIN = Request()


class Outcome(NamedTuple):
    """A translator's output for a batch, with its input and target."""

    input: Tensor | None
    """The input images, `[B, C, H, W]`; None for noise."""
    output: Tensor
    target: Tensor
    """The true images; for unpaired data, unrelated real images of the output's kind."""


class Translator(nn.Module, ABC):
    """One direction of a trained model. `forward` has the inputs of `input_specs`, in that order, of any size."""

    input_specs: dict[str, InputSpec]
    output_spec: ImageSpec
    stride: int
    """Heights and widths of the inputs of `network` are multiples of this."""
    network: nn.Module
    mask_spec: MaskSpec | None = None
    """The random masks of a batch, if the inputs include a mask."""
    classes: tuple[str, ...] = ()
    """The classes of the labels of a batch; empty if labels are not used."""
    row_titles: tuple[str, ...] = ()
    """Titles of a preview's rows, if the rows are not samples of the data."""
    conditions: tuple[str, ...] = ()
    """What an evaluation's inputs depend on besides the data, as words in a metric's name: masks, a seed."""
    refusal: ClassVar[str] = (
        "makes pictures out of pictures, not out of noise: diptych translate RUN INPUT... --out PATH"
    )
    """The message for a request that only another kind of translator can serve."""

    on_a_fourth_channel = remarks.FOURTH_NOT_READ
    """What there is to say of a picture that has a channel behind grey or RGB, and a model that reads none there."""

    def __init__(self, network: nn.Module, stride: int) -> None:
        super().__init__()
        self.network, self.stride = network, stride
        self.method = ""

    @property
    def largest_hole(self) -> int | None:
        """Side of the largest hole that is filled at full size, in pixels; None where there are no holes."""
        return self.mask_spec.largest if self.mask_spec else None

    @abstractmethod
    def forward(self, *tensors: Tensor) -> Tensor:
        """Images `[B, C, H, W]` in [-1, 1]."""

    @property
    def network_specs(self) -> dict[str, InputSpec]:
        """The inputs of `network`, in that order, and of sizes that are multiples of `stride`."""
        return self.input_specs

    def for_files(self, *tensors: Tensor, levels: int) -> Tensor:
        """What files of any size get of these inputs: `forward`, and what a translator does after it.

        `levels` is 255 or 65535: the result is rounded to them.
        """
        output: Tensor = self(*tensors)
        return output

    @abstractmethod
    def inputs_from(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of `input_specs` for a batch of the data, with `y` and the other entries of this kind of data."""

    def outcome(self, batch: dict[str, Tensor]) -> Outcome:
        """Output, input and target for a batch of the data."""
        inputs = self.inputs_from(batch)
        return Outcome(inputs.get("x"), self(*inputs.values()), batch["y"])

    def reject_reason(self, image: Tensor) -> str | None:
        """Why an image (levels `[C, H, W]`) is of no use for training and evaluation, in one word; None if it is of use.

        A function of the image and the method alone: `data/looked_at.py` remembers it.
        """
        return None

    def baselines(self, training: Iterable[Tensor]) -> dict[str, Predictor]:
        """Predictions without a model, by name; `training` yields batches of `y`."""
        return {}

    # ---- single images, or images from noise: each subclass implements one of the two

    def require_request(self, masked: bool, blend: Blend = "none") -> None:
        """Raises a `ValueError` if a mask (or `blend`) is given and not supported, or needed and missing."""
        raise ValueError(f"{self.method} {self.refusal}")

    def translate(self, source: Pixels, request: Request, run: Callable[..., Tensor]) -> Pixels:
        """An image to an image of the same size, bits and alpha.

        `run(*tensors)` is `forward` on the device of the model, with the result as floats on the CPU.
        """
        raise ValueError(f"{self.method} {self.refusal}")

    def translate_all(
        self, sources: Sequence[Pixels], requests: Sequence[Request], run: Callable[..., Tensor]
    ) -> list[Pixels]:
        """The same for several images of one size; a translator that can has them in one batch."""
        return [self.translate(source, request, run) for source, request in zip(sources, requests, strict=True)]

    def translate_floats(self, values: Array, request: Request, run: Callable[..., Tensor]) -> Array:
        """The same for floats `[H, W, C]` in [0, 1]; pixels that translation does not change keep their exact values."""
        levels = np.rint(values.astype(np.float64) * SIXTEEN_BIT.full)  # finer than the precision of a network
        source = Pixels(levels.astype(np.uint16))
        result = self.translate(source, request, run).values
        floats: Array = np.where(result == source.values, values, result / SIXTEEN_BIT.full).astype(values.dtype)
        return floats

    def index_of(self, label: str | int | None) -> int:
        """The index of a class by its name, 0 without classes; a `ValueError` for an unknown one."""
        raise ValueError(f"{self.method} {self.refusal}")

    def generate(self, label: int, count: int, seed: int, run: Callable[..., Tensor]) -> Iterator[Tensor]:
        """The first `count` images of a class under a seed, each `[C, H, W]` in [-1, 1]."""
        raise ValueError(f"{self.method} {self.refusal}")


class dropout_active:  # noqa: N801 -- used like a function
    """Inside, dropout is on if `active`, and everything else stays in eval mode."""

    def __init__(self, module: nn.Module, active: bool) -> None:
        self.layers = [layer for layer in module.modules() if isinstance(layer, nn.Dropout)] if active else []

    def __enter__(self) -> None:
        for layer in self.layers:
            layer.train()

    def __exit__(self, *error: object) -> None:
        for layer in self.layers:
            layer.eval()


def require_working_size(working_size: int | None) -> None:
    """Raises a `ValueError` for a working size below 1."""
    if working_size is not None and working_size < 1:
        raise ValueError(f"--working-size {working_size}: a number of pixels, 1 or more, is expected")
