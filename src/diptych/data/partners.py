"""Which names belong together: equal ones, or those that differ by an affix, as 1_A + 1_B or cat + cat_mask do.

Names are paths below a folder, without the suffix of the file, as `datasets.stem` gives them. Nothing is read here.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product
from typing import NamedTuple

LEAST = 2  # pairs whose names differ in the same way: one alone may be chance
MOST_KINDS = 12  # names of one key; more are pictures of a series
STARTS = 8  # names from which affixes are read: not all of them need have partners


def canonical(name: str) -> str:
    """The form in which names are compared: a Mac writes é as two characters, other systems as one.

    >>> canonical("e\\u0301") == canonical("\\u00e9")
    True
    """
    return unicodedata.normalize("NFC", name)


class Affix(NamedTuple):
    """What a name has before and behind its key, which partners share."""

    before: str = ""
    behind: str = ""

    @classmethod
    def typed(cls, text: str) -> "Affix":
        """A suffix as a person types it; with a star in the place of the key it may be a prefix too, or a folder.

        >>> Affix.typed("_A"), Affix.typed("A_*"), Affix.typed("depth/*")
        (Affix(before='', behind='_A'), Affix(before='A_', behind=''), Affix(before='depth/', behind=''))
        """
        before, star, behind = canonical(text).rpartition("*")
        return cls(before, behind) if star else cls(behind=behind)

    @property
    def as_typed(self) -> str:
        """What `typed` reads."""
        return str(self) if self.before else self.behind

    def key(self, name: str) -> str | None:
        """The key of a name that has this affix, and something else.

        >>> Affix(behind="_A").key("street/1_A"), Affix(behind="_A").key("street/_A")
        ('street/1', None)
        >>> Affix("depth/").key("cam0/depth/1")
        'cam0/1'
        """
        place, _, before = self.before.rpartition("/")
        folder, slash, own = name.rpartition("/")
        if place:
            above, ends, rest = f"/{folder}".rpartition(f"/{place}")
            if not ends or rest:
                return None
            folder, slash = above.removeprefix("/"), "/" if above else ""
        if len(own) <= len(before) + len(self.behind):
            return None
        if not (own.startswith(before) and own.endswith(self.behind)):
            return None
        return folder + slash + own[len(before) : len(own) - len(self.behind)]

    def __str__(self) -> str:
        return f"{self.before}*{self.behind}"


Affixes = tuple[Affix, Affix]
"""Those of A and of B."""
SAME: Affixes = (Affix(), Affix())


@dataclass(frozen=True)
class Kinds:
    """How the names of some sides consist of keys and affixes."""

    sides: tuple[tuple[Affix, ...], ...]
    """The affixes on each side, in the order of the alphabet."""
    lonely: str | None
    """A name without its partners; None where every key has every affix."""
    keys: int
    """How many keys have every affix."""

    @property
    def affixes(self) -> list[Affix]:
        """Those of all sides."""
        return [*chain.from_iterable(self.sides)]


def split_up(names: Iterable[str], affixes: Collection[Affix]) -> tuple[dict[Affix, dict[str, str]], list[str]]:
    """For each affix the names that have it, by their keys, and the names that have none. The longest affix counts.

    >>> split_up(["1", "1_mask", "2"], [Affix(), Affix(behind="_mask")])[0][Affix()]
    {'1': '1', '2': '2'}
    """
    longest_first = sorted(affixes, key=lambda affix: -len(str(affix)))
    found, others = {affix: dict[str, str]() for affix in affixes}, list[str]()
    for name in names:
        for affix in longest_first:
            if (key := affix.key(name)) is not None:
                found[affix][key] = name
                break
        else:
            others.append(name)
    return found, others


def kinds(*sides: Collection[str], maybe_classes: bool = False) -> Kinds | None:
    """How partners differ: on two sides, or among the names of one; None where most names have no partner.

    Words before the shared part, as in cat_1 + dog_1, are taken for classes, unless `maybe_classes`; mask_1 + 1 and
    A_1 + B_1 are partners.

    >>> found = kinds(["1_real", "1_label", "2_real", "2_label"])
    >>> [*map(str, found.affixes)], found.lonely
    (['*_label', '*_real'], None)
    >>> [*map(str, kinds(["x/1", "x/2"], ["x/1_mask", "x/2_mask"]).affixes)]
    ['*', '*_mask']
    >>> kinds(["house_1", "house_2", "street_1", "street_2"]) is None  # numbers count pictures
    True
    """
    total, best, most = sum(map(len, sides)), None, 0
    for candidate in dict.fromkeys(_candidates(sides)):
        if _are_classes(candidate) and not maybe_classes:
            continue
        divided = [split_up(names, affixes) for names, affixes in zip(sides, candidate, strict=True)]
        by_affix = [keys for found, _ in divided for keys in found.values()]
        whole = set(by_affix[0]).intersection(*by_affix[1:])
        explained = len(whole) * len(by_affix)
        enough = 2 * explained >= total if len(whole) >= LEAST else explained == total == 2
        if not enough or explained <= most:
            continue
        single = chain((name for keys in by_affix for key, name in keys.items() if key not in whole), divided[0][1])
        lonely = min(chain(single, *(others for _, others in divided[1:])), default=None)
        best, most = Kinds(candidate, lonely, len(whole)), explained
        if lonely is None:
            break
    return best


def are_partners(a: Collection[str], b: Collection[str]) -> bool:
    """Whether most of the names on two sides, or of the fewer ones, have partners there.

    >>> are_partners(["1", "2", "3"], ["2", "3", "4"]), are_partners(["1", "2"], ["x", "y"])
    (True, False)
    """
    return 2 * len(set(a) & set(b)) >= min(len(a), len(b)) or kinds(a, b) is not None


def kinds_in_each(folders: Sequence[Collection[str]], typed: Collection[str] = ()) -> list[Affix]:
    """The affixes of the partners that each of some folders holds; none where they do not.

    `typed` are the suffixes that a person gave, in the place of those that are found.

    >>> [*map(str, kinds_in_each([["1_A", "1_B"], ["2_A", "2_B"]]))]
    ['*_A', '*_B']
    """
    if typed:
        affixes = [Affix.typed(text) for text in typed]
    else:
        found = kinds([f"{number}/{name}" for number, names in enumerate(folders) for name in names])
        affixes = found.affixes if found else []
    return affixes if all(all(split_up(names, affixes)[0].values()) for names in folders) else []


def sides_in_each(names: Iterable[str]) -> tuple[list[Affix], bool] | None:
    """The folders that each of several folders has, of equal names; and whether two of these may be A and B as well.

    None where the pictures in them are no partners by their names.

    >>> names = [f"cam{camera}/{side}/{camera}{n}" for camera in (0, 1) for side in ("depth", "rgb") for n in (1, 2)]
    >>> [*map(str, sides_in_each(names)[0])], sides_in_each(names)[1]
    (['depth/*', 'rgb/*'], False)
    """
    found = dict[str, dict[str, set[str]]]()
    for name in names:
        folder, _, own = name.rpartition("/")
        top, _, below = folder.partition("/")
        found.setdefault(top, {}).setdefault(below, set()).add(own)
    tops = [*found.values()]
    if len(tops) < 2 or len(tops[0]) < 2 or "" in tops[0] or any(top.keys() != tops[0].keys() for top in tops):
        return None
    for folders in tops:
        first, *others = folders.values()
        if len(others) > 1 and any(first != other for other in others):  # a chance of many, unless all are the same
            return None
        if not all(_share_names(first, other) for other in others):
            return None
    may_be_tops = len(tops) == 2 and all(_share_names(own, tops[1][below]) for below, own in tops[0].items())
    return [Affix(f"{below}/") for below in sorted(tops[0])], may_be_tops


def _share_names(a: set[str], b: set[str]) -> bool:
    return 2 * len(a & b) >= min(len(a), len(b))


def partners_of_all(names: Sequence[str], others: Collection[str]) -> list[list[str]]:
    """The partners of all `names`, in their order, among `others`, of which there may be more: one list for each way.

    >>> partners_of_all(["cat"], ["cat_mask", "dog_mask"]), partners_of_all(["cat"], ["cat_mask", "cat_seg"])
    ([['cat_mask']], [['cat_mask'], ['cat_seg']])
    """
    ways, known = dict[tuple[str, ...], None](), set(others)
    for of_names, of_others in _candidates((names, others)):
        for a, b in product(of_names, of_others):
            keys = [key for name in names if (key := a.key(name)) is not None]
            partners = tuple(with_affix(key, b) for key in keys)
            if len(keys) == len(names) and known.issuperset(partners):
                ways[partners] = None
    return sorted(map(list, ways))


def with_affix(key: str, affix: Affix) -> str:
    """The name of a key and an affix.

    >>> with_affix("street/1", Affix("mask_"))
    'street/mask_1'
    """
    folder, slash, own = key.rpartition("/")
    return f"{folder}{slash}{affix.before}{own}{affix.behind}"


def is_another_kind(name: str, keys: Collection[str]) -> bool:
    """Whether a name is one of some keys and a word before or behind it, which is none of a series.

    >>> is_another_kind("1_edges", {"1"}), is_another_kind("edges_1", {"1"}), is_another_kind("1_2", {"1"})
    (True, True, False)
    """
    return any(
        (_turned(key) if turned else key) in keys and not _word(one[len(key) :]).isdecimal()
        for turned, one in ((False, name), (True, _turned(name)))
        for key in _keys(one)
        if key != one
    )


# ---- which affixes there may be


def _candidates(sides: Sequence[Collection[str]]) -> Iterator[tuple[tuple[Affix, ...], ...]]:
    """The affixes on each side that the partners of some names have; what is before a key is sought from behind."""
    for turned in (False, True):
        ordered = [sorted(map(_turned, names) if turned else names) for names in sides]
        first = ordered[0]
        for number in range(min(STARTS, len(first))):
            for key in _keys(first[number * len(first) // min(STARTS, len(first))]):
                rests = [_rests(names, key) for names in ordered]
                if all(rests) and _may_be_affixes(rests):
                    yield tuple(
                        tuple(
                            sorted((Affix(rest[::-1]) if turned else Affix(behind=rest) for rest in side), key=_order)
                        )
                        for side in rests
                    )


def _order(affix: Affix) -> tuple[str, str]:
    return str(affix).casefold(), str(affix)


def _turned(name: str) -> str:
    folder, slash, own = name.rpartition("/")
    return folder + slash + own[::-1]


def _keys(name: str) -> Iterator[str]:
    """What the name begins with, whole words and numbers, the longest first."""
    start = name.rfind("/") + 1
    yield from (name[:cut] for cut in range(len(name), start, -1) if _ends_word(name[:cut], name[cut:]))


def _ends_word(key: str, rest: str) -> bool:
    """Whether a word ends between the two, or a number before a letter."""
    if not rest or not key[-1].isalnum():
        return not rest
    return not rest[0].isalnum() or (key[-1].isdigit() and not rest[0].isdigit())


def _rests(ordered: Sequence[str], key: str) -> list[str]:
    """What follows the key in the names that begin with it; empty where these are too many."""
    rests = list[str]()
    for number in range(bisect_left(ordered, key), len(ordered)):
        if not ordered[number].startswith(key):
            break
        rest = ordered[number][len(key) :]
        if "/" not in rest and _ends_word(key, rest):
            rests.append(rest)
        if len(rests) > MOST_KINDS:
            return []
    return rests


def _may_be_affixes(rests: Sequence[Sequence[str]]) -> bool:
    """Whether these tell partners apart, and not the pictures of a series: then they are numbers, or differ by one."""
    if any(_word(rest).isdecimal() for rest in chain.from_iterable(rests)):
        return False
    different = set(chain.from_iterable(rests))
    return 1 < len(different) == len({re.sub(r"\d+", "0", rest) for rest in different})


def _are_classes(sides: Iterable[Iterable[Affix]]) -> bool:
    """Whether words stand before the keys, as in cat_1 + dog_1, and none of them is empty, nor are they A and B."""
    words = {_word(affix.before).casefold() for affix in chain.from_iterable(sides)}
    return "" not in words and words != {"a", "b"}


def _word(affix: str) -> str:
    return affix.strip("_-. ()[]+~")
