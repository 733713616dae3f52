"""Ways to tell how good pictures are. Each is fed batch by batch, apart for every one who answers."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from diptych import metrics
from diptych.data.loaders import evenly_spaced
from diptych.evaluate.options import EvalOptions
from diptych.evaluate.results import Score
from diptych.images.files import as_bytes
from diptych.metrics import features
from diptych.metrics.features import Features, Pictures
from diptych.metrics.weights import MissingWeightsError

OF_SETS = {"fid": 2, "kid": 3, "mifid": 2, "precision": 4, "recall": 4}
"""Metrics of a set of pictures beside a set of real ones, and how many each takes of both."""
READ = 10_000  # pictures of a set at most, spread over all
HELD_OUT = "held-out pictures"


class Spread:
    """Some of `count` pictures, uint8 `[C, H, W]`: `most`, spread over all, loaded whenever they are gone through.

    >>> len(Spread(lambda place: torch.zeros(3, 8, 8, dtype=torch.uint8), 70_000))
    10000
    """

    def __init__(self, load: Callable[[int], Tensor], count: int, most: int = READ) -> None:
        self.load, self.places = load, evenly_spaced(most, count)

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Tensor]:
        return map(self.load, self.places)


class Measure(Protocol):
    """One way to tell how good answers are."""

    def add(self, who: str, outputs: Tensor, batch: dict[str, Tensor]) -> dict[str, list[float]]:
        """Takes in what someone made of a batch, `[B, C, H, W]`; gives the numbers of each picture, where it has such."""

    def numbers(self, who: str) -> list[Score]:
        """What came of all that someone made."""


class PerImage:
    """Each picture against its target, and the mean over all."""

    def __init__(self, names: Sequence[str], specification: str, options: EvalOptions) -> None:
        self.options = options
        self.measured: dict[str, Callable[[Tensor, dict[str, Tensor]], Tensor]] = {}
        for name in names:
            if name == "lpips":
                try:
                    self.measured[f"lpips/alexnet-0.1/{specification}"] = options.perceptual
                except MissingWeightsError as error:
                    options.note_missing([name], error)
            else:
                self.measured[f"{name}/{specification}"] = _compared(name)
        self.values: dict[str, dict[str, list[float]]] = {}

    def add(self, who: str, outputs: Tensor, batch: dict[str, Tensor]) -> dict[str, list[float]]:
        """The numbers of each picture; not a number where it is too small for a metric."""
        of_each = {name: measure(outputs, batch).tolist() for name, measure in self.measured.items()}
        for name, values in of_each.items():
            self.values.setdefault(who, {}).setdefault(name, []).extend(values)
        return of_each

    def numbers(self, who: str) -> list[Score]:
        """The means; none where a picture has no such number."""
        means = [Score(name, sum(values) / len(values)) for name, values in self.values.get(who, {}).items()]
        for mean in means:
            if math.isnan(mean.value):
                self.options.note_missing(
                    [mean.name.partition("/")[0]], "is not defined for pictures as small as some of these"
                )
        return [mean for mean in means if not math.isnan(mean.value)]


def _compared(name: str) -> Callable[[Tensor, dict[str, Tensor]], Tensor]:
    return lambda outputs, batch: metrics.compare(name, outputs, batch)


class SetDistance:
    """All pictures together beside real ones, by what a network sees in them."""

    def __init__(
        self, names: Sequence[str], reader: Features, real: Tensor, against: str, options: EvalOptions
    ) -> None:
        """`real` are the features of the real pictures, and `against` says what these are, and how they were read."""
        self.names, self.reader, self.real, self.against, self.options = names, reader, real, against, options
        self.seen: dict[str, list[Tensor]] = {}
        self.counts = Counter[str]()
        self.selected: Collection[int] | None = None
        """The numbers of the pictures that are taken of everyone who answers; None takes all."""

    def add(self, who: str, outputs: Tensor, batch: dict[str, Tensor]) -> dict[str, list[float]]:
        """Reads those that are taken as a file would hold them; a single picture has no number."""
        first = self.counts[who]
        self.counts[who] += len(outputs)
        rows = [row for row in range(len(outputs)) if self.selected is None or first + row in self.selected]
        if rows:
            self.add_features(who, self.reader.read(as_bytes(outputs[rows])))
        return {}

    def add_features(self, who: str, seen: Tensor) -> None:
        """Takes in what was seen before, `[N, D]`."""
        self.seen.setdefault(who, []).append(seen)

    def numbers(self, who: str) -> list[Score]:
        """The distances to the real pictures."""
        if who not in self.seen:
            return []
        seen = torch.cat(self.seen[who])
        fewest = min(len(seen), len(self.real))
        few = [name for name in self.names if fewest < OF_SETS[name]]
        for name in few:
            self.options.note_missing([name], f"takes {OF_SETS[name]} pictures or more, of {who} and of real ones")
        behind = f"{self.reader.protocol}/{len(seen)}-{self.against}"
        return [
            Score(f"{name}/{behind}", *found)
            for name, found in distances([name for name in self.names if name not in few], seen, self.real).items()
        ]


def distances(names: Iterable[str], seen: Tensor, real: Tensor) -> dict[str, tuple[float, float | None]]:
    """Metrics of sets of features, each with its standard error where it has one."""
    found: dict[str, tuple[float, float | None]] = {}
    wanted = set(names)
    if "fid" in wanted:
        found["fid"] = metrics.frechet_distance(seen, real), None
    if "kid" in wanted:
        found["kid"] = metrics.kernel_distance(seen, real)
    if "mifid" in wanted:
        found["mifid"] = metrics.memorisation_informed(seen, real), None
    if wanted & {"precision", "recall"}:
        precision, recall = metrics.precision_recall(seen, real)
        found |= {"precision": (precision, None), "recall": (recall, None)}
    return {name: value for name, value in found.items() if name in wanted}


def open_sets(
    names: Sequence[str], real: Callable[[], Pictures], which: str, behind: str, options: EvalOptions
) -> list[SetDistance]:
    """The measure of these metrics beside real pictures; none where there is no network to see them.

    `which` says what the real pictures are ("-training"), and `behind` how large all pictures are.
    """
    if not names:
        return []
    try:
        reader = options.reader
    except MissingWeightsError as error:
        options.note_missing(names, error)
        return []
    of_real = features.of_set(reader, real(), keep=True, progress=options.progress_of("reading real pictures"))
    return [SetDistance(names, reader, of_real, f"vs-{len(of_real)}{which}/{behind}", options)]
