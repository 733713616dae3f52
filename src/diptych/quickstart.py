"""From nothing to a page in minutes: pix2pix on the built-in facades."""

import shlex
from pathlib import Path
from typing import Any

from rich.console import Console

from diptych.data.builtin import facades
from diptych.evaluate import evaluate
from diptych.progress import say
from diptych.report import report
from diptych.train import train
from diptych.training.run import Run

METRICS = ("l1", "psnr", "ssim")  # the FCN score would cost minutes more, LPIPS a download
SETTINGS: dict[str, Any] = {
    "direction": "BtoA",
    "size": 128,
    "steps": 1000,
    "sample_every": 50,
    "validate_every": 100,
    "method": {"width": 24},
}


def quickstart(*, out: Path | str = Path("quickstart"), console: Console | None = None) -> Path:
    """Writes the facades to `out/facades`, trains in `out/pix2pix`, measures, draws the report and returns its path.

    The same call again continues what was interrupted.

    Args:
        out: The folder for the pictures and the run.
    """
    console = console or Console()
    data, run = Path(out, "facades"), Path(out, "pix2pix")
    say(console, f"{data}: drawing the built-in facades")
    facades.write(data)
    train("pix2pix", data=data, out=run, console=console, **SETTINGS)
    if not (run / "metrics.jsonl").exists():
        evaluate(run, data=data, names=METRICS, baselines=True)
    page = report(run)
    labels = next((Run.open(run).path / "results/val/input").iterdir())
    say(console, f"the report: {page.resolve()}")
    say(console, f"try: diptych translate {shlex.quote(str(run))} {shlex.quote(str(labels))} --out photo.png")
    return page
