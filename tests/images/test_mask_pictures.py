"""Freshly invented masks of every kind that people bring: the hole is the one that was meant, or it is refused."""

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from diptych.images.files import Pixels, from_image
from diptych.images.mask_pictures import Reading, read_hole
from diptych.images.masks import Mask
from diptych.images.spec import Array

PAINTS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 255), (255, 255, 0), (237, 28, 36), (0, 162, 232)]

seeds = st.integers(0, 2**32 - 1)


@st.composite
def shapes(draw: st.DrawFn) -> Mask:
    """Some rectangles and ellipses, less than half of the picture."""
    height, width = draw(st.integers(24, 96)), draw(st.integers(24, 96))
    mask = np.zeros((height, width), np.uint8)
    for _ in range(draw(st.integers(1, 3))):
        x, y = draw(st.integers(0, width - 4)), draw(st.integers(0, height - 4))
        right, bottom = draw(st.integers(4, width // 2)), draw(st.integers(4, height // 2))
        if draw(st.booleans()):
            mask[y : y + bottom, x : x + right] = 1
        else:
            cv2.ellipse(mask, (x, y), (right, bottom), draw(st.integers(0, 179)), 0, 360, 1, -1)
    assume(mask.mean() < 0.45)
    return mask.view(np.bool_)


def photograph(shape: tuple[int, int], seed: int, colour: bool = True) -> Array:
    """Many shades of blended colours."""
    blobs = np.random.default_rng(seed).integers(20, 236, (8, 8, 3 if colour else 1), np.uint8)
    size = shape[1], shape[0]
    smooth = np.asarray(Image.fromarray(np.broadcast_to(blobs, (8, 8, 3))).resize(size, Image.Resampling.BILINEAR))
    noisy = smooth + np.random.default_rng(seed).integers(-9, 10, (*shape, 1))
    return noisy.clip(0, 255).astype(np.uint8)


def as_jpeg(picture: Array, quality: int) -> Array:
    Image.fromarray(picture).save(buffer := io.BytesIO(), "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def border(hole: Mask, width: int) -> Mask:
    """The pixels within so many of the outline."""
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    near: Mask = cv2.dilate(hole.view(np.uint8), kernel) != cv2.erode(hole.view(np.uint8), kernel)
    return near


# ---- black and white


def levels(dark: Any, light: Any, kind: Any = np.uint8) -> Callable[[Mask], Pixels]:
    return lambda hole: Pixels(np.where(hole, light, dark).astype(kind)[..., None])


def in_mode(mode: str) -> Callable[[Mask], Pixels]:
    return lambda hole: from_image(Image.fromarray(hole.astype(np.uint8) * 255).convert(mode))


def in_palette(hole: Mask) -> Pixels:
    """Index 0 is white and 1 is black."""
    image = Image.fromarray((~hole).astype(np.uint8), "P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    return from_image(image)


@pytest.mark.parametrize(
    "form",
    [
        *(in_mode(mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")),
        in_palette,
        levels(0, 65535, np.uint16),
        levels(16, 235),
        levels(3, 250),
        lambda hole: Pixels(hole[..., None].astype(np.uint8) * 255, np.full(hole.shape, 200, np.uint8)),
    ],
)
@given(hole=shapes())
@settings(max_examples=10)
def test_black_and_white_needs_no_word(form: Callable[[Mask], Pixels], hole: Mask) -> None:
    found = read_hole(form(hole))
    assert np.array_equal(found.hole, hole)
    assert found[1:] == ("", "")


@given(hole=shapes(), quality=st.integers(30, 100))
def test_noise_of_jpeg(hole: Mask, quality: int) -> None:
    try:
        found = read_hole(Pixels(as_jpeg(hole.astype(np.uint8) * 255, quality)[..., None]))
    except ValueError:  # a few small shapes in which noise is everywhere
        return
    assert not (found.hole ^ hole)[~border(hole, 2)].any()


@given(hole=shapes(), blur=st.floats(0.5, 1.5))
def test_soft_edges(hole: Mask, blur: float) -> None:
    soft = cv2.GaussianBlur(hole.astype(np.uint8) * 255, (0, 0), blur)
    try:
        found = read_hole(Pixels(soft[..., None]))
    except ValueError:
        return
    assert not (found.hole ^ hole)[~border(hole, 3)].any()


@given(hole=shapes(), level=st.integers(1, 190), kind=st.sampled_from([np.uint8, np.uint16]))
def test_zero_and_another_level(hole: Mask, level: int, kind: Any) -> None:
    found = read_hole(levels(0, level, kind)(hole))
    assert np.array_equal(found.hole, hole)
    assert found.seen == f"0 and {level}"


# ---- see-through


@given(hole=shapes(), seed=seeds, colour=st.booleans(), clear=st.booleans())
def test_the_photograph_with_the_hole_erased(hole: Mask, seed: int, colour: bool, clear: bool) -> None:
    picture = photograph(hole.shape, seed, colour)
    if clear:  # some programs keep the colours of what is erased
        picture[hole] = 0
    found = read_hole(Pixels(picture, np.where(hole, 0, 255).astype(np.uint8)))
    assert np.array_equal(found.hole, hole)
    assert found.taken == "its see-through part"


@given(
    hole=shapes(),
    paint=st.sampled_from([(0, 0, 0), (255, 255, 255), (128, 128, 128), *PAINTS]),
    alpha=st.integers(60, 255),
)
def test_paint_on_a_layer_of_its_own(hole: Mask, paint: tuple[int, int, int], alpha: int) -> None:
    layer = np.zeros((*hole.shape, 3), np.uint8)
    layer[hole] = paint
    found = read_hole(Pixels(layer, hole.astype(np.uint8) * np.uint8(alpha)))
    assert np.array_equal(found.hole, hole)
    assert found.taken == "the paint on its see-through layer"


@pytest.mark.parametrize("colour", [0, 127, 255])
@given(hole=shapes())
@settings(max_examples=10)
def test_a_cover_with_a_see_through_hole_is_refused(colour: int, hole: Mask) -> None:
    cover = np.full((*hole.shape, 1), colour, np.uint8)
    with pytest.raises(ValueError, match="the rest is see-through: which is the hole"):
        read_hole(Pixels(cover, np.where(hole, 0, 255).astype(np.uint8)))


# ---- paint


@given(hole=shapes(), paint=st.sampled_from([*PAINTS, (128, 0, 0)]), ground=st.sampled_from([0, 60, 127, 255]))
def test_paint_on_one_grey(hole: Mask, paint: tuple[int, int, int], ground: int) -> None:
    picture = np.full((*hole.shape, 3), ground, np.uint8)
    picture[hole] = paint
    found = read_hole(Pixels(picture))
    assert np.array_equal(found.hole, hole)
    assert (found.taken, found.seen) == ("its paint", f"#{bytes(paint).hex()}")


@given(hole=shapes(), paint=st.sampled_from(PAINTS), seed=seeds, colour=st.booleans(), similar=st.booleans())
def test_paint_on_a_photograph(hole: Mask, paint: tuple[int, int, int], seed: int, colour: bool, similar: bool) -> None:
    picture = photograph(hole.shape, seed, colour)
    picture[hole] = paint
    if similar and not hole[:6, :6].any():  # something in the photograph has nearly that colour
        picture[0, 0] = [level - 9 if level > 127 else level + 9 for level in paint]
    assert_meant_or_refused(picture, hole)


@given(hole=shapes(), paint=st.sampled_from(PAINTS), quality=st.integers(80, 100))
def test_paint_in_a_jpeg(hole: Mask, paint: tuple[int, int, int], quality: int) -> None:
    """Colour spreads over the blocks of 16 pixels that it touches."""
    picture = np.zeros((*hole.shape, 3), np.uint8)
    picture[hole] = paint
    assert_meant_or_refused(as_jpeg(picture, quality), hole, around=8)


def test_paint_in_a_jpeg_of_the_best_quality() -> None:
    """Two pixels far inside were one level off, and no hole."""
    hole = np.zeros((47, 24), bool)
    hole[12:35, 7:11] = hole[36:, :10] = True
    picture = np.zeros((*hole.shape, 3), np.uint8)
    picture[hole] = (0, 0, 255)
    assert_meant_or_refused(as_jpeg(picture, 100), hole, around=8)


def assert_meant_or_refused(picture: Array, hole: Mask, around: int = 0) -> None:
    try:
        found = read_hole(Pixels(picture))
    except ValueError:
        return
    assert found.taken == "its paint"
    wrong = found.hole ^ hole
    assert not (wrong[~border(hole, around)] if around else wrong).any()


def test_most_paint_on_photographs_is_understood() -> None:
    """Not only refused: a red stroke on each of twenty."""
    hole = np.zeros((96, 96), bool)
    hole[30:60, 20:70] = True
    for seed in range(20):
        picture = photograph((96, 96), seed)
        picture[hole] = (255, 0, 0)
        assert np.array_equal(read_hole(Pixels(picture)).hole, hole)


# ---- what shows no hole, or several


@given(seed=seeds, colour=st.booleans(), jpeg=st.booleans())
def test_photographs_are_refused(seed: int, colour: bool, jpeg: bool) -> None:
    picture = photograph((64, 80), seed, colour)
    with pytest.raises(ValueError, match=r"photograph|several|levels go"):
        read_hole(Pixels(as_jpeg(picture, 90) if jpeg else picture))


CLASSES = [(128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (64, 0, 0), (255, 0, 0), (0, 0, 255), (0, 60, 100)]


@given(first=shapes(), colours=st.permutations(CLASSES))
def test_label_maps_are_refused_with_their_colours(first: Mask, colours: list[tuple[int, int, int]]) -> None:
    """As in Pascal VOC and in Cityscapes: a colour for each class; a pale border."""
    picture = np.zeros((*first.shape, 3), np.uint8)
    picture[first] = colours[0]
    picture[:8, :8] = colours[1]
    picture[border(first, 1)] = (224, 224, 192)
    assume(((picture == colours[0]).all(-1) & ~border(first, 3)).sum() > 64)
    with pytest.raises(ValueError, match=r"several colours \(.*#[0-9a-f]{6}"):
        read_hole(Pixels(picture))


@pytest.mark.parametrize("third", [1, 15, 128])
@given(hole=shapes())
@settings(max_examples=10)
def test_several_grey_levels_are_refused(third: int, hole: Mask) -> None:
    picture = np.zeros((*hole.shape, 1), np.uint8)
    picture[hole] = 255
    picture[: hole.shape[0] // 3] = third
    assume((picture == 255).sum() > 16)
    with pytest.raises(ValueError, match=rf"several grey levels \(.*{third}|photograph"):
        read_hole(Pixels(picture))


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.full((8, 8, 1), 127), "all of it is grey 127"),
        (np.arange(256).reshape(16, 16, 1), "photograph"),
        (np.where(np.eye(8), 200, 100)[..., None], "levels go from 100 to 200, and black is 0, white 255"),
        (np.where(np.eye(8), 2, 1)[..., None], "levels go from 1 to 2"),
    ],
)
def test_grey_that_shows_no_hole(picture: Array, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_hole(Pixels(picture.astype(np.uint8)))


def test_all_see_through_is_refused() -> None:
    with pytest.raises(ValueError, match="all of it is see-through"):
        read_hole(Pixels(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)))


@pytest.mark.parametrize("level", [0, 255])
def test_all_black_and_all_white(level: int) -> None:
    found = read_hole(Pixels(np.full((8, 8, 1), level, np.uint8)))
    assert found == Reading(found.hole)
    assert (found.hole == bool(level)).all()
