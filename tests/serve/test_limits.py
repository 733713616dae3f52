"""What a server does with too much, with the slow and the gone, and with those it does not know."""

import asyncio
import base64
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from diptych.model import Model
from diptych.serve import bodies, running
from diptych.serve.keys import read_keys
from diptych.serve.options import Limits
from diptych.serve.running import local_names
from diptych.serve.work import BusyError, Job, Work

from .conftest import Address, Client, encoded, photo

TRANSLATE = "/v1/models/tiny/translate"
KEY = "0123456789abcdef"


Head = Callable[..., socket.socket]


@pytest.fixture
def head() -> Iterator[Head]:
    """Connections that have sent the head of a request and none of its body."""
    opened = list[socket.socket]()

    def call(address: str, length: int) -> socket.socket:
        host, port = address.removeprefix("http://").split(":")
        opened.append(connection := socket.create_connection((host, int(port)), timeout=20))
        connection.sendall(f"POST {TRANSLATE} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n".encode())
        return connection

    yield call
    for connection in opened:
        connection.close()


def answer(connection: socket.socket) -> str:
    return connection.recv(65536).decode("latin-1")


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Until it is set, networks wait."""
    free, whole = threading.Event(), Model.all_pixels

    def slow(self, *arguments, **named):  # type: ignore[no-untyped-def]
        assert free.wait(20)
        return whole(self, *arguments, **named)

    monkeypatch.setattr(Model, "all_pixels", slow)
    return free


def until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.01)


def waiting(opened: TestClient) -> int:
    text = opened.get("/metrics").text
    return round(float(next(line.split()[1] for line in text.splitlines() if line.startswith("diptych_waiting "))))


def test_more_than_may_wait_are_told_when_to_come_again(client: Client, tiny_run: Path, held: threading.Event) -> None:
    opened, data = client(Limits(queue=3), tiny=tiny_run), encoded(photo())
    with ThreadPoolExecutor(3) as clients:
        taken = [clients.submit(opened.post, TRANSLATE, content=data) for _ in range(3)]
        until(lambda: waiting(opened) == 3)
        refused = opened.post(TRANSLATE, content=data)
        held.set()
        assert [one.result().status_code for one in taken] == [200] * 3
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert opened.post(TRANSLATE, content=data).status_code == 200
    assert waiting(opened) == 0


def test_a_full_server_and_a_long_body_are_refused_before_the_body(
    address: Address, tiny_run: Path, held: threading.Event, head: Head
) -> None:
    server = address(Limits(queue=1, max_bytes=10_000), tiny=tiny_run)
    connection = head(server, 10_001)
    assert answer(connection).startswith("HTTP/1.1 413")
    with ThreadPoolExecutor(1) as clients:
        taken = clients.submit(httpx2.post, server + TRANSLATE, content=encoded(photo()), timeout=30)
        until(lambda: "diptych_waiting 1.0" in httpx2.get(f"{server}/metrics").text)
        connection = head(server, 5000)
        assert answer(connection).startswith("HTTP/1.1 503")
        held.set()
        assert taken.result().status_code == 200


def test_a_body_without_a_length_is_cut_off(address: Address, tiny_run: Path) -> None:
    server = address(Limits(max_bytes=10_000), tiny=tiny_run)
    chunks = (bytes(1000) for _ in range(1000))
    assert httpx2.post(server + TRANSLATE, content=chunks).status_code == 413


def test_what_waits_holds_a_bounded_number_of_bytes(client: Client, tiny_run: Path, held: threading.Event) -> None:
    opened, data = client(Limits(max_bytes=50_000, bodies=2), tiny=tiny_run), encoded(photo()) + bytes(40_000)
    with ThreadPoolExecutor(2) as clients:
        taken = [clients.submit(opened.post, TRANSLATE, content=data) for _ in range(2)]
        until(lambda: waiting(opened) == 2)
        refused = opened.post(TRANSLATE, content=data)
        held.set()
        assert [one.result().status_code for one in taken] == [200] * 2
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert opened.post(TRANSLATE, content=data).status_code == 200


def test_masks_and_arrays_have_no_more_pixels_than_pictures(
    client: Client, tiny_run: Path, completion_run: Path
) -> None:
    opened = client(Limits(max_pixels=2000), tiny=tiny_run, holes=completion_run)
    np.save(array := io.BytesIO(), np.zeros((50, 50, 3), np.uint8))
    tensor = {"name": "picture", "datatype": "UINT8", "shape": [50, 50, 1], "data": [0] * 2500}
    files = {"image": encoded(photo()), "mask": encoded(Image.new("1", (50, 50)))}
    for answered in (
        opened.post(TRANSLATE, content=array.getvalue()),
        opened.post("/v1/models/tiny/preview", content=array.getvalue()),
        opened.post("/v2/models/tiny/infer", json={"inputs": [tensor]}),
        opened.post("/v1/models/holes/translate", files=files),
    ):
        assert answered.status_code == 413
        assert "50x50 pixels, and at most 2,000" in answered.json()["detail"]


def test_a_connection_on_which_no_request_begins_is_closed(
    address: Address, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "HEADERS_WITHIN", 0.4)
    host, port = address(tiny=tiny_run).removeprefix("http://").split(":")
    for before in (0, 1, 2):
        with socket.create_connection((host, int(port)), timeout=4) as connection:
            for _ in range(before):
                connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                while not answer(connection).endswith('{"live":true}'):
                    pass
            connection.sendall(b"G")
            assert connection.recv(1) == b""


def test_slow_clients_take_no_place_and_are_given_up(
    address: Address, tiny_run: Path, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "PATIENCE", 0.02)
    server = address(Limits(queue=2, timeout=0.8), tiny=tiny_run)
    slow = []
    for _ in range(5):
        slow.append(head(server, 5000))
        time.sleep(0.04)
    assert httpx2.post(server + TRANSLATE, content=encoded(photo())).status_code == 200
    assert all(answer(one).startswith("HTTP/1.1 408") for one in slow)


def test_a_client_that_is_gone_costs_no_work(
    address: Address, tiny_run: Path, held: threading.Event, head: Head
) -> None:
    server, data = address(Limits(max_batch=1), tiny=tiny_run), encoded(photo())
    with ThreadPoolExecutor(1) as clients:
        first = clients.submit(httpx2.post, server + TRANSLATE, content=data, timeout=30)
        until(lambda: "diptych_waiting 1.0" in httpx2.get(f"{server}/metrics").text)
        connections = [head(server, len(data)) for _ in range(5)]
        for connection in connections:
            connection.sendall(data)
        until(lambda: "diptych_waiting 6.0" in httpx2.get(f"{server}/metrics").text)
        for connection in connections:
            connection.close()
        until(lambda: "diptych_waiting 1.0" in httpx2.get(f"{server}/metrics").text)
        held.set()
        assert first.result().status_code == 200
    until(lambda: "diptych_batch_size_count 0.0" not in httpx2.get(f"{server}/metrics").text)
    assert "diptych_batch_size_count 1.0" in httpx2.get(f"{server}/metrics").text


def test_who_waits_too_long_is_told_so(client: Client, tiny_run: Path, held: threading.Event) -> None:
    answered = client(Limits(timeout=0.2), tiny=tiny_run).post(TRANSLATE, content=encoded(photo()))
    held.set()
    assert answered.status_code == 503
    assert "retry-after" in answered.headers


def test_keys(client: Client, tiny_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# of the shop\n{KEY}\n\nanother-key-of-some-length\n")
    opened, data = client(tiny=tiny_run, keys=read_keys(file)), encoded(photo())
    for path in ("/v1/models", "/metrics", "/docs", "/", "/nothing"):
        refused = opened.get(path)
        assert refused.status_code == 401
        assert "Bearer" in refused.headers["www-authenticate"]
    assert opened.post(TRANSLATE, content=data, headers={"Authorization": f"Bearer {KEY[:-1]}"}).status_code == 401
    for headers in (
        {"Authorization": f"Bearer {KEY}"},
        {"X-API-Key": "another-key-of-some-length"},
        {"Authorization": "Basic " + base64.b64encode(f"me:{KEY}".encode()).decode()},
    ):
        assert opened.post(TRANSLATE, content=data, headers=headers).status_code == 200
    assert opened.get("/v2/health/live").status_code == 200
    file.write_text("short\n")
    with pytest.raises(ValueError, match="key 1 has less than 16 characters"):
        read_keys(file)
    file.write_text("# none\n")
    with pytest.raises(ValueError, match="holds no key"):
        read_keys(file)


def test_a_key_is_of_any_letters(client: Client, tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(key := "schlüssel-für-alle", encoding="utf-8")
    opened = client(tiny=tiny_run, keys=read_keys(tmp_path / "keys"))
    assert opened.get("/v1/models", headers={b"X-API-Key": key.encode()}).status_code == 200
    basic = base64.b64encode(f"me:{key}".encode()).decode()
    assert opened.get("/v1/models", headers={"Authorization": f"Basic {basic}"}).status_code == 200


def test_a_page_whose_name_was_made_to_lead_here_is_refused(client: Client, tiny_run: Path) -> None:
    names = local_names("127.0.0.1", "127.0.0.1", ["https://of.a.proxy"])
    opened = client(tiny=tiny_run, hosts=names)
    for host in ("evil.example:8000", "evil.example", "127.0.0.1.evil.example", "[::2]", "localhost:80:80"):
        refused = opened.get("/v1/models", headers={"Host": host, "Origin": f"http://{host}"})
        assert refused.status_code == 403
        assert f"{host} is no name of this server" in refused.json()["detail"]
    for host in ("localhost", "LocalHost:8000", "127.0.0.1:8000", "[::1]:8000", "of.a.proxy"):
        assert opened.get("/v1/models", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 200


def test_pages_of_other_sites_may_ask_only_where_that_is_allowed(client: Client, tiny_run: Path) -> None:
    opened, data, other = client(tiny=tiny_run), encoded(photo()), {"Origin": "https://example.org"}
    assert opened.post(TRANSLATE, content=data, headers={"Origin": "http://testserver"}).status_code == 200
    assert opened.post(TRANSLATE, content=data, headers=other).status_code == 403
    assert opened.options(TRANSLATE, headers=other).status_code == 403
    for none in ("http://[", "null"):
        assert opened.post(TRANSLATE, content=data, headers={"Origin": none}).status_code == 403
    open_to = client(tiny=tiny_run, origins=frozenset(other.values()))
    allowed = open_to.post(TRANSLATE, content=data, headers=other)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, other["Origin"])
    assert open_to.options(TRANSLATE, headers=other).status_code == 204
    assert "access-control-allow-origin" not in open_to.get("/v1/models").headers


def test_every_request_has_a_number_and_a_line(
    client: Client, tiny_run: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    opened = client(tiny=tiny_run, access_log=True)
    opened.post(f"{TRANSLATE}?secret=1", content=encoded(photo()), headers={"X-Request-ID": "abc-1"})
    bad = opened.get("/no%1b[31m", headers={"X-Request-ID": "x" * 100})
    first, second = map(json.loads, capfd.readouterr().err.splitlines())
    assert (first["id"], first["status"], first["model"], first["path"]) == ("abc-1", 200, "tiny", TRANSLATE)
    assert first["in"] > 1000
    assert first["out"] > 1000
    assert second["id"] == bad.headers["x-request-id"] != "x" * 100
    opened.request("INVENTED", "/v1/models")
    metrics = opened.get("/metrics").text
    assert 'method="other"' in metrics
    assert "INVENTED" not in metrics
    assert 'diptych_requests_total{method="POST",route="/v1/models/{name}/translate",status="200"} 1.0' in metrics
    assert 'route="other"' in metrics
    assert "/no" not in metrics


def test_an_answer_can_run_nothing_in_a_browser(client: Client, tiny_run: Path) -> None:
    headers = client(tiny=tiny_run).post(TRANSLATE, content=encoded(photo())).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]


# ---- the work, without a web


def squares(items: Sequence[Any]) -> Sequence[Any]:
    if -1 in items:
        raise ValueError("no square")
    return [item**2 for item in items]


def test_one_bad_item_does_not_spoil_its_batch() -> None:
    sizes = list[int]()

    async def all_of(numbers: list[int]) -> list[Any]:
        work = Work(99, 4, lambda size, seconds: sizes.append(size))
        jobs = [Job("odd" if number % 2 else "even", number, squares) for number in numbers]
        return list(await asyncio.gather(*map(work.computed_of, jobs), return_exceptions=True))

    results = asyncio.run(all_of([1, 2, 3, -1, 5, 4, 7, 9]))
    assert [result for result in results if isinstance(result, int)] == [1, 4, 9, 25, 16, 49, 81]
    assert isinstance(results[3], ValueError)
    assert sorted(sizes) == [2, 2, 4]


def test_places() -> None:
    work = Work(2, 1)
    with work.place() as first, work.place():
        with pytest.raises(BusyError), work.place():
            pass
        first.give_back()
        with work.place(), pytest.raises(BusyError):
            first.take()
    assert work.taken == 0
