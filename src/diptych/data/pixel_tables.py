"""Tables of pixels (.csv), as MNIST and its relatives are published on Kaggle: a picture a row, its label first or last."""

import math
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from diptych.data.loaded import Contents, Source, files_in, once, require_small
from diptych.data.paths import SPLIT_FOLDERS, Split

SUFFIX = ".csv"
SMALLEST = 16  # pixels a side: a table of fewer numbers a row may be about anything
LABELS = ("label", "labels", "class", "target", "y")
LONGEST_ROW = 2**22  # characters


@dataclass(frozen=True)
class _Form:
    """What the first two rows of a table say."""

    columns: int
    has_header: bool
    label: int
    """The column of the labels."""
    shape: tuple[int, ...]
    """Of one picture: square, grey or RGB."""


def find(path: Path) -> dict[Split, Source]:
    """The splits of a table, which is training data, or of the tables in a folder, whose names may say others.

    Other tables are passed over, and those of pixels without labels, such as Kaggle's test.csv.
    """
    if path.is_file():
        is_table = path.suffix.lower() == SUFFIX and _form(path)
        return {"train": Source(path, partial(_read, path))} if is_table else {}
    found: dict[Split, Source] = {}
    for file in [file for file in files_in(path, SUFFIX) if _form(file)]:
        split = _split(file) or "train"
        if split in found:
            raise ValueError(
                f"{path}: holds two sets of pixels ({found[split].file.name}, {file.name}); keep each in a folder of its own"
            )
        found[split] = Source(file, partial(_read, file))
    return found


def _split(file: Path) -> Split | None:
    """The split that a name says.

    >>> _split(Path("fashion-mnist_test.csv")), _split(Path("letters.csv"))
    ('test', None)
    """
    words = {*re.split("[-_. ]", file.stem.lower())}
    return next((split for split, names in SPLIT_FOLDERS.items() if words & {*names}), None)


@once
def _read(file: Path) -> Contents:
    form = _form(file)
    assert form is not None
    require_small(file, file.stat().st_size // 4)  # a level is at most three digits and a comma
    labels = list[str]()

    def keep(label: str) -> int:
        labels.append(label.strip('" '))
        return 0

    try:
        rows = np.loadtxt(
            file,
            np.dtype(np.uint8),
            delimiter=",",
            quotechar='"',
            skiprows=int(form.has_header),
            converters={form.label: keep},
            encoding="utf-8-sig",
            ndmin=2,
        )
    except ValueError as error:
        raise ValueError(
            f"{file}: its rows are not all of {form.columns} whole numbers from 0 to 255; copy it again"
        ) from error
    if rows.shape[1] != form.columns:
        raise ValueError(f"{file}: its rows have {rows.shape[1]} and {form.columns} columns; copy it again")
    return Contents(np.delete(rows, form.label, axis=1).reshape(-1, *form.shape), labels)


@once
def _form(file: Path) -> _Form | None:
    """The form of a table; None for one that is not of pixels with labels."""
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        header, first = (_cells(stream.readline(LONGEST_ROW)) for _ in range(2))
    has_header = not _are_levels(header)
    row = first if has_header else header
    if not _are_levels(row) or (first != [""] and len(first) != len(header)):
        return None
    named = [column for column in (0, len(row) - 1) if has_header and header[column].lower() in LABELS]
    if not named and _shape(len(row)):
        return None
    shape = _shape(len(row) - 1)
    return _Form(len(row), has_header, named[0] if named else 0, shape) if shape else None


def _cells(line: str) -> list[str]:
    return [cell.strip('" ') for cell in line.rstrip("\r\n").split(",")]


def _are_levels(cells: list[str]) -> bool:
    """Whether all cells are numbers from 0 to 255, except for the first or the last, which may be a label."""
    return all(cell.isascii() and cell.isdecimal() and int(cell[:4]) < 256 for cell in cells[1:-1])


def _shape(values: int) -> tuple[int, ...] | None:
    """The shape of a square picture of so many values, grey or RGB.

    >>> _shape(784), _shape(3072), _shape(785)
    ((28, 28), (32, 32, 3), None)
    """
    for channels in (1, 3):
        side = math.isqrt(values // channels)
        if side >= SMALLEST and side * side * channels == values:
            return (side, side) if channels == 1 else (side, side, 3)
    return None
