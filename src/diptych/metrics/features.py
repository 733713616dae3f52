"""What a network sees in pictures: a row of numbers for each, by which whole sets are compared."""

import hashlib
import io
import json
import zipfile
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
from diptych.metrics.networks import inception as network_file

if TYPE_CHECKING:
    from torch.export import ExportedProgram  # takes two seconds to import, and few ask for it

AT_ONCE = 32  # pictures, where the network leaves that open
EXPECTED = "a network for --features takes one float32 tensor [B, 1 or 3, H, W] and gives one [B, D] or [B, D, 1, 1]"


class Pictures(Protocol):
    """Pictures that can be gone through more than once, uint8 `[C, H, W]` each: a list, `[N, C, H, W]`, or anything lazy."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Tensor]: ...


Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Features:
    """A network that reads pictures, and how pictures are made ready for it.

    >>> mean = Features("mean", "as-is", from_bytes, lambda pictures: pictures.mean(dim=(2, 3)))
    >>> mean.read(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).tolist()
    [[-1.0, -1.0, -1.0], [-1.0, -1.0, -1.0]]
    """

    name: str
    """Which network: what a metric that uses it is named by."""
    resizing: str
    """What is done to the size of pictures: "clean-299", or "as-is"."""
    prepare: Callable[[Tensor], Tensor]
    """uint8 `[C, H, W]` -> the float32 `[c, h, w]` that the network takes."""
    network: Callable[[Tensor], Tensor]
    """`[B, c, h, w]`, B of `at_once` at most -> float32 `[B, D]` on the CPU."""
    at_once: int = AT_ONCE

    @property
    def protocol(self) -> str:
        """What stands in the name of a metric that looks through it."""
        return f"{self.name}/{self.resizing}"

    def read(self, pictures: Tensor) -> Tensor:
        """uint8 `[B, C, H, W]` -> float32 `[B, D]` on the CPU."""
        return of_set(self, pictures)


def of_set(features: Features, pictures: Pictures, *, keep: bool = False, progress: Progress | None = None) -> Tensor:
    """The features of pictures of any sizes, float32 `[N, D]` on the CPU.

    With `keep` they are kept by content, and read only once wherever the pictures lie. The pictures are then gone through
    twice the first time, and nothing of them is held but a batch: decoding twice costs little beside the network, and a set
    may be larger than the memory. The rows of features that were kept stand in the order of the pictures at that time, which
    may be another one; distances of sets do not look at it.
    """
    if not keep:
        return _read(features, pictures, progress)
    name = f"features-{digest(features.name, features.resizing, pictures)}"
    return cached(name, lambda: {"features": _read(features, pictures, progress)})["features"]


def _read(features: Features, pictures: Pictures, progress: Progress | None) -> Tensor:
    rows = list[Tensor]()
    coming = map(features.prepare, pictures)
    while some := list(islice(coming, features.at_once)):
        seen = dict[int, Tensor]()
        for shape in {picture.shape for picture in some}:
            alike = [number for number, picture in enumerate(some) if picture.shape == shape]
            seen |= zip(alike, features.network(torch.stack([some[number] for number in alike])), strict=True)
        rows += [seen[number] for number in range(len(some))]
        if progress:
            progress(len(rows), len(pictures))
    return torch.stack(rows)


def clean(picture: Tensor, height: int, width: int) -> Tensor:
    """uint8 `[C, H, W]` -> float32 levels `[C, height, width]`, 0 to 255, not rounded.

    Antialiased and bicubic, as Parmar et al. 2022 ("On Aliased Resizing and Surprising Subtleties in GAN Evaluation") showed
    it to be needed: other resizing moves a Fréchet distance by more than the models that are compared differ by.

    >>> clean(torch.zeros(3, 400, 600, dtype=torch.uint8), 299, 299).shape
    torch.Size([3, 299, 299])
    """
    return geometry.resize(picture.float(), height, width).clamp(0, EIGHT_BIT.full)


# ---- the standard Inception


def inception(folder: Path | None, fetch: bool, device: torch.device) -> Features:
    """The standard features of FID and KID: 2048 of Inception v3, each picture resized cleanly to 299 px.

    `folder` and `fetch` say where the weights may come from, as for `weights.find`, which see for errors.
    """
    file = weights.find(weights.INCEPTION, folder, fetch)
    network = network_file.trained(file).to(device)
    size = network_file.SIZE

    def prepare(picture: Tensor) -> Tensor:
        return (clean(picture, size, size).expand(3, -1, -1) - 128) / 128  # as its graph takes them

    @torch.inference_mode()
    def see(pictures: Tensor) -> Tensor:
        found: Tensor = network(pictures.to(device))
        return found.float().cpu()

    return Features(f"inception-{weights.INCEPTION.sha256[:8]}", f"clean-{size}", prepare, see)


# ---- a network of one's own


def exported(file: Path, device: torch.device) -> Features:
    """The features that a network of your own sees: a file that `torch.export.save` wrote.

    It takes float32 `[B, C, H, W]` in [-1, 1] and gives `[B, D]` or `[B, D, 1, 1]`. Where H and W are fixed, each picture is
    resized cleanly to them, else it is left as it is. Where C is 3, grey is repeated. Where B is fixed, a batch that is not
    full is filled up. Raises a `ValueError` for a file that is no such network, and on reading for pictures that it does not
    take.
    """
    from torch.export.passes import move_to_device_pass

    digest, program = _open(file)
    taken, given = _described(program)
    wrapped = program.call_spec.out_spec.type  # in a tuple, say
    if wrapped or not _is_of_pictures(taken) or not _is_of_features(given[0], taken[0]):
        gives = f"a {wrapped.__name__} of {_told(given)}" if wrapped else _told(given)
        raise ValueError(f"{file}: takes {_told(taken)} and gives {gives}; {EXPECTED}")
    least, channels, *sides = taken[0].shape
    most = least
    if not isinstance(least, int):
        least, most = _range(program, least)
    fixed = all(isinstance(side, int) for side in sides)
    resizing = "as-is"
    if fixed:
        resizing = f"clean-{sides[0]}" if sides[0] == sides[1] else f"clean-{sides[0]}x{sides[1]}"
    network = move_to_device_pass(program, device).module()

    def prepare(picture: Tensor) -> Tensor:
        if len(picture) not in (1, channels):
            raise ValueError(f"{file}: takes pictures of {channels} channel, and here they have {len(picture)}")
        return from_bytes(clean(picture, *sides) if fixed else picture).expand(channels, -1, -1)

    @torch.inference_mode()
    def see(pictures: Tensor) -> Tensor:
        missing = max(least - len(pictures), 0)
        full = torch.cat([pictures, pictures.new_zeros(missing, *pictures.shape[1:])])
        try:
            found: Tensor = network(full.to(device))
        except AssertionError as error:  # what a symbolic size is allowed to be
            height, width = pictures.shape[2:]
            raise ValueError(
                f"{file}: does not take {len(full)} pictures of {width}x{height} ({_first_line(error)})"
            ) from None
        return found[: len(pictures)].flatten(1).float().cpu()

    return Features(f"{file.stem}-{digest[:8]}", resizing, prepare, see, at_once=most)


def _open(file: Path) -> "tuple[str, ExportedProgram]":
    """The SHA-256 of the file, and what is in it."""
    from torch.export import load
    from torch.export.pt2_archive import is_pt2_package

    try:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror or error})") from error
    if not is_pt2_package(str(file)):  # torch.export.load would print how it failed
        raise ValueError(f"{file}: is no exported network; torch.export.save writes one, {EXPECTED}")
    try:
        pickled = _pickled(file)
        if not pickled:
            return digest, load(file)
    except Exception as error:  # whatever a damaged file leads to
        raise ValueError(
            f"{file}: is damaged, or of another torch than {torch.__version__} ({_first_line(error)})"
        ) from error
    raise ValueError(
        f"{file}: holds more than tensors ({pickled}), which would run code of whoever wrote it; export a network of plain "
        "tensors and layers"
    )


def _pickled(file: Path) -> str:
    """What in an exported network is no plain tensor, by its name: torch would unpickle it, or load it as a library."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        if twice := [name for name in names if names.count(name) > 1]:
            return twice[0]
        for name in names:
            if name.endswith(("weights_config.json", "constants_config.json")):
                for payload in json.loads(archive.read(name))["config"].values():
                    if payload["use_pickle"] or not payload["path_name"].startswith(("weight_", "tensor_")):
                        return str(payload["path_name"])
            elif "/sample_inputs/" in name:
                try:
                    torch.load(io.BytesIO(archive.read(name)), weights_only=True)
                except Exception:  # torch would try again without that care
                    return name
            elif "/aotinductor/" in name:
                return name
    return ""


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _described(program: "ExportedProgram") -> tuple[list[Any], list[Any]]:
    """What it takes and what it gives: tensors without data, or else numbers."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    signature = program.graph_signature
    return [values.get(name) for name in signature.user_inputs], [values.get(name) for name in signature.user_outputs]


def _is_of_pictures(taken: list[Any]) -> bool:
    return (
        len(taken) == 1
        and isinstance(taken[0], Tensor)
        and taken[0].dtype == torch.float32
        and taken[0].ndim == 4
        and taken[0].shape[1] in (1, 3)
    )


def _is_of_features(given: Any, taken: Tensor) -> bool:
    return (
        isinstance(given, Tensor)
        and given.ndim > 1
        and given.shape[2:] in ((), (1, 1))
        and str(given.shape[0]) == str(taken.shape[0])
    )


def _told(values: list[Any]) -> str:
    """A list of tensors without data, for a message."""
    tensors = [
        f"{value.dtype} [{', '.join(map(str, value.shape))}]".removeprefix("torch.")
        if isinstance(value, Tensor)
        else str(value)
        for value in values
    ]
    return " and ".join(tensors) or "nothing"


def _range(program: "ExportedProgram", symbol: torch.SymInt) -> tuple[int, int]:
    """The fewest and the most pictures at once, where the number is symbolic."""
    ranges = {str(known): values for known, values in program.range_constraints.items()}
    allowed = ranges.get(str(symbol))
    if allowed is None:
        return 1, AT_ONCE
    least = int(allowed.lower)
    return least, max(least, int(min(AT_ONCE, allowed.upper)))
