"""The built-in facades: the same for everyone, and in the form of a real data set."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diptych.data.builtin import facades
from diptych.data.layouts import find_one
from diptych.data.paths import DataPaths
from diptych.kinds import DataKind


def pair(number: int, size: int, seed: int = 0) -> tuple[bytes, bytes]:
    photo, labels = facades.draw_pair(number, size, seed)
    return photo.tobytes(), labels.tobytes()


@pytest.mark.parametrize("size", [16, 32])
def test_a_pair_is_a_function_of_its_seed_and_number(size: int) -> None:
    drawn = {(seed, number): pair(number, size, seed) for seed in range(3) for number in range(4)}
    for seed, number in reversed(drawn):
        assert pair(number, size, seed) == drawn[seed, number]
    assert len(set(drawn.values())) == 12


@settings(deadline=None, derandomize=True, max_examples=40)
@given(number=st.integers(0, 10**6), size=st.integers(8, 64))
def test_labels_use_the_colours_of_the_palette_and_no_others(number: int, size: int) -> None:
    photo, labels = facades.draw_pair(number, size)
    assert (photo.mode, photo.size, labels.mode, labels.size) == ("RGB", (size, size), "RGB", (size, size))
    colours = labels.getcolors(size * size)
    assert colours is not None
    assert {colour for _, colour in colours} <= set(facades.LABELS.values())


def test_every_kind_of_label_occurs() -> None:
    seen = set()
    for number in range(6):
        colours = facades.draw_pair(number, 64)[1].getcolors(64 * 64)
        assert colours is not None
        seen |= {colour for _, colour in colours}
    assert seen == set(facades.LABELS.values())


@pytest.mark.parametrize("number", range(4))
def test_the_photograph_follows_the_labels(number: int) -> None:
    # There must be something to learn: sky is bright and blue, the roof dark, glass bluer than the wall.
    photo, labels = (np.asarray(picture).astype(int) for picture in facades.draw_pair(number, 64))

    def of(kind: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        found: np.ndarray[tuple[int], np.dtype[np.float64]] = photo[(labels == facades.LABELS[kind]).all(-1)].mean(
            axis=0
        )
        return found

    sky, wall, window, roof = (of(kind) for kind in ("sky", "wall", "window", "roof"))
    assert sky[2] > sky[0] + 10
    assert sky.mean() > roof.mean() + 40
    assert window[2] - window[0] > wall[2] - wall[0] + 10


def test_what_is_written_is_a_data_set_with_the_photograph_as_a(tmp_path: Path) -> None:
    facades.write(tmp_path, size=16, train=3, val=2, seed=5)
    numbers = {"train": range(3), "val": range(3, 5)}
    for split in ("train", "val"):
        source = find_one(DataKind.PAIRED, DataPaths(tmp_path), "train" if split == "train" else "val")
        assert source is not None
        assert len(source) == len(numbers[split])
        for index, number in enumerate(numbers[split]):  # no house is both trained on and measured on
            sides = facades.draw_pair(number, 16, seed=5)
            for seen, want in zip(source.load(index), sides, strict=True):
                np.testing.assert_array_equal(seen.permute(1, 2, 0).numpy(), np.asarray(want))


def test_writing_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    facades.write(tmp_path, size=16, train=3, val=1)
    first, second, third = sorted((tmp_path / "train").iterdir())
    whole = second.read_bytes()
    second.unlink()
    Image.new("RGB", (32, 16), "red").save(third)  # something that would not be drawn
    kept = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (first, third)}
    facades.write(tmp_path, size=16, train=3, val=1)
    assert second.read_bytes() == whole
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (first, third)} == kept
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 4


def test_facades_of_somebody_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "cmp_b0001.jpg").touch()
    with pytest.raises(ValueError, match=r"cmp_b0001.jpg: is not one of the built-in facades"):
        facades.write(tmp_path, size=32, train=1, val=1)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["cmp_b0001.jpg"]
