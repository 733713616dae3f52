"""`diptych export`: one file and what it says of itself; a wrong file never gets its name."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import diptych
from diptych import cli
from diptych.graph import Graph
from diptych.runtimes import check, onnx_file
from diptych.runtimes.check import Difference
from diptych.translators.image import ImageTranslator

onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'diptych[onnx]'")
onnx = pytest.importorskip("onnx", reason="pip install 'diptych[onnx]'")
pytest.importorskip("onnxscript", reason="pip install 'diptych[onnx]'")

Call = Callable[..., tuple[int, str, str]]
DOCS = Path(__file__).parents[2] / "docs/export.md"


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    def run(*arguments: object) -> tuple[int, str, str]:
        status = cli.run([str(argument) for argument in arguments])
        printed = capfd.readouterr()
        return status, printed.out, printed.err

    return run


def refused(answer: tuple[int, str, str], *parts: str) -> None:
    status, _, errors = answer
    assert status == 2
    assert errors.count("\n") == 1
    assert len(errors) < 300
    for part in parts:
        assert part in errors


@pytest.fixture(scope="module")
def exported(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file, written by the command in a process of its own, with nothing printed but what it says."""
    file = tmp_path_factory.mktemp("exported") / "model.onnx"
    command = [sys.executable, "-m", "diptych", "export", str(tiny_run), "--out", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert re.fullmatch(rf"{re.escape(str(file))}: pix2pix at step 12, 0\.\d MB", first)
    assert "beside the model: 0 levels at most, 0 in the mean (1 of 32x32, 3 of 37x15, " in second
    return file


def test_one_file_holds_everything(exported: Path) -> None:
    assert sorted(path.name for path in exported.parent.iterdir()) == ["model.json", "model.onnx"]
    onnx.checker.check_model(onnx.load(exported, load_external_data=False), full_check=True)


def test_the_axes_of_the_result_are_those_of_the_picture(exported: Path) -> None:
    session = onnxruntime.InferenceSession(exported)
    [picture], [result] = session.get_inputs(), session.get_outputs()
    assert (picture.name, picture.type, result.name) == ("picture", "tensor(uint8)", "result")
    assert picture.shape == result.shape == ["batch", "height", "width", 3]


def test_it_says_of_itself_what_a_client_needs(exported: Path, tiny_run: Path) -> None:
    inside = onnxruntime.InferenceSession(exported).get_modelmeta().custom_metadata_map
    beside = json.loads(exported.with_suffix(".json").read_text())
    assert inside["method"] == beside["method"] == "pix2pix"
    assert json.loads(inside["config"]) == beside["config"] == json.loads((tiny_run / "model/config.json").read_text())
    assert (inside["step"], inside["multiple"], inside["input_range"]) == ("12", "1", "0 to 255")
    assert (beside["channels_in"], beside["channels_out"], beside["direction"]) == ([3], 3, "BtoA")
    assert beside["parity"]["largest"] == 0
    assert [1, 32, 32] in beside["parity"]["cases"]


def test_what_a_completion_and_a_generator_say(completion_run: Path, sampling_run: Path, tmp_path: Path) -> None:
    for run in (completion_run, sampling_run):
        assert diptych.export(run, out=tmp_path / f"{run.name}.pt2").is_right
    holes = json.loads((tmp_path / "completion.json").read_text())
    assert (holes["inputs"], holes["largest_hole"], holes["reach"]) == (["picture", "mask"], 16, 153)
    digits = json.loads((tmp_path / "sampling.json").read_text())
    assert (digits["inputs"], digits["noise"], len(digits["classes"])) == (["noise", "label"], 5, 5)
    notes = {"config": ""}
    torch.export.load(tmp_path / "sampling.pt2", extra_files=notes)
    assert json.loads(notes["config"])["method"] == "cgan"


def test_both_ways_of_one_run(two_way_run: Path, tmp_path: Path) -> None:
    for direction in ("AtoB", "BtoA"):
        written = diptych.export(two_way_run, out=tmp_path / f"{direction}.pt2", direction=direction)
        assert written.is_right
        assert json.loads((tmp_path / f"{direction}.json").read_text())["direction"] == direction


def test_numbers_of_a_range_and_labels_are_levels_in_the_file(tiny_run: Path, tmp_path: Path, call: Call) -> None:
    """And numbers and colours again where `translate` takes the file in the place of the run."""
    run = shutil.copytree(tiny_run / "model", tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["shape"] |= {"y-range": [-1000, 3000], "x-kind": "labels", "labels": ["sky,0", "wall,1", "door,7"]}
    config["direction"] = "AtoB"  # of which x is what goes in
    (run / "config.json").write_text(json.dumps(config))
    refused(call("export", run, "--out", tmp_path / "a.onnx"), "--bits 16")
    refused(call("export", run, "--out", tmp_path / "a.html"), ".onnx")
    assert call("export", run, "--out", tmp_path / "a.onnx", "--bits", 16)[0] == 0
    notes = json.loads((tmp_path / "a.json").read_text())
    assert (notes["labels_in"], notes["range_out"]) == (["sky,0", "wall,1", "door,7"], [-1000, 3000])
    picture = np.array([0, 1, 7], np.uint8)[np.random.default_rng(0).integers(0, 3, (40, 33))]
    ours, theirs = (diptych.load(file, device="cpu")(picture).astype(int) for file in (run, tmp_path / "a.onnx"))
    assert ours.std() > 5
    assert np.abs(ours - theirs).max() <= 1


# ---- a wrong file


def test_a_wrong_file_keeps_another_name(
    call: Call, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the graph mirrors its pictures, which the model does not."""
    monkeypatch.setattr(ImageTranslator, "for_files", lambda self, x, levels: self(x.flip(-1)) * 0.5, raising=False)
    file = tmp_path / "model.onnx"
    file.write_text("an older file")
    status, out, err = call("export", tiny_run, "--out", file, "--overwrite")
    assert (status, err) == (1, "")
    assert "levels at most" in out
    assert "not what the model makes" in out
    assert file.read_text() == "an older file"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.rejected"]


def test_a_file_that_cannot_be_run_keeps_another_name(
    call: Call, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "write", lambda program, graph, file, notes: file.write_bytes(b"nothing"))
    status, out, err = call("export", tiny_run, "--out", tmp_path / "model.onnx")
    assert (status, err) == (1, "")
    assert "cannot be run" in out
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx.rejected"]


def test_differences_are_counted_in_levels_of_8_bits(tiny_run: Path) -> None:
    graph = Graph(diptych.load(tiny_run, device="cpu").translator)
    some, others = torch.zeros(1, 2, 2, 1, dtype=torch.uint8), torch.tensor([[[[0], [2]], [[255], [3]]]]).byte()
    assert check.difference(graph, [some], [others]) == Difference(255, 65)
    assert check.difference(graph, [some], [others[:, :1]]).largest == float("inf")
    deep = Graph(graph.translator, bits=16)
    assert (
        check.difference(deep, [some.to(torch.uint16)], [torch.full_like(some, 257, dtype=torch.uint16)]).largest == 1
    )
    floats = Graph(graph.translator, io="float")
    assert check.difference(floats, [torch.zeros(3)], [torch.full((3,), 2 / 255)]).mean == pytest.approx(1)
    assert not check.difference(floats, [torch.zeros(3)], [torch.full((3,), float("nan"))]).is_small


# ---- what is refused


def test_nothing_is_overwritten(call: Call, tiny_run: Path, tmp_path: Path) -> None:
    for name in ("model.onnx", "model.json"):
        (tmp_path / name).write_text("mine")
        refused(call("export", tiny_run, "--out", tmp_path / "model.onnx"), name, "exists already", "--overwrite")
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (("--out", "model.tflite"), ("model.tflite", ".onnx or .pt2")),
        (("--out", "model"), ("model:", ".onnx or .pt2")),
        (("--out", "model.onnx", "--format", "pt2"), ("model.onnx", "ends in .pt2")),
        (("--out", "model.onnx", "--format", "tensorrt"), ("--format", "tensorrt")),
        (("--out", "model.onnx", "--weights", "int4"), ("--weights", "int4")),
        (("--out", "model.onnx", "--bits", "12"), ("--bits", "12")),
        (("--out", "model.onnx", "--bits", "16", "--io", "float"), ("--bits 16", "--io float")),
        (("--out", "model.onnx", "--direction", "AtoB"), ("--direction AtoB", "BtoA")),
    ],
)
def test_a_bad_setting(
    call: Call, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], parts: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(call("export", tiny_run, *more), *parts)
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_model(call: Call, tmp_path: Path) -> None:
    refused(call("export", tmp_path, "--out", tmp_path / "model.onnx"), "holds no trained model")


def test_a_missing_package_is_named_with_what_to_install(
    call: Call, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(name: str) -> object:
        return None if name == "onnxscript" else find_spec(name)

    monkeypatch.setattr(sys.modules["diptych.runtimes.packages"], "find_spec", found)
    answer = call("export", tiny_run, "--out", tmp_path / "model.onnx")
    refused(answer, "onnxscript", "pip install 'diptych[onnx]'")
    assert call("export", tiny_run, "--out", tmp_path / "model.pt2")[0] == 0  # that one needs torch alone


def test_a_model_that_one_file_cannot_hold(
    call: Call, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "LARGEST", 1000)
    refused(call("export", tiny_run, "--out", tmp_path / "model.onnx"), "--weights fp16", ".pt2")
    assert list(tmp_path.iterdir()) == []


def test_an_exporter_that_fails_is_one_line(
    call: Call, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(self: object, x: Tensor, levels: int) -> Tensor:
        if x.sum() > 0:  # a branch that no graph has
            return x
        return -x

    monkeypatch.setattr(ImageTranslator, "for_files", unknown, raising=False)
    refused(call("export", tiny_run, "--out", tmp_path / "model.onnx"), "cannot be exported")
    assert list(tmp_path.iterdir()) == []


# ---- the docs


def test_the_client_of_the_docs_needs_numpy_and_onnxruntime_alone(
    exported: Path, tiny_run: Path, tmp_path: Path
) -> None:
    [client] = [text for text in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S) if "onnxruntime" in text]
    picture = np.random.default_rng(0).integers(0, 256, (45, 61, 3)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "labels.png")
    (tmp_path / "facades.onnx").write_bytes(exported.read_bytes())
    code = f"{client}\nimport sys\nassert not {{'torch', 'diptych'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    with Image.open(tmp_path / "photo.png") as photo:
        ours = diptych.load(tiny_run, device="cpu")(picture)
        assert np.abs(np.asarray(photo).astype(int) - ours).max() <= 1


# ---- an exported file in the place of a run


@pytest.mark.parametrize("name", ["tiny_run", "completion_run", "two_way_run"])
@pytest.mark.parametrize("io", ["bytes", "float"])
def test_it_translates_as_the_run_does(
    request: pytest.FixtureRequest, call: Call, tmp_path: Path, name: str, io: str
) -> None:
    run, file = request.getfixturevalue(name), tmp_path / "model.onnx"
    assert call("export", run, "--out", file, "--io", io)[0] == 0
    pictures, masks = tmp_path / "in", tmp_path / "mask.png"
    pictures.mkdir()
    for number, (mode, size) in enumerate((("RGB", (61, 45)), ("L", (20, 33)), ("RGBA", (32, 32)))):
        noise = np.random.default_rng(number).integers(0, 256, (*size[::-1], 4)).astype(np.uint8)
        Image.fromarray(noise).convert(mode).save(pictures / f"{mode}.png")
    holes = np.zeros((32, 32), np.uint8)
    holes[4:26, 3:28] = 255  # thicker than in the training: filled at a smaller scale
    Image.fromarray(holes).save(masks)
    more = ("--mask", masks) if name == "completion_run" else ()
    for model, out in ((run, "ours"), (file, "theirs")):
        assert call("translate", model, pictures, "--out", tmp_path / out, "--device", "cpu", *more)[:2] == (0, "")
    for ours in sorted((tmp_path / "ours").iterdir()):
        with Image.open(ours) as one, Image.open(tmp_path / "theirs" / ours.name) as other:
            assert one.mode == other.mode
            assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() <= 1


def test_an_exported_generator_has_the_noise_of_its_seeds(sampling_run: Path, tmp_path: Path) -> None:
    assert diptych.export(sampling_run, out=tmp_path / "model.onnx").is_right
    ours, theirs = diptych.load(sampling_run, device="cpu"), diptych.load(tmp_path / "model.onnx")
    assert theirs.classes == ours.classes
    for one, other in zip(*(model.sample(ours.classes[1], count=3, seed=5) for model in (ours, theirs)), strict=True):
        assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() <= 1
    # as docs/export.md tells a client
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    noise = np.random.default_rng([5, 2]).uniform(-1, 1, 5)[None].astype(np.float32)
    [pictures] = session.run(None, {"noise": noise, "label": np.array([1])})
    assert np.abs(pictures[0].astype(int) - np.asarray(ours.sample(ours.classes[1], count=3, seed=5)[2])).max() <= 1


def test_what_an_exported_file_cannot_do(call: Call, exported: Path, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    translate = ("translate", exported, tmp_path / "a.png", "--out", tmp_path / "b.png")
    refused(call(*translate, "--precision", "bf16"), "fp32", "--runtime openvino")
    refused(call(*translate, "--runtime", "torch"), "model.onnx", "runs no ONNX")
    refused(call(*translate, "--direction", "AtoB"), "translates BtoA")
    status, _, err = call(*translate, "--stochastic")
    assert (status, "no dropout" in err) == (1, True)
    for content in (b"", b"no model", exported.read_bytes()[:5000]):
        (tmp_path / "bad.onnx").write_bytes(content)
        refused(call("translate", tmp_path / "bad.onnx", *translate[2:]), "bad.onnx", "damaged")
    model = onnx.load(exported)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "other.onnx")
    refused(call("translate", tmp_path / "other.onnx", *translate[2:]), "other.onnx", "diptych export")
    refused(call("translate", tmp_path / "none.onnx", *translate[2:]), "none.onnx")
    assert not (tmp_path / "b.png").exists()
