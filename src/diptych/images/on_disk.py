"""Arrays that lie on the disk, in files without a name: the levels of pictures that are larger than the memory.

They are mapped, so that they are arrays like all others; the system takes the memory of their pages back when it needs it.
"""

import errno
import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from diptych.images.spec import Array

PIECE = 2**24  # bytes
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def full_is_a_line(folder: Path) -> Iterator[None]:
    """Inside, the system's error for a full disk is a `ValueError` that names the folder, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise ValueError(f"{folder}: the disk is full; name a folder with more room, --scratch DIR") from None


def empty(shape: Sequence[int], dtype: "np.dtype[Any]", folder: Path) -> Array:
    """An array of zeros in a file of `folder`, which goes when the array goes, whatever ends the process.

    Its room is taken at once: where the disk has less, a `ValueError` says so now, and not a signal later.

    >>> array = empty((2, 3), np.dtype(np.uint8), Path(tempfile.gettempdir()))
    >>> array.sum(), folder_of(array) is not None, folder_of(array[:1])
    (np.uint64(0), True, None)
    """
    size = int(np.prod(shape)) * dtype.itemsize
    with full_is_a_line(folder), tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            for start in range(0, size, PIECE):
                file.write(bytes(min(PIECE, size - start)))
            file.flush()
        array: Any = np.memmap(file, dtype, "r+", shape=tuple(shape))
    array.folder = folder
    return array  # type: ignore[no-any-return]


def folder_of(array: Array) -> Path | None:
    """Where the file of a whole array of `empty` lies; None for every other array."""
    folder: Path | None = getattr(array, "folder", None)
    return folder


def let_go(*arrays: Array | None) -> None:
    """Gives the memory of the pages back that were read or written; what is in them stays, in the file."""
    for array in arrays:
        mapped = getattr(array, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
