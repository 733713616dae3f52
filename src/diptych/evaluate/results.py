"""The results folder of one evaluation: images, thumbnails and per-image metrics."""

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
"""Called with the name of a task, the amount done, and the total."""


class Score(NamedTuple):
    """One result: its specification, its value, and its standard error (None for a metric without one)."""

    name: str
    value: float
    error: float | None = None


def as_line(scores: Sequence[Score]) -> dict[str, Any]:
    """Scores in the form of a line of `metrics.jsonl`."""
    errors = {score.name: score.error for score in scores if score.error is not None}
    values = {score.name: score.value for score in scores}
    return {"metrics": values, **({"standard-error": errors} if errors else {})}


class Results:
    """Writes the results to `folder`; older results stay there until the new ones are complete."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.partial = folder.with_name(f".partial-{folder.name}")
        shutil.rmtree(self.partial, ignore_errors=True)  # left by an interrupted evaluation
        self.partial.mkdir(parents=True)
        self.entries: list[dict[str, Any]] = []

    def add(self, name: str, panels: dict[str, Tensor], values: dict[str, float]) -> None:
        """Saves the panels of one result, each `[C, H, W]` in [-1, 1], a thumbnail of all of them, and its metrics."""
        images = {f"{panel}/{name}.png": viewable(image) for panel, image in panels.items()}
        strip = merge(list(panels.values()), columns=len(panels), gap=0)
        width = round(strip.shape[2] * THUMBNAIL_HEIGHT / strip.shape[1])
        images[f"thumbnails/{name}.jpg"] = resize(strip, THUMBNAIL_HEIGHT, width)
        for file, image in images.items():
            path = self.partial / file
            path.parent.mkdir(parents=True, exist_ok=True)
            encode(from_tensor(image), path)
        self.entries.append({"name": name, "metrics": values, "panels": list(panels)})

    def finish(self) -> None:
        """Replaces older results by these."""
        lines = "".join(json.dumps(entry) + "\n" for entry in self.entries)
        (self.partial / "results.jsonl").write_text(lines, encoding="utf-8")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.partial.rename(self.folder)
