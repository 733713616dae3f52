"""stdin, stdout and stderr of the command: closed, full, or without a reader, they cost lines and never the work."""

import io
import os
import sys
from typing import TextIO


class Output(io.TextIOWrapper):
    """A stream in place of `stream`: after a first `failure` it is silent, and a sign that it cannot show is escaped."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        lines, encoding = stream.line_buffering, stream.encoding
        super().__init__(stream.detach(), encoding, "backslashreplace", line_buffering=lines)
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        """Writes text, where that is possible; gives its length."""
        try:
            return super().write(text)
        except OSError as error:
            self._fall_silent(error)
            return len(text)

    def flush(self) -> None:
        """Flushes, where that is possible."""
        try:
            super().flush()
        except OSError as error:
            self._fall_silent(error)

    def _fall_silent(self, error: OSError) -> None:
        self.failure = self.failure or error
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())  # what is still in the buffer goes there, and whatever is written by others
        os.close(null)


def secure() -> None:
    """Puts `Output` in the place of stdout and stderr, and opens what was closed: no file of ours gets its number."""
    for number, (name, flags) in enumerate((("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY))):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            null = os.open(os.devnull, flags)  # the lowest number that is free
            stream = os.fdopen(null, "r" if flags == os.O_RDONLY else "w", encoding="utf-8")
            assert null == number
        if number and isinstance(stream, io.TextIOWrapper):
            stream = Output(stream)
        setattr(sys, name, stream)


def unwritten() -> str:
    """Why lines for stdout are lost; empty when none are, or when their reader wanted no more."""
    sys.stdout.flush()
    failure = sys.stdout.failure if isinstance(sys.stdout, Output) else None
    return "" if failure is None or isinstance(failure, BrokenPipeError) else str(failure.strerror)
