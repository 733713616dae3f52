"""What the numbers of an image mean: how many channels and bits, and the one map between levels and [-1, 1].

A level is a whole number as a file holds it, 0 to 255 or 0 to 65535. Networks see floats in [-1, 1]. The map between the
two is fixed and never stretches the contrast: `level / half - 1` one way, `round((value + 1) * half)`, clamped, the other.

Two kinds of files become levels first: numbers with a stated range, of which LOW is level 0 and HIGH the highest one, and
label maps with stated labels, which become one plane a class.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from diptych.images.labels import Labels

Array = np.ndarray[Any, np.dtype[Any]]
Bits = Literal[8, 16]
Kind = Literal["image", "labels"]
"""Label maps hold class colours or class numbers: they are resized by nearest neighbour, never interpolated."""
Range = tuple[float, ...]
"""LOW and HIGH: the numbers of a file that are -1 and 1 for a network. Empty: its levels of 8 or 16 bits are."""

RGB, RGBX = 3, 4  # channels
STRIP = 2**20  # pixels
_STEP = 257  # 16-bit levels from one 8-bit level to the next: 65535 / 255
_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601
_LUMA_INTEGERS = (19595, 38470, 7471)  # Pillow's, of 65536: a grey image made by Pillow and one made here are equal


class NoFixedRangeError(ValueError):
    """An intact picture of numbers for which no black and no white are defined."""

    def __init__(self, dtype: object, file: str = "") -> None:
        super().__init__(
            f"{file}{': ' if file else ''}its numbers ({dtype}) have no fixed range; in training state it, --range "
            "LOW HIGH, else save it with 8 or 16 bits"
        )
        self.dtype = dtype


@dataclass(frozen=True)
class ImageSpec:
    """How one side of a dataset is read and cached, and what a network gets of it.

    >>> spec = ImageSpec(channels=1, bits=16)
    >>> spec.to_float(torch.tensor([0, 65535]).to(torch.uint16)).tolist()
    [-1.0, 1.0]
    >>> ImageSpec().to_levels(torch.tensor([-1.1, -1.0, 0.0, 1.0])).tolist()
    [0, 0, 128, 255]
    """

    channels: int = 3
    """3 is RGB, 1 is grey; any other number is taken from the file as it is. With `labels`, one for each."""
    bits: Bits = 8
    kind: Kind = "image"
    range: Range = ()
    labels: Labels | None = None
    """The classes of label maps that a network sees as planes, 1 where a pixel is of the class and -1 elsewhere."""

    @property
    def is_of_numbers(self) -> bool:
        """Whether a file holds numbers of a range, or labels: they have no colours, and a profile says nothing of them."""
        return bool(self.range) or self.labels is not None

    @property
    def is_seen_by_others(self) -> bool:
        """Whether the networks of metrics can see it: RGB or grey, and no label planes."""
        return self.channels in (1, 3) and self.labels is None

    @property
    def full(self) -> int:
        """The highest level: 255 or 65535."""
        return (1 << self.bits) - 1

    @property
    def half(self) -> float:
        """The level that is 0.0 for a network, between two whole ones."""
        return self.full / 2

    @property
    def dtype(self) -> torch.dtype:
        """Of levels in memory."""
        return torch.uint8 if self.bits == 8 else torch.uint16

    def to_float(self, levels: Tensor) -> Tensor:
        """Levels of any shape -> float32 in [-1, 1]."""
        return levels.float().sub_(self.half).div_(self.half)

    def quantized(self, image: Tensor) -> Tensor:
        """float in [-1, 1] -> the nearest levels, clamped, still as float32."""
        return (image.float() + 1).mul_(self.half).round_().clamp_(0, self.full)

    def to_levels(self, image: Tensor) -> Tensor:
        """float in [-1, 1] -> levels of the same shape, as a file would hold them."""
        return self.quantized(image).to(self.dtype)

    def read(self, values: Array, alpha: Array | None = None) -> Tensor:
        """A decoded file, `[H, W, C]` -> levels `[channels, H, W]`; `alpha` as in `to_channels`.

        `values` are levels of 8 or 16 bits, or with a range numbers of any type.
        """
        if self.labels:
            planes = torch.from_numpy(self.labels.planes(values)).permute(2, 0, 1)
            return (planes * self.full).to(self.dtype)
        if self.range:
            values, alpha = in_range(values, self.range), None if alpha is None else to_bits(alpha, 16)
        values = to_bits(to_channels(values, alpha, self.channels), self.bits)
        return torch.from_numpy(np.require(values, requirements="W")).permute(2, 0, 1)  # Pillow's memory is read-only


EIGHT_BIT, SIXTEEN_BIT = ImageSpec(bits=8), ImageSpec(bits=16)
"""For the map alone, where the number of channels does not matter."""


def to_eight_bit(levels: Tensor) -> Tensor:
    """Levels of either depth -> the nearest 8-bit ones."""
    return torch.from_numpy(to_bits(levels.numpy(), 8))


def to_bits(values: Array, bits: Bits) -> Array:
    """Levels of either depth, in any shape -> the nearest ones of `bits`."""
    if values.dtype.itemsize * 8 == bits:
        return values
    if bits == 16:
        return values.astype(np.uint16) * _STEP
    return _by_strips(lambda levels: ((levels.astype(np.uint32) + _STEP // 2) // _STEP).astype(np.uint8), values)


def in_range(numbers: Array, within: Range) -> Array:
    """Numbers of any type -> 16-bit levels: LOW is 0, HIGH is 65535, what lies beyond is cut to them; NaN counts as LOW.

    >>> in_range(np.array([[-1024, 0, 3072, 9999]], np.int16), (-1024, 3072)).tolist()
    [[0, 16384, 65535, 65535]]
    """
    low, high = within

    def change(part: Array) -> Array:
        shares = (part.astype(np.float64) - low) / (high - low)
        levels: Array = np.rint(np.nan_to_num(shares.clip(0, 1)) * SIXTEEN_BIT.full).astype(np.uint16)
        return levels

    return _by_strips(change, numbers)


def from_range(levels: Array, within: Range, dtype: "np.dtype[Any]") -> Array:
    """Undoes `in_range`: levels of 8 or 16 bits -> numbers of `dtype` from LOW to HIGH.

    >>> from_range(np.array([0, 128, 255], np.uint8), (-1000, 1000), np.dtype(np.int16)).tolist()
    [-1000, 4, 1000]
    """
    low, high = within

    def change(part: Array) -> Array:
        numbers = part.astype(np.float64) / np.iinfo(part.dtype).max * (high - low) + low
        return (np.rint(numbers) if np.issubdtype(dtype, np.integer) else numbers).astype(dtype)

    return _by_strips(change, levels)


def strips(height: int, width: int) -> Iterator[slice]:
    """The rows of a picture, about a megapixel at a time.

    >>> list(strips(3, 2**20)), list(strips(3, 4))
    ([slice(0, 1, None), slice(1, 2, None), slice(2, 3, None)], [slice(0, 3, None)])
    """
    rows = max(1, STRIP // width)
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def _by_strips(change: Callable[..., Array], *arrays: Array) -> Array:
    """`change(*arrays)`, which treats every row for itself; what it needs in between is no larger than a strip."""
    if arrays[0].size <= STRIP:
        return change(*arrays)
    first, *others = strips(len(arrays[0]), arrays[0][0].size)
    changed = change(*(array[first] for array in arrays))
    whole = np.empty((len(arrays[0]), *changed.shape[1:]), changed.dtype)
    whole[first] = changed
    for rows in others:
        whole[rows] = change(*(array[rows] for array in arrays))
    return whole


# ---- channels


def to_channels(values: Array, alpha: Array | None, channels: int) -> Array:
    """`[H, W, C]` -> `[H, W, channels]`, of the same type.

    Alpha `[H, W]` is the last channel where `channels` is one more than C; else what is transparent is laid on white. Grey
    is repeated into RGB; RGB becomes luma; of four channels the first three are RGB. Any other number is never converted.
    """
    if alpha is not None and values.shape[-1] + 1 == channels:
        return np.concatenate([values, alpha[..., None]], axis=-1)
    if alpha is not None:
        values = _by_strips(_on_white, values, alpha)
    if values.shape[-1] == channels:
        return values
    if channels == 3 and values.shape[-1] == 1:
        return np.repeat(values, 3, axis=-1)
    if channels in (1, 3) and values.shape[-1] == 4:
        return to_channels(values[..., :3], None, channels)
    if channels == 1 and values.shape[-1] == 3:
        return _by_strips(_luma, values)
    raise _unreadable(values.shape[-1], channels)


def _luma(values: Array) -> Array:
    luma = values.astype(np.uint32) @ np.array(_LUMA_INTEGERS, np.uint32)
    grey: Array = ((luma + 0x8000) >> 16).astype(values.dtype)[..., None]
    return grey


def _unreadable(found: int, channels: int) -> ValueError:
    return ValueError(
        f"a picture of {found} channels cannot be read as {channels}: only 1 and 3 as each other, 4 as those"
    )


def _on_white(values: Array, alpha: Array) -> Array:
    full = np.iinfo(values.dtype).max
    if alpha.min() == full:  # most pictures with alpha are opaque in most rows, and the floats below take their time
        return values
    if alpha.max() == 0:
        return np.full_like(values, full)
    opacity = alpha[..., None].astype(np.float32) / full
    opaque: Array = np.rint(values * opacity + full * (1 - opacity)).astype(values.dtype)
    return opaque


def divided_by_alpha(colour: Array, alpha: Array) -> Array | None:
    """Undoes, in place, that colours `[H, W, C]` were multiplied by their alpha `[H, W]`: to the nearest level.

    Returns how far colours were above their alpha, which no product is (light that is added), or None where none was.
    With that `multiplied_by_alpha` gives back the same levels.
    """
    above = np.zeros_like(colour)
    full = int(np.iinfo(colour.dtype).max)
    for rows in strips(*alpha.shape):
        part, opacity = colour[rows], alpha[rows, :, None]
        above[rows] = np.where(part > opacity, part - opacity, 0)
        opacity = np.maximum(opacity, 1).astype(np.uint64)
        part[:] = np.minimum((part * np.uint64(full) + opacity // 2) // opacity, full)
    return above if above.any() else None


def multiplied_by_alpha(colour: Array, alpha: Array, above: Array | None = None) -> Array:
    """Colours `[H, W, C]` times their alpha `[H, W]`, and what `above` has on top of that.

    >>> colour, alpha = np.array([[[7], [90]]], np.uint8), np.array([[9, 80]], np.uint8)
    >>> above = divided_by_alpha(straight := colour.copy(), alpha)
    >>> straight.flatten().tolist(), multiplied_by_alpha(straight, alpha, above).flatten().tolist()
    ([198, 255], [7, 90])
    """
    full = int(np.iinfo(colour.dtype).max)
    whole = np.empty_like(colour)
    for rows in strips(*alpha.shape):
        product = (colour[rows] * alpha[rows, :, None].astype(np.uint64) + full // 2) // np.uint64(full)
        whole[rows] = product if above is None else np.minimum(product + above[rows], full)
    return whole


def floats_to_channels(image: Tensor, channels: int) -> Tensor:
    """`to_channels` for floats `[C, H, W]`."""
    if image.shape[0] == channels:
        return image
    if channels == 3 and image.shape[0] == 1:
        return image.expand(3, -1, -1)
    if channels in (1, 3) and image.shape[0] == 4:
        return floats_to_channels(image[:3], channels)
    if channels == 1 and image.shape[0] == 3:
        return (image * torch.tensor(_LUMA).view(3, 1, 1)).sum(0, keepdim=True)
    raise _unreadable(image.shape[0], channels)


def in_colours(images: Tensor, *sides: ImageSpec) -> Tensor:
    """Planes of labels `[B, K, H, W]` of one of the sides as colours `[B, 3, H, W]`; other images as they are.

    Where both sides have as many channels and one of them has no labels, nothing tells whose the images are: they stay.

    >>> from diptych.images.labels import Labels
    >>> side = ImageSpec(2, kind="labels", labels=Labels.parse(["sky,0,0,255", "wall,255,0,0"]))
    >>> in_colours(torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1), side).flatten().tolist()
    [1.0, -1.0, -1.0]
    """
    labels = [side.labels for side in sides if side.channels == images.shape[1]]
    if not labels or labels[0] is None or None in labels:
        return images
    shades = torch.from_numpy(labels[0].shades)[images.argmax(1).cpu()]  # [B, H, W, 3]
    return EIGHT_BIT.to_float(shades.permute(0, 3, 1, 2))


def viewable(image: Tensor) -> Tensor:
    """What a person is shown of floats `[C, H, W]`: one channel or three as they are, of more the first three.

    Two channels are red and green.

    >>> viewable(torch.ones(4, 2, 2)).shape, viewable(torch.ones(2, 2, 2))[:, 0, 0].tolist()
    (torch.Size([3, 2, 2]), [1.0, 1.0, -1.0])
    """
    if image.shape[0] == 2:
        return torch.cat([image, torch.full_like(image[:1], -1)])
    return image[:3]
