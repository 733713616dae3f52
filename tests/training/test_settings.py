"""A slip of the keyboard or a hostile file is one short line with the setting's name, and never a hang or a traceback."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from diptych.images.size import Size
from diptych.methods import METHODS
from diptych.methods.settings import MOST_STEPS, Shape, kebab
from diptych.recipes import recipes
from diptych.training.run import Run
from diptych.training.settings import Settings, parse_settings, read_toml, settings_from
from diptych.wording import printable

LONGEST = 300  # characters of a line that a person reads


def require_line(error: pytest.ExceptionInfo[ValueError]) -> str:
    """The message, if it is one short line of ours."""
    line = str(error.value)
    assert len(line) <= LONGEST
    assert line == printable(line)
    assert not any(word in line for word in ("http", "pydantic", "validation error"))
    return line


def numeric(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if field.annotation in (int, float, int | float):
            yield name


NUMBERS = [("pix2pix", "", name) for name in numeric(Settings)] + [
    (method, "method.", name) for method in METHODS for name in numeric(METHODS[method].Settings)
]


@pytest.mark.parametrize(("method", "prefix", "name"), NUMBERS)
def test_every_number_has_bounds(method: str, prefix: str, name: str) -> None:
    for value in (math.inf, -math.inf, math.nan, 10**30, -(10**30), 1e30, 10**5000, True, "1"):
        given = {"method": {name: value}} if prefix else {name: value}
        with pytest.raises(ValueError, match=f"^--{prefix}{kebab(name)}: ") as error:
            settings_from(method, given)
        require_line(error)


def test_a_size_has_bounds() -> None:
    for value in (math.inf, 10**30, -1, 0, 10**5000, True, 1.5, "1x", "8x99999", "x" * 999):
        with pytest.raises(ValueError, match=r"^--size: .*(WIDTHxHEIGHT|1 to 65536 pixels).*, found ") as error:
            settings_from("pix2pix", {"size": value})
        require_line(error)


@pytest.mark.parametrize("name", ["size", "x_channels", "y_channels"])
def test_a_model_is_for_pictures_that_can_be(name: str) -> None:
    for value in (0, -1, 10**9, True, 1.5):
        with pytest.raises(ValueError, match=name):
            Shape.model_validate({"size": 8, name: value})


def test_what_somebody_might_use_is_allowed() -> None:
    large = {
        "size": 16384,
        "batch_size": 65536,
        "workers": 256,
        "steps": MOST_STEPS,
        "seed": 2**63 - 1,
        "channels_a": 512,
    }
    settings = settings_from("pix2pix", {**large, "memory_gib": 4096, "method": {"width": 4096}})
    assert settings.size == Size.square(16384)
    for name in METHODS:
        for value in (1024, 4096):
            assert METHODS[name].Settings.model_validate({"width": value})


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "a\0b", "a" * 256, "\ud800"])
def test_a_class_is_the_name_of_a_folder(name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a folder"):
        Shape(size=Size.square(8), classes=("cats", name))


def test_a_run_has_an_end() -> None:
    assert Settings(epochs=1000.0).resolved(10**6).steps == MOST_STEPS
    with pytest.raises(ValueError, match=r"^--epochs 1001: .*lower it") as error:
        Settings(epochs=1001.0).resolved(10**6)
    require_line(error)


def test_of_many_mistakes_the_first_are_told() -> None:
    with pytest.raises(ValueError, match=r"^--alpha: .*; and 2[0-9] more$") as error:
        settings_from("pix2pix", {f"{letter}lpha\n{'x' * 10**5}" if letter > "a" else "alpha": 1 for letter in LETTERS})
    require_line(error)


LETTERS = "abcdefghijklmnopqrstuvwxyz"

HOSTILE = {
    "nested": "x = " + "[" * 100_000,
    "tables": "x = " + "{a=" * 50_000,
    "dotted": "a." * 400_000 + "a = 1",  # a quarter of an hour in tomllib
    "digits": "size = " + "9" * 5000,
    "month": "x = 2026-13-01",
    "twice": "size = 1\nsize = 2",
    "nul": "size = 1\0",
    "mark": "\ufeffsize = 1",
    "long": f'method = "{"x" * 10**6}"',
    "method": 'method = ["pix2pix"]',
    "name": f"[method]\nname = ['{'x' * 1000}']",
    "key": f'"{"y" * 10**5}\\u001b[31m" = 1',
    "value": f'size = "{"y" * 10**5}\\u001b[31m"',
}


@pytest.mark.parametrize("kind", [*HOSTILE, "bytes", "utf-16", "fifo", "folder", "huge"])
def test_a_hostile_recipe_is_one_line(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "huge":
        with file.open("wb") as opened:
            opened.truncate(2**40)
    else:
        file.write_bytes(
            {"bytes": b"size = \xff", "utf-16": "size = 1".encode("utf-16")}.get(kind) or HOSTILE[kind].encode()
        )
    with pytest.raises(ValueError, match=r"recipe\.toml|--yyy|--size") as error:
        settings_from("pix2pix", {}, file)
    require_line(error)


@pytest.mark.parametrize("name", ["x" * 5000, "\0", "../../etc/nothing", ""])
def test_a_name_that_no_recipe_can_have(name: str) -> None:
    with pytest.raises(ValueError, match=r"^--recipe .") as error:
        settings_from("pix2pix", {}, Path(name))
    require_line(error)


# ---- the settings.toml of somebody's run

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("AtoB") | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = [
    "size",
    "steps",
    "method",
    "run",
    "method.name",
    "method.width",
    "run.names",
    "run.data",
    "run.classes",
    "direction",
]


@given(st.dictionaries(st.sampled_from(KEYS), ANYTHING, min_size=1, max_size=2))
def test_a_mutated_settings_file_opens_or_is_one_line(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "mutated"
    folder.mkdir(exist_ok=True)
    values: dict[str, Any] = tomllib_values()
    for key, value in changes.items():
        table, _, name = key.rpartition(".")
        target = values[table] if table and isinstance(values.get(table), dict) else values
        target[name or table] = value
    try:
        (folder / "settings.toml").write_text(tomli_w.dumps(values), encoding="utf-8")
    except (TypeError, ValueError):  # TOML has no None
        return
    try:
        run = Run.open(folder)
    except ValueError as error:
        line = str(error)
        assert line.startswith(f"{folder / 'settings.toml'}: is damaged (")
        assert len(line) - len(str(folder)) <= LONGEST - 50
        assert line == printable(line)
        assert "http" not in line
    else:
        assert run.shape.size == run.settings.size


def tomllib_values() -> dict[str, Any]:
    settings = parse_settings("pix2pix", {"size": 32, "steps": 3}, {"width": 2})
    values = settings.model_dump(mode="json")
    values["method"] = {"name": "pix2pix", **values["method"]}
    return {**values, "run": {"names": "0", "data": "pictures"}}


def test_what_is_unchanged_opens(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(tomli_w.dumps(tomllib_values()), encoding="utf-8")
    assert Run.open(tmp_path).settings.size == Size.square(32)
    for file in recipes().values():
        assert read_toml(file)


@pytest.mark.parametrize("classes", ["['..']", "['a/b']", "[1]", "'abc'", "3"])
def test_the_classes_of_a_run_are_checked(classes: str, tmp_path: Path) -> None:
    text = tomli_w.dumps(tomllib_values()) + f"classes = {classes}\n"
    (tmp_path / "settings.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"settings\.toml: is damaged"):
        Run.open(tmp_path)
