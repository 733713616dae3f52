"""What was looked at is remembered: unchanged files are not decoded again before a training, and no others are trusted."""

import os
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from torch import Tensor

from diptych.data.datasets import Dataset
from diptych.data.layouts import find_one
from diptych.data.loaders import CachedDataset
from diptych.data.looked_at import LookedAt
from diptych.data.paths import DataPaths
from diptych.images.size import Size
from diptych.kinds import DataKind
from diptych.train import train


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six files of 16x16, of equally many bytes; the last one is darker than all others."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(6):
        write(folder / f"{number}.bmp", 200 - 30 * number)
    return folder


def write(file: Path, level: int, width: int = 16) -> None:
    Image.fromarray(np.full((16, width, 3), level, np.uint8)).save(file)


def dark(picture: Tensor) -> str | None:
    return "dark" if picture.max() < 60 else None


def singles(folder: Path) -> Dataset:
    dataset = find_one(DataKind.IMAGES, DataPaths(folder), "train")
    assert dataset is not None
    return dataset


def look(dataset: Dataset, reason: Callable[[Tensor], str | None] = dark) -> tuple[int, list[str], str]:
    """How many pictures were decoded, which ones are left out, and what is said of the others."""
    decoded = list[int]()
    cached = CachedDataset(dataset, Size.square(8))
    left_out = cached.check(2, lambda _, of: decoded.append(of), reason, LookedAt(dataset, "key"))
    return len(decoded), [*left_out], cached.describe()


def test_a_second_look_is_none_and_finds_the_same(pictures: Path) -> None:
    first, again = look(singles(pictures)), look(singles(pictures))
    assert first == (6, ["5"], f"6 pictures in {pictures}, 16x16, 1 of them left out")
    assert again == (0, *first[1:])


def change_size(file: Path) -> None:
    before = file.stat()
    write(file, 10, width=24)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def change_time(file: Path) -> None:
    before = file.stat()
    write(file, 10)
    assert file.stat().st_size == before.st_size
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


@pytest.mark.parametrize("change", [change_size, change_time])
def test_a_file_that_has_changed_is_looked_at_again(pictures: Path, change: Callable[[Path], None]) -> None:
    look(singles(pictures))
    change(pictures / "2.bmp")
    assert look(singles(pictures))[:2] == (1, ["2", "5"])
    assert look(singles(pictures))[:2] == (0, ["2", "5"])


def test_new_files_are_looked_at_and_those_that_are_gone_are_forgotten(pictures: Path) -> None:
    look(singles(pictures))
    (pictures / "5.bmp").rename(pictures / "0a.bmp")
    assert look(singles(pictures))[:2] == (1, ["0a"])
    (pictures / "0a.bmp").rename(pictures / "5.bmp")
    assert look(singles(pictures))[:2] == (1, ["5"])


def test_a_damaged_file_is_named_at_every_start_and_the_others_are_known(pictures: Path) -> None:
    whole = (pictures / "3.bmp").read_bytes()
    (pictures / "3.bmp").write_bytes(whole[:100])
    for _ in range(2):
        with pytest.raises(ValueError, match=r"3\.bmp: damaged"):
            look(singles(pictures))
    (pictures / "3.bmp").write_bytes(whole)
    assert look(singles(pictures))[:2] == (1, ["5"])


def test_what_was_looked_at_before_an_interruption_is_known(pictures: Path) -> None:
    def interrupted(picture: Tensor) -> str | None:
        if picture.max() == 110:
            raise KeyboardInterrupt
        return dark(picture)

    with pytest.raises(KeyboardInterrupt):
        look(singles(pictures), interrupted)
    decoded, left_out, _ = look(singles(pictures))
    assert 1 <= decoded <= 3
    assert left_out == ["5"]


@pytest.mark.parametrize("fault", ["deleted", "emptied", "cut short", "another", "changed", "a folder"])
def test_a_damaged_memory_is_none(pictures: Path, cache: Path, fault: str) -> None:
    first = look(singles(pictures))
    [file] = cache.iterdir()
    if fault in ("deleted", "a folder"):
        file.unlink()
    if fault == "a folder":
        file.mkdir()
    data = b"" if fault in ("deleted", "a folder") else file.read_bytes()
    contents = {
        "emptied": b"",
        "cut short": data[:-9],
        "another": b"\xff\xfe\x00",
        "changed": data.replace(b"dark", b"dull"),
    }
    if fault in contents:
        file.write_bytes(contents[fault])
    assert look(singles(pictures)) == first
    assert look(singles(pictures))[0] == (6 if fault == "a folder" else 0)


def test_without_a_cache_every_start_looks(pictures: Path, cache: Path) -> None:
    cache.write_bytes(b"a file where the folder should be")
    assert [look(singles(pictures))[0] for _ in range(2)] == [6, 6]


def test_of_a_pair_both_files_count(tmp_path: Path) -> None:
    for side in "AB":
        (tmp_path / "pairs" / side).mkdir(parents=True)
        for number in range(3):
            write(tmp_path / "pairs" / side / f"{number}.bmp", 100)
    pairs = find_one(DataKind.PAIRED, DataPaths(tmp_path / "pairs"), "train")
    assert pairs is not None
    assert [look(pairs)[0] for _ in range(2)] == [3, 0]
    for side, decoded in (("A", 1), ("B", 1)):
        change_time(tmp_path / "pairs" / side / "1.bmp")
        assert look(pairs)[:2] == (decoded, ["1"])
        assert look(pairs)[:2] == (0, ["1"])


def test_pictures_that_share_a_file_are_always_looked_at(tmp_path: Path) -> None:
    np.save(tmp_path / "pictures.npy", np.full((4, 16, 16, 3), 100, np.uint8))
    assert [look(singles(tmp_path / "pictures.npy"))[0] for _ in range(2)] == [4, 4]


def test_each_half_of_a_picture_is_known_for_itself(pictures: Path) -> None:
    for number in range(6):
        write(pictures / f"{number}.bmp", 100, width=32)
    assert [len(said(pictures, "cyclegan")) for _ in range(2)] == [0, 2]


def said(pictures: Path, method: str, **settings: Any) -> list[str]:
    """What `train` says of pictures that are known."""
    console = Console(file=StringIO())
    given = {"size": 32, "steps": 1, "dry_run": True} | settings
    train(method, data=pictures, out=pictures.with_name("run"), console=console, **given)
    assert isinstance(console.file, StringIO)
    return [line for line in console.file.getvalue().splitlines() if "looked at before" in line]


def test_it_is_said_how_many_are_known(pictures: Path) -> None:
    known = ["6 of 6 pictures were looked at before and have not changed"]
    assert [said(pictures, "glcic") for _ in range(2)] == [[], known]
    write(pictures / "6.bmp", 90)
    assert said(pictures, "glcic") == [f"6 of 7{known[0].removeprefix('6 of 6')}; looking at 1"]


@pytest.mark.parametrize(
    "other",
    [
        {"size": 64},
        {"fit": "stretch"},
        {"channels_a": 1},
        {"bits_a": 16},
        {"load_scale": 1.5},
        {"method": "colorize", "fit": "crop"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_was_found_otherwise_is_not_taken(pictures: Path, other: dict[str, Any]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)  # no picture is grey
    for number in range(6):
        Image.fromarray(pixels).save(pictures / f"{number}.bmp")
    said(pictures, "glcic")
    assert said(pictures, **{"method": "glcic"} | other) == []
    assert len(said(pictures, "glcic")) == 1


def test_other_data_does_not_drive_it_out(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    write(tmp_path / "others/0.bmp", 100)
    for folder, lines in ((pictures, 0), (tmp_path / "others", 0), (pictures, 1), (tmp_path / "others", 1)):
        assert len(said(folder, "glcic")) == lines
