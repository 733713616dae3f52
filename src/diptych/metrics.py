"""How far translated pictures are from the true ones: pure functions, pictures in [-1, 1] in, one number per picture out.

Pictures are compared as they are seen: after the map to 8 bits, on a scale from 0 to 1.
"""

from collections.abc import Callable

import torch
from torch import Tensor


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
    """Structural similarity (Wang et al. 2004): Gaussian window of sigma 1.5, mean over the picture, `[B]`, 1 is equal."""
    try:
        from torchmetrics.functional.image import structural_similarity_index_measure
    except Exception as error:  # a torchvision that does not load breaks torchmetrics with a RuntimeError
        raise ValueError(
            f"torchmetrics does not load here ({error}); where torchvision is the cause, uninstall it: diptych needs none"
        ) from error
    values: Tensor = structural_similarity_index_measure(  # type: ignore[assignment]
        as_seen(output), as_seen(target), data_range=1.0, reduction="none"
    )
    return values


PAIRED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": l1, "psnr": psnr, "ssim": ssim}
