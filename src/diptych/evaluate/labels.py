"""What a model draws out of noise, read by a classifier that learnt from the real training pictures.

* `label-accuracy`: how many of the drawn pictures the classifier takes for what they were asked to be.
* `classification-accuracy-score` (Ravuri and Vinyals 2019): a second classifier learns from drawn pictures alone, as many of
  each class as the training set has; how many of the real held-out pictures it knows.
* `frechet-distance` (Heusel et al. 2017, section 3) between drawn and real training pictures, over the classifier's features
  instead of Inception's. It grows when there are fewer pictures, so as many are drawn as are held out, in the training
  set's proportions.

Beside each stands what the held-out pictures themselves get; nothing that is learnt should do much better.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych import metrics
from diptych.data import layouts
from diptych.data.batches import Direction, open_stores
from diptych.data.layouts import Place
from diptych.data.pictures import from_bytes
from diptych.data.sources import Labelled, Source
from diptych.devices import Device
from diptych.evaluate.results import Progress, Results
from diptych.methods import METHODS
from diptych.model import Model, load
from diptych.networks.classifier import Classifier
from diptych.run import Run

OF_LABELS = ("label-accuracy", "classification-accuracy-score")
METRICS = (*OF_LABELS, "frechet-distance")
DRAWN = 10_000  # pictures, of all classes together
LEARNT_FROM = 60_000  # pictures at most, spread over all
KEPT = 200  # pictures in the results, of all classes together
EPOCHS, LEAST_STEPS, BATCH, LR = 3, 400, 128, 2e-3  # of a classifier
AT_ONCE = 512


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
    """Draws, reads and compares; gives the lines for `metrics.jsonl`: the model's and that of the held-out pictures.

    `results/drawn/` gets some of the pictures, each with the probability that the classifier gives to its label. A model
    without labels has a Fréchet distance alone.
    """
    model = load(run.path, direction=direction, device=device)
    there = METRICS if model.method.classes else METRICS[len(OF_LABELS) :]
    if unknown := [name for name in names or () if name not in there]:
        raise ValueError(
            f"--metrics {unknown[0]}: there is no such metric for {run.path}; there are: {', '.join(there)}"
        )
    if baselines:
        raise ValueError("--baselines: the held-out pictures are always measured beside the drawn ones; leave it out")
    chosen = list(names or there)
    learnt_source, held_source = _in_classes(run, place, split, sources, model)
    classes = learnt_source.classes
    if "frechet-distance" in chosen and min(len(held_source), len(learnt_source)) < 2:
        raise ValueError(
            f"{place}: a Fréchet distance takes two pictures or more, here of train and of {split}; give more, or leave it "
            f"out by --metrics {','.join(OF_LABELS)}"
        )
    real, held_out = (_looked_at(source, classes, run, progress) for source in (learnt_source, held_source))
    judge = _taught(real, len(classes), model.device, "the classifier learns from real pictures", progress)
    drawn = _drawn(model, classes, _evenly(DRAWN, model.method.classes or (None,)), progress)
    of_model, of_held_out = dict[str, float](), dict[str, float]()
    specification = f"classifier/8-bit/{run.settings.size}px"
    for name in chosen:
        key = f"{name}/{specification}"
        if name == "label-accuracy":
            of_model[key], of_held_out[key] = _accuracy(judge, drawn), _accuracy(judge, held_out)
        elif name == "classification-accuracy-score":
            lessons = _drawn(model, classes, _as(real, model, classes), progress)
            pupil = _taught(lessons, len(classes), model.device, "another one learns from drawn pictures", progress)
            of_model[key], of_held_out[key] = _accuracy(pupil, held_out), _accuracy(judge, held_out)
        else:
            count = min(len(held_out), len(real), DRAWN)
            key = f"{name}/{count}/{specification}"
            of_real = _read(judge.features, real)
            as_many = _drawn(model, classes, _as(real.spread(count), model, classes), progress)
            for some, values in ((as_many, of_model), (held_out.spread(count), of_held_out)):
                values[key] = metrics.frechet_distance(_read(judge.features, some), of_real)
    _keep(run, model, judge, drawn, classes, specification)
    return [
        {"step": model.step, "split": "drawn", "count": len(drawn), "who": "model", "metrics": of_model},
        {"step": model.step, "count": len(held_out), "who": "held-out pictures", "metrics": of_held_out},
    ]


def _in_classes(run: Run, place: Place, split: str, sources: list[Source], model: Model) -> tuple[Labelled, Labelled]:
    """The training pictures and the held-out ones; a `ValueError` when a classifier of them cannot read what is drawn."""
    channels = (run.settings.channels_a, run.settings.channels_b)
    [training] = layouts.find(METHODS[run.method].needs, place, "train", channels) or []
    [held_out] = sources
    if not isinstance(training, Labelled) or not isinstance(held_out, Labelled):
        raise ValueError(
            f"{place}: the pictures are in no classes, and a classifier of them is what measures here; put those of each "
            "class into a folder of its own"
        )
    for known, of, remedy in (
        (model.method.classes, run.path, "give the pictures that the run learnt from"),
        (held_out.classes, f"{place}, {split}", "add such pictures to those of the training, or move these away"),
    ):
        if strange := [name for name in known if name not in training.classes]:
            raise ValueError(
                f"{of}: {strange[0]} is no class of the training pictures in {place}, which are in "
                f"{', '.join(training.classes)}; {remedy}"
            )
    return training, held_out


@dataclass(frozen=True)
class _Set:
    """Pictures, uint8 `[N, C, H, W]`, and the numbers of their classes, int64 `[N]`."""

    pictures: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.pictures)

    def spread(self, count: int) -> "_Set":
        """So many of them, spread over all."""
        rows = torch.arange(count) * len(self) // count
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
    if not model.method.classes:
        return {None: len(real)}
    counts = Counter(classes[number] for number in real.labels.tolist())
    return {label: counts[label] for label in model.method.classes}


def _looked_at(source: Labelled, classes: Sequence[str], run: Run, progress: Progress | None) -> _Set:
    """The pictures of a source at the training size, LEARNT_FROM of them at most."""
    [store] = open_stores([source], run.settings.size, run.settings.fit, memory_gib=0)
    numbers = {name: number for number, name in enumerate(classes)}
    count = min(len(store), LEARNT_FROM)
    rows = [n * len(store) // count for n in range(count)]
    seen = []
    for done, row in enumerate(rows, start=1):
        seen.append(store.get(row))
        if progress:
            progress("looking at real pictures", done, count)
    return _Set(torch.stack(seen), torch.tensor([numbers[source.names[row]] for row in rows]))


def _drawn(model: Model, classes: Sequence[str], counts: Mapping[str | None, int], progress: Progress | None) -> _Set:
    """So many pictures of each label, as a file would hold them."""
    drawn, labels = list[Tensor](), list[int]()
    total = sum(counts.values())
    for label, count in counts.items():
        for y in model.generate(label, count) if count else ():
            drawn.append(((y + 1) * 127.5).round().clamp(0, 255).byte())
            labels.append(classes.index(label) if label is not None else 0)
            if progress:
                progress("drawing pictures", len(drawn), total)
    return _Set(torch.stack(drawn), torch.tensor(labels))


def _taught(training: _Set, classes: int, device: torch.device, what: str, progress: Progress | None) -> Classifier:
    """A classifier that has learnt from these pictures alone; the same one each time."""
    _, channels, size, _ = training.pictures.shape
    steps = max(EPOCHS * len(training) // BATCH, LEAST_STEPS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = Classifier(channels, size=size, classes=classes).to(device)
        optimizer = torch.optim.Adam(classifier.parameters(), fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LR, total_steps=steps)
        epochs = math.ceil(steps * BATCH / len(training))
        order = torch.cat([torch.randperm(len(training)) for _ in range(epochs)])
        for done, rows in enumerate(torch.split(order[: steps * BATCH], BATCH), start=1):
            logits = classifier(from_bytes(training.pictures[rows].to(device)))
            loss = F.cross_entropy(logits, training.labels[rows].to(device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            if progress:
                progress(what, done, steps)
    return classifier.eval()


@torch.inference_mode()
def _read(network: nn.Module, given: _Set) -> Tensor:
    """What a network says of the pictures, `[N, ...]` on the CPU."""
    device = next(network.parameters()).device
    return torch.cat([network(from_bytes(some.to(device))).cpu() for some in torch.split(given.pictures, AT_ONCE)])


def _accuracy(classifier: Classifier, given: _Set) -> float:
    return (_read(classifier, given).argmax(dim=1) == given.labels).double().mean().item()


def _keep(
    run: Run, model: Model, judge: Classifier, drawn: _Set, real_classes: Sequence[str], specification: str
) -> None:
    """The first of the pictures of each class, with the probability of their label."""
    classes = model.method.classes
    probabilities = _read(judge, drawn).softmax(dim=1)
    most = KEPT // len(classes) or 1 if classes else KEPT
    numbers = Counter[int]()
    results = Results(run.path / "results" / "drawn")
    for row, label in enumerate(drawn.labels.tolist()):
        number = numbers[label]
        if number < most:
            name = f"{number:05d}"
            of_label = {}
            if classes:
                name = f"{real_classes[label]}/{name}"
                of_label = {f"label-probability/{specification}": probabilities[row, label].item()}
            results.add(name, {"output": from_bytes(drawn.pictures[row])}, of_label)
        numbers[label] += 1
    results.finish()
