"""Arrays (.npy): pickles, code in headers, shapes that overflow, types of all kinds, damaged files."""

import io
import pickle
import struct
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from diptych.kinds import DataKind

from .harness import Attempt, Campaign, Case
from .mutations import mutate
from .ready import look

MAGIC = b"\x93NUMPY"
NUMBERS = ("0", "1", "2", "3", "4", "16", "-1", "1.5", "True", "None", "1e3", "10**9", "99999999", "9" * 30, "0x10")
LARGE = (2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64)
TYPES = (
    "|u1",
    "<u2",
    ">u2",
    "|i1",
    "<i8",
    ">f4",
    "<f8",
    "|b1",
    "|O",
    "<U5",
    "|S7",
    "|V3",
    "<c8",
    "<M8[s]",
    "<m8",
    "|u3",
    "u1,u1",
    "",
    "x",
)


class _Runs:
    """Unpickled, it writes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, (f"open({str(self.file)!r}, 'w')",)


def hostile_pickle(file: Path) -> bytes:
    """A pickle that writes `file` when it is opened."""
    return pickle.dumps(_Runs(file))


def npy(header: bytes, body: bytes, version: tuple[int, int] = (1, 0), length: int | None = None) -> bytes:
    """An array file with whatever header; `length` is what it says of the header's length."""
    code = "<H" if version[0] == 1 else "<I"
    length = len(header) if length is None else length
    return MAGIC + bytes(version) + struct.pack(code, length % 256 ** struct.calcsize(code)) + header + body


def _good(random: Random) -> bytes:
    shape: tuple[int, ...] = random.choice(((3, 16, 16, 3), (3, 16, 16), (2, 20, 17, 1)))
    dtype: Any = np.uint8
    if random.random() < 0.3:
        shape = random.choice(((2, 4, 4, 4), (1, 1, 1), (5, 5), (0, 8, 8, 3), (2, 1, 99, 3)))
    if random.random() < 0.3:
        dtype = random.choice((np.uint16, np.float32, np.dtype(">u2"), np.bool_))
    stream = io.BytesIO()
    array = np.frombuffer(random.randbytes(int(np.prod(shape))), np.uint8).reshape(shape).astype(dtype)
    np.save(stream, np.asfortranarray(array) if random.random() < 0.3 else array)
    return stream.getvalue()


def _shape(random: Random) -> str:
    numbers = [
        random.choice((*NUMBERS, str(random.choice(LARGE)), f"-{random.choice(LARGE)}"))
        for _ in range(random.randrange(5))
    ]
    return random.choice(
        (
            f"({', '.join(numbers)},)",
            f"({', '.join(numbers)},)",
            f"({', '.join(map(str, random.choices(LARGE, k=4)))})",
            f"[{', '.join(numbers)}]",
            f"({'1, ' * random.choice((32, 65, 2000))})",
            "'3'",
            "(3, (3, 3))",
            "()",
            "-1",
            "(3, 16, 16, 3)",
        )
    )


def _descr(random: Random, file: Path) -> str:
    depth = random.choice((20, 200, 3000))
    return random.choice(
        (
            repr(random.choice(TYPES)),
            repr(random.choice(TYPES)),
            f"[('a', {random.choice(TYPES)!r}), ('b', '<u2', (2, 2))]",
            "[" * depth + "'|u1'" + "]" * depth,
            "('|u1', " * depth + "(1,)" + ")" * depth,
            f"__import__('os').system('touch {file}')",
            f"open({str(file)!r}, 'w')",
            "('|u1', (2, 2))",
            "('|u1', (99999999999,))",
            "'|u1'",
            "None",
            "{}",
        )
    )


def _header(random: Random, file: Path) -> bytes:
    order = random.choice(("False", "False", "True", "None", "5", "'x'"))
    parts = [f"'descr': {_descr(random, file)}", f"'fortran_order': {order}", f"'shape': {_shape(random)}"]
    match random.randrange(10):
        case 0:
            del parts[random.randrange(3)]
        case 1:
            parts.append(f"'more': {'[' * 500}{']' * 500}")
        case 2:
            parts += parts
    text = "{" + ", ".join(parts) + "}"
    text += " " * random.choice((0, 50, 20_000)) + "\n"
    return random.choice(
        (text.encode(), text.encode(), text.encode(), text.encode("utf-16"), b"\0" + text.encode(), b"((" * 5000)
    )


def make(case: Case) -> Attempt:
    """One array, or an array beside a good one."""
    random = case.random
    match random.choice(("header", "header", "damaged", "damaged", "pickle", "version", "good")):
        case "header":
            case.title, data = (
                "header",
                npy(_header(random, case.executed), random.randbytes(random.choice((0, 9, 3000)))),
            )
        case "damaged":
            data, ways = mutate(_good(random), random)
            case.title = ways
        case "pickle":
            header = b"{'descr': '|O', 'fortran_order': False, 'shape': (3,)}\n"
            body = hostile_pickle(case.executed)
            case.title, data = "pickle", random.choice((npy(header, body), body, MAGIC + body))
        case "version":
            version = (random.choice((0, 1, 2, 3, 9, 255)), random.choice((0, 0, 1)))
            length = random.choice((None, 0, 1, 2**16 - 1, 2**31, 2**32 - 1))
            case.title, data = (
                f"version {version}, length {length}",
                npy(_header(random, case.executed), bytes(900), version, length),
            )
        case _:
            case.title, data = "good", _good(random)
    case.title = case.title[:80]
    folder = case.folder / "data"
    folder.mkdir()
    name = random.choice(("train.npy", "x.npy", "val.npy", "a.npy"))
    (folder / name).write_bytes(data)
    if name == "val.npy":
        np.save(folder / "train.npy", np.zeros((3, 16, 16, 3), np.uint8))
    case.guard(folder)
    is_split = name in ("train.npy", "val.npy")
    return look(case, folder if is_split and random.random() < 0.5 else folder / name, DataKind.IMAGES)


CAMPAIGN = Campaign(make, count=3000)
