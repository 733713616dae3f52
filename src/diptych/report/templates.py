"""Rendering of the page templates to single, self-contained files."""

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from diptych import page
from diptych.files import atomic_file, is_plain
from diptych.metrics import better
from diptych.report.contents import metrics_of, titles

TITLE, HEAD = " · Diptych</title>".encode(), 2**16  # bytes in which it is found
"""The end of the title of every page."""
SCRIPTS = ("elements.js", "charts.js", "samples.js", "viewer.js", "results.js", "frame.js")
"""Of the page of a run, after its data."""


def draw(template: str, path: Path, **values: Any) -> Path:
    """Renders `template` with `values` to the file `path`, atomically; a `ValueError` when what is there is no page."""
    require_page(path)
    pages = Environment(
        loader=PackageLoader("diptych.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    pages.globals |= {
        "shared_style": Markup(page.shared_style()),
        "verbatim": _verbatim,
        "scripts": SCRIPTS,
        "better": better,
        "titles_of": titles,
        "metrics_of": metrics_of,
    }
    pages.filters["whole"] = "{:,}".format
    drawn = pages.get_template(template).render(values)
    with atomic_file(path) as partial:
        # A file name with invalid Unicode cannot be displayed; its percent-encoded address still works.
        partial.write_text(drawn, encoding="utf-8", errors="replace")
    return path


def require_page(path: Path) -> None:
    """Raises a `ValueError` unless nothing is at `path`, or a page that was drawn earlier."""
    if not os.path.lexists(path):
        return
    if is_plain(path):
        with path.open("rb") as file:
            if TITLE in file.read(HEAD):
                return
    raise ValueError(f"{path}: exists and is no page drawn earlier; move it away")


def own_scripts(html: str) -> list[str]:
    """The scripts in the page of a run that are those of this version, with any data; a stranger's page may hold others."""
    colours, code = f"\n{_verbatim('colours.js')}\n", f"\n{_verbatim(*SCRIPTS)}\n"
    own = list[str]()
    for script in re.findall("<script>(.*?)</script>", html, re.DOTALL):
        if script == colours:
            own.append(script)
        elif script.startswith("\nconst data = ") and script.endswith(code):
            with suppress(ValueError):
                json.loads(script.removeprefix("\nconst data = ").removesuffix(code))
                own.append(script)
    return own


def _verbatim(*names: str) -> Markup:
    """The contents of Diptych's own scripts and styles, not parsed by Jinja."""
    return Markup("\n").join(Markup(Path(__file__).with_name(name).read_text(encoding="utf-8")) for name in names)
