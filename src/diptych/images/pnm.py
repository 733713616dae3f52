"""Netpbm pictures of more than 8 bits, of which Pillow keeps 8 where they have colours."""

import re

import numpy as np

from diptych.images.spec import Array

GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
HEADER = re.compile(rb"P([2356])" + (GAP + rb"(\d{1,9})") * 3 + rb"\s")
"""The kind, width, height, and the level that is white; comments may stand between them."""


def deep_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PPM or PGM of more than 8 bits; None of any other file."""
    header = HEADER.match(data[:4096])
    return (int(header[2]), int(header[3])) if header and int(header[4]) > 255 else None


def deep(data: bytes) -> Array:
    """The levels of such a file, uint16 `[H, W, C]`, white is 65535."""
    header = HEADER.match(data[:4096])
    assert header
    kind, width, height, white = (int(number) for number in header.groups())
    channels = 3 if kind in (3, 6) else 1
    count = height * width * channels
    if not count:
        raise ValueError(f"a picture of {width}x{height} pixels has none")
    if kind in (2, 3):
        numbers = np.array(data[header.end() :].split(None, count)[:count]).astype(np.uint16)
    else:
        numbers = np.frombuffer(data, ">u2", count, header.end())
    if white > 65535 or numbers.max() > white:
        raise ValueError(f"white is {white}, and there are numbers above")
    levels = numbers.astype(np.uint16) if white == 65535 else (numbers.astype(np.uint32) * 65535 + white // 2) // white
    return levels.astype(np.uint16).reshape(height, width, channels)
