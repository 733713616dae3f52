"""Rendering of the page templates to single, self-contained files."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from diptych.files import atomic_file
from diptych.metrics import better
from diptych.report.contents import metrics_of


def draw(template: str, path: Path, **values: Any) -> Path:
    """Renders `template` with `values` to the file `path`, atomically."""
    pages = Environment(
        loader=PackageLoader("diptych.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    pages.globals |= {"verbatim": _verbatim, "better": better, "metrics_of": metrics_of}
    pages.filters["whole"] = "{:,}".format
    page = pages.get_template(template).render(values)
    with atomic_file(path) as partial:
        # A file name with invalid Unicode cannot be displayed; its percent-encoded address still works.
        partial.write_text(page, encoding="utf-8", errors="replace")
    return path


def _verbatim(*names: str) -> Markup:
    """The contents of Diptych's own scripts and styles, not parsed by Jinja."""
    return Markup("\n").join(Markup(Path(__file__).with_name(name).read_text(encoding="utf-8")) for name in names)
