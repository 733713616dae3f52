"""TFRecord files without TensorFlow: a list of the offsets of the records, and one record at a time.

A file is a sequence of records: length (8 bytes), its checksum, the data, their checksum. The data of a record are a
`tf.train.Example`, a protobuf message that maps names to lists of bytes, floats or integers. Format: tensorflow.org,
"TFRecord and tf.train.Example". A file is never read whole: for two gigabytes, a table of offsets is kept.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

NAMES = re.compile(r".*\.(tfrec|tfrecords?)(-\d+-of-\d+)?", re.IGNORECASE | re.DOTALL)
KINDS = {1: "bytes", 2: "floats", 3: "integers"}  # tf.train.Feature's fields


@dataclass(frozen=True, slots=True)
class Record:
    """The position of record `number` (counted from 0) in its file."""

    file: Path
    number: int
    offset: int
    length: int

    def __str__(self) -> str:
        return f"{self.file}, record {self.number}"


def list_records(file: Path) -> list[Record]:
    """All records of a file, from their headers alone.

    Raises a `ValueError` that names file and record when a header is damaged or the file ends too early.
    """
    records: list[Record] = []
    try:
        end = file.stat().st_size
        with file.open("rb") as stream:
            offset = 0
            while offset < end:
                where = f"{file}, record {len(records)}"
                header = stream.read(12)
                if len(header) < 12:
                    raise ValueError(f"{where}: {_TRUNCATED}")
                length, checksum = struct.unpack("<QI", header)
                if checksum != _masked_crc(header[:8]):
                    if header.startswith(b"\x1f\x8b"):
                        raise ValueError(f"{file}: is compressed; unpack it (gunzip) and give the folder of the result")
                    raise ValueError(f"{where}: the checksum (CRC) of its length is wrong, {_DAMAGED}")
                records.append(Record(file, len(records), offset + 12, length))
                offset += 12 + length + 4
                if offset > end:
                    raise ValueError(f"{where}: {_TRUNCATED}")
                stream.seek(offset)
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror or error})") from error
    return records


def read_bytes(record: Record, feature: str) -> bytes:
    """The bytes of one feature of a record; a `ValueError` names file and record when it is missing or damaged."""
    features = _read_features(record)
    kind, values = features.get(feature, ("", []))
    if kind != "bytes" or len(values) != 1:
        found = ", ".join(f"{name} ({len(v)} {k})" for name, (k, v) in sorted(features.items())) or "none at all"
        raise ValueError(f"{record}: a feature {feature!r} of 1 bytes value is expected; its features are: {found}")
    return bytes(values[0])


_DAMAGED = "so the file is damaged or no TFRecord file; copy it again"
_TRUNCATED = "the file ends in the middle of it, so it is only half written; copy it again"


def _masked_crc(data: bytes) -> int:
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _read_features(record: Record) -> dict[str, tuple[str, list[memoryview]]]:
    """Kind and values of each feature; floats and integers are counted and not decoded."""
    try:
        with record.file.open("rb") as stream:
            stream.seek(record.offset)
            data = stream.read(record.length + 4)
    except OSError as error:
        raise ValueError(f"{record.file}: cannot be read ({error.strerror or error})") from error
    if len(data) < record.length + 4:
        raise ValueError(f"{record}: {_TRUNCATED}")
    data, checksum = data[:-4], data[-4:]
    if struct.unpack("<I", checksum)[0] != _masked_crc(data):
        raise ValueError(f"{record}: its checksum (CRC) is wrong, {_DAMAGED}")
    features: dict[str, tuple[str, list[memoryview]]] = {}
    try:
        for message in _contents(memoryview(data), 1):  # Example.features
            for entry in _contents(message, 1):  # Features.feature, a map
                item = dict(_fields(entry))
                name = bytes(item[1]).decode()
                for kind, values in _fields(item.get(2, memoryview(b""))):
                    if kind in KINDS:
                        features[name] = KINDS[kind], list(_contents(values, 1))
    except (IndexError, KeyError, ValueError) as error:
        raise ValueError(
            f"{record}: is no tf.train.Example; write one with the features image_name and image"
        ) from error
    return features


def _contents(message: memoryview, field: int) -> Iterator[memoryview]:
    return (content for number, content in _fields(message) if number == field)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each field of a protobuf message (protobuf.dev, "Encoding")."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            end = _varint(message, position)[1]
        elif wire == 2:
            length, position = _varint(message, position)
            end = position + length
        else:
            end = position + {1: 8, 5: 4}[wire]
        if end > len(message):
            raise IndexError
        yield number, message[position:end]
        position = end


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """An integer in groups of seven bits, lowest first, and the position after it."""
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
