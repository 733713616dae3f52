"""A person's masks on pictures of other sizes, and the picture that each belongs to."""

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from diptych.cli import run as command
from diptych.data import mask_files
from diptych.images.files import Pixels, from_image

HOLE = np.zeros((20, 30), bool)
HOLE[4:9, 10:24] = True


def as_image(mode: str) -> Image.Image:
    grey = Image.fromarray(HOLE.astype(np.uint8) * 255)
    if mode == "I;16":
        return Image.fromarray(HOLE.astype(np.uint16) * 65535)
    if mode == "RGBA":
        return Image.merge("RGBA", [grey, grey, grey, Image.new("L", grey.size, 255)])
    return grey.convert(mode)


Line = tuple[str, str, str]


@pytest.fixture
def said() -> list[Line]:
    return []


@pytest.fixture
def note(said: list[Line]) -> mask_files.Note:
    return lambda *line: said.append(line)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_every_mode(mode: str, said: list[Line], note: mask_files.Note) -> None:
    assert np.array_equal(mask_files.from_pixels(from_image(as_image(mode))).fitted((20, 30), note), HOLE)
    assert said == []


WHITES = [*((kind, 1) for kind in ("bool", "float16", "float32", "float64")), ("float32", 255), ("float64", 65535)]


@pytest.mark.parametrize(
    ("kind", "white"), [*WHITES, ("int32", 255), ("int64", 65535), ("uint32", 65535), ("int16", 255)]
)
def test_numbers_of_every_type(tmp_path: Path, kind: str, white: int, said: list[Line], note: mask_files.Note) -> None:
    """As .npy, TIFF, and a Pillow image; they were refused for want of a range, or had no hole."""
    values = (HOLE * white).astype(kind)
    np.save(tmp_path / "mask.npy", values)
    tifffile.imwrite(tmp_path / "mask.tif", values, photometric="minisblack")
    for file in ("mask.npy", "mask.tif"):
        np.testing.assert_array_equal(mask_files.read(tmp_path / file).fitted((20, 30), note), HOLE)
    np.testing.assert_array_equal(mask_files.from_array(values).fitted((20, 30), note), HOLE)
    assert said == []


@given(st.sampled_from(["int8", "int32", "int64", "uint32", "float32"]), st.integers(1, 127), st.randoms())
def test_0_and_one_other_number_is_said(kind: str, other: int, random: Random) -> None:
    hole = np.array([random.random() < 0.4 for _ in range(64)]).reshape(8, 8)
    hole[0, :2] = True, False
    mask = mask_files.from_array(np.where(hole, other, 0).astype(kind))
    np.testing.assert_array_equal(mask.hole, hole)
    assert mask.taken or other == 1


MEANINGLESS: list[tuple[Any, str]] = [
    (np.where(HOLE, np.nan, 1), "from nan to nan"),
    (np.where(HOLE, 1.0, -1), "from -1.0 to 1.0: whole numbers to 65535 or floats in"),
    (np.where(HOLE, -1, 0), "from -1 to 0"),
    (np.where(HOLE, 2**31, 0), "from 0 to 2147483648"),
    (np.ones((20, 30), np.int32), "all of it is grey 1, which shows no hole"),
    (np.full((20, 30), 0.5, np.float32), "all of it is grey 32768, which shows no hole"),
    (HOLE.astype("U1"), "holds <U1"),
    (HOLE[None].astype(np.int32), r"shape \(1, 20, 30\)"),
]


@pytest.mark.parametrize(("values", "message"), MEANINGLESS)
def test_numbers_that_show_no_hole_are_refused_by_their_file(tmp_path: Path, values: Any, message: str) -> None:
    np.save(tmp_path / "mask.npy", values)
    with pytest.raises(ValueError, match=f"mask.npy.* {message}"):
        mask_files.read(tmp_path / "mask.npy")


@pytest.mark.parametrize("kind", ["float32", "int32"])
def test_numbers_of_which_the_lowest_is_white_are_no_mask(tmp_path: Path, kind: str) -> None:
    """They would be taken for their negative."""
    tifffile.imwrite(tmp_path / "mask.tif", (~HOLE).astype(kind), photometric="miniswhite")
    with pytest.raises(ValueError, match=r"mask.tif: .*the lowest is white.*; paint the hole white"):
        mask_files.read(tmp_path / "mask.tif")


def test_a_jpeg_says_the_same(tmp_path: Path, said: list[Line], note: mask_files.Note) -> None:
    as_image("L").save(tmp_path / "mask.jpg", quality=60)
    assert np.array_equal(mask_files.read(tmp_path / "mask.jpg").fitted((20, 30), note), HOLE)
    assert said == []


def test_what_had_to_be_worked_out_is_said(tmp_path: Path, said: list[Line], note: mask_files.Note) -> None:
    Image.fromarray(HOLE.astype(np.uint8)).save(tmp_path / "mask.png")
    assert np.array_equal(mask_files.read(tmp_path / "mask.png").fitted((20, 30), note), HOLE)
    details = "0 and 1, 11.67% of the pixels"
    assert said == [(str(tmp_path / "mask.png"), "the higher of its two levels is taken as the hole", details)]


def test_resized_by_nearest(said: list[Line], note: mask_files.Note) -> None:
    doubled = mask_files.from_pixels(from_image(as_image("L"))).fitted((40, 60), note)
    assert np.array_equal(doubled, HOLE.repeat(2, axis=0).repeat(2, axis=1))
    halved = mask_files.from_pixels(Pixels(doubled[..., None].astype(np.uint8) * 255)).fitted((20, 30), note)
    assert np.array_equal(halved, HOLE)
    one_of_three = np.array([[[0], [255], [0], [0], [0], [0]]], np.uint8)
    assert mask_files.from_pixels(Pixels(one_of_three)).fitted((1, 2), note).tolist() == [[True, False]]  # and no mean


@given(st.integers(8, 400), st.integers(8, 400), st.floats(0.2, 5))
def test_another_size_of_the_same_aspect_ratio_needs_no_word(height: int, width: int, scale: float) -> None:
    own = np.zeros((max(1, round(height * scale)), max(1, round(width * scale))), bool)
    own[0, 0] = True
    said: list[Line] = []
    mask_files.UserMask("mask", own).fitted((height, width), lambda *line: said.append(line))
    assert not any("aspect" in what for _, what, _ in said)


def test_another_aspect_ratio_is_said_or_refused(said: list[Line], note: mask_files.Note) -> None:
    mask = mask_files.from_pixels(from_image(as_image("L")), "mask.png")
    assert mask.fitted((40, 90), note).shape == (40, 90)
    [line] = said
    assert line == ("mask.png", "has not the aspect ratio of its picture, and is stretched", "30x20 for 90x40")
    with pytest.raises(ValueError, match=r"mask\.png: .*upright.*lies \(30x20 for 40x60\); turn the mask"):
        mask.fitted((60, 40), note)


def test_a_mask_that_may_be_inverted_is_said(said: list[Line], note: mask_files.Note) -> None:
    mostly = np.full((20, 30, 1), 255, np.uint8)
    mostly[:2, :5] = 0
    assert mask_files.from_pixels(Pixels(mostly), "mask.png").fitted((20, 30), note).mean() == 590 / 600
    [(_, what, details)] = said
    assert "white is taken as the hole, nearly all of it: invert it" in what
    assert details == "98.33% of the pixels"


def test_no_hole_is_said(said: list[Line], note: mask_files.Note) -> None:
    assert not mask_files.from_pixels(Pixels(np.zeros((20, 30, 1), np.uint8)), "mask.png").fitted((20, 30), note).any()
    assert said == [("mask.png", "has no hole, so its picture stays as it is", "")]


def test_nothing_left_is_refused(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 255).save(tmp_path / "white.png")
    with pytest.raises(ValueError, match=r"white\.png: all of it is a hole .*what is kept is black"):
        mask_files.read(tmp_path / "white.png").fitted((20, 30), print)


def test_one_mask_for_all_or_one_of_the_same_name_for_each(tmp_path: Path) -> None:
    (tmp_path / "masks/b").mkdir(parents=True)
    for name in ("a.png", "b/c.webp", "unused.png"):
        as_image("L").save(tmp_path / "masks" / name)
    one = tmp_path / "masks/a.png"
    assert mask_files.match(["x", "y"], one) == [one, one]
    assert mask_files.match(["b/c", "a"], tmp_path / "masks") == [tmp_path / "masks/b/c.webp", one]
    with pytest.raises(ValueError, match=r"has no mask named 'd' \(and 1 more are missing\)"):
        mask_files.match(["a", "d", "e"], tmp_path / "masks")
    with pytest.raises(ValueError, match="no such file"):
        mask_files.match(["a"], tmp_path / "none.png")


@pytest.mark.parametrize(
    ("photos", "masks"),
    [
        (["cat", "deep/dog 1"], ["cat_mask", "deep/dog 1_mask", "unused_mask", "unused"]),
        (["cat"], ["cat-m", "cat2-m"]),
        (["1_photo", "2_photo"], ["1_mask", "2_mask"]),
        (["1", "2"], ["mask_1", "mask_2"]),
        (["e\u0301t\u00e9"], ["\u00e9te\u0301_mask"]),
        (["e\u0301"], ["\u00e9"]),
        (["cat"], ["cat", "cat_mask"]),  # the same name is plainer
    ],
)
def test_the_mask_of_a_picture_may_be_called_by_its_name_and_more(
    tmp_path: Path, photos: list[str], masks: list[str]
) -> None:
    for name in masks:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        as_image("L").save(tmp_path / f"{name}.png")
    found = mask_files.match(photos, tmp_path)
    assert found == [tmp_path / f"{name}.png" for name in masks[: len(photos)]]


def test_masks_may_lie_beside_their_pictures(tmp_path: Path) -> None:
    for name in ("cat", "cat_mask", "dog", "dog_mask"):
        as_image("L").save(tmp_path / f"{name}.png")
    photos = [tmp_path / "cat.png", tmp_path / "dog.png"]
    assert mask_files.match(["cat", "dog"], tmp_path, photos) == [tmp_path / "cat_mask.png", tmp_path / "dog_mask.png"]
    for name in ("cat_mask", "dog_mask"):
        (tmp_path / f"{name}.png").unlink()
    assert mask_files.match(["cat", "dog"], tmp_path, photos) == photos  # with holes in their alpha, as it may be


@pytest.mark.parametrize("name", ["{}_mask", "{}-Hole", "mask_{}"])
def test_masks_among_the_pictures_are_masks_alone(
    tmp_path: Path, completion_run: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "in").mkdir()
    for number, photo in enumerate(("photo1", "photo2")):
        levels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(levels).save(tmp_path / f"in/{photo}.bmp")
        as_image("L").save(tmp_path / f"in/{name.format(photo)}.png")
    words = ["translate", str(completion_run), str(tmp_path / "in"), "--mask", str(tmp_path / "in")]
    assert command([*words, "--out", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["photo1.bmp", "photo2.bmp"]
    assert "in: 2 of 4 pictures are masks by their names, " in " ".join(capsys.readouterr().err.split())
    for photo in ("photo1", "photo2"):
        before, after = (np.asarray(Image.open(tmp_path / folder / f"{photo}.bmp")) for folder in ("in", "out"))
        assert np.array_equal(before[~HOLE], after[~HOLE])
        assert not np.array_equal(before[HOLE], after[HOLE])


def test_of_two_kinds_in_one_folder_no_mask_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds 2 pictures of each name \(\*, \*_b\).* in a folder of their own"):
        mask_files.among(["1", "1_b", "2", "2_b"], tmp_path)
    assert mask_files.among(["cat", "dog"], tmp_path) == (set(), "")


def test_of_several_masks_none_is_guessed(tmp_path: Path) -> None:
    for name in ("cat_mask", "cat_person"):
        as_image("L").save(tmp_path / f"{name}.png")
    with pytest.raises(ValueError, match=r"has several masks for 'cat' \(cat_mask, cat_person\)"):
        mask_files.match(["cat"], tmp_path)
