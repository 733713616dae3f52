"""A folder of pictures through a model by several commands at once, and by Ray, beside one command.

    python benchmarks/corpus.py [--pictures 2000] [--turns 3] [--width 4]

Every way is `diptych translate` as it is typed, with one thread a process, from its start to its end. Ray is left out where
it is not installed.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import torch

from interleave import interleave, provenance, times_as_fast
from translate import write_model, write_pictures

NUMBERS = count()


def translate(folder: Path, shards: int, flags: list[str], a_core_each: bool = False) -> None:
    """All pictures into a new folder, by so many commands at once; on all cores, unless each has a core of its own."""
    out = folder / f"out-{next(NUMBERS)}"
    command = [sys.executable, "-m", "diptych", "translate", str(folder / "model"), str(folder / "in")]
    command += ["--out", str(out), "--format", "png", "--device", "cpu", "--skip-existing", *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = partial(subprocess.Popen[bytes], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    parts = [["--shard", f"{number}/{shards}"] for number in range(shards)] if shards > 1 else [[]]
    cores = [["taskset", "-c", str(number)] if a_core_each else [] for number in range(shards)]
    running = [start([*core, *command, *part]) for core, part in zip(cores, parts, strict=True)]
    assert [one.wait() for one in running] == [0] * shards
    assert sum(file.suffix == ".png" for file in out.iterdir()) == len(list((folder / "in").iterdir()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--width", type=int, default=4, help="of the ResNet-9")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder / "in", None, given.pictures)
        write_model(folder / "model", given.width)
        ways: dict[str, Callable[[], object]] = {
            "one command": partial(translate, folder, 1, []),
            "two shards": partial(translate, folder, 2, []),
        }
        if sys.platform == "linux":
            ways["one command on one core"] = partial(translate, folder, 1, [], a_core_each=True)
            ways["two shards, a core each"] = partial(translate, folder, 2, [], a_core_each=True)
        if find_spec("ray"):
            ways["--engine ray, 1 process"] = partial(translate, folder, 1, ["--engine", "ray", "--processes", "1"])
            ways["--engine ray, 2 processes"] = partial(translate, folder, 1, ["--engine", "ray", "--processes", "2"])
        seconds = interleave(ways, given.turns)
    for way, measured in seconds.items():
        rate = given.pictures / statistics.median(measured)
        print(f"{way}: {rate:.1f} pictures/s; {times_as_fast(seconds['one command'], measured, 'one command')}")
    print(provenance(torch.device("cpu")))


if __name__ == "__main__":
    main()
