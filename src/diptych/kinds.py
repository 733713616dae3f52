"""The kinds of data that methods learn from, and the two directions between A and B."""

from enum import StrEnum
from typing import Literal

Statistics = Literal["picture", "running"]
"""What batch norm normalises a translation by: the picture's own mean and variance, or averages over training pictures."""

Direction = Literal["AtoB", "BtoA"]
REVERSE: dict[Direction, Direction] = {"AtoB": "BtoA", "BtoA": "AtoB"}


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
