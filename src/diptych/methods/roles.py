"""Optional roles of methods. The loop checks once, at the start, which roles a method has."""

from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

from torch import Tensor

Mean = Callable[[Tensor], Tensor]
"""The mean of a tensor over all processes of a training."""


@runtime_checkable
class Phased(Protocol):
    """Trains in phases, with decisions between steps and snapshots of the model.

    Decisions depend on the step and the `state_dict` alone, and are stored in the `state_dict`.
    """

    snapshots: tuple[str, ...]
    """Names of the snapshots, models that are saved during training for comparison with the last one."""

    def phase(self, step: int) -> str:
        """The name of the phase of a step."""

    def after_step(self, done: int, mean: Mean) -> None:
        """Called after `done` steps. It may read the value of a tensor that `mean` has averaged over processes."""

    def snapshot_at(self, done: int) -> str | None:
        """The name of the snapshot to save after `done` steps, if any."""


@runtime_checkable
class FitsData(Protocol):
    """Computes statistics of the training set before the first step; they are part of the `state_dict`."""

    def fit_statistics(self, training: Iterable[Tensor]) -> None:
        """`training` yields every image, both of a pair, as uint8 `[C, H, W]`."""
