"""Distances between a set of images and a set of real ones, most of them on network features: features in, numbers out.

Features are float32 `[N, D]`, one row per image. They are processed in float64, one block of rows at a time, so that 10,000
images take hardly more memory than 1,000: no copy of all features is made, and no `N x N` matrix.
"""

from collections.abc import Iterator
from itertools import combinations_with_replacement, product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.images.spec import EIGHT_BIT

BLOCK = 1024  # rows at a time

# ---- Fréchet distances


def frechet_distance(features: Tensor, real: Tensor) -> float:
    """Distance of two sets of features, `[N, D]` and `[M, D]`, as if both were normal (Heusel et al. 2017, equation 6).

    N and M are two or more, and may be smaller than D. The distance is larger for smaller sets: compare it only between
    sets of equal size. A `ValueError` for fewer than two rows.

    >>> one = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    >>> round(frechet_distance(one, one + 3), 4)  # of equal covariance: the squared distance of the means
    18.0
    """
    # torchmetrics takes eigenvalues of the product of the covariances. Hundreds that should be 0 come out around 1e-16, and
    # their roots around 1e-8: with fewer images than dimensions that was 3 % of the distance of close sets.
    # With covariances R'R and S'S, the trace of the root of their product is the sum of the singular values of RS'.
    _require(2, "a Fréchet distance", features, real)
    mean, root = _normal(features)
    real_mean, real_root = _normal(real)
    trace = root.square().sum() + real_root.square().sum() - 2 * torch.linalg.svdvals(root @ real_root.T).sum()
    distance: float = ((mean - real_mean).square().sum() + trace).clamp(min=0).item()
    return distance


def _normal(features: Tensor) -> tuple[Tensor, Tensor]:
    """The mean, and an R with R'R = the covariance, which is itself never computed."""
    count, dimensions = features.shape
    blocks = torch.split(features, max(BLOCK, dimensions))
    mean = torch.stack([block.double().sum(dim=0) for block in blocks]).sum(dim=0) / count
    root = mean.new_empty(0, dimensions)
    for block in blocks:
        root = torch.linalg.qr(torch.cat([root, block.double() - mean]), mode="r").R
    return mean, root / (count - 1) ** 0.5


def memorisation_informed(features: Tensor, real: Tensor) -> float:
    """The Fréchet distance with a penalty for copies of real images: MiFID (Bai et al. 2021).

    It is divided by the distance of a generated image from the closest real one, 1 - |cosine|, averaged over the generated
    images, if that is below 0.1. As Kaggle scored it: all-zero rows are left out, and 1e-15 is added to the divisor.
    (torchmetrics 1.9 averages over the real images instead.)

    >>> one = torch.tensor([[0.0, 1.0], [2.0, 1.0], [1.0, 0.0], [1.0, 3.0]])
    >>> memorisation_informed(one[:2], one) > 1e10 * frechet_distance(one[:2], one)  # copies
    True
    """
    distance = frechet_distance(features, real)
    nearest = _mean_nearest_distance(features, real)
    return distance / ((nearest if nearest < 0.1 else 1) + 1e-15)


def _mean_nearest_distance(features: Tensor, real: Tensor) -> float:
    """1 - |cosine| to the nearest real row, the mean over the non-zero rows of `features`; NaN if all are zero."""
    closest = []
    for rows in _blocks(features):
        units = F.normalize(features[rows][features[rows].any(dim=1)].double())
        cosine = units.new_zeros(len(units))
        for columns in _blocks(real):  # an all-zero row has a cosine of 0, so it is near to none
            cosine = torch.maximum(cosine, (units @ F.normalize(real[columns].double()).T).abs().amax(dim=1))
        closest.append(1 - cosine)
    return torch.cat(closest).clamp(min=0).mean().item()


# ---- kernel distance


def kernel_distance(features: Tensor, real: Tensor) -> tuple[float, float]:
    """Squared maximum mean discrepancy under (x.y / D + 1)^3, and its standard error: KID (Bińkowski et al. 2018).

    `[N, D]` and `[M, D]`, three rows or more of each. It is unbiased for all N and M, and so may be negative. It is computed
    over all images at once. Published code averages over random subsets: that has the same expectation, depends on a seed,
    and reports the standard deviation between subsets as an error, which is 0 if a set is no larger than a subset.

    The standard error is that of the jackknife, which leaves out one image of either set at a time (Arvesen 1969). For sets
    of the same distribution it is too large by a factor of about 1.4: there the distance varies only in second order, and
    the jackknife counts that variance twice.

    >>> one = torch.tensor([[0.0], [0.0], [1.0]])
    >>> distance, error = kernel_distance(one, one + 1)
    >>> round(distance, 4)  # means of 1 in the first, 62/3 in the second, 49/9 between
    10.7778
    """
    _require(3, "a kernel distance", features, real)
    n, m = len(features), len(real)
    within, within_real = _kernel_within(features), _kernel_within(real)
    between, between_real = _kernel_between(features, real)
    total, total_real, total_between = within.sum(), within_real.sum(), between.sum()
    distance = total / (n * (n - 1)) + total_real / (m * (m - 1)) - 2 * total_between / (n * m)
    # the same with image i left out, without the terms that do not depend on i
    without = (total - 2 * within) / ((n - 1) * (n - 2)) - 2 * (total_between - between) / ((n - 1) * m)
    without_real = (total_real - 2 * within_real) / ((m - 1) * (m - 2)) - 2 * (total_between - between_real) / (
        (m - 1) * n
    )
    variance = (n - 1) * without.var(correction=0) + (m - 1) * without_real.var(correction=0)
    return distance.item(), variance.sqrt().item()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x.double() @ y.double().T / x.shape[1] + 1) ** 3


def _kernel_within(x: Tensor) -> Tensor:
    """For each row, the sum of the kernel over all other rows: `[N]`."""
    sums = x.new_zeros(len(x), dtype=torch.double)
    for rows, columns in combinations_with_replacement(_blocks(x), 2):
        kernel = _kernel(x[rows], x[columns])
        if rows == columns:
            sums[rows] += kernel.fill_diagonal_(0).sum(dim=1)
        else:
            sums[rows] += kernel.sum(dim=1)
            sums[columns] += kernel.sum(dim=0)
    return sums


def _kernel_between(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """For each row of x and of y, the sum of the kernel over all rows of the other set: `[N]`, `[M]`."""
    sums, sums_y = (rows.new_zeros(len(rows), dtype=torch.double) for rows in (x, y))
    for rows, columns in product(_blocks(x), _blocks(y)):
        kernel = _kernel(x[rows], y[columns])
        sums[rows] += kernel.sum(dim=1)
        sums_y[columns] += kernel.sum(dim=0)
    return sums, sums_y


# ---- precision and recall


def precision_recall(features: Tensor, real: Tensor, neighbours: int = 3) -> tuple[float, float]:
    """Precision and recall, the overlap of the generated and the real set of features (Kynkäänniemi et al. 2019).

    Their algorithm 1: precision is the share of rows of `[N, D]` in the ball around any row of `[M, D]`; its radius
    is the distance to the third nearest neighbour in the same set. Recall is the same with the sets swapped. Two equal rows
    are neighbours at distance 0; no row is its own neighbour. A `ValueError` for a set of `neighbours` rows or fewer.

    >>> real = torch.tensor([[0.0], [1.0], [3.0]])
    >>> precision_recall(torch.tensor([[0.5], [5.0], [9.0]]), real, neighbours=1)  # the ball of 3 just includes 5
    (0.6666666666666666, 1.0)
    """
    _require(neighbours + 1, f"precision and recall of {neighbours} neighbours", features, real)
    radii, real_radii = (_squared_radii(rows, neighbours) for rows in (features, real))
    precise, recalled = (torch.zeros(len(rows), dtype=torch.bool) for rows in (features, real))
    for rows, columns in product(_blocks(features), _blocks(real)):
        distances = _squared_distances(features[rows], real[columns])
        precise[rows] |= (distances <= real_radii[columns]).any(dim=1)
        recalled[columns] |= (distances <= radii[rows, None]).any(dim=0)
    return precise.double().mean().item(), recalled.double().mean().item()


def _squared_radii(x: Tensor, neighbours: int) -> Tensor:
    """The squared distance of each row to its `neighbours`-th nearest neighbour: `[N]`."""
    nearest = x.new_full((len(x), neighbours), torch.inf, dtype=torch.double)

    def update(rows: slice, distances: Tensor) -> None:
        nearest[rows] = torch.cat([nearest[rows], distances], dim=1).topk(neighbours, largest=False).values

    for rows, columns in combinations_with_replacement(_blocks(x), 2):
        distances = _squared_distances(x[rows], x[columns])
        if rows == columns:
            update(rows, distances.fill_diagonal_(torch.inf))
        else:
            update(rows, distances)
            update(columns, distances.T)
    return nearest.amax(dim=1)


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """`[n, D]` and `[m, D]` -> `[n, m]`; 0 for equal rows."""
    x, y = x.double(), y.double()
    squares = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)
    distances = squares - 2 * x @ y.T
    # equal rows leave a rounding error of around 1e-15 of the squares, less than the resolution of float32 features
    return distances.masked_fill_(distances < 1e-12 * squares, 0)


# ---- sliced Wasserstein distance of patches


PATCH, PATCHES, DIRECTIONS, COARSEST = 7, 128, 512, 16  # pixels; per image and level; projections; pixels
BATCH_SIZE, DIRECTIONS_BATCH_SIZE = 8, 64


def sliced_wasserstein(images: Tensor, real: Tensor, seed: int = 0) -> float:
    """Sliced Wasserstein distance of 7x7 patches, level by level of the Laplacian pyramid (Karras et al. 2018, section 5).

    `[N, C, H, W]` and `[M, C, H, W]`, uint8 or float in [-1, 1]; the first min(N, M) of each are used. The mean over the
    levels, from full size down to 16 px, times 1000 as in the paper: 0 for equal sets. It needs no network. Each image and
    level gives 128 patches, at the same positions in both sets; they are normalised per channel and set, so a change of
    contrast or tint alone does not count. Takes 75 kB of memory for each colour image of a set. A `ValueError` for images
    below 7 px.

    >>> images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    >>> sliced_wasserstein(images, images)
    0.0
    """
    count, (channels, *sides) = min(len(images), len(real)), images.shape[1:]
    if min(sides) < PATCH:
        raise ValueError(
            f"a sliced Wasserstein distance takes pictures of {PATCH} px or more, here {sides[1]}x{sides[0]}"
        )
    generator = torch.Generator().manual_seed(seed)
    levels = [(sides[0], sides[1])]
    while min(levels[-1]) >= 2 * COARSEST:
        height, width = levels[-1]
        levels.append(((height + 1) // 2, (width + 1) // 2))
    distances = []
    for level, (height, width) in enumerate(levels):
        rows, columns = (
            torch.randint(side - PATCH + 1, (count, PATCHES), generator=generator) for side in (height, width)
        )
        generated_patches, real_patches = (
            _patches(batch[:count], level, len(levels), rows, columns) for batch in (images, real)
        )
        directions = F.normalize(torch.randn(DIRECTIONS, channels * PATCH**2, generator=generator))
        distances += [
            wasserstein(axes @ generated_patches.T, axes @ real_patches.T)
            for axes in torch.split(directions, DIRECTIONS_BATCH_SIZE)
        ]
    return 1e3 * torch.cat(distances).double().mean().item()


def wasserstein(x: Tensor, y: Tensor) -> Tensor:
    """The distance between two distributions on a line, given N samples of each, for A lines: `[A, N]` twice -> `[A]`.

    >>> wasserstein(torch.tensor([[0.0, 4.0]]), torch.tensor([[5.0, 2.0]])).tolist()
    [1.5]
    """
    # torch.sort takes 8 times as long
    x, y = (torch.from_numpy(np.sort(samples.numpy(), axis=1)) for samples in (x, y))
    return (x - y).abs().mean(dim=1)


def _patches(images: Tensor, level: int, levels: int, rows: Tensor, columns: Tensor) -> Tensor:
    """The patches at these positions, normalised: `[N * PATCHES, C * 7 * 7]`."""
    patches = torch.empty(len(images), PATCHES, images.shape[1], PATCH, PATCH)
    for block in _blocks(images, BATCH_SIZE):
        batch = images[block]
        values = batch if batch.dtype == torch.uint8 else EIGHT_BIT.quantized(batch)
        at_level = laplacian(values, level, levels)
        windows = at_level.unfold(2, PATCH, 1).unfold(3, PATCH, 1)  # [B, C, h, w, 7, 7], a view
        patches[block] = windows[torch.arange(len(batch))[:, None], :, rows[block], columns[block]]
    deviation, mean = torch.std_mean(patches, dim=(0, 1, 3, 4), keepdim=True, correction=0)
    deviation.clamp_(min=1e-3)  # images of a single colour have a deviation of 0, apart from rounding
    return patches.sub_(mean).div_(deviation).view(len(images) * PATCHES, -1)


def laplacian(images: Tensor, level: int, levels: int) -> Tensor:
    """A level of the Laplacian pyramid (Burt and Adelson 1983): the detail that a halving removes; the last level the rest.

    `[B, C, H, W]`, halved `level` times -> float `[B, C, h, w]`.

    >>> laplacian(torch.zeros(1, 3, 30, 17), 1, levels=3).shape
    torch.Size([1, 3, 15, 9])
    """
    images = images.float()
    for _ in range(level):
        images = _blurred(images, step=2)
    if level == levels - 1:
        return images
    upsampled = torch.zeros_like(images)
    upsampled[..., ::2, ::2] = 4 * _blurred(images, step=2)
    return images - _blurred(upsampled)


def _blurred(images: Tensor, step: int = 1) -> Tensor:
    """Filtered with the 5 x 5 binomial kernel, with reflection padding; every second pixel for a `step` of 2."""
    for side, padding in ((2, (0, 0, 2, 2)), (3, (2, 2, 0, 0))):  # torch's depthwise convolution is much slower
        a, b, c, d, e = F.pad(images, padding, mode="reflect").unfold(side, 5, step).unbind(-1)
        images = (a + e).add_(b, alpha=4).add_(d, alpha=4).add_(c, alpha=6).div_(16)
    return images


# ---- shared


def _blocks(rows: Tensor, size: int | None = None) -> Iterator[slice]:
    return (slice(first, first + (size or BLOCK)) for first in range(0, len(rows), size or BLOCK))


def _require(least: int, metric: str, features: Tensor, real: Tensor) -> None:
    if min(len(features), len(real)) < least:
        raise ValueError(
            f"{metric} takes {least} pictures or more of each set, here {len(features)} and {len(real)} real ones"
        )
