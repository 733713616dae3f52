"""The state of a training in progress, shared by the loop and its hooks."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property, partial

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from diptych import distributed
from diptych.cpu import FastOperators
from diptych.data.loaders import CachedDataset, EvalLoader, TrainLoader, evenly_spaced
from diptych.devices import Computation, computing
from diptych.files import make_folder
from diptych.images.spec import to_eight_bit
from diptych.methods import build
from diptych.methods.roles import FitsData, Phased
from diptych.networks.image_pool import ImagePool
from diptych.networks.layers import BatchNorm, has_statistics, initialise, measured_statistics
from diptych.progress import counting, say
from diptych.training import checkpoint
from diptych.training.origin import Origin, begin_from, continue_optimizers
from diptych.training.run import Run
from diptych.training.updater import Updater
from diptych.training.validation import outcomes
from diptych.translators.base import Translator

PREVIEW_ROWS = 4
DOCTOR_PIXELS = 8 * 256 * 256  # per batch for the doctor, one of training and one of held-out images
MAX_DOCTOR_IMAGES = 64
STATISTICS_IMAGES = 64  # of the training, that batch norms are measured on
FITTED = 1000  # samples that a method takes something from, of data that is not looked at as a whole
AT_ONCE = 64  # samples that are decoded ahead


class Stop(Enum):
    """Whether this step is the last one: decided by the loop, or earlier by validation."""

    NO = "no"
    END = "the run is at its end"
    INTERRUPTED = "asked to stop"


@dataclass
class Moment:
    """The moment after a step: the number of steps done, and whether to stop."""

    done: int
    stop: Stop
    validation: dict[str, float] = field(default_factory=dict)
    """Metrics by specification; empty without a validation at this step."""

    @property
    def last(self) -> bool:
        """Whether this was the last step."""
        return self.stop is not Stop.NO

    def due(self, every: int) -> bool:
        """Whether an action with an interval of `every` steps is due; always before a stop."""
        return self.last or (every > 0 and self.done % every == 0)


Hook = Callable[[Moment], None]
"""An action of the loop, called after every step."""


class PreviewBatches:
    """Fixed batches for previews and for the doctor."""

    def __init__(
        self, run: Run, training: list[CachedDataset], held_out: list[CachedDataset], translator: Translator
    ) -> None:
        settings = run.settings
        doctor_images = min(DOCTOR_PIXELS // settings.size.area, MAX_DOCTOR_IMAGES)

        def batch(datasets: list[CachedDataset], most: int) -> dict[str, Tensor]:
            resized = [dataset.resized(settings.size) for dataset in datasets]
            loader = EvalLoader(resized, settings.direction, translator.mask_spec, translator.classes)
            count = max(min(most, len(loader)), 1)
            return loader.batch(range(count), count)

        self.preview = batch(held_out or training, PREVIEW_ROWS)
        # Both sides have the size of the smaller one: repeated images would look like mode collapse
        self.training = batch(training, min(doctor_images, *map(len, training)))
        self.held_out = batch(held_out, min(doctor_images, *map(len, held_out))) if held_out else None


class LossMeans:
    """Means of the scalars of training steps since the last log entry, summed on the device."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: Counter[str] = Counter()  # losses may differ between the phases of a method

    def add(self, scalars: dict[str, Tensor]) -> None:
        """Adds the scalars of one step."""
        for name, value in scalars.items():
            self.sums[name] = self.sums[name] + value.detach() if name in self.sums else value.detach()
        self.counts.update(scalars.keys())

    def take(self) -> dict[str, float]:
        """Returns the means and resets them."""
        totals = torch.stack([total.float() for total in self.sums.values()]).tolist()
        means = {name: total / self.counts[name] for name, total in zip(self.sums, totals, strict=True)}
        self.sums, self.counts = {}, Counter()
        return means


class Training:
    """The training of a run in this process, restored from the newest checkpoint."""

    def __init__(
        self,
        run: Run,
        loader: TrainLoader,
        batches: PreviewBatches,
        computation: Computation,
        console: Console,
        origin: Origin | None = None,
        with_optimizers: bool = False,
    ) -> None:
        """A run without a checkpoint begins with the weights of `origin`, and with its optimisers if so wished."""
        self.run, self.loader, self.batches, self.console = run, loader, batches, console
        device, self.precision, self.transforms = computation
        self.device, self.operators = device, FastOperators(transforms=self.transforms)
        self.settings = run.settings.model_copy(update={"precision": self.precision})
        torch.manual_seed(seed_of(self.settings.seed, 2))
        self.method = build(run.method, self.settings.method, run.shape, device)
        self.checkpoints = run.path / "checkpoints"
        if self.settings.init_type != "normal":
            initialise(self.method, self.settings.init_type)
        begins_from = None if checkpoint.list_checkpoints(self.checkpoints) else origin
        if begins_from:
            say(console, begin_from(begins_from, self.method))
        self.method.freeze(self.settings.frozen_stages)
        self.phased = self.method if isinstance(self.method, Phased) else None
        self.translators = self.method.translators(self.settings.direction)
        self.updater = Updater(self.method, self.settings, device)
        if begins_from and with_optimizers:
            say(console, continue_optimizers(begins_from, self.method, self.updater.optimizers))
        self.measured_at = -1
        """The step after which the statistics of batch norms were measured."""
        self.losses = LossMeans()
        self.config = checkpoint.ModelConfig(
            method=run.method,
            direction=self.settings.direction,
            shape=run.shape,
            settings=self.settings.method.model_dump(mode="json", by_alias=True),
            sides=run.sides,
        )
        self.start = self._resume()
        if (
            not self.start
            and isinstance(self.method, FitsData)
            and distributed.decided(partial(self._fit, self.method))
        ):
            distributed.spread([*self.method.buffers()])
        if distributed.is_first():
            run.cut_log(self.start)
        self.log = run.read_log()
        self.own_buffers = [
            buffer
            for module in self.method.modules()
            if not isinstance(module, ImagePool | BatchNorm)  # one pool for all; statistics that the first measures
            for buffer in module.buffers(recurse=False)
            if buffer.is_floating_point()
        ]
        """What each process would change by its own pictures alone, such as running statistics."""

    def _fit(self, method: FitsData) -> bool:
        with counting(self.console, "what the method takes from every picture") as progress:
            method.fit_statistics(_each(self.loader.datasets, self.settings.workers, progress))
        return True

    def _resume(self) -> int:
        existing = checkpoint.list_checkpoints(self.checkpoints)
        if not existing:
            return 0
        step, path = existing[-1]
        checkpoint.load_training(path, self.method, self.updater.optimizers, self.updater.ema)
        return step

    def averaged(self, scalars: dict[str, Tensor]) -> dict[str, Tensor]:
        """The means of the scalars of a step over all processes, whose own buffers become means too."""
        if distributed.size() == 1:
            return scalars
        means = {name: value.detach().clone() for name, value in scalars.items()}
        distributed.average([*means.values(), *self.own_buffers])
        return means

    def require_same(self) -> None:
        """Raises a `ValueError` in all processes if weights or optimisers are not the same in all of them."""
        states = [value for one in self.updater.optimizers.values() for value in _tensors(one)]
        with distributed.agreeing():
            if distributed.differ([*self.method.parameters(), *self.updater.ema.values(), *states]):
                raise ValueError(
                    f"{self.run.path}: the processes of this training have different weights; let all machines see the same "
                    "run folder with the same versions, and give the same command: its checkpoints are whole"
                )

    @contextmanager
    def as_deployed(self) -> Iterator[None]:
        """Inside, the method is in eval mode, as it is deployed: with the averaged weights and measured statistics."""
        self.measure_statistics()
        with self._with_deployed_weights():
            yield

    @contextmanager
    def _with_deployed_weights(self) -> Iterator[None]:
        self.method.eval()
        try:
            with (
                torch.no_grad(),
                self.updater.deployed_weights(),
                computing("fp32", self.device, FastOperators(frozen=True, transforms=self.transforms)),
            ):
                yield
        finally:
            self.method.train()

    def measure_statistics(self) -> None:
        """Gives batch norms the statistics of training images, unless they have those of the weights of this step.

        The images are seen whole, in batches as large as those of the training.
        """
        if self.measured_at == self.updater.step or not has_statistics(self.method):
            return
        images, at_once = self.statistics_images, self.settings.batch_size
        count = max(min(STATISTICS_IMAGES, len(images)) // at_once, 1) * at_once
        with self._with_deployed_weights(), measured_statistics(self.method):
            for _, batch in images.batches(count, at_once):
                outcomes(self.translators, self.settings.direction, self.on_device(batch))
        self.measured_at = self.updater.step

    @cached_property
    def statistics_images(self) -> EvalLoader:
        """Training images as a translation sees them; decoded once."""
        resized = [dataset.resized(self.settings.size) for dataset in self.loader.datasets]
        for dataset in resized:
            dataset.cache = {}
        return EvalLoader(resized, self.settings.direction, self.loader.mask_spec, self.run.classes)

    def on_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A batch on the device of the training."""
        return {name: value.to(self.device) for name, value in batch.items()}

    def require_finite(self) -> None:
        """Raises a `ValueError` if a loss or gradient was not finite."""
        existing = checkpoint.list_checkpoints(self.checkpoints)
        state = f"the checkpoint of step {existing[-1][0]} is kept" if existing else "there is no checkpoint yet"
        self.updater.require_finite(state)

    def save_model(self, done: int, name: str = "") -> None:
        """Saves the current model as the last one, or as a named snapshot."""
        folder = checkpoint.model_folder(self.run.path, name)
        with self.as_deployed():
            checkpoint.save_model(folder, self.config, done, self.method)

    def save_checkpoint(self, done: int) -> None:
        """Saves the training state, and then the model."""
        make_folder(self.checkpoints)
        self.measure_statistics()  # a checkpoint has those of its own weights
        checkpoint.save_training(self.checkpoints, done, self.method, self.updater.optimizers, self.updater.ema)
        self.save_model(done)


def _tensors(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    """The moments of an optimiser."""
    for state in optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, Tensor) and value.ndim)


def seed_of(*key: int) -> int:
    """A seed for torch from several numbers."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])


def _each(datasets: Sequence[CachedDataset], threads: int, progress: Callable[[int, int], None]) -> Iterator[Tensor]:
    """The images of all samples; of evenly spaced ones where there may be too many."""
    samples = [
        (dataset, index)
        for dataset in datasets
        for index in evenly_spaced(FITTED if dataset.replaces else len(dataset), len(dataset))
    ]
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        for start in range(0, len(samples), AT_ONCE):
            decoded = pool.map(lambda sample: sample[0].sides(sample[1]), samples[start : start + AT_ONCE])
            for done, sides in enumerate(decoded, start=start + 1):
                yield from map(to_eight_bit, sides)
                progress(done, len(samples))
