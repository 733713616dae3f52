"""Files and folders that appear whole or not at all, even when the process is killed or the disk is full; one at a time."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout


def _flush_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder; there the rename itself is durable
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(path: Path, durable: bool = True) -> Iterator[Path]:
    """Gives a path beside `path` to write to; when the block ends well, the file takes the name `path`.

    If the block raises, what was written is removed and an older file at `path` is untouched. `durable` outlasts a power
    cut too, at the price of waiting for the disk; what can be made again, such as thousands of pictures, need not wait.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "notes.txt"
    >>> with atomic_file(target) as beside:
    ...     _ = beside.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    # The suffix stays last, because writers choose the format by it.
    beside = path.with_name(f".partial-{uuid4().hex[:8]}{path.suffix}")
    try:
        yield beside
        if durable:
            _flush_file(beside)
        beside.replace(path)
        if durable:
            _flush_folder(path.parent)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def alone(lock: Path, busy: str) -> Iterator[None]:
    """Inside, no other process holds the file `lock`; a `ValueError` with the text `busy` when one does already."""
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise ValueError(busy) from None
    try:
        yield
    finally:
        held.release()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Gives an empty folder beside `path` to fill; when the block ends well, the folder takes the name `path`.

    `path` must not exist yet. If the block raises, nothing stays behind.
    """
    beside = path.with_name(f".partial-{path.name}")
    shutil.rmtree(beside, ignore_errors=True)  # left by a process that was killed
    beside.mkdir(parents=True)
    try:
        yield beside
        for file in beside.iterdir():
            _flush_file(file)
        _flush_folder(beside)
        beside.rename(path)
        _flush_folder(path.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
