"""Files <-> tensors. The truths come from Pillow, OpenCV and tifffile, or are worked out by hand."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from diptych.images import files
from diptych.images.files import Array, Pixels

NAMES = ("a.PNG", "a.png", "a.jpg", "a.JpEg", "a.WebP", "a.BMP", "a.Tif", "a.TIFF")
FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
LOSSLESS = (".png", ".bmp", ".tif", ".tiff")
ORIENTATION = 0x0112


def noise(*shape: int, bits: int = 8, seed: int = 0) -> Array:
    kind = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 2**bits, shape).astype(kind)


def smooth(height: int = 24, width: int = 40) -> Array:
    """Colours that change slowly and not along a mirror axis, which JPEG and WebP hold well."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 5 + 60, columns * 4 + 40, 200 - rows * 2 - columns], axis=-1).astype(np.uint8)


def for_opencv(values: Array) -> Array:
    """RGB(A) -> the BGR(A) of OpenCV; its own inverse."""
    if values.ndim == 2:
        return values
    return np.ascontiguousarray(values[..., [2, 1, 0, 3][: values.shape[-1]]])


def opencv_write(path: Path, values: Array) -> None:
    assert cv2.imwrite(str(path), for_opencv(values))


def opencv_read(path: Path) -> Array:
    values: Array | None = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert values is not None
    return for_opencv(values)


def jpeg(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def read(path: Path) -> Array:
    with Image.open(path) as image:
        return np.asarray(image)


# ---- the map between numbers and levels (000-4, 001-6)


def test_levels_by_hand() -> None:
    values = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]).reshape(1, 1, 5)
    assert files.from_tensor(values).values.flatten().tolist() == [0, 64, 128, 191, 255]
    assert files.from_tensor(values, bits=16).values.flatten().tolist() == [0, 16384, 32768, 49151, 65535]


def test_what_is_out_of_range_is_clamped_and_never_wraps_around() -> None:
    values = torch.tensor([-9.0, -1.01, 1.01, 9.0]).reshape(1, 1, 4)
    assert files.from_tensor(values).values.flatten().tolist() == [0, 0, 255, 255]
    assert files.from_tensor(values, bits=16).values.flatten().tolist() == [0, 0, 65535, 65535]


@pytest.mark.parametrize("level", [0, 13, 200])
@pytest.mark.parametrize("spread", [0, 3])
def test_a_dull_picture_stays_dull(tmp_path: Path, level: int, spread: int) -> None:
    # Slip of 000: float pictures were stretched to full contrast when they were saved.
    dull = level + np.random.default_rng(1).integers(0, spread + 1, (6, 5, 3)).astype(np.uint8)
    Image.fromarray(dull).save(tmp_path / "in.png")
    tensor = files.to_tensor(files.decode(tmp_path / "in.png"), channels=3)
    files.encode(files.from_tensor(tensor), tmp_path / "out.png")
    np.testing.assert_array_equal(read(tmp_path / "out.png"), dull)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bits", [8, 16])
def test_every_level_survives_the_way_to_a_tensor_and_back(tmp_path: Path, bits: int, suffix: str) -> None:
    levels = np.arange(2**bits).reshape(2 ** (bits // 2), -1).astype(np.uint8 if bits == 8 else np.uint16)
    before, after = tmp_path / f"before{suffix}", tmp_path / f"after{suffix}"
    opencv_write(before, levels)
    pixels = files.decode(before)
    tensor = files.to_tensor(pixels, channels=1)
    assert tensor.dtype == torch.float32
    assert (float(tensor.min()), float(tensor.max())) == (-1.0, 1.0)
    files.encode(files.from_tensor(tensor, pixels.bits), after)
    np.testing.assert_array_equal(opencv_read(after), levels)


def test_training_sees_the_numbers_that_translation_sees() -> None:
    pixels = Pixels(np.arange(256).reshape(16, 16, 1).astype(np.uint8))
    assert torch.equal(files.from_bytes(files.to_bytes(pixels, 3)), files.to_tensor(pixels, 3))


def test_a_decoded_picture_may_be_written_to(tmp_path: Path) -> None:
    # Pillow hands out read-only memory, and torch warns about it, once, to the user.
    Image.fromarray(smooth()).save(tmp_path / "a.png")
    torch.set_warn_always(True)
    try:
        files.to_bytes(files.decode(tmp_path / "a.png"), 3).zero_()
    finally:
        torch.set_warn_always(False)


def test_16_bits_become_the_nearest_8() -> None:
    levels = np.arange(65536).reshape(256, 256, 1)
    nearest = np.floor(levels / 257 + 0.5)
    np.testing.assert_array_equal(files.to_bytes(Pixels(levels.astype(np.uint16)), 1)[0].numpy(), nearest[..., 0])


# ---- files of every kind


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_written_picture_is_what_its_suffix_says(tmp_path: Path, name: str, channels: int) -> None:
    path = tmp_path / name
    values = smooth()[..., :channels]
    files.encode(Pixels(values), path)
    with Image.open(path) as image:
        assert image.format == FORMATS[path.suffix.lower()]
        seen = np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(values.shape)
    assert np.abs(seen.astype(int) - values).max() <= (0 if path.suffix.lower() in LOSSLESS else 12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_is_read_as_pillow_reads_it(tmp_path: Path, name: str, mode: str) -> None:
    path = tmp_path / name
    Image.fromarray(smooth()).convert(mode).save(path)
    with Image.open(path) as image:
        want = np.asarray(image.convert("RGB"))
    pixels = files.decode(path)
    assert (pixels.bits, pixels.size) == (8, (24, 40))
    np.testing.assert_array_equal(np.moveaxis(files.to_bytes(pixels, 3).numpy(), 0, -1), want)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_files_keep_all_16_bits(tmp_path: Path, suffix: str, channels: int) -> None:
    values = noise(9, 7, channels, bits=16).squeeze()
    before, after = tmp_path / f"before{suffix}", tmp_path / f"after{suffix}"
    opencv_write(before, values)
    pixels = files.decode(before)
    assert pixels.bits == 16
    together = pixels.values if pixels.alpha is None else np.dstack([pixels.values, pixels.alpha])
    np.testing.assert_array_equal(together.squeeze(), values)
    files.encode(pixels, after)
    np.testing.assert_array_equal(opencv_read(after), values)


def test_a_bright_16_bit_grey_picture_is_not_clipped_at_255() -> None:
    pixels = files.from_image(Image.fromarray(np.full((2, 2), 32768, np.uint16)))
    assert set(files.to_bytes(pixels, 3).flatten().tolist()) == {128}


@pytest.mark.parametrize("name", ["a.jpg", "a.bmp", "a.webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_become_8_where_the_format_has_no_more(tmp_path: Path, name: str, channels: int) -> None:
    files.encode(Pixels(smooth()[..., :channels].astype(np.uint16) * 257), tmp_path / name)
    with Image.open(tmp_path / name) as image:
        seen = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(seen - smooth()[..., [0, 0, 0] if channels == 1 else [0, 1, 2]]).max() <= 12


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_a_pillow_image_comes_back_as_it_was(mode: str) -> None:
    image = Image.fromarray(noise(5, 4, bits=16) if mode == "I;16" else noise(5, 4, len(mode)).squeeze())
    back = files.to_image(files.from_image(image))
    assert (image.mode, back.mode) == (mode, mode)
    np.testing.assert_array_equal(np.asarray(back), np.asarray(image))


@pytest.mark.parametrize("name", ["a.gif", "a", "a.png.part"])
def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}.*\.jpg.*\.png"):
        files.encode(Pixels(smooth()), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


# ---- modes: palette, grey, 1 bit, CMYK, alpha (000-2)


def test_a_palette_is_resolved(tmp_path: Path) -> None:
    image = Image.fromarray(smooth()).quantize(16)
    image.save(tmp_path / "a.png")
    pixels = files.decode(tmp_path / "a.png")
    assert pixels.alpha is None
    np.testing.assert_array_equal(pixels.values, np.asarray(image.convert("RGB")))


def test_a_see_through_palette_colour_is_see_through(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(tmp_path / "a.png", transparency=bytes([255, 0, 128]))
    pixels = files.decode(tmp_path / "a.png")
    assert pixels.alpha is not None
    assert pixels.alpha.tolist() == [[255, 0, 128]]
    assert pixels.values.tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_stands_beside_the_values(tmp_path: Path, mode: str) -> None:
    values = noise(5, 4, len(mode))
    Image.fromarray(values).save(tmp_path / "a.png")
    pixels = files.decode(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels.values, values[..., :-1])
    np.testing.assert_array_equal(pixels.alpha, values[..., -1])


def test_black_and_white_in_one_bit(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    assert files.to_tensor(files.decode(tmp_path / "a.png"), 1).tolist() == [[[1.0, -1.0]]]


def test_grey_stays_one_channel_and_colour_three(tmp_path: Path) -> None:
    for suffix in (".jpg", ".png", ".tif"):
        Image.fromarray(smooth()).convert("L").save(tmp_path / f"grey{suffix}")
        Image.fromarray(smooth()).save(tmp_path / f"colour{suffix}")
        assert files.decode(tmp_path / f"grey{suffix}").values.shape == (24, 40, 1)
        assert files.decode(tmp_path / f"colour{suffix}").values.shape == (24, 40, 3)


def test_a_cmyk_jpeg_has_the_colours_that_pillow_gives_it(tmp_path: Path) -> None:
    Image.fromarray(smooth()).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.mode == "CMYK"
        want = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(files.decode(tmp_path / "a.jpg").values, want)
    assert np.abs(want.astype(int) - smooth()).max() <= 16  # and they are the colours that went in


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=st.integers(0, 10**6), spread=st.integers(1, 256), low=st.integers(0, 255))
def test_colour_to_grey_is_pillows_to_the_last_level(seed: int, spread: int, low: int) -> None:
    values = np.random.default_rng(seed).integers(low, min(low + spread, 256), (16, 16, 3)).astype(np.uint8)
    want = np.asarray(Image.fromarray(values).convert("L"))
    np.testing.assert_array_equal(files.to_bytes(Pixels(values), 1)[0].numpy(), want)


def test_grey_to_colour_repeats_the_channel() -> None:
    grey = noise(5, 4, 1)
    np.testing.assert_array_equal(files.to_bytes(Pixels(grey), 3).numpy(), grey.transpose(2, 0, 1).repeat(3, axis=0))


def test_the_network_sees_what_is_see_through_as_white() -> None:
    values = np.full((1, 3, 3), 51, np.uint8)
    pixels = Pixels(values, np.array([[0, 255, 102]], np.uint8))
    # 255, 51, and 0.4 * 51 + 0.6 * 255 = 173.4
    assert files.to_bytes(pixels, 3)[0].tolist() == [[255, 51, 173]]
    assert files.to_tensor(pixels, 3)[1, 0].tolist() == pytest.approx([1.0, -0.6, 173 / 127.5 - 1])


@settings(deadline=None, derandomize=True, max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_laying_on_white_is_pillows_within_a_level(seed: int) -> None:
    values = noise(8, 8, 4, seed=seed)
    white = Image.new("RGBA", (8, 8), "white")
    want = np.asarray(Image.alpha_composite(white, Image.fromarray(values)).convert("RGB")).astype(int)
    seen = np.moveaxis(files.to_bytes(Pixels(values[..., :3], values[..., 3]), 3).numpy(), 0, -1)
    assert np.abs(seen - want).max() <= 1


def test_16_bit_alpha_is_laid_on_white_too() -> None:
    pixels = Pixels(np.full((1, 3, 1), 10000, np.uint16), np.array([[0, 65535, 13107]], np.uint16))
    # 0.2 * 10000 + 0.8 * 65535 = 54428
    want = [1.0, 10000 / 32767.5 - 1, 54428 / 32767.5 - 1]
    assert files.to_tensor(pixels, 1)[0, 0].tolist() == pytest.approx(want, abs=1e-5)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_is_written_back(tmp_path: Path, name: str, channels: int) -> None:
    alpha = smooth()[..., 1]
    files.encode(Pixels(smooth()[..., :channels], alpha), tmp_path / name)
    with Image.open(tmp_path / name) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGBA"))[..., 3], alpha)


@pytest.mark.parametrize("name", ["a.jpg", "a.bmp"])
def test_alpha_is_given_up_where_the_format_has_none(tmp_path: Path, name: str) -> None:
    files.encode(Pixels(smooth(), np.zeros((24, 40), np.uint8)), tmp_path / name)
    with Image.open(tmp_path / name) as image:
        assert image.mode == "RGB"
        assert np.abs(np.asarray(image).astype(int) - smooth()).max() <= 12


def test_alpha_takes_the_depth_of_the_picture() -> None:
    picture = torch.zeros(3, 256, 256)
    deep = np.arange(65536).reshape(256, 256).astype(np.uint16)
    shallow = (deep // 256).astype(np.uint8)
    np.testing.assert_array_equal(files.from_tensor(picture, 8, deep).alpha, np.floor(deep / 257 + 0.5))
    np.testing.assert_array_equal(files.from_tensor(picture, 16, shallow).alpha, shallow.astype(np.uint16) * 257)
    np.testing.assert_array_equal(files.from_tensor(picture, 8, shallow).alpha, shallow)


def test_a_colour_picture_is_not_read_as_five_channels() -> None:
    with pytest.raises(ValueError, match="3 channels cannot be read as 5"):
        files.to_tensor(Pixels(smooth()), 5)


# ---- pictures that a camera turned


@pytest.fixture(params=["with simplejpeg", "without simplejpeg"])
def jpeg_reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to read a JPEG: the extra is optional."""
    if request.param == "with simplejpeg":
        pytest.importorskip("simplejpeg")
    else:
        monkeypatch.setattr(files, "simplejpeg", None)
    return str(request.param)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_is_read_upright(tmp_path: Path, jpeg_reader: str, orientation: int) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(Image.fromarray(smooth()), exif=turned(orientation)))
    with Image.open(path) as image:
        want = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(files.decode(path).values, want)


def _exif_behind_a_large_profile() -> bytes:
    plain = jpeg(Image.fromarray(smooth()), icc_profile=bytes(200_000))
    body = b"Exif\x00\x00" + turned(6).tobytes().removeprefix(b"Exif\x00\x00")
    tables = plain.index(b"\xff\xdb")
    return plain[:tables] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + plain[tables:]


def _orientation_in_xmp() -> bytes:
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    return jpeg(Image.fromarray(smooth()), xmp=packet)


@pytest.mark.parametrize("make", [_exif_behind_a_large_profile, _orientation_in_xmp])
def test_the_turn_is_found_wherever_the_file_says_it(tmp_path: Path, jpeg_reader: str, make: Any) -> None:
    (tmp_path / "a.jpg").write_bytes(make())
    with Image.open(tmp_path / "a.jpg") as image:
        want = np.asarray(ImageOps.exif_transpose(image))
    assert want.shape == (40, 24, 3)  # Pillow did turn it
    np.testing.assert_array_equal(files.decode(tmp_path / "a.jpg").values, want)


def _with_exif_chunk(png: bytes, exif: Image.Exif) -> bytes:
    body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\x00\x00")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:33] + chunk + png[33:]  # behind the signature and IHDR


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_turned_16_bit_file_is_read_upright(tmp_path: Path, suffix: str, channels: int, orientation: int) -> None:
    path = tmp_path / f"a{suffix}"
    values = noise(4, 6, channels, bits=16).squeeze()
    if suffix == ".tif":
        kind = "minisblack" if channels == 1 else "rgb"
        tifffile.imwrite(path, values, photometric=kind, extratags=[(ORIENTATION, "H", 1, orientation, True)])
    else:
        path.write_bytes(_with_exif_chunk(cv2.imencode(".png", for_opencv(values))[1].tobytes(), turned(orientation)))
    # Pillow has no 16-bit colour, so it turns the upper and the lower halves of the numbers one after the other.
    upper, lower = (Image.fromarray(half.astype(np.uint8)) for half in (values >> 8, values & 255))
    for half in (upper, lower):
        half.getexif()[ORIENTATION] = orientation
    high, low = (np.asarray(ImageOps.exif_transpose(half)).astype(np.uint16) for half in (upper, lower))
    np.testing.assert_array_equal(files.decode(path).values.squeeze(), high * 256 + low)


# ---- the fast way to read a JPEG


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("quality", [20, 75, 100])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_the_fast_way_reads_the_same_numbers(tmp_path: Path, mode: str, quality: int, subsampling: int) -> None:
    simplejpeg = pytest.importorskip("simplejpeg")
    path = tmp_path / "a.jpg"
    image = Image.fromarray(noise(35, 51, 3)).convert(mode)
    image.save(path, quality=quality, subsampling=subsampling, progressive=quality == 75)
    calls = []

    class Counted:
        decode_jpeg_header = staticmethod(simplejpeg.decode_jpeg_header)

        @staticmethod
        def decode_jpeg(*args: Any, **options: Any) -> Any:
            calls.append(args)
            return simplejpeg.decode_jpeg(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "simplejpeg", Counted)
        values = files.decode(path).values
    assert len(calls) == 1  # an ordinary JPEG takes the fast way
    np.testing.assert_array_equal(values.squeeze(), read(path))


# ---- files that are no pictures


def _half(name: str) -> Any:
    def write(path: Path) -> None:
        Image.fromarray(noise(32, 32, 3)).save(path.with_name(name))
        data = path.with_name(name).read_bytes()
        path.write_bytes(data[: len(data) // 2])

    return write


def _half_deep(path: Path) -> None:
    data = cv2.imencode(".png", noise(32, 32, 3, bits=16))[1].tobytes()
    path.write_bytes(data[: len(data) // 2])


BAD = {
    "half-written.jpg": (_half("whole.jpg"), "half written"),
    "half-written.png": (_half("whole.png"), "half written"),
    "half-written.webp": (_half("whole.webp"), "half written|not a picture"),
    "half-written.bmp": (_half("whole.bmp"), "half written"),
    "half-written-deep.png": (_half_deep, "half written"),
    "text.png": (lambda path: path.write_text("Dear diary"), "not a picture"),
    "text.jpg": (lambda path: path.write_text("Dear diary"), "not a picture"),
    "empty.png": (lambda path: path.write_bytes(b""), "empty"),
    "missing.png": (lambda path: None, "cannot be read.*No such file"),
    "folder.png": (lambda path: path.mkdir(), "cannot be read"),
    "float.tif": (lambda path: Image.new("F", (4, 4), 0.5).save(path), r"float32.*--range.*8 or 16 bits"),
    "wide.tif": (lambda path: Image.new("I", (4, 4), 70000).save(path), r"int32.*--range.*8 or 16 bits"),
    "deep-float.tif": (
        lambda path: tifffile.imwrite(path, np.zeros((4, 4, 3), np.float32), photometric="rgb"),
        "float32.*--range",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_in_one_line(tmp_path: Path, jpeg_reader: str, name: str) -> None:
    make, why = BAD[name]
    make(tmp_path / name)
    with pytest.raises(ValueError, match=why) as caught:
        files.decode(tmp_path / name)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name}: ")
    assert "\n" not in message


@pytest.mark.filterwarnings("ignore")  # Pillow warns beside what it raises
@pytest.mark.parametrize("name", [*sorted({name.lower() for name in NAMES}), "deep.png", "deep.tif"])
def test_a_file_cut_anywhere_is_refused_or_read_whole(tmp_path: Path, name: str) -> None:
    whole, cut = tmp_path / name, tmp_path / f"cut-{name}"
    if name.startswith("deep"):
        opencv_write(whole, noise(9, 8, 3, bits=16))
    else:
        Image.fromarray(noise(9, 8, 3)).save(whole)
    data, want = whole.read_bytes(), files.decode(whole).values
    refused = 0
    for length in range(0, len(data), 7):
        cut.write_bytes(data[:length])
        try:
            np.testing.assert_array_equal(files.decode(cut).values, want)
        except ValueError as error:
            assert str(cut) in str(error)  # noqa: PT017
            refused += 1
    assert refused > len(data) // 7 // 2


# ---- several pictures in one (000-5)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    count=st.integers(1, 11),
    columns=st.integers(1, 6),
    gap=st.integers(0, 3),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
)
def test_picture_i_lies_in_row_i_over_columns(count: int, columns: int, gap: int, height: int, width: int) -> None:
    cells = [torch.full((3, height, width), -i / 100) for i in range(1, count + 1)]
    sheet = files.merge(cells, columns, gap)
    rows = (count + columns - 1) // columns
    assert sheet.shape == (3, rows * height + (rows - 1) * gap, columns * width + (columns - 1) * gap)
    for i, cell in enumerate(cells):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        assert torch.equal(sheet[:, top : top + height, left : left + width], cell)
    assert int((sheet == 1).sum()) == sheet.numel() - count * 3 * height * width  # all the rest is white


def test_grey_and_colour_share_a_sheet() -> None:
    grey, colour = torch.full((1, 2, 2), -1.0), torch.tensor([0.1, 0.2, 0.3]).reshape(3, 1, 1).expand(3, 2, 2)
    sheet = files.merge([grey, colour], columns=2, gap=0)
    assert torch.equal(sheet[:, :, :2], torch.full((3, 2, 2), -1.0))
    assert torch.equal(sheet[:, :, 2:], colour)


# ---- four channels


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.webp"])
def test_four_channels_are_written_and_read_again(tmp_path: Path, name: str, bits: int) -> None:
    if bits == 16 and name == "x.webp":
        pytest.skip("WebP has 8 bits")
    values = smooth() if bits == 8 else smooth().astype(np.uint16) * 257 + 1
    values = np.concatenate([values, values[..., :1] // 2 + 5], axis=-1)
    files.encode(Pixels(values), tmp_path / name)
    again = files.to_channels(files.decode(tmp_path / name), 4)
    if name == "x.webp":
        assert np.abs(again.astype(int) - values).mean() < 6
        return
    np.testing.assert_array_equal(again, values)


def test_a_fourth_channel_is_dropped_where_the_format_has_none(tmp_path: Path) -> None:
    values = np.concatenate([smooth(), smooth()[..., :1]], axis=-1)
    for name in ("x.bmp", "x.jpg"):
        files.encode(Pixels(values), tmp_path / name)
        with Image.open(tmp_path / name) as written:
            assert written.mode == "RGB"
    np.testing.assert_array_equal(files.decode(tmp_path / "x.bmp").values, smooth())


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_of_rgb_and_something_else_is_four_channels_or_rgb(tmp_path: Path, bits: int) -> None:
    values = noise(9, 7, 4, bits=bits)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="rgb", extrasamples=["unspecified"])
    pixels = files.decode(tmp_path / "x.tif")
    assert pixels.alpha is None  # and so it is not laid on white
    np.testing.assert_array_equal(files.to_channels(pixels, 4), values)
    np.testing.assert_array_equal(files.to_channels(pixels, 3), values[..., :3])


def test_more_channels_than_a_file_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.tif.*5 channels"):
        files.encode(Pixels(np.zeros((4, 4, 5), np.uint8)), tmp_path / "x.tif")
    assert list(tmp_path.iterdir()) == []
