"""Models on the Hugging Face Hub: by their address, from a stub of it on this machine, and from the cache without it."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from diptych import cli
from diptych.hub import Address, local_folder
from diptych.model import load
from diptych.push import push

pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """One repository, me/facades, with the files of `folder`."""

    folder: Path

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = self.path.partition("?")[0].lstrip("/")
        files = {file.name: file.read_bytes() for file in self.folder.iterdir()}
        content = files.get(path.rpartition("/")[2])
        if path.startswith("api/models/me/facades/tree/"):
            listed = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in files.items()
            ]
            self.send(json.dumps(listed).encode(), body)
        elif path in [f"api/models/me/facades{rest}" for rest in ("", "/revision/main", "/revision/v1")]:
            siblings = [{"rfilename": name} for name in files]
            self.send(json.dumps({"id": "me/facades", "sha": COMMIT, "siblings": siblings}).encode(), body)
        elif path.startswith("me/facades/resolve/") and content is not None:
            self.send(content, body, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT})
        else:
            self.send_error(404)

    def send(self, content: bytes, body: bool, headers: dict[str, str] | None = None) -> None:
        self.send_response(200)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture
def hub(tiny_run: Path, tmp_path: Path) -> Iterator[tuple[ThreadingHTTPServer, dict[str, str]]]:
    """The stub, which has a program beside the model, and the environment in which it is the hub."""
    folder = tmp_path / "repository"
    push(tiny_run, "me/facades", licence="mit", dry_run=folder)
    (folder / "evil.py").write_text("raise SystemExit")
    handler = type("Stub", (Hub,), {"folder": folder})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    yield server, {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    server.shutdown()
    server.server_close()


def opened(address: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What a new process, which reads the environment anew, says of a model."""
    code = (
        "import sys; from pathlib import Path; from diptych.hub import local_folder; from diptych.model import load\n"
        "try:\n    folder = local_folder(Path(sys.argv[1])); print(load(sys.argv[1], device='cpu').step, folder)\n"
        "except ValueError as error: sys.exit(f'diptych: {error}')"
    )
    return subprocess.run(
        [sys.executable, "-c", code, address], env=environment, capture_output=True, text=True, check=False
    )


def test_a_model_opens_by_its_address_and_later_without_a_network(
    hub: tuple[ThreadingHTTPServer, dict[str, str]], tiny_run: Path
) -> None:
    server, environment = hub
    for address in ("hub:me/facades", "hub:me/facades@v1"):
        done = opened(address, environment)
        assert done.returncode == 0, done.stderr
        step, folder = done.stdout.split()
        assert step == str(load(tiny_run, device="cpu").step)
        assert Path(folder).name == COMMIT  # so that whatever notes it names the very weights
        assert {file.name for file in Path(folder).iterdir()} == {"config.json", "model.safetensors", "README.md"}
    server.shutdown()
    server.server_close()
    done = opened("hub:me/facades", environment)
    assert done.returncode == 0, done.stderr
    unknown = opened("hub:me/other", environment)
    assert unknown.returncode == 1
    [line] = unknown.stderr.splitlines()
    assert line.startswith("diptych: hub:me/other: cannot be fetched")


@pytest.mark.parametrize("text", ["hub:facades", "hub:me/", "hub:me/facades@", "hub:../x/y", "hub:me/a b", "hub:"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="hub:OWNER/NAME"):
        local_folder(Path(text))


def test_the_card_is_read_by_the_hub_s_own_library(tiny_run: Path, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    push(tiny_run, "me/facades", licence="cc-by-4.0", dry_run=tmp_path / "out")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"config.json", "model.safetensors", "README.md"}
    card = ModelCard.load(tmp_path / "out/README.md")
    assert (card.data.library_name, card.data.license, card.data.pipeline_tag) == (
        "diptych",
        "cc-by-4.0",
        "image-to-image",
    )
    assert "diptych translate hub:me/facades photo.png --out picture.png" in card.text
    assert load(tmp_path / "out", device="cpu").step == load(tiny_run, device="cpu").step


def test_metrics_are_in_the_card_and_samples_only_when_asked(tiny_run: Path, tiny_pairs: Path, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    assert cli.run(["evaluate", str(run), "--data", str(tiny_pairs), "--metrics", "l1"]) == 0
    push(run, "me/facades", licence="mit", with_samples=True, dry_run=tmp_path / "out")
    assert (tmp_path / "out/samples.png").exists()
    [result] = ModelCard.load(tmp_path / "out/README.md").data.eval_results or []
    assert result.metric_name.startswith("l1")
    measured = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])["metrics"]
    assert result.metric_value == measured[result.metric_name]


def test_mistakes_are_one_line(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").touch()
    for arguments, line in (
        ([str(tmp_path), "me/x", "--licence", "mit"], "is not a run"),
        ([str(tiny_run), "facades", "--licence", "mit"], "hub:OWNER/NAME"),
        ([str(tiny_run), "me/x@v1", "--licence", "mit"], "a revision comes of itself"),
        ([str(tiny_run), "me/x"], "--licence"),
        ([str(tiny_run), "me/x", "--licence", "mit", "--dry-run", str(tmp_path / "mine")], "exists already"),
    ):
        assert cli.run(["push", *arguments]) == 2
        assert line in capsys.readouterr().err
    assert Address.parse("me/facades").revision is None
