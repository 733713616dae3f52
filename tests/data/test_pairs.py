"""Layouts of pairs, found or refused: never a wrong reading without a word.

Every picture is flat and of a level of its own, so that what is read says which file, or which half of one, is A and B.
"""

import shlex
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from diptych import cli
from diptych.data.datasets import FilePairs, SideBySide
from diptych.data.layouts import find, find_one, find_singles, held_out
from diptych.data.pairs import ChoiceError
from diptych.data.paths import DataPaths
from diptych.evaluate import evaluate
from diptych.evaluate.folders import _partners
from diptych.kinds import DataKind
from diptych.prepare.combine import combine
from diptych.prepare.inspect import inspect
from diptych.training.run import Run

CITIES = ("aachen", "bochum")


@dataclass
class Tree:
    """A folder of pictures: who drew it knows which belong together."""

    root: Path
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    def draw(self, name: str, height: int = 8, width: int = 8) -> int:
        """One picture of a level of its own, which is returned."""
        level = next(self.numbers)
        path = self.root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((height, width, 3), level, np.uint8)).save(path)
        return level

    def pair(self, a: str, b: str, height: int = 8, width: int = 8) -> tuple[int, int]:
        return self.draw(a, height, width), self.draw(b, height, width)

    def halves(self, name: str) -> tuple[int, int]:
        """One picture of two levels side by side."""
        a, b = next(self.numbers), next(self.numbers)
        path = self.root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.repeat([[[a] * 3, [b] * 3]], 8, axis=1).repeat(8, axis=0).astype(np.uint8)).save(path)
        return a, b


def read(paths: DataPaths, split: str = "train") -> set[tuple[int, int]]:
    """The levels of A and B of every pair."""
    pairs = find_one(DataKind.PAIRED, paths, split)  # type: ignore[arg-type]
    assert pairs is not None
    seen = {(int(a.min()), int(b.max())) for a, b in (pairs.load(index) for index in range(len(pairs)))}
    assert len(seen) == len(pairs) == len({pairs.name(index) for index in range(len(pairs))})
    return seen


def level(path: Path) -> int:
    return int(np.asarray(Image.open(path)).max())


def described(paths: DataPaths, split: str = "train") -> str:
    pairs = find_one(DataKind.PAIRED, paths, split)  # type: ignore[arg-type]
    assert pairs is not None
    return pairs.describe(8, 8)


# ---- two folders of any names, by stem


@pytest.mark.parametrize(
    ("a", "b"),
    [("images", "masks"), ("train/input", "train/target"), ("input/train", "target/train"), ("x/1/Train", "x/2/Train")],
)
def test_two_folders_of_any_names_are_pairs_by_stem(tmp_path: Path, a: str, b: str) -> None:
    tree = Tree(tmp_path)
    want = {tree.pair(f"{a}/{number}", f"{b}/{number}") for number in range(3)}
    data = tmp_path / "x" if a.startswith("x/") else tmp_path
    assert read(DataPaths(data)) == want
    assert f"A is {a.removeprefix('x/')}, B is {b.removeprefix('x/')}" in described(DataPaths(data))


def test_val_beside_them_is_read_alike(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for split in ("train", "val"):
        want = {tree.pair(f"{split}/input/{split}{n}", f"{split}/target/{split}{n}") for n in range(2)}
    found = held_out(DataKind.PAIRED, DataPaths(tmp_path))
    assert found is not None
    assert found[0] == "val"
    assert read(DataPaths(tmp_path), "val") == want
    (tmp_path / "val/target").rename(tmp_path / "val/goal")  # the first by name would be A
    with pytest.raises(ValueError, match=r"val: holds goal, input, and train holds input, target"):
        find(DataKind.PAIRED, DataPaths(tmp_path), "val")


def test_two_folders_without_partners_are_told_what_learns_from_them(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for number in range(3):
        tree.draw(f"horses/h{number}")
        tree.draw(f"zebras/{number}z")
    with pytest.raises(
        ValueError, match=r"horses \(3\) and zebras \(3\) .*train cyclegan --data .*--suffix-a"
    ) as caught:
        find(DataKind.PAIRED, DataPaths(tmp_path), "train")
    assert len(str(caught.value).replace(str(tmp_path), "DIR")) < 300


def test_a_partner_that_is_missing_is_named(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for number in range(5):
        tree.pair(f"images/{number}", f"masks/{number}", 8, 16)  # of the shape of side-by-side pairs, too
    (tmp_path / "masks/3.png").unlink()
    with pytest.raises(ValueError, match=r"images/3.png: has no partner named '3' in .*masks"):
        find(DataKind.PAIRED, DataPaths(tmp_path), "train")


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("input_{}", "output_{}", r"--suffix-a 'input_\*' --suffix-b 'output_\*' would say how names differ$"),
        ("Cat-{}-Dog", "cat-{}-dog", r"'cat-0-dog' differs by upper and lower case, which counts: rename"),
        ("{}", "00{}", r"'000' differs by leading zeros, which counts: rename"),
    ],
)
def test_by_what_names_in_a_and_b_differ_is_said(tmp_path: Path, a: str, b: str, said: str) -> None:
    tree = Tree(tmp_path)
    want = {tree.pair(f"A/{a.format(number)}", f"B/{b.format(number)}") for number in range(3)}
    with pytest.raises(ValueError, match=said):
        find(DataKind.PAIRED, DataPaths(tmp_path), "train")
    if "input" in a:
        assert read(DataPaths(tmp_path, None, "input_*", "output_*")) == want


def test_how_many_of_the_photographs_have_no_labels_is_said(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for number in range(6):
        tree.pair(f"A/{number}", f"B/{min(number, 2)}")
    with pytest.raises(ValueError, match=r"A/3.png: has no partner .*\(and 2 more like it, of 6\); .*move these away"):
        find(DataKind.PAIRED, DataPaths(tmp_path), "train")


def test_of_three_folders_with_partners_none_is_guessed(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for number in range(4):
        for folder in ("edges", "images", "masks"):
            tree.draw(f"{folder}/{number}", 8, 16)
    with pytest.raises(ValueError, match=r"holds 3 folders \(edges, images, masks\).*--data-a DIR --data-b DIR"):
        find(DataKind.PAIRED, DataPaths(tmp_path), "train")


@pytest.mark.parametrize("folders", [("street", "yard"), ("street", "yard", "zoo")])
def test_side_by_side_pairs_in_folders_stay_whole(tmp_path: Path, folders: tuple[str, ...]) -> None:
    tree = Tree(tmp_path)
    want = {tree.halves(f"{folder}/{folder} {number}") for folder in folders for number in range(3)}
    assert read(DataPaths(tmp_path)) == want


@pytest.mark.parametrize(("beside", "suffix"), [("train_masks", "_mask"), ("train_labels", ""), ("labels", "")])
@pytest.mark.parametrize("width", [8, 16])
def test_partners_beside_the_folder_of_a_split_are_seen(tmp_path: Path, beside: str, suffix: str, width: int) -> None:
    tree = Tree(tmp_path)
    want = {tree.pair(f"train/{number}", f"{beside}/{number}{suffix}", 8, width) for number in range(3)}
    for kind in (DataKind.PAIRED, DataKind.UNPAIRED):
        with pytest.raises(
            ValueError, match=rf"give --data-a {tmp_path}/train --data-b {tmp_path / beside}, or --halves"
        ):
            find(kind, DataPaths(tmp_path), "train")
    assert read(DataPaths(tmp_path / "train", tmp_path / beside)) == want


def test_splits_of_side_by_side_pairs_may_have_the_same_names(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    want = {tree.halves(f"train/{number}") for number in range(3)}
    for number in range(3):
        tree.halves(f"val/{number}")
        tree.halves(f"test_old/{number}")
    assert read(DataPaths(tmp_path)) == want


def test_val_is_read_in_halves_as_the_training_is(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for number in range(3):
        tree.halves(f"train/{number}")
    want = {tree.halves(f"val/{name}") for name in ("1", "n1", "2", "n2")}
    assert read(DataPaths(tmp_path), "val") == want


def test_one_side_of_cityscapes_is_not_cut_in_halves(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    want = {tree.halves(f"{city}/{city}_{number:06d}_leftImg8bit") for city in CITIES for number in range(2)}
    with pytest.raises(ChoiceError, match=r"'aachen_000000_leftImg8bit'; give --data-a DIR --data-b DIR .*--halves"):
        find(DataKind.PAIRED, DataPaths(tmp_path), "train")
    assert read(DataPaths(tmp_path, halves=True)) == want


# ---- partners by suffix

SUFFIXES = [
    ("_A", "_B"), ("", "_mask"), ("_label", "_real"), ("_gtFine_color", "_leftImg8bit"), ("-in", "-out"), (".x", ".y"),
    ("A", "B"), (" (map)", " (photo)"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), SUFFIXES)
@pytest.mark.parametrize(
    "places", [("", ""), ("train/", "train/"), ("A/", "B/"), ("a b/", "c/"), ("x/train/", "y/train/")]
)
def test_partners_by_suffix_are_found(tmp_path: Path, a: str, b: str, places: tuple[str, str]) -> None:
    tree = Tree(tmp_path)
    names = [f"{city}/{city}{number:03d}_{number % 3}" for city in CITIES for number in range(9, 12)]
    want = {tree.pair(f"{places[0]}{name}{a}", f"{places[1]}{name}{b}") for name in names}
    assert read(DataPaths(tmp_path)) == want
    assert f"*{a}" in described(DataPaths(tmp_path))
    pairs = find_one(DataKind.PAIRED, DataPaths(tmp_path), "train")
    assert pairs is not None
    assert [pairs.name(index) for index in range(len(pairs))] == sorted(names)
    found = find(DataKind.UNPAIRED, DataPaths(tmp_path), "train")
    assert found is not None
    assert [len(side) for side in found] == [6, 6]


@pytest.mark.parametrize(("a", "b"), [("A_", "B_"), ("", "mask_"), ("a", "b")])
def test_partners_by_prefix_are_found(tmp_path: Path, a: str, b: str) -> None:
    tree = Tree(tmp_path)
    want = {tree.pair(f"{a}{number}", f"{b}{number}") for number in range(3)}
    assert read(DataPaths(tmp_path)) == want


def test_cityscapes_as_it_is_published(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    want, labels = dict[str, set[tuple[int, int]]](), dict[str, set[tuple[int, int]]]()
    for split in ("train", "val"):
        want[split], labels[split] = set(), set()
        for name in (f"{split}/{city}/{city}_{number:06d}_000019" for city in CITIES for number in range(2)):
            photo = tree.draw(f"leftImg8bit/{name}_leftImg8bit", 8, 16)
            colour, ids, _ = (
                tree.draw(f"gtFine/{name}_gtFine_{kind}", 8, 16) for kind in ("color", "labelIds", "instanceIds")
            )
            want[split].add((colour, photo))
            labels[split].add((ids, photo))
    with pytest.raises(
        ChoiceError, match=r"\*_gtFine_color, \*_gtFine_instanceIds.*--suffix-a _gtFine_color$"
    ) as caught:
        find(DataKind.PAIRED, DataPaths(tmp_path), "train")
    assert len(str(caught.value)) < 300
    for split in ("train", "val"):
        for paths in (
            DataPaths(tmp_path, None, "_gtFine_color"),
            DataPaths(tmp_path, None, "_gtFine_color", "_leftImg8bit"),
            DataPaths(tmp_path / "gtFine", tmp_path / "leftImg8bit", "_gtFine_color"),
        ):
            assert read(paths, split) == want[split]
            assert "(8 others left out)" in described(paths)
        swapped = DataPaths(tmp_path / "leftImg8bit", tmp_path / "gtFine", "", "_gtFine_labelIds")
        assert read(swapped, split) == {(photo, label) for label, photo in labels[split]}
    [a, b] = find(DataKind.UNPAIRED, DataPaths(tmp_path, None, "_gtFine_color"), "train") or []
    assert (len(a), len(b)) == (4, 4)


def test_cityscapes_of_labels_that_were_chosen_before(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    names = [f"train/{city}/{city}_{number:06d}_000019" for city in CITIES for number in range(2)]
    want = {tree.pair(f"gtFine/{name}_gtFine_color", f"leftImg8bit/{name}_leftImg8bit", 8, 16) for name in names}
    assert read(DataPaths(tmp_path)) == want
    (tmp_path / f"leftImg8bit/{names[0]}_leftImg8bit.png").unlink()  # and no photograph is cut in halves for that
    with pytest.raises(ValueError, match="has no partner named 'aachen/aachen_000000_000019_leftImg8bit'"):
        find(DataKind.PAIRED, DataPaths(tmp_path), "train")


@pytest.mark.parametrize("method", ["cyclegan", "cut"])
def test_without_pairs_a_side_of_several_kinds_is_asked_about(tmp_path: Path, method: str) -> None:
    tree = Tree(tmp_path / "in")
    for name in (f"train/{city}/{city}_{number}" for city in CITIES for number in range(3)):
        tree.draw(f"leftImg8bit/{name}_leftImg8bit", 64, 64)
        for kind in ("color", "labelIds", "instanceIds"):
            tree.draw(f"gtFine/{name}_gtFine_{kind}", 64, 64)
    with pytest.raises(ChoiceError, match=r"gtFine/train: holds 3 pictures of each name \(\*_color, \*_inst") as caught:
        find(DataKind.UNPAIRED, DataPaths(tree.root), "train")
    flags = shlex.split(str(caught.value).partition("such as ")[2].replace(", or", "").removesuffix(" for all"))
    for chosen, number in ((flags[:2], 6), (flags[2:], 18)):
        [a, b] = find(DataKind.UNPAIRED, DataPaths(tree.root, None, chosen[1]), "train") or []
        assert (len(a), len(b)) == (number, 6)
        out = ["--out", str(tmp_path / "run"), "--size", "64", "--dry-run"]
        assert cli.run(["train", method, "--data", str(tree.root), *chosen, *out]) == 0


@pytest.mark.parametrize("tops", [("cam0", "cam1"), ("cam0", "cam1", "cam2")])
@pytest.mark.parametrize("sides", [("depth", "rgb"), ("left/data", "right/data")])
@pytest.mark.parametrize("place", ["", "train/"])
def test_sides_in_each_of_several_folders_are_pairs(
    tmp_path: Path, tops: tuple[str, ...], sides: tuple[str, str], place: str
) -> None:
    tree = Tree(tmp_path)
    names = [[f"{place}{top}/{side}/{top} {number}" for side in sides] for top in tops for number in range(3)]
    want = {tree.pair(a, b, 8, 16) for a, b in names}
    assert read(DataPaths(tmp_path)) == want
    assert f"A is {sides[0]}/*, B is {sides[1]}/*" in described(DataPaths(tmp_path))
    assert inspect(tmp_path).methods == ["pix2pix"]
    if place:  # one folder alone, of pictures of any names, is read as those of the training
        held_out_pair = {
            tree.pair(f"val/cam9/{sides[0]}/1", f"val/cam9/{sides[1]}/1"),
            tree.pair(f"val/x/{sides[0]}/2", f"val/x/{sides[1]}/2"),
        }
        assert read(DataPaths(tmp_path), "val") == held_out_pair
    (tmp_path / f"{names[-1][1]}.png").unlink()
    with pytest.raises(ValueError, match=f"has no partner named '{tops[-1]}/{sides[1]}/{tops[-1]} 2'"):
        find(DataKind.PAIRED, DataPaths(tmp_path), "train")


@pytest.mark.parametrize("kind", [DataKind.PAIRED, DataKind.UNPAIRED])
def test_sides_or_two_folders_of_equal_names_are_asked_about(tmp_path: Path, kind: DataKind) -> None:
    tree = Tree(tmp_path)
    of_sides, of_tops = set[tuple[int, int]](), set[tuple[int, int]]()
    for number in range(3):
        depth, rgb = tree.pair(f"cam0/depth/{number}", f"cam0/rgb/{number}")
        other_depth, other_rgb = tree.pair(f"cam1/depth/{number}", f"cam1/rgb/{number}")
        of_sides |= {(depth, rgb), (other_depth, other_rgb)}
        of_tops |= {(depth, other_depth), (rgb, other_rgb)}
    with pytest.raises(ChoiceError, match=r"may be cam0, cam1, or two of the folders in each") as caught:
        find(kind, DataPaths(tmp_path), "train")
    tops, suffixes = (shlex.split(part) for part in str(caught.value).partition("; give ")[2].split(", or "))
    assert read(DataPaths(Path(tops[1]), Path(tops[3]))) == of_tops
    assert read(DataPaths(tmp_path, None, suffixes[1], suffixes[3])) == of_sides
    assert [len(side) for side in find(DataKind.UNPAIRED, DataPaths(tmp_path, None, suffixes[1]), "train") or []] == [
        6,
        6,
    ]


def test_of_three_sides_in_each_folder_none_is_guessed(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for name in (f"cam{camera}/{side}/{n}" for camera in range(3) for side in ("depth", "normal", "rgb") for n in "12"):
        tree.draw(name)
    with pytest.raises(
        ChoiceError, match=r"\(depth/\*, normal/\*, rgb/\*\); give --suffix-a 'depth/\*' --suffix-b 'normal/"
    ):
        find(DataKind.PAIRED, DataPaths(tmp_path), "train")
    assert len(read(DataPaths(tmp_path, None, "depth/*", "rgb/*"))) == 6


def test_the_suffixes_of_training_are_those_of_val(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for number in range(3):
        tree.pair(f"train/{number}_photo", f"train/{number}_drawing")
    want = {tuple(reversed(tree.pair("val/9_photo", "val/9_drawing")))}  # of one pair alone nothing could be told
    assert read(DataPaths(tmp_path), "val") == want
    tree.draw("val/stray")
    with pytest.raises(ValueError, match=r"stray.png: has no partner, for it is neither \*_drawing nor \*_photo"):
        find(DataKind.PAIRED, DataPaths(tmp_path), "val")


def test_results_of_the_authors_code_are_never_cut(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for number in range(3):
        for panel in ("real_A", "fake_B", "real_B"):
            tree.draw(f"images/{number}_{panel}", 8, 16)
    for kind in (DataKind.PAIRED, DataKind.UNPAIRED):
        with pytest.raises(ChoiceError):
            find(kind, DataPaths(tmp_path), "train")
    assert len(read(DataPaths(tmp_path, None, "_real_A", "_real_B"))) == 3
    assert inspect(tmp_path).reason.endswith("or --suffix-a _fake_B --suffix-b _real_B")
    assert inspect(tmp_path, suffix_a="real_A", suffix_b="real_B").methods == ["pix2pix"]


def test_a_suffix_that_nothing_has_is_named(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.pair("1_A", "1_B")
    for kind in (DataKind.PAIRED, DataKind.UNPAIRED):
        with pytest.raises(
            ValueError, match=r"--suffix-b _C: no picture in .* is named so, where names are such as '1_A'"
        ):
            find(kind, DataPaths(tmp_path, None, "_A", "_C"), "train")
    assert len(read(DataPaths(tmp_path, None, "_A", "_B"))) == 1  # where one pair alone is not plain
    for given_flags in (
        ("d", None, None, "_A", "_A"),
        ("d", None, None, "_A", None, True),
        (None, "a", "b", "", "", True),
    ):
        with pytest.raises(ValueError, match=r"--suffix-a|--halves"):
            DataPaths.from_flags(*given_flags)
    assert DataPaths.from_flags("d", None, None, "_A.PNG", "x_*").typed == ("_A", "x_*")


@pytest.mark.parametrize("places", [("", ""), ("A/", "B/")])
@pytest.mark.parametrize("others", [("_edges", "_parts_1", "_parts_2"), ("_parts_1",)])
def test_a_typed_suffix_pairs_plain_names_and_leaves_other_kinds_out(
    tmp_path: Path, places: tuple[str, str], others: tuple[str, ...]
) -> None:
    tree = Tree(tmp_path)
    a, b = places
    want = {tree.pair(f"{a}photo {number}", f"{b}photo {number}_seg") for number in range(3)}
    for number in range(3):
        for other in others:
            tree.draw(f"{a}photo {number}{other}")
    for paths in (DataPaths(tmp_path, None, "", "_seg"), DataPaths(tmp_path, None, "*", "_seg")):
        assert read(paths) == want
        assert f"({3 * len(others)} others left out)" in described(paths)
    tree.draw(f"{a}photo 3")  # a photograph without its labels is no other kind
    for paths in (DataPaths(tmp_path, None, "", "_seg"), DataPaths(tmp_path, None, "*", "_seg")):
        with pytest.raises(ValueError, match=r"photo 3.png: has no partner named 'photo 3_seg'"):
            find(DataKind.PAIRED, paths, "train")


def test_of_several_kinds_the_refusal_names_flags_that_work(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for number in range(3):
        tree.pair(f"one/x{number}", f"one/x{number}_edges")
        tree.draw(f"one/x{number}_seg")
        tree.pair(f"two/A/x{number}", f"two/B/x{number}")
        tree.draw(f"two/A/x{number}_edges")
    with pytest.raises(ChoiceError, match=r"such as --suffix-b _seg$"):
        find(DataKind.PAIRED, DataPaths(tmp_path / "one"), "train")
    assert len(read(DataPaths(tmp_path / "one", None, "", "_seg"))) == 3
    with pytest.raises(ChoiceError, match=r"such as --suffix-a '\*'$"):
        find(DataKind.PAIRED, DataPaths(tmp_path / "two"), "train")
    assert len(read(DataPaths(tmp_path / "two", None, "*"))) == 3


def test_suffixes_that_begin_with_a_dash_are_proposed_as_they_can_be_typed(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for number in range(3):
        for kind in ("inputs", "outputs", "targets"):
            tree.draw(f"{number}-{kind}")
    with pytest.raises(ChoiceError, match=r"such as --suffix-a=-outputs --suffix-b=-targets$"):
        find(DataKind.PAIRED, DataPaths(tmp_path), "train")


def test_single_pictures_have_no_suffixes(tmp_path: Path) -> None:
    Tree(tmp_path).draw("1_A")
    with pytest.raises(ValueError, match="--suffix-a _A: single pictures are learnt from"):
        find(DataKind.IMAGES, DataPaths(tmp_path, None, "_A"), "train")


def test_a_run_remembers_by_what_its_pairs_are_told(tmp_path: Path, train_tiny: Callable[..., Run]) -> None:
    tree = Tree(tmp_path / "data")
    for split in ("train", "val"):
        for number in range(3):
            for kind in ("labels", "photo", "depth"):
                tree.draw(f"{split}/{number}_{kind}", 32, 32)
    with pytest.raises(ChoiceError):
        train_tiny(tmp_path / "run", data=tree.root)
    run = train_tiny(tmp_path / "run", data=tree.root, suffix_a="_labels", suffix_b="_photo")
    assert Run.open(run.path).data_paths.typed == ("_labels", "_photo")
    assert "A is *_labels, B is *_photo (3 others left out)" in Run.open(run.path).about.found
    [line] = evaluate(run.path, data=tree.root, names=["l1"], device="cpu")
    assert line["count"] == 3
    results = tmp_path / "run/results/val/input"  # trained BtoA
    assert sorted(path.name for path in results.iterdir()) == ["0.png", "1.png", "2.png"]
    assert level(results / "0.png") == level(tree.root / "val/0_photo.png")
    evaluate(run.path, data=tree.root, suffix_a="_labels", suffix_b="_depth", names=["l1"], device="cpu")
    assert level(results / "0.png") == level(tree.root / "val/0_depth.png")
    again = {"suffix_a": "_labels", "suffix_b": "_photo"}
    assert (
        train_tiny(run.path, data=tree.root, **again, steps=run.settings.steps + 1).settings.steps > run.settings.steps
    )
    with pytest.raises(ValueError, match="was trained on other pictures"):
        train_tiny(run.path, data=tree.root, suffix_a="_labels", suffix_b="_depth", steps=run.settings.steps + 2)


def test_wide_pairs_are_known_by_a_flag_that_a_run_remembers(tmp_path: Path, train_tiny: Callable[..., Run]) -> None:
    for split in ("train", "val"):
        for number in range(2):
            Tree(tmp_path / "data").draw(f"{split}/{number}", 32, 96)
    with pytest.raises(ValueError, match=r"2 pictures, such as 96x32, .*--halves if each picture holds both"):
        train_tiny(tmp_path / "run", data=tmp_path / "data")
    run = train_tiny(tmp_path / "run", data=tmp_path / "data", halves=True)
    assert Run.open(run.path).data_paths.halves
    assert evaluate(run.path, data=tmp_path / "data", names=["l1"], device="cpu")[0]["count"] == 2


# ---- names in two Unicode forms


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
@pytest.mark.parametrize(("a", "b"), [("A/{}", "B/{}"), ("é/{}", "ü/{}_mäsk"), ("{}_á", "{}_ö")])
def test_partners_of_two_unicode_forms(tmp_path: Path, forms: tuple[str, str], a: str, b: str) -> None:
    tree = Tree(tmp_path)

    def name(text: str, number: int, form: str) -> str:
        folder, slash, own = text.format(f"é{number}").rpartition("/")
        return folder + slash + unicodedata.normalize(form, own)  # type: ignore[arg-type]

    want = {tree.pair(name(a, number, forms[0]), name(b, number, forms[1])) for number in range(3)}
    assert read(DataPaths(tmp_path)) == want
    if "_" in a:
        flags = unicodedata.normalize("NFD", "_á"), unicodedata.normalize("NFC", "_ö")
        assert read(DataPaths(tmp_path, None, *flags)) == want


def test_two_files_that_look_alike_are_told_apart_in_words(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        Tree(tmp_path).draw(unicodedata.normalize(form, "é"))
    with pytest.raises(ValueError, match=r"has the same stem in another Unicode form \(NFC and NFD\).*; rename one"):
        find(DataKind.IMAGES, DataPaths(tmp_path), "train")


def test_pictures_of_the_same_name_in_two_unicode_forms_are_compared(tmp_path: Path) -> None:
    for folder, form in (("real", "NFC"), ("fake", "NFD")):
        Tree(tmp_path / folder).draw(unicodedata.normalize(form, "é"))  # type: ignore[arg-type]
    assert _partners(find_singles(tmp_path / "real"), find_singles(tmp_path / "fake")) == ([0], "")


# ---- combine


def test_partners_by_suffix_are_combined_and_trained_on(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "in")
    want = {tree.pair(f"{number}_A", f"{number}_B", 9, 16) for number in range(3)}
    tree.draw("3_C")
    out = tmp_path / "out"
    assert combine(tmp_path / "in", tmp_path / "in", out=out, suffix_a="_A", suffix_b="_B") == []
    assert sorted(path.name for path in out.glob("*.png")) == ["0.png", "1.png", "2.png"]
    assert read(DataPaths(out)) == want  # 32x9: no other pictures of this shape are taken for pairs
    assert inspect(out).reason == "3 pictures, joined by `diptych data combine`: side-by-side pairs"
    with pytest.raises(ValueError, match=r"was made with other settings \(suffixes\)"):
        combine(tmp_path / "in", tmp_path / "in", out=out, suffix_a="_B", suffix_b="_A")


# ---- invented trees

WORDS = st.sampled_from(["cat", "Haus 1", "0001", "a.b", "x-7", "日本", "é", "IMG_20", "v1.2", "frame000"])
NAMES = st.lists(
    st.tuples(WORDS, st.integers(0, 30)).map(lambda drawn: f"{drawn[0]}_{drawn[1]}"),
    min_size=3,
    max_size=6,
    unique=True,
)
SHAPES = st.sampled_from([(8, 8), (12, 16), (16, 12), (8, 12), (9, 16), (16, 9), (8, 16)])
ENDINGS = st.sampled_from([*SUFFIXES, ("_B", "_A"), ("_A", ""), ("_x", "_x"), ("_1", "_2"), ("", "_3")])
FOLDERS = st.sampled_from(
    [("", ""), ("A", "B"), ("trainA", "trainB"), ("train/x", "train/y"), ("b", "a"), ("x/train", "y/train")]
)
slow = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def reading(root: Path, kind: DataKind = DataKind.PAIRED) -> SideBySide | FilePairs | None:
    """What training finds; None where it refuses."""
    try:
        [found, *_] = find(kind, DataPaths(root), "train") or []
    except ValueError:
        return None
    found = getattr(found, "pairs", found)
    assert isinstance(found, SideBySide | FilePairs) or kind == DataKind.UNPAIRED
    return found  # type: ignore[return-value]


@slow
@given(names=NAMES, ending=ENDINGS, folders=FOLDERS, shape=SHAPES, missing=st.integers(0, 9), loose=st.booleans())
def test_partners_are_read_rightly_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    names: list[str],
    ending: tuple[str, str],
    folders: tuple[str, str],
    shape: tuple[int, int],
    missing: int,
    loose: bool,
) -> None:
    # Numbers are those of a series, whose pictures may well be side-by-side pairs.
    assume(shape != (8, 16) or not any(map(str.isdecimal, "".join(ending))))
    tree = Tree(tmp_path_factory.mktemp("tree"))
    paths = [[f"{folder}/{name}{end}" for name in names] for folder, end in zip(folders, ending, strict=True)]
    assume(not {*paths[0]} & {*paths[1]})  # no file is A and B
    want = {tree.pair(a, b, *shape) for a, b in zip(*paths, strict=True)}
    if missing < len(names):
        (tree.root / f"{paths[1][missing]}.png").unlink()
    if loose:
        tree.draw(f"{folders[0]}/stray picture", *shape)
    found = reading(tree.root)
    if found is None:
        return
    assert isinstance(found, FilePairs)
    levels = {(int(a.max()), int(b.max())) for a, b in (found.load(index) for index in range(len(found)))}
    assert levels in (want, {(b, a) for a, b in want})
    assert missing >= len(names)
    assert not loose


@slow
@given(names=NAMES, shape=SHAPES, ending=ENDINGS, folder=st.sampled_from(["", "train/", "photos/", "train/photos/"]))
@pytest.mark.parametrize("kind", [DataKind.PAIRED, DataKind.UNPAIRED])
def test_single_pictures_are_never_cut_unless_they_are_twice_as_wide(
    tmp_path_factory: pytest.TempPathFactory,
    kind: DataKind,
    names: list[str],
    shape: tuple[int, int],
    ending: tuple[str, str],
    folder: str,
) -> None:
    tree = Tree(tmp_path_factory.mktemp("tree"))
    for number, name in enumerate(names):
        tree.draw(f"{folder}{name}{ending[number % 2]}", *shape)
    if isinstance(reading(tree.root, kind), SideBySide):
        assert shape == (8, 16)


@slow
@given(names=NAMES, folder=st.sampled_from(["", "train/", "street/", "train/yard/"]))
def test_side_by_side_pairs_are_read_rightly_or_refused(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], folder: str
) -> None:
    tree = Tree(tmp_path_factory.mktemp("tree"))
    want = {tree.halves(f"{folder}{name}") for name in names}
    if reading(tree.root) is not None:
        assert read(DataPaths(tree.root)) == want
    assert read(DataPaths(tree.root, halves=True)) == want
