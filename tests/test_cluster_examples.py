"""The examples for clusters: their shells run, and the commands in them are ours. No scheduler is there to be asked."""

import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from diptych import cli
from diptych.data.builtin import facades

CLUSTER = Path(__file__).parents[1] / "examples/cluster"
QUICK = ["--size", "32", "--steps", "2", "--device", "cpu", "--method.width", "2", "--method.generator", "resnet6"]


@pytest.fixture
def home(tmp_path: Path, two_way_run: Path) -> Path:
    """A home with all that the examples name, and programs in its bin/ that write down how they are called."""
    home = tmp_path / "home"
    facades.write(home / "horse2zebra", size=32, train=4, val=2)
    shutil.copytree(two_way_run, home / "runs/h2z")
    shutil.copytree(home / "horse2zebra/train", home / "corpus")
    noting = f'printf "%s\\n" "$@" > {home}/called'
    programs = {"srun": 'exec "$@"', "scontrol": "echo first-node", "diptych": noting, "torchrun": noting}
    put_programs(home, programs)
    return home


def put_programs(home: Path, actions: dict[str, str]) -> None:
    """Shell scripts in the home's bin/, by their names."""
    (home / "bin").mkdir(exist_ok=True)
    for name, action in actions.items():
        program = home / "bin" / name
        program.write_text(f"#!/bin/bash\n{action}\n", encoding="utf-8")
        program.chmod(0o755)


def called(home: Path, command: list[str], **environment: str) -> list[str]:
    """How a script calls the first program that it comes to."""
    path = f"{home}/bin:{os.environ['PATH']}"
    subprocess.run(command, env={"HOME": str(home), "PATH": path, **environment}, check=True)
    return (home / "called").read_text(encoding="utf-8").splitlines()


def container(file: Path, home: Path) -> dict[str, Any]:
    """The only container of a job, with its volume in the place of the home."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed; the examples for Kubernetes are not read")
    found = yaml.safe_load(file.read_text(encoding="utf-8").replace("/data", str(home)))
    spec = found["spec"].get("template") or found["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]
    [only] = spec["spec"]["containers"]
    return dict(only)


def test_a_training_under_slurm(home: Path) -> None:
    script = str(CLUSTER / "slurm-train.sh")
    nodes = {"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NNODES": "2", "SLURM_JOB_ID": "7"}
    words = called(home, ["bash", script], **nodes)
    at = words.index("diptych")
    assert "first-node:29500" in words[:at]
    shutil.rmtree(home / "runs")
    assert cli.run([*words[at + 1 :], *QUICK, "--dry-run"]) == 0


@pytest.mark.parametrize("time_is_over", [True, False])
def test_a_job_whose_time_is_over_is_queued_again_and_a_failed_one_is_not(home: Path, time_is_over: bool) -> None:
    """srun stands for a training that a signal stops, or that fails by itself."""
    runs, requeued = home / "running", home / "requeued"
    programs = {
        "srun": f"echo $$ >{runs}.new; mv {runs}.new {runs}; {'exec sleep 60' if time_is_over else 'exit 1'}",
        "scancel": f"kill -s TERM $(cat {runs})",
        "scontrol": f'if [ "$1" = requeue ]; then echo "$2" >{requeued}; else echo first-node; fi',
    }
    put_programs(home, programs)
    job = {"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NNODES": "2", "SLURM_JOB_ID": "7", "HOME": str(home)}
    job["PATH"] = f"{home}/bin:{os.environ['PATH']}"
    with subprocess.Popen(["bash", CLUSTER / "slurm-train.sh"], env=job) as script:
        while time_is_over and not runs.exists():
            time.sleep(0.01)
        if time_is_over:
            script.send_signal(signal.SIGTERM)
        status = script.wait()
    assert requeued.exists() == time_is_over
    assert status != 0


def test_a_training_in_kubernetes(home: Path) -> None:
    job = container(CLUSTER / "kubernetes-train.yaml", home)
    words = called(home, [*job["command"], *job["args"]])
    shutil.rmtree(home / "runs")
    assert cli.run([*words[words.index("diptych") + 1 :], *QUICK, "--dry-run"]) == 0


def test_a_translation_by_gnu_parallel(home: Path) -> None:
    """With a stand-in that has one part to do; the function of the script reaches it as it reaches parallel."""
    put_programs(home, {"parallel": "translate 1"})
    words = called(home, ["bash", str(CLUSTER / "parallel-translate.sh")])
    assert cli.run([*words, "--device", "cpu"]) == 0
    assert len(list((home / "translated").glob("*.png"))) == 1


def test_a_translation_by_kuberay(home: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed; the examples for Kubernetes are not read")
    job = yaml.safe_load((CLUSTER / "kuberay-translate.yaml").read_text(encoding="utf-8").replace("/data", str(home)))
    words = shlex.split(job["spec"]["entrypoint"])
    at = words.index("--engine")
    assert words[at : at + 6] == ["--engine", "ray", "--device", "cuda", "--processes", "4"]
    assert job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"] == 4
    assert cli.run([*words[1:at], *words[at + 6 :], "--device", "cpu"]) == 0
    assert len(list((home / "translated").glob("*.png"))) == 4


@pytest.mark.parametrize("where", ["slurm-translate.sh", "kubernetes-translate.yaml"])
def test_a_part_of_a_translation(home: Path, where: str) -> None:
    if where.endswith(".sh"):
        command = ["bash", str(CLUSTER / where)]
    else:
        job = container(CLUSTER / where, home)
        command = [*job["command"], *job["args"]]
    words = called(home, command, SLURM_ARRAY_TASK_ID="1", JOB_COMPLETION_INDEX="1")
    assert cli.run([*words, "--device", "cpu"]) == 0
    assert len(list((home / "translated").glob("*.png"))) == 1
    assert (home / "failed/1.jsonl").read_text(encoding="utf-8") == ""
