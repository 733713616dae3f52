"""The kinds of data that methods learn from, and the two directions between A and B."""

from enum import StrEnum
from typing import Literal

Statistics = Literal["picture", "running"]
"""What batch norm normalises a translation by: the picture's own mean and variance, or averages over training pictures."""

Direction = Literal["AtoB", "BtoA"]
REVERSE: dict[Direction, Direction] = {"AtoB": "BtoA", "BtoA": "AtoB"}

Sides = tuple[str, str]
"""What A and B are called."""
A_AND_B: Sides = ("A", "B")


def ends_of(direction: Direction, sides: Sides) -> Sides:
    """What goes in and what comes out in a direction, by the names of A and B.

    >>> ends_of("BtoA", ("paintings", "photos"))
    ('photos', 'paintings')
    """
    a, b = sides
    return (a, b) if direction == "AtoB" else (b, a)


def in_words(direction: Direction, sides: Sides) -> str:
    """A direction as a person reads it.

    >>> in_words("BtoA", ("paintings", "photos"))
    'photos -> paintings'
    """
    return " -> ".join(ends_of(direction, sides))


class DataKind(StrEnum):
    """What a method learns from; the value is what users read."""

    PAIRED = "paired"
    """Every A has its B."""
    UNPAIRED = "unpaired"
    """Two sets, A and B, without pairs."""
    IMAGES = "images"
    """Single images."""
    LABELLED = "labelled"
    """Single images, in classes or not."""

    @property
    def has_sides(self) -> bool:
        """Whether there is an A and a B.

        >>> DataKind.PAIRED.has_sides, DataKind.LABELLED.has_sides
        (True, False)
        """
        return self in (DataKind.PAIRED, DataKind.UNPAIRED)
