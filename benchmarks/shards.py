"""Small pictures in tar shards: listing, the first batch, pictures a second from a disk and from a server, memory.

    python benchmarks/shards.py --count 100000 --latency 20
    python benchmarks/shards.py --count 100000 --latency 20 --folder DIR --read 4000    keeps the shards; reads some of them

The pictures are JPEGs of noise, written into shards as `diptych data pack --shards` does. The server is another process on
the same machine; it answers ranges after so many milliseconds. An epoch goes through the loader of training, which decodes,
crops and flips, with nothing kept in memory. Beside seconds stand those of this process on a core, which other work does not
change as much.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import psutil
import torch

from diptych.data import remote, shards
from diptych.data.datasets import Dataset
from diptych.data.layouts import find_one
from diptych.data.loaders import CachedDataset, TrainLoader
from diptych.data.paths import DataPaths
from diptych.images.size import Size
from diptych.kinds import DataKind
from interleave import provenance

Fault = Callable[["Ranges"], bool]
"""Answers a request in another way than a server should; False where it did not."""


class Ranges(SimpleHTTPRequestHandler):
    """The files and lists of a folder, in ranges of bytes if asked so."""

    protocol_version = "HTTP/1.1"
    latency = 0.0  # seconds
    fault: Fault | None = None

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        time.sleep(self.latency)
        fault = type(self).fault
        if fault and fault(self):
            return
        path = Path(self.translate_path(self.path))
        if path.is_dir():
            super().do_GET()
        elif not path.is_file():
            self.send_error(404)
        else:
            self.give(path)

    def give(self, path: Path) -> None:
        size = path.stat().st_size
        first, last = 0, size - 1
        if asked := self.headers.get("Range"):
            start, _, end = asked.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end or last), last)
            if first > last:
                self.send_error(416)
                return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(last - first + 1))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if self.command == "GET":
            with path.open("rb") as file:
                file.seek(first)
                self.wfile.write(file.read(last - first + 1))

    def log_message(self, format: str, *values: object) -> None:
        pass


def server(folder: Path, latency: float = 0, fault: Fault | None = None) -> ThreadingHTTPServer:
    """A server of a folder on a free port of this machine, which serves as soon as `serve_forever` is called."""
    handler = type("Handler", (Ranges,), {"latency": latency, "fault": staticmethod(fault) if fault else None})
    served = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    served.daemon_threads = True
    return served


def make(folder: Path, count: int, files: int, size: int) -> None:
    """Writes the shards."""
    generator = np.random.default_rng(0)

    def picture(number: int) -> bytes:
        coarse = generator.integers(0, 256, (8, 8, 3), np.uint8)
        done, data = cv2.imencode(".jpg", cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC))
        assert done
        return data.tobytes()

    folder.mkdir(parents=True)
    for part in range(files):
        numbers = range(part * count // files, (part + 1) * count // files)
        shards.write(folder / f"{part:05d}.tar", ((f"{number:08d}.jpg", picture(number)) for number in numbers))


class Watch:
    """Seconds since it was made, and those of this process on all cores."""

    def __init__(self) -> None:
        self.start, self.own = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s ({time.process_time() - self.own:.2f} s of a core)"


def memory() -> float:
    """MiB that this process holds."""
    return float(psutil.Process().memory_info().rss) / 2**20


def opened(place: str) -> Dataset:
    shards._open.cache_clear()
    dataset = find_one(DataKind.IMAGES, DataPaths(Path(place)), "train")
    assert dataset is not None
    return dataset


def measure(place: str, size: int, most: int, batch_size: int, workers: int) -> None:
    """Prints what one place gives."""
    before, watch = memory(), Watch()
    dataset = opened(place)
    print(f"  listed: {len(dataset):,} pictures in {watch}, {memory() - before:.0f} MiB", flush=True)
    cached = CachedDataset(dataset, Size.square(size + size // 8), exact=False)
    watch = Watch()
    cached.check(workers)
    print(f"  looked at {len(cached.looked_at)} of them: {watch}")
    loader = TrainLoader([cached], size=Size.square(size), batch_size=batch_size, flip=True, seed=0, direction="AtoB")
    steps = min(most, len(dataset)) // batch_size
    watch, marks, first = Watch(), list[float](), ""
    for step, _ in enumerate(loader.stream(0, steps, torch.device("cpu"), workers)):
        first = first or str(watch)
        if step % max(steps // 10, 1) == 0:
            marks.append(memory())
    print(f"  first batch of {batch_size}: {first}")
    print(f"  {steps * batch_size:,} pictures in {watch}: {steps * batch_size / watch.seconds:,.0f} a second")
    print(f"  memory at each tenth: {', '.join(f'{mark:.0f}' for mark in marks)} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--latency", type=float, default=20, help="milliseconds")
    parser.add_argument(
        "--read", type=int, default=0, help="pictures that are read from each place; by default an epoch"
    )
    parser.add_argument("--folder", type=Path, help="where the shards are made, or are since an earlier call")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        served = server(given.serve, given.latency / 1000)
        print(served.server_port, flush=True)
        served.serve_forever()
    torch.set_num_threads(1)
    print(provenance(torch.device("cpu")))
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["DIPTYCH_CACHE"] = f"{scratch}/cache"
        folder = given.folder or Path(scratch, "shards")
        if not folder.exists():
            watch = Watch()
            make(folder, given.count, given.shards, given.size)
            print(f"{given.count:,} JPEGs of {given.size} px made and packed in {watch}")
        size, read = sum(tar.stat().st_size for tar in folder.glob("*.tar")), given.read or given.count
        print(f"from the disk, {given.shards} shards of {size / 2**20:.0f} MiB")
        measure(str(folder), given.size, read, given.batch_size, given.workers)
        for index in folder.glob("*.idx"):
            index.unlink()
        watch = Watch()
        opened(str(folder))
        print(f"  listed without its indexes, which are made: {watch}")
        own = [sys.executable, __file__, "--serve", str(folder), "--latency", str(given.latency)]
        with subprocess.Popen(own, stdout=subprocess.PIPE, text=True) as serving:
            assert serving.stdout
            place = f"http://127.0.0.1:{serving.stdout.readline().strip()}"
            try:
                print(f"over http, {given.latency:g} ms, {shards.THREADS} at one time")
                measure(place, given.size, read, given.batch_size, given.workers)
                samples, watch = opened(place), Watch()
                for number in range(100):
                    samples.load(number * 7 % len(samples))
                print(f"  one after the other: {100 / watch.seconds:,.0f} a second")
                file = f"{place}/00000.tar"
                assert remote.read(file, 0, 2000) == (folder / "00000.tar").read_bytes()[:2000]
            finally:
                serving.terminate()


if __name__ == "__main__":
    main()
