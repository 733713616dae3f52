"""The context discriminators: the paper's table 2, and no frozen shape."""

import pytest
import torch
from torch import nn

from diptych.networks.context_discriminator import ContextDiscriminator


def outputs(eye: nn.Sequential) -> list[int]:
    for layer in eye:
        if isinstance(layer, nn.Conv2d):
            assert (layer.kernel_size, layer.stride) == ((5, 5), (2, 2))
    return [layer.out_channels for layer in eye if isinstance(layer, nn.Conv2d)]


def test_the_papers_tables_2a_and_2b() -> None:
    with torch.device("meta"):
        D = ContextDiscriminator(3, size=(256, 256), window=128)
    assert outputs(D.whole) == [64, 128, 256, 512, 512, 512]
    assert outputs(D.local) == [64, 128, 256, 512, 512]
    for eye in (D.whole, D.local):
        [linear] = [layer for layer in eye if isinstance(layer, nn.Linear)]
        assert (linear.in_features, linear.out_features) == (4 * 4 * 512, 1024)
    assert (D.together.in_features, D.together.out_features) == (2048, 1)


@pytest.mark.parametrize(
    ("size", "sides"), [(64, (4, 4)), (128, (4, 4)), (160, (5, 5)), (256, (4, 4)), (36, (5, 5)), (100, (4, 4))]
)
def test_every_size_ends_in_about_4_by_4(size: int, sides: tuple[int, int]) -> None:
    D = ContextDiscriminator(3, size=(size, size), window=size // 2, width=2)
    for eye, side, pixels in zip((D.whole, D.local), sides, (size, size // 2), strict=True):
        maps = eye[:-3](torch.rand(2, 3, pixels, pixels))  # before they are laid in a row
        assert maps.shape[-2:] == (side, side)
    assert D(torch.rand(2, 3, size, size), torch.rand(2, 3, size // 2, size // 2)).shape == (2, 1)


@pytest.mark.parametrize("size", [(32, 64), (96, 36), (128, 256)])
def test_the_shorter_side_of_a_rectangle_ends_in_about_4_pixels(size: tuple[int, int]) -> None:
    window = min(size) // 2
    D = ContextDiscriminator(3, size=size, window=window, width=1)
    maps = D.whole[:-3](torch.rand(2, 3, *size))
    assert 4 <= min(maps.shape[-2:]) <= 5
    assert D(torch.rand(2, 3, *size), torch.rand(2, 3, window, window)).shape == (2, 1)


def test_both_eyes_count() -> None:
    D = ContextDiscriminator(3, size=(32, 32), window=16, width=4).eval()
    x, window = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 16, 16)
    logit = D(x, window)
    assert not torch.equal(D(x.flip(-1), window), logit)
    assert not torch.equal(D(x, window.flip(-1)), logit)
