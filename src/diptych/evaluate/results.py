"""The folder of one evaluation: single pictures, thumbnails, the numbers of each."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from diptych.images.files import encode, from_tensor, merge
from diptych.images.geometry import resize
from diptych.images.spec import viewable

THUMBNAIL_HEIGHT = 96

Progress = Callable[[str, int, int], None]
"""Told who or what is being measured, how much of it is done, and how much there is."""


class Score(NamedTuple):
    """One result: its specification, its value, and the standard error where it has one."""

    name: str
    value: float
    error: float | None = None


def as_line(numbers: Sequence[Score]) -> dict[str, Any]:
    """Numbers as they stand in a line of `metrics.jsonl`."""
    errors = {number.name: number.error for number in numbers if number.error is not None}
    values = {number.name: number.value for number in numbers}
    return {"metrics": values, **({"standard-error": errors} if errors else {})}


class Results:
    """The results at `folder`; they are there when they are whole, and older ones go only then."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.beside = folder.with_name(f".partial-{folder.name}")
        shutil.rmtree(self.beside, ignore_errors=True)  # left by an evaluation that was stopped
        self.beside.mkdir(parents=True)
        self.entries: list[dict[str, Any]] = []

    def add(self, name: str, panels: dict[str, Tensor], numbers: dict[str, float]) -> None:
        """Keeps the pictures of one result, each `[C, H, W]` in [-1, 1], side by side on its thumbnail, and its numbers."""
        for panel, picture in panels.items():
            path = self.beside / panel / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            encode(from_tensor(viewable(picture)), path)
        strip = merge(list(panels.values()), columns=len(panels), gap=0)
        width = round(strip.shape[2] * THUMBNAIL_HEIGHT / strip.shape[1])
        path = self.beside / "thumbnails" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        encode(from_tensor(resize(strip, THUMBNAIL_HEIGHT, width)), path)
        self.entries.append({"name": name, "metrics": numbers, "panels": list(panels)})

    def finish(self) -> None:
        """Puts the results in the place of older ones."""
        lines = "".join(json.dumps(entry) + "\n" for entry in self.entries)
        (self.beside / "results.jsonl").write_text(lines, encoding="utf-8")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.beside.rename(self.folder)
