"""What a training would lose or change of the files, in one line each, with the flag that keeps it."""

from collections import Counter
from collections.abc import Sequence

from diptych.data import leaks
from diptych.data.datasets import PairSide
from diptych.data.loaders import CachedDataset
from diptych.images.observed import Seen
from diptych.images.spec import EIGHT_BIT, RGB, RGBX, SIXTEEN_BIT, ImageSpec

LARGEST_SHARE = 1 / 2  # of the levels of 16 bits: files that use fewer have 15 bits or less
FEWEST = 64  # levels of 8 bits: fewer are class numbers, or nearly black
LEVELS = {"uint8": EIGHT_BIT, "uint16": SIXTEEN_BIT}


def of_training(datasets: Sequence[CachedDataset]) -> list[str]:
    """The lines about what was seen in the files of a training, which have been looked at."""
    specs, seen = list[ImageSpec](), list[list[Seen]]()
    for dataset in datasets:
        found = [dataset.seen[number] for number in dataset.looked_at]
        first = (
            dataset.dataset.side if isinstance(dataset.dataset, PairSide) else 0
        )  # both halves of its files are seen
        for side, spec in enumerate(dataset.dataset.specs, start=first):
            specs.append(spec)
            seen.append([one[side] for one in found if one])  # datasets of others may note nothing
    same = leaks.describe_same_sides([dataset.dataset for dataset in datasets])
    return [*([same] if same else ()), *of_sides(specs, seen), *_previews(specs)]


def of_sides(specs: Sequence[ImageSpec], seen: Sequence[Sequence[Seen]]) -> list[str]:
    """The lines about the files of A and B, or of single pictures; once where both sides have the same."""
    if len(specs) == 1:
        return of_files("a", specs[0], seen[0])
    both = [of_files("", *side) for side in zip(specs, seen, strict=True)]
    if both[0] == both[1]:
        return [f"A and B: {line}" for line in both[0]]
    sides = zip("ab", specs, seen, strict=True)
    return [f"{side.upper()}: {line}" for side, spec, files in sides for line in of_files(side, spec, files)]


def of_files(side: str, spec: ImageSpec, seen: Sequence[Seen]) -> list[str]:
    """The lines about the files of one side, "a" or "b", that are read as `spec` says; "" stands for both.

    >>> ct = Seen(channels=1, transparent=False, type="uint16", low=0, high=3060, unlabelled=0)
    >>> print(*of_files("a", ImageSpec(1, bits=16), [ct]))
    16-bit files that use 0 to 3,060 of 65,535 levels: --range-a 0 3060 makes these black and white
    """
    if not seen:
        return []
    if spec.labels:
        return _colours_of_no_label(seen)
    lines = _channels(side, spec, seen)
    low, high, types = min(one.low for one in seen), max(one.high for one in seen), {one.type for one in seen}
    stated = _flag(side, "range", f"{_plain(low)} {_plain(high)}")
    if spec.range:
        if low < spec.range[0] or high > spec.range[1]:
            given = _flag(side, "range", " ".join(map(_plain, spec.range)))
            lines.append(f"files hold {low:,.6g} to {high:,.6g}, and what lies beyond {given} is cut to it")
    elif low == high and spec.kind == "image":  # no range has only one level
        level = "black" if low == 0 else f"of one level ({low:,.6g})"
        lines.append(
            f"all {len(seen)} files are {level} everywhere, and nothing can be learnt from them; are these the right files?"
        )
    elif types - LEVELS.keys():
        of = " and ".join(sorted(types))
        if all(one.channels == 1 for one in seen) and spec.channels != 1:
            stated += f" {_flag(side, 'channels', '1')}"
        lines.append(f"files of {of} numbers, {low:,.6g} to {high:,.6g}, which have no fixed range: state it, {stated}")
    elif "uint16" in types:
        lines += _sixteen_bits(side, spec, high - low <= LARGEST_SHARE * SIXTEEN_BIT.full, low, high, stated)
    elif high < FEWEST and spec.kind == "image":
        classes = f"{_flag(side, 'kind', 'labels')} --labels FILE"
        lines.append(
            f"files that use {low:.0f} to {high:.0f} of 255 levels: {stated} makes these black and white; are they class "
            f"numbers, then {classes}"
        )
    return lines


def _previews(specs: Sequence[ImageSpec]) -> list[str]:
    """What previews and result pages show of channels that are neither grey nor RGB."""
    shown = {2: "both channels as red and green"}
    return [
        f"{side}: previews show {shown.get(spec.channels, f'the first three of {spec.channels} channels as RGB')}"
        for side, spec in zip("AB", specs, strict=False)
        if spec.channels not in (1, RGB) and not spec.labels
    ]


def _sixteen_bits(side: str, spec: ImageSpec, is_part: bool, low: float, high: float, stated: str) -> list[str]:
    used = f" that use {low:,.0f} to {high:,.0f} of 65,535 levels" if is_part else ""
    remedies = [f"{stated} makes these black and white"] if is_part else []
    if spec.bits == EIGHT_BIT.bits:
        used += " and are trained at 8" if is_part else ", trained at 8"
        remedies.append(f"{_flag(side, 'bits', '16')} keeps all of them")
    return [f"16-bit files{used}: {', '.join(remedies)}"] if remedies else []


def _channels(side: str, spec: ImageSpec, seen: Sequence[Seen]) -> list[str]:
    """What is said of channels that are not read: those after RGB, and alpha."""
    lines = []
    if more := [one.channels for one in seen if one.channels not in (1, RGB, spec.channels)]:
        most = Counter(more).most_common(1)[0][0]
        asked, all_of_them = (_flag(side, "channels", str(count)) for count in (spec.channels, most))
        read = f"of which {asked} reads the first three" if most == RGBX else f"which {asked} cannot read"
        lines.append(f"{_of_all(len(more), len(seen))} {most} channels, {read}; {all_of_them} reads all")
    if clear := [one.channels + 1 for one in seen if one.transparent and one.channels + 1 != spec.channels]:
        wanted = _flag(side, "channels", str(Counter(clear).most_common(1)[0][0]))
        lines.append(
            f"{_of_all(len(clear), len(seen))} transparent pixels, which are laid on white; {wanted} reads alpha too"
        )
    return lines


def _colours_of_no_label(seen: Sequence[Seen]) -> list[str]:
    others = [one.unlabelled for one in seen if one.unlabelled]
    if not others:
        return []
    return [
        f"{_of_all(len(others), len(seen))} colours that are no label's, in up to {max(others):.1%} of the pixels; each is "
        "taken for the nearest label's"
    ]


def _of_all(some: int, of: int) -> str:
    return f"{some} of {of} files {'has' if some == 1 else 'have'}"


def _flag(side: str, name: str, value: str) -> str:
    if side:
        return f"--{name}-{side} {value}"
    return f"--range {value}" if name == "range" else f"--{name}-a {value} --{name}-b {value}"


def _plain(number: float) -> str:
    """A number as it is typed.

    >>> _plain(3060.0), _plain(-0.123456789)
    ('3060', '-0.123457')
    """
    return str(int(number)) if float(number).is_integer() else f"{number:.6g}"
