"""TFRecord files: lengths, checksums, protobuf messages of all shapes, damaged and hostile pictures in good records."""

import gzip
import struct
from pathlib import Path
from random import Random

import google_crc32c

from diptych.kinds import DataKind

from . import bombs, seeds
from .harness import Attempt, Campaign, Case
from .mutations import EDGES, mutate
from .ready import look


def prepare(shared: Path) -> None:
    """The pictures that good records hold."""
    for name, data in seeds.opened():
        (shared / name.replace(";", "")).write_bytes(data)


# ---- a record around a message


def framed(data: bytes, length: int | None = None, checksum: int | None = None) -> bytes:
    """A record; `length` and `checksum` are what it says in the place of what is right."""
    says = struct.pack("<Q", (len(data) if length is None else length) % 2**64)
    return says + _masked_crc(says) + data + (_masked_crc(data) if checksum is None else struct.pack("<I", checksum))


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    turned = (crc >> 15) | (crc << 17) & 0xFFFFFFFF
    return struct.pack("<I", (turned + 0xA282EAD8) % 2**32)


# ---- a message


def varint(number: int, more: int = 0) -> bytes:
    """In groups of seven bits; `more` groups of zeros make it longer than it needs to be."""
    groups = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)] + [0] * more
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def field(number: int, content: bytes, length: int | None = None) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(content) if length is None else length) + content


def example(features: dict[bytes, bytes]) -> bytes:
    """A `tf.train.Example`: names, and lists that are messages already."""
    entries = [field(1, field(1, name) + field(2, content)) for name, content in features.items()]
    return field(1, b"".join(entries))


def _odd_message(random: Random, depth: int = 0) -> bytes:
    """Any fields, nested, of any wire type, with lengths that may lie."""
    parts = []
    for _ in range(random.choice((0, 1, 2, 5))):
        number, wire = random.choice((0, 1, 1, 2, 3, 15, 2**29)), random.choice((0, 1, 2, 2, 2, 3, 4, 5, 6, 7))
        tag = varint(number << 3 | wire, random.choice((0, 0, 0, 5)))
        if wire == 2:
            content = _odd_message(random, depth + 1) if depth < 6 else random.randbytes(9)
            length = random.choice((len(content), len(content), len(content), random.choice(EDGES)))
            parts.append(tag + varint(length, random.choice((0, 0, 12))) + content)
        else:
            parts.append(
                tag + (varint(random.choice(EDGES)) if wire == 0 else random.randbytes(random.choice((0, 4, 8))))
            )
    return b"".join(parts)


def _nested(random: Random) -> bytes:
    message = b""
    for _ in range(random.choice((50, 3000))):
        message = field(1, message)
    return message


def _odd_example(random: Random, picture: bytes) -> bytes:
    good = {
        b"image_name": field(1, field(1, b"a")),
        b"image": field(1, field(1, picture)),
        b"target": field(1, field(1, b"x")),
    }
    number = field(3, field(1, varint(7)))
    match random.randrange(9):
        case 0:
            good[b"image"] = random.choice((number, field(2, field(1, bytes(8))), b"", field(1, b""), field(9, b"x")))
        case 1:
            good[b"image"] = field(1, field(1, picture) * random.choice((2, 1000)))
        case 2:
            del good[random.choice(list(good))]
        case 3:
            good[b"image_name"] = field(
                1,
                field(
                    1, random.choice((b"../../precious/a", b"", b"\xff\xfe", b"a\nb\x1b[31m", b"n" * 10**5, b"/etc/x"))
                ),
            )
        case 4:
            good |= {b"k%d" % i: number for i in range(random.choice((10, 20_000)))}
        case 5:
            good[random.choice((b"\xff", b"", b"\n\x1b[2J", b"n" * 10**6))] = number
        case 6:
            good[b"image"] = field(1, field(1, picture, random.choice(EDGES)))
        case 7:
            return example(good) * random.choice((2, 50))
        case _:
            good[b"image"] = field(1, field(1, bombs.BOMBS[random.randrange(len(bombs.BOMBS))](random)[1]))
    return example(good)


# ---- a file


def _file(random: Random, picture: bytes) -> tuple[str, bytes]:
    good = framed(example({b"image_name": field(1, field(1, b"a")), b"image": field(1, field(1, picture))}))
    match random.choice(
        ("damaged", "damaged", "message", "example", "example", "nested", "length", "checksum", "many", "other")
    ):
        case "damaged":
            data, ways = mutate(good * 3, random)
            return ways, data
        case "message":
            return "odd message", good + framed(_odd_message(random))
        case "example":
            return "odd example", good + framed(_odd_example(random, picture))
        case "nested":
            return "nested message", framed(_nested(random))
        case "length":
            length = random.choice((*EDGES, -12, -16, 2**64 - 16))
            return f"length {length}", good + framed(bytes(random.choice((0, 90))), length)
        case "checksum":
            return "wrong checksum", good + framed(example({}), checksum=random.getrandbits(32))
        case "many":
            return "many empty records", framed(b"") * random.choice((10, 10**5))
        case _:
            return "other", random.choice((b"", gzip.compress(good), bytes(10**6), picture, b"\xff" * 16))


def make(case: Case) -> Attempt:
    """A file of records, alone or in a split of its own beside good ones."""
    picture = case.random.choice(sorted(case.shared.iterdir())).read_bytes()
    case.title, data = _file(case.random, picture)
    folder = case.folder / "data"
    where = folder / case.random.choice(("", "train", "photo_tfrec"))
    where.mkdir(parents=True)
    (where / case.random.choice(("x.tfrec", "x.tfrecord", "x-00001-of-00002.tfrecords"))).write_bytes(data)
    if case.random.random() < 0.3:
        good = framed(example({b"image_name": field(1, field(1, b"b")), b"image": field(1, field(1, picture))}))
        (where / "good.tfrec").write_bytes(good)
    case.guard(folder)
    return look(case, folder, DataKind.IMAGES)


CAMPAIGN = Campaign(
    make, count=3000, prepare=prepare, memory=4096
)  # of the largest picture, as docs/reliability.md states
