"""What a caller may hold pictures in beside paths and Pillow images: arrays, tensors, bytes, open files, lists of them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diptych.images.files import Pixels
from diptych.images.spec import Array
from diptych.wording import shown


def separate(thing: object) -> tuple[Sequence[Any], Callable[[Sequence[Any]], Any]] | None:
    """The pictures of a list, an array `[N, H, W, C]` or a tensor `[N, C, H, W]`, and what puts results together again.

    >>> pictures, together = separate(torch.zeros(2, 3, 8, 8))
    >>> len(pictures), together(pictures).shape
    (2, torch.Size([2, 3, 8, 8]))
    >>> separate(torch.zeros(3, 8, 8)) is None
    True
    """
    if isinstance(thing, list | tuple):
        return thing, list
    if not isinstance(thing, np.ndarray | Tensor) or thing.ndim != 4:
        return None
    if not len(thing):
        raise ValueError(f"a batch of shape {list(thing.shape)} has no picture")
    stack: Callable[..., Any] = torch.stack if isinstance(thing, Tensor) else np.stack
    return list(thing), stack


def bytes_of(thing: object, what: str) -> tuple[bytes, str]:
    """What bytes or an open file hold, and a name for messages; a `ValueError` for anything else.

    >>> import io
    >>> bytes_of(io.BytesIO(b"BM"), "the picture")
    (b'BM', 'the picture')
    >>> bytes_of(7, "the picture")
    Traceback (most recent call last):
        ...
    ValueError: the picture: 7 (int) is not a path, ..., or a list of these
    """
    if isinstance(thing, bytes | bytearray | memoryview):
        return bytes(thing), what
    if not callable(read := getattr(thing, "read", None)):
        raise ValueError(
            f"{what}: {shown(thing)} ({type(thing).__name__}) is not a path, a Pillow image, an array, a tensor, the bytes "
            "of a file, an open file, or a list of these"
        )
    name, data = str(getattr(thing, "name", what)), read()
    if not isinstance(data, bytes):
        raise ValueError(f"{name}: is open as text; open it with mode 'rb'")
    return data, name


def array_of(tensor: Tensor, channels: int = 3) -> Array:
    """A tensor `[C, H, W]` or `[H, W]`, on any device -> an array `[H, W, C]` or `[H, W]`; C is 1, 3 or `channels`.

    >>> array_of(torch.zeros(3, 4, 6, dtype=torch.bfloat16)).shape
    (4, 6, 3)
    """
    if tensor.ndim not in (2, 3) or (tensor.ndim == 3 and tensor.shape[0] not in (1, 3, channels)):
        known = " or ".join(f"[{count}, H, W]" for count in sorted({1, 3, channels}))
        raise ValueError(f"a tensor of shape {list(tensor.shape)} is not a picture; [H, W] or {known} is")
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_quantized:
        raise ValueError(f"a tensor of the layout {tensor.layout} on {tensor.device} is not a picture; a dense one is")
    tensor = tensor.detach().cpu()
    array: Array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return np.moveaxis(array, 0, -1) if array.ndim == 3 else array


def tensor_like(tensor: Tensor, array: Array) -> Tensor:
    """An array as `array_of` gives it -> a tensor with the dtype and on the device of another."""
    channels_first = np.moveaxis(array, -1, 0) if array.ndim == 3 else array
    return torch.from_numpy(np.ascontiguousarray(channels_first)).to(tensor)


def pixels_of(array: Array, what: str) -> Pixels:
    """The levels of an array `[H, W]`, `[H, W, 1]` or `[H, W, 3]` of whole numbers of 8 or 16 bits, or floats in [0, 1].

    >>> pixels_of(np.array([[0, 1]]), "a mask").values.dtype, pixels_of(np.array([[0.5]]), "a mask").values.item()
    (dtype('uint8'), 32768)
    """
    values = array[..., None] if array.ndim == 2 else array
    if values.ndim != 3 or values.shape[-1] not in (1, 3) or 0 in values.shape:
        raise ValueError(f"{what} of shape {array.shape}: [H, W], [H, W, 1] or [H, W, 3] is expected")
    is_whole = np.issubdtype(values.dtype, np.integer)
    if not is_whole and not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"{what} of {array.dtype}: booleans, whole numbers, or floats in [0, 1] are expected")
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= (65535 if is_whole else 1)):  # false for NaN too
        raise ValueError(
            f"{what} of {array.dtype} from {low} to {high}: whole numbers to 65535 or floats in [0, 1] fit"
        )
    if not is_whole:
        return Pixels(np.rint(values.astype(np.float64) * 65535).astype(np.uint16))
    return Pixels(values.astype(np.uint16 if high > 255 or values.dtype == np.uint16 else np.uint8))
