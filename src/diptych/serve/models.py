"""The models of a server, by name: opened at the start or at their first use, and again when their files have changed."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import gettempdir
from typing import Any, get_args

from diptych.graph import MASK
from diptych.hub import PREFIX
from diptych.images.spec import ImageSpec
from diptych.kinds import Direction
from diptych.model import Model, load
from diptych.serve.options import Named, Options
from diptych.serve.problems import Problem
from diptych.translators.base import LabelSpec, NoiseSpec
from diptych.wording import brief

Tell = Callable[[str], None]
Stamp = tuple[tuple[int, int, int], ...]
"""Of files: inode, time and size; another one after each save."""


class ServedModel:
    """A model under its name. A request keeps the model that it began with, so that two are never mixed."""

    def __init__(self, named: Named, options: Options, tell: Tell) -> None:
        self.name, self.run = named.name, named.run
        self.options, self.tell = options, tell
        self._models: dict[Direction | None, Model] = {}
        self._stamp: Stamp = ()
        self._refused: Stamp = ()
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether it can answer without loading anything."""
        return bool(self._models)

    def unchanged(self, direction: Direction | None = None) -> Model | None:
        """The open model, if it is still the one on the disk; asks for no more than the times of two files."""
        model = self._models.get(direction)
        return model if model and self._read_stamp() in (self._stamp, self._refused) else None

    def current(self, direction: Direction | None = None) -> Model:
        """The model as it is on the disk now, opened anew where that has changed.

        One that is damaged or half copied leaves the earlier one in its place, which a line says once. A `ValueError`
        where there is none yet.
        """
        with self._lock:
            stamp = self._read_stamp()
            if self._models and stamp not in (self._stamp, self._refused):
                self._reload(stamp)
            self._add(self._models, direction)
            self._stamp = self._stamp or stamp
            return self._models[direction]

    def _reload(self, stamp: Stamp) -> None:
        models: dict[Direction | None, Model] = {}
        try:
            for direction in self._models:
                self._add(models, direction)
        except ValueError as error:
            self._refused = stamp
            self.tell(f"{self.name}: stays at step {self.step:,}, for the new model cannot be read ({brief(error)})")
            return
        self._models, self._stamp = models, stamp
        self.tell(f"{self.name}: is now at step {self.step:,}")

    def _add(self, models: dict[Direction | None, Model], direction: Direction | None) -> None:
        """Opens the model of a direction, None for that of its training, unless it is among `models`."""
        if direction in models:
            return
        options = self.options
        model = load(
            self.run,
            direction=direction,
            device=options.device,
            precision=options.precision,
            runtime=options.runtime,
            scratch=gettempdir(),  # a server may run in a folder that it cannot write to, or that is gone
        )
        models[direction] = models[model.direction] = model

    @property
    def step(self) -> int:
        """At which the open model was saved."""
        return next(iter(self._models.values())).step

    def _read_stamp(self) -> Stamp:
        if self.run.startswith(PREFIX):
            return ()
        run = Path(self.run)
        folder = run / "model" if (run / "model").is_dir() else run
        files = [folder / "config.json", folder / "model.safetensors"] if folder.is_dir() else [run]
        try:
            found = [file.stat() for file in files]
        except OSError:  # between two saves; the open model stays
            return self._stamp
        return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)


class Catalogue:
    """All models of a server; the first one answers where a request names none."""

    def __init__(self, options: Options, tell: Tell) -> None:
        self.options = options
        self.models = {named.name: ServedModel(named, options, tell) for named in options.models}

    def open_all(self) -> None:
        """Opens all of them, or looks whether they are there; a `ValueError` for one that is not, or cannot be opened."""
        for served in self.models.values():
            if not served.run.startswith(PREFIX) and not Path(served.run).exists():
                raise ValueError(f"{served.run}: no such file or folder; give the folder that `diptych train` wrote")
            if not self.options.lazy:
                served.current()

    def named(self, name: str | None) -> ServedModel:
        """The model of a name; for another name, a `Problem` that lists all names."""
        if not name:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise Problem(404, f"there is no model named {brief(name, 60)!r}; there are: {', '.join(self.models)}")
        return self.models[name]


def direction_of(text: str | None) -> Direction | None:
    """A direction as a request has it; a `Problem` for any other text."""
    if text is None or text in get_args(Direction):
        return text  # type: ignore[return-value]
    raise Problem(422, f"direction {brief(text, 30)!r}: {' or '.join(get_args(Direction))} is expected")


def describe(name: str, model: Model) -> dict[str, Any]:
    """What a program needs to know of a model before it asks: what goes in, and what comes out."""
    translator, config = model.translator, model.config
    height, width = config.shape.size
    return {
        "name": name,
        "method": config.method,
        "step": model.step,
        "direction": model.direction,
        "directions": list(model.translators),
        "serves": "sample" if translator.classes or _is_sampler(model) else "translate",
        "inputs": [{"name": given, **_described(given, spec)} for given, spec in translator.input_specs.items()],
        "output": _described("y", translator.output_spec),
        "classes": list(translator.classes),
        "multiple": translator.stride,
        "size": {"height": height, "width": width},
        "largest_hole": translator.largest_hole,
    }


def _is_sampler(model: Model) -> bool:
    return any(isinstance(spec, NoiseSpec) for spec in model.translator.input_specs.values())


def _described(name: str, spec: Any) -> Mapping[str, Any]:
    if isinstance(spec, NoiseSpec):
        return {"kind": "noise", "size": spec.size}
    if isinstance(spec, LabelSpec):
        return {"kind": "label"}
    assert isinstance(spec, ImageSpec)
    kind = "mask" if name == MASK else "labels" if spec.kind == "labels" else "picture"
    found: dict[str, Any] = {"kind": kind, "channels": 1 if kind == "mask" else spec.channels}
    return found | ({"range": list(spec.range)} if spec.range else {})
