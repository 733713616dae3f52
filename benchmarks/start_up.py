"""Seconds until `diptych --help` has answered, beside an interpreter that does nothing. The aim is 0.4 s.

python benchmarks/start_up.py
"""

import argparse
import statistics
import subprocess
import sys
import sysconfig
from functools import partial
from pathlib import Path

import torch

from interleave import interleave, provenance

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=15)
    turns = parser.parse_args().turns
    diptych = Path(sysconfig.get_path("scripts")) / "diptych"
    run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL)
    seconds = interleave(
        {
            "python -c pass": partial(run, [sys.executable, "-c", "pass"]),
            "diptych --help": partial(run, [diptych, "--help"]),
        },
        turns + 1,
    )
    for name, measured in seconds.items():
        warm = measured[1:]  # the first reads the files from disk
        print(f"{name}: {statistics.median(warm):.3f} s, {min(warm):.3f}..{max(warm):.3f} (median of {turns})")
    print(provenance(torch.device("cpu")))
