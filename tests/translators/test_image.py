"""An image of any size through a generator: padded by reflection, cut back, and exported as it is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

import diptych
from diptych.images.spec import ImageSpec
from diptych.networks.resnet import ResidualBlock, ResNet
from diptych.networks.unet import UNet
from diptych.training import checkpoint
from diptych.training.run import Run
from diptych.translators.image import ImageTranslator

Train = Callable[..., Run]


def residual() -> ImageTranslator:
    torch.manual_seed(0)
    translator = ImageTranslator(ResNet(3, 1, blocks=1, width=4), ImageSpec(3), ImageSpec(1))
    return translator.eval()


def last_state(run: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint.list_checkpoints(run / "checkpoints")[-1][1] / "training.safetensors")


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), halved=st.booleans())
def test_the_network_sees_numpys_reflection_and_its_middle_comes_back(height: int, width: int, halved: bool) -> None:
    torch.manual_seed(0)
    network = UNet(3, 1, size=16, width=2) if halved else ResNet(3, 1, blocks=1, width=2)
    translator = ImageTranslator(network, ImageSpec(3), ImageSpec(1)).eval()
    assert translator.stride == (16 if halved else 8)
    x = torch.rand(2, 3, height, width) * 2 - 1
    (above, below), (left, right) = (
        ((side := -length % translator.stride) // 2, side - side // 2) for length in (height, width)
    )
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (above, below), (left, right)), mode="reflect")
    with torch.no_grad():
        want = network(torch.from_numpy(padded))[..., above : above + height, left : left + width]
        assert torch.equal(translator(x), want)


def test_it_exports_with_sizes_that_are_free() -> None:
    """Also for sizes that are no multiples of its stride: padding and cutting back are in the program."""
    translator, free = residual(), dict.fromkeys((2, 3), torch.export.Dim.DYNAMIC)
    program = torch.export.export(translator, (torch.zeros(1, 3, 37, 45),), dynamic_shapes=((free,),)).module()
    for height, width in ((37, 45), (61, 67), (3, 50), (9, 17), (1, 1)):
        x = torch.rand(1, 3, height, width) * 2 - 1
        with torch.no_grad():
            y = program(x)
            assert y.shape == (1, 1, height, width)
            assert torch.equal(y, translator(x))


# ---- generators that are chosen by name


@pytest.mark.parametrize("generator", ["resnet6", "resnet9"])
@pytest.mark.parametrize("name", ["pix2pix", "colorize"])
def test_a_residual_generator_trains_goes_on_and_translates(
    train_tiny: Train, tmp_path: Path, name: str, generator: str
) -> None:
    """At a size that no U-Net can be built for."""
    changes = {"size": 40, "decay_start": 1.0, "method": {"generator": generator}}
    for steps in (2, 4):
        run = train_tiny(tmp_path / "run", name, steps=steps, **changes)
    whole = train_tiny(tmp_path / "whole", name, steps=4, **changes)
    one, other = last_state(run.path), last_state(whole.path)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert Run.open(run.path).settings.method.model_dump()["generator"] == generator

    model = diptych.load(run.path, device="cpu")
    blocks = [layer for layer in model.translator.modules() if isinstance(layer, ResidualBlock)]
    assert (len(blocks), model.translator.stride) == (int(generator.removeprefix("resnet")), 8)
    picture = np.random.default_rng(0).integers(0, 256, (45, 37, 3)).astype(np.uint8)
    assert model(picture).shape == (45, 37, 3)
    other_generator = "resnet9" if generator == "resnet6" else "resnet6"
    with pytest.raises(ValueError, match=rf"method\.generator {generator} .*{other_generator}"):
        train_tiny(run.path, name, steps=4, **{**changes, "method": {"generator": other_generator}})
