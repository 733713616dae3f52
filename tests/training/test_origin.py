"""A run begins with the weights of another: all that fit, and it says which do not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

from diptych import cli
from diptych.networks.unet import UNet
from diptych.peers import import_weights, junyanz
from diptych.train import train
from diptych.training.origin import find_origin
from diptych.training.run import Run

Begin = Callable[..., tuple[Run, list[str]]]
SETTINGS: dict[str, Any] = {"size": 16, "steps": 2, "lr": 1e-12, "device": "cpu", "workers": 0, "precision": "fp32"}
"""A rate at which nothing is learnt: the weights in the end are those that the run began with."""


@pytest.fixture
def begin(tmp_path: Path, tiny_pairs: Path) -> Begin:
    """Trains from `init` for two steps without learning; gives the run and what it said."""

    def call(
        init: Path, out: str = "new", name: str = "pix2pix", width: int = 4, **changes: Any
    ) -> tuple[Run, list[str]]:
        console = Console(record=True, width=1000)
        method = {"width": width, "patch": 16, **changes.pop("method", {})}
        given = {"data": tiny_pairs, **SETTINGS, **changes, "method": method}
        run = train(name, out=tmp_path / out, init=init, console=console, **given)
        return run, console.export_text().splitlines()

    return call


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory, tiny_pairs: Path) -> Path:
    """A run that has learnt for four steps."""
    out = tmp_path_factory.mktemp("origin") / "run"
    method = {"width": 4, "patch": 16}
    return train("pix2pix", data=tiny_pairs, out=out, **{**SETTINGS, "steps": 4, "lr": 1e-3}, method=method).path


def networks(run: Path) -> dict[str, Tensor]:
    [newest] = sorted(run.glob("checkpoints/*"))[-1:]
    state = load_file(newest / "training.safetensors")
    return {name.removeprefix("method/"): value for name, value in state.items() if name.startswith("method/")}


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(value, theirs[name], atol=1e-7) for name, value in ours.items())


def test_all_that_fits_is_taken_over_and_noted(begin: Begin, origin: Path) -> None:
    run, said = begin(origin, seed=5, batch_size=2)
    assert f"begins from {origin}, step 4: all of G, D" in said
    assert_same(networks(run.path), networks(origin))
    expected = {"path": str(origin), "step": 4, "sha256": find_origin(origin, run.path).digest}
    assert Run.open(run.path).about.begun_from == expected
    begin(origin, seed=5, batch_size=2, steps=3)  # it goes on, and notes it still
    assert Run.open(run.path).about.begun_from == expected


def test_a_model_gives_what_is_deployed(begin: Begin, origin: Path) -> None:
    run, said = begin(origin / "model")
    assert f"begins from {origin / 'model'}, step 4: all of G; nothing of D" in said
    of_G = {name: value for name, value in networks(run.path).items() if name.startswith("G.")}
    assert_same(of_G, load_file(origin / "model/model.safetensors"))


def test_the_moving_average_is_what_goes_on(begin: Begin, origin: Path, tmp_path: Path) -> None:
    averaged, _ = begin(origin, "averaged", ema=0.9, lr=1e-2, steps=4)
    run, _ = begin(averaged.path, "next")
    of_G = {name: value for name, value in networks(run.path).items() if name.startswith("G.")}
    assert_same(of_G, load_file(averaged.path / "model/model.safetensors"))


def test_what_does_not_fit_begins_anew_and_is_named(begin: Begin, origin: Path) -> None:
    run, said = begin(origin, method={"norm": "instance"})
    [line] = [line for line in said if line.startswith("begins from")]
    assert "tensors of G (not G.down.0.0.bias" in line
    assert torch.allclose(networks(run.path)["G.down.0.0.weight"], networks(origin)["G.down.0.0.weight"], atol=1e-7)


def test_grey_pictures_go_on_in_a_network_that_saw_colours(begin: Begin, origin: Path) -> None:
    run, said = begin(origin, channels_a=1)
    assert any("G.down.0.0.weight" in line and "adapted to other channels" in line for line in said)
    colour, grey = networks(origin)["G.down.0.0.weight"], networks(run.path)["G.down.0.0.weight"]
    x = torch.rand(2, 1, 8, 8)
    expected = torch.conv2d(x.expand(-1, 3, -1, -1), colour)
    assert torch.allclose(torch.conv2d(x, grey), expected, atol=1e-5)


def test_optimisers_go_on_where_it_is_wished(begin: Begin, origin: Path) -> None:
    def moments(run: Path) -> dict[str, Tensor]:
        [newest] = sorted(run.glob("checkpoints/*"))[-1:]
        state = load_file(newest / "training.safetensors")
        return {name: value for name, value in state.items() if name.endswith("/step")}

    without, _ = begin(origin, "without")
    beside, said = begin(origin, "with", init_optimizer=True)
    assert {value.item() for value in moments(without.path).values()} == {2}
    assert {value.item() for value in moments(beside.path).values()} == {6}
    assert "the optimisers go on" in said


def test_frozen_stages_keep_the_weights_that_they_began_with(begin: Begin, origin: Path) -> None:
    run, _ = begin(origin, freeze="encoder", lr=1e-2, checkpoint_every=1)
    ours, theirs = networks(run.path), networks(origin)
    encoder = [name for name in ours if name.startswith("G.down")]
    assert encoder
    assert all(torch.equal(ours[name], theirs[name]) for name in encoder)
    assert not torch.allclose(ours["G.out.1.weight"], theirs["G.out.1.weight"])
    begin(origin, freeze="encoder", lr=1e-2, checkpoint_every=1, steps=3)  # it goes on
    with pytest.raises(ValueError, match="--freeze down9: there is no such stage; there are: encoder, down1, down2"):
        begin(origin, "other", freeze="down1, down9")


def test_another_method_takes_its_generator(begin: Begin, origin: Path) -> None:
    run, said = begin(origin, name="cyclegan", method={"generator": "unet", "norm": "affine-instance"})
    assert any("of G" in line for line in said)
    assert torch.allclose(networks(run.path)["G.down.1.1.weight"], networks(origin)["G.down.1.1.weight"], atol=1e-7)


def test_an_imported_model_goes_on(begin: Begin, tmp_path: Path) -> None:
    network = UNet(3, 3, size=32, width=4)
    torch.save(junyanz.named(network, junyanz.unet_layers(5)), tmp_path / "latest_net_G.pth")
    import_weights([tmp_path / "latest_net_G.pth"], out=tmp_path / "model")
    run, _ = begin(tmp_path / "model", size=32)
    assert_same(
        {name: value for name, value in networks(run.path).items() if name.startswith("G.")},
        {f"G.{name}": value for name, value in network.state_dict().items()},
    )


def test_what_cannot_be_begun_from_is_refused_in_one_line(begin: Begin, origin: Path, tmp_path: Path) -> None:
    begin(origin)
    (tmp_path / "empty").mkdir()
    for arguments, line in (
        ({"init": tmp_path / "new"}, "is the run itself"),
        ({"init": tmp_path / "empty"}, "holds no checkpoint and no model"),
        ({"init": origin / "model"}, "began from .*/run, step 4, and --init .*model is another"),
        ({"init": origin, "out": "wide", "width": 8}, "none of its weights fits"),
        ({"init": origin / "model", "out": "moments", "init_optimizer": True}, "is a model, which has no optimiser"),
    ):
        with pytest.raises(ValueError, match=line):
            begin(**arguments)


def test_a_dry_run_tries_the_weights_too(begin: Begin, origin: Path, tmp_path: Path) -> None:
    for arguments, line in (
        ({"init": origin, "out": "wide", "width": 8}, "none of its weights fits"),
        ({"init": origin / "model", "out": "moments", "init_optimizer": True}, "is a model, which has no optimiser"),
    ):
        with pytest.raises(ValueError, match=line):
            begin(**arguments, dry_run=True)
    _, said = begin(origin, "dry", init_optimizer=True, dry_run=True)
    assert f"begins from {origin}, step 4: all of G, D" in said
    assert "the optimisers go on" in said
    assert not (tmp_path / "dry").exists()


def test_the_command_line(origin: Path, tiny_pairs: Path, tmp_path: Path) -> None:
    flags = ["--size", "16", "--steps", "2", "--device", "cpu", "--method.width", "4", "--method.patch", "16"]
    command = ["train", "pix2pix", "--data", str(tiny_pairs), "--out", str(tmp_path / "new"), *flags]
    assert cli.run([*command, "--init", str(origin)]) == 0
    assert cli.run([*command, "--init-optimizer"]) == 2
    assert Run.open(tmp_path / "new").about.begun_from["step"] == 4
