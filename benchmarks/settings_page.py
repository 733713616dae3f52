"""Writes docs/settings.md: every setting of a training, with what it takes, its default and its meaning.

python benchmarks/settings_page.py
"""

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from diptych.cli.training import values_of
from diptych.methods import METHODS
from diptych.methods.settings import kebab
from diptych.training.settings import Settings, parse_settings

PAGE = Path(__file__).parents[1] / "docs/settings.md"

HEAD = """\
# Settings

<!-- Written by `python benchmarks/settings_page.py`. -->

Every setting is a flag of `diptych train METHOD`, a line of a recipe (`size = 128`, and below `[method]` those that begin
with `method.`), and a keyword of `diptych.train` with underscores (`batch_size=4`, `method={"width": 32}`). A flag comes
before a recipe, and a recipe before the default.

## All methods

"""


def main() -> None:
    """Writes the page."""
    PAGE.write_text(text(), encoding="utf-8")


def text() -> str:
    """The whole page."""
    general = HEAD + table(Settings, "")
    return general + "".join(f"\n{of_method(name)}" for name in METHODS)


def of_method(name: str) -> str:
    """The section of a method: the defaults in which it differs, and its own settings."""
    method = METHODS[name]
    settings = parse_settings(name, {}, {}).model_dump()
    usual = Settings().model_dump()
    different = {key: settings[key] for key in usual if key != "method" and settings[key] != usual[key]}
    others = ", ".join(f"`--{kebab(key)} {shown(value)}`" for key, value in different.items())
    differs = f"Other defaults than above: {others}.\n\n" if others else ""
    about = f"{method.summary[0].upper()}{method.summary[1:]} ({method.paper})."
    return f"## {name}\n\n{about}\n\n{differs}{table(method.Settings, 'method.')}"


def table(model: type[BaseModel], prefix: str) -> str:
    """A row for each setting of `model`."""
    return "| flag | takes | default | meaning |\n| --- | --- | --- | --- |\n" + "".join(rows(model, prefix))


def rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """The rows of a table."""
    for name, field in model.model_fields.items():
        if name == "method":
            continue
        takes = values_of(field.annotation, field.metadata).replace("|", r"\|")
        default = shown(field.default)
        yield f"| `--{prefix}{kebab(name)}` | {takes} | {f'`{default}`' if default else ''} | {field.description} |\n"


def shown(value: object) -> str:
    """A default as it is typed; empty for none."""
    if value is None or value == ():
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    main()
