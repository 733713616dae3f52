"""pix2pix plays the paper's game."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diptych.images.size import Size
from diptych.losses import ADVERSARIAL
from diptych.methods import METHODS, sketch
from diptych.methods.base import deployed
from diptych.methods.pix2pix import Pix2Pix, Pix2PixSettings
from diptych.methods.settings import Shape
from diptych.networks.layers import measured_statistics
from diptych.networks.resnet import ResidualBlock

SHAPE = Shape(size=Size.square(32))


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


def test_running_statistics_do_not_ask_the_picture(batch: dict[str, Tensor]) -> None:
    """A part of a picture far from the rest of it is translated the same, whatever the rest is."""
    for statistics, alike in (("running", True), ("picture", False)):
        method = build(generator="resnet6", norm="batch", statistics=statistics)
        with measured_statistics(method.eval()), torch.no_grad():
            method.G(batch["x"])
        picture, other = torch.zeros(2, 1, 3, 32, 256)
        other[..., 192:] = 1
        with torch.no_grad():
            assert torch.allclose(method.G(picture)[..., :8], method.G(other)[..., :8], atol=1e-4) == alike


def test_the_gradient_penalty_is_mescheder_s(batch: dict[str, Tensor], record: Any) -> None:
    """Equation 9 of Mescheder et al. 2018, by differences: how D's mean logit changes when a pixel does."""
    losses = {}
    for r1 in (0.0, 2.0):
        method = build(norm="instance", r1=r1).double()
        double = {name: value.double() for name, value in batch.items()}
        for step in (0, 1):
            recorder = record(build(norm="instance", r1=r1).double())
            recorder.method.train_step(double, recorder, step)
            losses[r1, step] = recorder.losses["discriminator"]
    assert losses[2.0, 1] == losses[0.0, 1]  # every sixteenth step alone
    both = torch.cat([double["x"], double["y"]], 1)
    gradients = torch.func.jacrev(lambda images: method.D(images).mean(dim=(1, 2, 3)))(both)
    own = torch.stack([gradients[number, number] for number in range(len(both))])  # of a picture by its own pixels
    penalty = own.square().sum(dim=(1, 2, 3)).mean().item() / 2
    assert losses[2.0, 0] - losses[0.0, 0] == pytest.approx(2 * 16 * penalty, rel=1e-5)


def test_augmentation_is_the_same_for_input_and_output(batch: dict[str, Tensor]) -> None:
    """D must see a label where the photograph of it lies: both are shifted and cut out alike, and labels keep colours."""
    method = build(augment=True)
    torch.manual_seed(0)
    seen = method._D_input(batch["x"], batch["x"])
    x, y = seen[:, :3], seen[:, 3:]
    assert not torch.equal(x, batch["x"])
    assert torch.equal(x == 0, (x == 0).all(dim=1, keepdim=True).expand_as(x))
    assert ((x == 0) <= (y == 0)).all()  # what is cut out of one is cut out of the other
    assert torch.isin(x, torch.cat([batch["x"].flatten(), torch.zeros(1)])).all()
    assert torch.equal(build()._D_input(batch["x"], batch["y"]), torch.cat([batch["x"], batch["y"]], 1))


@pytest.mark.parametrize("settings", [{"spectral_norm": True}, {"augment": True}, {"r1": 1.0}])
def test_what_steadies_the_discriminator_leaves_the_game_as_it_is(
    batch: dict[str, Tensor], record: Any, settings: dict[str, Any]
) -> None:
    recorder = record(build(**settings))
    scalars = recorder.method.train_step(batch, recorder, step=0)
    assert recorder.order == ["discriminator", "generator"]
    assert recorder.moved == {"discriminator": {"D"}, "generator": {"G"}}
    assert all(torch.isfinite(value) for value in scalars.values())
    assert set(deployed(recorder.method)["G"].state_dict()) == set(deployed(build())["G"].state_dict())


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


@pytest.mark.parametrize("size", [1, 17, 80, 100, 2048])
def test_a_size_that_the_network_cannot_take(size: int) -> None:
    with pytest.raises(ValueError, match=rf"--size {size}: .* nearest"):
        Pix2Pix(Pix2PixSettings(), Shape(size=Size.square(size)))


@pytest.mark.parametrize(("size", "near"), [(100, 96), (1, 8), (30, 32)])
def test_a_size_that_the_residual_generator_cannot_take(size: int, near: int) -> None:
    with pytest.raises(ValueError, match=rf"--size {size}: .* nearest is {near}"):
        Pix2Pix(Pix2PixSettings(generator="resnet6"), Shape(size=Size.square(size)))


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
        Pix2Pix(Pix2PixSettings(width=1, patch=286), Shape(size=Size.square(64)))


def test_statistics_of_a_norm_that_has_none() -> None:
    with pytest.raises(ValueError, match=r"--method\.statistics running: .* --method\.norm is instance"):
        build(norm="instance", statistics="running")


def test_augmentation_leaves_ab_their_colours(batch: dict[str, Tensor]) -> None:
    torch.manual_seed(0)
    seen = build(augment=True)._D_input(batch["x"][:, :1], batch["y"][:, :2])
    assert torch.isin(seen[:, 1:], torch.cat([batch["y"].flatten(), torch.zeros(1)])).all()


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
    used = deployed(sketch(name, method.Settings(), Shape(size=Size.square(64), classes=("a", "b"))))
    assert set(used) <= set(owned)
    assert used
    assert len(owned) == len(set(owned))
    described = method.Settings.model_fields
    assert all(field.description for field in described.values())
    assert described["width"].default == 64
