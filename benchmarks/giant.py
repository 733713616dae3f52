"""Giant pictures in strips of rows beside the whole: equality, time, memory, and what tiles make of the same picture.

    python benchmarks/giant.py file     --data DIR --size 12000x8000 --memory 2G    a photograph from file to file
    python benchmarks/giant.py file     --size 12000x8000 --width 4 --memory 1G --limit 2G --uncached
    python benchmarks/giant.py equality --size 3000x2000 --width 16                 whole beside strips, in levels
    python benchmarks/giant.py precision --size 512x512 --width 64                  bf16 beside fp32, whole and in strips
    python benchmarks/giant.py time     --size 1024x1024 --width 64                 whole : strips, in turns
    python benchmarks/giant.py memory   --width 64 --blocks 1 --across 12000 --heights 96 320
    python benchmarks/giant.py tiles    --data DIR --size 768x512 --out FILE        tiles of 256 px beside the whole

The photograph is a mosaic of those in DIR, or drawn without one; the networks have random weights. Memory is the most that a
process of its own held at once. `--limit` is a hard one for that process (RLIMIT_AS); with `--uncached` what is kept on the
disk is written through and dropped from the system's cache, as on a machine that has no memory for that.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diptych.cpu import FastOperators
from diptych.devices import bytes_from
from diptych.images.files import Array, Pixels, encode, from_bytes, from_tensor, merge
from diptych.images.geometry import mirrored
from diptych.images.size import Size
from diptych.images.spec import EIGHT_BIT
from diptych.methods import build
from diptych.methods.cyclegan import CycleGANSettings
from diptych.methods.pix2pix import Pix2PixSettings
from diptych.methods.settings import MethodSettings, Shape
from diptych.model import Model
from diptych.networks.layers import initialise
from diptych.networks.resnet import ResNet
from diptych.training import checkpoint
from diptych.translators.scratch import Store
from diptych.translators.streaming import Plan
from interleave import provenance

CPU = torch.device("cpu")
TILE, HALO = 256, 64
CROP = np.s_[136:376, 136:376]
"""Where four tiles meet."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("file", "child", "equality", "precision", "time", "memory", "rows", "tiles"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--size", default="3000x2000", help="WIDTHxHEIGHT")
    parser.add_argument("--side", type=int, default=1000, help="of each photograph, in pixels")
    parser.add_argument("--network", choices=("resnet9", "unet"), default="resnet9")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--across", type=int, default=12000)
    parser.add_argument("--heights", type=int, nargs="+", default=[96, 320])
    parser.add_argument("--memory", default="2G")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--limit", help="of the addresses of the process that translates, such as 4G")
    parser.add_argument("--uncached", action="store_true")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--model", type=Path, help="a trained one, instead of random weights")
    parser.add_argument("--folder", type=Path, help="for pictures, models and what is kept; else one that goes again")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        given.folder = given.folder or Path(name)
        given.folder.mkdir(exist_ok=True)
        {"file": file, "child": child, "equality": equality, "time": times}.get(given.what, globals()[given.what])(
            given
        )
    if given.what not in ("child", "rows"):
        print(provenance(CPU))


def mosaic(data: Path | None, size: str, side: int = 1000) -> Array:
    """A picture of photographs side by side, each scaled to `side` pixels."""
    width, height = map(int, size.split("x"))
    files = sorted(data.iterdir()) if data else []
    whole, generator, number = np.empty((height, width, 3), np.uint8), np.random.default_rng(0), 0
    for top in range(0, height, side):
        for left in range(0, width, side):
            if files:
                one = Image.open(files[number % len(files)]).convert("RGB").resize((side, side))
            else:
                one = Image.fromarray(generator.integers(0, 256, (9, 9, 3), np.uint8)).resize((side, side))
            number += 1
            part = whole[top : top + side, left : left + side]
            part[:] = np.asarray(one)[: part.shape[0], : part.shape[1]]
    return whole


def write_model(folder: Path, network: str, width: int) -> Path:
    if not (folder / "config.json").exists():
        of_method: MethodSettings = (
            CycleGANSettings(width=width) if network == "resnet9" else Pix2PixSettings(width=width)
        )
        settings, shape = of_method.resolved(1, Size.square(256)), Shape(size=Size.square(256))
        name = "cyclegan" if network == "resnet9" else "pix2pix"
        config = checkpoint.ModelConfig(
            method=name, direction="AtoB", shape=shape, settings=settings.model_dump(mode="json", by_alias=True)
        )
        checkpoint.save_model(folder, config, 0, build(name, settings, shape, CPU))
    return folder


def most_held() -> float:
    """GiB that this process held at the most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def most_addresses() -> float:
    """GiB of addresses that this process had at the most: what a limit counts, used or not."""
    [line] = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmPeak:")]
    return int(line.split()[1]) / 2**20


def of_child(*arguments: object) -> dict[str, float]:
    """What a process of its own prints."""
    done = subprocess.run([sys.executable, __file__, *map(str, arguments)], stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout.decode().splitlines()[-1])
    return found


def file(given: argparse.Namespace) -> None:
    """A file to a file, in a process of its own."""
    source = given.folder / f"giant-{given.size}.jpg"
    if not source.exists():
        Image.fromarray(mosaic(given.data, given.size, given.side)).save(source, quality=92)
    write_model(given.folder / f"{given.network}-{given.width}", given.network, given.width)
    arguments = (
        f"--size {given.size} --network {given.network} --width {given.width} --precision {given.precision}".split()
    )
    limits = [*(["--limit", given.limit] if given.limit else []), *(["--uncached"] if given.uncached else [])]
    found = of_child("child", *arguments, *limits, "--memory", given.memory, "--folder", given.folder)
    what = f"{given.network} of width {given.width}, {given.precision}, {given.size}, --memory {given.memory}"
    print(f"{what} {' '.join(limits)}: {found}")


def child(given: argparse.Namespace) -> None:
    from diptych import cli
    from diptych.cli import process

    process.keep_freed_memory()
    if given.limit:
        resource.setrlimit(resource.RLIMIT_AS, (bytes_from(given.limit),) * 2)
    if given.uncached:
        Store._write = _written_through  # type: ignore[method-assign]
    source = given.folder / f"giant-{given.size}.jpg"
    out = given.folder / f"{given.network}-{given.width}-{given.precision}-{given.memory}.png"
    before = time.perf_counter(), time.process_time()
    words = ["translate", str(given.folder / f"{given.network}-{given.width}"), str(source), "--out", str(out)]
    status = cli.run(
        [*words, "--overwrite", "--memory", given.memory, "--precision", given.precision, "--device", "cpu"]
    )
    wall, cpu = time.perf_counter() - before[0], time.process_time() - before[1]
    held = {"GiB": round(most_held(), 2), "GiB of addresses": round(most_addresses(), 2)}
    print(json.dumps({"status": status, "seconds": round(wall), "cpu": round(cpu), **held}))


def _written_through(self: Store, place: int, part: memoryview) -> None:
    """In the place of `Store._write`."""
    file, size = self._at(place), len(part)
    while part:
        part = part[file.write(part) :]
    os.fdatasync(file.fileno())
    os.posix_fadvise(file.fileno(), place, size, os.POSIX_FADV_DONTNEED)


def models(given: argparse.Namespace) -> tuple[Model, Model]:
    """One that takes pictures whole, and one that takes them in strips."""
    folder = given.model or write_model(given.folder / f"{given.network}-{given.width}", given.network, given.width)
    ways = [
        Model(folder, device="cpu", precision=given.precision, memory=memory)
        for memory in (2**50, bytes_from(given.memory))
    ]
    for model in () if given.model else ways:
        torch.manual_seed(0)
        initialise(model.translator.network)
    return ways[0], ways[1]


def equality(given: argparse.Namespace) -> None:
    source = Pixels(mosaic(given.data, given.size, given.side))
    whole, strips = (model.pixels(source).values.astype(int) for model in models(given))
    away = np.abs(whole - strips)
    print(f"{given.size}, {given.network} of width {given.width}, {given.precision}: ", end="")
    print(f"{np.mean(away > 0):.1e} of the values differ, by {away.max()} at the most")


def precision(given: argparse.Namespace) -> None:
    """How far bf16 is from fp32, as a whole and in strips, before values are rounded to levels: of -1 to 1."""
    x = EIGHT_BIT.to_float(torch.from_numpy(mosaic(given.data, given.size, given.side)).permute(2, 0, 1)[None])
    made = dict[tuple[str, str], Tensor]()
    for name in ("fp32", "bf16"):
        given.precision = name
        made |= {(name, way): model.run(x) for way, model in zip(("whole", "strips"), models(given), strict=True)}
    for one, other in (
        (("bf16", "whole"), ("fp32", "whole")),
        (("bf16", "strips"), ("fp32", "whole")),
        (("bf16", "strips"), ("bf16", "whole")),
        (("fp32", "strips"), ("fp32", "whole")),
    ):
        away = (made[one] - made[other]).abs()
        print(f"{' '.join(one)} beside {' '.join(other)}: {away.mean():.1e} on average, {away.max():.1e} at the most")


def times(given: argparse.Namespace) -> None:
    """In CPU seconds of this process, which other processes disturb least."""
    source, models_ = Pixels(mosaic(given.data, given.size, given.side)), models(given)
    seconds: dict[str, list[float]] = {"whole": [], "strips": []}
    for _ in range(given.turns + 1):
        for measured, model in zip(seconds.values(), models_, strict=True):
            began = time.process_time()
            model.pixels(source)
            measured.append(time.process_time() - began)
    ratios = [f"{strips / whole:.2f}" for whole, strips in zip(*(turns[1:] for turns in seconds.values()), strict=True)]
    print(
        f"{given.size}, {given.network} of width {given.width}, --memory {given.memory}: strips : whole {', '.join(ratios)}"
    )
    print({name: [round(turn, 1) for turn in turns[1:]] for name, turns in seconds.items()})


def memory(given: argparse.Namespace) -> None:
    for height in given.heights:
        words = (
            "rows",
            "--width",
            given.width,
            "--blocks",
            given.blocks,
            "--across",
            given.across,
            "--heights",
            height,
        )
        print(f"{given.across} across, {height} high, width {given.width}: {of_child(*words)}")


@torch.inference_mode()
def rows(given: argparse.Namespace) -> None:
    """Rows of a network with nothing kept in memory; what Python and torch hold is taken off."""
    [height], across = given.heights, given.across
    network = ResNet(3, 3, blocks=given.blocks, width=given.width).eval()
    line, out = torch.rand(1, 3, 1, across) * 2 - 1, []
    network(torch.zeros(1, 3, 64, 64))
    before, began = most_held(), time.perf_counter()

    def read(start: int, stop: int) -> Tensor:
        return torch.cat([line.roll(7 * row, -1) for row in range(start, stop)], dim=-2)

    def write(start: int, y: Tensor) -> None:
        out.append(EIGHT_BIT.to_levels(y))

    with Store(0, given.folder) as store, FastOperators(frozen=True):
        Plan(network, 3, height, across).run(read, write, store)
        on_disk = store.most_in_file / 1e9
    print(
        json.dumps(
            {
                "GiB": round(most_held() - before, 2),
                "GB on disk": round(on_disk, 2),
                "seconds": round(time.perf_counter() - began),
            }
        )
    )


@torch.inference_mode()
def tiles(given: argparse.Namespace) -> None:
    """What tiles with a margin make of a picture, beside the whole, and the same in strips."""
    source, (whole, strips) = Pixels(mosaic(given.data, given.size, given.side)), models(given)
    height, width = source.size
    tiled = np.empty_like(source.values)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            index = np.ix_(
                mirrored(height, top - HALO, top + TILE + HALO).numpy(),
                mirrored(width, left - HALO, left + TILE + HALO).numpy(),
            )
            made = whole.pixels(Pixels(source.values[index])).values[HALO:-HALO, HALO:-HALO]
            part = tiled[top : top + TILE, left : left + TILE]
            part[:] = made[: part.shape[0], : part.shape[1]]
    of_whole, of_strips = (model.pixels(source).values for model in (whole, strips))
    for name, other in (("tiles", tiled), ("strips", of_strips)):
        away = np.abs(of_whole.astype(int) - other)
        most, mean = away.max(), away.mean()
        print(f"{name}: {np.mean(away > 0):.1%} of the values differ, by {most} at the most, {mean:.2f} on average")
    if given.out:
        crops = [
            from_bytes(torch.from_numpy(one[CROP]).permute(2, 0, 1))
            for one in (source.values, of_whole, of_strips, tiled)
        ]
        encode(from_tensor(merge(crops, columns=4, gap=6)), given.out)


if __name__ == "__main__":
    main()
