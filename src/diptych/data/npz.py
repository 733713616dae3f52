"""Arrays with labels in one file (.npz), as Keras publishes MNIST, and MedMNIST its sets. Nothing is ever unpickled."""

import math
import zipfile
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from diptych.data import pixel_tables
from diptych.data.loaded import Contents, Source, files_in, once, require_small
from diptych.data.paths import SPLIT_FOLDERS, Split
from diptych.images.spec import Array

SUFFIX = ".npz"
PICTURES = ("x_{}", "{}_x", "{}x", "{}_images", "images_{}", "{}_data", "data_{}")
LABELS = ("y_{}", "{}_y", "{}y", "{}_labels", "labels_{}", "{}_targets", "targets_{}", "{}_target")
UNDIVIDED = ("images", "x", "data", "image"), ("labels", "y", "targets", "target", "label")
"""How pictures and labels are called, in lower case."""
UNNAMED = "arr_0", "arr_1"
"""What numpy calls arrays that are given no name."""
EXPECTED = "x_train and y_train (x_test, y_test), or images and labels"
COLOURS = (1, 3)
SHOWN = 4  # arrays in a line


def find(path: Path) -> dict[Split, Source]:
    """The splits in a file, or in the only such file of a folder; none where the arrays have other names.

    One array alone is pictures without labels, to train on.
    """
    files = _files(path)
    if len(files) != 1:
        return {}
    return {split: Source(files[0], partial(_read, files[0], *pair)) for split, pair in _pairs(files[0]).items()}


def why_not(path: Path) -> str:
    """Why the arrays in a file, or in the files of a folder, are not read, in a line; empty where there is no such file."""
    files = _files(path)
    if len(files) > 1:
        return f"{path}: has {len(files)} .npz files ({files[0].name}, {files[1].name}); name one, --data FILE.npz"
    for file in files:
        arrays = [f"{name} {list(shape)}" for name, shape in _shapes(file).items()]
        more = f" and {len(arrays) - SHOWN} more" if len(arrays) > SHOWN else ""
        return f"{file}: holds the arrays {', '.join(arrays[:SHOWN])}{more}; {EXPECTED}, are expected: rename them"
    return ""


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() and path.suffix.lower() == SUFFIX else files_in(path, SUFFIX)


@once
def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """The names of the arrays, and the shape of each by its header."""
    with zipfile.ZipFile(file) as bundle:
        names = [name.removesuffix(".npy") for name in bundle.namelist()]
        return {name: _header(bundle, name)[0] for name in names}


@once
def _pairs(file: Path) -> dict[Split, tuple[str, str]]:
    """The names of pictures and labels in each split; no labels for one array alone."""
    with zipfile.ZipFile(file) as bundle:
        names = {name.removesuffix(".npy").lower(): name.removesuffix(".npy") for name in bundle.namelist()}
    found: dict[Split, tuple[str, str]] = {}
    for split, words in SPLIT_FOLDERS.items():
        wanted = [(x.format(word), y.format(word)) for word in words for x, y in product(PICTURES, LABELS)]
        for x, y in [*wanted, *(product(*UNDIVIDED) if split == "train" else ())]:
            if {x, y} <= names.keys():
                found.setdefault(split, (names[x], names[y]))
    if len(names) == 1:
        [only] = names.values()
        found["train"] = only, ""
    elif names.keys() == {*UNNAMED}:
        one, other = sorted(names.values(), key=lambda name: len(_shapes(file)[name]))
        found["train"] = other, one
    return found


@once
def _read(file: Path, images: str, labels: str) -> Contents:
    with zipfile.ZipFile(file) as bundle:
        for name in filter(None, (images, labels)):
            _require_plain(file, bundle, name)
    with np.load(file, allow_pickle=False) as arrays:
        pictures, found = arrays[images], arrays[labels] if labels else None
    pictures, remark = _channels_last(pictures)
    if found is None:
        return Contents(pictures, remark=remark)
    is_one_hot = found.ndim == 2 and found.shape[1] > 1 and _is_one_hot(found)
    if is_one_hot:
        found, remark = found.argmax(1), f"{remark}, labels one-hot"
    return Contents(pictures, _names(file, labels, found, pictures.shape), remark)


def _channels_last(pictures: Array) -> tuple[Array, str]:
    """Pictures `[N, C, H, W]` as `[N, H, W, C]`, and rows of grey squares as `[N, H, W]`, with a remark."""
    shape = pictures.shape
    if len(shape) == 4 and shape[1] in COLOURS and shape[-1] not in (*COLOURS, 4):
        return np.ascontiguousarray(np.moveaxis(pictures, 1, -1)), ", channels first"
    if len(shape) == 2 and (square := pixel_tables.shape_of(shape[1])) and len(square) == 2:
        return pictures.reshape(-1, *square), ""
    return pictures, ""


def _is_one_hot(labels: Array) -> bool:
    return labels.dtype.kind in "iubf" and bool(((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all())


def _require_plain(file: Path, bundle: zipfile.ZipFile, name: str) -> None:
    """Raises a `ValueError` for an array of Python objects, or one that does not fit in memory, by its header."""
    shape, dtype = _header(bundle, name)
    if dtype.hasobject:
        raise ValueError(f"{file}: {name} holds Python objects, which could run a program; save it as numbers")
    require_small(file, math.prod(shape) * dtype.itemsize)


def _header(bundle: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], "np.dtype[Any]"]:
    with bundle.open(f"{name}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(stream)
    return shape, dtype


def _names(file: Path, name: str, labels: Array, pictures: tuple[int, ...]) -> Sequence[str]:
    is_one_each = labels.size == pictures[0]
    if (
        is_one_each
        and labels.dtype.kind == "f"
        and (labels == np.rint(labels)).all()
        and (np.abs(labels) < 2**31).all()
    ):
        labels = labels.astype(np.int64)
    if not is_one_each or labels.dtype.kind not in "iubUS":
        turned = labels.size == pictures[-1] and not is_one_each
        remedy = (
            f"; the pictures are of shape {list(pictures)}, turn their axes, np.moveaxis(x, -1, 0)" if turned else ""
        )
        raise ValueError(
            f"{file}: {name} has the shape {list(labels.shape)} of {labels.dtype}; a label for each of {pictures[0]} "
            f"pictures is expected, a whole number, a word or one-hot{remedy}"
        )
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8")
    return [str(label) for label in labels.reshape(-1).tolist()]
