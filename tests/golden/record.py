"""Writes down what diptych does: the hashes of the variants, and small runs as an older version has left them.

    python tests/golden/record.py hashes    hashes.json; only where a change of behaviour is meant, and says so
    python tests/golden/record.py runs      runs/; only ever with the code of 2dcca31, which this version must go on from

Each is to be run with the source that is to be recorded first on PYTHONPATH.
"""

import json
import re
import shutil
import signal
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import tomli_w
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

sys.path.insert(0, str(Path(__file__).parent))

import runner
from runner import Pictures, Variant

import diptych

HERE = Path(__file__).parent
HASHES, RUNS = HERE / "hashes.json", HERE / "runs"
RECORDED = RUNS / "recorded.json"

STOPPED_AFTER = 5
FEW = {"sample_every": 12}  # sheets; these folders are committed
SMALL: dict[str, Any] = {**FEW, "size": runner.SMALL, "lr": 0.02}  # at the usual rate 12 steps leave all nearly grey
KEPT_RUNS = {
    "pix2pix": Variant("pix2pix", {"width": 1, "patch": 16}, "small facades", settings={**SMALL, "validate_every": 4}),
    "cyclegan": Variant(
        "cyclegan",
        {"width": 1, "patch": 16, "generator": "resnet6", "pool_size": 1},
        "small facades",
        settings={**SMALL, "direction": "BtoA"},
    ),
    "colorize": Variant("colorize", {"width": 1, "patch": 16}, "small shapes", settings=SMALL),
    "glcic": Variant(
        # Stopped between two looks at D's loss, which then ends D's time alone
        "glcic",
        {"t_c": 1, "t_d": 11, "t_d_until": 100.0},
        settings={**FEW, "batch_size": 2},
    ),
    "cgan": Variant("cgan", {"width": 1, "noise": 5}, settings={**SMALL, "batch_size": 4, "ema": 0.5}),
}
"""The small runs. What a method keeps in its checkpoint beside weights is in one of them: pools, sums, averages."""

PLAYERS = {"glcic": 1}  # optimiser steps of each of the first steps; two of all other methods


def used(model: Path, variant: Variant, pictures: Pictures, folder: Path) -> dict[str, Path]:
    """What a model makes of a picture of an odd size, or out of noise: files below the new `folder`, by their names."""
    folder.mkdir()
    if variant.method == "cgan":
        [file] = diptych.sample(model, out=folder / "translated.png", count=3, device="cpu")
        return {file.name: file}
    ways: dict[str, dict[str, Any]] = {"translated.png": {}}
    if variant.method == "cyclegan":
        ways["translated-back.png"] = {"direction": "AtoB"}  # it was trained the other way
    if variant.method == "glcic":
        ways = {"translated.png": {"mask": pictures.inputs["mask"]}}
    for name, way in ways.items():
        assert not diptych.translate(model, pictures.inputs["rgb 37x51"], out=folder / name, device="cpu", **way)
    return {name: folder / name for name in ways}


def all_used(run: Path, variant: Variant, pictures: Pictures, folder: Path) -> dict[str, Path]:
    """The same of a run, and of its model with weights that paint: after so few steps its own hardly do."""
    folder.mkdir()
    painting = runner.paint(run / "model", folder / "painting")
    own, painted = (used(model, variant, pictures, folder / f"of {model.name}") for model in (run, painting))
    return own | {name.replace("translated", "painted"): file for name, file in painted.items()}


def stop_after(steps: int, variant: Variant, pictures: Pictures, out: Path) -> None:
    """Ctrl-C during step `steps`, at the optimiser's first step of it."""
    asked = 0
    wanted = (steps - 1) * PLAYERS.get(variant.method, 2) + 1

    def count(*_: object) -> None:
        nonlocal asked
        asked += 1
        if asked == wanted:
            signal.raise_signal(signal.SIGINT)

    hook = register_optimizer_step_pre_hook(count)
    try:
        runner.train(variant, pictures, out)
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError(f"{out} was not stopped")
    finally:
        hook.remove()
    assert runner.last_checkpoint(out).parent.name == f"step-{steps:08d}"


def slimmed(run: Path, out: Path, place: Path, data: str) -> None:
    """A copy with the last checkpoint alone, and with nothing of the machine that it was made on."""
    last = runner.last_checkpoint(run).parent.name
    shutil.copytree(run, out, ignore=shutil.ignore_patterns("tensorboard", ".lock"))
    for checkpoint in (out / "checkpoints").iterdir():
        if checkpoint.name != last:
            shutil.rmtree(checkpoint)
    settings = tomllib.loads((out / "settings.toml").read_text(encoding="utf-8").replace(str(place), data))
    settings["run"]["command"] = f"diptych train {settings['method']['name']} --data {data} --out runs/{run.name}"
    (out / "settings.toml").write_text(tomli_w.dumps(settings), encoding="utf-8")
    log = (out / "log.jsonl").read_text(encoding="utf-8")
    (out / "log.jsonl").write_text(re.sub(r'"seconds": [\d.]+', '"seconds": 1.0', log), encoding="utf-8")


def write_hashes() -> None:
    """All variants, each on its own line."""
    with tempfile.TemporaryDirectory() as folder:
        runner.main(["--out", f"{folder}/hashes.json"])
        found = json.loads(Path(folder, "hashes.json").read_text(encoding="utf-8"))
    del found["source"]
    broken = [name for name, hashes in found["variants"].items() if "error" in hashes]
    assert not broken, broken
    HASHES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def write_runs() -> None:
    """Each method's run, finished and stopped half way, with what is expected of both."""
    torch.set_num_threads(1)
    shutil.rmtree(RUNS, ignore_errors=True)
    recorded: dict[str, Any] = {"kind": runner.kind(), "versions": runner.versions(), "runs": {}}
    with tempfile.TemporaryDirectory() as folder:
        pictures = Pictures(Path(folder, "pictures"))
        for name, variant in KEPT_RUNS.items():
            finished = runner.train(variant, pictures, Path(folder, name, "finished"))
            stopped = Path(folder, name, "stopped")
            stop_after(STOPPED_AFTER, variant, pictures, stopped)
            called = variant.data or runner.DATA[name]
            place, data = pictures(called)["data"], f"data/{called.split()[-1]}"
            for run in (finished, stopped):
                slimmed(run, RUNS / name / run.name, place, data)
            for kept, file in all_used(finished, variant, pictures, Path(folder, name, "used")).items():
                shutil.copyfile(file, RUNS / name / kept)
            runner.train(variant, pictures, stopped)  # goes on
            recorded["runs"][name] = {
                "checkpoint": runner.of_tensors(runner.last_checkpoint(finished)),
                "checkpoint after going on": runner.of_tensors(runner.last_checkpoint(stopped)),
                "measured": runner.measured(finished, variant, pictures),
            }
    RECORDED.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] not in (["hashes"], ["runs"]):
        sys.exit(__doc__)
    source = HERE.parents[1] / "src"
    if not Path(diptych.__file__).is_relative_to(source):  # an installed one comes first otherwise
        sys.exit(f"{diptych.__file__} is not the source at hand; put PYTHONPATH={source} before the command")
    {"hashes": write_hashes, "runs": write_runs}[sys.argv[1]]()
