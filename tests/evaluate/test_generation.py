"""What is drawn out of noise is read by a classifier: does it tell good drawings from bad ones?"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import diptych
from diptych import cli
from diptych.data.builtin import shapes
from diptych.evaluate import evaluate, generation
from diptych.model import Model
from diptych.training.run import Run, read_json_lines

Train = Callable[..., Run]
NAMES = ("label-accuracy", "classification-accuracy-score", "frechet-distance")
SIDE = 16
LEVELS = {"bright": 240, "dark": 20, "größe 7": 130}


def write(folder: Path, of_each: int, names: Sequence[str] = tuple(LEVELS), grain: int = 12) -> None:
    """Pictures whose class is their grey level, up to some grain."""
    generator = torch.Generator().manual_seed(of_each)
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(of_each):
            noise = torch.randint(-grain, grain + 1, (SIDE, SIDE, 3), generator=generator)
            values = (LEVELS[name] + noise).clamp(0, 255).byte().numpy()
            Image.fromarray(values).save(folder / name / f"{number}.png")


@pytest.fixture(scope="module")
def levels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("levels")
    write(folder / "train", 8)
    write(folder / "val", 4)
    return folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "GENERATED", 30)
    monkeypatch.setattr(generation, "SAVED", 6)
    monkeypatch.setattr(generation, "MIN_STEPS", 60)
    monkeypatch.setattr(generation, "TRAIN_BATCH_SIZE", 16)


@pytest.fixture(scope="module")
def trained(train_tiny: Train, levels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests must not write into it."""
    return train_tiny(tmp_path_factory.mktemp("runs") / "levels", "cgan", data=levels, steps=1).path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


Painter = Callable[[str | int | None, int], Tensor]


def drawing(monkeypatch: pytest.MonkeyPatch, paint: Callable[[str, int], int], grain: float = 0.05) -> None:
    """Lets every model draw pictures of these grey levels."""

    def generate(self: Model, label: Any, count: int, seed: int = 0) -> Iterator[Tensor]:
        for number in range(count):
            generator = torch.Generator().manual_seed(number)
            noise = grain * torch.randn(3, SIDE, SIDE, generator=generator)
            yield (torch.full((3, SIDE, SIDE), paint(label, number) / 127.5 - 1) + noise).clamp(-1, 1)

    monkeypatch.setattr(Model, "generate", generate)


def numbers(lines: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    return {line["who"]: {name.split("/")[0]: value for name, value in line["metrics"].items()} for line in lines}


@pytest.mark.usefixtures("quick")
def test_right_drawings_are_known_and_swapped_ones_are_not(
    run: Path, levels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing(monkeypatch, lambda label, _: LEVELS[label])
    right = numbers(evaluate(run, data=levels, device="cpu"))
    assert right["held-out pictures"]["label-accuracy"] == 1
    assert right["model"]["label-accuracy"] == right["model"]["classification-accuracy-score"] == 1
    swapped = {"bright": "dark", "dark": "größe 7", "größe 7": "bright"}
    drawing(monkeypatch, lambda label, _: LEVELS[swapped[label]])
    wrong = numbers(evaluate(run, data=levels, device="cpu"))
    assert wrong["model"]["label-accuracy"] == wrong["model"]["classification-accuracy-score"] == 0
    assert wrong["held-out pictures"]["label-accuracy"] == 1
    assert wrong["model"]["frechet-distance"] == pytest.approx(
        right["model"]["frechet-distance"], rel=1e-3
    )  # labels aside


@pytest.mark.usefixtures("quick")
def test_one_picture_for_all_classes_is_found_out(run: Path, levels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing(monkeypatch, lambda *_: 240)
    lines = evaluate(run, data=levels, device="cpu")
    found = numbers(lines)
    assert found["model"]["label-accuracy"] == pytest.approx(1 / 3)
    assert found["model"]["frechet-distance"] > 10 * found["held-out pictures"]["frechet-distance"]


@pytest.mark.usefixtures("quick")
def test_a_second_classifier_learns_from_drawings_alone(
    run: Path, levels: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Drawings that the first one knows can still teach nothing of a class."""
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    drawing(monkeypatch, lambda label, _: LEVELS[label])
    monkeypatch.setattr(generation, "_trained_classifier", taught := _Seen(generation._trained_classifier))
    evaluate(run, data=levels, names=["classification-accuracy-score"], device="cpu")
    real, lessons = taught.seen
    assert sorted(real.labels.tolist()) == sorted(lessons.labels.tolist()) == [0] * 8 + [1] * 8 + [2] * 8
    means = lessons.images.float().mean(dim=(1, 2, 3))
    assert [round(means[lessons.labels == label].mean().item(), -1) for label in range(3)] == [240, 20, 130]
    assert not any(torch.equal(one, other) for one in real.images for other in lessons.images)


class _Seen:
    def __init__(self, call: Callable[..., Any]) -> None:
        self.call, self.seen = call, list[Any]()

    def __call__(self, training: Any, *more: Any) -> Any:
        self.seen.append(training)
        return self.call(training, *more)


@pytest.mark.usefixtures("quick")
def test_lines_and_results_say_what_was_measured(run: Path, levels: Path) -> None:
    model, held_out = evaluate(run, data=levels, device="cpu")
    for line, who, split, count in ((model, "model", "drawn", 30), (held_out, "held-out pictures", "val", 12)):
        assert (line["who"], line["split"], line["count"], line["step"], line["data"]) == (
            who,
            split,
            count,
            1,
            str(levels),
        )
        assert list(line["metrics"]) == [
            "label-accuracy/classifier/seed-0/8-bit/16px",
            "classification-accuracy-score/classifier/seed-0/8-bit/16px",
            "frechet-distance/12/classifier/seed-0/8-bit/16px",  # as many are drawn as are held out
        ]
    assert [line["who"] for line in read_json_lines(run / "metrics.jsonl")] == ["model", "held-out pictures"]
    kept = read_json_lines(run / "results/drawn/results.jsonl")
    assert [entry["name"] for entry in kept] == [f"{name}/0000{number}" for name in LEVELS for number in range(2)]
    [picture] = diptych.load(run, device="cpu").sample("dark")
    with Image.open(run / "results/drawn/output/dark/00000.png") as file:
        assert file.tobytes() == picture.tobytes()
    assert all(0 <= entry["metrics"]["label-probability/classifier/seed-0/8-bit/16px"] <= 1 for entry in kept)
    assert json.dumps(kept[-1]["name"], ensure_ascii=False) == '"größe 7/00001"'
    page = diptych.report(run).read_text(encoding="utf-8")
    assert "held-out pictures" in page
    assert "<li>größe 7</li>" in page


@pytest.mark.usefixtures("quick")
def test_the_probability_is_that_of_the_label(run: Path, levels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing(monkeypatch, lambda label, number: LEVELS[label] if number % 2 else LEVELS["dark"])
    evaluate(run, data=levels, names=["label-accuracy"], device="cpu")
    for entry in read_json_lines(run / "results/drawn/results.jsonl"):
        good = entry["name"].startswith("dark") or entry["name"].endswith("1")
        assert (entry["metrics"]["label-probability/classifier/seed-0/8-bit/16px"] > 0.5) == good, entry


@pytest.mark.usefixtures("quick")
def test_perfect_drawings_of_unequal_classes_are_no_further_away_than_real_ones(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split, counts in (("train", (24, 3, 3)), ("val", (16, 2, 2))):
        for name, count in zip(LEVELS, counts, strict=True):
            write(tmp_path / "unequal" / split, count, [name])
    drawing(monkeypatch, lambda label, _: LEVELS[label], grain=0.06)
    found = numbers(evaluate(run, data=tmp_path / "unequal", names=["frechet-distance"], device="cpu"))
    drawing(monkeypatch, lambda label, _: LEVELS["dark"] if label == "bright" else LEVELS[label], grain=0.06)
    worse = numbers(evaluate(run, data=tmp_path / "unequal", names=["frechet-distance"], device="cpu"))
    assert found["model"]["frechet-distance"] < 0.2 * worse["model"]["frechet-distance"]


@pytest.mark.usefixtures("quick")
def test_the_same_numbers_each_time(run: Path, levels: Path) -> None:
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    first = numbers(evaluate(run, data=levels, device="cpu"))
    assert torch.equal(torch.rand(1), before)  # the caller's random numbers are his own
    assert numbers(evaluate(run, data=levels, device="cpu")) == first


@pytest.mark.usefixtures("quick")
def test_what_is_read_of_a_picture_depends_on_nothing_beside_it() -> None:
    generator = torch.Generator().manual_seed(0)
    some = generation._Labelled(
        torch.randint(0, 256, (9, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8), torch.arange(9) % 3
    )
    classifier = generation._trained_classifier(some, 3, torch.device("cpu"), None)
    assert torch.allclose(
        generation._run(classifier, some.images)[:1], generation._run(classifier, some.images[:1]), atol=1e-4
    )


@pytest.mark.usefixtures("quick")
def test_only_what_was_asked_for(run: Path, levels: Path) -> None:
    lines = evaluate(run, data=levels, names=["label-accuracy"], device="cpu")
    assert [list(line["metrics"]) for line in lines] == [["label-accuracy/classifier/seed-0/8-bit/16px"]] * 2


@pytest.mark.usefixtures("quick")
def test_without_labels_the_frechet_distance_is_left(train_tiny: Train, levels: Path, tmp_path: Path) -> None:
    run = train_tiny(tmp_path / "run", "cgan", data=levels, steps=1, method={"conditional": False}).path
    lines = evaluate(run, data=levels, device="cpu")
    assert [list(line["metrics"]) for line in lines] == [["frechet-distance/12/classifier/seed-0/8-bit/16px"]] * 2
    kept = read_json_lines(run / "results/drawn/results.jsonl")
    assert [entry["name"] for entry in kept] == [f"0000{number}" for number in range(6)]
    with pytest.raises(ValueError, match=r"--metrics label-accuracy: .*: frechet-distance, fid"):
        evaluate(run, data=levels, names=["label-accuracy"])


@pytest.mark.usefixtures("quick")
def test_a_held_out_split_may_lack_classes_and_training_pictures_may_not(
    run: Path, levels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing(monkeypatch, lambda label, _: LEVELS[label])
    shutil.copytree(levels / "train", tmp_path / "fewer/train")
    write(tmp_path / "fewer/val", 3, ["größe 7"])
    assert numbers(evaluate(run, data=tmp_path / "fewer", device="cpu"))["held-out pictures"]["label-accuracy"] == 1
    shutil.rmtree(tmp_path / "fewer/train/bright")
    with pytest.raises(ValueError, match=r"run: bright .*fewer.* dark, größe 7"):
        evaluate(run, data=tmp_path / "fewer", device="cpu")
    shutil.copytree(levels / "train", tmp_path / "more/train")
    shutil.copytree(levels / "val/dark", tmp_path / "more/val/strange")
    with pytest.raises(ValueError, match="more, val: strange "):
        evaluate(run, data=tmp_path / "more", device="cpu")


def test_what_cannot_be_measured_is_said(run: Path, levels: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"--metrics psnr: .*: {', '.join(NAMES)}"):
        evaluate(run, data=levels, names=["psnr"])
    with pytest.raises(ValueError, match="--baselines: "):
        evaluate(run, data=levels, baselines=True)
    with pytest.raises(ValueError, match=r"train: .*diptych data split"):
        evaluate(run, data=levels / "train")
    for split in ("train", "val"):
        (tmp_path / "flat" / split).mkdir(parents=True)
        Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "flat" / split / "1.png")
    with pytest.raises(ValueError, match=r"--metrics frechet-distance: .*classes"):
        evaluate(run, data=tmp_path / "flat", names=["frechet-distance"])
    shutil.copytree(levels / "train", tmp_path / "one/train")
    (tmp_path / "one/val/dark").mkdir(parents=True)
    shutil.copy(levels / "val/dark/0.png", tmp_path / "one/val/dark")
    with pytest.raises(ValueError, match=r"one: .*--metrics label-accuracy"):
        evaluate(run, data=tmp_path / "one")
    assert not (run / "results").exists()


@pytest.mark.usefixtures("quick")
def test_from_the_command_line(run: Path, levels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["evaluate", str(run), "--data", str(levels), "--device", "cpu"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "30 drawn pictures" in told
    assert "frechet-distance" in told
    assert "12/classifier/seed-0/8-bit/16px" in told
    assert cli.run(["evaluate", str(run), "--data", str(levels), "--metrics", "label-accuracy"]) == 0
    assert "30 drawn pictures classifier/seed-0/8-bit/16px model" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("condition", ["one-hot", "embedding", "projection"])
def test_labels_are_really_learnt(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, condition: str
) -> None:
    """In seconds of training most of five kinds are what was asked for; without a label's say a fifth of them would be."""
    monkeypatch.setattr(generation, "GENERATED", 100)
    monkeypatch.setattr(generation, "MIN_STEPS", 150)
    shapes.write(tmp_path / "shapes", size=SIDE, train=40, val=10)
    run = train_tiny(
        tmp_path / "run",
        "cgan",
        data=tmp_path / "shapes",
        steps=400,
        batch_size=20,
        sample_every=400,
        checkpoint_every=400,
        log_every=100,
        method={"width": 8, "noise": 8, "condition": condition},
    )
    found = numbers(evaluate(run.path, data=tmp_path / "shapes", names=["label-accuracy"], device="cpu"))
    assert found["held-out pictures"]["label-accuracy"] > 0.5
    assert found["model"]["label-accuracy"] > 0.5
