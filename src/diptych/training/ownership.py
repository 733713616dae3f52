"""What lies in the folder of a run, and whether a training may go on there."""

import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console

from diptych.data.datasets import Dataset
from diptych.files import alone, is_vacant, remove_leftovers
from diptych.progress import say
from diptych.training import checkpoint
from diptych.training.origin import Origin
from diptych.training.run import Run, names_digest, set_aside
from diptych.training.validation import best_so_far, out_of_patience


def require_own(run: Run, datasets: Sequence[Dataset], origin: Origin | None) -> None:
    """Raises a `ValueError` if `run.path` has any content other than this run, or this run began from another origin."""
    require_free_or_same(run, datasets)
    _require_same_origin(run.path, origin)


def require_free_or_same(run: Run, datasets: Sequence[Dataset]) -> None:
    """Raises a `ValueError` if `run.path` has any content other than this run."""
    if (run.path / "settings.toml").exists():
        existing = Run.open(run.path)
        existing.require_same(run)
        existing.require_no_links()
        if existing.digest != names_digest(datasets):
            raise ValueError(
                f"{run.path}: was trained on other pictures (the names in {run.data_paths} differ from those it began "
                "with); give the same pictures, branch off with these: diptych train --continue "
                f"{shlex.quote(str(run.path))} --out NEW, or add --fresh to set it aside and start anew"
            )
        if not steps_done(run.path) and checkpoint.model_step(run.path / "model") is not None:
            raise ValueError(
                f"{run.path}: has a model but no checkpoints to continue from; put its checkpoints back, choose another "
                "--out, or add --fresh to set it aside and start anew"
            )
    elif not is_vacant(run.path, ".lock"):
        raise ValueError(f"{run.path}: exists and is not a run; choose another --out, nothing of yours is overwritten")


def _require_same_origin(out: Path, origin: Origin | None) -> None:
    """Raises a `ValueError` for an --init that is not what the run in `out` began from."""
    if origin and steps_done(out) and (begun_from := recorded_origin(out)).get("sha256") != origin.digest:
        began = f"from {begun_from['path']}, step {begun_from['step']}" if begun_from else "without --init"
        raise ValueError(
            f"{out}: began {began}, and --init {origin.path} is another; leave it out to continue, choose another --out, or "
            "add --fresh to set it aside and start anew"
        )


def is_finished(run: Run) -> bool:
    """Whether its last step, or the end of its patience, is saved, and its model too."""
    done = steps_done(run.path)
    over = done >= run.settings.steps or out_of_patience(run, best_so_far(run, done))
    return over and checkpoint.model_step(run.path / "model") == done


def steps_done(out: Path) -> int:
    """The step of the last checkpoint; 0 where none is."""
    checkpoints = checkpoint.list_checkpoints(out / "checkpoints")
    return checkpoints[-1][0] if checkpoints else 0


def recorded_origin(out: Path) -> dict[str, Any]:
    """What a run with checkpoints began from; empty where it began from nothing, or has not begun."""
    return Run.open(out).about.begun_from if steps_done(out) else {}


def recorded_precision(out: Path, device: torch.device) -> Literal["fp32", "bf16"] | None:
    """The precision that a run was begun in; None where no run is."""
    if not steps_done(out):
        return None
    return Run.open(out).about.precision or ("fp32" if device.type == "cpu" else None)  # older versions did not note it


def recorded_transforms(out: Path) -> list[str] | None:
    """The convolutions that went through a transform when the run began; None where no run is, or it noted none."""
    return Run.open(out).about.transforms if steps_done(out) else None


def locked(folder: Path) -> AbstractContextManager[None]:
    """Inside, no other process trains in the folder; a `ValueError` where one does already."""
    return alone(folder / ".lock", f"{folder}: another process is training in it; wait for it or choose another --out")


def set_aside_old(folder: Path, console: Console) -> None:
    """Renames the old run, unless another process is training in it."""
    with locked(folder):
        pass
    say(console, f"{folder}: set aside as {set_aside(folder)}")


def remove_remains(out: Path) -> None:
    """Removes what killed processes left in the run, and nothing that `evaluate` or `report` are writing there."""
    for folder in (out, out / "samples"):
        if not folder.is_symlink():
            remove_leftovers(folder)
    checkpoint.remove_half_written(out)
    checkpoint.remove_old(out / "checkpoints")
