"""A graph as a program of torch.export, which ONNX files are made of too; files of type .pt2."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from diptych.graph import Graph
from diptych.wording import brief

if TYPE_CHECKING:
    from torch.export import ExportedProgram  # takes two seconds to import

Run = Callable[[Mapping[str, Tensor]], Tensor]
"""Runs a file on the inputs by name."""


def traced(graph: Graph) -> "ExportedProgram":
    """The program of a graph, for every number and size of pictures."""
    # Sizes are not looked at for being 1, by a setting for which torch has no public name: the bottleneck of a U-Net is
    # 1 x 1 at its training size, and the program would refuse that size.
    from torch.fx.experimental._config import patch  # type: ignore[attr-defined]

    stride = graph.translator.stride
    example = graph.tensors(2, *((stride, 2 * stride) if graph.multiple > 1 else (stride + 5, 2 * stride + 9)))
    free = [
        {number: torch.export.Dim.DYNAMIC for number, axis in enumerate(graph.axes[name]) if axis} for name in example
    ]
    # `Levels` has the inputs as one tuple, a network by their names.
    shapes = (tuple(free),) if graph.io == "bytes" else tuple(free)
    with quiet(), torch.no_grad(), patch(backed_size_oblivious=True), _Exportable():
        program = torch.export.export(graph.module.eval(), tuple(example.values()), dynamic_shapes=shapes)
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # it names files of this machine
    return program


class _Exportable(TorchFunctionMode):
    """Inside, kornia's colour matrices are convolutions: torch's einsum depends on whether the batch has size 1."""

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function is torch.einsum and args[0] == "oi, ...ihw -> ...ohw":
            _, matrix, pictures = args
            return torch.conv2d(pictures, matrix[:, :, None, None])
        return function(*args, **(kwargs or {}))


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, torch prints nothing: no warnings while it exports, and not the whole graph when it fails."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def parts(file: Path) -> list[Path]:
    """The one file."""
    return [file]


def require(graph: Graph, weights: str) -> None:
    """Such a file holds weights of any size and kind."""


def write(program: Callable[[], "ExportedProgram"], graph: Graph, file: Path, notes: Mapping[str, str]) -> None:
    """Writes the program; `notes` are an entry of the archive, `notes[NAME]` is `extra_files` of torch.export.load."""
    with quiet():
        torch.export.save(program(), data := io.BytesIO(), extra_files=dict(notes))
    file.write_bytes(data.getbuffer())


def write_graph(writer: ModuleType, graph: Graph, file: Path, notes: Mapping[str, str]) -> None:
    """Has a graph written by `writer.write`, that of this file or its like; a `ValueError` if that fails."""
    try:
        writer.write(partial(traced, graph), graph, file, notes)
    except (OSError, ValueError):  # the disk's, or one of ours
        raise
    except Exception as error:
        # An exporter that does not know an operation may raise anything, a thousand characters long
        raise ValueError(
            f"{file.name}: this model cannot be exported ({brief(error, 160)}); please report it"
        ) from error


def opened(file: Path) -> Run:
    """The program in a file that this process has written: it is not for files of others."""
    with quiet():
        return runnable(torch.export.load(io.BytesIO(file.read_bytes())))


def runnable(program: "ExportedProgram") -> Run:
    """The program as it runs in torch."""
    module = program.module()

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad(), quiet():
            result: Tensor = module(*inputs.values())
        return result

    return run
