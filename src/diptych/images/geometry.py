"""Resize, crop, flip, pad. Random geometry is drawn from a generator that the caller passes in, once per sample."""

from collections.abc import Sequence
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.images.spec import SIXTEEN_BIT, Kind, strips


def resize(picture: Tensor, height: int, width: int, kind: Kind = "image") -> Tensor:
    """Levels or floats `[C, H, W]` -> `[C, height, width]`, bicubic and antialiased, never contrast-stretched.

    Label maps are resized by nearest neighbour: every pixel of the result is one of the picture's.

    >>> resize(torch.zeros(3, 600, 400, dtype=torch.uint8), 286, 286).shape
    torch.Size([3, 286, 286])
    """
    if picture.shape[1:] == (height, width):
        return picture
    if kind == "labels":
        rows, columns = (  # the pixel under the centre of each new one, in exact integers
            (2 * torch.arange(new) + 1) * old // (2 * new)
            for new, old in zip((height, width), picture.shape[1:], strict=True)
        )
        return picture[:, rows][:, :, columns]
    if picture.dtype == torch.uint16:  # torch interpolates only 8-bit levels and floats
        parts = strips(picture.shape[1], picture.shape[0] * picture.shape[2])
        # Across, then down, as torch does it: the floats of a whole large picture would take four times its memory.
        narrow = torch.cat([resize(picture[:, row].float(), row.stop - row.start, width) for row in parts], dim=1)
        return resize(narrow, height, width).round_().clamp_(0, SIXTEEN_BIT.full).to(torch.uint16)
    # torch resizes 8-bit RGB four times as fast when the channels of a pixel lie together, as decoders leave them
    one = picture[None]
    if picture.dtype == torch.uint8 and picture.shape[0] == 3:
        one = one.contiguous(memory_format=torch.channels_last)
    return F.interpolate(one, size=(height, width), mode="bicubic", antialias=True)[0]


def shrunk(height: int, width: int, shorter: int) -> tuple[int, int]:
    """The size at which the shorter side has `shorter` pixels, in the same proportions; never a larger one.

    >>> shrunk(600, 400, 100), shrunk(60, 40, 100)
    ((150, 100), (60, 40))
    """
    # Whole numbers of which none is negative, and torch's `min`: it exports with symbolic sizes.
    least = torch.sym_min(height, width)  # type: ignore[no-untyped-call]
    to = torch.sym_min(least, shorter)  # type: ignore[no-untyped-call]
    new_height, new_width = ((2 * side * to + least) // (2 * least) for side in (height, width))
    return new_height, new_width


def join(sides: Sequence[Tensor]) -> Tensor:
    """Levels `[C, H, W]` of one size and type, of any strides -> one contiguous `[C + C' + ..., H, W]`, in this order.

    >>> join([torch.zeros(3, 4, 5, dtype=torch.uint8), torch.ones(1, 4, 5, dtype=torch.uint8)]).shape
    torch.Size([4, 4, 5])
    """
    import cv2

    arrays = [side.numpy() for side in sides]
    planes = np.empty((sum(map(len, arrays)), *arrays[0].shape[1:]), arrays[0].dtype)
    first = 0
    for array in arrays:
        place = planes[first : first + len(array)]
        if array.strides[0] == array.itemsize and len(array) > 1:  # OpenCV is twice as fast with interleaved channels
            cv2.split(array.transpose(1, 2, 0), list(place))
        else:
            place[:] = array
        first += len(array)
    return torch.from_numpy(planes)


def middle(inner: tuple[int, int], outer: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of `outer` (height, width) where `inner` lies in its middle."""
    rows, columns = (slice((b - a) // 2, (b - a) // 2 + a) for a, b in zip(inner, outer, strict=True))
    return rows, columns


def as_large_as_fits(shape: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The height and width of what has the shape of `shape` and just fits into `box`."""
    factor = min(there / side for side, there in zip(shape, box, strict=True))
    height, width = (max(1, round(side * factor)) for side in shape)
    return height, width


def centre_crop(picture: Tensor, shape: tuple[int, int]) -> Tensor:
    """The middle of `[C, H, W]`, as much as has the shape (height, width) of `shape`.

    >>> centre_crop(torch.zeros(3, 10, 50), (64, 128)).shape
    torch.Size([3, 10, 20])
    """
    height, width = picture.shape[1:]
    rows, columns = middle(as_large_as_fits(shape, (height, width)), (height, width))
    return picture[:, rows, columns]


def random_crop(picture: Tensor, size: tuple[int, int], generator: Random) -> Tensor:
    """A part of `size` (height, width) at a uniformly random offset, the first and the last included."""
    height, width = size
    top, left = (generator.randint(0, there - side) for there, side in zip(picture.shape[1:], size, strict=True))
    return picture[:, top : top + height, left : left + width]


def random_flip(picture: Tensor, generator: Random) -> Tensor:
    """Mirrored left to right with probability 0.5."""
    if generator.random() >= 0.5:
        return picture
    if picture.dtype == torch.uint16:  # torch does not flip uint16; the same bits as int16 it does
        return picture.view(torch.int16).flip(-1).view(torch.uint16)
    return picture.flip(-1)


def mirrored(length: int, start: int, stop: int) -> Tensor:
    """The indices into a side of `length` pixels that its reflection has from `start` to `stop`.

    >>> mirrored(4, -2, 6).tolist()
    [2, 1, 0, 1, 2, 3, 2, 1]
    """
    # A triangle wave, so that the reflection repeats as often as needed, even for a side of one pixel.
    # The period is a tensor and no negative number is divided, so that the arithmetic exports with symbolic sizes.
    period = torch.full((1,), max(2 * (length - 1), 1))
    position = torch.remainder(torch.arange(start, stop), period)
    return torch.where(position < length, position, period - position)


def pad_to_stride(images: Tensor, stride: int, evenly: bool = True) -> Tensor:
    """Pads `[..., H, W]` by reflection up to the next multiple of the stride in both directions.

    Evenly on all sides; or, if not, at the bottom and the right alone, where the top left pixel stays the first.

    >>> pad_to_stride(torch.arange(3.0).reshape(1, 1, 1, 3), 4).shape
    torch.Size([1, 1, 4, 4])
    """
    rows, columns = (padded(side, stride, evenly)[0].to(images.device) for side in images.shape[-2:])
    return images.index_select(-2, rows).index_select(-1, columns)


def padded(length: int, stride: int, evenly: bool = True) -> tuple[Tensor, int]:
    """The indices into a side of `length` pixels that `pad_to_stride` gives it, and how many come before the first pixel.

    >>> indices, before = padded(5, 4)
    >>> indices.tolist(), before
    ([1, 0, 1, 2, 3, 4, 3, 2], 1)
    """
    longer = (length + stride - 1) // stride * stride
    before = (longer - length) // 2 if evenly else 0
    return mirrored(length, -before, longer - before), before


def cut_back(images: Tensor, height: int, width: int, evenly: bool = True) -> Tensor:
    """Undoes `pad_to_stride`: the middle `height` x `width` of `[..., H, W]`, or those at the top left."""
    top, left = ((images.shape[-2] - height) // 2, (images.shape[-1] - width) // 2) if evenly else (0, 0)
    # Not a slice, which is contiguous only if nothing is cut: an exported program would hold for one of the two cases
    rows, columns = (torch.arange(start, start + side) for start, side in ((top, height), (left, width)))
    return images.index_select(-2, rows.to(images.device)).index_select(-1, columns.to(images.device))
