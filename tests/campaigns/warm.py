"""A server of processes: it imports everything once, and forks a process for every order that it reads.

A line of input is an `Order` as JSON. A line of output is {"started": PID}, the answer to an order, or {"ended": PID,
"status": N}, with the status of `waitpid`. A process ends as Python always does: it waits for its threads, and flushes.
"""

import ctypes
import json
import os
import resource
import selectors
import signal
import sys
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

CHANGES = ("open", "os.mkdir", "os.rename", "os.remove", "shutil.rmtree")
"""What changes a folder: files that are opened to be written or flushed, renames, removals, new folders."""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Order:
    """A command of Diptych, and where it runs."""

    arguments: list[str]
    folder: str
    """The current directory."""
    terminal: str
    """The file that gets all that is printed."""
    streams: dict[int, str | None] = field(default_factory=dict)
    """Files in place of the streams 0, 1 and 2; None closes one."""
    environment: dict[str, str | None] = field(default_factory=dict)
    """Changes to it; None takes a variable away."""
    limits: dict[str, int] = field(default_factory=dict)
    """By the names of the module `resource`."""
    umask: int = 0o022
    gone: bool = False
    """The current directory, an empty one, is removed before the command starts."""
    cold: bool = False
    """A fresh Python, as a person's command is; else a fork that has imported everything."""
    constants: dict[str, Any] = field(default_factory=dict)
    """Other values for constants, by module and name: the fewest pictures of a submission."""
    watched: str = ""
    """How the paths begin whose changes are written to `changes`, each before it happens; `.partial-` may stand before."""
    changes: str = ""
    stop_at: int | None = None
    """The number of the change right before which the process sends `stop_with` to itself."""
    stop_with: int = signal.SIGKILL

    def as_line(self) -> str:
        """JSON, ASCII alone."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def of_line(cls, line: bytes) -> "Order":
        """What `as_line` wrote; JSON has no integers as keys."""
        values = json.loads(line)
        return cls(**values | {"streams": {int(number): file for number, file in values["streams"].items()}})


# ---- in the forked process


def obey(order: Order) -> NoReturn:
    """Becomes the command."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have ignored it for what runs beside
    os.chdir(os.fsencode(order.folder))
    _redirect(order)
    for name, value in order.environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    os.umask(order.umask)
    if order.gone:
        Path(order.folder).rmdir()
    _be_ordinary(order.cold)
    for name, most in order.limits.items():
        resource.setrlimit(getattr(resource, name), (most, most))
    if order.cold:
        os.execv(sys.executable, [sys.executable, "-m", "diptych", *order.arguments])
    _become_warm(order)


def _redirect(order: Order) -> None:
    files: dict[int, str | None] = {0: os.devnull, 1: order.terminal, 2: order.terminal, **order.streams}
    for number, file in files.items():
        if file is not None:
            descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT if number else os.O_RDONLY, 0o666)
            os.dup2(descriptor, number)
            os.close(descriptor)
    for number, file in files.items():
        if file is None:
            os.close(number)


def _be_ordinary(exec_follows: bool) -> None:
    """Gives up what only root may do: to read what is closed to its owner."""
    if os.geteuid() != 0:
        return
    if exec_follows:
        _libc.prctl(28, 1, 0, 0, 0)  # PR_SET_SECUREBITS, SECBIT_NOROOT: a new program does not get it back
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    if _libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _become_warm(order: Order) -> NoReturn:
    for name, value in order.constants.items():
        module, _, constant = name.rpartition(".")
        setattr(import_module(module), constant, value)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if order.streams.get(number, "") is None:
            setattr(sys, name, None)  # as Python does when it starts
    if order.watched:
        _watch(order)
    sys.argv = ["diptych", *order.arguments]
    from diptych.cli import main

    main()
    raise AssertionError("main has returned")


def _watch(order: Order) -> None:
    told, count = os.open(order.changes, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 0

    def seen(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in CHANGES or (event == "open" and arguments[1] == "r"):
            return
        path = os.fsdecode(arguments[0]) if not isinstance(arguments[0], int) else ""
        ours = path.removeprefix(".partial-").startswith(order.watched)
        if not ours or "tfevents" in path:  # TensorBoard's thread has moments of its own
            return
        os.write(told, f"{event} {path.removeprefix(order.watched)}\n".encode(errors="replace"))
        count += 1
        if count - 1 == order.stop_at:
            os.kill(os.getpid(), order.stop_with)

    sys.addaudithook(seen)


# ---- the server


def warm_up() -> None:
    """Imports what commands import when they need it."""
    import cv2  # noqa: F401
    import torch
    import torch._dynamo
    import torch.utils.tensorboard

    import diptych.evaluate.translation
    import diptych.report
    import diptych.submit
    import diptych.train
    import diptych.training.hooks
    import diptych.translate  # noqa: F401
    from diptych.cli import training

    training.add_commands()
    torch.set_num_threads(1)  # no threads before the fork


def say(**words: int) -> None:
    """A line of output."""
    os.write(1, json.dumps(words).encode() + b"\n")


def serve() -> Order | None:
    """In the server, returns None at the end of the input; in each process that it forks, the order."""
    selector, rest = selectors.DefaultSelector(), b""
    selector.register(0, selectors.EVENT_READ, None)
    while True:
        for key, _ in selector.select():
            if key.data is not None:
                selector.unregister(key.fd)
                os.close(key.fd)
                say(ended=key.data, status=os.waitpid(key.data, 0)[1])
                continue
            received = os.read(0, 2**20)
            if not received:
                return None
            *lines, rest = (rest + received).split(b"\n")
            for line in lines:
                pid = os.fork()
                if not pid:
                    selector.close()
                    return Order.of_line(line)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
                say(started=pid)


def main() -> None:
    """Serves, and is each of the processes."""
    warm_up()
    order = serve()
    if order is not None:
        obey(order)


if __name__ == "__main__":
    main()
