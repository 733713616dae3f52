"""argv -> one function call. What is heavy is imported when a command needs it."""

import difflib
import sys
from collections.abc import Sequence

from cyclopts import CycloptsError, UnknownCommandError

from diptych.cli import general, training
from diptych.cli.commands import stderr
from diptych.cli.frame import app

__all__ = ["app", "general", "main", "run", "training"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command. A user's mistake is one line on stderr and exit status 2, never a traceback."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: Sequence[str]) -> int:
    """The exit status of a command: 0, 1 (some pictures were skipped), 2 (a mistake to mend), 130 (interrupted)."""
    try:
        if arguments and arguments[0] == "train":
            training.add_commands()
        status = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except UnknownCommandError as error:
        stderr(_unknown(error))
        return 2
    except (CycloptsError, ValueError) as error:
        stderr(str(error))
        return 2
    except OSError as error:
        stderr(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return 2
    except KeyboardInterrupt as stopped:
        stderr(str(stopped) or "interrupted")
        return 130
    return status if isinstance(status, int) else 0


def _unknown(error: UnknownCommandError) -> str:
    """The message for a word that is no command; cyclopts' own would import every command, and torch with them."""
    word, names = (error.unused_tokens or [""])[0], [name for name in error.app or () if not name.startswith("-")]
    near = difflib.get_close_matches(word, names, n=1)
    meant = f' Did you mean "{near[0]}"?' if near else ""
    return f'Unknown command "{word}".{meant} Available commands: {", ".join(names)}.'
