"""An exported file gives what the model gives, for pictures of every number and size."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from diptych.graph import Graph, Weights
from diptych.images.size import Size
from diptych.methods import METHODS
from diptych.model import Model
from diptych.runtimes import check, onnx_file, program
from diptych.runtimes.weights import compact
from diptych.training.run import Run

pytest.importorskip("onnxruntime", reason="pip install 'diptych[onnx]'")
pytest.importorskip("onnxscript", reason="pip install 'diptych[onnx]'")

Train = Callable[..., Run]
LoadPainting = Callable[..., Model]
HOLES = {"hole_min": 10, "hole_max": 16}


@pytest.fixture
def painting(train_tiny: Train, load_painting: LoadPainting, tmp_path: Path) -> Callable[..., Model]:
    """A model of a method whose weights paint."""

    def call(method: str, **changes: Any) -> Model:
        if method == "glcic":
            changes = {"batch_size": 2, "method": HOLES, **changes}
        return load_painting(train_tiny(tmp_path / "run", method, **changes).path)

    return call


def written(graph: Graph, folder: Path) -> dict[str, program.Run]:
    """The graph as a file of each format, opened; neither names a path of this machine."""
    traced = program.traced(graph)
    files = {}
    for writer, name in ((onnx_file, "model.onnx"), (program, "model.pt2")):
        writer.write(lambda: traced, graph, folder / name, {"method": "one"})
        for word in (b".py", b"site-packages"):  # torch keeps of every operation from which line it came
            assert word not in (folder / name).read_bytes()
        files[name] = writer.opened(folder / name)
    return files


def compare(model: Model, graph: Graph, run: program.Run, case: check.Case, seed: int) -> None:
    inputs = graph.tensors(*case, seed=seed)
    [ours] = check.answers(graph, [inputs], model.run)
    theirs = run(inputs)
    assert theirs.shape == ours.shape
    assert check.difference(graph, [theirs], [ours]).is_small


@pytest.mark.parametrize("method", METHODS)
def test_levels_in_levels_out(painting: Callable[..., Model], tmp_path: Path, method: str) -> None:
    """Also at the training size, where the bottleneck of a U-Net is 1 x 1; below the stride; and for a single picture."""
    model = painting(method)
    graph = Graph(model.translator)
    files = written(graph, tmp_path)
    sides = st.integers(2, 70)

    @settings(max_examples=12)
    @given(st.builds(check.Case, st.integers(1, 3), sides, sides), st.integers(0, 2**31))
    def at_any_size(case: check.Case, seed: int) -> None:
        for run in files.values():
            compare(model, graph, run, case, seed)

    at_any_size()
    for run in files.values():
        for case in check.cases(graph, model.config.shape.size):
            compare(model, graph, run, case, 0)
    if graph.has_pictures:  # that the pictures are no grey ones, in which nothing can be wrong
        [result] = check.answers(graph, [graph.tensors(1, 32, 32)], model.run)
        assert result.float().std() > 5


@pytest.mark.parametrize("method", ["pix2pix", "colorize", "glcic"])
def test_the_bare_network(painting: Callable[..., Model], tmp_path: Path, method: str) -> None:
    model = painting(method)
    graph = Graph(model.translator, io="float")
    assert graph.multiple == model.translator.stride
    for run in written(graph, tmp_path).values():
        for case in check.cases(graph, model.config.shape.size):
            assert case.height % graph.multiple == case.width % graph.multiple == 0
            compare(model, graph, run, case, 1)


def test_sixteen_bits_and_other_numbers_of_channels(painting: Callable[..., Model], tmp_path: Path) -> None:
    """Differences of a level of 8 bits would be 257 of these."""
    for folder, mode in (("A", "L"), ("B", "RGBA")):
        (tmp_path / folder).mkdir()
        for number in range(2):
            Image.effect_noise((32, 32), 50).convert(mode).save(tmp_path / folder / f"{number}.png")
    data = {"data": None, "data_a": tmp_path / "A", "data_b": tmp_path / "B"}
    model = painting("pix2pix", channels_a=1, channels_b=4, direction="AtoB", **data)
    graph = Graph(model.translator, bits=16)
    assert graph.tensors(1, 5, 6)["picture"].dtype == torch.uint16
    for run in written(graph, tmp_path).values():
        for case in check.cases(graph, Size.square(32)):
            inputs = graph.tensors(*case, seed=3)
            theirs, [ours] = run(inputs), check.answers(graph, [inputs], model.run)
            assert (theirs.dtype, theirs.shape) == (torch.uint16, (*case, 4))
            assert (theirs.int() - ours.int()).abs().max() <= 4


def test_a_hole_up_to_the_largest_is_filled_as_the_model_fills_it(
    painting: Callable[..., Model], tmp_path: Path
) -> None:
    """Whatever the size of the picture: the grid of the network begins at its first pixel."""
    model = painting("glcic")
    graph = Graph(model.translator)
    run = program.runnable(program.traced(graph))
    for height, width in ((61, 67), (18, 35), (40, 33)):
        inputs = graph.tensors(1, height, width)
        mask = inputs["mask"] = torch.zeros_like(inputs["mask"])
        mask[:, 1:17, 2:17] = 255
        result = run(inputs)
        assert torch.equal(result, check.answers(graph, [inputs], model.run)[0])
        kept = (mask == 0).expand_as(result)
        assert torch.equal(result[kept], inputs["picture"][kept])


@pytest.mark.parametrize(("weights", "most"), [("fp16", 1), ("int8", 40)])
def test_rounded_weights(painting: Callable[..., Model], tmp_path: Path, weights: Weights, most: int) -> None:
    """The file computes with the rounded weights as the network does with them in place."""
    model = painting("pix2pix")
    graph = Graph(model.translator)
    inputs = graph.tensors(1, 40, 50)
    [ours] = check.answers(graph, [inputs], model.run)
    compact(model.translator.network, weights)
    for run in written(graph, tmp_path).values():
        compare(model, graph, run, check.Case(2, 37, 41), 0)
        difference = check.difference(graph, [run(inputs)], [ours])
        assert 0 < difference.largest <= most


@pytest.mark.parametrize("layer", [torch.nn.Conv2d(3, 5, 4), torch.nn.ConvTranspose2d(3, 5, 4), torch.nn.Linear(3, 5)])
def test_every_output_channel_has_a_scale_of_its_own(layer: torch.nn.Module) -> None:
    axis = 1 if isinstance(layer, torch.nn.ConvTranspose2d) else 0
    weight: Tensor = layer.weight.detach().clone()  # type: ignore[operator]
    weight *= torch.logspace(-6, 2, 5).view([5 if i == axis else 1 for i in range(weight.ndim)])
    with torch.no_grad():
        layer.weight.copy_(weight)  # type: ignore[operator]
    compact(network := torch.nn.Sequential(layer), "int8")
    rounded = network[0].weight.detach()  # type: ignore[operator]
    error = (rounded - weight).abs() / weight.abs().amax([i for i in range(weight.ndim) if i != axis], keepdim=True)
    assert 0 < error.max() <= 0.5 / 127 + 1e-6
    stored = sum(tensor.nbytes for tensor in network.state_dict().values())
    assert stored < weight.numel() + 5 * 4 * 2 + 1
