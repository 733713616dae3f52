"""Numbers for a trained model: on pictures that the training never saw, beside baselines that anybody can have."""

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diptych.data import layouts
from diptych.data.batches import Direction
from diptych.data.layouts import Place
from diptych.data.sources import Source
from diptych.devices import Device
from diptych.evaluate import labels, targets
from diptych.evaluate.results import Progress
from diptych.methods import METHODS
from diptych.methods.base import SINGLE
from diptych.run import Run, command_line

__all__ = ["evaluate", "labels", "results", "targets"]


def evaluate(
    run: Path | str,
    *,
    data: Path | str | None = None,
    data_a: Path | str | None = None,
    data_b: Path | str | None = None,
    names: Sequence[str] | None = None,
    baselines: bool = False,
    direction: Direction | None = None,
    device: Device = "auto",
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Measures the model of `run` on the held-out pictures of `data` and keeps every result.

    What is translated is compared with targets (`targets.measure`), what is drawn out of noise is read by a classifier
    (`labels.measure`); `names` are metrics, without them all that the pictures allow. `results/` in the run gets single
    pictures, thumbnails and their numbers; `metrics.jsonl` gets one line for the model and one for each answer without a
    model. Gives those lines. Raises a `ValueError` when there is nothing to measure on.
    """
    folder, place = Run.open(Path(run)), Place.given(data, data_a, data_b)
    split, sources = _held_out(folder, place)
    measure = labels.measure if METHODS[folder.method].needs == "labelled" else targets.measure
    measured = measure(
        folder,
        place,
        split,
        sources,
        names=names,
        baselines=baselines,
        direction=direction,
        device=device,
        progress=progress,
    )
    time = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    lines = [{"time": time, "command": command_line(), "data": str(place), "split": split, **line} for line in measured]
    with (folder.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    return lines


def _held_out(run: Run, place: Place) -> tuple[str, list[Source]]:
    """The split to measure on."""
    needs, channels = METHODS[run.method].needs, (run.settings.channels_a, run.settings.channels_b)
    found = layouts.held_out(needs, place, channels)
    if found is None:
        sides = " (val/A + val/B, or a val in each of two folders)"
        if needs in SINGLE:
            sides = " (or beside NAME.npy in NAME-val.npy)"
        if needs == "labelled":
            sides = ", a folder for each class (beside idx files: t10k-images-idx3-ubyte and its labels)"
        raise ValueError(
            f"{place}: has no val or test split to measure on; put pictures that training does not see in a folder "
            f"val{sides}, or let `diptych data split` divide them"
        )
    return found
