"""What is seen in a picture file while it is read, beside its pixels: channels, type, and the numbers in use."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from diptych.images.files import Pixels
from diptych.images.numbers import extremes
from diptych.images.spec import ImageSpec


class Seen(NamedTuple):
    """What was seen in one side of a sample."""

    channels: int
    """In the file, without alpha."""
    transparent: bool
    """Whether any pixel is."""
    type: str
    """Numpy's name for that of the numbers: uint8, uint16, float32."""
    low: float
    """The lowest number in the file, and the highest."""
    high: float
    unlabelled: float
    """The share of pixels whose colour is not one of the labels."""


def seen(pixels: Pixels, spec: ImageSpec) -> Seen:
    """What is seen in a file that is read as `spec` says."""
    transparent = pixels.alpha is not None and bool(pixels.alpha.min() < np.iinfo(pixels.alpha.dtype).max)
    unlabelled = spec.labels.unknown(pixels.values) if spec.labels else 0.0
    low, high = extremes(pixels.values)
    return Seen(pixels.values.shape[-1], transparent, str(pixels.values.dtype), low, high, unlabelled)


_own = threading.local()


@contextmanager
def observing() -> Iterator[list[Seen]]:
    """Inside, what this thread sees in the files of a sample is noted, A first.

    A dataset reads a sample in one of several ways, and gives nothing but levels.
    """
    _own.noted = noted = list[Seen]()
    try:
        yield noted
    finally:
        del _own.noted


def note(pixels: Pixels, spec: ImageSpec) -> None:
    """Notes what is seen in a side of a sample, if somebody asks."""
    if hasattr(_own, "noted"):
        _own.noted.append(seen(pixels, spec))
