"""The only door to a trained model: a picture in, a picture out, of the same kind and size; or a label in, pictures out."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar, get_args, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from diptych.data import mask_files
from diptych.data.outputs import plan, require_no_input
from diptych.devices import Device, Precision, autocast, choose_device, choose_precision, memory_format
from diptych.images import blend as blending
from diptych.images import files, geometry
from diptych.images.blend import Blend
from diptych.images.files import Array, Pixels
from diptych.images.masks import Mask
from diptych.images.spec import EIGHT_BIT, SIXTEEN_BIT, floats_to_channels
from diptych.kinds import Direction
from diptych.training import checkpoint
from diptych.translators import completion

Picture = TypeVar("Picture", Image.Image, Array)
MaskPicture = Path | str | Image.Image | Array


def load(
    run: Path | str, *, direction: Direction | None = None, device: Device = "auto", precision: Precision = "auto"
) -> "Model":
    """Opens the model of a run (or a model folder by itself), also while the run is still training.

    `direction` chooses the way of a model that knows both; the default is the one that it was trained with. Raises a
    `ValueError` when there is no trained model in it, or when it does not translate that way.
    """
    return Model(Path(run), direction, device, precision)


class Model:
    """A trained model: `model(picture)` gives the translated picture, `model.sample(label)` pictures out of noise.

    Both are deterministic: the same picture, or label and seed, gives the same result, whatever is asked for beside it.
    """

    def __init__(
        self,
        run: Path,
        direction: Direction | None = None,
        device: Device = "auto",
        precision: Precision = "auto",
    ) -> None:
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.method, self.config, self.step = checkpoint.load_model(run, self.device)
        self.direction = direction or self.config.direction
        self.back = self.direction != self.config.direction
        if self.back and not self.method.two_way:
            raise ValueError(
                f"--direction {self.direction}: {run} translates {self.config.direction} and no other way; leave it out"
            )
        shape = self.config.shape
        self.channels = shape.y_channels if self.back else shape.x_channels
        for name in self.method.deployed:
            self.method.get_submodule(name).to(memory_format=memory_format(self.device))  # type: ignore[call-overload]

    @overload
    def __call__(
        self,
        picture: Path | str,
        *,
        out: Path | str,
        overwrite: bool = False,
        mask: MaskPicture | None = None,
        blend: Blend = "none",
        stochastic: bool = False,
        working_size: int | None = None,
    ) -> Path: ...
    @overload
    def __call__(
        self,
        picture: Path | str,
        *,
        mask: MaskPicture | None = None,
        blend: Blend = "none",
        stochastic: bool = False,
        working_size: int | None = None,
    ) -> Image.Image: ...
    @overload
    def __call__(
        self,
        picture: Picture,
        *,
        mask: MaskPicture | None = None,
        blend: Blend = "none",
        stochastic: bool = False,
        working_size: int | None = None,
    ) -> Picture: ...

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
        """Translates a picture of any size and mode; what goes in comes out.

        A Pillow image gives a Pillow image; an array `[H, W]`, `[H, W, 1]` or `[H, W, 3]` of uint8, uint16 or float in
        [0, 1] gives an array of that type; a path gives the path `out` that was written, or, without `out`, a Pillow image,
        since nothing is written where nobody asked. A file at `out` is kept unless `overwrite` allows to write over it,
        and an input is never written over. Alpha goes through untouched.

        `mask` says where the holes are, for a method that fills holes: a picture of any size, white where one is, or an
        array of booleans. Every pixel outside is bit for bit the picture's. `blend` makes what was drawn meet its
        surroundings ("telea", "poisson").

        `stochastic` leaves the dropout on, the paper's only source of variety (pix2pix, section 2.1). `working_size`
        shrinks the picture so that its shorter side has that many pixels before the networks see it, and scales the
        result back: for pictures much larger than those of the training.
        """
        if isinstance(picture, Path | str):
            source = Path(picture)
            [(_, target)] = plan([source], Path(out), overwrite) if out is not None else [(source, None)]
            if target and isinstance(mask, Path | str):
                require_no_input([(Path(mask), target)])
            pixels = self._of_pixels(files.decode(source), mask, blend, stochastic, working_size)
            if target is None:
                return files.to_image(pixels)
            target.parent.mkdir(parents=True, exist_ok=True)
            files.encode(pixels, target)
            return target
        if isinstance(picture, Image.Image):
            return files.to_image(self._of_pixels(files.from_image(picture), mask, blend, stochastic, working_size))
        return self._of_array(picture, mask, blend, stochastic, working_size)

    def _of_pixels(
        self, source: Pixels, mask: MaskPicture | None, blend: Blend, stochastic: bool, working_size: int | None
    ) -> Pixels:
        self.require_inputs(mask is not None, blend)
        if mask is None:
            return self.pixels(source, stochastic, working_size)
        return self.complete(source, _holes(mask, source.size), blend, working_size)

    def _of_array(
        self, array: Array, mask: MaskPicture | None, blend: Blend, stochastic: bool, working_size: int | None
    ) -> Array:
        if (
            array.ndim not in (2, 3)
            or (array.ndim == 3 and array.shape[-1] not in (1, 3, self.channels))
            or 0 in array.shape
        ):
            raise ValueError(f"an array of shape {array.shape} is not a picture; [H, W], [H, W, 1] or [H, W, 3] is")
        values = array if array.ndim == 3 else array[..., None]
        if array.dtype in (np.uint8, np.uint16):
            result: Array = self._of_pixels(Pixels(values), mask, blend, stochastic, working_size).values
        elif np.issubdtype(array.dtype, np.floating):
            if not (array.min() >= 0 and array.max() <= 1):  # false for NaN too
                raise ValueError(
                    f"an array of {array.dtype} from {array.min()} to {array.max()}: floats are read in [0, 1]; divide first"
                )
            result = self._of_floats(values, mask, blend, stochastic, working_size)
        else:
            raise ValueError(f"an array of {array.dtype} has no fixed range; use uint8, uint16, or floats in [0, 1]")
        return result[..., 0] if array.ndim == 2 and result.shape[-1] == 1 else result

    def _of_floats(
        self, values: Array, mask: MaskPicture | None, blend: Blend, stochastic: bool, working_size: int | None
    ) -> Array:
        if mask is not None:  # 16 bits are as fine as what a network draws
            levels = Pixels(np.rint(values.astype(np.float64) * SIXTEEN_BIT.full).astype(np.uint16))
            filled = self._of_pixels(levels, mask, blend, stochastic, working_size).values
            result: Array = np.where(filled == levels.values, values, filled / SIXTEEN_BIT.full).astype(values.dtype)
            return result
        self.require_inputs(False, blend)
        x = torch.from_numpy(np.ascontiguousarray(values)).float().permute(2, 0, 1) * 2 - 1
        y = self.tensor(floats_to_channels(x, self.channels), stochastic, working_size)
        return ((y.clamp(-1, 1) + 1) / 2).permute(1, 2, 0).numpy().astype(values.dtype)

    def pixels(self, source: Pixels, stochastic: bool = False, working_size: int | None = None) -> Pixels:
        """Pixels to pixels of the same size, bits and alpha, for a method that fills no holes."""
        source = files.with_alpha_as_channel(source, self.channels)
        x = files.to_tensor(source, self.channels)
        y = self.tensor(x, stochastic, working_size, levels=2**source.bits - 1)
        return files.from_tensor(y, source.bits, source.alpha)

    def complete(self, source: Pixels, mask: Mask, blend: Blend = "none", working_size: int | None = None) -> Pixels:
        """The picture with its holes filled, for a method that fills holes: `mask` is bool `[H, W]`."""
        require_working_size(working_size)

        def draw(x: Tensor, holes: Tensor) -> Tensor:
            return self.batch({"x": x[None], "mask": holes[None]})[0]

        filled = completion.fill(source, mask, draw, self.method, self.channels, working_size)
        return Pixels(blending.blend(filled.values, mask, blend), filled.alpha)

    def require_inputs(self, given: bool, blend: Blend = "none") -> None:
        """Raises a `ValueError` for a method that reads no pictures; or holes and fills none; or none, and fills them."""
        name = self.config.method
        if "x" not in self.method.inputs:
            raise ValueError(
                f"{name} translates no pictures, it makes them out of noise: diptych sample RUN --out FILE"
            )
        if blend not in get_args(Blend):
            raise ValueError(f"--blend {blend}: one of {', '.join(get_args(Blend))} is expected")
        if self.method.holes is None and (given or blend != "none"):
            raise ValueError(f"--mask and --blend: {name} fills no holes; leave them out")
        if self.method.holes is not None and not given:
            raise ValueError(f"{name} fills holes: say where they are with --mask FILE or DIR (white is a hole)")

    def tensor(
        self, x: Tensor, stochastic: bool = False, working_size: int | None = None, levels: int | None = None
    ) -> Tensor:
        """float `[C, H, W]` in [-1, 1] -> float `[C', H, W]` in [-1, 1], on the CPU; `levels` as in the contract."""
        self.require_inputs(False)
        height, width = x.shape[-2:]
        require_working_size(working_size)
        shorter = working_size or self.method.working_size or min(height, width)
        scale = min(shorter / min(height, width), 1)
        small = geometry.resize(x, round(height * scale), round(width * scale)).clamp(-1, 1)
        y = self.batch({"x": small[None]}, stochastic)[0]
        with torch.inference_mode():
            return self.method.enlarge(x, y, levels)

    @torch.inference_mode()
    def batch(self, batch: dict[str, Tensor], stochastic: bool = False) -> Tensor:
        """The tensors that the method reads, each `[B, C, H, W]` of any H and W -> `[B, C', H, W]` on the CPU."""
        height, width = batch["x"].shape[-2:]
        padded = {
            name: geometry.pad_to_multiple(batch[name].to(self.device), self.method.multiple)
            for name in self.method.inputs
        }
        with _dropout(self.method, stochastic), autocast(self.precision, self.device):
            y = self.method.translate_back({"y": padded["x"]}) if self.back else self.method.translate(padded)
        return geometry.cut_back(y, height, width).float().cpu()

    # ---- out of noise

    def sample(self, label: str | int | None = None, *, count: int = 1, seed: int = 0) -> list[Image.Image]:
        """`count` pictures of a class, by its name, out of noise; of a model without classes `label` is left out.

        The same seed gives the same pictures, and a larger `count` more of them: number n depends on the seed, the label and
        n alone. Of different labels, pictures of one number come from one noise. Raises a `ValueError` for an unknown label.
        """
        return [files.to_image(files.from_tensor(y)) for y in self.generate(label, count, seed)]

    def generate(self, label: str | int | None, count: int, seed: int = 0) -> Iterator[Tensor]:
        """What `sample` gives, as floats `[C, size, size]` in [-1, 1] on the CPU, one by one."""
        number = self.number_of(label)
        if not 0 <= seed < 2**63:
            raise ValueError(f"--seed {seed}: a number from 0 to 2^63 - 1 is expected")
        if count < 1:
            raise ValueError(f"--count {count}: a number of pictures, 1 or more, is expected")
        return self._generated(number, count, seed)

    def _generated(self, number: int, count: int, seed: int) -> Iterator[Tensor]:
        drawn = self.method.drawn(number, seed, count, self.device)
        for _ in range(count):
            with torch.inference_mode(), autocast(self.precision, self.device):
                picture = next(drawn).float().cpu()
            yield picture  # outside, where whoever asked may do as he likes

    def number_of(self, label: str | int | None) -> int:
        """The place of a label among the classes, 0 where there are none; a `ValueError` for one that is not among them."""
        name, classes = self.config.method, self.method.classes
        if "x" in self.method.inputs:
            raise ValueError(
                f"{name} makes pictures out of pictures, not out of noise: diptych translate RUN INPUT... --out PATH"
            )
        if label is None and classes:
            raise ValueError(f"--label: which one? There are: {', '.join(classes)}")
        if label is None:
            return 0
        if not classes:
            raise ValueError(f"--label {label}: this model learnt without labels; leave it out")
        if str(label) not in classes:
            near = difflib.get_close_matches(str(label), classes, n=1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"--label {label}: there is no such class; {meant}there are: {', '.join(classes)}")
        return classes.index(str(label))


class _dropout:  # noqa: N801 -- used like a function
    """Inside, dropout is on when `active`, and everything else stays in eval mode."""

    def __init__(self, method: nn.Module, active: bool) -> None:
        self.layers = [layer for layer in method.modules() if isinstance(layer, nn.Dropout)] if active else []

    def __enter__(self) -> None:
        for layer in self.layers:
            layer.train()

    def __exit__(self, *error: object) -> None:
        for layer in self.layers:
            layer.eval()


def _holes(mask: MaskPicture, size: tuple[int, int]) -> Mask:
    if isinstance(mask, Path | str):
        return mask_files.read(Path(mask), size)
    if isinstance(mask, Image.Image):
        return mask_files.from_pixels(files.from_image(mask), size)
    values = np.asarray(mask)
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * np.uint8(EIGHT_BIT.full)
    if values.ndim == 2:
        values = values[..., None]
    if (
        values.ndim != 3
        or values.shape[-1] not in (1, 3)
        or 0 in values.shape
        or values.dtype not in (np.uint8, np.uint16)
    ):
        raise ValueError(
            f"a mask of shape {values.shape} and {values.dtype}: [H, W] of booleans, or a picture of uint8, is expected"
        )
    return mask_files.from_pixels(Pixels(values), size)


def require_working_size(working_size: int | None) -> None:
    """Raises a `ValueError` when a picture cannot be shrunk to it."""
    if working_size is not None and working_size < 1:
        raise ValueError(f"--working-size {working_size}: a number of pixels, 1 or more, is expected")
