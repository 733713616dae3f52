"""How the small networks learn that read pictures: the classifier of labels, and the segmenter of label maps."""

from collections.abc import Callable

import torch
from torch import Tensor

from diptych.data.loaders import Progress


def learn(
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[Tensor], Tensor],
    count: int,
    *,
    steps: int,
    batch: int,
    lr: float,
    progress: Progress | None = None,
) -> None:
    """Takes so many steps down `loss_of`, the loss of the samples whose numbers it is given.

    The numbers are of `count` samples, in a new order each time round, by torch's random numbers. The learning rate goes
    through one cycle up to `lr` (Smith and Topin 2018, "Super-Convergence").

    >>> weight = torch.nn.Parameter(torch.zeros(()))
    >>> learn(torch.optim.SGD([weight]), lambda rows: (weight - rows).square().mean(), 3, steps=200, batch=3, lr=0.1)
    >>> round(weight.item(), 1)
    1.0
    """
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps)
    order = torch.cat([torch.randperm(count) for _ in range(-(-steps * batch // count))])
    for done, rows in enumerate(torch.split(order[: steps * batch], batch), start=1):
        loss = loss_of(rows)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if progress:
            progress(done, steps)
