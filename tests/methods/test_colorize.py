"""Colouring: pix2pix from L to ab, and pictures that keep their own lightness at any size."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab
from torch import Tensor

from diptych.images import color, files
from diptych.images.files import Array
from diptych.images.size import Size
from diptych.methods.colorize import Colorize
from diptych.methods.pix2pix import Pix2Pix, Pix2PixSettings
from diptych.methods.settings import Shape
from diptych.model import Model
from diptych.translators.image import ColorTranslator

SETTINGS = Pix2PixSettings(width=2, patch=16, dropout=False)
HALF_A_LEVEL = 100 / 255 / 2  # of L*


def colorize(size: int = 32) -> Colorize:
    torch.manual_seed(0)
    return Colorize(SETTINGS, Shape(size=Size.square(size)))


def colorizer(size: int = 32) -> ColorTranslator:
    [translator] = colorize(size).eval().translators().values()
    assert isinstance(translator, ColorTranslator)
    return translator


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# ---- the method


def test_it_is_pix2pix_from_L_to_ab(record: Any) -> None:
    """The same losses and gradients as pix2pix that is given L as x and ab as y."""
    method, y = colorize(), noise(2, 3, 32, 32)
    torch.manual_seed(0)
    pix2pix = Pix2Pix(SETTINGS, Shape(size=Size.square(32), x_channels=1, y_channels=2))
    L, ab = color.to_lab(y)
    ours, theirs = record(method), record(pix2pix)
    method.train_step({"y": y}, ours, 0)
    pix2pix.train_step({"x": L, "y": ab}, theirs, 0)
    assert ours.order == theirs.order == ["discriminator", "generator"]
    assert ours.losses == theirs.losses
    for name, gradient in theirs.gradients.items():
        assert torch.equal(ours.gradients[name], gradient), name


def test_channels_of_the_networks() -> None:
    method = colorize()
    assert next(method.G.parameters()).shape[1] == 1
    assert method.G(torch.zeros(2, 1, 32, 32)).shape[1] == 2
    assert next(method.D.parameters()).shape[1] == 3


def test_only_the_lightness_is_looked_at() -> None:
    """A colour that reached the network would be copied, and a grey picture would come out grey."""
    translator, y = colorizer(), noise(1, 3, 32, 32)
    with torch.no_grad():
        of_colour, of_grey = (translator(x) for x in (y, color.to_grey(y)))
    assert (of_colour - of_grey).abs().max() < 1e-3


def test_what_goes_in_is_made_of_what_should_come_out() -> None:
    y = noise(2, 3, 32, 32)
    x = colorizer().inputs_from({"y": y})["x"]
    assert x.shape == y.shape
    assert torch.equal(x[:, 0], x[:, 2])
    assert (color.to_lab(x)[0] - color.to_lab(y)[0]).abs().max() < 1e-4


def test_samples_are_grey_coloured_true() -> None:
    y = noise(2, 3, 32, 32)
    columns = colorize().eval().preview({"y": y})
    assert list(columns) == ["input", "output", "target"]
    grey, coloured, true = columns.values()
    assert torch.equal(grey[:, 0], grey[:, 1])
    assert coloured.shape == y.shape
    assert torch.equal(true, y)


@pytest.mark.parametrize("channels", [(1, 3), (3, 1)])
def test_grey_training_is_refused(channels: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"--channels-a and --channels-b"):
        Colorize(SETTINGS, Shape(size=Size.square(32), x_channels=channels[0], y_channels=channels[1]))


def test_baselines() -> None:
    """No colour, and the mean a and b of all training pixels, with the lightness of the picture."""
    training = [noise(2, 3, 8, 8, seed=1), noise(1, 3, 8, 8, seed=2)]
    answers = colorizer().baselines(training)
    grey = color.to_grey(noise(2, 3, 8, 8)) * 0.3  # of which no chroma gives way
    plain, mean = answers.values()
    assert torch.equal(plain({"x": grey}), grey)
    lab = [rgb2lab(((y + 1) / 2).double().numpy(), channel_axis=0) for batch in training for y in batch]
    expected = np.mean(lab, axis=(0, 2, 3))[1:]
    for picture, of in zip(mean({"x": grey}), grey, strict=True):
        L, ab = color.to_lab(picture)
        assert (ab * color.AB_RANGE).mean(dim=(1, 2)).tolist() == pytest.approx(list(expected), abs=0.05)
        assert (L - color.to_lab(of[None])[0]).abs().max() < 1e-3


# ---- pictures of any size and kind


@pytest.fixture(scope="module")
def model(colouring_run: Path, load_painting: Callable[[Path], Model]) -> Model:
    return load_painting(colouring_run)


def lightness(values: Array) -> Array:
    full = np.iinfo(values.dtype).max
    result: Array = rgb2lab(np.repeat(values, 3, axis=-1) / full if values.shape[-1] == 1 else values / full)[..., 0]
    return result


def scan(height: int, width: int, kind: type, channels: int) -> Array:
    """Streaks, edges and noise: everything that lightness can do."""
    generator = np.random.default_rng(height)
    values = generator.uniform(0, 1, (height, width, 1)) ** 3 * np.linspace(0, 1, width)[None, :, None]
    values[height // 3 : height // 2] = 1 - values[height // 3 : height // 2]
    full = np.iinfo(kind).max
    return np.repeat((values * full).round().astype(kind), channels, axis=-1)


@pytest.mark.parametrize(
    ("size", "kind", "channels"),
    [
        ((200, 301), np.uint8, 1),
        ((97, 64), np.uint8, 3),
        ((64, 65), np.uint16, 1),
        ((20, 7), np.uint8, 1),
        ((1, 1), np.uint8, 1),
    ],
)
def test_a_scan_keeps_its_size_its_kind_and_its_lightness(
    model: Model, tmp_path: Path, size: tuple[int, int], kind: type, channels: int
) -> None:
    scanned = scan(*size, kind, channels)
    files.encode(files.Pixels(scanned), tmp_path / "scan.png")
    coloured = files.decode(model(tmp_path / "scan.png", out=tmp_path / "colour.png")).values
    assert coloured.shape == (*size, 3)
    assert coloured.dtype == kind
    assert np.abs(lightness(coloured) - lightness(scanned)).max() < HALF_A_LEVEL
    assert kind == np.uint8 or (coloured % 257).any()  # not on the levels of 8 bits
    assert size == (1, 1) or coloured.astype(float).std(axis=-1).mean() > np.iinfo(kind).max / 100  # and is in colour


def test_a_colour_picture_gets_new_colours_and_keeps_its_lightness(model: Model) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    assert np.abs(lightness(model(picture)) - lightness(picture)).max() < HALF_A_LEVEL


def test_alpha_goes_through(model: Model) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 2), dtype=np.uint8), "LA")
    coloured = model(picture)
    assert coloured.mode == "RGBA"
    assert coloured.getchannel("A").tobytes() == picture.getchannel("A").tobytes()


def test_floats_are_not_put_on_levels(model: Model) -> None:
    picture = np.random.default_rng(0).uniform(0, 1, (40, 50, 1))
    coloured = model(picture)
    assert coloured.dtype == np.float64
    assert np.abs(coloured * 255 - (coloured * 255).round()).max() > 0.1


@pytest.mark.parametrize(("asked", "seen"), [(None, (32, 64)), (64, (64, 128)), (500, (128, 192))])
def test_the_network_works_at_its_own_size(model: Model, asked: int | None, seen: tuple[int, int]) -> None:
    """A large picture is shrunk for it, whatever its size; --working-size says otherwise; nothing is blown up."""
    looked_at = list[Tensor]()
    handle = model.translator.network.register_forward_pre_hook(lambda _, inputs: looked_at.append(inputs[0]))
    model(np.zeros((100, 180), np.uint8), working_size=asked)
    handle.remove()
    assert [tuple(x.shape[-2:]) for x in looked_at] == [seen]


def test_strips_leave_no_seams(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = scan(100, 80, np.uint8, 1)
    whole = model(picture)
    monkeypatch.setattr("diptych.images.spec.STRIP", 7 * 80)
    assert np.abs(model(picture).astype(int) - whole).max() <= 1
