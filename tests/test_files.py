"""Whole or not at all: what is left on the disk when writing goes wrong."""

import os
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from diptych.data.paths import list_pictures
from diptych.files import (
    LABEL,
    Label,
    OwnedFolder,
    atomic_file,
    atomic_folder,
    is_vacant,
    remove_leftovers,
    save_tensors,
)

FAILURES = [OSError(28, "No space left on device"), ValueError("bad picture"), KeyboardInterrupt(), SystemExit(1)]


def fail(writer: AbstractContextManager[Path], name: str, failure: BaseException) -> None:
    with writer as beside:
        (beside / name).write_text("half of the new")
        raise failure


def killed(code: str, folder: Path) -> None:
    """Runs `code` in a process that ends in kill -9."""
    lines = "import os\nfrom pathlib import Path\nfrom diptych.files import atomic_file, atomic_folder\n" + code
    ended = subprocess.run([sys.executable, "-c", lines], cwd=folder, check=False)
    assert ended.returncode == -9


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path, failure: BaseException, durable: bool) -> None:
    target = tmp_path / "model.bin"
    target.write_text("old")
    with pytest.raises(type(failure)):
        fail(atomic_file(target, durable), ".", failure)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("old", [None, "a longer old text"])
def test_a_writer_that_succeeds_replaces_the_file(tmp_path: Path, old: str | None, durable: bool) -> None:
    target = tmp_path / "model.bin"
    if old:
        target.write_text(old)
    with atomic_file(target, durable) as beside:
        beside.write_text("new")
        assert (target.read_text() if target.exists() else None) == old  # nobody reads half a file
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_first_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        fail(atomic_file(tmp_path / "a.png"), ".", FAILURES[0])
    assert list(tmp_path.iterdir()) == []


def test_what_is_half_written_has_the_suffix_and_is_no_picture_yet(tmp_path: Path) -> None:
    # Writers choose the format by the suffix; whoever lists the folder meanwhile must not see the file.
    with atomic_file(tmp_path / "a.png", durable=False) as beside:
        beside.write_text("half")
        assert (beside.parent, beside.suffix) == (tmp_path, ".png")
        assert list_pictures(tmp_path) == []
    assert list_pictures(tmp_path) == [tmp_path / "a.png"]


@pytest.mark.skipif(os.name == "nt", reason="a folder cannot be flushed there")
def test_the_disk_has_the_numbers_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Against a power cut: flush the file, rename it, flush the folder, in this order.
    flushed: list[tuple[str, bool]] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        kind = "folder" if os.path.isdir(f"/dev/fd/{descriptor}") else "file"  # noqa: PTH112
        flushed.append((kind, target.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    target = tmp_path / "model.bin"
    with atomic_file(target) as beside:
        beside.write_text("new")
    assert flushed == [("file", False), ("folder", True)]
    flushed.clear()
    target = tmp_path / "step-1"
    with atomic_folder(target) as beside:
        (beside / "a").write_text("a")
        (beside / "b").write_text("b")
    assert flushed == [("file", False), ("file", False), ("folder", False), ("folder", True)]


@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    target.write_text("old")
    killed(
        "with atomic_file(Path('a.png')) as beside:\n  beside.write_text('half')\n  os.kill(os.getpid(), 9)", tmp_path
    )
    assert target.read_text() == "old"
    assert list_pictures(tmp_path) == [target]
    with atomic_file(target) as beside:
        beside.write_text("new")
    assert target.read_text() == "new"


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_a_folder_that_fails_is_not_there(tmp_path: Path, failure: BaseException) -> None:
    (tmp_path / "step-1").mkdir()
    with pytest.raises(type(failure)):
        fail(atomic_folder(tmp_path / "step-2"), "state", failure)
    assert list(tmp_path.iterdir()) == [tmp_path / "step-1"]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "checkpoints" / "step-1"  # its parent does not exist yet
    with atomic_folder(target) as beside:
        for name in ("model", "state"):
            (beside / name).write_text(name)
            assert not target.exists()
    assert {path.name: path.read_text() for path in target.iterdir()} == {"model": "model", "state": "state"}
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_what_a_killed_process_left_does_not_get_into_the_next_folder(tmp_path: Path) -> None:
    killed(
        "with atomic_folder(Path('step-1')) as b:\n  (b / 'old').write_text('half')\n  os.kill(os.getpid(), 9)",
        tmp_path,
    )
    assert not (tmp_path / "step-1").exists()
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(FileExistsError), atomic_folder(tmp_path / "step-1"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [".partial-step-1"]


def test_a_folder_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    target = tmp_path / "step-1"
    target.mkdir()
    (target / "good").write_text("good")
    with pytest.raises(OSError, match=r"step-1"), atomic_folder(target) as beside:
        (beside / "other").write_text("other")
    assert [path.name for path in target.iterdir()] == ["good"]
    assert list(tmp_path.iterdir()) == [target]


# ---- a folder that belongs to one call


def owned(path: Path, **about: object) -> None:
    OwnedFolder(path, about).claim("is foreign", "differs in {}")


def test_the_same_call_goes_on_and_another_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "deep/out"
    for _ in range(2):
        owned(out, size=(4, 2), seed=1)  # a tuple, which JSON gives back as a list
    (out / "made.png").touch()
    owned(out, size=(4, 2), seed=1)
    with pytest.raises(ValueError, match=r"out: differs in size, fill$"):
        owned(out, size=(4, 3), seed=1, fill="red")
    with pytest.raises(ValueError, match=r"out: differs in size and seed$"):
        OwnedFolder(out, {"size": 1, "seed": 2}).require_ours("", "differs in {}", joined=" and ")
    assert (out / "made.png").exists()
    assert Label(out / LABEL, {}).read() == {"size": [4, 2], "seed": 1}


def test_what_a_label_notes_besides_does_not_matter(tmp_path: Path) -> None:
    OwnedFolder(tmp_path / "out", {"size": 4}).claim("", "", pictures=["a"])
    owned(tmp_path / "out", size=4)


@pytest.mark.parametrize("kind", ["file", "folder with a file", "folder with a folder", "link to nothing", "circle"])
def test_what_is_somebody_s_is_refused_and_stays(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("mine")
    elif kind == "folder with a file":
        out.mkdir()
        (out / "mine").write_text("mine")
    elif kind == "folder with a folder":
        (out / "mine").mkdir(parents=True)
    else:
        out.symlink_to(tmp_path / ("nothing" if kind == "link to nothing" else "out"))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"out: is foreign$"):
        owned(out)
    assert sorted(tmp_path.rglob("*")) == before


def test_leftovers_are_removed_and_links_are_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere/.partial-01234567.png"
    ours = tmp_path / "out/train/.partial-01234567.png"
    download = tmp_path / "out/.partial-facades.archive"
    owned(tmp_path / "out")
    for file in (elsewhere, ours, download):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("half")
    (tmp_path / "out/link").symlink_to(elsewhere.parent, target_is_directory=True)
    owned(tmp_path / "out")
    assert [elsewhere.exists(), ours.exists(), download.exists()] == [True, False, True]


def test_a_vacant_place_has_nothing_of_a_person_s(tmp_path: Path) -> None:
    assert is_vacant(tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.partial-01234567.toml").touch()
    assert is_vacant(tmp_path / "out")
    (tmp_path / "out/.lock").touch()
    assert is_vacant(tmp_path / "out", ".lock")
    assert not is_vacant(tmp_path / "out")


# ---- what killed processes leave


LEFT = ".partial-01234567.png"


def test_what_is_in_work_is_no_leftover(tmp_path: Path) -> None:
    (tmp_path / LEFT).write_text("half")
    with atomic_file(tmp_path / "a.png", durable=False) as beside:
        beside.write_text("half")  # opened anew, as writers do
        remove_leftovers(tmp_path)
        assert list(tmp_path.iterdir()) == [beside]
        beside.write_text("whole")
    assert (tmp_path / "a.png").read_text() == "whole"


def test_whoever_writes_next_removes_leftovers_of_the_kind(tmp_path: Path) -> None:
    for name in (".partial-01234567.json", LEFT):
        (tmp_path / name).write_text("half")
    with atomic_file(tmp_path / "config.json") as beside:
        beside.write_text("{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == [LEFT, "config.json"]


@pytest.mark.skipif(os.name == "nt", reason="fifos")
def test_only_what_has_our_very_form_is_removed(tmp_path: Path) -> None:
    mine = [
        "partial-01234567.png",
        ".partial-0123456.png",
        ".partial-01234567.png~",
        ".partial-facades.archive",
        ".tmpabc123",
    ]
    for name in mine:
        (tmp_path / name).write_text("mine")
    os.mkfifo(tmp_path / ".partial-00000000.png")  # whoever opens it waits for ever
    (tmp_path / ".partial-00000001.png").mkdir()
    (tmp_path / ".partial-00000002.png").symlink_to(tmp_path / mine[0])
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*mine, ".partial-00000000.png", ".partial-00000001.png"}
    remove_leftovers(tmp_path / "none")  # no folder, no leftovers


def test_an_error_of_the_disk_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left on device: .*/model.json'$"):
        fail(atomic_file(tmp_path / "model.json"), ".", OSError(28, "No space left on device"))
    with pytest.raises(OSError, match=r"/none/model.json'$"), atomic_file(tmp_path / "none/model.json"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="modes of files")
def test_tensors_are_for_those_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_file(tmp_path / "model.safetensors") as beside:
            save_tensors({"a": torch.zeros(2, 3).T}, beside, {"step": "1"})
    finally:
        os.umask(before)
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == 0o640
