"""Diptych turns one kind of picture into another, or a label into a picture.

A picture goes through these parts; `docs/architecture.md` has the whole map.

    files -> images/ -> data/ -> training/ [methods/ <- networks/, losses] -> run folder
    run folder -> model -> translate, sample, evaluate, report, submit, export, serve

From Python:

    import diptych
    diptych.train("pix2pix", data="facades", out="runs/facades", direction="BtoA")
    model = diptych.load("runs/facades")
    photo = model(labels)
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Model", "evaluate", "export", "load", "report", "sample", "serve", "submit", "train", "translate"]

if TYPE_CHECKING:
    from diptych.evaluate import evaluate
    from diptych.export import export
    from diptych.model import Model, load
    from diptych.report import report
    from diptych.sample import sample
    from diptych.serve import serve
    from diptych.submit import submit
    from diptych.train import train
    from diptych.translate import translate


def __getattr__(name: str) -> Any:
    """The public names, imported when they are first used: torch takes seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    file = "model" if name in ("Model", "load") else name
    return getattr(import_module(f"diptych.{file}"), name)


class _Package(ModuleType):
    """Keeps `diptych.train` the function: Python would put the file train.py in its place when that is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
