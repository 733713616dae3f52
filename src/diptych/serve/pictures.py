"""A picture on its way through a server: the bytes of a file, read and written as `diptych translate` does it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from diptych.data import mask_files
from diptych.images import numbers, remarks
from diptych.images.blend import Blend
from diptych.images.files import ARRAY, FORMATS, Array, Pixels, in_srgb, to_image
from diptych.images.formats import require_size
from diptych.images.metadata import Metadata
from diptych.images.remarks import WRITTEN_AS_PNG, note
from diptych.model import THE_MASK, THE_PICTURE, Model
from diptych.pipeline import LARGE
from diptych.serve.problems import Problem
from diptych.serve.work import Job
from diptych.translators.base import Request

MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".bmp": "image/bmp",
    ARRAY: "application/x-npy",
}
"""Of what is written, by suffix."""
ANY = ("image/*", "*/*")
SUFFIX_OF = {media: suffix for suffix, media in MEDIA_TYPES.items()} | {"image/jpg": ".jpg"}
SUFFIX_OF_FORMAT = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "BMP": ".bmp",
    "TIFF": ".tif",
}
"""By Pillow's names; files of any other format are only read."""
assert set(FORMATS.values()) <= SUFFIX_OF_FORMAT.keys()


@dataclass(frozen=True)
class Wish:
    """What a request asks for."""

    picture: bytes | Array
    mask: bytes | Array | None = None
    blend: Blend = "none"
    working_size: int | None = None
    quality: int | None = None
    strip_metadata: bool = False
    accept: tuple[str, ...] = ()
    """Media types that may come back, the preferred one first; empty where all may."""


class Read(NamedTuple):
    """A picture as it was read."""

    pixels: Pixels
    known: Metadata
    request: Request
    suffix: str
    """Of the file that is to be written."""
    notes: list[str]


class Answer(NamedTuple):
    """A file that comes back."""

    data: bytes
    media_type: str
    notes: list[str]
    """What is to be said of it: what was not read, or what its format does not hold."""


def read(model: Model, wish: Wish, most: int) -> Read:
    """Decodes a picture of at most so many pixels, and its mask; a `ValueError` for what is none."""
    model.translator.require_request(wish.mask is not None, wish.blend)
    if wish.quality is not None and not 1 <= wish.quality <= 100:
        raise ValueError(f"quality {wish.quality}: a number from 1 to 100 is expected")
    notes = list[str]()
    with remarks.collected() as noted:
        pixels, known = _opened(model, wish.picture, most)
        hole = _mask(wish.mask, most).fitted(pixels.size, partial(_noted, notes)) if wish.mask is not None else None
        suffix = _suffix(wish, model, known)
    notes += remarks.lines(noted)
    known = known.without_all_but_colours() if wish.strip_metadata else known
    return Read(pixels, known, Request(hole, wish.blend, wish.working_size), suffix, notes)


def _opened(model: Model, picture: bytes | Array, most: int) -> tuple[Pixels, Metadata]:
    most = min(most, model.most_pixels())
    pixels, known = model.opened(picture, THE_PICTURE, most)
    if not isinstance(pixels, Pixels):
        raise ValueError(f"{THE_PICTURE}: an array of {pixels.dtype}; uint8 or uint16 is expected")
    height, width = pixels.size
    require_size(width, height, most, b"")  # numbers that are not compressed are read whatever their size
    return pixels, known


def _mask(given: bytes | Array, most: int) -> mask_files.UserMask:
    return mask_files.from_bytes(given, THE_MASK, most) if isinstance(given, bytes) else mask_files.from_array(given)


def _noted(notes: list[str], name: str, what: str, details: str) -> None:
    notes.append(f"{name}: {what}{f' ({details})' if details else ''}")


def _suffix(wish: Wish, model: Model, known: Metadata) -> str:
    """That of the file to write: the picture's own, unless the request or the model asks for another one."""
    is_array = isinstance(wish.picture, bytes) and wish.picture.startswith(np.lib.format.MAGIC_PREFIX)
    own = model.suffix or (ARRAY if is_array else SUFFIX_OF_FORMAT.get(known.format, ".png"))
    for accepted in wish.accept or ANY:
        if accepted in (*ANY, MEDIA_TYPES[own]):
            if known.format and not model.suffix and known.format not in SUFFIX_OF_FORMAT:
                note(THE_PICTURE, WRITTEN_AS_PNG)
            return own
        if accepted in SUFFIX_OF:
            return SUFFIX_OF[accepted]
    raise Problem(406, f"{', '.join(wish.accept)}: none of these is written; {', '.join(SUFFIX_OF)} are")


def job(model: Model, given: Read) -> Job:
    """What the network has to do for it. Pictures of one kind go through one model, and are equally large."""
    pixels, request = given.pixels, given.request
    kind = (id(model), pixels.values.shape, pixels.values.dtype.str, pixels.alpha is None, request.working_size)
    return Job(None if pixels.values.size > LARGE else kind, given, partial(_translated, model))


def _translated(model: Model, batch: Sequence[Read]) -> Sequence[Pixels]:
    sources = [in_srgb(given.pixels, given.known.profile) for given in batch]
    return model.all_pixels(sources, [given.request for given in batch])


def coloured(model: Model, given: Read, result: Pixels) -> tuple[Pixels, Metadata]:
    """The translation in the colours of its source."""
    return model.in_own_colours(result, given.pixels, given.known, given.request)


def write(model: Model, wish: Wish, given: Read, result: Pixels) -> Answer:
    """The file of a translation."""
    pixels, known = coloured(model, given, result)
    data, lost = model.encoded(pixels, given.suffix, known, wish.quality)
    notes = [*given.notes, *(f"{MEDIA_TYPES[given.suffix]} does not hold {what}" for what in lost)]
    return Answer(data, MEDIA_TYPES[given.suffix], notes)


def previewed(model: Model, picture: bytes, most: int) -> bytes:
    """A picture that goes in, as a PNG that every browser shows."""
    pixels, known = _opened(model, picture, most)
    to_image(numbers.as_shown(in_srgb(pixels, known.profile))).convert("RGBA").save(stream := io.BytesIO(), "PNG")
    return stream.getvalue()
