"""Automatic colouring: pix2pix from the lightness of an image to its colour, trained on colour images alone.

The task is that of Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016: from L of CIE Lab to ab (section 1). G and
D are those of pix2pix (Isola et al. 2017; its figure 9 shows the same task): the input of G is L, that of D is L and ab.
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
    """`G: L -> ab`. The lightness of an image is preserved; its colour is predicted at the training size."""

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
        """A training step of pix2pix from L to ab."""
        return super().train_step(_in_lab(batch), update, step)

    def translators(self, direction: Direction = "AtoB") -> dict[Direction, Translator]:
        """G, with colour conversion before and after it."""
        return {direction: ColorTranslator(self.G, working_size=min(self.shape.size))}

    def adversaries(self) -> list[Adversary]:
        """D, with true and predicted colours."""

        def in_lab(adversary: Adversary) -> Adversary:
            return replace(adversary, scores=lambda batch: adversary.scores(_in_lab(batch)))

        return [in_lab(adversary) for adversary in super().adversaries()]


def _in_lab(batch: Batch) -> Batch:
    L, ab = color.to_lab(batch["y"])
    return {"x": L, "y": ab}
