"""Operators of torch in forms that are faster on CPUs, and equal up to rounding. Networks do not know of this.

* Convolutions of stride 1 go through a transform: 3x3 kernels by Winograd's minimal filtering, F(6x6, 3x3) (Lavin and Gray
  2016, "Fast Algorithms for Convolutional Neural Networks"), larger ones by Fourier transforms. Both come from NNPACK, a
  part of torch, and compute in float32. The gradient of the weights uses torch's own convolution, in bf16 if chosen.
* Convolutions of many weights over few pixels, as in the middle of a U-Net, are one matrix product, which reads the weights
  as they lie in memory. torch's own rearranges all of them first, at every call. For a frozen network this is done once.
* Instance norm, and batch norm of a single picture, are group norms of one channel each, which torch computes faster.
* Reflection padding stays in bf16; torch's autocast would convert it to float32.

Where a transform is faster, and whether bf16 pays at all, differs between CPUs: `measured` tries it. A training
notes the choice that it began with, and keeps to it: the last bits depend on it.
"""

import math
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise, product, starmap
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from diptych.files import cached, digest

Precision = Literal["fp32", "bf16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
Pair = tuple[int, int]

# ---- where a transform or a matrix product is the faster way (all measured)

Kernel = Literal["3x3", "larger"]
TRANSFORMED_SIDES = (3, *range(5, 17))
"""NNPACK knows no larger kernels, and gains little with 4x4."""
LEAST_WORK: dict[Precision, int] = {"fp32": 2**24, "bf16": 2**28}
"""Multiplications for one picture from which on a transform pays: in fp32, those of 3x3 over 32 channels at 43 px."""
MOST_TRANSFORMED = 2**22
"""Values of input and output that one thread transforms at once, which takes 1.8 times their memory."""
MOST_THREADS = 16
"""Each thread transforms the whole input again, so more threads gain less than in torch's own convolutions."""

LEAST_WEIGHTS = 2**20
MOST_PIXELS = 64
"""A convolution of at least `LEAST_WEIGHTS` weights is computed as a matrix product if its output, over the whole batch, has
at most `MOST_PIXELS` pixels."""

# ---- what this CPU is good at

MEASURED: dict[Kernel, tuple[int, int, int]] = {"3x3": (256, 256, 3), "larger": (32, 3, 7)}
"""Input channels, output channels and side of the kernels that are measured: a residual block's, and a generator's last."""
MEASURED_SIDE = 50  # pixels: 8 x 8 tiles of 6 x 6 results
ROUNDS = 3
SPEEDS = [
    *(f"{way} {kernel}" for way in (*DTYPES, "transformed") for kernel in MEASURED),
    "fp32 weights",
    "bf16 weights",
]


@dataclass(frozen=True)
class Speeds:
    """Seconds of one thread: `fp32 3x3` for torch's own convolution, `transformed 3x3`, `fp32 weights` for the gradient."""

    seconds: Mapping[str, float]

    @property
    def transforms(self) -> list[str]:
        """The precisions and kernels in which a transform is faster than torch's own convolution.

        >>> Speeds({**dict.fromkeys(SPEEDS, 1.0), "fp32 3x3": 2.0}).transforms
        ['fp32 3x3']
        """
        ways = (f"{precision} {kernel}" for precision, kernel in product(DTYPES, MEASURED))
        return [way for way in ways if self.seconds[f"transformed {way.split()[1]}"] < self.seconds[way]]

    @property
    def bf16_ratio(self) -> float:
        """How many times as fast as in float32 a convolution is in bf16 while training: forward, and both gradients."""
        step = {
            precision: 2 * min(self.seconds[f"{precision} 3x3"], self.seconds["transformed 3x3"])
            + self.seconds[f"{precision} weights"]
            for precision in DTYPES
        }
        return step["fp32"] / step["bf16"]


@cache
def measured() -> Speeds:
    """The speeds of this CPU: measured in a fraction of a second, and then kept in the cache of files."""
    machine = [runs_transforms(), torch.cpu.get_capabilities(), torch.__version__]
    limits = [os.environ.get(name) for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")]
    with torch.autocast("cpu", enabled=False):  # a training in bf16 may be the first to ask
        kept = cached(f"cpu/{digest(repr((machine, limits)))}", _measure)
    return Speeds({name: seconds.item() for name, seconds in kept.items()})


def computes_bf16() -> bool:
    """Whether this CPU has instructions for bf16 (AMX, AVX512-BF16, or those of ARM)."""
    return any(has for name, has in torch.cpu.get_capabilities().items() if "bf16" in name)


@cache
def runs_transforms() -> bool:
    """Whether NNPACK runs here. Must be called before the first transform, because it initialises NNPACK.

    With one thread: NNPACK's own threads wait by spinning, and gain little.
    """
    if not torch.backends.nnpack.is_available():  # type: ignore[no-untyped-call]
        return False
    with _one_thread():
        _transformed(torch.ones(1, 1, 8, 8), torch.ones(1, 1, 3, 3), None, (0, 0))
    return True


@torch.no_grad()
def _measure() -> dict[str, Tensor]:
    ways: dict[str, Callable[[], object]] = {}
    for kernel, (channels, out, side) in MEASURED.items():
        x, weight = torch.ones(1, channels, MEASURED_SIDE, MEASURED_SIDE), torch.ones(out, channels, side, side)
        if runs_transforms():
            ways[f"transformed {kernel}"] = partial(_transformed, x, weight, None, (0, 0))
        for precision, dtype in DTYPES.items():
            if precision == "fp32" or computes_bf16():  # otherwise torch emulates it, a hundred times as slowly
                inputs = x.to(dtype), weight.to(dtype)
                ways[f"{precision} {kernel}"] = partial(F.conv2d, *inputs)
                if kernel == "3x3":
                    ways[f"{precision} weights"] = partial(_weight_gradient, F.conv2d(*inputs), *inputs, (0, 0))
    seconds = dict.fromkeys(SPEEDS, math.inf)
    with _one_thread():  # several would wait for each other where other programs run
        for _ in range(ROUNDS):
            for name, work in ways.items():
                began = time.thread_time()
                work()
                seconds[name] = min(seconds[name], time.thread_time() - began)
    return {name: torch.tensor(least, dtype=torch.float64) for name, least in seconds.items()}


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


# ---- the ways


Packed = dict[tuple[int, torch.dtype], tuple[Tensor, Tensor]]
"""Weights, and the same in the memory layout in which the CPU computes fastest."""


class FastOperators(TorchFunctionMode):
    """Inside, networks on CPUs compute in the forms that the module's docstring lists; in bf16 inside torch's autocast.

    Weights of a `frozen` network, which no longer learns, are laid out for the CPU once, and not at every call. Convolutions
    take float32 `[B, C, H, W]`, B at least 1, and padding smaller than the kernel. Those that go through a transform cannot
    be differentiated twice, as a gradient penalty does. Kernels of 4x4 and 1x1, which discriminators have, never do.

    `transforms` are the precisions and kernels for which a transform is taken, such as `["fp32 3x3"]`; by default those of
    `measured`.

    >>> network = torch.nn.Conv2d(64, 64, 3, padding=1)
    >>> x = torch.randn(1, 64, 48, 64)
    >>> with torch.no_grad(), FastOperators():
    ...     torch.allclose(network(x), torch.conv2d(x, network.weight, network.bias, padding=1), atol=1e-4)
    True
    """

    def __init__(self, *, frozen: bool = False, transforms: Collection[str] | None = None) -> None:
        super().__init__()
        self.packed: Packed | None = {} if frozen and _has_onednn() else None
        self.transforms = transforms

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function is torch.conv2d:
            return _convolve(self.packed, self.transforms, *args, **(kwargs or {}))
        if function is torch.conv_transpose2d:
            return _convolve_transposed(self.packed, *args, **(kwargs or {}))
        return FASTER.get(function, function)(*args, **(kwargs or {}))


def _pad(x: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    with torch.autocast("cpu", enabled=torch.is_autocast_enabled("cpu") and mode != "reflect"):
        return F.pad(x, pad, mode, value)


def _convolve(
    packed: Packed | None,
    transforms: Collection[str] | None,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = (1, 1),
    padding: Pair | str = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Tensor:
    if dilation == (1, 1) and groups == 1 and isinstance(stride, tuple) and isinstance(padding, tuple):
        height, width = (
            (side + 2 * pad - kernel) // step + 1
            for side, pad, kernel, step in zip(x.shape[2:], padding, weight.shape[2:], stride, strict=True)
        )
        few_pixels = len(x) * height * width <= MOST_PIXELS and weight.numel() >= LEAST_WEIGHTS
        if stride == (1, 1) and not few_pixels and _transform_pays(x, weight, transforms):
            y: Tensor = _Transformed.apply(x, weight, bias, padding, DTYPES[_precision()])  # type: ignore[no-untyped-call]
            return y
        if packed is not None and _can_pack(weight):
            arguments = padding, stride, dilation, 1
            weight, x, bias = _pack(packed, torch.ops.mkldnn._reorder_convolution_weight, weight, x, bias, arguments)
            return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *arguments, "none", [], "")  # type: ignore[no-any-return]
        if few_pixels:
            return _product(x, weight, bias, stride, padding, (height, width))
    return torch.conv2d(x, weight, bias, stride, padding, dilation, groups)


def _convolve_transposed(
    packed: Packed | None,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    output_padding: Pair = (0, 0),
    groups: int = 1,
    dilation: Pair = (1, 1),
) -> Tensor:
    if groups == 1 and dilation == (1, 1) and isinstance(stride, tuple) and isinstance(padding, tuple):
        if packed is not None and _can_pack(weight):
            arguments = padding, output_padding, stride, dilation, 1
            weight, x, bias = _pack(
                packed, torch.ops.mkldnn._reorder_convolution_transpose_weight, weight, x, bias, arguments
            )
            return torch.ops.mkldnn._convolution_transpose_pointwise(x, weight, bias, *arguments, "none", [], "")  # type: ignore[no-any-return]
        if weight.numel() >= LEAST_WEIGHTS and len(x) * x.shape[-2] * x.shape[-1] <= MOST_PIXELS:
            return _transposed_product(x, weight, bias, stride, padding, output_padding)
    return torch.conv_transpose2d(x, weight, bias, stride, padding, output_padding, groups, dilation)


def _instance_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if running_mean is None and x[0, 0].numel() > 1:  # torch refuses a single pixel, which group norm would make 0
        return F.group_norm(x, x.shape[1], weight, bias, eps)
    return F.instance_norm(x, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if running_mean is None and len(x) == 1:
        return F.group_norm(x, x.shape[1], weight, bias, eps)
    return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)


FASTER: dict[Any, Callable[..., Tensor]] = {
    F.pad: _pad,
    F.instance_norm: _instance_norm,
    F.batch_norm: _batch_norm,
}


def _precision() -> Precision:
    return "bf16" if torch.is_autocast_enabled("cpu") else "fp32"


# ---- weights that are laid out once


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def _can_pack(weight: Tensor) -> bool:
    """Not a weight that is computed anew at every call, as under a spectral norm."""
    is_kept = isinstance(weight, torch.nn.Parameter)
    return is_kept and weight.numel() >= LEAST_WEIGHTS and (_precision() == "fp32" or computes_bf16())


def _pack(
    packed: Packed,
    lay_out: Callable[..., Tensor],
    weight: Tensor,
    x: Tensor,
    bias: Tensor | None,
    arguments: tuple[Any, ...],
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Weights, laid out for x and the arguments of the convolution; x and bias, in the same precision."""
    dtype = DTYPES[_precision()]
    key = id(weight), dtype
    if key not in packed:
        packed[key] = weight, lay_out(weight.detach().to(dtype), *arguments, x.shape)
    return packed[key][1], x.to(dtype), None if bias is None else bias.to(dtype)


# ---- matrix products


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, sides: Pair) -> Tensor:
    """A convolution `[B, C, H, W]` -> `[B, C', *sides]`: pixels under the kernel, `[B H' W', C k k]`, times weights."""
    under = F.unfold(x, weight.shape[2:], padding=padding, stride=stride).transpose(1, 2)
    y = F.linear(under.flatten(0, 1), weight.flatten(1), bias)
    return y.view(len(x), -1, len(weight)).transpose(1, 2).reshape(len(x), len(weight), *sides)


def _transposed_product(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, output_padding: Pair
) -> Tensor:
    """A transposed convolution: each pixel times the weights, `[B H W, C' k k]`, added up where the kernels overlap."""
    height, width = (
        (x.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + weight.shape[2 + i] + output_padding[i] for i in range(2)
    )
    pixels = x.permute(0, 2, 3, 1).flatten(0, 2) @ weight.flatten(1)
    under = pixels.view(len(x), -1, pixels.shape[1]).transpose(1, 2)
    y = F.fold(under, (height, width), weight.shape[2:], padding=padding, stride=stride)
    return y if bias is None else y + bias.to(y.dtype)[:, None, None]


# ---- transforms


def _transform_pays(x: Tensor, weight: Tensor, transforms: Collection[str] | None) -> bool:
    """Whether a transform is faster for a convolution of stride 1: by `transforms`, or as measured."""
    side, precision = weight.shape[-1], _precision()
    if side not in TRANSFORMED_SIDES or x.shape[-2] * x.shape[-1] * weight.numel() < LEAST_WORK[precision]:
        return False
    if torch.get_num_threads() > MOST_THREADS or not runs_transforms():
        return False
    kernel: Kernel = "3x3" if side == 3 else "larger"
    return f"{precision} {kernel}" in (measured().transforms if transforms is None else transforms)


class _Transformed(torch.autograd.Function):
    """A convolution of stride 1 by a transform, forward and for the gradient of its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: Pair, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(x.to(dtype), weight)
        ctx.padding, ctx.dtype = padding, x.dtype
        return _transformed(x.float(), weight, bias, padding).to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
        turned = weight.flip(2, 3).transpose(0, 1)
        rest = weight.shape[2] - 1 - ctx.padding[0], weight.shape[3] - 1 - ctx.padding[1]
        return (
            _transformed(gradient.float(), turned, None, rest).to(ctx.dtype) if of_x else None,
            _weight_gradient(gradient, x, weight.to(x.dtype), ctx.padding).float() if of_weight else None,
            gradient.float().sum((0, 2, 3)) if of_bias else None,
            None,
            None,
        )


def _transformed(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Pair) -> Tensor:
    """NNPACK's convolution, in parts that threads share: each picture, and rows of a large one, or some output channels."""
    weight = weight.detach()
    bias = weight.new_zeros(len(weight)) if bias is None else bias.detach()
    (out, channels, side, _), threads = weight.shape, torch.get_num_threads()
    # NNPACK holds all of the transform, so many rows go in strips; its own way for several pictures is slower
    strips = -(-x[0, 0].numel() * (channels + out) // MOST_TRANSFORMED)
    if strips > 1 and padding != (0, 0):
        x, padding = F.pad(x, (padding[1], padding[1], padding[0], padding[0])), (0, 0)
    x = x.detach().contiguous()
    height, width = x.shape[2] + 2 * padding[0] - side + 1, x.shape[3] + 2 * padding[1] - weight.shape[3] + 1
    parts = min(max(threads // (len(x) * strips), 1), out)
    y = x.new_empty(len(x), out, height, width)
    values = y.numpy()

    def compute(number: int, rows: slice, some: slice) -> None:
        above = slice(rows.start, rows.stop + side - 1) if strips > 1 else slice(None)
        part = torch._nnpack_spatial_convolution(x[number : number + 1, :, above], weight[some], bias[some], padding)
        values[number, some, rows] = part[0].numpy()  # torch would start threads of its own for a copy

    jobs = [*product(range(len(x)), _slices(height, min(strips, height)), _slices(out, parts))]
    if threads == 1 or len(jobs) == 1:
        for job in jobs:
            compute(*job)
    else:
        list(_team(threads).map(lambda job: compute(*job), jobs))
    return y


def _slices(length: int, count: int) -> list[slice]:
    """`length` items in `count` slices of about equal length.

    >>> _slices(10, 3)
    [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
    """
    ends = [length * number // count for number in range(count + 1)]
    return [*starmap(slice, pairwise(ends))]


@cache
def _team(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="convolutions")


def _weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, padding: Pair) -> Tensor:
    _, of_weight, _ = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, (1, 1), padding, (1, 1), False, (0, 0), 1, [False, True, False]
    )
    return of_weight  # type: ignore[no-any-return]
