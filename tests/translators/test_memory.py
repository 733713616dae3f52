"""What a picture needs is known before it is translated, and one that needs too much is one line."""

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import diptych.devices
import diptych.model
from diptych import cli
from diptych.images import giant
from diptych.images.formats import TooLargeError
from diptych.images.spec import ImageSpec
from diptych.model import load
from diptych.networks.unet import UNet
from diptych.training.run import Run
from diptych.translate import translate
from diptych.translators.image import ColorTranslator, ImageTranslator
from diptych.translators.memory import WORKSPACE, needed_memory

Train = Callable[..., Run]
MIB = 2**20


class Widening(nn.Module):
    """Needs at most its input, a copy of eight times that, and another of those at one time."""

    stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        wide = torch.cat([x] * 8, dim=1) * self.weight  # eight copies, before and after the product
        return wide[:, :3]


def test_the_need_is_that_of_the_moment_with_most_alive() -> None:
    translator = ImageTranslator(Widening(), ImageSpec(3), ImageSpec(3))  # type: ignore[arg-type]
    image = 3 * 512 * 1024 * 4
    needed = needed_memory(translator, [(1, 3, 512, 1024)]) / WORKSPACE
    assert 17 * image <= needed <= 20 * image  # 1 + 8 + 8, and what padding by nothing copies


@pytest.mark.parametrize("kind", ["paired", "colour"])
def test_the_need_grows_with_the_picture_and_asking_allocates_nothing(kind: str) -> None:
    network = UNet(3 if kind == "paired" else 1, 3 if kind == "paired" else 2, size=16, width=4)
    translator = (
        ImageTranslator(network, ImageSpec(3), ImageSpec(3)) if kind == "paired" else ColorTranslator(network, 16)
    )
    small, large = (needed_memory(translator.eval(), [(1, 3, side, side)]) for side in (1024, 4096))
    assert 15 < large / small < 17
    terabytes = needed_memory(translator, [(1, 3, 2**19, 2**19)])
    assert terabytes > 2**40


def test_a_picture_too_large_for_memory_is_one_line_and_the_rest_of_the_folder_goes_on(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, size in (("1.png", (64, 48)), ("2.png", (1500, 1000)), ("3.png", (48, 64))):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.new("RGB", size).save(tmp_path / "in" / name)
    translate(tiny_run, tmp_path / "in/1.png", out=tmp_path / "warm.png")
    monkeypatch.setattr(diptych.model, "free_memory", lambda device: 100 * MIB)
    # Dropout that is on cannot go in strips
    status = cli.run(["translate", str(tiny_run), str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--stochastic"])
    assert status == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.png", "3.png"]
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("diptych: ")]
    assert line.startswith(f"diptych: skipped: {tmp_path / 'in/2.png'}: 1500x1000 pixels need about 0.")
    assert "0.1 GiB are free; add --working-size " in line
    shorter = line.rpartition("--working-size ")[2].partition(":")[0]
    again = [
        "translate",
        str(tiny_run),
        str(tmp_path / "in"),
        "--out",
        str(tmp_path / "again"),
        "--working-size",
        shorter,
        "--stochastic",
    ]
    assert cli.run(again) == 0


@pytest.mark.parametrize(
    ("suffix", "line"), [("png", "are opened here as a whole; pip install"), ("webp", "can be opened here")]
)
def test_a_picture_that_cannot_even_be_opened_in_the_memory_that_is_free_is_one_line(
    suffix: str, line: str, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / f"x.{suffix}"
    Image.new("RGB", (300, 300)).save(picture)
    monkeypatch.setattr(diptych.model, "free_memory", lambda device: MIB)
    monkeypatch.setattr(giant, "is_installed", lambda: False)
    [problem] = translate(tiny_run, picture, out=tmp_path / "y.png")
    assert problem.startswith(f"{picture}: 300x300 pixels, and at most 32,768 {line}")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
        torch.OutOfMemoryError("CUDA"),
    ],
    ids=["python", "torch", "cuda"],
)
def test_an_allocator_that_fails_all_the_same_is_no_traceback(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    model = load(tiny_run, device="cpu")

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(model.translator, "forward", fail)
    with pytest.raises(TooLargeError, match="30x20 pixels need more memory than is free on cpu; add --working-size "):
        model(np.zeros((20, 30, 3), np.uint8))


def test_another_error_of_the_network_is_not_called_one_of_memory(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(tiny_run, device="cpu")

    def fail(*_: Any) -> None:
        raise RuntimeError("sizes of tensors must match")

    monkeypatch.setattr(model.translator, "forward", fail)
    with pytest.raises(RuntimeError, match="must match"):
        model(np.zeros((20, 30, 3), np.uint8))


def test_a_training_that_does_not_fit_is_one_line(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("diptych.methods.pix2pix.Pix2Pix.train_step", fail)
    with pytest.raises(ValueError, match="does not fit in the memory of cpu; lower --batch-size, --size or"):
        train_tiny(tmp_path / "run")


def test_the_limit_of_a_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    before = diptych.devices.free_memory(cpu)
    assert before > 0
    used = psutil.Process().memory_info().vms
    monkeypatch.setattr(resource, "getrlimit", lambda _: (used + 64 * MIB, resource.RLIM_INFINITY))
    assert diptych.devices.free_memory(cpu) <= min(before, 65 * MIB)


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, used = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(diptych.devices, "_CONTAINER", ((str(limit), str(used)),))
    limit.write_text(f"{80 * MIB}\n")
    used.write_text(f"{20 * MIB}\n")
    assert diptych.devices.free_memory(torch.device("cpu")) <= 60 * MIB
    limit.write_text("max\n")
    assert diptych.devices.free_memory(torch.device("cpu")) > 60 * MIB
