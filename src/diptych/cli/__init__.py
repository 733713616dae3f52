"""argv -> one function call. What is heavy is imported inside the commands."""

import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from diptych.cli import commands, data, training
from diptych.cli.frame import app

__all__ = ["app", "commands", "data", "main", "run", "training"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command. A person's mistake is one line on stderr and exit status 2, never a traceback."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: Sequence[str]) -> int:
    """The exit status of a command: 0, 1 (some pictures were skipped), 2 (a mistake to mend), 130 (interrupted)."""
    try:
        if arguments and arguments[0] == "train":
            training.add_commands()
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
