"""Pictures in folders of what they show: which classes are found, and that every picture keeps its own."""

import json
import os
import shutil
import sys
import tomllib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import diptych
from diptych import cli
from diptych.data.datasets import Dataset, FileDataset, LabelledDataset, classes_of
from diptych.data.layouts import class_of, find, find_one
from diptych.data.loaders import CachedDataset, TrainLoader, open_cached
from diptych.data.paths import DataPaths
from diptych.images.size import Size
from diptych.images.spec import ImageSpec
from diptych.kinds import DataKind
from diptych.training.run import Run

Train = Callable[..., Run]
CPU = torch.device("cpu")
ODD_NAMES = ("größe 7", "日本", """it's "so" [1]""", "a.b", "-x")


def paint(folder: Path, classes: Mapping[str, Sequence[int]], side: int = 16) -> Path:
    """A picture of each grey level in the folder of its class."""
    for name, levels in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, level in enumerate(levels):
            Image.new("RGB", (side, side), (level, level, level)).save(folder / name / f"{number}.png")
    return folder


def found_in(folder: Path, split: Any = "train") -> dict[str, str]:
    """The class of each picture."""
    source = find_one(DataKind.LABELLED, DataPaths(folder), split)
    assert isinstance(source, LabelledDataset)
    return {source.name(number): source.classes[source.label(number)] for number in range(len(source))}


def refused(folder: Path, *parts: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        find(DataKind.LABELLED, DataPaths(folder), "train")
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


# ---- which classes


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    paint(tmp_path, {"cat": [1, 2], "dog": [3]})
    assert found_in(tmp_path) == {"cat/0": "cat", "cat/1": "cat", "dog/0": "dog"}


def test_a_folder_for_each_class_in_each_split(tmp_path: Path) -> None:
    paint(tmp_path / "train", {"cat": [1, 2], "dog": [3]})
    paint(tmp_path / "val", {"dog": [4]})
    assert found_in(tmp_path) == {"cat/0": "cat", "cat/1": "cat", "dog/0": "dog"}
    assert found_in(tmp_path, "val") == {"dog/0": "dog"}
    assert find(DataKind.LABELLED, DataPaths(tmp_path), "test") is None


def test_folders_in_a_class_belong_to_it(tmp_path: Path) -> None:
    paint(tmp_path, {"cat/indoors/asleep": [1], "cat": [2], "dog/cat": [3]})
    assert found_in(tmp_path) == {"cat/0": "cat", "cat/indoors/asleep/0": "cat", "dog/cat/0": "dog"}
    assert class_of(Path("a/b/c/1.png"), Path("a")) == "b"
    assert class_of(Path("a/1.png"), Path("a")) == ""


def test_hidden_folders_and_runs_are_no_classes(tmp_path: Path) -> None:
    paint(tmp_path, {"cat": [1], ".cache": [2], "run/samples": [3]})
    (tmp_path / "run/settings.toml").touch()
    (tmp_path / "empty").mkdir()
    assert found_in(tmp_path) == {"cat/0": "cat"}


def test_classes_are_in_the_order_of_their_names_and_numbers_are_counted_up(tmp_path: Path) -> None:
    paint(tmp_path, {name: [1] for name in ("zebra", "10", "9", "Ant", "1b", "100", "日本")})
    [source] = find(DataKind.LABELLED, DataPaths(tmp_path), "train") or []
    assert classes_of([source]) == ("9", "10", "100", "1b", "Ant", "zebra", "日本")


@settings(deadline=None, max_examples=50)
@given(names=st.lists(st.sampled_from(["b", "a c", "ü", "12", "3", "100"]), min_size=1, max_size=12))
def test_a_label_is_the_place_of_its_class(names: list[str]) -> None:
    folder = Path("animals")
    files = FileDataset(folder, [folder / name / f"{n}.png" for n, name in enumerate(names)], (ImageSpec(3),))
    source = LabelledDataset(files, names)
    assert len(source.classes) == len(set(names))
    assert [source.classes[source.label(number)] for number in range(len(names))] == names
    numbers = [int(name) for name in source.classes if name.isdecimal()]
    assert numbers == sorted(numbers)


def test_a_labelled_picture_is_the_same_picture(tmp_path: Path) -> None:
    paint(tmp_path, {"cat": [10], "dog": [20]})
    [source] = find(DataKind.LABELLED, DataPaths(tmp_path), "train", (ImageSpec(1), ImageSpec(3))) or []
    [plain] = find(DataKind.IMAGES, DataPaths(tmp_path), "train", (ImageSpec(1), ImageSpec(3))) or []
    assert isinstance(source, LabelledDataset)
    assert (len(source), source.specs) == (2, (ImageSpec(1),))
    assert torch.equal(source.load(1)[0], torch.full((1, 16, 16), 20, dtype=torch.uint8))
    assert source.decode(1).values.max() == 20
    assert [source.name(1), source.files(1)] == [plain.name(1), plain.files(1)]
    assert source.describe(16, 16) == f"2 pictures in {tmp_path}, 16x16, in 2 classes (cat, dog)"


def test_of_many_classes_some_are_named(tmp_path: Path) -> None:
    def said(count: int) -> str:
        names = [str(number) for number in range(count)]
        return LabelledDataset(
            FileDataset(tmp_path, [tmp_path / name for name in names], (ImageSpec(3),)), names
        ).describe(8, 8)

    assert said(10).endswith("in 10 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)")
    assert said(100).endswith("in 100 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, ... 99)")


# ---- none


def test_a_picture_beside_the_classes_is_refused(tmp_path: Path) -> None:
    paint(tmp_path, {"cat": [1], "dog": [2]})
    Image.new("RGB", (16, 16)).save(tmp_path / "dogs and cats.png")
    refused(tmp_path, f"{tmp_path / 'dogs and cats.png'}: lies in no class", "move it", "a folder for each class")


def test_pictures_in_no_folders_and_arrays_have_no_classes(tmp_path: Path) -> None:
    paint(tmp_path / "flat", {".": [1, 2]})
    np.save(tmp_path / "faces.npy", np.zeros((2, 16, 16, 3), np.uint8))
    for place in ("flat", "faces.npy"):
        [source] = find(DataKind.LABELLED, DataPaths(tmp_path / place), "train") or []
        assert (len(source), classes_of([source])) == (2, ())


def test_records_have_no_classes(tmp_path: Path, write_tfrecord: Callable[..., Path]) -> None:
    picture = paint(tmp_path / "flat", {".": [1]}) / "0.png"
    write_tfrecord(tmp_path / "records/a.tfrec", [{"image": picture.read_bytes()}])
    [source] = find(DataKind.LABELLED, DataPaths(tmp_path / "records"), "train") or []
    assert (len(source), classes_of([source])) == (1, ())


def test_nothing_there_is_said_as_ever(tmp_path: Path) -> None:
    refused(tmp_path / "none", "none: no such folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "empty: no pictures found")
    with pytest.raises(ValueError, match=r"single pictures are learnt from.*--data DIR"):
        find(DataKind.LABELLED, DataPaths(tmp_path, tmp_path), "train")


# ---- batches: every sample with its own label


def batches(store: CachedDataset, batch_size: int, seed: int = 0, size: int = 8) -> TrainLoader:
    return TrainLoader([store], size=Size.square(size), batch_size=batch_size, flip=True, seed=seed, direction="AtoB")


def levels(batch: dict[str, torch.Tensor]) -> list[int]:
    """The grey level of each picture, which tells its class."""
    return [round((one + 1) * 127.5) for one in batch["y"].mean(dim=(1, 2, 3)).tolist()]


@pytest.fixture(scope="module")
def greys(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Seven pictures in three classes: 10 to 12 are of the first, 20 of the second, 30 to 32 of the third."""
    folder = paint(tmp_path_factory.mktemp("greys"), {"a": [10, 11, 12], "b": [20], "c": [30, 31, 32]})
    [source] = find(DataKind.LABELLED, DataPaths(folder), "train") or []
    return source


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batch_size=st.integers(1, 9),
    start=st.integers(0, 20),
    count=st.integers(1, 9),
    workers=st.sampled_from([0, 2]),
    seed=st.integers(0, 5),
)
def test_a_label_belongs_to_its_picture(
    greys: Dataset, batch_size: int, start: int, count: int, workers: int, seed: int
) -> None:
    [store] = open_cached([greys], Size.square(9), "stretch", memory_gib=1)
    endless = batches(store, batch_size, seed)
    found = list(endless.stream(start, start + count, CPU, workers))
    assert len(found) == count
    for batch in found:
        assert sorted(batch) == ["label", "y"]
        assert batch["label"].dtype == torch.int64
        assert batch["label"].shape == (batch_size,)
        assert batch["label"].tolist() == [level // 10 - 1 for level in levels(batch)]


def test_every_epoch_shows_every_picture_once_with_its_label(greys: Dataset) -> None:
    endless = batches(CachedDataset(greys, Size.square(8)), batch_size=7)
    for batch in endless.stream(0, 4, CPU, 0):
        assert sorted(levels(batch)) == [10, 11, 12, 20, 30, 31, 32]
        assert sorted(batch["label"].tolist()) == [0, 0, 0, 1, 2, 2, 2]


@pytest.mark.parametrize("workers", [0, 2])
def test_labels_stay_with_their_pictures_when_some_are_left_out(greys: Dataset, workers: int) -> None:
    store = CachedDataset(greys, Size.square(8))
    left_out = store.check(1, reject_reason=lambda picture: "dull" if picture[0, 0, 0] in (10, 20, 31) else None)
    assert left_out == {"a/0": "dull", "b/0": "dull", "c/1": "dull"}
    for batch in batches(store, batch_size=3).stream(0, 6, CPU, workers):
        assert set(levels(batch)) <= {11, 12, 30, 32}
        assert batch["label"].tolist() == [level // 10 - 1 for level in levels(batch)]


def test_labels_are_where_the_pictures_are(greys: Dataset) -> None:
    [batch] = batches(CachedDataset(greys, Size.square(8)), batch_size=2).stream(0, 1, torch.device("meta"), 0)
    assert {value.device.type for value in batch.values()} == {"meta"}


def test_pictures_without_classes_come_without_labels(tmp_path: Path) -> None:
    [source] = find(DataKind.LABELLED, DataPaths(paint(tmp_path, {".": [1, 2]})), "train") or []
    for batch in batches(CachedDataset(source, Size.square(8)), batch_size=2).stream(0, 2, CPU, 0):
        assert sorted(batch) == ["y"]


# ---- runs


def test_any_name_of_a_class_survives_to_the_last_picture(
    train_tiny: Train, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = paint(tmp_path / "data", {name: [number * 40] for number, name in enumerate(ODD_NAMES)})
    run = train_tiny(tmp_path / "run", "cgan", data=data, steps=1)
    names = sorted(ODD_NAMES)
    about = tomllib.loads((run.path / "settings.toml").read_text(encoding="utf-8"))["run"]
    config = json.loads((run.path / "model/config.json").read_text(encoding="utf-8"))
    assert (about["classes"], config["shape"]["classes"]) == (names, names)
    assert Run.open(run.path).classes == tuple(names)
    model = diptych.load(run.path, device="cpu")
    assert list(model.translator.classes) == names
    assert [model.translator.index_of(name) for name in names] == list(range(len(names)))
    flags = [f"--label={name}" for name in names]
    assert cli.run(["sample", str(run.path), "--out", str(tmp_path / "out"), "--count", "1", *flags]) == 0
    assert {file.relative_to(tmp_path / "out") for file in (tmp_path / "out").rglob("*.png")} == {
        Path(name) / "00000.png" for name in names
    }
    assert capfd.readouterr().err == ""


def test_single_files_are_what_training_reads(train_tiny: Train, sampling_run: Path, tmp_path: Path) -> None:
    diptych.sample(sampling_run, out=tmp_path / "made", count=2, device="cpu")
    run = train_tiny(tmp_path / "run", "cgan", data=tmp_path / "made", steps=1)
    assert run.classes == diptych.load(sampling_run, device="cpu").translator.classes


def test_pictures_in_no_classes_are_learnt_from_without_labels_or_not_at_all(train_tiny: Train, tmp_path: Path) -> None:
    data = paint(tmp_path / "data", {".": [0, 100, 200]})
    with pytest.raises(ValueError, match=r"--method\.conditional false"):
        train_tiny(tmp_path / "run", "cgan", data=data, steps=1)
    assert not (tmp_path / "run").exists()
    run = train_tiny(tmp_path / "run", "cgan", data=data, steps=1, method={"conditional": False})
    assert run.classes == ()
    assert len(diptych.load(run.path, device="cpu").sample(count=2)) == 2


def test_a_class_of_one_picture_is_learnt_and_drawn(train_tiny: Train, tmp_path: Path) -> None:
    data = paint(tmp_path / "data", {"one": [0], "many": [100, 150, 200]})
    run = train_tiny(tmp_path / "run", "cgan", data=data, steps=2)
    assert run.classes == ("many", "one")
    assert len(diptych.load(run.path, device="cpu").sample("one", count=2)) == 2


def test_classes_are_those_of_the_training_set(train_tiny: Train, tmp_path: Path) -> None:
    paint(tmp_path / "data/train", {"a": [0, 1], "b": [100], "c": [200]})
    paint(tmp_path / "data/val", {"b": [100]})
    run = train_tiny(tmp_path / "run", "cgan", data=tmp_path / "data", steps=1)
    assert diptych.load(run.path, device="cpu").translator.classes == ("a", "b", "c")


def test_pictures_of_a_renamed_class_are_other_pictures(train_tiny: Train, tmp_path: Path) -> None:
    """Its labels would mean something else."""
    data = paint(tmp_path / "data", {"cat": [0], "dog": [100]})
    train_tiny(tmp_path / "run", "cgan", data=data, steps=1)
    train_tiny(tmp_path / "run", "cgan", data=data, steps=2)  # goes on
    model = (tmp_path / "run/model/model.safetensors").read_bytes()
    shutil.move(data / "dog", data / "hound")
    with pytest.raises(ValueError, match=r"was trained on other pictures.*--fresh"):
        train_tiny(tmp_path / "run", "cgan", data=data, steps=3)
    assert (tmp_path / "run/model/model.safetensors").read_bytes() == model


def test_numbers_are_counted_up_however_they_are_written() -> None:
    names = ["12", "003", "b", "2", "a 1", "10"]
    files = FileDataset(Path(), [Path(name) for name in names], (ImageSpec(3),))
    assert LabelledDataset(files, names).classes == ("2", "003", "10", "12", "a 1", "b")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have Unicode names only")
def test_a_class_that_no_settings_file_can_hold_is_refused(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "1.png")
    with pytest.raises(ValueError, match=r"must be Unicode, and this one is not; rename the folder"):
        find(DataKind.LABELLED, DataPaths(tmp_path), "train")


def test_a_split_without_training_pictures_is_told_the_layouts_of_classes(tmp_path: Path) -> None:
    (tmp_path / "val/cat").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "val/cat/1.png")
    with pytest.raises(ValueError, match=r"train folder.*a folder for each class"):
        find(DataKind.LABELLED, DataPaths(tmp_path), "train")


def test_a_class_that_is_called_as_a_split_is_named(tmp_path: Path) -> None:
    paint(tmp_path / "vehicles", {"car": [1], "plane": [2], "train": [3]})
    with pytest.raises(
        ValueError, match=r"vehicles/train: is taken for a split, and beside it are car, plane; rename it"
    ):
        find(DataKind.LABELLED, DataPaths(tmp_path / "vehicles"), "train")
    paint(tmp_path / "divided", {"train/car": [1], "train/train": [3], "val/car": [2]})
    assert found_in(tmp_path / "divided").keys() == {"car/0", "train/0"}


def test_a_class_is_one_in_both_unicode_forms(tmp_path: Path) -> None:
    for split, form in (("train", "NFD"), ("val", "NFC")):
        folder = tmp_path / split / unicodedata.normalize(form, "Müller")  # type: ignore[arg-type]
        folder.mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(folder / "1.png")
    paths = DataPaths(tmp_path)
    train, val = (find_one(DataKind.LABELLED, paths, split) for split in ("train", "val"))
    assert classes_of([train]) == classes_of([val]) == ("M\u00fcller",)  # type: ignore[list-item]
