"""Trained models: from an image to an image of the same type and size, or from a label to images."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict, TypeVar, Unpack, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diptych.data import mask_files
from diptych.data.outputs import plan, require_no_input
from diptych.devices import (
    Device,
    Precision,
    autocast,
    choose_device,
    choose_precision,
    free_memory,
    is_out_of_memory,
    memory_format,
)
from diptych.images.blend import Blend
from diptych.images.files import Array, Pixels, decode, encode, from_image, from_tensor, to_image
from diptych.images.formats import TooLargeError
from diptych.images.masks import Mask
from diptych.images.spec import EIGHT_BIT, ImageSpec
from diptych.kinds import Direction
from diptych.training import checkpoint
from diptych.translators.base import PLAIN, Request, dropout_active
from diptych.translators.memory import needed_memory

Picture = TypeVar("Picture", Image.Image, Array)
BYTES_A_PIXEL = 64
"""What a picture needs on its way through `Model.pixels` beside the network: levels, floats, and those of the result."""

SMALL = 2**20  # pixels that are translated without asking what they need

MaskPicture = Path | str | Image.Image | Array


class Options(TypedDict, total=False):
    """How an image is translated: see `Model.__call__`."""

    mask: MaskPicture | None
    blend: Blend
    stochastic: bool
    working_size: int | None


def load(
    run: Path | str, *, direction: Direction | None = None, device: Device = "auto", precision: Precision = "auto"
) -> "Model":
    """Opens the model of a run (or a model folder by itself), also while the run is still training.

    `direction` is for a model of both directions; the default is the direction of its training. Raises a `ValueError` if
    there is no trained model, or if it does not translate in that direction.
    """
    return Model(Path(run), direction, device, precision)


class Model:
    """A trained model: `model(picture)` returns the translated image, `model.sample(label)` images from noise.

    Both are deterministic: the same image, or label and seed, gives the same result, independent of other calls.
    """

    def __init__(
        self, run: Path, direction: Direction | None = None, device: Device = "auto", precision: Precision = "auto"
    ) -> None:
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.translators, self.config, self.step = checkpoint.load_model(run, self.device)
        self.direction = direction or self.config.direction
        if self.direction not in self.translators:
            raise ValueError(
                f"--direction {self.direction}: {run} translates {self.config.direction} and no other way; leave it out"
            )
        self.translator = self.translators[self.direction]
        self.translator.network.to(memory_format=memory_format(self.device))  # type: ignore[call-overload]

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels that it can be asked for; none without labels."""
        return self.translator.classes

    @overload
    def __call__(
        self, picture: Path | str, *, out: Path | str, overwrite: bool = False, **options: Unpack[Options]
    ) -> Path: ...
    @overload
    def __call__(self, picture: Path | str, **options: Unpack[Options]) -> Image.Image: ...
    @overload
    def __call__(self, picture: Picture, **options: Unpack[Options]) -> Picture: ...

    def __call__(
        self,
        picture: Path | str | Image.Image | Array,
        *,
        out: Path | str | None = None,
        overwrite: bool = False,
        mask: MaskPicture | None = None,
        blend: Blend = "none",
        stochastic: bool = False,
        working_size: int | None = None,
    ) -> Path | Image.Image | Array:
        """Translates an image of any size and mode, and returns an image of the same type.

        A Pillow image gives a Pillow image; an array `[H, W]`, `[H, W, 1]` or `[H, W, 3]` of uint8, uint16 or float in
        [0, 1] gives an array of that type; a path gives the path `out` of the written file, or a Pillow image without `out`.
        An existing file at `out` is replaced only with `overwrite`, and an input file never. Alpha is copied unchanged.

        `mask`, for image completion, is an image of any size, white in the holes, or an array of booleans. Pixels outside
        the holes remain bit for bit the same. `blend` ("telea", "poisson") removes seams around the filled holes.

        `stochastic` leaves dropout on, the paper's only source of variety (pix2pix, section 2.1). `working_size`, in pixels,
        shrinks the shorter side of the image to that before translation and scales the result back: for images much larger
        than the training images.
        """
        target = None
        if isinstance(picture, Path | str):
            file = Path(picture)
            if out is not None:
                [(_, target)] = plan([file], Path(out), overwrite)
            if target and isinstance(mask, Path | str):
                require_no_input([(Path(mask), target)])
            source: Pixels | Array = decode(file, self.most_pixels())
        else:
            spec = self.translator.input_specs.get("x")
            channels = spec.channels if isinstance(spec, ImageSpec) else 3
            source = from_image(picture) if isinstance(picture, Image.Image) else _as_channels(picture, channels)
        self.translator.require_request(mask is not None, blend)
        size = source.size if isinstance(source, Pixels) else (source.shape[0], source.shape[1])
        request = Request(None if mask is None else _holes(mask, size), blend, working_size)
        if isinstance(source, Pixels):
            pixels = self.pixels(source, request, stochastic)
            if target is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
                encode(pixels, target)
                return target
            if not isinstance(picture, np.ndarray):
                return to_image(pixels)
            values = pixels.values
        else:
            with dropout_active(self.translator, stochastic):
                values = self.translator.translate_floats(source, request, self.run)
        is_flat = isinstance(picture, np.ndarray) and picture.ndim == 2
        return values[..., 0] if is_flat and values.shape[-1] == 1 else values

    def pixels(self, source: Pixels, request: Request = PLAIN, stochastic: bool = False) -> Pixels:
        """Translates pixels to pixels of the same size, bits and alpha."""
        with dropout_active(self.translator, stochastic):
            return self.translator.translate(source, request, self.run)

    def most_pixels(self) -> int:
        """The largest picture that can be opened and written in the memory that is free, whatever the network needs."""
        return free_memory(torch.device("cpu")) // BYTES_A_PIXEL

    @torch.inference_mode()
    def run(self, *tensors: Tensor) -> Tensor:
        """Runs the translator on its inputs `[B, ...]`, in the order of `input_specs` -> `[B, C, H, W]` on the CPU.

        Raises a `TooLargeError` when they need more memory than is free.
        """
        height, width = tensors[0].shape[-2:]
        if height * width > SMALL:
            needed, free = (
                needed_memory(self.translator, [tensor.shape for tensor in tensors]),
                free_memory(self.device),
            )
            if needed > free:
                raise _too_large(
                    height, width, f"need about {_gib(needed)} here, and {_gib(free)} are free", free / needed
                )
        try:
            with autocast(self.precision, self.device):
                output: Tensor = self.translator(*(tensor.to(self.device) for tensor in tensors))
            return output.float().cpu()
        except (MemoryError, RuntimeError) as error:
            if tensors[0].ndim < 4 or not is_out_of_memory(error):
                raise
            raise _too_large(height, width, f"need more memory than is free on {self.device}", 0.5) from None

    def predict(self, inputs: dict[str, Tensor]) -> Tensor:
        """The same for input tensors by name, in that order."""
        return self.run(*inputs.values())

    # ---- from noise

    def sample(self, label: str | int | None = None, *, count: int = 1, seed: int = 0) -> list[Image.Image]:
        """`count` images of the class named `label`, from noise; a model without classes needs no `label`.

        The same seed gives the same images, and a larger `count` appends to them: image n depends on the seed, the label and
        n alone. Image n of every label uses the same noise. Raises a `ValueError` for an unknown label.
        """
        return [to_image(from_tensor(y)) for y in self.generate(label, count, seed)]

    def generate(self, label: str | int | None, count: int, seed: int = 0) -> Iterator[Tensor]:
        """The same as an iterator of floats `[C, size, size]` in [-1, 1] on the CPU."""
        index = self.translator.index_of(label)
        if not 0 <= seed < 2**63:
            raise ValueError(f"--seed {seed}: a number from 0 to 2^63 - 1 is expected")
        if count < 1:
            raise ValueError(f"--count {count}: a number of pictures, 1 or more, is expected")
        return self.translator.generate(index, count, seed, self.run)


def _too_large(height: int, width: int, why: str, share: float) -> TooLargeError:
    """The error for an image of which the memory would be enough for this share."""
    fitting = max(1, math.floor(min(height, width) * math.sqrt(0.9 * share)))
    return TooLargeError(
        f"{width}x{height} pixels {why}; add --working-size {fitting}: the network then sees a smaller picture"
    )


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


def _as_channels(array: Array, channels: int) -> Pixels | Array:
    """Integers as `Pixels`, floats as `[H, W, C]`; a `ValueError` for an array that is not an image."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (1, 3, channels)) or 0 in array.shape:
        *others, last = ("[H, W]", *(f"[H, W, {count}]" for count in sorted({1, 3, channels})))
        raise ValueError(f"an array of shape {array.shape} is not a picture; {', '.join(others)} or {last} is")
    values = array if array.ndim == 3 else array[..., None]
    if array.dtype in (np.uint8, np.uint16):
        return Pixels(values)
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"an array of {array.dtype} has no fixed range; use uint8, uint16, or floats in [0, 1]")
    if not (array.min() >= 0 and array.max() <= 1):  # false for NaN too
        raise ValueError(
            f"an array of {array.dtype} from {array.min()} to {array.max()}: floats are read in [0, 1]; divide first"
        )
    return values


def _holes(mask: MaskPicture, size: tuple[int, int]) -> Mask:
    if isinstance(mask, Path | str):
        return mask_files.read(Path(mask), size)
    if isinstance(mask, Image.Image):
        return mask_files.from_pixels(from_image(mask), size)
    values = np.asarray(mask)
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * np.uint8(EIGHT_BIT.full)
    if values.ndim == 2:
        values = values[..., None]
    is_picture = values.ndim == 3 and values.shape[-1] in (1, 3) and 0 not in values.shape
    if not is_picture or values.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"a mask of shape {values.shape} and {values.dtype}: [H, W] of booleans, or a picture of uint8, is expected"
        )
    return mask_files.from_pixels(Pixels(values), size)
