"""Which picture files are opened: the formats by name, one limit in pixels, and a share of the memory for each thread.

Pillow tries every format that it knows, whatever a file is called, and one of them starts another program. Here the size
in a file's header is asked before anything of that size is allocated.
"""

import ctypes
import io
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    _imaging,
)

from diptych.images import ifd, jpeg, png, remarks
from diptych.images.remarks import note

PLUGINS = (
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
    BmpImagePlugin,
    TiffImagePlugin,
    GifImagePlugin,
    AvifImagePlugin,
    Jpeg2KImagePlugin,
    PpmImagePlugin,
    TgaImagePlugin,
)
"""Importing one registers its format with Pillow."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM")
"""Those that Pillow tells by the first bytes."""
BY_NAME = ".tga"
"""A TGA begins with nothing that is its own: only a file of this suffix is taken for one."""
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
ALL_FORMATS = "JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, HEIC, ..."

LFS, GZIP = b"version https://git-lfs", b"\x1f\x8b"
"""The first bytes of what is found under the names of pictures."""

MAX_PIXELS = 178_956_970
"""Of one picture, and of all that the threads of a command hold at once: 512 MiB of 8-bit RGB, as Pillow's own limit."""

BYTES_A_PIXEL = 8  # four channels of 16 bits
METADATA = 64 * 2**20  # bytes
METADATA_SEARCHED = 2**16  # bytes, in which a file says how many bits it has

MAX_PIXEL_SCANS = 8_000_000_000
"""A progressive JPEG goes over all of its pixels again in each scan; a small file can ask for thousands of scans."""

# Pillow warns of damaged metadata, which does not change the pixels, and logs why it refuses a file; libtiff writes to the
# terminal by itself. A damaged picture has a line of its own. Where libtiff is inside Pillow's library it is out of reach.
logging.getLogger("PIL").addHandler(logging.NullHandler())
warnings.filterwarnings("ignore", module=r"PIL\.")
# Texts and profiles of a PNG may be large; `png.mended` sees to it that all of them together are not larger than this.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = png.MOST_TEXT
with suppress(AttributeError):
    ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


class UnknownFormatError(ValueError):
    """The bytes are not of one of the formats."""


class MissingExtraError(ValueError):
    """The bytes are of a format that an optional package reads, which is not installed."""


class UnreadableError(ValueError):
    """An intact picture of a kind that is not read."""


class TooLargeError(ValueError):
    """A picture has more pixels than may be opened."""


def kind_of(start: bytes) -> str:
    """The format of a file that begins with these 16 bytes or more; empty where it is none of a picture.

    >>> kind_of(b"GIF89a" + bytes(10)), kind_of(b"BMI of 3 patients, ")
    ('GIF', '')
    """
    if start[:2] == b"BM" and start[6:10] != bytes(4):  # two letters may begin a text
        return ""
    if start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS:
        return "HEIC"
    openers = ((name, Image.OPEN[name][1]) for name in FORMATS if name != "PPM")
    return next((name for name, accepts in openers if accepts and accepts(start[:16]) is True), "")


def open_image(data: bytes, name: str = "") -> Image.Image:
    """The header of a picture file; its pixels are decoded when Pillow is asked for them.

    `name` is the file's, for remarks and for the one format that its suffix tells. Raises an `UnknownFormatError` for a file
    of another format, a `MissingExtraError` for a HEIC without pillow-heif, and what Pillow raises for a damaged file.

    >>> open_image(b"%!PS-Adobe-3.0 EPSF-3.0")
    Traceback (most recent call last):
        ...
    diptych.images.formats.UnknownFormatError: not a picture of a format that is read (JPEG, PNG, ...)
    """
    damage: SyntaxError | None = None
    if data.startswith(png.SIGNATURE):
        data, lost = png.mended(data)
        for text in lost:
            note(name, text)
    if data.startswith(ifd.SIGNATURES):
        data = ifd.with_main_page_first(data)
    for format_name in FORMATS:
        factory, accepts = Image.OPEN[format_name]
        if accepts and accepts(data[:16]) is True:
            try:
                return _remarked(factory(io.BytesIO(data), ""), data, name)
            except SyntaxError as error:  # Pillow's word for a damaged header, and for another format that begins alike
                damage = error
    if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
        return _remarked(_open_heif(data), data, name)
    if name.lower().endswith(BY_NAME) and len(data) >= 18:
        with suppress(SyntaxError):
            return Image.OPEN["TGA"][0](io.BytesIO(data), "")
    if damage:
        raise damage
    if data.startswith(LFS):
        raise UnreadableError("stands for a file in Git LFS, which is not here; fetch it with `git lfs pull`")
    if data.startswith(GZIP):
        raise UnreadableError("is compressed by gzip; unpack it with `gunzip`, under a name that ends in .gz")
    raise UnknownFormatError(f"not a picture of a format that is read ({ALL_FORMATS})")


def _open_heif(data: bytes) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise MissingExtraError(
            "a HEIC picture, which is read where pillow-heif is installed: pip install 'diptych[photos]'"
        ) from error
    image: Image.Image = HeifImageFile(io.BytesIO(data), "")
    return image


def _remarked(image: Image.Image, data: bytes, name: str) -> Image.Image:
    """The same image; what is not read of its file is noted. (Of the pages of a TIFF `tiff.Layout` knows.)"""
    with suppress(Exception):  # the frames behind the first may be damaged
        if image.format not in ("MPO", "TIFF") and getattr(image, "is_animated", False):
            note(name, remarks.FIRST_FRAME)
    if image.format in ("JPEG2000", "AVIF", "HEIF") and image.mode != "I;16" and _bits(data) > 8:
        note(name, remarks.EIGHT_BITS)
    return image


def _bits(data: bytes) -> int:
    """Of a channel of a JPEG 2000 (its SIZ marker) or of an AVIF or HEIC (their `pixi` box); 8 where it is not said."""
    header = data[:METADATA_SEARCHED]
    if (place := header.find(b"\xff\x4f\xff\x51")) >= 0:
        return (data[place + 42] & 0x7F) + 1 if place + 42 < len(data) else 8
    place = header.find(b"pixi") + 8
    return max(data[place + 1 : place + 1 + data[place]], default=8) if 8 <= place < len(data) else 8


CUT_OFF = "it is cut off: its end is missing"


def cut_off(data: bytes) -> str:
    """Says that the end of a picture file is missing, where its own header or ending shows it; else empty.

    >>> cut_off(b"RIFF" + (992).to_bytes(4, "little") + b"WEBP")
    'it is cut off: 12 of 1,000 bytes are there'
    """
    if (whole := _bytes_by_header(data)) > len(data):
        return f"it is cut off: {len(data):,} of {whole:,} bytes are there"
    is_cut = b"IEND" not in data if data.startswith(png.SIGNATURE) else _end_of_boxes(data) > len(data)
    return CUT_OFF if is_cut else ""


def _bytes_by_header(data: bytes) -> int:
    """How many bytes a WebP or BMP has by its own account; 0 where it gives none."""
    if data.startswith(b"RIFF") and len(data) >= 8:
        return 8 + int.from_bytes(data[4:8], "little")
    if data.startswith(b"BM"):
        return int.from_bytes(data[2:6], "little")
    return 0


def _end_of_boxes(data: bytes) -> int:
    """Where the last box of an AVIF or HEIC ends that begins in the file; 0 of other formats."""
    place = 0
    while data[4:8] == b"ftyp" and place + 8 <= len(data):  # boxes, each of which begins with its size
        size = int.from_bytes(data[place : place + 4])
        size = int.from_bytes(data[place + 8 : place + 16]) if size == 1 else size
        if size < 8:  # up to the end
            break
        place += size
    return place


def extent(image: Image.Image) -> tuple[int, int]:
    """Width and height that decoding allocates: those of the picture, or of its tiles where they are larger."""
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    tile = (tags.get(tag) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH))
    width, height = (
        max(side, of_tile) if isinstance(of_tile, int) else side for side, of_tile in zip(image.size, tile, strict=True)
    )
    return width, height


def require_bytes(size: int, most: int) -> None:
    """Raises a `TooLargeError` for a file with more bytes than a picture of `most` pixels has without compression."""
    if size > (largest := most * BYTES_A_PIXEL + METADATA):
        raise TooLargeError(
            f"has {size:,} bytes, and at most {largest:,} are read here; scale the picture down or cut it up"
        )


def require_size(width: int, height: int, most: int, data: bytes) -> None:
    """Raises a `TooLargeError` for more than `most` pixels, or for a JPEG whose scans go over too many."""
    if width * height > most:
        raise TooLargeError(
            f"{width}x{height} pixels, and at most {most:,} can be opened here; scale it down or cut it up"
        )
    scans = jpeg.most_scans(data) if data.startswith(jpeg.SIGNATURE) else 1
    if width * height * scans > MAX_PIXEL_SCANS:
        raise TooLargeError(
            f"{width}x{height} pixels in {scans} scans, which is more than a picture needs; save it again"
        )


_pillows_limit = threading.Lock()


@contextmanager
def within_pillows_limit(width: int, height: int) -> Iterator[None]:
    """Inside, Pillow decodes a picture of this size without a warning or an error: our limit was asked before.

    Pillow's limit is one for the whole process, so pictures above it are decoded one after the other.
    """
    before = Image.MAX_IMAGE_PIXELS
    if before is None or width * height <= before:
        yield
        return
    with _pillows_limit:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, width * height
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


# ---- several threads


class _Shared:
    """The pixels that the threads of this process may still hold, and how many each of them holds."""

    def __init__(self, pixels: int) -> None:
        self.all = self.free = pixels
        self.changed = threading.Condition()
        self.own = threading.local()

    def take(self, pixels: int) -> None:
        """Waits until this thread may hold so many more.

        It gives back what it has while it waits: two threads that each wait for the other's would wait for ever.
        """
        with self.changed:
            wanted = min(self.held + pixels, self.all)
            self._hold(0)
            self.changed.wait_for(lambda: self.free >= wanted)
            self._hold(wanted)

    def give_back(self) -> None:
        with self.changed:
            self._hold(0)

    @property
    def held(self) -> int:
        return getattr(self.own, "pixels", 0)

    def _hold(self, pixels: int) -> None:
        self.free += self.held - pixels
        self.own.pixels = pixels
        self.changed.notify_all()


_shared = _Shared(MAX_PIXELS)


@contextmanager
def one_sample() -> Iterator[None]:
    """Inside, the pictures that this thread opens count as held until the end of the block, as `MAX_PIXELS` asks.

    Wrap in it what a thread does with one picture, or with those of one pair; blocks do not nest.
    """
    _shared.own.in_sample = True
    try:
        yield
    finally:
        _shared.own.in_sample = False
        _shared.give_back()


@contextmanager
def room_for(width: int, height: int) -> Iterator[None]:
    """Inside, a picture of this size may be decoded; waits until other threads need less memory."""
    _shared.take(width * height)
    try:
        yield
    finally:
        if not getattr(_shared.own, "in_sample", False):
            _shared.give_back()
