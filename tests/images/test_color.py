"""Lab against scikit-image, colours that RGB cannot show, rounding that spares the lightness, edges."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import lab2rgb, rgb2lab
from torch import Tensor

from diptych.images import color
from diptych.images.files import from_bytes

HALF_A_LEVEL = 100 / 255 / 2  # of L*


def cube(step: int) -> Tensor:
    """RGB at every `step`th level of each channel, the last included: `[3, H, W]` in [-1, 1]."""
    levels = torch.tensor([*range(0, 255, step), 255], dtype=torch.uint8)
    colours = torch.cartesian_prod(levels, levels, levels).T
    return from_bytes(colours.reshape(3, len(levels), -1))


def stars(picture: Tensor) -> Tensor:
    """L*, a*, b* `[3, H, W]` in their own units."""
    L, ab = color.to_lab(picture)
    return torch.cat([(L + 1) * 50, ab * color.AB_RANGE])


def by_skimage(picture: Tensor) -> Tensor:
    return torch.from_numpy(np.moveaxis(rgb2lab((picture.double().numpy() + 1) / 2, channel_axis=0), 0, 0))


def test_lab_is_that_of_scikit_image_over_the_cube() -> None:
    picture = cube(5)
    assert (stars(picture) - by_skimage(picture)).abs().max() < 1e-3


def test_from_lab_is_that_of_scikit_image() -> None:
    picture = cube(15)
    lab = by_skimage(picture)
    ours = color.from_lab((lab[:1] / 50 - 1).float(), (lab[1:] / color.AB_RANGE).float())
    theirs = torch.from_numpy(lab2rgb(lab.numpy(), channel_axis=0)) * 2 - 1
    assert (ours - theirs).abs().max() < 1e-3


def test_round_trip_over_the_cube() -> None:
    picture = cube(5)
    assert (color.from_lab(*color.to_lab(picture)) - picture).abs().max() * 127.5 < 0.5


def test_ranges() -> None:
    """What D and the tanh of G can hold."""
    L, ab = color.to_lab(cube(15))
    assert [L.min().item(), L.max().item()] == pytest.approx([-1, 1], abs=1e-4)
    assert 0.9 < ab.abs().max() < 1


def test_half_precision_around_it_changes_nothing() -> None:
    """Training in bf16 would round colours to whole steps of the eye."""
    picture = cube(51)
    for function in (color.to_lab, color.to_grey):
        with torch.autocast("cpu", torch.bfloat16):
            inside = function(picture)
        assert all(map(torch.equal, inside, function(picture)))
    L, ab = color.to_lab(picture)
    with torch.autocast("cpu", torch.bfloat16):
        back = color.from_lab(L, ab)
    assert torch.equal(back, color.from_lab(L, ab))


unit = st.floats(-1, 1, width=32)


@given(unit, unit, unit)
def test_chroma_gives_way_and_never_the_lightness(L: float, a: float, b: float) -> None:
    asked = torch.tensor([a, b]).view(2, 1, 1)
    picture = color.from_lab(torch.full((1, 1, 1), L), asked)
    assert picture.min() >= -1
    assert picture.max() <= 1
    shown_L, shown = color.to_lab(picture)
    assert shown_L.item() == pytest.approx(L, abs=1e-4)
    assert shown.norm() <= asked.norm() * 1.25 + 1e-3  # a straight line in light is bent in Lab, a little
    assert picture.std(dim=0, correction=0) < 1e-3 or torch.cosine_similarity(shown, asked, dim=0).min() > 0.3


def test_colours_that_can_be_shown_are_left_alone() -> None:
    """The most colourful ones there are, whose chroma has no room to spare."""
    for corner in cube(255).flatten(1).T:
        picture = corner.view(3, 1, 1)
        assert (color.from_lab(*color.to_lab(picture)) - picture).abs().max() * 127.5 < 0.5


def test_asked_for_too_much_the_most_is_given() -> None:
    """Chroma goes down to what RGB holds and no further: one channel at least is at its end."""
    picture = color.from_lab(torch.zeros(1, 1, 1), torch.tensor([0.9, 0.9]).view(2, 1, 1))
    assert picture.abs().max() > 1 - 1e-4


def test_rounding_spares_the_lightness() -> None:
    """Over random colours and over the edges of the cube, where rounding to the nearest level is worst."""
    generator = torch.Generator().manual_seed(0)
    inside = torch.rand(3, 100, 1000, generator=generator) * 2 - 1
    dark = inside * 0.2 - 0.8
    bright = inside.clone()
    bright[0] = 1
    green = torch.full((3, 1, 20_000), -1.0)
    green[1] = torch.linspace(-1, 1, 20_000)
    for picture in (inside, dark, bright, green):
        rounded = color.round_keeping_lightness(picture, 255)
        assert (stars(rounded) - stars(picture))[0].abs().max() < HALF_A_LEVEL
        levels = (rounded + 1) * 127.5
        assert (levels - levels.round()).abs().max() < 1e-3
        assert (levels.round().min() >= 0) & (levels.round().max() <= 255)
        assert ((rounded - picture).abs().max() * 127.5) < 1.001
    nearest = (((dark + 1) * 127.5).round() / 127.5) - 1
    assert (stars(nearest) - stars(dark))[0].abs().max() > HALF_A_LEVEL  # what it is for


def test_rounding_leaves_levels_alone() -> None:
    picture = cube(17)
    assert (color.round_keeping_lightness(picture, 255) - picture).abs().max() < 1e-6


def test_16_bits_are_finer() -> None:
    picture = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rounded = color.round_keeping_lightness(picture, 65535)
    assert ((rounded - picture).abs().max() * 65535 / 2) < 1.1


def test_to_grey() -> None:
    picture = cube(51)
    grey = color.to_grey(picture)
    assert grey.shape == picture.shape
    assert torch.equal(grey[0], grey[1])
    assert torch.equal(grey[0], grey[2])
    assert (stars(grey) - stars(picture))[0].abs().max() < 1e-3


# ---- enlarging colour


def disc(size: int) -> Tensor:
    """A bright orange disc on a dark blue ground, drawn at four times the size."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 4 * size)] * 2, indexing="ij")
    inside = (x.square() + y.square() < 0.4).float()
    orange, blue = torch.tensor([0.9, 0.3, -0.5]).view(3, 1, 1), torch.tensor([-0.8, -0.6, 0.2]).view(3, 1, 1)
    return F.avg_pool2d(orange * inside + blue * (1 - inside), 4)


def test_colour_keeps_to_the_edges_of_the_large_picture() -> None:
    large = disc(256)
    small = F.interpolate(large[None], size=(32, 32), mode="bicubic", antialias=True)[0]
    (L, ab), (small_L, small_ab) = color.to_lab(large), color.to_lab(small)
    plain = F.interpolate(small_ab[None], size=(256, 256), mode="bicubic")[0]
    spread = color.spread(small_ab, small_L, 256)(L, slice(None))
    assert spread.shape == ab.shape
    assert (spread - ab).abs().mean() < 0.6 * (plain - ab).abs().mean()


def test_one_colour_stays_one_colour() -> None:
    """However the lightness goes up and down, and however small the small picture is."""
    L = torch.rand(1, 50, 70, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for height, width in ((1, 1), (1, 9), (10, 14)):
        small_L = F.interpolate(L[None], size=(height, width), mode="bicubic", antialias=True)[0]
        spread = color.spread(torch.full((2, height, width), 0.25), small_L, 50)(L, slice(None))
        assert spread.shape == (2, 50, 70)
        assert (spread - 0.25).abs().max() < 1e-4


def test_of_its_own_size_the_colour_is_as_it_was() -> None:
    L, ab = color.to_lab(disc(32))
    assert (color.spread(ab, L, 32)(L, slice(None)) - ab).abs().max() < 1e-5


# ---- how much colour


def test_colourfulness_by_hand() -> None:
    """Half red, half blue: rg is 255 or 0, yb 127.5 or -255; deviations 127.5 and 191.25, means 127.5 and -63.75."""
    picture = torch.full((1, 3, 2, 2), -1.0)
    picture[:, 0, 0], picture[:, 2, 1] = 1, 1
    expected = np.hypot(127.5, 191.25) + 0.3 * np.hypot(127.5, 63.75)
    assert color.colourfulness(picture).tolist() == [pytest.approx(expected)]
    assert color.colourfulness(torch.cat([picture, torch.zeros_like(picture)]))[1] == 0


@pytest.mark.parametrize(
    ("coloured", "noise", "grey"),
    [(0, 0, True), (0, 4, True), (3, 4, True), (6, 0, False), (400, 0, False)],
)
def test_what_is_taken_for_grey(coloured: int, noise: int, grey: bool) -> None:
    """Compression noise does not make a picture coloured, a coloured hundredth of it does."""
    generator = torch.Generator().manual_seed(0)
    picture = torch.randint(8, 240, (1, 20, 20), generator=generator).expand(3, -1, -1).clone()
    picture += torch.randint(-noise, noise + 1, picture.shape, generator=generator)
    picture.view(3, -1)[:, :coloured] = torch.tensor([[120], [100], [100]])
    assert color.is_grey(picture.to(torch.uint8)) is grey
