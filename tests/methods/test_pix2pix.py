"""pix2pix plays the paper's game."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diptych.losses import ADVERSARIAL
from diptych.methods import METHODS, sketch
from diptych.methods.base import deployed
from diptych.methods.pix2pix import Pix2Pix, Pix2PixSettings
from diptych.methods.settings import Shape
from diptych.networks.resnet import ResidualBlock

SHAPE = Shape(size=32)


def build(**settings: Any) -> Pix2Pix:
    torch.manual_seed(0)
    return Pix2Pix(Pix2PixSettings(width=2, patch=16, dropout=False, **settings), SHAPE)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1 for name in "xy"}


def test_the_losses_are_equations_1_to_4(batch: dict[str, Tensor], record: Any) -> None:
    method = build(norm="instance")
    recorder = record(method)
    method.train_step(batch, recorder, step=0)
    x, y = batch["x"], batch["y"]
    with torch.no_grad():
        fake_y = method.G(x)
        real, fake = (method.D(torch.cat([x, shown], 1)) for shown in (y, fake_y))
    log = torch.nn.functional.logsigmoid
    want_D = -(log(real).mean() + log(-fake).mean()).item() / 2
    want_G = -log(fake).mean().item() + 100 * (fake_y - y).abs().mean().item()
    assert recorder.losses["discriminator"] == pytest.approx(want_D, rel=1e-5)
    assert recorder.losses["generator"] == pytest.approx(want_G, rel=1e-5)


def test_each_player_moves_its_own_networks_in_turn(batch: dict[str, Tensor], record: Any) -> None:
    method = build()
    recorder = record(method)
    method.train_step(batch, recorder, step=0)
    assert recorder.order == ["discriminator", "generator"]
    assert recorder.moved == {"discriminator": {"D"}, "generator": {"G"}}
    assert all(p.requires_grad for p in method.parameters())


@pytest.mark.parametrize(
    ("settings", "players", "scalars"),
    [
        ({"adversarial": "none"}, ["generator"], {"G", "G_L1"}),
        ({"pixel": "none"}, ["discriminator", "generator"], {"G", "G_GAN", "D_real", "D_fake"}),
        ({"pixel": "l2"}, ["discriminator", "generator"], {"G", "G_GAN", "G_L2", "D_real", "D_fake"}),
        ({"adversarial": "lsgan"}, ["discriminator", "generator"], {"G", "G_GAN", "G_L1", "D_real", "D_fake"}),
    ],
)
def test_each_loss_alone(
    batch: dict[str, Tensor], record: Any, settings: dict[str, Any], players: list[str], scalars: set[str]
) -> None:
    method = build(**settings)
    recorder = record(method)
    assert set(method.train_step(batch, recorder, step=0)) == scalars
    assert recorder.order == players


def test_lambda_weighs_the_pixel_loss(batch: dict[str, Tensor], record: Any) -> None:
    values = {}
    for weight in (0.0, 10.0):
        recorder = record(build(lambda_l1=weight, adversarial="lsgan"))
        scalars = recorder.method.train_step(batch, recorder, step=0)
        values[weight] = recorder.losses["generator"], scalars["G_L1"].item(), scalars["G_GAN"].item()
    total, l1, gan = values[10.0]
    assert total == pytest.approx(gan + 10 * l1)
    assert values[0.0][0] == pytest.approx(values[0.0][2])


def test_unconditional_discriminator_does_not_see_the_input(batch: dict[str, Tensor], record: Any) -> None:
    def loss_D(conditional: bool, x: Tensor) -> float:
        method = build(conditional=conditional)
        recorder = record(method)
        method.G = torch.nn.Identity()  # type: ignore[assignment]
        method._scores(x, batch["y"], batch["y"])
        real, _ = method._scores(x, batch["y"], batch["y"])
        return ADVERSARIAL["vanilla"].discriminator(real, True).item() + len(recorder.order)

    other = batch["x"].flip(0)
    assert loss_D(False, batch["x"]) == loss_D(False, other)
    assert loss_D(True, batch["x"]) != loss_D(True, other)


def test_real_and_fake_in_one_batch_give_the_same_numbers(batch: dict[str, Tensor]) -> None:
    """DESIGN 7: one batch where the result is the same (instance norm), one by one where it is not (batch norm)."""
    for norm in ("instance", "batch", "none"):
        method = build(norm=norm)
        together = method._scores(batch["x"], batch["y"], batch["x"])
        one_by_one = [method.D(torch.cat([batch["x"], shown], 1)) for shown in (batch["y"], batch["x"])]
        for a, b in zip(together, one_by_one, strict=True):
            assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("size", [1, 17, 48, 100, 1024])
def test_a_size_that_the_network_cannot_take(size: int) -> None:
    with pytest.raises(ValueError, match=rf"--size {size}: .* nearest"):
        Pix2Pix(Pix2PixSettings(), Shape(size=size))


@pytest.mark.parametrize(("size", "near"), [(100, 96), (1, 8), (30, 32)])
def test_a_size_that_the_residual_generator_cannot_take(size: int, near: int) -> None:
    with pytest.raises(ValueError, match=rf"--size {size}: .* nearest is {near}"):
        Pix2Pix(Pix2PixSettings(generator="resnet6"), Shape(size=size))


@pytest.mark.parametrize(("generator", "blocks"), [("unet", 0), ("resnet6", 6), ("resnet9", 9)])
def test_every_setting_reaches_the_generator(generator: str, blocks: int) -> None:
    method = build(generator=generator, norm="affine-instance", upsampling="resize")
    layers = list(method.G.modules())
    assert sum(isinstance(layer, ResidualBlock) for layer in layers) == blocks
    assert not [layer for layer in layers if isinstance(layer, nn.ConvTranspose2d | nn.Dropout | nn.BatchNorm2d)]
    assert {layer.affine for layer in layers if isinstance(layer, nn.InstanceNorm2d)} == {True}
    with_dropout = Pix2Pix(Pix2PixSettings(width=2, patch=16, generator=generator), SHAPE)
    assert any(isinstance(layer, nn.Dropout) for layer in with_dropout.G.modules())


def test_a_patch_larger_than_the_picture() -> None:
    with pytest.raises(ValueError, match=r"--method\.patch 286: .* 128 .*--size is 64"):
        Pix2Pix(Pix2PixSettings(width=1, patch=286), Shape(size=64))


def test_nothing_to_learn() -> None:
    with pytest.raises(ValueError, match=r"--method\.adversarial none .*--method\.pixel none"):
        build(adversarial="none", pixel="none")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_is(name: str) -> None:
    method = METHODS[name]
    assert method.paper
    assert method.summary
    assert method.data in ("paired", "unpaired", "images", "labelled")
    owned = [network for networks in method.players.values() for network in networks]
    used = deployed(sketch(name, method.Settings(), Shape(size=64, classes=("a", "b"))))
    assert set(used) <= set(owned)
    assert used
    assert len(owned) == len(set(owned))
    described = method.Settings.model_fields
    assert all(field.description for field in described.values())
    assert described["width"].default == 64
