"""What was drawn into a hole, made to meet its surroundings: the paper's post-processing, by OpenCV.

Iizuka et al. 2017, at the end of section 3: the fast marching method (Telea 2004), then Poisson image blending (Pérez,
Gangnet, Blake 2003). Nothing outside the hole changes.
"""

from typing import Any, Literal

import numpy as np

from diptych.images.masks import Mask, components, grown

Blend = Literal["none", "telea", "poisson"]
Levels = np.ndarray[Any, np.dtype[Any]]

SEAM = 3  # pixels along the border of a hole that are drawn anew; OpenCV's clone takes as many from the surroundings
RADIUS = 3  # of the fast marching
MARGIN = 16  # pixels of surroundings that each hole is blended with


def blend(filled: Levels, mask: Mask, how: Blend) -> Levels:
    """The picture `[H, W, 1 or 3]`, uint8 or uint16, with the holes `[H, W]` that were filled, blended hole by hole.

    "telea" draws the pixels along the border of a hole anew, from both sides. "poisson" keeps the gradients of what was
    drawn and takes its colours from the surroundings, continued into the hole by fast marching. OpenCV knows 8 bits
    only: the change is worked out with them, and added.
    """
    result = filled.copy()
    if how == "none" or not mask.any():
        return result
    labels, boxes = components(mask)
    for number, box in enumerate(boxes, start=1):
        place = grown(box, MARGIN, (mask.shape[0], mask.shape[1]))
        result[place] = _blend_one(result[place], labels[place] == number, how)
    return result


def _blend_one(filled: Levels, hole: Mask, how: Blend) -> Levels:
    import cv2

    scale = 257 if filled.dtype == np.uint16 else 1
    levels = ((filled.astype(np.uint32) + scale // 2) // scale).astype(np.uint8)
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


def _clone(source: Levels, target: Levels, mask: Levels) -> Levels:
    """OpenCV's seamless clone, which changes pixels outside of holes at the border, and fails on the smallest ones."""
    import cv2

    _, _, width, height = cv2.boundingRect(mask)
    if min(width, height) <= 2 * SEAM:
        return target  # nothing of the source would be left
    source, target = (np.pad(p, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="edge") for p in (source, target))
    mask = np.pad(mask * np.uint8(255), MARGIN)
    x, y, width, height = cv2.boundingRect(mask)
    cloned = cv2.seamlessClone(source, target, mask, (x + width // 2, y + height // 2), cv2.NORMAL_CLONE)
    return cloned[MARGIN:-MARGIN, MARGIN:-MARGIN]
