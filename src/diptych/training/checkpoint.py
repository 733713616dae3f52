"""Checkpoints of the training state, written atomically, and deployed models. Safetensors and JSON; no pickle."""

import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from copy import copy
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import BeforeValidator, Field, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from diptych.files import (
    SAVING,
    TensorFile,
    atomic_file,
    atomic_folder,
    is_plain,
    make_folder,
    open_tensors,
    read_text,
    remove_leftovers,
    require_in_place,
    save_tensors,
)
from diptych.kinds import A_AND_B, Direction, Sides
from diptych.methods import sketch
from diptych.methods.base import Method, deployed
from diptych.methods.settings import Shape, StrictModel, require_sides
from diptych.training.settings import explain, parse_method, require_method
from diptych.training.tensors import read_tensors
from diptych.translators.base import Translator
from diptych.wording import brief

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
        require_in_place(folder)
        _remove(folder / f".partial-{target.name}")  # left by a process that was killed
        with atomic_folder(target) as partial:
            save_tensors(tensors, partial / STATE)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{folder}: the checkpoint of step {step} could not be written ({brief(error, 60)}); the ones before it are "
            "whole: free some disk space and give the same command again"
        ) from error
    remove_old(folder)


def remove_old(folder: Path) -> None:
    """Removes all checkpoints but the newest `KEEP`."""
    require_in_place(folder)
    for _, old in list_checkpoints(folder)[:-KEEP]:
        _remove(old)


def _remove(checkpoint: Path) -> None:
    """Removes what `save_training` wrote; what somebody else has put there stays, and what a link leads to."""
    if not checkpoint.is_symlink():
        with suppress(OSError):
            (checkpoint / STATE).unlink(missing_ok=True)
            checkpoint.rmdir()


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """All complete checkpoints, oldest first."""
    checkpoints = []
    for path in folder.glob("step-*"):
        match = re.fullmatch("step-([0-9]{1,10})", path.name)
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
            _remove_saving(path)
            _remove(path)


def _remove_saving(folder: Path) -> None:
    for path in folder.glob(".tmp*"):
        if SAVING.fullmatch(path.name) and is_plain(path):
            path.unlink()


def load_training(
    checkpoint: Path, method: Method, optimizers: dict[str, torch.optim.Optimizer], ema: dict[str, Tensor]
) -> None:
    """Restores method, optimisers and moving average; a `ValueError` with a remedy for a file that does not fit them."""
    file = checkpoint / STATE
    try:
        with open_tensors(file) as opened:
            tensors = read_tensors(opened, _training_like(opened.keys(), method, optimizers, ema))
        method.load_state_dict(_below("method/", tensors))
    except ValueError as error:
        reason = brief(str(error).removeprefix(f"{file}: "), 70)
        raise ValueError(
            f"{file}: does not fit this run ({reason}); remove {checkpoint.name} to continue from the one before it, or add "
            "--fresh to start anew"
        ) from error
    for name, value in _below("ema/", tensors).items():
        ema[name].copy_(value)
    for player, optimizer in optimizers.items():
        load_optimizer(player, optimizer, tensors)


def load_optimizer(player: str, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restores the state of one player's optimiser from the tensors of a checkpoint."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in _below(f"optimizer/{player}/", tensors).items():
        index, name = key.split("/")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _training_like(
    names: Iterable[str], method: Method, optimizers: dict[str, torch.optim.Optimizer], ema: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Tensors with the names, shapes and types that a checkpoint of these `names` should have."""
    states = {player: state_like(optimizer) for player, optimizer in optimizers.items()}
    players = {name.split("/")[1] for name in names if name.startswith("optimizer/")}
    if any(states.values()) and not players:
        raise ValueError("it has no state of an optimiser")
    like = {f"method/{name}": value for name, value in method.state_dict().items()}
    like |= {f"ema/{name}": value for name, value in ema.items()}
    for player in players & states.keys():  # a player that was never updated has no state
        like |= {f"optimizer/{player}/{key}": value for key, value in states[player].items()}
    return like


def state_like(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Tensors with the names, shapes and types of an optimiser's state, which it has from its first step on."""
    probe = copy(optimizer)
    number = torch.nn.Parameter(torch.zeros(1))
    number.grad = torch.zeros(1)
    probe.param_groups = [{**optimizer.param_groups[0], "params": [number]}]
    probe.state = defaultdict(dict)
    probe.step()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        f"{index}/{name}": torch.empty(p.shape if value.ndim else (), dtype=value.dtype, device="meta")
        for index, p in enumerate(parameters)
        for name, value in probe.state[number].items()
    }


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
    sides: Annotated[Sides, BeforeValidator(require_sides)] = Field(A_AND_B, exclude_if=lambda sides: sides == A_AND_B)
    """What A and B are called, where they have names of their own."""
    diptych: str = Field(default_factory=lambda: version("diptych"))


def save_model(folder: Path, config: ModelConfig, step: int, method: Method) -> None:
    """Writes model.safetensors and config.json: the deployed networks alone, with the weights that they have now."""
    networks = deployed(method)
    weights = {name: value for name, value in method.state_dict().items() if name.split(".")[0] in networks}
    try:
        make_folder(folder)
        with atomic_file(folder / "config.json") as partial:
            partial.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
        with atomic_file(folder / "model.safetensors") as partial:
            save_tensors(weights, partial, {"step": str(step)})
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{folder}: the model of step {step} could not be written ({brief(error, 60)}); free some disk space and "
            "give the same command again"
        ) from error


def model_folder(run: Path, name: str = "") -> Path:
    """The folder of a model in a run: the last model, or a named snapshot."""
    return run / (f"model-{name}" if name else "model")


def model_step(folder: Path) -> int | None:
    """The step at which the model in this folder was saved, 0 if it does not say; None without a readable model."""
    try:
        with open_tensors(folder / "model.safetensors") as file:
            return _step_of(file)
    except ValueError:
        return None


def _step_of(file: TensorFile) -> int:
    """The step in the metadata; 0 in a file of other tools, where anything may stand."""
    text = (file.metadata() or {}).get("step", "")
    return int(text) if re.fullmatch("[0-9]{1,10}", text) else 0


class SavedModel(NamedTuple):
    """The content of a model folder."""

    translators: dict[Direction, Translator]
    """In eval mode; the training direction first."""
    config: ModelConfig
    step: int


def load_model(folder: Path, device: torch.device) -> SavedModel:
    """Opens the model of a run, or a model folder. Raises a `ValueError` if there is no complete model, or a hostile one.

    Weights of another precision are converted. Memory is taken only for weights that the file has.
    """
    if (folder / "model").is_dir():
        folder = folder / "model"
    weights_file = folder / "model.safetensors"
    if not weights_file.exists():
        trained = (folder / "settings.toml").is_file()
        remedy = "wait for its first checkpoint" if trained else "give the folder that `diptych train` wrote"
        raise ValueError(f"{folder}: holds no trained model (model/model.safetensors); {remedy}")
    config_file = folder / "config.json"
    config, method = read_config(read_text(config_file), config_file)
    networks = deployed(method)
    with open_tensors(weights_file) as file:
        step = _step_of(file)
        expected = {name: value for name, value in method.state_dict().items() if name.split(".")[0] in networks}
        try:
            weights = read_tensors(file, expected)
        except ValueError as error:
            raise ValueError(
                f"{weights_file}: {error}; copy the model folder again, config.json and model.safetensors together"
            ) from error
    for name, network in networks.items():
        network.load_state_dict(_below(f"{name}.", weights), assign=True)
        try:
            network.to(device)
        except RuntimeError as error:
            raise ValueError(
                f"{weights_file}: does not fit into the memory of {device} ({brief(error)}); choose another --device"
            ) from error
    translators = method.eval().translators(config.direction)
    for translator in translators.values():
        translator.eval().method = config.method
    return SavedModel(translators, config, step)


def read_config(text: str, file: Path) -> tuple[ModelConfig, Method]:
    """What config.json says, and its method without weights; a `ValueError` names the `file` that the text comes from."""
    try:
        config = ModelConfig.model_validate_json(text)
        require_method(config.method)
        settings = parse_method(config.method, config.settings, prefix="settings.")
        return config, sketch(config.method, settings, config.shape)
    except ValidationError as error:
        reason = explain(error, ModelConfig, prefix="")
    except ValueError as error:
        reason = brief(error, 180)
    raise ValueError(f"{file}: is damaged or from another version of diptych ({reason})")
