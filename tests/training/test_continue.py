"""`train --continue RUN`: it goes on without other flags, or branches off with others; the old run stays whole."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from diptych import cli
from diptych.train import continue_training, train
from diptych.training.run import Run

SETTINGS: dict[str, Any] = {"size": 16, "steps": 4, "checkpoint_every": 2, "device": "cpu", "workers": 0}
METHOD = {"width": 4, "patch": 16, "norm": "instance"}


@pytest.fixture
def run(tmp_path: Path, tiny_pairs: Path) -> Path:
    """A run of four steps that may go on."""
    return train("pix2pix", data=tiny_pairs, out=tmp_path / "run", method=METHOD, **SETTINGS).path


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def weights(run: Path) -> bytes:
    return (run / "model/model.safetensors").read_bytes()


def test_it_goes_on_without_other_flags(run: Path, tiny_pairs: Path, tmp_path: Path) -> None:
    assert cli.run(["train", "--continue", str(run), "--steps", "6"]) == 0
    whole = train("pix2pix", data=tiny_pairs, out=tmp_path / "whole", method=METHOD, **{**SETTINGS, "steps": 6})
    assert [entry["step"] for entry in Run.open(run).read_log()] == [4, 6]
    assert Run.open(run).settings.steps == whole.settings.steps == 6
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [
        "step-00000002",
        "step-00000004",
        "step-00000006",
    ]


def test_an_interrupted_run_goes_on_to_the_same_end(run: Path) -> None:
    expected = weights(run)
    shutil.rmtree(run / "checkpoints/step-00000004")
    assert cli.run(["train", f"--continue={run}"]) == 0
    assert weights(run) == expected


def test_a_branch_goes_on_from_the_last_checkpoint_and_leaves_the_old_run_alone(run: Path, tmp_path: Path) -> None:
    before, new = content(run), tmp_path / "new"
    assert (
        cli.run(
            ["train", "--continue", str(run), "--out", str(new), "--lr", "1e-12", "--batch-size", "2", "--steps", "6"]
        )
        == 0
    )
    assert content(run) == before
    branch = Run.open(new)
    assert (branch.settings.lr, branch.settings.batch_size, branch.settings.steps) == (1e-12, 2, 6)
    assert branch.about.begun_from["path"] == str(run)
    assert branch.about.begun_from["step"] == 4
    old, went_on = (load_file(folder / "model/model.safetensors") for folder in (run, new))
    assert all(old[name].allclose(went_on[name], atol=1e-8) for name in old)  # a rate at which nothing is learnt
    assert cli.run(["train", "--continue", str(new), "--steps", "8"]) == 0  # and it is a run like any other
    assert sorted(path.name for path in (new / "checkpoints").iterdir())[-1] == "step-00000008"


def test_a_branch_with_the_same_settings_is_the_run_itself(run: Path, tmp_path: Path) -> None:
    assert cli.run(["train", "--continue", str(run), "--out", str(tmp_path / "new"), "--steps", "8"]) == 0
    assert cli.run(["train", "--continue", str(run), "--steps", "8"]) == 0
    assert weights(tmp_path / "new") == weights(run)
    logs = [
        [(entry["step"], entry["losses"]) for entry in Run.open(path).read_log()] for path in (run, tmp_path / "new")
    ]
    assert logs[0] == logs[1]


def test_other_pictures_are_a_branch(run: Path, tiny_pairs: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    shutil.copytree(tiny_pairs, more)
    picture = next((more / "train").iterdir())
    shutil.copyfile(picture, picture.with_name("another.png"))
    with pytest.raises(ValueError, match=r"was trained on other pictures.* diptych train --continue .*run --out NEW"):
        continue_training(run, data=more, steps=6)
    branch = continue_training(run, data=more, steps=6, out=tmp_path / "new")
    assert branch.data_paths.folder == more


def test_settings_that_differ_are_all_named(run: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"lr": 0.1, "batch_size": 2, "flip": False, "beta1": 0.1, "method": {"lambda_l1": 5.0}}
    with pytest.raises(ValueError, match="holds another run") as error:
        continue_training(run, **changes)
    for name in ("lr", "batch-size", "flip", "beta1", "method.lambda-l1"):
        assert name in str(error.value)
    assert "--continue" in str(error.value)


def test_what_cannot_go_on_is_refused_in_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, line in (
        (["--continue", str(tmp_path / "empty")], "is not a run"),
        (["--continue", str(run), "--out", str(tmp_path / "new")], "has done all of its 4 steps; give more"),
        (["--continue", str(run), "--fresh"], "--continue and --fresh"),
        (["--continue", str(run), "--init", str(run)], "--continue and --init"),
        (["pix2pix", "--data", str(tmp_path)], "add --out RUN"),
        (["cyclegan", "--continue", str(run)], "is a run of pix2pix"),
        (
            ["--continue", str(run), "--out", str(tmp_path / "new"), "--steps", "8", "--method.width", "8"],
            "does not fit",
        ),
    ):
        assert cli.run(["train", *arguments]) == 2, arguments
        assert line in capsys.readouterr().err


def test_pictures_that_have_moved_are_asked_for(
    tiny_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shutil.copytree(tiny_pairs, tmp_path / "data")
    run = train("pix2pix", data=data, out=tmp_path / "run", method=METHOD, **SETTINGS)
    data.rename(tmp_path / "moved")
    capsys.readouterr()
    assert cli.run(["train", "--continue", str(run.path), "--steps", "6"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"{data}: is gone" in line
    assert line.endswith("say where it is now with --data DIR")
    assert cli.run(["train", "--continue", str(run.path), "--data", str(tmp_path / "moved"), "--steps", "6"]) == 0
