"""What a person asked to be measured, and the networks that it takes, where they are at hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from diptych import metrics
from diptych.devices import Device, choose_device
from diptych.evaluate.results import Progress
from diptych.kinds import Direction
from diptych.metrics import features, weights
from diptych.metrics.features import Features
from diptych.metrics.networks import lpips


@dataclass
class EvalOptions:
    """The metrics asked for, by name, and how to measure them; without `names`, all that the pictures allow.

    A metric whose network is not at hand is not measured, and `missing` says why; all others are.
    """

    names: Sequence[str] | None = None
    baselines: bool = False
    direction: Direction | None = None
    device: Device = "auto"
    features: Path | None = None
    weights: Path | None = None
    fetch_weights: bool = False
    progress: Progress | None = None
    missing: dict[str, str] = field(default_factory=dict)

    def chosen(self, there: Sequence[str], usual: Sequence[str], whom: object) -> list[str]:
        """The names asked for, or the usual ones; a `ValueError` for one that is not there."""
        if unknown := [name for name in self.names or () if name not in there]:
            raise ValueError(
                f"--metrics {unknown[0]}: there is no such metric for {whom}; there are: {', '.join(there)}"
            )
        return list(usual if self.names is None else self.names)

    def miss(self, names: Sequence[str], why: object) -> None:
        """Notes that these are not measured."""
        self.missing.update(dict.fromkeys(names, str(why)))

    def counted(self, what: str) -> Callable[[int, int], None] | None:
        """The progress of one piece of work."""
        progress = self.progress
        return (lambda done, total: progress(what, done, total)) if progress else None

    @cached_property
    def where(self) -> torch.device:
        """The device that does the work."""
        return choose_device(self.device)

    @cached_property
    def reader(self) -> Features:
        """The network whose features are compared; raises `weights.MissingWeightsError`."""
        if self.features:
            return features.exported(self.features, self.where)
        return features.inception(self.weights, fetch=self.fetch_weights, device=self.where)

    @cached_property
    def perceptual(self) -> Callable[[Tensor, dict[str, Tensor]], Tensor]:
        """LPIPS of each picture of a batch, seen as an 8-bit file would hold it; not a number for those that are too small.

        Raises `weights.MissingWeightsError`.
        """
        network = lpips.trained(weights.find(weights.ALEXNET, self.weights, self.fetch_weights)).to(self.where)

        @torch.inference_mode()
        def measure(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
            if min(outputs.shape[2:]) < lpips.SMALLEST:
                return torch.full((len(outputs),), torch.nan)
            output, target = (metrics.as_seen(some).to(self.where) * 2 - 1 for some in (outputs, batch["y"]))
            distances: Tensor = network(output, target)
            return distances.cpu()

        return measure
