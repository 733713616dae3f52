"""Image-to-image translation at any size, and colouring."""

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.images import color, geometry
from diptych.images.blend import Blend
from diptych.images.files import Array, Gathered, Pixels, from_tensor, to_tensor, with_alpha_as_channel
from diptych.images.on_disk import folder_of
from diptych.images.spec import ImageSpec, Kind, floats_to_channels, strips
from diptych.networks.layers import ImageNetwork
from diptych.translators.base import InputSpec, Predictor, Request, Translator, require_working_size


class ImageTranslator(Translator):
    """`x -> y` through a network.

    >>> from diptych.networks.resnet import ResNet
    >>> translator = ImageTranslator(ResNet(3, 1, blocks=1, width=4), ImageSpec(3), ImageSpec(1))
    >>> translator(torch.zeros(1, 3, 61, 67)).shape
    torch.Size([1, 1, 61, 67])
    """

    looks_twice: ClassVar[bool] = False
    """Whether `from_network` looks at x."""

    def __init__(
        self,
        network: ImageNetwork,
        x_spec: ImageSpec,
        y_spec: ImageSpec,
        working_size: int | None = None,
    ) -> None:
        """Images with a shorter side above `working_size` are shrunk to it, and the result is scaled back."""
        super().__init__(network, network.stride)
        self.input_specs, self.output_spec, self.working_size = {"x": x_spec}, y_spec, working_size
        self.x_spec, self.x_channels = x_spec, x_spec.channels

    @property
    def network_channels(self) -> int:
        """Of what the network is given."""
        [spec] = self.network_specs.values()
        assert isinstance(spec, ImageSpec)
        return spec.channels

    def forward(self, *tensors: Tensor) -> Tensor:
        """`[B, C_x, H, W]` in [-1, 1] -> `[B, C_y, H, W]` in [-1, 1]."""
        (x,) = tensors
        y = self.through_network(geometry.pad_to_stride(x, self.stride))
        return geometry.cut_back(y, x.shape[-2], x.shape[-1])

    def through_network(self, x: Tensor) -> Tensor:
        """The same without padding: heights and widths must be multiples of `stride`."""
        return self.from_network(x, self.network(self.to_network(x)))

    def to_network(self, x: Tensor) -> Tensor:
        """What the network is given of pictures `[B, C_x, H, W]`; every pixel for itself."""
        return x

    def from_network(self, x: Tensor, y: Tensor) -> Tensor:
        """The translation of x, from what the network gave; every pixel for itself."""
        return y

    def inputs_from(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`x`, unchanged."""
        return {"x": batch["x"]}

    def require_request(self, masked: bool, blend: Blend = "none") -> None:
        """Raises a `ValueError` for a mask or `blend`: this translator fills no holes."""
        require_blend(blend)
        if masked or blend != "none":
            raise ValueError(f"--mask and --blend: {self.method} fills no holes; leave them out")

    def translate(self, source: Pixels, request: Request, run: Callable[..., Tensor]) -> Pixels:
        """An image of any size, bits and mode to an image of the same size, bits and alpha."""
        return self.translate_all([source], [request], run)[0]

    def translate_all(
        self, sources: Sequence[Pixels], requests: Sequence[Request], run: Callable[..., Tensor]
    ) -> list[Pixels]:
        """The same for several images of one size, in one batch."""
        for request in requests:
            self.require_request(request.mask is not None, request.blend)
        sources = [with_alpha_as_channel(source, self.x_channels) for source in sources]
        size = self.seen_size(sources[0].size, requests[0])
        ys = run(torch.stack([self._seen(source, size) for source in sources]))
        with torch.inference_mode():
            return [self._at_full_size(source, y) for y, source in zip(ys, sources, strict=True)]

    def seen_size(self, size: tuple[int, int], request: Request) -> tuple[int, int]:
        """The height and width at which the network sees a picture of this size."""
        require_working_size(request.working_size)
        return geometry.shrunk(*size, request.working_size or self.working_size or min(size))

    def _seen(self, source: Pixels, size: tuple[int, int]) -> Tensor:
        """What the network sees of a picture, `[C, *size]`. Of the picture itself only strips are ever floats."""
        height, width = source.size
        if size == source.size:
            return to_tensor(source, self.x_channels)
        kind, narrow = self.x_spec.kind, []
        for rows in strips(height, width):  # across, then down, as torch does it
            strip = to_tensor(source.rows(rows), self.x_channels)
            narrow.append(geometry.resize(strip, strip.shape[1], size[1], kind))
        return geometry.resize(torch.cat(narrow, dim=1), *size, kind).clamp(-1, 1)

    def _at_full_size(self, source: Pixels, y: Tensor) -> Pixels:
        """The translation y of what the network saw of a picture, as levels at the size of the picture."""
        if self.keeps(source.size, y):
            return from_tensor(y, source.bits, source.alpha)
        upscaled, whole = self.upscaler(y, source.size), Gathered(source.size[0], folder_of(source.values))
        for rows in strips(*source.size):
            part = source.rows(rows)
            strip = upscaled(to_tensor(part, self.x_channels), rows, 2**source.bits - 1)
            whole.put(rows, from_tensor(strip, source.bits, part.alpha))
        return whole.pixels

    def translate_floats(self, values: Array, request: Request, run: Callable[..., Tensor]) -> Array:
        """The same for floats `[H, W, C]` in [0, 1], without rounding to levels."""
        x = torch.from_numpy(np.ascontiguousarray(values)).float().permute(2, 0, 1) * 2 - 1
        [y] = self._resized_through([floats_to_channels(x, self.x_channels)], request, run, levels=None)
        result: Array = ((y.clamp(-1, 1) + 1) / 2).permute(1, 2, 0).numpy().astype(values.dtype)
        return result

    def _resized_through(
        self, xs: Sequence[Tensor], request: Request, run: Callable[..., Tensor], levels: int | None
    ) -> list[Tensor]:
        (height, width), kind = xs[0].shape[-2:], self.x_spec.kind
        size = self.seen_size((height, width), request)
        small = [geometry.resize(x, *size, kind).clamp(-1, 1) for x in xs]
        ys = run(torch.stack(small))
        with torch.inference_mode():
            return [self.upscale(x, y, levels) for x, y in zip(xs, ys, strict=True)]

    def upscale(self, x: Tensor, y: Tensor, levels: int | None) -> Tensor:
        """The result at the size of x `[C, H, W]`, from y, the output for the (possibly shrunk) x.

        `levels` is 255 or 65535 if the result is rounded for a file, None if it remains float.
        """
        height, width = x.shape[-2:]
        if self.keeps((height, width), y):
            return y
        upscaled = self.upscaler(y, (height, width))
        parts = [upscaled(x[:, rows], rows, levels) for rows in strips(height, width)]
        return torch.cat(parts, dim=-2)

    def keeps(self, size: tuple[int, int], y: Tensor) -> bool:
        """Whether y is the result as it is, for a picture of this size."""
        return y.shape[-2:] == size

    def upscaler(self, y: Tensor, size: tuple[int, int]) -> Callable[[Tensor, slice, int | None], Tensor]:
        """Gives, for rows of x and which they are, those of the result at `size`, from y `[C, h, w]`.

        The last argument is the `levels` of `upscale`.
        """
        (height, width), kind = size, self.output_spec.kind
        if len([*strips(height, width)]) == 1:  # in one step; of several, down and then across
            return lambda x, rows, levels: _larger(y, height, width, kind)
        tall = _larger(y, height, y.shape[-1], kind)
        return lambda x, rows, levels: _larger(tall[:, rows], x.shape[-2], width, kind)


def _larger(y: Tensor, height: int, width: int, kind: Kind) -> Tensor:
    if kind == "labels":
        return geometry.resize(y, height, width, kind)
    return F.interpolate(y[None], size=(height, width), mode="bicubic", antialias=True)[0].clamp(-1, 1)


class ColorTranslator(ImageTranslator):
    """Colouring: the network predicts ab of CIE Lab from L; the lightness of an image is preserved at any size."""

    looks_twice = True

    def __init__(self, network: ImageNetwork, working_size: int) -> None:
        super().__init__(network, ImageSpec(3), ImageSpec(3), working_size)

    @property
    def network_specs(self) -> dict[str, InputSpec]:
        """L, from which the network predicts ab."""
        return {"lightness": ImageSpec(1)}

    def to_network(self, x: Tensor) -> Tensor:
        """The lightness of `[B, 3, H, W]`."""
        return color.to_lab(x)[0]

    def from_network(self, x: Tensor, y: Tensor) -> Tensor:
        """The lightness of x with the colour y."""
        return color.from_lab(color.to_lab(x)[0], y)

    def for_files(self, *tensors: Tensor, levels: int) -> Tensor:
        """The colour of the pictures at the working size, with the lightness of the pictures themselves, rounded."""
        (x,) = tensors
        assert self.working_size is not None
        size = geometry.shrunk(x.shape[-2], x.shape[-1], self.working_size)
        small = F.interpolate(x, size=size, mode="bicubic", antialias=True).clamp(-1, 1)
        return self.upscaler(self(small), (x.shape[-2], x.shape[-1]))(x, slice(None), levels)

    def inputs_from(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`x` is y without its colour, `[B, 3, H, W]`."""
        return {"x": color.to_grey(batch["y"])}

    def reject_reason(self, image: Tensor) -> str | None:
        """Rejects grey images, which would train the network to output grey."""
        return "grey" if color.is_grey(image) else None

    def keeps(self, size: tuple[int, int], y: Tensor) -> bool:
        """Never: a picture keeps its own lightness at any size."""
        return False

    def upscaler(self, y: Tensor, size: tuple[int, int]) -> Callable[[Tensor, slice, int | None], Tensor]:
        """The lightness of the large image x with the colour of the small image y, upsampled along the edges of x.

        Rounding also preserves the lightness: no L changes by half an 8-bit level.
        """
        small_L, small_ab = color.to_lab(y)
        ab = color.spread(small_ab, small_L, size[0])

        def coloured(x: Tensor, rows: slice, levels: int | None) -> Tensor:
            L = color.to_lab(x)[0]
            strip = color.from_lab(L, ab(L, rows))
            return color.round_keeping_lightness(strip, levels) if levels else strip

        return coloured

    def baselines(self, training: Iterable[Tensor]) -> dict[str, Predictor]:
        """No colour, and a constant colour: the mean ab of the training images."""
        means = torch.stack([ab for y in training for ab in color.to_lab(y)[1].mean(dim=(2, 3))])
        mean_ab = means.mean(dim=0).view(2, 1, 1)

        def mean_chroma(inputs: dict[str, Tensor]) -> Tensor:
            L, _ = color.to_lab(inputs["x"])
            return color.from_lab(L, mean_ab.expand(len(L), 2, *L.shape[2:]))

        return {"the grey picture": lambda inputs: inputs["x"], "the training set's mean chroma": mean_chroma}


def require_blend(blend: Blend) -> None:
    """Raises a `ValueError` for an unknown blending mode."""
    if blend not in get_args(Blend):
        raise ValueError(f"--blend {blend}: one of {', '.join(get_args(Blend))} is expected")
