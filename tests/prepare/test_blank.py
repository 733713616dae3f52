"""Holes: where they are, what is in them, and that nothing else is touched."""

import os
import sys
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diptych.images import files
from diptych.images.files import Array, Pixels
from diptych.prepare.blank import anywhere, blank, centre

SIDES = st.integers(1, 60)
SHARES = st.floats(0.001, 1)


def holes(tmp_path: Path, name: str = "a.png", size: tuple[int, int] = (40, 30), **settings: Any) -> Array:
    """`[H, W]`: where a black picture of this name and size (width, height) has become white."""
    folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
    (folder / "in" / name).parent.mkdir(parents=True)
    Image.new("L", size).save(folder / "in" / name)
    assert blank(folder / "in", out=folder / "out", **settings) == []
    found: Array = files.decode((folder / "out" / name).with_suffix(".png")).values[..., 0] == 255
    return found


# ---- the hole in the centre


@settings(deadline=None, derandomize=True, max_examples=100)
@given(side=st.integers(4, 600))
def test_the_centre_is_where_pix2pix_tensorflow_cuts(side: int) -> None:
    size = int(side * 0.3)  # tools/process.py, blank()
    offset = int(side / 2 - size / 2)
    assert centre((side, side), 0.3) == (slice(offset, offset + size),) * 2


@settings(deadline=None, derandomize=True, max_examples=200)
@given(height=SIDES, width=SIDES, share=SHARES)
def test_the_centre_has_its_share_of_each_side(height: int, width: int, share: float) -> None:
    for place, side in zip(centre((height, width), share), (height, width), strict=True):
        assert place.stop - place.start == max(1, int(share * side))
        assert 0 <= (side - place.stop) - place.start <= 1  # as much before as behind
        assert place.start >= 0


def test_the_default_hole(tmp_path: Path) -> None:
    want = np.zeros((100, 200), bool)
    want[35:65, 70:130] = True
    np.testing.assert_array_equal(holes(tmp_path, size=(200, 100)), want)


# ---- random holes


@settings(deadline=None, derandomize=True, max_examples=300)
@given(size=st.tuples(SIDES, SIDES), shares=st.tuples(SHARES, SHARES), seed=st.integers(0, 2**32))
def test_a_random_hole_has_a_share_of_each_side_and_lies_inside(
    size: tuple[int, int], shares: tuple[float, float], seed: int
) -> None:
    least, most = sorted(shares)
    for place, side in zip(anywhere(size, least, most, Random(seed)), size, strict=True):
        assert 0 <= place.start < place.stop <= side
        assert max(1, int(least * side)) <= place.stop - place.start <= max(1, int(most * side))


def test_every_side_and_every_offset_that_fits_is_drawn() -> None:
    drawn = {tuple((p.start, p.stop) for p in anywhere((5, 6), 0.2, 0.7, Random(seed))) for seed in range(2000)}
    rows = {(top, top + tall) for tall in (1, 2, 3) for top in range(6 - tall)}
    columns = {(left, left + wide) for wide in (1, 2, 3, 4) for left in range(7 - wide)}
    assert drawn == {(row, column) for row in rows for column in columns}


def test_so_many_holes_are_cut(tmp_path: Path) -> None:
    def pieces(seed: int) -> int:
        found = holes(tmp_path, hole="random", count=4, min_share=0.02, share=0.04, seed=seed, size=(100, 100))
        return int(cv2.connectedComponents(found.astype(np.uint8))[0]) - 1

    assert max(pieces(seed) for seed in range(5)) == 4


def test_holes_depend_on_the_seed_and_the_name_alone(tmp_path: Path) -> None:
    def drawn(name: str, **more: Any) -> bytes:
        return holes(tmp_path, name, hole="random", **more).tobytes()

    alone = drawn("train/a.png")
    assert drawn("train/a.png", seed=1) != alone
    assert len({drawn(f"train/{name}.png") for name in "abcdef"} | {drawn("a.png"), alone}) == 7
    assert drawn("train/a.bmp") == alone  # a photograph as JPEG and its labels as PNG get the same holes

    for number in range(6):
        path = tmp_path / f"many/train/{'fedcba'[number]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 30)).save(path)
    for workers in (1, 4):
        assert blank(tmp_path / "many", out=tmp_path / f"out{workers}", hole="random", workers=workers) == []
        seen = files.decode(tmp_path / f"out{workers}/train/a.png").values[..., 0]
        assert (seen == 255).tobytes() == alone


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_need_not_be_unicode(tmp_path: Path) -> None:
    assert holes(tmp_path, os.fsdecode(b"caf\xe9.png"), hole="random").any()


# ---- what is in a hole, and what is not


@pytest.mark.parametrize("hole", ["centre", "random"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_hole_has_its_colour_and_the_rest_is_untouched(tmp_path: Path, channels: int, bits: int, hole: Any) -> None:
    generator = np.random.default_rng(0)
    kind = np.uint8 if bits == 8 else np.uint16
    values = generator.integers(0, 2**bits, (20, 30, channels)).astype(kind)
    files.encode(Pixels(values), tmp_path / "a.png")
    assert blank(tmp_path / "a.png", out=tmp_path / "out", hole=hole, fill="#ff0000") == []
    seen = files.decode(tmp_path / "out/a.png").values
    assert seen.dtype == kind
    changed = np.any(seen != values, axis=-1)
    assert 2 <= changed.sum() <= 0.3**2 * changed.size
    red = [255, 0, 0] if channels == 3 else [76]  # 0.299 of 255
    assert {tuple(colour) for colour in seen[changed]} == {tuple(level * (1 if bits == 8 else 257) for level in red)}


def test_a_hole_in_what_is_see_through_is_seen(tmp_path: Path) -> None:
    Image.new("LA", (4, 4), (7, 100)).save(tmp_path / "a.png")
    blank(tmp_path / "a.png", out=tmp_path / "out", share=0.5)
    seen = files.decode(tmp_path / "out/a.png")
    want = np.full((4, 4), 100)
    want[1:3, 1:3] = 255
    np.testing.assert_array_equal(seen.alpha, want)


def test_the_hole_in_a_jpeg_is_not_blurred_by_another_jpeg(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)).save(tmp_path / "a.jpg")
    blank(tmp_path / "a.jpg", out=tmp_path / "out", fill="lime")
    want = files.decode(tmp_path / "a.jpg").values.copy()
    want[7:13, 7:13] = (0, 255, 0)
    np.testing.assert_array_equal(files.decode(tmp_path / "out/a.png").values, want)


# ---- what a person may get wrong


@pytest.mark.parametrize(
    "given",
    [
        {"share": 0.0},
        {"share": 1.1},
        {"share": float("nan")},
        {"share": -0.3},
        {"min_share": 0.0},
        {"min_share": 2.0},
        {"hole": "random", "min_share": 0.5, "share": 0.4},
    ],
)
def test_shares_that_are_none_are_refused(tmp_path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"--min-share .* --share "):
        blank(tmp_path, out=tmp_path / "out", **given)


def test_a_small_hole_in_the_centre_needs_no_other_setting(tmp_path: Path) -> None:
    assert holes(tmp_path, size=(20, 20), share=0.05).sum() == 1
    assert holes(tmp_path, size=(20, 20), share=1.0).all()
    assert holes(tmp_path, size=(20, 20), hole="random", share=0.5, min_share=0.5).sum() == 100


def test_no_holes_and_no_colour_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--count 0"):
        blank(tmp_path, out=tmp_path / "out", count=0)
    with pytest.raises(ValueError, match="--fill reddish"):
        blank(tmp_path, out=tmp_path / "out", fill="reddish")


def test_other_settings_need_another_folder(tmp_path: Path) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    blank(tmp_path / "a.png", out=tmp_path / "out")
    assert blank(tmp_path / "a.png", out=tmp_path / "out") == []
    others: dict[str, Any] = {"hole": "random", "share": 0.4, "min_share": 0.2, "count": 2, "fill": "red", "seed": 1}
    for name, value in others.items():
        with pytest.raises(ValueError, match=rf"other settings \({name.replace('_', '-')}\)"):
            blank(tmp_path / "a.png", out=tmp_path / "out", **{name: value})
