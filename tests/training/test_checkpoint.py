"""No checkpoint is ever half written, and the last good one survives."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from diptych.methods.pix2pix import Pix2Pix, Pix2PixSettings
from diptych.methods.settings import Shape
from diptych.training import checkpoint


def build() -> Pix2Pix:
    return Pix2Pix(Pix2PixSettings(width=1, patch=16), Shape(size=16))


@pytest.fixture
def trained() -> tuple[Pix2Pix, dict[str, torch.optim.Optimizer]]:
    torch.manual_seed(0)
    method = build()
    optimizers = {player: method.optimizer(player, 1e-3, 0.5) for player in method.players}
    for p in method.parameters():
        p.grad = torch.randn_like(p)
    for optimizer in optimizers.values():
        optimizer.step()
    return method, optimizers


def test_everything_comes_back(tmp_path: Path, trained: tuple[Pix2Pix, Any]) -> None:
    method, optimizers = trained
    ema = {"G.up.0.1.weight": torch.randn(3)}
    checkpoint.save_training(tmp_path, 12, method, optimizers, ema)
    other = build()
    others = {player: other.optimizer(player, 1e-3, 0.5) for player in other.players}
    averages = {"G.up.0.1.weight": torch.zeros(3)}
    [(step, path)] = checkpoint.list_checkpoints(tmp_path)
    checkpoint.load_training(path, other, others, averages)
    assert step == 12
    assert torch.equal(averages["G.up.0.1.weight"], ema["G.up.0.1.weight"])
    for name, value in method.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
    for player, optimizer in optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                assert torch.equal(others[player].state_dict()["state"][index][name], value)


def test_the_newest_few_are_kept(tmp_path: Path, trained: tuple[Pix2Pix, Any]) -> None:
    for step in range(5, 40, 5):
        checkpoint.save_training(tmp_path, step, *trained, {})
    kept = [step for step, _ in checkpoint.list_checkpoints(tmp_path)]
    assert kept == list(range(5, 40, 5))[-checkpoint.KEEP :]


def test_a_full_disk_leaves_the_last_good_checkpoint(
    tmp_path: Path, trained: tuple[Pix2Pix, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save_training(tmp_path, 1, *trained, {})
    before = (tmp_path / "step-00000001/training.safetensors").read_bytes()

    def full(tensors: object, path: Path, **_: object) -> None:
        path.write_bytes(before[:100])  # what fitted
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_tensors", full)
    with pytest.raises(ValueError, match=r"step 2 .*No space left"):
        checkpoint.save_training(tmp_path, 2, *trained, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert (tmp_path / "step-00000001/training.safetensors").read_bytes() == before


def test_a_half_written_folder_of_a_killed_process_is_no_checkpoint(
    tmp_path: Path, trained: tuple[Pix2Pix, Any]
) -> None:
    partial = tmp_path / ".partial-step-00000002"
    partial.mkdir()
    (partial / "training.safetensors").write_bytes(b"half")
    assert checkpoint.list_checkpoints(tmp_path) == []
    checkpoint.save_training(tmp_path, 2, *trained, {})
    assert [step for step, _ in checkpoint.list_checkpoints(tmp_path)] == [2]
    assert not partial.exists()


def test_a_checkpoint_of_other_networks_is_one_clear_line(tmp_path: Path, trained: tuple[Pix2Pix, Any]) -> None:
    checkpoint.save_training(tmp_path, 12, *trained, {})
    [(_, path)] = checkpoint.list_checkpoints(tmp_path)
    other = Pix2Pix(Pix2PixSettings(width=2, patch=16), Shape(size=16))
    with pytest.raises(ValueError, match=r"training\.safetensors: .*--fresh"):
        checkpoint.load_training(path, other, {}, {})


def test_a_damaged_checkpoint_is_named(tmp_path: Path, trained: tuple[Pix2Pix, Any]) -> None:
    checkpoint.save_training(tmp_path, 1, *trained, {})
    file = tmp_path / "step-00000001/training.safetensors"
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"training\.safetensors: .*remove .*step-00000001"):
        checkpoint.load_training(file.parent, *trained, {})


CONFIG = checkpoint.ModelConfig(
    method="pix2pix",
    direction="AtoB",
    shape=Shape(size=16),
    settings=Pix2PixSettings(width=1, patch=16).model_dump(mode="json", by_alias=True),
    diptych="0",
)


def test_the_model_is_the_deployed_networks_alone(tmp_path: Path, trained: tuple[Pix2Pix, Any]) -> None:
    method, _ = trained
    checkpoint.save_model(tmp_path / "model", CONFIG, 12, method, {})
    assert {name.split(".")[0] for name in load_file(tmp_path / "model/model.safetensors")} == {"G"}
    translators, config, step = checkpoint.load_model(tmp_path, torch.device("cpu"))
    x = torch.rand(1, 3, 16, 16)
    [(direction, loaded)] = translators.items()
    assert torch.equal(loaded(x), method.eval().translators()["AtoB"](x))
    assert (direction, config, step) == ("AtoB", CONFIG, 12)
    assert not any(module.training for module in loaded.modules())


def test_the_moving_average_is_what_is_deployed(tmp_path: Path, trained: tuple[Pix2Pix, Any]) -> None:
    method, _ = trained
    average = {name: torch.full_like(p, 0.25) for name, p in method.named_parameters() if name.startswith("G.")}
    checkpoint.save_model(tmp_path, CONFIG, 1, method, average)
    [loaded] = checkpoint.load_model(tmp_path, torch.device("cpu")).translators.values()
    weights = list(loaded.network.parameters())
    assert len(weights) == len(average)
    assert all((p == 0.25).all() for p in weights)


@pytest.mark.parametrize("damage", ["weights", "config", "unknown method", "unknown setting"])
def test_a_damaged_model_is_one_clear_line(tmp_path: Path, trained: tuple[Pix2Pix, Any], damage: str) -> None:
    checkpoint.save_model(tmp_path, CONFIG, 1, trained[0], {})
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    if damage == "weights":
        (tmp_path / "model.safetensors").write_bytes(b"\x08")
    elif damage == "config":
        (tmp_path / "config.json").write_text("{", encoding="utf-8")
    else:
        changed = {"method": "other"} if damage == "unknown method" else {"settings": {"widht": 3}}
        (tmp_path / "config.json").write_text(json.dumps({**config, **changed}), encoding="utf-8")
    with pytest.raises(ValueError, match="is damaged"):
        checkpoint.load_model(tmp_path, torch.device("cpu"))


def test_no_model_yet(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no trained model .*diptych train"):
        checkpoint.load_model(tmp_path, torch.device("cpu"))
    (tmp_path / "settings.toml").touch()
    with pytest.raises(ValueError, match=r"no trained model .*wait"):
        checkpoint.load_model(tmp_path, torch.device("cpu"))
