"""The Inception v3 (Szegedy et al. 2015) of Fréchet distances, up to its 2048 pooled features.

It is TensorFlow's graph of 2015-12-05, as ported by pytorch-fid and torch-fidelity. It differs from the usual Inception v3:
its average pools exclude the padding, and the last block uses max pooling. Parameters are named as in torchvision's
`inception_v3`.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 299  # pixels, height and width
FEATURES = 2048

ONE, THREE, FIVE, WIDE, TALL = (1, 1), (3, 3), (5, 5), (1, 7), (7, 1)
Step = tuple[int, *tuple[tuple[int, int], ...]]
"""Output channels and kernel of a convolution; two kernels for two parallel convolutions, "a" and "b"."""


class Inception(nn.Module):
    """The feature network.

    Its input is 8-bit levels as (level - 128) / 128, which is -1 to 0.992 and not quite level / 127.5 - 1.

    >>> Inception().eval()(torch.zeros(1, 3, 299, 299)).shape
    torch.Size([1, 2048])
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Convolution(3, 32, THREE, stride=2)
        self.Conv2d_2a_3x3 = _Convolution(32, 32, THREE)
        self.Conv2d_2b_3x3 = _Convolution(32, 64, THREE, padding=(1, 1))
        self.Conv2d_3b_1x1 = _Convolution(64, 80, ONE)
        self.Conv2d_4a_3x3 = _Convolution(80, 192, THREE)
        self.Mixed_5b = _at_35(192, pooled=32)
        self.Mixed_5c = _at_35(256, pooled=64)
        self.Mixed_5d = _at_35(288, pooled=64)
        self.Mixed_6a = _Mixed(
            288,
            {"branch3x3": [(384, THREE)], "branch3x3dbl": [(64, ONE), (96, THREE), (96, THREE)]},
            nn.MaxPool2d(3, stride=2),
        )
        self.Mixed_6b = _at_17(inner=128)
        self.Mixed_6c = _at_17(inner=160)
        self.Mixed_6d = _at_17(inner=160)
        self.Mixed_6e = _at_17(inner=192)
        sevens: list[Step] = [(192, ONE), (192, WIDE), (192, TALL), (192, THREE)]
        self.Mixed_7a = _Mixed(
            768, {"branch3x3": [(192, ONE), (320, THREE)], "branch7x7x3": sevens}, nn.MaxPool2d(3, stride=2)
        )
        self.Mixed_7b = _at_8(1280, _average())
        self.Mixed_7c = _at_8(2048, nn.MaxPool2d(3, stride=1, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, 3, 299, 299]` -> `[B, 2048]`."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = F.max_pool2d(x, 3, stride=2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = F.max_pool2d(x, 3, stride=2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        return x.mean(dim=(2, 3))


def trained(file: Path) -> Inception:
    """The network with the weights of `pt_inception-2015-12-05-6726825d.pth`, in eval mode."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    network = Inception()
    network.load_state_dict({name: value for name, value in state.items() if not name.startswith("fc.")})
    return network.eval().requires_grad_(False)


class _Convolution(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(
        self, channels: int, outputs: int, kernel: tuple[int, int], stride: int = 1, padding: tuple[int, int] = (0, 0)
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Mixed(nn.Module):
    """An Inception block: parallel paths of convolutions and a pool, their outputs concatenated.

    If the pool has stride 2, so has the last step of each path; every other convolution keeps the size. With `pooled`
    output channels, the pool is followed by a 1x1 convolution.
    """

    def __init__(
        self, channels: int, paths: dict[str, list[Step]], pool: nn.MaxPool2d | nn.AvgPool2d, pooled: int = 0
    ) -> None:
        super().__init__()
        self.pool, self.pooled = pool, pooled
        self.paths: list[list[list[str]]] = []  # the names of the parallel convolutions of each step of each path
        for prefix, steps in paths.items():
            before, path = channels, list[list[str]]()
            for number, (outputs, *kernels) in enumerate(steps, start=1):
                halves = pool.stride == 2 and number == len(steps)
                name = f"{prefix}_{number}" if len(steps) > 1 else prefix
                path.append([f"{name}{letter}" for letter in "ab"] if len(kernels) > 1 else [name])
                for part, (height, width) in zip(path[-1], kernels, strict=True):
                    padding = (0, 0) if halves else (height // 2, width // 2)
                    self.add_module(part, _Convolution(before, outputs, (height, width), 2 if halves else 1, padding))
                before = outputs * len(kernels)
            self.paths.append(path)
        if pooled:
            self.branch_pool = _Convolution(channels, pooled, ONE)

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for path in self.paths:
            y = x
            for names in path:
                y = torch.cat([self.get_submodule(name)(y) for name in names], dim=1)
            outputs.append(y)
        pooled = self.pool(x)
        return torch.cat([*outputs, self.branch_pool(pooled) if self.pooled else pooled], dim=1)


def _average() -> nn.AvgPool2d:
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


def _at_35(channels: int, *, pooled: int) -> _Mixed:
    paths: dict[str, list[Step]] = {
        "branch1x1": [(64, ONE)],
        "branch5x5": [(48, ONE), (64, FIVE)],
        "branch3x3dbl": [(64, ONE), (96, THREE), (96, THREE)],
    }
    return _Mixed(channels, paths, _average(), pooled)


def _at_17(*, inner: int) -> _Mixed:
    paths: dict[str, list[Step]] = {
        "branch1x1": [(192, ONE)],
        "branch7x7": [(inner, ONE), (inner, WIDE), (192, TALL)],
        "branch7x7dbl": [(inner, ONE), (inner, TALL), (inner, WIDE), (inner, TALL), (192, WIDE)],
    }
    return _Mixed(768, paths, _average(), pooled=192)


def _at_8(channels: int, pool: nn.MaxPool2d | nn.AvgPool2d) -> _Mixed:
    """A block at 8 x 8 pixels; its paths fork at the end."""
    paths: dict[str, list[Step]] = {
        "branch1x1": [(320, ONE)],
        "branch3x3": [(384, ONE), (384, (1, 3), (3, 1))],
        "branch3x3dbl": [(448, ONE), (384, THREE), (384, (1, 3), (3, 1))],
    }
    return _Mixed(channels, paths, pool, pooled=192)
