"""The results folder of one evaluation: images, thumbnails and per-image metrics."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path, PurePath
from typing import Any, NamedTuple, Self

from torch import Tensor

from diptych.files import LEFTOVER, alone, is_plain, naming, require_file, require_no_link
from diptych.images.files import encode, from_tensor, merge
from diptych.images.geometry import resize
from diptych.images.spec import viewable
from diptych.training.records import Result, files_of
from diptych.training.run import read_json_lines, set_aside

ENTRIES = "results.jsonl"
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


@contextmanager
def writing(run: Path) -> Iterator[None]:
    """Inside, no other evaluation writes to a run, and what killed ones left in its results is gone.

    Raises a `ValueError` when another is at work, or when results or scores would be written through a link.
    """
    require_no_links(run)
    with alone(run / ".results.lock", f"{run}: another process is measuring it; wait for it"):
        for partial in (run / "results").glob(".partial-*"):
            _remove_if_ours(partial)
        yield


class Results:
    """Writes the results to `folder`, in `results/` of a run; older results stay there until the new ones are complete.

    As a context: its end replaces older results by these, and an error leaves them, and nothing of these. Only what the
    evaluation wrote is replaced: a folder that holds anything else is set aside whole, and `note` is told.
    """

    def __init__(self, folder: Path, note: Callable[[str], None]) -> None:
        self.folder, self.note = folder, note
        self.partial = folder.with_name(f".partial-{folder.name}")

    def __enter__(self) -> Self:
        self._make_room(self.partial)
        self.partial.mkdir(parents=True)
        try:
            (self.partial / ENTRIES).touch()
        except OSError:
            self.partial.rmdir()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._make_room(self.folder)
                self.partial.rename(self.folder)
        finally:
            _remove_if_ours(self.partial)

    def add(self, name: str, panels: dict[str, Tensor], values: dict[str, float]) -> None:
        """Saves the panels of one result, each `[C, H, W]` in [-1, 1], a thumbnail of all of them, and its metrics."""
        entry = {"name": name, "metrics": values, "panels": list(panels)}
        file = self.partial / ENTRIES
        with naming(file), file.open("a", encoding="utf-8") as opened:  # first: what is listed is ours
            opened.write(json.dumps(entry) + "\n")
        strip = merge(list(panels.values()), columns=len(panels), gap=0)
        width = round(strip.shape[2] * THUMBNAIL_HEIGHT / strip.shape[1])
        images = [*map(viewable, panels.values()), resize(strip, THUMBNAIL_HEIGHT, width)]
        for file_name, image in zip(files_of(entry), images, strict=True):
            path = self.partial / file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            encode(from_tensor(image), path)

    def _make_room(self, folder: Path) -> None:
        _remove_if_ours(folder)
        if os.path.lexists(folder):
            self.note(f"{folder}: holds what no evaluation wrote, and is set aside as {set_aside(folder)}")


def _remove_if_ours(folder: Path) -> None:
    if is_ours(folder):
        shutil.rmtree(folder)


def require_no_links(run: Path) -> None:
    """Raises a `ValueError` when the results or the scores would be written through a link; asked before the measuring."""
    require_scores(run)
    require_no_link(results := run / "results")
    if os.path.lexists(results) and not results.is_dir():
        raise ValueError(f"{results}: is no folder, and results belong there; move it away")
    require_no_link(*(results.iterdir() if results.exists() else ()))


def require_scores(folder: Path) -> None:
    """Raises a `ValueError` when `metrics.jsonl` in a folder can take no scores: a link, or no regular file."""
    scores = folder / "metrics.jsonl"
    require_no_link(scores)
    if os.path.lexists(scores):
        require_file(scores)


def is_ours(folder: Path) -> bool:
    """Whether a folder holds nothing but what an evaluation wrote: the files that its results.jsonl lists."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    file, notes = folder / ENTRIES, list[str]()
    entries = read_json_lines(file, Result, notes) if is_plain(file) else []
    listed = {*chain.from_iterable(map(files_of, entries))}
    if entries or (is_plain(file) and file.stat().st_size == 0):
        listed.add(PurePath(ENTRIES))
    return not notes and all(
        Path(parent, name).relative_to(folder) in listed or LEFTOVER.fullmatch(name)
        for parent, folders, names in os.walk(folder)
        for name in (*names, *(name for name in folders if Path(parent, name).is_symlink()))
    )
