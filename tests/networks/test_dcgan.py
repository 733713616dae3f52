"""DCGAN's networks: figure 1, section 3, and three ways to tell them a label."""

from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from diptych.networks.dcgan import ClassBatchNorm, Condition, Discriminator, Generator, OneHot, fitting, halved

CONDITIONS: tuple[Any, ...] = get_args(Condition)
NOISE, CLASSES = 5, 3


def built(
    classes: int, condition: Any, channels: int = 1, size: int = 16, width: int = 2
) -> tuple[Generator, Discriminator]:
    """Networks with large weights everywhere: what begins at zero would not be seen."""
    torch.manual_seed(0)
    G = Generator(channels, size=size, noise=NOISE, classes=classes, condition=condition, width=width)
    D = Discriminator(channels, size=size, classes=classes, condition=condition, width=width)
    with torch.no_grad():
        for p in (*G.parameters(), *D.parameters()):
            p.normal_(0, 0.3)
    return G, D


def inputs(count: int = 4, size: int = 16, channels: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    z = torch.rand(count, NOISE, generator=generator) * 2 - 1
    x = torch.rand(count, channels, size, size, generator=generator) * 2 - 1
    return z, x, torch.arange(count) % CLASSES


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


# ---- shapes


@pytest.mark.parametrize("size", [16, 28, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("classes", "condition"), [(0, "one-hot"), *((CLASSES, condition) for condition in CONDITIONS)]
)
def test_every_size_and_way_to_tell_the_label(size: int, channels: int, classes: int, condition: Any) -> None:
    G, D = built(classes, condition, channels, size)
    z, x, label = inputs(3, size, channels)
    drawn = G(z, label)
    assert drawn.shape == x.shape
    assert drawn.abs().max() <= 1
    assert (drawn < 0).any()
    assert D(x, label).shape == (3, 1)


def test_the_maps_of_figure_1() -> None:
    with torch.device("meta"):
        G = Generator(3, size=64)
        shapes = []
        for norm in G.norms:
            norm.register_forward_hook(lambda _module, given, _out: shapes.append(tuple(given[0].shape[1:])))
        assert G(torch.zeros(1, 100)).shape == (1, 3, 64, 64)
    assert shapes == [(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32)]


def test_the_maps_of_the_discriminator_mirror_them() -> None:
    with torch.device("meta"):
        D = Discriminator(3, size=64)
        x, shapes = torch.zeros(1, 3, 64, 64), []
        for layer in D.maps:
            x = layer(x)
            if isinstance(layer, nn.Conv2d):
                shapes.append(tuple(x.shape[1:]))
    assert shapes == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
    assert D.logit.in_features == 512 * 4 * 4


def test_large_pictures_have_no_more_than_the_1024_maps_of_figure_1() -> None:
    with torch.device("meta"):
        G, D = Generator(3, size=256), Discriminator(3, size=256)
    assert [norm.norm.num_features for norm in G.norms] == [1024, 1024, 1024, 512, 256, 128]  # type: ignore[union-attr]
    assert [layer.out_channels for layer in D.maps if isinstance(layer, nn.Conv2d)] == [
        64,
        128,
        256,
        512,
        1024,
        1024,
    ]


@pytest.mark.parametrize(
    ("classes", "condition", "of_G", "of_D"),
    [
        # G: (3 noise + what is told) x (4 maps x 4 x 4); norms of 4 and 2; 4 x 2 x 4x4; 2 x 1 x 4x4 + 1
        # D: (1 + what is told) x 1 x 4x4 + 1; 1 x 2 x 4x4; a norm of 2; 2 x 4x4 + 1, or 2 + 1 of the sums
        (0, "one-hot", 3 * 64 + 8 + 4 + 128 + 33, 16 + 1 + 32 + 4 + 33),
        (2, "one-hot", 5 * 64 + 8 + 4 + 128 + 33, 3 * 16 + 1 + 32 + 4 + 33),
        (2, "embedding", 53 * 64 + 2 * 50 + 8 + 4 + 128 + 33, 2 * 16 + 1 + 2 * 256 + 32 + 4 + 33),
        (2, "projection", 3 * 64 + 2 * 8 + 2 * 4 + 128 + 33, 16 + 1 + 32 + 4 + 3 + 2 * 2),
    ],
)
def test_weights_counted_by_hand(classes: int, condition: Any, of_G: int, of_D: int) -> None:
    G = Generator(1, size=16, noise=3, classes=classes, condition=condition, width=1)
    D = Discriminator(1, size=16, classes=classes, condition=condition, width=1)
    assert (parameters(G), parameters(D)) == (of_G, of_D)


# ---- section 3


def test_batch_norm_is_neither_in_the_first_layer_of_D_nor_on_the_output_of_G() -> None:
    G, D = built(0, "one-hot", channels=3, size=32, width=3)
    layers = list(D.maps)
    assert isinstance(layers[0], nn.Conv2d)
    assert isinstance(layers[1], nn.LeakyReLU)
    assert [isinstance(layer, nn.BatchNorm2d) for layer in layers[3::3]] == [True, True]
    assert [norm.norm.num_features for norm in G.norms] == [24, 12, 6]  # type: ignore[union-attr]
    seen: list[Tensor] = []
    G.doublings[-1].register_forward_hook(lambda _module, _given, out: seen.append(out))
    drawn = G(inputs()[0])
    assert torch.equal(drawn, seen[0].tanh())


def test_strided_convolutions_and_leaky_units_of_slope_0_2() -> None:
    G, D = built(0, "one-hot", size=64)
    convolutions = [
        layer for layer in (*G.modules(), *D.modules()) if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    ]
    assert len(convolutions) == 8
    assert {(layer.kernel_size, layer.stride) for layer in convolutions} == {((4, 4), (2, 2))}
    assert {layer.negative_slope for layer in D.modules() if isinstance(layer, nn.LeakyReLU)} == {0.2}
    assert not any(
        isinstance(layer, nn.MaxPool2d | nn.AvgPool2d | nn.Upsample) for layer in (*G.modules(), *D.modules())
    )


def test_G_is_rectified_everywhere_but_at_its_output() -> None:
    G, _ = built(0, "one-hot", size=32)
    rectified: list[Tensor] = []
    for layer in G.doublings:
        layer.register_forward_pre_hook(lambda _module, given: rectified.append(given[0]))
    drawn = G(inputs()[0])
    assert len(rectified) == 3
    for maps in rectified:
        assert maps.min() == 0
        assert maps.max() > 0
    assert drawn.min() < 0


def test_weights_begin_with_a_deviation_of_0_02() -> None:
    """Section 4. The vector of a class is added to the weights of the logit, and begins as they do."""
    torch.manual_seed(0)
    G = Generator(3, size=32, classes=10, condition="projection", width=16)
    D = Discriminator(3, size=32, classes=10, condition="projection", width=16)
    assert D.projection is not None
    for weights in (
        G.doublings[0].weight,
        G.project[0].weight,
        D.maps[0].weight,
        D.logit.weight,
        D.projection.weight,
    ):
        assert isinstance(weights, Tensor)
        assert weights.std().item() == pytest.approx(0.02, rel=0.1)
    assert all((norm.scale_and_shift.weight == 0).all() for norm in G.norms)  # type: ignore[union-attr]


# ---- labels


@pytest.mark.parametrize("condition", CONDITIONS)
def test_another_label_changes_what_G_draws_and_what_D_says(condition: Any) -> None:
    G, D = (network.eval() for network in built(CLASSES, condition))
    z, x, label = inputs(1)
    drawn = [G(z, label + number) for number in range(CLASSES)]
    logits = [D(x, label + number) for number in range(CLASSES)]
    for answers in (drawn, logits):
        assert not torch.equal(answers[0], answers[1])
        assert not torch.equal(answers[0], answers[2])
        assert not torch.equal(answers[1], answers[2])


@pytest.mark.parametrize("condition", CONDITIONS)
def test_D_tells_labels_apart_from_the_first_step(condition: Any) -> None:
    torch.manual_seed(0)
    D = Discriminator(1, size=16, classes=CLASSES, condition=condition, width=2).eval()
    _, x, _ = inputs(1)
    assert len({D(x, torch.tensor([label])).item() for label in range(CLASSES)}) == CLASSES


@pytest.mark.parametrize("condition", CONDITIONS)
def test_each_picture_has_its_own_label(condition: Any) -> None:
    G, D = (network.eval() for network in built(CLASSES, condition))
    z, x, label = inputs(6)
    for number in range(6):
        one = slice(number, number + 1)
        assert torch.allclose(G(z, label)[one], G(z[one], label[one]), atol=1e-5)
        assert torch.allclose(D(x, label)[one], D(x[one], label[one]), atol=1e-4)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_shuffled_labels_give_D_another_loss(condition: Any) -> None:
    _, D = built(CLASSES, condition)
    _, x, label = inputs(6)
    right, wrong = (nn.functional.softplus(-D(x, given)).mean() for given in (label, label.roll(1)))
    assert not torch.isclose(right, wrong)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_without_classes_the_label_has_no_say(condition: Any) -> None:
    G, D = (network.eval() for network in built(0, condition))
    z, x, label = inputs()
    assert torch.equal(G(z, label), G(z))
    assert torch.equal(D(x, label), D(x))


def test_what_D_says_by_projection_is_what_it_says_of_all_plus_an_inner_product() -> None:
    """Miyato and Koyama 2018, equation 4: y V phi(x) + psi(phi(x))."""
    _, D = built(CLASSES, "projection")
    D.eval()
    _, x, label = inputs()
    assert D.projection is not None
    with torch.no_grad():
        phi = D.maps(x).sum(dim=(2, 3))
        expected = D.logit(phi)[:, 0] + torch.einsum("bf,bf->b", D.projection.weight[label], phi)
        assert torch.allclose(D(x, label)[:, 0], expected, atol=1e-5)


@settings(deadline=None, max_examples=20)
@given(labels=st.lists(st.integers(0, 6), min_size=1, max_size=9))
def test_one_hot_is_that_of_torch(labels: list[int]) -> None:
    label = torch.tensor(labels)
    found = OneHot(7)(label)
    assert found.dtype == torch.float32
    assert torch.equal(found, nn.functional.one_hot(label, 7).float())


# ---- batch norm by class


def test_without_classes_it_is_batch_norm() -> None:
    ours, theirs = ClassBatchNorm(4), nn.BatchNorm2d(4)
    assert parameters(ours) == 8
    for seed in range(3):
        maps = torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(seed)) * 3 + 1
        assert torch.equal(ours(maps, None), theirs(maps))
    assert torch.equal(ours.eval()(maps, None), theirs.eval()(maps))


def test_a_scale_and_a_shift_for_each_class_by_hand() -> None:
    """Of the numbers -1 and 1 the mean is 0 and the deviation 1: what comes out is scale and shift alone."""
    norm = ClassBatchNorm(2, classes=2)
    assert norm.scale_and_shift is not None
    with torch.no_grad():  # scales beyond 1 of both maps, then shifts of both
        norm.scale_and_shift.weight.copy_(torch.tensor([[0.0, 1.0, 0.0, 10.0], [2.0, -1.0, 5.0, 7.0]]))
    maps = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 2, 1, 1)
    found = norm(maps, torch.tensor([0, 1]))[:, :, 0, 0]
    assert torch.allclose(found, torch.tensor([[-1.0, -2.0 + 10.0], [3.0 + 5.0, 7.0]]), atol=1e-3)
    swapped = norm(maps, torch.tensor([1, 0]))[:, :, 0, 0]
    assert torch.allclose(swapped, torch.tensor([[-3.0 + 5.0, 7.0], [1.0, 2.0 + 10.0]]), atol=1e-3)


def test_classes_begin_alike() -> None:
    norm, maps = ClassBatchNorm(3, classes=4), torch.randn(6, 3, 4, 4)
    assert torch.equal(norm(maps, torch.arange(6) % 4), nn.BatchNorm2d(3, affine=False)(maps))


@pytest.mark.parametrize(
    ("classes", "condition"), [(0, "one-hot"), *((CLASSES, condition) for condition in CONDITIONS)]
)
def test_what_is_drawn_does_not_depend_on_what_is_drawn_beside_it(classes: int, condition: Any) -> None:
    G, _ = built(classes, condition)
    z, _, label = inputs(8)
    learning = G(z, label)
    assert not torch.allclose(learning[:2], G(z[:2], label[:2]), atol=1e-3)  # while it learns it does
    G.eval()
    together = G(z, label)
    alone = torch.cat([G(z[n : n + 1], label[n : n + 1]) for n in range(8)])
    assert torch.allclose(together, alone, atol=1e-5)


# ---- sizes


@settings(deadline=None, max_examples=200)
@given(size=st.integers(-3, 3000))
def test_a_size_is_taken_or_refused_with_the_next_below_it(size: int) -> None:
    near = fitting(size)
    side, halvings = halved(near)
    assert 4 <= side <= 7
    assert halvings >= 2
    assert side * 2**halvings == near
    if size in (4 * 2**n for n in range(2, 10)):
        assert near == size
    if near != size:
        with pytest.raises(ValueError, match=rf"^--size {size}: .* {near} is near$"):
            halved(size)
    assert near == 16 if size < 16 else near <= size
    for between in range(max(near, 15) + 1, size):
        with pytest.raises(ValueError, match="is near"):
            halved(between)


@pytest.mark.parametrize(("size", "near"), [(8, 16), (15, 16), (30, 28), (31, 28), (36, 32), (100, 96), (129, 128)])
def test_networks_of_sizes_that_cannot_be_are_not_built(size: int, near: int) -> None:
    with pytest.raises(ValueError, match=rf"--size {size}: .* {near} is near"):
        Generator(1, size=size)
    with pytest.raises(ValueError, match=rf"--size {size}: .* {near} is near"):
        Discriminator(1, size=size)
