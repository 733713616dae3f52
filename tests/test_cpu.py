"""Faster forms of torch's operators: the same numbers, whatever the shapes; and what this CPU is good at."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from diptych import cpu, devices
from diptych.cpu import FastOperators, Speeds
from diptych.networks.resnet import ResNet
from diptych.networks.unet import UNet

CPU = torch.device("cpu")
TRANSFORMED = 1.0 if cpu.runs_transforms() else math.inf
ALWAYS = Speeds({name: TRANSFORMED if name.startswith("transformed") else 2.0 for name in cpu.SPEEDS})
"""Of a CPU for which every transform that runs is the faster way."""

needs_transforms = pytest.mark.skipif(not cpu.runs_transforms(), reason="NNPACK does not run on this CPU")


@pytest.fixture(autouse=True)
def small_things_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The faster forms are taken for networks as small as those of tests."""
    monkeypatch.setattr(cpu, "LEAST_WORK", {"fp32": 0, "bf16": 0})
    monkeypatch.setattr(cpu, "LEAST_WEIGHTS", 0)
    monkeypatch.setattr(cpu, "measured", lambda: ALWAYS)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def results(function: Any, tensors: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Output, and the gradients of all tensors."""
    leaves = [tensor.detach().to(dtype).clone().requires_grad_() for tensor in tensors]
    y = function(*leaves)
    y.backward(torch.linspace(-1, 1, y.numel()).view_as(y).to(y.dtype))
    return [y.detach().double(), *(leaf.grad.double() for leaf in leaves if leaf.grad is not None)]


def assert_same(function: Any, *tensors: Tensor) -> None:
    """Inside `FastOperators`, in float32, as in float64 outside."""
    expected = results(function, [*tensors], torch.float64)
    with FastOperators():
        got = results(function, [*tensors], torch.float32)
    assert len(got) == len(expected)
    for here, there in zip(got, expected, strict=True):
        assert torch.allclose(here, there, atol=1e-4 * float(there.abs().max()) + 1e-6)


sides = st.integers(16, 22)


@needs_transforms
@given(kernel=st.sampled_from([3, 5, 7]), padding=st.integers(0, 2), batch=st.integers(1, 3), height=sides, width=sides)
def test_transforms_give_the_same_numbers(kernel: int, padding: int, batch: int, height: int, width: int) -> None:
    torch.manual_seed(0)
    assert_same(
        lambda x, weight, bias: F.conv2d(x, weight, bias, padding=(padding, padding)),
        *(normal(batch, 4, height, width), normal(3, 4, kernel, kernel), normal(3)),
    )


@needs_transforms
@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_share_a_transform(threads: int) -> None:
    torch.manual_seed(0)
    with using(threads):
        assert_same(
            lambda x, weight, bias: F.conv2d(x, weight, bias), normal(2, 4, 20, 20), normal(5, 4, 3, 3), normal(5)
        )


@needs_transforms
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kernel", [3, 5])
def test_large_pictures_are_transformed_in_strips(threads: int, kernel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(cpu, "MOST_TRANSFORMED", 300)
    with using(threads):
        assert_same(
            lambda x, weight, bias: F.conv2d(x, weight, bias, padding=(1, 2)),
            *(normal(2, 4, 21, 18), normal(3, 4, kernel, kernel), normal(3)),
        )


@contextmanager
def using(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@needs_transforms
def test_few_pixels_are_not_transformed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transform of 4 x 4 pixels takes four times as long as a product."""
    monkeypatch.setattr(cpu, "_transformed", lambda *_: pytest.fail("transformed"))
    torch.manual_seed(0)
    assert_same(lambda x, weight: F.conv2d(x, weight, padding=(1, 1)), normal(1, 8, 4, 4), normal(8, 8, 3, 3))


@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 2),
    padding=st.integers(0, 1),
    batch=st.integers(1, 3),
    bias=st.booleans(),
)
def test_products_give_the_same_numbers(kernel: int, stride: int, padding: int, batch: int, bias: bool) -> None:
    torch.manual_seed(0)
    x, biases = normal(batch, 6, 4, 5), [normal(8)] if bias else []
    pairs = (stride, stride), (padding, padding)
    assert_same(
        lambda x, weight, bias=None: F.conv2d(x, weight, bias, *pairs), x, normal(8, 6, kernel, kernel), *biases
    )
    side, extra = kernel + padding, (stride - 1, stride - 1)
    assert_same(
        lambda x, weight, bias=None: F.conv_transpose2d(x, weight, bias, *pairs, extra),
        *(x, normal(6, 8, side, side), *biases),
    )


@given(batch=st.integers(1, 2), affine=st.booleans(), height=st.integers(1, 3))
def test_norms_give_the_same_numbers(batch: int, affine: bool, height: int) -> None:
    torch.manual_seed(0)
    x, scales = normal(batch, 3, height, 5), [normal(3), normal(3)] if affine else []
    assert_same(lambda x, a=None, b=None: F.instance_norm(x, None, None, a, b), x, *scales)
    assert_same(lambda x, a=None, b=None: F.batch_norm(x, None, None, a, b, training=True), x, *scales)


def test_what_they_do_not_suit_is_left_as_it_is() -> None:
    torch.manual_seed(0)
    x, weight = normal(1, 4, 16, 16), normal(4, 4, 3, 3)
    assert_same(lambda x, weight: F.conv2d(x, weight, dilation=2), x, weight)
    assert_same(lambda x, weight: F.conv2d(x, weight, padding="same"), x, weight)
    assert_same(lambda x, weight: F.conv2d(x, weight, groups=2), x, weight[:, :2])
    assert_same(lambda x, weight: F.conv_transpose2d(x, weight, dilation=2), x[..., :4, :4], weight)
    assert_same(lambda x, weight: F.conv_transpose2d(x, weight, groups=2), x[..., :4, :4], weight)
    running = torch.zeros(4), torch.ones(4)
    with FastOperators():
        F.batch_norm(x.float(), *running, training=True)
    assert running[0].abs().sum() > 0
    for batch in (1, 2):
        with FastOperators(), pytest.raises(ValueError, match="more than 1"):
            F.instance_norm(torch.ones(batch, 4, 1, 1))


def networks() -> Iterator[tuple[nn.Module, int]]:
    torch.manual_seed(0)
    yield ResNet(3, 3, blocks=2, width=8), 32
    yield UNet(3, 3, size=32, width=8), 32
    yield UNet(3, 3, size=32, width=8, norm="instance", upsampling="resize"), 64


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("frozen", [False, True])
def test_a_whole_network_differs_by_less_than_a_ten_thousandth(number: int, frozen: bool) -> None:
    network, size = [*networks()][number]
    operators = FastOperators(frozen=frozen)
    for shape in ((1, 3, size, size), (2, 3, 2 * size, size)):  # laid out for the first, used for both
        x = torch.rand(*shape) * 2 - 1
        with torch.inference_mode():
            expected = network.eval().double()(x.double())
            with operators:
                got = network.float()(x)
            with torch.autocast("cpu", torch.bfloat16), operators:
                coarse = network(x)
        assert (got - expected).abs().max() < 1e-4
        assert (coarse - expected).abs().mean() < 0.02


def test_weights_that_change_are_not_kept() -> None:
    network, size = next(networks())
    x = torch.rand(1, 3, size, size) * 2 - 1
    operators = FastOperators()
    with torch.no_grad(), operators:
        before = network(x)
        for weight in network.parameters():
            weight.mul_(1.5)
        assert not torch.allclose(network(x), before)


def test_inside_autocast_they_compute_in_bf16_and_give_float32_gradients() -> None:
    network, size = next(networks())
    x = torch.rand(2, 3, size, size) * 2 - 1
    with FastOperators(), torch.autocast("cpu", torch.bfloat16):
        padded = F.pad(x.bfloat16(), (1, 1, 1, 1), mode="reflect")
        y = network(x)
    y.float().square().mean().backward()
    assert padded.dtype == y.dtype == torch.bfloat16
    assert {p.grad.dtype for p in network.parameters() if p.grad is not None} == {torch.float32}
    here = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
    network.zero_grad()
    network(x).square().mean().backward()
    there = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
    assert F.cosine_similarity(here, there, dim=0) > 0.99


# ---- what this CPU is good at


def speeds(bf16: float) -> Speeds:
    """Of a CPU on which everything in bf16 is `bf16` times as fast, and transforms never pay."""
    return Speeds(
        {name: 1 / bf16 if name.startswith("bf16") else 9.0 if "transformed" in name else 1.0 for name in cpu.SPEEDS}
    )


def test_a_cpu_is_measured_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path))
    cpu.measured.cache_clear()
    with torch.autocast("cpu", torch.bfloat16):  # a training in bf16 may be the first to ask
        first = cpu.measured()
    assert all(seconds > 0 for seconds in first.seconds.values())
    assert first.seconds["fp32 3x3"] < 10
    cpu.measured.cache_clear()
    assert cpu.measured() == first
    cpu.measured.cache_clear()


@pytest.mark.parametrize(
    ("has_bf16", "ratio", "expected"), [(True, 1.7, "bf16"), (True, 1.1, "fp32"), (False, 1.7, "fp32")]
)
def test_auto_takes_bf16_where_it_is_native_and_faster(
    has_bf16: bool, ratio: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "computes_bf16", lambda: has_bf16)
    monkeypatch.setattr(devices, "measured", lambda: speeds(ratio))
    chosen, why = devices.training_precision("auto", CPU)
    assert chosen == expected
    assert f"{ratio}" in why if has_bf16 else "does not compute" in why
    assert devices.training_precision("bf16", CPU)[0] == "bf16"
    assert devices.training_precision("fp32", CPU)[0] == "fp32"
    assert devices.translation_precision("auto", CPU) == "fp32"


def test_a_run_that_has_begun_goes_on_as_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "computes_bf16", lambda: True)
    monkeypatch.setattr(devices, "measured", lambda: speeds(1.7))
    assert devices.training_precision("auto", CPU, "fp32")[0] == "fp32"
    monkeypatch.setattr(devices, "measured", lambda: speeds(1.0))
    assert devices.training_precision("auto", CPU, "bf16")[0] == "bf16"
    monkeypatch.setattr(devices, "computes_bf16", lambda: False)
    assert devices.training_precision("auto", CPU, "bf16")[0] == "fp32"
