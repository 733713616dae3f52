"""The page of one run: numbers, curves, what the doctor found, samples over time, results."""

import datetime
import shlex
import tomllib
from pathlib import Path
from typing import Any

import torch

from diptych.methods import METHODS
from diptych.methods.base import Method
from diptych.report import contents
from diptych.report.templates import draw as draw_template
from diptych.training import checkpoint
from diptych.training.run import Run


def draw(run: Run) -> Path:
    """Draws `index.html` in the folder of `run`, and gives its path."""
    log, lines = run.read_log(), contents.measured(run)
    contents.mark_best(lines)
    findings = contents.findings(log)
    head = about(run, log)
    return draw_template(
        "page.html",
        run.path / "index.html",
        **head,
        rows=rows(run),
        told=told(run),
        described=list(contents.described(run)),
        drawn=now(),
        lines=lines,
        not_measured=contents.not_measured(lines),
        commands=list(dict.fromkeys((line["time"], line["command"]) for line in lines)),
        evaluate=f"diptych evaluate {shlex.quote(str(run.path))} {run.place.arguments}",
        findings=findings,
        data={
            "curves": contents.charts([log]),
            "runs": [{"label": run.path.resolve().name, "best": head["best"]}],
            "marks": [span for finding in findings or () for span in finding["spans"]],
            "samples": [[step, f"samples/{contents.address(name)}"] for step, name in contents.samples(run.path)],
            "results": contents.results(run.path),
        },
    )


def about(run: Run, log: contents.Log) -> dict[str, Any]:
    """What both pages say of a run in its head."""
    step, time = contents.progress(log)
    return {
        "run": run,
        "name": run.path.resolve().name,
        "method": METHODS[run.method],
        "single": not METHODS[run.method].data.has_sides,
        "step": step,
        "time": time,
        "best": checkpoint.model_step(checkpoint.kept(run.path, checkpoint.BEST)),
    }


def told(run: Run) -> dict[str, Any]:
    """What settings.toml says beside the settings: the command, the data, the versions."""
    table: dict[str, Any] = tomllib.loads((run.path / "settings.toml").read_text(encoding="utf-8"))["run"]
    return table


def rows(run: Run) -> tuple[str, ...]:
    """What the rows of its sample sheets are called."""
    method: type[Method] = METHODS[run.method]
    with torch.device("meta"):  # no weights are needed to say it
        return method(run.settings.method, run.shape).rows


def now() -> str:
    """The time, as a person writes it."""
    return datetime.datetime.now().strftime("%Y-%m-%d %H:%M")
