"""Pictures out of noise: the same label and seed give the same picture, whatever is asked for beside it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

import diptych
from diptych import cli
from diptych.images.files import Array
from diptych.methods.cgan import CGAN, CGANSettings
from diptych.model import Model
from diptych.submit import submit
from diptych.training import checkpoint
from diptych.training.run import Run
from diptych.translators.sampling import Sampler

Train = Callable[..., Run]
LoadPainting = Callable[[Path], Model]
CLASSES = ("apple", "brick", "drop", "leaf", "sun")
SIDE, GAP = 16, 2


def kept_painting(run: Path, copy: Path, load_painting: LoadPainting) -> Path:
    """A copy of a run whose weights paint: the tiny ones have hardly learnt to."""
    shutil.copytree(run, copy)
    model = load_painting(run)
    method = CGAN(CGANSettings.model_validate(model.config.settings), model.config.shape)
    method.G.load_state_dict(model.translator.network.state_dict())
    checkpoint.save_model(copy / "model", model.config, model.step, method)
    return copy


@pytest.fixture(scope="module")
def painter(sampling_run: Path, load_painting: LoadPainting, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of five classes; tests must not write into it."""
    return kept_painting(sampling_run, tmp_path_factory.mktemp("runs") / "painter", load_painting)


@pytest.fixture(scope="module")
def model(painter: Path) -> Model:
    return diptych.load(painter, device="cpu")


@pytest.fixture(scope="module")
def unlabelled(train_tiny: Train, load_painting: LoadPainting, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without labels, and grey; tests must not write into it."""
    folder = tmp_path_factory.mktemp("runs")
    run = train_tiny(folder / "trained", "cgan", steps=1, channels_a=1, method={"conditional": False})
    return kept_painting(run.path, folder / "unlabelled", load_painting)


@pytest.fixture(scope="module")
def digits(train_tiny: Train, write_idx: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the labels 3, 9 and 10 of idx files; tests must not write into it."""
    folder = tmp_path_factory.mktemp("digits")
    write_idx(folder, np.zeros((4, SIDE, SIDE)), [10, 3, 9, 3])
    return train_tiny(folder / "run", "cgan", data=folder, steps=1).path


def sample(run: Path, out: Path, **asked: Any) -> list[Path]:
    return diptych.sample(run, out=out, device="cpu", **asked)


def read(file: Path) -> Array:
    with Image.open(file) as picture:
        return np.asarray(picture)


def cell(sheet: Array, row: int, column: int) -> Array:
    return sheet[row * (SIDE + GAP) :, column * (SIDE + GAP) :][:SIDE, :SIDE]


def drawn(model: Model, label: str | int | None, count: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.stack(list(model.generate(label, count, seed)))


# ---- the same seed, the same picture


def test_the_same_seed_gives_the_same_file_and_another_one_another(painter: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("again", 3), ("other", 4)):
        sample(painter, tmp_path / f"{name}.png", seed=seed, count=3)
    one, again, other = ((tmp_path / f"{name}.png").read_bytes() for name in ("one", "again", "other"))
    assert one == again
    assert one != other


@settings(deadline=None, max_examples=15)
@given(few=st.integers(1, 40), seed=st.integers(0, 2**63 - 1), label=st.sampled_from(CLASSES))
def test_a_larger_count_gives_more_of_the_same_pictures(model: Model, few: int, seed: int, label: str) -> None:
    """Bit for bit, also across the batches that they are drawn in."""
    many = drawn(model, label, 40, seed)
    assert many.shape == (40, 3, SIDE, SIDE)
    assert torch.equal(drawn(model, label, few, seed), many[:few])
    assert len({tuple(picture.flatten().tolist()) for picture in many}) == 40


def test_a_picture_does_not_depend_on_the_labels_asked_for_beside_it(painter: Path, tmp_path: Path) -> None:
    sample(painter, tmp_path / "all", count=2)
    sample(painter, tmp_path / "one", count=2, label="leaf")
    for name in ("00000.png", "00001.png"):
        assert (tmp_path / "all/leaf" / name).read_bytes() == (tmp_path / "one/leaf" / name).read_bytes()


def test_pictures_of_one_number_come_from_one_noise_whatever_their_label(model: Model) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    watch = model.translator.network.register_forward_pre_hook(lambda _module, given: seen.append(given))
    pictures = [drawn(model, label) for label in ("apple", "sun")]
    watch.remove()
    (z, label), (other_z, other_label) = seen
    assert torch.equal(z, other_z)
    assert [set(label.tolist()), set(other_label.tolist())] == [{0}, {4}]
    assert not torch.equal(*pictures)


def test_a_picture_is_what_the_network_makes_of_its_noise(model: Model) -> None:
    found = drawn(model, "drop", 18, seed=5)
    assert isinstance(model.translator, Sampler)
    inputs = model.translator.draw(CLASSES.index("drop"), 5, range(18))
    assert torch.allclose(found, model.predict(inputs), atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(found, model.translator.network(inputs["z"], inputs["label"]), atol=1e-5)
    [first, *_] = model.sample("drop", count=18, seed=5)
    assert np.abs(np.asarray(first) - ((found[0] + 1) * 127.5).permute(1, 2, 0).numpy()).max() <= 0.51
    assert isinstance(first, Image.Image)
    assert (first.mode, first.size) == ("RGB", (SIDE, SIDE))


# ---- where pictures go


def test_a_sheet_has_a_row_for_each_label(painter: Path, model: Model, tmp_path: Path) -> None:
    """In the order of the classes, or of those asked for."""
    assert sample(painter, tmp_path / "new/all.png", count=3) == [tmp_path / "new/all.png"]
    sample(painter, tmp_path / "some.png", count=3, label=["sun", "apple"], seed=7)
    for name, labels, seed in (("new/all.png", CLASSES, 0), ("some.png", ("sun", "apple"), 7)):
        sheet = read(tmp_path / name)
        assert sheet.shape == (len(labels) * (SIDE + GAP) - GAP, 3 * (SIDE + GAP) - GAP, 3)
        for row, label in enumerate(labels):
            for column, picture in enumerate(model.sample(label, count=3, seed=seed)):
                assert np.array_equal(cell(sheet, row, column), np.asarray(picture))


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (5, 2, 3), (9, 3, 3), (10, 3, 4)])
def test_a_sheet_of_one_label_is_as_square_as_can_be(
    painter: Path, model: Model, tmp_path: Path, count: int, rows: int, columns: int
) -> None:
    sample(painter, tmp_path / "sheet.png", count=count, label="leaf")
    sheet = read(tmp_path / "sheet.png")
    assert sheet.shape == (rows * (SIDE + GAP) - GAP, columns * (SIDE + GAP) - GAP, 3)
    for number, picture in enumerate(model.sample("leaf", count=count)):
        assert np.array_equal(cell(sheet, *divmod(number, columns)), np.asarray(picture))


def test_single_files_are_the_cells_of_the_sheet(painter: Path, tmp_path: Path) -> None:
    files = sample(painter, tmp_path / "out", count=18, label=["sun", "brick"])
    assert files == [tmp_path / f"out/{label}/{number:05d}.png" for label in ("sun", "brick") for number in range(18)]
    assert {file for file in (tmp_path / "out").rglob("*") if file.is_file()} == set(files)
    sample(painter, tmp_path / "sheet.png", count=18, label=["sun", "brick"])
    sheet = read(tmp_path / "sheet.png")
    for place, file in enumerate(files):
        assert np.array_equal(read(file), cell(sheet, *divmod(place, 18)))


def test_sixteen_of_every_class_by_default(painter: Path, tmp_path: Path) -> None:
    assert len(sample(painter, tmp_path / "out")) == 16 * len(CLASSES)
    assert len(diptych.load(painter, device="cpu").sample("sun")) == 1


def test_a_folder_may_have_a_dot_in_its_name_when_it_is_there(painter: Path, tmp_path: Path) -> None:
    (tmp_path / "v1.png").mkdir()
    sample(painter, tmp_path / "v1.png", count=1, label="sun")
    assert (tmp_path / "v1.png/sun/00000.png").is_file()


@pytest.mark.parametrize("label", ["9", 9, ["9"], [9]])
def test_labels_that_are_numbers_are_names_and_not_places(digits: Path, tmp_path: Path, label: Any) -> None:
    assert sample(digits, tmp_path / "out", count=1, label=label) == [tmp_path / "out/9/00000.png"]
    model = diptych.load(digits, device="cpu")
    assert [model.translator.index_of(name) for name in (3, 9, 10, "10")] == [0, 1, 2, 2]


def test_a_label_that_is_the_number_0_is_a_label(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--label 0: .*3, 9, 10"):
        sample(digits, tmp_path / "out", label=0)


# ---- models without labels


def test_a_model_without_labels_is_asked_for_none(unlabelled: Path, tmp_path: Path) -> None:
    files = sample(unlabelled, tmp_path / "out", count=3)
    assert files == [tmp_path / f"out/0000{number}.png" for number in range(3)]
    sample(unlabelled, tmp_path / "sheet.png", count=5)
    sheet = read(tmp_path / "sheet.png")
    assert sheet.shape[:2] == (2 * (SIDE + GAP) - GAP, 3 * (SIDE + GAP) - GAP)
    pictures = diptych.load(unlabelled, device="cpu").sample(count=5)
    for number, picture in enumerate(pictures):
        assert np.array_equal(cell(sheet, *divmod(number, 3))[..., 0], np.asarray(picture))
    for label in ("sun", 0):
        with pytest.raises(ValueError, match=rf"--label {label}: .*without labels"):
            sample(unlabelled, tmp_path / "other", label=label)
    assert not (tmp_path / "other").exists()


def test_a_grey_model_draws_grey(unlabelled: Path, tmp_path: Path) -> None:
    [file] = sample(unlabelled, tmp_path / "out", count=1)
    with Image.open(file) as picture:
        assert picture.mode == "L"
    [drawn] = diptych.load(unlabelled, device="cpu").sample()
    assert drawn.mode == "L"


# ---- what is refused, before anything is written


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"label": "aple"},
            "--label aple: there is no such class; did you mean apple? there are: apple, brick, drop, leaf",
        ),
        ({"label": "xyz"}, "--label xyz: there is no such class; there are: apple"),
        ({"label": ["sun", "moon"]}, "--label moon: "),
        ({"label": 0}, "--label 0: there is no such class"),
        ({"label": ""}, "--label : there is no such class"),
        ({"count": 0}, "--count 0: "),
        ({"count": -1}, "--count -1: "),
        ({"seed": -1}, "--seed -1: a number from 0 to 2"),
        ({"seed": 2**63}, f"--seed {2**63}: "),
        ({"label": "sun", "count": 0}, "--count 0: "),
    ],
)
@pytest.mark.parametrize("out", ["folder", "sheet.png"])
def test_what_cannot_be_drawn_is_said(painter: Path, tmp_path: Path, asked: Any, message: str, out: str) -> None:
    with pytest.raises(ValueError, match=r"^--") as caught:
        sample(painter, tmp_path / "new" / out, **asked)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_smallest_and_the_largest_seed(model: Model) -> None:
    for seed in (0, 2**63 - 1):
        assert len(model.sample("sun", seed=seed)) == 1


def test_without_a_label_a_model_says_which_there_are(model: Model) -> None:
    with pytest.raises(ValueError, match=r"--label: .*apple, brick, drop, leaf, sun$"):
        model.sample()


@pytest.mark.parametrize("asked", [{"count": 0}, {"seed": -1}, {"label": "moon"}])
def test_generate_refuses_before_its_first_picture(model: Model, asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^--(count|seed|label)"):
        model.generate(**{"label": "sun", "count": 1, **asked})


def test_a_format_that_is_not_known(painter: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"sheet\.gif: "):
        sample(painter, tmp_path / "new/sheet.gif")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over_unless_asked(painter: Path, tmp_path: Path) -> None:
    for out, mine in (("sheet.png", "sheet.png"), ("out", "out/sun/00001.png")):
        (tmp_path / mine).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / mine).write_bytes(b"mine")
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(ValueError, match=rf"{mine}: .*--overwrite"):
            sample(painter, tmp_path / out, count=2)
        assert sorted(tmp_path.rglob("*")) == before
        assert (tmp_path / mine).read_bytes() == b"mine"
        sample(painter, tmp_path / out, count=2, overwrite=True)
        assert read(tmp_path / mine).shape[-1] == 3


def test_files_that_are_not_in_the_way_are_left_alone(painter: Path, tmp_path: Path) -> None:
    (tmp_path / "sun").mkdir()
    (tmp_path / "sun/00007.png").write_bytes(b"mine")
    sample(painter, tmp_path, count=2)
    assert (tmp_path / "sun/00007.png").read_bytes() == b"mine"


# ---- other methods, other verbs


def test_a_model_of_pictures_has_no_noise_to_start_from(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pix2pix .*diptych translate"):
        sample(tiny_run, tmp_path / "out.png")
    with pytest.raises(ValueError, match="diptych translate"):
        diptych.load(tiny_run, device="cpu").sample()
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_noise_translates_no_pictures(model: Model, painter: Path, tmp_path: Path) -> None:
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "in.png")
    for given_as in (picture, picture / 255, Image.fromarray(picture), tmp_path / "in.png"):
        with pytest.raises(ValueError, match=r"cgan .*diptych sample"):
            model(given_as)
    with pytest.raises(ValueError, match="diptych sample"):
        diptych.translate(painter, tmp_path / "in.png", out=tmp_path / "out.png", device="cpu")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.png"]


def test_noise_is_nothing_to_submit(painter: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(ValueError, match=r"cgan .*photograph"):
        submit(
            painter, data=tmp_path / "photos", out=tmp_path / "images.zip", device="cpu", console=Console(quiet=True)
        )
    assert not (tmp_path / "images.zip").exists()


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no trained model"):
        sample(tmp_path, tmp_path / "out")


def test_a_model_folder_by_itself_draws_the_same(painter: Path, tmp_path: Path) -> None:
    shutil.copytree(painter / "model", tmp_path / "shared")
    for run, name in ((painter, "run"), (tmp_path / "shared", "shared")):
        sample(run, tmp_path / f"{name}.png", count=2)
    assert (tmp_path / "run.png").read_bytes() == (tmp_path / "shared.png").read_bytes()


# ---- the command


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    def run(*arguments: object) -> tuple[int, str, str]:
        status = cli.run(["sample", *map(str, arguments)])
        printed = capfd.readouterr()
        return status, printed.out, printed.err

    return run


def test_the_command_draws_what_python_draws(call: Call, painter: Path, tmp_path: Path) -> None:
    flags = ("--label", "sun", "--label", "apple", "--count", 3, "--seed", 11, "--device", "cpu", "--precision", "fp32")
    sheet, folder = tmp_path / "sheet.png", tmp_path / "out"
    assert call(painter, "--out", sheet, *flags) == (0, f"{sheet}\n", "")
    assert call(painter, "--out", folder, *flags) == (0, f"{folder}: 6 pictures\n", "")
    sample(painter, tmp_path / "same.png", label=["sun", "apple"], count=3, seed=11)
    assert sheet.read_bytes() == (tmp_path / "same.png").read_bytes()
    assert len(list(folder.rglob("*.png"))) == 6


def test_the_command_without_a_label_draws_every_class(call: Call, painter: Path, tmp_path: Path) -> None:
    status, out, _ = call(painter, "--out", tmp_path / "out")
    assert (status, out) == (0, f"{tmp_path / 'out'}: {16 * len(CLASSES)} pictures\n")
    assert {folder.name for folder in (tmp_path / "out").iterdir()} == set(CLASSES)


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (("--label", "aple"), "did you mean apple?"),
        (("--count", "0"), "--count 0"),
        (("--count", "many"), "--count"),
        (("--seed", "-1"), "--seed -1"),
        (("--labl", "sun"), "--label"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    call: Call, painter: Path, tmp_path: Path, flags: tuple[str, str], part: str
) -> None:
    status, out, errors = call(painter, "--out", tmp_path / "out", *flags)
    assert (status, out, errors.count("\n")) == (2, "", 1)
    assert errors.startswith("diptych: ")
    assert part in errors
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_over_results_only_when_told(call: Call, painter: Path, tmp_path: Path) -> None:
    file = tmp_path / "sheet.png"
    assert call(painter, "--out", file, "--count", 1)[0] == 0
    before = file.read_bytes()
    status, _, errors = call(painter, "--out", file, "--count", 2)
    assert (status, errors.count("\n")) == (2, 1)
    assert "--overwrite" in errors
    assert file.read_bytes() == before
    assert call(painter, "--out", file, "--count", 2, "--overwrite")[0] == 0
    assert file.read_bytes() != before


def test_a_run_of_another_kind_and_no_run(call: Call, tiny_run: Path, tmp_path: Path) -> None:
    for run, part in ((tiny_run, "diptych translate"), (tmp_path, "holds no trained model")):
        status, _, errors = call(run, "--out", tmp_path / "out.png")
        assert (status, errors.count("\n")) == (2, 1)
        assert part in errors
    assert list(tmp_path.iterdir()) == []


def test_a_label_that_is_asked_for_twice_is_drawn_once(digits: Path, tmp_path: Path) -> None:
    for one in ([3, "3"], np.array([3]), (3,)):
        assert len(sample(digits, tmp_path / "out", label=one, count=2, overwrite=True)) == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["3"]
    sample(digits, tmp_path / "own.png", label=np.int64(10), count=4)
    assert read(tmp_path / "own.png").shape[:2] == (2 * SIDE + 2, 2 * SIDE + 2)


def test_between_two_pictures_nothing_is_switched_off(model: Model) -> None:
    for picture in model.generate("sun", 2):
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()
        assert picture.shape == (3, SIDE, SIDE)


def test_a_folder_may_have_a_dot_in_its_name(painter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [
        "sample",
        str(painter),
        "--out",
        f"{tmp_path}/shapes v1.0/",
        "--label",
        "sun",
        "--count",
        "1",
        "--device",
        "cpu",
    ]
    assert cli.run(asked) == 0
    assert (tmp_path / "shapes v1.0/sun/00000.png").is_file()
    assert capsys.readouterr().out.strip() == f"{tmp_path}/shapes v1.0/"


@pytest.mark.parametrize("out", ["a file", "a file/below", "a file/sheet.png"])
def test_nothing_lies_below_a_file(painter: Path, tmp_path: Path, out: str) -> None:
    (tmp_path / "a file").write_text("notes")
    with pytest.raises(ValueError, match=r"a file: .*--out"):
        sample(painter, tmp_path / out, label="sun")
    assert (tmp_path / "a file").read_text() == "notes"


@pytest.mark.parametrize(("name", "count"), [("large.webp", 1000), ("large.jpg", 4000)])
def test_a_sheet_that_no_file_can_hold_is_refused_before_it_is_drawn(
    painter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, count: int
) -> None:
    monkeypatch.setattr(Sampler, "forward", lambda *_: pytest.fail("drawn"))
    with pytest.raises(ValueError, match=rf"{name}: 5 .*{count} .*\.png"):
        sample(painter, tmp_path / name, count=count)


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "..", ".", ""])
def test_a_model_that_is_anybodys_writes_nowhere_else(painter: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(painter, tmp_path / "theirs")
    config = tmp_path / "theirs/model/config.json"
    config.write_text(config.read_text().replace('"sun"', f'"{name}"'))
    with pytest.raises(ValueError, match="is damaged"):
        sample(tmp_path / "theirs", tmp_path / "out/inner")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("out", "folder"), [("sheet.png", ""), ("single/", "single/apple")])
def test_what_a_killed_one_left_goes(painter: Path, tmp_path: Path, out: str, folder: str) -> None:
    left = tmp_path / folder / ".partial-01234567.png"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.touch()
    diptych.sample(painter, out=f"{tmp_path}/{out}", count=1, device="cpu")
    assert not left.exists()
