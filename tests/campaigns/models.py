"""Models and checkpoints from elsewhere: config.json, model.safetensors, training.safetensors, of every wrong kind."""

import json
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors import torch as safetensors

from . import ready
from .arrays import hostile_pickle
from .harness import Attempt, Campaign, Case
from .mutations import EDGES, mutate

METHODS = ("pix2pix", "cyclegan", "glcic", "cgan")
DTYPES = (
    "F64",
    "F32",
    "F16",
    "BF16",
    "I64",
    "I32",
    "I16",
    "I8",
    "U8",
    "U16",
    "U64",
    "BOOL",
    "C64",
    "F8_E4M3",
    "F4",
    "X",
    "",
    7,
    None,
)
FLOATS = {"F64": "<d", "F32": "<f", "F16": "<e"}
NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    255,
    10**5,
    10**9,
    2**31,
    2**63 - 1,
    2**63,
    10**30,
    1e308,
    0.5,
    float("nan"),
    float("inf"),
    True,
)
TEXTS = (
    "",
    "x",
    "../../precious",
    "/etc/passwd",
    "resnet9",
    "unet",
    "cgan",
    "AtoB",
    "1",
    "\x1b[31mred",
    "a\nb",
    "\ud800",
    "n" * 10**5,
)


def prepare(shared: Path) -> None:
    """A run of each method."""
    pairs, classes = ready.write_pairs(shared / "pairs"), ready.write_classes(shared / "classes")
    for method in METHODS:
        ready.write_run(shared / method, method, classes if method == "cgan" else pairs)


def data_of(case: Case, method: str) -> Path:
    """What the run of a method was trained on."""
    return case.shared / ("classes" if method == "cgan" else "pairs")


# ---- JSON


def hostile_value(random: Random) -> Any:
    """Any value that JSON, as Python writes it, can hold."""
    return random.choice(
        (
            random.choice(NUMBERS),
            random.choice(NUMBERS),
            random.choice(TEXTS),
            None,
            [],
            {},
            [random.choice(NUMBERS)] * random.choice((1, 2, 10_000)),
            {random.choice(TEXTS): random.choice(NUMBERS)},
        )
    )


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a value, with each of its keys."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from places(inner)


def hostile_json(good: dict[str, Any], random: Random) -> bytes:
    """The same object with some values changed, lost or added; or JSON that is odd as a text."""
    changed = json.loads(json.dumps(good))
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        found = list(places(changed))
        if not found:
            break
        container, key = random.choice(found)
        match random.randrange(5):
            case 0 if isinstance(container, dict):
                container.pop(key, None)
            case 1 if isinstance(container, dict):
                container[random.choice(TEXTS)] = hostile_value(random)
            case _:
                container[key] = hostile_value(random)
    text = json.dumps(changed).encode("utf-8", errors="surrogatepass")
    depth = random.choice((500, 100_000))
    return random.choice(
        (
            *[text] * 12,
            mutate(text, random)[0],
            mutate(text, random)[0],
            b"\xef\xbb\xbf" + text,
            text.decode(errors="replace").encode("utf-16"),
            text + text,
            b"[" * depth + b"]" * depth,
            b'{"a":' * depth + b"1" + b"}" * depth,
            b'{"method": ' + b"9" * 10**5 + b"}",
            text[:-1] + b', "method": "pix2pix", "method": "cgan"}',
            json.dumps(hostile_value(random)).encode("utf-8", errors="surrogatepass"),
            b"",
            bytes(100),
        )
    )


# ---- safetensors


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header, and the bytes of all tensors."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: dict[str, Any] | bytes, body: bytes, length: int | None = None) -> bytes:
    """A file; `length` is what it says of its header in the place of what is right."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode("utf-8", errors="surrogatepass")
    return struct.pack("<Q", len(text) if length is None else length % 2**64) + text + body


def converted(data: bytes, random: Random) -> tuple[bytes, str]:
    """Some or all tensors as another type, with the right sizes."""
    types = (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool, torch.complex64)
    dtype, tensors = random.choice(types), safetensors.load(data)
    names = sorted(tensors) if random.random() < 0.5 else [random.choice(sorted(tensors))]
    for name in names:
        tensors[name] = tensors[name].to(dtype)
    return safetensors.save(tensors, {"step": "4"}), f"{len(names)} tensors as {dtype}"


def not_finite(data: bytes, random: Random) -> bytes:
    """One weight, or all of one tensor, becomes NaN or infinite."""
    header, body = split(data)
    tensors = [entry for name, entry in header.items() if name != "__metadata__" and entry["dtype"] == "F32"]
    start, end = random.choice(
        [entry["data_offsets"] for entry in tensors if entry["data_offsets"][1] > entry["data_offsets"][0]]
    )
    value = struct.pack("<f", random.choice((float("nan"), float("inf"), float("-inf"))))
    count = random.choice((1, (end - start) // 4))
    return joined(header, body[:start] + value * count + body[start + 4 * count :])


def hostile_header(data: bytes, random: Random) -> bytes:
    """One entry of the header lies, is lost, or there is one more."""
    header, body = split(data)
    names = [name for name in header if name != "__metadata__"]
    name = random.choice(names)
    entry = header[name]
    match random.choice(
        ("dtype", "shape", "offsets", "lose", "rename", "metadata", "more", "value", "swap", "json", "length", "huge")
    ):
        case "dtype":
            entry["dtype"] = random.choice(DTYPES)
        case "shape":
            entry["shape"] = random.choice(
                (
                    [],
                    [0],
                    [2**31, 2**31],
                    [2**63, 2],
                    [-1],
                    [1, *entry["shape"]],
                    entry["shape"][::-1],
                    "x",
                    [1.5],
                    None,
                )
            )
        case "offsets":
            entry["data_offsets"] = random.choice(
                ([0, 0], [0, 2**63], [8, 4], [-4, 4], [0, len(body) + 1], [0], None, [0.5, 1], [0, len(body)])
            )
        case "lose":
            del header[name]
        case "rename":
            header[random.choice(TEXTS)] = header.pop(name)
        case "metadata":
            header["__metadata__"] = random.choice(
                ({}, {"step": "x"}, {"step": "-5"}, {"step": "9" * 5000}, {"step": 4}, [], None, {"x": "y"})
            )
        case "more":
            header[random.choice(TEXTS)] = {"dtype": "F32", "shape": [1], "data_offsets": [len(body), len(body) + 4]}
            body += bytes(4)
        case "value":
            header[name] = hostile_value(random)
        case "swap":
            other = random.choice(names)
            header[name], header[other] = header[other], header[name]
        case "json":
            return joined(hostile_json(header, random), body)
        case "length":
            return joined(header, body, random.choice((*EDGES, 100_000_000, 10**8 + 1)))
        case "huge":
            size = random.choice((2**30, 100 * 2**30))
            header[name] = {"dtype": "F32", "shape": [size // 4], "data_offsets": [len(body), len(body) + size]}
    return joined(header, body)


def hostile_weights(case: Case, good: bytes) -> tuple[bytes, bool]:
    """A file, and whether it must be refused."""
    random = case.random
    match random.choice(("damaged", "header", "header", "header", "type", "not finite", "pickle", "empty")):
        case "damaged":
            data, ways = mutate(good, random)
            case.title += f", {ways}"
            return data, False
        case "header":
            case.title += ", header"
            return hostile_header(good, random), False
        case "type":
            data, ways = converted(good, random)
            case.title += f", {ways}"
            return data, False
        case "not finite":
            case.title += ", not finite"
            return not_finite(good, random), True
        case "pickle":
            case.title += ", pickle"
            return hostile_pickle(case.executed), True
        case _:
            case.title += ", empty"
            return b"", True


# ---- files that are none


def odd_file(path: Path, case: Case) -> str:
    """Puts something in the place of a file that is no file, or another's; says what."""
    path.unlink(missing_ok=True)
    match kind := case.random.choice(
        ("nothing", "fifo", "device", "folder", "circle", "link", "link to nothing", "large")
    ):
        case "fifo":
            os.mkfifo(path)
        case "device":
            path.symlink_to(case.random.choice(("/dev/zero", "/dev/null", "/dev/tty", "/dev/full")))
        case "folder":
            path.mkdir()
        case "circle":
            path.symlink_to(path)
        case "link":
            path.symlink_to(case.precious / "letter.txt")
        case "link to nothing":
            path.symlink_to("/no/such/file")
        case "large":
            with path.open("wb") as file:
                file.truncate(case.random.choice((2**31, 100 * 2**30)))
    return kind


# ---- the cases


def make(case: Case) -> Attempt:
    """One file of a run is hostile, and one command uses the run."""
    random, method = case.random, case.random.choice(METHODS)
    run, must_refuse = case.folder / "run", False
    shutil.copytree(case.shared / method, run, symlinks=True)
    name = random.choice(
        (
            "model/config.json",
            "model/config.json",
            "model/model.safetensors",
            "model/model.safetensors",
            "training.safetensors",
        )
    )
    file = max(run.glob("checkpoints/*")) / name if name == "training.safetensors" else run / name
    case.title = f"{method}: {file.name}"
    if random.random() < 0.12:
        case.title += f", {odd_file(file, case)}"
    elif file.suffix == ".json":
        file.write_bytes(hostile_json(json.loads(file.read_text(encoding="utf-8")), random))
    else:
        data, must_refuse = hostile_weights(case, file.read_bytes())
        file.write_bytes(data)
    arguments = _command(case, method, run, "checkpoints" in file.parts)
    case.title += f"; {arguments[0]}"

    def attempt() -> bool:
        opened = case.command(*arguments)
        if opened and must_refuse and arguments[0] in ("translate", "sample", "evaluate"):
            case.fault("wrong", "was used as if nothing were wrong")
        return opened

    return attempt


def _command(case: Case, method: str, run: Path, checkpoint: bool) -> tuple[object, ...]:
    data, out = data_of(case, method), case.folder / "out"
    goes_on = ready.training(method, data, run, steps=6)
    if checkpoint:
        return goes_on
    picture = min((data / "val").rglob("*.png"))
    uses: tuple[object, ...] = (
        ("sample", run, "--out", out) if method == "cgan" else ("translate", run, picture, "--out", out / "x.png")
    )
    if method == "glcic":
        uses += ("--mask", picture)
    return case.random.choice((uses, uses, uses, ("evaluate", run, "--data", data), ("report", run), goes_on))


CAMPAIGN = Campaign(make, count=3000, prepare=prepare)
