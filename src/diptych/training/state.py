"""A training in progress: what the loop and its hooks share."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from diptych.data.loaders import CachedDataset, EvalLoader, TrainLoader
from diptych.devices import autocast, memory_format
from diptych.methods import METHODS
from diptych.methods.base import Method
from diptych.methods.roles import FitsData
from diptych.progress import counting
from diptych.training import checkpoint
from diptych.training.run import Run
from diptych.training.updater import Updater
from diptych.translators.base import Translator

PREVIEW_ROWS = 4
PROBED = 8 * 256 * 256  # pixels that the doctor sees, of training and of held-out images each
MOST_PROBED = 64  # images


class Stop(Enum):
    """Whether this step is the last one. One decision a step: the loop begins it, validation may bring the end forward."""

    NO = "no"
    END = "the run is at its end"
    INTERRUPTED = "asked to stop"


@dataclass
class Moment:
    """After a step: how many are done, and whether to stop."""

    done: int
    stop: Stop
    validation: dict[str, float] = field(default_factory=dict)
    """Metrics by specification, if this step was validated."""

    @property
    def last(self) -> bool:
        """Whether no step follows."""
        return self.stop is not Stop.NO

    def due(self, every: int) -> bool:
        """Whether it is time for something that happens every so many steps, and before every stop."""
        return self.last or (every > 0 and self.done % every == 0)


class PreviewBatches:
    """Fixed batches for previews and for the doctor: the same images whenever the training is looked at."""

    def __init__(
        self, run: Run, training: list[CachedDataset], held_out: list[CachedDataset], translator: Translator
    ) -> None:
        settings = run.settings
        probed = min(PROBED // settings.size**2, MOST_PROBED)

        def batch(datasets: list[CachedDataset], most: int) -> dict[str, Tensor]:
            resized = [dataset.resized(settings.size) for dataset in datasets]
            loader = EvalLoader(resized, settings.direction, translator.mask_spec, translator.classes)
            count = max(min(most, len(loader)), 1)
            return loader.batch(range(count), count)

        self.preview = batch(held_out or training, PREVIEW_ROWS)
        # Of two sides as many as the smaller one has: images that repeat would look like a collapse
        self.training = batch(training, min(probed, *map(len, training)))
        self.held_out = batch(held_out, min(probed, *map(len, held_out))) if held_out else None


class LossMeans:
    """Means of a step's scalars since the last log entry, added up on the device."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: Counter[str] = Counter()  # a method may have other losses in each phase

    def add(self, scalars: dict[str, Tensor]) -> None:
        """Takes in one step."""
        for name, value in scalars.items():
            self.sums[name] = self.sums[name] + value.detach() if name in self.sums else value.detach()
        self.counts.update(scalars.keys())

    def take(self) -> dict[str, float]:
        """The means; begins anew."""
        totals = torch.stack([total.float() for total in self.sums.values()]).tolist()
        means = {name: total / self.counts[name] for name, total in zip(self.sums, totals, strict=True)}
        self.sums, self.counts = {}, Counter()
        return means


class Training:
    """One process's work on one run, at the newest checkpoint or at the beginning."""

    def __init__(
        self,
        run: Run,
        loader: TrainLoader,
        batches: PreviewBatches,
        device: torch.device,
        precision: Literal["fp32", "bf16"],
        console: Console,
    ) -> None:
        self.run, self.loader, self.batches, self.console = run, loader, batches, console
        self.settings = run.settings.model_copy(update={"precision": precision})
        self.device, self.precision = device, precision
        torch.manual_seed(seed_of(self.settings.seed, 2))
        method: Method = METHODS[run.method](self.settings.method, run.shape)
        self.method = method.to(device, memory_format=memory_format(device))  # type: ignore[call-overload]
        self.translators = self.method.translators(self.settings.direction)
        self.updater = Updater(self.method, self.settings, device)
        self.losses = LossMeans()
        self.config = checkpoint.ModelConfig(
            method=run.method,
            direction=self.settings.direction,
            shape=run.shape,
            settings=self.settings.method.model_dump(mode="json", by_alias=True),
        )
        self.checkpoints = run.path / "checkpoints"
        self.start = self._resume()
        if not self.start and isinstance(self.method, FitsData):
            with counting(console, "what the method takes from every picture") as progress:
                self.method.fit_statistics(_each(loader.datasets, progress))
        run.cut_log(self.start)
        self.log = run.read_log()

    def _resume(self) -> int:
        found = checkpoint.list_checkpoints(self.checkpoints)
        if not found:
            return 0
        step, path = found[-1]
        checkpoint.load_training(path, self.method, self.updater.optimizers, self.updater.ema)
        return step

    @contextmanager
    def as_deployed(self) -> Iterator[None]:
        """Inside, the method is the model that would be saved now."""
        self.method.eval()
        try:
            with torch.no_grad(), self.updater.deployed_weights(), autocast(self.precision, self.device):
                yield
        finally:
            self.method.train()

    def on_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A batch on the device of the training."""
        return {name: value.to(self.device) for name, value in batch.items()}

    def require_finite(self) -> None:
        """Raises a `ValueError` if a loss or gradient was not finite."""
        found = checkpoint.list_checkpoints(self.checkpoints)
        kept = f"the checkpoint of step {found[-1][0]} is kept" if found else "there is no checkpoint yet"
        self.updater.require_finite(kept)

    def save_model(self, done: int, name: str = "") -> None:
        """Saves the model as it is now: the last one, or a snapshot of this name."""
        folder = checkpoint.model_folder(self.run.path, name)
        checkpoint.save_model(folder, self.config, done, self.method, self.updater.ema)


def seed_of(*key: int) -> int:
    """A seed for torch from several numbers."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])


def _each(datasets: Sequence[CachedDataset], progress: Callable[[int, int], None]) -> Iterator[Tensor]:
    samples = [(dataset, index) for dataset in datasets for index in range(len(dataset))]
    for done, (dataset, index) in enumerate(samples, start=1):
        yield dataset.get(index)
        progress(done, len(samples))
