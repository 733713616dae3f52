"""Data sets by their names: fetched so that a break costs nothing, checked, and unpacked whole or not at all.

With urllib of the standard library, because pooch, which others use for this, begins again from nothing after a break.
"""

import hashlib
import itertools
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from diptych.files import atomic_file, read_text, require_no_link, require_plain
from diptych.prepare.catalogue import CatalogueEntry, find, megabytes
from diptych.prepare.folders import locked
from diptych.prepare.unpack import IN_THE_WAY, unpack, workplace
from diptych.progress import counting, say

CHUNK = 2**18
TIMEOUT = 60.0  # seconds without a byte
TRIES = 5  # in a row without a new byte
PAUSE = 1.0  # seconds before the second try, doubled before each further one
LARGEST = 32 * 2**30  # bytes of an archive whose size nobody says
ADDRESS = re.compile(r"(https?://|file:///)[!-~]+")
WEB_PAGES = (b"<!doctype", b"<html", b"<?xml")

Progress = Callable[[int, int], None]


def download(name: str, *, out: Path | str, mirror: str | None = None, console: Console | None = None) -> Path:
    """Fetches the data set `name` of the catalogue into the new folder `out`, and returns its path.

    An address of your own (http, https or file) is one of the same archive. The archive is kept beside `out`, in
    `.partial-*`, until it is unpacked: after a break of any kind the same call goes on where it was, unless the file at the
    address has changed meanwhile.

    Raises a `ValueError` when there is no such data set or mirror, when `out` exists and is not empty, when the disk is too
    full, when the address serves nothing, a web page, or an archive of another size or SHA-256 than the catalogue's, when
    the connection breaks off again and again, and when the archive is damaged or not safe to unpack.

    Args:
        name: Which one, such as facades or horse2zebra.
        out: The folder to write.
        mirror: The number of another address in the list, or an address of your own.

    >>> download("horse2zebra", out="data/horse2zebra", mirror="3")  # doctest: +SKIP
    PosixPath('data/horse2zebra')
    """
    console, out = console or Console(), Path(out)
    data = find(name)
    address = _choose_address(name, data, mirror)
    exists = f"{out}: exists already; choose another --out or move it away"
    if out.name in ("", "..") or out.is_symlink():
        raise ValueError(exists)
    partial = _Partial(out.with_name(f".partial-{out.name}.archive"))
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        if not partial.became(out):
            raise ValueError(exists)
        return _finish(out, partial, data.train_command(name, out), console)
    say(console, f"{name}: {data.title}; licence: {data.licence}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with locked(out, "fetching"):
        job = _Job(address, data, partial, console)
        job.partial.require_ours()
        require_no_link((work := workplace(out)).path)
        work.require_ours(IN_THE_WAY, IN_THE_WAY)
        try:
            with counting(console, "megabytes fetched") as progress:
                _fetch(job, _in_megabytes(progress))
            _check(job)
            with counting(console, "megabytes unpacked") as progress:
                _unpack(job, out, _in_megabytes(progress))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{job.partial.file}: keeps what is there; the same command goes on") from None
        except OSError as error:
            raise ValueError(
                f"{out}: cannot be written ({error.strerror or error}); mend that, and the same command goes on"
            ) from error
    return _finish(out, partial, data.train_command(name, out), console)


def _finish(out: Path, partial: "_Partial", then: str, console: Console) -> Path:
    """Removes what lies beside the whole folder; last of all the note, by which a killed command is recognised."""
    partial.require_ours()
    require_no_link((work := workplace(out)).path)
    work.require_ours(IN_THE_WAY, IN_THE_WAY)
    with locked(out, "fetching"):
        shutil.rmtree(work.path, ignore_errors=True)
        partial.file.unlink(missing_ok=True)
    partial.note.unlink(missing_ok=True)
    say(console, f"{out}: {sum(len(files) for _, _, files in os.walk(out))} files; next: {then}")
    return out


def _choose_address(name: str, data: CatalogueEntry, mirror: str | None) -> str:
    if mirror is not None and not mirror.isdecimal():
        if not ADDRESS.fullmatch(mirror):
            raise ValueError(f"--mirror {mirror}: a number, or an address (http://, https://, file:///) is expected")
        return mirror
    if not data.addresses:
        raise ValueError(f"{name}: {data.notes}")
    numbered = {str(number): address for number, address in enumerate(data.addresses, start=1)}
    if (number := mirror or "1") not in numbered:
        raise ValueError(f"--mirror {number}: there is no such address of {name}{_others(data)}")
    return numbered[number]


def _others(data: CatalogueEntry, tried: str = "") -> str:
    """What else to try, as the end of a message."""
    others = [f"--mirror {number} ({it})" for number, it in enumerate(data.addresses, start=1) if it != tried]
    return f"; try {', '.join([*others, '--mirror URL with one of your own'])}"


def _in_megabytes(progress: Progress) -> Progress:
    return lambda done, total: progress(done // 10**6, total // 10**6)


class _Partial:
    """The first bytes of an archive, and a note beside them of what they are the first bytes of."""

    def __init__(self, file: Path) -> None:
        self.file, self.note = file, file.with_suffix(".json")

    def require_ours(self) -> None:
        """Raises a `ValueError` for files of these names that no download wrote: the note is there before the first byte."""
        for file in (self.file, self.note):
            require_plain(file)
        if self.size() and not self._read():
            raise ValueError(f"{self.file}: {IN_THE_WAY}")

    def _read(self) -> dict[str, Any]:
        """The note; empty without one, or when it is damaged."""
        try:
            note = json.loads(read_text(self.note))
        except (ValueError, RecursionError):
            return {}
        kinds = {"address": str, "validator": str | None, "total": int | None}
        is_ours = isinstance(note, dict) and all(key in note and isinstance(note[key], kinds[key]) for key in kinds)
        return note if is_ours else {}

    def size(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    def begin(self, address: str, validator: str | None, total: int | None) -> None:
        """Starts anew with a version of the file at `address`, `total` bytes long."""
        self.file.write_bytes(b"")  # first, so that a kill in between leaves no old bytes under a new note
        self._write({"address": address, "validator": validator, "total": total})

    def _write(self, note: dict[str, Any]) -> None:
        with atomic_file(self.note) as beside:
            beside.write_text(json.dumps(note), encoding="utf-8")

    def read_note(self, address: str) -> dict[str, Any]:
        """What `begin` noted; empty without a note, or with one of another address."""
        note = self._read()
        return note if note.get("address") == address else {}

    def becomes(self, folder: Path) -> None:
        """Notes which folder the archive is about to become; a rename leaves it what it is."""
        self._write(self._read() | {"folder": _identity(folder)})

    def became(self, out: Path) -> bool:
        """Whether the archive was unpacked to this very folder, so that what is left of it is of no use."""
        return out.is_dir() and self._read().get("folder") == _identity(out)

    def remove(self) -> None:
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def _identity(folder: Path) -> list[int]:
    """What tells a folder from any other, whatever it is called."""
    found = folder.stat()
    return [found.st_dev, found.st_ino]


@dataclass(frozen=True)
class _Job:
    """What is fetched from where."""

    address: str
    data: CatalogueEntry
    partial: _Partial
    console: Console

    def say(self, text: str) -> None:
        say(self.console, f"{self.address}: {text}")

    def mistake(self, text: str) -> ValueError:
        return ValueError(f"{self.address}: {text}{_others(self.data, self.address)}")


class _BrokenError(Exception):
    """The connection ended before the archive did; another try may go on."""


# ---- fetching


def _fetch(job: _Job, progress: Progress) -> None:
    furthest, tries = job.partial.size(), 0
    while True:
        note = job.partial.read_note(job.address)
        if note and note["total"] == job.partial.size():
            return
        try:
            _receive(job, note, progress)
            return
        except _BrokenError as broken:
            size = job.partial.size()
            tries = 1 if size > furthest else tries + 1
            furthest = max(furthest, size)
            if tries == TRIES:
                then = "goes on" if job.partial.read_note(job.address).get("validator") else "begins again"
                raise job.mistake(f"{broken}, {TRIES} times; the same command {then}") from None
            job.say(f"{broken}; trying again")
            time.sleep(PAUSE * 2 ** (tries - 1))


def _receive(job: _Job, note: dict[str, Any], progress: Progress) -> None:
    """One request, for the rest where the server can tell that it is of the same version, else for all."""
    partial, data = job.partial, job.data
    had = partial.size() if note.get("validator") else 0
    headers = {"User-Agent": f"diptych/{version('diptych')}"}
    if had:
        headers |= {"Range": f"bytes={had}-", "If-Range": note["validator"]}
    with _open(job, headers) as response:
        goes_on = had > 0 and response.status == 206
        if response.status == 416 or (goes_on and not _is_the_rest(response.headers, had, note)):
            partial.remove()
            raise _BrokenError("does not give the rest of what is there, so it begins again")
        had = had if goes_on else 0
        length = response.headers.get("Content-Length", "")
        total = note["total"] if goes_on and note["total"] else had + int(length) if length.isdecimal() else None
        chunks = _chunks(response)
        first = next(chunks, b"")
        if not goes_on:
            if first.lstrip().lower().startswith(WEB_PAGES):
                raise job.mistake("is a web page, not an archive")
            if data.size and total not in (None, data.size):
                raise job.mistake(f"is {total} bytes long, and {data.size} are expected")
            _require_room(partial.file.parent, total or data.size or data.about or 0)
            partial.begin(job.address, _validator(response.headers), total)
        expected = total or data.size
        begins = f"goes on after {megabytes(had)}" if had else "begins"
        job.say(f"{begins}, of {megabytes(expected)}" if expected else begins)
        with partial.file.open("ab") as file:
            for chunk in itertools.chain([first], chunks):
                file.write(chunk)
                progress(file.tell(), expected or data.about or file.tell())
                if file.tell() > (expected or LARGEST):
                    break
    if partial.size() > (expected or LARGEST):
        partial.remove()
        raise job.mistake(f"sends more than {expected or LARGEST} bytes")
    if expected and partial.size() < expected:
        raise _BrokenError(f"broke off after {partial.size()} of {expected} bytes")


class _OnlyTheWeb(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to nothing but http and https; urllib's own follows to ftp too."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise urllib.error.HTTPError(newurl, code, f"{msg}: {newurl}", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(job: _Job, headers: Mapping[str, str]) -> Any:
    """The server's answer, of status 200, 206 or 416; of none for a file."""
    request = urllib.request.Request(job.address, headers=dict(headers))
    try:
        return urllib.request.build_opener(_OnlyTheWeb).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return error
        with error:
            raise job.mistake(f"the server says {error.code} ({error.reason})") from None
    except (OSError, HTTPException) as error:
        reason = str(getattr(error, "reason", error)) or type(error).__name__
        if job.address.startswith("file:"):
            raise job.mistake(f"cannot be read ({reason})") from None
        raise _BrokenError(f"cannot be reached ({reason})") from error


def _chunks(response: Any) -> Iterator[bytes]:
    try:
        while chunk := response.read1(CHUNK):  # what there is, without waiting for more
            yield chunk
    except (OSError, HTTPException) as error:
        raise _BrokenError(f"broke off ({str(error) or type(error).__name__})") from error


def _validator(headers: Message) -> str | None:
    """What tells one version of a file from another: a strong ETag, else a date."""
    etag = headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


def _is_the_rest(headers: Message, had: int, note: dict[str, Any]) -> bool:
    """Whether an answer continues exactly after the bytes on disk, in the same version; not every server heeds If-Range."""
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
    return (
        span is not None
        and int(span[1]) == had
        and (span[2] == "*" or note["total"] in (None, int(span[2])))
        and _validator(headers) in (None, note["validator"])
    )


def _require_room(folder: Path, size: int) -> None:
    free, needed = shutil.disk_usage(folder).free, 2 * size
    if free < needed:
        raise ValueError(
            f"{folder}: {megabytes(free)} are free, and the archive and what is in it need {megabytes(needed)}; "
            "make room or choose another --out"
        )


# ---- checking and unpacking


def _check(job: _Job) -> None:
    with job.partial.file.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if job.data.sha256 is None:
        job.say(f"its SHA-256 is {found}; none is known to compare it with")
    elif found != job.data.sha256:
        job.partial.remove()
        raise job.mistake(f"its SHA-256 is {found}, and {job.data.sha256} is expected, so what was fetched is removed")


def _unpack(job: _Job, out: Path, progress: Progress) -> None:
    try:
        unpack(job.partial.file, out, called=job.address, progress=progress, whole=job.partial.becomes)
    except ValueError as error:
        job.partial.remove()  # or the same command would find the same archive again
        raise ValueError(f"{error}; what was fetched is removed{_others(job.data, job.address)}") from error
