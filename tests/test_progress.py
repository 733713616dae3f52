"""Long work shows that it goes on, in a terminal and in a file."""

import io

import pytest
from rich.console import Console

from diptych import progress


def test_a_file_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, *(10.0 * number for number in range(1, 30))])
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    console = Console(file=io.StringIO(), width=80)
    with progress.counting(console, "painting") as show:
        for done in range(1, 9):
            show(done, 8)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert 1 <= len(lines) <= 3
    assert all(line.startswith("painting: ") and line.endswith(" of 8") for line in lines)


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with progress.counting(console, "painting") as show:
        show(3, 8)
    assert isinstance(console.file, io.StringIO)
    assert "3/8" in console.file.getvalue()
    assert "painting: 3 of 8" not in console.file.getvalue()


def test_a_name_stays_on_its_line_and_does_nothing_to_the_terminal() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    name = "one\nof \x1b]0;title\x07 \x9b31m \u202ered [bold] \udcff"
    progress.say(console, f"{name}: done")
    with progress.counting(console, name) as show:
        show(1, 2)
        show(2, 2, name)
    assert isinstance(console.file, io.StringIO)
    said, shown = console.file.getvalue().split("\n", 1)
    assert said == "one\\nof \\u001b]0;title\\u0007 \\u009b31m \\u202ered [bold] \\udcff: done"
    assert not {"\x07", "\x9b", "\u202e"} & set(shown)
