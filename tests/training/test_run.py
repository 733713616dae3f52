"""Settings have one home, and a run's folder explains itself."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from diptych.data.paths import DataPaths
from diptych.images.size import Size
from diptych.losses import ADVERSARIAL
from diptych.methods import sketch
from diptych.methods.pix2pix import Pix2Pix, Pix2PixSettings
from diptych.methods.settings import MethodSettings, Shape
from diptych.training.run import Run, read_json_lines, set_aside
from diptych.training.settings import Settings, settings_from


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_flag_then_recipe_then_default(tmp_path: Path) -> None:
    path = recipe(tmp_path, 'size = 128\nlr = 1e-3\n[method]\nname = "pix2pix"\nwidth = 32\npatch = 16\n')
    settings = settings_from("pix2pix", {"size": 64, "method": {"width": 8}}, path)
    own = settings.method
    assert isinstance(own, Pix2PixSettings)
    assert (settings.size, settings.lr, settings.batch_size) == (Size.square(64), 1e-3, 1)
    assert (own.width, own.patch, own.norm) == (8, 16, "batch")


def test_a_recipe_may_spell_its_names_as_python_does(tmp_path: Path) -> None:
    path = recipe(tmp_path, "batch_size = 2\n[method]\nlambda_l1 = 5\n")
    settings = settings_from("pix2pix", {"method": {"lambda-l1": 7}}, path)
    assert (settings.batch_size, settings.method.model_dump(by_alias=True)["lambda-l1"]) == (2, 7)


def test_the_flag_says_how_long_whichever_way_the_recipe_said_it(tmp_path: Path) -> None:
    settings = settings_from("pix2pix", {"steps": 7}, recipe(tmp_path, "epochs = 3\n"))
    assert settings.resolved(10).steps == 7


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"sise": 64}, r"--sise: .*did you mean --size\?"),
        ({"method": {"lamda_l1": 10}}, r"--method\.lamda-l1: .*did you mean --method\.lambda-l1\?"),
        ({"size": 1.5}, "--size: .*WIDTHxHEIGHT.* found 1.5"),
        ({"size": "big"}, "--size: .*WIDTHxHEIGHT.* found 'big'"),
        ({"batch_size": 0}, "--batch-size: .*greater than or equal to 1, found 0"),
        ({"batch_size": True}, "--batch-size: .*integer.* found True"),
        ({"size": "64x"}, "--size: .*WIDTHxHEIGHT.* found '64x'"),
        ({"lr": float("nan")}, "--lr: .*finite"),
        ({"steps": 3, "epochs": 2}, "--steps and --epochs"),
        ({"epochs": 0}, "--steps 0 and --epochs 0"),
        ({"channels_a": 0}, "--channels-a: .*1, found 0"),
        ({"bits_b": 12}, "--bits-b: .*8 or 16, found 12"),
        (
            {"method": {"norm": "layer"}},
            "--method.norm: .*'batch', 'instance', 'affine-instance' or 'none', found 'layer'",
        ),
        (
            {"method": {"adversarial": "wgan"}},
            "^--method.adversarial: .*'vanilla', 'lsgan', 'hinge' or 'none', found 'wgan'$",
        ),
        ({"method": {"generator": "resnet"}}, "^--method.generator: .*'unet', 'resnet6' or 'resnet9', found 'resnet'$"),
        ({"method": {"patch": 71}}, "^--method.patch: .*1, 16, 70 or 286, found 71$"),
        ({"method": {"patch": "70"}}, "^--method.patch: .*integer.* found '70'$"),
        ({"method": {"patch": True}}, "^--method.patch: .*integer.* found True$"),
    ],
)
def test_what_is_not_right_is_named(flags: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_from("pix2pix", flags)


@pytest.mark.parametrize("method", ["pix2pix", "colorize", "cyclegan", "cgan"])
def test_choices_out_of_registries_are_told_whichever_the_method(method: str) -> None:
    last = "'hinge' or 'none'" if method in ("pix2pix", "colorize") else "'lsgan' or 'hinge'"
    with pytest.raises(ValueError, match=f"^--method.adversarial: .*'vanilla', .*{last}, found 'wgan'$"):
        settings_from(method, {"method": {"adversarial": "wgan"}})


def test_help_tells_every_choice() -> None:
    """Those of a registry as those of a fixed list."""
    command = [sys.executable, "-m", "diptych", "train", "pix2pix", "--help"]
    told = subprocess.check_output(command, env={**os.environ, "COLUMNS": "200"}, text=True)
    for flag, choices in (
        ("norm", "batch|instance|affine-instance|none"),
        ("adversarial", "vanilla|lsgan|hinge|none"),
        ("generator", "unet|resnet6|resnet9"),
        ("patch", "1|16|70|286"),
    ):
        assert f"--method.{flag} {choices} " in told


def test_what_joins_a_registry_later_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"--method\.adversarial: "):
        settings_from("pix2pix", {"method": {"adversarial": "own"}})
    monkeypatch.setitem(ADVERSARIAL, "own", ADVERSARIAL["lsgan"])
    settings = settings_from("pix2pix", {"method": {"adversarial": "own"}})
    assert settings.method.model_dump()["adversarial"] == "own"
    method = sketch("pix2pix", settings.method, Shape(size=Size.square(256)))
    assert isinstance(method, Pix2Pix)
    assert method.adversarial is ADVERSARIAL["lsgan"]


def test_a_setting_without_a_value_is_refused_where_it_is_defined() -> None:
    """settings.toml holds every value, and TOML has no None: a run's folder would be made and never opened."""
    with pytest.raises(TypeError, match=r"Own\.seconds: .*None"):

        class Own(MethodSettings):
            seconds: int | None = None

    with pytest.raises(TypeError, match=r"Described\.seconds: .*None"):

        class Described(Pix2PixSettings):
            seconds: int | None = Field(None, description="How long.")

    class WithAValue(MethodSettings):
        seconds: int = Field(0, description="How long; 0 is for ever.")

    assert WithAValue().seconds == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sise = 64", "--sise: .*did you mean --size"),
        ("[method]\nlamda-l1 = 1", "--method.lamda-l1: .*did you mean --method.lambda-l1"),
        ('[method]\nname = "cyclegan"', r"recipe\.toml: .*cyclegan.* pix2pix"),
        ("size = ", "TOML"),
        ("method = 3", "method"),
    ],
)
def test_a_recipe_that_is_not_right(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_from("pix2pix", {}, recipe(tmp_path, text))


def test_an_unknown_method_names_the_near_one() -> None:
    with pytest.raises(ValueError, match="'pix2pics'; did you mean pix2pix"):
        settings_from("pix2pics", {})


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().size = Size.square(3)  # type: ignore[misc]


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for name, field in Settings.model_fields.items() if name != "method")


def test_length_of_a_run() -> None:
    assert Settings(epochs=200).resolved(400).steps == 80_000  # facades: 200 epochs of 400 pairs
    assert Settings().resolved(400).steps == 80_000
    assert Settings(epochs=1, batch_size=3).resolved(10).steps == 4
    assert Settings(steps=7).resolved(400).steps == 7
    assert Settings(size=Size.square(256)).load_size == Size.square(286)


def test_settings_toml_holds_everything_and_comes_back(tmp_path: Path) -> None:
    settings = settings_from("pix2pix", {"size": 64, "method": {"width": 8, "conditional": False}}).resolved(10)
    run = Run(tmp_path / "run", "pix2pix", settings, DataPaths(tmp_path))
    run.write_settings("diptych train pix2pix", "10 pairs", "abc")
    values = tomllib.loads((tmp_path / "run/settings.toml").read_text(encoding="utf-8"))
    assert values["batch-size"] == 1  # the flag's name
    assert values["method"] == {"name": "pix2pix", **settings.method.model_dump(by_alias=True)}
    assert values["run"]["command"] == "diptych train pix2pix"
    assert set(values["run"]["versions"]) == {"diptych", "torch", "python"}
    again = Run.open(tmp_path / "run")
    assert (again.settings, again.method, again.digest) == (settings, "pix2pix", "abc")


def test_settings_toml_is_a_recipe(tmp_path: Path) -> None:
    """What a run wrote can be handed to --recipe: the way to repeat it elsewhere."""
    settings = settings_from("pix2pix", {"size": 64, "epochs": 2}).resolved(10)
    run = Run(tmp_path / "run", "pix2pix", settings, DataPaths(tmp_path))
    run.write_settings("", "", "")
    assert settings_from("pix2pix", {}, tmp_path / "run/settings.toml").resolved(10) == settings


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{tmp_path}: .*settings.toml"):
        Run.open(tmp_path)
    (tmp_path / "settings.toml").write_text("size = ", encoding="utf-8")
    with pytest.raises(ValueError, match=r"settings\.toml: .*damaged"):
        Run.open(tmp_path)


def test_log_is_cut_where_a_run_goes_on(tmp_path: Path) -> None:
    run = Run(tmp_path, "pix2pix", Settings(), DataPaths(tmp_path))
    for step in (10, 20, 30):
        run.log({"step": step, "seconds": 1.0, "lr": 2e-4, "losses": {"G": 0.5}})
    with (tmp_path / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 4')  # killed while writing
    run.cut_log(20)
    assert [entry["step"] for entry in run.read_log()] == [10, 20]


def test_json_lines_of_a_missing_file(tmp_path: Path) -> None:
    assert read_json_lines(tmp_path / "none.jsonl") == []


def test_setting_aside_never_overwrites(tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / "run").mkdir()
        (tmp_path / "run/log.jsonl").write_text(text, encoding="utf-8")
        set_aside(tmp_path / "run")
    assert (tmp_path / "run.old-1/log.jsonl").read_text(encoding="utf-8") == "first"
    assert (tmp_path / "run.old-2/log.jsonl").read_text(encoding="utf-8") == "second"


def test_no_name_in_the_settings_file_does_anything_to_a_terminal(tmp_path: Path) -> None:
    names = ["one\nof two.png", "\x1b[31m.png", "\x9b31m.png", "\u202e.png", "plain é.png"]
    run = Run(tmp_path / "run", "pix2pix", settings_from("pix2pix", {}, None).resolved(4), DataPaths(tmp_path))
    run.write_settings("diptych train", "found", "0", left_out=names)
    text = (tmp_path / "run/settings.toml").read_text(encoding="utf-8")
    assert not {"\x1b", "\x9b", "\u202e"} & set(text)
    assert tomllib.loads(text)["run"]["left-out"] == names
