"""Rows of feature maps that are kept for later: in memory up to a budget, then in a file without a name."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from heapq import heappop, heappush
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diptych.images.on_disk import full_is_a_line

BLOCK = 2**20
"""Bytes that are given out and taken back together."""


@dataclass(frozen=True)
class Chunk:
    """Rows that a store keeps, in some of its blocks."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    blocks: list[int] = field(default_factory=list)


class Store:
    """Keeps chunks of rows: the first blocks, `budget` bytes of them, in memory, others in a file in `folder`.

    The memory is one piece, which is taken when it is first needed: of many pieces that come and go others would not fit
    into the gaps. The file has no name where the system allows that, else it is removed when it is closed: whatever ends the
    process, nothing is left. A context manager, which closes it.

    >>> with Store(0, Path(tempfile.gettempdir())) as store:
    ...     chunk = store.put(torch.ones(1, 2, 3, 4))
    ...     store.get(chunk).sum()
    tensor(24.)
    """

    def __init__(self, budget: int, folder: Path) -> None:
        self.folder = folder
        self.in_memory = self.in_file = self.most_in_file = 0
        """Bytes of the blocks that are taken."""
        self._blocks_in_memory = budget // BLOCK
        self._memory: memoryview | None = None
        self._file: FileIO | None = None
        self._blocks = 0
        self._free: list[int] = []
        self._closing = ExitStack()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()
        self._memory = None

    def put(self, rows: Tensor) -> Chunk:
        """Keeps rows; a `ValueError` where the disk is full."""
        rows = rows.detach().cpu().contiguous()
        chunk = Chunk(tuple(rows.shape), rows.dtype, self._taken(-(-rows.nbytes // BLOCK)))
        with full_is_a_line(self.folder):
            for block, part in _parts(chunk, rows):
                if block < self._blocks_in_memory:
                    self._piece(block)[: len(part)] = part
                else:
                    self._write(self._place(block), part)
        return chunk

    def get(self, chunk: Chunk) -> Tensor:
        """The rows of a chunk."""
        rows = torch.empty(chunk.shape, dtype=chunk.dtype)
        for block, part in _parts(chunk, rows):
            if block < self._blocks_in_memory:
                part[:] = self._piece(block)[: len(part)]
            else:
                self._read(self._place(block), part)
        return rows

    def drop(self, chunk: Chunk) -> None:
        """Forgets a chunk, so that another can have its place."""
        for block in chunk.blocks:
            heappush(self._free, block)
        self._count(chunk.blocks, -BLOCK)

    @staticmethod
    def room(folder: Path) -> int:
        """The bytes that are free on the disk of a folder."""
        return shutil.disk_usage(folder).free

    def require_room(self, wanted: int) -> None:
        """Raises a `ValueError` where the disk has less room than what `wanted` bytes are beyond those in memory."""
        beyond, free = wanted - self._blocks_in_memory * BLOCK, self.room(self.folder)
        if beyond > free:
            raise ValueError(
                f"{self.folder}: {beyond / 1e9:.1f} GB are needed for a while, and {free / 1e9:.1f} GB are free; name a "
                "folder with more room, --scratch DIR, or give more memory, --memory"
            )

    def _taken(self, count: int) -> list[int]:
        """So many blocks, those in memory first."""
        taken = [heappop(self._free) for _ in range(min(count, len(self._free)))]
        fresh = range(self._blocks, self._blocks + count - len(taken))
        self._blocks = fresh.stop
        self._count([*taken, *fresh], BLOCK)
        return [*taken, *fresh]

    def _count(self, blocks: list[int], each: int) -> None:
        inside = sum(block < self._blocks_in_memory for block in blocks)
        self.in_memory += inside * each
        self.in_file += (len(blocks) - inside) * each
        self.most_in_file = max(self.most_in_file, self.in_file)

    def _piece(self, block: int) -> memoryview:
        if self._memory is None:
            self._memory = torch.empty(self._blocks_in_memory * BLOCK, dtype=torch.uint8).numpy().data
        return self._memory[block * BLOCK : (block + 1) * BLOCK]

    def _place(self, block: int) -> int:
        return (block - self._blocks_in_memory) * BLOCK

    def _at(self, place: int) -> FileIO:
        if self._file is None:
            opened: Any = self._closing.enter_context(tempfile.TemporaryFile(dir=self.folder, buffering=0))  # noqa: SIM115
            self._file = opened
        assert self._file is not None
        self._file.seek(place)
        return self._file

    def _write(self, place: int, part: memoryview) -> None:
        file = self._at(place)
        while part:
            part = part[file.write(part) :]

    def _read(self, place: int, part: memoryview) -> None:
        file = self._at(place)
        while part:
            count = file.readinto(part)
            assert count
            part = part[count:]


def _parts(chunk: Chunk, rows: Tensor) -> Iterator[tuple[int, memoryview]]:
    """Each block, and its bytes."""
    data = rows.view(-1).view(torch.uint8).numpy().data
    for number, block in enumerate(chunk.blocks):
        yield block, data[number * BLOCK : (number + 1) * BLOCK]
