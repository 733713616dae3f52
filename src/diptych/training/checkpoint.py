"""Checkpoints of the training state, written atomically, and deployed models. Safetensors and JSON; no pickle."""

import json
import re
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from diptych.files import SAVING, atomic_file, atomic_folder, is_plain, remove_leftovers, save_tensors
from diptych.kinds import Direction
from diptych.methods import METHODS
from diptych.methods.base import Method, deployed
from diptych.methods.settings import MethodSettings, Shape, StrictModel
from diptych.translators.base import Translator

KEEP = 3  # checkpoints
STATE = "training.safetensors"  # the file of a checkpoint
HALF_WRITTEN = re.compile(r"\.partial-([0-9a-f]{8}-)?step-\d+")  # version 0.1 put no number before it
BEST = "best"  # the snapshot with the best validation


# ---- training state


def save_training(
    folder: Path, step: int, method: Method, optimizers: dict[str, torch.optim.Optimizer], ema: dict[str, Tensor]
) -> None:
    """Writes `folder/step-00012000/`, then deletes all but the newest `KEEP`.

    A checkpoint has networks and buffers, the optimisers' moments and the moving average. Learning rate, order of the data
    and random numbers are functions of the step. A `ValueError` if it cannot be written, as on a full disk; older
    checkpoints stay intact.
    """
    tensors = {f"method/{name}": value for name, value in method.state_dict().items()}
    tensors |= {f"ema/{name}": value for name, value in ema.items()}
    for player, optimizer in optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{player}/{index}/{name}": value for name, value in state.items()}
    try:
        target = folder / f"step-{step:08d}"
        if target.exists():
            return
        with atomic_folder(target) as partial:
            save_tensors(tensors, partial / STATE)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{folder}: the checkpoint of step {step} could not be written ({error}); the ones before it are whole: "
            "free some disk space and give the same command again"
        ) from error
    for _, old in list_checkpoints(folder)[:-KEEP]:
        (old / STATE).unlink()
        with suppress(OSError):  # somebody has put a file of their own there, which stays
            old.rmdir()


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """All complete checkpoints, oldest first."""
    checkpoints = []
    for path in folder.glob("step-*"):
        match = re.fullmatch(r"step-(\d+)", path.name)
        if match and not path.is_symlink() and (path / STATE).is_file():
            checkpoints.append((int(match[1]), path))
    return sorted(checkpoints)


def remove_half_written(run: Path) -> None:
    """Removes models and checkpoints that a killed training was writing; links are not followed, strangers' files stay."""
    for folder in run.glob("model*"):
        if not folder.is_symlink():
            remove_leftovers(folder)
            _remove_saving(folder)
    folder = run / "checkpoints"
    for path in folder.glob(".partial-*") if not folder.is_symlink() else ():
        if HALF_WRITTEN.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            (path / STATE).unlink(missing_ok=True)
            _remove_saving(path)
            with suppress(OSError):  # something else is in it
                path.rmdir()


def _remove_saving(folder: Path) -> None:
    for path in folder.glob(".tmp*"):
        if SAVING.fullmatch(path.name) and is_plain(path):
            path.unlink()


def load_training(
    checkpoint: Path, method: Method, optimizers: dict[str, torch.optim.Optimizer], ema: dict[str, Tensor]
) -> None:
    """Restores method, optimisers and moving average from a checkpoint."""
    file = checkpoint / STATE
    device = next(method.parameters()).device
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{file}: is damaged ({error}); remove {checkpoint} to continue from the one before it"
        ) from error
    try:
        method.load_state_dict(_below("method/", tensors))
    except RuntimeError as error:
        raise ValueError(
            f"{file}: does not fit the networks, so another version of diptych made it; continue with that one, or add "
            "--fresh to set the run aside and start anew"
        ) from error
    for name, value in _below("ema/", tensors).items():
        ema[name].copy_(value)
    for player, optimizer in optimizers.items():
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _below(f"optimizer/{player}/", tensors).items():
            index, name = key.split("/")
            state.setdefault(int(index), {})[name] = value.to(device)
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


# ---- the deployed model


class ModelConfig(StrictModel):
    """config.json: all that is needed to rebuild the networks of a model."""

    format: Literal[1] = 1
    method: str
    direction: Direction
    shape: Shape
    settings: dict[str, Any]
    diptych: str = Field(default_factory=lambda: version("diptych"))


def save_model(folder: Path, config: ModelConfig, step: int, method: Method, ema: dict[str, Tensor]) -> None:
    """Writes model.safetensors and config.json: the deployed networks alone, with the moving averages in `ema`."""
    networks = deployed(method)
    weights = {
        name: ema.get(name, value) for name, value in method.state_dict().items() if name.split(".")[0] in networks
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / "config.json") as partial:
            partial.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
        with atomic_file(folder / "model.safetensors") as partial:
            save_tensors(weights, partial, {"step": str(step)})
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{folder}: the model of step {step} could not be written ({error}); free some disk space and give the same "
            "command again"
        ) from error


def model_folder(run: Path, name: str = "") -> Path:
    """The folder of a model in a run: the last model, or a named snapshot."""
    return run / (f"model-{name}" if name else "model")


def model_step(folder: Path) -> int | None:
    """The step at which the model in this folder was saved; None without a readable model."""
    try:
        with safe_open(folder / "model.safetensors", framework="pt") as file:
            return int(file.metadata()["step"])
    except (OSError, SafetensorError):
        return None


class SavedModel(NamedTuple):
    """The content of a model folder."""

    translators: dict[Direction, Translator]
    """In eval mode; the training direction first."""
    config: ModelConfig
    step: int


def load_model(folder: Path, device: torch.device) -> SavedModel:
    """Opens the model of a run, or a model folder. Raises a `ValueError` if there is no complete model."""
    if (folder / "model").is_dir():
        folder = folder / "model"
    config_file, weights_file = folder / "config.json", folder / "model.safetensors"
    if not weights_file.is_file():
        trained = (folder / "settings.toml").is_file()
        remedy = "wait for its first checkpoint" if trained else "give the folder that `diptych train` wrote"
        raise ValueError(f"{folder}: holds no trained model (model/model.safetensors); {remedy}")
    try:
        config = ModelConfig.model_validate_json(config_file.read_text(encoding="utf-8"))
        method_class = METHODS[config.method]
        settings: MethodSettings = method_class.Settings.model_validate(config.settings)
        with safe_open(weights_file, framework="pt", device=str(device)) as file:
            step = int((file.metadata() or {}).get("step", 0))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
    except (OSError, SafetensorError, ValidationError, json.JSONDecodeError, KeyError) as error:
        raise ValueError(f"{folder}: the model is damaged or from another version of diptych ({error})") from error
    try:
        with torch.device("meta"):  # no memory for networks that are not deployed
            method = method_class(settings, config.shape)
        for name, network in deployed(method).items():
            network.load_state_dict(_below(f"{name}.", weights), assign=True)
    except RuntimeError as error:
        raise ValueError(f"{folder}: config.json and model.safetensors do not belong together ({error})") from error
    translators = method.eval().translators(config.direction)
    for translator in translators.values():
        translator.eval().method = config.method
    return SavedModel(translators, config, step)
