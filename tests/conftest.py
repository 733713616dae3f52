"""What the tests share: tiny pictures, a tiny run, and the real pictures where they are at hand."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from diptych.data import facades
from diptych.run import Run
from diptych.train import train

torch.set_num_threads(1)  # the workers of xdist are the parallelism

TINY: dict[str, Any] = {
    "direction": "BtoA",
    "size": 32,
    "steps": 12,
    "log_every": 4,
    "sample_every": 6,
    "checkpoint_every": 4,
    "device": "cpu",
    "workers": 1,
    "method": {"width": 2, "patch": 16},
}


@pytest.fixture(scope="session")
def tiny_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six training and two val pairs of 32 px, side by side."""
    folder = tmp_path_factory.mktemp("facades")
    facades.write(folder, size=32, train=6, val=2)
    return folder


Train = Callable[..., Run]


@pytest.fixture(scope="session")
def train_tiny(tiny_pairs: Path) -> Train:
    """Trains the tiny settings, with changes, into a folder."""

    def call(out: Path, **changes: Any) -> Run:
        quiet = Console(file=open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        try:
            return train("pix2pix", out=out, console=quiet, **{"data": tiny_pairs, **TINY, **changes})
        finally:
            quiet.file.close()

    return call


@pytest.fixture(scope="session")
def tiny_run(train_tiny: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests must not write into it."""
    return train_tiny(tmp_path_factory.mktemp("runs") / "tiny").path


@pytest.fixture(scope="session")
def research_pictures() -> Path:
    """The folder of real pictures beside the checkout, if there is one."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real pictures beside the checkout (../shared/data); the built-in ones are tested all the same")
    return folder
