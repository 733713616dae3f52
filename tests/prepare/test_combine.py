"""A beside B, by stem: every pair in its place, and what is no pair named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.data.layouts import find_one
from diptych.data.paths import DataPaths
from diptych.images import files
from diptych.images.files import Array, Pixels
from diptych.kinds import DataKind
from diptych.prepare.combine import combine


def noise(*shape: int, bits: int = 8, seed: int = 0) -> Array:
    kind = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 2**bits, shape).astype(kind)


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders of pairs of other suffixes, in folders and with names as people have them."""
    for number, name in enumerate(("one", "with space", "train/Ünï#1", "train/v1.2", "val/new\nline")):
        for side, suffix in (("a", ".png"), ("b", ".bmp")):
            path = tmp_path / side / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise(4, 6, 3, seed=2 * number + (side == "b"))).save(path)
    return tmp_path / "a", tmp_path / "b"


def test_a_is_left_and_b_is_right(sides: tuple[Path, Path], tmp_path: Path) -> None:
    assert combine(*sides, out=tmp_path / "out") == []
    made = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert made == {"one.png", "with space.png", "train/Ünï#1.png", "train/v1.2.png", "val/new\nline.png"}
    for name in made:
        with Image.open(tmp_path / "out" / name) as both:
            assert (both.format, both.size, both.mode) == ("PNG", (12, 4), "RGB")
            halves = both.crop((0, 0, 6, 4)), both.crop((6, 0, 12, 4))
        for half, side, suffix in zip(halves, sides, (".png", ".bmp"), strict=True):
            with Image.open(side / f"{name[:-4]}{suffix}") as alone:
                np.testing.assert_array_equal(np.asarray(half), np.asarray(alone))


def test_training_reads_the_pairs_as_it_would_from_two_folders(sides: tuple[Path, Path], tmp_path: Path) -> None:
    combine(*sides, out=tmp_path / "out")
    joined, apart = (
        find_one(DataKind.PAIRED, DataPaths(tmp_path / "out"), "val"),
        find_one(DataKind.PAIRED, DataPaths(*sides), "val"),
    )
    assert joined is not None
    assert apart is not None
    assert [joined.name(0)] == [apart.name(0)] == ["new\nline"]
    assert all((one == other).all() for one, other in zip(joined.load(0), apart.load(0), strict=True))


def pair(tmp_path: Path, a: Pixels, b: Pixels) -> Pixels:
    for side, pixels in (("a", a), ("b", b)):
        (tmp_path / side).mkdir()
        files.encode(pixels, tmp_path / side / "1.png")
    assert combine(tmp_path / "a", tmp_path / "b", out=tmp_path / "out") == []
    return files.decode(tmp_path / "out/1.png")


@pytest.mark.parametrize("bits", [(8, 8), (8, 16), (16, 8), (16, 16)])
@pytest.mark.parametrize("channels", [(1, 1), (1, 3), (3, 1), (3, 3)])
def test_nothing_is_lost_where_the_sides_differ(
    tmp_path: Path, channels: tuple[int, int], bits: tuple[int, int]
) -> None:
    a, b = (noise(4, 6, c, bits=depth, seed=c) for c, depth in zip(channels, bits, strict=True))
    both = pair(tmp_path, Pixels(a), Pixels(b))
    assert both.bits == max(bits)
    assert both.values.shape == (4, 12, max(channels))
    for half, side in ((both.values[:, :6], a), (both.values[:, 6:], b)):
        deeper = half.dtype.itemsize // side.dtype.itemsize  # 255 * 257 = 65535
        want = side.astype(int) * (257 if deeper == 2 else 1)
        np.testing.assert_array_equal(half, np.broadcast_to(want, half.shape))


def test_what_is_see_through_is_laid_on_white(tmp_path: Path) -> None:
    values = noise(4, 6, 4)
    both = pair(tmp_path, Pixels(values[..., :3], values[..., 3]), Pixels(noise(4, 6, 1)))
    white = Image.new("RGBA", (6, 4), "white")
    want = np.asarray(Image.alpha_composite(white, Image.fromarray(values)).convert("RGB")).astype(int)
    assert both.alpha is None
    assert np.abs(both.values[:, :6] - want).max() <= 1


# ---- what is no pair


@pytest.mark.parametrize("side", [0, 1])
def test_a_lonely_picture_is_named_before_anything_is_written(
    sides: tuple[Path, Path], tmp_path: Path, side: int
) -> None:
    (sides[side] / "train").joinpath("Ünï#1.png" if side == 0 else "Ünï#1.bmp").unlink()
    with pytest.raises(ValueError, match=r"train/Ünï#1\.\w+: .*partner"):
        combine(*sides, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_partner_elsewhere_is_none(sides: tuple[Path, Path], tmp_path: Path) -> None:
    (sides[1] / "val/new\nline.bmp").rename(sides[1] / "train/new\nline.bmp")
    with pytest.raises(ValueError, match=r"(?s)partner .*val/new.nline"):
        combine(*sides, out=tmp_path / "out")


def test_two_pictures_of_one_stem_are_named(sides: tuple[Path, Path], tmp_path: Path) -> None:
    Image.new("RGB", (6, 4)).save(sides[1] / "one.jpg")
    with pytest.raises(ValueError, match=r"one.jpg: one.bmp"):
        combine(*sides, out=tmp_path / "out")


@pytest.mark.parametrize("size", [(4, 6), (6, 5), (12, 4)])
def test_pairs_of_different_sizes_and_bad_files_are_skipped_by_name(
    sides: tuple[Path, Path], tmp_path: Path, size: tuple[int, int]
) -> None:
    Image.new("RGB", size).save(sides[1] / "one.bmp")
    (sides[0] / "train/v1.2.png").write_bytes(b"")
    lines = combine(*sides, out=tmp_path / "out", workers=4)
    names = f"{sides[0]}/one.png is 6x4 and {sides[1]}/one.bmp is {size[0]}x{size[1]}"
    assert lines[0].startswith(f"{names}; the two sides of a pair must have the same size")
    assert lines[1].startswith(f"{sides[0]}/train/v1.2.png: the file is empty")
    assert len(lines) == 2
    assert len(list((tmp_path / "out").rglob("*.png"))) == 3


def test_what_is_no_folder_of_pictures_is_named(sides: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for a, b, message in (
        (tmp_path / "none", sides[1], "none: no such folder"),
        (sides[0], tmp_path / "none", "none: no such folder"),
        (sides[0] / "one.png", sides[1], r"one.png: is a file; a folder"),
        (sides[0], tmp_path / "empty", "empty: no pictures found"),
    ):
        with pytest.raises(ValueError, match=message):
            combine(a, b, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- the folder of the pairs


@pytest.mark.parametrize("side", [0, 1])
def test_the_pairs_lie_in_neither_side(sides: tuple[Path, Path], side: int) -> None:
    with pytest.raises(ValueError, match="lies inside"):
        combine(*sides, out=sides[side] / "pairs")


def test_the_same_call_goes_on_and_another_is_refused(sides: tuple[Path, Path], tmp_path: Path) -> None:
    combine(*sides, out=tmp_path / "out")
    kept = (tmp_path / "out/one.png").stat().st_ino
    (tmp_path / "out/with space.png").unlink()
    assert combine(*map(str, sides), out=str(tmp_path / "out")) == []
    assert (tmp_path / "out/with space.png").is_file()
    assert (tmp_path / "out/one.png").stat().st_ino == kept
    with pytest.raises(ValueError, match=r"\(inputs\)"):
        combine(*reversed(sides), out=tmp_path / "out")
