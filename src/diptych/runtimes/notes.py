"""What an exported file says of itself, so that whoever runs it needs nothing else."""

import json
from collections.abc import Mapping
from typing import Any

import torch

from diptych.graph import MASK, Graph, Weights
from diptych.images.spec import ImageSpec
from diptych.kinds import Direction
from diptych.training.checkpoint import SavedModel
from diptych.translators.base import LabelSpec, NoiseSpec
from diptych.translators.completion import Completer
from diptych.translators.image import ImageTranslator

Notes = dict[str, Any]


def notes_of(saved: SavedModel, direction: Direction, graph: Graph, weights: Weights) -> Notes:
    """The notes by name; what does not apply to the method is left out."""
    config, translator = saved.config, graph.translator
    specs = graph.inputs.values()
    pictures = {name: spec for name, spec in graph.inputs.items() if isinstance(spec, ImageSpec) and name != MASK}
    notes: Notes = {
        "diptych": config.diptych,
        "torch": torch.__version__,
        "method": config.method,
        "direction": direction,
        "step": saved.step,
        "io": graph.io,
        "bits": graph.bits,
        "weights": weights,
        "inputs": list(graph.inputs),
        "input_range": f"0 to {2**graph.bits - 1}" if graph.io == "bytes" else "-1 to 1",
        "channels_in": [spec.channels for spec in pictures.values()],
        "channels_out": channels_out(graph),
        "size": config.shape.size.plain,
        "config": config.model_dump(mode="json"),
    }
    for side, picture in [*(("in", picture) for picture in pictures.values()), ("out", translator.output_spec)]:
        if picture.range:
            notes[f"range_{side}"] = list(picture.range)
        if picture.labels:
            notes[f"labels_{side}"] = list(picture.labels.lines)
    if graph.has_pictures:
        notes["multiple"] = graph.multiple
    if isinstance(translator, ImageTranslator) and translator.working_size:
        notes["working_size"] = translator.working_size
    if isinstance(translator, Completer):
        notes["mask"] = "255 is a hole, 0 is kept" if graph.io == "bytes" else "1 is a hole, 0 is kept"
        notes["largest_hole"] = translator.largest_hole
        notes["reach"] = translator.receptive_radius
    for spec in specs:
        if isinstance(spec, NoiseSpec):
            notes["noise"] = spec.size
        if isinstance(spec, LabelSpec):
            notes["classes"] = list(spec.classes)
    return notes


def channels_out(graph: Graph) -> int:
    """The channels of the result: those of the pictures, or, of a network that colours, a* and b* alone."""
    if graph.io == "float" and isinstance(graph.translator, ImageTranslator) and "lightness" in graph.inputs:
        return 2
    return graph.translator.output_spec.channels


def as_strings(notes: Mapping[str, Any]) -> dict[str, str]:
    """The notes for formats that hold only strings: numbers and lists as JSON."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in notes.items()}
