"""Held-out pictures are looked at while the training goes on: the best model is kept, and a training without hope ends."""

import math
import shutil
import statistics
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import diptych
from diptych import metrics
from diptych.data.builtin import facades
from diptych.images import files
from diptych.images.files import from_bytes
from diptych.kinds import Direction
from diptych.methods.pix2pix import Pix2Pix
from diptych.metrics.features import Features
from diptych.model import Model
from diptych.training import checkpoint
from diptych.training.loop import Interrupted
from diptych.training.run import Run, read_json_lines
from diptych.training.validation import BestSoFar, Validation, best_of
from diptych.translators.base import Outcome
from diptych.translators.sampling import Sampler

Train = Callable[..., Run]


def lines(run: Path) -> list[dict[str, Any]]:
    return [line for line in read_json_lines(run / "log.jsonl") if "validation" in line]


def rising_and_falling(monkeypatch: pytest.MonkeyPatch, *values: float) -> None:
    """Lets each look at the held-out pictures give the next of these similarities."""
    following = iter(values)
    monkeypatch.setattr(Validation, "__call__", lambda self, translators: {"ssim/8-bit/32px": next(following)})


def similarity(model: Model, pairs: Path, given: Any, wanted: Any) -> float:
    """The mean SSIM of what a model makes of one side of the val pairs with the other side."""
    values = []
    for path in sorted((pairs / "val").iterdir()):
        with Image.open(path) as image:
            pair = torch.from_numpy(np.asarray(image, np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
        values.append(metrics.ssim(model.run(pair[given]), pair[wanted]).item())
    return statistics.mean(values)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each pair is decoded."""
    counted = Counter[str]()

    def decode(path: Path, **options: Any) -> Any:
        counted[str(path)] += 1
        return files.decode(path, **options)

    monkeypatch.setattr("diptych.images.numbers.decode", decode)
    return counted


def test_what_is_logged_is_what_the_model_does_on_held_out_pictures(
    train_tiny: Train, tiny_pairs: Path, tmp_path: Path
) -> None:
    run = train_tiny(tmp_path / "run", validate_every=5, ema=0.9).path
    logged = lines(run)
    assert [line["step"] for line in logged] == [5, 10, 12]
    assert set(logged[-1]["validation"]) == {"l1/8-bit/32px", "psnr/8-bit/32px", "ssim/8-bit/32px"}
    want = similarity(diptych.load(run, device="cpu"), tiny_pairs, np.s_[..., 32:], np.s_[..., :32])
    assert logged[-1]["validation"]["ssim/8-bit/32px"] == pytest.approx(want, abs=1e-6)


def test_the_best_model_is_kept_beside_the_last(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rising_and_falling(monkeypatch, 0.1, 0.3, 0.2)
    run = train_tiny(tmp_path / "run", validate_every=4).path
    assert checkpoint.model_step(run / "model-best") == 8
    assert checkpoint.model_step(run / "model") == 12
    assert diptych.load(run / "model-best", device="cpu").step == 8


def test_looking_changes_nothing_that_is_learnt(train_tiny: Train, tmp_path: Path) -> None:
    for name in ("pix2pix", "cyclegan", "cgan"):
        with_it = train_tiny(tmp_path / name, name, validate_every=2, steps=6).path
        without = train_tiny(tmp_path / f"{name} alone", name, steps=6).path
        assert (with_it / "model/model.safetensors").read_bytes() == (without / "model/model.safetensors").read_bytes()


def test_a_training_that_was_stopped_knows_its_best_model(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_tiny(tmp_path / "whole", validate_every=3).path
    original = Validation.__call__

    def stop_after(self: Validation, translators: Any) -> dict[str, float]:
        if len(lines(tmp_path / "parts")) == 2:
            raise Interrupted("killed")  # before the line is written, as a kill would be
        return original(self, translators)

    with monkeypatch.context() as patch:
        patch.setattr(Validation, "__call__", stop_after)
        with pytest.raises(Interrupted):
            train_tiny(tmp_path / "parts", validate_every=3)
    parts = train_tiny(tmp_path / "parts", validate_every=3).path
    assert [line["validation"] for line in lines(parts)] == [line["validation"] for line in lines(whole)]
    for folder in ("model", "model-best"):
        assert (parts / folder / "model.safetensors").read_bytes() == (
            whole / folder / "model.safetensors"
        ).read_bytes()


def test_patience(train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rising_and_falling(monkeypatch, 0.1, 0.3, 0.2, 0.3, 0.1, 0.4, 0.5)
    run = train_tiny(tmp_path / "run", validate_every=2, patience=2, steps=20).path
    assert lines(run)[-1]["step"] == 8  # as good as the best is not better
    assert checkpoint.model_step(run / "model") == 8
    train_tiny(run, validate_every=2, patience=2, steps=20)  # it is finished
    assert lines(run)[-1]["step"] == 8
    train_tiny(run, validate_every=2, patience=4, steps=14)
    assert lines(run)[-1]["step"] == 14
    assert checkpoint.model_step(run / "model-best") == 14


def test_a_kill_after_the_last_look_leaves_the_last_model_to_be_written(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rising_and_falling(monkeypatch, 0.3, 0.2, 0.1)
    run = train_tiny(tmp_path / "run", validate_every=2, patience=2, steps=20).path
    shutil.rmtree(run / "model")
    shutil.copytree(run / "model-best", run / "model")  # as old as a kill between checkpoint and model leaves it
    train_tiny(run, validate_every=2, patience=2, steps=20)
    assert checkpoint.model_step(run / "model") == 6
    assert lines(run)[-1]["step"] == 6  # and nothing more was learnt


def test_a_kill_between_the_last_line_and_its_checkpoint_ends_nothing(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rising_and_falling(monkeypatch, 0.3, 0.2, 0.1, 0.1)
    asked: dict[str, Any] = {"validate_every": 2, "patience": 2, "steps": 20, "checkpoint_every": 4}
    save = checkpoint.save_training

    def killed(folder: Path, step: int, *rest: Any) -> None:
        if step == 6:
            raise Interrupted("killed")
        save(folder, step, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_training", killed)
        with pytest.raises(Interrupted):
            train_tiny(tmp_path / "run", **asked)
    assert lines(tmp_path / "run")[-1]["step"] == 6
    run = train_tiny(tmp_path / "run", **asked).path
    assert checkpoint.model_step(run / "model") == 6  # gone from step 4 once more, and looked at again


def test_what_came_after_a_loss_that_is_not_finite_is_never_the_best(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rising_and_falling(monkeypatch, 0.1, 0.2, 0.3)
    own = Pix2Pix.train_step

    def break_down(self: Pix2Pix, batch: Any, update: Any, step: int) -> Any:
        return own(self, {**batch, "y": batch["y"] * (math.nan if step == 4 else 1)}, update, step)

    monkeypatch.setattr(Pix2Pix, "train_step", break_down)
    with pytest.raises(ValueError, match=r"step 5: .*not finite"):
        train_tiny(tmp_path / "run", validate_every=2, log_every=100)
    assert checkpoint.model_step(tmp_path / "run/model-best") == 4


def test_another_metric_begins_anew(train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was the best by one metric is not said to be the best by another."""
    following = iter([(0.2, 0.9), (0.1, 0.5), (0.3, 0.6), (0.4, 0.7)])

    def look(self: Validation, translators: Any) -> dict[str, float]:
        return dict(zip(("l1/8-bit/32px", "ssim/8-bit/32px"), next(following), strict=True))

    monkeypatch.setattr(Validation, "__call__", look)
    run = train_tiny(tmp_path / "run", validate_every=2, validate_by="l1", steps=4).path
    assert checkpoint.model_step(run / "model-best") == 4
    train_tiny(run, validate_every=2, validate_by="ssim", steps=6)
    assert checkpoint.model_step(run / "model-best") == 6
    train_tiny(run, validate_every=2, validate_by="ssim", steps=8)
    assert checkpoint.model_step(run / "model-best") == 8


@pytest.mark.parametrize(("room", "times"), [(4 * 2**30, 1), (6 * 6 * 36**2, 3), (0, 3)])
def test_held_out_pictures_are_decoded_once_where_there_is_room(
    train_tiny: Train,
    loads: Counter[str],
    tmp_path: Path,
    room: int,
    times: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second room is full of the six training pairs at their load size."""
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))  # which knows none of the pictures
    train_tiny(tmp_path / "run", steps=2, validate_every=1, memory_gib=room / 2**30)
    assert ({count for name, count in loads.items() if "/train/" in name} == {2}) == (room > 0)
    [of_held_out] = {count for name, count in loads.items() if "/val/" in name}
    assert of_held_out == 2 + times  # for the samples and for the doctor, once each


def test_both_ways_are_told_apart(train_tiny: Train, tiny_pairs: Path, tmp_path: Path) -> None:
    run = train_tiny(tmp_path / "run", "cyclegan", validate_every=12).path
    assert set(lines(run)[-1]["validation"]) == {
        f"{name}/8-bit/32px"
        for way in ("AtoB", "BtoA")
        for name in (f"l1/{way}", f"psnr/{way}", f"ssim/{way}", f"swd/{way}/2-vs-2-held-out/seed-0")
    }  # the pairs that the training took apart have targets
    a, b = np.s_[..., :32], np.s_[..., 32:]
    ways: list[tuple[Direction, Any, Any]] = [("AtoB", a, b), ("BtoA", b, a)]
    for way, given, wanted in ways:
        want = similarity(diptych.load(run, direction=way, device="cpu"), tiny_pairs, given, wanted)
        assert lines(run)[-1]["validation"][f"ssim/{way}/8-bit/32px"] == pytest.approx(want, abs=1e-6)


def test_unpaired_folders_have_no_targets(train_tiny: Train, tiny_pairs: Path, tmp_path: Path) -> None:
    for side, part in (("A", np.s_[:, :32]), ("B", np.s_[:, 32:])):
        for split in ("train", "val"):
            (tmp_path / split / side).mkdir(parents=True)
            for path in (tiny_pairs / split).iterdir():
                with Image.open(path) as image:
                    Image.fromarray(np.asarray(image)[part]).save(tmp_path / split / side / f"{side}{path.name}")
    for path in sorted((tmp_path / "val/B").iterdir()):
        shutil.copy(path, path.with_stem(f"{path.stem}-again"))  # as many are taken of both
    run = train_tiny(tmp_path / "run", "cyclegan", validate_every=12, data=tmp_path).path
    assert set(lines(run)[-1]["validation"]) == {
        f"swd/{way}/2-vs-2-held-out/seed-0/8-bit/32px" for way in ("AtoB", "BtoA")
    }


def test_a_distance_through_a_network_is_called_by_it(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = list[int]()

    def see(pictures: torch.Tensor) -> torch.Tensor:
        looked.append(len(pictures))
        return pictures.mean(dim=(2, 3))

    means = Features("means", "as-is", from_bytes, see)
    monkeypatch.setattr("diptych.metrics.features.inception", lambda *found, **asked: means)
    run = train_tiny(tmp_path / "run", "cgan", validate_every=6, validate_by="fid").path
    assert looked == [5, 5, 5]  # what was drawn, twice, and the real ones once
    told = lines(run)[-1]["validation"]
    assert set(told) == {
        "swd/5-vs-5-held-out/seed-0/8-bit/16px",
        "fid/means/as-is/5-vs-5-held-out/seed-0/8-bit/16px",
    }
    assert told["fid/means/as-is/5-vs-5-held-out/seed-0/8-bit/16px"] > 0


def test_every_drawn_picture_has_its_own_noise(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set in which noise came back would look like a generator that has collapsed."""
    monkeypatch.setattr("diptych.training.validation.BATCH_SIZE", 2)
    drawn: list[torch.Tensor] = []

    def distance(pictures: torch.Tensor, real: torch.Tensor) -> float:
        drawn.append(pictures)
        return 1.0

    monkeypatch.setattr(metrics, "sliced_wasserstein", distance)
    train_tiny(tmp_path / "run", "cgan", validate_every=12, method={"width": 8, "conditional": False})
    assert len(torch.unique(drawn[-1], dim=0)) == len(drawn[-1]) == 5


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("colorize", "ab/8-bit/32px"),
        ("glcic", "hole-l1/rectangle-12-16/8-bit/32px"),
        ("cgan", "swd/5-vs-5-held-out/seed-0/8-bit/16px"),
    ],
)
def test_every_method_has_a_metric_that_tells_the_best(
    train_tiny: Train, tmp_path: Path, method: str, name: str
) -> None:
    run = train_tiny(tmp_path / "run", method, validate_every=12).path
    assert name in lines(run)[-1]["validation"]
    assert (run / "model-best/model.safetensors").is_file()


def test_labels_are_those_of_the_training(train_tiny: Train, tiny_classes: Path, tmp_path: Path) -> None:
    """Held-out pictures that lack a class are not told to be of another."""
    shutil.copytree(tiny_classes, tmp_path / "data")
    shutil.rmtree(min((tmp_path / "data/val").iterdir()))
    asked: list[list[int]] = []
    own = Sampler.outcome

    def outcome(self: Sampler, batch: dict[str, torch.Tensor]) -> Outcome:
        asked.append(batch["label"].tolist())
        return own(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sampler, "outcome", outcome)
        train_tiny(tmp_path / "run", "cgan", data=tmp_path / "data", validate_every=12)
    assert [1, 2, 3, 4] in [sorted(set(labels)) for labels in asked]
    assert not [labels for labels in asked if len(labels) == 4 and 0 in labels]


def test_pictures_that_are_too_small_for_ssim(train_tiny: Train, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"size": 8, "validate_every": 6}
    with pytest.raises(ValueError, match=r"--validate-by ssim: .*: l1, psnr, ab, swd"):
        train_tiny(tmp_path / "run", "cyclegan", validate_by="ssim", **asked)
    run = train_tiny(tmp_path / "run", "cyclegan", **asked).path
    assert "NaN" not in (run / "log.jsonl").read_text(encoding="utf-8")
    assert checkpoint.model_step(run / "model-best") in (6, 12)


def test_as_many_held_out_pictures_are_kept_as_are_looked_at(
    train_tiny: Train, loads: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diptych.training.validation.MAX_IMAGES", 2)
    monkeypatch.setattr("diptych.training.pictures.MAX_IMAGES", 2)
    facades.write(tmp_path / "data", size=32, train=4, val=5)
    train_tiny(tmp_path / "run", steps=2, validate_every=1, data=tmp_path / "data")
    assert len({name for name in loads if "/val/" in name}) == 2


# ---- what a person can mend


def test_single_pictures_held_out_are_not_cut_in_two(train_tiny: Train, tiny_pairs: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_pairs / "train", tmp_path / "data/train")
    (tmp_path / "data/val").mkdir()
    for path in (tiny_pairs / "val").iterdir():
        with Image.open(path) as image:
            image.crop((0, 0, 32, 32)).save(tmp_path / "data/val" / path.name)
    with pytest.raises(ValueError, match=r"val: 2 pictures, such as 32x32,"):
        train_tiny(tmp_path / "run", "cyclegan", data=tmp_path / "data")
    assert not (tmp_path / "run").exists()


def test_a_held_out_class_that_training_has_not(train_tiny: Train, tiny_classes: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_classes, tmp_path / "data")
    first = min((tmp_path / "data/val").iterdir())
    shutil.copytree(first, tmp_path / "data/val/zebra")
    with pytest.raises(ValueError, match="data: zebra "):
        train_tiny(tmp_path / "run", "cgan", data=tmp_path / "data")
    assert not (tmp_path / "run").exists()


def test_one_picture_is_no_set(train_tiny: Train, tiny_classes: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_classes / "train", tmp_path / "data/train")
    first = min((tiny_classes / "val").iterdir())
    shutil.copytree(first, tmp_path / "data/val" / first.name)
    with pytest.raises(ValueError, match=r"--validate-by swd: .*--validate-every"):
        train_tiny(tmp_path / "run", "cgan", data=tmp_path / "data", validate_every=4)


def test_nothing_held_out(train_tiny: Train, tmp_path: Path) -> None:
    facades.write(tmp_path / "data", size=32, train=2, val=0)
    shutil.rmtree(tmp_path / "data/val")
    with pytest.raises(ValueError, match=r"--validate-every 2: .*diptych data split"):
        train_tiny(tmp_path / "run", data=tmp_path / "data", validate_every=2)
    assert not (tmp_path / "run").exists()


def test_an_unknown_metric(train_tiny: Train, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--validate-by colourfulness: .*: l1, psnr"):
        train_tiny(tmp_path / "run", validate_every=2, validate_by="colourfulness")
    with pytest.raises(ValueError, match=r"--validate-by ab: .*: l1, psnr, ssim, swd, fid$"):
        train_tiny(tmp_path / "run", validate_every=2, validate_by="ab", channels_a=1)
    with pytest.raises(ValueError, match=r"--validate-by ssim: .*: swd, fid"):
        train_tiny(tmp_path / "run", "cgan", validate_every=2, validate_by="ssim")


def test_weights_that_are_missing_are_named_before_the_first_step(train_tiny: Train, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pt_inception-2015-12-05-6726825d\.pth"):
        train_tiny(tmp_path / "run", validate_every=2, validate_by="fid")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("setting", [{"patience": 2}, {"validate_by": "ssim"}])
def test_what_needs_looking(train_tiny: Train, tmp_path: Path, setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"--(patience 2|validate-by ssim): .*--validate-every"):
        train_tiny(tmp_path / "run", **setting)


# ---- the best so far


def test_another_protocol_does_not_compare() -> None:
    """The log of an earlier version, or other held-out pictures."""
    told = [("swd/8-bit/64px", 1.0), ("swd/3-vs-3-held-out/seed-0/8-bit/64px", 2.0)]
    told += [(told[1][0], 1.5), (told[1][0], 1.7)]
    log = [{"step": step, "validation": {name: value}} for step, (name, value) in enumerate(told)]
    assert best_of(log, "swd") == BestSoFar(1.5, 2, 1, (told[1][0],))


def test_the_best_is_by_the_direction_of_the_metric() -> None:
    log: list[dict[str, Any]] = [
        {"step": 1, "validation": {"l1/8-bit/32px": 0.2, "ssim/8-bit/32px": 0.2}},
        {"step": 2},
        {"step": 3, "validation": {"l1/8-bit/32px": 0.1, "ssim/8-bit/32px": 0.1}},
        {"step": 4, "validation": {"psnr/8-bit/32px": 10.0}},
    ]
    assert best_of(log, "l1") == BestSoFar(0.1, 3, 0, ("l1/8-bit/32px",))
    assert best_of(log, "ssim") == BestSoFar(0.2, 1, 1, ("ssim/8-bit/32px",))
    assert best_of(log, "swd") is None
