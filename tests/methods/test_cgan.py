"""The conditional GAN: who moves when, what each network is told, and what stands on its sample sheet."""

import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

import diptych
from diptych.images.size import Size
from diptych.methods.cgan import CGAN, CGANSettings
from diptych.methods.settings import Shape
from diptych.training.run import Run
from diptych.training.settings import settings_from
from diptych.translators.base import LabelSpec, NoiseSpec
from diptych.translators.sampling import Sampler

Train = Callable[..., Run]
Record = Callable[[CGAN], Any]
CLASSES = ("ant", "bee", "cat")


def cgan(classes: tuple[str, ...] = CLASSES, size: int = 16, channels: int = 3, **own: Any) -> CGAN:
    """A method whose weights are large enough to see what they do."""
    torch.manual_seed(0)
    method = CGAN(
        CGANSettings(**{"width": 2, "noise": 6, **own}),
        Shape(size=Size.square(size), x_channels=channels, classes=classes),
    )
    with torch.no_grad():
        for p in method.parameters():
            p.normal_(0, 0.3)
    return method


def sampler(method: CGAN) -> Sampler:
    [translator] = method.eval().translators().values()
    assert isinstance(translator, Sampler)
    return translator


def batch(count: int = 4, size: int = 16, channels: int = 3) -> dict[str, Tensor]:
    y = torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return {"y": y, "label": torch.arange(count) % len(CLASSES)}


def step(method: CGAN, given: dict[str, Tensor], record: Record, seed: int = 0) -> Any:
    recorder = record(method)
    torch.manual_seed(seed)
    recorder.scalars = {name: value.item() for name, value in method.train_step(given, recorder, 0).items()}
    return recorder


# ---- the game


@pytest.mark.parametrize("conditional", [True, False])
def test_D_moves_then_G_and_each_alone(record: Record, conditional: bool) -> None:
    recorder = step(cgan(conditional=conditional), batch(), record)
    assert recorder.order == ["discriminator", "generator"]
    assert recorder.moved == {"discriminator": {"D"}, "generator": {"G"}}


def test_every_weight_is_learnt(record: Record) -> None:
    for condition in ("one-hot", "embedding", "projection"):
        method = cgan(condition=condition)
        assert set(step(method, batch(), record).gradients) == {name for name, _ in method.named_parameters()}


class Known(nn.Module):
    """Says 0.5 of white pictures and -0.25 of all others."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        logits = torch.where(x.amin(dim=(1, 2, 3)) == 1, 0.5, -0.25)[:, None]
        return self.weight * logits + 0 * x.mean()


@pytest.mark.parametrize(
    ("kind", "real", "fake", "of_G"),
    [
        ("vanilla", 0.474077, 0.575939, 0.825939),  # ln(1 + e^-0.5), ln(1 + e^-0.25), ln(1 + e^0.25)
        ("lsgan", 0.25, 0.0625, 1.5625),  # (0.5 - 1)^2, (-0.25 - 0)^2, (-0.25 - 1)^2
        ("hinge", 0.5, 0.75, 0.25),  # max(0, 1 - 0.5), max(0, 1 - 0.25), 0.25
    ],
)
def test_losses_of_known_logits_by_hand(record: Record, kind: str, real: float, fake: float, of_G: float) -> None:
    method = cgan(adversarial=kind)
    method.D = Known()  # type: ignore[assignment]
    recorder = step(method, {**batch(), "y": torch.ones(4, 3, 16, 16)}, record)
    assert recorder.scalars == pytest.approx({"D_real": real, "D_fake": fake, "G": of_G}, abs=1e-5)
    assert recorder.losses == pytest.approx({"discriminator": real + fake, "generator": of_G}, abs=1e-5)


class Eyes(nn.Module):
    """Keeps what it is given, and hands it on."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.seen = network, list[tuple[Tensor, Tensor | None]]()
        self.trained = list[bool]()

    def forward(self, given: Tensor, label: Tensor | None = None) -> Tensor:
        self.seen.append((given.detach(), label))
        self.trained.append(all(p.requires_grad for p in self.network.parameters()))
        out: Tensor = self.network(given, label)
        return out


def watched(method: CGAN) -> tuple[Eyes, Eyes]:
    method.G, method.D = G, D = Eyes(method.G), Eyes(method.D)  # type: ignore[assignment]
    return G, D


def test_real_and_generated_pictures_are_judged_apart_and_by_the_same_labels(record: Record) -> None:
    """Labels drawn otherwise would tell D what is real."""
    method, given = cgan(), batch(5)
    G, D = watched(method)
    step(method, given, record)
    (real, *_), (fake, *_), (judged, *_) = D.seen
    assert torch.equal(real, given["y"])
    assert fake.shape == real.shape
    assert not torch.equal(fake, real)
    assert torch.equal(fake, judged)
    assert len(G.seen) == 1
    for _, label in (*G.seen, *D.seen):
        assert label is not None
        assert torch.equal(label, given["label"])
    assert D.trained == [True, True, False]
    assert all(p.requires_grad for p in method.parameters())


def test_augmentation_is_what_D_sees_and_G_learns_through_it(record: Record) -> None:
    method, given = cgan(augment=True), batch()
    seen = list[Tensor]()
    method.D.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].detach()))
    made = list[Tensor]()
    method.G.register_forward_hook(lambda _, __, output: made.append(output.detach()))
    learnt = step(method, given, record)
    real, fake_of_D, fake_of_G = seen
    [fake] = made
    assert not torch.allclose(real, given["y"], atol=1e-3)
    assert not torch.allclose(fake_of_D, fake, atol=1e-3)
    assert not torch.allclose(fake_of_G, fake, atol=1e-3)
    assert sum(value.abs().sum().item() for name, value in learnt.gradients.items() if name.startswith("G.")) > 0


def test_noise_is_uniform_from_minus_1_to_1_and_new_for_every_picture_and_step(record: Record) -> None:
    """Figure 1 of DCGAN."""
    method = cgan(noise=50)
    G, _ = watched(method)
    step(method, batch(64), record, seed=1)
    step(method, batch(64), record, seed=2)
    (first, _), (second, _) = G.seen
    assert first.shape == (64, 50)
    assert first.abs().max() <= 1
    assert first.mean().item() == pytest.approx(0, abs=0.05)
    assert first.var().item() == pytest.approx(1 / 3, abs=0.02)  # 2^2 / 12
    assert len({tuple(one) for one in [*first.tolist(), *second.tolist()]}) == 128


@pytest.mark.parametrize("condition", ["one-hot", "embedding", "projection"])
def test_shuffled_labels_change_what_is_learnt(record: Record, condition: str) -> None:
    given = batch(6)
    shuffled = {**given, "label": given["label"].roll(1)}
    right, wrong = (step(cgan(condition=condition), labels, record).scalars for labels in (given, shuffled))
    assert all(abs(right[name] - wrong[name]) > 1e-6 for name in ("D_real", "D_fake", "G"))


def test_without_labels_nobody_looks_at_them(record: Record) -> None:
    given = batch()
    with_labels = step(cgan(conditional=False), given, record)
    without = step(cgan((), conditional=False), {"y": given["y"]}, record)
    assert with_labels.scalars == without.scalars
    assert with_labels.gradients.keys() == without.gradients.keys()
    translator = sampler(cgan(conditional=False))
    assert (translator.classes, translator.row_titles) == ((), ())


def test_labels_that_are_not_there_are_asked_for() -> None:
    with pytest.raises(ValueError, match=r"--method\.conditional true: .*--method\.conditional false"):
        cgan(())


def test_a_size_that_cannot_be_is_said() -> None:
    with pytest.raises(ValueError, match=r"--size 30: .*28"):
        cgan(size=30)


def test_the_networks_are_built_as_they_are_set() -> None:
    method = cgan(size=32, channels=1, width=3, noise=7, condition="projection")
    assert method.G(torch.zeros(2, 7), torch.tensor([0, 2])).shape == (2, 1, 32, 32)
    assert method.D.projection is not None
    assert method.D.projection.weight.shape == (3, 4 * 3)  # halved three times: 4 times the width
    translator = sampler(method)
    assert translator.stride == 32
    assert translator.input_specs == {"z": NoiseSpec(7), "label": LabelSpec(CLASSES)}
    assert translator.output_spec.channels == 1


# ---- settings


@pytest.mark.parametrize(
    ("uniform", "size", "channels"),
    [
        (None, 64, 3),
        ((28, 28, 1), 28, 1),
        ((500, 300, 3), 64, 3),
        ((40, 200, 3), 40, 3),
        ((200, 33, 1), 32, 1),
        ((8, 8, 1), 16, 1),
    ],
)
def test_the_size_is_that_of_the_pictures_up_to_64(uniform: Any, size: int, channels: int) -> None:
    settings = settings_from("cgan", {}, uniform=uniform)
    assert (settings.size, settings.channels_a) == (Size.square(size), channels)
    assert settings_from("cgan", {"size": 128, "channels_a": 3}, uniform=uniform).size == Size.square(128)


def test_defaults_are_the_papers() -> None:
    """DCGAN, section 4, and its figure 1."""
    settings = settings_from("cgan", {})
    assert (settings.batch_size, settings.lr, settings.beta1) == (128, 2e-4, 0.5)
    assert (settings.flip, settings.load_scale, settings.decay_start, settings.ema) == (False, 1.0, 1.0, 0.0)
    assert (settings.fit, settings.epochs) == ("crop", 25)
    own = settings.method
    assert isinstance(own, CGANSettings)
    assert (own.width, own.noise, own.conditional, own.condition, own.adversarial) == (
        64,
        100,
        True,
        "one-hot",
        "vanilla",
    )


def test_idx_files_are_learnt_from_at_their_size_and_in_grey(write_idx: Callable[..., Path], tmp_path: Path) -> None:
    write_idx(tmp_path, np.zeros((6, 28, 28)), [3, 1, 4, 1, 5, 9])
    run = diptych.train(
        "cgan",
        data=tmp_path,
        out=tmp_path / "run",
        steps=1,
        batch_size=3,
        device="cpu",
        method={"width": 2, "noise": 4},
    )
    assert (run.settings.size, run.settings.channels_a) == (Size.square(28), 1)
    assert run.classes == ("1", "3", "4", "5", "9")
    [picture] = diptych.load(run.path, device="cpu").sample(4)
    assert (picture.size, picture.mode) == ((28, 28), "L")


# ---- noise for a picture


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**63 - 1),
    numbers=st.lists(st.integers(0, 10**6), min_size=1, max_size=8, unique=True),
    label=st.integers(0, 2),
)
def test_noise_depends_on_seed_and_number_alone(seed: int, numbers: list[int], label: int) -> None:
    translator = sampler(cgan())
    drawn = translator.draw(label, seed, numbers)
    assert list(drawn) == list(translator.input_specs) == ["z", "label"]
    assert (drawn["z"].dtype, drawn["z"].shape) == (torch.float32, (len(numbers), 6))
    assert drawn["z"].abs().max() <= 1
    assert drawn["label"].tolist() == [label] * len(numbers)
    assert drawn["label"].dtype == torch.int64
    for place, number in enumerate(numbers):
        [alone] = translator.draw(2 - label, seed, [number])["z"]
        assert torch.equal(alone, drawn["z"][place])
    of_another_seed = translator.draw(label, (seed + 1) % 2**63, numbers)["z"]
    assert len({tuple(z) for z in [*drawn["z"].tolist(), *of_another_seed.tolist()]}) == 2 * len(numbers)


def test_neighbouring_seeds_share_no_noise() -> None:
    translator = sampler(cgan())
    drawn = [tuple(z) for seed in range(10) for z in translator.draw(0, seed, range(10))["z"].tolist()]
    assert len(set(drawn)) == 100


def test_noise_of_samples_is_that_of_training() -> None:
    z = sampler(cgan(noise=50)).draw(0, 0, range(200))["z"]
    assert z.mean().item() == pytest.approx(0, abs=0.02)
    assert z.var().item() == pytest.approx(1 / 3, abs=0.02)
    assert torch.histc(z, 4, -1, 1).tolist() == pytest.approx([2500] * 4, rel=0.1)
    assert 0.99 < z.abs().max() <= 1


# ---- the sample sheet


def cells(method: CGAN, count: int = 1) -> Tensor:
    """The preview as `[rows, columns, C, H, W]`."""
    with torch.no_grad():
        columns = method.eval().preview({"y": torch.zeros(count, 3, 16, 16)})
    assert list(columns) == [str(number) for number in range(1, 11)]
    return torch.stack(list(columns.values()), dim=1)


def drawn(method: CGAN, label: int, seed: int, numbers: Sequence[int]) -> Tensor:
    translator = sampler(method)
    images: Tensor = translator(*translator.draw(label, seed, numbers).values())
    return images


def test_a_row_for_each_class_and_a_noise_for_each_column() -> None:
    method = cgan()
    found = cells(method)
    assert found.shape == (3, 10, 3, 16, 16)
    assert sampler(method).row_titles == CLASSES
    with torch.no_grad():
        for label in range(3):
            for number in range(10):
                alone = drawn(method, label, 0, [number])[0]
                assert torch.allclose(found[label, number], alone, atol=1e-5)


def test_without_labels_every_cell_is_of_another_noise() -> None:
    method = cgan(conditional=False)
    found = cells(method)
    assert found.shape == (10, 10, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(found.flatten(0, 1), drawn(method, 0, 0, range(100)), atol=1e-5)
    assert len({tuple(cell.flatten().tolist()) for cell in found.flatten(0, 1)}) == 100


@pytest.mark.parametrize("count", [1, 15, 16, 17, 100, 1000])
def test_of_many_classes_sixteen_are_shown_spread_over_all(count: int) -> None:
    names = tuple(f"class {number}" for number in range(count))
    method = cgan(names)
    places = [names.index(name) for name in sampler(method).row_titles]
    assert len(places) == min(count, 16)
    gaps = np.diff([*places, count])
    assert places[0] == 0
    assert min(gaps) >= 1
    assert max(gaps) - min(gaps) <= 1
    found = cells(method)
    with torch.no_grad():
        last = drawn(method, places[-1], 0, range(10))
    assert torch.allclose(found[-1], last, atol=1e-5)


@pytest.mark.parametrize("own", [{}, {"conditional": False}])
def test_the_sheet_of_a_run_is_what_sample_draws(train_tiny: Train, tmp_path: Path, own: dict[str, bool]) -> None:
    run = train_tiny(tmp_path / "run", "cgan", steps=3, lr=0.1, channels_a=1, method=own)
    count = 10 if run.settings.method.model_dump()["conditional"] else 100
    diptych.sample(run.path, out=tmp_path / "sheet.png", count=count, seed=0, device="cpu")
    drawn, kept = (
        np.asarray(Image.open(file)) for file in (tmp_path / "sheet.png", run.path / "samples/step-00000003.png")
    )
    assert np.array_equal(drawn, kept)
    assert drawn.std() > 5


def test_the_deployed_model_is_the_moving_average_where_there_is_one(train_tiny: Train, tmp_path: Path) -> None:
    run = train_tiny(tmp_path / "run", "cgan", steps=3, lr=0.1, ema=0.5)
    diptych.sample(run.path, out=tmp_path / "sheet.png", count=10, seed=0, device="cpu")
    with Image.open(tmp_path / "sheet.png") as drawn, Image.open(run.path / "samples/step-00000003.png") as kept:
        assert np.array_equal(np.asarray(drawn), np.asarray(kept))


def test_what_to_do_next_is_what_can_be_done(tiny_photos: Path, tiny_classes: Path, tmp_path: Path) -> None:
    """Where nothing is held out there is nothing to measure on; pictures in no classes can be measured all the same."""
    alone = shutil.copytree(tiny_photos, tmp_path / "alone", ignore=shutil.ignore_patterns("val"))
    for data, own, command in (
        (alone, {"conditional": False}, "report"),
        (tiny_photos, {"conditional": False}, "evaluate"),
        (tiny_classes, {}, "evaluate"),
    ):
        console = Console(file=io.StringIO(), width=500)
        diptych.train(
            "cgan",
            data=data,
            out=tmp_path / f"of {data.name}",
            size=16,
            steps=1,
            batch_size=2,
            device="cpu",
            method={"width": 2, **own},
            console=console,
        )
        assert isinstance(console.file, io.StringIO)
        assert f"next: diptych {command} " in console.file.getvalue()
