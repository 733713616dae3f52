"""Arrays with labels in one file (.npz), as Keras publishes MNIST, and MedMNIST its sets. Nothing is ever unpickled."""

import math
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from diptych.data.loaded import Contents, Source, files_in, once, require_small
from diptych.data.paths import SPLIT_FOLDERS, Split

SUFFIX = ".npz"
OF_SPLITS = (("x_{}", "y_{}"), ("{}_x", "{}_y"), ("{}_images", "{}_labels"))
UNDIVIDED = (("images", "labels"), ("x", "y"), ("data", "labels"), ("data", "targets"))
"""How pictures and labels are called, in lower case."""


def find(path: Path) -> dict[Split, Source]:
    """The splits in a file, or in the only such file of a folder; none where the arrays have other names.

    One array alone is pictures without labels, to train on.
    """
    files = [path] if path.is_file() and path.suffix.lower() == SUFFIX else files_in(path, SUFFIX)
    if len(files) != 1:
        return {}
    return {split: Source(files[0], partial(_read, files[0], *pair)) for split, pair in _pairs(files[0]).items()}


@once
def _pairs(file: Path) -> dict[Split, tuple[str, str]]:
    """The names of pictures and labels in each split; no labels for one array alone."""
    with zipfile.ZipFile(file) as bundle:
        names = {name.removesuffix(".npy").lower(): name.removesuffix(".npy") for name in bundle.namelist()}
    found: dict[Split, tuple[str, str]] = {}
    for split, words in SPLIT_FOLDERS.items():
        wanted = [(x.format(word), y.format(word)) for word in words for x, y in OF_SPLITS]
        for x, y in [*wanted, *(UNDIVIDED if split == "train" else ())]:
            if {x, y} <= names.keys():
                found.setdefault(split, (names[x], names[y]))
    if len(names) == 1:
        [only] = names.values()
        found["train"] = only, ""
    return found


@once
def _read(file: Path, images: str, labels: str) -> Contents:
    with zipfile.ZipFile(file) as bundle:
        for name in filter(None, (images, labels)):
            _require_plain(file, bundle, name)
    with np.load(file, allow_pickle=False) as arrays:
        pictures = arrays[images]
        names = _names(file, labels, arrays[labels], len(pictures)) if labels else ()
    return Contents(pictures, names)


def _require_plain(file: Path, bundle: zipfile.ZipFile, name: str) -> None:
    """Raises a `ValueError` for an array of Python objects, or one that does not fit in memory, by its header."""
    with bundle.open(f"{name}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(stream)
    if dtype.hasobject:
        raise ValueError(f"{file}: {name} holds Python objects, which could run a program; save it as numbers")
    require_small(file, math.prod(shape) * dtype.itemsize)


def _names(file: Path, name: str, labels: np.ndarray, count: int) -> Sequence[str]:
    if labels.size != count or labels.dtype.kind not in "iubUS":
        raise ValueError(
            f"{file}: {name} has the shape {list(labels.shape)} of {labels.dtype}; a label for each of {count} pictures is "
            "expected, a whole number or a word"
        )
    return [str(label) for label in labels.reshape(-1).tolist()]
