"""Normalisation and initialisation as the paper has them."""

from typing import Literal

import pytest
import torch
from torch import nn

from diptych.networks.layers import BatchNorm, initialise, measured_statistics, normalise_spectrum, upsample
from diptych.networks.patchgan import PatchGAN
from diptych.networks.unet import UNet


def test_initialisation() -> None:
    # 001-5: N(0, 0.02) for convolutions, N(1, 0.02) for norm scales (003's slip: N(0, 0.02)), biases 0
    torch.manual_seed(0)
    for network in (
        UNet(3, 3, size=64, width=16),
        PatchGAN(3, width=32),
        UNet(3, 3, size=64, width=16, norm="affine-instance"),
    ):
        initialise(network)
        convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        weights = torch.cat([m.weight.detach().flatten() for m in convolutions])
        scales = torch.cat(
            [m.weight.detach() for m in network.modules() if isinstance(m, nn.BatchNorm2d | nn.InstanceNorm2d)]
        )
        assert weights.mean().item() == pytest.approx(0, abs=5e-4)
        assert weights.std().item() == pytest.approx(0.02, rel=0.02)
        assert scales.mean().item() == pytest.approx(1, abs=5e-3)
        assert scales.std().item() == pytest.approx(0.02, rel=0.2)
        biases = [p.detach() for name, p in network.named_parameters() if name.endswith(".bias")]
        assert biases
        assert not torch.cat(biases).any()


def test_batch_norm_translates_a_picture_alone() -> None:
    """What a picture becomes must not depend on the pictures translated beside it (pix2pix, section 3.4)."""
    layer = BatchNorm(4)
    nn.init.uniform_(layer.weight)
    nn.init.uniform_(layer.bias)
    pictures = torch.randn(3, 4, 8, 8)
    alone = torch.cat([layer.train()(picture[None]) for picture in pictures])
    together = layer.eval()(pictures)
    assert torch.allclose(alone, together, atol=1e-6)


def test_measured_statistics_are_averages_over_batches() -> None:
    """torch's own batch norm without momentum is the truth, and a picture is translated by nothing of its own."""
    ours, theirs = BatchNorm(4, "running"), nn.BatchNorm2d(4, momentum=None)
    with measured_statistics(ours.eval()):
        for batch in torch.randn(5, 3, 4, 8, 8) * 3 + 1:
            assert torch.allclose(ours(batch), theirs.train()(batch), atol=1e-6)
    picture = torch.randn(1, 4, 8, 8)
    alone = ours.eval()(picture)
    assert torch.allclose(alone, theirs.eval()(picture), atol=1e-6)
    assert torch.allclose(alone[..., :4], ours(picture[..., :4]), atol=1e-6)
    assert not torch.allclose(alone, BatchNorm(4).eval()(picture), atol=0.1)


def test_a_spectral_norm_is_one() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 4), nn.LeakyReLU(0.2), nn.Conv2d(8, 5, 3))
    normalise_spectrum(network)
    for _ in range(100):  # each forward pass is a step of the power iteration
        network(torch.zeros(1, 3, 8, 8))
    convolutions = [layer for layer in network if isinstance(layer, nn.Conv2d)]
    assert [torch.linalg.matrix_norm(conv.weight.flatten(1), ord=2).item() for conv in convolutions] == [
        pytest.approx(1, rel=1e-3)
    ] * 2


@pytest.mark.parametrize("kernel_size", [3, 4])
@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_upsampling_doubles(upsampling: str, kernel_size: Literal[3, 4]) -> None:
    layer = upsample(2, 5, upsampling, True, kernel_size)  # type: ignore[arg-type]
    assert layer(torch.zeros(1, 2, 7, 4)).shape == (1, 5, 14, 8)


def test_resize_upsampling_leaves_no_checkerboard() -> None:
    """A flat map stays flat away from the border; a transposed convolution prints its kernel on it."""
    torch.manual_seed(0)
    flat = torch.ones(1, 4, 8, 8)
    inner = slice(4, -4)
    spread = {
        kind: upsample(4, 1, kind, bias=False)(flat)[0, 0, inner, inner].std().item()
        for kind in ("transposed", "resize")
    }
    assert spread["resize"] < 1e-6 < spread["transposed"]
