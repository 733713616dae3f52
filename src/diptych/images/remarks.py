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
FOURTH_KEPT = "RGB is filled; the channel after it stays as it is, in the holes too"
WRITTEN_AS_PNG = "it is written as PNG, for this format is only read"


class Remark(NamedTuple):
    """A file, and what is to be said of it."""

    file: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}: {self.text}"


_thread = threading.local()


@contextmanager
def collected() -> Iterator[list[Remark]]:
    """Inside, the list gets what is noted of the pictures that this thread decodes; blocks do not nest.

    >>> with collected() as remarks:
    ...     note("a.gif", FIRST_FRAME)
    >>> print(*remarks)
    a.gif: only the first of several frames or pages is read
    """
    _thread.remarks = remarks = list[Remark]()
    try:
        yield remarks
    finally:
        _thread.remarks = None


def note(file: str, text: str) -> None:
    """Keeps a remark for whoever collects them; nobody has to. Bytes without the name of a file have none."""
    remarks: list[Remark] | None = getattr(_thread, "remarks", None)
    if file and remarks is not None and (remark := Remark(file, text)) not in remarks:
        remarks.append(remark)


def lines(remarks: Iterable[Remark]) -> list[str]:
    """One line for each text, with the first of its files and how many more there are.

    >>> print(*lines([Remark("a.gif", FIRST_FRAME), Remark("b.gif", FIRST_FRAME)]))
    a.gif (and 1 more): only the first of several frames or pages is read
    """
    files: dict[str, list[str]] = {}
    for file, text in remarks:
        files.setdefault(text, []).append(file)
    return [
        f"{first}{f' (and {len(others)} more)' if others else ''}: {text}" for text, (first, *others) in files.items()
    ]
