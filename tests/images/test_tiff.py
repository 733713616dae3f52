"""TIFFs of any layout are read right or refused with a true line. What they hold is said by tifffile."""

import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from diptych.images import files, metadata, remarks, tiff
from diptych.images.files import Array, decode, decode_bytes, read_numbers

COMPRESSIONS = (None, "zlib", "packbits", *(("lzw", "zstd", "lzma") if find_spec("imagecodecs") else ()))
NO_PREDICTOR = (None, "packbits")
LEVELS, NUMBERS = ("u1", "u2"), ("i1", "i2", "i4", "i8", "u4", "u8", "f2", "f4", "f8")


def noise(height: int, width: int, channels: int, dtype: str, seed: int = 0) -> Array:
    drawn = np.random.default_rng(seed).integers(-(2**31), 2**31, (height, width, channels))
    return (drawn / 2**17 / 7).astype(dtype) if dtype[0] == "f" else drawn.astype(dtype)


def written(values: Array, **options: Any) -> bytes:
    """A TIFF of `[H, W, C]`; with `planarconfig="separate"` in planes."""
    values = values[..., 0] if values.shape[-1] == 1 else values
    if options.get("planarconfig") == "separate":
        values = np.ascontiguousarray(np.moveaxis(values, -1, 0))
    tifffile.imwrite(file := io.BytesIO(), values, **options)
    return file.getvalue()


@st.composite
def layouts(draw: st.DrawFn, channels: int) -> dict[str, Any]:
    """How tifffile writes a picture: everything but its colours."""
    compression = draw(st.sampled_from(COMPRESSIONS))
    options: dict[str, Any] = {"compression": compression, "predictor": draw(st.booleans())}
    if compression in NO_PREDICTOR:
        options["predictor"] = False
    options |= {"byteorder": draw(st.sampled_from("<>")), "bigtiff": draw(st.booleans())}
    if channels > 1:
        options["planarconfig"] = draw(st.sampled_from(("contig", "separate")))
    options |= draw(
        st.sampled_from(({"tile": (16, 32)}, {"tile": (48, 16)}, {"rowsperstrip": 5}, {"rowsperstrip": 1}, {}))
    )
    return options


sizes = st.integers(1, 40)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.data(), sizes, sizes, st.integers(1, 9), st.sampled_from(LEVELS), st.integers(0, 10**6))
def test_levels_are_those_of_the_file_whatever_its_layout(
    data: st.DataObject, height: int, width: int, channels: int, dtype: str, seed: int
) -> None:
    values = noise(height, width, channels, dtype, seed)
    options = data.draw(layouts(channels))
    kind = data.draw(
        st.sampled_from(("minisblack", "miniswhite", "rgb") if channels >= 3 else ("minisblack", "miniswhite"))
    )
    colours = 3 if kind == "rgb" else 1
    extra = [data.draw(st.sampled_from(("unspecified", "unassalpha"))) for _ in range(channels - colours)]
    if extra:
        options["extrasamples"] = extra
    pixels = decode_bytes(written(values, photometric=kind, **options), "x.tif")
    want = values.copy()
    if kind == "miniswhite":
        want[..., :1] = np.iinfo(dtype).max - want[..., :1]
    got = pixels.values if pixels.alpha is None else np.dstack([pixels.values, pixels.alpha])
    assert got.dtype == values.dtype
    np.testing.assert_array_equal(got, want)
    has_alpha = extra == ["unassalpha"] and colours in (1, 3)
    assert (pixels.alpha is not None) == has_alpha


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.data(), sizes, sizes, st.sampled_from((1, 2, 3, 5)), st.sampled_from((*LEVELS, *NUMBERS)))
def test_numbers_of_every_type_are_read_and_need_a_range(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, height: int, width: int, channels: int, dtype: str
) -> None:
    values = noise(height, width, channels, dtype)
    options = data.draw(layouts(channels))
    options["predictor"] &= dtype not in ("i8", "u8")  # tifffile has none for them
    file = tmp_path_factory.mktemp("numbers") / "x.tif"
    kind = "rgb" if channels == 3 else "minisblack"
    file.write_bytes(written(values, photometric=kind, **options))
    got = read_numbers(file)
    assert got.dtype == values.dtype
    np.testing.assert_array_equal(got, values)
    if dtype in NUMBERS:
        with pytest.raises(ValueError, match=rf"x\.tif: its numbers \({got.dtype}\) have no fixed range; .*--range"):
            decode(file)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(1, 16), st.sampled_from((1, 3)), sizes, sizes, st.integers(0, 10**6))
def test_packed_bits_are_spread_over_all_levels(bits: int, channels: int, height: int, width: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 2**bits, (height, width, channels))
    if bits == 1 and channels == 3:
        return  # tifffile does not write it
    stored = values.astype(bool if bits == 1 else "u1" if bits <= 8 else "u2")
    data = written(stored, photometric="rgb" if channels == 3 else "minisblack", bitspersample=bits)
    pixels = decode_bytes(data, "x.tif")
    full = 255 if bits <= 8 else 65535
    assert pixels.bits == (8 if bits <= 8 else 16)
    np.testing.assert_array_equal(pixels.values, np.floor(values * (full / (2**bits - 1)) + 0.5))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3, 6])
def test_planes_are_turned_upright(orientation: int, channels: int) -> None:
    values = noise(5, 7, channels, "u1")
    tag = [(files.ORIENTATION, "H", 1, orientation, True)]
    options: dict[str, Any] = {"planarconfig": "separate"} if channels > 1 else {}
    deep = written(values.astype("u2"), photometric="minisblack", extratags=tag, **options)
    plain = [Image.fromarray(values[..., channel]) for channel in range(channels)]
    for one in plain:
        one.getexif()[files.ORIENTATION] = orientation
    from PIL import ImageOps

    want = np.dstack([np.asarray(ImageOps.exif_transpose(one)) for one in plain])
    np.testing.assert_array_equal(decode_bytes(deep, "x.tif").values, want)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", LEVELS)
def test_colours_that_are_multiplied_by_their_alpha_are_divided_by_it(planar: str, dtype: str) -> None:
    full = np.iinfo(dtype).max
    colour = np.array([[[full, full // 3, 0]], [[full // 2, full // 5, 7]]])
    alpha = np.array([[full], [full // 2]])
    stored = np.rint(colour * (alpha[..., None] / full))
    together = np.dstack([stored, alpha]).astype(dtype)
    pixels = decode_bytes(
        written(together, photometric="rgb", planarconfig=planar, extrasamples=["assocalpha"]), "x.tif"
    )
    assert np.abs(pixels.values.astype(float) - colour).max() <= 2  # the halves were rounded
    np.testing.assert_array_equal(pixels.alpha, alpha)


@pytest.mark.parametrize("dtype", LEVELS)
def test_a_palette_is_resolved(dtype: str) -> None:
    count = np.iinfo(dtype).max + 1
    colours = np.random.default_rng(0).integers(0, 65536, (3, count)).astype("u2")
    values = noise(6, 8, 1, dtype)
    pixels = decode_bytes(written(values, photometric="palette", colormap=colours), "x.tif")
    want = colours.T[values[..., 0]]
    np.testing.assert_array_equal(pixels.values, want if dtype == "u2" else want // 256)


@pytest.mark.parametrize(
    ("values", "options", "why"),
    [
        (noise(8, 8, 4, "u1"), {"photometric": "separated", "planarconfig": "separate"}, "colours are CMYK in planes"),
        (noise(8, 8, 3, "u2"), {"photometric": "cielab"}, "colours are CIELab"),
        (noise(8, 8, 1, "u1"), {"photometric": "cfa"}, "colours are of kind 32803"),
        (noise(8, 8, 2, "c8"), {"photometric": "minisblack", "planarconfig": "contig"}, "kinds"),
    ],
)
def test_what_is_not_read_is_not_called_damaged(values: Array, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=rf"x\.tif: a TIFF .*{why}.*save it") as caught:
        decode_bytes(written(values, **options), "x.tif")
    assert "damaged" not in str(caught.value)


def test_five_channels_are_refused_where_three_are_wanted_and_not_called_damaged(tmp_path: Path) -> None:
    from diptych.data.datasets import FileDataset
    from diptych.images.spec import ImageSpec

    values = noise(8, 8, 5, "u2")
    (tmp_path / "x.tif").write_bytes(written(values, photometric="minisblack", planarconfig="contig"))
    with pytest.raises(ValueError, match=r"x\.tif: a picture of 5 channels cannot be read as 3.*--channels-a"):
        FileDataset(tmp_path, [tmp_path / "x.tif"], (ImageSpec(3),)).load(0)
    [levels] = FileDataset(tmp_path, [tmp_path / "x.tif"], (ImageSpec(5, 16),)).load(0)
    np.testing.assert_array_equal(levels.permute(1, 2, 0).numpy(), values)


def test_of_several_pages_the_first_is_read_and_smaller_copies_are_no_pages() -> None:
    for kind, expected in ((0, [remarks.FIRST_FRAME]), (1, [])):
        with tifffile.TiffWriter(file := io.BytesIO()) as writer:
            writer.write(first := noise(8, 8, 3, "u2"), photometric="rgb")
            writer.write(noise(4, 4, 3, "u2"), photometric="rgb", subfiletype=kind)
        with remarks.collected() as said:
            np.testing.assert_array_equal(decode_bytes(file.getvalue(), "x.tif").values, first)
        assert [text for _, text, _ in said] == expected


def test_an_array_of_one_picture_has_numbers(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", values := noise(4, 6, 2, "f4"))
    np.testing.assert_array_equal(read_numbers(tmp_path / "x.npy"), values)
    np.save(tmp_path / "objects.npy", np.array([[None]]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"objects\.npy"):
        read_numbers(tmp_path / "objects.npy")
    np.save(tmp_path / "several.npy", np.zeros((2, 4, 6, 3)))
    with pytest.raises(ValueError, match=r"several\.npy: holds float64 .*\[H, W, C\] are expected$"):
        read_numbers(tmp_path / "several.npy")


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_many_channels_count_as_many_pixels(planar: str) -> None:
    data = written(noise(8, 8, 16, "u2"), photometric="minisblack", planarconfig=planar)
    assert decode_bytes(data, "x.tif", most=256).values.shape == (8, 8, 16)
    with pytest.raises(ValueError, match="8x8 pixels, and at most 63 can be opened"):
        decode_bytes(data, "x.tif", most=255)


@pytest.mark.parametrize("compression", ["zlib", None])
def test_a_damaged_one_is_refused_and_prints_nothing(
    capfd: pytest.CaptureFixture[str], compression: str | None
) -> None:
    data = written(noise(24, 24, 5, "u2"), photometric="minisblack", planarconfig="separate", compression=compression)
    for number in range(200):
        random = np.random.default_rng(number)
        damaged = bytearray(data[: random.integers(len(data) // 2, len(data) + 1)])
        for place in random.integers(0, min(400, len(damaged)), random.integers(4)):
            damaged[place] ^= 0x55
        try:
            decode_bytes(bytes(damaged), "x.tif")
        except ValueError as error:
            assert str(error).startswith("x.tif: ")  # noqa: PT017 -- some are whole pictures still
    assert capfd.readouterr() == ("", "")


# ---- pages, palettes, compressions


@pytest.mark.parametrize("dtype", LEVELS)
@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_smaller_copy_in_front_is_not_the_picture(dtype: str, below: bool, order: Any) -> None:
    """Scanners put the thumbnail first, cameras the picture below it; what else they say stands with the thumbnail."""
    artist = [(315, "s", 0, "a scanner", True)]
    small, full = noise(4, 5, 3, dtype), noise(16, 20, 3, dtype, seed=1)
    with tifffile.TiffWriter(file := io.BytesIO(), byteorder=order) as writer:
        writer.write(small, photometric="rgb", subfiletype=1, subifds=int(below), extratags=artist, metadata=None)
        writer.write(full, photometric="rgb", metadata=None)
    with remarks.collected() as said:
        pixels, known = files.decode_bytes_to_rewrite(file.getvalue(), "x.tif")
    np.testing.assert_array_equal(pixels.values, full)
    assert said == []
    assert b"a scanner" in known.exif


@pytest.mark.parametrize("kinds", [(2, 2), (0, 1, 0)])
def test_further_pages_are_said_whatever_stands_between(kinds: tuple[int, ...]) -> None:
    with tifffile.TiffWriter(file := io.BytesIO()) as writer:
        for kind in kinds:
            writer.write(noise(8, 8, 3, "u1"), photometric="rgb", subfiletype=kind)
    with remarks.collected() as said:
        decode_bytes(file.getvalue(), "x.tif")
    assert [remark.text for remark in said] == [remarks.FIRST_FRAME]


@pytest.mark.parametrize("dtype", LEVELS)
def test_a_palette_of_8_bits_is_not_black(dtype: str) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (3, np.iinfo(dtype).max + 1)).astype("u2")
    values = noise(6, 8, 1, dtype)
    pixels = decode_bytes(written(values, photometric="palette", colormap=colours), "x.tif")
    assert pixels.bits == 8
    np.testing.assert_array_equal(pixels.values, colours.T[values[..., 0]])


@pytest.mark.parametrize("dtype", LEVELS)
@pytest.mark.parametrize(
    ("number", "name"), [(34712, "JPEG 2000"), (34887, "LERC"), (50002, "JPEG XL"), (34933, "PNG"), (65000, "unknown")]
)
def test_a_compression_that_is_not_read_is_named(dtype: str, number: int, name: str) -> None:
    data = bytearray(written(noise(8, 8, 3, dtype), photometric="rgb"))
    with tifffile.TiffFile(io.BytesIO(data)) as opened:
        place = opened.pages.first.tags[259].offset + 8
    data[place : place + 2] = number.to_bytes(2, "little")
    want = rf"x\.tif: a TIFF with {name} compression \({number}\), which is not read; save it with LZW or Deflate$"
    with pytest.raises(ValueError, match=want):
        decode_bytes(bytes(data), "x.tif")


@pytest.mark.parametrize(("number", "name"), [(50001, "WebP"), (50000, "Zstandard"), (34925, "LZMA")])
def test_a_compression_that_this_libtiff_lacks_is_no_damage(
    monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    def lacking(*_: Any, **__: Any) -> None:
        raise OSError("encoder error -2 when writing image file")

    data = bytearray(written(noise(8, 8, 3, "u1"), photometric="rgb"))
    with tifffile.TiffFile(io.BytesIO(data)) as opened:
        place = opened.pages.first.tags[259].offset + 8
    data[place : place + 2] = number.to_bytes(2, "little")
    monkeypatch.setattr(Image.Image, "save", lacking)
    tiff._is_built_in.cache_clear()
    try:
        with pytest.raises(ValueError, match=rf"x\.tif: a TIFF with {name} compression .*save it with LZW"):
            decode_bytes(bytes(data), "x.tif")
    finally:
        tiff._is_built_in.cache_clear()


def test_a_header_that_is_cut_off_is_no_compression() -> None:
    data = written(noise(8, 8, 3, "u1"), photometric="rgb")
    for length in (12, 30, 60):
        with pytest.raises(ValueError, match=r"x\.tif: damaged or only half written \(it is cut off: "):
            decode_bytes(data[:length], "x.tif")


def test_a_million_fractions_in_a_tag_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would make an object of each, in each of several looks at them: half a minute for 8 MB."""
    monkeypatch.setattr(ImageFileDirectory_v2, "load", lambda *_: pytest.fail("Pillow was asked"))
    tags = [(65000, "2I", 2**20, (1,) * 2**21, True)]
    data = written(noise(8, 8, 3, "u1"), photometric="rgb", extratags=tags)
    with pytest.raises(ValueError, match=r"1,048,576 fractions in tag 65000"):
        decode_bytes(data, "x.tif")


# ---- colours that are multiplied by their alpha


@pytest.mark.parametrize("dtype", LEVELS)
@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("is_light", [False, True])
def test_multiplied_colours_come_back_bit_for_bit(tmp_path: Path, dtype: str, channels: int, is_light: bool) -> None:
    """Also where they are brighter than their alpha, as light that is added."""
    values = noise(40, 48, channels, dtype)
    if not is_light:
        values[..., :-1] = np.minimum(values[..., :-1], values[..., -1:])
    kind = "rgb" if channels == 4 else "minisblack"
    (tmp_path / "x.tif").write_bytes(
        written(values, photometric=kind, planarconfig="contig", extrasamples=["assocalpha"])
    )
    pixels, known = files.decode_to_rewrite(tmp_path / "x.tif")
    assert files.encode(pixels, tmp_path / "y.tif", known) == []
    with tifffile.TiffFile(tmp_path / "y.tif") as opened:
        np.testing.assert_array_equal(opened.asarray(), values)
        assert opened.pages.first.tags[338].value == (1,)
    assert files.encode(pixels, tmp_path / "y.png", known) == ["colours multiplied by alpha"]


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_grey_and_alpha_of_16_bits_stay_two_channels(tmp_path: Path, compression: str) -> None:
    values = noise(9, 7, 2, "u2")
    pixels = files.Pixels(values[..., :1], values[..., 1])
    known = metadata.Metadata((9, 7), "TIFF", compression={"compression": compression})
    files.encode(pixels, tmp_path / "x.tif", known)
    with tifffile.TiffFile(tmp_path / "x.tif") as opened:
        np.testing.assert_array_equal(opened.asarray(), values)
        assert opened.pages.first.tags[338].value == (2,)


def test_what_a_tiff_of_other_channels_knows_is_no_damage(tmp_path: Path) -> None:
    tags = [(33550, "d", 3, (1.0, 1.0, 0.0), True)]
    options: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig", "extratags": tags}
    (tmp_path / "x.tif").write_bytes(written(noise(9, 7, 2, "u2"), resolution=(300, 300), resolutionunit=2, **options))
    _, known = files.decode_to_rewrite(tmp_path / "x.tif")
    assert (known.gone, known.resolution, set(known.position)) == ((), (300.0, 300.0), {33550})
