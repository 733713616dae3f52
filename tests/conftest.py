"""What the tests share: tiny pictures, a tiny run, TFRecord files, and the real pictures where they are at hand."""

import os
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import hypothesis
import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from torch import Tensor

import diptych
from diptych import devices
from diptych.data.builtin import facades, shapes
from diptych.evaluate import segmentation
from diptych.kinds import DataKind, Direction
from diptych.methods import METHODS
from diptych.methods.base import Method
from diptych.model import Model
from diptych.train import train
from diptych.training.run import Run

collect_ignore = ["campaigns"]  # run by themselves: `make campaign`
hypothesis.settings.register_profile("house", deadline=None)  # speed is not a promise of the tests
hypothesis.settings.load_profile("house")
torch.set_num_threads(1)  # the workers of xdist are the parallelism

QUICK: dict[str, Any] = {
    "size": 32,
    "steps": 12,
    "log_every": 4,
    "sample_every": 6,
    "checkpoint_every": 4,
    "device": "cpu",
    "workers": 1,
}
"""Settings of a tiny run, whatever the method."""
TINY: dict[str, dict[str, Any]] = {
    "pix2pix": {"width": 2, "patch": 16},
    "cyclegan": {"width": 2, "patch": 16, "generator": "resnet6", "pool_size": 3},
    "cut": {"width": 2, "patch": 16, "generator": "resnet6", "patches": 16, "projection": 4},
    "colorize": {"width": 2, "patch": 16},
    "glcic": {"width": 2, "t_c": 4, "t_d": 4},
    "cgan": {"width": 2, "noise": 5},
}
"""Settings of each method's own in a tiny run: the smallest networks that can be built."""
TINY_BY_KIND: dict[DataKind, dict[str, Any]] = {
    DataKind.PAIRED: {"direction": "BtoA"},
    DataKind.UNPAIRED: {"direction": "BtoA"},
    DataKind.IMAGES: {},
    DataKind.LABELLED: {"size": 16, "batch_size": 4},
}


def tiny(name: str) -> dict[str, Any]:
    """A method's own settings in a tiny run."""
    if name not in TINY:
        pytest.fail(
            f"tests/conftest.py: TINY has no line for {name}: add one with the smallest networks that it can have"
        )
    return TINY[name]


@pytest.fixture(scope="session")
def tiny_settings() -> Callable[[str], dict[str, Any]]:
    """For methods that are built without a run."""
    return tiny


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is kept where a person's things are kept, and no weights are found that happen to lie there."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DIPTYCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        environment.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
        environment.delenv("DIPTYCH_WEIGHTS", raising=False)
        environment.setattr(devices, "computes_bf16", lambda: False)  # so that every machine trains alike
        environment.setattr(segmentation, "STEPS", 8)  # whoever asks what it learns asks for more
        yield


@pytest.fixture(scope="session")
def tiny_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six training and two val pairs of 32 px, side by side."""
    folder = tmp_path_factory.mktemp("facades")
    facades.write(folder, size=32, train=6, val=2)
    return folder


@pytest.fixture(scope="session")
def tiny_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten training and five val pictures of 16 px in five folders of what they show."""
    folder = tmp_path_factory.mktemp("classes")
    shapes.write(folder, size=16, train=10, val=5)
    return folder


@pytest.fixture(scope="session")
def tiny_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six training and two val photographs of 32 px; beside them lies a grey one, saved as RGB, the first by name."""
    folder = tmp_path_factory.mktemp("photos")
    for split, numbers in (("train", range(6)), ("val", range(6, 8))):
        (folder / split).mkdir()
        for number in numbers:
            photo, _ = facades.draw_pair(number, size=32)
            photo.save(folder / split / f"{number}.png")
        photo.convert("L").convert("RGB").save(folder / split / "00 grey.png")
    return folder


Train = Callable[..., Run]


@pytest.fixture(scope="session")
def train_tiny(tiny_pairs: Path, tiny_photos: Path, tiny_classes: Path) -> Train:
    """Trains the tiny settings, with changes to them, into a folder."""

    def call(out: Path, name: str = "pix2pix", **changes: Any) -> Run:
        kind = METHODS[name].data
        given = {**QUICK, **TINY_BY_KIND[kind], **changes, "method": {**tiny(name), **changes.get("method", {})}}
        if "data_a" not in given:
            given.setdefault(
                "data", {DataKind.IMAGES: tiny_photos, DataKind.LABELLED: tiny_classes}.get(kind, tiny_pairs)
            )
        with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
            return train(name, out=out, console=Console(file=nowhere), **given)

    return call


@pytest.fixture(scope="session")
def tiny_run(train_tiny: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests must not write into it."""
    return train_tiny(tmp_path_factory.mktemp("runs") / "tiny").path


@pytest.fixture(scope="session")
def two_way_run(train_tiny: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a method that translates both ways, trained BtoA; tests must not write into it."""
    return train_tiny(tmp_path_factory.mktemp("runs") / "two-way", "cyclegan").path


@pytest.fixture(scope="session")
def colouring_run(train_tiny: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that colours; tests must not write into it."""
    return train_tiny(tmp_path_factory.mktemp("runs") / "colours", "colorize").path


@pytest.fixture(scope="session")
def completion_run(train_tiny: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that fills holes, of 10 to 16 px; tests must not write into it."""
    changes = {"batch_size": 2, "method": {"hole_min": 10, "hole_max": 16}}
    return train_tiny(tmp_path_factory.mktemp("runs") / "completion", "glcic", **changes).path


@pytest.fixture(scope="session")
def sampling_run(train_tiny: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that starts from noise, of five classes; tests must not write into it."""
    return train_tiny(tmp_path_factory.mktemp("runs") / "sampling", "cgan").path


LoadPainting = Callable[..., Model]


@pytest.fixture(scope="session")
def load_painting() -> LoadPainting:
    """Opens a run with weights that paint: the tiny ones have hardly learnt to."""

    def call(run: Path, direction: Direction | None = None) -> Model:
        model = diptych.load(run, direction=direction, device="cpu")
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for p in model.translator.network.parameters():
                p.normal_(0, 0.3, generator=generator)
        return model

    return call


@pytest.fixture(scope="session")
def research_pictures() -> Path:
    """The folder of real pictures beside the checkout, if there is one."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real pictures beside the checkout (../shared/data); the built-in ones are tested all the same")
    return folder


@pytest.fixture(scope="session")
def tiny_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported network that gives six numbers for a picture of any size, for --features."""
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 6, 3, stride=2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    free = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    program = torch.export.export(
        torch.nn.Sequential(*layers).eval(), (torch.zeros(2, 3, 16, 24),), dynamic_shapes=(free,)
    )
    file = tmp_path_factory.mktemp("networks") / "tiny.pt2"
    torch.export.save(program, file)
    return file


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine to open the page with")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


WriteIdx = Callable[..., Path]


@pytest.fixture(scope="session")
def write_idx() -> WriteIdx:
    """Writes a set as MNIST's is: uint8 pictures `[N, H, W]`, a label for each; gives its folder."""

    def call(folder: Path, given_pictures: Any, labels: Any, word: str = "train") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, values in (("images-idx3", given_pictures), ("labels-idx1", labels)):
            array = np.asarray(values, np.uint8)
            header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / f"{word}-{name}-ubyte").write_bytes(header + array.tobytes())
        return folder

    return call


Feature = bytes | Sequence[bytes] | Sequence[int] | Sequence[float]
WriteTFRecord = Callable[[Path, Iterable[Mapping[str, Feature] | bytes]], Path]


@pytest.fixture(scope="session")
def write_tfrecord() -> WriteTFRecord:
    """Writes a TFRecord file. A record is the features of a `tf.train.Example`, or any bytes as they are."""

    def call(path: Path, records: Iterable[Mapping[str, Feature] | bytes]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for record in records:
                data = record if isinstance(record, bytes) else _example(record)
                length = struct.pack("<Q", len(data))
                file.write(length + _masked_crc(length) + data + _masked_crc(data))
        return path

    return call


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    turned = (crc >> 15) | (crc << 17) & 0xFFFFFFFF
    return struct.pack("<I", (turned + 0xA282EAD8) % 2**32)


def _example(features: Mapping[str, Feature]) -> bytes:
    entries = [_field(1, name.encode()) + _field(2, _feature(value)) for name, value in features.items()]
    return _field(1, b"".join(_field(1, entry) for entry in entries))


def _feature(value: Feature) -> bytes:
    """Bytes are field 1, floats 2, integers 3; numbers are packed into one field, as TensorFlow writes them."""
    values = [value] if isinstance(value, bytes) else value
    if any(isinstance(one, float) for one in values):
        return _field(2, _field(1, struct.pack(f"<{len(values)}f", *values)))
    if any(isinstance(one, int) for one in values):
        return _field(3, _field(1, b"".join(_varint(int(one)) for one in values)))
    return _field(1, b"".join(_field(1, bytes(one)) for one in values))  # type: ignore[arg-type]


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    *low, last = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(byte | 0x80 for byte in low), last])


class Recorder:
    """Stands in for the loop: keeps the losses and their gradients, moves nothing."""

    def __init__(self, method: Method) -> None:
        self.method, self.order = method, list[str]()
        self.losses, self.moved = dict[str, float](), dict[str, set[str]]()
        self.gradients = dict[str, Tensor]()

    def __call__(self, player: str, loss: Tensor) -> None:
        self.method.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.order.append(player)
        self.losses[player] = loss.item()
        gradients = {name: p.grad.clone() for name, p in self.method.named_parameters() if p.grad is not None}
        self.moved[player] = {name.split(".")[0] for name in gradients}
        self.gradients |= gradients


@pytest.fixture
def record() -> Callable[[Method], Recorder]:
    return Recorder


# ---- ICC profiles, worked out by hand: none can be copied from elsewhere

DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
"""XYZ under D50 of red, green and blue."""


def _fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def _icc(space: bytes, connection: bytes, kind: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    """An ICC profile of version 2 (ICC.1, section 7)."""
    place = 132 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, place + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = bytearray(128)
    struct.pack_into(">I", header, 0, place + len(body))
    header[8:12], header[12:24], header[36:40] = b"\x02\x40\0\0", kind + space + connection, b"acsp"
    header[68:80] = _fixed(0.9642, 1, 0.8249)
    return bytes(header) + table + body


@pytest.fixture(scope="session")
def display_p3() -> bytes:
    """A profile of more colours than sRGB, of one matrix and sRGB's curve."""
    curve = b"para\0\0\0\0\0\3\0\0" + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    colours = {
        name + b"XYZ": b"XYZ \0\0\0\0" + _fixed(*xyz) for name, xyz in zip((b"r", b"g", b"b"), DISPLAY_P3, strict=True)
    }
    curves = {name + b"TRC": curve for name in (b"r", b"g", b"b")}
    return _icc(b"RGB ", b"XYZ ", b"mntr", colours | curves)


@pytest.fixture(scope="session")
def grey_profile() -> bytes:
    """A profile of grey values, whose light is their square."""
    return _icc(b"GRAY", b"XYZ ", b"mntr", {b"kTRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, 2 * 256)})


@pytest.fixture(scope="session")
def cmyk_profile() -> bytes:
    """A profile of inks, by a table of its 16 corners: each ink takes a part of the lightness, none has a colour."""
    corners = [100 - 60 * k - 10 * (c + m + y) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    table = b"".join(bytes((round(lightness * 2.55), 128, 128)) for lightness in corners)
    straight = bytes(range(256))
    matrix = _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    lut = b"mft1\0\0\0\0\4\3\2\0" + matrix + 4 * straight + table + 3 * straight
    return _icc(b"CMYK", b"Lab ", b"prtr", {b"A2B0": lut, b"A2B1": lut})
