"""argv -> one function call. Only this file knows cyclopts; what is heavy is imported inside the commands."""

import inspect
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from cyclopts import App, CycloptsError, Group, Parameter

from diptych import __version__

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

app = App(
    name="diptych",
    help="Adversarial image-to-image translation: from a folder of pictures to a trained model.",
    version=__version__,
    default_parameter=Parameter(negative=""),
    suppress_keyboard_interrupt=False,
)
train_app = App(name="train", help="Train a method on a folder of pictures; the same command again continues the run.")
app.command(train_app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command. A person's mistake is one line on stderr and exit status 2, never a traceback."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: Sequence[str]) -> int:
    """The exit status of a command: 0, 1 (some pictures were skipped), 2 (a mistake to mend), 130 (interrupted)."""
    try:
        if arguments and arguments[0] == "train":
            _add_train_commands()
        status = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except (CycloptsError, ValueError) as error:
        print(f"diptych: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201
        return 2
    except OSError as error:
        print(f"diptych: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt as stopped:
        print(f"diptych: {str(stopped) or 'interrupted'}", file=sys.stderr)  # noqa: T201
        return 130
    return status if isinstance(status, int) else 0


# ---- train: one command a method, its flags made from the settings' models


def _read_value(_: Any, tokens: Sequence[Any]) -> Any:
    """A flag's value is read as a recipe's would be: 1.5 is a float, false is a boolean, anything else is text.

    Whether it suits the setting is for the settings' model to say, the same for flags, recipes and Python.
    """
    text = tokens[0].value
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _flags(model: "type[BaseModel]", prefix: str, group: Group) -> Iterator[inspect.Parameter]:
    for name, field in model.model_fields.items():
        if name == "method":
            continue
        flag = Parameter(
            name=f"--{prefix}{name}".replace("_", "-"),
            help=field.description,
            group=group,
            n_tokens=1,
            converter=_read_value,
            metavar=_kind(field.annotation),
            show_default=_default(field),
        )
        yield inspect.Parameter(
            f"{prefix}{name}".replace(".", "__"),
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[Any, flag],
        )


def _kind(annotation: Any) -> str:
    """What a setting takes, for the help: INT, FLOAT, or its choices."""
    if get_origin(annotation) is Literal:
        return "|".join(str(choice) for choice in get_args(annotation))
    if annotation is bool:
        return "true|false"
    kinds = [kind for kind in get_args(annotation) or (annotation,) if kind is not NoneType]
    return str(kinds[0].__name__).upper()


def _default(field: "FieldInfo") -> Callable[[Any], str] | bool:
    if field.default is None:
        return False
    shown = str(field.default)
    return lambda _: shown.lower() if isinstance(field.default, bool) else shown


def _train_command(name: str) -> Callable[..., None]:
    def command(
        *,
        out: Annotated[Path, Parameter(help="The folder of the run.")],
        data: Annotated[Path | None, Parameter(help="The folder of pictures.")] = None,
        data_a: Annotated[
            Path | None, Parameter(help="The folder of A, where A and B lie apart; with --data-b.")
        ] = None,
        data_b: Annotated[Path | None, Parameter(help="The folder of B.")] = None,
        recipe: Annotated[Path | None, Parameter(help="Settings from a TOML file; flags come first.")] = None,
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
def _add_train_commands() -> None:
    """Gives `diptych train` a command for each method. Called when needed: the settings' models import torch."""
    from diptych.methods import METHODS
    from diptych.run import Settings

    for name, method in METHODS.items():
        command = _train_command(name)
        fixed = [p for p in inspect.signature(command).parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
        flags = [
            *_flags(Settings, "", Group("Settings", sort_key=1)),
            *_flags(method.Settings, "method.", Group(f"Settings of {name}", sort_key=2)),
        ]
        command.__signature__ = inspect.Signature([*fixed, *flags])  # type: ignore[attr-defined]
        command.__doc__ = f"{method.summary.capitalize()} ({method.paper})."
        train_app.command(command, name=name)


# ---- the other commands


@app.command
def methods() -> None:
    """List the methods, their papers and the data that each needs."""
    from rich.console import Console
    from rich.table import Table

    from diptych.methods import METHODS

    table = Table("method", "what it learns", "data", "paper", box=None)
    for name, method in METHODS.items():
        table.add_row(name, method.summary, method.needs, method.paper)
    Console().print(table)


@app.command
def translate(
    run: Path,
    *inputs: Path,
    out: Path,
    direction: Literal["AtoB", "BtoA"] | None = None,
    overwrite: bool = False,
    stochastic: bool = False,
    seed: int = 0,
    working_size: int | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
) -> int:
    """Translate pictures of any size: a file to a file, a folder to a folder.

    Parameters
    ----------
    run
        The folder of a run, also while it is still training, or a model folder.
    inputs
        Pictures, or folders of them.
    out
        The file or folder to write.
    direction
        Which way, for a model that knows both; without it, the way of its training.
    overwrite
        Write over older results. Inputs are never written over.
    stochastic
        Leave dropout on, the pix2pix paper's source of variety.
    seed
        Seed of --stochastic.
    working_size
        Shrink each picture so that its shorter side has this many pixels, translate, and scale back.
    device
        Where to run.
    precision
        bf16 or fp32.
    """
    from rich.console import Console

    import diptych
    from diptych.progress import counting

    if not inputs:
        raise ValueError("translate: no pictures given; diptych translate RUN INPUT... --out PATH")
    with counting(Console(stderr=True), "translating") as progress:
        problems = diptych.translate(
            run,
            inputs,
            out=out,
            direction=direction,
            overwrite=overwrite,
            stochastic=stochastic,
            seed=seed,
            working_size=working_size,
            device=device,
            precision=precision,
            progress=progress,
        )
    for problem in problems:
        print(f"diptych: skipped: {problem}", file=sys.stderr)  # noqa: T201
    return 1 if problems else 0


@app.command
def submit(
    run: Path,
    *,
    data: Path,
    out: Path,
    direction: Literal["AtoB", "BtoA"] | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
) -> None:
    """Translate photographs into a submission for Kaggle's "I'm Something of a Painter Myself".

    The zip file is read back and checked before it is called ready. The same command goes on where it was interrupted.

    Parameters
    ----------
    run
        The folder of a run, or a model folder.
    data
        The photographs: a folder of 7,000 to 10,000 pictures, or of TFRecord files.
    out
        The zip file to write; Kaggle wants the name images.zip.
    direction
        Which way leads from photographs to paintings; without it, the way of the training.
    device
        Where to run.
    precision
        bf16 or fp32.
    """
    import diptych

    diptych.submit(run, data=data, out=out, direction=direction, device=device, precision=precision)


@app.command
def evaluate(
    run: Path,
    *,
    data: Path | None = None,
    data_a: Path | None = None,
    data_b: Path | None = None,
    metrics: str = "",
    baselines: bool = False,
    direction: Literal["AtoB", "BtoA"] | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
) -> None:
    """Measure a model on held-out pictures, and keep every result in the run.

    Parameters
    ----------
    run
        The folder of a run.
    data
        The folder of pictures; its val (or test) split is measured.
    data_a
        The folder of A, where A and B lie apart; with --data-b.
    data_b
        The folder of B.
    metrics
        Names, separated by commas; without it, all that the pictures allow. They compare with targets: l1, psnr, ssim.
    baselines
        Measure answers without a model too, such as the mean training target.
    direction
        Measure a model that translates both ways this way only.
    device
        Where to run.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    import diptych
    from diptych.progress import counting, say

    with counting(Console(stderr=True), "measuring") as progress:
        lines = diptych.evaluate(
            run,
            data=data,
            data_a=data_a,
            data_b=data_b,
            names=[name.strip() for name in metrics.split(",")] if metrics else None,
            baselines=baselines,
            direction=direction,
            device=device,
            progress=lambda who, done, total: progress(done, total),
        )
    console = Console()
    for way in dict.fromkeys(line["direction"] for line in lines):
        [model, *others] = [line for line in lines if line["direction"] == way]
        title = f"{run} at step {model['step']}, {way}, {model['count']} {model['split']} pictures"
        if not model["metrics"]:
            say(console, f"{title}: translated; no B belongs to an A here, so there is nothing to compare with")
            continue
        table = Table(
            Column(no_wrap=True),
            *(line["who"] for line in (model, *others)),
            box=None,
            title=escape(title),
            title_justify="left",
        )
        for name in model["metrics"]:
            table.add_row(name, *(f"{line['metrics'][name]:.4f}" for line in (model, *others)))
        console.print(table)


@app.command
def report(run: Path) -> None:
    """Draw the page of a run: curves, samples, results, numbers. It opens from disk and needs no network.

    Parameters
    ----------
    run
        The folder of a run.
    """
    import diptych

    print(diptych.report(run))  # noqa: T201


@app.command
def quickstart(*, out: Path = Path("quickstart")) -> None:
    """Train pix2pix on the built-in facades and draw the report: minutes on two cores.

    Parameters
    ----------
    out
        The folder for the pictures and the run.
    """
    from diptych.quickstart import quickstart

    quickstart(out)
