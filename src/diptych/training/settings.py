"""The settings of a run: flags, recipes and defaults, merged and validated, with one line per error."""

import difflib
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, Field, SerializeAsAny, ValidationError, model_validator

from diptych import recipes
from diptych.data.loaders import Fit
from diptych.devices import Device, Precision
from diptych.files import read_text
from diptych.images.size import Size
from diptych.images.spec import Bits, ImageSpec, Kind
from diptych.kinds import Direction
from diptych.methods import METHODS
from diptych.methods.settings import (
    MOST_STEPS,
    Channels,
    Count,
    ImageSize,
    LabelLines,
    MethodSettings,
    Range,
    Shape,
    Steps,
    StrictModel,
    Uniform,
    Weight,
    kebab,
    spec_of,
)
from diptych.networks.layers import InitType
from diptych.wording import brief, shown

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MOST_BYTES = 2**22  # of settings.toml, which names the pictures that are left out: 100,000 of them
MOST_DOTS = 100  # in a line: the time that tomllib takes grows with the square of the parts of a dotted key
PROBLEMS, LINE = 3, 160  # how many of them, and about how many characters, are read before the first one is mended


class Settings(StrictModel):
    """All settings of a training run, except those of its method, which are in the method's file."""

    size: ImageSize = Field(
        Size.square(256), description="Size of the pictures at training, in pixels: 256, or 512x256 (width x height)."
    )
    steps: Steps = Field(0, description="Length of the run in steps; 0 leaves it to --epochs.")
    epochs: float = Field(
        200.0, ge=0, le=MOST_STEPS, description="Length of the run in passes over the data (pix2pix, section 6.2)."
    )
    batch_size: int = Field(
        1, ge=1, le=2**16, description="Samples a step (pix2pix, section 6.2: 1 to 10, 1 for facades)."
    )
    direction: Direction = Field(
        "AtoB",
        description="What is learnt: from A to B, or from B to A. A method that learns both ways calls this one x to y.",
    )
    lr: float = Field(2e-4, gt=0, le=1e6, description="Learning rate (pix2pix, section 3.3).")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam's momentum (pix2pix, section 3.3).")
    decay_start: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the run after which the learning rate falls, by default linearly to 0 (CycleGAN, "
        "section 4: 100 epochs + 100 epochs); 1 keeps it constant.",
    )
    lr_policy: Literal["linear", "cosine", "step", "constant"] = Field(
        "linear",
        description="How the learning rate falls after --decay-start: linearly to 0, as half a cosine to 0, to a tenth "
        "at once and again after each further stretch of that length (step), or not at all.",
    )
    init_type: InitType = Field(
        "normal",
        description="Initial weights of the convolutions: N(0, 0.02) as in the papers, or by Glorot, He or orthogonal.",
    )
    load_scale: float = Field(
        286 / 256,
        ge=1,
        le=16,
        description="Pictures are resized to size x this, then cropped at random (pix2pix, section 6.2).",
    )
    fit: Fit = Field(
        "stretch",
        description="How a picture gets the shape of --size: stretched (the papers' code), its middle cut out (crop), "
        "scaled by its width and then cut at random (scale-width), or cut at random as it is (none).",
    )
    flip: bool = Field(True, description="Mirror half of the samples (pix2pix, section 6.2).")
    channels_a: Channels = Field(3, description="Channels of A: 3 for RGB, 1 for grey, or as many as its files have.")
    channels_b: Channels = Field(3, description="Channels of B: 3 for RGB, 1 for grey, or as many as its files have.")
    bits_a: Bits = Field(8, description="Bits a channel of A in training; 16 keeps those of 16-bit files.")
    bits_b: Bits = Field(8, description="Bits a channel of B in training; 16 keeps those of 16-bit files.")
    range_a: Range = Field(
        (),
        description="The numbers in the files of A, of any type, that the network sees as black and white: 0 4095 for "
        "12 bits in 16, -1000 3000 for a CT.",
    )
    range_b: Range = Field((), description="The same for B; translations are written in it.")
    kind_a: Kind = Field(
        "image", description="What A is: label maps are never interpolated, and their colours never augmented."
    )
    kind_b: Kind = Field("image", description="What B is.")
    labels: LabelLines = Field(
        (),
        description="A file with one class per line, `name, R, G, B` or `name, INDEX`: label maps then get one plane per "
        "class.",
    )
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Decay of a moving average of the generator's weights, such as 0.999: the model is then the average; "
        "0, as in the papers, is off.",
    )
    freeze: str = Field(
        "",
        max_length=1000,
        description="Stages of the generators that are not trained and keep the weights of --init: encoder, or names "
        "separated by commas, such as down1,down2; empty is none.",
    )
    clip: Weight = Field(0.0, description="Largest norm of the gradient of the generators or discriminators; 0 is off.")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="Seed of everything random.")
    device: Device = Field(
        "auto", max_length=20, description="auto takes the fastest one there is; else cpu, cuda, cuda:1 or mps."
    )
    precision: Precision = Field(
        "auto", description="auto is bf16 where the device computes it natively and faster; else fp32."
    )
    workers: int = Field(2, ge=0, le=2**10, description="Threads that prepare pictures.")
    memory_gib: float = Field(
        4.0,
        ge=0,
        le=2**20,
        description="Decoded pictures are kept in memory when all of them fit in this many GiB.",
    )
    log_every: int = Field(20, ge=1, le=MOST_STEPS, description="Steps between lines of log.jsonl.")
    sample_every: Steps = Field(0, description="Steps between sample sheets; 0 is a twentieth of the run, 100 or more.")
    checkpoint_every: Steps = Field(
        0, description="Steps between checkpoints; 0 is a twentieth of the run, 100 to 5000."
    )
    validate_every: Steps = Field(
        0,
        description="Steps between measurements on the held-out pictures, which find the best model; 0 never measures.",
    )
    validate_by: str = Field(
        "",
        max_length=100,
        description="The metric that chooses the best model; empty is the method's own choice.",
    )
    patience: Count = Field(
        0,
        description="End the run after so many measurements without a better model; 0 never does.",
    )
    method: SerializeAsAny[MethodSettings] = MethodSettings()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.steps and not self.epochs:
            raise ValueError("--steps 0 and --epochs 0 leave nothing to do; give one of them")
        for flag, value in (("patience", self.patience), ("validate-by", self.validate_by)):
            if value and not self.validate_every:
                raise ValueError(f"--{flag} {value}: needs --validate-every, such as --validate-every 500")
        if self.labels and "labels" not in (self.kind_a, self.kind_b):
            raise ValueError("--labels: of which side? Add --kind-a labels or --kind-b labels")
        for side, kind, within in (("a", self.kind_a, self.range_a), ("b", self.kind_b, self.range_b)):
            if kind == "labels" and within:
                raise ValueError(f"--range-{side}: label maps have no range; leave it out, or --kind-{side} labels")
        return self

    @property
    def shape(self) -> Shape:
        """The shape that the method is built for, without the classes."""
        x, y = self.specs if self.direction == "AtoB" else self.specs[::-1]
        return Shape(
            size=self.size,
            x_channels=x.channels,
            y_channels=y.channels,
            x_range=x.range,
            y_range=y.range,
            x_kind=x.kind,
            y_kind=y.kind,
            labels=self.labels,
        )

    @property
    def specs(self) -> tuple[ImageSpec, ImageSpec]:
        """How A and B are read."""
        a = spec_of(self.channels_a, self.range_a, self.kind_a, self.labels, self.bits_a)
        return a, spec_of(self.channels_b, self.range_b, self.kind_b, self.labels, self.bits_b)

    @property
    def frozen_stages(self) -> list[str]:
        """The stages that do not learn."""
        return [name.strip() for name in self.freeze.split(",") if name.strip()]

    @property
    def load_size(self) -> Size:
        """Images are resized to this before the random crop: 286 for 256; to none of them where they stay as they are."""
        if self.fit == "none":
            return self.size
        return self.size.scaled(self.load_scale)

    def resolved(self, samples: int) -> Self:
        """The same settings, with the length of the run and its intervals computed for a number of samples."""
        steps = self.steps or math.ceil(self.epochs * samples / self.batch_size)
        if steps > MOST_STEPS:
            raise ValueError(
                f"--epochs {self.epochs:g}: are {steps} steps, and a run has {MOST_STEPS} at most; lower it, or give --steps"
            )
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


# Settings that may change when a run is resumed: those without influence on the training, and the length, so that a
# finished run can be extended.
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
    """Merges flags, recipe and defaults, in this order of precedence; one `ValueError` for all invalid keys and values.

    A method's defaults may depend on `uniform`, the size and channels of all images.
    """
    require_method(method)
    try:
        return _merged(method, flags, read_recipe(recipe, method) if recipe else {}, uniform)
    except ValueError as error:
        if recipe and not str(error).startswith("--recipe") and str(error) != _mistake(method, flags, uniform):
            raise ValueError(f"--recipe {recipe}: {error}") from error
        raise


def _merged(method: str, flags: Values, values: Values, uniform: Uniform | None) -> Settings:
    """The settings of flags and, where these say nothing, of the values of a recipe."""
    given, values = (_of_both_sides({kebab(key): value for key, value in one.items()}) for one in (flags, values))
    if "steps" in given or "epochs" in given:  # a flag overrides either form of the length in the recipe
        values = {key: value for key, value in values.items() if key not in ("steps", "epochs")}
    own = {kebab(key): value for key, value in dict(given.pop("method", {})).items()}
    values = {**values, **given}
    if values.get("steps") and values.get("epochs"):
        raise ValueError("--steps and --epochs say the same thing twice; give one of them")
    return parse_settings(method, values, {**values.get("method", {}), **own}, uniform)


def _of_both_sides(values: dict[str, Any]) -> dict[str, Any]:
    """The values, with a range that was given for A and B alike as that of each."""
    both = values.pop("range", ())
    return {**{f"range-{side}": both for side in "ab" if both}, **values}


def _mistake(method: str, flags: Values, uniform: Uniform | None) -> str:
    """What is wrong with the flags alone."""
    try:
        _merged(method, flags, {}, uniform)
    except ValueError as error:
        return str(error)
    return ""


def parse_settings(method: str, values: Values, own: Values, uniform: Uniform | None = None) -> Settings:
    """Validates the settings of `method`."""
    parsed = parse_method(method, own)
    try:
        settings = Settings.model_validate({**parsed.defaults(uniform), **values, "method": parsed})
    except ValidationError as error:
        raise ValueError(explain(error, Settings)) from error
    if not METHODS[method].data.has_sides and settings.direction != "AtoB":
        raise ValueError(
            f"--direction {settings.direction}: {method} learns from single pictures, with no A and B; leave it out"
        )
    return settings


def parse_method(method: str, own: Values, prefix: str = "--method.") -> MethodSettings:
    """Validates what is `method`'s own; `prefix` goes before the names of its settings in the message."""
    try:
        return METHODS[method].Settings.model_validate(dict(own))
    except ValidationError as error:
        raise ValueError(explain(error, METHODS[method].Settings, prefix)) from error


def require_method(method: str) -> None:
    """Raises a `ValueError` with all methods for an unknown one."""
    if method not in METHODS:
        near = difflib.get_close_matches(method[:100], METHODS, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"no method is called {shown(method)}; {meant}there are: {', '.join(METHODS)}")


def read_recipe(path: Path, method: str) -> dict[str, Any]:
    """The values of a recipe (TOML); a `ValueError` if it names another method."""
    path = recipes.find(path)
    try:
        values = {kebab(key): value for key, value in read_toml(path).items()}
    except ValueError as error:
        raise ValueError(f"--recipe {error}") from error
    if values.pop("run", None):  # the settings.toml of a run is a recipe too; it has the length in both forms
        values.pop("epochs", None)
    own = values.get("method", {})
    if not isinstance(own, dict):
        raise ValueError(f"--recipe {path}: method is a table ([method]), found {shown(own)}")
    own = {kebab(key): value for key, value in own.items()}
    name = own.pop("name", method)
    if name != method:
        raise ValueError(f"--recipe {path}: is for {shown(name)}, not for {method}")
    return {**values, "method": own}


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file: a recipe, or the settings.toml of a run. A `ValueError` names any other file."""
    text = read_text(path, MOST_BYTES)
    if any(line.count(".") > MOST_DOTS for line in text.splitlines()):
        raise ValueError(f"{path}: is not TOML of settings (a line has more than {MOST_DOTS} dots)")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"{path}: is not TOML of settings (it is nested too deep)") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: is not TOML ({brief(error)})") from error
    except ValueError as error:  # a number of 5,000 digits, a date of month 13
        raise ValueError(f"{path}: is not TOML of settings (a number or a date that cannot be)") from error


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "--") -> str:
    """A readable message for a validation error: the first invalid settings, their values and the expected ones.

    `prefix` goes before the names: "--" where they are flags. About 160 characters, unless the first problem takes more.

    >>> try:
    ...     Settings(sise=128)
    ... except ValidationError as error:
    ...     print(explain(error, Settings))
    --sise: there is no such setting; did you mean --size?
    """
    problems = error.errors(include_url=False, include_context=False)
    lines = [_explained(problem, model, prefix) for problem in problems[:PROBLEMS]]
    while len(lines) > 1 and sum(map(len, lines)) > LINE:
        lines.pop()
    more = len(problems) - len(lines)
    return "; ".join(lines) + (f"; and {more} more" if more else "")


def _explained(problem: "ErrorDetails", model: type[BaseModel], prefix: str) -> str:
    key = brief(".".join(kebab(str(part)) for part in problem["loc"]), 40)
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, map(kebab, model.model_fields), n=1)
        remedy = f"did you mean {prefix}{near[0]}?" if near else "`diptych train METHOD --help` lists all settings"
        return f"{prefix}{key}: there is no such setting; {remedy}"
    message = problem["msg"].removeprefix("Value error, ")
    if not key:
        return brief(message, LINE)
    message = brief(message)
    return f"{prefix}{key}: {message[:1].lower()}{message[1:]}, found {shown(problem['input'])}"
