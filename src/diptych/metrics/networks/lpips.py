"""Learned perceptual distance between two images: LPIPS v0.1 with AlexNet (Zhang et al. 2018, section 3)."""

from importlib.util import find_spec
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

CHANNELS = (64, 192, 384, 256, 256)  # of the five layers
SMALLEST = 31  # pixels; the last three layers then have one position


class LPIPS(nn.Module):
    """Perceptual distance between two images: 0 for equal ones.

    The features are the outputs of AlexNet's five convolutions. At each position of each layer the channels are normalised
    to a vector of length 1; the squared differences are weighted by channel, averaged over positions and summed over layers.

    >>> LPIPS()(torch.zeros(2, 3, 64, 48), torch.zeros(2, 1, 64, 48)).tolist()
    [0.0, 0.0]
    """

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(  # numbered as in torchvision
            nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(),
        )
        self.weights = nn.ParameterList(torch.ones(channels) for channels in CHANNELS)
        # from [-1, 1] to the input range of AlexNet; the published constants, with the published rounding
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """`[B, 3, H, W]` twice in [-1, 1] -> `[B]`; grey is repeated. A `ValueError` for a side below 31 px."""
        height, width = x.shape[2:]
        if min(height, width) < SMALLEST:
            raise ValueError(f"LPIPS takes pictures of {SMALLEST} px or more, here {width}x{height}")
        distances = [
            ((layer_x - layer_y).square() * weight[:, None, None]).sum(dim=1).mean(dim=(1, 2))
            for layer_x, layer_y, weight in zip(self._layers(x), self._layers(y), self.weights, strict=True)
        ]
        return torch.stack(distances).sum(dim=0)

    def _layers(self, images: Tensor) -> list[Tensor]:
        """The features of each layer, of length 1 at each position: five of `[B, C, h, w]`."""
        x = (images - self.shift) / self.scale  # broadcasting turns one channel into three
        layers = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                layers.append(x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10))
        return layers


def trained(file: Path) -> LPIPS:
    """The network with AlexNet's weights from `alexnet-owt-7be5be79.pth`, in eval mode.

    The channel weights come from the torchmetrics package; a `ValueError` for a version without them.
    """
    state = torch.load(file, map_location="cpu", weights_only=True)
    weights = torch.load(_channel_weights(), map_location="cpu", weights_only=True)
    network = LPIPS()
    network.load_state_dict(
        {
            **{name: value for name, value in state.items() if name.startswith("features.")},
            **{f"weights.{n}": weights[f"lin{n}.model.1.weight"].flatten() for n in range(len(CHANNELS))},
        }
    )
    return network.eval().requires_grad_(False)


def _channel_weights() -> Path:
    """The file of LPIPS v0.1, located without importing torchmetrics, which fails with a broken torchvision."""
    [package] = cast(list[str], getattr(find_spec("torchmetrics"), "submodule_search_locations", None))
    file = Path(package) / "functional" / "image" / "lpips_models" / "alex.pth"
    if not file.is_file():
        raise ValueError(f"{file}: is not there, and torchmetrics 1.9 has it; install that one for LPIPS")
    return file
