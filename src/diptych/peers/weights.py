"""The weight files of other programs (.pth): tensors by name, read without running anything that is in them."""

import warnings
from pathlib import Path

import torch
from torch import Tensor

from diptych.files import require_file
from diptych.training.tensors import is_finite
from diptych.wording import brief, shown

Weights = dict[str, Tensor]
PARALLEL = "module."
"""What torch's DataParallel puts before every name."""


def read(path: Path) -> Weights:
    """The tensors of a `.pth` file, on the CPU, in float32 where they are floats.

    Raises a `ValueError` for a file that is no dictionary of tensors: one that holds other objects is never unpickled.

    >>> read(Path("/dev/zero"))
    Traceback (most recent call last):
        ...
    ValueError: /dev/zero: is not a regular file; remove it, or give another path
    """
    require_file(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # of a strange pickle it warns before it refuses it
            content = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError as error:
        raise ValueError(f"{path}: does not fit in the memory that is free") from error
    except Exception as error:  # of a damaged file torch may raise anything
        if "Weights only load failed" in str(error):
            raise ValueError(
                f"{path}: holds more than tensors, which may be code, or is damaged, and is not opened; save its weights "
                "alone, by torch.save(network.state_dict(), FILE)"
            ) from error
        raise ValueError(f"{path}: is no weight file, or is damaged ({brief(error, 60)}); copy it again") from error
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise ValueError(f"{path}: holds {_described(content)}, and a dictionary of tensors by name is expected")
    if not content:
        raise ValueError(f"{path}: holds no weights")
    weights = {
        name.removeprefix(PARALLEL): value.float() if value.is_floating_point() else value
        for name, value in content.items()
    }
    for name, value in weights.items():
        if value.is_floating_point() and not is_finite([value]):
            raise ValueError(f"{path}: weights are not finite ({brief(name, 50)})")
    return weights


def _described(content: object) -> str:
    if isinstance(content, dict):
        return f"a dictionary of {shown(list(content)[:3])}"
    return f"an object of the type {type(content).__name__}"
