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
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from diptych.wording import brief

if sys.platform != "win32":
    import fcntl

LABEL = ".made-with.json"
LARGEST_LABEL = 2**28  # bytes: that of an array names every row
LARGEST_MEMORY = 2**30  # bytes of a value in the cache: what was found in 10 million pictures
LEFTOVER = re.compile(r"\.partial-[0-9a-f]{8}\.\w+")
"""The name of what `atomic_file` leaves behind when its process is killed."""

SAVING = re.compile(r"\.tmp\w{6}")
"""The name of what safetensors is writing."""

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""Of the network; a path makes one slash of two, and a drive of Windows has one letter."""

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
        if ADDRESS.match(str(path)):
            raise ValueError(f"{path}: is an address of the network, and files are read; download it first") from error
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


MOST_HEADER = 2**22
"""Bytes of a safetensors header: some 40,000 tensors."""


class TensorFile(Protocol):
    """An open safetensors file."""

    def keys(self) -> list[str]:
        """The names of all tensors."""

    def metadata(self) -> dict[str, str] | None:
        """Whatever the writer noted."""

    def get_slice(self, name: str) -> Any:
        """What the header says of a tensor: `get_shape()` and `get_dtype()`."""

    def get_tensor(self, name: str) -> Tensor:
        """The tensor, on the CPU."""


@contextmanager
def open_tensors(path: Path) -> Iterator[TensorFile]:
    """Opens a safetensors file; a `ValueError` names one that is damaged, now or when a tensor is read inside.

    >>> with open_tensors(Path("/dev/zero")) as file:
    ...     pass
    Traceback (most recent call last):
        ...
    ValueError: /dev/zero: is not a regular file; remove it, or give another path
    """
    require_file(path)
    try:
        with path.open("rb") as file:
            if int.from_bytes(file.read(8), "little") > MOST_HEADER:  # of 100 MB, it would take 1.5 GB and 12 s
                raise ValueError(f"{path}: is damaged (its header is too long)")
        with safe_open(path, framework="pt") as opened:
            yield opened
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or brief(error)})") from error
    except SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        raise ValueError(f"{path}: is damaged ({brief(reason, 80)})") from error
    except (RuntimeError, MemoryError) as error:
        raise ValueError(f"{path}: cannot be loaded into memory ({brief(error)})") from error


# ---- links


def lies_in(folder: Path, path: Path) -> bool:
    """Whether `path`, which need not exist, lies below `folder` without a link or a step upwards on the way.

    `folder` itself may be a link, which is its owner's business; one in it may lead to anything.

    >>> import tempfile
    >>> run = Path(tempfile.mkdtemp())
    >>> (run / "samples").symlink_to("/etc")
    >>> [lies_in(run, run / below) for below in ("results/val/a.png", "samples/passwd", "../a.png", "/a.png")]
    [True, False, False, False]
    """
    try:
        return Path(os.path.realpath(path)) == Path(os.path.realpath(folder), path.relative_to(folder))
    except ValueError:  # it lies elsewhere, or no file can have such a name
        return False


def leads_away(path: Path) -> bool:
    """Whether `path` is a link, or a name that no file can have; `lies_in` asks its folders too."""
    try:
        return stat.S_ISLNK(path.lstat().st_mode)
    except OSError:
        return False
    except ValueError:
        return True


def require_no_link(*paths: Path) -> None:
    """Raises a `ValueError` for one that is a link: it would be written through, or somebody's files be deleted."""
    for path in paths:
        if not lies_in(path.parent, path):
            raise ValueError(f"{path}: is a link, which may lead to other files than its folder's; remove it")


_anchor: ContextVar[tuple[Path, dict[Path, Path]] | None] = ContextVar("_anchor", default=None)


@contextmanager
def anchored(folder: Path, may_be_a_link: str) -> Iterator[None]:
    """Inside, what this module writes below `folder` goes to where it led at the start, or is refused.

    Long work writes into its folder for days. A link that somebody puts in the place of that folder, or of one in it, would
    be written through. A link that was there before is its owner's wish: that of `folder` itself, or of the name in it that
    `may_be_a_link`.

    >>> import tempfile
    >>> run, elsewhere = Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
    >>> with anchored(run, "checkpoints"):
    ...     (run / "samples").symlink_to(elsewhere)
    ...     with atomic_file(run / "samples/a.txt") as beside:
    ...         _ = beside.write_text("not written")
    Traceback (most recent call last):
        ...
    ValueError: .../samples: is a link, which was none when this began; remove it, and give the same command again
    >>> list(elsewhere.iterdir())
    []
    """
    places = {path: Path(os.path.realpath(path)) for path in (folder, folder / may_be_a_link)}
    before = _anchor.set((folder, places))
    try:
        yield
    finally:
        _anchor.reset(before)


def require_in_place(path: Path) -> None:
    """Raises a `ValueError` for a path in an `anchored` folder that leads to another place than at the start."""
    anchor = _anchor.get()
    if anchor is None or not path.is_relative_to(anchor[0]):
        return
    folder, places = anchor
    on_the_way = [folder, *(folder / parent for parent in reversed(path.relative_to(folder).parents[:-1])), path]
    place = Path()
    for step in on_the_way:
        place = places.get(step, place / step.name)
        if Path(os.path.realpath(step)) != place:
            raise ValueError(
                f"{step}: is a link, which was none when this began; remove it, and give the same command again"
            )


def make_folder(path: Path) -> None:
    """Makes a folder, and those above it, unless it is there; a `ValueError` as by `require_in_place`."""
    is_new = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    try:
        require_in_place(path)
    except ValueError:
        if is_new:
            path.rmdir()
        raise


def is_plain(path: Path) -> bool:
    """Whether there is a regular file at `path` itself, no link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def require_plain(path: Path) -> None:
    """Raises a `ValueError` unless nothing is at `path`, or a file that can be written in place: no other's second name."""
    if os.path.lexists(path) and not (is_plain(path) and path.stat().st_nlink == 1):
        raise ValueError(f"{path}: is in the way, and is no file of ours (a link, or no regular file); move it away")


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
    cut too, but waits for the disk; files that can be made again, such as thousands of pictures, need not wait. An
    `OSError` has the name `path`.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "notes.txt"
    >>> with atomic_file(target) as beside:
    ...     _ = beside.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    # The suffix stays last, because writers choose the format by it.
    beside = path.with_name(f".partial-{uuid4().hex[:8]}{path.suffix}")
    require_in_place(path.parent)
    if durable:  # others are written by the thousand, and whoever does so removes leftovers once before
        remove_leftovers(path.parent, path.suffix)
    try:
        with naming(path), _held(beside):
            require_in_place(beside)  # now that nothing can come between any more: it is there
            yield beside
            if durable:
                _flush_file(beside)
            beside.replace(path)
            if durable:
                _flush_folder(path.parent)
    except OSError as error:
        if error.filename == str(beside):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # the disk's error, or a folder that is gone, has been raised already
            beside.unlink()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Inside, an `OSError` without a file gets the name `path`: one of writing to an open file has none."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Creates a file and holds a lock on it until the block ends or the process dies: `remove_leftovers` asks for it.

    Windows needs none, for there nobody can remove a file that is open.
    """
    with path.open("xb") as file:
        if sys.platform != "win32":
            with suppress(OSError):  # a file system without locks: then leftovers stay
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
            return
    yield


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Gives an empty temporary folder beside `path` to fill; when the block succeeds, it is renamed to `path`.

    `path` must not exist yet, nor what a killed process left of it. If the block raises, nothing stays behind.
    """
    beside = path.with_name(f".partial-{path.name}")
    beside.mkdir(parents=True)
    try:
        require_in_place(beside)
        yield beside
        for inside in beside.rglob("*"):
            (_flush_folder if inside.is_dir() else _flush_file)(inside)
        _flush_folder(beside)
        beside.rename(path)
        _flush_folder(path.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def remove_leftovers_beside(targets: Iterable[Path]) -> None:
    """The same in every folder that is about to be written to."""
    for folder in {target.parent for target in targets}:
        remove_leftovers(folder)


def remove_leftovers(folder: Path, suffix: str = "") -> None:
    """Removes what killed processes left half written in `folder`, all or that of one suffix, and nothing that is in work.

    Only files named as `atomic_file` names them, which no process holds. Links are not followed, nor folders looked into.
    """
    with suppress(OSError):  # a folder that is not there, or may not be read
        for path in list(folder.iterdir()):
            if LEFTOVER.fullmatch(path.name) and path.name.endswith(suffix):
                _remove_unless_held(path)


def _remove_unless_held(path: Path) -> None:
    with suppress(OSError, ValueError):  # it is held, or another process was faster, or it may not be touched
        if sys.platform == "win32" or path.is_symlink():
            path.unlink()
            return
        require_file(path)  # a fifo would wait for somebody
        with path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


# ---- tensors


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Writes a safetensors file, for those to read who may read what this process writes.

    Since version 0.8 safetensors writes a file of another name (`SAVING`) for its owner alone, and renames it.
    """
    path.touch()
    mode = path.stat().st_mode
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    path.chmod(mode)


# ---- one owner


@contextmanager
def alone(lock: Path, busy: str) -> Iterator[None]:
    """Inside, no other process holds the file `lock`; a `ValueError` with the text `busy` when one does already."""
    if os.path.lexists(lock) and not (is_plain(lock) and lock.stat().st_size == 0):
        # FileLock would empty it, and what a link leads to.
        raise ValueError(f"{lock}: is in the way, and is no lock of ours (an empty file); move it away")
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
            content = json.loads(read_text(self.file, LARGEST_LABEL))
        except (ValueError, RecursionError):
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
        for parent, _, _ in os.walk(self.path):
            remove_leftovers(Path(parent))


# ---- the cache


def cache_folder() -> Path | None:
    """Where the cache lies; need not exist. None without a variable that says where, for a user without a home."""
    if folder := os.environ.get("DIPTYCH_CACHE"):
        return Path(folder)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diptych"
    except RuntimeError:
        return None


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

    A cache that cannot be written or read, or holds anything else than was written, costs time and nothing else.
    """
    folder = cache_folder()
    if folder is None:
        return make()
    file = folder / f"{name}.safetensors"
    try:
        return _sealed(name, file)
    except ValueError:
        tensors = {key: value.contiguous() for key, value in make().items()}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as beside:
            save_tensors(tensors, beside, metadata={SEAL: fingerprint(name, tensors)})
    except (OSError, SafetensorError):
        pass
    return tensors


SEAL = "sha256"


def recall(name: str) -> Any:
    """The JSON value that `remember` kept in the cache under `name`; None where there is none, or it is damaged."""
    folder = cache_folder()
    try:
        seal, _, text = read_text(folder / f"{name}.jsonl", LARGEST_MEMORY).partition("\n") if folder else ("", "", "")
    except ValueError:
        return None
    return json.loads(text) if seal == json.dumps(_seal_text(name, text)) else None


def remember(name: str, value: Any) -> None:
    """Keeps a JSON value in the cache under `name`, where that is possible.

    >>> remember("numbers", [1, 2])
    >>> recall("numbers")
    [1, 2]
    """
    if (folder := cache_folder()) is None:
        return
    text = json.dumps(value, separators=(",", ":"))
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / f"{name}.jsonl") as beside:
            beside.write_text(f"{json.dumps(_seal_text(name, text))}\n{text}", encoding="utf-8")


def _seal_text(name: str, text: str) -> str:
    return hashlib.sha256(f"{name}\n{text}".encode()).hexdigest()


def _sealed(name: str, file: Path) -> dict[str, Tensor]:
    """The tensors of a file of the cache; a `ValueError` if they are not those that were written under `name`."""
    with open_tensors(file) as opened:
        seal = (opened.metadata() or {}).get(SEAL)
        tensors = {key: opened.get_tensor(key) for key in opened.keys()} if seal else {}  # noqa: SIM118 -- not a dict
    if seal is None or seal != fingerprint(name, tensors):
        raise ValueError(f"{file}: holds something else than was written")
    return tensors


def fingerprint(name: str, tensors: Mapping[str, Tensor]) -> str:
    """A fingerprint of tensors by name, and of a text: 64 hexadecimal digits."""
    whole = hashlib.sha256(name.encode())
    for key, value in sorted(tensors.items()):
        whole.update(f"\n{key} {value.dtype} {tuple(value.shape)}\n".encode())
        whole.update(value.flatten().view(torch.uint8).numpy().data)
    return whole.hexdigest()
