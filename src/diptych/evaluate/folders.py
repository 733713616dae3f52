"""Two folders of pictures from anywhere: how far the ones are from the others."""

from pathlib import Path
from typing import Any

from torch import Tensor

from diptych import metrics
from diptych.data import layouts
from diptych.data.datasets import ImageDataset
from diptych.evaluate.measures import OF_SETS, Measure, PerImage, Spread, open_sets
from diptych.evaluate.options import EvalOptions
from diptych.evaluate.results import as_line
from diptych.images.files import from_bytes
from diptych.metrics import features

SPECIFICATION = "8-bit/own-size"


def measure(real: Path, fake: Path, options: EvalOptions) -> list[dict[str, Any]]:
    """Measures the pictures in `fake` beside those in `real`, at their own sizes; gives the line for `metrics.jsonl`.

    Metrics of sets are there for any pictures. Where every picture in `fake` has one of the same name and size in `real`,
    each is compared with that too.
    """
    real_source, fake_source = layouts.find_singles(real), layouts.find_singles(fake)
    of_pairs = [*(name for name in metrics.PAIRED if metrics.better(name)), "lpips"]
    partners, alone = _partners(real_source, fake_source)
    chosen = options.select_metrics([*of_pairs, *OF_SETS], [*(of_pairs if not alone else ()), *OF_SETS], "two folders")
    compared = [name for name in chosen if name in of_pairs]
    if compared and alone:
        raise ValueError(
            f"--metrics {','.join(compared)}: compares pictures of the same name, and {alone}; leave it out, or rename them"
        )
    measures: list[Measure] = []
    if compared:
        try:
            measures.append(_compare(compared, real_source, fake_source, partners, options))
        except _OtherSizeError as error:
            if options.names is not None:
                raise
            options.note_missing(compared, error)
    of_sets = [name for name in chosen if name in OF_SETS]
    for one in open_sets(of_sets, lambda: _pictures(real_source), "", SPECIFICATION, options):
        said = options.progress_of(f"reading {fake}")
        one.add_features("fake", features.of_set(one.reader, _pictures(fake_source), keep=True, progress=said))
        measures.append(one)
    numbers = [number for one in measures for number in one.numbers("fake")]
    return [{"real": str(real), "fake": str(fake), "count": len(fake_source), "who": "fake", **as_line(numbers)}]


class _OtherSizeError(ValueError):
    """Two pictures of one name are not of one size."""


def _compare(
    names: list[str], real: ImageDataset, fake: ImageDataset, partners: list[int], options: EvalOptions
) -> PerImage:
    """Each picture beside the real one that is its partner."""
    measure = PerImage(names, SPECIFICATION, options)
    for number, partner in enumerate(partners):
        [output], [target] = fake.load(number), real.load(partner)
        if output.shape != target.shape:
            raise _OtherSizeError(
                f"{fake.files(number)}: {_size(output)}, and {real.files(partner)} {_size(target)}; to compare "
                "each with its partner, give pictures of the same size (`diptych data resize`)"
            )
        measure.add("fake", from_bytes(output)[None], {"y": from_bytes(target)[None]})
        if options.progress:
            options.progress("comparing", number + 1, len(partners))
    return measure


def _partners(real: ImageDataset, fake: ImageDataset) -> tuple[list[int], str]:
    """Which real picture has the name of each fake one; and in words which has none."""
    places = {real.name(number): number for number in range(len(real))}
    names = [fake.name(number) for number in range(len(fake))]
    without = [number for number, name in enumerate(names) if name not in places]
    if without:
        return [], f"none is called as {fake.files(without[0])}"
    return [places[name] for name in names], ""


def _pictures(source: ImageDataset) -> Spread:
    return Spread(lambda place: source.load(place)[0], len(source))


def _size(picture: Tensor) -> str:
    return f"{picture.shape[2]}x{picture.shape[1]} pixels"
