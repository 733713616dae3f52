"""What only some methods do. The loop asks once, at the start, whether a method has a role."""

from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

from torch import Tensor

Mean = Callable[[Tensor], Tensor]
"""The mean of a tensor over all processes that train together."""


@runtime_checkable
class Phased(Protocol):
    """Learns in phases, may decide something between steps, and keeps models on the way.

    Decisions depend on the number of steps and the `state_dict` alone, and become part of the latter.
    """

    snapshots: tuple[str, ...]
    """Names of the models that are kept on the way, to be compared with the last one."""

    def phase(self, step: int) -> str:
        """The name of the phase that a step belongs to."""

    def after_step(self, done: int, mean: Mean) -> None:
        """Called after `done` steps. Here a tensor may be asked for its value, once `mean` has made it everybody's."""

    def snapshot_at(self, done: int) -> str | None:
        """Which of the `snapshots` the model after `done` steps is, if any."""


@runtime_checkable
class FitsData(Protocol):
    """Takes statistics of the training set before the first step; they live in the `state_dict`."""

    def fit_statistics(self, training: Iterable[Tensor]) -> None:
        """`training` yields every sample as levels `[C, H, W]`."""
