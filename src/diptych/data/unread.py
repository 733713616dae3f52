"""What lies in a folder and is not read, in a few words: pictures of other formats, archives, files of many pictures."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from diptych.data.walk import is_passed_over, walk
from diptych.images.files import SUFFIXES

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


def describe(folders: Iterable[Path]) -> str:
    """A line about what is left out of some folders: pictures that are not read, links that are not followed; else empty.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("1.jpg", "1.PSD", "2.psd", "3.svg"):
    ...     (folder / name).touch()
    >>> describe([folder])
    'left out: 2 .psd, 1 .svg (not read here; save them as PNG, TIFF or JPEG)'
    """
    counts, links = Counter[str](), list[str]()
    for folder in filter(Path.is_dir, dict.fromkeys(folders)):
        counts.update(_suffixes(walk(folder, _is_picture, links)))
    more = [f"and {len(links) - SHOWN} more"] if len(links) > SHOWN else []
    parts = [f"{_listed(counts)} (not read here; save them as PNG, TIFF or JPEG)"] if counts else []
    return f"left out: {', '.join([*parts, *links[:SHOWN], *more])}" if parts or links else ""


def hint(folder: Path) -> str:
    """For the error that nothing was found: what lies there instead, and what to do; empty where there is nothing known.

    >>> import tempfile
    >>> (Path(folder := tempfile.mkdtemp()) / "photos.zip").touch()
    >>> hint(Path(folder))
    '; photos.zip: unpack it, and give the folder'
    """
    if (folder / "settings.toml").exists():
        return "; it is the folder of a run, for it has a settings.toml: give a folder of pictures, or rename that file"
    if counts := Counter(_suffixes(walk(folder, _is_picture))):
        return f"; {_listed(counts)} are not read: save them as PNG, TIFF or JPEG"
    for path in sorted(walk(folder, lambda name: not is_passed_over(name))):
        if advice := remedy(Path(path)):
            return f"; {Path(path).name}: {advice}"
    return ""


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


def _is_picture(name: str) -> bool:
    return name.lower().endswith(PICTURES) and not is_passed_over(name)


def _suffixes(paths: Iterable[str]) -> Iterable[str]:
    for path in paths:
        yield max((suffix for suffix in PICTURES if path.lower().endswith(suffix)), key=len)


def _listed(counts: Counter[str]) -> str:
    """4 .heic, 2 .psd"""
    return ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])))
