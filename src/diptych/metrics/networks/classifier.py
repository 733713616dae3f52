"""A small classifier for the images of a label-conditional generator."""

from torch import Tensor, nn

FEATURES = 128
MAX_FINAL_SIDE = 7  # pixels before the linear layers


class Classifier(nn.Module):
    """Image classifier: 3x3 convolutions of stride 2 down to 4 to 7 pixels, then two linear layers.

    >>> import torch
    >>> Classifier(1, size=28, classes=10)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(self, channels: int, *, size: int, classes: int, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before, after, side = channels, width, size
        while side > MAX_FINAL_SIDE:
            layers += [
                nn.Conv2d(before, after, kernel_size=3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
            before, after, side = after, min(2 * after, 4 * width), -(-side // 2)
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * side**2, FEATURES), nn.ReLU())
        self.logits = nn.Linear(FEATURES, classes)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, channels, size, size]` in [-1, 1] -> logits `[B, classes]`."""
        logits: Tensor = self.logits(self.features(x))
        return logits
