"""How far pictures are from the true ones: pure functions, pictures in [-1, 1] in, one number per picture out.

Pictures are compared as they are seen: after the map to 8 bits, on a scale from 0 to 1.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.images import color
from diptych.images.spec import EIGHT_BIT

REACH = 5  # pixels from the middle of a window of SSIM to its border
LEAST_OF_SSIM = 2 * REACH + 1  # pixels of a side that one window takes
C_1, C_2 = 0.01**2, 0.03**2  # Wang et al. 2004, section III.B, for values from 0 to 1


def as_seen(pictures: Tensor) -> Tensor:
    """`[-1, 1]` -> the 8-bit levels of a file, scaled to [0, 1]."""
    return EIGHT_BIT.quantized(pictures) / EIGHT_BIT.full


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference, `[B, C, H, W]` twice -> `[B]`, 0 (equal) to 1.

    >>> l1(-torch.ones(1, 3, 16, 16), torch.ones(1, 3, 16, 16)).tolist()
    [1.0]
    """
    return (as_seen(output) - as_seen(target)).abs().flatten(1).mean(1)


def psnr(output: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, `[B, C, H, W]` twice -> `[B]`; 100 for equal pictures, where it has no bound."""
    error = (as_seen(output) - as_seen(target)).square().flatten(1).mean(1)
    return -10 * torch.log10(error.clamp(min=1e-10))


def ssim(output: Tensor, target: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004), `[B, C, H, W]` twice -> `[B]`; 1 for equal pictures.

    Gaussian window of 11 x 11 with sigma 1.5, mean over the windows that lie inside the picture, as in the paper; not a
    number where there is none.
    """
    if min(output.shape[2:]) < LEAST_OF_SSIM:
        return torch.full((len(output),), torch.nan)
    return _similarities(output, target)[..., REACH:-REACH, REACH:-REACH].flatten(1).mean(1)


def _similarities(output: Tensor, target: Tensor) -> Tensor:
    """The similarity of the windows around each pixel, the pictures mirrored at their borders: float64 `[B, C, H, W]`."""
    x, y = (F.pad(as_seen(pictures).double(), [REACH] * 4, mode="reflect") for pictures in (output, target))
    mean_x, mean_y = _weighed(x), _weighed(y)
    variance_x, variance_y = _weighed(x.square()) - mean_x.square(), _weighed(y.square()) - mean_y.square()
    covariance = _weighed(x * y) - mean_x * mean_y
    alike = (2 * mean_x * mean_y + C_1) * (2 * covariance + C_2)
    return alike / ((mean_x.square() + mean_y.square() + C_1) * (variance_x + variance_y + C_2))


def _weighed(pictures: Tensor) -> Tensor:
    """The weighted mean of each window that lies inside: one direction after the other, which a Gaussian window allows.

    A convolution in float64 unfolds every window on a CPU; torchmetrics, which does so, took ten times as long.
    """
    weights = torch.exp(-(torch.arange(-REACH, REACH + 1).double() / 1.5).square() / 2)
    for dim in (-2, -1):
        count = pictures.shape[dim] - 2 * REACH
        pictures = sum(
            weight * pictures.narrow(dim, place, count)
            for place, weight in enumerate((weights / weights.sum()).tolist())
        )
    return pictures


def ab(output: Tensor, target: Tensor) -> Tensor:
    """Mean distance in the ab plane of CIE Lab (D65), `[B, 3, H, W]` twice -> `[B]`: how far the colours are off.

    In units of a* and b*, of which about 2.3 are a just noticeable difference.
    """
    output_ab, target_ab = (
        color.to_lab(as_seen(pictures) * 2 - 1)[1] * color.AB_RANGE for pictures in (output, target)
    )
    distance: Tensor = torch.linalg.vector_norm(output_ab - target_ab, dim=1)
    return distance.flatten(1).mean(1)


def _colourfulness(output: Tensor, target: Tensor) -> Tensor:
    return color.colourfulness(output)


def _colourfulness_of_target(output: Tensor, target: Tensor) -> Tensor:
    return color.colourfulness(target)


# ---- over the holes alone


def hole_l1(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference in the hole, `[B, C, H, W]` twice and `[B, 1, H, W]` -> `[B]`, 0 (equal) to 1.

    >>> mask = torch.tensor([[[[0.0, 1.0]]]])
    >>> hole_l1(torch.ones(1, 1, 1, 2), -torch.ones(1, 1, 1, 2), mask).tolist()
    [1.0]
    """
    return _mean_in((as_seen(output) - as_seen(target)).abs(), mask)


def hole_psnr(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of what was filled in, `[B, C, H, W]` twice and `[B, 1, H, W]` -> `[B]`."""
    error = _mean_in((as_seen(output) - as_seen(target)).square(), mask)
    return -10 * torch.log10(error.clamp(min=1e-10))


def hole_ssim(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean structural similarity of the windows around the pixels of the hole, which see what is around it too: `[B]`."""
    return _mean_in(_similarities(output, target), mask).float()


def _mean_in(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over the hole, `[B, C, H, W]` and `[B, 1, H, W]` -> `[B]`; a picture needs a hole."""
    holes = mask.to(values.dtype)
    return (values * holes).flatten(1).sum(1) / (holes.flatten(1).sum(1) * values.shape[1])


def compare(name: str, output: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """One number per picture, `[B]`: the metric of this name, against the `y` of a batch, in the holes of its `mask`."""
    if name in IN_HOLES:
        return IN_HOLES[name](output, batch["y"], batch["mask"])
    return PAIRED[name](output, batch["y"])


IN_HOLES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "hole-l1": hole_l1,
    "hole-psnr": hole_psnr,
    "hole-ssim": hole_ssim,
}
PAIRED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": l1,
    "psnr": psnr,
    "ssim": ssim,
    "ab": ab,
    "colourfulness": _colourfulness,
    "target-colourfulness": _colourfulness_of_target,
}
OF_COLOUR = ("ab", "colourfulness", "target-colourfulness")
