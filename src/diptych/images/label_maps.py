"""Label maps: pictures in a few flat colours, one per class. Finds the palette of a set, and the class of each pixel.

Colours are counted in the flat areas of a picture. A label map is flat except at class borders, where JPEG and resizing
blend two classes, and its flat areas have a few colours. In photographs colours vary gradually, and no small palette covers
the flat areas.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.images.spec import EIGHT_BIT

# Measured on CMP's facades, aerial photographs and street maps, faces, assorted photographs in colour and in grey, the
# built-in sets, drawn edges and handwritten digits, at 64, 128 and 256 pixels; on the photographs also cut out on white,
# between a black and a white bar, and with twice their contrast.
LEAST_CLASSES = 3  # line drawings, digits and masks have two
MOST_CLASSES = 64
FLAT = 4  # levels at most, in each channel, between four neighbours
CLOSE = 8  # levels at most, in each channel, between a flat pixel and the colour of its class
APART = 24  # levels at least, in one channel, between the colours of two classes; the nearest of CMP's differ by 32
LEAST_SHARE = 0.001  # of the flat pixels, for a class; CMP's rarest has 0.0017 at 64 pixels, 0.004 at 128
LEAST_PIXELS = 16
PURE = 0.6  # share of the pixels within APART of a class that are CLOSE: 0.96 of CMP's, 0.63 of thin lines after JPEG
HELD = 0.9  # share of the flat pixels CLOSE to a class: 0.98 in label maps, at most 0.86 in street maps, 0.66 in photographs

CELL = 4  # levels: how finely colours are counted
CELLS = (EIGHT_BIT.full + 1) // CELL


def palette_of(label_maps: Iterable[Tensor]) -> Tensor | None:
    """The colours of the classes, uint8 `[K, C]`, most frequent first; None when the pictures are not label maps.

    Takes pictures uint8 `[C, H, W]` of any sizes, in any order; with more than three channels they are never label maps.
    They are when nine tenths of the flat pixels have one of three or more colours, also without the two most frequent ones:
    a photograph on white, or between black bars, is not a label map. Colours that differ by less than 24 levels in every
    channel count as one, so maps that hold small class numbers instead of colours are not found.

    Photographs, line drawings, handwriting and masks of two colours are no label maps; nor are street maps, whose roads,
    houses and ground are too similar. Photographs posterised to a few colours can be; and a handful of small pictures is
    less certain than a large set.

    >>> flag = torch.zeros(3, 32, 48, dtype=torch.uint8)
    >>> flag[0, :, 12:] = 255
    >>> flag[1:, :, 12:38] = 255
    >>> palette_of([flag]).tolist()
    [[255, 255, 255], [0, 0, 0], [255, 0, 0]]
    >>> palette_of([flag[1:2]]) is None
    True
    """
    colours, counts = _flat_colours(label_maps)
    total, left = counts.sum(), counts.clone()
    palette, held, taken = list[Tensor](), list[Tensor](), list[Tensor]()
    while left.any() and len(palette) < MOST_CLASSES:
        near = _differ(colours, colours[left.argmax()]) <= CLOSE
        colour = (colours * (left * near)[:, None]).sum(0) / (left * near).sum()
        near, own = _differ(colours, colour) <= CLOSE, _differ(colours, colour) < APART
        here = (left * near).sum()
        if here < LEAST_SHARE * total or here < LEAST_PIXELS:
            break
        if (counts * near).sum() >= PURE * (counts * own).sum():
            palette.append(colour)
            held.append(here)
            taken.append((left * own).sum())
        left[own] = 0
    if len(palette) < LEAST_CLASSES:
        return None
    order = torch.stack(held).argsort(descending=True, stable=True)
    of_all, of_two = torch.stack(held)[order], torch.stack(taken)[order[:2]]
    if of_all.sum() < HELD * total or of_all[2:].sum() < HELD * (total - of_two.sum()):
        return None
    return torch.stack(palette)[order].round().byte()


def _differ(colours: Tensor, colour: Tensor) -> Tensor:
    """The largest difference in any channel, in levels, of colours `[N, C]` to one colour: `[N]`."""
    return (colours - colour).abs().amax(dim=1)


def _flat_colours(pictures: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """The colours of the flat pixels, binned into cells of `CELL` levels: their means `[N, C]` and counts `[N]`."""
    sums = torch.zeros(0, 2, dtype=torch.double)
    for picture in pictures:
        channels, height, width = picture.shape
        if channels > 3:
            return torch.zeros(0, channels, dtype=torch.double), torch.zeros(0, dtype=torch.double)
        if not len(sums):  # per cell the count and the sum of each channel: exact, so order does not matter
            sums = torch.zeros(CELLS**channels, 1 + channels, dtype=torch.double)
        corners = torch.stack([picture[:, y : height - 1 + y, x : width - 1 + x] for y in (0, 1) for x in (0, 1)])
        flat = (corners.amax(0) - corners.amin(0)).amax(0) <= FLAT
        values = corners[0][:, flat].T.long()
        cells = (values // CELL) @ CELLS ** torch.arange(channels)
        sums.index_add_(0, cells, F.pad(values, (1, 0), value=1).double())
    sums = sums[sums[:, 0] > 0]
    return sums[:, 1:] / sums[:, :1], sums[:, 0]


def classes_of(label_maps: Tensor, palette: Tensor) -> Tensor:
    """The index of the nearest colour of the palette, uint8 `[B, C, H, W]` and `[K, C]` -> int64 `[B, H, W]`.

    A blended border between two classes can be nearest to a third.

    >>> classes_of(torch.tensor([[[[250, 100, 3]]]]).byte(), torch.tensor([[0], [128], [255]]).byte()).tolist()
    [[[2, 1, 0]]]
    """
    colours = palette.float()
    classes = [
        torch.cdist(picture.flatten(1).T.float(), colours, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
        for picture in label_maps
    ]
    return torch.stack(classes).view(len(label_maps), *label_maps.shape[2:])
