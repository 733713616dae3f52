"""The quickstart ends with a model, a page, and commands that work."""

import io
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from diptych import cli, quickstart
from diptych.data.builtin import emoji

WRITE = emoji.write


def test_the_quickstart_ends_with_a_page_and_commands_that_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = {"size": 32, "steps": 4, "validate_every": 2, "sample_every": 2, "device": "cpu"}
    monkeypatch.setattr(quickstart, "SETTINGS", quickstart.SETTINGS | tiny | {"method": {"width": 2}})
    monkeypatch.setattr(emoji, "write", lambda folder: WRITE(folder, size=32, train=6, val=3))
    monkeypatch.chdir(tmp_path)
    console = Console(file=io.StringIO(), width=1000)
    page = quickstart.quickstart(console=console)
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert page.resolve().as_uri() in said
    commands = [line.partition(": diptych ")[2] for line in said.splitlines() if ": diptych " in line]
    commands = commands[1:]  # the training's own
    assert [command.split()[0] for command in commands] == ["translate", "export", "data"]
    assert cli.run(shlex.split(commands[0])) == 0
    assert (tmp_path / "3d.png").is_file()
