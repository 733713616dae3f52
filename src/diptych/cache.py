"""A cache on disk for expensive results that depend on their inputs alone, keyed by content, not by path.

Its folder is `$DIPTYCH_CACHE`, or `diptych/` in the cache folder of the system (`$XDG_CACHE_HOME`, `~/.cache`). Files may be
deleted at any time; they are then computed again.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from diptych.files import atomic_file


def folder() -> Path:
    """The folder of the cache; it may not exist yet."""
    if own := os.environ.get("DIPTYCH_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diptych"


def digest(*parts: str | Iterable[Tensor]) -> str:
    """A hash of texts and of sets of images (uint8, in any order): 16 hexadecimal digits.

    >>> import torch
    >>> black, white = torch.zeros(1, 2, 2, dtype=torch.uint8), torch.full((1, 2, 2), 255, dtype=torch.uint8)
    >>> digest("faces", [black, white]) == digest("faces", [white, black]) != digest("faces", [black])
    True
    """
    whole = hashlib.sha256()
    for part in parts:
        lines = [part] if isinstance(part, str) else sorted(map(_image_digest, part))
        whole.update(("\n".join(lines) + "\n\n").encode())
    return whole.hexdigest()[:16]


def _image_digest(image: Tensor) -> str:
    return hashlib.sha256(f"{tuple(image.shape)}".encode() + image.contiguous().numpy().tobytes()).hexdigest()


def kept(name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The cached tensors of this name, computed by `make` if they are missing; the name has a `digest` of all inputs.

    A cache that cannot be read or written is ignored.
    """
    file = folder() / f"{name}.safetensors"
    try:
        return load_file(file)
    except (OSError, SafetensorError):
        tensors = make()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as partial:
            save_file({key: value.contiguous() for key, value in tensors.items()}, partial)
    except (OSError, SafetensorError):
        pass
    return tensors
