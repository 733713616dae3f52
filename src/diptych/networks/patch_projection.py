"""The projection head of CUT (Park et al. 2020, section 3 and appendix C.1): sampled features to unit vectors."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

# Where all features are 0, H outputs its bias, which is 0 at first. Shorter vectors are not normalised to length 1: the
# gradient of the normalisation is 1 / length, with torch's default up to 1e12.
SHORTEST = 1e-6


class PatchProjection(nn.Module):
    """A two-layer perceptron for each encoder layer, which makes their features comparable.

    >>> import torch
    >>> H = PatchProjection([3, 8], width=4)
    >>> vectors = H([torch.rand(2, 3, 6, 6), torch.rand(2, 8, 3, 3)], [torch.arange(5), torch.arange(2)])
    >>> [tuple(layer.shape) for layer in vectors]
    [(2, 5, 4), (2, 2, 4)]
    """

    def __init__(self, channels: Sequence[int], *, width: int = 256) -> None:
        """`channels` of each encoder layer; `width` features per position come out."""
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(count, width), nn.ReLU(), nn.Linear(width, width)) for count in channels
        )

    def forward(self, features: Sequence[Tensor], positions: Sequence[Tensor]) -> list[Tensor]:
        """Layers `[B, C, h, w]` and indices of their h x w positions, int64 `[S]` -> unit vectors `[B, S, width]` each."""
        return [
            F.normalize(project(layer.flatten(2)[:, :, index].transpose(1, 2)).float(), dim=-1, eps=SHORTEST)
            for layer, index, project in zip(features, positions, self.layers, strict=True)
        ]
