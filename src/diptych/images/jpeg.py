"""What the header of a JPEG tells in a few microseconds: whether it has metadata, and whether one scan is all.

And whether a JPEG that was cut off lacks nothing but its end.

Every part is 0xFF, a marker, and with most markers a length and a content (ITU-T T.81, annex B).
"""

import re
from collections.abc import Container, Iterator

from diptych.images.spec import Array

SIGNATURE = b"\xff\xd8"
SEQUENTIAL = (0xC0, 0xC1)  # frames whose pixels may all be in one scan
APP1 = 0xE1  # EXIF or XMP
APP2 = 0xE2  # a piece of an ICC profile, among others
PROFILE = b"ICC_PROFILE\0"
SCAN = 0xDA
FRAMES = (0xC0, 0xC1, 0xC2)
END = b"\xff\xd9"
IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""The marker that ends the compressed pixels of a scan."""
MISSING = 128
"""The level that libjpeg gives to pixels that are not there."""
WITHOUT_LENGTH = (0x00, 0x01, *range(0xD0, 0xDA), 0xFF)  # where a length is expected: padding, or no header of a JPEG


def _parts(data: bytes) -> Iterator[tuple[int, int]]:
    """Markers and where their contents begin, to the first scan; it ends early where the header is unusual."""
    place = len(SIGNATURE)
    while place + 4 <= len(data) and data[place] == 0xFF and (marker := data[place + 1]) not in WITHOUT_LENGTH:
        yield marker, place + 4
        if marker == SCAN:
            return
        place += 2 + int.from_bytes(data[place + 2 : place + 4])


def may_have_metadata(data: bytes) -> bool:
    """Whether there can be EXIF or XMP data in front of the pixels; of an unusual header nothing is known."""
    markers = [marker for marker, _ in _parts(data)]
    return APP1 in markers or SCAN not in markers


def icc_profile(data: bytes) -> bytes | None:
    """The ICC profile in front of the pixels, empty where there is none; None for an unusual header.

    It comes in numbered pieces (ICC.1, section B.4).
    """
    pieces, markers = {}, []
    for marker, place in _parts(data):
        markers.append(marker)
        if marker == APP2 and data.startswith(PROFILE, place):
            end = place - 2 + int.from_bytes(data[place - 2 : place])
            pieces[data[place + len(PROFILE)]] = data[place + len(PROFILE) + 2 : end]
    return b"".join(pieces[number] for number in sorted(pieces)) if SCAN in markers else None


def parts_of(data: bytes, markers: Container[int]) -> list[bytes]:
    """The parts in front of the pixels that have one of these markers, whole."""
    return [
        data[place - 4 : place - 2 + int.from_bytes(data[place - 2 : place])]
        for marker, place in _parts(data)
        if marker in markers
    ]


def most_scans(data: bytes) -> int:
    """How often a decoder goes over all pixels, at most."""
    parts = dict(_parts(data))
    frame = next((parts[marker] for marker in SEQUENTIAL if marker in parts), None)
    scan = parts.get(SCAN)
    # libjpeg takes no further scan where the first one holds all components of a sequential frame
    if frame and scan and data[frame + 5 : frame + 6] == data[scan : scan + 1]:
        return 1
    return data.count(bytes((0xFF, SCAN)))


def completed(data: bytes) -> bytes | None:
    """A JPEG that was cut off in its last scan, with its end put back; None where it has an end, or no pixels at all.

    Raises a `ValueError` where it was cut off before.

    The last scan is the one behind which every coefficient of every component has come to its last bit: one scan is all of
    most JPEGs, and a progressive one has several.
    """
    place, components, come, cut = len(SIGNATURE), 0, set[tuple[int, int]](), False
    while data[place : place + 1] == b"\xff" and len(data) >= place + 4 and not cut:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4])
        if marker in WITHOUT_LENGTH:
            return None
        content, place = data[place + 4 : place + 2 + length], place + 2 + length
        if marker in FRAMES and len(content) > 5:
            components = content[5]
        if marker == SCAN and content and len(content) == 4 + 2 * content[0]:
            first, last, bit = content[-3], content[-2], content[-1] & 15
            come |= {(one, k) for one in content[1:-3:2] for k in range(first, min(last, 63) + 1) if bit == 0}
            found = IN_SCAN.search(data, place)
            place, cut = (found.start(), False) if found else (len(data), True)
    if not cut:
        return None
    if len(come) < 64 * components:
        raise ValueError("more than its end is missing")
    return data.rstrip(b"\0").removesuffix(b"\xff") + END  # zeros: what some systems leave where nothing was written


def share_missing(data: bytes, values: Array) -> float:
    """The part of a cut off picture that is not there; `values` are its levels as they lie in the file, `[H, W, C]`.

    A decoder goes by blocks, row after row. The last block that has any detail is taken for the one in which the file ends.
    """
    width, height = _block(data)
    blocks = [
        bool((values[top + 1 : top + height - 1, left + 1 : left + width - 1] == MISSING).all())  # edges are blended
        for top in range(0, len(values), height)
        for left in range(0, values.shape[1], width)
    ]
    whole = len(blocks)
    while whole and blocks[whole - 1]:
        whole -= 1
    return 1 - max(whole - 1, 0) / len(blocks)


def _block(data: bytes) -> tuple[int, int]:
    """Width and height of what is decoded at once, in pixels: 8 times the largest sampling factors (B.2.2)."""
    frame = next(place for marker, place in _parts(data) if marker in FRAMES)
    factors = data[frame + 7 : frame + 6 + 3 * data[frame + 5] : 3]
    if len(factors) == 1:
        return 8, 8
    return 8 * max(max(factor >> 4 for factor in factors), 1), 8 * max(max(factor & 15 for factor in factors), 1)
