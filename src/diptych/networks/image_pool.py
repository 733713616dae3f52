"""The image pool (Shrivastava et al. 2017, section 2.3): the discriminator also sees generated images of earlier steps."""

import torch
from torch import Tensor, nn

from diptych import distributed


class ImagePool(nn.Module):
    """Stores generated images and returns, half of the time, a stored one in place of a new one.

    While the pool is not full, a new image is stored and returned. Once it is full, with probability one half a stored
    image, chosen uniformly, is returned and replaced by the new one; else the new one is returned. With a `size` of 0 new
    images are always returned. The images and their number are buffers: they are on the device and in the checkpoint. The
    choice is made by tensor operations, without synchronising with the device.

    The processes of one training have one pool: each plays the exchange of all images, and returns those for its own.

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
        self.register_load_state_dict_post_hook(_require_possible)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def forward(self, new: Tensor) -> Tensor:
        """`[B, C, H, W]` -> `[B, C, H, W]`, new or stored images, without a graph."""
        if self.size <= 0:
            return new.detach()
        images, draws = new.detach().float(), [self._draw(new.device) for _ in range(len(new))]
        if distributed.size() > 1:
            images = distributed.gathered(images)
            numbers = torch.stack([torch.stack([swap[None].long(), place]) for swap, place in draws])
            draws = [(swap[0] > 0, place) for swap, place in distributed.gathered(numbers)]
        # one by one: an image may be returned later in the same batch
        returned = [self._exchange(image[None], *draw) for image, draw in zip(images, draws, strict=True)]
        first = distributed.rank() * len(new)
        return torch.cat(returned[first : first + len(new)])

    def _draw(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Whether a stored image is returned, `[]`, and which one, `[1]`."""
        return torch.rand((), device=device) < 0.5, torch.randint(self.size, (1,), device=device)

    def _exchange(self, new: Tensor, swap: Tensor, place: Tensor) -> Tensor:
        """Exchanges one image `[1, C, H, W]`, by what was drawn for it."""
        full = self.stored >= self.size
        swap = full & swap
        index = torch.where(full, place, self.stored)
        old = self.pictures.index_select(0, index)
        self.pictures.index_copy_(0, index, torch.where(full & ~swap, old, new))
        self.stored += ~full
        return torch.where(swap, old, new)


def _require_possible(pool: ImagePool, *_: object) -> None:
    """Raises a `ValueError` for a loaded number of images that is none: it is an index on the device."""
    if not 0 <= pool.stored.item() <= pool.size:
        raise ValueError(f"a pool of {pool.size} pictures has stored {pool.stored.item()}")
