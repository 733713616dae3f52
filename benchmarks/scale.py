"""Two processes beside one: time of a training step, in turns, so that other work on the machine hits all alike.

    python benchmarks/scale.py [--rounds 3] [--steps 12] [--width 32]

Each run is `diptych train` as it is typed, with a batch of 2 in all; its time per step is that between two lines of its
log.jsonl. Before that: how long an average of so many gradients takes between two processes, and a message.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist

METHODS = ("pix2pix", "cyclegan")
WAYS = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2), "2 processes, 1 thread each": (2, 1)}


def seconds_a_step(method: str, processes: int, threads: int, steps: int, width: int, data: Path, out: Path) -> float:
    """Of one run."""
    command = [sys.executable, "-m", "diptych", "train", method, "--data", str(data), "--out", str(out)]
    command += [
        "--size",
        "128",
        "--batch-size",
        "2",
        "--steps",
        str(steps),
        "--log-every",
        "2",
        "--sample-every",
        "100000",
    ]
    command += ["--method.width", str(width), "--device", "cpu", "--precision", "fp32", "--processes", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    log = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    first, last = log[0], log[-2]  # the last line waits for samples and the checkpoint
    return float((last["seconds"] - first["seconds"]) / (last["step"] - first["step"]))


def exchange(megabytes: int, file: str, rank: int) -> None:
    """Prints the median time of an average over two processes, and of a message."""
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    for name, tensor in (("average", torch.zeros(megabytes * 2**18)), ("message", torch.zeros(3, dtype=torch.int64))):
        taken = []
        for _ in range(20):
            dist.barrier()
            began = time.perf_counter()
            dist.all_reduce(tensor)
            taken.append(time.perf_counter() - began)
        if rank == 0:
            print(f"{name} of {tensor.nbytes / 2**20:.3g} MiB: {statistics.median(taken) * 1e3:.2f} ms", flush=True)
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--exchange", nargs=3, metavar=("MIB", "FILE", "RANK"))
    given = parser.parse_args()
    if given.exchange:
        megabytes, file, rank = given.exchange
        exchange(int(megabytes), file, int(rank))
        return
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        demo = ["data", "demo", "facades", "--out", str(data), "--size", "128", "--train", "16", "--val", "4"]
        subprocess.run([sys.executable, "-m", "diptych", *demo], check=True, stdout=subprocess.DEVNULL)
        for megabytes in (10, 50):
            command = [sys.executable, __file__, "--exchange", str(megabytes), f"{folder}/meet-{megabytes}"]
            both = [subprocess.Popen([*command, str(rank)]) for rank in range(2)]
            for one in both:
                one.wait()
        for method in METHODS:
            taken: dict[str, list[float]] = {way: [] for way in WAYS}
            for number in range(given.rounds):
                for way, (processes, threads) in WAYS.items():
                    out = Path(folder, f"{method}-{number}-{way}")
                    taken[way].append(seconds_a_step(method, processes, threads, given.steps, given.width, data, out))
            base = taken["1 process, 1 thread"]
            for way, seconds in taken.items():
                ratios = [one / other for one, other in zip(base, seconds, strict=True)]
                times = f"{statistics.median(seconds):.3f} s a step"
                print(f"{method}, {way}: {times}, {statistics.median(ratios):.2f} times as fast", flush=True)


if __name__ == "__main__":
    main()
