"""Several runs on one page, in a folder that has all it needs."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from diptych.data.partners import canonical
from diptych.files import OwnedFolder, atomic_file, is_plain, require_file, require_no_link
from diptych.images.files import decode_bytes
from diptych.report import contents, page
from diptych.report.templates import draw as draw_template
from diptych.report.templates import require_page
from diptych.training.run import Run

MARKER = "diptych-comparison.json"
"""Says of a folder that it is a comparison, which may be drawn again."""

FOREIGN = "exists and is no comparison drawn earlier; choose another --out"

SHEETS = 8  # sample sheets of each run
RESULTS = 12  # pictures of each split
LARGEST = 2**28  # bytes of a picture
PNG = b"\x89PNG\r\n\x1a\n"
POINTS = 1000  # of a curve: there are as many curves in a chart as there are runs

Item = TypeVar("Item")


def draw(runs: Sequence[Run], out: Path, notes: list[str]) -> Path:
    """Draws `index.html` in `out`, with copies of the pictures that it shows, and gives its path.

    `notes` gets what is left out. Raises a `ValueError` when a run is given twice, or what is at `out` is no comparison.
    """
    labels = list(labelled([run.path for run in runs]))
    folder = OwnedFolder(out, {}, MARKER)
    folder.require_ours(FOREIGN)
    require_no_link(out / "pictures")
    require_page(out / "index.html")
    pictures = _Pictures()
    logs = [run.read_log(notes) for run in runs]
    lines = lines_of(runs, notes)
    different, same = _settings(runs)
    heads = [page.about(run, log) for run, log in zip(runs, logs, strict=True)]
    samples = [
        [
            [step, pictures.take(run.path / "samples" / name)]
            for step, name in _spread(contents.samples(run.path, notes), SHEETS)
        ]
        for run in runs
    ]
    results = list(_results(runs, pictures, notes))
    curves = contents.charts(logs, POINTS)
    metrics = [name for split in results for one in split["pictures"] for _, name, _ in one["metrics"]]
    folder.claim(FOREIGN, runs=labels)
    pictures.write_missing(out / "pictures")
    drawn = draw_template(
        "comparison.html",
        out / "index.html",
        labels=labels,
        runs=heads,
        sides=[head["sides"] for head in heads],
        drawn=page.now(),
        different=different,
        same=same,
        tables=[(contents.data_name(table[0]), table) for table in comparable(lines)],
        not_measured=contents.not_measured(lines),
        data={
            "titles": contents.titles([*contents.validated(curves), *metrics]),
            "curves": curves,
            "runs": [
                {"label": label, "best": head["best"], "steps": run.settings.steps}
                for label, head, run in zip(labels, heads, runs, strict=True)
            ],
            "samples": samples,
            "results": results,
        },
    )
    pictures.forget_others(out / "pictures")
    return drawn


def labelled(folders: Sequence[Path]) -> Iterator[str]:
    """What to call each run: its folder's name, with as many of the folders above as tell it from the others.

    >>> list(labelled([Path("/one/facades"), Path("/two/facades"), Path("/two/maps")]))
    ['one/facades', 'two/facades', 'maps']
    """
    ends = [folder.resolve().parts for folder in folders]
    for folder, parts in zip(folders, ends, strict=True):
        if ends.count(parts) > 1:
            raise ValueError(f"{folder}: is given twice; a comparison is of different runs")
        yield next(
            "/".join(parts[-depth:])
            for depth in count(1)
            if [other[-depth:] for other in ends].count(parts[-depth:]) == 1
        )


class _Pictures:
    """Copies of pictures, named by what is in them: any name of the original will do, and the same one is there once."""

    def __init__(self) -> None:
        self.selected: dict[str, bytes] = {}

    def take(self, path: Path) -> str:
        """Takes a PNG along, and gives its address on the page; a `ValueError` where it is none, or cannot be read."""
        try:
            content = _read_png(path)
        except ValueError as error:
            raise ValueError(
                f"{error}; the page of its run shows it: measure the run again, or leave it out of the comparison"
            ) from error
        name = f"{_digest(content)}.png"
        self.selected[name] = content
        return f"pictures/{name}"

    def write_missing(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for name, content in self.selected.items():
            if not is_plain(folder / name):
                with atomic_file(folder / name, durable=False) as beside:
                    beside.write_bytes(content)

    def forget_others(self, folder: Path) -> None:
        """Removes pictures of an earlier drawing that this one does not show; anybody else's files stay."""
        for path in folder.glob("*.png"):
            if path.name not in self.selected and is_plain(path) and path.stem == _digest(path.read_bytes()):
                path.unlink()


def _read_png(path: Path) -> bytes:
    """The content of a file that decodes as a PNG: nothing else is to be sent to anybody."""
    require_file(path)
    if (size := path.stat().st_size) > LARGEST:
        raise ValueError(f"{path}: has {size} bytes, and a picture of a run has {LARGEST} at most")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    decode_bytes(content, str(path))
    if not content.startswith(PNG):
        raise ValueError(f"{path}: is no PNG")
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:20]


def _spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` items, evenly spaced, with the first and the last.

    >>> _spread("abcdefg", 3)
    ['a', 'd', 'g']
    """
    if len(items) <= most:
        return list(items)
    return [items[n * (len(items) - 1) // (most - 1)] for n in range(most)]


def lines_of(runs: Sequence[Run], notes: list[str]) -> list[dict[str, Any]]:
    """The newest measurements of all runs; those on the same pictures, and of the same answerer, stand together."""
    lines = [line | {"run": number} for number, run in enumerate(runs) for line in contents.measured(run, notes)]
    answerers = list(dict.fromkeys(line["who"] for line in lines))
    lines.sort(key=lambda line: (*contents.place(line), answerers.index(line["who"])))
    contents.mark_best(lines)
    return lines


def comparable(lines: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Lines in groups that can be compared: those of a group have a metric in common, on data of one name."""
    tables: list[list[dict[str, Any]]] = []
    for line in lines:
        on_same = (table for table in tables if contents.data_name(table[0]) == contents.data_name(line))
        if table := next((table for table in on_same if line["metrics"].keys() & contents.metrics_of(table)), None):
            table.append(line)
        elif line["metrics"]:
            tables.append([line])
    return tables


Row = tuple[str, list[Any], str]
"""A setting, its value in each run (None where a run has no such setting), its meaning."""


def _settings(runs: Sequence[Run]) -> tuple[list[Row], list[Row]]:
    """The settings in which the runs differ, and those that are the same for all."""
    of_runs = [
        {name: (value, meaning) for name, value, meaning in [("data", _data(run), ""), *contents.described(run)]}
        for run in runs
    ]
    names = dict.fromkeys(name for of_run in of_runs for name in of_run)
    rows = []
    for name in names:
        values = [of_run[name][0] if name in of_run else None for of_run in of_runs]
        rows.append((name, values, next(of_run[name][1] for of_run in of_runs if name in of_run)))
    same = [row for row in rows if all(value == row[1][0] for value in row[1])]
    return [row for row in rows if row not in same], same


def _data(run: Run) -> str:
    """The names of its folders, and what was found there."""
    return f"{' and '.join(folder.name for folder in run.data_paths.flags.values())}: {run.about.found}"


def _results(runs: Sequence[Run], pictures: _Pictures, notes: list[str]) -> Iterator[dict[str, Any]]:
    """For each split on which two runs or more were measured, some of the pictures that all of these have."""
    of_runs = [contents.measured_pictures(run.path, notes) for run in runs]
    for split in dict.fromkeys(split for of_run in of_runs for split in of_run):
        of_split = {
            number: {canonical(entry["name"]): entry for entry in of_run[split]}
            for number, of_run in enumerate(of_runs)
            if split in of_run
        }
        first, *others = of_split.values()
        common = [name for name in first if all(name in other for other in others)]
        if not (others and common):
            continue
        shown = []
        for name in _spread(common, RESULTS):
            entries = {run: of_run[name] for run, of_run in of_split.items()}
            metrics = [
                [run, metric, contents.number(value)]
                for run, entry in entries.items()
                for metric, value in entry["metrics"].items()
            ]
            panels = list(_panels(runs, split, entries, pictures))
            shown.append({"name": name, "panels": panels, "metrics": metrics})
        yield {"split": split, "runs": len(of_split), "count": len(common), "pictures": shown}


def _panels(
    runs: Sequence[Run], split: str, entries: dict[int, dict[str, Any]], pictures: _Pictures
) -> Iterator[tuple[str, str, int | None]]:
    """Name, address and run of every panel of a picture; no run where all have the same, such as the input."""
    for panel in contents.panels_of(entries.values()):
        having = [run for run, entry in entries.items() if panel in entry["panels"]]
        folders = [(entries[run]["name"], runs[run].path / "results" / split / panel) for run in having]
        copies = [pictures.take(folder / f"{name}.png") for name, folder in folders]
        if len(copies) == len(entries) and len(set(copies)) == 1:
            yield panel, copies[0], None
        else:
            yield from ((panel, copy, run) for run, copy in zip(having, copies, strict=True))
