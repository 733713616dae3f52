"""How much memory a translator needs for an image of a size, found without computing or allocating anything."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from diptych.translators.base import Translator

WORKSPACE = 2.25
"""Memory that a CPU uses, of that of the tensors: convolutions copy what they read into their own layout. Measured for both
generators and the completion network at 0.4 to 6 megapixels: 1.33 to 1.71 with torch's own operators; for the residual
generator at 3 megapixels 1.83 to 2.18 with those of `cpu.py`."""


def needed_memory(translator: Translator, shapes: Sequence[tuple[int, ...]]) -> int:
    """The bytes that `translator` needs besides its weights for inputs of these shapes, at the moment when it needs most.

    >>> from diptych.images.spec import ImageSpec
    >>> from diptych.networks.resnet import ResNet
    >>> from diptych.translators.image import ImageTranslator
    >>> translator = ImageTranslator(ResNet(3, 3, blocks=9, width=64), ImageSpec(3), ImageSpec(3))
    >>> f"{needed_memory(translator, [(1, 3, 8000, 12000)]) / 2**30:.0f} GiB"
    '110 GiB'
    """
    parameter, watch = next(translator.parameters()), _Watch()
    watch.count = _Count()
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True), watch:
        translator(*(torch.empty(shape, device=parameter.device) for shape in shapes))
    return round(watch.count.peak * WORKSPACE)


class _Count:
    """The bytes of the tensors that are alive, now and at the most."""

    def __init__(self) -> None:
        self.now: int = 0
        self.peak: int = 0
        self.alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def add(self, storage: torch.UntypedStorage) -> None:
        """Counts a storage until it is forgotten; several tensors may share one."""
        key, size = id(storage), storage.nbytes()
        if key in self.alive:
            return

        def forget(_: object) -> None:
            self.now -= size
            del self.alive[key]

        self.alive[key] = weakref.ref(storage, forget)
        self.now += size
        self.peak = max(self.peak, self.now)


class _Watch(TorchDispatchMode):
    """Counts what operations make."""

    count: _Count

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.count.add(tensor.untyped_storage())
        return result
