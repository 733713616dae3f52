"""Numbers that say how far pictures are from what they should be: pure functions, tensors in, tensors or numbers out.

paired      one picture beside its target
sets        a set of pictures beside a set of real ones, by what a network sees in them, or by their patches
"""

from diptych.metrics.paired import (
    IN_HOLES,
    LEAST_OF_SSIM,
    OF_COLOUR,
    PAIRED,
    ab,
    as_seen,
    compare,
    hole_l1,
    hole_psnr,
    hole_ssim,
    l1,
    psnr,
    ssim,
)
from diptych.metrics.sets import (
    frechet_distance,
    kernel_distance,
    memorisation_informed,
    precision_recall,
    sliced_wasserstein,
)

__all__ = [
    "HIGHER_IS_BETTER",
    "IN_HOLES",
    "LEAST_OF_SSIM",
    "OF_COLOUR",
    "PAIRED",
    "ab",
    "as_seen",
    "better",
    "compare",
    "frechet_distance",
    "hole_l1",
    "hole_psnr",
    "hole_ssim",
    "kernel_distance",
    "l1",
    "memorisation_informed",
    "precision_recall",
    "psnr",
    "sliced_wasserstein",
    "ssim",
]

HIGHER_IS_BETTER = frozenset(
    {
        "psnr",
        "ssim",
        "hole-psnr",
        "hole-ssim",
        "precision",
        "recall",
        "per-pixel-accuracy",
        "per-class-accuracy",
        "class-iou",
        "label-accuracy",
        "label-probability",
        "classification-accuracy-score",
    }
)
NEITHER_IS_BETTER = frozenset({"colourfulness", "target-colourfulness"})


def better(metric: str) -> int:
    """1 where higher is better, -1 where lower is, 0 where a number says no good or bad by itself.

    `metric` is a name alone or a whole specification.

    >>> better("psnr/8-bit/128px"), better("l1"), better("colourfulness")
    (1, -1, 0)
    """
    name = metric.partition("/")[0]
    if name in NEITHER_IS_BETTER:
        return 0
    return 1 if name in HIGHER_IS_BETTER else -1
