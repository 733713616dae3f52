"""Where one side of the pairs is a label map, it is read what the pictures show: drawn as they are, or by a segmenter."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.data.builtin import facades
from diptych.evaluate import evaluate, segmentation, translation
from diptych.evaluate.labelmaps import LABEL_MAP_METRICS, MAX_TRAINING_PAIRS, PROBE_PAIRS, open_label_maps
from diptych.evaluate.options import EvalOptions
from diptych.images.label_maps import classes_of, palette_of
from diptych.training.run import Run, read_json_lines

Train = Callable[..., Run]
PHOTO, LABELS = np.s_[:, :32], np.s_[:, 32:]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen training and four val pairs of 32 px, photographs on the left and labels on the right."""
    folder = tmp_path_factory.mktemp("facades")
    facades.write(folder, size=32, train=16, val=4)
    return folder


def loaded(folder: Path, part: Any = np.s_[:]) -> torch.Tensor:
    """uint8 `[N, C, H, W]`."""
    pictures = []
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as image:
            pictures.append(torch.from_numpy(np.array(image)[part]).permute(2, 0, 1))
    return torch.stack(pictures)


def scores(found: torch.Tensor, true: torch.Tensor, classes: int) -> list[float]:
    """Per-pixel accuracy, per-class accuracy and class IoU as Long et al. 2015, section 5, write them down."""
    right = [((found == n) & (true == n)).sum().item() for n in range(classes)]
    there = [(true == n).sum().item() for n in range(classes)]
    said = [(found == n).sum().item() for n in range(classes)]
    present = [n for n in range(classes) if there[n]]
    return [
        sum(right) / true.numel(),
        float(np.mean([right[n] / there[n] for n in present])),
        float(np.mean([right[n] / (there[n] + said[n] - right[n]) for n in range(classes) if there[n] + said[n]])),
    ]


def test_out_of_labels_a_segmenter_reads_what_was_made_and_the_real_photographs(
    train_tiny: Train, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translation, "BATCH_SIZE", 3)
    run = train_tiny(tmp_path / "run", data=pairs, direction="BtoA").path
    lines = evaluate(run, data=pairs, names=LABEL_MAP_METRICS, baselines=True, device="cpu")
    assert [line["who"] for line in lines] == [
        "model",
        "mean training target",
        "target of the nearest training input",
        "held-out pictures",
    ]
    photos, maps = (loaded(pairs / "train", part) for part in (PHOTO, LABELS))
    palette = palette_of(maps)
    assert palette is not None
    segmenter = segmentation.trained_segmenter(photos, maps, palette, torch.device("cpu"))
    true = classes_of(loaded(pairs / "val", LABELS), palette)
    for line, pictures in ((lines[0], loaded(run / "results/val/output")), (lines[-1], loaded(pairs / "val", PHOTO))):
        want = scores(segmentation.segment(segmenter, pictures), true, len(palette))
        assert line["metrics"] == {
            f"{name}/segmenter/{len(palette)}-classes/8-bit/32px": pytest.approx(value)
            for name, value in zip(LABEL_MAP_METRICS, want, strict=True)
        }
    of_each = [
        entry["metrics"][f"per-pixel-accuracy/segmenter/{len(palette)}-classes/8-bit/32px"]
        for entry in read_json_lines(run / "results/val/results.jsonl")
    ]
    assert np.mean(of_each) == pytest.approx(next(iter(lines[0]["metrics"].values())))


def test_into_labels_the_colours_are_read_as_they_are(train_tiny: Train, pairs: Path, tmp_path: Path) -> None:
    run = train_tiny(tmp_path / "run", data=pairs, direction="AtoB").path
    [model, held_out] = evaluate(run, data=pairs, names=["class-iou", "per-pixel-accuracy"], device="cpu")
    palette = palette_of(loaded(pairs / "train", LABELS))
    assert palette is not None
    true = classes_of(loaded(pairs / "val", LABELS), palette)
    per_pixel, _, iou = scores(classes_of(loaded(run / "results/val/output"), palette), true, len(palette))
    behind = f"as-drawn/{len(palette)}-classes/8-bit/32px"
    assert model["metrics"] == {
        f"per-pixel-accuracy/{behind}": pytest.approx(per_pixel),
        f"class-iou/{behind}": pytest.approx(iou),
    }
    assert set(held_out["metrics"].values()) == {1.0}
    [unasked, _] = evaluate(run, data=pairs, device="cpu")
    assert {name.partition("/")[0] for name in unasked["metrics"]} == {"l1", "psnr", "ssim", "swd", *LABEL_MAP_METRICS}


def test_photographs_are_no_label_maps(train_tiny: Train, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        (tmp_path / "data" / split).mkdir(parents=True)
        for number in range(count):
            smooth = Image.fromarray(generator.integers(0, 256, (4, 8, 3), np.uint8)).resize((64, 32))
            smooth.save(tmp_path / f"data/{split}/{number}.png")
    run = train_tiny(tmp_path / "run", data=tmp_path / "data").path
    [line] = evaluate(run, data=tmp_path / "data", device="cpu")
    assert not {name.partition("/")[0] for name in line["metrics"]} & set(LABEL_MAP_METRICS)
    assert set(line["not-measured"]) == {"lpips"}  # nobody asked for the others
    [line] = evaluate(run, data=tmp_path / "data", names=["l1", "class-iou"], device="cpu")
    assert "neither side of the training pairs is a label map" in line["not-measured"]["class-iou"]


@pytest.mark.parametrize(("labels", "asked"), [(False, [PROBE_PAIRS]), (True, [PROBE_PAIRS, MAX_TRAINING_PAIRS])])
def test_thousands_of_pairs_are_loaded_only_where_there_are_labels(pairs: Path, labels: bool, asked: list[int]) -> None:
    loads = []
    photos, maps = (loaded(pairs / "train", part) for part in (PHOTO, LABELS))

    def training(most: int) -> tuple[torch.Tensor, torch.Tensor]:
        loads.append(most)
        return photos, maps if labels else photos

    found = open_label_maps(LABEL_MAP_METRICS, training, "8-bit/32px", EvalOptions())
    assert loads == asked
    assert bool(found) == labels
