"""Numbers for a trained model: on pictures that the training never saw, beside baselines that anybody can have."""

import datetime
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diptych import metrics
from diptych.data import pictures, sources
from diptych.data.batches import PictureStore, split_sides
from diptych.data.geometry import resize
from diptych.devices import Device
from diptych.run import Run, command_line
from diptych.translate import Model, load

PANELS = ("input", "output", "target")
THUMBNAIL_HEIGHT = 96
AT_ONCE = 16

Progress = Callable[[str, int, int], None]


def evaluate(
    run: Path | str,
    *,
    data: Path | str,
    names: Sequence[str] = tuple(metrics.PAIRED),
    baselines: bool = False,
    device: Device = "auto",
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Measures the model of `run` on the held-out pairs of `data` and keeps every result.

    Pictures are resized to the training size, without crop or flip. `results/SPLIT/` gets the input, the output and the
    target of each pair as single pictures, thumbnails, and its numbers; `metrics.jsonl` gets one line for the model and,
    with `baselines`, one for each of the two ways to answer without a model: the mean training target, and the target of
    the nearest training input (Euclidean, over all pixels). Gives those lines. Raises a `ValueError` when there is
    nothing to measure on.
    """
    for name in names:
        if name not in metrics.PAIRED:
            raise ValueError(f"--metrics {name}: there is no such metric; there are: {', '.join(metrics.PAIRED)}")
    run_folder = Run.open(Path(run))
    settings, data = run_folder.settings, Path(data)
    found = sources.held_out(data, (settings.channels_a, settings.channels_b))
    if found is None:
        raise ValueError(f"{data}: has no val or test split to measure on; put pairs that training does not see in val")
    split, source = found
    model = load(run, device=device)
    held_out = _Pairs(source, run_folder)
    held_out.store.check(settings.workers)

    judges = {"model": _by_model(model)}
    if baselines:
        training = sources.find_paired(data, "train", (settings.channels_a, settings.channels_b))
        assert training is not None
        judges |= _baselines(_Pairs(training, run_folder), progress)

    time = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    folder = run_folder.path / "results" / split
    lines = []
    for who, answer in judges.items():
        values = _measure(who, answer, held_out, names, folder if who == "model" else None, progress)
        lines.append(
            {
                "time": time,
                "command": command_line(),
                "step": model.step,
                "data": str(data),
                "split": split,
                "count": len(source),
                "who": who,
                "metrics": {_specified(name, settings.size): _mean(values[name]) for name in names},
            }
        )
    with (run_folder.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    return lines


def _specified(name: str, size: int) -> str:
    """A metric's name is its specification: what is compared, and how large."""
    return f"{name}/8-bit/{size}px"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


class _Pairs:
    """The pairs of a split at the training size, in batches of x and y."""

    def __init__(self, source: sources.Paired, run: Run) -> None:
        self.source, self.direction = source, run.settings.direction
        self.store = PictureStore(source, run.settings.size, run.settings.fit, run.settings.memory_gib)

    def __len__(self) -> int:
        return len(self.source)

    def batches(self) -> Iterator[tuple[range, dict[str, Tensor]]]:
        for first in range(0, len(self), AT_ONCE):
            indices = range(first, min(first + AT_ONCE, len(self)))
            pairs = torch.stack([self.store.get(index) for index in indices])
            yield indices, split_sides(pairs, self.source.channels[0], self.direction)


Answer = Callable[[Tensor], Tensor]


def _by_model(model: Model) -> Answer:
    return lambda x: model.batch({"x": x})


def _baselines(training: _Pairs, progress: Progress | None) -> dict[str, Answer]:
    """Answers without a model, from the training pairs."""
    total = torch.zeros(())
    for indices, batch in training.batches():
        total = total + batch["y"].double().sum(0)
        if progress:
            progress("mean training target", indices.stop, len(training))
    mean = (total / len(training)).float()

    def nearest(x: Tensor) -> Tensor:
        best = torch.full((len(x),), torch.inf)
        answer = torch.empty(len(x), *mean.shape)
        for _, batch in training.batches():
            distance, index = torch.cdist(x.flatten(1), batch["x"].flatten(1)).min(dim=1)
            closer = distance < best
            best = torch.where(closer, distance, best)
            answer[closer] = batch["y"][index[closer]]
        return answer

    return {
        "mean training target": lambda x: mean.expand(len(x), *mean.shape),
        "target of the nearest training input": nearest,
    }


def _measure(
    who: str, answer: Answer, held_out: _Pairs, names: Sequence[str], folder: Path | None, progress: Progress | None
) -> dict[str, list[float]]:
    """The metrics of every pair; with a folder, the pictures and the numbers are kept there."""
    values: dict[str, list[float]] = {name: [] for name in names}
    entries = []
    beside = folder and folder.with_name(f".partial-{folder.name}")
    if beside:
        shutil.rmtree(beside, ignore_errors=True)  # left by an evaluation that was stopped
        beside.mkdir(parents=True)
    for indices, batch in held_out.batches():
        output = answer(batch["x"])
        measured = {name: metrics.PAIRED[name](output, batch["y"]).tolist() for name in names}
        for name in names:
            values[name] += measured[name]
        if beside:
            for row, index in enumerate(indices):
                name = held_out.source.name(index)
                _keep(beside, name, dict(zip(PANELS, (batch["x"][row], output[row], batch["y"][row]), strict=True)))
                numbers = {_specified(n, output.shape[-1]): measured[n][row] for n in names}
                entries.append({"name": name, "metrics": numbers, "panels": PANELS})
        if progress:
            progress(who, indices.stop, len(held_out))
    if folder and beside:
        lines = "".join(json.dumps(entry) + "\n" for entry in entries)
        (beside / "results.jsonl").write_text(lines, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # an older evaluation's results, now that there are new ones
        beside.rename(folder)
    return values


def _keep(folder: Path, name: str, panels: dict[str, Tensor]) -> None:
    for panel, picture in panels.items():
        path = folder / panel / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures.encode(pictures.from_tensor(picture), path)
    strip = pictures.merge(list(panels.values()), columns=len(panels), gap=0)
    width = round(strip.shape[2] * THUMBNAIL_HEIGHT / strip.shape[1])
    path = folder / "thumbnails" / f"{name}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures.encode(pictures.from_tensor(resize(strip, THUMBNAIL_HEIGHT, width)), path)
