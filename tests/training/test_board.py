"""TensorBoard is a view: what goes wrong with it costs the view alone."""

import builtins
import io
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from diptych.training.board import Board


def fill(board: Board, step: int) -> None:
    board.scalars({"a": float(step), "b": 0.5}, step)
    board.picture("picture", torch.zeros(3, 4, 4), step)
    board.words("words", "some", step)


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_what_is_written_is_read(tmp_path: Path) -> None:
    fill(Board(tmp_path / "board", 0, pytest.fail), 3)
    events = read(tmp_path / "board")
    assert [(event.step, event.value) for event in events.Scalars("a")] == [(3, 3.0)]
    assert len(events.Images("picture")) == len(events.Tensors("words/text_summary")) == 1


def test_steps_that_are_done_again_are_there_once(tmp_path: Path) -> None:
    board = Board(tmp_path / "board", 0, pytest.fail)
    for step in range(1, 7):
        board.scalars({"a": 1.0}, step)
    Board(tmp_path / "board", 4, pytest.fail).scalars({"a": 2.0}, 5)
    assert [(event.step, event.value) for event in read(tmp_path / "board").Scalars("a")][-2:] == [(4, 1.0), (5, 2.0)]


@pytest.mark.parametrize("fault", ["deleted", "renamed", "a file", "full", "a file before"])
def test_a_failure_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    folder, lines = tmp_path / "board", list[str]()
    if fault == "a file before":
        folder.touch()
    board = Board(folder, 0, lines.append)
    if fault in ("deleted", "a file"):
        shutil.rmtree(folder)
    if fault == "renamed":
        folder.rename(tmp_path / "elsewhere")
    if fault == "a file":
        folder.touch()
    if fault == "full":

        def full(*_: Any, **__: Any) -> Any:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(io, "open", full)
        monkeypatch.setattr(builtins, "open", full)
    fill(board, 1)
    fill(board, 2)
    [line] = lines
    assert line.startswith(f"{folder}: cannot be written to (")
    assert line.endswith("); the training goes on without TensorBoard")


def test_a_clock_that_goes_backwards_changes_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(10**6, 0, -1000))
    monkeypatch.setattr("time.time", lambda: next(seconds))
    board = Board(tmp_path / "board", 0, pytest.fail)
    for step in (1, 2, 3):
        board.scalars({"a": float(step)}, step)
    assert [(event.step, event.value) for event in read(tmp_path / "board").Scalars("a")] == [(1, 1), (2, 2), (3, 3)]
