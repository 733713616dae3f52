"""The files of MNIST and its kin, written here by hand from the definition of the format: what is read, what is refused."""

import gzip
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diptych.data import idx
from diptych.data.datasets import LabelledDataset
from diptych.data.idx import idx_files
from diptych.data.layouts import find, find_one, held_out, uniform
from diptych.data.paths import DataPaths
from diptych.images.files import Array
from diptych.images.spec import ImageSpec
from diptych.kinds import DataKind

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))


def packed(values: Any) -> bytes:
    """An idx file of uint8 numbers."""
    array = np.asarray(values, np.uint8)
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def put(file: Path, data: bytes) -> Path:
    """Writes a file, gzip where its name says so."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(data, mtime=0) if file.suffix == ".gz" else data)
    return file


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def write_set(folder: Path, labels: Any = (5, 0, 4), word: str = "train", seed: int = 0, end: str = "") -> Path:
    put(folder / f"{word}-images-idx3-ubyte{end}", packed(noise(len(labels), 6, 5, seed=seed)))
    put(folder / f"{word}-labels-idx1-ubyte{end}", packed(labels))
    return folder


def labelled(folder: Path, channels: int = 1) -> LabelledDataset:
    found = find_one(DataKind.LABELLED, DataPaths(folder), "train", ImageSpec(channels))
    assert isinstance(found, LabelledDataset)
    return found


def refused(folder: Path, named: Path, *parts: str) -> None:
    """One line that begins with what is wrong and says what to do."""
    with pytest.raises(ValueError, match=r".") as caught:
        find(DataKind.LABELLED, DataPaths(folder), "train")
    message = str(caught.value)
    assert message.startswith(f"{named}: ")
    assert "\n" not in message
    for part in parts:
        assert part in message


# ---- what is read


@settings(deadline=None, max_examples=25)
@given(shape=SHAPES, seed=st.integers(0, 99), end=st.sampled_from(["", ".gz"]), channels=st.sampled_from([1, 3]))
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, int, int], seed: int, end: str, channels: int
) -> None:
    folder = tmp_path_factory.mktemp("idx")
    values, labels = noise(*shape, seed=seed), noise(shape[0], seed=seed + 1)
    put(folder / f"{IMAGES}{end}", packed(values))
    put(folder / f"{LABELS}{end}", packed(labels))
    found = labelled(folder, channels)
    assert (len(found), found.specs) == (shape[0], (ImageSpec(channels),))
    for number in reversed(range(len(found))):
        [picture] = found.load(number)
        assert picture.dtype == torch.uint8
        assert torch.equal(picture, torch.from_numpy(values[number]).expand(channels, *shape[1:]))
        assert np.array_equal(found.decode(number).values[..., 0], values[number])
        assert found.classes[found.label(number)] == str(labels[number])
    assert uniform(DataKind.LABELLED, DataPaths(folder)) == (*shape[1:], 1)


@pytest.mark.parametrize(
    ("images", "labels", "split"),
    [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "train"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "train"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte", "train"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte", "train"),
        ("emnist-letters-train-images-idx3-ubyte.gz", "emnist-letters-train-labels-idx1-ubyte.gz", "train"),
        ("TRAIN-IMAGES-IDX3-UBYTE", "TRAIN-LABELS-IDX1-UBYTE", "train"),
        ("val-images-idx3-ubyte", "val-labels-idx1-ubyte", "val"),
        ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", "test"),
        ("t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte", "test"),
        ("emnist-letters-test-images-idx3-ubyte.gz", "emnist-letters-test-labels-idx1-ubyte.gz", "test"),
    ],
)
def test_every_name_that_people_have(tmp_path: Path, images: str, labels: str, split: Any) -> None:
    put(tmp_path / images, packed(noise(2, 4, 4)))
    put(tmp_path / labels, packed([3, 8]))
    put(tmp_path / "train-images.txt", b"notes")
    put(tmp_path / f".{IMAGES}", b"hidden")
    assert idx_files(tmp_path) == {split: (tmp_path / images, tmp_path / labels)}


def test_other_files_are_no_idx_files(tmp_path: Path) -> None:
    for name in ("train-images.idx3-ubyte.zip", "train-images", "mytrain-images-idx3-ubyte", "other-images-idx3-ubyte"):
        put(tmp_path / name, b"other")
    assert idx_files(tmp_path) == {}
    assert uniform(DataKind.LABELLED, DataPaths(tmp_path)) is None


def test_a_plain_file_comes_before_the_same_one_packed(tmp_path: Path) -> None:
    write_set(tmp_path, labels=[1, 2, 3], seed=1)
    write_set(tmp_path, labels=[7, 8, 9], seed=2, end=".gz")
    found = labelled(tmp_path)
    assert found.classes == ("1", "2", "3")
    assert np.array_equal(found.decode(0).values[..., 0], noise(3, 6, 5, seed=1)[0])


def test_packed_or_not_is_told_by_the_bytes_and_not_by_the_name(tmp_path: Path) -> None:
    """Browsers unpack some downloads and keep their names."""
    write_set(tmp_path)
    plain = (tmp_path / IMAGES).read_bytes()
    (tmp_path / IMAGES).write_bytes(gzip.compress(plain))
    (tmp_path / LABELS).rename(tmp_path / f"{LABELS}.gz")
    assert labelled(tmp_path).classes == ("0", "4", "5")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (list(range(26, 0, -1)), [str(number) for number in range(1, 27)]),
        ([200, 3, 10, 9, 3], ["3", "9", "10", "200"]),
        ([7, 7], ["7"]),
    ],
)
def test_any_labels_are_classes_counted_up(tmp_path: Path, labels: list[int], classes: list[str]) -> None:
    found = labelled(write_set(tmp_path, labels))
    assert list(found.classes) == classes
    assert [classes[found.label(number)] for number in range(len(labels))] == list(map(str, labels))


def test_splits_are_told_apart_and_the_test_files_are_held_out(tmp_path: Path) -> None:
    write_set(tmp_path, labels=[1, 2, 3])
    write_set(tmp_path, labels=[1, 2], word="t10k", seed=7)
    assert [len(labelled(tmp_path)), find(DataKind.LABELLED, DataPaths(tmp_path), "val")] == [3, None]
    held = held_out(DataKind.LABELLED, DataPaths(tmp_path), (ImageSpec(1), ImageSpec(3)))
    assert held is not None
    split, [source] = held
    assert (split, len(source)) == ("test", 2)
    assert np.array_equal(source.load(1)[0][0], noise(2, 6, 5, seed=7)[1])


def test_pictures_are_called_by_their_label_and_number(tmp_path: Path) -> None:
    """So that a run notices when the labels are no longer those it learnt."""
    found = labelled(write_set(tmp_path, labels=[5, 0, 5]))
    assert [found.name(number) for number in range(3)] == ["5/00000", "0/00001", "5/00002"]
    assert found.files(2) == f"{tmp_path / IMAGES}, picture 2"


def test_what_was_found_is_said_with_the_classes(tmp_path: Path) -> None:
    few, many = write_set(tmp_path / "few"), write_set(tmp_path / "many", list(range(26)))
    assert labelled(few).describe(6, 5) == f"3 pictures of {few / IMAGES}, 5x6, in 3 classes (0, 4, 5)"
    assert labelled(many).describe(6, 5).endswith("in 26 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, ... 25)")


# ---- sizes, before anything is read


@pytest.mark.parametrize("end", ["", ".gz"])
def test_the_size_is_known_without_a_look_at_the_numbers(tmp_path: Path, end: str) -> None:
    put(tmp_path / f"{IMAGES}{end}", packed(noise(9, 28, 20))[:16])
    put(tmp_path / f"{LABELS}{end}", b"")
    assert uniform(DataKind.LABELLED, DataPaths(tmp_path)) == (28, 20, 1)


def test_arrays_know_their_size_and_pictures_do_not(tmp_path: Path) -> None:
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays/train.npy", noise(2, 10, 12, 3))
    np.save(tmp_path / "grey.npy", noise(2, 10, 12))
    (tmp_path / "pictures").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "pictures/1.png")
    write_set(tmp_path / "only t10k", word="t10k")
    assert uniform(DataKind.LABELLED, DataPaths(tmp_path / "arrays")) == (10, 12, 3)
    assert uniform(DataKind.LABELLED, DataPaths(tmp_path / "grey.npy")) == (10, 12, 1)
    assert uniform(DataKind.LABELLED, DataPaths(tmp_path / "pictures")) is None
    assert uniform(DataKind.LABELLED, DataPaths(tmp_path / "only t10k")) is None
    assert uniform(DataKind.LABELLED, DataPaths(tmp_path / "arrays", tmp_path / "arrays")) is None


# ---- what is refused


@settings(deadline=None, max_examples=60)
@given(data=st.data(), end=st.sampled_from(["", ".gz"]), which=st.sampled_from([(IMAGES, 3), (LABELS, 1)]))
def test_a_file_that_was_cut_off_anywhere_is_named(
    tmp_path_factory: pytest.TempPathFactory, data: Any, end: str, which: tuple[str, int]
) -> None:
    folder = write_set(tmp_path_factory.mktemp("cut"), end=end)
    name, dimensions = which
    file = folder / f"{name}{end}"
    whole = file.read_bytes()
    file.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    refused(folder, file, "copy it again")
    with pytest.raises(ValueError, match=re.escape(str(file))):
        idx.read(file, dimensions)


@pytest.mark.parametrize("end", ["", ".gz"])
def test_what_a_cut_file_says_and_holds_is_told(tmp_path: Path, end: str) -> None:
    write_set(tmp_path, end=end)
    file = put(tmp_path / f"{IMAGES}{end}", packed(noise(3, 6, 5))[:50])
    refused(tmp_path, file, "3x6x5", "90 bytes", "holds 34", "copy it again")
    put(file, packed(noise(3, 6, 5))[:11])
    refused(tmp_path, file, "cut off after 11 bytes", "copy it again")


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("name", [IMAGES, LABELS])
def test_a_file_with_more_than_it_says_is_named(tmp_path: Path, name: str, end: str) -> None:
    write_set(tmp_path, end=end)
    file = tmp_path / f"{name}{end}"
    data = file.read_bytes()
    put(file, (gzip.decompress(data) if end else data) + b"\0")
    refused(tmp_path, file, "copy it again")


@pytest.mark.parametrize("place", [10, -8])
def test_damage_inside_a_packed_file_is_noticed(tmp_path: Path, place: int) -> None:
    write_set(tmp_path, end=".gz")
    file = tmp_path / f"{IMAGES}.gz"
    data = bytearray(file.read_bytes())
    data[place] |= 0b110  # the 10th begins a block, of a kind that there is not; the last 8 begin with the checksum
    data[place] ^= 1
    file.write_bytes(data)
    refused(tmp_path, file, "copy it again")


@settings(deadline=None, max_examples=60)
@given(data=st.data(), name=st.sampled_from([IMAGES, LABELS]))
def test_damage_anywhere_in_a_packed_file_changes_nothing_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, data: Any, name: str
) -> None:
    folder = write_set(tmp_path_factory.mktemp("damaged"), end=".gz")
    file = folder / f"{name}.gz"
    changed = bytearray(file.read_bytes())
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(changed)
    try:
        found = labelled(folder)
    except ValueError:
        refused(folder, file, "copy it again")
        return
    assert found.names == ["5", "0", "4"]
    for number, picture in enumerate(noise(3, 6, 5)):
        assert np.array_equal(found.decode(number).values[..., 0], picture)


@pytest.mark.parametrize(
    ("data", "begins"),
    [
        (b"<html>Not found</html>", "3c 68 74 6d"),
        (b"", "nothing"),
        (packed([1, 2, 3]), "00 00 08 01"),
        (bytes([0, 0, 13, 3]) + packed(noise(3, 2, 2))[4:], "00 00 0d 03"),  # floats
    ],
)
def test_another_file_by_this_name_is_no_set_of_pictures(tmp_path: Path, data: bytes, begins: str) -> None:
    write_set(tmp_path)
    file = put(tmp_path / IMAGES, data)
    refused(tmp_path, file, f"begins with {begins}", "pictures with 00 00 08 03", "copy it again")


def test_pictures_where_labels_are_expected(tmp_path: Path) -> None:
    write_set(tmp_path)
    file = put(tmp_path / LABELS, packed(noise(3, 6, 5)))
    refused(tmp_path, file, "begins with 00 00 08 03", "labels with 00 00 08 01")


@pytest.mark.parametrize("labels", [[1, 2], [1, 2, 3, 4]])
def test_as_many_labels_as_pictures(tmp_path: Path, labels: list[int]) -> None:
    write_set(tmp_path)
    put(tmp_path / LABELS, packed(labels))
    refused(tmp_path, tmp_path / IMAGES, "3 pictures", LABELS, f"{len(labels)} labels", "copy both again")


@pytest.mark.parametrize(("kept", "missing"), [(IMAGES, "labels"), (LABELS, "images")])
def test_one_without_the_other(tmp_path: Path, kept: str, missing: str) -> None:
    write_set(tmp_path)
    (tmp_path / {"labels": LABELS, "images": IMAGES}[missing]).unlink()
    refused(tmp_path, tmp_path / kept, f"no file of {missing}", "copy that too")


def test_two_sets_in_one_folder_are_not_mixed(tmp_path: Path) -> None:
    write_set(tmp_path, word="emnist-letters-train")
    write_set(tmp_path, word="emnist-digits-train")
    refused(tmp_path, tmp_path, "two sets", "emnist-letters-train", "emnist-digits-train", "folder of its own")


def test_a_test_set_alone_is_nothing_to_learn_from(tmp_path: Path) -> None:
    write_set(tmp_path, word="t10k")
    refused(tmp_path, tmp_path, "no train-images", "t10k-images-idx3-ubyte", "the layouts are", "train-labels-idx1")


@pytest.mark.parametrize("place", ["1.png", "cat/1.png"])
def test_pictures_beside_idx_files_are_maybe_the_same(tmp_path: Path, place: str) -> None:
    write_set(tmp_path)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    Image.new("L", (6, 5)).save(tmp_path / place)
    refused(tmp_path, tmp_path, "1.png", "twice", "folder of its own")


@pytest.mark.parametrize("shape", [(0, 28, 28), (0, 0, 0), (3, 0, 5)])
def test_no_pictures_are_refused(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    put(tmp_path / IMAGES, packed(np.zeros(shape)))
    put(tmp_path / LABELS, packed(np.zeros(shape[0])))
    refused(tmp_path, tmp_path / IMAGES, "x".join(map(str, shape)), "nothing in it", "copy it again")


def test_idx_files_are_no_a_beside_a_b(tmp_path: Path) -> None:
    for side in "ab":
        write_set(tmp_path / side)
    with pytest.raises(ValueError, match=r"single pictures are learnt from.*--data DIR"):
        find(DataKind.LABELLED, DataPaths(tmp_path / "a", tmp_path / "b"), "train")


# ---- the real ones


def test_mnist_is_what_its_page_says(research_pictures: Path) -> None:
    """60,000 and 10,000 pictures of 28 x 28; the first of them show 5, 0, 4, 1, 9, and 7, 2, 1, 0, 4."""
    folder = research_pictures / "mnist"
    assert uniform(DataKind.LABELLED, DataPaths(folder)) == (28, 28, 1)
    begins = {"train": [5, 0, 4, 1, 9], "test": [7, 2, 1, 0, 4]}
    counts = {"train": 60_000, "test": 10_000}
    for split in ("train", "test"):
        found = find_one(DataKind.LABELLED, DataPaths(folder), split, ImageSpec(1))
        assert isinstance(found, LabelledDataset)
        assert len(found) == counts[split]
        assert found.classes == tuple("0123456789")
        assert [found.label(number) for number in range(5)] == begins[split]
        assert found.load(counts[split] - 1)[0].shape == (1, 28, 28)


# ---- beside other things


def test_folders_of_these_names_are_no_idx_files(tmp_path: Path) -> None:
    """As Kaggle's archive of MNIST unpacks: a folder by the name of each file, beside the file with a dot in it."""
    put(tmp_path / "train-images.idx3-ubyte", packed(noise(2, 4, 4)))
    put(tmp_path / "train-labels.idx1-ubyte", packed([3, 8]))
    put(tmp_path / IMAGES / IMAGES, packed(noise(2, 4, 4)))
    assert labelled(tmp_path).classes == ("3", "8")


@pytest.mark.parametrize(("words", "split"), [(("train", "training"), "train"), (("t10k", "test"), "test")])
def test_two_words_for_one_split_are_two_sets(tmp_path: Path, words: tuple[str, str], split: str) -> None:
    for word in {"train", *words}:
        write_set(tmp_path, word=word)
    refused(tmp_path, tmp_path, "holds two sets", f"{words[0]}-images", f"{words[1]}-images")


def test_idx_files_beside_arrays_are_refused(tmp_path: Path) -> None:
    write_set(tmp_path)
    np.save(tmp_path / "train.npy", noise(2, 8, 8, 3))
    refused(tmp_path, tmp_path, "idx files and pictures (train.npy)", "a folder of its own")
    with pytest.raises(ValueError, match="idx files and pictures"):
        uniform(DataKind.LABELLED, DataPaths(tmp_path))


def test_stray_idx_files_are_nothing_to_other_methods(tmp_path: Path) -> None:
    put(tmp_path / IMAGES, packed(noise(2, 4, 4)))
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    assert uniform(DataKind.IMAGES, DataPaths(tmp_path)) is None
    assert find(DataKind.IMAGES, DataPaths(tmp_path), "train") is not None


# ---- files that unpack to more than they say, or to more than may be read


def test_no_more_of_a_compressed_file_is_unpacked_than_its_header_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = put(tmp_path / f"{LABELS}.gz", packed([1, 2, 3]) + bytes(50 * 2**20))
    unpacked, read = 0, gzip.GzipFile.read

    def counting(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        nonlocal unpacked
        data = read(self, size)
        unpacked += len(data)
        return data

    monkeypatch.setattr(gzip.GzipFile, "read", counting)
    with pytest.raises(ValueError, match=re.escape(f"{bomb}: says 3, which is 3 bytes, and holds more")):
        idx.read(bomb, 1)
    assert unpacked < 100


def test_a_file_that_says_more_than_is_read_into_memory_is_refused_by_its_header(tmp_path: Path) -> None:
    header = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**31, 28, 28)
    file = put(tmp_path / f"{IMAGES}.gz", header + bytes(1000))
    with pytest.raises(ValueError, match=r"says 2147483648x28x28, and at most 2,147,483,648 bytes are read"):
        idx.read(file, 3)


def test_a_set_in_several_pieces_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "PIECE", 7)
    values = noise(5, 4, 3)
    for end in ("", ".gz"):
        np.testing.assert_array_equal(idx.read(put(tmp_path / f"{IMAGES}{end}", packed(values)), 3), values)
