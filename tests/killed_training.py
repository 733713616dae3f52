"""A process that trains and is killed, again and again: it imports torch once, and forks for every line that it reads.

A line of input is JSON: what `train` is asked for, and `kill_at`, the number of the change to the run's folder right
before which the training kills itself, as `kill -9` would; null lets it end. The line of output tells whether it was killed,
and the changes: files that are opened to be written or flushed, renames, removals, new folders.
"""

import json
import os
import signal
import sys
from typing import Any

CHANGES = ("open", "os.mkdir", "os.rename", "os.remove", "shutil.rmtree")


def train_and_die(asked: dict[str, Any], kill_at: int | None, told: int) -> None:
    """Writes the changes to the file descriptor `told`, each before it happens."""
    import torch
    from rich.console import Console

    from diptych.train import train

    torch.set_num_threads(1)
    out, count = asked["out"], 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in CHANGES or not str(arguments[0]).startswith(out) or (event == "open" and arguments[1] == "r"):
            return
        os.write(told, f"{event} {str(arguments[0]).removeprefix(out)}\n".encode())
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    sys.addaudithook(watch)
    train("pix2pix", console=Console(quiet=True), **asked)


def main() -> None:
    import cv2  # noqa: F401 -- imported here and not in every child: what training imports when it needs it
    import torch._dynamo  # noqa: F401

    import diptych.train
    import diptych.training.hooks  # noqa: F401

    for line in sys.stdin:
        order = json.loads(line)
        kill_at = order.pop("kill_at")
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                train_and_die(order, kill_at, writing)
            except BaseException as error:  # what else would be seen of it
                os.write(writing, f"raised {error!r}\n".encode())
                os._exit(1)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as file:
            changes = file.read().splitlines()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(json.dumps({"killed": killed, "changes": changes}), flush=True)


if __name__ == "__main__":
    main()
