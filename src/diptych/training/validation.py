"""Validation during training: metrics on held-out images, the best checkpoint, and early stopping."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diptych import metrics
from diptych.data.loaders import CachedDataset, EvalLoader
from diptych.images.files import as_bytes
from diptych.images.size import Size
from diptych.kinds import Direction
from diptych.methods import METHODS
from diptych.metrics import features
from diptych.training import checkpoint
from diptych.training.run import Run
from diptych.translators.base import Outcome, Translator

MAX_IMAGES = 500  # held-out images, evenly spaced
BATCH_SIZE = 16
SET_METRICS = ("swd", "fid")

Translators = Mapping[Direction, Translator]


def specification(translator: Translator, size: Size, seeded: bool = False) -> str:
    """The protocol in a metric's name: masks, seed, bits, image size.

    Images from noise have a seed, and so does a `seeded` metric.
    """
    conditions = dict.fromkeys((*translator.conditions, *(("seed-0",) if seeded else ())))
    return "/".join([*conditions, "8-bit", f"{size}px"])


class Validation:
    """Measures translators on the held-out images of a run.

    Raises a `ValueError` for a `--validate-by` that these images do not allow.
    """

    def __init__(self, run: Run, datasets: Sequence[CachedDataset], device: torch.device) -> None:
        settings, method = run.settings, METHODS[run.method]
        self.run, self.datasets, self.device = run, datasets, device
        has_targets = len(datasets) == 1 and bool(method.metrics)  # two sets are those of A and B, without pairs
        self.by = settings.validate_by or method.validation_metric
        too_small = {"ssim"} if min(settings.size) < metrics.SSIM_MIN_SIDE else set()
        with_targets = dict.fromkeys((*metrics.PAIRED, *method.metrics))
        available = [name for name in with_targets if metrics.better(name) and name not in too_small]
        if {spec.channels for spec in settings.specs} != {3}:
            available = [name for name in available if name not in metrics.COLOUR_METRICS]
        available = [
            *(available if has_targets else ()),
            *(SET_METRICS if all(spec.is_seen_by_others for spec in settings.specs) else ["swd"]),
        ]
        if self.by not in available:
            raise ValueError(
                f"--validate-by {self.by}: there is no such metric for {run.method} on these pictures; there are: "
                f"{', '.join(available)}"
            )
        usual = [name for name in method.metrics if name not in too_small] if has_targets else ["swd"]
        names = dict.fromkeys([*usual, self.by])
        self.per_image = [name for name in names if name not in SET_METRICS]
        self.set_metrics = [name for name in names if name in SET_METRICS]
        self.reader = features.inception(None, fetch=False, device=device) if "fid" in names else None
        self.count = min(*map(len, datasets), MAX_IMAGES)
        if self.set_metrics and self.count < 2:
            raise ValueError(
                f"--validate-by {self.by}: compares sets of two pictures or more, and one is held out in {run.data_paths}; "
                "hold out more, or leave --validate-every out"
            )
        self.real_features: dict[Direction, Tensor] = {}

    def __call__(self, translators: Translators) -> dict[str, float]:
        """The metrics by specification; with two translators, for each direction."""
        settings = self.run.settings
        first = translators[settings.direction]
        loader = EvalLoader(self.datasets, settings.direction, first.mask_spec, first.classes)
        values: dict[tuple[str, Direction], list[float]] = {}
        outputs, targets = dict[Direction, list[Tensor]](), dict[Direction, list[Tensor]]()
        for _, batch in loader.batches(self.count, BATCH_SIZE):
            on_device = {name: value.to(self.device) for name, value in batch.items()}
            for direction, outcome in outcomes(translators, settings.direction, on_device).items():
                output, target = outcome.output.float().cpu(), outcome.target.float().cpu()
                for name in self.per_image:
                    measured = metrics.compare(name, output, {**batch, "y": target})
                    values.setdefault((name, direction), []).extend(measured.tolist())
                if self.set_metrics:
                    outputs.setdefault(direction, []).append(as_bytes(output))
                    targets.setdefault(direction, []).append(as_bytes(target))
        results = {key: statistics.mean(measured) for key, measured in values.items()}
        for direction, generated in outputs.items():
            for name in self.set_metrics:
                results[name, direction] = self._distance(
                    name, direction, torch.cat(generated), torch.cat(targets[direction])
                )
        named = {way: f"/{way}" if len(translators) > 1 else "" for way in translators}
        return {f"{name}{named[way]}/{self._protocol(name, first)}": value for (name, way), value in results.items()}

    def _protocol(self, name: str, translator: Translator) -> str:
        protocol = specification(translator, self.run.settings.size, seeded=name == "swd")
        if name not in self.set_metrics:
            return protocol
        counts = f"{self.count}-vs-{self.count}-held-out"
        if name == "swd":
            return f"{counts}/{protocol}"
        assert self.reader is not None
        return f"{self.reader.protocol}/{counts}/{protocol}"

    def _distance(self, name: str, direction: Direction, generated: Tensor, real: Tensor) -> float:
        if name == "swd":
            return metrics.sliced_wasserstein(generated, real)
        assert self.reader is not None
        if direction not in self.real_features:
            self.real_features[direction] = features.extract(self.reader, real)
        return metrics.frechet_distance(features.extract(self.reader, generated), self.real_features[direction])


def outcomes(translators: Translators, forward: Direction, batch: dict[str, Tensor]) -> dict[Direction, Outcome]:
    """What each translator makes of a batch, whose x and y are swapped for the one that is not of `forward`."""
    swapped = {**batch, "x": batch["y"], "y": batch["x"]} if len(translators) > 1 else {}
    return {
        direction: translator.outcome(batch if direction == forward else swapped)
        for direction, translator in translators.items()
    }


class BestSoFar(NamedTuple):
    """The best validation of a run up to some step."""

    value: float
    step: int
    since: int
    """Validations after the best one."""
    names: tuple[str, ...]
    """The metric with its protocol: one name, or one for each direction."""


def updated(best: BestSoFar | None, entry: Mapping[str, Any], metric: str) -> BestSoFar | None:
    """Best-so-far after one more log entry.

    With two directions the mean counts. Values of different protocols are not comparable: the search starts again.

    >>> updated(None, {"step": 10, "validation": {"l1/AtoB/8-bit/64px": 1.0, "l1/BtoA/8-bit/64px": 2.0}}, "l1")
    BestSoFar(value=1.5, step=10, since=0, names=('l1/AtoB/8-bit/64px', 'l1/BtoA/8-bit/64px'))
    """
    measured = {name: value for name, value in entry.get("validation", {}).items() if name.partition("/")[0] == metric}
    if not measured:
        return best
    value, names = statistics.mean(measured.values()), tuple(measured)
    if best is None or best.names != names or metrics.better(metric) * (value - best.value) > 0:
        return BestSoFar(value, entry["step"], 0, names)
    return best._replace(since=best.since + 1)


def best_of(log: Sequence[Mapping[str, Any]], metric: str) -> BestSoFar | None:
    """The best validation of a log by a metric, the first of equal ones; None without validations.

    >>> log = [{"step": step, "validation": {"l1": value}} for step, value in ((10, 0.5), (20, 0.25), (30, 0.5))]
    >>> best_of(log, "l1")
    BestSoFar(value=0.25, step=20, since=1, names=('l1',))
    """
    best = None
    for entry in log:
        best = updated(best, entry, metric)
    return best


def best_so_far(run: Run, done: int) -> BestSoFar | None:
    """The best validation of the first `done` steps; None if the saved best model is not of that step.

    That happens after a change of --validate-by, or if the process was killed before the log entry was written.
    """
    by = run.settings.validate_by or METHODS[run.method].validation_metric
    best = best_of([entry for entry in run.read_log() if entry["step"] <= done], by)
    saved = checkpoint.model_step(checkpoint.model_folder(run.path, checkpoint.BEST))
    return best if best and saved == best.step else None


def out_of_patience(run: Run, best: BestSoFar | None) -> bool:
    """Whether the last `--patience` validations were all worse than the best one."""
    return bool(run.settings.patience and best and best.since >= run.settings.patience)
