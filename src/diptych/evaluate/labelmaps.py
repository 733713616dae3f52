"""Metrics for translations from or into label maps: are the pixels of the output of the classes that the labels give?

From labels: the FCN score (Isola et al. 2017, section 4.1), by a segmenter trained on the real pairs instead of downloaded
weights; its score on the real photographs is reported next to it. Into labels: colours are read as classes directly.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from diptych.evaluate import segmentation
from diptych.evaluate.options import EvalOptions
from diptych.evaluate.results import Score
from diptych.images.files import as_bytes
from diptych.images.label_maps import classes_of, palette_of
from diptych.metrics.segmentation import confusion, per_pixel_accuracy, score

LABEL_MAP_METRICS = ("per-pixel-accuracy", "per-class-accuracy", "class-iou")
MAX_TRAINING_PAIRS = 2000  # evenly spaced
PROBE_PAIRS = 200  # pairs at most that decide whether the data has label maps


class LabelMapScore:
    """Accuracy of the classes read from the outputs, against the classes of the label maps."""

    def __init__(
        self, names: Sequence[str], predict: Callable[[Tensor], Tensor], side: str, palette: Tensor, protocol: str
    ) -> None:
        """`predict` gives the classes in images, uint8 `[B, C, H, W]` -> `[B, H, W]`; `side` (x or y) has label maps."""
        self.names, self.predict, self.side, self.palette, self.protocol = names, predict, side, palette, protocol
        self.matrices: dict[str, Tensor] = {}

    def add(self, system: str, outputs: Tensor, batch: dict[str, Tensor]) -> dict[str, list[float]]:
        """The per-image accuracy."""
        predicted, truth = self.predict(as_bytes(outputs)), classes_of(as_bytes(batch[self.side]), self.palette)
        per_image = [confusion(*classes, len(self.palette)) for classes in zip(predicted, truth, strict=True)]
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
    names: Sequence[str], training: Callable[[int], tuple[Tensor, Tensor]], protocol: str, options: EvalOptions
) -> list[LabelMapScore]:
    """The measure of these metrics for data like the training pairs; empty if neither side is a label map.

    `training(most)` loads at most `most` pairs, x and y, uint8 `[N, C, S, S]`. Most data sets have no label maps, and a
    few pairs are enough to see that.
    """
    x, y = training(PROBE_PAIRS)
    if palette_of(y) is not None or palette_of(x) is not None:
        x, y = training(MAX_TRAINING_PAIRS)
    for side, label_maps in (("y", y), ("x", x)):
        if (palette := palette_of(label_maps)) is not None:
            how, predict = "as-drawn", partial(classes_of, palette=palette)
            if side == "x":
                progress = options.progress_of("a segmenter learns from the training pairs")
                segmenter = segmentation.trained_segmenter(y, x, palette, options.torch_device, progress)
                how, predict = "segmenter", partial(segmentation.segment, segmenter)
            return [LabelMapScore(names, predict, side, palette, f"{how}/{len(palette)}-classes/{protocol}")]
    if options.names is not None:
        options.note_missing(names, "neither side of the training pairs is a label map of a few flat colours")
    return []
