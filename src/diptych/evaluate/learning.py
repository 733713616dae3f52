"""Training of the small networks that evaluation needs: the classifier of labels and the segmenter of label maps."""

from collections.abc import Callable

import torch
from torch import Tensor

from diptych.data.loaders import Progress


def fit(
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[Tensor], Tensor],
    count: int,
    *,
    steps: int,
    batch_size: int,
    lr: float,
    progress: Progress | None = None,
) -> None:
    """Takes `steps` optimiser steps down `loss_of(indices)`, the loss of a batch of samples.

    The indices of the `count` samples are shuffled anew in every epoch by torch's global random state. The learning rate
    makes one cycle up to `lr` (Smith and Topin 2018, "Super-Convergence").

    >>> weight = torch.nn.Parameter(torch.zeros(()))
    >>> fit(torch.optim.SGD([weight]), lambda rows: (weight - rows).square().mean(), 3, steps=200, batch_size=3, lr=0.1)
    >>> round(weight.item(), 1)
    1.0
    """
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps)
    order = torch.cat([torch.randperm(count) for _ in range(-(-steps * batch_size // count))])
    for done, indices in enumerate(torch.split(order[: steps * batch_size], batch_size), start=1):
        loss = loss_of(indices)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if progress:
            progress(done, steps)
