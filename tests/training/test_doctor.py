"""The doctor finds what was made to go wrong, says what it saw and what to try, and leaves a good training alone."""

import io
import itertools
import json
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

import diptych
from diptych.losses import ADVERSARIAL, AdversarialLoss
from diptych.methods import METHODS
from diptych.methods.base import Adversary
from diptych.methods.cyclegan import CycleGANSettings
from diptych.methods.pix2pix import Pix2Pix, Pix2PixSettings
from diptych.methods.settings import MethodSettings
from diptych.networks.unet import UNet
from diptych.training import doctor
from diptych.training.run import Run, read_json_lines
from diptych.training.settings import Settings
from diptych.training.updater import learning_rate
from diptych.translators.base import Outcome

Train = Callable[..., Run]
SIZE = 32
QUICK: dict[str, Any] = {
    "batch_size": 2,
    "log_every": 5,
    "sample_every": 20,
    "checkpoint_every": 1000,
    "lr": 2e-3,
    "flip": False,
}


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "WINDOW", 20)


@pytest.fixture
def findings(train_tiny: Train, tmp_path: Path) -> Callable[..., dict[str, doctor.Finding]]:
    """Trains, and gives what the doctor found in the last line of the log."""

    def call(**changes: Any) -> dict[str, doctor.Finding]:
        run = train_tiny(tmp_path / "run", **{**QUICK, **changes})
        lines = read_json_lines(run.path / "log.jsonl")
        assert all("doctor" in line for line in lines)
        return {finding["finding"]: finding for finding in lines[-1]["doctor"]}

    return call


def given(method: MethodSettings, **changes: Any) -> Settings:
    return Settings(steps=9, precision="fp32", method=method, **changes)


def standing_still(monkeypatch: pytest.MonkeyPatch, *players: str, after: int = 0) -> None:
    """These players learn nothing after so many steps."""
    own = Pix2Pix.optimizer

    def optimizer(self: Pix2Pix, player: str, lr: float, beta1: float) -> torch.optim.Optimizer:
        found = own(self, player, lr, beta1)
        if player in players:
            steps = itertools.count()

            def stand_still(_: torch.optim.Optimizer, *__: object) -> None:
                for group in found.param_groups:
                    group["lr"] *= next(steps) < after

            found.register_step_pre_hook(stand_still)
        return found

    monkeypatch.setattr(Pix2Pix, "optimizer", optimizer)


def write_pairs(folder: Path, split: str, pairs: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]) -> None:
    (folder / split).mkdir(parents=True)
    for number, (a, b) in enumerate(pairs):
        Image.fromarray(np.concatenate([a, b], axis=1).astype(np.uint8)).save(folder / split / f"{number}.png")


def texture(generator: np.random.Generator) -> np.ndarray[Any, Any]:
    """Coarse patches of random colours."""
    return generator.integers(0, 256, (8, 8, 3)).repeat(4, axis=0).repeat(4, axis=1)


# ---- runs that were made to fail


def test_a_discriminator_that_has_won(
    findings: Callable[..., dict[str, doctor.Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    standing_still(monkeypatch, "generator")
    found = findings(steps=100, method={"width": 8, "patch": 70, "lambda_l1": 0.0})
    assert "0.693 would be guessing" in found["the discriminator has won"]["saw"]
    assert found["the discriminator has won"]["try"] == ("--method.augment true, --method.patch 16, more pictures")


def test_a_generator_that_has_won(
    findings: Callable[..., dict[str, doctor.Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    standing_still(monkeypatch, "discriminator", after=40)
    found = findings(steps=150, method={"width": 8, "patch": 16, "lambda_l1": 0.0, "norm": "none"})
    assert "the generator has won" in found
    assert "--method.norm instance" in found["the generator has won"]["try"]


def test_losses_that_stand_at_guessing(
    findings: Callable[..., dict[str, doctor.Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    standing_still(monkeypatch, "discriminator", "generator")
    assert "the losses stand at guessing" in findings(steps=40, method={"width": 2, "patch": 1, "norm": "none"})


def test_outputs_that_are_all_alike(findings: Callable[..., dict[str, doctor.Finding]], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    grey = np.full((SIZE, SIZE, 3), 90)  # there is nothing in it to go by
    for split, count in (("train", 6), ("val", 4)):
        write_pairs(tmp_path / "data", split, [(texture(generator), grey) for _ in range(count)])
    assert "the outputs are all alike" in findings(steps=40, data=tmp_path / "data")


def test_outputs_that_are_saturated(findings: Callable[..., dict[str, doctor.Finding]]) -> None:
    assert "the outputs are saturated" in findings(steps=40, lr=1.0, method={"width": 8, "patch": 16, "norm": "none"})


def test_light_and_dark_that_are_inverted(findings: Callable[..., dict[str, doctor.Finding]], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    write_pairs(tmp_path / "data", "train", [(picture, picture) for picture in (texture(generator) for _ in range(6))])
    write_pairs(
        tmp_path / "data", "val", [(255 - picture, picture) for picture in (texture(generator) for _ in range(4))]
    )
    found = findings(steps=100, data=tmp_path / "data", method={"width": 8, "adversarial": "none"})
    assert "light and dark are inverted" in found
    assert "targets" in found["light and dark are inverted"]["saw"]


def test_gradients_that_explode(
    findings: Callable[..., dict[str, doctor.Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = learning_rate
    monkeypatch.setattr(
        "diptych.training.updater.learning_rate", lambda step, settings: 10.0 if step >= 60 else usual(step, settings)
    )
    monkeypatch.setattr(sys.modules["diptych.train"], "training_precision", lambda *asked: ("bf16", ""))
    found = findings(steps=65, method={"width": 4, "patch": 16, "norm": "none", "adversarial": "lsgan"})
    assert "gradients explode" in found
    assert found["gradients explode"]["try"].startswith("--clip 1, --precision fp32, ")


def test_a_discriminator_that_knows_the_pictures_by_heart(
    findings: Callable[..., dict[str, doctor.Finding]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G's pictures are as good as real ones, so that nothing but memory tells them apart."""
    own = UNet.forward
    monkeypatch.setattr(UNet, "forward", lambda self, x: x + 0 * own(self, x))
    generator = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 16)):
        write_pairs(tmp_path / "data", split, [(texture(generator), texture(generator)) for _ in range(count)])
    found = findings(
        steps=200,
        data=tmp_path / "data",
        load_scale=1.0,
        method={"width": 16, "patch": 70, "conditional": False, "lambda_l1": 0.0},
    )
    assert "the discriminator knows the training pictures by heart" in found
    assert "held-out" in found["the discriminator knows the training pictures by heart"]["saw"]


# ---- runs that are well


def test_a_training_that_goes_well_has_no_findings(findings: Callable[..., dict[str, doctor.Finding]]) -> None:
    assert findings(steps=100, method={"width": 8, "patch": 16}) == {}


def test_every_method_shows_the_doctor_something(train_tiny: Train, tmp_path: Path) -> None:
    for name in METHODS:
        line = read_json_lines(train_tiny(tmp_path / name, name).path / "log.jsonl")[-1]
        assert isinstance(line["doctor"], list)
        assert set(line["gradients"]) == set(METHODS[name].players)
        assert all(norm > 0 for norm in line["gradients"].values())


def test_a_training_that_was_stopped_remembers_what_was_seen(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures are looked at only now and then; what was seen lasts until the next time."""
    monkeypatch.setattr(doctor, "ALIKE", 100.0)
    changes = {"log_every": 2, "sample_every": 6, "checkpoint_every": 1}
    whole = train_tiny(tmp_path / "whole", steps=12, **changes).path
    train_tiny(tmp_path / "parts", steps=8, **changes)
    for folder in ("log.jsonl", "samples/step-00000008.png"):  # as if it had been killed at step 7
        (tmp_path / "parts" / folder).unlink(missing_ok=folder.startswith("samples"))
    lines = [line for line in read_json_lines(whole / "log.jsonl") if line["step"] <= 6]
    (tmp_path / "parts/log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shutil.rmtree(tmp_path / "parts/checkpoints/step-00000008")
    parts = train_tiny(tmp_path / "parts", steps=12, **changes).path
    told = [
        {
            line["step"]: [finding["finding"] for finding in line["doctor"]]
            for line in read_json_lines(run / "log.jsonl")
        }
        for run in (whole, parts)
    ]
    assert told[0][8] == told[1][8] == ["the outputs are all alike"]


# ---- the rules


def adversary(kind: str) -> Adversary:
    """D with one loss, and G."""
    return Adversary("D", ADVERSARIAL[kind], ("D",), "G", lambda batch: pytest.fail("the log says it all"))


def log_of(steps: int, **losses: float) -> list[dict[str, Any]]:
    return [{"step": step, "losses": losses} for step in range(5, steps + 1, 5)]


@pytest.mark.parametrize(
    ("kind", "of_D", "of_G", "finding"),
    [
        ("vanilla", math.log(2), math.log(2), "the losses stand at guessing"),
        ("vanilla", 0.03, 5.0, "the discriminator has won"),
        ("vanilla", 1.2, 0.1, "the generator has won"),
        ("vanilla", 0.5, 0.9, None),
        ("vanilla", math.log(2), 1.0, None),
        ("lsgan", 0.25, 0.25, "the losses stand at guessing"),
        ("lsgan", 0.012, 0.9, "the discriminator has won"),
        ("lsgan", 0.4, 0.1, "the generator has won"),
        ("lsgan", 0.2, 0.35, None),
        ("hinge", 1.0, 0.0, "the losses stand at guessing"),
        ("hinge", 0.04, 2.0, "the discriminator has won"),
        ("hinge", 0.8, 0.3, None),
    ],
)
def test_losses_are_measured_by_what_guessing_costs(kind: Any, of_D: float, of_G: float, finding: str | None) -> None:
    log, settings = log_of(40, D=of_D, G=of_G), given(Pix2PixSettings(adversarial=kind))
    found = doctor.in_losses(log, [adversary(kind)], settings)
    assert [one["finding"] for one in found] == ([finding] if finding else [])


def test_a_loss_that_knows_no_guessing_is_not_judged() -> None:
    """Such as that of the Wasserstein GAN, which is 0 for it and has no scale."""
    critic = AdversarialLoss(lambda logits, real: logits.mean(), lambda logits: -logits.mean(), 0.0, 0.0)
    log, settings = log_of(40, D=-3.0, G=2.0), given(Pix2PixSettings())
    of_critic = Adversary("D", critic, ("D",), "G", lambda batch: pytest.fail("the log says it all"))
    assert doctor.in_losses(log, [of_critic], settings) == []


def test_the_first_steps_say_nothing_yet() -> None:
    assert doctor.in_losses(log_of(20, D=0.01, G=9.0), [adversary("vanilla")], given(Pix2PixSettings())) == []
    assert doctor.in_losses([], [adversary("vanilla")], given(Pix2PixSettings())) == []


def test_a_gradient_that_grows_in_the_first_lines_says_nothing_yet() -> None:
    log = [{"step": step, "losses": {}, "gradients": {"generator": 1.0}} for step in range(9)]
    log.append({"step": 9, "losses": {}, "gradients": {"generator": 1e4}})
    assert doctor.in_gradients(log, given(Pix2PixSettings())) == []


def test_a_gradient_is_held_against_those_of_late() -> None:
    norms = [1.0] * 250 + [1e3] * 150 + [5e3]
    log = [{"step": step, "losses": {}, "gradients": {"generator": norm}} for step, norm in enumerate(norms)]
    assert doctor.in_gradients(log, given(Pix2PixSettings())) == []


def test_a_phase_without_the_game_says_nothing() -> None:
    alone = [{"step": step, "losses": {"C_MSE": 0.1}} for step in range(5, 30, 5)]
    log = [*alone, *log_of(40, D=0.01, G=9.0)[5:]]
    assert doctor.in_losses(log, [adversary("vanilla")], given(Pix2PixSettings())) == []


def test_unpaired_pictures_are_compared_with_what_went_in() -> None:
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def found(before: Tensor | None, output: Tensor, real: Tensor, unpaired: bool) -> list[str]:
        outcomes = {"G": Outcome(before, output, real)}
        return [one["finding"] for one in doctor.in_pictures(outcomes, unpaired, given(Pix2PixSettings()))]

    assert found(x, -x, -x, unpaired=True) == ["light and dark are inverted"]
    assert found(x, -x, -x, unpaired=False) == []  # it should be so
    assert found(x, -x, x, unpaired=False) == ["light and dark are inverted"]
    assert found(None, x[:1].expand(4, 3, 8, 8), x, unpaired=False) == ["the outputs are all alike"]
    assert found(None, x.sign(), x, unpaired=False) == ["the outputs are saturated"]
    assert found(None, x.sign(), x.sign(), unpaired=False) == []  # so are the real ones


def test_only_settings_that_the_method_has_are_offered() -> None:
    log = log_of(40, D=0.01, G=9.0)
    [of_cgan] = doctor.in_losses(log, [adversary("vanilla")], given(METHODS["cgan"].Settings()))
    assert of_cgan["try"] == "--method.augment true, more pictures"
    [of_cyclegan] = doctor.in_losses(log, [adversary("lsgan")], given(METHODS["cyclegan"].Settings()))
    assert of_cyclegan["try"] == "--method.augment true, --method.patch 16, more pictures"
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    settings = given(CycleGANSettings(lambda_identity=0.0))
    [of_identity] = doctor.in_pictures({"G": Outcome(x, -x, -x)}, unpaired=True, settings=settings)
    assert of_identity["try"].startswith("--method.lambda-identity 0.5, ")


def test_what_is_set_already_is_not_offered() -> None:
    log = [{"step": step, "losses": {}, "gradients": {"generator": 1.0}} for step in range(20)]
    log.append({"step": 20, "losses": {}, "gradients": {"generator": 1e4}})
    [found] = doctor.in_gradients(log, given(Pix2PixSettings()))
    assert found["try"] == "--clip 1, a lower --lr"
    [found] = doctor.in_gradients(log, given(Pix2PixSettings(), clip=1).model_copy(update={"precision": "bf16"}))
    assert found["try"] == "--precision fp32, a lower --lr"


def test_what_would_be_refused_is_not_offered() -> None:
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    method = CycleGANSettings(lambda_identity=0.0)
    [found] = doctor.in_pictures({"G": Outcome(x, -x, -x)}, unpaired=True, settings=given(method, channels_b=1))
    assert "lambda-identity" not in found["try"]  # G is given no picture of the other kind
    known = {"D": (torch.ones(4), torch.zeros(4))}
    unseen = {"D": (torch.zeros(4), torch.zeros(4))}
    [alone] = doctor.in_scores(known, unseen, given(Pix2PixSettings()))
    assert "--validate-every 500 --patience 5" in alone["try"]
    [looking] = doctor.in_scores(known, unseen, given(Pix2PixSettings(), validate_every=100))
    assert "--patience 5" in looking["try"]
    assert "--validate-every" not in looking["try"]
    [patient] = doctor.in_scores(known, unseen, given(Pix2PixSettings(), validate_every=100, patience=3))
    assert "--patience" not in patient["try"]


def test_of_two_sides_as_many_are_looked_at(train_tiny: Train, tiny_photos: Path, tmp_path: Path) -> None:
    """Copies of the one held-out B would look like a generator that has collapsed."""
    for side, count in (("A", 4), ("B", 1)):
        shutil.copytree(tiny_photos / "train", tmp_path / "data/train" / side)
        (tmp_path / "data/val" / side).mkdir(parents=True)
        for path in sorted((tiny_photos / "train").iterdir())[:count]:
            shutil.copy(path, tmp_path / "data/val" / side)
    run = train_tiny(tmp_path / "run", "cyclegan", data=tmp_path / "data")
    told = [found["of"] for line in run.read_log() for found in line["doctor"] if "alike" in found["finding"]]
    assert told == []


def test_a_discriminator_that_hardly_moves_is_offered_another_optimiser() -> None:
    log = log_of(40, D=math.log(2), G=math.log(2))
    [found] = doctor.in_losses(log, [adversary("vanilla")], given(METHODS["glcic"].Settings()))
    assert found["finding"] == "the losses stand at guessing"
    assert found["try"].startswith("--method.optimizer adam, ")


def test_what_is_found_is_said_once(tiny_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the run was longer than was thought at first, and goes on."""
    standing_still(monkeypatch, "discriminator", "generator")
    spoken = Console(file=io.StringIO(), width=200)
    for steps in (40, 60):
        diptych.train(
            "pix2pix",
            data=tiny_pairs,
            out=tmp_path / "run",
            console=spoken,
            size=SIZE,
            steps=steps,
            workers=1,
            method={"width": 2, "patch": 1, "norm": "none"},
            **QUICK,
        )
    assert isinstance(spoken.file, io.StringIO)
    said = [line for line in spoken.file.getvalue().splitlines() if "the losses stand at guessing" in line]
    assert len(said) == 1
    assert said[0].startswith("step 25: the losses stand at guessing: D_real and D_fake")
    assert "; try another --lr" in said[0]
    events = EventAccumulator(str(tmp_path / "run/tensorboard"))
    events.Reload()
    told = events.Tensors("doctor/text_summary")
    assert said[0] in [f"step {one.step}: {one.tensor_proto.string_val[0].decode()}" for one in told]
