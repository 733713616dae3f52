"""Evaluation of two folders of images from anywhere: how far the fake images are from the real ones."""

from pathlib import Path
from typing import Any

from torch import Tensor

from diptych import metrics
from diptych.data import layouts, unread
from diptych.data.datasets import ImageDataset
from diptych.data.partners import canonical
from diptych.evaluate.measures import SET_DISTANCES, EvenSubset, PerImage, open_set_distances
from diptych.evaluate.options import EvalOptions
from diptych.evaluate.results import Score, as_line
from diptych.images.files import from_bytes
from diptych.metrics import features

PROTOCOL = "8-bit/own-size"


def measure(real: Path, fake: Path, options: EvalOptions) -> list[dict[str, Any]]:
    """Compares the images in `fake` with those in `real`, at their own sizes; gives the line for `metrics.jsonl`.

    Set distances work for any images. Per-image metrics need, for every image in `fake`, an image of the same name and size
    in `real`.
    """
    real_data, fake_data = layouts.find_singles(real), layouts.find_singles(fake)
    per_image = [*(name for name in metrics.PAIRED if metrics.better(name)), "lpips"]
    partners, unmatched = _partners(real_data, fake_data)
    usual = [*(per_image if not unmatched else ()), *SET_DISTANCES]
    names = options.select_metrics([*per_image, *SET_DISTANCES], usual, "two folders")
    compared = [name for name in names if name in per_image]
    if compared and unmatched:
        raise ValueError(
            f"--metrics {','.join(compared)}: compares pictures of the same name, and {unmatched}; leave it out, or rename "
            "them"
        )
    scores = list[Score]()
    if compared:
        try:
            scores += _compare(compared, real_data, fake_data, partners, options)
        except _SizeMismatchError as error:
            if options.names is not None:
                raise
            options.note_missing(compared, error)
    set_distances = [name for name in names if name in SET_DISTANCES]
    for distance in open_set_distances(set_distances, lambda: _subset(real_data), "", PROTOCOL, options):
        progress = options.progress_of(f"reading {fake}")
        rows = features.extract(distance.reader, _subset(fake_data), keep=True, progress=progress)
        distance.add_features("fake", rows)
        scores += distance.scores("fake")
    if unused := unread.describe([*real_data.folders, *fake_data.folders]):
        options.note(unused)
    return [{"real": str(real), "fake": str(fake), "count": len(fake_data), "who": "fake", **as_line(scores)}]


class _SizeMismatchError(ValueError):
    """Two images of the same name have different sizes."""


def _compare(
    names: list[str], real: ImageDataset, fake: ImageDataset, partners: list[int], options: EvalOptions
) -> list[Score]:
    """Per-image metrics of each fake image against its partner, a real image."""
    measure = PerImage(names, PROTOCOL, options)
    for index, partner in enumerate(partners):
        [output], [target] = fake.load(index), real.load(partner)
        if output.shape != target.shape:
            raise _SizeMismatchError(
                f"{fake.files(index)}: {_size(output)}, and {real.files(partner)} {_size(target)}; to compare "
                "each with its partner, give pictures of the same size (`diptych data resize`)"
            )
        measure.add("fake", from_bytes(output)[None], {"y": from_bytes(target)[None]})
        if options.progress:
            options.progress("comparing", index + 1, len(partners))
    return measure.scores("fake")


def _partners(real: ImageDataset, fake: ImageDataset) -> tuple[list[int], str]:
    """For each fake image the index of the real one of the same name; or a sentence that names an unmatched one."""
    indices = {canonical(real.name(index)): index for index in range(len(real))}
    names = [canonical(fake.name(index)) for index in range(len(fake))]
    unmatched = [index for index, name in enumerate(names) if name not in indices]
    if unmatched:
        return [], f"none is called as {fake.files(unmatched[0])}"
    return [indices[name] for name in names], ""


def _subset(dataset: ImageDataset) -> EvenSubset:
    return EvenSubset(lambda index: dataset.load(index)[0], len(dataset))


def _size(image: Tensor) -> str:
    return f"{image.shape[2]}x{image.shape[1]} pixels"
