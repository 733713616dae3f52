"""Images from noise, of a class that is asked for."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from diptych.images.spec import ImageSpec
from diptych.translators.base import InputSpec, LabelSpec, NoiseSpec, Outcome, Translator

SAMPLE_BATCH = 16  # always full: the batch size changes the last bits of a result, and `count` must not
ROWS = 16  # of a preview: classes at most


class Sampler(Translator):
    """`(z, label) -> image`. Image n depends on (seed, label, n) alone, however many are asked for."""

    seeded: ClassVar[bool] = True
    refusal: ClassVar[str] = "translates no pictures, it makes them out of noise: diptych sample RUN --out FILE"

    def __init__(self, network: nn.Module, size: int, noise: int, classes: Sequence[str], y_spec: ImageSpec) -> None:
        super().__init__(network, stride=size)
        self.classes, self.noise = tuple(classes), noise
        self.input_specs: dict[str, InputSpec] = {"z": NoiseSpec(noise), "label": LabelSpec(self.classes)}
        self.output_spec = y_spec

    def forward(self, *tensors: Tensor) -> Tensor:
        """Noise `[B, noise]` and class numbers `[B]` -> `[B, C, size, size]`."""
        z, label = tensors
        output: Tensor = self.network(z, label if self.classes else None)
        return output

    def draw(self, label: int, seed: int, numbers: Sequence[int]) -> dict[str, Tensor]:
        """`z` `[N, noise]`, from the seed and the number of each image alone, and `label` `[N]`."""
        z = [np.random.default_rng([seed, number]).uniform(-1, 1, self.noise) for number in numbers]
        return {"z": torch.tensor(np.array(z), dtype=torch.float32), "label": torch.full((len(numbers),), label)}

    def inputs_from(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """As many images as the batch has, of the same classes; the noise of each follows from its `number`."""
        drawn = self.draw(0, 0, batch["number"].tolist())
        inputs = {name: value.to(batch["y"].device) for name, value in drawn.items()}
        return inputs | {"label": batch["label"]} if self.classes else inputs

    def outcome(self, batch: dict[str, Tensor]) -> Outcome:
        """Images drawn for the labels of the batch, next to its real images."""
        return Outcome(None, self(*self.inputs_from(batch).values()), batch["y"])

    @property
    def preview_labels(self) -> list[int]:
        """The classes of a preview's rows, spread evenly over all where there are very many."""
        rows = min(len(self.classes), ROWS)
        return [row * len(self.classes) // rows for row in range(rows)]

    @property
    def row_titles(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names of these classes."""
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
        """Images 0 to `count` of a class under a seed, each `[C, size, size]` in [-1, 1]."""
        for first in range(0, count, SAMPLE_BATCH):
            inputs = self.draw(label, seed, range(first, first + SAMPLE_BATCH))
            yield from run(*inputs.values())[: count - first]
