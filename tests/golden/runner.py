"""What diptych does with tiny pictures, as hashes: every variant is trained, used and measured.

This very file runs under the source at hand and under an older one, so it uses nothing but the public functions of
`diptych` and the files that they write. Whoever rebuilds the source changes nothing here: a hash that differs is a
behaviour that differs, in the last bit of a weight, a pixel, a loss, a setting or a file's name.

    python tests/golden/runner.py --out hashes.json [--only NAME ...]
"""

import argparse
import hashlib
import io
import json
import os
import platform
import struct
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import torch
from PIL import Image
from rich.console import Console
from safetensors.numpy import load_file, save_file

import diptych
from diptych.prepare.demo import demo

Hashes = dict[str, str]
"""What was looked at, and its SHA-256, the first 16 digits."""
Array = np.ndarray[Any, np.dtype[Any]]
Place = dict[str, Any]
"""Where pictures lie, as `diptych.train` is told: the paths of its `data`, or of its `data_a` and `data_b`."""

SIZE, SMALL = 32, 16
BASE: dict[str, Any] = {
    "size": SIZE,
    "steps": 12,
    "log_every": 5,  # the last line is a mean over fewer steps than the others
    "sample_every": 6,
    "checkpoint_every": 4,
    "device": "cpu",
    "precision": "fp32",
    "workers": 1,
}
DATA = {"pix2pix": "facades", "cyclegan": "facades", "colorize": "shapes", "glcic": "shapes", "cgan": "small shapes"}


@dataclass(frozen=True)
class Variant:
    """One way to train one method."""

    method: str
    own: Mapping[str, Any] = field(default_factory=dict)
    """The method's own settings, but for the width."""
    data: str = ""
    """Which of `Pictures` it learns from; empty is the usual one of its method."""
    thorough: bool = False
    """Whether the model is used and measured in every way there is."""
    settings: Mapping[str, Any] = field(default_factory=dict)


def variant(method: str, own: Mapping[str, Any] | None = None, data: str = "", **settings: Any) -> Variant:
    """A variant with the settings of a run; None takes one of `BASE` away."""
    if method == "cgan":
        settings = {"size": SMALL, "batch_size": 4, **settings}
    return Variant(method, own or {}, data, False, settings)


DEFAULTS = {
    # Nothing is chosen but what makes them tiny
    name: Variant(name, thorough=True, settings={"size": SMALL} if name == "cgan" else {})
    for name in DATA
}

# Those of tests/test_promises.py that are stopped and continued there
BACK = {"direction": "BtoA"}
TINY_GLCIC = {"t_c": 4, "t_d": 4}
TINY_CYCLEGAN = {"generator": "resnet6", "pool_size": 3, "patch": 16}
PROMISES = {
    "as in the paper": variant("pix2pix", {"patch": 16}, **BACK),
    "several workers and a batch": variant("pix2pix", {"patch": 16}, workers=3, batch_size=2, **BACK),
    "nothing kept in memory": variant("pix2pix", {"patch": 16}, memory_gib=0.0, **BACK),
    "moving average": variant("pix2pix", {"patch": 16}, ema=0.9, **BACK),
    "least squares, instance norm": variant(
        "pix2pix", {"patch": 16, "adversarial": "lsgan", "norm": "instance", "upsampling": "resize"}, **BACK
    ),
    "bf16": variant("pix2pix", {"patch": 16}, precision="bf16", **BACK),
    "single pictures, some left out": variant("colorize", {"patch": 16}, data="shapes and a grey one"),
    "unpaired, pools full before the end": variant("cyclegan", TINY_CYCLEGAN, **BACK),
    "out of noise, by label": variant("cgan", {"noise": 5}, batch_size=3),
    "out of noise, by projection, moving average": variant(
        "cgan", {"noise": 5, "condition": "projection", "adversarial": "hinge"}, ema=0.9
    ),
    "mostly the completion network alone": variant("glcic", {"t_c": 8, "t_d": 2}),
    "mostly the discriminator alone": variant("glcic", {"t_c": 3, "t_d": 6}, batch_size=2),
    "mostly both together, balanced": variant("glcic", {"t_c": 1, "t_d": 2, "balance": True, "holes": "any"}),
    "the discriminator's loss decides": variant(
        "glcic", {"t_c": 0, "t_d": 12, "t_d_until": 100.0, "optimizer": "adam"}
    ),
    "unpaired, augmented, with dropout, in batches": variant(
        "cyclegan",
        {**TINY_CYCLEGAN, "generator": "unet", "dropout": True, "augment": True, "adversarial": "hinge"},
        batch_size=2,
        ema=0.9,
        **BACK,
    ),
}

# Those of tests/test_promises.py that never wait for the device, here with real steps
BRANCHES = {
    "pix2pix, hinge, l2, instance norm": variant(
        "pix2pix", {"adversarial": "hinge", "pixel": "l2", "norm": "instance"}, clip=1.0
    ),
    "cyclegan, unet, hinge, augmented, no pool": variant(
        "cyclegan", {"generator": "unet", "adversarial": "hinge", "augment": True, "pool_size": 0}, clip=1.0
    ),
    "cyclegan, sigmoid, no identity, dropout": variant(
        "cyclegan", {"patch_output": "sigmoid", "lambda_identity": 0.0, "dropout": True}
    ),
    "glcic, one step alone": variant("glcic", {"t_c": 1}),
    "glcic, one step of the discriminator": variant("glcic", {"t_c": 0, "t_d": 1}),
    "glcic, together at once, balanced, adam": variant(
        "glcic", {"t_c": 0, "t_d": 0, "balance": True, "optimizer": "adam"}
    ),
    "cgan, embedding, lsgan": variant("cgan", {"condition": "embedding", "adversarial": "lsgan"}),
    "cgan, projection, hinge": variant("cgan", {"condition": "projection", "adversarial": "hinge"}),
    "cgan, without labels": variant("cgan", {"conditional": False}),
}

MORE = {
    "pix2pix, no adversarial loss": variant("pix2pix", {"adversarial": "none"}),
    "pix2pix, no pixel loss": variant("pix2pix", {"pixel": "none"}),
    "pix2pix, pixels": variant("pix2pix", {"patch": 1}),
    "pix2pix, unconditional": variant("pix2pix", {"conditional": False}),
    "pix2pix, no dropout": variant("pix2pix", {"dropout": False}),
    "pix2pix, affine instance norm": variant("pix2pix", {"norm": "affine-instance"}),
    "pix2pix, no norm": variant("pix2pix", {"norm": "none"}),
    "pix2pix, resize": variant("pix2pix", {"upsampling": "resize"}),
    "pix2pix, grey to colour": variant("pix2pix", {"patch": 16}, channels_a=1),
    "pix2pix, colour to grey, backwards": variant("pix2pix", {"patch": 16}, channels_a=1, **BACK),
    "pix2pix, wide pictures stretched": variant("pix2pix", {"patch": 16}, data="wide pairs"),
    "pix2pix, wide pictures cut": variant("pix2pix", {"patch": 16}, data="wide pairs", fit="crop"),
    "pix2pix, no random crop": variant("pix2pix", load_scale=1.0),
    "pix2pix, no flip": variant("pix2pix", flip=False),
    "pix2pix, clipped, averaged, other rates": variant(
        "pix2pix", {"lambda_l1": 10.0}, clip=0.5, ema=0.99, lr=1e-3, beta1=0.9, decay_start=0.25, seed=7
    ),
    "pix2pix, validated": variant("pix2pix", {"patch": 16}, validate_every=3, patience=9, lr=2e-3, **BACK),
    "pix2pix, out of patience": variant(
        "pix2pix", {"patch": 16}, validate_every=2, validate_by="l1", patience=1, lr=0.5, decay_start=1.0
    ),
    "pix2pix, epochs": variant("pix2pix", {"patch": 16}, steps=None, epochs=1.5, batch_size=4),
    "colorize, hinge, resize, validated": variant(
        "colorize", {"adversarial": "hinge", "upsampling": "resize", "norm": "instance"}, validate_every=6
    ),
    "cyclegan, affine instance norm": variant("cyclegan", {**TINY_CYCLEGAN, "norm": "affine-instance"}),
    "cyclegan, resize, averaged patches": variant(
        "cyclegan", {**TINY_CYCLEGAN, "upsampling": "resize", "patch_output": "averaged", "adversarial": "vanilla"}
    ),
    "cyclegan, grey and colour": variant(
        "cyclegan", {**TINY_CYCLEGAN, "lambda_identity": 0.0, "lambda_cycle": 5.0}, channels_b=1
    ),
    "cyclegan, two folders of unequal counts": variant(
        "cyclegan", TINY_CYCLEGAN, data="two folders", batch_size=2, validate_every=6
    ),
    "glcic, free-form holes": variant("glcic", {**TINY_GLCIC, "holes": "free-form"}, batch_size=2),
    "glcic, several holes of given sizes, validated": variant(
        "glcic",
        {**TINY_GLCIC, "holes": "several", "hole_min": 8, "hole_max": 12, "alpha": 0.01},
        batch_size=2,
        validate_every=6,
    ),
    "glcic, the discriminator's time ends early": variant(
        "glcic", {"t_c": 1, "t_d": 11, "t_d_until": 100.0}, batch_size=2
    ),
    "glcic, from an array": variant("glcic", TINY_GLCIC, data="array", batch_size=2),
    "cgan, embedding, averaged, validated": variant(
        "cgan", {"condition": "embedding"}, ema=0.9, batch_size=5, validate_every=4
    ),
    "cgan, from idx files": variant("cgan", {"noise": 5}, data="idx files", size=None, batch_size=None),
    "cgan, without labels from an array": variant("cgan", {"conditional": False}, data="array", size=None, flip=True),
}
VARIANTS: dict[str, Variant] = {**DEFAULTS, **PROMISES, **BRANCHES, **MORE}

METRICS = {
    "pix2pix": ("l1", "psnr", "ssim"),
    "cyclegan": ("l1", "psnr", "ssim"),
    "colorize": ("l1", "psnr", "ssim", "ab", "colourfulness", "target-colourfulness"),
    "glcic": ("hole-l1", "hole-psnr", "hole-ssim", "l1"),
    "cgan": ("label-accuracy", "frechet-distance"),
}
"""Those that take no network of others."""


# ---- the pictures


def pattern(height: int, width: int, channels: int = 3, levels: int = 256) -> Array:
    """A picture with edges and slopes, from whole numbers alone."""
    y, x, c = np.mgrid[:height, :width, :channels]
    values = (x * 5 + y * 3 + c * 60 + (x // 7 + y // 5) % 3 * 80) * (levels // 256) + x * y % 11
    picture: Array = (values % levels).astype(np.uint8 if levels == 256 else np.uint16)
    return picture


class Pictures:
    """The tiny pictures, drawn when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made = dict[str, Place]()

    def __call__(self, name: str) -> Place:
        """Where those of this name lie."""
        if name not in self.made:
            self.made[name] = self._make(name, self.folder / name.replace(" ", "-"))
        return self.made[name]

    def hash(self, name: str) -> str:
        """Of all that was drawn: a difference here is none of the training."""
        files = [file for place in self(name).values() for file in _files(place)]
        return digest(*(part for file in files for part in (file.name.encode(), _content(file))))

    def _make(self, name: str, out: Path) -> Place:
        size = SMALL if name.startswith("small") else SIZE
        if name in ("facades", "small facades"):
            return {"data": demo("facades", out=out, size=size, train=6, val=2, console=quiet())}
        if name in ("shapes", "small shapes"):
            return {"data": demo("shapes", out=out, size=size, train=10, val=5, console=quiet())}
        if name == "shapes and a grey one":
            data = demo("shapes", out=out, size=SIZE, train=10, val=5, console=quiet())
            grey = pattern(SIZE, SIZE, 1).repeat(3, axis=-1)
            Image.fromarray(grey).save(data / "train" / "grey.png")
            return {"data": data}
        if name == "wide pairs":
            for number in range(4):
                picture = pattern(36, 60)
                for side, values in {"A": picture, "B": 255 - np.roll(picture, number * 9, axis=1)}.items():
                    (out / side).mkdir(parents=True, exist_ok=True)
                    Image.fromarray(values).save(out / side / f"{number}.png")
            return {"data": out}
        if name == "two folders":
            return self._two_folders(out)
        if name == "array":
            out.mkdir(parents=True)
            for file, split in (("shapes.npy", "train"), ("shapes-val.npy", "val")):
                np.save(out / file, np.stack(self._shapes(split)))
            return {"data": out / "shapes.npy"}
        assert name == "idx files"
        out.mkdir(parents=True)
        for word, split in (("train", "train"), ("t10k", "val")):
            grey = np.stack(self._shapes(split)).mean(axis=-1).astype(np.uint8)[:, :28, :28]
            write_idx(out / f"{word}-images-idx3-ubyte", grey)
            write_idx(out / f"{word}-labels-idx1-ubyte", np.arange(len(grey)) % 3)
        return {"data": out}

    def _shapes(self, split: str) -> list[Array]:
        return [read(file) for file in sorted((self("shapes")["data"] / split).rglob("*.png"))]

    def _two_folders(self, out: Path) -> Place:
        """Photographs of four houses, and labels of six; two of each are held out."""
        houses = self("facades")["data"]
        sides = {"photos": 0, "labels": SIZE}
        for side, left in sides.items():
            for split in ("train", "val"):
                (out / side / split).mkdir(parents=True)
                for number, file in enumerate(sorted((houses / split).glob("*.png"))):
                    if side == "labels" or number < 4:
                        half = np.ascontiguousarray(read(file)[:, left : left + SIZE])
                        Image.fromarray(half).save(out / side / split / f"{side}-{number}.png")
        return {"data_a": out / "photos", "data_b": out / "labels"}

    @cached_property
    def inputs(self) -> dict[str, Path]:
        """What the trained models are given: pictures of sizes that no network takes, and masks of holes."""
        folder = self.folder / "inputs"
        folder.mkdir(parents=True)
        rgba = np.dstack([pattern(41, 33), pattern(41, 33, 1)])
        mask, large_mask = np.zeros((51, 37), np.uint8), np.zeros((110, 150), np.uint8)
        mask[8:22, 5:20] = mask[30:41, 18:30] = 255
        large_mask[10:24, 12:25] = large_mask[40:90, 60:120] = 255
        given = {
            "rgb 37x51": pattern(51, 37),
            "grey 16 bit": pattern(35, 45, 1, 65536)[..., 0],
            "rgba": rgba,
            "large": pattern(110, 150),
            "mask": mask,
            "large mask": large_mask,
        }
        files = {name: folder / f"{name.replace(' ', '-')}.png" for name in given}
        for name, values in given.items():
            Image.fromarray(values).save(files[name])
        return files


def _content(file: Path) -> bytes:
    """What a file says: a picture's pixels, since every version of a library packs them otherwise."""
    return read(file).tobytes() if file.suffix == ".png" else file.read_bytes()


def write_idx(file: Path, values: Array) -> None:
    """As MNIST is written."""
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    file.write_bytes(header + values.astype(np.uint8).tobytes())


def read(file: Path) -> Array:
    """All that a picture file holds, 16 bits and alpha too, channels as OpenCV has them but for plain RGB."""
    values = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert values is not None, file
    return values[..., ::-1] if values.ndim == 3 and values.shape[-1] == 3 else values


# ---- hashes


def digest(*parts: bytes) -> str:
    """Of the parts, each with its length: what is cut elsewhere is something else."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(len(part).to_bytes(8, "little") + part)
    return sha.hexdigest()[:16]


def of_values(values: object) -> str:
    """Of anything that JSON can say: floats to the last bit, whatever the order of the names."""
    return digest(json.dumps(values, sort_keys=True).encode())


def of_array(values: Array) -> str:
    """Of an array's type, shape and numbers."""
    return digest(str(values.dtype).encode(), str(values.shape).encode(), values.tobytes())


def read_tensors(file: Path) -> tuple[dict[str, tuple[str, list[int], bytes]], dict[str, str]]:
    """Type, shape and bytes of each tensor of a safetensors file, by its name, and what else the file says."""
    data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    said = header.pop("__metadata__", {})
    tensors = {}
    for name in sorted(header):
        begin, end = header[name]["data_offsets"]
        tensors[name] = (header[name]["dtype"], header[name]["shape"], data[start + begin : start + end])
    return tensors, said


def of_tensors(file: Path) -> str:
    """Of the names, types, shapes and bytes of all tensors."""
    tensors, _ = read_tensors(file)
    return digest(
        *(part for name, (*about, values) in tensors.items() for part in (f"{name} {about}".encode(), values))
    )


def last_checkpoint(run: Path) -> Path:
    """The newest training state of a run."""
    return max((run / "checkpoints").glob("step-*")) / "training.safetensors"


def read_log(run: Path) -> list[dict[str, Any]]:
    """The lines of the log, without the time that they took."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


ADDED: dict[str, Any] = {"bits-a": 8, "bits-b": 8, "kind-a": "image", "kind-b": "image", "labels": []}
ADDED |= {"range-a": [], "range-b": [], "freeze": "", "lr-policy": "linear", "init-type": "normal"}
ADDED_SHAPE: dict[str, Any] = {"x-range": [], "y-range": [], "x-kind": "image", "y-kind": "image", "labels": []}
"""Settings that came after the record, with the values under which everything is as it was."""
ADDED_TO_PIX2PIX: dict[str, Any] = {"generator": "unet", "statistics": "picture", "augment": False}
ADDED_TO_PIX2PIX |= {"spectral-norm": False, "r1": 0.0}
ADDED_TO = {"pix2pix": ADDED_TO_PIX2PIX, "colorize": ADDED_TO_PIX2PIX}
ADDED_TO |= {"glcic": {"network": "paper"}, "cgan": {"augment": False}}
"""The same for the settings of methods."""


ADDED_FILES = {"samples/titles.json"}


def without(added: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in added or value != added[name]}


def of_run(run: Path) -> Hashes:
    """Everything that a training leaves behind, but TensorBoard's files and what came after the record."""
    settings = tomllib.loads((run / "settings.toml").read_text(encoding="utf-8"))
    about = settings.pop("run")
    config = json.loads((run / "model/config.json").read_text(encoding="utf-8"))
    del config["diptych"]  # the version
    config.pop("sides", None)  # the names of the folders came after the record
    added = ADDED_TO.get(config["method"], {})
    config["settings"] = without(added, config["settings"])
    config["shape"] = without(ADDED_SHAPE, config["shape"])
    settings = without(ADDED, settings) | {"method": without(added, settings["method"])}
    log = read_log(run)
    state = last_checkpoint(run)
    files = [file.relative_to(run).as_posix() for file in _files(run)]
    hashes = {
        "checkpoint": of_tensors(state),
        "checkpoint's names": of_values(sorted(read_tensors(state)[0])),
        "config": of_values(config),
        "settings": of_values(settings),
        "what it learnt from": of_values([about.get(key) for key in ("names", "classes", "left-out")]),
        "losses": of_values([(line["step"], line["losses"]) for line in log]),
        "gradients": of_values([(line["pictures"], line["lr"], line["gradients"]) for line in log]),
        "validation": of_values([line.get("validation") for line in log]),
        "doctor": of_values([line["doctor"] for line in log]),
        "sheet": of_array(read(max((run / "samples").glob("*.png")))),
        "files": of_values(
            sorted(file for file in files if not file.startswith("tensorboard/") and file not in ADDED_FILES)
        ),
    }
    for model in sorted(run.glob("model*")):
        _, said = read_tensors(model / "model.safetensors")
        hashes[model.name] = f"{of_tensors(model / 'model.safetensors')} of step {said['step']}"
    return hashes


def _files(place: Path) -> list[Path]:
    """A file, or all in a folder but hidden ones."""
    return [place] if place.is_file() else sorted(path for path in place.rglob("[!.]*") if path.is_file())


# ---- what is done


def quiet() -> Console:
    """A console that nobody sees."""
    return Console(file=io.StringIO())


def settings_of(variant: Variant) -> dict[str, Any]:
    """As `diptych.train` takes them."""
    given = {key: value for key, value in {**BASE, **variant.settings}.items() if value is not None}
    return {**given, "method": {"width": 2, **variant.own}}


def train(variant: Variant, pictures: Pictures, out: Path, **changes: Any) -> Path:
    """Trains it, or goes on; gives the run."""
    place = pictures(variant.data or DATA[variant.method])
    diptych.train(variant.method, out=out, **place, **{"console": quiet(), **settings_of(variant), **changes})
    return out


def paint(model: Path, out: Path) -> Path:
    """The same model with weights that paint: after a few steps all that the true ones draw is nearly grey."""
    generator = np.random.default_rng(0)
    tensors = load_file(model / "model.safetensors")
    for name in sorted(tensors):
        shape = tensors[name].shape
        drawn = generator.normal(size=shape)
        if name.endswith("running_var"):
            drawn = 1 + abs(drawn)
        elif name.endswith("weight") and len(shape) > 1:
            drawn *= 2 / np.sqrt(np.prod(shape[1:]))  # neither dies out in many layers nor is saturated by them
        elif name.endswith("weight"):
            drawn = 1 + 0.3 * drawn
        elif name.endswith(("bias", "running_mean")):
            drawn *= 0.3
        else:
            continue  # what it took from the training set
        tensors[name] = drawn.astype(tensors[name].dtype)
    out.mkdir(parents=True)
    save_file(tensors, out / "model.safetensors", metadata={"step": "12"})
    (out / "config.json").write_bytes((model / "config.json").read_bytes())
    return out


def of_use(model: Path, variant: Variant, pictures: Pictures, folder: Path) -> Hashes:
    """What the model makes of pictures of odd sizes, of many kinds where the variant is thorough; or out of noise."""
    made = Hashes()
    inputs = pictures.inputs

    def translate(called: str, given: str, **how: Any) -> None:
        out = folder / f"{len(made)}.png"
        problems = diptych.translate(model, inputs[given], out=out, device="cpu", **how)
        assert not problems, problems
        made[called] = of_array(read(out))

    def draw(called: str, **how: Any) -> None:
        [out] = diptych.sample(model, out=folder / f"{len(made)}.png", device="cpu", **how)
        made[called] = of_array(read(out))

    ways: Sequence[dict[str, Any]] = [{}]
    if variant.method == "cyclegan":
        ways = [{"direction": "AtoB"}, {"direction": "BtoA"}]
    if variant.method == "glcic":
        ways = [{"mask": inputs["mask"]}]
    if variant.method == "cgan":
        draw("drawn", count=3)
        if variant.thorough:
            draw("drawn of one class", count=5, seed=9, label="leaf")
            files = diptych.sample(model, out=folder / "single", count=2, device="cpu")
            made["drawn as files"] = digest(
                *(part for file in files for part in (file.name.encode(), read(file).tobytes()))
            )
        return made
    for way in ways:
        suffix = f", {way['direction']}" if "direction" in way else ""
        translate(f"translated{suffix}", "rgb 37x51", **way)
        if variant.thorough and variant.method != "glcic":
            translate(f"translated 16 bit{suffix}", "grey 16 bit", **way)
            translate(f"translated rgba{suffix}", "rgba", **way)
            translate(f"translated at a working size{suffix}", "large", working_size=25, **way)
            translate(f"translated with dropout{suffix}", "rgb 37x51", stochastic=True, seed=5, **way)
            translate(f"translated in bf16{suffix}", "rgb 37x51", precision="bf16", **way)
            door = diptych.load(model, device="cpu", **way)
            made[f"floats{suffix}"] = of_array(door(pattern(21, 30).astype(np.float32) / 255))
    if variant.thorough and variant.method == "glcic":
        for blend in ("none", "telea", "poisson"):
            translate(f"filled, {blend}", "large", mask=inputs["large mask"], blend=blend)
        translate("filled at a working size", "large", mask=inputs["large mask"], working_size=40)
    return made


def measured(run: Path, variant: Variant, pictures: Pictures) -> list[tuple[str, dict[str, float]]]:
    """What `diptych.evaluate` says of the model, and of answers without one."""
    place = pictures(variant.data or DATA[variant.method])
    lines = diptych.evaluate(
        run, **place, names=METRICS[variant.method], baselines=variant.method != "cgan", device="cpu"
    )
    return [(f"{line['who']} {line.get('direction', '')}", line["metrics"]) for line in lines]


def observe(variant: Variant, pictures: Pictures, folder: Path) -> Hashes:
    """Trains a variant below the new `folder`, uses its model and looks at all of it."""
    torch.set_num_threads(1)  # sums of several threads are added up in another order
    with no_measurements():
        run = train(variant, pictures, folder / "run")
        hashes = {"pictures": pictures.hash(variant.data or DATA[variant.method]), **of_run(run)}
        folder.joinpath("made").mkdir()
        hashes |= of_use(paint(run / "model", folder / "painting"), variant, pictures, folder / "made")
        if variant.thorough:
            hashes["measured"] = of_values(measured(run, variant, pictures))
    return hashes


def no_measurements() -> AbstractContextManager[object]:
    """Inside, no measurement of this CPU chooses between ways of computing, which differ in their last bits."""
    if not find_spec("diptych.cpu"):  # an older version, beside this one
        return nullcontext()
    from diptych import cpu

    return patch.object(cpu, "measured", lambda: cpu.Speeds(dict.fromkeys(cpu.SPEEDS, 1.0)))


# ---- where the hashes hold


def kind() -> dict[str, str]:
    """What the last bits depend on: another processor adds up in another order, and so does another torch."""
    about = {"vendor_id": platform.machine(), "cpu family": "", "model": platform.processor(), "flags": ""}
    if (file := Path("/proc/cpuinfo")).exists():
        lines = (line.partition(":") for line in file.read_text(encoding="utf-8").splitlines())
        for key, _, value in reversed([*lines]):  # of many cores the first one is left
            if key.strip() in about:
                about[key.strip()] = value.strip()
    told = [flag for flag in about["flags"].split() if flag.startswith(("avx2", "avx512", "avx_vnni", "amx", "fma"))]
    return {
        "vendor": about["vendor_id"],
        "family": about["cpu family"],
        "model": about["model"],
        "capability": torch.backends.cpu.get_cpu_capability(),
        "flags": " ".join(sorted(told)),  # a virtual machine may hide some from the kernels that are chosen by them
        "torch": torch.__version__,
    }


def versions() -> dict[str, str]:
    """Of what else the numbers go through; not asked for, but the first thing to look at where they differ."""
    names = ("numpy", "pillow", "opencv-python-headless", "kornia", "safetensors")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def main(arguments: Sequence[str] | None = None, say: Callable[[str], object] = print) -> None:
    """Writes what all variants, or those named, come to: hashes, or what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), metavar="NAME", default=list(VARIANTS))
    given = parser.parse_args(arguments)
    found: dict[str, Hashes] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DIPTYCH_CACHE"] = str(Path(folder, "cache"))
        pictures = Pictures(Path(folder, "pictures"))
        for number, name in enumerate(given.only):
            began = time.monotonic()
            try:
                found[name] = observe(VARIANTS[name], pictures, Path(folder, str(number)))
            except Exception:  # the others are to be seen all the same
                found[name] = {"error": traceback.format_exc()}
            say(f"{time.monotonic() - began:5.2f} s  {name}")
    told = {"source": str(Path(diptych.__file__).parent), "kind": kind(), "versions": versions(), "variants": found}
    given.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
