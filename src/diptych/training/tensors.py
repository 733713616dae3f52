"""Safetensors files that are not trusted: all that the header says is compared with what the networks expect, before any
tensor is read. Errors name the tensor, and leave the file and the remedy to the caller."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from diptych.files import TensorFile
from diptych.wording import brief, shown

FLOATS = ("F16", "BF16", "F32", "F64")
"""The types of weights that become those of the networks, as safetensors calls them."""


def read_tensors(file: TensorFile, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an open file, on the CPU, with the names, shapes and types of `expected`.

    Floats of any precision become those that are expected, integers stay what they are. A `ValueError` for any other type,
    for other names or shapes, and for a weight that is not finite. `expected` may be on the meta device.
    """
    names = set(file.keys())
    for name in expected:
        if name not in names:
            raise ValueError(f"{_named(name)} is missing")
    for name in names - expected.keys():
        raise ValueError(f"{_named(name)} is nothing that these networks have")
    for name, like in expected.items():  # all of them before any is read
        _require_like(file, name, like)
    return {name: read_tensor(file, name, like) for name, like in expected.items()}


def shape_of(file: TensorFile, name: str) -> list[int]:
    """The shape of a tensor, by the header of its file."""
    return list(file.get_slice(name).get_shape())


def _require_like(file: TensorFile, name: str, like: Tensor) -> None:
    header = file.get_slice(name)
    shape, dtype = header.get_shape(), header.get_dtype()
    if shape != list(like.shape):
        raise ValueError(f"{_named(name)} has the shape {shown(shape)}, and {list(like.shape)} is expected")
    if dtype not in FLOATS and (like.is_floating_point() or dtype != "I64"):
        kind = f"one of {', '.join(FLOATS)}" if like.is_floating_point() else "I64"
        raise ValueError(f"{_named(name)} is of the type {dtype}, and {kind} is expected")


def read_tensor(file: TensorFile, name: str, like: Tensor) -> Tensor:
    """The tensor with the shape and type of `like`, on the CPU; a `ValueError` as by `read_tensors`."""
    _require_like(file, name, like)
    tensor = file.get_tensor(name)
    if not like.is_floating_point():
        return tensor.nan_to_num().to(like.dtype)  # a count of steps overflows a half-precision copy of a model
    tensor = tensor.to(like.dtype)
    if not is_finite([tensor]):
        raise ValueError(f"weights are not finite ({_named(name)})")
    return tensor


def is_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all values are finite, in one pass over each tensor: a sixteenth of the time of `torch.isfinite`.

    >>> is_finite([torch.tensor([1.0, 2.0]), torch.zeros(0)]), is_finite([torch.tensor([0.0, float("nan"), 1.0])])
    (True, False)
    """
    return all(torch.stack(torch.aminmax(tensor)).isfinite().all() for tensor in tensors if tensor.numel())


def _named(name: str) -> str:
    return brief(name, 50)
