"""`diptych train`: one command a method, its flags made from the settings' models."""

import inspect
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from cyclopts import Group, Parameter

from diptych.cli.frame import train_app

if TYPE_CHECKING:
    from pydantic import BaseModel

LONGEST = 200  # characters of a value that is read; tomllib fails on one nested thousands deep, or of 5,000 digits
RECIPE = "Settings by the name of a recipe (`diptych methods` lists them) or from a TOML file; flags come first."


def _read_value(_: Any, tokens: Sequence[Any]) -> Any:
    """A flag's value is read as a recipe's would be: 1.5 is a float, false is a boolean, anything else is text.

    Whether it suits the setting is for the settings' model to say, the same for flags, recipes and Python.
    """
    text = tokens[0].value
    if len(text) > LONGEST:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:  # no TOML, or a date of month 13
        return text


def _flags(
    model: "type[BaseModel]", prefix: str, group: Group, others: Mapping[str, Any] | None = None
) -> Iterator[inspect.Parameter]:
    """A flag for each setting; `others` are defaults that differ from the model's."""
    for name, field in model.model_fields.items():
        if name == "method":
            continue
        flag = Parameter(
            name=f"--{prefix}{name}".replace("_", "-"),
            help=field.description,
            group=group,
            n_tokens=1,
            converter=_read_value,
            metavar=_kind(field.annotation, field.metadata),
            show_default=_default((others or {}).get(name.replace("_", "-"), field.default)),
        )
        yield inspect.Parameter(
            f"{prefix}{name}".replace(".", "__"),
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[Any, flag],
        )


def _kind(annotation: Any, checks: Iterable[Any] = ()) -> str:
    """What a setting takes, for the help: INT, FLOAT, or its choices.

    `checks` are what pydantic checks besides; a validator that can be iterated over gives its choices.

    >>> _kind(float | None), _kind(Literal["batch", "none"]), _kind(bool)
    ('FLOAT', 'batch|none', 'true|false')
    """
    if get_origin(annotation) is Annotated:
        annotation, *checks = get_args(annotation)
        return _kind(annotation, checks)
    of_checks = (check.func for check in checks if isinstance(getattr(check, "func", None), Iterable))
    choices = get_args(annotation) if get_origin(annotation) is Literal else next(of_checks, ())
    if annotation is bool:
        choices = ("true", "false")
    if kinds := [kind for kind in get_args(annotation) if kind is not NoneType and not choices]:
        choices = map(_kind, kinds)
    return "|".join(map(str, choices)) or str(annotation.__name__).upper()


def _default(value: Any) -> Callable[[Any], str] | bool:
    if value is None:
        return False
    shown = str(value)
    return lambda _: shown.lower() if isinstance(value, bool) else shown


def _train_command(name: str) -> Callable[..., None]:
    def command(
        *,
        out: Annotated[Path, Parameter(help="The folder of the run.")],
        data: Annotated[Path | None, Parameter(help="The folder of pictures, or an array of them (npy).")] = None,
        data_a: Annotated[
            Path | None, Parameter(help="The folder of A, where A and B lie apart; with --data-b.")
        ] = None,
        data_b: Annotated[Path | None, Parameter(help="The folder of B.")] = None,
        recipe: Annotated[Path | None, Parameter(help=RECIPE, metavar="NAME|FILE")] = None,
        fresh: Annotated[bool, Parameter(help="Set an older run in --out aside and start anew.")] = False,
        dry_run: Annotated[bool, Parameter(help="Print the data found and every setting, and stop.")] = False,
        **flags: Any,
    ) -> None:
        from diptych.train import train

        given = {key: value for key, value in flags.items() if value is not None}
        own = {key.removeprefix("method__"): given.pop(key) for key in list(given) if key.startswith("method__")}
        given |= {"data": data, "data_a": data_a, "data_b": data_b}
        train(name, out=out, recipe=recipe, fresh=fresh, dry_run=dry_run, method=own, **given)

    return command


@cache
def add_commands() -> None:
    """Gives `diptych train` a command for each method. Called when needed: the settings' models import torch."""
    from diptych.methods import METHODS
    from diptych.training.settings import Settings

    for name, method in METHODS.items():
        command = _train_command(name)
        fixed = [p for p in inspect.signature(command).parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
        flags = [
            *_flags(Settings, "", Group("Settings", sort_key=1), method.Settings().defaults()),
            *_flags(method.Settings, "method.", Group(f"Settings of {name}", sort_key=2)),
        ]
        vars(command)["__signature__"] = inspect.Signature([*fixed, *flags])
        command.__doc__ = f"{method.summary.capitalize()} ({method.paper})."
        train_app.command(command, name=name)
