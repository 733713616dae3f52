"""The idx files of MNIST and its relatives: headers that lie, gzip bombs, members without end, files that do not match."""

import gzip
import struct
import zlib
from random import Random

from diptych.kinds import DataKind

from .bombs import BLOCK, zeros
from .harness import Attempt, Campaign, Case
from .mutations import EDGES, mutate
from .ready import look


def header(*lengths: int, kind: int = 8) -> bytes:
    """The beginning of a file."""
    return bytes([0, 0, kind, len(lengths) % 256]) + struct.pack(
        f">{len(lengths)}I", *(length % 2**32 for length in lengths)
    )


def gzip_of_zeros(length: int) -> bytes:
    """A member that unpacks to so many zeros, a thousandth as large."""
    checksum = 0
    for start in range(0, length, BLOCK):
        checksum = zlib.crc32(bytes(min(BLOCK, length - start)), checksum)
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + zeros(length)[2:-4] + struct.pack("<II", checksum, length % 2**32)


def _pictures(random: Random, count: int) -> tuple[str, bytes]:
    good = header(count, 16, 16) + random.randbytes(count * 256)
    match random.choice(("good", "damaged", "damaged", "lengths", "kind", "bomb", "more", "members", "packed")):
        case "good":
            return "good", good
        case "damaged":
            data, ways = mutate(random.choice((good, gzip.compress(good))), random)
            return ways, data
        case "lengths":
            lengths = [random.choice((*EDGES, 16, count)) for _ in range(random.choice((0, 1, 2, 3, 3, 3, 4, 255)))]
            return f"lengths {lengths[:5]}", header(*lengths) + bytes(random.choice((0, 256, 10**5)))
        case "kind":
            return "kind", header(count, 16, 16, kind=random.choice((0, 9, 11, 12, 13, 14, 255))) + good[16:]
        case "bomb":  # what the header says is there
            side = random.choice((1000, 20_000, 60_000))
            length = random.choice((2**28, 2**30, 3 * 2**30))
            return f"bomb of {length}", gzip.compress(header(length // side // 16, side, 16)) + gzip_of_zeros(length)
        case "more":  # more than the header says
            return "more than it says", gzip.compress(good) + gzip_of_zeros(random.choice((1, 2**30, 2**32)))
        case "members":
            return "members", gzip.compress(good) + gzip.compress(b"") * random.choice((10, 10**5))
        case _:
            return "packed twice", gzip.compress(gzip.compress(good)) + random.choice((b"", b"\0" * 100, b"words"))


def make(case: Case) -> Attempt:
    """Pictures and their labels; either may be hostile."""
    random, count = case.random, 10
    case.title, pictures = _pictures(random, count)
    labels = header(random.choice((count, count, count, 9, 2**31))) + bytes(range(count))
    if random.random() < 0.3:
        labels, ways = mutate(labels, random)
        case.title += f"; labels {ways}"
    folder = case.folder / "data"
    folder.mkdir()
    word = random.choice(("train", "train", "train", "t10k", "emnist-train"))
    (folder / f"{word}-images-idx3-ubyte{random.choice(('', '.gz'))}").write_bytes(pictures)
    if random.random() < 0.95:
        (folder / f"{word}-labels-idx1-ubyte{random.choice(('', '.gz'))}").write_bytes(labels)
    case.guard(folder)
    return look(case, folder, DataKind.LABELLED, DataKind.LABELLED, DataKind.IMAGES)


CAMPAIGN = Campaign(make, count=2000, memory=2048 + 512)  # docs/reliability.md: a set may have 2 GiB
