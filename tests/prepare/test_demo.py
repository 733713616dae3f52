"""The built-in sets as files: drawn anew by anyone, whole after a stop, and to be trained on by the command that is said."""

import io
import shlex
from pathlib import Path
from typing import Any, Literal

import pytest
from rich.console import Console

from diptych.cli import run
from diptych.data.builtin import facades, shapes
from diptych.data.paths import list_pictures
from diptych.images.files import decode
from diptych.prepare.demo import SETS, demo

Name = Literal["emoji", "facades", "shapes", "fields", "scans"]
NAMES: tuple[Name, ...] = ("facades", "shapes")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in list_pictures(folder)}


def quietly(name: Name, out: Path, **settings: Any) -> list[str]:
    """The lines that are said."""
    console = Console(file=io.StringIO(), width=1000)
    assert demo(name, out=out, console=console, **settings) == out
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_those_of_the_set(tmp_path: Path, name: Name) -> None:
    quietly(name, tmp_path / "out", size=16, train=6, val=2, seed=3)
    (facades if name == "facades" else shapes).write(tmp_path / "want", size=16, train=6, val=2, seed=3)
    assert files(tmp_path / "out") == files(tmp_path / "want")
    assert len(files(tmp_path / "out")) == 8


@pytest.mark.parametrize(
    ("name", "method", "size"),
    [
        ("emoji", "pix2pix", 32),
        ("facades", "pix2pix", 40),
        ("shapes", "colorize", 32),
        ("fields", "pix2pix", 40),
        ("scans", "pix2pix", 40),
    ],
)
def test_the_command_that_is_said_trains_on_them(tmp_path: Path, name: Name, method: str, size: int) -> None:
    *_, last = quietly(name, tmp_path / "my set", size=size, train=5, val=2)
    assert last.startswith("next: diptych train ")
    words = shlex.split(last.removeprefix("next: "))
    assert words[2:5] == [method, "--data", str(tmp_path / "my set")]
    assert ("BtoA" in words) == (name == "facades")
    assert words[words.index("--size") + 1] == "32"  # the U-Net's sizes are powers of two
    assert words[-2:] == ["--out", "runs/my set"]
    assert run([*words[1:], "--dry-run"]) == 0


@pytest.mark.parametrize("name", NAMES)
def test_numbers_that_nobody_gives_are_the_set_s_own(tmp_path: Path, name: Name) -> None:
    want = {"facades": (128, 200, 24), "shapes": (64, 500, 50)}[name]
    assert tuple(SETS[name].numbers.values()) == want
    lines = quietly(name, tmp_path / "out", train=1, val=0)
    assert lines[0] == f"{tmp_path / 'out'}: writing 1 + 0 pictures of the built-in {name}"
    (picture,) = list_pictures(tmp_path / "out")
    assert decode(picture).size[0] == want[0]


def test_the_same_call_goes_on_and_another_is_refused(tmp_path: Path) -> None:
    quietly("shapes", tmp_path, size=16, train=5, val=1)
    whole = files(tmp_path)
    (tmp_path / "train/leaf/shape-0001.png").unlink()
    quietly("shapes", tmp_path, size=16, train=5, val=1)
    assert files(tmp_path) == whole
    for other in ({"size": 32}, {"seed": 1}, {"train": 6}):
        with pytest.raises(ValueError, match="--out"):
            quietly("shapes", tmp_path, **{"size": 16, "train": 5, "val": 1, **other})
    with pytest.raises(ValueError, match="--out"):
        quietly("facades", tmp_path, size=16, train=5, val=1)
    assert files(tmp_path) == whole


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 15}, "--size 15: is too small; 16 or more is expected"),
        ({"train": 0}, "--train 0: is too small; 1 or more is expected"),
        ({"val": -1}, "--val -1: is too small; 0 or more is expected"),
    ],
)
def test_numbers_that_cannot_be_drawn_are_refused(tmp_path: Path, settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        demo("shapes", out=tmp_path / "out", **settings)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_folder_of_somebody_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ValueError, match="--out"):
        demo("facades", out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
