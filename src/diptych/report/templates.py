"""The templates of the pages, and how they become one file each that needs no other."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from diptych.files import atomic_file
from diptych.metrics import better
from diptych.report.contents import metrics_of


def draw(template: str, path: Path, **values: Any) -> Path:
    """Writes the page that `template` makes of `values` to `path`; an older page stays until the new one is whole."""
    pages = Environment(
        loader=PackageLoader("diptych.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    pages.globals |= {"as_it_is": _as_it_is, "better": better, "metrics_of": metrics_of}
    pages.filters["whole"] = "{:,}".format
    page = pages.get_template(template).render(values)
    with atomic_file(path) as beside:
        # A file name that is no Unicode cannot be shown; its address is percent-encoded and still leads to it.
        beside.write_text(page, encoding="utf-8", errors="replace")
    return path


def _as_it_is(*names: str) -> Markup:
    """Our own scripts and styles; braces in them are theirs, not Jinja's."""
    return Markup("\n").join(Markup(Path(__file__).with_name(name).read_text(encoding="utf-8")) for name in names)
