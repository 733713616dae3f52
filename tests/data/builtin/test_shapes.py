"""The built-in shapes: the same for everyone, colours that follow from shapes, and in the form of a data set."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diptych.data.builtin import facades, shapes
from diptych.data.paths import list_pictures
from diptych.images.files import Array


@pytest.mark.parametrize("size", [16, 32])
def test_a_picture_is_a_function_of_its_seed_and_number(size: int) -> None:
    keys = [(seed, number) for seed in range(3) for number in (0, 1, 5)]
    drawn = {(seed, number): shapes.draw(number, size, seed)[1].tobytes() for seed, number in keys}
    for seed, number in reversed(keys):
        assert shapes.draw(number, size, seed)[1].tobytes() == drawn[seed, number]
    assert len(set(drawn.values())) == 9


@settings(deadline=None, derandomize=True, max_examples=25)
@given(number=st.integers(0, 10**6), size=st.integers(8, 80))
def test_every_number_and_size_can_be_drawn(number: int, size: int) -> None:
    name, picture = shapes.draw(number, size)
    assert (picture.mode, picture.size) == ("RGB", (size, size))
    assert name == shapes.kind(number)
    assert np.ptp(np.asarray(picture)) > 60  # there is something to see


def test_the_kinds_take_turns() -> None:
    assert [shapes.kind(number) for number in range(10)] == ["sun", "leaf", "brick", "drop", "apple"] * 2


@pytest.mark.parametrize("small", [32, 48])
def test_a_small_picture_shows_what_a_large_one_shows(small: int) -> None:
    for number in range(5):
        large = shapes.draw(number, 96)[1].resize((16, 16), Image.Resampling.BOX)
        difference = np.asarray(large, float) - np.asarray(
            shapes.draw(number, small)[1].resize((16, 16), Image.Resampling.BOX), float
        )
        assert np.abs(difference).mean() < 3


def test_a_large_picture_is_painted_as_large_and_not_blown_up() -> None:
    picture = shapes.draw(0, 256)[1]
    blurred = picture.resize((128, 128), Image.Resampling.BOX).resize((256, 256), Image.Resampling.BICUBIC)
    grain = np.abs(np.asarray(picture, float) - np.asarray(blurred, float)).mean()
    assert 1 < grain < 1.9


def thing_and_ground(number: int) -> tuple[Array, Array]:
    """The pixels of what is shown, by being far from grey, and those of its ground; `[n, 3]` each."""
    values = np.asarray(shapes.draw(number, 64)[1]).astype(float)
    colour = np.ptp(values, axis=-1)
    return values[colour > 75], values[colour < 55]


@pytest.mark.parametrize("number", range(15))
def test_colour_follows_from_the_shape_and_the_ground_has_none_to_speak_of(number: int) -> None:
    thing, ground = thing_and_ground(number)
    assert 0.04 < len(thing) / 64**2 < 0.5
    assert len(ground) > 0.45 * 64**2
    hues = {name: np.array(colour) / np.linalg.norm(colour) for name, colour in shapes.COLOURS.items()}
    mean = thing.mean(axis=0) / np.linalg.norm(thing.mean(axis=0))
    assert max(hues, key=lambda name: float(hues[name] @ mean)) == shapes.kind(number)
    assert hues[shapes.kind(number)] @ mean > 0.985


def test_the_kinds_differ_in_shape_and_not_only_in_colour() -> None:
    """Told by outlines alone: how much of its own box each one fills, and how high above its middle it weighs."""
    described: dict[str, list[tuple[float, float]]] = {}
    for number in range(25):
        colour = np.ptp(np.asarray(shapes.draw(number, 96)[1]).astype(float), axis=-1) > 75
        rows, columns = np.nonzero(colour)
        box = np.ptp(rows) * np.ptp(columns)
        described.setdefault(shapes.kind(number), []).append((len(rows) / box, np.ptp(columns) / np.ptp(rows)))
    means = {name: np.mean(values, axis=0) for name, values in described.items()}
    for name, mean in means.items():
        others = [float(np.abs(mean - other).sum()) for kind, other in means.items() if kind != name]
        assert min(others) > 0.1, (name, means)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_written_is_a_data_set_in_folders_of_their_kind(tmp_path: Path) -> None:
    shapes.write(tmp_path, size=16, train=7, val=3, seed=5)
    want = {f"train/{shapes.kind(number)}/shape-{number:04d}.png": number for number in range(7)}
    want |= {f"val/{shapes.kind(number)}/shape-{number:04d}.png": number for number in range(7, 10)}  # none is in both
    assert {path.relative_to(tmp_path).as_posix() for path in list_pictures(tmp_path)} == want.keys()
    for name, number in want.items():
        with Image.open(tmp_path / name) as image:
            np.testing.assert_array_equal(np.asarray(image), np.asarray(shapes.draw(number, 16, seed=5)[1]))


def test_writing_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    shapes.write(tmp_path, size=16, train=3, val=1)
    whole = files(tmp_path)
    missing, changed = tmp_path / "train/leaf/shape-0001.png", tmp_path / "train/sun/shape-0000.png"
    missing.unlink()
    changed.write_bytes(b"something that would not be drawn")
    (tmp_path / "train/.partial-0815.png").touch()
    shapes.write(tmp_path, size=16, train=3, val=1)
    assert missing.read_bytes() == whole["train/leaf/shape-0001.png"]
    assert changed.read_bytes() == b"something that would not be drawn"


@pytest.mark.parametrize("name", ["train/apple/mine.png", "shape-1.png", "notes.txt", "train/facade-0001.png"])
def test_pictures_of_somebody_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=rf"{name}: .*--out"):
        shapes.write(tmp_path, size=16, train=1, val=1)
    assert files(tmp_path) == {name: b""}


def test_ten_thousand_and_more_are_known_again(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train/facade-12345.png").touch()
    facades.write(tmp_path, size=16, train=1, val=0)
    assert files(tmp_path).keys() == {"train/facade-12345.png", "train/facade-0000.png"}
