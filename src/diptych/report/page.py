"""The page of one run: metrics, curves, findings of the doctor, previews over time, results."""

import datetime
import json
import shlex
from pathlib import Path
from typing import Any

from diptych.files import lies_in, read_text
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


def draw(run: Run, notes: list[str]) -> Path:
    """Writes `index.html` in the folder of `run`, and returns its path; `notes` gets what is left out."""
    log, lines = run.read_log(notes), contents.measured(run, notes)
    contents.mark_best(lines)
    findings = contents.findings(log)
    head = about(run, log)
    results, curves = contents.results(run.path, notes), contents.charts([log])
    metrics = [name for split in results for name in split["metrics"]]
    return draw_template(
        "page.html",
        run.path / "index.html",
        **head,
        described=list(contents.described(run)),
        drawn=now(),
        lines=lines,
        not_measured=contents.not_measured(lines),
        commands=list(dict.fromkeys((line["time"], line["command"]) for line in lines)),
        evaluate=f"diptych evaluate {shlex.quote(str(run.path))} {run.data_paths.arguments}",
        findings=findings,
        hero=contents.hero(results),
        data={
            "titles": contents.titles([*contents.validated(curves), *metrics]),
            "curves": curves,
            "runs": [{"label": run.path.resolve().name, "best": head["best"]}],
            "marks": [span for finding in findings or () for span in finding["spans"]],
            "samples": [
                [step, f"samples/{contents.address(name)}"] for step, name in contents.samples(run.path, notes)
            ],
            "results": results,
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
        "sides": run.sides if METHODS[run.method].data.has_sides else None,
        "columns": _preview_columns(run),
        "rows": next(iter(translators.values())).row_titles,
        "two_way": len(translators) > 1,
        "step": step,
        "time": time,
        "best": checkpoint.model_step(checkpoint.model_folder(run.path, checkpoint.BEST)),
    }


def _preview_columns(run: Run) -> list[str]:
    """The titles that the training wrote (not in version 0.1); empty for columns with a number as title."""
    usual = COLUMNS_0_1.get(run.method, ["input", "output", "target"])
    file = run.path / "samples" / "titles.json"
    try:
        read = json.loads(read_text(file)) if lies_in(run.path, file) else None
    except (ValueError, RecursionError):
        read = None
    titles = read if isinstance(read, list) and all(isinstance(title, str) for title in read) else usual
    return ["" if title.isdecimal() else title for title in titles]


def now() -> str:
    """The current time in readable form."""
    return datetime.datetime.now().strftime("%Y-%m-%d %H:%M")
