"""Translations into label maps or out of them: can one read in what was made what the labels say?

Out of labels: the FCN score (Isola et al. 2017, section 4.1), by a segmenter that learnt from the real pairs and not by
anyone's weights; beside it stands what it reads in the real photographs. Into labels: the colours are read as they are.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from diptych.evaluate import segmentation
from diptych.evaluate.options import EvalOptions
from diptych.evaluate.results import Score
from diptych.images.files import as_bytes
from diptych.images.label_maps import classes_of, palette_of
from diptych.metrics.segmentation import confusion, per_pixel_accuracy, score

OF_LABEL_MAPS = ("per-pixel-accuracy", "per-class-accuracy", "class-iou")
LEARNT_FROM = 2000  # pairs at most, spread over all
LOOKED_AT = 200  # of them at most, to tell whether there are label maps at all


class LabelMapScore:
    """How many pixels are read as what the labels say they are."""

    def __init__(
        self,
        names: Sequence[str],
        read: Callable[[Tensor], Tensor],
        true: Callable[[dict[str, Tensor]], Tensor],
        classes: int,
        specification: str,
    ) -> None:
        """`read` tells the classes in pictures, uint8 `[B, C, H, W]` -> `[B, H, W]`, and `true` those of a batch."""
        self.names, self.read, self.true, self.classes, self.specification = names, read, true, classes, specification
        self.matrices: dict[str, Tensor] = {}

    def add(self, who: str, outputs: Tensor, batch: dict[str, Tensor]) -> dict[str, list[float]]:
        """The accuracy of each picture by itself."""
        of_each = [
            confusion(found, true, self.classes)
            for found, true in zip(self.read(as_bytes(outputs)), self.true(batch), strict=True)
        ]
        self.matrices[who] = self.matrices.get(who, torch.zeros(())) + torch.stack(of_each).sum(0)
        name = "per-pixel-accuracy"
        return {f"{name}/{self.specification}": list(map(per_pixel_accuracy, of_each))} if name in self.names else {}

    def numbers(self, who: str) -> list[Score]:
        """Of all pixels together."""
        if who not in self.matrices:
            return []
        found = score(self.matrices[who].long())
        return [Score(f"{name}/{self.specification}", found[name]) for name in OF_LABEL_MAPS if name in self.names]


def open_label_maps(
    names: Sequence[str], training: Callable[[int], tuple[Tensor, Tensor]], behind: str, options: EvalOptions
) -> list[LabelMapScore]:
    """What measures these metrics on pairs like those of the training; none where neither side is a label map.

    `training` gives x and y, uint8 `[N, C, S, S]`, of so many of its pairs at most. Most pairs have no label map, which a
    few of them tell.
    """
    x, y = training(LOOKED_AT)
    if palette_of(y) is not None or palette_of(x) is not None:
        x, y = training(LEARNT_FROM)
    if (palette := palette_of(y)) is not None:
        colours = palette
        return [
            LabelMapScore(
                names,
                lambda pictures: classes_of(pictures, colours),
                lambda batch: classes_of(as_bytes(batch["y"]), colours),
                len(colours),
                f"as-drawn/{len(colours)}-classes/{behind}",
            )
        ]
    if (palette := palette_of(x)) is not None:
        colours = palette
        segmenter = segmentation.taught(
            y, x, colours, options.torch_device, options.progress_of("a segmenter learns from the training pairs")
        )
        return [
            LabelMapScore(
                names,
                lambda pictures: segmentation.read(segmenter, pictures),
                lambda batch: classes_of(as_bytes(batch["x"]), colours),
                len(colours),
                f"segmenter/{len(colours)}-classes/{behind}",
            )
        ]
    if options.names is not None:
        options.note_missing(names, "neither side of the training pairs is a label map of a few flat colours")
    return []
