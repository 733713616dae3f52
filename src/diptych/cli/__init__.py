"""argv -> one function call. What is heavy is imported when a command needs it."""

import difflib
import gc
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from cyclopts import CycloptsError, UnknownCommandError, UnknownOptionError

from diptych.cli import general, process, streams, training
from diptych.cli.commands import stderr, stdout
from diptych.cli.elsewhere import remedy
from diptych.cli.frame import app
from diptych.signals import ignore_all, interrupt_on_all
from diptych.wording import brief, without_long_words

LONGEST = 290  # characters of a line that cyclopts has written

if sys.platform != "win32":
    import resource

__all__ = ["app", "general", "main", "run", "training"]

LEAST_ADDRESSES = 3 * 2**29  # bytes of address space: with 2**30 a training does not always begin


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command. A user's mistake is one line on stderr and exit status 2, never a traceback."""
    process.share_cores()
    process.keep_freed_memory()
    streams.secure()
    interrupt_on_all()
    status = run(sys.argv[1:] if arguments is None else list(arguments))
    ignore_all()
    if (lost := streams.unwritten()) and status < 2:
        stderr(f"stdout: could not be written to ({lost}); what the command had to do is done")
        status = 2
    gc.freeze()  # else Python looks through all that torch has loaded before it ends, for half a second
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """The exit status of a command: 0, 1 (some pictures were skipped), 2 (a mistake to mend), 130 (interrupted)."""
    try:
        _require_surroundings()
        _require_words(arguments)
        if arguments and arguments[0] == "train":
            if any(word.startswith("--from-junyanz") for word in arguments):
                for line in training.command_of_junyanz(arguments):
                    stdout(line)
                return 0
            training.add_commands()
            arguments = training.with_method(arguments)
        status = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        if values := general.values_of_run(arguments):
            stdout(values)
    except UnknownCommandError as error:
        stderr(_unknown(error))
        return 2
    except UnknownOptionError as error:
        option = error.token.keyword or error.token.value
        elsewhere = remedy(option)
        stderr(
            f"Unknown option: {brief(option, 60)}. {elsewhere}"
            if elsewhere
            else brief(without_long_words(str(error)), LONGEST)
        )
        return 2
    except CycloptsError as error:
        stderr(brief(without_long_words(str(error)), LONGEST))
        return 2
    except ValueError as error:
        stderr(str(error) or type(error).__name__)
        return 2
    except OSError as error:
        stderr(_of_system(error))
        return 2
    except (MemoryError, RuntimeError, ImportError) as error:
        if not (line := _of_resources(error)):
            raise
        stderr(line)
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


def _require_surroundings() -> None:
    """Raises a `ValueError` where the libraries below would end the process with words of their own, or wait for ever.

    Without a current folder MKL does the one; a thread that finds no memory when it starts does the other.
    """
    try:
        Path.cwd()
    except OSError:
        raise ValueError("the current folder is gone; change to one that exists, and give the command again") from None
    if sys.platform != "win32":
        addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
        if addresses != resource.RLIM_INFINITY and addresses < LEAST_ADDRESSES:
            raise ValueError(
                f"the limit on memory (ulimit -v) is {addresses >> 20} MiB, and torch alone needs "
                f"{LEAST_ADDRESSES >> 20} MiB; raise it"
            )


def _require_words(arguments: Sequence[str]) -> None:
    """Raises a `ValueError` for an empty argument: as a path it would be the current folder."""
    for before, word in pairwise(["", *arguments]):
        name, equals, value = word.partition("=")
        if not word or (name.startswith("--") and equals and not value):
            where = f"{name or before}: " if (name or before).startswith("--") else ""
            raise ValueError(
                f"{where}an empty text is given, as by a variable of the shell that is not set; give a value, or leave it "
                "out"
            )


def _of_system(error: OSError) -> str:
    """The message for what the system refused, with the file where it names one."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else f"the system says: {reason}"


def _of_resources(error: Exception) -> str:
    """The message for a machine, or a limit, that gives too little; empty for any other error, which is a fault of ours."""
    if isinstance(error, ImportError):
        limits = "raise the limits of memory (ulimit -v) and of open files (ulimit -n)"
        return f"a library could not be loaded ({error}); {limits}" if "shared object" in str(error) else ""
    if "can't start new thread" in str(error):
        return "the system starts no more threads; raise the limit of processes (ulimit -u), or lower --workers"
    from diptych.devices import is_out_of_memory  # such an error comes from torch, or from its users

    if is_out_of_memory(error):
        return (
            "not enough memory; end other programs, raise the limit (ulimit -v), or choose smaller pictures or batches"
        )
    return ""
