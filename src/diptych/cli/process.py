"""Memory and threads of the process, which are set up before anything heavy is imported."""

import ctypes
import os
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # of malloc.h
LARGEST_KEPT = 2**25  # bytes: glibc takes no larger number


def keep_freed_memory(*, all_of_it: bool = False) -> None:
    """Lets this process keep the memory that it frees, where the C library is glibc: blocks of up to 32 MiB, or all.

    glibc gives every large block back to the system at once, and the system zeroes the next one page by page: for the
    hundreds of blocks of a training step or a translation that took a tenth to a fifth of the time (measured). A training
    asks for the same blocks in every step; with pictures of many sizes, the large blocks of one would fit no other.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(M_TRIM_THRESHOLD, -1)
        library.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        if all_of_it:
            library.mallopt(M_MMAP_MAX, 0)


def share_cores() -> None:
    """Lets torch's threads sleep while they wait for each other; libgomp reads this when torch is loaded.

    By default its threads spin for milliseconds. Where another process holds a core, they spin in vain: looking at 68
    pictures took 2 s instead of 0.2 s.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
