"""TFRecord files, written here by hand from the definition of the format: what is read, and what damage is noticed."""

import gzip
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.data.tfrecords import Record, list_records, read_bytes
from diptych.images.files import decode_bytes

Write = Callable[..., Path]

NUMBERS = st.lists(st.integers(0, 2**63 - 1), min_size=1) | st.lists(st.floats(width=32), min_size=1)
FEATURES = st.fixed_dictionaries(
    {"image": st.binary(max_size=300)},
    optional={"image_name": st.binary(max_size=20), "target": NUMBERS, "größe": NUMBERS, "": NUMBERS},
)


def field(number: int, content: bytes) -> bytes:
    """A short field of a protobuf message."""
    assert number < 16
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


IMAGE = field(1, b"image")  # the key of a feature
PICTURE = field(2, field(1, field(1, b"pixels")))  # its value


def refused(record: Record, feature: str = "image") -> str:
    """The one line that the user reads; it begins with the file and the record."""
    with pytest.raises(ValueError, match=r".") as caught:
        read_bytes(record, feature)
    message = str(caught.value)
    assert message.startswith(f"{record.file}, record {record.number}: ")
    assert "\n" not in message
    return message


def refused_file(file: Path) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        list_records(file)
    message = str(caught.value)
    assert message.startswith(str(file))
    assert "\n" not in message
    return message


@pytest.fixture
def two(tmp_path: Path, write_tfrecord: Write) -> Path:
    """A small file of two records of different lengths."""
    return write_tfrecord(tmp_path / "two.tfrec", [{"image": b"first picture"}, {"image": b"another", "target": [7]}])


# ---- what is read


def test_the_checksum_is_the_one_of_the_format(tmp_path: Path) -> None:
    assert google_crc32c.value(b"123456789") == 0xE3069283  # the check value of CRC-32C
    # The empty record, as TensorFlow writes it.
    (tmp_path / "a.tfrec").write_bytes(bytes.fromhex("0000000000000000 29039807 d8ea82a2"))
    (record,) = list_records(tmp_path / "a.tfrec")
    assert (record.file, record.number, record.offset, record.length) == (tmp_path / "a.tfrec", 0, 12, 0)
    assert "none at all" in refused(record)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(examples=st.lists(FEATURES, max_size=5))
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, write_tfrecord: Write, examples: list[dict[str, Any]]
) -> None:
    file = write_tfrecord(tmp_path_factory.getbasetemp() / "any.tfrec", examples)
    records = list_records(file)
    assert [record.number for record in records] == list(range(len(examples)))
    for record, features in reversed(list(zip(records, examples, strict=True))):
        assert read_bytes(record, "image") == features["image"]
        if "image_name" in features:
            assert read_bytes(record, "image_name") == features["image_name"]


@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 255, 256, 16383, 16384, 70_000, 2_100_000])
def test_pictures_of_any_size_are_read_whole(tmp_path: Path, write_tfrecord: Write, size: int) -> None:
    # Lengths are written in groups of 7 bits: one group up to 127, two up to 16383, three, four.
    image = (bytes(range(251)) * (size // 251 + 1))[:size]
    file = write_tfrecord(tmp_path / "a.tfrec", [{"name": b"n", "image": image, "target": [1]}, {"image": b"next"}])
    large, small = list_records(file)
    assert read_bytes(large, "image") == image
    assert read_bytes(small, "image") == b"next"


@pytest.mark.parametrize(
    "entry",
    [
        IMAGE + PICTURE,
        PICTURE + IMAGE,  # protobuf promises no order
        IMAGE + PICTURE + field(3, b"from a later version"),
        b"\x20\x96\x01"
        + IMAGE
        + b"\x29"
        + 8 * b"\xff"
        + PICTURE
        + b"\x35"
        + 4 * b"\xff",  # fields 4 to 6: one of each kind
    ],
)
def test_fields_that_nobody_knows_are_passed_over(tmp_path: Path, write_tfrecord: Write, entry: bytes) -> None:
    file = write_tfrecord(tmp_path / "a.tfrec", [field(1, field(1, entry))])
    assert read_bytes(list_records(file)[0], "image") == b"pixels"


@pytest.mark.parametrize("numbers", [field(2, 2 * (b"\x0d" + bytes(4))), field(3, 2 * b"\x08\x01" + b"\x0a\x00")])
def test_numbers_one_by_one_instead_of_packed_are_passed_over(
    tmp_path: Path, write_tfrecord: Write, numbers: bytes
) -> None:
    beside = field(1, field(1, b"target") + field(2, numbers))
    file = write_tfrecord(tmp_path / "a.tfrec", [field(1, beside + field(1, IMAGE + PICTURE) + beside)])
    assert read_bytes(list_records(file)[0], "image") == b"pixels"


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "a.tfrec").touch()
    assert list_records(tmp_path / "a.tfrec") == []


def test_two_files_do_not_mix(tmp_path: Path, write_tfrecord: Write) -> None:
    one = list_records(write_tfrecord(tmp_path / "one.tfrec", [{"image": b"one 0"}, {"image": b"one 1"}]))
    other = list_records(write_tfrecord(tmp_path / "other.tfrec", [{"image": b"other 0"}, {"image": b"other 1"}]))
    for number in (1, 0):
        assert read_bytes(one[number], "image") == f"one {number}".encode()
        assert read_bytes(other[number], "image") == f"other {number}".encode()
    assert len({*one, *other}) == 4


def test_a_file_larger_than_the_memory_is_read_in_pieces(tmp_path: Path, write_tfrecord: Write) -> None:
    # Kaggle's files are read on laptops: the first record takes 2 GB here, of which the disk holds only the ends.
    last = write_tfrecord(tmp_path / "small.tfrec", [{"image": b"pixels"}]).read_bytes()
    length, large = struct.pack("<Q", 2**31), tmp_path / "large.tfrec"
    crc = google_crc32c.value(length)
    with large.open("wb") as file:
        file.write(length + struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32))
        file.seek(2**31 + 4, 1)
        file.write(last)
    tracemalloc.start()
    try:
        records = list_records(large)
        assert read_bytes(records[1], "image") == b"pixels"
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()
        large.unlink()
    assert [(record.offset, record.length) for record in records] == [
        (12, 2**31),
        (2**31 + 28, len(last) - 16),
    ]


def test_the_real_files_hold_forty_pictures_of_each_kind(research_pictures: Path) -> None:
    files = sorted((research_pictures / "tfrecords").rglob("*.tfrec"))
    assert [len(list_records(file)) for file in files] == [20, 20, 20, 20]
    seen = set()
    for file in files:
        for record in list_records(file):
            assert decode_bytes(read_bytes(record, "image"), str(record)).values.shape == (256, 256, 3)
            assert f"{read_bytes(record, 'target').decode()}_tfrec" == file.parent.name
            seen.add((file.parent, read_bytes(record, "image_name")))
    assert len(seen) == 80


# ---- damage


@pytest.mark.parametrize("mask", [1, 0x10, 0x80, 0xFF])
def test_every_flipped_byte_is_noticed_where_it_lies(two: Path, mask: int) -> None:
    whole, records = two.read_bytes(), list_records(two)
    want = [read_bytes(record, "image") for record in records]
    for position in range(len(whole)):
        two.write_bytes(whole[:position] + bytes([whole[position] ^ mask]) + whole[position + 1 :])
        bad = int(position >= records[1].offset - 12)  # which record it lies in
        if position < records[bad].offset:
            assert refused_file(two).startswith(f"{two}, record {bad}: ")
        else:
            assert list_records(two) == records
            assert "CRC" in refused(records[bad])
        if position < records[0].offset or bad == 1:
            assert read_bytes(records[0], "image") == want[0]
        if bad == 0:
            assert read_bytes(records[1], "image") == want[1]


def test_every_place_where_a_file_can_be_cut_is_noticed(two: Path) -> None:
    whole, records = two.read_bytes(), list_records(two)
    seam = records[1].offset - 12
    for length in range(len(whole)):
        two.write_bytes(whole[:length])
        if length in (0, seam):
            assert list_records(two) == records[: length // seam]
        else:
            assert refused_file(two).startswith(f"{two}, record {int(length > seam)}: the file ends in the middle")


def test_a_file_that_changes_after_it_was_listed_is_named(two: Path) -> None:
    records, whole = list_records(two), two.read_bytes()
    for length in range(records[1].offset, len(whole)):
        two.write_bytes(whole[:length])
        assert read_bytes(records[0], "image") == b"first picture"
        assert "the file ends" in refused(records[1])
    two.unlink()
    with pytest.raises(ValueError, match="cannot be read") as caught:
        read_bytes(records[0], "image")
    assert str(caught.value).startswith(f"{two}: ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.tfrec", tmp_path):
        assert "cannot be read" in refused_file(path)


def test_a_compressed_file_is_named_as_one(two: Path) -> None:
    two.write_bytes(gzip.compress(two.read_bytes()))
    message = refused_file(two)
    assert "is compressed" in message
    assert "gunzip" in message


@pytest.mark.parametrize("text", ["Hi", "Dear diary,", "Dear diary, ", "Dear diary, today there were zebras. " * 100])
def test_a_text_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.tfrec").write_text(text)
    assert refused_file(tmp_path / "a.tfrec").startswith(f"{tmp_path / 'a.tfrec'}, record 0: ")


# ---- records that hold something else


@pytest.mark.parametrize(
    "data",
    [
        b"Dear diary, today there were zebras.",
        bytes([0xFF] * 40),  # a number without an end
        b"\x0a",  # a field without a length
        b"\x0a\x7fshort",  # a field that is longer than the record
        field(1, field(1, IMAGE + PICTURE))[:-3],  # so is the picture, which must not come out shorter
        b"\x0b\x0c",  # groups, which protobuf has given up
        field(1, field(1, PICTURE)),  # a value without a name
        field(1, field(1, field(1, b"\xff\xfe") + PICTURE)),  # a name that is no text
    ],
)
def test_a_record_that_is_no_example_is_named(tmp_path: Path, write_tfrecord: Write, data: bytes) -> None:
    good, bad, after = list_records(write_tfrecord(tmp_path / "a.tfrec", [{"image": b"1"}, data, {"image": b"3"}]))
    assert "is no tf.train.Example" in refused(bad)
    assert (read_bytes(good, "image"), read_bytes(after, "image")) == (b"1", b"3")


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    data=st.binary(max_size=40),
    position=st.integers(0, 60),
    noise=st.binary(max_size=4),
)
def test_no_record_is_answered_with_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, write_tfrecord: Write, data: bytes, position: int, noise: bytes
) -> None:
    example = field(1, field(1, IMAGE + PICTURE) + field(1, field(1, b"name") + field(2, field(3, field(1, b"\1\2")))))
    changed = example[:position] + noise + example[position + len(noise) :]
    file = write_tfrecord(tmp_path_factory.getbasetemp() / "noise.tfrec", [data, changed])
    for record in list_records(file):
        try:
            assert isinstance(read_bytes(record, "image"), bytes)
        except ValueError as error:
            assert str(error).startswith(f"{file}, record {record.number}: ")  # noqa: PT017


@pytest.mark.parametrize(
    ("features", "found"),
    [
        ({}, "none at all"),
        ({"jpeg": b"pixels", "id": [7]}, "id (1 integers), jpeg (1 bytes)"),
        ({"Image": b"pixels"}, "Image (1 bytes)"),
        ({"image": [0.5], "name": b"a"}, "image (1 floats), name (1 bytes)"),
        ({"image": [5]}, "image (1 integers)"),
        ({"image": [b"one", b"two"]}, "image (2 bytes)"),
        ({"image": []}, "image (0 bytes)"),
    ],
)
def test_another_feature_than_expected_is_named_with_what_is_there(
    tmp_path: Path, write_tfrecord: Write, features: dict[str, Any], found: str
) -> None:
    _, record = list_records(write_tfrecord(tmp_path / "a.tfrec", [{"image": b"good"}, features]))
    message = refused(record)
    assert "'image'" in message
    assert message.endswith(f"its features are: {found}")
    assert "'photo'" in refused(record, "photo")


def test_unknown_fields_at_every_depth_are_passed_over(tmp_path: Path, write_tfrecord: Write) -> None:
    more = field(9, b"news")
    values = field(1, b"pixels") + more
    feature = field(1, values) + more
    entry = IMAGE + field(2, feature) + more
    [record] = list_records(write_tfrecord(tmp_path / "a.tfrec", [field(1, field(1, entry) + more) + more]))
    assert read_bytes(record, "image") == b"pixels"


def test_a_length_that_looks_like_gzip_is_no_gzip(tmp_path: Path, write_tfrecord: Write) -> None:
    record = IMAGE + PICTURE
    data = field(1, field(1, record))
    while (missing := 0x8B1F - len(data)) > 129:
        data += field(15, 98 * b"x")
    data += field(15, (missing - 2) * b"x")
    [found] = list_records(write_tfrecord(tmp_path / "a.tfrec", [data]))
    assert found.length == 0x8B1F
    assert read_bytes(found, "image") == b"pixels"
