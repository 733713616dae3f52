"""Several processes of one training, on CPUs through gloo. Starting torch takes seconds: one start serves many promises."""

import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from diptych import cli
from diptych.data.builtin import facades
from diptych.data.datasets import ArrayDataset
from diptych.data.loaders import CachedDataset, TrainLoader
from diptych.devices import choose_device
from diptych.images.size import Size
from diptych.images.spec import ImageSpec
from diptych.train import train
from diptych.training import checkpoint
from diptych.training.run import Run

TEAM = Path(__file__).parent / "team.py"
Task = dict[str, Any]
WHOLE = ("validated", "a phase that ends by the loss")
"""Variants that are not stopped and continued."""
Ended = tuple[Path, list[dict[str, Task]]]
QUICK: dict[str, Any] = {
    "size": 32,
    "steps": 7,
    "batch_size": 2,
    "log_every": 3,
    "sample_every": 100,
    "checkpoint_every": 3,
    "device": "cpu",
    "precision": "fp32",
    "workers": 1,
}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "batch norm, dropout, moving average, all that steadies D": (
        "pairs",
        {
            "ema": 0.9,
            "method": {"patch": 16, "spectral_norm": True, "r1": 1.0, "augment": True, "statistics": "running"},
        },
    ),
    "one full pool": (
        "pairs",
        {"name": "cyclegan", "clip": 0.5, "method": {"patch": 16, "generator": "resnet6", "pool_size": 3}},
    ),
    "one way": (
        "pairs",
        {
            "name": "cut",
            "method": {"variant": "fastcut", "generator": "resnet6", "patch": 16, "patches": 9, "projection": 4},
        },
    ),
    "colour, one picture left out": ("photos", {"name": "colorize", "method": {"patch": 16}}),
    "three phases": ("photos", {"name": "glcic", "method": {"t_c": 2, "t_d": 2, "balance": True}}),
    "out of noise": ("classes", {"name": "cgan", "size": 16, "method": {"noise": 5}}),
    "a phase that ends by the loss": (
        "photos",
        {"name": "glcic", "steps": 12, "method": {"t_c": 0, "t_d": 12, "t_d_until": 100.0, "optimizer": "adam"}},
    ),
    "validated": ("pairs", {"validate_every": 1, "patience": 1, "lr": 0.5, "method": {"patch": 16}}),
}
"""Where its pictures are, and the settings of a run."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return int(one.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error", **more}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, tiny_pairs: Path, tiny_photos: Path, tiny_classes: Path) -> Ended:
    """How each of many trainings ended in each of two processes, which were started once; and their folder."""
    folder = tmp_path_factory.mktemp("team")
    places = {"pairs": tiny_pairs, "photos": tiny_photos, "classes": tiny_classes}
    tasks = list[Task]()

    def add(label: str, out: str, data: str, settings: Mapping[str, Any], disturbance: Task | None = None) -> None:
        own = {"width": 2, **settings.get("method", {})}
        given = {**QUICK, **settings, "data": str(places[data]), "method": own}
        tasks.append({"label": label, "out": str(folder / out), "settings": given, **(disturbance or {})})

    for label, (data, settings) in VARIANTS.items():
        add(f"{label}: whole", f"{label}: whole", data, settings)
        if label not in WHOLE:
            add(f"{label}: stopped", f"{label}: parts", data, settings, {"signal": [1, 4]})
            add(f"{label}: parts", f"{label}: parts", data, settings)
    add("another number", "another", *VARIANTS["one full pool"], {"signal": [1, 4]})
    simple = VARIANTS["one way"]
    add("not a number", "nan", *simple, {"nan": [1, 4]})
    add("other weights", "other", *simple, {"other weights": [1, 4]})
    add("full disk", "full", *simple, {"full disk": True})
    add("no data", "none", "pairs", {"name": "pix2pix", "data_a": "nowhere"})
    add("an odd batch", "odd", "pairs", {"name": "pix2pix", "batch_size": 3})
    add("after all this", "after", *simple)
    (folder / "tasks.json").write_text(json.dumps(tasks), encoding="utf-8")
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())}
    processes = [
        subprocess.Popen(
            [sys.executable, str(TEAM), str(folder)],
            env=environment(RANK=str(rank), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="2", **meeting),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        errors = [process.communicate()[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    return folder, [json.loads((folder / f"process-{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]


def test_two_processes_with_one_picture_each_learn_what_one_learns_with_two(ended: Ended) -> None:
    """To the last bits of double precision, where the mathematics is the same; float32 and Adam make rounding visible."""
    here = runpy.run_path(str(TEAM))
    for label in here["EXACT"]:
        alone, together = here["learnt"](label, 0, 1), load_file(ended[0] / f"{label}.safetensors")
        before = here["learnt"](label, 0, 1, steps=0)
        assert any(not torch.equal(before[name], alone[name]) for name in alone)
        for name, weights in alone.items():
            torch.testing.assert_close(together[name], weights, rtol=0, atol=1e-12)


def last_state(run: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint.list_checkpoints(run / "checkpoints")[-1][1] / "training.safetensors")


@pytest.mark.parametrize("label", VARIANTS)
def test_all_processes_learn_the_same_and_resume_bit_for_bit(ended: Ended, label: str) -> None:
    folder, (first, second) = ended
    whole = first[f"{label}: whole"]
    assert whole == second[f"{label}: whole"]
    assert (whole["status"], whole["line"]) == (0, "")
    if label in WHOLE:
        done = checkpoint.list_checkpoints(folder / f"{label}: whole/checkpoints")[-1][0]
        assert done == 12 if label != "validated" else 2 <= done < 7  # out of patience
        return
    stopped = first[f"{label}: stopped"]  # by a signal to the second process alone
    assert stopped["line"] == "stopped at the checkpoint of step 4; the same command continues"
    assert stopped["state"] == second[f"{label}: stopped"]["state"]
    assert first[f"{label}: parts"] == second[f"{label}: parts"]
    one, other = last_state(folder / f"{label}: whole"), last_state(folder / f"{label}: parts")
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_a_run_of_two_processes_goes_on_in_one(ended: Ended) -> None:
    """The same pictures, pool and weights: its losses stay near those of a run that had two all the way."""
    folder, _ = ended
    [task] = [one for one in json.loads((folder / "tasks.json").read_text()) if one["label"] == "another number"]
    settings = {key: value for key, value in task["settings"].items() if key != "name"}
    run = train(task["settings"]["name"], out=task["out"], console=Console(quiet=True), **settings)
    assert step_of(run.path) == 7
    *_, alone = run.read_log()
    *_, together = Run.open(folder / "one full pool: whole").read_log()
    assert (together["processes"], "processes" in alone) == (2, False)
    for name, loss in together["losses"].items():
        assert alone["losses"][name] == pytest.approx(loss, rel=0.05), name
    state, other = last_state(run.path), last_state(folder / "one full pool: whole")
    assert state["method/pool_X.stored"] == other["method/pool_X.stored"] == 3


def test_what_ends_one_process_ends_all_with_one_line(ended: Ended) -> None:
    folder, (first, second) = ended
    lines = {
        "not a number": r"stopped before step 4: a loss or gradient is not finite .* the checkpoint of step 3 is kept",
        "other weights": r"other: the processes of this training have different weights",
        "full disk": "the disk is full",
        "no data": "data_a|--data",
        "an odd batch": r"--batch-size 3: the 2 processes of this training share every batch; .* such as 4",
    }
    for label, words in lines.items():
        assert first[label]["status"] == "ValueError", label
        assert re.search(words, first[label]["line"]), first[label]["line"]
        assert (second[label]["status"], second[label]["line"]) == (2, ""), label
    assert checkpoint.list_checkpoints(folder / "nan/checkpoints")[-1][0] == 3
    assert not (folder / "odd").exists()
    assert first["after all this"] == second["after all this"]


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_the_parts_of_a_batch_are_the_batch(tmp_path: Path, processes: int) -> None:
    """Whatever the number of processes, also over the seam of two epochs of unequal length."""
    pictures = (np.arange(7 * 3 * 4 * 4) % 256).astype(np.uint8).reshape(7, 4, 4, 3)
    datasets = list[CachedDataset]()
    for count in (7, 5):
        np.save(file := tmp_path / f"{count}.npy", pictures[:count])
        datasets.append(CachedDataset(ArrayDataset(file, (ImageSpec(3),)), Size.square(4)))

    def loader(share: tuple[int, int]) -> TrainLoader:
        given: dict[str, Any] = {"size": Size.square(4), "batch_size": 4, "flip": True, "seed": 1, "direction": "AtoB"}
        return TrainLoader(datasets, share=share, **given)

    whole = loader((0, 1))
    parts = [loader((rank, processes)) for rank in range(processes)]
    for step in range(5):
        of_all = [part.batch(step) for part in parts]
        for side, images in whole.batch(step).items():
            assert torch.equal(torch.cat([batch[side] for batch in of_all]), images)


# ---- as people start them


ARGUMENTS = (
    "train pix2pix --size 32 --load-scale 1 --batch-size 2 --checkpoint-every 10 --sample-every 100000 --device cpu "
    "--workers 1 --precision fp32 --method.width 2 --method.patch 16"
)


def arguments(data: Path, out: Path, *more: str) -> list[str]:
    return [*ARGUMENTS.split(), "--data", str(data), "--out", str(out), *more]


Started = Callable[[list[str]], subprocess.Popen[str]]


@pytest.fixture
def started() -> Iterator[Started]:
    """Starts Python with these arguments; what still runs after the test is killed, with all that it has started."""
    processes = list[subprocess.Popen[str]]()

    def call(command: list[str]) -> subprocess.Popen[str]:
        piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen([sys.executable, *command], env=environment(), **piped))
        return processes[-1]

    yield call
    for process in processes:
        if process.poll() is None:
            for one in [*psutil.Process(process.pid).children(recursive=True), process]:
                one.kill()
            process.communicate()


def step_of(run: Path) -> int:
    found = checkpoint.list_checkpoints(run / "checkpoints")
    return found[-1][0] if found else 0


def wait_for(run: Path, steps: int, process: subprocess.Popen[str]) -> None:
    while step_of(run) < steps:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    below = psutil.Process(process.pid).children(recursive=True)
    return [one for one in below if "diptych" in one.cmdline() and "train" in one.cmdline()]


def test_a_killed_process_is_started_again_a_signal_stops_all_and_the_same_command_goes_on(
    tmp_path: Path, tiny_pairs: Path, started: Started
) -> None:
    run = tmp_path / "run"
    again = ["--nproc-per-node", "2", "--max-restarts", "1", "--master-port", str(free_port()), "-m", "diptych"]
    elastic = started(["-m", "torch.distributed.run", *again, *arguments(tiny_pairs, run, "--steps", "100000")])
    wait_for(run, 10, elastic)
    killed_at = step_of(run)
    workers_of(elastic)[1].kill()
    wait_for(run, killed_at + 30, elastic)
    workers_of(elastic)[1].send_signal(signal.SIGTERM)
    errors = elastic.communicate()[1]
    [said] = re.findall(r"diptych: stopped at the checkpoint of step (\d+); the same command continues\n", errors)
    assert step_of(run) == int(said)

    more = ["--steps", str(int(said) + 1000), "--processes", "2"]
    ours = started(["-m", "diptych", *arguments(tiny_pairs, run, *more)])
    wait_for(run, int(said) + 10, ours)
    ours.send_signal(signal.SIGTERM)
    output, errors = ours.communicate()
    assert (ours.returncode, errors) == (
        130,
        f"diptych: stopped at the checkpoint of step {step_of(run)}; the same command continues\n",
    )
    assert "Traceback" not in output

    ours = started(["-m", "diptych", *arguments(tiny_pairs, run, *more)])
    wait_for(run, step_of(run) + 10, ours)
    workers_of(ours)[0].kill()
    errors = ours.communicate()[1]
    assert ours.returncode == 2
    assert re.fullmatch(r"diptych: process 1 of 2 was killed \(signal 9\), .* the same command goes on\n", errors), (
        errors
    )


def test_processes_stop_at_a_checkpoint_when_their_launcher_is_killed(
    tmp_path: Path, tiny_pairs: Path, started: Started
) -> None:
    run = tmp_path / "run"
    launcher = started(["-m", "diptych", *arguments(tiny_pairs, run, "--steps", "100000", "--processes", "2")])
    wait_for(run, 10, launcher)
    left = workers_of(launcher)
    assert len(left) == 2
    launcher.kill()
    _, left = psutil.wait_procs(left, 30)
    for one in left:
        one.kill()
    assert left == []
    said = f"diptych: stopped at the checkpoint of step {step_of(run)}; the same command continues\n"
    assert launcher.communicate()[1] == said


def test_a_damaged_picture_is_one_line(tmp_path: Path) -> None:
    facades.write(tmp_path / "data", size=32, train=4, val=2)
    damaged = sorted((tmp_path / "data/train").iterdir())[1]
    damaged.write_bytes(damaged.read_bytes()[:200])
    command = arguments(tmp_path / "data", tmp_path / "run", "--steps", "4", "--processes", "2")
    ended = subprocess.run(
        [sys.executable, "-m", "diptych", *command], env=environment(), capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert re.fullmatch(f"diptych: {re.escape(str(damaged))}: .*\n", ended.stderr), ended.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ("--processes 0", "--processes 0: a number of processes, 1 to 1024, or auto is expected"),
        ("--processes many", "--processes many: a number of processes, 1 to 1024, or auto is expected"),
        (
            "--processes 3",
            "--batch-size 2: the 3 processes of this training share every batch; give a multiple of 3, such as 3",
        ),
    ],
)
def test_what_cannot_be_started_is_one_line_at_once(
    tmp_path: Path,
    tiny_pairs: Path,
    capfd: pytest.CaptureFixture[str],
    more: str,
    line: str,
) -> None:
    assert cli.run(arguments(tiny_pairs, tmp_path / "run", "--steps", "4", *more.split())) == 2
    assert capfd.readouterr().err == f"diptych: {line}\n"
    assert not (tmp_path / "run").exists()


def test_several_processes_are_refused_on_windows(
    tmp_path: Path, tiny_pairs: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diptych.distributed.sys.platform", "win32")
    assert cli.run(arguments(tiny_pairs, tmp_path / "run", "--steps", "4", "--processes", "2")) == 2
    assert re.fullmatch(r"diptych: --processes 2: on Windows .* WSL, which is Linux\n", capfd.readouterr().err)


def test_several_processes_have_a_gpu_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(ValueError, match="--device mps: several processes train on cuda, a GPU each, or on cpu"):
        choose_device("mps", 0, 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    assert [choose_device("auto", number, 2) for number in range(2)] == [torch.device("cuda", n) for n in range(2)]
    with pytest.raises(ValueError, match="there are 2 GPUs for more processes"):
        choose_device("cuda", 2, 3)
    with pytest.raises(ValueError, match="--device cuda:1: several processes train on cuda, a GPU each"):
        choose_device("cuda:1", 0, 2)
