"""The image file directory (IFD) of a TIFF file, and of EXIF data, which are one: tags byte for byte, whatever they mean.

A directory is a count, an entry for each tag (tag, type, number of values, and the values or where they lie), and the
place of the next directory (TIFF 6.0, section 2). BigTIFF is the same with wider numbers.
"""

import mmap
import struct
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first bytes of a TIFF."""
HEADER = b"II*\x00\x08\x00\x00\x00"
"""Of a little-endian file whose directory follows at once, as EXIF data have it."""

ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 2, 3, 4, 5, 7
UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 1, 7: 1, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of the numbers that each type is made of; a rational has two of them."""
NOT_WRITTEN = (13, 16, 17, 18)
"""A place in the file that was read, and numbers that only BigTIFF has."""
FRACTIONS = (RATIONAL, 10)
"""The types of which a value is two numbers."""
BYTES = {kind: 2 * unit if kind in FRACTIONS else unit for kind, unit in UNITS.items()}

EXIF, GPS, INTEROPERABILITY = 0x8769, 0x8825, 0xA005
"""Tags that hold the place of a directory below."""
IPTC, PROFILE = 0x83BB, 0x8773
WIDTH, SUBFILE, OLD_SUBFILE, PAGES_BELOW = 256, 254, 255, 330
SMALLER, MASK, OLD_SMALLER = 1, 4, 2
"""Bits of `SUBFILE`: a smaller copy of another picture, a mask; and what `OLD_SUBFILE` is for a smaller copy."""
MOST_PAGES = 10_000
PLACES = (LONG, 13, 16, 18)
"""The types of a place in the file."""
MOST_FRACTIONS = 2**16
"""In one tag of a page: none has a hundredth of that, and Pillow makes an object of each."""
MOST = 2**24
"""Bytes of values that are read of one file. A hostile one lets thousands of entries share the same megabytes."""


class Entry(NamedTuple):
    """The values of a tag, with a type from TIFF 6.0: little-endian in `data`, whatever the file is."""

    kind: int
    data: bytes
    place: int = 0
    """Where the values, or their own place, are in the file that was read."""

    @property
    def numbers(self) -> list[int]:
        """The values of a SHORT or LONG; none of another type."""
        return np.frombuffer(self.data, f"<u{UNITS[self.kind]}").tolist() if self.kind in (SHORT, LONG) else []


@dataclass
class Directory:
    """Tags, and the directories below it."""

    entries: dict[int, Entry] = field(default_factory=dict)
    below: dict[int, "Directory"] = field(default_factory=dict)
    following: int = 0
    """Where the next directory lies; 0 where there is none."""
    following_place: int = 0
    """Where that number stands."""
    damaged: bool = False
    """Whether there were entries that could not be read, and are left out."""


class _Reader:
    """Numbers in the order and widths of one file."""

    def __init__(self, data: bytes | mmap.mmap, without: Container[int]) -> None:
        if data[:2] not in (b"II", b"MM"):
            raise ValueError("no TIFF header")
        self.data, self.without, self.left = data, without, MOST
        self.order = "<" if data[:2] == b"II" else ">"
        [version] = self.unpack("H", 2)
        if version not in (42, 43):
            raise ValueError(f"no version of TIFF: {version}")
        self.count, self.place, self.first = ("H", "I", 4) if version == 42 else ("Q", "Q", 8)

    def unpack(self, form: str, place: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(self.order + form, self.data, place)
        except struct.error as error:
            raise ValueError("a directory beyond the end") from error

    def rows(self, place: int) -> range:
        """Where each entry of a directory begins."""
        [count] = self.unpack(self.count, place)
        place += struct.calcsize("=" + self.count)
        size = struct.calcsize("=HH" + 2 * self.place)
        if place + count * size > len(self.data):
            raise ValueError("a directory beyond the end")
        return range(place, place + count * size, size)

    def directory(self, place: int, below: tuple[int, ...]) -> Directory:
        rows = self.rows(place)
        found = Directory(following_place=rows.stop)
        for start in rows:
            try:
                self.entry(found, start, below)
            except ValueError:
                found.damaged = True
        if found.following_place + struct.calcsize("=" + self.place) <= len(self.data):
            [found.following] = self.unpack(self.place, found.following_place)
        return found

    def entry(self, found: Directory, start: int, below: tuple[int, ...]) -> None:
        width = struct.calcsize("=" + self.place)
        tag, kind, count = self.unpack("HH" + self.place, start)
        place = start + 4 + width
        if tag in self.without:
            return
        if tag in below:
            deeper = (INTEROPERABILITY,) if tag == EXIF else ()
            found.below[tag] = self.directory(self.unpack(self.place, place)[0], deeper)
            return
        size = count * BYTES[kind] if kind in BYTES else -1
        [values] = (place,) if size <= width else self.unpack(self.place, place)
        if not 0 <= size <= self.left or values + size > len(self.data) or tag in found.entries:
            raise ValueError("an entry that cannot be read")
        self.left -= size
        raw = self.data[values : values + size]
        if tag == IPTC:  # bytes, which many writers call numbers
            kind = UNDEFINED
        if self.order == ">" and UNITS[kind] > 1:
            raw = np.frombuffer(raw, f">u{UNITS[kind]}").byteswap().tobytes()
        found.entries[tag] = Entry(kind, raw, place)


def read(data: bytes | mmap.mmap, place: int | None = None, without: Container[int] = ()) -> Directory:
    """The first directory of a file, or the one at `place`, with those of EXIF and GPS below it.

    Tags in `without` are passed over. Raises a `ValueError` where there is none. What is damaged in it is left out.

    >>> read(HEADER + struct.pack("<HHHIIi", 1, 270, ASCII, 4, int.from_bytes(b"cat", "little"), 0)).entries[270].data
    b'cat\\x00'
    """
    reader = _Reader(data, without)
    return reader.directory(reader.unpack(reader.place, reader.first)[0] if place is None else place, (EXIF, GPS))


def tags(data: bytes) -> set[int]:
    """The tags of the first directory, which costs nothing; empty where there is none."""
    try:
        reader = _Reader(data, ())
        [place] = reader.unpack(reader.place, reader.first)
        rows = reader.rows(place)
    except ValueError:
        return set()
    return {tag for (tag,) in struct.iter_unpack(f"{reader.order}H{rows.step - 2}x", data[rows.start : rows.stop])}


class Page(NamedTuple):
    """A picture in a TIFF file."""

    place: int
    is_main: bool
    """Whether it is neither a smaller copy of another one nor a mask."""
    below: tuple[int, ...]
    """Where the directories of the pictures below it lie."""


def pages(data: bytes | mmap.mmap) -> Iterator[Page]:
    """The pictures of a TIFF file, one behind the other; a `ValueError` for the first one that is not wholly there."""
    reader, seen = _Reader(data, ()), set[int]()
    [place] = reader.unpack(reader.place, reader.first)
    while place and place not in seen and len(seen) < MOST_PAGES:
        seen.add(place)
        rows = reader.rows(place)
        yield _page(reader, place, rows)
        [place] = reader.unpack(reader.place, rows.stop)


def _page(reader: _Reader, place: int, rows: range) -> Page:
    found = Directory()
    for start in rows:
        tag, kind, count = reader.unpack("HH" + reader.place, start)
        if kind in FRACTIONS and count > MOST_FRACTIONS:
            raise ValueError(f"its header counts {count:,} fractions in tag {tag}")
        if tag in (WIDTH, SUBFILE, OLD_SUBFILE, PAGES_BELOW):
            with suppress(ValueError):
                reader.entry(found, start, ())
    nothing = Entry(UNDEFINED, b"")
    kind, old_kind = (next(iter(found.entries.get(tag, nothing).numbers), 0) for tag in (SUBFILE, OLD_SUBFILE))
    below = found.entries.get(PAGES_BELOW, nothing)
    places = np.frombuffer(below.data, f"<u{UNITS[below.kind]}").tolist() if below.kind in PLACES else []
    return Page(place, WIDTH in found.entries and not kind & (SMALLER | MASK) and old_kind != OLD_SMALLER, (*places,))


def main_page(data: bytes | mmap.mmap) -> tuple[int, bool]:
    """Where the directory of the picture lies that a TIFF file is of, and whether there are other ones.

    That is the first that is no smaller copy; if all in a row are copies, as in a DNG, one that lies below them. Raises a
    `ValueError` where the first directory is not wholly there.
    """
    row, main = list[Page](), list[Page]()
    try:
        for page in pages(data):
            row.append(page)
            main += [page] if page.is_main else []
            if len(main) > 1:
                break
    except ValueError:
        if not row:  # what lies behind the first one may be damaged
            raise
    if main or not row:
        return (main[0].place if main else 0), len(main) > 1
    reader = _Reader(data, ())
    for place in (place for page in row for place in page.below):
        with suppress(ValueError):
            if (page := _page(reader, place, reader.rows(place))).is_main:
                return page.place, False
    return row[0].place, False


def with_main_page_first(data: bytes) -> bytes:
    """The same TIFF file, whose header names the directory of `main_page`; unchanged where it does so already."""
    reader = _Reader(data, ())
    [first], (main, _) = reader.unpack(reader.place, reader.first), main_page(data)
    if first == main:
        return data
    named = struct.pack(reader.order + reader.place, main)
    return data[: reader.first] + named + data[reader.first + len(named) :]


def pack(directory: Directory, place: int, big: bool = False) -> bytes:
    """A directory that is to lie at `place` of a little-endian file, a BigTIFF if `big`, the last one there."""
    numbers, number, width = ("<Q", "Q", 8) if big else ("<H", "I", 4)
    written = [tag for tag, entry in directory.entries.items() if big or entry.kind not in NOT_WRITTEN]
    tags = sorted({*written, *directory.below})
    values_place = place + struct.calcsize(numbers) + (4 + 2 * width) * len(tags) + width
    table, values = bytearray(struct.pack(numbers, len(tags))), bytearray()
    for tag in tags:
        if tag in directory.below:
            kind, count, data = (16 if big else LONG), 1, pack(directory.below[tag], values_place + len(values), big)
        else:
            kind, data, _ = directory.entries[tag]
            count = len(data) // BYTES[kind]
        table += struct.pack(f"<HH{number}", tag, kind, count)
        if tag not in directory.below and len(data) <= width:
            table += data.ljust(width, b"\x00")
        else:
            table += struct.pack(f"<{number}", values_place + len(values))
            values += data + bytes(len(data) % 2)
    return bytes(table) + bytes(width) + bytes(values)


def with_tags(data: bytes, more: Directory, instead: bool = False) -> bytes:
    """A little-endian TIFF file of one picture, with more tags: a new directory stands behind the pixels.

    A tag that the file has already stays as it is, or with `instead` is replaced.
    """
    own = read(data)
    merged = Directory(own.entries | more.entries if instead else more.entries | own.entries, more.below | own.below)
    data += bytes(len(data) % 2)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + pack(merged, len(data))


def add_tags(path: Path, more: Directory, without: Container[int] = ()) -> None:
    """Puts tags into a little-endian TIFF or BigTIFF of one picture on the disk, in the place of its own of the same number.

    Those of its own that are in `without` go. Its pixels are neither read nor written: a new directory stands behind them.
    """
    with path.open("r+b") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            reader = _Reader(data, without)
            own = reader.directory(reader.unpack(reader.place, reader.first)[0], (EXIF, GPS))
        place = file.seek(0, 2)
        place += -place % 8
        packed = pack(Directory(own.entries | more.entries, own.below | more.below), place, reader.first == 8)
        file.seek(place)
        file.write(packed)
        file.seek(reader.first)
        file.write(struct.pack(f"<{reader.place}", place))


def set_number(data: bytearray, entry: Entry, number: int) -> None:
    """Writes over the one SHORT or LONG of an entry, where it lies in `data`; a `ValueError` where it is something else."""
    size = len(entry.data)
    if entry.kind not in (SHORT, LONG) or size != UNITS[entry.kind] or number >= 1 << 8 * size:
        raise ValueError("no place for a number")
    data[entry.place : entry.place + size] = number.to_bytes(size, "little" if data[:2] == b"II" else "big")
