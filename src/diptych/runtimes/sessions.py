"""What runs an ONNX file on the CPU: ONNX Runtime, or OpenVINO."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from diptych.files import require_file
from diptych.graph import RESULT, Graph
from diptych.images.files import Array
from diptych.networks.layers import ImageNetwork
from diptych.runtimes.packages import require_packages
from diptych.translators.image import ColorTranslator
from diptych.wording import brief

Runtime = Literal["torch", "onnxruntime", "openvino"]
"""What computes the network of a model. torch runs a model as it was trained, the others run it as an ONNX file."""
Computing = Literal["fp32", "bf16"]


class Session(ABC):
    """An open file. `inputs` are the names of what it takes, `notes` what it says of itself."""

    name: ClassVar[str]
    inputs: list[str]
    notes: dict[str, str]

    def __call__(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The result for inputs by name; a `ValueError` where they cannot be computed."""
        arrays = {name: tensor.contiguous().numpy() for name, tensor in tensors.items()}
        try:
            return torch.from_numpy(self._run(arrays))
        except Exception as error:  # the errors of neither runtime have a common class but this
            raise ValueError(
                f"{self.name} cannot compute it ({brief(error)}); --working-size shrinks the picture"
            ) from error

    @abstractmethod
    def _run(self, arrays: dict[str, Array]) -> Array:
        """The result for arrays by name."""


class _OnnxRuntime(Session):
    name = "ONNX Runtime"

    def __init__(self, file: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what it would print is in the error too
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.notes = self.session.get_modelmeta().custom_metadata_map

    def _run(self, arrays: dict[str, Array]) -> Array:
        result: Array = self.session.run([RESULT], arrays)[0]
        return result


class OpenVINO(Session):
    """A model that OpenVINO has read."""

    name = "OpenVINO"

    def __init__(self, graph: Any, precision: Computing) -> None:
        self.inputs = [value.get_any_name() for value in graph.inputs]
        framework = graph.rt_info["framework"] if graph.has_rt_info("framework") else {}
        self.notes = {name: value.astype(str) for name, value in framework.items()}
        settings = {
            "INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" else "bf16",  # by default it is bf16 on some CPUs
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        self.compiled = openvino().Core().compile_model(graph, "CPU", settings)

    def _run(self, arrays: dict[str, Array]) -> Array:
        # A request of its own for each call: one that is shared cannot be used by two threads
        result: Array = self.compiled.create_infer_request().infer(arrays)[RESULT]
        return result


def open_session(file: Path, runtime: Runtime = "onnxruntime", precision: Computing = "fp32") -> Session:
    """An ONNX file in a runtime, on the CPU; a `ValueError` for one that cannot be run."""
    require_file(file)
    require_runtime(runtime, precision)
    try:
        return _OnnxRuntime(file) if runtime == "onnxruntime" else OpenVINO(read_by_openvino(file), precision)
    except Exception as error:  # the errors of neither have a common class but this
        raise ValueError(f"{file}: is damaged, or no ONNX file ({brief(error)})") from error


def require_runtime(runtime: Runtime, precision: Computing) -> None:
    """Raises a `ValueError` for a runtime that is not installed, or does not compute in this precision here."""
    what = f"--runtime {runtime}"
    require_packages(what, [runtime], "onnx" if runtime == "onnxruntime" else "openvino")
    if precision == "fp32":
        return
    if runtime == "onnxruntime":
        raise ValueError(f"--precision {precision}: {what} computes in fp32; leave it out, or use --runtime openvino")
    if "BF16" not in openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ValueError(f"--precision {precision}: this processor does not compute in bf16; leave it out")


# ---- OpenVINO

REPORTS = "openvino_telemetry"


def openvino() -> Any:
    """The package OpenVINO, without the one that reports its import to its makers over the network."""
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]  # None: cannot be imported
    modules.setdefault(REPORTS, None)
    try:
        import openvino
        import openvino.frontend
    finally:
        if modules[REPORTS] is None:
            del modules[REPORTS]
    return openvino


def require_for_openvino(graph: Graph) -> None:
    """Raises a `ValueError` for a graph that OpenVINO computes wrongly: it shrinks pictures, but without antialiasing."""
    if graph.io == "bytes" and isinstance(graph.translator, ColorTranslator):
        raise ValueError(
            "OpenVINO shrinks the pictures of a colouring in another way; export it with --io float, or use ONNX Runtime"
        )


def read_by_openvino(file: Path) -> Any:
    """An ONNX file as a model of OpenVINO. It is read as ONNX and as nothing else, whatever is in it."""
    reader = openvino().frontend.FrontEndManager().load_by_framework("onnx")
    return reader.convert(reader.load(str(file)))


# ---- in the place of a network


class SessionNetwork(ImageNetwork):
    """A network that a session computes, from a file of the bare network. It has no weights."""

    stride = 1

    def __init__(self, session: Session, names: Sequence[str]) -> None:
        """`names` are those of the inputs, in the order of the network's."""
        super().__init__()
        self.session, self.names = session, names

    def forward(self, *tensors: Tensor) -> Tensor:
        """As the network."""
        return self.session(
            dict(zip(self.names, tensors, strict=False))
        )  # a sampler without labels gives one all the same
