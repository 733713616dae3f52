"""A PNG without what OpenCV's decoder would print lines about, which nothing can keep it from."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
WANTED = (b"IHDR", b"tRNS", b"IDAT")
COLOUR = 2  # the type of RGB; its tRNS chunk is the one colour that is transparent, 16 bits for each channel
END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""By the type of colour, where there is no palette."""
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of an interlaced picture: the first column and row, and the steps to the next ones."""
PIECE = 2**20  # bytes


def essential(data: bytes) -> bytes:
    """The same picture without profiles, texts, times and further frames; a `ValueError` where its pixels are damaged.

    PNG is chunks: a length, a kind, the content, a checksum of the last two (PNG specification, section 5.3).
    """
    chunks, place = [], len(SIGNATURE)
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"IEND":
            break
        if kind in WANTED:
            chunks.append(data[place : place + 12 + length])
        place += 12 + length
    for chunk in chunks:
        if chunk[-4:] != struct.pack(">I", zlib.crc32(chunk[4:-4])):
            raise ValueError(f"the checksum of a part of it ({chunk[4:8].decode()}) is wrong")
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
