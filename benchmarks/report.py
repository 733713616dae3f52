"""How long the page of a run with very many results takes to draw, to open in Chromium, to turn, and to zoom.

python benchmarks/report.py [--results 10000]
"""

import argparse
import json
import math
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch
from playwright.sync_api import sync_playwright

from diptych.data.paths import DataPaths
from diptych.report import report
from diptych.training.run import Run
from diptych.training.settings import settings_from
from interleave import provenance

OPENINGS = 5


def pretend(folder: Path, results: int) -> None:
    """A run with a log of 10,000 lines and so many results; the pictures themselves are missing, as lazy ones may be."""
    run = Run(folder, "pix2pix", settings_from("pix2pix", {"steps": 200_000}), DataPaths(folder))
    run.write_settings("", "", "")
    losses = ("D_real", "D_fake", "G_GAN", "G_L1", "G")
    lines = [
        {
            "step": 20 * n,
            "seconds": n,
            "lr": 2e-4,
            "losses": {name: 0.5 + math.sin(place + n * n) / 3 for place, name in enumerate(losses)},
            "gradients": {"generator": 1 + math.cos(n * n), "discriminator": 2 + math.sin(n * n)},
            "doctor": [],
            **({"validation": {"ssim/8-bit/256px": n / 1e4}} if n % 100 == 0 else {}),
        }
        for n in range(1, 10_001)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    kept = folder / "results" / "val"
    kept.mkdir(parents=True)
    entries = [
        {"name": f"picture-{n:05d}", "metrics": {"l1": n / results, "psnr": 20.0, "ssim": 0.5}, "panels": ["output"]}
        for n in range(results)
    ]
    (kept / "results.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")


def main() -> None:
    """Prints the size of the page and the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=int, default=10_000)
    results = parser.parse_args().results
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        pretend(folder, results)
        began = time.perf_counter()
        page = report(folder)
        drawn = time.perf_counter() - began
        opened, turned, zoomed = [], [], []
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            for _ in range(OPENINGS):
                tab = browser.new_page()
                began = time.perf_counter()
                tab.goto(page.as_uri())
                tab.wait_for_selector("img[loading=lazy]", state="attached")
                opened.append(time.perf_counter() - began)
                began = time.perf_counter()
                tab.click("#next")
                tab.wait_for_selector("text=picture-00024")
                turned.append(time.perf_counter() - began)
                began = time.perf_counter()
                tab.click("#closer")
                tab.wait_for_function("find('seen').textContent !== ''")
                zoomed.append(time.perf_counter() - began)
                tab.close()
            browser.close()
        print(f"{results} results: a page of {page.stat().st_size / 1e3:.0f} kB, drawn in {drawn:.2f} s")
        print(
            f"open: {statistics.median(opened):.2f} s, next page: {statistics.median(turned):.3f} s, "
            f"zoom: {statistics.median(zoomed):.3f} s (medians of {OPENINGS})"
        )
    print(provenance(torch.device("cpu")))


if __name__ == "__main__":
    main()
