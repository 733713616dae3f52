"""Writes docs/results.md from results.template.md and what was measured, so that no number in it is typed by hand.

    python benchmarks/results.py                             from the records in docs/measured
    python benchmarks/results.py --runs runs .               first takes the records of the runs below these folders
    python benchmarks/results.py --benchmarks [NAME ...]     first runs the benchmarks, all of them or those named

Both flags together make all of it anew. The template names what it wants where it stands in the text:

    {{ measured("maps-128") }}                               a run: what was set, how long it took, its numbers
    {{ value("maps-128", "model", "psnr", "AtoB") }}         one of these numbers, for a sentence
    {{ output("start_up", "python benchmarks/start_up.py") }}    what a command printed

A run is known by its folder, runs/maps-128 below `--runs runs`. What no longer lies there keeps the record it has.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from diptych.metrics import better
from diptych.report.contents import described, mark_best, metrics_of, not_measured, progress
from diptych.training.run import Run, read_json_lines
from diptych.training.settings import MAY_CHANGE, settings_from

ROOT = Path(__file__).parents[1]
TEMPLATE, PAGE, RECORDS = ROOT / "benchmarks/results.template.md", ROOT / "docs/results.md", ROOT / "docs/measured"

Line = dict[str, Any]
"""A line of metrics.jsonl."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", default=[], metavar="DIR", help="folders that hold runs")
    parser.add_argument("--benchmarks", nargs="*", metavar="NAME", help="as the template calls them; all without names")
    given = parser.parse_args()
    wanted = Page(TEMPLATE, RECORDS)
    if given.runs:
        for name in wanted.runs:
            print(f"{name}: {take(name, given.runs, RECORDS)}")
    if given.benchmarks is not None:
        for name in given.benchmarks or wanted.benchmarks:
            if name not in wanted.benchmarks:
                parser.error(f"--benchmarks {name}: {TEMPLATE.name} has {', '.join(wanted.benchmarks)}")
            print(f"{name}: {wanted.benchmarks[name]}", flush=True)
            run_benchmark(name, wanted.benchmarks[name], RECORDS)
    page = Page(TEMPLATE, RECORDS)
    PAGE.write_text(page.text, encoding="utf-8")
    print(f"{PAGE.name}: written; not recorded: {', '.join(page.missing) or 'nothing'}")


# ---- records


def take(name: str, folders: Sequence[Path], records: Path) -> str:
    """Keeps what is to be told of the run `name` below one of `folders`; says what came of it."""
    found = next((folder / name for folder in folders if (folder / name / "settings.toml").exists()), None)
    if found is None:
        return "in none of the folders; a record that there is stays"
    run = Run.open(found)
    early = {"direction": run.settings.direction}  # early lines do not tell it
    lines = newest([early | line for line in read_json_lines(found / "metrics.jsonl")])
    if not lines:
        return f"{found} is not evaluated; a record that there is stays"
    about = run_table(found)
    for line in lines:  # why is enough: what to do about it is told where one evaluates
        if "not-measured" in line:
            line["not-measured"] = {name: why.partition(";")[0] for name, why in line["not-measured"].items()}
    last = run.read_log()[-1]
    record = {
        "method": run.method,
        "command": about["command"],
        "found": about["found"],
        "versions": about["versions"],
        "settings": unusual(run),
        "log": {"step": last["step"], "seconds": last["seconds"]},
        "evaluated": lines,
    }
    path = records / "runs" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(without_folders(json.dumps(record, indent=1, ensure_ascii=False)) + "\n", encoding="utf-8")
    return f"taken from {found}, evaluated {lines[-1]['time']}"


def run_table(folder: Path) -> dict[str, Any]:
    """The command, the data and the versions of a run."""
    table: dict[str, Any] = tomllib.loads((folder / "settings.toml").read_text(encoding="utf-8"))["run"]
    return table


def newest(lines: Sequence[Line]) -> list[Line]:
    """The lines of the last evaluation: the last ones of one command, among which nobody is measured twice."""
    found = dict[tuple[Any, ...], Line]()
    for line in reversed(lines):
        key = line["split"], line["direction"], line["who"]
        if key in found or line["command"] != lines[-1]["command"]:
            break
        found[key] = line
    return list(found.values())[::-1]


def unusual(run: Run) -> dict[str, Any]:
    """The settings that decide what is learnt and are not as they come."""
    usual = settings_from(run.method, {})
    resolved = usual.method.resolved(run.settings.steps, run.settings.size)
    usual = usual.model_copy(update={"method": resolved})
    values = {name: value for name, value, _ in described(Run(run.path, run.method, usual, run.data_paths))}
    return {name: value for name, value, _ in described(run) if value != values[name] and name not in MAY_CHANGE}


ABSOLUTE = re.compile(r"""(?<![\w.~:/])/[^\s,;:'"\\]+""")


def without_folders(text: str) -> str:
    """The same without the folders of this machine: a path is told from the project on, or by its last name."""

    def told(found: re.Match[str]) -> str:
        near = os.path.relpath(found[0], ROOT)
        return Path(found[0]).name if near.startswith("../../") else near

    return ABSOLUTE.sub(told, text)


def run_benchmark(name: str, command: str, records: Path) -> None:
    """Runs it in the project's folder and keeps what it prints."""
    program, *arguments = shlex.split(command)
    assert program == "python", command
    printed = subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    path = records / "benchmarks" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"$ {command}\n{printed.stdout}", encoding="utf-8")


# ---- the page


class Page:
    """The rendered template: its `text`, the `runs` and `benchmarks` (name: command) that it names, and those `missing`."""

    def __init__(self, template: Path, records: Path) -> None:
        self.records = records
        self.runs: list[str] = []
        self.benchmarks: dict[str, str] = {}
        self.missing: list[str] = []
        pages = Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
        pages.globals |= {"measured": self._measured, "value": self._value, "output": self._output}
        self.text = pages.from_string(template.read_text(encoding="utf-8")).render()

    def _record(self, run: str) -> dict[str, Any] | None:
        if run not in self.runs:
            self.runs.append(run)
        path = self.records / "runs" / f"{run}.json"
        if path.exists():
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return record
        self._miss(run)
        return None

    def _miss(self, name: str) -> None:
        if name not in self.missing:
            self.missing.append(name)

    def _measured(self, run: str) -> str:
        record = self._record(run)
        if record is None:
            return (
                f"*Nothing is recorded of `{run}`: train and evaluate it as above, then "
                "`python benchmarks/results.py --runs DIR`, with the folder in which it lies.*"
            )
        lines: list[Line] = record["evaluated"]
        mark_best(lines)
        ways = list(dict.fromkeys(line["direction"] for line in lines))
        parts = [described_run(record)]
        for way in ways:
            of_way = [line for line in lines if line["direction"] == way]
            parts.append(table(of_way, way if len(ways) > 1 else ""))
        why: dict[str, list[str]] = {}
        for name, reason in not_measured(lines):
            why.setdefault(reason, []).append(name)
        parts += [f"Not measured: {', '.join(names)}: {reason}" for reason, names in why.items()]
        return "\n\n".join(parts)

    def _value(self, run: str, who: str, metric: str, direction: str | None = None) -> str:
        record = self._record(run)
        found = [
            value
            for line in (record or {"evaluated": []})["evaluated"]
            for name, value in line["metrics"].items()
            if line["who"] == who and name.partition("/")[0] == metric and direction in (None, line["direction"])
        ]
        if not found:
            self._miss(f"{metric} of {who} in {run}")
            return "(not recorded)"
        [value] = found
        return short(value)

    def _output(self, name: str, command: str) -> str:
        self.benchmarks[name] = command
        path = self.records / "benchmarks" / f"{name}.txt"
        printed = path.read_text(encoding="utf-8") if path.exists() else ""
        if not printed.startswith(f"$ {command}\n"):  # of other flags it says nothing
            self._miss(name)
            return f"*Nothing is recorded of `{command}`: `python benchmarks/results.py --benchmarks {name}`.*"
        return f"```\n{printed.rstrip()}\n```"


def described_run(record: dict[str, Any]) -> str:
    """What was set, how long it took, with what, and how it was measured."""
    step, time = progress([record["log"]])
    settings = ", ".join(f"{name} {value}" for name, value in record["settings"].items())
    last = record["evaluated"][-1]
    return (
        f"{step:,} steps in {time} by the run's log, with torch {record['versions']['torch']}. Other than by default: "
        f"{settings or 'nothing'}. Measured on {last['time'][:10]} by `{last['command']}`."
    )


def table(lines: Sequence[Line], way: str) -> str:
    """A row for each metric, a column for each who was measured; what is the same in all is said once, above."""
    names = metrics_of(lines)
    columns = zip(*(name.split("/")[:0:-1] for name in names), strict=False)  # the last parts, those before them, ...
    alike = [column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns)]
    behind = "".join(f"/{part}" for part in reversed(alike))
    counts = list(dict.fromkeys(f"{line['count']:,} {line['split']}" for line in lines))
    heads = [
        who(line, lines[0]) + (f" ({line['count']:,} {line['split']})" if len(counts) > 1 else "") for line in lines
    ]
    title = [way, f"{counts[0]} pictures" if len(counts) == 1 else "", f"`…{behind}`" if behind else ""]
    arrows = {1: " ↑", -1: " ↓", 0: ""}
    return "\n".join(
        [
            f"{', '.join(part for part in title if part)}:",
            "",
            f"| | {' | '.join(heads)} |",
            f"|---|{'---|' * len(heads)}",
            *(
                f"| {name.removesuffix(behind)}{arrows[better(name)]} | {' | '.join(cell(line, name) for line in lines)} |"
                for name in names
            ),
        ]
    )


def who(line: Line, model: Line) -> str:
    """Who was measured; of a model also after which step."""
    is_model = line["who"] == model["who"] or line["step"] != model["step"]
    return f"{line['who']}, step {line['step']:,}" if is_model else str(line["who"])


def cell(line: Line, name: str) -> str:
    if name not in line["metrics"]:
        return ""
    value = short(line["metrics"][name])
    error = line.get("standard-error", {}).get(name)
    return (f"**{value}**" if name in line["best"] else value) + (f" ± {error:.2g}" if error is not None else "")


def short(value: float) -> str:
    return f"{value:#.4g}"


if __name__ == "__main__":
    main()
