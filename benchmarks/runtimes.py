"""One picture through a trained model in every runtime that is installed, beside plain torch: how fast, and how far off.

    python benchmarks/runtimes.py runs/facades runs/zebras --data PICTURES [--sides 256 512]

From an array of levels to one. Plain is what most scripts do: the picture as floats through the network in eager torch, in
fp32, and back. Everything runs on as many threads as `--threads` says; with one, other work on the machine does not count.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import diptych
from diptych.export import export, ncnn_file
from diptych.images.files import Array
from diptych.images.spec import EIGHT_BIT
from diptych.model import Model
from interleave import provenance, times_as_fast

Way = Callable[[Array], Array]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True, help="a folder of pictures as the models take them")
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print("| model | side | runtime | CPU s a picture | times as fast as plain | levels off, at most | in the mean |")
    print("|---|---|---|---|---|---|---|")
    for run in given.runs:
        ways = ways_of(run)
        for side in given.sides:
            pictures = [opened(file, side) for file in sorted(given.data.iterdir())[: given.pictures]]
            for row in measured(ways, pictures, given.turns):
                print(f"| {run.name} | {side} | {row} |", flush=True)
    print(provenance(torch.device("cpu")))


def opened(file: Path, side: int) -> Array:
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB").resize((side, side), Image.Resampling.NEAREST))


def ways_of(run: Path) -> dict[str, Way]:
    """The ways that can be gone here, plain first."""
    model = diptych.load(run, device="cpu")
    ways: dict[str, Way] = {"plain": plain(model), "Diptych": model}
    ways["Diptych, bf16"] = diptych.load(run, device="cpu", precision="bf16")
    if find_spec("onnxruntime"):
        ways["ONNX Runtime"] = diptych.load(run, runtime="onnxruntime")
    if find_spec("openvino"):
        ways["OpenVINO"] = diptych.load(run, runtime="openvino")
        ways["OpenVINO, bf16"] = diptych.load(run, runtime="openvino", precision="bf16")
    if find_spec("ncnn") and find_spec("pnnx"):
        with tempfile.TemporaryDirectory() as folder:
            ways["ncnn"] = through_ncnn(export(run, out=Path(folder, "model.param")).file)
    return ways


def plain(model: Model) -> Way:
    network = model.translator.network

    @torch.no_grad()
    def call(picture: Array) -> Array:
        return as_levels(network(as_floats(picture)))

    return call


def through_ncnn(file: Path) -> Way:
    run = ncnn_file.opened(file)
    return lambda picture: as_levels(run({"picture": as_floats(picture)}))


def as_floats(picture: Array) -> torch.Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def as_levels(result: torch.Tensor) -> Array:
    levels: Array = EIGHT_BIT.to_levels(result)[0].permute(1, 2, 0).numpy()
    return levels


def measured(ways: dict[str, Way], pictures: Sequence[Array], turns: int) -> list[str]:
    """A row for each way. The ways take turns, so that a busy machine slows all of them alike."""
    results = {name: [way(picture) for picture in pictures] for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns):
        for name, way in ways.items():
            began = time.process_time()
            way(pictures[turn % len(pictures)])
            seconds[name].append(time.process_time() - began)
    rows = []
    for name, spent in seconds.items():
        apart = np.abs(np.stack(results[name]).astype(int) - np.stack(results["plain"]))
        faster = times_as_fast(seconds["plain"], spent).replace(" times as fast as plain", "")
        rows.append(f"{name} | {statistics.median(spent):.3f} | {faster} | {apart.max()} | {apart.mean():.3f}")
    return rows


if __name__ == "__main__":
    main()
