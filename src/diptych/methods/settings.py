"""What every method's settings have in common, and the shape that a method is built for."""

from pathlib import PurePath
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, field_validator


def kebab(name: str) -> str:
    """The spelling of a setting in flags, recipes and settings.toml.

    >>> kebab("lambda_l1")
    'lambda-l1'
    """
    return name.replace("_", "-")


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
    """A method's own settings; each paper's file extends it."""

    def defaults(self, uniform: Uniform | None = None) -> dict[str, Any]:
        """The settings of the run, by their flags' names, for which this paper has another default.

        `uniform` is what all pictures are like, where their format knows of one size and kind alone.
        """
        return {}

    def resolved(self, steps: int, size: int) -> Self:
        """The same settings with what depends on the length of the run and the size of its pictures worked out."""
        return self


class Shape(StrictModel):
    """What a method is built for: pictures of `size` x `size` at training, with so many channels in and out, in classes."""

    size: int
    x_channels: int = 3
    y_channels: int = 3
    classes: tuple[str, ...] = ()
    """What the classes are called; a label is a place among them."""

    @field_validator("classes")
    @classmethod
    def _are_names(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        """Pictures are kept in folders by these names, and a model may be anybody's."""
        if strange := [name for name in classes if name in ("", ".", "..") or PurePath(name).name != name]:
            raise ValueError(f"{strange[0]!r} is no name of a folder")
        return classes
