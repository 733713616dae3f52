"""The network of a model in another runtime: written once as an ONNX file, kept in the cache, checked beside the model."""

import hashlib
import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console

from diptych.files import atomic_file, cache_folder, fingerprint, recall, remember
from diptych.graph import Graph
from diptych.kinds import Direction
from diptych.progress import say
from diptych.runtimes import check, onnx_file
from diptych.runtimes.check import Case, Difference
from diptych.runtimes.notes import as_strings, notes_of
from diptych.runtimes.packages import WRITES_ONNX, require_packages
from diptych.runtimes.program import write_graph
from diptych.runtimes.sessions import Computing, Runtime, SessionNetwork, open_session, require_runtime
from diptych.training.checkpoint import SavedModel

NAME = re.compile(r"network-[0-9a-f]{16}\.onnx")
MOST_KEPT = 4 * 2**30
"""Bytes of the files in the cache: a server of a run that trains writes one after each checkpoint, of up to 220 MB."""


def in_runtime(saved: SavedModel, direction: Direction, runtime: Runtime, precision: Computing) -> SessionNetwork:
    """The network of one direction in a runtime. What takes time, and what bf16 costs, is said on stderr.

    Raises a `ValueError` for a missing package, and for a network that the runtime does not compute as torch does.
    """
    require_runtime(runtime, precision)
    graph = Graph(saved.translators[direction], io="float")
    cases = check.cases(graph, saved.config.shape.size)
    about = f"{saved.config.model_dump_json()} {direction} {torch.__version__}"
    name = f"network-{fingerprint(about, graph.translator.network.state_dict())[:16]}"
    console = Console(stderr=True)
    with _onnx_file(name, saved, direction, graph, console) as file:
        exact = _difference(name, graph, cases, file, runtime, "fp32")
        asked = exact if precision == "fp32" else _difference(name, graph, cases, file, runtime, precision)
        if not exact.is_small or not math.isfinite(asked.largest):
            raise ValueError(
                f"--runtime {runtime}: does not compute what the model does ({asked}); leave it out, and please report it"
            )
        session = open_session(file, runtime, precision)
    if precision != "fp32":
        say(console, f"{session.name} in {precision}: {asked} beside fp32, on tried pictures")
    return SessionNetwork(session, list(graph.inputs))


def _difference(
    name: str, graph: Graph, cases: Sequence[Case], file: Path, runtime: Runtime, precision: Computing
) -> Difference:
    """How the file in a runtime compares with the network in torch: measured once, then remembered."""
    memory = f"{name}-{runtime}-{version(runtime)}-{precision}"
    known = recall(memory)
    if known is None:
        inputs = check.inputs_of(graph, cases)
        session = open_session(file, runtime, precision)
        known = astuple(check.difference(graph, [session(one) for one in inputs], check.answers(graph, inputs)))
        remember(memory, known)
    return Difference(*known)


@contextmanager
def _onnx_file(name: str, saved: SavedModel, direction: Direction, graph: Graph, console: Console) -> Iterator[Path]:
    """The file in the cache, if it is what was written there; else one that is written now, and kept if possible."""
    folder = cache_folder()
    kept = folder / f"{name}.onnx" if folder else None
    if kept and kept.is_file() and recall(name) == _checksum(kept):
        with suppress(OSError):
            os.utime(kept)  # those that are not used are deleted first
        yield kept
        return
    require_packages("--runtime onnxruntime and openvino", WRITES_ONNX, "onnx")
    onnx_file.require(graph, "fp32")
    say(console, f"{saved.config.method} at step {saved.step:,}: its network is written as an ONNX file, once")
    with TemporaryDirectory() as temporary:
        file = Path(temporary, f"{name}.onnx")
        write_graph(onnx_file, graph, file, as_strings(notes_of(saved, direction, graph, "fp32")))
        if kept:
            with suppress(OSError):
                kept.parent.mkdir(parents=True, exist_ok=True)
                with atomic_file(kept) as beside:
                    shutil.copyfile(file, beside)
                remember(name, _checksum(file))
                _delete_unused(kept)
        yield file


def _delete_unused(kept: Path) -> None:
    """Deletes the files beside `kept` that were not used for the longest time, until all hold no more than `MOST_KEPT`."""
    ours = [file for file in kept.parent.iterdir() if NAME.fullmatch(file.name) and recall(file.stem) and file != kept]
    room = MOST_KEPT - kept.stat().st_size
    for file in sorted(ours, key=lambda file: file.stat().st_mtime, reverse=True):
        room -= file.stat().st_size
        if room < 0:
            file.unlink()


def _checksum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
