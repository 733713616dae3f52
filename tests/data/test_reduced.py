"""Which images training decodes at a part of their size, and what is told of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.data.datasets import Dataset, FileDataset, FilePairs, LabelledDataset, PairSide, SideBySide
from diptych.data.loaders import CachedDataset, open_cached
from diptych.images import files
from diptych.images.size import Size
from diptych.images.spec import ImageSpec
from diptych.training.run import Run

Train = Callable[..., Run]
RGB, LABELS, DEEP = ImageSpec(), ImageSpec(kind="labels"), ImageSpec(bits=16)


def write(path: Path, height: int, width: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    coarse = np.random.default_rng(height).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many times smaller than in its file each picture was decoded."""
    found: list[int] = []
    own = files.decode

    def decode(*args: Any, **options: Any) -> Any:
        pixels = own(*args, **options)
        found.append(pixels.reduced)
        return pixels

    monkeypatch.setattr("diptych.images.numbers.decode", decode)
    return found


def first(
    dataset: Dataset, exact: bool = False, size: tuple[int, int] = (16, 16)
) -> tuple[list[torch.Tensor], CachedDataset]:
    [cached] = open_cached([dataset], Size(*size), "stretch", 0, exact=exact)
    return cached.sides(0), cached


def side_by_side(folder: Path, width: int, specs: Sequence[ImageSpec] = (RGB, RGB)) -> SideBySide:
    return SideBySide(folder, [write(folder / "pairs/0.jpg", 256, width)], tuple(specs))


def two_folders(folder: Path, b: str = "0.jpg", specs: tuple[ImageSpec, ImageSpec] = (RGB, RGB)) -> FilePairs:
    return FilePairs(["0"], [write(folder / "a/0.jpg", 256, 256)], [write(folder / "b" / b, 256, 256)], specs)


def test_a_large_picture_is_decoded_smaller_and_told_as_large_as_it_is(tmp_path: Path, decoded: list[int]) -> None:
    source = FileDataset(tmp_path, [write(tmp_path / "0.jpg", 128, 192)], (RGB,))
    for dataset in (source, LabelledDataset(source, ["cat"])):
        [image], cached = first(dataset)
        assert "192x128" in cached.describe()
        [exact], _ = first(dataset, exact=True)
        assert (image.float() - exact.float()).abs().max() <= 4
    assert decoded == [4, 1] * 2  # 32 rows for 16 px


def test_the_halves_of_a_pair_are_decoded_in_one_piece(tmp_path: Path, decoded: list[int]) -> None:
    source = side_by_side(tmp_path, 512)
    both, cached = first(source)
    [left], _ = first(PairSide(source, 0))
    exact, _ = first(source, exact=True)
    assert decoded == [8, 8, 1]
    assert cached.describe() == "1 side-by-side pairs, 512x256, A left"
    assert torch.equal(left, both[0])
    for reduced, whole in zip(both, exact, strict=True):
        assert (reduced.float() - whole.float()).abs().max() <= 4


@pytest.mark.parametrize(("size", "times"), [((16, 64), 2), ((64, 16), 2), ((32, 16), 4), ((16, 16), 8)])
def test_each_side_of_a_rectangle_keeps_its_own_margin(
    tmp_path: Path, decoded: list[int], size: tuple[int, int], times: int
) -> None:
    for dataset in (side_by_side(tmp_path, 512), two_folders(tmp_path)):
        [image, _], _ = first(dataset, size=size)
        assert image.shape == (3, *size)
    assert decoded == [times] * 3  # of 256x256, twice as many pixels as are needed


def test_no_pixel_lies_in_both_halves(tmp_path: Path, decoded: list[int]) -> None:
    source = side_by_side(tmp_path, 520)  # 65 columns at 1/8
    sides, cached = first(source)
    assert decoded == [8, 1]
    assert all(map(torch.equal, sides, first(source, exact=True)[0]))
    assert "520x256" in cached.describe()


@pytest.mark.parametrize("spec", [LABELS, DEEP], ids=["labels", "16 bits"])
def test_label_maps_and_16_bits_are_decoded_whole(tmp_path: Path, decoded: list[int], spec: ImageSpec) -> None:
    first(side_by_side(tmp_path, 512, (RGB, spec)))
    first(FileDataset(tmp_path, [write(tmp_path / "0.jpg", 256, 256)], (spec,)))
    assert decoded == [1, 1]
    _, cached = first(two_folders(tmp_path, specs=(RGB, spec)))
    assert decoded[2:] == [8, 1]  # each side by its own rule
    assert "256x256" in cached.describe()


def test_two_sides_are_compared_by_the_sizes_of_their_files(tmp_path: Path, decoded: list[int]) -> None:
    first(two_folders(tmp_path, b="0.png"))
    assert decoded == [8, 1]
    source = two_folders(tmp_path)
    write(tmp_path / "b/0.jpg", 128, 128)  # at 1/4 as large as A at 1/8
    with pytest.raises(ValueError, match=r"is 256x256 and .* is 128x128"):
        first(source)


def test_training_decodes_smaller_and_held_out_pictures_are_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train_tiny: Train
) -> None:
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        for number in range(2):
            write(tmp_path / split / f"{number}.jpg", 256, 512)
    found: dict[str, set[int]] = {"train": set(), "val": set()}
    own = files.decode

    def decode(path: Path, **options: Any) -> Any:
        pixels = own(path, **options)
        found[path.parent.name].add(pixels.reduced)
        return pixels

    monkeypatch.setattr("diptych.images.numbers.decode", decode)
    train_tiny(tmp_path / "run", data=tmp_path, dry_run=True)
    assert found == {"train": {2, 4}, "val": {1}}  # previews are smaller than what crops are taken from
