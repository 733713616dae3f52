"""kill -9 at random moments of every command: only steps since the last checkpoint are lost, nothing stays half-written."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from .harness import Attempt, Campaign, Case
from .processes import Commands, Process, differing, leftovers, tree
from .verbs import (
    EVERY,
    RUN,
    TRAININGS,
    VERBS,
    Training,
    Verb,
    arguments_of,
    copy_run,
    done,
    folder_for,
    prepare,
    trained,
)

MOST = 4
"""Kills of one training."""
SECONDS = 2.0
"""What a tiny command takes from a warm start, about."""
COLD = 5.0
"""And from a cold one."""


AT_WORK = ("out.zip.paintings/",)
"""Where a command keeps what it has so far."""


@dataclass(frozen=True)
class Moment:
    """When a process is killed."""

    kind: str
    change: int | None = None
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} {self.seconds:.4f} s" if self.change is None else f"{self.kind} {self.change}"


def moment(case: Case, changes: int) -> Moment:
    """Before a change to what is written, at any time, right after a half-written file is seen, or in start-up."""
    random = case.random
    kind = random.choices(["before change", "at time", "half-written and", "cold start and"], [50, 25, 20, 5])[0]
    if kind == "before change":
        return Moment(kind, random.randrange(changes))
    longest = {"at time": SECONDS, "half-written and": 0.003, "cold start and": COLD}[kind]
    return Moment(kind, seconds=random.uniform(0, longest))


def start(commands: Commands, arguments: list[str], folder: Path, written: str, when: Moment, verb: Verb) -> Process:
    """Starts a command that will be killed."""
    return commands.start(
        arguments,
        folder,
        constants=verb.constants,
        cold=when.kind == "cold start and" and not verb.constants,
        watched=written,
        changes=str(folder.parent / "changes.txt"),
        stop_at=when.change,
    )


def kill(process: Process, when: Moment, folder: Path, skip: int) -> None:
    """Kills it at the moment, unless it ends before."""
    if when.change is not None:
        return  # it kills itself
    if when.kind == "half-written and":
        _wait_for_half_written(process, folder, skip)
    time.sleep(when.seconds)
    process.send(9)


def _wait_for_half_written(process: Process, folder: Path, skip: int) -> None:
    """Waits until so many half-written files were there, and one more is."""
    seen = set[str]()
    while not process.has_ended():
        found = set(_half_written(folder)) - seen
        if found and len(seen) >= skip:
            return
        seen |= found


def _half_written(folder: Path) -> list[str]:
    try:
        return [str(path) for path in folder.rglob(".partial-*")]
    except FileNotFoundError:  # a folder that was there a moment ago
        return []


# ---- trainings


def train_and_kill(case: Case, name: str) -> None:
    """Kills a training up to four times, lets it end, and compares it with one that nobody disturbed."""
    training, whole = TRAININGS[name], trained(case, name)
    count = len((whole / "changes.txt").read_text(encoding="utf-8").splitlines())
    commands, folder = Commands(case), folder_for(case)
    moments = [moment(case, count) for _ in range(case.random.randint(1, MOST))]
    case.title = f"{name}: {', '.join(map(str, moments))}"
    for number, when in enumerate(moments):
        process = start(commands, training.arguments, folder, RUN, when, Verb(()))
        kill(process, when, folder, case.random.randrange(12))
        ended = commands.wait(process)
        if ended.status != -9:
            commands.judge(training.arguments, ended)
        check_killed_run(case, commands, training, folder, f"use-{number}")
    commands.expect_success(training.arguments, folder)
    if left := leftovers(folder / RUN):
        case.fault("files", f"half-written files stay: {left}")
    if different := differing(tree(whole / RUN), tree(folder / RUN)):
        case.fault("wrong", f"differ from the run that was not killed: {different}")


def check_killed_run(case: Case, commands: Commands, training: Training, folder: Path, out: str) -> None:
    """No more steps are lost than there are between two checkpoints, and a model that is there opens."""
    run = folder / RUN
    reached = newest_checkpoint(run)
    steps = logged_steps(run)
    if steps and not steps[-1] - EVERY <= reached <= steps[-1]:
        case.fault("wrong", f"step {steps[-1]} is logged, and the last checkpoint is {reached}")
    if reached > EVERY or (run / "model/model.safetensors").exists():
        commands.expect_success(training.use(out), folder)


def newest_checkpoint(run: Path) -> int:
    """Its step; 0 without one."""
    names = [path.name for path in (run / "checkpoints").glob("step-*")]
    return max((int(name.removeprefix("step-")) for name in names), default=0)


def logged_steps(run: Path) -> list[int]:
    """The steps in the log; half a line at its end is none."""
    log = run / "log.jsonl"
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    return [int(step) for step in re.findall(r'"step": (\d+), .*\n', text)]


# ---- other commands


def kill_verb(case: Case, name: str) -> None:
    """Kills a command; what has its final name then is whole, and the same command ends as if nothing had been."""
    verb, whole = VERBS[name], done(case, name)
    count = len((whole / "changes.txt").read_text(encoding="utf-8").splitlines())
    commands, folder = Commands(case), folder_for(case)
    copy_run(trained(case, verb.training), folder)
    before, expected = tree(folder), tree(whole)
    arguments = arguments_of(verb, case.shared)
    when = moment(case, max(count, 1))
    case.title = f"{name}: {when}"
    process = start(commands, arguments, folder, verb.written, when, verb)
    kill(process, when, folder, case.random.randrange(8))
    ended = commands.wait(process)
    check_written(case, folder, before, expected)
    expected.pop("changes.txt")
    if ended.status == -9 and differing(expected, tree(folder)):  # else it was done
        commands.expect_success([*arguments, *again(verb, folder)], folder, constants=verb.constants)
    if different := differing(expected, tree(folder)):
        case.fault("wrong", f"differ from what it writes undisturbed: {different}")


def again(verb: Verb, folder: Path) -> tuple[str, ...]:
    """The flags with which a command goes on over what is there already."""
    return verb.again if (folder / verb.written).exists() else ()


def check_written(case: Case, folder: Path, before: dict[str, bytes], expected: dict[str, bytes]) -> None:
    """What has a final name is what was there before, or whole."""
    for name, content in tree(folder).items():
        passing = name.startswith(AT_WORK) or any(part.startswith(".") for part in Path(name).parts)
        if not passing and content not in (before.get(name), expected.get(name)):
            case.fault("files", f"{name} is neither what it was nor whole")
    if lost := sorted(before.keys() - tree(folder).keys()):
        case.fault("files", f"lost: {lost}")


def make(case: Case) -> Attempt:
    """Two of three cases are trainings, the methods in turn."""

    def attempt() -> bool:
        turn, kind = divmod(case.number, 3)
        if kind == 2:
            kill_verb(case, list(VERBS)[turn % len(VERBS)])
        else:
            train_and_kill(case, list(TRAININGS)[(2 * turn + kind) % len(TRAININGS)])
        return True

    return attempt


CAMPAIGN = Campaign(make, count=200, prepare=prepare, hang=300, memory=8192)
