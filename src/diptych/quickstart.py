"""From nothing to a page in minutes: pix2pix on the built-in emoji."""

import shlex
from pathlib import Path
from typing import Any

from rich.console import Console

from diptych.data.builtin import emoji
from diptych.evaluate import evaluate
from diptych.progress import say
from diptych.report import report
from diptych.train import train

METRICS = ("l1", "psnr", "ssim")  # the FCN score would cost minutes more, LPIPS a download
SETTINGS: dict[str, Any] = {
    "size": 128,
    "steps": 1000,
    "sample_every": 50,
    "validate_every": 100,
    "method": {"width": 24, "adversarial": "hinge", "upsampling": "resize"},
}


def quickstart(*, out: Path | str = Path("quickstart"), console: Console | None = None) -> Path:
    """Writes the emoji to `out/emoji`, trains in `out/pix2pix`, measures, draws the report and returns its path.

    The same call again continues what was interrupted.

    Args:
        out: The folder for the pictures and the run.
    """
    console = console or Console()
    data, run = Path(out, "emoji"), Path(out, "pix2pix")
    say(console, f"{data}: writing the built-in emoji, flat drawings beside 3D renderings")
    emoji.write(data)
    train("pix2pix", data=data, out=run, console=console, **SETTINGS)
    if not (run / "metrics.jsonl").exists():
        evaluate(run, data=data, names=METRICS, baselines=True)
    page = report(run)
    drawing, model = sorted((run / "results/val/input").iterdir())[0], shlex.quote(str(run))
    say(console, f"the report: {page.resolve().as_uri()}")
    say(console, f"a picture through the model: diptych translate {model} {shlex.quote(str(drawing))} --out 3d.png")
    say(console, f"a page that runs the model in a browser: diptych export {model} --out page.html")
    say(console, "your own pictures: diptych data inspect FOLDER says what is in it, and how to train on it")
    return page
