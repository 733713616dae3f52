"""Formats beside JPEG, PNG, WebP, BMP and TIFF: read under their suffixes, and what of them is not read is said."""

import io
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from diptych.data.outputs import plan_folder
from diptych.data.paths import list_pictures
from diptych.images import files, remarks
from diptych.images.files import Array, decode, decode_bytes


def smooth(height: int = 24, width: int = 40) -> Array:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 5 + 60, columns * 4 + 40, 200 - rows * 2 - columns], axis=-1).astype(np.uint8)


def encoded(image: Image.Image, name: str, **options: Any) -> bytes:
    image.save(file := io.BytesIO(), name, **options)
    return file.getvalue()


def heic(**options: Any) -> bytes:
    pytest.importorskip("pillow_heif").register_heif_opener()  # to write; what is read here asks nobody who registered
    return encoded(Image.fromarray(smooth()), "HEIF", quality=95, **options)


WRITERS: dict[str, tuple[str, dict[str, Any], int]] = {
    ".jfif": ("JPEG", {"quality": 95}, 12),
    ".jpe": ("JPEG", {"quality": 95}, 12),
    ".jif": ("JPEG", {"quality": 95}, 12),
    ".gif": ("GIF", {}, 24),
    ".jp2": ("JPEG2000", {}, 0),
    ".j2k": ("JPEG2000", {"no_jp2": True}, 0),
    ".ppm": ("PPM", {}, 0),
    ".pnm": ("PPM", {}, 0),
    ".tga": ("TGA", {}, 0),
    ".svs": ("TIFF", {}, 0),
}
"""Pillow's name and options for a suffix, and how far the levels may be off."""
if features.check("avif"):
    WRITERS[".avif"] = ("AVIF", {"quality": 95}, 12)


@pytest.mark.parametrize("suffix", [*WRITERS, ".heic", ".heif"])
def test_a_picture_of_each_suffix_is_found_and_read(tmp_path: Path, suffix: str) -> None:
    name, options, off = WRITERS.get(suffix, ("", {}, 12))
    data = encoded(Image.fromarray(smooth()), name, **options) if name else heic()
    (tmp_path / f"x{suffix.upper()}").write_bytes(data)
    assert list_pictures(tmp_path) == [tmp_path / f"x{suffix.upper()}"]
    pixels = decode(tmp_path / f"x{suffix.upper()}")
    assert np.abs(pixels.values.astype(int) - smooth()).max() <= off


def test_grey_and_black_and_white_netpbm(tmp_path: Path) -> None:
    grey = smooth()[..., :1]
    assert np.array_equal(decode_bytes(encoded(Image.fromarray(grey[..., 0]), "PPM"), "x.pgm").values, grey)
    bits = decode_bytes(b"P1 3 1\n1 0 1\n", "x.pbm")
    assert bits.values.flatten().tolist() == [0, 255, 0]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    st.sampled_from((2, 3, 5, 6)), st.integers(256, 65535), st.integers(1, 9), st.integers(1, 9), st.integers(0, 10**6)
)
def test_netpbm_of_more_than_8_bits_keeps_them(kind: int, white: int, height: int, width: int, seed: int) -> None:
    channels = 3 if kind in (3, 6) else 1
    values = np.random.default_rng(seed).integers(0, white + 1, (height, width, channels))
    header = f"P{kind}\n# a comment 7\n{width} {height}\n{white}\n".encode()
    body = values.astype(">u2").tobytes() if kind in (5, 6) else " ".join(map(str, values.flatten())).encode()
    pixels = decode_bytes(header + body, "x.ppm")
    assert pixels.bits == 16
    np.testing.assert_array_equal(pixels.values, np.floor(values * (65535 / white) + 0.5))
    if kind in (5, 6):
        with pytest.raises(ValueError, match=r"x\.ppm: damaged or only half written"):
            decode_bytes(header + body[:-1], "x.ppm")


def test_a_netpbm_of_no_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="5x0 pixels has none"):
        decode_bytes(b"P6 5 0 1023\n", "x.ppm")


def test_opencv_writes_the_16_bits_that_are_read(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "x.ppm"), values[..., ::-1])
    np.testing.assert_array_equal(decode(tmp_path / "x.ppm").values, values)


def test_a_tga_is_taken_for_one_by_its_suffix_alone(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(smooth()), "TGA")
    for name, good in (("x.tga", True), ("x.TGA", True), ("x.png", False), ("x.gif", False)):
        (tmp_path / name).write_bytes(data)
        if good:
            np.testing.assert_array_equal(decode(tmp_path / name).values, smooth())
        else:
            with pytest.raises(ValueError, match="not a picture of a format that is read"):
                decode(tmp_path / name)


@pytest.mark.parametrize("text", [b"Dear diary, what a day it was", b"\0" * 64, b"%!PS-Adobe-3.0 EPSF-3.0\n" * 3])
def test_what_is_no_tga_is_not_read_as_one(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"x\.tga: "):
        decode_bytes(text, "x.tga")


def test_a_heic_without_the_extra_says_which_one(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ValueError, match=r"x\.heic: a HEIC picture.*pip install 'diptych\[photos\]'") as caught:
        decode_bytes(data, "x.heic")
    assert "damaged" not in str(caught.value)


def test_a_turned_heic_is_upright() -> None:
    exif = Image.Exif()
    exif[files.ORIENTATION] = 6
    assert decode_bytes(heic(exif=exif.tobytes()), "x.heic").size == (40, 24)


def test_16_bit_colours_of_bitmaps_are_read() -> None:
    header = b"BM" + (14 + 40 + 8).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    info = b"".join(value.to_bytes(size, "little") for value, size in ((40, 4), (2, 4), (1, 4), (1, 2), (16, 2)))
    pixels = decode_bytes(header + info + bytes(24) + b"\x00\x7c\xe0\x03", "x.bmp")  # five bits each: red, then green
    assert pixels.values.tolist() == [[[255, 0, 0], [0, 255, 0]]]


# ---- what is not read is said


def _frames(name: str, **options: Any) -> bytes:
    first, second = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    return encoded(first, name, save_all=True, append_images=[second], **options)


ANIMATED = ["GIF", "PNG", "WEBP", "TIFF", *(["AVIF"] if features.check("avif") else [])]


@pytest.mark.parametrize("name", ANIMATED)
def test_of_several_frames_the_first_is_read_and_that_is_said(name: str) -> None:
    with remarks.collected() as said:
        pixels = decode_bytes(_frames(name, **({"lossless": True} if name == "WEBP" else {})), "x")
    assert said == [remarks.Remark("x", remarks.FIRST_FRAME)]
    assert np.abs(files.to_channels(pixels, 3).astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("name", [*ANIMATED, "JPEG", "BMP"])
def test_nothing_is_said_of_a_single_frame(name: str) -> None:
    with remarks.collected() as said:
        decode_bytes(encoded(Image.fromarray(smooth()), name), "x")
    assert said == []


@pytest.mark.parametrize("suffix", [".jp2", ".j2k", ".j2c", ".jpc"])
def test_8_of_16_bits_of_a_jpeg_2000_are_said(tmp_path: Path, suffix: str) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (33, 40, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "x.jp2"), values)
    data = (tmp_path / "x.jp2").read_bytes()
    data = data if suffix == ".jp2" else data[data.index(b"\xff\x4f\xff\x51") :]
    with remarks.collected() as said:
        assert decode_bytes(data, "x").bits == 8
    assert said == [remarks.Remark("x", remarks.EIGHT_BITS)]


# ---- what they become


def test_what_is_only_read_is_written_as_png_and_that_is_said(tmp_path: Path) -> None:
    names = [f"{number}{suffix}" for number, suffix in enumerate(files.SUFFIXES)]
    for name in names:
        (tmp_path / name).touch()
    with remarks.collected() as said:
        jobs = plan_folder([tmp_path], tmp_path / "out")
    for source, target in jobs:
        kept = source.suffix in files.FORMATS
        assert target.name == (source.name if kept else f"{source.stem}.png")
        assert (remarks.Remark(str(source), remarks.WRITTEN_AS_PNG) in said) == (not kept)


def test_one_of_them_may_lose_its_name_to_another(tmp_path: Path) -> None:
    for name in ("x.gif", "x.png"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"x\.png: .*x\.gif and .*x\.png would both be written to it"):
        plan_folder([tmp_path], tmp_path / "out")


# ---- what is cut off


@pytest.mark.parametrize(
    ("name", "options"),
    [("WEBP", {}), ("WEBP", {"lossless": True}), ("GIF", {}), *([("AVIF", {})] if features.check("avif") else [])],
)
def test_what_is_cut_off_is_said_in_our_words(name: str, options: dict[str, Any]) -> None:
    data = encoded(
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)), name, **options
    )
    missing = rf"{{}} of {len(data):,} bytes are there" if name == "WEBP" else "its end is missing"
    for length in (30, len(data) // 2, len(data) - 40):
        want = (
            rf"^x: damaged or only half written \(it is cut off: {missing.format(f'{length:,}')}\); remove it or copy"
        )
        with pytest.raises(ValueError, match=want):
            decode_bytes(data[:length], "x")
