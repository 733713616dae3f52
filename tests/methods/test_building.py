"""Networks that no machine has room for are one line, before any data is read and before the system ends the process."""

import subprocess
import sys
from typing import Any

import pytest
import torch

from diptych.devices import all_memory
from diptych.images.size import Size
from diptych.methods import METHODS, build, require_memory, sketch
from diptych.methods.optimizers import Adadelta, Adam
from diptych.methods.settings import Shape

CPU = torch.device("cpu")
HUGE: list[tuple[str, dict[str, Any], int]] = [
    ("pix2pix", {"width": 16384}, 512),
    ("pix2pix", {"width": 16384, "generator": "resnet9"}, 65536),
    ("cyclegan", {"pool_size": 10**6}, 4096),
    ("cut", {"width": 16384}, 256),
    ("colorize", {"width": 4096}, 256),
    ("glcic", {"width": 16384}, 65532),
    ("cgan", {"width": 16384, "noise": 16384, "condition": "embedding"}, 65536),
]


@pytest.mark.parametrize(("name", "given", "size"), HUGE)
def test_networks_too_large_are_one_line_with_what_to_lower(name: str, given: dict[str, Any], size: int) -> None:
    settings = METHODS[name].Settings.model_validate(given)
    shape = Shape(size=Size.square(size), classes=tuple(map(str, range(10))))
    with pytest.raises(
        ValueError, match=rf"^{name}: its networks .* lower --method\.[a-z-]+ \d+.* or --size$"
    ) as error:
        require_memory(name, sketch(name, settings, shape), settings, CPU)
    assert len(str(error.value)) < 300


def test_the_largest_of_everything_is_counted_or_refused() -> None:
    for name, method in METHODS.items():
        numbers = {key: field for key, field in method.Settings.model_fields.items() if field.annotation is int}
        given = {
            key: max(limit.le for limit in field.metadata if hasattr(limit, "le"))
            for key, field in numbers.items()
            if key != "patch"
        }
        settings = method.Settings.model_validate(given)
        shape = Shape(size=Size.square(65536), x_channels=4096, y_channels=4096, classes=tuple(map(str, range(65536))))
        with pytest.raises(ValueError, match=r"."):
            require_memory(name, sketch(name, settings, shape), settings, CPU)


def test_what_the_allocator_says_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] you tried to allocate 137438953472 bytes.\nmore\n" * 20)

    settings = METHODS["pix2pix"].Settings.model_validate({"width": 65})
    monkeypatch.setattr(METHODS["pix2pix"], "__init__", refuse)
    with pytest.raises(ValueError, match=r"you tried to allocate.*lower --method\.width 65 or --size$") as error:
        build("pix2pix", settings, Shape(size=Size.square(32)), CPU)
    assert len(str(error.value)) < 300
    assert "\n" not in str(error.value)


def test_what_fits_is_let_through() -> None:
    settings = METHODS["pix2pix"].Settings.model_validate({"width": 2})
    require_memory("pix2pix", sketch("pix2pix", settings, Shape(size=Size.square(32))), settings, CPU)
    there = all_memory(CPU)
    assert there is None or there > 2**28


def test_a_step_imports_no_compiler() -> None:
    """torch's own optimisers import it, which takes longer than most of a training's start."""
    code = (
        "import sys, torch; from diptych.methods.optimizers import Adadelta, Adam\n"
        "for optimizer in (Adam, Adadelta):\n"
        "    weight = torch.nn.Parameter(torch.ones(2)); weight.grad = torch.ones(2)\n"
        "    player = optimizer([weight], lr=0.1); player.step(); player.zero_grad()\n"
        "    player.load_state_dict(player.state_dict())\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("ours", "theirs"), [(Adam, torch.optim.Adam), (Adadelta, torch.optim.Adadelta)])
def test_optimisers_take_the_steps_of_torch(ours: Any, theirs: Any) -> None:
    weights = [torch.nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2)]
    for weight, optimizer in zip(weights, (ours([weights[0]], lr=0.1), theirs([weights[1]], lr=0.1)), strict=True):
        for _ in range(3):
            optimizer.zero_grad()
            torch.autograd.backward((weight**3).sum())
            optimizer.step()
    assert torch.equal(*weights)
