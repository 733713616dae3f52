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
    "title",
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


TITLES = {
    "ab": "Colour error (ab)",
    "class-iou": "Class IoU",
    "fid": "FID",
    "hole-l1": "L1 error in holes",
    "hole-psnr": "PSNR in holes (dB)",
    "hole-ssim": "SSIM in holes",
    "kid": "KID",
    "l1": "L1 error",
    "lpips": "LPIPS",
    "mifid": "MiFID",
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "swd": "Sliced Wasserstein distance",
}
"""Of metrics whose names are abbreviations."""


def title(metric: str) -> str:
    """What to call a metric on a page. `metric` is a name or a full specification.

    >>> title("psnr/8-bit/128px"), title("per-pixel-accuracy")
    ('PSNR (dB)', 'Per-pixel accuracy')
    """
    name = metric.partition("/")[0]
    words = name.replace("-", " ").replace("per ", "per-")
    return TITLES.get(name, words[:1].upper() + words[1:])


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
