"""Signals at random moments of a training and of a translation: an orderly end with one line, or a run that goes on."""

import signal
import time
from dataclasses import dataclass
from pathlib import Path

from .harness import Attempt, Campaign, Case
from .kills import COLD, SECONDS, check_written, logged_steps, newest_checkpoint
from .processes import Commands, Ended, Process, differing, leftovers, tree
from .verbs import EVERY, RUN, TRAININGS, VERBS, copy_run, done, folder_for, prepare, trained

ASKED_TO_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
GOES_ON = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGSTOP)
CUT_OFF = (signal.SIGUSR1,)
"""What Python does nothing about: the process ends as by a kill."""


@dataclass(frozen=True)
class Sent:
    """A signal and its moment."""

    number: signal.Signals
    times: int
    change: int | None
    seconds: float
    cold: bool

    def __str__(self) -> str:
        twice = " twice" if self.times == 2 else ""
        when = f"before change {self.change}" if self.change is not None else f"after {self.seconds:.3f} s"
        return f"{self.number.name}{twice} {when}{' of a cold start' if self.cold else ''}"


def draw(case: Case, changes: int) -> Sent:
    """Asks to stop in four of six cases, and one of these asks twice."""
    random = case.random
    number = random.choice([*ASKED_TO_STOP, signal.SIGINT, *random.sample(GOES_ON, 1), *CUT_OFF])
    times = 2 if number is signal.SIGINT and random.random() < 0.5 else 1
    if times == 1 and random.random() < 0.6:
        return Sent(number, times, random.randrange(changes), 0, cold=False)
    cold = random.random() < 0.2
    return Sent(number, times, None, random.uniform(0.0, COLD if cold else SECONDS), cold)


def send(case: Case, process: Process, sent: Sent) -> None:
    """Sends it from outside, unless the process sends it to itself; what was stopped is woken again."""
    if sent.change is None:
        time.sleep(sent.seconds)
        process.send(sent.number)
        if sent.times == 2:
            time.sleep(case.random.choice([0, 0.001, 0.02, 0.2]))
            process.send(sent.number)
    if sent.number is signal.SIGSTOP and process.wait_until_stopped():
        time.sleep(0.05)
        process.send(signal.SIGCONT)


def run_and_signal(
    case: Case, commands: Commands, arguments: list[str], folder: Path, written: str, sent: Sent
) -> Ended:
    """Runs a command that gets a signal."""
    process = commands.start(
        arguments,
        folder,
        cold=sent.cold,
        watched=written,
        changes=str(folder.parent / "changes.txt"),
        stop_at=sent.change,
        stop_with=sent.number,
    )
    send(case, process, sent)
    return commands.wait(process)


def signal_training(case: Case, name: str) -> None:
    """Nothing is lost by a signal that asks to stop; whatever the signal, the same command ends at the same model."""
    training, whole = TRAININGS[name], trained(case, name)
    commands, folder, run = Commands(case), folder_for(case), case.folder / "work" / RUN
    sent = draw(case, _count(whole))
    case.title = f"{name}: {sent}"
    ended = run_and_signal(case, commands, training.arguments, folder, RUN, sent)
    steps, reached = logged_steps(run), newest_checkpoint(run)
    finished = f"{RUN}: finished at" in ended.terminal
    judge(case, commands, training.arguments, ended, sent, may_end_by_it=finished or not steps)
    if steps and ended.status != 0:
        asked = sent.number in ASKED_TO_STOP and sent.times == 1
        if asked and reached != steps[-1]:
            case.fault("wrong", f"stopped after step {steps[-1]}, and the last checkpoint is {reached}")
        if reached < steps[-1] - EVERY:
            case.fault("wrong", f"step {steps[-1]} is logged, and the last checkpoint is {reached}")
    if sent.number not in CUT_OFF and sent.times == 1 and ended.status >= 0 and (left := leftovers(folder)):
        case.fault("files", f"half-written files stay: {left}")
    commands.expect_success(training.arguments, folder)
    if left := leftovers(folder):
        case.fault("files", f"half-written files stay for ever: {left}")
    if different := differing(lasting(whole / RUN), lasting(run)):
        case.fault("wrong", f"differ from the run that got no signal: {different}")


def lasting(run: Path) -> dict[str, bytes]:
    """What a stop in between does not change: it adds a preview, a checkpoint, and the doctor's words on both."""
    names = ("settings.toml", "model/", "model-best/", f"checkpoints/step-{_last(run):08d}/")
    return {name: content for name, content in tree(run).items() if name.startswith(names)}


def _last(run: Path) -> int:
    return newest_checkpoint(run)


def judge(case: Case, commands: Commands, arguments: list[str], ended: Ended, sent: Sent, may_end_by_it: bool) -> None:
    """Notes a status or words that are not those of the signal, which may end what has not begun or is done."""
    own, right = f"{' '.join(arguments)}: {sent}", {0}
    if sent.number in ASKED_TO_STOP:
        right |= {130, 128 + sent.number} | ({-sent.number} if may_end_by_it else set())
    elif sent.number in CUT_OFF:
        right |= {-sent.number}
    if ended.status not in right:
        case.fault("wrong", f"{own}: exit status {ended.status}, of {sorted(right)}: {ended.terminal}")
    if ended.status >= 128 and ended.terminal.count("diptych: ") != 1:
        case.fault("terminal", f"{own}: one line is expected, and there is: {ended.terminal}")
    commands.judge(arguments, ended, also=(*right, ended.status))


def signal_translation(case: Case) -> None:
    """What is translated so far is whole, and --overwrite ends it."""
    verb, whole = VERBS["translate"], done(case, "translate")
    commands, folder = Commands(case), folder_for(case)
    copy_run(trained(case, verb.training), folder)
    before, expected = tree(folder), tree(whole)
    sent = draw(case, _count(whole))
    case.title = f"translate: {sent}"
    arguments = list(verb.arguments)
    ended = run_and_signal(case, commands, arguments, folder, verb.written, sent)
    judge(case, commands, arguments, ended, sent, may_end_by_it=True)
    check_written(case, folder, before, expected)
    if sent.number is signal.SIGINT and sent.times == 1 and ended.status >= 0 and (left := leftovers(folder)):
        case.fault("files", f"half-written files stay: {left}")
    commands.expect_success([*arguments, "--overwrite"], folder)
    expected.pop("changes.txt")
    if different := differing(expected, tree(folder)):
        case.fault("wrong", f"differ from what it writes undisturbed: {different}")


def _count(whole: Path) -> int:
    return len((whole / "changes.txt").read_text(encoding="utf-8").splitlines())


def make(case: Case) -> Attempt:
    """Three of four cases are trainings, the methods in turn."""

    def attempt() -> bool:
        turn, kind = divmod(case.number, 4)
        if kind == 3:
            signal_translation(case)
        else:
            signal_training(case, list(TRAININGS)[(3 * turn + kind) % len(TRAININGS)])
        return True

    return attempt


CAMPAIGN = Campaign(make, count=200, prepare=prepare, hang=300, memory=8192)
