"""Label maps are told from all other pictures, and their colours are found again, through JPEG and resizing."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from diptych.data.builtin import facades, shapes
from diptych.images import geometry
from diptych.images.files import decode, from_image, to_bytes
from diptych.images.label_maps import APART, classes_of, palette_of
from diptych.prepare.edges import draw

SIDE = 64


def tensor(picture: Image.Image) -> Tensor:
    return to_bytes(from_image(picture), 3)


def as_jpeg(picture: Tensor, quality: int) -> Tensor:
    file = BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
    return tensor(Image.open(file))


def colours(palette: Tensor | None) -> set[tuple[int, ...]]:
    assert palette is not None
    return {tuple(colour) for colour in palette.tolist()}


@pytest.fixture(scope="module")
def houses() -> list[tuple[Tensor, Tensor]]:
    return [(tensor(photo), tensor(labels)) for photo, labels in (facades.draw_pair(n, SIDE) for n in range(12))]


def test_the_built_in_facades_have_the_colours_they_were_drawn_in(houses: list[tuple[Tensor, Tensor]]) -> None:
    maps = [labels for _, labels in houses]
    palette = palette_of(maps)
    assert colours(palette) == set(facades.LABELS.values())
    assert palette is not None
    assert palette.dtype == torch.uint8
    number = {tuple(colour): number for number, colour in enumerate(palette.tolist())}
    want = [[number[tuple(pixel)] for pixel in labels.permute(1, 2, 0).reshape(-1, 3).tolist()] for labels in maps]
    assert classes_of(torch.stack(maps), palette).flatten(1).tolist() == want
    again = palette_of(maps[::-1])
    assert again is not None
    assert torch.equal(again, palette)


@pytest.mark.parametrize("quality", [75, 95])
def test_jpeg_and_resizing_add_no_colours(quality: int) -> None:
    """As pix2pix's own facades come: JPEG with its colours at half the size, made smaller for training."""
    large = [tensor(facades.draw_pair(number, 256)[1]) for number in range(12)]
    palette = palette_of(geometry.resize(as_jpeg(labels, quality), 128, 128) for labels in large)
    assert palette is not None
    true = torch.tensor(list(facades.LABELS.values()))
    away = (palette.int()[:, None] - true).abs().amax(dim=2)
    assert sorted(away.argmin(dim=1).tolist()) == list(range(len(true)))
    assert away.min(dim=1).values.max() <= 12  # a cornice is four pixels high, of which JPEG colours two blocks


NOT: dict[str, Callable[[Tensor], Tensor]] = {
    "photographs": lambda photo: photo,
    "grey photographs": lambda photo: photo.float().mean(0, keepdim=True).byte(),
    "grey photographs as colour": lambda photo: photo.float().mean(0, keepdim=True).byte().expand(3, -1, -1),
    "photographs of much contrast": lambda photo: (2 * photo.int() - 128).clamp(0, 255).byte(),
    "photographs between bars": lambda photo: torch.cat(
        [torch.zeros_like(photo[:, :, :12]), photo[:, :, 12:52], torch.full_like(photo[:, :, 52:], 255)], dim=2
    ),
    "photographs on white": lambda photo: torch.where(disc(), photo, 255).byte(),
    "line drawings": lambda photo: torch.from_numpy(draw(photo.permute(1, 2, 0).contiguous().numpy(), 1, 1, 5))[None],
}


def disc() -> Tensor:
    away = torch.linspace(-1, 1, SIDE) ** 2
    return away[:, None] + away < 0.4


@pytest.mark.parametrize("kind", NOT)
def test_what_is_no_label_map(kind: str, houses: list[tuple[Tensor, Tensor]]) -> None:
    drawn = [tensor(shapes.draw(number, SIDE)[1]) for number in range(12)]
    for photos in ([photo for photo, _ in houses], drawn):
        assert palette_of(NOT[kind](photo) for photo in photos) is None


def test_two_colours_are_a_mask_and_three_are_classes(houses: list[tuple[Tensor, Tensor]]) -> None:
    maps = [labels for _, labels in houses]
    masks = [(labels[2] > 127).byte()[None] * 255 for labels in maps]
    assert palette_of(masks) is None
    assert palette_of([]) is None
    levels = [100 * (labels[:1] > 127).byte() + 200 * (labels[2:] > 200).byte() for labels in maps]
    assert colours(palette_of(levels)) == {(0,), (100,), (200,)}


def test_where_a_colour_drifts_is_no_class() -> None:
    flat = torch.tensor([10, 100, 240]).repeat_interleave(30).expand(90, -1).clone()
    flat[:90, 80:] = torch.arange(130, 220)[:, None]  # a level a row: a tenth of the picture, even and of no one colour
    assert colours(palette_of([flat.byte()[None]] + 9 * [flat.byte()[None, :, :80]])) == {(10,), (100,), (240,)}
    assert palette_of([flat.byte()[None]]) is None


def test_a_few_even_places_in_noise_are_no_classes() -> None:
    noise = torch.randint(0, 256, (3, 24, 24), generator=torch.Generator().manual_seed(0)).byte()
    for number in range(3):
        noise[:, 6 * number : 6 * number + 2, :2] = 100 * number
    assert palette_of([noise]) is None


def test_a_colour_between_two_levels_is_the_nearer_one() -> None:
    flat = torch.tensor([10, 100, 200]).repeat_interleave(20).expand(60, -1).clone()
    flat[::4] -= 1
    assert colours(palette_of([flat.byte()[None]])) == {(10,), (100,), (200,)}


def test_classes_of_neighbouring_numbers_are_no_colours() -> None:
    """Maps that hold class numbers, 0, 1, 2 ..., look black; that is said in the documentation."""
    numbers = torch.arange(6).repeat_interleave(8).byte().expand(1, 48, 48)
    assert palette_of([numbers]) is None
    assert palette_of([numbers * 40]) is not None


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=3, max_size=12, unique=True),
    st.integers(0, 3),
    st.integers(0, 2**31),
)
def test_any_colours_that_are_apart_are_found_through_noise(
    given_colours: list[tuple[int, ...]], noise: int, seed: int
) -> None:
    chosen = list[tuple[int, ...]]()
    for colour in given_colours:
        if all(max(abs(a - b) for a, b in zip(colour, one, strict=True)) >= APART + 2 * noise for one in chosen):
            chosen.append(colour)
    generator = np.random.default_rng(seed)
    blocks = generator.permutation(np.arange(64) % len(chosen)).reshape(8, 8)  # each colour is there
    true = torch.from_numpy(blocks.repeat(8, 0).repeat(8, 1))
    clean = torch.tensor(chosen)[true].permute(2, 0, 1)
    grain = torch.from_numpy(generator.integers(-noise, noise + 1, clean.shape))
    noisy = (clean + grain).clamp(0, 255).byte()
    palette = palette_of([noisy])
    if len(chosen) < 3:
        assert palette is None
        return
    assert palette is not None
    assert len(palette) == len(chosen)
    away = (palette.int()[:, None] - torch.tensor(chosen)).abs().amax(2)
    number, of_palette = away.argmin(1), away.min(1).values
    assert of_palette.max() <= noise
    assert torch.equal(number[classes_of(noisy[None], palette)[0]], true)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31))
def test_the_nearest_colour(channels: int, count: int, height: int, width: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    maps = generator.integers(0, 256, (2, channels, height, width))
    palette = generator.integers(0, 256, (count, channels))
    distances = ((maps[:, None] - palette[None, :, :, None, None]) ** 2).sum(2)
    found = classes_of(torch.from_numpy(maps).byte(), torch.from_numpy(palette).byte())
    assert found.shape == (2, height, width)
    assert found.dtype == torch.int64
    assert np.array_equal(np.take_along_axis(distances, found.numpy()[:, None], 1)[:, 0], distances.min(1))


Read = Callable[[str, int], list[Tensor]]


@pytest.fixture
def halves(research_pictures: Path) -> Read:
    """One half of some of the pairs of a research set, as training sees them."""

    def call(name: str, half: int) -> list[Tensor]:
        found = []
        for path in sorted((research_pictures / name).iterdir())[:60]:
            both = to_bytes(decode(path), 3)
            width = both.shape[2] // 2
            found.append(geometry.resize(both[:, :, half * width : (half + 1) * width], 128, 128))
        return found

    return call


def test_the_research_facades_have_twelve_classes(halves: Read) -> None:
    palette = palette_of(halves("facades/train", 1))
    assert palette is not None
    assert len(palette) == 12
    assert palette_of(halves("facades/train", 0)) is None


def test_street_maps_and_aerial_photographs_are_no_label_maps(halves: Read) -> None:
    assert palette_of(halves("maps/val", 1)) is None
    assert palette_of(halves("maps/val", 0)) is None
