"""A web page that runs a model in the visitor's browser, in one file or in a folder."""

from pathlib import Path

from diptych import page
from diptych.about import about, can_show
from diptych.files import atomic_file
from diptych.model import Model

INDEX = "index.html"
PARTS = ("model", *page.RUNTIME)


def files_of(target: Path) -> list[Path]:
    """What a page is written to: one file, or those of a folder."""
    return [target] if _is_file(target) else [target / name for name in (INDEX, *(f"{part}.gz" for part in PARTS))]


def write(
    run: Path, model: Model, file: Path, target: Path, palette: Path | None, examples: bool, webgpu: bool
) -> list[str]:
    """Writes the page of a model whose ONNX file is `file`; returns what there is to say of it."""
    lines = list[str]()
    if not can_show(model):
        raise ValueError("--format web: a browser shows pictures of 1 or 3 channels; export this model as .onnx")
    shown = about(run, model, lines, palette, examples)
    parts = {"model": page.packed(file.read_bytes()), **page.runtime_parts(webgpu)}
    index = files_of(target)[0]
    index.parent.mkdir(parents=True, exist_ok=True)
    if not _is_file(target):
        for name, part in parts.items():
            with atomic_file(target / f"{name}.gz") as beside:
                beside.write_bytes(part)
    with atomic_file(index) as beside:
        beside.write_text(page.render(shown, parts, inside=_is_file(target), webgpu=webgpu), encoding="utf-8")
    size = sum(path.stat().st_size for path in files_of(target)) / 1e6
    share = len(parts["model"]) / sum(map(len, parts.values()))
    lines.append(f"a page of {size:.1f} MB, of which the network takes {100 * share:.0f} %")
    if not _is_file(target):
        lines.append("needs a web host; to look at it here, run `python -m http.server` in this folder")
    return lines


def _is_file(target: Path) -> bool:
    return target.suffix.lower() == ".html"
