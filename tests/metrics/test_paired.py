"""The metrics against scikit-image and scipy, on pictures as they are seen: 8 bits."""

import numpy as np
import pytest
import skimage.metrics
import torch
from skimage.color import rgb2lab

from diptych import metrics


@pytest.fixture
def two() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 32, 40, generator=generator) * 2 - 1
    return (target + 0.3 * torch.randn(target.shape, generator=generator)).clamp(-1.2, 1.2), target


def seen(picture: torch.Tensor) -> torch.Tensor:
    return ((picture + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def test_psnr(two: tuple[torch.Tensor, torch.Tensor]) -> None:
    want = [
        skimage.metrics.peak_signal_noise_ratio(seen(t).numpy(), seen(o).numpy(), data_range=255)
        for o, t in zip(*two, strict=True)
    ]
    assert metrics.psnr(*two).tolist() == pytest.approx(want, rel=1e-5)


def test_ssim(two: tuple[torch.Tensor, torch.Tensor]) -> None:
    want = [
        skimage.metrics.structural_similarity(
            seen(t).numpy(),
            seen(o).numpy(),
            data_range=255,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for o, t in zip(*two, strict=True)
    ]
    assert metrics.ssim(*two).tolist() == pytest.approx(want, abs=1e-5)


def test_l1(two: tuple[torch.Tensor, torch.Tensor]) -> None:
    want = [(seen(o).int() - seen(t).int()).abs().double().mean().item() / 255 for o, t in zip(*two, strict=True)]
    assert metrics.l1(*two).tolist() == pytest.approx(want, rel=1e-5)


def test_equal_pictures(two: tuple[torch.Tensor, torch.Tensor]) -> None:
    _, target = two
    assert metrics.l1(target, target).tolist() == [0, 0]
    assert metrics.psnr(target, target).tolist() == pytest.approx([100, 100])
    assert metrics.ssim(target, target).tolist() == pytest.approx([1, 1])


def test_ab_against_scikit_image() -> None:
    generator = torch.Generator().manual_seed(0)
    output, target = (torch.rand(2, 3, 16, 16, generator=generator) * 2 - 1 for _ in range(2))
    labs = [rgb2lab(((t + 1) * 127.5).round().double().numpy() / 255, channel_axis=1) for t in (output, target)]
    off = np.sqrt(((labs[0] - labs[1])[:, 1:] ** 2).sum(axis=1)).mean(axis=(1, 2))
    assert metrics.ab(output, target).tolist() == pytest.approx(list(off), rel=1e-4)


def test_colourfulness_of_output_and_target() -> None:
    colourful, grey = torch.rand(1, 3, 8, 8) * 2 - 1, torch.zeros(1, 3, 8, 8)
    assert metrics.PAIRED["colourfulness"](grey, colourful) == 0 < metrics.PAIRED["colourfulness"](colourful, grey)
    assert metrics.PAIRED["target-colourfulness"](colourful, grey) == 0


# ---- over the holes alone

HOLE = (slice(None), slice(8, 24), slice(4, 20))


@pytest.fixture
def mask() -> torch.Tensor:
    mask = torch.zeros(2, 1, 32, 40)
    mask[:, *HOLE] = 1
    return mask


def test_over_the_hole_as_on_the_hole_cut_out(two: tuple[torch.Tensor, torch.Tensor], mask: torch.Tensor) -> None:
    for i, (o, t) in enumerate(zip(*two, strict=True)):
        a, b = seen(t[HOLE]).numpy(), seen(o[HOLE]).numpy()
        assert metrics.hole_l1(*two, mask)[i].item() == pytest.approx(np.abs(a / 255 - b / 255).mean(), rel=1e-5)
        want = skimage.metrics.peak_signal_noise_ratio(a, b, data_range=255)
        assert metrics.hole_psnr(*two, mask)[i].item() == pytest.approx(want, rel=1e-5)


def test_ssim_of_the_windows_around_a_hole(two: tuple[torch.Tensor, torch.Tensor], mask: torch.Tensor) -> None:
    for i, (o, t) in enumerate(zip(*two, strict=True)):
        _, similarities = skimage.metrics.structural_similarity(
            seen(t).numpy(),
            seen(o).numpy(),
            data_range=255,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        assert metrics.hole_ssim(*two, mask)[i].item() == pytest.approx(similarities[HOLE].mean(), abs=1e-4)


def test_ssim_of_a_hole_in_the_corner_is_a_number(two: tuple[torch.Tensor, torch.Tensor]) -> None:
    mask = torch.zeros(2, 1, 32, 40)
    mask[..., 30:, 38:] = 1
    assert metrics.hole_ssim(two[1], two[1], mask).tolist() == pytest.approx([1.0, 1.0])
