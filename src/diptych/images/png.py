"""A PNG without what keeps Pillow from reading it, or what OpenCV's decoder would print lines about."""

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BITS_AT = 24
"""Where a file says how many bits a channel has; the type of colour follows."""
WANTED = (b"IHDR", b"tRNS", b"IDAT")
PALETTE = 3
COLOUR = 2  # the type of RGB; its tRNS chunk is the one colour that is transparent, 16 bits for each channel
END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""By the type of colour, where there is no palette."""
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of an interlaced picture: the first column and row, and the steps to the next ones."""
PIECE = 2**20  # bytes
ANIMATION = (b"acTL", b"fcTL", b"fdAT")
TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
"""Texts and profiles."""
MOST_TEXT = 64 * 2**20  # bytes, unpacked: of all texts and profiles of a file


def mended(data: bytes) -> tuple[bytes, list[str]]:
    """The same picture without what stands beside the pixels and is damaged or a bomb; and what is to be said of that.

    A viewer ignores a wrong checksum there, and reads no text at all. Chunks whose name begins with a small letter are not
    needed for the pixels (PNG specification, section 5.4); a wrong checksum of another one is a `ValueError`, which Pillow
    passes over in pixels.
    """
    dropped: list[tuple[int, int]] = []
    wrong, text_left = list[bytes](), MOST_TEXT
    for kind, start, end in _chunks(data):
        if kind == b"IEND":
            break
        if zlib.crc32(memoryview(data)[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            if kind[0] < ord("a"):
                raise ValueError(f"the checksum of a part of it ({kind.decode('ascii')}) is wrong")
            wrong.append(kind)
            dropped.append((start, end))
        elif kind in TEXTS and (text_left := text_left - _text_size(kind, data[start + 8 : end - 4], text_left)) < 0:
            dropped.append((start, end))
    if not dropped:
        return data, []
    if any(kind in ANIMATION for kind in wrong):
        dropped = sorted({*dropped, *((start, end) for kind, start, end in _chunks(data) if kind in ANIMATION)})
    lost = [f"what stands beside the pixels ({_named(wrong)}) has a wrong checksum and is left out"] if wrong else []
    lost += (
        [f"text and profiles are left out where they are more than {MOST_TEXT // 2**20} MiB"] if text_left < 0 else []
    )
    kept, place = [], 0
    for start, end in dropped:
        kept.append(data[place:start])
        place = end
    return b"".join([*kept, data[place:]]), lost


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The kind of each chunk, and where it begins and ends, up to one that is not whole or has no name."""
    place = len(SIGNATURE)
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if place + 12 + length > len(data) or not kind.isalpha():
            return
        yield kind, place, place + 12 + length
        place += 12 + length


def _text_size(kind: bytes, content: bytes, most: int) -> int:
    """Bytes that a text or a profile has unpacked; at least one more than `most` where they are more."""
    packed = content[content.find(b"\0") + 2 :] if kind != b"tEXt" else b""
    if kind == b"iTXt":  # its language and translated name come before the text
        parts = content.split(b"\0", 1)[-1]
        packed = parts[2:].split(b"\0", 2)[-1] if parts[:1] == b"\1" else b""
    unpacking, size = zlib.decompressobj(), len(content)
    try:
        while packed and not unpacking.eof and size <= most:
            size += len(unpacking.decompress(packed, PIECE))
            packed = unpacking.unconsumed_tail
    except zlib.error:  # no bomb
        return size
    return size


def _named(kinds: list[bytes]) -> str:
    return ", ".join(dict.fromkeys(kind.decode("ascii") for kind in kinds))


def all_chunks(data: bytes) -> Iterator[bytes]:
    """The whole chunks of a file, but for the one that ends it."""
    for kind, start, end in _chunks(data):
        if kind == b"IEND":
            return
        yield data[start:end]


def make_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def step(data: bytes) -> int:
    """From one level of a grey file of at most 8 bits to the next one, of 255."""
    return 255 // ((1 << min(data[BITS_AT], 8)) - 1)


def is_grey(data: bytes) -> bool:
    """Whether a file has one channel, or one and alpha."""
    return data[BITS_AT + 1] in (0, 4)


def background_levels(data: bytes, content: bytes) -> bytes:
    """The content of a bKGD chunk as 16-bit levels of grey or RGB; empty where it is damaged (section 11.3.5.1)."""
    bits, colour = data[BITS_AT], data[BITS_AT + 1]
    if colour == PALETTE:
        palette = next((chunk[8:-4] for chunk in all_chunks(data) if chunk[4:8] == b"PLTE"), b"")
        entry = palette[3 * content[0] :][:3] if content else b""
        return np.frombuffer(entry, np.uint8).repeat(2).tobytes() if len(entry) == 3 else b""
    if len(content) != (2 if is_grey(data) else 6):
        return b""
    levels = np.frombuffer(content, ">u2").astype(np.uint32) * 65535 // ((1 << bits) - 1)
    return levels.astype(">u2").tobytes()


def background(data: bytes, levels: bytes) -> list[bytes]:
    """The chunk for a file of 8 or 16 bits without a palette; none where a grey file would need a colour."""
    found = np.frombuffer(levels, ">u2")
    if not found.size or (is_grey(data) and len({*found.tolist()}) > 1):
        return []
    found = found[:1] if is_grey(data) else np.resize(found, 3)
    return [make_chunk(b"bKGD", (found // 257 if data[BITS_AT] == 8 else found).astype(">u2").tobytes())]


def of_grey_and_alpha(values: "np.ndarray[Any, Any]") -> bytes:
    """A file of `[H, W, 2]` of uint16, which neither Pillow nor OpenCV writes."""
    height, width, _ = values.shape
    rows = values.astype(">u2").view(np.uint8).reshape(height, -1)
    differences = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))  # filter 2, to the row above (section 9.2)
    filtered = np.concatenate([np.full((height, 1), 2, np.uint8), differences], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 16, 4, 0, 0, 0)
    return b"".join(
        [SIGNATURE, make_chunk(b"IHDR", header), make_chunk(b"IDAT", zlib.compress(filtered.tobytes(), 3)), END]
    )


def with_chunks(data: bytes, more: Iterable[bytes]) -> bytes:
    """The file with more chunks, in front of all but its header."""
    header = len(SIGNATURE) + 12 + 13
    return data[:header] + b"".join(more) + data[header:]


def essential(data: bytes) -> bytes:
    """A `mended` picture without profiles, texts, times and further frames; a `ValueError` where its pixels are damaged.

    PNG is chunks: a length, a kind, the content, a checksum of the last two (PNG specification, section 5.3).
    """
    chunks = [chunk for chunk in all_chunks(data) if chunk[4:8] in WANTED]
    # One of each and in order, as decoders differ in what they bear; only the compressed pixels may come in several parts.
    first = {chunk[4:8]: chunk for chunk in reversed(chunks)}
    pixels = [chunk for chunk in chunks if chunk[4:8] == b"IDAT"]
    header, transparent = first.get(b"IHDR", b""), first.get(b"tRNS", b"")
    width, height, bits, colour, *methods = struct.unpack(">IIBBBBB", header[8:-4])
    if methods not in ([0, 0, 0], [0, 0, 1]):  # of compression, filters, interlacing: there are no others
        raise ValueError(f"its header has {methods} where the methods are, which nobody has defined")
    size = _unpacked(width, height, bits * CHANNELS[colour], bool(methods[2]))
    _require_size(b"".join(chunk[8:-4] for chunk in pixels), size)
    usable = colour == COLOUR and len(transparent) == 12 + 6
    return b"".join([SIGNATURE, header, transparent if usable else b"", *pixels, END])


def _unpacked(width: int, height: int, bits: int, interlaced: bool) -> int:
    """Bytes of all rows, each with one byte for its filter; an empty pass has none (section 8.1).

    >>> _unpacked(1, 1, 48, True) == _unpacked(1, 1, 48, False) == 7
    True
    """
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    sides = ((-(-(width - left) // across), -(-(height - top) // down)) for left, top, across, down in passes)
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sides if columns > 0 and rows > 0)


def _require_size(compressed: bytes, size: int) -> None:
    """Raises a `ValueError` unless these bytes unpack to `size` others, and nothing follows."""
    unpacking, unpacked = zlib.decompressobj(), 0
    while compressed and not unpacking.eof and unpacked <= size:
        unpacked += len(unpacking.decompress(compressed, PIECE))
        compressed = unpacking.unconsumed_tail
    if unpacked != size or not unpacking.eof or unpacking.unused_data:
        raise ValueError("its compressed pixels are too few or too many")
