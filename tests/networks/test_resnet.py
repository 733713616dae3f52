"""The residual generator of CycleGAN (REQUIREMENTS 001-1)."""

import pytest
import torch
from torch import nn

from diptych.networks.resnet import STRIDE, ResNet


def test_parameter_counts() -> None:
    # 9 blocks: the authors' 11.378 M; each block has two 3x3 convolutions of 256 channels, with biases
    count = {blocks: sum(p.numel() for p in ResNet(3, 3, blocks=blocks).parameters()) for blocks in (6, 9)}
    assert count[9] == 11_378_179
    assert count[9] - count[6] == 3 * 2 * (256 * 256 * 9 + 256)


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize("norm", ["instance", "affine-instance", "batch", "none"])
def test_any_multiple_of_eight(norm: str, upsampling: str) -> None:
    network = ResNet(1, 3, blocks=1, width=2, norm=norm, upsampling=upsampling)  # type: ignore[arg-type]
    for height, width in ((STRIDE, STRIDE), (24, 40), (64, 8)):
        y = network(torch.rand(1, 1, height, width))
        assert y.shape == (1, 3, height, width)
        assert y.isfinite().all()
        assert y.abs().max() <= 1


def test_borders_are_reflected() -> None:
    """A flat picture stays flat up to its border, where zeros beyond it would leave a frame."""
    torch.manual_seed(0)
    network = ResNet(3, 3, blocks=2, width=4, norm="none", upsampling="resize")
    flat = torch.full((1, 3, 32, 32), 0.5)
    framed = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros"]
    assert {layer.stride for layer in framed} <= {(2, 2), (1, 1)}
    first, blocks = network.layers[0], [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert first(flat).std(dim=(2, 3)).max() < 1e-6
    reflected = [layer for layer in blocks if layer.padding_mode == "reflect"]
    assert len(reflected) == 2 + 2 * 2  # the first, the last, and two in each block
    for layer in reflected:
        value = torch.full((1, layer.in_channels, 16, 16), 0.3)
        assert layer(value).std(dim=(2, 3)).max() < 1e-6


def test_a_block_adds_to_what_it_was_given() -> None:
    network = ResNet(3, 3, blocks=1, width=2)
    [block] = [layer for layer in network.modules() if type(layer).__name__ == "ResidualBlock"]
    nn.init.zeros_(block.layers[-2].weight)  # type: ignore[union-attr, index]
    x = torch.randn(1, 8, 8, 8)
    assert torch.allclose(block(x), x, atol=1e-6)


def test_dropout_is_one_half_in_each_block() -> None:
    assert not [layer for layer in ResNet(3, 3, width=1).modules() if isinstance(layer, nn.Dropout)]
    drops = [
        layer for layer in ResNet(3, 3, blocks=6, width=1, dropout=True).modules() if isinstance(layer, nn.Dropout)
    ]
    assert [layer.p for layer in drops] == [0.5] * 6


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize("blocks", [1, 6])
def test_its_stages_one_after_the_other_are_the_network(blocks: int, upsampling: str) -> None:
    network = ResNet(3, 1, blocks=blocks, width=4, dropout=True, upsampling=upsampling).eval()  # type: ignore[arg-type]
    assert list(network.stages) == [
        *("stem", "down1", "down2"),
        *(f"block{number}" for number in range(1, blocks + 1)),
        *("up1", "up2", "out"),
    ]
    x = torch.rand(2, 3, 16, 24)
    y = x
    shapes = {}
    for name, stage in network.stages.items():
        y = stage(y)
        shapes[name] = tuple(y.shape[1:])
    assert torch.equal(y, network(x))
    assert (shapes["stem"], shapes["down1"], shapes["down2"]) == ((4, 16, 24), (8, 8, 12), (16, 4, 6))
    assert (shapes["block1"], shapes["up1"], shapes["up2"], shapes["out"]) == (
        (16, 4, 6),
        (8, 8, 12),
        (4, 16, 24),
        (1, 16, 24),
    )


def test_stages_share_the_weights_of_the_network() -> None:
    network = ResNet(3, 3, blocks=2, width=2)
    of_stages = [p for stage in network.stages.values() for p in stage.parameters()]
    assert [id(p) for p in of_stages] == [id(p) for p in network.parameters()]
    assert not [name for name in network.state_dict() if not name.startswith("layers.")]  # saved once
