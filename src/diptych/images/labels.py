"""The labels of label maps: names with colours or indices, read from a file, and the classes of pixels by them.

A file of labels is text with one class a line: its name, then its colour or its index, divided by commas. Lines that begin
with # are comments.

    sky, 0, 0, 170
    wall, 0, 85, 255
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from diptych.files import read_text
from diptych.wording import shown

Array = np.ndarray[Any, np.dtype[Any]]

MOST = 256  # classes
HIGHEST = {1: 65535, 3: 255}
"""The highest index, and the highest level of a colour, by how many numbers a label has."""


@dataclass(frozen=True)
class Labels:
    """The classes of label maps, each with a name and a colour (three numbers) or an index (one).

    >>> labels = Labels.parse(["sky,0,0,170", "wall,0,85,255"])
    >>> labels.classes_of(np.array([[[0, 0, 170], [1, 80, 250]]], np.uint8)).tolist()
    [[0, 1]]
    >>> labels.planes(np.array([[[0, 85, 255]]], np.uint8)).tolist()
    [[[False, True]]]
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, ...], ...]

    @classmethod
    def parse(cls, lines: Iterable[str]) -> "Labels":
        """The labels in the lines of a file; a `ValueError` names a line that is none."""
        lines = [line.strip() for line in lines]
        lines = [line for line in lines if line and not line.startswith("#")]
        parsed = [_parse(line) for line in lines]
        lengths = {len(colour) for _, colour in parsed}
        if len(lengths) > 1:
            raise ValueError("some labels have a colour and some an index; give all of them the one or the other")
        for what, found in (("name", [name for name, _ in parsed]), ("colour", [colour for _, colour in parsed])):
            if twice := [one for number, one in enumerate(found) if one in found[:number]]:
                raise ValueError(f"two labels have the {what} {shown(twice[0])}; give each its own")
        if not 2 <= len(parsed) <= MOST:
            raise ValueError(f"{len(parsed)} labels; from 2 to {MOST} are expected")
        return cls(tuple(name for name, _ in parsed), tuple(colour for _, colour in parsed))

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of a file, from which `parse` makes the same labels."""
        return tuple(",".join([name, *map(str, colour)]) for name, colour in zip(self.names, self.colours, strict=True))

    @property
    def by_index(self) -> bool:
        """Whether files hold indices and not colours."""
        return len(self.colours[0]) == 1

    @cached_property
    def table(self) -> Array:
        """The colours or indices, `[K, 3]` or `[K, 1]`, in the type that files hold them in."""
        highest = max(map(max, self.colours))
        return np.array(self.colours, np.uint16 if highest > HIGHEST[3] else np.uint8)

    @cached_property
    def shades(self) -> Array:
        """A colour for each class, uint8 `[K, 3]`, for people: its own, or one that is far from the others'."""
        if not self.by_index:
            return self.table
        return np.array([_shade(index) for (index,) in self.colours], np.uint8)

    def classes_of(self, values: Array) -> Array:
        """The class of each pixel, `[H, W, C]` as in a file -> `[H, W]`.

        A colour that is no label's is of the class with the nearest one, as JPEG's are. An index that is no label's is a
        `ValueError`, and so are greys that are none where labels have colours.
        """
        if self.by_index and values.shape[-1] >= 3 and not (values[..., :1] == values[..., :3]).all():
            raise ValueError("is in colour, and the labels have indices; give labels with colours")
        is_grey = values.shape[-1] == 1
        if not self.by_index and is_grey:
            values = np.repeat(values, 3, axis=-1)
        found = values[..., : len(self.colours[0])].astype(np.int64) @ (1 << 16 * np.arange(len(self.colours[0])))
        own = self.table.astype(np.int64) @ (1 << 16 * np.arange(len(self.colours[0])))
        order = own.argsort()
        classes: Array = order[np.searchsorted(own, found, sorter=order).clip(max=len(own) - 1)]
        unknown = own[classes] != found
        if unknown.any():
            others, places = np.unique(found[unknown], return_inverse=True)
            if self.by_index:
                more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
                row, column = np.argwhere(unknown)[0]
                raise ValueError(
                    f"holds the index {others[0]}, which is no label's{more}, in {unknown.sum():,} of {unknown.size:,} "
                    f"pixels, the first in row {row}, column {column}; add a line `name, {others[0]}`"
                )
            if is_grey and np.ptp(self.table, axis=1).any():
                raise ValueError(
                    "is grey, and the labels have colours; save it in colours, or give labels with indices"
                )
            colours = others[:, None] >> 16 * np.arange(3) & 0xFFFF
            distances = ((colours[:, None] - self.table.astype(np.int64)) ** 2).sum(-1)
            classes[unknown] = distances.argmin(1)[places]
        return classes

    def unknown(self, values: Array) -> float:
        """The share of pixels `[H, W, 3]` whose colour is not that of a label."""
        if self.by_index:
            return 0.0
        return float((self.table[self.classes_of(values)] != values[..., :3]).any(-1).mean())

    def planes(self, values: Array) -> Array:
        """`[H, W, C]` as in a file -> booleans `[H, W, K]`: whether a pixel is of the class."""
        return np.eye(len(self.names), dtype=np.bool_)[self.classes_of(values)]


def _parse(line: str) -> tuple[str, tuple[int, ...]]:
    name, *numbers = (part.strip() for part in line.split(","))
    colour = tuple(int(number) for number in numbers if number.isdecimal() and len(number) < 6)
    if not name or len(colour) not in HIGHEST or len(colour) < len(numbers) or max(colour) > HIGHEST[len(colour)]:
        raise ValueError(f"{shown(line)} is no label; `name, R, G, B` (0 to 255) or `name, INDEX` is expected")
    return name, colour


def _shade(index: int) -> tuple[int, ...]:
    """The colour of an index in the palette of Pascal VOC, whose neighbours differ much."""
    return tuple(sum((index >> 3 * bit + channel & 1) << 7 - bit for bit in range(8)) for channel in range(3))


def read_labels(path: Path) -> Labels:
    """The labels in a file; a `ValueError` names the file and the line that is none."""
    try:
        return Labels.parse(read_text(path).splitlines())
    except ValueError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ValueError(f"{path}: {reason}") from error


def require_labels(value: object) -> tuple[str, ...]:
    """The lines of labels, from the path of their file or as they are; a `ValueError` for what is none."""
    if isinstance(value, str):
        return read_labels(Path(value)).lines if value else ()
    if not isinstance(value, list | tuple) or not all(isinstance(line, str) for line in value):
        raise ValueError("a file of labels is expected, or its lines")
    return Labels.parse(value).lines if value else ()
