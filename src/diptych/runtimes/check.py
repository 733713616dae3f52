"""An exported file beside the model that it was made of: on other pictures and at other sizes than it was traced with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from diptych.graph import Graph
from diptych.images.files import Pixels
from diptych.images.size import Size
from diptych.images.spec import EIGHT_BIT, ImageSpec
from diptych.translators.base import Request, Translator

MOST, MOST_IN_THE_MEAN = 2.0, 0.05
"""Differences in 8-bit levels up to which a file is right. Equal numbers that are rounded differ by one level where they lie
between two; those that keep a picture's lightness by two."""

Inputs = dict[str, Tensor]


class Case(NamedTuple):
    """How many pictures, and their height and width."""

    batch: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.batch} of {self.width}x{self.height}"


def cases(graph: Graph, training_size: Size) -> list[Case]:
    """The training size, a batch of three, sizes below the stride and above, and, where it may be, no multiples of it."""
    (height, width), stride = training_size, graph.translator.stride
    if not graph.has_pictures:
        return [Case(1, height, width), Case(3, height, width)]
    if graph.multiple > 1:
        return [Case(1, height, width), Case(3, stride, 2 * stride), Case(1, 3 * stride, stride)]
    return [
        Case(1, height, width),
        Case(3, max(stride // 2 - 1, 2), stride + 5),
        Case(1, max(stride // 3, 2), max(stride // 4, 3)),
        Case(1, height + height // 2 + 1, 2 * width - 3),
    ]


def inputs_of(graph: Graph, every: Sequence[Case]) -> list[Inputs]:
    """Inputs for the cases, each with pictures of its own."""
    return [graph.tensors(*case, seed=number + 1) for number, case in enumerate(every)]


@torch.inference_mode()
def answers(graph: Graph, every: Sequence[Inputs], run: Callable[..., Tensor] | None = None) -> list[Tensor]:
    """What the translator makes of inputs in its own way, in the form of the graph's result.

    `run(*tensors)` is its `forward`, as `Model.run`; without it, as torch computes it.
    """
    return [_answer(graph, inputs, run or graph.translator) for inputs in every]


def _answer(graph: Graph, inputs: Inputs, run: Callable[..., Tensor]) -> Tensor:
    translator: Translator = graph.translator
    if graph.io == "float":
        result: Tensor = translator.network(*inputs.values())
        return result
    if not graph.has_pictures:
        return ImageSpec(bits=graph.bits).to_levels(run(*inputs.values())).permute(0, 2, 3, 1)
    pictures = [Pixels(picture.numpy()) for picture in inputs["picture"]]
    holes = [mask[..., 0].numpy() > 127 for mask in inputs["mask"]] if "mask" in inputs else [None] * len(pictures)
    results = translator.translate_all(pictures, [Request(mask=hole) for hole in holes], run)
    return torch.stack([torch.from_numpy(result.values) for result in results])


@dataclass(frozen=True)
class Difference:
    """Largest and mean difference of two results, in 8-bit levels."""

    largest: float
    mean: float

    def __str__(self) -> str:
        return f"{self.largest:.2g} levels at most, {self.mean:.2g} in the mean"

    @property
    def is_small(self) -> bool:
        """Whether the two can be called equal; false where one is not a number."""
        return self.largest <= MOST and self.mean <= MOST_IN_THE_MEAN


def difference(graph: Graph, some: Sequence[Tensor], others: Sequence[Tensor]) -> Difference:
    """The difference of results, case by case; infinite where they have not the same shape."""
    if any(one.shape != other.shape for one, other in zip(some, others, strict=True)):
        return Difference(float("inf"), float("inf"))
    half = ImageSpec(bits=graph.bits).half if graph.io == "bytes" else 1.0
    every = torch.cat(
        [(one.double() - other.double()).abs().flatten() for one, other in zip(some, others, strict=True)]
    )
    every = every / half * EIGHT_BIT.half
    return Difference(every.max().item(), every.mean().item())
