"""No checkpoint is ever half written, and the last good one survives."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from diptych.images.size import Size
from diptych.methods import METHODS
from diptych.methods.pix2pix import Pix2Pix, Pix2PixSettings
from diptych.methods.settings import Shape, kebab
from diptych.training import checkpoint
from diptych.wording import printable


def build() -> Pix2Pix:
    return Pix2Pix(Pix2PixSettings(width=1, patch=16), Shape(size=Size.square(16)))


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
    other = Pix2Pix(Pix2PixSettings(width=2, patch=16), Shape(size=Size.square(16)))
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
    shape=Shape(size=Size.square(16)),
    settings=Pix2PixSettings(width=1, patch=16).model_dump(mode="json", by_alias=True),
    diptych="0",
)


def test_the_model_is_the_deployed_networks_alone(tmp_path: Path, trained: tuple[Pix2Pix, Any]) -> None:
    method, _ = trained
    checkpoint.save_model(tmp_path / "model", CONFIG, 12, method)
    assert {name.split(".")[0] for name in load_file(tmp_path / "model/model.safetensors")} == {"G"}
    translators, config, step = checkpoint.load_model(tmp_path, torch.device("cpu"))
    x = torch.rand(1, 3, 16, 16)
    [(direction, loaded)] = translators.items()
    assert torch.equal(loaded(x), method.eval().translators()["AtoB"](x))
    assert (direction, config, step) == ("AtoB", CONFIG, 12)
    assert not any(module.training for module in loaded.modules())


@pytest.mark.parametrize("damage", ["weights", "config", "unknown method", "unknown setting"])
def test_a_damaged_model_is_one_clear_line(tmp_path: Path, trained: tuple[Pix2Pix, Any], damage: str) -> None:
    checkpoint.save_model(tmp_path, CONFIG, 1, trained[0])
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


# ---- models that are not trusted

CPU = torch.device("cpu")
FIRST = "G.down.0.0.weight"
Change = Callable[[dict[str, Tensor]], object]


@pytest.fixture
def model(tmp_path: Path, trained: tuple[Pix2Pix, Any]) -> Path:
    checkpoint.save_model(tmp_path / "model", CONFIG, 12, trained[0])
    return tmp_path / "model"


def rewrite(file: Path, change: Change, metadata: dict[str, str] | None = None) -> None:
    tensors = load_file(file)
    tensors = {name: value.clone() for name, value in tensors.items()}
    change(tensors)
    save_file(tensors, file, metadata=metadata)


def line_of(call: Callable[[], object]) -> str:
    """The message of a refusal, if it is one short line of ours."""
    with pytest.raises(ValueError, match=r".") as error:
        call()
    line = str(error.value)
    assert len(line) < 300
    assert line == printable(line)
    assert not any(word in line for word in ("http", "pydantic", "validation error", "Error while"))
    return line


def refusal(model: Path) -> str:
    return line_of(lambda: checkpoint.load_model(model, CPU))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("which", ["all", "one"])
def test_floats_of_any_precision_are_converted(model: Path, dtype: torch.dtype, which: str) -> None:
    before = checkpoint.load_model(model, CPU).translators["AtoB"]
    rewrite(
        model / "model.safetensors",
        lambda all_: all_.update({k: v.to(dtype) for k, v in all_.items() if which == "all" or k == FIRST}),
    )
    after = checkpoint.load_model(model, CPU).translators["AtoB"]
    x = torch.rand(1, 3, 16, 16)
    assert {p.dtype for p in after.parameters()} == {torch.float32}
    assert torch.allclose(before(x), after(x), atol=0.05)


def test_a_count_of_steps_survives_a_half_precision_copy(tmp_path: Path) -> None:
    shape = Shape(size=Size.square(32))
    settings = METHODS["glcic"].Settings(width=2)  # type: ignore[call-arg]
    method = METHODS["glcic"](settings, shape)
    config = CONFIG.model_copy(
        update={"method": "glcic", "shape": shape, "settings": settings.model_dump(mode="json", by_alias=True)}
    )
    checkpoint.save_model(tmp_path, config, 1, method)

    def half(tensors: dict[str, Tensor]) -> None:
        tensors.update({k: (v + 10**6 if k.endswith("batches_tracked") else v).half() for k, v in tensors.items()})

    rewrite(tmp_path / "model.safetensors", half)
    [translator] = checkpoint.load_model(tmp_path, CPU).translators.values()
    assert translator.state_dict()["network.layers.1.num_batches_tracked"].dtype == torch.long


@pytest.mark.parametrize(
    "dtype", [torch.int8, torch.int64, torch.uint16, torch.bool, torch.complex64, torch.float8_e4m3fn]
)
def test_other_weights_are_refused_by_name_and_type(model: Path, dtype: torch.dtype) -> None:
    rewrite(model / "model.safetensors", lambda all_: all_.update({FIRST: all_[FIRST].to(dtype)}))
    line = refusal(model)
    assert f"model.safetensors: {FIRST} is of the type " in line


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_weights_that_are_not_finite_are_refused_by_name(model: Path, value: float) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        tensors[FIRST] = tensors[FIRST].double()
        tensors[FIRST].view(-1)[5] = value

    rewrite(model / "model.safetensors", spoil)
    assert f"weights are not finite ({FIRST})" in refusal(model)


@pytest.mark.parametrize("change", ["missing", "another", "shape", "config"])
def test_what_does_not_belong_together_is_told(model: Path, change: str) -> None:
    changes: dict[str, Change] = {
        "missing": lambda all_: all_.pop(FIRST),
        "another": lambda all_: all_.update({"G.\x1b[31m\n" + "x" * 10**5: torch.zeros(1)}),
        "shape": lambda all_: all_.update({FIRST: torch.zeros(2, 3, 4, 4)}),
    }
    if change == "config":
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        config["settings"]["width"] = 4096  # 137 GiB, which nobody may allocate before the shapes are compared
        config["shape"]["size"] = 256
        (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    else:
        rewrite(model / "model.safetensors", changes[change])
    assert "copy the model folder again" in refusal(model)


def raw(file: Path, header: bytes, size: int | None = None) -> None:
    file.write_bytes(struct.pack("<Q", len(header) if size is None else size) + header)


def test_sizes_are_compared_with_the_file_before_anything_is_allocated(model: Path) -> None:
    file = model / "model.safetensors"
    raw(file, json.dumps({FIRST: {"dtype": "F32", "shape": [2**35], "data_offsets": [0, 2**37]}}).encode())
    assert "is damaged" in refusal(model)
    raw(file, b"{}", 2**62)
    assert "header is too long" in refusal(model)
    empty = {str(n): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(100_000)}
    raw(file, json.dumps(empty).encode())
    assert "header is too long" in refusal(model)
    raw(file, b"[" * 10**5)
    assert "is damaged" in refusal(model)


@pytest.mark.parametrize("step", [None, "", "x", "-1", "9" * 5000, "1.5", "NaN", "\u0661"])
def test_a_step_that_is_none_is_0(model: Path, step: str | None) -> None:
    rewrite(model / "model.safetensors", lambda _: None, None if step is None else {"step": step})
    assert checkpoint.load_model(model, CPU).step == 0
    assert checkpoint.model_step(model) == 0


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["fifo", "folder", "device", "huge", "empty"])
def test_a_file_that_is_none_is_one_line(model: Path, name: str, kind: str) -> None:
    file = model / name
    file.unlink()
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "device":
        file.symlink_to("/dev/zero")
    else:
        with file.open("wb") as opened:
            opened.truncate(2**40 if kind == "huge" else 0)
    assert name in refusal(model)
    assert checkpoint.model_step(model) == (12 if name == "config.json" else None)


def test_links_to_files_are_followed(model: Path) -> None:
    """As a cache of downloads has them."""
    for name in ("config.json", "model.safetensors"):
        (model / name).rename(model / f"blob-{name}")
        (model / name).symlink_to(model / f"blob-{name}")
    assert checkpoint.load_model(model, CPU).step == 12


def change_at(config: Any, path: list[str], value: Any) -> None:
    for key in path[:-1]:
        config = config[key]
    config[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (["method"], "x" * 10**5, "no method is called"),
        (["method"], 3, "method: "),
        (["direction"], "up", "direction: "),
        (["shape"], [], "shape: "),
        (["shape", "size"], 0, "shape.size: "),
        (["shape", "size"], 10**9, "shape.size: "),
        (["shape", "size"], 10**400, "shape.size: "),
        (["shape", "size"], 17, "--size 17"),
        (["shape", "x-channels"], 0, "shape.x-channels: "),
        (["shape", "x-channels"], True, "shape.x-channels: "),
        (["shape", "classes"], ["../up"], "is no name of a folder"),
        (["shape", "classes"], ["a\0"], "is no name of a folder"),
        (["shape", "classes"], ["a"] * 200_000, "shape.classes: "),
        (["settings"], [], "settings: "),
        (["settings", "width"], 10**9, "settings.width: "),
        (["settings", "width"], "\x1b[31m" * 10**4, "settings.width: "),
        (["settings", "lambda-l1"], float("nan"), "settings.lambda-l1: "),
        (["settings", "x" * 10**4], 1, "settings.xxx"),
        (["format"], 2, "format: "),
    ],
)
def test_an_odd_configuration_is_one_line(model: Path, path: list[str], value: object, told: str) -> None:
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    change_at(config, path, value)
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    line = refusal(model)
    assert line.startswith(f"{model / 'config.json'}: is damaged")
    assert told in line


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "[]",
            "null",
            "{" * 100_000,
            "[" * 100_000,
            '{"a":' * 100_000,
            "9" * 5000,
            "\ufeff{}",
            '{"a": "\\ud800"}',
        ),
        *('{"format": 1, "format": NaN}', "\0", "Infinity"),
    ],
)
def test_a_text_that_is_no_configuration_is_one_line(model: Path, text: str) -> None:
    for encoded in (text.encode(), text.encode("utf-16")):
        (model / "config.json").write_bytes(encoded)
        assert "config.json" in refusal(model)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(list(METHODS)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PATHS = [[name] for name in checkpoint.ModelConfig.model_fields]
PATHS += [["shape", kebab(name)] for name in Shape.model_fields]
PATHS += [["settings", kebab(name)] for name in Pix2PixSettings.model_fields]


@given(st.lists(st.tuples(st.sampled_from(PATHS), ANYTHING), min_size=1, max_size=2))
def test_a_mutated_configuration_opens_or_is_one_line(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[list[str], Any]]
) -> None:
    model = tmp_path_factory.getbasetemp() / "mutated model"
    if not model.exists():
        checkpoint.save_model(model, CONFIG, 1, build())
    config = CONFIG.model_dump(mode="json", by_alias=True)
    for path, value in sorted(changes, key=lambda change: -len(change[0])):
        change_at(config, path, value)
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    try:
        checkpoint.load_model(model, CPU)
    except ValueError as error:
        line = str(error)
        assert len(line) < 300
        assert line == printable(line)
        assert line.startswith(str(model))


# ---- checkpoints that are not trusted


@pytest.fixture
def saved(tmp_path: Path, trained: tuple[Pix2Pix, Any]) -> Path:
    checkpoint.save_training(tmp_path, 12, *trained, {FIRST: torch.zeros(1, 3, 4, 4)})
    return tmp_path / "step-00000012" / "training.safetensors"


def first_of(player: str) -> str:
    return f"optimizer/{player}/0/exp_avg"


CHANGES: dict[str, Change] = {
    "integers": lambda all_: all_.update({k: v.long() for k, v in all_.items()}),
    "unknown average": lambda all_: all_.update({"ema/q": torch.zeros(1)}),
    "missing average": lambda all_: all_.pop(f"ema/{FIRST}"),
    "shape": lambda all_: all_.update({first_of("generator"): torch.zeros(7)}),
    "step": lambda all_: all_.update({"optimizer/generator/0/step": torch.zeros(7)}),
    "missing moment": lambda all_: all_.pop(first_of("generator")),
    "no moments": lambda all_: [all_.pop(name) for name in list(all_) if name.startswith("optimizer/")],
    "another player": lambda all_: all_.update({"optimizer/critic/0/step": torch.zeros(())}),
    "index": lambda all_: all_.update({"optimizer/generator/999/step": torch.zeros(())}),
    "no index": lambda all_: all_.update({"optimizer/generator": torch.zeros(())}),
    "word": lambda all_: all_.update({"optimizer/generator/x/step": torch.zeros(())}),
    "not finite": lambda all_: all_.update({first_of("generator"): all_[first_of("generator")] / 0}),
    "another": lambda all_: all_.update({"x\x1b[31m" * 10**4: torch.zeros(1)}),
    "weight": lambda all_: all_.pop(f"method/{FIRST}"),
}


@pytest.mark.parametrize("change", [*CHANGES, "fifo", "folder", "header"])
def test_a_checkpoint_that_does_not_fit_is_one_line_with_a_remedy(
    saved: Path, trained: tuple[Pix2Pix, Any], change: str
) -> None:
    if change in CHANGES:
        rewrite(saved, CHANGES[change])
    else:
        saved.unlink()
        if change == "fifo":
            os.mkfifo(saved)
        elif change == "folder":
            saved.mkdir()
        else:
            raw(saved, json.dumps({FIRST: {"dtype": "F32", "shape": [2**35], "data_offsets": [0, 2**37]}}).encode())
    line = line_of(lambda: checkpoint.load_training(saved.parent, *trained, {FIRST: torch.zeros(1, 3, 4, 4)}))
    assert line.startswith(f"{saved}: ")
    assert "remove step-00000012" in line


def test_a_player_that_was_never_updated_has_no_state(saved: Path, trained: tuple[Pix2Pix, Any]) -> None:
    """A phase of its own comes later, or it has nothing to say."""
    rewrite(saved, lambda all_: [all_.pop(name) for name in list(all_) if name.startswith("optimizer/discriminator/")])
    checkpoint.load_training(saved.parent, *trained, {FIRST: torch.zeros(1, 3, 4, 4)})
