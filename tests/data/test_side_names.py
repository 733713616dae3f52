"""A and B are called by their folders, and a picture is of the side that its folder, or its own name, says."""

from pathlib import Path

import pytest
from PIL import Image

from diptych.data import layouts
from diptych.data.paths import DataPaths
from diptych.data.side_names import names_of, side_of
from diptych.kinds import A_AND_B, DataKind, Sides

ART: Sides = ("paintings", "photos")


def draw(folder: Path, width: int = 16) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(2):
        Image.new("RGB", (width, 16)).save(folder / f"{number}.png")


def named(paths: DataPaths, kind: DataKind = DataKind.UNPAIRED) -> Sides:
    return names_of(layouts.find(kind, paths, "train") or ())


@pytest.mark.parametrize(
    ("a", "b", "names"),
    [
        ("paintings", "photos", ART),
        ("train/paintings", "train/photos", ART),
        ("paintings/train", "photos/train", ART),
        ("trainA", "trainB", A_AND_B),
        ("train/A", "train/B", A_AND_B),
    ],
)
def test_of_one_folder_with_two(a: str, b: str, names: Sides, tmp_path: Path) -> None:
    for side in (a, b):
        draw(tmp_path / side)
    assert named(DataPaths(tmp_path)) == names
    assert named(DataPaths(tmp_path), DataKind.PAIRED) == names


@pytest.mark.parametrize(
    ("a", "b", "names"),
    [
        ("art/train_paintings", "art/train_photos", ART),
        ("x/trainA", "y/trainB", A_AND_B),
        ("labels", "pictures", ("labels", "pictures")),
        ("photo", "photos", A_AND_B),  # too like each other to be told apart
        ("B", "A", A_AND_B),  # or --direction AtoB would be B -> A
        ("one\nline", "another", A_AND_B),
    ],
)
def test_of_two_folders_that_are_given(a: str, b: str, names: Sides, tmp_path: Path) -> None:
    for side in (a, b):
        draw(tmp_path / side)
    assert named(DataPaths(tmp_path / a, tmp_path / b)) == names


def test_halves_have_no_names(tmp_path: Path) -> None:
    draw(tmp_path, width=32)
    assert named(DataPaths(tmp_path, halves=True)) == A_AND_B


@pytest.mark.parametrize(
    ("pictures", "side"),
    [
        (["photos"], "photos"),
        (["art/Photo/2019/07/14/1.png"], None),  # too far above
        (["art/Photo/2019/1.png"], "photos"),
        (["testset/test_photos/1.png"], "photos"),
        (["photos/paintings/1.png"], "paintings"),  # the nearest folder
        (["a photo of paintings.jpg"], None),
        (["photo-1.jpg", "my_photos.jpg"], "photos"),
        (["photo.jpg", "DSC1.jpg"], None),
        (["photos/1.png", "paintings/1.png"], None),
        (["photograph.jpg"], None),
    ],
)
def test_the_side_of_pictures(pictures: list[str], side: str | None, tmp_path: Path) -> None:
    assert side_of([tmp_path / picture for picture in pictures], ART) == side


def test_a_and_b_are_names_of_folders_alone(tmp_path: Path) -> None:
    assert side_of([tmp_path / "testB/1.png"], A_AND_B) == "B"
    assert side_of([tmp_path / "val/a/1.png"], A_AND_B) == "A"
    assert side_of([tmp_path / "a.png", tmp_path / "1_A.png"], A_AND_B) is None
