"""One array in place of a folder: the same pictures, the same training; whole or not at all, and nothing else is lost."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

from diptych.cli import run
from diptych.data.datasets import FileDataset
from diptych.data.layouts import find
from diptych.data.loaders import CachedDataset, TrainLoader
from diptych.data.paths import DataPaths, list_pictures
from diptych.images import files
from diptych.images.files import Array, Pixels
from diptych.images.size import Size
from diptych.kinds import DataKind
from diptych.prepare import pack as module
from diptych.prepare.inspect import inspect
from diptych.prepare.pack import pack
from diptych.prepare.resize import resize
from diptych.training.run import Run


def noise(path: Path, seed: int, size: tuple[int, int] = (20, 14), mode: str = "RGB") -> Path:
    """A picture like no other; of the same seed, the same one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 4), np.uint8)
    if mode == "I;16":
        Image.fromarray(values[..., 0].astype(np.uint16) * 256 + values[..., 1]).save(path)
    else:
        Image.fromarray(values).convert(mode).save(path)
    return path


def deep(path: Path, seed: int) -> Path:
    values = np.random.default_rng(seed).integers(0, 65536, (14, 20, 3)).astype(np.uint16)
    files.encode(Pixels(values), path)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twelve pictures."""
    for number in range(12):
        noise(tmp_path / f"in/{number:02d}.png", number)
    return tmp_path / "in"


def spoken(folder: Path, out: Path, **settings: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=1000)
    pack(folder, out=out, console=console, **{"size": (8, 8), **settings})
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """All that there is to a folder's files: names, times, contents."""
    return {str(path): (path.lstat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def contents(file: Path) -> Array:
    array: Array = np.load(file, mmap_mode="r", allow_pickle=False)
    assert isinstance(array, np.memmap)
    return array


def rows(file: Path) -> list[str]:
    """Which picture each row is, by the label."""
    label = json.loads(file.with_name(f".{file.name}.made-with.json").read_text(encoding="utf-8"))
    assert len(label["pictures"]) == len(contents(file))
    return list(label["pictures"])


def beside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "in")


# ---- the same pictures, the same training


@pytest.mark.parametrize("size", [(8, 8), (12, 30), (20, 14)])
def test_the_pixels_are_those_of_resize_as_png(tmp_path: Path, size: tuple[int, int]) -> None:
    folder = tmp_path / "in"
    for seed, mode in enumerate(("RGB", "L", "RGBA", "LA", "I;16", "1", "P")):
        noise(folder / f"{mode.replace(';', '')}.png", seed, mode=mode)
    noise(folder / "deep/wide.bmp", 9, (60, 9))
    noise(folder / "deep/tall.tif", 10, (9, 60))
    deep(folder / "deep/16 bit.png", 11)
    resize(folder, out=tmp_path / "small", size=size, fit="fill")
    assert pack(folder, out=tmp_path / "faces.npy", size=size) == []
    small = list_pictures(tmp_path / "small")
    want = [files.to_bytes(files.decode(path), 3).permute(1, 2, 0).numpy() for path in small]
    array = contents(tmp_path / "faces.npy")
    assert array.shape == (10, *size[::-1], 3)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, want)
    np.save(tmp_path / "by numpy.npy", want)
    assert (tmp_path / "faces.npy").read_bytes() == (tmp_path / "by numpy.npy").read_bytes()
    assert rows(tmp_path / "faces.npy") == [path.relative_to(tmp_path / "small").as_posix()[:-4] for path in small]


def test_batches_are_those_of_the_folder(source: Path, tmp_path: Path) -> None:
    resize(source, out=tmp_path / "small", size=(18, 18))
    pack(source, out=tmp_path / "faces.npy", size=(18, 18))
    batches = []
    for data in (tmp_path / "small", tmp_path / "faces.npy"):
        [found] = find(DataKind.IMAGES, DataPaths(data), "train") or []
        store = CachedDataset(found, Size.square(18))
        batches.append(TrainLoader([store], size=Size.square(16), batch_size=5, flip=True, seed=3, direction="AtoB"))
    for step in range(6):
        assert torch.equal(batches[0].batch(step)["y"], batches[1].batch(step)["y"])


def test_training_from_an_array_ends_with_the_same_weights(
    tmp_path: Path, tiny_photos: Path, train_tiny: Callable[..., Run], colouring_run: Path
) -> None:
    pack(tiny_photos, out=tmp_path / "photos.npy", size=(32, 32))
    trained = train_tiny(tmp_path / "run", "colorize", data=tmp_path / "photos.npy")
    ours, theirs = (load_file(path / "model/model.safetensors") for path in (trained.path, colouring_run))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for sheet in (colouring_run / "samples").iterdir():  # of the held-out pictures
        assert (trained.path / "samples" / sheet.name).read_bytes() == sheet.read_bytes()
    assert Run.open(trained.path).data_paths == DataPaths((tmp_path / "photos.npy").resolve())
    assert run(["evaluate", str(trained.path), "--data", str(tmp_path / "photos.npy")]) == 0


# ---- which pictures


def test_train_val_and_test_are_an_array_each(tmp_path: Path) -> None:
    for split, numbers in (("train", range(5)), ("valid", range(5, 7)), ("test", range(7, 8))):
        for number in numbers:
            noise(tmp_path / "in" / split / f"deep/{number}.png", number)
    out = tmp_path / "new/folder/all faces.npy"
    lines = spoken(tmp_path / "in", out)
    assert lines == [
        f"{out}: 5 pictures of 8x8, 1088 bytes",
        f"{out.with_name('all faces-val.npy')}: 2 pictures of 8x8, 512 bytes",
        f"{out.with_name('all faces-test.npy')}: 1 picture of 8x8, 320 bytes",
    ]
    assert rows(out) == [f"deep/{number}" for number in range(5)]
    assert rows(out.with_name("all faces-val.npy")) == ["deep/5", "deep/6"]
    assert rows(out.with_name("all faces-test.npy")) == ["deep/7"]


@pytest.mark.parametrize("count", [0, 10])
def test_a_share_is_held_out_and_near_duplicates_stay_together(tmp_path: Path, count: int) -> None:
    def twins(number: int, sides: tuple[int, ...]) -> None:
        colours = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        for side in sides:
            (tmp_path / "in").mkdir(exist_ok=True)
            image = Image.fromarray(colours).resize((side, side), Image.Resampling.NEAREST)
            image.save(tmp_path / f"in/{number:02d}-{side}.png")

    for number in range(6):
        twins(number, (16, 32))
    lines = spoken(tmp_path / "in", tmp_path / "faces.npy", val=0.3, count=count)
    train, val = rows(tmp_path / "faces.npy"), rows(tmp_path / "faces-val.npy")
    assert len(train) + len(val) == (count or 12)
    assert (train, val) == (sorted(train), sorted(val))
    assert not {name[:2] for name in train} & {name[:2] for name in val}
    assert count or (len(val) == 4 and "6 groups of near-duplicates, of up to 2, stay together" in lines[0])


def test_the_seed_draws_and_divides(source: Path, tmp_path: Path) -> None:
    drawn = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        pack(source, out=tmp_path / f"{name}.npy", size=(4, 4), count=8, val=0.25, seed=seed, workers=1 + seed)
        drawn.append((rows(tmp_path / f"{name}.npy"), rows(tmp_path / f"{name}-val.npy")))
    assert [len(part) for part in drawn[0]] == [6, 2]
    assert drawn[0] == drawn[1] != drawn[2]
    assert {*drawn[0][0], *drawn[0][1]} != {*drawn[2][0], *drawn[2][1]}
    for seed in (0, 1):
        pack(source, out=tmp_path / f"all {seed}.npy", size=(4, 4), val=0.25, seed=seed)
    assert rows(tmp_path / "all 0-val.npy") != rows(tmp_path / "all 1-val.npy")


def test_records_are_packed_like_files(source: Path, tmp_path: Path, write_tfrecord: Any) -> None:
    images = [{"image": path.read_bytes()} for path in list_pictures(source)]
    write_tfrecord(tmp_path / "records/a.tfrec", images)
    pack(source, out=tmp_path / "files.npy", size=(8, 6))
    pack(tmp_path / "records", out=tmp_path / "records.npy", size=(8, 6))
    np.testing.assert_array_equal(contents(tmp_path / "files.npy"), contents(tmp_path / "records.npy"))
    with pytest.raises(ValueError, match=r"records: .*TFRecord"):
        pack(tmp_path / "records", out=tmp_path / "more.npy", val=0.5)


def test_an_array_is_packed_again_in_another_size(source: Path, tmp_path: Path) -> None:
    pack(source, out=tmp_path / "large.npy", size=(20, 14))
    pack(source, out=tmp_path / "want.npy", size=(7, 7))
    pack(tmp_path / "large.npy", out=tmp_path / "small.npy", size=(7, 7))
    np.testing.assert_array_equal(contents(tmp_path / "small.npy"), contents(tmp_path / "want.npy"))
    with pytest.raises(ValueError, match=r"large.npy: is an array"):
        pack(tmp_path / "large.npy", out=tmp_path / "more.npy", val=0.5)


def test_the_default_is_256(source: Path, tmp_path: Path) -> None:
    pack(source, out=tmp_path / "faces.npy", count=1)
    assert contents(tmp_path / "faces.npy").shape == (1, 256, 256, 3)


# ---- bad pictures


@pytest.mark.parametrize("val", [0.0, 0.25])
def test_bad_pictures_are_a_line_each_and_the_array_is_as_long_as_what_is_there(
    source: Path, tmp_path: Path, val: float
) -> None:
    (source / "00.png").write_bytes(b"")
    (source / "05.png").write_text("no picture")
    for _ in range(2):  # and the finished call names them again
        problems = pack(source, out=tmp_path / "faces.npy", size=(8, 8), val=val)
        assert [problem.split(": ")[0] for problem in problems] == [str(source / "00.png"), str(source / "05.png")]
    packed = rows(tmp_path / "faces.npy") + (rows(tmp_path / "faces-val.npy") if val else [])
    assert sorted(packed) == [f"{number:02d}" for number in range(12) if number not in (0, 5)]
    for name, picture in zip(rows(tmp_path / "faces.npy"), contents(tmp_path / "faces.npy"), strict=True):
        resize(source / f"{name}.png", out=tmp_path / f"one-{name}", size=(8, 8))
        np.testing.assert_array_equal(picture, np.asarray(Image.open(tmp_path / f"one-{name}/{name}.png")))


def test_nothing_but_bad_pictures_is_refused(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / f"in/{name}.png").touch()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"in/a.png: cannot be read"):
            pack(tmp_path / "in", out=tmp_path / "faces.npy")
    assert beside(tmp_path) == []


# ---- nothing of a person's is lost


def test_inputs_are_only_read_and_nothing_is_left_beside(source: Path, tmp_path: Path) -> None:
    before = state(source)
    pack(source, out=tmp_path / "faces.npy", size=(8, 8), val=0.25)
    assert state(source) == before
    arrays = ["faces-val.npy", "faces.npy"]
    assert beside(tmp_path) == sorted([*arrays, *(f".{name}.made-with.json" for name in arrays)])
    assert inspect(source).pictures == 12


def test_the_same_call_again_has_nothing_to_do(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "faces.npy"
    spoken(source, out, val=0.25)
    before = state(tmp_path)
    monkeypatch.setattr(module, "scan_all", lambda *_: pytest.fail("was read again"))
    monkeypatch.setattr(module, "each", lambda *_: pytest.fail("was read again"))
    assert spoken(source, out, val=0.25) == [f"{out}: packed already; nothing to do"]
    assert state(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"size": (8, 9)}, "size"),
        ({"count": 3}, "count"),
        ({"val": 0.5}, "val"),
        ({"seed": 1}, "seed"),
    ],
)
def test_an_array_made_otherwise_is_not_overwritten(
    source: Path, tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    spoken(source, tmp_path / "faces.npy", val=0.25)
    before = state(tmp_path)
    with pytest.raises(ValueError, match=rf"faces.npy: .*\({what}\)"):
        spoken(source, tmp_path / "faces.npy", **{"val": 0.25, **change})
    assert state(tmp_path) == before


@pytest.mark.parametrize("there", ["faces.npy", "faces-val.npy", "faces-test.npy"])
def test_what_is_somebody_elses_is_not_overwritten(source: Path, tmp_path: Path, there: str) -> None:
    """Nor mixed with: training would take a val of other pictures for ours."""
    (tmp_path / there).write_bytes(b"mine")
    with pytest.raises(ValueError, match=rf"{there}: .*--out"):
        spoken(source, tmp_path / "faces.npy")
    assert beside(tmp_path) == [there]
    assert (tmp_path / there).read_bytes() == b"mine"


def test_a_val_that_the_call_no_longer_makes_is_not_mixed_with(tmp_path: Path) -> None:
    for split in ("train", "val"):
        noise(tmp_path / f"in/{split}/1.png", len(split))
    spoken(tmp_path / "in", tmp_path / "faces.npy")
    (tmp_path / "faces.npy").unlink()
    (tmp_path / "in/val/1.png").rename(tmp_path / "in/train/2.png")
    (tmp_path / "in/val").rmdir()
    with pytest.raises(ValueError, match=r"faces-val.npy: .*--out"):
        spoken(tmp_path / "in", tmp_path / "faces.npy")
    assert contents(tmp_path / "faces-val.npy").shape == (1, 8, 8, 3)


def test_a_link_that_leads_nowhere_is_somebody_elses_too(source: Path, tmp_path: Path) -> None:
    (tmp_path / "faces.npy").symlink_to(tmp_path / "unmounted")
    with pytest.raises(ValueError, match="exists already"):
        spoken(source, tmp_path / "faces.npy")
    assert (tmp_path / "faces.npy").is_symlink()


def test_pictures_that_changed_since_do_not_land_on_both_sides(source: Path, tmp_path: Path) -> None:
    spoken(source, tmp_path / "faces.npy", val=0.25)
    (tmp_path / "faces-val.npy").unlink()
    for number in range(12, 20):
        noise(source / f"{number}.png", number)
    with pytest.raises(ValueError, match=r"faces.npy: .*--out"):
        spoken(source, tmp_path / "faces.npy", val=0.25)


def test_a_train_that_grew_since_is_not_called_done(tmp_path: Path) -> None:
    for number in range(3):
        noise(tmp_path / f"in/{'train' if number else 'val'}/{number}.png", number)
    spoken(tmp_path / "in", tmp_path / "faces.npy")
    (tmp_path / "faces-val.npy").unlink()
    noise(tmp_path / "in/train/9.png", 9)
    with pytest.raises(ValueError, match=r"faces.npy: .*--out"):
        spoken(tmp_path / "in", tmp_path / "faces.npy")


def test_an_array_that_was_removed_is_made_again(source: Path, tmp_path: Path) -> None:
    spoken(source, tmp_path / "faces.npy", val=0.25)
    before = (tmp_path / "faces-val.npy").read_bytes()
    stamp = (tmp_path / "faces.npy").stat().st_mtime_ns
    (tmp_path / "faces-val.npy").unlink()
    spoken(source, tmp_path / "faces.npy", val=0.25)
    assert (tmp_path / "faces-val.npy").read_bytes() == before
    assert (tmp_path / "faces.npy").stat().st_mtime_ns == stamp


REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("in", "faces.png", {}, r"faces.png: the array is a .npy file; --out faces.npy is expected"),
    ("in", "faces", {}, r"faces: the array is a .npy file"),
    ("in", "in/faces.npy", {}, r"in/faces.npy: lies inside .*in, which is only read"),
    ("in", "faces.npy", {"val": 1.0}, r"--val 1.0: a share from 0 to 1 is expected, which leaves some for train"),
    ("in", "faces.npy", {"val": -0.1}, r"--val -0.1: a share"),
    ("in", "faces.npy", {"val": float("nan")}, r"--val nan: a share"),
    ("in", "faces.npy", {"count": 13}, r"--count 13: .*in has 12 pictures; give fewer, or leave it out for all"),
    ("in", "faces.npy", {"count": -1}, r"--count -1: "),
    ("in", "faces.npy", {"size": (0, 8)}, r"--size 0x8"),
    ("nowhere", "faces.npy", {}, r"nowhere: no such folder"),
    ("in/00.png", "faces.npy", {}, r"00.png: is a file; a folder of pictures is expected"),
    ("empty", "faces.npy", {}, r"empty: no pictures found"),
    ("parts", "faces.npy", {"val": 0.5}, r"parts/train/1.png: is in train already; give a folder without splits"),
    ("parts", "faces.npy", {"count": 1}, r"--count 1: .*parts is divided into train and val already; give one of them"),
    ("held out", "faces.npy", {}, r"held out: has no train folder, only val"),
]


@pytest.mark.parametrize(("folder", "out", "settings", "message"), REFUSED)
def test_a_mistake_is_one_line_and_writes_nothing(
    source: Path, tmp_path: Path, folder: str, out: str, settings: dict[str, Any], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    for split in ("parts/train", "parts/val", "held out/val"):
        noise(tmp_path / split / "1.png", 1)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=message) as caught:
        pack(tmp_path / folder, out=tmp_path / out, **settings)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_too_few_to_hold_any_out_are_refused(tmp_path: Path) -> None:
    noise(tmp_path / "in/1.png", 1)
    with pytest.raises(ValueError, match=r"in: .*train and val"):
        spoken(tmp_path / "in", tmp_path / "faces.npy", val=0.5)
    assert beside(tmp_path) == []


def test_a_place_that_cannot_be_written_to_is_one_line(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"faces.npy: .*the same command"):
        pack(source, out=noise(tmp_path / "file.png", 1) / "below/faces.npy")


def test_only_one_process_packs_an_array(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, go_on = threading.Event(), threading.Event()
    decode = FileDataset.decode

    def waiting(self: FileDataset, index: int) -> Pixels:
        began.set()
        assert go_on.wait(20)
        return decode(self, index)

    monkeypatch.setattr(FileDataset, "decode", waiting)
    first = threading.Thread(target=pack, args=[source], kwargs={"out": tmp_path / "faces.npy", "size": (8, 8)})
    first.start()
    try:
        assert began.wait(20)
        with pytest.raises(ValueError, match=r"faces.npy: another process"):
            pack(source, out=tmp_path / "faces.npy", size=(8, 8))
    finally:
        go_on.set()
        first.join()
    assert len(contents(tmp_path / "faces.npy")) == 12


# ---- stopped and gone on with


def failing_at(monkeypatch: pytest.MonkeyPatch, number: int, fail: Callable[[], object]) -> list[int]:
    """Something happens when picture `number` is read; gives the list of those that are read."""
    decode, read = FileDataset.decode, list[int]()

    def failing(self: FileDataset, index: int) -> Pixels:
        if index == number:
            fail()
        read.append(index)
        return decode(self, index)

    monkeypatch.setattr(FileDataset, "decode", failing)
    return read


def ctrl_c() -> None:
    time.sleep(0.3)  # those before it are written
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.3)


def test_ctrl_c_keeps_what_is_done(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "02.png").write_bytes(b"")
    problems = pack(source, out=tmp_path / "want.npy", size=(8, 8))
    with monkeypatch.context() as patch:
        failing_at(patch, 7, ctrl_c)
        with pytest.raises(KeyboardInterrupt, match="the same command"):
            pack(source, out=tmp_path / "faces.npy", size=(8, 8), workers=1)
    assert not (tmp_path / "faces.npy").exists()
    read = failing_at(monkeypatch, -1, ctrl_c)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    assert pack(source, out=tmp_path / "faces.npy", size=(8, 8), console=console) == problems
    assert sorted(read) == [*range(7, 12)]
    assert "12/12" in screen.getvalue()
    assert (tmp_path / "faces.npy").read_bytes() == (tmp_path / "want.npy").read_bytes()
    assert rows(tmp_path / "faces.npy") == rows(tmp_path / "want.npy")
    assert ".faces.npy.partial" not in beside(tmp_path)


KILLED = """
import os, signal, sys, time
from diptych.data.datasets import FileDataset
from diptych.prepare import pack

decode = FileDataset.decode
def killing(self, index):
    if index == int(sys.argv[3]):
        time.sleep(0.5)  # those before it are written
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(self, index)
FileDataset.decode = killing
pack.KEEP_EVERY = 3
pack.pack(sys.argv[1], out=sys.argv[2], size=(8, 8), workers=1, val=float(sys.argv[4]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
@pytest.mark.parametrize(("at", "val"), [(0, 0.0), (10, 0.0), (11, 0.25)])
def test_killed_in_the_middle_and_run_again_it_is_whole(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, val: float
) -> None:
    before = state(source)
    command = [sys.executable, "-c", KILLED, str(source), str(tmp_path / "faces.npy"), str(at), str(val)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "faces.npy").exists()
    read = failing_at(monkeypatch, -1, ctrl_c)
    pack(source, out=tmp_path / "faces.npy", size=(8, 8), val=val)
    assert at == 0 or val or sorted(read) == [9, 10, 11]
    monkeypatch.undo()
    pack(source, out=tmp_path / "whole/faces.npy", size=(8, 8), val=val)
    for name in ["faces.npy", *(["faces-val.npy"] if val else [])]:
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert beside(tmp_path) == sorted([*beside(tmp_path / "whole"), "whole"])
    assert state(source) == before


def interrupted(source: Path, out: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    with monkeypatch.context() as patch:
        failing_at(patch, 7, ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            pack(source, out=out, workers=1, **{"size": (8, 8), **settings})


def test_what_was_begun_otherwise_is_begun_anew(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "faces.npy"
    interrupted(source, out, monkeypatch)
    pack(source, out=out, size=(6, 6))
    assert contents(out).shape == (12, 6, 6, 3)
    assert beside(tmp_path) == [".faces.npy.made-with.json", "faces.npy"]


def test_rows_of_two_calls_are_never_mixed(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second begins anew and dies before it notes anything; the first goes on with nothing of it."""
    interrupted(source, tmp_path / "faces.npy", monkeypatch)
    with monkeypatch.context() as patch:
        failing_at(patch, 7, lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            pack(source, out=tmp_path / "faces.npy", size=(20, 20), workers=1)
    for out in ("faces.npy", "want.npy"):
        pack(source, out=tmp_path / out, size=(8, 8))
    assert (tmp_path / "faces.npy").read_bytes() == (tmp_path / "want.npy").read_bytes()


def test_of_pictures_that_changed_none_is_kept(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(source, tmp_path / "faces.npy", monkeypatch)
    noise(source / "00 before.png", 50)
    for out in ("faces.npy", "want.npy"):
        pack(source, out=tmp_path / out, size=(8, 8))
    assert (tmp_path / "faces.npy").read_bytes() == (tmp_path / "want.npy").read_bytes()
    assert rows(tmp_path / "faces.npy") == rows(tmp_path / "want.npy")


@pytest.mark.parametrize("data", [b"", b"\x07" * 100_000])
def test_a_partial_file_that_is_too_short_or_too_long_does_no_harm(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    interrupted(source, tmp_path / "faces.npy", monkeypatch)
    partial = tmp_path / ".faces.npy.partial"
    partial.write_bytes(data and partial.read_bytes() + data)
    for out in ("faces.npy", "want.npy"):
        pack(source, out=tmp_path / out, size=(8, 8))
    assert (tmp_path / "faces.npy").read_bytes() == (tmp_path / "want.npy").read_bytes()


def test_a_part_that_the_call_no_longer_makes_is_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        noise(tmp_path / f"in/{'val' if number == 8 else 'train'}/{number}.png", number)
    pack(tmp_path / "in", out=tmp_path / "want.npy", size=(8, 8))
    (tmp_path / ".faces-val.npy.partial").touch()
    (tmp_path / ".faces-val.npy.made-with.json").write_text("{}")
    pack(tmp_path / "in/train", out=tmp_path / "faces.npy", size=(8, 8))
    assert [name for name in beside(tmp_path) if "faces" in name] == [".faces.npy.made-with.json", "faces.npy"]


@pytest.mark.skipif(sys.platform == "win32", reason="files are told apart by their inodes")
def test_rows_are_safe_on_the_disk_before_the_label_speaks_of_them(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, fsync = list[int](), os.fsync

    def recorded(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    pack(source, out=tmp_path / "faces.npy", size=(8, 8))
    array, label = ((tmp_path / name).stat().st_ino for name in ("faces.npy", ".faces.npy.made-with.json"))
    assert synced.index(array) < synced.index(label)  # the label of the beginning is another file, replaced by this one


def test_a_full_disk_is_one_line_and_the_same_call_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ValueError, match=r"faces.npy: .*\(No space left on device\)"):
            pack(source, out=tmp_path / "faces.npy", size=(8, 8))
    assert not (tmp_path / "faces.npy").exists()
    pack(source, out=tmp_path / "faces.npy", size=(8, 8))
    assert len(contents(tmp_path / "faces.npy")) == 12


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
from diptych.prepare import pack
pack.KEEP_EVERY = 1
try:
    pack.pack(sys.argv[1], out=sys.argv[2], size=(256, 256), workers=1)
except ValueError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
def test_where_no_more_can_be_written_what_is_there_is_kept(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system refuses the third of twelve pictures, in the middle of it."""
    command = [sys.executable, "-c", LIMITED, str(source), str(tmp_path / "faces.npy")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    line = f"{tmp_path / 'faces.npy'}: cannot be written (File too large); mend that, and the same command goes on\n"
    assert (done.returncode, done.stderr) == (1, line)
    assert not (tmp_path / "faces.npy").exists()
    read = failing_at(monkeypatch, -1, ctrl_c)
    pack(source, out=tmp_path / "faces.npy")
    assert sorted(read) == [*range(2, 12)]
    pack(source, out=tmp_path / "want.npy")
    assert (tmp_path / "faces.npy").read_bytes() == (tmp_path / "want.npy").read_bytes()


def test_memory_stays_small_when_the_disk_is_slow(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is decoded ahead of the writing is bounded, however many pictures there are."""
    for number in range(12, 90):
        noise(source / f"{number}.png", number, (4, 4))
    read, ahead = failing_at(monkeypatch, -1, ctrl_c), list[int]()
    keep = module._Array._keep

    def slow(self: Any, file: Any, note: Any) -> None:
        time.sleep(0.5)
        ahead.append(len(read) - note.done)
        keep(self, file, note)

    monkeypatch.setattr(module._Array, "_keep", slow)
    monkeypatch.setattr(module, "KEEP_EVERY", 20)
    pack(source, out=tmp_path / "faces.npy", size=(8, 8), workers=1)
    assert max(ahead) <= 32
    assert len(contents(tmp_path / "faces.npy")) == 90


# ---- the command


def test_the_command(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source / "03.png").write_bytes(b"")
    command = ["data", "pack", str(source), "--out", str(tmp_path / "faces.npy"), "--size", "16x8", "--val", "0.25"]
    assert run([*command, "--count", "11", "--seed", "2", "--workers", "1"]) == 1
    assert "diptych: skipped: " in capsys.readouterr().err
    assert contents(tmp_path / "faces.npy").shape[1:] == (8, 16, 3)
    assert len(contents(tmp_path / "faces.npy")) + len(contents(tmp_path / "faces-val.npy")) == 10
