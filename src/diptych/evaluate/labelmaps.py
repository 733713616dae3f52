"""Metrics for translations from or into label maps: are the pixels of the output of the classes that the labels give?

From labels: the FCN score (Isola et al. 2017, section 4.1), by a segmenter trained on the real pairs instead of downloaded
weights; its score on the real photographs is reported next to it. Into labels: colours are read as classes directly.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial

import torch
from torch import Tensor

from diptych.evaluate import segmentation
from diptych.evaluate.options import EvalOptions
from diptych.evaluate.results import Score
from diptych.images.files import as_bytes
from diptych.images.label_maps import classes_of, palette_of
from diptych.metrics.networks.segmenter import Segmenter
from diptych.metrics.segmentation import confusion, per_pixel_accuracy, score

LABEL_MAP_METRICS = ("per-pixel-accuracy", "per-class-accuracy", "class-iou")
MAX_TRAINING_PAIRS = 2000  # evenly spaced
PROBE_PAIRS = 200  # pairs at most that decide whether the data has label maps

Classes = Callable[[Tensor], Tensor]
"""The classes in images: `[B, C, H, W]` in [-1, 1] -> int64 `[B, H, W]`."""


class LabelMapScore:
    """Accuracy of the classes read from the outputs, against the classes of the label maps."""

    def __init__(
        self, names: Sequence[str], predict: Classes, side: str, truth: Classes, count: int, protocol: str
    ) -> None:
        """`predict` gives the classes in outputs, `truth` those of the label maps on `side` (x or y), of `count`."""
        self.names, self.predict, self.side, self.truth = names, predict, side, truth
        self.count, self.protocol = count, protocol
        self.matrices: dict[str, Tensor] = {}

    def add(self, system: str, outputs: Tensor, batch: dict[str, Tensor]) -> dict[str, list[float]]:
        """The per-image accuracy."""
        pairs = zip(self.predict(outputs), self.truth(batch[self.side]), strict=True)
        per_image = [confusion(*classes, self.count) for classes in pairs]
        self.matrices[system] = self.matrices.get(system, torch.zeros(())) + torch.stack(per_image).sum(0)
        name = "per-pixel-accuracy"
        return {f"{name}/{self.protocol}": list(map(per_pixel_accuracy, per_image))} if name in self.names else {}

    def scores(self, system: str) -> list[Score]:
        """The scores over all pixels of all images."""
        if system not in self.matrices:
            return []
        values = score(self.matrices[system].long())
        return [Score(f"{name}/{self.protocol}", values[name]) for name in LABEL_MAP_METRICS if name in self.names]


def open_label_maps(
    names: Sequence[str],
    training: Callable[[int], tuple[Tensor, Tensor]],
    protocol: str,
    options: EvalOptions,
    planes: Collection[str] = (),
) -> list[LabelMapScore]:
    """The measure of these metrics for data like the training pairs; empty if neither side is a label map.

    `training(most)` loads at most `most` pairs, x and y, uint8 `[N, C, H, W]`. Most data sets have no label maps, and a
    few pairs are enough to see that. The sides in `planes` (x, y) have a plane for each class, which a user has stated.
    """

    def palette_on(side: str, images: Tensor) -> Tensor | None:
        return torch.arange(images.shape[1]).byte()[:, None] if side in planes else palette_of(images)

    x, y = training(PROBE_PAIRS)
    if palette_on("y", y) is not None or palette_on("x", x) is not None:
        x, y = training(MAX_TRAINING_PAIRS)
    for side, images in (("y", y), ("x", x)):
        if (palette := palette_on(side, images)) is None:
            continue
        truth: Classes = _highest if side in planes else partial(_nearest, palette=palette)
        how, predict = "as-drawn", truth
        if side == "x":
            progress = options.progress_of("a segmenter learns from the training pairs")
            maps = _highest(x)[:, None].byte() if side in planes else x
            segmenter = segmentation.trained_segmenter(y, maps, palette, options.torch_device, progress)
            how, predict = "segmenter", partial(_segmented, segmenter=segmenter)
        protocol = f"{how}/{len(palette)}-classes/{protocol}"
        return [LabelMapScore(names, predict, side, truth, len(palette), protocol)]
    if options.names is not None:
        options.note_missing(names, "neither side of the training pairs is a label map of a few flat colours")
    return []


def _highest(planes: Tensor) -> Tensor:
    return planes.argmax(1)


def _nearest(images: Tensor, palette: Tensor) -> Tensor:
    return classes_of(as_bytes(images), palette)


def _segmented(images: Tensor, segmenter: Segmenter) -> Tensor:
    return segmentation.segment(segmenter, as_bytes(images))
