"""Which picture goes where. What a person owns is never an output: not an input, not a file that is there already."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from diptych.data.layouts import list_pictures
from diptych.images.files import SUFFIXES, require_writable_suffix

Job = tuple[Path, Path]


def plan(inputs: Sequence[Path], out: Path, overwrite: bool) -> list[Job]:
    """One file to the file `out`, anything else into the folder `out`; a `ValueError` when something would be lost."""
    if len(inputs) == 1 and not inputs[0].is_dir() and not out.is_dir() and out.suffix:
        _require_there(inputs[0])
        require_writable_suffix(out)
        jobs = [(inputs[0], out)]
    else:
        jobs = plan_folder(inputs, out)
    require_no_input(jobs)
    require_free([target for _, target in jobs], overwrite)
    return jobs


def plan_folder(inputs: Sequence[Path], out: Path, suffix: str | None = None) -> list[Job]:
    """Everything into the folder `out`: a picture keeps its place and name below its folder, or gets another `suffix`.

    Raises a `ValueError` when there are no pictures, or when two would be written to one place.
    """
    jobs: list[Job] = []
    for path in inputs:
        _require_there(path)
        if path.is_dir():
            jobs += [(file, out / file.relative_to(path)) for file in pictures_below(path)]
        else:
            require_writable_suffix(path)
            jobs.append((path, out / path.name))
    if suffix:
        jobs = [(source, target.with_suffix(suffix)) for source, target in jobs]
    targets = Counter(target for _, target in jobs)
    if crowded := [target for target, count in targets.items() if count > 1]:
        twice, more = crowded[0], f" (and {len(crowded) - 1} more such cases)" if len(crowded) > 1 else ""
        first, second, *_ = (source for source, target in jobs if target == twice)
        raise ValueError(
            f"{twice}: {first} and {second} would both be written to it{more}; use different folders, or rename one"
        )
    return jobs


def require_free(targets: Sequence[Path], overwrite: bool) -> None:
    """Raises a `ValueError` when one of the files is there already and may not be written over, or cannot be there."""
    for folder in {target.parent for target in targets}:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if not there.is_dir():
            raise ValueError(f"{there}: is a file, and the results would lie below it; choose another --out")
    existing = [target for target in targets if target.exists()]
    if existing and not overwrite:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        raise ValueError(f"{existing[0]}{more}: exists already; choose another --out or add --overwrite")


def require_no_input(jobs: Sequence[Job]) -> None:
    """Raises a `ValueError` when a picture would be written over one that is read."""
    sources = {
        os.path.realpath(source) for source, _ in jobs
    }  # unlike Path.resolve, it bears links that lead in circles
    if own := next((target for _, target in jobs if os.path.realpath(target) in sources), None):
        raise ValueError(f"{own}: is one of the inputs, which are never overwritten; choose another --out")


def pictures_below(folder: Path) -> list[Path]:
    """The pictures in a folder; a `ValueError` when there are none."""
    found = list_pictures(folder)
    if not found:
        raise ValueError(f"{folder}: no pictures found ({', '.join(SUFFIXES)})")
    return found


def _require_there(path: Path) -> None:
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
