"""The built-in emoji: pairs, the same for everyone, and none of val in train."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.data.builtin import emoji
from diptych.images.files import Array


def written(folder: Path) -> dict[str, Array]:
    return {path.relative_to(folder).as_posix(): np.asarray(Image.open(path)) for path in folder.rglob("*.png")}


def test_a_seed_chooses_which_and_nothing_of_val_is_in_train(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("again", 0), ("b", 1)):
        emoji.write(tmp_path / name, size=16, train=60, val=60, seed=seed)
    a, again, b = (written(tmp_path / name) for name in ("a", "again", "b"))
    assert {name: picture.tobytes() for name, picture in a.items()} == {n: p.tobytes() for n, p in again.items()}
    assert all(picture.shape == (16, 32, 3) for picture in a.values())
    splits = [{p.tobytes() for name, p in a.items() if name.startswith(split)} for split in ("train", "val")]
    assert list(map(len, splits)) == [60, 60]
    assert not splits[0] & splits[1]
    assert {p.tobytes() for p in a.values()} != {p.tobytes() for p in b.values()}


def test_the_left_half_is_flatter_than_the_right(tmp_path: Path) -> None:
    emoji.write(tmp_path, train=20, val=0)
    flat, solid = (
        sum(len(np.unique(half // 8 @ [1, 32, 1024])) for half in halves)
        for halves in zip(*((p[:, :128], p[:, 128:]) for p in written(tmp_path).values()), strict=True)
    )
    assert solid > 1.5 * flat


def test_more_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--val 61: there are 60 built-in emoji of val; give as many or fewer"):
        emoji.write(tmp_path / "out", train=1, val=61)
    assert not (tmp_path / "out").exists()


def test_the_licence_travels_with_them() -> None:
    from zipfile import ZipFile

    with ZipFile(emoji.ARCHIVE) as archive:
        assert "Permission is hereby granted" in archive.read("LICENSE.txt").decode()
    assert emoji.ARCHIVE.stat().st_size < 3_000_000
