"""Settings files that come with the package, by name: `--recipe cyclegan-monet`."""

import difflib
import tomllib
from pathlib import Path

from diptych.wording import brief

FOLDER = Path(__file__).parent


def recipes() -> dict[str, Path]:
    """Every recipe by its name.

    >>> recipes()["cyclegan-monet"].name
    'cyclegan-monet.toml'
    """
    return {file.stem: file for file in sorted(FOLDER.glob("*.toml"))}


def find(name_or_file: Path | str) -> Path:
    """The file of a recipe that is given by its name, or the file itself; a `ValueError` when there is neither.

    A name comes first; a file that is called exactly like a recipe is given by its whole path.
    """
    known = recipes()
    name = str(name_or_file)
    if name in known:
        return known[name]
    file = Path(name_or_file)
    try:
        if file.exists():
            return file
    except (OSError, ValueError):  # a name that no file can have
        pass
    near = difflib.get_close_matches(file.name.removesuffix(".toml")[:100], known, n=1)
    meant = f"did you mean --recipe {near[0]}?" if near else "`diptych methods` lists the recipes"
    raise ValueError(f"--recipe {brief(name)}: cannot be read: there is no such file or recipe; {meant}")


def method_of(recipe: Path) -> str:
    """The name of the method that a recipe is for."""
    method: str = tomllib.loads(recipe.read_text(encoding="utf-8"))["method"]["name"]
    return method
