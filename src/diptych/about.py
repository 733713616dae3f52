"""What the web page of a model shows: its tool, the colours to draw with, examples, facts and numbers of its run."""

import base64
import re
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from diptych.data import layouts
from diptych.data.datasets import Dataset
from diptych.data.loaders import EvalLoader, open_cached
from diptych.files import read_text
from diptych.graph import MASK, Graph
from diptych.images.files import as_bytes, from_tensor, to_image
from diptych.images.label_maps import palette_of
from diptych.images.spec import EIGHT_BIT, ImageSpec
from diptych.kinds import DataKind, in_words
from diptych.methods import METHODS
from diptych.metrics import title
from diptych.model import Model
from diptych.page import About, Colour, Tool
from diptych.training.records import Scores
from diptych.training.run import Run, read_json_lines
from diptych.translators.base import NoiseSpec
from diptych.translators.image import ColorTranslator

EXAMPLES, LARGEST_EXAMPLE = 6, 256  # pictures, and pixels of a side
PROBED = 40  # pictures in which the colours are looked for
LABEL_BRUSH, MASK_BRUSH, PEN = 1 / 16, 1 / 8, 1 / 64  # of the board
MOST_PIXELS, MOST_COLOURING = 2**20, 2**23
"""Larger pictures are shrunk for the network; a colouring does that itself, and keeps the lightness of every pixel."""

# An outline drawing, measured on drawn edges and emoji outlines: light or dark paper, thin ink, and little between the two
GREY = 16  # levels between the channels
NEAR = 48  # levels from black or white
LEAST_PAPER, LEAST_BOTH = 0.6, 0.85  # shares of the pixels

Find = Callable[[Run, DataKind], Sequence[Dataset] | None]


def about(folder: Path, model: Model, lines: list[str], palette: Path | None = None, examples: bool = True) -> About:
    """What the page is told of a model in `folder`; `lines` gets what there is to say of what is missing.

    A `ValueError` for a palette that is none. The model is one that a browser `can_show`.
    """
    translator, config = model.translator, model.config
    inputs, spec = Graph(translator).inputs, _shown_spec(model)
    run = Run.open(folder) if (folder / "settings.toml").is_file() else None
    pictures, size = _Inputs(run, model, lines), config.shape.size
    tool: Tool = "mask" if MASK in inputs else "photo" if "picture" in inputs else "classes"
    if palette and tool != "photo":
        raise ValueError(f"--palette {palette}: {config.method} does not draw from label maps; leave it out")
    colours, brush = tuple[Colour, ...](), MASK_BRUSH
    if palette:
        colours, brush = read_palette(palette), LABEL_BRUSH
    elif model.sides:
        colours, brush = colours_of(pictures.training())
    return About(
        title=(folder.parent if folder.name == "model" else folder).resolve().name,
        summary=f"{config.method}: {METHODS[config.method].summary}",
        tool="board" if colours else tool,
        height=size.height,
        width=size.width,
        channels=spec.channels,
        facts=_facts(run, model),
        numbers=_numbers(run, model),
        palette=colours,
        brush=max(1, round(min(size) * brush)),
        classes=translator.classes,
        noise=next((spec.size for spec in inputs.values() if isinstance(spec, NoiseSpec)), 0),
        largest_hole=translator.largest_hole,
        most_pixels=MOST_COLOURING if isinstance(translator, ColorTranslator) else MOST_PIXELS,
        examples=tuple(map(_as_example, pictures.held_out())) if examples and tool != "classes" else (),
    )


def can_show(model: Model) -> bool:
    """Whether a browser shows the pictures that go in and come out: levels of 1 or 3 channels."""
    specs = (_shown_spec(model), model.translator.output_spec)
    return all(spec.channels in (1, 3) and not spec.is_of_numbers for spec in specs)


def _shown_spec(model: Model) -> ImageSpec:
    """How the input pictures are read; for a model that starts from noise, how its outputs are written."""
    inputs = Graph(model.translator).inputs
    [spec] = [spec for name, spec in inputs.items() if isinstance(spec, ImageSpec) and name != MASK] or [
        model.translator.output_spec
    ]
    return spec


class _Inputs:
    """The pictures that go in, of a run's own data: uint8 `[C, height, width]`; none where they are gone."""

    def __init__(self, run: Run | None, model: Model, lines: list[str]) -> None:
        self.run, self.model, self.lines = run, model, lines

    def training(self) -> list[Tensor]:
        """Some pictures of the training."""
        return self._read(
            "palette", PROBED, lambda run, kind: layouts.find(kind, run.data_paths, "train", run.settings.specs)
        )

    def held_out(self) -> list[Tensor]:
        """Some held-out pictures."""

        def find(run: Run, kind: DataKind) -> Sequence[Dataset] | None:
            found = layouts.held_out(kind, run.data_paths, run.settings.specs)
            return found and found[1]

        return self._read("examples", EXAMPLES, find)

    def _read(self, what: str, most: int, find: Find) -> list[Tensor]:
        if self.run is None:
            self.lines.append(f"no {what}: this is a model without its run")
            return []
        settings, kind = self.run.settings, METHODS[self.run.method].data
        try:
            datasets = find(self.run, kind)
            if not datasets:
                self.lines.append(f"no {what}: the data of the run have no held-out pictures")
                return []
            side = layouts.input_side(datasets, self.model.direction)
            [cached] = open_cached([side], settings.size, settings.fit, settings.memory_gib, most)
            batch = EvalLoader([cached], self.model.direction, self.model.translator.mask_spec).batch(
                range(len(cached)), len(cached)
            )
        except ValueError as error:
            self.lines.append(f"no {what}: {error}")
            return []
        if kind == DataKind.IMAGES and self.model.translator.mask_spec is None:
            batch |= self.model.translator.inputs_from(batch)
        return list(as_bytes(batch.get("x", batch["y"])))


def colours_of(pictures: Sequence[Tensor]) -> tuple[tuple[Colour, ...], float]:
    """The colours to draw such pictures in, and the width of the brush as a share of the board; no colours for photographs.

    Takes uint8 `[C, H, W]`, all of one size. Label maps have their colours, outline drawings paper and pen.

    >>> drawing = torch.full((1, 32, 32), 255, dtype=torch.uint8)
    >>> drawing[0, 8:24, 16] = 0
    >>> [colour.name for colour in colours_of([drawing])[0]]
    ['white', 'black']
    """
    found = palette_of(pictures)
    if found is not None:
        return tuple(_colour(*colour) for colour in found.tolist()), LABEL_BRUSH
    if not pictures:
        return (), 0
    levels = torch.stack(list(pictures)).float()
    grey, spread = levels.mean(1), levels.amax(1) - levels.amin(1)
    dark, light = (
        (near & (spread <= GREY)).float().mean().item() for near in (grey <= NEAR, grey >= EIGHT_BIT.full - NEAR)
    )
    if max(dark, light) < LEAST_PAPER or dark + light < LEAST_BOTH:
        return (), 0
    black, white = Colour("#000000", "black"), Colour("#ffffff", "white")
    return (white, black) if light > dark else (black, white), PEN


def _colour(red: int, green: int | None = None, blue: int | None = None) -> Colour:
    """A colour of three levels, or of one grey level."""
    return Colour(f"#{red:02x}{red if green is None else green:02x}{red if blue is None else blue:02x}")


def read_palette(file: Path) -> tuple[Colour, ...]:
    """The colours in a text file, a line for each; a `ValueError` for a line that is none."""
    colours = list[Colour]()
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        found = re.fullmatch(r"\s*(#[0-9a-fA-F]{6})(?:\s+(.*?))?\s*", line)
        if not found:
            raise ValueError(
                f'--palette {file}: line {number} is {line[:40]!r}; "#0055ff wall" or "#0055ff" is expected'
            )
        colours.append(Colour(found[1].lower(), found[2] or ""))
    if len(colours) < 2:
        raise ValueError(
            f'--palette {file}: names {len(colours)} colours; two or more lines such as "#0055ff wall" are expected'
        )
    return tuple(colours)


def _as_example(levels: Tensor) -> str:
    """A picture as PNG in base64."""
    image = to_image(from_tensor(EIGHT_BIT.to_float(levels)))
    image.thumbnail((LARGEST_EXAMPLE, LARGEST_EXAMPLE), Image.Resampling.BICUBIC)
    image.save(file := BytesIO(), "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _facts(run: Run | None, model: Model) -> dict[str, str]:
    """What the page says of the training: names of folders but no paths, because a page goes to strangers."""
    facts = {"Method": METHODS[model.config.method].paper}
    if run:
        facts["Trained on"] = " and ".join(folder.name for folder in run.data_paths.flags.values())
    height, width = model.config.shape.size
    facts["Training"] = f"{model.step:,} steps at {width} × {height} pixels"
    if len(model.translators) > 1:
        facts["Direction"] = in_words(model.direction, model.config.sides).replace("->", "to")
    if largest := model.translator.largest_hole:
        facts["Largest hole"] = f"{largest} pixels; for larger ones the picture is shrunk"
    return facts


def _numbers(run: Run | None, model: Model) -> dict[str, str]:
    """The newest scores that `diptych evaluate` measured of this step of the model."""
    if run is None:
        return {}
    lines = [
        line
        for line in read_json_lines(run.path / "metrics.jsonl", Scores)
        if line["who"] == "model"
        and line["step"] == model.step
        and line.get("direction", model.direction) == model.direction
    ]
    return {title(name): f"{value:.4g}" for name, value in lines[-1]["metrics"].items()} if lines else {}
