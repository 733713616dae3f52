"""Damage: bytes in, bytes out. Everything random comes from the generator that is passed in."""

import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random

EDGES = (
    0,
    1,
    2,
    3,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    65500,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63,
    2**64 - 1,
)
"""Numbers at which programs go wrong."""

LARGEST = 2**20
"""Bytes: what is larger is damaged no further, as some ways repeat parts of a file hundreds of times."""

Mutation = Callable[[bytes, Random], bytes]


def flip_bits(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 4, 32))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def flip_early_bits(data: bytes, random: Random) -> bytes:
    """In the first bytes, where the headers are."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8))):
        changed[random.randrange(min(len(changed), 64))] ^= 1 << random.randrange(8)
    return bytes(changed)


def overwrite_run(data: bytes, random: Random) -> bytes:
    start, length = random.randrange(len(data)), random.choice((1, 2, 4, 16, 200))
    run = random.randbytes(length) if random.random() < 0.5 else bytes([random.choice((0, 1, 0x7F, 0xFF))]) * length
    return data[:start] + run[: len(data) - start] + data[start + length :]


def truncate(data: bytes, random: Random) -> bytes:
    return data[: random.choice((random.randrange(len(data)), random.randrange(min(len(data), 64)), len(data) - 1))]


def insert(data: bytes, random: Random) -> bytes:
    at, length = random.randrange(len(data) + 1), random.choice((1, 2, 3, 64, 5000))
    return data[:at] + random.choice((random.randbytes(length), bytes(length), data[:length])) + data[at:]


def remove(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + data[at + random.choice((1, 2, 4, 100)) :]


def repeat_part(data: bytes, random: Random) -> bytes:
    start, length = random.randrange(len(data)), random.choice((4, 64, 1000))
    return data[:start] + data[start : start + length] * random.choice((2, 3, 50)) + data[start + length :]


def swap_parts(data: bytes, random: Random) -> bytes:
    a, b, c, d = sorted(random.randrange(len(data) + 1) for _ in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def set_number(data: bytes, random: Random) -> bytes:
    """An integer of 1, 2, 4 or 8 bytes, of either order, becomes one of the edges, or goes up or down by a little."""
    size, order = random.choice((1, 2, 2, 4, 4, 4, 8)), random.choice("<>")
    if len(data) < size:
        return data
    at = random.randrange(
        min(len(data), random.choice((32, 128, len(data)))) - size + 1 if len(data) > 32 else len(data) - size + 1
    )
    code = order + {1: "B", 2: "H", 4: "I", 8: "Q"}[size]
    before = struct.unpack_from(code, data, at)[0]
    number = random.choice((random.choice(EDGES), before + random.choice((-1, 1, 100)))) % 256**size
    return data[:at] + struct.pack(code, number) + data[at + size :]


ANYWHERE: tuple[Mutation, ...] = (
    flip_bits,
    flip_early_bits,
    overwrite_run,
    truncate,
    insert,
    remove,
    repeat_part,
    swap_parts,
    set_number,
    set_number,
)


def splice(data: bytes, other: bytes, random: Random) -> bytes:
    """The beginning of one file and the end of another."""
    return data[: random.randrange(len(data))] + other[random.randrange(len(other)) :]


def mutate(
    data: bytes, random: Random, others: Sequence[bytes] = (), own: Sequence[Mutation] = ()
) -> tuple[bytes, str]:
    """Damages a file once to four times; `own` are the ways of its format. Gives the names of the ways as well."""
    names = []
    for _ in range(random.choice((1, 1, 1, 2, 2, 4))):
        if not 0 < len(data) < LARGEST:
            break
        if others and random.random() < 0.05:
            data = splice(data, random.choice(others), random)
            names.append("splice")
            continue
        way = random.choice(own) if own and random.random() < 0.5 else random.choice(ANYWHERE)
        data = way(data, random)
        names.append(way.__name__)
    return data, ", ".join(names).replace("_", " ")


# ---- PNG: chunks with checksums

PNG = b"\x89PNG\r\n\x1a\n"
Chunk = tuple[bytes, bytes]
"""Four letters, and the content."""


def png_chunks(data: bytes) -> list[Chunk]:
    """The chunks of a PNG, as far as they go."""
    chunks, at = [], len(PNG)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def png_of(chunks: Sequence[Chunk]) -> bytes:
    """A PNG with the right lengths and checksums."""
    return PNG + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


def change_png_chunks(data: bytes, random: Random) -> bytes:
    """Chunks lost, doubled, in another order, or with other content; the checksums are right."""
    chunks = png_chunks(data)
    if not chunks:
        return data
    at = random.randrange(len(chunks))
    name, content = chunks[at]
    match random.choice(("lose", "double", "swap", "content", "content", "header", "pixels")):
        case "lose":
            del chunks[at]
        case "double":
            chunks[at:at] = [chunks[at]] * random.choice((1, 2, 500))
        case "swap":
            other = random.randrange(len(chunks))
            chunks[at], chunks[other] = chunks[other], chunks[at]
        case "content" if content:
            chunks[at] = name, random.choice(ANYWHERE)(content, random)
        case "header":
            chunks[0] = chunks[0][0], set_number(chunks[0][1], random)
        case "pixels":
            chunks = [(n, _change_deflated(c, random) if n == b"IDAT" else c) for n, c in chunks]
    return png_of(chunks)


def _change_deflated(content: bytes, random: Random) -> bytes:
    try:
        pixels = zlib.decompress(content)
    except zlib.error:
        return content
    return zlib.compress(random.choice(ANYWHERE)(pixels, random)) if pixels else content


# ---- TIFF: a directory of tags


def change_tiff_tag(data: bytes, random: Random) -> bytes:
    """One tag gets another type, count, value or name; or the next directory lies elsewhere."""
    order = "<" if data[:2] == b"II" else ">"
    if len(data) < 16 or struct.unpack_from(order + "H", data, 2)[0] != 42:
        return set_number(data, random)
    at = struct.unpack_from(order + "I", data, 4)[0]
    if at + 2 > len(data):
        return data
    count = struct.unpack_from(order + "H", data, at)[0]
    entry = at + 2 + 12 * random.randrange(count + 1)
    place, code = random.choice(((0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "H"), (8, "I")))
    if entry + place + struct.calcsize(code) > len(data):
        return data
    numbers = (*EDGES, 4, 5, 6, 16, 32, 256, 257, 258, 259, 277, 322, 324, 339, 32773, 34712, at, 65537)
    number = random.choice(numbers) % 256 ** struct.calcsize(code)
    return data[: entry + place] + struct.pack(order + code, number) + data[entry + place + struct.calcsize(code) :]


# ---- JPEG: segments

START_OF_SCAN, START_OF_FRAME = 0xDA, (0xC0, 0xC1, 0xC2)


def jpeg_segments(data: bytes) -> list[bytes]:
    """The start, the segments, and from the first scan on everything as it is."""
    segments, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != START_OF_SCAN:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append(data[at : at + 2 + length])
        at += 2 + length
    return [*segments, data[at:]]


def with_jpeg_size(data: bytes, width: int, height: int) -> bytes:
    """The same JPEG, with another size in its header."""
    return b"".join(
        part[:5] + struct.pack(">HH", height, width) + part[9:]
        if len(part) > 1 and part[0] == 0xFF and part[1] in START_OF_FRAME
        else part
        for part in jpeg_segments(data)
    )


def change_jpeg_segments(data: bytes, random: Random) -> bytes:
    """Segments lost, doubled, in another order, with other numbers; scans repeated; another size."""
    parts = jpeg_segments(data)
    at, other = random.randrange(len(parts)), random.randrange(len(parts))
    match random.choice(("lose", "double", "swap", "number", "number", "scans", "size")):
        case "lose":
            del parts[at]
        case "double":
            parts[at:at] = [parts[at]] * random.choice((1, 2, 300))
        case "swap":
            parts[at], parts[other] = parts[other], parts[at]
        case "number":
            parts[at] = set_number(parts[at], random)
        case "scans":
            parts[-1] = parts[-1].removesuffix(b"\xff\xd9") * random.choice((2, 20, 500))
        case "size":
            width, height = (random.choice((0, 1, 3, 17, 500, 5000, 20_000, 65_500)) for _ in range(2))
            return with_jpeg_size(data, width, height)
    return b"".join(parts)


# ---- WebP, AVIF, GIF: chunks and boxes that say how long they are


def change_boxed_number(data: bytes, random: Random) -> bytes:
    """A number right behind one of the four letters by which chunks of WebP and boxes of AVIF begin."""
    names = b"VP8 VP8L VP8X ANIM ANMF ALPH RIFF ispe iloc av1C ipma irot pixi".split()
    found = [at for name in names if (at := data.find(name)) >= 0]
    if not found:
        return set_number(data, random)
    start = random.choice(found)
    return data[:start] + set_number(data[start : start + 28], random) + data[start + 28 :]


BY_FORMAT: dict[str, tuple[Mutation, ...]] = {
    "png": (change_png_chunks,),
    "tif": (change_tiff_tag,),
    "jpg": (change_jpeg_segments,),
    "webp": (change_boxed_number,),
    "avif": (change_boxed_number,),
}
"""The ways of a format's own, by the beginning of a seed's name."""
