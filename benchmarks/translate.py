"""Translation on a CPU: a folder of photographs from file to file, and the networks alone, beside plain torch.

    python benchmarks/translate.py                     photographs are drawn
    python benchmarks/translate.py --data DIR          those of a folder, scaled to 500x375

The plain way is what most scripts do: one picture after the other is read, goes through the network as torch computes it,
and is written. The networks have random weights, as wide as the command says; bf16's error is told in levels of 255.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import diptych
from diptych.cli import process
from diptych.cpu import FastOperators
from diptych.devices import computing
from diptych.images import geometry
from diptych.images.size import Size
from diptych.images.spec import EIGHT_BIT
from diptych.methods import build
from diptych.methods.cyclegan import CycleGANSettings
from diptych.methods.settings import Shape
from diptych.networks.resnet import ResNet
from diptych.networks.unet import UNet
from diptych.training import checkpoint
from diptych.translate import translate
from interleave import interleave, provenance, times_as_fast

CPU = torch.device("cpu")
WIDTH, HEIGHT = 500, 375


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--width", type=int, default=16, help="of the ResNet-9 that translates the folder")
    parser.add_argument(
        "--turns", type=int, default=3, help="of the folder; the networks alone have five times as many"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder / "in", given.data, given.pictures)
        write_model(folder / "model", given.width)
        ways: dict[str, Callable[[], object]] = {
            "plain": partial(plain_folder, folder),
            "Diptych": partial(diptych_folder, folder, "fp32", 1),
            "Diptych, --batch-size 4": partial(diptych_folder, folder, "fp32", 4),
            "Diptych, --precision bf16": partial(diptych_folder, folder, "bf16", 1),
        }
        plain = interleave({"plain": ways["plain"]}, 1)  # as a process that gives every block back
        process.keep_freed_memory()
        seconds = interleave(ways, given.turns)
    print(f"{given.pictures} photographs of {WIDTH}x{HEIGHT} through a ResNet-9 of width {given.width}, JPEG to PNG")
    print(f"plain, before the command's settings of memory: {given.pictures / plain['plain'][0]:.2f} pictures/s (once)")
    for way, measured in seconds.items():
        rate = given.pictures / statistics.median(measured)
        print(f"{way}: {rate:.2f} pictures/s; {times_as_fast(seconds['plain'], measured)}")
    for title, network in (("U-Net, width 64", UNet(3, 3)), ("ResNet-9, width 64", ResNet(3, 3))):
        networks_alone(title, network, 5 * given.turns)
    print(provenance(CPU))


def write_pictures(folder: Path, source: Path | None, count: int) -> None:
    folder.mkdir()
    found = sorted(source.iterdir()) if source else []
    generator = np.random.default_rng(0)
    for number in range(count):
        if found:
            picture = Image.open(found[number % len(found)]).convert("RGB")
        else:
            picture = Image.fromarray(generator.integers(0, 256, (12, 16, 3), np.uint8))
        picture.resize((WIDTH, HEIGHT)).save(folder / f"{number:04d}.jpg", quality=92)


def write_model(folder: Path, width: int) -> None:
    settings = CycleGANSettings(width=width).resolved(1, Size.square(256))
    method = build("cyclegan", settings, Shape(size=Size.square(256)), CPU)
    config = checkpoint.ModelConfig(
        method="cyclegan",
        direction="AtoB",
        shape=Shape(size=Size.square(256)),
        settings=settings.model_dump(mode="json", by_alias=True),
    )
    checkpoint.save_model(folder, config, 0, method)


def plain_folder(folder: Path) -> None:
    """One after the other; the network as torch computes it."""
    translator = diptych.load(folder / "model", device="cpu").translator
    out = folder / "plain"
    out.mkdir(exist_ok=True)
    for file in sorted((folder / "in").iterdir()):
        x = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1).float().div(127.5).sub(1)
        with torch.no_grad():
            padded = geometry.pad_to_stride(x[None], translator.stride)
            y = geometry.cut_back(translator.network(padded), *x.shape[1:])[0]
        levels = y.add(1).mul(127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(levels).save(out / f"{file.stem}.png")


def diptych_folder(folder: Path, precision: Literal["fp32", "bf16"], batch_size: int) -> None:
    out = folder / f"{precision}-{batch_size}"
    translate(
        folder / "model",
        folder / "in",
        out=out,
        overwrite=True,
        device="cpu",
        precision=precision,
        batch_size=batch_size,
    )


@torch.inference_mode()
def networks_alone(title: str, network: nn.Module, turns: int) -> None:
    """Forward passes of one picture of 256 px, in CPU seconds of this process."""
    torch.manual_seed(0)
    network.eval()
    x = torch.rand(1, 3, 256, 256) * 2 - 1

    def plain() -> Tensor:
        y: Tensor = network(x)
        return y

    operators = FastOperators(frozen=True)

    def in_precision(precision: Literal["fp32", "bf16"]) -> Tensor:
        with computing(precision, CPU, operators):
            y: Tensor = network(x)
        return y.float()

    ways: dict[str, Callable[[], Tensor]] = {
        "plain": plain,
        "fp32": partial(in_precision, "fp32"),
        "bf16": partial(in_precision, "bf16"),
    }
    outputs = {name: way() for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            began = time.process_time()
            way()
            seconds[name].append(time.process_time() - began)
    for name, measured in seconds.items():
        error = (outputs[name] - outputs["plain"]).abs()
        worst, mean = (EIGHT_BIT.full / 2 * float(value) for value in (error.max(), error.mean()))
        print(
            f"{title}, forward at 256 px, {name}: {statistics.median(measured):.3f} s of the processor; "
            f"{times_as_fast(seconds['plain'], measured)}; differs by {mean:.3f} levels, at most {worst:.2f}"
        )


if __name__ == "__main__":
    main()
