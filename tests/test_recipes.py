"""Recipes by name, from wherever the program is called."""

import re
from pathlib import Path
from typing import Any

import pytest

from diptych.images.size import Size
from diptych.methods import METHODS
from diptych.recipes import find, method_of, recipes
from diptych.training.settings import settings_from


def test_a_recipe_is_found_by_its_name_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find("cyclegan-monet") == find(Path("cyclegan-monet")) == recipes()["cyclegan-monet"]
    (tmp_path / "cyclegan").mkdir()
    assert find("cyclegan").is_file()  # whatever lies about


def test_a_file_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.toml", "cyclegan", "glcic.toml"):
        (tmp_path / name).touch()
    assert find("mine.toml") == Path("mine.toml")
    assert find("glcic.toml") == Path("glcic.toml")
    assert find(tmp_path / "cyclegan") == tmp_path / "cyclegan"


@pytest.mark.parametrize("name", ["cyclegan-mone", "recipes/glcic.toml", "cyclegan-monet.toml"])
def test_an_unknown_name_gets_the_nearest_or_where_the_list_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    near = "glcic" if "glcic" in name else "cyclegan-monet"
    with pytest.raises(ValueError, match=f"^--recipe {name}: .*did you mean --recipe {near}.$"):
        find(name)
    with pytest.raises(ValueError, match=r"^--recipe quite-else: .*diptych methods"):
        find("quite-else")


def test_every_method_has_a_recipe() -> None:
    assert {method_of(recipe) for recipe in recipes().values()} == set(METHODS)


def test_fastcut_by_a_flag_over_the_recipe_of_cut_is_fastcut() -> None:
    by_flag = settings_from("cut", {"method": {"variant": "fastcut"}}, Path("cut"))
    assert by_flag == settings_from("cut", {}, Path("fastcut"))


def test_a_wrong_value_is_the_recipe_s_or_the_flag_s(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('size = "large"\npatience = 3\n[method]\nwidth = 0\n', encoding="utf-8")
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, f"--recipe {recipe}: --method.width: "),
        ({"method": {"width": 2}}, f"--recipe {recipe}: --size: "),
        ({"method": {"width": 2}, "size": 8}, f"--recipe {recipe}: --patience 3: "),
        ({"method": {"width": -1}}, "--method.width: "),
        ({"method": {"width": 2}, "size": -1}, "--size: "),
    ]
    for flags, told in cases:
        with pytest.raises(ValueError, match=f"^{re.escape(told)}"):
            settings_from("pix2pix", flags, recipe)
    assert settings_from("pix2pix", {"method": {"width": 2}, "size": 8, "patience": 0}, recipe).size == Size.square(8)
