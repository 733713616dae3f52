"""What OpenCV gets of a 16-bit PNG: the pixels, and nothing that its libpng prints lines about."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from diptych.images import files, metadata, png, remarks


def chunk(kind: bytes, content: bytes, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


VALUES = np.random.default_rng(0).integers(0, 65536, (5, 7, 3)).astype(">u2")
HEADER = chunk(b"IHDR", struct.pack(">IIBBBBB", 7, 5, 16, 2, 0, 0, 0))
COMPRESSED = zlib.compress(b"".join(b"\0" + row.tobytes() for row in VALUES))


def picture(*between: bytes, pixels: bytes = COMPRESSED, end: bytes = png.END) -> bytes:
    return png.SIGNATURE + HEADER + b"".join(between) + chunk(b"IDAT", pixels) + end


@pytest.mark.parametrize(
    "between",
    [
        chunk(b"iCCP", b"name\0\0" + zlib.compress(b"no profile")),
        chunk(b"tEXt", b"no zero byte"),
        chunk(b"pHYs", b"\0" * 20),
        chunk(b"eXIf", b"MM nothing"),
        HEADER,
        chunk(b"PLTE", bytes(9)),
    ],
    ids=lambda between: between[4:8].decode(),
)
def test_what_is_beside_the_pixels_changes_nothing_and_prints_nothing(
    capfd: pytest.CaptureFixture[str], between: bytes
) -> None:
    np.testing.assert_array_equal(files.decode_bytes(picture(between), "x").values, VALUES)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "data",
    [
        picture(pixels=COMPRESSED + b"more"),
        picture(pixels=COMPRESSED[:-3]),
        picture(pixels=COMPRESSED[:-4] + b"\0\0\0\0"),
        picture()[:-20] + b"\0\0\0\0" + png.END,
        picture()[:60],
        picture(pixels=zlib.compress(bytes(5 * 43 + 1))),
        picture(pixels=zlib.compress(bytes(5 * 43 - 1))),
    ],
    ids=["more after it", "cut", "wrong sum of zlib", "wrong checksum", "half", "a byte more", "a byte less"],
)
def test_damaged_pixels_are_refused_in_one_line_and_nothing_is_printed(
    capfd: pytest.CaptureFixture[str], data: bytes
) -> None:
    with pytest.raises(ValueError, match="x: damaged or only half written"):
        files.decode_bytes(data, "x")
    assert capfd.readouterr() == ("", "")


def test_a_wrong_checksum_of_the_end_is_no_harm(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = picture(end=chunk(b"IEND", b"", checksum=1))
    np.testing.assert_array_equal(files.decode_bytes(data, "x").values, VALUES)
    assert capfd.readouterr() == ("", "")


def test_a_transparent_colour_becomes_alpha() -> None:
    pixels = files.decode_bytes(picture(chunk(b"tRNS", VALUES[0, 0].tobytes())), "x")
    assert pixels.alpha is not None
    assert (pixels.alpha[0, 0], pixels.alpha[1, 1]) == (0, 65535)


def test_a_transparent_colour_beside_alpha_is_no_colour(capfd: pytest.CaptureFixture[str]) -> None:
    rows = np.concatenate([VALUES, VALUES[..., :1]], axis=-1).astype(">u2")
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 7, 5, 16, 6, 0, 0, 0))
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    data = picture(chunk(b"tRNS", VALUES[0, 0].tobytes()), pixels=pixels).replace(HEADER, header)
    np.testing.assert_array_equal(files.decode_bytes(data, "x").values, VALUES)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("place", [10, 11, 12])
def test_a_method_that_nobody_has_defined_is_refused(capfd: pytest.CaptureFixture[str], place: int) -> None:
    content = bytearray(HEADER[8:-4])
    content[place] = 2
    with pytest.raises(ValueError, match="x: "):
        files.decode_bytes(picture().replace(HEADER, chunk(b"IHDR", bytes(content))), "x")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 7), (9, 4), (16, 16), (33, 2)])
@pytest.mark.parametrize("colour", [2, 6])
def test_interlaced_pictures_are_read(capfd: pytest.CaptureFixture[str], size: tuple[int, int], colour: int) -> None:
    """The passes are laid out here by the table of the specification."""
    height, width = size
    channels = 3 if colour == 2 else 4
    values = np.random.default_rng(2).integers(0, 65536, (height, width, channels)).astype(">u2")
    starts = {0: (0, 0), 1: (0, 4), 2: (4, 0), 3: (0, 2), 4: (2, 0), 5: (0, 1), 6: (1, 0)}  # row, column
    steps = {0: (8, 8), 1: (8, 8), 2: (8, 4), 3: (4, 4), 4: (4, 2), 5: (2, 2), 6: (2, 1)}
    data = b""
    for number, (top, left) in starts.items():
        part = values[top :: steps[number][0], left :: steps[number][1]]
        data += b"".join(b"\0" + row.tobytes() for row in part) if part.size else b""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 1))
    pixels = files.decode_bytes(picture(pixels=zlib.compress(data)).replace(HEADER, header), "x")
    np.testing.assert_array_equal(pixels.values, values[..., :3])
    assert capfd.readouterr() == ("", "")


def test_a_picture_with_alpha_is_still_read(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 65536, (9, 6, 4)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "x.png"), values)
    pixels = files.decode(tmp_path / "x.png")
    np.testing.assert_array_equal(pixels.values, values[..., 2::-1])
    assert pixels.alpha is not None
    np.testing.assert_array_equal(pixels.alpha, values[..., 3])


# ---- beside the pixels


def shallow(*beside: bytes, behind: bytes = b"") -> bytes:
    """An 8-bit PNG with more chunks in front of its pixels and behind them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 8, 2, 0, 0, 0))
    return b"".join([png.SIGNATURE, header, *beside, chunk(b"IDAT", zlib.compress(b"\0rgbRGB")), behind, png.END])


def is_read(data: bytes) -> list[str]:
    """What is said of it."""
    with remarks.collected() as said:
        values = files.decode_bytes(data, "x").values
    assert values.tobytes() in (b"rgbRGB", VALUES.astype(np.uint16).tobytes())
    return [text for _, text, _ in said]


LARGE = bytes(range(256)) * 2**14  # 4 MiB


@pytest.mark.parametrize(
    "large",
    [
        chunk(b"iCCP", b"name\0\0" + zlib.compress(LARGE)),
        chunk(b"zTXt", b"name\0\0" + zlib.compress(LARGE)),
        chunk(b"iTXt", b"name\0\1\0en\0name\0" + zlib.compress(b"a" * 2**22)),
        chunk(b"iTXt", b"name\0\0\0en\0name\0" + b"a" * 2**22),
        chunk(b"tEXt", b"name\0" + b"a" * 2**22),
    ],
    ids=lambda large: large[4:8].decode(),
)
def test_large_texts_and_profiles_are_no_harm(large: bytes) -> None:
    assert is_read(shallow(large)) == is_read(shallow(behind=large)) == is_read(picture(large)) == []


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt", b"iTXt"])
@pytest.mark.parametrize("count", [1, 20])
def test_a_bomb_of_text_is_left_out(kind: bytes, count: int) -> None:
    zeros = zlib.compressobj()
    packed = b"".join(zeros.compress(bytes(2**20)) for _ in range(100)) + zeros.flush()
    bomb = chunk(kind, (b"name\0\1\0en\0name\0" if kind == b"iTXt" else b"name\0\0") + packed) * count
    assert is_read(shallow(bomb)) == ["text and profiles are left out where they are more than 64 MiB"]


@pytest.mark.parametrize("kind", [b"tEXt", b"iTXt", b"gAMA", b"iCCP", b"tIME", b"eXIf", b"abCd"])
def test_a_wrong_checksum_beside_the_pixels_is_said(kind: bytes) -> None:
    wrong = chunk(kind, b"name\0text", checksum=7)
    want = [f"what stands beside the pixels ({kind.decode()}) has a wrong checksum and is left out"]
    assert is_read(shallow(wrong)) == is_read(shallow(behind=wrong)) == is_read(picture(wrong)) == want


def test_an_animation_with_a_wrong_checksum_is_its_first_frame() -> None:
    image = Image.new("RGB", (9, 9), "red")
    image.save(file := io.BytesIO(), "PNG", save_all=True, append_images=[Image.new("RGB", (9, 9), "blue")])
    data = file.getvalue()
    for kind in png.ANIMATION:
        place = data.index(kind)
        end = place + 4 + struct.unpack_from(">I", data, place - 4)[0]
        pixels = files.decode_bytes(data[:end] + b"oops" + data[end + 4 :], "x")
        assert (pixels.values == [255, 0, 0]).all()


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"IDAT"])
def test_a_wrong_checksum_of_what_the_pixels_need_is_damage(kind: bytes) -> None:
    Image.new("P", (9, 9)).save(file := io.BytesIO(), "PNG")
    data = file.getvalue()
    place = data.index(kind)
    end = place + 4 + struct.unpack_from(">I", data, place - 4)[0]
    with pytest.raises(ValueError, match="x: damaged or only half written"):
        files.decode_bytes(data[:end] + b"oops" + data[end + 4 :], "x")


# ---- transparent greys, backgrounds


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_becomes_alpha(tmp_path: Path, bits: int) -> None:
    values = np.random.default_rng(3).integers(0, 1 << bits, (6, 8)).astype(np.uint16)
    single = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(6, 8, 2), axis=-1)[..., 16 - bits :]
    rows = np.packbits(single.reshape(6, -1), axis=1)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 6, bits, 0, 0, 0, 0))
    clear = chunk(b"tRNS", struct.pack(">H", values[2, 3]))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    (tmp_path / "x.png").write_bytes(png.SIGNATURE + header + clear + pixels + png.END)
    found, known = files.decode_to_rewrite(tmp_path / "x.png")
    assert found.alpha is not None
    full = np.iinfo(found.alpha.dtype).max
    np.testing.assert_array_equal(found.alpha, np.where(values == values[2, 3], 0, full))
    np.testing.assert_array_equal(found.values[..., 0], values * (full // ((1 << bits) - 1)))
    files.encode(found, tmp_path / "y.png", known)
    assert (tmp_path / "y.png").read_bytes()[24:26] == bytes([max(8, bits), 4])  # grey and alpha
    again = files.decode(tmp_path / "y.png")
    np.testing.assert_array_equal(again.values, found.values)
    np.testing.assert_array_equal(again.alpha, found.alpha)


def test_grey_and_alpha_of_16_bits_are_read_by_others(tmp_path: Path) -> None:
    values = np.random.default_rng(4).integers(0, 65536, (6, 8, 2)).astype(np.uint16)
    files.encode(files.Pixels(values[..., :1], values[..., 1]), tmp_path / "x.png")
    read = cv2.imread(str(tmp_path / "x.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read, values[..., [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("mode", "content", "want"),
    [
        ("RGB", struct.pack(">HHH", 1, 2, 3), struct.pack(">HHH", 1, 2, 3)),
        ("L", struct.pack(">H", 7), struct.pack(">H", 7)),
        ("P", b"\1", struct.pack(">HHH", 40, 50, 60)),
        ("I;16", struct.pack(">H", 700), struct.pack(">H", 700)),
    ],
)
def test_a_background_is_handed_on(tmp_path: Path, mode: str, content: bytes, want: bytes) -> None:
    image = Image.new(mode, (9, 9))
    if mode == "P":
        image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "x.png")
    data = (tmp_path / "x.png").read_bytes()
    place = data.index(b"IDAT") - 4
    (tmp_path / "x.png").write_bytes(data[:place] + chunk(b"bKGD", content) + data[place:])
    assert files.encode(*_rewritten(tmp_path, "y.png")) == []
    assert chunk(b"bKGD", want) in (tmp_path / "y.png").read_bytes()
    assert files.encode(*_rewritten(tmp_path, "y.bmp"))[-1] == "the background colour"


def test_chunks_stay_as_the_specification_says(tmp_path: Path) -> None:
    """A small fourth letter: they hold for changed pixels too. Others are named, but for what says how old pixels lay."""
    stays, place = chunk(b"aaAa", b"own"), chunk(b"oFFs", struct.pack(">iiB", 1, 2, 0))
    data = shallow(stays, place, chunk(b"abCD", b"own"), chunk(b"tIME", bytes(7)), chunk(b"sBIT", b"\5\6\5"))
    (tmp_path / "x.png").write_bytes(data)
    assert files.encode(*_rewritten(tmp_path, "y.png")) == ["PNG chunks that hold for the old pixels (abCD)"]
    written = (tmp_path / "y.png").read_bytes()
    assert stays in written
    assert place in written
    _, known = files.decode_to_rewrite(tmp_path / "x.png")
    larger = files.Pixels(np.zeros((4, 4, 3), np.uint8))
    assert "PNG chunks of another size (oFFs)" in files.encode(larger, tmp_path / "z.png", known)
    assert place not in (tmp_path / "z.png").read_bytes()
    assert "PNG chunks" in files.encode(*_rewritten(tmp_path, "y.jpg"))


def _rewritten(folder: Path, name: str) -> tuple[files.Pixels, Path, metadata.Metadata]:
    pixels, known = files.decode_to_rewrite(folder / "x.png")
    return pixels, folder / name, known


def test_the_size_in_the_header_is_read_without_the_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (40, 20)).save(tmp_path / "x.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("all pixels were decoded"))
    assert files.size_in_header(tmp_path / "x.png") == (20, 40)
