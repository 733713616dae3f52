"""Tables of pixels (.csv), as MNIST and its relatives are published on Kaggle: a picture a row, its label first or last."""

import gzip
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from diptych.data.loaded import Contents, Source, files_in, once, require_small
from diptych.data.paths import SPLIT_FOLDERS, Split
from diptych.images.spec import Array
from diptych.wording import shown

SUFFIXES = (".csv", ".csv.gz")
DELIMITERS = ",;\t"
SMALLEST = 16  # pixels a side: a table of fewer numbers a row may be about anything
LABELS = ("label", "labels", "class", "target", "y")
LONGEST_ROW = 2**22  # characters
MANY, TIMES = 64, 4
"""Without a header, a first column of more than `MANY` values, and `TIMES` as many as the last has, is no label."""


@dataclass(frozen=True)
class _Form:
    """What the first two rows of a table say."""

    columns: int
    delimiter: str
    has_header: bool
    label: int
    """The column of the labels."""
    is_named: bool
    """Whether the header says so."""
    shape: tuple[int, ...]
    """Of one picture: square, grey or RGB."""


def find(path: Path) -> dict[Split, Source]:
    """The splits of a table, which is training data, or of the tables in a folder, whose names may say others.

    Other tables are passed over, and those of pixels without labels, such as Kaggle's test.csv.
    """
    if path.is_file():
        is_table = path.name.lower().endswith(SUFFIXES) and _form(path)
        return {"train": Source(path, partial(_read, path))} if is_table else {}
    found: dict[Split, Source] = {}
    for file in [file for file in _tables(path) if _form(file)]:
        split = _split(file) or "train"
        if split in found:
            raise ValueError(
                f"{path}: holds two sets of pixels ({found[split].file.name}, {file.name}); keep each in a folder of its own"
            )
        found[split] = Source(file, partial(_read, file))
    return found


def why_not(path: Path) -> str:
    """Why a table, or the first that may be one of pixels in a folder, is not read, in a line; empty where there is none."""
    is_table = path.is_file() and path.name.lower().endswith(SUFFIXES)
    return next(filter(None, map(_why_not, [path] if is_table else _tables(path))), "")


def _why_not(file: Path) -> str:
    rows = _first_rows(file)
    delimiter = _delimiter(rows[0])
    last = _cells(rows[-1], delimiter)
    columns, number = len(last), len(rows)
    if columns < SMALLEST**2 or _form(file):
        return ""
    found = f"{file}:{number}: {columns} columns"
    if len(rows) == 2 and len(_cells(rows[0], delimiter)) != columns:
        return f"{found}, and {len(_cells(rows[0], delimiter))} in the line before; copy it again"
    odd = next((cell for cell in last[1:-1] if not _are_levels(["", cell, ""])), None)
    if odd is not None:
        return f"{found}, one of {shown(odd)}; pixels are whole numbers from 0 to 255"
    if shape_of(columns):
        return f"{found}, which are pixels without a label; add a column, label,pixel0,... in the first line"
    return (
        f"{found}; a label and a square picture, grey or RGB, are expected (label,pixel0,...,pixel783): remove others"
    )


def _tables(folder: Path) -> list[Path]:
    return [file for suffix in SUFFIXES for file in files_in(folder, suffix)]


def _split(file: Path) -> Split | None:
    """The split that a name says.

    >>> _split(Path("fashion-mnist_test.csv")), _split(Path("letters.csv"))
    ('test', None)
    """
    words = {*re.split("[-_. ]", file.name.lower())}
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

    lines = _lines(file)
    if form.has_header:
        next(lines)
    try:
        rows = np.loadtxt(
            (line for _, line in lines),
            np.dtype(np.uint8),
            delimiter=form.delimiter,
            comments=None,
            quotechar='"',
            converters={form.label: keep},
            ndmin=2,
        )
    except ValueError as error:
        raise _what_is_wrong(file, form) from error
    if rows.shape[1] != form.columns or not all(labels):
        raise _what_is_wrong(file, form)
    _require_plain_label(file, form, labels, rows)
    return Contents(np.delete(rows, form.label, axis=1).reshape(-1, *form.shape), labels)


def _what_is_wrong(file: Path, form: _Form) -> ValueError:
    """The first line of a table that is not as the others."""
    lines = _lines(file)
    if form.has_header:
        next(lines)
    for number, line in lines:
        cells = _cells(line, form.delimiter)
        if len(cells) != form.columns:
            found = f"{len(cells)} columns, and {form.columns} are expected"
        elif not cells[form.label]:
            found = "no label"
        else:
            pixels = cells[: form.label] + cells[form.label + 1 :]
            odd = next((cell for cell in pixels if not _are_levels(["", cell, ""])), None)
            if odd is None:
                continue
            found = f"{shown(odd)}, and a whole number from 0 to 255 is expected"
        return ValueError(f"{file}:{number}: {found}; copy it again, or mend the line")
    return ValueError(f"{file}: its rows are not all of {form.columns} whole numbers from 0 to 255; copy it again")


def _require_plain_label(file: Path, form: _Form, labels: list[str], rows: Array) -> None:
    """Raises a `ValueError` where no header says which column the label is, and it seems to be the last."""
    if form.is_named or form.label:
        return
    first, last = len({*labels}), len(np.unique(rows[:, -1]))
    if first == 1 < last or (last > 1 and first > MANY and first >= TIMES * last):
        raise ValueError(
            f"{file}: its first column has {first} values and its last {last}: which is the label? Say so in a first line, "
            "label,pixel0,... or pixel0,...,label"
        )


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a table that are not empty, each with its number."""
    with (gzip.open if file.name.lower().endswith(".gz") else open)(
        file, "rt", encoding="utf-8-sig", errors="replace"
    ) as stream:
        number = 0
        while line := stream.readline(LONGEST_ROW):
            number += 1
            if line.strip():
                yield number, line


@once
def _first_rows(file: Path) -> list[str]:
    """The first two lines that are not empty."""
    return [line for _, line in islice(_lines(file), 2)] or [""]


def _delimiter(line: str) -> str:
    return max(DELIMITERS, key=line.count)


@once
def _form(file: Path) -> _Form | None:
    """The form of a table; None for one that is not of pixels with labels."""
    rows = _first_rows(file)
    delimiter = _delimiter(rows[0])
    header, *others = (_cells(row, delimiter) for row in rows)
    has_header = not _are_levels(header)
    row = others[0] if has_header and others else header
    if not _are_levels(row) or any(len(other) != len(header) for other in others):
        return None
    named = [column for column in (0, len(row) - 1) if has_header and header[column].lower() in LABELS]
    if not named and shape_of(len(row)):
        return None
    is_word_last = _are_levels(["", row[0], ""]) and not _are_levels(["", row[-1], ""])
    label = named[0] if named else len(row) - 1 if is_word_last else 0
    shape = shape_of(len(row) - 1)
    return _Form(len(row), delimiter, has_header, label, bool(named), shape) if shape else None


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip('" ') for cell in line.rstrip("\r\n").split(delimiter)]


def _are_levels(cells: list[str]) -> bool:
    """Whether all cells are numbers from 0 to 255, except for the first or the last, which may be a label."""
    return all(cell.isascii() and cell.isdecimal() and int(cell[:4]) < 256 for cell in cells[1:-1])


def shape_of(values: int) -> tuple[int, ...] | None:
    """The shape of a square picture of so many values, grey or RGB.

    >>> shape_of(784), shape_of(3072), shape_of(785)
    ((28, 28), (32, 32, 3), None)
    """
    for channels in (1, 3):
        side = math.isqrt(values // channels)
        if side >= SMALLEST and side * side * channels == values:
            return (side, side) if channels == 1 else (side, side, 3)
    return None
