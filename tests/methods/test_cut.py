"""CUT plays the paper's game: its equations are worked out here by hand, with loops over patches."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor, nn

import diptych
from diptych.images.size import Size
from diptych.images.spec import ImageSpec
from diptych.kinds import DataKind
from diptych.methods.cut import CUT, CUTSettings, patch_nce
from diptych.methods.settings import Shape
from diptych.networks.layers import ImageNetwork
from diptych.networks.resnet import ResidualBlock
from diptych.training import checkpoint
from diptych.training.run import Run
from diptych.training.settings import settings_from
from diptych.training.validation import best_so_far

Array = NDArray[np.float64]
Train = Callable[..., Run]
SHAPE = Shape(size=Size.square(32))
PATCHES, TEMPERATURE = 7, 0.2


def build(shape: Shape = SHAPE, **settings: Any) -> CUT:
    torch.manual_seed(0)
    small = {"width": 4, "patch": 16, "generator": "resnet6", "projection": 8, "patches": PATCHES}
    return CUT(CUTSettings(**{**small, "temperature": TEMPERATURE, **settings}), shape)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1 for name in "xy"}


def scattered(count: int, **_: Any) -> Tensor:
    """Stands in for `torch.randperm`: always the same places, far from each other."""
    return (torch.arange(count) * 5 + 3) % count


@pytest.fixture
def same_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randperm", scattered)


def toss(monkeypatch: pytest.MonkeyPatch, mirrored: bool) -> None:
    """From here on every coin falls this way."""
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor(0.0 if mirrored else 0.9))


# ---- the equations by hand


def patch_nce_by_hand(z_hat: Array, z: Array, temperature: float) -> float:
    """Equation 2 for every patch of every image, and the mean."""
    losses = []
    for queries, keys in zip(z_hat, z, strict=True):  # negatives are of the same image
        for s, query in enumerate(queries):
            positive = math.exp(query @ keys[s] / temperature)
            negatives = sum(math.exp(query @ keys[n] / temperature) for n in range(len(keys)) if n != s)
            losses.append(-math.log(positive / (positive + negatives)))
    return float(np.mean(losses))


def features_by_hand(method: CUT, image: Tensor) -> list[Tensor]:
    """Of a ResNet with instance norm: the pixels, both halvings, the first and the fifth residual block."""
    layers = list(method.G.layers)  # type: ignore[arg-type] # stem 0 to 2, halvings 3 to 5 and 6 to 8, blocks from 9
    assert [isinstance(layers[i], ResidualBlock) for i in (8, 9, 13)] == [False, True, True]
    return [image, *(nn.Sequential(*layers[:end])(image) for end in (6, 9, 10, 14))]


def projected_by_hand(method: CUT, features: list[Tensor]) -> list[Array]:
    """H in numpy: at the places of `scattered`, a multi-layer perceptron of two layers, and length 1."""
    found = []
    for number, layer in enumerate(features):
        first, second = (
            [p.detach().double().numpy() for p in method.H.get_submodule(f"layers.{number}.{i}").parameters()]
            for i in (0, 2)
        )
        flat = layer.detach().double().numpy().reshape(len(layer), layer.shape[1], -1)
        places = [(5 * i + 3) % flat.shape[2] for i in range(min(method.settings.patches, flat.shape[2]))]
        vectors = []
        for image in flat:
            for place in places:
                hidden = np.maximum(first[0] @ image[:, place] + first[1], 0)
                v = second[0] @ hidden + second[1]
                vectors.append(v / math.sqrt((v**2).sum()))
        found.append(np.array(vectors).reshape(len(flat), len(places), -1))
    return found


def nce_by_hand(method: CUT, source: Tensor, output: Tensor, mirrored: bool = False) -> float:
    """Equation 3 with means in place of sums; where G saw the mirrored source, the features are mirrored back."""
    queries = features_by_hand(method, output)
    z_hat = projected_by_hand(method, [layer.flip(-1) if mirrored else layer for layer in queries])
    z = projected_by_hand(method, features_by_hand(method, source))
    return float(
        np.mean([patch_nce_by_hand(*pair, method.settings.temperature) for pair in zip(z_hat, z, strict=True)])
    )


def random_unit_vectors(*shape: int) -> Tensor:
    return nn.functional.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(3)), dim=-1)


@pytest.mark.parametrize("temperature", [0.07, 1.0])
@pytest.mark.parametrize("shape", [(1, 2, 3), (3, 5, 4)], ids=str)
def test_patch_nce_is_equation_2(shape: tuple[int, ...], temperature: float) -> None:
    z_hat, z = random_unit_vectors(2, *shape)
    want = patch_nce_by_hand(z_hat.double().numpy(), z.double().numpy(), temperature)
    assert patch_nce(z_hat, z, temperature).item() == pytest.approx(want, rel=1e-4)


def test_negatives_are_of_the_same_image() -> None:
    z_hat, z = random_unit_vectors(2, 2, 6, 4)
    alone = [patch_nce(z_hat[i : i + 1], z[i : i + 1], 0.07).item() for i in range(2)]
    assert patch_nce(z_hat, z, 0.07).item() == pytest.approx(np.mean(alone), rel=1e-5)


def test_a_patch_that_is_its_own_costs_nothing_and_one_that_is_another_costs_much() -> None:
    z = torch.eye(4)[None]
    assert patch_nce(z, z, 0.07).item() < 1e-5
    assert patch_nce(z.roll(1, dims=1), z, 0.07).item() == pytest.approx(1 / 0.07, rel=1e-3)


@pytest.mark.usefixtures("same_places")
def test_the_mean_over_layers_and_patches_is_equation_3(batch: dict[str, Tensor], record: Any) -> None:
    method = build()
    told = method.train_step(batch, record(method), step=0)
    with torch.no_grad():
        for source, name in ((batch["x"], "NCE_X"), (batch["y"], "NCE_Y")):
            want = nce_by_hand(method, source, method.G(source))
            assert told[name].item() == pytest.approx(want, rel=1e-4)


@pytest.mark.usefixtures("same_places")
@pytest.mark.parametrize(
    ("settings", "lambda_x", "lambda_y"),
    [
        ({}, 0.5, 0.5),  # both terms: half of each, as in the authors' code
        ({"variant": "fastcut"}, 10, 0),
        ({"lambda_x": 3.0, "lambda_y": 0.25}, 1.5, 0.125),
        ({"lambda_x": 3.0, "lambda_y": 0.0}, 3, 0),
    ],
    ids=str,
)
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_total_is_equation_5(
    batch: dict[str, Tensor],
    record: Any,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    lambda_x: float,
    lambda_y: float,
    mirrored: bool,
) -> None:
    method = build(**{"flip_equivariance": mirrored, **settings})
    toss(monkeypatch, mirrored)
    recorder = record(method)
    method.train_step(batch, recorder, step=0)
    x, y = (batch[name].flip(-1) if mirrored else batch[name] for name in "xy")
    with torch.no_grad():
        fake_y, same_y = method.G(x), method.G(y)
        gan = ((method.D(fake_y) - 1) ** 2).mean().item()
        want = gan + lambda_x * nce_by_hand(method, batch["x"], fake_y, mirrored)
        if lambda_y:
            want += lambda_y * nce_by_hand(method, batch["y"], same_y, mirrored)
        loss_D = ((method.D(batch["y"]) - 1) ** 2).mean().item() + (method.D(fake_y) ** 2).mean().item()
    assert recorder.losses["generator"] == pytest.approx(want, rel=1e-4)
    assert recorder.losses["discriminator"] == pytest.approx(loss_D / 2, rel=1e-5)


def test_each_layer_has_its_own_places_and_key_and_query_the_same(
    batch: dict[str, Tensor], record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, asked = build(), list[int]()
    original, seen = torch.randperm, list[list[Tensor]]()

    def watched(count: int, **how: Any) -> Tensor:
        asked.append(count)
        return original(count, **how)

    monkeypatch.setattr(torch, "randperm", watched)
    method.H.register_forward_hook(lambda _, inputs, __: seen.append(inputs[1]))
    method.train_step(batch, record(method), step=0)
    assert asked == [32 * 32, 16 * 16, 8 * 8, 8 * 8, 8 * 8] * 2
    keys_x, queries_x, keys_y, queries_y = seen
    for keys, queries in ((keys_x, queries_x), (keys_y, queries_y)):
        assert all(torch.equal(*pair) for pair in zip(keys, queries, strict=True))
        assert [len(places) for places in keys] == [PATCHES] * 5
        assert all(len(set(places.tolist())) == PATCHES for places in keys)
    assert not all(torch.equal(*pair) for pair in zip(keys_x, keys_y, strict=True))


def test_small_layers_are_compared_at_every_place(batch: dict[str, Tensor], record: Any) -> None:
    method, seen = build(patches=100), list[list[Tensor]]()
    method.H.register_forward_hook(lambda _, inputs, __: seen.append(inputs[1]))
    method.train_step(batch, record(method), step=0)
    assert [len(places) for places in seen[0]] == [100, 100, 64, 64, 64]


def test_vectors_have_length_1() -> None:
    method = build()
    features = [torch.randn(2, count, 6, 4) for count in (3, 8, 16, 16, 16)]
    for layer in method.H(features, [torch.arange(5)] * 5):
        assert layer.shape == (2, 5, 8)
        assert torch.allclose(layer.norm(dim=-1), torch.ones(2, 5), atol=1e-5)


# ---- who learns from what


def one_by_one(method: CUT, batch: dict[str, Tensor]) -> tuple[dict[str, float], dict[str, Tensor]]:
    """The authors' step without its shortcuts: every picture and every network by itself; no mirroring."""
    G, D, H, settings = method.G, method.D, method.H, method.settings

    def nce(source: Tensor, output: Tensor) -> Tensor:
        keys, queries = features_by_hand(method, source), features_by_hand(method, output)
        places = [scattered(layer[0, 0].numel())[: settings.patches] for layer in keys]
        losses = []
        for q, k in zip(H(queries, places), H(keys, places), strict=True):
            k = k.detach()
            for one, other in zip(q, k, strict=True):
                logits = one @ other.T / settings.temperature
                losses.append((torch.logsumexp(logits, dim=1) - logits.diagonal()).mean())
        return torch.stack(losses).mean()

    x, y = batch["x"], batch["y"]
    fake_y, same_y = G(x), G(y)
    loss_D = (((D(y) - 1) ** 2).mean() + (D(fake_y.detach()) ** 2).mean()) * 0.5
    loss_G = ((D(fake_y) - 1) ** 2).mean()
    if settings.lambda_y:
        loss_G = loss_G + (settings.lambda_x * nce(x, fake_y) + settings.lambda_y * nce(y, same_y)) * 0.5
    else:
        loss_G = loss_G + settings.lambda_x * nce(x, fake_y)
    gradients = dict[str, Tensor]()
    for value, networks in ((loss_D, "D"), (loss_G, "GH")):
        named = {name: p for name, p in method.named_parameters() if name[0] in networks}
        found = torch.autograd.grad(value, list(named.values()), retain_graph=True)
        gradients |= dict(zip(named, found, strict=True))
    return {"discriminator": loss_D.item(), "generator": loss_G.item()}, gradients


@pytest.mark.usefixtures("same_places")
@pytest.mark.parametrize(
    "settings", [{}, {"lambda_x": 10.0, "lambda_y": 0.0}, {"norm": "affine-instance", "upsampling": "resize"}], ids=str
)
def test_the_step_is_the_authors_step(batch: dict[str, Tensor], record: Any, settings: dict[str, Any]) -> None:
    method = build(**settings)
    recorder = record(method)
    method.train_step(batch, recorder, step=0)
    losses, gradients = one_by_one(method, batch)
    assert recorder.losses == pytest.approx(losses, rel=1e-5)
    assert recorder.gradients.keys() == gradients.keys()
    for name, want in gradients.items():
        assert (recorder.gradients[name] - want).norm() <= 1e-4 * want.norm() + 1e-4, name


def test_a_place_where_no_feature_is_active_has_a_finite_gradient_of_usual_size() -> None:
    method = build()
    half_dead = [torch.randn(1, count, 4, 4) for count in (3, 8, 16, 16, 16)]
    for layer in half_dead:
        layer[:, :, :2] = 0
    z_hat, z = method.H(half_dead, [torch.arange(16)] * 5), random_unit_vectors(1, 16, 8)
    torch.stack([patch_nce(layer, z, 0.07) for layer in z_hat]).mean().backward()  # type: ignore[no-untyped-call]
    largest = max(p.grad.abs().max().item() for p in method.H.parameters() if p.grad is not None)
    assert 0 < largest < 1e6


def test_keys_carry_no_gradient_and_queries_do(batch: dict[str, Tensor]) -> None:
    method = build()
    source, output = batch["x"].requires_grad_(), batch["y"].requires_grad_()
    method._patch_nce(source, output, None).backward()  # type: ignore[no-untyped-call]
    assert source.grad is None
    assert output.grad is not None
    assert output.grad.abs().sum() > 0
    moved = {name for name, p in method.named_parameters() if p.grad is not None}
    encoder = {f"G.layers.{i}.weight" for i in (0, 3, 6)} | {f"G.layers.{i}.layers.0.weight" for i in range(9, 14)}
    assert encoder <= moved
    assert not any(name.startswith("G.layers.14") for name in moved)  # beyond the encoder
    assert {name for name in moved if name.startswith("H.")} == {f"H.{name}" for name, _ in method.H.named_parameters()}


def test_each_player_moves_its_own_networks_in_turn(batch: dict[str, Tensor], record: Any) -> None:
    method = build()
    recorder = record(method)
    method.train_step(batch, recorder, step=0)
    assert recorder.order == ["discriminator", "generator"]
    assert recorder.moved == {"discriminator": {"D"}, "generator": {"G", "H"}}
    assert all(p.requires_grad for p in method.parameters())
    for player, networks in recorder.moved.items():
        moved = {id(p) for group in method.optimizer(player, 2e-4, 0.5).param_groups for p in group["params"]}
        assert moved == {id(p) for name, p in method.named_parameters() if name[0] in networks}


def test_G_is_judged_by_a_D_that_has_moved(batch: dict[str, Tensor]) -> None:
    method = build()

    def update(player: str, loss: Tensor) -> None:
        if player == "discriminator":
            for p in method.D.parameters():
                p.data.add_(0.1)

    told = method.train_step(batch, update, step=0)
    with torch.no_grad():
        want = ((method.D(method.G(batch["x"])) - 1) ** 2).mean().item()
    assert told["G_GAN"].item() == pytest.approx(want, rel=1e-5)


def test_each_network_runs_as_seldom_as_possible(batch: dict[str, Tensor], record: Any) -> None:
    method, calls = build(), list[tuple[str, int]]()
    for name in "GD":
        method.get_submodule(name).register_forward_hook(
            lambda _, inputs, __, name=name: calls.append((name, len(inputs[0])))
        )
    method.train_step(batch, record(method), step=0)
    assert calls == [("G", 4), ("D", 4), ("D", 2)]


def test_every_loss_is_told(batch: dict[str, Tensor], record: Any) -> None:
    method = build()
    assert set(method.train_step(batch, record(method), step=0)) == {"D_real", "D_fake", "G_GAN", "NCE_X", "NCE_Y"}
    method = build(lambda_y=0.0)
    assert set(method.train_step(batch, record(method), step=0)) == {"D_real", "D_fake", "G_GAN", "NCE_X"}


@pytest.mark.parametrize("adversarial", ["vanilla", "hinge"])
def test_another_adversarial_loss(batch: dict[str, Tensor], record: Any, adversarial: str) -> None:
    method = build(adversarial=adversarial)
    told = method.train_step(batch, record(method), step=0)
    with torch.no_grad():
        real, fake = method.D(batch["y"]), method.D(method.G(batch["x"]))
    softplus = nn.functional.softplus
    real_, fake_, of_G = {
        "vanilla": (softplus(-real).mean(), softplus(fake).mean(), softplus(-fake).mean()),
        "hinge": ((1 - real).clamp(min=0).mean(), (1 + fake).clamp(min=0).mean(), -fake.mean()),
    }[adversarial]
    want = {"D_real": real_.item(), "D_fake": fake_.item(), "G_GAN": of_G.item()}
    assert {name: told[name].item() for name in want} == pytest.approx(want, rel=1e-5)


# ---- mirrored


class Pointwise(ImageNetwork):
    """Treats every pixel alike, so that a mirrored picture comes out mirrored."""

    stride = 1

    def __init__(self) -> None:
        super().__init__()
        channels = {"down1": (3, 8), "down2": (8, 16), "block1": (16, 16), "block5": (16, 16)}
        self.parts = nn.ModuleDict({name: nn.Sequential(nn.Conv2d(*c, 1), nn.ReLU()) for name, c in channels.items()})
        self.out = nn.Conv2d(16, 3, 1)

    @property
    def stages(self) -> dict[str, nn.Module]:
        return dict(self.parts.items())

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts.values():
            x = part(x)
        y: Tensor = self.out(x).tanh()
        return y


@pytest.mark.usefixtures("same_places")
def test_an_equivariant_G_loses_nothing_by_mirroring(
    batch: dict[str, Tensor], record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for mirrored in (False, True):
        method = build(flip_equivariance=True)
        torch.manual_seed(2)
        method.G = Pointwise()
        toss(monkeypatch, mirrored)
        told.append(method.train_step(batch, record(method), step=0))
    for name in ("NCE_X", "NCE_Y"):
        assert told[0][name].item() == pytest.approx(told[1][name].item(), rel=1e-5)
    assert told[0]["NCE_X"].item() != pytest.approx(told[0]["NCE_Y"].item(), rel=1e-5)


@pytest.mark.parametrize("flip", [False, True])
def test_a_coin_says_what_G_sees_and_D_sees_what_G_made(batch: dict[str, Tensor], record: Any, flip: bool) -> None:
    method, given, judged, made = build(flip_equivariance=flip), list[Tensor](), list[Tensor](), list[Tensor]()
    method.G.register_forward_hook(lambda _, inputs, __: given.append(inputs[0]))
    method.G.register_forward_hook(lambda _, __, output: made.append(output))
    method.D.register_forward_hook(lambda _, inputs, __: judged.append(inputs[0]))
    for step in range(12):
        torch.manual_seed(step)
        method.train_step(batch, record(method), step)
    both = torch.cat([batch["x"], batch["y"]])
    mirrored = [torch.equal(one, both.flip(-1)) for one in given]
    assert all(torch.equal(one, both) for one, turned in zip(given, mirrored, strict=True) if not turned)
    assert set(mirrored) == ({False, True} if flip else {False})
    for of_D, of_G, output in zip(judged[::2], judged[1::2], made, strict=True):
        assert torch.equal(of_D[:2], batch["y"])
        assert torch.equal(of_D[2:], output[:2])
        assert torch.equal(of_G, output[:2])


# ---- settings


def test_the_paper_is_the_default() -> None:
    settings = CUTSettings()
    assert (settings.lambda_x, settings.lambda_y, settings.flip_equivariance) == (1, 1, False)
    assert (settings.generator, settings.width, settings.patch, settings.adversarial) == ("resnet9", 64, 70, "lsgan")
    assert (settings.patches, settings.temperature, settings.projection) == (256, 0.07, 256)
    method = CUT(settings, Shape(size=Size.square(256)))
    count = {name: sum(p.numel() for p in network.parameters()) for name, network in method.named_children()}
    of_H = sum(channels * 256 + 256 + 256 * 256 + 256 for channels in (3, 128, 256, 256, 256))
    assert count == {"G": 11_378_179, "D": 2_764_737, "H": of_H}


def test_it_learns_without_pairs() -> None:
    assert CUT.data is DataKind.UNPAIRED


def as_variant(settings: CUTSettings) -> tuple[float, float, bool]:
    return settings.lambda_x, settings.lambda_y, settings.flip_equivariance


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ({}, (10, 0, True)),
        ({"lambda_x": 1.0}, (1, 0, True)),  # given, though it is what cut has
        ({"lambda_y": 1.0, "flip_equivariance": False}, (10, 1, False)),
    ],
    ids=str,
)
def test_fastcut_is_three_settings_unless_they_are_given(
    given: dict[str, Any], want: tuple[float, float, bool], tmp_path: Path
) -> None:
    settings = CUTSettings(variant="fastcut", **given)
    assert as_variant(settings) == want
    recipe = tmp_path / "recipe.toml"
    lines = [f"{name.replace('_', '-')} = {json.dumps(value)}" for name, value in given.items()]
    recipe.write_text("\n".join(['[method]\nname = "cut"\nvariant = "fastcut"', *lines]), encoding="utf-8")
    assert settings_from("cut", {}, recipe).method == settings
    flags = {"method": {"variant": "fastcut", **given}}
    assert settings_from("cut", flags).method == settings
    assert CUTSettings.model_validate(settings.model_dump()) == settings
    assert CUTSettings.model_validate(json.loads(settings.model_dump_json())) == settings


def test_a_flag_comes_before_a_recipe_s_variant(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[method]\nvariant = "fastcut"\nlambda-x = 5.0\n', encoding="utf-8")
    method = settings_from("cut", {"method": {"lambda_x": 2.0}}, recipe).method
    assert isinstance(method, CUTSettings)
    assert as_variant(method) == (2, 0, True)


def test_cut_is_not_fastcut() -> None:
    assert as_variant(CUTSettings(variant="cut")) == (1, 1, False)
    with pytest.raises(ValueError, match=r"--method\.variant: .*'cut' or 'fastcut'"):
        settings_from("cut", {"method": {"variant": "slowcut"}})
    with pytest.raises(ValueError, match=r"--method\.lambda-z: there is no such setting"):
        settings_from("cut", {"method": {"variant": "fastcut", "lambda_z": 1.0}})


def test_cut_learns_400_epochs_and_fastcut_200() -> None:
    of_cut, of_fastcut = settings_from("cut", {}), settings_from("cut", {"method": {"variant": "fastcut"}})
    assert (of_cut.epochs, of_cut.decay_start) == (400, 0.5)
    assert (of_fastcut.epochs, of_fastcut.decay_start) == (200, 0.75)
    assert settings_from("cut", {"epochs": 7.0, "method": {"variant": "fastcut"}}).epochs == 7
    assert settings_from("cut", {"decay_start": 0.1, "method": {"variant": "fastcut"}}).decay_start == 0.1


@pytest.mark.parametrize(
    ("settings", "network", "kind", "count"),
    [
        ({"generator": "resnet9"}, "G", ResidualBlock, 9),
        ({"generator": "resnet6"}, "G", ResidualBlock, 6),
        ({"dropout": True}, "G", nn.Dropout, 6),
        ({"upsampling": "resize"}, "G", nn.Upsample, 2),
        ({"patch": 70}, "D", nn.Conv2d, 5),
        ({"patch": 16}, "D", nn.Conv2d, 3),
    ],
    ids=str,
)
def test_every_setting_reaches_its_networks(
    settings: dict[str, Any], network: str, kind: type[nn.Module], count: int
) -> None:
    layers = build(**settings).get_submodule(network).modules()
    assert sum(isinstance(layer, kind) for layer in layers) == count


def test_width_norm_projection_and_initialisation_reach_their_networks() -> None:
    method = build(width=6, norm="affine-instance", projection=50)
    for network in (method.G, method.D):
        first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
        assert first.out_channels == 6
        assert {layer.affine for layer in network.modules() if isinstance(layer, nn.InstanceNorm2d)} == {True}
    linear = [layer for layer in method.H.modules() if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in linear] == [50] * 10
    for layer in linear[1::2]:
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
        assert not layer.bias.any()


# ---- one way


def test_it_translates_one_way(batch: dict[str, Tensor]) -> None:
    method = build(Shape(size=Size.square(32), x_channels=1, y_channels=1)).eval()
    x = batch["x"][:, :1]
    for direction in ("AtoB", "BtoA"):
        [(found, translator)] = method.translators(direction).items()
        assert found == direction
        assert torch.equal(translator(x), method.G(x))
        assert (translator.input_specs, translator.output_spec) == ({"x": ImageSpec(1)}, ImageSpec(1))


def test_a_run_keeps_G_alone_and_its_settings_and_goes_no_other_way(train_tiny: Train, tmp_path: Path) -> None:
    own = {"variant": "fastcut", "lambda_x": 1.0}
    run = train_tiny(tmp_path / "run", "cut", direction="AtoB", validate_every=6, method=own)
    with safe_open(run.path / "model/model.safetensors", framework="pt") as file:
        assert {name.split(".")[0] for name in file.keys()} == {"G"}  # noqa: SIM118 -- not a dict
    for settings in (Run.open(run.path).settings.method, run.settings.method):
        assert isinstance(settings, CUTSettings)
        assert as_variant(settings) == (1, 0, True)
    saved = checkpoint.load_model(run.path, torch.device("cpu")).config.settings
    assert CUTSettings.model_validate(saved) == run.settings.method
    with pytest.raises(ValueError, match="translates AtoB and no other way"):
        diptych.load(run.path, direction="BtoA", device="cpu")
    best = best_so_far(run, 12)
    assert best is not None
    assert [name.split("/")[0] for name in best.names] == ["swd"]
    assert (run.path / "model-best").is_dir()
    titles = json.loads((run.path / "samples/titles.json").read_text(encoding="utf-8"))
    assert titles == ["real x", "translated G(x)", "real y"]


def test_the_preview_shows_the_translation_and_the_identity(batch: dict[str, Tensor]) -> None:
    method, (x, y) = build().eval(), (batch["x"], batch["y"])
    want = {"real x": x, "translated G(x)": method.G(x), "real y": y, "identity G(y)": method.G(y)}
    columns = method.preview(batch)
    assert list(columns) == list(want)
    assert all(torch.equal(columns[title], expected) for title, expected in want.items())
    assert list(build(lambda_y=0.0).preview(batch)) == ["real x", "translated G(x)", "real y"]


def test_the_doctor_is_told_of_D(batch: dict[str, Tensor], record: Any) -> None:
    method = build(adversarial="hinge")
    told = method.train_step(batch, record(method), step=0)
    [adversary] = method.adversaries()
    assert (adversary.name, adversary.loss) == ("D", method.adversarial)
    assert {*adversary.discriminator_scalars, adversary.generator_scalar} <= told.keys()
    with torch.no_grad():
        real, fake = adversary.scores(batch)
    assert adversary.discriminator_scalars == ("D_real", "D_fake")
    assert adversary.loss.discriminator(real, True).item() == pytest.approx(told["D_real"].item(), rel=1e-5)
    assert adversary.loss.discriminator(fake, False).item() == pytest.approx(told["D_fake"].item(), rel=1e-5)
    assert adversary.loss.generator(fake).item() == pytest.approx(told[adversary.generator_scalar].item(), rel=1e-5)


# ---- what cannot be


def test_a_generator_without_the_stages() -> None:
    with pytest.raises(ValueError, match=r"--method\.generator unet: .* no block1; use resnet9 or resnet6"):
        build(generator="unet")


def test_channels_that_differ() -> None:
    with pytest.raises(ValueError, match=r"--channels-a and --channels-b differ.* give one number"):
        build(Shape(size=Size.square(32), x_channels=1, y_channels=3))


@pytest.mark.parametrize(
    ("size", "settings", "words"), [(30, {}, "--size 30: .* nearest is 32"), (16, {"patch": 70}, r"--method\.patch 70")]
)
def test_a_size_that_a_network_cannot_take(size: int, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build(Shape(size=Size.square(size)), **settings)
