"""What is not wholly read of a picture is said, by every command, in one line for all pictures of a kind."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from rich.console import Console

import diptych
from diptych.images import remarks
from diptych.images.files import decode
from diptych.prepare.inspect import inspect
from diptych.prepare.resize import resize
from diptych.translate import translate


def picture(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((96, 64))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two animations, two JPEGs that were cut off, one whole."""
    (folder := tmp_path / "pictures").mkdir()
    for number in range(2):
        picture(number).save(folder / f"{number}.gif", save_all=True, append_images=[picture(9)])
        picture(number).save(file := io.BytesIO(), "JPEG")
        (folder / f"cut{number}.jpg").write_bytes(file.getvalue()[:-40])
    picture(5).save(folder / "whole.jfif", "JPEG")
    return folder


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=300)


def lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def want(folder: Path) -> list[str]:
    return [
        f"{folder}/0.gif (and 1 more): {remarks.WRITTEN_AS_PNG}",
        f"{folder}/0.gif (and 1 more): {remarks.FIRST_FRAME}",
        f"{folder}/cut0.jpg (and 1 more): {remarks.CUT_OFF}",
    ]


WRITTEN = ["0.png", "1.png", "cut0.jpg", "cut1.jpg", "whole.jfif"]


def test_translate_says_it_and_writes_what_is_only_read_as_png(
    tiny_run: Path, folder: Path, tmp_path: Path, console: Console
) -> None:
    assert translate(tiny_run, folder, out=tmp_path / "out", console=console, device="cpu") == []
    assert lines(console) == [f"B -> A, 5 pictures, into {tmp_path / 'out'}", *want(folder)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == WRITTEN
    assert {decode(path).size for path in (tmp_path / "out").iterdir()} == {(64, 96)}


def test_the_data_tools_say_it(folder: Path, tmp_path: Path, console: Console) -> None:
    assert resize(folder, out=tmp_path / "out", size=16, console=console, workers=1) == []
    assert sorted(lines(console)) == sorted(want(folder))
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")) == WRITTEN


def test_inspect_names_each(folder: Path) -> None:
    (folder / "notes.txt").write_text("no picture")
    findings = inspect(folder)
    assert findings.remarks == [
        *(f"{folder}/{number}.gif: {remarks.FIRST_FRAME}" for number in range(2)),
        *(f"{folder}/cut{number}.jpg: {remarks.CUT_OFF}" for number in range(2)),
    ]
    assert findings.other_files == ["notes.txt"]
    assert findings.pictures == 5


def test_training_says_it_each_time_it_begins(folder: Path, tmp_path: Path, new_console: Callable[[], Console]) -> None:
    for _ in range(2):  # the second time it knows
        diptych.train(
            "colorize",
            data=folder,
            out=tmp_path / "run",
            size=32,
            steps=1,
            method={"width": 4},
            device="cpu",
            dry_run=True,
            console=(console := new_console()),
        )
        assert f"used as they are: {remarks.CUT_OFF}: cut0, cut1" in lines(console)
        assert f"used as they are: {remarks.FIRST_FRAME}: 0, 1" in lines(console)


@pytest.fixture
def new_console() -> Callable[[], Console]:
    return lambda: Console(file=io.StringIO(), width=300)


def test_libraries_say_nothing(tmp_path: Path) -> None:
    (folder := tmp_path / "pictures").mkdir()
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description" * 20
    for number, name in enumerate(("jpg", "png", "webp")):
        picture(number).save(folder / f"{number}.{name}", exif=exif.tobytes()[:-40])
    Image.new("1", (9600, 9600)).save(folder / "large.png")  # above the size at which Pillow warns of an attack
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "diptych",
        "data",
        "resize",
        folder,
        "--size",
        "16",
        "--out",
        tmp_path / "out",
    ]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.parametrize("channels", [2, 5])
def test_inspect_counts_pictures_of_any_number_of_channels(tmp_path: Path, channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 999, (48, 64, channels)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="minisblack", planarconfig="contig")
    findings = inspect(tmp_path)
    assert (findings.unreadable, findings.modes) == ([], {f"16-bit {channels} channels": 1})
