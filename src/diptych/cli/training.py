"""`diptych train`: one command a method, its flags made from the settings' models."""

import inspect
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from cyclopts import Group, Parameter

from diptych.cli.frame import importing, train_app
from diptych.cli.process import keep_freed_memory

Range = tuple[float, ...]  # as in diptych.images.spec, which imports torch

if TYPE_CHECKING:
    from pydantic import BaseModel

LONGEST = 200  # characters of a value that is read; tomllib fails on one nested thousands deep, or of 5,000 digits
SUFFIX = "How the file names of A end, such as `_A`, if Diptych does not detect it; for a prefix `'A_*'`."
HALVES = "Each picture is A beside its B, whatever its shape; without the flag only pictures twice as wide as tall are."
RECIPE = "Settings by the name of a recipe (`diptych methods` lists them) or from a TOML file; flags override them."

BOTH = "The same range for A and B: --range-a and --range-b in one."


def _read_value(_: Any, tokens: Sequence[Any]) -> Any:
    """A flag's value is read as a recipe's would be: 1.5 is a float, false is a boolean, anything else is text.

    Whether it suits the setting is for the settings' model to say, the same for flags, recipes and Python.
    """
    text = tokens[0].value
    if len(text) > LONGEST or text.startswith("0x"):  # TOML would read a size of 0x256 as a hexadecimal number
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:  # no TOML, or a date of month 13
        return text


def _read_values(_: Any, tokens: Sequence[Any]) -> list[Any]:
    """The values of a flag that takes two."""
    return [_read_value(_, [token]) for token in tokens]


RANGE = Parameter(n_tokens=2, converter=_read_values, allow_leading_hyphen=True, metavar="LOW HIGH", show_default=False)
"""How a range is read: a number below 0 is no flag."""


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
            metavar=values_of(field.annotation, field.metadata),
            show_default=field.default != () and _default((others or {}).get(name.replace("_", "-"), field.default)),
        )
        yield inspect.Parameter(
            f"{prefix}{name}".replace(".", "__"),
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[Any, flag, RANGE] if field.annotation == Range else Annotated[Any, flag],
        )


def values_of(annotation: Any, checks: Iterable[Any] = ()) -> str:
    """What a setting takes, for the help and the docs: INT, FLOAT, or its choices.

    `checks` are what pydantic checks besides; a validator that can be iterated over gives its choices.

    >>> values_of(float | None), values_of(Literal["batch", "none"]), values_of(bool)
    ('FLOAT', 'batch|none', 'true|false')
    """
    if get_origin(annotation) is Annotated:
        annotation, *checks = get_args(annotation)
        return values_of(annotation, checks)
    of_checks = (check.func for check in checks if isinstance(getattr(check, "func", None), Iterable))
    if get_origin(annotation) is tuple:
        return "LOW HIGH" if annotation == Range else "FILE"
    choices = get_args(annotation) if get_origin(annotation) is Literal else next(of_checks, ())
    if annotation is bool:
        choices = ("true", "false")
    if kinds := [kind for kind in get_args(annotation) if kind is not NoneType and not choices]:
        choices = map(values_of, kinds)
    return "|".join(map(str, choices)) or str(annotation.__name__).upper()


def _default(value: Any) -> Callable[[Any], str] | bool:
    if value is None:
        return False
    shown = str(value)
    return lambda _: shown.lower() if isinstance(value, bool) else shown


CONTINUE = (
    "The run to continue, with its own settings and pictures. With another --out, a new run branches off at its last "
    "checkpoint, and may have other settings and pictures."
)
PROCESSES = "How many processes train together, each on a part of every batch: a number, or auto for one per GPU."
INIT = "A run or model whose weights the new run begins with, as far as they fit."


def _train(
    name: str,
    *,
    out: Annotated[Path | None, Parameter(help="The folder of the run; with --continue, that of a new run.")] = None,
    continue_: Annotated[Path | None, Parameter(name="--continue", help=CONTINUE, metavar="RUN")] = None,
    data: Annotated[Path | None, Parameter(help="The folder of pictures, or an array of them (npy).")] = None,
    data_a: Annotated[
        Path | None, Parameter(help="The folder of A, if A and B are in two places; with --data-b.")
    ] = None,
    data_b: Annotated[Path | None, Parameter(help="The folder of B.")] = None,
    suffix_a: Annotated[str | None, Parameter(help=SUFFIX)] = None,
    suffix_b: Annotated[str | None, Parameter(help="The same for B, such as `_B`.")] = None,
    halves: Annotated[bool, Parameter(help=HALVES)] = False,
    range: Annotated[Any, Parameter(help=BOTH), RANGE] = None,
    recipe: Annotated[Path | None, Parameter(help=RECIPE, metavar="NAME|FILE")] = None,
    fresh: Annotated[bool, Parameter(help="Rename an older run in --out and start a new one.")] = False,
    init: Annotated[Path | None, Parameter(help=INIT, metavar="RUN|MODEL")] = None,
    init_optimizer: Annotated[
        bool, Parameter(help="With --init RUN: take over the state of its optimisers too.")
    ] = False,
    dry_run: Annotated[bool, Parameter(help="Print the data found and every setting, and stop.")] = False,
    processes: Annotated[str | None, Parameter(help=PROCESSES, metavar="N|auto")] = None,
    **flags: Any,
) -> int:
    """Trains the method `name`. The parameters are the flags that every method has; `flags` are settings."""
    with importing():
        from diptych import distributed
        from diptych.train import is_to_be_trained, to_continue, train
        from diptych.training.run import require_method_of

    keep_freed_memory(all_of_it=True)
    given = _settings({**flags, "range": range or None})
    where: dict[str, Any] = {"out": out, "data": data, "data_a": data_a, "data_b": data_b}
    where |= {"suffix_a": suffix_a, "suffix_b": suffix_b, "halves": halves}
    begin: dict[str, Any] = {"recipe": recipe, "fresh": fresh, "init": init, "init_optimizer": init_optimizer}
    with distributed.joined():
        with distributed.agreeing():
            count = distributed.count(processes)
            if continue_:
                if unfit := next((flag.replace("_", "-") for flag, value in begin.items() if value), None):
                    raise ValueError(f"--continue and --{unfit}: a run that goes on has begun; leave one of them out")
                require_method_of(continue_, name)
                _, where = to_continue(continue_, **where)
                begin = {}
            elif out is None:
                raise ValueError(f"train {name}: say where the run goes; add --out RUN")
        several = count > distributed.size()
        if several and is_to_be_trained(name, processes=count, **where, **begin, **given) and not dry_run:
            return distributed.launch(count, sys.argv[1:])
        train(name, dry_run=dry_run, **where, **begin, **given)
    return 0


def _command(name: str) -> Callable[..., int]:
    """The function of one method's command, which gets its signature and its docstring from `add_commands`."""

    def command(**flags: Any) -> int:
        return _train(name, **flags)

    return command


def _settings(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that were given, as `train` takes them: those of the method's own in a dict of theirs."""
    given = {key: value for key, value in flags.items() if value is not None}
    own = {key.removeprefix("method__"): given.pop(key) for key in list(given) if key.startswith("method__")}
    return {**given, "method": own}


def command_of_junyanz(arguments: Sequence[str]) -> list[str]:
    """The lines for `train --from-junyanz FILE [--data DIR]`: the command that the options in FILE mean, and notes."""
    from cyclopts import App

    from diptych.peers.train_opt import as_command, read_options

    lines = list[str]()
    app = App(name="train")

    @app.default
    def translated(*, from_junyanz: Path, data: str = "") -> None:
        command, notes = as_command(read_options(from_junyanz), data)
        lines.extend([command, *(f"# {note}" for note in notes)])

    app(arguments[1:], exit_on_error=False, print_error=False, result_action="return_value")
    return lines


def with_method(arguments: Sequence[str]) -> list[str]:
    """`train --continue RUN ...` with the method that the run says, which nobody needs to type.

    >>> with_method(["train", "pix2pix", "--data", "facades"])
    ['train', 'pix2pix', '--data', 'facades']
    """
    words = list(arguments)
    if len(words) < 2 or not words[1].startswith("--continue"):
        return words
    flag, _, value = words[1].partition("=")
    run = value or next(iter(words[2:]), "")
    if flag != "--continue" or not run:
        return words
    from diptych.training.run import Run

    return ["train", Run.open(Path(run)).method, *words[1:]]


@cache
def add_commands() -> None:
    """Gives `diptych train` a command for each method. Called when needed: the settings' models import torch."""
    with importing():
        from diptych.methods import METHODS
        from diptych.training.settings import Settings

    for name, method in METHODS.items():
        command = _command(name)
        fixed = [p for p in inspect.signature(_train).parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
        flags = [
            *_flags(Settings, "", Group("Settings", sort_key=1), method.Settings().defaults()),
            *_flags(method.Settings, "method.", Group(f"Settings of {name}", sort_key=2)),
        ]
        vars(command)["__signature__"] = inspect.Signature([*fixed, *flags])
        command.__doc__ = f"{method.summary.capitalize()} ({method.paper})."
        train_app.command(command, name=name)
