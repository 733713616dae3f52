"""Mask pictures: which of their pixels are the hole. White is; other marks are understood where only one reading fits.

People bring black and white in every form, arrays of 0 and 1, the photograph with the hole erased from it, and paint of
one colour on a photograph or on a layer of its own. What can be read in two ways is refused.
"""

from typing import NamedTuple

import numpy as np

from diptych.images import spec
from diptych.images.files import Pixels
from diptych.images.masks import Mask
from diptych.images.spec import EIGHT_BIT, Array

REMEDY = "paint the hole white and all else black"

# Levels are of 255, shares of pixels. Measured on shapes of 16 to 200 pixels, also as JPEG in qualities 10 to 95, and on
# what is no mask: photographs, faces, aerial pictures, emoji, label maps, plain, with paint on them, with a part erased.

# black and white
PLAIN = 16  # levels at most between a pixel and the black or the white of its mask
SOFT = 0.05  # share of other pixels beyond which a word is said
SOFTEST = 0.25  # share beyond which it is a photograph; one JPEG of a mask in 500 has more
NOISE = 3  # levels between black or white and what JPEG makes of it in flat areas
FLAT = 0.01  # share of the flat pixels that makes a third level; of a third colour, in pixels of the paint
FLAT_NOISE = 0.06  # the same for a level that can be noise, which has up to 0.044

# paint
COLOURED = 64  # levels at least from the lowest channel to the highest, the chroma
PAINT_CHROMA = 96  # of paint on black, white or grey; pixels just COLOURED are common in dull photographs
VIVID = 192  # the chroma of paint on a colour photograph, where few other things have it
ALIKE = 16  # levels at most, in each channel, between a pixel and the paint
PAINT = 0.3  # share of the coloured pixels that are ALIKE; of the many shades of a red flower fewer are
SIMILAR = 48  # levels at most, in each channel, between the shades of a flower
EDGE = 4  # pixels on each side of the paint that may be a blend of it and the ground
ONE = 0.95  # share of the pixels in one colour, for a layer of paint
MANY = 2**20  # pixels, which are enough to know the colours of a picture
CELL = 8  # levels: how finely colours are counted
FEW = 4  # colours of a drawing
DRAWN = 0.9  # share of the pixels in these


class Reading(NamedTuple):
    """The hole of a mask picture, bool `[H, W]`, and how it was found; both texts are empty for plain black and white."""

    hole: Mask
    taken: str = ""
    """What was taken as the hole."""
    seen: str = ""
    """Its colour, or the levels."""


def read_hole(pixels: Pixels) -> Reading:
    """The hole of a mask picture, by the first of these that fits:

    * one colour on a see-through layer: what is painted, but black, white or grey on more than half of it is refused
    * a photograph with a see-through part: that part
    * one saturated colour on black, white, grey or a photograph: what is painted
    * 0 and one other level: the other level
    * black and white, with soft edges and noise: what is more white than black

    Raises a `ValueError`, without a name, for all else: several colours or grey levels, one grey level, a photograph.

    >>> read_hole(Pixels(np.array([[[0], [1]]], np.uint8)))
    Reading(hole=array([[False,  True]]), taken='the higher of its two levels', seen='0 and 1')
    >>> read_hole(Pixels(np.full((2, 2, 1), 127, np.uint8)))
    Traceback (most recent call last):
        ...
    ValueError: all of it is grey 127, which shows no hole; paint the hole white and all else black
    """
    if pixels.alpha is not None:
        visible = pixels.alpha > pixels.alpha.max() / 2  # of the highest alpha: paint may be thin
        if not visible.any():
            raise ValueError(f"all of it is see-through, which shows no hole; {REMEDY}")
        if not visible.all():
            return _partly_see_through(_rgb(pixels.values), visible)
    if pixels.values.shape[-1] > 1:
        colours = _rgb(pixels.values)
        if (coloured := _chroma(colours) >= COLOURED).any():
            return _painted(colours, coloured)
    return _black_and_white(spec.to_channels(pixels.values, None, 1)[..., 0])


def _partly_see_through(colours: Array, visible: Mask) -> Reading:
    inside = ~_grown(~visible, 1)  # at the edge of paint, colours may be blended with black
    shown = inside if inside.any() else visible
    some, share = _some(colours[shown]), visible.mean()
    paint = _commonest(some)
    if (np.abs(some.astype(np.int16) - paint).max(axis=-1) <= ALIKE).mean() >= ONE:
        if share > 0.5 and _chroma(paint) < COLOURED:
            raise ValueError(
                f"{_named(paint)} covers {share:.0%} of it and the rest is see-through: which is the hole? {REMEDY}"
            )
        return Reading(visible, "the paint on its see-through layer", _named(paint))
    if _are_few(some):
        raise ValueError(f"it has a see-through part and few colours ({_listed(some)}): which is the hole? {REMEDY}")
    return Reading(~visible, "its see-through part")


def _painted(colours: Array, coloured: Mask) -> Reading:
    """The hole of a picture some pixels of which are saturated."""
    paint = _commonest(_some(colours[coloured]))
    exact, alike = _near(colours, paint, 0), _near(colours, paint, ALIKE)
    hole = alike  # in a JPEG; of the best quality most of it is exact, and some noise beside that
    if exact.sum() >= DRAWN * alike.sum():
        hole = exact | (_near(colours, paint, NOISE) & _grown(exact, EDGE))
    size, others = hole.sum(), coloured & ~hole
    blended = _grown(hole, EDGE) & coloured & _of_hue(colours, paint)
    if (others & ~blended).sum() > FLAT * size:  # the ground is a photograph in colour
        is_paint = _chroma(paint) >= VIVID and min(2 * exact.sum(), size) >= _near(colours, paint, SIMILAR).sum() / 2
        hole = hole & _grown(exact, 4 * EDGE)
    else:
        is_paint = _chroma(paint) >= PAINT_CHROMA and size >= PAINT * coloured.sum()
        hole = hole | (blended & (_chroma(colours) > _chroma(paint) / 2))
    some = _some(colours.reshape(-1, 3))
    if (others & _flat(colours)).sum() > FLAT * size or (not is_paint and _are_few(some)):
        raise ValueError(f"it has several colours ({_listed(some)}): which is the hole? {REMEDY}")
    if not is_paint:
        raise _like_a_photograph(f"{np.count_nonzero(_cells(some))} shades")
    share = hole.mean()
    if 0.5 < share < 1 and (colours[~hole].min(axis=-1) >= 0.75 * EIGHT_BIT.full).mean() >= DRAWN:
        raise ValueError(f"{_named(paint)} covers {share:.0%} of it and the rest is white: which is the hole? {REMEDY}")
    return Reading(hole, "its paint", _named(paint))


def _black_and_white(grey: Array) -> Reading:
    """The hole of a picture of levels `[H, W]` of 8 or 16 bits."""
    full = int(np.iinfo(grey.dtype).max)
    levels = np.flatnonzero(_histogram(grey))
    low, high = levels[0], levels[-1]
    if low == high and 0 < low < full:
        raise ValueError(f"all of it is grey {low}, which shows no hole; {REMEDY}")
    if low == 0 and len(levels) == 2 and high < 0.75 * full:
        return Reading(grey > 0, "the higher of its two levels", f"0 and {high}")
    if low < high and (low > 0.25 * full or high < 0.75 * full):
        raise ValueError(f"its levels go from {low} to {high}, and black is 0, white {full}; {REMEDY}")
    grey, half, quarter = spec.to_bits(grey, 8), EIGHT_BIT.full // 2, EIGHT_BIT.full // 4
    counts, flat = _histogram(grey), _histogram(grey[_flat(grey)])
    black, white = counts[: quarter + 1].argmax(), 3 * quarter + counts[3 * quarter :].argmax()
    distance = np.minimum(*(np.abs(np.arange(len(counts)) - level) for level in (black, white)))
    soft = counts[distance > PLAIN].sum() / grey.size
    if soft > SOFTEST:
        raise _like_a_photograph(f"{len(levels)} grey levels")
    third = np.flatnonzero((distance > 0) & (flat > np.where(distance > NOISE, FLAT, FLAT_NOISE) * flat.sum()))
    if len(third):
        several = ", ".join(str(level) for level in sorted({black, *third[:FEW], white}))
        raise ValueError(f"it has several grey levels ({several}): which is the hole? {REMEDY}")
    return Reading(grey > half, "what is lighter than half", "soft edges") if soft > SOFT else Reading(grey > half)


def _like_a_photograph(seen: str) -> ValueError:
    return ValueError(f"it looks like a photograph ({seen}), which shows no hole; {REMEDY}, or erase the hole from it")


# ---- colours, uint8 [..., 3]


def _rgb(values: Array) -> Array:
    return spec.to_bits(spec.to_channels(values, None, 3), 8)


def _chroma(colours: Array) -> Array:
    """From the lowest channel to the highest."""
    red, green, blue = np.moveaxis(colours, -1, 0)
    chroma: Array = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return chroma


def _of_hue(colours: Array, paint: Array) -> Mask:
    """Where colours `[H, W, 3]` are of the paint's hue, or grey: their channels lie between the same ends."""
    low, high = paint.argmin(), paint.argmax()
    middle = 3 - low - high
    place = (int(paint[middle]) - int(paint[low])) / (int(paint[high]) - int(paint[low]))
    expected = colours[..., low] + place * (colours[..., high].astype(np.float32) - colours[..., low])
    of_hue: Mask = (colours[..., low] <= colours[..., high]) & (np.abs(colours[..., middle] - expected) <= SIMILAR)
    return of_hue


def _some(colours: Array) -> Array:
    """At most `MANY` of the colours `[N, 3]`."""
    return colours[:: len(colours) // MANY + 1]


def _are_few(colours: Array) -> bool:
    """Whether the colours `[N, 3]` are those of a drawing."""
    return bool(np.sort(_cells(colours))[-FEW:].sum() >= DRAWN * len(colours))


def _cells(colours: Array) -> Array:
    """How many colours `[N, 3]` each cell of `CELL` levels has."""
    counts: Array = np.bincount(_cell_of(colours), minlength=((EIGHT_BIT.full + 1) // CELL) ** 3)
    return counts


def _cell_of(colours: Array) -> Array:
    side = (EIGHT_BIT.full + 1) // CELL
    red, green, blue = np.moveaxis((colours // CELL).astype(np.int32), -1, 0)
    cell: Array = (red * side + green) * side + blue
    return cell


def _commonest(colours: Array) -> Array:
    """The commonest of the colours `[N, 3]` in the cell that has most of them."""
    commonest: Array = _by_count(colours[_cell_of(colours) == _cells(colours).argmax()])[0]
    return commonest


def _by_count(colours: Array) -> Array:
    """The different ones of the colours `[N, 3]`, the commonest first."""
    red, green, blue = np.moveaxis(colours.astype(np.int32), -1, 0)
    found, counts = np.unique(red << 16 | green << 8 | blue, return_counts=True)
    found = found[np.argsort(-counts, kind="stable")]
    return np.stack([found >> 16, found >> 8 & 255, found & 255], axis=-1).astype(np.uint8)


def _named(colour: Array) -> str:
    red, green, blue = colour.tolist()
    if red == green == blue:
        return {0: "black", EIGHT_BIT.full: "white"}.get(red, f"grey {red}")
    return f"#{red:02x}{green:02x}{blue:02x}"


def _listed(colours: Array) -> str:
    found = _by_count(colours)
    return ", ".join([*map(_named, found[:FEW]), *(["..."] if len(found) > FEW else [])])


# ---- pixels of [H, W] and [H, W, 3]


def _near(colours: Array, colour: Array, by: int) -> Mask:
    """Where each channel is within so many levels of the colour's."""
    import cv2

    low, high = (np.clip(colour.astype(np.int64) + side, 0, EIGHT_BIT.full) for side in (-by, by))
    return cv2.inRange(colours, low, high) > 0


def _grown(mask: Mask, by: int) -> Mask:
    import cv2

    return cv2.dilate(mask.view(np.uint8), np.ones((2 * by + 1, 2 * by + 1), np.uint8)).view(np.bool_)


def _flat(picture: Array) -> Mask:
    """Where all neighbours are equal."""
    import cv2

    around = np.ones((3, 3), np.uint8)
    equal: Mask = np.atleast_3d(cv2.erode(picture, around) == cv2.dilate(picture, around)).min(axis=-1)
    return equal


def _histogram(levels: Array) -> Array:
    """How many pixels each level has."""
    counts = np.zeros(np.iinfo(levels.dtype).max + 1, np.int64)
    for rows in spec.strips(len(levels), max(1, levels[0].size)) if levels.size else ():
        counts += np.bincount(levels[rows].ravel(), minlength=len(counts))
    return counts
