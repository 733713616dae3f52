"""Feature maps of a traced network, any rows of which can be computed from some rows of the maps before them.

Rows are counted from the top of the whole map. Borders are added only where the whole map ends, so that rows computed alone
are those of the whole map.
"""

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock, get_ident
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from diptych.networks.layers import BatchNorm

BYTES = 4  # of a value in float32

ELEMENTWISE: tuple[type[nn.Module], ...] = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.Identity,
    nn.Dropout,
)
NORMS = (nn.InstanceNorm2d, nn.BatchNorm2d)
FUNCTIONS = (
    *(operator.add, operator.sub, operator.mul, operator.truediv),
    *(torch.add, torch.relu, torch.tanh, torch.sigmoid, F.relu, F.leaky_relu, F.tanh, F.sigmoid),
)
METHODS = ("relu", "tanh", "sigmoid", "add", "sub", "mul", "div", "contiguous")


class Map(ABC):
    """A map `[channels, height, width]`, made of the maps `inputs`, all of one size."""

    work = 0.0
    """Multiplications for a value."""
    has_borders = False
    """Whether values at the ends of the map are made in another way than those inside, so that nothing is flat behind it."""

    def __init__(self, name: str, inputs: Sequence["Map"], channels: int, height: int, width: int) -> None:
        self.name, self.inputs = name, tuple(inputs)
        self.channels, self.height, self.width = channels, height, width

    @property
    def bytes(self) -> int:
        """Of the whole map in float32."""
        return self.channels * self.height * self.width * BYTES

    def need(self, start: int, stop: int) -> tuple[int, int]:
        """The rows of the inputs, start and stop, that the rows `start` to `stop` of this map are computed from."""
        return start, stop

    @abstractmethod
    def compute(self, rows: Sequence[Tensor], start: int, stop: int) -> Tensor:
        """Rows `[1, channels, stop - start, width]`, from the needed `rows` of each input."""


class Source(Map):
    """The picture."""

    def compute(self, rows: Sequence[Tensor], start: int, stop: int) -> Tensor:
        """Is read, not computed."""
        raise AssertionError


class Elementwise(Map):
    """An activation, or arithmetic of maps of one size and numbers."""

    def __init__(self, name: str, inputs: Sequence[Map], function: Callable[..., Tensor]) -> None:
        first = inputs[0]
        super().__init__(name, inputs, first.channels, first.height, first.width)
        self.function = function

    def compute(self, rows: Sequence[Tensor], start: int, stop: int) -> Tensor:
        """The function of the rows themselves."""
        return self.function(*rows)


class Concatenated(Map):
    """Maps of one height and width, one above the other in channels."""

    def __init__(self, name: str, inputs: Sequence[Map]) -> None:
        channels = sum(one.channels for one in inputs)
        super().__init__(name, inputs, channels, inputs[0].height, inputs[0].width)

    def compute(self, rows: Sequence[Tensor], start: int, stop: int) -> Tensor:
        """The rows side by side."""
        return torch.cat(list(rows), dim=1)


class Normalised(Map):
    """A norm by the statistics of the whole map, `scale` and `shift` `[1, channels, 1, 1]`, which must be known before."""

    def __init__(self, name: str, source: Map, layer: nn.InstanceNorm2d | nn.BatchNorm2d) -> None:
        super().__init__(name, [source], source.channels, source.height, source.width)
        self.layer = layer
        self.scale: Tensor | None = None
        self.shift: Tensor | None = None

    def normalise_by(self, mean: Tensor, variance: Tensor) -> None:
        """Takes the moments of the input, float64 `[channels]`."""
        scale = (variance + self.layer.eps).rsqrt()
        if self.layer.weight is not None:
            scale = scale * self.layer.weight.double()
        shift = -mean * scale
        if self.layer.bias is not None:
            shift = shift + self.layer.bias.double()
        self.scale, self.shift = (one.float().view(1, -1, 1, 1) for one in (scale, shift))

    def compute(self, rows: Sequence[Tensor], start: int, stop: int) -> Tensor:
        """One multiplication and addition for each value."""
        assert self.scale is not None
        assert self.shift is not None
        return torch.addcmul(self.shift, rows[0].float(), self.scale)


class Convolved(Map):
    """A convolution, with zeros around the map or its reflection."""

    def __init__(self, name: str, source: Map, layer: nn.Conv2d) -> None:
        (above, left), (tall, wide) = _pair(layer.padding), layer.kernel_size
        (down, across), (apart, beside) = layer.stride, layer.dilation
        height = (source.height + 2 * above - apart * (tall - 1) - 1) // down + 1
        width = (source.width + 2 * left - beside * (wide - 1) - 1) // across + 1
        super().__init__(name, [source], layer.out_channels, height, width)
        self.layer, self.above, self.left, self.down = layer, above, left, down
        self.extent = apart * (tall - 1) + 1
        self.reflects = layer.padding_mode == "reflect"
        self.has_borders = not self.reflects and max(above, left) > 0
        self.work = tall * wide * source.channels / layer.groups

    def need(self, start: int, stop: int) -> tuple[int, int]:
        """The rows under the kernel, and those that are reflected at an end of the map."""
        first, last, missing_above, missing_below = self._under(start, stop)
        height = self.inputs[0].height
        if self.reflects and missing_above:
            last = max(last, missing_above + 1)
        if self.reflects and missing_below:
            first = min(first, height - 1 - missing_below)
        return first, last

    def _under(self, start: int, stop: int) -> tuple[int, int, int, int]:
        """The rows under the kernel that there are, and how many there are not above and below the map."""
        height = self.inputs[0].height
        first, last = start * self.down - self.above, (stop - 1) * self.down - self.above + self.extent
        return max(first, 0), min(last, height), max(-first, 0), max(last - height, 0)

    def compute(self, rows: Sequence[Tensor], start: int, stop: int) -> Tensor:
        """The convolution of the rows, with borders where the map ends."""
        (x,), layer = rows, self.layer
        _, _, missing_above, missing_below = self._under(start, stop)
        if self.reflects:
            x = F.pad(x, (self.left, self.left, missing_above, missing_below), mode="reflect")
            # Rows that were there for the reflection alone
            needed, under = self.need(start, stop), self._under(start, stop)
            x = x[..., under[0] - needed[0] : x.shape[-2] - (needed[1] - under[1]), :]
        elif missing_above or missing_below:
            x = F.pad(x, (0, 0, missing_above, missing_below))
        across = 0 if self.reflects else self.left
        return torch.conv2d(x, layer.weight, layer.bias, layer.stride, (0, across), layer.dilation, layer.groups)


class Transposed(Map):
    """A transposed convolution."""

    has_borders = True

    def __init__(self, name: str, source: Map, layer: nn.ConvTranspose2d) -> None:
        (above, left), (tall, wide), (down, across) = _pair(layer.padding), layer.kernel_size, layer.stride
        below, right = _pair(layer.output_padding)
        height = (source.height - 1) * down - 2 * above + tall + below
        width = (source.width - 1) * across - 2 * left + wide + right
        super().__init__(name, [source], layer.out_channels, height, width)
        self.layer, self.above, self.left, self.down, self.tall, self.right = layer, above, left, down, tall, right
        self.work = tall * wide * source.channels / layer.groups / (down * across)

    def need(self, start: int, stop: int) -> tuple[int, int]:
        """The rows that reach into those."""
        first = -((self.tall - 1 - self.above - start) // self.down)
        last = (stop - 1 + self.above) // self.down + 1
        return max(first, 0), min(last, self.inputs[0].height)

    def compute(self, rows: Sequence[Tensor], start: int, stop: int) -> Tensor:
        """The transposed convolution of the rows, without what the rows around them reach."""
        (x,), layer = rows, self.layer
        y = torch.conv_transpose2d(
            x, layer.weight, layer.bias, layer.stride, (0, self.left), (0, self.right), layer.groups
        )
        top = self.need(start, stop)[0] * self.down - self.above
        return y[..., start - top : stop - top, :]


class Enlarged(Map):
    """Every pixel repeated, by a whole number."""

    def __init__(self, name: str, source: Map, down: int, across: int) -> None:
        super().__init__(name, [source], source.channels, source.height * down, source.width * across)
        self.down, self.across = down, across

    def need(self, start: int, stop: int) -> tuple[int, int]:
        """The rows that are repeated there."""
        return start // self.down, (stop - 1) // self.down + 1

    def compute(self, rows: Sequence[Tensor], start: int, stop: int) -> Tensor:
        """The repeated rows."""
        y = F.interpolate(rows[0], scale_factor=(self.down, self.across), mode="nearest")
        top = self.need(start, stop)[0] * self.down
        return y[..., start - top : stop - top, :]


# ---- tracing


_tracing = Lock()
"""Held while a network is traced, which changes `nn.Module` for all threads: two at once would undo each other."""


class _Tracer(fx.Tracer):
    """Traces what its own thread calls; networks that other threads use meanwhile compute as ever."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = get_ident()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, BatchNorm) or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if get_ident() != self.thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        if get_ident() != self.thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


class NotInStripsError(ValueError):
    """A network cannot be computed in strips."""


def trace(network: nn.Module, channels: int, height: int, width: int) -> Map:
    """The output of a network in eval mode, for a picture of this size, with all maps that it is made of.

    Raises a `NotInStripsError` that names the part of the network that is none of the maps of this module.

    >>> from diptych.networks.resnet import ResNet
    >>> output = trace(ResNet(3, 1, blocks=1, width=4).eval(), 3, 16, 24)
    >>> output.channels, output.height, output.width
    (1, 16, 24)
    """
    refusal = f"a {type(network).__name__} cannot be translated in strips"
    try:
        with _tracing:
            graph = _Tracer().trace(network)
    except Exception as error:  # of a network that is not ours, whatever its code raises
        raise NotInStripsError(f"{refusal}: its steps depend on the picture ({error})") from error
    maps: dict[fx.Node, Map] = {}
    modules = dict(network.named_modules())
    for node in graph.nodes:
        if node.op == "output":
            break
        if node.op == "placeholder" and maps:
            raise NotInStripsError(f"{refusal}: it has several inputs")
        made = (
            Source("picture", [], channels, height, width) if node.op == "placeholder" else _made(node, maps, modules)
        )
        if made is None:
            what = type(modules[node.target]).__name__ if node.op == "call_module" else "a function"
            raise NotInStripsError(f"{refusal}: {node.target} ({what}) is not known there")
        maps[node] = made
    output = maps.get(node.args[0])
    if output is None or (output.height, output.width) != (height, width):
        raise NotInStripsError(f"{refusal}: it does not make one picture of the same size")
    return output


def _made(node: fx.Node, maps: Mapping[fx.Node, Map], modules: Mapping[str, nn.Module]) -> Map | None:
    """The map of a node; None for one that is unknown."""
    inputs = [maps[one] for one in node.all_input_nodes if one in maps]
    if not inputs or len({(one.height, one.width) for one in inputs}) > 1:
        return None
    if node.op == "call_module":
        return _of_layer(str(node.target), inputs[0], modules[str(node.target)])
    if node.target is torch.cat:
        parts, dim = node.args[0], node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        return Concatenated(node.name, [maps[part] for part in parts]) if dim in (1, -3) else None  # type: ignore[union-attr,index]
    known = node.target in (FUNCTIONS if node.op == "call_function" else METHODS)
    if not known or len({one.channels for one in inputs}) > 1 or "out" in node.kwargs:
        return None
    function = node.target if callable(node.target) else getattr(torch.Tensor, str(node.target))
    return Elementwise(node.name, inputs, _filled_in(function, node))


def _filled_in(function: Callable[..., Any], node: fx.Node) -> Callable[..., Tensor]:
    """A function of the rows of `node`'s inputs alone, the numbers among its arguments filled in."""
    keyed = {name: value for name, value in node.kwargs.items() if name != "inplace"}

    def of_rows(*rows: Tensor) -> Tensor:
        given = dict(zip(node.all_input_nodes, rows, strict=True))
        result: Tensor = function(*fx.map_arg(node.args, given.__getitem__), **fx.map_arg(keyed, given.__getitem__))
        return result

    return of_rows


def _of_layer(name: str, source: Map, layer: nn.Module) -> Map | None:
    if isinstance(layer, NORMS):
        if layer.running_mean is not None:
            return Elementwise(name, [source], layer)
        return Normalised(name, source, layer)
    if isinstance(layer, ELEMENTWISE) and not (isinstance(layer, nn.Dropout) and layer.training):
        if getattr(layer, "inplace", False):  # others may still read those rows
            return Elementwise(name, [source], lambda x: layer(x.clone()))
        return Elementwise(name, [source], layer)
    if isinstance(layer, nn.ConvTranspose2d):
        above, below = _pair(layer.padding)[0], _pair(layer.output_padding)[0]
        return Transposed(name, source, layer) if layer.dilation == (1, 1) and below <= above else None
    if isinstance(layer, nn.Conv2d):
        known = layer.padding_mode in ("zeros", "reflect") and not isinstance(layer.padding, str)
        return Convolved(name, source, layer) if known else None
    if isinstance(layer, nn.Upsample) and layer.mode == "nearest" and layer.scale_factor is not None:
        down, across = _pair(layer.scale_factor)
        whole = down == int(down) and across == int(across)
        return Enlarged(name, source, int(down), int(across)) if whole else None
    return None


def _pair(value: Any) -> tuple[Any, Any]:
    return value if isinstance(value, tuple) else (value, value)


def before(output: Map, ends: Callable[[Map], bool] = lambda _: False) -> Iterator[Map]:
    """`output` and the maps that it is made of, each after those that it is made of; nothing before a map that `ends`."""
    seen = set[Map]()

    def visit(one: Map) -> Iterator[Map]:
        if one in seen:
            return
        seen.add(one)
        if not ends(one):
            for source in one.inputs:
                yield from visit(source)
        yield one

    return visit(output)


def turns_flat_into_noise(network: nn.Module, channels: int) -> bool:
    """Whether a norm by the picture's own statistics divides nothing but rounding, where a picture is perfectly flat.

    So it does where its input is flat too, up to rounding. Of a network that cannot be traced nothing is known.

    >>> from diptych.networks.resnet import ResNet
    >>> from diptych.networks.unet import UNet
    >>> [turns_flat_into_noise(one.eval(), 3) for one in (ResNet(3, 3, width=4), UNet(3, 3, size=16, width=4))]
    [True, False]
    """
    side = 1024  # a multiple of every stride
    try:
        maps = [*before(trace(network, channels, side, side))]
    except NotInStripsError:
        return False
    norms = [one for one in maps if isinstance(one, Normalised)]
    return any(not any(one.has_borders for one in before(norm)) for norm in norms)
