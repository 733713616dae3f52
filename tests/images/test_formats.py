"""Which files are opened, how large they may be, and what a decoder may do."""

import gzip
import io
import os
import struct
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from diptych.images import files, formats, spec
from diptych.images.formats import MAX_PIXELS, one_sample, room_for

SIDE = 13_378  # its square is above the limit


def encoded(mode: str, name: str, size: tuple[int, int] = (16, 16), **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, name, **options)
    return buffer.getvalue()


# ---- bombs


def jpeg(width: int, height: int, **options: Any) -> bytes:
    data = encoded("RGB", "JPEG", **options)
    frame = next(at for marker in (b"\xff\xc0", b"\xff\xc2") if (at := data.find(marker)) > 0)
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


def png(width: int, height: int, **options: Any) -> bytes:
    data = encoded("RGB", "PNG")
    header = struct.pack(">4sII", b"IHDR", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def gif(width: int, height: int, **options: Any) -> bytes:
    data = encoded("P", "GIF")
    return data[:6] + struct.pack("<HH", width, height) + data[10:]


def bmp(width: int, height: int, **options: Any) -> bytes:
    data = encoded("RGB", "BMP")
    return data[:18] + struct.pack("<II", width, height) + data[26:]


def tiff(width: int, height: int, **options: Any) -> bytes:
    changed = bytearray(encoded("RGB", "TIFF", **options))
    directory = struct.unpack_from("<I", changed, 4)[0]
    for entry in range(struct.unpack_from("<H", changed, directory)[0]):
        at = directory + 2 + 12 * entry
        if (tag := struct.unpack_from("<H", changed, at)[0]) in (256, 257):
            struct.pack_into("<HHII", changed, at, tag, 4, 1, width if tag == 256 else height)
    return bytes(changed)


def webp(width: int, height: int, **options: Any) -> bytes:
    extended = (
        struct.pack("<4sIB3x", b"VP8X", 10, 0) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    )
    body = b"WEBP" + extended + encoded("RGB", "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


BOMBS: dict[str, Callable[..., bytes]] = {
    "jpeg": jpeg,
    "progressive jpeg": lambda *size: jpeg(*size, progressive=True),
    "jpeg with exif": lambda *size: jpeg(*size, exif=Image.Exif()),
    "png": png,
    "gif": gif,
    "bmp": bmp,
    "tiff": tiff,
    "webp": webp,
}


@pytest.mark.parametrize("size", [(SIDE, SIDE), (65_500, 65_500), (MAX_PIXELS + 1, 1)], ids=str)
@pytest.mark.parametrize("name", BOMBS)
def test_the_size_in_the_header_is_asked_before_anything_is_decoded(
    monkeypatch: pytest.MonkeyPatch, name: str, size: tuple[int, int]
) -> None:
    if name not in ("png", "bmp", "tiff"):
        size = min(size[0], 16_384 if name == "webp" else 65_500), max(min(size[1], 65_500), 2_800)
        size = (size[0], 16_384 if name == "webp" else size[1])

    def decoded(*_: object, **__: object) -> None:
        pytest.fail("was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decoded)
    with suppress(ImportError):
        monkeypatch.setattr(import_module("simplejpeg"), "decode_jpeg", decoded)
    with pytest.raises(ValueError, match=r"x\.png: (\d+x\d+ pixels, and at most 178,956,970|too large)"):
        files.decode_bytes(BOMBS[name](*size), "x.png")


def test_a_limit_of_the_callers_own_is_asked_too() -> None:
    assert files.decode_bytes(encoded("RGB", "PNG"), "x.png", most=256).size == (16, 16)
    with pytest.raises(ValueError, match="16x16 pixels, and at most 255 can be opened here"):
        files.decode_bytes(encoded("RGB", "PNG"), "x.png", most=255)


def test_a_picture_above_pillows_limit_is_opened_where_the_caller_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for data in (encoded("RGB", "TIFF"), encoded("P", "GIF"), encoded("RGB", "PNG")):
        assert files.decode_bytes(data, "x").size == (16, 16)  # and no warning, which would be an error here
    assert Image.MAX_IMAGE_PIXELS == 100


def test_the_tile_of_a_tiff_counts_where_it_is_larger_than_the_picture(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((16, 16, 3), np.uint8), tile=(1024, 1024))
    with pytest.raises(ValueError, match="1024x1024 pixels, and at most 1,000 "):
        files.decode(tmp_path / "x.tif", most=1000)


def test_a_jpeg_of_many_scans_is_refused() -> None:
    data = encoded("RGB", "JPEG", (64, 64), progressive=True)
    assert files.decode_bytes(data, "x").size == (64, 64)
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    data = data[:end] + data[last:end] * 200_000 + data[end:]  # 2 MB that a decoder goes over 8,000,000,000 pixels for
    with pytest.raises(ValueError, match=r"2560x2560 pixels in 2\d{5} scans"):
        formats.require_size(64 * 40, 64 * 40, MAX_PIXELS, data)


def test_a_file_of_many_gigabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.png").open("wb") as file:
        file.truncate(2**40)  # sparse: it takes no space
    with pytest.raises(ValueError, match=r"x\.png: has 1,099,511,627,776 bytes, and at most"):
        files.decode(tmp_path / "x.png")


# ---- other formats


OTHERS = ["PCX", "TGA", "DDS", "SGI", "ICO", "SPIDER", "EPS", "PDF", "ICNS", "QOI", "BLP"]


@pytest.mark.parametrize("name", OTHERS)
def test_no_other_format_is_opened_whatever_the_files_name_says(tmp_path: Path, name: str) -> None:
    mode = {"SPIDER": "F", "BLP": "P"}.get(name, "RGB")
    (tmp_path / "x.png").write_bytes(encoded(mode, name, (64, 64)))
    with pytest.raises(ValueError, match=r"x\.png: not a picture of a format that is read \(JPEG, PNG") as caught:
        files.decode(tmp_path / "x.png")
    assert "\n" not in str(caught.value)


def test_no_picture_starts_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "bin/gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "x.png").write_bytes(encoded("RGB", "EPS"))
    with pytest.raises(ValueError, match="not a picture of a format"):
        files.decode(tmp_path / "x.png")
    assert not (tmp_path / "started").exists()


# ---- what decoders raise and print


@pytest.mark.parametrize(
    "error", [RuntimeError("bad\nframe"), NotImplementedError(), ZeroDivisionError(), EOFError(), KeyError(0)]
)
def test_whatever_a_decoder_raises_is_the_line_of_that_file(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def load(*_: object) -> None:
        raise error

    data = encoded("RGB", "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(
        ValueError, match=r"x\.png: damaged or only half written \(.+\); remove it or copy it again"
    ) as caught:
        files.decode_bytes(data, "x.png")
    assert "\n" not in str(caught.value)


def test_a_picture_that_does_not_fit_in_memory_is_not_called_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> None:
        raise MemoryError

    data = encoded("RGB", "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(ValueError, match=r"x\.png: does not fit in the memory that is free"):
        files.decode_bytes(data, "x.png")


@pytest.mark.parametrize("compression", ["tiff_lzw", "group4", "jpeg", "tiff_deflate", "packbits"])
def test_a_damaged_tiff_prints_nothing_of_its_own(capfd: pytest.CaptureFixture[str], compression: str) -> None:
    image = Image.effect_noise((64, 64), 80).convert("1" if compression == "group4" else "L")
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", compression=compression)
    for number in range(40):
        damaged = bytearray(buffer.getvalue())
        for place in np.random.default_rng(number).integers(8, len(damaged), 6):
            damaged[place] ^= 0x55
        try:
            files.decode_bytes(bytes(damaged), "x.tif")
        except ValueError as error:
            assert str(error).startswith("x.tif: ")  # noqa: PT017 -- many are whole pictures still
    assert capfd.readouterr() == ("", "")


# ---- large pictures, strip by strip


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_a_large_picture_is_the_same_as_in_one_piece(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 23, 4), np.uint8), "RGBA")
    image = image.convert("RGB").convert(mode) if mode in ("1", "P", "CMYK", "YCbCr") else image.convert(mode)
    if mode == "P":
        image.info["transparency"] = 3
    whole = files.from_image(image)
    monkeypatch.setattr(spec, "STRIP", 50)
    parts = files.from_image(image)
    np.testing.assert_array_equal(parts.values, whole.values)
    assert (parts.alpha is None) == (whole.alpha is None)
    if parts.alpha is not None and whole.alpha is not None:
        np.testing.assert_array_equal(parts.alpha, whole.alpha)


# ---- several threads


def test_threads_hold_no_more_than_the_limit_together_and_never_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(formats, "_shared", shared := formats._Shared(100))
    lock, held, most = threading.Lock(), 0, 0

    def pair(number: int) -> None:
        nonlocal held, most
        with one_sample():
            for _ in range(2):
                side = 1 + number % 7
                with room_for(side, 7), lock:
                    held += 7 * side
                    most = max(most, 100 - shared.free)
            with lock:
                held -= 14 * side

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(pair, range(400)))
    assert most <= 100
    assert (shared.free, held) == (100, 0)


def test_a_picture_that_alone_is_above_what_threads_share_is_decoded_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_shared", formats._Shared(100))
    with room_for(50, 50):
        assert formats._shared.free == 0
    assert formats._shared.free == 100


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n", "git lfs pull"),
        (gzip.compress(b"x", mtime=0), "is compressed by gzip; unpack it"),
    ],
)
def test_what_stands_for_a_picture_gets_its_own_remedy(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "1.png").write_bytes(data)
    with pytest.raises(ValueError, match=f"1.png: .*{words}"):
        files.decode(tmp_path / "1.png")
