"""ONNX files: written from a program of torch.export, run by ONNX Runtime."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from diptych.graph import RESULT, Graph
from diptych.runtimes.program import quiet
from diptych.runtimes.sessions import Session, open_session

if TYPE_CHECKING:
    from torch.export import ExportedProgram

OPSET = 20
LARGEST = 2**31 - 2**24
"""Bytes of weights: protobuf holds 2 GiB, and the graph takes its part."""


def parts(file: Path) -> list[Path]:
    """The one file."""
    return [file]


def require(graph: Graph, weights: str) -> None:
    """Raises a `ValueError` if the weights are more than one file can hold."""
    network = graph.translator.network
    size = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
    if size > LARGEST:
        raise ValueError(
            f"--format onnx: the weights take {size / 2**30:.1f} GiB, and one ONNX file holds 2; "
            "add --weights fp16, or give a file of type .pt2 as --out"
        )


def write(program: Callable[[], "ExportedProgram"], graph: Graph, file: Path, notes: Mapping[str, str]) -> None:
    """Writes one file with the weights in it; `notes` are its `metadata_props`."""
    names = list(graph.inputs)
    with quiet():
        exported = torch.onnx.export(
            program(),
            dynamo=True,
            external_data=False,
            verbose=False,
            opset_version=OPSET,
            input_names=names,
            output_names=[RESULT],
        )
    assert exported is not None
    model = exported.model_proto
    for value in (*model.graph.input, *model.graph.output):
        for dimension, axis in zip(value.type.tensor_type.shape.dim, graph.axes[value.name], strict=True):
            if axis:
                dimension.dim_param = axis
    del model.graph.value_info[:]  # the names of axes that are gone
    for node in (*model.graph.node, *(node for function in model.functions for node in function.node)):
        del node.metadata_props[:]  # where in the source of torch it came from
        node.doc_string = ""
    del model.metadata_props[:]
    for name, text in notes.items():
        model.metadata_props.add(key=name, value=text)
    model.producer_name, model.doc_string = "diptych", ""
    file.write_bytes(model.SerializeToString())


def opened(file: Path) -> Session:
    """The file in ONNX Runtime, on the CPU."""
    return open_session(file)
