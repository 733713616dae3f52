"""Metrics of image quality: pure functions, tensors in, tensors or numbers out.

paired      per-image metrics against a target
sets        set distances between generated and real images, by network features or by patches
"""

from diptych.metrics.paired import (
    COLOUR_METRICS,
    HOLE_METRICS,
    PAIRED,
    SSIM_MIN_SIDE,
    ab,
    compare,
    hole_l1,
    hole_psnr,
    hole_ssim,
    l1,
    psnr,
    quantized,
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
    "COLOUR_METRICS",
    "HOLE_METRICS",
    "PAIRED",
    "SSIM_MIN_SIDE",
    "ab",
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
    "quantized",
    "sliced_wasserstein",
    "ssim",
]

HIGHER_IS_BETTER = {
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


def better(metric: str) -> int:
    """1 if higher is better, -1 if lower is better, 0 if neither.

    `metric` is a name or a full specification.

    >>> better("psnr/8-bit/128px"), better("l1"), better("colourfulness")
    (1, -1, 0)
    """
    name = metric.partition("/")[0]
    if name in ("colourfulness", "target-colourfulness"):
        return 0
    return 1 if name in HIGHER_IS_BETTER else -1
