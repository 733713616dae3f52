"""Export a trained model for runtimes outside of Diptych, and check the file beside the model."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Literal, NamedTuple, get_args

from torch import Tensor

from diptych.data.outputs import require_free
from diptych.export import coreml_file, ncnn_file, openvino_file, pth, web
from diptych.files import atomic_file, atomic_folder
from diptych.graph import Graph, Io, Weights
from diptych.images.spec import Bits, ImageSpec
from diptych.kinds import Direction
from diptych.model import Model, load
from diptych.runtimes import check, onnx_file, program
from diptych.runtimes.notes import Notes, as_strings, notes_of
from diptych.runtimes.packages import WRITES_ONNX, require_packages
from diptych.runtimes.weights import compact
from diptych.wording import brief

Format = Literal["onnx", "pt2", "openvino", "ncnn", "coreml", "web", "junyanz"]
SUFFIXES: dict[str, Format] = {
    ".onnx": "onnx",
    ".pt2": "pt2",
    ".xml": "openvino",
    ".param": "ncnn",
    ".mlpackage": "coreml",
    ".html": "web",
    ".pth": "junyanz",
}
WRITERS: dict[Format, ModuleType] = {
    "onnx": onnx_file,
    "pt2": program,
    "openvino": openvino_file,
    "ncnn": ncnn_file,
    "coreml": coreml_file,
}
"""What writes a graph as a file: `parts`, `require`, `write` and `opened` of each."""
NEEDED: dict[Format, tuple[str, ...]] = {
    "onnx": (*WRITES_ONNX, "onnxruntime"),
    "pt2": (),
    "openvino": (*WRITES_ONNX, "openvino"),
    "ncnn": ("ncnn", "pnnx"),
    "coreml": ("coremltools",),
}
"""Packages that a format needs beside torch; the extra of Diptych that installs them has the format's name."""


@dataclass(frozen=True)
class Exported:
    """What `export` wrote."""

    file: Path
    """The file; one that was found wrong is called `.rejected`."""
    is_right: bool
    lines: list[str]
    """What was written, and how it compares with the model, for a person."""


def export(
    run: Path | str,
    *,
    out: Path | str,
    format: Format | None = None,
    io: Io | None = None,
    bits: Bits = 8,
    weights: Weights | None = None,
    direction: Direction | None = None,
    palette: Path | str | None = None,
    no_examples: bool = False,
    webgpu: bool = False,
    overwrite: bool = False,
) -> Exported:
    """Exports one direction of a model to one file that holds the network, its weights and what a picture needs besides.

    The file is run on other pictures and sizes beside the model before it gets its name. Beside it lies a JSON file of the
    same name, which says what goes in and out. A web page has all that in it. Raises a `ValueError` for a model that a
    format cannot hold, and a file that exists already.

    Args:
        run: The folder of a run, also while it is still training, or a model folder.
        out: The file to write, such as model.onnx, model.pt2 or page.html; with --format web also a folder, for a web host.
        format: onnx for ONNX Runtime and most others, pt2 for torch.export, openvino (.xml), ncnn (.param), coreml
            (.mlpackage), web for a page that runs the model in a browser, junyanz for the generator by that program's
            names; without it, by the suffix of --out.
        io: bytes takes and gives levels of pictures of any size; float is the bare network, in [-1, 1]. Without it, bytes;
            ncnn and Core ML hold the bare network alone.
        bits: Bits of the levels: 8, or 16 for pictures of 16 bits.
        weights: How they are stored; fp16 halves the file, int8 quarters it and costs some levels, which are printed.
            Without it, fp16 in a web page, else fp32.
        direction: For a model that translates in both directions; without it, that of its training.
        palette: For a web page: a text file of the colours to draw with, one per line, such as "#0055ff wall", first that
            of the empty board; without it, they are found in the pictures of the training.
        no_examples: For a web page: leave out the few held-out pictures that it shows.
        webgpu: For a web page: compute on the visitor's graphics processor where the browser gives it and it makes the same
            pictures, else on the processor; the page gets 3.9 MB larger.
        overwrite: Write over an older file.
    """
    target = Path(out)
    kind = _format(target, format)
    if kind == "web":
        if io == "float" or bits != 8:
            raise ValueError("--io and --bits: a web page goes from 8-bit pictures to such; leave both out")
        drawn_with = Path(palette) if palette else None
        return _as_page(run, target, weights or "fp16", direction, drawn_with, not no_examples, webgpu, overwrite)
    if palette or no_examples or webgpu:
        raise ValueError(
            "--palette, --no-examples and --webgpu: are of a web page; add --format web, or leave them out"
        )
    if kind == "junyanz":
        if io or bits != 8 or weights:
            raise ValueError("--io, --bits and --weights: a .pth file holds the weights as they are; leave them out")
        return _as_pth(run, target, direction, overwrite)
    require_packages(f"--format {kind}", NEEDED[kind], kind)
    io = io or ("float" if kind in ("ncnn", "coreml") else "bytes")
    if io == "float" and bits != 8:
        raise ValueError(f"--bits {bits}: the bare network of --io float has no levels; leave one of the two out")
    if kind == "coreml" and target.exists():
        raise ValueError(f"{target}: exists already, and such a folder is not written over; choose another --out")
    require_free([*WRITERS[kind].parts(target), target.with_suffix(".json")], overwrite)
    model = load(run, direction=direction, device="cpu")
    if io == "bytes":
        _require_levels(run, model, bits)
    return _as_graph(model, Graph(model.translator, io, bits), weights or "fp32", WRITERS[kind], target)


def _require_levels(run: Path | str, model: Model, bits: Bits) -> None:
    """Raises a `ValueError` where levels of so many bits do not hold what the model reads or draws."""
    if bits == 8 and any(spec.is_of_numbers for spec in _pictures(model)):
        raise ValueError(
            f"{run}: reads or draws numbers of a range or labels, and 8 bits do not hold them; add --bits 16"
        )


def _pictures(model: Model) -> list[ImageSpec]:
    specs = (*model.translator.input_specs.values(), model.translator.output_spec)
    return [spec for spec in specs if isinstance(spec, ImageSpec)]


def _as_graph(model: Model, graph: Graph, weights: Weights, writer: ModuleType, target: Path) -> Exported:
    """The file that `writer` makes; it gets its name, and a JSON file beside it, if its results are those of the model."""
    writer.require(graph, weights)
    expected = _expected(model, graph, weights)
    notes = notes_of(model.saved, model.direction, graph, weights)
    with TemporaryDirectory() as folder:
        file = Path(folder, target.name)
        program.write_graph(writer, graph, file, as_strings(notes))
        size = sum(map(_size, writer.parts(file)))
        lines = [f"{model.config.method} at step {model.step:,}, {size / 1e6:.1f} MB"]
        target.parent.mkdir(parents=True, exist_ok=True)
        if writer.opened is None:
            lines.append("not checked: nothing on this machine runs it")
        elif not _is_right(writer, graph, file, expected, notes, lines):
            for part, place in zip(writer.parts(file), writer.parts(target), strict=True):
                _place(part, place.with_name(f"{place.name}.rejected"))
            return Exported(target.with_name(f"{target.name}.rejected"), False, lines)
        for part, place in zip(writer.parts(file), writer.parts(target), strict=True):
            _place(part, place)
        with atomic_file(target.with_suffix(".json")) as beside:
            beside.write_text(json.dumps(notes, indent=2) + "\n", encoding="utf-8")
    return Exported(target, True, lines)


def _is_right(
    writer: ModuleType, graph: Graph, file: Path, expected: "_Expected", notes: Notes, lines: list[str]
) -> bool:
    """Whether a file makes what the model makes; notes it, and says it in a line."""
    try:
        run_file = writer.opened(file)
        theirs = [run_file(one) for one in expected.inputs]
    except Exception as error:  # of a wrong graph a runtime may raise anything
        lines.append(f"cannot be run ({brief(error)}), so it is called .rejected; please report it")
        return False
    difference = check.difference(graph, theirs, expected.rounded)
    tried = ", ".join(map(str, expected.cases)) + " pixels" if graph.has_pictures else "1 and 3 pictures"
    lines.append(f"beside the model: {difference} ({tried})")
    if notes["weights"] != "fp32":
        lines.append(f"{notes['weights']} beside fp32: {check.difference(graph, theirs, expected.whole)}")
    if not difference.is_small:
        lines.append("this is not what the model makes, so the file is called .rejected; please report it")
        return False
    cases = [list(case) for case in expected.cases]
    notes["parity"] = {"cases": cases, "largest": difference.largest, "mean": difference.mean}
    return True


def _size(part: Path) -> int:
    return sum(file.stat().st_size for file in part.rglob("*")) if part.is_dir() else part.stat().st_size


def _place(part: Path, place: Path) -> None:
    """Puts a file, or the folder of a package, where it belongs: whole or not at all."""
    if part.is_dir():
        with atomic_folder(place) as beside:
            shutil.copytree(part, beside, dirs_exist_ok=True)
        return
    with atomic_file(place) as beside:
        shutil.copyfile(part, beside)


class _Expected(NamedTuple):
    """What the file must give: the model's own results."""

    cases: list[check.Case]
    inputs: list[check.Inputs]
    whole: list[Tensor]
    """With the weights of the model."""
    rounded: list[Tensor]
    """With the weights as they are stored."""


def _expected(model: Model, graph: Graph, weights: Weights) -> _Expected:
    """The results to compare with. Afterwards the graph has the weights as they are stored."""
    cases = check.cases(graph, model.config.shape.size)
    inputs = check.inputs_of(graph, cases)
    whole = check.answers(graph, inputs, model.run)
    compact(graph.translator.network, weights)
    return _Expected(cases, inputs, whole, whole if weights == "fp32" else check.answers(graph, inputs, model.run))


def _as_page(
    run: Path | str,
    target: Path,
    weights: Weights,
    direction: Direction | None,
    palette: Path | None,
    examples: bool,
    webgpu: bool,
    overwrite: bool,
) -> Exported:
    """A web page with an ONNX file in it; a wrong one is kept beside it."""
    with TemporaryDirectory() as folder:
        require_free(web.files_of(target), overwrite)
        if any(spec.is_of_numbers for spec in _pictures(load(run, direction=direction, device="cpu"))):
            raise ValueError(
                f"{run}: reads or draws numbers of a range or labels, which no page shows; export it as .onnx"
            )
        exported = export(run, out=Path(folder) / "model.onnx", weights=weights, direction=direction)
        if exported.is_right:
            model = load(run, direction=direction, device="cpu")
            lines = web.write(Path(run), model, exported.file, target, palette, examples, webgpu)
            return Exported(target, True, [*exported.lines, *lines])
        kept = target.with_name(f"{target.name}.onnx.rejected")
        kept.parent.mkdir(parents=True, exist_ok=True)
        return replace(exported, file=Path(shutil.move(exported.file, kept)))


def _as_pth(run: Path | str, target: Path, direction: Direction | None, overwrite: bool) -> Exported:
    require_free([target], overwrite)
    model = load(run, direction=direction, device="cpu")
    target.parent.mkdir(parents=True, exist_ok=True)
    rejected = target.with_name(f"{target.name}.rejected")
    with atomic_file(rejected) as beside:
        difference = pth.write(model, beside)
    lines = [f"{model.config.method} at step {model.step:,}; read back, its output differs by {difference:.1g} at most"]
    if not difference < pth.EQUAL:
        return Exported(rejected, False, [*lines, "this is not what the model makes, so the file keeps this name"])
    rejected.replace(target)
    return Exported(target, True, lines)


def _format(target: Path, given: str | None) -> Format:
    """The format of a file, by its suffix; a `ValueError` where it is unknown, or another than what was asked for."""
    known = SUFFIXES.get(target.suffix.lower())
    if given is not None and given not in SUFFIXES.values():
        raise ValueError(f"--format {given}: {' or '.join(get_args(Format))} is expected")
    if given == "web" and known is None:
        return "web"
    if known is None or given not in (None, known):
        suffixes = [suffix for suffix, name in SUFFIXES.items() if given in (None, name)]
        raise ValueError(
            f"{target}: the name of an exported file ends in {' or '.join(suffixes)}; choose another --out"
        )
    return known
