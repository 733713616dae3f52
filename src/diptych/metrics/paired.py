"""Per-image metrics against a target: pure functions, images in [-1, 1] in, one number per image out.

Images are rounded to 8 bits first, and compared on a scale from 0 to 1.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.images import color
from diptych.images.spec import EIGHT_BIT

RADIUS = 5  # pixels from the centre of an SSIM window to its border
SSIM_MIN_SIDE = 2 * RADIUS + 1  # pixels: the side of one window
C_1, C_2 = 0.01**2, 0.03**2  # Wang et al. 2004, section III.B, for values from 0 to 1


def quantized(images: Tensor) -> Tensor:
    """`[-1, 1]` -> the 8-bit levels of an image file, as multiples of 1/255 in [0, 1]."""
    return EIGHT_BIT.quantized(images) / EIGHT_BIT.full


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference, `[B, C, H, W]` twice -> `[B]`, 0 (equal) to 1.

    >>> l1(-torch.ones(1, 3, 16, 16), torch.ones(1, 3, 16, 16)).tolist()
    [1.0]
    """
    return (quantized(output) - quantized(target)).abs().flatten(1).mean(1)


def psnr(output: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, `[B, C, H, W]` twice -> `[B]`; capped at 100, the value of equal images."""
    error = (quantized(output) - quantized(target)).square().flatten(1).mean(1)
    return -10 * torch.log10(error.clamp(min=1e-10))


def ssim(output: Tensor, target: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004), `[B, C, H, W]` twice -> `[B]`; 1 for equal images.

    Gaussian window of 11 x 11 with sigma 1.5, mean over the windows inside the image, as in the paper; NaN for images
    smaller than a window.
    """
    if min(output.shape[2:]) < SSIM_MIN_SIDE:
        return torch.full((len(output),), torch.nan)
    return _similarity_map(output, target)[..., RADIUS:-RADIUS, RADIUS:-RADIUS].flatten(1).mean(1)


def _similarity_map(output: Tensor, target: Tensor) -> Tensor:
    """The similarity of the windows around each pixel, with reflection padding: float64 `[B, C, H, W]`."""
    x, y = (F.pad(quantized(images).double(), [RADIUS] * 4, mode="reflect") for images in (output, target))
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    variance_x, variance_y = _window_mean(x.square()) - mean_x.square(), _window_mean(y.square()) - mean_y.square()
    covariance = _window_mean(x * y) - mean_x * mean_y
    similarity = (2 * mean_x * mean_y + C_1) * (2 * covariance + C_2)
    return similarity / ((mean_x.square() + mean_y.square() + C_1) * (variance_x + variance_y + C_2))


def _window_mean(images: Tensor) -> Tensor:
    """The Gaussian-weighted mean of each window inside the image, by a separable filter.

    A convolution in float64 unfolds every window on a CPU; torchmetrics does so and took ten times as long.
    """
    weights = torch.exp(-(torch.arange(-RADIUS, RADIUS + 1).double() / 1.5).square() / 2)
    for dim in (-2, -1):
        count = images.shape[dim] - 2 * RADIUS
        images = sum(
            weight * images.narrow(dim, offset, count)
            for offset, weight in enumerate((weights / weights.sum()).tolist())
        )
    return images


def ab(output: Tensor, target: Tensor) -> Tensor:
    """Mean distance in the ab plane of CIE Lab (D65), `[B, 3, H, W]` twice -> `[B]`: the colour error.

    In units of a* and b*; about 2.3 is a just noticeable difference.
    """
    output_ab, target_ab = (color.to_lab(quantized(images) * 2 - 1)[1] * color.AB_RANGE for images in (output, target))
    distance: Tensor = torch.linalg.vector_norm(output_ab - target_ab, dim=1)
    return distance.flatten(1).mean(1)


# ---- in the holes alone


def hole_l1(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference in the hole, `[B, C, H, W]` twice and `[B, 1, H, W]` -> `[B]`, 0 (equal) to 1.

    >>> mask = torch.tensor([[[[0.0, 1.0]]]])
    >>> hole_l1(torch.ones(1, 1, 1, 2), -torch.ones(1, 1, 1, 2), mask).tolist()
    [1.0]
    """
    return _mean_in((quantized(output) - quantized(target)).abs(), mask)


def hole_psnr(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB in the hole, `[B, C, H, W]` twice and `[B, 1, H, W]` -> `[B]`."""
    error = _mean_in((quantized(output) - quantized(target)).square(), mask)
    return -10 * torch.log10(error.clamp(min=1e-10))


def hole_ssim(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean structural similarity of the windows centred in the hole, which also cover pixels around it: `[B]`."""
    return _mean_in(_similarity_map(output, target), mask).float()


def _mean_in(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over the hole, `[B, C, H, W]` and `[B, 1, H, W]` -> `[B]`; every image needs a hole."""
    holes = mask.to(values.dtype)
    return (values * holes).flatten(1).sum(1) / (holes.flatten(1).sum(1) * values.shape[1])


def compare(name: str, output: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """The metric `name` of each image, `[B]`, against the `y` of a batch; hole metrics use its `mask`."""
    if name in HOLE_METRICS:
        return HOLE_METRICS[name](output, batch["y"], batch["mask"])
    return PAIRED[name](output, batch["y"])


HOLE_METRICS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "hole-l1": hole_l1,
    "hole-psnr": hole_psnr,
    "hole-ssim": hole_ssim,
}
PAIRED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": l1,
    "psnr": psnr,
    "ssim": ssim,
    "ab": ab,
    "colourfulness": lambda output, target: color.colourfulness(output),
    "target-colourfulness": lambda output, target: color.colourfulness(target),
}
COLOUR_METRICS = ("ab", "colourfulness", "target-colourfulness")
