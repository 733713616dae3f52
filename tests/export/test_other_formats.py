"""`diptych export` for OpenVINO, ncnn and Core ML, where their converters are installed."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

import diptych
from diptych import cli
from diptych.export import export

NEEDED = {".xml": ("openvino", "onnxscript"), ".param": ("ncnn", "pnnx"), ".mlpackage": ("coremltools",)}
FILES = {".xml": ["a.bin", "a.json", "a.xml"], ".param": ["a.bin", "a.json", "a.param"]}


def need(suffix: str) -> None:
    for package in NEEDED[suffix]:
        if find_spec(package) is None:  # not by an import: OpenVINO's reports itself to its makers
            pytest.skip(f"{suffix}: needs {package}")


@pytest.mark.parametrize("suffix", [".xml", ".param"])
def test_the_files_are_those_of_the_format_and_make_what_the_model_makes(
    tiny_run: Path, tmp_path: Path, suffix: str
) -> None:
    need(suffix)
    written = diptych.export(tiny_run, out=tmp_path / f"a{suffix}", weights="fp16")
    assert written.is_right
    assert sorted(file.name for file in tmp_path.iterdir()) == FILES[suffix]
    notes = json.loads((tmp_path / "a.json").read_text())
    assert (notes["io"], notes["weights"]) == ("bytes" if suffix == ".xml" else "float", "fp16")
    assert notes["parity"]["largest"] <= 1


def test_a_wrong_pair_of_files_keeps_another_name(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(".param")
    from diptych.export import ncnn_file

    right = ncnn_file.opened

    def mirrored(file: Path) -> object:
        run = right(file)
        return lambda inputs: run(inputs).flip(-1)

    monkeypatch.setattr(ncnn_file, "opened", mirrored)
    written = diptych.export(tiny_run, out=tmp_path / "a.param")
    assert not written.is_right
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.bin.rejected", "a.param.rejected"]


def test_a_package_of_core_ml_is_said_to_be_unchecked(tiny_run: Path, tmp_path: Path) -> None:
    need(".mlpackage")
    package = tmp_path / "a.mlpackage"
    written = diptych.export(tiny_run, out=package)
    assert written.lines[-1].startswith("not checked")
    assert (package / "Manifest.json").is_file()
    assert "parity" not in json.loads((tmp_path / "a.json").read_text())
    before = sorted(package.rglob("*"))
    with pytest.raises(ValueError, match=r"a\.mlpackage: exists already"):
        export(tiny_run, out=package, overwrite=True)
    assert sorted(package.rglob("*")) == before


@pytest.mark.parametrize(
    ("more", "suffix", "parts"),
    [
        (("--io", "bytes"), ".param", ("ncnn", "--io float")),
        (("--io", "bytes"), ".mlpackage", ("coreml", "--io float")),
        (("--weights", "int8"), ".param", ("int8", "fp16")),
        (("--bits", "16"), ".param", ("--bits 16",)),
    ],
)
def test_what_a_format_cannot_hold(
    tiny_run: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    suffix: str,
    parts: tuple[str, ...],
) -> None:
    need(suffix)
    assert cli.run(["export", str(tiny_run), "--out", str(tmp_path / f"a{suffix}"), *more]) == 2
    errors = capfd.readouterr().err
    assert errors.count("\n") == 1
    assert all(part in errors for part in parts)
    assert list(tmp_path.iterdir()) == []


def test_models_that_a_runtime_cannot_run(sampling_run: Path, completion_run: Path, tmp_path: Path) -> None:
    need(".param")
    for run in (sampling_run, completion_run):
        with pytest.raises(ValueError, match="from one picture to another"):
            export(run, out=tmp_path / "a.param")
