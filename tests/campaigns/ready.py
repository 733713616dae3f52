"""Tiny data sets and finished runs, for campaigns that need one."""

from itertools import islice
from pathlib import Path

from diptych.cli import run
from diptych.data import layouts
from diptych.data.builtin import facades, shapes
from diptych.data.paths import DataPaths
from diptych.evaluate import generation, segmentation
from diptych.images.spec import ImageSpec
from diptych.kinds import DataKind
from diptych.methods import METHODS

from .harness import Attempt, Case

SMALLEST: dict[str, tuple[object, ...]] = {
    "pix2pix": ("--size", 32, "--method.width", 2, "--method.patch", 16),
    "cyclegan": ("--size", 32, "--method.width", 2, "--method.patch", 16, "--method.generator", "resnet6"),
    "glcic": ("--size", 32, "--method.width", 2, "--method.t-c", 1, "--method.t-d", 1),
    "cgan": ("--size", 16, "--batch-size", 4, "--method.width", 2, "--method.noise", 5),
}
"""The methods that have a run here, with the flags of the smallest networks."""


generation.GENERATED = 40
segmentation.STEPS = 8  # what evaluation trains by the way is not what campaigns are about


def write_pairs(folder: Path) -> Path:
    """Six training and two val pairs of 32 px, side by side."""
    facades.write(folder, size=32, train=6, val=2)
    return folder


def write_classes(folder: Path) -> Path:
    """Ten training and five val pictures of 16 px, in five folders."""
    shapes.write(folder, size=16, train=10, val=5)
    return folder


def training(method: str, data: Path, out: Path, steps: int = 4) -> tuple[object, ...]:
    """The command line of a tiny run."""
    often = ("--log-every", 2, "--sample-every", 2, "--checkpoint-every", 2, "--workers", 1, "--device", "cpu")
    return ("train", method, "--data", data, "--out", out, "--steps", steps, *SMALLEST[method], *often)


def perform(*command: object) -> None:
    """Runs a command that a campaign begins with."""
    if run(list(map(str, command))):
        raise RuntimeError(f"{command}: could not be done to begin with")


def write_run(out: Path, method: str, data: Path) -> Path:
    """Trains four steps, evaluates, and draws the page."""
    perform(*training(method, data, out))
    perform("evaluate", out, "--data", data)
    perform("report", out)
    return out


def look(case: Case, data: Path, *kinds: DataKind) -> Attempt:
    """Opens the pictures of `data` in one of the ways in which that is done, for a method of one of these kinds."""
    kind = case.random.choice(kinds)
    method = case.random.choice([name for name in METHODS if METHODS[name].data is kind])
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
