"""A layout of a person's own: one class and one entry in the list, and every command knows it."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from diptych.cli import run as command
from diptych.data import layouts
from diptych.data.datasets import Dataset
from diptych.data.layouts import Layout
from diptych.data.paths import DataPaths, Split
from diptych.data.sides import RGB, Specs
from diptych.evaluate import evaluate
from diptych.images import files
from diptych.kinds import DataKind
from diptych.prepare.inspect import inspect
from diptych.training.run import Run
from diptych.translate import translate

# ---- the toy: DIR/train.npz + DIR/val.npz, each with arrays a and b


class NpzPairs(Dataset):
    def __init__(self, file: Path, specs: Specs) -> None:
        self.file, self.specs = file, specs
        self.a, self.b = (np.load(file)[side] for side in "ab")

    def __len__(self) -> int:
        return len(self.a)

    def describe(self, height: int, width: int) -> str:
        return f"{len(self)} pairs in {self.file}, {width}x{height}"

    def name(self, index: int) -> str:
        return f"{index:03d}"

    def files(self, index: int) -> str:
        return f"{self.file}, pair {index}"

    def load(self, index: int) -> tuple[Tensor, Tensor]:
        return self.specs[0].read(self.a[index]), self.specs[1].read(self.b[index])


class Npz(Layout):
    name, kinds, looks_like = "pairs of arrays", (DataKind.PAIRED,), "DIR/train.npz"

    def find(self, kind: DataKind, paths: DataPaths, split: Split, specs: Specs) -> Sequence[Dataset] | None:
        if paths.folder_b or not (paths.folder / "train.npz").is_file():
            return None
        file = paths.folder / f"{split}.npz"
        return [NpzPairs(file, specs)] if file.is_file() else []


@pytest.fixture(params=["appended", "first"])
def toy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of it, while the list has it."""
    (tmp_path / "toy").mkdir()
    generator = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        sides = {side: generator.integers(0, 256, (count, 32, 32, 3), np.uint8) for side in "ab"}
        np.savez(tmp_path / "toy" / f"{split}.npz", **sides)  # type: ignore[arg-type]
    own = [*layouts.LAYOUTS, Npz()] if request.param == "appended" else [Npz(), *layouts.LAYOUTS]
    monkeypatch.setattr(layouts, "LAYOUTS", own)
    return tmp_path / "toy"


def test_a_toy_layout_is_trained_translated_measured_and_inspected(
    toy: Path, train_tiny: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train_tiny(tmp_path / "run", data=toy, validate_every=6).path
    picture = NpzPairs(toy / "val.npz", RGB).load(0)[1]
    files.encode(files.Pixels(picture.permute(1, 2, 0).numpy()), tmp_path / "in.png")
    translate(run, [tmp_path / "in.png"], out=tmp_path / "out.png")
    lines = evaluate(run, data=toy, device="cpu", baselines=True)
    assert lines[0]["count"] == 2
    assert {path.name for path in (run / "results/val/output").iterdir()} == {"000.png", "001.png"}
    of_results = files.decode(run / "results/val/output/000.png").values
    assert np.abs(of_results.astype(int) - files.decode(tmp_path / "out.png").values).max() <= 1

    findings = inspect(toy)
    assert findings.methods == ["pix2pix"]
    assert "pairs of arrays: fits as paired, 6 samples" in findings.layouts
    assert findings.command is not None
    monkeypatch.chdir(tmp_path)
    assert command([*shlex.split(findings.command)[1:], "--size", "32", "--dry-run"]) == 0


def test_every_layout_says_in_a_line_whether_it_fits(tiny_pairs: Path, tiny_classes: Path, tmp_path: Path) -> None:
    for folder, fitting in (
        (tiny_pairs, {"side-by-side pictures", "single pictures"}),
        (tiny_classes, {"a folder for each class", "single pictures"}),
        (tmp_path, set()),
    ):
        lines = layouts.explain(DataPaths(folder))
        assert [line.partition(": ")[0] for line in lines] == [layout.name for layout in layouts.LAYOUTS]
        assert all("\n" not in line for line in lines)
        assert {line.partition(": ")[0] for line in lines if ": fits as " in line} == fitting
    (tmp_path / "trainA").mkdir()
    told = dict(line.split(": ", 1) for line in layouts.explain(DataPaths(tmp_path)))
    assert "missing" in told["A and B in two folders"]  # the reason is the error that training would stop with


def test_what_training_finds_is_what_is_explained(tiny_pairs: Path, tiny_photos: Path, tiny_classes: Path) -> None:
    for folder in (tiny_pairs, tiny_photos, tiny_classes):
        for kind in DataKind:
            try:
                found = layouts.match(kind, DataPaths(folder), "train")
            except ValueError:
                continue
            if found:
                assert ": fits as " in found.layout.explain(DataPaths(folder))


def test_a_layout_without_training_pictures_is_named(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Npz, "find", lambda *_: [])
    with pytest.raises(ValueError, match="has no pictures to train on"):
        layouts.find(DataKind.PAIRED, DataPaths(toy), "train")


def test_the_toy_batches_are_its_arrays(toy: Path) -> None:
    found = layouts.find_one(DataKind.PAIRED, DataPaths(toy), "val")
    assert found is not None
    a, _ = found.load(1)
    assert torch.equal(a.permute(1, 2, 0), torch.from_numpy(np.load(toy / "val.npz")["a"][1]))
    assert layouts.find_one(DataKind.PAIRED, DataPaths(toy), "test") is None
