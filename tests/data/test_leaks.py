"""Held-out pictures that are trained on are counted, in whatever they are stored; data without any get a command."""

import shutil
from collections.abc import Callable
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from PIL import Image

from diptych.cli import run as command
from diptych.data import layouts, leaks
from diptych.data.paths import DataPaths
from diptych.kinds import DataKind
from diptych.training.run import Run


def write_pictures(folder: Path, levels: list[int], size: int = 32) -> None:
    """A picture of one level each; as BMP, so that all files are of one length."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, level in enumerate(levels):
        Image.new("RGB", (size, size), (level, 0, 0)).save(folder / f"{number}.bmp")


def counted(data: Path, kind: DataKind) -> int:
    held_out, training = (layouts.find(kind, DataPaths(data), split) for split in ("val", "train"))
    assert held_out
    assert training
    return sum(leaks.count_shared(*sides) for sides in zip(held_out, training, strict=True))


@given(
    training=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    held_out=st.lists(st.integers(0, 9), min_size=1, max_size=6),
)
@pytest.mark.parametrize("how", ["files", "array", "idx", "records"])
def test_as_many_as_are_the_same_are_counted(
    how: str,
    training: list[int],
    held_out: list[int],
    tmp_path_factory: pytest.TempPathFactory,
    write_idx: Callable[..., Path],
    write_tfrecord: Callable[..., Path],
) -> None:
    data, kind = tmp_path_factory.mktemp("data"), DataKind.IMAGES
    for split, word, levels in (("train", "train", training), ("val", "val", held_out)):
        grey = np.full((len(levels), 4, 4), np.array(levels)[:, None, None], np.uint8)
        if how == "files":
            write_pictures(data / split, levels)
        elif how == "array":
            np.save(data / f"{split}.npy", grey)
        elif how == "idx":
            write_idx(data, grey, [0] * len(levels), word)
            kind = DataKind.LABELLED
        else:
            write_tfrecord(data / split / "x.tfrec", [{"image": bytes([level] * 9)} for level in levels])
    assert counted(data, kind) == sum(level in training for level in held_out)


def test_a_pair_is_the_same_where_both_sides_are(tmp_path: Path) -> None:
    for side, training, held_out in (("A", [1, 2, 3], [1, 2, 9]), ("B", [0, 0, 0], [0, 5, 0])):
        write_pictures(tmp_path / "train" / side, training)
        write_pictures(tmp_path / "val" / side, held_out)
    assert counted(tmp_path, DataKind.PAIRED) == 1
    assert counted(tmp_path, DataKind.UNPAIRED) == 2 + 2


@pytest.mark.parametrize("side", ["A", "B"])
def test_a_side_that_leaks_with_other_partners_is_said(tmp_path: Path, side: str) -> None:
    other = "B" if side == "A" else "A"
    write_pictures(tmp_path / "train" / side, [1, 2, 3])
    write_pictures(tmp_path / "val" / side, [3, 9, 1])
    write_pictures(tmp_path / "train" / other, [4, 5, 6])
    write_pictures(tmp_path / "val" / other, [10, 11, 12])
    held_out, training = (layouts.find(DataKind.PAIRED, DataPaths(tmp_path), split) for split in ("val", "train"))
    assert held_out
    assert training
    assert leaks.describe("val", held_out, training).startswith(f"val: 2 of 3 pictures of {side} are in train too")
    write_pictures(tmp_path / "val" / side, [7, 9, 8])
    assert leaks.describe("val", held_out, training) == ""


def test_files_that_differ_only_far_behind_are_not_the_same(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        Image.fromarray(noise).save(tmp_path / split / "1.bmp")
    assert counted(tmp_path, DataKind.IMAGES) == 1
    noise[0, 0] ^= 1  # BMP begins with the last row
    Image.fromarray(noise).save(tmp_path / "val/1.bmp")
    assert counted(tmp_path, DataKind.IMAGES) == 0


def test_files_that_cannot_be_read_are_like_nothing(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_pictures(tmp_path / split, [1, 2])
        (tmp_path / split / "gone.png").symlink_to("nowhere")
    assert counted(tmp_path, DataKind.IMAGES) == 2


def said_by_dry_run(capsys: pytest.CaptureFixture[str], method: str, *flags: object) -> str:
    words = ["train", method, *map(str, flags), "--out", "none", "--size", "32", "--steps", "2", "--dry-run"]
    assert command([*words, "--method.width", "2", "--device", "cpu"]) == 0
    return capsys.readouterr().out


def test_a_leak_is_said_where_a_model_is_chosen_by_it_and_where_it_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], train_tiny: Callable[..., Run]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 32, 64, 3), np.uint8)
    for split, numbers in (("train", range(4)), ("val", range(2, 5))):
        (tmp_path / "data" / split).mkdir(parents=True)
        for number in numbers:
            Image.fromarray(noise[number]).save(tmp_path / "data" / split / f"{number}.png")
    told = "val: 2 of 3 pairs are in train too, byte for byte"
    assert told in said_by_dry_run(capsys, "pix2pix", "--data", tmp_path / "data", "--validate-every", 1)
    assert told not in said_by_dry_run(capsys, "pix2pix", "--data", tmp_path / "data")
    run = train_tiny(tmp_path / "run", data=tmp_path / "data").path
    assert command(["evaluate", str(run), "--data", str(tmp_path / "data"), "--metrics", "l1", "--device", "cpu"]) == 0
    assert told in capsys.readouterr().err
    shutil.rmtree(tmp_path / "data/train")
    assert command(["evaluate", str(run), "--data", str(tmp_path / "data"), "--metrics", "l1", "--device", "cpu"]) == 0
    assert "byte for byte" not in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["A + B", "horses + zebras", "side by side", "train", "--data-a --data-b"])
def test_data_without_held_out_pictures_get_a_command_that_sets_some_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.chdir(tmp_path)
    noise, method, flags = np.random.default_rng(0), "cyclegan", ["--data", "my data"]
    folders = {"A + B": ["A", "B"], "horses + zebras": ["horses", "zebras"], "side by side": ["."], "train": ["train"]}
    for folder in folders.get(layout, ["one", "two"]):
        (tmp_path / "my data" / folder).mkdir(parents=True, exist_ok=True)
        for number in range(4):
            picture = Image.fromarray(noise.integers(0, 256, (32, 64, 3), np.uint8))
            picture.save(tmp_path / "my data" / folder / f"{number}.png")
    if layout == "--data-a --data-b":
        flags = ["--data-a", "my data/one", "--data-b", "my data/two"]
    said = said_by_dry_run(capsys, method, *flags)
    [line] = [line for line in said.splitlines() if "no val or test" in line]
    words = line.split("`")[1].replace("'my data", "my data").replace("'", "")
    assert words.startswith("diptych data split my data")
    assert words.endswith(" --out NEW")
    folder = words.removeprefix("diptych data split ").removesuffix(" --out NEW")
    assert command(["data", "split", folder, "--out", "NEW", "--val", "0.25"]) == 0
    capsys.readouterr()
    after = {"--data-a --data-b": ["--data-a", "NEW/one", "--data-b", "NEW/two"]}.get(layout, ["--data", "NEW"])
    assert "no val or test" not in said_by_dry_run(capsys, method, *after)


@pytest.mark.parametrize("layout", ["trainA + trainB", "array", "other folders beside", "records"])
def test_where_no_command_divides_them_the_folder_is_said(
    tmp_path: Path, layout: str, write_tfrecord: Callable[..., Path]
) -> None:
    paths, kind = DataPaths(tmp_path), DataKind.UNPAIRED
    if layout == "trainA + trainB":
        write_pictures(tmp_path / "trainA", [1])
        write_pictures(tmp_path / "trainB", [2])
    elif layout == "other folders beside":
        for name in ("a", "b", "c"):
            write_pictures(tmp_path / name, [1])
        paths = DataPaths(tmp_path / "a", tmp_path / "b")
    else:
        kind = DataKind.IMAGES
        np.save(tmp_path / "train.npy", np.zeros((2, 4, 4), np.uint8))
        if layout == "records":
            (tmp_path / "train.npy").unlink()
            write_tfrecord(tmp_path / "x.tfrec", [{"image": b""}])
    line = leaks.describe_missing(kind, paths, layouts.find(kind, paths, "train") or [])
    assert "in a folder val" in line
    assert "split" not in line


@pytest.mark.parametrize("kind", [DataKind.UNPAIRED, DataKind.PAIRED])
def test_sides_that_are_copies_of_each_other_are_said(tmp_path: Path, kind: DataKind) -> None:
    for data, levels in (("copies", [1, 2, 3]), ("others", [1, 2, 4])):
        write_pictures(tmp_path / data / "A", [1, 2, 3])
        write_pictures(tmp_path / data / "B", levels)
    write_pictures(tmp_path / "joined", [1, 2, 3], size=8)  # halves of one picture are no copies
    said = {
        data: leaks.describe_same_sides(
            layouts.find(kind, DataPaths(tmp_path / data, halves=data == "joined"), "train") or []
        )
        for data in ("copies", "others", "joined")
    }
    assert said["copies"].startswith("A and B hold the same pictures, byte for byte")
    assert not said["others"]
    assert not said["joined"]


@pytest.mark.parametrize("kind", [DataKind.UNPAIRED, DataKind.PAIRED])
def test_a_and_b_that_lead_to_one_folder_are_refused(tmp_path: Path, kind: DataKind) -> None:
    write_pictures(tmp_path / "store", [1, 2, 3])
    (tmp_path / "data").mkdir()
    for side in "AB":
        (tmp_path / "data" / side).symlink_to("../store")
    with pytest.raises(ValueError, match=r"same folder|is A and B"):
        layouts.find(kind, DataPaths(tmp_path / "data"), "train")
