"""Draws a strip of results for a README: a row each for what went in, what came out, and the truth.

    python examples/hero.py runs/emoji-128 --out hero.png
    python examples/hero.py runs/cyclegan-emoji-128 --direction AtoB --out hero.png   # that translates both ways

The pictures are evenly spaced among those that `diptych evaluate` left in the run, those named by --names, or those of the
highest or lowest SSIM, by --best and --worst. The ground is see-through, and the labels have a grey that can be read on
white and on black.
"""

import argparse
import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

LABELS = {"input": "drawing", "output": "Diptych", "target": "truth"}
GREY = (128, 128, 128, 255)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--direction", help="AtoB or BtoA, of a model that translates both ways")
    parser.add_argument("--columns", type=int, default=9)
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--names", nargs="+", help="pictures, in place of evenly spaced ones")
    parser.add_argument("--best", action="store_true", help="those of the highest SSIM, the highest first")
    parser.add_argument("--worst", action="store_true", help="those of the lowest SSIM, the lowest first")
    parser.add_argument("--labels", nargs="+", default=list(LABELS.values()))
    given = parser.parse_args()
    results = given.run / "results" / (f"val-{given.direction}" if given.direction else "val")
    files = sorted((results / "output").glob("*.png"))
    names = given.names or [files[index * len(files) // given.columns].stem for index in range(given.columns)]
    if given.best or given.worst:
        names = by_ssim(results)[:: -1 if given.best else 1][: given.columns]
    strip(results, names, given.labels, given.width).save(given.out, optimize=True)


def by_ssim(results: Path) -> list[str]:
    """The names of the pictures, that of the lowest SSIM first."""
    lines = [json.loads(line) for line in (results / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    ssim = {
        line["name"]: next(value for metric, value in line["metrics"].items() if metric.startswith("ssim"))
        for line in lines
    }
    return sorted(ssim, key=ssim.__getitem__)


def strip(results: Path, names: list[str], labels: list[str], width: int) -> Image.Image:
    """Rows of tiles with round corners, and the label of each row before it."""
    size, gap = width // 9, width // 150
    font = ImageFont.load_default(size // 6)
    before = max(round(font.getlength(label)) for label in labels) + 3 * gap
    tile = (width - before) // len(names) - gap
    sheet = Image.new("RGBA", (width, len(labels) * (tile + gap)))
    draw = ImageDraw.Draw(sheet)
    corners = Image.new("L", (4 * tile, 4 * tile))
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, 4 * tile, 4 * tile), radius=tile // 3, fill=255)
    corners = corners.resize((tile, tile))
    for row, (panel, label) in enumerate(zip(LABELS, labels, strict=False)):
        top = row * (tile + gap)
        draw.text((before - 2 * gap, top + tile / 2), label, GREY, font, anchor="rm")
        for column, name in enumerate(names):
            with Image.open(results / panel / f"{name}.png") as picture:
                shown = picture.convert("RGB").resize((tile, tile), Image.Resampling.LANCZOS)
            sheet.paste(shown, (before + column * (tile + gap), top), corners)
    return sheet


if __name__ == "__main__":
    main()
