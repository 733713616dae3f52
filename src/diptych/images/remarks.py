"""What is to be said of a picture that was read, and not wholly as its file has it: its first frame alone, lost last bytes.

Decoding notes it, and whoever asked for the picture, however many calls above, collects it.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

FIRST_FRAME = "only the first of several frames or pages is read"
CUT_OFF = "the last bytes are missing; it is read as viewers show it"
EIGHT_BITS = "8 of more than 8 bits a channel are read"
FOURTH_LEFT_OUT = "the channel after RGB is left out"
FOURTH_NOT_READ = f"{FOURTH_LEFT_OUT}; a model that is trained with --channels-a 4 (or -b) reads it"
FOURTH_KEPT = "RGB is filled; the channel after it stays as it is, in the holes too"
NOT_FINITE = "some of its numbers are NaN or infinite; NaN is read as the LOW of the range"
FLAT = (
    "every pixel is the same; this model's norms turn the rounding of such a picture into a pattern that means nothing"
)
WRITTEN_AS_PNG = "it is written as PNG, for this format is only read"


class Remark(NamedTuple):
    """A file, and what is to be said of it."""

    file: str
    text: str
    extent: tuple[float, ...] = ()
    """The lowest and the highest number that it is about; empty where it is about none."""

    def __str__(self) -> str:
        return f"{self.file}: {self.text}{_numbers(self.extent)}"


_thread = threading.local()


@contextmanager
def collected() -> Iterator[list[Remark]]:
    """Inside, the list gets what is noted of the pictures that this thread decodes; of nested blocks the inner one's.

    >>> with collected() as remarks:
    ...     note("a.gif", FIRST_FRAME)
    >>> print(*remarks)
    a.gif: only the first of several frames or pages is read
    """
    outer, remarks = getattr(_thread, "remarks", None), list[Remark]()
    _thread.remarks = remarks
    try:
        yield remarks
    finally:
        _thread.remarks = outer


def note(file: str, text: str, extent: tuple[float, ...] = ()) -> None:
    """Keeps a remark for whoever collects them; nobody has to. Bytes without the name of a file have none."""
    remarks: list[Remark] | None = getattr(_thread, "remarks", None)
    if file and remarks is not None and (remark := Remark(file, text, extent)) not in remarks:
        remarks.append(remark)


def lines(remarks: Iterable[Remark]) -> list[str]:
    """One line for each text, with the first of its files, how many more there are, and the numbers of all of them.

    >>> print(*lines([Remark("a.gif", FIRST_FRAME), Remark("b.gif", FIRST_FRAME)]))
    a.gif (and 1 more): only the first of several frames or pages is read
    >>> print(*lines([Remark("a.tif", "is cut to it", (0, 2)), Remark("b.tif", "is cut to it", (-7, 1))]))
    a.tif (and 1 more): is cut to it (numbers from -7 to 2)
    """
    of_text: dict[str, list[Remark]] = {}
    for remark in remarks:
        of_text.setdefault(remark.text, []).append(remark)
    together = []
    for text, group in of_text.items():
        files = list(dict.fromkeys(remark.file for remark in group))
        numbers = [number for remark in group for number in remark.extent]
        more = f" (and {len(files) - 1} more)" if len(files) > 1 else ""
        together.append(f"{files[0]}{more}: {text}{_numbers((min(numbers), max(numbers)) if numbers else ())}")
    return together


def _numbers(extent: tuple[float, ...]) -> str:
    return " (numbers from {:.6g} to {:.6g})".format(*extent) if extent else ""
