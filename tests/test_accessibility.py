"""The pages that Diptych makes, and the documentation as a site, for people who see little or hear their screen.

Every page is opened in light and dark, wide and narrow. axe-core looks at it: contrast of at least 4.5:1 (3:1 for
large letters), alternative text, names of controls. The browser must have nothing to complain about.
"""

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, ViewportSize

from diptych import page
from diptych.evaluate import evaluate
from diptych.report import report

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")

ROOT = Path(__file__).parents[1]
RULES = [
    "aria-input-field-name",
    "button-name",
    "color-contrast",
    "document-title",
    "html-has-lang",
    "image-alt",
    "input-button-name",
    "label",
    "link-name",
    "role-img-alt",
    "select-name",
    "svg-img-alt",
]
SITE = ["index.html", "pix2pix.html", "settings.html", "reference.html", "tutorials/glcic.html"]
"""One page of each kind: the first, prose with a picture, tables, Python, a walk with code and a picture."""
OF_THE_SEARCH = (
    '<button class="r">'  # of the theme, in a tree of its own where nothing of ours reaches: they have no name
)
TRANSPARENT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

Look = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def look(browser: Browser) -> Look:
    """What is wrong with a page, a line for each element and way to look at it."""

    def call(address: str) -> list[str]:
        return [
            f"{address.rsplit('/', 1)[-1]}, {scheme}, {width} px: {line}"
            for scheme in SCHEMES
            for width in (1280, 390)
            for line in wrong_with(address, browser.new_context(viewport=size(width), color_scheme=scheme))
        ]

    return call


def size(width: int) -> ViewportSize:
    return {"width": width, "height": 900}


def wrong_with(address: str, context: BrowserContext) -> list[str]:
    opened, wrong = context.new_page(), list[str]()
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.goto(address)
    found = axe.Axe().run(opened, options={"runOnly": {"type": "rule", "values": RULES}}).response
    wrong += [
        f"{violation['id']}: {node['html'][:200]} {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
    context.close()
    return wrong


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder on a web host of its own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_fault_is_found(look: Look, tmp_path: Path) -> None:
    body = '<p style="color: #888">faint</p><img src="data:,"><input type="text"><script>console.log("said")</script>'
    (file := tmp_path / "bad.html").write_text(f'<!doctype html><html lang="en"><title>Bad</title>{body}')
    wrong = "\n".join(look(file.as_uri()))
    assert all(rule in wrong for rule in ("color-contrast", "image-alt", "label", "said"))


def test_reports(look: Look, tiny_run: Path, tiny_pairs: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, run := tmp_path / "run")
    shutil.copytree(tiny_run, tmp_path / "other")
    evaluate(run, data=tiny_pairs, names=["l1"], baselines=True)
    assert look(report(run).as_uri()) == []
    assert look(report(run, tmp_path / "other", out=tmp_path / "comparison").as_uri()) == []


@pytest.mark.parametrize("tool", ["board", "mask", "photo", "classes"])
@pytest.mark.parametrize("on_server", [False, True], ids=["exported", "served"])
def test_the_page_of_a_model(tool: page.Tool, on_server: bool, look: Look, tmp_path: Path) -> None:
    about = page.About(
        title="A model",
        summary="what it does",
        tool=tool,
        height=16,
        width=16,
        channels=3,
        facts={"Method": "pix2pix"},
        numbers={"L1": "0.1"},
        palette=(page.Colour("#ff0000", "red"), page.Colour("#ffffff")) if tool == "board" else (),
        classes=("leaf", "sun") if tool == "classes" else (),
        noise=5,
        largest_hole=8,
        most_pixels=2**20,
        examples=() if tool == "classes" else (TRANSPARENT,),
        server="/v1/models/x" if on_server else "",
        links={"Report": "#report"} if on_server else {},
    )
    (file := tmp_path / "page.html").write_text(
        page.render_served(about)[0] if on_server else page.render(about, {}, inside=True, webgpu=True),
        encoding="utf-8",
    )
    wrong = look(file.as_uri())
    assert [line for line in wrong if "ERR_" not in line and "CORS" not in line] == []  # there is no server here


@pytest.mark.skipif(find_spec("zensical") is None, reason="zensical is not installed")
def test_the_site(look: Look, tmp_path: Path) -> None:
    for name in ("docs", "src"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "vendor"))
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    subprocess.run([sys.executable, "-m", "zensical", "build"], cwd=tmp_path, capture_output=True, check=True)
    with served(tmp_path / "build/site") as address:
        wrong = [line for name in SITE for line in look(f"{address}/{name}")]
    assert [line for line in wrong if OF_THE_SEARCH not in line] == []
