"""Pairs out of two folders: A on the left of one file, B on the right."""

from pathlib import Path

import torch
from rich.console import Console

from diptych.data.outputs import Job
from diptych.data.pairs import in_two_folders
from diptych.data.partners import SAME
from diptych.data.paths import without_file_suffix
from diptych.images.files import Pixels, decode, encode, from_tensor, to_tensor
from diptych.prepare.folders import claim, each_missing, say_left_out
from diptych.progress import say


def combine(
    a: Path | str,
    b: Path | str,
    *,
    out: Path | str,
    suffix_a: str | None = None,
    suffix_b: str | None = None,
    workers: int | None = None,
    console: Console | None = None,
) -> list[str]:
    """Joins every picture in the folder `a` with its partner in `b`, as one PNG each in the folder `out`.

    Partners have the same stem, or stems that differ by what they end in; `a` and `b` may be one folder, then.

    Folders such as train and val keep their place. Grey beside colour becomes colour, 8 beside 16 bits 16; transparent
    pictures are laid on white. Returns one line for each pair that was skipped, because a file cannot be read or the two
    have different sizes; raises a `ValueError` for a problem of all of them, and when a picture has no partner.

    Args:
        a: The folder of the left halves.
        b: The folder of the right halves.
        out: The folder to write.
        suffix_a: How the file names of A end, such as `_A`, if they differ from those of B and Diptych does not detect it.
        suffix_b: The same for B.
        workers: Threads; by default one per core.

    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> for side, colour in (("a", "red"), ("b", "blue")):
    ...     (folder / side).mkdir()
    ...     Image.new("RGB", (20, 10), colour).save(folder / side / "one.png")
    >>> combine(folder / "a", folder / "b", out=folder / "pairs")
    []
    >>> decode(folder / "pairs/one.png").size
    (10, 40)
    """
    a, b, out = Path(a), Path(b), Path(out)
    typed = without_file_suffix(suffix_a or ""), without_file_suffix(suffix_b or "")
    pairs = in_two_folders(a, b, typed)
    claim(out, "combine", {"suffixes": typed} if any(typed) else {}, [a, b])
    say_left_out([a, b], console)
    if pairs.affixes != SAME:
        say(console or Console(stderr=True), f"{len(pairs)} pairs {pairs.where}")
    partner = dict(zip(pairs.a, pairs.b, strict=True))
    jobs = [(path, out / f"{pairs.name(number)}.png") for number, path in enumerate(pairs.a)]

    def work(job: Job) -> None:
        left, target = job
        joined = _side_by_side(left, partner[left])
        target.parent.mkdir(parents=True, exist_ok=True)
        encode(joined, target)

    return each_missing(jobs, out, work, "combine", workers, console)


def _side_by_side(a: Path, b: Path) -> Pixels:
    left, right = decode(a), decode(b)
    if left.size != right.size:
        (height, width), (other_height, other_width) = left.size, right.size
        raise ValueError(
            f"{a} is {width}x{height} and {b} is {other_width}x{other_height}; the two sides of a pair must have the "
            "same size, which `diptych data resize` gives them"
        )
    channels = max(left.values.shape[-1], right.values.shape[-1])
    if channels > 3 and left.values.shape != right.values.shape:
        channels = 3
    sides = [to_tensor(side, channels) for side in (left, right)]
    return from_tensor(torch.cat(sides, dim=-1), max(left.bits, right.bits))
