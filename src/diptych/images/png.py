"""A PNG without what OpenCV's decoder would print lines about, which nothing can keep it from."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
WANTED = (b"IHDR", b"tRNS", b"IDAT")
COLOUR = 2  # the type of RGB; its tRNS chunk is the one colour that is transparent, 16 bits for each channel
END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
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
    _require_whole(b"".join(chunk[8:-4] for chunk in pixels))
    header, transparent = first.get(b"IHDR", b""), first.get(b"tRNS", b"")
    _, colour, *methods = header[16:-4]
    if methods not in ([0, 0, 0], [0, 0, 1]):  # of compression, filters, interlacing: there are no others
        raise ValueError(f"its header has {methods} where the methods are, which nobody has defined")
    usable = colour == COLOUR and len(transparent) == 12 + 6
    return b"".join([SIGNATURE, header, transparent if usable else b"", *pixels, END])


def _require_whole(compressed: bytes) -> None:
    """Raises a `ValueError` unless these bytes unpack to their end, and nothing follows."""
    unpacking = zlib.decompressobj()
    while compressed and not unpacking.eof:
        unpacking.decompress(compressed, PIECE)
        compressed = unpacking.unconsumed_tail
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError("its compressed pixels end too early, or something follows them")
