"""A person's masks: white is a hole, whatever the file's mode and size."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.data import mask_files
from diptych.images.files import Pixels, from_image

HOLE = np.zeros((20, 30), bool)
HOLE[4:9, 10:24] = True


def as_image(mode: str) -> Image.Image:
    grey = Image.fromarray(HOLE.astype(np.uint8) * 255)
    if mode == "I;16":
        return Image.fromarray(HOLE.astype(np.uint16) * 65535)
    if mode == "RGBA":
        return Image.merge("RGBA", [grey, grey, grey, Image.new("L", grey.size, 255)])
    return grey.convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_every_mode(mode: str) -> None:
    assert np.array_equal(mask_files.from_pixels(from_image(as_image(mode)), (20, 30)), HOLE)


def test_what_is_see_through_is_no_hole() -> None:
    """White strokes on a layer of their own, whose ground is white, too, and see-through."""
    white = np.full((20, 30, 1), 255, np.uint8)
    assert np.array_equal(mask_files.from_pixels(Pixels(white, HOLE.astype(np.uint8) * 255), (20, 30)), HOLE)


def test_a_jpeg_says_the_same(tmp_path: Path) -> None:
    as_image("L").save(tmp_path / "mask.jpg", quality=60)
    assert np.array_equal(mask_files.read(tmp_path / "mask.jpg", (20, 30)), HOLE)


def test_resized_by_nearest() -> None:
    doubled = mask_files.from_pixels(from_image(as_image("L")), (40, 60))
    assert np.array_equal(doubled, HOLE.repeat(2, axis=0).repeat(2, axis=1))
    assert np.array_equal(mask_files.from_pixels(Pixels(doubled[..., None].astype(np.uint8) * 255), (20, 30)), HOLE)
    one_of_three = np.array([[[0], [255], [0], [0], [0], [0]]], np.uint8)
    assert mask_files.from_pixels(Pixels(one_of_three), (1, 2)).tolist() == [[True, False]]  # and no mean of the three


def test_nothing_left_is_refused(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 255).save(tmp_path / "white.png")
    with pytest.raises(ValueError, match=r"white\.png: all of it is a hole .*what is kept is black"):
        mask_files.read(tmp_path / "white.png", (20, 30))


def test_one_mask_for_all_or_one_of_the_same_name_for_each(tmp_path: Path) -> None:
    (tmp_path / "masks/b").mkdir(parents=True)
    for name in ("a.png", "b/c.webp", "unused.png"):
        as_image("L").save(tmp_path / "masks" / name)
    one = tmp_path / "masks/a.png"
    assert mask_files.match(["x", "y"], one) == [one, one]
    assert mask_files.match(["b/c", "a"], tmp_path / "masks") == [tmp_path / "masks/b/c.webp", one]
    with pytest.raises(ValueError, match=r"has no mask named 'd' \(and 1 more are missing\)"):
        mask_files.match(["a", "d", "e"], tmp_path / "masks")
    with pytest.raises(ValueError, match="no such file"):
        mask_files.match(["a"], tmp_path / "none.png")
