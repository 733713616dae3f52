"""How far pictures are from the true ones: pure functions, pictures in [-1, 1] in, one number per picture out.

Pictures are compared as they are seen: after the map to 8 bits, on a scale from 0 to 1.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from diptych import color
from diptych.metrics.library import torchmetrics


def as_seen(pictures: Tensor) -> Tensor:
    """`[-1, 1]` -> the 8-bit levels that a file would hold, as multiples of 1/255 in [0, 1]."""
    return ((pictures.float() + 1) * 127.5).round().clamp(0, 255) / 255


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

    Gaussian window of 11 x 11 with sigma 1.5, mean over the windows that lie inside the picture, as in the paper.
    """
    # torchmetrics' mean takes in windows that see a mirrored border; those of the paper lie inside
    return _similarities(output, target)[..., 5:-5, 5:-5].flatten(1).mean(1)


def _similarities(output: Tensor, target: Tensor) -> Tensor:
    """The similarity of the windows around each pixel, the pictures mirrored at their borders: `[B, C, H, W]`."""
    _, windows = torchmetrics("functional.image").structural_similarity_index_measure(
        as_seen(output).double(),
        as_seen(target).double(),
        data_range=1.0,
        sigma=1.5,
        reduction="none",
        return_full_image=True,
    )
    similarities: Tensor = windows
    return similarities


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
