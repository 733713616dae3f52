"""One file <-> one tensor in [-1, 1]. EXIF rotation, alpha, palettes and 16-bit files are handled here, and only here.

A picture is float32 `[C, H, W]` in [-1, 1]. Between the file and the tensor stands `Pixels`: the levels of the file, 8 or
16 bit, upright, with the alpha channel separate, so that a translated picture can be written in the same form. What the
levels mean and how channels convert is in `images/spec.py`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from diptych.files import atomic_file, require_file
from diptych.images import formats, spec
from diptych.images.formats import MAX_PIXELS
from diptych.images.spec import EIGHT_BIT, Bits, ImageSpec, viewable
from diptych.images.spec import Array as Array

# OpenCV reads this once, when it is imported; otherwise it prints lines of its own next to the one that names the file.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
DEEP_SUFFIXES = (".png", ".tif", ".tiff")
ALPHA_SUFFIXES = (".png", ".tif", ".tiff", ".webp")

ORIENTATION = 0x0112  # the EXIF tag
REASON = 120  # characters of a decoder's own message


@dataclass(frozen=True)
class Pixels:
    """A decoded picture: `values` is `[H, W, C]` of uint8 or uint16, `alpha` is `[H, W]` of the same type or None."""

    values: Array
    alpha: Array | None = None

    @property
    def bits(self) -> Bits:
        """8 or 16 bits a channel."""
        return 8 if self.values.dtype == np.uint8 else 16

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.values.shape[0], self.values.shape[1]


class _NoFixedRangeError(ValueError):
    """An intact picture whose numbers have no defined range."""


# ---- files -> pixels


def decode(path: Path, most: int = MAX_PIXELS) -> Pixels:
    """Reads a picture file upright: EXIF rotation applied, palettes resolved, 16 bits kept, grey left grey.

    Raises a `ValueError` that names the file when it is not a whole, readable picture of at most `most` pixels.
    """
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
    return decode_bytes(data, str(path), most)


def decode_bytes(data: bytes, name: str, most: int = MAX_PIXELS) -> Pixels:
    """Reads the bytes of a picture file as `decode` does; `name` is what messages call it."""
    try:
        return _decode_jpeg_fast(data, most) or _decode_with_pillow(data, most)
    except formats.UnknownFormatError as error:
        raise ValueError(f"{name}: {error}, whatever its name says; convert or remove it") from error
    except (formats.TooLargeError, _NoFixedRangeError) as error:
        raise ValueError(f"{name}: {error}") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name}: too large to be opened safely ({error}); scale it down or cut it up") from error
    except Exception as error:  # of a damaged file a decoder may raise anything
        if isinstance(error, MemoryError) or "insufficient memory" in str(error).lower():
            raise ValueError(f"{name}: does not fit in the memory that is free; scale it down or cut it up") from error
        reason = " ".join(str(error).split())[:REASON] or type(error).__name__
        raise ValueError(f"{name}: damaged or only half written ({reason}); remove it or copy it again") from error


def _decode_jpeg_fast(data: bytes, most: int) -> Pixels | None:
    """The same levels as Pillow's, faster; None where Pillow is needed (rotation, CMYK, no simplejpeg, not a JPEG)."""
    if simplejpeg is None or not data.startswith(formats.JPEG):
        return None
    if b"Exif\x00" in data or b"tiff:Orientation" in data:  # the second in XMP; both may lie behind a large ICC profile
        return None
    height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
    if colorspace not in ("Gray", "YCbCr"):
        return None
    formats.require_size(width, height, most, data)
    with formats.room_for(width, height):
        return Pixels(simplejpeg.decode_jpeg(data, "GRAY" if colorspace == "Gray" else "RGB", strict=True))


def _decode_with_pillow(data: bytes, most: int) -> Pixels:
    with formats.open_image(data) as image:
        width, height = formats.extent(image)
        formats.require_size(width, height, most, data)
        _require_fixed_range(image)
        with formats.room_for(width, height), formats.within_pillows_limit(width, height):
            raw = _raw_mode(image)
            image.load()  # also before OpenCV: Pillow rejects damaged files silently, OpenCV's libraries print lines
            if ";16" not in raw and raw != "RGBX":
                return from_image(image)
            is_tiff, orientation = image.format == "TIFF", image.getexif().get(ORIENTATION, 1)
            image.close()  # its pixels too: those that are wanted have 16 bits
            return _decode_with_opencv(data, raw, is_tiff, orientation)


def from_image(image: Image.Image) -> Pixels:
    """The pixels of a Pillow image, which has 16 bits only where it is grey.

    >>> from_image(Image.new("LA", (4, 2), (7, 128))).values.shape
    (2, 4, 1)
    """
    if 0 in image.size:
        raise ValueError(f"a picture of {image.width}x{image.height} pixels has none")
    _require_fixed_range(image)
    if image.getexif().get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return Pixels(np.asarray(image).astype(np.uint16)[..., None])
    has_alpha = image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info
    mode = ("L" if image.mode in ("1", "L", "LA", "La") else "RGB") + ("A" if has_alpha else "")
    values = np.empty((image.height, image.width, len(mode)), np.uint8)
    for rows in spec.strips(image.height, image.width):
        strip = image if rows == slice(0, image.height) else image.crop((0, rows.start, image.width, rows.stop))
        values[rows] = np.asarray(strip.convert(mode)).reshape(-1, image.width, len(mode))
    return Pixels(values[..., :-1], values[..., -1]) if has_alpha else Pixels(values)


def _require_fixed_range(image: Image.Image) -> None:
    if image.mode in ("I", "F"):
        raise _NoFixedRangeError(f"32-bit pictures (mode {image.mode}) have no fixed range; save it with 8 or 16 bits")


def _raw_mode(image: Image.Image) -> str:
    """How the file stores RGB. Pillow opens 16-bit colour as 8-bit, and a TIFF of RGB and one more channel as RGB."""
    tiles: Sequence[Any] = getattr(image, "tile", ()) if image.mode in ("RGB", "RGBA") else ()
    arguments = next((tile[3] for tile in tiles), "")
    raw = str(arguments[0] if isinstance(arguments, tuple) else arguments)
    return "" if raw == "RGBX" and image.format != "TIFF" else raw  # elsewhere the X is padding


def _decode_with_opencv(data: bytes, raw: str, is_tiff: bool, orientation: int) -> Pixels:
    import cv2

    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if values is None or (values.dtype != np.uint16 and ";16" in raw):
        raise ValueError("16-bit colour in a form that cannot be read; save it as a plain 16-bit PNG")
    if not is_tiff:  # OpenCV always turns a TIFF upright and never a PNG, whatever the flags say
        values = _turn_upright(values, orientation)
    if values.ndim == 2:
        return Pixels(values[..., None])
    for rows in spec.strips(*values.shape[:2]):  # in place
        values[rows, :, :3] = values[rows, :, 2::-1]
    if values.shape[-1] == 4 and not raw.startswith("RGBX"):
        return Pixels(values[..., :3], values[..., 3])
    return Pixels(values)


def _turn_upright(values: Array, orientation: int) -> Array:
    """Undoes the rotation that the EXIF tag `ORIENTATION` describes, for `[H, W, ...]`."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


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


def encode(pixels: Pixels, path: Path) -> None:
    """Writes a picture in the format of the path's suffix, whole or not at all.

    What a format cannot hold is dropped: JPEG and BMP have no alpha and no fourth channel, only PNG and TIFF have 16 bits.
    The last of 2 or 4 channels is written as alpha. Raises a `ValueError` that names the file when it cannot be written.
    """
    require_writable_suffix(path)
    suffix = path.suffix.lower()
    if suffix not in DEEP_SUFFIXES:
        pixels = _to_8_bits(pixels)
    if suffix not in ALPHA_SUFFIXES:
        channels = pixels.values.shape[-1]
        pixels = Pixels(pixels.values[..., : channels - 1] if channels in (2, 4) else pixels.values)
    options: dict[str, Any] = {"quality": 95} if suffix in (".jpg", ".jpeg", ".webp") else {}
    if suffix == ".png":
        options = {"compress_level": 3}  # half the time of Pillow's 6, and files a hundredth larger
    try:
        with atomic_file(path, durable=False) as partial:
            if pixels.bits == 16 and (pixels.values.shape[-1] > 1 or pixels.alpha is not None):
                _write_deep_colour(pixels, partial)
            else:
                to_image(pixels).save(partial, **options)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path}: could not be written ({reason})") from error


def _write_deep_colour(pixels: Pixels, path: Path) -> None:
    import cv2

    values = _all_channels(pixels)
    colour, alpha = np.split(values, [3 if values.shape[-1] > 2 else 1], axis=-1)
    values = np.concatenate([spec.to_channels(colour, None, 3)[..., ::-1], alpha], axis=-1)
    encoded, data = cv2.imencode(path.suffix.lower(), np.ascontiguousarray(values))
    assert encoded
    path.write_bytes(data.tobytes())


def require_writable_suffix(path: Path) -> None:
    """Raises a `ValueError` that lists the formats when the path's suffix is not one of them."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{path}: no picture format is known by {path.suffix or 'a name without suffix'!r}; "
            f"use one of {', '.join(SUFFIXES)}"
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
