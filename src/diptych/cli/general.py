"""The commands about the program itself: methods, help, completion."""

import shlex
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

from diptych.cli import training
from diptych.cli.commands import stdout
from diptych.cli.frame import app


@app.command
def methods() -> None:
    """List the methods, their papers, the data that each needs, and the recipes that come with it."""
    from rich.console import Console
    from rich.table import Table

    from diptych.methods import METHODS
    from diptych.progress import say
    from diptych.recipes import method_of, recipes

    table = Table("method", "what it learns", "data", "paper", box=None)
    for name, method in METHODS.items():
        table.add_row(name, method.summary, method.data, method.paper)
    console = Console()
    console.print(table)
    console.print()
    say(console, "recipes, for --recipe:")
    for method_name in METHODS:
        names = [name for name, file in recipes().items() if method_of(file) == method_name]
        say(console, f"{method_name}: {', '.join(names)}")


@app.command(name="help")
def show_help(*command: str) -> None:
    """Show the help of a command, as COMMAND --help does.

    Args:
        command: The words of a command, such as data resize; without it, the list of all.
    """
    if command[:1] == ("train",):
        training.add_commands()
    app([*command, "--help"], exit_on_error=False, print_error=False, result_action="return_value")


def values_of_run(arguments: Sequence[str]) -> str:
    """What --to takes, for `translate RUN --help`; empty for another command, and where RUN has no A and B."""
    if arguments[:1] != ["translate"] or "--help" not in arguments or arguments[1] == "--help":
        return ""
    from diptych.model import load

    with suppress(ValueError):
        if makes := load(run := arguments[1], device="cpu").makes:
            return f"{run}: --to {' or --to '.join(map(shlex.quote, makes))}"
    return ""


@app.command(name="--install-completion")
def install_completion(*, shell: Literal["bash", "zsh", "fish", "powershell"] | None = None) -> None:
    """Write the file by which a shell completes commands and flags, and a line in its start-up file that reads it.

    Args:
        shell: Which shell; without it, the one that is running.
    """
    from cyclopts.completion.detect import ShellDetectionError

    training.add_commands()
    try:
        file = app.install_completion(shell=shell)
    except ShellDetectionError:
        raise ValueError("--install-completion: which shell? add --shell bash, zsh, fish or powershell") from None
    stdout(f"{file}: written; start a new shell to use it")
