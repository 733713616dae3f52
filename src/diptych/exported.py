"""An exported ONNX file in the place of a trained model: its translator, and ONNX Runtime as what runs it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from diptych.files import require_file
from diptych.graph import MASK, RESULT, Graph, Io
from diptych.images.spec import Bits, ImageSpec
from diptych.kinds import Direction
from diptych.networks.layers import ImageNetwork
from diptych.training.checkpoint import SavedModel, read_config
from diptych.translators.base import Translator
from diptych.translators.image import ImageTranslator
from diptych.wording import brief

ONNX = ".onnx"


class ExportedFile:
    """A file that `diptych export` wrote. Its translator has no weights: `run` takes its place."""

    def __init__(self, file: Path, device: torch.device, precision: str) -> None:
        if device.type != "cpu" or precision != "fp32":
            raise ValueError(
                f"{file}: runs on the CPU in fp32; leave --device and --precision out, or give the run itself"
            )
        self.session = open_session(file)
        notes = self.session.get_modelmeta().custom_metadata_map
        io, bits, direction = (_one_of(kind, notes.get(name), file) for name, kind in KINDS.items())
        config, method = read_config(notes.get("config", ""), file)
        translators = method.eval().translators(config.direction)
        if direction not in translators:
            raise _foreign(file)
        translator = translators[direction]
        self.graph = Graph(translator, io, bits)
        if [value.name for value in self.session.get_inputs()] != list(self.graph.inputs):
            raise _foreign(file)
        self.translator = self._translator(translator).eval()
        self.translator.method = config.method
        step = notes.get("step", "")
        self.saved = SavedModel(
            {direction: self.translator}, config, int(step) if re.fullmatch("[0-9]{1,10}", step) else 0
        )

    def _translator(self, translator: Translator) -> Translator:
        """The translator with the file in the place of the bare network; or one that leaves all to a file of levels."""
        network = _Network(self)
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
        spec, levels = ImageSpec(bits=self.graph.bits), []
        for (name, kind), tensor in zip(self.graph.inputs.items(), tensors, strict=False):
            if isinstance(kind, ImageSpec):
                tensor = (tensor * 255).to(torch.uint8) if name == MASK else spec.to_levels(tensor)
                tensor = tensor.permute(0, 2, 3, 1)
            levels.append(tensor)
        return spec.to_float(self.through(levels)).permute(0, 3, 1, 2)

    def through(self, inputs: Sequence[Tensor]) -> Tensor:
        """The result of the file for its own inputs."""
        arrays = {name: tensor.contiguous().numpy() for name, tensor in zip(self.graph.inputs, inputs, strict=False)}
        try:
            [result] = self.session.run([RESULT], arrays)
        except Exception as error:  # its errors have no common class but this
            raise ValueError(f"ONNX Runtime cannot translate it ({brief(error)}); --working-size shrinks it") from error
        return torch.from_numpy(result)


class _Network(ImageNetwork):
    """A file of the bare network."""

    stride = 1

    def __init__(self, file: ExportedFile) -> None:
        super().__init__()
        self.file = file

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.file.through(tensors)


KINDS: dict[str, Any] = {"io": Io, "bits": Bits, "direction": Direction}


def _one_of(kind: Any, text: str | None, file: Path) -> Any:
    known = {str(value): value for value in get_args(kind)}
    if text not in known:
        raise _foreign(file)
    return known[text]


def _foreign(file: Path) -> ValueError:
    return ValueError(f"{file}: is no model that `diptych export` wrote; give such a file, or the folder of a run")


def open_session(file: Path) -> Any:
    """An ONNX file in ONNX Runtime on the CPU; a `ValueError` for one that cannot be run."""
    require_file(file)
    try:
        import onnxruntime
    except ImportError:
        raise ValueError(f"{file}: needs onnxruntime; install it: pip install 'diptych[onnx]'") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it would print is in the error too
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common class but this
        raise ValueError(f"{file}: is damaged, or no ONNX file ({brief(error)})") from error
