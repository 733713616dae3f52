"""The loop: what it writes, how it stops, how it goes on."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file, save_file

import diptych
from diptych.data.builtin import facades
from diptych.files import atomic_file
from diptych.images.size import Size
from diptych.methods import METHODS
from diptych.methods.colorize import Colorize
from diptych.methods.pix2pix import Pix2Pix, Pix2PixSettings
from diptych.methods.settings import Shape, kebab
from diptych.model import load
from diptych.networks.layers import BatchNorm
from diptych.progress import TrainingProgress
from diptych.train import train
from diptych.training import checkpoint
from diptych.training.loop import Interrupted
from diptych.training.run import Run
from diptych.training.settings import Settings
from diptych.training.updater import Updater, learning_rate

Train = Callable[..., Run]


def last_state(run: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint.list_checkpoints(run / "checkpoints")[-1][1] / "training.safetensors")


def equal(a: Path, b: Path) -> bool:
    one, other = last_state(a), last_state(b)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_explains_itself(tiny_run: Path) -> None:
    assert {path.name for path in tiny_run.iterdir()} >= {
        "settings.toml",
        "log.jsonl",
        "tensorboard",
        "samples",
        "checkpoints",
        "model",
    }
    log = [json.loads(line) for line in (tiny_run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [entry["step"] for entry in log] == [4, 8, 12]
    assert set(log[0]) == {"step", "pictures", "seconds", "lr", "losses", "gradients", "doctor"}
    assert set(log[0]["losses"]) == {"G", "G_GAN", "G_L1", "D_real", "D_fake"}
    assert log[-1]["pictures"] == 12
    assert log[0]["seconds"] <= log[-1]["seconds"]
    assert [path.name for path in sorted((tiny_run / "samples").iterdir())] == [
        "step-00000006.png",
        "step-00000012.png",
        "titles.json",
    ]
    assert json.loads((tiny_run / "samples/titles.json").read_text(encoding="utf-8")) == ["input", "output", "target"]
    # rows: the two val pairs; columns: input, output, target; 2 pixels between
    with Image.open(tiny_run / "samples/step-00000012.png") as sheet:
        assert sheet.size == (3 * 32 + 4, 2 * 32 + 2)
    assert list((tiny_run / "tensorboard").glob("events.out.*"))


def test_tensorboard_holds_the_same_numbers(tiny_run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tiny_run / "tensorboard"))
    events.Reload()
    logged = {entry["step"]: entry["losses"]["G"] for entry in Run.open(tiny_run).read_log()}
    drawn = {event.step: event.value for event in events.Scalars("losses/G")}
    assert drawn == pytest.approx(logged)


def test_the_sample_sheet_shows_input_output_and_target(tiny_run: Path, tiny_pairs: Path) -> None:
    sheet = np.asarray(Image.open(tiny_run / "samples/step-00000012.png"))
    pair = np.asarray(Image.open(sorted((tiny_pairs / "val").iterdir())[0]))
    photo, labels = pair[:, :32], pair[:, 32:]
    assert np.array_equal(sheet[:32, :32], labels)  # BtoA: labels go in
    assert np.array_equal(sheet[:32, 68:], photo)


def test_learning_rate_by_hand() -> None:
    # 100 epochs constant + 100 epochs linear to 0, as CycleGAN's and pix2pix's code
    settings = Settings(steps=1000, lr=2e-4)
    assert [learning_rate(s, settings) for s in (0, 499, 500)] == [2e-4] * 3
    assert learning_rate(750, settings) == pytest.approx(1e-4)
    assert learning_rate(999, settings) == pytest.approx(2e-4 / 500)
    assert learning_rate(999, Settings(steps=1000, decay_start=1.0)) == 2e-4


def test_other_falls_of_the_learning_rate_are_those_of_torch() -> None:
    parameter = [torch.nn.Parameter(torch.zeros(1))]
    for policy, start, schedule in (
        ("cosine", 0.0, lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)),
        ("step", 0.3, lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 30)),
        ("constant", 0.5, lambda optimizer: torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)),
    ):
        optimizer = torch.optim.SGD(parameter, lr=1.0)
        scheduler = schedule(optimizer)
        settings = Settings.model_validate({"steps": 100, "lr": 1.0, "decay-start": start, "lr-policy": policy})
        for step in range(100):
            assert learning_rate(step, settings) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9), (
                policy,
                step,
            )
            optimizer.step()
            scheduler.step()


@pytest.mark.parametrize("kind", ["xavier", "kaiming", "orthogonal"])
def test_first_weights_of_another_kind(tmp_path: Path, train_tiny: Train, kind: str) -> None:
    runs = [
        train_tiny(tmp_path / name, lr=1e-12, **given).path for name, given in (("a", {}), ("b", {"init_type": kind}))
    ]
    ours, theirs = (load_file(run / "model/model.safetensors")["G.down.2.1.weight"] for run in runs)
    assert not torch.allclose(ours.std(), theirs.std(), rtol=0.2)


def test_the_rate_is_what_the_optimiser_uses(tiny_run: Path) -> None:
    rates = [entry["lr"] for entry in Run.open(tiny_run).read_log()]
    assert rates == pytest.approx([2e-4, 2e-4 * 5 / 6, 2e-4 * 1 / 6])


def test_a_finished_run_does_nothing(train_tiny: Train, tmp_path: Path) -> None:
    train_tiny(tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*.safetensors")}
    log = (tmp_path / "run/log.jsonl").read_bytes()
    train_tiny(tmp_path / "run")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*.safetensors")} == before
    assert (tmp_path / "run/log.jsonl").read_bytes() == log


@pytest.mark.parametrize("lost", ["never written", "older"])
def test_a_finished_run_gets_the_model_that_a_kill_kept_from_it(train_tiny: Train, tmp_path: Path, lost: str) -> None:
    """Killed between the last checkpoint and its model: the same command cuts the model."""
    run = tmp_path / "run"
    train_tiny(run, steps=8)
    older = (run / "model/model.safetensors").read_bytes()
    train_tiny(run, steps=12)
    whole = (run / "model/model.safetensors").read_bytes()
    (run / "model/model.safetensors").unlink()
    if lost == "older":
        (run / "model/model.safetensors").write_bytes(older)
    train_tiny(run, steps=12)
    assert (run / "model/model.safetensors").read_bytes() == whole


def test_a_model_without_checkpoints_is_not_trained_over(train_tiny: Train, tmp_path: Path) -> None:
    run = train_tiny(tmp_path / "run", steps=4).path
    shutil.rmtree(run / "checkpoints")
    before = (run / "model/model.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"run: .*checkpoints .*--fresh"):
        train_tiny(run, steps=4)
    assert (run / "model/model.safetensors").read_bytes() == before


def test_a_bad_val_picture_is_named_before_training(train_tiny: Train, tmp_path: Path) -> None:
    facades.write(tmp_path / "data", size=32, train=2, val=6)
    bad = tmp_path / "data/val/facade-0004.png"  # not one of the four that are sampled
    bad.write_bytes(bad.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"facade-0004\.png: "):
        train_tiny(tmp_path / "run", data=tmp_path / "data")
    assert not (tmp_path / "run").exists()


def test_a_run_inside_its_data_goes_on(train_tiny: Train, tmp_path: Path) -> None:
    """The sample sheets of a run are no training pictures."""
    facades.write(tmp_path / "data", size=32, train=3, val=0)
    flat = tmp_path / "data/train"
    for steps in (6, 12):
        train_tiny(flat / "run", data=flat, steps=steps)
    assert "3 side-by-side pairs" in (flat / "run/settings.toml").read_text(encoding="utf-8")


def test_a_foreign_folder_is_left_as_it_was_by_fresh_too(train_tiny: Train, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/dear.txt").touch()
    with pytest.raises(ValueError, match=r"letters: .*--out"):
        train_tiny(tmp_path / "letters", fresh=True)
    assert [path.name for path in (tmp_path / "letters").iterdir()] == ["dear.txt"]


def test_a_finished_run_can_be_made_longer(train_tiny: Train, tmp_path: Path) -> None:
    train_tiny(tmp_path / "run", steps=8)
    train_tiny(tmp_path / "run", steps=12)
    assert [entry["step"] for entry in Run.open(tmp_path / "run").read_log()] == [4, 8, 12]


def test_another_run_in_the_folder_is_refused(train_tiny: Train, tmp_path: Path) -> None:
    train_tiny(tmp_path / "run", steps=4)
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match=r"run: .*seed 0 .*1 .*--fresh"):
        train_tiny(tmp_path / "run", steps=4, seed=1)
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before


def test_fresh_sets_the_old_run_aside(train_tiny: Train, tmp_path: Path) -> None:
    train_tiny(tmp_path / "run", steps=4)
    train_tiny(tmp_path / "run", steps=4, seed=1, fresh=True)
    assert Run.open(tmp_path / "run").settings.seed == 1
    assert Run.open(tmp_path / "run.old-1").settings.seed == 0


def test_a_folder_of_other_things_is_refused(train_tiny: Train, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/dear.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(ValueError, match=r"letters: .*--out"):
        train_tiny(tmp_path / "letters")
    with pytest.raises(ValueError, match=r"dear\.txt: .*--out"):
        train_tiny(tmp_path / "letters/dear.txt")
    assert (tmp_path / "letters/dear.txt").read_text(encoding="utf-8") == "dear"


def test_other_pictures_are_another_run(train_tiny: Train, tmp_path: Path, tiny_pairs: Path) -> None:
    moved = tmp_path / "moved"
    (moved / "train").mkdir(parents=True)
    for path in sorted((tiny_pairs / "train").iterdir()):
        (moved / "train" / path.name).write_bytes(path.read_bytes())
    train_tiny(tmp_path / "run", steps=4)
    train_tiny(tmp_path / "run", steps=4, data=moved)  # the same pictures elsewhere are the same run
    next((moved / "train").iterdir()).unlink()
    with pytest.raises(ValueError, match=r"run: .*other pictures .*--fresh"):
        train_tiny(tmp_path / "run", steps=4, data=moved)


def test_dry_run_writes_nothing(train_tiny: Train, tmp_path: Path) -> None:
    train_tiny(tmp_path / "run", dry_run=True)
    assert not (tmp_path / "run").exists()


def test_not_finite_stops_before_the_optimiser_step(train_tiny: Train, tmp_path: Path) -> None:
    """A learning rate that explodes: the step is named, the checkpoint before it is kept and is finite."""
    with pytest.raises(ValueError, match=r"step \d+: .*not finite .*checkpoint of step \d+"):
        train_tiny(
            tmp_path / "run",
            steps=400,
            lr=1e6,
            checkpoint_every=1,
            log_every=1,
            method={
                "width": 2,
                "norm": "none",
                "adversarial": "none",
            },
        )
    state = last_state(tmp_path / "run")
    assert all(torch.isfinite(value).all() for value in state.values())


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_a_step_that_is_not_finite_moves_nothing(poison: str) -> None:
    method = Pix2Pix(Pix2PixSettings(width=1, patch=16), Shape(size=Size.square(16)))
    updater = Updater(method, Settings(steps=10), torch.device("cpu"))
    weight = next(method.G.parameters())
    before = {name: value.clone() for name, value in method.state_dict().items()}
    updater.begin(6)
    zero = weight.sum() * 0
    updater(
        "generator", zero + float("nan") if poison == "loss" else zero.sqrt()
    )  # the gradient of sqrt at 0 is not finite
    updater.begin(7)
    updater("generator", weight.sum())  # later steps leave the weights alone too
    assert all(torch.equal(method.state_dict()[name], value) for name, value in before.items())
    with pytest.raises(ValueError, match="step 7"):  # steps are counted from 1 for people
        updater.require_finite("")


def test_clip_bounds_the_gradient() -> None:
    method = Pix2Pix(Pix2PixSettings(width=1, patch=16), Shape(size=Size.square(16)))
    updater = Updater(method, Settings(steps=10, clip=0.5), torch.device("cpu"))
    updater.begin(0)
    updater("generator", 1e4 * sum(p.sum() for p in method.G.parameters()))  # type: ignore[arg-type]
    norm = torch.stack([p.grad.norm() for p in method.G.parameters() if p.grad is not None]).norm()
    assert norm.item() == pytest.approx(0.5, rel=1e-3)


def test_norms_are_means_since_they_were_asked_for() -> None:
    method = Pix2Pix(Pix2PixSettings(width=1, patch=16), Shape(size=Size.square(16)))
    updater = Updater(method, Settings(steps=10, clip=0.5), torch.device("cpu"))
    count = sum(p.numel() for p in method.G.parameters())
    updater.begin(0)
    for slope in (1.0, 3.0):
        updater("generator", slope * sum(p.sum() for p in method.G.parameters()))  # type: ignore[arg-type]
    assert updater.mean_norms() == {"generator": pytest.approx(2 * count**0.5, rel=1e-5)}  # before clipping
    assert updater.mean_norms() == {}


def test_moving_average_by_hand() -> None:
    method = Pix2Pix(Pix2PixSettings(width=1, patch=16), Shape(size=Size.square(16)))
    updater = Updater(method, Settings(steps=10, ema=0.9), torch.device("cpu"))
    name, weight = next((n, p) for n, p in method.named_parameters() if n.startswith("G."))
    want = weight.detach().clone()
    for step in range(3):
        updater.begin(step)
        updater("generator", sum(p.sum() for p in method.G.parameters()))  # type: ignore[arg-type]
        updater("discriminator", sum(p.sum() for p in method.D.parameters()))  # type: ignore[arg-type]
        want = 0.9 * want + 0.1 * weight.detach()
    assert torch.allclose(updater.ema[name], want)
    with updater.deployed_weights():
        assert torch.equal(weight, updater.ema[name])
    assert not torch.equal(weight, updater.ema[name])


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_model_has_the_statistics_of_its_own_weights(
    train_tiny: Train, tiny_pairs: Path, tmp_path: Path, ema: float
) -> None:
    """Measured by hand: what goes into the first batch norm when the model sees the training pictures one by one."""
    own = {"statistics": "running", "norm": "batch"}
    run = train_tiny(tmp_path / "run", ema=ema, steps=5, checkpoint_every=2, validate_every=3, method=own).path
    model = load(run, device="cpu")
    [norm, *_] = [layer for layer in model.translator.modules() if isinstance(layer, BatchNorm)]
    seen = list[torch.Tensor]()
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for file in sorted((tiny_pairs / "train").iterdir()):
        with Image.open(file) as pair:
            model(pair.crop((32, 0, 64, 32)))
    variance, mean = (
        torch.stack(values).mean(0) for values in zip(*(torch.var_mean(x, (0, 2, 3)) for x in seen), strict=True)
    )
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert torch.allclose(norm.running_mean, mean, atol=1e-4)
    assert torch.allclose(norm.running_var, variance, rtol=1e-3)
    state = last_state(run)
    model_tensors = load_file(run / "model/model.safetensors")
    assert all(
        torch.equal(state[f"method/{name}"], value) for name, value in model_tensors.items() if "running" in name
    )


@pytest.mark.parametrize(("name", "networks"), [("pix2pix", {"G"}), ("cyclegan", {"G", "F"})])
def test_ema_is_what_translate_opens(train_tiny: Train, tmp_path: Path, name: str, networks: set[str]) -> None:
    train_tiny(tmp_path / "run", name, ema=0.9)
    state = last_state(tmp_path / "run")
    model = load_file(tmp_path / "run/model/model.safetensors")
    assert all(torch.equal(model[name], state[f"ema/{name}"]) for name in model)
    train_tiny(tmp_path / "begun", name, ema=0.9, steps=1, checkpoint_every=1)
    begun = last_state(tmp_path / "begun")
    for network in networks:  # each is averaged, so it is neither the last weights nor nearly the first ones
        mine = [name for name in model if name.startswith(f"{network}.")]
        assert not all(torch.equal(model[name], state[f"method/{name}"]) for name in mine)
        assert not all(torch.allclose(model[name], begun[f"ema/{name}"], atol=1e-5) for name in mine)


def command(data: Path, out: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "diptych",
        "train",
        "pix2pix",
        "--data",
        str(data),
        "--out",
        str(out),
        "--size",
        "32",
        "--steps",
        "400",
        "--direction",
        "BtoA",
        "--method.width",
        "2",
        "--method.patch",
        "16",
        "--device",
        "cpu",
        "--checkpoint-every",
        "5",
        "--sample-every",
        "100",
        *more,
    ]


def wait_for_checkpoint(run: Path, process: subprocess.Popen[str]) -> None:
    import time

    while len(checkpoint.list_checkpoints(run / "checkpoints")) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_at_a_checkpoint(tmp_path: Path, tiny_pairs: Path, how: signal.Signals) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(command(tiny_pairs, run), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_for_checkpoint(run, process)
    process.send_signal(how)
    _, errors = process.communicate()
    step, _ = checkpoint.list_checkpoints(run / "checkpoints")[-1]
    assert process.returncode == 130
    assert errors == f"diptych: stopped at the checkpoint of step {step}; the same command continues\n"
    assert Run.open(run).read_log()[-1]["step"] == step  # nothing that was done is lost


STEPS, EVERY = 10, 4
KILLED: dict[str, Any] = {
    "precision": "fp32",  # whatever the CPU of the process that is killed would choose
    "size": 32,
    "steps": STEPS,
    "direction": "BtoA",
    "log_every": 1,
    "sample_every": 5,
    "checkpoint_every": EVERY,
    "device": "cpu",
    "workers": 1,
    "method": {"width": 2, "patch": 16},
}
MOMENTS = {
    "while the first file is written": ("os.rename /.partial-*.toml", 0),
    "before the first step": ("os.mkdir /tensorboard", 0),
    "before the first checkpoint": ("open /log.jsonl", 2),
    "while the first checkpoint is written": ("open /checkpoints/.partial-step-00000004/training.safetensors", 0),
    "right after the first checkpoint appeared": ("os.mkdir /model", 0),
    "while the first model is written": ("os.rename /model/.partial-*.safetensors", 0),
    "while a sample sheet is written": ("os.rename /samples/.partial-*.png", 0),
    "between two checkpoints": ("open /log.jsonl", 6),
    "while a later model is written": ("os.rename /model/.partial-*.safetensors", 1),
    "between the last checkpoint and its model": ("os.mkdir /model", 2),
}
"""The change to the run's folder, and which of its kind, right before which the process is killed."""


def without_seconds(run: Path) -> list[dict[str, Any]]:
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in Run.open(run).read_log()]


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the processes that are killed are forked, and watched")
def test_killed_at_any_moment(tmp_path: Path, tiny_pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kill -9 loses at most the steps since the last checkpoint, and the run ends bit for bit where it would have."""
    done_again: list[int] = []
    own = Pix2Pix.train_step

    def train_step(self: Pix2Pix, batch: Any, update: Any, step: int) -> Any:
        done_again.append(step)
        return own(self, batch, update, step)

    monkeypatch.setattr(Pix2Pix, "train_step", train_step)
    networks = {f"method.{name}": value for name, value in KILLED["method"].items()}
    flags = [f"--{kebab(name)}={value}" for name, value in {**KILLED, **networks}.items() if name != "method"]
    warm = subprocess.Popen(
        [sys.executable, "-m", "tests.campaigns.warm"],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with warm as one:
        assert one.stdin is not None
        assert one.stdout is not None

        def changes_until(run: Path, kill_at: int | None) -> list[str]:
            told, terminal = run.with_name(f"{run.name}.changes"), run.with_name(f"{run.name}.txt")
            arguments = ["train", "pix2pix", f"--data={tiny_pairs}", f"--out={run}", *flags]
            order: dict[str, Any] = {"arguments": arguments, "folder": str(tmp_path), "streams": {}}
            order |= {"terminal": str(terminal), "watched": str(run), "changes": str(told), "stop_at": kill_at}
            print(json.dumps(order), file=one.stdin, flush=True)
            one.stdout.readline()  # type: ignore[union-attr]
            ended = json.loads(one.stdout.readline())  # type: ignore[union-attr]
            assert ended["status"] == (0 if kill_at is None else signal.SIGKILL), terminal.read_text(encoding="utf-8")
            changes = told.read_text(encoding="utf-8").splitlines()
            return [re.sub(r"(?<=partial-)[0-9a-f]{8}|(?<=tfevents).*", "*", change) for change in changes]

        whole = tmp_path / "whole"
        changes = changes_until(whole, None)
        for number, (moment, (change, which)) in enumerate(MOMENTS.items()):
            run = tmp_path / str(number)
            kill_at = [place for place, one_of_all in enumerate(changes) if one_of_all == change][which]
            assert changes_until(run, kill_at) == changes[: kill_at + 1], moment
            logged = changes[:kill_at].count("open /log.jsonl")  # a line for each step
            reached = max((step for step, _ in checkpoint.list_checkpoints(run / "checkpoints")), default=0)
            assert logged - EVERY <= reached <= logged, moment

            done_again.clear()
            train("pix2pix", data=tiny_pairs, out=run, console=Console(quiet=True), **KILLED)
            assert done_again == list(range(reached, STEPS)), moment
            assert equal(run, whole), moment
            assert [entry["step"] for entry in without_seconds(run)] == list(range(1, STEPS + 1)), moment
            assert without_seconds(run) == without_seconds(whole), moment
            files = {path.relative_to(whole) for path in whole.rglob("*") if "tfevents" not in path.name}
            assert {path.relative_to(run) for path in run.rglob("*") if "tfevents" not in path.name} == files, moment
            for file in ("model/model.safetensors", "model/config.json", "samples/step-00000005.png"):
                assert (run / file).read_bytes() == (whole / file).read_bytes(), moment


def test_two_processes_cannot_train_in_one_folder(tmp_path: Path, tiny_pairs: Path, train_tiny: Train) -> None:
    from filelock import FileLock

    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run/.lock"), pytest.raises(ValueError, match="run: another process"):
        train_tiny(tmp_path / "run")


def test_a_second_ctrl_c_is_obeyed_at_once() -> None:
    from diptych.training.loop import _stop_signals

    with _stop_signals() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert issubclass(Interrupted, KeyboardInterrupt)


@pytest.mark.skipif(os.name == "nt", reason="its signals")
def test_a_closed_terminal_and_a_batch_system_stop_it_like_ctrl_c() -> None:
    from diptych.training.loop import _stop_signals

    for number in (signal.SIGHUP, signal.SIGXCPU):
        with _stop_signals() as stop:
            signal.raise_signal(number)
            assert stop.is_set()


@pytest.mark.skipif(os.name == "nt", reason="its signals")
def test_nohup_lets_it_go_on() -> None:
    from diptych.training.loop import _stop_signals

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with _stop_signals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, happens: Callable[[], object]) -> None:
    """Makes something happen right before a step of pix2pix."""
    own = Pix2Pix.train_step

    def train_step(self: Pix2Pix, batch: Any, update: Any, at: int) -> Any:
        if at == step:
            happens()
        return own(self, batch, update, at)

    monkeypatch.setattr(Pix2Pix, "train_step", train_step)


def test_without_its_folder_tensorboard_ends_and_the_training_goes_on(
    tmp_path: Path, tiny_pairs: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    at_step(monkeypatch, 5, lambda: shutil.rmtree(run / "tensorboard"))
    train("pix2pix", data=tiny_pairs, out=run, console=Console(width=1000), **KILLED)
    printed, errors = capfd.readouterr()
    assert errors == ""
    [line] = [line for line in printed.splitlines() if "tensorboard" in line]
    assert (
        line
        == f"{run}/tensorboard: cannot be written to (No such file or directory); the training goes on without TensorBoard"
    )
    assert Run.open(run).read_log()[-1]["step"] == STEPS


@pytest.mark.parametrize("how", ["renamed", "removed", "a file"])
def test_a_run_that_is_renamed_stops_and_goes_on_by_its_new_name(
    tmp_path: Path, tiny_pairs: Path, train_tiny: Train, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved"
    given = {**KILLED, "data": tiny_pairs, "validate_every": 2}

    def happens() -> None:
        run.rename(moved)
        if how == "removed":
            shutil.rmtree(moved)
        if how == "a file":
            run.touch()

    with monkeypatch.context() as context:
        at_step(context, 5, happens)
        with pytest.raises(ValueError, match=r"run: is no folder any more; .* new name as --out"):
            train_tiny(run, **given)
    assert run.exists() == (how == "a file")  # a folder in its place would not be a run, and be refused
    if how != "removed":
        assert [path.name for path in (moved / "checkpoints").iterdir()] == ["step-00000004"]
        assert [entry["step"] for entry in train_tiny(moved, **given).read_log()] == list(range(1, STEPS + 1))


def content(folder: Path) -> dict[str, bytes]:
    """All files by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.skipif(os.name == "nt", reason="links")
@pytest.mark.parametrize("place", ["", "samples", "checkpoints", "model", "tensorboard", "log.jsonl"])
def test_a_link_that_comes_while_it_trains_is_not_written_through(
    tmp_path: Path, tiny_pairs: Path, train_tiny: Train, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    run, somebodys = tmp_path / "run", tmp_path / "somebodys"
    for name in ("log.jsonl", "samples/step-00000004.png", "checkpoints/step-00000004/training.safetensors", "model/x"):
        (somebodys / name).parent.mkdir(parents=True, exist_ok=True)
        (somebodys / name).write_text("words")
    before = content(somebodys)

    def happens() -> None:
        (run / place).rename(tmp_path / "moved")
        (run / place).symlink_to(somebodys / "log.jsonl" if place == "log.jsonl" else somebodys)

    given = {**KILLED, "data": tiny_pairs, "validate_every": 2}
    at_step(monkeypatch, 5, happens)
    if place == "tensorboard":  # a view, without which the training goes on
        train_tiny(run, **given)
    else:
        with pytest.raises(ValueError, match=r"is a link, which was none when this began"):
            train_tiny(run, **given)
    assert content(somebodys) == before


@pytest.mark.skipif(os.name == "nt", reason="links")
def test_checkpoints_on_another_disk_stay_there(tmp_path: Path, train_tiny: Train) -> None:
    run, disk = train_tiny(tmp_path / "run", steps=4).path, tmp_path / "disk"
    (run / "checkpoints").rename(disk)
    (run / "checkpoints").symlink_to(disk)
    train_tiny(run, steps=8)
    assert (disk / "step-00000008").is_dir()
    (disk / "letter.txt").touch()
    with pytest.raises(ValueError, match=r"checkpoints: is a link to a folder with other files .*\(letter.txt\)"):
        train_tiny(run, steps=12)


@pytest.mark.skipif(os.name == "nt", reason="links")
def test_what_killed_processes_left_goes_and_nothing_else(tmp_path: Path, train_tiny: Train) -> None:
    run, elsewhere = train_tiny(tmp_path / "run", steps=4, validate_every=4).path, tmp_path / "elsewhere"
    left = [
        ".partial-01234567.toml",
        ".partial-01234567.html",
        "model/.partial-01234567.json",
        "model/.tmpAbC123",  # of safetensors
        "model-best/.partial-01234567.safetensors",
        "samples/.partial-01234567.png",
        "checkpoints/.partial-01234567-step-00000008/training.safetensors",
        "checkpoints/.partial-01234567-step-00000008/.tmpAbC123",
        "checkpoints/.partial-step-00000008/training.safetensors",  # of version 0.1
    ]
    kept = [
        "results/.partial-val/results.jsonl",  # an evaluation may be writing there
        "checkpoints/.partial-01234567-step-00000012/notes.txt",
        "checkpoints/.partial-facades/notes.txt",
        "model/partial-01234567.json",
        "model/.tmp-notes",
        "model-mine/notes.txt",
    ]
    for name in (*left, *kept):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("half")
    elsewhere.mkdir()
    (elsewhere / ".partial-01234567.json").write_text("somebody's")
    (run / "model/link").symlink_to(elsewhere, target_is_directory=True)
    (run / "checkpoints/.partial-01234567-step-00000016").symlink_to(elsewhere, target_is_directory=True)
    with atomic_file(run / "index.html") as beside:  # a report is being drawn
        train_tiny(run, steps=8, validate_every=4)
        assert beside.exists()
    there = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert not there & set(left)
    assert there >= set(kept)
    assert (elsewhere / ".partial-01234567.json").exists()
    assert {path.name for path in (run / "checkpoints").iterdir() if path.is_dir() and not path.is_symlink()} == {
        "step-00000004",
        "step-00000008",
        ".partial-01234567-step-00000012",
        ".partial-facades",
    }


# ---- two sets without pairs


@pytest.fixture
def two_sets(tmp_path: Path) -> Path:
    """Five horses and two zebras of two sizes; one of each held out."""
    for side, level, count in (("zebras", 200, 2), ("horses", 60, 5)):
        for split, first in (("train", 0), ("val", count)):
            (tmp_path / f"sets/{side}/{split}").mkdir(parents=True)
            for number in range(first, first + (count if split == "train" else 1)):
                picture = np.full((36 + 4 * number, 40, 3), level + number, np.uint8)
                Image.fromarray(picture).save(tmp_path / f"sets/{side}/{split}/{number}.png")
    return tmp_path / "sets"


def test_two_sets_of_any_names_train(two_sets: Path, train_tiny: Train, tmp_path: Path) -> None:
    run = train_tiny(tmp_path / "run", "cyclegan", data=two_sets, direction="AtoB", steps=0, epochs=2).path
    found = tomllib.loads((run / "settings.toml").read_text(encoding="utf-8"))["run"]["found"]
    a, b = found.split("; ")
    assert a.startswith(f"A: 5 pictures in {two_sets / 'horses/train'} (A and B in the order of their names), ")
    assert b.startswith(f"B: 2 pictures in {two_sets / 'zebras/train'} (A and B in the order of their names), ")
    assert Run.open(run).settings.steps == 10  # an epoch is the larger set (001-3)
    sheet = np.asarray(Image.open(sorted((run / "samples").glob("*.png"))[-1]))
    assert sheet.shape[:2] == (32, 8 * 32 + 7 * 2)
    assert set(sheet[:, :32].flatten()) == {65}  # the held-out horse is x
    assert set(sheet[:, 4 * 34 : 4 * 34 + 32].flatten()) == {202}  # the held-out zebra is y


def test_two_folders_train_and_go_on(two_sets: Path, train_tiny: Train, tmp_path: Path) -> None:
    places = {"data_a": two_sets / "zebras", "data_b": two_sets / "horses"}
    run = train_tiny(tmp_path / "run", "cyclegan", **places, steps=4).path
    about = tomllib.loads((run / "settings.toml").read_text(encoding="utf-8"))["run"]
    assert (about["data-a"], about["data-b"]) == (str(two_sets / "zebras"), str(two_sets / "horses"))
    assert about["found"].startswith(f"A: 2 pictures in {two_sets / 'zebras/train'}, ")
    train_tiny(run, "cyclegan", **places, steps=8)
    assert [entry["step"] for entry in Run.open(run).read_log()] == [4, 8]
    with pytest.raises(ValueError, match=r"run: .*other pictures"):  # A and B swapped are other pictures
        train_tiny(run, "cyclegan", data_a=places["data_b"], data_b=places["data_a"], steps=8)


def test_pairs_in_two_folders_train(train_tiny: Train, tmp_path: Path) -> None:
    for side in ("photos", "labels"):
        (tmp_path / side).mkdir()
        for number in range(2):
            Image.fromarray(np.full((32, 32, 3), number, np.uint8)).save(tmp_path / side / f"{number}.png")
    run = train_tiny(tmp_path / "run", data_a=tmp_path / "photos", data_b=tmp_path / "labels", steps=2)
    assert "2 pairs in two folders" in (run.path / "settings.toml").read_text(encoding="utf-8")


def test_a_set_of_one_picture_trains(train_tiny: Train, tmp_path: Path) -> None:
    for side in "ab":
        (tmp_path / side).mkdir()
        Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(tmp_path / side / "0.png")
    Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(tmp_path / "b" / "1.png")
    train_tiny(tmp_path / "run", "cyclegan", data_a=tmp_path / "a", data_b=tmp_path / "b", steps=3)


@pytest.mark.parametrize("given", [{}, {"data_a": "x"}, {"data": "x", "data_a": "y", "data_b": "z"}])
def test_pictures_are_said_once(given: dict[str, str], tmp_path: Path) -> None:
    from diptych.train import train

    with pytest.raises(ValueError, match=r"--data .*--data-a .*--data-b"):
        train("cyclegan", out=tmp_path / "run", **given)  # type: ignore[arg-type]


def test_research_tfrecords_train(research_pictures: Path, train_tiny: Train, tmp_path: Path) -> None:
    run = train_tiny(tmp_path / "run", "cyclegan", data=research_pictures / "tfrecords", steps=2)
    found = tomllib.loads((run.path / "settings.toml").read_text(encoding="utf-8"))["run"]["found"]
    assert re.search(r"A: 40 pictures of 2 TFRecord files in \S+monet_tfrec .*; B: 40 pictures .*photo_tfrec", found)
    assert "256x256" in found


@pytest.mark.skipif(sys.platform != "linux", reason="other systems know no such names")
def test_folders_whose_names_are_no_unicode(train_tiny: Train, tmp_path: Path) -> None:
    sides = [Path(os.fsdecode(os.fsencode(tmp_path) + name)) for name in (b"/s\xff1", b"/s\xff2")]
    for side in sides:
        side.mkdir()
        Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(side / "0.png")
    for steps in (1, 2):
        run = train_tiny(tmp_path / "run", "cyclegan", data_a=sides[0], data_b=sides[1], steps=steps).path
    assert "s?1" in (run / "settings.toml").read_text(encoding="utf-8")


# ---- single pictures, of which grey ones are of no use for colouring


def about(run: Path) -> dict[str, Any]:
    values: dict[str, Any] = tomllib.loads((run / "settings.toml").read_text(encoding="utf-8"))["run"]
    return values


def test_grey_pictures_are_noticed_named_and_left_out(tiny_photos: Path, tmp_path: Path) -> None:
    said = io.StringIO()
    settings: dict[str, Any] = {"size": 32, "epochs": 2, "device": "cpu", "method": {"width": 2, "patch": 16}}
    run = train("colorize", data=tiny_photos, out=tmp_path / "run", console=Console(file=said), **settings)
    assert "left out, grey: 00 grey\n" in said.getvalue()
    assert about(run.path)["left-out"] == ["00 grey"]
    assert about(run.path)["found"].startswith("7 pictures in ")
    assert about(run.path)["found"].endswith(", 1 of them left out")
    assert run.settings.steps == 12  # twice the six in colour
    said.truncate(0)
    train("colorize", data=tiny_photos, out=tmp_path / "run", console=Console(file=said), **settings)
    assert "nothing to do" in said.getvalue()


def test_grey_pictures_are_in_no_batch_and_on_no_sheet(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[torch.Tensor]()
    original = Colorize.train_step

    def watching(self: Colorize, batch: Any, update: Any, step: int) -> Any:
        seen.append(batch["y"])
        return original(self, batch, update, step)

    monkeypatch.setattr(Colorize, "train_step", watching)
    run = train_tiny(tmp_path / "run", "colorize", steps=14, batch_size=2)
    assert len(seen) == 14
    assert all(picture.std(dim=0).mean() > 0.02 for batch in seen for picture in batch)
    with Image.open(run.path / "samples/step-00000014.png") as sheet:
        assert sheet.size == (3 * 32 + 2 * 2, 2 * 32 + 2)  # two of the three held-out pictures


def test_nothing_but_grey(train_tiny: Train, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(12):
        Image.new("L", (32, 32), 20 * number).save(tmp_path / f"data/{number:02d}.png")
    with pytest.raises(ValueError, match=r"data: all 12 .*grey"):
        train_tiny(tmp_path / "run", "colorize", data=tmp_path / "data")
    assert not (tmp_path / "run").exists()


def test_only_grey_pictures_held_out(train_tiny: Train, tiny_photos: Path, tmp_path: Path) -> None:
    """The sheet shows training pictures then."""
    data = Path(shutil.copytree(tiny_photos, tmp_path / "data"))
    for path in (data / "val").glob("[67].png"):
        path.unlink()
    run = train_tiny(tmp_path / "run", "colorize", data=data, steps=1)
    with Image.open(run.path / "samples/step-00000001.png") as sheet:
        assert sheet.size == (3 * 32 + 2 * 2, 4 * 32 + 3 * 2)


def test_single_pictures_have_no_direction_and_no_sides(train_tiny: Train, tiny_photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--direction BtoA: colorize"):
        train_tiny(tmp_path / "run", "colorize", direction="BtoA")
    with pytest.raises(ValueError, match="one --data "):
        train_tiny(tmp_path / "run", "colorize", data_a=tiny_photos / "train", data_b=tiny_photos / "val")


# ---- phases, and what is kept of them


def test_the_model_of_the_first_phase_is_kept_and_opens(completion_run: Path) -> None:
    early, last = (diptych.load(completion_run / name, device="cpu") for name in ("model-completion", "model"))
    assert (early.step, last.step) == (4, 12)
    weights = [model.translator.network.state_dict() for model in (early, last)]
    assert not torch.equal(*(state["layers.0.weight"] for state in weights))
    assert torch.equal(*(state["mean_pixel"] for state in weights))


def test_the_mean_pixel_is_taken_before_the_first_step_and_never_again(
    completion_run: Path, tiny_photos: Path, train_tiny: Train, tmp_path: Path
) -> None:
    photos = [np.asarray(Image.open(path), np.float64) for path in sorted((tiny_photos / "train").iterdir())]
    expected = np.mean([photo.mean(axis=(0, 1)) for photo in photos], axis=0) / 127.5 - 1
    kept = diptych.load(completion_run, device="cpu").translator.network.get_buffer("mean_pixel")
    assert kept.flatten().tolist() == pytest.approx(expected.tolist(), abs=0.02)  # of the pictures as they are loaded
    run = train_tiny(tmp_path / "run", "glcic", steps=4, method={"t_c": 2, "t_d": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(METHODS["glcic"], "fit_statistics", lambda *_: pytest.fail("taken again"))
        train_tiny(run.path, "glcic", steps=6, method={"t_c": 2, "t_d": 1})


def test_the_sample_sheet_shows_the_hole_the_filled_hole_and_the_truth(completion_run: Path, tiny_photos: Path) -> None:
    sheet = np.asarray(Image.open(completion_run / "samples/step-00000012.png"))
    given, filled, true = (sheet[:32, left : left + 32] for left in (0, 34, 68))
    hole = (given != true).any(axis=-1)
    assert 10 * 10 <= hole.sum() <= 16 * 16
    assert np.array_equal(filled[~hole], true[~hole])
    assert len(np.unique(given[hole], axis=0)) == 1


def test_progress_names_the_phase(train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[str] = []
    monkeypatch.setattr(TrainingProgress, "advance", lambda self, phase: named.append(phase))
    train_tiny(tmp_path / "run", "glcic", steps=5, method={"t_c": 2, "t_d": 1})
    assert named == ["completion (T_C)"] * 2 + ["discriminator (T_D)"] + ["joint"] * 2


def test_a_phase_that_ends_by_its_loss_ends(train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[str] = []
    monkeypatch.setattr(TrainingProgress, "advance", lambda self, phase: named.append(phase))
    train_tiny(tmp_path / "run", "glcic", steps=12, method={"t_c": 0, "t_d": 12, "t_d_until": 100.0})
    assert named == ["discriminator (T_D)"] * 10 + ["joint"] * 2


def test_a_longer_run_keeps_its_phases_or_is_refused(train_tiny: Train, tmp_path: Path) -> None:
    """Shares of a longer run would be other phases than those that were done."""
    share = {"t_c": 0.5, "t_d": 0.0}
    run = train_tiny(tmp_path / "run", "glcic", steps=4, method=share)
    assert run.settings.method.t_c == 2  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"method\.t-c 2 .*3 "):
        train_tiny(tmp_path / "run", "glcic", steps=6, method=share)
    train_tiny(tmp_path / "run", "glcic", steps=6, method={"t_c": 2, "t_d": 0})


def test_a_loss_is_a_mean_over_the_steps_that_have_it(train_tiny: Train, tmp_path: Path) -> None:
    """Also where lines of the log do not end where phases do."""
    settings: dict[str, Any] = {"steps": 6, "checkpoint_every": 6, "method": {"t_c": 2, "t_d": 1}}
    often, seldom = (
        train_tiny(tmp_path / str(every), "glcic", log_every=every, **settings).read_log() for every in (1, 5)
    )
    for name in ("C_MSE", "D_real", "C_GAN"):
        each = [entry["losses"][name] for entry in often[:5] if name in entry["losses"]]
        assert seldom[0]["losses"][name] == pytest.approx(np.mean(each), rel=1e-5)


def test_a_model_without_a_step_is_not_overwritten(train_tiny: Train, tmp_path: Path) -> None:
    """As other tools write it: the training knows no step of it, and would begin anew in its place."""
    run = tmp_path / "run"
    train_tiny(run)
    weights = run / "model/model.safetensors"
    save_file(load_file(weights), weights)
    before = weights.read_bytes()
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(ValueError, match="has a model but no checkpoints"):
        train_tiny(run)
    assert weights.read_bytes() == before
