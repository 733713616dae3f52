"""Draws an emoji on the page of the quickstart's model, and shows the page and what the network made after each stroke.

    make demo
    diptych export demo/pix2pix --out page.html --palette examples/emoji-palette.txt
    python examples/page_strip.py page.html --out docs/page.png

Needs Chromium and `pip install playwright`. Nothing is chosen: the strokes below are the only ones that are drawn.
"""

import argparse
import base64
import math
import shutil
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Page, expect, sync_playwright

PATIENCE = 600_000  # milliseconds, on a busy machine
WINDOW, HEIGHT, GAP, LABEL = 760, 440, 12, 16  # pixels: of the browser, of the strip, between pictures, of the letters
GREY = (128, 128, 128, 255)  # can be read on white and on black

Point = tuple[float, float]
Stroke = tuple[str, str, int, list[Point]]
"""A colour, a tool, the width in pixels of the board, and places as shares of it."""


def arc(centre: Point, radius: float, start: float, end: float) -> list[Point]:
    """Places on a circle; angles in degrees, clockwise from the right."""
    angles = [math.radians(start + (end - start) * step / 24) for step in range(25)]
    return [(centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle)) for angle in angles]


STAGES: list[list[Stroke]] = [
    [("yellow", "brush", 4, arc((0.5, 0.52), 0.4, 0, 360)), ("yellow", "fill", 4, [(0.5, 0.52)])],
    [("dark", "brush", 15, [(0.36, 0.44), (0.36, 0.47)]), ("dark", "brush", 15, [(0.64, 0.44), (0.64, 0.47)])],
    [("dark", "brush", 6, arc((0.5, 0.52), 0.24, 25, 155))],
    [("red", "brush", 26, [(0.27, 0.2), (0.5, 0.12), (0.73, 0.2)])],
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WINDOW, "height": 900}, color_scheme="light")
        page.set_default_timeout(PATIENCE)
        page.goto(given.page.resolve().as_uri())
        expect(page.locator("body[data-ready]")).to_be_attached(timeout=PATIENCE)
        page.get_by_role("button", name="Clear").click()
        stages = []
        for strokes in STAGES:
            for stroke in strokes:
                draw(page, *stroke)
            expect(page.locator("body:not(:has(.busy))")).to_be_attached(timeout=PATIENCE)
            stages.append((canvas(page, "#board"), canvas(page, "#result")))
        main_part = Image.open(BytesIO(page.locator("main").screenshot())).convert("RGBA")
        browser.close()
    strip(main_part, stages).save(given.out, optimize=True)


def draw(page: Page, colour: str, tool: str, width: int, places: list[Point]) -> None:
    """One stroke with the mouse, as a visitor would."""
    page.get_by_role("button", name=colour, exact=True).click()
    page.locator(f"[data-draw={tool}]").click()
    page.locator("#width").fill(str(width))
    page.locator("#board").scroll_into_view_if_needed()
    box = page.locator("#board").bounding_box()
    assert box
    for number, (x, y) in enumerate(places):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        if number == 0:
            page.mouse.down()
    page.mouse.up()


def canvas(page: Page, name: str) -> Image.Image:
    address = page.evaluate(f"document.querySelector('{name}').toDataURL()")
    return Image.open(BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGBA")


def strip(page: Image.Image, stages: list[tuple[Image.Image, Image.Image]]) -> Image.Image:
    """The page on the left; beside it a column for each stage: the drawing, and under it the result."""
    page = page.resize((round(page.width * HEIGHT / page.height), HEIGHT), Image.Resampling.LANCZOS)
    tile = (HEIGHT - GAP - 2 * (LABEL + GAP // 2)) // 2
    sheet = Image.new("RGBA", (page.width + len(stages) * (tile + GAP), HEIGHT))
    sheet.paste(page)
    brush, font = ImageDraw.Draw(sheet), ImageFont.load_default(LABEL)
    for row, label in enumerate(("drawn with the mouse", "what the page makes of it")):
        top = row * (tile + LABEL + GAP // 2 + GAP)
        brush.text((page.width + GAP, top), label, GREY, font)
        for column, stage in enumerate(stages):
            shown = stage[row].resize((tile, tile), Image.Resampling.LANCZOS)
            sheet.paste(shown, (page.width + GAP + column * (tile + GAP), top + LABEL + GAP // 2))
    return sheet


if __name__ == "__main__":
    main()
