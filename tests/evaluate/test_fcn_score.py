"""A segmenter learns once from real pairs, and tells photographs that show what the labels say from others."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from diptych.data.builtin import facades
from diptych.evaluate import segmentation
from diptych.images.files import from_image, to_bytes
from diptych.images.label_maps import classes_of, palette_of
from diptych.metrics.networks.segmenter import Segmenter
from diptych.metrics.segmentation import confusion, score

CPU = torch.device("cpu")
SIDE = 32
Pairs = tuple[Tensor, Tensor, Tensor]


def pairs(first: int, stop: int, size: int = SIDE) -> tuple[Tensor, Tensor]:
    """Photographs and label maps of the built-in facades."""
    drawn = [facades.draw_pair(number, size) for number in range(first, stop)]
    photos, maps = (torch.stack([to_bytes(from_image(pair[side]), 3) for pair in drawn]) for side in (0, 1))
    return photos, maps


@pytest.fixture(scope="module")
def training() -> Pairs:
    photos, maps = pairs(0, 24)
    palette = palette_of(maps)
    assert palette is not None
    return photos, maps, palette


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda steps: monkeypatch.setattr(segmentation, "STEPS", steps)


def same(one: Segmenter, other: Segmenter) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def test_it_reads_photographs_it_has_not_seen(training: Pairs, few_steps: Callable[[int], None]) -> None:
    """Better than naming the commonest class everywhere; and photographs of other houses it reads worse."""
    few_steps(100)
    segmenter = segmentation.trained_segmenter(*training, CPU)
    photos, maps = pairs(24, 32)
    true = classes_of(maps, training[2])
    classes = len(training[2])
    right = score(confusion(segmentation.segment(segmenter, photos), true, classes))
    commonest = score(confusion(torch.zeros_like(true), true, classes))
    swapped = score(confusion(segmentation.segment(segmenter, photos.roll(1, 0)), true, classes))
    assert list(right) == ["per-pixel-accuracy", "per-class-accuracy", "class-iou"]
    for name, value in right.items():
        assert value > commonest[name] + 0.15, name
        assert value > swapped[name] + 0.1, name


def test_it_learns_once(training: Pairs, few_steps: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(3)
    told = list[tuple[int, int]]()
    first = segmentation.trained_segmenter(*training, CPU, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    monkeypatch.setattr(segmentation, "_train", None)
    second = segmentation.trained_segmenter(*training, CPU)
    assert same(first, second)
    assert not second.training
    photos, _ = pairs(24, 26)
    assert torch.equal(segmentation.segment(first, photos), segmentation.segment(second, photos))


def test_what_it_learns_follows_from_the_pairs_alone(
    training: Pairs,
    few_steps: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    few_steps(3)
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    first = segmentation.trained_segmenter(*training, CPU)
    assert torch.equal(torch.rand(1), before)  # the caller's random numbers are his own
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path_factory.mktemp("another")))
    assert same(first, segmentation.trained_segmenter(*training, CPU))


def other_photograph(photos: Tensor, maps: Tensor, palette: Tensor) -> Pairs:
    changed = photos.clone()
    changed[3, 0, 5, 5] ^= 1
    return changed, maps, palette


def other_map(photos: Tensor, maps: Tensor, palette: Tensor) -> Pairs:
    changed = maps.clone()
    changed[3, 0, 5, 5] ^= 1
    return photos, changed, palette


def other_pairing(photos: Tensor, maps: Tensor, palette: Tensor) -> Pairs:
    return photos, maps.roll(1, 0), palette


def other_colours(photos: Tensor, maps: Tensor, palette: Tensor) -> Pairs:
    return photos, maps, palette[:-1]


@pytest.mark.parametrize("change", [other_photograph, other_map, other_pairing, other_colours])
def test_other_pairs_are_learnt_anew(
    change: Callable[[Tensor, Tensor, Tensor], Pairs], training: Pairs, few_steps: Callable[[int], None]
) -> None:
    few_steps(1)
    segmentation.trained_segmenter(*training, CPU)
    told = list[int]()
    segmentation.trained_segmenter(*change(*training), CPU, lambda done, _: told.append(done))
    assert told == [1]


def test_other_constants_learn_anew(
    training: Pairs, few_steps: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    few_steps(1)
    first = segmentation.trained_segmenter(*training, CPU)
    monkeypatch.setattr(segmentation, "LR", 1e-3)
    assert not same(first, segmentation.trained_segmenter(*training, CPU))


def test_pairs_move_together_and_stay_in_the_picture() -> None:
    torch.manual_seed(0)
    rows = torch.arange(16.0).repeat_interleave(16).reshape(1, 16, 16)
    both = torch.cat([rows, rows.transpose(1, 2), rows + 100]).expand(64, -1, -1, -1)
    moved = segmentation._augmented(both, shift=2)
    assert moved.shape == both.shape
    assert torch.equal(moved[:, 0] + 100, moved[:, 2])
    corners = {(int(pair[0, 8, 8]) - 8, int(pair[1, 8, 9] - pair[1, 8, 8])) for pair in moved}
    assert corners == {(down, way) for down in range(-2, 3) for way in (-1, 1)}


def test_of_grey_pictures_and_any_size(few_steps: Callable[[int], None]) -> None:
    few_steps(2)
    photos, maps = pairs(0, 9, size=40)
    palette = palette_of(maps)
    assert palette is not None
    segmenter = segmentation.trained_segmenter(photos[:, :1], maps, palette, CPU)
    found = segmentation.segment(segmenter, photos[:, :1, :, :30])
    assert found.shape == (9, 40, 30)
    assert found.dtype == torch.int64


@pytest.mark.slow
def test_a_longer_training_reads_nearly_all(few_steps: Callable[[int], None]) -> None:
    few_steps(600)
    photos, maps = pairs(0, 120)
    palette = palette_of(maps)
    assert palette is not None
    held_out, true_maps = pairs(120, 136)
    segmenter = segmentation.trained_segmenter(photos, maps, palette, CPU)
    found = score(confusion(segmentation.segment(segmenter, held_out), classes_of(true_maps, palette), len(palette)))
    assert found["per-pixel-accuracy"] > 0.8
    assert found["per-class-accuracy"] > 0.7


def test_it_learns_from_rectangles(training: Pairs, few_steps: Callable[[int], None]) -> None:
    few_steps(2)
    photos, maps, palette = training
    wide, wide_maps = photos[..., :20, :], maps[..., :20, :]
    segmenter = segmentation.trained_segmenter(wide, wide_maps, palette, CPU)
    assert segmentation.segment(segmenter, wide).shape == (24, 20, 32)
