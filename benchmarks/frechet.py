"""What distances of sets cost: seconds and peak memory over the features of 10,000 generated and as many real pictures.

    python benchmarks/frechet.py [--pictures 10000] [--dimensions 2048] [--threads 2]

Each distance has a process of its own, which holds the two sets of features; what it takes more than that is told, beside
what two matrices would take that none of them makes: pictures by pictures, and all features once more in float64.
"""

import argparse
import multiprocessing
import re
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from diptych import metrics
from interleave import provenance

METRICS: dict[str, Callable[[Tensor, Tensor], object]] = {
    "Fréchet distance": metrics.frechet_distance,
    "the same, memorisation-informed": metrics.memorisation_informed,
    "kernel distance": metrics.kernel_distance,
    "precision and recall": metrics.precision_recall,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    n, dimensions = given.pictures, given.dimensions
    print(
        f"{n} x {dimensions} features of either set: 2 x {4 * n * dimensions / 2**20:.0f} MiB, {given.threads} threads"
    )
    for name in METRICS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, busy, more = pool.apply(measure, (name, n, dimensions, given.threads))
        print(f"{name}: {seconds:.1f} s ({busy:.1f} s of the processor), {more:+.0f} MiB")
    square, copy = 8 * n**2 / 2**20, 8 * n * dimensions / 2**20
    print(f"pictures by pictures would be {square:.0f} MiB, all features of a set in float64 {copy:.0f} MiB")
    print(provenance(torch.device("cpu")))


def measure(name: str, pictures: int, dimensions: int, threads: int) -> tuple[float, float, float]:
    """Seconds of the work itself on the wall and of the processor; how much further the peak of the process rose, in MiB."""
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    features, of_real = (torch.randn(pictures, dimensions, generator=generator).relu_() for _ in range(2))
    before, began, worked = peak(), time.perf_counter(), time.process_time()
    METRICS[name](features, of_real)
    return time.perf_counter() - began, time.process_time() - worked, peak() - before


def peak() -> float:
    """The most memory that this process ever held, in MiB."""
    [kilobytes] = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) / 1024


if __name__ == "__main__":
    main()
