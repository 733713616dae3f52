"""What a picture file knows of itself besides its pixels: read from one file, written into another.

Profile, EXIF, XMP, IPTC, resolution, texts, the tags of a TIFF, and how the file was compressed. Everything is kept byte
for byte, except for what a new picture makes untrue: it lies upright, has no thumbnail yet, and may have another size.
"""

import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image, JpegImagePlugin
from PIL.TiffImagePlugin import COMPRESSION_INFO

from diptych.images import formats, ifd, png, profiles
from diptych.images.ifd import Directory, Entry

KEEPS: Mapping[str, frozenset[str]] = {
    "JPEG": frozenset(("profile", "exif", "xmp", "iptc", "resolution", "comment")),
    "PNG": frozenset(("profile", "exif", "xmp", "resolution", "comment", "texts", "background", "chunks")),
    "WEBP": frozenset(("profile", "exif", "xmp")),
    "AVIF": frozenset(("profile", "exif", "xmp")),
    "TIFF": frozenset(("profile", "exif", "xmp", "iptc", "resolution", "tags", "position")),
    "BMP": frozenset(("resolution",)),
}
"""What can be written into each format, by the fields of `Metadata`; into others nothing."""
WORDS = {
    "profile": "the colour profile",
    "exif": "EXIF data",
    "xmp": "XMP data",
    "iptc": "IPTC data",
    "resolution": "the resolution",
    "comment": "the comment",
    "texts": "PNG texts",
    "background": "the background colour",
    "chunks": "PNG chunks",
    "tags": "TIFF tags",
    "position": "the GeoTIFF position",
}
FITS_IN_JPEG = {"exif": 65_500, "xmp": 65_500, "iptc": 65_000, "comment": 65_500, "profile": 255 * 65_519}
"""Bytes: a part of a JPEG has at most 65,533, and of a profile there may be 255 parts."""

LOSSLESS = {name: name for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")} | {
    "tiff_deflate": "tiff_adobe_deflate"  # an older number for the same
}
LOSSY = ("jpeg", "tiff_jpeg", "webp")
"""Compressions of TIFF, by Pillow's names. Those without loss are written again; others become LZW."""

ORIENTATION = 0x0112
RESOLUTION = X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
INCH, CENTIMETRE = 2, 3
COMPRESSION, SAMPLES, EXTRA_SAMPLES = 259, 277, 338
IN_EXIF = (
    *(0x010E, 0x010F, 0x0110, ORIENTATION, *RESOLUTION, 0x0131, 0x0132, 0x013B, 0x013E, 0x013F, 0x8298),
    *(0x4746, 0x4749, *range(0x9C9B, 0x9CA0)),
)
"""Tags of a TIFF that EXIF data have too: description, camera, software, date, artist, copyright, rating, titles."""
POSITION = (33550, 33922, 34264, 34735, 34736, 34737, 50844)
"""GeoTIFF: scale, tie points, transformation, keys, and the coefficients of a rational function. True of one size."""
XMP = 700
OF_THE_PIXELS = frozenset(
    (
        *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 288, 289, 290, 291),
        *(292, 293, 297, 301, 317, 320, 321, 322, 323, 324, 325, 326, 327, 328, 330, 332, 333, 334, 336, 337, 338, 339),
        *(340, 341, 342, 343, 344, 345, 346, 347, *range(512, 522), 529, 530, 531, 532, 559),
        *(34377, 37724, 50838, 50839),  # the layers and the thumbnail of Photoshop; the other pictures of ImageJ
    )
)
"""Tags that say how the pixels lie in the file that was read."""
OF_ITS_SHAPE = (b'{"shape":', b"ImageJ=", b"<?xml")
"""Descriptions of tifffile, ImageJ and OME: how many pictures the file holds, of which size, type and channels."""
DESCRIPTION, WIDTH, HEIGHT = 0x010E, 0x0100, 0x0101
PIXEL_WIDTH, PIXEL_HEIGHT = 0xA002, 0xA003

GREY_MODES = ("1", "L", "LA", "I;16", "I;16B", "I;16L", "I;16N")
IPTC_RESOURCE = 0x0404
PICTURES = 0xB001
"""How many a file has that holds several JPEGs, in its index."""
OF_A_FILM = re.compile(rb"((?:MotionPhoto|MicroVideo)(?:=[\"']|>))1")
OF_A_GAIN_MAP = re.compile(rb"\s+hdrgm:Version=(?:\"[^\"]*\"|'[^']*')")
TEXT_CHUNKS, COLOUR_CHUNKS = (b"tEXt", b"zTXt", b"iTXt"), (b"cHRM", b"gAMA", b"sRGB", b"cICP", b"mDCV", b"cLLI")
OF_ITS_SIZE = (b"oFFs", b"vpAg")
"""Chunks of a PNG that say where the picture lies on a larger one."""
READ_ELSEWHERE = (b"iCCP", b"pHYs", b"tRNS", b"acTL", b"fcTL", b"fdAT")
UNTRUE_OF_ANOTHER = (b"tIME", b"sBIT", b"hIST", b"iDOT")
"""Chunks that say of the old pixels when they were changed, how fine they were, how frequent, and where they lie."""
XMP_KEYWORD, OLD_EXIF = b"XML:com.adobe.xmp", (b"Raw profile type exif", b"Raw profile type APP1")
MOST_TEXT = 2**24
"""Bytes of a compressed part of a PNG, unpacked."""


@dataclass(frozen=True)
class Metadata:
    """What a file knows of itself; empty where it does not. `read` makes it, `files.encode` writes it."""

    size: tuple[int, int]
    """Height and width of the picture, upright."""
    format: str = ""
    """Pillow's name of the format."""
    profile: bytes = b""
    """The ICC profile."""
    exif: bytes = b""
    """A TIFF header and its directories, as they lie in the file; upright and without thumbnail."""
    xmp: bytes = b""
    iptc: bytes = b""
    """The records of IPTC-IIM."""
    resolution: tuple[float, float] | None = None
    """Dots per inch, across and down."""
    comment: bytes = b""
    """That of a JPEG."""
    texts: tuple[bytes, ...] = ()
    """The chunks of a PNG that hold texts."""
    colours: tuple[bytes, ...] = ()
    """Those that say what its colours mean, where there is no profile."""
    background: bytes = b""
    """The bKGD chunk of a PNG in its content, as 16-bit levels: one of grey, or three of RGB."""
    chunks: tuple[bytes, ...] = ()
    """The other chunks of a PNG that its specification lets stay where pixels have changed (section 14.2)."""
    extra: tuple[int, ...] = ()
    """What the samples of a TIFF behind its colours are, by TIFF 6.0: 0 unspecified, 1 premultiplied alpha, 2 alpha."""
    tags: Mapping[int, Entry] = field(default_factory=dict)
    """The tags of a TIFF that are neither EXIF data nor one of the others here."""
    position: Mapping[int, Entry] = field(default_factory=dict)
    """Its GeoTIFF tags."""
    compression: Mapping[str, Any] = field(default_factory=dict)
    """Pillow's options that compress in the same format as this file is compressed."""
    gone: tuple[str, ...] = ()
    """What could not be read or cannot be written anywhere, in words."""

    def without_all_but_colours(self) -> "Metadata":
        """Stripped, but for the profile, without which the colours are others, and the compression."""
        return Metadata(self.size, self.format, self.profile, extra=self.extra, compression=self.compression)

    def without_profile(self, word: str) -> "Metadata":
        """For a result that is sRGB, or none of colours; `word` says why."""
        return replace(self, profile=b"", gone=(*self.gone, word))

    def fitted(self, format: str, size: tuple[int, int]) -> "tuple[Metadata, list[str]]":
        """What a file of this format and size (height, width) can hold of it, and in words what it cannot."""
        known, lost = self, list(self.gone)
        if self.position and self.size != size:
            known = replace(known, position={})
            lost.append("the GeoTIFF position, which is that of another size")
        if self.size != size and (moved := [chunk for chunk in self.chunks if chunk[4:8] in OF_ITS_SIZE]):
            known = replace(known, chunks=tuple(chunk for chunk in self.chunks if chunk not in moved))
            lost.append(f"PNG chunks of another size ({_kinds(moved)})")
        for name, word in WORDS.items():
            if not getattr(known, name):
                continue
            if name not in KEEPS.get(format, ()):
                lost.append(word)
            elif format == "JPEG" and name in FITS_IN_JPEG and len(getattr(known, name)) > FITS_IN_JPEG[name]:
                lost.append(f"{word}, which are too many bytes")
            else:
                continue
            known = replace(known, **{name: getattr(Metadata(size), name)})
        if known.exif:
            known = replace(known, exif=_of_size(known.exif, size))
        return known, lost

    def options(self, format: str) -> dict[str, Any]:
        """Pillow's options to write it; PNG and TIFF take it from `inserted` instead."""
        options = dict(self.compression) if format == self.format else {}
        if format in ("PNG", "TIFF"):
            return options
        given = {
            "icc_profile": self.profile,
            "exif": b"Exif\x00\x00" + self.exif if self.exif else b"",
            "xmp": self.xmp,
            "dpi": self.resolution,
            "comment": self.comment,
            "extra": _photoshop_segment(self.iptc) if self.iptc else b"",
        }
        return options | {name: value for name, value in given.items() if value}

    def inserted(self, data: bytes, format: str) -> bytes:
        """The bytes of a new PNG or TIFF file with it; others as they are."""
        if format == "PNG":
            return png.with_chunks(data, [*self._chunks(), *png.background(data, self.background)])
        if format == "TIFF":
            return ifd.with_tags(data, self.directory())
        return data

    def _chunks(self) -> Iterable[bytes]:
        if self.profile:
            yield png.make_chunk(b"iCCP", b"ICC profile\x00\x00" + zlib.compress(self.profile))
        if self.resolution:
            across, down = (round(dpi / 0.0254) for dpi in self.resolution)
            if max(across, down) < 2**31:
                yield png.make_chunk(b"pHYs", struct.pack(">IIB", across, down, 1))
        if self.exif:
            yield png.make_chunk(b"eXIf", self.exif)
        if self.xmp:
            yield png.make_chunk(b"iTXt", XMP_KEYWORD + b"\x00\x00\x00\x00\x00" + self.xmp)
        if self.comment:
            yield png.make_chunk(b"tEXt", b"Comment\x00" + self.comment.replace(b"\x00", b""))
        yield from self.colours
        yield from self.texts
        yield from self.chunks

    def directory(self) -> Directory:
        """The tags of a TIFF that has it."""
        exif = Directory()
        with suppress(ValueError):
            exif = ifd.read(self.exif)
        entries = {tag: entry for tag, entry in exif.entries.items() if tag not in OF_THE_PIXELS}
        entries |= {**self.tags, **self.position}
        if self.resolution and self.format != "TIFF":
            entries |= {
                X_RESOLUTION: _rational(self.resolution[0]),
                Y_RESOLUTION: _rational(self.resolution[1]),
                RESOLUTION_UNIT: Entry(ifd.SHORT, struct.pack("<H", INCH)),
            }
        for tag, kind, value in (
            (ifd.PROFILE, ifd.UNDEFINED, self.profile),
            (XMP, 1, self.xmp),
            (ifd.IPTC, ifd.UNDEFINED, self.iptc),
        ):
            if value:
                entries[tag] = Entry(kind, value)
        return Directory(entries, exif.below)


# ---- reading


def read(data: bytes, size: tuple[int, int], name: str = "") -> Metadata:
    """What the bytes of a picture file say of a picture that is `size` (height, width), upright.

    Only the header is decoded, no pixels; by the `name` alone a TGA is known. What is damaged is left out, and named in
    `gone`.

    >>> import io
    >>> file = io.BytesIO()
    >>> Image.new("L", (4, 2)).save(file, "PNG", dpi=(300, 300))
    >>> read(file.getvalue(), (2, 4)).resolution
    (299.9994, 299.9994)
    """
    try:
        with formats.open_image(data, name) as image:
            known = of_image(image, size)
            more = _OF_FORMAT.get(known.format)
            return more(known, image, data) if more else known
    except Exception:  # of a damaged file Pillow may raise anything
        with suppress(Exception):  # and it opens few of the TIFFs that have other channels than grey, RGB and alpha
            return _of_tiff(_of_other_tiff(data, size), None, data)
        return Metadata(size, gone=("damaged metadata",))


def of_image(image: Image.Image, size: tuple[int, int]) -> Metadata:
    """What Pillow knows from the header of a file of any format, for a picture that is `size` (height, width), upright."""
    info = {name: value for name, value in image.info.items() if isinstance(value, bytes)}
    profile, gone = _profile(image)
    known = Metadata(
        size,
        image.format or "",
        profile,
        xmp=_upright_xmp(info.get("xmp", b"")),
        resolution=_resolution(image.info.get("dpi")),
        comment=info.get("comment", b""),
        gone=gone,
    )
    return _with_exif(known, info.get("exif", b""))


def _profile(image: Image.Image) -> tuple[bytes, tuple[str, ...]]:
    profile = profiles.of_image(image)
    kind = profiles.space(profile)
    if image.mode == "CMYK":
        return b"", ("CMYK, which is RGB now",)
    if profile and not kind:
        return b"", ("a colour profile that is damaged, or of another kind than the picture",)
    if kind == "CMYK" or (kind == "GRAY" and image.mode not in GREY_MODES):
        return b"", ("a colour profile of another kind than the picture",)
    return profile, ()


def _resolution(dpi: Any) -> tuple[float, float] | None:
    try:
        across, down = map(float, dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 0 < across < 2**16 and 0 < down < 2**16 else None


def _with_exif(known: Metadata, exif: bytes) -> Metadata:
    if not exif:
        return known
    try:
        return replace(known, exif=_upright(exif.removeprefix(b"Exif\x00\x00")))
    except ValueError:
        return replace(known, gone=(*known.gone, "damaged EXIF data"))


def _upright(exif: bytes) -> bytes:
    """EXIF data of a picture that lies upright and has no thumbnail.

    All else stays where it is, since cameras' own notes hold places. Raises a `ValueError` where that cannot be.
    """
    directory, written = ifd.read(exif), bytearray(exif)
    if ORIENTATION in directory.entries:
        ifd.set_number(written, directory.entries[ORIENTATION], 1)
    if directory.following:
        for place, size in _thumbnails(exif, directory.following):
            written[place : place + size] = bytes(len(written[place : place + size]))
            if place + size >= len(exif) - 1:
                del written[place:]
        written[directory.following_place : directory.following_place + 4] = bytes(4)
    ifd.read(bytes(written))
    return bytes(written)


def _thumbnails(exif: bytes, place: int) -> Iterable[tuple[int, int]]:
    """Where the thumbnail lies, and its bytes: of a JPEG, or of strips."""
    try:
        entries = ifd.read(exif, place).entries
    except ValueError:
        return
    for places, sizes in ((0x0201, 0x0202), (0x0111, 0x0117)):
        if places in entries and sizes in entries:
            yield from zip(entries[places].numbers, entries[sizes].numbers, strict=False)


def _of_size(exif: bytes, size: tuple[int, int]) -> bytes:
    """EXIF data of a picture of this size (height, width)."""
    written = bytearray(exif)
    directory = ifd.read(exif)
    below = directory.below.get(ifd.EXIF, Directory())
    for entries, tags in ((directory.entries, (HEIGHT, WIDTH)), (below.entries, (PIXEL_HEIGHT, PIXEL_WIDTH))):
        for tag, side in zip(tags, size, strict=True):
            if tag in entries:
                with suppress(ValueError):
                    ifd.set_number(written, entries[tag], side)
    return bytes(written)


def _upright_xmp(xmp: bytes) -> bytes:
    """The same without rotation and thumbnails."""
    xmp = re.sub(rb"(tiff:Orientation(?:=[\"']|>))[2-8]", rb"\g<1>1", xmp)
    return _without_elements(xmp, b"xmp:Thumbnails", b"xap:Thumbnails")


def _without_elements(xmp: bytes, *names: bytes) -> bytes:
    for name in names:
        begin, end = b"<" + name, b"</" + name + b">"
        first, *others = xmp.split(begin)
        xmp = first + b"".join(other.partition(end)[2] if end in other else begin + other for other in others)
    return xmp


# ---- what each format has of its own


def _of_jpeg(known: Metadata, image: Image.Image, _: bytes) -> Metadata:
    assert isinstance(image, JpegImagePlugin.JpegImageFile)
    compression: dict[str, Any] = {"progressive": bool(image.info.get("progressive"))}
    tables = image.quantization
    if tables and all(len(table) == 64 and min(table) >= 1 and max(table) <= 255 for table in tables.values()):
        # a quality would scale the tables
        compression |= {"quality": -1, "qtables": tables, "subsampling": max(0, JpegImagePlugin.get_sampling(image))}
    photoshop = image.info.get("photoshop")
    iptc = photoshop.get(IPTC_RESOURCE) if isinstance(photoshop, dict) else None
    return replace(
        known,
        format="JPEG",
        xmp=_of_one_picture(known.xmp),
        compression=compression,
        iptc=iptc if isinstance(iptc, bytes) else b"",
        gone=(*known.gone, *_behind_the_picture(image, known.xmp)),
    )


def _behind_the_picture(image: Image.Image, xmp: bytes) -> Iterator[str]:
    """In words what telephones and stereo cameras put behind a JPEG: further pictures (CIPA DC-007), a film."""
    with suppress(Exception):  # its index may be damaged
        [count] = ifd.read(image.info.get("mp", b"")).entries[PICTURES].numbers
        if count > 1:
            yield f"{'the second picture' if count == 2 else f'{count - 1} further pictures'} in the file"
    if OF_A_FILM.search(xmp):
        yield "the film of a motion photo"


def _of_one_picture(xmp: bytes) -> bytes:
    """The same without what it says of pictures and films behind this one, which are not there any more."""
    xmp = OF_A_GAIN_MAP.sub(b"", OF_A_FILM.sub(rb"\g<1>0", xmp))
    return _without_elements(xmp, b"Container:Directory", b"GContainer:Directory")


def _of_webp(known: Metadata, _: Image.Image, data: bytes) -> Metadata:
    """Pillow does not say whether the pixels are compressed without loss: the name of their chunk does."""
    place = 12
    while place + 8 <= len(data):
        if data[place : place + 4] == b"VP8L":
            return replace(known, compression={"lossless": True, "exact": True})
        place += 8 + int.from_bytes(data[place + 4 : place + 8], "little") + data[place + 4] % 2
    return known


def _of_png(known: Metadata, _: Image.Image, data: bytes) -> Metadata:
    """Its chunks as they are, those behind the pixels too; EXIF and XMP data wherever a PNG may have them."""
    texts, colours, exif, old_exif = [], [], b"", b""
    others, gone = list[bytes](), list[bytes]()
    data = png.mended(data)[0]
    for chunk in png.all_chunks(data):
        kind, content = chunk[4:8], chunk[8:-4]
        if len(content) != int.from_bytes(chunk[:4], "big"):
            continue  # the file is cut off here
        if kind == b"bKGD":
            known = replace(known, background=png.background_levels(data, content))
        elif kind == b"eXIf":
            exif = content
        elif kind in COLOUR_CHUNKS:
            colours.append(png.make_chunk(kind, content))
        elif kind in TEXT_CHUNKS:
            keyword = content.partition(b"\x00")[0]
            if keyword == XMP_KEYWORD:
                known = replace(known, xmp=_upright_xmp(_international_text(content)))
            elif keyword in OLD_EXIF:  # as ImageMagick wrote it before PNG had a place for it
                old_exif = old_exif or _hexadecimal_text(kind, content)
            else:
                texts.append(png.make_chunk(kind, content))
        elif kind[:1].islower() and kind not in (*READ_ELSEWHERE, *UNTRUE_OF_ANOTHER):
            (others if kind[3:].islower() else gone).append(chunk)
    known = replace(known, texts=tuple(texts), colours=() if known.profile else tuple(colours), chunks=tuple(others))
    if gone:
        known = replace(known, gone=(*known.gone, f"PNG chunks that hold for the old pixels ({_kinds(gone)})"))
    return _with_exif(replace(known, exif=b""), exif or old_exif)


def _kinds(chunks: Iterable[bytes]) -> str:
    return ", ".join(dict.fromkeys(chunk[4:8].decode("ascii") for chunk in chunks))


def _international_text(content: bytes) -> bytes:
    """The text of an iTXt chunk (PNG specification, section 11.3.3.4); empty where it is damaged."""
    _, _, rest = content.partition(b"\x00")
    text = rest[2:].split(b"\x00", 2)[-1]
    return _unpacked(text) if rest[:1] == b"\x01" else text


def _hexadecimal_text(kind: bytes, content: bytes) -> bytes:
    """EXIF data as digits below three lines: an empty one, the kind, the number of bytes."""
    text = content.partition(b"\x00")[2]
    lines = (_unpacked(text[1:]) if kind == b"zTXt" else text).split(b"\n")
    try:
        return bytes.fromhex(b"".join(lines[3:]).decode("ascii"))
    except ValueError:
        return b"damaged"


def _unpacked(compressed: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(compressed, MOST_TEXT)
    except zlib.error:
        return b""


def _of_other_tiff(data: bytes, size: tuple[int, int]) -> Metadata:
    """Profile and resolution of a TIFF that Pillow does not open."""
    entries = _tags(data).entries
    profile = entries[ifd.PROFILE].data if ifd.PROFILE in entries else b""
    gone: tuple[str, ...] = ()
    if profile and not profiles.fits(profile, sum(entries[SAMPLES].numbers) if SAMPLES in entries else 1):
        profile, gone = b"", ("a colour profile of another kind than the picture",)
    dpi = None
    if {X_RESOLUTION, Y_RESOLUTION} <= entries.keys():
        parts = (struct.unpack("<II", entries[tag].data) for tag in (X_RESOLUTION, Y_RESOLUTION))
        unit = entries[RESOLUTION_UNIT].numbers if RESOLUTION_UNIT in entries else [INCH]
        with suppress(ZeroDivisionError):
            dpi = tuple(above / below * {INCH: 1, CENTIMETRE: 2.54}.get(unit[0], 0) for above, below in parts)
    return Metadata(size, "TIFF", profile, resolution=_resolution(dpi), gone=gone)


def _tags(data: bytes) -> Directory:
    """Those of the picture, and what the first page has besides where it is a smaller copy: there scanners put the rest."""
    wanted = OF_THE_PIXELS - {COMPRESSION, SAMPLES, EXTRA_SAMPLES}
    found = ifd.read(moved := ifd.with_main_page_first(data), without=wanted)
    if moved is data:
        return found
    first = ifd.read(data, without=OF_THE_PIXELS)
    return Directory(first.entries | found.entries, first.below | found.below, damaged=found.damaged or first.damaged)


def _of_tiff(known: Metadata, _: Image.Image | None, data: bytes) -> Metadata:
    """Its tags, but for those that say how the pixels lie."""
    found = _tags(data)
    entries, gone = found.entries, [*known.gone, *(["damaged TIFF tags"] if found.damaged else [])]
    _samples, extra, numbered = (
        entries.pop(tag).numbers if tag in entries else [] for tag in (SAMPLES, EXTRA_SAMPLES, COMPRESSION)
    )
    described = entries.get(DESCRIPTION)
    if described and described.data.startswith(OF_ITS_SHAPE):
        del entries[DESCRIPTION]
        if not described.data.startswith(b"{"):
            gone.append("the description by ImageJ or OME")
    turned = ORIENTATION in entries and entries.pop(ORIENTATION).numbers != [1]
    xmp, iptc, _profile_entry = (entries.pop(tag, Entry(1, b"")) for tag in (XMP, ifd.IPTC, ifd.PROFILE))
    position = {tag: entries.pop(tag) for tag in POSITION if tag in entries}
    if turned and position:
        position = {}
        gone.append("the GeoTIFF position of a picture that did not lie upright")
    exif = Directory({tag: entries.pop(tag) for tag in IN_EXIF if tag in entries}, found.below)
    compression = COMPRESSION_INFO.get(sum(numbered), "")
    if compression in LOSSY:
        gone.append("the compression with loss")
    return replace(
        known,
        exif=ifd.HEADER + ifd.pack(exif, len(ifd.HEADER)) if exif.entries or exif.below else b"",
        xmp=_upright_xmp(xmp.data),
        iptc=iptc.data,
        extra=tuple(extra),
        tags=entries,
        position=position,
        compression={"compression": LOSSLESS.get(compression, "tiff_lzw")},
        gone=tuple(gone),
    )


_OF_FORMAT = {"JPEG": _of_jpeg, "MPO": _of_jpeg, "WEBP": _of_webp, "PNG": _of_png, "TIFF": _of_tiff}


# ---- writing


def not_kept(losses: Iterable[tuple[tuple[Path, Path], Sequence[str]]]) -> Iterator[str]:
    """A line for each kind of file that was written, with what could not be kept; nothing where all was.

    >>> list(not_kept([((Path("a.tif"), Path("out/a.jpg")), ["16 bits"])]))
    ['not kept in .jpg files: 16 bits (1 picture, the first a.tif)']
    """
    by_suffix: dict[str, list[tuple[Path, Sequence[str]]]] = {}
    for (source, target), words in losses:
        if words:
            by_suffix.setdefault(target.suffix.lower(), []).append((source, words))
    for suffix, found in sorted(by_suffix.items()):
        words = ", ".join(dict.fromkeys(word for _, words in found for word in words))
        pictures = f"{len(found)} picture{'s' if len(found) > 1 else ''}"
        yield f"not kept in {suffix} files: {words} ({pictures}, the first {min(source for source, _ in found)})"


def _photoshop_segment(iptc: bytes) -> bytes:
    """The part of a JPEG that holds IPTC data: a resource of Photoshop, without a name."""
    resource = b"8BIM" + struct.pack(">HHI", IPTC_RESOURCE, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)
    content = b"Photoshop 3.0\x00" + resource
    return b"\xff\xed" + struct.pack(">H", len(content) + 2) + content


def _rational(number: float) -> Entry:
    fraction = Fraction(number).limit_denominator(10**4)
    return Entry(ifd.RATIONAL, struct.pack("<II", fraction.numerator, fraction.denominator))
