"""What is in a folder, said rightly; and a command that trains on it, which is tried."""

import io
import json
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from diptych.cli import run
from diptych.data import layouts
from diptych.data.builtin import facades, shapes
from diptych.data.paths import DataPaths
from diptych.files import LABEL
from diptych.images import files, numbers
from diptych.images.files import Array
from diptych.kinds import DataKind
from diptych.methods import METHODS
from diptych.methods.pix2pix import Pix2Pix
from diptych.prepare.inspect import Findings, inspect, show
from diptych.prepare.scan import CELL, scan_all, split_of


def colours(seed: int, height: int = 40, width: int = 40) -> Array:
    """Squares of colours like no other picture; the same ones at any size."""
    squares = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(squares).resize((width, height), Image.Resampling.NEAREST))


def draw(path: Path, seed: int = 0, height: int = 40, width: int = 40, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours(seed, height, width)).convert(mode).save(path)
    return path


def draw_all(folder: Path, *names: str, width: int = 40, first: int = 0) -> None:
    for seed, name in enumerate(names, start=first):
        draw(folder / name, seed, width=width)


def printed(findings: Findings) -> str:
    console = Console(file=io.StringIO(), width=80)
    show(findings, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# ---- counts, sizes, modes


def test_counts_sizes_and_modes(tmp_path: Path) -> None:
    draw(tmp_path / "train/a/1.png", 1, 40, 60)
    draw(tmp_path / "train/a/deep/2.png", 2, 40, 60)
    draw(tmp_path / "train/b/3.png", 3, 40, 60, "L")
    draw(tmp_path / "val/a/4.png", 4, 30, 20, "P")
    draw(tmp_path / "val/a/5.tif", 5, 50, 90, "CMYK")
    draw(tmp_path / "6.png", 6, 40, 60, "RGBA")
    draw(tmp_path / "7.png", 7, 90, 19, "1")
    Image.fromarray(np.arange(2400, dtype=np.uint16).reshape(40, 60)).save(tmp_path / "8.png")
    files.encode(files.Pixels(colours(9).astype(np.uint16) * 257), tmp_path / "9.png")
    draw(tmp_path / "ten.png", 10, 40, 60, "LA")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file()}
    findings = inspect(tmp_path, workers=3)
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before} == before
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before.keys()
    assert findings.pictures == 10
    assert findings.counts == {"train/a": 2, "train/b": 1, "val/a": 2, ".": 5}
    assert findings.sizes == {"60x40": 6, "20x30": 1, "40x40": 1, "19x90": 1, "90x50": 1}
    assert next(iter(findings.sizes)) == "60x40"  # the commonest first
    assert (findings.smallest, findings.largest) == ("20x30", "90x50")
    assert findings.modes == {
        "RGB": 2,
        "grey": 1,
        "palette": 1,
        "CMYK": 1,
        "RGB with alpha": 1,
        "black and white": 1,
        "16-bit grey": 1,
        "16-bit RGB": 1,
        "grey with alpha": 1,
    }


def test_grey_saved_in_colour_is_counted(tmp_path: Path) -> None:
    for seed in range(3):
        grey = np.asarray(Image.fromarray(colours(seed)).convert("L"))
        Image.fromarray(np.repeat(grey[..., None], 3, axis=-1)).save(tmp_path / f"{seed}.jpg")
    draw(tmp_path / "3.jpg", 3)
    draw(tmp_path / "4.jpg", 4, mode="L")  # and saved as such
    findings = inspect(tmp_path)
    assert (findings.grey_in_colour, findings.modes) == (3, {"RGB": 4, "grey": 1})
    assert "saved in colour, but grey: 3\n" in printed(findings)


def test_colour_is_found_in_large_pictures_too(tmp_path: Path) -> None:
    values = np.full((700, 900, 3), 128, np.uint8)
    values[300:400, 300:400, 0] = 200
    Image.fromarray(values).save(tmp_path / "a.png")
    values[300:400, 300:400, 0] = 128
    Image.fromarray(values).save(tmp_path / "b.png")
    assert inspect(tmp_path).grey_in_colour == 1


# ---- what is wrong


def test_bad_files_are_named_each_with_its_reason(tmp_path: Path) -> None:
    draw_all(tmp_path, "a.png", "with space.png", "new\nline.png", "Ünï/日本.WebP")
    (tmp_path / "0.png").touch()
    (tmp_path / "b.jpg").write_text("no picture")
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes()[:100])
    (tmp_path / "Ünï/loop.png").symlink_to(tmp_path / "Ünï/loop.png")
    (tmp_path / "Ünï/self").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "Ünï/setup.PY").touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").touch()
    findings = inspect(tmp_path)
    assert findings.pictures == 4
    want = ("0.png: the file is empty", "b.jpg: not a picture", "c.png: damaged", "Ünï/loop.png: cannot be read")
    assert len(findings.unreadable) == 4
    for line, beginning in zip(findings.unreadable, want, strict=True):
        assert line.startswith(f"{tmp_path}/{beginning}")
    assert findings.other_files == ["notes.txt", "Ünï/setup.PY"]
    assert findings.notes == [
        "what cannot be read (4 files) stops a training: repair or remove it",
        f"left out: {tmp_path}/Ünï/self (another way to {tmp_path})",
    ]


def test_same_stems_are_named(tmp_path: Path) -> None:
    draw_all(tmp_path, "a.png", "a.jpg", "a b.png", "x/a.png", "x/a.webp", "x/b.png")
    findings = inspect(tmp_path)
    assert findings.same_stems == [["a.jpg", "a.png"], ["x/a.png", "x/a.webp"]]
    assert (findings.methods, findings.command) == ([], None)
    assert findings.reason == "names that differ in their suffixes only are refused: rename one of each"
    (tmp_path / "a.png").unlink()
    (tmp_path / "x/a.webp").write_bytes(b"not to be read, but in the way")
    assert inspect(tmp_path).same_stems == [["x/a.png", "x/a.webp"]]


def test_near_duplicates_and_leaks_are_named(tmp_path: Path) -> None:
    draw_all(tmp_path, "train/a.png", "train/b.png", "train/c.png", "val/d.png", "test/e.png")
    draw(tmp_path / "train/a again.png", 0, 80, 80)
    draw(tmp_path / "elsewhere/c.png", 2)  # neither train nor val
    findings = inspect(tmp_path)
    harmless = [["elsewhere/c.png", "train/c.png"], ["train/a again.png", "train/a.png"]]
    assert (findings.duplicates, findings.leaks, findings.notes) == (harmless, [], [])
    draw(tmp_path / "val/b.jpg", 1, 56, 56)
    draw(tmp_path / "test/b small.png", 1, 32, 32)
    findings = inspect(tmp_path)
    assert findings.duplicates == [
        ["elsewhere/c.png", "train/c.png"],
        ["test/b small.png", "train/b.png", "val/b.jpg"],
        ["train/a again.png", "train/a.png"],
    ]
    assert findings.leaks == findings.duplicates[1:2]
    assert findings.notes == [
        "val and test hold pictures of train: `diptych data split` keeps near-duplicates on one side"
    ]
    assert "  test/b small.png, train/b.png, val/b.jpg\n" in printed(findings)


@pytest.mark.parametrize(
    "places",
    [
        ("train/A", "train/B", "val/A", "val/B"),
        ("A/train", "B/train", "A/val", "B/val"),
        ("x/train", "y/train", "x/val", "y/val"),
    ],
)
def test_pairs_leak_when_both_sides_do(tmp_path: Path, places: tuple[str, str, str, str]) -> None:
    train_a, train_b, val_a, val_b = places
    for number in range(4):
        draw(tmp_path / train_a / f"{number}.png", number)
        draw(tmp_path / train_b / f"{number}.png", 100)
        draw(tmp_path / val_a / f"{number}.png", number + 3)
        draw(tmp_path / val_b / f"{number}.png", 100)
    draw(tmp_path / val_a / "other b.png", 1)
    draw(tmp_path / val_b / "other b.png", 101)
    findings = inspect(tmp_path)
    assert findings.leaks == findings.duplicates == [[f"{train_a}/3.png", f"{val_a}/0.png"]]


def test_a_split_is_known_by_its_two_uppermost_folders() -> None:
    names = ("train/1.png", "A/Valid/1.png", "testB/x/1.png", "a/b/train/1.png", "train.png", "horses/1.png")
    assert [split_of(Path("in", name), Path("in")) for name in names] == ["train", "val", "test", None, None, None]


# ---- what fits, and the command


def side_by_side(folder: Path) -> None:
    draw_all(folder, "train/1.png", "train/2.jpg", "val/3.png", width=80)


def by_stem(folder: Path, *places: str) -> None:
    for seed, place in enumerate(places):
        draw_all(folder, *(f"{place}/{number}.png" for number in range(3)), first=10 * seed)


def horses_and_zebras(folder: Path) -> None:
    draw_all(folder, "horses/1.png", "horses/2.png", "zebras/2.png", "zebras/3.png", "zebras/4.png")


def missing_partner(folder: Path) -> None:
    by_stem(folder, "A", "B")
    (folder / "B/1.png").unlink()


Make = Callable[[Path], None]
FITS: dict[str, tuple[Make, str, str, tuple[str, ...]]] = {
    "side by side": (side_by_side, "pix2pix", "3 pictures, all twice as wide as tall: side-by-side pairs", ("",)),
    "A + B": (lambda f: by_stem(f, "A", "B"), "pix2pix", "3 pairs of two files with the same stem", ("",)),
    "trainA + trainB": (
        lambda f: by_stem(f, "trainA", "trainB", "testA", "testB"),
        "pix2pix",
        "6 pairs of two files with the same stem",
        ("",),
    ),
    "pairs of any names": (
        lambda f: by_stem(f, "photos", "maps"),
        "pix2pix",
        "3 pairs of two files with the same stem, A is maps, B is photos",
        ("/maps", "/photos"),
    ),
    "two of any names": (
        horses_and_zebras,
        "cyclegan",
        "two sets without partners: A is horses (2), B is zebras (3)",
        ("",),
    ),
    "a missing partner": (missing_partner, "cyclegan", "two sets without partners: A is A (3), B is B (2)", ("",)),
    "train + val, any names": (
        lambda f: by_stem(f, "train/x", "train/y", "val/x", "val/y"),
        "pix2pix",
        "6 pairs of two files with the same stem, A is train/x, B is train/y",
        ("",),
    ),
    "partners by suffix in one folder": (
        lambda f: draw_all(f, "1_photo.png", "1_map.png", "2_photo.png", "2_map.png"),
        "pix2pix",
        "2 pairs of two files whose names differ, A is *_map, B is *_photo",
        ("",),
    ),
    "partners by suffix in two folders": (
        lambda f: draw_all(f, "images/1.png", "masks/1_mask.png", "images/2.png", "masks/2_mask.png"),
        "pix2pix",
        "2 pairs of two files whose names differ, A is images/*, B is masks/*_mask",
        ("/images", "/masks"),
    ),
    "single pictures": (
        lambda f: draw_all(f, "1.png", "2.png"),
        "colorize",
        "2 single pictures, 2 of them in colour",
        ("",),
    ),
    "classes": (
        lambda f: shapes.write(f, size=40, train=10, val=5),
        "colorize",
        "15 single pictures, 15 of them in colour",
        ("",),
    ),
    "built-in facades": (
        lambda f: facades.write(f, size=40, train=2, val=1),
        "pix2pix",
        "3 pictures, all twice as wide as tall: side-by-side pairs",
        ("",),
    ),
}


@pytest.mark.parametrize("layout", FITS)
def test_what_fits_is_said_and_the_command_trains_it(tmp_path: Path, layout: str) -> None:
    make, method, reason, places = FITS[layout]
    folder = tmp_path / "my $data"
    make(folder)
    findings = inspect(folder)
    assert (findings.methods[0], findings.reason) == (method, reason)
    assert findings.command is not None
    words = shlex.split(findings.command)
    assert words[:3] == ["diptych", "train", method]
    given = [word for word in words if word.startswith(str(folder))]
    assert given == [f"{folder}{place}" for place in places]
    assert ("--direction" in words) == (method == "pix2pix")
    assert words[-2] == "--out"
    assert words[-1].startswith("runs/")
    assert run([*words[1:], "--dry-run"]) == 0
    text = printed(findings)
    assert text.splitlines()[-1] == findings.command
    assert f"fits {' and '.join(findings.methods)}: {reason}\n" in text


def test_a_direction_is_to_be_chosen_and_a_missing_partner_to_be_added(tmp_path: Path) -> None:
    by_stem(tmp_path, "A", "B")
    assert inspect(tmp_path).notes == ["AtoB makes B from A, BtoA makes A from B: choose the --direction that you need"]
    (tmp_path / "B/1.png").unlink()
    assert inspect(tmp_path).notes == ["2 stems of A and B are the same: if they are pairs, add the missing partners"]
    draw_all(tmp_path / "wide", "1.png", width=80)
    assert inspect(tmp_path / "wide").notes == [
        "AtoB makes the right half from the left one, BtoA the left from the right: choose the --direction"
    ]


def test_the_run_is_called_like_the_folder_from_inside_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_all(tmp_path / "faces", "1.png")
    monkeypatch.chdir(tmp_path / "faces")
    assert inspect(".").command == "diptych train colorize --data . --size 32 --out runs/faces"


def test_almost_twice_as_wide_is_no_pair(tmp_path: Path) -> None:
    draw_all(tmp_path, "1.png", "2.png", width=80)
    assert inspect(tmp_path).methods == ["pix2pix"]
    draw(tmp_path / "3.png", 3, 40, 82)
    assert inspect(tmp_path).methods == ["colorize", "glcic"]


def test_grey_pictures_alone_have_no_colours_to_teach(tmp_path: Path) -> None:
    draw(tmp_path / "1.png", 1, mode="L")
    draw(tmp_path / "2.png", 2)
    findings = inspect(tmp_path)
    assert findings.methods == ["glcic"]
    assert "fits glcic: 2 single pictures, 1 of them in colour: too few to learn colours from\n" in printed(findings)
    draw(tmp_path / "3.png", 3)
    assert inspect(tmp_path).methods == ["colorize", "glcic"]


def test_new_methods_are_named_by_what_they_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_all(tmp_path, "train/cat/1.png", "train/dog/2.png", "train/owl/3.png")
    monkeypatch.setitem(METHODS, "inpaint", type("Inpaint", (Pix2Pix,), {"data": DataKind.IMAGES}))
    findings = inspect(tmp_path)
    assert findings.methods == ["colorize", "glcic", "inpaint"]
    [note] = findings.notes
    assert note.startswith("its 3 folders may be classes, of which cgan draws more: diptych train cgan --data ")
    assert run([*shlex.split(note.partition(": ")[2])[1:], "--dry-run"]) == 0
    assert "fits colorize and glcic and inpaint: " in printed(findings)
    (tmp_path / "train/dog/2.png").rename(tmp_path / "train/cat/2.png")
    (tmp_path / "train/owl/3.png").rename(tmp_path / "3.png")
    assert inspect(tmp_path).notes == []  # one class is none
    draw_all(tmp_path / "in splits", "train/1.png", "val/2.png")
    assert inspect(tmp_path / "in splits").notes == []


def test_records_are_counted(tmp_path: Path, write_tfrecord: Any) -> None:
    picture = io.BytesIO()
    Image.fromarray(colours(0, 64, 64)).save(picture, "PNG")
    records = [{"image": picture.getvalue()}] * 2
    for name in ("monet", "photo"):
        write_tfrecord(tmp_path / f"in/{name}_tfrec/{name}.tfrec", records)
    findings = inspect(tmp_path / "in")
    assert (findings.pictures, findings.records, findings.other_files) == (0, 4, [])
    assert findings.methods == ["cyclegan", "cut"]
    assert "4 pictures in TFRecord or idx files, counted and not looked at\n" in printed(findings)
    # As Kaggle has them: four folders, of which two hold records.
    draw_all(tmp_path / "in", "monet_jpg/1.jpg", "photo_jpg/2.jpg", "photo_jpg/3.jpg")
    (tmp_path / "in/photo_tfrec/broken.tfrec").write_bytes(b"no record")
    assert (
        inspect(tmp_path / "in").methods == []
    )  # single pictures with records among them are refused by training, too
    (tmp_path / "in/photo_tfrec/broken.tfrec").unlink()
    findings = inspect(tmp_path / "in")
    assert findings.reason == "two sets without partners: A is monet_tfrec (2), B is photo_tfrec (2)"
    assert findings.command is not None
    assert run([*shlex.split(findings.command)[1:], "--dry-run"]) == 0


def test_classes_that_are_called_as_sides_are_noted(tmp_path: Path) -> None:
    draw_all(tmp_path, *(f"{name}/{number}.png" for name in "ABC" for number in range(2)))
    assert any(note.startswith("its 3 folders may be classes") for note in inspect(tmp_path).notes)


def test_idx_files_are_counted(tmp_path: Path, write_idx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the command names a run below the folder that it is given in
    for name, count in (("train", 3), ("t10k", 2)):
        write_idx(tmp_path / "digits", np.zeros((count, 28, 28)), range(count), name)
    findings = inspect(tmp_path / "digits")
    assert (findings.pictures, findings.records, findings.other_files) == (0, 5, [])
    assert (findings.methods, findings.notes) == (["cgan"], [])
    assert "5 pictures in TFRecord or idx files, counted and not looked at\n" in printed(findings)
    assert findings.command is not None
    assert run([*shlex.split(findings.command)[1:], "--dry-run"]) == 0
    file = tmp_path / "digits/t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    findings = inspect(tmp_path / "digits")
    assert (findings.records, [line.split(":")[0] for line in findings.unreadable]) == (3, [str(file)])


def test_a_broken_record_file_is_named(tmp_path: Path, write_tfrecord: Any) -> None:
    write_tfrecord(tmp_path / "one.tfrec", [{"image": b"?"}])
    (tmp_path / "two.tfrec").write_bytes(b"no record")
    findings = inspect(tmp_path)
    assert (findings.records, findings.methods) == (1, [])
    assert [line.split(":")[0] for line in findings.unreadable] == [f"{tmp_path / 'two.tfrec'}, record 0"]


# ---- the new folder


def test_without_out_nothing_is_written_and_with_it_a_montage_and_the_findings(tmp_path: Path) -> None:
    draw_all(tmp_path / "in", "1.png", "2 ä\n.png")
    (tmp_path / "in/3.png").touch()
    findings = inspect(tmp_path / "in", out=tmp_path / "out")
    assert findings == inspect(tmp_path / "in")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"montage.png", "inspect.json", LABEL}
    assert Findings(**json.loads((tmp_path / "out/inspect.json").read_text(encoding="utf-8"))) == findings
    written = (tmp_path / "out/montage.png").read_bytes()
    draw(tmp_path / "in/4.png", 4)
    assert inspect(tmp_path / "in", out=tmp_path / "out").pictures == 3  # the same call again looks again
    assert (tmp_path / "out/montage.png").read_bytes() != written


def test_the_montage_keeps_shapes_on_square_cells(tmp_path: Path) -> None:
    for number, (height, width) in enumerate([(40, 80), (90, 30), (300, 300)]):
        Image.new("RGB", (width, height), (200, 0, 0)).save(tmp_path / f"{number}.png")
    inspect(tmp_path, out=tmp_path.parent / "out")
    sheet = np.asarray(Image.open(tmp_path.parent / "out/montage.png"))
    assert sheet.shape == (CELL, 3 * CELL + 4, 3)
    for column, (height, width) in enumerate([(64, 128), (128, 43), (128, 128)]):
        cell = sheet[:, column * (CELL + 2) : column * (CELL + 2) + CELL]
        red = (cell == (200, 0, 0)).all(axis=-1)
        rows, columns = np.nonzero(red)
        assert [np.ptp(rows) + 1, np.ptp(columns) + 1] == [height, width]
        assert abs(rows.mean() - (CELL - 1) / 2) <= 0.5
        assert abs(columns.mean() - (CELL - 1) / 2) <= 0.5
        assert (cell[~red] == 255).all()


def test_the_montage_is_spread_over_all_pictures(tmp_path: Path) -> None:
    for number in range(130):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (0, 0, number)).save(tmp_path / "in" / f"{number:03d}.png")
    inspect(tmp_path / "in", out=tmp_path / "out")
    sheet = np.asarray(Image.open(tmp_path / "out/montage.png"))
    assert sheet.shape == (8 * (CELL + 2) - 2, 8 * (CELL + 2) - 2, 3)
    middles = sheet[CELL // 2 :: CELL + 2, CELL // 2 :: CELL + 2, 2].flatten().astype(int)
    assert len(set(middles)) == 64
    assert (np.diff(middles) > 0).all()
    assert (np.abs(middles - np.arange(64) * 130 / 64) <= 3).all()
    inspect(tmp_path / "in", out=tmp_path / "again")
    assert (tmp_path / "again/montage.png").read_bytes() == (tmp_path / "out/montage.png").read_bytes()


def test_what_cannot_be_inspected_is_refused(tmp_path: Path) -> None:
    draw_all(tmp_path / "in", "1.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.txt").touch()
    for folder, out, message in (
        ("nowhere", "out", "nowhere: is not there, or no folder; a folder of pictures is expected"),
        ("in/1.png", "out", "1.png: is not there, or no folder"),
        ("empty", "out", "empty: no pictures found"),
        ("in", "in/out", "out: lies inside .*in, which is only read"),
        ("in", "other", "other: exists and was not made by this command"),
    ):
        with pytest.raises(ValueError, match=message):
            inspect(tmp_path / folder, out=tmp_path / out)
    assert not (tmp_path / "out").exists()


# ---- in the terminal


def test_long_lists_are_cut_and_every_entry_is_a_line(tmp_path: Path) -> None:
    draw(tmp_path / "1.png")
    names = [f"other {number}\nfile [red].txt" for number in range(13)]
    for name in names:
        (tmp_path / name).touch()
    findings = replace(inspect(tmp_path), sizes={f"{n}x9": 2 for n in range(11)}, smallest="0x9", largest="10x9")
    lines = printed(findings).splitlines()
    start = lines.index("files that are no pictures: 13")
    assert lines[start + 1] == "  other 0\\nfile [red].txt"
    assert lines[start + 10].startswith("  other ")
    assert lines[start + 11] == "  and 3 more"
    sizes = next(line for line in lines if line.startswith("sizes: "))
    assert sizes.startswith("sizes: 0x9 (2), 1x9 (2), ")
    assert sizes.endswith(", 9x9 (2), and 1 more")
    assert "the smallest 0x9, the largest 10x9" in lines


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_need_not_be_unicode(tmp_path: Path) -> None:
    draw(tmp_path / "in/plain.png").rename(tmp_path / "in" / os.fsdecode(b"caf\xe9.png"))
    (tmp_path / "in" / os.fsdecode(b"\xff.txt")).touch()
    findings = inspect(tmp_path / "in", out=tmp_path / "out")
    assert json.loads((tmp_path / "out/inspect.json").read_text()) == asdict(findings)
    assert "  \\udcff.txt\n" in printed(findings)


# ---- one look


def test_each_file_is_decoded_once_and_the_number_of_workers_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_all(tmp_path, *(f"{number}.png" for number in range(9)))
    (tmp_path / "5.png").touch()
    decode, decoded = files.decode, list[Path]()

    def counted(path: Path, **_: Any) -> files.Pixels:
        decoded.append(path)
        return decode(path)

    monkeypatch.setattr(numbers, "decode", counted)
    one = inspect(tmp_path, workers=1)
    assert sorted(decoded) == sorted(tmp_path.glob("*.png"))
    assert inspect(tmp_path, workers=4) == one


def test_the_bar_counts_and_torch_adds_no_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_all(tmp_path, "1.png", "2.png")
    threads = []
    decode = files.decode

    def counted(path: Path, **_: Any) -> files.Pixels:
        threads.append(torch.get_num_threads())
        return decode(path)

    monkeypatch.setattr(numbers, "decode", counted)
    screen = io.StringIO()
    torch.set_num_threads(2)
    try:
        looks, problems = scan_all(sorted(tmp_path.iterdir()), 2, Console(file=screen, force_terminal=True, width=90))
    finally:
        torch.set_num_threads(1)
    assert "looking at every picture" in screen.getvalue()
    assert "2/2" in screen.getvalue()
    assert (len(looks), problems, threads) == (2, [], [1, 1])
    assert all(look.cell is None for look in looks.values())


def test_what_is_not_plain_about_places_is_noted(tmp_path: Path) -> None:
    draw_all(tmp_path, "photos/x.png", "photos/X.png", "code/docs/1.png", "runs/a/samples/1.png")
    (tmp_path / "code/.git").mkdir()
    (tmp_path / "runs/a/settings.toml").touch()
    (tmp_path / "more").symlink_to(tmp_path / "nowhere")
    notes = inspect(tmp_path).notes
    assert (
        "photos/X.png and photos/x.png are one file on disks of Windows and macOS: rename one before copying" in notes
    )
    assert (
        f"{tmp_path / 'code'} is a repository (.git), and 1 picture in it is read too; move it if it is code" in notes
    )
    line = next(note for note in notes if note.startswith("left out: "))
    assert f"{tmp_path / 'runs/a'} (a run, for it has a settings.toml)" in line
    assert f"{tmp_path / 'more'} (a link to nothing)" in line
    with pytest.raises(ValueError, match=r"it is the folder of a run, for it has a settings.toml: give a folder"):
        inspect(tmp_path / "runs/a")


def test_arrays_are_not_called_no_pictures(tmp_path: Path) -> None:
    np.save(tmp_path / "train.npy", np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8))
    with pytest.raises(ValueError, match=r"holds an array of 4 pictures, .*training reads it: ") as caught:
        inspect(tmp_path)
    assert run([*shlex.split(str(caught.value).partition("diptych ")[2]), "--size", "32", "--dry-run"]) == 0


def test_partners_that_differ_in_case_alone_are_named(tmp_path: Path) -> None:
    draw_all(tmp_path, "A/x.PNG", "B/X.png", "A/y.png", "B/y.png")
    assert run(["train", "pix2pix", "--data", str(tmp_path), "--out", str(tmp_path / "run"), "--dry-run"]) == 2
    with pytest.raises(
        ValueError, match=r"has no partner named 'x' .*'X' differs by upper and lower case, which counts: rename"
    ):
        layouts.find(DataKind.PAIRED, DataPaths(tmp_path), "train")


def test_no_command_is_named_that_is_refused(tmp_path: Path) -> None:
    for side in "AB":
        draw_all(tmp_path / "test" / side, f"{side}1.png", f"{side}2.png")
    findings = inspect(tmp_path)
    assert "has no train folder, only test" in findings.reason
    assert "diptych train" not in printed(findings)
