"""The page of one run: metrics, curves, findings of the doctor, previews over time, results."""

import datetime
import json
import shlex
import tomllib
from pathlib import Path
from typing import Any

from diptych.methods import METHODS, sketch
from diptych.report import contents
from diptych.report.templates import draw as draw_template
from diptych.training import checkpoint
from diptych.training.run import Run

COLUMNS_0_1 = {
    "cyclegan": [
        "real x", "translated G(x)", "reconstructed F(G(x))", "identity F(x)",
        "real y", "translated F(y)", "reconstructed G(F(y))", "identity G(y)",
    ],
    "cgan": [str(number) for number in range(1, 11)],
}  # fmt: skip


def draw(run: Run) -> Path:
    """Writes `index.html` in the folder of `run`, and returns its path."""
    log, lines = run.read_log(), contents.measured(run)
    contents.mark_best(lines)
    findings = contents.findings(log)
    head = about(run, log)
    return draw_template(
        "page.html",
        run.path / "index.html",
        **head,
        metadata=metadata(run),
        described=list(contents.described(run)),
        drawn=now(),
        lines=lines,
        not_measured=contents.not_measured(lines),
        commands=list(dict.fromkeys((line["time"], line["command"]) for line in lines)),
        evaluate=f"diptych evaluate {shlex.quote(str(run.path))} {run.data_paths.arguments}",
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
    """The header of a run, for both pages."""
    step, time = contents.progress(log)
    translators = sketch(run.method, run.settings.method, run.shape).translators()
    return {
        "run": run,
        "name": run.path.resolve().name,
        "method": METHODS[run.method],
        "single": not METHODS[run.method].data.has_sides,
        "columns": _preview_columns(run),
        "rows": next(iter(translators.values())).row_titles,
        "two_way": len(translators) > 1,
        "step": step,
        "time": time,
        "best": checkpoint.model_step(checkpoint.model_folder(run.path, checkpoint.BEST)),
    }


def metadata(run: Run) -> dict[str, Any]:
    """The metadata in settings.toml: the command, the data, the versions."""
    table: dict[str, Any] = tomllib.loads((run.path / "settings.toml").read_text(encoding="utf-8"))["run"]
    return table


def _preview_columns(run: Run) -> list[str]:
    """The titles that the training wrote (not in version 0.1); empty for columns with a number as title."""
    try:
        titles: list[str] = json.loads((run.path / "samples" / "titles.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        titles = COLUMNS_0_1.get(run.method, ["input", "output", "target"])
    return ["" if title.isdecimal() else title for title in titles]


def now() -> str:
    """The current time in readable form."""
    return datetime.datetime.now().strftime("%Y-%m-%d %H:%M")
