"""Disks with no room left, or no room for one more name: one line, nothing half-written, and with more room the same result.

Needs root, for a file system in memory (tmpfs) of the case's own, which no other process sees.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from shutil import copytree

from .harness import Attempt, Campaign, Case
from .kills import again, check_written
from .processes import Commands, differing, leftovers, tree
from .verbs import DATA, RUN, TRAININGS, VERBS, arguments_of, copy_run, done, prepare, trained

NEW_MOUNTS = 0x20000
"""CLONE_NEWNS of unshare(2)."""
PAGE = 4096
KEPT = ("download", "pack")
"""Verbs that keep what they have so far, to go on with."""

BESIDE = ("cache", "tmp", "printed.txt")
"""What a case puts on the disk beside what the command writes."""


@dataclass(frozen=True)
class Shortage:
    """What there is no more of."""

    option: str
    left: int
    elsewhere: dict[str, str | None] = field(default_factory=dict)
    """Variables that lead other things than the output to the full disk."""
    printed: bool = False
    """Whether what is printed goes there too."""

    def __str__(self) -> str:
        also = [*self.elsewhere, *(["the output"] if self.printed else [])]
        return f"{self.left} left of {self.option}{', beside ' if also else ''}{' and '.join(also)}"


@cache
def own_mounts() -> None:
    """From now on what this process mounts is seen by it and its children alone, and ends with them."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_MOUNTS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


@contextmanager
def disk(case: Case) -> Iterator[Path]:
    """A file system of the case's own; what was on it is copied for a person to look at when there is a fault."""
    folder = case.folder / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m,mode=755", "tmpfs", folder], check=True)
    try:
        yield folder
        if case.faults:
            copytree(folder, case.folder / "what was on the disk", symlinks=True)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def set_room(folder: Path, option: str, most: int) -> None:
    """Makes the disk larger or smaller."""
    subprocess.run(["mount", "-o", f"remount,{option}={most}", folder], check=True)


def used(folder: Path, option: str) -> int:
    """Bytes or names."""
    of = os.statvfs(folder)
    return of.f_files - of.f_ffree if option == "nr_inodes" else (of.f_blocks - of.f_bfree) * of.f_frsize


def draw(case: Case, written: int) -> Shortage:
    """Most often of bytes; `written` is about what the command writes."""
    random = case.random
    elsewhere: dict[str, str | None] = {}
    if random.random() < 0.2:
        elsewhere = {"TMPDIR": "tmp", "DIPTYCH_CACHE": "cache"}
    printed = random.random() < 0.15
    if random.random() < 0.3:
        return Shortage("nr_inodes", random.randrange(1, 40), elsewhere, printed)
    return Shortage("size", PAGE * random.randrange(max(written // PAGE, 2)), elsewhere, printed)


def fill_up(case: Case, name: str) -> None:
    """Runs a command on a disk that is too small, and again with room."""
    training, verb = TRAININGS.get(name), VERBS.get(name)
    whole = done(case, name) if verb else trained(case, name)
    expected = tree(whole)
    expected.pop("changes.txt")
    with disk(case) as folder:
        (folder / DATA).symlink_to(case.shared / DATA)
        if verb:
            copy_run(trained(case, verb.training), folder)
        before = tree(folder)
        shortage = draw(case, sum(map(len, expected.values())) - sum(map(len, before.values())))
        case.title = f"{name}: {shortage}"
        arguments = arguments_of(verb, case.shared) if verb else training.arguments if training else []
        streams: dict[int, str | None] = {1: str(folder / "printed.txt")} if shortage.printed else {}
        set_room(folder, shortage.option, used(folder, shortage.option) + shortage.left)
        commands = Commands(case)
        constants = verb.constants if verb else {}
        environment = {key: f"{folder}/{value}" for key, value in shortage.elsewhere.items()}
        ended = commands.run(arguments, folder, streams=streams, environment=environment, constants=constants)
        check_written(case, folder, before, expected | _on_the_way(folder))
        if name not in KEPT and (left := leftovers(folder)):
            case.fault("files", f"half-written files stay: {left}")
        set_room(folder, shortage.option, 2**28 if shortage.option == "size" else 10_000)
        if ended.status != 0:
            more = again(verb, folder) if verb else ()
            commands.expect_success([*arguments, *more], folder, constants=constants)
        if different := _differing(expected, tree(folder)):
            case.fault("wrong", f"differ from what it writes where there is room: {different}")


def _on_the_way(folder: Path) -> dict[str, bytes]:
    """What is there while a command is at work, and is not compared before its end."""
    ways = (f"{RUN}/", *BESIDE)
    return {name: content for name, content in tree(folder).items() if name.startswith(ways)}


def _differing(expected: dict[str, bytes], found: dict[str, bytes]) -> list[str]:
    return [name for name in differing(expected, found) if not name.startswith(BESIDE)]


def make(case: Case) -> Attempt:
    """Trainings and other verbs in turn."""

    def attempt() -> bool:
        if os.geteuid() != 0:
            case.title = "skipped: only root may make a small disk"
            return False
        own_mounts()  # before the first command, which sees what this process sees
        turn, is_verb = divmod(case.number, 2)
        names = list(VERBS if is_verb else TRAININGS)
        fill_up(case, names[turn % len(names)])
        return True

    return attempt


CAMPAIGN = Campaign(make, count=200, prepare=prepare, hang=300, memory=8192)
