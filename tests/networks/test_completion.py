"""The completion network is the paper's, and never sees what lies in a hole."""

import pytest
import torch
from torch import Tensor, nn

from diptych.networks.completion import RECEPTIVE_RADIUS, CompletionNetwork

# Iizuka et al. 2017, table 1: kernel, dilation, stride (1/2 doubles), outputs
TABLE = [
    (5, 1, 1, 64),
    (3, 1, 2, 128),
    (3, 1, 1, 128),
    (3, 1, 2, 256),
    (3, 1, 1, 256),
    (3, 1, 1, 256),
    (3, 2, 1, 256),
    (3, 4, 1, 256),
    (3, 8, 1, 256),
    (3, 16, 1, 256),
    (3, 1, 1, 256),
    (3, 1, 1, 256),
    (4, 1, 0.5, 128),
    (3, 1, 1, 128),
    (4, 1, 0.5, 64),
    (3, 1, 1, 32),
    (3, 1, 1, 3),
]


def convolutions(network: CompletionNetwork) -> list[nn.Conv2d | nn.ConvTranspose2d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]


def test_its_17_layers_are_those_of_the_table() -> None:
    layers = convolutions(CompletionNetwork(3))
    rows = [
        (
            layer.kernel_size[0],
            layer.dilation[0],
            1 / layer.stride[0] if isinstance(layer, nn.ConvTranspose2d) else layer.stride[0],
            layer.out_channels,
        )
        for layer in layers
    ]
    assert rows == TABLE
    assert layers[0].in_channels == 4  # RGB and the mask


def test_each_layer_but_the_last_has_batch_norm_and_relu() -> None:
    names = [type(layer).__name__.removesuffix("2d") for layer in CompletionNetwork(3).layers]
    hidden = [name for name in names if name not in ("Conv", "ConvTranspose")]
    assert hidden == ["BatchNorm", "ReLU"] * 16 + ["Tanh"]


def test_number_of_parameters() -> None:
    assert sum(p.numel() for p in CompletionNetwork(3).parameters()) == 6_072_131


def test_the_papers_307_pixels_and_its_99_without_dilation() -> None:
    """The paper counts three taps for a transposed convolution."""
    for dilated, expected in ((True, 307), (False, 99)):
        field, jump = 1, 1
        for layer in convolutions(CompletionNetwork(3, width=2)):
            taps = 3 if isinstance(layer, nn.ConvTranspose2d) else layer.kernel_size[0]
            field += (taps - 1) * (layer.dilation[0] if dilated else 1) * jump
            jump = jump // 2 if isinstance(layer, nn.ConvTranspose2d) else jump * layer.stride[0]
        assert field == expected


def of_ones(network: CompletionNetwork) -> CompletionNetwork:
    """No path through it is lost by a zero or a sign."""
    for layer in convolutions(network):
        nn.init.constant_(layer.weight, 0.01)
    network.layers[-1] = nn.Identity()
    return network.double().eval()


def test_receptive_field_as_it_is_measured() -> None:
    C = of_ones(CompletionNetwork(1, width=2))
    seen = set[int]()
    for place in range(200, 204):  # the strides have four phases
        x = torch.ones(1, 1, 8, 400, dtype=torch.double, requires_grad=True)
        drawn: Tensor = C(x, torch.zeros_like(x))
        [gradient] = torch.autograd.grad(drawn[0, 0, 4, place], x)
        columns = gradient.abs().sum(dim=(0, 1, 2)).nonzero().flatten().tolist()
        seen |= set(columns)
        assert max(place - columns[0], columns[-1] - place) <= RECEPTIVE_RADIUS
    assert max(seen) - min(seen) + 1 == 303  # one tap less in each transposed convolution than the paper counts


def test_what_lies_in_a_hole_is_never_seen() -> None:
    C = CompletionNetwork(3, width=4).eval()
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:20, 4:30] = 1
    other = torch.where(mask > 0, torch.rand_like(x), x)
    assert torch.equal(C(x, mask), C(other, mask))
    assert not torch.equal(C(x, mask), C(x, mask * 0))


def test_holes_are_filled_with_the_mean_pixel_which_travels_with_the_network() -> None:
    C = CompletionNetwork(3, width=4)
    C.mean_pixel.copy_(torch.tensor([0.5, -0.25, 0.0]).view(1, 3, 1, 1))
    other = CompletionNetwork(3, width=4)
    other.load_state_dict(C.state_dict())
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 1, 2] = 1
    filled = other.fill(torch.ones(1, 3, 4, 4), mask)
    assert filled[0, :, 1, 2].tolist() == [0.5, -0.25, 0.0]
    assert filled.sum() == 3 * 15 + 0.25


@pytest.mark.parametrize("size", [(4, 4), (64, 48), (20, 132)])
def test_any_multiple_of_4_and_nothing_of_the_neighbours(size: tuple[int, int]) -> None:
    """In eval mode a picture is filled the same, whatever lies beside it in the batch."""
    C = CompletionNetwork(3, width=4)
    C(torch.rand(4, 3, 32, 32), torch.zeros(4, 1, 32, 32))  # some statistics
    C.eval()
    x, mask = torch.rand(2, 3, *size) * 2 - 1, torch.zeros(2, 1, *size)
    both, alone = C(x, mask), C(x[:1], mask[:1])
    assert both.shape == x.shape
    assert torch.allclose(both[:1], alone, atol=1e-6)
    assert both.abs().max() <= 1
