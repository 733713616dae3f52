"""Resize, crop, flip, pad: against Pillow and NumPy, and on pictures whose pixels say where they came from."""

from random import Random

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from diptych.images import geometry

SIDES = st.integers(1, 40)


def coordinates(height: int, width: int) -> Tensor:
    """`[2, H, W]`: each pixel holds its own row and column."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns])


# Up, down, one of each, by a little, to the load size of training, and to nearly nothing.
@pytest.mark.parametrize("before", [(48, 64), (9, 7), (64, 33), (57, 57)])
@pytest.mark.parametrize("after", [(17, 33), (40, 23), (64, 64), (5, 4)])
def test_resize_is_pillows_bicubic(before: tuple[int, int], after: tuple[int, int]) -> None:
    size = after[1], after[0]
    # Noise, because nothing is harder to scale; of half the range, because the two clip at 0 and 255 at other moments.
    levels = np.random.default_rng(0).integers(64, 192, before).astype(np.uint8)
    want = np.asarray(Image.fromarray(levels).resize(size, Image.Resampling.BICUBIC)).astype(int)
    seen = geometry.resize(torch.from_numpy(levels)[None], *after)
    assert seen.dtype == torch.uint8
    assert seen.shape == (1, *after)
    wrong = np.abs(seen[0].numpy().astype(int) - want)
    assert wrong.max() <= 2  # of 255 levels
    assert wrong.mean() < 0.5

    floats = levels.astype(np.float32) / 127.5 - 1
    want = np.asarray(Image.fromarray(floats).resize(size, Image.Resampling.BICUBIC))
    np.testing.assert_allclose(geometry.resize(torch.from_numpy(floats)[None], *after)[0].numpy(), want, atol=1e-4)


@pytest.mark.parametrize("channels", [3, 6])
@pytest.mark.parametrize("together", [True, False])
def test_the_channels_are_scaled_one_by_one(channels: int, together: bool) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (20, 30, channels)).astype(np.uint8)
    picture = torch.from_numpy(levels).permute(2, 0, 1)
    seen = geometry.resize(picture if together else picture.contiguous(), 13, 17)
    for i in range(channels):
        alone = geometry.resize(torch.from_numpy(levels[..., i].copy())[None], 13, 17)[0]
        assert int((seen[i].int() - alone.int()).abs().max()) <= 1


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    together=st.booleans(),
    cut=st.integers(0, 2),
    flip=st.booleans(),
)
def test_sides_are_joined_in_order_however_they_lie(
    channels: tuple[int, int], height: int, width: int, together: bool, cut: int, flip: bool
) -> None:
    # Decoders leave the channels together, crops and flips are views: the numbers must not depend on it.
    sides = []
    for count in channels:
        side = torch.from_numpy(np.random.default_rng(count).integers(0, 256, (height + 2, width + 2, count), np.uint8))
        side = side.permute(2, 0, 1) if together else side.permute(2, 0, 1).contiguous()
        side = side[:, cut : cut + height, cut : cut + width]
        sides.append(side.flip(-1) if flip else side)
    joined = geometry.join(sides)
    assert torch.equal(joined, torch.cat(sides))
    assert joined.is_contiguous()


@settings(deadline=None, derandomize=True, max_examples=40)
@given(height=SIDES, width=SIDES, taller=SIDES, wider=SIDES, level=st.integers(0, 255))
def test_a_flat_picture_stays_flat(height: int, width: int, taller: int, wider: int, level: int) -> None:
    # Slip of 000: float pictures were stretched to full contrast when they were resized.
    flat = torch.full((3, height, width), level, dtype=torch.uint8)
    assert torch.equal(geometry.resize(flat, taller, wider), torch.full((3, taller, wider), level, dtype=torch.uint8))
    value = level / 127.5 - 1
    seen = geometry.resize(torch.full((3, height, width), value), taller, wider)
    torch.testing.assert_close(seen, torch.full((3, taller, wider), value), atol=1e-5, rtol=0)


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    picture = torch.rand(3, 7, 9, generator=torch.Generator().manual_seed(0)) * 9 - 4
    assert torch.equal(geometry.resize(picture, 7, 9), picture)


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [(10, 20, [0, 9], [5, 14]), (20, 10, [5, 14], [0, 9]), (4, 4, [0, 3], [0, 3]), (1, 2, [0, 0], [0, 0])],
)
def test_the_centre_square_is_in_the_middle(height: int, width: int, rows: list[int], columns: list[int]) -> None:
    # 000-3, and its slip: height and width were swapped.
    crop = geometry.centre_crop(coordinates(height, width), (64, 64))
    assert [int(crop[0].min()), int(crop[0].max())] == rows
    assert [int(crop[1].min()), int(crop[1].max())] == columns


@pytest.mark.parametrize(("height", "width"), [(5, 9), (9, 5), (4, 4)])
def test_the_centre_square_is_as_large_as_can_be(height: int, width: int) -> None:
    square = geometry.centre_crop(coordinates(height, width), (64, 64))
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    assert torch.equal(square, coordinates(height, width)[:, top : top + side, left : left + side])


@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES))
def test_the_centre_crop_has_the_shape_asked_for_and_is_as_large_as_can_be(
    there: tuple[int, int], shape: tuple[int, int]
) -> None:
    crop = geometry.centre_crop(coordinates(*there), shape)
    height, width = crop.shape[1:]
    assert height == there[0] or width == there[1]
    assert abs(height * shape[1] - width * shape[0]) <= max(shape)  # a pixel more or less is another shape
    for plane, side, before in zip(crop, (height, width), there, strict=True):
        assert abs(int(plane.min()) - (before - 1 - int(plane.max()))) <= 1
        assert int(plane.max()) - int(plane.min()) + 1 == side


@pytest.mark.parametrize(
    ("height", "width", "size"), [(6, 9, (4, 4)), (9, 6, (4, 4)), (5, 5, (5, 5)), (4, 6, (4, 4)), (6, 5, (2, 4))]
)
def test_a_random_crop_starts_at_every_offset_that_fits(height: int, width: int, size: tuple[int, int]) -> None:
    # 000-7, and its slips: offset 0 never came, and the window ran over the edge when load size = crop size.
    generator = Random(0)
    seen = set()
    for _ in range(400):
        crop = geometry.random_crop(coordinates(height, width), size, generator)
        top, left = crop[:, 0, 0].tolist()
        assert torch.equal(crop, coordinates(height, width)[:, top : top + size[0], left : left + size[1]])
        assert crop.shape == (2, *size)
        seen.add((top, left))
    assert seen == {(top, left) for top in range(height - size[0] + 1) for left in range(width - size[1] + 1)}


def test_half_of_the_pictures_are_mirrored_left_to_right() -> None:
    generator = Random(0)
    picture = coordinates(2, 3)
    mirrored = torch.tensor([[[0, 0, 0], [1, 1, 1]], [[2, 1, 0], [2, 1, 0]]])
    drawn = [geometry.random_flip(picture, generator) for _ in range(1000)]
    flips = sum(torch.equal(one, mirrored) for one in drawn)
    assert flips + sum(torch.equal(one, picture) for one in drawn) == 1000
    assert 440 < flips < 560  # 3.8 standard deviations around 500


def test_the_same_generator_gives_the_same_geometry() -> None:
    def draw(seed: int) -> list[Tensor]:
        generator = Random(seed)
        return [
            geometry.random_flip(geometry.random_crop(coordinates(9, 9), (4, 4), generator), generator)
            for _ in range(20)
        ]

    assert all(torch.equal(one, other) for one, other in zip(draw(1), draw(1), strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(draw(1), draw(2), strict=True))


@settings(deadline=None, derandomize=True, max_examples=150)
@given(height=SIDES, width=SIDES, stride=st.integers(1, 64))
def test_padding_can_be_cut_back_whatever_the_size(height: int, width: int, stride: int) -> None:
    picture = coordinates(height, width).float()[None]
    padded = geometry.pad_to_stride(picture, stride)
    assert padded.shape[-2] % stride == padded.shape[-1] % stride == 0
    assert padded.shape[-2] - height < stride  # no more than is needed
    assert padded.shape[-1] - width < stride
    assert torch.equal(geometry.cut_back(padded, height, width), picture)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(height=SIDES, width=SIDES, stride=st.integers(1, 64))
def test_padding_is_numpys_reflection(height: int, width: int, stride: int) -> None:
    picture = np.random.default_rng(0).normal(size=(1, 2, height, width)).astype(np.float32)
    extra = [-side % stride for side in (height, width)]
    around = [(0, 0), (0, 0), *((more // 2, more - more // 2) for more in extra)]
    want = np.pad(picture, around, mode="reflect")
    np.testing.assert_array_equal(geometry.pad_to_stride(torch.from_numpy(picture), stride).numpy(), want)


# ---- 16 bits and label maps


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.integers(1, 6), bits=st.sampled_from([8, 16]), seed=st.integers(0, 99),
)  # fmt: skip
@example(height=28, width=1, target=(23, 1), channels=1, bits=8, seed=0)  # a centre on the seam of two pixels
def test_label_maps_are_never_interpolated(
    height: int, width: int, target: tuple[int, int], channels: int, bits: int, seed: int
) -> None:
    kind = np.uint8 if bits == 8 else np.uint16
    classes = np.array([3, 200, 77] if bits == 8 else [3, 60000, 777], kind)
    values = classes[np.random.default_rng(seed).integers(0, 3, (channels, height, width))]
    resized = geometry.resize(torch.from_numpy(values), *target, "labels")
    assert (resized.shape, resized.dtype) == ((channels, *target), torch.from_numpy(values).dtype)
    rows, columns = (  # the pixel under the middle of each new one
        np.minimum((np.arange(new) * 2 + 1) * old // (2 * new), old - 1)
        for new, old in zip(target, (height, width), strict=True)
    )
    np.testing.assert_array_equal(resized.numpy(), values[:, rows][:, :, columns])


def test_pictures_are_interpolated_where_label_maps_are_not() -> None:
    step = torch.tensor([[[0, 0, 255, 255]]], dtype=torch.uint8).expand(1, 4, 4)
    assert len(set(geometry.resize(step, 9, 9).flatten().tolist())) > 2
    assert set(geometry.resize(step, 9, 9, "labels").flatten().tolist()) == {0, 255}


@given(channels=st.integers(1, 6), target=st.tuples(st.integers(2, 30), st.integers(2, 30)), seed=st.integers(0, 99))
def test_16_bits_are_resized_with_all_their_bits(channels: int, target: tuple[int, int], seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 65536, (channels, 12, 17)).astype(np.uint16)
    resized = geometry.resize(torch.from_numpy(values), *target)
    assert resized.dtype == torch.uint16
    exact = geometry.resize(torch.from_numpy(values.astype(np.float64)), *target).clamp(0, 65535)
    assert float((resized.double() - exact).abs().max()) < 0.6  # rounding, and that of float32


@given(seed=st.integers(0, 999), channels=st.integers(1, 6), size=st.integers(1, 9))
def test_16_bits_are_cropped_flipped_and_joined_as_8_bits_are(seed: int, channels: int, size: int) -> None:
    values = np.random.default_rng(seed).integers(0, 65536, (9, 11, channels)).astype(np.uint16)
    deep = torch.from_numpy(values).permute(2, 0, 1)  # channels lie together, as decoders leave them
    wide = deep.int()
    moved = []
    for picture in (deep, wide):
        generator = Random(seed)
        moved.append(geometry.random_flip(geometry.random_crop(picture, (size, size), generator), generator))
    assert moved[0].dtype == torch.uint16
    assert torch.equal(moved[0].int(), moved[1])
    joined = geometry.join([moved[0], moved[0][:1]])
    assert joined.is_contiguous()
    assert torch.equal(joined.int(), torch.cat([moved[1], moved[1][:1]]))
