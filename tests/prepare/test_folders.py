"""One tool over whole folders: nothing of a person's is lost, bad pictures are named, and what was stopped goes on."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console

from diptych.files import LABEL
from diptych.images.files import Pixels
from diptych.prepare import folders
from diptych.prepare.blank import blank
from diptych.prepare.combine import combine
from diptych.prepare.edges import edges
from diptych.prepare.folders import as_paths, claim, convert, each_missing
from diptych.prepare.grayscale import grayscale
from diptych.prepare.resize import resize

NAMES = ("a.png", "with space.PNG", "new\nline.png", "train/Ünï#1.png", "train/deep/日本.tif")
SETTINGS = {"size": (4, 2), "fill": "red"}  # a tuple, which JSON gives back as a list


def invert(pixels: Pixels, _: str) -> Pixels:
    return Pixels(255 - pixels.values)


Change = Callable[[Pixels, str], Pixels]


def call(inputs: Any, out: Path, change: Change = invert, tool: str = "invert", **more: Any) -> list[str]:
    return convert(tool, inputs, out, change, more.pop("settings", SETTINGS), **more)


def picture(path: Path, level: int = 9) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), (level, level, level)).save(path)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for level, name in enumerate(NAMES):
        picture(tmp_path / "in" / name, level)
    return tmp_path / "in"


# ---- whole folders


def test_every_picture_keeps_its_place_and_name(source: Path, tmp_path: Path) -> None:
    before = tree(source)
    names = []

    def change(pixels: Pixels, name: str) -> Pixels:
        names.append(name)
        return invert(pixels, name)

    assert call(source, tmp_path / "out", change) == []
    assert tree(tmp_path / "out").keys() == {*NAMES, LABEL}
    assert sorted(names) == sorted(NAMES)
    for level, name in enumerate(NAMES):
        with Image.open(tmp_path / "out" / name) as image:
            assert image.convert("RGB").getpixel((0, 0)) == (255 - level,) * 3
    assert tree(source) == before


def test_files_and_folders_may_be_mixed(source: Path, tmp_path: Path) -> None:
    alone = picture(tmp_path / "alone.png")
    assert call([str(source / "train"), alone], tmp_path / "out", suffix=".bmp") == []
    assert tree(tmp_path / "out").keys() == {"Ünï#1.bmp", "deep/日本.bmp", "alone.bmp", LABEL}
    assert as_paths("one") == as_paths(Path("one")) == as_paths(["one"]) == [Path("one")]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_need_not_be_unicode(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    picture(tmp_path / "plain.png").rename(tmp_path / name)
    assert call(tmp_path / name, tmp_path / "out") == []
    assert (tmp_path / "out" / name).is_file()
    assert call(tmp_path / name, tmp_path / "out") == []  # its label too


def test_the_number_of_workers_changes_nothing(source: Path, tmp_path: Path) -> None:
    for path in (source / "a.png", source / "train/Ünï#1.png"):
        path.write_bytes(b"")
    lines = [call(source, tmp_path / f"out{workers}", workers=workers) for workers in (1, 4)]
    assert lines[0] == lines[1]
    assert len(lines[0]) == 2
    assert tree(tmp_path / "out1") == tree(tmp_path / "out4")


def test_workers_work_at_the_same_time_and_torch_adds_none(tmp_path: Path) -> None:
    together = threading.Barrier(3, timeout=10)
    threads = []

    def work(_: object) -> None:
        together.wait()
        threads.append(torch.get_num_threads())

    torch.set_num_threads(2)
    try:
        assert (
            each_missing([(tmp_path, tmp_path / str(n)) for n in range(3)], tmp_path, work, "testing", workers=3) == []
        )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert threads == [1, 1, 1]


def test_the_bar_counts_what_was_there_already(source: Path, tmp_path: Path) -> None:
    call(source, tmp_path / "out")
    (tmp_path / "out/a.png").unlink()
    screen = io.StringIO()
    call(source, tmp_path / "out", console=Console(file=screen, force_terminal=True, width=80))
    assert "invert" in screen.getvalue()
    assert "5/5" in screen.getvalue()


@pytest.mark.parametrize("tool", [blank, combine, edges, grayscale, resize])
def test_every_tool_takes_workers_and_a_console(tmp_path: Path, monkeypatch: Any, tool: Callable[..., Any]) -> None:
    pools = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, workers: int) -> None:
            pools.append(workers)
            super().__init__(workers)

    monkeypatch.setattr(folders, "ThreadPoolExecutor", Pool)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    inputs = [picture(tmp_path / side / "1.png").parent for side in "ab"[: 2 if tool is combine else 1]]
    assert tool(*inputs, out=tmp_path / "out", workers=3, console=console) == []
    assert pools == [3]
    assert tool.__name__ in screen.getvalue()


# ---- bad pictures


def test_each_bad_picture_is_one_line_and_the_others_are_there(source: Path, tmp_path: Path) -> None:
    (source / "b empty.png").write_bytes(b"")
    (source / "c.jpg").write_text("no picture", encoding="utf-8")
    Image.effect_noise((40, 40), 50).save(source / "d.png")
    (source / "d.png").write_bytes((source / "d.png").read_bytes()[:500])
    (source / "e.png").symlink_to(source / "f.png")
    (source / "f.png").symlink_to(source / "e.png")
    (source / "g.png").symlink_to(source / "nowhere")
    (source / "train/loop").symlink_to(source)  # a folder that holds itself
    lines = call(source, tmp_path / "out", workers=4)
    beginnings = ["b empty.png: the file is empty", "c.jpg: not a picture", "d.png: damaged"]
    beginnings += [f"{name}.png: cannot be read" for name in "efg"]
    assert len(lines) == len(beginnings)
    assert all(line.startswith(f"{source}/{begin}") for line, begin in zip(lines, beginnings, strict=True))
    assert tree(tmp_path / "out").keys() == {*NAMES, LABEL}


def test_a_picture_that_was_mended_is_made_up_for(source: Path, tmp_path: Path) -> None:
    good = (source / "a.png").read_bytes()
    (source / "a.png").write_bytes(b"")
    assert len(call(source, tmp_path / "out")) == 1
    (source / "a.png").write_bytes(good)
    assert call(source, tmp_path / "out") == []
    assert tree(tmp_path / "out").keys() == {*NAMES, LABEL}


def test_a_slip_of_ours_is_not_taken_for_a_bad_picture(source: Path, tmp_path: Path) -> None:
    def slip(pixels: Pixels, _: str) -> Pixels:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call(source, tmp_path / "out", slip)


def test_two_pictures_of_one_stem_are_refused_where_the_suffix_goes(source: Path, tmp_path: Path) -> None:
    picture(source / "a.bmp")
    with pytest.raises(ValueError, match=r"a.png: .*a.bmp and .*a.png"):
        call(source, tmp_path / "out", suffix=".png")
    assert not (tmp_path / "out").exists()


# ---- the folder of this very call


def test_a_folder_of_another_call_is_refused(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call(source, out)
    before = tree(out)
    changes: dict[str, dict[str, Any]] = {
        "tool": {"tool": "blank"},
        "size": {"settings": {**SETTINGS, "size": (4, 3)}},
        "fill, seed": {"settings": {"size": (4, 2), "fill": "blue", "seed": 0}},
        "inputs": {"inputs": [source / "train"]},
    }
    for what, change in changes.items():
        with pytest.raises(ValueError, match=rf"out: .*\({what}\)"):
            call(**{"inputs": source, "out": out, **change})
    assert tree(out) == before


def test_the_label_says_what_a_person_may_want_to_know(source: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    call("in", Path("out"))
    label = json.loads((tmp_path / "out" / LABEL).read_text(encoding="utf-8"))
    assert label == {"tool": "invert", "size": [4, 2], "fill": "red", "inputs": [str(source.resolve())]}
    assert call(source, tmp_path / "out") == []  # the same folder by another name


@pytest.mark.parametrize("content", ["notes.txt", "a.png", ".hidden"])
def test_a_folder_that_holds_something_is_refused(source: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / content).write_bytes(b"mine")
    with pytest.raises(ValueError, match="out: exists"):
        call(source, tmp_path / "out")
    assert tree(tmp_path / "out") == {content: b"mine"}


def test_an_empty_folder_is_taken(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert call(source, tmp_path / "out") == []


@pytest.mark.parametrize("text", ["", "{", "[]", '"words"'])
def test_a_damaged_label_is_named(source: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LABEL).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"{LABEL}: is damaged"):
        call(source, tmp_path / "out")


@pytest.mark.parametrize("inside", [".", "train", "new", "new/deeper"])
def test_a_folder_inside_the_source_is_refused(source: Path, tmp_path: Path, inside: str) -> None:
    before = tree(source)
    (tmp_path / "alias").symlink_to(source)
    for out in (source / inside, tmp_path / "alias" / inside, source / "train/.." / inside):
        with pytest.raises(ValueError, match=r"lies inside .*in.*--out"):
            call(source, out)
    assert tree(source) == before


def test_a_folder_beside_the_source_may_begin_like_it(source: Path, tmp_path: Path) -> None:
    assert call(source, tmp_path / "in-inverted") == []


def test_the_target_of_a_single_file_may_lie_beside_it(source: Path) -> None:
    assert call(source / "a.png", source / "inverted") == []


def test_a_place_that_cannot_be_written_to_is_one_line(source: Path, tmp_path: Path) -> None:
    file = picture(tmp_path / "file.png")
    for out in (file, file / "below", file / "deep/below"):
        with pytest.raises(ValueError, match=r"file.png.*--out"):
            call(source, out)
    for name, target in (("circle", "circle"), ("nowhere", "gone")):
        (tmp_path / name).symlink_to(tmp_path / target)
        with pytest.raises(ValueError, match=f"{name}: exists"):
            call(source, tmp_path / name)


def test_a_folder_that_became_read_only_is_one_line_and_not_one_for_each_picture(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests run as root, to whom nothing is read-only: the answer of a read-only disk is put in its place.
    call(source / "a.png", tmp_path / "out")
    (tmp_path / "out/a.png").unlink()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ValueError, match=r"out: .*\(Read-only file system\).*--out"):
        call(source / "a.png", tmp_path / "out", lambda *_: pytest.fail("was read"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_one_line(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o555)
    with pytest.raises(ValueError, match=r"out: .*\(Permission denied\)"):
        call(source, tmp_path / "out")


# ---- stopped and gone on with


KILLED = """
import os, signal, sys
from pathlib import Path
from diptych.prepare.folders import convert

source, out, last = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
replace, done = os.replace, []

def killing(*paths):  # the worst moment: all is written, and does not yet have its name
    if len(done) == last:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(replace(*paths))

os.replace = killing
convert("halve", source, out, lambda pixels, _: type(pixels)(pixels.values // 2), {}, workers=1)
"""


@pytest.mark.parametrize("written", [0, 8])  # the label is the first
def test_killed_in_the_middle_and_run_again_it_is_whole(tmp_path: Path, written: int) -> None:
    for number in range(20):
        picture(tmp_path / f"in/{'ab'[number % 2]}/{number}.png", 10 * number)

    def halve(folder: str) -> list[str]:
        return convert("halve", tmp_path / "in", tmp_path / folder, lambda pixels, _: Pixels(pixels.values // 2), {})

    command = [sys.executable, "-c", KILLED, str(tmp_path / "in"), str(tmp_path / "out"), str(written)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    left = {path: path.stat().st_ino for path in (tmp_path / "out").rglob("*.*") if not path.name.startswith(".")}
    assert len(left) == max(written - 1, 0)
    assert len(list((tmp_path / "out").rglob(".partial-*"))) == 1
    assert halve("out") == halve("whole") == []
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")  # leftovers are gone
    assert {path: path.stat().st_ino for path in left} == left  # and what was done was not done again


def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    for number in range(30):
        picture(tmp_path / f"in/{number:02d}.png")

    def interrupted(pixels: Pixels, name: str) -> Pixels:
        if name == "03.png":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)
        return invert(pixels, name)

    with pytest.raises(KeyboardInterrupt, match="the same command"):
        call(tmp_path / "in", tmp_path / "out", interrupted, workers=1)
    done = tree(tmp_path / "out").keys()
    assert {"00.png", "01.png", "02.png", "03.png", LABEL} <= done
    assert len(done) < 10
    assert call(tmp_path / "in", tmp_path / "out") == []
    assert call(tmp_path / "in", tmp_path / "whole") == []
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_leftovers_are_neither_pictures_nor_something_of_a_persons(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    picture(tmp_path / "out/.partial-01234567.png")
    assert call(source, tmp_path / "out") == []
    assert tree(tmp_path / "out").keys() == {*NAMES, LABEL}
    picture(tmp_path / "out/train/.partial-01234567.png")
    assert call(tmp_path / "out", tmp_path / "again") == []
    assert tree(tmp_path / "again").keys() == {*NAMES, LABEL}


def test_half_a_download_is_somebody_s(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.partial-facades.archive").touch()
    with pytest.raises(ValueError, match="--out"):
        call(source, tmp_path / "out")
    (tmp_path / "out/.partial-facades.archive").unlink()
    call(source, tmp_path / "out")
    (tmp_path / "out/.partial-facades.archive").touch()
    call(source, tmp_path / "out")
    assert (tmp_path / "out/.partial-facades.archive").exists()


def test_new_pictures_are_made_up_for(source: Path, tmp_path: Path) -> None:
    call(source, tmp_path / "out")
    first = (tmp_path / "out/a.png").stat().st_ino
    picture(source / "z.png")
    assert call(source, tmp_path / "out") == []
    assert tree(tmp_path / "out").keys() == {*NAMES, "z.png", LABEL}
    assert (tmp_path / "out/a.png").stat().st_ino == first


def test_a_claim_reads_nothing_and_is_repeatable(tmp_path: Path) -> None:
    claim(tmp_path / "deep/out", "split", {"seed": 0}, [tmp_path / "in"])
    claim(tmp_path / "deep/out", "split", {"seed": 0}, [tmp_path / "in"])
    with pytest.raises(ValueError, match="seed"):
        claim(tmp_path / "deep/out", "split", {"seed": 1}, [tmp_path / "in"])
