"""DESIGN's promises, across the parts: resume, imports, the map, the README's commands, recipes."""

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import diptych
from diptych import cli, cpu, devices
from diptych.data.builtin import facades
from diptych.data.loaders import MASKS
from diptych.images.size import Size
from diptych.methods import METHODS
from diptych.methods.base import Method
from diptych.metrics import l1
from diptych.recipes import method_of, recipes
from diptych.training import checkpoint
from diptych.training.loop import Interrupted
from diptych.training.run import Run
from diptych.training.settings import settings_from

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/diptych"
Train = Callable[..., Run]


def last_state(run: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint.list_checkpoints(run / "checkpoints")[-1][1] / "training.safetensors")


# ---- promise 3: resume is starting at another number


VARIANTS: dict[str, dict[str, Any]] = {
    "as in the paper": {},
    "several workers and a batch": {"workers": 3, "batch_size": 2},
    "nothing kept in memory": {"memory_gib": 0.0},
    "moving average": {"ema": 0.9},
    "least squares, instance norm": {"method": {"adversarial": "lsgan", "norm": "instance", "upsampling": "resize"}},
    "bf16": {"precision": "bf16"},
    "statistics of the training, moving average": {"ema": 0.9, "method": {"statistics": "running"}},
    "a steadied discriminator": {
        "precision": "bf16",
        "method": {"spectral_norm": True, "r1": 1.0, "augment": True, "adversarial": "hinge"},
    },
    "a residual generator": {"method": {"generator": "resnet6"}},
    "rectangles": {"size": "32x16", "fit": "crop"},
    "parts of wider pictures": {"size": "16x32", "fit": "scale-width", "load_scale": 1.5, "workers": 2},
    "rectangles with holes": {"name": "glcic", "size": "32x48", "method": {"t_c": 3, "t_d": 3}},
    "unpaired rectangles": {"name": "cyclegan", "size": "16x32", "batch_size": 2},
    "single pictures, some left out": {"name": "colorize"},
    "unpaired, pools full before the stop": {"name": "cyclegan"},
    "unpaired, one way": {"name": "cut"},
    "unpaired, one way, mirrored half of the time, in batches": {
        "name": "cut",
        "batch_size": 2,
        "ema": 0.9,
        "method": {"variant": "fastcut", "dropout": True, "adversarial": "hinge"},
    },
    "out of noise, by label": {"name": "cgan", "batch_size": 3},
    "out of noise, by projection, moving average": {
        "name": "cgan",
        "ema": 0.9,
        "method": {"condition": "projection", "adversarial": "hinge", "augment": True},
    },
    "stopped while the completion network learns alone": {"name": "glcic", "method": {"t_c": 8, "t_d": 2}},
    "stopped while the discriminator learns alone": {"name": "glcic", "batch_size": 2, "method": {"t_c": 3, "t_d": 6}},
    "stopped while both learn together": {
        "name": "glcic",
        "method": {"t_c": 1, "t_d": 2, "balance": True, "holes": "any"},
    },
    "stopped between two looks at the discriminator's loss": {
        "name": "glcic",
        "method": {"t_c": 0, "t_d": 12, "t_d_until": 100.0, "optimizer": "adam"},
    },
    "unpaired, augmented, with dropout, in batches": {
        "name": "cyclegan",
        "batch_size": 2,
        "ema": 0.9,
        "method": {
            "width": 2,
            "patch": 16,
            "generator": "unet",
            "dropout": True,
            "augment": True,
            "adversarial": "hinge",
        },
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_12_steps_are_5_and_7_bit_for_bit(train_tiny: Train, tmp_path: Path, variant: str) -> None:
    settings = VARIANTS[variant]
    train_tiny(tmp_path / "whole", **settings)
    stopped_after(5, train_tiny, tmp_path / "parts", **settings)
    assert [step for step, _ in checkpoint.list_checkpoints(tmp_path / "parts/checkpoints")][-1] == 5
    train_tiny(tmp_path / "parts", **settings)
    whole, parts = last_state(tmp_path / "whole"), last_state(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert any(name.startswith("optimizer/") for name in whole)
    different = [name for name in whole if not torch.equal(whole[name], parts[name])]
    assert different == []
    for sheet in (tmp_path / "whole/samples").iterdir():
        assert sheet.read_bytes() == (tmp_path / "parts/samples" / sheet.name).read_bytes() or "00000005" in sheet.name


def test_a_run_keeps_the_convolutions_it_began_with(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which of them go through a transform is measured, and kept in a cache that may be deleted; the run notes it."""
    by_transforms = cpu.Speeds(dict.fromkeys(cpu.SPEEDS, 2.0) | {"transformed 3x3": 1.0})
    by_torch = cpu.Speeds(dict.fromkeys(cpu.SPEEDS, 1.0))
    taken = list[bool]()
    pays = cpu._transform_pays

    def counted(*convolution: Any) -> bool:
        taken.append(pays(*convolution))
        return taken[-1]

    monkeypatch.setattr(cpu, "runs_transforms", lambda: True)
    monkeypatch.setattr(cpu, "_transformed", lambda x, weight, bias, padding: torch.conv2d(x, weight, bias, 1, padding))
    monkeypatch.setattr(cpu, "LEAST_WORK", {"fp32": 0, "bf16": 0})
    monkeypatch.setattr(cpu, "_transform_pays", counted)
    monkeypatch.setattr(cpu, "measured", lambda: pytest.fail("asked the cache while it trained"))
    for first, then, noted in (
        (by_transforms, by_torch, ["fp32 3x3", "bf16 3x3"]),
        (by_torch, by_transforms, []),
    ):
        run = tmp_path / f"{len(noted)}"
        monkeypatch.setattr(devices, "measured", lambda first=first: first)
        stopped_after(5, train_tiny, run, method={"generator": "resnet6"})
        assert Run.open(run).about.transforms == noted
        assert any(taken) == bool(noted)
        monkeypatch.setattr(devices, "measured", lambda then=then: then)
        taken.clear()
        train_tiny(run, method={"generator": "resnet6"})
        assert taken
        assert any(taken) == bool(noted)
        assert Run.open(run).about.transforms == noted
        taken.clear()


def test_a_run_of_an_older_version_notes_its_convolutions_when_it_goes_on(train_tiny: Train, tmp_path: Path) -> None:
    stopped_after(5, train_tiny, tmp_path / "run")
    settings = tmp_path / "run/settings.toml"
    lines = settings.read_text(encoding="utf-8")
    older = re.sub(r"^transforms = \[[^\]]*\]\n", "", lines, flags=re.MULTILINE)
    assert older != lines
    settings.write_text(older, encoding="utf-8")
    train_tiny(tmp_path / "run")
    assert Run.open(tmp_path / "run").about.transforms == cpu.measured().transforms
    assert checkpoint.list_checkpoints(tmp_path / "run/checkpoints")[-1][0] == 12


def stopped_after(steps: int, train_tiny: Train, out: Path, **settings: Any) -> None:
    """Ctrl-C during step `steps`."""
    import signal

    method = METHODS[settings.get("name", "pix2pix")]
    original = method.train_step

    def interrupting(self: Method, batch: Any, update: Any, step: int) -> Any:
        if step == steps - 1:
            signal.raise_signal(signal.SIGINT)
        return original(self, batch, update, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(method, "train_step", interrupting)
        with pytest.raises(Interrupted, match=f"checkpoint of step {steps}"):
            train_tiny(out, **settings)


def test_the_seed_decides_everything(train_tiny: Train, tmp_path: Path, tiny_run: Path) -> None:
    train_tiny(tmp_path / "again")
    train_tiny(tmp_path / "other", seed=1)
    first, again, other = (last_state(path) for path in (tiny_run, tmp_path / "again", tmp_path / "other"))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


# ---- the contract: train_step never waits for the device


EVERY_BRANCH = [
    *((name, {}) for name in METHODS),
    ("pix2pix", {"adversarial": "hinge", "pixel": "l2", "norm": "instance"}),
    ("pix2pix", {"adversarial": "none", "generator": "resnet6"}),
    ("pix2pix", {"augment": True, "spectral_norm": True, "r1": 1.0, "statistics": "running"}),
    ("cyclegan", {"generator": "unet", "adversarial": "hinge", "augment": True, "pool_size": 0}),
    ("cyclegan", {"patch_output": "sigmoid", "lambda_identity": 0.0, "dropout": True}),
    ("cut", {"variant": "fastcut", "generator": "resnet6", "dropout": True}),
    ("cut", {"flip_equivariance": True, "norm": "affine-instance", "adversarial": "hinge"}),
    ("glcic", {"t_c": 1}),
    ("glcic", {"t_c": 0, "t_d": 1}),
    ("glcic", {"t_c": 0, "t_d": 0, "balance": True, "optimizer": "adam"}),
    ("cgan", {"condition": "embedding", "adversarial": "lsgan"}),
    ("cgan", {"condition": "projection", "adversarial": "hinge"}),
    ("cgan", {"conditional": False}),
]


def zeros(device: torch.device) -> dict[str, torch.Tensor]:
    """A batch with all that a method may ask for."""
    pictures = {name: torch.zeros(2, 3, 64, 64, device=device) for name in "xy"}
    masks = {name: torch.zeros(2, 1, 64, 64, device=device) for name in MASKS}
    return {**pictures, **masks, "label": torch.zeros(2, dtype=torch.long, device=device)}


CLASSES = ("a", "b", "c")


@pytest.mark.parametrize(("name", "own"), EVERY_BRANCH, ids=str)
def test_train_step_and_update_never_wait_for_the_device(
    monkeypatch: pytest.MonkeyPatch, name: str, own: dict[str, Any]
) -> None:
    """On the meta device there are no values: whatever asks for one raises."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no meta device
    from diptych.methods.settings import Shape
    from diptych.training.settings import Settings
    from diptych.training.updater import Updater

    method_class = METHODS[name]
    with torch.device("meta"):
        method = method_class(
            method_class.Settings(**{"width": 2, **own}), Shape(size=Size.square(64), classes=CLASSES)
        )
        batch = zeros(torch.device("meta"))
        updater = Updater(method, Settings(steps=10, clip=1.0, ema=0.9), torch.device("meta"))
        for optimizer in updater.optimizers.values():
            optimizer.step = lambda: None  # type: ignore[method-assign, assignment]  # has no meta kernel
        updater.begin(0)
        scalars = method.train_step(batch, updater, 0)
    assert all(value.device.type == "meta" for value in scalars.values())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU; the meta device stands in for it elsewhere")
@pytest.mark.parametrize(("name", "own"), EVERY_BRANCH, ids=str)
def test_a_step_on_a_gpu_does_not_synchronise(name: str, own: dict[str, Any]) -> None:
    from diptych.methods.settings import Shape
    from diptych.training.settings import Settings
    from diptych.training.updater import Updater

    device = torch.device("cuda")
    method_class = METHODS[name]
    shape = Shape(size=Size.square(64), classes=CLASSES)
    method = method_class(method_class.Settings(**{"width": 4, **own}), shape).to(device)
    batch = zeros(device)
    updater = Updater(method, Settings(steps=10), device)
    for step in range(4):
        torch.cuda.set_sync_debug_mode("error" if step else "default")
        updater.begin(step)
        method.train_step(batch, updater, step)
    torch.cuda.set_sync_debug_mode("default")


# ---- promise 6: no pickle


def test_no_pickle_crosses_a_boundary(tiny_run: Path) -> None:
    names = {path.suffix for path in tiny_run.rglob("*") if path.is_file()}
    assert not names & {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npy"}
    for file in SOURCE.rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        assert not {"pickle", "dill", "joblib", "shelve"} & imports(file), file
        pickles = {"torch.save", "pickle.load", "pickle.dump"} & {ast.unparse(call.func) for call in calls}
        assert not pickles or file.name == "pth.py", file  # for another program, which reads nothing else
        for call in calls:  # others' weights, and never as a pickle
            if ast.unparse(call.func) == "torch.load":
                assert file.name in ("inception.py", "lpips.py", "exports.py", "weights.py"), file
                assert "weights_only=True" in map(ast.unparse, call.keywords), file


def test_a_model_describes_itself(tiny_run: Path, tmp_path: Path) -> None:
    """The model folder alone, moved elsewhere, is enough."""
    shutil.copytree(tiny_run / "model", tmp_path / "shared")
    config = json.loads((tmp_path / "shared/config.json").read_text(encoding="utf-8"))
    assert (config["method"], config["direction"], config["shape"]["size"]) == ("pix2pix", "BtoA", 32)
    picture = np.zeros((20, 30, 3), np.uint8)
    assert np.array_equal(
        diptych.load(tmp_path / "shared", device="cpu")(picture), diptych.load(tiny_run, device="cpu")(picture)
    )


# ---- the house


def imports(file: Path) -> set[str]:
    found = set[str]()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_only_cli_knows_cyclopts() -> None:
    users = {file for file in SOURCE.rglob("*.py") if any(name.startswith("cyclopts") for name in imports(file))}
    assert {file.parent for file in users} == {SOURCE / "cli"}


def test_torchvision_is_nowhere() -> None:
    for file in SOURCE.rglob("*.py"):
        assert not any(name.startswith("torchvision") for name in imports(file)), file


def test_no_drawer_without_a_name() -> None:
    assert not [path for path in SOURCE.rglob("*") if path.stem in ("utils", "util", "common", "helpers", "misc")]


def test_public_names() -> None:
    """Also when the files of those names were imported before: `diptych.train` is the function."""
    import diptych.evaluate
    import diptych.train

    for name in diptych.__all__:
        assert callable(getattr(diptych, name)), name
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = diptych.trian


def code_blocks(page: Path, language: str) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)
    return [text for kind, text in blocks if kind == language]


def test_the_map_is_the_house() -> None:
    [block] = [text for text in code_blocks(ROOT / "docs/architecture.md", "") if text.startswith("src/diptych/")]
    drawn, folders = set[str](), [""]
    for line in block.splitlines()[1:]:
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 4
        folders[depth:] = [folders[depth - 1] + name]
        if not name.endswith("/"):
            drawn.add(folders[depth])
    there = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*")
        if path.suffix in (".py", ".html", ".toml") and path.name not in ("__init__.py", "__main__.py")
        if path.parent.name != "recipes"
    }
    assert drawn == there


# ---- the README's commands and the recipes


WITHOUT_COMMANDS = (
    "architecture",
    "choose",
    "data",
    "faq",
    "python",
    "reference",
    "reliability",
    "results",
    "settings",
)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *recipes().values()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_documented_command_is_understood(page: Path) -> None:
    """Each is read by the real command line, which knows every flag; what it would do is not done."""
    text = (
        "\n".join(code_blocks(page, "sh"))
        if page.suffix == ".md"
        else page.read_text(encoding="utf-8").replace("# ", "")
    )
    lines = [line.split("#")[0] for line in text.replace("\\\n", " ").splitlines() if line.startswith("diptych ")]
    cli.training.add_commands()
    for line in lines:
        arguments = shlex.split(line)[1:]
        if arguments[:2] == ["train", "--from-junyanz"]:
            continue  # only prints
        if arguments[:2] == ["train", "--continue"]:
            arguments.insert(1, "pix2pix")  # as its run says
        _, bound, _ = cli.app.parse_args(arguments, exit_on_error=False, print_error=False)
        recipe = bound.arguments.get("recipe")
        assert recipe is None or str(recipe) in recipes(), line
    assert lines or page.stem in WITHOUT_COMMANDS


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_is_whole(name: str) -> None:
    recipe = recipes()[name]
    text, method = recipe.read_text(encoding="utf-8"), method_of(recipe)
    settings = settings_from(method, {}, Path(name))
    with torch.device("meta"):
        METHODS[method](settings.method, settings.shape.model_copy(update={"classes": CLASSES}))
    head = text[: text.index("\n\n")]
    for word in ("diptych train", "time:", "score:"):
        assert word in head, f"the head of {name} says the command, the expected time and the expected score"


def test_a_model_opens_without_torch_s_compiler(
    train_tiny: Callable[..., Run], tiny_run: Path, two_way_run: Path, completion_run: Path, tmp_path: Path
) -> None:
    """Its import takes longer than all that a small translation does."""
    told = ("one-hot", "embedding", "projection")
    drawing = [train_tiny(tmp_path / way, "cgan", steps=1, method={"condition": way, "width": 8}).path for way in told]
    opened = (
        "import sys, diptych; [diptych.load(run) for run in sys.argv[1:]]; assert 'torch._dynamo' not in sys.modules"
    )
    runs = map(str, (tiny_run, two_way_run, completion_run, *drawing))
    subprocess.run([sys.executable, "-c", opened, *runs], check=True)


def test_the_wheel_holds_what_is_needed(tmp_path: Path) -> None:
    """Marker of types, the report's template and the catalogue travel with the package."""
    tracked = subprocess.run(
        ["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    for name in (
        "src/diptych/py.typed",
        "src/diptych/report/page.html",
        "src/diptych/report/charts.js",
        "src/diptych/prepare/datasets.toml",
        "src/diptych/recipes/cyclegan-monet.toml",
    ):
        assert (ROOT / name).exists()
        assert not tracked or name in tracked


def test_version_is_told_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == diptych.__version__


# ---- a slow truth


@pytest.mark.slow
def test_learning_really_happens(train_tiny: Train, tmp_path: Path) -> None:
    """A minute of training beats both ways to answer without a model, on houses never seen."""
    facades.write(tmp_path / "data", size=32, train=60, val=8)
    run = train_tiny(
        tmp_path / "run",
        data=tmp_path / "data",
        steps=600,
        checkpoint_every=600,
        sample_every=600,
        log_every=100,
        method={"width": 16, "patch": 16},
        lr=1e-3,
    )
    lines = {
        line["who"]: line["metrics"]["l1/8-bit/32px"]
        for line in diptych.evaluate(run.path, data=tmp_path / "data", names=["l1"], baselines=True, device="cpu")
    }
    assert lines["model"] < 0.9 * lines["mean training target"]  # the colour of a house is not in its labels
    assert lines["model"] < lines["target of the nearest training input"]
    log = run.read_log()
    assert log[-1]["losses"]["G_L1"] < 0.9 * log[0]["losses"]["G_L1"]


def test_real_facades_from_folder_to_picture(research_pictures: Path, train_tiny: Train, tmp_path: Path) -> None:
    run = train_tiny(tmp_path / "run", data=research_pictures / "facades", steps=2)
    found = tomllib.loads((run.path / "settings.toml").read_text(encoding="utf-8"))["run"]["found"]
    assert found == "400 side-by-side pairs, 512x256, A left"
    photo = next(iter(sorted((research_pictures / "photos").iterdir())))
    with Image.open(photo) as picture:
        size = picture.size
    out = diptych.load(run.path, device="cpu")(photo)
    assert out.size == size


def test_l1_of_the_door_is_l1_of_the_loop(train_tiny: Train, tmp_path: Path, tiny_pairs: Path) -> None:
    """What translate gives for the sample pictures is what the sample sheet showed."""
    run = train_tiny(tmp_path / "run", steps=6)
    with Image.open(run.path / "samples/step-00000006.png") as image:
        sheet = np.asarray(image)
    shown = sheet[:32, 34:66]
    labels = sheet[:32, :32]
    out = diptych.load(run.path, device="cpu")(labels)
    as_tensor = [torch.from_numpy(a.copy()).permute(2, 0, 1)[None] / 127.5 - 1 for a in (out, shown)]
    assert l1(*as_tensor).item() < 1 / 255
