"""A picture file read and written by rows is the one that is read and written whole, with all that it knows of itself."""

import errno
import os
import shutil
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from diptych.images import files, formats, giant, ifd, on_disk
from diptych.images.files import Array, Pixels
from diptych.images.metadata import Metadata
from diptych.images.remarks import FIRST_FRAME, collected

pytest.importorskip("pyvips", reason="pip install 'diptych[giant]'")

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(channels: int, dtype: str = "uint8") -> Array:
    """Blocks of 8 pixels and a little noise, which JPEG keeps."""
    random = np.random.default_rng(channels)
    blocks = np.kron(random.integers(0, 250, (8, 6, channels)), np.ones((8, 8, 1)))[:61, :47]
    levels = (blocks + random.integers(0, 6, (61, 47, channels))).astype(np.uint8)
    values = levels if dtype == "uint8" else levels.astype(np.uint16) * 257
    return values[..., 0] if channels == 1 else values


def exif(orientation: int = 1) -> Image.Exif:
    made = Image.Exif()
    made[0x010E], made[0x0112] = "a description", orientation
    return made


def make(path: Path, channels: int = 3, orientation: int = 1) -> None:
    """A file of 8 bits that knows something of itself."""
    image = Image.fromarray(noise(channels), {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels])
    more: dict[str, Any] = {"icc_profile": SRGB} if channels > 2 else {}
    if path.suffix == ".png":
        more["pnginfo"] = PngImagePlugin.PngInfo()
        more["pnginfo"].add_text("Title", "x")
    if path.suffix == ".jpg":
        more |= {"comment": b"hello", "quality": 90}
    if path.suffix == ".tif":
        more["compression"] = "tiff_lzw"
    image.save(path, exif=exif(orientation), dpi=(300, 300), **more)


def equal(one: Metadata, other: Metadata) -> dict[str, Any]:
    """Where two differ, but for places in their files and how they are compressed."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: one[:2] if isinstance(one, ifd.Entry) else one for name, one in value.items()}
        return value

    pairs = {
        field.name: (plain(getattr(one, field.name)), plain(getattr(other, field.name))) for field in fields(Metadata)
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1] and name != "compression"}


def read(path: Path) -> tuple[Pixels, Metadata]:
    found = giant.read(path, path.parent)
    assert found is not None
    assert on_disk.folder_of(found.values) == path.parent
    return Pixels(found.values, found.alpha), found.known


def require_equal(path: Path) -> None:
    (whole, known), (rows, also_known) = files.decode_to_rewrite(path), read(path)
    assert np.array_equal(rows.values, whole.values)
    assert rows.values.dtype == whole.values.dtype
    assert (rows.alpha is None) is (whole.alpha is None)
    assert rows.alpha is None or np.array_equal(rows.alpha, whole.alpha)  # type: ignore[arg-type]
    assert not equal(known, also_known)
    assert known.compression == also_known.compression


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("orientation", [1, 6])
def test_levels_and_knowledge(suffix: str, channels: int, orientation: int, tmp_path: Path) -> None:
    if suffix == ".jpg" and channels in (2, 4):
        return
    make(path := tmp_path / f"a{suffix}", channels, orientation)
    require_equal(path)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_every_rotation(orientation: int, tmp_path: Path) -> None:
    make(path := tmp_path / "a.jpg", orientation=orientation)
    require_equal(path)


def test_of_other_kinds(tmp_path: Path) -> None:
    plain = noise(3)
    Image.fromarray(plain).quantize(16).save(tmp_path / "palette.png")
    Image.fromarray(noise(1) > 100).save(tmp_path / "one.png")
    Image.fromarray(noise(1, "uint16")).save(tmp_path / "grey16.png")
    Image.fromarray(plain).save(tmp_path / "progressive.jpg", progressive=True)
    for channels in (3, 4):
        cv2.imwrite(str(tmp_path / f"{channels}.png"), noise(channels, "uint16"))
    for name, more in {
        "deep": {},
        "alpha": {"extrasamples": ["unassalpha"]},
        "big": {"bigtiff": True, "tile": (16, 16), "compression": "zlib", "predictor": True},
        "high-byte-first": {"byteorder": ">"},
    }.items():
        values = noise(4 if name == "alpha" else 3, "uint8" if name == "big" else "uint16")
        tifffile.imwrite(tmp_path / f"{name}.tif", values, photometric="rgb", **more)  # type: ignore[arg-type]
    tifffile.imwrite(tmp_path / "grey.tif", noise(1, "uint16"), photometric="minisblack")
    for path in sorted(tmp_path.iterdir()):
        require_equal(path)


def test_what_libvips_reads_otherwise_goes_whole(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "planes.tif", noise(3).transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(tmp_path / "fourth.tif", noise(4), photometric="rgb", extrasamples=["unspecified"])
    tifffile.imwrite(tmp_path / "negative.tif", noise(1), photometric="miniswhite")
    tifffile.imwrite(tmp_path / "float.tif", noise(1).astype(np.float32))
    Image.fromarray(noise(4), "CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(noise(3)).save(tmp_path / "a.webp")
    for path in sorted(tmp_path.iterdir()):
        assert giant.read(path, tmp_path) is None, path


def test_further_pages_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for number in (3, 4):
            file.write(noise(number)[..., :3], photometric="rgb")
    require_equal(path)
    with collected() as remarks:
        read(path)
    assert {remark.text for remark in remarks} == {FIRST_FRAME}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_a_damaged_file_is_one_line(suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make(path := tmp_path / f"a{suffix}")
    data = path.read_bytes()
    if suffix == ".tif":  # its directory stands at the end
        path.write_bytes(data[:8] + bytes(1500) + data[1508:])
    else:
        path.write_bytes(data[: len(data) * 9 // 10])
    with pytest.raises(
        ValueError, match=r"a\.\w+: damaged or only half written \(.*\); remove it or copy it again"
    ) as raised:
        giant.read(path, tmp_path)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


# ---- writing


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("source", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_is_written_by_rows_is_what_is_written_whole(
    source: str, suffix: str, channels: int, tmp_path: Path
) -> None:
    if source == ".jpg" and channels in (2, 4):
        return
    make(path := tmp_path / f"a{source}", channels, orientation=8)
    (pixels, known), (rows, _) = files.decode_to_rewrite(path), read(path)
    lost = files.encode(pixels, one := tmp_path / f"one{suffix}", known)
    also_lost = files.encode(rows, other := tmp_path / f"other{suffix}", known)
    own_tables = "the JPEG's own tables, in whose place are those of quality 95"
    assert also_lost == [*lost, *([own_tables] if source == suffix == ".jpg" else [])]
    (whole, of_whole), (by_rows, of_rows) = files.decode_to_rewrite(one), files.decode_to_rewrite(other)
    assert not equal(of_whole, of_rows)
    if suffix != ".jpg":
        assert np.array_equal(whole.values, by_rows.values)
        assert whole.alpha is None or np.array_equal(whole.alpha, by_rows.alpha)  # type: ignore[arg-type]
        assert suffix == ".png" or of_whole.compression == of_rows.compression
    else:
        away, by_pillow = (np.abs(one.values.astype(int) - rows.values).mean() for one in (by_rows, whole))
        assert away < 1.1 * by_pillow + 1


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits(suffix: str, channels: int, tmp_path: Path) -> None:
    values = on_disk.empty((61, 47, channels), np.dtype(np.uint16), tmp_path)
    values[:] = noise(channels, "uint16").reshape(61, 47, channels)
    files.encode(Pixels(values), path := tmp_path / f"a{suffix}")
    again = files.decode(path)
    assert np.array_equal(files.with_alpha_as_channel(again, channels).values, values)


def test_a_big_tiff_has_its_tags_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of more than 4 GB is one; its tags lie behind the pixels."""
    monkeypatch.setattr(giant, "BIG", 0)
    make(path := tmp_path / "a.tif", 4)
    rows, known = read(path)
    files.encode(rows, out := tmp_path / "out.tif", known)
    with tifffile.TiffFile(out) as file:
        assert file.is_bigtiff
        assert file.pages[0].tags["ImageDescription"].value == "a description"  # type: ignore[union-attr]
    require_equal(out)
    assert not equal(known, read(out)[1])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
@pytest.mark.parametrize("format", ["PNG", "TIFF", "JPEG"])
def test_a_full_disk_is_an_error_of_the_system(format: str, tmp_path: Path) -> None:
    values = on_disk.empty((300, 400, 3), np.dtype(np.uint8), tmp_path)
    values[:] = np.random.default_rng(0).integers(0, 255, values.shape)
    with pytest.raises(OSError, match=r"\w"):
        giant.write(values, None, Path("/dev/full"), format, {}, None, 2)


def test_room_on_the_disk_is_taken_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if not hasattr(os, "posix_fallocate"):
        pytest.skip("this system has no posix_fallocate")
    monkeypatch.setattr(os, "posix_fallocate", full)
    make(path := tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"the disk is full; name a folder with more room, --scratch DIR"):
        giant.read(path, tmp_path)
    assert [*tmp_path.iterdir()] == [path]


def test_tags_are_put_into_a_file_as_into_its_bytes(tmp_path: Path) -> None:
    make(path := tmp_path / "a.tif")
    more = ifd.Directory({315: ifd.Entry(ifd.ASCII, b"somebody\0")})
    shutil.copy(path, other := tmp_path / "b.tif")
    ifd.add_tags(other, more)
    assert ifd.read(other.read_bytes()).entries[315].data == b"somebody\0"
    of_bytes = Path(tempfile.mkdtemp(dir=tmp_path), "c.tif")
    of_bytes.write_bytes(ifd.with_tags(path.read_bytes(), more))
    assert np.array_equal(files.decode(other).values, files.decode(of_bytes).values)


@pytest.mark.parametrize("name", ["a.tif", "a.svs"])
def test_a_pyramid_of_tiles_is_read_at_full_size(name: str, tmp_path: Path) -> None:
    """As microscopes and libvips write it: JPEG tiles, and smaller copies of the picture behind it."""
    values = np.ascontiguousarray(np.tile(noise(3), (4, 4, 1)))
    image = giant.vips().Image.new_from_memory(values.data, values.shape[1], values.shape[0], 3, "uchar")
    options = {"compression": "jpeg", "Q": 90, "tile_width": 64, "tile_height": 64}
    image.copy(interpretation="srgb").tiffsave(str(tmp_path / "a.tif"), tile=True, pyramid=True, **options)
    path = (tmp_path / "a.tif").rename(tmp_path / name)
    rows, _ = read(path)
    assert rows.size == values.shape[:2]
    assert np.abs(rows.values.astype(int) - files.decode(path).values).max() <= 3  # another inverse DCT


def test_a_jpeg_of_thousands_of_scans_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(noise(3)).save(path := tmp_path / "a.jpg", progressive=True)
    monkeypatch.setattr(formats, "MAX_PIXEL_SCANS", 61 * 47 * 5)
    with pytest.raises(ValueError, match=r"a.jpg: 47x61 pixels in \d+ scans, which is more than a picture needs"):
        giant.read(path, tmp_path)


def test_what_is_no_file_has_no_header(tmp_path: Path) -> None:
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "a.png")
        assert giant.header(tmp_path / "a.png") is None, "it would wait for somebody who writes"
    assert giant.header(tmp_path / "nowhere.png") is None


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_few_bytes_that_claim_to_be_a_giant_do_not_go_by_rows(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"x.{suffix}"
    Image.new("L", (40, 30)).save(file)
    data = file.read_bytes()
    assert giant.header(file) == giant.Header("PNG" if suffix == "png" else "JPEG", 30, 40)
    bytes_each, order = (4, (40, 30)) if suffix == "png" else (2, (30, 40))
    old, new = (b"".join(n.to_bytes(bytes_each, "big") for n in size) for size in (order, (30_000, 30_000)))
    assert data.count(old) == 1
    file.write_bytes(data.replace(old, new))
    assert giant.header(file) is None
    with pytest.raises(ValueError, match=r"30000x30000 pixels|checksum"):
        files.decode(file)
