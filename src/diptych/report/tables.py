"""The numbers of runs as a table for a README (Markdown), a paper (LaTeX) or a spreadsheet (CSV)."""

import csv
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from diptych.files import atomic_file, is_plain
from diptych.metrics import better
from diptych.report import contents
from diptych.report.comparison import comparable, labelled, lines_of
from diptych.training.run import Run
from diptych.wording import printable

Line = dict[str, Any]
"""A line of metrics.jsonl, with the label of its `run` and the `best` of its metrics."""

ARROWS = {1: " ↑", -1: " ↓", 0: ""}
"""Behind the name of a metric: which way is better."""

SIGNS = str.maketrans({"↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$", "–": "--"})
LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


def write(runs: Sequence[Run], file: Path, notes: list[str]) -> Path:
    """Writes the newest numbers of `runs` to `file` in the format of its suffix; `notes` gets what is left out.

    A table for each group of lines that can be compared; the best of a column is bold. A CSV file is one table with every
    digit. Raises a `ValueError` for another suffix, for runs without numbers, and when `file` is no such table.
    """
    if (suffix := file.suffix.lower()) not in FORMATS:
        raise ValueError(f"--table {file}: a table is written as {', '.join(FORMATS)}; choose such a name")
    mark, written = FORMATS[suffix]
    _require_ours(file, mark)
    labels = list(labelled([run.path for run in runs]))
    lines = [line | {"run": labels[line["run"]]} for line in lines_of(runs, notes)]
    if not any(line["metrics"] for line in lines):
        raise ValueError(f"{', '.join(labels)}: nothing is measured yet; `diptych evaluate RUN --data DIR` measures")
    with atomic_file(file) as partial:
        partial.write_text(written(lines), encoding="utf-8", errors="replace", newline="")
    return file


def _require_ours(file: Path, mark: str) -> None:
    if not os.path.lexists(file):
        return
    if is_plain(file):
        with file.open("rb") as opened:
            if opened.read(len(mark)) == mark.encode():
                return
    raise ValueError(f"--table {file}: exists and is no table written earlier; choose another name")


def _csv(lines: Sequence[Line]) -> str:
    metrics = contents.metrics_of(lines)
    with_error = [name for name in metrics if any(name in line.get("standard-error", {}) for line in lines)]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*CSV_HEAD, *metrics, *(f"standard error of {name}" for name in with_error)])
    for line in lines:
        about = (line["run"], line["who"], contents.data_name(line), line["split"], line["direction"])
        errors = line.get("standard-error", {})
        values = [*(line["metrics"].get(name) for name in metrics), *(errors.get(name) for name in with_error)]
        rows.writerow([*about, line["step"], line["count"], *values])
    return text.getvalue()


def _markdown(lines: Sequence[Line]) -> str:
    return MARKDOWN_MARK + "\n".join(_markdown_table(group) for group in comparable(lines))


def _markdown_table(lines: Sequence[Line]) -> str:
    metrics = contents.metrics_of(lines)
    about = _about(lines)
    heads = [*about, *(f"{title}{ARROWS[better(name)]}" for name, title in contents.titles(metrics).items())]
    rows = [heads, ["---"] * len(about) + ["---:"] * len(metrics)]
    for line in lines:
        texts = [printable(str(line[key])).replace("|", r"\|") for key in about]
        rows.append(
            texts + [f"**{value}**" if name in line["best"] else value for name, value in _values(line, metrics)]
        )
    return "".join(f"| {' | '.join(row)} |\n" for row in rows) + f"\n{_measured_on(lines)}\n"


def _latex(lines: Sequence[Line]) -> str:
    return LATEX_MARK + "\n".join(_latex_table(group) for group in comparable(lines))


def _latex_table(lines: Sequence[Line]) -> str:
    metrics = contents.metrics_of(lines)
    about = _about(lines)
    heads = [title.translate(LATEX) + ARROWS[better(name)] for name, title in contents.titles(metrics).items()]
    rows = [" & ".join([*about, *heads]) + r" \\", r"\midrule"]
    for line in lines:
        texts = [printable(str(line[key])).translate(LATEX) for key in about]
        values = [rf"\textbf{{{value}}}" if name in line["best"] else value for name, value in _values(line, metrics)]
        rows.append(" & ".join([*texts, *values]) + r" \\")
    columns = "l" * len(about) + "r" * len(metrics)
    table = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *rows, r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join([f"% {_measured_on(lines)}", *table]).translate(SIGNS)


def _about(lines: Sequence[Line]) -> list[str]:
    """The columns before the numbers: what tells the lines of a table apart."""
    varied = [key for key in ("split", "direction") if len({line[key] for line in lines}) > 1]
    return ["run", "who", *varied]


def _values(line: Line, metrics: Sequence[str]) -> list[tuple[str, str]]:
    """Each metric, and its value in four digits."""
    errors = line.get("standard-error", {})
    return [
        (name, f"{line['metrics'][name]:#.4g}".rstrip(".") + (f" ± {errors[name]:.2g}" if name in errors else ""))
        if name in line["metrics"]
        else (name, "–")
        for name in metrics
    ]


def _measured_on(lines: Sequence[Line]) -> str:
    """Where the numbers of a table are from, in one line."""
    pictures = dict.fromkeys(
        f"{line['count']:,} {line['split']} pictures of {contents.data_name(line)}" for line in lines
    )
    return printable(f"{'; '.join(pictures)}. Measured: {', '.join(contents.metrics_of(lines))}.")


CSV_HEAD = ["run", "who", "data", "split", "direction", "step", "pictures"]
MARKDOWN_MARK = "<!-- by diptych report --table -->\n\n"
LATEX_MARK = "% by diptych report --table; needs \\usepackage{booktabs}\n"
FORMATS: dict[str, tuple[str, Callable[[Sequence[Line]], str]]] = {
    ".md": (MARKDOWN_MARK, _markdown),
    ".tex": (LATEX_MARK, _latex),
    ".csv": (",".join(CSV_HEAD), _csv),
}
"""For each suffix: how such a file begins, and what is in it."""
