"""Weights that a run begins with: those of another run or model, as far as they fit."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diptych.files import TensorFile, atomic_file, atomic_folder, make_folder, open_tensors, require_file
from diptych.hub import local_folder
from diptych.methods.base import Method
from diptych.training import checkpoint
from diptych.training.run import Run
from diptych.training.tensors import read_tensor, shape_of

DISCRIMINATOR_FILE = "discriminators.safetensors"
"""Beside a model that was imported: nothing but `--init` needs them."""
MOST_CHANNELS = 64  # of a first layer that is adapted
SHOWN = 3  # names of tensors in a line


class Origin(NamedTuple):
    """Where weights are from."""

    path: Path
    """The run or model folder, as it was given."""
    files: tuple[Path, ...]
    """A checkpoint; or a model, and discriminators beside it."""
    step: int
    digest: str
    """The start of a SHA-256 of the files."""

    @property
    def about(self) -> dict[str, Any]:
        """What settings.toml says of it."""
        return {"path": str(self.path.absolute()), "step": self.step, "sha256": self.digest}


def find_origin(path: Path, out: Path) -> Origin:
    """The newest checkpoint of a run, else its model; or a model folder. A `ValueError` where there is neither."""
    path = local_folder(path)
    if path.resolve() == out.resolve():
        raise ValueError(f"--init {path}: is the run itself; leave it out to continue, or choose another --out")
    if existing := checkpoint.list_checkpoints(path / "checkpoints"):
        step, folder = existing[-1]
        files = [folder / checkpoint.STATE]
    else:
        folder = path / "model" if (path / "model").is_dir() else path
        if not (folder / "model.safetensors").is_file():
            raise ValueError(f"--init {path}: holds no checkpoint and no model; give a run, or a model folder")
        step = checkpoint.model_step(folder) or 0
        files = [file for name in ("model.safetensors", DISCRIMINATOR_FILE) if (file := folder / name).is_file()]
    return _origin(path, files, step)


def _origin(path: Path, files: Sequence[Path], step: int) -> Origin:
    digests = hashlib.sha256()
    for file in files:
        require_file(file)
        with file.open("rb") as opened:
            digests.update(hashlib.file_digest(opened, "sha256").digest())
    return Origin(path, tuple(files), step, digests.hexdigest()[:16])


def find_trunk(path: Path) -> Origin:
    """The newest checkpoint of a run, from which another one branches off; a `ValueError` where there is none."""
    existing = checkpoint.list_checkpoints(path / "checkpoints")
    if not existing:
        raise ValueError(f"{path}: has no checkpoint yet to go on from; wait for its first one")
    step, folder = existing[-1]
    return _origin(path, [folder / checkpoint.STATE], step)


def branch_off(trunk: Origin, run: Run) -> None:
    """Gives a new run the checkpoint of another, and its log up to there."""
    [state] = trunk.files
    make_folder(run.path / "checkpoints")
    with atomic_file(run.path / "log.jsonl") as partial:
        entries = Run(trunk.path, run.method, run.settings, run.data_paths).read_log([])
        lines = [json.dumps(entry) + "\n" for entry in entries if entry["step"] <= trunk.step]
        partial.write_text("".join(lines), encoding="utf-8")
    with atomic_folder(run.path / "checkpoints" / state.parent.name) as partial:
        shutil.copyfile(state, partial / checkpoint.STATE)


def begin_from(origin: Origin, method: Method) -> str:
    """Gives the networks of `method` the weights that fit in name and shape; returns a line about them.

    The first convolution of a network may have other channels: it is adapted so that a picture whose channels are all alike
    gives what it gave. Deployed networks get the moving average, where there is one. A `ValueError` where nothing fits.
    """
    fits = dict[str, list[str]]()
    """The tensors of each network that begin anew."""
    adapted = list[str]()
    takes_weights = False  # a lone bias of three colours fits nearly everything
    with _opened(origin) as found:
        networks = [name for player in method.players.values() for name in player]
        for name in networks:
            network = method.get_submodule(name)
            first = next(
                f"{name}.{layer}.weight" for layer, module in network.named_modules() if isinstance(module, nn.Conv2d)
            )
            anew = []
            for key, value in network.state_dict(prefix=f"{name}.").items():
                if key in found and shape_of(*found[key]) == list(value.shape):
                    value.copy_(read_tensor(*found[key], value))
                    takes_weights |= value.ndim > 1
                elif key == first and key in found and (read := _other_channels(*found[key], value)) is not None:
                    value.copy_(read)
                    adapted.append(key)
                else:
                    anew.append(key)
            fits[name] = anew
    if not takes_weights:
        raise ValueError(
            f"--init {origin.path}: none of its weights fits these networks; give the --method settings that it was trained "
            "with, or leave --init out"
        )
    sizes = {name: len(method.get_submodule(name).state_dict()) for name in networks}
    whole = [name for name, anew in fits.items() if not anew]
    parts = [f"all of {', '.join(whole)}"] if whole else []
    for name, anew in fits.items():
        if len(anew) == sizes[name]:
            parts.append(f"nothing of {name}")
        elif anew:
            more = f" and {len(anew) - SHOWN} more" if len(anew) > SHOWN else ""
            parts.append(
                f"{sizes[name] - len(anew)} of {sizes[name]} tensors of {name} (not {', '.join(anew[:SHOWN])}{more})"
            )
    if adapted:
        parts.append(f"{', '.join(adapted)} adapted to other channels")
    return f"begins from {origin.path}, step {origin.step:,}: {'; '.join(parts)}"


def continue_optimizers(origin: Origin, method: Method, optimizers: Mapping[str, torch.optim.Optimizer]) -> str:
    """Gives each player's optimiser the moments that it had there, where all of them fit; returns a line about them."""
    anew = list[str]()
    with _opened(origin) as found:
        if not any(name.startswith("optimizer/") for name in found):
            raise ValueError(
                f"--init-optimizer: {origin.path} is a model, which has no optimiser; give a run, or leave it out"
            )
        for player, optimizer in optimizers.items():
            like = {f"optimizer/{player}/{key}": value for key, value in checkpoint.state_like(optimizer).items()}
            if all(key in found and shape_of(*found[key]) == list(value.shape) for key, value in like.items()):
                checkpoint.load_optimizer(
                    player, optimizer, {key: read_tensor(*found[key], value) for key, value in like.items()}
                )
            else:
                anew.append(player)
    return f"the optimisers go on, but for {', '.join(anew)}, which begins anew" if anew else "the optimisers go on"


@contextmanager
def _opened(origin: Origin) -> Iterator[dict[str, tuple[TensorFile, str]]]:
    """The tensors by their names in a method: each as an open file, and its name in that file."""
    with ExitStack() as stack:
        found = dict[str, tuple[TensorFile, str]]()
        for file in origin.files:
            opened = stack.enter_context(open_tensors(file))
            names = sorted(opened.keys(), key=lambda name: name.startswith("ema/"))  # the average replaces the weights
            found |= {name.removeprefix("method/").removeprefix("ema/"): (opened, name) for name in names}
        yield found


def _other_channels(file: TensorFile, name: str, like: Tensor) -> Tensor | None:
    """The weight of a convolution `[out, in, k, k]` for the channels of `like`; None where more than these differ.

    Each new channel gets the mean of the old ones, scaled so that the sum stays.
    """
    shape = shape_of(file, name)
    if len(shape) != like.ndim or shape[:1] + shape[2:] != [like.shape[0], *like.shape[2:]] or shape[1] > MOST_CHANNELS:
        return None
    old = read_tensor(file, name, like.new_empty(shape, device="meta"))
    return (old.sum(dim=1, keepdim=True) / like.shape[1]).expand_as(like)
