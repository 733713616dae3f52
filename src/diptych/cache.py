"""What costs much to work out and follows from its inputs alone is worked out once: kept by content, not by path.

It lies in `$DIPTYCH_CACHE`, or else where the system keeps such things (`$XDG_CACHE_HOME`, `~/.cache`), in `diptych/`. Any
of it may be deleted at any time; it is then worked out again.
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
    """Where it lies; need not exist."""
    if asked := os.environ.get("DIPTYCH_CACHE"):
        return Path(asked)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diptych"


def digest(*parts: str | Iterable[Tensor]) -> str:
    """A fingerprint of words and of pictures (uint8), which may come in any order: 16 hexadecimal digits.

    >>> import torch
    >>> black, white = torch.zeros(1, 2, 2, dtype=torch.uint8), torch.full((1, 2, 2), 255, dtype=torch.uint8)
    >>> digest("faces", [black, white]) == digest("faces", [white, black]) != digest("faces", [black])
    True
    """
    whole = hashlib.sha256()
    for part in parts:
        lines = [part] if isinstance(part, str) else sorted(map(_of_picture, part))
        whole.update(("\n".join(lines) + "\n\n").encode())
    return whole.hexdigest()[:16]


def _of_picture(picture: Tensor) -> str:
    return hashlib.sha256(f"{tuple(picture.shape)}".encode() + picture.contiguous().numpy().tobytes()).hexdigest()


def kept(name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of this name, which says all that they follow from (by its `digest`); made where they are not there.

    A cache that cannot be written or read costs time and nothing else.
    """
    file = folder() / f"{name}.safetensors"
    try:
        return load_file(file)
    except (OSError, SafetensorError):
        tensors = make()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as beside:
            save_file({key: value.contiguous() for key, value in tensors.items()}, beside)
    except (OSError, SafetensorError):
        pass
    return tensors
