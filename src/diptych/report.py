"""One page that shows a run: numbers, curves, samples over time, input beside output beside target.

The page is one file that opens from disk without network. It points at the pictures by relative addresses, so that the
folder of a run can be moved, zipped and sent. Nothing here knows a method, a loss or a metric by name.
"""

import datetime
import math
import os
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel

from diptych.atomic import atomic_file
from diptych.methods import METHODS
from diptych.methods.base import SINGLE, kebab
from diptych.run import Run, read_json_lines

BUCKETS = 300  # points of a curve; a chart is about as many pixels wide

Point = tuple[int, float, float, float]
"""Step, mean, smallest, largest."""


def report(run: Path | str) -> Path:
    """Draws `index.html` in the folder of `run` from what is there by now, and gives its path.

    May be called at any time, also while the training runs or before anything was measured. Raises a `ValueError` when
    there is no run at `run`.
    """
    folder = Run.open(Path(run))
    log, measured = folder.read_log(), _newest(read_json_lines(folder.path / "metrics.jsonl"), folder)
    step, time = _progress(log)
    method = METHODS[folder.method]
    with torch.device("meta"):  # no weights are needed to say what its rows are
        rows = method(folder.settings.method, folder.shape).rows
    pages = Environment(
        loader=PackageLoader("diptych", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    page = pages.get_template("report.html").render(
        run=folder,
        name=folder.path.resolve().name,
        method=method,
        single=method.needs in SINGLE,
        rows=rows,
        about=tomllib.loads((folder.path / "settings.toml").read_text(encoding="utf-8"))["run"],
        described=list(_described(folder)),
        step=step,
        time=time,
        drawn=datetime.datetime.now().strftime("%Y-%m-%d %H:%M"),
        measured=measured,
        metrics=list(dict.fromkeys(name for line in measured for name in line["metrics"])),
        commands=list(dict.fromkeys((line["time"], line["command"]) for line in measured)),
        evaluate=f"diptych evaluate {shlex.quote(str(folder.path))} {folder.place.arguments}",
        data={"curves": _curves(log), "samples": _samples(folder.path), "results": _results(folder.path)},
    )
    path = folder.path / "index.html"
    with atomic_file(path) as beside:
        # A file name that is no Unicode cannot be shown; its address is percent-encoded and still leads to it.
        beside.write_text(page, encoding="utf-8", errors="replace")
    return path


def _progress(log: Sequence[dict[str, Any]]) -> tuple[int, str]:
    """The last logged step, and the time it took to get there."""
    if not log:
        return 0, ""
    minutes, seconds = divmod(round(log[-1]["seconds"]), 60)
    hours, minutes = divmod(minutes, 60)
    return log[-1]["step"], f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _newest(lines: Sequence[dict[str, Any]], run: Run) -> list[dict[str, Any]]:
    """The last measurement of each answerer on each split, each way; the model before its baselines."""
    newest = {}
    for line in lines:
        line.setdefault("direction", run.settings.direction)  # early lines do not tell it
        newest[line["split"], line["direction"], line["who"]] = line
    return sorted(newest.values(), key=lambda line: (line["split"], line["direction"], line["who"] != "model"))


def _described(run: Run) -> Iterator[tuple[str, Any, str]]:
    """Name, value and meaning of every setting, the method's own ones last."""
    values = run.values()
    own = values.pop("method")
    for prefix, group, model in (("", values, type(run.settings)), ("method.", own, type(run.settings.method))):
        meaning = _meanings(model)
        yield from ((f"{prefix}{key}", value, meaning.get(key, "")) for key, value in group.items())


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    return {kebab(name): field.description or "" for name, field in model.model_fields.items()}


# ---- what the page's script draws


def _curves(log: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every loss and the learning rate, thinned out."""
    values: dict[str, list[tuple[int, float]]] = {}
    for entry in log:
        for name, value in [*entry["losses"].items(), ("learning rate", entry["lr"])]:
            if math.isfinite(value):
                values.setdefault(name, []).append((entry["step"], value))
    # A loss may first appear late in a run; the learning rate stays last.
    names = sorted(values, key=lambda name: name == "learning rate")
    return [{"name": name, "points": _thin(values[name])} for name in names]


def _thin(values: Sequence[tuple[int, float]], buckets: int = BUCKETS) -> list[Point]:
    """At most `buckets` points, each with the last step, the mean, the smallest and the largest value of its share.

    >>> _thin([(20, 1.0), (40, 2.0), (60, 9.0)], buckets=2)
    [(20, 1.0, 1.0, 1.0), (60, 5.5, 2.0, 9.0)]
    """
    count = min(buckets, len(values))
    points = []
    for i in range(count):
        share = values[i * len(values) // count : (i + 1) * len(values) // count]
        numbers = [value for _, value in share]
        points.append((share[-1][0], _short(sum(numbers) / len(numbers)), _short(min(numbers)), _short(max(numbers))))
    return points


def _samples(run: Path) -> list[tuple[int, str]]:
    """Step and address of every sample sheet, oldest first."""
    sheets = [(path.stem.removeprefix("step-"), path) for path in (run / "samples").glob("step-*.png")]
    return sorted((int(step), f"samples/{_address(path.name)}") for step, path in sheets if step.isdecimal())


def _results(run: Path) -> list[dict[str, Any]]:
    """For each split what its pictures are called, where they lie, and their numbers."""
    splits = []
    for file in sorted(run.glob("results/*/results.jsonl")):
        entries = read_json_lines(file)
        metrics = list(dict.fromkeys(name for entry in entries for name in entry["metrics"]))
        splits.append(
            {
                "split": file.parent.name,
                "address": f"results/{_address(file.parent.name)}",
                "panels": list(dict.fromkeys(panel for entry in entries for panel in entry["panels"])),
                "metrics": metrics,
                "pictures": [
                    [entry["name"], _address(entry["name"]), *(_number(entry["metrics"].get(name)) for name in metrics)]
                    for entry in entries
                ],
            }
        )
    return splits


def _address(name: str) -> str:
    return quote(os.fsencode(name))


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else _short(value)
