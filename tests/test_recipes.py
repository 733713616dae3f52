"""Recipes by name, from wherever the program is called."""

from pathlib import Path

import pytest

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
