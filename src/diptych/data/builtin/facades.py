"""The built-in synthetic facades: labels and the "photograph" that goes with them, drawn from a seed.

They are the data of the documentation and the tests: nothing to download, and what has to be learnt is
known. Wall, windows, balconies, cornices, door, shop and roof have flat colours in the labels; in the photograph they have
brick, glass, shade and light that follow from the labels up to the colour of the house and the hour of the day.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from diptych.files import lies_in
from diptych.images.files import encode, from_image

Box = tuple[float, float, float, float]

LABELS = {
    "sky": (0, 0, 170),
    "wall": (0, 85, 255),
    "roof": (255, 170, 0),
    "window": (0, 170, 255),
    "balcony": (255, 85, 0),
    "cornice": (0, 255, 255),
    "door": (170, 0, 0),
    "shop": (170, 255, 85),
}


@dataclass(frozen=True)
class House:
    """What stands where, as fractions of the picture; the kinds in the order in which they are drawn."""

    parts: list[tuple[str, Box]]
    wall: tuple[int, int, int]
    brick: bool
    light_from_left: bool


def draw_house(generator: np.random.Generator) -> House:
    """A house with a grid of windows on one to five floors."""
    left, right = generator.uniform(0.02, 0.14), generator.uniform(0.86, 0.98)
    top = generator.uniform(0.12, 0.26)
    ground = generator.uniform(0.74, 0.82)
    floors, columns = int(generator.integers(2, 6)), int(generator.integers(3, 7))
    parts: list[tuple[str, Box]] = [("sky", (0, 0, 1, 1)), ("wall", (left, top, right, 1))]
    parts.append(("roof", (left - 0.02, top - generator.uniform(0.05, 0.1), right + 0.02, top)))
    floor_height, column_width = (ground - top) / floors, (right - left) / columns
    width, height = generator.uniform(0.4, 0.62), generator.uniform(0.5, 0.68)
    with_balcony = generator.random(floors) < 0.35
    for floor in range(floors):
        above = top + floor * floor_height
        if floor and generator.random() < 0.5:
            parts.append(("cornice", (left, above - 0.008, right, above + 0.008)))
        for column in range(columns):
            centre = left + (column + 0.5) * column_width
            half = width * column_width / 2
            upper = above + 0.18 * floor_height
            lower = upper + height * floor_height
            parts.append(("window", (centre - half, upper, centre + half, lower)))
            if with_balcony[floor]:
                parts.append(
                    ("balcony", (centre - 1.25 * half, lower - 0.25 * floor_height, centre + 1.25 * half, lower))
                )
    parts.append(("cornice", (left, ground - 0.012, right, ground + 0.012)))
    door = left + (int(generator.integers(columns)) + 0.5) * column_width
    for column in range(columns):
        centre = left + (column + 0.5) * column_width
        if abs(centre - door) < column_width / 2:
            parts.append(("door", (centre - 0.3 * column_width, ground + 0.05, centre + 0.3 * column_width, 1)))
        else:
            parts.append(("shop", (centre - 0.4 * column_width, ground + 0.06, centre + 0.4 * column_width, 0.96)))
    walls = [(196, 160, 122), (172, 92, 74), (205, 192, 170), (150, 150, 148), (214, 178, 96)]
    return House(parts, walls[int(generator.integers(len(walls)))], generator.random() < 0.5, generator.random() < 0.5)


def _pixels(box: Box, size: int) -> tuple[int, int, int, int]:
    left, top, right, bottom = (round(edge * size) for edge in box)
    return left, top, max(right - 1, left), max(bottom - 1, top)


def paint_labels(house: House, size: int) -> Image.Image:
    """The label map: one flat colour a kind."""
    picture = Image.new("RGB", (size, size))
    brush = ImageDraw.Draw(picture)
    for kind, box in house.parts:
        brush.rectangle(_pixels(box, size), fill=LABELS[kind])
    return picture


def paint_photo(house: House, size: int, generator: np.random.Generator) -> Image.Image:
    """The photograph, painted at twice the size or more and scaled down, with light, shade and grain."""
    big = size * max(2, -(-64 // size))  # under 64 pixels a door has no room for its panels
    picture = Image.new("RGB", (big, big))
    brush = ImageDraw.Draw(picture)
    for kind, box in house.parts:
        _PAINTERS[kind](picture, brush, _pixels(box, big), house)
    shade = np.linspace(1.08, 0.84, big) if house.light_from_left else np.linspace(0.84, 1.08, big)
    values = np.asarray(picture.filter(ImageFilter.GaussianBlur(big / 300)), np.float32) * shade[None, :, None]
    grain = generator.normal(0, 5, (big, big, 1))
    values = np.clip(values + grain, 0, 255).astype(np.uint8)
    return Image.fromarray(values).resize((size, size), Image.Resampling.LANCZOS)


Pixel = tuple[int, int, int, int]


def _scaled(colour: tuple[int, int, int], by: float) -> tuple[int, int, int]:
    red, green, blue = (min(255, int(value * by)) for value in colour)
    return red, green, blue


def _gradient(picture: Image.Image, box: Pixel, upper: tuple[int, int, int], lower: tuple[int, int, int]) -> None:
    left, top, right, bottom = box
    height = bottom - top + 1
    steps = np.linspace(upper, lower, height).astype(np.uint8)[:, None, :].repeat(right - left + 1, axis=1)
    picture.paste(Image.fromarray(steps), (left, top))


def _sky(picture: Image.Image, brush: ImageDraw.ImageDraw, box: Pixel, house: House) -> None:
    _gradient(picture, box, (112, 156, 205), (216, 226, 232))


def _wall(picture: Image.Image, brush: ImageDraw.ImageDraw, box: Pixel, house: House) -> None:
    left, top, right, bottom = box
    brush.rectangle(box, fill=house.wall)
    row_height = max(picture.width // 64, 3)
    for row, y in enumerate(range(top, bottom, row_height)):
        brush.line((left, y, right, y), fill=_scaled(house.wall, 0.8 if house.brick else 0.95))
        for x in range(left + (row % 2) * row_height, right, 2 * row_height) if house.brick else ():
            brush.line((x, y, x, min(y + row_height, bottom)), fill=_scaled(house.wall, 0.84))


def _roof(picture: Image.Image, brush: ImageDraw.ImageDraw, box: Pixel, house: House) -> None:
    left, top, right, bottom = box
    _gradient(picture, (max(left, 0), top, min(right, picture.width - 1), bottom), (84, 70, 68), (58, 50, 52))
    for x in range(left, right, max(picture.width // 40, 4)):
        brush.line((x, top, x, bottom), fill=(98, 82, 78))


def _window(picture: Image.Image, brush: ImageDraw.ImageDraw, box: Pixel, house: House) -> None:
    left, top, right, bottom = box
    frame = max(picture.width // 100, 1)
    brush.rectangle((left - frame, top - frame, right + frame, bottom + frame), fill=(236, 232, 222))
    _gradient(picture, box, (44, 58, 74), (122, 142, 156))
    middle = (left + right) // 2
    brush.rectangle((middle - frame // 2, top, middle + frame // 2, bottom), fill=(236, 232, 222))
    brush.line((left, top + (bottom - top) // 3, right, top + (bottom - top) // 3), fill=(236, 232, 222), width=frame)
    brush.line((left, top, right, top), fill=(24, 28, 34), width=frame)


def _balcony(picture: Image.Image, brush: ImageDraw.ImageDraw, box: Pixel, house: House) -> None:
    left, top, right, bottom = box
    thin = max(picture.width // 160, 1)
    for x in range(left, right + 1, 4 * thin):
        brush.line((x, top, x, bottom), fill=(34, 34, 38), width=thin)
    brush.rectangle((left, top, right, top + thin), fill=(34, 34, 38))
    brush.rectangle((left, bottom - 2 * thin, right, bottom), fill=_scaled(house.wall, 0.6))


def _cornice(picture: Image.Image, brush: ImageDraw.ImageDraw, box: Pixel, house: House) -> None:
    left, _, right, bottom = box
    brush.rectangle(box, fill=_scaled(house.wall, 1.18))
    brush.rectangle((left, bottom, right, bottom + max(picture.width // 128, 1)), fill=_scaled(house.wall, 0.62))


def _door(picture: Image.Image, brush: ImageDraw.ImageDraw, box: Pixel, house: House) -> None:
    left, top, right, bottom = box
    brush.rectangle(box, fill=(92, 54, 36))
    inset = max((right - left) // 6, 1)
    brush.rectangle((left + inset, top + inset, right - inset, (top + bottom) // 2), fill=(116, 72, 48))
    brush.rectangle((left + inset, (top + bottom) // 2 + inset, right - inset, bottom - inset), fill=(74, 42, 28))


def _shop(picture: Image.Image, brush: ImageDraw.ImageDraw, box: Pixel, house: House) -> None:
    left, top, right, bottom = box
    _gradient(picture, box, (250, 222, 156), (128, 104, 84))
    brush.rectangle((left, top, right, top + (bottom - top) // 5), fill=(142, 36, 40))
    brush.rectangle(box, outline=(46, 40, 38), width=max(picture.width // 160, 1))


_PAINTERS = {
    "sky": _sky,
    "wall": _wall,
    "roof": _roof,
    "window": _window,
    "balcony": _balcony,
    "cornice": _cornice,
    "door": _door,
    "shop": _shop,
}


def draw_pair(number: int, size: int, seed: int = 0) -> tuple[Image.Image, Image.Image]:
    """Pair `number` of the endless set `seed`: the photograph and its labels.

    >>> photo, labels = draw_pair(3, size=64)
    >>> photo.size, labels.size
    ((64, 64), (64, 64))
    """
    generator = np.random.default_rng([seed, number])
    house = draw_house(generator)
    return paint_photo(house, size, generator), paint_labels(house, size)


def write(folder: Path, *, size: int = 128, train: int = 200, val: int = 24, seed: int = 0) -> None:
    """Writes side-by-side pairs, photograph left (A), labels right (B), as `folder/train` and `folder/val`.

    Completes a folder that has some of them, and refuses one with anything else, as `write_missing` does.
    """

    def draw(number: int) -> Image.Image:
        return Image.fromarray(np.hstack([np.asarray(picture) for picture in draw_pair(number, size, seed)]))

    write_missing(folder, "facade", lambda number: "", draw, train, val)


def write_missing(
    folder: Path,
    word: str,
    below: Callable[[int], str],
    draw: Callable[[int], Image.Image],
    train: int,
    val: int,
) -> None:
    """The files of a built-in set that are not there yet: `folder/train/BELOW/WORD-0000.png` and so on, then `folder/val`.

    So an interrupted call can be repeated. Raises a `ValueError` when the folder holds anything but files of this set and
    hidden ones: it is somebody's data.
    """
    for path in sorted(folder.rglob("[!.]*")):
        if path.is_file() and not re.fullmatch(rf"{word}-\d{{4,}}\.png", path.name):
            raise ValueError(
                f"{path}: is not one of the built-in {word}s; choose another --out, nothing of yours is touched"
            )
    for split, first, count in (("train", 0, train), ("val", train, val)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            path = folder / split / below(number) / f"{word}-{number:04d}.png"
            if not lies_in(folder, path):
                raise ValueError(f"{path}: would be written through a link; remove it, or choose another --out")
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                encode(from_image(draw(number)), path)
