"""An array in place of a folder: mapped and not read, anybody's, with its val beside it; what is none is named."""

import pickle
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diptych.data.datasets import ArrayDataset, Dataset
from diptych.data.layouts import find, find_singles, held_out
from diptych.data.paths import DataPaths
from diptych.images.files import Array
from diptych.images.spec import ImageSpec
from diptych.kinds import DataKind
from diptych.prepare.inspect import inspect


def noise(shape: Sequence[int], seed: int = 0) -> Array:
    values: Array = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    return values


def save(file: Path, values: Array) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, values, allow_pickle=True)
    return file


def flat(file: Path, *levels: int) -> Path:
    """An array of pictures that are each of one level."""
    return save(file, np.stack([np.full((4, 6, 3), level, np.uint8) for level in levels]))


def levels(found: list[Dataset] | None) -> list[list[int]] | None:
    if found is None:
        return None
    return [[int(source.load(i)[0][0, 0, 0]) for i in range(len(source))] for source in found]


# ---- the pictures in it


@pytest.mark.parametrize("shape", [(5, 4, 6, 3), (5, 4, 6, 1), (5, 4, 6)])
@pytest.mark.parametrize("channels", [1, 3])
def test_anybodys_array_is_read_as_rgb_or_grey(tmp_path: Path, shape: tuple[int, ...], channels: int) -> None:
    values = noise(shape)
    for order in (np.ascontiguousarray, np.asfortranarray):
        source = ArrayDataset(save(tmp_path / "x.npy", order(values)), (ImageSpec(channels),))
        assert len(source) == 5
        for index in range(5):
            image = Image.fromarray(values[index].squeeze(-1) if shape[-1] == 1 else values[index])
            want = np.asarray(image.convert("RGB" if channels == 3 else "L")).reshape(4, 6, channels)
            [picture] = source.load(index)
            assert (picture.dtype, picture.shape) == (torch.uint8, (channels, 4, 6))
            assert torch.equal(picture, torch.tensor(want).permute(2, 0, 1))


def test_it_is_mapped_and_a_picture_is_a_copy(tmp_path: Path) -> None:
    file = save(tmp_path / "x.npy", noise((3, 4, 6, 3)))
    before = file.read_bytes()
    source = ArrayDataset(file, (ImageSpec(3),))
    assert isinstance(source.array, np.memmap)
    picture = source.load(1)[0]
    picture.zero_()
    assert source.load(1)[0].any()
    assert file.read_bytes() == before
    assert not isinstance(source.decode(1).values, np.memmap)


def test_an_array_larger_than_what_is_read_of_it(tmp_path: Path) -> None:
    """40 GB, of which next to nothing is on the disk."""
    file = save(tmp_path / "x.npy", noise((2, 100, 100, 3)))
    header = file.read_bytes()[:128].replace(b"(2, 100, 100, 3), }          ", b"(1333333, 100, 100, 3), }    ")
    with file.open("wb") as stream:
        stream.write(header)
        stream.truncate(128 + 1_333_333 * 30_000)
    source = ArrayDataset(file, (ImageSpec(3),))
    assert len(source) == 1_333_333
    assert not source.load(1_333_332)[0].any()


def test_it_says_what_it_is(tmp_path: Path) -> None:
    source = ArrayDataset(file := save(tmp_path / "faces.npy", noise((12, 4, 6, 3))), (ImageSpec(3),))
    assert source.describe(4, 6) == f"12 pictures of {file}, 6x4"
    assert (
        ArrayDataset(save(tmp_path / "1.npy", noise((1, 4, 6))), (ImageSpec(3),))
        .describe(4, 6)
        .startswith("1 picture of")
    )
    assert [source.name(index) for index in (0, 11)] == ["00000", "00011"]
    assert source.files(11) == f"{file}, picture 11"


def test_threads_read_at_once_and_a_pickle_holds_no_pictures(tmp_path: Path) -> None:
    values = noise((64, 32, 32, 3))
    source = ArrayDataset(save(tmp_path / "x.npy", values), (ImageSpec(3),))
    with ThreadPoolExecutor(8) as pool:
        read = [*pool.map(lambda index: source.load(index % 64)[0], range(512))]
    assert all(torch.equal(r, torch.tensor(values[i % 64]).permute(2, 0, 1)) for i, r in enumerate(read))
    assert len(data := pickle.dumps(source)) < 1000
    assert pickle.loads(data) == source
    assert torch.equal(pickle.loads(data).load(63)[0], source.load(63)[0])


# ---- what is no array of pictures


def refused(file: Path) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        find(DataKind.IMAGES, DataPaths(file), "train")
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert "\n" not in message
    return message.removeprefix(f"{file}: ")


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.uint16, np.int8, bool])
def test_other_numbers_than_8_bit_are_refused(tmp_path: Path, kind: type) -> None:
    message = refused(save(tmp_path / "x.npy", np.zeros((3, 4, 6, 3), kind)))
    also = ", or give --bits-a 16" if kind is np.uint16 else ", or state its range: --range-a LOW HIGH"
    assert message == f"holds {np.dtype(kind)}; 8-bit pictures are expected: save it as uint8, 0 to 255{also}"


@pytest.mark.parametrize("shape", [(3, 3, 4, 6), (3, 4, 6, 4), (3, 4, 6, 2), (72,), (12, 6), (1, 3, 4, 6, 3), ()])
def test_other_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    message = refused(save(tmp_path / "x.npy", noise(shape)))
    assert message.startswith(f"has the shape {list(shape)}; [N, H, W, 3] for RGB is expected, or [N, H, W] for grey")


@pytest.mark.parametrize("shape", [(0, 4, 6, 3), (5, 0, 6, 3), (5, 4, 0)])
def test_an_empty_array_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert "so there are no pictures in it" in refused(save(tmp_path / "x.npy", noise(shape)))


class Bomb:
    """What a pickle can do."""

    exploded: list[int] = []  # noqa: RUF012

    def __reduce__(self) -> tuple[object, ...]:
        return Bomb.exploded.append, (1,)


def test_nothing_is_ever_unpickled(tmp_path: Path) -> None:
    file = save(tmp_path / "x.npy", np.array([Bomb(), None], object))
    assert "Python objects" in refused(file)
    file.write_bytes(pickle.dumps(Bomb()))
    assert refused(file).startswith("is no whole array of 8-bit pictures")
    assert Bomb.exploded == []


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    file = save(tmp_path / "x.npy", noise((3, 2, 2, 3)))
    whole = file.read_bytes()
    for end in range(len(whole)):
        file.write_bytes(whole[:end])
        assert refused(file).startswith("is no whole array of 8-bit pictures (")


@settings(deadline=None, derandomize=True, max_examples=300)
@given(at=st.integers(0, 127), junk=st.binary(min_size=1, max_size=6))
def test_a_damaged_header_is_one_line_or_an_array(
    tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes
) -> None:
    file = save(tmp_path_factory.mktemp("damaged") / "x.npy", noise((3, 2, 2, 3)))
    whole = file.read_bytes()
    file.write_bytes(whole[:at] + junk + whole[at + len(junk) :])
    try:
        message = ""
        source = ArrayDataset(file, (ImageSpec(3),))
        source.load(len(source) - 1)
    except ValueError as error:
        message = str(error)
    assert not message or re.fullmatch(r".*x\.npy: .*", message)  # one line


def test_what_cannot_be_read_or_is_not_there_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere.npy") == "no such file"
    (tmp_path / "folder.npy").mkdir()
    assert refused(tmp_path / "folder.npy").startswith("no pictures found")
    with pytest.raises(ValueError, match=r"gone.npy: cannot be read \(No such file or directory\)"):
        ArrayDataset(tmp_path / "gone.npy", (ImageSpec(3),))


# ---- where it lies


def test_val_and_test_lie_beside_it(tmp_path: Path) -> None:
    place = DataPaths(flat(tmp_path / "all faces.npy", 1, 2))
    assert levels(find(DataKind.IMAGES, place, "train")) == [[1, 2]]
    assert find(DataKind.IMAGES, place, "val") is None
    assert held_out(DataKind.IMAGES, place) is None
    flat(tmp_path / "all faces-test.npy", 5)
    assert [(split, levels(found)) for split, found in [held_out(DataKind.IMAGES, place) or ("train", [])]] == [
        ("test", [[5]])
    ]
    flat(tmp_path / "all faces-val.npy", 3, 4)
    assert [(split, levels(found)) for split, found in [held_out(DataKind.IMAGES, place) or ("train", [])]] == [
        ("val", [[3, 4]])
    ]
    [grey] = find(DataKind.IMAGES, place, "train", (ImageSpec(1), ImageSpec(3))) or []
    assert grey.load(0)[0].shape == (1, 4, 6)


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Train", "VALID", "testing")])
def test_a_folder_may_hold_arrays(tmp_path: Path, names: tuple[str, ...]) -> None:
    for level, name in enumerate(names):
        flat(tmp_path / f"{name}.npy", level)
    flat(tmp_path / "labels.npy", 9)
    found = [levels(find(DataKind.IMAGES, DataPaths(tmp_path), split)) for split in ("train", "val", "test")]
    assert found == [[[0]], [[1]], [[2]]]


def test_arrays_of_what_is_held_out_are_not_trained_on(tmp_path: Path) -> None:
    flat(tmp_path / "val.npy", 1)
    with pytest.raises(ValueError, match=r"has no train.npy, only val.npy; the layouts are: .*DIR/train.npy"):
        find(DataKind.IMAGES, DataPaths(tmp_path), "train")


@pytest.mark.parametrize("picture", ["1.png", "train/1.png"])
def test_arrays_beside_pictures_are_refused(tmp_path: Path, picture: str) -> None:
    flat(tmp_path / "train.npy", 1)
    (tmp_path / picture).parent.mkdir(exist_ok=True)
    Image.new("RGB", (4, 4)).save(tmp_path / picture)
    with pytest.raises(
        ValueError, match=r"holds arrays \(train.npy\) and pictures \(1.png\), maybe the same ones twice"
    ):
        find(DataKind.IMAGES, DataPaths(tmp_path), "train")
    (tmp_path / "train.npy").rename(tmp_path / "other.npy")  # an array of no split is no matter of ours
    assert find(DataKind.IMAGES, DataPaths(tmp_path), "train")


@pytest.mark.parametrize("split", ["train", "val"])
def test_arrays_are_no_pairs(tmp_path: Path, split: str) -> None:
    a, b = flat(tmp_path / "in/train.npy", 1), flat(tmp_path / "b.npy", 2)
    for needs, place in (
        (DataKind.PAIRED, DataPaths(a)),
        (DataKind.UNPAIRED, DataPaths(a)),
        (DataKind.PAIRED, DataPaths(a.parent)),
        (DataKind.UNPAIRED, DataPaths(a.parent)),
        (DataKind.PAIRED, DataPaths(a, b)),
    ):
        if split == "val" and (place.folder.is_dir() or place.folder_b):
            assert find(needs, place, "val") is None
            continue
        with pytest.raises(ValueError, match=r"(train|b).npy: is an array"):
            find(needs, place, split)  # type: ignore[arg-type]


def test_two_arrays_are_a_and_b(tmp_path: Path) -> None:
    a, b = flat(tmp_path / "a.npy", 1, 2), flat(tmp_path / "b.npy", 3)
    assert levels(find(DataKind.UNPAIRED, DataPaths(a, b), "train")) == [[1, 2], [3]]
    assert find(DataKind.UNPAIRED, DataPaths(a, b), "val") is None
    flat(tmp_path / "a-val.npy", 4)
    with pytest.raises(ValueError, match=r"a-val.npy: the other side is missing in .*b.npy"):
        find(DataKind.UNPAIRED, DataPaths(a, b), "val")
    flat(tmp_path / "b-val.npy", 5)
    assert levels(find(DataKind.UNPAIRED, DataPaths(a, b), "val")) == [[4], [5]]
    (tmp_path / "folder").mkdir()
    Image.new("RGB", (4, 4), (7, 7, 7)).save(tmp_path / "folder/1.png")
    assert levels(find(DataKind.UNPAIRED, DataPaths(a, tmp_path / "folder"), "train")) == [[1, 2], [7]]


def test_an_array_is_a_list_of_single_pictures(tmp_path: Path) -> None:
    source = find_singles(flat(tmp_path / "faces.npy", 1, 2), ImageSpec(1))
    assert (len(source), source.specs) == (2, (ImageSpec(1),))


def test_inspect_wants_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"faces.npy: is not there, or no folder"):
        inspect(flat(tmp_path / "faces.npy", 1))
    with pytest.raises(ValueError, match=r"holds an array of 1 picture.*training reads it"):
        inspect(flat(tmp_path / "in/train.npy", 1).parent)
