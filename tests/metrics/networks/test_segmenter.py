"""A class for every pixel, of pictures of any size, each by itself."""

import pytest
import torch

from diptych.metrics.networks.segmenter import WIDTHS, Segmenter


@pytest.mark.parametrize(("height", "width"), [(16, 16), (64, 32), (48, 80), (50, 37)])
def test_logits_for_every_pixel(height: int, width: int) -> None:
    assert Segmenter(1, classes=5)(torch.randn(2, 1, height, width)).shape == (2, 5, height, width)


def test_every_part_is_used() -> None:
    network = Segmenter(3, classes=4)
    network(torch.randn(2, 3, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_what_it_says_of_a_picture_depends_on_nothing_beside_it() -> None:
    torch.manual_seed(0)
    network, x = Segmenter(3, classes=4).eval(), torch.randn(3, 3, 32, 32)
    assert torch.allclose(network(x)[:1], network(x[:1]), atol=1e-5)


def test_a_pixel_is_told_by_what_lies_far_around_it() -> None:
    """As far as two steps of the smallest map to each side: of 16 pixels each, or what 3x3 kernels reach."""
    torch.manual_seed(0)
    network, x = Segmenter(1, classes=2).eval(), torch.randn(1, 1, 160, 160)
    x.requires_grad_()
    network(x)[0, 0, 80, 80].backward()
    assert x.grad is not None
    rows = x.grad[0, 0].abs().sum(dim=1).nonzero().flatten()
    assert rows.min() <= 80 - 32
    assert rows.max() >= 80 + 32


def test_it_is_small() -> None:
    assert sum(p.numel() for p in Segmenter(3, classes=12).parameters()) < 500_000
    assert len(WIDTHS) == 4
