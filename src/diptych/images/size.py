"""How large a picture is: height and width, which people write as 256, or as 512x256 (width x height)."""

import re
from typing import NamedTuple

LARGEST = 2**16  # pixels


class Size(NamedTuple):
    """Height and width in pixels, in the order in which arrays have them.

    >>> Size.parse("512x256"), Size.parse(256)
    (Size(height=256, width=512), Size(height=256, width=256))
    >>> print(Size(256, 512), Size(256, 256))
    512x256 256
    """

    height: int
    width: int

    @classmethod
    def square(cls, side: int) -> "Size":
        """`side` x `side`."""
        return cls(side, side)

    @classmethod
    def parse(cls, value: object, most: int = LARGEST) -> "Size":
        """The size that one number or "WIDTHxHEIGHT" is; a `ValueError` for anything else, and for a side above `most`."""
        given = re.fullmatch(r"(\d{1,9})(?:[xX×](\d{1,9}))?", value, re.ASCII) if isinstance(value, str) else None
        if given:
            size = cls(height=int(given[2] or given[1]), width=int(given[1]))
        elif type(value) is int:  # and no bool
            size = cls.square(value)
        elif isinstance(value, cls):
            size = value
        else:
            raise ValueError("one number of pixels or WIDTHxHEIGHT, as in 512x256, is expected")
        if not 1 <= min(size) <= max(size) <= most:
            raise ValueError(f"1 to {most} pixels in each direction are expected")
        return size

    def __str__(self) -> str:
        return str(self.plain)

    @property
    def plain(self) -> int | str:
        """As settings have it: one number for a square, else "WIDTHxHEIGHT"."""
        return self.width if self.height == self.width else f"{self.width}x{self.height}"

    @property
    def area(self) -> int:
        """In pixels."""
        return self.height * self.width

    def scaled(self, factor: float) -> "Size":
        """Both sides times `factor`, rounded.

        >>> Size(256, 512).scaled(286 / 256)
        Size(height=286, width=572)
        """
        return Size(round(self.height * factor), round(self.width * factor))
