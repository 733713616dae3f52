"""What A and B are called, by the names of their folders; and which of the two some pictures are, by theirs."""

import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from diptych.data.datasets import Dataset
from diptych.kinds import A_AND_B, Sides
from diptych.wording import printable

SPLIT = re.compile(r"(train|test|val|valid|validation|dev)(ing)?([\W_]+(?P<name>.+)|(?P<side>[ab]))", re.IGNORECASE)
"""trainA, test_photos: a name behind that of a split."""
ABOVE = 3  # folders above a picture whose names say what it is
WORD = re.compile(r"[^\W\d_]+")


def names_of(datasets: Sequence[Dataset]) -> Sides:
    """The names of A and B: those of the two folders that they lie in, "A" and "B" where they have none of their own.

    Of `photos/train` and `paintings/train` the names are photos and paintings, of `train_photos` and `train_paintings` too.
    """
    folders = [folder for dataset in datasets for folder in dataset.folders]
    if len(folders) != len(A_AND_B):
        return A_AND_B
    return _told_apart(*(Path(os.path.abspath(folder)) for folder in folders))  # noqa: PTH100 -- links keep their names


def _told_apart(a: Path, b: Path) -> Sides:
    """The last parts of two paths that differ, without the name of a split.

    >>> _told_apart(Path("/art/photos/train"), Path("/art/paintings/train"))
    ('photos', 'paintings')
    >>> _told_apart(Path("/horse2zebra/trainA"), Path("/horse2zebra/trainB"))
    ('A', 'B')
    """
    pairs = zip(reversed(a.parts), reversed(b.parts), strict=False)
    differing = next((pair for pair in pairs if pair[0] != pair[1]), A_AND_B)
    names = (_without_split(differing[0]), _without_split(differing[1]))
    are_plain = all(len(name) > 1 and name == printable(name) and name.strip() for name in names)
    return names if are_plain and _plain(names[0]) != _plain(names[1]) else A_AND_B


def _without_split(name: str) -> str:
    found = SPLIT.fullmatch(unicodedata.normalize("NFC", name))
    return found["name"] or found["side"].upper() if found else unicodedata.normalize("NFC", name)


def _plain(name: str) -> str:
    """A name as it is compared: photos and Photo are one.

    >>> _plain("test_Photos") == _plain("photo")
    True
    """
    return _without_split(name).casefold().removesuffix("s")


def side_of(pictures: Iterable[Path], sides: Sides) -> str | None:
    """The side that pictures, or folders of them, are named after; None where nothing says so, or different things are said.

    A picture is named after a side by the nearest folder that is, else by a word of its own name. A and B are no words.

    >>> side_of([Path("/art/test/photos/1.png")], ("paintings", "photos"))
    'photos'
    >>> side_of([Path("/art/my photo.jpg")], ("paintings", "photos"))
    'photos'
    >>> side_of([Path("/art/test/photos"), Path("/art/test/paintings")], ("paintings", "photos"))
    """
    found = {_side_of(Path(os.path.abspath(picture)), sides) for picture in pictures}  # noqa: PTH100 -- as above
    return found.pop() if len(found) == 1 else None


def _side_of(picture: Path, sides: Sides) -> str | None:
    is_folder = picture.is_dir()
    folders = [picture, *picture.parents] if is_folder else [*picture.parents]
    named = (_named_in([folder.name], sides) for folder in folders[:ABOVE])
    own_words = [] if is_folder or sides == A_AND_B else WORD.findall(picture.stem)
    return next(filter(None, named), None) or _named_in(own_words, sides)


def _named_in(words: Collection[str], sides: Sides) -> str | None:
    """The one side that is among some names; None where there is none, or both are."""
    plain = {_plain(word) for word in words}
    found = [side for side in sides if _plain(side) in plain]
    return found[0] if len(found) == 1 else None
