"""One file <-> one tensor in [-1, 1]. EXIF rotation, alpha, palettes and 16-bit files are handled here, and only here.

A picture is float32 `[C, H, W]` in [-1, 1]. Between the file and the tensor stands `Pixels`: the levels of the file, 8 or
16 bit, upright, with the alpha channel separate, so that a translated picture can be written in the same form. What the
levels mean and how channels convert is in `images/spec.py`.
"""

import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import PIL
import torch
from PIL import Image, ImageOps, JpegImagePlugin, TiffImagePlugin
from torch import Tensor

from diptych.files import atomic_file, require_file
from diptych.images import formats, giant, ifd, jpeg, metadata, on_disk, png, pnm, profiles, remarks, spec, tiff
from diptych.images.formats import MAX_PIXELS
from diptych.images.metadata import Metadata
from diptych.images.remarks import note
from diptych.images.spec import EIGHT_BIT, Bits, ImageSpec, NoFixedRangeError, viewable
from diptych.images.spec import Array as Array
from diptych.wording import brief

# OpenCV reads this once, when it is imported; otherwise it prints lines of its own next to the one that names the file.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

FORMATS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jif", ".jfif"), "JPEG"),
    **{".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"},
}
"""Pillow's names of what is written by each suffix."""
READ_ONLY = (
    ".gif",
    ".avif",
    ".heic",
    ".heif",
    ".jp2",
    ".j2k",
    ".j2c",
    ".jpc",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
    ".tga",
    ".svs",
)
"""The suffixes of pictures that are read, and translated to PNG."""
SUFFIXES = (*FORMATS, *READ_ONLY)
"""Of all that is taken for a picture in a folder."""
COMPRESSED_WITH_LOSS = ("JPEG", "WEBP")
LARGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
"""In pixels. libjpeg writes to the terminal by itself about a larger one."""
ARRAY = ".npy"
"""Of an array of numbers, one picture a file: read and written by `images/numbers.py`."""
DEEP_SUFFIXES = (".png", ".tif", ".tiff")
ALPHA_SUFFIXES = (".png", ".tif", ".tiff", ".webp")

MOST_MISSING = 1 / 4
"""Of the picture, where a JPEG was cut off; one that lacks more is only half written."""
NOT_SUPPORTED = re.compile(
    "unsupported|not supported|not implemented|cannot handle|unknown|unrecognized", re.IGNORECASE
)
"""In the messages of decoders about files that need not be damaged."""
TRUNCATED = re.compile("truncat|not enough image data|requires a buffer|beyond the end|no more images", re.IGNORECASE)
"""In those about files whose end is missing."""
HALF_WRITTEN = "damaged or only half written ({}); remove it or copy it again"

JPEG_2000 = (b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
END_OF_JPEG_2000 = b"\xff\xd9"
ORIENTATION = 0x0112  # the EXIF tag
PREMULTIPLIED = ("La", "RGBa")  # modes of Pillow
ON_THEIR_SIDE = (5, 6, 7, 8)
"""Values of it: height and width change places."""


T = TypeVar("T")


@dataclass(frozen=True)
class Pixels:
    """A decoded picture: `values` is `[H, W, C]` of uint8 or uint16, `alpha` is `[H, W]` of the same type or None."""

    values: Array
    alpha: Array | None = None
    reduced: int = 1
    """How many times smaller than in the file each side was decoded; the sides in the file are multiples of it."""
    stored: str = ""
    """Pillow's name of the form in which the file has it (`P`, `CMYK`, ...); empty where that is the form of `values`."""
    above_alpha: Array | None = None
    """`[H, W, C]`: how far the file's colours, multiplied by alpha there, are above it; None where none is."""

    @property
    def bits(self) -> Bits:
        """8 or 16 bits a channel."""
        return 8 if self.values.dtype == np.uint8 else 16

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def file_size(self) -> tuple[int, int]:
        """Height and width in the file, upright."""
        return self.values.shape[0] * self.reduced, self.values.shape[1] * self.reduced

    def rows(self, rows: slice | Array) -> "Pixels":
        """Some rows alone."""
        return Pixels(self.values[rows], None if self.alpha is None else self.alpha[rows])

    @property
    def is_flat(self) -> bool:
        """Whether every pixel is the same.

        >>> Pixels(np.full((8, 8, 3), 255, np.uint8)).is_flat
        True
        """
        parts = [self.values] if self.alpha is None else [self.values, self.alpha]
        return all(bool((part[rows] == part[0, 0]).all()) for rows in spec.strips(*self.size) for part in parts)


class Gathered:
    """A picture of `height` rows that comes row by row; with a `folder` it lies there on the disk."""

    def __init__(self, height: int, folder: Path | None = None) -> None:
        self.height, self.folder = height, folder
        self._values: Array | None = None
        self._alpha: Array | None = None

    def put(self, rows: slice, part: Pixels) -> None:
        """Takes some rows; a `ValueError` where the disk is full."""
        if self._values is None:
            self._values = self._empty(part.values)
            self._alpha = None if part.alpha is None else self._empty(part.alpha)
        self._values[rows] = part.values
        if self._alpha is not None:
            self._alpha[rows] = part.alpha
        on_disk.let_go(self._values, self._alpha)

    def _empty(self, like: Array) -> Array:
        shape = self.height, *like.shape[1:]
        return on_disk.empty(shape, like.dtype, self.folder) if self.folder else np.empty(shape, like.dtype)

    @property
    def pixels(self) -> Pixels:
        """All of it."""
        assert self._values is not None
        return Pixels(self._values, self._alpha)


# ---- files -> pixels


def decoders() -> str:
    """The libraries that decode most files, with their versions: to another one another file may be damaged."""
    return f"Pillow {PIL.__version__}, simplejpeg {simplejpeg.__version__ if simplejpeg else 'missing'}"


def decode(path: Path, most: int = MAX_PIXELS, at_least: tuple[int, int] | None = None) -> Pixels:
    """Reads a picture file upright: EXIF rotation applied, palettes resolved, 16 bits kept, grey left grey, colours in sRGB.

    With `at_least`, a height and a width, a JPEG may be decoded with sides 2, 4 or 8 times smaller, but not below them, by
    libjpeg's scaled inverse DCT: for pictures that are scaled down further, at a fraction of the time. Only where the
    sides in the file are multiples of that number, so that no pixel lies elsewhere.

    Raises a `ValueError` that names the file when it is not a whole, readable picture of at most `most` pixels; a
    `NoFixedRangeError` where it is one of numbers, which `read_numbers` reads.
    """
    return decode_bytes(read_bytes(path, most), str(path), most, at_least)


def decode_to_rewrite(path: Path, most: int = MAX_PIXELS) -> tuple[Pixels, Metadata]:
    """Reads a picture file as `decode` does, but in its own colours, with what it knows of itself: to be written again."""
    return decode_bytes_to_rewrite(read_bytes(path, most), str(path), most)


def decode_bytes_to_rewrite(data: bytes, name: str, most: int = MAX_PIXELS) -> tuple[Pixels, Metadata]:
    """The same of the bytes of a picture file; `name` is what messages and remarks call it."""
    pixels = _named(name, data, lambda: _decode(data, name, most, None))
    return pixels, metadata.read(data, pixels.size, name)


def read_bytes(path: Path, most: int = MAX_PIXELS) -> bytes:
    """The bytes of a picture file; a `ValueError` that names it where it cannot be read, is empty or too large."""
    require_file(path)
    try:
        formats.require_bytes(path.stat().st_size, most)
        data = path.read_bytes()
    except formats.TooLargeError as error:
        raise ValueError(f"{path}: {error}") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not data:
        raise ValueError(f"{path}: the file is empty (0 bytes); remove it or copy it again")
    return data


def decode_bytes(data: bytes, name: str, most: int = MAX_PIXELS, at_least: tuple[int, int] | None = None) -> Pixels:
    """Reads the bytes of a picture file as `decode` does; `name` is what messages and remarks call it."""
    pixels = _named(name, data, lambda: _decode(data, name, most, at_least))
    return in_srgb(pixels, profiles.embedded(data))


def in_srgb(pixels: Pixels, profile: bytes) -> Pixels:
    """The same in sRGB, which networks see, from the colours of an ICC profile; empty for none."""
    return replace(pixels, values=profiles.to_srgb(pixels.values, profile)) if profile else pixels


def _named(name: str, data: bytes, read: Callable[[], T]) -> T:
    """What `read` gives of `data`; whatever a decoder raises becomes a `ValueError` that names the file."""
    try:
        return read()
    except formats.UnknownFormatError as error:
        if cut := formats.cut_off(data):
            raise ValueError(f"{name}: {HALF_WRITTEN.format(cut)}") from error
        raise ValueError(f"{name}: {error}, whatever its name says; convert or remove it") from error
    except (formats.TooLargeError, formats.MissingExtraError, formats.UnreadableError) as error:
        raise ValueError(f"{name}: {error}") from error
    except NoFixedRangeError as error:
        raise NoFixedRangeError(error.dtype, name) from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name}: too large to be opened safely ({error}); scale it down or cut it up") from error
    except Exception as error:  # of a damaged file a decoder may raise anything
        if isinstance(error, MemoryError) or "insufficient memory" in str(error).lower():
            raise ValueError(f"{name}: does not fit in the memory that is free; scale it down or cut it up") from error
        reason = brief(error) or type(error).__name__
        cut = formats.cut_off(data) or (formats.CUT_OFF if TRUNCATED.search(reason) else "")
        if not cut and NOT_SUPPORTED.search(reason):
            raise ValueError(
                f"{name}: stored in a way that is not read, or damaged ({reason}); save it anew as PNG, or copy it again"
            ) from error
        raise ValueError(f"{name}: {HALF_WRITTEN.format(cut or reason)}") from error


def _decode(data: bytes, name: str, most: int, at_least: tuple[int, int] | None) -> Pixels:
    if data.startswith(jpeg.SIGNATURE):
        return _decode_jpeg(data, name, most, at_least)
    if data.startswith(ifd.SIGNATURES):
        found = tiff.layout(data)
        if found.has_more:
            note(name, remarks.FIRST_FRAME)
        tiff.require_known_compression(found, found.is_plain)
        if not found.is_plain:
            return _decode_tiff(data, found, most)
    if data.startswith(JPEG_2000) and END_OF_JPEG_2000 not in data[-64:]:  # OpenJPEG draws what is there
        raise ValueError("its end is missing")
    if size := pnm.deep_size(data):
        formats.require_size(*size, most, data)
        with formats.room_for(*size):
            return Pixels(pnm.deep(data))
    return _decode_with_pillow(data, name, most, None)


def _premultiplied(values: Array, alpha: Array, stored: str = "") -> Pixels:
    """Pixels of colours that are multiplied by their alpha, which are divided by it in place."""
    return Pixels(values, alpha, stored=stored, above_alpha=spec.divided_by_alpha(values, alpha))


def _decode_jpeg(data: bytes, name: str, most: int, at_least: tuple[int, int] | None) -> Pixels:
    try:
        if fast := _decode_jpeg_fast(data, most, at_least):
            return fast
        if data.endswith(jpeg.END) or jpeg.completed(data) is None:  # for zeros in place of the end Pillow says nothing
            return _decode_with_pillow(data, name, most, at_least)
    except formats.TooLargeError:
        raise
    except (ValueError, OSError):
        if jpeg.completed(data) is None:
            raise
    return _decode_cut_off(data, name, most)


def _decode_cut_off(data: bytes, name: str, most: int) -> Pixels:
    completed = jpeg.completed(data)
    assert completed
    pixels = _decode_with_pillow(completed, name, most, None)
    with formats.open_image(completed) as image:
        if image.mode not in ("L", "RGB") or jpeg.share_missing(completed, _as_stored(image)) > MOST_MISSING:
            raise ValueError("more than its end is missing")
    note(name, remarks.CUT_OFF)
    return pixels


def _as_stored(image: Image.Image) -> Array:
    values = np.asarray(image)
    return values.reshape(*values.shape[:2], -1)


def size_in_header(path: Path) -> tuple[int, int] | None:
    """Height and width of a picture, upright, without its pixels; None where the file cannot be read."""
    try:
        require_file(path)
        with formats.open_image(path.read_bytes()) as image:
            width, height = image.size
            if image.format == "PNG" and "exif" not in image.info:
                return height, width  # Pillow would decode all pixels, to look for EXIF data behind them
            return (width, height) if _orientation(image) in ON_THEIR_SIDE else (height, width)
    except Exception:  # of a damaged file a decoder may raise anything; `decode` says what is wrong with it
        return None


def _decode_jpeg_fast(data: bytes, most: int, at_least: tuple[int, int] | None) -> Pixels | None:
    """The same levels as Pillow's, faster; None where Pillow is needed (CMYK, no simplejpeg, not a JPEG)."""
    if simplejpeg is None:
        return None
    orientation = 1
    has_more = jpeg.may_have_metadata(data)
    if has_more:
        with formats.open_image(data) as image:
            orientation = _orientation(image)
    try:
        return _decode_with_simplejpeg(data, orientation, most, at_least)
    except ValueError:
        # Cameras leave stray bytes, and editors parts of a profile: Pillow knows better what is damage
        if has_more or jpeg.icc_profile(data):
            return None
        raise


def _decode_with_simplejpeg(
    data: bytes, orientation: int, most: int, at_least: tuple[int, int] | None
) -> Pixels | None:
    height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
    if colorspace not in ("Gray", "YCbCr"):
        return None
    formats.require_size(width, height, most, data)
    reduced = _reduction(height, width, orientation, at_least)
    with formats.room_for(width, height):
        values = simplejpeg.decode_jpeg(
            data,
            "GRAY" if colorspace == "Gray" else "RGB",
            min_height=height // reduced,
            min_width=width // reduced,
            strict=True,
        )
        return Pixels(turn_upright(values, orientation), reduced=reduced)


def _reduction(height: int, width: int, orientation: int, at_least: tuple[int, int] | None) -> int:
    """How many times smaller a JPEG of this size, as it lies in the file, is decoded."""
    if at_least is None:
        return 1
    least_height, least_width = at_least[::-1] if orientation in ON_THEIR_SIDE else at_least
    return next(
        (
            times
            for times in (8, 4, 2)
            if height % times == width % times == 0 and height >= times * least_height and width >= times * least_width
        ),
        1,
    )


def _decode_with_pillow(data: bytes, name: str, most: int, at_least: tuple[int, int] | None) -> Pixels:
    with formats.open_image(data, name) as image:
        width, height = formats.extent(image)
        formats.require_size(width, height, most, data)
        _require_fixed_range(image)
        reduced = 1
        if isinstance(image, JpegImagePlugin.JpegImageFile) and at_least:
            reduced = _reduction(height, width, _orientation(image), at_least)
            if reduced > 1:
                image.draft(None, (width // reduced, height // reduced))
        with formats.room_for(width, height), formats.within_pillows_limit(width, height):
            is_deep = _has_deep_colour(image)
            clear = image.info.get("transparency")
            if (
                image.format == "PNG" and image.mode == "L" and isinstance(clear, int)
            ):  # Pillow spreads the levels alone
                image.info["transparency"] = clear * png.step(data)
            image.load()  # also before OpenCV: Pillow rejects damaged files silently, OpenCV's libraries print lines
            if not is_deep:
                return replace(from_image(image), reduced=reduced)
            orientation = _orientation(image)
            image.close()  # its pixels too: those that are wanted have 16 bits
            return _decode_deep_png(data, orientation)


def _decode_tiff(data: bytes, found: tiff.Layout, most: int) -> Pixels:
    if found.has_no_range:
        raise NoFixedRangeError(found.dtype)
    with _room_for_tiff(data, found, most):
        values, alpha = tiff.levels(data, found)
    values = turn_upright(values, found.orientation)
    if alpha is None:
        return Pixels(values)
    alpha = turn_upright(alpha, found.orientation)
    return _premultiplied(values, alpha) if found.is_premultiplied else Pixels(values, alpha)


def from_image(image: Image.Image) -> Pixels:
    """The pixels of a Pillow image, which has 16 bits only where it is grey.

    >>> from_image(Image.new("LA", (4, 2), (7, 128))).values.shape
    (2, 4, 1)
    """
    if 0 in image.size:
        raise ValueError(f"a picture of {image.width}x{image.height} pixels has none")
    _require_fixed_range(image)
    if _orientation(image) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return _deep_grey(image)
    stored = image.mode
    if stored == "CMYK":
        image = profiles.from_cmyk(image)
    has_alpha = image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info
    mode = ("L" if image.mode in ("1", "L", "LA", "La") else "RGB") + ("A" if has_alpha else "")
    values = np.empty((image.height, image.width, len(mode)), np.uint8)
    for rows in spec.strips(image.height, image.width):
        strip = image if rows == slice(0, image.height) else image.crop((0, rows.start, image.width, rows.stop))
        as_wanted = strip if strip.mode in PREMULTIPLIED else strip.convert(mode)
        values[rows] = np.asarray(as_wanted).reshape(-1, image.width, len(mode))
    if stored in PREMULTIPLIED:  # Pillow would round down
        return _premultiplied(values[..., :-1], values[..., -1], stored)
    if has_alpha:
        return Pixels(values[..., :-1], values[..., -1], stored=stored)
    return Pixels(values, stored=stored)


def _deep_grey(image: Image.Image) -> Pixels:
    values, clear = np.asarray(image).astype(np.uint16)[..., None], image.info.get("transparency")
    if not isinstance(clear, int):
        return Pixels(values, stored=image.mode)
    return Pixels(values, np.where(values[..., 0] == clear, 0, np.iinfo(np.uint16).max).astype(np.uint16))


def _orientation(image: Image.Image) -> int:
    """What the EXIF data say of the rotation; 1, upright, where they are damaged, which the pixels need not be."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # Pillow raises whatever it meets there
        return 1
    return orientation if isinstance(orientation, int) else 1


def _require_fixed_range(image: Image.Image) -> None:
    if image.mode in ("I", "F"):
        raise NoFixedRangeError("int32" if image.mode == "I" else "float32")


def _has_deep_colour(image: Image.Image) -> bool:
    """Whether the file has 16 bits a channel, where Pillow opens 8."""
    tiles: Sequence[Any] = getattr(image, "tile", ()) if image.mode in ("RGB", "RGBA") else ()
    arguments = next((tile[3] for tile in tiles), "")
    return image.format == "PNG" and ";16" in str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _decode_deep_png(data: bytes, orientation: int) -> Pixels:
    import cv2

    data = png.essential(data)
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if values is None or values.dtype != np.uint16:
        raise ValueError("16-bit colour in a form that cannot be read; save it as a plain 16-bit PNG")
    values = turn_upright(values, orientation)
    for rows in spec.strips(*values.shape[:2]):  # in place
        values[rows, :, :3] = values[rows, :, 2::-1]
    colours = 1 if png.is_grey(data) else 3
    return Pixels(values[..., :colours], values[..., 3]) if values.shape[-1] == 4 else Pixels(values[..., :colours])


def turn_upright(values: Array, orientation: int) -> Array:
    """Undoes the rotation that the EXIF tag `ORIENTATION` describes, for `[H, W]` or `[H, W, C]`, in place where it can."""
    if orientation not in range(2, 9):
        return values
    import cv2

    if values.shape[2:] > (4,):  # more channels than OpenCV turns
        parts = np.split(values, range(4, values.shape[2], 4), axis=2)
        return np.concatenate([turn_upright(np.ascontiguousarray(part), orientation) for part in parts], axis=2)
    values = np.ascontiguousarray(values)
    shape = values.shape
    if orientation in ON_THEIR_SIDE:
        values, shape = cv2.transpose(values), (shape[1], shape[0], *shape[2:])
    flips = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}  # OpenCV's codes: rows 0, columns 1, both -1
    if orientation in flips:
        values = cv2.flip(values, flips[orientation], dst=values)
    return values.reshape(shape)  # OpenCV drops a single channel


@contextmanager
def _room_for_tiff(data: bytes, found: tiff.Layout, most: int) -> Iterator[None]:
    width, height = tiff.extent(found)
    times = -(-found.bytes_a_pixel // formats.BYTES_A_PIXEL)  # as many ordinary pixels
    formats.require_size(width, height, most // times, data)
    with (
        formats.room_for(times * width, height),
        formats.within_pillows_limit(times * width * formats.BYTES_A_PIXEL, height),  # to Pillow each byte is a pixel
    ):
        yield


def read_numbers(path: Path, most: int = MAX_PIXELS) -> Array:
    """The numbers in a picture file as they are, `[H, W, C]` of any type, upright: TIFF, .npy of one picture, PFM.

    For pictures whose range somebody states. Raises a `ValueError` that names the file.

    >>> import tempfile
    >>> np.save(file := Path(tempfile.mkdtemp()) / "heights.npy", np.float32([[0, 8848]]))
    >>> read_numbers(file).flatten().tolist()
    [0.0, 8848.0]
    """
    return numbers_in(read_bytes(path, most), str(path), most)


def numbers_in(data: bytes, name: str, most: int = MAX_PIXELS) -> Array:
    """The same of the bytes of such a file; `name` is what messages call it."""

    def numbers() -> Array:
        if data.startswith(np.lib.format.MAGIC_PREFIX):
            array: Array = np.load(io.BytesIO(data), allow_pickle=False)
            if array.dtype == np.bool_:
                array = array.astype(np.uint8) * np.uint8(EIGHT_BIT.full)
            if array.ndim not in (2, 3) or array.size == 0 or array.dtype.kind not in "uif":
                raise formats.UnreadableError(
                    f"holds {array.dtype} of shape {list(array.shape)}; numbers [H, W] or [H, W, C] are expected"
                )
            return array.reshape(*array.shape[:2], -1)
        if data.startswith(ifd.SIGNATURES):
            found = tiff.layout(data)
            if found.photometric in (tiff.WHITE_IS_ZERO, tiff.BLACK_IS_ZERO, tiff.RGB):
                with _room_for_tiff(data, found, most):
                    return turn_upright(tiff.numbers(data, found), found.orientation)
        with formats.open_image(data, name) as image:
            if image.mode not in ("I", "F"):
                return _decode(data, name, most, None).values
            formats.require_size(image.width, image.height, most, data)
            with formats.room_for(image.width, image.height), formats.within_pillows_limit(*image.size):
                return np.array(image)[..., None]

    return _named(name, data, numbers)


# ---- pixels <-> tensors


def to_channels(pixels: Pixels, channels: int) -> Array:
    """`[H, W, channels]`, by the rules of `spec.to_channels`."""
    return spec.to_channels(pixels.values, pixels.alpha, channels)


def to_bytes(pixels: Pixels, channels: int) -> Tensor:
    """uint8 `[C, H, W]`; 16 bits are rounded to 8.

    >>> to_bytes(Pixels(np.full((1, 1, 1), 65535, np.uint16)), channels=3).flatten().tolist()
    [255, 255, 255]
    """
    return ImageSpec(channels).read(pixels.values, pixels.alpha)


def to_tensor(pixels: Pixels, channels: int) -> Tensor:
    """float32 `[C, H, W]` in [-1, 1], with all bits of the file.

    >>> to_tensor(Pixels(np.array([[[0], [255]]], np.uint8)), channels=1).flatten().tolist()
    [-1.0, 1.0]
    """
    read = ImageSpec(channels, pixels.bits)
    return read.to_float(read.read(pixels.values, pixels.alpha))


def from_bytes(pictures: Tensor) -> Tensor:
    """uint8 of any shape -> float32 in [-1, 1]."""
    return EIGHT_BIT.to_float(pictures)


def as_bytes(pictures: Tensor) -> Tensor:
    """float in [-1, 1] -> uint8 of the same shape, as an 8-bit file would hold it."""
    return EIGHT_BIT.to_levels(pictures)


def from_tensor(picture: Tensor, bits: Bits = 8, alpha: Array | None = None) -> Pixels:
    """float `[C, H, W]` in [-1, 1] -> pixels of 8 or 16 bits; of C = 2 or 4 the last channel takes the place of `alpha`.

    >>> from_tensor(torch.tensor([-1.0, 0.0, 1.0, 9.0]).reshape(1, 1, 4)).values.flatten().tolist()
    [0, 128, 255, 255]
    """
    values = ImageSpec(bits=bits).to_levels(picture.detach()).permute(1, 2, 0).cpu().numpy()
    if alpha is None or values.shape[-1] in (2, 4):
        return Pixels(values)
    return Pixels(values, spec.to_bits(alpha, bits))


def with_alpha_as_channel(pixels: Pixels, channels: int) -> Pixels:
    """The same pixels; where `channels` counts the alpha channel, it is one of the values.

    >>> with_alpha_as_channel(from_image(Image.new("RGBA", (4, 2))), 4).values.shape
    (2, 4, 4)
    """
    if pixels.alpha is None or pixels.values.shape[-1] + 1 != channels:
        return pixels
    return Pixels(to_channels(pixels, channels))


# ---- pixels -> files


def encode(pixels: Pixels, path: Path, known: Metadata | None = None, quality: int | None = None) -> list[str]:
    """Writes a picture in the format of the path's suffix, whole or not at all, with what its file `known` of itself.

    JPEG and WebP are compressed as that file was if it has the same format, else at `quality`, 95 by default.

    What a format cannot hold is dropped: JPEG and BMP have no alpha and no fourth channel, only PNG and TIFF have 16 bits.
    The last of 2 or 4 channels is written as alpha. Returns in words what was dropped; raises a `ValueError` that names the
    file when it cannot be written.
    """
    require_writable_suffix(path)
    suffix, size = path.suffix.lower(), pixels.size
    format, lost = FORMATS[suffix], []
    if max(size) > (largest := LARGEST_SIDE.get(format, max(size))):
        raise ValueError(
            f"{path}: {size[1]}x{size[0]} pixels, and {format} has at most {largest:,} a side; write PNG or TIFF"
        )
    if pixels.bits == 16 and suffix not in DEEP_SUFFIXES:
        pixels, lost = _to_8_bits(pixels), ["16 bits"]
    last = known.extra[-1] if known and known.extra else tiff.ALPHA
    lost += _not_kept_of_the_last(pixels, suffix, last)
    if suffix not in ALPHA_SUFFIXES:
        channels = pixels.values.shape[-1]
        pixels = Pixels(pixels.values[..., : channels - 1] if channels in (2, 4) else pixels.values)
    elif format == "TIFF" and last == tiff.PREMULTIPLIED:
        pixels = _with_colours_multiplied(pixels)
    options: dict[str, Any] = {"quality": 95} if format in COMPRESSED_WITH_LOSS else {}
    if format == "PNG":
        options = {"compress_level": 3}  # half the time of Pillow's 6, and files a hundredth larger
    if known:
        known, too = known.fitted(format, size)
        options, lost = options | known.options(format), lost + too
    if quality and format in COMPRESSED_WITH_LOSS:
        options |= {"quality": quality, "qtables": None, "lossless": False}
    try:
        with atomic_file(path, durable=False) as partial:
            if on_disk.folder_of(pixels.values) and format in giant.FORMATS:
                lost += giant.write(pixels.values, pixels.alpha, partial, format, options, known, last)
                return lost
            if pixels.bits == 16 and (pixels.values.shape[-1] > 1 or pixels.alpha is not None):
                data = _deep_colour(pixels, format, options.get("compression"))
            else:
                # Not to the file itself: where the disk is full, Pillow does not see that only a part was written.
                to_image(pixels).save(encoded := io.BytesIO(), format, **options)
                data = encoded.getvalue()
            if format == "TIFF":
                data = tiff.with_last_channel(data, last)
            partial.write_bytes(known.inserted(data, format) if known else data)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path}: could not be written ({reason})") from error
    return lost


def _not_kept_of_the_last(pixels: Pixels, suffix: str, last: int) -> list[str]:
    """What a format cannot say of the last of 2 or 4 channels, or of alpha; `last` is what it was in its file."""
    is_channel = pixels.values.shape[-1] in (2, 4)
    if last not in (tiff.ALPHA, tiff.PREMULTIPLIED):
        if suffix not in DEEP_SUFFIXES[1:] and is_channel:
            return ["the last channel" + (", which is alpha there" if suffix in ALPHA_SUFFIXES else "")]
        return []
    if not is_channel and (pixels.alpha is None or pixels.alpha.min() == np.iinfo(pixels.alpha.dtype).max):
        return []
    if suffix not in ALPHA_SUFFIXES:
        return ["transparency"]
    return ["colours multiplied by alpha"] if last == tiff.PREMULTIPLIED and suffix not in DEEP_SUFFIXES[1:] else []


def _with_colours_multiplied(pixels: Pixels) -> Pixels:
    """The same with its colours multiplied by alpha, or by the last of 2 or 4 channels: levels for a file, no picture."""
    values, alpha = pixels.values, pixels.alpha
    if alpha is None and values.shape[-1] in (2, 4):
        values, alpha = values[..., :-1], values[..., -1]
    if alpha is None:
        return pixels
    return Pixels(spec.multiplied_by_alpha(values, alpha, pixels.above_alpha), alpha)


def _deep_colour(pixels: Pixels, format: str, compression: str | None) -> bytes:
    import cv2

    values = _all_channels(pixels)
    if values.shape[-1] == 2:
        return png.of_grey_and_alpha(values) if format == "PNG" else tiff.of_grey_and_alpha(values, compression)
    values = np.concatenate([values[..., 2::-1], values[..., 3:]], axis=-1)
    options = []
    if compression:
        options = [cv2.IMWRITE_TIFF_COMPRESSION, TiffImagePlugin.COMPRESSION_INFO_REV[compression]]
    encoded, data = cv2.imencode(".png" if format == "PNG" else ".tif", np.ascontiguousarray(values), options)
    assert encoded
    return data.tobytes()


def require_writable_suffix(path: Path) -> None:
    """Raises a `ValueError` that lists the formats when the path's suffix is not one of them."""
    if path.suffix.lower() not in (*FORMATS, ARRAY):
        raise ValueError(
            f"{path}: no picture format is known by {path.suffix or 'a name without suffix'!r}; "
            f"use one of {', '.join(FORMATS)}"
        )


def _all_channels(pixels: Pixels) -> Array:
    """Values and alpha in one array; a `ValueError` for more channels than a picture file holds."""
    values = pixels.values
    if pixels.alpha is not None:
        values = np.concatenate([values, pixels.alpha[..., None]], axis=-1)
    if values.shape[-1] > 4:
        raise ValueError(f"{values.shape[-1]} channels, and a picture file holds 4 at most; use arrays from Python")
    return values


def _to_8_bits(pixels: Pixels) -> Pixels:
    return Pixels(spec.to_bits(pixels.values, 8), None if pixels.alpha is None else spec.to_bits(pixels.alpha, 8))


def to_image(pixels: Pixels) -> Image.Image:
    """A Pillow image: L, LA, RGB, RGBA or I;16. Pillow has no 16-bit colour, so that comes out with 8 bits."""
    if pixels.values.shape[-1] > 1 or pixels.alpha is not None:
        pixels = _to_8_bits(pixels)
    values = _all_channels(pixels)
    return Image.fromarray(np.ascontiguousarray(values[..., 0] if values.shape[-1] == 1 else values))


# ---- several pictures in one


def merge(pictures: Sequence[Tensor], columns: int, gap: int = 2) -> Tensor:
    """Pictures `[C, H, W]` of one size in a grid with white lines: picture i in row `i // columns`, column `i % columns`.

    Of more than three channels the first three are shown.

    >>> merge([torch.zeros(3, 8, 8)] * 5, columns=2, gap=0).shape
    torch.Size([3, 24, 16])
    """
    height, width = pictures[0].shape[1:]
    rows = -(-len(pictures) // columns)
    sheet = torch.ones(3, rows * (height + gap) - gap, columns * (width + gap) - gap)
    for i, picture in enumerate(pictures):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[:, top : top + height, left : left + width] = viewable(picture.detach().cpu())
    return sheet
