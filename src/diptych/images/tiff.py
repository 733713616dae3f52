"""TIFFs that Pillow does not read, or reads wrong: several planes, 9 to 16 bits, any number of channels, plain numbers.

To Pillow's libtiff every row is a row of grey bytes: it undoes the compression. What the bytes mean is worked out here
(TIFF 6.0; Adobe's technical note 3 for the predictor of floats).
"""

import io
import struct
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import COMPRESSION_INFO, ImageFileDirectory_v2, TiffImageFile

from diptych.images import ifd
from diptych.images.formats import UnreadableError
from diptych.images.spec import Array, strips

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_A_STRIP, STRIP_SIZES, PLANAR = 273, 274, 277, 278, 279, 284
PREDICTOR, COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES = 317, 320, 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT = 338, 339
WHERE_PIXELS_LIE = (STRIP_OFFSETS, STRIP_SIZES, TILE_OFFSETS, TILE_SIZES)

COMPRESSIONS = {
    1: "none",
    5: "LZW",
    8: "Deflate",
    32946: "Deflate",
    32773: "PackBits",
    34925: "LZMA",
    50000: "Zstandard",
}
"""Those that pack bytes, whatever these mean."""
OTHER_COMPRESSIONS = {
    2: "CCITT",
    3: "CCITT group 3",
    4: "CCITT group 4",
    6: "old-style JPEG",
    7: "JPEG",
    9: "JBIG",
    10: "JBIG",
    32766: "NeXT",
    32809: "ThunderScan",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34676: "LogLuv",
    34677: "LogLuv",
    34712: "JPEG 2000",
    34715: "JBIG2",
    34887: "LERC",
    34892: "lossy JPEG",
    34933: "PNG",
    34934: "JPEG XR",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
OPTIONAL = {34925: ("lzma", "L"), 50000: ("zstd", "L"), 50001: ("webp", "RGB")}
"""What not every libtiff has: Pillow's name, and a mode that can be stored so."""
SAVE_IT = "save it with LZW or Deflate"
JPEG = 7
NO_COMPRESSION, PACK_BITS = 1, 32773
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB = 0, 1, 2, 3, 5, 6, 8
OTHER_COLOURS = {CMYK: "CMYK", YCBCR: "YCbCr", CIELAB: "CIELab"}
PREMULTIPLIED, ALPHA = 1, 2
UNSIGNED, SIGNED, FLOAT, UNDEFINED = 1, 2, 3, 4
WHOLE_BYTES = (8, 16, 32, 64)
DIFFERENCES, FLOAT_DIFFERENCES = 2, 3
SHALLOW = 255  # the highest number of 8 bits


class Layout(NamedTuple):
    """How the picture of a TIFF is stored, the first that is no smaller copy."""

    tags: ImageFileDirectory_v2
    order: str
    """`<` or `>`: which byte of a number comes first."""
    is_big: bool
    width: int
    height: int
    bits: tuple[int, ...]
    """Of each sample; a pixel has as many samples as there are entries."""
    format: int
    photometric: int
    compression: int
    in_planes: bool
    extra: tuple[int, ...]
    """What the samples behind the colours are: 0 unspecified, 1 alpha that the colours are multiplied by, 2 alpha."""
    orientation: int
    has_more: bool
    """Whether other pages follow, not only smaller copies."""

    @property
    def samples(self) -> int:
        """How many numbers a pixel has."""
        return len(self.bits)

    @property
    def bytes_a_pixel(self) -> int:
        """In memory."""
        return self.samples * (1 if max(self.bits) <= 8 else 2 if max(self.bits) <= 16 else max(self.bits) // 8)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the numbers of a pixel; those of other bits than 8, 16, 32 and 64 are widened."""
        kind = {SIGNED: "i", FLOAT: "f"}.get(self.format, "u")
        return np.dtype(f"{kind}{self.bytes_a_pixel // self.samples}")

    @property
    def has_no_range(self) -> bool:
        """Whether no black and no white are defined for its numbers."""
        return self.format in (SIGNED, FLOAT) or (self.format == UNSIGNED and max(self.bits) > 16)

    @property
    def is_premultiplied(self) -> bool:
        """Whether its colours are multiplied by the alpha that follows them."""
        return self.extra[:1] == (PREMULTIPLIED,) and (
            self.samples == 2 or (self.samples, self.photometric) == (4, RGB)
        )

    @property
    def has_shallow_palette(self) -> bool:
        """Whether the colours of its palette have 8 bits, where 16 are due: no viewer shows those as they stand, black."""
        return max(_tuple(self.tags.get(COLOUR_MAP, 0))) <= SHALLOW

    @property
    def is_plain(self) -> bool:
        """Whether Pillow reads all of it, and correctly."""
        if self.format != UNSIGNED or len(set(self.bits)) > 1 or (self.in_planes and self.samples > 1):
            return False
        if self.is_big and self.order == ">":
            return False
        if self.photometric in OTHER_COLOURS:
            return self.bits[0] == 8 or (self.photometric == CMYK and self.bits[0] == 16)
        if self.bits[0] > 8:
            return False
        if self.photometric == RGB:
            if self.is_premultiplied and self.compression in COMPRESSIONS:  # Pillow would round down
                return False
            return self.bits[0] == 8 and self.samples in (3, 4) and self.extra in ((), (ALPHA,), (PREMULTIPLIED,))
        if self.photometric == PALETTE and self.has_shallow_palette:
            return False
        if self.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE) or self.bits[0] not in (1, 2, 4, 8):
            return False
        return self.samples == 1 or (self.samples == 2 and self.bits[0] == 8 and self.extra == (ALPHA,))


def layout(data: bytes) -> Layout:
    """What the header says of the main page; raises what Pillow and numpy raise for a damaged one."""
    place, has_more = ifd.main_page(data)
    tags = _directory(data)
    _load(tags, data, place)
    if not {WIDTH, HEIGHT} <= tags.keys():
        raise ValueError("its header says no size")
    width, height, compression = tags[WIDTH], tags[HEIGHT], tags.get(COMPRESSION, 1)
    photometric = tags.get(PHOTOMETRIC, 0)
    samples = tags.get(SAMPLES, 3 if compression == JPEG and photometric in (RGB, YCBCR) else 1)
    if not all(isinstance(one, int) for one in (width, height, compression, photometric, samples)):
        raise ValueError("its header has something else where numbers are expected")
    if not (0 < width < 2**31 and 0 < height < 2**31 and 0 < samples < 2**16):
        raise ValueError(f"its header says {width}x{height} pixels of {samples} samples")
    bits, formats = _tuple(tags.get(BITS, 1)), _tuple(tags.get(SAMPLE_FORMAT, UNSIGNED))
    bits = bits[:samples] if len(bits) >= samples else bits[:1] * samples
    if not all(0 < one <= 128 for one in bits):
        raise ValueError(f"its header says {bits[0]} bits a sample")
    return Layout(
        tags,
        "<" if data[:1] == b"I" else ">",
        43 in data[2:4],
        width,
        height,
        bits,
        format=-1 if len(set(formats)) > 1 else UNSIGNED if formats[0] == UNDEFINED else formats[0],
        photometric=photometric,
        compression=compression,
        in_planes=tags.get(PLANAR, 1) == 2,
        extra=_tuple(tags.get(EXTRA_SAMPLES, ())),
        orientation=tags.get(ORIENTATION, 1),
        has_more=has_more,
    )


def extent(found: Layout) -> tuple[int, int]:
    """Width and height that decoding allocates: those of the picture, or of its tiles where they are larger."""
    if TILE_OFFSETS not in found.tags:
        return found.width, found.height
    return max(found.width, int(found.tags[TILE_WIDTH])), max(found.height, int(found.tags[TILE_HEIGHT]))


def _tuple(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | bytes) else (value,)


def _directory(data: bytes) -> ImageFileDirectory_v2:
    """An empty one, of the kind that the file has; `next` is where its first one begins."""
    header = b"II+\0" + data[4:16] if 43 in data[2:4] else data[:8]  # Pillow knows no big TIFF with the high byte first
    return ImageFileDirectory_v2(header, prefix=data[:2])


def _load(directory: ImageFileDirectory_v2, data: bytes, place: int) -> None:
    file = io.BytesIO(data)
    file.seek(place)
    directory.load(file)


def require_known_compression(found: Layout, is_plain: bool) -> None:
    """Raises an `UnreadableError` that names a compression that nobody here undoes; of a plain one Pillow undoes more."""
    number = found.compression
    name = COMPRESSIONS.get(number) or OTHER_COMPRESSIONS.get(number, "unknown")
    if number not in COMPRESSION_INFO or not _is_built_in(number):
        raise UnreadableError(f"a TIFF with {name} compression ({number}), which is not read; {SAVE_IT}")
    if number not in COMPRESSIONS and not is_plain:
        raise UnreadableError(f"a TIFF of this layout with {name} compression ({number}), which is not read; {SAVE_IT}")


@cache
def _is_built_in(compression: int) -> bool:
    """Whether Pillow's libtiff has it: a decoder that is missing, and damaged pixels, are the same error to Pillow."""
    if compression not in OPTIONAL:
        return True
    name, mode = OPTIONAL[compression]
    try:
        Image.new(mode, (8, 8)).save(io.BytesIO(), "TIFF", compression=name)
    except (OSError, RuntimeError):
        return False
    return True


def levels(data: bytes, found: Layout) -> tuple[Array, Array | None]:
    """The picture, `[H, W, C]` of 8 or 16 bits, and its alpha, `[H, W]`; not yet turned upright.

    Colours that are multiplied by their alpha stay so: see `Layout.is_premultiplied`.

    Raises an `UnreadableError` for what is no picture of known colours.
    """
    _require_levels(found)
    values = numbers(data, found)
    full = (1 << found.bits[0]) - 1
    if found.photometric == PALETTE:
        return _colours(found, values[..., 0]), None
    target = np.iinfo(values.dtype).max
    if full != target:
        for rows in strips(found.height, found.width * found.samples):
            values[rows] = (values[rows].astype(np.uint32) * target + full // 2) // full
    if found.photometric == WHITE_IS_ZERO:
        colour = values[..., : max(1, found.samples - len(found.extra))]
        np.subtract(target, colour, out=colour)
    if found.samples == 2 or (found.samples == 4 and found.photometric == RGB):
        kind = found.extra[0] if found.extra else ALPHA if found.samples == 4 else 0
        if kind in (ALPHA, PREMULTIPLIED):
            return values[..., :-1], values[..., -1]
    return values, None


def _require_levels(found: Layout) -> None:
    kind = found.photometric
    if kind not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE):
        named = OTHER_COLOURS.get(kind, f"of kind {kind}")
        where = " in planes of their own or with these bits" if kind in OTHER_COLOURS else ""
        raise UnreadableError(f"a TIFF whose colours are {named}{where}; save it as RGB or grey")
    if kind == PALETTE and found.samples > 1:
        raise UnreadableError(f"a TIFF with a palette and {found.samples} samples a pixel; save it as RGB")


def _colours(found: Layout, indices: Array) -> Array:
    type_ = np.uint8 if found.has_shallow_palette else np.uint16
    palette = np.array(_tuple(found.tags[COLOUR_MAP]), type_).reshape(3, -1).T
    return palette[indices]


# ---- the numbers in the file


def numbers(data: bytes, found: Layout) -> Array:
    """The samples as they are in the file, `[H, W, C]`: whole numbers, with or without sign, or floats."""
    if len(set(found.bits)) > 1 or found.format not in (UNSIGNED, SIGNED, FLOAT):
        raise UnreadableError("a TIFF of channels of different or unknown kinds; save it with 8 or 16 bits a channel")
    if found.bits[0] not in WHOLE_BYTES and (found.bits[0] > 16 or found.format != UNSIGNED):
        raise UnreadableError(f"a TIFF of {found.bits[0]} bits a channel; save it with 8 or 16")
    if (found.format, found.bits[0]) == (FLOAT, 8):
        raise UnreadableError("a TIFF of floats of 8 bits; save it with 8 or 16 bits a channel, as whole numbers")
    require_known_compression(found, is_plain=False)
    if not found.in_planes or found.samples == 1:
        return _plane(data, found, found.samples, 0)
    whole = np.empty((found.height, found.width, found.samples), found.dtype)
    for plane in range(found.samples):
        whole[..., plane] = _plane(data, found, 1, plane)[..., 0]
    return whole


def _plane(data: bytes, found: Layout, samples: int, plane: int) -> Array:
    """The numbers of one plane, `[H, W, samples]`."""
    tags = found.tags
    is_tiled = TILE_OFFSETS in tags
    # Tiles at the right and the bottom reach beyond the picture, and are decoded whole.
    wide = int(tags[TILE_WIDTH]) if is_tiled else found.width
    high = int(tags[TILE_HEIGHT]) if is_tiled else min(int(tags.get(ROWS_A_STRIP, found.height)), found.height)
    if not (0 < wide < 2**31 and 0 < high < 2**31):
        raise ValueError(f"its header says parts of {wide}x{high} pixels")
    across, down = -(-found.width // wide), -(-found.height // high)
    row = -(-wide * samples * found.bits[0] // 8)  # bytes of a part's row
    rows = high * down if is_tiled else found.height
    place, size = (TILE_OFFSETS, TILE_SIZES) if is_tiled else (STRIP_OFFSETS, STRIP_SIZES)
    own = slice(plane * across * down, (plane + 1) * across * down)
    offsets, sizes = (list(_tuple(tags.get(tag, ()))[own]) for tag in (place, size))
    if len(offsets) != across * down:
        raise ValueError(f"its header names {len(offsets)} parts of a picture that has {across * down}")
    fill_order = int(tags.get(FILL_ORDER, 1))
    if found.compression == NO_COMPRESSION and fill_order == 1:
        decoded = _copied(data, offsets, (rows, row * across), (high, row))
    else:
        entries = {WIDTH: [row * across], HEIGHT: [rows], BITS: [8], SAMPLES: [1], PHOTOMETRIC: [BLACK_IS_ZERO]}
        entries |= {COMPRESSION: [found.compression], FILL_ORDER: [fill_order], place: offsets}
        entries |= {TILE_WIDTH: [row], TILE_HEIGHT: [high]} if is_tiled else {ROWS_A_STRIP: [high]}
        entries |= {size: sizes} if sizes else {}
        decoded = _decompressed(_with_directory(data, found.is_big, entries), rows, row * across)
    values = _undone(decoded.reshape(rows, across, row), found, samples, wide)
    return values.reshape(rows, across * wide, samples)[: found.height, : found.width]


def _copied(data: bytes, offsets: list[int], shape: tuple[int, int], part: tuple[int, int]) -> Array:
    """The bytes of a picture without compression, `[H, W]`; libtiff would need several copies of what may be very large."""
    whole, (high, wide) = np.empty(shape, np.uint8), part
    across = shape[1] // wide
    for number, offset in enumerate(offsets):
        top, left = number // across * high, number % across * wide
        into = whole[top : top + high, left : left + wide]
        into[:] = np.frombuffer(data, np.uint8, into.size, offset).reshape(into.shape)
    return whole


def with_last_channel(data: bytes, kind: int) -> bytes:
    """A little-endian file that says what the last of its 2 or 4 samples is; one of 1 or 3 as it is."""
    samples = ifd.read(data).entries.get(SAMPLES)
    if samples is None or samples.numbers not in ([2], [4]):
        return data
    entry = ifd.Entry(ifd.SHORT, kind.to_bytes(2, "little"))
    return ifd.with_tags(data, ifd.Directory({EXTRA_SAMPLES: entry}), instead=True)


def of_grey_and_alpha(values: Array, compression: str | None) -> bytes:
    """A file of `[H, W, 2]` of uint16, which neither Pillow nor OpenCV writes; `compression` by Pillow's name."""
    height, width, samples = values.shape
    rows = np.ascontiguousarray(values, "<u2").view(np.uint8).reshape(height, -1)
    Image.fromarray(rows).save(file := io.BytesIO(), "TIFF", compression=compression or "tiff_lzw")
    numbers = {WIDTH: (width,), BITS: (16,) * samples, SAMPLES: (samples,)}
    entries = {
        tag: ifd.Entry(ifd.LONG if tag == WIDTH else ifd.SHORT, _packed(tag, given)) for tag, given in numbers.items()
    }
    return ifd.with_tags(file.getvalue(), ifd.Directory(entries), instead=True)


def _packed(tag: int, numbers: tuple[int, ...]) -> bytes:
    return struct.pack(f"<{len(numbers)}{'I' if tag == WIDTH else 'H'}", *numbers)


def _with_directory(data: bytes, is_big: bool, entries: dict[int, list[int]]) -> bytes:
    """The same file with another directory, which is appended to it and has nothing but these tags; the low byte first."""
    start = len(data) + len(data) % 2
    number, count, size = ("Q", "Q", 8) if is_big else ("I", "H", 4)
    directory = struct.pack(f"<{count}", len(entries))
    behind = start + len(directory) + len(entries) * (4 + 2 * size) + size
    values = b""
    for tag, numbers in sorted(entries.items()):
        packed = struct.pack(f"<{len(numbers)}{number}", *numbers)
        is_long = len(packed) > size
        directory += struct.pack(f"<HH{number}", tag, 16 if is_big else 4, len(numbers))
        directory += struct.pack(f"<{number}", behind + len(values)) if is_long else packed
        values += packed if is_long else b""
    header = struct.pack("<2sHHHQ", b"II", 43, 8, 0, start) if is_big else struct.pack("<2sHI", b"II", 42, start)
    return b"".join([header, data[len(header) :], bytes(len(data) % 2), directory, bytes(size), values])


def _decompressed(data: bytes, height: int, width: int) -> Array:
    """The unpacked bytes of a picture of grey bytes, `[H, W]`."""
    with TiffImageFile(io.BytesIO(data), "") as image:
        image.load()
        whole = np.empty((height, width), np.uint8)  # not earlier: it may take the place of what libtiff has given back
        for rows in strips(height, width):
            whole[rows] = np.asarray(image.crop((0, rows.start, width, rows.stop)))
    return whole


def _undone(decoded: Array, found: Layout, samples: int, wide: int) -> Array:
    """Bytes of tiles' rows, `[rows, tiles, bytes]` -> numbers, `[rows, tiles, wide, samples]`; predictors are undone."""
    rows, across, _ = decoded.shape
    bits, predictor = (
        found.bits[0],
        int(found.tags.get(PREDICTOR, 1)) if found.compression not in (NO_COMPRESSION, PACK_BITS) else 1,
    )
    shape = (rows, across, wide, samples)
    if bits not in WHOLE_BYTES:
        if predictor != 1:
            raise UnreadableError(f"a TIFF of {bits} bits a channel with a predictor; save it without")
        return _unpacked(decoded.reshape(rows * across, -1), bits, wide * samples, found.dtype).reshape(shape)
    if predictor == FLOAT_DIFFERENCES:
        decoded = decoded.reshape(rows, across, -1, samples)
        np.cumsum(decoded, axis=2, dtype=np.uint8, out=decoded)
        by_byte = decoded.reshape(
            rows, across, bits // 8, wide * samples
        )  # the first bytes of all numbers, then the second
        return (
            np.ascontiguousarray(by_byte.swapaxes(2, 3))
            .view(f">{found.dtype.str[1:]}")
            .astype(found.dtype)
            .reshape(shape)
        )
    whole = decoded.view(f"{found.order}u{bits // 8}").reshape(shape)
    if not whole.dtype.isnative:
        whole = whole.byteswap(inplace=True).view(whole.dtype.newbyteorder())
    if predictor == DIFFERENCES:
        np.cumsum(whole, axis=2, dtype=whole.dtype, out=whole)
    return whole.view(found.dtype)


def _unpacked(decoded: Array, bits: int, count: int, dtype: np.dtype[Any]) -> Array:
    """Rows of `count` packed numbers, the highest bit first, `[rows, bytes]` -> `[rows, count]`."""
    whole = np.empty((len(decoded), count), dtype)
    weights = (1 << np.arange(bits)[::-1]).astype(np.uint16)
    for rows in strips(*whole.shape):
        single = np.unpackbits(decoded[rows], axis=1)[:, : count * bits]  # what fills the last byte of a row is dropped
        whole[rows] = single.reshape(-1, count, bits) @ weights
    return whole
