"""One place to add it: a toy method, a toy adversarial loss and a toy generator, each an entry in a registry and no more.

Each is used as a person would: trained by command and from Python, resumed, translated with, evaluated and shown.
"""

import inspect
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pydantic import Field
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor, nn

import diptych
from diptych import cli
from diptych.cli.frame import train_app
from diptych.images.size import Size
from diptych.images.spec import ImageSpec
from diptych.kinds import DataKind, Direction
from diptych.losses import ADVERSARIAL, AdversarialLoss
from diptych.methods import METHODS, sketch
from diptych.methods.base import Adversary, Batch, Method, Scores, Update
from diptych.methods.settings import MethodSettings, Shape
from diptych.networks import DISCRIMINATORS, GENERATORS, Architecture
from diptych.networks.layers import ImageNetwork, frozen
from diptych.training import checkpoint, doctor
from diptych.training.loop import Interrupted
from diptych.training.settings import settings_from
from diptych.translators.base import Translator
from diptych.translators.image import ImageTranslator

SOURCE = Path(__file__).parents[1] / "src/diptych"
MOST_LINES = 40

# ---- the toys


class ToyGenerator(ImageNetwork):
    """Two convolutions at half of the size."""

    stride = 2

    def __init__(self, in_channels: int, out_channels: int, *, width: int = 4, **_: Any) -> None:
        super().__init__()
        self.down = nn.Conv2d(in_channels, width, kernel_size=4, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(width, out_channels, kernel_size=4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.up(self.down(x).relu()).tanh()
        return y


def require_even(size: Size) -> None:
    nearest = Size(*(side + side % 2 for side in size))
    if size != nearest:
        raise ValueError(f"--size {size}: the toy takes even sizes; the nearest is {nearest}")


def toy_loss() -> AdversarialLoss:
    """Absolute in place of squared differences."""

    def discriminator(logits: Tensor, real: bool) -> Tensor:
        return (logits - float(real)).abs().mean()

    return AdversarialLoss(
        discriminator, lambda logits: discriminator(logits, True), chance_level=0.5, generator_chance_level=0.5
    )


class ToySettings(MethodSettings):
    width: int = Field(4, ge=1, description="Channels of G.")
    weight: float = Field(10.0, ge=0, description="Weight of the distance.")


class Toy(Method):
    """G should come near y in two ways: to the eye of D, and in squared distance."""

    paper = "Nobody 2026, A Toy"
    summary = "a picture into a blur"
    data = DataKind.PAIRED
    players: ClassVar[dict[str, tuple[str, ...]]] = {"discriminator": ("D",), "generator": ("G",)}
    Settings = ToySettings

    def __init__(self, settings: ToySettings, shape: Shape) -> None:
        super().__init__(settings, shape)
        self.settings, self.shape = settings, shape
        self.G = ToyGenerator(shape.x_channels, shape.y_channels, width=settings.width)
        self.D = DISCRIMINATORS[16].build(shape.y_channels, width=4, norm="instance")
        self.loss = ADVERSARIAL["hinge"]

    def train_step(self, batch: Batch, update: Update, step: int) -> dict[str, Tensor]:
        fake_y = self.G(batch["x"])
        loss_D = self.loss.discriminator(self.D(batch["y"]), True) + self.loss.discriminator(
            self.D(fake_y.detach()), False
        )
        update("discriminator", loss_D)
        with frozen(self.D):
            loss_G = self.loss.generator(self.D(fake_y))
        distance = (fake_y - batch["y"]).square().mean()
        update("generator", loss_G + self.settings.weight * distance)
        return {"D": loss_D / 2, "G": loss_G, "distance": distance}

    def translators(self, direction: Direction = "AtoB") -> dict[Direction, Translator]:
        return {direction: ImageTranslator(self.G, ImageSpec(self.shape.x_channels), ImageSpec(self.shape.y_channels))}

    def adversaries(self) -> list[Adversary]:
        def scores(batch: Batch) -> Scores:
            return self.D(batch["y"]), self.D(self.G(batch["x"]))

        return [Adversary("D", self.loss, ("D",), "G", scores)]


# ---- what is done with each


@pytest.fixture
def commands_anew() -> Iterator[None]:
    """`diptych train` has a command for each entry of the registry at the time of the test."""

    def forget() -> None:
        for name in METHODS:
            if name in train_app:
                del train_app[name]
        cli.training.add_commands.cache_clear()

    forget()
    yield
    forget()


QUICK: dict[str, Any] = {"size": 32, "steps": 12, "log_every": 4, "sample_every": 6, "checkpoint_every": 4}
ON: dict[str, Any] = {"direction": "BtoA", "device": "cpu", "workers": 1}


def flags(values: dict[str, Any], prefix: str = "") -> list[str]:
    return [text for key, value in values.items() for text in (f"--{prefix}{key}".replace("_", "-"), str(value))]


def last_state(run: Path) -> dict[str, Tensor]:
    return load_file(checkpoint.list_checkpoints(run / "checkpoints")[-1][1] / "training.safetensors")


def train_interrupted(name: str, out: Path, data: Path, own: dict[str, Any]) -> None:
    """Ctrl-C in step 5; then the same call again."""
    quiet = Console(quiet=True)
    original = METHODS[name].train_step

    def interrupting(self: Method, batch: Batch, update: Update, step: int) -> dict[str, Tensor]:
        if step == 4:
            signal.raise_signal(signal.SIGINT)
        return original(self, batch, update, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(METHODS[name], "train_step", interrupting)
        with pytest.raises(Interrupted, match="checkpoint of step 5"):
            diptych.train(name, data=data, out=out, console=quiet, method=own, **QUICK, **ON)
    diptych.train(name, data=data, out=out, console=quiet, method=own, **QUICK, **ON)


def use(name: str, own: dict[str, Any], data: Path, folder: Path) -> None:
    """By command at a stretch, from Python in two parts, which is the same; then all that a trained model is for."""
    whole, parts = folder / "whole", folder / "parts"
    arguments = [*flags({"data": data, "out": whole, **QUICK, **ON}), *flags(own, "method.")]
    assert cli.run(["train", name, *arguments]) == 0
    train_interrupted(name, parts, data, own)
    states = last_state(whole), last_state(parts)
    assert states[0].keys() == states[1].keys()
    assert [key for key, value in states[0].items() if not torch.equal(value, states[1][key])] == []
    pictures = data / "val"
    assert diptych.translate(parts, pictures, out=folder / "translated", device="cpu") == []
    assert len(list((folder / "translated").iterdir())) == len(list(pictures.iterdir()))
    lines = diptych.evaluate(parts, data=data, names=["l1"], device="cpu")
    assert [list(line["metrics"]) for line in lines] == [["l1/8-bit/32px"]]
    page = diptych.report(parts).read_text(encoding="utf-8")
    assert name in page


def lines_of(thing: Any) -> int:
    return len(inspect.getsource(thing).splitlines())


@pytest.mark.usefixtures("commands_anew")
def test_a_method_is_one_class_and_one_entry(
    monkeypatch: pytest.MonkeyPatch, tiny_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lines_of(Toy) <= MOST_LINES
    monkeypatch.setitem(METHODS, "toy", Toy)
    use("toy", {"width": 2, "weight": 5.0}, tiny_pairs, tmp_path)
    capsys.readouterr()
    assert cli.run(["methods"]) == 0
    assert "a picture into a blur" in capsys.readouterr().out
    assert (
        cli.run(["train", "toy", "--data", str(tiny_pairs), "--out", str(tmp_path / "no"), "--method.width", "0"]) == 2
    )
    assert "--method.width: input should be greater than or equal to 1, found 0" in capsys.readouterr().err


@pytest.mark.usefixtures("commands_anew")
def test_a_generator_is_one_class_and_one_entry(
    monkeypatch: pytest.MonkeyPatch, tiny_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lines_of(ToyGenerator) <= MOST_LINES
    monkeypatch.setitem(GENERATORS, "toy", Architecture(ToyGenerator, require_even))
    use("pix2pix", {"generator": "toy", "width": 2, "patch": 16}, tiny_pairs, tmp_path)
    odd = ["--data", str(tiny_pairs), "--out", str(tmp_path / "odd"), "--size", "33", "--method.generator", "toy"]
    assert cli.run(["train", "pix2pix", *odd]) == 2
    assert "--size 33: the toy takes even sizes; the nearest is 34" in capsys.readouterr().err


def with_setting(name: str) -> list[str]:
    return [method for method, found in METHODS.items() if name in found.Settings.model_fields]


@pytest.mark.parametrize("name", [name for name in with_setting("generator") if name != "cut"])
def test_every_method_with_a_generator_takes_the_toy(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(GENERATORS, "toy", Architecture(ToyGenerator, require_even))
    settings = settings_from(name, {"size": 32, "method": {"generator": "toy", "patch": 16}})
    method = sketch(name, settings.method, settings.shape)
    assert isinstance(method.get_submodule("G"), ToyGenerator)
    assert next(iter(method.translators().values())).stride == 2


def test_cut_says_what_it_misses_in_the_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GENERATORS, "toy", Architecture(ToyGenerator, require_even))
    settings = settings_from("cut", {"size": 32, "method": {"generator": "toy", "patch": 16}})
    with pytest.raises(ValueError, match=r"--method\.generator toy: .* no down1; use resnet9 or resnet6"):
        sketch("cut", settings.method, settings.shape)


@pytest.mark.usefixtures("commands_anew")
def test_an_adversarial_loss_is_one_object_and_one_entry(
    monkeypatch: pytest.MonkeyPatch, tiny_pairs: Path, tmp_path: Path
) -> None:
    assert lines_of(toy_loss) <= MOST_LINES
    monkeypatch.setitem(ADVERSARIAL, "toy", toy_loss())
    use("pix2pix", {"adversarial": "toy", "width": 2, "patch": 16}, tiny_pairs, tmp_path)


@pytest.mark.parametrize("name", with_setting("adversarial"))
def test_every_method_with_an_adversarial_loss_takes_the_toy(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    loss = toy_loss()
    monkeypatch.setitem(ADVERSARIAL, "toy", loss)
    settings = settings_from(name, {"size": 32, "method": {"adversarial": "toy"}})
    method = sketch(name, settings.method, settings.shape.model_copy(update={"classes": ("a", "b")}))
    assert [adversary.loss for adversary in method.adversaries()] == [loss] * len(method.adversaries())
    with pytest.raises(ValueError, match=r"--method\.adversarial: .*'toy'.*, found 'tox'"):
        settings_from(name, {"method": {"adversarial": "tox"}})


@pytest.mark.parametrize(
    ("of_D", "of_G", "finding"),
    [
        (0.3, 0.9, []),
        (0.03, 0.9, []),  # 6% of chance
        (0.5, 0.5, ["the losses stand at guessing"]),
        (0.01, 1.5, ["the discriminator has won"]),
        (0.9, 0.1, ["the generator has won"]),
    ],
)
def test_the_doctor_knows_the_toy_loss(
    monkeypatch: pytest.MonkeyPatch, of_D: float, of_G: float, finding: list[str]
) -> None:
    monkeypatch.setitem(ADVERSARIAL, "toy", toy_loss())
    settings = settings_from("pix2pix", {"steps": 1000, "method": {"adversarial": "toy"}})
    adversaries = sketch("pix2pix", settings.method, settings.shape).adversaries()
    log = [
        {"step": step, "losses": {"D_real": of_D, "D_fake": of_D, "G_GAN": of_G, "G_L1": 0.1, "G": 1.0}}
        for step in range(20, 460, 20)
    ]
    found = doctor.in_losses(log, adversaries, settings)
    assert [one["finding"] for one in found] == finding
    assert all("0.5 would be guessing" in one["saw"] for one in found)


# ---- how little a method must say, and how seldom it is asked


def test_a_method_has_few_public_members() -> None:
    own = {name for name in {*vars(Method), *Method.__annotations__} if not name.startswith("_")}
    assert len(own) <= 15, sorted(own)


# Lines that ask what kind of method, translator or data set they deal with, in order to do something else for one of them:
# an isinstance of a role, a kind of translator or labelled data; a comparison with a DataKind; has_sides; a mask_spec that
# is or is not there. Left out are methods/ and translators/, which say what they are, kinds.py, which defines the words,
# and data/ and prepare/, where a DataKind says how pictures lie in a folder, whatever the method. Importing, annotating
# and passing on does not ask.
ASKS = re.compile(
    r"isinstance\([^)]*\b(Phased|FitsData|Completer|Sampler|ImageTranslator|ColorTranslator|LabelledDataset)\b"
    r"|[!=]= DataKind\.|DataKind\.\w+ [!=]=|\.data ([!=]=|in) |\.has_sides\b|\bin \(DataKind"
    r"|\b(if|not|and|or) [\w.]*\bmask_spec\b(?! *=)"
)
MOST_QUESTIONS = 19


def questions() -> list[str]:
    apart = ("methods", "translators", "data", "prepare", "kinds.py")
    files = [file for file in sorted(SOURCE.rglob("*.py")) if file.relative_to(SOURCE).parts[0] not in apart]
    return [
        f"{file.relative_to(SOURCE)}:{number}: {line.strip()}"
        for file in files
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if ASKS.search(line)
    ]


@pytest.mark.parametrize(
    ("line", "asks"),
    [
        ("phased = method if isinstance(method, Phased) else None", True),
        ('measure = a if METHODS[run.method].data == "labelled" else b', True),
        ("if method.data == DataKind.UNPAIRED:", True),
        ("with_targets = [*(IN_HOLES if translator.mask_spec else ())]", True),
        ("if not METHODS[method].data.has_sides and settings.direction:", True),
        ("from diptych.kinds import DataKind, Direction", False),
        ("loader = EvalLoader(datasets, direction, translator.mask_spec)", False),
        ("Callable[..., None]", False),
    ],
)
def test_the_pattern_finds_what_asks(line: str, asks: bool) -> None:
    assert bool(ASKS.search(line)) == asks


def test_what_kind_of_method_it_is_is_asked_seldom() -> None:
    found = questions()
    assert len(found) <= MOST_QUESTIONS, "\n".join(["", *found])
