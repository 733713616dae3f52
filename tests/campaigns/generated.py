"""Pictures made up from the grammar of a format: every combination of its numbers, of which few programs write most."""

import struct
import zlib
from random import Random

from .bombs import Bomb
from .mutations import png_of
from .seeds import tiff_of

PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of interlaced PNGs: the first column and row, and the steps between columns and rows."""


def odd_png(random: Random) -> tuple[str, bytes]:
    """Any depth, any colour type, interlaced or not, with chunks that may not suit it."""
    bits, colours = random.choice((1, 2, 4, 8, 8, 16, 16)), random.choice((0, 2, 3, 4, 6))
    if colours != 0 and random.random() < 0.9:  # most are as they may be
        bits = random.choice((1, 2, 4, 8)) if colours == 3 else random.choice((8, 16))
    width, height, interlaced = random.randrange(1, 40), random.randrange(1, 40), random.random() < 0.4
    depth = bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours]
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    rows = bytearray()
    for left, top, across, down in passes:
        columns = -(-(width - left) // across)
        for _ in range(-(-(height - top) // down) if columns > 0 else 0):
            rows += bytes([random.choice((0, 0, 1, 2, 3, 4))]) + random.randbytes(-(-columns * depth // 8))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, interlaced))]
    chunks += _odd_chunks(random, colours)
    data = zlib.compress(bytes(rows))
    cut = random.randrange(len(data))
    chunks += [(b"IDAT", data[:cut]), (b"IDAT", data[cut:])]
    chunks += _odd_chunks(random, colours)[:1] if random.random() < 0.1 else []
    return "png", png_of([*chunks, (b"IEND", b"")])


def _odd_chunks(random: Random, colours: int) -> list[tuple[bytes, bytes]]:
    chunks = []
    if colours == 3 or random.random() < 0.1:
        chunks.append(
            (b"PLTE", random.randbytes(3 * random.choice((1, 2, 16, 256, 256)) + random.choice((0, 0, 0, 1))))
        )
    if random.random() < 0.3:
        chunks.append((b"tRNS", random.randbytes(random.choice((1, 2, 6, 256)))))
    names = b"gAMA cHRM sRGB bKGD hIST sBIT pHYs tIME oFFs cICP acTL fcTL eXIf iCCP".split()
    if random.random() < 0.3:
        chunks.append((random.choice(names), random.randbytes(random.choice((0, 1, 4, 8, 9, 26, 32)))))
    return chunks


KINDS: tuple[tuple[int, int, int], ...] = (
    *((0, 1, 1), (0, 1, 8), (1, 1, 1), (1, 1, 2), (1, 1, 4), (1, 1, 8), (1, 1, 12), (1, 1, 16), (1, 1, 32), (1, 2, 8)),
    *((2, 3, 8), (2, 3, 16), (2, 3, 32), (2, 4, 8), (2, 4, 16), (2, 5, 8), (2, 6, 8), (3, 1, 4), (3, 1, 8)),
    *((5, 4, 8), (5, 4, 16), (6, 3, 8), (8, 3, 8)),
)
"""Of TIFFs: the colour space (PhotometricInterpretation), channels, and bits of each that go together."""


def odd_tiff(random: Random) -> tuple[str, bytes]:
    """Any depth, number of channels, colour space, compression, layout and type of numbers."""
    width, height = random.randrange(1, 40), random.randrange(1, 40)
    photometric, channels, bits = random.choice(KINDS)
    if random.random() < 0.1:
        photometric, channels, bits = (
            random.choice(numbers) for numbers in zip(*KINDS, (32803, 9, 64), (9, 7, 24), strict=True)
        )
    planar = random.choice((1, 1, 1, 2))
    plain = height * -(-width * bits * channels // 8)
    compression = random.choice((1, 1, 8, 8, 32946))
    if random.random() < 0.25:
        compression = random.choice((2, 3, 4, 5, 6, 7, 32773, 32809, 34676, 34677, 34925, 50000, 50001, 99))
    data = random.randbytes(plain)
    if compression in (8, 32946):
        data = zlib.compress(data)
    if random.random() < 0.1:
        data = data[: len(data) // 2]
    data += b"\0" * (len(data) % 2)
    pixels, short, long = len(data), 3, 4
    data += struct.pack(f"<{channels}H", *[bits] * channels)
    tags = {256: (short, 1, width), 257: (short, 1, height), 259: (short, 1, compression)}
    tags |= {258: (short, channels, 8 + pixels) if channels > 2 else (short, channels, bits | bits << 16)}
    tags |= {262: (short, 1, photometric), 277: (short, 1, channels), 284: (short, 1, planar)}
    if random.random() < 0.2:
        side = random.choice((16, 32, 48, 17, 0))
        tags |= {322: (short, 1, side), 323: (short, 1, side), 324: (long, 1, 8), 325: (long, 1, pixels)}
    else:
        tags |= {
            273: (long, 1, 8),
            278: (long, 1, random.choice((height, height, 1, 2**32 - 1))),
            279: (long, 1, pixels),
        }
    if photometric == 3:
        tags[320] = (short, 3 * 2**bits, 8 + len(data))
        data += random.randbytes(6 * 2 ** min(bits, 16))
    optional = {
        266: (short, 1, random.choice((1, 2))),
        274: (short, 1, random.randrange(10)),
        317: (short, 1, random.choice((1, 2, 3, 9))),
        338: (short, 1, random.choice((0, 1, 2, 9))),
        339: (short, 1, random.choice((1, 2, 3, 4, 5, 6))),
        530: (short, 2, random.choice((0x00020002, 0x00010002, 0x00040004, 0))),
        700: (1, random.choice((1, 5, 2**20)), 8),
        34675: (7, random.choice((1, 5, 2**20)), 8),
    }
    return "tif", tiff_of(tags | dict(random.sample(sorted(optional.items()), random.randrange(3))), data)


def odd_bmp(random: Random) -> tuple[str, bytes]:
    """Any depth and compression, upright or not, with each of the headers that there have been."""
    header, bits = random.choice((12, 40, 40, 52, 56, 64, 108, 124)), random.choice((1, 2, 4, 8, 8, 16, 24, 24, 32, 32))
    width, height = random.randrange(1, 40), random.randrange(1, 40)
    compression = random.choice((0, 0, 0, 1, 2, 3, 3, 4, 5, 6))
    if header == 12:
        fields = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        colours = random.choice((0, 0, 2, 256, 257, 2**31))
        fields = struct.pack(
            "<IiiHHIIiiII", header, width, random.choice((height, -height)), 1, bits, compression, 0, 0, 0, colours, 0
        )
        masks = random.choice(
            (
                (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
                (0xF800, 0x7E0, 0x1F, 0),
                (0x7C00, 0x3E0, 0x1F, 0x8000),
                (1, 2, 3, 4),
            )
        )
        fields += (struct.pack("<4I", *masks) + bytes(100))[: max(header - 40, 16 if compression == 3 else 0)]
    palette = random.randbytes((3 if header == 12 else 4) * 2**bits) if bits <= 8 else b""
    pixels = random.randbytes(height * (-(-width * bits // 32) * 4))
    if compression in (1, 2):  # runs that lead anywhere
        pixels = bytes(random.choice((0, 0, 1, 2, 3, 4, 5, 40, 255)) for _ in range(random.choice((10, 1000))))
    start = 14 + len(fields) + len(palette)
    return "bmp", b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + fields + palette + pixels


def odd_gif(random: Random) -> tuple[str, bytes]:
    """Frames that lie anywhere, of any disposal, with and without colours of their own, over a screen of any size."""
    width, height = random.randrange(60), random.randrange(60)
    parts = [random.choice((b"GIF87a", b"GIF89a")) + struct.pack("<HH", width, height)]
    parts.append(random.choice((b"\x80\0\0" + bytes(6), b"\xf7\xff\0" + random.randbytes(768), b"\0\0\0")))
    for _ in range(random.choice((0, 1, 1, 1, 2, 5))):
        if random.random() < 0.5:
            parts.append(b"!\xf9\4" + bytes([random.randrange(32), 0, 0, random.randrange(256)]) + b"\0")
        if random.random() < 0.2:
            parts.append(random.choice((b"!\xffh", b"!\xfe\5words\0", b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0")))
        box = struct.pack(
            "<HHHH",
            *(random.choice((0, 1, 5, 30, 65_535)) for _ in range(2)),
            *(random.randrange(1, 40) for _ in range(2)),
        )
        local = random.random() < 0.3
        parts.append(
            b"," + box + (b"\xc0" if local else random.choice((b"\0", b"\x40"))) + (bytes(6) if local else b"")
        )
        codes = random.randbytes(random.choice((0, 3, 200)))
        parts.append(bytes([random.choice((0, 1, 2, 7, 8, 8, 12, 255)), len(codes)]) + codes + b"\0")
    return "gif", b"".join(parts) + random.choice((b";", b""))


GENERATED: tuple[Bomb, ...] = (odd_png, odd_png, odd_tiff, odd_tiff, odd_bmp, odd_gif)
