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
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tomli_w

from diptych.data.datasets import Dataset
from diptych.data.paths import DataPaths
from diptych.files import atomic_file, differences
from diptych.methods.settings import Shape, require_classes
from diptych.training.settings import MAY_CHANGE, Settings, Values, parse_settings, read_toml, require_method
from diptych.wording import brief


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
    ) -> None:
        self.path, self.method, self.settings, self.data_paths = path, method, settings, data_paths
        self.classes, self.digest = classes, digest

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
            method, digest, classes = own.pop("name"), str(about["names"]), require_classes(about.get("classes", []))
            data_paths = DataPaths.from_flags(about.get("data"), about.get("data-a"), about.get("data-b"))
            require_method(method)
            settings = parse_settings(method, values, own)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = brief(str(error).removeprefix(f"{file}: "), 180)
            raise ValueError(f"{file}: is damaged ({reason}); restore it or start anew with --fresh") from error
        return cls(path, method, settings, data_paths, classes, digest)

    def values(self) -> dict[str, Any]:
        """The settings in the form of settings.toml, with the method's settings nested."""
        values = self.settings.model_dump(mode="json")
        values["method"] = {"name": self.method, **values["method"]}
        return values

    def write_settings(self, command: str, description: str, names: str, left_out: Sequence[str] = ()) -> None:
        """Writes settings.toml: all resolved settings, the command, the data, the left-out images, the versions."""
        about = {
            "command": command,
            **{flag: str(folder.absolute()) for flag, folder in self.data_paths.flags.items()},
            "found": description,
            **({"classes": list(self.classes)} if self.classes else {}),
            "names": names,
            **({"left-out": list(left_out)} if left_out else {}),
            "versions": {name: version(name) for name in ("diptych", "torch")} | {"python": platform.python_version()},
        }
        self.path.mkdir(parents=True, exist_ok=True)
        with atomic_file(self.path / "settings.toml") as partial:
            text = tomli_w.dumps({**self.values(), "run": about})
            partial.write_text(text, encoding="utf-8", errors="replace")  # a folder's name may be invalid Unicode

    def require_same(self, other: "Run") -> None:
        """Raises a `ValueError` with the first differences if `other` is not a continuation of this run."""
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
        """All entries of the log, oldest first."""
        return read_json_lines(self.path / "log.jsonl")

    def cut_log(self, step: int) -> None:
        """Removes the entries after `step`; those steps will be repeated."""
        entries = [entry for entry in self.read_log() if entry["step"] <= step]
        with atomic_file(self.path / "log.jsonl") as partial:
            partial.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file; a truncated last line is ignored, a missing file is empty."""
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
    """The running command, in the form in which it can be repeated."""
    program, *arguments = sys.argv
    typed = "diptych" if Path(program).name in ("diptych", "diptych.exe", "__main__.py") else Path(program).name
    return shlex.join([typed, *arguments])


def names_digest(datasets: Sequence[Dataset]) -> str:
    """A hash of the names of all samples: detects another dataset, and accepts the same one at another path."""
    names = "\n\n".join("\n".join(dataset.name(index) for index in range(len(dataset))) for dataset in datasets)
    return hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()[:16]


def set_aside(path: Path) -> Path:
    """Renames the folder of a run to make room for a new one; nothing is deleted."""
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
