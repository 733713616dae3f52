"""What lies in a folder and is not read, in a few words: pictures of other formats, archives, files of many pictures."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from diptych.data.walk import folders_below, is_passed_over, walk
from diptych.images.files import ARRAY, SUFFIXES
from diptych.images.formats import kind_of

PICTURES = tuple(
    suffix
    for suffix in (
        *(
            ".jfif",
            ".jpe",
            ".jxl",
            ".jp2",
            ".j2k",
            ".jpf",
            ".jpx",
            ".jxr",
            ".gif",
            ".apng",
            ".avif",
            ".heic",
            ".heif",
            ".hif",
        ),
        *(
            ".ppm",
            ".pgm",
            ".pbm",
            ".pnm",
            ".pfm",
            ".tga",
            ".pcx",
            ".dds",
            ".sgi",
            ".ras",
            ".ico",
            ".icns",
            ".cur",
            ".qoi",
            ".dib",
            ".pam",
            ".rgb",
            ".rgba",
            ".btf",
            ".mng",
        ),
        *(".psd", ".psb", ".xcf", ".kra", ".clip", ".svg", ".svgz", ".eps", ".ai", ".wmf", ".emf"),
        *(
            ".dng",
            ".cr2",
            ".cr3",
            ".crw",
            ".nef",
            ".nrw",
            ".arw",
            ".srf",
            ".sr2",
            ".orf",
            ".rw2",
            ".raf",
            ".pef",
            ".srw",
        ),
        *(
            ".3fr",
            ".fff",
            ".iiq",
            ".mrw",
            ".x3f",
            ".rwl",
            ".erf",
            ".kdc",
            ".dcr",
            ".mos",
        ),  # cameras' own, as the row above
        *(".exr", ".hdr", ".rgbe", ".dpx", ".cin", ".dcm", ".dicom", ".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"),
        *(".fits", ".fit", ".fts", ".czi", ".lif", ".nd2", ".oib", ".svs", ".ndpi", ".scn", ".vsi", ".ecw", ".sid"),
    )
    if suffix not in SUFFIXES
)
"""Suffixes of pictures that are not read."""

UNPACK = "unpack it, and give the folder"
AS_FILES = "save its pictures as files (PNG), with labels in a folder for each class"
MANY: dict[str, str] = {
    **dict.fromkeys((".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tbz2", ".txz", ".7z", ".rar"), UNPACK),
    **dict.fromkeys((".parquet", ".arrow", ".feather", ".h5", ".hdf5", ".mat", ".lmdb", ".mdb", ".rec"), AS_FILES),
    **dict.fromkeys((".pkl", ".pickle", ".pt", ".pth"), f"may run a program when it is opened; {AS_FILES}"),
    ".npz": "save its pictures as an array [N, H, W, C] (.npy)",
}
"""Suffixes of files that may hold many pictures and are not read, and what to do with each."""

PICKLED = re.compile("(data_batch_[0-9]|test_batch)")
"""Names of CIFAR's files in the Python version."""

SHOWN = 3  # links that are named
LOOKED_AT = 20
"""Files of a folder that end alike and are opened; the rest is taken for what these are."""
AS_PICTURES = "not read here; save them as PNG, TIFF or JPEG"
BY_CONTENT = "pictures whose names do not say so; give them the suffix of their format"
BESIDE: dict[str, str] = {
    **dict.fromkeys((suffix for suffix, advice in MANY.items() if advice == UNPACK), "not unpacked; unpack them"),
    **dict.fromkeys(
        (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".wmv", ".mpg"), "videos; save their frames as PNG"
    ),
    **dict.fromkeys((".crdownload", ".part", ".partial", ".opdownload"), "half downloaded; download them again"),
    ARRAY: "not read beside pictures; give them a folder of their own",
}
"""Suffixes of what may have been meant for pictures of a folder that has others, and what to do with such files."""
ENDING = re.compile(r"\.[a-z]{1,12}([^a-z][a-z]{0,12})?")


def describe(folders: Iterable[Path], are_classes: bool = False) -> str:
    """A line about what is left out of some folders: pictures that are not read, links that are not followed; else empty.

    Where the folders below them `are_classes`, those without a picture are named too.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("1.jpg", "1.PSD", "2.psd", "3.svg"):
    ...     (folder / name).touch()
    >>> describe([folder])
    'left out: 2 .psd, 1 .svg (not read here; save them as PNG, TIFF or JPEG)'
    """
    found, links, empty = dict[str, Counter[str]](), list[str](), list[str]()
    for folder in filter(Path.is_dir, dict.fromkeys(folders)):
        for advice, ending in _endings(folder, links):
            found.setdefault(advice, Counter()).update([ending])
        if are_classes:
            empty += [str(path) for path in folders_below(folder) if not any(walk(path, _is_read))]
    parts = [f"{_listed(counts)} ({advice})" for advice, counts in found.items()]
    parts += [f"{path} (no class: no picture in it is read)" for path in empty[:SHOWN]]
    parts += [f"and {len(empty) - SHOWN} more such folders"] if len(empty) > SHOWN else []
    parts += [*links[:SHOWN], *([f"and {len(links) - SHOWN} more"] if len(links) > SHOWN else [])]
    return f"left out: {', '.join(parts)}" if parts else ""


def hint(folder: Path) -> str:
    """For the error that nothing was found: what lies there instead, and what to do; empty where there is nothing known.

    >>> import tempfile
    >>> (Path(folder := tempfile.mkdtemp()) / "photos.zip").touch()
    >>> hint(Path(folder))
    '; photos.zip: unpack it, and give the folder'
    """
    if (folder / "settings.toml").exists():
        return "; it is the folder of a run, for it has a settings.toml: give a folder of pictures, or rename that file"
    found = dict[str, Counter[str]]()
    for advice, ending in _endings(folder, []):
        found.setdefault(advice, Counter()).update([ending])
    if counts := found.pop(AS_PICTURES, None):
        return f"; {_listed(counts)} are not read: save them as PNG, TIFF or JPEG"
    for path in sorted(walk(folder, lambda name: True)):
        if advice := remedy(Path(path)):
            return f"; {Path(path).name}: {advice}"
    return next((f"; {_listed(counts)}: {advice}" for advice, counts in found.items()), "")


def remedy(file: Path) -> str:
    """What to do with a file that may hold many pictures; empty where its suffix does not tell.

    >>> remedy(Path("train-00000.PARQUET")), remedy(Path("notes.txt"))
    ('save its pictures as files (PNG), with labels in a folder for each class', '')
    """
    name = file.name.lower()
    if PICKLED.fullmatch(name) or (file.parent.name == "cifar-100-python" and name in ("train", "test")):
        return (
            "is pickled, and may run a program when it is opened; take CIFAR's binary version (cifar-10-binary.tar.gz)"
        )
    return next((advice for suffix, advice in MANY.items() if name.endswith(suffix)), "")


def _is_read(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not is_passed_over(name)


def _endings(folder: Path, links: list[str]) -> Iterator[tuple[str, str]]:
    """Of each file that is left out of a folder: what to do with it, and what its name ends in."""
    unknown: dict[tuple[str, str], list[str]] = {}
    for path in walk(folder, lambda name: not _is_read(name), links):
        parent, name = os.path.split(path)  # a Path for each of 100,000 files takes seconds
        name = name.lower()
        if name.endswith(PICTURES):
            yield AS_PICTURES, max((suffix for suffix in PICTURES if name.endswith(suffix)), key=len)
        elif name.endswith(tuple(BESIDE)):
            suffix = next(suffix for suffix in BESIDE if name.endswith(suffix))
            if suffix != ARRAY or any(map(_is_read, os.listdir(parent))):  # noqa: PTH208 -- as above
                yield BESIDE[suffix], suffix
        else:
            known = ENDING.match(os.path.splitext(name)[1])  # noqa: PTH122 -- as above
            unknown.setdefault((parent, known[0] if known else ""), []).append(path)
    for (_, ending), paths in unknown.items():
        yield from _by_content(ending, paths, links)


def _by_content(ending: str, paths: list[str], links: list[str]) -> Iterator[tuple[str, str]]:
    """`_endings` of the files of a folder whose names do not tell what they are."""
    kinds = list[str]()
    for path in paths[:LOOKED_AT]:
        if not ending and Path(path).is_symlink() and not os.path.exists(path):  # noqa: PTH110 -- bears links in a circle
            links.append(f"{path} (a link to nowhere)")
        kinds += filter(None, [_kind(path)])
    if kinds:
        count = len(kinds) if len(paths) <= LOOKED_AT else len(paths)
        called = (f'"{ending}"' if ending.endswith(" ") else ending) or "without a suffix"
        yield from [(BY_CONTENT, f"{Counter(kinds).most_common(1)[0][0]} {called}")] * count


def _kind(path: str) -> str:
    """The format that the first bytes of a file tell; empty where they tell none, or cannot be read."""
    try:
        if not Path(path).is_file():  # a pipe would wait for a writer
            return ""
        with Path(path).open("rb") as file:
            return kind_of(file.read(16))
    except OSError:
        return ""


def _listed(counts: Counter[str]) -> str:
    """4 .heic, 2 .psd"""
    return ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])))
