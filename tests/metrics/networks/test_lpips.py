"""LPIPS by its definition, in plain numpy, and the published file of its weights."""

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from diptych.metrics.networks import lpips
from diptych.metrics.networks.lpips import LPIPS, trained

Array = np.ndarray[Any, np.dtype[np.float64]]


@pytest.fixture(scope="module")
def network() -> LPIPS:
    network = LPIPS()
    generator = torch.Generator().manual_seed(0)
    for p in network.parameters():
        torch.nn.init.normal_(p, 0, (2 / max(p[0].numel(), 20)) ** 0.5, generator=generator)
    for weight in network.weights:
        weight.data.abs_()
    return network.requires_grad_(False)


def convolved(x: Array, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Array:
    framed = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    size = weight.shape[-1]
    windows = sliding_window_view(framed, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    found: Array = np.einsum("chwij,ocij->ohw", windows, weight.double().numpy()) + bias.numpy()[:, None, None]
    return found


def seen(network: LPIPS, picture: Array) -> list[Array]:
    """Krizhevsky 2014, up to the fifth convolution; each layer's channels of length 1."""
    weights = network.state_dict()
    x = (picture - np.array([-0.030, -0.088, -0.188])[:, None, None]) / np.array([0.458, 0.448, 0.450])[:, None, None]
    layers = []
    for number, stride, padding, pool in (
        (0, 4, 2, False),
        (3, 1, 2, True),
        (6, 1, 1, True),
        (8, 1, 1, 0),
        (10, 1, 1, 0),
    ):
        if pool:
            x = sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2].max(axis=(3, 4))
        x = convolved(x, weights[f"features.{number}.weight"], weights[f"features.{number}.bias"], stride, padding)
        x = np.maximum(x, 0)
        layers.append(x / (np.sqrt((x**2).sum(axis=0, keepdims=True)) + 1e-10))
    return layers


def two(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    one = torch.rand(shape, generator=generator) * 2 - 1
    return one, (one + 0.3 * torch.randn(shape, generator=generator)).clamp(-1, 1)


@pytest.mark.parametrize("size", [(31, 31), (64, 45)])
def test_lpips_by_its_definition(network: LPIPS, size: tuple[int, int]) -> None:
    pictures, others = two(2, 3, *size)
    want = []
    for picture, other in zip(pictures.double().numpy(), others.double().numpy(), strict=True):
        layers = zip(seen(network, picture), seen(network, other), network.weights, strict=True)
        want.append(sum(((a - b) ** 2 * w.double().numpy()[:, None, None]).sum(0).mean() for a, b, w in layers))
    assert network(pictures, others).tolist() == pytest.approx(want, rel=1e-4)
    assert min(want) > 0.01


def test_equal_pictures_have_no_distance_and_the_order_does_not_matter(network: LPIPS) -> None:
    pictures, others = two(2, 3, 40, 40)
    assert network(pictures, pictures).tolist() == [0, 0]
    assert torch.allclose(network(pictures, others), network(others, pictures))


def test_grey_is_repeated(network: LPIPS) -> None:
    grey, colour = two(1, 1, 40, 40)[0], two(1, 3, 40, 40)[1]
    assert torch.equal(network(grey, colour), network(grey.repeat(1, 3, 1, 1), colour))


def test_the_smallest_picture_is_named(network: LPIPS) -> None:
    with pytest.raises(ValueError, match="takes pictures of 31 px or more, here 40x30"):
        network(torch.zeros(1, 3, 30, 40), torch.zeros(1, 3, 30, 40))


def test_a_file_of_alexnet_is_read_with_the_published_weights_of_channels(network: LPIPS, tmp_path: Path) -> None:
    """v0.1 of the authors' own repository has this SHA-256; its weights are none below 0."""
    file = tmp_path / "alexnet.pth"
    of_alexnet = {name: value for name, value in network.state_dict().items() if name.startswith("features.")}
    torch.save({**of_alexnet, "classifier.1.weight": torch.zeros(4, 4)}, file)
    read = trained(file)
    assert not read.training
    assert not any(p.requires_grad for p in read.parameters())
    assert [len(weight) for weight in read.weights] == [64, 192, 384, 256, 256]
    assert all(weight.min() >= 0 and weight.max() > 0.1 for weight in read.weights)
    assert all(torch.equal(read.state_dict()[name], value) for name, value in of_alexnet.items())
    published = hashlib.sha256(lpips._channel_weights().read_bytes()).hexdigest()
    assert published == "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"


def test_parameters_of_alexnets_convolutions(network: LPIPS) -> None:
    """torchvision says 61,100,840 of its alexnet, which has three linear layers."""
    linear = 9216 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000
    assert sum(p.numel() for p in network.features.parameters()) == 61_100_840 - linear
    names = {name for name in network.state_dict() if name.startswith("features.")}
    assert names == {f"features.{n}.{kind}" for n in (0, 3, 6, 8, 10) for kind in ("weight", "bias")}


def test_a_torchmetrics_without_the_weights_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchmetrics").mkdir()
    (tmp_path / "torchmetrics/__init__.py").touch()

    class Elsewhere:
        submodule_search_locations = (str(tmp_path / "torchmetrics"),)

    monkeypatch.setattr(lpips, "find_spec", lambda name: Elsewhere())
    torch.save({}, tmp_path / "alexnet.pth")
    with pytest.raises(ValueError, match=rf"{re.escape(str(tmp_path))}.*alex\.pth: is not there"):
        trained(tmp_path / "alexnet.pth")
