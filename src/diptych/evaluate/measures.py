"""Measures of image quality. Each is fed batch by batch and keeps the outputs of every system apart.

A system is anything that makes images: the model, a snapshot, a baseline, or the held-out images themselves.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from diptych import metrics
from diptych.data.loaders import evenly_spaced
from diptych.evaluate.options import EvalOptions
from diptych.evaluate.results import Score
from diptych.images.files import as_bytes
from diptych.metrics import features
from diptych.metrics.features import Features, Images
from diptych.metrics.weights import MissingWeightsError

SET_DISTANCES = {"fid": 2, "kid": 3, "mifid": 2, "precision": 4, "recall": 4}
"""Metrics that compare a set of images with a set of real ones, and the smallest size of both sets."""
MAX_IMAGES = 10_000  # of a set, evenly spaced
MAX_PATCHED = 500  # images of a set whose patches are compared, as many as in a validation
HELD_OUT = "held-out pictures"


class EvenSubset:
    """At most `most` of `count` images, uint8 `[C, H, W]`, evenly spaced and loaded anew in every pass.

    >>> len(EvenSubset(lambda index: torch.zeros(3, 8, 8, dtype=torch.uint8), 70_000))
    10000
    """

    def __init__(self, load: Callable[[int], Tensor], count: int, most: int = MAX_IMAGES) -> None:
        self.load, self.indices = load, evenly_spaced(most, count)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Tensor]:
        return map(self.load, self.indices)


class PerImage:
    """Per-image metrics against the target, averaged over all images."""

    def __init__(self, names: Sequence[str], protocol: str, options: EvalOptions) -> None:
        self.options = options
        self.metrics: dict[str, Callable[[Tensor, dict[str, Tensor]], Tensor]] = {}
        for name in names:
            if name == "lpips":
                try:
                    self.metrics[f"lpips/alexnet-0.1/{protocol}"] = options.perceptual
                except MissingWeightsError as error:
                    options.note_missing([name], error)
            else:
                self.metrics[f"{name}/{protocol}"] = partial(metrics.compare, name)
        self.values: dict[str, dict[str, list[float]]] = {}

    def add(self, system: str, outputs: Tensor, batch: dict[str, Tensor]) -> dict[str, list[float]]:
        """The per-image values; NaN if an image is too small for a metric."""
        per_image = {name: metric(outputs, batch).tolist() for name, metric in self.metrics.items()}
        for name, values in per_image.items():
            self.values.setdefault(system, {}).setdefault(name, []).extend(values)
        return per_image

    def scores(self, system: str) -> list[Score]:
        """The means, without those of metrics that are NaN for an image."""
        means = [Score(name, sum(values) / len(values)) for name, values in self.values.get(system, {}).items()]
        for mean in means:
            if math.isnan(mean.value):
                metric = mean.name.partition("/")[0]
                self.options.note_missing([metric], "is not defined for pictures as small as some of these")
        return [mean for mean in means if not math.isnan(mean.value)]


class SetDistance:
    """Distances between all outputs of a system and a set of real images, in the features of a network."""

    def __init__(
        self, names: Sequence[str], reader: Features, real: Tensor, protocol: str, options: EvalOptions
    ) -> None:
        """`real` are the features of the real images; `protocol` names these images and their size."""
        self.names, self.reader, self.real, self.protocol, self.options = names, reader, real, protocol, options
        self.features: dict[str, list[Tensor]] = {}
        self.counts = Counter[str]()
        self.selected: Collection[int] | None = None
        """Indices of the outputs to use, the same for every system; None for all."""

    def add(self, system: str, outputs: Tensor, batch: dict[str, Tensor]) -> dict[str, list[float]]:
        """Extracts features of the selected outputs, rounded to 8 bits. Returns nothing per image."""
        first = self.counts[system]
        self.counts[system] += len(outputs)
        rows = [row for row in range(len(outputs)) if self.selected is None or first + row in self.selected]
        if rows:
            self.add_features(system, self.reader.read(as_bytes(outputs[rows])))
        return {}

    def add_features(self, system: str, rows: Tensor) -> None:
        """Adds features that are already extracted, `[N, D]`."""
        self.features.setdefault(system, []).append(rows)

    def scores(self, system: str) -> list[Score]:
        """The distances to the real images."""
        if system not in self.features:
            return []
        outputs = torch.cat(self.features[system])
        smaller = min(len(outputs), len(self.real))
        for name in self.names:
            if smaller < (least := SET_DISTANCES[name]):
                self.options.note_missing([name], f"takes {least} pictures or more, of {system} and of real ones")
        protocol = f"{self.reader.protocol}/{len(outputs)}-{self.protocol}"
        values = distances({name for name in self.names if smaller >= SET_DISTANCES[name]}, outputs, self.real)
        return [Score(f"{name}/{protocol}", *value) for name, value in values.items()]


class PatchDistance:
    """The sliced Wasserstein distance between the outputs of a system and real held-out images."""

    def __init__(self, real: Tensor, selected: Collection[int], protocol: str, options: EvalOptions) -> None:
        """`real` are `[N, C, H, W]`, uint8; `selected` the indices of as many outputs."""
        self.real, self.selected, self.options = real, selected, options
        self.name = f"swd/{len(selected)}-vs-{len(real)}-held-out/{protocol}"
        self.outputs: dict[str, list[Tensor]] = {}
        self.counts = Counter[str]()

    def add(self, system: str, outputs: Tensor, batch: dict[str, Tensor]) -> dict[str, list[float]]:
        """Keeps the selected outputs, rounded to 8 bits. Returns nothing per image."""
        first = self.counts[system]
        self.counts[system] += len(outputs)
        if rows := [row for row in range(len(outputs)) if first + row in self.selected]:
            self.outputs.setdefault(system, []).append(as_bytes(outputs[rows]))
        return {}

    def scores(self, system: str) -> list[Score]:
        """The distance to the real images."""
        if system not in self.outputs:
            return []
        try:
            return [Score(self.name, metrics.sliced_wasserstein(torch.cat(self.outputs.pop(system)), self.real))]
        except ValueError as error:  # smaller than a patch
            self.options.note_missing(["swd"], error)
            return []


def distances(names: Collection[str], outputs: Tensor, real: Tensor) -> dict[str, tuple[float, float | None]]:
    """Distances between two sets of features, each with its standard error (None for a metric without one)."""
    values: dict[str, tuple[float, float | None]] = {}
    if "fid" in names:
        values["fid"] = metrics.frechet_distance(outputs, real), None
    if "kid" in names:
        values["kid"] = metrics.kernel_distance(outputs, real)
    if "mifid" in names:
        values["mifid"] = metrics.memorisation_informed(outputs, real), None
    if "precision" in names or "recall" in names:
        precision, recall = metrics.precision_recall(outputs, real)
        values |= {"precision": (precision, None), "recall": (recall, None)}
    return {name: value for name, value in values.items() if name in names}


def open_set_distances(
    names: Sequence[str], real: Callable[[], Images], reference: str, protocol: str, options: EvalOptions
) -> list[SetDistance]:
    """The measure of these metrics against a set of real images; empty without weights for the feature network.

    `reference` names the real images in the specification ("-training"), and `protocol` the size of all images.
    """
    if not names:
        return []
    try:
        reader = options.reader
    except MissingWeightsError as error:
        options.note_missing(names, error)
        return []
    rows = features.extract(reader, real(), keep=True, progress=options.progress_of("reading real pictures"))
    return [SetDistance(names, reader, rows, f"vs-{len(rows)}{reference}/{protocol}", options)]
