"""Files of numbers: any type and number of channels, read by a stated range and written back in their type."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from diptych.images import numbers
from diptych.images.files import Pixels
from diptych.images.spec import ImageSpec, from_range, in_range

TYPES = ("uint8", "uint16", "int16", "uint32", "int32", "float32", "float64")


def some(dtype: str, channels: int, low: float = 0, high: float = 200) -> Any:
    values = np.random.default_rng(channels).uniform(low, high, (6, 9, channels))
    return values.astype(dtype)


def write_tiff(path: Path, values: Any, planar: str = "contig") -> Path:
    colour = values.shape[-1] in (3, 4)
    data = np.moveaxis(values, -1, 0) if planar == "separate" else values
    one = values.shape[-1] == 1
    tifffile.imwrite(
        path,
        values[..., 0] if one else data,
        photometric="rgb" if colour else "minisblack",
        planarconfig=None if one else planar,
        extrasamples=["unspecified"] * (values.shape[-1] - (3 if colour else 1)) or None,
    )
    return path


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 8])
def test_tiffs_of_any_type_and_any_number_of_channels_are_read_as_they_are(
    tmp_path: Path, dtype: str, channels: int
) -> None:
    values = some(dtype, channels)
    for planar in ("contig", "separate") if channels > 1 and dtype != "uint16" else ("contig",):
        read = numbers.read_numbers(write_tiff(tmp_path / "x.tif", values, planar))
        assert read.values.dtype == values.dtype
        np.testing.assert_array_equal(read.values, values)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 1), (6, 9, 7)])
def test_an_array_holds_one_picture(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    values = some(dtype, 7)[..., 0 : shape[2] if len(shape) == 3 else 1].reshape(shape)
    np.save(tmp_path / "x.npy", values)
    np.testing.assert_array_equal(numbers.read_numbers(tmp_path / "x.npy").values, values.reshape(6, 9, -1))


def test_inks_and_palettes_are_colours_and_no_numbers(tmp_path: Path) -> None:
    Image.new("CMYK", (4, 4), (255, 0, 0, 0)).save(tmp_path / "inks.tif")
    assert numbers.read_numbers(tmp_path / "inks.tif").values.shape == (4, 4, 3)
    Image.new("P", (4, 4)).save(tmp_path / "palette.tif")
    assert numbers.read_numbers(tmp_path / "palette.tif").values.shape == (4, 4, 3)


@pytest.mark.parametrize("name", ["x.tif", "x.npy"])
def test_numbers_without_a_range_are_refused_with_theirs(tmp_path: Path, name: str) -> None:
    values = np.array([[-12.5, 3000]], np.float32)
    (np.save if name == "x.npy" else tifffile.imwrite)(tmp_path / name, values)
    with pytest.raises(ValueError, match=r"float32 numbers.*-12\.5 to 3000.*--range LOW HIGH"):
        numbers.read(tmp_path / name, ImageSpec())
    assert numbers.read(tmp_path / name, ImageSpec(range=(0, 1))).values.dtype == np.float32


@pytest.mark.parametrize(
    ("content", "said"),
    [(np.zeros((2, 3, 4, 5)), "shape"), (np.zeros((0, 4)), "shape"), (np.array(["a"]), "numbers"), (None, "damaged")],
)
def test_an_array_that_is_no_picture_is_named(tmp_path: Path, content: Any, said: str) -> None:
    if content is None:
        (tmp_path / "x.npy").write_bytes(b"\x93NUMPY and not much more")
    else:
        np.save(tmp_path / "x.npy", content)
    with pytest.raises(ValueError, match=rf"x\.npy: .*{said}"):
        numbers.read(tmp_path / "x.npy", ImageSpec())


def test_a_damaged_tiff_is_named(tmp_path: Path) -> None:
    file = write_tiff(tmp_path / "x.tif", some("float32", 1))
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"x\.tif: "):
        numbers.read(file, ImageSpec(range=(0, 1)))


@given(st.integers(-40000, 40000), st.integers(1, 65535))
def test_whole_numbers_in_a_range_of_16_bits_come_back_exactly(low: int, span: int) -> None:
    within = (float(low), float(low + span))
    values = np.unique(np.linspace(*within, 50).round()).astype(np.int32)[None]
    np.testing.assert_array_equal(from_range(in_range(values, within), within, values.dtype), values)


def test_what_lies_beyond_a_range_is_cut_to_it() -> None:
    values = np.array([[-np.inf, -1, 0, 1, 2, np.inf, np.nan]])
    assert in_range(values, (0, 1)).tolist() == [[0, 0, 0, 65535, 65535, 65535, 0]]
    assert ImageSpec(1, range=(-1000, 3000)).read(np.array([[[1000]]], np.int16)).item() == 128


@pytest.mark.parametrize("dtype", TYPES)
def test_numbers_are_written_in_their_type_and_read_alike_by_tifffile(tmp_path: Path, dtype: str) -> None:
    for channels in (1, 3, 5):
        values = some(dtype, channels)
        if dtype not in ("uint8", "uint16") or channels != 3:  # OpenCV and Pillow write those, and read back in RGB
            numbers.write(Pixels(values), tmp_path / "x.tif", ImageSpec(range=(0, 300)))
            read = tifffile.imread(tmp_path / "x.tif")
            assert read.dtype == values.dtype
            np.testing.assert_array_equal(read.reshape(values.shape), values)
        numbers.write(Pixels(values), tmp_path / "x.npy", ImageSpec(range=(0, 300)))
        np.testing.assert_array_equal(np.load(tmp_path / "x.npy").reshape(values.shape), values)


@pytest.mark.parametrize(("name", "dtype"), [("x.png", "int16"), ("x.jpg", "uint16"), ("x.bmp", "uint16")])
def test_a_format_that_cannot_hold_the_numbers_is_refused(tmp_path: Path, name: str, dtype: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}: .*\.tif"):
        numbers.write(Pixels(some(dtype, 1)), tmp_path / name, ImageSpec(range=(0, 3000)))
    assert not (tmp_path / name).exists()
