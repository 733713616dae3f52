"""Files at addresses of the network (http, https, s3, gs): listed, read in pieces, and asked for again where that fails.

fsspec reads them, of the extra `shards`. Plain http is enough where the server answers requests for a range of bytes.
"""

import os
import re
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from diptych.wording import brief

SCHEMES = ("http", "https", "s3", "gs")
ADDRESS = re.compile(rf"({'|'.join(SCHEMES)}):/+")
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds before each further try: a server that is started anew is back after half a minute."""
WITHOUT_KEYS = ("NoCredentialsError", "DefaultCredentialsError")
"""By name: botocore and google.auth are imported where such an address is."""
LONGEST = sum(WAITS)
"""Seconds after which nobody waits for a server any more that has answered nobody meanwhile."""
PATIENCE = 30  # seconds without a byte
REFUSED = range(400, 500)
"""What a server answers that will not change by asking again, but for those in `BUSY`."""
BUSY = (408, 425, 429)
EXTRA = "pip install 'diptych[shards]'"

T = TypeVar("T")

_silent_since: dict[str, float] = {}
"""When each server that does not answer was first asked in vain."""


class UnreachableError(ValueError):
    """A file on the network is not given, however often it is asked for: nothing is wrong with what was read before."""


def is_address(path: Path | str) -> bool:
    """Whether a path is an address of the network. A `Path` makes one slash of two.

    >>> is_address(Path("http://host/shards")), is_address("s3://bucket/shards"), is_address("http")
    (True, True, False)
    """
    return ADDRESS.match(str(path)) is not None


def address(path: Path | str) -> str:
    """The address, with both slashes, and without one at its end.

    >>> address(Path("https://host/shards/"))
    'https://host/shards'
    """
    return ADDRESS.sub(r"\1://", Path(path).as_posix() if isinstance(path, Path) else path).rstrip("/")


def spelled(path: Path) -> str:
    """A path as a person types it, an address with both slashes.

    >>> spelled(Path("http://host/shards")), spelled(Path("shards"))
    ('http://host/shards', 'shards')
    """
    return address(path) if is_address(path) else str(path)


def listed(folder: str) -> list[str]:
    """The addresses of what lies in a folder, by name; empty where the server lists nothing.

    Raises an `UnreachableError` where there is no such folder.
    """
    found = _asked(folder, lambda: _system(folder).ls(f"{folder}/", detail=False))
    scheme = folder.partition("://")[0]
    return sorted(one.rstrip("/") if "://" in one else f"{scheme}://{one.rstrip('/')}" for one in map(str, found))


def size(file: str) -> int:
    """The length of a file in bytes."""
    found = _asked(file, lambda: _system(file).info(file)["size"], again=(FileNotFoundError,))  # whatever is wrong
    if found is None:
        raise UnreachableError(f"{file}: the server does not say how long it is, so that no part can be asked for")
    return int(found)


def read(file: str, start: int, end: int) -> bytes:
    """Bytes `start` to `end` of a file, all of them; an `UnreachableError` where they are not given."""

    def part() -> bytes:
        data: bytes = _system(file).cat_file(file, start=start, end=end)
        if len(data) > end - start:
            raise _RangeIgnoredError(f"the server sends {len(data):,} bytes where {end - start:,} are asked for")
        if len(data) < end - start:
            raise OSError(f"{len(data):,} of {end - start:,} bytes were sent")
        return data

    return _asked(file, part)


def read_whole(file: str) -> bytes | None:
    """All bytes of a small file; None where there is no such file."""
    try:
        return _asked(file, lambda: bytes(_system(file).cat_file(file)))
    except UnreachableError as error:
        if isinstance(error.__cause__, FileNotFoundError) or getattr(error.__cause__, "status", 0) in (403, 404, 410):
            return None  # a bucket answers 403 where one may not list it
        raise


class _RangeIgnoredError(Exception):
    """The server gives more than the part that was asked for."""


def _asked(file: str, ask: Callable[[], T], again: tuple[type[Exception], ...] = ()) -> T:
    """What `ask` gives, which is asked again for what may pass; `again` are errors that may, too.

    All threads that ask one server give up together: it has not answered any of them for as long as one waits.
    """
    server = "/".join(file.split("/", 3)[:3])
    for tried, wait in enumerate((*WAITS, None), start=1):
        try:
            given = ask()
        except ValueError:  # ours: a package for this address is not installed
            raise
        except Exception as found:  # each file system has errors of its own
            final = _is_final(found) and not isinstance(found, again)
            silent = time.monotonic() - _silent_since.setdefault(server, time.monotonic())
            if final or wait is None or silent > LONGEST:
                tries = f" after {tried} tries" if tried > 1 else ""
                raise UnreachableError(f"{file}: cannot be read{tries} ({_reason(found)})") from found
            time.sleep(wait)
        else:
            _silent_since.pop(server, None)
            return given
    raise AssertionError


def _is_final(error: Exception) -> bool:
    status = getattr(error, "status", 0)
    if isinstance(error, _RangeIgnoredError | FileNotFoundError | PermissionError | NotImplementedError):
        return True
    if type(error).__name__ in WITHOUT_KEYS:
        return True
    return isinstance(status, int) and status in REFUSED and status not in BUSY


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file, or no answer"
    if isinstance(error, _RangeIgnoredError):
        return f"{error}; take one that answers requests for a range of bytes"
    if type(error).__name__ == WITHOUT_KEYS[0]:
        return f"{error}; a bucket that everybody may read needs FSSPEC_S3_ANON=true"
    status, message = getattr(error, "status", 0), getattr(error, "message", "")
    return brief(f"{status} {message}".strip() if status else str(error) or type(error).__name__, 100)


def _system(file: str) -> Any:
    """The file system of an address."""
    return _of_scheme(file.partition("://")[0])


@cache
def _of_scheme(scheme: str) -> Any:
    try:
        import fsspec

        if scheme in ("http", "https"):
            import aiohttp

            # Parts of a file that is packed on its way are no parts of the file.
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=PATIENCE, sock_read=PATIENCE)
            headers = {"Accept-Encoding": "identity"}
            return fsspec.filesystem("http", client_kwargs={"timeout": timeout, "headers": headers})
        # Else gcsfs asks what kind of bucket it is, which nobody may who only reads it, and prints lines about that.
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        also = {"s3": " and s3fs", "gs": " and gcsfs"}.get(scheme, "")
        raise ValueError(f"{scheme}: addresses need fsspec and aiohttp{also}; install them: {EXTRA}") from error
