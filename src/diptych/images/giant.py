"""Pictures that are larger than the memory, by strips of rows: a file to levels on the disk, and back (extra `giant`).

libvips decodes and encodes JPEG, PNG and TIFF row by row. What a file knows of itself goes as in `metadata`: read from a
copy that has all but the pixels, and written in front of the compressed pixels, or behind them in a TIFF.
"""

import io
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from diptych.files import require_file
from diptych.images import formats, ifd, jpeg, metadata, on_disk, png, remarks, tiff
from diptych.images.metadata import Metadata
from diptych.images.remarks import note
from diptych.images.spec import Array, strips
from diptych.wording import brief

FORMATS = ("JPEG", "PNG", "TIFF")
"""Those that are read and written by rows."""
PIXELS = 500_000_000
"""Above this a picture is always read by rows."""
PIXELS_A_BYTE = 2000
"""No more than this goes by rows: deflate gets 1,032 of one grey into a byte, and only files made for it claim more."""
HEADER = 2**25
"""Bytes of a JPEG in which all that is no pixel lies: a profile has at most 16 MiB."""
BIG = 2**32 - 2**28
"""Bytes of pixels from which on a TIFF is a BigTIFF: places in others have 32 bits, and compression may make them larger."""
QUALITY = 95
COMPRESSIONS = {"tiff_lzw": "lzw", "tiff_adobe_deflate": "deflate", "packbits": "packbits"}
"""Of TIFF, from Pillow's names to those of libvips."""
DEPTHS: dict[str, np.dtype[Any]] = {"uchar": np.dtype(np.uint8), "ushort": np.dtype(np.uint16)}
"""By libvips' names."""
IN_FRONT = (*range(0xE0, 0xF0), 0xFE)
"""The parts of a JPEG that hold what it knows of itself: APP0 to APP15, and comments. libvips writes none of them."""


class Header(NamedTuple):
    """What is known of a file before its pixels are read."""

    format: str
    height: int
    width: int
    """As they lie in the file."""

    @property
    def pixels(self) -> int:
        """How many there are."""
        return self.height * self.width


class Levels(NamedTuple):
    """A picture on the disk."""

    values: Array
    """`[H, W, C]` of uint8 or uint16."""
    alpha: Array | None
    known: Metadata


def is_installed() -> bool:
    """Whether the extra is."""
    try:
        vips()
    except (ImportError, OSError):  # the package, or the library that it needs
        return False
    return True


def vips() -> Any:
    """The package pyvips; an `ImportError` where the extra is not installed."""
    os.environ.setdefault("VIPS_WARNING", "0")  # a damaged picture has a line of its own
    import pyvips

    pyvips.cache_set_max(0)  # what was read from the top down once is of no further use
    return pyvips


def header(path: Path) -> Header | None:
    """The size of a picture file, for which next to nothing of it is read; None for what does not go by rows.

    That is another format, and a file of a few bytes that claims to be a giant: it is refused as a whole.

    >>> import tempfile
    >>> Image.new("L", (5, 4)).save(file := Path(tempfile.mkdtemp()) / "a.png")
    >>> header(file)
    Header(format='PNG', height=4, width=5)
    """
    with suppress(Exception):  # whoever decodes a damaged file says what is wrong with it
        require_file(path)
        found = _header(path)
        return found if found and found.pixels <= PIXELS_A_BYTE * path.stat().st_size else None
    return None


def _header(path: Path) -> Header | None:
    with path.open("rb") as file:
        kind = formats.kind_of(start := file.read(32))
        file.seek(0)
        if kind == "PNG":
            width, height = struct.unpack(">II", start[16:24])
            return Header(kind, height, width)
        if kind == "JPEG":
            with Image.OPEN[kind][0](file, "") as image:
                return Header(kind, image.height, image.width)
        if kind == "TIFF":
            found = tiff.layout(_without_pixels(path, kind))
            return Header(kind, found.height, found.width)
    return None


def read(path: Path, folder: Path) -> Levels | None:
    """The levels of a picture file, upright, in files of `folder`; None for one that libvips reads in another way than we.

    Its colours are those of the file. Raises a `ValueError` that names it where it is damaged, or where the disk is full.
    """
    pyvips, found = vips(), header(path)
    if found is None:
        return None
    data = _without_pixels(path, found.format)
    try:
        formats.require_size(found.width, found.height, found.pixels, data)
    except formats.TooLargeError as error:
        raise formats.TooLargeError(f"{path}: {error}") from error
    if found.format == "TIFF" and not _is_known(path, data):
        return None
    load = {"JPEG": pyvips.Image.jpegload, "PNG": pyvips.Image.pngload, "TIFF": pyvips.Image.tiffload}[found.format]
    try:
        image = load(str(path), access="sequential", fail_on="error", unlimited=True)
        depth = DEPTHS.get(image.format)
        if depth is None or image.interpretation == "cmyk" or image.bands > 4:
            return None
        values, alpha = _on_disk(image, depth, folder)
    except pyvips.Error as error:
        reason = brief(str(error).strip().splitlines()[-1] if str(error).strip() else error)
        raise ValueError(f"{path}: damaged or only half written ({reason}); remove it or copy it again") from error
    orientation = _orientation(found.format, data)
    values = _turned(values, orientation, folder)
    alpha = None if alpha is None else _turned(alpha, orientation, folder)
    return Levels(values, alpha, metadata.read(data, values.shape[:2], str(path)))


def _on_disk(image: Any, depth: "np.dtype[Any]", folder: Path) -> tuple[Array, Array | None]:
    width, height, bands = image.width, image.height, image.bands
    colours = bands - 1 if bands in (2, 4) else bands
    values = on_disk.empty((height, width, colours), depth, folder)
    alpha = on_disk.empty((height, width), depth, folder) if colours < bands else None
    region = vips().Region.new(image)
    for rows in strips(height, width):
        part = np.frombuffer(region.fetch(0, rows.start, width, rows.stop - rows.start), depth)
        part = part.reshape(-1, width, bands)
        values[rows] = part[..., :colours]
        if alpha is not None:
            alpha[rows] = part[..., -1]
        on_disk.let_go(values, alpha)
    return values, alpha


def _turned(values: Array, orientation: int, folder: Path) -> Array:
    """Undoes the rotation that the EXIF tag describes, as `files.turn_upright`, on the disk."""
    if orientation not in range(2, 9):
        return values
    turned = values.swapaxes(0, 1) if orientation >= 5 else values
    down, across = (-1 if orientation in which else 1 for which in ((3, 4, 7, 8), (2, 3, 6, 7)))
    turned = turned[::down, ::across]
    whole = on_disk.empty(turned.shape, values.dtype, folder)
    for rows in strips(*turned.shape[:2]):
        whole[rows] = turned[rows]
        on_disk.let_go(whole, values)
    return whole


def _orientation(format: str, data: bytes) -> int:
    if format == "TIFF":
        return tiff.layout(data).orientation
    try:
        with formats.open_image(data) as image:
            orientation = image.getexif().get(metadata.ORIENTATION, 1)
    except Exception:  # Pillow raises whatever it meets there
        return 1
    return orientation if isinstance(orientation, int) else 1


# ---- what a file knows of itself


def _without_pixels(path: Path, format: str) -> bytes:
    """The bytes of a file of this format that has all but the pixels."""
    with path.open("rb") as file:
        if format == "JPEG":
            return file.read(HEADER)
        if format == "PNG":
            return b"".join([png.SIGNATURE, *_small_chunks(file), png.END])
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            place, _ = ifd.main_page(data)
            found = ifd.read(data, place, without=tiff.WHERE_PIXELS_LIE)
    nothing = ifd.Entry(ifd.LONG, bytes(4))
    found.entries |= {tiff.STRIP_OFFSETS: nothing, tiff.STRIP_SIZES: nothing}
    return ifd.HEADER + ifd.pack(found, len(ifd.HEADER))


def _small_chunks(file: io.BufferedReader) -> Iterator[bytes]:
    """The chunks of a PNG but for those of pixels, of which there is one that is empty."""
    file.seek(len(png.SIGNATURE))
    left, seen = png.MOST_TEXT, False
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        size, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT":
            if not seen:
                yield png.make_chunk(kind, b"")
            seen = True
        if kind == b"IDAT" or size > left:
            file.seek(size + 4, 1)
            continue
        left -= size
        yield head + file.read(size + 4)


def _is_known(path: Path, data: bytes) -> bool:
    """Whether libvips makes of a TIFF what `tiff` and Pillow make of it; `data` is the file without its pixels."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        main, has_more = ifd.main_page(whole)
        first = next(ifd.pages(whole)).place
    found = tiff.layout(data)
    if has_more:
        note(str(path), remarks.FIRST_FRAME)
    colours = {tiff.BLACK_IS_ZERO: 1, tiff.RGB: 3, tiff.YCBCR: 3}.get(found.photometric)
    return (
        main == first
        and not found.in_planes
        and found.format == tiff.UNSIGNED
        and set(found.bits) in ({8}, {16})
        and (found.photometric != tiff.YCBCR or found.compression == tiff.JPEG)
        and (found.samples, found.extra) in ((colours, ()), ((colours or 0) + 1, (tiff.ALPHA,)))
    )


# ---- writing


def write(
    values: Array,
    alpha: Array | None,
    path: Path,
    format: str,
    options: dict[str, Any],
    known: Metadata | None,
    last: int,
) -> list[str]:
    """Writes a picture on the disk to the file `path` with what is `known` of it and fits; returns what cannot be kept.

    `options` are Pillow's, `last` says what the last of 2 or 4 channels of a TIFF is. Raises an `OSError` where it cannot be
    written.
    """
    pyvips, image = vips(), _image(values)
    if alpha is not None:
        image = image.bandjoin(_image(alpha[..., None]))
    kind = {("uchar", 1): "b-w", ("ushort", 1): "grey16", ("uchar", 3): "srgb", ("ushort", 3): "rgb16"}
    bands = image.bands - 1 if image.bands in (2, 4) else image.bands
    image = image.copy(interpretation=kind[image.format, bands])
    image.set_progress(True)
    image.signal_connect("eval", lambda *_: on_disk.let_go(values, alpha))
    try:
        if format == "TIFF":
            _write_tiff(image, path, options, known, last)
            return []
        lost, front, save = _png(image, known) if format == "PNG" else _jpeg(image, options, known)
        with path.open("wb") as file, _behind(front, file) as target:
            save(target)
    except pyvips.Error as error:
        raise OSError(brief(str(error).strip())) from error
    return lost


def _image(values: Array) -> Any:
    height, width, bands = values.shape
    format = "uchar" if values.dtype == np.uint8 else "ushort"
    return vips().Image.new_from_memory(np.ascontiguousarray(values).data, width, height, bands, format)


def _write_tiff(image: Any, path: Path, options: dict[str, Any], known: Metadata | None, last: int) -> None:
    compression = COMPRESSIONS.get(options.get("compression", ""), "none")
    predictor = "horizontal" if compression in ("lzw", "deflate") else "none"
    size = image.width * image.height * image.bands * (1 if image.format == "uchar" else 2)
    image.tiffsave(str(path), compression=compression, predictor=predictor, bigtiff=size > BIG, keep="none")
    more = known.directory() if known else ifd.Directory()
    if image.bands in (2, 4):
        more.entries[tiff.EXTRA_SAMPLES] = ifd.Entry(ifd.SHORT, last.to_bytes(2, "little"))
    ifd.add_tags(path, more, without=() if known and known.resolution else metadata.RESOLUTION)


Front = Callable[[bytes], bytes | None]
"""The beginning of a file as it shall be, from the bytes that an encoder has written so far; None before it is all there."""
Save = Callable[[Any], None]


def _png(image: Any, known: Metadata | None) -> tuple[list[str], Front, Save]:
    def front(data: bytes) -> bytes | None:
        if (pixels := data.find(b"IDAT") - 4) < 0:
            return None
        header = data[: len(png.SIGNATURE) + 12 + 13]  # libvips puts a resolution of its own behind it
        return (known.inserted(header, "PNG") if known else header) + data[pixels:]

    return [], front, lambda target: image.pngsave_target(target, compression=3, filter="sub", keep="none")


def _jpeg(image: Any, options: dict[str, Any], known: Metadata | None) -> tuple[list[str], Front, Save]:
    """Pillow writes the parts in front of the pixels, of a small picture."""
    of_pixels = ("quality", "qtables", "subsampling", "progressive", "lossless")
    others = {name: value for name, value in options.items() if name not in of_pixels}
    Image.new("L" if image.bands == 1 else "RGB", (8, 8)).save(small := io.BytesIO(), "JPEG", **others)
    parts = jpeg.parts_of(small.getvalue(), IN_FRONT)
    quality, lost = options.get("quality", QUALITY), list[str]()
    if options.get("qtables") and quality == -1:
        quality, lost = QUALITY, ["the JPEG's own tables, in whose place are those of quality 95"]
    if options.get("progressive"):
        lost.append("progressive scans")
    mode = "off" if options.get("subsampling", 2) == 0 else "on"

    def front(data: bytes) -> bytes | None:
        start = len(jpeg.SIGNATURE)
        return data[:start] + b"".join(parts) + data[start:] if len(data) >= start else None

    return lost, front, lambda target: image.jpegsave_target(target, Q=quality, subsample_mode=mode, keep="none")


@contextmanager
def _behind(front: Front, file: io.BufferedWriter) -> Iterator[Any]:
    """What an encoder writes goes to `file` behind another beginning; an error of the system there is raised at the end."""
    begun, seen, errors = False, b"", list[OSError]()

    def write(chunk: bytes) -> int:
        nonlocal begun, seen
        try:
            if begun:
                file.write(chunk)
            else:
                seen += bytes(chunk)
                if (first := front(seen)) is not None:
                    begun = True
                    file.write(first)
        except OSError as error:
            errors.append(error)
            return -1
        return len(chunk)

    target = vips().TargetCustom()
    target.on_write(write)
    try:
        yield target
    finally:
        if errors:
            raise errors[0]
