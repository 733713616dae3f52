"""Folders from elsewhere: runs, comparisons, prepared data, with links, fifos, strangers, forged lines, for every verb."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from . import ready
from .harness import SECRET, Attempt, Campaign, Case
from .models import hostile_json, hostile_value, odd_file
from .mutations import mutate
from .recipes import hostile_toml

STRANGER = b"a stranger's words, and not Diptych's: "
STRANGERS = (
    "notes.txt",
    "mine.png",
    "step-00000099.png",
    "x.json",
    ".hidden",
    "deeper/notes.txt",
    "results.jsonl.bak",
    "model.safetensors.old",
)
NAMES = (
    "../../precious/a",
    "../../../precious/val/keep",
    "/etc/passwd",
    "..",
    "",
    "a\x1b[31m",
    "a\nb",
    "n" * 300,
    "x/../../../y",
    "\ud800",
    "<script>alert(1)</script>",
)


def prepare(shared: Path) -> None:
    """A run of each kind, and what the other verbs write."""
    pairs, classes = ready.write_pairs(shared / "pairs"), ready.write_classes(shared / "classes")
    for method in ("pix2pix", "cgan"):
        ready.write_run(shared / method, method, classes if method == "cgan" else pairs)
    shutil.copytree(shared / "pix2pix", shared / "other")
    for name, command in written(shared).items():
        ready.perform(*command(shared / name))


def written(shared: Path) -> dict[str, Callable[[Path], tuple[object, ...]]]:
    """What other verbs write, and the commands that go on with it."""
    pictures = shared / "pairs" / "train"
    return {
        "comparison": lambda out: ("report", shared / "pix2pix", shared / "other", "--out", out),
        "resized": lambda out: ("data", "resize", pictures, "--size", 16, "--out", out),
        "blanked": lambda out: ("data", "blank", pictures, "--out", out),
        "divided": lambda out: ("data", "split", pictures, "--val", 0.5, "--out", out),
        "packed": lambda out: ("data", "pack", pictures, "--size", 16, "--out", out / "train.npy"),
        "drawn": lambda out: ("data", "demo", "facades", "--out", out, "--size", 16, "--train", 4, "--val", 1),
    }


def on_runs(case: Case, method: str, run: Path) -> tuple[object, ...]:
    """A command on a run."""
    data = case.shared / ("classes" if method == "cgan" else "pairs")
    out, goes_on = case.folder / "out", ready.training(method, data, run, steps=8)
    picture = min((data / "val").rglob("*.png"))
    use = ("sample", run, "--out", out) if method == "cgan" else ("translate", run, picture, "--out", out / "x.png")
    commands: tuple[tuple[object, ...], ...] = (
        use,
        ("evaluate", run, "--data", data),
        ("evaluate", run, "--data", data),
        ("report", run),
        ("report", run, case.shared / "other", "--out", out),
        goes_on,
        (*goes_on, "--fresh"),
        ("data", "inspect", run),
    )
    return case.random.choice(commands)


# ---- what is done to a folder


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_symlink())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def link_out(case: Case, folder: Path) -> str:
    """A file or folder becomes a link to something precious, of the same name where there is one."""
    random, path = case.random, case.random.choice(_entries(folder))
    same = case.precious / path.relative_to(folder)
    others = [other for other in sorted(case.precious.rglob("*")) if other.is_dir() == path.is_dir()]
    target = same if os.path.lexists(same) and random.random() < 0.7 else random.choice(others)
    if random.random() < 0.2:
        target = case.precious
    _remove(path)
    path.symlink_to(random.choice((target, os.path.relpath(target, path.parent))))
    return f"{path.relative_to(folder)} is a link to {target.relative_to(case.precious)}"


def link_hard(case: Case, folder: Path) -> str:
    """A file becomes another name of a precious file: whatever is written into it is written there."""
    files = [path for path in _entries(folder) if path.is_file()]
    path = case.random.choice(files)
    path.unlink()
    path.hardlink_to(case.precious / "log.jsonl")
    return f"{path.relative_to(folder)} is another name of log.jsonl"


def add_stranger(case: Case, folder: Path) -> str:
    """A file of somebody's among ours."""
    folders = [folder, *(path for path in _entries(folder) if path.is_dir())]
    path = case.random.choice(folders) / case.random.choice(STRANGERS)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(STRANGER + str(path.relative_to(folder)).encode())
    return f"{path.relative_to(folder)} is a stranger"


def no_file(case: Case, folder: Path) -> str:
    """A file becomes a fifo, a device, a folder, a circle."""
    path = case.random.choice([path for path in _entries(folder) if path.is_file()])
    return f"{path.relative_to(folder)}: {odd_file(path, case)}"


def forge(case: Case, folder: Path) -> str:
    """Lines of JSON with names that lead elsewhere and values of every kind."""
    files = [path for path in sorted(_files(folder)) if path.suffix in (".jsonl", ".json", ".toml")]
    if not files:
        return add_stranger(case, folder)
    path = case.random.choice(files)
    if path.suffix == ".toml":
        data, _ = hostile_toml(case.random, "pix2pix", path.read_text(encoding="utf-8"))
        path.write_bytes(data)
    elif path.suffix == ".json":
        path.write_bytes(hostile_json(json.loads(path.read_bytes()), case.random))
    else:
        path.write_bytes(b"\n".join(_forged(path.read_bytes().splitlines(), case.random)) + b"\n")
    return f"{path.relative_to(folder)} is forged"


def _forged(lines: list[bytes], random: Random) -> Iterator[bytes]:
    for line in lines:
        entry = json.loads(line)
        match random.randrange(5):
            case 0:
                yield hostile_json(entry, random).replace(b"\n", b" ")
                continue
            case 1 if "name" in entry:
                entry["name"] = random.choice(NAMES)
            case 2 if "panels" in entry:
                entry["panels"] = random.choice(([random.choice(NAMES)], NAMES[0], None, [3]))
            case 3:
                entry[random.choice(list(entry))] = hostile_value(random)
        yield json.dumps(entry).encode()


def damage(case: Case, folder: Path) -> str:
    """A file is damaged, or lost."""
    path = case.random.choice(sorted(_files(folder)))
    if case.random.random() < 0.3:
        path.unlink()
        return f"{path.relative_to(folder)} is lost"
    data, ways = mutate(path.read_bytes() or b"x", case.random)
    path.write_bytes(data)
    return f"{path.relative_to(folder)}: {ways}"


CHANGES: tuple[Callable[[Case, Path], str], ...] = (
    link_out,
    link_out,
    link_out,
    link_hard,
    add_stranger,
    add_stranger,
    no_file,
    forge,
    forge,
    damage,
)


def _changed(case: Case, folder: Path) -> str:
    try:
        return case.random.choice(CHANGES)(case, folder)
    except (ValueError, RecursionError):  # what is to be forged is none of ours any more
        return damage(case, folder)


# ---- what must be true afterwards


def _files(folder: Path) -> Iterator[Path]:
    """Regular files of an ordinary size; links are not followed."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 2**24:
            yield path


def _strangers(folder: Path) -> set[bytes]:
    contents = (path.read_bytes() for path in _files(folder))
    return {content for content in contents if content.startswith(STRANGER)}


def _secrets(folder: Path) -> set[Path]:
    return {path for path in _files(folder) if SECRET in path.read_bytes()}


def make(case: Case) -> Attempt:
    """A folder that Diptych wrote, changed in one to three ways, and a command that uses it or goes on with it."""
    others = written(case.shared)
    name = case.random.choice(("pix2pix", "pix2pix", "pix2pix", "cgan", "cgan", *others))
    folder = case.folder / name
    shutil.copytree(case.shared / name, folder, symlinks=True)
    arguments = others[name](folder) if name in others else on_runs(case, name, folder)
    what = []
    for _ in range(case.random.choice((1, 1, 2, 3))):
        if next(_files(folder), None):  # a link may have taken the place of all
            what.append(_changed(case, folder))
    case.title = (
        f"{name}: {'; '.join(what)}; {' '.join(map(str, arguments[:2] if arguments[0] == 'data' else arguments[:1]))}"
    )
    strangers, secrets = _strangers(case.folder), _secrets(case.folder)
    case.guard(case.shared)

    def attempt() -> bool:
        try:
            return case.command(*arguments)
        finally:
            for lost in strangers - _strangers(case.folder):
                case.fault("files", f"a stranger's file is gone: {lost.decode()}")
            # A record that is another name of a precious file is written anew with its lines: that carries nothing away.
            for copy in {path for path in _secrets(case.folder) if path.stat().st_nlink == 1} - secrets:
                case.fault("files", f"a precious file was carried away into {copy}")

    return attempt


CAMPAIGN = Campaign(make, count=3000, prepare=prepare)
