"""Lightness and colour of pictures: CIE Lab (D65, 2 degree observer), where a grey picture is one channel.

Pictures are float `[..., 3, H, W]` in [-1, 1]. L is `[..., 1, H, W]` and ab `[..., 2, H, W]`, both in [-1, 1] too: L* / 50
- 1, a* / 110 and b* / 110 (the colours of sRGB range from -108 to 98).
"""

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.images.spec import EIGHT_BIT

AB_RANGE = 110.0
FLAT = 0.1  # variance of L below which a neighbourhood counts as flat; chosen by the error on photographs


def to_lab(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """L and ab of pictures.

    >>> L, ab = to_lab(torch.ones(1, 3, 2, 2))
    >>> L.flatten().tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    from kornia.color import rgb_to_lab

    with torch.autocast(pictures.device.type, enabled=False):
        lab = rgb_to_lab((pictures.float() + 1) / 2)
    return lab[..., :1, :, :] / 50 - 1, lab[..., 1:, :, :] / AB_RANGE


def from_lab(L: Tensor, ab: Tensor) -> Tensor:
    """The pictures of L and ab.

    Colours outside of RGB keep their lightness and lose chroma: in linear light they move on a straight line towards the
    grey of the same luminance, until they are inside.

    >>> from_lab(torch.full((1, 2, 2), 1.0), torch.full((2, 2, 2), 0.9)).min() > 0.999  # nothing is whiter than white
    tensor(True)
    """
    from kornia.color import lab_to_rgb, linear_rgb_to_rgb, rgb_to_linear_rgb

    with torch.autocast(L.device.type, enabled=False):
        lab = torch.cat([(L.float() + 1) * 50, ab.float() * AB_RANGE], dim=-3)
        linear = rgb_to_linear_rgb(lab_to_rgb(lab, clip=False))
        grey = _luminance(linear).clamp(0, 1)
        away = linear - grey
        headroom = torch.where(away > 0, 1 - grey, grey) / away.abs().clamp(min=1e-12)
        shown = grey + away * headroom.amin(dim=-3, keepdim=True).clamp(max=1)
        return linear_rgb_to_rgb(shown.clamp(0, 1)) * 2 - 1


def to_grey(pictures: Tensor) -> Tensor:
    """Pictures without colour: three equal channels of the same L.

    >>> to_grey(torch.tensor([1.0, -1.0, -1.0]).view(3, 1, 1)).flatten().mul(127.5).add(127.5).round().tolist()
    [127.0, 127.0, 127.0]
    """
    from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb

    with torch.autocast(pictures.device.type, enabled=False):
        luminance = _luminance(rgb_to_linear_rgb((pictures.float() + 1) / 2))
        grey: Tensor = linear_rgb_to_rgb(luminance.expand_as(pictures))[..., :1, :, :] * 2 - 1
        return grey.expand_as(pictures)


def _luminance(linear: Tensor) -> Tensor:
    from kornia.color import rgb_to_xyz

    return rgb_to_xyz(linear)[..., 1:2, :, :]


def round_keeping_lightness(picture: Tensor, levels: int) -> Tensor:
    """Rounds pictures `[..., 3, H, W]` to the levels of a file, multiples of 1 / `levels`, so that L changes least.

    Each channel is rounded up or down; of the eight combinations, the one closest in luminance is used. Rounding each
    channel to its nearest level can change L by more than half a level.
    """
    from kornia.color import rgb_to_linear_rgb

    value = ((picture.float() + 1) * (levels / 2)).clamp(0, levels)
    lower = value.floor().clamp(max=levels - 1)
    # Luminance is a weighted sum of the channels in linear light, so each channel contributes independently.
    weights = _luminance(torch.eye(3, device=value.device).view(3, 3, 1, 1)).view(3, 1, 1)
    below = weights * rgb_to_linear_rgb(lower / levels)
    steps = (weights * rgb_to_linear_rgb((lower + 1) / levels) - below).unbind(-3)
    missing = (weights * rgb_to_linear_rgb(value / levels) - below).sum(dim=-3)
    least, best = torch.full_like(missing, torch.inf), torch.zeros_like(missing, dtype=torch.uint8)
    for way in range(8):
        change = (missing - sum(step for channel, step in enumerate(steps) if way >> channel & 1)).abs()
        best = torch.where(change < least, way, best)
        least = torch.minimum(change, least)
    ways = torch.tensor([[way >> channel & 1 for channel in range(3)] for way in range(8)], device=value.device)
    ups = ways[best.long()].movedim(-1, -3)  # not by shifts of bits, which do not export
    return (lower + ups) * (2 / levels) - 1


def spread(ab: Tensor, small_L: Tensor, height: int) -> Callable[[Tensor, slice], Tensor]:
    """Guided upsampling: gives, for rows of the L of a large picture, and which rows they are, their ab.

    The edges of that ab are where L has them. ab is `[..., 2, h, w]` and `small_L` `[..., 1, h, w]`, of a small picture; the
    large one has `height` rows, those that are asked for are `[..., 1, n, W]`.

    Around each pixel of the small picture, colour is nearly a linear function of lightness (He, Sun, Tang 2010, Guided
    Image Filtering, section 3.1); that function is applied to the lightness of the large picture.
    """

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)

    covariance = mean(small_L * ab) - mean(small_L) * mean(ab)
    variance = mean(small_L.square()) - mean(small_L).square()
    lines = covariance / (variance + FLAT), small_L, ab

    @cache
    def tall() -> list[Tensor]:
        return [_enlarged(x, height, x.shape[-1]) for x in lines]

    def of_rows(L: Tensor, rows: slice) -> Tensor:
        # All rows in one step; some of them down, then across, up to rounding the same
        parts = lines if L.shape[-2] == height else [x[..., rows, :] for x in tall()]
        slope, there, colour = (_enlarged(x, L.shape[-2], L.shape[-1]) for x in parts)
        return slope.mul_(L - there).add_(colour)

    return of_rows


def _enlarged(x: Tensor, height: int, width: int) -> Tensor:
    large = F.interpolate(x.reshape(-1, *x.shape[-3:]), size=(height, width), mode="bicubic")
    return large.reshape(*x.shape[:-2], height, width)


def is_grey(picture: Tensor) -> bool:
    """Whether a picture, uint8 `[3, H, W]`, has practically no colour: in less than 1 % of its pixels the channels differ by
    more than the compression noise of a grey picture (8 levels).

    >>> is_grey(torch.full((3, 4, 4), 90, dtype=torch.uint8))
    True
    """
    difference = picture.amax(dim=0) - picture.amin(dim=0)
    return bool((difference > 8).float().mean() < 0.01)


def colourfulness(pictures: Tensor) -> Tensor:
    """How colourful, `[B, 3, H, W]` -> `[B]`: 0 is grey, 15 slightly, 33 moderately, 59 quite, 109 extremely colourful.

    M3 of Hasler and Suesstrunk 2003, "Measuring colourfulness in natural images", section 6, on 8-bit levels.
    """
    red, green, blue = EIGHT_BIT.quantized(pictures).flatten(2).unbind(1)
    opponents = torch.stack([red - green, (red + green) / 2 - blue])
    deviation = opponents.std(dim=-1, correction=0).square().sum(0).sqrt()
    return deviation + 0.3 * opponents.mean(dim=-1).square().sum(0).sqrt()
