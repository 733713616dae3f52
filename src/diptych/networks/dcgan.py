"""The generator and the discriminator of DCGAN (Radford et al. 2016, section 3 and figure 1), with and without labels.

Both are conditioned on a label in one of three ways:

* "one-hot": concatenated to the noise as one number per class, and to the image as one plane per class (Mirza and Osindero
  2014, section 3.2);
* "embedding": concatenated in the same way, as a learnt vector and as one learnt plane;
* "projection": G has a scale and shift of its feature maps per class; D adds the inner product of its features and a learnt
  vector of the class (Miyato and Koyama 2018, section 3).
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from diptych.networks.layers import BatchNorm, Embedding, initialise

Condition = Literal["one-hot", "embedding", "projection"]

SMALLEST = 16
EMBEDDED = 50  # size of the learnt vector of a class
MAX_FACTOR = 16  # times the width: the 1024 maps of figure 1


class Generator(nn.Module):
    """From noise, and optionally a label, to an image: a projection to a few pixels, then upsampling to `size` (figure 1).

    For a width of 64, the maps are 4 x 4 x 1024, 8 x 8 x 512, 16 x 16 x 256 and 32 x 32 x 128 for 64 px, and 7 x 7 x 256 and
    14 x 14 x 128 for 28 px. `classes` is the number of classes, 0 without labels.

    >>> G = Generator(1, size=28, noise=100, classes=10, width=4)
    >>> G(torch.zeros(2, 100), torch.tensor([3, 7])).shape
    torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        channels: int,
        *,
        size: int,
        noise: int = 100,
        classes: int = 0,
        condition: Condition = "one-hot",
        width: int = 64,
    ) -> None:
        super().__init__()
        side, doublings = halved(size)
        maps = [width * min(2**i, MAX_FACTOR) for i in range(doublings, 0, -1)]
        self.label: nn.Module | None = None
        label_size = 0
        if classes and condition != "projection":
            label_size = classes if condition == "one-hot" else EMBEDDED
            self.label = OneHot(classes) if condition == "one-hot" else Embedding(classes, EMBEDDED)
        self.project = nn.Sequential(
            nn.Linear(noise + label_size, maps[0] * side**2, bias=False), nn.Unflatten(1, (maps[0], side, side))
        )
        norm_classes = classes if condition == "projection" else 0
        self.norms = nn.ModuleList([ClassBatchNorm(n, norm_classes) for n in maps])
        self.doublings = nn.ModuleList(
            [
                *(_doubled(before, after, bias=False) for before, after in pairwise(maps)),
                _doubled(maps[-1], channels, bias=True),
            ]
        )
        initialise(self)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """`[B, noise]` and labels `[B]` -> `[B, channels, size, size]` in [-1, 1]."""
        inputs = z if self.label is None else torch.cat([z, self.label(label)], dim=1)
        maps: Tensor = self.project(inputs)
        for norm, double in zip(self.norms, self.doublings, strict=True):
            maps = double(norm(maps, label).relu())
        return maps.tanh()


class Discriminator(nn.Module):
    """One logit for an image `[B, channels, size, size]` and its label: real image of this class, or not?

    4x4 convolutions of stride 2 with leaky ReLU, batch norm in all but the first, and one linear layer on the final maps
    (section 3), which "projection" sums over positions first.

    >>> D = Discriminator(1, size=28, classes=10, condition="projection", width=4)
    >>> D(torch.zeros(2, 1, 28, 28), torch.tensor([3, 7])).shape
    torch.Size([2, 1])
    """

    def __init__(
        self, channels: int, *, size: int, classes: int = 0, condition: Condition = "one-hot", width: int = 64
    ) -> None:
        super().__init__()
        side, halvings = halved(size)
        self.planes: nn.Module | None = None
        planes = 0
        if classes and condition == "one-hot":
            planes = classes
            self.planes = nn.Sequential(OneHot(classes), nn.Unflatten(1, (classes, 1, 1)))
        elif classes and condition == "embedding":
            planes = 1
            self.planes = nn.Sequential(Embedding(classes, size**2), nn.Unflatten(1, (1, size, size)))
        maps = [width * min(2**i, MAX_FACTOR) for i in range(halvings)]
        layers: list[nn.Module] = [_halved(channels + planes, maps[0], bias=True), nn.LeakyReLU(0.2)]
        for before, after in pairwise(maps):
            layers += [_halved(before, after, bias=False), BatchNorm(after), nn.LeakyReLU(0.2)]
        self.maps = nn.Sequential(*layers)
        self.projection: Embedding | None = None
        if classes and condition == "projection":
            self.projection = Embedding(classes, maps[-1])
            if not self.projection.weight.is_meta:
                nn.init.normal_(
                    self.projection.weight, 0.0, 0.02
                )  # like the weights of `logit`, to which they are added
        self.logit = nn.Linear(maps[-1] * (1 if self.projection else side**2), 1)
        initialise(self)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """`[B, channels, size, size]` and labels `[B]` -> logits `[B, 1]`."""
        inputs = x if self.planes is None else torch.cat([x, self.planes(label).expand(-1, -1, *x.shape[2:])], dim=1)
        maps = self.maps(inputs)
        logits: Tensor
        if self.projection is None:
            logits = self.logit(maps.flatten(1))
            return logits
        features = maps.sum(dim=(2, 3))  # as in the networks of Miyato and Koyama 2018
        logits = self.logit(features) + (self.projection(label) * features).sum(dim=1, keepdim=True)
        return logits


class OneHot(nn.Module):
    """A label `[B]` -> `[B, classes]`, 1 at the index of the label and 0 elsewhere.

    >>> OneHot(3)(torch.tensor([2])).tolist()
    [[0.0, 0.0, 1.0]]
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, label: Tensor) -> Tensor:
        """`[B]` -> `[B, classes]`."""
        # torch.nn.functional.one_hot checks the smallest label, which synchronises with the device
        return (label[:, None] == torch.arange(self.classes, device=label.device)).float()


class ClassBatchNorm(nn.Module):
    """Batch normalisation, with a scale and a shift per class if `classes` is not 0 (Dumoulin et al. 2017).

    In eval mode it uses the statistics of the training, so that an image does not depend on the rest of its batch.
    """

    def __init__(self, channels: int, classes: int = 0) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=not classes)
        self.scale_and_shift: Embedding | None = None
        if classes:
            self.scale_and_shift = Embedding(classes, 2 * channels)
            nn.init.zeros_(self.scale_and_shift.weight)  # the scale is counted from 1

    def forward(self, maps: Tensor, label: Tensor | None) -> Tensor:
        """`[B, C, H, W]` and labels `[B]` -> the same shape."""
        normal: Tensor = self.norm(maps)
        if self.scale_and_shift is None:
            return normal
        scale, shift = self.scale_and_shift(label)[..., None, None].chunk(2, dim=1)
        scaled: Tensor = normal * (1 + scale) + shift
        return scaled


def _doubled(channels: int, out: int, bias: bool) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, out, kernel_size=4, stride=2, padding=1, bias=bias)


def _halved(channels: int, out: int, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(channels, out, kernel_size=4, stride=2, padding=1, bias=bias)


def halved(size: int) -> tuple[int, int]:
    """The side after halving `size` down to 4 to 7 pixels, and the number of halvings.

    Raises a `ValueError` for a size that the networks do not accept.

    >>> halved(28), halved(64)
    ((7, 2), (4, 4))
    """
    side, halvings = size, 0
    while side >= 8 and side % 2 == 0:
        side, halvings = side // 2, halvings + 1
    if size < SMALLEST or side >= 8:
        raise ValueError(
            f"--size {size}: the networks take sizes from {SMALLEST} on that are 4, 5, 6 or 7 doubled twice or more, as "
            f"28, 32, 64 and 128 are; {fitting(size)} is near"
        )
    return side, halvings


def fitting(size: int) -> int:
    """The largest accepted size up to `size`, or the smallest of all.

    >>> fitting(30), fitting(100), fitting(5)
    (28, 96, 16)
    """
    doubled = [side << times for side in (4, 5, 6, 7) for times in range(2, max(size, SMALLEST).bit_length())]
    return max(side for side in doubled if side <= max(size, SMALLEST))
