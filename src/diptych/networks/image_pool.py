"""The image pool (Shrivastava et al. 2017, section 2.3): a discriminator judges generated pictures of earlier steps too."""

import torch
from torch import Tensor, nn


class ImagePool(nn.Module):
    """Keeps the last generated pictures and gives, half of the time, one of them in place of a new one.

    While the pool is not full, a picture is stored and given back. Once it is full, with probability one half a stored
    picture, drawn evenly, is given and the new one takes its place; else the new one is given. A `size` of 0 gives every
    picture back. Pictures and their number are buffers: they live on the device and travel in the checkpoint; the choice
    is made with tensor operations, so that nobody waits for it.

    >>> pool = ImagePool(2, channels=3, height=4, width=4)
    >>> pool(torch.ones(2, 3, 4, 4)).shape, pool.stored.item()
    (torch.Size([2, 3, 4, 4]), 2)
    """

    pictures: Tensor
    stored: Tensor

    def __init__(self, size: int, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("pictures", torch.zeros(size, channels, height, width))
        self.register_buffer("stored", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def forward(self, new: Tensor) -> Tensor:
        """`[B, C, H, W]` -> as many pictures, new or old, without a graph."""
        if self.size <= 0:
            return new.detach()
        # one by one: a picture may be given back later in the same batch
        return torch.cat([self._exchange(picture[None]) for picture in new.detach().float()])

    def _exchange(self, new: Tensor) -> Tensor:
        """One picture `[1, C, H, W]` for another."""
        full = self.stored >= self.size
        swap = full & (torch.rand((), device=new.device) < 0.5)
        place = torch.where(full, torch.randint(self.size, (1,), device=new.device), self.stored)
        old = self.pictures.index_select(0, place)
        self.pictures.index_copy_(0, place, torch.where(full & ~swap, old, new))
        self.stored += ~full
        return torch.where(swap, old, new)
