"""The built-in emoji: a flat drawing beside its 3D rendering, of Microsoft's Fluent Emoji (MIT licence, in the archive).

They are the data of the quickstart: real pictures whose translation is worth looking at. `examples/pack_emoji.py` makes the
archive, 820 pairs to learn from and 60 others, as WebP of 128 px.
"""

from functools import cache
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from PIL import Image

from diptych.data.builtin.facades import write_missing

ARCHIVE = Path(__file__).with_name("emoji.zip")


def write(folder: Path, *, size: int = 128, train: int = 820, val: int = 60, seed: int = 0) -> None:
    """Writes side-by-side pairs, drawing left (A), rendering right (B), as `folder/train` and `folder/val`.

    What is in the one is never in the other. Fewer than there are come in an order of the `seed`. Raises a `ValueError` for
    more than there are. Completes a folder that has some of them, and refuses one with anything else, as `write_missing`
    does.
    """
    names = list[str]()
    for split, count in (("train", train), ("val", val)):
        there = _names(split)
        if count > len(there):
            raise ValueError(
                f"--{split} {count}: there are {len(there)} built-in emoji of {split}; give as many or fewer"
            )
        names += [there[index] for index in np.random.default_rng(seed).permutation(len(there))[:count]]
    write_missing(folder, "emoji", lambda number: "", lambda number: _pair(names[number], size), train, val)


@cache
def _names(split: str) -> list[str]:
    with ZipFile(ARCHIVE) as archive:
        return [name for name in archive.namelist() if name.startswith(f"{split}/")]


def _pair(name: str, size: int) -> Image.Image:
    with ZipFile(ARCHIVE) as archive, Image.open(BytesIO(archive.read(name))) as pair:
        return pair.resize((2 * size, size), Image.Resampling.LANCZOS)
