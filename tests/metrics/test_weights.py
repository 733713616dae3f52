"""Weights are found where they may lie, believed only by their content, and fetched only when asked."""

import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from diptych.metrics import weights
from diptych.metrics.weights import MissingWeightsError, Weights, find

DATA = b"weights of a tiny network"
TINY = Weights(
    "the tiny network of a test", ("tiny.pth", "also.pth"), sha256(DATA).hexdigest(), 25, "http://127.0.0.1:9/t"
)


class Handler(BaseHTTPRequestHandler):
    data: ClassVar[bytes] = DATA
    claims: ClassVar[int | None] = None
    asked: ClassVar[list[str]] = []
    over: ClassVar[threading.Event] = threading.Event()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(404 if self.path == "/nothing" else 200)
        self.send_header("Content-Length", str(self.claims or len(self.data)))
        self.end_headers()
        self.wfile.write(self.data)
        if self.path == "/stalled":
            self.wfile.flush()
            self.over.wait(60)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(Handler, "asked", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's folder of this test; nothing is named by a variable."""
    monkeypatch.delenv("DIPTYCH_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch/hub/checkpoints"


def put(folder: Path, name: str = "tiny.pth", data: bytes = DATA) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


def line(problem: pytest.ExceptionInfo[ValueError]) -> str:
    """The message, if it is short beside the folders that it names, and no address is in it."""
    told = str(problem.value)
    assert "\n" not in told
    assert "http" not in told
    assert len(re.sub(r"/\S*/", "", told)) < 200
    return told


@pytest.mark.parametrize("name", TINY.names)
def test_found_by_any_of_its_names_in_the_folder_the_variables_or_torch_hubs(
    name: str, tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIPTYCH_WEIGHTS", str(tmp_path / "variable"))
    at_hub = put(hub, name)
    assert find(TINY) == at_hub
    of_variable = put(tmp_path / "variable", name)
    assert find(TINY) == of_variable
    given = put(tmp_path / "given", name)
    assert find(TINY, tmp_path / "given") == given


def test_a_folder_that_is_given_is_the_only_one(tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_WEIGHTS", str(put(tmp_path / "variable").parent))
    put(hub)
    with pytest.raises(MissingWeightsError) as problem:
        find(TINY, tmp_path / "given")
    assert str(tmp_path / "given") in line(problem)
    assert "variable" not in line(problem)


def test_one_line_says_which_file_from_where_goes_where(
    tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIPTYCH_WEIGHTS", str(tmp_path / "variable"))
    with pytest.raises(MissingWeightsError) as problem:
        find(TINY)
    for word in (
        "tiny.pth",
        TINY.purpose,
        f"{tmp_path / 'variable'} or {hub}",
        "--fetch-weights",
        "--weights DIR",
    ):
        assert word in line(problem)


def test_a_file_of_the_name_with_something_else_in_it_is_told(tmp_path: Path) -> None:
    for other in (DATA[:-1], DATA[:-1] + b"?"):
        file = put(tmp_path / "given", data=other)
        found = sha256(other).hexdigest()[:12] if len(other) == len(DATA) else f"has {len(other)} bytes"
        for fetch in (False, True):
            with pytest.raises(MissingWeightsError, match=re.escape(str(file))) as problem:
                find(TINY, tmp_path / "given", fetch)
            assert found in line(problem)
        assert file.read_bytes() == other
    assert TINY.sha256[:12] in line(problem)


def test_fetched_only_when_asked_and_only_once(host: str, tmp_path: Path) -> None:
    there = replace(TINY, address=f"{host}/tiny")
    with pytest.raises(MissingWeightsError):
        find(there, tmp_path / "given")
    assert Handler.asked == []
    file = find(there, tmp_path / "given", fetch=True)
    assert file == tmp_path / "given/tiny.pth"
    assert file.read_bytes() == DATA
    assert find(there, tmp_path / "given", fetch=True) == file
    assert Handler.asked == ["/tiny"]
    assert list(file.parent.iterdir()) == [file]


def test_a_download_that_stalls_is_given_up(
    host: str, tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "STALLED", 0.2)
    monkeypatch.setattr(Handler, "claims", 1000)
    before = socket.getdefaulttimeout()
    with pytest.raises(MissingWeightsError, match=r"cannot be fetched .*timed out"):
        find(replace(TINY, address=f"{host}/stalled"), fetch=True)
    Handler.over.set()
    assert socket.getdefaulttimeout() == before
    assert list(hub.iterdir()) == []


def test_fetched_into_the_first_place(host: str, tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = replace(TINY, address=f"{host}/tiny")
    assert find(there, fetch=True) == hub / "tiny.pth"
    (hub / "tiny.pth").unlink()
    monkeypatch.setenv("DIPTYCH_WEIGHTS", str(tmp_path / "variable"))
    assert find(there, fetch=True) == tmp_path / "variable/tiny.pth"


@pytest.mark.parametrize(
    "fault", ["nobody listens", "not found", "something else", "breaks off", "a file for a folder"]
)
def test_what_cannot_be_fetched_is_the_same_line_and_leaves_nothing(
    fault: str, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"{host}/nothing" if fault == "not found" else f"{host}/tiny"
    folder = tmp_path / "given"
    if fault == "nobody listens":
        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
            address = f"http://127.0.0.1:{closed.server_port}/tiny"
    elif fault == "something else":
        monkeypatch.setattr(Handler, "data", b"<html>welcome</html>")
    elif fault == "breaks off":
        monkeypatch.setattr(Handler, "claims", 10 * len(DATA))
        monkeypatch.setattr(Handler, "data", DATA[:10])
    elif fault == "a file for a folder":
        folder.touch()
    with pytest.raises(MissingWeightsError) as problem:
        find(replace(TINY, address=address), folder, fetch=True)
    for word in ("tiny.pth", TINY.purpose, "by other means", str(folder)):
        assert word in line(problem)
    assert not folder.is_dir() or not list(folder.iterdir())


def test_what_is_known_of_the_real_ones() -> None:
    """torch.hub's rule: a name ends in the first digits of the SHA-256."""
    for real in (weights.INCEPTION, weights.ALEXNET):
        assert len(real.sha256) == 64
        assert real.address.rpartition("/")[2] == real.names[0]
        for name in real.names:
            found = re.search(r"-([0-9a-f]{8})\.pth$", name)
            assert found
            assert real.sha256.startswith(found[1])


def test_the_library_keeps_its_files_where_torch_hub_does(hub: Path) -> None:
    assert Path(torch.hub.get_dir()) / "checkpoints" == hub
