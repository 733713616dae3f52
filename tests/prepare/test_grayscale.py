"""Colour pictures in grey: Pillow's luma, in one channel, with all that the file held besides."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from diptych.images import files
from diptych.prepare.grayscale import grayscale


def noise(*shape: int, bits: int = 8) -> files.Array:
    kind = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(0).integers(0, 2**bits, shape).astype(kind)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.webp", "a.jpg"])
def test_one_channel_with_pillows_luma(tmp_path: Path, name: str) -> None:
    Image.fromarray(noise(9, 7, 3)).save(tmp_path / name)
    assert grayscale(tmp_path / name, out=tmp_path / "out") == []
    with Image.open(tmp_path / name) as before, Image.open(tmp_path / "out/a.png") as after:
        assert (after.format, after.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.asarray(after), np.asarray(before.convert("L")))


def test_alpha_is_kept_and_the_colours_below_it(tmp_path: Path) -> None:
    values = noise(9, 7, 4)
    Image.fromarray(values).save(tmp_path / "a.png")
    grayscale(tmp_path / "a.png", out=tmp_path / "out")
    with Image.open(tmp_path / "out/a.png") as after:
        assert after.mode == "LA"
        np.testing.assert_array_equal(np.asarray(after)[..., 1], values[..., 3])
        want = np.asarray(Image.fromarray(values[..., :3]).convert("L"))
        np.testing.assert_array_equal(np.asarray(after)[..., 0], want)


def test_16_bits_are_kept(tmp_path: Path) -> None:
    deep = noise(9, 7, 3, bits=16)
    assert cv2.imwrite(str(tmp_path / "a.png"), deep[..., ::-1])
    grayscale(tmp_path / "a.png", out=tmp_path / "out")
    with Image.open(tmp_path / "out/a.png") as after:
        assert after.mode == "I;16"
        # The weights of ITU-R 601; Pillow's, in 1/65536, differ from them by up to a level of 65535.
        assert np.abs(np.asarray(after) - deep @ np.array([0.299, 0.587, 0.114])).max() < 2


def test_what_is_grey_already_stays_as_it_is(tmp_path: Path) -> None:
    for name, values in {"a.png": noise(9, 7), "b.png": noise(9, 7, bits=16), "c.png": noise(9, 7, 2)}.items():
        Image.fromarray(values).save(tmp_path / name)
        grayscale(tmp_path / name, out=tmp_path / f"out {name}")
        with Image.open(tmp_path / f"out {name}" / name) as after:
            np.testing.assert_array_equal(np.asarray(after), values)


def test_a_bad_picture_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/bad.png").write_bytes(b"")
    Image.new("RGB", (2, 2)).save(tmp_path / "in/good.jpg")
    [line] = grayscale(tmp_path / "in", out=tmp_path / "out", workers=1)
    assert line.startswith(f"{tmp_path}/in/bad.png: the file is empty")
    assert (tmp_path / "out/good.png").is_file()
