"""What `diptych serve` was asked for, as every process of a server needs it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from diptych import hub
from diptych.devices import Device, Precision
from diptych.runtimes.sessions import Runtime
from diptych.wording import brief

NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A model's name is part of addresses."""
ORIGIN = re.compile(r"https?://[^/\s@*]+")


@dataclass(frozen=True)
class Named:
    """A model to serve, under its name."""

    name: str
    run: str
    """The folder of a run or model, `hub:OWNER/NAME`, or an exported file."""


@dataclass(frozen=True)
class Limits:
    """What one request may ask for, and what all of them may."""

    queue: int = 64
    """Requests that wait or are worked on."""
    max_batch: int = 8
    """Pictures of one size that go through the network together."""
    max_bytes: int = 20_000_000
    """Of a request's body."""
    max_pixels: int = 16_000_000
    """Of a picture."""
    timeout: float = 60
    """Seconds for a body to arrive, and again for the answer."""
    max_job_bytes: int = 4_000_000_000
    """Of a picture that goes as a job."""
    bodies: int = 16
    """Times `max_bytes`, which all bodies together may hold that have not been answered."""


@dataclass(frozen=True)
class Options:
    """All that a process of the server needs."""

    models: tuple[Named, ...]
    limits: Limits = Limits()
    lazy: bool = False
    device: Device = "auto"
    precision: Precision = "auto"
    runtime: Runtime | None = None
    keys: frozenset[bytes] = field(default=frozenset(), repr=False)
    """SHA-256 of each key; none where no key is asked for."""
    origins: frozenset[str] = frozenset()
    """Whose pages may use it, besides its own."""
    hosts: frozenset[str] = frozenset()
    """The names and addresses by which it may be asked, in lower case and without a port; empty where any will do."""
    jobs: Path | None = None
    """The folder of jobs; None where the server takes none."""
    page: bool = True
    access_log: bool = True

    @property
    def documentation(self) -> str:
        """The address that says which addresses there are."""
        return "/docs" if self.page else "/openapi.json"


def origins_from(text: str) -> frozenset[str]:
    """The sites of `--allow-origin`; a `ValueError` for what is none.

    >>> sorted(origins_from("https://example.org/, http://localhost:3000"))
    ['http://localhost:3000', 'https://example.org']
    """
    found = frozenset(one.strip().rstrip("/") for one in text.split(",") if one.strip())
    if wrong := next((one for one in sorted(found) if not ORIGIN.fullmatch(one)), None):
        raise ValueError(f"--allow-origin {brief(wrong, 60)}: a site is expected, such as https://example.org")
    return found


def named(runs: Sequence[str]) -> tuple[Named, ...]:
    """The models by name: `NAME=RUN`, or the name of the folder; a `ValueError` for a name that is none or not alone.

    >>> named(["runs/facades", "night=runs/7"])
    (Named(name='facades', run='runs/facades'), Named(name='night', run='runs/7'))
    """
    if not runs:
        raise ValueError("no model to serve; give the folder of a run: diptych serve [NAME=]RUN...")
    found: dict[str, str] = {}
    for text in runs:
        name, equals, run = text.partition("=")
        if not equals or not NAME.fullmatch(name) or Path(text).exists():
            name, run = _name_of(text), text
        if name in found:
            raise ValueError(
                f"{found[name]} and {run}: two models of the name {name!r}; give one another, such as {name}-2={run}"
            )
        found[name] = run
    return tuple(Named(name, run) for name, run in found.items())


def _name_of(run: str) -> str:
    """The folder's name with what may stand in an address."""
    if run.startswith(hub.PREFIX):
        return hub.Address.parse(run).name
    path = Path(run).resolve()
    path = path.parent if path.name == "model" else path
    name = re.sub("[^A-Za-z0-9._-]+", "-", path.stem if path.is_file() else path.name).strip("-._")[:64]
    if not name:
        raise ValueError(f"{brief(run)}: its name is none for an address; give it one: NAME={brief(run)}")
    return name
