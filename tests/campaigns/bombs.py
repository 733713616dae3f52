"""Small files that ask for much: for memory, for time, or for frames, metadata and directories without end."""

import io
import struct
import zlib
from collections.abc import Callable
from random import Random

from PIL import Image

from .mutations import PNG, jpeg_segments, png_chunks, png_of, with_jpeg_size
from .seeds import colour, saved, tiff_of

LIMIT = 178_956_970
"""Pixels. Some bombs have a little less, so that they are opened, some more."""

BLOCK = 2**24


def zeros(length: int) -> bytes:
    """So many zeros, deflated to a thousandth, in no time: a block of them is repeated."""
    packer = zlib.compressobj(1)
    first = packer.compress(bytes(BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    blocks, rest = divmod(length, BLOCK)
    body = first + block * (blocks - 1) if blocks else zlib.compress(b"", 1)[:2]
    last = zlib.compressobj(1, zlib.DEFLATED, -15)
    return body + last.compress(bytes(rest)) + last.flush() + struct.pack(">I", (length % 65521) << 16 | 1)


def sides(random: Random, most: int = 65_500) -> tuple[int, int]:
    """Width and height of a large picture: 100 to 900 megapixels, of any proportions."""
    pixels = random.choice((LIMIT - 1000, LIMIT + 100_000, random.randrange(10**8, 9 * 10**8)))
    width = min(most, random.choice((int(pixels**0.5), random.randrange(1000, 60_000), most)))
    return width, max(1, min(most, pixels // width))


Bomb = Callable[[Random], tuple[str, bytes]]
"""The suffix, and the file."""


def jpeg_header(random: Random) -> tuple[str, bytes]:
    mode, progressive = random.choice(("RGB", "L", "CMYK")), random.random() < 0.4
    exif = random.choice((b"", b"Exif\0\0MM\0*\0\0\0\x08\0\0"))
    data = saved(colour((16, 16)).convert(mode), "JPEG", progressive=progressive, exif=exif)
    return "jpg", with_jpeg_size(data, *random.choice((sides(random), (65_500, 65_500), (30_000, 30_000))))


def jpeg_scans(random: Random) -> tuple[str, bytes]:
    """Every scan of a progressive picture goes over all of its pixels again."""
    data = with_jpeg_size(
        saved(colour((16, 16)), "JPEG", progressive=True), *random.choice(((4000, 3000), (12_000, 12_000)))
    )
    *parts, scans = jpeg_segments(data)
    return "jpg", b"".join(parts) + scans.removesuffix(b"\xff\xd9") * random.choice((50, 500, 3000)) + b"\xff\xd9"


def png_pixels(random: Random) -> tuple[str, bytes]:
    bits, colours, channels = random.choice(
        ((1, 0, 1), (8, 0, 1), (8, 2, 3), (8, 6, 4), (16, 0, 1), (16, 2, 3), (16, 6, 4), (8, 3, 1), (8, 4, 2))
    )
    width, height = sides(random)
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, random.choice((0, 0, 1)))
    palette = [(b"PLTE", bytes(range(6))), (b"tRNS", b"\0")] if colours == 3 else []
    pixels = zeros(height * (1 + -(-width * bits * channels // 8)))
    return "png", png_of([(b"IHDR", header), *palette, (b"IDAT", pixels), (b"IEND", b"")])


def png_metadata(random: Random) -> tuple[str, bytes]:
    packed = zeros(random.choice((2**27, 2**30, 2**32)))
    name, content = random.choice(
        (
            (b"iCCP", b"x\0\0" + packed),
            (b"zTXt", b"x\0\0" + packed),
            (b"iTXt", b"x\0\1\0\0\0" + packed),
            (b"eXIf", b"MM\0*" + bytes(2**26)),
        )
    )
    first, *others = png_chunks(saved(colour(), "PNG"))
    return "png", png_of([first, *[(name, content)] * random.choice((1, 3)), *others])


def png_many_texts(random: Random) -> tuple[str, bytes]:
    first, *others = png_chunks(saved(colour(), "PNG"))
    return "png", png_of(
        [first, *[(b"tEXt", b"key%d\0" % i + bytes(90)) for i in range(random.choice((10**4, 10**5)))], *others]
    )


def png_frames(random: Random) -> tuple[str, bytes]:
    count = random.choice((10**5, 2**31 - 1))
    first, *others, last = png_chunks(saved(colour(), "PNG"))
    control = (b"acTL", struct.pack(">II", count, 0))
    frames = []
    for number in range(min(count, 10**5) // 2):
        frames.append((b"fcTL", struct.pack(">IIIIIHHBB", 2 * number, 45, 37, 0, 0, 1, 10, 0, 0)))
        frames.append((b"fdAT", struct.pack(">I", 2 * number + 1) + others[-1][1][:20]))
    return "png", png_of([first, control, *others, *frames, last])


def png_cut_short(random: Random) -> tuple[str, bytes]:
    """A header that promises a hundred megapixels and more, and a hundred bytes of them."""
    return "png", png_pixels(random)[1][: random.choice((60, 100, 1000))]


def tiff_pixels(random: Random) -> tuple[str, bytes]:
    width, height = sides(random)
    bits, channels = random.choice(((1, 1), (8, 1), (8, 3), (8, 4), (16, 1), (16, 3), (16, 4)))
    length = height * -(-width * bits * channels // 8)
    compression = random.choice((8, 32946))
    data = zeros(length)
    if len(data) % 2:
        data += b"\0"
    short, long = 3, 4
    tags = {256: (long, 1, width), 257: (long, 1, height), 258: (short, 1, bits), 259: (short, 1, compression)}
    tags |= {262: (short, 1, 2 if channels > 2 else 1), 277: (short, 1, channels), 273: (long, 1, 8)}
    tags |= {278: (long, 1, random.choice((height, 2**32 - 1, 16))), 279: (long, 1, len(data))}
    if channels > 1:
        tags[258] = (short, channels, 8 + len(data))
        bits_of_each = struct.pack(f"<{channels}H", *[bits] * channels)
        return "tif", tiff_of(tags, data + bits_of_each)
    return "tif", tiff_of(tags, data)


def tiff_huge_tag(random: Random) -> tuple[str, bytes]:
    """A tag that counts many values."""
    data = bytearray(saved(colour(), "TIFF", compression=random.choice(("raw", "tiff_lzw"))))
    at = struct.unpack_from("<I", data, 4)[0]
    entry = at + 2 + 12 * random.randrange(struct.unpack_from("<H", data, at)[0])
    struct.pack_into(
        "<HI", data, entry + 2, random.choice((1, 2, 3, 4, 5, 7, 12)), random.choice((2**20, 2**28, 2**31, 2**32 - 1))
    )
    return "tif", bytes(data) + bytes(random.choice((0, 2**26)))


def tiff_loop(random: Random) -> tuple[str, bytes]:
    """A directory that is followed by itself, or is its own part, or ten thousand of them."""
    data = bytes(1024)
    grey = {
        256: (3, 1, 32),
        257: (3, 1, 32),
        258: (3, 1, 8),
        259: (3, 1, 1),
        262: (3, 1, 1),
        273: (4, 1, 8),
        279: (4, 1, 1024),
    }
    start = 8 + len(data)
    if random.random() < 0.5:
        return "tif", tiff_of(grey | {random.choice((330, 34665, 34853, 40965)): (4, 1, start)}, data, following=start)
    directory, size = tiff_of(grey, data)[start:-4], 2 + 12 * len(grey) + 4
    pages = random.choice((10**4, 10**5))
    chain = b"".join(directory + struct.pack("<I", start + size * (page + 1)) for page in range(pages))
    return "tif", tiff_of(grey, data)[:start] + chain + directory + bytes(4)


def webp_header(random: Random) -> tuple[str, bytes]:
    data = bytearray(saved(colour(), "WEBP", lossless=(lossless := random.random() < 0.5)))
    if lossless:
        struct.pack_into("<I", data, data.index(b"VP8L") + 9, 16382 | 16382 << 14)
    else:
        struct.pack_into("<HH", data, data.index(b"\x9d\x01\x2a") + 3, 16383, 16383)
    return "webp", bytes(data)


def webp_frames(random: Random) -> tuple[str, bytes]:
    data = saved(colour((8, 8)), "WEBP", save_all=True, append_images=[colour((8, 8)).rotate(90)])
    at = data.index(b"ANMF")
    frame = data[at : at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")]
    body = data[8:at] + frame * random.choice((10**4, 10**5))
    if random.random() < 0.5:  # and a canvas that is large
        body = body.replace(
            b"VP8X\n\0\0\0" + body[12:16] + body[16:22], b"VP8X\n\0\0\0" + body[12:16] + b"\xff\x3f\0\xff\x3f\0"
        )
    return "webp", b"RIFF" + struct.pack("<I", len(body)) + body


def gif_screen(random: Random) -> tuple[str, bytes]:
    """A large screen, and a small picture in it or one that says it is as large."""
    data = bytearray(saved(colour((16, 16)), "GIF"))
    width, height = random.choice((sides(random), (65_535, 65_535), (20_000, 20_000)))
    struct.pack_into("<HH", data, 6, width, height)
    if random.random() < 0.5:
        at = data.rindex(b",\0\0\0\0\x10\0\x10\0")
        struct.pack_into("<HH", data, at + 5, width, height)
    return "gif", bytes(data)


def gif_frames(random: Random) -> tuple[str, bytes]:
    data = saved(colour((8, 8)).quantize(4), "GIF")
    at = data.rindex(b",\0\0\0\0")
    return "gif", data[:at] + data[at:-1] * random.choice((10**4, 10**5)) + b";"


def bmp_header(random: Random) -> tuple[str, bytes]:
    bits, compression = random.choice(((1, 0), (8, 0), (8, 1), (4, 2), (24, 0), (32, 3)))
    width, height = random.choice(
        (sides(random), (2**31 - 1, 2**31 - 1), (-(2**31), 100), (40_000, -40_000), (30_000, 30_000))
    )
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 256 if bits == 8 else 0, 0)
    body = b"\0" * 1024 + random.choice((b"", b"\0\1", b"\xff\x07" * 1000, b"\0\2\xff\xff" * 1000, bytes(2**20)))
    return "bmp", b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024) + header + body


def avif_header(random: Random) -> tuple[str, bytes]:
    data = bytearray(saved(colour(), "AVIF"))
    at = data.index(b"ispe")
    struct.pack_into(
        ">II", data, at + 8, *random.choice((sides(random), (65_535, 65_535), (2**32 - 1, 2**32 - 1), (1, 2**31)))
    )
    return "avif", bytes(data)


def avif_pixels(random: Random) -> tuple[str, bytes]:
    """A real one; 100 megapixels of one colour take seconds to write, and these take less."""
    side = random.choice((3000, 6000))
    return "avif", saved(Image.new("L", (side, side)), "AVIF", speed=10, quality=1)


def jpeg_metadata(random: Random) -> tuple[str, bytes]:
    """Thousands of segments of metadata, or EXIF that refers to itself."""
    start, *others = jpeg_segments(saved(colour(), "JPEG"))
    exif = (
        b"MM\0*\0\0\0\x08\0\2"
        + struct.pack(">HHII", 0x8769, 4, 1, 8)
        + struct.pack(">HHII", 0x0112, 3, 2**31, 8)
        + bytes(4)
    )
    many = random.choice((1, 200, 2000))
    contents = random.choice(
        (
            b"Exif\0\0" + exif,
            b"ICC_PROFILE\0\1\xff" + bytes(60_000),
            b"MPF\0" + exif,
            b"http://ns.adobe.com/xap/1.0/\0" + b"<" * 60_000,
        )
    )
    marker = 0xE2 if contents[:3] in (b"ICC", b"MPF") else 0xE1
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(contents) + 2) + contents
    return "jpg", start + segment * many + b"".join(others)


def turned_png(random: Random) -> tuple[str, bytes]:
    """Large, and to be turned upright, which needs a second copy of its pixels."""
    width, height = sides(random)
    exif = Image.Exif()
    exif[0x0112] = random.choice((2, 3, 5, 6, 8))
    stream = io.BytesIO(saved(Image.new("L", (1, 1)), "PNG", exif=exif))
    content = dict(png_chunks(stream.getvalue()))[b"eXIf"]
    channels, colours = random.choice(((1, 0), (3, 2), (4, 6)))
    header = struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)
    pixels = zeros(height * (1 + width * channels))
    return "png", png_of([(b"IHDR", header), (b"eXIf", content), (b"IDAT", pixels), (b"IEND", b"")])


def png_header_only(random: Random) -> tuple[str, bytes]:
    """Numbers that overflow when they are multiplied."""
    width, height = random.choice(
        ((2**31 - 1, 2**31 - 1), (2**32 - 1, 1), (1, 2**31 - 1), (0, 5), (2**16, 2**16), (2**24, 2**24))
    )
    header = struct.pack(">IIBBBBB", width, height, random.choice((1, 8, 16)), random.choice((0, 2, 6)), 0, 0, 0)
    return "png", PNG + png_of([(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")])[8:]


BOMBS: tuple[Bomb, ...] = (
    jpeg_header,
    jpeg_scans,
    jpeg_metadata,
    png_pixels,
    png_metadata,
    png_many_texts,
    png_frames,
    png_cut_short,
    png_header_only,
    turned_png,
    tiff_pixels,
    tiff_huge_tag,
    tiff_loop,
    webp_header,
    webp_frames,
    gif_screen,
    gif_frames,
    bmp_header,
    avif_header,
    avif_pixels,
)
