"""People who come from other programs: their options are answered by ours, and what they noted is a command of ours."""

import shlex
from pathlib import Path

import pytest

from diptych import cli
from diptych.cli.elsewhere import OPTIONS_OF_AFFINELAYER, OPTIONS_OF_JUNYANZ, remedy
from diptych.peers.train_opt import as_command
from diptych.training.settings import settings_from

TRAIN_OPT = """----------------- Options ---------------
               batch_size: 4                             \t[default: 1]
                    beta1: 0.5
          checkpoints_dir: ./checkpoints
           continue_train: False
                crop_size: 128                           \t[default: 256]
                 dataroot: ./datasets/my facades         \t[default: None]
                direction: BtoA                          \t[default: AtoB]
                 gan_mode: vanilla                       \t[default: lsgan]
                init_type: xavier                        \t[default: normal]
                 input_nc: 1                             \t[default: 3]
                lambda_L1: 50.0                          \t[default: 100.0]
                load_size: 143                           \t[default: 286]
                       lr: 0.0001                        \t[default: 0.0002]
                lr_policy: linear
                    model: pix2pix                       \t[default: cycle_gan]
                 n_epochs: 150                           \t[default: 100]
           n_epochs_decay: 50                            \t[default: 100]
               n_layers_D: 3
                     name: facades                       \t[default: experiment_name]
                      ndf: 32                            \t[default: 64]
                     netD: basic
                     netG: unet_128                      \t[default: unet_256]
                      ngf: 32                            \t[default: 64]
               no_dropout: False
                  no_flip: True                          \t[default: False]
                     norm: batch
                output_nc: 3
                pool_size: 0
               preprocess: resize_and_crop
----------------- End -------------------
"""


def test_every_option_of_theirs_is_answered_and_none_of_ours_is_taken_for_one() -> None:
    for option in (*OPTIONS_OF_JUNYANZ, *OPTIONS_OF_AFFINELAYER):
        assert "calls it so; here" in remedy(f"--{option}=3")
        assert "calls it so; here" in remedy(f"--{option.replace('_', '-')}")
    assert remedy("--seeed") == ""


def test_the_page_has_the_same_table() -> None:
    page = (Path(__file__).parents[2] / "docs/from-junyanz.md").read_text(encoding="utf-8").replace("\\|", "|")
    for option, ours in (OPTIONS_OF_JUNYANZ | OPTIONS_OF_AFFINELAYER).items():
        assert f"| `--{option}` | {ours} |" in page


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("--netG unet_256", "--method.generator"),
        ("--continue_train", "diptych train --continue RUN"),
        ("--dataroot=x", "--data DIR"),
        ("--display_id 0", "here is none: previews are in"),
    ],
)
def test_the_command_line_answers_with_ours(typed: str, answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["train", "pix2pix", "--out", "x", *typed.split()]) == 2
    assert answer in capsys.readouterr().err


def test_what_their_program_noted_becomes_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train_opt.txt").write_text("".join(f"{line:<60}\n" for line in TRAIN_OPT.splitlines()))
    assert cli.run(["train", "--from-junyanz", str(tmp_path / "train_opt.txt")]) == 0
    command, *notes = capsys.readouterr().out.splitlines()
    words = shlex.split(command)
    assert words[:7] == ["diptych", "train", "pix2pix", "--data", "./datasets/my facades", "--out", "runs/facades"]
    given = dict(zip(words[7::2], words[8::2], strict=True))
    assert given == {
        "--batch-size": "4",
        "--lr": "0.0001",
        "--size": "128",
        "--method.width": "32",
        "--method.lambda-l1": "50.0",
        "--direction": "BtoA",
        "--decay-start": "0.75",
        "--flip": "false",
        "--channels-b": "1",  # their input, which is B here
        "--init-type": "xavier",
    }
    assert not notes


def test_a_cyclegan_of_theirs() -> None:
    options = {"model": "cycle_gan", "name": "maps", "netG": "resnet_6blocks", "lambda_A": "5.0", "lambda_B": "10.0"}
    command, notes = as_command(options | {"norm": "instance", "no_dropout": "True", "pool_size": "50"}, "maps")
    assert command == (
        "diptych train cyclegan --data maps --out runs/maps --method.lambda-cycle 5.0 --method.generator resnet6"
    )
    assert notes == ["lambda_B 10.0 is not here, and is 5.0"]
    settings_from("cyclegan", {"method": {"lambda-cycle": 5.0, "generator": "resnet6"}})


def test_what_is_no_such_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.txt").write_text("a letter\n")
    for file in ("x.txt", "missing.txt"):
        assert cli.run(["train", "--from-junyanz", str(tmp_path / file)]) == 2
        assert file in capsys.readouterr().err
    step = as_command({"model": "pix2pix", "lr_policy": "step", "lr_decay_iters": "50", "n_epochs": "150"}).command
    assert step.endswith("--epochs 250.0 --decay-start 0.2 --lr-policy step")
    assert as_command({"model": "pix2pix", "lr_policy": "plateau"}).notes == [
        "lr_policy plateau is not here, and is linear"
    ]
    with pytest.raises(ValueError, match="model 'pix2pixHD': is not here"):
        as_command({"model": "pix2pixHD"})
    with pytest.raises(ValueError, match="ngf: a number is expected"):
        as_command({"model": "pix2pix", "ngf": "wide"})


@pytest.mark.parametrize(
    ("option", "ours"),
    [
        ("--weights", "--init RUN|MODEL"),
        ("--pretrained_name", "--init RUN|MODEL"),
        ("--learning_rate", "--lr"),
        ("--learning-rate", "--lr"),
        ("--resume-from", "diptych train --continue RUN"),
    ],
)
def test_options_of_many_programs_are_answered_by_ours(
    capsys: pytest.CaptureFixture[str], option: str, ours: str
) -> None:
    assert cli.run(["train", "pix2pix", option, "x"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith(f"Unknown option: {option}. Other programs call it so; here it is {ours}")
