"""Samples -> batches: what a network is shown, in which order, and that nothing but (seed, number) decides it."""

import itertools
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from diptych.data.datasets import Dataset
from diptych.data.layouts import find, find_one
from diptych.data.loaders import MASKS, CachedDataset, EvalLoader, Fit, TrainLoader, open_cached
from diptych.data.paths import DataPaths
from diptych.images import geometry
from diptych.images.masks import MaskSpec
from diptych.images.size import Size
from diptych.images.spec import ImageSpec
from diptych.kinds import DataKind, Direction

CPU = torch.device("cpu")


class Drawn(Dataset):
    """Pairs that are drawn and not read, and count how often each was asked for."""

    def __init__(
        self, count: int, *, size: tuple[int, int] = (12, 12), channels: tuple[int, int] = (3, 3), twins: bool = False
    ) -> None:
        self.count, self.size, self.twins = count, size, twins
        self.specs = tuple(map(ImageSpec, channels))
        self.loads: list[int] = []

    def __len__(self) -> int:
        return self.count

    def describe(self, height: int, width: int) -> str:
        return f"{self.count} drawn pairs, {width}x{height}"

    def name(self, index: int) -> str:
        return f"pair {index}"

    def files(self, index: int) -> str:
        return f"drawing {index}"

    def load(self, index: int) -> tuple[Tensor, Tensor]:
        self.loads.append(index)
        generator = np.random.default_rng(index)
        a, b = (
            torch.from_numpy(generator.integers(0, 256, (s.channels, *self.size)).astype(np.uint8)) for s in self.specs
        )
        return (a, a.clone()) if self.twins else (a, b)


class Flat(Drawn):
    """A of pair i is flat at level i, B at level 255 - i."""

    def load(self, index: int) -> tuple[Tensor, Tensor]:
        self.loads.append(index)
        a, b = (torch.full((s.channels, *self.size), 0, dtype=torch.uint8) for s in self.specs)
        return a + index, b + 255 - index


def training(
    source: Dataset, *, load: int = 12, size: int = 8, batch_size: int = 1, flip: bool = True, seed: int = 0,
    direction: Direction = "AtoB", memory_gib: float = 1.0,
) -> TrainLoader:  # fmt: skip
    stores = open_cached([source], Size.square(load), "stretch", memory_gib)
    return TrainLoader(stores, size=Size.square(size), batch_size=batch_size, flip=flip, seed=seed, direction=direction)


def order(batches: TrainLoader, start: int, stop: int) -> list[int]:
    """Which pairs of a `Flat` source the samples `start` to `stop` are."""
    return [int(batches.sample(number)["x"][0, 0, 0]) for number in range(start, stop)]


def whole(sides: Sequence[Tensor] | dict[str, Tensor]) -> Tensor:
    """All channels of a sample, A above B for AtoB."""
    return torch.cat([*(sides.values() if isinstance(sides, dict) else sides)])


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def same(one: list[dict[str, Tensor]], other: list[dict[str, Tensor]]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a[side], b[side]) for a, b in zip(one, other, strict=True) for side in "xy"
    )


# ---- what a sample is (000-7)


def test_a_and_b_share_one_geometry() -> None:
    # Promise 2: where B is a copy of A, x and y are equal however they are cropped and flipped.
    batches = list(training(Drawn(3, twins=True), batch_size=2).stream(0, 20, CPU, workers=0))
    for batch in batches:
        assert torch.equal(batch["x"], batch["y"])
    shown = {tuple(picture.flatten().tolist()) for batch in batches for picture in batch["x"]}
    assert len(shown) > 30  # of 40: 3 pictures, 25 offsets, 2 sides


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.sampled_from(["stretch", "crop"]),
    st.integers(0, 3),
)
def test_a_and_b_of_rectangles_share_one_geometry(
    there: tuple[int, int], sides: tuple[int, int], fit: Fit, seed: int
) -> None:
    size = Size(*sides)
    load = size.scaled(1.5)
    assume(there[0] * 8 >= load.height and there[1] * 8 >= load.width)
    loader = TrainLoader(
        open_cached([Drawn(2, size=there, twins=True)], load, fit, 1),
        size=size, batch_size=2, flip=True, seed=seed, direction="AtoB", mask_spec=MaskSpec("rectangle", 1, 1),
    )  # fmt: skip
    assert {tuple(side.shape) for side in loader.datasets[0].sides(0)} == {(3, *load)}
    for batch in loader.stream(0, 4, CPU, workers=0):
        assert batch["x"].shape == batch["y"].shape == (2, 3, *size)
        assert torch.equal(batch["x"], batch["y"])
        assert {batch[name].shape for name in MASKS} == {(2, 1, *size)}
        assert batch["mask"].sum() == 2
    held_out = EvalLoader([loader.datasets[0].resized(size)], "AtoB", MaskSpec("rectangle", 1, 1)).batch([0, 1], 2)
    assert held_out["x"].shape == (2, 3, *size)
    assert held_out["mask"].shape == (2, 1, *size)


def test_a_crop_of_a_rectangle_starts_everywhere_in_both_directions() -> None:
    [store] = open_cached([Drawn(1, size=(4, 7), twins=True)], Size(4, 7), "stretch", 1)
    loader = TrainLoader([store], size=Size(2, 6), batch_size=1, flip=False, seed=0, direction="AtoB")
    [whole_picture, _] = store.sides(0)
    windows = {
        whole_picture[:, top : top + 2, left : left + 6].numpy().tobytes() for top in range(3) for left in (0, 1)
    }
    assert {loader.sample(number)["x"].contiguous().numpy().tobytes() for number in range(60)} == windows


def test_every_sample_draws_its_own_geometry() -> None:
    batches = training(Drawn(1, twins=True))
    pair = whole(batches.datasets[0].sides(0))
    windows = [
        torch.equal(whole(batches.sample(number)), pair[:, top : top + 8, left : left + 8].flip([-1] * flip))
        for number, top, left, flip in itertools.product(range(100), range(5), range(5), range(2))
    ]
    seen = np.array(windows).reshape(100, 50)
    assert seen.sum() == 100  # each sample is a window of the picture, mirrored or not
    assert (seen.any(axis=0)).sum() > 35  # and 100 draws of 50 leave out 50 * (1 - 1/50) ** 100 = 7


@pytest.mark.parametrize("channels", [(3, 3), (1, 3), (3, 1)])
def test_a_goes_first_and_direction_swaps(channels: tuple[int, int]) -> None:
    source = Flat(1, channels=channels)
    a, b = channels
    assert int(training(source).sample(0)["x"].max()) == 0
    assert int(training(source).sample(0)["y"].min()) == 255
    (forward,) = training(source, direction="AtoB").stream(0, 1, CPU, workers=0)
    (back,) = training(source, direction="BtoA").stream(0, 1, CPU, workers=0)
    assert (forward["x"].shape, forward["y"].shape) == ((1, a, 8, 8), (1, b, 8, 8))
    assert (float(forward["x"].max()), float(forward["y"].min())) == (-1.0, 1.0)
    assert torch.equal(forward["x"], back["y"])
    assert torch.equal(forward["y"], back["x"])


def test_pictures_are_float32_from_minus_one_to_one() -> None:
    # Promise 1 and 000-4
    (batch,) = training(Drawn(4, size=(40, 40)), load=40, size=32, batch_size=4).stream(0, 1, CPU, workers=0)
    for side in "xy":
        assert batch[side].dtype == torch.float32
        assert batch[side].shape == (4, 3, 32, 32)
        assert (float(batch[side].min()), float(batch[side].max())) == (-1.0, 1.0)


def test_flipping_can_be_turned_off() -> None:
    source = Drawn(1)
    want = whole(training(source, size=12).datasets[0].sides(0))
    seen = [whole(training(source, size=12, flip=False).sample(number)) for number in range(20)]
    assert all(torch.equal(pair, want) for pair in seen)
    mirrored = [torch.equal(whole(training(source, size=12).sample(number)), want.flip(-1)) for number in range(200)]
    assert 70 < sum(mirrored) < 130  # four standard deviations around 100


@pytest.mark.parametrize("size", [(20, 40), (40, 20), (24, 24)])
@pytest.mark.parametrize("fit", ["stretch", "crop"])
def test_pictures_that_are_not_square_come_out_square(fit: Fit, size: tuple[int, int]) -> None:
    class Framed(Drawn):
        """White in the middle square, black around it."""

        def load(self, index: int) -> tuple[Tensor, Tensor]:
            picture = torch.zeros(3, *self.size, dtype=torch.uint8)
            geometry.centre_crop(picture, (1, 1)).fill_(255)
            return picture, picture

    pair = whole(CachedDataset(Framed(1, size=size), Size.square(16), fit).sides(0))
    assert pair.shape == (6, 16, 16)
    assert bool((pair == 255).all()) == (fit == "crop" or size == (24, 24))
    if size == (20, 40) and fit == "stretch":  # a quarter of the width is black on either side
        assert pair[0, 8].tolist()[:3] == [0, 0, 0]
        assert pair[0, 8].tolist()[6:10] == [255] * 4
        assert pair[0, 8].tolist()[13:] == [0, 0, 0]


@pytest.mark.parametrize(("there", "becomes"), [((20, 40), (12, 24)), ((40, 20), (48, 24)), ((9, 48), (8, 24))])
def test_scaled_by_the_width_a_picture_keeps_its_shape(there: tuple[int, int], becomes: tuple[int, int]) -> None:
    """But for one that would then be lower than the part that training sees."""
    source = Drawn(1, size=there)
    store = CachedDataset(source, Size(24, 24), "scale-width", exact=False, part=Size(8, 16))
    [a, _] = store.sides(0)
    assert torch.equal(a, geometry.resize(source.load(0)[0], *becomes))
    [middle, _] = store.resized(Size(8, 16)).sides(0)
    assert middle.shape == (3, 8, 16)


@given(
    st.lists(st.tuples(st.integers(8, 20), st.integers(6, 20)), min_size=2, max_size=2),
    st.sampled_from(["scale-width", "none"]),
    st.integers(0, 3),
)
def test_a_and_b_of_pictures_of_any_shape_are_cut_at_the_same_place(
    sizes: list[tuple[int, int]], fit: Fit, seed: int
) -> None:
    class OfTwoSizes(Drawn):
        def load(self, index: int) -> tuple[Tensor, Tensor]:
            self.size = sizes[index]
            return super().load(index)

    size = Size(8, 6)
    load = size if fit == "none" else size.scaled(1.5)
    loader = TrainLoader(
        open_cached([OfTwoSizes(2, twins=True)], load, fit, 1, part=size),
        size=size, batch_size=2, flip=False, seed=seed, direction="AtoB",
    )  # fmt: skip
    for batch in loader.stream(0, 3, CPU, workers=0):
        assert batch["x"].shape == (2, 3, *size)
        assert torch.equal(batch["x"], batch["y"])
    if fit == "none":  # a part of the picture, as it is
        number = loader._index(0, 0)
        part, picture = loader.sample(0)["x"], loader.datasets[0].sides(number)[0]
        places = picture.unfold(1, 8, 1).unfold(2, 6, 1)
        assert (places == part[:, None, None]).all(-1).all(-1).all(0).any()


def test_as_many_pictures_of_any_shape_are_kept_as_fit() -> None:
    source = Drawn(4, size=(10, 10))
    a_pair = 2 * 3 * 10 * 10
    [store] = open_cached([source], Size(8, 8), "none", 2.5 * a_pair / 2**30, part=Size(8, 8))
    for index in (0, 1, 2, 3, 0, 1, 2):
        store.sides(index)
    assert source.loads == [0, 1, 2, 3, 2]
    assert store.bytes == 2 * a_pair


@pytest.mark.parametrize("part", [Size(12, 16), None])
def test_a_picture_smaller_than_the_part_of_it_that_is_wanted_is_named(part: Size | None) -> None:
    store = CachedDataset(Drawn(1, size=(12, 15)), Size(12, 16), "none", part=part)
    with pytest.raises(ValueError, match=r"drawing 0: 15x12 pixels is smaller .* 16x12 that --fit none .* --size"):
        store.check(1)


def test_without_training_a_picture_is_only_resized() -> None:
    # 000-6: the pairs to measure on have no augmentation.
    source = Drawn(1, size=(20, 30))
    a, b = source.load(0)
    want = torch.cat([geometry.resize(side, 16, 16) for side in (a, b)])
    store = CachedDataset(source, Size.square(16))
    assert torch.equal(whole(store.sides(0)), want)
    assert torch.equal(whole(store.sides(0)), want)


# ---- resume is starting at another number (promise 3)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_starting_later_gives_the_tail(batch_size: int, workers: int) -> None:
    whole = list(training(Drawn(4), batch_size=batch_size).stream(0, 12, CPU, workers))
    tail = list(training(Drawn(4), batch_size=batch_size).stream(5, 12, CPU, workers))
    assert len(whole) == 12
    assert same(tail, whole[5:])
    assert not same(whole[:7], whole[5:])


@pytest.mark.parametrize("memory_gib", [0.0, 1.0])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_number_of_workers_changes_nothing(workers: int, memory_gib: float) -> None:
    alone = training(Drawn(5), batch_size=2, memory_gib=memory_gib).stream(0, 15, CPU, workers=0)
    helped = training(Drawn(5), batch_size=2, memory_gib=memory_gib).stream(0, 15, CPU, workers=workers)
    assert same(list(alone), list(helped))


def test_a_sample_does_not_depend_on_what_was_drawn_before() -> None:
    numbers = list(range(30))
    batches = training(Drawn(4))
    forward = {number: batches.sample(number) for number in numbers}
    random.Random(0).shuffle(numbers)
    np.random.seed(7)  # the global generators are not read either
    torch.manual_seed(7)
    shuffled = training(Drawn(4))
    assert all(equal(shuffled.sample(number), forward[number]) for number in numbers)
    assert all(equal(shuffled.sample(number), forward[number]) for number in numbers)


def test_another_seed_gives_other_samples() -> None:
    one, other = (training(Drawn(1), seed=seed) for seed in (1, 2))
    assert sum(equal(one.sample(number), other.sample(number)) for number in range(50)) < 10


# ---- epochs


@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_epoch_shows_every_pair_once(count: int) -> None:
    batches = training(Flat(count), batch_size=3)
    for epoch in range(4):
        assert sorted(order(batches, epoch * count, (epoch + 1) * count)) == list(range(count))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [order(training(Flat(9), seed=seed), epoch * 9, epoch * 9 + 9) for seed in range(3) for epoch in range(4)]
    assert len({tuple(one) for one in orders}) == 12


def test_batches_run_on_over_the_seam_of_two_epochs() -> None:
    # Nothing is dropped at the end of an epoch, whatever the batch size.
    batches = training(Flat(7), batch_size=3)
    seen = [int(picture[0, 0, 0]) for step in range(7) for picture in batches.batch(step)["x"]]
    assert seen == order(batches, 0, 21)


@pytest.mark.parametrize(("count", "batch_size"), [(1, 1), (1, 4), (3, 8)])
def test_small_sets_work(count: int, batch_size: int) -> None:
    batches = list(training(Flat(count), batch_size=batch_size).stream(0, 3, CPU, workers=2))
    assert [batch["x"].shape for batch in batches] == [(batch_size, 3, 8, 8)] * 3


# ---- memory: nothing is decoded twice where the set fits


def test_a_set_that_fits_is_decoded_once() -> None:
    source = Drawn(5)
    batches = training(source)
    batches.datasets[0].check(threads=2)
    assert sorted(source.loads) == [0, 1, 2, 3, 4]
    list(batches.stream(0, 20, CPU, workers=2))
    assert len(source.loads) == 5


def test_a_set_that_does_not_fit_is_decoded_again_and_is_the_same() -> None:
    source = Drawn(5)
    small = list(training(source, memory_gib=0).stream(0, 20, CPU, workers=0))
    assert len(source.loads) == 20
    assert same(small, list(training(Drawn(5)).stream(0, 20, CPU, workers=0)))


@pytest.mark.parametrize(("spare", "loads"), [(0, 5), (-1, 20)])
def test_the_memory_budget_is_kept_to_the_byte(spare: int, loads: int) -> None:
    source = Drawn(5, channels=(1, 3))
    needed = 5 * (1 + 3) * 12 * 12
    list(training(source, memory_gib=(needed + spare) / 2**30).stream(0, 20, CPU, workers=0))
    assert len(source.loads) == loads


def test_what_is_kept_takes_one_byte_a_value() -> None:
    [store] = open_cached([Drawn(1, size=(30, 30))], Size(12, 16), "stretch", memory_gib=1)
    sides = store.sides(0)
    assert {side.dtype for side in sides} == {torch.uint8}
    assert sum(side.untyped_storage().nbytes() for side in sides) == store.bytes == 6 * 12 * 16


# ---- looking at everything before training (promise 7)


def write_pairs(folder: Path, count: int, size: tuple[int, int] = (16, 32)) -> list[Path]:
    paths = [folder / f"{i}.png" for i in range(count)]
    for path in paths:
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path)
    return paths


def store_of(folder: Path, size: int = 16) -> CachedDataset:
    source = find_one(DataKind.PAIRED, DataPaths(folder, halves=True), "train")
    assert source is not None
    return CachedDataset(source, Size.square(size))


def test_good_pictures_pass_and_progress_is_told(tmp_path: Path) -> None:
    write_pairs(tmp_path, 4)
    told: list[tuple[int, int]] = []
    store_of(tmp_path).check(threads=2, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_a_bad_picture_is_named_and_the_others_counted(tmp_path: Path, threads: int) -> None:
    paths = write_pairs(tmp_path, 6)
    paths[3].write_text("Dear diary")
    with pytest.raises(ValueError, match="not a picture") as caught:
        store_of(tmp_path).check(threads)
    assert str(caught.value).startswith(f"{paths[3]}: ")
    assert "also" not in str(caught.value)
    paths[2].write_bytes(b"")
    paths[5].write_text("Dear diary")
    with pytest.raises(ValueError, match=r"0 bytes") as caught:
        store_of(tmp_path).check(threads)
    assert str(caught.value).startswith(f"{paths[2]}: ")  # the first by name, whatever thread was first
    others = f"(also: {paths[3].name}, {paths[5].name}; `diptych data inspect {tmp_path}` lists"
    assert others in str(caught.value)


def test_of_many_bad_pictures_some_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    paths = write_pairs(tmp_path, 9)
    for path in paths:
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"0 bytes") as caught:
        store_of(tmp_path).check(2)
    assert f"{', '.join(path.name for path in paths[1:4])} and 5 more; " in str(caught.value)


@pytest.mark.parametrize(("size", "good"), [((1, 2), False), ((1, 64), False), ((32, 2), False), ((2, 4), True)])
def test_a_picture_too_small_to_be_scaled_is_named(tmp_path: Path, size: tuple[int, int], good: bool) -> None:
    (path,) = write_pairs(tmp_path, 1, size)
    if good:
        store_of(tmp_path).check(1)
        return
    with pytest.raises(
        ValueError, match=rf"{size[1] // 2}x{size[0]} pixels is too small .* 16;.* at least 2 "
    ) as caught:
        store_of(tmp_path).check(1)
    assert str(caught.value).startswith(f"{path}: ")


def test_both_sides_of_a_rectangle_have_a_smallest_length() -> None:
    source = Drawn(1, size=(3, 8))
    CachedDataset(source, Size(24, 64)).check(1)
    for size, least in ((Size(32, 64), "8x4"), (Size(24, 72), "9x3")):
        with pytest.raises(ValueError, match=rf"8x3 pixels is too small to be scaled to {size}; .* at least {least} "):
            CachedDataset(source, size).check(1)


def test_it_says_what_was_found(tmp_path: Path) -> None:
    write_pairs(tmp_path, 5, (16, 48))
    store = store_of(tmp_path)
    store.check(2)
    assert store.describe() == "5 side-by-side pairs, 48x16, A left"
    write_pairs(tmp_path, 2, (20, 44))
    store = store_of(tmp_path)
    store.check(2)
    assert store.describe() == "5 side-by-side pairs, 48x16, A left (the commonest of 2 sizes)"


def test_label_maps_are_cached_as_they_are_drawn() -> None:
    class Labels(Flat):
        """A is a label map of two classes in a chessboard, B the same as a picture."""

        def load(self, index: int) -> tuple[Tensor, Tensor]:
            board = torch.arange(19)[:, None].add(torch.arange(19)).remainder(2).mul(100).byte()[None]
            return board, board

    source = Labels(1)
    source.specs = (ImageSpec(1, kind="labels"), ImageSpec(1))
    labels, picture = CachedDataset(source, Size.square(12)).sides(0)
    assert set(labels.flatten().tolist()) == {0, 100}
    assert len(set(picture.flatten().tolist())) > 2


# ---- workers


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_goes_bad_during_training_is_named(tmp_path: Path, workers: int) -> None:
    paths = write_pairs(tmp_path, 3)
    store = store_of(tmp_path)
    store.check(1)
    paths[1].write_bytes(b"")
    batches = TrainLoader([store], size=Size.square(16), batch_size=1, flip=True, seed=0, direction="AtoB")
    with pytest.raises(ValueError, match=r"1\.png: the file is empty"):
        list(batches.stream(0, 3, CPU, workers=workers))


def test_a_stream_that_is_left_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    stream = training(Drawn(3)).stream(0, 10**9, CPU, workers=3)
    next(stream)
    assert set(threading.enumerate()) - before
    stream.close()  # type: ignore[attr-defined]
    assert not set(threading.enumerate()) - before


def test_workers_read_only_a_little_ahead() -> None:
    # A training of a million steps must not fill the memory with its future.
    source = Drawn(50)
    stream = training(source, memory_gib=0).stream(0, 10**9, CPU, workers=2)
    next(stream)
    time.sleep(0.2)  # the workers go on by themselves, until they are far enough ahead
    stream.close()  # type: ignore[attr-defined]
    assert len(source.loads) <= 6


# ---- two stores: unpaired pictures


class Single(Dataset):
    """Single pictures that are drawn and not read: flat, picture i at level `first + i`, or full of noise."""

    def __init__(self, count: int, *, first: int = 0, channels: int = 3, noise: bool = False) -> None:
        self.count, self.first, self.noise = count, first, noise
        self.specs = (ImageSpec(channels),)
        self.loads: list[int] = []

    def __len__(self) -> int:
        return self.count

    def describe(self, height: int, width: int) -> str:
        return f"{self.count} drawn pictures, {width}x{height}"

    def name(self, index: int) -> str:
        return f"picture {index}"

    def files(self, index: int) -> str:
        return f"drawing {index}"

    def load(self, index: int) -> tuple[Tensor]:
        self.loads.append(index)
        shape = (self.specs[0].channels, 12, 12)
        if self.noise:
            return (torch.from_numpy(np.random.default_rng(index).integers(0, 256, shape).astype(np.uint8)),)
        return (torch.full(shape, self.first + index, dtype=torch.uint8),)


def unpaired(
    a: Dataset, b: Dataset, *, size: int = 8, batch_size: int = 1, flip: bool = True, seed: int = 0,
    direction: Direction = "AtoB", memory_gib: float = 1.0,
) -> TrainLoader:  # fmt: skip
    stores = open_cached([a, b], Size.square(12), "stretch", memory_gib)
    return TrainLoader(stores, size=Size.square(size), batch_size=batch_size, flip=flip, seed=seed, direction=direction)


def orders(batches: TrainLoader, start: int, stop: int) -> tuple[list[int], list[int]]:
    """Which pictures of two flat sources of three channels the samples `start` to `stop` are."""
    samples = [batches.sample(number) for number in range(start, stop)]
    return [int(sample["x"][0, 0, 0]) for sample in samples], [int(sample["y"][0, 0, 0]) for sample in samples]


def test_unpaired_a_and_b_draw_geometries_of_their_own() -> None:
    # Both sides have the same one picture, so they are equal where they happen to be cut and flipped alike: 1 in 50.
    batches = unpaired(Single(1, noise=True), Single(1, noise=True))
    shown = [batches.sample(number) for number in range(200)]
    assert sum(torch.equal(sample["x"], sample["y"]) for sample in shown) < 15
    for side in "xy":
        assert len({sample[side].numpy().tobytes() for sample in shown}) > 40  # of 25 offsets, mirrored or not


@pytest.mark.parametrize("seed", [0, 1])
def test_unpaired_a_and_b_are_mirrored_apart_and_only_if_asked(seed: int) -> None:
    batches = unpaired(Single(1, noise=True), Single(1, noise=True), size=12, seed=seed)
    picture = batches.datasets[0].get(0)
    samples = [batches.sample(number) for number in range(400)]
    mirrored = [tuple(torch.equal(side, picture.flip(-1)) for side in both.values()) for both in samples]
    for both in itertools.product([False, True], repeat=2):
        assert 65 < mirrored.count(both) < 135  # four standard deviations around 100
    still = unpaired(Single(1, noise=True), Single(1, noise=True), size=12, flip=False, seed=seed)
    assert all(torch.equal(whole(still.sample(number)), torch.cat([picture, picture])) for number in range(20))


@pytest.mark.parametrize(("count_a", "count_b"), [(3, 7), (7, 3), (1, 5), (5, 1), (1, 1), (4, 4)])
def test_each_side_shows_all_of_its_own_pictures_once_in_its_own_epoch(count_a: int, count_b: int) -> None:
    batches = unpaired(Single(count_a), Single(count_b, first=100))
    seen_a, seen_b = orders(batches, 0, 4 * count_a * count_b)
    for seen, count, first in [(seen_a, count_a, 0), (seen_b, count_b, 100)]:
        epochs = [seen[start : start + count] for start in range(0, len(seen), count)]
        assert all(sorted(epoch) == list(range(first, first + count)) for epoch in epochs)
        assert count == 1 or len({tuple(epoch) for epoch in epochs}) > 1  # each in an order of its own


@pytest.mark.parametrize("count_b", [4, 8])
def test_every_a_meets_every_b(count_b: int) -> None:
    # What makes it unpaired: the same list on both sides must not be walked in the same order.
    batches = unpaired(Single(4), Single(count_b))
    met = set(zip(*orders(batches, 0, 400), strict=True))
    assert met == set(itertools.product(range(4), range(count_b)))


@pytest.mark.parametrize("channels", [(3, 3), (1, 3), (3, 1)])
def test_unpaired_a_goes_first_and_direction_swaps(channels: tuple[int, int]) -> None:
    a, b = Single(1, channels=channels[0]), Single(1, first=255, channels=channels[1])
    sample = unpaired(a, b).sample(0)
    assert (int(sample["x"].max()), int(sample["y"].min())) == (0, 255)
    (forward,) = unpaired(a, b, direction="AtoB", batch_size=2).stream(0, 1, CPU, workers=0)
    (back,) = unpaired(a, b, direction="BtoA", batch_size=2).stream(0, 1, CPU, workers=0)
    assert (forward["x"].shape, forward["y"].shape) == ((2, channels[0], 8, 8), (2, channels[1], 8, 8))
    assert (float(forward["x"].max()), float(forward["y"].min())) == (-1.0, 1.0)
    assert torch.equal(forward["x"], back["y"])
    assert torch.equal(forward["y"], back["x"])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_unpaired_batches_start_anywhere(batch_size: int, workers: int) -> None:
    def stream(start: int) -> list[dict[str, Tensor]]:
        batches = unpaired(Single(3, noise=True), Single(7, noise=True), batch_size=batch_size)
        return list(batches.stream(start, 30, CPU, workers))

    whole = stream(0)
    assert len(whole) == 30
    for start in (1, 13, 29):  # amid the epochs of both
        assert same(stream(start), whole[start:])
    assert not same(whole[:15], whole[15:])


def test_an_unpaired_sample_depends_on_seed_and_number_alone() -> None:
    def batches(seed: int) -> TrainLoader:
        return unpaired(Single(3, noise=True), Single(7, noise=True), seed=seed)

    one, shuffled = batches(5), batches(5)
    numbers = list(range(60))
    forward = {number: one.sample(number) for number in numbers}
    random.Random(0).shuffle(numbers)
    np.random.seed(7)  # the global generators are not read
    torch.manual_seed(7)
    assert all(equal(shuffled.sample(number), forward[number]) for number in numbers)
    other = batches(6)
    for side in "xy":
        assert sum(torch.equal(other.sample(number)[side], forward[number][side]) for number in numbers) < 12


@pytest.mark.parametrize("memory_gib", [0.0, 1.0])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_number_of_workers_changes_no_unpaired_batch(workers: int, memory_gib: float) -> None:
    def stream(workers: int, memory_gib: float) -> list[dict[str, Tensor]]:
        a, b = Single(3, noise=True), Single(7, noise=True)
        return list(unpaired(a, b, batch_size=2, memory_gib=memory_gib).stream(0, 15, CPU, workers))

    assert same(stream(0, 1.0), stream(workers, memory_gib))


@pytest.mark.parametrize(("spare", "kept"), [(0, True), (-1, False)])
def test_both_stores_share_the_memory_budget_to_the_byte(spare: int, kept: bool) -> None:
    a, b = Single(3, channels=1), Single(5, channels=3)
    needed = (3 * 1 + 5 * 3) * 12 * 12
    batches = unpaired(a, b, memory_gib=(needed + spare) / 2**30)
    list(batches.stream(0, 15, CPU, workers=0))
    assert (len(a.loads), len(b.loads)) == ((3, 5) if kept else (15, 15))
    sides = [side for store in batches.datasets for index in range(len(store)) for side in store.sides(index)]
    assert sum(side.untyped_storage().nbytes() for side in sides) == needed


@pytest.mark.parametrize("bad", ["A", "B"])
def test_a_bad_picture_of_either_side_is_named(tmp_path: Path, bad: str) -> None:
    for side, count in [("A", 2), ("B", 4)]:
        (tmp_path / side).mkdir()
        write_pairs(tmp_path / side, count, (16, 16))
    path = tmp_path / bad / "1.png"
    path.write_text("Dear diary")
    sources = find(DataKind.UNPAIRED, DataPaths(tmp_path), "train")
    assert sources is not None
    stores = open_cached(sources, Size.square(16), "stretch", memory_gib=1)
    good = stores.pop(0 if bad == "B" else 1)
    good.check(threads=2)
    assert good.describe() == f"{len(good)} pictures in {tmp_path / ('A' if bad == 'B' else 'B')}, 16x16"
    with pytest.raises(ValueError, match="not a picture") as caught:
        stores[0].check(threads=2)
    assert str(caught.value).startswith(f"{path}: ")
