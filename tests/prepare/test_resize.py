"""Pictures of one size: against Pillow, and on pictures whose pixels say where they came from."""

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from diptych.images import files, geometry
from diptych.images.files import Array, Pixels
from diptych.prepare import resize as resize_file
from diptych.prepare.resize import parse_colour, parse_size, resize, scale

SIDES = st.integers(1, 40)
FITS = ("fit", "fill", "pad")


def smooth(height: int, width: int) -> Array:
    """Waves of three lengths and half the range, which every good filter sees alike."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / 5) * np.cos(columns / 7), np.sin(columns / 4), np.cos((rows + columns) / 9)]
    levels: Array = np.rint(np.stack(waves, axis=-1) * 60 + 128).astype(np.uint8)
    return levels


def run(picture: Pixels, tmp_path: Path, **settings: Any) -> Pixels:
    tmp_path.mkdir(exist_ok=True)
    files.encode(picture, tmp_path / "in.png")
    assert resize(tmp_path / "in.png", out=tmp_path / "out", **settings) == []
    return files.decode(tmp_path / "out/in.png")


def changed(pixels: Pixels, size: tuple[int, int], fit: Any) -> Pixels:
    """What `resize` does to one picture, without a file."""
    with mock.patch.object(resize_file, "convert") as convert:
        resize("in", out="out", size=size, fit=fit, background="red")
    result: Pixels = convert.call_args.args[3](pixels, "in.png")
    return result


# ---- numbers


@pytest.mark.parametrize(
    ("size", "middle"),
    [((24, 40), (27, 0, 63, 60)), ((100, 60), (0, 3, 90, 57)), ((7, 5), (3, 0, 87, 60)), ((30, 30), (15, 0, 75, 60))],
)
def test_fill_is_pillows_crop_and_bicubic(
    tmp_path: Path, size: tuple[int, int], middle: tuple[int, int, int, int]
) -> None:
    values = smooth(60, 90)
    want = np.asarray(Image.fromarray(values).crop(middle).resize(size, Image.Resampling.BICUBIC))
    seen = run(Pixels(values), tmp_path, size=size).values
    assert seen.shape == want.shape
    assert np.abs(seen.astype(int) - want).max() <= 2


@pytest.mark.parametrize("size", [(45, 60), (180, 300), (9, 99)])
def test_fit_is_pillows_contain(tmp_path: Path, size: tuple[int, int]) -> None:
    values = smooth(60, 90)
    want = np.asarray(ImageOps.contain(Image.fromarray(values), size, Image.Resampling.BICUBIC))
    seen = run(Pixels(values), tmp_path, size=size, fit="fit").values
    assert seen.shape == want.shape
    assert np.abs(seen.astype(int) - want).max() <= 2


@pytest.mark.parametrize(("size", "expected"), [((45, 60), (45, 30)), ((200, 50), (75, 50))])
def test_pad_is_pillows_pad(tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]) -> None:
    values = smooth(60, 90)
    want = np.asarray(ImageOps.pad(Image.fromarray(values), size, Image.Resampling.BICUBIC, color="#ff8000"))
    seen = run(Pixels(values), tmp_path, size=size, fit="pad", background="#ff8000").values
    assert np.abs(seen.astype(int) - want).max() <= 2
    inside = np.any(seen != np.array([255, 128, 0]), axis=-1)
    assert (inside.any(axis=0).sum(), inside.any(axis=1).sum()) == expected


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_stay_16(tmp_path: Path, channels: int) -> None:
    deep = smooth(60, 90)[..., :channels].astype(np.uint16) * 250 + 77
    seen = run(Pixels(deep), tmp_path, size=(45, 30))
    assert seen.bits == 16
    for channel in range(channels):
        floats = Image.fromarray(deep[..., channel].astype(np.float32))
        want = np.asarray(floats.resize((45, 30), Image.Resampling.BICUBIC))
        assert np.abs(seen.values[..., channel] - want).max() < 4  # of 65535


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(45, 30), (120, 90)])
def test_alpha_is_scaled_along_and_weighs_the_colours(channels: int, bits: int, size: tuple[int, int]) -> None:
    alpha = np.clip(smooth(60, 90)[..., 1].astype(int) * 3 - 256, 0, 255).astype(np.uint8)
    assert {0, 255} <= set(alpha.flatten())
    values = smooth(60, 90)[..., :channels]
    image = Image.fromarray(np.concatenate([values, alpha[..., None]], axis=-1))
    want = np.asarray(image.resize(size, Image.Resampling.BICUBIC)).astype(int)
    kind = (np.uint8, np.uint16)[bits // 16]
    deep = Pixels(values.astype(kind) * (1, 257)[bits // 16], alpha.astype(kind) * (1, 257)[bits // 16])
    seen = scale(deep, size[1], size[0])
    assert seen.bits == bits
    assert seen.alpha is not None
    assert seen.alpha.dtype == kind
    levels, opacity = (array / (1, 257)[bits // 16] for array in (seen.values, seen.alpha))
    assert np.abs(opacity - want[..., -1]).max() <= 2
    assert bits == 8 or (seen.alpha % 257 != 0).any()  # 16 bits, not 8 spread over them
    # Pillow keeps the weighed colours in 8 bits: what is hardly visible is hardly known.
    assert (np.abs(levels - want[..., :-1]) * want[..., -1:] / 255).max() < 3


def test_what_is_see_through_does_not_bleed(tmp_path: Path) -> None:
    values = np.zeros((8, 8, 3), np.uint8)
    values[:, 4:] = (255, 0, 0)
    alpha = np.zeros((8, 8), np.uint8)
    alpha[:, 4:] = 255
    small = run(Pixels(values, alpha), tmp_path, size=(3, 3))
    assert small.alpha is not None
    assert 0 < small.alpha[1, 1] < 255
    assert small.values[1, 1].tolist() == [255, 0, 0]


def test_a_picture_of_the_right_size_is_not_touched(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    values, alpha = (generator.integers(0, 256, shape, np.uint8) for shape in ((6, 9, 3), (6, 9)))
    alpha[:3] = 0  # nobody sees these colours, and they are kept all the same
    for fit in FITS:
        seen = run(Pixels(values, alpha), tmp_path / fit, size=(9, 6), fit=fit)
        np.testing.assert_array_equal(seen.values, values)
        np.testing.assert_array_equal(seen.alpha, alpha)


# ---- geometry


@settings(deadline=None, derandomize=True, max_examples=150)
@given(height=SIDES, width=SIDES, box=st.tuples(SIDES, SIDES))
def test_the_sides(height: int, width: int, box: tuple[int, int]) -> None:
    seen = {fit: changed(Pixels(np.zeros((height, width, 1), np.uint8)), box, fit).size for fit in FITS}
    assert seen["fill"] == seen["pad"] == (box[1], box[0])
    tall, wide = seen["fit"]
    assert 1 <= tall <= box[1]
    assert 1 <= wide <= box[0]
    assert tall == box[1] or wide == box[0]  # as large as fits
    # The shape is kept: each side is the rounded share of the other, or a single pixel.
    factor = min(box[1] / height, box[0] / width)
    assert abs(tall - max(1, height * factor)) <= 0.5
    assert abs(wide - max(1, width * factor)) <= 0.5


@settings(deadline=None, derandomize=True, max_examples=150)
@given(height=SIDES, width=SIDES, box=st.tuples(SIDES, SIDES))
def test_fill_keeps_the_middle(height: int, width: int, box: tuple[int, int]) -> None:
    rows, columns = np.mgrid[0:height, 0:width]
    cut = resize_file._cut(
        Pixels(np.stack([rows, columns, rows], axis=-1).astype(np.uint8)),
        *geometry.as_large_as_fits((box[1], box[0]), (height, width)),
    )
    for channel, side in ((0, height), (1, width)):
        first, last = int(cut.values[..., channel].min()), int(cut.values[..., channel].max())
        assert 0 <= (side - 1 - last) - first <= 1  # as much is cut off before as behind
    assert cut.size[0] == height or cut.size[1] == width  # and no more than must be


@settings(deadline=None, derandomize=True, max_examples=100)
@given(height=SIDES, width=SIDES, box=st.tuples(SIDES, SIDES), deep=st.booleans(), see_through=st.booleans())
def test_padding_lies_around_the_middle(
    height: int, width: int, box: tuple[int, int], deep: bool, see_through: bool
) -> None:
    kind, one = (np.uint16, 257) if deep else (np.uint8, 1)
    alpha = np.full((height, width), 100 * one, kind) if see_through else None
    seen = changed(Pixels(np.full((height, width, 3), 50 * one, kind), alpha), box, "pad")
    inside = np.all(seen.values == 50 * one, axis=-1)
    assert np.array_equal(np.all(seen.values == np.array([255, 0, 0], kind) * one, axis=-1), ~inside)
    for axis, side in ((1, box[1]), (0, box[0])):
        filled = np.flatnonzero(inside.any(axis=axis))
        assert 0 <= (side - 1 - filled[-1]) - filled[0] <= 1
    assert inside.sum() == inside.any(axis=0).sum() * inside.any(axis=1).sum()
    if seen.alpha is None:
        assert not see_through
    else:
        assert seen.alpha.dtype == kind
        np.testing.assert_array_equal(seen.alpha, np.where(inside, 100 * one, 255 * one))


def test_a_very_long_picture_takes_no_more_memory_than_its_result(tmp_path: Path) -> None:
    # Scaled before it is cut, it would have 256 x 7,680,000 pixels.
    seen = run(Pixels(np.zeros((1, 30_000, 1), np.uint8)), tmp_path, size=(256, 256))
    assert seen.size == (256, 256)


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.tif"])
def test_the_format_is_kept(tmp_path: Path, name: str) -> None:
    Image.fromarray(smooth(30, 40)).save(tmp_path / name)
    assert resize(tmp_path / name, out=tmp_path / "out", size=(20, 10)) == []
    with Image.open(tmp_path / name) as before, Image.open(tmp_path / "out" / name) as after:
        assert (after.format, after.size) == (before.format, (20, 10))


def test_grey_stays_grey_on_a_coloured_background(tmp_path: Path) -> None:
    Image.new("L", (4, 2), 10).save(tmp_path / "a.png")
    resize(tmp_path / "a.png", out=tmp_path / "out", size=(4, 4), fit="pad", background="red")
    with Image.open(tmp_path / "out/a.png") as image:
        assert image.mode == "L"
        assert np.asarray(image)[:, 0].tolist() == [76, 10, 10, 76]  # 0.299 of 255


def test_the_defaults(tmp_path: Path) -> None:
    Image.new("L", (30, 40), 255).save(tmp_path / "a.png")
    resize(tmp_path / "a.png", out=tmp_path / "out")
    resize(tmp_path / "a.png", out=tmp_path / "padded", size=(8, 4), fit="pad")
    with Image.open(tmp_path / "out/a.png") as filled, Image.open(tmp_path / "padded/a.png") as padded:
        assert filled.size == (256, 256)
        assert filled.getextrema() == (255, 255)
        assert padded.getpixel((0, 0)) == 0


# ---- what a person may get wrong


@pytest.mark.parametrize(("text", "size"), [("256", (256, 256)), ("512x256", (512, 256)), ("1x2", (1, 2))])
def test_a_size_is_width_by_height(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "256x", "x256", "-1", "1.5", "256 x 256", "2x3x4", "big", "256\n", "0x"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"(?s)--size .*WIDTHxHEIGHT"):
        parse_size(text)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, -2)])
def test_a_size_of_nothing_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"--size {size[0]}x{size[1]}"):
        resize(tmp_path, out=tmp_path / "out", size=size)


@pytest.mark.parametrize("background", ["reddish", "", "#12", "255,0,0"])
def test_what_is_no_colour_is_refused(tmp_path: Path, background: str) -> None:
    with pytest.raises(ValueError, match=r"--background .*#rrggbb"):
        resize(tmp_path, out=tmp_path / "out", background=background)
    assert not (tmp_path / "out").exists()


def test_colours_have_names_and_numbers() -> None:
    assert [parse_colour(text, "--fill").values.tolist() for text in ("orange", "#0a0B0c")] == [
        [[[255, 165, 0]]],
        [[[10, 11, 12]]],
    ]


def test_another_size_needs_another_folder(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    call: dict[str, Any] = {"size": (2, 2), "fit": "pad", "background": "red"}
    resize(tmp_path / "a.png", out=tmp_path / "out", **call)
    assert resize(tmp_path / "a.png", out=tmp_path / "out", **call) == []
    for name, other in {"size": (2, 3), "fit": "fill", "background": "blue"}.items():
        with pytest.raises(ValueError, match=rf"\({name}\)"):
            resize(tmp_path / "a.png", out=tmp_path / "out", **{**call, name: other})


def test_a_fourth_channel_is_resized_and_padded_too(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (8, 16, 4), np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="rgb", extrasamples=["unspecified"])
    resize(tmp_path / "x.tif", out=tmp_path / "out", size=(16, 16), fit="pad")
    padded = files.to_channels(files.decode(tmp_path / "out/x.tif"), 4)
    np.testing.assert_array_equal(padded[4:12], values)
    assert len(np.unique(padded[0].reshape(-1, 4), axis=0)) == 1
