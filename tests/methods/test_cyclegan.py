"""CycleGAN plays the paper's game, cheaply."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.images.size import Size
from diptych.images.spec import ImageSpec
from diptych.methods.cyclegan import CycleGAN, CycleGANSettings
from diptych.methods.settings import Shape
from diptych.networks.resnet import ResidualBlock

SHAPE = Shape(size=Size.square(32))


def build(shape: Shape = SHAPE, **settings: Any) -> CycleGAN:
    torch.manual_seed(0)
    return CycleGAN(CycleGANSettings(**{"width": 2, "patch": 16, "generator": "resnet6", **settings}), shape)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1 for name in "xy"}


def one_by_one(method: CycleGAN, batch: dict[str, Tensor]) -> tuple[dict[str, float], dict[str, Tensor]]:
    """The authors' step (junyanz/pytorch-CycleGAN-and-pix2pix): every picture and every network by itself."""
    settings, (x, y) = method.settings, (batch["x"], batch["y"])
    G, F_, D_X, D_Y = method.G, method.F, method.D_X, method.D_Y

    def gan(judged: Tensor, real: bool) -> Tensor:
        if settings.adversarial == "lsgan":
            return ((judged - float(real)) ** 2).mean()
        return F.softplus(-judged if real else judged).mean()  # -log sigmoid(logit), -log(1 - sigmoid(logit))

    fake_y, fake_x = G(x), F_(y)
    rec_x, rec_y = F_(fake_y), G(fake_x)
    cycle = (rec_x - x).abs().mean() + (rec_y - y).abs().mean()
    identity = (G(y) - y).abs().mean() + (F_(x) - x).abs().mean()
    loss = gan(D_Y(fake_y), True) + gan(D_X(fake_x), True) + 10 * cycle + 10 * settings.lambda_identity * identity
    loss_D_X = (gan(D_X(x), True) + gan(D_X(fake_x.detach()), False)) * 0.5
    loss_D_Y = (gan(D_Y(y), True) + gan(D_Y(fake_y.detach()), False)) * 0.5
    gradients = dict[str, Tensor]()
    for value, networks in ((loss, ("G", "F")), (loss_D_X + loss_D_Y, ("D_X", "D_Y"))):
        named = {name: p for name, p in method.named_parameters() if name.split(".")[0] in networks}
        found = torch.autograd.grad(value, list(named.values()), retain_graph=True)
        gradients |= dict(zip(named, found, strict=True))
    return {"generators": loss.item(), "discriminators": (loss_D_X + loss_D_Y).item()}, gradients


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lambda_identity": 0.0},
        {"generator": "unet"},
        {"generator": "unet", "norm": "affine-instance", "adversarial": "vanilla"},
        {"upsampling": "resize", "patch": 1},
    ],
    ids=str,
)
def test_the_cheap_step_is_the_step_one_by_one(batch: dict[str, Tensor], record: Any, settings: dict[str, Any]) -> None:
    method = build(**settings)
    recorder = record(method)
    method.train_step(batch, recorder, step=0)
    losses, gradients = one_by_one(method, batch)
    assert recorder.losses == pytest.approx(losses, rel=1e-5)
    assert recorder.gradients.keys() == gradients.keys()
    for name, want in gradients.items():
        assert torch.allclose(recorder.gradients[name], want, atol=1e-5, rtol=1e-5), name


def test_each_network_runs_as_seldom_as_possible(batch: dict[str, Tensor], record: Any) -> None:
    """x and y in one batch, real and fake in one batch (DESIGN, section 7)."""
    method, calls = build(), list[tuple[str, int]]()
    for name in ("G", "F", "D_X", "D_Y"):
        method.get_submodule(name).register_forward_hook(
            lambda _, inputs, __, name=name: calls.append((name, len(inputs[0])))
        )
    method.train_step(batch, record(method), step=0)
    assert sorted(calls) == sorted(
        [("G", 4), ("G", 2), ("F", 4), ("F", 2), ("D_X", 2), ("D_X", 4), ("D_Y", 2), ("D_Y", 4)]
    )


def test_each_player_moves_its_own_networks_in_turn(batch: dict[str, Tensor], record: Any) -> None:
    method = build()
    recorder = record(method)
    method.train_step(batch, recorder, step=0)
    assert recorder.order == ["generators", "discriminators"]
    assert recorder.moved == {"generators": {"G", "F"}, "discriminators": {"D_X", "D_Y"}}
    assert all(p.requires_grad for p in method.parameters())


def test_every_loss_is_told(batch: dict[str, Tensor], record: Any) -> None:
    method = build()
    told = method.train_step(batch, record(method), step=0)
    assert set(told) == {"G_GAN", "F_GAN", "cycle_X", "cycle_Y", "identity_X", "identity_Y", "D_X", "D_Y"}
    method = build(lambda_identity=0.0)
    told = method.train_step(batch, record(method), step=0)
    assert set(told) == {"G_GAN", "F_GAN", "cycle_X", "cycle_Y", "D_X", "D_Y"}


def test_the_weights_weigh(batch: dict[str, Tensor], record: Any) -> None:
    method = build(lambda_cycle=3.0, lambda_identity=0.25)
    recorder = record(method)
    told = {name: value.item() for name, value in method.train_step(batch, recorder, step=0).items()}
    want = told["G_GAN"] + told["F_GAN"] + 3 * (told["cycle_X"] + told["cycle_Y"])
    want += 3 * 0.25 * (told["identity_X"] + told["identity_Y"])
    assert recorder.losses["generators"] == pytest.approx(want)
    assert recorder.losses["discriminators"] == pytest.approx(told["D_X"] + told["D_Y"])


def test_parameters_and_map_of_the_paper() -> None:
    # REQUIREMENTS 001-1, 001-2
    method = CycleGAN(CycleGANSettings(), Shape(size=Size.square(256)))
    count = {name: sum(p.numel() for p in network.parameters()) for name, network in method.named_children()}
    assert count == {"G": 11_378_179, "F": 11_378_179, "D_X": 2_764_737, "D_Y": 2_764_737, "pool_X": 0, "pool_Y": 0}
    assert method.D_X(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)


def layers(method: CycleGAN, networks: tuple[str, ...], kind: type[nn.Module]) -> list[int]:
    return [sum(isinstance(layer, kind) for layer in method.get_submodule(name).modules()) for name in networks]


@pytest.mark.parametrize(
    ("settings", "networks", "kind", "count"),
    [
        ({"generator": "resnet6"}, ("G", "F"), ResidualBlock, 6),
        ({"generator": "resnet9"}, ("G", "F"), ResidualBlock, 9),
        ({"generator": "unet"}, ("G", "F"), ResidualBlock, 0),
        ({"generator": "resnet6", "dropout": True}, ("G", "F"), nn.Dropout, 6),
        ({"generator": "unet", "dropout": True}, ("G", "F"), nn.Dropout, 3),
        ({"generator": "unet"}, ("G", "F"), nn.Dropout, 0),
        ({"generator": "resnet6", "upsampling": "resize"}, ("G", "F"), nn.Upsample, 2),
        ({"generator": "unet", "upsampling": "resize"}, ("G", "F"), nn.Upsample, 5),
        ({"generator": "unet", "upsampling": "resize"}, ("G", "F"), nn.ConvTranspose2d, 0),
        ({"patch": 1}, ("D_X", "D_Y"), nn.Conv2d, 3),
        ({"patch": 16}, ("D_X", "D_Y"), nn.Conv2d, 3),
        ({"patch": 70}, ("D_X", "D_Y"), nn.Conv2d, 5),
    ],
    ids=str,
)
def test_every_setting_reaches_its_networks(
    settings: dict[str, Any], networks: tuple[str, ...], kind: type[nn.Module], count: int
) -> None:
    assert layers(build(**settings), networks, kind) == [count, count]


@pytest.mark.parametrize("generator", ["resnet6", "unet"])
@pytest.mark.parametrize(("norm", "affine"), [("instance", False), ("affine-instance", True)])
def test_the_norm_is_that_of_all_networks(generator: str, norm: str, affine: bool) -> None:
    method = build(generator=generator, norm=norm)
    for network in (method.G, method.F, method.D_X, method.D_Y):
        norms = [layer for layer in network.modules() if isinstance(layer, nn.InstanceNorm2d)]
        assert norms
        assert {layer.affine for layer in norms} == {affine}


def test_width_and_initialisation_reach_all_networks() -> None:
    method = build(width=6)
    for network in (method.G, method.F, method.D_X, method.D_Y):
        first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
        assert first.out_channels == 6
        assert first.bias is not None
        assert not first.bias.any()  # 001-5: biases 0, weights N(0, 0.02)
        assert first.weight.std().item() == pytest.approx(0.02, rel=0.3)


def test_the_pools_hold_generated_pictures_each_its_own(batch: dict[str, Tensor], record: Any) -> None:
    # Slips of 000: the pool held paths; A and B are drawn for independently
    method = build(pool_size=2)
    with torch.no_grad():
        fake_y, fake_x = method.G(batch["x"]), method.F(batch["y"])
    method.train_step(batch, record(method), step=0)
    assert torch.allclose(method.pool_Y.pictures, fake_y, atol=1e-6)
    assert torch.allclose(method.pool_X.pictures, fake_x, atol=1e-6)


def test_D_is_shown_pictures_of_earlier_steps(batch: dict[str, Tensor], record: Any) -> None:
    method = build(pool_size=1)
    shown = list[Tensor]()
    method.D_Y.register_forward_hook(lambda _, inputs, __: shown.append(inputs[0].detach()))
    torch.manual_seed(0)
    for step in range(12):
        one = {name: torch.rand(1, 3, 32, 32) * 2 - 1 for name in "xy"}
        method.train_step(one, record(method), step)
    fakes, judged = shown[::2], [both[1:] for both in shown[1::2]]  # G's turn, then D's: real and fake
    old = [not torch.allclose(fake, seen, atol=1e-6) for fake, seen in zip(fakes, judged, strict=True)]
    assert any(old)
    assert not all(old[1:])
    assert all(any(torch.allclose(seen, fake, atol=1e-6) for fake in fakes) for seen in judged)


# ---- what the loss sees of D (001-2)


@pytest.mark.parametrize(
    ("patch_output", "adversarial"),
    [("kept", "lsgan"), ("averaged", "lsgan"), ("sigmoid", "lsgan"), ("kept", "hinge"), ("averaged", "vanilla")],
)
def test_patches_are_kept_or_averaged(
    batch: dict[str, Tensor], record: Any, patch_output: str, adversarial: str
) -> None:
    method = build(patch_output=patch_output, adversarial=adversarial, pool_size=0)
    told = method.train_step(batch, record(method), step=0)
    with torch.no_grad():
        real, fake = method.D_Y(batch["y"]), method.D_Y(method.G(batch["x"]))
    if patch_output != "kept":  # the slip of 001: the loss is per patch and averaged after, unless this is asked for
        real, fake = real.flatten(1).mean(1), fake.flatten(1).mean(1)
    if patch_output == "sigmoid":
        real, fake = real.sigmoid(), fake.sigmoid()
    by_hand: dict[str, tuple[Tensor, Tensor]] = {
        "lsgan": (((real - 1) ** 2).mean() + (fake**2).mean(), ((fake - 1) ** 2).mean()),
        "vanilla": (F.softplus(-real).mean() + F.softplus(fake).mean(), F.softplus(-fake).mean()),
        "hinge": ((1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean(), -fake.mean()),
    }
    loss_D, loss_G = by_hand[adversarial]
    assert told["D_Y"].item() == pytest.approx(loss_D.item() / 2, rel=1e-5)
    assert told["G_GAN"].item() == pytest.approx(loss_G.item(), rel=1e-5)


def test_augmentation_is_what_D_sees_and_G_learns_through_it(batch: dict[str, Tensor], record: Any) -> None:
    method = build(augment=True)
    shown = list[Tensor]()
    method.D_Y.register_forward_hook(lambda _, inputs, __: shown.append(inputs[0].detach()))
    recorder = record(method)
    method.train_step(batch, recorder, step=0)
    with torch.no_grad():
        fake_y = method.G(batch["x"])
    of_G, of_D = shown
    assert not torch.allclose(of_G, fake_y, atol=1e-3)
    assert not torch.allclose(of_D[:2], batch["y"], atol=1e-3)
    assert not torch.allclose(of_D[2:], fake_y, atol=1e-3)
    assert torch.allclose(method.pool_Y.pictures[:2], fake_y, atol=1e-6)  # kept as they were
    alone = build(augment=True, lambda_cycle=0.0, lambda_identity=0.0)
    recorder = record(alone)
    alone.train_step(batch, recorder, step=0)
    assert sum(value.abs().sum().item() for name, value in recorder.gradients.items() if name.startswith("G.")) > 0


# ---- both ways


def test_it_translates_both_ways(batch: dict[str, Tensor]) -> None:
    method = build().eval()
    for direction, back in (("AtoB", "BtoA"), ("BtoA", "AtoB")):
        translators = method.translators(direction)  # type: ignore[arg-type]
        assert list(translators) == [direction, back]  # that of the training first: from x to y
        forward, backward = translators.values()
        assert torch.equal(forward(batch["x"]), method.G(batch["x"]))
        assert torch.equal(backward(batch["y"]), method.F(batch["y"]))


def test_the_sample_sheet_goes_there_and_back(batch: dict[str, Tensor]) -> None:
    method, (x, y) = build().eval(), (batch["x"], batch["y"])
    G, F_ = method.G, method.F
    want = {
        "real x": x,
        "translated G(x)": G(x),
        "reconstructed F(G(x))": F_(G(x)),
        "identity F(x)": F_(x),
        "real y": y,
        "translated F(y)": F_(y),
        "reconstructed G(F(y))": G(F_(y)),
        "identity G(y)": G(y),
    }
    columns = method.preview(batch)
    assert list(columns) == list(want)
    assert all(torch.allclose(columns[title], expected) for title, expected in want.items())


def test_grey_into_colour(record: Any) -> None:
    method = build(Shape(size=Size.square(32), x_channels=1, y_channels=3), lambda_identity=0.0)
    batch = {"x": torch.rand(1, 1, 32, 32) * 2 - 1, "y": torch.rand(1, 3, 32, 32) * 2 - 1}
    method.train_step(batch, record(method), step=0)
    assert [column.shape[1] for column in method.preview(batch).values()] == [1, 3, 1, 1, 3, 1, 3, 3]
    forward, backward = method.eval().translators().values()
    assert forward(batch["x"]).shape[1] == 3
    assert backward(batch["y"]).shape[1] == 1
    assert (forward.input_specs, forward.output_spec) == ({"x": ImageSpec(1)}, ImageSpec(3))
    assert (backward.input_specs, backward.output_spec) == ({"x": ImageSpec(3)}, ImageSpec(1))


# ---- what cannot be


@pytest.mark.parametrize(("size", "near"), [(100, 96), (1, 8), (30, 32), (255, 256)])
def test_a_size_that_the_residual_generator_cannot_take(size: int, near: int) -> None:
    with pytest.raises(ValueError, match=rf"--size {size}: .* nearest is {near}"):
        build(Shape(size=Size.square(size)))


def test_a_size_that_the_unet_cannot_take() -> None:
    with pytest.raises(ValueError, match=r"--size 100: .* 96 and 128"):
        build(Shape(size=Size.square(100)), generator="unet")


def test_a_picture_too_small_for_D() -> None:
    with pytest.raises(ValueError, match=r"--method\.patch 70: .* 32 .*--size is 16"):
        build(Shape(size=Size.square(16)), patch=70)


def test_identity_needs_like_pictures() -> None:
    with pytest.raises(ValueError, match=r"--method\.lambda-identity 0"):
        build(Shape(size=Size.square(32), x_channels=1, y_channels=3))


@pytest.mark.parametrize("adversarial", ["vanilla", "hinge"])
def test_a_sigmoid_before_a_loss_on_logits_is_refused(adversarial: str) -> None:
    with pytest.raises(ValueError, match=r"--method\.patch-output averaged"):
        build(patch_output="sigmoid", adversarial=adversarial)


@pytest.mark.parametrize(("generator", "stride"), [("resnet6", 8), ("unet", 32)])
def test_translation_takes_what_the_generator_takes(generator: str, stride: int) -> None:
    for translator in build(generator=generator).eval().translators().values():
        assert translator.stride == stride
        x = torch.rand(1, 3, stride, 3 * stride)
        assert torch.equal(translator(x), translator.network(x))  # as it is
        assert translator(x).shape == x.shape
