"""Train, val and test: everything is somewhere, once; what belongs together stays together; nothing of the input changes."""

import io
import os
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from diptych.cli import run
from diptych.data.layouts import find, find_one
from diptych.data.paths import DataPaths, list_pictures
from diptych.files import LABEL
from diptych.images.formats import ALL_FORMATS
from diptych.kinds import DataKind
from diptych.prepare.inspect import inspect
from diptych.prepare.split import split

ODD_NAMES = ("with space.PNG", "new\nline.png", "Ünï#1.png", "日本.tif", "-dash.bmp", "'quote\".webp")


def draw(path: Path, seed: int, size: int = 16) -> Path:
    """Squares of 8 x 8 colours, like no other picture; of the same seed, the same one, whatever its size and format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(colours).resize((size, size), Image.Resampling.NEAREST).save(path)
    return path


def folder_of(folder: Path, counts: dict[str, int], first: int = 0) -> Path:
    """So many pictures, each of its own, in each sub-folder."""
    seed = first
    for name, count in counts.items():
        for number in range(count):
            draw(folder / name / f"{number:03d}.png", seed)
            seed += 1
    return folder


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """All that there is to a folder's files: names, times, contents."""
    return {str(path): (path.lstat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def found(out: Path) -> dict[str, set[str]]:
    """What lies in train, val and test, by the path below them."""
    splits = {path.name: path for path in out.iterdir() if path.is_dir()}
    return {name: {path.relative_to(top).as_posix() for path in list_pictures(top)} for name, top in splits.items()}


def sizes(out: Path, *folders: str) -> list[int]:
    """How many are in train, val and test, of all or of one folder."""
    splits = found(out)
    names = [name for name in ("train", "val", "test") if name in splits]
    return [sum(not folders or name.split("/")[0] in folders for name in splits[part]) for part in names]


def spoken(folder: Path, out: Path, **settings: Any) -> tuple[list[str], list[str]]:
    """The problems that are handed back, and the lines that are said."""
    console = Console(file=io.StringIO(), width=1000)
    problems = split(folder, out=out, console=console, **settings)
    assert isinstance(console.file, io.StringIO)
    return problems, console.file.getvalue().splitlines()


# ---- a partition


@settings(deadline=None, derandomize=True, max_examples=15)
@given(data=st.data())
def test_every_picture_is_somewhere_once_and_near_duplicates_are_together(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    tmp_path = tmp_path_factory.mktemp("split")
    seeds = data.draw(st.lists(st.integers(0, 30), min_size=6, max_size=40), label="seeds")
    val, test = data.draw(st.sampled_from([(0.1, 0.0), (0.3, 0.2), (0.0, 0.4), (0.5, 0.25)]), label="shares")
    places = ("", "a", "b", "b/c", "ä ö")
    originals: dict[str, int] = {}
    for number, seed in enumerate(seeds):
        place = places[seed % 5] if number else ""  # so that no two of the folders are A and B
        name = f"{place}/{number}-{ODD_NAMES[number % len(ODD_NAMES)]}".lstrip("/")
        draw(tmp_path / "in" / name, seed, size=16 * (1 + number % 2))
        originals[name] = seed
    before = state(tmp_path / "in")
    if len(set(seeds)) < 1 + (val > 0) + (test > 0):
        with pytest.raises(ValueError, match="too few"):
            split(tmp_path / "in", out=tmp_path / "out", val=val, test=test, workers=2)
        return
    assert split(tmp_path / "in", out=tmp_path / "out", val=val, test=test, workers=2) == []
    assert state(tmp_path / "in") == before
    parts = found(tmp_path / "out")
    assert parts.keys() == {"train", *(["val"] if val else []), *(["test"] if test else [])}
    assert all(parts.values())
    assert sorted(name for part in parts.values() for name in part) == sorted(originals)
    for part, names in parts.items():
        for name in names:
            assert (tmp_path / "out" / part / name).read_bytes() == (tmp_path / "in" / name).read_bytes()
    by_seed = [{part for part in parts if any(originals[name] == seed for name in parts[part])} for seed in set(seeds)]
    assert all(len(where) == 1 for where in by_seed)
    largest = max(Counter(seeds).values())
    for part, share in (("train", 1 - val - test), ("val", val), ("test", test)):
        assert abs(len(parts.get(part, ())) - share * len(seeds)) <= largest


@pytest.mark.parametrize(
    ("count", "val", "test", "want"),
    [
        (100, 0.1, 0.0, [90, 10]),
        (100, 0.1, 0.15, [75, 10, 15]),
        (20, 0.0, 0.25, [15, 5]),
        (7, 0.5, 0.0, [4, 3]),
        (9, 1 / 3, 1 / 3, [3, 3, 3]),
        (11, 0.1, 0.1, [9, 1, 1]),
        (3, 0.01, 0.01, [1, 1, 1]),  # at least one of each
        (30, 0.9, 0.0, [3, 27]),
    ],
)
def test_shares_are_met(tmp_path: Path, count: int, val: float, test: float, want: list[int]) -> None:
    folder_of(tmp_path / "in", {"": count})
    split(tmp_path / "in", out=tmp_path / "out", val=val, test=test)
    assert sizes(tmp_path / "out") == want


def test_shares_are_met_in_every_folder_and_in_all(tmp_path: Path) -> None:
    counts = {"cat": 20, "dog": 30, "owl": 50, **{f"rare{number}": 3 for number in range(10)}}
    folder_of(tmp_path / "in", counts)
    split(tmp_path / "in", out=tmp_path / "out")
    assert sizes(tmp_path / "out") == [117, 13]
    assert [sizes(tmp_path / "out", name)[1] for name in ("cat", "dog", "owl")] == [2, 3, 5]
    assert all(sizes(tmp_path / "out", f"rare{number}")[1] <= 1 for number in range(10))


def test_a_large_group_is_made_up_for_by_the_others(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", {"": 20})
    for number in range(20):
        draw(tmp_path / "in" / f"z{number}.png", 999, size=16 + 16 * (number % 3))
    _, lines = spoken(tmp_path / "in", tmp_path / "out", val=0.5)
    assert sizes(tmp_path / "out") == [20, 20]
    assert f"{tmp_path / 'in'}: 1 group of near-duplicates, of up to 20, stay together" in lines


@pytest.mark.parametrize(("groups", "val", "want"), [((3, 3, 3, 1), 0.1, [9, 1]), ((6, 3, 1), 0.01, [9, 1])])
def test_the_small_groups_even_out(tmp_path: Path, groups: tuple[int, ...], val: float, want: list[int]) -> None:
    for seed, count in enumerate(groups):
        for number in range(count):
            draw(tmp_path / "in" / f"{seed}-{number}.png", seed)
    _, lines = spoken(tmp_path / "in", tmp_path / "out", val=val)
    assert sizes(tmp_path / "out") == want
    assert lines[1].endswith(f" groups of near-duplicates, of up to {max(groups)}, stay together")


# ---- seeded


def test_the_seed_decides_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(tmp_path / "in", {"a": 8, "b": 8, "c": 8})
    split(tmp_path / "in", out=tmp_path / "one", workers=1)
    split(tmp_path / "in", out=tmp_path / "other", seed=1)
    (tmp_path / "in").rename(tmp_path / "elsewhere")
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda top: ((at, names, files[::-1]) for at, names, files in walk(top)))
    split(tmp_path / "elsewhere", out=tmp_path / "again", workers=4)
    assert found(tmp_path / "one") == found(tmp_path / "again") != found(tmp_path / "other")


# ---- A and B


def two_sides(folder: Path, a: str, b: str, count: int = 20) -> Path:
    for number in range(count):
        draw(folder / a / f"{number:02d}.png", number)
        draw(folder / b / f"{number:02d}.jpg", 100 + number)
    return folder


@pytest.mark.parametrize("names", [("A", "B"), ("a", "b")])
def test_partners_stay_on_one_side(tmp_path: Path, names: tuple[str, str]) -> None:
    two_sides(tmp_path / "in", *names)
    _, lines = spoken(tmp_path / "in", tmp_path / "out", val=0.2)
    assert lines[0] == f"{tmp_path / 'in'}: 20 pairs by stem"
    for part, count in (("train", 16), ("val", 4)):
        pairs = find_one(DataKind.PAIRED, DataPaths(tmp_path / "out"), "train" if part == "train" else "val")
        assert pairs is not None
        assert len(pairs) == count


def test_partners_in_folders_of_any_names_can_be_trained_on_afterwards(tmp_path: Path) -> None:
    two_sides(tmp_path / "in", "photo", "sketch")
    split(tmp_path / "in", out=tmp_path / "out", val=0.2)
    place = DataPaths(tmp_path / "out/photo", tmp_path / "out/sketch")
    train, val = find_one(DataKind.PAIRED, place, "train"), find_one(DataKind.PAIRED, place, "val")
    assert train is not None
    assert val is not None
    assert (len(train), len(val)) == (16, 4)


def test_pairs_are_duplicates_when_both_sides_are(tmp_path: Path) -> None:
    # All have the same B, such as one mask: they are no duplicates for that.
    for number in range(20):
        draw(tmp_path / "in/A" / f"{number:02d}.png", number % 17)
        draw(tmp_path / "in/B" / f"{number:02d}.png", 100)
    _, lines = spoken(tmp_path / "in", tmp_path / "out", val=0.5)
    assert lines[1] == f"{tmp_path / 'in'}: 3 groups of near-duplicates, of up to 2, stay together"
    for names in found(tmp_path / "out").values():
        assert all((f"A/{n:02d}.png" in names) == (f"A/{n + 17:02d}.png" in names) for n in range(3))


def test_the_pair_of_a_broken_picture_stays_behind_with_it(tmp_path: Path) -> None:
    two_sides(tmp_path / "in", "A", "B")
    (tmp_path / "in/B/03.jpg").write_bytes(b"")
    (tmp_path / "in/A/05.png").write_bytes(b"no picture")
    problems = split(tmp_path / "in", out=tmp_path / "out")
    a, b = tmp_path / "in/A", tmp_path / "in/B"
    assert problems == [
        f"{a / '05.png'}: not a picture of a format that is read ({ALL_FORMATS}), "
        "whatever its name says; convert or remove it",
        f"{b / '03.jpg'}: the file is empty (0 bytes); remove it or copy it again",
        f"{a / '03.png'}: left behind, because its partner {b / '03.jpg'} cannot be read",
        f"{b / '05.jpg'}: left behind, because its partner {a / '05.png'} cannot be read",
    ]
    pairs = [find_one(DataKind.PAIRED, DataPaths(tmp_path / "out"), part) for part in ("train", "val")]
    assert sum(len(source) for source in pairs if source) == 18


def test_two_sets_without_partners_are_divided_each_by_itself(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", {"horse": 5, "zebra": 25})
    draw(tmp_path / "in/zebra/twin.png", 0, size=32)  # of a horse
    _, lines = spoken(tmp_path / "in", tmp_path / "out", val=0.1)
    assert lines[0] == f"{tmp_path / 'in'}: 31 pictures, horse and zebra each by itself"
    assert [sizes(tmp_path / "out", name) for name in ("horse", "zebra")] == [[4, 1], [23, 3]] or [
        sizes(tmp_path / "out", name) for name in ("horse", "zebra")
    ] == [[4, 1], [24, 2]]
    for part in ("train", "val"):
        sides = find(DataKind.UNPAIRED, DataPaths(tmp_path / "out"), "train" if part == "train" else "val")
        assert sides is not None
        assert all(len(side) for side in sides)
    parts = found(tmp_path / "out")
    assert [part for part in parts if "horse/000.png" in parts[part]] == [
        part for part in parts if "zebra/twin.png" in parts[part]
    ]


def test_what_was_divided_leaks_nothing_and_can_be_trained_on(tmp_path: Path) -> None:
    for number in range(24):
        draw(tmp_path / "in" / f"{number:02d}.png", number % 15, size=32)
    assert inspect(tmp_path / "in").duplicates
    split(tmp_path / "in", out=tmp_path / "out divided", val=0.3)
    findings = inspect(tmp_path / "out divided")
    assert (findings.leaks, len(findings.duplicates)) == ([], 9)
    assert findings.command is not None
    assert run([*shlex.split(findings.command)[1:], "--dry-run"]) == 0


# ---- copies and links


def test_copies_are_files_of_their_own(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", {"": 4})
    split(tmp_path / "in", out=tmp_path / "out", val=0.5)
    for path in list_pictures(tmp_path / "out"):
        assert not path.is_symlink()
        assert path.stat().st_nlink == 1


def test_links_lead_to_the_pictures_even_when_all_is_moved(tmp_path: Path) -> None:
    folder_of(tmp_path / "all/in", {"a": 3, "ä b": 3})
    (tmp_path / "shortcut").symlink_to(tmp_path / "all/in/a", target_is_directory=True)
    before = state(tmp_path / "all/in")
    split(tmp_path / "all/in", out=tmp_path / "all/deep/out", val=0.5, by="link")
    (tmp_path / "all/far/away").mkdir(parents=True)
    (tmp_path / "near").symlink_to(tmp_path / "all/far/away", target_is_directory=True)
    split(tmp_path / "shortcut", out=tmp_path / "near/through", val=0.5, by="link")
    assert state(tmp_path / "all/in") == before
    (tmp_path / "all").rename(tmp_path / "moved")
    links = [*list_pictures(tmp_path / "moved/deep/out"), *list_pictures(tmp_path / "moved/far/away/through")]
    assert len(links) == 9
    for link in links:
        assert not link.readlink().is_absolute()
        picture = link.resolve(strict=True)
        assert (picture.parts[-3], picture.name) == ("in", link.name)


# ---- going on


def test_the_same_call_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", {"": 20})
    split(tmp_path / "in", out=tmp_path / "out")
    whole, first = found(tmp_path / "out"), state(tmp_path / "out")
    missing = [path for path in list_pictures(tmp_path / "out") if int(path.stem) % 3 == 0]
    for path in missing:
        path.unlink()
    split(tmp_path / "in", out=tmp_path / "out")
    assert found(tmp_path / "out") == whole
    again = state(tmp_path / "out")
    rewritten = {str(path) for path in (*missing, tmp_path / "out" / LABEL)}
    assert {name for name in first if first[name] != again[name]} == rewritten


KILLED = """
import os, signal, sys
from pathlib import Path
left = [int(sys.argv[3])]
replace = Path.replace
def killing(path, target):
    if left[0] == 0:  # the worst moment: all is written, and does not yet have its name
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return replace(path, target)
Path.replace = killing
from diptych.prepare.split import split
split(sys.argv[1], out=sys.argv[2], workers=1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_killed_in_the_middle_and_run_again_it_is_whole(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", {"": 12})
    split(tmp_path / "in", out=tmp_path / "want")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "in"), str(tmp_path / "out"), "6"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert 0 < len(list_pictures(tmp_path / "out")) < 12
    assert split(tmp_path / "in", out=tmp_path / "out") == []
    assert found(tmp_path / "out") == found(tmp_path / "want")
    assert not list((tmp_path / "out").rglob(".partial-*"))


def test_pictures_that_changed_meanwhile_do_not_land_on_both_sides(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", {"": 20})
    split(tmp_path / "in", out=tmp_path / "out", val=0.5)
    before = state(tmp_path / "out").keys()
    folder_of(tmp_path / "in", {"": 20, "more": 10}, first=50)
    with pytest.raises(ValueError, match=r"in .*--out"):
        split(tmp_path / "in", out=tmp_path / "out", val=0.5)
    assert state(tmp_path / "out").keys() == before


# ---- bad input


def test_bad_pictures_are_a_line_each_and_the_others_are_there(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", {"": 12})
    (source / "0 empty.png").touch()
    (source / "1.jpg").write_text("no picture")
    (source / "deep").mkdir()
    (source / "deep/loop.png").symlink_to(source / "deep/loop.png")
    (source / "deep/loop").symlink_to(source, target_is_directory=True)
    (source / "notes.txt").touch()
    (source / ".hidden").touch()
    problems, lines = spoken(source, tmp_path / "out")
    assert [problem.split(": ")[0] for problem in problems] == [
        str(source / n) for n in ("0 empty.png", "1.jpg", "deep/loop.png")
    ]
    assert all("\n" not in problem for problem in problems)
    assert lines[0] == f"{source}: 15 pictures; left behind: 1 file of other kinds"
    assert lines[-2:] == ["train: 11 pictures", "val: 1 picture"]
    assert sizes(tmp_path / "out") == [11, 1]


REFUSED: list[tuple[dict[str, int], dict[str, Any], str]] = [
    ({"": 9}, {"val": 0.0}, r"--val 0.0 --test 0.0: shares between 0 and 1 are expected, which leave some for train"),
    ({"": 9}, {"val": 0.5, "test": 0.5}, r"--val 0.5 --test 0.5: shares"),
    ({"": 9}, {"val": 0.7, "test": 0.3}, r"--val 0.7 --test 0.3: shares"),
    ({"": 9}, {"val": -0.1, "test": 0.5}, r"--val -0.1 --test 0.5: shares"),
    ({"": 9}, {"val": 0.3, "test": -0.1}, r"--val 0.3 --test -0.1: shares"),
    ({"": 9}, {"val": float("nan")}, r"--val nan"),
    ({"train": 5, "val": 5}, {}, r"train/000.png: is in train already; give a folder without splits, such as .*/train"),
    ({"trainA": 5, "trainB": 5}, {}, r"trainA/000.png: is in train already"),
    ({"A/Validation": 5, "B/Validation": 5}, {}, r"000.png: is in val already"),
    ({"": 1}, {}, r"in: 1 picture, too few for train and val; add pictures"),
    ({"": 2}, {"test": 0.1}, r"in: 2 pictures, too few for train and val and test"),
    ({"horse": 9, "zebra": 1}, {}, r"zebra: 1 picture, too few for train and val"),
    ({}, {}, r"in: no pictures found"),
]


@pytest.mark.parametrize(("counts", "settings", "message"), REFUSED)
def test_what_cannot_be_divided_is_refused_before_anything_is_written(
    tmp_path: Path, counts: dict[str, int], settings: dict[str, Any], message: str
) -> None:
    (tmp_path / "in").mkdir()
    folder_of(tmp_path / "in", counts)
    with pytest.raises(ValueError, match=message):
        split(tmp_path / "in", out=tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_near_duplicates_alone_cannot_be_divided(tmp_path: Path) -> None:
    for number in range(9):
        draw(tmp_path / "in" / f"{number}.png", 0, size=16 + 8 * number)
    with pytest.raises(ValueError, match=r"in: .*train and val"):
        split(tmp_path / "in", out=tmp_path / "out")
    assert found(tmp_path / "out") == {}


def test_mixed_suffixes_records_targets_and_missing_folders_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder_of(tmp_path / "in", {"": 4})

    def refused(message: str, folder: Path = source, out: Path = tmp_path / "out") -> None:
        with pytest.raises(ValueError, match=message):
            split(folder, out=out)

    refused(r"nowhere: no such folder", tmp_path / "nowhere")
    refused(r"000.png: is a file", source / "000.png")
    refused(r"divided: lies inside .*in, which is only read", out=source / "divided")
    refused(r"in: exists and was not made by this command|lies inside", out=source)
    draw(source / "000.bmp", 7)
    refused(r"000.png: 000.bmp has the same stem")
    (tmp_path / "records").mkdir()
    refused(r"records: no pictures found", tmp_path / "records")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_records_is_refused(tmp_path: Path, write_tfrecord: Any) -> None:
    write_tfrecord(tmp_path / "in/one.tfrec", [{"image": b"no picture"}])
    with pytest.raises(ValueError, match=r"in: .*TFRecord"):
        split(tmp_path / "in", out=tmp_path / "out")


def test_a_target_that_cannot_be_written_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(tmp_path / "in", {"": 4})
    full = OSError(28, "No space left on device")

    def no_room(source: Path, target: Path) -> None:
        raise full

    monkeypatch.setattr("shutil.copyfile", no_room)
    problems = split(tmp_path / "in", out=tmp_path / "out", val=0.5)
    assert len(problems) == 4
    assert all(problem.endswith(".png: could not be written (No space left on device)") for problem in problems)
    assert not any(path.is_file() and path.name != LABEL for path in (tmp_path / "out").rglob("*"))


def seeds_of(names: Sequence[str]) -> list[int]:
    return [int(Path(name).stem) for name in names]


def test_which_ones_are_drawn_is_left_to_chance(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", {"": 10})
    drawn = set()
    for seed in range(12):
        split(tmp_path / "in", out=tmp_path / f"out{seed}", val=0.2, seed=seed)
        drawn |= {*seeds_of([*found(tmp_path / f"out{seed}")["val"]])}
    assert len(drawn) >= 8


@pytest.mark.parametrize("seed", range(6))
def test_train_has_something_of_every_class(tmp_path: Path, seed: int) -> None:
    """A class with one picture is learnt, wherever chance would put it."""
    folder_of(tmp_path / "in", classes := {"ant": 1, "bee": 1, "cat": 6, "dog": 6, "eel": 1, "owl": 1})
    split(tmp_path / "in", out=tmp_path / "out", val=0.6, seed=seed)
    assert {path.parent.name for path in (tmp_path / "out/train").rglob("*.png")} == classes.keys()
    assert {path.parent.name for path in (tmp_path / "out/val").rglob("*.png")} >= {"cat", "dog"}


def test_idx_files_are_not_divided(tmp_path: Path, write_idx: Callable[..., Path]) -> None:
    write_idx(tmp_path / "digits", np.zeros((3, 8, 8)), [1, 2, 3])
    with pytest.raises(ValueError, match=r"digits: .*idx"):
        split(tmp_path / "digits", out=tmp_path / "out")
