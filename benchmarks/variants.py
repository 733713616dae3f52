"""Is a setting better than another? The same run with several seeds in each variant, and what evaluation says of them.

    python benchmarks/variants.py pix2pix --data ../shared/data/facades --out runs/variants --seeds 3 \\
        --set size=64 steps=1000 method.width=16 --variant "as the paper" --variant hinge method.adversarial='"hinge"'

A variant is a name and the settings in which it differs, in TOML as in settings.toml. For every metric: the mean over the
seeds, and the least..most. A mean outside of what the first variant's seeds span is marked, + where it is better and - where
it is worse. Then what the doctor found at the end of the runs. Runs that are there already are not made anew.
"""

import argparse
import statistics
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console

from diptych.evaluate import evaluate
from diptych.metrics import better
from diptych.train import train
from diptych.training.run import read_json_lines
from diptych.training.settings import settings_from
from interleave import provenance


class End(NamedTuple):
    """What came of a run."""

    metrics: dict[str, float]
    findings: list[str]
    """Of the doctor."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the runs")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--metrics", help="as `diptych evaluate` takes them; without it, all that the pictures allow")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of all variants")
    parser.add_argument(
        "--variant", nargs="+", action="append", required=True, metavar=("NAME", "KEY=VALUE"), help="one or more times"
    )
    given = parser.parse_args()
    variants = {name: tomllib.loads("\n".join([*given.set, *own])) for name, *own in given.variant}
    for settings in variants.values():
        settings_from(given.method, settings)
    ends = {
        name: [run_and_measure(given, name, settings, seed) for seed in range(given.seeds)]
        for name, settings in variants.items()
    }
    first, *_ = ends.values()
    print(f"{given.method}, {', '.join(given.set)}; seeds 0 to {given.seeds - 1}")
    for metric in first[0].metrics:
        print(metric)
        for name, runs in ends.items():
            print(f"    {name}: {summary(metric, [end.metrics[metric] for end in runs], first)}")
    print("the doctor")
    for name, runs in ends.items():
        found = Counter(finding for end in runs for finding in end.findings)
        words = ", ".join(f"{finding} ({count} of {given.seeds})" for finding, count in sorted(found.items()))
        print(f"    {name}: {words or 'nothing'}")
    print(provenance(torch.device("cpu")))


def run_and_measure(given: argparse.Namespace, variant: str, settings: dict[str, Any], seed: int) -> End:
    """The metrics of the model at the end of a run, and what the doctor found last."""
    out = given.out / f"{given.method}-{variant.replace(' ', '-')}-{seed}"
    console = Console(stderr=True)
    run = train(given.method, data=given.data, out=out, seed=seed, device="cpu", console=console, **settings)
    lines = read_json_lines(out / "metrics.jsonl")
    if not lines:
        names = given.metrics.split(",") if given.metrics else None
        lines = evaluate(out, data=given.data, device="cpu", names=names)
    findings = [finding["finding"] for finding in run.read_log()[-1].get("doctor", [])]
    ways = [line for line in lines if line["who"] == "model"]
    named = {
        (name if len(ways) == 1 else f"{line['direction']}/{name}"): value
        for line in ways
        for name, value in line["metrics"].items()
    }
    return End(named, findings)


def summary(metric: str, values: Sequence[float], first: Sequence[End]) -> str:
    """The mean and the least..most; + or - where the mean is better or worse than all that the `first` runs have.

    >>> summary("ssim", [0.5, 0.75], [End({"ssim": 0.25}, []), End({"ssim": 0.5}, [])])
    '0.625 (0.5..0.75) +'
    """
    mean, spread = statistics.mean(values), [end.metrics[metric] for end in first]
    outside = (mean > max(spread)) - (mean < min(spread))
    mark = {1: " +", -1: " -"}.get(outside * better(metric.removeprefix("AtoB/").removeprefix("BtoA/")), "")
    return f"{mean:.4g} ({min(values):.4g}..{max(values):.4g}){mark}"


if __name__ == "__main__":
    main()
