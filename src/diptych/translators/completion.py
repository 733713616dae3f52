"""Image completion at any size: holes are filled one by one, each from the pixels in its receptive field alone."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from diptych.images import geometry, remarks
from diptych.images.blend import Blend, blend
from diptych.images.files import Array, Pixels, from_tensor, to_channels, to_tensor, with_alpha_as_channel
from diptych.images.masks import Box, Mask, MaskSpec, bounding_box, components, grown, thickness
from diptych.images.spec import RGB, RGBX, ImageSpec
from diptych.translators.base import InputSpec, Predictor, Request, Translator, require_working_size
from diptych.translators.image import require_blend

TILE = 512  # pixels at the network's scale: larger holes are filled tile by tile


class Completer(Translator):
    """`(x, mask) -> x` with the holes filled, mask 1 = hole. Pixels outside the holes are bit for bit those of the input."""

    mask_spec: MaskSpec
    on_a_fourth_channel = remarks.FOURTH_KEPT

    def __init__(
        self, network: nn.Module, stride: int, spec: ImageSpec, mask_spec: MaskSpec, receptive_radius: int
    ) -> None:
        """`mask_spec` describes the training masks; a filling depends on no pixel beyond `receptive_radius`."""
        super().__init__(network, stride)
        self.input_specs: dict[str, InputSpec] = {"x": spec, "mask": ImageSpec(1, kind="labels")}
        self.output_spec, self.mask_spec, self.receptive_radius = spec, mask_spec, receptive_radius
        self.conditions = (str(mask_spec),)
        self.channels = spec.channels

    def forward(self, *tensors: Tensor) -> Tensor:
        """`[B, C, H, W]` in [-1, 1] and `[B, 1, H, W]` -> `[B, C, H, W]`."""
        return self._forward(tensors, evenly=True)

    def for_files(self, *tensors: Tensor, levels: int) -> Tensor:
        """The same in one pass, with the network's grid where `fill` has it: the same filling, up to the largest hole."""
        return self._forward(tensors, evenly=False)

    def _forward(self, tensors: Sequence[Tensor], evenly: bool) -> Tensor:
        x, mask = tensors
        padded_x, padded_mask = (geometry.pad_to_stride(tensor, self.stride, evenly) for tensor in (x, mask))
        y = composite(self.network(padded_x, padded_mask), padded_x, padded_mask)
        return geometry.cut_back(y, x.shape[-2], x.shape[-1], evenly)

    def inputs_from(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`x` is y with the mean pixel in its holes, to hide the target; and `mask`."""
        return {"x": self.network.fill(batch["y"], batch["mask"]), "mask": batch["mask"]}  # type: ignore[operator]

    def baselines(self, training: Iterable[Tensor]) -> dict[str, Predictor]:
        """OpenCV's two inpainting algorithms, with a radius of 5 pixels."""
        import cv2

        def inpaint(flag: int) -> Predictor:
            def predict(inputs: dict[str, Tensor]) -> Tensor:
                filled = []
                for x, mask in zip(inputs["x"], inputs["mask"], strict=True):
                    result = cv2.inpaint(from_tensor(x).values, mask[0].byte().cpu().numpy(), 5, flag)
                    filled.append(to_tensor(Pixels(result.reshape(*result.shape[:2], -1)), len(x)))
                return torch.stack(filled)

            return predict

        return {"OpenCV Telea": inpaint(cv2.INPAINT_TELEA), "OpenCV Navier-Stokes": inpaint(cv2.INPAINT_NS)}

    def require_request(self, masked: bool, blend: Blend = "none") -> None:
        """Raises a `ValueError` without a mask."""
        require_blend(blend)
        if not masked:
            raise ValueError(f"{self.method} fills holes: say where they are with --mask FILE or DIR (white is a hole)")

    def translate(self, source: Pixels, request: Request, run: Callable[..., Tensor]) -> Pixels:
        """The image with the holes of the request's mask filled and blended."""
        self.require_request(request.mask is not None, request.blend)
        require_working_size(request.working_size)
        assert request.mask is not None
        source = with_alpha_as_channel(source, self.channels)
        filled = self.fill(source, request.mask, run, request.working_size)
        return Pixels(blend(filled.values, request.mask, request.blend), filled.alpha)

    def fill(self, source: Pixels, mask: Mask, run: Callable[..., Tensor], working_size: int | None = None) -> Pixels:
        """The image with the holes of `mask` `[H, W]` filled.

        A hole that is thicker than the training masks is filled at a reduced scale, at which it is not; `working_size`, in
        pixels, shrinks the shorter side of the whole image to that instead. Transparent pixels in a hole become opaque.
        """
        if not mask.any():
            return source
        values = source.values.copy()
        fixed = min(working_size / min(source.size), 1.0) if working_size else None
        for box, holes, scale in self._parts(mask, fixed):
            for tile in _tiles(holes, max(1, int(TILE / scale))):
                position, hole = _inside(box, tile), holes[tile]
                values[position][hole] = self._filled(source, mask, position, run, scale)[hole]
        if source.alpha is None:
            return Pixels(values)
        opaque = np.iinfo(source.alpha.dtype).max
        return Pixels(values, np.where(mask, opaque, source.alpha).astype(source.alpha.dtype))

    def _parts(self, mask: Mask, fixed: float | None) -> Iterator[tuple[Box, Mask, float]]:
        """Box, holes and scale of each part: every large hole is one part, all small ones together are one."""
        whole, largest = bounding_box(mask), self.mask_spec.largest
        if fixed:
            yield whole, mask[whole], fixed
            return
        labels, boxes = components(mask[whole])
        for number, box in enumerate(boxes, start=1):
            if min(side.stop - side.start for side in box) <= largest:
                continue
            hole = labels[box] == number
            if (thick := thickness(hole)) > largest:
                yield _inside(whole, box), hole, largest / thick
                labels[box][hole] = 0
        if labels.any():
            yield whole, labels > 0, 1.0

    def _filled(self, source: Pixels, mask: Mask, box: Box, run: Callable[..., Tensor], scale: float) -> Array:
        """The network's output in a box, `[h, w, C]` like the pixels of the source."""
        stride = self.stride if scale == 1 else 1
        around = grown(box, math.ceil(self.receptive_radius / scale), source.size, stride)
        index = np.ix_(
            *(geometry.mirrored(length, s.start, s.stop) for s, length in zip(around, source.size, strict=True))
        )
        part = Pixels(source.values[index], None if source.alpha is None else source.alpha[index])
        values, holes = to_channels(part, self.channels), mask[index].astype(np.float32)
        height, width = holes.shape
        if scale < 1:
            small = max(1, round(height * scale)), max(1, round(width * scale))
            values, holes = (_shrunk(array, *small) for array in (values, holes))
        x, hole = to_tensor(Pixels(values), self.channels), torch.from_numpy(holes > 0)[None].float()
        output = geometry.resize(run(x[None], hole[None])[0], height, width)
        rows, columns = (slice(s.start - a.start, s.stop - a.start) for s, a in zip(box, around, strict=True))
        filled, own = from_tensor(output[:, rows, columns], source.bits), source.values.shape[-1]
        if own == RGBX and self.channels < own:  # what a model of RGB or grey does not know of stays
            return np.concatenate([to_channels(filled, RGB), source.values[box][..., 3:]], axis=-1)
        return to_channels(filled, own)


def composite(output: Tensor, x: Tensor, mask: Tensor) -> Tensor:
    """The output in the holes, x everywhere else."""
    return torch.where(mask > 0.5, output.to(x.dtype), x)


def _tiles(holes: Mask, side: int) -> Iterator[Box]:
    """Boxes of at most `side` pixels that cover all holes, without empty margins."""
    height, width = holes.shape
    for top in range(0, height, side):
        for left in range(0, width, side):
            cell = slice(top, top + side), slice(left, left + side)
            if holes[cell].any():
                yield _inside(cell, bounding_box(holes[cell]))


def _inside(outer: Box, inner: Box) -> Box:
    """`inner`, relative to `outer`, in the coordinates of the image."""
    rows, columns = (slice(a.start + b.start, a.start + b.stop) for a, b in zip(outer, inner, strict=True))
    return rows, columns


def _shrunk(values: Array, height: int, width: int) -> Array:
    """Area averaging: no pixel of a hole leaks beyond its shrunk mask."""
    import cv2

    small = cv2.resize(np.ascontiguousarray(values), (width, height), interpolation=cv2.INTER_AREA)
    return small.reshape(height, width, *values.shape[2:])
