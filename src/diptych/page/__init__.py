"""The web page of a model: what a visitor draws, opens or chooses goes through the network in their own browser.

The page asks its runtime for `run(inputs)` and knows no more of it: `runtime.js` has ONNX Runtime in a worker.
"""

import base64
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

Tool = Literal["board", "mask", "photo", "classes"]
SCRIPTS = (
    "parts.js",
    "worker.js",
    "runtime.js",
    "noise.js",
    "pictures.js",
    "translation.js",
    "board.js",
    "tools.js",
    "page.js",
)
RUNTIME = {"library": "ort.wasm.min.js", "glue": "ort-wasm-simd-threaded.mjs", "wasm": "ort-wasm-simd-threaded.wasm"}
"""The parts of ONNX Runtime by the names of the page; their files are packed with gzip, and `make vendor` brings them."""


@dataclass(frozen=True)
class Colour:
    """One that a visitor draws with."""

    code: str
    """As CSS has it: #0a1b2c."""
    name: str = ""


@dataclass(frozen=True)
class About:
    """What the page is told of its model."""

    title: str
    summary: str
    tool: Tool
    height: int
    width: int
    """Of the pictures in training."""
    channels: int
    """Of the pictures that go in; 1 or 3."""
    facts: Mapping[str, str]
    """What the model was trained on and the like, by name."""
    numbers: Mapping[str, str] = field(default_factory=dict)
    """What it reached, by the name of the metric."""
    palette: tuple[Colour, ...] = ()
    """Of the drawing board, that of an empty board first."""
    brush: int = 1
    """Its width at the start, in pixels of the board."""
    classes: tuple[str, ...] = ()
    noise: int = 0
    largest_hole: int | None = None
    most_pixels: int = 0
    """Larger pictures are shrunk for the network."""
    examples: tuple[str, ...] = ()
    """Pictures as PNG in base64."""


def packed(data: bytes) -> bytes:
    """A part of the page as it is stored."""
    return gzip.compress(data, 9, mtime=0)


def runtime_parts() -> dict[str, bytes]:
    """The parts of the runtime, packed."""
    folder = files(__package__) / "vendor"
    return {name: (folder / f"{file}.gz").read_bytes() for name, file in RUNTIME.items()}


def render(about: About, parts: Mapping[str, bytes], *, inside: bool) -> str:
    """The page: with its parts, packed ones by name, `inside`, or in files `NAME.gz` beside it."""
    script, style = "\n".join(map(_text, SCRIPTS)), shared_style() + _text("style.css")
    connect = "'none'" if inside else "'self'"
    policy = (
        f"default-src 'none'; script-src {_digest(script)} 'wasm-unsafe-eval' blob:; style-src {_digest(style)}; "
        f"img-src data: blob:; worker-src blob:; connect-src {connect}; base-uri 'none'; form-action 'none'"
    )
    pages = Environment(
        loader=PackageLoader(__package__, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template("page.html").render(
        about=about,
        data={**asdict(about), "parts": {name: len(part) for name, part in parts.items()}},
        policy=policy,
        script=Markup(script),
        style=Markup(style),
        inside={name: base64.b64encode(part).decode() for name, part in parts.items()} if inside else {},
    )


def shared_style() -> str:
    """The CSS that the pages of `diptych report` share with this one: colours, brand."""
    return _text("shared.css")


def _text(name: str) -> str:
    """A file of this folder, as it is."""
    return (files(__package__) / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """What the page's policy calls a script or a style that may run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
