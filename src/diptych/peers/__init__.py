"""Models of other programs as models of ours: their weights under our names, and what they compute, to 1e-5."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

from diptych.files import atomic_file, is_vacant, read_text, save_tensors
from diptych.images.size import Size
from diptych.kinds import Direction, Statistics
from diptych.methods import METHODS, build
from diptych.methods.base import Method
from diptych.methods.settings import Shape
from diptych.networks.completion import CompletionNetwork
from diptych.peers import junyanz, otenim, weights
from diptych.peers.weights import Weights
from diptych.training import checkpoint
from diptych.training.origin import DISCRIMINATOR_FILE

T = TypeVar("T")
GREY = (0.5, 0.5, 0.5)
COLOURING = (1, 2)
"""Channels of a generator that turns lightness into colour."""


class _Imported(NamedTuple):
    """A method with the weights of the files."""

    method: Method
    config: checkpoint.ModelConfig
    networks: tuple[str, ...]
    """Those whose weights the files have."""
    what: str


def import_weights(
    files: Iterable[Path | str],
    *,
    out: Path | str,
    discriminator: Iterable[Path | str] = (),
    statistics: Statistics = "picture",
    direction: Direction = "AtoB",
    mean_pixel: str = "",
) -> str:
    """Writes a model folder from weights of another program; returns a line about it.

    The program and the architecture are found from the names and shapes of the weights: generators of
    junyanz/pytorch-CycleGAN-and-pix2pix (ResNets of 6 or 9 blocks, U-Nets, colouring from lightness) and the completion
    network of otenim/GLCIC-PyTorch. A file is read as tensors alone; a `ValueError` names one that holds anything else.

    Args:
        files: One .pth file; or two generators of a CycleGAN, from A to B first.
        out: The model folder to write.
        discriminator: The discriminators, in the same order: for `train --init`, nothing else needs them.
        statistics: What batch norm normalises by: picture is what that program does by default, running what it does with
            --eval.
        direction: The direction in which a single generator was trained.
        mean_pixel: For completion: what holes are filled with first, red, green and blue from 0 to 1, such as
            "0.48 0.41 0.36"; without it that of config.json beside the file (its mpv), else grey.
    """
    paths, judges, out = [Path(path) for path in files], [Path(path) for path in discriminator], Path(out)
    if not 1 <= len(paths) <= 2:
        raise ValueError(f"import: {len(paths)} files; give one, or the two generators of a CycleGAN")
    if not is_vacant(out):
        raise ValueError(f"{out}: exists already; choose another --out, nothing of yours is overwritten")
    first = weights.read(paths[0])
    if otenim.is_completion(first):
        if more := [*paths[1:], *judges]:
            raise ValueError(f"{more[0]}: a completion network is one file, without its discriminator; leave it out")
        imported = _completion(paths[0], first, mean_pixel, direction)
    else:
        imported = _generators(paths, [first, *map(weights.read, paths[1:])], judges, statistics, direction)
    checkpoint.save_model(out, imported.config, 0, imported.method.eval())
    if judges:
        prefixes = tuple(f"{network}." for network in imported.networks if network.startswith("D"))
        state = imported.method.state_dict()
        with atomic_file(out / DISCRIMINATOR_FILE) as partial:
            save_tensors({name: value for name, value in state.items() if name.startswith(prefixes)}, partial)
    return f"{out}: {imported.what}"


def _generators(
    paths: Sequence[Path],
    read: Sequence[Weights],
    judges: Sequence[Path],
    statistics: Statistics,
    direction: Direction,
) -> _Imported:
    """One generator as a model of pix2pix, or of colouring; two as one of CycleGAN."""
    generators = [_of_file(path, junyanz.generator_of, one) for path, one in zip(paths, read, strict=True)]
    first = generators[0]
    settings, channels = dict(first.settings), (first.in_channels, first.out_channels)
    shape = Shape(size=Size.square(first.size), x_channels=channels[0], y_channels=channels[1])
    if statistics == "running":
        if settings["norm"] != "batch":
            raise ValueError(f"--statistics running: is of batch norm, and {paths[0]} has none; leave it out")
        settings["statistics"] = "running"
    if len(generators) == 2:
        name = "cyclegan"
        if generators[1][:2] != first[:2] or (generators[1].out_channels, generators[1].in_channels) != channels:
            raise ValueError(
                f"{paths[1]}: is not the way back of {paths[0]} (their networks differ); import each alone"
            )
        if settings["norm"] != "instance":
            raise ValueError(f"{paths[0]}: has batch norm, and a CycleGAN has instance norm here; import each alone")
    elif channels == COLOURING:
        name, shape = "colorize", Shape(size=Size.square(first.size))
    else:
        name = "pix2pix"
    networks = ("G", "F", "D_Y", "D_X") if name == "cyclegan" else ("G", "D")

    if judges and len(judges) != len(generators):
        raise ValueError(f"--discriminator: {len(judges)} files beside {len(generators)} generators; give one for each")
    judged_by = [weights.read(path) for path in judges]
    discriminators = [
        _of_file(path, junyanz.discriminator_of, one) for path, one in zip(judges, judged_by, strict=True)
    ]
    for path, found in zip(judges, discriminators, strict=True):
        for key in ("norm", "width"):
            if found.settings[key] != settings[key]:
                raise ValueError(
                    f"{path}: has the {key} {found.settings[key]}, its generator {settings[key]}, and here both have the "
                    "same; import the generator alone"
                )
        settings["patch"] = found.settings["patch"]
    if discriminators and name != "cyclegan":
        settings["conditional"] = discriminators[0].in_channels == sum(channels)

    method, config = _built(name, settings, shape, direction)
    layers_of = [*(found.layers for found in generators), *(found.layers for found in discriminators)]
    files = zip([*paths, *judges], [*read, *judged_by], layers_of, strict=True)
    for network, (path, one, layers) in zip(networks, files, strict=False):
        with _naming(path):
            junyanz.load_into(method.get_submodule(network), one, layers)
    antialiased = ", antialiased" if settings.get("upsampling") == "antialiased" else ""
    about = f"{settings['generator']} of width {settings['width']}, {settings['norm']} norm{antialiased}"
    what = f"{name}, {about}, {channels[0]} to {channels[1]} channels, from {junyanz.PROGRAM}"
    return _Imported(method, config, networks[: len(layers_of)], what)


def _completion(path: Path, read: Weights, mean_pixel: str, direction: Direction) -> _Imported:
    width = read["conv1.weight"].shape[0]
    method, config = _built("glcic", {"width": width, "network": "otenim"}, Shape(size=Size.square(256)), direction)
    mean, source = _mean_pixel(path, mean_pixel)
    C = method.get_submodule("C")
    assert isinstance(C, CompletionNetwork)
    with _naming(path):
        otenim.load_into(C, read, mean)
    told = ", ".join(f"{value:.3g}" for value in mean)
    what = f"glcic of width {width}, from {otenim.PROGRAM}; holes begin as {told} ({source})"
    return _Imported(method, config, ("C",), what)


def _mean_pixel(path: Path, given: str) -> tuple[Sequence[float], str]:
    """The mean pixel in [0, 1], and where it is from."""
    beside = path.with_name("config.json")
    if not (given or beside.exists()):
        return GREY, "grey; --mean-pixel says otherwise"
    source = "--mean-pixel" if given else str(beside)
    try:
        values = given.split() if given else json.loads(read_text(beside))["mpv"]
        mean = tuple(map(float, values))
    except (ValueError, TypeError, KeyError, RecursionError):
        mean = ()
    if len(mean) != 3 or not all(0 <= value <= 1 for value in mean):
        raise ValueError(
            f'{source}: three numbers from 0 to 1 are expected, red, green and blue; give --mean-pixel "0.5 0.5 0.5"'
        )
    return mean, source


def _built(
    name: str, settings: dict[str, Any], shape: Shape, direction: Direction
) -> tuple[Method, checkpoint.ModelConfig]:
    resolved = METHODS[name].Settings.model_validate(settings).resolved(1, shape.size)
    method = build(name, resolved, shape, torch.device("cpu"))
    own = resolved.model_dump(mode="json", by_alias=True)
    return method, checkpoint.ModelConfig(method=name, direction=direction, shape=shape, settings=own)


def _of_file(path: Path, find: Callable[[Weights], T], read: Weights) -> T:
    with _naming(path):
        return find(read)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Inside, a `ValueError` gets the name of the file."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
