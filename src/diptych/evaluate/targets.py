"""What a model translates, compared with targets, beside baselines that anybody can have."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from diptych import metrics
from diptych.data import layouts
from diptych.data.batches import Direction, open_stores, split_sides
from diptych.data.layouts import Place
from diptych.data.pictures import from_bytes
from diptych.data.sources import Half, Source
from diptych.devices import Device
from diptych.evaluate.results import Progress, Results
from diptych.methods import METHODS
from diptych.methods.base import Answer, Method
from diptych.model import Model, load
from diptych.run import Run, Settings

AT_ONCE = 16
BACK: dict[Direction, Direction] = {"AtoB": "BtoA", "BtoA": "AtoB"}


def measure(
    run: Run,
    place: Place,
    split: str,
    sources: list[Source],
    *,
    names: Sequence[str] | None,
    baselines: bool,
    direction: Direction | None,
    device: Device,
    progress: Progress | None,
) -> list[dict[str, Any]]:
    """Measures on the pictures of `sources`, which are those of `split`; gives the lines for `metrics.jsonl`.

    Pictures are resized to the training size, without crop or flip. `results/SPLIT/` gets the input, the output and the
    target of each pair. There is one line for the model and, with `baselines`, one for each way to answer without a model:
    for a method that learns from pairs the mean training target, and the target of the nearest training input (Euclidean,
    over all pixels); for unpaired pictures the input as it is, and the mean training picture of the other side; for single
    pictures what the method knows.

    A method that translates both ways is measured both ways, or in the `direction` given, in `results/SPLIT-AtoB/` and
    `results/SPLIT-BtoA/`, with what came back and what became of pictures that needed no translation. The numbers compare
    with a target, so side-by-side pairs are needed for them also where the training took the sides apart; other
    pictures are translated and kept, with no numbers.
    """
    settings, method = run.settings, METHODS[run.method]
    there = [*metrics.PAIRED, *(metrics.IN_HOLES if "mask" in method.inputs else ())]
    if unknown := [name for name in names or () if name not in there]:
        raise ValueError(
            f"--metrics {unknown[0]}: there is no such metric for {run.path}; there are: {', '.join(there)}"
        )
    of_colour = set(names or ()) & set(metrics.OF_COLOUR)
    if of_colour and 1 in (settings.channels_a, settings.channels_b):
        raise ValueError(f"--metrics {','.join(sorted(of_colour))}: compares colours, and {run.path} has grey pictures")
    if isinstance(sources[0], Half):  # they were pairs before the training took them apart
        sources = [sources[0].pairs]
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

    kept = {name: run.path / f"model-{name}" for name in method.kept}
    earlier = {name: load(path, device=device) for name, path in kept.items() if path.exists()}
    ways = list(BACK) if method.two_way else directions
    models = {way: load(run.path, direction=way, device=device) for way in ways}
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
        values = dict[tuple[str, str], list[float]]()
        results = Results(run.path / "results" / part)
        for indices, batch, outputs in _answers(judges, held_out, progress):
            for who in judges:
                for name in chosen:
                    values.setdefault((who, name), []).extend(_compare(name, outputs[who], batch).tolist())
            panels = _panels(batch, {who: outputs[who] for who in ("model", *earlier)}, back)
            for row, index in enumerate(indices):
                numbers = {f"{name}/{specification}": values["model", name][index] for name in chosen}
                results.add(
                    held_out.store.name(index), {panel: of_all[row] for panel, of_all in panels.items()}, numbers
                )
        results.finish()
        lines += [
            {
                "step": earlier.get(who, model).step,
                "direction": way,
                "count": len(held_out),
                **({"left-out": len(left_out)} if left_out else {}),
                "who": who,
                "metrics": {f"{name}/{specification}": _mean(values[who, name]) for name in chosen},
            }
            for who in judges
        ]
    return lines


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


# ---- measuring


def _answers(
    judges: dict[str, Answer], held_out: _Pictures, progress: Progress | None
) -> Iterator[tuple[range, dict[str, Tensor], dict[str, Tensor]]]:
    """Batch by batch: which pictures, what they are, and what everyone makes of them."""
    for indices, batch in held_out.batches():
        inputs = {name: batch[name] for name in held_out.method.inputs}
        yield indices, batch, {who: answer(inputs) for who, answer in judges.items()}
        if progress:
            progress("all", indices.stop, len(held_out))


def _compare(name: str, output: Tensor, batch: dict[str, Tensor]) -> Tensor:
    if name in metrics.IN_HOLES:
        return metrics.IN_HOLES[name](output, batch["y"], batch["mask"])
    return metrics.PAIRED[name](output, batch["y"])


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
