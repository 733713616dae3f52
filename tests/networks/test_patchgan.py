"""The PatchGAN judges patches of the size it says."""

import pytest
import torch

from diptych.images.size import Size
from diptych.networks import DISCRIMINATORS
from diptych.networks.patchgan import PatchGAN, smallest_picture


def test_there_are_four_of_them() -> None:
    assert list(DISCRIMINATORS) == [1, 16, 70, 286]


@pytest.mark.parametrize("patch", DISCRIMINATORS)
def test_receptive_field_by_gradients(patch: int) -> None:
    size = 448
    network = DISCRIMINATORS[patch].build(1, width=1, norm="none").double()
    for p in network.parameters():  # positive weights: no path cancels another
        torch.nn.init.uniform_(p, 0.1, 1.0)
    x = torch.ones(1, 1, size, size, dtype=torch.double, requires_grad=True)
    y = network(x)
    y[0, 0, y.shape[2] // 2, y.shape[3] // 2].backward()
    assert x.grad is not None
    seen = x.grad[0, 0].abs() > 0
    assert int(seen.any(0).sum()) == patch
    assert int(seen.any(1).sum()) == patch


def test_map_of_30_at_256() -> None:
    assert PatchGAN(6, width=1)(torch.zeros(1, 6, 256, 256)).shape == (1, 1, 30, 30)


def test_parameter_counts() -> None:
    # REQUIREMENTS 001-2 (three channels, instance norm), and the authors' 2.769 M for pix2pix (six, batch norm)
    assert sum(p.numel() for p in PatchGAN(3, norm="instance").parameters()) == 2_764_737
    assert sum(p.numel() for p in PatchGAN(6, norm="batch").parameters()) == 2_768_705


@pytest.mark.parametrize("patch", DISCRIMINATORS)
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_smallest_picture_is_enough(patch: int, norm: str) -> None:
    side = smallest_picture(patch)
    DISCRIMINATORS[patch].require_size(Size.square(side))
    with pytest.raises(ValueError, match=f"--method.patch {patch}: .*--size is {side - 1}"):
        DISCRIMINATORS[patch].require_size(Size.square(side - 1))
    network = PatchGAN(3, patch=patch, width=1, norm=norm)  # type: ignore[arg-type]
    y = network(torch.randn(1, 3, side, side))
    assert y.shape[2] >= 2
    assert torch.isfinite(y).all()
