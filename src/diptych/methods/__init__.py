"""The methods, one file per paper. A new method needs its file, a line here, a recipe and a page in the docs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from diptych.devices import all_memory, memory_format
from diptych.methods.base import Method
from diptych.methods.cgan import CGAN
from diptych.methods.colorize import Colorize
from diptych.methods.cut import CUT
from diptych.methods.cyclegan import CycleGAN
from diptych.methods.glcic import GLCIC
from diptych.methods.pix2pix import Pix2Pix
from diptych.methods.settings import MethodSettings, Shape, kebab
from diptych.wording import brief

METHODS: dict[str, type[Method]] = {
    "pix2pix": Pix2Pix,
    "cyclegan": CycleGAN,
    "cut": CUT,
    "colorize": Colorize,
    "glcic": GLCIC,
    "cgan": CGAN,
}


COPIES = 4  # of a weight in training: itself, its gradient and two moments of the optimiser


def sketch(name: str, settings: MethodSettings, shape: Shape) -> Method:
    """A method on the meta device, without weights; a `ValueError` if its networks do not accept the settings.

    >>> from diptych.methods.pix2pix import Pix2PixSettings
    >>> next(sketch("pix2pix", Pix2PixSettings(), Shape(size=256)).parameters()).device
    device(type='meta')
    """
    with _room(name, settings), torch.device("meta"):
        return METHODS[name](settings, shape)


def build(name: str, settings: MethodSettings, shape: Shape, device: torch.device) -> Method:
    """A method with first weights on `device`; a `ValueError` if they do not fit into its memory."""
    with _room(name, settings):
        method = METHODS[name](settings, shape)
        return method.to(device, memory_format=memory_format(device))  # type: ignore[call-overload, no-any-return]


def require_memory(name: str, method: Method, settings: MethodSettings, device: torch.device) -> None:
    """Raises a `ValueError` if the networks of a sketched `method` cannot be trained in the memory of `device`.

    A system that promises more memory than it has would end the process without a word.
    """
    weights = sum(p.nbytes for p in method.parameters())
    needed = COPIES * weights + sum(buffer.nbytes for buffer in method.buffers())
    there = all_memory(device)
    if needed > there:
        raise ValueError(
            f"{name}: its networks take {needed / 2**30:,.0f} GiB in training, and there are {there / 2**30:,.0f} GiB on "
            f"{device}; lower {_larger(settings)}"
        )


@contextmanager
def _room(name: str, settings: MethodSettings) -> Iterator[None]:
    """Inside, torch's errors about sizes that it cannot count or allocate become a `ValueError` with what to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        raise ValueError(f"{name}: its networks are too large ({brief(error)}); lower {_larger(settings)}") from error


def _larger(settings: MethodSettings) -> str:
    """The settings of a method that are larger than its own."""
    values = ((name, getattr(settings, name), field.default) for name, field in type(settings).model_fields.items())
    larger = [f"--method.{kebab(name)} {value}" for name, value, own in values if type(value) is int and value > own]
    return " or ".join([*larger, "--size"])
