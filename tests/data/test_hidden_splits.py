"""Splits below classes or sides: read as splits, or refused with a command that reads them; never trained on."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image

from diptych.data.datasets import Dataset
from diptych.data.layouts import find, held_out
from diptych.data.paths import DataPaths
from diptych.kinds import DataKind
from diptych.prepare.inspect import inspect

HELD_OUT = ("val", "Validation", "valid", "dev", "test", "TESTING")
SINGLE = [DataKind.IMAGES, DataKind.LABELLED]
slow = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def draw(root: Path, *names: str, size: tuple[int, int] = (8, 8)) -> None:
    for name in names:
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(path)


def files(found: Sequence[Dataset] | None) -> set[Path]:
    return {path for one in found or () for number in range(len(one)) for path in one.sources(number)}


def refused(kind: DataKind, paths: DataPaths) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        find(kind, paths, "train")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def pasted(message: str) -> DataPaths:
    """The folders of the command that a message ends in."""
    words = shlex.split(message.rpartition("give ")[2])
    flags: dict[str, Any] = dict(zip(words[::2], words[1::2], strict=True))
    return DataPaths.from_flags(flags.get("--data"), flags.get("--data-a"), flags.get("--data-b"))


@pytest.mark.parametrize("kind", SINGLE)
def test_splits_in_each_class_are_splits(tmp_path: Path, kind: DataKind) -> None:
    draw(
        tmp_path, *(f"{name}/{split}/{name}{n}" for name in ("cat", "dog") for split in ("train", "val") for n in "12")
    )
    paths = DataPaths(tmp_path)
    [train] = find(kind, paths, "train") or []
    assert files([train]) == {*tmp_path.glob("*/train/*.png")}
    split, found = held_out(kind, paths) or ("", [])
    assert (split, files(found)) == ("val", {*tmp_path.glob("*/val/*.png")})
    assert "(train in 2 folders)" in train.describe(8, 8)
    assert train.classes == (("cat", "dog") if kind == DataKind.LABELLED else ())


@slow
@given(
    wrapped=st.sampled_from(["", "archive/", "a b/c/"]),
    tops=st.lists(st.sampled_from(["cat", "dog", "A", "B", "x y"]), min_size=1, max_size=3, unique=True),
    words=st.lists(st.sampled_from(HELD_OUT), min_size=1, max_size=2, unique=True),
    lacking=st.sampled_from(["nothing", "held out", "train", "splits"]),
    size=st.sampled_from([(8, 8), (16, 8)]),
)
@pytest.mark.parametrize("kind", DataKind)
def test_what_is_named_like_held_out_pictures_is_never_trained_on(
    tmp_path_factory: pytest.TempPathFactory,
    kind: DataKind,
    wrapped: str,
    tops: list[str],
    words: list[str],
    lacking: str,
    size: tuple[int, int],
) -> None:
    root = tmp_path_factory.mktemp("tree")
    for number, top in enumerate(tops):
        splits = ["Train", *words]
        if number == 0:
            splits = {"nothing": splits, "held out": splits[:1], "train": splits[1:], "splits": ["."]}[lacking]
        draw(root, *(f"{wrapped}{top}/{split}/{split} {n}" for split in splits for n in "123"), size=size)
    try:
        found = find(kind, DataPaths(root), "train")
    except ValueError:
        message = refused(kind, DataPaths(root))
        if "held-out pictures" not in message or "give --" not in message:
            return
        found = find(kind, pasted(message), "train")
    names = {part.lower() for path in files(found) for part in path.relative_to(root).parts}
    assert found
    assert not names & {word.lower() for word in HELD_OUT}


@pytest.mark.parametrize("kind", DataKind)
def test_an_archive_that_was_unpacked_into_a_folder_of_its_own(tmp_path: Path, kind: DataKind) -> None:
    draw(tmp_path, *(f"facades/{split}/{split}{n}" for split in ("train", "val") for n in "12"), size=(16, 8))
    message = refused(kind, DataPaths(tmp_path))
    assert message == (
        f"{tmp_path / 'facades/val'}: is named like held-out pictures, and would be trained on; give --data "
        f"{tmp_path / 'facades'}"
    )
    assert files(find(kind, pasted(message), "train")) == {*tmp_path.glob("facades/train/*.png")}


@pytest.mark.parametrize("kind", [DataKind.PAIRED, DataKind.UNPAIRED])
def test_two_archives_that_were_unpacked_each_into_its_own(tmp_path: Path, kind: DataKind) -> None:
    for side in ("gtFine", "leftImg8bit"):  # twice as wide as tall: they were cut in halves
        names = [f"{split}/{split}{n}" for split in ("train", "val") for n in "12"]
        draw(tmp_path / f"{side}_trainvaltest" / side, *names, size=(16, 8))
    found = find(kind, pasted(refused(kind, DataPaths(tmp_path))), "train")
    assert files(found) == {*tmp_path.glob("*/*/train/*.png")}


@pytest.mark.parametrize("kind", SINGLE)
def test_splits_of_some_classes_alone_are_refused_with_what_to_do(tmp_path: Path, kind: DataKind) -> None:
    draw(tmp_path, "cat/train/1", "cat/val/2", "dog/3")
    assert refused(kind, DataPaths(tmp_path)).endswith("or rename it if it is no split")
    (tmp_path / "cat/val").rename(tmp_path / "cat/validate me")
    assert len(files(find(kind, DataPaths(tmp_path), "train"))) == 3


@pytest.mark.parametrize("kind", SINGLE)
def test_a_class_without_pictures_to_learn_from_is_named(tmp_path: Path, kind: DataKind) -> None:
    draw(tmp_path, "cat/train/1", "dog/test/2")
    assert refused(kind, DataPaths(tmp_path)).startswith(f"{tmp_path / 'dog'}: has no train folder, only test; put")


def test_coco_as_it_is_published(tmp_path: Path) -> None:
    draw(tmp_path, "train2017/1", "train2017/2", "val2017/3")
    message = refused(DataKind.IMAGES, DataPaths(tmp_path))
    assert message.startswith(f"{tmp_path / 'val2017'}: is named like held-out pictures, beside train2017; ")
    assert files(find(DataKind.IMAGES, pasted(message), "train")) == {*tmp_path.glob("train2017/*.png")}
    # Of the two the first in the alphabet was the remedy.
    draw(tmp_path / "other", "test_set/1", "train_set/2")
    assert pasted(refused(DataKind.LABELLED, DataPaths(tmp_path / "other"))).folder == tmp_path / "other/train_set"


def test_a_locomotive_is_no_split(tmp_path: Path) -> None:
    draw(tmp_path, "land/bus/1", "land/train/2", "sea/ship/3")
    assert len(files(find(DataKind.LABELLED, DataPaths(tmp_path), "train"))) == 3


def test_dev_is_val(tmp_path: Path) -> None:
    draw(tmp_path, "train/cat/1", "train/dog/2", "Dev/cat/3")
    split, found = held_out(DataKind.LABELLED, DataPaths(tmp_path)) or ("", [])
    assert (split, files(found)) == ("val", {tmp_path / "Dev/cat/3.png"})


def test_inspect_says_the_same(tmp_path: Path) -> None:
    draw(tmp_path, *(f"x/{split}/{split}{n}" for split in ("train", "val") for n in "12"))
    assert f"give --data {tmp_path / 'x'}" in inspect(tmp_path).reason
