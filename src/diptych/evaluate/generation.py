"""Evaluation of a model that generates images from noise, by a classifier trained on the real training images.

* `label-accuracy`: the share of generated images that the classifier assigns to the label they were generated for.
* `classification-accuracy-score` (Ravuri and Vinyals 2019): the accuracy, on the real held-out images, of a second
  classifier that is trained on generated images alone, as many of each class as in the training set.
* `frechet-distance` (Heusel et al. 2017, section 3) between generated and real training images, in the features of the
  classifier instead of Inception. It is larger for fewer images, so the number of generated images equals the number of
  held-out ones, in the class proportions of the training set.

The same metrics of the held-out images are reported next to these: a generator should hardly do better. Set distances
(`measures.SET_DISTANCES`) are measured too, if their feature network is available.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych import metrics
from diptych.data import layouts
from diptych.data.datasets import Dataset
from diptych.data.loaders import evenly_spaced, open_cached
from diptych.data.paths import DataPaths
from diptych.evaluate.learning import fit
from diptych.evaluate.measures import HELD_OUT, MAX_IMAGES, SET_DISTANCES, open_set_distances
from diptych.evaluate.options import EvalOptions
from diptych.evaluate.results import Results, Score, as_line
from diptych.files import cached, digest
from diptych.images.files import as_bytes, from_bytes
from diptych.methods import METHODS
from diptych.metrics import features
from diptych.metrics.networks.classifier import Classifier
from diptych.model import Model, load
from diptych.training.run import Run
from diptych.training.validation import specification

LABEL_METRICS = ("label-accuracy", "classification-accuracy-score")
METRICS = (*LABEL_METRICS, "frechet-distance")
GENERATED = 10_000  # images, of all classes together
MAX_REAL = 60_000  # real images, evenly spaced
SAVED = 200  # images in the results folder, of all classes together
EPOCHS, MIN_STEPS, TRAIN_BATCH_SIZE, LR = 3, 400, 128, 2e-3  # of a classifier
BATCH_SIZE = 512


@dataclass(frozen=True)
class _Labelled:
    """Images, uint8 `[N, C, H, W]`, and their labels, int64 `[N]`."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, most: int) -> "_Labelled":
        """At most `most` of them, evenly spaced."""
        rows = evenly_spaced(most, len(self))
        return _Labelled(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class _Sets:
    """The sets of images that the metrics compare."""

    real: _Labelled
    """Of the training set."""
    held_out: _Labelled
    generated: _Labelled
    """An equal number of each class."""
    matched: _Labelled
    """Generated, as many as are held out, in the class proportions of the training set."""
    matched_held_out: _Labelled
    """The held-out images whose distance to the training set is compared with that of `matched`."""


def measure(
    run: Run, paths: DataPaths, split: str, datasets: list[Dataset], options: EvalOptions
) -> list[dict[str, Any]]:
    """Generates and measures; gives the lines for `metrics.jsonl`: that of the model and that of the held-out images.

    `results/drawn/` gets some of the images, each with the classifier's probability of its label. A model without labels
    has no `LABEL_METRICS`; data without classes has no classifier.
    """
    model = load(run.path, direction=options.direction, device=options.device)
    found = layouts.find(METHODS[run.method].data, paths, "train", run.settings.specs)
    if not found:
        raise ValueError(f"{paths}: has no training pictures to compare with; give the data that the run learnt from")
    training, held_out = found[0], datasets[0]
    classes = training.classes if held_out.classes else ()
    names = _select(run, paths, model, bool(classes), options)
    if classes:
        _require_classes(run, paths, split, model, classes, held_out)
    if "frechet-distance" in names and min(len(held_out), len(training)) < 2:
        raise ValueError(
            f"{paths}: a Fréchet distance takes two pictures or more, here of train and of {split}; give more, or leave it "
            f"out by --metrics {','.join(LABEL_METRICS)}"
        )
    sets = _load_sets(run, model, training, held_out, classes, options)
    protocol = specification(model.translator, run.settings.size)
    of_model, of_held_out = list[Score](), list[Score]()

    classifier = _classifier(sets.real, len(classes), model.device, options) if classes else None
    if classifier:
        for name, value, reference in _classifier_metrics(names, classifier, sets, model, classes, options):
            of_model.append(Score(f"{name}/classifier/{protocol}", value))
            of_held_out.append(Score(f"{name}/classifier/{protocol}", reference))
    set_distances = [name for name in names if name in SET_DISTANCES]
    for distance in open_set_distances(
        set_distances, lambda: sets.real.subset(MAX_IMAGES).images, "-training", protocol, options
    ):
        distance.add_features("model", features.extract(distance.reader, sets.matched.images, keep=False))
        distance.add_features(HELD_OUT, features.extract(distance.reader, sets.matched_held_out.images, keep=True))
        of_model += distance.scores("model")
        of_held_out += distance.scores(HELD_OUT)
    with Results(run.path / "results" / "drawn", options.note) as results:
        _save(results, model, classifier, sets.generated, classes, f"classifier/{protocol}")
    return [
        {"step": model.step, "split": "drawn", "count": len(sets.generated), "who": "model", **as_line(of_model)},
        {"step": model.step, "count": len(sets.held_out), "who": HELD_OUT, **as_line(of_held_out)},
    ]


def _select(run: Run, paths: DataPaths, model: Model, has_classes: bool, options: EvalOptions) -> list[str]:
    """Names of the metrics to measure; a `ValueError` for one that this data or model does not allow."""
    if options.baselines:
        raise ValueError("--baselines: the held-out pictures are always measured beside the drawn ones; leave it out")
    if not has_classes and (classified := [name for name in options.names or () if name in METRICS]):
        raise ValueError(
            f"--metrics {classified[0]}: the pictures in {paths} are in no classes, and a classifier of them measures "
            "that; put those of each class into a folder of its own, or leave it out"
        )
    by_classifier = METRICS if model.translator.classes else METRICS[len(LABEL_METRICS) :]
    set_distances = SET_DISTANCES if run.settings.channels_a in (1, 3) else ()
    available = [*(by_classifier if has_classes else ()), *set_distances]
    return options.select_metrics(available, available, run.path)


def _require_classes(
    run: Run, paths: DataPaths, split: str, model: Model, classes: Sequence[str], held_out: Dataset
) -> None:
    """Raises a `ValueError` for a class of the model or of the held-out set that the training set does not have."""
    for names, subject, remedy in (
        (model.translator.classes, run.path, "give the pictures that the run learnt from"),
        (held_out.classes, f"{paths}, {split}", "add such pictures to those of the training, or move these away"),
    ):
        if unknown := [name for name in names if name not in classes]:
            raise ValueError(
                f"{subject}: {unknown[0]} is no class of the training pictures in {paths}, which are in "
                f"{', '.join(classes)}; {remedy}"
            )


# ---- sets of images


def _load_sets(
    run: Run, model: Model, training: Dataset, held_out: Dataset, classes: Sequence[str], options: EvalOptions
) -> _Sets:
    real, unseen = (_real_images(dataset, classes, run, options) for dataset in (training, held_out))
    generated = _generated(model, classes, _even_counts(GENERATED, model.translator.classes or (None,)), options)
    count = min(len(unseen), len(real), GENERATED)
    like_training = _counts_like(real.subset(count), model, classes)
    return _Sets(real, unseen, generated, _generated(model, classes, like_training, options), unseen.subset(count))


def _even_counts(count: int, labels: Sequence[str | None]) -> dict[str | None, int]:
    """Numbers of images by label that add up to `count`, at least one of each.

    >>> _even_counts(8, ["a", "b", "c"])
    {'a': 2, 'b': 3, 'c': 3}
    """
    ends = [n * count // len(labels) for n in range(len(labels) + 1)]
    return {label: max(b - a, 1) for label, (a, b) in zip(labels, pairwise(ends), strict=True)}


def _counts_like(real: _Labelled, model: Model, classes: Sequence[str]) -> dict[str | None, int]:
    """The number of real images of each label."""
    if not classes or not model.translator.classes:
        return _even_counts(len(real), model.translator.classes or (None,))
    counts = Counter(classes[label] for label in real.labels.tolist())
    return {label: counts[label] for label in model.translator.classes}


def _real_images(dataset: Dataset, classes: Sequence[str], run: Run, options: EvalOptions) -> _Labelled:
    """The images of a dataset at the training size, at most MAX_REAL; label 0 without classes."""
    [cached] = open_cached([dataset], run.settings.size, run.settings.fit, memory_gib=0)
    rows, images = evenly_spaced(MAX_REAL, len(cached)), list[Tensor]()
    progress = options.progress_of("looking at real pictures")
    for done, row in enumerate(rows, start=1):
        images.append(cached.get(row))
        if progress:
            progress(done, len(rows))
    labels = [classes.index(cached.class_name(row)) if classes else 0 for row in rows]
    return _Labelled(torch.stack(images), torch.tensor(labels))


def _generated(
    model: Model, classes: Sequence[str], counts: Mapping[str | None, int], options: EvalOptions
) -> _Labelled:
    """Generated images of each label, as many as `counts` says, rounded to 8 bits."""
    images, labels = list[Tensor](), list[int]()
    total, progress = sum(counts.values()), options.progress_of("drawing pictures")
    for label, count in counts.items():
        for y in model.generate(label, count) if count else ():
            images.append(as_bytes(y))
            labels.append(classes.index(label) if label in classes else 0)
            if progress:
                progress(len(images), total)
    return _Labelled(torch.stack(images), torch.tensor(labels))


# ---- classifiers


def _classifier(real: _Labelled, classes: int, device: torch.device, options: EvalOptions) -> Classifier:
    """A classifier trained on these real images, now or by an earlier evaluation."""
    by_class = [real.images[real.labels == label] for label in range(classes)]
    name = f"classifier-{digest(f'{EPOCHS} {MIN_STEPS} {TRAIN_BATCH_SIZE} {LR}', *by_class)}"

    def train() -> dict[str, Tensor]:
        progress = options.progress_of("the classifier learns from real pictures")
        return dict(_trained_classifier(real, classes, device, progress).cpu().state_dict())

    _, channels, size, _ = real.images.shape
    with torch.random.fork_rng():
        classifier = Classifier(channels, size=size, classes=classes)
    classifier.load_state_dict(cached(name, train))
    return classifier.to(device).eval()


def _trained_classifier(
    training: _Labelled, classes: int, device: torch.device, progress: Callable[[int, int], None] | None
) -> Classifier:
    """A classifier trained on these images alone, with a fixed seed."""
    _, channels, size, _ = training.images.shape
    steps = max(EPOCHS * len(training) // TRAIN_BATCH_SIZE, MIN_STEPS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = Classifier(channels, size=size, classes=classes).to(device)
        optimizer = torch.optim.Adam(classifier.parameters(), fused=True)

        def loss_of(indices: Tensor) -> Tensor:
            logits = classifier(from_bytes(training.images[indices].to(device)))
            return F.cross_entropy(logits, training.labels[indices].to(device))

        fit(optimizer, loss_of, len(training), steps=steps, batch_size=TRAIN_BATCH_SIZE, lr=LR, progress=progress)
    return classifier.eval()


@torch.inference_mode()
def _run(network: nn.Module, images: Tensor) -> Tensor:
    """A network's outputs for images, uint8 `[N, C, H, W]` -> `[N, ...]` on the CPU."""
    device = next(network.parameters()).device
    return torch.cat([network(from_bytes(batch.to(device))).cpu() for batch in torch.split(images, BATCH_SIZE)])


def _accuracy(classifier: Classifier, images: _Labelled) -> float:
    return (_run(classifier, images.images).argmax(dim=1) == images.labels).double().mean().item()


def _classifier_metrics(
    names: Sequence[str],
    classifier: Classifier,
    sets: _Sets,
    model: Model,
    classes: Sequence[str],
    options: EvalOptions,
) -> Iterator[tuple[str, float, float]]:
    """Each of the metrics that need a classifier: its name, its value for generated images and for held-out ones."""
    for name in names:
        if name == "label-accuracy":
            yield name, _accuracy(classifier, sets.generated), _accuracy(classifier, sets.held_out)
        elif name == "classification-accuracy-score":
            lessons = _generated(model, classes, _counts_like(sets.real, model, classes), options)
            progress = options.progress_of("another one learns from drawn pictures")
            student = _trained_classifier(lessons, len(classes), model.device, progress)
            yield name, _accuracy(student, sets.held_out), _accuracy(classifier, sets.held_out)
        elif name == "frechet-distance":
            count = len(sets.matched)
            compared = (sets.real, sets.matched, sets.held_out.subset(count))
            real, generated, held_out = (_run(classifier.features, images.images) for images in compared)
            of_generated, of_held_out = (metrics.frechet_distance(rows, real) for rows in (generated, held_out))
            yield f"{name}/{count}", of_generated, of_held_out


def _save(
    results: Results,
    model: Model,
    classifier: Classifier | None,
    generated: _Labelled,
    classes: Sequence[str],
    protocol: str,
) -> None:
    """Saves the first images of each class, with the probability of their label if there is a classifier."""
    labels = model.translator.classes
    probabilities = _run(classifier, generated.images).softmax(dim=1) if classifier else None
    most = SAVED // len(labels) or 1 if labels else SAVED
    counts = Counter[int]()
    for row, label in enumerate(generated.labels.tolist()):
        number = counts[label]
        if number < most:
            name = f"{number:05d}"
            values = {}
            if probabilities is not None and labels:
                name = f"{classes[label]}/{name}"
                values = {f"label-probability/{protocol}": probabilities[row, label].item()}
            results.add(name, {"output": from_bytes(generated.images[row])}, values)
        counts[label] += 1
