"""Evaluate a model on held-out data next to simple baselines, or compare two image folders."""

import datetime
import json
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from diptych.data import layouts, leaks, unread
from diptych.data.datasets import Dataset
from diptych.data.paths import DataPaths
from diptych.devices import Device
from diptych.evaluate import folders, generation, translation
from diptych.evaluate.options import EvalOptions
from diptych.evaluate.results import Progress, require_scores, writing
from diptych.files import atomic_file
from diptych.kinds import DataKind, Direction
from diptych.methods import METHODS
from diptych.progress import say
from diptych.training.run import Run, command_line


def evaluate(
    run: Path | str | None = None,
    *,
    data: Path | str | None = None,
    data_a: Path | str | None = None,
    data_b: Path | str | None = None,
    suffix_a: str | None = None,
    suffix_b: str | None = None,
    halves: bool = False,
    real: Path | str | None = None,
    fake: Path | str | None = None,
    out: Path | str | None = None,
    names: Sequence[str] | None = None,
    baselines: bool = False,
    direction: Direction | None = None,
    features: Path | str | None = None,
    weights: Path | str | None = None,
    fetch_weights: bool = False,
    device: Device = "auto",
    progress: Progress | None = None,
    console: Console | None = None,
) -> list[dict[str, Any]]:
    """Measures the model of `run` on held-out pictures, or the pictures in `fake` beside those in `real`.

    Translations are compared with targets (`translation.measure`), generated pictures are read by a classifier
    (`generation.measure`), folders are taken as they are (`folders.measure`). `results/` in the run gets single pictures,
    thumbnails and their numbers; `metrics.jsonl`, in the run or in `out`, one line for the model and one for each baseline.
    Returns those lines. A metric whose weights are missing is listed under "not-measured" with the reason, and the rest is
    measured. Raises a `ValueError` when there is nothing to measure on.

    Args:
        run: The folder of a run.
        data: The folder of pictures, or an array of them (npy); its val (or test) split is measured.
        data_a: The folder of A, if A and B are in two places; with --data-b.
        data_b: The folder of B.
        suffix_a: How the file names of A end, such as `_A`; by default as in the training.
        suffix_b: The same for B.
        halves: Each picture is A beside its B, whatever its shape.
        real: Without a run: a folder of real pictures; with --fake.
        fake: A folder of pictures to compare with the real ones.
        out: With --real and --fake: a folder for metrics.jsonl; without it, the numbers are only printed.
        names: Names, separated by commas; without it, those that the method measures by default.
        baselines: Measure answers without a model too, such as the mean training target.
        direction: For a model that translates in both directions: measure only this one.
        features: An exported network (.pt2) in place of Inception, for fid, kid, mifid, precision and recall.
        weights: The folder of the weights of Inception and AlexNet; without it, $DIPTYCH_WEIGHTS, then torch's cache.
        fetch_weights: Download missing weights.
        device: Where to run.
        progress: Called with the name of a piece of work, how much of it is done, and all of it.
    """
    network, folder = (Path(path) if path else None for path in (features, weights))
    note = partial(say, console or Console(stderr=True))
    options = EvalOptions(names, baselines, direction, device, network, folder, fetch_weights, progress, note)
    if real is not None or fake is not None:
        if run is not None or real is None or fake is None or (data, data_a, data_b) != (None, None, None):
            raise ValueError("--real DIR and --fake DIR are measured beside each other, without a run and its --data")
        return _of_folders(Path(real), Path(fake), Path(out) if out else None, options)
    if run is None or out is not None:
        raise ValueError(
            "give the folder of a run with its --data, or --real DIR and --fake DIR (with --out DIR to keep the numbers)"
        )
    opened = Run.open(Path(run))
    paths = DataPaths.from_flags(data, data_a, data_b, suffix_a, suffix_b, halves)
    return _of_run(opened, paths if paths.reading else opened.data_paths.reads(paths), options)


def _of_folders(real: Path, fake: Path, out: Path | None, options: EvalOptions) -> list[dict[str, Any]]:
    """The line of the pictures in `fake`, written to `out` if there is one."""
    if out and (out / "settings.toml").exists():
        raise ValueError(f"--out {out}: is a run, whose metrics.jsonl is of its own model; give another folder")
    if out:
        require_scores(out)
    return _keep(folders.measure(real, fake, options), {}, out, options)


def _of_run(run: Run, paths: DataPaths, options: EvalOptions) -> list[dict[str, Any]]:
    """The lines of a run's models, written to it."""
    with writing(run.path):
        split, datasets = _held_out(run, paths)
        measure = generation.measure if METHODS[run.method].data == DataKind.LABELLED else translation.measure
        measured = measure(run, paths, split, datasets, options)
        if unused := unread.describe(folder for dataset in datasets for folder in dataset.folders):
            options.note(unused)
        if leak := leaks.describe(split, datasets, _training(run, paths)):
            options.note(leak)
        return _keep(measured, {"data": str(paths), "split": split}, run.path, options)


def _keep(
    measured: list[dict[str, Any]], about: dict[str, Any], folder: Path | None, options: EvalOptions
) -> list[dict[str, Any]]:
    """The lines with time, command, `about` and what was not measured; appended to `metrics.jsonl` in a folder."""
    time = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    about = {"time": time, "command": command_line(), **about}
    not_measured = {"not-measured": options.missing} if options.missing else {}
    lines = [{**about, **line, **not_measured} for line in measured]
    if folder:
        _append(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    return lines


def _append(file: Path, lines: str) -> None:
    """Adds lines to a file, which is written anew: it may have another name, in a copy made of hard links."""
    file.parent.mkdir(parents=True, exist_ok=True)
    before = file.read_bytes() if file.exists() else b""
    if before and not before.endswith(b"\n"):
        before += b"\n"
    with atomic_file(file) as beside:
        beside.write_bytes(before + lines.encode())


def _held_out(run: Run, paths: DataPaths) -> tuple[str, list[Dataset]]:
    """The name of the split to measure on, and its datasets."""
    kind = METHODS[run.method].data
    held_out = layouts.held_out(kind, paths, run.settings.specs)
    if held_out is None:
        raise ValueError(
            f"{paths}: has no val or test split to measure on; put pictures that training does not see in a folder "
            f"val{layouts.HELD_OUT_FOLDERS[kind]}, or let `diptych data split` divide them"
        )
    return held_out


def _training(run: Run, paths: DataPaths) -> list[Dataset]:
    """What the run has learnt from, or what it would learn from `paths` now where that is gone; else nothing."""
    kind = METHODS[run.method].data
    for candidate in (run.data_paths, paths):
        with suppress(ValueError):
            return layouts.find(kind, candidate, "train", run.settings.specs) or []
    return []
