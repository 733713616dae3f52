"""Diptych turns one kind of picture into another, or a label into a picture.

The map, in the order in which a picture meets the parts:

    data/pictures     one file <-> one tensor in [-1, 1]
    data/tfrecords    TFRecord files without TensorFlow
    data/idx          the idx files of MNIST
    data/sources      a list of samples, wherever they lie
    data/layouts      a folder or an array -> its samples
    data/geometry     resize, crop, flip, pad
    data/masks        a person's masks
    data/outputs      which picture goes where
    data/duplicates   pictures that are nearly the same
    data/facades      the built-in synthetic facades
    data/shapes       the built-in synthetic shapes
    data/batches      samples -> endless, seeded, resumable batches
    methods           one paper = one file, between data and networks
    holes, blend      masks drawn and found; what fills them meets its surroundings
    color             lightness and colour: CIE Lab
    networks, losses  the parts that papers are made of
    augment           differentiable augmentation of what a discriminator sees
    metrics           how far pictures are from what they should be
    weights, cache    others' weights; what was worked out once
    features          what a network sees in pictures
    devices           which device, precision and memory layout
    atomic, progress  files that appear whole; what a person sees of long work
    checkpoint        training state, and the deployed model cut from it
    run               what a run is: settings, the folder, its log
    doctor            what goes wrong in a training
    validation        which model is the best, and when to stop
    updater, loop     what a step does, and a run, step by step: the only place where a method learns
    train             what is checked before the first step
    filling           the holes of a picture of any size
    model             the only door to a trained model
    translate         pictures of any size through it
    sample            pictures out of noise, by label
    evaluate, report  numbers, and a page worth showing
    submit            a Kaggle submission, checked
    prepare           the tools that make a data set
    quickstart, cli   the commands

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
__all__ = ["Model", "evaluate", "load", "report", "sample", "submit", "train", "translate"]

if TYPE_CHECKING:
    from diptych.evaluate import evaluate
    from diptych.model import Model, load
    from diptych.report import report
    from diptych.sample import sample
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
