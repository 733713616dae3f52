"""The documentation as a site: it can be built, no link is dead, and nothing on it is fetched from elsewhere."""

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FETCHED = r'<(?:script|img|iframe)[^>]*src="?https?:|<link[^>]*rel="?(?:stylesheet|preload)[^>]*href="?https?:'


def listed(entry: Any) -> Iterator[str]:
    """The pages of a part of the navigation."""
    if isinstance(entry, str):
        yield entry
    for part in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from listed(part)


def test_every_page_is_in_the_navigation_once() -> None:
    pages = list(listed(tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]))
    there = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert sorted(pages) == sorted(there)


def test_the_page_of_settings_is_that_of_the_program() -> None:
    spec = importlib.util.spec_from_file_location("settings_page", ROOT / "benchmarks/settings_page.py")
    assert spec is not None
    assert spec.loader is not None
    settings_page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(settings_page)
    assert (ROOT / "docs/settings.md").read_text(encoding="utf-8") == settings_page.text(), (
        "python benchmarks/settings_page.py writes it anew"
    )


@pytest.mark.skipif(importlib.util.find_spec("zensical") is None, reason="zensical is not installed")
def test_the_site_has_no_dead_link_and_fetches_nothing(tmp_path: Path) -> None:
    for name in ("docs", "src"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "vendor"))
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"], cwd=tmp_path, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    pages = list((tmp_path / "build/site").rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(FETCHED, text), page
    reference = (tmp_path / "build/site/reference.html").read_text(encoding="utf-8")
    assert "diptych.load" in reference
    assert "Measures the model of" in reference
