"""The projection head of CUT (Park et al. 2020, section 3 and appendix C.1): features at sampled places to unit vectors."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

# Where no feature is active, H gives its bias alone, 0 at first. A vector shorter than this stays shorter than 1, since the
# gradient of making it 1 is 1 / length: 1e12 by torch's own limit.
SHORTEST = 1e-6


class PatchProjection(nn.Module):
    """For each layer of an encoder a multi-layer perceptron of two layers, which makes its features comparable.

    >>> import torch
    >>> H = PatchProjection([3, 8], width=4)
    >>> vectors = H([torch.rand(2, 3, 6, 6), torch.rand(2, 8, 3, 3)], [torch.arange(5), torch.arange(2)])
    >>> [tuple(layer.shape) for layer in vectors]
    [(2, 5, 4), (2, 2, 4)]
    """

    def __init__(self, channels: Sequence[int], *, width: int = 256) -> None:
        """`channels` of each layer; `width` numbers come out for each place."""
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(count, width), nn.ReLU(), nn.Linear(width, width)) for count in channels
        )

    def forward(self, features: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
        """Layers `[B, C, h, w]` and indices into their h x w places, int64 `[S]` -> unit vectors `[B, S, width]` each."""
        return [
            F.normalize(project(layer.flatten(2)[:, :, index].transpose(1, 2)).float(), dim=-1, eps=SHORTEST)
            for layer, index, project in zip(features, places, self.layers, strict=True)
        ]
