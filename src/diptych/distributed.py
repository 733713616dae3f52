"""Where processes that train together meet: nothing else knows how many there are. Today there is one."""

from torch import Tensor


def mean(value: Tensor) -> Tensor:
    """The mean of a tensor over all processes; every process gets the same."""
    return value
