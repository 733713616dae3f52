"""One file <-> one tensor in [-1, 1]. EXIF, alpha, grey, palette and 16 bit are decided here, once.

A picture is float32 `[C, H, W]` in [-1, 1]. Between the file and the tensor stands `Pixels`: the file's own numbers, 8 or
16 bit, upright, with what the tensor does not carry (the alpha channel) beside them, so that a translated picture can be
written back in kind.
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

# OpenCV reads this once, when it is imported; it would print lines of its own beside the one that names the file.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
DEEP_SUFFIXES = (".png", ".tif", ".tiff")
ALPHA_SUFFIXES = (".png", ".tif", ".tiff", ".webp")

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Pixels:
    """A decoded picture: `values` is `[H, W, 1 or 3]` of uint8 or uint16, `alpha` is `[H, W]` of the same type or None."""

    values: Array
    alpha: Array | None = None

    @property
    def bits(self) -> int:
        """8 or 16 bits a channel."""
        return 8 * self.values.dtype.itemsize

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.values.shape[0], self.values.shape[1]


class _NoFixedRangeError(ValueError):
    """A whole picture of numbers that could mean anything."""


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
    """The same numbers as Pillow's, sooner; None where Pillow has to look (rotation, CMYK, no simplejpeg, no JPEG)."""
    if simplejpeg is None or not data.startswith(b"\xff\xd8"):
        return None
    if b"Exif\x00" in data or b"tiff:Orientation" in data:  # the second in XMP; both may lie behind a large ICC profile
        return None
    _, _, colorspace, _ = simplejpeg.decode_jpeg_header(data)
    if colorspace not in ("Gray", "YCbCr"):
        return None
    return Pixels(simplejpeg.decode_jpeg(data, "GRAY" if colorspace == "Gray" else "RGB", strict=True))


def from_image(image: Image.Image, data: bytes | None = None) -> Pixels:
    """The pixels of a Pillow image; `data` is the file that it came from, needed only for 16-bit colour.

    >>> from_image(Image.new("LA", (4, 2), (7, 128))).values.shape
    (2, 4, 1)
    """
    if 0 in image.size:
        raise ValueError(f"a picture of {image.width}x{image.height} pixels has none")
    if data is not None and _is_deep_colour(image):
        image.load()  # Pillow refuses damage quietly, where OpenCV's libraries would print lines of their own
        return _decode_deep_colour(image, data)
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


def _is_deep_colour(image: Image.Image) -> bool:
    # Pillow opens 16-bit colour as 8-bit; only the raw mode it would decode from tells.
    tiles: Sequence[Any] = getattr(image, "tile", ())
    return image.mode in ("RGB", "RGBA") and any(";16" in str(tile[3]) for tile in tiles)


def _decode_deep_colour(image: Image.Image, data: bytes) -> Pixels:
    import cv2

    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if values is None or values.dtype != np.uint16:
        raise ValueError("16-bit colour in a form that cannot be read; save it as a plain 16-bit PNG")
    if image.format != "TIFF":  # OpenCV turns a TIFF upright whatever it is told, and leaves a PNG as it lies
        values = _turn_upright(values, image.getexif().get(0x0112, 1))
    if values.ndim == 2:
        return Pixels(values[..., None])
    if values.shape[-1] == 4:
        return Pixels(values[..., 2::-1], values[..., 3])
    return Pixels(values[..., ::-1])


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
    """`[H, W, channels]`: grey is repeated into RGB, RGB becomes ITU-R 601 luma, see-through parts are laid on white."""
    values = pixels.values
    if pixels.alpha is not None:
        full = np.iinfo(values.dtype).max
        opacity = pixels.alpha[..., None].astype(np.float32) / full
        values = np.rint(values * opacity + full * (1 - opacity)).astype(values.dtype)
    if values.shape[-1] == channels:
        return values
    if channels == 3 and values.shape[-1] == 1:
        return np.repeat(values, 3, axis=-1)
    if channels == 1 and values.shape[-1] == 3:
        # Pillow's integer weights: a grey picture made by Pillow and one made here are the same.
        luma = values.astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32)
        return ((luma + 0x8000) >> 16).astype(values.dtype)[..., None]
    raise ValueError(f"a picture of {values.shape[-1]} channels cannot be read as {channels}; 1 and 3 can")


def to_bytes(pixels: Pixels, channels: int) -> Tensor:
    """uint8 `[C, H, W]`, what training decodes to and keeps; 16 bits are rounded to 8.

    >>> to_bytes(Pixels(np.full((1, 1, 1), 65535, np.uint16)), channels=3).flatten().tolist()
    [255, 255, 255]
    """
    values = to_channels(pixels, channels)
    if values.dtype == np.uint16:
        values = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return torch.from_numpy(np.require(values, requirements="W")).permute(2, 0, 1)  # Pillow's memory is read-only


def to_tensor(pixels: Pixels, channels: int) -> Tensor:
    """float32 `[C, H, W]` in [-1, 1].

    >>> to_tensor(Pixels(np.array([[[0], [255]]], np.uint8)), channels=1).flatten().tolist()
    [-1.0, 1.0]
    """
    values = to_channels(pixels, channels)
    half = np.iinfo(values.dtype).max / 2
    return torch.from_numpy((values.astype(np.float32) - half) / half).permute(2, 0, 1)


def from_bytes(pictures: Tensor) -> Tensor:
    """uint8 of any shape -> float32 in [-1, 1]."""
    return pictures.float().sub_(127.5).div_(127.5)


def as_bytes(pictures: Tensor) -> Tensor:
    """float in [-1, 1] -> uint8 of the same shape, as an 8-bit file would hold it: rounded and clamped, never stretched.

    >>> as_bytes(torch.tensor([-1.1, -1.0, 0.0, 1.0])).tolist()
    [0, 0, 128, 255]
    """
    return ((pictures.float() + 1) * 127.5).round().clamp(0, 255).byte()


def from_tensor(picture: Tensor, bits: int = 8, alpha: Array | None = None) -> Pixels:
    """float `[C, H, W]` in [-1, 1] -> pixels, by the fixed map `round((t + 1) * 127.5)`, clamped; never stretched.

    >>> from_tensor(torch.tensor([-1.0, 0.0, 1.0, 9.0]).reshape(1, 1, 4)).values.flatten().tolist()
    [0, 128, 255, 255]
    """
    full = 2**bits - 1
    levels = ((picture.detach().float() + 1) * (full / 2)).round().clamp(0, full)
    kind = np.uint8 if bits == 8 else np.uint16
    values = levels.permute(1, 2, 0).cpu().numpy().astype(kind)
    if alpha is not None and alpha.dtype != kind:
        alpha = np.rint(alpha * (full / np.iinfo(alpha.dtype).max)).astype(kind)
    return Pixels(values, alpha)


# ---- pixels -> files


def encode(pixels: Pixels, path: Path) -> None:
    """Writes a picture in the format of the path's suffix, whole or not at all.

    What a format cannot hold is given up: JPEG and BMP have no alpha channel, only PNG and TIFF have 16 bits. Raises a
    `ValueError` that names the file when it cannot be written.
    """
    require_writable_suffix(path)
    suffix = path.suffix.lower()
    if suffix not in DEEP_SUFFIXES:
        pixels = _to_8_bits(pixels)
    if suffix not in ALPHA_SUFFIXES:
        pixels = Pixels(pixels.values)
    options: dict[str, Any] = {"quality": 95} if suffix in (".jpg", ".jpeg", ".webp") else {}
    if suffix == ".png":
        options = {"compress_level": 3}  # half the time of Pillow's 6, and files a hundredth larger
    try:
        with atomic_file(path, durable=False) as beside:
            if pixels.bits == 16 and (pixels.values.shape[-1] == 3 or pixels.alpha is not None):
                _write_deep_colour(pixels, beside)
            else:
                to_image(pixels).save(beside, **options)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path}: could not be written ({reason})") from error


def _write_deep_colour(pixels: Pixels, path: Path) -> None:
    import cv2

    values = np.repeat(pixels.values, 3, axis=-1) if pixels.values.shape[-1] == 1 else pixels.values[..., ::-1]
    if pixels.alpha is not None:
        values = np.concatenate([values, pixels.alpha[..., None]], axis=-1)
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


def _to_8_bits(pixels: Pixels) -> Pixels:
    if pixels.bits == 8:
        return pixels
    return from_tensor(to_tensor(Pixels(pixels.values), pixels.values.shape[-1]), 8, pixels.alpha)


def to_image(pixels: Pixels) -> Image.Image:
    """A Pillow image: L, LA, RGB, RGBA or I;16. Pillow has no 16-bit colour, so that comes out with 8 bits."""
    if pixels.values.shape[-1] == 3 or pixels.alpha is not None:
        pixels = _to_8_bits(pixels)
    values = pixels.values
    if pixels.alpha is not None:
        values = np.concatenate([values, pixels.alpha[..., None]], axis=-1)
    return Image.fromarray(np.ascontiguousarray(values[..., 0] if values.shape[-1] == 1 else values))


# ---- several pictures in one


def merge(pictures: Sequence[Tensor], columns: int, gap: int = 2) -> Tensor:
    """Pictures `[C, H, W]` of one size as one white-ruled grid: picture i in row `i // columns`, column `i % columns`.

    >>> merge([torch.zeros(3, 8, 8)] * 5, columns=2, gap=0).shape
    torch.Size([3, 24, 16])
    """
    channels, height, width = 3, *pictures[0].shape[1:]
    rows = -(-len(pictures) // columns)
    sheet = torch.ones(channels, rows * (height + gap) - gap, columns * (width + gap) - gap)
    for i, picture in enumerate(pictures):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[:, top : top + height, left : left + width] = picture.detach().cpu()
    return sheet
