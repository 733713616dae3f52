"""Weights of other programs give here what those programs computed with them, and nothing in a file is run."""

import os
import pickle
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from diptych import cli
from diptych.export import export
from diptych.model import load
from diptych.networks import DISCRIMINATORS
from diptych.networks.completion import CompletionNetwork
from diptych.networks.layers import measured_statistics
from diptych.networks.resnet import ResNet
from diptych.networks.unet import UNet
from diptych.peers import import_weights, junyanz, weights
from diptych.training.origin import DISCRIMINATOR_FILE

PEERS = Path(__file__).parents[3] / "shared/data/peers"
needs_peers = pytest.mark.skipif(not PEERS.exists(), reason="the weights of other programs are not here")
GENERATORS = sorted(path.name for path in (PEERS / "junyanz").glob("*ngf*")) if PEERS.exists() else ["none"]


def reference(folder: Path) -> dict[str, Tensor]:
    with np.load(folder / "reference.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


# ---- equal to the other program


@needs_peers
@pytest.mark.parametrize("name", GENERATORS)
def test_generators_of_junyanz_give_its_output(name: str, tmp_path: Path) -> None:
    folder = PEERS / "junyanz" / name
    expected = reference(folder)
    ways = {"batch_statistics": "picture"} | ({"eval": "running"} if "-batch-" in name else {})
    for way, statistics in ways.items():
        import_weights([folder / "latest_net_G.pth"], out=tmp_path / way, statistics=statistics)  # type: ignore[arg-type]
        network = load(tmp_path / way, device="cpu").translator.network
        with torch.no_grad():
            assert (network(expected["x"]) - expected[way]).abs().max() < 1e-5


@needs_peers
@pytest.mark.parametrize("name", ["D-basic-batch", "D-basic-instance", "D-pixel-batch"])
def test_discriminators_of_junyanz_give_its_output(name: str) -> None:
    folder = PEERS / "junyanz" / name
    read = weights.read(folder / "latest_net_D.pth")
    found = junyanz.discriminator_of(read)
    own = found.settings
    D = DISCRIMINATORS[own["patch"]].build(found.in_channels, width=own["width"], norm=own["norm"])
    junyanz.load_into(D, read, found.layers)
    expected = reference(folder)
    for layer in D.modules():  # theirs normalised by running statistics, which no discriminator of ours keeps
        if isinstance(layer, nn.BatchNorm2d):
            theirs = found.layers[[module for _, module in junyanz.modules(D)].index(layer)].name
            layer.running_mean, layer.running_var = read[f"{theirs}.running_mean"], read[f"{theirs}.running_var"]
    with torch.no_grad():
        assert (D.eval()(expected["x"]) - expected["eval"]).abs().max() < 1e-5


@needs_peers
def test_the_completion_network_of_otenim_gives_its_output(tmp_path: Path) -> None:
    folder = PEERS / "otenim-glcic"
    expected = reference(folder)
    import_weights([folder / "model_cn"], out=tmp_path / "model", mean_pixel="0.1 0.2 0.3")
    C = load(tmp_path / "model", device="cpu").translator.network
    assert isinstance(C, CompletionNetwork)
    assert torch.allclose((C.mean_pixel.flatten() + 1) / 2, torch.tensor([0.1, 0.2, 0.3]))
    with torch.no_grad():  # its input has the mean pixel in the holes already
        C.mean_pixel = torch.zeros(())
        C.fill = lambda x, mask: x  # type: ignore[method-assign]
        output = C(expected["x"][:, :3] * 2 - 1, expected["x"][:, 3:])
    assert ((output + 1) / 2 - expected["eval"]).abs().max() < 1e-5


# ---- files of that form, made here


def as_junyanz(network: nn.Module, layers: list[junyanz.Layer], path: Path, prefix: str = "") -> Path:
    state = {f"{prefix}{name}": value for name, value in junyanz.named(network, layers).items()}
    torch.save(state, path)
    return path


@pytest.fixture
def cyclegan_files(tmp_path: Path) -> list[Path]:
    """Two generators and two discriminators, as that program saves them."""
    files = [
        as_junyanz(
            ResNet(3, 3, blocks=6, width=4), junyanz.resnet_layers(6, False), tmp_path / f"latest_net_G_{side}.pth"
        )
        for side in "AB"
    ]
    return files + [
        as_junyanz(
            DISCRIMINATORS[70].build(3, width=4, norm="instance"),
            junyanz.patch_layers(3),
            tmp_path / f"latest_net_D_{side}.pth",
            "module.",
        )
        for side in "AB"
    ]


def test_two_generators_are_a_cyclegan(cyclegan_files: list[Path], tmp_path: Path) -> None:
    G_A, G_B, D_A, D_B = cyclegan_files
    import_weights([G_A, G_B], out=tmp_path / "model", discriminator=[D_A, D_B])
    x = torch.rand(1, 3, 16, 24) * 2 - 1
    for direction, file in (("AtoB", G_A), ("BtoA", G_B)):
        ours = load(tmp_path / "model", direction=direction, device="cpu").translator.network  # type: ignore[arg-type]
        theirs = ResNet(3, 3, blocks=6, width=4)
        junyanz.load_into(theirs, weights.read(file), junyanz.resnet_layers(6, False))
        with torch.no_grad():
            assert torch.equal(ours(x), theirs(x))
    kept = load_file(tmp_path / "model" / DISCRIMINATOR_FILE)
    assert torch.equal(
        kept["D_Y.layers.0.weight"], weights.read(D_A)["model.0.weight"]
    )  # its D_A judges G_A's pictures
    assert torch.equal(kept["D_X.layers.0.weight"], weights.read(D_B)["model.0.weight"])


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("size", [32, 128, 256])
def test_every_u_net_comes_back_by_its_names(size: int, norm: Any, tmp_path: Path) -> None:
    network = UNet(1, 3, size=size, width=2, norm=norm)
    file = as_junyanz(network, junyanz.unet_layers(size.bit_length() - 1), tmp_path / "G.pth")
    import_weights([file], out=tmp_path / "model")
    x = torch.rand(1, 1, size, size) * 2 - 1
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "model", device="cpu").translator.network(x), network.eval()(x))


def test_running_statistics_are_those_of_the_file(tmp_path: Path) -> None:
    network = UNet(3, 3, size=32, width=2, statistics="running")
    with torch.no_grad(), measured_statistics(network):
        network(torch.rand(4, 3, 32, 32))
    file = as_junyanz(network, junyanz.unet_layers(5), tmp_path / "G.pth")
    x = torch.rand(1, 3, 32, 32)
    outputs = []
    for statistics in ("picture", "running"):
        import_weights([file], out=tmp_path / statistics, statistics=statistics)
        with torch.no_grad():
            outputs.append(load(tmp_path / statistics, device="cpu").translator.network(x))
    with torch.no_grad():
        assert torch.equal(outputs[1], network.eval()(x))
    assert not torch.allclose(outputs[0], outputs[1])


@pytest.mark.parametrize("name", GENERATORS)
@needs_peers
def test_what_was_imported_goes_back_by_their_names(name: str, tmp_path: Path) -> None:
    file = PEERS / "junyanz" / name / "latest_net_G.pth"
    statistics = "running" if "-batch-" in name else "picture"
    import_weights([file], out=tmp_path / "model", statistics=statistics)  # type: ignore[arg-type]
    back = export(tmp_path / "model", out=tmp_path / "back.pth")
    assert (back.file, back.is_right) == (tmp_path / "back.pth", True)
    theirs, ours = weights.read(file), weights.read(tmp_path / "back.pth")
    assert theirs.keys() == ours.keys()
    assert all(
        torch.equal(value, ours[key]) for key, value in theirs.items() if not key.endswith("num_batches_tracked")
    )


def test_a_run_goes_to_that_program_or_is_refused(tiny_run: Path, completion_run: Path, tmp_path: Path) -> None:
    assert export(tiny_run, out=tmp_path / "latest_net_G.pth").is_right
    with pytest.raises(ValueError, match="exists already"):
        export(tiny_run, out=tmp_path / "latest_net_G.pth")
    with pytest.raises(ValueError, match="--format junyanz: that program has"):
        export(completion_run, out=tmp_path / "C.pth")
    assert not [file for file in tmp_path.iterdir() if file.name != "latest_net_G.pth"]


# ---- what is refused, in one line


def saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


class Dangerous:
    """Would make a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_with_more_than_tensors_is_not_opened(tmp_path: Path) -> None:
    for content in (pickle.dumps(Dangerous(tmp_path / "made")), b""):
        (tmp_path / "G.pth").write_bytes(content)
        with pytest.raises(ValueError, match=r"G\.pth"):
            import_weights([tmp_path / "G.pth"], out=tmp_path / "model")
    saved({"model.0.weight": Dangerous(tmp_path / "made")}, tmp_path / "G.pth")
    with pytest.raises(ValueError, match="holds more than tensors"):
        import_weights([tmp_path / "G.pth"], out=tmp_path / "model")
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "model").exists()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_refused_in_one_line(data: st.DataObject, tmp_path: Path) -> None:
    state = {"model.1.weight": torch.zeros(2, 3, 7, 7), "model.1.bias": torch.zeros(2)}
    damaged = bytearray(saved(state, tmp_path / "G.pth").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "G.pth").write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    with pytest.raises(ValueError, match=r"G\.pth: ") as error:
        import_weights([tmp_path / "G.pth"], out=tmp_path / "model")
    assert "\n" not in str(error.value)


def changed(state: dict[str, Tensor], **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (state | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ([1, 2], "an object of the type list"),
        ({}, "holds no weights"),
        ({"epoch": 3, "model": {}}, "a dictionary of"),
        ({"layer.weight": torch.zeros(3)}, r"no weights of a generator of junyanz.* \(they are called layer.weight"),
        ({"model.1.weight": torch.full((4, 3, 7, 7), torch.nan)}, "weights are not finite"),
        ({"model.1.weight": torch.zeros(4, 3, 7, 7)}, "of 0 blocks, and those of 6 and 9"),
    ],
)
def test_other_weights_are_refused_by_name(content: object, line: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=line):
        import_weights([saved(content, tmp_path / "G.pth")], out=tmp_path / "model")


class Blur(nn.Module):
    """A fixed filter that halves or doubles, as CUT's program defines it (Downsample and Upsample, models/networks.py)."""

    def __init__(self, channels: int, doubles: bool) -> None:
        super().__init__()
        self.doubles = doubles
        line = torch.tensor([1.0, 3, 3, 1] if doubles else [1.0, 2, 1])
        filt = line.outer(line) / line.sum() ** 2 * (4 if doubles else 1)
        self.register_buffer("filt", filt.expand(channels, 1, -1, -1).clone())

    def forward(self, x: Tensor) -> Tensor:
        filt = self.get_buffer("filt")
        if not self.doubles:
            return F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), filt, stride=2, groups=x.shape[1])
        y = F.conv_transpose2d(F.pad(x, (1, 1, 1, 1), "replicate"), filt, stride=2, padding=2, groups=x.shape[1])
        return y[..., 1:-1, 1:-1]


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        halves = [[nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)] for _ in "12"]
        self.conv_block = nn.Sequential(*halves[0], nn.ReLU(), *halves[1])

    def forward(self, x: Tensor) -> Tensor:
        return x + cast(Tensor, self.conv_block(x))


class CutGenerator(nn.Module):
    """The generator of CUT's program, module by module, so that its weights have the names that they have there."""

    def __init__(self, blocks: int, width: int) -> None:
        super().__init__()

        def with_norm(before: int, after: int, size: int = 3, padding: int = 1) -> list[nn.Module]:
            return [nn.Conv2d(before, after, size, padding=padding), nn.InstanceNorm2d(after), nn.ReLU()]

        self.model = nn.Sequential(
            nn.ReflectionPad2d(3), *with_norm(3, width, 7, 0),
            *with_norm(width, 2 * width), Blur(2 * width, doubles=False),
            *with_norm(2 * width, 4 * width), Blur(4 * width, doubles=False),
            *(Block(4 * width) for _ in range(blocks)),
            Blur(4 * width, doubles=True), *with_norm(4 * width, 2 * width),
            Blur(2 * width, doubles=True), *with_norm(2 * width, width),
            nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh(),
        )  # fmt: skip


@pytest.mark.parametrize("blocks", [6, 9])
def test_an_antialiased_generator_of_cut_and_back(blocks: int, tmp_path: Path) -> None:
    torch.manual_seed(blocks)
    theirs = CutGenerator(blocks, 4)
    x = torch.rand(1, 3, 48, 32) * 2 - 1
    line = import_weights([saved(theirs.state_dict(), tmp_path / "G.pth")], out=tmp_path / "model")
    assert f"resnet{blocks} of width 4, instance norm, antialiased" in line
    network = load(tmp_path / "model", device="cpu").translator.network
    with torch.inference_mode():
        assert torch.allclose(network(x), theirs.model(x), atol=1e-5)
    export(tmp_path / "model", out=tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert {name: value.shape for name, value in back.items()} == {
        name: value.shape for name, value in theirs.state_dict().items()
    }
    assert all(torch.allclose(back[name], value, atol=1e-6) for name, value in theirs.state_dict().items())


def test_other_filters_than_those_of_cut_are_refused(tmp_path: Path) -> None:
    state = CutGenerator(6, 4).state_dict()
    for changes, line in (
        ({"model.7.filt": state["model.7.filt"] * 2}, r"model\.7\.filt is another filter"),
        ({"model.18.filt": None, "model.22.filt": None}, "antialiased in one direction only; .* --no_antialias and"),
    ):
        with pytest.raises(ValueError, match=line):
            import_weights([saved(changed(state, **changes), tmp_path / "G.pth")], out=tmp_path / "model")
    saved({"model.0.weight": torch.zeros(4, 3, 4, 4), "model.2.filt": torch.ones(4, 1, 3, 3)}, tmp_path / "D.pth")
    saved(state, tmp_path / "G.pth")
    with pytest.raises(ValueError, match=r"D\.pth: a discriminator of CUT's .* import the generator alone"):
        import_weights([tmp_path / "G.pth"], out=tmp_path / "model", discriminator=[tmp_path / "D.pth"])


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("model.10.conv_block.1.weight", torch.zeros(16, 16, 5, 5), r"has the shape \[16, 16, 5, 5\]"),
        ("model.10.conv_block.1.weight", None, "model.10.conv_block.1.weight is missing"),
        ("model.99.weight", torch.zeros(1), "model.99.weight is nothing that this network has"),
    ],
)
def test_a_layer_that_does_not_fit_is_named(name: str, value: Any, line: str, tmp_path: Path) -> None:
    state = junyanz.named(ResNet(3, 3, blocks=6, width=4), junyanz.resnet_layers(6, False))
    with pytest.raises(ValueError, match=line):
        import_weights([saved(changed(state, **{name: value}), tmp_path / "G.pth")], out=tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_mistakes_are_one_line(cyclegan_files: list[Path], tmp_path: Path) -> None:
    G_A, G_B, D_A, _ = cyclegan_files
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").touch()
    for arguments, line in (
        (([G_A], {"out": tmp_path / "mine"}), "exists already"),
        (([G_A, G_B, G_A], {"out": tmp_path / "model"}), "3 files"),
        (([G_A], {"out": tmp_path / "model", "statistics": "running"}), "is of batch norm"),
        (([G_A, G_B], {"out": tmp_path / "model", "discriminator": [D_A]}), "1 files beside 2 generators"),
        (([D_A], {"out": tmp_path / "model"}), "no weights of a generator"),
    ):
        with pytest.raises(ValueError, match=line):
            import_weights(arguments[0], **arguments[1])


def test_the_command_line(cyclegan_files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    G_A, *_ = cyclegan_files
    assert cli.run(["import", str(G_A), "--out", str(tmp_path / "model")]) == 0
    assert "model: pix2pix, resnet6 of width 4, instance norm, 3 to 3 channels, from junyanz" in capsys.readouterr().out
    assert cli.run(["translate", str(tmp_path / "model"), str(tmp_path), "--out", str(tmp_path / "out")]) == 2
