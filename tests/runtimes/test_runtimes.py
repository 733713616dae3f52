"""`--runtime`: a model through ONNX Runtime or OpenVINO makes what it makes in torch, and is compared before it is used."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

import diptych
from diptych import cli
from diptych.files import cache_folder, remember
from diptych.graph import Graph
from diptych.images.files import Array
from diptych.model import Options, load
from diptych.networks.unet import UNet
from diptych.runtimes import kept, onnx_file, sessions
from diptych.runtimes.sessions import Runtime
from diptych.translators.image import ColorTranslator

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason="pip install 'diptych[onnx]'")

RUNTIMES: list[Runtime] = ["onnxruntime"]
if find_spec("openvino"):
    RUNTIMES.append("openvino")


def network_file(tiny_run: Path) -> Path:
    """The ONNX file of its network, in the cache."""
    load(tiny_run, runtime="onnxruntime")
    folder = cache_folder()
    assert folder is not None
    [file] = (one for one in folder.glob("network-*.onnx") if b"pix2pix" in one.read_bytes())
    return file


@pytest.fixture
def written(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """An empty cache; ONNX files are copies of the one of `tiny_run`, because to make one takes seconds. Counts them."""
    file = network_file(tiny_run)
    made = Counter[str]()

    def copy(writer: object, graph: object, target: Path, notes: dict[str, str]) -> None:
        made[notes["step"]] += 1
        target.write_bytes(file.read_bytes())

    monkeypatch.setattr(kept, "write_graph", copy)
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    return made


def noise(*shape: int) -> Array:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def far(one: Any, other: Any) -> int:
    return int(np.abs(one.astype(int) - other).max())


@pytest.mark.parametrize("name", ["tiny_run", "completion_run"])
def test_the_picture_is_that_of_torch(request: pytest.FixtureRequest, name: str) -> None:
    """Also one of 16 bits, whose levels are 257 to one of 8 bits."""
    run = request.getfixturevalue(name)
    mask = np.zeros((45, 61), np.bool_)
    mask[10:20, 30:43] = True
    options: Options = {"mask": mask} if name == "completion_run" else {}
    picture = noise(45, 61, 3)
    deep = picture.astype(np.uint16) * 257 + 100
    torchs = load(run, device="cpu")
    for runtime in RUNTIMES:
        model = load(run, runtime=runtime)
        assert far(model(picture, **options), torchs(picture, **options)) <= 1
        assert far(model(deep, **options), torchs(deep, **options)) <= 8


def test_pictures_from_noise_are_those_of_torch(sampling_run: Path) -> None:
    torchs = load(sampling_run, device="cpu")
    label = torchs.classes[1]
    for runtime in RUNTIMES:
        for one, other in zip(load(sampling_run, runtime=runtime).sample(label), torchs.sample(label), strict=True):
            assert far(np.asarray(one), np.asarray(other)) <= 1


def test_both_ways_of_a_model_of_two(two_way_run: Path) -> None:
    """A model that is turned round, and back again; each way has the fingerprint that it has in torch."""
    picture = noise(45, 61, 3)
    model, torchs = load(two_way_run, runtime="onnxruntime"), load(two_way_run, device="cpu")
    for way in [*torchs.translators, next(iter(torchs.translators))]:
        model.turn(way)
        torchs.turn(way)
        assert far(model(picture), torchs(picture)) <= 1
        assert model.fingerprint == torchs.fingerprint


def test_the_command_writes_it_once(
    tiny_run: Path, tmp_path: Path, written: Counter[str], capfd: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(noise(33, 40, 3)).save(tmp_path / "in.png")
    command = ["translate", str(tiny_run), str(tmp_path / "in.png"), "--runtime", "onnxruntime", "--out"]
    assert cli.run([*command, str(tmp_path / "one.png")]) == 0
    assert "written as an ONNX file, once" in capfd.readouterr().err
    assert cli.run([*command, str(tmp_path / "two.png")]) == 0
    assert "ONNX" not in capfd.readouterr().err
    assert written == {"12": 1}
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    [file] = (tmp_path / "cache").glob("*.onnx")
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])  # damaged: made anew, and not run
    assert cli.run([*command, str(tmp_path / "three.png")]) == 0
    assert (file.read_bytes(), written) == (whole, {"12": 2})


def test_a_network_that_trained_on_is_another(tiny_run: Path, tmp_path: Path, written: Counter[str]) -> None:
    """Here its file is that of the earlier network, which the comparison finds."""
    load(tiny_run, runtime="onnxruntime")
    later = shutil.copytree(tiny_run / "model", tmp_path / "later")
    weights = load_file(later / "model.safetensors")
    save_file({name: value + 0.1 for name, value in weights.items()}, later / "model.safetensors", {"step": "13"})
    with pytest.raises(ValueError, match="--runtime onnxruntime: does not compute what the model does"):
        load(later, runtime="onnxruntime")
    assert written == {"12": 1, "13": 1}


def test_what_was_not_used_for_long_is_deleted_from_a_full_cache(
    tiny_run: Path, tmp_path: Path, written: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(tiny_run, runtime="onnxruntime")
    [file] = (tmp_path / "cache").glob("*.onnx")
    for number in range(4):
        name = f"network-{number:016x}"
        (file.parent / f"{name}.onnx").write_bytes(bytes(1000))
        remember(name, "its checksum")
        os.utime(file.parent / f"{name}.onnx", (number, number))
    for own in ("network-of-mine.onnx", f"network-{9:016x}.onnx"):  # a person's: by its name, and not noted
        (file.parent / own).write_bytes(bytes(10_000))
        os.utime(file.parent / own, (0, 0))
    monkeypatch.setattr(kept, "MOST_KEPT", file.stat().st_size + 2500)
    file.unlink()
    load(tiny_run, runtime="onnxruntime")
    left = {one.name for one in file.parent.glob("*.onnx")}
    assert left == {file.name, *(f"network-{number:016x}.onnx" for number in (2, 3, 9)), "network-of-mine.onnx"}
    assert file.stat().st_mtime > 1000
    os.utime(file, (0, 0))
    load(tiny_run, runtime="onnxruntime")
    assert file.stat().st_mtime > 1000  # used


def test_no_cache_costs_time_and_nothing_else(
    tiny_run: Path, tmp_path: Path, written: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "file"))
    picture = noise(32, 32, 3)
    assert far(load(tiny_run, runtime="onnxruntime")(picture), load(tiny_run, device="cpu")(picture)) <= 1


def test_what_a_runtime_cannot_do(
    tiny_run: Path, written: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="--precision bf16: --runtime onnxruntime computes in fp32"):
        load(tiny_run, runtime="onnxruntime", precision="bf16")
    with pytest.raises(ValueError, match="--runtime onnxruntime has no dropout"):
        load(tiny_run, runtime="onnxruntime")(noise(32, 32, 3), stochastic=True)
    monkeypatch.setattr(onnx_file, "LARGEST", 1000)
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "other"))
    with pytest.raises(ValueError, match="one ONNX file holds 2"):
        load(tiny_run, runtime="onnxruntime")


@pytest.mark.parametrize(("runtime", "extra"), [("openvino", "openvino"), ("onnxruntime", "onnx")])
def test_a_missing_runtime_is_named_with_what_to_install(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch, runtime: Runtime, extra: str
) -> None:
    monkeypatch.setattr(sys.modules["diptych.runtimes.packages"], "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf"--runtime {runtime}: needs .*pip install 'diptych\[{extra}\]'"):
        load(tiny_run, runtime=runtime)


# ---- OpenVINO alone

openvino = pytest.mark.skipif("openvino" not in RUNTIMES, reason="pip install 'diptych[openvino]'")


@openvino
def test_an_exported_file_runs_in_openvino(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copy(network_file(tiny_run), tmp_path / "model.onnx")
    picture = noise(45, 61, 3)
    model = load(tmp_path / "model.onnx", runtime="openvino")
    assert (model.config.method, model.step) == ("pix2pix", 12)
    assert far(model(picture), load(tiny_run, device="cpu")(picture)) <= 1
    for content in (b"", b"no model"):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.onnx: is (damaged|no model)"):
            load(tmp_path / "bad.onnx", runtime="openvino")


@openvino
def test_bf16_is_asked_for_and_its_error_said(tiny_run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if "BF16" not in sessions.openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(ValueError, match="does not compute in bf16"):
            load(tiny_run, runtime="openvino", precision="bf16")
        return
    for _ in range(2):  # each time, though it is measured once
        load(tiny_run, runtime="openvino", precision="bf16")
        assert "OpenVINO in bf16: " in capfd.readouterr().err


@openvino
def test_openvino_asks_no_network_and_writes_into_no_home(tmp_path: Path) -> None:
    """Its package reports its import to its makers, unless it is imported without what does that."""
    code = """
import socket, sys
def refuse(*arguments, **more): sys.exit(f"asked for {arguments}")
socket.getaddrinfo = socket.socket.connect = refuse
from diptych.runtimes.sessions import openvino
openvino().Core()
assert "openvino_telemetry" not in sys.modules
"""
    environment = {"HOME": str(tmp_path), "PYTHONPATH": str(Path(diptych.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert list(tmp_path.iterdir()) == []


@openvino
def test_a_colouring_whose_pictures_openvino_would_shrink_otherwise_is_refused() -> None:
    colouring = ColorTranslator(UNet(1, 2, size=32, width=2), working_size=32)
    with pytest.raises(ValueError, match="--io float"):
        sessions.require_for_openvino(Graph(colouring))
    sessions.require_for_openvino(Graph(colouring, io="float"))
