"""Ways of doing the same work, timed in turns within one run, so that a busy machine slows all of them alike."""

import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch


def interleave(ways: Mapping[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Seconds of each turn of each way: A B A B ... `turns` times."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, work in ways.items():
            began = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def times_as_fast(plain: Sequence[float], other: Sequence[float], name: str = "plain") -> str:
    """How many times as fast `other` is: the median over the turns that stood side by side, least..most."""
    ratios = [a / b for a, b in zip(plain, other, strict=True)]
    return f"{statistics.median(ratios):.2f} times as fast as {name} ({min(ratios):.2f}..{max(ratios):.2f})"


def provenance(device: torch.device) -> str:
    """The machine, the date and the command: what a number needs to be believed."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.processor())
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return (
        f"machine: {cpu}, {torch.get_num_threads()} threads, device {where}; "
        f"torch {torch.__version__}, Python {platform.python_version()}\n"
        f"date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n"
        f"command: {shlex.join(['python', *sys.argv])}"
    )
