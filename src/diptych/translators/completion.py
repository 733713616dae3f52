"""The holes of a picture of any size, filled hole by hole: each costs the pixels that it can be filled from, and no more."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from diptych.images import geometry
from diptych.images.files import Array, Pixels, from_tensor, to_channels, to_tensor
from diptych.images.masks import Box, Mask, bounding_box, components, grown, thickness
from diptych.methods.base import Method

TILE = 512  # pixels, as the network sees them: of a large hole this much is filled at a time

Draw = Callable[[Tensor, Tensor], Tensor]
"""From a picture `[C, H, W]` and its holes `[1, H, W]` to the picture with its holes filled."""


def fill(source: Pixels, mask: Mask, draw: Draw, method: Method, channels: int, working_size: int | None) -> Pixels:
    """The picture with the holes of `mask` `[H, W]` filled; every other pixel is bit for bit the source's.

    A hole thicker than those that `method` has learnt to fill is looked at from as far away as makes it one of those;
    `working_size` shrinks the whole picture instead, so that its shorter side has so many pixels. What was see-through in
    a hole is opaque then. Pictures are seen in `channels` channels and keep their own.
    """
    if not mask.any():
        return source
    values = source.values.copy()
    fixed = min(working_size / min(source.size), 1.0) if working_size else None
    for box, holes, scale in _parts(mask, method, fixed):
        for tile in _tiles(holes, max(1, int(TILE / scale))):
            place, here = _inside(box, tile), holes[tile]
            values[place][here] = _drawn(source, mask, place, draw, method, channels, scale)[here]
    if source.alpha is None:
        return Pixels(values)
    return Pixels(values, np.where(mask, np.iinfo(source.alpha.dtype).max, source.alpha).astype(source.alpha.dtype))


def _parts(mask: Mask, method: Method, fixed: float | None) -> Iterator[tuple[Box, Mask, float]]:
    """Where holes are, which, and the scale that they are seen at: each large one by itself, all others together."""
    assert method.holes
    whole, largest = bounding_box(mask), method.holes.largest
    if fixed:
        yield whole, mask[whole], fixed
        return
    labels, boxes = components(mask[whole])
    for number, box in enumerate(boxes, start=1):
        if min(side.stop - side.start for side in box) <= largest:
            continue
        hole = labels[box] == number
        if (thick := thickness(hole)) > largest:
            yield _inside(whole, box), hole, largest / thick
            labels[box][hole] = 0
    if labels.any():
        yield whole, labels > 0, 1.0


def _tiles(holes: Mask, side: int) -> Iterator[Box]:
    """Boxes of at most `side` pixels that hold all holes between them, and no empty margins."""
    height, width = holes.shape
    for top in range(0, height, side):
        for left in range(0, width, side):
            cell = slice(top, top + side), slice(left, left + side)
            if holes[cell].any():
                yield _inside(cell, bounding_box(holes[cell]))


def _inside(outer: Box, inner: Box) -> Box:
    """Where a box that was found inside another one is."""
    rows, columns = (slice(a.start + b.start, a.start + b.stop) for a, b in zip(outer, inner, strict=True))
    return rows, columns


def _drawn(source: Pixels, mask: Mask, place: Box, draw: Draw, method: Method, channels: int, scale: float) -> Array:
    """What is drawn at a place, `[h, w, C]` like the source's pixels, from what is around it."""
    multiple = method.multiple if scale == 1 else 1
    around = grown(place, math.ceil(method.reach / scale), source.size, multiple)
    index = np.ix_(*(geometry.mirrored(length, s.start, s.stop) for s, length in zip(around, source.size, strict=True)))
    part = Pixels(source.values[index], None if source.alpha is None else source.alpha[index])
    values, holes = to_channels(part, channels), mask[index].astype(np.float32)
    height, width = holes.shape
    if scale < 1:
        values, holes = (
            _shrunk(a, max(1, round(height * scale)), max(1, round(width * scale))) for a in (values, holes)
        )
    drawn = draw(to_tensor(Pixels(values), channels), torch.from_numpy(holes > 0)[None].float())
    drawn = geometry.resize(drawn, height, width)
    rows, columns = (slice(s.start - a.start, s.stop - a.start) for s, a in zip(place, around, strict=True))
    levels = from_tensor(drawn[:, rows, columns], source.bits)
    return to_channels(levels, source.values.shape[-1])


def _shrunk(values: Array, height: int, width: int) -> Array:
    """Each pixel the mean of those that it covers: nothing of a hole gets into what its shrunk mask does not cover."""
    import cv2

    small = cv2.resize(np.ascontiguousarray(values), (width, height), interpolation=cv2.INTER_AREA)
    return small.reshape(height, width, *values.shape[2:])
