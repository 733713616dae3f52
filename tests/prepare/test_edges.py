"""Line drawings: against scikit-image's detector, and on pictures whose edges are known."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.feature import canny
from skimage.filters import threshold_otsu
from skimage.measure import label

from diptych.data.builtin import facades
from diptych.images import files
from diptych.images.files import Array, Pixels
from diptych.prepare.edges import draw, edges

DEFAULTS: dict[str, Any] = {"sigma": 2.0, "detail": 1.0, "shortest": 10}


def drawn(picture: Array, **settings: Any) -> Array:
    """Where there is a line, `[H, W]`, for uint8 `[H, W]` or `[H, W, 3]`."""
    colour = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=-1)
    lines: Array = draw(colour, **{**DEFAULTS, **settings}) == 0
    return lines


def disc(height: int = 80, width: int = 100, radius: float = 25) -> Array:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.where(np.hypot(rows - 38, columns - 52) < radius, 200, 50).astype(np.uint8)


@pytest.fixture(scope="module")
def photo() -> Array:
    return np.asarray(facades.draw_pair(0, size=128)[0])


def farthest(lines: Array, others: Array) -> float:
    """How far the loneliest pixel of `lines` is from `others`, in pixels."""
    distance = cv2.distanceTransform((~others).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float(distance[lines].max())


# ---- where the lines are


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_the_lines_are_where_scikit_image_finds_them(sigma: float) -> None:
    want = canny(disc() / 255, sigma)
    seen = drawn(disc(), sigma=sigma)
    assert want.any()
    assert farthest(seen, want) <= 1.5
    assert farthest(want, seen) <= 1.5
    assert seen.sum() < 2 * want.sum()  # a line is one pixel wide


def test_a_step_is_a_line_beside_it() -> None:
    picture = np.full((40, 60), 40, np.uint8)
    picture[:, 30:] = 200
    lines = np.flatnonzero(drawn(picture).any(axis=0))
    assert lines.tolist() in ([29], [30])
    assert drawn(picture).sum() == 40


def test_two_colours_of_one_luma_have_an_edge_between_them() -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, :30] = (255, 0, 0)
    picture[:, 30:] = (0, 130, 0)
    assert len(Image.fromarray(picture).convert("L").getcolors() or []) == 1
    assert np.flatnonzero(drawn(picture).all(axis=0)).tolist() in ([29], [30])


def test_each_channel_has_its_edges() -> None:
    for channel in range(3):
        picture = np.full((80, 100, 3), 50, np.uint8)
        picture[..., channel] = disc()
        np.testing.assert_array_equal(drawn(picture), drawn(disc()))


# ---- how many there are


@pytest.mark.parametrize("sigma", [0.7, 2.0])
def test_the_threshold_is_otsus(photo: Array, sigma: float) -> None:
    colourful = photo.copy()
    colourful[:, 40:80] = 255 - photo[:, 40:80, ::-1]
    smooth = cv2.GaussianBlur(colourful, (0, 0), sigma)
    across, down = (cv2.Sobel(smooth, cv2.CV_64F, *way) for way in ((1, 0), (0, 1)))
    magnitude = np.hypot(across, down).astype(int)
    otsu = int(threshold_otsu(magnitude.max(axis=-1)))
    assert sigma > 1 or magnitude.max() > 255  # more than 8 bits hold
    want = cv2.Canny(smooth, 0.4 * otsu, otsu, L2gradient=True) > 0
    np.testing.assert_array_equal(drawn(colourful, sigma=sigma, shortest=1), want)


def test_a_dull_picture_has_the_lines_of_a_bright_one(photo: Array) -> None:
    dull = (photo // 2 + 60).astype(np.uint8)
    assert drawn(photo).sum() > 400
    assert abs(int(drawn(dull).sum()) - int(drawn(photo).sum())) < 0.1 * drawn(photo).sum()
    assert farthest(drawn(dull), drawn(photo, detail=1.3)) <= 3


def test_more_detail_adds_lines_and_takes_none_away(photo: Array) -> None:
    few, some, many = (drawn(photo, detail=detail) for detail in (0.5, 1.0, 2.0))
    assert (few <= some).all()
    assert (some <= many).all()
    assert few.sum() < some.sum() < many.sum()
    assert few.any()


def test_smoothing_takes_texture_away_and_leaves_shapes() -> None:
    shape = disc(radius=30)
    texture = np.clip(shape + np.random.default_rng(0).normal(0, 20, shape.shape), 0, 255).astype(np.uint8)
    smooth, rough = (drawn(texture, sigma=sigma, detail=2.0) for sigma in (3.0, 0.5))
    assert farthest(smooth, drawn(shape, sigma=3.0)) <= 2
    assert farthest(drawn(shape, sigma=3.0), smooth) <= 2
    assert rough.sum() > 3 * smooth.sum()


@pytest.mark.parametrize("shortest", [1, 10, 40])
def test_specks_are_left_out_and_nothing_else(photo: Array, shortest: int) -> None:
    all_lines = drawn(photo, shortest=1)
    pieces = label(all_lines, connectivity=2)
    long_enough = np.bincount(pieces.ravel())[pieces] >= shortest
    np.testing.assert_array_equal(drawn(photo, shortest=shortest), all_lines & long_enough)
    assert shortest == 1 or drawn(photo, shortest=shortest).sum() < all_lines.sum()


@pytest.mark.parametrize("grain", [0, 1, 3])
def test_an_even_picture_stays_empty(grain: int) -> None:
    levels = np.random.default_rng(0).normal(128, grain, (200, 200, 3))
    assert not drawn(np.rint(levels).astype(np.uint8)).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 2), (3, 5)])
def test_tiny_pictures_keep_their_size(size: tuple[int, int]) -> None:
    assert drawn(np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)).shape == size


# ---- files


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_dark_lines_on_white_in_8_bit_grey(tmp_path: Path, channels: int, bits: int) -> None:
    deep = np.repeat(disc()[..., None], channels, axis=-1).astype(np.uint16) * 257
    files.encode(Pixels(deep if bits == 16 else disc()[..., None].repeat(channels, axis=-1)), tmp_path / "a.tif")
    assert edges(tmp_path / "a.tif", out=tmp_path / "out") == []
    with Image.open(tmp_path / "out/a.png") as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (100, 80))
        np.testing.assert_array_equal(np.asarray(image), np.where(drawn(disc()), 0, 255))


def test_what_is_see_through_is_white_paper(tmp_path: Path) -> None:
    inside = disc() > 100
    files.encode(Pixels(np.zeros((80, 100, 1), np.uint8), inside.astype(np.uint8) * 255), tmp_path / "a.png")
    edges(tmp_path / "a.png", out=tmp_path / "out")
    seen = files.decode(tmp_path / "out/a.png").values[..., 0] == 0
    np.testing.assert_array_equal(seen, drawn(np.where(inside, 0, 255).astype(np.uint8)))
    assert seen.any()


def test_every_setting_counts(tmp_path: Path, photo: Array) -> None:
    Image.fromarray(photo).save(tmp_path / "a.png")
    edges(tmp_path / "a.png", out=tmp_path / "out")
    default = files.decode(tmp_path / "out/a.png").values[..., 0]
    np.testing.assert_array_equal(default == 0, drawn(photo))
    others: dict[str, Any] = {"sigma": 1.0, "detail": 2.0, "shortest": 30}
    for name, value in others.items():
        with pytest.raises(ValueError, match=rf"\({name}\)"):
            edges(tmp_path / "a.png", out=tmp_path / "out", **{name: value})
        edges(tmp_path / "a.png", out=tmp_path / name, **{name: value})
        seen = files.decode(tmp_path / name / "a.png").values[..., 0]
        np.testing.assert_array_equal(seen == 0, drawn(photo, **{name: value}))
        assert (seen != default).any()


@pytest.mark.parametrize("given", [{"sigma": 0.0}, {"sigma": -1.0}, {"sigma": float("nan")}, {"detail": 0.0}])
def test_settings_that_mean_nothing_are_refused(tmp_path: Path, given: dict[str, float]) -> None:
    [(name, value)] = given.items()
    with pytest.raises(ValueError, match=rf"--{name} {value}"):
        edges(tmp_path, out=tmp_path / "out", **given)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
