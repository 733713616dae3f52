"""Two built-in synthetic sets that lose what matters when they are read as RGB of 8 bits: fields and scans.

Pairs in two folders a split: A is what a sensor sees, B the kinds of its regions, one flat colour each. Of the fields two
kinds have the same colour and differ in the near infrared, the fourth channel. Of the scans tissues differ by less than one
8-bit level, as in a CT of 12 bits in files of 16.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from diptych.files import lies_in
from diptych.images.files import Array, Pixels, encode
from diptych.images.numbers import write_tiff

KINDS = {"water": (0, 0, 170), "soil": (255, 170, 0), "crop": (0, 170, 0), "turf": (170, 255, 85), "roof": (170, 0, 0)}
SEEN = {
    "water": (38, 62, 92, 12),
    "soil": (142, 112, 84, 96),
    "crop": (74, 118, 52, 214),
    "turf": (74, 118, 52, 46),  # artificial: green, and dark in the near infrared
    "roof": (142, 112, 84, 30),  # of clay
}
"""Red, green, blue and near infrared, 0 to 255."""
TISSUES = {
    "air": (0, 0, 0),
    "fat": (255, 255, 0),
    "muscle": (170, 0, 0),
    "liver": (255, 85, 0),
    "bone": (255, 255, 255),
}
DENSE = {"air": 0, "fat": 940, "muscle": 1040, "liver": 1130, "bone": 2900}
"""Of 4,095; an 8-bit level is 257 of those of 16 bits."""
GRAIN = 5, 12  # standard deviation, of a channel of the fields and of a scan
REGIONS = 14


def _regions(size: int, kinds: int, generator: np.random.Generator) -> Array:
    """The kind of each pixel, `[size, size]`: the polygons around some points."""
    points, of = generator.uniform(0, size, (REGIONS, 2)), generator.integers(0, kinds, REGIONS)
    rows, columns = np.mgrid[:size, :size]
    distances = (rows[..., None] - points[:, 0]) ** 2 + (columns[..., None] - points[:, 1]) ** 2
    return np.asarray(of[distances.argmin(-1)])


def draw_field(number: int, size: int, seed: int = 0) -> tuple[Array, Array]:
    """Pair `number` of the fields: RGB and near infrared, uint8 `[size, size, 4]`, and kinds in RGB.

    >>> seen, kinds = draw_field(0, size=32)
    >>> seen.shape, kinds.shape
    ((32, 32, 4), (32, 32, 3))
    """
    generator = np.random.default_rng([seed, number])
    kinds = _regions(size, len(KINDS), generator)
    light = generator.uniform(0.85, 1.15)
    seen = np.array([*SEEN.values()])[kinds] * light + generator.normal(0, GRAIN[0], (size, size, 4))
    return seen.round().clip(0, 255).astype(np.uint8), np.array([*KINDS.values()], np.uint8)[kinds]


def draw_scan(number: int, size: int, seed: int = 0) -> tuple[Array, Array]:
    """Pair `number` of the scans: densities, uint16 `[size, size, 1]`, and tissues in RGB.

    >>> seen, tissues = draw_scan(0, size=32)
    >>> seen.shape, str(seen.dtype), bool(seen.max() < 4096)
    ((32, 32, 1), 'uint16', True)
    """
    generator = np.random.default_rng([seed, number])
    tissues = 1 + _regions(size, len(TISSUES) - 1, generator)
    rows, columns = (np.mgrid[:size, :size] + 0.5) / size - 0.5
    tissues[rows**2 / generator.uniform(0.12, 0.2) + columns**2 / generator.uniform(0.16, 0.24) > 1] = 0
    seen = np.array([*DENSE.values()])[tissues] + generator.normal(0, GRAIN[1], (size, size))
    return seen.round().clip(0, 4095).astype(np.uint16)[..., None], np.array([*TISSUES.values()], np.uint8)[tissues]


def write_fields(folder: Path, *, size: int = 64, train: int = 100, val: int = 20, seed: int = 0) -> None:
    """`trainA/field-0000.tif`, RGB and one more channel, `trainB/field-0000.png`, and the same for val."""
    _write(folder, "field", ".tif", lambda number: draw_field(number, size, seed), train, val)


def write_scans(folder: Path, *, size: int = 64, train: int = 100, val: int = 20, seed: int = 0) -> None:
    """`trainA/scan-0000.png` of 16 bits, `trainB/scan-0000.png`, and the same for val."""
    _write(folder, "scan", ".png", lambda number: draw_scan(number, size, seed), train, val)


def _write(
    folder: Path, word: str, suffix: str, draw: Callable[[int], tuple[Array, Array]], train: int, val: int
) -> None:
    """The files that are not there yet; `labels.csv`, for --labels, too."""
    kinds = KINDS if word == "field" else TISSUES
    for split, first, count in (("train", 0, train), ("val", train, val)):
        for number in range(first, first + count):
            name = f"{word}-{number:04d}"
            paths = folder / f"{split}A" / f"{name}{suffix}", folder / f"{split}B" / f"{name}.png"
            for path, values in zip(paths, draw(number), strict=True):
                if not lies_in(folder, path):
                    raise ValueError(f"{path}: would be written through a link; remove it, or choose another --out")
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists():
                    write_tiff(values, path) if path.suffix == ".tif" else encode(Pixels(values), path)
    lines = [",".join([name, *map(str, colour)]) for name, colour in kinds.items()]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
