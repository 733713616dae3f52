"""Trained models: from an image to an image of the same type and size, or from a label to images."""

import hashlib
import io
import math
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, TypedDict, TypeVar, Unpack, overload

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

from diptych.cpu import FastOperators
from diptych.data import mask_files
from diptych.data.mask_files import Note, UserMask
from diptych.data.outputs import plan, require_no_input
from diptych.devices import (
    Device,
    Precision,
    bytes_from,
    choose_device,
    computing,
    free_memory,
    is_out_of_memory,
    memory_format,
    translation_precision,
)
from diptych.exported import ONNX, ExportedFile
from diptych.files import fingerprint
from diptych.hub import local_folder
from diptych.images import files, giant, metadata, numbers, objects, profiles
from diptych.images.blend import Blend
from diptych.images.files import (
    Array,
    Gathered,
    Pixels,
    from_image,
    from_tensor,
    in_srgb,
    to_image,
    to_tensor,
    with_alpha_as_channel,
)
from diptych.images.formats import TooLargeError
from diptych.images.metadata import Metadata
from diptych.images.on_disk import folder_of, let_go
from diptych.images.remarks import FLAT, collected, lines, note
from diptych.images.spec import RGB, RGBX, ImageSpec
from diptych.kinds import Direction, Sides, ends_of
from diptych.methods import METHODS
from diptych.progress import Notes, say
from diptych.runtimes.kept import in_runtime
from diptych.runtimes.sessions import Runtime
from diptych.training import checkpoint
from diptych.translators.base import PLAIN, Request, dropout_active
from diptych.translators.image import ImageTranslator
from diptych.translators.maps import NotInStripsError, turns_flat_into_noise
from diptych.translators.memory import needed_memory
from diptych.translators.strips import InStrips, ReadRows, Room, Watch, WriteRows, as_amount
from diptych.wording import brief

Picture = TypeVar("Picture", Image.Image, Array, Tensor, bytes)
THE_PICTURE, THE_MASK = "the picture", "the mask"
"""What messages call those without a file."""
BYTES_A_PIXEL = 64
"""What a picture needs on its way through `Model.pixels` beside the network: levels, floats, and those of the result."""
BYTES_A_PIXEL_BY_ROWS = 32
"""The same where nothing but levels is ever whole: those of 16 bits, twice, and what decoders and encoders need."""

SMALL = 2**20  # pixels of a batch that are translated without asking what they need

OnePicture = Path | str | Image.Image | Array | Tensor | bytes | BinaryIO
Several = list[Any] | tuple[Any, ...]


class Options(TypedDict, total=False):
    """How an image is translated: see `Model.__call__`."""

    mask: OnePicture | Several | None
    blend: Blend
    stochastic: bool
    working_size: int | None


def load(
    run: Path | str,
    *,
    direction: Direction | None = None,
    to: str | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    runtime: Runtime | None = None,
    memory: int | str | None = None,
    scratch: Path | str | None = None,
) -> "Model":
    """Opens the model of a run, also while it is still training; or a model folder, `hub:OWNER/NAME`, or an exported ONNX.

    `direction` is for a model of both directions, or `to`, the name of what comes out, such as "paintings"; the default is
    the direction of its training. `runtime` is what computes the network: "torch", or on the CPU "onnxruntime" or
    "openvino"; without it, torch, and ONNX Runtime for an ONNX file. The first time that a run goes through another runtime,
    its network is written as an ONNX file into the cache, and compared with the model.

    A picture that would need more `memory` (bytes, or such as "4G"; by default half of what is free) goes through in strips
    of rows, with the same result. What does not fit into that memory lies meanwhile in a file without a name in the folder
    `scratch`, by default the current one.

    Raises a `ValueError` if there is no trained model, if it does not translate in that direction, and for a runtime that is
    not installed or makes something else than the model.
    """
    bytes_of_it = bytes_from(memory) if isinstance(memory, str) else memory
    model = Model(Path(run), direction, device, precision, runtime, bytes_of_it, Path(scratch) if scratch else Path())
    if to is not None:
        model.turn_to(to)
        if direction not in (None, model.direction):
            raise ValueError(f"--direction {direction} and --to {to}: are two ways; leave one of them out")
    return model


class Model:
    """A trained model: `model(picture)` returns the translated image, `model.sample(label)` images from noise.

    Both are deterministic: the same image, or label and seed, gives the same result, independent of other calls.
    """

    def __init__(
        self,
        run: Path,
        direction: Direction | None = None,
        device: Device = "auto",
        precision: Precision = "auto",
        runtime: Runtime | None = None,
        memory: int | None = None,
        scratch: Path = Path(),
    ) -> None:
        if not scratch.is_dir():
            raise ValueError(f"--scratch {scratch}: there is no such folder; name one that exists")
        self.memory, self.scratch = memory, scratch
        self.watch = Watch(say=partial(say, Console(stderr=True)))
        """Who is told of a picture that goes in strips."""
        is_file = run.suffix.lower() == ONNX and not run.is_dir()
        self.place = run
        self.runtime: Runtime = runtime or ("onnxruntime" if is_file else "torch")
        self.device = choose_device("cpu" if self.runtime != "torch" and device == "auto" else device)
        if self.runtime != "torch" and self.device.type != "cpu":
            raise ValueError(f"--device {device}: {run} runs in {self.runtime}, on the CPU; leave it out")
        self.precision = translation_precision(precision, self.device)
        self.operators = FastOperators(frozen=True)
        self.exported = ExportedFile(run, self.runtime, self.precision) if is_file else None
        self.saved = self.exported.saved if self.exported else checkpoint.load_model(local_folder(run), self.device)
        self.translators, self.config, self.step = self.saved
        own = next(iter(self.translators))
        if direction not in (None, *self.translators):
            raise ValueError(f"--direction {direction}: {run} translates {own} and no other way; leave it out")
        self.name = str(run)
        self.in_runtime = dict[Direction, str]()
        """The directions whose networks `runtime` computes already, and their fingerprints."""
        self.turn(direction or own)

    def turn(self, direction: Direction) -> None:
        """From now on it translates in this direction, which is one of its `translators`."""
        self.direction, self.translator = direction, self.translators[direction]
        if self.runtime != "torch" and not self.exported and direction not in self.in_runtime:
            of_weights = self.fingerprint
            self.translator.network = in_runtime(self.saved, direction, self.runtime, self.precision)
            self.in_runtime[direction] = of_weights
        self.translator.network.to(memory_format=memory_format(self.device))  # type: ignore[call-overload]
        spec = self.translator.input_specs.get("x")
        self.x_spec = spec if isinstance(spec, ImageSpec) else ImageSpec()
        """How pictures that are translated are read."""

    def turn_to(self, side: str) -> None:
        """From now on it makes pictures of this side, by its name; a `ValueError` with the names that there are."""
        if not self.makes:
            raise ValueError(f"--to {side}: {self.name} has no A and B; leave it out")
        if side not in self.makes:
            remedy = f"give --to {' or --to '.join(map(shlex.quote, self.makes))}"
            raise ValueError(f"--to {side}: {self.name} makes {' or '.join(self.makes)}; {remedy}")
        self.turn(self.makes[side])

    @property
    def makes(self) -> dict[str, Direction]:
        """The names of what it can make, and in which direction; that of its training first."""
        return {ends_of(way, self.sides)[1]: way for way in self.translators} if self.sides else {}

    @property
    def sides(self) -> Sides | None:
        """What A and B are called, by the folders that it learnt from; None where there is no A and B."""
        return self.config.sides if METHODS[self.config.method].data.has_sides else None

    @property
    def fingerprint(self) -> str:
        """The same for equal weights of one method, in whichever folder or file they are."""
        if self.exported:
            return hashlib.sha256(self.place.read_bytes()).hexdigest()
        if self.direction in self.in_runtime:
            return self.in_runtime[self.direction]
        weights = {name: value.cpu() for name, value in self.translator.state_dict().items()}
        return fingerprint(self.config.model_dump_json(exclude={"diptych"}), weights)

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
    @overload
    def __call__(self, picture: BinaryIO, **options: Unpack[Options]) -> io.BytesIO: ...
    @overload
    def __call__(self, picture: Several, **options: Unpack[Options]) -> list[Any]: ...

    def __call__(
        self,
        picture: OnePicture | Several,
        *,
        out: Path | str | None = None,
        overwrite: bool = False,
        mask: OnePicture | Several | None = None,
        blend: Blend = "none",
        stochastic: bool = False,
        working_size: int | None = None,
    ) -> Any:
        """Translates an image of any size and mode, and returns an image of the same type.

        | given | returned |
        |---|---|
        | Pillow image | Pillow image |
        | array `[H, W]`, `[H, W, 1]` or `[H, W, 3]` of uint8, uint16, or floats in [0, 1] | array of that type |
        | tensor `[H, W]`, `[1, H, W]` or `[3, H, W]` of the same types, on any device | tensor of that type, there |
        | path | Pillow image; with `out`, the path of the written file |
        | bytes of a picture file, or such a file opened with "rb" | bytes of a PNG, or a `BytesIO` with them |
        | list of these; arrays `[N, H, W, C]`, tensors `[N, C, H, W]` | list; array, tensor |

        An existing file at `out` is replaced only with `overwrite`, and an input file never. Alpha is copied unchanged. A
        file keeps what the format can hold of profile, EXIF, resolution and texts. Colours are seen by the network in sRGB
        and come out in those of the picture's own ICC profile.

        `mask`, for image completion, is one of these, of any size, or a list with one for each image: white in the holes, or
        marked in another way that `read_hole` understands; then one line on stderr says what was taken as the hole. Arrays
        may also be of booleans. Pixels outside the holes remain bit for bit the same. `blend` ("telea", "poisson") removes
        seams around the filled holes.

        `stochastic` leaves dropout on, the paper's only source of variety (pix2pix, section 2.1). `working_size`, in pixels,
        shrinks the shorter side of the image to that before translation and scales the result back: for images much larger
        than the training images.

        Raises a `ValueError` for what is no image, and for a request that this model cannot serve.
        """
        self.translator.require_request(mask is not None, blend)
        target = None
        if out is not None:
            if not isinstance(out, Path | str):
                raise ValueError(
                    f"out={brief(out, 40)}: the path of a file is expected; what is returned can go anywhere"
                )
            target = _target(picture, Path(out), overwrite)
            if isinstance(mask, Path | str):
                require_no_input([(Path(mask), target)])
        pictures, together = objects.separate(picture) or ([picture], itemgetter(0))
        console = Console(stderr=True)
        notes, request = Notes(console), Request(None, blend, working_size)
        with collected() as remarks:
            results = [
                self._translated(one, _named(one, number, pictures), user_mask, notes, request, stochastic, target)
                for number, (one, user_mask) in enumerate(zip(pictures, _user_masks(mask, len(pictures)), strict=True))
            ]
        notes.end()
        for line in lines(remarks):
            say(console, line)
        return together(results)

    def _translated(
        self,
        picture: OnePicture,
        name: str,
        mask: UserMask | None,
        note: Note,
        request: Request,
        stochastic: bool,
        target: Path | None,
    ) -> Any:
        """One image, or the file `target` for a path."""
        if isinstance(picture, Tensor):
            with _naming(name):
                array = objects.array_of(picture, self.x_spec.channels)
            return objects.tensor_like(picture, self._translated(array, name, mask, note, request, stochastic, None))
        with _naming(name):
            source, known = self.opened(picture, name)
        if mask:
            size = source.size if isinstance(source, Pixels) else (source.shape[0], source.shape[1])
            request = replace(request, mask=mask.fitted(size, note))
        if isinstance(source, Pixels):
            self.watch = replace(self.watch, name=name)
            with _naming(name):
                pixels = self.pixels(in_srgb(source, known.profile), request, stochastic)
            pixels, known = self.in_own_colours(pixels, source, known, request)
            values = pixels.values
        else:
            with self._dropout(stochastic):
                values = self.translator.translate_floats(source, request, self.run)
        if isinstance(picture, np.ndarray):
            return values[..., 0] if picture.ndim == 2 and values.shape[-1] == 1 else values
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            self.write(pixels, target, known)
            return target
        if isinstance(picture, Path | str | Image.Image):
            image = to_image(pixels)
            image.info |= {"icc_profile": known.profile} if known.profile else {}
            return image
        # A PNG, or a TIFF for numbers that a PNG does not hold
        data, _ = self.encoded(pixels, ".png" if pixels.values.dtype in numbers.LEVELS else ".tif", known)
        return io.BytesIO(data) if hasattr(picture, "read") else data

    def encoded(
        self, pixels: Pixels, suffix: str, known: Metadata | None = None, quality: int | None = None
    ) -> tuple[bytes, list[str]]:
        """The bytes of what `write` writes in the format of a suffix, and what that cannot hold."""
        with TemporaryDirectory() as folder:
            file = Path(folder, f"picture{suffix}")
            try:
                lost = self.write(pixels, file, known, quality)
            except ValueError as error:
                raise ValueError(str(error).removeprefix(f"{file}: ")) from error
            return file.read_bytes(), lost

    def opened(
        self, picture: Path | str | Image.Image | Array | bytes | BinaryIO, name: str, most: int | None = None
    ) -> tuple[Pixels | Array, Metadata]:
        """The pixels of an image in its own colours, floats of an array as they are; and what it knows of itself.

        `most` pixels of a file are read: by default what there is memory for.
        """
        if isinstance(picture, Path | str):
            return self.read(Path(picture), most)
        if isinstance(picture, Image.Image):
            objects.require_loaded(picture)
            pixels = numbers.from_image(picture, self.x_spec)
            known = metadata.of_image(picture, pixels.size)
        elif isinstance(picture, np.ndarray):
            source = _as_channels(picture, self.x_spec)
            if not isinstance(source, Pixels):
                return source, Metadata((source.shape[0], source.shape[1]))
            pixels, known = source, Metadata(source.size)
        else:
            data, name = objects.bytes_of(picture, name)
            most = self.most_pixels() if most is None else most
            pixels, known = numbers.decode_to_rewrite(data, name, self.x_spec, most)
        numbers.note_not_finite(pixels, name)
        self._note(pixels, name)
        return pixels, replace(known, profile=b"") if self.x_spec.is_of_numbers else known

    def _note(self, pixels: Pixels, name: str) -> None:
        """Notes what is to be said of the pixels of a picture before it is translated."""
        numbers.note_beyond(pixels, self.x_spec, name)
        if pixels.is_flat and (one := self._by_rows) and turns_flat_into_noise(one.network, one.network_channels):
            note(name, FLAT)

    def pixels(self, source: Pixels, request: Request = PLAIN, stochastic: bool = False) -> Pixels:
        """Translates pixels to pixels of the same size, bits and alpha; numbers of a range to numbers of one."""
        return self.all_pixels([source], [request], stochastic)[0]

    def all_pixels(
        self, sources: Sequence[Pixels], requests: Sequence[Request], stochastic: bool = False
    ) -> list[Pixels]:
        """The same for several pictures of one size, in one batch where the translator can and the memory allows it."""
        with self._dropout(stochastic):
            if len(sources) == 1 and (way := self._in_strips(sources[0], requests[0])):
                return [self._pixels_in_strips(sources[0], requests[0], way)]
            out = self.translator.output_spec
            levels = [numbers.into(source, self.x_spec, out) for source in sources]
            results = self.translator.translate_all(levels, requests, self.run)
        together = zip(results, sources, requests, strict=True)
        return [numbers.out_of(result, out, source, request.mask) for result, source, request in together]

    @property
    def _by_rows(self) -> ImageTranslator | None:
        """The translator, where a picture can go through it in strips of rows."""
        return self.translator if isinstance(self.translator, ImageTranslator) else None

    def _in_strips(self, source: Pixels, request: Request) -> InStrips | None:
        """How a picture goes that the network sees at its own size, if in strips: nothing of it is whole but levels."""
        translator, (height, width) = self._by_rows, source.size
        if translator is None or translator.seen_size(source.size, request) != source.size:
            return None
        channels = max(self.x_spec.channels, translator.output_spec.channels)
        levels, shape = source.values[..., :1].nbytes * channels, (1, translator.x_channels, height, width)
        if folder_of(source.values):
            return self._way(height, width, [shape], held=0, reserved=levels)
        return self._way(height, width, [shape], held=2 * levels)

    def _way(
        self, height: int, width: int, shapes: Sequence[tuple[int, ...]], held: int, reserved: int = 0
    ) -> InStrips | None:
        """How tensors of these shapes go, of which and of their results `held` bytes are in memory; None if as a whole.

        The result takes `reserved` bytes of the disk. Raises a `TooLargeError` where they can go neither way.
        """
        one = shapes[0][0] == 1
        if self.runtime != "torch" or self.exported or (shapes[0][0] * height * width <= SMALL and self.memory is None):
            return None
        needed, free = needed_memory(self.translator, shapes) + held, free_memory(self.device)
        if needed <= (self.memory or free // 2):
            return None
        if self._by_rows and one:
            room = Room(self.memory or free_memory(torch.device("cpu")) // 2, self.scratch, reserved)
            with suppress(NotInStripsError):
                return InStrips(self._by_rows, height, width, room, held)
        if needed > (allowed := min(free, self.memory or free)):
            what = "are free" if allowed == free else "may be taken"
            why = f"need about {_gib(needed)} here, and {_gib(allowed)} {what}"
            raise _too_large(height, width, why, allowed / needed)
        return None

    def _pixels_in_strips(self, source: Pixels, request: Request, way: InStrips) -> Pixels:
        translator, out = way.translator, self.translator.output_spec
        translator.require_request(request.mask is not None, request.blend)
        gathered = Gathered(way.height, folder_of(source.values))

        def seen(rows: slice | Array) -> Pixels:
            return with_alpha_as_channel(numbers.into(source.rows(rows), self.x_spec, out), translator.x_channels)

        def read(rows: Tensor) -> Tensor:
            x = to_tensor(seen(rows.numpy()), translator.x_channels)[None]
            let_go(source.values, source.alpha)
            return x

        def write(rows: slice, y: Tensor) -> None:
            x = seen(rows)
            made = from_tensor(y[0], x.bits, x.alpha)
            gathered.put(rows, numbers.out_of(made, out, source.rows(rows)))
            let_go(source.values, source.alpha)

        self._run_in_strips(way, read, write)
        return gathered.pixels

    @torch.inference_mode()
    def _run_in_strips(self, way: InStrips, read: ReadRows, write: WriteRows) -> None:
        self.watch.say(f"{self.watch.name}: too large for {as_amount(way.room.memory)} of memory as a whole; {way}")
        try:
            with computing(self.precision, self.device, self.operators):
                way.run(read, write, self.device, self.watch)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise _too_large(way.height, way.width, f"need more memory than is free on {self.device}", 0.5) from None

    @property
    def suffix(self) -> str | None:
        """That of the files that hold its results, where those of the inputs may not; None where they may."""
        out = self.translator.output_spec
        if out.kind == "labels":
            return ".png"
        return ".tif" if out.range and not self.x_spec.range else None

    def read(self, file: Path, most: int | None = None) -> tuple[Pixels, Metadata]:
        """The pixels of a file as the model's input is read, in the file's own colours, and what it knows of itself.

        Of at most `most` pixels where it is read as a whole, by default what there is memory for.
        """
        most = self.most_pixels() if most is None else most
        return self._read_by_rows(file, most) or self.read_bytes(files.read_bytes(file, most), str(file), most)

    def read_bytes(self, data: bytes, name: str, most: int) -> tuple[Pixels, Metadata]:
        """The same of the bytes of a file; `name` is what messages and remarks call it."""
        pixels, known = numbers.decode_to_rewrite(data, name, self.x_spec, most)
        self._note_read(pixels, name)
        return pixels, known

    def _note_read(self, pixels: Pixels, name: str) -> None:
        """Notes what is to be said of the pixels of a file."""
        if self.x_spec.channels in (1, RGB) and not self.x_spec.labels and pixels.values.shape[-1] == RGBX:
            note(name, self.translator.on_a_fourth_channel)
        self._note(pixels, name)

    def _read_by_rows(self, file: Path, most: int) -> tuple[Pixels, Metadata] | None:
        """The same of a picture that takes more memory than it may, as levels on the disk; None of one that goes whole.

        Raises a `ValueError` where it has more than `most` pixels and the extra is missing that reads it.
        """
        if not self._by_rows or self.exported or self.x_spec.is_of_numbers or not (found := giant.header(file)):
            return None
        allowed = self.memory // BYTES_A_PIXEL_BY_ROWS if self.memory else most // 2
        if found.pixels <= min(giant.PIXELS, allowed):
            return None
        if not giant.is_installed():
            if found.pixels <= most:
                return None
            raise TooLargeError(
                f"{file}: {found.width}x{found.height} pixels, and at most {most:,} are opened here as a whole; pip install "
                "'diptych[giant]' reads and writes it by rows"
            )
        if not (levels := giant.read(file, self.scratch)):
            return None
        pixels = Pixels(levels.values, levels.alpha)
        self._note_read(pixels, str(file))
        return pixels, levels.known

    def write(self, pixels: Pixels, file: Path, known: Metadata | None = None, quality: int | None = None) -> list[str]:
        """Writes what `pixels` gave, in the format of the file's suffix; returns in words what that cannot hold."""
        return numbers.write(pixels, file, self.translator.output_spec, known, quality)

    def in_own_colours(
        self, result: Pixels, source: Pixels, known: Metadata, request: Request = PLAIN
    ) -> tuple[Pixels, Metadata]:
        """A translation that was made in sRGB, in the colours of its source, and what its file will know of itself.

        What a mask keeps has the levels of the source, untouched by the way to sRGB and back.
        """
        if request.mask is not None and source.above_alpha is not None:
            result = replace(result, above_alpha=np.where(request.mask[..., None], 0, source.above_alpha))
        profile, channels = known.profile, result.values.shape[-1]
        if not profile:
            return result, known
        if self.translator.output_spec.kind == "labels":
            return result, known.without_profile("the colour profile, which label maps do not need")
        if channels != source.values.shape[-1] and not profiles.fits(profile, channels):
            return result, known.without_profile("the colour profile, which is for other channels")
        if profiles.is_taken_as_srgb(source.values, profile):
            known = replace(known, gone=(*known.gone, "a conversion to sRGB, for 16 bits in a profile of tables"))
        values = profiles.from_srgb(result.values, profile)
        if request.mask is not None:
            values = np.where(request.mask[..., None], values, with_alpha_as_channel(source, channels).values)
        return replace(result, values=values), known

    def _dropout(self, active: bool) -> dropout_active:
        if active and self.exported:
            raise ValueError("--stochastic: an exported file has no dropout; give the run that it was made of")
        if active and self.runtime != "torch":
            raise ValueError(f"--stochastic: --runtime {self.runtime} has no dropout; leave it out")
        return dropout_active(self.translator, active)

    def most_pixels(self) -> int:
        """The largest picture that can be opened and written in the memory that is free, whatever the network needs."""
        each = BYTES_A_PIXEL_BY_ROWS if self._by_rows and not self.exported else BYTES_A_PIXEL
        return free_memory(torch.device("cpu")) // each

    @torch.inference_mode()
    def run(self, *tensors: Tensor) -> Tensor:
        """Runs the translator on its inputs `[B, ...]`, in the order of `input_specs` -> `[B, C, H, W]` on the CPU.

        Raises a `TooLargeError` when they need more memory than is free.
        """
        if self.exported:
            return self.exported.run(*tensors)
        if self.runtime != "torch":
            computed: Tensor = self.translator(*tensors)
            return computed
        height, width = tensors[0].shape[-2:]
        if tensors[0].ndim == 4:
            channels = tensors[0].shape[1] + self.translator.output_spec.channels
            held = channels * 4 * len(tensors[0]) * height * width
            way = self._way(height, width, [tensor.shape for tensor in tensors], held)
            if way:
                return self._whole_in_strips(tensors[0], way)
        try:
            with computing(self.precision, self.device, self.operators):
                output: Tensor = self.translator(*(tensor.to(self.device) for tensor in tensors))
            return output.float().cpu()
        except (MemoryError, RuntimeError) as error:
            if tensors[0].ndim < 4 or not is_out_of_memory(error):
                raise
            raise _too_large(height, width, f"need more memory than is free on {self.device}", 0.5) from None

    def _whole_in_strips(self, x: Tensor, way: InStrips) -> Tensor:
        """`[1, C, H, W]` on the CPU -> the same as `run`."""
        output = torch.empty(1, self.translator.output_spec.channels, way.height, way.width)

        def write(rows: slice, y: Tensor) -> None:
            output[..., rows, :] = y

        self._run_in_strips(way, lambda rows: x.cpu().index_select(-2, rows), write)
        return output

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


def _named(picture: object, number: int, pictures: Sequence[object]) -> str:
    """What messages call a picture: its path, or its place among several."""
    if isinstance(picture, Path | str):
        return str(Path(picture))
    return objects.name_of(picture, THE_PICTURE if len(pictures) == 1 else f"picture {number}")


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Inside, a `ValueError` that does not begin with the name of the picture gets it."""
    try:
        yield
    except ValueError as error:
        if str(error).startswith(f"{name}: "):
            raise
        kind = TooLargeError if isinstance(error, TooLargeError) else ValueError
        raise kind(f"{name}: {error}") from error


def _as_channels(array: Array, spec: ImageSpec) -> Pixels | Array:
    """Integers, and with a range numbers of any type, as `Pixels`, other floats as `[H, W, C]`.

    Class numbers of labels may have any type of whole numbers.

    A `ValueError` for an array that is not an image.
    """
    channels = spec.channels
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (1, 3, channels)) or 0 in array.shape:
        *others, last = ("[H, W]", *(f"[H, W, {count}]" for count in sorted({1, 3, channels})))
        turned = array.ndim == 3 and array.shape[0] in (1, 3, channels)
        remedy = ": turn its axes, np.moveaxis(array, 0, -1)" if turned else ""
        raise ValueError(f"an array of shape {array.shape} is not a picture; {', '.join(others)} or {last} is{remedy}")
    array = objects.plain_array(array)
    values = array if array.ndim == 3 else array[..., None]
    if array.dtype in (np.uint8, np.uint16) or (spec.range and array.dtype.kind in "uif"):
        return Pixels(values)
    if spec.labels and spec.labels.by_index and array.dtype.kind in "bui":
        return Pixels(values.astype(np.uint8) if array.dtype == np.bool_ else values)
    if spec.labels:
        raise ValueError(f"an array of {array.dtype} is no label map; use whole numbers, uint8 for colours")
    if array.dtype not in (np.float16, np.float32, np.float64):
        raise ValueError(f"an array of {array.dtype} has no fixed range; use uint8, uint16, or floats in [0, 1]")
    if not (array.min() >= 0 and array.max() <= 1):  # false for NaN too
        raise ValueError(
            f"an array of {array.dtype} from {array.min()} to {array.max()}: floats are read in [0, 1]; scale them first, "
            "(x - low) / (high - low)"
        )
    return values


def _target(picture: object, out: Path, overwrite: bool) -> Path:
    """The file to write; a `ValueError` unless `picture` is the path of one picture."""
    if not isinstance(picture, Path | str):
        raise ValueError(
            f"out={out}: is for a picture given by its path; save what is returned, or use diptych.translate"
        )
    if Path(picture).is_dir():
        raise ValueError(f"{picture}: is a folder; diptych.translate takes folders")
    [(_, target)] = plan([Path(picture)], out, overwrite)
    return target


def _user_masks(mask: OnePicture | Several | None, count: int) -> Sequence[UserMask | None]:
    """A mask for each of so many pictures, from one for all or from as many."""
    if mask is None:
        return [None] * count
    if not (several := objects.separate(mask)):
        return [_user_mask(mask)] * count
    masks, _ = several
    if len(masks) != count:
        raise ValueError(f"{len(masks)} masks for {count} pictures: give one for all, or as many")
    return [_user_mask(one) for one in masks]


def _user_mask(mask: Any) -> UserMask:
    if isinstance(mask, Path | str):
        return mask_files.read(Path(mask))
    with _naming(objects.name_of(mask, THE_MASK)):
        return _mask_in_memory(mask)


def _mask_in_memory(mask: Any) -> UserMask:
    if isinstance(mask, Image.Image):
        objects.require_loaded(mask)
        if mask.mode in ("I", "F"):
            return mask_files.from_array(np.asarray(mask))
        return mask_files.from_pixels(from_image(mask))
    if isinstance(mask, Tensor):
        mask = objects.array_of(mask)
    if isinstance(mask, np.ndarray):
        return mask_files.from_array(mask)
    return mask_files.from_bytes(*objects.bytes_of(mask, THE_MASK))
