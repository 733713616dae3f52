"""The Inception of Fréchet distances is TensorFlow's graph of 2015-12-05, by what is known of it from outside."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from diptych.metrics.networks.inception import Inception, trained


@pytest.fixture(scope="module")
def network() -> Inception:
    """Random weights, under which nothing dies out on the way."""
    network = Inception()
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            fan_in = layer.weight[0].numel()
            nn.init.normal_(layer.weight, 0, (2 / fan_in) ** 0.5, generator=generator)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, 0, 0.1, generator=generator)  # type: ignore[arg-type]
    return network.eval()


def test_number_of_parameters_is_torchvisions(network: Inception) -> None:
    """torchvision says 27,161,264 of its inception_v3: with an auxiliary classifier, and a linear layer for 1000 classes."""
    convolutions = 768 * 128 + 2 * 128 + 128 * 768 * 25 + 2 * 768
    auxiliary = convolutions + 768 * 1000 + 1000
    assert sum(p.numel() for p in network.parameters()) == 27_161_264 - auxiliary - (2048 * 1000 + 1000)


def test_names_and_shapes_are_those_of_the_port(network: Inception) -> None:
    """94 convolutions, each with five tensors of a batch normalisation: 564, and with the linear layer the file's 566."""
    state = network.state_dict()
    assert len(state) == 564
    known = {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Conv2d_4a_3x3.bn.running_var": (192,),
        "Mixed_5b.branch5x5_2.conv.weight": (64, 48, 5, 5),
        "Mixed_5b.branch_pool.conv.weight": (32, 192, 1, 1),
        "Mixed_5c.branch_pool.conv.weight": (64, 256, 1, 1),
        "Mixed_6a.branch3x3.conv.weight": (384, 288, 3, 3),
        "Mixed_6b.branch7x7_2.conv.weight": (128, 128, 1, 7),
        "Mixed_6c.branch7x7dbl_2.conv.weight": (160, 160, 7, 1),
        "Mixed_6e.branch7x7dbl_5.conv.weight": (192, 192, 1, 7),
        "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3),
        "Mixed_7b.branch3x3_2a.conv.weight": (384, 384, 1, 3),
        "Mixed_7b.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
        "Mixed_7c.branch1x1.conv.weight": (320, 2048, 1, 1),
        "Mixed_7c.branch_pool.bn.num_batches_tracked": (),
    }
    assert {name: tuple(state[name].shape) for name in known} == known
    assert {layer.eps for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)} == {0.001}


def test_sizes_on_the_way(network: Inception) -> None:
    """299, 149, 147, 147, 73, 73, 71, 35, 17, 8 pixels, as Szegedy et al. 2015, table 1, halve them."""
    seen: dict[str, tuple[int, ...]] = {}
    handles = [
        layer.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, tuple(out.shape[1:])))
        for name, layer in network.named_children()
    ]
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 299, 299)).shape == (1, 2048)
    for handle in handles:
        handle.remove()
    assert list(seen.items()) == [
        ("Conv2d_1a_3x3", (32, 149, 149)),
        ("Conv2d_2a_3x3", (32, 147, 147)),
        ("Conv2d_2b_3x3", (64, 147, 147)),
        ("Conv2d_3b_1x1", (80, 73, 73)),
        ("Conv2d_4a_3x3", (192, 71, 71)),
        ("Mixed_5b", (256, 35, 35)),
        ("Mixed_5c", (288, 35, 35)),
        ("Mixed_5d", (288, 35, 35)),
        ("Mixed_6a", (768, 17, 17)),
        ("Mixed_6b", (768, 17, 17)),
        ("Mixed_6c", (768, 17, 17)),
        ("Mixed_6d", (768, 17, 17)),
        ("Mixed_6e", (768, 17, 17)),
        ("Mixed_7a", (1280, 8, 8)),
        ("Mixed_7b", (2048, 8, 8)),
        ("Mixed_7c", (2048, 8, 8)),
    ]


@pytest.mark.parametrize("block", ["5b", "5c", "5d", "6b", "6c", "6d", "6e", "7b", "7c"])
def test_pools_are_means_of_what_lies_within_the_border_and_the_last_a_maximum(network: Inception, block: str) -> None:
    mixed, of_pool = network.get_submodule(f"Mixed_{block}"), list[Tensor]()
    layer = mixed.get_submodule("branch_pool")
    handle = layer.register_forward_pre_hook(lambda _, given: of_pool.append(given[0]))
    channels = network.state_dict()[f"Mixed_{block}.branch_pool.conv.weight"].shape[1]
    x = torch.rand(1, channels, 4, 5, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        out = mixed(x)
        pooled = layer(of_pool[0])
    handle.remove()
    for row in range(4):
        for column in range(5):
            around = x[0, :, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].flatten(1)
            want = around.amax(1) if block == "7c" else around.mean(1)
            assert torch.allclose(of_pool[0][0, :, row, column], want, atol=1e-6)
    assert torch.equal(out[:, -pooled.shape[1] :], pooled)


def test_the_branches_lie_behind_each_other_in_the_ports_order(network: Inception) -> None:
    def alone(branch: str, x: Tensor) -> Tensor:
        found: Tensor = network.Mixed_7b.get_submodule(branch)(x)
        return found

    x = torch.rand(1, 1280, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        out = network.Mixed_7b(x)
        inner, deep = alone("branch3x3_1", x), alone("branch3x3dbl_2", alone("branch3x3dbl_1", x))
        parts = [
            alone("branch1x1", x),
            alone("branch3x3_2a", inner),
            alone("branch3x3_2b", inner),
            alone("branch3x3dbl_3a", deep),
            alone("branch3x3dbl_3b", deep),
        ]
    assert torch.allclose(out[:, : 320 + 4 * 384], torch.cat(parts, dim=1), atol=1e-5)


def test_a_file_of_the_port_is_read_without_its_linear_layer(network: Inception, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    linear = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    torch.save({**network.state_dict(), **linear}, file)
    read = trained(file)
    assert not read.training
    assert not any(p.requires_grad for p in read.parameters())
    x = torch.rand(1, 3, 80, 80, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(read(x), network(x))
        assert read(x).std() > 0.01
