"""How far pictures that training decodes at a part of their size lie from exact ones, in 8-bit levels after scaling.

Each photograph is cut to multiples of 8, so that no factor is left out for its size, and saved again as JPEG. It is then
scaled to a square in two ways: after decoding every pixel, and after decoding at 1/2, 1/4 or 1/8, for squares by which
what is decoded is a given number of times as large.

    python benchmarks/reduced.py DIR          JPEG photographs of 256 px and more
"""

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from diptych.data.loaders import MARGIN
from diptych.images import geometry
from diptych.images.files import Pixels, decode_bytes, to_bytes
from interleave import provenance

MARGINS = (1.0, 1.5, 2.0, 3.0)
SMALLEST = 16  # px: of smaller squares there is little to see


def saved_again(path: Path) -> bytes:
    """A photograph cut to multiples of 8, as JPEG."""
    picture = Image.open(path).convert("RGB")
    width, height = (side // 8 * 8 for side in picture.size)
    picture.crop((0, 0, width, height)).save(encoded := io.BytesIO(), "JPEG", quality=95)
    return encoded.getvalue()


def scaled(pixels: Pixels, size: int) -> torch.Tensor:
    """int levels `[3, size, size]`."""
    return geometry.resize(to_bytes(pixels, 3), size, size).int()


def errors(photograph: bytes, times: int, margin: float) -> torch.Tensor | None:
    """Of every level; None where the square would be too small to be judged."""
    exact = decode_bytes(photograph, "photograph")
    size = int(min(exact.size) / times / margin)
    if size < SMALLEST:
        return None
    height, width = (side // times for side in exact.size)
    reduced = decode_bytes(photograph, "photograph", at_least=(height, width))
    assert reduced.reduced == times
    return (scaled(exact, size) - scaled(reduced, size)).abs().float()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    torch.set_num_threads(1)
    paths = sorted(path for path in parser.parse_args().folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    photographs = [saved_again(path) for path in paths]
    print(
        f"{len(photographs)} photographs; mean of all, of the worst one, 99.9 % of a picture's levels, the worst level"
    )
    for margin in MARGINS:
        for times in (2, 4, 8):
            found = [error for data in photographs if (error := errors(data, times, margin)) is not None]
            means = [error.mean().item() for error in found]
            most = np.mean([np.quantile(error.numpy(), 0.999) for error in found])
            worst = max(error.max().item() for error in found)
            used = " (used)" if margin == MARGIN else ""
            print(
                f"decoded at 1/{times}, {margin:g} times as large{used}: "
                f"{np.mean(means):.2f}, {max(means):.2f}, {most:.1f}, {worst:.0f}"
            )
    print(provenance(torch.device("cpu")))
