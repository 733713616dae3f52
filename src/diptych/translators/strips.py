"""A picture through a translator in strips of rows: read, padded, computed and given back a few rows at a time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from diptych.images import geometry
from diptych.translators.image import ImageTranslator
from diptych.translators.scratch import Store
from diptych.translators.streaming import STRIP, STRIPS_AT_WORK, Plan, Progress

ReadRows = Callable[[Tensor], Tensor]
"""Gives the rows of these numbers, int64 `[n]`, of a picture: float `[1, C, n, W]`."""
WriteRows = Callable[[slice, Tensor], None]
"""Takes rows of the translation, float `[1, C, n, W]` on the CPU, and which rows they are."""
OPERATORS = 160 * 2**20
"""Bytes that convolutions need beside their rows, however few: transforms, and weights in another layout (measured)."""
SPARE = 0.02
"""Of what is kept on the disk: chunks end in blocks that are not full."""


class Room(NamedTuple):
    """The bytes of memory that a picture may take in all, and the folder for what does not fit into them."""

    memory: int
    scratch: Path
    reserved: int = 0
    """Bytes of that folder's disk that the translation itself will take."""


@dataclass(frozen=True)
class Watch:
    """Who is told of a picture that goes in strips: a line before it begins, and then how far it is."""

    name: str = "the picture"
    say: Callable[[str], None] = lambda line: None
    show: Callable[[int, int, str], None] = lambda done, total, name: None
    """Called with thousandths, 1000, and the picture's name with what is being done."""

    def progress(self) -> Progress:
        """Shows how far a plan is that begins now."""
        began, name = time.monotonic(), Path(self.name).name

        def progress(share: float, number: int, count: int) -> None:
            left = (time.monotonic() - began) * (1 - share) / share / 60
            self.show(int(share * 1000), 1000, f"{name}: pass {number} of {count}, about {left:.0f} min left")

        return progress


class InStrips:
    """The way of a picture of `height` and `width` through an `ImageTranslator`: equal to the whole, up to rounding.

    Raises a `NotInStripsError` for a network that cannot be computed in strips, and a `ValueError` for less memory than
    strips need, or less room on the disk than what is kept needs beyond the memory.
    """

    def __init__(self, translator: ImageTranslator, height: int, width: int, room: Room, held: int) -> None:
        """`held` bytes of the memory are taken by the picture and its translation."""
        self.translator, self.height, self.width, self.room = translator, height, width, room
        self.rows, self.above = geometry.padded(height, translator.stride)
        self.columns, self.left = geometry.padded(width, translator.stride)
        self.plan = Plan(translator.network, translator.network_channels, len(self.rows), len(self.columns))
        left = room.memory - held - OPERATORS
        if left < (least := 2 * STRIPS_AT_WORK * self.plan.least_strip):
            needed, given = as_amount(held + OPERATORS + least), as_amount(room.memory)
            raise ValueError(
                f"{width}x{height} pixels need about {needed} even in strips, and {given} is what they may take; give them "
                "more, --memory"
            )
        self.strip = min(STRIP, left // (2 * STRIPS_AT_WORK))
        self.budget = left - STRIPS_AT_WORK * self.strip
        self.plan.fit(self.budget + round(Store.room(room.scratch) * (1 - SPARE)) - room.reserved)

    @property
    def on_disk(self) -> int:
        """The bytes of the disk that will be taken at the most."""
        return max(self.in_store - self.budget, 0) + self.room.reserved

    @property
    def in_store(self) -> int:
        """The bytes that are kept at once at the most, blocks that are not full among them."""
        return round(self.plan.peak * (1 + SPARE))

    def __str__(self) -> str:
        passes = len(self.plan.passes)
        disk = f", with up to {self.on_disk / 1e9:.1f} GB of {self.room.scratch} for a while" if self.on_disk else ""
        return f"it goes in strips of rows, in {passes} {'passes' if passes > 1 else 'pass'}{disk}"

    def run(self, read: ReadRows, write: WriteRows, device: torch.device, watch: Watch) -> None:
        """Translates what `read` gives into what `write` takes, rows from the top down."""

        def seen(start: int, stop: int) -> Tensor:
            x = read(self.rows[start:stop])
            return x.index_select(-1, self.columns).to(device)

        def shown(start: int, y: Tensor) -> None:
            stop, last = start + y.shape[-2], self.above + self.height
            first, end = max(start, self.above), min(stop, last)
            if first >= end:
                return
            x = seen(first, end) if self.translator.looks_twice else y
            made = self.translator.from_network(x, y[..., first - start : end - start, :])
            columns = slice(self.left, self.left + self.width)
            write(slice(first - self.above, end - self.above), made[..., columns].float().cpu())

        with Store(min(self.budget, self.in_store), self.room.scratch) as store:
            store.require_room(self.in_store + self.room.reserved)
            self.plan.run(
                lambda start, stop: self.translator.to_network(seen(start, stop)),
                shown,
                store,
                self.strip,
                watch.progress(),
            )


def as_amount(count: int) -> str:
    """Bytes, as an amount of memory.

    >>> as_amount(3 * 2**29), as_amount(200_000)
    ('1.5 GiB', '0.1907 MiB')
    """
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.4g} MiB"
