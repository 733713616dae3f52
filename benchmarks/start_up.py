"""Seconds from a command to its answer, or to the end of the first training step: whole processes, in turns.

    python benchmarks/start_up.py

The aims: `diptych --help` 0.3 s, `diptych train METHOD --help` 2.5 s, the first step on 400 pictures 4 s. Of 100,000 files a
first start looks at every one; a second start finds what it saw in the cache.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image

from diptych.data.builtin import facades
from interleave import interleave, provenance

DIPTYCH = Path(sysconfig.get_path("scripts")) / "diptych"
DIFFERENT = 100  # pictures among the many
IN_A_FOLDER = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--files", type=int, default=100_000, help="of the large data set")
    arguments = parser.parse_args()
    run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL)
    tell(
        {
            "python -c pass": partial(run, [sys.executable, "-c", "pass"]),
            "diptych --help": partial(run, [DIPTYCH, "--help"]),
            "diptych train pix2pix --help": partial(run, [DIPTYCH, "train", "pix2pix", "--help"]),
        },
        arguments.turns,
    )
    with tempfile.TemporaryDirectory() as folder:
        few = written(Path(folder, "few"), 400, size=256)
        options = ["--size", "128", "--method.width", "32"]
        print(f"\n400 pairs of 512x256 JPEG, {' '.join(options)}, until the first step is done:")
        start = partial(first_step, few, options)
        ways = {"first start": partial(start, looked_at=False), "second start": partial(start, looked_at=True)}
        tell(ways, arguments.turns)
        many = written(Path(folder, "many"), arguments.files, size=64)
        options = ["--size", "64", "--method.width", "8"]
        print(f"\n{arguments.files:,} pairs of 128x64 JPEG, {' '.join(options)}, until the first step is done:")
        start = partial(first_step, many, options)
        print(f"first start: {interleave({'': start}, 1)[''][0]:.1f} s (once)")
        tell({"second start": partial(start, looked_at=True)}, arguments.turns)
    print(provenance(torch.device("cpu")))


def tell(ways: Mapping[str, Callable[[], object]], turns: int) -> None:
    for name, measured in interleave(ways, turns + 1).items():
        warm = measured[1:]  # the first reads the files from disk
        print(f"{name}: {statistics.median(warm):.2f} s, {min(warm):.2f}..{max(warm):.2f} (median of {turns})")


def written(folder: Path, count: int, size: int) -> Path:
    """Side-by-side pairs: JPEGs, the same few over and over."""
    different = list[bytes]()
    for number in range(min(count, DIFFERENT)):
        both = Image.new("RGB", (2 * size, size))
        for side, picture in enumerate(facades.draw_pair(number, size)):
            both.paste(picture, (side * size, 0))
        both.save(encoded := BytesIO(), "JPEG", quality=90)
        different.append(encoded.getvalue())
    for number in range(count):
        file = folder / f"train/{number // IN_A_FOLDER:03d}/{number:06d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(different[number % len(different)])
    return folder


def first_step(data: Path, options: Sequence[str], looked_at: bool = False) -> None:
    """Returns as soon as the log has a line; `looked_at` leaves the memory of an earlier start."""
    cache, out = data.with_name(f"{data.name} cache"), data.with_name("run")
    if not looked_at:
        shutil.rmtree(cache, ignore_errors=True)
    shutil.rmtree(out, ignore_errors=True)
    folders = ["--data", str(data), "--out", str(out)]
    command = [str(DIPTYCH), "train", "pix2pix", *folders, *options, "--steps", "1000", "--log-every", "1"]
    environment = os.environ | {"DIPTYCH_CACHE": str(cache)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as training:
        log = out / "log.jsonl"
        while not (log.exists() and log.stat().st_size):
            assert training.poll() is None
            time.sleep(0.005)
        training.kill()


if __name__ == "__main__":
    main()
