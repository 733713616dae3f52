"""Create the HTML report of a run, or a comparison of several runs.

A page is one file that works from disk without network. It links images by relative addresses, so that its folder can be
moved, zipped and sent.
"""

from pathlib import Path

from diptych.report import comparison, contents, page, templates
from diptych.training.run import Run

__all__ = ["comparison", "contents", "page", "report", "templates"]


def report(*runs: Path | str, out: Path | str | None = None) -> Path:
    """Writes `index.html` from the present state of the runs, and returns its path: in a single run, or of several in `out`.

    It can be called at any time, also during training or before an evaluation. A comparison has copies of its images, so
    that the folder `out` is complete; `out` must not exist, or be an earlier comparison. Raises a `ValueError` if one of
    `runs` is no run, if one is given twice, if `out` is missing for several runs or given for one, and if `out` has other
    content.
    """
    if not runs:
        raise ValueError("no run to draw a page of; give the folder of one, or of several with --out DIR")
    if len(runs) == 1 and out is not None:
        raise ValueError(
            f"--out {out}: the page of one run is drawn in its folder, {runs[0]}; leave --out out, or add runs"
        )
    if len(runs) > 1 and out is None:
        raise ValueError(f"{len(runs)} runs make a comparison, which needs a folder of its own; add --out DIR")
    opened = [Run.open(Path(run)) for run in runs]
    return page.draw(opened[0]) if out is None else comparison.draw(opened, Path(out))
