"""Runs campaigns and prints one table; the exit status is 1 when there is a fault.

python -m tests.campaigns [NAMES...] [--seed TEXT] [--count N] [--seconds N] [--keep DIR] [--case NUMBER] [--processes N]
"""

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree

from rich.console import Console
from rich.table import Table

from .harness import KINDS, Lane, Result, again, campaign_of, first_words, keep

FILES = ("pictures", "arrays", "records", "idx", "models", "networks", "recipes", "folders")
PROCESSES = ("kills", "signals", "disks", "disturbances", "environments", "giants")
NAMES = (*FILES, *PROCESSES)
HEADINGS = {
    "traceback": "tracebacks",
    "hang": "hangs",
    "death": "deaths",
    "memory": "memory",
    "files": "files",
    "terminal": "own lines",
    "wrong": "wrong",
}


@dataclass
class Tally:
    """The results of a campaign so far."""

    done: int = 0
    opened: int = 0
    refused: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    slowest: float = 0
    largest: int = 0

    def add(self, result: Result) -> None:
        """Counts a case; each kind of fault once."""
        kinds = {fault.kind for fault in result.faults}
        self.done += 1
        self.opened += result.opened
        self.refused += not (result.opened or kinds & {"traceback", "hang", "death"})
        self.faults.update(kinds)
        self.slowest, self.largest = max(self.slowest, result.seconds), max(self.largest, result.mib)

    def row(self) -> list[str]:
        """As the table shows it."""
        counts = [self.done, self.opened, self.refused, *(self.faults[kind] for kind in KINDS)]
        return [*map(str, counts), f"{self.slowest:.1f}", str(self.largest)]


def arguments() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--seed", default="1", help="a text or a number, such as the name of a commit")
    parser.add_argument("--count", type=int, help="cases of each campaign; by default as many as the full one has")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of each campaign, at most")
    parser.add_argument("--keep", type=Path, help="the folder for the files of cases with a fault")
    parser.add_argument("--case", type=int, help="try this case alone")
    parser.add_argument("--processes", type=int, default=1, help="workers")
    given = parser.parse_args()
    if unknown := set(given.names) - {*NAMES, "trial"}:
        parser.error(f"no campaign is called {', '.join(sorted(unknown))}")
    return given


def run(name: str, given: argparse.Namespace, folder: Path, console: Console) -> Tally:
    """Runs one campaign."""
    tally, lock = Tally(), threading.Lock()
    count = campaign_of(name).count if given.count is None else given.count
    numbers: Iterator[int] = iter(range(count) if given.case is None else [given.case])
    end = time.monotonic() + given.seconds

    def lane_of(number: int) -> None:
        lane = Lane(name, given.seed, work / str(number), work / "shared")
        started.set()
        try:
            while time.monotonic() < end:
                with lock:
                    case = next(numbers, None)
                if case is None:
                    break
                result = lane.attempt(case)
                with lock:
                    tally.add(result)
                    if result.faults:
                        show(lane, result)
        finally:
            lane.stop()

    def show(lane: Lane, result: Result) -> None:
        kept = keep(lane, result, folder)
        console.print(
            f"{name} {result.number}: {result.title}: {first_words(result.faults)}", markup=False, style="red"
        )
        console.print(f"    again: {again(lane, result)}; its files: {kept}", markup=False)

    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}-") as beside, ThreadPoolExecutor() as pool:
        work, started = Path(beside), threading.Event()
        lanes = [pool.submit(lane_of, 0)]
        while not (started.wait(0.2) or lanes[0].done()):  # the first one prepares what all use
            pass
        lanes += [pool.submit(lane_of, number) for number in range(1, given.processes)]
        for lane in lanes:
            lane.result()
    return tally


def main() -> None:
    """Runs what was asked for."""
    given, console = arguments(), Console(soft_wrap=True, width=200)
    folder = given.keep or Path(tempfile.mkdtemp(prefix="campaigns-"))
    folder.mkdir(parents=True, exist_ok=True)
    headings = [
        "campaign",
        "done",
        "opened",
        "refused",
        *map(HEADINGS.__getitem__, KINDS),
        "slowest, s",
        "MiB",
    ]
    table, found = Table(*headings, title=f"seed {given.seed}"), False
    for name in given.names or NAMES:
        tally = run(name, given, folder.absolute(), console)
        table.add_row(name, *tally.row())
        found |= bool(tally.faults)
    console.print(table)
    if found:
        console.print(f"the files of the cases with a fault: {folder}", markup=False)
    elif not given.keep:
        rmtree(folder)
    sys.exit(found)


if __name__ == "__main__":
    main()
