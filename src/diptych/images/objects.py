"""What a caller may hold pictures in beside paths and Pillow images: arrays, tensors, bytes, open files, lists of them."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diptych.images.files import Pixels
from diptych.images.spec import Array
from diptych.wording import brief, shown


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


def name_of(thing: object, what: str) -> str:
    """What messages call a thing: the name of an open file, else `what`."""
    return str(getattr(thing, "name", what)) if hasattr(thing, "read") else what


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
        if not len(thing):
            raise ValueError(f"{what}: is empty (0 bytes)")
        return bytes(thing), what
    if not callable(read := getattr(thing, "read", None)):
        raise ValueError(
            f"{what}: {shown(thing)} ({type(thing).__name__}) is not a path, a Pillow image, an array, a tensor, the bytes "
            "of a file, an open file, or a list of these"
        )
    name = name_of(thing, what)
    if isinstance(thing, io.TextIOBase):
        raise ValueError(f"{name}: is open as text; open it with mode 'rb'")
    try:
        data = read()
    except (OSError, ValueError) as error:
        raise ValueError(f"{name}: cannot be read ({brief(error)})") from error
    if not isinstance(data, bytes):
        raise ValueError(f"{name}: is open as text; open it with mode 'rb'")
    if not data:
        raise ValueError(f"{name}: has no bytes from where it stands; go to its beginning, seek(0)")
    return data, name


def plain_array(array: Array) -> Array:
    """An array in numpy's plainest form, which every library takes: its own byte order, positive strides, no subclass.

    Raises a `ValueError` for a masked array, whose masked numbers are none.

    >>> plain_array(np.array([[1, 2]], ">i2")[:, ::-1])
    array([[2, 1]], dtype=int16)
    """
    if isinstance(array, np.ma.MaskedArray) and (masked := int(np.ma.getmaskarray(array).sum())):
        raise ValueError(f"{masked:,} of its {array.size:,} numbers are masked; give them a value, array.filled(0)")
    return np.ascontiguousarray(np.asarray(array).astype(array.dtype.newbyteorder("="), copy=False)).reshape(
        array.shape
    )


def require_loaded(image: Image.Image) -> None:
    """Loads a Pillow image; a `ValueError` where its file is closed or damaged, for Pillow raises whatever it meets."""
    try:
        image.load()
    except Exception as error:
        raise ValueError(f"cannot be read ({brief(error)})") from error


def array_of(tensor: Tensor, channels: int = 3) -> Array:
    """A tensor `[C, H, W]` or `[H, W]`, on any device -> an array `[H, W, C]` or `[H, W]`; C is 1, 3 or `channels`.

    >>> array_of(torch.zeros(3, 4, 6, dtype=torch.bfloat16)).shape
    (4, 6, 3)
    """
    if tensor.ndim not in (2, 3) or (tensor.ndim == 3 and tensor.shape[0] not in (1, 3, channels)):
        known = " or ".join(f"[{count}, H, W]" for count in sorted({1, 3, channels}))
        turned = tensor.ndim == 3 and tensor.shape[-1] in (1, 3, channels)
        remedy = ": turn its axes, tensor.permute(2, 0, 1)" if turned else ""
        raise ValueError(f"a tensor of shape {list(tensor.shape)} is not a picture; [H, W] or {known} is{remedy}")
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_quantized:
        raise ValueError(f"a tensor of the layout {tensor.layout} on {tensor.device} is not a picture; a dense one is")
    if tensor.is_complex():
        raise ValueError(f"a tensor of {tensor.dtype} is not a picture; real numbers are expected")
    tensor = tensor.detach().cpu()
    has_no_like = tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64)
    array: Array = (tensor.float() if has_no_like else tensor.resolve_neg()).numpy()
    return np.moveaxis(array, 0, -1) if array.ndim == 3 else array


def tensor_like(tensor: Tensor, array: Array) -> Tensor:
    """An array as `array_of` gives it -> a tensor on the device of another, and with its dtype where that holds the numbers.

    >>> tensor_like(torch.zeros(1, dtype=torch.int64), np.array([[7]], np.uint8)).dtype
    torch.int64
    >>> tensor_like(torch.zeros(1, dtype=torch.uint8), np.array([[-1000.5]], np.float32))
    tensor([[-1000.5000]])
    """
    channels_first = np.moveaxis(array, -1, 0) if array.ndim == 3 else array
    result = torch.from_numpy(np.ascontiguousarray(channels_first)).to(tensor.device)
    if tensor.is_floating_point():
        return result.to(tensor.dtype)
    return (
        result.to(tensor.dtype)
        if np.can_cast(array.dtype, torch.empty(0, dtype=tensor.dtype).numpy().dtype)
        else result
    )


def pixels_of(array: Array, what: str) -> Pixels:
    """The levels of an array `[H, W]`, `[H, W, 1]` or `[H, W, 3]` of whole numbers of 8 or 16 bits, or floats in [0, 1].

    Whole numbers may have the type of floats where they go beyond 1.

    >>> pixels_of(np.array([[0, 1]]), "a mask").values.dtype, pixels_of(np.array([[0.5]]), "a mask").values.item()
    (dtype('uint8'), 32768)
    """
    array = plain_array(array)
    values = array[..., None] if array.ndim == 2 else array
    if values.ndim != 3 or values.shape[-1] not in (1, 3) or 0 in values.shape:
        raise ValueError(f"{what} of shape {array.shape}: [H, W], [H, W, 1] or [H, W, 3] is expected")
    is_whole = np.issubdtype(values.dtype, np.integer)
    if not is_whole and not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"{what} of {array.dtype}: booleans, whole numbers, or floats in [0, 1] are expected")
    low, high = values.min(), values.max()
    if not is_whole and 1 < high <= 65535 and low >= 0 and (values == np.rint(values)).all():
        values, is_whole = values.astype(np.int64), True
    if not (low >= 0 and high <= (65535 if is_whole else 1)):  # false for NaN too
        raise ValueError(
            f"{what} of {array.dtype} from {low} to {high}: whole numbers to 65535 or floats in [0, 1] fit"
        )
    if not is_whole:
        return Pixels(np.rint(values.astype(np.float64) * 65535).astype(np.uint16))
    return Pixels(values.astype(np.uint16 if high > 255 or values.dtype == np.uint16 else np.uint8))
