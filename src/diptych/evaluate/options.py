"""The options of an evaluation, and the networks that its metrics use."""

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
    """The metrics to measure by name (None: all that the data allows), and how to measure them.

    A metric whose network has no weights here is skipped, and `missing` says why; all others are measured.
    """

    names: Sequence[str] | None = None
    baselines: bool = False
    direction: Direction | None = None
    device: Device = "auto"
    features: Path | None = None
    weights: Path | None = None
    fetch_weights: bool = False
    progress: Progress | None = None
    note: Callable[[str], None] = lambda line: None
    """Called with a line that a person should read."""
    missing: dict[str, str] = field(default_factory=dict)

    def select_metrics(self, available: Sequence[str], usual: Sequence[str], subject: object) -> list[str]:
        """The given names, by default the usual ones; a `ValueError` for one that is not available."""
        if unknown := [name for name in self.names or () if name not in available]:
            raise ValueError(
                f"--metrics {unknown[0]}: there is no such metric for {subject}; there are: {', '.join(available)}"
            )
        return list(usual if self.names is None else self.names)

    def note_missing(self, names: Sequence[str], reason: object) -> None:
        """Notes that these metrics are not measured."""
        self.missing.update(dict.fromkeys(names, str(reason)))

    def progress_of(self, task: str) -> Callable[[int, int], None] | None:
        """The progress callback of one task."""
        progress = self.progress
        return (lambda done, total: progress(task, done, total)) if progress else None

    @cached_property
    def torch_device(self) -> torch.device:
        """The device that does the work."""
        return choose_device(self.device)

    @cached_property
    def reader(self) -> Features:
        """The network whose features are compared; raises `weights.MissingWeightsError`."""
        if self.features:
            return features.exported(self.features, self.torch_device)
        return features.inception(self.weights, fetch=self.fetch_weights, device=self.torch_device)

    @cached_property
    def perceptual(self) -> Callable[[Tensor, dict[str, Tensor]], Tensor]:
        """LPIPS of each image of a batch, rounded to 8 bits; NaN for images that are too small.

        Raises `weights.MissingWeightsError`.
        """
        file = weights.find(weights.ALEXNET, self.weights, self.fetch_weights)
        network = lpips.trained(file).to(self.torch_device)

        @torch.inference_mode()
        def measure(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
            if min(outputs.shape[2:]) < lpips.SMALLEST:
                return torch.full((len(outputs),), torch.nan)
            pair = (metrics.quantized(images).to(self.torch_device) * 2 - 1 for images in (outputs, batch["y"]))
            distances: Tensor = network(*pair)
            return distances.cpu()

        return measure
