"""The processes of a server: its socket, its signals, its end."""

import asyncio
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.supervisors.multiprocess import Multiprocess

from diptych import signals
from diptych.serve.jobs import Jobs
from diptych.serve.metrics import SHARED
from diptych.serve.models import Catalogue
from diptych.serve.options import Options
from diptych.wording import brief

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

BACKLOG = 2048  # connections that wait until they are taken
OWN_FILES = 128  # that a process opens beside its connections
GRACE = 5  # seconds longer than a request may take
STARTS_WITHIN = 120  # seconds that a process may take to import torch, on a busy machine
HEADERS_WITHIN = 30  # seconds from a connection, or an answer on it, to the end of the next request's headers


class Protocol(H11Protocol):
    """Closes a connection on which no request begins, whatever else comes: uvicorn waits for as long as bytes come."""

    clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Starts the clock."""
        super().connection_made(transport)
        self._start_clock()

    def on_response_complete(self) -> None:
        """Starts it anew."""
        self._start_clock()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops it."""
        self._stop_clock()
        super().connection_lost(exc)

    def _start_clock(self) -> None:
        self._stop_clock()
        self.clock = self.loop.call_later(HEADERS_WITHIN, self._close_without_request, self.cycle)

    def _stop_clock(self) -> None:
        if self.clock:
            self.clock.cancel()

    def _close_without_request(self, last: object) -> None:
        if self.cycle is last and not self.transport.is_closing():
            self.transport.close()


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; a `ValueError` for an address or a port that cannot be had."""
    if not 0 <= port <= 65535:
        raise ValueError(f"--port {port}: a number from 0 to 65535 is expected; 0 takes a free one")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no name of a machine"
        raise ValueError(f"--host {brief(host, 60)}: is no address of this machine ({reason})") from error
    listening = socket.socket(family, kind)
    try:
        if os.name != "nt":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        reason = (error.strerror or str(error)).lower()
        raise ValueError(
            f"--port {port}: cannot be had on {host} ({reason}); choose another --port or --host"
        ) from error
    listening.set_inheritable(True)
    return listening


def address_of(listening: socket.socket, host: str) -> str:
    """What to type into a browser."""
    port = listening.getsockname()[1]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def local_names(host: str, address: str, origins: Iterable[str]) -> frozenset[str]:
    """The names by which a server is asked that only its own machine reaches, also through a proxy with an origin.

    >>> sorted(local_names("localhost", "127.0.0.1", ["https://example.org"]))
    ['127.0.0.1', '::1', 'example.org', 'localhost']
    """
    of_proxies = (urlsplit(origin).hostname for origin in origins)
    return frozenset(filter(None, ("localhost", "127.0.0.1", "::1", host.lower(), address, *of_proxies)))


def run(options: Options, listening: socket.socket, workers: int, started: Callable[[], None]) -> None:
    """Serves until a signal asks for the end; what was taken is answered before. `started` is called once it answers."""
    if workers == 1:
        server = _Server(config_of(options), started)
        _end_with_the_terminal(server.handle_exit)
        with suppress(KeyboardInterrupt):
            server.run([listening])
        return
    # What is wrong is said once, and not by each process
    Catalogue(options, lambda line: None).open_all()
    if options.jobs:
        Jobs(options.jobs)
    with TemporaryDirectory(prefix="diptych-serve-") as folder:
        os.environ[SHARED] = folder
        supervised = config_of(options, workers)
        supervisor = _Supervisor(supervised, [listening])
        started()
        with suppress(KeyboardInterrupt):
            supervisor.run()
        del os.environ[SHARED]


def _build(options: Options) -> Any:
    """The application, imported in the process that runs it: the library of the metrics looks for its folder then."""
    from diptych.serve.app import build

    return build(options)


def _build_one_of_several(options: Options) -> Any:
    """The same in one of several processes: it ends with the one that started it, and not before."""
    if hangup := getattr(signal, "SIGHUP", None):
        signal.signal(hangup, signal.SIG_IGN)
    supervisor = multiprocessing.parent_process()
    assert supervisor
    assert supervisor.pid
    signals.end_after(supervisor.pid)
    return _build(options)


def config_of(options: Options, workers: int = 1) -> uvicorn.Config:
    """How uvicorn runs the application. Of one process it is built here, of several by each."""
    return uvicorn.Config(
        partial(_build_one_of_several, options) if workers > 1 else _build(options),
        factory=workers > 1,
        workers=workers,
        http=Protocol,
        ws="none",
        loop="asyncio",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_raise_files(),
        timeout_worker_healthcheck=STARTS_WITHIN,
        timeout_graceful_shutdown=round(options.limits.timeout) + GRACE,
    )


class _Server(uvicorn.Server):
    """Tells when it answers."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self.tell_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Opens the models, then the socket."""
        await super().startup(sockets)
        if not self.should_exit:
            self.tell_started()


class _Supervisor(Multiprocess):
    """Starts the processes, and again what died. A terminal that is closed ends them, where uvicorn starts them anew."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        hangup = getattr(signal, "SIGHUP", None)
        before = signal.getsignal(hangup) if hangup else None
        super().__init__(config, sockets)
        if hangup and before is signal.SIG_IGN:  # it was started to stay
            signal.signal(hangup, signal.SIG_IGN)

    def handle_hup(self) -> None:
        """Ends the server."""
        self.should_exit.set()


def _end_with_the_terminal(handle: Callable[..., None]) -> None:
    """A terminal that is closed ends the server as Ctrl-C does, unless it was started to stay."""
    number = getattr(signal, "SIGHUP", None)
    if number and signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, handle)


def _raise_files() -> int | None:
    """Raises the limit on open files as far as it goes; how many connections there may be."""
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return max(soft - OWN_FILES, 16)
