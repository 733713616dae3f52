"""The base class of all methods' settings, and the shape of a method's inputs and outputs."""

import os
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from pathlib import PurePath
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    field_validator,
    model_validator,
)

from diptych.images.labels import Labels, require_labels
from diptych.images.size import Size
from diptych.images.spec import Bits, ImageSpec, Kind
from diptych.images.spec import Range as FileRange
from diptych.kinds import Sides
from diptych.losses import ADVERSARIAL
from diptych.networks import DISCRIMINATORS, GENERATORS
from diptych.networks.layers import ImageNetwork
from diptych.wording import printable, shown


def kebab(name: str) -> str:
    """The spelling of a setting in flags, recipes and settings.toml.

    >>> kebab("lambda_l1")
    'lambda-l1'
    """
    return name.replace("_", "-")


class Choices:
    """A validator for a setting that is a key of a registry, including keys that are registered later.

    >>> Choices({"unet": 1, "resnet9": 2}, "none")("resnet")
    Traceback (most recent call last):
    ValueError: Input should be 'unet', 'resnet9' or 'none'
    """

    def __init__(self, registry: Collection[Any], *extra: Any) -> None:
        self.registry, self.extra = registry, extra

    def __iter__(self) -> Iterator[Any]:
        return iter([*self.registry, *self.extra])

    def __call__(self, value: Any) -> Any:
        """The value, or a `ValueError` with all choices."""
        *first, last = map(repr, self)
        if value not in list(self):
            raise ValueError(f"Input should be {', '.join(first)} or {last}")
        return value


Adversarial = Annotated[str, AfterValidator(Choices(ADVERSARIAL))]
Generator = Annotated[str, AfterValidator(Choices(GENERATORS))]
Patch = Annotated[int, AfterValidator(Choices(DISCRIMINATORS))]


# Every number has a bound: far above what anybody trains with, and low enough that a slip of the keyboard or a hostile file
# is refused by the setting's name, and neither overflows in a product of torch's nor makes a run without end.
MOST_STEPS = 10**9
MOST_WIDTH = 2**14
MOST_CLASSES = 2**16
MOST_NUMBER = 1e30  # in a file
MOST_BYTES_IN_A_NAME = 255  # of a file, on all common file systems

Count = Annotated[int, Field(ge=0, le=10**6)]
"""Of pictures, patches or looks."""
ImageSize = Annotated[Size, PlainValidator(Size.parse), PlainSerializer(lambda size: size.plain)]
"""One number or "512x256" (width x height) in settings.toml and config.json, as on the command line."""
Channels = Annotated[int, Field(ge=1, le=2**12)]
"""Of a picture."""
Range = Annotated[FileRange, BeforeValidator(lambda value: require_range(value))]
"""LOW and HIGH: the numbers in files that are -1 and 1 for a network; empty where levels of 8 or 16 bits are."""
LabelLines = Annotated[tuple[str, ...], BeforeValidator(require_labels)]
"""Labels as their file has them, a line each."""
Width = Annotated[int, Field(ge=1, le=MOST_WIDTH)]
"""Channels of a layer, or numbers in a vector."""
Steps = Annotated[int, Field(ge=0, le=MOST_STEPS)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
"""Of a term of a loss."""


class StrictModel(BaseModel):
    """A frozen model with the key names of the command line; unknown keys are errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=kebab,
        populate_by_name=True,
        serialize_by_alias=True,
        allow_inf_nan=False,
    )


Uniform = tuple[int, int, int]
"""Height, width and channels."""


class MethodSettings(StrictModel):
    """The settings of one method; each method's file has a subclass.

    Every setting has a default other than None: settings.toml stores all values, and TOML has no None.
    """

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Raises a `TypeError` for a default of None at class definition, not after a run's folder is created."""
        if invalid := [name for name, field in cls.model_fields.items() if field.get_default() is None]:
            raise TypeError(
                f"{cls.__name__}.{invalid[0]}: the default is None, which settings.toml cannot hold; give a value, and "
                "work out in `resolved` what depends on the run"
            )

    def defaults(self, uniform: Uniform | None = None) -> dict[str, Any]:
        """Defaults of this method for settings of the run, by flag name.

        `uniform` is the size and channels of all images, if the whole dataset is one file.
        """
        return {}

    def resolved(self, steps: int, size: Size) -> Self:
        """The same settings, with values that depend on the run's length and the image size filled in."""
        return self


def require_range(value: Any) -> FileRange:
    """LOW and HIGH as floats, or nothing; a `ValueError` for anything else."""
    is_pair = isinstance(value, list | tuple) and len(value) in (0, 2) and all(type(n) in (int, float) for n in value)
    numbers = tuple(map(float, value)) if is_pair else ()
    if not is_pair or (numbers and not -MOST_NUMBER <= numbers[0] < numbers[1] <= MOST_NUMBER):
        raise ValueError(f"two numbers, LOW and a higher HIGH, at most {MOST_NUMBER:g} either way, are expected")
    return numbers


class Shape(StrictModel):
    """The size of training images, what input and output are, and classes."""

    size: ImageSize
    x_channels: Channels = 3
    y_channels: Channels = 3
    x_range: Range = ()
    y_range: Range = ()
    x_kind: Kind = "image"
    y_kind: Kind = "image"
    labels: LabelLines = ()
    """Of the sides whose kind is "labels"."""
    classes: tuple[str, ...] = Field((), max_length=MOST_CLASSES)
    """Names of the classes; a label is an index into them."""

    @field_validator("classes")
    @classmethod
    def _are_names(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        return require_classes(classes)

    @model_validator(mode="after")
    def _has_a_channel_for_each_label(self) -> Self:
        for spec, channels in ((self.x_spec, self.x_channels), (self.y_spec, self.y_channels)):
            if spec.channels != channels:
                raise ValueError(f"labels: {spec.channels} are given, and the networks have {channels} channels")
        return self

    @property
    def x_spec(self) -> ImageSpec:
        """What the input is."""
        return spec_of(self.x_channels, self.x_range, self.x_kind, self.labels)

    @property
    def y_spec(self) -> ImageSpec:
        """What the output is."""
        return spec_of(self.y_channels, self.y_range, self.y_kind, self.labels)


def spec_of(channels: int, within: FileRange, kind: Kind, labels: Sequence[str], bits: Bits = 8) -> ImageSpec:
    """How a side is read; with labels it has a channel for each class."""
    if kind == "labels" and labels:
        parsed = Labels.parse(labels)
        return ImageSpec(len(parsed.names), kind=kind, labels=parsed)
    return ImageSpec(channels, bits, kind, within)


def require_classes(names: Sequence[str]) -> tuple[str, ...]:
    """The names of classes; a `ValueError` for unsafe ones, which may come from an untrusted model or run.

    Samples are written into folders of these names.

    >>> require_classes(["Mu\\u0308ller"]) == ("M\\u00fcller",)  # as on a Mac's disk
    True
    """
    if not isinstance(names, list | tuple):
        raise ValueError(f"classes: a list of names is expected, found {shown(names)}")
    if unsafe := [name for name in names if not isinstance(name, str) or not _is_name(name)]:
        raise ValueError(f"class {shown(unsafe[0])} is no name of a folder")
    return tuple(unicodedata.normalize("NFC", name) for name in names)  # as datasets name them


def require_sides(names: Sequence[str]) -> Sides:
    """The names of A and B; a `ValueError` for what may not be, which may come from an untrusted model or run.

    >>> require_sides(["paintings", "photos"])
    ('paintings', 'photos')
    """
    match names:
        case [str(a), str(b)] if a != b and all(_is_name(name) and name == printable(name) for name in names):
            return a, b
    raise ValueError("sides: the name of A and that of B are expected")


def _is_name(name: str) -> bool:
    """Whether a folder can have this name, and lies where it is made."""
    try:
        size = len(os.fsencode(name))
    except UnicodeEncodeError:
        return False
    is_plain = name not in ("", ".", "..") and PurePath(name).name == name and "\0" not in name
    return is_plain and size <= MOST_BYTES_IN_A_NAME


def build_generator(settings: MethodSettings, in_channels: int, out_channels: int, size: Size) -> ImageNetwork:
    """The generator that the settings name, built with the settings that every generator has."""
    values = settings.model_dump(include={"generator", "width", "norm", "upsampling", "dropout", "statistics"})
    return GENERATORS[values.pop("generator")].build(in_channels, out_channels, size=size, **values)
