"""Tiny data sets and finished runs, for campaigns that need one."""

from pathlib import Path
from typing import Any

from rich.console import Console

from diptych.data.builtin import facades, shapes
from diptych.kinds import DataKind
from diptych.methods import METHODS
from diptych.train import train

SMALLEST: dict[str, dict[str, Any]] = {
    "pix2pix": {"width": 2, "patch": 16},
    "cyclegan": {"width": 2, "patch": 16, "generator": "resnet6", "pool_size": 3},
    "glcic": {"width": 2, "t_c": 1, "t_d": 1},
    "cgan": {"width": 2, "noise": 5},
}
"""The methods that have a run here, with the settings of the smallest networks."""


def write_pairs(folder: Path) -> Path:
    """Six training and two val pairs of 32 px, side by side."""
    facades.write(folder, size=32, train=6, val=2)
    return folder


def write_classes(folder: Path) -> Path:
    """Ten training and five val pictures of 16 px, in five folders."""
    shapes.write(folder, size=16, train=10, val=5)
    return folder


def flags(method: str) -> dict[str, Any]:
    """The settings of a tiny run, as Python takes them."""
    small = {"size": 16, "batch_size": 4} if METHODS[method].data is DataKind.LABELLED else {"size": 32}
    often = {"steps": 4, "log_every": 2, "sample_every": 2, "checkpoint_every": 2, "workers": 1, "device": "cpu"}
    return {**small, **often, "method": SMALLEST[method]}


def write_run(folder: Path, method: str, data: Path) -> Path:
    """Trains four steps."""
    return train(method, out=folder, data=data, console=Console(quiet=True), **flags(method)).path
