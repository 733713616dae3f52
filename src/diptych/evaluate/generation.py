"""What a model draws out of noise, read by a classifier that learnt from the real training pictures.

* `label-accuracy`: how many of the drawn pictures the classifier takes for what they were asked to be.
* `classification-accuracy-score` (Ravuri and Vinyals 2019): a second classifier learns from drawn pictures alone, as many of
  each class as the training set has; how many of the real held-out pictures it knows.
* `frechet-distance` (Heusel et al. 2017, section 3) between drawn and real training pictures, over the classifier's features
  instead of Inception's. It grows when there are fewer pictures, so as many are drawn as are held out, in the training
  set's proportions.

Beside each stands what the held-out pictures themselves get; nothing that is learnt should do much better. The distances of
sets (`measures.OF_SETS`) are taken too, where a network to see them is at hand.
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
from diptych.data.datasets import Dataset, LabelledDataset
from diptych.data.loaders import evenly_spaced, open_cached
from diptych.data.paths import DataPaths
from diptych.evaluate.learning import learn
from diptych.evaluate.measures import HELD_OUT, OF_SETS, READ, open_sets
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

OF_LABELS = ("label-accuracy", "classification-accuracy-score")
METRICS = (*OF_LABELS, "frechet-distance")
DRAWN = 10_000  # pictures, of all classes together
LEARNT_FROM = 60_000  # pictures at most, spread over all
KEPT = 200  # pictures in the results, of all classes together
EPOCHS, LEAST_STEPS, BATCH, LR = 3, 400, 128, 2e-3  # of a classifier
AT_ONCE = 512


def measure(
    run: Run, place: DataPaths, split: str, sources: list[Dataset], options: EvalOptions
) -> list[dict[str, Any]]:
    """Draws, reads and compares; gives the lines for `metrics.jsonl`: the model's and that of the held-out pictures.

    `results/drawn/` gets some of the pictures, each with the probability that the classifier gives to its label. A model
    without labels has no `OF_LABELS`, and where the pictures are in no classes there is nothing for a classifier to learn.
    """
    model = load(run.path, direction=options.direction, device=options.device)
    training, held_out_source = _sources(run, place, sources)
    classes = (
        training.classes
        if isinstance(training, LabelledDataset) and isinstance(held_out_source, LabelledDataset)
        else ()
    )
    chosen = _chosen(run, place, model, bool(classes), options)
    if classes:
        _require_classes(run, place, split, model, classes, held_out_source)
    if "frechet-distance" in chosen and min(len(held_out_source), len(training)) < 2:
        raise ValueError(
            f"{place}: a Fréchet distance takes two pictures or more, here of train and of {split}; give more, or leave it "
            f"out by --metrics {','.join(OF_LABELS)}"
        )
    real, held_out = (_looked_at(source, classes, run, options) for source in (training, held_out_source))
    drawn = _drawn(model, classes, _evenly(DRAWN, model.translator.classes or (None,)), options)
    as_many = min(len(held_out), len(real), DRAWN)
    alike = _drawn(model, classes, _as(real.spread(as_many), model, classes), options)
    behind = specification(model.translator, run.settings.size)
    of_model, of_held_out = list[Score](), list[Score]()

    judge = _judge(real, len(classes), model.device, options) if classes else None
    if judge:
        for name, of_drawn, of_real in _by_classifier(
            chosen, judge, real, held_out, drawn, alike, model, classes, options
        ):
            of_model.append(Score(f"{name}/classifier/{behind}", of_drawn))
            of_held_out.append(Score(f"{name}/classifier/{behind}", of_real))
    names = [name for name in chosen if name in OF_SETS]
    for of_sets in open_sets(names, lambda: real.spread(READ).pictures, "-training", behind, options):
        of_sets.add_features("model", features.of_set(of_sets.reader, alike.pictures, keep=False))
        of_sets.add_features(HELD_OUT, features.of_set(of_sets.reader, held_out.spread(as_many).pictures, keep=True))
        of_model += of_sets.numbers("model")
        of_held_out += of_sets.numbers(HELD_OUT)
    _keep(run, model, judge, drawn, classes, f"classifier/{behind}")
    return [
        {"step": model.step, "split": "drawn", "count": len(drawn), "who": "model", **as_line(of_model)},
        {"step": model.step, "count": len(held_out), "who": HELD_OUT, **as_line(of_held_out)},
    ]


def _sources(run: Run, place: DataPaths, sources: list[Dataset]) -> tuple[Dataset, Dataset]:
    """The training pictures and the held-out ones."""
    training = layouts.find(METHODS[run.method].data, place, "train", run.settings.specs)
    if not training:
        raise ValueError(f"{place}: has no training pictures to compare with; give the data that the run learnt from")
    return training[0], sources[0]


def _chosen(run: Run, place: DataPaths, model: Model, in_classes: bool, options: EvalOptions) -> list[str]:
    """The names of the metrics to measure; a `ValueError` for those that these pictures or this model do not allow."""
    if options.baselines:
        raise ValueError("--baselines: the held-out pictures are always measured beside the drawn ones; leave it out")
    if not in_classes and (read := [name for name in options.names or () if name in METRICS]):
        raise ValueError(
            f"--metrics {read[0]}: the pictures in {place} are in no classes, and a classifier of them measures that; put "
            "those of each class into a folder of its own, or leave it out"
        )
    by_classifier = METRICS if model.translator.classes else METRICS[len(OF_LABELS) :]
    there = [*(by_classifier if in_classes else ()), *(OF_SETS if run.settings.channels_a in (1, 3) else ())]
    return options.select_metrics(there, there, run.path)


def _require_classes(
    run: Run, place: DataPaths, split: str, model: Model, classes: Sequence[str], held_out: Dataset
) -> None:
    """Raises a `ValueError` when a classifier of these classes cannot read what is drawn or held out."""
    assert isinstance(held_out, LabelledDataset)
    for known, of, remedy in (
        (model.translator.classes, run.path, "give the pictures that the run learnt from"),
        (held_out.classes, f"{place}, {split}", "add such pictures to those of the training, or move these away"),
    ):
        if strange := [name for name in known if name not in classes]:
            raise ValueError(
                f"{of}: {strange[0]} is no class of the training pictures in {place}, which are in "
                f"{', '.join(classes)}; {remedy}"
            )


@dataclass(frozen=True)
class _Set:
    """Pictures, uint8 `[N, C, H, W]`, and the numbers of their classes, int64 `[N]`."""

    pictures: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.pictures)

    def spread(self, count: int) -> "_Set":
        """So many of them at most, spread over all."""
        rows = evenly_spaced(count, len(self))
        return _Set(self.pictures[rows], self.labels[rows])


def _evenly(count: int, labels: Sequence[str | None]) -> dict[str | None, int]:
    """How many pictures of each label make up `count`, one of each at least.

    >>> _evenly(8, ["a", "b", "c"])
    {'a': 2, 'b': 3, 'c': 3}
    """
    ends = [n * count // len(labels) for n in range(len(labels) + 1)]
    return {label: max(b - a, 1) for label, (a, b) in zip(labels, pairwise(ends), strict=True)}


def _as(real: _Set, model: Model, classes: Sequence[str]) -> dict[str | None, int]:
    """As many pictures of each label as there are real ones."""
    if not classes or not model.translator.classes:
        return _evenly(len(real), model.translator.classes or (None,))
    counts = Counter(classes[number] for number in real.labels.tolist())
    return {label: counts[label] for label in model.translator.classes}


def _looked_at(source: Dataset, classes: Sequence[str], run: Run, options: EvalOptions) -> _Set:
    """The pictures of a source at the training size, LEARNT_FROM of them at most; label 0 where there are no classes."""
    [store] = open_cached([source], run.settings.size, run.settings.fit, memory_gib=0)
    numbers = {name: number for number, name in enumerate(classes)}
    rows = evenly_spaced(LEARNT_FROM, len(store))
    seen = []
    said = options.progress_of("looking at real pictures")
    for done, row in enumerate(rows, start=1):
        seen.append(store.get(row))
        if said:
            said(done, len(rows))
    labels = [numbers[source.names[row]] if numbers and isinstance(source, LabelledDataset) else 0 for row in rows]
    return _Set(torch.stack(seen), torch.tensor(labels))


def _drawn(model: Model, classes: Sequence[str], counts: Mapping[str | None, int], options: EvalOptions) -> _Set:
    """So many pictures of each label, as a file would hold them."""
    drawn, labels = list[Tensor](), list[int]()
    total, said = sum(counts.values()), options.progress_of("drawing pictures")
    for label, count in counts.items():
        for y in model.generate(label, count) if count else ():
            drawn.append(as_bytes(y))
            labels.append(classes.index(label) if label in classes else 0)
            if said:
                said(len(drawn), total)
    return _Set(torch.stack(drawn), torch.tensor(labels))


def _judge(real: _Set, classes: int, device: torch.device, options: EvalOptions) -> Classifier:
    """The classifier that has learnt from these real pictures, now or at an earlier evaluation."""
    of_each = [real.pictures[real.labels == label] for label in range(classes)]
    name = f"classifier-{digest(f'{EPOCHS} {LEAST_STEPS} {BATCH} {LR}', *of_each)}"

    def taught() -> dict[str, Tensor]:
        said = options.progress_of("the classifier learns from real pictures")
        return dict(_taught(real, classes, device, said).cpu().state_dict())

    _, channels, size, _ = real.pictures.shape
    with torch.random.fork_rng():
        judge = Classifier(channels, size=size, classes=classes)
    judge.load_state_dict(cached(name, taught))
    return judge.to(device).eval()


def _taught(
    training: _Set, classes: int, device: torch.device, progress: Callable[[int, int], None] | None
) -> Classifier:
    """A classifier that has learnt from these pictures alone; the same one each time."""
    _, channels, size, _ = training.pictures.shape
    steps = max(EPOCHS * len(training) // BATCH, LEAST_STEPS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = Classifier(channels, size=size, classes=classes).to(device)
        optimizer = torch.optim.Adam(classifier.parameters(), fused=True)

        def loss(rows: Tensor) -> Tensor:
            logits = classifier(from_bytes(training.pictures[rows].to(device)))
            return F.cross_entropy(logits, training.labels[rows].to(device))

        learn(optimizer, loss, len(training), steps=steps, batch=BATCH, lr=LR, progress=progress)
    return classifier.eval()


@torch.inference_mode()
def _read(network: nn.Module, given: _Set) -> Tensor:
    """What a network says of the pictures, `[N, ...]` on the CPU."""
    device = next(network.parameters()).device
    return torch.cat([network(from_bytes(some.to(device))).cpu() for some in torch.split(given.pictures, AT_ONCE)])


def _accuracy(classifier: Classifier, given: _Set) -> float:
    return (_read(classifier, given).argmax(dim=1) == given.labels).double().mean().item()


def _by_classifier(
    chosen: Sequence[str],
    judge: Classifier,
    real: _Set,
    held_out: _Set,
    drawn: _Set,
    alike: _Set,
    model: Model,
    classes: Sequence[str],
    options: EvalOptions,
) -> Iterator[tuple[str, float, float]]:
    """Each metric that a classifier reads, of drawn pictures and of the held-out ones."""
    for name in chosen:
        if name == "label-accuracy":
            yield name, _accuracy(judge, drawn), _accuracy(judge, held_out)
        elif name == "classification-accuracy-score":
            lessons = _drawn(model, classes, _as(real, model, classes), options)
            said = options.progress_of("another one learns from drawn pictures")
            pupil = _taught(lessons, len(classes), model.device, said)
            yield name, _accuracy(pupil, held_out), _accuracy(judge, held_out)
        elif name == "frechet-distance":
            of_real = _read(judge.features, real)
            of_drawn, of_held_out = (
                metrics.frechet_distance(_read(judge.features, some), of_real)
                for some in (alike, held_out.spread(len(alike)))
            )
            yield f"{name}/{len(alike)}", of_drawn, of_held_out


def _keep(
    run: Run, model: Model, judge: Classifier | None, drawn: _Set, real_classes: Sequence[str], specification: str
) -> None:
    """The first of the pictures of each class, with the probability of their label where there is a classifier."""
    classes = model.translator.classes
    probabilities = _read(judge, drawn).softmax(dim=1) if judge else None
    most = KEPT // len(classes) or 1 if classes else KEPT
    numbers = Counter[int]()
    results = Results(run.path / "results" / "drawn")
    for row, label in enumerate(drawn.labels.tolist()):
        number = numbers[label]
        if number < most:
            name = f"{number:05d}"
            of_label = {}
            if probabilities is not None and classes:
                name = f"{real_classes[label]}/{name}"
                of_label = {f"label-probability/{specification}": probabilities[row, label].item()}
            results.add(name, {"output": from_bytes(drawn.pictures[row])}, of_label)
        numbers[label] += 1
    results.finish()
