"""What TensorBoard shows, written without a thread of its own: a failure is seen where it happens."""

import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor
from torch.utils.tensorboard import summary

from diptych.files import make_folder, require_in_place


class Board:
    """An events file in `folder`, for the steps after `start`: what an interrupted training wrote of them is hidden.

    TensorBoard is a view of what the run has in its log and samples. When the file cannot be written any more, on a full
    disk or because its folder is gone, `complain` is called once with one line, and everything else goes on.
    """

    def __init__(self, folder: Path, start: int, complain: Callable[[str], None]) -> None:
        self.folder, self.complain, self.broken = folder, complain, False
        self.file = folder / f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}"
        try:
            make_folder(folder)
            self.file.touch()
        except (OSError, ValueError) as error:
            self._give_up(error)
        begin = SessionLog(status=SessionLog.START)
        self._write(Event(file_version="brain.Event:2"), Event(step=start + 1, session_log=begin))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Adds numbers by name."""
        self._write(*(Event(step=step, summary=summary.scalar(name, value)) for name, value in values.items()))

    def picture(self, name: str, picture: Tensor, step: int) -> None:
        """Adds a picture, `[3, H, W]` in [0, 1]."""
        self._write(Event(step=step, summary=summary.image(name, picture, dataformats="CHW")))

    def words(self, name: str, words: str, step: int) -> None:
        """Adds a line of text."""
        self._write(Event(step=step, summary=summary.text(name, words)))

    def _write(self, *events: Any) -> None:
        if self.broken:
            return
        try:
            require_in_place(self.file)
            with self.file.open(
                "rb+"
            ) as file:  # a file that is gone is not made again, in whatever folder there is now
                file.seek(0, os.SEEK_END)
                for event in events:
                    event.wall_time = time.time()
                    RecordWriter(file).write(event.SerializeToString())
        except (OSError, ValueError) as error:
            self._give_up(error)

    def _give_up(self, error: OSError | ValueError) -> None:
        if not self.broken:
            self.broken = True
            reason = getattr(error, "strerror", None) or error
            self.complain(f"{self.folder}: cannot be written to ({reason}); the training goes on without TensorBoard")
