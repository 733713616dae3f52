"""The signals that ask a command to end."""

import os
import signal
import threading
import time

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU") if hasattr(signal, name)]
"""Ctrl-C, a request to end, a terminal that is closed, a batch system whose time is over."""


def heard() -> list[signal.Signals]:
    """Those that this process does not ignore: under nohup, a terminal that is closed ends nothing."""
    return [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]


def interrupt_on_all() -> None:
    """Makes all of them do what Ctrl-C does: what is half written goes away, and what is done is kept."""
    for number in heard():
        signal.signal(number, signal.default_int_handler)


def ignore_all() -> None:
    """Makes them do nothing: the command is done, and Python's own end would print tracebacks of an interruption."""
    for number in heard():
        signal.signal(number, signal.SIG_IGN)


LOOKED_EVERY = 0.5  # seconds


def end_after(parent: int) -> threading.Event:
    """Sends SIGTERM to this process when the process `parent`, which started it, has ended: also by `kill -9`.

    Without that, a process that another one was to end would go on for ever. Windows does not tell who has a new parent.
    Once the event that it returns is set, it sends none.
    """
    called_off = threading.Event()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOKED_EVERY)
        if not called_off.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    if os.name != "nt":
        threading.Thread(target=watch, daemon=True).start()
    return called_off
