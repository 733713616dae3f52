"""Packages of Core ML, a folder NAME.mlpackage: written here by coremltools, run on Apple's systems alone."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from diptych.graph import RESULT, Graph
from diptych.runtimes.program import quiet

if TYPE_CHECKING:
    from torch.export import ExportedProgram

opened = None
"""Nothing on this machine runs it."""


def parts(file: Path) -> list[Path]:
    """The one folder."""
    return [file]


def require(graph: Graph, weights: str) -> None:
    """Raises a `ValueError` for what such a package cannot hold."""
    if graph.io != "float":
        raise ValueError("--format coreml: holds the bare network alone; leave --io out, or give --io float")
    if weights == "int8":
        raise ValueError("--weights int8: a package of Core ML is written with fp32 or fp16; use one of them")


def write(program: Callable[[], "ExportedProgram"], graph: Graph, file: Path, notes: Mapping[str, str]) -> None:
    """Writes the package; `notes` are its `user_defined_metadata`. With weights of fp16 it computes in fp16 too."""
    with quiet():  # it warns of every torch that is newer than itself
        import coremltools

        precision = coremltools.precision.FLOAT16 if notes["weights"] == "fp16" else coremltools.precision.FLOAT32
        model = coremltools.convert(
            program().run_decompositions({}),
            convert_to="mlprogram",
            compute_precision=precision,
            minimum_deployment_target=coremltools.target.iOS17,
            outputs=[coremltools.TensorType(name=RESULT)],
            skip_model_load=True,
        )
        model.user_defined_metadata.update(notes)
        model.save(str(file))
