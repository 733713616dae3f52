"""A network over a picture of any size, in strips of rows: the same result as of the whole, in memory that one chooses.

Rows of the output are asked for from the top down. Every map computes the rows that it is asked for from rows of the maps
before it, and holds a window of its last rows as long as others still look at them: nothing is computed twice, there are no
seams, and the network's borders are where the picture has its own. A norm by the statistics of the picture at hand cannot be
applied before the whole of its input was seen: that takes a pass over the picture for each such norm. What is dear to
compute again is kept from one pass to the next, in a `Store`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from diptych.translators.maps import Elementwise, Map, Normalised, Source, before, trace
from diptych.translators.scratch import Chunk, Store

STRIP = 48 * 2**20
"""Bytes that the rows of the largest map may have that are computed together."""
STRIPS_AT_WORK = 14
"""How many times the bytes of such rows a pass holds at once, in the windows of all of its maps (measured)."""
HANDLING = 400
"""Multiplications in whose time a value is read and written once (measured, for the time that is left)."""
CANCELLATION = 1e-3
"""Variance of a row, of its mean square, below which float32 sums of squares lose it."""

Progress = Callable[[float, int, int], None]
"""Called with the share that is done, the number of the pass, and how many there are."""


@dataclass
class Pass:
    """One way through the picture: from what is kept, or from the picture itself, to the rows of `target`."""

    target: Map
    maps: list[Map]
    """Computed in it, or read."""
    read: set[Map]
    """Those that earlier passes have kept."""
    work: float
    """What it takes, in no unit."""
    kept: set[Map] = field(default_factory=set)
    """Of its maps, for later passes."""
    dropped: set[Map] = field(default_factory=set)
    """Of those that it reads: no later pass reads them."""

    def strip_height(self, most: int) -> int:
        """Rows of the target to compute together, so that no map's rows for them have more than `most` bytes."""
        dearest = max(one.bytes for one in self.maps) / self.target.height
        return max(1, int(most / dearest))


class Plan:
    """The passes of a network, in eval mode, over a picture of `channels`, `height` and `width`.

    Raises a `NotInStripsError` for a network that cannot be computed in strips.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from diptych.networks.resnet import ResNet
    >>> network, x = ResNet(3, 3, blocks=1, width=4).eval(), torch.rand(1, 3, 64, 48) * 2 - 1
    >>> plan, strips = Plan(network, 3, 64, 48), []
    >>> with torch.inference_mode(), Store(0, Path(tempfile.gettempdir())) as store:
    ...     plan.run(lambda a, b: x[:, :, a:b], lambda a, rows: strips.append(rows), store, strip=20_000)
    ...     torch.allclose(torch.cat(strips, dim=2), network(x), atol=1e-5)
    True
    >>> len(strips), len(plan.passes)
    (3, 8)
    """

    def __init__(self, network: nn.Module, channels: int, height: int, width: int) -> None:
        self.output = trace(network, channels, height, width)
        self.maps = [*before(self.output)]
        self.norms = [one for one in self.maps if isinstance(one, Normalised)]
        readers = {one: [other for other in self.maps if one in other.inputs] for one in self.maps}
        shared = [one for one in self.maps if len(readers[one]) > 1]
        self.sums = {one for one in shared if isinstance(one, Elementwise) and len(one.inputs) > 1}
        costly = {one for one in shared if one.work} | {norm.inputs[0] for norm in self.norms}
        self.candidates = self.sums | costly
        """What is worth keeping: the inputs of norms, sums and convolutions that several maps read."""
        self.passes: list[Pass] = []
        self.peak = 0
        """The most bytes that are kept at once."""
        self.keep(self.candidates)

    @property
    def least_strip(self) -> int:
        """Bytes of the rows of the dearest map for one row of the output of a pass."""
        return round(max(one.bytes / this.target.height for this in self.passes for one in this.maps))

    def keep(self, candidates: Iterable[Map]) -> None:
        """Makes the passes, in which these maps are kept as long as a later pass reads them."""
        wanted, stored = {*candidates} - {self.output}, set[Map]()
        self.passes = []
        for target in dict.fromkeys([*(norm.inputs[0] for norm in self.norms), self.output]):
            maps = [*before(target, ends=stored.__contains__)]
            work = sum((one.work + HANDLING) * one.bytes for one in maps)
            self.passes.append(Pass(target, maps, stored & {*maps}, work))
            stored |= wanted & {*maps}
        self.peak, alive, read = 0, set[Map](), set[Map]()
        for one in reversed(self.passes):  # the last reader drops
            one.dropped = one.read - read
            read |= one.read
        made = set[Map]()
        for one in self.passes:
            one.kept = (({*one.maps} & wanted) - made) & read
            made |= one.kept
            alive |= one.kept
            alive -= one.dropped
            self.peak = max(self.peak, sum(other.bytes for other in alive))

    def fit(self, room: int) -> None:
        """Keeps less, the cheapest to compute again first, until no more than `room` bytes are kept at once.

        Sums that several maps read stay: a chain of them would be computed from its beginning in every pass.
        """
        kept = sorted(self.candidates, key=lambda one: (one in self.sums, one.work))
        while self.peak > room and kept and kept[0] not in self.sums:
            kept = kept[1:]
            self.keep(kept)

    def run(
        self,
        read: Callable[[int, int], Tensor],
        write: Callable[[int, Tensor], None],
        store: Store,
        strip: int = STRIP,
        progress: Progress = lambda *_: None,
    ) -> None:
        """Computes the output: `read(start, stop)` gives rows `[1, C, stop - start, W]`, `write(start, rows)` takes them.

        Every pass reads the picture anew, from the top down, unless it begins with what is kept.
        """
        chunks: dict[Map, list[Chunk]] = {}
        all_work, done = sum(one.work for one in self.passes), 0.0
        norms: dict[Map, list[Normalised]] = {}
        for norm in self.norms:
            norms.setdefault(norm.inputs[0], []).append(norm)
        for number, this in enumerate(self.passes, start=1):
            rows_of, moments = Windows(this, chunks, store, read), Moments()
            height, rows = this.target.height, this.strip_height(strip)
            for start in range(0, height, rows):
                stop = min(start + rows, height)
                computed = rows_of.pull(this.target, start, stop)
                if this.target is self.output:
                    write(start, computed)
                else:
                    moments.add(computed)
                del computed
                rows_of.pass_by(stop)
                progress((done + this.work * stop / height) / all_work, number, len(self.passes))
            for norm in norms.get(this.target, []):
                norm.normalise_by(moments.mean, moments.variance)
            done += this.work


class Windows:
    """The rows of each map that a pass still needs."""

    def __init__(
        self, this: Pass, chunks: dict[Map, list[Chunk]], store: Store, read: Callable[[int, int], Tensor]
    ) -> None:
        self.this, self.chunks, self.store, self.read = this, chunks, store, read
        self.windows = {one: Window() for one in this.maps}
        for one in this.maps:
            if one not in this.read:
                for source in one.inputs:
                    self.windows[source].readers[one] = 0
        self.windows[this.target].readers[None] = 0
        self.next = dict.fromkeys(this.read, 0)
        """The number of the chunk of each map that is read next."""
        for one in this.kept:
            chunks[one] = []

    def pull(self, one: Map, start: int, stop: int) -> Tensor:
        """Rows of a map, no earlier ones than were asked for before."""
        window = self.windows[one]
        while window.stop < stop:
            if one in self.this.read:
                window.append(self._kept(one))
            elif isinstance(one, Source):
                window.append(self.read(window.stop, stop))
            else:
                self._compute(one, window, stop)
        return window.rows(start, stop)

    def _compute(self, one: Map, window: "Window", stop: int) -> None:
        start = window.stop
        needed = one.need(start, stop)
        rows = one.compute([self.pull(source, *needed) for source in one.inputs], start, stop)
        window.append(rows)
        if one in self.this.kept:
            self.chunks[one].append(self.store.put(rows))
        height = one.inputs[0].height
        first = (
            min(one.need(stop, stop + 1)[0], one.need(one.height - 1, one.height)[0]) if stop < one.height else height
        )
        for source in one.inputs:
            self.windows[source].pass_by(one, first)

    def _kept(self, one: Map) -> Tensor:
        chunk = self.chunks[one][self.next[one]]
        self.next[one] += 1
        rows = self.store.get(chunk)
        if one in self.this.dropped:
            self.store.drop(chunk)
            self.chunks[one][self.next[one] - 1] = Chunk((), rows.dtype)
        return rows

    def pass_by(self, row: int) -> None:
        """Whoever asks for the target needs no row before this one any more."""
        self.windows[self.this.target].pass_by(None, row)

    @property
    def held(self) -> int:
        """How many rows of all maps there are in memory."""
        return sum(window.held for window in self.windows.values())


class Window:
    """Some rows of a map `[1, C, stop - start, W]`, down to the last one that was computed."""

    def __init__(self) -> None:
        self.start = self.stop = 0
        self._rows: Tensor | None = None
        self.readers: dict[Map | None, int] = {}
        """For each reader the first row that it may still ask for."""

    def append(self, rows: Tensor) -> None:
        """Takes more rows at the bottom, and forgets those at the top that no reader asks for."""
        if self._rows is not None:
            start = min(max(self.start, min(self.readers.values())), self.stop)
            rows = torch.cat([self._rows[..., start - self.start :, :], rows], dim=-2)
            self.start = start
        self._rows, self.stop = rows, self.start + rows.shape[-2]

    def rows(self, start: int, stop: int) -> Tensor:
        """Those rows; not to be changed in place."""
        assert self._rows is not None
        assert self.start <= start
        return self._rows[..., start - self.start : stop - self.start, :]

    def pass_by(self, reader: Map | None, row: int) -> None:
        """The reader asks for no row before this one any more."""
        self.readers[reader] = row
        if min(self.readers.values()) >= self.stop:
            self._rows, self.start = None, self.stop

    @property
    def held(self) -> int:
        """How many rows are in memory."""
        return 0 if self._rows is None else self._rows.shape[-2]


class Moments:
    """Mean and variance of each channel over all rows, float64 `[C]`, merged row by row (Chan, Golub, LeVeque 1983).

    >>> moments = Moments()
    >>> moments.add(torch.tensor([1.0, 3.0]).view(1, 1, 1, 2))
    >>> moments.add(torch.tensor([5.0, 7.0]).view(1, 1, 1, 2))
    >>> moments.mean.item(), round(moments.variance.item(), 5)
    (4.0, 5.0)
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.squares = torch.zeros(1, dtype=torch.float64)

    @property
    def variance(self) -> Tensor:
        """Without Bessel's correction, as norms have it."""
        return self.squares / self.count

    def add(self, rows: Tensor) -> None:
        """Takes rows `[1, C, h, W]`."""
        rows = rows[0].float()
        width = rows.shape[-1]
        means = rows.sum(-1).double() / width
        all_squares = torch.linalg.vector_norm(rows, dim=-1).double().square()
        squares = all_squares - width * means.square()  # of the differences from the row's mean
        if bool((squares < CANCELLATION * all_squares).any()):
            variances, exact = torch.var_mean(rows, dim=-1, correction=0)
            means, squares = exact.double(), variances.double() * width
        self._merge(width * means.shape[-1], *_merged(means, squares, width))

    def _merge(self, count: int, mean: Tensor, squares: Tensor) -> None:
        if self.count == 0:
            self.count, self.mean, self.squares = count, mean, squares
            return
        both, away = self.count + count, mean - self.mean
        self.squares = self.squares + squares + away.square() * (self.count * count / both)
        self.mean, self.count = self.mean + away * (count / both), both


def _merged(means: Tensor, squares: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The moments of rows together, from those of each row `[C, h]`."""
    mean = means.mean(-1)
    return mean, squares.sum(-1) + width * (means - mean[:, None]).square().sum(-1)
