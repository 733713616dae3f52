"""`translate --engine ray`: the same files as without it, also where processes and machines end in the middle."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych import cli
from diptych.model import load
from diptych.pipeline import Way
from diptych.ray_pipeline import There
from diptych.runtimes import packages
from diptych.translate import translate

COUNT = 24
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: diptych[ray]")
WAY = Way("none", None, False, None, False, 1, 1)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    for number in range(COUNT):
        file = folder / ("even" if number % 2 == 0 else "odd") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 24, 3)).astype(np.uint8)).save(file)
    return folder


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.png"))}


def run(program: str, *words: Path | str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own: Ray has one cluster a process, and prints what pytest would take for warnings."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        env={**surroundings, **environment},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    if "no cluster starts here" in done.stderr:
        pytest.skip("Ray did not start within its 30 seconds: the machine is busy")
    return done


# ---- without Ray


def test_without_ray_there_is_one_line(
    tiny_run: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    assert cli.run(["translate", str(tiny_run), str(corpus), "--out", str(tmp_path / "out"), "--engine", "ray"]) == 2
    assert "--engine ray: needs ray; install it: pip install 'diptych[ray]'" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"processes": 2}, "--processes: is for --engine ray"),
        ({"engine": "ray", "processes": 0}, "--processes 0: a number of processes, 1 or more"),
        ({"engine": "ray", "stochastic": True}, "--stochastic: draws for one picture after the other"),
        ({"engine": "ray", "device": "cuda:1"}, "--device cuda:1: the engine gives each process its GPU; give cuda"),
    ],
)
def test_what_the_engine_does_not_do(
    tiny_run: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], line: str
) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: True)
    with pytest.raises(ValueError, match=line):
        translate(tiny_run, corpus, out=tmp_path / "out", **given)


def test_a_machine_that_sees_something_else_says_so(
    tiny_run: Path, two_way_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it wrote would be lost, or made by another model."""
    monkeypatch.chdir(tmp_path)
    model = load(tiny_run, device="cpu")
    there = partial(There, partial(load, tiny_run, device="cpu"))
    with pytest.raises(ValueError, match=r"does not see .* all machines need model, inputs and --out under the same"):
        there(model.fingerprint, WAY, None, tmp_path, tmp_path / "out/not here")
    with pytest.raises(ValueError, match="does not see"):
        there(model.fingerprint, WAY, None, tmp_path / "no folder", tiny_run)
    with pytest.raises(ValueError, match="is another model; all machines need the same"):
        there(load(two_way_run, device="cpu").fingerprint, WAY, None, tmp_path, tiny_run)


# ---- with Ray

TRANSLATE = """
import sys
from diptych.translate import translate

def ended(done, total):
    global killing
    if done == 1:
        killing()

run, corpus, out = sys.argv[1:4]
given = {"out": out, "engine": "ray", "processes": 2, "skip_existing": True, "device": "cpu"}
"""
KILLED = (
    TRANSLATE.replace("import sys\n", "import sys\nimport psutil\n")
    + """
def killing():
    for process in psutil.Process().children(recursive=True):
        if "ray::_Process" in " ".join(process.cmdline()):
            process.kill()
            print("killed")

for problem in translate(run, corpus, failures=sys.argv[4], progress=ended, **given):
    print(problem)
"""
)
ALL_DONE = (
    TRANSLATE
    + """
print(translate(run, corpus, **given), "ray" in sys.modules)
"""
)


@needs_ray
def test_killed_processes_change_nothing(tiny_run: Path, corpus: Path, tmp_path: Path) -> None:
    """All that there are, after the first picture; a damaged file is skipped; then all is done, and Ray not even started."""
    (corpus / "odd/3.png").write_bytes(b"no picture")
    alone = translate(tiny_run, corpus, out=tmp_path / "alone", device="cpu")
    out = tmp_path / "out"
    done = run(KILLED, tiny_run, corpus, out, tmp_path / "failed.jsonl")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said.count("killed") >= 1
    assert [line for line in said if line != "killed"] == alone
    assert "Ray on this machine: 2 processes" in done.stderr
    assert pictures(out) == pictures(tmp_path / "alone")
    [line] = (tmp_path / "failed.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["picture"] == str(corpus / "odd/3.png")
    (corpus / "odd/3.png").unlink()
    again = run(ALL_DONE, tiny_run, corpus, out)
    assert again.stdout == "[] False\n", again.stderr
    assert "23 of 23 pictures are translated already; 0 to go" in again.stderr


SPREAD = """
import os, sys
from diptych.ray_engine import joined

def make():
    def double(portion):
        if 3 in portion:
            os._exit(1)
        return [2 * number for number in portion]
    return double

def refuse():
    raise ValueError("it does not see the model")

def fall():
    os._exit(1)

with joined(2) as cluster:
    begun = []
    given = {"processes": 2, "on_gpus": False, "begin": begun.extend}
    print(sorted((list(portion), answer) for portion, answer in cluster.spread(make, [[1, 2], [3, 4], [5]], **given)))
    print(begun.count(3), begun.count(5))
    cluster.end()  # else those that come have no room
    for wrong in (refuse, fall):
        try:
            print(list(cluster.spread(wrong, [[1], [2]], **given)))
        except ValueError as error:
            print(error)
        cluster.end()
"""


@needs_ray
def test_one_that_kills_its_process_is_given_up_and_a_mistake_is_raised_here(tmp_path: Path) -> None:
    done = run(SPREAD)
    assert done.returncode == 0, done.stderr
    answers, counts, refused, fallen = done.stdout.splitlines()  # and nothing of Ray's
    assert answers == "[([1, 2], [2, 4]), ([3], None), ([4], [8]), ([5], [10])]"
    assert counts == "3 1"
    assert refused == "it does not see the model"
    assert "processes in a row ended while they opened the model; is there enough memory?" in fallen
    assert done.stderr == ""


@needs_ray
def test_ctrl_c_ends_it_and_plain_translate_goes_on(tiny_run: Path, corpus: Path, tmp_path: Path) -> None:
    out, words = (
        tmp_path / "out",
        ["translate", str(tiny_run), str(corpus), "--skip-existing", "--device", "cpu", "--out"],
    )
    started = subprocess.Popen(
        [sys.executable, "-m", "diptych", *words, str(out), "--engine", "ray", "--processes", "1"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not pictures(out) and started.poll() is None:
        time.sleep(0.01)
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does
    _, errors = started.communicate(timeout=120)
    if "no cluster starts here" in errors:
        pytest.skip("Ray did not start within its 30 seconds: the machine is busy")
    assert started.returncode == 130
    assert errors.splitlines()[-1] == "diptych: interrupted"
    assert "Traceback" not in errors
    assert cli.run([*words, str(out)]) == 0
    assert cli.run([*words[:4], "--device", "cpu", "--out", str(tmp_path / "alone")]) == 0
    assert pictures(out) == pictures(tmp_path / "alone")
