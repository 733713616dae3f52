"""An exported ONNX file in the place of a trained model: its translator, and the session that computes it."""

import re
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from diptych.graph import MASK, Graph, Io
from diptych.images.spec import Bits, ImageSpec
from diptych.kinds import Direction
from diptych.runtimes.sessions import Computing, Runtime, SessionNetwork, open_session, require_for_openvino
from diptych.training.checkpoint import SavedModel, read_config
from diptych.translators.base import Translator
from diptych.translators.image import ImageTranslator

ONNX = ".onnx"


class ExportedFile:
    """A file that `diptych export` wrote. Its translator has no weights: `run` takes its place."""

    def __init__(self, file: Path, runtime: Runtime, precision: Computing) -> None:
        if runtime == "torch":
            raise ValueError(f"{file}: --runtime torch runs no ONNX file; leave it out, or give the run itself")
        self.session = open_session(file, runtime, precision)
        notes = self.session.notes
        io, bits, direction = (_one_of(kind, notes.get(name), file) for name, kind in KINDS.items())
        config, method = read_config(notes.get("config", ""), file)
        translators = method.eval().translators(config.direction)
        if direction not in translators:
            raise _foreign(file)
        translator = translators[direction]
        self.graph = Graph(translator, io, bits)
        if sorted(self.session.inputs) != sorted(self.graph.inputs):
            raise _foreign(file)
        if runtime == "openvino":
            require_for_openvino(self.graph)
        self.translator = self._translator(translator).eval()
        self.translator.method = config.method
        step = notes.get("step", "")
        self.saved = SavedModel(
            {direction: self.translator}, config, int(step) if re.fullmatch("[0-9]{1,10}", step) else 0
        )

    def _translator(self, translator: Translator) -> Translator:
        """The translator with the file in the place of the bare network; or one that leaves all to a file of levels."""
        network = SessionNetwork(self.session, list(self.graph.inputs))
        if self.graph.io == "bytes" and isinstance(translator, ImageTranslator):
            # Whatever a translator does around its network is in the file
            [spec] = translator.input_specs.values()
            assert isinstance(spec, ImageSpec)
            return ImageTranslator(network, spec, translator.output_spec)
        translator.network = network
        return translator

    def run(self, *tensors: Tensor) -> Tensor:
        """As `Model.run`: the translator's inputs, floats in [-1, 1] -> images `[B, C, H, W]`."""
        if self.graph.io == "float":
            output: Tensor = self.translator(*tensors)
            return output
        spec, levels = ImageSpec(bits=self.graph.bits), dict[str, Tensor]()
        for (name, kind), tensor in zip(self.graph.inputs.items(), tensors, strict=False):
            if isinstance(kind, ImageSpec):
                tensor = (tensor * 255).to(torch.uint8) if name == MASK else spec.to_levels(tensor)
                tensor = tensor.permute(0, 2, 3, 1)
            levels[name] = tensor
        return spec.to_float(self.session(levels)).permute(0, 3, 1, 2)


KINDS: dict[str, Any] = {"io": Io, "bits": Bits, "direction": Direction}


def _one_of(kind: Any, text: str | None, file: Path) -> Any:
    known = {str(value): value for value in get_args(kind)}
    if text not in known:
        raise _foreign(file)
    return known[text]


def _foreign(file: Path) -> ValueError:
    return ValueError(f"{file}: is no model that `diptych export` wrote; give such a file, or the folder of a run")
