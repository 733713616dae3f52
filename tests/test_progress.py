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
