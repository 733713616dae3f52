"""Well-known data as it is published: tables of pixels, npz, CIFAR. What was written is read, or refused with the remedy."""

import gzip
import io
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from diptych.cli import run as command
from diptych.data import layouts, leaks
from diptych.data.datasets import LabelledDataset
from diptych.data.paths import DataPaths
from diptych.images.files import Array
from diptych.images.spec import ImageSpec
from diptych.kinds import DataKind
from diptych.prepare.inspect import inspect

COLOURS = (ImageSpec(3), ImageSpec(3))
GREYS = (ImageSpec(1), ImageSpec(1))


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def labelled(path: Path, split: Any = "train") -> LabelledDataset:
    [dataset] = layouts.find(DataKind.LABELLED, DataPaths(path), split, COLOURS) or []
    assert isinstance(dataset, LabelledDataset)
    return dataset


def require_same(dataset: LabelledDataset, pictures: Array, labels: list[str]) -> None:
    """The pictures `[N, H, W]` or `[N, H, W, 3]`, and the labels, of a dataset."""
    colours = pictures if pictures.ndim == 4 else np.repeat(pictures[..., None], 3, axis=-1)
    assert len(dataset) == len(pictures)
    for index, picture in enumerate(colours):
        [levels] = dataset.load(index)
        assert np.array_equal(levels.permute(1, 2, 0).numpy(), picture)
        assert dataset.classes[dataset.label(index)] == labels[index]


def refused(path: Path, first: str, *parts: str) -> None:
    """One line that holds every part."""
    with pytest.raises(ValueError, match=re.escape(first)) as caught:
        layouts.find(DataKind.LABELLED, DataPaths(path), "train")
    assert all(part in str(caught.value) for part in parts), caught.value
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))


def make(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


# ---- tables of pixels


def write_table(file: Path, pictures: Array, labels: list[str], header: str = "label", last: bool = False) -> Path:
    rows = [[str(level) for level in row] for row in pictures.reshape(len(pictures), -1).tolist()]
    rows = [[*row, label] if last else [label, *row] for row, label in zip(rows, labels, strict=True)]
    if header:
        pixels = [f"pixel{number}" for number in range(len(rows[0]) - 1)]
        rows.insert(0, [*pixels, header] if last else [header, *pixels])
    make(file).write_text("".join(",".join(row) + "\r\n" for row in rows), encoding="utf-8")
    return file


@given(
    count=st.integers(1, 3),
    side=st.sampled_from([16, 28, 32]),
    channels=st.sampled_from([(), (3,)]),
    header=st.sampled_from(["", "label", "Class"]),
    last=st.booleans(),
    words=st.booleans(),
    name=st.sampled_from(["train.csv", "fashion-mnist_train.csv", "A_Z Handwritten Data.csv", "MNIST_TRAIN.CSV"]),
    given_file=st.booleans(),
)
@settings(max_examples=40)
def test_what_was_written_in_a_table_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    count: int,
    side: int,
    channels: tuple[int, ...],
    header: str,
    last: bool,
    words: bool,
    name: str,
    given_file: bool,
) -> None:
    pictures = noise(count, side, side, *channels)
    labels = ["a cat", "dog", "é"][:count] if words else ["9", "12", "0"][:count]
    last = last and bool(header)  # without a header the label is first
    file = write_table(tmp_path_factory.mktemp("table") / name, pictures, labels, header, last)
    path = file if given_file else file.parent
    require_same(labelled(path), pictures, labels)
    assert layouts.uniform(DataKind.LABELLED, DataPaths(path)) == (side, side, *(channels or (1,)))


def test_the_tables_of_a_folder_are_its_splits_and_others_are_passed_over(tmp_path: Path) -> None:
    """As Kaggle's digits, with a test set that has no labels, and as its letters of sign language, with one that has."""
    write_table(tmp_path / "train.csv", noise(4, 28, 28), list("0123"))
    test = [",".join(f"pixel{number}" for number in range(784)), ",".join(["0"] * 784)]
    (tmp_path / "test.csv").write_text("\n".join(test))
    (tmp_path / "sample_submission.csv").write_text("ImageId,Label\n1,0\n2,0\n")
    assert len(labelled(tmp_path)) == 4
    assert layouts.held_out(DataKind.LABELLED, DataPaths(tmp_path)) is None
    (tmp_path / "test.csv").unlink()
    write_table(tmp_path / "digits_test.csv", noise(2, 28, 28), list("01"), header="label")
    assert len(labelled(tmp_path, "test")) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "id,label\n1,cat\n2,dog\n",
        "1,2,3\n4,5,6\n",
        "x" * 10**7,
    ],
)
def test_other_tables_are_no_pictures(tmp_path: Path, text: str) -> None:
    (tmp_path / "train.csv").write_text(text)
    refused(tmp_path, "no pictures found")
    refused(tmp_path / "train.csv", "train.csv: is a file")


def test_other_separators_compression_and_a_word_at_the_end(tmp_path: Path) -> None:
    pictures = noise(3, 16, 16)
    text = write_table(tmp_path / "a/train.csv", pictures, list("201")).read_text()
    (tmp_path / "a/train.csv").write_text(text.replace(",", ";").replace("\n", "\n\n"))
    make(tmp_path / "b/train.csv.gz").write_bytes(gzip.compress(text.encode()))
    write_table(tmp_path / "c/train.csv", pictures, ["cat", "dog", "cat"], header="", last=True)
    for path in (tmp_path / "a", tmp_path / "a/train.csv", tmp_path / "b", tmp_path / "b/train.csv.gz"):
        require_same(labelled(path), pictures, list("201"))
    require_same(labelled(tmp_path / "c"), pictures, ["cat", "dog", "cat"])


def test_a_label_that_may_be_last_is_asked_for(tmp_path: Path) -> None:
    """The first pixel of a digit is black: it was the only class."""
    pictures = noise(3, 16, 16)
    pictures[:, 0, 0] = 0
    write_table(tmp_path / "train.csv", pictures, list("201"), header="", last=True)
    refused(tmp_path, str(tmp_path / "train.csv"), "which is the label?", "pixel0,...,label")


PIXELS = ",".join(["7"] * 256)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{PIXELS}\n{PIXELS}\n", "train.csv:2: 256 columns, which are pixels without a label; add a column"),
        (f"id,label,{PIXELS}\n1,2,{PIXELS}\n", "train.csv:2: 258 columns; a label and a square picture"),
        (
            f"1,{PIXELS}\n2,0.5,{PIXELS[2:]}\n1,{PIXELS}",
            "train.csv:2: '0.5', and a whole number",
        ),
        (f"a,b\n{PIXELS}\n", "train.csv:2: 256 columns, and 2 in the line before"),
        (f"1,{PIXELS}\n2,{PIXELS}\n\n3,{PIXELS},7\n", "train.csv:4: 258 columns, and 257 are expected"),
        (
            f"1,{PIXELS}\n2,{PIXELS}\n3,{PIXELS[:-1]}-1\n",
            "train.csv:3: '-1', and a whole number from 0 to 255 is expected",
        ),
        (f"1,{PIXELS}\n2,{PIXELS}\n,{PIXELS}\n", "train.csv:3: no label"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "train.csv").write_text(text)
    for path in (tmp_path, tmp_path / "train.csv"):
        refused(path, message)


def test_tables_that_were_cut_off_or_changed_are_named(tmp_path: Path) -> None:
    file = write_table(tmp_path / "train.csv", noise(3, 16, 16), list("012"))
    whole = file.read_text()
    for damaged in (whole[:-40], f"{whole[:-40]},256,{whole[-39:]}", f"{whole[:-40]},x,{whole[-39:]}", f"{whole}1\n"):
        file.write_text(damaged)
        refused(tmp_path, str(file), "copy it again")


def test_two_tables_of_one_split_are_not_mixed(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        write_table(tmp_path / name, noise(1, 16, 16), ["0"])
    refused(tmp_path, "two sets", "a.csv", "b.csv")
    (tmp_path / "b.csv").rename(tmp_path / "test.csv")
    assert (len(labelled(tmp_path)), len(labelled(tmp_path, "test"))) == (1, 1)


def test_a_test_set_alone_is_nothing_to_learn_from(tmp_path: Path) -> None:
    write_table(tmp_path / "mnist_test.csv", noise(1, 16, 16), ["0"])
    refused(tmp_path, "no training pictures", "mnist_test.csv")
    assert len(labelled(tmp_path / "mnist_test.csv")) == 1  # who names it means it


def test_what_lies_beside_pictures_is_no_data_set(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(make(tmp_path / "cat/1.png"))
    write_table(tmp_path / "train.csv", noise(3, 16, 16), list("012"))
    np.savez(tmp_path / "features.npz", noise(3, 512))
    [dataset] = layouts.find(DataKind.LABELLED, DataPaths(tmp_path), "train") or []
    assert (len(dataset), dataset.classes) == (1, ("cat",))
    assert layouts.uniform(DataKind.LABELLED, DataPaths(tmp_path)) is None
    assert len(labelled(tmp_path / "train.csv")) == 3  # who names it means it


# ---- npz


@given(
    keys=st.sampled_from(
        [("x_train", "y_train", "x_test", "y_test"), ("train_images", "train_labels", "val_images", "val_labels")]
    ),
    channels=st.sampled_from([(), (1,), (3,)]),
    column=st.booleans(),
    compressed=st.booleans(),
)
@settings(max_examples=20)
def test_what_was_written_in_an_npz_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    keys: tuple[str, str, str, str],
    channels: tuple[int, ...],
    column: bool,
    compressed: bool,
) -> None:
    folder = tmp_path_factory.mktemp("npz")
    pictures, numbers = noise(5, 8, 6, *channels), np.array([5, 0, 4, 1, 9])
    labels = numbers[:, None] if column else numbers
    arrays = dict(zip(keys, (pictures[:3], labels[:3], pictures[3:], labels[3:]), strict=True))
    (np.savez_compressed if compressed else np.savez)(folder / "mnist.npz", **arrays)  # type: ignore[arg-type]
    shown = np.repeat(pictures, 3, axis=-1) if channels == (1,) else pictures
    for path in (folder, folder / "mnist.npz"):
        require_same(labelled(path), shown[:3], ["5", "0", "4"])
        split, datasets = layouts.held_out(DataKind.LABELLED, DataPaths(path), COLOURS) or ("", [])
        assert split == ("val" if "val" in keys[2] else "test")
        [held_out] = datasets
        assert isinstance(held_out, LabelledDataset)
        require_same(held_out, shown[3:], ["1", "9"])
        assert layouts.uniform(DataKind.LABELLED, DataPaths(path)) == (8, 6, *(channels or (1,)))


def test_one_array_alone_has_no_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "faces.npz", noise(3, 8, 8))
    [dataset] = layouts.find(DataKind.LABELLED, DataPaths(tmp_path), "train", GREYS) or []
    assert (len(dataset), dataset.classes) == (3, ())


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x_train": noise(3, 8, 8), "y_train": np.zeros(2, np.uint8)}, "a label for each of 3 pictures"),
        ({"x_train": noise(3, 8, 8), "y_train": np.zeros((3, 10), np.float32)}, "[3, 10] of float32"),
        ({"x_train": noise(3, 8, 8), "y_train": np.array([0, 1, 0.5])}, "[3] of float64"),
        ({"x_train": noise(3, 8, 8) / 99, "y_train": np.zeros(3, np.uint8)}, "holds float64, 0"),
        (
            {"x_train": np.full((3, 8, 8), np.nan), "y_train": np.zeros(3, np.uint8)},
            "holds float64, nan to nan; 0 to 255",
        ),
        ({"x_train": noise(8, 8, 3, 4), "y_train": np.zeros(4, np.uint8)}, "turn their axes, np.moveaxis(x, -1, 0)"),
        ({"x_train": noise(3, 3072), "y_train": np.zeros(3, np.uint8)}, "has the shape [3, 3072]"),
        ({"x_train": np.array([object()] * 3), "y_train": np.zeros(3, np.uint8)}, "holds Python objects"),
        ({"first": noise(3, 8, 8), "second": noise(3, 8, 8)}, "holds the arrays first [3, 8, 8], second [3, 8, 8]"),
    ],
)
def test_arrays_of_another_kind_are_refused(tmp_path: Path, arrays: Any, words: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    for path in (tmp_path, tmp_path / "x.npz"):
        refused(path, "x.npz", words)


KEYS = [
    ("train_images", "y_train"),
    ("images", "labels"),
    ("data", "target"),
    ("X", "Y"),
    ("arr_0", "arr_1"),
    ("arr_1", "arr_0"),
]
SCALES: dict[str, Any] = {"int64": (1, 0, ""), "float32": (255, 0, ", 0 to 1"), "float64": (127.5, -1, ", -1 to 1")}


@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("form", ["one-hot", "float", "bytes"])
def test_other_names_layouts_ranges_and_labels(tmp_path: Path, keys: tuple[str, str], scale: str, form: str) -> None:
    pictures, numbers = noise(5, 8, 6, 3), np.array([2, 0, 1, 1, 2])
    pictures[0, 0, 0] = 0, 255, 255
    size, low, remark = SCALES[scale]
    labels = {"one-hot": np.eye(3)[numbers], "float": numbers.astype(float), "bytes": numbers.astype("S1")}[form]
    arrays = {keys[0]: (np.moveaxis(pictures, -1, 1) / size + low).astype(scale), keys[1]: labels}
    np.savez(tmp_path / "x.npz", **arrays)
    require_same(labelled(tmp_path), pictures, list("20112"))
    said = labelled(tmp_path).describe(8, 6)
    assert all(part in said for part in (remark, ", channels first", ", labels one-hot" if form == "one-hot" else ""))


def test_an_npz_that_was_cut_off_anywhere_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mnist.npz"
    np.savez_compressed(file, x_train=noise(3, 8, 8), y_train=np.arange(3))
    whole = file.read_bytes()
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        refused(tmp_path, str(file), "copy it again")


def test_a_header_that_says_more_than_fits_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**33, 28, 28)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as bundle:
        for name in ("x_train", "y_train"):
            bundle.writestr(f"{name}.npy", header.getvalue())
    refused(tmp_path, "x.npz", "are read into memory")


# ---- CIFAR


def write_cifar(folder: Path, kind: str = "10") -> dict[str, tuple[Array, list[str]]]:
    """A set in the binary version, and its pictures and labels, by split."""
    folder.mkdir(parents=True)
    names = ["airplane", "automobile", "bird"]
    (folder / ("batches.meta.txt" if kind == "10" else "fine_label_names.txt")).write_text("\n".join([*names, ""]))
    files = {"data_batch_1.bin": "train", "data_batch_2.bin": "train", "test_batch.bin": "test"}
    if kind == "100":
        files = {"train.bin": "train", "test.bin": "test"}
    written: dict[str, tuple[Array, list[str]]] = {}
    for seed, (file, split) in enumerate(files.items()):
        pictures, labels = noise(4, 32, 32, 3, seed=seed), noise(4, seed=seed) % 3
        coarse = [] if kind == "10" else [np.full((4, 1), 7, np.uint8)]
        planes = pictures.transpose(0, 3, 1, 2).reshape(4, -1)
        (folder / file).write_bytes(np.concatenate([*coarse, labels[:, None], planes], axis=1).tobytes())
        before, words = written.get(split, (pictures[:0], []))
        written[split] = np.concatenate([before, pictures]), [*words, *(names[label] for label in labels)]
    return written


@pytest.mark.parametrize("kind", ["10", "100"])
def test_cifar_is_what_was_written(tmp_path: Path, kind: str) -> None:
    written = write_cifar(tmp_path / "cifar", kind)
    for split, (pictures, labels) in written.items():
        require_same(labelled(tmp_path / "cifar", split), pictures, labels)


def test_cifar_that_was_cut_off_or_names_too_few_classes_is_named(tmp_path: Path) -> None:
    write_cifar(tmp_path / "cifar")
    batch, names = tmp_path / "cifar/data_batch_1.bin", tmp_path / "cifar/batches.meta.txt"
    names.write_text("airplane\n")
    refused(tmp_path / "cifar", str(names), "copy it again")
    batch.write_bytes(batch.read_bytes()[:-1])
    refused(tmp_path / "cifar", str(batch), "records of 3073")


@pytest.mark.parametrize(("kind", "names"), [("10", "batches.meta.txt"), ("100", "fine_label_names.txt")])
def test_cifar_without_its_names_has_class_numbers(tmp_path: Path, kind: str, names: str) -> None:
    written = write_cifar(tmp_path / "cifar", kind)
    (tmp_path / "cifar" / names).unlink()
    pictures, labels = written["train"]
    numbers = {"airplane": "0", "automobile": "1", "bird": "2"}
    require_same(labelled(tmp_path / "cifar"), pictures, [numbers[one] for one in labels])
    assert f"classes by number, for there is no {names}" in labelled(tmp_path / "cifar").describe(32, 32)
    batch = tmp_path / "cifar" / ("data_batch_1.bin" if kind == "10" else "train.bin")
    batch.write_bytes(bytes([255, 255]) + batch.read_bytes()[2:])
    refused(tmp_path / "cifar", str(batch), "has a label 255", "classes are expected")
    batch.write_bytes(batch.read_bytes()[:-1])
    refused(tmp_path / "cifar", *([str(batch), "records of 3073"] if kind == "10" else ["has no training pictures"]))


@pytest.mark.parametrize("file", ["cifar-10-batches-py/data_batch_3", "cifar-100-python/train"])
def test_pickled_cifar_is_not_opened_and_the_binary_version_is_named(
    tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "opened"),)

    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_bytes(pickle.dumps({"data": Bomb()}))
    for method in ("cgan", "colorize", "pix2pix"):
        for data in (tmp_path, (tmp_path / file).parent):
            assert command(["train", method, "--data", str(data), "--out", str(tmp_path / "run")]) == 2
            [line] = capsys.readouterr().err.splitlines()
            assert "binary version" in line
            assert len(line) < 300 + len(str(tmp_path))
    assert not (tmp_path / "opened").exists()


# ---- through the commands


@pytest.mark.parametrize("form", ["csv", "npz", "cifar"])
def test_they_are_inspected_trained_and_a_leak_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    data = tmp_path / "data"
    pictures, labels = noise(6, 32, 32, 3), list("012012")
    if form == "cifar":
        write_cifar(data)
        (data / "test_batch.bin").write_bytes((data / "data_batch_1.bin").read_bytes())
    elif form == "csv":
        write_table(data / "train.csv", pictures, labels)
        write_table(data / "test.csv", pictures[:4], labels[:4])
    else:
        data.mkdir()
        numbers = np.array(labels, np.uint8)
        np.savez(data / "x.npz", x_train=pictures, y_train=numbers, x_test=pictures[:4], y_test=numbers[:4])
    findings = inspect(data)
    assert findings.methods == ["cgan"]
    assert findings.notes == []
    assert findings.command is not None
    flags = ["--steps", "2", "--method.width", "2", "--device", "cpu", "--dry-run", "--validate-every", "1"]
    assert command(["train", "cgan", "--data", str(data), "--out", str(tmp_path / "run"), *flags]) == 0
    said = capsys.readouterr().out
    assert re.search(r"in 3 classes \((0, 1, 2|airplane, automobile, bird)\)", said)
    assert "test: 4 of 4 pictures are in train too" in said
    assert "size = 32" in said


def test_they_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_table(tmp_path / "train.csv", noise(3, 16, 16), list("012"))
    assert len(labelled(tmp_path)) == 3
    monkeypatch.setattr(np, "loadtxt", None)
    assert len(labelled(tmp_path)) == 3
    monkeypatch.undo()
    write_table(file, noise(4, 16, 16), list("0120"))  # a changed file is another one
    assert len(labelled(tmp_path)) == 4
    assert leaks.count_shared(labelled(tmp_path), labelled(tmp_path)) == 4
