"""One file <-> one tensor in [-1, 1]. EXIF rotation, alpha, palettes and 16-bit files are handled here, and only here.

A picture is float32 `[C, H, W]` in [-1, 1]. Between the file and the tensor stands `Pixels`: the levels of the file, 8 or
16 bit, upright, with the alpha channel separate, so that a translated picture can be written in the same form. What the
levels mean and how channels convert is in `images/spec.py`.
"""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from diptych.files import atomic_file
from diptych.images import spec
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


def decode(path: Path) -> Pixels:
    """Reads a picture file upright: EXIF rotation applied, palettes resolved, 16 bits kept, grey left grey.

    Raises a `ValueError` that names the file when it is not a whole, readable picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not data:
        raise ValueError(f"{path}: the file is empty (0 bytes); remove it or copy it again")
    return decode_bytes(data, str(path))


def decode_bytes(data: bytes, name: str) -> Pixels:
    """Reads the bytes of a picture file as `decode` does; `name` is what messages call it."""
    try:
        return _decode_jpeg_fast(data) or from_image(Image.open(io.BytesIO(data)), data)
    except UnidentifiedImageError as error:
        raise ValueError(f"{name}: not a picture that can be read, whatever its name says; remove it") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name}: too large to be opened safely ({error}); scale it down or cut it up") from error
    except _NoFixedRangeError as error:
        raise ValueError(f"{name}: {error}") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise ValueError(f"{name}: damaged or only half written ({error}); remove it or copy it again") from error


def _decode_jpeg_fast(data: bytes) -> Pixels | None:
    """The same levels as Pillow's, faster; None where Pillow is needed (rotation, CMYK, no simplejpeg, not a JPEG)."""
    if simplejpeg is None or not data.startswith(b"\xff\xd8"):
        return None
    if b"Exif\x00" in data or b"tiff:Orientation" in data:  # the second in XMP; both may lie behind a large ICC profile
        return None
    _, _, colorspace, _ = simplejpeg.decode_jpeg_header(data)
    if colorspace not in ("Gray", "YCbCr"):
        return None
    return Pixels(simplejpeg.decode_jpeg(data, "GRAY" if colorspace == "Gray" else "RGB", strict=True))


def from_image(image: Image.Image, data: bytes | None = None) -> Pixels:
    """The pixels of a Pillow image; `data` is its file, needed only for 16-bit colour and a fourth channel.

    >>> from_image(Image.new("LA", (4, 2), (7, 128))).values.shape
    (2, 4, 1)
    """
    if 0 in image.size:
        raise ValueError(f"a picture of {image.width}x{image.height} pixels has none")
    raw = _raw_mode(image)
    if data is not None and (";16" in raw or raw == "RGBX"):
        image.load()  # Pillow rejects damaged files silently, OpenCV's libraries print lines of their own
        return _decode_with_opencv(image, data, raw)
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F"):
        raise _NoFixedRangeError(f"32-bit pictures (mode {image.mode}) have no fixed range; save it with 8 or 16 bits")
    if image.mode.startswith("I;16"):
        return Pixels(np.asarray(image).astype(np.uint16)[..., None])
    has_alpha = image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info
    grey = image.mode in ("1", "L", "LA", "La")
    if not has_alpha:
        values = np.asarray(image.convert("L" if grey else "RGB"))
        return Pixels(values[..., None] if grey else values)
    values = np.asarray(image.convert("LA" if grey else "RGBA"))
    return Pixels(values[..., :-1], values[..., -1])


def _raw_mode(image: Image.Image) -> str:
    """How the file stores RGB. Pillow opens 16-bit colour as 8-bit, and a TIFF of RGB and one more channel as RGB."""
    tiles: Sequence[Any] = getattr(image, "tile", ()) if image.mode in ("RGB", "RGBA") else ()
    arguments = next((tile[3] for tile in tiles), "")
    raw = str(arguments[0] if isinstance(arguments, tuple) else arguments)
    return "" if raw == "RGBX" and image.format != "TIFF" else raw  # elsewhere the X is padding


def _decode_with_opencv(image: Image.Image, data: bytes, raw: str) -> Pixels:
    import cv2

    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if values is None or (values.dtype != np.uint16 and ";16" in raw):
        raise ValueError("16-bit colour in a form that cannot be read; save it as a plain 16-bit PNG")
    if image.format != "TIFF":  # OpenCV always turns a TIFF upright and never a PNG, whatever the flags say
        values = _turn_upright(values, image.getexif().get(0x0112, 1))
    if values.ndim == 2:
        return Pixels(values[..., None])
    if raw.startswith("RGBX"):
        return Pixels(values[..., [2, 1, 0, 3]])
    return Pixels(np.ascontiguousarray(values[..., 2::-1]), values[..., 3] if values.shape[-1] == 4 else None)


def _turn_upright(values: Array, orientation: int) -> Array:
    """Undoes the rotation that EXIF tag 0x0112 describes, for `[H, W, ...]`."""
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
