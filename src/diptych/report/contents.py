"""What of a run is worth showing, in the form in which the page's script reads it.

Nothing here knows a method, a loss or a metric by name, but which way each metric is better.
"""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

from diptych.methods.settings import kebab
from diptych.metrics import better
from diptych.training.run import Run, read_json_lines

POINTS = 2000  # of a curve that the page holds; a chart shows some 300, and more of them when it is zoomed
GROUPS = VALIDATION, _, _ = "Validation", "Losses and learning rate", "Gradient norms"
LEARNING_RATE = "learning rate"
TRUTH = "held-out pictures"  # what is measured to compare with, and is no answer

Log = Sequence[dict[str, Any]]
"""The lines of log.jsonl, oldest first."""

Values = list[tuple[int, float]]
"""Steps and what was logged there."""


# ---- the log


def progress(log: Log) -> tuple[int, str]:
    """The last logged step, and the time it took to get there."""
    if not log:
        return 0, ""
    minutes, seconds = divmod(round(log[-1]["seconds"]), 60)
    hours, minutes = divmod(minutes, 60)
    return log[-1]["step"], f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def findings(log: Log) -> list[dict[str, Any]] | None:
    """What the doctor found, each once: those still there at the end first. None where no line knows of a doctor.

    `saw` and `try` are the words of the last time, `spans` the first and last steps of each stretch of lines that have the
    finding, and `now` says that the last line has it.

    >>> said = {"finding": "pale", "saw": "grey", "try": "--lr 1e-4"}
    >>> findings([{"step": step, "doctor": [said] if step < 30 else []} for step in (10, 20, 30)])
    [{'finding': 'pale', 'saw': ['grey'], 'try': ['--lr 1e-4'], 'spans': [[10, 20]], 'now': False}]
    """
    lines = [entry for entry in log if "doctor" in entry]
    found: dict[str, dict[str, Any]] = {}
    before: set[str] = set()
    for entry in lines:
        there = {said["finding"] for said in entry["doctor"]}
        for finding in dict.fromkeys(said["finding"] for said in entry["doctor"]):  # of two games both may be lost
            said = [one for one in entry["doctor"] if one["finding"] == finding]
            words = {key: list(dict.fromkeys(one[key] for one in said)) for key in ("saw", "try")}
            spans = found.get(finding, {"spans": []})["spans"]
            if finding in before:
                spans[-1][1] = entry["step"]
            else:
                spans.append([entry["step"], entry["step"]])
            found[finding] = {"finding": finding, **words, "spans": spans}
        before = there
    told = [one | {"now": finding in before} for finding, one in found.items()]
    return sorted(told, key=lambda one: not one["now"]) if lines else None


def charts(logs: Sequence[Log], points: int = POINTS) -> dict[str, Any]:
    """The curves of one run or several, in groups: those of one name share a chart.

    Steps that several curves share are held once: `steps` of a curve is a place in the list `steps`.
    """
    steps: list[list[int]] = []
    of_runs = [_logged(log) for log in logs]
    groups = []
    for title in GROUPS:
        # A loss may first appear late in a run; the learning rate stays last.
        names = dict.fromkeys(name for logged in of_runs for name in logged[title])
        drawn = [
            {
                "name": name,
                "better": better(name) if title == VALIDATION else 0,
                "smooth": title != VALIDATION and name != LEARNING_RATE,
                "curves": [
                    {"run": run, **_curve(logged[title][name], points, steps)}
                    for run, logged in enumerate(of_runs)
                    if name in logged[title]
                ],
            }
            for name in sorted(names, key=lambda name: name == LEARNING_RATE)
        ]
        groups.append({"title": title, "charts": drawn})
    return {"steps": steps, "groups": [group for group in groups if group["charts"]]}


def _logged(log: Log) -> dict[str, dict[str, Values]]:
    """Everything finite that was logged, by its group and its name."""
    groups: dict[str, dict[str, Values]] = {title: {} for title in GROUPS}
    for entry in log:
        losses = {**entry["losses"], LEARNING_RATE: entry["lr"]}
        told = (entry.get("validation", {}), losses, entry.get("gradients", {}))
        for group, values in zip(groups.values(), told, strict=True):
            for name, value in values.items():
                if math.isfinite(value):
                    group.setdefault(name, []).append((entry["step"], value))
    return groups


def _curve(values: Values, points: int, steps: list[list[int]]) -> dict[str, Any]:
    """A curve in columns; the smallest and the largest values only where a point stands for several."""
    reached, means, lows, highs = thin(values, points)
    if reached not in steps:
        steps.append(reached)
    curve = {"steps": steps.index(reached), "means": means}
    return curve if means == lows == highs else {**curve, "lows": lows, "highs": highs}


def thin(values: Values, points: int = POINTS) -> tuple[list[int], list[float], list[float], list[float]]:
    """Columns of at most so many points, each with the last step, the mean, the smallest and the largest value of its share.

    >>> thin([(20, 1.0), (40, 2.0), (60, 9.0)], points=2)
    ([20, 60], [1.0, 5.5], [1.0, 2.0], [1.0, 9.0])
    """
    count = min(points, len(values))
    shares = [values[n * len(values) // count : (n + 1) * len(values) // count] for n in range(count)]
    numbers = [[value for _, value in share] for share in shares]
    return (
        [share[-1][0] for share in shares],
        [_short(sum(some) / len(some)) for some in numbers],
        [_short(min(some)) for some in numbers],
        [_short(max(some)) for some in numbers],
    )


# ---- pictures


def samples(run: Path) -> list[tuple[int, str]]:
    """Step and file name of every sample sheet, oldest first."""
    sheets = [(path.stem.removeprefix("step-"), path.name) for path in (run / "samples").glob("step-*.png")]
    return sorted((int(step), name) for step, name in sheets if step.isdecimal())


def results(run: Path) -> list[dict[str, Any]]:
    """For each split what its pictures are called, where they lie, and their numbers."""
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
        for split, entries in measured_pictures(run).items()
    ]


def measured_pictures(run: Path) -> dict[str, list[dict[str, Any]]]:
    """What was kept of each split: a name, the panels and the numbers of every picture."""
    return {file.parent.name: read_json_lines(file) for file in sorted(run.glob("results/*/results.jsonl"))}


def panels_of(entries: Iterable[dict[str, Any]]) -> list[str]:
    """All panels that any of the pictures has, in order."""
    return list(dict.fromkeys(panel for entry in entries for panel in entry["panels"]))


def metrics_of(entries: Iterable[dict[str, Any]]) -> list[str]:
    """All metrics that any of the pictures or lines has, in order."""
    return list(dict.fromkeys(name for entry in entries for name in entry["metrics"]))


def address(name: str) -> str:
    """A file's name in a relative address; a name that is no Unicode has one too."""
    return quote(os.fsencode(name))


# ---- numbers


def measured(run: Run) -> list[dict[str, Any]]:
    """The last measurement of each answerer on each split, each way; the model before its baselines."""
    newest = {}
    for line in read_json_lines(run.path / "metrics.jsonl"):
        line.setdefault("direction", run.settings.direction)  # early lines do not tell it
        newest[line["split"], line["direction"], line["who"]] = line
    return sorted(newest.values(), key=lambda line: (line["split"], line["direction"], line["who"] != "model"))


def data_name(line: dict[str, Any]) -> str:
    """What the folder of the data is called, on which a line was measured."""
    return Path(line["data"]).name


def mark_best(lines: Sequence[dict[str, Any]]) -> None:
    """Adds to each line, as `best`, the names of the metrics in which no other answer on the same pictures is better.

    The truth is no answer, and what is no better than any other is not the best.

    >>> on = {"data": "facades", "split": "val", "direction": "AtoB", "count": 9}
    >>> lines = [on | {"who": who, "metrics": {"l1": l1}} for who, l1 in (("model", 0.1), ("mean", 0.2))]
    >>> mark_best(lines)
    >>> [line["best"] for line in lines]
    [{'l1'}, set()]
    """

    def pictures(line: dict[str, Any]) -> tuple[Any, ...]:
        return data_name(line), line["split"], line["direction"], line["count"]

    answers = [line for line in lines if line["who"] != TRUTH]
    for line in lines:
        line["best"] = set()
    for line in answers:
        rivals = [other["metrics"] for other in answers if pictures(other) == pictures(line)]
        for name, value in line["metrics"].items():
            known = [better(name) * rival[name] for rival in rivals if name in rival]
            if better(name) * value == max(known) > min(known):
                line["best"].add(name)


def not_measured(lines: Iterable[dict[str, Any]]) -> dict[tuple[str, str], None]:
    """The metrics that could not be measured, each with the reason, once."""
    return dict.fromkeys(reason for line in lines for reason in line.get("not-measured", {}).items())


# ---- settings


def described(run: Run) -> Iterator[tuple[str, Any, str]]:
    """Name, value and meaning of every setting, the method's own ones last."""
    values = run.values()
    own = values.pop("method")
    for prefix, group, model in (("", values, type(run.settings)), ("method.", own, type(run.settings.method))):
        meaning = _meanings(model)
        yield from ((f"{prefix}{key}", value, meaning.get(key, "")) for key, value in group.items())


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    return {kebab(name): field.description or "" for name, field in model.model_fields.items()}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def number(value: float | None) -> float | None:
    """A value in few digits; None where there is none."""
    return None if value is None or math.isnan(value) else float(f"{value:.5g}")
