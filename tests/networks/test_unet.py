"""The U-Net is the paper's: its size, its skips, its dropout."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from diptych.images.size import Size
from diptych.networks import GENERATORS
from diptych.networks.layers import Norm
from diptych.networks.unet import STRIDES, UNet, require_size, stride_for


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_parameter_count_at_256() -> None:
    # 54.414 million, as the authors' PyTorch code prints for unet_256 with batch norm
    assert parameters(UNet(3, 3, size=256)) == 54_413_955


@pytest.mark.parametrize(("size", "millions"), [(128, 41.829)])
def test_parameter_count_at_128(size: int, millions: float) -> None:
    # the authors' unet_128: 41.829 M
    assert round(parameters(UNet(3, 3, size=size)) / 1e6, 3) == millions


@pytest.mark.parametrize("size", STRIDES)
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_shape_and_range(size: int, norm: str, upsampling: str) -> None:
    network = UNet(1, 3, size=size, width=1, norm=norm, upsampling=upsampling)  # type: ignore[arg-type]
    y = network(torch.randn(1, 1, size, size))
    assert y.shape == (1, 3, size, size)
    assert y.abs().max() <= 1


def test_halves_down_to_one_pixel() -> None:
    network = UNet(3, 3, size=64, width=2)
    shapes = []
    for down in network.down:
        down.register_forward_hook(lambda _, __, y: shapes.append(tuple(y.shape[1:])))
    network(torch.zeros(1, 3, 64, 64))
    assert shapes == [(2, 32, 32), (4, 16, 16), (8, 8, 8), (16, 4, 4), (16, 2, 2), (16, 1, 1)]


def test_every_step_up_sees_the_step_down_of_its_size() -> None:
    """Change one skip at a time: the output must change, so every skip is used."""
    torch.manual_seed(0)
    network = UNet(3, 3, size=32, width=2).eval()
    x = torch.randn(1, 3, 32, 32)
    want = network(x)
    for down in network.down[:-1]:
        # the next step down is given the untouched map, so that only the skip differs
        calls: list[Tensor] = []

        def add(_: nn.Module, __: object, y: Tensor, calls: list[Tensor] = calls) -> Tensor:
            calls.append(y)
            return y + 1.0

        handle = down.register_forward_hook(add)
        following = network.down[list(network.down).index(down) + 1]
        restore = following.register_forward_pre_hook(lambda _, args: (args[0] - 1.0,))
        changed = network(x)
        handle.remove()
        restore.remove()
        assert len(calls) == 1
        assert not torch.allclose(changed, want)


def test_decoder_widths_are_doubled_by_the_skips() -> None:
    network = UNet(3, 3, size=256, width=64)
    transposed = [layer for layer in network.modules() if isinstance(layer, nn.ConvTranspose2d)]
    # the paper's U-Net decoder: CD512-CD1024-CD1024-C1024-C1024-C512-C256-C128 as seen by the next layer
    assert [layer.in_channels for layer in transposed] == [512, 1024, 1024, 1024, 1024, 512, 256, 128]
    assert [layer.out_channels for layer in transposed] == [512, 512, 512, 512, 256, 128, 64, 3]


def test_dropout_on_the_first_three_steps_up_and_nowhere_else() -> None:
    network = UNet(3, 3, size=256, width=1)
    with_dropout = [any(isinstance(layer, nn.Dropout) for layer in step.modules()) for step in network.up]
    assert with_dropout == [True, True, True, False, False, False, False]
    assert not any(isinstance(layer, nn.Dropout) for layer in [*network.down.modules(), *network.out.modules()])


def test_no_norm_on_the_first_and_the_innermost_step() -> None:
    network = UNet(3, 3, size=64, width=2)
    normed = [any(isinstance(layer, nn.BatchNorm2d) for layer in step.modules()) for step in network.down]
    assert normed == [False, True, True, True, True, False]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_any_multiple_of_the_size(batch: int, rows: int, columns: int) -> None:
    x = torch.zeros(batch, 3, 16 * rows, 16 * columns)
    assert UNet(3, 1, size=16, width=1).eval()(x).shape == (batch, 1, 16 * rows, 16 * columns)


@pytest.mark.parametrize("norm", ["batch", "affine-instance"])
def test_a_norm_that_shifts_needs_no_bias_before_it(norm: Norm) -> None:
    # REQUIREMENTS 003-2: 4x4 stride-2 convolutions without bias; the last one has no norm behind it
    network = UNet(3, 3, size=32, width=2, norm=norm)
    *inner, last = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    assert all(layer.bias is None and layer.kernel_size == (4, 4) and layer.stride == (2, 2) for layer in inner)
    assert last.bias is not None


def test_its_stages_are_the_steps_down() -> None:
    network = UNet(3, 3, size=32, width=2).eval()
    seen: list[Tensor] = []
    for down in network.down:
        down.register_forward_hook(lambda _, __, y: seen.append(y))
    x = torch.randn(1, 3, 32, 32)
    network(x)
    of_forward = list(seen)
    assert list(network.stages) == ["down1", "down2", "down3", "down4", "down5"]
    for stage, want in zip(network.stages.values(), of_forward, strict=True):
        x = stage(x)
        assert torch.equal(x, want)


# ---- rectangles


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([16, 32, 64]),
    st.integers(1, 3),
    st.integers(1, 5),
    st.booleans(),
    st.sampled_from(["batch", "instance"]),
)
def test_a_size_that_is_taken_trains_and_translates(
    stride: int, pixels: int, more: int, upright: bool, norm: str
) -> None:
    sides = (stride * pixels, stride * max(pixels, more))
    size = Size(*(sides[::-1] if upright else sides))
    require_size(size)
    network = GENERATORS["unet"].build(1, 2, size=size, width=1, norm=norm)
    assert not any(side % network.stride for side in size)
    x = torch.randn(1, 1, *size)
    for mode in (True, False):
        y = network.train(mode)(x)
        assert y.shape == (1, 2, *size)
        assert bool(y.isfinite().all())


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_a_size_is_taken_or_two_near_ones_are_named_that_are(height: int, width: int) -> None:
    size = Size(height, width)
    if stride_for(size):
        require_size(size)
        return
    with pytest.raises(ValueError, match=rf"^--size {size}: .*; the nearest .* are (\S+) and (\S+)$") as error:
        require_size(size)
    named = [Size.parse(word) for word in str(error.value).split(" are ")[1].split(" and ")]
    assert all(map(stride_for, named))
    assert len(str(error.value)) < 300
    for near in named:  # lying down or standing as what was asked for
        assert (near.height - near.width) * (height - width) >= 0


@pytest.mark.parametrize("side", STRIDES)
def test_a_square_of_a_power_of_two_ends_in_one_pixel(side: int) -> None:
    assert stride_for(Size.square(side)) == side


def test_two_to_one_ends_in_two_pixels() -> None:
    network = GENERATORS["unet"].build(3, 3, size=Size.parse("512x256"), width=1)
    assert isinstance(network, UNet)
    x = torch.zeros(1, 3, 256, 512)
    for down in network.down:
        x = down(x)
    assert x.shape[2:] == (1, 2)
    assert len(network.down) == 8
