"""The data sets that have a name: `datasets.toml` beside this file, read once."""

import difflib
import shlex
import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console

from diptych.progress import say


class CatalogueEntry(BaseModel):
    """One data set: what it is, where its archive lies, and what is known of it. `None` is what nobody recorded."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    title: str
    kind: Literal["paired", "unpaired"]
    a: str
    b: str
    pictures: str | None = None
    addresses: tuple[str, ...] = Field((), strict=False, description="of the same archive; the first is tried unasked")
    size: int | None = Field(None, gt=0, description="of the archive, in bytes, exactly")
    about: int | None = Field(None, gt=0, description="of the archive, in bytes, rounded; where `size` is not known")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    licence: str
    method: Literal["pix2pix", "cyclegan"]
    direction: Literal["AtoB", "BtoA"] | None = None
    notes: str | None = None

    def train_command(self, name: str, data: Path) -> str:
        """The command that trains on the folder `data` of this data set.

        >>> find("facades").train_command("facades", Path("data/facades"))
        'diptych train pix2pix --data data/facades --direction BtoA --out runs/facades'
        """
        direction = f" --direction {self.direction}" if self.direction else ""
        return f"diptych train {self.method} --data {shlex.quote(str(data))}{direction} --out runs/{name}"


@cache
def catalogue() -> dict[str, CatalogueEntry]:
    """Every data set by its name, in the order of the file.

    >>> catalogue()["horse2zebra"].b
    'zebras'
    """
    text = (files("diptych.prepare") / "datasets.toml").read_text(encoding="utf-8")
    return {name: CatalogueEntry.model_validate(entry) for name, entry in tomllib.loads(text).items()}


def find(name: str) -> CatalogueEntry:
    """The data set called `name`; a `ValueError` with the nearest name and all of them when there is none."""
    known = catalogue()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise ValueError(f"{name}: no such data set{hint}; they are: {', '.join(known)}")


def show_catalogue(console: Console | None = None) -> None:
    """Lists every data set: what it holds, its size, its licence, and its addresses by the numbers of `--mirror`."""
    console = console or Console()
    for name, data in catalogue().items():
        size = megabytes(data.size) if data.size else f"about {megabytes(data.about)}" if data.about else None
        facts = [data.kind, f"A {data.a}, B {data.b}", data.pictures, size, "with SHA-256" if data.sha256 else None]
        say(console, f"{name}: {data.title} ({'; '.join(fact for fact in facts if fact)})")
        say(console, f"    licence: {data.licence}")
        for number, address in enumerate(data.addresses, start=1):
            say(console, f"    {number}  {address}")
        if data.notes:
            say(console, f"    {data.notes}")


def megabytes(count: int) -> str:
    """A number of bytes as a person reads it.

    >>> megabytes(30_168_306), megabytes(2_200_000_000), megabytes(117)
    ('30 MB', '2200 MB', '117 bytes')
    """
    return f"{count / 1e6:.0f} MB" if count >= 10**6 else f"{count} bytes"
