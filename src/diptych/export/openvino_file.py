"""Files of OpenVINO: NAME.xml, the graph, and NAME.bin, the weights. Made from an ONNX file, run by OpenVINO on the CPU."""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from diptych.graph import Graph
from diptych.runtimes import onnx_file
from diptych.runtimes.sessions import OpenVINO, openvino, read_by_openvino, require_for_openvino

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def parts(file: Path) -> list[Path]:
    """The files that belong together."""
    return [file, file.with_suffix(".bin")]


def require(graph: Graph, weights: str) -> None:
    """Raises a `ValueError` for what an ONNX file cannot hold, or OpenVINO not compute."""
    onnx_file.require(graph, weights)
    require_for_openvino(graph)


def write(program: Callable[[], "ExportedProgram"], graph: Graph, file: Path, notes: Mapping[str, str]) -> None:
    """Writes both; `notes` are the section `framework` of `rt_info`."""
    with TemporaryDirectory() as folder:
        onnx_file.write(program, graph, onnx := Path(folder, "model.onnx"), notes)
        # Otherwise it stores all weights as fp16; those that are rounded already stay as they are
        openvino().save_model(read_by_openvino(onnx), str(file), compress_to_fp16=False)


def opened(file: Path) -> OpenVINO:
    """The file in OpenVINO, in fp32."""
    return OpenVINO(openvino().Core().read_model(str(file)), "fp32")
