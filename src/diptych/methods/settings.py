"""What every method's settings have in common, and the shape that a method is built for."""

from collections.abc import Collection, Iterator
from pathlib import PurePath
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, field_validator

from diptych.losses import ADVERSARIAL
from diptych.networks import DISCRIMINATORS, GENERATORS


def kebab(name: str) -> str:
    """The spelling of a setting in flags, recipes and settings.toml.

    >>> kebab("lambda_l1")
    'lambda-l1'
    """
    return name.replace("_", "-")


class Choices:
    """A validator: a setting is one of the keys of a registry, read when it is asked, so that later entries count.

    >>> Choices({"unet": 1, "resnet9": 2}, "none")("resnet")
    Traceback (most recent call last):
    ValueError: Input should be 'unet', 'resnet9' or 'none'
    """

    def __init__(self, registry: Collection[Any], *others: Any) -> None:
        self.registry, self.others = registry, others

    def __iter__(self) -> Iterator[Any]:
        return iter([*self.registry, *self.others])

    def __call__(self, value: Any) -> Any:
        """The value itself, or a `ValueError` that lists what there is."""
        *first, last = map(repr, self)
        if value not in list(self):
            raise ValueError(f"Input should be {', '.join(first)} or {last}")
        return value


Adversarial = Annotated[str, AfterValidator(Choices(ADVERSARIAL))]
Generator = Annotated[str, AfterValidator(Choices(GENERATORS))]
Patch = Annotated[int, AfterValidator(Choices(DISCRIMINATORS))]


class StrictModel(BaseModel):
    """Frozen, named as on the command line, and refusing every key that it does not know."""

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
    """A method's own settings; each paper's file extends it.

    Each has a default other than None: settings.toml holds every value, and TOML has no None.
    """

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuses a setting whose default is None where it is defined, not after a run's folder is made."""
        if nameless := [name for name, field in cls.model_fields.items() if field.get_default() is None]:
            raise TypeError(
                f"{cls.__name__}.{nameless[0]}: the default is None, which settings.toml cannot hold; give a value, and "
                "work out in `resolved` what depends on the run"
            )

    def defaults(self, uniform: Uniform | None = None) -> dict[str, Any]:
        """The run's settings, by their flags' names, for which this method has other defaults.

        `uniform` is the size and channels of every image, where one file holds them all.
        """
        return {}

    def resolved(self, steps: int, size: int) -> Self:
        """The same settings with everything worked out that depends on the run's length and the image size."""
        return self


class Shape(StrictModel):
    """What a method is built for: training images of `size` x `size`, channels in and out, and classes."""

    size: int
    x_channels: int = 3
    y_channels: int = 3
    classes: tuple[str, ...] = ()
    """Names of the classes; a label is an index into them."""

    @field_validator("classes")
    @classmethod
    def _are_names(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        """Samples are written into folders of these names, and a model may come from anybody."""
        if unsafe := [name for name in classes if name in ("", ".", "..") or PurePath(name).name != name]:
            raise ValueError(f"{unsafe[0]!r} is no name of a folder")
        return classes
