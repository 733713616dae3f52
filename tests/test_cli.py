"""The command line: every mistake is one clear line and status 2, before anything is written."""

import errno
import json
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
from cyclopts import App, Group
from cyclopts.completion.detect import ShellDetectionError
from PIL import Image
from pydantic import AfterValidator, BaseModel

from diptych import cli, signals
from diptych.data.builtin import facades
from diptych.data.paths import list_pictures
from diptych.images.files import decode
from diptych.methods import METHODS
from diptych.model import Model

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    def run(*arguments: object) -> tuple[int, str, str]:
        status = cli.run([str(argument) for argument in arguments])
        printed = capfd.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    facades.write(tmp_path / "pairs", size=32, train=3, val=1)
    return tmp_path / "pairs"


def train(call: Call, data: Path, out: Path, *more: object) -> tuple[int, str, str]:
    tiny = {"--size": 32, "--method.width": 2, "--method.patch": 16, "--steps": 2, "--device": "cpu"}
    flags = [part for flag, value in tiny.items() if flag not in more for part in (flag, value)]
    return call("train", "pix2pix", "--data", data, "--out", out, *flags, *more)


def refused(answer: tuple[int, str, str], *parts: str) -> None:
    """One line on stderr that holds every part, status 2."""
    status, _, errors = answer
    assert status == 2
    assert errors.startswith("diptych: ")
    assert errors.count("\n") == 1
    for part in parts:
        assert part in errors


# ---- bad data


def test_no_such_folder(call: Call, tmp_path: Path) -> None:
    refused(train(call, tmp_path / "none", tmp_path / "run"), "none: no such folder")


def test_empty_folder(call: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(train(call, tmp_path / "empty", tmp_path / "run"), "empty: no pictures found", ".png", "side-by-side")


def test_an_a_without_its_b(call: Call, tmp_path: Path) -> None:
    for name in ("A/1.png", "B/1.png", "A/2.png"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32)).save(path)
    refused(train(call, tmp_path / "data", tmp_path / "run"), "A/2.png: has no partner named '2'")


def test_sides_of_different_sizes(call: Call, tmp_path: Path) -> None:
    for side, size in (("A", (32, 32)), ("B", (32, 30))):
        (tmp_path / "data" / side).mkdir(parents=True)
        Image.new("RGB", size).save(tmp_path / "data" / side / "1.png")
    refused(train(call, tmp_path / "data", tmp_path / "run"), "A/1.png is 32x32", "B/1.png is 32x30", "same size")


def bad_jpeg(path: Path) -> None:
    Image.effect_noise((128, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bad_png(path: Path) -> None:
    path.write_text("this is text", encoding="utf-8")


def one_pixel(path: Path) -> None:
    Image.new("RGB", (2, 1)).save(path)


def odd(path: Path) -> None:
    Image.new("RGB", (63, 32)).save(path)


@pytest.mark.parametrize(
    ("name", "make", "parts"),
    [
        ("half.jpg", bad_jpeg, ("half.jpg", "half written")),
        ("text.png", bad_png, ("text.png", "not a picture")),
        ("one.png", one_pixel, ("one.png", "1x1 pixels is too small")),
        ("odd.png", odd, ("odd.png", "63 pixels wide")),
    ],
)
def test_one_bad_picture_is_named_before_training(
    call: Call, pairs: Path, tmp_path: Path, name: str, make: Callable[[Path], None], parts: tuple[str, ...]
) -> None:
    make(pairs / "train" / name)
    refused(train(call, pairs, tmp_path / "run"), *parts)
    assert not (tmp_path / "run").exists()


# ---- bad settings


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (("--size", "100"), ("--size 100", "halves both sides", "96 and 128")),
        (("--method.lamda-l1", "10"), ("--method.lamda-l1", "Did you mean --method.lambda-l1?")),
        (("--sise", "64"), ("--sise", "Did you mean --size?")),
        (("--lr", "fast"), ("--lr", "valid number", "'fast'")),
        (("--batch-size", "1.5"), ("--batch-size", "valid integer", "1.5")),
        (("--method.norm", "layer"), ("--method.norm", "'batch', 'instance', 'affine-instance' or 'none'", "'layer'")),
        (("--method.conditional", "maybe"), ("--method.conditional", "valid boolean")),
        (("--epochs", "3"), ("--steps and --epochs",)),
        (("--device", "cuda:9"), ("--device cuda:9", "use one of auto")),
        (("--recipe", "none.toml"), ("none.toml", "cannot be read")),
        (("--direction",), ("--direction",)),
    ],
)
def test_a_bad_setting(call: Call, pairs: Path, tmp_path: Path, more: tuple[str, ...], parts: tuple[str, ...]) -> None:
    refused(train(call, pairs, tmp_path / "run", *more), *parts)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 100_000, "{a=" * 20_000, "2026-13-01"])
@pytest.mark.parametrize(
    ("words", "flag"),
    [
        ("train pix2pix --data x --out y --size", "--size"),
        ("train pix2pix --data x --out y --method.width", "--method.width"),
        ("data demo shapes --out y --train", "--train"),
        ("data resize x --out y --size", "--size"),
        ("data download facades --out y --mirror", "--mirror"),
        ("translate x y --out z --device", "--device"),
    ],
)
def test_an_absurd_value_is_one_short_line_with_its_flag(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, flag: str, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call(*words.split(), value)
    refused(answer, flag)
    assert len(answer[2]) < 350  # the addresses of a data set are among them
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_method_or_command(call: Call) -> None:
    refused(call("train", "pix2pics", "--data", "x", "--out", "y"), "pix2pics", "pix2pix")
    refused(call("translat", "x"), "translat", "translate")


# ---- what goes well


@pytest.mark.parametrize("words", [("--data", ""), ("--data=",)])
def test_an_empty_path_is_not_the_current_folder(
    call: Call, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(pairs)
    status, _, error = call("train", "pix2pix", *words, "--out", tmp_path / "run", "--dry-run")
    assert status == 2
    assert error.startswith("diptych: --data: an empty text is given")


def test_dry_run_tells_what_was_found_and_every_setting(call: Call, pairs: Path, tmp_path: Path) -> None:
    status, out, _ = train(call, pairs, tmp_path / "run", "--dry-run", "--method.conditional", "false")
    assert status == 0
    assert "3 side-by-side pairs, 64x32, A left" in out
    assert {"size = 32", "steps = 2", "lambda-l1 = 100.0", "conditional = false"} <= set(out.splitlines())
    assert not (tmp_path / "run").exists()


def test_from_training_to_a_page(call: Call, pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(call, pairs, run)[0] == 0
    status, out, _ = train(call, pairs, run)
    assert (status, "finished; nothing to do" in out) == (0, True)
    assert "side-by-side" in train(call, pairs, run, "--dry-run")[1]
    refused(train(call, pairs, run, "--seed", 1), "holds another run", "--fresh")
    assert call("evaluate", run, "--data", pairs, "--baselines", "--metrics", "l1, psnr")[0] == 0
    measured = [json.loads(line)["metrics"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {name.partition("/")[0] for metrics in measured for name in metrics} == {"l1", "psnr"}
    assert call("report", run)[1].strip() == str(run / "index.html")
    assert (run / "index.html").exists()
    assert call("translate", run, pairs / "val", "--out", tmp_path / "out")[0] == 0
    with Image.open(tmp_path / "out/facade-0003.png") as picture:
        assert picture.size == (64, 32)


def test_translate_skips_a_bad_picture_with_status_1(call: Call, tiny_run: Path, pairs: Path, tmp_path: Path) -> None:
    bad_png(pairs / "val/bad.png")
    status, _, errors = call("translate", tiny_run, pairs / "val", "--out", tmp_path / "out")
    assert status == 1
    assert "skipped" in errors
    assert "bad.png" in errors
    assert (tmp_path / "out/facade-0003.png").exists()


def test_help_names_every_setting_of_a_method(call: Call) -> None:
    status, out, _ = call("train", "pix2pix", "--help")
    assert status == 0
    for flag in ("--size", "--direction", "--method.width", "--method.lambda-l1", "--dry-run", "--fresh", "--recipe"):
        assert flag in out


def test_methods(call: Call) -> None:
    status, out, _ = call("methods")
    assert status == 0
    assert "pix2pix" in out
    assert "paired" in out
    assert "cgan: cgan-emoji-64, cgan-mnist, cgan-shapes-32\n" in out


QUICK = {
    **dict.fromkeys(("--help", "data --help", "methods --help", "help", "help data", "help methods"), 0),
    **{f"{verb} --help": 0 for verb in ("translate", "sample", "export", "evaluate", "report", "import", "data pack")},
    **dict.fromkeys(("translat", "data resiz", "help data resiz"), 2),
}


@pytest.mark.parametrize("arguments", QUICK)
def test_help_and_a_slip_do_not_wait_for_torch(arguments: str) -> None:
    """Start-up stays quick because nothing heavy is imported; the seconds are in benchmarks/."""
    code = (
        f"import sys; from diptych import cli; assert cli.run({arguments.split()}) == {QUICK[arguments]};"
        "print({'torch', 'numpy', 'pydantic', 'PIL', 'cv2', 'jinja2'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.endswith("set()\n")


DEVICE = "--device --precision"
FLAGS = {
    "translate": f"--run --out --to --direction --overwrite --mask --blend --stochastic --seed --working-size --batch-size "
    f"--workers --format --quality --strip-metadata --skip-existing --shard --failures --engine --processes {DEVICE} "
    "--runtime --memory --scratch",
    "sample": f"--run --out --label --count --seed --overwrite {DEVICE}",
    "submit": f"--run --data --out --direction {DEVICE}",
    "evaluate": "--run --data --data-a --data-b --suffix-a --suffix-b --halves "
    "--real --fake --out --metrics --baselines --direction --features --weights "
    "--fetch-weights --device",
    "export": "--run --out --format --io --bits --weights --direction --palette --no-examples --webgpu --overwrite",
    "serve": f"--host --port --lazy --workers --queue --max-batch --max-bytes --max-pixels --timeout --jobs --max-job-bytes "
    f"--api-key-file --allow-origin --no-page --no-access-log {DEVICE} --runtime",
    "report": "--out --table",
    "push": "--run --repository --licence --private --with-samples --dry-run",
    "import": "--files --out --discriminator --statistics --direction --mean-pixel",
    "quickstart": "--out",
    "methods": "",
    "help": "",
    "data inspect": "--folder --out --suffix-a --suffix-b --workers",
    "data resize": "--out --size --fit --background --strip-metadata --workers",
    "data blank": "--out --hole --share --min-share --count --fill --seed --strip-metadata --workers",
    "data combine": "--a --b --out --suffix-a --suffix-b --workers",
    "data grayscale": "--out --strip-metadata --workers",
    "data edges": "--out --sigma --detail --shortest --strip-metadata --workers",
    "data split": "--folder --out --val --test --seed --by --workers",
    "data pack": "--folder --out --shards --size --count --val --seed --workers",
    "data download": "--name --out --mirror",
    "data demo": "--name --out --size --train --val --seed",
}


def commands() -> dict[str, App]:
    """Every command that there is, but for those of train, by its words."""
    groups = {"": cli.app, "data ": cli.app["data"]}
    return {
        f"{words}{name}": group[name]
        for words, group in groups.items()
        for name in group
        if name not in ("train", "data") and not name.startswith("-")
    }


def test_every_command_has_its_flags_and_each_says_what_it_is_for(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert commands().keys() == FLAGS.keys()
    for words, command in commands().items():
        told = re.findall(r"^│[ *]+(?:[A-Z]+ )?(--[a-z-]+)", call(*words.split(), "--help")[1], re.M)
        assert told == FLAGS[words].split(), words
        assert all(
            argument.parameter.help for argument in command.assemble_argument_collection(parse_docstring=True)
        ), words
        assert command.help, words


@pytest.mark.parametrize("method", METHODS)
def test_every_setting_says_what_it_is_for(method: str) -> None:
    cli.training.add_commands()
    arguments = cli.app["train"][method].assemble_argument_collection(parse_docstring=True)
    assert {"--out", "--recipe", "--size"} <= {argument.name for argument in arguments}
    assert all(argument.parameter.help for argument in arguments)


def test_defaults_are_those_of_the_functions(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    out = call("data", "blank", "--help")[1]
    for part in ("[default: 0.3]", "[default: 0.1]", "[default: white]", "[choices:", "[default: centre]"):
        assert part in out
    assert "[default: 256]" in call("data", "resize", "--help")[1]


class Choices:
    """Stands for the names of generators: a validator that can be iterated over."""

    def __iter__(self) -> Iterator[str]:
        return iter(("unet", "resnet9"))

    def __call__(self, value: str) -> str:
        return value


def test_choices_are_shown_where_a_validator_knows_them() -> None:
    class Own(BaseModel):
        generator: Annotated[str, AfterValidator(Choices())] = "unet"
        other: Annotated[str, AfterValidator(Choices())] | None = None
        name: Annotated[str, AfterValidator(str.strip)] = ""

    told = {flag.name: flag.annotation.__metadata__[0] for flag in cli.training._flags(Own, "", Group("Settings"))}
    assert [flag.metavar for flag in told.values()] == ["unet|resnet9", "unet|resnet9", "STR"]
    assert told["other"].show_default is False


@pytest.mark.parametrize("words", ["", "translate", "data", "data resize", "train", "train pix2pix"])
def test_help_is_a_command_too(call: Call, words: str) -> None:
    status, out, err = call("help", *words.split())
    assert (status, err) == (0, "")
    assert out == call(*words.split(), "--help")[1]
    assert f"Usage: diptych {words}" in out


def test_help_of_what_is_no_command(call: Call) -> None:
    refused(call("help", "translat"), "translat", "translate")
    refused(call("help", "data", "resiz"), "resiz", "resize")


@pytest.mark.parametrize(("shell", "startup"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", None)])
def test_completion_is_written_to_the_home_folder_alone(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, startup: str | None
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(home))
    for name in ("ZSH", "ZSH_CUSTOM", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    status, out, _ = call("--install-completion", "--shell", shell)
    assert status == 0
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    script = Path(out.split(":")[0])
    assert written == {script} | ({home / startup} if startup else set())
    text = script.read_text()
    for word in ("resize", "working-size", "pix2pix", "lambda-l1"):
        assert word in text


def test_completion_of_an_unknown_shell_is_one_line(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise ShellDetectionError

    monkeypatch.setattr("cyclopts.completion.detect.detect_shell", unknown)
    refused(call("--install-completion"), "--shell bash")


def test_a_recipe_by_its_name(call: Call, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = ("train", "pix2pix", "--data", pairs, "--out", tmp_path / "run", "--size", 32, "--dry-run", "--recipe")
    status, out, _ = call(*recipe, "pix2pix-facades-128")
    assert status == 0
    assert 'name = "pix2pix"' in out
    assert "size = 32" in out  # a flag comes first
    refused(call(*recipe, "pix2pix-facade"), "--recipe pix2pix-facade:", "did you mean --recipe pix2pix-facades?")
    refused(call(*recipe, "cyclegan"), "is for 'cyclegan'")


@pytest.mark.skipif(sys.platform == "win32", reason="needs the resource module to play a full disk")
def test_a_full_disk(pairs: Path, tmp_path: Path) -> None:
    """A limit on file size stands in for the disk: the checkpoint is refused by the system, not by a mock."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({20_000}, {20_000}));"
        "from diptych import cli; sys.exit(cli.run(sys.argv[1:]))"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "train",
            "pix2pix",
            "--data",
            str(pairs),
            "--out",
            str(tmp_path / "run"),
            "--size",
            "32",
            "--steps",
            "2",
            "--method.width",
            "4",
            "--method.patch",
            "16",
            "--device",
            "cpu",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "could not be written" in done.stderr
    assert list((tmp_path / "run/checkpoints").iterdir()) == []


def test_truncated_png_of_a_crashed_writer(call: Call, pairs: Path, tmp_path: Path) -> None:
    path = sorted((pairs / "train").iterdir())[0]
    data = path.read_bytes()
    path.write_bytes(data[:16] + struct.pack(">II", 64, 32) + data[24:60])
    refused(train(call, pairs, tmp_path / "run"), path.name, "damaged or only half written")


def test_the_help_of_a_run_lists_what_it_makes(call: Call, two_way_run: Path, tmp_path: Path) -> None:
    status, out, _ = call("translate", two_way_run, "--help")
    assert (status, out.splitlines()[-1]) == (0, f"{two_way_run}: --to A or --to B")
    assert "--to A or" not in call("translate", tmp_path, "--help")[1]


def test_both_ways_and_two_folders_from_the_command_line(
    call: Call, pairs: Path, tmp_path: Path, two_way_run: Path
) -> None:
    source = sorted((pairs / "val").iterdir())[0]
    for way in ("AtoB", "BtoA"):
        assert call("translate", two_way_run, source, "--out", tmp_path / f"{way}.png", "--direction", way)[0] == 0
    assert (tmp_path / "AtoB.png").read_bytes() != (tmp_path / "BtoA.png").read_bytes()
    refused(call("translate", two_way_run, source, "--out", tmp_path / "x.png", "--direction", "AtoC"), "AtoC", "AtoB")
    tiny = ("--size", 32, "--steps", 1, "--method.width", 1, "--method.patch", 16, "--method.generator", "resnet6")
    out, sides = tmp_path / "run", (pairs / "train", pairs / "val")
    status, told, _ = call("train", "cyclegan", "--data-a", sides[0], "--data-b", sides[1], "--out", out, *tiny)
    assert status == 0
    assert f"A: 3 pictures in {sides[0]}, 64x32; B: 1 picture in {sides[1]}, 64x32" in told
    assert f"next: diptych report {out}\n" in told  # nothing is held out here
    assert f"next: diptych evaluate {tmp_path / 'pix'} --data {pairs}\n" in train(call, pairs, tmp_path / "pix")[1]
    refused(call("train", "cyclegan", "--data-a", sides[0], "--out", out), "--data-b")
    refused(call("train", "cyclegan", "--out", out), "--data DIR")


def test_evaluating_both_ways_from_the_command_line(call: Call, pairs: Path, tmp_path: Path, two_way_run: Path) -> None:
    shutil.copytree(two_way_run, tmp_path / "run")
    status, told, _ = call("evaluate", tmp_path / "run", "--data", pairs, "--baselines")
    assert status == 0
    for part in ("AtoB, 1 val pictures", "BtoA, 1 val pictures", "the input as it is", "8-bit/32px", "ssim"):
        assert part in told
    for side in "AB":
        shutil.copytree(pairs / "val", tmp_path / "apart" / f"val{side}")
    status, told, _ = call("evaluate", tmp_path / "run", "--data", tmp_path / "apart")
    assert status == 0
    assert told.count("translated, and nothing measured") == 2  # one picture is no set for swd
    refused(call("evaluate", tmp_path / "run", "--data", tmp_path / "apart", "--metrics", "l1"), "--metrics l1")


def test_a_submission_that_cannot_be_is_one_line(call: Call, pairs: Path, tmp_path: Path, two_way_run: Path) -> None:
    answer = call("submit", two_way_run, "--data", pairs / "train", "--out", tmp_path / "images.zip")
    refused(answer, "holds 3 pictures; Kaggle takes 7000 to 10000")


def test_ctrl_c_is_said(
    call: Call, pairs: Path, tmp_path: Path, two_way_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Model, "all_pixels", interrupt)
    status, _, errors = call("translate", two_way_run, pairs / "val", "--out", tmp_path / "out")
    assert (status, errors.splitlines()[-1]) == (130, "diptych: interrupted")


# ---- diptych data


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two pictures of which each half says which it is, and everything that lies about in a folder of pictures."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, level in (("a photo.png", 40), ("Ünï\nline.jpg", 200)):
        Image.new("RGB", (30, 20), (level, 0, 0)).save(folder / name)
    return folder


TOOLS = {
    "resize": (["--size", "12x16", "--fit", "fill"], {(12, 16)}),
    "blank": ([], {(30, 20)}),
    "grayscale": ([], {(30, 20)}),
    "edges": ([], {(30, 20)}),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_over_a_folder(photos: Path, tmp_path: Path, call: Call, tool: str) -> None:
    before = {path: path.read_bytes() for path in photos.iterdir()}
    flags, sizes = TOOLS[tool]
    status, _, err = call("data", tool, photos, "--out", tmp_path / "out", *flags)
    assert (status, err) == (0, "")
    found = list_pictures(tmp_path / "out")
    assert len(found) == 2
    assert {decode(path).size[::-1] for path in found} == sizes
    assert {path: path.read_bytes() for path in photos.iterdir()} == before


def test_bad_pictures_are_a_line_each(photos: Path, tmp_path: Path, call: Call) -> None:
    """Those that are whole are there all the same; the exit status says that some are not."""
    (photos / "empty.png").touch()
    (photos / "text\nof two lines.jpg").write_text("no picture")
    (photos / "loop.png").symlink_to(photos / "loop.png")
    (photos / "around").symlink_to(photos, target_is_directory=True)
    (photos / "notes.txt").write_text("no picture either")
    status, _, err = call("data", "resize", photos, "--out", tmp_path / "out", "--size", "8")
    assert status == 1
    *bad, link = sorted(err.splitlines())
    assert link == f"left out: {photos / 'around'} (another way to {photos})"
    for line, name in zip(bad, ("empty.png", "loop.png", "text\\nof two lines.jpg"), strict=True):
        assert line.startswith("diptych: skipped: ")
        assert name in line
    assert len(list_pictures(tmp_path / "out")) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resize", "--out", "OUT"], "no pictures given"),
        (["resize", "IN", "--out", "OUT", "--workers", "0"], "--workers"),
        (["resize", "IN", "--out", "OUT", "--size", "big"], "--size big"),
        (["resize", "IN", "--out", "IN/small"], "lies inside"),
        (["resize", "IN", "--out", "FULL"], "was not made by this command"),
        (["resize", "NONE", "--out", "OUT"], "no such file or folder"),
        (["grayscale", "IN", "--out", "FILE/out"], "cannot be written to"),
        (["edges", "IN", "--out", "OUT", "--sigma", "0"], "--sigma 0"),
        (["edges", "IN", "--out", "OUT", "--sigma", "inf"], "--sigma inf"),
        (["edges", "IN", "--out", "OUT", "--detail", "inf"], "--detail inf"),
        (["edges", "IN", "--out", "OUT", "--shortest", "0"], "--shortest 0"),
        (["resize", "IN", "--out", "OUT", "--size", "200000"], "--size 200000"),
        (["demo", "shapes", "--out", "OUT", "--seed", "-1"], "--seed -1"),
        (["blank", "IN", "--out", "OUT", "--fill", "whitish"], "--fill whitish"),
        (["combine", "IN", "FULL", "--out", "OUT"], "has no partner"),
        (["split", "IN", "--out", "OUT", "--val", "2"], "--val 2"),
        (["demo", "shape", "--out", "OUT"], "shape"),
        (["download", "facade", "--out", "OUT"], "did you mean facades?"),
        (["download", "facades"], "add --out DIR"),
        (["inspect", "NONE"], "a folder of pictures is expected"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line_and_writes_nothing(
    photos: Path, tmp_path: Path, call: Call, arguments: list[str], message: str
) -> None:
    (tmp_path / "full").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "full/mine.png")
    (tmp_path / "file").write_text("mine")
    places = {"IN": photos} | {name: tmp_path / name.lower() for name in ("OUT", "FULL", "NONE", "FILE")}
    before = sorted(tmp_path.rglob("*"))
    given = []
    for word in arguments:
        first, *below = word.split("/")
        given.append(places[first].joinpath(*below) if first in places else word)
    refused(call("data", *given), message)
    assert sorted(tmp_path.rglob("*")) == before


def test_inspect_tells_by_its_status_that_something_is_broken(photos: Path, call: Call) -> None:
    assert call("data", "inspect", photos)[0] == 0
    (photos / "empty.png").touch()
    status, out, _ = call("data", "inspect", photos)
    assert status == 1
    assert "empty.png: the file is empty" in out


def test_combine_split_inspect_train(tmp_path: Path, call: Call) -> None:
    """From two folders to the command that trains on them, by the tools alone."""
    for number in range(12):
        for side in "AB":
            (tmp_path / side).mkdir(exist_ok=True)
            noise = np.random.default_rng([number, ord(side)]).integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / side / f"{number}.png")
    assert call("data", "combine", tmp_path / "A", tmp_path / "B", "--out", tmp_path / "pairs")[0] == 0
    assert call("data", "split", tmp_path / "pairs", "--out", tmp_path / "data", "--val", "0.25")[0] == 0
    status, out, _ = call("data", "inspect", tmp_path / "data", "--out", tmp_path / "findings")
    assert status == 0
    assert "train (9), val (3)" in out
    assert (tmp_path / "findings/montage.png").is_file()
    command = next(line for line in out.splitlines() if line.startswith("diptych train pix2pix"))
    status, out, err = call(*shlex.split(command)[1:], "--dry-run")
    assert (status, err) == (0, "")
    assert "9 side-by-side pairs, 128x64, A left" in out


def test_catalogue(call: Call) -> None:
    status, out, _ = call("data", "download")
    assert status == 0
    for name in ("facades", "maps", "cityscapes", "edges2shoes", "edges2handbags", "horse2zebra", "monet2photo"):
        assert f"\n{name}: " in f"\n{out}"


def test_demo_says_what_to_do_next(tmp_path: Path, call: Call) -> None:
    status, _, err = call(
        "data", "demo", "shapes", "--out", tmp_path / "shapes", "--size", "32", "--train", "5", "--val", "1"
    )
    assert status == 0
    assert "next: diptych train colorize --data" in err


# ---- what the system, the machine and names do


def raises(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Makes `diptych report` raise it."""

    def report(*_: object) -> None:
        raise error

    monkeypatch.setattr(import_module("diptych.report"), "report", report)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "not enough memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 24576000000 bytes."),
            "not enough memory",
        ),
        (RuntimeError("can't start new thread"), "the system starts no more threads"),
        (
            ImportError("libtorch_cpu.so: failed to map segment from shared object"),
            "a library could not be loaded (libtorch",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "the system says: No space left on device"),
        (OSError(errno.ENOSPC, "No space left on device", ""), "the system says: No space left on device"),
        (OSError(errno.EACCES, "Permission denied", "run/index.html"), "run/index.html: Permission denied"),
        (OSError(), "the system says: OSError"),
        (ValueError(), "ValueError"),
    ],
    ids=repr,
)
def test_what_the_machine_refuses_is_one_line_with_words(
    call: Call, monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    raises(monkeypatch, error)
    answer = call("report", "run")
    refused(answer, f"diptych: {line}")
    assert "diptych: :" not in answer[2]


@pytest.mark.parametrize(
    "error", [RuntimeError("of ours"), KeyError("of ours"), ImportError("no module of ours")], ids=repr
)
def test_a_fault_of_ours_is_not_hidden(call: Call, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    raises(monkeypatch, error)
    with pytest.raises(type(error)):
        call("report", "run")


@pytest.mark.skipif(os.name == "nt", reason="a current folder cannot be removed there")
def test_without_a_current_folder(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    refused(call("report", tmp_path), "the current folder is gone")


@pytest.mark.skipif(os.name == "nt", reason="limits")
def test_a_limit_below_what_torch_needs(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (2**30, 2**30))
    refused(call("report", tmp_path), "the limit on memory (ulimit -v) is 1024 MiB")


@pytest.mark.skipif(sys.platform != "linux", reason="names of files")
def test_no_name_gives_a_second_line_or_reaches_the_terminal(call: Call, tmp_path: Path, tiny_run: Path) -> None:
    (tmp_path / "in").mkdir()
    for number, sign in enumerate(("\n", "\r", "\x1b[31m", "\x9b31m", "\x7f", "\u2028", "\u202e", "\u2066", "\udcff")):
        (tmp_path / "in" / f"{number}{sign}x.png").write_text("no picture")
    status, printed, errors = call("translate", tiny_run, tmp_path / "in", "--out", tmp_path / "out", "--device", "cpu")
    lines = errors.split("\n")
    assert (status, printed, len(lines)) == (1, "", 11)  # the first says what is done
    for number, line in enumerate(lines[1:-1]):
        assert line.startswith(f"diptych: skipped: {tmp_path}/in/{number}\\")
        assert line.isprintable()
    status, printed, errors = call("data", "inspect", tmp_path / "in")
    assert all(line.isprintable() for line in (printed + errors).split("\n"))
    named = tmp_path / "a\nb"
    named.mkdir()
    refused(call("report", named), "a\\nb: is not a run")


def test_a_request_to_end_does_what_ctrl_c_does() -> None:
    ending = [number for number in signals.ENDING if number is not signal.SIGINT]
    before = {number: signal.getsignal(number) for number in signals.ENDING}
    try:
        signals.interrupt_on_all()
        for number in ending:
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
        signal.signal(ending[0], signal.SIG_IGN)  # as nohup does
        signals.interrupt_on_all()
        signal.raise_signal(ending[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
