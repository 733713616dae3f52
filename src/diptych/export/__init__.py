"""Export a trained model for runtimes outside of Diptych, and check the file beside the model."""

import json
import shutil
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Literal, NamedTuple, get_args

from torch import Tensor

from diptych.data.outputs import require_free
from diptych.export import check, onnx_file, program, pth, web
from diptych.export.notes import as_strings, notes_of
from diptych.export.weights import compact
from diptych.files import atomic_file
from diptych.graph import Graph, Io, Weights
from diptych.images.spec import Bits, ImageSpec
from diptych.kinds import Direction
from diptych.model import Model, load
from diptych.wording import brief

Format = Literal["onnx", "pt2", "web", "junyanz"]
SUFFIXES: dict[str, Format] = {".onnx": "onnx", ".pt2": "pt2", ".html": "web", ".pth": "junyanz"}
NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "pt2": ()}
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
    io: Io = "bytes",
    bits: Bits = 8,
    weights: Weights | None = None,
    direction: Direction | None = None,
    palette: Path | str | None = None,
    no_examples: bool = False,
    overwrite: bool = False,
) -> Exported:
    """Exports one direction of a model to one file that holds the network, its weights and what a picture needs besides.

    The file is run on other pictures and sizes beside the model before it gets its name. Beside it lies a JSON file of the
    same name, which says what goes in and out. A web page has all that in it. Raises a `ValueError` for a model that a
    format cannot hold, and a file that exists already.

    Args:
        run: The folder of a run, also while it is still training, or a model folder.
        out: The file to write, such as model.onnx, model.pt2 or page.html; with --format web also a folder, for a web host.
        format: onnx for ONNX Runtime and most others, pt2 for torch.export, web for a page that runs the model in a
            browser, junyanz for the generator by that program's names; without it, by the suffix of --out.
        io: bytes takes and gives levels of pictures of any size; float is the bare network, in [-1, 1].
        bits: Of the levels: 8, or 16 for pictures of 16 bits.
        weights: How they are stored; fp16 halves the file, int8 quarters it and costs some levels, which are printed.
            Without it, fp16 in a web page, else fp32.
        direction: Which way, for a model that knows both; without it, the way of its training.
        palette: Of a web page: a text file of the colours to draw with, a line for each, such as "#0055ff wall", that of an
            empty board first; without it, they are found in the pictures of the training.
        no_examples: Of a web page: leave out the few held-out pictures that it shows.
        overwrite: Write over an older file.
    """
    target = Path(out)
    kind = _format(target, format)
    if kind == "web":
        if io != "bytes" or bits != 8:
            raise ValueError(f"--io {io} --bits {bits}: a web page goes from 8-bit pictures to such; leave both out")
        drawn_with = Path(palette) if palette else None
        return _as_page(run, target, weights or "fp16", direction, drawn_with, not no_examples, overwrite)
    if palette or no_examples:
        raise ValueError("--palette and --no-examples: are of a web page; add --format web, or leave them out")
    if kind == "junyanz":
        if io != "bytes" or bits != 8 or weights:
            raise ValueError("--io, --bits and --weights: a .pth file holds the weights as they are; leave them out")
        return _as_pth(run, target, direction, overwrite)
    writer = _writer(kind)
    if io == "float" and bits != 8:
        raise ValueError(f"--bits {bits}: the bare network of --io float has no levels; leave one of the two out")
    require_free([target, target.with_suffix(".json")], overwrite)
    model = load(run, direction=direction, device="cpu")
    _require_levels(run, model, io)
    return _as_graph(model, Graph(model.translator, io, bits), weights or "fp32", writer, target)


def _require_levels(run: Path | str, model: Model, io: Io) -> None:
    specs = (*model.translator.input_specs.values(), model.translator.output_spec)
    if io == "bytes" and any(isinstance(spec, ImageSpec) and spec.is_of_numbers for spec in specs):
        raise ValueError(
            f"{run}: reads or draws numbers of a range or labels, which a graph of --io bytes has not; export it as .onnx "
            "with --io float, and map them as config.json says"
        )


def _as_graph(model: Model, graph: Graph, weights: Weights, writer: ModuleType, target: Path) -> Exported:
    """The file that `writer` makes; it gets its name, and a JSON file beside it, if its results are those of the model."""
    expected = _expected(model, graph, weights)
    notes = notes_of(model, graph, weights)
    writer.require_size(graph)
    target.parent.mkdir(parents=True, exist_ok=True)
    rejected = target.with_name(f"{target.name}.rejected")  # its name until it has been found right
    with atomic_file(rejected) as beside:
        _write(writer, graph, beside, as_strings(notes))
    lines = [f"{model.config.method} at step {model.step:,}, {rejected.stat().st_size / 1e6:.1f} MB"]
    try:
        run_file = writer.opened(rejected)
        theirs = [run_file(one) for one in expected.inputs]
    except Exception as error:  # of a wrong graph a runtime may raise anything
        lines.append(f"cannot be run ({brief(error)}), so it keeps this name; please report it")
        return Exported(rejected, False, lines)

    difference = check.difference(graph, theirs, expected.rounded)
    tried = ", ".join(map(str, expected.cases)) + " pixels" if graph.has_pictures else "1 and 3 pictures"
    lines.append(f"beside the model: {difference} ({tried})")
    if weights != "fp32":
        lines.append(f"{weights} beside fp32: {check.difference(graph, theirs, expected.whole)}")
    if not difference.is_small:
        lines.append("this is not what the model makes, so the file keeps this name; please report it")
        return Exported(rejected, False, lines)
    cases = [list(case) for case in expected.cases]
    notes["parity"] = {"cases": cases, "largest": difference.largest, "mean": difference.mean}
    with atomic_file(target.with_suffix(".json")) as beside:
        beside.write_text(json.dumps(notes, indent=2) + "\n", encoding="utf-8")
    rejected.replace(target)
    return Exported(target, True, lines)


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
    whole = check.answers(model, graph, inputs)
    compact(graph.translator.network, weights)
    return _Expected(cases, inputs, whole, whole if weights == "fp32" else check.answers(model, graph, inputs))


def _as_page(
    run: Path | str,
    target: Path,
    weights: Weights,
    direction: Direction | None,
    palette: Path | None,
    examples: bool,
    overwrite: bool,
) -> Exported:
    """A web page with an ONNX file in it; a wrong one is kept beside it."""
    with TemporaryDirectory() as folder:
        require_free(web.files_of(target), overwrite)
        exported = export(run, out=Path(folder) / "model.onnx", weights=weights, direction=direction)
        if exported.is_right:
            model = load(run, direction=direction, device="cpu")
            lines = web.write(Path(run), model, exported.file, target, palette, examples)
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


def _writer(name: Format) -> ModuleType:
    """The file of a format here; a `ValueError` with what to install where a package is missing."""
    missing = [package for package in NEEDED[name] if find_spec(package) is None]
    if missing:
        raise ValueError(f"--format {name}: needs {', '.join(missing)}; install them: pip install 'diptych[{name}]'")
    return onnx_file if name == "onnx" else program


def _write(writer: ModuleType, graph: Graph, file: Path, notes: dict[str, str]) -> None:
    try:
        writer.write(program.traced(graph), graph, file, notes)
    except OSError:  # the disk's
        raise
    except (
        Exception
    ) as error:  # an exporter that does not know an operation may raise anything, a thousand characters long
        raise ValueError(
            f"{file.name}: this model cannot be exported ({brief(error, 160)}); please report it"
        ) from error
