"""From nothing to a page in minutes: pix2pix on the built-in facades."""

import shlex
from pathlib import Path

from rich.console import Console

from diptych.data import facades
from diptych.evaluate import evaluate
from diptych.report import report
from diptych.run import Run
from diptych.train import train

SETTINGS = {"direction": "BtoA", "size": 128, "steps": 1000, "sample_every": 50, "method": {"width": 24}}


def quickstart(out: Path, console: Console | None = None) -> Path:
    """Writes the facades to `out/facades`, trains in `out/run`, measures, draws the report; gives the report's path.

    The same call again continues what was interrupted.
    """
    console = console or Console()
    data, run = out / "facades", out / "run"
    console.print(f"{data}: drawing the built-in facades", highlight=False)
    facades.write(data)
    train("pix2pix", data=data, out=run, console=console, **SETTINGS)
    if not (run / "metrics.jsonl").exists():
        evaluate(run, data=data, baselines=True)
    page = report(run)
    labels = next((Run.open(run).path / "results/val/input").iterdir())
    console.print(f"the report: {page.resolve()}", style="bold", highlight=False, soft_wrap=True)
    console.print(f"try: diptych translate {shlex.quote(str(run))} {shlex.quote(str(labels))} --out photo.png",
                  highlight=False, soft_wrap=True)
    return page
