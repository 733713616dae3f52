"""What the campaigns on processes ask of Diptych: tiny trainings of every method in its variants, and every other verb."""

import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from diptych.data.builtin import facades, shapes
from diptych.methods.settings import kebab

from .harness import Case
from .processes import Commands

TINY: dict[str, dict[str, Any]] = import_module("tests.conftest").TINY
"""The smallest networks of each method."""

RUN, OTHER_RUN = "run", "other"
EVERY = 4
"""Steps between two checkpoints."""
STEPS = 14
DATA = "data"
"""A link in the folder of every command, so that one command is the same at any place."""


@dataclass(frozen=True)
class Training:
    """A training into `run`, of 14 steps with previews at 5 and 10 and checkpoints at 4, 8, 12."""

    method: str
    pictures: str = "facades"
    flags: tuple[str, ...] = ()
    size: int = 32
    workers: int = 1

    @property
    def arguments(self) -> list[str]:
        """The command."""
        own = [f"--method.{kebab(name)}={value}" for name, value in TINY[self.method].items()]
        return [
            *("train", self.method, "--data", f"{DATA}/{self.pictures}", "--out", RUN, f"--size={self.size}"),
            *(f"--steps={STEPS}", f"--checkpoint-every={EVERY}", "--sample-every=5", "--log-every=1"),
            *("--device=cpu", f"--workers={self.workers}", *own, *self.flags),
        ]

    def use(self, out: str) -> list[str]:
        """A command that uses the model."""
        if self.method == "cgan":
            return ["sample", RUN, "--count=1", "--device=cpu", "--out", f"{out}.png"]
        mask = ["--mask", f"{DATA}/mask.png"] if self.method == "glcic" else []
        return ["translate", RUN, f"{DATA}/one.png", *mask, "--device=cpu", "--out", f"{out}.png"]


VALIDATED = ("--validate-every=3", "--ema=0.9")
TRAININGS = {
    "pix2pix": Training("pix2pix", flags=("--direction=BtoA",)),
    "pix2pix validated": Training("pix2pix", flags=("--direction=BtoA", *VALIDATED)),
    "pix2pix without threads": Training("pix2pix", flags=("--batch-size=2", "--memory-gib=0"), workers=0),
    "cyclegan": Training("cyclegan"),
    "cyclegan augmented": Training("cyclegan", flags=("--method.augment=true", "--validate-every=5")),
    "cut": Training("cut"),
    "fastcut": Training("cut", flags=("--method.variant=fastcut", "--ema=0.9")),
    "colorize": Training("colorize", "shapes"),
    "glcic": Training("glcic", "shapes", ("--method.hole-min=8", "--method.hole-max=12")),
    "glcic validated": Training(
        "glcic", "shapes", ("--method.hole-min=8", "--method.hole-max=12", "--method.optimizer=adam", *VALIDATED)
    ),
    "cgan": Training("cgan", "shapes", ("--batch-size=4",), size=16),
    "dcgan": Training("cgan", "shapes", ("--batch-size=2", "--method.conditional=false", "--ema=0.9"), size=16),
}


@dataclass(frozen=True)
class Verb:
    """Any other command: it reads `data` and the finished run `run`, and writes `out`."""

    arguments: tuple[str, ...]
    written: str = "out"
    again: tuple[str, ...] = ()
    """What goes on after a stop wants besides."""
    training: str = "pix2pix"
    """Which run it reads."""
    constants: dict[str, Any] = field(default_factory=dict)


CPU = ("--device=cpu",)
OUT = ("--out", "out")
VERBS = {
    "translate": Verb(("translate", RUN, f"{DATA}/photos", *CPU, *OUT), again=("--overwrite",)),
    "translate one": Verb(("translate", RUN, f"{DATA}/one.png", *CPU, "--out", "out.png"), "out.png", ("--overwrite",)),
    "sample": Verb(
        ("sample", RUN, "--count=3", "--seed=1", *CPU, "--out", "out/"), again=("--overwrite",), training="cgan"
    ),
    "evaluate": Verb(("evaluate", RUN, "--data", f"{DATA}/facades", "--metrics=l1,psnr", *CPU), RUN),
    "evaluate folders": Verb(
        ("evaluate", "--real", f"{DATA}/photos", "--fake", f"{DATA}/others", "--metrics=l1,psnr", *CPU, *OUT)
    ),
    "report": Verb(("report", RUN), RUN),
    "compare": Verb(("report", RUN, OTHER_RUN, *OUT)),
    "submit": Verb(
        ("submit", RUN, "--data", f"{DATA}/photos", *CPU, "--out", "out.zip"),
        "out.zip",
        constants={"diptych.submit.COUNT": [1, 100]},
    ),
    "inspect": Verb(("data", "inspect", f"{DATA}/photos", *OUT)),
    "resize": Verb(("data", "resize", f"{DATA}/photos", "--size=24", *OUT)),
    "blank": Verb(("data", "blank", f"{DATA}/photos", "--hole=random", *OUT)),
    "grayscale": Verb(("data", "grayscale", f"{DATA}/photos", *OUT)),
    "edges": Verb(("data", "edges", f"{DATA}/photos", *OUT)),
    "combine": Verb(("data", "combine", f"{DATA}/photos", f"{DATA}/others", *OUT)),
    "split": Verb(("data", "split", f"{DATA}/photos", "--val=0.3", *OUT)),
    "split by links": Verb(("data", "split", f"{DATA}/photos", "--val=0.3", "--by=link", *OUT)),
    "pack": Verb(("data", "pack", f"{DATA}/photos", "--size=16", "--val=0.3", "--out", "out/faces.npy")),
    "demo": Verb(("data", "demo", "shapes", "--size=16", "--train=12", "--val=4", *OUT)),
    "download": Verb(("data", "download", "edges2shoes", "--mirror", "file:///ARCHIVE", *OUT)),
}
RUNS = {verb.training for verb in VERBS.values()}


def prepare(shared: Path) -> None:
    """Writes the pictures."""
    data = shared / DATA
    facades.write(data / "facades", size=32, train=6, val=2)
    shapes.write(data / "shapes", size=32, train=10, val=5)
    for name, seed in (("photos", 0), ("others", 1)):
        (data / name).mkdir()
        for number in range(8):
            picture, labels = facades.draw_pair(number, size=32, seed=seed)
            picture.save(data / name / f"{number}.{'jpg' if number % 2 else 'png'}")
    picture.save(data / "one.png")
    labels.convert("L").point([0] * 128 + [255] * 128).save(data / "mask.png")
    with zipfile.ZipFile(data / "archive.zip", "w") as archive:
        for file in sorted((data / "photos").iterdir()):
            archive.write(file, f"photos/{file.name}")


def arguments_of(verb: Verb, shared: Path) -> list[str]:
    """The command, with the address of the archive."""
    return [one.replace("file:///ARCHIVE", (shared / DATA / "archive.zip").as_uri()) for one in verb.arguments]


# ---- what commands write that nothing disturbs, made once


def trained(case: Case, name: str) -> Path:
    """The folder in which this training has run to its end, undisturbed. Beside it lie `changes.txt` and `seconds.txt`."""

    def fill(folder: Path, commands: Commands) -> None:
        training = TRAININGS[name]
        begun = commands.start(training.arguments, folder, watched=RUN, changes=str(folder / "changes.txt"))
        ended = commands.wait(begun)
        if ended.status != 0 or not (folder / RUN / "model/model.safetensors").is_file():
            raise RuntimeError(f"{name}: {ended}")

    return _once(case, f"training {name}", fill)


def done(case: Case, name: str) -> Path:
    """The folder in which this verb has run to its end, undisturbed."""
    verb = VERBS[name]
    run = trained(case, verb.training)

    def fill(folder: Path, commands: Commands) -> None:
        copy_run(run, folder)
        process = commands.start(
            arguments_of(verb, case.shared),
            folder,
            constants=verb.constants,
            watched=verb.written,
            changes=str(folder / "changes.txt"),
        )
        ended = commands.wait(process)
        if ended.status != 0:
            raise RuntimeError(f"{name}: {ended}")

    return _once(case, f"verb {name}", fill)


def folder_for(case: Case, name: str = "work") -> Path:
    """An empty folder for the commands of a case, with the pictures in it."""
    folder = case.folder / name
    folder.mkdir(exist_ok=True)
    (folder / DATA).symlink_to(case.shared / DATA)
    return folder


def copy_run(trained_in: Path, folder: Path) -> None:
    """Puts two copies of a run where the verbs expect them."""
    for name in (RUN, OTHER_RUN):
        shutil.copytree(trained_in / RUN, folder / name)


def _once(case: Case, name: str, fill: Callable[[Path, Commands], None]) -> Path:
    name = name.replace(" ", "-")
    folder = case.shared / name
    if not folder.is_dir():
        beside = folder_for(case, f"beside-{name}")
        fill(beside, Commands(case))
        with suppress(OSError):  # another worker was faster
            beside.rename(folder)
    return folder
