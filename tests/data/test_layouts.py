"""Folders -> samples. Every picture is flat and of a level of its own, so that its number says where it came from."""

import io
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.data.datasets import Dataset
from diptych.data.layouts import find, find_one, find_singles, held_out
from diptych.data.paths import DataPaths, Split, list_pictures
from diptych.images.spec import ImageSpec
from diptych.kinds import DataKind

SPLITS: tuple[Split, ...] = ("train", "val", "test")


def draw(path: Path, *levels: int, size: tuple[int, int] | None = None) -> Path:
    """A picture of `size` (height, width) for each level, side by side in one file: two are squares, as pairs are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = size or ((4, 6) if len(levels) == 1 else (4, 4))
    both = np.concatenate([np.full((*size, 3), level, np.uint8) for level in levels], axis=1)
    Image.fromarray(both).save(path)
    return path


def levels(source: Dataset | None) -> dict[str, tuple[int, int]]:
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
        source = find_one(DataKind.PAIRED, DataPaths(tmp_path), split)
        if split in want:
            assert levels(source) == want[split]
        else:
            assert source is None


def test_measuring_prefers_val_then_test_then_nothing(tmp_path: Path) -> None:
    draw(tmp_path / "train" / "a.png", 1, 2)
    assert held_out(DataKind.PAIRED, DataPaths(tmp_path)) is None
    draw(tmp_path / "test" / "b.png", 3, 4)
    found = held_out(DataKind.PAIRED, DataPaths(tmp_path))
    assert found is not None
    assert (found[0], levels(found[1][0])) == ("test", {"b": (3, 4)})
    draw(tmp_path / "val" / "c.png", 5, 6)
    found = held_out(DataKind.PAIRED, DataPaths(tmp_path))
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
    assert list(levels(find_one(DataKind.PAIRED, DataPaths(tmp_path), "train")).items()) == list(want.items())


def test_partners_match_by_their_path_below_the_two_folders(tmp_path: Path) -> None:
    draw(tmp_path / "A" / "street" / "1.png", 1)
    draw(tmp_path / "A" / "yard" / "1.jpg", 2)
    draw(tmp_path / "B" / "street" / "1.webp", 101)
    draw(tmp_path / "B" / "yard" / "1.BMP", 102)
    assert levels(find_one(DataKind.PAIRED, DataPaths(tmp_path), "train")) == {"street/1": (1, 101), "yard/1": (2, 102)}


def test_dots_in_a_stem_belong_to_it(tmp_path: Path) -> None:
    for level, stem in enumerate(["v1.0", "v1.1"]):
        draw(tmp_path / "A" / f"{stem}.png", level)
        draw(tmp_path / "B" / f"{stem}.tif", 100 + level)
    assert levels(find_one(DataKind.PAIRED, DataPaths(tmp_path), "train")) == {"v1.0": (0, 100), "v1.1": (1, 101)}


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
    assert levels(find_one(DataKind.PAIRED, DataPaths(tmp_path / "side by side"), "train")) == {stem: (1, 2)}
    draw(tmp_path / stem / "A" / f"{stem}.png", 3)
    draw(tmp_path / stem / "B" / f"{stem}.jpg", 4)
    assert levels(find_one(DataKind.PAIRED, DataPaths(tmp_path / stem), "train")) == {stem: (3, 4)}


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
    assert levels(find_one(DataKind.PAIRED, DataPaths(tmp_path / "data"), "train")) == {"a": (1, 2)}
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "b.png").symlink_to(tmp_path / "far" / "a.png")
    assert levels(find_one(DataKind.PAIRED, DataPaths(tmp_path / "links"), "train")) == {"b": (1, 2)}


# ---- what a pair looks like


def test_a_is_the_left_half_and_b_the_right_one(tmp_path: Path) -> None:
    pair = np.random.default_rng(0).integers(0, 256, (7, 14, 3)).astype(np.uint8)
    Image.fromarray(pair).save(tmp_path / "a.png")
    source = find_one(DataKind.PAIRED, DataPaths(tmp_path), "train")
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
    source = find_one(DataKind.PAIRED, DataPaths(tmp_path), "train", (ImageSpec(1), ImageSpec(3)))
    assert source is not None
    assert [spec.channels for spec in source.specs] == [1, 3]
    width = 4 if len(folders) == 1 else 6
    assert [tuple(side.shape) for side in source.load(0)] == [(1, 4, width), (3, 4, width)]
    assert levels(source) == {"a": (1, 2)}


def test_a_see_through_half_turns_white_and_the_other_does_not(tmp_path: Path) -> None:
    pair = np.full((4, 8, 4), 50, np.uint8)
    pair[:, :4, 3], pair[:, 4:, 3] = 0, 255
    Image.fromarray(pair).save(tmp_path / "a.png")
    assert levels(find_one(DataKind.PAIRED, DataPaths(tmp_path), "train")) == {"a": (255, 50)}


def test_it_says_what_it_found(tmp_path: Path) -> None:
    for i in range(3):
        draw(tmp_path / "one" / f"{i}.png", 1, 2)
        draw(tmp_path / "two" / "A" / f"{i}.png", 1)
        draw(tmp_path / "two" / "B" / f"{i}.png", 1)
    one, two = (
        find_one(DataKind.PAIRED, DataPaths(tmp_path / "one"), "train"),
        find_one(DataKind.PAIRED, DataPaths(tmp_path / "two"), "train"),
    )
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
        find_one(DataKind.PAIRED, DataPaths(data), split)
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
    assert "(and 2 more like it, of 5)" in refused(tmp_path)


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
    source = find_one(DataKind.PAIRED, DataPaths(data), "train")
    assert source is not None
    with pytest.raises(ValueError, match=r".") as caught:
        source.load(0)
    return str(caught.value)


def test_an_odd_width_has_no_halves(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png", 1, size=(26, 51))
    message = bad_pair(tmp_path)
    assert message.startswith(f"{path}: 51 pixels wide")
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
        find_one(DataKind.PAIRED, DataPaths(tmp_path), "train")


# ---- pairs in a folder for A and one for B


def test_pairs_may_lie_in_two_folders_far_apart(tmp_path: Path) -> None:
    a, b = tmp_path / "disk 1" / "photos", tmp_path / "disk 2" / "drawings"
    for level, name in enumerate(["x", "d/y"]):
        draw(a / f"{name}.jpg", level)
        draw(b / f"{name}.png", 100 + level)
    assert levels(find_one(DataKind.PAIRED, DataPaths(a, b), "train")) == {"d/y": (1, 101), "x": (0, 100)}
    assert levels(find_one(DataKind.PAIRED, DataPaths(b, a), "train")) == {"d/y": (101, 1), "x": (100, 0)}
    assert find_one(DataKind.PAIRED, DataPaths(a, b), "val") is None
    draw(b / "z.png", 3)
    with pytest.raises(ValueError, match="has no partner named 'z'"):
        find_one(DataKind.PAIRED, DataPaths(a, b), "train")


def test_pairs_in_two_folders_may_have_splits(tmp_path: Path) -> None:
    for level, split in enumerate(["training", "val", "test"]):
        draw(tmp_path / "photos" / split / "x.png", level)
        draw(tmp_path / "drawings" / split / "x.png", 100 + level)
    place = DataPaths(tmp_path / "photos", tmp_path / "drawings")
    for level, split in enumerate(SPLITS):
        assert levels(find_one(DataKind.PAIRED, place, split)) == {"x": (level, 100 + level)}
    found = held_out(DataKind.PAIRED, place)
    assert found is not None
    assert (found[0], levels(found[1][0])) == ("val", {"x": (1, 101)})


# ---- unpaired pictures (CycleGAN)

Write = Callable[..., Path]

# Where each split lies: one folder for A and one for B. The layouts of pairs first, then folders of any names.
UNPAIRED: dict[str, dict[Split, tuple[str, str]]] = {
    **{
        name: {split: (sides[0], sides[1]) for split, sides in places.items()}
        for name, places in LAYOUTS.items()
        if len(places["train"]) == 2
    },
    "horse + zebra": {"train": ("horse", "zebra")},
    "train/horse + train/zebra": {"train": ("train/horse", "train/zebra")},
    "train, val, test": {
        "train": ("training/horse", "training/zebra"),
        "val": ("val/horse", "val/zebra"),
        "test": ("test/horse", "test/zebra"),
    },
    "horse/train + zebra/train": {
        "train": ("horse/train", "zebra/train"),
        "val": ("horse/valid", "zebra/valid"),
        "test": ("horse/test", "zebra/test"),
    },
}


def png(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (6, 4), (level, level, level)).save(file, "PNG")
    return file.getvalue()


def flats(source: Dataset) -> dict[str, int]:
    """The level of every picture of one side, by name."""
    seen = {}
    for index in range(len(source)):
        (picture,) = source.load(index)
        assert picture.shape[0] == source.specs[0].channels
        assert len(source.specs) == 1
        (seen[source.name(index)],) = set(picture.flatten().tolist())
    assert len(seen) == len(source)  # results are kept by name
    return seen


def sides(found: Sequence[Dataset] | None) -> tuple[dict[str, int], dict[str, int]]:
    assert found is not None
    a, b = found
    return flats(a), flats(b)


def refused_unpaired(place: DataPaths, split: Split = "train") -> str:
    """The one line that the user reads."""
    with pytest.raises(ValueError, match=r".") as caught:
        find(DataKind.UNPAIRED, place, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("case", [str.lower, str.upper, str.title], ids=["lower", "UPPER", "Title"])
@pytest.mark.parametrize("kind", ["pictures", "records"])
@pytest.mark.parametrize("layout", UNPAIRED)
def test_two_unpaired_sides_are_found(
    tmp_path: Path, write_tfrecord: Write, layout: str, kind: str, case: Callable[[str], str]
) -> None:
    want: dict[Split, tuple[dict[str, int], dict[str, int]]] = {}
    for number, (split, folders) in enumerate(UNPAIRED[layout].items()):
        base = 20 * number + 1
        # Other names on each side, and other counts: three against two.
        levels_a, levels_b = [base, base + 1, base + 2], [200 + base, 201 + base]
        if kind == "pictures":
            want[split] = {f"a{n}": n for n in levels_a}, {f"b{n}": n for n in levels_b}
            for folder, names in zip(folders, want[split], strict=True):
                for name, level in names.items():
                    draw(tmp_path / case(folder) / f"{name}{case('.png')}", level)
        else:
            want[split] = (
                {
                    f"x{case('.tfrec')}/00000": base,
                    f"x{case('.tfrec')}/00001": base + 1,
                    f"y{case('.tfrecord')}/00000": base + 2,
                },
                {f"x{case('.tfrecords')}/{number:05d}": 200 + base + number for number in range(2)},
            )
            a, b = (tmp_path / case(folder) for folder in folders)
            write_tfrecord(a / f"x{case('.tfrec')}", [{"image": png(level)} for level in levels_a[:2]])
            write_tfrecord(a / f"y{case('.tfrecord')}", [{"image": png(level)} for level in levels_a[2:]])
            write_tfrecord(b / f"x{case('.tfrecords')}", [{"image": png(level)} for level in levels_b])
    for split in SPLITS:
        for place in (DataPaths(tmp_path), _by_hand(tmp_path, layout, case)):
            if place is None:
                continue
            found = find(DataKind.UNPAIRED, place, split)
            if split in want:
                assert sides(found) == want[split]
            else:
                assert found is None


def _by_hand(data: Path, layout: str, case: Callable[[str], str]) -> DataPaths | None:
    """The same place as --data-a and --data-b, where the split is the last part of its folders."""
    a, b = UNPAIRED[layout]["train"]
    if len(UNPAIRED[layout]) > 1 and not a.endswith("/train"):
        return None
    return DataPaths(data / case(a.removesuffix("/train")), data / case(b.removesuffix("/train")))


def test_what_was_found_is_said_and_how_it_was_told_apart(tmp_path: Path, write_tfrecord: Write) -> None:
    for name in ("horse/1.png", "zebra/1.png", "zebra/2.png"):
        draw(tmp_path / "jpg" / name, 1)
    for name in ("monet/1.tfrec", "monet/2.tfrec", "photo/1.tfrec"):
        write_tfrecord(tmp_path / "tfrec" / name, [{"image": png(1)}] * 2)
    by_name = " (A and B in the order of their names), 250x256"
    for folder, a, b in [
        ("jpg", f"1 picture in {tmp_path / 'jpg' / 'horse'}", f"2 pictures in {tmp_path / 'jpg' / 'zebra'}"),
        (
            "tfrec",
            f"4 pictures of 2 TFRecord files in {tmp_path / 'tfrec' / 'monet'}",
            f"2 pictures of 1 TFRecord file in {tmp_path / 'tfrec' / 'photo'}",
        ),
    ]:
        found = find(DataKind.UNPAIRED, DataPaths(tmp_path / folder), "train")
        assert found is not None
        assert [source.describe(256, 250) for source in found] == [a + by_name, b + by_name]
    given = find(DataKind.UNPAIRED, DataPaths(tmp_path / "tfrec" / "photo", tmp_path / "jpg" / "horse"), "train")
    assert given is not None
    assert [source.describe(256, 250) for source in given] == [
        f"2 pictures of 1 TFRecord file in {tmp_path / 'tfrec' / 'photo'}, 250x256",
        f"1 picture in {tmp_path / 'jpg' / 'horse'}, 250x256",
    ]
    draw(tmp_path / "known" / "trainA" / "1.png", 1)
    draw(tmp_path / "known" / "trainB" / "1.png", 1)
    known = find(DataKind.UNPAIRED, DataPaths(tmp_path / "known"), "train")
    assert known is not None
    assert not any("order of their names" in source.describe(256, 250) for source in known)


def test_the_first_folder_by_name_is_a(tmp_path: Path) -> None:
    for level, name in enumerate(["zebra", "horse"]):
        draw(tmp_path / name / "1.png", level)
    assert sides(find(DataKind.UNPAIRED, DataPaths(tmp_path), "train")) == ({"1": 1}, {"1": 0})
    place = DataPaths(tmp_path / "zebra", tmp_path / "horse")  # by hand, it is the one that is said
    assert sides(find(DataKind.UNPAIRED, place, "train")) == ({"1": 0}, {"1": 1})


def test_names_are_told_apart_in_sub_folders_and_files(tmp_path: Path, write_tfrecord: Write) -> None:
    for level, name in enumerate(["x.tfrec", "d/x.tfrec", "d.tfrec"]):
        write_tfrecord(tmp_path / name, [{"image": png(10 * level)}, {"image": png(10 * level + 1)}])
    want = {
        "d.tfrec/00000": 20,
        "d.tfrec/00001": 21,
        "d/x.tfrec/00000": 10,
        "d/x.tfrec/00001": 11,
        "x.tfrec/00000": 0,
        "x.tfrec/00001": 1,
    }
    assert flats(find_singles(tmp_path)) == want
    for level, name in enumerate(["pictures/x.png", "pictures/d/x.png"]):
        draw(tmp_path / name, level)
    assert flats(find_singles(tmp_path / "pictures")) == {"d/x": 1, "x": 0}


def test_each_unpaired_side_is_read_in_the_channels_asked_for(tmp_path: Path, write_tfrecord: Write) -> None:
    draw(tmp_path / "A" / "1.png", 1)
    write_tfrecord(tmp_path / "B" / "1.tfrec", [{"image": png(2)}])
    for channels in [(1, 3), (3, 1)]:
        found = find(DataKind.UNPAIRED, DataPaths(tmp_path), "train", (ImageSpec(channels[0]), ImageSpec(channels[1])))
        assert sides(found) == ({"1": 1}, {"1.tfrec/00000": 2})
        assert found is not None
        assert [tuple(source.load(0)[0].shape) for source in found] == [(c, 4, 6) for c in channels]
    assert [find_singles(tmp_path / side, ImageSpec(1)).load(0)[0].shape[0] for side in "AB"] == [1, 1]


@pytest.mark.parametrize("folder", [".", "train", "val"])
def test_side_by_side_pairs_are_taken_apart(tmp_path: Path, folder: str) -> None:
    draw(tmp_path / "train" / "0.png", 0, 100)
    data = tmp_path / "loose" if folder == "." else tmp_path
    split: Split = "val" if folder == "val" else "train"
    for level in (1, 2):
        draw(data / folder / f"{level}.png", level, 100 + level)
    extra = {"0": 0} if folder == "train" else {}
    want = {**extra, "1": 1, "2": 2}
    found = find(DataKind.UNPAIRED, DataPaths(data), split, (ImageSpec(1), ImageSpec(3)))
    assert sides(found) == (want, {name: 100 + level for name, level in want.items()})
    assert found is not None
    assert [source.specs for source in found] == [(ImageSpec(1),), (ImageSpec(3),)]
    for source, half in zip(found, ("left", "right"), strict=True):
        assert (
            source.describe(256, 250)
            == f"the {half} halves of {len(want)} side-by-side pictures in {data / folder}, 250x256"
        )
        assert source.files(len(want) - 1) == str(data / folder / "2.png")


def test_loose_pictures_beside_folders_are_side_by_side_with_them(tmp_path: Path) -> None:
    # Two folders are A and B only where nothing lies beside them: else a data set of pairs would be torn in two.
    for level, name in enumerate(["1.JPG", "street/2.png", "yard/3.png"]):
        draw(tmp_path / name, level, 100 + level, size=(16, 16))
    found = find(DataKind.UNPAIRED, DataPaths(tmp_path), "train")
    assert found is not None
    assert [found[0].name(index) for index in range(len(found[0]))] == ["1", "street/2", "yard/3"]
    assert [int(side.load(2)[0].min()) for side in found] == [2, 102]


def test_hidden_folders_and_runs_and_folders_without_pictures_are_no_side(tmp_path: Path) -> None:
    draw(tmp_path / "horse" / "1.png", 1)
    draw(tmp_path / "zebra" / "1.png", 2)
    draw(tmp_path / ".cache" / "1.png", 3)
    (tmp_path / "ORIGIN.txt").write_text("no picture")
    draw(tmp_path / "._1.png", 4)
    for run in ("a run", "runs/one", "runs/two"):
        draw(tmp_path / run / "samples" / "1.png", 5)
        (tmp_path / run / "settings.toml").touch()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").write_text("no picture")
    assert sides(find(DataKind.UNPAIRED, DataPaths(tmp_path), "train")) == ({"1": 1}, {"1": 2})


def test_links_to_folders_are_sides(tmp_path: Path) -> None:
    if os.name == "nt":
        pytest.skip("making links needs a right there")
    draw(tmp_path / "far" / "1.png", 1)
    draw(tmp_path / "data" / "horse" / "1.png", 2)
    (tmp_path / "data" / "zebra").symlink_to(tmp_path / "far", target_is_directory=True)
    assert sides(find(DataKind.UNPAIRED, DataPaths(tmp_path / "data"), "train")) == ({"1": 2}, {"1": 1})


def test_measuring_unpaired_prefers_val_then_test_then_nothing(tmp_path: Path) -> None:
    draw(tmp_path / "horse" / "train" / "1.png", 1)
    draw(tmp_path / "zebra" / "train" / "1.png", 2)
    place, by_hand = DataPaths(tmp_path), DataPaths(tmp_path / "horse", tmp_path / "zebra")
    assert held_out(DataKind.UNPAIRED, place) is None
    assert held_out(DataKind.UNPAIRED, by_hand) is None
    for level, split in [(10, "test"), (20, "val")]:
        draw(tmp_path / "horse" / split / "x.png", level)
        draw(tmp_path / "zebra" / split / "y.png", level + 1)
        for one in (place, by_hand):
            found = held_out(DataKind.UNPAIRED, one, (ImageSpec(1), ImageSpec(1)))
            assert found is not None
            assert (found[0], sides(found[1])) == (split, ({"x": level}, {"y": level + 1}))
            assert [source.specs for source in found[1]] == [(ImageSpec(1),), (ImageSpec(1),)]


def test_find_gives_one_source_of_pairs_or_two_sides(tmp_path: Path) -> None:
    for level in (1, 2):
        draw(tmp_path / "trainA" / f"{level}.png", level)
        draw(tmp_path / "trainB" / f"{level}.png", 100 + level)
    pairs = find(DataKind.PAIRED, DataPaths(tmp_path), "train")
    assert pairs is not None
    assert [levels(source) for source in pairs] == [{"1": (1, 101), "2": (2, 102)}]
    assert sides(find(DataKind.UNPAIRED, DataPaths(tmp_path), "train")) == ({"1": 1, "2": 2}, {"1": 101, "2": 102})
    assert find(DataKind.PAIRED, DataPaths(tmp_path), "val") is None
    assert find(DataKind.UNPAIRED, DataPaths(tmp_path), "val") is None


# ---- what is wrong with unpaired pictures is named


@pytest.mark.parametrize("folder", [".", "train"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_of_three_folders_none_is_guessed(tmp_path: Path, folder: str, split: Split) -> None:
    for name in ("zebra", "apple", "horse"):
        draw(tmp_path / folder / name / "1.png", 1)
    if split == "val":  # all of it is the training set; there is nothing to measure on
        assert find(DataKind.UNPAIRED, DataPaths(tmp_path), split) is None
        return
    message = refused_unpaired(DataPaths(tmp_path))
    assert message.startswith(f"{tmp_path / folder}: holds 3 folders (apple, horse, zebra)")
    assert "--data-a DIR --data-b DIR" in message


@pytest.mark.parametrize("lacking", ["horse", "zebra"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_of_one_side_only_is_named(tmp_path: Path, lacking: str, split: Split) -> None:
    for name in ("horse", "zebra"):
        draw(tmp_path / name / "train" / "1.png", 1)
        if name != lacking:
            draw(tmp_path / name / split / "1.png", 1)
    other = "zebra" if lacking == "horse" else "horse"
    for place in (DataPaths(tmp_path), DataPaths(tmp_path / "horse", tmp_path / "zebra")):
        assert sides(find(DataKind.UNPAIRED, place, "train")) == ({"1": 1}, {"1": 1})
        message = refused_unpaired(place, split)
        assert message.startswith(f"{tmp_path / other / split}: the other side is missing in {tmp_path / lacking};")


@pytest.mark.parametrize(
    "there",
    [("val/horse", "val/zebra"), ("horse/val", "zebra/val"), ("horse/test", "zebra"), ("valA", "valB"), ("testA",)],
)
def test_held_out_unpaired_pictures_are_never_trained_on(tmp_path: Path, there: tuple[str, ...]) -> None:
    for folder in there:
        draw(tmp_path / folder / "x.png", 1)
    assert "has no train folder, only" in refused_unpaired(DataPaths(tmp_path))


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_unpaired_side_without_the_other_is_named(tmp_path: Path, split: Split) -> None:
    for side in "AB":
        draw(tmp_path / f"train{side}" / "x.png", 1)
    draw(tmp_path / "valB" / "x.png", 1)
    if split == "train":
        (tmp_path / "trainA").rename(tmp_path / "elsewhere")
    assert refused_unpaired(DataPaths(tmp_path), split).startswith(f"{tmp_path / split}B: the other side is missing")


def test_pictures_and_records_in_one_folder_are_refused(tmp_path: Path, write_tfrecord: Write) -> None:
    write_tfrecord(tmp_path / "A" / "x.tfrec", [{"image": png(1)}])
    draw(tmp_path / "A" / "jpg" / "0.png", 1)
    draw(tmp_path / "B" / "1.png", 2)
    message = refused_unpaired(DataPaths(tmp_path))
    assert message.startswith(f"{tmp_path / 'A'}: ")
    assert "(x.tfrec)" in message
    assert "(0.png)" in message
    with pytest.raises(ValueError, match=r"x\.tfrec.*0\.png"):
        find_singles(tmp_path / "A")


def test_records_that_are_none_are_refused(tmp_path: Path, write_tfrecord: Write) -> None:
    draw(tmp_path / "B" / "1.png", 2)
    empty = [write_tfrecord(tmp_path / "A" / name, []) for name in ("x.tfrec", "y.tfrec")]
    assert refused_unpaired(DataPaths(tmp_path)).startswith(f"{tmp_path / 'A'}: its TFRecord files hold no records")
    write_tfrecord(empty[1], [{"image": png(7)}])  # one that holds something is enough
    assert sides(find(DataKind.UNPAIRED, DataPaths(tmp_path), "train")) == ({"y.tfrec/00000": 7}, {"1": 2})
    empty[0].write_text("Dear diary, today there were zebras.")
    assert refused_unpaired(DataPaths(tmp_path)).startswith(f"{empty[0]}, record 0: ")


@pytest.mark.parametrize("bad", [b"", b"Dear diary", png(1)[:40]])
def test_a_bad_picture_in_a_record_is_named(tmp_path: Path, write_tfrecord: Write, bad: bytes) -> None:
    file = write_tfrecord(tmp_path / "d" / "x.tfrec", [{"image": png(1)}, {"image": bad}, {"jpeg": png(3)}])
    source = find_singles(tmp_path)
    assert [source.files(index) for index in range(3)] == [f"{file}, record {number}" for number in range(3)]
    assert int(source.load(0)[0].max()) == 1
    for number in (1, 2):
        with pytest.raises(ValueError, match=r".") as caught:
            source.load(number)
        assert str(caught.value).startswith(f"{file}, record {number}: ")


@pytest.mark.parametrize("size", [(16, 16), (17, 16), (16, 8), (12, 16), (18, 32), (16, 24), (16, 48), (16, 34)])
@pytest.mark.parametrize("folder", [".", "horse", "train", "train/horse"])
@pytest.mark.parametrize("kind", [DataKind.PAIRED, DataKind.UNPAIRED])
def test_single_pictures_are_not_cut_in_two(tmp_path: Path, folder: str, size: tuple[int, int], kind: DataKind) -> None:
    # Who gives one folder of photos has not said where the other side is.
    for number in (1, 2):
        draw(tmp_path / folder / f"{number}.png", number, size=size)
    with pytest.raises(ValueError, match=r"--data-a DIR --data-b DIR") as caught:
        find(kind, DataPaths(tmp_path), "train")
    said = str(caught.value)
    assert ": 2 pictures" in said
    assert f"such as {size[1]}x{size[0]}" in said
    assert ("--halves" in said) == (size[1] > size[0])
    if size[1] > size[0] and not size[1] % 2:
        found = find(kind, DataPaths(tmp_path, halves=True), "train")
        assert found is not None
        assert found[0].load(0)[0].shape[1:] == (size[0], size[1] // 2)


@pytest.mark.parametrize("kind", [DataKind.PAIRED, DataKind.UNPAIRED])
def test_one_single_picture_among_many_pairs_is_named(tmp_path: Path, kind: DataKind) -> None:
    for number in range(100):
        draw(tmp_path / f"{number:03d}.png", 1, 2)
    path = draw(tmp_path / "013.png", 1, size=(8, 8))  # not among those that are looked at first
    [source, *_] = find(kind, DataPaths(tmp_path), "train") or []
    with pytest.raises(ValueError, match=r"8x8 pixels, which is no A beside its B") as caught:
        source.load(13)
    assert str(caught.value).startswith(f"{path}: ")
    assert source.load(14)


def test_records_that_lie_loose_beside_folders_are_not_forgotten(tmp_path: Path, write_tfrecord: Write) -> None:
    for name in ("loose.tfrec", "monet/x.tfrec", "photo/x.tfrec"):
        write_tfrecord(tmp_path / name, [{"image": png(1)}])
    assert refused_unpaired(DataPaths(tmp_path)).startswith(f"{tmp_path}: ")


def test_no_such_side(tmp_path: Path) -> None:
    path = draw(tmp_path / "A" / "1.png", 1)
    nowhere = tmp_path / "nowhere"
    for place in (DataPaths(nowhere), DataPaths(tmp_path / "A", nowhere), DataPaths(nowhere, tmp_path / "A")):
        assert refused_unpaired(place) == f"{nowhere}: no such folder"
    assert refused_unpaired(DataPaths(tmp_path / "A", path)).startswith(f"{path}: is a file")
    nowhere.mkdir()
    assert refused_unpaired(DataPaths(tmp_path / "A", nowhere)).startswith(f"{nowhere}: no pictures found")


def test_two_unpaired_pictures_of_one_stem_are_refused(tmp_path: Path) -> None:
    draw(tmp_path / "A" / "1.png", 1)
    draw(tmp_path / "B" / "1.jpg", 1)
    draw(tmp_path / "B" / "1.png", 1)
    assert refused_unpaired(DataPaths(tmp_path)).startswith(f"{tmp_path / 'B' / '1.png'}: 1.jpg has the same stem")


# ---- the pictures of one folder


def test_single_pictures_are_all_below_a_folder(tmp_path: Path) -> None:
    for level, name in enumerate(["2.png", "train/A/1.bmp", "b/1.PNG", ".hidden/1.png"]):
        draw(tmp_path / name, level)
    source = find_singles(tmp_path)
    assert flats(source) == {"2": 0, "b/1": 2, "train/A/1": 1}
    assert source.files(0) == str(tmp_path / "2.png")
    assert source.describe(4, 6) == f"3 pictures in {tmp_path}, 6x4"


def test_a_folder_without_single_pictures_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    for path, why in [
        (tmp_path, "no pictures found"),
        (tmp_path / "no", "no such folder"),
        (tmp_path / "notes.txt", "is a file"),
    ]:
        with pytest.raises(ValueError, match=why) as caught:
            find_singles(path)
        assert str(caught.value).startswith(f"{path}: ")


# ---- how a person says where the pictures lie


@pytest.mark.parametrize(
    "given",
    [
        (None, None, None), ("d", "a", "b"), ("d", "a", None), ("d", None, "b"), (None, "a", None), (None, None, "b"),
    ],
)  # fmt: skip
def test_too_little_and_too_much_is_refused(given: tuple[str | None, str | None, str | None]) -> None:
    with pytest.raises(ValueError, match="--data DIR, or both --data-a DIR and --data-b DIR"):
        DataPaths.from_flags(*given)


def test_flags_become_a_place_and_a_place_flags() -> None:
    one, two = DataPaths.from_flags("it's here", None, None), DataPaths.from_flags(None, Path("a b"), "c")
    assert (one, two) == (DataPaths(Path("it's here")), DataPaths(Path("a b"), Path("c")))
    assert shlex.split(one.arguments) == ["--data", "it's here"]
    assert shlex.split(two.arguments) == ["--data-a", "a b", "--data-b", "c"]
    assert one.flags == {"data": Path("it's here")}
    assert two.flags == {"data-a": Path("a b"), "data-b": Path("c")}
    assert (str(one), str(two)) == ("it's here", "a b and c")


@pytest.mark.parametrize("kind", [DataKind.PAIRED, DataKind.UNPAIRED])
@pytest.mark.parametrize("there", [("A/1", "A/val/2", "B/1", "B/val/2"), ("A/test/1", "B/test/1")])
def test_held_out_pictures_inside_flat_sides_are_never_trained_on(
    tmp_path: Path, there: tuple[str, ...], kind: DataKind
) -> None:
    for name in there:
        draw(tmp_path / f"{name}.png", 1)
    with pytest.raises(ValueError, match=r"A: .*train.*(val|test)"):
        find(kind, DataPaths(tmp_path), "train")


def test_a_held_out_folder_of_one_side_is_not_cut_in_two(tmp_path: Path) -> None:
    for name in ("train/horse/1", "train/zebra/1", "val/horse/2"):
        draw(tmp_path / f"{name}.png", 1, size=(4, 8))
    with pytest.raises(ValueError, match=r"val: .*train"):
        find(DataKind.UNPAIRED, DataPaths(tmp_path), "val")
    draw(tmp_path / "val" / "zebra" / "2.png", 3)
    assert sides(find(DataKind.UNPAIRED, DataPaths(tmp_path), "val"))[1] == {"2": 3}


def test_folders_named_like_pictures_are_folders(tmp_path: Path) -> None:
    draw(tmp_path / "horse.jpg" / "1.png", 1)
    draw(tmp_path / "zebra.jpg" / "1.png", 2)
    assert sides(find(DataKind.UNPAIRED, DataPaths(tmp_path), "train")) == ({"1": 1}, {"1": 2})


def test_shards_named_by_number_are_found(tmp_path: Path, write_tfrecord: Write) -> None:
    for number in range(2):
        write_tfrecord(tmp_path / "A" / f"x.tfrecord-0000{number}-of-00002", [{"image": png(number)}])
    draw(tmp_path / "B" / "1.png", 1)
    found = find(DataKind.UNPAIRED, DataPaths(tmp_path), "train")
    assert sides(found)[0] == {"x.tfrecord-00000-of-00002/00000": 0, "x.tfrecord-00001-of-00002/00000": 1}


@pytest.mark.parametrize("other", ["x/..", ".", "inside"])
def test_one_folder_is_not_both_sides(tmp_path: Path, other: str) -> None:
    for one, two in ((tmp_path, tmp_path / other), (tmp_path / other, tmp_path)):
        with pytest.raises(ValueError, match=r"--data-a .* --data-b .*: one holds the other"):
            DataPaths.from_flags(None, one, two)


def test_held_out_photographs_beside_trained_sides_are_not_cut_in_two(tmp_path: Path) -> None:
    for name in ("trainA/1", "trainB/1", "test/1"):
        draw(tmp_path / f"{name}.png", 1, size=(4, 8))
    with pytest.raises(ValueError, match=r"test: .*train"):
        find(DataKind.UNPAIRED, DataPaths(tmp_path), "test")


def test_held_out_pairs_alone_can_be_measured(tmp_path: Path) -> None:
    draw(tmp_path / "val" / "1.png", 1, 2)
    assert sides(find(DataKind.UNPAIRED, DataPaths(tmp_path), "val")) == ({"1": 1}, {"1": 2})


# ---- single pictures


def test_single_pictures(tmp_path: Path) -> None:
    """A folder of them, with splits or without, with folders in it or without; as RGB or as grey."""
    for name, level in (("x.png", 1), ("deep/y.png", 2)):
        draw(tmp_path / "flat" / name, level)
        draw(tmp_path / "split/train" / name, level)
    draw(tmp_path / "split/validation/z.png", 3)
    for folder in ("flat", "split"):
        found = find(DataKind.IMAGES, DataPaths(tmp_path / folder), "train")
        assert found is not None
        assert [flats(source) for source in found] == [{"x": 1, "deep/y": 2}]
    assert find(DataKind.IMAGES, DataPaths(tmp_path / "flat"), "val") is None
    assert held_out(DataKind.IMAGES, DataPaths(tmp_path / "flat")) is None
    split, [source] = held_out(DataKind.IMAGES, DataPaths(tmp_path / "split")) or ("train", [])
    assert (split, flats(source)) == ("val", {"z": 3})
    [grey] = find(DataKind.IMAGES, DataPaths(tmp_path / "flat"), "train", (ImageSpec(1), ImageSpec(3))) or []
    assert grey.load(0)[0].shape[0] == 1


def test_single_pictures_without_a_train_folder(tmp_path: Path) -> None:
    draw(tmp_path / "val/x.png", 1)
    with pytest.raises(ValueError, match=r"train folder.*TFRecord"):
        find(DataKind.IMAGES, DataPaths(tmp_path), "train")


@pytest.mark.parametrize("needs", [DataKind.IMAGES, DataKind.UNPAIRED])
def test_a_link_that_leads_in_circles_is_a_picture_like_any_other(tmp_path: Path, needs: DataKind) -> None:
    """It is named as unreadable when its turn comes, and what lies beside it is found."""
    draw(tmp_path / "x.png", 1, 2)
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    [source, *_] = find(needs, DataPaths(tmp_path), "train") or []
    assert [source.name(index) for index in range(len(source))] == ["loop", "x"]
    with pytest.raises(ValueError, match=r"loop.png: cannot be read"):
        source.load(0)


@pytest.mark.parametrize(
    ("first", "second"), [("train_data", "test_data"), ("Trainset", "Testset"), ("fold1", "fold2")]
)
@pytest.mark.parametrize("kind", [DataKind.PAIRED, DataKind.UNPAIRED, DataKind.LABELLED])
def test_what_is_named_much_like_splits_is_neither_a_and_b_nor_classes(
    tmp_path: Path, kind: DataKind, first: str, second: str
) -> None:
    for name in (first, second):
        for below in ("input", "target"):
            (tmp_path / name / below).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / name / below / "0.png")
    with pytest.raises(ValueError, match="look like splits, and not like"):
        find(kind, DataPaths(tmp_path), "train")


# ---- a level too high, and splits of other names


@pytest.mark.parametrize("inner", ["facades", "sub/facades"])
def test_val_is_never_trained_on_from_a_level_too_high(tmp_path: Path, inner: str) -> None:
    for split in ("train", "val"):
        draw(tmp_path / inner / split / f"{split}.png", 1, 2)
    for kind in (DataKind.PAIRED, DataKind.UNPAIRED, DataKind.IMAGES):
        with pytest.raises(ValueError, match=rf"{inner}/val: is named like held-out.*give --data {tmp_path / inner}$"):
            find(kind, DataPaths(tmp_path), "train")
        assert find(kind, DataPaths(tmp_path / inner), "train")


def test_sides_a_level_too_high_are_not_cut_in_halves(tmp_path: Path) -> None:
    for side in "AB":
        draw(tmp_path / f"dataset/train{side}/1.png", 1, 2)
    for kind in (DataKind.PAIRED, DataKind.UNPAIRED):
        with pytest.raises(ValueError, match=rf"give --data {tmp_path / 'dataset'}$"):
            find(kind, DataPaths(tmp_path), "train")


@pytest.mark.parametrize("names", [("train2017", "val2017"), ("training_set", "test_set"), ("seg_train", "seg_test")])
def test_splits_of_other_names_are_no_set_and_no_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        for label in ("cat", "dog"):
            draw(tmp_path / name / label / "1.png", 1)
    for kind in (DataKind.IMAGES, DataKind.LABELLED):
        with pytest.raises(
            ValueError, match=f"(look like splits|like held-out pictures).*give --data {tmp_path / names[0]}$"
        ):
            find(kind, DataPaths(tmp_path), "train")
        assert find(kind, DataPaths(tmp_path / names[0]), "train")


def test_classes_of_trains_are_classes(tmp_path: Path) -> None:
    for label in ("steam_train", "model_train"):
        draw(tmp_path / label / "1.png", 1)
    assert find(DataKind.LABELLED, DataPaths(tmp_path), "train")
