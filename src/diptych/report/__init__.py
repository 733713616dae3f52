"""Create the HTML report of a run, or a comparison of several runs.

A page is one file that works from disk without network. It links images by relative addresses, so that its folder can be
moved, zipped and sent.
"""

from pathlib import Path

from rich.console import Console

from diptych.progress import say
from diptych.report import comparison, contents, page, templates
from diptych.training.run import Run

__all__ = ["comparison", "contents", "page", "report", "templates"]


def report(*runs: Path | str, out: Path | str | None = None, console: Console | None = None) -> Path:
    """Draws `index.html` from what is there by now, and returns its path: of one run in its folder, of several in `out`.

    May be called at any time, also while the training runs or before anything was measured. For several runs the pictures
    on the page are copied, so that `out` is all that it needs. What is not as Diptych writes it, or lies outside the run, is
    left out, which a line says. Raises a `ValueError` when one of `runs` is not a run or is given twice, and when `out` is
    missing, not wanted, or neither vacant nor an earlier comparison.

    Args:
        runs: The folder of a run, or of several.
        out: The folder for the comparison of several runs.
    """
    if not runs:
        raise ValueError("no run to draw a page of; give the folder of one, or of several with --out DIR")
    if len(runs) == 1 and out is not None:
        raise ValueError(
            f"--out {out}: the page of one run is drawn in its folder, {runs[0]}; leave --out out, or add runs"
        )
    if len(runs) > 1 and out is None:
        raise ValueError(f"{len(runs)} runs make a comparison, which needs a folder of its own; add --out DIR")
    opened, notes = [Run.open(Path(run)) for run in runs], list[str]()
    drawn = page.draw(opened[0], notes) if out is None else comparison.draw(opened, Path(out), notes)
    for note in dict.fromkeys(notes):
        say(console or Console(stderr=True), note)
    return drawn
