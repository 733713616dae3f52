"""What is not read is counted and named by suffix, in one line, by every command; where nothing is, the remedy is said."""

import io
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from PIL import Image

from diptych.cli import run as command
from diptych.data import unread
from diptych.images.files import SUFFIXES

CASES = st.sampled_from([str.lower, str.upper, str.title])


@given(
    names=st.lists(
        st.tuples(st.sampled_from(["a", "x y", "deep/er", "1.png"]), st.sampled_from(unread.PICTURES), CASES)
    )
)
def test_each_is_counted_by_its_suffix_in_any_case(
    tmp_path_factory: pytest.TempPathFactory, names: list[tuple[str, str, Callable[[str], str]]]
) -> None:
    folder = tmp_path_factory.mktemp("pictures")
    want = Counter[str]()
    for number, (name, suffix, case) in enumerate(names):
        file = folder / f"{number} {name}{case(suffix)}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        want[suffix] += 1
    for name in ("a.jpg", "b.txt", "Thumbs.db", "._c.psd", "README", "settings.json"):
        (folder / name).touch()
    line = unread.describe([folder, folder])
    assert {part for part in line.removeprefix("left out: ").split(" (")[0].split(", ") if part} == {
        f"{count} {suffix}" for suffix, count in want.items()
    }
    assert "\n" not in line


def test_what_is_read_is_not_what_is_left_out() -> None:
    assert not set(unread.PICTURES) & set(SUFFIXES)
    assert not set(unread.MANY) & {*SUFFIXES, *unread.PICTURES}


def test_links_that_are_not_followed_are_named_and_many_counted(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    for number in range(5):
        (tmp_path / f"also{number}").symlink_to("cat")
    line = unread.describe([tmp_path, tmp_path / "no folder"])
    assert line.startswith(f"left out: {tmp_path / 'also0'} (another way to {tmp_path / 'cat'}), ")
    assert line.endswith(f"{tmp_path / 'cat'}), and 2 more")


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Pictures, and what is not read beside them."""
    for number in range(6):
        for split in ("train", "val"):
            picture = tmp_path / "mixed" / split / f"{number}.png"
            picture.parent.mkdir(parents=True, exist_ok=True)
            levels = np.random.default_rng([number, len(split)]).integers(0, 256, (32, 64, 3), np.uint8)
            Image.fromarray(levels).save(picture)
            picture.with_suffix(".PSD").touch()
    (tmp_path / "mixed/train/drawing.svg").touch()
    return tmp_path / "mixed"


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    [line] = [line for line in (out + err).splitlines() if "left out: " in line]
    return line


def test_every_command_says_what_it_leaves_out(
    mixed: Path, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = "left out: 6 .psd, 1 .svg"
    train = ["--out", str(tmp_path / "none"), "--size", "32", "--steps", "2", "--method.width", "2", "--device", "cpu"]
    assert command(["train", "pix2pix", "--data", str(mixed), *train, "--dry-run"]) == 0
    assert some in one_line(capsys)
    assert command(["translate", str(tiny_run), str(mixed / "train"), "--out", str(tmp_path / "translated")]) == 0
    assert some in one_line(capsys)
    run = shutil.copytree(tiny_run, tmp_path / "run")
    assert command(["evaluate", str(run), "--data", str(mixed), "--metrics", "l1", "--device", "cpu"]) == 0
    assert "left out: 6 .psd (" in one_line(capsys)
    given = ["--real", str(mixed / "train"), "--fake", str(mixed / "train"), "--metrics", "l1", "--device", "cpu"]
    assert command(["evaluate", *given]) == 0
    assert some in one_line(capsys)
    assert command(["data", "inspect", str(mixed)]) == 0
    assert "left out: 12 .psd, 1 .svg" in one_line(capsys)
    pictures_alone = shutil.ignore_patterns("*.[pP][sS][dD]", "*.svg")
    partners = shutil.copytree(mixed / "train", tmp_path / "partners", ignore=pictures_alone)
    for tool, *more in (
        ("resize", "--size", "16"),
        ("grayscale",),
        ("split", "--val", "0.2"),
        ("pack", "--size", "16"),
        ("combine", str(partners)),
    ):
        out = tmp_path / ("packed.npy" if tool == "pack" else tool)
        assert command(["data", tool, str(mixed / "train"), *more, "--out", str(out)]) == 0
        assert some in one_line(capsys)


def test_nothing_is_said_where_nothing_is_left_out(
    tiny_pairs: Path, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = next((tiny_pairs / "val").iterdir())
    for source in (tiny_pairs / "val", picture):
        out = tmp_path / (source.name if source == picture else "folder")
        assert command(["translate", str(tiny_run), str(source), "--out", str(out)]) == 0
    assert [line[:10] for line in capsys.readouterr().err.splitlines()] == ["B -> A, 2 ", "B -> A, 1 "]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("1.psd", "1 .psd are not read"),
        ("photos.ZIP", "photos.ZIP: unpack it"),
        ("sub/photos.tar.gz", "photos.tar.gz: unpack it"),
        ("train-00000-of-00001.parquet", "save its pictures as files"),
        ("faces.pkl", "may run a program"),
        ("faces.h5", "save its pictures as files"),
    ],
)
def test_where_nothing_is_read_it_is_said_what_is_there(
    tmp_path: Path, tiny_run: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    file = tmp_path / "data" / name
    file.parent.mkdir(parents=True)
    file.touch()
    for line in (
        ["train", "pix2pix", "--data", str(tmp_path / "data"), "--out", "none"],
        ["train", "colorize", "--data", str(tmp_path / "data"), "--out", "none"],
        ["train", "cgan", "--data", str(tmp_path / "data"), "--out", "none"],
        ["data", "inspect", str(tmp_path / "data")],
        ["translate", str(tiny_run), str(tmp_path / "data"), "--out", str(tmp_path / "out")],
    ):
        assert command(line) == 2
        [said] = capsys.readouterr().err.splitlines()
        assert words in said
        assert len(said) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("method", ["pix2pix", "cyclegan", "colorize", "cgan"])
@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "x.parquet", "data_batch.pkl"])
def test_a_file_that_is_given_as_data_gets_its_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, method: str
) -> None:
    (tmp_path / name).write_bytes(b"PK")
    for line in (
        ["train", method, "--data", str(tmp_path / name), "--out", "none"],
        ["data", "inspect", str(tmp_path / name)],
    ):
        assert command(line) == 2
        [said] = capsys.readouterr().err.splitlines()
        assert said.endswith(unread.remedy(tmp_path / name))


def start_of(format: str) -> bytes:
    """A small picture file."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)).save(file, format)
    return file.getvalue()


def dry(method: str, data: Path) -> list[str]:
    width = [] if method == "cgan" else ["--method.width", "2"]
    more = ["--out", "none", "--size", "32", "--steps", "2", *width, "--device", "cpu", "--dry-run"]
    return ["train", method, "--data", str(data), *more]


@pytest.mark.parametrize(
    ("name", "format", "words"),
    [
        ("n000001", "JPEG", "1 JPEG without a suffix"),
        ("n02.0001", "PNG", "1 PNG without a suffix"),
        ("x.jpg_large", "JPEG", "1 JPEG .jpg_large"),
        ("x.jpg!d", "JPEG", "1 JPEG .jpg!d"),
        ("x.jpg?w=600", "JPEG", "1 JPEG .jpg?w"),
        ("x.jpg ", "JPEG", '1 JPEG ".jpg "'),
        ("x.webp_", "WEBP", "1 WEBP .webp_"),
        ("x.dat", "TIFF", "1 TIFF .dat"),
        ("x.dat", "BMP", "1 BMP .dat"),
        ("x.dib", "BMP", "1 .dib ("),
        ("x.rgb", "SGI", "1 .rgb ("),
        ("x.jpg.crdownload", "JPEG", "1 .crdownload (half downloaded"),
        ("part2.zip", "JPEG", "1 .zip (not unpacked"),
        ("x.mp4", "JPEG", "1 .mp4 (videos"),
        ("x.npy", "JPEG", "1 .npy (not read beside pictures"),
    ],
)
def test_pictures_whose_names_do_not_say_so_are_said_by_their_content(
    tmp_path: Path, name: str, format: str, words: str
) -> None:
    (tmp_path / "1.png").touch()
    (tmp_path / name).write_bytes(start_of(format))
    assert unread.describe([tmp_path]).startswith(f"left out: {words}")


def test_texts_and_arrays_of_their_own_are_not_said(tmp_path: Path) -> None:
    for name in ("README", "BMI", "labels", "1.txt", "captions.jsonl"):
        (tmp_path / name).write_text("BM of two letters begins a text too")
    (tmp_path / "arrays").mkdir()
    (tmp_path / "arrays/1.npy").touch()
    (tmp_path / "1.png").touch()
    assert unread.describe([tmp_path]) == ""


def test_a_large_folder_is_looked_at_in_part_and_counted_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3 * unread.LOOKED_AT):
        (tmp_path / str(number)).write_bytes(start_of("PNG"))
    opened = list[str]()

    def noted(path: str) -> str:
        opened.append(path)
        return "PNG"

    monkeypatch.setattr(unread, "_kind", noted)
    assert unread.describe([tmp_path]).startswith(f"left out: {3 * unread.LOOKED_AT} PNG without a suffix")
    assert len(opened) == unread.LOOKED_AT


def test_classes_that_vanish_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("ape/1.png", "cat/1.png", "dog/1.png", "owl/1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(start_of("PNG"))
    (tmp_path / "horse").mkdir()
    (tmp_path / "emu").symlink_to("nowhere/emu")
    assert command(dry("cgan", tmp_path)) == 0
    said = one_line(capsys)
    assert "1 PNG without a suffix" in said
    for missing in ("horse", "owl"):
        assert f"{tmp_path / missing} (no class" in said
    assert f"{tmp_path / 'emu'} (a link to nowhere)" in said


def test_a_folder_of_pictures_without_suffixes_is_refused_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        (tmp_path / f"n{number}").write_bytes(start_of("JPEG"))
    assert command(dry("colorize", tmp_path)) == 2
    [said] = capsys.readouterr().err.splitlines()
    assert "3 JPEG without a suffix" in said
    assert "give them the suffix of their format" in said
