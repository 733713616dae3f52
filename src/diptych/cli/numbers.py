"""What `diptych evaluate` prints: a table for each way, a row for each metric, a column for each who was measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from diptych.progress import say

Line = Mapping[str, Any]


def show(lines: Sequence[Line], of: str, console: Console) -> None:
    """Prints the lines that an evaluation gave, of this run or these folders."""
    for way in dict.fromkeys(line.get("direction") for line in lines):
        of_way = [line for line in lines if line.get("direction") == way]
        first = of_way[0]
        step = f" at step {first['step']}" if "step" in first else ""
        split = f" {first['split']}" if "split" in first else ""
        title = f"{of}{step}{f', {way}' if way else ''}, {first['count']}{split} pictures"
        names = list(dict.fromkeys(name for line in of_way for name in line["metrics"]))
        if names:
            _show_table(of_way, names, title, console)
        else:
            say(console, f"{title}: translated, and nothing measured")


def _show_table(lines: Sequence[Line], names: Sequence[str], title: str, console: Console) -> None:
    behind = {name.partition("/")[2] for name in names}
    alike = f", {behind.pop()}" if len(behind) == 1 else ""
    table = Table(
        Column(no_wrap=True),
        *(line["who"] for line in lines),
        box=None,
        title=escape(f"{title}{alike}"),
        title_justify="left",
    )
    for name in names:
        table.add_row(name.partition("/")[0] if alike else name, *(_number(line, name) for line in lines))
    console.print(table)


def _number(line: Line, name: str) -> str:
    if name not in line["metrics"]:
        return ""
    error = line.get("standard-error", {}).get(name)
    return f"{line['metrics'][name]:.4f}" + (f" ± {error:.4f}" if error is not None else "")
