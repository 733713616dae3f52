"""Output paths. A user's files are never overwritten: neither inputs nor existing files."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from diptych.data import shards
from diptych.data.paths import list_pictures
from diptych.data.sides import no_images
from diptych.images.files import ARRAY, FORMATS, READ_ONLY, SUFFIXES, require_writable_suffix
from diptych.images.remarks import WRITTEN_AS_PNG, note

Job = tuple[Path, Path]


def plan(
    inputs: Sequence[Path], out: Path, overwrite: bool, suffix: str | None = None, format: str | None = None
) -> list[Job]:
    """One file to the file `out`, anything else into the folder `out`; a `ValueError` when something would be lost.

    A picture in the folder `out` keeps its suffix, or gets another one, of the `format` that a person asked for if any.
    """
    if len(inputs) == 1 and not inputs[0].is_dir() and not out.is_dir() and out.suffix:
        _require_exists(inputs[0])
        require_writable_suffix(out)
        if format and FORMATS[f".{format}"] != FORMATS.get(out.suffix.lower()):
            raise ValueError(f"--format {format}: --out {out} says another one; leave --format out")
        jobs = [(inputs[0], out)]
    else:
        if out.suffix.lower() in (*SUFFIXES, ARRAY) and not out.is_dir():
            given = f"{len(inputs)} inputs" if len(inputs) > 1 else f"the folder {inputs[0]}"
            raise ValueError(f"{out}: is the name of one picture, and {given} would go there; give a folder as --out")
        jobs = plan_folder(inputs, out, f".{format}" if format else suffix)
    require_no_input(jobs)
    require_free([target for _, target in jobs], overwrite)
    return jobs


def plan_shards(inputs: Sequence[Path], out: Path, overwrite: bool) -> list[Job]:
    """Each tar file of the inputs to one of its name in the folder `out`, or one to the file `out`.

    Empty where the inputs are none; a `ValueError` where only some are, or when something would be lost.
    """
    found = [(place, shards.below(place)) for place in inputs]
    if not any(tars for _, tars in found):
        return []
    if other := next((place for place, tars in found if not tars), None):
        raise ValueError(f"{other}: holds no tar files, and other inputs do; translate each kind by itself")
    jobs = [(Path(tar), out / name) for _, tars in found for tar, name in tars.items()]
    if len(jobs) == 1 and out.suffix.lower() == shards.TAR:
        jobs = [(jobs[0][0], out)]
    if twice := next((target for target, count in Counter(target for _, target in jobs).items() if count > 1), None):
        raise ValueError(f"{twice}: two of the inputs would be written to it; use different folders, or rename one")
    require_no_input(jobs)
    require_free([target for _, target in jobs], overwrite)
    return jobs


def plan_folder(inputs: Sequence[Path], out: Path, suffix: str | None = None) -> list[Job]:
    """Everything into the folder `out`: a picture keeps its path below its folder, or gets another `suffix`.

    One of a format that is only read becomes a PNG, which is noted as a remark.

    Raises a `ValueError` when there are no pictures, or when two would be written to one path.
    """
    jobs: list[Job] = []
    for path in inputs:
        _require_exists(path)
        if path.is_dir():
            jobs += [(file, out / file.relative_to(path)) for file in pictures_below(path)]
        else:
            if path.suffix.lower() not in READ_ONLY:
                require_writable_suffix(path)
            jobs.append((path, out / path.name))
    for number, (source, target) in enumerate(jobs):
        if suffix:
            jobs[number] = source, target.with_suffix(suffix)
        elif target.suffix.lower() not in (*FORMATS, ARRAY):
            note(str(source), WRITTEN_AS_PNG)
            jobs[number] = source, target.with_suffix(".png")
    targets = Counter(target for _, target in jobs)
    if collisions := [target for target, count in targets.items() if count > 1]:
        twice, more = collisions[0], f" (and {len(collisions) - 1} more such cases)" if len(collisions) > 1 else ""
        first, second, *_ = (source for source, target in jobs if target == twice)
        raise ValueError(
            f"{twice}: {first} and {second} would both be written to it{more}; use different folders, or rename one"
        )
    return jobs


def require_free(targets: Sequence[Path], overwrite: bool) -> None:
    """Raises a `ValueError` when one of the files exists and may not be overwritten, or cannot exist."""
    for folder in {target.parent for target in targets}:
        existing_parent = next(path for path in (folder, *folder.parents) if path.exists())
        if not existing_parent.is_dir():
            raise ValueError(f"{existing_parent}: is a file, and the results would lie below it; choose another --out")
    existing = [target for target in targets if os.path.lexists(target)]
    if existing and not overwrite:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        raise ValueError(f"{existing[0]}{more}: exists already; choose another --out or add --overwrite")


def require_no_input(jobs: Sequence[Job]) -> None:
    """Raises a `ValueError` when an output is also an input, by whichever of its names."""
    sources = {_identity(source) for source, _ in jobs}
    if own := next((target for _, target in jobs if _identity(target) in sources), None):
        raise ValueError(f"{own}: is one of the inputs, which are never overwritten; choose another --out")


def _identity(path: Path) -> tuple[int, int] | str:
    """The same for two names of a file: links of both kinds, and names where the case makes no difference."""
    try:
        found = path.stat()
    except OSError:
        return os.path.realpath(path)  # unlike Path.resolve, it accepts circular links
    return found.st_dev, found.st_ino


def pictures_below(folder: Path) -> list[Path]:
    """The pictures in a folder; a `ValueError` when there are none."""
    found = list_pictures(folder)
    if not found:
        raise no_images(folder)
    return found


def _require_exists(path: Path) -> None:
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
