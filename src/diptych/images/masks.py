"""Masks, 1 = hole: random ones for training and evaluation, and the geometry of a user's own.

Random holes are those of Iizuka, Simo-Serra, Ishikawa, "Globally and Locally Consistent Image Completion", SIGGRAPH 2017,
section 3.4, and brush strokes after Yu et al., "Free-Form Image Inpainting with Gated Convolution", ICCV 2019, algorithm 1.
"""

import math
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Kind = Literal["rectangle", "several", "free-form", "any"]
Box = tuple[slice, slice]
"""Rows and columns."""

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class MaskSpec:
    """Which random holes: their kind, and the smallest and the largest height and width in pixels, inclusive.

    "rectangle" is the paper's one rectangle. "several" are two to four, of half the height and width. "free-form" are brush
    strokes inside such a rectangle. "any" draws one of these for each picture.
    """

    kind: Kind
    smallest: int
    largest: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.smallest}-{self.largest}"

    def draw(self, size: tuple[int, int], generator: Random) -> Tensor:
        """A random mask for one picture of `size` (height, width), bool `[1, H, W]`; holes may touch the border.

        >>> MaskSpec("rectangle", smallest=4, largest=4).draw((8, 8), Random(0)).sum().item()
        16
        """
        kind = generator.choice(("rectangle", "several", "free-form")) if self.kind == "any" else self.kind
        mask = np.zeros(size, np.bool_)
        if kind == "rectangle":
            mask[self._rectangle(size, generator)] = True
        elif kind == "several":
            half = MaskSpec("rectangle", -(-self.smallest // 2), -(-self.largest // 2))
            for _ in range(generator.randint(2, 4)):
                mask[half._rectangle(size, generator)] = True
        else:
            inside = mask[self._rectangle(size, generator)]
            inside |= _strokes(inside.shape[0], inside.shape[1], generator)
        return torch.from_numpy(mask)[None]

    def draw_for(self, name: str, size: tuple[int, int]) -> Tensor:
        """The fixed mask for evaluating on the picture of this name, the same for every model: bool `[1, H, W]`."""
        return self.draw(size, Random(name))

    def _rectangle(self, size: tuple[int, int], generator: Random) -> Box:
        height, width = (generator.randint(self.smallest, self.largest) for _ in range(2))
        top, left = generator.randint(0, size[0] - height), generator.randint(0, size[1] - width)
        return slice(top, top + height), slice(left, left + width)


def _strokes(height: int, width: int, generator: Random) -> Mask:
    """One to three strokes of a round brush, each turning a few times; bool `[height, width]`, never empty."""
    import cv2

    canvas = np.zeros((height, width), np.uint8)
    longest = math.hypot(height, width)
    for _ in range(generator.randint(1, 3)):
        brush = max(1, round(min(height, width) * generator.uniform(0.1, 0.3)))
        x, y = generator.randrange(width), generator.randrange(height)
        angle = generator.uniform(0, 2 * math.pi)
        points = [(x, y)]
        for _ in range(generator.randint(2, 6)):
            angle += math.pi + generator.uniform(-0.5, 0.5)  # back and forth, like a hand covering something
            length = longest * generator.uniform(0.2, 0.6)
            x = min(max(round(x + length * math.cos(angle)), 0), width - 1)
            y = min(max(round(y + length * math.sin(angle)), 0), height - 1)
            points.append((x, y))
        cv2.polylines(canvas, [np.array(points, np.int32)], isClosed=False, color=1, thickness=brush)
    return canvas > 0


def window(mask: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The square windows centred on the holes of masks `[B, 1, H, W]`: tops and lefts, long `[B]`.

    At the border the window is shifted into the picture; with several holes it covers as much of them as possible.

    >>> mask = torch.zeros(1, 1, 16, 16)
    >>> mask[..., 4:8, 0:4] = 1
    >>> [offset.item() for offset in window(mask, 8)]
    [2, 0]
    """
    height, width = mask.shape[-2:]
    half = size // 2
    near = F.pad(mask.long(), [half] * 4)  # integer weights: hole pixels count more the nearer they are to the centre
    for dim in (-1, -2, -1, -2):
        near = _sums(near, dim, half)
    centre = near.flatten(1).argmax(dim=1)
    before = half + (size - 1) // 2
    top = (centre // near.shape[-1] - before).clamp(0, height - size)
    left = (centre % near.shape[-1] - before).clamp(0, width - size)
    return top, left


def _sums(values: Tensor, dim: int, radius: int) -> Tensor:
    """The sliding sum over `2 * radius + 1` values along `dim`."""
    length = values.shape[dim]
    none = torch.zeros_like(values.narrow(dim, 0, 1))
    running = torch.cat([none, values.cumsum(dim)], dim=dim)
    positions = torch.arange(length, device=values.device)
    last, first = (positions + radius + 1).clamp(max=length), (positions - radius).clamp(min=0)
    return running.index_select(dim, last) - running.index_select(dim, first)


def cut(pictures: Tensor, top: Tensor, left: Tensor, size: int) -> Tensor:
    """The windows `[B, C, size, size]` of pictures `[B, C, H, W]` at `top` and `left`, `[B]` each.

    >>> cut(torch.arange(9.0).view(1, 1, 3, 3), torch.tensor([1]), torch.tensor([0]), 2).tolist()
    [[[[3.0, 4.0], [6.0, 7.0]]]]
    """
    batch, channels, _, width = pictures.shape
    inside = torch.arange(size, device=pictures.device)
    rows = (top[:, None] + inside).view(batch, 1, size, 1).expand(-1, channels, -1, width)
    columns = (left[:, None] + inside).view(batch, 1, 1, size).expand(-1, channels, size, -1)
    return pictures.gather(2, rows).gather(3, columns)


# ---- a user's masks, of pictures of any size


def components(mask: Mask) -> tuple[np.ndarray[Any, np.dtype[np.int32]], list[Box]]:
    """Connected components: the hole's number for each pixel of `[H, W]`, 0 outside; and the boxes of holes 1, 2, and so on.

    Pixels that touch at a corner are connected.

    >>> components(np.eye(3, dtype=bool))[1]
    [(slice(0, 3, None), slice(0, 3, None))]
    """
    import cv2

    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    boxes = [(slice(y, y + height), slice(x, x + width)) for x, y, width, height, _ in stats[1:].tolist()]
    return labels.astype(np.int32, copy=False), boxes


def bounding_box(mask: Mask) -> Box:
    """The rows and columns from the first to the last hole pixel of `[H, W]`, which is not empty."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def grown(box: Box, margin: int, shape: tuple[int, int], multiple: int = 1) -> Box:
    """The box with a margin, clipped to a picture of `shape` and aligned to multiples counted from the top left.

    At the bottom and the right it may extend past the edge, up to the next multiple.

    >>> grown((slice(5, 6), slice(5, 6)), 2, (10, 7), multiple=4)
    (slice(0, 8, None), slice(0, 8, None))
    """

    def grow(side: slice, length: int) -> slice:
        start, stop = max(side.start - margin, 0), min(side.stop + margin, length)
        return slice(start // multiple * multiple, -(-stop // multiple) * multiple)

    return grow(box[0], shape[0]), grow(box[1], shape[1])


def thickness(mask: Mask) -> int:
    """The side of the largest square that fits into the hole `[H, W]`, in pixels, rounded down to an odd number.

    >>> thickness(np.ones((5, 40), dtype=bool))
    5
    """
    import cv2

    padded = cv2.copyMakeBorder(mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return 2 * int(cv2.distanceTransform(padded, cv2.DIST_C, 3).max()) - 1
