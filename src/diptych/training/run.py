"""What a run is: its settings, the folder that explains itself, its log.

runs/facades/
├── settings.toml      every resolved setting, the command, the versions
├── log.jsonl          one line per logged step
├── tensorboard/       the same, for those who like it
├── samples/           the same few held-out pictures at every sampling step
├── checkpoints/       step-00012000/ whole training states, the newest few kept
├── model/             model.safetensors + config.json: what translate opens, and what can be shared
├── model-best/        the one that did best on the held-out pictures, where the training looked at them
├── results/           val/ the pictures that evaluate made, with their numbers
├── metrics.jsonl      what evaluate measured
└── index.html         what report draws
"""

import hashlib
import json
import platform
import shlex
import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tomli_w

from diptych.data.datasets import Dataset
from diptych.data.paths import DataPaths
from diptych.files import atomic_file, differences
from diptych.methods.settings import Shape
from diptych.training.settings import MAY_CHANGE, Settings, Values, parse_settings, require_method


class Run:
    """The folder of one training run, at `path`."""

    def __init__(
        self,
        path: Path,
        method: str,
        settings: Settings,
        place: DataPaths,
        classes: tuple[str, ...] = (),
        digest: str = "",
    ) -> None:
        self.path, self.method, self.settings, self.place = path, method, settings, place
        self.classes, self.digest = classes, digest

    @property
    def shape(self) -> Shape:
        """What its method is built for."""
        return self.settings.shape.model_copy(update={"classes": self.classes})

    @classmethod
    def open(cls, path: Path) -> "Run":
        """An existing run; a `ValueError` when there is none at `path`."""
        file = path / "settings.toml"
        if not file.is_file():
            raise ValueError(
                f"{path}: is not a run (it has no settings.toml); give the folder that `diptych train` wrote"
            )
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
            about, own = values.pop("run"), values.pop("method")
            method, digest, classes = own.pop("name"), about["names"], tuple(about.get("classes", ()))
            place = DataPaths.from_flags(about.get("data"), about.get("data-a"), about.get("data-b"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file}: is damaged ({error}); restore it or start anew with --fresh") from error
        require_method(method)
        return cls(path, method, parse_settings(method, values, own), place, classes, digest)

    def values(self) -> dict[str, Any]:
        """The settings as they stand in settings.toml, the method's own ones nested."""
        values = self.settings.model_dump(mode="json")
        values["method"] = {"name": self.method, **values["method"]}
        return values

    def write_settings(self, command: str, found: str, names: str, left_out: Sequence[str] = ()) -> None:
        """Writes settings.toml: every resolved setting, the command, the data, what was left out of it, the versions."""
        values = self.values()
        own = values.pop("method")
        about = {
            "command": command,
            **{flag: str(folder.absolute()) for flag, folder in self.place.flags.items()},
            "found": found,
            **({"classes": list(self.classes)} if self.classes else {}),
            "names": names,
            **({"left-out": list(left_out)} if left_out else {}),
            "versions": {name: version(name) for name in ("diptych", "torch")} | {"python": platform.python_version()},
        }
        self.path.mkdir(parents=True, exist_ok=True)
        with atomic_file(self.path / "settings.toml") as beside:
            text = tomli_w.dumps({**values, "method": own, "run": about})
            beside.write_text(text, encoding="utf-8", errors="replace")  # a folder's name need not be Unicode

    def require_same(self, other: "Run") -> None:
        """Raises a `ValueError` that names the first differences when `other` is not this run continued."""
        ours, theirs = _flat(self.values()), _flat(other.values())
        different = sorted({*differences(ours, theirs), *differences(theirs, ours)} - MAY_CHANGE)
        if different:
            first = [
                f"{key} {ours.get(key, 'unset')} there, {theirs.get(key, 'unset')} asked for" for key in different[:3]
            ]
            raise ValueError(
                f"{self.path}: holds another run ({'; '.join(first)}); choose another --out, repeat its settings to "
                f"continue it (--{different[0]} {ours.get(different[0])}), or add --fresh to set it aside and start anew"
            )

    # ---- log.jsonl

    def log(self, entry: Values) -> None:
        """Appends one line."""
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def read_log(self) -> list[dict[str, Any]]:
        """All whole lines of the log, oldest first."""
        return read_json_lines(self.path / "log.jsonl")

    def cut_log(self, step: int) -> None:
        """Forgets what was logged after `step`: those steps are done again."""
        kept = [entry for entry in self.read_log() if entry["step"] <= step]
        with atomic_file(self.path / "log.jsonl") as beside:
            beside.write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines; a last line cut off by a kill is passed over, a missing file is empty."""
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return entries


def command_line() -> str:
    """The command that is running, as one could type it again."""
    program, *arguments = sys.argv
    typed = "diptych" if Path(program).name in ("diptych", "diptych.exe", "__main__.py") else Path(program).name
    return shlex.join([typed, *arguments])


def names_digest(sources: Sequence[Dataset]) -> str:
    """A fingerprint of the samples by their names: are these the pictures of last time, wherever they lie now?"""
    names = "\n\n".join("\n".join(source.name(index) for index in range(len(source))) for source in sources)
    return hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()[:16]


def set_aside(path: Path) -> Path:
    """Renames a run so that a new one can take its place; nothing is deleted."""
    number = 1
    while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    return path.rename(aside)


def _flat(values: Values, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
