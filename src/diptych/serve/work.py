"""The work of a server: a bounded number of requests, of which pictures of one size share a batch. Knows no web."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
THREADS = 2  # that decode and encode, beside the one that computes
SLOWEST = 60  # seconds that a client is asked to wait at most
MEMORY = 0.9  # of the mean time of a picture: the share of those before


class BusyError(Exception):
    """There are as many requests as may wait."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"as many requests are waiting as may wait; try again in {seconds} s")
        self.seconds = seconds


@dataclass(eq=False)
class Job:
    """One item for the network; those of one kind may go through it together."""

    kind: Hashable
    """None for an item that goes alone."""
    item: Any
    compute: Callable[[Sequence[Any]], Sequence[Any]]
    """From items of this kind to as many results; a `ValueError` for what one of them does not allow."""
    answer: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Work:
    """Admits requests, decodes in threads, computes in one thread and in batches."""

    def __init__(self, queue: int, max_batch: int, computed: Callable[[int, float], None] = lambda count, time: None):
        """`computed` is told of the size of each batch and of its seconds."""
        self.queue, self.max_batch, self.computed = queue, max_batch, computed
        self.taken = 0
        self._seconds = 0.1  # a picture takes, as far as is known
        self._waiting = deque[Job]()
        self._computing = ThreadPoolExecutor(1, "compute")
        self._coding = ThreadPoolExecutor(THREADS, "code")
        self._decoded = asyncio.Semaphore(2 * max_batch + THREADS)  # pictures that are in memory as levels
        self._worker: asyncio.Task[None] | None = None

    # ---- places

    @property
    def retry_after(self) -> int:
        """Seconds until there may be a place, from how long pictures take."""
        return min(SLOWEST, max(1, round(self._seconds * self.taken)))

    @contextmanager
    def place(self) -> Iterator["Place"]:
        """One of the places; a `BusyError` where none is free."""
        place = Place(self)
        place.take()
        try:
            yield place
        finally:
            place.give_back()

    # ---- work

    async def through(self, read: Callable[[], T], job: Callable[[T], Job], write: Callable[[T, Any], Any]) -> Any:
        """Reads in a thread, computes what `job` makes of it, and writes in a thread; gives what `write` gives."""
        async with self._decoded:
            given = await self.in_thread(read)
            result = await self.computed_of(job(given))
            return await self.in_thread(lambda: write(given, result))

    async def in_thread(self, function: Callable[[], T]) -> T:
        """What a function gives, without holding up the server."""
        return await asyncio.get_running_loop().run_in_executor(self._coding, function)

    async def computed_of(self, job: Job) -> Any:
        """The result of a job. One whose client is gone, or lost its patience, is left out of its batch."""
        self._waiting.append(job)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await job.answer

    async def _work(self) -> None:
        while batch := self._next():
            start = time.perf_counter()
            await self._compute(batch)
            seconds = time.perf_counter() - start
            self._seconds = MEMORY * self._seconds + (1 - MEMORY) * seconds / len(batch)
            self.computed(len(batch), seconds)

    def _next(self) -> list[Job]:
        """The oldest job, and those of its kind that wait."""
        waiting = [job for job in self._waiting if not job.answer.done()]
        batch = waiting[:1]
        if batch and batch[0].kind is not None:
            batch = [job for job in waiting if job.kind == batch[0].kind][: self.max_batch]
        self._waiting = deque(job for job in waiting if job not in batch)
        return batch

    async def _compute(self, batch: list[Job]) -> None:
        try:
            items = [job.item for job in batch]
            results = await asyncio.get_running_loop().run_in_executor(self._computing, batch[0].compute, items)
        except Exception as error:  # whoever asked gets it
            if len(batch) > 1 and isinstance(error, ValueError):  # of one picture; the others are right without it
                for job in batch:
                    await self._compute([job])
                return
            for job in batch:
                if not job.answer.done():
                    job.answer.set_exception(error)
        else:
            for job, result in zip(batch, results, strict=True):
                if not job.answer.done():
                    job.answer.set_result(result)

    def close(self) -> None:
        """Ends the threads."""
        self._computing.shutdown(wait=False, cancel_futures=True)
        self._coding.shutdown(wait=False, cancel_futures=True)


class Place:
    """A request's place among those that wait; a slow client's is free until its body is there."""

    def __init__(self, work: Work) -> None:
        self.work, self.is_taken = work, False

    def take(self) -> None:
        """A `BusyError` where there is none."""
        if self.is_taken:
            return
        if self.work.taken >= self.work.queue:
            raise BusyError(self.work.retry_after)
        self.work.taken += 1
        self.is_taken = True

    def give_back(self) -> None:
        """For others."""
        if self.is_taken:
            self.work.taken -= 1
            self.is_taken = False
