"""Images from noise, of a chosen class."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from diptych.images.spec import ImageSpec
from diptych.translators.base import InputSpec, LabelSpec, NoiseSpec, Outcome, Translator

SAMPLE_BATCH = 16  # fixed: the batch size changes the last bits of a result, so full batches are always generated
MAX_ROWS = 16  # of a preview, one per class


class Sampler(Translator):
    """`(z, label) -> image`. Image n depends on seed, label and n alone, not on the number of images."""

    conditions = ("seed-0",)
    refusal: ClassVar[str] = "translates no pictures, it makes them out of noise: diptych sample RUN --out FILE"

    def __init__(self, network: nn.Module, size: int, noise: int, classes: Sequence[str], y_spec: ImageSpec) -> None:
        super().__init__(network, stride=size)
        self.classes, self.noise = tuple(classes), noise
        self.input_specs: dict[str, InputSpec] = {"z": NoiseSpec(noise), "label": LabelSpec(self.classes)}
        self.output_spec = y_spec

    def forward(self, *tensors: Tensor) -> Tensor:
        """Noise `[B, noise]` and labels `[B]`, which may be missing without classes -> `[B, C, size, size]`."""
        z, *label = tensors
        output: Tensor = self.network(z, *label) if self.classes else self.network(z)
        return output

    def draw(self, label: int, seed: int, numbers: Sequence[int]) -> dict[str, Tensor]:
        """`z` `[N, noise]`, a function of the seed and the number of each image, and `label` `[N]`."""
        z = [np.random.default_rng([seed, number]).uniform(-1, 1, self.noise) for number in numbers]
        return {"z": torch.tensor(np.array(z), dtype=torch.float32), "label": torch.full((len(numbers),), label)}

    def inputs_from(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Inputs for as many images as in the batch, with its labels; the noise is a function of each `number`."""
        inputs = self.draw(0, 0, batch["number"].tolist())
        inputs = {name: value.to(batch["y"].device) for name, value in inputs.items()}
        return inputs | {"label": batch["label"]} if self.classes else inputs

    def outcome(self, batch: dict[str, Tensor]) -> Outcome:
        """Images generated for the labels of the batch, and its real images as targets."""
        return Outcome(None, self(*self.inputs_from(batch).values()), batch["y"])

    @property
    def preview_labels(self) -> list[int]:
        """The labels of a preview's rows: all classes, or MAX_ROWS evenly spaced ones."""
        rows = min(len(self.classes), MAX_ROWS)
        return [row * len(self.classes) // rows for row in range(rows)]

    @property
    def row_titles(self) -> tuple[str, ...]:  # type: ignore[override]
        """The class names of a preview's rows."""
        return tuple(self.classes[label] for label in self.preview_labels)

    def index_of(self, label: str | int | None) -> int:
        """The index of a class by its name, 0 without classes; a `ValueError` for an unknown one."""
        if label is None and self.classes:
            raise ValueError(f"--label: which one? There are: {', '.join(self.classes)}")
        if label is None:
            return 0
        if not self.classes:
            raise ValueError(f"--label {label}: this model learnt without labels; leave it out")
        if str(label) not in self.classes:
            near = difflib.get_close_matches(str(label), self.classes, n=1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"--label {label}: there is no such class; {meant}there are: {', '.join(self.classes)}")
        return self.classes.index(str(label))

    def generate(self, label: int, count: int, seed: int, run: Callable[..., Tensor]) -> Iterator[Tensor]:
        """The first `count` images of a class under a seed, each `[C, size, size]` in [-1, 1]."""
        for first in range(0, count, SAMPLE_BATCH):
            inputs = self.draw(label, seed, range(first, first + SAMPLE_BATCH))
            yield from run(*inputs.values())[: count - first]
