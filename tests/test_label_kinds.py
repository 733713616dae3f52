"""`--kind-a labels` and `--labels`: never interpolated, one plane a class, remembered by the model, measured."""

import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import diptych
from diptych.data.builtin import facades
from diptych.data.layouts import find_one
from diptych.data.loaders import TrainLoader, open_cached
from diptych.data.paths import DataPaths
from diptych.evaluate import evaluate
from diptych.images.size import Size
from diptych.kinds import DataKind
from diptych.networks import augment
from diptych.train import train
from diptych.training.run import Run
from diptych.training.settings import settings_from
from diptych.translate import translate

Train = Callable[..., Run]
LABELS = [f"{name},{r},{g},{b}" for name, (r, g, b) in facades.LABELS.items()]
K = len(LABELS)
SIZE = 48


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs in A, label maps in B, of 48 px; and labels.csv."""
    folder = tmp_path_factory.mktemp("pairs")
    for split, count in (("train", 6), ("val", 3)):
        for side in "AB":
            (folder / f"{split}{side}").mkdir()
        for number in range(count):
            photo, drawn = facades.draw_pair(number + 100 * (split == "val"), SIZE)
            photo.save(folder / f"{split}A/{number}.png")
            drawn.save(folder / f"{split}B/{number}.png")
    (folder / "labels.csv").write_text("\n".join(LABELS), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def drawing_run(train_tiny: Train, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs into labels."""
    out = tmp_path_factory.mktemp("runs") / "drawing"
    return train_tiny(out, data=pairs, direction="AtoB", kind_b="labels", labels=str(pairs / "labels.csv")).path


def colours_in(values: Any) -> set[tuple[int, ...]]:
    return set(map(tuple, np.asarray(values).reshape(-1, np.asarray(values).shape[-1]).tolist()))


def test_label_maps_are_never_interpolated(pairs: Path) -> None:
    specs = settings_from("pix2pix", {"kind_b": "labels"}).specs
    [cached] = open_cached([found(pairs, specs)], Size.square(31), "stretch", 1, exact=False)
    loader = TrainLoader([cached], size=Size.square(24), batch_size=4, flip=True, seed=0, direction="AtoB")
    for step in range(3):
        batch = loader.batch(step)
        assert colours_in(batch["y"].permute(0, 2, 3, 1)) <= set(facades.LABELS.values())
        assert len(colours_in(batch["x"].permute(0, 2, 3, 1))) > 50


def found(data: Path, specs: Any) -> Any:
    dataset = find_one(DataKind.PAIRED, DataPaths(data), "train", specs)
    assert dataset is not None
    return dataset


def test_labels_are_one_plane_a_class(pairs: Path) -> None:
    specs = settings_from("pix2pix", {"kind_b": "labels", "labels": LABELS}).specs
    [cached] = open_cached([found(pairs, specs)], Size.square(SIZE), "stretch", 1)
    planes = cached.sides(2)[1]
    assert (planes.shape, planes.dtype) == ((K, SIZE, SIZE), torch.uint8)
    assert set(planes.flatten().tolist()) == {0, 255}
    assert (planes.int().sum(0) == 255).all()
    drawn = np.asarray(facades.draw_pair(2, SIZE)[1])
    np.testing.assert_array_equal(np.array([*facades.LABELS.values()])[planes.argmax(0)], drawn)


def test_colours_of_labels_are_never_augmented(monkeypatch: pytest.MonkeyPatch, train_tiny: Train, pairs: Path) -> None:
    recoloured: list[torch.Size] = []
    own = augment.colour

    def colour(images: torch.Tensor) -> torch.Tensor:
        recoloured.append(images.shape)
        return own(images)

    monkeypatch.setattr(augment, "colour", colour)
    monkeypatch.setattr("diptych.methods.pix2pix.colour", colour)
    for method in ("pix2pix", "cyclegan"):
        settings: dict[str, Any] = {"data": pairs, "steps": 2, "direction": "AtoB", "dry_run": False}
        for name, kind in (("plain", "image"), ("labels", "labels")):
            recoloured.clear()
            train_tiny(
                pairs.parent / f"{pairs.name}-{method}-{name}",
                method,
                **settings,
                kind_a=kind,
                kind_b=kind,
                method={"augment": True},
            )
            assert bool(recoloured) == (kind == "image")


def test_labels_travel_in_the_model_and_outputs_are_in_their_palette(
    drawing_run: Path, pairs: Path, tmp_path: Path
) -> None:
    settings = Run.open(drawing_run).settings
    assert settings.labels == tuple(LABELS)
    assert '"sky,0,0,170"' in (drawing_run / "model/config.json").read_text()
    Image.open(pairs / "valA/0.png").resize((40, 56)).save(tmp_path / "photo.jpg")
    (tmp_path / "in").mkdir()
    (tmp_path / "photo.jpg").rename(tmp_path / "in/photo.jpg")
    assert translate(drawing_run, tmp_path / "in", out=tmp_path / "out") == []
    with Image.open(tmp_path / "out/photo.png") as drawn:
        assert drawn.size == (40, 56)
        assert colours_in(drawn) <= set(facades.LABELS.values())
    model = diptych.load(drawing_run, device="cpu")
    with Image.open(pairs / "valA/0.png") as photo:
        assert colours_in(model(photo, working_size=16)) <= set(facades.LABELS.values())
    [problem] = translate(drawing_run, tmp_path / "in/photo.jpg", out=tmp_path / "y.jpg")
    assert "use .png" in problem


def test_label_maps_are_translated_by_the_same_labels(train_tiny: Train, pairs: Path, tmp_path: Path) -> None:
    run = train_tiny(tmp_path / "run", data=pairs, direction="BtoA", kind_b="labels", labels=LABELS).path
    assert np.asarray(Image.open(next((run / "samples").glob("*.png")))).shape[-1] == 3
    with Image.open(pairs / "valB/1.png") as drawn:
        drawn.quantize(16, dither=Image.Dither.NONE).save(tmp_path / "palette.png")
        model = diptych.load(run, device="cpu")
        np.testing.assert_array_equal(model(drawn), model(drawn.quantize(16, dither=Image.Dither.NONE)))
        translated = model(tmp_path / "palette.png")
    assert len(colours_in(translated)) > 50
    metrics = evaluate(run, data=pairs, device="cpu")[0]["metrics"]
    assert 0 <= metrics[f"class-iou/segmenter/{K}-classes/8-bit/32px"] <= 1


def test_maps_of_indices_in_and_out(train_tiny: Train, pairs: Path, tmp_path: Path) -> None:
    table = {colour: index for index, colour in enumerate(facades.LABELS.values())}
    for split in ("train", "val"):
        for side in "AB":
            (tmp_path / f"data/{split}{side}").mkdir(parents=True)
        for file in (pairs / f"{split}B").iterdir():
            values = np.asarray(Image.open(file))
            indices = np.array([[table[tuple(pixel)] for pixel in row] for row in values.tolist()], np.uint8)
            Image.fromarray(indices).save(tmp_path / f"data/{split}B/{file.name}")
            Image.open(pairs / f"{split}A" / file.name).save(tmp_path / f"data/{split}A/{file.name}")
    labels = [f"{name},{index}" for index, name in enumerate(facades.LABELS)]
    run = train_tiny(tmp_path / "run", data=tmp_path / "data", direction="AtoB", kind_b="labels", labels=labels).path
    translate(run, tmp_path / "data/valA", out=tmp_path / "out")
    with Image.open(tmp_path / "out/0.png") as drawn:
        assert drawn.mode == "L"
        assert np.asarray(drawn).max() < K
    assert "B: files that use 0 to 7 of 255 levels" in said(tmp_path / "data", tmp_path / "dry")
    assert "--kind-b labels --labels FILE" in said(tmp_path / "data", tmp_path / "dry")
    with pytest.raises(ValueError, match=r"valB|trainB.*index \d, which is no label's"):
        said(tmp_path / "data", tmp_path / "dry", kind_b="labels", labels=labels[:3])


def said(data: Path, out: Path, **settings: Any) -> str:
    console = Console(file=StringIO(), width=1000)
    own: dict[str, Any] = {"method": {"width": 2, "patch": 16}, "device": "cpu", "steps": 2, "size": 32}
    train("pix2pix", data=data, out=out, dry_run=True, console=console, **own, **settings)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().split("\nsize = ")[0]


def test_numbers_that_labels_become_are_finer_than_8_bits(train_tiny: Train, pairs: Path, tmp_path: Path) -> None:
    """Photographs as numbers from 0 to 60,000: one in 235 of them would be all that 8 bits can write."""
    for split in ("train", "val"):
        shutil.copytree(pairs / f"{split}B", tmp_path / f"data/{split}A")
        (tmp_path / f"data/{split}B").mkdir()
        for file in (pairs / f"{split}A").iterdir():
            grey = np.asarray(Image.open(file).convert("L")).astype(np.uint16) * 235
            Image.fromarray(grey).save(tmp_path / f"data/{split}B" / file.name)
    settings: dict[str, Any] = {"kind_a": "labels", "labels": str(pairs / "labels.csv")}
    settings |= {"channels_b": 1, "bits_b": 16, "range_b": (0, 60_000)}
    run = train_tiny(tmp_path / "run", data=tmp_path / "data", direction="AtoB", **settings).path
    diptych.translate(run, pairs / "valB/0.png", out=tmp_path / "out.tif", device="cpu")
    with Image.open(tmp_path / "out.tif") as written:
        assert len(np.unique(np.asarray(written))) > 256


def test_colours_of_no_label_are_said(pairs: Path, tmp_path: Path) -> None:
    words = said(pairs, tmp_path / "run", kind_b="labels", labels=LABELS[:-1])
    assert "B: 6 of 6 files have colours that are no label's, in up to " in words
    assert "no label" not in said(pairs, tmp_path / "run", kind_b="labels", labels=LABELS)


def test_outputs_are_measured_by_their_classes(drawing_run: Path, pairs: Path) -> None:
    [model, *others] = evaluate(drawing_run, data=pairs, device="cpu", baselines=True)
    name = f"per-pixel-accuracy/as-drawn/{K}-classes/8-bit/32px"
    assert {line["who"]: line["metrics"].get(name) for line in others}["held-out pictures"] == 1
    accuracies = []
    for number in range(3):
        folder = drawing_run / "results/val"
        output, true = (np.asarray(Image.open(folder / f"{panel}/{number}.png")) for panel in ("output", "target"))
        assert colours_in(output) <= set(facades.LABELS.values())
        accuracies.append((output == true).all(-1).mean())
    assert model["metrics"][name] == pytest.approx(np.mean(accuracies), abs=1e-3)  # ties between classes at 8 bits
    with pytest.raises(ValueError, match=rf"--metrics lpips: .*RGB or grey, and B has {K} channels"):
        evaluate(drawing_run, data=pairs, device="cpu", names=["lpips"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"labels": LABELS}, "--labels: of which side"),
        ({"labels": "nowhere.txt", "kind_a": "labels"}, "nowhere.txt"),
        ({"kind_b": "labels", "range_b": [0, 3]}, "--range-b: label maps have no range"),
        ({"kind_b": "label"}, "--kind-b: .*labels"),
        ({"kind_b": "labels", "labels": ["sky"]}, "--labels: .*no label"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settings_from("pix2pix", settings)


def test_label_maps_are_never_written_as_jpeg(train_tiny: Train, pairs: Path, tmp_path: Path) -> None:
    run = train_tiny(
        tmp_path / "run", data=pairs, direction="AtoB", kind_b="labels"
    ).path  # without names of labels too
    (tmp_path / "photos").mkdir()
    photo = tmp_path / "photos/1.jpg"
    Image.open(pairs / "valA/0.png").convert("RGB").save(photo)
    translate(run, photo.parent, out=tmp_path / "out", device="cpu")
    assert (tmp_path / "out/1.png").read_bytes().startswith(b"\x89PNG")
    [problem] = translate(run, photo, out=tmp_path / "1.jpg", device="cpu")
    assert "1.jpg: .jpg changes the colours of labels; use .png or .tif" in problem
