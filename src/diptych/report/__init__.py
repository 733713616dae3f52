"""Create the HTML report of a run, or a comparison of several runs.

A page is one file that works from disk without network. It links images by relative addresses, so that its folder can be
moved, zipped and sent.
"""

from pathlib import Path

from rich.console import Console

from diptych.progress import say
from diptych.report import comparison, contents, page, tables, templates
from diptych.training.run import Run

__all__ = ["comparison", "contents", "page", "report", "tables", "templates"]


def report(
    *runs: Path | str, out: Path | str | None = None, table: Path | str | None = None, console: Console | None = None
) -> Path:
    """Draws `index.html` from what is there by now, and returns its path: of one run in its folder, of several in `out`.

    May be called at any time, also while the training runs or before anything was measured. For several runs the pictures
    on the page are copied, so that `out` is all that it needs. What is not as Diptych writes it, or lies outside the run, is
    left out, which a line says. Raises a `ValueError` when one of `runs` is not a run or is given twice, and when `out` is
    missing, not wanted, or neither vacant nor an earlier comparison.

    Args:
        runs: The folder of a run, or of several, or a folder that holds runs.
        out: The folder for the comparison of several runs.
        table: In place of a page: a file for the numbers of the runs, as Markdown (.md), LaTeX (.tex) or CSV (.csv).
    """
    opened, notes = [Run.open(run) for path in runs for run in _runs_at(Path(path))], list[str]()
    if not opened:
        raise ValueError("no run to draw a page of; give the folder of one, or of several with --out DIR")
    if table is not None and out is not None:
        raise ValueError("--table writes a file in place of a page; leave --out or --table out")
    if table is not None:
        drawn = tables.write(opened, Path(table), notes)
    elif out is None:
        if len(opened) > 1:
            raise ValueError(f"{len(opened)} runs make a comparison, which needs a folder of its own; add --out DIR")
        drawn = page.draw(opened[0], notes)
    else:
        if len(opened) == 1:
            raise ValueError(
                f"--out {out}: the page of one run is drawn in its folder, {opened[0].path}; give no --out, or more runs"
            )
        drawn = comparison.draw(opened, Path(out), notes)
    for note in dict.fromkeys(notes):
        say(console or Console(stderr=True), note)
    return drawn


def _runs_at(path: Path) -> list[Path]:
    """A run, or the runs in a folder that is none, in the order of their names."""
    if (path / "settings.toml").exists() or not path.is_dir():
        return [path]
    return sorted(file.parent for file in path.glob("*/settings.toml")) or [path]
