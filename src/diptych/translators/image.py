"""Image-to-image translation at any size, and colouring."""

from collections.abc import Callable, Iterable, Sequence
from typing import get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.images import color, geometry
from diptych.images.blend import Blend
from diptych.images.files import Array, Pixels, from_tensor, to_tensor, with_alpha_as_channel
from diptych.images.spec import ImageSpec, floats_to_channels
from diptych.networks.layers import ImageNetwork
from diptych.translators.base import InputSpec, Predictor, Request, Translator, require_working_size

ROWS = 256  # of a large image at a time, to limit the memory for its colours


class ImageTranslator(Translator):
    """`x -> y` through a network.

    >>> from diptych.networks.resnet import ResNet
    >>> translator = ImageTranslator(ResNet(3, 1, blocks=1, width=4), ImageSpec(3), ImageSpec(1))
    >>> translator(torch.zeros(1, 3, 61, 67)).shape
    torch.Size([1, 1, 61, 67])
    """

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

    def forward(self, *tensors: Tensor) -> Tensor:
        """`[B, C_x, H, W]` in [-1, 1] -> `[B, C_y, H, W]` in [-1, 1]."""
        (x,) = tensors
        y = self.through_network(geometry.pad_to_stride(x, self.stride))
        return geometry.cut_back(y, x.shape[-2], x.shape[-1])

    def through_network(self, x: Tensor) -> Tensor:
        """The same without padding: heights and widths must be multiples of `stride`."""
        y: Tensor = self.network(x)
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
        xs = [to_tensor(source, self.x_channels) for source in sources]
        ys = self._resized_through(xs, requests[0], run, levels=2 ** sources[0].bits - 1)
        return [from_tensor(y, source.bits, source.alpha) for y, source in zip(ys, sources, strict=True)]

    def translate_floats(self, values: Array, request: Request, run: Callable[..., Tensor]) -> Array:
        """The same for floats `[H, W, C]` in [0, 1], without rounding to levels."""
        x = torch.from_numpy(np.ascontiguousarray(values)).float().permute(2, 0, 1) * 2 - 1
        [y] = self._resized_through([floats_to_channels(x, self.x_channels)], request, run, levels=None)
        result: Array = ((y.clamp(-1, 1) + 1) / 2).permute(1, 2, 0).numpy().astype(values.dtype)
        return result

    def _resized_through(
        self, xs: Sequence[Tensor], request: Request, run: Callable[..., Tensor], levels: int | None
    ) -> list[Tensor]:
        height, width = xs[0].shape[-2:]
        require_working_size(request.working_size)
        shorter = request.working_size or self.working_size or min(height, width)
        size, kind = geometry.shrunk(height, width, shorter), self.x_spec.kind
        small = [geometry.resize(x, *size, kind).clamp(-1, 1) for x in xs]
        ys = run(torch.stack(small))
        with torch.inference_mode():
            return [self.upscale(x, y, levels) for x, y in zip(xs, ys, strict=True)]

    def upscale(self, x: Tensor, y: Tensor, levels: int | None) -> Tensor:
        """The result at the size of x `[C, H, W]`, from y, the output for the (possibly shrunk) x.

        `levels` is 255 or 65535 if the result is rounded for a file, None if it remains float.
        """
        if y.shape[-2:] == x.shape[-2:]:
            return y
        if self.output_spec.kind == "labels":
            return geometry.resize(y, x.shape[-2], x.shape[-1], "labels")
        return F.interpolate(y[None], size=x.shape[-2:], mode="bicubic", antialias=True)[0].clamp(-1, 1)


class ColorTranslator(ImageTranslator):
    """Colouring: the network predicts ab of CIE Lab from L; the lightness of an image is preserved at any size."""

    def __init__(self, network: ImageNetwork, working_size: int) -> None:
        super().__init__(network, ImageSpec(3), ImageSpec(3), working_size)

    @property
    def network_specs(self) -> dict[str, InputSpec]:
        """L, from which the network predicts ab."""
        return {"lightness": ImageSpec(1)}

    def through_network(self, x: Tensor) -> Tensor:
        """`[B, 3, H, W]`, used for its lightness alone -> the same in colour."""
        L, _ = color.to_lab(x)
        return color.from_lab(L, self.network(L))

    def for_files(self, *tensors: Tensor, levels: int) -> Tensor:
        """The colour of the pictures at the working size, with the lightness of the pictures themselves, rounded."""
        (x,) = tensors
        assert self.working_size is not None
        size = geometry.shrunk(x.shape[-2], x.shape[-1], self.working_size)
        small = F.interpolate(x, size=size, mode="bicubic", antialias=True).clamp(-1, 1)
        return self.upscale(x, self(small), levels)

    def inputs_from(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`x` is y without its colour, `[B, 3, H, W]`."""
        return {"x": color.to_grey(batch["y"])}

    def reject_reason(self, image: Tensor) -> str | None:
        """Rejects grey images, which would train the network to output grey."""
        return "grey" if color.is_grey(image) else None

    def upscale(self, x: Tensor, y: Tensor, levels: int | None) -> Tensor:
        """The lightness of the large image x with the colour of the small image y, upsampled along the edges of x.

        Rounding also preserves the lightness: no L changes by half an 8-bit level.
        """
        L = torch.cat([color.to_lab(rows)[0] for rows in _strips(x)], dim=-2)
        small_L, small_ab = color.to_lab(y)
        ab = color.spread(small_ab, small_L, L)
        strips = []
        for rows_L, rows_ab in zip(_strips(L), _strips(ab), strict=True):
            strip = color.from_lab(rows_L, rows_ab)
            strips.append(color.round_keeping_lightness(strip, levels) if levels else strip)
        return torch.cat(strips, dim=-2)

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


def _strips(images: Tensor) -> Sequence[Tensor]:
    if torch.compiler.is_exporting():  # the graph would have as many strips at every size
        return [images]
    return torch.split(images, ROWS, dim=-2)
