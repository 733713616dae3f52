"""The web page of a model: what a visitor draws, opens or chooses goes through the network.

The page asks for what its back end gives, `translate` and `sample`, and knows no more of it. In an exported page the network
runs in the browser (`translation.js`, by ONNX Runtime in a worker); in one that is served, on the server (`server.js`).
"""

import base64
import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

Tool = Literal["board", "mask", "photo", "classes"]
SHARED = ("pictures.js", "board.js", "tools.js")
IN_BROWSER = ("parts.js", "worker.js", "runtime.js", "noise.js", *SHARED, "translation.js", "page.js")
ON_SERVER = (*SHARED, "server.js", "zip.js", "several.js", "page.js")
RUNTIME = {"library": "ort.wasm.min.js", "glue": "ort-wasm-simd-threaded.mjs", "wasm": "ort-wasm-simd-threaded.wasm"}
"""The parts of ONNX Runtime by the names of the page; their files are packed with gzip, and `make vendor` brings them."""
WITH_WEBGPU = {
    "library": "ort.webgpu.min.js",
    "glue": "ort-wasm-simd-threaded.asyncify.mjs",
    "wasm": "ort-wasm-simd-threaded.asyncify.wasm",
}
"""The same of the build that computes on graphics processors too; it is nearly twice as large."""


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
    server: str = ""
    """The address of the model on its server; empty where the network runs in the browser."""
    direction: str = ""
    """Which way the server is asked to translate."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Addresses on the same server by what there is: the report, the other models."""


def packed(data: bytes) -> bytes:
    """A part of the page as it is stored."""
    return gzip.compress(data, 9, mtime=0)


def runtime_parts(webgpu: bool = False) -> dict[str, bytes]:
    """The parts of the runtime, packed."""
    folder = files(__package__) / "vendor"
    return {name: (folder / f"{file}.gz").read_bytes() for name, file in (WITH_WEBGPU if webgpu else RUNTIME).items()}


def render(about: About, parts: Mapping[str, bytes], *, inside: bool, webgpu: bool = False) -> str:
    """The page that runs its network: with its parts, packed ones by name, `inside`, or in files `NAME.gz` beside it.

    With `webgpu` it tries the visitor's graphics processor; the parts are then those of `runtime_parts(webgpu=True)`.
    """
    script, style = _script(IN_BROWSER), _style()
    connect = "'none'" if inside else "'self'"
    return _page(
        about,
        policy=f"{_policy(script, style, connect)}; worker-src blob:",
        script=script,
        style=style,
        sizes={name: len(part) for name, part in parts.items()},
        inside={name: base64.b64encode(part).decode() for name, part in parts.items()} if inside else {},
        webgpu=webgpu,
    )


def render_served(about: About) -> tuple[str, str]:
    """The page that asks its server, and its content security policy."""
    script, style = _script(ON_SERVER), _style()
    policy = _policy(script, style, "'self'").replace(" 'wasm-unsafe-eval' blob:", "")
    return _page(about, policy=policy, script=script, style=style, sizes={}, inside={}), policy


def _page(
    about: About,
    *,
    policy: str,
    script: str,
    style: str,
    sizes: Mapping[str, int],
    inside: Mapping[str, str],
    webgpu: bool = False,
) -> str:
    pages = Environment(
        loader=PackageLoader(__package__, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template("page.html").render(
        about=about,
        data={**asdict(about), "parts": sizes, "webgpu": webgpu},
        policy=policy,
        script=Markup(script),
        style=Markup(style),
        inside=inside,
        webgpu=webgpu,
    )


def _policy(script: str, style: str, connect: str) -> str:
    return (
        f"default-src 'none'; script-src {digest(script)} 'wasm-unsafe-eval' blob:; style-src {digest(style)}; "
        f"img-src data: blob:; connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def _script(names: Sequence[str]) -> str:
    return "\n".join(['"use strict";', *map(_text, names)])


def _style() -> str:
    return shared_style() + _text("style.css")


def shared_style() -> str:
    """The CSS that the pages of `diptych report` share with this one: colours, brand."""
    return _text("shared.css")


def _text(name: str) -> str:
    """A file of this folder, as it is."""
    return (files(__package__) / name).read_text(encoding="utf-8")


def digest(text: str) -> str:
    """What the page's policy calls a script or a style that may run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
