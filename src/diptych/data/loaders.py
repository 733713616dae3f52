"""Samples -> endless batches, seeded and resumable: batch number n is a function of (seed, n) and of nothing else.

Pictures are decoded once to 8 bits at the load size and kept in memory where they fit in the budget, so that nothing is
decoded after the first look. Crop and flip happen on the 8-bit batch, and one transfer carries it to the device; labels, a
number each, follow in another.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from random import Random
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from diptych.data.datasets import Dataset, LabelledDataset
from diptych.images import geometry
from diptych.images.files import from_bytes
from diptych.images.masks import MaskSpec
from diptych.kinds import Direction

Fit = Literal["stretch", "crop"]
Progress = Callable[[int, int], None]

MASKS = ("mask", "other_mask")
"""Two independent holes for each sample: the one to fill, and another one."""

SMALLEST_SHARE = 8  # a picture whose side is under 1/8 of the load size would be mostly invented


class CachedDataset:
    """The pictures of a source at one size, decoded when they are first asked for, and `kept` from then on if that is so."""

    def __init__(self, source: Dataset, size: int, fit: Fit = "stretch") -> None:
        self.source, self.size, self.fit = source, size, fit
        self.numbers = list(range(len(source)))
        """Which of the source's samples there are."""
        self.kept: dict[int, list[Tensor]] | None = None
        """Those that were decoded, by their number; None keeps nothing."""
        self.sizes: Counter[tuple[int, int]] = Counter()

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def bytes(self) -> int:
        """What its pictures take in memory."""
        return len(self) * sum(self.source.channels) * self.size**2

    def at(self, size: int) -> "CachedDataset":
        """The same pictures at another size, decoded when they are asked for."""
        store = CachedDataset(self.source, size, self.fit)
        store.numbers = self.numbers
        return store

    def name(self, index: int) -> str:
        """What sample `index` is called."""
        return self.source.name(self.numbers[index])

    def label(self, index: int) -> int:
        """The number of the class of sample `index`, where there are classes."""
        assert isinstance(self.source, LabelledDataset)
        return self.source.label(self.numbers[index])

    def class_name(self, index: int) -> str:
        """The class of sample `index`, where there are classes."""
        assert isinstance(self.source, LabelledDataset)
        return self.source.names[self.numbers[index]]

    def get(self, index: int) -> Tensor:
        """The pictures of sample `index` as one uint8 array, A above B: `[C_A + C_B, size, size]` for a pair."""
        return geometry.join(self.sides(index))

    def sides(self, index: int) -> list[Tensor]:
        """The pictures of sample `index`, each uint8 `[C, size, size]`."""
        number = self.numbers[index]
        if self.kept is not None and number in self.kept:
            return self.kept[number]
        sides = self._decode(number)
        if self.kept is not None:
            self.kept[number] = sides
        return sides

    def _decode(self, number: int) -> list[Tensor]:
        sides: tuple[Tensor, ...] = self.source.load(number)
        height, width = sides[0].shape[1:]
        if min(height, width) * SMALLEST_SHARE < self.size:
            raise ValueError(
                f"{self.source.files(number)}: {width}x{height} pixels is too small to be scaled to {self.size}; "
                f"sides of at least {-(-self.size // SMALLEST_SHARE)} are expected; remove it or lower --size"
            )
        self.sizes[height, width] += 1
        if self.fit == "crop":
            sides = tuple(geometry.centre_square(side) for side in sides)
        return [geometry.resize(side, self.size, self.size) for side in sides]

    def check(
        self, threads: int, progress: Progress | None = None, of_no_use: Callable[[Tensor], str | None] | None = None
    ) -> dict[str, str]:
        """Looks at every picture once, so that a bad one is named before training and not in its third hour.

        Leaves out the pictures for which `of_no_use` has a word, and gives their names with that word.
        """
        problems: list[str] = []
        left_out: dict[int, str] = {}

        def look(index: int) -> None:
            try:
                sides = self.sides(index)
            except ValueError as error:
                problems.append(str(error))
                return
            if of_no_use and (word := next(filter(None, map(of_no_use, sides)), None)):
                left_out[self.numbers[index]] = word

        with ThreadPoolExecutor(max(threads, 1)) as pool:
            for done, _ in enumerate(pool.map(look, range(len(self))), start=1):
                if progress:
                    progress(done, len(self))
        if problems:
            more = f" (and {len(problems) - 1} more such files)" if len(problems) > 1 else ""
            raise ValueError(f"{min(problems)}{more}")
        self.numbers = [number for number in self.numbers if number not in left_out]
        return {self.source.name(number): left_out[number] for number in sorted(left_out)}

    def describe(self) -> str:
        """What was found, once it has been looked at: `400 side-by-side pairs, 512x256, A left`."""
        height, width = self.sizes.most_common(1)[0][0]
        others = f" (the commonest of {len(self.sizes)} sizes)" if len(self.sizes) > 1 else ""
        left_out = len(self.source) - len(self)
        return self.source.describe(height, width) + others + (f", {left_out} of them left out" if left_out else "")


def spread(most: int, count: int) -> list[int]:
    """The places of `most` of `count` things, or of all of them, spread over all.

    >>> spread(4, 10), spread(4, 3)
    ([0, 2, 5, 7], [0, 1, 2])
    """
    most = min(most, count)
    return [number * count // most for number in range(most)]


def open_cached(
    sources: Sequence[Dataset], size: int, fit: Fit, memory_gib: float, most: int | None = None
) -> list[CachedDataset]:
    """A store for each source, with all its pictures, or with `most` of them, spread over all.

    They keep their pictures where all of them fit in so many GiB.
    """
    stores = [CachedDataset(source, size, fit) for source in sources]
    for store in stores:
        store.numbers = spread(most or len(store), len(store))
    if sum(store.bytes for store in stores) <= memory_gib * 2**30:
        for store in stores:
            store.kept = {}
    return stores


def split_sides(pairs: Tensor, channels_a: int, direction: Direction) -> dict[str, Tensor]:
    """uint8 `[B, C_A + C_B, H, W]` -> `x` (what goes in) and `y` (what should come out), float in [-1, 1].

    Single pictures, `[B, C_A, H, W]`, are what should come out; what goes in is for the method to make of them.

    >>> sorted(split_sides(torch.zeros(1, 4, 2, 2, dtype=torch.uint8), channels_a=1, direction="AtoB")["x"].shape)
    [1, 1, 2, 2]
    """
    floats = from_bytes(pairs)
    if floats.shape[1] == channels_a:
        return {"y": floats}
    a, b = floats[:, :channels_a], floats[:, channels_a:]
    x, y = (a, b) if direction == "AtoB" else (b, a)
    return {"x": x, "y": y}


class EvalLoader:
    """The pictures of some stores as they are, without crop or flip: for samples, validation and evaluation.

    From two stores, whose pictures belong together in no way, as many come of one as of the other. A hole depends on the
    picture's name alone, so that all who are asked to fill it have the same one.
    """

    def __init__(
        self,
        stores: Sequence[CachedDataset],
        direction: Direction,
        holes: MaskSpec | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        """A label is a place among `classes`, those of the training: held-out pictures may be in fewer of them."""
        self.stores, self.direction, self.holes, self.classes = stores, direction, holes, classes

    def __len__(self) -> int:
        return max(map(len, self.stores))

    def batch(self, numbers: Sequence[int], of: int) -> dict[str, Tensor]:
        """Those of the `numbers` among `of` samples that are spread over all: x and y, or y, with its mask or label.

        Each has its `number` too, by which noise can be drawn that no other one has.
        """
        places = [[number * len(store) // of for number in numbers] for store in self.stores]
        sides = [
            torch.stack([store.get(place) for place in some]) for store, some in zip(self.stores, places, strict=True)
        ]
        first = self.stores[0]
        batch = split_sides(torch.cat(sides, dim=1), first.source.channels[0], self.direction)
        batch["number"] = torch.tensor(numbers)
        if self.holes:
            masks = [self.holes.draw_for(first.name(place), first.size) for place in places[0]]
            batch["mask"] = torch.stack(masks).float()
        if self.classes:
            batch["label"] = torch.tensor([self.classes.index(first.class_name(place)) for place in places[0]])
        return batch

    def batches(self, of: int, at_once: int) -> Iterator[tuple[range, dict[str, Tensor]]]:
        """All of so many samples spread over all, with their numbers."""
        for start in range(0, of, at_once):
            numbers = range(start, min(start + at_once, of))
            yield numbers, self.batch(numbers, of)


class TrainLoader:
    """Endless training batches: every epoch a new order, every sample its own crop and flip.

    From one store come pairs, whose A and B share one geometry, or single pictures. From two come unpaired pictures: each
    store goes through its own epochs, in its own order, however many the other has, and each picture has its own geometry.
    """

    def __init__(
        self,
        stores: Sequence[CachedDataset],
        *,
        size: int,
        batch_size: int,
        flip: bool,
        seed: int,
        direction: Direction,
        holes: MaskSpec | None = None,
    ) -> None:
        self.stores, self.size, self.batch_size, self.flip = stores, size, batch_size, flip
        self.direction, self.holes = direction, holes
        self.keys = [(seed,)] if len(stores) == 1 else [(seed, number) for number in range(len(stores))]

    @lru_cache(maxsize=8)  # noqa: B019 -- a batch needs the order of one epoch of each store, two at its seam
    def _order(self, which: int, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.random.default_rng([*self.keys[which], epoch]).permutation(len(self.stores[which]))

    def sample(self, number: int) -> Tensor:
        """Sample `number`, counted over the whole training: uint8 `[C_A + C_B, size, size]`."""
        sides = [side for which in range(len(self.stores)) for side in self._drawn(which, number)]
        return geometry.join([*sides, *self._masks(number)])

    def _masks(self, number: int) -> list[Tensor]:
        if self.holes is None:
            return []
        generator = Random(" ".join(map(str, (*self.keys[0], number, "holes"))))
        return [self.holes.draw(self.size, generator).byte() for _ in MASKS]

    def _place(self, which: int, number: int) -> int:
        """Which of its store's samples sample `number` is."""
        epoch, position = divmod(number, len(self.stores[which]))
        return int(self._order(which, epoch)[position])

    def _drawn(self, which: int, number: int) -> Iterator[Tensor]:
        for side in self.stores[which].sides(self._place(which, number)):
            generator = Random(" ".join(map(str, (*self.keys[which], number))))  # the same for both sides of a pair
            side = geometry.random_crop(side, self.size, generator)
            yield geometry.random_flip(side, generator) if self.flip else side

    def _numbers(self, step: int) -> range:
        return range(step * self.batch_size, (step + 1) * self.batch_size)

    def batch(self, step: int) -> Tensor:
        """Batch number `step`: uint8 `[B, C_A + C_B, size, size]`."""
        samples = [self.sample(number) for number in self._numbers(step)]
        return samples[0][None] if self.batch_size == 1 else torch.stack(samples)

    def labels(self, step: int) -> Tensor:
        """The numbers of the classes of the samples in batch number `step`: int64 `[B]`."""
        [store] = self.stores
        return torch.tensor([store.label(self._place(0, number)) for number in self._numbers(step)])

    def stream(self, start: int, stop: int, device: torch.device, workers: int) -> Iterator[dict[str, Tensor]]:
        """Batches `start` to `stop`, prepared ahead by `workers` threads; the pictures of each move in one transfer."""
        for step, pairs in enumerate(self._prepared(start, stop, workers), start=start):
            samples = _moved(pairs, device)
            channels = [channels for store in self.stores for channels in store.source.channels]
            sides, masks = samples[:, : sum(channels)], samples[:, sum(channels) :].float()
            named = dict(zip(MASKS, masks.unsqueeze(2).unbind(1), strict=True)) if self.holes else {}
            if isinstance(self.stores[0].source, LabelledDataset):
                named["label"] = _moved(self.labels(step), device)
            yield {**split_sides(sides, channels[0], self.direction), **named}

    def _prepared(self, start: int, stop: int, workers: int) -> Iterator[Tensor]:
        if workers == 0:
            yield from map(self.batch, range(start, stop))
            return
        pool = ThreadPoolExecutor(workers, thread_name_prefix="pictures")
        ahead: deque[Future[Tensor]] = deque()
        try:
            for step in range(start, stop):
                ahead.append(pool.submit(self.batch, step))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _moved(values: Tensor, device: torch.device) -> Tensor:
    return (values.pin_memory() if device.type == "cuda" else values).to(device, non_blocking=True)
