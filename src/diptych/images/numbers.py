"""Files of numbers that are no levels of 8 or 16 bits: read and written in their own type, by a stated range or labels.

A range is that of an `ImageSpec`: LOW and HIGH are -1 and 1 for a network. In between stand 16-bit levels, as everywhere.
"""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diptych.files import atomic_file
from diptych.images import files, formats, metadata
from diptych.images.files import ARRAY, DEEP_SUFFIXES, FORMATS, Array, Pixels, decode, decode_bytes_to_rewrite, encode
from diptych.images.formats import MAX_PIXELS
from diptych.images.masks import Mask
from diptych.images.metadata import Metadata
from diptych.images.remarks import NOT_FINITE, note
from diptych.images.spec import (
    EIGHT_BIT,
    SIXTEEN_BIT,
    ImageSpec,
    NoFixedRangeError,
    Range,
    from_range,
    in_range,
    to_bits,
)

LEVELS = (np.dtype(np.uint8), np.dtype(np.uint16))
"""The types whose numbers have a fixed range."""
MOST_CHANNELS = 4  # of what Pillow and OpenCV write
EXTRA = {0: "unspecified", 1: "assocalpha", 2: "unassalpha"}
"""What channels after the colours of a TIFF are, by tifffile's names."""
TIFF_SUFFIXES = (".tif", ".tiff")
LOSSY = (".jpg", ".jpeg", ".webp")


def read(path: Path, spec: ImageSpec, most: int = MAX_PIXELS, at_least: tuple[int, int] | None = None) -> Pixels:
    """A picture file as `spec` asks for it: levels in sRGB, numbers of any type where it has a range, indices of labels.

    `at_least` is that of `images.files.decode`. Raises a `ValueError` for numbers without a range.
    """
    if spec.is_of_numbers or path.suffix.lower() == ARRAY:
        return decode_to_rewrite(files.read_bytes(path, most), str(path), spec, most)[0]
    try:
        return decode(path, most=most, at_least=at_least)
    except NoFixedRangeError:
        return _levels(read_numbers(path, most), str(path))


def read_bytes(
    data: bytes, name: str, spec: ImageSpec, most: int = MAX_PIXELS, at_least: tuple[int, int] | None = None
) -> Pixels:
    """The same of the bytes of a picture file; `name` is what messages and remarks call it."""
    if spec.is_of_numbers or name.lower().endswith(ARRAY):
        return decode_to_rewrite(data, name, spec, most)[0]
    try:
        return files.decode_bytes(data, name, most=most, at_least=at_least)
    except NoFixedRangeError:
        return _levels(_numbers(data, name, most), name)


def decode_to_rewrite(data: bytes, name: str, spec: ImageSpec, most: int = MAX_PIXELS) -> tuple[Pixels, Metadata]:
    """The same in the colours of the file, with what it knows of itself: to be written again.

    Numbers of a range and labels have no colours, and so no profile.
    """
    if data.startswith(np.lib.format.MAGIC_PREFIX):
        pixels = _numbers(data, name, most)
        return _as_asked(pixels, spec, name), Metadata(pixels.size)
    if spec.labels and spec.labels.by_index and (indices := _palette_indices(data, name, most)) is not None:
        return Pixels(indices), Metadata((indices.shape[0], indices.shape[1]))
    try:
        pixels, known = decode_bytes_to_rewrite(data, name, most)
    except NoFixedRangeError:
        pixels = _numbers(data, name, most)
        known = metadata.read(data, pixels.size, name)
        _as_asked(pixels, spec, name)
    return pixels, replace(known, profile=b"") if spec.is_of_numbers else known


def _as_asked(pixels: Pixels, spec: ImageSpec, name: str) -> Pixels:
    """The same pixels; a `ValueError` for numbers that `spec` does not read."""
    if spec.range or (spec.labels and spec.labels.by_index and pixels.values.dtype.kind in "iu"):
        return pixels
    if spec.labels:
        raise ValueError(f"{name}: holds {pixels.values.dtype} numbers; save its labels as whole numbers or colours")
    return _levels(pixels, name)


def _levels(pixels: Pixels, name: str) -> Pixels:
    if pixels.values.dtype in LEVELS:
        return pixels
    low, high = extremes(pixels.values)
    raise ValueError(
        f"{name}: holds {pixels.values.dtype} numbers, which have no fixed range, {low:g} to {high:g} in this file; "
        "state it in training: --range LOW HIGH (`diptych data inspect` measures that of all)"
    )


def from_image(image: Image.Image, spec: ImageSpec) -> Pixels:
    """The pixels of a Pillow image as `spec` asks for them."""
    by_index = spec.labels is not None and spec.labels.by_index
    if (spec.range and image.mode in ("I", "F")) or (by_index and image.mode in ("I", "P")):
        return Pixels(np.asarray(image)[..., None])
    return files.from_image(image)


def read_numbers(path: Path, most: int = MAX_PIXELS) -> Pixels:
    """All channels of a picture file as they are, of any type: `values` is `[H, W, C]`.

    TIFFs of numbers of any type and of any number of channels, and arrays (.npy) `[H, W]` or `[H, W, C]`, one a file.
    """
    if path.suffix.lower() != ARRAY:
        try:
            return decode(path, most=most)
        except NoFixedRangeError:
            pass
    return _numbers(files.read_bytes(path, most), str(path), most)


def _numbers(data: bytes, name: str, most: int) -> Pixels:
    pixels = Pixels(files.numbers_in(data, name, most))
    note_not_finite(pixels, name)
    return pixels


def _palette_indices(data: bytes, name: str, most: int) -> Array | None:
    """The indices of a file with a palette, `[H, W, 1]`; None for any other."""
    try:
        opened = formats.open_image(data, name)
    except Exception:  # Pillow raises whatever it meets; whoever decodes the file says what is wrong with it
        return None
    with opened as image:
        if image.mode != "P":
            return None
        formats.require_size(image.width, image.height, most, b"")
        return np.asarray(image)[..., None]


def as_shown(pixels: Pixels) -> Pixels:
    """Levels that a person can be shown: numbers by their own range; of two channels the first, of more the first three."""
    values, alpha = pixels.values, pixels.alpha
    if values.dtype not in LEVELS:
        low, high = extremes(values)
        values = in_range(values, (low, max(high, np.nextafter(low, np.inf))))
    channels = values.shape[-1]
    return Pixels(values[..., : 3 if channels > 2 else 1], alpha) if channels != 1 else Pixels(values, alpha)


def note_not_finite(pixels: Pixels, name: str) -> None:
    """Notes NaN and infinite numbers, which a range cuts to LOW or HIGH."""
    if not np.isfinite(pixels.values).all():
        note(name, NOT_FINITE)


def note_beyond(pixels: Pixels, spec: ImageSpec, name: str) -> None:
    """Notes numbers beyond the range of a model's input, with how far they go, and colours that are no label's."""
    if spec.labels and not spec.labels.by_index and spec.labels.unknown(pixels.values):
        note(name, "some of its colours are no label's; each is taken for the nearest label's")
    if spec.range:
        low, high = extremes(pixels.values)
        if low < spec.range[0] or high > spec.range[1]:
            trained = "{:.6g} to {:.6g}".format(*spec.range)
            note(
                name,
                f"what lies beyond {trained}, the range that the model was trained with, is cut to it",
                (low, high),
            )


def extremes(values: Array) -> tuple[float, float]:
    """The lowest and the highest finite number; 0 and 0 where there is none.

    >>> extremes(np.array([np.nan, -2, 7, np.inf]))
    (-2.0, 7.0)
    """
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


# ---- into a model, and out of it


def into(pixels: Pixels, spec: ImageSpec, out: ImageSpec) -> Pixels:
    """What a model that makes `out` of `spec` sees of a file's pixels: levels, 16-bit ones where numbers go in or out."""
    if spec.labels:
        planes = spec.labels.planes(pixels.values).astype(np.uint8) * np.uint8(EIGHT_BIT.full)
        return Pixels(to_bits(planes, 16) if out.range else planes)
    if spec.range:
        return Pixels(in_range(pixels.values, spec.range), _alpha(pixels, SIXTEEN_BIT))
    finer = out.range or out.labels
    return Pixels(to_bits(pixels.values, 16), _alpha(pixels, SIXTEEN_BIT)) if finer else pixels


def out_of(pixels: Pixels, spec: ImageSpec, source: Pixels, mask: Mask | None = None) -> Pixels:
    """What is written of a model's levels: numbers of the `source`'s type where it can hold them, or colours of labels.

    Outside the holes of a `mask` the numbers of the source stay, those beyond the range too.
    """
    if spec.labels:
        return Pixels(spec.labels.table[pixels.values.argmax(-1)])
    if not spec.range:
        return pixels
    dtype = type_for(source.values.dtype, spec.range)
    numbers = from_range(pixels.values, spec.range, dtype)
    if mask is not None:
        numbers = np.where(mask[..., None], numbers, source.values).astype(dtype)
    depth = {np.dtype(np.uint8): EIGHT_BIT, np.dtype(np.uint16): SIXTEEN_BIT}.get(dtype)
    return Pixels(numbers, _alpha(pixels, depth) if depth else None)


def _alpha(pixels: Pixels, depth: ImageSpec) -> Array | None:
    return None if pixels.alpha is None else to_bits(pixels.alpha, depth.bits)


def type_for(own: "np.dtype[Any]", within: Range) -> "np.dtype[Any]":
    """The type that numbers of a range are written in: their input's, or the first that holds them in 256 steps.

    >>> [str(type_for(np.dtype(own), (0.0, 3060.0))) for own in ("uint8", "uint16", "int16", "float32")]
    ['uint16', 'uint16', 'int16', 'float32']
    >>> str(type_for(np.dtype("uint8"), (0.0, 1.5)))
    'float32'
    """
    low, high = within

    def holds(dtype: "np.dtype[Any]") -> bool:
        if dtype.kind == "f":
            return True
        limits = np.iinfo(dtype)
        return limits.min <= low and high <= limits.max and high - low >= EIGHT_BIT.full

    return next(dtype for dtype in (own, *map(np.dtype, ("uint16", "int16", "float32"))) if holds(dtype))


def write(
    pixels: Pixels, path: Path, spec: ImageSpec, known: Metadata | None = None, quality: int | None = None
) -> list[str]:
    """Writes the pixels of `out_of` in the format of the path's suffix, with what is `known` of their file.

    Returns in words what that cannot hold; a `ValueError` names a format that cannot hold the numbers.
    """
    values, suffix = pixels.values, path.suffix.lower()
    plain = values.dtype in LEVELS and values.shape[-1] <= MOST_CHANNELS
    held = {np.dtype(np.uint8): tuple(FORMATS), np.dtype(np.uint16): DEEP_SUFFIXES}.get(values.dtype, TIFF_SUFFIXES)
    if spec.kind == "labels" and suffix in LOSSY:
        raise ValueError(f"{path}: {suffix} changes the colours of labels; use .png or .tif")
    if spec.range and suffix not in (*held, ARRAY):
        raise ValueError(f"{path}: {suffix} cannot hold {values.dtype} numbers, which are to be written; use .tif")
    if suffix != ARRAY and (plain or suffix not in TIFF_SUFFIXES):
        return encode(pixels, path, known, quality)
    if suffix != ARRAY:
        return write_tiff(values, path, known)
    with atomic_file(path, durable=False) as partial, partial.open("wb") as file:
        np.save(file, values[..., 0] if values.shape[-1] == 1 else values)
    is_bare = known is None or known == Metadata(known.size, known.format)
    return [] if is_bare else ["what the file knew of itself"]


def write_tiff(values: Array, path: Path, known: Metadata | None = None) -> list[str]:
    """Writes numbers `[H, W, C]` of any type as they are; channels after the colours are no alpha unless the file's were.

    With what is `known` of their file; returns in words what a TIFF cannot hold of it.
    """
    import tifffile

    rgb = values.shape[-1] in (3, 4)
    extra = [EXTRA[0]] * (values.shape[-1] - (3 if rgb else 1))
    if known and len(known.extra) == len(extra):
        extra = [EXTRA.get(kind, EXTRA[0]) for kind in known.extra]
    stream = io.BytesIO()
    tifffile.imwrite(
        stream,
        values[..., 0] if values.shape[-1] == 1 else values,
        photometric="rgb" if rgb else "minisblack",
        planarconfig=None if values.shape[-1] == 1 else "contig",
        extrasamples=extra or None,
        metadata=None,
    )
    data, lost = stream.getvalue(), list[str]()
    if known:
        known, lost = known.fitted("TIFF", (values.shape[0], values.shape[1]))
        data = known.inserted(data, "TIFF")
    with atomic_file(path, durable=False) as partial:
        partial.write_bytes(data)
    return lost
