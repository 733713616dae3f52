"""A submission is what Kaggle takes, or the reason why not."""

import io
import re
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from diptych import cli
from diptych.data.loaders import CachedDataset
from diptych.model import Model, load
from diptych.submit import check, submit
from diptych.training.run import Run

Train = Callable[..., Run]
submit_file = import_module("diptych.submit")  # `diptych.submit` is the function


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three to twelve pictures stand for 7,000 to 10,000."""
    assert submit_file.COUNT == (7_000, 10_000)
    assert submit_file.SIZE == 256
    monkeypatch.setattr(submit_file, "COUNT", (3, 12))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return draw(tmp_path / "photos", 10)


def draw(folder: Path, count: int, size: tuple[int, int] = (256, 256)) -> Path:
    folder.mkdir()
    for number in range(count):
        values = np.random.default_rng(number).integers(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(values).save(folder / f"photo {number}.png")
    return folder


def quietly(run: Path, data: Path, out: Path, **more: Any) -> str:
    console = Console(file=io.StringIO(), width=1000)
    submit(run, data=data, out=out, device="cpu", console=console, **more)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_zip_is_what_kaggle_takes(two_way_run: Path, photos: Path, tmp_path: Path) -> None:
    told = quietly(two_way_run, photos, tmp_path / "images.zip", direction="AtoB")
    assert "A -> B" in told
    assert told.endswith("images.zip: ready: 10 JPEGs of 256 x 256, read back from the zip\n")
    model = load(two_way_run, direction="AtoB", device="cpu")
    with zipfile.ZipFile(tmp_path / "images.zip") as archive:
        assert archive.namelist() == [f"{number:05d}.jpg" for number in range(1, 11)]
        for number, name in enumerate(archive.namelist()):
            with Image.open(archive.open(name)) as painting:
                assert (painting.format, painting.size, painting.mode) == ("JPEG", (256, 256), "RGB")
                want = np.asarray(model(Image.open(photos / f"photo {number}.png")), int)
                assert np.abs(np.asarray(painting, int) - want).mean() < 12  # JPEG of noise
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.zip", "photos"]


def test_the_way_back_makes_other_pictures(two_way_run: Path, photos: Path, tmp_path: Path) -> None:
    for way in ("AtoB", "BtoA"):
        quietly(two_way_run, photos, tmp_path / f"{way}.zip", direction=way)
    one, other = (zipfile.ZipFile(tmp_path / f"{way}.zip").read("00001.jpg") for way in ("AtoB", "BtoA"))
    assert one != other


@pytest.mark.parametrize("count", [2, 13])
def test_too_few_or_too_many(two_way_run: Path, tmp_path: Path, count: int) -> None:
    with pytest.raises(ValueError, match=rf"photos: .*{count} .*3 to 12"):
        quietly(two_way_run, draw(tmp_path / "photos", count), tmp_path / "images.zip")
    assert not list(tmp_path.glob("images*"))


def test_other_sizes_are_cut_and_scaled(two_way_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = draw(tmp_path / "photos", 3, size=(90, 130))
    for path in photos.iterdir():  # the middle square is white, the rest is black
        values = np.zeros((90, 130, 3), np.uint8)
        values[:, 20:110] = 255
        Image.fromarray(values).save(path)
    shown = list[torch.Tensor]()
    original = Model.run

    def run(self: Model, x: torch.Tensor) -> torch.Tensor:
        shown.append(x)
        return original(self, x)

    monkeypatch.setattr(Model, "run", run)
    quietly(two_way_run, photos, tmp_path / "images.zip")
    assert check(tmp_path / "images.zip") == []
    assert shown[0].shape == (3, 3, 256, 256)
    assert shown[0].min() > 0.99


def test_a_bad_photograph_is_named_before_the_first_painting(two_way_run: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "photo 3.png").write_text("no picture", encoding="utf-8")
    with pytest.raises(ValueError, match=r"photo 3\.png: "):
        quietly(two_way_run, photos, tmp_path / "images.zip")
    assert not list(tmp_path.glob("images*"))


def test_nothing_of_the_user_s_is_overwritten(two_way_run: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match=r"images\.zip: .*--out"):
        quietly(two_way_run, photos, tmp_path / "images.zip")
    (tmp_path / "other.zip.paintings").mkdir()
    (tmp_path / "other.zip.paintings/letter.txt").touch()
    with pytest.raises(ValueError, match=r"other\.zip\.paintings: "):
        quietly(two_way_run, photos, tmp_path / "other.zip")
    assert (tmp_path / "images.zip").read_text(encoding="utf-8") == "mine"
    assert (tmp_path / "other.zip.paintings/letter.txt").exists()
    with pytest.raises(ValueError, match=r"images\.tar: .*zip"):
        quietly(two_way_run, photos, tmp_path / "images.tar")


def stopped(monkeypatch: pytest.MonkeyPatch, run: Path, photos: Path, out: Path) -> None:
    """Ctrl-C after the first eight pictures."""
    original, calls = Model.run, list[int]()

    def once(self: Model, *tensors: torch.Tensor) -> torch.Tensor:
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return original(self, *tensors)

    with monkeypatch.context() as patch:
        patch.setattr(Model, "run", once)
        with pytest.raises(KeyboardInterrupt):
            quietly(run, photos, out)
    assert not out.exists()


def test_the_same_command_goes_on(
    two_way_run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(monkeypatch, two_way_run, photos, tmp_path / "images.zip")
    painted = list[int]()
    original = CachedDataset.get

    def get(self: CachedDataset, index: int) -> Any:
        painted.append(index)
        return original(self, index)

    monkeypatch.setattr(CachedDataset, "get", get)
    assert "8 are there already, 2 are missing" in quietly(two_way_run, photos, tmp_path / "images.zip")
    assert painted == [8, 9]
    quietly(two_way_run, photos, tmp_path / "whole.zip")
    parts, whole = (zipfile.ZipFile(tmp_path / f"{name}.zip") for name in ("images", "whole"))
    assert [parts.read(name) for name in parts.namelist()] == [whole.read(name) for name in whole.namelist()]


@pytest.mark.parametrize("removed", [0, 7])
def test_a_submission_that_was_killed_after_its_zip_appeared_is_ready(
    two_way_run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: int
) -> None:
    out, unlink, left = tmp_path / "images.zip", Path.unlink, removed

    def kill(self: Path, missing_ok: bool = False) -> None:
        nonlocal left
        if self.parent.name == "images.zip.paintings" and self.suffix == ".jpg" and out.exists():
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        unlink(self, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", kill)
        with pytest.raises(KeyboardInterrupt):
            quietly(two_way_run, photos, out)
    before = out.read_bytes()
    assert "images.zip: ready: 10 JPEGs" in quietly(two_way_run, photos, out)
    assert out.read_bytes() == before
    assert not (tmp_path / "images.zip.paintings").exists()


@pytest.mark.parametrize("what", ["no zip", "three pictures", "other pictures", "a picture of another"])
def test_another_zip_beside_paintings_of_ours_is_left_alone_and_so_are_they(
    two_way_run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Even one that Kaggle would take: hours of work are in the paintings, and in no zip."""
    out = tmp_path / "images.zip"
    stopped(monkeypatch, two_way_run, photos, out)
    paintings = [tmp_path / f"images.zip.paintings/{number:05d}.jpg" for number in range(1, 11)]
    with zipfile.ZipFile(out, "w") as archive:
        for painting in paintings[: 3 if what == "three pictures" else 10]:
            is_own = painting.exists() and what != "other pictures" and painting != paintings[4]
            archive.writestr(painting.name, painting.read_bytes() if is_own else jpeg())
    if what == "no zip":
        out.write_text("mine", encoding="utf-8")
    before = out.read_bytes()
    with pytest.raises(ValueError, match=r"images\.zip: exists already"):
        quietly(two_way_run, photos, out)
    assert out.read_bytes() == before
    assert sum(painting.exists() for painting in paintings) == 8


@pytest.mark.parametrize("what", ["model", "direction", "precision", "photographs"])
def test_paintings_of_another_submission_are_named_and_left_alone(
    two_way_run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, train_tiny: Train
) -> None:
    stopped(monkeypatch, two_way_run, photos, tmp_path / "images.zip")
    paintings = tmp_path / "images.zip.paintings"
    before = {path: path.read_bytes() for path in paintings.iterdir()}
    run, more = two_way_run, dict[str, Any]()
    if what == "model":
        run = train_tiny(tmp_path / "other", "cyclegan", steps=1).path
    elif what == "direction":
        more = {"direction": "AtoB"}
    elif what == "precision":
        more = {"precision": "bf16"}
    else:
        (photos / "photo 9.png").rename(photos / "photo 10.png")
    with pytest.raises(ValueError, match=rf"\({what} differ\)"):
        quietly(run, photos, tmp_path / "images.zip", **more)
    assert {path: path.read_bytes() for path in paintings.iterdir()} == before


def test_photographs_may_be_called_by_another_path(
    two_way_run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(monkeypatch, two_way_run, photos, tmp_path / "images.zip")
    monkeypatch.chdir(tmp_path)
    assert "8 are there already" in quietly(two_way_run, Path("photos"), Path("images.zip"))


def test_an_interrupted_submission_says_how_to_go_on(
    two_way_run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Model, "run", interrupt)
    arguments = ["submit", str(two_way_run), "--data", str(photos), "--out", str(tmp_path / "images.zip")]
    assert cli.run(arguments) == 130
    assert capsys.readouterr().err.endswith("keeps what is painted so far; the same command goes on\n")


def test_a_file_of_the_user_s_among_the_paintings_stays(
    two_way_run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(monkeypatch, two_way_run, photos, tmp_path / "images.zip")
    (tmp_path / "images.zip.paintings/notes.txt").touch()
    (tmp_path / "images.zip.paintings/.partial-01234567.jpg").touch()  # left by a kill
    quietly(two_way_run, photos, tmp_path / "images.zip")
    assert [path.name for path in (tmp_path / "images.zip.paintings").iterdir()] == ["notes.txt"]


def test_a_zip_among_the_photographs_is_refused(two_way_run: Path, photos: Path) -> None:
    with pytest.raises(ValueError, match=r"images\.zip: .*photographs"):
        quietly(two_way_run, photos, photos / "images.zip")


def test_a_zip_that_kaggle_would_not_take_is_not_left_there(
    two_way_run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit_file, "check", lambda _: ["3.jpg: is odd"])
    with pytest.raises(ValueError, match=r"images\.zip: .*3\.jpg: is odd.*\.paintings"):
        quietly(two_way_run, photos, tmp_path / "images.zip")
    assert not (tmp_path / "images.zip").exists()


def test_grey_paintings_are_written_in_colour(train_tiny: Train, photos: Path, tmp_path: Path) -> None:
    own = {"width": 2, "patch": 16, "lambda_identity": 0.0}
    run = train_tiny(tmp_path / "run", "cyclegan", steps=1, direction="AtoB", channels_b=1, method=own).path
    quietly(run, photos, tmp_path / "images.zip")
    assert check(tmp_path / "images.zip") == []


def jpeg(size: tuple[int, int] = (256, 256), mode: str = "RGB", kind: str = "JPEG") -> bytes:
    data = io.BytesIO()
    Image.new(mode, size).save(data, kind)
    return data.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("4.jpg", jpeg((255, 256)), r"4.jpg: is \(256, 255, 3\)"),
        ("4.jpg", jpeg(mode="L"), r"4.jpg: is \(256, 256, 1\)"),
        ("4.jpg", jpeg()[:700], "4.jpg: damaged"),
        ("4.jpg", jpeg(kind="PNG"), "4.jpg: is no JPEG"),
        ("4.png", jpeg(), "4.png: is no JPEG"),
        ("4.jpg", b"", "4.jpg: "),
    ],
)
def test_what_kaggle_would_not_take_is_named(tmp_path: Path, name: str, data: bytes, problem: str) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}.jpg", jpeg())
        archive.writestr(name, data)
    [found] = check(tmp_path / "images.zip")
    assert re.search(problem, found), found


def test_a_count_that_is_wrong_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("1.jpg", jpeg())
    assert check(tmp_path / "images.zip") == ["holds 1 files, 3 to 12 are expected"]


def test_a_method_that_needs_more_than_a_photograph_is_refused(completion_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"glcic .*photograph"):
        submit(completion_run, data=tmp_path, out=tmp_path.with_name("images.zip"))
