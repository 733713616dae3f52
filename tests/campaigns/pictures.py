"""Pictures: damaged ones, bombs, and files that are none; decoded alone, inspected, translated, looked at by training."""

import os
import shutil
from pathlib import Path
from unittest.mock import patch

import numpy as np

from diptych.images import giant
from diptych.images.files import SUFFIXES, decode, decode_to_rewrite, encode, to_bytes

from . import bombs, generated, ready, seeds
from .harness import Attempt, Campaign, Case
from .mutations import BY_FORMAT, mutate

BOMBS = 0.02
"""The share of bombs, which take seconds each; a third of them goes through a command, two at once."""


GOOD = "good.png"


def prepare(shared: Path) -> None:
    """The seeds, a folder of good pictures, a model, and a Ghostscript that tells when it is run."""
    for kind, files in (("opened", seeds.opened()), ("refused", seeds.refused())):
        (shared / kind).mkdir()
        for name, data in files:
            (shared / kind / name.replace(";", "")).write_bytes(data)
    ready.write_run(shared / "run", "pix2pix", ready.write_pairs(shared / "pairs"))
    (shared / "bin").mkdir()
    (shared / "bin" / "gs").write_text('#!/bin/sh\ntouch "$GHOSTSCRIPT_WRITES"\nexit 1\n', encoding="ascii")
    (shared / "bin" / "gs").chmod(0o755)


ON_WHOLE_PICTURES = ("evaluate", "translate", "grayscale", "edges", "blank")
"""Their work grows with the picture; docs/reliability.md states what one at the limit takes."""


def make(case: Case) -> Attempt:
    """One hostile picture, under a good or a wrong suffix."""
    is_bomb = case.random.random() < BOMBS
    if is_bomb:
        bomb = case.random.choice(bombs.BOMBS)
        suffix, data = bomb(case.random)
        case.title = f"{bomb.__name__.replace('_', ' ')}, {len(data)} bytes"
    elif case.random.random() < 0.2:
        make_up = case.random.choice(generated.GENERATED)
        suffix, data = make_up(case.random)
        case.title = make_up.__name__.replace("_", " ")
    elif case.random.random() < 0.04:
        suffix, data = _of_another_format(case)
    else:
        suffix, data = _damaged(case)
    if f".{suffix}" not in SUFFIXES or case.random.random() < 0.05:
        suffix = case.random.choice(SUFFIXES)[1:]
    pictures = case.folder / "pictures"
    pictures.mkdir()
    (pictures / f"x.{suffix}").write_bytes(data)
    attempt = _way(case, pictures / f"x.{suffix}", is_bomb)
    case.guard(pictures)
    os.environ["GHOSTSCRIPT_WRITES"] = str(case.executed)
    if not os.environ["PATH"].startswith(str(case.shared)):
        os.environ["PATH"] = f"{case.shared / 'bin'}:{os.environ['PATH']}"
    return attempt


def _damaged(case: Case) -> tuple[str, bytes]:
    files = sorted((case.shared / "opened").iterdir())
    chosen, other = case.random.choice(files), case.random.choice(files)
    suffix = chosen.name.partition("-")[0]
    data, ways = mutate(chosen.read_bytes(), case.random, [other.read_bytes()], BY_FORMAT.get(suffix, ()))
    case.title = f"{chosen.name}: {ways}"
    return suffix, data


def _of_another_format(case: Case) -> tuple[str, bytes]:
    chosen = case.random.choice(sorted((case.shared / "refused").iterdir()))
    case.title = f"{chosen.name} under another name"
    data = chosen.read_bytes()
    if case.random.random() < 0.5:
        data, ways = mutate(data, case.random)
        case.title += f": {ways}"
    return "", data


def _way(case: Case, file: Path, is_bomb: bool) -> Attempt:
    """Most pictures are only decoded; one in twenty goes through a command, beside a good one."""
    if case.random.random() > (0.33 if is_bomb else 0.05):
        rewritten = case.folder / f"again.{case.random.choice(('jpg', 'png', 'webp', 'bmp', 'tif'))}"
        return lambda: _decode(case, file) and (is_bomb or _rewrite(case, file, rewritten))
    pictures, out = file.parent, case.folder / "out"
    shutil.copy(case.shared / "opened" / "png", pictures / GOOD)
    if is_bomb:  # in another thread at the same time
        (pictures / f"copy{file.suffix}").hardlink_to(file)
    whole: dict[str, tuple[object, ...]] = {
        "inspect": ("data", "inspect", pictures),
        "pack": ("data", "pack", pictures, "--size", 16, "--out", case.folder / "out.npy"),
        "split": ("data", "split", pictures, "--val", 0.5, "--out", out),
        "train": ("train", "glcic", "--data", pictures, "--out", out, "--size", 32, "--dry-run"),
        "evaluate": ("evaluate", "--real", pictures, "--fake", pictures, "--metrics", "l1"),
    }
    each: dict[str, tuple[object, ...]] = {
        "translate": ("translate", case.shared / "run", pictures, "--out", out, "--working-size", 32),
        "resize": ("data", "resize", pictures, "--size", 16, "--out", out),
        "grayscale": ("data", "grayscale", pictures, "--out", out),
        "edges": ("data", "edges", pictures, "--out", out),
        "blank": ("data", "blank", pictures, "--out", out),
    }
    ways = [way for way in (*whole, *each) if not (is_bomb and way in ON_WHOLE_PICTURES)]
    way = case.random.choice(ways)
    case.title += f", {way}"

    def attempt() -> bool:
        with patch.object(giant, "is_installed", return_value=False):  # with it a true giant takes what it takes
            opened = case.command(*(whole | each)[way])
        if way in each and not (out / GOOD).is_file():
            case.fault("wrong", "the good picture beside it was not done")
        return opened

    return attempt


def _decode(case: Case, file: Path) -> bool:
    pixels = decode(file)
    if pixels.values.dtype not in (np.uint8, np.uint16) or pixels.values.ndim != 3 or 0 in pixels.values.shape:
        case.fault("wrong", f"decoded to {pixels.values.dtype} {pixels.values.shape}")
    if pixels.alpha is not None and (pixels.alpha.shape != pixels.size or pixels.alpha.dtype != pixels.values.dtype):
        case.fault("wrong", f"decoded to alpha {pixels.alpha.dtype} {pixels.alpha.shape}, picture {pixels.size}")
    if pixels.values.shape[0] * pixels.values.shape[1] > bombs.LIMIT:
        case.fault("wrong", f"opened with {pixels.size} pixels")
    to_bytes(pixels, 3)
    return True


def _rewrite(case: Case, file: Path, rewritten: Path) -> bool:
    """Written again with all that it knows of itself, it can be read, and is the same picture."""
    pixels, known = decode_to_rewrite(file)
    encode(pixels, rewritten, known)
    again = decode_to_rewrite(rewritten)[0]
    if again.size != pixels.size:
        case.fault("wrong", f"{pixels.size} was written as {again.size}")
    exact = rewritten.suffix in (".png", ".tif") and again.values.shape == pixels.values.shape
    if exact and not np.array_equal(again.values, pixels.values):
        case.fault("wrong", f"other levels in {rewritten.name}")
    return True


CAMPAIGN = Campaign(make, count=10_000, prepare=prepare, memory=4096)  # as docs/reliability.md states
