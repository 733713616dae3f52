"""The content of a run's page, in the form that the scripts of the page read.

It is independent of methods, losses and metrics; it uses only the direction in which each metric is better.
"""

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from diptych.data.loaders import evenly_spaced
from diptych.files import leads_away, lies_in
from diptych.methods import METHODS
from diptych.methods.settings import kebab
from diptych.metrics import better, title
from diptych.training import checkpoint
from diptych.training.records import Result, Scores, files_of
from diptych.training.run import Run, read_json_lines

DIGITS = 15  # of a step: a browser counts no farther
POINTS = 2000  # of a curve in the page; a chart shows about 300 of them, more after zooming in
GROUPS = VALIDATION, _, _ = "Validation", "Losses and learning rate", "Gradient norms"
LEARNING_RATE = "learning rate"
TRUTH = "held-out pictures"  # measured as a reference; no system

Log = Sequence[dict[str, Any]]
"""The lines of log.jsonl, oldest first."""

Values = list[tuple[int, float]]
"""Steps and logged values."""


# ---- the log


def progress(log: Log) -> tuple[int, str]:
    """The last logged step, and the training time until then."""
    if not log:
        return 0, ""
    minutes, seconds = divmod(round(log[-1]["seconds"]), 60)
    hours, minutes = divmod(minutes, 60)
    return log[-1]["step"], f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def findings(log: Log) -> list[dict[str, Any]] | None:
    """The doctor's findings, each once, present ones first. None if no log entry has results of the doctor.

    `saw` and `try` are the latest texts, `spans` the first and last steps of each series of log entries with the finding;
    `now` is True if the last entry has it.

    >>> pale = {"finding": "pale", "saw": "grey", "try": "--lr 1e-4"}
    >>> findings([{"step": step, "doctor": [pale] if step < 30 else []} for step in (10, 20, 30)])
    [{'finding': 'pale', 'saw': ['grey'], 'try': ['--lr 1e-4'], 'spans': [[10, 20]], 'now': False}]
    """
    entries = [entry for entry in log if "doctor" in entry]
    by_name: dict[str, dict[str, Any]] = {}
    previous: dict[str, None] = {}
    for entry in entries:
        names = dict.fromkeys(finding["finding"] for finding in entry["doctor"])
        for name in names:
            same = [finding for finding in entry["doctor"] if finding["finding"] == name]  # of several adversaries
            texts = {key: list(dict.fromkeys(finding[key] for finding in same)) for key in ("saw", "try")}
            spans = by_name.get(name, {"spans": []})["spans"]
            if name in previous:
                spans[-1][1] = entry["step"]
            else:
                spans.append([entry["step"], entry["step"]])
            by_name[name] = {"finding": name, **texts, "spans": spans}
        previous = names
    result = [finding | {"now": name in previous} for name, finding in by_name.items()]
    return sorted(result, key=lambda finding: not finding["now"]) if entries else None


def charts(logs: Sequence[Log], points: int = POINTS) -> dict[str, Any]:
    """The curves of one or several runs, in groups: curves of the same name share a chart.

    Steps that curves share are stored once: `steps` of a curve is an index into the list `steps`.
    """
    steps: dict[tuple[int, ...], int] = {}
    of_runs = [_logged(log) for log in logs]
    groups = []
    for group in GROUPS:
        # A loss may first appear late in a run; the learning rate is always last.
        names = dict.fromkeys(name for logged in of_runs for name in logged[group])
        charts = [
            {
                "name": name,
                "better": better(name) if group == VALIDATION else 0,
                "smooth": group != VALIDATION and name != LEARNING_RATE,
                "curves": [
                    {"run": run, **_curve(logged[group][name], points, steps)}
                    for run, logged in enumerate(of_runs)
                    if name in logged[group]
                ],
            }
            for name in sorted(names, key=lambda name: name == LEARNING_RATE)
        ]
        groups.append({"title": group, "charts": charts})
    return {"steps": [*steps], "groups": [group for group in groups if group["charts"]]}


def validated(curves: dict[str, Any]) -> list[str]:
    """The metrics that have charts."""
    return [chart["name"] for group in curves["groups"] if group["title"] == VALIDATION for chart in group["charts"]]


def _logged(log: Log) -> dict[str, dict[str, Values]]:
    """All finite logged values, by group and name."""
    groups: dict[str, dict[str, Values]] = {title: {} for title in GROUPS}
    for entry in log:
        losses = {**entry["losses"], LEARNING_RATE: entry["lr"]}
        logged = (entry.get("validation", {}), losses, entry.get("gradients", {}))
        for group, values in zip(groups.values(), logged, strict=True):
            for name, value in values.items():
                if math.isfinite(value):
                    group.setdefault(name, []).append((entry["step"], value))
    return groups


def _curve(values: Values, points: int, steps: dict[tuple[int, ...], int]) -> dict[str, Any]:
    """A curve in columns, with minima and maxima only if a point is the mean of several values."""
    kept_steps, means, lows, highs = thin(values, points)
    curve = {"steps": steps.setdefault(tuple(kept_steps), len(steps)), "means": means}
    return curve if means == lows == highs else {**curve, "lows": lows, "highs": highs}


def thin(values: Values, points: int = POINTS) -> tuple[list[int], list[float], list[float], list[float]]:
    """At most `points` points in columns: the last step, the mean, the minimum and the maximum of each chunk.

    >>> thin([(20, 1.0), (40, 2.0), (60, 9.0)], points=2)
    ([20, 60], [1.0, 5.5], [1.0, 2.0], [1.0, 9.0])
    """
    count = min(points, len(values))
    chunks = [values[n * len(values) // count : (n + 1) * len(values) // count] for n in range(count)]
    columns = [[value for _, value in chunk] for chunk in chunks]
    return (
        [chunk[-1][0] for chunk in chunks],
        [_short(sum(column) / len(column)) for column in columns],
        [_short(min(column)) for column in columns],
        [_short(max(column)) for column in columns],
    )


# ---- images


def samples(run: Path, notes: list[str]) -> list[tuple[int, str]]:
    """Step and file name of every preview grid, oldest first; those that are not the run's own are noted."""
    numbers = {path: path.stem.removeprefix("step-") for path in (run / "samples").glob("step-*.png")}
    sheets = {path: int(number) for path, number in numbers.items() if number.isdecimal() and len(number) <= DIGITS}
    own = [(step, path.name) for path, step in sheets.items() if lies_in(run, path)]
    _note_strangers(run / "samples", len(sheets) - len(own), notes)
    return sorted(own)


def _note_strangers(folder: Path, count: int, notes: list[str]) -> None:
    if count:
        notes.append(
            f"{folder}: {count} of its pictures are left out, because links lead to them, or names out of the run"
        )


def results(run: Path, notes: list[str]) -> list[dict[str, Any]]:
    """For each split the names, addresses and metrics of its images; what is left out is noted."""
    return [
        {
            "split": split,
            "address": f"results/{address(split)}",
            "panels": panels_of(entries),
            "metrics": (names := metrics_of(entries)),
            "better": [better(name) for name in names],
            "pictures": [
                [entry["name"], address(entry["name"]), *(number(entry["metrics"].get(name)) for name in names)]
                for entry in entries
            ],
        }
        for split, entries in measured_pictures(run, notes).items()
    ]


def measured_pictures(run: Path, notes: list[str]) -> dict[str, list[dict[str, Any]]]:
    """The results of each split: name, panels and metrics of every image; what is left out is noted."""
    of_splits = {}
    for file in sorted(run.glob("results/*/results.jsonl")):
        folder = file.parent
        if not lies_in(run, file):
            notes.append(f"{folder}: is left out, because a link leads to it")
            continue
        entries = read_json_lines(file, Result, notes)
        in_folder = cache(partial(lies_in, folder))  # thousands of pictures lie in a few folders
        of_entries = [[folder / name for name in files_of(entry)] for entry in entries]
        own = [
            entry
            for entry, files in zip(entries, of_entries, strict=True)
            if all(in_folder(path.parent) and not leads_away(path) for path in files)
        ]
        _note_strangers(folder, len(entries) - len(own), notes)
        of_splits[folder.name] = own
    return of_splits


def panels_of(entries: Iterable[dict[str, Any]]) -> list[str]:
    """All panels of these images, in order."""
    return list(dict.fromkeys(panel for entry in entries for panel in entry["panels"]))


def titles(names: Iterable[str]) -> dict[str, str]:
    """What to call each metric, with how it was measured where two have the same title.

    >>> titles(["l1/8-bit/64px", "l1/8-bit/128px", "ssim/8-bit/64px"])
    {'l1/8-bit/64px': 'L1 error (8-bit/64px)', 'l1/8-bit/128px': 'L1 error (8-bit/128px)', 'ssim/8-bit/64px': 'SSIM'}
    """
    plain = {name: title(name) for name in names}
    often = Counter(plain.values())
    return {
        name: f"{called} ({name.partition('/')[2]})" if often[called] > 1 else called for name, called in plain.items()
    }


def metrics_of(entries: Iterable[dict[str, Any]]) -> list[str]:
    """All metrics of these images or lines, in order."""
    return list(dict.fromkeys(name for entry in entries for name in entry["metrics"]))


def address(name: str) -> str:
    """A file name in a relative address, percent-encoded; it may be invalid Unicode."""
    return quote(os.fsencode(name))


HERO = 6
"""Pictures at the top of the page."""


def hero(results: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Some pictures of the first split that was measured, and the addresses of what a reader wants to see of them."""
    if not results or not results[0]["pictures"]:
        return None
    first = results[0]
    panels = [panel for panel in ("input", "output", "target") if panel in first["panels"]] or first["panels"][:3]
    names = sorted(picture[:2] for picture in first["pictures"])
    pictures = [
        (name, {panel: f"{first['address']}/{address(panel)}/{place}.png" for panel in panels})
        for name, place in (names[index] for index in evenly_spaced(HERO, len(names)))
    ]
    return {"split": first["split"], "count": len(names), "panels": panels, "pictures": pictures}


# ---- metrics


def measured(run: Run, notes: list[str]) -> list[dict[str, Any]]:
    """The latest scores of each system, split and direction, the model before its baselines; what is left out is noted."""
    newest = {}
    for line in read_json_lines(run.path / "metrics.jsonl", Scores, notes):
        line.setdefault("direction", run.settings.direction)  # lines of early versions have no direction
        line["of_model"] = line["who"] in ("model", checkpoint.BEST, *getattr(METHODS[run.method], "snapshots", ()))
        newest[line["split"], line["direction"], line["who"]] = line
    of_model = {(line["split"], line["direction"], line["step"]) for line in newest.values() if line["who"] == "model"}
    told = [
        line
        for line in newest.values()
        if line["who"] != checkpoint.BEST or (line["split"], line["direction"], line["step"]) not in of_model
    ]  # earlier versions measured the best model beside the last where both are one
    return sorted(told, key=place)


def place(line: dict[str, Any]) -> tuple[str, str, bool]:
    """What lines are sorted by."""
    return line["split"], line["direction"], line["who"] != "model"


def data_name(line: dict[str, Any]) -> str:
    """The name of the data folder of a line."""
    return Path(line["data"]).name


def mark_best(lines: Sequence[dict[str, Any]]) -> None:
    """Adds to each line, as `best`, the metrics in which no other system on the same data is better.

    The real images are no system, and equal values are not the best.

    >>> on = {"data": "facades", "split": "val", "direction": "AtoB", "count": 9}
    >>> lines = [on | {"who": who, "metrics": {"l1": l1}} for who, l1 in (("model", 0.1), ("mean", 0.2))]
    >>> mark_best(lines)
    >>> [line["best"] for line in lines]
    [{'l1'}, set()]
    """

    def data(line: dict[str, Any]) -> tuple[Any, ...]:
        return data_name(line), line["split"], line["direction"], line["count"]

    systems = [line for line in lines if line["who"] != TRUTH]
    for line in lines:
        line["best"] = set()
    for line in systems:
        rivals = [other["metrics"] for other in systems if data(other) == data(line)]
        for name, value in line["metrics"].items():
            values = [better(name) * rival[name] for rival in rivals if name in rival]
            if better(name) * value == max(values) > min(values):
                line["best"].add(name)


def not_measured(lines: Iterable[dict[str, Any]]) -> dict[tuple[str, str], None]:
    """The metrics that were not measured and the reasons, each pair once."""
    return dict.fromkeys(reason for line in lines for reason in line.get("not-measured", {}).items())


# ---- settings


def described(run: Run) -> Iterator[tuple[str, Any, str]]:
    """Name, value and description of every setting, those of the method last."""
    values = run.values()
    own = values.pop("method")
    for prefix, group, model in (("", values, type(run.settings)), ("method.", own, type(run.settings.method))):
        descriptions = {kebab(name): field.description or "" for name, field in model.model_fields.items()}
        yield from ((f"{prefix}{key}", value, descriptions.get(key, "")) for key, value in group.items())


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def number(value: float | None) -> float | None:
    """A value rounded to five digits; None for None and NaN."""
    return None if value is None or math.isnan(value) else float(f"{value:.5g}")
