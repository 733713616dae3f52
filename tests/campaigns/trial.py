"""One case of each fault, to see that the harness finds it."""

import ctypes
import os
import time
import warnings

from .harness import Attempt, Campaign, Case


def _opened(case: Case) -> bool:
    return True


def _refused(case: Case) -> bool:
    raise ValueError(f"{case.folder / 'x.png'}: damaged; remove it")


def _raises(case: Case) -> bool:
    raise RuntimeError


def _raises_a_librarys(case: Case) -> bool:
    raise UnicodeError("of a kind of ValueError that is no line of ours")


def _hangs(case: Case) -> bool:
    time.sleep(60)
    return True


def _dies(case: Case) -> bool:
    ctypes.string_at(0)
    return True


def _takes_memory(case: Case) -> bool:
    return len(b"x" * (80 * 2**20)) > 0


def _changes_files(case: Case) -> bool:
    (case.precious / "letter.txt").write_text("changed", "utf-8")
    return True


def _loses_files(case: Case) -> bool:
    (case.precious / "empty").rmdir()
    return True


def _prints(case: Case) -> bool:
    os.write(2, b"words\n")
    return True


def _prints_from_c(case: Case) -> bool:
    ctypes.CDLL(None).puts(b"words")
    return True


def _warns(case: Case) -> bool:
    warnings.warn("words", stacklevel=1)
    return True


def _warns_again(case: Case) -> bool:
    """Python shows a warning of one place once; the harness is to see it in every case."""
    return _warns(case)


def _runs(case: Case) -> bool:
    case.executed.touch()
    return True


def _refuses_at_length(case: Case) -> bool:
    raise ValueError("words " * 100)


def _refuses_in_colour(case: Case) -> bool:
    raise ValueError("x.png: \x1b[31mred")


def _commands(case: Case) -> bool:
    return case.command("no-such-command")


CASES = {
    _opened: "",
    _refused: "",
    _commands: "",
    _raises: "traceback",
    _raises_a_librarys: "traceback",
    _hangs: "hang",
    _dies: "death",
    _takes_memory: "memory",
    _changes_files: "files",
    _loses_files: "files",
    _prints: "terminal",
    _prints_from_c: "terminal",
    _warns: "terminal",
    _warns_again: "terminal",
    _refuses_in_colour: "terminal",
    _runs: "wrong",
    _refuses_at_length: "wrong",
}
"""What is done, and the kind of fault that the harness is to find."""


def make(case: Case) -> Attempt:
    """The cases in their order."""
    tried, kind = list(CASES.items())[case.number]
    case.title = f"[{kind}]"
    return lambda: tried(case)


CAMPAIGN = Campaign(make, count=len(CASES), hang=3, memory=64)
