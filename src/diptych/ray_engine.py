"""Work spread over the processes of a Ray cluster: the only file that knows Ray. It knows nothing of pictures.

Ray's actors are used, and not Ray Data: that tries a block whose picture kills its process for ever, does not say what it
has handed out, and prints lines that cannot be turned off.
"""

import logging
import os
import secrets
import signal
import sys
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import Any, TextIO, TypeVar

from diptych.runtimes.packages import require_packages
from diptych.signals import ENDING
from diptych.wording import brief

TRIES = 3
"""Processes that may end while they have one item, or while they begin, before that is a failure."""
MEMORY = 80 * 2**20  # bytes of the memory that Ray's processes share: what travels are paths and lines

Item = TypeVar("Item", bound=Hashable)
Answer = TypeVar("Answer")


def require_ray() -> None:
    """Raises a `ValueError` where Ray is not installed."""
    require_packages("--engine ray", ["ray"], "ray")


class Cluster:
    """The cluster that this process has joined, and the processes that work for it there."""

    def __init__(self, ray: Any, place: str) -> None:
        self.ray, self.place = ray, place
        """Where it is, in words."""
        found = ray.cluster_resources()
        self.gpus, self.cores = int(found.get("GPU", 0)), int(found.get("CPU", 0))
        self.processes = list[Any]()

    def spread(
        self,
        make: Callable[[], Callable[[Sequence[Item]], Answer]],
        portions: Sequence[Sequence[Item]],
        *,
        processes: int,
        on_gpus: bool,
        begin: Callable[[Sequence[Item]], None],
    ) -> Iterator[tuple[Sequence[Item], Answer | None]]:
        """Each portion with its answer, in the order in which they are done.

        Every process calls `make` once, and what that gives for one portion after the other. `begin` is called here before a
        portion is handed out. One whose process ends is handed out again, item by item; the answer of an item is None when
        `TRIES` processes have ended with it. What `make` or its calls raise is raised here.
        """
        from ray.exceptions import RayError, RayTaskError

        actor = self.ray.remote(_Process).options(num_cpus=1, num_gpus=int(on_gpus))
        left, idle, deaths, lost = deque(portions), list[Any](), Counter[Item](), 0
        busy = dict[Any, tuple[Any, Sequence[Item]]]()
        """Answers to come: of which process, for which portion; an empty one while the process begins."""

        def start() -> None:
            process = actor.remote()
            self.processes.append(process)
            busy[process.begin.remote(make)] = process, ()

        for _ in range(min(processes, len(left))):
            start()
        while left or any(portion for _, portion in busy.values()):
            while left and idle:
                process, portion = idle.pop(), left.popleft()
                begin(portion)
                busy[process.work.remote(portion)] = process, portion
            if not busy:
                raise ValueError(
                    f"--engine ray: {lost} processes in a row ended while they opened the model; is there enough memory?"
                )
            [done], _ = self.ray.wait([*busy])
            process, portion = busy.pop(done)
            try:
                answer = self.ray.get(done)
            except RayTaskError as error:
                raise error.cause from None
            except RayError:  # the process, its machine or the way to it is gone
                self._end(process)
                lost += not portion
                if lost < TRIES:
                    start()
                deaths.update(portion)
                for item in portion:
                    if deaths[item] < TRIES:
                        left.append([item])
                    else:
                        yield [item], None
                continue
            idle.append(process)
            if portion:
                yield portion, answer
            else:
                lost = 0

    def _end(self, process: Any) -> None:
        self.processes.remove(process)
        self.ray.kill(process)

    def end(self) -> None:
        """Ends the processes; what they have half written is removed by the next run."""
        while self.processes:
            self._end(self.processes[-1])


class _Process:
    """What lives in a process of the cluster."""

    def begin(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        self.call = make()

    def work(self, portion: Any) -> Any:
        return self.call(portion)


@contextmanager
def joined(processes: int | None) -> Iterator[Cluster]:
    """Inside, this process belongs to the cluster at RAY_ADDRESS, or to one on this machine that ends with it.

    The latter has room for so many `processes`, or one a core; it listens on this machine alone, and leaves no files.
    """
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(_WithoutRay(sys.stdout)))
        address = os.environ.get("RAY_ADDRESS")
        # They are read when Ray is imported, or its processes are started.
        os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # else what is repeated is printed by the main thread
        if not address:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else it writes one into the home
        import ray

        if not ray.is_initialized():
            where: dict[str, Any] = {"address": address} if address else _here(processes, stack)
            stack.callback(ray.shutdown)
            with _own_signals():
                try:
                    ray.init(**where, log_to_driver=False, logging_level=logging.CRITICAL)
                except Exception as error:  # of several types, a plain Exception where the start takes 30 seconds
                    place = f"no cluster answers at RAY_ADDRESS={address}" if address else "no cluster starts here"
                    raise ValueError(f"--engine ray: {place} ({brief(error, 120)})") from error
        cluster = Cluster(ray, f"at {address}" if address else "on this machine")
        stack.callback(cluster.end)
        yield cluster


def _here(processes: int | None, stack: ExitStack) -> dict[str, Any]:
    """How a cluster is started on this machine, for this machine alone."""
    short = os.environ.get("RAY_TMPDIR")  # the paths of sockets have at most 107 characters
    folder = tempfile.TemporaryDirectory(prefix="diptych-ray-", dir=short, ignore_cleanup_errors=True)
    return {
        "address": "local",
        "num_cpus": processes,
        "include_dashboard": False,
        "object_store_memory": MEMORY,
        "_node_ip_address": "127.0.0.1",
        "_temp_dir": stack.enter_context(folder),
    }


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray ends the process by SIGTERM in a way of its own; here that does what it did before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _WithoutRay:
    """A stream without what Ray's threads print there: a process that ends is replaced, and its pictures are told of."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        return len(text) if threading.current_thread().name.startswith("ray_") else self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
