"""Whole tar shards of servers in the cache, up to `$DIPTYCH_SHARDS_GIB` of them; without the variable none.

What is not kept is read in ranges. A shard that is used is fetched meanwhile; one that does not fit beside those that this
process uses is not: which ones are kept makes no difference where samples come in random order. Older ones make room.
"""

import os
import queue
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

from diptych.data import remote
from diptych.files import alone, atomic_file, cache_folder, digest

VARIABLE = "DIPTYCH_SHARDS_GIB"
PIECE = 2**24
"""Bytes that are asked for at one time."""


def limit() -> int:
    """The bytes that may be kept; a `ValueError` where the variable does not say so."""
    text = os.environ.get(VARIABLE, "0")
    try:
        gib = float(text)
    except ValueError:
        gib = -1
    if not 0 <= gib < 2**20:
        raise ValueError(f"{VARIABLE}={text[:30]}: a number of GiB for tar shards in the cache is expected, such as 50")
    return int(gib * 2**30)


def kept(file: str, size: int) -> Path | None:
    """Where a shard of `size` bytes lies in the cache; None where it does not, and then it may be fetched."""
    folder, most = cache_folder(), limit()
    if not (folder and most):
        return None
    path = folder / "shards" / f"{digest(file, str(size))}.tar"
    with _alone:  # many threads ask
        fetcher = _fetcher()
        if path.is_file():
            if path not in fetcher.used:
                fetcher.used.add(path)
                with suppress(OSError):
                    path.touch()
            return path
        if path not in fetcher.asked:
            fetcher.asked.add(path)
            fetcher.queue.put((file, size, path, most))
    return None


_alone = threading.Lock()


@cache
def _fetcher() -> "_Fetcher":
    return _Fetcher()


class _Fetcher:
    """A thread that fetches what is put into its queue, one after the other; it ends with the process."""

    def __init__(self) -> None:
        self.used, self.asked = set[Path](), set[Path]()
        self.queue = queue.SimpleQueue[tuple[str, int, Path, int]]()
        threading.Thread(target=self._work, name="shards", daemon=True).start()

    def _work(self) -> None:
        while True:
            file, size, path, most = self.queue.get()
            with suppress(ValueError, OSError):  # a server that is away, or a full disk: it is read in ranges
                path.parent.mkdir(parents=True, exist_ok=True)
                with alone(path.parent / ".lock", ""):  # another process may fetch, and makes room meanwhile
                    if self._room(path.parent, size, most):
                        self._fetch(file, size, path)

    def _room(self, folder: Path, size: int, most: int) -> bool:
        """Makes room for so many bytes; whether there is some."""
        there = {path: path.stat() for path in folder.glob("*.tar") if not path.name.startswith(".")}
        total = sum(found.st_size for found in there.values())
        with _alone:
            others = there.keys() - self.used
        for path in sorted(others, key=lambda path: there[path].st_mtime_ns):
            if total + size <= most:
                break
            path.unlink()
            total -= there[path].st_size
        return total + size <= most

    def _fetch(self, file: str, size: int, path: Path) -> None:
        with atomic_file(path) as beside, beside.open("wb") as target:
            for start in range(0, size, PIECE):
                target.write(remote.read(file, start, min(start + PIECE, size)))
        with _alone:
            self.used.add(path)
