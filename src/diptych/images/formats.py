"""Which picture files are opened: the formats by name, one limit in pixels, and a share of the memory for each thread.

Pillow tries every format that it knows, whatever a file is called, and one of them starts another program. Here the size
in a file's header is asked before anything of that size is allocated.
"""

import ctypes
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    _imaging,
)

PLUGINS = (
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
    BmpImagePlugin,
    TiffImagePlugin,
    GifImagePlugin,
    AvifImagePlugin,
)
"""Importing one registers its format with Pillow."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")

MAX_PIXELS = 178_956_970
"""Of one picture, and of all that the threads of a command hold at once: 512 MiB of 8-bit RGB, as Pillow's own limit."""

BYTES_A_PIXEL = 8  # four channels of 16 bits
METADATA = 64 * 2**20  # bytes

MAX_PIXEL_SCANS = 8_000_000_000
"""A progressive JPEG goes over all of its pixels again in each scan; a small file can ask for thousands of scans."""

JPEG, START_OF_SCAN = b"\xff\xd8", b"\xff\xda"

# Pillow warns of damaged metadata, which does not change the pixels; libtiff writes to the terminal by itself, and a
# damaged picture has a line of its own. Where libtiff is a part of Pillow's own library it is out of reach.
warnings.filterwarnings("ignore", module=r"PIL\.")
with suppress(AttributeError):
    ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


class UnknownFormatError(ValueError):
    """The bytes are not of one of the formats."""


class TooLargeError(ValueError):
    """A picture has more pixels than may be opened."""


def open_image(data: bytes) -> Image.Image:
    """The header of a picture file; its pixels are decoded when Pillow is asked for them.

    Raises an `UnknownFormatError` for a file of another format, and what Pillow raises for a damaged one.

    >>> open_image(b"%!PS-Adobe-3.0 EPSF-3.0")
    Traceback (most recent call last):
        ...
    diptych.images.formats.UnknownFormatError: not a picture of a format that is read (JPEG, PNG, ...)
    """
    for name in FORMATS:
        factory, accepts = Image.OPEN[name]
        if accepts and accepts(data[:16]) is True:
            with suppress(SyntaxError):  # Pillow's word for another format that begins alike
                return factory(io.BytesIO(data), "")
    raise UnknownFormatError(f"not a picture of a format that is read ({', '.join(FORMATS)})")


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
    scans = data.count(START_OF_SCAN) if data.startswith(JPEG) else 1
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
