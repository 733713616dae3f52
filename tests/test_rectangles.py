"""`--size 48x32`: every method whose networks take a rectangle learns from it, and every command goes on with the run."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import diptych
from diptych import cli
from diptych.data.builtin import facades
from diptych.images.files import decode
from diptych.kinds import DataKind
from diptych.methods import METHODS
from diptych.training.run import Run

Train = Callable[..., Run]
HEIGHT, WIDTH = 32, 48
GAP = 2  # between the pictures of a sheet
NAMES = [name for name, method in METHODS.items() if method.data is not DataKind.LABELLED]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> dict[DataKind, Path]:
    """Pictures of 72x40 pixels, pairs and single ones, four to train with and two held out."""
    pairs, photos = tmp_path_factory.mktemp("pairs"), tmp_path_factory.mktemp("photos")
    for split, numbers in (("train", range(4)), ("val", range(4, 6))):
        for folder in (pairs / split / "A", pairs / split / "B", photos / split):
            folder.mkdir(parents=True)
        for number in numbers:
            photo, labels = (side.resize((72, 40), Image.Resampling.NEAREST) for side in facades.draw_pair(number, 64))
            photo.save(photos / split / f"{number}.png")
            photo.save(pairs / split / "A" / f"{number}.png")
            labels.save(pairs / split / "B" / f"{number}.png")
    return {DataKind.PAIRED: pairs, DataKind.UNPAIRED: pairs, DataKind.IMAGES: photos}


@pytest.mark.parametrize("name", NAMES)
def test_a_rectangle_goes_through_every_command(
    name: str, wide: dict[DataKind, Path], train_tiny: Train, tmp_path: Path
) -> None:
    data, size = wide[METHODS[name].data], f"{WIDTH}x{HEIGHT}"
    run = train_tiny(tmp_path / "run", name, data=data, size=size, validate_every=6, batch_size=2)
    settings = tomllib.loads((run.path / "settings.toml").read_text(encoding="utf-8"))
    config = json.loads((run.path / "model/config.json").read_text(encoding="utf-8"))
    assert settings["size"] == config["shape"]["size"] == size
    assert Run.open(run.path).settings.size == (HEIGHT, WIDTH)

    last = run.read_log()[-1]
    assert all(measured.endswith(f"8-bit/{size}px") for measured in last["validation"])
    height, width = decode(run.path / "samples/step-00000012.png").size
    columns = len(json.loads((run.path / "samples/titles.json").read_text(encoding="utf-8")))
    assert (height + GAP, width + GAP) == (2 * (HEIGHT + GAP), columns * (WIDTH + GAP))

    diptych.evaluate(run.path, data=data, device="cpu")
    sizes = {decode(file).size for file in (run.path / "results").rglob("*.png")}
    assert (HEIGHT, WIDTH) in sizes
    assert all(width > height for height, width in sizes)
    page = diptych.report(run.path).read_text(encoding="utf-8")
    assert f"{WIDTH} × {HEIGHT} px" in page

    model = diptych.load(run.path, device="cpu")
    picture, _ = facades.draw_pair(9, 72)
    picture = picture.crop((0, 0, 72, 40))
    mask = np.zeros((40, 72), bool)
    mask[10:20, 30:50] = True
    given: dict[str, Any] = {"mask": mask} if name == "glcic" else {}
    for working_size in (None, 16):
        assert model(picture, working_size=working_size, **given).size == (72, 40)


def test_a_run_goes_on_at_its_own_size_alone(wide: dict[DataKind, Path], train_tiny: Train, tmp_path: Path) -> None:
    given: dict[str, Any] = {"data": wide[DataKind.PAIRED], "out": tmp_path / "run"}
    train_tiny(**given, size="32x16", steps=2)
    assert train_tiny(**given, size="32x16", steps=4).settings.steps == 4
    with pytest.raises(ValueError, match=r"size 32x16 there, 16x32 asked for"):
        train_tiny(**given, size="16x32", steps=4)


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_halves_of_the_shape_of_the_size_need_no_flag(name: str, train_tiny: Train, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "data/train").mkdir(parents=True, exist_ok=True)
        wide = np.random.default_rng(number).integers(0, 255, (16, 64, 3)).astype(np.uint8)
        Image.fromarray(wide).save(tmp_path / f"data/train/{number}.png")
    with pytest.raises(ValueError, match="only those twice as wide as tall are A beside B"):
        train_tiny(tmp_path / "square", name, data=tmp_path / "data", size=32, steps=2)
    run = train_tiny(tmp_path / "run", name, data=tmp_path / "data", size="64x32", steps=2)
    assert train_tiny(tmp_path / "run", name, data=tmp_path / "data", size="64x32", steps=4).data_paths.halves
    assert Run.open(run.path).data_paths.halves  # what is measured later is read so, too


def test_a_width_of_nothing_is_no_hexadecimal_number(
    wide: dict[DataKind, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(wide[DataKind.PAIRED]), "--out", str(tmp_path / "run"), "--size", "0x256"]
    assert cli.run(["train", "pix2pix", *arguments]) == 2
    assert (
        capsys.readouterr().err == "diptych: --size: 1 to 65536 pixels in each direction are expected, found '0x256'\n"
    )


def test_equal_sides_are_one_number(wide: dict[DataKind, Path], train_tiny: Train, tmp_path: Path) -> None:
    given: dict[str, Any] = {"data": wide[DataKind.PAIRED], "out": tmp_path / "run"}
    train_tiny(**given, size=16, steps=2)
    run = train_tiny(**given, size="16x16", steps=4)
    assert "size = 16\n" in (run.path / "settings.toml").read_text(encoding="utf-8")


def test_what_makes_squares_refuses_a_rectangle(train_tiny: Train, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^--size 32x16: .* square pictures; give one number, such as 16$"):
        train_tiny(tmp_path / "run", "cgan", size="32x16")


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("pix2pix", "50x32", "nearest .* are 48x32 and 64x32$"),
        ("colorize", "500x375", "nearest .* are 512x256 and 512x384$"),
        ("cyclegan", "50x36", "nearest is 48x32$"),
        ("cut", "48x12", "nearest is 48x16$"),
        ("glcic", "64x30", "multiples of 4 from 32 on"),
        ("pix2pix", "64x0", "1 to 65536 pixels"),
    ],
)
def test_what_the_networks_do_not_take_is_one_line_with_sizes_that_they_do(
    name: str, size: str, words: str, wide: dict[DataKind, Path], train_tiny: Train, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"^--size.*{words}") as error:
        train_tiny(tmp_path / "run", name, data=wide[METHODS[name].data], size=size)
    assert len(str(error.value)) < 300
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
