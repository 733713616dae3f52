"""A run: its settings, its folder and its log.

runs/facades/
├── settings.toml      every resolved setting, the command, the versions
├── log.jsonl          one line per logged step
├── tensorboard/       the same for TensorBoard
├── samples/           previews of the same held-out images over time
├── checkpoints/       step-00012000/, the newest training states
├── model/             model.safetensors + config.json: the deployed model, all that `translate` needs
├── model-best/        the model with the best validation, in a run with --validate-every
├── results/           val/, the images of `evaluate` with their metrics
├── metrics.jsonl      the scores of `evaluate`
└── index.html         the page of `report`
"""

import hashlib
import json
import os
import platform
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tomli_w

from diptych.data.datasets import Dataset
from diptych.data.paths import DataPaths
from diptych.data.remote import is_address, spelled
from diptych.files import atomic_file, differences, lies_in, require_file, require_in_place, require_no_link
from diptych.kinds import A_AND_B, Sides
from diptych.methods.settings import Shape, require_classes, require_sides
from diptych.training.records import About, Line, LogEntry
from diptych.training.settings import MAY_CHANGE, Settings, Values, parse_settings, read_toml, require_method
from diptych.wording import brief, printable

SHOWN = 3  # settings with their values, in a line
LARGEST_RECORDS = 2**30  # bytes of a file of lines: the log of the longest runs has a tenth
LONGEST_LINE = 2**20  # characters
EMPTY: Mapping[str, Any] = MappingProxyType({})


class Run:
    """The folder of one training run, at `path`."""

    def __init__(
        self,
        path: Path,
        method: str,
        settings: Settings,
        data_paths: DataPaths,
        classes: tuple[str, ...] = (),
        digest: str = "",
        about: About | None = None,
        sides: Sides = A_AND_B,
    ) -> None:
        self.path, self.method, self.settings, self.data_paths = path, method, settings, data_paths
        self.classes, self.digest, self.sides = classes, digest, sides
        self.about = about or About(names=digest)
        """What settings.toml of an existing run says: its command, the data that were found, the versions."""

    @property
    def shape(self) -> Shape:
        """The shape that the method is built for."""
        return self.settings.shape.model_copy(update={"classes": self.classes})

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Opens an existing run; a `ValueError` if there is none at `path`."""
        file = path / "settings.toml"
        if not file.is_file():
            raise ValueError(
                f"{path}: is not a run (it has no settings.toml); give the folder that `diptych train` wrote"
            )
        try:
            values = read_toml(file)
            about, own = values.pop("run"), values.pop("method")
            if not About.accepts(about):
                raise ValueError("its table run is not as training writes it")
            classes = require_classes(about.get("classes", []))
            sides = require_sides(about.get("sides", A_AND_B))
            method = str(own.pop("name"))
            flags = ("data", "data-a", "data-b", "suffix-a", "suffix-b", "halves")
            data_paths = DataPaths.from_flags(*(about.get(flag) for flag in flags))
            require_method(method)
            settings = parse_settings(method, values, own)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = brief(str(error).removeprefix(f"{file}: "), 180)
            raise ValueError(f"{file}: is damaged ({reason}); restore it or start anew with --fresh") from error
        return cls(path, method, settings, data_paths, classes, about["names"], About.model_validate(about), sides)

    def values(self) -> dict[str, Any]:
        """The settings in the form of settings.toml, with the method's settings nested."""
        values = self.settings.model_dump(mode="json")
        values["method"] = {"name": self.method, **values["method"]}
        return values

    def write_settings(
        self,
        command: str,
        description: str,
        names: str,
        left_out: Sequence[str] = (),
        precision: str = "fp32",
        begun_from: Mapping[str, Any] = EMPTY,
        transforms: Sequence[str] | None = None,
    ) -> None:
        """Writes settings.toml: all resolved settings, the command, the data, the left-out images, the versions."""
        about = {
            "command": command,
            **{
                flag: spelled(folder if is_address(folder) else folder.absolute())
                for flag, folder in self.data_paths.flags.items()
            },
            **self.data_paths.reading,
            "found": description,
            **({"classes": list(self.classes)} if self.classes else {}),
            **({"sides": list(self.sides)} if self.sides != A_AND_B else {}),
            "names": names,
            "precision": precision,
            **({"transforms": list(transforms)} if transforms is not None else {}),
            **({"left-out": list(left_out)} if left_out else {}),
            **({"begun-from": dict(begun_from)} if begun_from else {}),
            "versions": {name: version(name) for name in ("diptych", "torch")} | {"python": platform.python_version()},
        }
        self.path.mkdir(parents=True, exist_ok=True)
        with atomic_file(self.path / "settings.toml") as partial:
            text = tomli_w.dumps({**self.values(), "run": about})
            text = text.encode("utf-8", errors="replace").decode()  # TOML has no escapes for invalid Unicode in a name
            partial.write_text("\n".join(map(printable, text.split("\n"))), encoding="utf-8")

    def require_same(self, other: "Run") -> None:
        """Raises a `ValueError` with the differences if `other` is not a continuation of this run."""
        ours, theirs = _flat(self.values()), _flat(other.values())
        different = sorted({*differences(ours, theirs), *differences(theirs, ours)} - MAY_CHANGE)
        if different:
            told = [f"{key} {ours.get(key, 'unset')} there, {theirs.get(key, 'unset')} asked for" for key in different]
            more = [f"and {', '.join(different[SHOWN:])}"] if different[SHOWN:] else []
            raise ValueError(
                f"{self.path}: holds another run ({'; '.join([*told[:SHOWN], *more])}); leave them out to continue it, or "
                f"branch off: diptych train --continue {shlex.quote(str(self.path))} --out NEW; or add --fresh to start anew"
            )

    def require_there(self) -> None:
        """Raises a `ValueError` when the folder was renamed or removed: whoever trains in it cannot know where it is."""
        if not self.path.is_dir():
            raise ValueError(
                f"{self.path}: is no folder any more; if it was renamed, give the same command with its new name as --out, "
                "and the training goes on from its last checkpoint"
            )

    def require_no_links(self) -> None:
        """Raises a `ValueError` for a link among what training writes, which would be written through.

        The checkpoints may lie on another disk, in a folder of their own. Those of another run may not.
        """
        names = ("settings.toml", "log.jsonl", "tensorboard", "samples")
        require_no_link(*(self.path / name for name in names), *self.path.glob("model*"))
        checkpoints = self.path / "checkpoints"
        if (Path(os.path.realpath(checkpoints)).parent / "settings.toml").exists():
            require_no_link(checkpoints)
        others = () if lies_in(self.path, checkpoints) else checkpoints.glob("*")
        if other := next((path.name for path in others if not path.name.startswith(("step-", ".partial-"))), None):
            raise ValueError(
                f"{checkpoints}: is a link to a folder with other files than checkpoints ({other}); remove it, or let it "
                "lead to a folder of their own"
            )

    # ---- log.jsonl

    def log(self, entry: Values) -> None:
        """Appends one line; a `ValueError` when it cannot be written."""
        log = self.path / "log.jsonl"
        try:
            with os.fdopen(_open_to_append(log), "a", encoding="utf-8") as file:
                require_in_place(log)
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise ValueError(
                f"{log}: could not be written ({error.strerror}); the checkpoints are whole: mend this, and give the same "
                "command again"
            ) from error

    def read_log(self, notes: list[str] | None = None) -> list[dict[str, Any]]:
        """All entries of the log, oldest first; `notes` as in `read_json_lines`."""
        return read_json_lines(self.path / "log.jsonl", LogEntry, notes)

    def cut_log(self, step: int) -> None:
        """Removes the entries after `step`; those steps will be repeated."""
        file = self.path / "log.jsonl"
        lines = _lines(file) if os.path.lexists(file) else ()
        kept = [line for line in lines if LogEntry.accepts(entry := _parse(line)) and entry["step"] <= step]
        with atomic_file(file) as partial:
            partial.write_text("".join(f"{line.rstrip()}\n" for line in kept), encoding="utf-8")


def require_method_of(path: Path, method: str) -> None:
    """Raises a `ValueError` for a run of another method."""
    if (own := Run.open(path).method) != method:
        raise ValueError(f"{path}: is a run of {own}, not of {method}; leave the method out")


def read_json_lines(path: Path, shape: type[Line] = Line, notes: list[str] | None = None) -> list[dict[str, Any]]:
    """The objects of a JSON lines file that are of a `shape`; a truncated last line is ignored, a missing file is empty.

    Raises a `ValueError` for what is no such file. With `notes` it becomes one of these, as do lines of another shape, which
    are left out.
    """
    if not os.path.lexists(path):
        return []
    try:
        read = [_parse(line) for line in _lines(path)]
    except ValueError as error:
        if notes is None:
            raise
        notes.append(str(error))
        return []
    objects = [entry for entry in read if isinstance(entry, dict)]
    sound = [entry for entry in objects if shape.accepts(entry)]
    if notes is not None and len(sound) < len(objects):
        notes.append(f"{path}: {len(objects) - len(sound)} of its lines are not as Diptych writes them, and left out")
    return sound


def _lines(path: Path) -> Iterator[str]:
    """The lines of a text file; at most `LONGEST_LINE` of each, so that a file without line breaks takes no memory."""
    require_file(path)
    if (size := path.stat().st_size) > LARGEST_RECORDS:
        raise ValueError(
            f"{path}: has {size} bytes, and such a file has {LARGEST_RECORDS} at most; it is not what it says"
        )
    try:
        with path.open(encoding="utf-8") as file:
            yield from iter(lambda: file.readline(LONGEST_LINE), "")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not text (UTF-8)") from error


def _parse(line: str) -> Any:
    """The value of a line of JSON; None for what is none, or is nested too deeply, or has a number of too many digits."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def command_line() -> str:
    """The running command, in the form in which it can be repeated."""
    program, *arguments = sys.argv
    typed = "diptych" if Path(program).name in ("diptych", "diptych.exe", "__main__.py") else Path(program).name
    return shlex.join([typed, *arguments])


def names_digest(datasets: Sequence[Dataset]) -> str:
    """A hash of the names of all samples: detects another dataset, and accepts the same one at another path."""
    lists = ([dataset.name(index) for index in range(len(dataset))] for dataset in datasets)
    variants = [dataset.variant for dataset in datasets if dataset.variant]
    names = "\n\n".join("\n".join(names) for names in (*lists, *filter(None, [variants])))
    return hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()[:16]


def _open_to_append(path: Path) -> int:
    """A file descriptor; a fifo in the place of the file is an error, where `open` would wait for somebody to read it."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), 0o666)


def set_aside(path: Path) -> Path:
    """Renames a folder, such as that of a run, to make room for a new one; gives its new path. Nothing is deleted."""
    if path.name in ("", ".."):
        raise ValueError(f"{path}: cannot be set aside by this name; give the folder by its own")
    names = (path.with_name(f"{path.name}.old-{number}") for number in count(1))
    return path.rename(next(aside for aside in names if not os.path.lexists(aside)))


def _flat(values: Values, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
