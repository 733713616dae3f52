"""What a run is: its settings, the folder that explains itself, its log.

runs/facades/
├── settings.toml      every resolved setting, the command, the versions
├── log.jsonl          one line per logged step
├── tensorboard/       the same, for those who like it
├── samples/           the same few held-out pictures at every sampling step
├── checkpoints/       step-00012000/ whole training states, the newest few kept
├── model/             model.safetensors + config.json: what translate opens, and what can be shared
├── model-best/        the one that did best on the held-out pictures, where the training looked at them
├── results/           val/ the pictures that evaluate made, with their numbers
├── metrics.jsonl      what evaluate measured
└── index.html         what report draws
"""

import difflib
import hashlib
import json
import math
import platform
import shlex
import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import tomli_w
from pydantic import BaseModel, Field, SerializeAsAny, ValidationError, model_validator

from diptych import recipes
from diptych.data.datasets import Dataset
from diptych.data.layouts import DataPaths
from diptych.data.loaders import Fit
from diptych.devices import Device, Precision
from diptych.files import atomic_file, differences
from diptych.kinds import Direction
from diptych.methods import METHODS
from diptych.methods.settings import MethodSettings, Shape, StrictModel, Uniform, kebab


class Settings(StrictModel):
    """Everything that decides a training run, but the method's own settings, which stand in the method's file."""

    size: int = Field(256, ge=1, description="Height and width at training, in pixels.")
    steps: int = Field(0, ge=0, description="Length of the run in steps; 0 leaves it to --epochs.")
    epochs: float = Field(200.0, ge=0, description="Length of the run in passes over the data (pix2pix, section 6.2).")
    batch_size: int = Field(1, ge=1, description="Samples a step (pix2pix, section 6.2: 1 to 10, 1 for facades).")
    direction: Direction = Field(
        "AtoB",
        description="What is learnt: from A to B, or from B to A. A method that learns both ways calls this one x to y.",
    )
    lr: float = Field(2e-4, gt=0, description="Learning rate (pix2pix, section 3.3).")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's momentum (pix2pix, section 3.3).")
    decay_start: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the run after which the learning rate falls linearly to 0 (CycleGAN, "
        "section 4: 100 epochs + 100 epochs); 1 keeps it constant.",
    )
    load_scale: float = Field(
        286 / 256,
        ge=1,
        description="Pictures are resized to size x this, then cropped at random (pix2pix, section 6.2).",
    )
    fit: Fit = Field(
        "stretch",
        description="How a picture becomes square: stretched (the papers' code), or its middle cut out.",
    )
    flip: bool = Field(True, description="Mirror half of the samples (pix2pix, section 6.2).")
    channels_a: int = Field(3, description="Channels of A: 3 for RGB, 1 for grey.")
    channels_b: int = Field(3, description="Channels of B: 3 for RGB, 1 for grey.")
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Decay of the moving average of the generator's weights that is deployed, such as "
        "0.999; 0, the paper's way, is none.",
    )
    clip: float = Field(0.0, ge=0, description="Largest norm of a player's gradient; 0 does not clip.")
    seed: int = Field(0, ge=0, description="Seed of everything random.")
    device: Device = Field("auto", description="auto takes the fastest one there is.")
    precision: Precision = Field("auto", description="auto is bf16 on GPUs that have it, else fp32.")
    workers: int = Field(2, ge=0, description="Threads that prepare pictures.")
    memory_gib: float = Field(
        4.0,
        ge=0,
        description="Decoded pictures are kept in memory when all of them fit in this many GiB.",
    )
    log_every: int = Field(20, ge=1, description="Steps between lines of log.jsonl.")
    sample_every: int = Field(
        0, ge=0, description="Steps between sample sheets; 0 is a twentieth of the run, 100 or more."
    )
    checkpoint_every: int = Field(
        0, ge=0, description="Steps between checkpoints; 0 is a twentieth of the run, 100 to 5000."
    )
    validate_every: int = Field(
        0,
        ge=0,
        description="Steps between looks at the held-out pictures, after which the best model is kept; 0 never looks.",
    )
    validate_by: str = Field(
        "", description="The metric that tells which model is the best; empty is the method's own choice."
    )
    patience: int = Field(
        0,
        ge=0,
        description="Looks at the held-out pictures without a better model after which the run ends; 0 never does.",
    )
    method: SerializeAsAny[MethodSettings] = MethodSettings()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.steps and not self.epochs:
            raise ValueError("--steps 0 and --epochs 0 leave nothing to do; give one of them")
        for flag, value in (("patience", self.patience), ("validate-by", self.validate_by)):
            if value and not self.validate_every:
                raise ValueError(f"--{flag} {value}: needs --validate-every, such as --validate-every 500")
        for side, channels in (("a", self.channels_a), ("b", self.channels_b)):
            if channels not in (1, 3):
                raise ValueError(f"--channels-{side} {channels}: pictures are read as RGB (3) or grey (1)")
        return self

    @property
    def shape(self) -> Shape:
        """What the method is built for, but for the classes of the pictures."""
        a, b = self.channels_a, self.channels_b
        x, y = (a, b) if self.direction == "AtoB" else (b, a)
        return Shape(size=self.size, x_channels=x, y_channels=y)

    @property
    def load_size(self) -> int:
        """Pictures are resized to this before the crop: 286 for 256."""
        return round(self.size * self.load_scale)

    def resolved(self, samples: int) -> Self:
        """The same settings with the length of the run and its rhythm worked out for so many samples."""
        steps = self.steps or math.ceil(self.epochs * samples / self.batch_size)
        twentieth = max(100, steps // 20)
        return self.model_copy(
            update={
                "steps": steps,
                "epochs": steps * self.batch_size / samples,
                "sample_every": self.sample_every or twentieth,
                "checkpoint_every": self.checkpoint_every or min(twentieth, 5000),
                "method": self.method.resolved(steps, self.size),
            }
        )


# What may differ when a run goes on: where it runs and what it tells, never what it learns. `steps` may, so that a
# finished run can be made longer.
MAY_CHANGE = {
    "steps",
    "epochs",
    "device",
    "precision",
    "workers",
    "memory-gib",
    "log-every",
    "sample-every",
    "checkpoint-every",
    "validate-every",
    "validate-by",
    "patience",
}

Values = Mapping[str, Any]


def settings_from(method: str, flags: Values, recipe: Path | None = None, uniform: Uniform | None = None) -> Settings:
    """Flag, recipe, default, in this order; one `ValueError` names every key or value that is not right.

    `uniform` is what all pictures are like, on which a method's defaults may depend.
    """
    require_method(method)
    values = read_recipe(recipe, method) if recipe else {}
    given = {kebab(key): value for key, value in flags.items()}
    if "steps" in given or "epochs" in given:  # the flag says how long, whichever way the recipe said it
        values = {key: value for key, value in values.items() if key not in ("steps", "epochs")}
    own = {kebab(key): value for key, value in dict(given.pop("method", {})).items()}
    values |= given
    if values.get("steps") and values.get("epochs"):
        raise ValueError("--steps and --epochs say the same thing twice; give one of them")
    return parse_settings(method, values, {**values.get("method", {}), **own}, uniform)


def parse_settings(method: str, values: Values, own: Values, uniform: Uniform | None = None) -> Settings:
    """Settings of `method` from plain values."""
    try:
        parsed = METHODS[method].Settings.model_validate(dict(own))
    except ValidationError as error:
        raise ValueError(explain(error, METHODS[method].Settings, prefix="method.")) from error
    try:
        settings = Settings.model_validate({**parsed.defaults(uniform), **values, "method": parsed})
    except ValidationError as error:
        raise ValueError(explain(error, Settings)) from error
    if not METHODS[method].data.has_sides and settings.direction != "AtoB":
        raise ValueError(
            f"--direction {settings.direction}: {method} learns from single pictures, with no A and B; leave it out"
        )
    return settings


def require_method(method: str) -> None:
    """Raises a `ValueError` that names the methods there are."""
    if method not in METHODS:
        near = difflib.get_close_matches(method, METHODS, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"no method is called {method!r}; {meant}there are: {', '.join(METHODS)}")


def read_recipe(path: Path, method: str) -> dict[str, Any]:
    """The values of a recipe (TOML); its method, where it names one, must be the one asked for."""
    path = recipes.find(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"--recipe {path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"--recipe {path}: is not TOML ({error})") from error
    values = {kebab(key): value for key, value in values.items()}
    if values.pop("run", None):  # the settings.toml of a run is a recipe too; it tells its length both ways
        values.pop("epochs", None)
    own = values.get("method", {})
    if not isinstance(own, dict):
        raise ValueError(f"--recipe {path}: method is a table ([method]), found {own!r}")
    own = {kebab(key): value for key, value in own.items()}
    named = own.pop("name", method)
    if named != method:
        raise ValueError(f"--recipe {path}: is for {named}, not for {method}")
    return {**values, "method": own}


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "") -> str:
    """One line for people: each setting that is not right, what was found and what was expected.

    >>> try:
    ...     Settings(sise=128)
    ... except ValidationError as error:
    ...     print(explain(error, Settings))
    --sise: there is no such setting; did you mean --size?
    """
    lines = []
    known = [kebab(name) for name in model.model_fields]
    for problem in error.errors():
        key = ".".join(kebab(str(part)) for part in problem["loc"])
        said = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, known, n=1)
            remedy = f"did you mean --{prefix}{near[0]}?" if near else f"there are: {', '.join(known)}"
            lines.append(f"--{prefix}{key}: there is no such setting; {remedy}")
        elif key:
            lines.append(f"--{prefix}{key}: {said.lower()}, found {problem['input']!r}")
        else:
            lines.append(said)
    return "; ".join(lines)


# ---- the folder


class Run:
    """The folder of one training run, at `path`."""

    def __init__(
        self,
        path: Path,
        method: str,
        settings: Settings,
        place: DataPaths,
        classes: tuple[str, ...] = (),
        digest: str = "",
    ) -> None:
        self.path, self.method, self.settings, self.place = path, method, settings, place
        self.classes, self.digest = classes, digest

    @property
    def shape(self) -> Shape:
        """What its method is built for."""
        return self.settings.shape.model_copy(update={"classes": self.classes})

    @classmethod
    def open(cls, path: Path) -> "Run":
        """An existing run; a `ValueError` when there is none at `path`."""
        file = path / "settings.toml"
        if not file.is_file():
            raise ValueError(
                f"{path}: is not a run (it has no settings.toml); give the folder that `diptych train` wrote"
            )
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
            about, own = values.pop("run"), values.pop("method")
            method, digest, classes = own.pop("name"), about["names"], tuple(about.get("classes", ()))
            place = DataPaths.from_flags(about.get("data"), about.get("data-a"), about.get("data-b"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file}: is damaged ({error}); restore it or start anew with --fresh") from error
        require_method(method)
        return cls(path, method, parse_settings(method, values, own), place, classes, digest)

    def values(self) -> dict[str, Any]:
        """The settings as they stand in settings.toml, the method's own ones nested."""
        values = self.settings.model_dump(mode="json")
        values["method"] = {"name": self.method, **values["method"]}
        return values

    def write_settings(self, command: str, found: str, names: str, left_out: Sequence[str] = ()) -> None:
        """Writes settings.toml: every resolved setting, the command, the data, what was left out of it, the versions."""
        values = self.values()
        own = values.pop("method")
        about = {
            "command": command,
            **{flag: str(folder.absolute()) for flag, folder in self.place.flags.items()},
            "found": found,
            **({"classes": list(self.classes)} if self.classes else {}),
            "names": names,
            **({"left-out": list(left_out)} if left_out else {}),
            "versions": {name: version(name) for name in ("diptych", "torch")} | {"python": platform.python_version()},
        }
        self.path.mkdir(parents=True, exist_ok=True)
        with atomic_file(self.path / "settings.toml") as beside:
            text = tomli_w.dumps({**values, "method": own, "run": about})
            beside.write_text(text, encoding="utf-8", errors="replace")  # a folder's name need not be Unicode

    def require_same(self, other: "Run") -> None:
        """Raises a `ValueError` that names the first differences when `other` is not this run continued."""
        ours, theirs = _flat(self.values()), _flat(other.values())
        different = sorted({*differences(ours, theirs), *differences(theirs, ours)} - MAY_CHANGE)
        if different:
            first = [
                f"{key} {ours.get(key, 'unset')} there, {theirs.get(key, 'unset')} asked for" for key in different[:3]
            ]
            raise ValueError(
                f"{self.path}: holds another run ({'; '.join(first)}); choose another --out, repeat its settings to "
                f"continue it (--{different[0]} {ours.get(different[0])}), or add --fresh to set it aside and start anew"
            )

    # ---- log.jsonl

    def log(self, entry: Values) -> None:
        """Appends one line."""
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def read_log(self) -> list[dict[str, Any]]:
        """All whole lines of the log, oldest first."""
        return read_json_lines(self.path / "log.jsonl")

    def cut_log(self, step: int) -> None:
        """Forgets what was logged after `step`: those steps are done again."""
        kept = [entry for entry in self.read_log() if entry["step"] <= step]
        with atomic_file(self.path / "log.jsonl") as beside:
            beside.write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines; a last line cut off by a kill is passed over, a missing file is empty."""
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return entries


def command_line() -> str:
    """The command that is running, as one could type it again."""
    program, *arguments = sys.argv
    typed = "diptych" if Path(program).name in ("diptych", "diptych.exe", "__main__.py") else Path(program).name
    return shlex.join([typed, *arguments])


def names_digest(sources: Sequence[Dataset]) -> str:
    """A fingerprint of the samples by their names: are these the pictures of last time, wherever they lie now?"""
    names = "\n\n".join("\n".join(source.name(index) for index in range(len(source))) for source in sources)
    return hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()[:16]


def set_aside(path: Path) -> Path:
    """Renames a run so that a new one can take its place; nothing is deleted."""
    number = 1
    while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    return path.rename(aside)


def _flat(values: Values, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
