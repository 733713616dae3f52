"""Files and folders that appear whole or not at all, folders that belong to one call, and the cache of results.

The cache lies in `$DIPTYCH_CACHE`, else in `$XDG_CACHE_HOME` or `~/.cache`, in `diptych/`. Any file of it may be deleted at
any time; its content is then computed again.
"""

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

LABEL = ".made-with.json"
LEFTOVER = re.compile(r"\.partial-[0-9a-f]{8}\.\w+")
"""The name of what `atomic_file` leaves behind when its process is killed."""


SMALL = 2**20
"""Bytes: no settings, no configuration and no label of ours comes near."""


# ---- what may be read


def require_file(path: Path) -> None:
    """Raises a `ValueError` unless `path` is a regular file, or a link to one.

    A fifo, a socket or a device can make a reader wait for ever, or give bytes without end.

    >>> require_file(Path("/dev/zero"))
    Traceback (most recent call last):
        ...
    ValueError: /dev/zero: is not a regular file; remove it, or give another path
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    if stat.S_ISDIR(mode):
        raise ValueError(f"{path}: cannot be read (it is a folder)")
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path}: is not a regular file; remove it, or give another path")


def read_text(path: Path, most: int = SMALL) -> str:
    """The text (UTF-8) of a regular file of at most `most` bytes; a `ValueError` names any other.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "config.json"
    >>> _ = file.write_text("{}")
    >>> read_text(file)
    '{}'
    >>> read_text(file, most=1)
    Traceback (most recent call last):
        ...
    ValueError: .../config.json: has 2 bytes, and such a file has 1 at most; it is not what its name says
    """
    require_file(path)
    try:
        if (size := path.stat().st_size) > most:
            raise ValueError(
                f"{path}: has {size} bytes, and such a file has {most} at most; it is not what its name says"
            )
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not text (UTF-8)") from error


# ---- whole or not at all


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
    """Gives a temporary path beside `path` to write to; when the block succeeds, the file is renamed to `path`.

    If the block raises, the temporary file is removed and an older file at `path` is untouched. `durable` survives a power
    cut too, but waits for the disk; files that can be made again, such as thousands of pictures, need not wait.

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
def atomic_folder(path: Path) -> Iterator[Path]:
    """Gives an empty temporary folder beside `path` to fill; when the block succeeds, it is renamed to `path`.

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


# ---- one owner


@contextmanager
def alone(lock: Path, busy: str) -> Iterator[None]:
    """Inside, no other process holds the file `lock`; a `ValueError` with the text `busy` when one does already."""
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout:
        raise ValueError(busy) from None


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """The keys of `ours` that `theirs` lacks or has with another value.

    >>> differences({"size": 4, "fill": "red", "seed": 0}, {"size": 4, "fill": "blue"})
    ['fill', 'seed']
    """
    return [key for key in ours if theirs.get(key) != ours[key]]


def is_vacant(path: Path, *ours: str) -> bool:
    """Whether nothing is at `path`, or a folder with nothing in it but files called `ours` and leftovers."""
    if not path.is_dir():
        return not os.path.lexists(path)
    return all(file.name in ours or LEFTOVER.fullmatch(file.name) for file in path.iterdir())


class Label:
    """A JSON file that says what something was made with, so that only the same call goes on with it."""

    def __init__(self, file: Path, about: Mapping[str, Any]) -> None:
        self.file = file
        self.about: dict[str, Any] = json.loads(json.dumps(about))  # as reading gives it back: tuples become lists

    def read(self) -> dict[str, Any] | None:
        """What the file says, None where there is no file; a `ValueError` names it when it is damaged."""
        if not self.file.is_file():
            return None
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise ValueError(f"{self.file}: is damaged; choose another --out, or remove what it belongs to")
        return content

    def write(self, **more: Any) -> None:
        """Writes the file, with `more` that is worth noting."""
        with atomic_file(self.file) as beside:
            beside.write_text(json.dumps(self.about | more, indent=1) + "\n", encoding="utf-8")


class OwnedFolder:
    """A folder that belongs to one call. The label in it says which: the same call goes on with it, any other is refused.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "small"
    >>> OwnedFolder(path, {"size": 4}).claim("is another's", "was made with another {}")
    >>> OwnedFolder(path, {"size": 4}).claim("is another's", "was made with another {}")
    >>> OwnedFolder(path, {"size": 8}).claim("is another's", "was made with another {}")
    Traceback (most recent call last):
        ...
    ValueError: .../small: was made with another size
    """

    def __init__(self, path: Path, about: Mapping[str, Any], label: str = LABEL) -> None:
        self.path, self.label = path, Label(path / label, about)

    def require_ours(self, foreign: str, other: str = "", joined: str = ", ") -> None:
        """Raises a `ValueError` when the folder is not vacant and not ours.

        `foreign` is the message for content without a label; `other` the one for a label of another call, with {} in the
        place of the keys that differ, `joined`.
        """
        content = self.label.read()
        if content is None and not is_vacant(self.path):
            raise ValueError(f"{self.path}: {foreign}")
        if content is not None and (keys := differences(self.label.about, content)):
            raise ValueError(f"{self.path}: {other.format(joined.join(keys))}")

    def claim(self, foreign: str, other: str = "", **more: Any) -> None:
        """Makes the folder ours, or finds that it is; the label notes `more`."""
        self.require_ours(foreign, other)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.label.write(**more)  # also where it is there already: a folder may have become read-only
            self.sweep()
        except OSError as error:
            raise ValueError(f"{self.path}: cannot be written to ({error.strerror}); choose another --out") from error

    def sweep(self) -> None:
        """Removes what killed processes left behind; half a download has another name and stays, links are not followed."""
        for parent, _, names in os.walk(self.path):
            for name in filter(LEFTOVER.fullmatch, names):
                Path(parent, name).unlink()


# ---- the cache


def cache_folder() -> Path:
    """Where the cache lies; need not exist."""
    if folder := os.environ.get("DIPTYCH_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diptych"


def digest(*parts: str | Iterable[Tensor]) -> str:
    """A fingerprint of texts and of pictures (uint8), whose order does not matter: 16 hexadecimal digits.

    >>> import torch
    >>> black, white = torch.zeros(1, 2, 2, dtype=torch.uint8), torch.full((1, 2, 2), 255, dtype=torch.uint8)
    >>> digest("faces", [black, white]) == digest("faces", [white, black]) != digest("faces", [black])
    True
    """
    whole = hashlib.sha256()
    for part in parts:
        lines = [part] if isinstance(part, str) else sorted(map(_digest_picture, part))
        whole.update(("\n".join(lines) + "\n\n").encode())
    return whole.hexdigest()[:16]


def _digest_picture(picture: Tensor) -> str:
    return hashlib.sha256(f"{tuple(picture.shape)}".encode() + picture.contiguous().numpy().tobytes()).hexdigest()


def cached(name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors that `make` computes, read from the cache where they are there under `name`, which holds a `digest`.

    A cache that cannot be written or read costs time and nothing else.
    """
    file = cache_folder() / f"{name}.safetensors"
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
