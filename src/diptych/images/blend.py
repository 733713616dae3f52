"""Blends a filled hole with its surroundings: the post-processing of the paper, by OpenCV.

Iizuka et al. 2017, at the end of section 3: the fast marching method (Telea 2004), then Poisson image blending (Pérez,
Gangnet, Blake 2003). Nothing outside the hole changes.
"""

from typing import Literal

import numpy as np

from diptych.images.masks import Mask, components, grown
from diptych.images.spec import EIGHT_BIT, Array, to_bits

Blend = Literal["none", "telea", "poisson"]

SEAM = 3  # width in pixels of the border that is inpainted; OpenCV's clone takes as many from the surroundings
RADIUS = 3  # of the fast marching method
MARGIN = 16  # pixels around each hole that take part


def blend(filled: Array, mask: Mask, how: Blend) -> Array:
    """A picture `[H, W, C]`, uint8 or uint16, whose holes `[H, W]` were filled: each hole is blended separately.

    "telea" inpaints the border of a hole from both sides. "poisson" keeps the gradients of the filling and takes its colours
    from the surroundings, continued into the hole by fast marching. OpenCV works on 8 bits, and on one channel or three: the
    change is computed there and added, and any other number of channels is blended one by one.
    """
    result = filled.copy()
    if how == "none" or not mask.any():
        return result
    labels, boxes = components(mask)
    for number, box in enumerate(boxes, start=1):
        window = grown(box, MARGIN, (mask.shape[0], mask.shape[1]))
        result[window] = _blend_one(result[window], labels[window] == number, how)
    return result


def _blend_one(filled: Array, hole: Mask, how: Blend) -> Array:
    import cv2

    if filled.shape[-1] not in (1, 3):
        channels = np.split(filled, filled.shape[-1], axis=-1)
        return np.concatenate([_blend_one(channel, hole, how) for channel in channels], axis=-1)
    scale = np.iinfo(filled.dtype).max // EIGHT_BIT.full
    levels = to_bits(filled, 8)
    colour = np.ascontiguousarray(np.broadcast_to(levels, (*levels.shape[:2], 3)))
    mask = hole.view(np.uint8)
    if how == "telea":
        border = mask - cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=SEAM)
        blended = cv2.inpaint(colour, border, RADIUS, cv2.INPAINT_TELEA)
    else:
        blended = _clone(colour, cv2.inpaint(colour, mask, RADIUS, cv2.INPAINT_TELEA), mask)
    change = (blended[..., : levels.shape[-1]].astype(np.int32) - levels) * scale
    changed = np.clip(filled.astype(np.int32) + change, 0, np.iinfo(filled.dtype).max).astype(filled.dtype)
    return np.where(hole[..., None], changed, filled)


def _clone(source: Array, target: Array, mask: Array) -> Array:
    """OpenCV's seamless clone, padded: it changes pixels outside a hole at the border, and fails on tiny holes."""
    import cv2

    _, _, width, height = cv2.boundingRect(mask)
    if min(width, height) <= 2 * SEAM:
        return target  # nothing of the source would be left
    source, target = (np.pad(p, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="edge") for p in (source, target))
    mask = np.pad(mask * np.uint8(EIGHT_BIT.full), MARGIN)
    x, y, width, height = cv2.boundingRect(mask)
    cloned = cv2.seamlessClone(source, target, mask, (x + width // 2, y + height // 2), cv2.NORMAL_CLONE)
    return cloned[MARGIN:-MARGIN, MARGIN:-MARGIN]
