"""What a model translates, compared with targets, beside baselines that anybody can have."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from diptych import metrics
from diptych.data import layouts
from diptych.data.datasets import Dataset, PairSide
from diptych.data.loaders import EvalLoader, evenly_spaced, open_cached
from diptych.data.paths import DataPaths
from diptych.evaluate.labelmaps import OF_LABEL_MAPS, LabelMapScore, open_label_maps
from diptych.evaluate.measures import HELD_OUT, OF_SETS, READ, Measure, PerImage, Spread, open_sets
from diptych.evaluate.options import EvalOptions
from diptych.evaluate.results import Progress, Results, as_line
from diptych.images.files import as_bytes
from diptych.kinds import REVERSE, Direction
from diptych.methods import METHODS
from diptych.methods.base import Method, Predictor
from diptych.metrics import features
from diptych.model import Model, load
from diptych.training import checkpoint
from diptych.training.run import Run, Settings
from diptych.training.validation import specification

AT_ONCE = 16
OF_RGB = ("lpips", *OF_SETS)  # their networks take RGB or grey
TOGETHER = 3  # sets that may be open at the same time: what goes in, what should come out, and the training's


def measure(run: Run, place: DataPaths, split: str, sources: list[Dataset], asked: EvalOptions) -> list[dict[str, Any]]:
    """Measures on the pictures of `sources`, which are those of `split`; gives the lines for `metrics.jsonl`.

    Pictures are resized to the training size, without crop or flip. `results/SPLIT/` gets the input, the output and the
    target of each pair. There is one line for the model, one for each model that was kept on the way, and with `baselines`
    one for each way to answer without a model: for a method that learns from pairs the mean training target, and the
    target of the nearest training input (Euclidean, over all pixels); for unpaired pictures the input as it is, and the
    mean training picture of the other side; for single pictures what the method knows. Metrics that have a number for real
    pictures too have a line for the held-out ones.

    A method that translates both ways is measured both ways, or in the `direction` given, in `results/SPLIT-AtoB/` and
    `results/SPLIT-BtoA/`, with what came back and what became of pictures that needed no translation. Where no B belongs
    to an A, there are no targets to compare with, and only the metrics of sets of pictures; side-by-side pairs have targets
    also where the training took the sides apart.
    """
    settings, method = run.settings, METHODS[run.method]
    chosen = _chosen(run, place, sources, asked)
    directions = [asked.direction or settings.direction]
    if method.two_way and asked.direction is None:
        directions.append(REVERSE[settings.direction])

    kept = {name: checkpoint.kept(run.path, name) for name in (*method.kept, checkpoint.BEST)}
    kept = {name: path for name, path in kept.items() if path.exists()}
    ways = list(REVERSE) if method.two_way else directions
    models = {way: load(run.path, direction=way, device=asked.device) for way in ways}
    training, chosen = _training(run, place, chosen, asked)
    lines = []
    for way in directions:
        model = models[way]
        earlier = {name: load(path, direction=way, device=asked.device) for name, path in kept.items()}
        held_out = _Pictures(_inputs(sources, way), settings, way, model.method)
        left_out = held_out.check(f"{split} pictures", f"{place}: ", "nothing to measure on", asked)
        others = held_out  # the real pictures of the kind that comes out
        if len(sources) > 1:
            others = _Pictures(_inputs(sources, REVERSE[way]), settings, way, model.method)
            others.check(f"{split} pictures", f"{place}: ", "nothing to compare with", asked)
        judges: dict[str, Predictor] = {"model": model.batch, **{name: one.batch for name, one in earlier.items()}}
        if asked.baselines:
            judges |= _baselines(training, settings, way, model.method, asked)
        measures = _measures(chosen, held_out, others, training, way, asked)
        part = f"{split}-{way}" if method.two_way else split
        back = models[REVERSE[way]] if method.two_way else None
        results = Results(run.path / "results" / part)
        for indices, batch, outputs in _answers(judges, held_out, asked.progress):
            of_each = {who: _fed(measures, who, output, batch) for who, output in outputs.items()}
            for one in measures:
                if isinstance(one, LabelMapScore):
                    one.add(HELD_OUT, batch["y"], batch)
            panels = _panels(batch, {who: outputs[who] for who in ("model", *earlier)}, back)
            for row, index in enumerate(indices):
                numbers = {
                    name: values[row] for name, values in of_each["model"].items() if not math.isnan(values[row])
                }
                results.add(
                    held_out.store.name(index), {panel: of_all[row] for panel, of_all in panels.items()}, numbers
                )
        results.finish()
        for who in (*judges, HELD_OUT):
            found = [number for one in measures for number in one.numbers(who)]
            if found or who in judges:
                count = len(others if who == HELD_OUT else held_out)
                line: dict[str, Any] = {"step": earlier.get(who, model).step, "count": count}
                if method.data != "images":  # what goes in is made from what comes out
                    line["direction"] = way
                if left_out:
                    line["left-out"] = len(left_out)
                lines.append({**line, "who": who, **as_line(found)})
    return lines


def _chosen(run: Run, place: DataPaths, sources: list[Dataset], asked: EvalOptions) -> list[str]:
    """The names of the metrics to measure; a `ValueError` for those that these pictures do not allow."""
    settings, method = run.settings, METHODS[run.method]
    with_targets = [*metrics.PAIRED, *(metrics.IN_HOLES if "mask" in method.inputs else ()), "lpips"]
    there = [*with_targets, *OF_SETS, *(OF_LABEL_MAPS if method.data != "images" else ())]
    usual = [*method.metrics, "lpips"] if len(sources) == 1 else []
    if len(sources) == 1 and method.data != "images":
        usual += OF_LABEL_MAPS
    if method.data == "unpaired":
        usual += OF_SETS
    if not {settings.channels_a, settings.channels_b} <= {1, 3}:
        there, usual = ([name for name in names if name not in OF_RGB] for names in (there, usual))
    chosen = asked.chosen(there, usual, run.path)
    of_colour = set(asked.names or ()) & set(metrics.OF_COLOUR)
    if of_colour and {settings.channels_a, settings.channels_b} != {3}:
        raise ValueError(f"--metrics {','.join(sorted(of_colour))}: compares colours, and {run.path} has grey pictures")
    if len(sources) > 1 and (compared := [name for name in chosen if name not in OF_SETS]):
        raise ValueError(
            f"--metrics {','.join(compared)}: compares with a target, and in {place} no B belongs to an A; "
            "leave it out, or give side-by-side pairs"
        )
    return chosen


def _training(run: Run, place: DataPaths, chosen: list[str], asked: EvalOptions) -> tuple[list[Dataset], list[str]]:
    """The training pictures, where something needs them, and the metrics that can be measured with what there is."""
    needing = [name for name in chosen if name in (*OF_SETS, *OF_LABEL_MAPS)]
    if not needing and not asked.baselines:
        return [], chosen
    try:
        found = layouts.find(METHODS[run.method].data, place, "train", run.settings.specs)
        assert found is not None
    except ValueError as error:
        if asked.baselines or asked.names is not None:
            raise
        asked.miss(needing, error)
        return [], [name for name in chosen if name not in needing]
    return found, chosen


def _measures(
    chosen: list[str],
    held_out: "_Pictures",
    others: "_Pictures",
    training: list[Dataset],
    way: Direction,
    asked: EvalOptions,
) -> list[Measure]:
    """What measures those metrics one way, on what is made of `held_out`; `others` are real pictures of that kind."""
    settings, method = held_out.settings, held_out.method
    behind = specification(method, settings.size)
    of_pictures = [name for name in chosen if name not in (*OF_SETS, *OF_LABEL_MAPS)]
    measures: list[Measure] = [PerImage(of_pictures, behind, asked)] if of_pictures else []

    def learnt_from() -> Spread:
        real = _Pictures(_inputs(training, REVERSE[way]), settings, way, method, READ)
        real.check("training pictures", "", "nothing to compare with", asked)
        return real.real(READ)

    of_sets = [name for name in chosen if name in OF_SETS]
    for one in open_sets(of_sets, learnt_from, "-training", behind, asked):
        as_many = min(len(held_out), len(others), READ)  # a distance depends on how many there are
        one.taken = set(evenly_spaced(as_many, len(held_out)))
        said = asked.counted(f"reading {HELD_OUT}")
        one.add_features(HELD_OUT, features.of_set(one.reader, others.real(as_many), keep=True, progress=said))
        measures.append(one)
    if of_label_maps := [name for name in chosen if name in OF_LABEL_MAPS]:
        pairs = training[0].pairs if isinstance(training[0], PairSide) else training[0]
        measures += open_label_maps(of_label_maps, _Pictures(pairs, settings, way, method).sides, behind, asked)
    return measures


def _fed(measures: list[Measure], who: str, output: Tensor, batch: dict[str, Tensor]) -> dict[str, list[float]]:
    """Feeds someone's answers to every measure; gives the numbers of each picture."""
    return {name: values for one in measures for name, values in one.add(who, output, batch).items()}


def _inputs(sources: list[Dataset], direction: Direction) -> Dataset:
    """The source that the input is taken from: the pairs, or the one side."""
    return sources[0] if len(sources) == 1 or direction == "AtoB" else sources[1]


class _Pictures:
    """The pictures of a source at the training size, in batches: what goes in, and y where there is one."""

    def __init__(
        self, source: Dataset, settings: Settings, direction: Direction, method: Method, most: int | None = None
    ) -> None:
        """All of the source, or so many at most, spread over all."""
        self.settings, self.method = settings, method
        [self.store] = open_cached([source], settings.size, settings.fit, settings.memory_gib / TOGETHER, most)
        self.plain = EvalLoader([self.store], direction, method.holes)

    def __len__(self) -> int:
        return len(self.store)

    def check(self, which: str, before: str, remedy: str, asked: EvalOptions) -> dict[str, str]:
        """Leaves out what is of no use to the method; a `ValueError` where nothing is left."""
        said = asked.counted(f"looking at {which}")
        left_out = self.store.check(self.settings.workers, said, self.method.of_no_use)
        if not len(self):
            words = " and ".join(sorted(set(left_out.values())))
            raise ValueError(f"{before}all {len(left_out)} {which} are {words}: {remedy}")
        return left_out

    def batches(self, most: int | None = None) -> Iterator[tuple[range, dict[str, Tensor]]]:
        """All of them, or so many at most, spread over all."""
        for indices, batch in self.plain.batches(min(len(self), most or len(self)), AT_ONCE):
            if self.method.data == "unpaired" and "x" not in batch:
                batch = {"x": batch["y"]}
            yield indices, self.method.whole(batch)

    def sides(self, most: int) -> tuple[Tensor, Tensor]:
        """What goes in and what should come out, uint8 `[N, C, S, S]`, of so many at most, spread over all."""
        sides: tuple[Tensor, ...] = ()
        for numbers, batch in self.batches(most):
            pair = as_bytes(batch["x"]), as_bytes(batch["y"])
            sides = sides or tuple(side.new_empty(min(most, len(self)), *side.shape[1:]) for side in pair)
            for side, some in zip(sides, pair, strict=True):
                side[numbers.start : numbers.stop] = some
        x, y = sides
        return x, y

    def real(self, most: int) -> Spread:
        """The side that comes out, of so many at most, spread over all."""
        return Spread(lambda place: as_bytes(self.plain.batch([place], len(self))["y"][0]), len(self), most)


# ---- answers without a model


def _baselines(
    training: list[Dataset], settings: Settings, direction: Direction, method: Method, asked: EvalOptions
) -> dict[str, Predictor]:
    """What anybody could answer who has the training pictures, as pairs, as two sets, or as single pictures."""
    if method.data == "images":
        singles = _Pictures(training[0], settings, direction, method)
        singles.check("training pictures", "--baselines: ", "leave it out, or give others", asked)
        return method.baselines(batch["y"] for _, batch in singles.batches())
    if len(training) == 1:
        pairs = _Pictures(training[0], settings, direction, method)
        return {
            "mean training target": _always_the_mean(pairs, "y", asked.progress),
            "target of the nearest training input": _nearest(pairs),
        }
    targets = _Pictures(_inputs(training, REVERSE[direction]), settings, direction, method)
    mean = _always_the_mean(targets, "x", asked.progress)
    if settings.channels_a != settings.channels_b:
        return {"mean training picture": mean}
    return {"the input as it is": lambda batch: batch["x"], "mean training picture": mean}


def _always_the_mean(training: _Pictures, side: str, progress: Progress | None) -> Predictor:
    total = torch.zeros(())
    for indices, batch in training.batches():
        total = total + batch[side].double().sum(0)
        if progress:
            progress("the mean", indices.stop, len(training))
    mean = (total / len(training)).float()
    return lambda batch: mean.expand(len(batch["x"]), *mean.shape)


def _nearest(training: _Pictures) -> Predictor:
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


# ---- measuring


def _answers(
    judges: dict[str, Predictor], held_out: _Pictures, progress: Progress | None
) -> Iterator[tuple[range, dict[str, Tensor], dict[str, Tensor]]]:
    """Batch by batch: which pictures, what they are, and what everyone makes of them."""
    for indices, batch in held_out.batches():
        inputs = {name: batch[name] for name in held_out.method.inputs}
        yield indices, batch, {who: answer(inputs) for who, answer in judges.items()}
        if progress:
            progress("measuring", indices.stop, len(held_out))


def _panels(batch: dict[str, Tensor], outputs: dict[str, Tensor], back: Model | None) -> dict[str, Tensor]:
    """What is kept of a batch: the input, what the model and those before it made of it, and what there is to compare."""
    output = outputs["model"]
    panels = {"input": batch["x"], **{who: of_who for who, of_who in outputs.items() if who != "model"}}
    panels["output"] = output
    if "y" in batch:
        panels["target"] = batch["y"]
    if back:
        panels["reconstructed"] = back.batch({"x": output})
        if back.channels == batch["x"].shape[1]:
            panels["identity"] = back.batch({"x": batch["x"]})
    return panels
