"""What a method is worth on held-out pictures while it learns: which model was the best, and whether to go on."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diptych import metrics
from diptych.data.loaders import CachedDataset, EvalLoader
from diptych.images.files import as_bytes
from diptych.kinds import REVERSE
from diptych.methods import METHODS
from diptych.methods.base import Method
from diptych.metrics import features
from diptych.training import checkpoint
from diptych.training.run import Run

MOST = 500  # held-out pictures, spread over all
AT_ONCE = 16


def specification(method: Method, size: int, seeded: bool = False) -> str:
    """What stands behind a metric's name: with which holes, which seed, how many bits, and how large the pictures are.

    Pictures that are drawn out of noise have a seed, and so has a metric that is `seeded`.
    """
    parts = [str(method.holes)] if method.holes else []
    if seeded or method.data == "labelled":
        parts.append("seed-0")
    return "/".join([*parts, "8-bit", f"{size}px"])


class Validation:
    """The held-out pictures of a run, and the metrics by which it is told how well a method does on them.

    Raises a `ValueError` for a `--validate-by` that these pictures do not allow.
    """

    def __init__(self, run: Run, stores: Sequence[CachedDataset], device: torch.device) -> None:
        settings, method = run.settings, METHODS[run.method]
        self.run, self.stores, self.device = run, stores, device
        targets = method.data in ("paired", "images") or len(stores[0].dataset.specs) == 2
        self.by = settings.validate_by or method.best_by
        without = {"ssim"} if settings.size < metrics.LEAST_OF_SSIM else set()
        there = [name for name in metrics.PAIRED if metrics.better(name) and name not in without] if targets else []
        if {settings.channels_a, settings.channels_b} != {3}:
            there = [name for name in there if name not in metrics.OF_COLOUR]
        there += [*(metrics.IN_HOLES if "mask" in method.inputs else ()), "swd"]
        there += ["fid"] if {settings.channels_a, settings.channels_b} <= {1, 3} else []
        if self.by not in there:
            raise ValueError(
                f"--validate-by {self.by}: there is no such metric for {run.method} on these pictures; there are: "
                f"{', '.join(there)}"
            )
        usual = [name for name in method.metrics if name not in without] if targets else ["swd"]
        names = dict.fromkeys([*usual, self.by])
        self.of_pictures = [name for name in names if name not in ("swd", "fid")]
        self.of_sets = [name for name in names if name in ("swd", "fid")]
        self.reader = features.inception(None, fetch=False, device=device) if "fid" in names else None
        self.count = min(*map(len, stores), MOST)
        if self.of_sets and self.count < 2:
            raise ValueError(
                f"--validate-by {self.by}: compares sets of two pictures or more, and one is held out in {run.place}; hold "
                "out more, or leave --validate-every out"
            )
        self.real: dict[str, Tensor] = {}

    def __call__(self, method: Method) -> dict[str, float]:
        """The metrics by their specification; of a method that translates both ways each way has its own."""
        settings = self.run.settings
        plain = EvalLoader(self.stores, settings.direction, method.holes, method.classes)
        values: dict[tuple[str, str], list[float]] = {}
        drawn: dict[str, Tensor] = {}
        real: dict[str, Tensor] = {}
        for numbers, batch in plain.batches(self.count, AT_ONCE):
            on_device = {name: value.to(self.device) for name, value in batch.items()}
            for way, outcome in method.outcomes(on_device).items():
                output, target = outcome.output.float().cpu(), outcome.real.float().cpu()
                for name in self.of_pictures:
                    of_each = metrics.compare(name, output, {**batch, "y": target})
                    values.setdefault((name, way), []).extend(of_each.tolist())
                if self.of_sets:
                    for whole, some in ((drawn, output), (real, target)):
                        if way not in whole:
                            whole[way] = torch.empty(self.count, *some.shape[1:], dtype=torch.uint8)
                        whole[way][numbers.start : numbers.stop] = as_bytes(some)
        told = {key: statistics.mean(of_each) for key, of_each in values.items()}
        for way, pictures in drawn.items():
            for name in self.of_sets:
                told[name, way] = self._distance(name, way, pictures, real[way])
        ways = (settings.direction, REVERSE[settings.direction])
        of_way = {way: f"/{ways[method.deployed.index(way)]}" if method.two_way else "" for _, way in told}
        return {f"{name}{of_way[way]}/{self._protocol(name, method)}": value for (name, way), value in told.items()}

    def _protocol(self, name: str, method: Method) -> str:
        behind = specification(method, self.run.settings.size, seeded=name == "swd")
        if name not in self.of_sets:
            return behind
        counts = f"{self.count}-vs-{self.count}-held-out"
        if name == "swd":
            return f"{counts}/{behind}"
        assert self.reader is not None
        return f"{self.reader.protocol}/{counts}/{behind}"

    def _distance(self, name: str, way: str, pictures: Tensor, real: Tensor) -> float:
        if name == "swd":
            return metrics.sliced_wasserstein(pictures, real)
        assert self.reader is not None
        if way not in self.real:
            self.real[way] = features.of_set(self.reader, real)
        return metrics.frechet_distance(features.of_set(self.reader, pictures), self.real[way])


class BestSoFar(NamedTuple):
    """How a run's validations went so far."""

    best: float
    step: int
    since: int
    """Validations after the best one."""
    names: tuple[str, ...]
    """What was measured, with its protocol: one name, or one for each way."""


def after(found: BestSoFar | None, entry: Mapping[str, Any], metric: str) -> BestSoFar | None:
    """How things stand after one more line of a log; as before where it has no such validation.

    The mean over both ways decides where there are two. What was measured by another protocol does not compare, and the
    best is sought anew.

    >>> after(None, {"step": 10, "validation": {"l1/AtoB/8-bit/64px": 1.0, "l1/BtoA/8-bit/64px": 2.0}}, "l1")
    BestSoFar(best=1.5, step=10, since=0, names=('l1/AtoB/8-bit/64px', 'l1/BtoA/8-bit/64px'))
    """
    told = {name: value for name, value in entry.get("validation", {}).items() if name.partition("/")[0] == metric}
    if not told:
        return found
    value, names = statistics.mean(told.values()), tuple(told)
    if found is None or found.names != names or metrics.better(metric) * (value - found.best) > 0:
        return BestSoFar(value, entry["step"], 0, names)
    return found._replace(since=found.since + 1)


def standing(log: Sequence[Mapping[str, Any]], metric: str) -> BestSoFar | None:
    """The best validation in a log by a metric, the first of equal ones; None where there is none.

    >>> log = [{"step": step, "validation": {"l1": value}} for step, value in ((10, 0.5), (20, 0.25), (30, 0.5))]
    >>> standing(log, "l1")
    BestSoFar(best=0.25, step=20, since=1, names=('l1',))
    """
    found = None
    for entry in log:
        found = after(found, entry, metric)
    return found


def best_so_far(run: Run, done: int) -> BestSoFar | None:
    """How the validations of the first `done` steps went; None where the model that was kept is not the best of them.

    It is another one after a change of --validate-by, or a kill before its line was in the log.
    """
    by = run.settings.validate_by or METHODS[run.method].best_by
    found = standing([entry for entry in run.read_log() if entry["step"] <= done], by)
    return found if found and checkpoint.model_step(checkpoint.kept(run.path, checkpoint.BEST)) == found.step else None


def out_of_patience(run: Run, found: BestSoFar | None) -> bool:
    """Whether so many validations without a better model have passed that the run ends."""
    return bool(run.settings.patience and found and found.since >= run.settings.patience)
