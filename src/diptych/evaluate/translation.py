"""Evaluation of a model that translates images, next to baselines that need no model."""

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
from diptych.evaluate.labelmaps import LABEL_MAP_METRICS, LabelMapScore, open_label_maps
from diptych.evaluate.measures import (
    HELD_OUT,
    MAX_IMAGES,
    MAX_PATCHED,
    SET_DISTANCES,
    EvenSubset,
    PatchDistance,
    PerImage,
    SetDistance,
    open_set_distances,
)
from diptych.evaluate.options import EvalOptions
from diptych.evaluate.results import Progress, Results, as_line
from diptych.images.files import as_bytes
from diptych.images.spec import ImageSpec, in_colours
from diptych.kinds import REVERSE, DataKind, Direction
from diptych.methods import METHODS
from diptych.metrics import features
from diptych.model import Model, load
from diptych.training import checkpoint
from diptych.training.run import Run
from diptych.training.validation import specification
from diptych.translators.base import Predictor, Translator

BATCH_SIZE = 16
RGB_METRICS = ("lpips", *SET_DISTANCES)  # their networks take RGB or grey
OPEN_SETS = 3  # datasets in memory at the same time: inputs, targets, and the training set

Measure = PerImage | SetDistance | PatchDistance | LabelMapScore
"""Is fed the outputs of every system batch by batch (`add`), and then gives its `scores`."""


def measure(
    run: Run, paths: DataPaths, split: str, datasets: list[Dataset], options: EvalOptions
) -> list[dict[str, Any]]:
    """Measures on `datasets`, the images of `split`; gives the lines for `metrics.jsonl`.

    Images are resized to the training size, without crop or flip. `results/SPLIT/` gets input, output and target of each.
    There is one line for the model, one for each snapshot, and with `baselines` one for each baseline: for pairs the mean
    training target, and the target of the nearest training input (Euclidean, over all pixels); for unpaired images the
    unchanged input, and the mean training image of the other side; for single images the baselines of the method. Metrics
    that are defined for real images too get a line for the held-out images.

    A model of both directions is measured in both, or in the given `direction`, in `results/SPLIT-AtoB/` and
    `results/SPLIT-BtoA/`, with reconstructions and identities. Unpaired images have no targets, so only set distances are
    measured; side-by-side pairs have targets even if the method was trained without using the pairing.
    """
    models = _open_models(run, options)
    names = _select(run, paths, datasets, options)
    training, names = _training(run, paths, names, options)
    lines = list[dict[str, Any]]()
    for way in [options.direction] if options.direction else models:
        lines += _measure_one_way(run, paths, split, datasets, training, names, way, models, options)
    return lines


def _open_models(run: Run, options: EvalOptions) -> dict[Direction, dict[str, Model]]:
    """The models of each direction, the training direction first: "model", the last one, and snapshots by name.

    A `ValueError` for a direction that the run does not have.
    """
    folders, last = {"model": run.path}, checkpoint.model_step(checkpoint.model_folder(run.path))
    for name in (*getattr(METHODS[run.method], "snapshots", ()), checkpoint.BEST):
        folder = checkpoint.model_folder(run.path, name)
        if folder.exists() and not (name == checkpoint.BEST and checkpoint.model_step(folder) == last):
            folders[name] = folder
    first = load(run.path, direction=options.direction, device=options.device)
    return {
        way: {name: load(folder, direction=way, device=options.device) for name, folder in folders.items()}
        for way in first.translators
    }


def _measure_one_way(
    run: Run,
    paths: DataPaths,
    split: str,
    datasets: list[Dataset],
    training: list[Dataset],
    names: list[str],
    direction: Direction,
    models: dict[Direction, dict[str, Model]],
    options: EvalOptions,
) -> list[dict[str, Any]]:
    ours, back = models[direction], models.get(REVERSE[direction], {}).get("model")
    translator = ours["model"].translator
    held_out = _Images(layouts.input_side(datasets, direction), run, direction, translator)
    left_out = held_out.check(f"{split} pictures", f"{paths}: ", "nothing to measure on", options)
    real = held_out  # the real images of the output's kind
    if len(datasets) > 1:
        real = held_out.like(layouts.input_side(datasets, REVERSE[direction]))
        real.check(f"{split} pictures", f"{paths}: ", "nothing to compare with", options)
    predictors: dict[str, Predictor] = {name: model.predict for name, model in ours.items()}
    if options.baselines:
        predictors |= _baselines(training, held_out, options)
    measures = _measures(names, held_out, real, training, options)
    with Results(run.path / "results" / (f"{split}-{direction}" if back else split), options.note) as results:
        _measure_images(held_out, predictors, measures, list(ours), back, results, options)
    lines = []
    for system in (*predictors, HELD_OUT):
        scores = [score for one in measures for score in one.scores(system)]
        if scores or system in predictors:
            count = len(real if system == HELD_OUT else held_out)
            line: dict[str, Any] = {"step": ours.get(system, ours["model"]).step, "count": count}
            if not held_out.makes_inputs:
                line["direction"] = direction
            if left_out:
                line["left-out"] = len(left_out)
            lines.append({**line, "who": system, **as_line(scores)})
    return lines


def _measure_images(
    held_out: "_Images",
    predictors: dict[str, Predictor],
    measures: list[Measure],
    shown: list[str],
    back: Model | None,
    results: Results,
    options: EvalOptions,
) -> None:
    """Feeds the measures with every image, and adds those of the `shown` systems to the results."""
    for indices, batch in held_out.batches():
        inputs = {name: batch[name] for name in held_out.translator.input_specs}
        outputs = {system: predict(inputs) for system, predict in predictors.items()}
        per_image = dict[str, list[float]]()  # of the model
        for one in measures:
            for system, output in outputs.items():
                values = one.add(system, output, batch)
                if system == "model":
                    per_image |= values
            if isinstance(one, LabelMapScore):
                one.add(HELD_OUT, batch["y"], batch)
        panels = _panels(batch, {name: outputs[name] for name in shown}, back)
        specs = held_out.settings.specs
        panels = {panel: in_colours(images, *specs) for panel, images in panels.items()}
        for row, index in enumerate(indices):
            finite = {name: column[row] for name, column in per_image.items() if not math.isnan(column[row])}
            results.add(held_out.cached.name(index), {panel: images[row] for panel, images in panels.items()}, finite)
        if options.progress:
            options.progress("measuring", indices.stop, len(held_out))


def _select(run: Run, paths: DataPaths, datasets: list[Dataset], options: EvalOptions) -> list[str]:
    """Names of the metrics to measure; a `ValueError` for one that this data does not allow."""
    settings, method = run.settings, METHODS[run.method]
    with_targets = [*dict.fromkeys((*metrics.PAIRED, *method.metrics)), "lpips"]
    label_maps = LABEL_MAP_METRICS if method.data.has_sides else ()
    usual = [*method.metrics, "lpips", *label_maps] if len(datasets) == 1 else []
    usual += ["swd"]
    if method.data == DataKind.UNPAIRED:
        usual += SET_DISTANCES
    channels = {spec.channels for spec in settings.specs}
    available = [*with_targets, "swd", *SET_DISTANCES, *label_maps]
    if unseen := [side for side, spec in zip("AB", settings.specs, strict=True) if not spec.is_seen_by_others]:
        why = f"its network sees RGB or grey, and {unseen[0]} has {settings.specs['AB'.index(unseen[0])].channels} channels"
        if asked := [name for name in options.names or () if name in RGB_METRICS]:
            raise ValueError(f"--metrics {','.join(asked)}: {why}; leave it out, swd compares all channels")
        options.note_missing([name for name in usual if name in RGB_METRICS], why)
        usual = [name for name in usual if name not in RGB_METRICS]
    names = options.select_metrics(available, usual, run.path)
    colour_metrics = set(options.names or ()) & set(metrics.COLOUR_METRICS)
    if colour_metrics and channels != {3}:
        raise ValueError(
            f"--metrics {','.join(sorted(colour_metrics))}: compares colours, and {run.path} has grey pictures"
        )
    if len(datasets) > 1 and (compared := [name for name in names if name not in (*SET_DISTANCES, "swd")]):
        raise ValueError(
            f"--metrics {','.join(compared)}: compares with a target, and in {paths} no B belongs to an A; "
            "leave it out, or give side-by-side pairs"
        )
    return names


def _training(run: Run, paths: DataPaths, names: list[str], options: EvalOptions) -> tuple[list[Dataset], list[str]]:
    """The training set, if a metric or baseline needs it, and the metrics that can be measured with the available data."""
    needing = [name for name in names if name in (*SET_DISTANCES, *LABEL_MAP_METRICS)]
    if not needing and not options.baselines:
        return [], names
    try:
        training = layouts.find(METHODS[run.method].data, paths, "train", run.settings.specs)
        assert training is not None
    except ValueError as error:
        if options.baselines or options.names is not None:
            raise
        options.note_missing(needing, error)
        return [], [name for name in names if name not in needing]
    return training, names


def _measures(
    names: list[str], held_out: "_Images", real: "_Images", training: list[Dataset], options: EvalOptions
) -> list[Measure]:
    """The measures of these metrics in one direction; `real` are real images of the output's kind."""
    protocol = specification(held_out.translator, held_out.settings.size)
    per_image = [name for name in names if name not in ("swd", *SET_DISTANCES, *LABEL_MAP_METRICS)]
    measures: list[Measure] = [PerImage(per_image, protocol, options)] if per_image else []

    if "swd" in names:
        count = min(len(held_out), len(real), MAX_PATCHED)
        if count < 2:
            options.note_missing(["swd"], "compares sets of two pictures or more")
        else:
            seeded = specification(held_out.translator, held_out.settings.size, seeded=True)
            selected = set(evenly_spaced(count, len(held_out)))
            measures.append(PatchDistance(torch.stack([*real.targets(count)]), selected, seeded, options))

    def real_training() -> EvenSubset:
        images = held_out.like(layouts.input_side(training, REVERSE[held_out.direction]), MAX_IMAGES)
        images.check("training pictures", "", "nothing to compare with", options)
        return images.targets(MAX_IMAGES)

    set_distances = [name for name in names if name in SET_DISTANCES]
    for distance in open_set_distances(set_distances, real_training, "-training", protocol, options):
        count = min(len(held_out), len(real), MAX_IMAGES)  # a set distance depends on the size of the sets
        distance.selected = set(evenly_spaced(count, len(held_out)))
        progress = options.progress_of(f"reading {HELD_OUT}")
        rows = features.extract(distance.reader, real.targets(count), keep=True, progress=progress)
        distance.add_features(HELD_OUT, rows)
        measures.append(distance)
    if label_maps := [name for name in names if name in LABEL_MAP_METRICS]:
        pairs = training[0].pairs if isinstance(training[0], PairSide) else training[0]
        sides = {"x": held_out.translator.input_specs.get("x"), "y": held_out.translator.output_spec}
        planes = {side for side, spec in sides.items() if isinstance(spec, ImageSpec) and spec.labels}
        measures += open_label_maps(label_maps, held_out.like(pairs).both_sides, protocol, options, planes)
    return measures


class _Images:
    """The images of a dataset at the training size, in batches: the translator's inputs, and y if there are targets."""

    def __init__(
        self, dataset: Dataset, run: Run, direction: Direction, translator: Translator, most: int | None = None
    ) -> None:
        """At most `most` images of the dataset, evenly spaced; None for all."""
        self.run, self.direction, self.translator = run, direction, translator
        self.settings, self.makes_inputs = run.settings, METHODS[run.method].data == DataKind.IMAGES
        memory_gib = self.settings.memory_gib / OPEN_SETS
        [self.cached] = open_cached([dataset], self.settings.size, self.settings.fit, memory_gib, most)
        self.loader = EvalLoader([self.cached], direction, translator.mask_spec)

    def like(self, dataset: Dataset, most: int | None = None) -> "_Images":
        """The images of another dataset, for the same translator."""
        return _Images(dataset, self.run, self.direction, self.translator, most)

    def __len__(self) -> int:
        return len(self.cached)

    def check(self, subject: str, prefix: str, remedy: str, options: EvalOptions) -> dict[str, str]:
        """Leaves out images that cannot be measured on; a `ValueError` if none remains."""
        progress = options.progress_of(f"looking at {subject}")
        left_out = self.cached.check(self.settings.workers, progress, self.translator.reject_reason)
        if not len(self):
            words = " and ".join(sorted(set(left_out.values())))
            raise ValueError(f"{prefix}all {len(left_out)} {subject} are {words}: {remedy}")
        return left_out

    def batches(self, most: int | None = None) -> Iterator[tuple[range, dict[str, Tensor]]]:
        """At most `most` images, evenly spaced; None for all."""
        for indices, batch in self.loader.batches(min(len(self), most or len(self)), BATCH_SIZE):
            if "x" not in batch and not self.makes_inputs:  # one of two sets
                batch = {"x": batch["y"]}
            yield indices, {**batch, **self.translator.inputs_from(batch)}

    def both_sides(self, most: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets, uint8 `[N, C, H, W]`, at most `most`, evenly spaced."""
        pairs = [(as_bytes(batch["x"]), as_bytes(batch["y"])) for _, batch in self.batches(most)]
        x, y = (torch.cat(side) for side in zip(*pairs, strict=True))
        return x, y

    def targets(self, most: int) -> EvenSubset:
        """At most `most` real images of the output's kind, evenly spaced."""
        return EvenSubset(lambda index: as_bytes(self.loader.batch([index], len(self))["y"][0]), len(self), most)


# ---- baselines


def _baselines(training: list[Dataset], held_out: _Images, options: EvalOptions) -> dict[str, Predictor]:
    """Baselines computed from the training set, without a model."""
    if held_out.makes_inputs:
        singles = held_out.like(training[0])
        singles.check("training pictures", "--baselines: ", "leave it out, or give others", options)
        return held_out.translator.baselines(batch["y"] for _, batch in singles.batches())
    if len(training) == 1:
        pairs = held_out.like(training[0])
        return {
            "mean training target": _mean(pairs, "y", options.progress),
            "target of the nearest training input": _nearest(pairs),
        }
    mean = _mean(held_out.like(layouts.input_side(training, REVERSE[held_out.direction])), "x", options.progress)
    if len({spec.channels for spec in held_out.settings.specs}) > 1:
        return {"mean training picture": mean}
    return {"the input as it is": lambda inputs: inputs["x"], "mean training picture": mean}


def _mean(training: _Images, side: str, progress: Progress | None) -> Predictor:
    total = torch.zeros(())
    for indices, batch in training.batches():
        total = total + batch[side].double().sum(0)
        if progress:
            progress("the mean", indices.stop, len(training))
    mean = (total / len(training)).float()
    return lambda inputs: mean.expand(len(inputs["x"]), *mean.shape)


def _nearest(training: _Images) -> Predictor:
    def predict(inputs: dict[str, Tensor]) -> Tensor:
        x = inputs["x"]
        best = torch.full((len(x),), torch.inf)
        nearest: list[Tensor] = [x] * len(x)
        for _, batch in training.batches():
            distance, index = torch.cdist(x.flatten(1), batch["x"].flatten(1)).min(dim=1)
            for row in (distance < best).nonzero().flatten().tolist():
                nearest[row] = batch["y"][index[row]]
            best = torch.minimum(distance, best)
        return torch.stack(nearest)

    return predict


def _panels(batch: dict[str, Tensor], outputs: dict[str, Tensor], back: Model | None) -> dict[str, Tensor]:
    """The images of a batch to save in the results, by panel."""
    output = outputs["model"]
    panels = {"input": batch["x"], **{name: images for name, images in outputs.items() if name != "model"}}
    panels["output"] = output
    if "y" in batch:
        panels["target"] = batch["y"]
    if back:
        panels["reconstructed"] = back.run(output)
        if output.shape[1] == batch["x"].shape[1]:
            panels["identity"] = back.run(batch["x"])
    return panels
