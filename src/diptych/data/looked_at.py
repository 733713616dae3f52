"""What was found in the pictures of a dataset, kept in the cache: a file that has not changed is not looked at again."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from diptych.data.datasets import Dataset
from diptych.files import digest, recall, remember
from diptych.images.files import decoders
from diptych.images.observed import Seen


class Found(NamedTuple):
    """What was found in a good sample."""

    height: int
    """In pixels, as the width."""
    width: int
    left_out: str
    """Why it is left out, empty where it is not."""
    seen: tuple[Seen, ...]
    """In the file of each side."""
    remark: str = ""
    """What is to be said of its files; empty where all of them is read."""

    @classmethod
    def of(cls, values: Sequence[Any]) -> "Found":
        """From what JSON makes of one.

        >>> Found.of([4, 8, "", [], ""])
        Found(height=4, width=8, left_out='', seen=(), remark='')
        """
        height, width, left_out, seen, remark = values
        return cls(height, width, left_out, tuple(Seen(*side) for side in seen), remark)


class LookedAt:
    """What was found in the samples of a dataset whose files still have the same path, size and time.

    `key` is everything else that decides what is found, such as the size to which pictures are scaled. A sample that shares
    its file with others is never remembered.
    """

    def __init__(self, dataset: Dataset, *key: object) -> None:
        whole_key = version("diptych"), decoders(), type(dataset).__name__, dataset.specs, *key
        self.name = f"looked-at-{digest(repr(whole_key))}"
        # Asked before they are decoded: a file that changes meanwhile is looked at again the next time.
        self.files = {number: _files(dataset.sources(number)) for number in range(len(dataset))}
        self.known: dict[str, Any] = recall(self.name) or {}
        self.found: dict[int, Found] = {}
        """By the number of the sample in the dataset. Samples that are looked at now are added."""
        for number, files in self.files.items():
            if files in self.known:
                self.found[number] = Found.of(self.known[files])

    def keep(self) -> None:
        """Writes down what was found."""
        found = {self.files[number]: one for number, one in sorted(self.found.items()) if self.files[number]}
        if found.keys() != self.known.keys():
            remember(self.name, found)


def _files(paths: Sequence[Path]) -> str:
    """The paths, sizes and times (ns) of a sample's files; empty where there are none, or they cannot be asked."""
    try:
        stats = [(path, path.stat()) for path in paths]
    except (OSError, ValueError):
        return ""
    return "|".join(f"{path}:{stat.st_size}:{stat.st_mtime_ns}" for path, stat in stats)
