"""Things done to a training's folder and pictures while it trains, and a second process beside it: one line, or it goes on.

The training stops itself (SIGSTOP) right before a random change to its folder, something is done, and it goes on.
"""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from .harness import Attempt, Campaign, Case
from .processes import Commands, Ended, differing, leftovers, tree
from .verbs import DATA, RUN, TRAININGS, VERBS, arguments_of, copy_run, done, folder_for, prepare, trained

TRAINED = ("pix2pix validated", "pix2pix without threads", "cyclegan", "glcic validated", "cgan")

# ---- what is done to a path


def delete(path: Path, _: Case) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def rename(path: Path, _: Case) -> None:
    path.rename(path.with_name(f"{path.name} renamed"))


def become_file(path: Path, case: Case) -> None:
    delete(path, case)
    path.write_text("somebody's words\n", encoding="utf-8")


def become_folder(path: Path, case: Case) -> None:
    delete(path, case)
    path.mkdir()
    (path / "somebody's.txt").write_text("words\n", encoding="utf-8")


def become_link_to_folder(path: Path, case: Case) -> None:
    delete(path, case)
    path.symlink_to(case.precious, target_is_directory=True)


def become_link_to_file(path: Path, case: Case) -> None:
    delete(path, case)
    appended = path.name == "log.jsonl" or path.parent.name == "tensorboard"  # whoever puts a link there wants it there
    path.symlink_to(case.folder / "elsewhere.txt" if appended else case.precious / "letter.txt")


def become_link_in_circles(path: Path, case: Case) -> None:
    delete(path, case)
    path.symlink_to(path.name)


def become_fifo(path: Path, case: Case) -> None:
    delete(path, case)
    os.mkfifo(path)


def close(path: Path, _: Case) -> None:
    path.chmod(0)


def make_read_only(path: Path, _: Case) -> None:
    path.chmod(0o555 if path.is_dir() else 0o444)


def cut(path: Path, case: Case) -> None:
    if path.is_file():
        os.truncate(path, case.random.randrange(path.stat().st_size + 1))


def spoil(path: Path, case: Case) -> None:
    if path.is_file():
        path.write_bytes(case.random.randbytes(200))


def become_another_picture(path: Path, case: Case) -> None:
    if path.is_file():
        shutil.copyfile(case.shared / DATA / "one.png", path)


DEEDS: tuple[Callable[[Path, Case], None], ...] = (
    delete,
    rename,
    become_file,
    become_folder,
    become_link_to_folder,
    become_link_to_file,
    become_link_in_circles,
    become_fifo,
    close,
    make_read_only,
    cut,
    spoil,
)
PLACES = (
    *(RUN, "checkpoints", "checkpoints/*", "checkpoints/*/*", "samples", "samples/*", "model", "model/*"),
    *("model-*", "model-*/*", "tensorboard", "tensorboard/*", "log.jsonl", "settings.toml", ".lock"),
)
"""Below the run, as patterns."""


# ---- the cases


class Disturbed:
    """A training that stops itself at a random change to its folder, with pictures of its own."""

    def __init__(self, case: Case, name: str) -> None:
        self.case, self.name, self.training = case, name, TRAININGS[name]
        self.whole, self.commands = trained(case, name), Commands(case)
        self.folder = folder_for(case)
        self.folder.joinpath(DATA).unlink()
        shutil.copytree(case.shared / DATA, self.folder / DATA)
        changes = len((self.whole / "changes.txt").read_text(encoding="utf-8").splitlines())
        self.at = case.random.randrange(changes)
        self.more = [] if "threads" in name else case.random.choice([[], ["--memory-gib=0"]])
        self.arguments = [*self.training.arguments, *self.more]
        self.process = self.commands.start(
            self.arguments,
            self.folder,
            watched=RUN,
            changes=str(case.folder / "changes.txt"),
            stop_at=self.at,
            stop_with=signal.SIGSTOP,
        )
        self.is_stopped = self.process.wait_until_stopped()

    def go_on(self) -> Ended:
        """Wakes it, and waits for its end."""
        self.process.send(signal.SIGCONT)
        return self.commands.wait(self.process)

    def require_exact(self) -> None:
        """The same command ends with the same files as a training that nobody disturbed."""
        self.commands.expect_success(self.arguments, self.folder)
        expected = tree(self.whole / RUN)
        found = {name: content for name, content in tree(self.folder / RUN).items() if name in expected}
        if settings := found.get("settings.toml"):  # a second training that came late began anew, and says so there
            found["settings.toml"] = settings.replace(b" --fresh", b"")
        different = [name for name in differing(expected, found) if not (self.more and name == "settings.toml")]
        if different:
            self.case.fault("wrong", f"differ from the run that nobody disturbed: {different}")


def disturb(case: Case, name: str) -> None:
    """Does something to a file or folder of the run."""
    disturbed = Disturbed(case, name)
    run = disturbed.folder / RUN
    found = [path for place in PLACES for path in ([run] if place == RUN else run.glob(place)) if os.path.lexists(path)]
    if not found:
        case.title = f"{name}: nothing there yet before change {disturbed.at}"
        disturbed.commands.judge(disturbed.arguments, disturbed.go_on())
        return
    path, deed = case.random.choice(sorted(found)), case.random.choice(DEEDS)
    case.title = f"{name}: {deed.__name__} {path.relative_to(disturbed.folder)} before change {disturbed.at}"
    deed(path, case)
    disturbed.commands.judge(disturbed.arguments, disturbed.go_on())
    disturbed.commands.run(disturbed.arguments, disturbed.folder)
    disturbed.commands.run(case.random.choice([disturbed.training.use("used"), ["report", RUN]]), disturbed.folder)


def disturb_pictures(case: Case, name: str) -> None:
    """Does something to a picture, or to their folder."""
    disturbed = Disturbed(case, name)
    pictures = disturbed.folder / DATA / disturbed.training.pictures
    files = sorted(pictures.rglob("*.png"))
    path = case.random.choice([*files, *files, pictures, pictures / "train", pictures / "val"])
    deed = case.random.choice([*DEEDS, become_another_picture])
    more = " ".join(disturbed.more)
    case.title = f"{name} {more}: {deed.__name__} {path.relative_to(disturbed.folder)} before change {disturbed.at}"
    deed(path, case)
    for file in set(files) - {path}:
        if file.is_file() and not path.is_symlink():
            case.guard(file)
    disturbed.commands.judge(disturbed.arguments, disturbed.go_on())
    if left := leftovers(disturbed.folder / RUN):
        case.fault("files", f"half-written files stay: {left}")
    disturbed.commands.run(disturbed.arguments, disturbed.folder)


def use_beside(case: Case, name: str) -> None:
    """Starts a command that reads the run, or a second training in it, which loses nothing for the first one."""
    disturbed = Disturbed(case, name)
    data = f"{DATA}/{disturbed.training.pictures}"
    beside = case.random.choice(
        [
            disturbed.arguments,
            disturbed.arguments,
            [*disturbed.arguments, "--fresh"],
            ["evaluate", RUN, "--data", data, "--metrics=l1", "--device=cpu"],
            ["report", RUN],
            disturbed.training.use("used"),
        ]
    )
    case.title = (
        f"{name}: {' '.join(beside[:2])}{' --fresh' * ('--fresh' in beside)} beside it before change {disturbed.at}"
    )
    second = disturbed.commands.start(beside, disturbed.folder)
    if case.random.random() < 0.5:
        disturbed.commands.judge(beside, disturbed.commands.wait(second))
    first = disturbed.go_on()
    disturbed.commands.judge(disturbed.arguments, first)
    ended = disturbed.commands.wait(second)
    disturbed.commands.judge(beside, ended)
    if beside[0] == "train" and first.status != 0 and ended.status != 0:
        case.fault("wrong", f"neither goes on: {first.terminal} {ended.terminal}")
    disturbed.require_exact()


def run_twice_at_once(case: Case, name: str) -> None:
    """Starts the same verb twice; what both leave is what one would."""
    verb, whole = VERBS[name], done(case, name)
    commands, folder = Commands(case), folder_for(case)
    copy_run(trained(case, verb.training), folder)
    arguments, delay = arguments_of(verb, case.shared), case.random.choice([0.0, 0.0, case.random.uniform(0, 1)])
    case.title = f"{name}: twice, {delay:.3f} s apart"
    first = commands.start(arguments, folder, constants=verb.constants)
    time.sleep(delay)
    second = commands.start(arguments, folder, constants=verb.constants)
    ended = [commands.wait(process) for process in (first, second)]
    for one in ended:
        commands.judge(arguments, one)
    if all(one.status for one in ended):
        case.fault("wrong", f"{name}: neither is done: {[one.terminal for one in ended]}")
    expected = tree(whole)
    expected.pop("changes.txt")
    if different := differing(expected, tree(folder)):
        case.fault("wrong", f"differ from what it writes alone: {different}")


def make(case: Case) -> Attempt:
    """Of six cases three disturb the folder, and one each the pictures, a process beside it, and two of another verb."""

    def attempt() -> bool:
        turn, kind = divmod(case.number, 6)
        if kind == 5:
            run_twice_at_once(case, list(VERBS)[turn % len(VERBS)])
            return True
        deed = (disturb, disturb, disturb, disturb_pictures, use_beside)[kind]
        deed(case, TRAINED[(turn + kind) % len(TRAINED)])
        return True

    return attempt


CAMPAIGN = Campaign(make, count=300, prepare=prepare, hang=400, memory=8192)
