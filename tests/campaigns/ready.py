"""Tiny data sets and finished runs, for campaigns that need one."""

from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console

from diptych.data import layouts
from diptych.data.builtin import facades, shapes
from diptych.data.paths import DataPaths
from diptych.images.spec import ImageSpec
from diptych.kinds import DataKind
from diptych.methods import METHODS
from diptych.train import train

from .harness import Attempt, Case

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


def look(case: Case, data: Path, *kinds: DataKind) -> Attempt:
    """Opens the pictures of `data` in one of the ways in which that is done, for a method of one of these kinds."""
    kind = case.random.choice(kinds)
    method = next(name for name in METHODS if METHODS[name].data is kind)
    way = case.random.choice(("datasets", "datasets", "inspect", "dry run", "train"))
    case.title += f"; {way}, {method}"
    if way == "datasets":
        return lambda: load_all(kind, data)
    if way == "inspect":
        return lambda: case.command("data", "inspect", data)
    small = ("--size", 16, "--batch-size", 2, "--steps", 1, "--device", "cpu", "--method.width", 2)
    more = ("--dry-run",) if way == "dry run" else ()
    return lambda: case.command("train", method, "--data", data, "--out", case.folder / "out", *small, *more)


def load_all(kind: DataKind, data: Path) -> bool:
    """Every sample of every split, at most 50 of each."""
    for split in ("train", "val", "test"):
        for dataset in layouts.find(kind, DataPaths(data), split, (ImageSpec(3), ImageSpec(3))) or ():
            for index in islice(range(len(dataset)), 50):
                dataset.load(index)
    return True
