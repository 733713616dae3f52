"""Tar shards: pictures in tar files of thousands, by WebDataset's names, read one by one through an index beside each file.

A sample is the members of one name up to its first dot: `NAME.jpg`, `NAME.jpg` + `NAME.cls` (the name of its class), or
`NAME.a.jpg` + `NAME.b.jpg` (a pair). The index `x.idx` beside `x.tar` says where each member lies, so that a sample is one
read of a range of bytes: from a disk, or from a server that is asked ahead of time. The header of a member is read with it:
an index that does not fit its tar is found out at any sample.
"""

import io
import json
import os
import re
import tarfile
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from diptych.data import remote, shard_cache
from diptych.data.datasets import Dataset, ImageDataset, SideBySide, least_size, levels_of
from diptych.data.paths import LIKE_SPLIT, SPLIT_FOLDERS, Split, is_image_or_record
from diptych.data.walk import is_passed_over, walk
from diptych.files import atomic_file, digest, recall, remember, require_file
from diptych.images import formats, numbers
from diptych.images.files import SUFFIXES, Pixels, decode_bytes
from diptych.images.spec import ImageSpec
from diptych.wording import brief, counted

TAR, INDEX = ".tar", ".idx"
BLOCK = tarfile.BLOCKSIZE
CLASS = "cls"
NAME = re.compile(r"((?:.*/)?[^/.]+)\.([^/]+)")
"""The name of a sample, and what each of its members ends in."""
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
"""Numbers in an address: train-{000..199}.tar."""
SPLIT_OF: dict[str, Split] = {word: split for split, words in SPLIT_FOLDERS.items() for word in words} | {"eval": "val"}
SIDE_FOLDERS = {word + side for words in SPLIT_FOLDERS.values() for word in words for side in ("", "a", "b")}
LOOKED_AT = 16  # samples whose shape tells whether they are pairs
THREADS = 32
"""Samples that are read at one time from a server, which takes long to answer and answers many."""
GAP = 2**16
"""Bytes between the two sides of a pair that are rather read than asked for apart."""
PIECE = 2**20
"""Bytes of a tar without an index that are read at one time."""
FORMAT = 1


# ---- where shards are


def is_place(path: Path) -> bool:
    """Whether a path is a tar file or an address, and no folder that may hold anything.

    >>> is_place(Path("http://host/shards")), is_place(Path("train.tar")), is_place(Path("shards"))
    (True, True, False)
    """
    return remote.is_address(path) or path.suffix.lower() == TAR


def find(place: Path, split: Split) -> list[str] | None:
    """The tar files of a split, in a folder, below train and val or with these words in their names, or at an address.

    Empty where there are some, and none of this split; None where there are none at all, or pictures beside them.
    """
    where = remote.address(place) if remote.is_address(place) else os.fspath(place)
    if where.lower().endswith(TAR) and (remote.is_address(place) or place.is_file()):
        return _numbered(where) if split == "train" else []
    if not (remote.is_address(place) or place.is_dir()):
        return None
    entries = _entries(where)
    if tars := _tars(entries):
        return None if _has_pictures(place) else _of_split(where, tars, split)
    folders = {_last(entry).lower(): entry for entry in entries if remote.is_address(place) or Path(entry).is_dir()}
    inside = {
        name: next((folders[word] for word in words if word in folders), "") for name, words in SPLIT_FOLDERS.items()
    }
    trained = inside["train"]
    if trained and _tars(_entries(trained)) and not _has_pictures(Path(trained)):
        return _tars(_entries(inside[split])) if inside[split] else []
    if remote.is_address(place):
        raise ValueError(
            f"{where}: no tar files found, nor in train below; a server that lists no folders needs their names: "
            f"{where}/train-{{000..099}}{TAR}"
        )
    return None


def in_folder(folder: Path) -> list[str]:
    """The tar files in a folder that holds no pictures."""
    tars = _tars(_entries(os.fspath(folder))) if folder.is_dir() else []
    return [] if tars and _has_pictures(folder) else tars


def below(place: Path) -> dict[str, str]:
    """The tar files in a folder and below, at an address, or the one file, with their paths below it.

    Empty where there are none, or pictures too.
    """
    if remote.is_address(place):
        where = remote.address(place)
        tars = _numbered(where) if where.lower().endswith(TAR) else _tars(_entries(where))
        if not tars:
            raise ValueError(f"{where}: no tar files found; give the folder that they lie in, or their names")
        return {tar: _last(tar) for tar in tars}
    if place.is_file():
        return {str(place): place.name} if is_place(place) else {}
    found = sorted(walk(place, lambda name: name.lower().endswith(TAR))) if place.is_dir() else []
    return {} if found and _has_pictures(place) else {tar: Path(tar).relative_to(place).as_posix() for tar in found}


def _entries(where: str) -> list[str]:
    return remote.listed(where) if remote.is_address(where) else [str(path) for path in sorted(Path(where).iterdir())]


def _tars(entries: Sequence[str]) -> list[str]:
    return [one for one in entries if one.lower().endswith(TAR) and not is_passed_over(_last(one))]


def _has_pictures(folder: Path) -> bool:
    return not remote.is_address(folder) and any(walk(folder, is_image_or_record))


def _last(where: str) -> str:
    return re.split(r"[/\\]", where)[-1]


def _numbered(where: str) -> list[str]:
    """The addresses that one with numbers stands for.

    >>> _numbered("http://host/{08..10}.tar")
    ['http://host/08.tar', 'http://host/09.tar', 'http://host/10.tar']
    """
    if not (found := RANGE.search(where)):
        return [where]
    (first, last), before, behind = found.groups(), where[: found.start()], where[found.end() :]
    return [f"{before}{number:0{len(first)}}{behind}" for number in range(int(first), int(last) + 1)]


def _of_split(where: str, tars: Sequence[str], split: Split) -> list[str]:
    """Those of a split, where names such as train-000 and val-000 say so; else all are of train."""
    by_split: dict[Split | None, list[str]] = {}
    for tar in tars:
        like = LIKE_SPLIT.fullmatch(_last(tar)[: -len(TAR)])
        by_split.setdefault(SPLIT_OF.get(like["word"].lower()) if like else None, []).append(tar)
    if not by_split.keys() - {None, "train"}:
        return [*tars] if split == "train" else []
    if unnamed := by_split.get(None):
        raise ValueError(
            f"{where}: {_last(unnamed[0])} lies beside shards that are named as splits; name all of them so, train-000{TAR}"
        )
    return by_split.get(split, [])


# ---- the index of one shard


@dataclass(frozen=True)
class Index:
    """Where each picture lies in a tar file of `size` bytes."""

    size: int
    members: Sequence[tuple[str, int, int]]
    """Name, and place and number of the bytes."""
    classes: dict[str, str]
    """What the `.cls` members say, by the names of their samples."""


def write(path: Path, members: Iterable[tuple[str, bytes]]) -> Index:
    """Writes a tar file of members, names and bytes, whole or not at all; and its index.

    >>> import tempfile
    >>> index = write(Path(tempfile.mkdtemp()) / "0.tar", [("cat.png", b"..."), ("cat.cls", b"cat")])
    >>> index.members, index.classes
    ([('cat.png', 512, 3)], {'cat': 'cat'})
    """
    found = list[tuple[str, int, int]]()
    classes: dict[str, str] = {}
    with atomic_file(path) as beside:
        with tarfile.open(beside, "w", format=tarfile.PAX_FORMAT) as tar:
            for name, data in members:
                about = tarfile.TarInfo(name)
                about.size = len(data)
                tar.addfile(about, io.BytesIO(data))
                _note(name, tar.offset - -(-len(data) // BLOCK) * BLOCK, data, found, classes)
        index = Index(beside.stat().st_size, found, classes)
    _write_index(path, index)
    return index


def _note(
    name: str, offset: int, data: bytes | int, found: list[tuple[str, int, int]], classes: dict[str, str]
) -> None:
    """Notes a member, of these bytes or of so many, if it is one of ours."""
    if name.lower().endswith(SUFFIXES):
        found.append((name, offset, data if isinstance(data, int) else len(data)))
    elif isinstance(data, bytes) and (parts := NAME.fullmatch(name)) and parts[2] == CLASS:
        classes[parts[1]] = data.decode("utf-8", errors="replace").strip()


def _write_index(tar: Path, index: Index) -> None:
    with atomic_file(_beside(tar)) as beside:
        beside.write_text(json.dumps(_as_json(index), separators=(",", ":")) + "\n", encoding="utf-8")


def _beside(tar: Path) -> Path:
    return tar.with_suffix(INDEX)


def _as_json(index: Index) -> dict[str, Any]:
    return {"diptych-index": FORMAT, "size": index.size, "members": index.members, "classes": index.classes}


def _from_json(content: Any, name: str, tar: str, size: int) -> Index:
    """The index of a tar file that has `size` bytes; a `ValueError` names one that does not fit."""
    try:
        if content["diptych-index"] != FORMAT:
            raise ValueError
        members = [(str(member), int(offset), int(number)) for member, offset, number in content["members"]]
        classes = {str(key): str(name) for key, name in dict(content["classes"]).items()}
        index = Index(int(content["size"]), members, classes)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{name}: is no index of a shard; copy it again, or remove it, and it is made anew") from error
    if index.size != size or any(not BLOCK <= offset <= offset + number <= size for _, offset, number in members):
        raise ValueError(
            f"{name}: does not fit {_last(tar)}, which has {size:,} bytes; copy both again, or remove the index, and it is "
            "made anew"
        )
    return index


def read_index(tar: str, size: int) -> Index:
    """The index of a shard that has `size` bytes, made where there is none: beside it, or in the cache if that cannot be."""
    if remote.is_address(tar):
        name = tar[: -len(TAR)] + INDEX
        data, there = remote.read_whole(name), Path()
    else:
        there = _beside(Path(tar))
        name, data = str(there), there.read_bytes() if there.is_file() else None
    if data is not None:
        try:
            content = json.loads(data)
        except (ValueError, RecursionError):
            content = None
        return _from_json(content, name, tar, size)
    key = f"shard-{digest(tar, _stamp(tar, size))}"
    if known := recall(key):
        return _from_json(known, name, tar, size)
    index = _scan(tar, size)
    try:
        if remote.is_address(tar):
            raise OSError
        _write_index(Path(tar), index)
    except OSError:  # nobody may write there
        remember(key, _as_json(index))
    return index


def _stamp(tar: str, size: int) -> str:
    return str(size) if remote.is_address(tar) else f"{size} {Path(tar).stat().st_mtime_ns}"


def _scan(tar: str, size: int) -> Index:
    """The index of a tar file, by the headers of its members."""
    found, classes = list[tuple[str, int, int]](), dict[str, str]()
    try:
        with tarfile.open(fileobj=io.BufferedReader(_Ranges(tar, size), PIECE), mode="r:") as archive:
            for member in archive:
                if not member.isreg():
                    continue
                name = member.name.removeprefix("./")
                is_class = name.endswith(f".{CLASS}") and member.size < BLOCK
                stream = archive.extractfile(member) if is_class else None
                _note(name, member.offset_data, stream.read() if stream else member.size, found, classes)
            end = archive.offset
    except tarfile.TarError as error:
        raise ValueError(f"{tar}: {HALF} ({brief(error)})") from error
    # tarfile takes whatever is no header for the end, which is a block of zeros.
    if _bytes(tar, end, min(end + BLOCK, size)) != bytes(BLOCK):
        raise ValueError(f"{tar}: {HALF} (it has no end after {counted(len(found), 'picture')})")
    return Index(size, found, classes)


HALF = "is only half written, damaged, or no plain tar file; copy it again, unpacked where it is a .gz"


class _Ranges(io.RawIOBase):
    """A file that is read in ranges."""

    def __init__(self, file: str, size: int) -> None:
        self.file, self.size, self.position = file, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: Any) -> int:
        data = _bytes(self.file, self.position, min(self.position + len(buffer), self.size))
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)


def _bytes(file: str, start: int, end: int) -> bytes:
    """A range of a file on the disk, which may end before it, or on the network, which gives all of it."""
    if end <= start:
        return b""
    if remote.is_address(file):
        return remote.read(file, start, end)
    try:
        with Path(file).open("rb") as stream:
            stream.seek(start)
            return stream.read(end - start)
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror or error})") from error


# ---- the samples of several shards


@dataclass
class Samples:
    """Where the samples of some shards lie: one range of bytes for each of their sides."""

    files: Sequence[str]
    sizes: Sequence[int]
    """The bytes of each file."""
    shard: "np.ndarray[tuple[int], np.dtype[np.int32]]"
    """The number of the file of each sample."""
    places: "np.ndarray[tuple[int, int, int], np.dtype[np.int64]]"
    """Place and number of the bytes of each side: `[samples, sides, 2]`."""
    members: Sequence[Sequence[str]]
    """The name of the member of each side."""
    classes: Sequence[str]
    """The name of each sample's class; empty where they have none."""
    _ahead: dict[int, Future[list[bytes]]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.shard)

    @property
    def sides(self) -> int:
        """2 for pairs, else 1."""
        return self.places.shape[1]

    @cached_property
    def some_sizes(self) -> list[tuple[int, int]]:
        """Height and width of the first side of some evenly spaced samples that can be read."""
        sizes = list[tuple[int, int]]()
        for index in range(0, len(self), -(-len(self) // LOOKED_AT)):
            try:
                sizes.append(decode_bytes(self.read(index)[0], self.file(index)).file_size)
            except remote.UnreachableError:
                raise
            except ValueError:  # a bad picture tells nothing, and is named when it is looked at
                pass
        return sizes

    def name(self, index: int) -> str:
        """The name of the shard and that of the sample in it."""
        found = NAME.fullmatch(self.members[index][0])
        assert found
        return f"{_last(self.files[self.shard[index]])[: -len(TAR)]}/{found[1]}"

    def file(self, index: int, side: int = 0) -> str:
        """The tar file and the member, for messages."""
        return f"{self.files[self.shard[index]]}, {self.members[index][side]}"

    def ahead(self, index: int) -> None:
        """Begins to read a sample from a server."""
        if remote.is_address(self.files[0]) and index not in self._ahead:
            self._ahead[index] = self._readers.submit(self._read, index)

    def read(self, index: int) -> list[bytes]:
        """The bytes of each side; a `ValueError` names a member that is not where the index says."""
        begun = self._ahead.pop(index, None)
        return begun.result() if begun else self._read(index)

    @cached_property
    def _readers(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(THREADS, thread_name_prefix="ranges")

    def _read(self, index: int) -> list[bytes]:
        ranges = [(int(offset) - BLOCK, int(offset + size)) for offset, size in self.places[index]]
        for side, (start, end) in enumerate(ranges):
            try:
                formats.require_bytes(end - start - BLOCK, formats.MAX_PIXELS)
            except formats.TooLargeError as error:
                raise ValueError(f"{self.file(index, side)}: {error}") from error
        start, end = min(start for start, _ in ranges), max(end for _, end in ranges)
        if end - start - sum(end - start for start, end in ranges) <= GAP:
            whole = self._range(index, start, end)
            parts = [whole[first - start : last - start] for first, last in ranges]
        else:
            parts = [self._range(index, *one) for one in ranges]
        return [self._content(index, side, part) for side, part in enumerate(parts)]

    def _range(self, index: int, start: int, end: int) -> bytes:
        file, size = self.files[self.shard[index]], self.sizes[self.shard[index]]
        if remote.is_address(file) and (kept := shard_cache.kept(file, size)):
            with suppress(ValueError):  # another process made room for its own
                if len(data := _bytes(str(kept), start, end)) == end - start:
                    return data
        return _bytes(file, start, end)

    def _content(self, index: int, side: int, part: bytes) -> bytes:
        """The bytes of a member behind its header, which must be there."""
        size, name = int(self.places[index, side, 1]), self.members[index][side]
        header = None
        with suppress(tarfile.TarError, ValueError):
            header = tarfile.TarInfo.frombuf(part[:BLOCK], "utf-8", "surrogateescape")
        short = len(name) <= 100 and name.isascii()  # others stand in a header of their own
        if header is None or header.size != size or (short and header.name.removeprefix("./") != name):
            raise ValueError(
                f"{self.file(index, side)}: does not lie where the index says, so that index and tar do not fit; copy both "
                "again, or remove the index, and it is made anew"
            )
        if len(part) != BLOCK + size:
            raise ValueError(f"{self.file(index, side)}: the file ends in the middle of it; copy it again")
        return part[BLOCK:]


def open_samples(files: Sequence[str]) -> Samples:
    """The samples of some shards, by their indexes; a `ValueError` names what is wrong with one.

    Raises a `ValueError`, too, where samples are of several kinds, or lie in folders named as held-out pictures.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        stamps = [*pool.map(_size_and_time, files)]
    return _open(tuple(files), tuple(stamps))


def _size_and_time(file: str) -> tuple[int, int]:
    if remote.is_address(file):
        return remote.size(file), 0
    require_file(Path(file))
    found = Path(file).stat()
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=4)  # train and val of A and of B: each is looked for more than once
def _open(files: Sequence[str], stamps: Sequence[tuple[int, int]]) -> Samples:
    with ThreadPoolExecutor(THREADS) as pool:
        found = [*pool.map(lambda one: _group(one[0], read_index(one[0], one[1][0])), zip(files, stamps, strict=True))]
    members = [sample for of_file, _ in found for sample, _ in of_file]
    classes = [name for _, of_file in found for name in of_file]
    places = [place for of_file, _ in found for _, place in of_file]
    first = next((number for number, sample in enumerate(members) if len(sample) != len(members[0])), None)
    shard = np.repeat(np.arange(len(files), dtype=np.int32), [len(of_file) for of_file, _ in found])
    if not members:
        raise ValueError(f"{files[0]}: no pictures found in it ({', '.join(SUFFIXES)})")
    if first is not None:
        raise ValueError(
            f"{files[shard[first]]}: holds {' and '.join(members[first])}, and {files[0]} {' and '.join(members[0])}; pairs "
            f"alone or single pictures alone are expected"
        )
    if classes and (bare := next((number for number, name in enumerate(classes) if not name), None)) is not None:
        if any(classes):
            raise ValueError(
                f"{files[shard[bare]]}: {members[bare][0]} has no class, and others have; add NAME.{CLASS} for each, "
                "or for none"
            )
        classes = []
    return Samples(files, [size for size, _ in stamps], shard, np.array(places, np.int64), members, classes)


def _group(file: str, index: Index) -> tuple[list[tuple[tuple[str, ...], list[tuple[int, int]]]], list[str]]:
    """The samples of a shard, in the order of its members: names and places of the sides; and the class of each."""
    by_name: dict[str, dict[str, tuple[str, int, int]]] = {}
    for name, offset, size in index.members:
        *folders, own = name.split("/")
        if any(map(is_passed_over, [*folders, own])) or not (parts := NAME.fullmatch(name)):
            continue
        if held := next((folder for folder in folders if folder.lower() in SIDE_FOLDERS), None):
            raise ValueError(
                f"{file}: holds a folder {held} ({name}), so it is an archive of a data set; unpack it, and give the folder"
            )
        by_name.setdefault(parts[1], {})[parts[2].rpartition(".")[0].lower()] = name, offset, size
    samples, classes = list[tuple[tuple[str, ...], list[tuple[int, int]]]](), list[str]()
    for key, members in by_name.items():
        if len(members) == 1:
            sides = [*members.values()]
        elif members.keys() == {"a", "b"}:
            sides = [members["a"], members["b"]]
        else:
            names = " and ".join(name for name, _, _ in members.values())
            raise ValueError(
                f"{file}: holds {names}; a pair is {key}.a.jpg and {key}.b.jpg, a single picture {key}.jpg"
            )
        samples.append((tuple(name for name, _, _ in sides), [(offset, size) for _, offset, size in sides]))
        classes.append(index.classes.get(key, ""))
    return samples, classes


# ---- datasets


class OfSamples(Dataset):
    """What all datasets of shards have in common."""

    samples: Samples
    is_streamed = True

    def __len__(self) -> int:
        return len(self.samples)

    def name(self, index: int) -> str:
        return self.samples.name(index)

    def files(self, index: int) -> str:
        return self.samples.file(index)

    def ahead(self, index: int) -> None:
        self.samples.ahead(index)

    def _pixels(self, index: int, side: int, data: bytes, at_least: tuple[int, int] | None, spec: ImageSpec) -> Pixels:
        return numbers.read_bytes(data, self.samples.file(index, side), spec, at_least=at_least)

    def _described(self, what: str, height: int, width: int) -> str:
        shards, first = self.samples.files, self.samples.files[0]
        folder = first[: -len(_last(first))].rstrip("/\\")
        return f"{counted(len(self), what)} in {counted(len(shards), 'tar file')} of {folder}, {width}x{height}"


@dataclass
class ShardImages(OfSamples, ImageDataset):
    """Every sample of some shards is an image."""

    samples: Samples
    specs: tuple[ImageSpec, ...]
    remark: str = ""

    def describe(self, height: int, width: int) -> str:
        return self._described("picture", height, width) + self.remark

    def decode(self, index: int, at_least: tuple[int, int] | None = None) -> Pixels:
        [data] = self.samples.read(index)
        return self._pixels(index, 0, data, at_least, self.specs[0])


@dataclass
class ShardPairs(OfSamples):
    """Every sample of some shards is a pair of images."""

    samples: Samples
    specs: tuple[ImageSpec, ...]

    def describe(self, height: int, width: int) -> str:
        return self._described("pair", height, width)

    def load(self, index: int) -> tuple[Tensor, ...]:
        return self._load(index, None)[0]

    def load_reduced(self, index: int, at_least: tuple[int, int]) -> tuple[tuple[Tensor, ...], tuple[int, int]]:
        return self._load(index, at_least)

    def _load(self, index: int, at_least: tuple[int, int] | None) -> tuple[tuple[Tensor, ...], tuple[int, int]]:
        levels, sizes = list[Tensor](), list[tuple[int, int]]()
        for side, (data, spec) in enumerate(zip(self.samples.read(index), self.specs, strict=True)):
            pixels = self._pixels(index, side, data, least_size(spec, at_least), spec)
            levels.append(levels_of(pixels, spec, self.samples.file(index, side)))
            sizes.append(pixels.file_size)
        if sizes[0] != sizes[1]:
            (height_a, width_a), (height_b, width_b) = sizes
            raise ValueError(
                f"{self.samples.file(index)} is {width_a}x{height_a} and {self.samples.members[index][1]} is "
                f"{width_b}x{height_b}; the two sides of a pair must have the same size"
            )
        return tuple(levels), sizes[0]


class ShardHalves(OfSamples, SideBySide):
    """Every sample of some shards is a picture of A beside its B."""

    def __init__(self, samples: Samples, specs: tuple[ImageSpec, ...], any_shape: bool) -> None:
        super().__init__(Path(), (), specs, any_shape)
        self.samples = samples

    def describe(self, height: int, width: int) -> str:
        return f"{self._described('side-by-side pair', height, 2 * width)}, A left"

    def sources(self, index: int) -> Sequence[Path]:
        return ()

    @property
    def folders(self) -> Sequence[Path]:
        return ()

    def _decode(self, index: int, at_least: tuple[int, int] | None = None) -> Pixels:
        asking = max(self.specs, key=lambda spec: bool(spec.range))
        [data] = self.samples.read(index)
        return self._pixels(index, 0, data, at_least, asking)
