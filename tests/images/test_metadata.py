"""What a file knows of itself goes along. It is read back by others: Pillow, tifffile and, where it is there, exiftool."""

import io
import json
import shutil
import struct
import subprocess
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, JpegImagePlugin, PngImagePlugin

from diptych.images import files, metadata
from diptych.images.files import Array, Pixels

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
    b' tiff:Orientation="6" xmp:Rating="4">%b</rdf:Description></rdf:RDF></x:xmpmeta>'
)
THUMBNAIL = b"<xmp:Thumbnails>the old face</xmp:Thumbnails>"
IPTC = b"\x1c\x02\x19\x00\x03cat"
GEO: Mapping[int, tuple[str, Any]] = {
    33550: ("d", (0.5, 0.5, 0.0)),
    33922: ("d", (0.0, 0.0, 0.0, 440720.0, 3751320.0, 0.0)),
    34735: ("H", (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32611)),
    34736: ("d", (6378137.0, 298.257223563)),
    34737: ("s", "WGS 84|"),
}
OTHERS: Mapping[int, tuple[str, Any]] = {
    306: ("s", "2024:05:06 07:08:09"),
    315: ("s", "Ansel"),
    33432: ("s", "(c) Ansel"),
    42112: ("s", "<GDALMetadata><Item name='a'>b</Item></GDALMetadata>"),
    42113: ("s", "-9999"),
    60001: ("I", (1, 2**31, 3)),
    60002: ("h", (-1, 2)),
}


def noise(*shape: int, bits: int = 8) -> Array:
    return np.random.default_rng(0).integers(0, 2**bits, shape).astype(np.uint8 if bits == 8 else np.uint16)


def opened(path: Path) -> Any:
    """A Pillow image of any of its classes, closed by `with`."""
    return Image.open(path)


def opened_tiff(path: Path) -> Any:
    """By tifffile, closed by `with`."""
    return tifffile.TiffFile(path)


def rewritten(source: Path, suffix: str) -> tuple[Path, list[str]]:
    """The same picture in another file, and what was lost."""
    target = source.with_name(f"out{suffix}")
    pixels, known = files.decode_to_rewrite(source)
    return target, files.encode(pixels, target, known)


def camera_exif(orientation: int = 6, order: str = ">") -> bytes:
    """EXIF data as a camera writes them, by hand: a directory, those of EXIF and GPS, a thumbnail."""

    def directory(entries: list[tuple[int, int, int, bytes]], following: int) -> bytes:
        rows = b"".join(
            struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0") for tag, kind, count, value in entries
        )
        return struct.pack(order + "H", len(entries)) + rows + struct.pack(order + "I", following)

    def at(place: int) -> bytes:
        return struct.pack(order + "I", place)

    short = struct.Struct(order + "H").pack
    first = [
        (0x010F, 2, 4, b"Own\0"),
        (0x0110, 2, 8, at(200)),
        (0x0112, 3, 1, short(orientation)),
        (0x8769, 4, 1, at(230)),
        (0x8825, 4, 1, at(300)),
    ]
    exif = [
        (0x829A, 5, 1, at(208)),
        (0x927C, 7, 4, b"\1\2\3\4"),
        (0xA002, 3, 1, short(12)),
        (0xA003, 4, 1, struct.pack(order + "I", 8)),
    ]
    gps = [(1, 2, 2, b"N\0"), (2, 5, 3, at(340))]
    thumbnail = [(0x0201, 4, 1, at(430)), (0x0202, 4, 1, at(9))]
    parts = {
        8: directory(first, 380),
        200: b"Model 1\0" + struct.pack(order + "II", 1, 125),
        230: directory(exif, 0),
        300: directory(gps, 0),
        340: struct.pack(order + "6I", 48, 1, 30, 1, 0, 1),
        380: directory(thumbnail, 0),
        430: b"\xff\xd8old\xff\xd9!!",
    }
    whole = bytearray(439)
    whole[:8] = (b"MM" if order == ">" else b"II") + struct.pack(order + "HI", 42, 8)
    for place, part in parts.items():
        whole[place : place + len(part)] = part
    return bytes(whole)


def camera_jpeg(path: Path, profile: bytes, order: str = ">", orientation: int = 6) -> None:
    resource = b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(IPTC)) + IPTC + bytes(len(IPTC) % 2)
    segment = b"Photoshop 3.0\0" + resource
    Image.fromarray(noise(8, 12, 3)).save(
        path,
        exif=b"Exif\0\0" + camera_exif(orientation, order),
        xmp=XMP % THUMBNAIL,
        icc_profile=profile,
        dpi=(300, 300),
        comment=b"hello",
        extra=b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment,
        quality=71,
        subsampling="4:2:2",
        progressive=True,
    )


def map_tiff(path: Path, values: Array, profile: bytes, order: Any = "<", **options: Any) -> None:
    count = {"s": lambda value: 0, "d": len, "H": len, "I": len, "h": len}
    tags = [(tag, kind, count[kind](value), value, True) for tag, (kind, value) in {**GEO, **OTHERS}.items()]
    tifffile.imwrite(
        path,
        values,
        photometric="rgb" if values.ndim == 3 else "minisblack",
        iccprofile=profile or None,
        resolution=(600, 600),
        resolutionunit="INCH",
        description="A map",
        software="a scanner",
        metadata=None,
        byteorder=order,
        extratags=tags,
        **options,
    )


# ---- the archive: what comes back is what went in


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("grey", [False, True])
def test_a_map_comes_back_whole(tmp_path: Path, display_p3: bytes, order: str, bits: int, grey: bool) -> None:
    values = noise(9, 7, bits=bits) if grey else noise(9, 7, 3, bits=bits)
    map_tiff(tmp_path / "in.tif", values, b"" if grey else display_p3, order)
    target, lost = rewritten(tmp_path / "in.tif", ".tif")
    assert lost == []
    with opened_tiff(tmp_path / "in.tif") as before, opened_tiff(target) as after:
        np.testing.assert_array_equal(after.asarray(), values)
        was, now = before.pages[0].tags, after.pages[0].tags
        lies = {256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 339}
        assert {tag.code: (tag.dtype, tag.value) for tag in was if tag.code not in lies} == {
            tag.code: (tag.dtype, tag.value) for tag in now if tag.code not in lies
        }
        assert now[282].value == (600, 1)
        assert before.geotiff_metadata == after.geotiff_metadata


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_photograph_comes_back_whole(tmp_path: Path, display_p3: bytes, order: str) -> None:
    camera_jpeg(tmp_path / "in.jpg", display_p3, order)
    target, lost = rewritten(tmp_path / "in.jpg", ".jpg")
    assert lost == []
    with opened(tmp_path / "in.jpg") as before, opened(target) as after:
        assert after.size == (8, 12)  # upright
        assert (after.info["icc_profile"], after.info["dpi"]) == (display_p3, (300, 300))
        assert after.info["comment"] == b"hello"
        assert after.info["photoshop"][0x0404] == IPTC
        assert after.info["xmp"] == (XMP % b"").replace(b'Orientation="6"', b'Orientation="1"')
        assert after.quantization == before.quantization
        assert JpegImagePlugin.get_sampling(after) == JpegImagePlugin.get_sampling(before) == 1
        assert after.info["progressive"]
        _as_the_camera(after.getexif())
    assert b"old" not in target.read_bytes()  # the thumbnail


def _as_the_camera(exif: Image.Exif) -> None:
    assert (exif[0x010F], exif[0x0110], exif[0x0112]) == ("Own", "Model 1", 1)
    assert exif.get_ifd(0x8769) | {} == {0x829A: 1 / 125, 0x927C: b"\1\2\3\4", 0xA002: 8, 0xA003: 12}
    assert exif.get_ifd(0x8825) == {1: "N", 2: (48.0, 30.0, 0.0)}


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_a_photograph_in_another_format(tmp_path: Path, display_p3: bytes, suffix: str) -> None:
    camera_jpeg(tmp_path / "in.jpg", display_p3)
    target, lost = rewritten(tmp_path / "in.jpg", suffix)
    assert (
        lost
        == {
            ".png": ["IPTC data"],
            ".webp": ["IPTC data", "the resolution", "the comment"],
            ".tif": ["the comment"],
        }[suffix]
    )
    with opened(target) as after:
        after.load()
        assert after.info["icc_profile"] == display_p3
        assert b"Rating" in (after.info.get("xmp") or b"")
        if suffix != ".webp":
            assert [round(dpi) for dpi in after.info["dpi"]] == [300, 300]
        if suffix == ".png":
            assert after.text["Comment"] == "hello"
        if suffix == ".tif":
            assert after.tag_v2[33723] == IPTC
        _as_the_camera(after.getexif())
    assert b"old" not in target.read_bytes()


def test_a_png_comes_back_whole(tmp_path: Path, display_p3: bytes) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "A cat")
    texts.add_itxt("Titre", "Un chat à l’œil", "fr", "Titre")
    texts.add_text("parameters", "steps: 20", zip=True)
    texts.add_itxt("XML:com.adobe.xmp", (XMP % b"").decode())
    Image.fromarray(noise(8, 12, 4)).save(
        tmp_path / "in.png", pnginfo=texts, icc_profile=display_p3, dpi=(300, 72), exif=camera_exif(1)
    )
    target, lost = rewritten(tmp_path / "in.png", ".png")
    assert lost == []
    with opened(tmp_path / "in.png") as before, opened(target) as after:
        for image in (before, after):
            image.load()
        was, now = dict(before.text), dict(after.text)
        assert now.pop("XML:com.adobe.xmp") == was.pop("XML:com.adobe.xmp").replace('"6"', '"1"')
        assert now == was
        assert after.text["Titre"].lang == "fr"
        assert (after.info["icc_profile"], after.info["dpi"]) == (display_p3, before.info["dpi"])
        np.testing.assert_array_equal(np.asarray(before), np.asarray(after))
        assert after.getexif()[0x0110] == "Model 1"


def test_texts_behind_the_pixels_are_found_and_damaged_ones_mended(tmp_path: Path) -> None:
    Image.fromarray(noise(8, 12, 3)).save(tmp_path / "in.png")
    text = b"tEXtTitle\0A cat"
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    data = (tmp_path / "in.png").read_bytes()
    (tmp_path / "in.png").write_bytes(data[:-12] + chunk + data[-12:])
    target, _ = rewritten(tmp_path / "in.png", ".png")
    with opened(target) as after:
        assert after.text == {"Title": "A cat"}


def test_exif_as_image_magick_put_it_into_a_png(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    exif = b"Exif\0\0" + camera_exif()
    texts.add_text("Raw profile type exif", f"\nexif\n{len(exif):8d}\n{exif.hex()}\n", zip=True)
    Image.fromarray(noise(8, 12, 3)).save(tmp_path / "in.png", pnginfo=texts)
    target, _ = rewritten(tmp_path / "in.png", ".png")
    with opened(target) as after:
        assert after.size == (8, 12)
        assert after.text == {}
        _as_the_camera(after.getexif())


@pytest.mark.parametrize(("source", "target"), [(".jpg", ".jpg"), (".tif", ".tif"), (".png", ".png"), (".tif", ".png")])
def test_exiftool_reads_the_same(tmp_path: Path, display_p3: bytes, source: str, target: str) -> None:
    if not shutil.which("exiftool"):
        pytest.skip("exiftool is not installed")
    before = tmp_path / f"in{source}"
    if source == ".jpg":
        camera_jpeg(before, display_p3, orientation=1)
    elif source == ".tif":
        map_tiff(before, noise(9, 7, 3, bits=16), display_p3, compression="deflate")
    else:
        Image.fromarray(noise(8, 12, 3)).save(before, icc_profile=display_p3, dpi=(600, 600), exif=camera_exif(1))
    after, _ = rewritten(before, target)
    was, now = _by_exiftool(before), _by_exiftool(after)
    lies = {"StripOffsets", "StripByteCounts", "RowsPerStrip", "Predictor", "SampleFormat", "Compression"}
    lies |= {"ThumbnailOffset", "ThumbnailLength", "ThumbnailImage", "Thumbnails"}
    if target != source:
        lies |= {"GDALMetadata", "GDALNoData", "GeoTiffVersion", "GTModelType", "GTRasterType", "ProjectedCSType"}
        lies |= {"ModelTiePoint", "PixelScale", "BitsPerSample", "PhotometricInterpretation", "SamplesPerPixel"}
        lies |= {"PlanarConfiguration", "MIMEType", *(name for name in was if name.startswith("Exif_0xea6"))}
    of_the_picture = {"ExifImageWidth": 12, "ExifImageHeight": 8} if source == ".jpg" else {}
    kept = {name: value for name, value in (was | of_the_picture).items() if name not in lies}
    assert {name: (value, now.get(name)) for name, value in kept.items() if now.get(name) != value} == {}
    assert len(kept) > 20


def _by_exiftool(path: Path) -> dict[str, Any]:
    done = subprocess.run(["exiftool", "-j", "-n", "-b", path], capture_output=True, check=True)
    [found] = json.loads(done.stdout)
    skipped = ("File", "Directory", "SourceFile", "ExifToolVersion", "ProfileName", "JFIF", "PixelUnits")
    return {name: value for name, value in found.items() if not name.startswith(skipped)}


# ---- how it was compressed


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("compression", "number"), [("raw", 1), ("tiff_lzw", 5), ("tiff_adobe_deflate", 8), ("packbits", 32773)]
)
def test_a_tiff_keeps_its_compression(tmp_path: Path, bits: int, compression: str, number: int) -> None:
    picture = Pixels(noise(9, 7, 3, bits=bits))
    known = metadata.Metadata((9, 7), "TIFF", compression={"compression": compression})
    files.encode(picture, tmp_path / "in.tif", known)
    target, lost = rewritten(tmp_path / "in.tif", ".tif")
    assert lost == []
    with opened_tiff(target) as after:
        assert after.pages[0].tags[259].value == number
    np.testing.assert_array_equal(files.decode(target).values, picture.values)


def test_what_was_compressed_with_loss_in_a_tiff_is_said(tmp_path: Path) -> None:
    Image.fromarray(noise(32, 32, 3)).save(tmp_path / "in.tif", compression="jpeg")
    target, lost = rewritten(tmp_path / "in.tif", ".tif")
    assert lost == ["the compression with loss"]
    np.testing.assert_array_equal(files.decode(target).values, files.decode(tmp_path / "in.tif").values)


def test_a_webp_without_loss_stays_so(tmp_path: Path) -> None:
    values = noise(16, 16, 4)
    Image.fromarray(values).save(tmp_path / "in.webp", lossless=True, exact=True)
    target, _ = rewritten(tmp_path / "in.webp", ".webp")
    with opened(target) as after:
        np.testing.assert_array_equal(np.asarray(after), values)


def test_a_quality_that_is_asked_for(tmp_path: Path, display_p3: bytes) -> None:
    camera_jpeg(tmp_path / "in.jpg", display_p3)
    pixels, known = files.decode_to_rewrite(tmp_path / "in.jpg")
    files.encode(pixels, tmp_path / "out.jpg", known, quality=40)
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "want.jpg", quality=40)
    with opened(tmp_path / "out.jpg") as after, opened(tmp_path / "want.jpg") as want:
        assert after.quantization == want.quantization
        assert JpegImagePlugin.get_sampling(after) == 1


# ---- what is not true any more, or cannot be held


def test_a_position_is_that_of_one_size(tmp_path: Path, display_p3: bytes) -> None:
    map_tiff(tmp_path / "in.tif", noise(9, 7, 3), display_p3)
    pixels, known = files.decode_to_rewrite(tmp_path / "in.tif")
    half = Pixels(pixels.values[:4, :3])
    assert files.encode(half, tmp_path / "out.tif", known) == ["the GeoTIFF position, which is that of another size"]
    with opened_tiff(tmp_path / "out.tif") as after:
        tags = after.pages[0].tags
        assert not {33550, 33922, 34735} & set(tags.keys())
        assert tags[42113].value == "-9999"


def test_a_position_of_a_turned_picture(tmp_path: Path) -> None:
    map_tiff(tmp_path / "in.tif", noise(9, 7, 3), b"")
    tifffile.imwrite(
        tmp_path / "in.tif",
        noise(9, 9, 3),
        photometric="rgb",
        extratags=[(274, "H", 1, 3, True), (33550, "d", 3, (1.0, 1.0, 0.0), True)],
    )
    target, lost = rewritten(tmp_path / "in.tif", ".tif")
    assert lost == ["the GeoTIFF position of a picture that did not lie upright"]
    with opened_tiff(target) as after:
        assert not {274, 33550} & set(after.pages[0].tags.keys())


def test_a_description_of_how_the_pixels_lay(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", noise(3, 9, 7), imagej=True)
    target, lost = rewritten(tmp_path / "in.tif", ".tif")
    assert lost == ["the description by ImageJ or OME"]
    assert tifffile.imread(target).shape == (9, 7)


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_depth_and_transparency_are_said(tmp_path: Path, suffix: str) -> None:
    alpha = np.full((9, 7), 65535, np.uint16)
    opaque = files.encode(Pixels(noise(9, 7, 3, bits=16), alpha), tmp_path / f"a{suffix}")
    assert opaque == ["16 bits"]
    alpha[0, 0] = 0
    assert files.encode(Pixels(noise(9, 7, 3, bits=16), alpha), tmp_path / f"a{suffix}") == ["16 bits", "transparency"]


@pytest.mark.parametrize(("suffix", "side"), [(".jpg", 65_501), (".webp", 16_384)])
def test_a_side_that_a_format_does_not_have(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str, side: int
) -> None:
    with pytest.raises(ValueError, match=rf"a{suffix}: {side}x1 pixels, and .* at most .* write PNG or TIFF"):
        files.encode(Pixels(noise(1, side, 1)), tmp_path / f"a{suffix}")
    assert capfd.readouterr() == ("", "")


def test_what_is_too_large_for_a_jpeg_is_said(tmp_path: Path) -> None:
    known = metadata.Metadata((9, 7), exif=camera_exif() + bytes(70_000), xmp=bytes(70_000), comment=bytes(70_000))
    lost = files.encode(Pixels(noise(9, 7, 3)), tmp_path / "a.jpg", known)
    assert lost == [f"{word}, which are too many bytes" for word in ("EXIF data", "XMP data", "the comment")]
    with opened(tmp_path / "a.jpg") as after:
        assert not after.getexif()


def test_stripping_leaves_the_colours(tmp_path: Path, display_p3: bytes) -> None:
    camera_jpeg(tmp_path / "in.jpg", display_p3)
    pixels, known = files.decode_to_rewrite(tmp_path / "in.jpg")
    assert files.encode(pixels, tmp_path / "out.jpg", known.without_all_but_colours()) == []
    data = (tmp_path / "out.jpg").read_bytes()
    assert not any(part in data for part in (b"Exif", b"xap", b"Photoshop", b"hello"))
    with opened(tmp_path / "out.jpg") as after:
        assert after.info["icc_profile"] == display_p3


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_damaged_profile_is_said_and_left_out(tmp_path: Path, mode: str, display_p3: bytes) -> None:
    Image.new(mode, (8, 8)).save(tmp_path / "in.png", icc_profile=display_p3[:140])
    target, lost = rewritten(tmp_path / "in.png", ".png")
    assert lost == ["a colour profile that is damaged, or of another kind than the picture"]
    with opened(target) as after:
        assert "icc_profile" not in after.info


def test_cmyk_is_said(tmp_path: Path, cmyk_profile: bytes) -> None:
    Image.new("CMYK", (8, 8)).save(tmp_path / "in.jpg", icc_profile=cmyk_profile)
    target, lost = rewritten(tmp_path / "in.jpg", ".jpg")
    assert lost == ["CMYK, which is RGB now"]
    with opened(target) as after:
        assert "icc_profile" not in after.info


# ---- what is made to break it


@pytest.mark.filterwarnings("ignore")  # Pillow warns of it
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), order=st.sampled_from("<>"), suffix=st.sampled_from([".jpg", ".png", ".tif", ".webp"]))
def test_damaged_exif_costs_itself(tmp_path: Path, data: st.DataObject, order: str, suffix: str) -> None:
    """Whatever the EXIF data say, the picture is written, and what is written can be read."""
    exif = bytearray(camera_exif(1, order))
    for _ in range(data.draw(st.integers(1, 4))):
        exif[data.draw(st.integers(0, len(exif) - 1))] = data.draw(st.integers(0, 255))
    exif = exif[: data.draw(st.integers(0, len(exif)))]
    file = io.BytesIO()
    Image.fromarray(noise(8, 8, 3)).save(file, "JPEG", exif=b"Exif\0\0" + bytes(exif))
    pixels = files.decode_bytes(file.getvalue(), "x")
    files.encode(pixels, tmp_path / f"out{suffix}", metadata.read(file.getvalue(), pixels.size))
    again = files.decode(tmp_path / f"out{suffix}")
    assert again.size == pixels.size  # it lies as it was decoded: the rotation is not applied twice
    if suffix in (".png", ".tif"):
        np.testing.assert_array_equal(again.values, pixels.values)


def test_entries_that_share_their_bytes_are_no_bomb(tmp_path: Path) -> None:
    """A thousand tags of the same megabyte: a gigabyte, if each were kept."""
    size, count = 2**20, 1000
    rows = b"".join(struct.pack("<HHII", 40000 + number, 7, size, 8 + 2 + 12 * count + 4) for number in range(count))
    exif = b"II*\0\x08\0\0\0" + struct.pack("<H", count) + rows + bytes(4) + bytes(size)
    known = metadata.Metadata((8, 8), "JPEG", exif=exif)
    files.encode(Pixels(noise(8, 8, 3)), tmp_path / "a.tif", known)
    assert (tmp_path / "a.tif").stat().st_size < 2**25


# ---- several pictures in a JPEG


def test_a_second_picture_in_a_jpeg_is_said_and_the_rest_is_kept(tmp_path: Path, display_p3: bytes) -> None:
    camera_jpeg(tmp_path / "in.jpg", display_p3)
    with opened(tmp_path / "in.jpg") as one:
        options = {"icc_profile": display_p3, "exif": one.info["exif"], "quality": 71, "subsampling": "4:2:2"}
        one.save(tmp_path / "two.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", one.size)], **options)
    target, lost = rewritten(tmp_path / "two.jpg", ".jpg")
    assert lost == ["the second picture in the file"]
    with opened(tmp_path / "two.jpg") as before, opened(target) as after:
        assert (before.format, after.format) == ("MPO", "JPEG")
        assert after.quantization == before.quantization
        assert after.info["icc_profile"] == display_p3
        _as_the_camera(after.getexif())


def test_what_is_not_there_any_more_is_not_promised(tmp_path: Path) -> None:
    """A gain map, and the film of a motion photo: a viewer would look for them."""
    told = b'GCamera:MotionPhoto="1" hdrgm:Version="1.0"><Container:Directory>two</Container:Directory><a'
    Image.new("RGB", (8, 8)).save(
        tmp_path / "in.jpg", xmp=(XMP % b"").replace(b'xmp:Rating="4">', b'xmp:Rating="4" ' + told + b"/>")
    )
    target, lost = rewritten(tmp_path / "in.jpg", ".jpg")
    assert lost == ["the film of a motion photo"]
    with opened(target) as after:
        assert b'GCamera:MotionPhoto="0"><a/>' in after.info["xmp"]
