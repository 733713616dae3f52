"""Automatic colouring: pix2pix from the lightness of a picture to its colour, learnt from colour pictures alone.

Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, set the task so: L of CIE Lab goes in, ab comes out (section
1). G and D are those of pix2pix (Isola et al. 2017, which colours so too, figure 9): G sees L, D sees L beside ab.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from diptych.images import color
from diptych.kinds import DataKind
from diptych.methods.base import Predictor, Update
from diptych.methods.pix2pix import Pix2Pix, Pix2PixSettings
from diptych.methods.settings import Shape

ROWS = 256  # of a large picture at a time, so that its colours in all their forms need not lie in memory at once


class Colorize(Pix2Pix):
    """`G: L -> ab`. A picture keeps its own lightness; only its colour is learnt, at the size of the training."""

    paper = "Isola et al. 2017, Image-to-Image Translation with Conditional Adversarial Networks, on CIE Lab"
    summary = "grey pictures into colour, learnt from colour pictures alone"
    data = DataKind.IMAGES
    best_by = "ab"
    metrics: ClassVar[tuple[str, ...]] = (*Pix2Pix.metrics, "ab", "colourfulness", "target-colourfulness")

    def __init__(self, settings: Pix2PixSettings, shape: Shape) -> None:
        if (shape.x_channels, shape.y_channels) != (3, 3):
            raise ValueError("--channels-a and --channels-b: colouring is learnt from RGB pictures; leave them out")
        super().__init__(settings, Shape(size=shape.size, x_channels=1, y_channels=2))
        self.working_size = shape.size

    @classmethod
    def of_no_use(cls, picture: Tensor) -> str | None:
        """Grey pictures teach that everything is grey."""
        return "grey" if color.is_grey(picture) else None

    def inputs_from(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`x`: y without its colour, `[B, 3, H, W]`."""
        return {"x": color.to_grey(batch["y"])}

    def train_step(self, batch: dict[str, Tensor], update: Update, step: int) -> dict[str, Tensor]:
        """A step of pix2pix from L to ab."""
        L, ab = color.to_lab(batch["y"])
        return super().train_step({"x": L, "y": ab}, update, step)

    def judgements(self, batch: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """What D says of true and of drawn colours."""
        L, ab = color.to_lab(batch["y"])
        return super().judgements({"x": L, "y": ab})

    def translate(self, batch: dict[str, Tensor]) -> Tensor:
        """`[B, 3, H, W]`, of which the lightness counts -> the same in colour, H and W multiples of `multiple`."""
        L, _ = color.to_lab(batch["x"])
        return color.from_lab(L, super().translate({"x": L}))

    def enlarge(self, x: Tensor, y: Tensor, levels: int | None) -> Tensor:
        """The lightness of the large picture x with the colour of the small one y, and with edges where x has them.

        Rounding, too, spares the lightness: no pixel's L changes by half an 8-bit level.
        """
        L = torch.cat([color.to_lab(rows)[0] for rows in _strips(x)], dim=-2)
        small_L, small_ab = color.to_lab(y)
        ab = color.spread(small_ab, small_L, L)
        strips = []
        for rows_L, rows_ab in zip(_strips(L), _strips(ab), strict=True):
            strip = color.from_lab(rows_L, rows_ab)
            strips.append(color.round_keeping_lightness(strip, levels) if levels else strip)
        return torch.cat(strips, dim=-2)

    @classmethod
    def baselines(cls, training: Iterable[Tensor]) -> dict[str, Predictor]:
        """No colour at all, and one for everything: the mean ab of the training pictures."""
        means = torch.stack([ab for y in training for ab in color.to_lab(y)[1].mean(dim=(2, 3))])
        mean_ab = means.mean(dim=0).view(2, 1, 1)

        def mean_chroma(batch: dict[str, Tensor]) -> Tensor:
            L, _ = color.to_lab(batch["x"])
            return color.from_lab(L, mean_ab.expand(len(L), 2, *L.shape[2:]))

        return {"the grey picture": lambda batch: batch["x"], "the training set's mean chroma": mean_chroma}


def _strips(pictures: Tensor) -> Sequence[Tensor]:
    strips: Sequence[Tensor] = pictures.split(ROWS, dim=-2)  # type: ignore[no-untyped-call]
    return strips
