"""Datasets -> endless training batches, seeded and resumable: batch n is a function of (seed, n) and of nothing else.

Images are decoded once, to levels at the load size, and cached in memory if they fit in the budget. Crop and flip work on
the levels. A batch is a dict of tensors; those of one type share a buffer, so that there is one transfer per type.
"""

import shlex
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from random import Random
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from diptych.data.datasets import Dataset, LabelledDataset
from diptych.data.looked_at import Found, LookedAt
from diptych.images import formats, geometry, observed
from diptych.images.masks import MaskSpec
from diptych.images.remarks import collected
from diptych.images.size import Size
from diptych.images.spec import ImageSpec, to_eight_bit
from diptych.kinds import Direction

Fit = Literal["stretch", "crop"]
Progress = Callable[[int, int], None]

MASKS = ("mask", "other_mask")
"""Two independent holes for each sample: the one to fill, and another one."""

MARGIN = 2
"""Training decodes a file at a part of its size where no side falls below so many times the load size: see docs/data.md."""

SHOWN = 3  # files of no use that are named, after the first

SMALLEST_SHARE = 8  # an image with a side under 1/8 of the load size would be mostly interpolation


class CachedDataset:
    """A dataset decoded and resized on first access, cached in memory if it fits.

    `exact` decodes every pixel of a file before it is resized, as evaluation needs it; else large JPEGs are decoded at a
    part of their size, in a fraction of the time.
    """

    def __init__(self, dataset: Dataset, size: Size, fit: Fit = "stretch", exact: bool = True) -> None:
        self.dataset, self.size, self.fit, self.exact = dataset, size, fit, exact
        self.indices = list(range(len(dataset)))
        """The samples of the dataset that are used."""
        self.cache: dict[int, list[Tensor]] | None = None
        """Decoded samples by their index in the dataset; None caches nothing."""
        self.file_sizes: dict[int, tuple[int, int]] = {}
        """Height and width in the file of the samples that were looked at, by their index in the dataset."""
        self.remarks: dict[str, str] = {}
        """What `check` found to be said of samples that are used, by their names."""
        self.seen: dict[int, tuple[observed.Seen, ...]] = {}
        """What was seen in the file of each of their sides."""

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def bytes(self) -> int:
        """The size of its images in memory."""
        return len(self) * sum(spec.channels * spec.dtype.itemsize for spec in self.dataset.specs) * self.size.area

    def resized(self, size: Size) -> "CachedDataset":
        """The same samples at another size, without a cache."""
        resized = CachedDataset(self.dataset, size, self.fit, self.exact)
        resized.indices = self.indices
        return resized

    def name(self, index: int) -> str:
        """The name of sample `index`."""
        return self.dataset.name(self.indices[index])

    def label(self, index: int) -> int:
        """The label of sample `index` of a labelled dataset."""
        assert isinstance(self.dataset, LabelledDataset)
        return self.dataset.label(self.indices[index])

    def class_name(self, index: int) -> str:
        """The class of sample `index` of a labelled dataset."""
        assert isinstance(self.dataset, LabelledDataset)
        return self.dataset.names[self.indices[index]]

    def get(self, index: int) -> Tensor:
        """Single image `index` as uint8 `[C, H, W]`; 16 bits are rounded to 8."""
        [image] = self.sides(index)
        return to_eight_bit(geometry.join([image]))

    def sides(self, index: int) -> list[Tensor]:
        """The images of sample `index`: levels `[C, H, W]`, each as its spec says."""
        number = self.indices[index]
        if self.cache is not None and number in self.cache:
            return self.cache[number]
        sides = self._decode(number)
        if self.cache is not None:
            self.cache[number] = sides
        return sides

    @formats.one_sample()
    def _decode(self, number: int) -> list[Tensor]:
        sides: tuple[Tensor, ...]
        with observed.observing() as seen:
            if self.exact:
                sides = self.dataset.load(number)
                height, width = sides[0].shape[1:]
            else:
                sides, (height, width) = self.dataset.load_reduced(number, self.size.scaled(MARGIN))
        self.seen[number] = tuple(seen)
        least = Size(*(-(-side // SMALLEST_SHARE) for side in self.size))
        if height < least.height or width < least.width:
            raise ValueError(
                f"{self.dataset.files(number)}: {width}x{height} pixels is too small to be scaled to {self.size}; "
                f"sides of at least {least} are expected; remove it or lower --size"
            )
        self.file_sizes[number] = height, width
        if self.fit == "crop":
            sides = tuple(geometry.centre_crop(side, self.size) for side in sides)
        return [
            geometry.resize(side, *self.size, spec.kind) for side, spec in zip(sides, self.dataset.specs, strict=True)
        ]

    def check(
        self,
        threads: int,
        progress: Progress | None = None,
        reject_reason: Callable[[Tensor], str | None] | None = None,
        memory: LookedAt | None = None,
    ) -> dict[str, str]:
        """Decodes every sample once, so that a damaged file is named before training and not hours later.

        Leaves out the samples with an image, uint8 `[C, H, W]`, that has a `reject_reason`; returns their names and
        reasons. What `memory` knows is not decoded, and it keeps what is found, also when this ends early.
        """
        problems: dict[int, str] = {}
        found = memory.found if memory else {}
        new = [index for index, number in enumerate(self.indices) if number not in found]

        def check_one(index: int) -> None:
            try:
                with collected() as remarks:
                    sides = self.sides(index)
            except ValueError as error:
                problems[self.indices[index]] = str(error)
                return
            reasons = map(reject_reason, map(to_eight_bit, sides)) if reject_reason else ()
            number = self.indices[index]
            remark = "; ".join(dict.fromkeys(text for _, text, _ in remarks))
            reason = next(filter(None, reasons), "")
            found[number] = Found(*self.file_sizes[number], reason, self.seen[number], remark)

        pool = ThreadPoolExecutor(max(threads, 1))
        try:
            for done, _ in enumerate(pool.map(check_one, new), start=1):
                if progress:
                    progress(done, len(new))
        finally:
            pool.shutdown(cancel_futures=True)
            if memory:
                memory.keep()
        if problems:
            raise ValueError(self._problem(problems))
        self.file_sizes |= {number: (found[number].height, found[number].width) for number in self.indices}
        self.seen |= {number: found[number].seen for number in self.indices}
        rejected = {number: found[number].left_out for number in self.indices if found[number].left_out}
        self.indices = [number for number in self.indices if number not in rejected]
        self.remarks = {
            self.dataset.name(number): found[number].remark for number in self.indices if found[number].remark
        }
        return {self.dataset.name(number): reason for number, reason in rejected.items()}

    def _problem(self, problems: dict[int, str]) -> str:
        """The line of the first file that is of no use, with the names of some more."""
        first, *others = sorted(problems, key=lambda number: (problems[number], number))
        if not others:
            return problems[first]
        named = [_short_name(self.dataset, number) for number in others[:SHOWN]]
        more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        line = f"{problems[first]} (also: {', '.join(named)}{more}"
        folders = [shlex.quote(str(folder)) for folder in self.dataset.folders]
        return f"{line}; `diptych data inspect {folders[0]}` lists all)" if folders else f"{line})"

    def describe(self) -> str:
        """A summary of what `check` decoded: `400 side-by-side pairs, 512x256, A left`."""
        sizes = Counter(self.file_sizes.values())
        height, width = sizes.most_common(1)[0][0]
        others = f" (the commonest of {len(sizes)} sizes)" if len(sizes) > 1 else ""
        left_out = len(self.dataset) - len(self)
        return self.dataset.describe(height, width) + others + (f", {left_out} of them left out" if left_out else "")


def _short_name(dataset: Dataset, number: int) -> str:
    """The names of a sample's files, without their folders."""
    return " and ".join(dict.fromkeys(path.name for path in dataset.sources(number))) or dataset.name(number)


def evenly_spaced(most: int, count: int) -> list[int]:
    """At most `most` of the indices of `count` things, evenly spaced.

    >>> evenly_spaced(4, 10), evenly_spaced(4, 3)
    ([0, 2, 5, 7], [0, 1, 2])
    """
    most = min(most, count)
    return [number * count // most for number in range(most)]


def open_cached(
    datasets: Sequence[Dataset],
    size: Size,
    fit: Fit,
    memory_gib: float,
    most: int | None = None,
    exact: bool = True,
) -> list[CachedDataset]:
    """The datasets at one size, with all samples or `most` evenly spaced ones; cached if all fit in `memory_gib`."""
    opened = [CachedDataset(dataset, size, fit, exact) for dataset in datasets]
    for dataset in opened:
        dataset.indices = evenly_spaced(most or len(dataset), len(dataset))
    if sum(dataset.bytes for dataset in opened) <= memory_gib * 2**30:
        for dataset in opened:
            dataset.cache = {}
    return opened


def _named_specs(datasets: Sequence[CachedDataset], direction: Direction) -> dict[str, ImageSpec]:
    """The names of the sides of a sample, A first: of x, the input, and y, the target. A single image is a target."""
    specs = [spec for dataset in datasets for spec in dataset.dataset.specs]
    names = ("x", "y") if direction == "AtoB" else ("y", "x")
    return {"y": specs[0]} if len(specs) == 1 else dict(zip(names, specs, strict=True))


@dataclass
class EvalLoader:
    """Datasets as they are, without crop or flip: for previews, validation and evaluation.

    A mask depends on the name of its image alone, so that every model has to fill the same holes.
    """

    datasets: Sequence[CachedDataset]
    direction: Direction
    mask_spec: MaskSpec | None = None
    classes: Sequence[str] = ()
    """A label is an index into them. They are those of the training: held-out data may lack some."""

    def __post_init__(self) -> None:
        self.specs = _named_specs(self.datasets, self.direction)

    def __len__(self) -> int:
        return max(map(len, self.datasets))

    def batch(self, numbers: Sequence[int], of: int) -> dict[str, Tensor]:
        """Samples `numbers` of `of` evenly spaced ones, as many of each of two datasets.

        x and y are floats; mask, label, and `number`, a seed for noise.
        """
        indices = [[number * len(dataset) // of for number in numbers] for dataset in self.datasets]
        sides = [
            torch.stack([geometry.join([side]) for side in levels])
            for dataset, chosen in zip(self.datasets, indices, strict=True)
            for levels in zip(*map(dataset.sides, chosen), strict=True)
        ]
        batch = {name: spec.to_float(levels) for (name, spec), levels in zip(self.specs.items(), sides, strict=True)}
        batch["number"] = torch.tensor(numbers)
        first = self.datasets[0]
        if self.mask_spec:
            masks = [self.mask_spec.draw_for(first.name(index), first.size) for index in indices[0]]
            batch["mask"] = torch.stack(masks).float()
        if self.classes:
            batch["label"] = torch.tensor([self.classes.index(first.class_name(index)) for index in indices[0]])
        return batch

    def batches(self, of: int, at_once: int) -> Iterator[tuple[range, dict[str, Tensor]]]:
        """All of `of` evenly spaced samples, with their numbers."""
        for start in range(0, of, at_once):
            numbers = range(start, min(start + at_once, of))
            yield numbers, self.batch(numbers, of)


@dataclass(eq=False)
class TrainLoader:
    """Endless training batches: every epoch a new order, every sample its own crop and flip.

    One dataset gives pairs, whose A and B share one geometry, or single images. Two give unpaired images: each goes through
    its own epochs, in its own order, whatever the length of the other, and each image has its own geometry.
    """

    datasets: Sequence[CachedDataset]
    _: KW_ONLY
    size: Size
    batch_size: int
    flip: bool
    seed: int
    direction: Direction
    mask_spec: MaskSpec | None = None

    def __post_init__(self) -> None:
        self.specs = _named_specs(self.datasets, self.direction)
        which = range(len(self.datasets))
        self.keys = [(self.seed,)] if len(which) == 1 else [(self.seed, number) for number in which]
        self.channels: dict[torch.dtype, dict[str, int]] = {}
        """The tensors that share a buffer, and their channels, in order: images first."""
        for name, spec in self.specs.items():
            self.channels.setdefault(spec.dtype, {})[name] = spec.channels
        if self.mask_spec:
            self.channels.setdefault(torch.uint8, {}).update(dict.fromkeys(MASKS, 1))

    @lru_cache(maxsize=8)  # noqa: B019 -- a batch needs one epoch of each dataset, two where they meet
    def _permutation(self, which: int, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.random.default_rng([*self.keys[which], epoch]).permutation(len(self.datasets[which]))

    def _index(self, which: int, number: int) -> int:
        """The index in dataset `which` of sample `number`."""
        epoch, position = divmod(number, len(self.datasets[which]))
        return int(self._permutation(which, epoch)[position])

    def _augmented(self, which: int, number: int) -> Iterator[Tensor]:
        for side in self.datasets[which].sides(self._index(which, number)):
            generator = Random(" ".join(map(str, (*self.keys[which], number))))  # the same for both sides of a pair
            side = geometry.random_crop(side, self.size, generator)
            yield geometry.random_flip(side, generator) if self.flip else side

    def sample(self, number: int) -> dict[str, Tensor]:
        """Sample `number`, counted over the whole training: x and y as levels `[C, H, W]`, masks as 0 and 1."""
        sides = (side for which in range(len(self.datasets)) for side in self._augmented(which, number))
        sample = dict(zip(self.specs, sides, strict=True))
        if self.mask_spec:
            generator = Random(" ".join(map(str, (*self.keys[0], number, "holes"))))
            sample |= {name: self.mask_spec.draw(self.size, generator).byte() for name in MASKS}
        return sample

    def batch(self, step: int) -> dict[str, Tensor]:
        """Batch number `step`: its samples, `[B, C, H, W]`, and their labels, int64 `[B]`."""
        return self._views(self._buffers(step))

    def _buffers(self, step: int) -> dict[torch.dtype, Tensor]:
        """One tensor for each type, `[all channels of all samples, H, W]`, first all of x; and the labels."""
        numbers = range(step * self.batch_size, (step + 1) * self.batch_size)
        samples = [self.sample(number) for number in numbers]
        buffers = {
            dtype: geometry.join([sample[name] for name in names for sample in samples])
            for dtype, names in self.channels.items()
        }
        if isinstance(self.datasets[0].dataset, LabelledDataset):
            buffers[torch.int64] = torch.tensor([self.datasets[0].label(self._index(0, number)) for number in numbers])
        return buffers

    def _views(self, buffers: dict[torch.dtype, Tensor]) -> dict[str, Tensor]:
        views = {"label": buffers[torch.int64]} if torch.int64 in buffers else {}
        for dtype, channels in self.channels.items():
            views |= self._split(buffers[dtype], channels)
        return views

    def _split(self, buffer: Tensor, channels: dict[str, int]) -> dict[str, Tensor]:
        parts = buffer.split_with_sizes([self.batch_size * count for count in channels.values()])
        shape = self.batch_size, -1, *self.size
        return {name: part.view(shape) for name, part in zip(channels, parts, strict=True)}

    def stream(self, start: int, stop: int, device: torch.device, workers: int) -> Iterator[dict[str, Tensor]]:
        """Batches `start` to `stop` as floats on the device, prepared ahead of time by `workers` threads."""
        for buffers in self._prepared(start, stop, workers):
            if device.type == "cuda":
                buffers = {dtype: buffer.pin_memory() for dtype, buffer in buffers.items()}
            yield self._floats({dtype: buffer.to(device, non_blocking=True) for dtype, buffer in buffers.items()})

    def _floats(self, buffers: dict[torch.dtype, Tensor]) -> dict[str, Tensor]:
        """The batch; all images of one type are converted at once, since new memory takes longer than the arithmetic."""
        batch = self._views(buffers)
        for spec in {spec.dtype: spec for spec in self.specs.values()}.values():
            images = {name: count for name, count in self.channels[spec.dtype].items() if name in self.specs}
            levels = buffers[spec.dtype][: self.batch_size * sum(images.values())]
            batch |= self._split(spec.to_float(levels), images)
        return batch | {name: batch[name].float() for name in MASKS if name in batch}

    def _prepared(self, start: int, stop: int, workers: int) -> Iterator[dict[torch.dtype, Tensor]]:
        if workers == 0:
            yield from map(self._buffers, range(start, stop))
            return
        pool = ThreadPoolExecutor(workers, thread_name_prefix="pictures")
        ahead: deque[Future[dict[torch.dtype, Tensor]]] = deque()
        try:
            for step in range(start, stop):
                ahead.append(pool.submit(self._buffers, step))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
