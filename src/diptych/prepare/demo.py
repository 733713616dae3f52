"""The built-in pictures as files, so that whatever the documentation shows can be tried without a network."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from diptych.data.builtin import emoji, facades, regions, shapes
from diptych.data.paths import DataPaths
from diptych.kinds import DataKind, Direction
from diptych.prepare.folders import claim
from diptych.prepare.inspect import methods_for, train_command
from diptych.progress import say

LEAST = {"size": 16, "train": 1, "val": 0}


@dataclass(frozen=True)
class BuiltIn:
    """A set: what writes it, how large if nobody says, and what can be learnt from it."""

    write: Callable[..., None]
    numbers: dict[str, int]
    needs: DataKind
    direction: Direction | None = None


SETS = {
    "emoji": BuiltIn(emoji.write, {"size": 128, "train": 820, "val": 60}, DataKind.PAIRED, "AtoB"),
    "facades": BuiltIn(facades.write, {"size": 128, "train": 200, "val": 24}, DataKind.PAIRED, "BtoA"),
    "shapes": BuiltIn(shapes.write, {"size": 64, "train": 500, "val": 50}, DataKind.IMAGES),
    "fields": BuiltIn(regions.write_fields, {"size": 64, "train": 100, "val": 20}, DataKind.PAIRED, "AtoB"),
    "scans": BuiltIn(regions.write_scans, {"size": 64, "train": 100, "val": 20}, DataKind.PAIRED, "AtoB"),
}


def demo(
    name: Literal["emoji", "facades", "shapes", "fields", "scans"],
    *,
    out: Path | str,
    size: int | None = None,
    train: int | None = None,
    val: int | None = None,
    seed: int = 0,
    console: Console | None = None,
) -> Path:
    """Writes a built-in set into the new folder `out` and returns its path; prints the command that trains on it.

    "emoji" are pairs, flat drawing left and 3D rendering right. "facades" are pairs, photograph left and labels right, and
    drawn, as all others. "shapes" are single pictures in colour in five folders of their
    kind. "fields" are pairs, RGB with near infrared beside kinds of fields; "scans" too, 12 bits in 16-bit files beside
    tissues. The same call goes on with what was stopped. Raises a `ValueError` for a number below what can be drawn, and
    when `out` holds anything else.

    Args:
        name: Which one.
        out: The folder to write.
        size: Height and width in pixels; 128 for emoji and facades, 64 for the others.
        train: Number of files to train on; 820 emoji, 200 facades, 500 shapes, 100 of the others.
        val: Number of files held out; 60, 24, 50, 20.
        seed: Another seed draws another set.

    >>> import tempfile
    >>> folder = demo("shapes", out=Path(tempfile.mkdtemp()) / "shapes", size=32, train=5, val=0)
    >>> sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))[0]
    'train/apple/shape-0004.png'
    """
    out, console = Path(out), console or Console(stderr=True)
    built_in = SETS[name]
    given = {"size": size, "train": train, "val": val}
    numbers = built_in.numbers | {what: number for what, number in given.items() if number is not None}
    for what, number in numbers.items():
        if number < LEAST[what]:
            raise ValueError(f"--{what} {number}: is too small; {LEAST[what]} or more is expected")
    if seed < 0:
        raise ValueError(f"--seed {seed}: 0 or more is expected")
    claim(out, "demo", {"name": name, **numbers, "seed": seed}, [])
    say(console, f"{out}: writing {numbers['train']} + {numbers['val']} pictures of the built-in {name}")
    built_in.write(out, **numbers, seed=seed)
    method = methods_for(built_in.needs)[0]
    say(console, f"next: {train_command(method, DataPaths(out), built_in.direction, numbers['size'])}")
    return out
