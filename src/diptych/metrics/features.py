"""Network features of images, one row per image: the inputs of set distances."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from diptych.files import cached, digest
from diptych.images import geometry
from diptych.images.files import from_bytes
from diptych.images.spec import EIGHT_BIT
from diptych.metrics import weights
from diptych.metrics.exports import open_program
from diptych.metrics.networks import inception as network_file
from diptych.wording import brief

if TYPE_CHECKING:
    from torch.export import ExportedProgram  # takes two seconds to import, and is rarely needed

BATCH_SIZE = 32  # images, if the network accepts any number
EXPECTED = "a network for --features takes one float32 tensor [B, 1 or 3, H, W] and gives one [B, D] or [B, D, 1, 1]"


class Images(Protocol):
    """Images, uint8 `[C, H, W]` each, that can be iterated over repeatedly: a list, `[N, C, H, W]`, or a lazy sequence."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Tensor]: ...


Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Features:
    """A feature network, and the preparation of its inputs.

    >>> mean = Features("mean", "as-is", from_bytes, lambda images: images.mean(dim=(2, 3)))
    >>> mean.read(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).tolist()
    [[-1.0, -1.0, -1.0], [-1.0, -1.0, -1.0]]
    """

    name: str
    """The network's name in a metric's specification."""
    resizing: str
    """The resizing of its inputs: "clean-299", or "as-is"."""
    prepare: Callable[[Tensor], Tensor]
    """uint8 `[C, H, W]` -> float32 `[c, h, w]`, an input of the network."""
    network: Callable[[Tensor], Tensor]
    """`[B, c, h, w]`, B at most `batch_size` -> float32 `[B, D]` on the CPU."""
    batch_size: int = BATCH_SIZE

    @property
    def protocol(self) -> str:
        """Its part of a metric's specification."""
        return f"{self.name}/{self.resizing}"

    def read(self, images: Tensor) -> Tensor:
        """uint8 `[B, C, H, W]` -> float32 `[B, D]` on the CPU."""
        return extract(self, images)


def extract(features: Features, images: Images, *, keep: bool = False, progress: Progress | None = None) -> Tensor:
    """The features of images of any sizes, float32 `[N, D]` on the CPU.

    With `keep` they are stored by the content of the images, not by their paths, and extracted only once. The first time
    this decodes the images twice and holds one batch in memory: decoding is cheap compared with the network, and a set may
    be larger than the memory. Cached rows are in the order of the images at the time of extraction, which may differ from
    the present one; set distances do not depend on it.
    """
    if keep:
        name = f"features-{digest(features.name, features.resizing, images)}"
        return cached(name, lambda: {"features": extract(features, images, progress=progress)})["features"]
    rows = list[Tensor]()
    prepared = map(features.prepare, images)
    while batch := list(islice(prepared, features.batch_size)):
        row_of = dict[int, Tensor]()
        for shape in {image.shape for image in batch}:
            indices = [index for index, image in enumerate(batch) if image.shape == shape]
            row_of |= zip(indices, features.network(torch.stack([batch[index] for index in indices])), strict=True)
        rows += [row_of[index] for index in range(len(batch))]
        if progress:
            progress(len(rows), len(images))
    return torch.stack(rows)


def clean(image: Tensor, height: int, width: int) -> Tensor:
    """Antialiased bicubic resizing: uint8 `[C, H, W]` -> float32 levels `[C, height, width]`, 0 to 255, not rounded.

    Parmar et al. 2022 ("On Aliased Resizing and Surprising Subtleties in GAN Evaluation") showed that other resizing changes
    a Fréchet distance by more than the difference between the compared models.

    >>> clean(torch.zeros(3, 400, 600, dtype=torch.uint8), 299, 299).shape
    torch.Size([3, 299, 299])
    """
    return geometry.resize(image.float(), height, width).clamp(0, EIGHT_BIT.full)


# ---- the standard Inception


def inception(folder: Path | None, fetch: bool, device: torch.device) -> Features:
    """The standard features of FID and KID: 2048 of Inception v3, each image resized to 299 px by `clean`.

    `folder` and `fetch` control the search for the weights; see `weights.find`, also for errors.
    """
    file = weights.find(weights.INCEPTION, folder, fetch)
    network = network_file.trained(file).to(device)
    size = network_file.SIZE

    def prepare(image: Tensor) -> Tensor:
        return (clean(image, size, size).expand(3, -1, -1) - 128) / 128  # the input range of its graph

    @torch.inference_mode()
    def run(images: Tensor) -> Tensor:
        rows: Tensor = network(images.to(device))
        return rows.float().cpu()

    return Features(f"inception-{weights.INCEPTION.sha256[:8]}", f"clean-{size}", prepare, run)


# ---- an exported network


def exported(file: Path, device: torch.device) -> Features:
    """The features of a custom network, in a file of `torch.export.save`.

    It maps float32 `[B, C, H, W]` in [-1, 1] to `[B, D]` or `[B, D, 1, 1]`. If H and W are fixed, images are resized to them
    by `clean`, else not at all. If C is 3, grey is repeated. If B is fixed, incomplete batches are padded. Raises a
    `ValueError` for a file without such a network, and during extraction for images that the network does not accept.
    """
    from torch.export.passes import move_to_device_pass

    digest, program = open_program(file, EXPECTED)
    inputs, outputs = _signature(program)
    container = program.call_spec.out_spec.type  # such as a tuple; None for a plain tensor
    if container or not _are_images(inputs) or not _are_features(outputs[0], inputs[0]):
        gives = f"a {container.__name__} of {_described(outputs)}" if container else _described(outputs)
        raise ValueError(f"{file}: takes {_described(inputs)} and gives {gives}; {EXPECTED}")
    batch_size, channels, *sides = inputs[0].shape
    least, most = _range(program, batch_size)
    fixed = all(isinstance(side, int) for side in sides)
    resizing = "as-is"
    if fixed:
        resizing = f"clean-{sides[0]}" if sides[0] == sides[1] else f"clean-{sides[0]}x{sides[1]}"
    try:
        network = move_to_device_pass(program, device).module()
    except Exception as error:  # whatever torch meets while it rebuilds a network that somebody has changed
        raise ValueError(f"{file}: cannot be rebuilt by torch ({brief(error)}); export it again") from error

    def prepare(image: Tensor) -> Tensor:
        if len(image) not in (1, channels):
            raise ValueError(f"{file}: takes pictures of {channels} channel, and here they have {len(image)}")
        return from_bytes(clean(image, *sides) if fixed else image).expand(channels, -1, -1)

    @torch.inference_mode()
    def run(images: Tensor) -> Tensor:
        missing = max(least - len(images), 0)
        full = torch.cat([images, images.new_zeros(missing, *images.shape[1:])])
        try:
            rows: Tensor = network(full.to(device))
        except Exception as error:  # a guard, such as a range of sizes, or whatever its operations raise
            height, width = images.shape[2:]
            reason = brief(str(error).partition("\n")[0])
            raise ValueError(f"{file}: does not take {len(full)} pictures of {width}x{height} ({reason})") from error
        features = rows[: len(images)].flatten(1).float().cpu()
        if not features.isfinite().all():
            raise ValueError(f"{file}: gives numbers that are not finite; give another network")
        return features

    return Features(f"{file.stem}-{digest[:8]}", resizing, prepare, run, batch_size=most)


def _signature(program: "ExportedProgram") -> tuple[list[Any], list[Any]]:
    """Inputs and outputs of the program: tensors without data, or numbers."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    signature = program.graph_signature
    return [values.get(name) for name in signature.user_inputs], [values.get(name) for name in signature.user_outputs]


def _are_images(inputs: list[Any]) -> bool:
    if len(inputs) != 1 or not isinstance(inputs[0], Tensor):
        return False
    return inputs[0].dtype == torch.float32 and inputs[0].ndim == 4 and inputs[0].shape[1] in (1, 3)


def _are_features(output: Any, images: Tensor) -> bool:
    if not isinstance(output, Tensor) or output.ndim < 2:
        return False
    return output.shape[2:] in ((), (1, 1)) and str(output.shape[0]) == str(images.shape[0])


def _described(values: list[Any]) -> str:
    """A list of tensors without data, for a message."""
    words = []
    for value in values:
        if isinstance(value, Tensor):
            value = f"{value.dtype} [{', '.join(map(str, value.shape))}]".removeprefix("torch.")
        words.append(str(value))
    return " and ".join(words) or "nothing"


def _range(program: "ExportedProgram", size: int | torch.SymInt) -> tuple[int, int]:
    """The smallest and largest batch size: equal if it is fixed, else within the program's constraints."""
    if isinstance(size, int):
        return size, size
    allowed = {str(known): values for known, values in program.range_constraints.items()}.get(str(size))
    if allowed is None:
        return 1, BATCH_SIZE
    least = int(allowed.lower)
    return least, max(least, int(min(BATCH_SIZE, allowed.upper)))
