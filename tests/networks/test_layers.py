"""Normalisation and initialisation as the paper has them."""

from typing import Literal

import pytest
import torch
from torch import nn

from diptych.networks.layers import BatchNorm, initialise, upsample
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
