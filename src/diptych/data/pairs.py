"""Files -> pairs: partners in two folders or in one, by the same stem or by stems that differ by an affix."""

import os
import re
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from diptych.data.datasets import FilePairs, stem
from diptych.data.partners import (
    LEAST,
    SAME,
    Affix,
    Affixes,
    Kinds,
    canonical,
    is_another_kind,
    kinds,
    split_up,
    with_affix,
)
from diptych.data.paths import folders_in, list_pictures, typed_flag
from diptych.data.sides import RGB, TWO_SIDES, Specs, no_images

Files = dict[str, Path]
"""Pictures by their names in the form in which they are compared, or by the keys that partners share."""
Typed = tuple[str, str]
"""The suffixes of A and B as a person gives them; empty where one is to be found."""


class ChoiceError(ValueError):
    """There are pairs, and more than one way to read them: a person must say which."""


def by_stem(folder: Path) -> Files:
    """The image files in a folder by name without suffix, which pairs partners and names results."""
    files: Files = {}
    pictures = list_pictures(folder)
    for path in pictures:
        name = canonical(stem(path, folder))
        if name in files:
            forms = "" if stem(path, folder) == stem(files[name], folder) else " in another Unicode form (NFC and NFD)"
            raise ValueError(
                f"{path}: {files[name].name} has the same stem{forms}, and pictures are told apart by it; "
                f"{_apart_by_suffix(pictures) or 'rename one'}"
            )
        files[name] = path
    return files


def _apart_by_suffix(pictures: Sequence[Path]) -> str:
    """What to do where each picture is there with two suffixes, as CMP Facades are published; else empty.

    >>> _apart_by_suffix([Path("b1.jpg"), Path("b1.png"), Path("b2.jpg"), Path("b2.png")])
    'if .jpg and .png are the two sides of pairs, move the ones into a folder A and the others into a folder B'
    """
    stems = dict[str, set[Path]]()
    for path in pictures:
        stems.setdefault(path.suffix.lower(), set()).add(path.with_suffix(""))
    if len(stems) != 2 or len({*map(frozenset, stems.values())}) != 1:
        return ""
    suffixes = " and ".join(sorted(stems))
    return f"if {suffixes} are the two sides of pairs, move the ones into a folder A and the others into a folder B"


def some_by_stem(folder: Path) -> Files:
    """The same; a `ValueError` for a folder that holds none."""
    folders_in(folder)
    if files := by_stem(folder):
        return files
    raise no_images(folder, f"; the layouts are: {TWO_SIDES}")


def in_two_folders(
    folder_a: Path,
    folder_b: Path,
    typed: Typed = ("", ""),
    specs: Specs = RGB,
    known: Affixes | None = None,
    titles: tuple[str, str] | None = None,
) -> FilePairs:
    """The pairs in two folders and below. One folder that is given twice is `in_one_folder`.

    `known` are the affixes in the pictures of the training, `titles` what the line about the pairs calls the two. Raises a
    `ValueError` that names a picture without its partner, or how names differ where a person must choose.
    """
    if os.path.realpath(folder_a) == os.path.realpath(folder_b):
        if pairs := in_one_folder(folder_a, some_by_stem(folder_a), typed, specs, known):
            return pairs
        raise ValueError(f"{folder_a}: is A and B; say which of its pictures are which: --suffix-a _A --suffix-b _B")
    folders, files = (folder_a, folder_b), (some_by_stem(folder_a), some_by_stem(folder_b))
    affixes = SAME
    if any(typed):
        affixes = _completed(folders, [*map(list, files)], typed)
    elif files[0].keys() != files[1].keys():
        affixes = known or _told_apart(folders, kinds(*files)) or SAME
    by_key = [_with(affix, of_side) for affix, of_side in zip(affixes, files, strict=True)]
    where = "in two folders"
    if titles or affixes != SAME:
        shown = affixes if affixes != SAME else ("", "")
        a, b = (f"{title}/{text}".strip("/") for title, text in zip(titles or ("", ""), shown, strict=True))
        where = f"{where}, A is {a}, B is {b}"
    others = [files_of[name] for files_of, keys in zip(files, by_key, strict=True) for name in _left(files_of, keys)]
    return _joined(folders, by_key, others, affixes, where, specs, any(typed))


def in_one_folder(
    folder: Path, files: Files, typed: Typed = ("", ""), specs: Specs = RGB, known: Affixes | None = None
) -> FilePairs | None:
    """The pairs among the files of one folder and below; None where names do not say that there are any.

    `known` and errors are those of `in_two_folders`.
    """
    affixes = known
    if any(typed):
        affixes = _completed((folder, folder), _divided(folder, files, typed), typed)
    elif not known:
        affixes = _told_apart((folder, folder), kinds(files))
    if not affixes:
        return None
    found, others = split_up(files, affixes)
    by_key = [{key: files[name] for key, name in found[affix].items()} for affix in affixes]
    where = f"in one folder, A is {affixes[0]}, B is {affixes[1]}"
    return _joined((folder, folder), by_key, [files[name] for name in others], affixes, where, specs, any(typed))


def chosen(folder: Path, files: Files, typed: Typed, side: int) -> Files:
    """The pictures of A (`side` 0) or B in a folder: those that have its suffix, or, without one, not that of the other."""
    return {name: files[name] for name in _divided(folder, files, typed)[side]}


# ---- affixes


def _divided(folder: Path, files: Files, typed: Typed) -> list[list[str]]:
    """The names of A and of B in one folder, of which one suffix at least was typed; a `ValueError` where there are none."""
    found, others = split_up(files, {Affix.typed(text) for text in typed if text})
    sides = [[*found[Affix.typed(text)].values()] if text else others for text in typed]
    for side, names in enumerate(sides):
        if not names:
            raise _none_has(folder, typed, side, files)
    return sides


def _completed(folders: Sequence[Path], names: Sequence[Sequence[str]], typed: Typed) -> Affixes:
    """The affixes that were typed, and the other one where it was not: that of plain names, where they are partners."""
    affixes = [Affix.typed(text) if text else None for text in typed]
    sides = list[list[str]]()
    for side, (folder, of_side, affix) in enumerate(zip(folders, names, affixes, strict=True)):
        sides.append([name for name in of_side if affix is None or affix.key(name) is not None])
        if not sides[-1]:
            raise _none_has(folder, typed, side, of_side)
    a, b = affixes
    if a and b:
        return a, b
    own, plain = sides if a else reversed(sides)
    keys = {(a or b or Affix()).key(name) for name in own}
    if 2 * len(keys.intersection(plain)) >= len(keys):
        return a or Affix(), b or Affix()
    found = _told_apart(folders, kinds(*sides)) or SAME
    return a or found[0], b or found[1]


def _told_apart(folders: Sequence[Path], found: Kinds | None) -> Affixes | None:
    """The two affixes that were found; a `ValueError` where there are more, of which a person must choose."""
    if found is None:
        return None
    if len(found.affixes) == 2:
        a, b = found.affixes
        if found.keys < LEAST:
            raise ChoiceError(
                f"{folders[0]}: one pair is too few to tell A and B by their names; say {suffix_flags(a, b)}"
            )
        return a, b
    listed = ", ".join(map(str, found.affixes))
    if len(found.sides) == 1:
        *_, a, b = found.affixes
        a = Affix() if Affix() in found.affixes else a
        raise ChoiceError(
            f"{folders[0]}: there are {len(found.affixes)} pictures of each name ({listed}); say which are A and B, such as "
            f"{suffix_flags(a, b)}"
        )
    flags = " ".join(
        typed_flag(f"suffix-{letter}", side[0].as_typed or "*")
        for letter, side in zip("ab", found.sides, strict=True)
        if len(side) > 1
    )
    several = next(folder for folder, side in zip(folders, found.sides, strict=True) if len(side) > 1)
    raise ChoiceError(
        f"{several}: there are several pictures for the same partner ({listed}); say which are A and B, such as {flags}"
    )


def suffix_flags(a: Affix, b: Affix) -> str:
    """The flags that say what A and B end in, as typed on a command line; none for what ends in nothing more.

    >>> suffix_flags(Affix(), Affix("mask_"))
    "--suffix-b 'mask_*'"
    >>> suffix_flags(Affix(behind="-in"), Affix(behind="_out"))
    '--suffix-a=-in --suffix-b _out'
    """
    typed = (("a", a.as_typed), ("b", b.as_typed))
    return " ".join(typed_flag(f"suffix-{side}", text) for side, text in typed if text)


def _none_has(folder: Path, typed: Typed, side: int, names: Iterable[str]) -> ValueError:
    """The error for a suffix that no picture has, or, where `typed[side]` is empty, that leaves none for this side."""
    own = typed[side]
    flag = (
        f"--suffix-{'ab'[side]} {own}: no picture" if own else f"--suffix-{'ba'[side]} {typed[1 - side]}: every picture"
    )
    return ValueError(
        f"{flag} in {folder} is named so, where names are such as {min(names)!r}; give what they end in, before .png or .jpg"
    )


def _with(affix: Affix, files: Files) -> Files:
    return {key: path for name, path in files.items() if (key := affix.key(name)) is not None}


def _left(files: Files, by_key: Files) -> list[str]:
    taken = set(by_key.values())
    return [name for name, path in files.items() if path not in taken]


def _joined(
    folders: Sequence[Path],
    by_key: Sequence[Files],
    others: Sequence[Path],
    affixes: Affixes,
    where: str,
    specs: Specs,
    may_leave_out: bool,
) -> FilePairs:
    """The pairs of equal keys; a `ValueError` for a picture without its partner.

    Beside suffixes that were typed (`may_leave_out`) pictures of other kinds are left out: 1_edges beside 1 and 1_mask.
    """
    for side in (0, 1) if may_leave_out else ():
        own, partners = by_key[side], by_key[1 - side]
        if affixes[side] == Affix():
            left = [key for key in own if key not in partners and is_another_kind(key, partners)]
            others = [*others, *(own.pop(key) for key in left)]
    for side, (own, partners) in enumerate(zip(by_key, reversed(by_key), strict=True)):
        if lonely := sorted(own.keys() - partners.keys()):
            also = f" (and {len(lonely) - 1} more like it, of {len(own)})" if len(lonely) > 1 else ""
            remedy = "add them or move these away" if also else "add it or move this one away"
            raise ValueError(
                f"{own[lonely[0]]}: has no partner named {with_affix(lonely[0], affixes[1 - side])!r} in "
                f"{folders[1 - side]}{also}; {remedy}{_difference(lonely[0], by_key) if affixes == SAME else ''}"
            )
    if others and not may_leave_out:
        raise ValueError(
            f"{min(others)}: has no partner, for it is neither {affixes[0]} nor {affixes[1]}; remove or rename it"
        )
    left_out = f" ({len(others)} others left out)" if others else ""
    a, b = by_key
    names = {key: stem(path, folders[0]) if affixes == SAME else key for key, path in a.items()}
    order = sorted(a, key=names.__getitem__)
    own_names = [names[key] for key in order]
    return FilePairs(own_names, [a[key] for key in order], [b[key] for key in order], specs, where + left_out, affixes)


def _difference(name: str, sides: Sequence[Files]) -> str:
    """By what the names on two sides may differ, for the error about one of them: flags that say it, where there are any."""
    if found := kinds(*sides, maybe_classes=True):
        return f"; {suffix_flags(found.affixes[0], found.affixes[-1])} would say how names differ"
    for what, form in (("upper and lower case", str.casefold), ("leading zeros", _without_zeros)):
        for other in chain.from_iterable(sides):
            if other != name and form(other) == form(name):
                return f"; {other!r} differs by {what}, which counts: rename the pictures of one side"
    return "; where names differ, --suffix-a and --suffix-b say by what"


def _without_zeros(name: str) -> str:
    return re.sub(r"(?<!\d)0+(?=\d)", "", name)
