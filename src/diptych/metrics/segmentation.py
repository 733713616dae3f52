"""Metrics of semantic segmentation: int64 class indices in, numbers out.

Those of Long et al. 2015, "Fully Convolutional Networks for Semantic Segmentation", section 5, where n_ij is the number of
pixels of class i predicted as class j: row i, column j of the confusion matrix.

A class without a true pixel has no accuracy, so the two means are over the other classes. Pixels that are wrongly predicted
as that class lower the accuracy of their true class. The paper does not treat this case.
"""

import torch
from torch import Tensor


def confusion(predicted: Tensor, true: Tensor, classes: int) -> Tensor:
    """The number of pixels by true class (rows) and predicted class (columns): int64 `[classes, classes]`.

    `predicted` and `true` are int64 of one shape, 0 to `classes - 1`. The matrices of parts add up to that of the whole.

    >>> confusion(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), classes=2).tolist()
    [[1, 1], [0, 1]]
    """
    pairs = (classes * true + predicted).flatten()
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def per_pixel_accuracy(confusion: Tensor) -> float:
    """The share of correctly predicted pixels ("pixel accuracy"): sum_i n_ii / sum_i t_i.

    >>> per_pixel_accuracy(torch.tensor([[3, 1], [0, 4]]))
    0.875
    """
    return (confusion.trace().double() / confusion.sum()).item()


def per_class_accuracy(confusion: Tensor) -> float:
    """The share of correct pixels of each true class, averaged over the classes ("mean accuracy"): mean of n_ii / t_i.

    >>> per_class_accuracy(torch.tensor([[3, 1], [0, 4]]))  # 3/4 and 4/4
    0.875
    """
    return _mean_share(confusion, confusion.sum(dim=1))


def class_iou(confusion: Tensor) -> float:
    """Intersection over union of the true and the predicted pixels of a class, averaged over the classes ("mean IU").

    Mean of n_ii / (t_i + sum_j n_ji - n_ii).

    >>> class_iou(torch.tensor([[3, 1], [0, 4]]))  # 3/4 and 4/5
    0.775
    """
    return _mean_share(confusion, confusion.sum(dim=1) + confusion.sum(dim=0) - confusion.diagonal())


def score(confusion: Tensor) -> dict[str, float]:
    """The three metrics by name."""
    return {
        "per-pixel-accuracy": per_pixel_accuracy(confusion),
        "per-class-accuracy": per_class_accuracy(confusion),
        "class-iou": class_iou(confusion),
    }


def _mean_share(confusion: Tensor, total: Tensor) -> float:
    """The correct pixels of a class / `total`, averaged over the classes that have true pixels."""
    return (confusion.diagonal().double() / total)[confusion.sum(dim=1) > 0].mean().item()
