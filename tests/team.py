"""One process of several that train together, which tests/test_distributed.py starts.

python tests/team.py FOLDER: does what FOLDER/tasks.json says, and writes FOLDER/process-RANK.json.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from rich.console import Console
from safetensors.torch import save_file
from torch import Tensor

from diptych import distributed
from diptych.files import digest
from diptych.images.size import Size
from diptych.methods import METHODS
from diptych.methods.settings import Shape
from diptych.networks.layers import BatchNorm
from diptych.training import hooks
from diptych.training.settings import Settings
from diptych.training.state import Training
from diptych.training.updater import Updater

Task = dict[str, Any]
SIDE = 32
EXACT: dict[str, tuple[str, dict[str, Any], float]] = {
    "pix2pix": ("pix2pix", {"norm": "instance", "dropout": False, "patch": 16}, 0.0),
    "pix2pix, clipped": ("pix2pix", {"norm": "instance", "dropout": False, "patch": 16}, 0.01),
    "cyclegan, pool filling": ("cyclegan", {"generator": "resnet6", "patch": 16, "pool_size": 9}, 0.0),
    "cut, all patches": ("cut", {"generator": "resnet6", "patch": 16, "patches": 1024, "projection": 4}, 0.0),
}
"""Methods that learn the same from a batch, however it is divided: name, settings, largest norm of gradients."""


def learnt(label: str, rank: int, size: int, steps: int = 3) -> dict[str, Tensor]:
    """The weights of a method after steps of plain gradient descent in double precision, by its part of each batch of 2."""
    name, own, clip = EXACT[label]
    torch.manual_seed(0)
    cls = METHODS[name]
    shape = Shape(size=Size.square(SIDE))
    settings: Any = cls.Settings
    method = cls(settings(width=2, **own), shape).double()

    def plain(player: str, lr: float, beta1: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(method._parameters_of(player), lr=lr)

    with patch.object(method, "optimizer", plain):
        updater = Updater(method, Settings(steps=100, lr=0.002, clip=clip), torch.device("cpu"))
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        batch = {side: torch.rand(2, 3, SIDE, SIDE, generator=generator).double() * 2 - 1 for side in "xy"}
        updater.begin(step)
        method.train_step({side: images.chunk(size)[rank] for side, images in batch.items()}, updater, step)
    return {key: value.detach().contiguous() for key, value in method.named_parameters()}


@contextmanager
def disturbed(task: Task) -> Iterator[None]:
    """Inside, what the task says happens at a step of one process."""
    method = METHODS[task["settings"].get("name", "pix2pix")]
    original, rank = method.train_step, distributed.rank()

    def step_of(self: Any, batch: Any, update: Any, step: int) -> Any:
        if [rank, step + 1] == task.get("signal"):
            signal.raise_signal(signal.SIGTERM)
        if [rank, step + 1] == task.get("nan"):
            batch = {key: value * float("nan") for key, value in batch.items()}
        if [rank, step + 1] == task.get("other weights"):
            with torch.no_grad():
                next(self.parameters()).add_(1)
        return original(self, batch, update, step)

    def fails(*_: Any) -> None:
        raise ValueError("the disk is full")

    with ExitStack() as stack:
        stack.enter_context(patch.object(method, "train_step", step_of))
        if task.get("full disk"):
            stack.enter_context(patch.object(hooks.Validator, "after", fails))
        yield


def state_digest(training: Training) -> str:
    """What all processes must have in common: weights, moments, moving average, buffers."""
    measured = {
        f"{name}.{buffer}"
        for name, module in training.method.named_modules()
        if isinstance(module, BatchNorm)
        for buffer, _ in module.named_buffers(recurse=False)
    }
    state = {key: value for key, value in training.method.state_dict().items() if key not in measured}
    moments = [
        value for one in training.updater.optimizers.values() for each in one.state.values() for value in each.values()
    ]
    return digest(repr(list(state)), [*state.values(), *training.updater.ema.values(), *moments])


def outcome(task: Task) -> Task:
    """How a training ends here, and with what."""
    file = import_module("diptych.train")
    kept = list[Training]()
    learn: Callable[..., str] = vars(file)["learn"]

    def keeping(training: Training, *rest: Any) -> str:
        kept.append(training)
        return learn(training, *rest)

    settings = dict(task["settings"])
    said = Console(quiet=True)
    ended: Task = {"status": 0, "line": ""}
    with disturbed(task), patch.object(file, "learn", keeping):
        try:
            vars(file)["train"](settings.pop("name", "pix2pix"), out=task["out"], console=said, **settings)
        except (ValueError, KeyboardInterrupt) as error:
            ended = {"status": type(error).__name__, "line": str(error)}
        except SystemExit as error:
            ended = {"status": error.code, "line": ""}
    return {**ended, "state": state_digest(kept[0]) if kept else ""}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    ended = dict[str, Task]()
    with distributed.joined():
        for label in EXACT:
            weights = learnt(label, distributed.rank(), distributed.size())
            if distributed.is_first():
                save_file(weights, folder / f"{label}.safetensors")
        for task in json.loads((folder / "tasks.json").read_text(encoding="utf-8")):
            ended[task["label"]] = outcome(task)
    own = folder / f"process-{os.environ['RANK']}.json"
    own.write_text(json.dumps(ended), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
