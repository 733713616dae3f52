"""The command itself: its mistakes, its address, its end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import httpx2
import psutil
import pytest

import diptych
from diptych import cli

from .conftest import encoded, photo

TRANSLATE = "/v1/models/tiny/translate"
Start = Callable[..., tuple["subprocess.Popen[str]", str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the command on a free port; gives the process and its address."""
    running = list["subprocess.Popen[str]"]()

    def call(*arguments: object) -> tuple["subprocess.Popen[str]", str]:
        command = [sys.executable, "-m", "diptych", "serve", *map(str, arguments), "--port", "0", "--device", "cpu"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with (tmp_path / "log").open("w") as log:
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment))
        assert running[-1].stdout
        line = running[-1].stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, (line, (tmp_path / "log").read_text())
        return running[-1], found[0]

    yield call
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_was_taken_is_answered_before_the_end(
    start: Start, tiny_run: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process, address = start(f"tiny={tiny_run}", "--queue", 200)
    data = encoded(photo(96, 96))
    expected = diptych.load(tiny_run, device="cpu")(data)
    assert httpx2.post(address + TRANSLATE, content=data).content == expected
    with ThreadPoolExecutor(24) as clients:
        taken = [clients.submit(httpx2.post, address + TRANSLATE, content=data, timeout=60) for _ in range(24)]
        while '"in": 0' in (text := httpx2.get(f"{address}/metrics").text) or "diptych_waiting 0.0" in text:
            time.sleep(0.01)
        while (metrics := httpx2.get(f"{address}/metrics").text) and not re.search(
            r"diptych_(waiting|pictures_total\{.*\}) (2[0-9]|[3-9])", metrics
        ):
            time.sleep(0.01)
        process.send_signal(number)
        statuses = [one.result().status_code for one in taken if not one.exception()]
    assert statuses == [200] * len(statuses)
    assert process.wait(30) == 0
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    posted = [line["status"] for line in lines if line["method"] == "POST"]
    assert posted == [200] * len(posted)
    assert len(posted) == len(statuses) + 1  # no answer was lost on its way


def test_several_processes_share_address_and_numbers(start: Start, tiny_run: Path, tmp_path: Path) -> None:
    process, address = start(f"tiny={tiny_run}", "--workers", 2, "--no-access-log")
    data = encoded(photo())
    expected = diptych.load(tiny_run, device="cpu")(data)
    for _ in range(12):
        assert httpx2.post(address + TRANSLATE, content=data, timeout=60).content == expected
    assert 'diptych_pictures_total{model="tiny"} 12.0' in httpx2.get(f"{address}/metrics").text
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert (tmp_path / "log").read_text() == ""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_several_processes_end_with_the_first(start: Start, tiny_run: Path, number: signal.Signals) -> None:
    process, address = start(f"tiny={tiny_run}", "--workers", 2)
    assert httpx2.get(f"{address}/livez", timeout=60).status_code == 200
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    assert process.wait(30) == (0 if number == signal.SIGHUP else -number)
    _, left = psutil.wait_procs(started, 20)
    for one in left:
        one.kill()
    assert left == []


def test_a_server_for_its_own_machine_answers_to_no_other_name(start: Start, tiny_run: Path) -> None:
    _, address = start(f"tiny={tiny_run}", "--host", "localhost", "--allow-origin", "https://of.a.proxy")
    for host, status in (("evil.example", 403), ("localhost", 200), ("of.a.proxy", 200)):
        assert httpx2.get(f"{address}/livez", headers={"Host": host}).status_code == status
    _, address = start(f"tiny={tiny_run}", "--host", "0.0.0.0")
    assert httpx2.get(f"{address}/livez", headers={"Host": "any.example"}).status_code == 200


def test_mistakes_are_one_line(
    capfd: pytest.CaptureFixture[str], tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object, word: str) -> None:
        assert cli.run(["serve", *map(str, arguments)]) == 2
        printed = capfd.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert word in printed.err

    (tmp_path / "empty").mkdir()
    (tmp_path / "keys").write_text("short")
    refused(word="no model to serve")
    refused(tmp_path / "missing", "--port", 0, word="no such file or folder")
    refused(tmp_path / "missing", "--port", 0, "--lazy", word="no such file or folder")
    refused(tmp_path / "empty", "--port", 0, word="holds no trained model")
    refused(tmp_path / "empty", "--port", 0, "--workers", 2, word="holds no trained model")
    refused(tiny_run, tiny_run, word="two models of the name 'tiny'")
    refused(f"a={tiny_run}", f"a={tiny_run}", word="two models of the name 'a'")
    refused(tiny_run, "--queue", 0, word="--queue 0")
    refused(tiny_run, "--port", 99999, word="--port 99999")
    refused(tiny_run, "--host", "no.such.host.invalid", word="--host")
    refused(tiny_run, "--host", "..", word="--host ..: is no address of this machine")
    refused(tiny_run, "--allow-origin", "*", word="--allow-origin *: a site is expected")
    refused(tiny_run, "--api-key-file", tmp_path / "keys", word="16 characters")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(tiny_run, "--port", port, word=f"--port {port}")
    monkeypatch.setattr(import_module("diptych.serve"), "find_spec", lambda module: None)
    refused(tiny_run, word="pip install 'diptych[serve]'")
