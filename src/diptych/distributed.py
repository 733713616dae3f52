"""Communication between the processes of a distributed training. At present there is always one process."""

from torch import Tensor


def mean(value: Tensor) -> Tensor:
    """The mean of a tensor over all processes; every process gets the same."""
    return value
