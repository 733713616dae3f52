"""Small pictures in every format that Pillow writes and in every mode that a format holds, and files that are none."""

import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin, features

from .mutations import png_of

SIZE = (45, 37)
Seed = tuple[str, bytes]
"""The format and what is special, such as `png-palette`; the file."""


def colour(size: tuple[int, int] = SIZE) -> Image.Image:
    """A picture with gradients, edges and noise."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 64, (height, width))
    return Image.fromarray(
        np.stack([x * 255 // width, y * 255 // height, (x // 8 + y // 8) % 2 * 190 + noise], -1).astype(np.uint8)
    )


def saved(image: Image.Image, name: str, /, **options: Any) -> bytes:
    """The file."""
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def opened() -> Iterator[Seed]:
    """Pictures that Diptych is to open, all formats and modes of them."""
    yield from _jpegs()
    yield from _pngs()
    yield from _webps()
    yield from _bmps()
    yield from _tiffs()
    yield from _gifs()
    if features.check("avif"):
        yield "avif", saved(colour(), "AVIF")
        yield "avif-alpha", saved(colour().convert("RGBA"), "AVIF", quality=30)
        yield "avif-frames", saved(colour(), "AVIF", save_all=True, append_images=[colour()])

    yield from _others()


def _others() -> Iterator[Seed]:
    """Formats that are read and never written."""
    picture = colour()
    for mode in ("RGB", "L", "1"):
        yield f"ppm-{mode}", saved(picture.convert(mode), "PPM")
    yield "ppm-plain", b"P3 3 1\n# a comment\n255\n" + b"1 2 3 " * 3
    yield "ppm-16", b"P6 9 8 1023\n" + np.arange(9 * 8 * 3, dtype=">u2").tobytes()
    for mode in ("RGB", "L", "P", "RGBA"):
        yield f"tga-{mode}", saved(picture.convert(mode), "TGA")
        yield f"tga-{mode}-packed", saved(picture.convert(mode), "TGA", compression="tga_rle")
    for mode in ("RGB", "L", "RGBA"):
        yield f"jp2-{mode}", saved(picture.convert(mode), "JPEG2000", quality_layers=[20, 5])
    yield "jp2-tiles", saved(picture, "JPEG2000", tile_size=(16, 16), no_jp2=True)
    encoded, data = cv2.imencode(".jp2", np.arange(45 * 37 * 3, dtype=np.uint16).reshape(37, 45, 3))
    assert encoded
    yield "jp2-16", data.tobytes()
    if find_spec("pillow_heif"):
        from pillow_heif import from_pillow

        from_pillow(picture).save(stream := io.BytesIO())
        yield "heic", stream.getvalue()


def known() -> dict[str, Any]:
    """What a file can know of itself, as options of Pillow."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x011A] = 3, "a description", 300
    exif.get_ifd(0x8769).update({0x829A: 0.008, 0x927C: bytes(40), 0xA002: SIZE[0]})
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 30.0, 0.0)})
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    [place] = struct.unpack_from(">I", profile, profile.index(b"rXYZ") + 4)
    struct.pack_into(">i", profile, place + 8, 40_000)  # another red than that of sRGB
    xmp = b"<x:xmpmeta><rdf:Description tiff:Orientation='3'/><xmp:Thumbnails>a</xmp:Thumbnails></x:xmpmeta>"
    return {"exif": exif, "icc_profile": bytes(profile), "xmp": xmp, "dpi": (300, 300)}


def _jpegs() -> Iterator[Seed]:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    picture = colour()
    yield "jpg", saved(picture, "JPEG")
    yield "jpg-progressive", saved(picture, "JPEG", progressive=True, quality=95)
    yield "jpg-444", saved(picture, "JPEG", subsampling=0, optimize=True)
    yield "jpg-grey", saved(picture.convert("L"), "JPEG")
    yield "jpg-cmyk", saved(picture.convert("CMYK"), "JPEG")
    yield "jpg-exif", saved(picture, "JPEG", exif=exif)
    yield "jpg-icc", saved(picture, "JPEG", icc_profile=bytes(70_000), comment=b"words")
    iptc = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\0\0\0\x08\x1c\x02\x19\0\x03cat"
    photoshop = b"\xff\xed" + struct.pack(">H", len(iptc) + 2) + iptc
    yield "jpg-known", saved(picture, "JPEG", **known(), extra=photoshop, comment=b"words")
    yield "jpg-restart", saved(picture, "JPEG", restart_marker_blocks=2)
    yield "jpg-mpo", saved(picture, "MPO", save_all=True, append_images=[colour((20, 20))])


def _pngs() -> Iterator[Seed]:
    picture = colour()
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "words", zip=True)
    text.add_itxt("Author", "somebody", "en", "", zip=True)
    yield "png", saved(picture, "PNG")
    for mode in ("1", "L", "LA", "P", "RGBA", "I;16"):
        yield (
            f"png-{mode}",
            saved(picture.convert("L").convert(mode) if mode == "I;16" else picture.convert(mode), "PNG"),
        )
    for bits in (1, 2, 4):
        yield f"png-palette-{bits}", saved(picture.quantize(2**bits), "PNG", bits=bits)
    yield "png-transparent-grey", saved(picture.convert("L"), "PNG", transparency=7)
    yield "png-transparent-palette", saved(picture.quantize(8), "PNG", transparency=bytes(range(8)))
    yield "png-transparent-colour", saved(picture, "PNG", transparency=(1, 2, 3))
    yield "png-text", saved(picture, "PNG", pnginfo=text, icc_profile=bytes(500), dpi=(72, 72))
    yield (
        "png-frames",
        saved(picture, "PNG", save_all=True, append_images=[picture.rotate(90), colour((20, 20)).resize(SIZE)]),
    )
    yield "png-known", saved(picture, "PNG", pnginfo=text, **known())
    exif = Image.Exif()
    exif[0x0112] = 8
    yield "png-exif", saved(picture, "PNG", exif=exif)
    for colours, name in ((2, "rgb"), (6, "rgba")):
        yield f"png-16-{name}", png_16(colours)


def png_16(colours: int) -> bytes:
    """A PNG with 16 bits a channel; `colours` is PNG's own number for RGB (2) or RGBA (6)."""
    width, height = SIZE
    row = b"\0" + np.arange(width * (3 if colours == 2 else 4), dtype=">u2").tobytes()
    header = struct.pack(">IIBBBBB", width, height, 16, colours, 0, 0, 0)
    return png_of([(b"IHDR", header), (b"IDAT", zlib.compress(row * height)), (b"IEND", b"")])


def _webps() -> Iterator[Seed]:
    picture = colour()
    yield "webp", saved(picture, "WEBP")
    yield "webp-lossless", saved(picture, "WEBP", lossless=True)
    yield "webp-alpha", saved(picture.convert("RGBA"), "WEBP", exif=b"Exif\0\0MM\0*", icc_profile=bytes(300))
    yield "webp-known", saved(picture, "WEBP", **known())
    yield "webp-frames", saved(picture, "WEBP", save_all=True, append_images=[picture.rotate(90)], duration=10)


def _bmps() -> Iterator[Seed]:
    picture = colour()
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield f"bmp-{mode}", saved(picture.convert(mode), "BMP")
    yield "bmp-dib", b"BM" + bytes(8) + struct.pack("<I", 54) + saved(picture, "DIB")
    data = bytearray(saved(picture.convert("L"), "BMP"))
    struct.pack_into("<I", data, 30, 1)  # says that it is run-length encoded
    yield "bmp-rle", bytes(data)


def _tiffs() -> Iterator[Seed]:
    picture = colour()
    compressions = [
        "raw",
        "tiff_lzw",
        "packbits",
        "tiff_adobe_deflate",
        "tiff_deflate",
        "jpeg",
        "lzma",
        "zstd",
        "tiff_ccitt",
        "group3",
        "group4",
        "tiff_raw_16",
    ]
    for compression in compressions:
        for mode in ("RGB", "L", "1", "P", "RGBA", "CMYK", "LA"):
            with suppress(Exception):  # not every kind holds every mode
                yield f"tif-{compression}-{mode}", saved(picture.convert(mode), "TIFF", compression=compression)
    yield "tif-16", saved(picture.convert("L").convert("I;16"), "TIFF")
    yield "tif-float", saved(picture.convert("F"), "TIFF")
    yield "tif-32", saved(picture.convert("I"), "TIFF")
    yield "tif-big", saved(picture, "TIFF", big_tiff=True)
    yield "tif-pages", saved(picture, "TIFF", save_all=True, append_images=[picture.convert("L"), colour((9, 9))])
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[0x0112], info[270], info[700] = 6, "a description", b"<x:xmpmeta/>"
    yield "tif-tags", saved(picture, "TIFF", tiffinfo=info, compression="tiff_lzw")
    info[33550], info.tagtype[33550] = (1.0, 1.0, 0.0), 12  # GeoTIFF
    yield "tif-known", saved(picture, "TIFF", tiffinfo=info, **known())
    deep = np.arange(37 * 45 * 3, dtype=np.uint16).reshape(37, 45, 3)
    for channels in (3, 4):
        encoded, data = cv2.imencode(".tiff", np.concatenate([deep, deep[..., :1]], -1)[..., :channels])
        assert encoded
        yield f"tif-16-{channels}", data.tobytes()
    for channels in (2, 3, 5):
        for planes in ("contig", "separate"):
            for compression in ("none", "zlib"):
                values = np.arange(37 * 45 * channels, dtype=np.uint16).reshape(37, 45, channels)
                values = np.moveaxis(values, -1, 0) if planes == "separate" else values
                options: dict[str, Any] = {
                    "photometric": "miniswhite",
                    "planarconfig": planes,
                    "compression": compression,
                }
                tifffile.imwrite(stream := io.BytesIO(), np.ascontiguousarray(values), **options)
                yield f"tif-{channels}-{planes}-{compression}", stream.getvalue()
    yield from _laid_out_tiffs()


def tiff_of(tags: dict[int, tuple[int, int, int]], data: bytes, following: int = 0) -> bytes:
    """A little-endian TIFF whose pixels begin at byte 8; a tag is its type, count and value."""
    start = 8 + len(data) + len(data) % 2
    entries = b"".join(
        struct.pack("<HHII", tag, *(min(value, 2**32 - 1) for value in values)) for tag, values in sorted(tags.items())
    )
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", start) + data.ljust(start - 8, b"\0") + directory


def _laid_out_tiffs() -> Iterator[Seed]:
    """In tiles, and with each channel by itself."""
    short, long = 3, 4
    grey = {256: (short, 1, 32), 257: (short, 1, 32), 258: (short, 1, 8), 259: (short, 1, 1), 262: (short, 1, 1)}
    tiles = {322: (short, 1, 32), 323: (short, 1, 32), 324: (long, 1, 8), 325: (long, 1, 1024)}
    yield "tif-tiles", tiff_of(grey | tiles, bytes(range(256)) * 4)
    data = bytes(range(256)) * 12 + struct.pack("<3H3I3I", 8, 8, 8, 8, 1032, 2056, 1024, 1024, 1024)
    at = 8 + 3072
    planes = {258: (short, 3, at), 262: (short, 1, 2), 277: (short, 1, 3), 284: (short, 1, 2)}
    planes |= {273: (long, 3, at + 6), 278: (short, 1, 32), 279: (long, 3, at + 18)}
    yield "tif-planes", tiff_of(grey | planes, data)


def _gifs() -> Iterator[Seed]:
    picture = colour()
    yield "gif", saved(picture, "GIF")
    yield "gif-transparent", saved(picture.quantize(8), "GIF", transparency=3, interlace=1)
    yield "gif-frames", saved(picture, "GIF", save_all=True, append_images=[picture.rotate(90), colour((9, 9))])


# ---- what is never opened, whatever its name says

BY_HAND: dict[str, bytes] = {
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n%%EOF\n",
    "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>1</script></svg>',
    "xpm": b'/* XPM */\nstatic char *x[] = {\n"2 1 2 1",\n"a c #FF0000",\n"b c #00FF00",\n"ab"\n};\n',
    "fits": b"".join(
        line.ljust(80)
        for line in (b"SIMPLE  = T", b"BITPIX  = 8", b"NAXIS   = 2", b"NAXIS1  = 9", b"NAXIS2  = 9", b"END")
    ).ljust(2880)
    + bytes(2880),
    "grib": b"GRIB\0\0\0\1" + bytes(100),
    "bufr": b"BUFR\0\0\0\4" + bytes(100),
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(500),
    "wmf": b"\xd7\xcd\xc6\x9a\0\0\0\0\0\0\x64\0\x64\0\x48\0" + bytes(100),
    "psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 9, 9, 8, 3) + bytes(12) + bytes(2 + 9 * 9 * 3),
    "dcx": b"\xb1\x68\xde\x3a" + bytes(100),
    "fli": struct.pack("<IHHHHHHI", 200, 0xAF11, 1, 9, 9, 8, 3, 70) + bytes(108),
    "ftex": b"FTEX" + bytes(100),
    "mcidas": b"\0\0\0\0\0\0\0\4" + bytes(248),
    "pcd": b"PCD_" + bytes(3000),
    "pixar": b"\200\350\0\0" + bytes(1100),
    "wal": bytes(200),
    "mpeg": b"\0\0\1\xb3" + bytes(100),
    "xv": b"P7 332\n#END_OF_COMMENTS\n2 1 255\nab",
    "im": b"Image type: RGB image\r\nImage size (x*y): 9*9\r\n".ljust(511, b"\0") + b"\x1a" + bytes(243),
    "html": b"<!doctype html><title>not found</title>",
    "zip": b"PK\3\4" + bytes(60),
    "text": b"words, and no picture\n",
    "zeros": bytes(1000),
    "nothing": b"",
    "gz": gzip.compress(saved(colour(), "PNG")),
}


def refused() -> Iterator[Seed]:
    """Files in formats that are not opened."""
    picture = colour((32, 32))
    formats = [
        "BLP",
        "DDS",
        "EPS",
        "ICNS",
        "ICO",
        "IM",
        "MSP",
        "PALM",
        "PCX",
        "PDF",
        "QOI",
        "SGI",
        "SPIDER",
        "TGA",
        "XBM",
    ]
    for name in formats:
        for mode in ("RGB", "L", "P", "1", "F"):
            with suppress(Exception):  # not every format holds every mode
                yield f"{name.lower()}-{mode}", saved(picture.convert(mode), name)
                break
    yield from BY_HAND.items()
