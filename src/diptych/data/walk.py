"""Walks through a user's folders: links are followed, no folder twice, and what other programs keep there is passed over."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

OTHER_PROGRAMS = frozenset(
    {
        "#recycle",  # Synology
        "#snapshot",
        "$recycle.bin",  # Windows
        "$winreagent",
        "recycler",
        "recycled",
        "system volume information",
        "msocache",
        "config.msi",
        "thumbs.db",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        "_vti_cnf",  # FrontPage
        "lost+found",  # Linux
        "__macosx",  # macOS, in archives and on network disks
        "network trash folder",
        "temporary items",
        "ipod photo cache",
        "picasa originals",
        "~snapshot",  # NetApp
        "_gsdata_",  # GoodSync
        "__pycache__",
    }
)
"""Names, in lower case, of what other programs keep among a user's files, besides hidden names (`._x.jpg`)."""
PATTERNS = re.compile(
    r"@ea(dir|stream).*"  # Synology: thumbnails
    r"|@(__thumb|appstore|database|recently-snapshot|recycle|sharebin|sharesnap|snapshot|syno.*|tmp|transcode)"  # and QNAP
    r"|found\.[0-9]{3}"  # what Windows saved of a damaged disk
    r"|~\$.*"  # the lock of a file that is open in an office program
    r"|.*\.(lrdata|lrlibrary|photoslibrary)"  # libraries of Lightroom and Photos: previews
)
"""As above, of names that vary."""

Identity = tuple[int, int]


def is_passed_over(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or another program's.

    >>> [name for name in ("cat", "@eaDir", ".AppleDouble", "Thumbs.db") if is_passed_over(name)]
    ['@eaDir', '.AppleDouble', 'Thumbs.db']
    """
    return name.startswith(".") or (lower := name.lower()) in OTHER_PROGRAMS or PATTERNS.fullmatch(lower) is not None


def walk(folder: Path, wanted: Callable[[str], bool], left_out: list[str] | None = None) -> Iterator[str]:
    """The files in `folder` and below whose name is `wanted`, unsorted, as they are found.

    Links to folders are followed. A folder that several ways lead to is entered once: by its own place, else by the first
    link in the order of names; a link to a folder that it lies in is not followed. `left_out` gets a few words for each
    link that is not followed, and for each folder that cannot be opened. Runs are passed over, and what other programs keep.
    """
    entered = {_identity(parent): str(parent) for parent in Path(os.path.realpath(folder)).parents}
    links = [os.fspath(folder)]
    while links:
        pending, links = sorted(links, reverse=True), []
        while pending:
            parent = pending.pop()
            try:
                if first := entered.get(own := _identity(parent)):
                    _note(left_out, f"{parent} (another way to {first})")
                    continue
                entered[own] = parent
                files, folders, linked = _list(parent)
            except OSError as error:
                _note(left_out, f"{parent} (cannot be opened: {error.strerror})")
                continue
            if "settings.toml" in files:  # a run inside the data: its previews and results are not data
                _note(left_out, f"{parent} (a run, for it has a settings.toml)")
                continue
            for name in files if left_out is not None else ():
                if _leads_nowhere(path := os.path.join(parent, name)):  # noqa: PTH118 -- as below
                    _note(left_out, f"{path} (a link to nothing)")
            pending += folders
            links += linked
            for name in files:
                if wanted(name) and not is_passed_over(name):
                    yield os.path.join(parent, name)  # noqa: PTH118 -- a Path for each of 100,000 files takes seconds


def folders_below(folder: Path) -> list[Path]:
    """The folders in a folder, by name; without other programs', and without links that lead back up."""
    _, folders, links = _list(os.fspath(folder))
    real = Path(os.path.realpath(folder))
    down = [link for link in links if not real.is_relative_to(os.path.realpath(link))]
    return [Path(path) for path in sorted([*folders, *down])]


def distinct(folders: list[Path]) -> list[Path]:
    """The folders, without those that are links to others of them."""
    by_identity: dict[Identity, Path] = {}
    for folder in sorted(folders, key=lambda folder: (folder.is_symlink(), folder)):
        by_identity.setdefault(_identity(folder), folder)
    return sorted(by_identity.values())


def _list(parent: str) -> tuple[list[str], list[str], list[str]]:
    """The names of the files in a folder, and the paths of its folders and of its links to folders."""
    files, folders, links = list[str](), list[str](), list[str]()
    with os.scandir(parent) as entries:
        for entry in entries:
            if not _is_folder(entry):
                files.append(entry.name)
            elif not is_passed_over(entry.name):
                (links if entry.is_symlink() else folders).append(entry.path)
    return files, folders, links


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _leads_nowhere(path: str) -> bool:
    """Whether it is a link to what is not there, without a suffix, as one to a folder; pictures are looked at anyway."""
    return os.path.islink(path) and not os.path.splitext(path)[1] and not os.path.exists(path)  # noqa: PTH110, PTH114, PTH122


def _identity(folder: str | Path) -> Identity:
    """A value that all paths of one folder have in common."""
    found = os.stat(folder)  # noqa: PTH116 -- as above
    return found.st_dev, found.st_ino


def _note(left_out: list[str] | None, words: str) -> None:
    if left_out is not None:
        left_out.append(words)
