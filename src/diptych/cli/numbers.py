"""What `diptych evaluate` prints: tables with a row for each metric, and a column for each who was measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
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
            _show_tables(of_way, names, title, console)
        else:
            say(console, f"{title}: translated, and nothing measured")


def _show_tables(lines: Sequence[Line], names: Sequence[str], title: str, console: Console) -> None:
    """A table for each protocol, which stands above it."""
    of_protocol: dict[str, list[str]] = {}
    for name in names:
        of_protocol.setdefault(name.partition("/")[2], []).append(name)
    say(console, title)
    for protocol, together in of_protocol.items():
        measured = [line for line in lines if any(name in line["metrics"] for name in together)]
        console.print()
        say(console, protocol)
        table = Table(Column(no_wrap=True), *(line["who"] for line in measured), box=None)
        for name in together:
            table.add_row(name.partition("/")[0], *(_number(line, name) for line in measured))
        console.print(table)


def _number(line: Line, name: str) -> str:
    if name not in line["metrics"]:
        return ""
    error = line.get("standard-error", {}).get(name)
    return _short(line["metrics"][name]) + (f" ± {_short(error)}" if error is not None else "")


def _short(value: float) -> str:
    """Four places, or three digits of what is too small for them.

    >>> _short(12.345678), _short(0.000012345), _short(0.0)
    ('12.3457', '1.23e-05', '0.0000')
    """
    return f"{value:.3g}" if 0 < abs(value) < 0.01 else f"{value:.4f}"
