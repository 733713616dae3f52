"""What a line of log.jsonl, metrics.jsonl and results.jsonl must have to be used: a run folder may come from anybody.

Only what is read is asked for, so that lines of other versions of Diptych, which have more, are sound too.
"""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, ValidationError

from diptych.kinds import Direction

Text = InstanceOf[str]
"""A name of a file may be invalid Unicode, which pydantic's own str refuses."""
Count = Annotated[int, Field(ge=0, lt=2**53)]
"""That a browser can count to as well."""
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Numbers = dict[Text, float]


class Line(BaseModel):
    """An object of JSON, whatever is in it."""

    model_config = ConfigDict(strict=True)

    @classmethod
    def accepts(cls, value: object) -> bool:
        """Whether `value`, as it was read from JSON, has what such a line must have.

        >>> Line.accepts({"a": 1}), Line.accepts([1])
        (True, False)
        >>> Result.accepts({"name": "one", "metrics": {"l1": 0.5}, "panels": ["output"]})
        True
        >>> Result.accepts({"name": "one", "metrics": {"l1": "0.5"}, "panels": ["output"]})
        False
        """
        try:
            cls.model_validate(value)
        except ValidationError:
            return False
        return True


class Finding(Line):
    """What the doctor found."""

    finding: Text
    of: Text
    saw: Text
    remedy: Text = Field(alias="try")


class LogEntry(Line):
    """A line of log.jsonl. The first versions had no gradients, no validation and no doctor."""

    step: Count
    seconds: Amount
    lr: float
    losses: Numbers
    gradients: Numbers = {}
    validation: Numbers = {}
    doctor: list[Finding] = []


class Scores(Line):
    """A line of metrics.jsonl in a run: the scores of one system. The first versions had no direction."""

    time: Text
    command: Text
    data: Text
    split: Text
    direction: Direction = "AtoB"
    who: Text
    step: Count
    count: Count
    metrics: Numbers
    errors: Numbers = Field({}, alias="standard-error")
    not_measured: dict[Text, Text] = Field({}, alias="not-measured")


class Result(Line):
    """A line of results.jsonl: the pictures of one result, PANEL/NAME.png, and its metrics."""

    name: Text
    panels: list[Text]
    metrics: Numbers


class About(Line):
    """The table `run` of settings.toml."""

    command: Text = ""
    found: Text = ""
    names: Text
    classes: list[Text] = []
    versions: dict[Text, Text] = {}
    begun_from: dict[Text, Any] = Field({}, alias="begun-from")
    """The run or model whose weights it began with: path, step and SHA-256."""
    suffix_a: Text = Field("", alias="suffix-a")
    suffix_b: Text = Field("", alias="suffix-b")
    halves: bool = False
    precision: Literal["fp32", "bf16"] | None = None
    """What the run computes in; None in the runs of older versions."""
    transforms: list[Text] | None = None
    """Whose convolutions go through a transform on CPUs, such as "fp32 3x3"; None in older runs, and those of GPUs alone."""


def files_of(result: Mapping[str, Any]) -> list[PurePath]:
    """The files of a line of results.jsonl, below its folder: the panels, and a thumbnail of all of them.

    >>> [path.as_posix() for path in files_of({"name": "one", "metrics": {}, "panels": ["input", "output"]})]
    ['input/one.png', 'output/one.png', 'thumbnails/one.jpg']
    """
    name = result["name"]
    return [*(PurePath(panel, f"{name}.png") for panel in result["panels"]), PurePath("thumbnails", f"{name}.jpg")]
