"""Archives from anywhere -> a folder, whole or not at all, and nothing outside it.

Nothing an archive says is trusted: not its names, not its sizes, not its suffix. Only plain files and folders come out
of it, with the permissions of any new file.
"""

import gzip
import io
import re
import shutil
import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Self

from diptych.files import OwnedFolder
from diptych.wording import brief

RATIO = 50  # times its own size is the most that may come out of an archive; pictures hardly get smaller by packing
HARMLESS = 64 * 2**20  # bytes that may come out of any archive
LARGEST = 128 * 2**30  # bytes that may come out of none
MEMBERS = 500_000
CONTENT = "content"  # of an archive, in the folder that it is unpacked in
IN_THE_WAY = "is in the way, and no download wrote it; move it away, or choose another --out"
CHUNK = 2**18
# What tarfile reads in one piece, whatever its length: names too long for a header, and other remarks on the next file.
REMARKS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
LONGEST_REMARK = 2**20  # bytes


class _RefusedError(Exception):
    """What is wrong with an archive."""


def unpack(
    archive: Path,
    out: Path,
    *,
    called: str,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    whole: Callable[[Path], None] = lambda folder: None,
) -> int:
    """Unpacks a zip, tar or tar.gz, recognised by its content, into the new folder `out`; gives the number of files.

    When all lies in one folder of the archive, the content of that folder is what `out` becomes. What macOS adds
    (`__MACOSX`, `.DS_Store`) is passed over. `limit` is the most bytes that may come out, by default 50 times the archive.
    `progress` gets the bytes of the archive that are read, and all of them; `whole` the folder that is about to be renamed
    to `out`. `called` is what messages call the archive.

    Raises a `ValueError` that names the member when one leads outside the folder, is a link or a device, is encrypted, or
    has the name of another, also when only the case differs; and when the archive is damaged, cut short, empty, or
    holds more than the limit. `out` is then not there.
    """
    size = archive.stat().st_size
    work = workplace(out)
    members = _Members(work.path / CONTENT, min(max(RATIO * size, HARMLESS), LARGEST) if limit is None else limit)
    work.claim(IN_THE_WAY)
    shutil.rmtree(members.folder, ignore_errors=True)  # left by a process that was killed
    members.folder.mkdir()
    try:
        with archive.open("rb") as file:
            start = file.read(2)
            file.seek(0)
            if start == b"PK":
                _unpack_zip(file, members, lambda done: progress(done, size))
            else:
                _unpack_tar(file, start == b"\x1f\x8b", members, lambda done: progress(done, size))
        if not members.files:
            raise _RefusedError("holds no files")
        inside = list(members.folder.iterdir())
        folder = inside[0] if len(inside) == 1 and inside[0].is_dir() else members.folder
        whole(folder)
        if out.exists():
            out.rmdir()  # an empty folder, which Windows does not rename over
        folder.rename(out)
    except _RefusedError as refused:
        raise ValueError(f"{called}: {refused}; it is not unpacked") from None
    except Exception as error:  # what the decoders say of damage is of many kinds
        if isinstance(error, OSError) and error.errno:  # the disk's own, not a decoder's
            raise
        raise ValueError(f"{called}: is damaged, cut short, or neither zip, tar nor tar.gz ({brief(error)})") from error
    finally:
        shutil.rmtree(work.path, ignore_errors=True)
    return members.files


def workplace(out: Path) -> OwnedFolder:
    """The folder beside `out` that an archive is unpacked in; its label tells it from a person's of that name."""
    return OwnedFolder(out.with_name(f".partial-{out.name}"), {"tool": "unpack"})


class _Members:
    """What was unpacked into a folder so far, and the limits."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit, self.bytes, self.count, self.files = folder, limit, 0, 0, 0
        self.is_file: dict[str, bool] = {}

    def accept(self, name: str, is_folder: bool) -> Path | None:
        """Makes a folder; gives the path of a file to write, None for one to skip."""
        self.count += 1
        if self.count > MEMBERS:
            raise _RefusedError(f"holds more than {MEMBERS} files and folders")
        parts = _parts(name)
        for depth in range(1, len(parts) + 1):
            is_file = depth == len(parts) and not is_folder
            # As the systems compare names that take A.jpg and a.jpg, or two spellings of é, for the same.
            key = unicodedata.normalize("NFC", "/".join(parts[:depth]).casefold())
            if self.is_file.get(key) or (is_file and key in self.is_file):
                raise _RefusedError(f"{name!r} has the name of another file or folder in it")
            self.is_file[key] = is_file
        if not parts or "__MACOSX" in parts or parts[-1] == ".DS_Store":
            return None
        path = self.folder.joinpath(*parts)
        if is_folder:
            path.mkdir(parents=True, exist_ok=True)
            return None
        self.files += 1
        return path


class _Counted(io.RawIOBase):
    """A stream that stops when more than the limit comes out of it, whatever its header says."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, members: _Members) -> None:
        self.stream, self.members = stream, members

    def read(self, size: int = -1, /) -> bytes:
        data = self.stream.read(size)
        self.members.bytes += len(data)
        if self.members.bytes > self.members.limit:
            limit = self.members.limit
            raise _RefusedError(f"holds more than {limit} bytes, which is more than such an archive should")
        return data


def _write(path: Path, source: IO[bytes] | _Counted) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        while data := source.read(CHUNK):
            file.write(data)


def _parts(name: str) -> list[str]:
    """The folders and the file of a member's path, which can only lie below."""
    parts = name.split("/")
    problem = None
    if name.startswith("/"):
        problem = "is an absolute path"
    elif ".." in parts:
        problem = "leads upwards"
    elif "\\" in name or any(re.match("[A-Za-z]:", part) for part in parts):
        problem = "is a path of Windows"
    elif "\0" in name or len(name) > 1000 or any(len(part.encode(errors="surrogateescape")) > 255 for part in parts):
        problem = "is no name for a file"
    if problem:
        raise _RefusedError(f"{name[:200]!r} {problem}")
    return [part for part in parts if part not in ("", ".")]


def _unpack_zip(file: IO[bytes], members: _Members, progress: Callable[[int], None]) -> None:
    with zipfile.ZipFile(file) as bundle:
        for info in bundle.infolist():
            name = info.orig_filename  # as it is written, where `filename` is cut at the first NUL
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _RefusedError(f"{name!r} is a link or a device")
            if info.flag_bits & 1:
                raise _RefusedError(f"{name!r} is encrypted")
            if path := members.accept(name, info.is_dir()):
                with bundle.open(info) as stream:
                    _write(path, _Counted(stream, members))
            progress(info.header_offset)


class _Header(tarfile.TarInfo):
    """A header that is what it should be: tarfile takes a broken one for the end of the archive, and loses the rest."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):  # the mark at the end of every archive
                raise
            raise tarfile.ReadError(str(error)) from None
        if header.type in REMARKS and header.size > LONGEST_REMARK:
            raise _RefusedError(f"{header.name!r} has a remark of {header.size} bytes")
        return header


def _unpack_tar(file: IO[bytes], gzipped: bool, members: _Members, progress: Callable[[int], None]) -> None:
    # As a stream ("r|"), because tarfile then never goes back, which in a tar.gz would be to the very start.
    with (
        gzip.GzipFile(fileobj=file) if gzipped else nullcontext(file) as plain,
        _Counted(plain, members) as stream,
        tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as bundle,
    ):
        for member in bundle:
            if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) or member.issparse():
                raise _RefusedError(f"{member.name!r} is a link, a device or a file with holes")
            if path := members.accept(member.name, member.isdir()):
                content = bundle.extractfile(member)
                assert content is not None  # it is a plain file
                _write(path, content)
            progress(file.tell())
        while stream.read(CHUNK):  # to the checksum at the end of a tar.gz
            pass
