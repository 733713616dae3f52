"""Labels: their file, the classes of pixels by colour and by index, and planes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from diptych.images import numbers
from diptych.images.files import Pixels
from diptych.images.labels import Labels, read_labels
from diptych.images.spec import ImageSpec, in_colours

COLOURS = Labels.parse(["sky,0,0,170", "wall,0,85,255", "roof,255,170,0"])
INDICES = Labels.parse(["nothing,0", "lung,3", "void,255"])


def test_a_file_has_a_class_a_line(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("# of facades\n\nsky, 0, 0, 170\n a wall ,0,85,255\n", encoding="utf-8")
    labels = read_labels(file)
    assert (labels.names, labels.colours) == (("sky", "a wall"), ((0, 0, 170), (0, 85, 255)))
    assert Labels.parse(labels.lines) == labels


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sky,0,0,170\nwall,7", "a colour and some an index"),
        ("sky,0,0,170\nsky,0,0,171", "two labels have the name 'sky'"),
        ("sky,0,0,170\nwall,0,0,170", "two labels have the colour"),
        ("sky,0,0,170\nwall,0,0,256", "'wall,0,0,256' is no label"),
        ("sky,0,0,170\nwall,0,0", "'wall,0,0' is no label"),
        ("sky,0\nwall,-1", "is no label"),
        ("sky,0\n,1", "is no label"),
        ("sky,0,0,170", "1 labels; from 2 to 256"),
        ("<html>", "is no label"),
        ("", "0 labels"),
        ("\n".join(f"{n},{n}" for n in range(257)), "257 labels"),
    ],
)
def test_what_are_no_labels_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "labels.txt").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"labels\.txt: ") as refused:
        read_labels(tmp_path / "labels.txt")
    assert said in str(refused.value)


@given(st.lists(st.lists(st.integers(0, 255), min_size=3, max_size=3), min_size=1, max_size=40))
def test_every_colour_is_of_the_nearest_label(pixels: list[list[int]]) -> None:
    classes = COLOURS.classes_of(np.array([pixels], np.uint8))[0]
    for pixel, found in zip(pixels, classes, strict=True):
        distances = [sum((a - b) ** 2 for a, b in zip(pixel, colour, strict=True)) for colour in COLOURS.colours]
        assert distances[found] == min(distances)


def test_an_index_of_no_label_is_refused() -> None:
    assert INDICES.classes_of(np.array([[[3], [255], [0]]], np.uint8)).tolist() == [[1, 2, 0]]
    with pytest.raises(
        ValueError,
        match=r"index 7, which is no label's .and 1 more., in 2 of 4 pixels, .*row 1, column 0; add a line `name, 7`",
    ):
        INDICES.classes_of(np.array([[[3], [0]], [[7], [9]]], np.uint8))
    with pytest.raises(ValueError, match="in colour"):
        INDICES.classes_of(np.array([[[3, 0, 3]]], np.uint8))


def test_class_numbers_are_not_taken_for_dark_colours() -> None:
    with pytest.raises(ValueError, match=r"is grey, and the labels have colours; .*labels with indices"):
        COLOURS.classes_of(np.array([[[0], [1]]], np.uint8))


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int32", "int64"])
def test_indices_of_every_type_of_whole_numbers(tmp_path: Path, kind: str) -> None:
    spec = ImageSpec(3, kind="labels", labels=INDICES)
    indices = np.array([[0, 3], [255, 3]], kind)
    tifffile.imwrite(tmp_path / "x.tif", indices)
    np.save(tmp_path / "x.npy", indices)
    for file in ("x.tif", "x.npy"):
        assert INDICES.classes_of(numbers.read(tmp_path / file, spec).values).tolist() == [[0, 1], [2, 1]]
    np.save(tmp_path / "x.npy", indices.astype(np.float32))
    with pytest.raises(ValueError, match=r"x.npy: holds float32 numbers; save its labels as whole numbers or colours"):
        numbers.read(tmp_path / "x.npy", spec)


def test_the_share_of_unknown_colours() -> None:
    assert COLOURS.unknown(np.array([[[0, 0, 170], [0, 0, 171], [0, 85, 255], [9, 9, 9]]], np.uint8)) == 0.5


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_indices_are_read_from_palettes_and_from_grey(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.array([[0, 3, 255]], np.uint8))
    if mode == "P":
        image = image.convert("L")
        image.putpalette(list(range(255, -1, -1)) * 3)
    image.convert(mode).save(tmp_path / "x.png")
    spec = ImageSpec(3, kind="labels", labels=INDICES)
    pixels = numbers.read(tmp_path / "x.png", spec)
    assert spec.read(pixels.values).argmax(0).tolist() == [[0, 1, 2]]


def test_planes_go_in_and_colours_come_out(tmp_path: Path) -> None:
    spec = ImageSpec(3, kind="labels", labels=COLOURS)
    classes = np.random.default_rng(0).integers(0, 3, (5, 7))
    drawn = Pixels(COLOURS.table[classes])
    planes = numbers.into(drawn, spec, spec)
    assert planes.values.shape == (5, 7, 3)
    np.testing.assert_array_equal(planes.values.argmax(-1), classes)
    np.testing.assert_array_equal(numbers.out_of(planes, spec, drawn).values, drawn.values)
    numbers.write(drawn, tmp_path / "x.png", spec)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "x.png")), drawn.values)
    with pytest.raises(ValueError, match=r"x\.jpg: .*colours of labels.*\.png"):
        numbers.write(drawn, tmp_path / "x.jpg", spec)


def test_what_a_person_is_shown_of_planes() -> None:
    spec = ImageSpec(3, kind="labels", labels=INDICES)
    planes: Any = torch.eye(3).T.reshape(1, 3, 1, 3) * 2 - 1
    shown = in_colours(planes, spec, ImageSpec(1))
    assert len({tuple(colour) for colour in shown[0, :, 0].T.tolist()}) == 3
    assert in_colours(planes, spec, ImageSpec(3)) is planes  # may be an RGB picture of the other side
    assert in_colours(planes[:, :1], spec, ImageSpec(1)).shape == (1, 1, 1, 3)
