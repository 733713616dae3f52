"""Folders -> pairs. Every picture is flat and of a level of its own, so that its number says where it came from."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.data.layouts import Place, Split, find_paired, held_out, list_pictures
from diptych.data.sources import Source

SPLITS: tuple[Split, ...] = ("train", "val", "test")


def draw(path: Path, *levels: int, size: tuple[int, int] = (4, 6)) -> Path:
    """A picture of `size` (height, width) for each level, side by side in one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    both = np.concatenate([np.full((*size, 3), level, np.uint8) for level in levels], axis=1)
    Image.fromarray(both).save(path)
    return path


def levels(source: Source | None) -> dict[str, tuple[int, int]]:
    """The level of A and B of every pair, by name; each side must be of one level."""
    assert source is not None
    seen = {}
    for index in range(len(source)):
        (a,), (b,) = (set(side.flatten().tolist()) for side in source.load(index))
        seen[source.name(index)] = (a, b)
    return seen


# ---- layouts (002-4, 002-3)

# Where each split lies: one folder of side-by-side pictures, or one folder for A and one for B.
LAYOUTS: dict[str, dict[Split, tuple[str, ...]]] = {
    "DIR": {"train": (".",)},
    "DIR/train": {"train": ("train",)},
    "DIR/train, val, test": {"train": ("train",), "val": ("val",), "test": ("test",)},
    "other words": {"train": ("training",), "val": ("validation",), "test": ("testing",)},
    "valid": {"train": ("train",), "val": ("valid",)},
    "A + B": {"train": ("a", "b")},
    "trainA + trainB": {"train": ("traina", "trainb"), "val": ("vala", "valb"), "test": ("testa", "testb")},
    "trainA + trainB, testA + testB": {"train": ("traina", "trainb"), "test": ("testa", "testb")},
    "train/A + train/B": {"train": ("train/a", "train/b"), "val": ("val/a", "val/b"), "test": ("test/a", "test/b")},
    "A/train + B/train": {"train": ("a/train", "b/train"), "val": ("a/val", "b/val")},
}


@pytest.mark.parametrize("case", [str.lower, str.upper, str.title], ids=["lower", "UPPER", "Title"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layouts_that_people_have_are_found(tmp_path: Path, layout: str, case: Callable[[str], str]) -> None:
    want: dict[Split, dict[str, tuple[int, int]]] = {}
    for number, (split, folders) in enumerate(LAYOUTS[layout].items()):
        want[split] = {}
        for i in range(2):
            a, b = 10 * number + i, 200 + 10 * number + i
            want[split][f"{split}-{i}"] = (a, b)
            places = [tmp_path / case(folder) / f"{split}-{i}{case('.png')}" for folder in folders]
            if len(places) == 1:
                draw(places[0], a, b)
            else:
                draw(places[0], a)
                draw(places[1], b)
    for split in SPLITS:
        source = find_paired(Place(tmp_path), split)
        if split in want:
            assert levels(source) == want[split]
        else:
            assert source is None


def test_measuring_prefers_val_then_test_then_nothing(tmp_path: Path) -> None:
    draw(tmp_path / "train" / "a.png", 1, 2)
    assert held_out("paired", Place(tmp_path)) is None
    draw(tmp_path / "test" / "b.png", 3, 4)
    found = held_out("paired", Place(tmp_path))
    assert found is not None
    assert (found[0], levels(found[1][0])) == ("test", {"b": (3, 4)})
    draw(tmp_path / "val" / "c.png", 5, 6)
    found = held_out("paired", Place(tmp_path))
    assert found is not None
    assert (found[0], levels(found[1][0])) == ("val", {"c": (5, 6)})


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".Png", ".webp", ".BMP", ".tif", ".TiFF"])
def test_every_format_is_found_in_any_case(tmp_path: Path, suffix: str) -> None:
    # Slip of 001: only *.jpg in one exact path worked.
    path = draw(tmp_path / f"a{suffix}", 1, 2)
    assert list_pictures(tmp_path) == [path]


def test_pictures_in_sub_folders_are_found_and_come_in_the_same_order(tmp_path: Path) -> None:
    names = ["z.png", "d/x.png", "d/e/x.png", "c.png"]
    for level, name in enumerate(names):
        draw(tmp_path / name, level, 100 + level)
    want = {"c": (3, 103), "d/e/x": (2, 102), "d/x": (1, 101), "z": (0, 100)}
    assert list(levels(find_paired(Place(tmp_path), "train")).items()) == list(want.items())


def test_partners_match_by_their_path_below_the_two_folders(tmp_path: Path) -> None:
    draw(tmp_path / "A" / "street" / "1.png", 1)
    draw(tmp_path / "A" / "yard" / "1.jpg", 2)
    draw(tmp_path / "B" / "street" / "1.webp", 101)
    draw(tmp_path / "B" / "yard" / "1.BMP", 102)
    assert levels(find_paired(Place(tmp_path), "train")) == {"street/1": (1, 101), "yard/1": (2, 102)}


def test_dots_in_a_stem_belong_to_it(tmp_path: Path) -> None:
    for level, stem in enumerate(["v1.0", "v1.1"]):
        draw(tmp_path / "A" / f"{stem}.png", level)
        draw(tmp_path / "B" / f"{stem}.tif", 100 + level)
    assert levels(find_paired(Place(tmp_path), "train")) == {"v1.0": (0, 100), "v1.1": (1, 101)}


def test_what_is_hidden_or_no_picture_is_passed_over(tmp_path: Path) -> None:
    want = draw(tmp_path / "a.png", 1, 2)
    for name in ("._a.png", ".hidden.png", ".thumbnails/a.png", "d/.e/a.png"):
        draw(tmp_path / name, 3, 4)
    for name in ("notes.txt", "Thumbs.db", ".DS_Store", "png", "a.png.part", "a.json"):
        (tmp_path / name).write_text("no picture")
    assert list_pictures(tmp_path) == [want]


@pytest.mark.parametrize("stem", ["two words", "Häuser-日本-🏠", "two\nlines", "it's 100%", "[a-b]*", "-v"])
def test_any_name_will_do(tmp_path: Path, stem: str) -> None:
    draw(tmp_path / "side by side" / f"{stem}.png", 1, 2)
    assert levels(find_paired(Place(tmp_path / "side by side"), "train")) == {stem: (1, 2)}
    draw(tmp_path / stem / "A" / f"{stem}.png", 3)
    draw(tmp_path / stem / "B" / f"{stem}.jpg", 4)
    assert levels(find_paired(Place(tmp_path / stem), "train")) == {stem: (3, 4)}


@pytest.mark.skipif(os.name == "nt", reason="making links needs a right there")
def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    path = draw(tmp_path / "data" / "a.png", 1, 2)
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data", target_is_directory=True)
    assert list_pictures(tmp_path / "data") == [path]


@pytest.mark.skipif(os.name == "nt", reason="making links needs a right there")
def test_links_to_pictures_and_to_split_folders_are_followed(tmp_path: Path) -> None:
    draw(tmp_path / "far" / "a.png", 1, 2)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train").symlink_to(tmp_path / "far", target_is_directory=True)
    assert levels(find_paired(Place(tmp_path / "data"), "train")) == {"a": (1, 2)}
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "b.png").symlink_to(tmp_path / "far" / "a.png")
    assert levels(find_paired(Place(tmp_path / "links"), "train")) == {"b": (1, 2)}


# ---- what a pair looks like


def test_a_is_the_left_half_and_b_the_right_one(tmp_path: Path) -> None:
    pair = np.random.default_rng(0).integers(0, 256, (5, 14, 3)).astype(np.uint8)
    Image.fromarray(pair).save(tmp_path / "a.png")
    source = find_paired(Place(tmp_path), "train")
    assert source is not None
    a, b = source.load(0)
    np.testing.assert_array_equal(a.permute(1, 2, 0).numpy(), pair[:, :7])
    np.testing.assert_array_equal(b.permute(1, 2, 0).numpy(), pair[:, 7:])


@pytest.mark.parametrize("folders", [(".",), ("A", "B")])
def test_each_side_is_read_in_the_channels_asked_for(tmp_path: Path, folders: tuple[str, ...]) -> None:
    # 000-2
    if len(folders) == 1:
        draw(tmp_path / "a.png", 1, 2)
    else:
        draw(tmp_path / "A" / "a.png", 1)
        draw(tmp_path / "B" / "a.png", 2)
    source = find_paired(Place(tmp_path), "train", channels=(1, 3))
    assert source is not None
    assert source.channels == (1, 3)
    assert [tuple(side.shape) for side in source.load(0)] == [(1, 4, 6), (3, 4, 6)]
    assert levels(source) == {"a": (1, 2)}


def test_a_see_through_half_turns_white_and_the_other_does_not(tmp_path: Path) -> None:
    pair = np.full((4, 12, 4), 50, np.uint8)
    pair[:, :6, 3], pair[:, 6:, 3] = 0, 255
    Image.fromarray(pair).save(tmp_path / "a.png")
    assert levels(find_paired(Place(tmp_path), "train")) == {"a": (255, 50)}


def test_it_says_what_it_found(tmp_path: Path) -> None:
    for i in range(3):
        draw(tmp_path / "one" / f"{i}.png", 1, 2)
        draw(tmp_path / "two" / "A" / f"{i}.png", 1)
        draw(tmp_path / "two" / "B" / f"{i}.png", 1)
    one, two = find_paired(Place(tmp_path / "one"), "train"), find_paired(Place(tmp_path / "two"), "train")
    assert one is not None
    assert two is not None
    assert one.describe(256, 250) == "3 side-by-side pairs, 500x256, A left"
    assert two.describe(256, 250) == "3 pairs in two folders, 250x256"
    assert one.files(1) == str(tmp_path / "one" / "1.png")
    assert two.files(1) == f"{tmp_path / 'two' / 'A' / '1.png'} and {tmp_path / 'two' / 'B' / '1.png'}"


# ---- what is wrong is named


def refused(data: Path, split: Split = "train") -> str:
    """The one line that the user reads."""
    with pytest.raises(ValueError, match=r".") as caught:
        find_paired(Place(data), split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_such_folder(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere") == f"{tmp_path / 'nowhere'}: no such folder"


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png", 1, 2)
    assert refused(path).startswith(f"{path}: is a file")


@pytest.mark.parametrize("empty", [".", "train", "A", "trainB"])
def test_an_empty_folder_is_named_with_the_formats(tmp_path: Path, empty: str) -> None:
    for other in {"A": ["B"], "trainB": ["trainA"]}.get(empty, []):
        draw(tmp_path / other / "a.png", 1)
    (tmp_path / empty).mkdir(exist_ok=True)
    (tmp_path / empty / "notes.txt").write_text("no picture")
    message = refused(tmp_path)
    assert message.startswith(f"{tmp_path / empty}: no pictures found")
    assert ".jpg" in message


@pytest.mark.parametrize(("side", "other"), [("A", "B"), ("B", "A")])
def test_a_picture_without_its_partner_is_named(tmp_path: Path, side: str, other: str) -> None:
    for name in ("1.png", "2.png"):
        draw(tmp_path / side / name, 1)
        draw(tmp_path / other / name, 1)
    lonely = draw(tmp_path / side / "3.png", 1)
    message = refused(tmp_path)
    assert message.startswith(f"{lonely}: has no partner named '3' in {tmp_path / other};")
    draw(tmp_path / side / "4.png", 1)
    draw(tmp_path / side / "5.png", 1)
    assert "(and 2 more like it)" in refused(tmp_path)


def test_two_files_of_one_stem_are_named(tmp_path: Path) -> None:
    draw(tmp_path / "A" / "1.png", 1)
    draw(tmp_path / "B" / "1.jpg", 1)
    draw(tmp_path / "B" / "1.png", 1)
    message = refused(tmp_path)
    assert message.startswith(f"{tmp_path / 'B' / '1.png'}: 1.jpg has the same stem")


@pytest.mark.parametrize(
    ("there", "split"),
    [
        ("trainA", "train"), ("trainB", "train"), ("train/A", "train"), ("train/B", "train"), ("A", "train"),
        ("B", "train"), ("valA", "val"), ("val/B", "val"), ("A/val", "val"), ("B/test", "test"),
    ],
)  # fmt: skip
def test_a_side_without_the_other_is_named(tmp_path: Path, there: str, split: Split) -> None:
    # Without this, pictures of one side would be cut in two and trained on as pairs, or a split would silently be missed.
    if split != "train":
        draw(tmp_path / "A" / "train" / "x.png", 1)
        draw(tmp_path / "B" / "train" / "x.png", 1)
    draw(tmp_path / there / "x.png", 1)
    message = refused(tmp_path, split)
    assert message.startswith(f"{tmp_path / there}: the other side is missing")
    assert "DIR/trainA + DIR/trainB" in message


@pytest.mark.parametrize("there", [("val",), ("test", "val"), ("testA", "testB"), ("valid",)])
def test_held_out_pictures_are_never_trained_on(tmp_path: Path, there: tuple[str, ...]) -> None:
    for folder in there:
        draw(tmp_path / folder / "x.png", 1, 2)
    message = refused(tmp_path)
    assert message.startswith(f"{tmp_path}: has no train folder, only {there[0]}")


def bad_pair(data: Path) -> str:
    source = find_paired(Place(data), "train")
    assert source is not None
    with pytest.raises(ValueError, match=r".") as caught:
        source.load(0)
    return str(caught.value)


def test_an_odd_width_has_no_halves(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png", 1, size=(4, 7))
    message = bad_pair(tmp_path)
    assert message.startswith(f"{path}: 7 pixels wide")
    assert "A left and B right" in message


def test_sides_of_two_sizes_are_named_with_them(tmp_path: Path) -> None:
    a = draw(tmp_path / "A" / "x.png", 1, size=(4, 6))
    b = draw(tmp_path / "B" / "x.png", 1, size=(6, 4))
    assert bad_pair(tmp_path).startswith(f"{a} is 6x4 and {b} is 4x6;")


@pytest.mark.parametrize("bad", ["A/x.png", "B/x.png", "x.png"])
def test_a_text_file_named_png_is_named(tmp_path: Path, bad: str) -> None:
    if bad != "x.png":
        draw(tmp_path / "A" / "x.png", 1)
        draw(tmp_path / "B" / "x.png", 1)
    (tmp_path / bad).write_text("Dear diary")
    assert bad_pair(tmp_path).startswith(f"{tmp_path / bad}: not a picture")


def test_two_side_by_side_pictures_of_one_stem_are_refused(tmp_path: Path) -> None:
    """Results are kept by stem: one would be lost under the other."""
    for name in ("house.png", "house.jpg"):
        Image.new("RGB", (8, 4)).save(tmp_path / name)
    with pytest.raises(ValueError, match=r"house.png: house.jpg has the same stem"):
        find_paired(Place(tmp_path), "train")
