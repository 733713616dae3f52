"""Invented trees of folders, links and other programs' files: every picture is found once, and nothing else."""

import os
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given
from PIL import Image

from diptych.data import layouts
from diptych.data.paths import DataPaths, folders_in, folders_of_images, list_files, list_pictures
from diptych.data.walk import OTHER_PROGRAMS, walk
from diptych.kinds import DataKind
from diptych.prepare.inspect import inspect
from diptych.prepare.scan import other_files

NAMES = st.sampled_from(["a", "b", "Train", "x y", "é"])
FOREIGN = st.sampled_from(["@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__MACOSX"])
HIDDEN = st.sampled_from([".AppleDouble", ".thumbnails", ".git"])
PATHS = st.lists(NAMES, max_size=3).map(lambda parts: "/".join(parts) or ".")


def touch(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


def draw(file: Path, level: int = 7) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), level).save(file)


def real(paths: list[Path]) -> list[str]:
    return sorted(os.path.realpath(path) for path in paths)


@given(
    pictures=st.sets(PATHS, min_size=1),
    elsewhere=st.sets(PATHS, max_size=3),
    links=st.lists(st.tuples(PATHS, st.sampled_from(["data", "elsewhere"]), PATHS), max_size=6),
    foreign=st.lists(st.tuples(PATHS, FOREIGN | HIDDEN), max_size=3),
)
def test_every_picture_is_found_once_through_any_links(
    tmp_path_factory: pytest.TempPathFactory,
    pictures: set[str],
    elsewhere: set[str],
    links: list[tuple[str, str, str]],
    foreign: list[tuple[str, str]],
) -> None:
    top = tmp_path_factory.mktemp("tree")
    ours = [touch(top / "data" / path / "picture.png") for path in pictures]
    others = [touch(top / "elsewhere" / path / "picture.png") for path in elsewhere]
    for path, name in foreign:
        touch(top / "data" / path / name / "thumbnail.png")
        touch(top / "data" / path / "._picture.png")
    leads_to_all = False
    for number, (place, root, target) in enumerate(links):
        (top / "data" / place).mkdir(parents=True, exist_ok=True)
        (top / "data" / place / f"link{number}").symlink_to(top / root / target)
        leads_to_all |= root == "elsewhere" and target == "." and bool(elsewhere)
    left_out = list[str]()
    found = [Path(path) for path in walk(top / "data", lambda name: name.endswith("g"), left_out)]
    seen = [path for path in found if path.name == "picture.png"]
    assert len(real(seen)) == len(set(real(seen))), "a picture twice"
    assert set(map(os.path.realpath, ours)) <= set(real(seen))
    assert set(seen) >= set(ours), "a picture is called by its own place"
    if leads_to_all:
        assert set(map(os.path.realpath, others)) <= set(real(seen))
    assert not any("thumbnail" in path.name for path in found)
    into_data = [target for _, root, target in links if root == "data" and (top / root / target).is_dir()]
    assert len(left_out) >= len(into_data)  # each is said
    assert [*walk(top / "data", lambda name: True)] == [*walk(top / "data", lambda name: True)]


@pytest.mark.parametrize("target", [".", "..", "../..", "/"])
def test_links_upwards_are_neither_followed_nor_folders(tmp_path: Path, target: str) -> None:
    picture = touch(tmp_path / "data/cat/1.png")
    touch(tmp_path / "beside/2.png")
    (tmp_path / "data/cat/up").symlink_to(target)
    (tmp_path / "data/up").symlink_to("..")
    (tmp_path / "data/self").symlink_to(".")
    left_out = list[str]()
    assert [*walk(tmp_path / "data", lambda name: True, left_out)] == [str(picture)]
    assert len(left_out) == 3
    assert {*folders_in(tmp_path / "data")} == {"cat"}
    assert folders_of_images(tmp_path / "data") == [tmp_path / "data/cat"]


def test_two_links_to_each_other_end(tmp_path: Path) -> None:
    pictures = [touch(tmp_path / "a/1.png"), touch(tmp_path / "b/2.png")]
    (tmp_path / "a/to_b").symlink_to("../b")
    (tmp_path / "b/to_a").symlink_to("../a")
    (tmp_path / "one").symlink_to("other")
    (tmp_path / "other").symlink_to("one")
    assert list_pictures(tmp_path) == pictures
    assert folders_of_images(tmp_path) == [tmp_path / "a", tmp_path / "b"]


def test_a_second_way_to_a_folder_is_no_second_folder(tmp_path: Path) -> None:
    picture = touch(tmp_path / "2024-05/1.png")
    (tmp_path / "1-latest").symlink_to("2024-05")
    left_out = list[str]()
    assert [*walk(tmp_path, lambda name: True, left_out)] == [str(picture)]
    assert left_out == [f"{tmp_path / '1-latest'} (another way to {tmp_path / '2024-05'})"]
    assert folders_of_images(tmp_path) == [tmp_path / "2024-05"]


def test_a_folder_that_cannot_be_opened_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [touch(tmp_path / "a/1.png"), touch(tmp_path / "b/1.png")]
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("b"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    left_out = list[str]()
    assert [*walk(tmp_path, lambda name: True, left_out)] == [str(pictures[0])]
    assert left_out == [f"{tmp_path / 'b'} (cannot be opened: Permission denied)"]


VARYING = [
    *(
        "@eaDir",
        "@eaDir@tmp",
        "@tmp",
        "@__thumb",
        "@SynoResource",
        "@sharebin",
        "@Recycle",
        "@Recently-Snapshot",
        "@Transcode",
    ),
    *("FOUND.000", "found.017", "$Recycle.Bin", "Catalog Previews.lrdata", "Photos Library.photoslibrary"),
    *(".@__thumb", ".ipynb_checkpoints", "~$1"),
]


@pytest.mark.parametrize("name", [*sorted(OTHER_PROGRAMS), *VARYING])
def test_what_other_programs_keep_is_no_class_no_side_and_no_file(tmp_path: Path, name: str) -> None:
    for place in ("cat", "dog", name, f"cat/{name}"):
        draw(tmp_path / place / "1.png")
    touch(tmp_path / "notes.txt")
    [labelled] = layouts.find(DataKind.LABELLED, DataPaths(tmp_path), "train") or []
    assert (len(labelled), labelled.classes) == (2, ("cat", "dog"))
    a, b = layouts.find(DataKind.UNPAIRED, DataPaths(tmp_path), "train") or []
    assert (len(a), len(b)) == (1, 1)
    assert inspect(tmp_path).counts == {"cat": 1, "dog": 1}
    assert other_files(tmp_path) == [tmp_path / "notes.txt"]
    assert len(list_files(tmp_path / name, lambda name: True)) == 1  # who asks for it by name means it


@pytest.mark.parametrize("kind", [*DataKind])
def test_links_to_folders_are_the_same_for_all_kinds_of_data(tmp_path: Path, kind: DataKind) -> None:
    for side in ("A", "B"):
        for number in range(3):
            draw(tmp_path / "store" / side / f"{number}.png", number)
        (tmp_path / "data/linked").mkdir(parents=True, exist_ok=True)
        target = tmp_path / "data" / (side if kind.has_sides else f"linked/{side}")
        target.symlink_to(tmp_path / "store" / side)
    (tmp_path / "data/loop").symlink_to("loop")
    (tmp_path / "data/nowhere").symlink_to("gone")
    found = layouts.find(kind, DataPaths(tmp_path / "data"), "train") or []
    assert [len(dataset) for dataset in found] == {DataKind.PAIRED: [3], DataKind.UNPAIRED: [3, 3]}.get(kind, [6])
    assert inspect(tmp_path / "data").pictures == 6


@pytest.mark.parametrize(
    "name", ["@home", "@anna", "found", "found.objects", "recycling", "_thumbnails", "~old", "snapshots"]
)
def test_names_that_users_give_are_theirs(tmp_path: Path, name: str) -> None:
    picture = touch(tmp_path / name / "1.png")
    assert list_pictures(tmp_path) == [picture]


def test_the_lock_of_a_file_that_is_open_elsewhere_stops_nothing(tmp_path: Path) -> None:
    draw(tmp_path / "1.png")
    (tmp_path / "~$1.png").write_bytes(b"\x05anna")
    assert list_pictures(tmp_path) == [tmp_path / "1.png"]
    assert inspect(tmp_path).unreadable == []
