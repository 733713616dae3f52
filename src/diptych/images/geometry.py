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
    together = picture.dtype == torch.uint8 and picture.shape[0] == 3
    one = picture.permute(1, 2, 0)[None].contiguous().permute(0, 3, 1, 2) if together else picture[None]
    return F.interpolate(one, size=(height, width), mode="bicubic", antialias=True)[0]


def join(sides: Sequence[Tensor]) -> Tensor:
    """Levels `[C, H, W]` of one size and type, of any strides -> one contiguous `[C + C' + ..., H, W]`, in this order.

    >>> join([torch.zeros(3, 4, 5, dtype=torch.uint8), torch.ones(1, 4, 5, dtype=torch.uint8)]).shape
    torch.Size([4, 4, 5])
    """
    import cv2

    planes = np.empty((sum(len(side) for side in sides), *sides[0].shape[1:]), sides[0].numpy().dtype)
    first = 0
    for side in sides:
        if side.stride(0) == 1 and len(side) > 1:  # OpenCV separates interleaved channels twice as fast as torch
            cv2.split(side.permute(1, 2, 0).numpy(), list(planes[first : first + len(side)]))
        else:
            planes[first : first + len(side)] = side.numpy()
        first += len(side)
    return torch.from_numpy(planes)


def centre_square(picture: Tensor) -> Tensor:
    """The largest square in the middle of `[C, H, W]`.

    >>> centre_square(torch.zeros(3, 10, 20)).shape
    torch.Size([3, 10, 10])
    """
    height, width = picture.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return picture[:, top : top + side, left : left + side]


def random_crop(picture: Tensor, size: int, generator: Random) -> Tensor:
    """A square of `size` at a uniformly random offset, the first and the last included."""
    top, left = (generator.randint(0, side - size) for side in picture.shape[1:])
    return picture[:, top : top + size, left : left + size]


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


def pad_to_stride(images: Tensor, stride: int) -> Tensor:
    """Pads `[..., H, W]` by reflection, evenly on all sides, up to the next multiple of the stride in both directions.

    >>> pad_to_stride(torch.arange(3.0).reshape(1, 1, 1, 3), 4).shape
    torch.Size([1, 1, 4, 4])
    """
    height, width = images.shape[-2:]
    taller, wider = ((side + stride - 1) // stride * stride for side in (height, width))
    above, left = (taller - height) // 2, (wider - width) // 2
    rows = mirrored(height, -above, taller - above).to(images.device)
    columns = mirrored(width, -left, wider - left).to(images.device)
    return images.index_select(-2, rows).index_select(-1, columns)


def cut_back(images: Tensor, height: int, width: int) -> Tensor:
    """Undoes `pad_to_stride`: the middle `height` x `width` of `[..., H, W]`."""
    top, left = (images.shape[-2] - height) // 2, (images.shape[-1] - width) // 2
    # Not a slice, which is contiguous only if nothing is cut: an exported program would hold for one of the two cases
    rows, columns = (torch.arange(start, start + side) for start, side in ((top, height), (left, width)))
    return images.index_select(-2, rows.to(images.device)).index_select(-1, columns.to(images.device))
