"""What Prometheus is told of a server; of several processes the sum."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The variable with the folder where several processes keep their numbers; the library reads it when it is imported."""
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """The numbers of one process."""

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        self.requests = Counter(
            "diptych_requests", "Requests by route and status.", ("method", "route", "status"), registry=own
        )
        self.seconds = Histogram(
            "diptych_request_seconds",
            "From a request's headers to the end of its answer.",
            ("route",),
            buckets=SECONDS,
            registry=own,
        )
        self.pictures = Counter("diptych_pictures", "Pictures that were made.", ("model",), registry=own)
        self.batches = Histogram(
            "diptych_batch_size", "Pictures that went through the network together.", buckets=SIZES, registry=own
        )
        self.computing = Counter("diptych_computing_seconds", "Time that the network took.", registry=own)
        self.waiting = Gauge(
            "diptych_waiting", "Requests that wait or are worked on.", registry=own, multiprocess_mode="livesum"
        )
        self.steps = Gauge(
            "diptych_model_step", "At which the model was saved.", ("model",), registry=own, multiprocess_mode="livemax"
        )
        self._waiting: Callable[[], int] = lambda: 0

    def watch(self, waiting: Callable[[], int]) -> None:
        """Takes the number of requests that wait from a function."""
        self._waiting = waiting

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self.requests.labels(method, route, status).inc()
        self.seconds.labels(route).observe(seconds)
        self.waiting.set(self._waiting())

    def picture(self, model: str, count: int = 1) -> None:
        """Pictures were made."""
        self.pictures.labels(model).inc(count)

    def computed(self, size: int, seconds: float) -> None:
        """A batch went through the network."""
        self.batches.observe(size)
        self.computing.inc(seconds)

    def step(self, model: str, step: int) -> None:
        """The model that answers now."""
        self.steps.labels(model).set(step)

    def text(self) -> tuple[bytes, str]:
        """All numbers as Prometheus reads them, and the media type of that."""
        self.waiting.set(self._waiting())
        if SHARED not in os.environ:
            return generate_latest(self.registry), CONTENT_TYPE_LATEST
        forget_the_dead(Path(os.environ[SHARED]))
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together), CONTENT_TYPE_LATEST


def forget_the_dead(folder: Path) -> None:
    """Removes what processes that are gone have left of numbers that hold for living ones."""
    for file in folder.glob("gauge_live*_*.db"):
        with suppress(ValueError, OSError):
            if not psutil.pid_exists(process := int(file.stem.rpartition("_")[2])):
                mark_process_dead(process, str(folder))  # type: ignore[no-untyped-call]
