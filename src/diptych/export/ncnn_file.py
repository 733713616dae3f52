"""Files of ncnn, for telephones and small boards: NAME.param, the graph, and NAME.bin, the weights. Written by pnnx.

It knows no batches, no levels, and pads nothing: such a file holds the bare network, for one picture.
"""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parametrize

from diptych.graph import Graph
from diptych.runtimes.program import Run, quiet
from diptych.wording import brief

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def parts(file: Path) -> list[Path]:
    """The files that belong together."""
    return [file, file.with_suffix(".bin")]


def require(graph: Graph, weights: str) -> None:
    """Raises a `ValueError` for what such a file cannot hold."""
    if graph.io != "float":
        raise ValueError("--format ncnn: holds the bare network alone; leave --io out, or give --io float")
    if weights == "int8":
        raise ValueError("--weights int8: a file of ncnn holds fp32 or fp16; use one of them")
    if len(graph.inputs) > 1 or not graph.has_pictures:
        inputs = " and ".join(graph.inputs)
        raise ValueError(
            f"--format ncnn: goes from one picture to another, and this model takes {inputs}; export it as .onnx"
        )


def write(program: Callable[[], "ExportedProgram"], graph: Graph, file: Path, notes: Mapping[str, str]) -> None:
    """Writes both. They hold no notes: those are in the JSON file alone."""
    import pnnx

    network = graph.module.eval()
    for layer in network.modules():
        if parametrize.is_parametrized(layer):  # pnnx stores the weights, and none that are computed
            parametrize.remove_parametrizations(layer, "weight")
    stride = graph.translator.stride
    # Of two sizes: pnnx takes what is equal in both for fixed
    sizes = [graph.tensors(1, *size) for size in ((2 * stride, 2 * stride), (3 * stride, 4 * stride))]
    with TemporaryDirectory() as folder, quiet(), torch.no_grad():
        example = tuple(sizes[0].values())
        traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, str(Path(folder, "model.pt")))
        shapes = [",".join(f"{list(tensor.shape)}f32".replace(" ", "") for tensor in one.values()) for one in sizes]
        command = [pnnx.EXEC_PATH, "model.pt", f"inputshape={shapes[0]}", f"inputshape2={shapes[1]}"]
        options = [f"ncnnparam={file.absolute()}", f"ncnnbin={parts(file)[1].absolute()}"]
        options.append(f"fp16={int(notes['weights'] == 'fp16')}")
        done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, errors="replace")
    if done.returncode or not file.is_file():
        raise RuntimeError(f"pnnx ended with {done.returncode}: {done.stderr.strip()[-100:]}")


def opened(file: Path) -> Run:
    """The file in ncnn, on the CPU, in fp32: its own default computes with 16 bits where it can."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = torch.get_num_threads()
    for option in (
        "use_vulkan_compute",
        "use_fp16_packed",
        "use_fp16_storage",
        "use_fp16_arithmetic",
        "use_bf16_storage",
    ):
        setattr(net.opt, option, False)
    if net.load_param(str(file)) or net.load_model(str(parts(file)[1])):
        raise ValueError(f"{file}: ncnn cannot read it")

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        pictures = zip(*inputs.values(), strict=True)
        return torch.stack([_through(net, tensors) for tensors in pictures])

    return run


def _through(net: Any, tensors: tuple[Tensor, ...]) -> Tensor:
    """One picture: tensors `[C, H, W]` -> `[C, H, W]`."""
    import ncnn

    arrays = [np.ascontiguousarray(tensor.numpy()) for tensor in tensors]  # which the extractor points into
    extractor = net.create_extractor()
    for number, array in enumerate(arrays):
        extractor.input(f"in{number}", ncnn.Mat(array))
    failed, result = extractor.extract("out0")
    if failed:
        raise ValueError(f"ncnn cannot compute it ({brief(failed)})")
    return torch.from_numpy(np.array(result))
