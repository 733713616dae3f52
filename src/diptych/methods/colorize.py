"""Automatic colouring: pix2pix from the lightness of a picture to its colour, learnt from colour pictures alone.

Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, set the task so: L of CIE Lab goes in, ab comes out (section
1). G and D are those of pix2pix (Isola et al. 2017, which colours so too, figure 9): G sees L, D sees L beside ab.
"""

from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from diptych.images import color
from diptych.kinds import DataKind, Direction
from diptych.methods.base import Adversary, Batch, Update
from diptych.methods.pix2pix import Pix2Pix, Pix2PixSettings
from diptych.methods.settings import Shape
from diptych.translators.base import Translator
from diptych.translators.image import ColorTranslator


class Colorize(Pix2Pix):
    """`G: L -> ab`. A picture keeps its own lightness; only its colour is learnt, at the size of the training."""

    paper = "Isola et al. 2017, Image-to-Image Translation with Conditional Adversarial Networks, on CIE Lab"
    summary = "grey pictures into colour, learnt from colour pictures alone"
    data = DataKind.IMAGES
    validation_metric = "ab"
    metrics: ClassVar[tuple[str, ...]] = (*Pix2Pix.metrics, "ab", "colourfulness", "target-colourfulness")

    def __init__(self, settings: Pix2PixSettings, shape: Shape) -> None:
        if (shape.x_channels, shape.y_channels) != (3, 3):
            raise ValueError("--channels-a and --channels-b: colouring is learnt from RGB pictures; leave them out")
        super().__init__(settings, Shape(size=shape.size, x_channels=1, y_channels=2))

    def train_step(self, batch: Batch, update: Update, step: int) -> dict[str, Tensor]:
        """A step of pix2pix from L to ab."""
        return super().train_step(_in_lab(batch), update, step)

    def translators(self, direction: Direction = "AtoB") -> dict[Direction, Translator]:
        """G, between two conversions of colour."""
        return {direction: ColorTranslator(self.G, working_size=self.shape.size)}

    def adversaries(self) -> list[Adversary]:
        """D, which is asked about true and drawn colours."""

        def in_lab(adversary: Adversary) -> Adversary:
            return replace(adversary, scores=lambda batch: adversary.scores(_in_lab(batch)))

        return [in_lab(adversary) for adversary in super().adversaries()]


def _in_lab(batch: Batch) -> Batch:
    L, ab = color.to_lab(batch["y"])
    return {"x": L, "y": ab}
