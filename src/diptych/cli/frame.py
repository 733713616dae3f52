"""The command line's frame: the app, its groups, and how a function becomes a command. Only this folder knows cyclopts."""

import ast
import gc
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from cyclopts import App, Parameter

from diptych import __version__
from diptych.cli.commands import COMMANDS, WORKERS, Command

HIDDEN = ("console", "progress", "strip_progress", "ask")
"""Parameters for Python alone."""

app = App(
    name="diptych",
    help="Adversarial image-to-image translation: from a folder of pictures to a trained model.",
    version=__version__,
    default_parameter=Parameter(negative=""),
    suppress_keyboard_interrupt=False,
)
train_app = App(name="train", help="Train a method on a folder of pictures; the same command again continues the run.")
data_app = App(name="data", help="Look at, resize, combine, split, download pictures. Inputs are never changed.")
app.command(train_app)
app.command(data_app)
for words, entry in COMMANDS.items():
    group, _, name = words.rpartition(" ")
    # cyclopts imports a command by such a path when it is typed, and asks `__getattr__` for it.
    (app[group] if group else app).command(f"{__name__}:{words}", name=name, help=entry.help)


def __getattr__(words: str) -> Callable[..., Any]:
    """The command of these words, such as "data resize"."""
    if words not in COMMANDS:
        raise AttributeError(f"module {__name__!r} has no attribute {words!r}")
    return as_command(words, COMMANDS[words])


def as_command(words: str, command: Command) -> Callable[..., int | None]:
    """The function of a command with a signature that cyclopts can read, and the docstring that documents its flags."""
    file, _, function_name = command.function.partition(":")
    header = _Names(file)[function_name]
    parameters = [one for one in inspect.signature(header).parameters.values() if one.name not in HIDDEN]
    signature = inspect.Signature([_as_flag(one, command.flags.get(one.name)) for one in parameters])

    def called(*arguments: Any, **flags: Any) -> int | None:
        given = signature.bind(*arguments, **flags).arguments
        if "inputs" in signature.parameters and "inputs" not in given:
            before = " RUN" if "run" in given else ""
            raise ValueError(f"{words}: no pictures given; diptych {words}{before} INPUT... --out PATH")
        with importing():
            verb = getattr(import_module(file), function_name)
        return command.call(verb, given)

    called.__doc__ = header.__doc__
    vars(called)["__signature__"] = signature
    return called


@contextmanager
def importing() -> Iterator[None]:
    """Inside, Python looks for no garbage: an import of torch makes none, and looking takes a seventh of its time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class _Names(dict[str, Any]):
    """The names of a file of Diptych, from its source: help need not wait for torch, which the file imports.

    A function is there without its body; a type, such as `Device`, is followed to the file that it comes from.
    """

    def __init__(self, file: str) -> None:
        spec = find_spec(file)
        assert spec is not None
        assert spec.origin is not None
        self.body = ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body

    def __missing__(self, name: str) -> Any:
        for node in self.body:
            if isinstance(node, ast.ImportFrom) and node.module and any(name == alias.name for alias in node.names):
                ours = node.module.startswith("diptych.")
                return _Names(node.module)[name] if ours else getattr(import_module(node.module), name)
            if isinstance(node, ast.FunctionDef) and node.name == name:
                node.body, node.returns = node.body[:1], None  # leaves the docstring
                for argument in node.args.kwonlyargs:
                    if argument.arg in HIDDEN:
                        argument.annotation = None
            elif not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name):
                continue
            exec(compile(ast.Module([node], []), "", "exec"), {}, self)
            return self[name]
        raise KeyError(name)  # a name of Python itself


def _as_flag(parameter: inspect.Parameter, override: Any) -> inspect.Parameter:
    """A parameter as it is typed: one of the types that Python takes, and several inputs one after the other."""
    kinds = get_args(override or parameter.annotation)
    if any(get_origin(kind) is Iterable for kind in kinds) and not override:
        return parameter.replace(annotation=Path, kind=inspect.Parameter.VAR_POSITIONAL)
    optional, annotation = NoneType in kinds, override or parameter.annotation
    if parameter.name == "workers" and not override:
        annotation = WORKERS
    elif not override and (kind := next((kind for kind in (Path, str) if kind in kinds), None)):
        annotation = kind | None if optional else kind
    default = None if optional and parameter.default is parameter.empty else parameter.default
    return parameter.replace(annotation=annotation, default=default)
