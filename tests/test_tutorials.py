"""Tutorials and notebooks do what they say: they run from top to bottom in an empty folder, as they stand but shorter.

What is shorter here is in `SHORTER`, and in the fixture below it: nothing else differs from what a reader types.
"""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from diptych import cli, metrics
from diptych.evaluate import generation, labelmaps, measures, segmentation

ROOT = Path(__file__).parents[1]
TUTORIALS = sorted((ROOT / "docs/tutorials").glob("*.md"))
METRICS = sorted((ROOT / "docs/metrics").glob("*.md"))
NOTEBOOKS = sorted((ROOT / "examples/notebooks").glob("*.ipynb"))

SHORTER = {
    "data demo": {"--size": "32", "--train": "75", "--val": "5"},
    "train glcic": {"--method.t-c": "10", "--method.t-d": "4"},
    "train": {"--size": "32", "--steps": "20", "--validate-every": "10", "--method.width": "4"},
}
"""By command: flags that have these values in the tests, whatever the page says."""


@pytest.fixture
def shorter_lessons(monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks that read the results learn less, and from fewer drawings."""
    monkeypatch.setattr(segmentation, "STEPS", 20)
    monkeypatch.setattr(generation, "GENERATED", 50)
    monkeypatch.setattr(generation, "MIN_STEPS", 20)


def blocks(page: Path) -> list[tuple[str, str]]:
    """The language and the text of each block of code, in order."""
    return re.findall(r"^```(sh|python)\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


def commands(text: str) -> list[list[str]]:
    """The arguments of each command; a block of a tutorial has no other lines."""
    lines = [shlex.split(line, comments=True) for line in text.replace("\\\n", " ").splitlines()]
    assert all(line[0] == "diptych" for line in lines if line), text
    return [line[1:] for line in lines if line]


def shortened(arguments: list[str]) -> list[str]:
    shorter = list(arguments)
    for command, flags in SHORTER.items():
        if shorter[: len(command.split())] == command.split():
            for flag, value in flags.items():
                if flag in shorter:
                    shorter[shorter.index(flag) + 1] = value
                else:
                    shorter += [flag, value]
    return shorter


def run_python(text: str, names: dict[str, Any]) -> None:
    exec(compile(text, "<a block of the page>", "exec"), names)


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
@pytest.mark.usefixtures("shorter_lessons")
def test_a_tutorial_runs_from_top_to_bottom(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for language, text in blocks(page):
        if language == "python":
            run_python(text, names)
            continue
        for arguments in commands(text):
            assert cli.run(shortened(arguments)) == 0, arguments
    promised = re.findall(r"`(tutorial/[^`]*)`", page.read_text(encoding="utf-8"))
    assert promised
    assert [path for path in promised if not (tmp_path / path).exists()] == []
    assert [path.name for path in tmp_path.iterdir()] == ["tutorial"]


def test_there_is_a_tutorial_for_each_method() -> None:
    from diptych.methods import METHODS

    assert {page.stem for page in TUTORIALS} == set(METHODS)


@pytest.mark.parametrize("page", [page for page in METRICS if blocks(page)], ids=lambda page: page.stem)
def test_the_python_of_a_metrics_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for language, text in blocks(page):
        if language == "python":
            run_python(text, names)


def test_the_index_knows_every_metric_and_which_way_is_better() -> None:
    table = re.findall(
        r"^\| \[(.*?)\]\((.*?)\) \| (.*?) \|", (ROOT / "docs/metrics/README.md").read_text("utf-8"), re.M
    )
    found = {name: better for names, _, better in table for name in names.split(", ")}
    measured = {
        *metrics.PAIRED,
        *metrics.HOLE_METRICS,
        "lpips",
        "swd",
        *measures.SET_DISTANCES,
        *labelmaps.LABEL_MAP_METRICS,
        *generation.METRICS,
    }
    assert {file for _, file, _ in table} == {page.name for page in METRICS} - {"README.md"}
    assert measured == set(found)
    told = {1: "higher", -1: "lower", 0: "neither"}
    for name, better in found.items():
        wanted = told[metrics.better(name)] if name not in metrics.HOLE_METRICS else "as without"
        assert wanted in better, name


def as_python(cell: str) -> str:
    """A cell of a notebook as plain Python: `!` gives a line to `run_commands`, and what is installed is there."""
    assert all(line.startswith("%pip install ") for line in cell.splitlines() if line.startswith("%"))
    cell = re.sub(r"^%.*$", "", cell, flags=re.M)
    return re.sub(r"^( *)!((?:.*\\\n)*.*)$", r'\1run_commands(f"""\2""")', cell, flags=re.M)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_runs_from_top_to_bottom(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript", reason="pip install 'diptych[onnx]'")
    monkeypatch.chdir(tmp_path)

    def run_commands(text: str) -> None:
        for arguments in commands(text):
            assert cli.run(shortened(arguments)) == 0, arguments

    names: dict[str, Any] = {"run_commands": run_commands}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []  # what it printed is nobody's
            assert cell["execution_count"] is None
            run_python(as_python("".join(cell["source"])), names)
    assert (tmp_path / "page.html").is_file()


def test_there_are_notebooks_and_the_readme_links_them() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(NOTEBOOKS) == 2
    assert all(f"(examples/notebooks/{notebook.name})" in readme for notebook in NOTEBOOKS)
