"""Awkward environments for every command, fresh processes all: closed streams, limits, no home, other locales, odd names."""

import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .harness import Attempt, Campaign, Case
from .processes import Commands, Ended, differing, leftovers, tree
from .verbs import DATA, TRAININGS, VERBS, Verb, arguments_of, copy_run, done, folder_for, prepare, trained

MIB = 2**20
TERMINAL = 4000  # bytes: what a command says goes into a file too, which the limit on files must leave room for
TRAINED = ("pix2pix", "cyclegan", "glcic", "cgan")
ODD = (
    "new\nline",
    "\x1b[31mred",
    "\x9b31mred",
    "not utf-8 \udcff\udcfe",
    "[bold]markup[nothing]",
    "<script>alert(1)<script>",
    "--out",
    "-",
    "~",
    "$HOME `id` %s {0}",
    "a" * 240,
    "é" * 120,
    "combining e\u0301 \u202eright to left",
    " spaces ",
    "tab\tbell\a",
    "'quotes\"",
    "#?&%20",
)


@dataclass(frozen=True)
class Setting:
    """One awkward environment."""

    title: str
    order: dict[str, Any]
    """Fields of the `Order`."""
    harmless: bool = True
    """Whether the command must succeed all the same."""
    ends_by: int = 0
    """A signal that may end it."""


def draw(case: Case, folder: Path) -> Setting:
    """One of them, with random numbers."""
    random, nowhere = case.random, str(folder / "nowhere")
    closed: dict[int, None] = dict.fromkeys(random.sample(range(3), random.randint(1, 3)))
    full = dict.fromkeys(random.sample((1, 2), random.randint(1, 2)), "/dev/full")
    read_only = folder.parent / "read-only"
    if not read_only.exists():
        read_only.mkdir(mode=0o555)
    locked = str(read_only)
    return random.choice(
        [
            Setting("no HOME", {"environment": {"HOME": None, "DIPTYCH_CACHE": None, "XDG_CACHE_HOME": None}}),
            Setting("HOME is nowhere", {"environment": {"HOME": nowhere, "DIPTYCH_CACHE": None}}),
            Setting("HOME is a file", {"environment": {"HOME": "/dev/null", "DIPTYCH_CACHE": None}}),
            Setting("HOME is read-only", {"environment": {"HOME": locked, "DIPTYCH_CACHE": None, "TORCH_HOME": None}}),
            Setting("a read-only cache", {"environment": {"DIPTYCH_CACHE": locked, "TORCH_HOME": locked}}),
            Setting(
                "a cache that is a file", {"environment": {"DIPTYCH_CACHE": "/dev/null", "TORCH_HOME": "/dev/null"}}
            ),
            Setting("the C locale", {"environment": {"LC_ALL": "C", "LANG": None, "PYTHONUTF8": "0"}}),
            Setting("ASCII", {"environment": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}}),
            Setting("no locale", {"environment": {"LC_ALL": "xx_YY.nothing", "LANG": "xx"}}),
            Setting("an ASCII terminal", {"environment": {"PYTHONIOENCODING": "ascii"}}),
            Setting("no TERM, no COLUMNS", {"environment": {"TERM": None, "COLUMNS": None, "LINES": None}}),
            Setting("odd COLUMNS", {"environment": {"COLUMNS": random.choice(["0", "1", "-5", "x", "99999"])}}),
            Setting("no PATH", {"environment": {"PATH": None}}),
            Setting("TMPDIR is nowhere", {"environment": {"TMPDIR": nowhere}}),
            Setting("TMPDIR is read-only", {"environment": {"TMPDIR": locked}}),
            Setting("an odd time zone", {"environment": {"TZ": random.choice(["nowhere", "XXX-99", ""])}}),
            Setting(f"closed streams {sorted(closed)}", {"streams": closed}),
            Setting(f"full streams {sorted(full)}", {"streams": full}, harmless=False),
            Setting("umask 0", {"umask": 0}),
            Setting("umask 0o777", {"umask": 0o777}, harmless=False),
            _limit("RLIMIT_AS", random.randrange(200, 3000) * MIB),
            _limit("RLIMIT_DATA", random.randrange(100, 2000) * MIB),
            _limit("RLIMIT_STACK", random.randrange(200, 2000) * 1024),
            _limit("RLIMIT_NOFILE", random.randrange(5, 60)),
            _limit("RLIMIT_FSIZE", random.randrange(TERMINAL, random.choice([20_000, 200_000]))),
            _limit("RLIMIT_CPU", random.randrange(1, 6), ends_by=signal.SIGKILL),
            _limit("RLIMIT_MEMLOCK", 0),
        ]
    )


def _limit(name: str, most: int, ends_by: int = 0) -> Setting:
    return Setting(f"{name} {most}", {"limits": {name: most}}, harmless=False, ends_by=ends_by)


# ---- the cases


def run_awkwardly(case: Case, name: str) -> None:
    """Runs a command in an awkward environment, and in an ordinary one when that refused it."""
    verb, training = VERBS.get(name), TRAININGS.get(name)
    if verb and verb.constants:
        verb = VERBS["translate"]
        name = "translate"
    whole, commands, folder = (done if verb else trained)(case, name), Commands(case), folder_for(case)
    if verb:
        copy_run(trained(case, verb.training), folder)
    arguments = arguments_of(verb, case.shared) if verb else training.arguments if training else []
    setting = draw(case, folder)
    case.title = f"{name}: {setting.title}"
    ended = commands.wait(commands.start(arguments, folder, cold=True, **setting.order))
    judge(case, commands, arguments, ended, setting)
    expected, kept = tree(whole), name in ("download", "pack")
    expected.pop("changes.txt")
    if ended.status >= 0 and not kept and (left := leftovers(folder)):
        case.fault("files", f"half-written files stay: {left}")
    if setting.title == "umask 0o777":
        open_up(folder)
    if ended.status != 0 and (training or differing(expected, tree(folder))):  # with full streams all may be done
        more = verb.again if verb and (folder / verb.written).exists() else ()
        commands.expect_success([*arguments, *more], folder)
    found = tree(folder)
    if training:  # an old checkpoint that could not be removed costs nothing
        found = {key: content for key, content in found.items() if key in expected}
    if different := differing(expected, found):
        case.fault("wrong", f"differ from what it writes elsewhere: {different}")


def judge(case: Case, commands: Commands, arguments: list[str], ended: Ended, setting: Setting) -> None:
    """Notes what is wrong with how a command took its environment."""
    what = f"{' '.join(arguments)}: {setting.title}"
    if setting.harmless and ended.status != 0:
        case.fault("wrong", f"{what}: exit status {ended.status}: {ended.terminal}")
    seen_by_nobody = {1, 2} & set(setting.order.get("streams", {}))
    if setting.ends_by and ended.status == -setting.ends_by:
        return
    if ended.status not in (0, 1, 2):
        case.fault("wrong", f"{what}: exit status {ended.status}: {ended.terminal}")
    commands.judge(arguments, ended, also=(ended.status,) if seen_by_nobody or ended.status not in (0, 1, 2) else ())


def open_up(folder: Path) -> None:
    """Lets the owner in again."""
    folder.chmod(0o755)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            open_up(path)
        elif not path.is_symlink():
            path.chmod(0o644)


def run_in_deleted_folder(case: Case, name: str) -> None:
    """The current directory is gone before the command starts: one line."""
    commands, folder = Commands(case), folder_for(case, "gone")
    verb = VERBS[name]
    (folder / DATA).unlink()
    case.title = f"{name}: the current directory is deleted"
    ended = commands.run(arguments_of(verb, case.shared), folder, cold=True, gone=True)
    if ended.status == 0 and name != "download":
        case.fault("wrong", f"{name}: exit status 0 in a folder that is not there: {ended.terminal}")


def name_oddly(case: Case, name: str) -> None:
    """The folder, the pictures and the output have odd names; what is done is the same."""
    odd = case.random.choice(ODD)
    commands, folder = Commands(case), case.folder / "work"
    data, out = folder / f"{odd} d", f"{odd} o"
    folder.mkdir()
    shutil.copytree(case.shared / DATA / "photos", data)
    for number, file in enumerate(sorted(data.iterdir())):
        if case.random.random() < 0.5:
            file.rename(data / f"{odd[:100]}{number}{file.suffix}")
    (data / f"{odd[:100]} broken.png").write_bytes(b"no picture")
    case.title, commands.long_name = f"{name}: {odd!r}", odd[:100]
    if name in TRAININGS:
        training = TRAININGS[name]
        arguments = [one.replace(f"{DATA}/{training.pictures}", f"./{data.name}") for one in training.arguments]
        arguments[arguments.index("--out") + 1] = f"./{out}"
        (data / f"{odd[:100]} broken.png").unlink()
        commands.run(arguments, folder, cold=True)
        commands.run(["report", f"./{out}"], folder)
        commands.run(["evaluate", f"./{out}", "--data", f"./{data.name}", "--device=cpu", "--metrics=l1"], folder)
        return
    verb = VERBS[name]
    copy_run(trained(case, verb.training), folder)
    commands.run(oddly(verb, case, data.name, out), folder, cold=case.random.random() < 0.3, constants=verb.constants)


def oddly(verb: Verb, case: Case, data: str, out: str) -> list[str]:
    """The command with other names."""
    names = {f"{DATA}/photos": f"./{data}", f"{DATA}/others": f"./{data}", "out": f"./{out}", "out/": f"./{out}/"}
    names |= {"out.png": f"./{out}.png", "out.zip": f"./{out}.zip", "out/faces.npy": f"./{out}.npy"}
    arguments = arguments_of(verb, case.shared)
    return [names.get(one, one) for one in arguments]


def go_deep(case: Case, name: str) -> None:
    """A path of nearly 4096 bytes, or one more than there can be."""
    commands, folder = Commands(case), folder_for(case)
    verb = VERBS[name]
    copy_run(trained(case, verb.training), folder)
    deep = "/".join(["d" * case.random.randint(100, 255)] * case.random.randint(2, 20))
    case.title, commands.long_name = f"{name}: --out of {len(deep)} characters", deep
    arguments = [f"{deep}/{one}" if one.startswith("out") else one for one in arguments_of(verb, case.shared)]
    commands.run(arguments, folder, constants=verb.constants)


def make(case: Case) -> Attempt:
    """Environments most often; names and paths in turn."""
    kinds: tuple[Callable[[Case, str], None], ...] = (
        *(run_awkwardly, name_oddly, run_awkwardly, run_awkwardly, go_deep),
        *(run_awkwardly, name_oddly, run_awkwardly, run_awkwardly, run_in_deleted_folder),
    )

    def attempt() -> bool:
        kind = kinds[case.number % len(kinds)]
        names = [*VERBS, *TRAINED] if kind in (run_awkwardly, name_oddly) else list(VERBS)
        kind(case, names[case.random.randrange(len(names))])
        return True

    return attempt


CAMPAIGN = Campaign(make, count=400, prepare=prepare, hang=300, memory=8192)
