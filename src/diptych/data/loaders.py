"""Datasets -> endless training batches, seeded and resumable: batch n is a function of (seed, n) and of nothing else.

Images are decoded once, to levels at the load size, and cached in memory if they fit in the budget. Crop and flip work on
the levels. A batch is a dict of tensors; those of one type share a buffer, so that there is one transfer per type.
"""

import math
import shlex
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from itertools import islice
from random import Random
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from diptych import distributed
from diptych.data.datasets import Dataset, LabelledDataset
from diptych.data.looked_at import Found, LookedAt
from diptych.data.remote import UnreachableError
from diptych.images import formats, geometry, observed
from diptych.images.masks import MaskSpec
from diptych.images.remarks import collected
from diptych.images.size import Size
from diptych.images.spec import ImageSpec, Kind, to_eight_bit
from diptych.kinds import Direction

Fit = Literal["stretch", "crop", "scale-width", "none"]
KEEP_SHAPE: tuple[Fit, ...] = ("scale-width", "none")
"""After these, pictures have shapes of their own, and training sees a part of each."""
Progress = Callable[[int, int], None]

MASKS = ("mask", "other_mask")
"""Two independent holes for each sample: the one to fill, and another one."""

MARGIN = 2
"""Training decodes a file at a part of its size where no side falls below so many times the load size: see docs/data.md."""

SHOWN = 3  # files of no use that are named, after the first

SPREAD = 64
"""Evenly spaced samples that are looked at where there may be too many to look at each."""

AHEAD = 64
"""Samples that are asked for before their batch is begun, where they take long to come."""

MOST_BAD = 100  # samples in a row, of which one at least is good
SHOWN_BAD = 8  # bad samples that are named

SMALLEST_SHARE = 8  # an image with a side under 1/8 of the load size would be mostly interpolation


class Room:
    """Memory that is left for decoded images, shared by several datasets."""

    def __init__(self, left: float) -> None:
        self.left = left

    def takes(self, images: Sequence[Tensor]) -> bool:
        """Whether these go in, too."""
        size = sum(image.nbytes for image in images)
        if size > self.left:
            return False
        self.left -= size
        return True


class CachedDataset:
    """A dataset decoded and resized on first access, cached in memory if it fits.

    `exact` decodes every pixel of a file before it is resized, as evaluation needs it; else large JPEGs are decoded at a
    part of their size, in a fraction of the time.

    Where `fit` keeps shapes, pictures are as large as the `part` that is to be cut out of them, or larger; without it, they
    are the middle of `size`.
    """

    def __init__(
        self, dataset: Dataset, size: Size, fit: Fit = "stretch", exact: bool = True, part: Size | None = None
    ) -> None:
        self.dataset, self.size, self.fit, self.exact = dataset, size, fit, exact
        self.part = part if fit in KEEP_SHAPE else None
        self.indices: Sequence[int] = range(len(dataset))
        """The samples of the dataset that are used."""
        self.replaces = dataset.is_streamed and not exact
        """Whether some samples alone are looked at before training, and a bad one is replaced by the next."""
        self.replaced: dict[int, int] = {}
        """The sample in the place of each bad one that was met."""
        self.looked_at: Sequence[int] = ()
        """The samples that `check` has found good."""
        self.note: Callable[[str], None] = lambda _: None
        """Called with a line for each of the first bad samples that are replaced."""
        self.reject_reason: Callable[[Tensor], str | None] | None = None
        self.cache: dict[int, list[Tensor]] | None = None
        """Decoded samples by their index in the dataset; None caches nothing."""
        self.room = Room(math.inf)
        """The memory for samples of several sizes; others are cached all or none."""
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
        """The bytes of all its images in memory; where images have several sizes, only of those cached by now."""
        if self.part:
            return sum(side.nbytes for sides in (self.cache or {}).values() for side in sides)
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
        number = self.indices[index]
        return self.dataset.label(self.replaced.get(number, number))

    def class_name(self, index: int) -> str:
        """The class of sample `index` of a labelled dataset."""
        assert isinstance(self.dataset, LabelledDataset)
        number = self.indices[index]
        return self.dataset.names[self.replaced.get(number, number)]

    def get(self, index: int) -> Tensor:
        """Single image `index` as uint8 `[C, H, W]`; 16 bits are rounded to 8."""
        [image] = self.sides(index)
        return to_eight_bit(geometry.join([image]))

    def sides(self, index: int) -> list[Tensor]:
        """The images of sample `index`: levels `[C, H, W]`, each as its spec says."""
        number = self.indices[index]
        if self.cache is not None and number in self.cache:
            return self.cache[number]
        sides = self._decode_or_next(number) if self.replaces else self._decode(number)
        if self.cache is not None and (not self.part or self.room.takes(sides)):
            self.cache[number] = sides
        return sides

    def ahead(self, index: int) -> None:
        """Begins to read a sample that will soon be asked for, where it takes long to come."""
        number = self.indices[index]
        if self.cache is None or number not in self.cache:
            self.dataset.ahead(number)

    def _decode_or_next(self, number: int) -> list[Tensor]:
        """Sample `number` of the dataset, or the first good one after it: the same one whenever it is asked for."""
        first = ""
        for other in (one % len(self.dataset) for one in range(number, number + MOST_BAD)):
            try:
                sides = self._decode(other)
            except UnreachableError:  # the sample may be good
                raise
            except ValueError as error:
                first = first or str(error)
                if len(self.replaced) < SHOWN_BAD and other not in self.replaced:
                    self.note(f"{error}; the next one takes its place")
            else:
                if not self._rejected(sides):
                    if other != number:
                        self.replaced[number] = other
                    return sides
        raise ValueError(f"{first or self.dataset.files(number)}; nor are the {MOST_BAD - 1} after it of any use")

    def _rejected(self, sides: Sequence[Tensor]) -> str:
        """Why a sample is left out; empty where it is not."""
        reasons = map(self.reject_reason, map(to_eight_bit, sides)) if self.reject_reason else ()
        return next(filter(None, reasons), "")

    @formats.one_sample()
    def _decode(self, number: int) -> list[Tensor]:
        sides: tuple[Tensor, ...]
        with observed.observing() as seen:
            if self.exact or self.fit == "none":
                sides = self.dataset.load(number)
                height, width = sides[0].shape[1:]
            else:
                sides, (height, width) = self.dataset.load_reduced(number, self.size.scaled(MARGIN))
        self._require_large(number, height, width)
        if not (self.replaces and self.looked_at):  # else they would fill the memory
            self.seen[number], self.file_sizes[number] = tuple(seen), (height, width)
        specs = self.dataset.specs
        return [self._fitted(side, height, width, spec.kind) for side, spec in zip(sides, specs, strict=True)]

    def _require_large(self, number: int, height: int, width: int) -> None:
        """Raises a `ValueError` for an image that is too small for the fit."""
        if self.fit == "none":
            least, why = (
                self.part or self.size,
                f"smaller than the part of {self.part or self.size} that --fit none sees",
            )
        else:
            least = Size(*(-(-side // SMALLEST_SHARE) for side in self.size))
            why = f"too small to be scaled to {self.size}"
        if height < least.height or width < least.width:
            raise ValueError(
                f"{self.dataset.files(number)}: {width}x{height} pixels is {why}; "
                f"sides of at least {least} are expected; remove it or lower --size"
            )

    def _fitted(self, side: Tensor, height: int, width: int, kind: Kind) -> Tensor:
        """An image `[C, H, W]` whose file has this height and width, which it may have been decoded below."""
        if self.fit == "crop":
            side = geometry.centre_crop(side, self.size)
        if self.fit == "scale-width":
            least = (self.part or self.size).height
            side = geometry.resize(side, max(self.size.width * height // width, least), self.size.width, kind)
        if self.fit not in KEEP_SHAPE:
            return geometry.resize(side, *self.size, kind)
        if self.part:
            return side
        rows, columns = geometry.middle(self.size, (side.shape[1], side.shape[2]))
        return side[:, rows, columns].clone()  # a slice would keep all of it in memory

    def check(
        self,
        threads: int,
        progress: Progress | None = None,
        reject_reason: Callable[[Tensor], str | None] | None = None,
        memory: LookedAt | None = None,
    ) -> dict[str, str]:
        """Decodes every sample once, so that a damaged file is named before training and not hours later.

        Leaves out the samples with an image, uint8 `[C, H, W]`, that has a `reject_reason`; returns their names and
        reasons. What `memory` knows is not decoded, and it keeps what is found, also when this ends early. The processes of
        one training look at a part of the samples each.
        """
        problems: dict[int, str] = {}
        self.reject_reason = reject_reason
        found = memory.found if memory else {}
        numbers = evenly_spaced(SPREAD, len(self)) if self.replaces else range(len(self))
        own = numbers[distributed.rank() :: distributed.size()]
        new = [index for index in own if self.indices[index] not in found]

        def check_one(index: int) -> None:
            try:
                with collected() as remarks:
                    sides = self._decode(self.indices[index]) if self.replaces else self.sides(index)
            except UnreachableError:
                raise
            except ValueError as error:
                problems[self.indices[index]] = str(error)
                return
            reason = self._rejected(sides)
            number = self.indices[index]
            remark = "; ".join(dict.fromkeys(text for _, text, _ in remarks))
            found[number] = Found(*self.file_sizes[number], reason, self.seen[number], remark)

        pool = ThreadPoolExecutor(max(threads, 1))
        try:
            for done, _ in enumerate(pool.map(check_one, new), start=1):
                if progress:
                    progress(done, len(new))
        finally:
            pool.shutdown(cancel_futures=True)
            if memory and distributed.is_first():
                memory.keep()
        if distributed.size() > 1:
            for theirs, their_problems in distributed.collected(
                ([(self.indices[index], found.get(self.indices[index])) for index in own], [*problems.items()])
            ):
                found |= {number: Found.of(values) for number, values in theirs if values}
                problems |= dict(their_problems)
            if memory and distributed.is_first():
                memory.keep()
        if problems and not (self.replaces and 2 * len(problems) < len(numbers)):
            raise ValueError(self._problem(problems))
        for problem in [*problems.values()][:SHOWN_BAD]:
            self.note(f"{problem}; the next one takes its place")
        whole = [number for index in numbers if (number := self.indices[index]) not in problems]
        self.file_sizes |= {number: (found[number].height, found[number].width) for number in whole}
        self.seen |= {number: found[number].seen for number in whole}
        rejected = {number: found[number].left_out for number in whole if found[number].left_out}
        self.looked_at = [number for number in whole if number not in rejected]
        if not self.replaces or not self.looked_at:
            self.indices = self.looked_at
        self.remarks = {
            self.dataset.name(number): found[number].remark for number in self.looked_at if found[number].remark
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
        if self.replaces and len(self.looked_at) < len(self):
            others += f", of which {len(self.looked_at)} were looked at"
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
    part: Size | None = None,
) -> list[CachedDataset]:
    """The datasets at one size, with all samples or `most` evenly spaced ones; cached if all fit in `memory_gib`.

    Where `fit` keeps shapes, and parts of samples are wanted, as many are cached as fit.
    """
    opened = [CachedDataset(dataset, size, fit, exact, part) for dataset in datasets]
    for dataset in opened:
        if most:
            dataset.indices = evenly_spaced(most, len(dataset))
    room = Room(memory_gib * 2**30)
    if sum(dataset.bytes for dataset in opened) <= room.left:
        for dataset in opened:
            dataset.cache, dataset.room = {}, room
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
    share: tuple[int, int] = (0, 1)
    """The number of this process, and of all. Each makes its part of the samples of every batch."""

    def __post_init__(self) -> None:
        self.specs = _named_specs(self.datasets, self.direction)
        self.own_batch_size = self.batch_size // self.share[1]
        which = range(len(self.datasets))
        self.keys = [(self.seed,)] if len(which) == 1 else [(self.seed, number) for number in which]
        self.channels: dict[torch.dtype, dict[str, int]] = {}
        """The tensors that share a buffer, and their channels, in order: images first."""
        for name, spec in self.specs.items():
            self.channels.setdefault(spec.dtype, {})[name] = spec.channels
        if self.mask_spec:
            self.channels.setdefault(torch.uint8, {}).update(dict.fromkeys(MASKS, 1))

    @lru_cache(maxsize=4)  # noqa: B019 -- a batch needs one epoch of each dataset, two where they meet
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
        """Batch number `step`: this process's part of its samples, `[B, C, H, W]`, and their labels, int64 `[B]`."""
        return self._views(self._buffers(step))

    def _numbers(self, step: int) -> range:
        """This process's samples of a batch."""
        first = step * self.batch_size + self.share[0] * self.own_batch_size
        return range(first, first + self.own_batch_size)

    def _ahead(self, step: int) -> None:
        for which, dataset in enumerate(self.datasets):
            for number in self._numbers(step):
                dataset.ahead(self._index(which, number))

    def _buffers(self, step: int) -> dict[torch.dtype, Tensor]:
        """One tensor for each type, `[all channels of all samples, H, W]`, first all of x; and the labels."""
        numbers = self._numbers(step)
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
        parts = buffer.split_with_sizes([self.own_batch_size * count for count in channels.values()])
        shape = self.own_batch_size, -1, *self.size
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
            levels = buffers[spec.dtype][: self.own_batch_size * sum(images.values())]
            batch |= self._split(spec.to_float(levels), images)
        return batch | {name: batch[name].float() for name in MASKS if name in batch}

    def _prepared(self, start: int, stop: int, workers: int) -> Iterator[dict[torch.dtype, Tensor]]:
        if workers == 0:
            yield from map(self._buffers, range(start, stop))
            return
        pool = ThreadPoolExecutor(workers, thread_name_prefix="pictures")
        ahead: deque[Future[dict[torch.dtype, Tensor]]] = deque()
        asked, further = iter(range(start, stop)), -(-AHEAD // self.own_batch_size)
        try:
            for step in range(start, stop):
                for later in islice(asked, further if step == start else 1):
                    self._ahead(later)
                ahead.append(pool.submit(self._buffers, step))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
