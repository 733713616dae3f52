"""ICC profiles: from the colours of a file to sRGB, which networks see, and back. LittleCMS computes, through Pillow.

An sRGB profile, by whatever name, costs a look at a table: it is recognised once, by what it does. Of a profile that is
damaged, or of another kind than the picture (CMYK for RGB), the values are taken for sRGB.
"""

import io
import struct
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from diptych.images import formats, ifd, jpeg, png
from diptych.images.on_disk import folder_of, let_go
from diptych.images.spec import Array, strips

CHANNELS = {"GRAY": 1, "RGB": 3, "CMYK": 4}
MODES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}
LARGEST = 2**23
"""Bytes of a profile that is used; those of printing presses have a quarter of it."""
NEAR = 2
"""Of 255: a profile that moves no colour further is sRGB. The sRGB profiles that are about differ by less."""

SRGB_TO_XYZ = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
"""Linear light to XYZ under D50, by the columns of the sRGB profile of the ICC."""


def embedded(data: bytes) -> bytes:
    """The profile in the bytes of a picture file; empty where there is none, or where it cannot be found."""
    if data.startswith(jpeg.SIGNATURE) and (found := jpeg.icc_profile(data)) is not None:
        return found
    if not _may_have_profile(data):
        return b""
    try:
        with formats.open_image(data) as image:
            return of_image(image)
    except Exception:  # of a damaged file Pillow may raise anything; whoever wants its pixels hears of it
        return b""


def _may_have_profile(data: bytes) -> bool:
    if data.startswith(png.SIGNATURE):
        return data.find(b"iCCP", 0, data.find(b"IDAT")) > 0
    if data[8:12] == b"WEBP":
        return data[12:16] == b"VP8X" and bool(data[20] & 0x20)
    return data[:2] not in (b"II", b"MM") or ifd.PROFILE in ifd.tags(data)


def of_image(image: Image.Image) -> bytes:
    """The profile that a Pillow image carries, empty where there is none."""
    profile = image.info.get("icc_profile")
    return profile if isinstance(profile, bytes) else b""


def space(profile: bytes) -> str:
    """GRAY, RGB or CMYK: what kind of values a profile is for. Empty for another kind, and for one that is damaged or huge.

    >>> space(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()), space(b"nonsense")
    ('RGB', '')
    """
    return _space(profile) if len(profile) <= LARGEST else ""


@lru_cache(maxsize=16)
def _space(profile: bytes) -> str:
    try:
        found = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()
        _build(profile, found, back=False)
    except Exception:  # LittleCMS and Pillow raise whatever they meet there
        return ""
    return str(found)


def to_srgb(values: Array, profile: bytes) -> Array:
    """`[H, W, C]` of 8 or 16 bits in the colours of a profile -> the same in sRGB; channels after the colours stay.

    An array that lies on the disk is changed in place: of a giant picture there is one.
    """
    return _converted(values, profile, back=False)


def from_srgb(values: Array, profile: bytes) -> Array:
    """The other way. What the profile has no colour for gets the nearest one that it has."""
    return _converted(values, profile, back=True)


def from_cmyk(image: Image.Image) -> Image.Image:
    """A CMYK image in sRGB by its own profile, or by Pillow's rule where it has none that fits."""
    profile = of_image(image)
    if space(profile) == "CMYK":
        return _build(profile, "CMYK", back=False).apply(image)
    return image.convert("RGB")


def differs(profile: bytes, channels: int) -> bool:
    """Whether values of so many channels in a profile are not those of sRGB."""
    kind = space(profile)
    fits = kind == "RGB" or (kind == "GRAY" and channels < 3)
    return fits and not _is_srgb(profile, kind)


def fits(profile: bytes, channels: int) -> bool:
    """Whether a profile is for pictures of so many channels, the fourth one aside."""
    return CHANNELS.get(space(profile)) == (3 if channels > 2 else 1)


def is_taken_as_srgb(values: Array, profile: bytes) -> bool:
    """Whether values are not converted, although the profile says that they are not sRGB: 16 bits, and tables."""
    is_deep = values.dtype == np.uint16 and differs(profile, values.shape[-1])
    return is_deep and _curves(profile, space(profile)) is None


def _converted(values: Array, profile: bytes, back: bool) -> Array:
    channels = values.shape[-1]
    if not differs(profile, channels):
        return values
    kind, colours = space(profile), min(channels, 3) if channels > 2 else 1
    converted = values if folder_of(values) else values.copy()
    for rows in strips(*values.shape[:2]):
        strip = values[rows, :, :colours]
        if colours < CHANNELS[kind]:  # grey in a profile of colours
            strip = np.repeat(strip, 3, axis=-1)
        if values.dtype == np.uint8:
            strip = _by_littlecms(strip, profile, kind, back)
        elif curves := _curves(profile, kind):
            strip = curves.from_srgb(strip) if back else curves.to_srgb(strip)
        converted[rows, :, :colours] = strip[..., :colours]
        let_go(converted)
    return converted


@lru_cache(maxsize=16)
def _is_srgb(profile: bytes, kind: str) -> bool:
    steps = np.arange(0, 256, 15).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    greys = np.arange(256).astype(np.uint8).reshape(1, -1, 1)
    probe = greys if kind == "GRAY" else np.concatenate([colours, np.repeat(greys, 3, axis=-1)], axis=1)
    seen = _by_littlecms(probe, profile, kind, back=False)
    return bool(np.abs(seen.astype(int) - probe).max() <= NEAR)


# ---- 8 bits


@lru_cache(maxsize=32)
def _build(profile: bytes, kind: str, back: bool) -> ImageCms.ImageCmsTransform:
    own, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    if back:
        return ImageCms.buildTransform(srgb, own, "RGB", MODES[kind], intent, flags)
    return ImageCms.buildTransform(own, srgb, MODES[kind], "RGB", intent, flags)


def _by_littlecms(values: Array, profile: bytes, kind: str, back: bool) -> Array:
    """`[H, W, 1 or 3]` of uint8 -> the same; a grey profile takes and gives grey."""
    grey = kind == "GRAY"
    if grey and back:
        values = np.repeat(values, 3, axis=-1)
    image = Image.fromarray(np.ascontiguousarray(values[..., 0] if grey and not back else values))
    seen = np.asarray(_build(profile, kind, back).apply(image))
    return seen[..., None] if seen.ndim == 2 else seen[..., :1] if grey else seen


# ---- 16 bits, which Pillow does not give to LittleCMS


class _Curves(NamedTuple):
    """A profile of one curve for each channel and, of RGB, one matrix: `XYZ = matrix @ curve(value)`."""

    curves: list[Array]
    """The light of each of the 65536 levels."""
    matrix: Array
    """From that light to the light of sRGB's channels."""

    def to_srgb(self, values: Array) -> Array:
        light = np.stack([curve[values[..., number]] for number, curve in enumerate(self.curves)], axis=-1)
        return _levels(_srgb_from_light(np.clip(light @ self.matrix.T, 0, 1)))

    def from_srgb(self, values: Array) -> Array:
        light = np.clip(_light_of_srgb(values / 65535) @ np.linalg.inv(self.matrix).T, 0, 1)
        level = np.linspace(0, 1, 65536)
        channels = [np.interp(light[..., number], curve, level) for number, curve in enumerate(self.curves)]
        return _levels(np.stack(channels, axis=-1))


def _levels(values: Array) -> Array:
    levels: Array = np.rint(values * 65535).astype(np.uint16)
    return levels


def _srgb_from_light(light: Array) -> Array:
    """IEC 61966-2-1."""
    values: Array = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return values


def _light_of_srgb(values: Array) -> Array:
    light: Array = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return light


@lru_cache(maxsize=4)
def _curves(profile: bytes, kind: str) -> _Curves | None:
    """None for a profile of tables, which needs LittleCMS."""
    try:
        tags = _tags(profile)
        if any(name.startswith(b"A2B") for name in tags):
            return None
        if kind == "GRAY":
            return _Curves([_curve(tags[b"kTRC"])], np.ones((1, 1)))
        columns = [struct.unpack(">3i", tags[name][8:20]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
        matrix = np.linalg.inv(SRGB_TO_XYZ) @ (np.array(columns).T / 65536)
        np.linalg.inv(matrix)
        return _Curves([_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")], matrix)
    except (KeyError, ValueError, struct.error, np.linalg.LinAlgError, FloatingPointError):
        return None


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """Of the profile's table (ICC.1, section 7.3)."""
    count = int.from_bytes(profile[128:132], "big")
    rows = (struct.unpack_from(">4sII", profile, 132 + 12 * number) for number in range(min(count, 100)))
    return {name: profile[place : place + size] for name, place, size in rows}


def _curve(tag: bytes) -> Array:
    """The light of each of the 65536 levels (ICC.1, sections 10.6 and 10.18); a `ValueError` where it falls."""
    x = np.linspace(0, 1, 65536)
    if tag[:4] == b"curv":
        [count] = struct.unpack(">I", tag[8:12])
        table = np.frombuffer(tag, ">u2", count, 12) / 65535
        curve = np.interp(x, np.linspace(0, 1, count), table) if count > 1 else x
        if count == 1:
            curve = x ** (int.from_bytes(tag[12:14], "big") / 256)
    elif tag[:4] == b"para":
        [form] = struct.unpack(">H", tag[8:10])
        count = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}[form]
        g, a, b, c, d, e, f = np.pad(np.frombuffer(tag, ">i4", count, 12) / 65536, (0, 7 - count))
        if form == 0:
            a, d = 1.0, 0.0
        with np.errstate(all="raise"):
            if form in (1, 2):  # level below -b / a
                c, d, e, f = 0.0, -b / a, c, c
            curve = np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)
    else:
        raise ValueError("no curve")
    if not (np.isfinite(curve).all() and (np.diff(curve) >= 0).all() and curve[-1] > curve[0]):
        raise ValueError("a curve that falls")
    clipped: Array = np.clip(curve, 0, 1)
    return clipped
