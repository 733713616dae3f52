"""CIFAR-10 and CIFAR-100 in their binary version: records of labels and 32 x 32 levels of red, green and blue.

A record is one label (CIFAR-10), or a coarse and a fine one (CIFAR-100), then 3 x 1,024 bytes (Krizhevsky, "Learning
multiple layers of features from tiny images", 2009). The Python version is pickled, and never opened.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from diptych.data.loaded import Contents, Source, once, require_small
from diptych.data.paths import Split
from diptych.files import read_text
from diptych.images.spec import Array

SIDE = 32
CLASSES = {1: 10, 2: 100}
"""How many classes there are, by the labels of a record."""
FORMS: tuple[tuple[dict[Split, tuple[str, ...]], int, str], ...] = (
    (
        {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)},
        1,
        "batches.meta.txt",
    ),
    ({"train": ("train.bin",), "test": ("test.bin",)}, 2, "fine_label_names.txt"),
)
"""The files of the splits, the labels of a record, of which the last one counts, and the file of their names."""


def find(folder: Path) -> dict[Split, Source]:
    """The splits whose files lie in a folder, best beside the names of the classes.

    Without these CIFAR-100's train.bin, a name that others use too, must have the length of its records.
    """
    sources: dict[Split, Source] = {}
    for splits, labels, names in FORMS:
        for split, files in splits.items():
            batches = [folder / file for file in files if (folder / file).is_file()]
            is_named = (folder / names).is_file() or labels == 1
            if batches and (is_named or all(file.stat().st_size % _length(labels) == 0 for file in batches)):
                read = partial(_read, batches, labels, folder / names, len(files))
                sources[split] = Source(batches[0], read)
    return sources


def _read(batches: Sequence[Path], labels: int, names: Path, of: int) -> Contents:
    records = np.concatenate([_records(file, labels) for file in batches])
    numbers = records[:, labels - 1]
    remark = f", {len(batches)} of {of} batches" if len(batches) < of else ""
    if names.is_file():
        classes = read_text(names).split()
        if numbers.max() >= len(classes):
            raise ValueError(
                f"{names}: names {len(classes)} classes, and there is a label {numbers.max()}; copy it again"
            )
    else:
        classes = [str(number) for number in range(CLASSES[labels])]
        remark += f", classes by number, for there is no {names.name}"
        if numbers.max() >= len(classes):
            raise ValueError(
                f"{batches[0]}: has a label {numbers.max()}, and {len(classes)} classes are expected; is it another file by "
                "this name, move it away, else copy it again"
            )
    planes = records[:, labels:].reshape(-1, 3, SIDE, SIDE)
    return Contents(np.ascontiguousarray(np.moveaxis(planes, 1, -1)), [classes[number] for number in numbers], remark)


def _length(labels: int) -> int:
    return labels + 3 * SIDE * SIDE


@once
def _records(file: Path, labels: int) -> Array:
    length, size = _length(labels), file.stat().st_size
    require_small(file, size)
    if not size or size % length:
        raise ValueError(f"{file}: has {size} bytes, and records of {length} are expected; copy it again")
    return np.fromfile(file, np.uint8).reshape(-1, length)
