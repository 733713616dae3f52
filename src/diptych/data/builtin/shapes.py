"""The built-in synthetic shapes: five kinds of things, whose colour follows from their shape.

A sun is yellow, a leaf green, a brick rusty, a drop blue and an apple red, up to a small jitter, on grey to tinted grounds
with light and grain. So colouring can be learnt from them, and completion, pictures by label (the folders are the labels)
and unpaired translation (two of the folders) can be tried, with nothing to download.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from diptych.data.builtin.facades import write_missing
from diptych.images.files import Array

COLOURS = {
    "sun": (246, 198, 52),
    "leaf": (72, 146, 58),
    "brick": (168, 92, 62),
    "drop": (58, 122, 200),
    "apple": (200, 44, 50),
}
KINDS = tuple(COLOURS)
Point = tuple[float, float]


def kind(number: int) -> str:
    """What picture `number` shows: the kinds take turns.

    >>> [kind(number) for number in range(6)]
    ['sun', 'leaf', 'brick', 'drop', 'apple', 'sun']
    """
    return KINDS[number % len(KINDS)]


def draw(number: int, size: int, seed: int = 0) -> tuple[str, Image.Image]:
    """Picture `number` of the endless set `seed`: what it shows, and `size` x `size` pixels of RGB.

    >>> name, picture = draw(3, size=64)
    >>> name, picture.size, picture.mode
    ('drop', (64, 64), 'RGB')
    """
    generator = np.random.default_rng([seed, number])
    big = size * max(2, -(-192 // size))  # painted larger and scaled down
    radius = big * generator.uniform(0.26, 0.38)
    centre = generator.uniform(radius, big - radius, 2)
    brush = _Brush(big, centre, radius, turn=generator.uniform(-0.45, 0.45))
    _PAINTERS[kind(number)](brush)
    colour = np.asarray(COLOURS[kind(number)]) + generator.normal(0, 7, 3)
    towards_light = np.array([generator.choice([-1, 1]), -1]) / np.sqrt(2)

    rows, columns = np.mgrid[:big, :big]
    x, y = (columns - centre[0]) / radius, (rows - centre[1]) / radius
    shine = np.exp(-8 * ((x - 0.42 * towards_light[0]) ** 2 + (y - 0.42 * towards_light[1]) ** 2))
    light = 0.95 + 0.3 * (x * towards_light[0] + y * towards_light[1]) + 0.3 * shine
    thing = colour * (light * (1 - 0.35 * _soft(brush.lines, big / 400)))[..., None]
    shadow = Image.new("L", (big, big))
    shadow.paste(brush.body, (round(-0.12 * radius * towards_light[0]), round(-0.12 * radius * towards_light[1])))
    ground = _ground(generator, big) * (1 - 0.5 * _soft(shadow, radius / 9))[..., None]
    values = ground + (thing - ground) * _soft(brush.body, big / 300)[..., None]
    grain = generator.normal(0, 4, (big, big, 1))
    picture = Image.fromarray(np.clip(values + grain, 0, 255).astype(np.uint8))
    return kind(number), picture.resize((size, size), Image.Resampling.LANCZOS)


def write(folder: Path, *, size: int = 64, train: int = 500, val: int = 50, seed: int = 0) -> None:
    """Writes single pictures as `folder/train/KIND` and `folder/val/KIND`.

    Completes a folder that has some of them, and refuses one with anything else, as `write_missing` does.
    """
    write_missing(folder, "shape", kind, lambda number: draw(number, size, seed)[1], train, val)


def _ground(generator: np.random.Generator, big: int) -> Array:
    """Grey to slightly tinted, with clouds coarse and fine and a light from somewhere: `[big, big, 3]`."""
    tone = generator.uniform(105, 190) + generator.normal(0, 8, 3)
    clouds = np.zeros((big, big))
    for cells, strength in ((4, 14), (12, 8), (40, 6)):
        coarse = Image.fromarray(generator.normal(0, strength, (cells, cells)).astype(np.float32))
        clouds += np.asarray(coarse.resize((big, big), Image.Resampling.BICUBIC))
    slope = np.linspace(-1, 1, big)
    clouds += generator.uniform(-18, 18) * slope[:, None] + generator.uniform(-18, 18) * slope
    ground: Array = tone + clouds[..., None]
    return ground


def _soft(mask: Image.Image, radius: float) -> Array:
    """How much of each pixel a mask covers, blurred: `[big, big]` from 0 to 1."""
    covered: Array = np.asarray(mask.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255
    return covered


class _Brush:
    """Draws a body, and the darker lines on it, in a frame of its own: from -1 to 1, turned and moved into the picture."""

    def __init__(self, big: int, centre: Array, radius: float, turn: float) -> None:
        self.body, self.lines = Image.new("L", (big, big)), Image.new("L", (big, big))
        self.centre, self.radius, self.turn = centre, radius, turn

    def _placed(self, points: Sequence[Point]) -> list[Point]:
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        return [tuple(self.centre + self.radius * np.array([cos * x - sin * y, sin * x + cos * y])) for x, y in points]

    def fill(self, points: Sequence[Point]) -> None:
        ImageDraw.Draw(self.body).polygon(self._placed(points), fill=255)

    def line(self, points: Sequence[Point], width: float = 0.05) -> None:
        thick = max(round(width * self.radius), 1)
        ImageDraw.Draw(self.lines).line(self._placed(points), fill=255, width=thick, joint="curve")


def _round(x: float, y: float, radius: float) -> list[Point]:
    return [(x + radius * np.cos(angle), y + radius * np.sin(angle)) for angle in np.linspace(0, 2 * np.pi, 72)]


def _sun(brush: _Brush) -> None:
    reach = np.where(np.arange(28) % 2, 1.0, 0.66)
    angles = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    brush.fill([(by * np.cos(angle), by * np.sin(angle)) for by, angle in zip(reach, angles, strict=True)])
    brush.line(_round(0, 0, 0.58), 0.06)


def _leaf(brush: _Brush) -> None:
    along = np.linspace(0, np.pi, 40)
    edge = [(0.62 * np.sin(t) ** 1.3 * (1 + 0.25 * np.cos(t)), -np.cos(t) * 0.95) for t in along]
    brush.fill(edge + [(-x, y) for x, y in reversed(edge)])
    brush.fill([(-0.035, 0.8), (0.035, 0.8), (0.1, 1.2), (0.03, 1.22)])
    brush.line([(0, -0.8), (0, 0.95)])
    for y in (-0.4, -0.08, 0.24, 0.56):
        brush.line([(-0.42, y - 0.26), (0, y), (0.42, y - 0.26)], 0.035)


def _brick(brush: _Brush) -> None:
    for row, lefts in enumerate(((-0.95, 0.02), (-0.95, -0.46, 0.52), (-0.95, 0.02))):
        top = -0.66 + 0.45 * row
        for left, right in zip(lefts, (*lefts[1:], 1.0), strict=True):
            right -= 0.05
            brush.fill([(left, top), (right, top), (right, top + 0.4), (left, top + 0.4)])
            brush.line([(left, top + 0.38), (right, top + 0.38)])


def _drop(brush: _Brush) -> None:
    brush.fill([*_round(0, 0.35, 0.62)])
    brush.fill([(0, -1.05), (-0.14, -0.62), (-0.55, 0.06), (0.55, 0.06), (0.14, -0.62)])
    brush.line([(0.42 * np.cos(t), 0.38 + 0.42 * np.sin(t)) for t in np.linspace(0.3, 1.6, 12)], 0.07)


def _apple(brush: _Brush) -> None:
    for side in (-1, 1):
        brush.fill(_round(side * 0.3, 0.05, 0.62))
        brush.fill(_round(side * 0.2, 0.4, 0.52))
    brush.fill([(-0.04, -0.35), (0.06, -0.35), (0.2, -0.95), (0.08, -0.98)])  # the stem
    brush.line([(0.01, -0.35), (0.13, -0.95)], 0.16)
    brush.line([(-0.22, -0.42), (0, -0.34), (0.22, -0.42)], 0.06)


_PAINTERS = {"sun": _sun, "leaf": _leaf, "brick": _brick, "drop": _drop, "apple": _apple}
