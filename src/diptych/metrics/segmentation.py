"""How well classes are told apart, pixel by pixel: int64 class numbers in, numbers out.

The measures of Long et al. 2015, "Fully Convolutional Networks for Semantic Segmentation", section 5, where n_ij is how many
pixels of class i were taken for class j: here row i, column j of the confusion matrix.

A class that is nowhere in the truth has no accuracy, and is left out of the two means: they are taken over the classes that
are there. Pixels that were taken for it are wrong all the same, so they lower the accuracy of the classes that they belong
to. The paper's mean over classes knows no such class.
"""

import torch
from torch import Tensor


def confusion(found: Tensor, true: Tensor, classes: int) -> Tensor:
    """How many pixels of each true class (rows) were taken for which (columns): int64 `[classes, classes]`.

    `found` and `true` are int64 of one shape, 0 to `classes - 1`. The matrices of parts add up to that of the whole.

    >>> confusion(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), classes=2).tolist()
    [[1, 1], [0, 1]]
    """
    pairs = (classes * true + found).flatten()
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def per_pixel_accuracy(confusion: Tensor) -> float:
    """How many of all pixels were taken for what they are ("pixel accuracy"): sum_i n_ii / sum_i t_i.

    >>> per_pixel_accuracy(torch.tensor([[3, 1], [0, 4]]))
    0.875
    """
    return (confusion.trace().double() / confusion.sum()).item()


def per_class_accuracy(confusion: Tensor) -> float:
    """How many pixels of a class were taken for it, averaged over the classes ("mean accuracy"): mean of n_ii / t_i.

    >>> per_class_accuracy(torch.tensor([[3, 1], [0, 4]]))  # 3/4 and 4/4
    0.875
    """
    there = confusion.sum(dim=1)
    return _mean(confusion.diagonal(), there, there)


def class_iou(confusion: Tensor) -> float:
    """Intersection over union of where a class is and where it was found, averaged over the classes ("mean IU").

    Mean of n_ii / (t_i + sum_j n_ji - n_ii).

    >>> class_iou(torch.tensor([[3, 1], [0, 4]]))  # 3/4 and 4/5
    0.775
    """
    there, right = confusion.sum(dim=1), confusion.diagonal()
    return _mean(right, there + confusion.sum(dim=0) - right, there)


def score(confusion: Tensor) -> dict[str, float]:
    """The three numbers, by the names of their metrics."""
    return {
        "per-pixel-accuracy": per_pixel_accuracy(confusion),
        "per-class-accuracy": per_class_accuracy(confusion),
        "class-iou": class_iou(confusion),
    }


def _mean(right: Tensor, of: Tensor, there: Tensor) -> float:
    """The share that is right, averaged over the classes of which some pixel is there."""
    return (right.double() / of)[there > 0].mean().item()
