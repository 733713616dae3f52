"""Image completion: who moves when, what each player sees, and the slips of the source notes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.images.size import Size
from diptych.methods.glcic import GLCIC, GLCICSettings
from diptych.methods.roles import FitsData, Phased
from diptych.methods.settings import Shape
from diptych.training.settings import settings_from
from diptych.training.updater import Updater
from diptych.translators.completion import Completer

Record = Callable[[GLCIC], Any]


def glcic(size: int = 32, **own: Any) -> GLCIC:
    torch.manual_seed(0)
    return GLCIC(GLCICSettings(**{"width": 2, "t_c": 2, "t_d": 3, **own}), Shape(size=Size.square(size)))


def batch(size: int = 32, count: int = 2, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mask, other_mask = torch.zeros(count, 1, size, size), torch.zeros(count, 1, size, size)
    mask[..., 2:16, 0:12] = 1
    other_mask[..., size - 14 : size - 2, size - 12 :] = 1
    y = torch.rand(count, 3, size, size, generator=generator) * 2 - 1
    return {"y": y, "mask": mask, "other_mask": other_mask}


def completer(method: GLCIC) -> Completer:
    [translator] = method.eval().translators().values()
    assert isinstance(translator, Completer)
    return translator


def alone(value: Tensor) -> Tensor:
    """The mean over the processes that train together, where there is one."""
    return value


# ---- phases (requirement 004-1)


def test_who_moves_when(record: Record) -> None:
    orders = []
    for step in range(7):
        method = glcic()
        recorder = record(method)
        method.train_step(batch(), recorder, step)
        orders.append(recorder.order)
        assert all(recorder.moved[player] == set(GLCIC.players[player]) for player in recorder.order)
    assert orders == [["completion"]] * 2 + [["discriminator"]] * 3 + [["discriminator", "completion"]] * 2


def test_while_the_discriminator_learns_nothing_of_the_completion_network_moves(record: Record) -> None:
    """Its statistics do not either."""
    method = glcic()
    before = {name: value.clone() for name, value in method.C.state_dict().items()}
    method.train_step(batch(), record(method), 3)
    assert all(torch.equal(value, before[name]) for name, value in method.C.state_dict().items())
    assert method.C.training


def test_phases_by_share_of_the_run() -> None:
    settings = settings_from("glcic", {"steps": 500_000}).resolved(1000).method
    assert isinstance(settings, GLCICSettings)
    assert (settings.t_c, settings.t_d) == (90_000, 10_000)
    assert (settings.hole_min, settings.hole_max) == (96, 128)  # settings.toml holds what is done
    halves = GLCICSettings(t_c=0.5, t_d=0.5).resolved(3, Size.square(64))
    assert (halves.t_c, halves.t_d) == (1, 1)
    assert GLCICSettings(t_c=0.29).resolved(100, Size.square(64)).t_c == 29
    with pytest.raises(ValueError, match=r"--method\.t-c 900 --method\.t-d 0\.2: .*900 and 200 .*1000"):
        GLCICSettings(t_c=900, t_d=0.2).resolved(1000, Size.square(64))


@pytest.mark.parametrize("value", [1.5, -1, -0.5, True, "abc"])
def test_a_length_is_a_whole_number_or_a_share(value: object) -> None:
    with pytest.raises(ValueError, match=r"^--method\.t-c: [^;]*, found"):
        settings_from("glcic", {"method": {"t_c": value}})


def test_the_model_after_the_first_phase_is_kept() -> None:
    method = glcic()
    assert isinstance(method, Phased)
    assert [method.snapshot_at(done) for done in (1, 2, 3)] == [None, "completion", None]
    assert method.snapshots == ("completion",)


def test_phase_2_may_end_by_its_loss(record: Record) -> None:
    """At a multiple of ten steps, by the mean over them; it stays decided in the state."""
    method = glcic(t_c=0, t_d=100, t_d_until=10.0)
    steps = 0
    while method.phase(steps) != "joint":
        method.train_step(batch(), record(method), steps)
        steps += 1
        method.after_step(steps, alone)
    assert steps == 10
    again = glcic(t_c=0, t_d=100, t_d_until=10.0)
    assert again.phase(50) == "discriminator (T_D)"
    again.load_state_dict(method.state_dict())
    assert (again.phase(9), again.phase(10)) == ("discriminator (T_D)", "joint")


def test_phase_2_goes_on_while_its_loss_is_too_high(record: Record) -> None:
    method = glcic(t_c=0, t_d=25, t_d_until=0.0001)
    for step in range(25):
        assert method.phase(step) == "discriminator (T_D)"
        method.train_step(batch(), record(method), step)
        method.after_step(step + 1, alone)
        assert (method.discriminator_loss_sum == 0).item() == ((step + 1) % 10 == 0)  # it begins anew
    assert method.phase(25) == "joint"
    assert method.joint_from is None


def test_what_ends_phase_2_is_the_mean_over_all_processes(record: Record) -> None:
    method = glcic(t_c=0, t_d=100, t_d_until=10.0)
    for step in range(10):
        method.train_step(batch(), record(method), step)
    method.after_step(10, lambda value: value + 1e6)  # the others have learnt nothing
    assert method.joint_from is None


# ---- losses (004-5)


def test_the_distance_counts_in_the_hole_alone_as_a_mean_of_pictures_in_0_1(record: Record) -> None:
    method, given = glcic(), batch()
    scalars = method.train_step(given, record(method), 0)
    drawn = glcic().C(given["y"], given["mask"])
    hole = given["mask"].bool().expand_as(drawn)
    expected = F.mse_loss((drawn[hole] + 1) / 2, (given["y"][hole] + 1) / 2)
    assert scalars["C_MSE"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_alpha_weighs_the_adversarial_term_of_both_players(record: Record) -> None:
    """Equation 4, and a slip of the notes."""
    recorder = record(glcic(alpha=0.1))
    scalars = recorder.method.train_step(batch(), recorder, 5)
    judged = (scalars["D_real"] + scalars["D_fake"]).item()
    assert recorder.losses["discriminator"] == pytest.approx(0.1 * judged, rel=1e-5)
    expected = scalars["C_MSE"] + 0.1 * scalars["C_GAN"]
    assert recorder.losses["completion"] == pytest.approx(expected.item(), rel=1e-5)


def test_the_completion_network_gets_an_adversarial_gradient(record: Record) -> None:
    """A slip of the notes: there it never did."""
    with_D, without = record(glcic()), record(glcic(alpha=0.0))
    for recorder in (with_D, without):
        recorder.method.train_step(batch(), recorder, 5)
    name = "C.layers.0.weight"
    assert not torch.equal(with_D.gradients[name], without.gradients[name])


def test_balanced_terms_have_gradients_of_one_norm_from_the_first_step_together(record: Record) -> None:
    method, given = glcic(balance=True), batch()
    recorder = record(method)
    scalars = method.train_step(given, recorder, 5)
    weight = method.balanced_alpha.item()
    assert recorder.losses["completion"] == pytest.approx(
        (scalars["C_MSE"] + weight * scalars["C_GAN"]).item(), rel=1e-5
    )
    drawn = torch.rand(2, 3, 32, 32, requires_grad=True)
    fresh = glcic(balance=True)
    fresh._balanced(drawn.square().mean(), 50 * drawn.square().mean(), drawn, 5)
    assert fresh.balanced_alpha.item() == pytest.approx(1 / 50)
    fresh._balanced(drawn.square().mean(), 5 * drawn.square().mean(), drawn, 6)
    assert fresh.balanced_alpha.item() == pytest.approx(1 / 50)  # measured once


# ---- what D sees (004-3, 004-4)


class Eyes(torch.nn.Module):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor, window: Tensor) -> Tensor:
        self.seen.append((x.detach(), window.detach()))
        return self.weight * x.mean(dim=(1, 2, 3))[:, None]


def test_D_sees_the_composite_and_the_windows_around_two_different_holes(record: Record) -> None:
    method, given = glcic(), batch()
    method.D = eyes = Eyes()  # type: ignore[assignment]
    method.train_step(given, record(method), 5)
    (real, real_window), (fake, fake_window), (judged, _) = eyes.seen
    assert torch.equal(real, given["y"])
    assert torch.equal(real_window, given["y"][..., 16:, 16:])  # around M_d, at the border
    outside = (given["mask"] == 0).expand_as(fake)
    assert torch.equal(fake[outside], given["y"][outside])
    assert not (fake == given["y"]).logical_and(~outside).any()
    assert torch.equal(fake_window, fake[..., 1:17, 0:16])  # around M_c
    assert torch.equal(fake, judged)


# ---- the training set's mean pixel (slip: grey)


def test_the_mean_pixel_is_that_of_the_training_set() -> None:
    method = glcic()
    pictures = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert isinstance(method, FitsData)
    method.fit_statistics([pictures[0], pictures[0] // 3])
    assert method.C.mean_pixel.flatten().tolist() == pytest.approx([-1, 4 / 3 - 1, 68 / 255 - 1])


def test_what_goes_in_does_not_hold_the_answer() -> None:
    method, given = glcic().eval(), batch()
    method.C.mean_pixel.fill_(0.25)
    translator = completer(method)
    inputs = translator.inputs_from(given)
    assert list(inputs) == list(translator.input_specs) == ["x", "mask"]
    hole = given["mask"].bool().expand_as(inputs["x"])
    assert (inputs["x"][hole] == 0.25).all()
    assert torch.equal(inputs["x"][~hole], given["y"][~hole])
    with torch.no_grad():
        filled = translator(*inputs.values())
    assert torch.equal(filled[~hole], given["y"][~hole])
    assert not (filled[hole] == 0.25).any()


# ---- optimisers


def test_adadelta_by_default_with_a_rate_of_1_and_adam_with_its_own() -> None:
    by_default, adam = (settings_from("glcic", {"method": own}) for own in ({}, {"optimizer": "adam"}))
    assert (by_default.lr, by_default.decay_start, adam.lr) == (1.0, 1.0, 2e-4)
    assert settings_from("glcic", {"lr": 0.5}).lr == 0.5
    assert isinstance(glcic().optimizer("completion", 1.0, 0.5), torch.optim.Adadelta)
    assert isinstance(glcic(optimizer="adam").optimizer("discriminator", 2e-4, 0.5), torch.optim.Adam)


@pytest.mark.parametrize("optimizer", ["adadelta", "adam"])
def test_a_loss_that_is_not_finite_moves_no_weight(optimizer: str) -> None:
    method = glcic(optimizer=optimizer, t_c=9)
    updater = Updater(method, settings_from("glcic", {"steps": 9, "lr": 1.0}), torch.device("cpu"))
    given = batch()
    updater.begin(0)
    method.train_step(given, updater, 0)
    before = [p.clone() for p in method.C.parameters()]
    updater.begin(1)
    method.train_step({**given, "y": given["y"] * torch.nan}, updater, 1)
    updater.begin(2)
    method.train_step(given, updater, 2)
    assert all(torch.equal(p, b) for p, b in zip(method.C.parameters(), before, strict=True))
    with pytest.raises(ValueError, match="step 2"):
        updater.require_finite("")


# ---- sizes and settings


@pytest.mark.parametrize("size", [32, 64, 100, 160])
def test_no_shape_is_frozen(size: int, record: Record) -> None:
    method = glcic(size)
    for count in (1, 3):
        method.train_step(batch(size, count), record(method), 5)


def test_default_holes_are_the_papers_96_to_128_of_256() -> None:
    with torch.device("meta"):
        masks = completer(GLCIC(GLCICSettings(width=2), Shape(size=Size.square(256)))).mask_spec
    assert (masks.kind, masks.smallest, masks.largest) == ("rectangle", 96, 128)


@pytest.mark.parametrize(
    ("size", "own", "message"),
    [
        (28, {}, "--size 28"),
        (34, {}, "--size 34"),
        (32, {"hole_min": 20, "hole_max": 10}, "--method.hole-min 20 --method.hole-max 10"),
        (32, {"hole_max": 32}, "below --size 32"),
        (32, {"hole_min": 32}, "below --size 32"),
    ],
)
def test_what_cannot_be_is_said(size: int, own: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        glcic(size, **own)


def test_pictures_of_one_channel(record: Record) -> None:
    method = GLCIC(GLCICSettings(width=2, t_c=0, t_d=0), Shape(size=Size.square(32), x_channels=1))
    given = batch()
    method.train_step({**given, "y": given["y"][:, :1]}, record(method), 0)


def test_opencv_fills_holes_and_nothing_else() -> None:
    given = batch()
    levels = ((given["y"] + 1) * 127.5).round() / 127.5 - 1
    for answer in completer(glcic()).baselines([]).values():
        filled = answer({"x": levels, "mask": given["mask"]})
        hole = given["mask"].bool().expand_as(filled)
        assert torch.allclose(filled[~hole], levels[~hole], atol=1e-6)
        assert (filled[hole] != levels[hole]).float().mean() > 0.9
