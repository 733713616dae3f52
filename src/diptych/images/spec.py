"""What an image is made of."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ImageSpec:
    """Channels, bits a channel, and whether values mean brightness or classes."""

    channels: int = 3
    bits: Literal[8, 16] = 8
    kind: Literal["image", "labels"] = "image"
