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
from diptych.data import layouts, pictures
from diptych.data.batches import Direction, open_stores, split_sides
from diptych.data.geometry import resize
from diptych.data.layouts import Place
from diptych.data.pictures import from_bytes
from diptych.data.sources import Half, Source
from diptych.devices import Device
from diptych.methods import METHODS
from diptych.methods.base import Answer, Method
from diptych.model import Model, load
from diptych.run import Run, Settings, command_line

THUMBNAIL_HEIGHT = 96
AT_ONCE = 16
BACK: dict[Direction, Direction] = {"AtoB": "BtoA", "BtoA": "AtoB"}

Progress = Callable[[str, int, int], None]


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

    Pictures are resized to the training size, without crop or flip. `results/SPLIT/` gets the input, the output and the
    target of each pair as single pictures, thumbnails, and its numbers; `metrics.jsonl` gets one line for the model and,
    with `baselines`, one for each way to answer without a model: for a method that learns from pairs the mean training
    target, and the target of the nearest training input (Euclidean, over all pixels); for unpaired pictures the input
    as it is, and the mean training picture of the other side; for single pictures what the method knows. Gives those lines.

    A method that translates both ways is measured both ways, or in the `direction` given, in `results/SPLIT-AtoB/` and
    `results/SPLIT-BtoA/`, with what came back and what became of pictures that needed no translation. The numbers compare
    with a target, so side-by-side pairs are needed for them also where the training took the sides apart; other
    pictures are translated and kept, with no numbers. Raises a `ValueError` when there is nothing to measure on.
    """
    run_folder, place = Run.open(Path(run)), Place.given(data, data_a, data_b)
    settings, method = run_folder.settings, METHODS[run_folder.method]
    there = [*metrics.PAIRED, *(metrics.IN_HOLES if "mask" in method.inputs else ())]
    if unknown := [name for name in names or () if name not in there]:
        raise ValueError(f"--metrics {unknown[0]}: there is no such metric for {run}; there are: {', '.join(there)}")
    of_colour = set(names or ()) & set(metrics.OF_COLOUR)
    if of_colour and 1 in (settings.channels_a, settings.channels_b):
        raise ValueError(f"--metrics {','.join(sorted(of_colour))}: compares colours, and {run} has grey pictures")
    split, sources = _held_out(run_folder, place)
    if len(sources) > 1 and (names or baselines):
        flag = f"--metrics {','.join(names)}" if names else "--baselines"
        raise ValueError(
            f"{flag}: compares with a target, and in {place} no B belongs to an A; "
            "leave it out, or give side-by-side pairs"
        )
    chosen = [] if len(sources) > 1 else list(names or method.metrics)
    directions = [direction or settings.direction]
    if method.two_way and direction is None:
        directions.append(BACK[settings.direction])

    time = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    kept = {name: run_folder.path / f"model-{name}" for name in method.kept}
    earlier = {name: load(path, device=device) for name, path in kept.items() if path.exists()}
    ways = list(BACK) if method.two_way else directions
    models = {way: load(run, direction=way, device=device) for way in ways}
    lines = []
    for way in directions:
        model = models[way]
        held_out = _Pictures(_inputs(sources, way), settings, way, models[way].method)
        left_out = held_out.store.check(settings.workers, of_no_use=method.of_no_use)
        if not len(held_out):
            words = " and ".join(sorted(set(left_out.values())))
            raise ValueError(f"{place}: all {len(left_out)} {split} pictures are {words}: nothing to measure on")
        judges: dict[str, Answer] = {"model": model.batch, **{name: one.batch for name, one in earlier.items()}}
        if baselines:
            training = layouts.find(method.needs, place, "train", (settings.channels_a, settings.channels_b))
            assert training is not None
            judges |= _baselines(training, settings, way, model.method, progress)
        part = f"{split}-{way}" if method.two_way else split
        back = models[BACK[way]] if method.two_way else None
        specification = _specification(model.method, settings.size)
        keep = _Results(run_folder.path / "results" / part, specification, back)
        values = _measure(judges, ["model", *earlier], held_out, chosen, keep, progress)
        for who in judges:
            lines.append(
                {
                    "time": time,
                    "command": command_line(),
                    "step": earlier.get(who, model).step,
                    "data": str(place),
                    "split": split,
                    "direction": way,
                    "count": len(held_out),
                    **({"left-out": len(left_out)} if left_out else {}),
                    "who": who,
                    "metrics": {f"{name}/{specification}": _mean(values[who, name]) for name in chosen},
                }
            )
    with (run_folder.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    return lines


def _held_out(run: Run, place: Place) -> tuple[str, list[Source]]:
    """The split to measure on: pairs where there are any, else A and B."""
    channels = (run.settings.channels_a, run.settings.channels_b)
    found = layouts.held_out(METHODS[run.method].needs, place, channels)
    if found is None:
        single = METHODS[run.method].needs == "images"
        sides = (
            " (or beside NAME.npy in NAME-val.npy)" if single else " (val/A + val/B, or a val in each of two folders)"
        )
        raise ValueError(
            f"{place}: has no val or test split to measure on; put pictures that training does not see in a folder "
            f"val{sides}, or let `diptych data split` divide them"
        )
    split, sources = found
    if isinstance(sources[0], Half):  # they were pairs before the training took them apart
        return split, [sources[0].pairs]
    return split, sources


def _inputs(sources: list[Source], direction: Direction) -> Source:
    """The source that the input is taken from: the pairs, or the one side."""
    return sources[0] if len(sources) == 1 or direction == "AtoB" else sources[1]


def _specification(method: Method, size: int) -> str:
    """A metric's name is its specification: what is compared, how large, and with which holes."""
    return f"{method.holes}/8-bit/{size}px" if method.holes else f"8-bit/{size}px"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


class _Pictures:
    """The pictures of a source at the training size, in batches: what goes in, and y where there is one.

    A hole depends on the picture's name alone, so that all who are measured have the same ones to fill.
    """

    def __init__(self, source: Source, settings: Settings, direction: Direction, method: Method) -> None:
        self.source, self.direction, self.method = source, direction, method
        [self.store] = open_stores([source], settings.size, settings.fit, settings.memory_gib)

    def __len__(self) -> int:
        return len(self.store)

    def batches(self) -> Iterator[tuple[range, dict[str, Tensor]]]:
        for first in range(0, len(self), AT_ONCE):
            indices = range(first, min(first + AT_ONCE, len(self)))
            samples = torch.stack([self.store.get(index) for index in indices])
            if len(self.source.channels) == 2:
                yield indices, split_sides(samples, self.source.channels[0], self.direction)
            elif self.method.needs == "images":
                batch = {"y": from_bytes(samples)}
                if holes := self.method.holes:
                    masks = [holes.draw_for(self.store.name(index), samples.shape[-1]) for index in indices]
                    batch["mask"] = torch.stack(masks).float()
                yield indices, {**batch, **self.method.inputs_from(batch)}
            else:
                yield indices, {"x": from_bytes(samples)}


# ---- answers without a model


def _baselines(
    training: list[Source], settings: Settings, direction: Direction, method: Method, progress: Progress | None
) -> dict[str, Answer]:
    """What anybody could answer who has the training pictures, as pairs, as two sets, or as single pictures."""
    if method.needs == "images":
        singles = _Pictures(training[0], settings, direction, method)
        left_out = singles.store.check(settings.workers, of_no_use=method.of_no_use)
        if not len(singles):
            words = " and ".join(sorted(set(left_out.values())))
            raise ValueError(
                f"--baselines: all {len(left_out)} training pictures are {words}; leave it out, or give others"
            )
        return method.baselines(batch["y"] for _, batch in singles.batches())
    if len(training) == 1:
        pairs = _Pictures(training[0], settings, direction, method)
        return {
            "mean training target": _always_the_mean(pairs, "y", progress),
            "target of the nearest training input": _nearest(pairs),
        }
    targets = _Pictures(_inputs(training, BACK[direction]), settings, direction, method)
    mean = _always_the_mean(targets, "x", progress)
    if settings.channels_a != settings.channels_b:
        return {"mean training picture": mean}
    return {"the input as it is": lambda batch: batch["x"], "mean training picture": mean}


def _always_the_mean(training: _Pictures, side: str, progress: Progress | None) -> Answer:
    total = torch.zeros(())
    for indices, batch in training.batches():
        total = total + batch[side].double().sum(0)
        if progress:
            progress("the mean", indices.stop, len(training))
    mean = (total / len(training)).float()
    return lambda batch: mean.expand(len(batch["x"]), *mean.shape)


def _nearest(training: _Pictures) -> Answer:
    def answer(inputs: dict[str, Tensor]) -> Tensor:
        x = inputs["x"]
        best = torch.full((len(x),), torch.inf)
        answers: list[Tensor] = [x] * len(x)
        for _, batch in training.batches():
            distance, index = torch.cdist(x.flatten(1), batch["x"].flatten(1)).min(dim=1)
            for row in (distance < best).nonzero().flatten().tolist():
                answers[row] = batch["y"][index[row]]
            best = torch.minimum(distance, best)
        return torch.stack(answers)

    return answer


# ---- measuring and keeping


def _measure(
    judges: dict[str, Answer],
    kept: Sequence[str],
    held_out: _Pictures,
    names: Sequence[str],
    keep: "_Results",
    progress: Progress | None,
) -> dict[tuple[str, str], list[float]]:
    """The metrics of every picture, by who and what. What comes out of the `kept` models is kept."""
    values: dict[tuple[str, str], list[float]] = {(who, name): [] for who in judges for name in names}
    for indices, batch in held_out.batches():
        inputs = {name: batch[name] for name in held_out.method.inputs}
        outputs = {who: answer(inputs) for who, answer in judges.items()}
        for who, name in values:
            values[who, name] += _compare(name, outputs[who], batch).tolist()
        measured = {name: values[kept[0], name][indices.start :] for name in names}
        pictures_of = [held_out.store.name(index) for index in indices]
        keep.add(pictures_of, batch, {who: outputs[who] for who in kept}, measured)
        if progress:
            progress("all", indices.stop, len(held_out))
    keep.finish()
    return values


def _compare(name: str, output: Tensor, batch: dict[str, Tensor]) -> Tensor:
    if name in metrics.IN_HOLES:
        return metrics.IN_HOLES[name](output, batch["y"], batch["mask"])
    return metrics.PAIRED[name](output, batch["y"])


class _Results:
    """The folder of one evaluation: single pictures, thumbnails, the numbers of each; there when it is whole."""

    def __init__(self, folder: Path, specification: str, back: Model | None) -> None:
        self.folder, self.specification, self.back = folder, specification, back
        self.beside = folder.with_name(f".partial-{folder.name}")
        shutil.rmtree(self.beside, ignore_errors=True)  # left by an evaluation that was stopped
        self.beside.mkdir(parents=True)
        self.entries: list[dict[str, Any]] = []

    def add(
        self,
        names: Sequence[str],
        batch: dict[str, Tensor],
        outputs: dict[str, Tensor],
        measured: dict[str, list[float]],
    ) -> None:
        """Keeps a batch of pictures, what the model and those before it made of them, and the model's numbers."""
        output, *_ = outputs.values()
        panels = {"input": batch["x"], **{who: of_who for who, of_who in outputs.items() if who != "model"}}
        panels["output"] = output
        if "y" in batch:
            panels["target"] = batch["y"]
        if self.back:
            panels["reconstructed"] = self.back.batch({"x": output})
            if self.back.channels == batch["x"].shape[1]:
                panels["identity"] = self.back.batch({"x": batch["x"]})
        for row, name in enumerate(names):
            _keep(self.beside, name, {panel: batch_of[row] for panel, batch_of in panels.items()})
            numbers = {f"{metric}/{self.specification}": values[row] for metric, values in measured.items()}
            self.entries.append({"name": name, "metrics": numbers, "panels": list(panels)})

    def finish(self) -> None:
        """An older evaluation's results go only now that there are new ones."""
        lines = "".join(json.dumps(entry) + "\n" for entry in self.entries)
        (self.beside / "results.jsonl").write_text(lines, encoding="utf-8")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.beside.rename(self.folder)


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
