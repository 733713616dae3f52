"""Fetching from a server that breaks off, lies and changes its mind; a break costs nothing, and no two versions mix."""

import io
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from filelock import FileLock
from rich.console import Console

from diptych.prepare import catalogue as catalogue_file
from diptych.prepare import download as download_file
from diptych.prepare.catalogue import CatalogueEntry, catalogue, find, show_catalogue
from diptych.prepare.download import download


def archive(seed: int) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as bundle:
        for number in range(4):
            bundle.writestr(f"set/train/{number}.jpg", random.Random(10 * seed + number).randbytes(25_000))
    return data.getvalue()


OLD, NEW = archive(1), archive(2)


@dataclass(frozen=True)
class Predictor:
    """How the server answers one request."""

    data: bytes = OLD
    etag: str | None = '"old"'
    date: str | None = None
    status: int = 200
    sends: int | None = None
    """So many bytes of the body, and then `ends`."""
    ends: Literal["closes", "resets", "stalls"] = "closes"
    claims: int | None = None
    """A Content-Length that is not true; -1 for none."""
    ranges: Literal["heeds", "ignores", "heeds without If-Range", "begins one byte late"] = "heeds"
    to: str | None = None


@dataclass
class Host:
    """A server, what it is to answer (the last answer again and again), and what it saw."""

    address: str
    answers: list[Predictor] = field(default_factory=lambda: [Predictor()])
    ranges: list[str | None] = field(default_factory=list)
    sent: int = 0
    free: threading.Event = field(default_factory=threading.Event)

    def has_sent(self, count: int) -> bool:
        """Whether so many bytes were sent; the server may count the last of them when the client is done already."""
        for _ in range(100):
            if self.sent == count:
                return True
            time.sleep(0.05)
        return False

    def next_answer(self, asked: str | None) -> Predictor:
        self.ranges.append(asked)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Handler(BaseHTTPRequestHandler):
    host: ClassVar[Host]

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        asked, condition = self.headers["Range"], self.headers["If-Range"]
        answer = self.host.next_answer(asked)
        status, start, size = answer.status, 0, len(answer.data)
        same = answer.ranges == "heeds without If-Range" or condition in (answer.etag, answer.date)
        if asked and same and answer.ranges != "ignores":
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            status = 206 if start < size else 416
        body = answer.data[start:]
        self.send_response(status)
        if status == 206:
            late = answer.ranges == "begins one byte late"
            self.send_header("Content-Range", f"bytes {start + late}-{size - 1}/{size}")
        for header, value in (("ETag", answer.etag), ("Last-Modified", answer.date), ("Location", answer.to)):
            if value:
                self.send_header(header, value)
        if answer.claims != -1:
            self.send_header("Content-Length", str(len(body) if answer.claims is None else answer.claims))
        self.end_headers()
        part = body[: answer.sends]
        self.wfile.write(part)
        self.host.sent += len(part)
        if answer.sends is not None and answer.ends == "stalls":
            self.host.free.wait(120)
        if answer.sends is not None and answer.ends == "resets":
            time.sleep(0.05)  # so that what was sent arrives before it
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


class Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # the client went away, as it may


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv("no_proxy", "*")
    for name, value in {"PAUSE": 0.0, "TIMEOUT": 30.0, "CHUNK": 4096}.items():
        monkeypatch.setattr(download_file, name, value)
    with Server(("127.0.0.1", 0), Handler) as server:
        Handler.host = host = Host(f"http://127.0.0.1:{server.server_port}/set.zip")
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield host
        host.free.set()
        server.shutdown()


def known(monkeypatch: pytest.MonkeyPatch, host: Host, **more: Any) -> None:
    """Puts the data set "tiny" into the catalogue: at the host, and at a mirror there."""
    addresses = (host.address, host.address.replace("set.zip", "mirror.zip"))
    facts = {"title": "tiny", "kind": "unpaired", "a": "a", "b": "b", "licence": "free", "method": "cyclegan"}
    data = CatalogueEntry.model_validate({**facts, "addresses": addresses, **more})
    monkeypatch.setattr(catalogue_file, "catalogue", lambda: {"tiny": data})


@pytest.fixture
def tiny(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, host)


def fetch(folder: Path, **more: Any) -> str:
    """What is said while "tiny" is fetched into `folder`/out."""
    said = io.StringIO()
    download("tiny", out=folder / "out", console=Console(file=said), **more)
    return said.getvalue()


def is_there(folder: Path, data: bytes = OLD) -> bool:
    """Whether all of the archive is in `folder`/out, and nothing is left beside it."""
    with zipfile.ZipFile(io.BytesIO(data)) as bundle:
        wanted = {name.removeprefix("set/"): bundle.read(name) for name in bundle.namelist()}
    out = folder / "out"
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return found == wanted and [path.name for path in folder.iterdir()] == ["out"]


def fails(folder: Path, because: str, **more: Any) -> str:
    """The line that says why there is no folder."""
    with pytest.raises(ValueError, match=because) as problem:
        fetch(folder, **more)
    assert not (folder / "out").exists()
    line = str(problem.value)
    assert "\n" not in line
    return line


def starts(host: Host) -> list[int]:
    """Where each request asked to begin."""
    return [int(re.sub(r"\D", "", asked)) if asked else 0 for asked in host.ranges]


@pytest.mark.usefixtures("tiny")
def test_a_data_set_is_fetched_and_unpacked_and_what_comes_next_is_said(tmp_path: Path) -> None:
    said = fetch(tmp_path)
    assert is_there(tmp_path)
    assert f"its SHA-256 is {sha256(OLD).hexdigest()}; none is known" in said
    assert "licence: free" in said
    assert f"4 files; next: diptych train cyclegan --data {tmp_path}/out --out runs/tiny" in said


@pytest.mark.parametrize("more", [{}, {"mirror": "2"}, {"mirror": "file"}])
def test_what_is_known_is_checked_wherever_it_is_from(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, str]
) -> None:
    known(monkeypatch, host, size=len(OLD), sha256=sha256(OLD).hexdigest())
    (tmp_path / "own").mkdir()
    (tmp_path / "own/set.zip").write_bytes(OLD)
    if more == {"mirror": "file"}:
        more = {"mirror": (tmp_path / "own/set.zip").as_uri()}
    (tmp_path / "here").mkdir()
    fetch(tmp_path / "here", **more)
    assert is_there(tmp_path / "here")
    (tmp_path / "own/set.zip").write_bytes(NEW)
    host.answers = [Predictor(NEW)]
    (tmp_path / "there").mkdir()
    fails(tmp_path / "there", f"its SHA-256 is {sha256(NEW).hexdigest()}, and {sha256(OLD).hexdigest()} is exp", **more)


# ---- breaks


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("ends", ["closes", "resets", "stalls"])
def test_a_break_is_gone_on_after_by_itself(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: Literal["closes", "resets", "stalls"]
) -> None:
    if ends == "stalls":
        monkeypatch.setattr(download_file, "TIMEOUT", 1.5)
    host.answers = [Predictor(sends=30_000, ends=ends), Predictor()]
    said = fetch(tmp_path)
    assert is_there(tmp_path)
    assert starts(host) == [0, 30_000]
    assert host.has_sent(len(OLD))
    assert said.count("trying again") == 1


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    "answers",
    [
        [Predictor(sends=30_000), Predictor(claims=1000), Predictor()],
        [Predictor(claims=-1, sends=30_000, ends="resets"), Predictor(sends=1000), Predictor()],
    ],
    ids=["too little is promised", "nothing was promised"],
)
def test_a_break_is_seen_after_a_break(host: Host, tmp_path: Path, answers: list[Predictor]) -> None:
    host.answers = answers
    fetch(tmp_path)
    assert is_there(tmp_path)
    assert starts(host) == [0, 30_000, 31_000]


@pytest.mark.usefixtures("tiny")
def test_a_date_serves_where_there_is_no_etag(host: Host, tmp_path: Path) -> None:
    dated = Predictor(etag=None, date="Sun, 02 Sep 2018 08:58:00 GMT")
    host.answers = [replace(dated, sends=30_000), dated]
    fetch(tmp_path)
    assert is_there(tmp_path)
    assert host.has_sent(len(OLD))


@pytest.mark.usefixtures("tiny")
def test_tries_that_bring_something_are_not_counted(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_file, "TRIES", 2)
    host.answers = [*[Predictor(sends=10_000)] * 9, Predictor()]
    fetch(tmp_path)
    assert is_there(tmp_path)
    assert len(host.ranges) == 10


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    "answer", [Predictor(sends=0), Predictor(sends=30_000, ranges="ignores"), Predictor(claims=len(OLD) + 1)]
)
def test_tries_that_bring_nothing_come_to_an_end(host: Host, tmp_path: Path, answer: Predictor) -> None:
    host.answers = [answer]
    line = fails(tmp_path, "broke off after .* 5 times; the same command goes on; try --mirror 2")
    assert line.startswith(f"{host.address}: ")
    assert 5 <= len(host.ranges) <= 6


@pytest.mark.usefixtures("tiny")
def test_no_server_at_all(tmp_path: Path, host: Host) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/set.zip"
        line = fails(tmp_path, r"cannot be reached \(.*refused.*\), 5 times", mirror=nobody)
    assert f"--mirror 1 ({host.address})" in line


def stop_after(host: Host, folder: Path, sends: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that ends with `sends` bytes on the disk."""
    host.answers = [Predictor(sends=sends)]
    with monkeypatch.context() as patch:
        patch.setattr(download_file, "TRIES", 1)
        fails(folder, "the same command goes on")
    host.answers = [Predictor()]


@pytest.mark.usefixtures("tiny")
def test_the_same_command_goes_on(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(host, tmp_path, 30_000, monkeypatch)
    assert f"goes on after 30000 bytes, of {len(OLD)} bytes" in fetch(tmp_path)
    assert is_there(tmp_path)
    assert starts(host) == [0, 30_000]
    assert host.has_sent(len(OLD))


def wait_for_bytes(folder: Path) -> None:
    partial = folder / ".partial-out.archive"
    for _ in range(6000):
        if partial.exists() and partial.stat().st_size:
            return
        time.sleep(0.01)
    raise AssertionError(f"{partial}: nothing came")


@pytest.mark.usefixtures("tiny")
def test_an_interrupted_download_goes_on(host: Host, tmp_path: Path) -> None:
    def interrupt(main: int) -> None:
        wait_for_bytes(tmp_path)
        signal.pthread_kill(main, signal.SIGINT)

    host.answers = [Predictor(sends=30_000, ends="stalls"), Predictor()]
    threading.Thread(target=interrupt, args=(threading.get_ident(),), daemon=True).start()
    with pytest.raises(KeyboardInterrupt, match=r"\.partial-out\.archive"):
        fetch(tmp_path)
    fetch(tmp_path)
    assert is_there(tmp_path)
    assert 0 < starts(host)[1] <= 30_000


def test_a_killed_download_goes_on(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host.answers = [Predictor(sends=30_000, ends="stalls"), Predictor()]
    call = f"download('grumpifycat', out={str(tmp_path / 'out')!r}, mirror={host.address!r})"
    other = subprocess.Popen([sys.executable, "-c", f"from diptych.prepare.download import download\n{call}"])
    wait_for_bytes(tmp_path)
    other.kill()
    other.wait()
    known(monkeypatch, host)
    fetch(tmp_path)
    assert is_there(tmp_path)
    assert 0 < starts(host)[1] <= 30_000


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("left", ["lock", "archive", "json"])
def test_a_kill_leaves_nothing_that_the_same_command_does_not_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    """Killed before one of the files beside the folder is removed: then nothing else is, not even by a `finally`."""
    unlink, killed = Path.unlink, list[Path]()

    def kill(self: Path, missing_ok: bool = False) -> None:
        if self.name == f".partial-out.{left}":
            killed.append(self)
        if killed:
            raise KeyboardInterrupt
        unlink(self, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", kill)
        with pytest.raises(KeyboardInterrupt):
            fetch(tmp_path)
    assert killed
    assert "4 files; next: diptych train" in fetch(tmp_path)
    assert is_there(tmp_path)


@pytest.mark.usefixtures("tiny")
def test_a_whole_archive_beside_a_folder_of_the_user_s_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download_file, "unpack", stop)
        with pytest.raises(KeyboardInterrupt):
            fetch(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert tmp_path / ".partial-out.archive" in before
    with pytest.raises(ValueError, match="out: exists already"):
        fetch(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("tiny")
def test_half_an_archive_beside_a_folder_of_the_user_s_stays(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(host, tmp_path, 2, monkeypatch)
    (half,) = tmp_path.glob(".partial-*.archive")
    before = half.read_bytes()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="out: exists already"):
        fetch(tmp_path)
    assert half.read_bytes() == before


@pytest.mark.usefixtures("tiny")
def test_what_is_fetched_whole_is_not_fetched_again(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(download_file, "unpack", fail)
        fails(tmp_path, r"out: cannot be written \(No space left on device\); .* the same command goes on")
    fetch(tmp_path)
    assert is_there(tmp_path)
    assert len(host.ranges) == 1


# ---- two versions never mix


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    "then",
    [
        Predictor(NEW, etag='"new"'),
        Predictor(NEW, etag='"new"', ranges="ignores"),
        Predictor(NEW, etag='"new"', ranges="heeds without If-Range"),
        Predictor(NEW + b"\0" * 22, etag=None, ranges="heeds without If-Range"),
        Predictor(NEW[:9000], etag='"new"', ranges="heeds without If-Range"),
        Predictor(NEW, ranges="begins one byte late"),
    ],
    ids=["If-Range", "no ranges", "another ETag", "another length", "shorter", "another place"],
)
def test_another_version_is_fetched_from_its_start(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: Predictor
) -> None:
    stop_after(host, tmp_path, 30_000, monkeypatch)
    host.answers = [then, Predictor(NEW, etag='"new"')]
    fetch(tmp_path)
    assert is_there(tmp_path, NEW)
    assert starts(host) in ([0, 30_000], [0, 30_000, 0])


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_what_cannot_be_told_apart_is_fetched_from_its_start(host: Host, tmp_path: Path, etag: str | None) -> None:
    host.answers = [Predictor(etag=etag, sends=30_000), Predictor(NEW, etag=etag)]
    fetch(tmp_path)
    assert is_there(tmp_path, NEW)
    assert starts(host) == [0, 0]


@pytest.mark.usefixtures("tiny")
def test_where_nothing_can_be_told_apart_nothing_is_promised(host: Host, tmp_path: Path) -> None:
    host.answers = [Predictor(etag=None, sends=30_000)]
    fails(tmp_path, "broke off after 30000 of .*, 5 times; the same command begins again")


@pytest.mark.usefixtures("tiny")
def test_two_addresses_never_mix_and_a_bad_one_costs_nothing(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(host, tmp_path, 30_000, monkeypatch)
    host.answers = [Predictor(status=404)]
    fails(tmp_path, "404", mirror="2")
    stop_after(host, tmp_path, 10_000, monkeypatch)
    host.answers = [Predictor(NEW)]
    fetch(tmp_path, mirror="2")
    assert is_there(tmp_path, NEW)
    assert starts(host) == [0, 0, 30_000, 0]


# ---- lies


@pytest.mark.usefixtures("tiny")
def test_a_length_that_is_too_small(host: Host, tmp_path: Path) -> None:
    host.answers = [Predictor(claims=50_000)]
    assert "what was fetched is removed" in fails(tmp_path, "is damaged, cut short")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_length_that_is_not_the_known_one(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, difference: int
) -> None:
    known(monkeypatch, host, size=len(OLD) + difference)
    line = fails(tmp_path, f"is {len(OLD)} bytes long, and {len(OLD) + difference} are expected")
    assert "--mirror 2" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [40_000, None], ids=["known", "unknown"])
def test_no_length_and_too_much(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int | None) -> None:
    known(monkeypatch, host, size=size)
    monkeypatch.setattr(download_file, "LARGEST", 40_000)
    host.answers = [Predictor(OLD * 300, claims=-1)]
    fails(tmp_path, "sends more than 40000 bytes")
    assert list(tmp_path.iterdir()) == []
    assert host.sent == 0  # the server could not send it to the end


@pytest.mark.parametrize("size", [len(OLD), None], ids=["known", "unknown"])
def test_no_length_and_all_of_it(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int | None) -> None:
    known(monkeypatch, host, size=size)
    host.answers = [Predictor(claims=-1)]
    if size:  # only then is a break seen for one
        host.answers = [Predictor(claims=-1, sends=30_000), Predictor(claims=-1)]
    fetch(tmp_path)
    assert is_there(tmp_path)


def test_a_wrong_sha256_is_said_and_the_next_try_begins_anew(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, host, sha256=sha256(NEW).hexdigest())
    line = fails(tmp_path, f"its SHA-256 is {sha256(OLD).hexdigest()}, and {sha256(NEW).hexdigest()} is expected")
    assert "--mirror 2" in line
    assert list(tmp_path.iterdir()) == []
    host.answers = [Predictor(NEW)]
    assert "none is known" not in fetch(tmp_path)
    assert is_there(tmp_path, NEW)
    assert starts(host) == [0, 0]


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_refusal_names_the_address_and_what_else_to_try(host: Host, tmp_path: Path, status: int) -> None:
    host.answers = [Predictor(b"sorry", status=status)]
    line = fails(tmp_path, rf"set.zip: the server says {status} \(.+\); try --mirror 2 \(http.*mirror.zip\)")
    assert line.startswith(host.address)
    assert len(host.ranges) == 1


@pytest.mark.usefixtures("tiny")
def test_a_web_page_is_no_archive(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(host, tmp_path, 30_000, monkeypatch)
    host.answers = [Predictor(b"\n<!DOCTYPE HTML><title>Moved</title>", etag=None)]
    fails(tmp_path, "is a web page, not an archive; try --mirror 2")
    host.answers = [Predictor()]
    fetch(tmp_path)
    assert is_there(tmp_path)
    assert starts(host)[2] == 30_000  # the page cost nothing of what was there


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/set.zip", "data:,x"])
def test_a_redirect_leads_to_the_web_only(host: Host, tmp_path: Path, to: str) -> None:
    host.answers = [Predictor(status=302, to=to)]
    fails(tmp_path, f"the server says 302 .*{to}")


@pytest.mark.usefixtures("tiny")
def test_a_redirect_is_followed_and_gone_on_after(host: Host, tmp_path: Path) -> None:
    there = Predictor(status=302, to="/elsewhere.zip", etag=None, data=b"")
    host.answers = [there, Predictor(sends=30_000), there, Predictor()]
    fetch(tmp_path)
    assert is_there(tmp_path)
    assert host.has_sent(len(OLD))


@pytest.mark.usefixtures("tiny")
def test_a_hostile_archive_leaves_nothing(host: Host, tmp_path: Path) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as bundle:
        bundle.writestr("../up.jpg", b"x")
    host.answers = [Predictor(data.getvalue())]
    line = fails(tmp_path / "deep", r"set.zip: '../up.jpg' leads upwards; .*; what was fetched is removed")
    assert "--mirror 2" in line
    assert list(tmp_path.rglob("*")) == [tmp_path / "deep"]


# ---- what the person asks for


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("there", ["a file", "a full folder", "a link", "."])
def test_what_is_there_is_not_overwritten(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    out = tmp_path / "out"
    if there == "a file":
        out.write_text("mine", encoding="utf-8")
    elif there == "a full folder":
        out.mkdir()
        (out / "mine").touch()
    elif there == "a link":
        out.symlink_to(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    before = {*tmp_path.rglob("*")}
    with pytest.raises(ValueError, match="--out"):
        download("tiny", out=there if there == "." else out)
    assert {*tmp_path.rglob("*")} == before
    assert host.ranges == []


@pytest.mark.usefixtures("tiny")
def test_an_empty_folder_may_be_there(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    fetch(tmp_path)
    assert is_there(tmp_path)


@pytest.mark.usefixtures("tiny")
def test_two_at_once_do_not_meet(host: Host, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".partial-out.lock"):
        fails(tmp_path, "out: another process is fetching it")
    assert host.ranges == []
    fetch(tmp_path)
    assert is_there(tmp_path)


def test_too_little_room_is_found_before_anything_is_fetched(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 150_000}))
    for facts, answer in (
        ({}, Predictor()),
        ({"size": len(OLD)}, Predictor(claims=-1)),
        ({"about": 10**6}, Predictor(claims=-1)),
    ):
        known(monkeypatch, host, **facts)
        host.answers = [answer]
        fails(tmp_path, "150000 bytes are free, .* need .*; make room or choose another --out")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("mirror", "because"),
    [
        ("0", "--mirror 0: there is no such address of tiny; try --mirror 1 .* --mirror 2 "),
        ("3", "--mirror 3: there is no such address"),
        ("ftp://host/set.zip", "--mirror ftp://host/set.zip: a number, or an address .* is expected"),
        ("set.zip", "--mirror set.zip: a number, or an address"),
        ("http://host/a b.zip", "a number, or an address"),
        ("file:///nowhere/set.zip", r"file:///nowhere/set.zip: cannot be read \(.*No such file"),
    ],
)
def test_mirrors_that_are_none(tmp_path: Path, mirror: str, because: str) -> None:
    fails(tmp_path, because, mirror=mirror)


def test_names_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"horse2zebr: .*horse2zebra.*: facades,"):
        download("horse2zebr", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_may_not_be_handed_on_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cityscapes: .* gtFine_trainvaltest.zip; .*diptych data combine"):
        download("cityscapes", out=tmp_path / "out")


# ---- the catalogue as it is shipped


@pytest.mark.parametrize("name", catalogue())
def test_every_entry_can_be_used(name: str) -> None:
    data = find(name)
    assert re.fullmatch(r"[a-z0-9_-]+", name)
    assert data.addresses or data.notes
    assert all(re.fullmatch(r"https?://[\w.]+/[\w./-]+\.(zip|tar\.gz)", address) for address in data.addresses)
    assert len(set(data.addresses)) == len(data.addresses)
    assert not (data.size and data.about)
    assert data.method == {"paired": "pix2pix", "unpaired": "cyclegan"}[data.kind]
    assert (data.direction is not None) == (data.kind == "paired")


def test_the_sets_of_both_papers_are_there() -> None:
    wanted = "facades maps cityscapes edges2shoes edges2handbags night2day horse2zebra monet2photo apple2orange"
    assert set(wanted.split()) <= catalogue().keys()


def test_the_list_tells_names_sizes_licences_and_mirrors() -> None:
    said = io.StringIO()
    show_catalogue(Console(file=said, width=40))
    lines = said.getvalue().splitlines()
    for name, data in catalogue().items():
        assert any(line.startswith(f"{name}: {data.title} (") for line in lines)
        assert f"    licence: {data.licence}" in lines
        for number, address in enumerate(data.addresses, start=1):
            assert f"    {number}  {address}" in lines
    assert "30 MB" in said.getvalue()
    assert "about 8600 MB" in said.getvalue()


def test_a_mistake_in_the_catalogue_is_named() -> None:
    entry = find("horse2zebra").model_dump()
    wrong: dict[str, Any] = {"sha256": "abc", "size": 0, "about": "2000", "kind": "both", "mirrors": []}
    for key, value in wrong.items():
        with pytest.raises(ValueError, match=key):
            CatalogueEntry.model_validate(entry | {key: value})
