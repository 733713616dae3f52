"""What remains of a method after training: networks, and how to use them.

Files, evaluation, export and servers use translators and nothing else of a trained model.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from torch import Tensor, nn

from diptych.images.blend import Blend
from diptych.images.files import Array, Pixels
from diptych.images.masks import Mask, MaskSpec
from diptych.images.spec import SIXTEEN_BIT, ImageSpec

Predictor = Callable[[dict[str, Tensor]], Tensor]
"""From the tensors that a translator takes, by name, to images `[B, C, H, W]`."""


@dataclass(frozen=True)
class NoiseSpec:
    """An input of independent numbers, uniform in [-1, 1]: `[B, size]`."""

    size: int


@dataclass(frozen=True)
class LabelSpec:
    """An input of class numbers: int64 `[B]`, indices into `classes`."""

    classes: tuple[str, ...]


InputSpec = ImageSpec | NoiseSpec | LabelSpec


@dataclass(frozen=True)
class Request:
    """How one image is to be translated."""

    mask: Mask | None = None
    """Where its holes are, bool `[H, W]`."""
    blend: Blend = "none"
    working_size: int | None = None
    """The shorter side is shrunk to this many pixels before the network sees the image."""


PLAIN = Request()


class Outcome(NamedTuple):
    """What a translator made of a batch, next to what it should look like."""

    input: Tensor | None
    """The images that went in, `[B, C, H, W]`; None where it was noise."""
    output: Tensor
    target: Tensor
    """The true images; where a method learns without pairs, any real images of the output's kind."""


class Translator(nn.Module, ABC):
    """One direction of a trained model. `forward` takes the tensors of `input_specs`, in their order, of any size."""

    input_specs: dict[str, InputSpec]
    output_spec: ImageSpec
    stride: int
    """Heights and widths that `network` takes are multiples of this."""
    network: nn.Module
    mask_spec: MaskSpec | None = None
    """The masks to draw for a batch, where one of the inputs is a mask."""
    classes: tuple[str, ...] = ()
    """The classes that a batch must have labels of; none where labels are not used."""
    row_titles: tuple[str, ...] = ()
    """Titles of a preview's rows, where these are not samples of the data."""
    seeded: ClassVar[bool] = False
    """Whether its inputs are drawn by a seed."""
    refusal: ClassVar[str] = (
        "makes pictures out of pictures, not out of noise: diptych translate RUN INPUT... --out PATH"
    )
    """What to say to somebody who takes it for a translator of another kind."""

    def __init__(self, network: nn.Module, stride: int) -> None:
        super().__init__()
        self.network, self.stride = network, stride
        self.method = ""

    @abstractmethod
    def forward(self, *tensors: Tensor) -> Tensor:
        """Images `[B, C, H, W]` in [-1, 1]."""

    @abstractmethod
    def inputs_from(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of `input_specs` for a batch of the data, which has `y` and whatever else the data has."""

    def outcome(self, batch: dict[str, Tensor]) -> Outcome:
        """What becomes of a batch of the data."""
        inputs = self.inputs_from(batch)
        return Outcome(inputs.get("x"), self(*inputs.values()), batch["y"])

    def reject_reason(self, image: Tensor) -> str | None:
        """Why nothing can be learnt from or measured on an image (levels `[C, H, W]`), in one word; None if it can."""
        return None

    def baselines(self, training: Iterable[Tensor]) -> dict[str, Predictor]:
        """Predictions without a model, by name; `training` yields batches of `y`."""
        return {}

    # ---- one image, or images from noise: each subclass offers one of the two

    def require_request(self, masked: bool, blend: Blend = "none") -> None:
        """Raises a `ValueError` where an image cannot be translated with, or without, a mask."""
        raise ValueError(f"{self.method} {self.refusal}")

    def translate(self, source: Pixels, request: Request, run: Callable[..., Tensor]) -> Pixels:
        """An image to an image of the same size, bits and alpha.

        `run(*tensors)` is `forward` on the device of the model, with the result as floats on the CPU.
        """
        raise ValueError(f"{self.method} {self.refusal}")

    def translate_floats(self, values: Array, request: Request, run: Callable[..., Tensor]) -> Array:
        """The same for floats `[H, W, C]` in [0, 1]; where pixels must stay the input's, they do."""
        source = Pixels(
            np.rint(values.astype(np.float64) * SIXTEEN_BIT.full).astype(np.uint16)
        )  # finer than what a network draws
        result = self.translate(source, request, run).values
        kept: Array = np.where(result == source.values, values, result / SIXTEEN_BIT.full).astype(values.dtype)
        return kept

    def index_of(self, label: str | int | None) -> int:
        """The index of a class by its name, 0 without classes; a `ValueError` for an unknown one."""
        raise ValueError(f"{self.method} {self.refusal}")

    def generate(self, label: int, count: int, seed: int, run: Callable[..., Tensor]) -> Iterator[Tensor]:
        """Images 0 to `count` of a class under a seed, each `[C, H, W]` in [-1, 1]."""
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
    """Raises a `ValueError` when an image cannot be shrunk to it."""
    if working_size is not None and working_size < 1:
        raise ValueError(f"--working-size {working_size}: a number of pixels, 1 or more, is expected")
