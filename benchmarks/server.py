"""A server under load: what batches bring, and what becomes of a thousand requests at once, slow, hostile and ended clients.

    python benchmarks/server.py RUN [--only compare many soak slow hostile end] [--soak 10000]

RUN translates pictures. The server is a process of its own, and so is the naive one it is compared with: a handler that
calls the model for each request. Clients run in this process, on the same cores.
"""

import argparse
import asyncio
import io
import os
import random
import re
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import psutil
import torch
import uvicorn
from fastapi import Depends, FastAPI, Request, Response
from PIL import Image

import diptych
from diptych.serve.running import open_socket
from interleave import provenance

TRANSLATE = "/v1/models/model/translate"
TURNS = 3
CLIENTS = 16
READY = re.compile(r"http://127\.0\.0\.1:(\d+)")


def main() -> None:
    if "GOMP_SPINCOUNT" not in os.environ:  # as the command has it: torch reads it when it is imported
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"GOMP_SPINCOUNT": "1000"})
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("run", type=Path)
    arguments.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    arguments.add_argument("--soak", type=int, default=10_000)
    arguments.add_argument("--requests", type=int, default=480, help="of each turn of the comparison")
    arguments.add_argument("--size", type=int, default=64)
    arguments.add_argument("--naive", action="store_true", help="be the naive server")
    given = arguments.parse_args()
    if given.naive:
        serve_naively(given.run)
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    for name in given.only:
        print(f"{name}: {PARTS[name](given)}", flush=True)
    print(provenance(torch.device("cpu")))


# ---- servers


def serve_naively(run: Path) -> None:
    """What one writes first."""
    model = diptych.load(run, device="cpu")

    async def body(request: Request) -> bytes:
        return await request.body()

    def translate(data: Annotated[bytes, Depends(body)]) -> Response:
        return Response(model(data), media_type="image/png")

    app = FastAPI()
    app.post(TRANSLATE, response_class=Response)(translate)
    listening = open_socket("127.0.0.1", 0)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run([listening])


class Server(NamedTuple):
    """A running one."""

    process: "subprocess.Popen[str]"
    port: int

    @property
    def memory(self) -> float:
        """In MB."""
        return float(psutil.Process(self.process.pid).memory_info().rss / 1e6)


@contextmanager
def serving(run: Path, *flags: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "diptych", "serve", f"model={run}", "--port", "0", "--device", "cpu"]
    with _started([*command, "--no-access-log", *flags]) as server:
        yield server


@contextmanager
def _started(command: Sequence[str]) -> Iterator[Server]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        found = READY.search(process.stdout.readline())
        assert found, "the server did not start"
        time.sleep(0.5)
        yield Server(process, int(found[1]))
    finally:
        process.terminate()
        process.wait(120)


# ---- clients


class Answer(NamedTuple):
    status: int
    body: bytes
    seconds: float


class Connection:
    """HTTP/1.1 in a few lines: a client that is written for people takes more time than the server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes, path: str = TRANSLATE, headers: str = "") -> Answer:
        began = time.perf_counter()
        self.streams = self.streams or await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        writer.write(head.encode() + body)
        status, answer = await read_answer(reader)
        return Answer(status, answer, time.perf_counter() - began)

    def close(self) -> None:
        if self.streams:
            self.streams[1].close()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = re.search(r"content-length: (\d+)", head)
    return int(head.split()[1]), await reader.readexactly(int(length[1])) if length else b""


async def clients_of(port: int, bodies: Sequence[bytes], count: int) -> list[Answer]:
    """`count` clients ask for all bodies, each one after the other."""
    waiting, answers = iter(enumerate(bodies)), dict[int, Answer]()

    async def one() -> None:
        connection = Connection(port)
        for number, body in waiting:
            answers[number] = await connection.post(body)
        connection.close()

    await asyncio.gather(*(one() for _ in range(count)))
    return [answers[number] for number in range(len(bodies))]


def pictures(size: int, count: int = 12) -> list[bytes]:
    found = []
    for number in range(count):
        values = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        image = Image.fromarray(values).resize((size, size), Image.Resampling.BICUBIC)
        image.save(stream := io.BytesIO(), "PNG")
        found.append(stream.getvalue())
    return found


def told(answers: Sequence[Answer]) -> str:
    seconds = sorted(answer.seconds for answer in answers)
    p50, p99 = statistics.median(seconds), seconds[int(0.99 * (len(seconds) - 1))]
    return f"p50 {1000 * p50:.0f} ms, p99 {1000 * p99:.0f} ms"


def wrong(answers: Sequence[Answer], bodies: Sequence[bytes], run: Path) -> str:
    """How answers compare with the model's own, in levels."""
    model, expected, farthest = diptych.load(run, device="cpu"), dict[bytes, np.ndarray](), Counter[int]()
    for answer, body in zip(answers, bodies, strict=True):
        if answer.status != 200:
            continue
        if body not in expected:
            expected[body] = np.asarray(Image.open(io.BytesIO(model(body)))).astype(int)
        ours = np.asarray(Image.open(io.BytesIO(answer.body))).astype(int)
        farthest[int(np.abs(ours - expected[body]).max())] += 1
    far = sum(count for levels, count in farthest.items() if levels > 1)
    return f"{farthest[0]} equal, {farthest[1]} within one level, {far} wrong"


# ---- what is measured


def compare(given: argparse.Namespace) -> str:
    """Requests a second, and what each costs the process that answers; in turns."""
    bodies = (pictures(given.size) * given.requests)[: given.requests]
    model = diptych.load(given.run, device="cpu")
    naive = [sys.executable, __file__, "--naive", str(given.run)]
    rates: dict[str, list[float]] = {}
    latencies: dict[str, list[Answer]] = {}
    computed: dict[str, list[float]] = {}

    def timed(name: str, ask: Callable[[], list[Answer]], process: psutil.Process) -> None:
        cpu, began = process.cpu_times(), time.perf_counter()
        answers = ask()
        after = process.cpu_times()
        used = after.user + after.system - cpu.user - cpu.system
        computed.setdefault(name, []).append(1000 * used / len(bodies))
        rates.setdefault(name, []).append(len(bodies) / (time.perf_counter() - began))
        assert {answer.status for answer in answers} == {200}
        latencies.setdefault(name, []).extend(answers)

    def loop() -> list[Answer]:
        answers = []
        for body in bodies:
            began = time.perf_counter()
            answers.append(Answer(200, model(body), time.perf_counter() - began))
        return answers

    with serving(given.run) as server, serving(given.run, "--max-batch", "1") as single, _started(naive) as other:
        servers = {"server": server, "server, --max-batch 1": single, "naive FastAPI": other}
        for _ in range(TURNS):
            timed("the model in a loop", loop, psutil.Process())
            for name, (process, port) in servers.items():
                asking = partial(clients_of, port, bodies, CLIENTS)
                timed(name, lambda asking=asking: asyncio.run(asking()), psutil.Process(process.pid))  # type: ignore[misc]
    lines = [
        f"{name}: {statistics.median(rate):.0f} a second ({min(rate):.0f}..{max(rate):.0f}), {told(latencies[name])}, "
        f"{statistics.median(computed[name]):.1f} ms of CPU each"
        for name, rate in rates.items()
    ]
    pairs = {
        name: statistics.median(a / b for a, b in zip(rates["server"], rates[name], strict=True)) for name in rates
    }
    ratios = ", ".join(f"{ratio:.2f} times {name}" for name, ratio in pairs.items() if name != "server")
    return f"{CLIENTS} clients, {given.size} px\n  " + "\n  ".join(lines) + f"\n  the server is {ratios}"


def many(given: argparse.Namespace) -> str:
    """A thousand requests at once, each on its own connection; then with the usual queue and clients that come again."""
    bodies = ([body for size in (48, 64, 80) for body in pictures(size, 4)] * 84)[:1000]
    lines = []
    with serving(given.run, "--queue", "2000") as server:
        for _ in range(2):
            began = time.perf_counter()
            answers = asyncio.run(clients_of(server.port, bodies, 1000))
            lines.append(
                f"queue 2000: {dict(Counter(answer.status for answer in answers))}, {wrong(answers, bodies, given.run)}, "
                f"{time.perf_counter() - began:.1f} s with the check, {told(answers)}, {server.memory:.0f} MB"
            )
    with serving(given.run) as server:
        answers = asyncio.run(clients_of(server.port, bodies, 1000))
        lines.append(f"queue 64, no second try: {dict(Counter(answer.status for answer in answers))}")
        lines[-1] += f", {wrong(answers, bodies, given.run)}"
    return "\n  " + "\n  ".join(lines)


def soak(given: argparse.Namespace) -> str:
    """Requests in a row; memory after the first tenth and at the end."""
    bodies = (pictures(given.size) * given.soak)[: given.soak]
    with serving(given.run) as server:
        first = asyncio.run(clients_of(server.port, bodies[: given.soak // 10], 4))
        before = server.memory
        answers = first + asyncio.run(clients_of(server.port, bodies[given.soak // 10 :], 4))
        after = server.memory
    statuses = dict(Counter(answer.status for answer in answers))
    return (
        f"{len(answers)} by 4 clients: {statuses}, {before:.0f} -> {after:.0f} MB ({100 * (after / before - 1):+.1f} %)"
    )


def slow(given: argparse.Namespace) -> str:
    """200 clients that send a byte a second, and 200 others meanwhile."""
    [body, *_] = pictures(given.size)

    async def drip(port: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST {TRANSLATE} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        answer = asyncio.create_task(read_answer(reader))
        for byte in body:
            writer.write(bytes([byte]))
            await asyncio.wait({answer}, timeout=1)
            if answer.done():
                break
        writer.close()
        status, _ = await answer
        return status

    async def both(port: int) -> tuple[list[Answer], list[int]]:
        slow_ones = [asyncio.create_task(drip(port)) for _ in range(200)]
        await asyncio.sleep(2)
        fast = await clients_of(port, [body] * 200, 4)
        return fast, list(await asyncio.gather(*slow_ones))

    with serving(given.run, "--timeout", "10") as server:
        fast, given_up = asyncio.run(both(server.port))
    return (
        f"others {dict(Counter(answer.status for answer in fast))}, {told(fast)}; slow ones {dict(Counter(given_up))}"
    )


def hostile(given: argparse.Namespace) -> str:
    """A thousand bodies that are no pictures, damaged ones, too large ones; and whether the server is as before."""
    [good, *_] = pictures(given.size)
    choose = random.Random(0)
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")

    def one(number: int) -> tuple[bytes, str, set[int]]:
        kind = number % 8
        if kind == 0:
            return choose.randbytes(choose.randrange(1, 4000)), "", {415, 422}
        if kind == 1:
            return good[: choose.randrange(8, len(good) - 20)], "", {415, 422}
        if kind == 2:
            damaged = bytearray(good)
            for _ in range(20):
                damaged[choose.randrange(40, len(damaged) - 20)] = choose.randrange(256)
            return bytes(damaged), "", {200, 413, 415, 422}
        if kind == 3:
            return bomb.getvalue(), "", {413}
        if kind == 4:
            return bytes(1_100_000), "", {413}
        if kind == 5:
            return b'{"image": "' + choose.randbytes(300) + b'"}', "Content-Type: application/json\r\n", {422}
        if kind == 6:
            return choose.randbytes(500), "Content-Type: multipart/form-data; boundary=x\r\n", {422}
        return good, "Content-Type: image/png\r\n", {200}

    async def all_of(port: int) -> Counter[str]:
        found, waiting = Counter[str](), iter([one(number) for number in range(1000)])

        async def client() -> None:
            for body, headers, expected in waiting:
                connection = Connection(port)
                answer = await connection.post(body, headers=headers)
                connection.close()
                found[f"{answer.status}" if answer.status in expected else f"{answer.status}, wrong"] += 1

        await asyncio.gather(*(client() for _ in range(8)))
        return found

    with serving(given.run, "--max-bytes", "1000000") as server:
        found = asyncio.run(all_of(server.port))
        [after] = asyncio.run(clients_of(server.port, [good], 1))
        alive = server.process.poll() is None
        memory = server.memory
    return f"{dict(sorted(found.items()))}; afterwards {after.status}, {'alive' if alive else 'DEAD'}, {memory:.0f} MB"


def end(given: argparse.Namespace) -> str:
    """SIGTERM while 400 requests are open: all that were sent are answered."""
    bodies = (pictures(given.size) * 40)[:400]

    async def ask(server: Server) -> tuple[list[Answer | BaseException], int]:
        connections = [Connection(server.port) for _ in bodies]
        asked = [
            asyncio.create_task(connection.post(body)) for connection, body in zip(connections, bodies, strict=True)
        ]
        await asyncio.sleep(0)
        while sum(task.done() for task in asked) < 20:
            await asyncio.sleep(0.005)
        done = sum(task.done() for task in asked)
        server.process.send_signal(signal.SIGTERM)
        return list(await asyncio.gather(*asked, return_exceptions=True)), done

    with serving(given.run, "--queue", "2000") as server:
        answers, done = asyncio.run(ask(server))
        status = server.process.wait(120)
    there = [answer for answer in answers if isinstance(answer, Answer)]
    lost = len(answers) - len(there)
    statuses = dict(Counter(answer.status for answer in there))
    return f"at {done} of 400 answers: {statuses}, {lost} lost, exit status {status}, {wrong(there, bodies, given.run)}"


PARTS: dict[str, Callable[[argparse.Namespace], str]] = {
    part.__name__: part for part in (compare, many, soak, slow, hostile, end)
}

if __name__ == "__main__":
    main()
