"""How far a set of pictures is from a set of real ones, mostly by what a network sees in them: features in, numbers out.

Features are float32 `[N, D]`, a row for each picture. They are taken a block of rows at a time and in float64, so that
10,000 pictures take hardly more memory than 1,000: there is no copy of all features, and nothing of `N x N`.
"""

from collections.abc import Iterator
from itertools import combinations_with_replacement, product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diptych.images.spec import EIGHT_BIT

BLOCK = 1024  # rows at a time

# ---- as if both were normal


def frechet_distance(features: Tensor, of_real: Tensor) -> float:
    """Distance of two sets of features, `[N, D]` and `[M, D]`, as if both were normal (Heusel et al. 2017, equation 6).

    Any counts of two or more will do, fewer than dimensions too. The fewer there are, the larger it is: compare it only
    between equal counts. A `ValueError` with fewer than two.

    >>> one = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    >>> round(frechet_distance(one, one + 3), 4)  # of equal spread: the squared distance of the means
    18.0
    """
    # torchmetrics takes eigenvalues of the product of the covariances. Those that should be 0 come out around 1e-16, their
    # roots around 1e-8, hundreds of them: with fewer pictures than dimensions that was 3 % of the distance of close sets.
    # With covariances R'R and S'S, the trace of the root of their product is the sum of the singular values of RS'.
    _require(2, "a Fréchet distance", features, of_real)
    mean, root = _normal(features)
    of_real_mean, of_real_root = _normal(of_real)
    spread = root.square().sum() + of_real_root.square().sum() - 2 * torch.linalg.svdvals(root @ of_real_root.T).sum()
    distance: float = ((mean - of_real_mean).square().sum() + spread).clamp(min=0).item()
    return distance


def _normal(features: Tensor) -> tuple[Tensor, Tensor]:
    """The mean, and an R with as many rows as needed whose R'R is the covariance, which is never formed itself."""
    count, dimensions = features.shape
    blocks = torch.split(features, max(BLOCK, dimensions))
    mean = torch.stack([some.double().sum(dim=0) for some in blocks]).sum(dim=0) / count
    root = mean.new_empty(0, dimensions)
    for some in blocks:
        root = torch.linalg.qr(torch.cat([root, some.double() - mean]), mode="r").R
    return mean, root / (count - 1) ** 0.5


def memorisation_informed(features: Tensor, of_real: Tensor) -> float:
    """The Fréchet distance, made worse where pictures are copies of real ones: MiFID (Bai et al. 2021).

    It is divided by how far a generated picture is from the closest real one, 1 - |cosine|, on average over the generated
    pictures, where that is less than 0.1. As Kaggle scored it: rows of nothing but zeros are left out, and 1e-15 is added to
    the divisor. (torchmetrics 1.9 averages over the real pictures instead: how well each of them is met.)

    >>> one = torch.tensor([[0.0, 1.0], [2.0, 1.0], [1.0, 0.0], [1.0, 3.0]])
    >>> memorisation_informed(one[:2], one) > 1e10 * frechet_distance(one[:2], one)  # copies
    True
    """
    distance = frechet_distance(features, of_real)
    closeness = _distance_to_the_closest(features, of_real)
    return distance / ((closeness if closeness < 0.1 else 1) + 1e-15)


def _distance_to_the_closest(features: Tensor, of_real: Tensor) -> float:
    """1 - |cosine|, the mean over the rows of `features` that are not zero; nan where all are."""
    closest = []
    for rows in _blocks(features):
        units = F.normalize(features[rows][features[rows].any(dim=1)].double())
        cosine = units.new_zeros(len(units))
        for others in _blocks(of_real):  # a row of zeros has a cosine of 0 here and is close to none
            cosine = torch.maximum(cosine, (units @ F.normalize(of_real[others].double()).T).abs().amax(dim=1))
        closest.append(1 - cosine)
    return torch.cat(closest).clamp(min=0).mean().item()


# ---- by a kernel


def kernel_distance(features: Tensor, of_real: Tensor) -> tuple[float, float]:
    """Squared maximum mean discrepancy under (x.y / D + 1)^3, and its standard error: KID (Bińkowski et al. 2018).

    `[N, D]` and `[M, D]`, three or more of each. It is unbiased, whatever the counts, and so may be below 0. It is taken
    over all pictures at once. Published code averages over random subsets: that has the same expectation, depends on a seed,
    and calls the spread of the subsets an error, which is 0 where a set is no larger than a subset.

    The standard error is the jackknife's that leaves out one picture of either set at a time (Arvesen 1969). For sets that
    differ it is that of the distance; for sets of the same distribution it is too large, by a factor of about 1.4, because
    there the distance varies only by its second order, whose variance the jackknife counts twice.

    >>> one = torch.tensor([[0.0], [0.0], [1.0]])
    >>> distance, error = kernel_distance(one, one + 1)
    >>> round(distance, 4)  # 1 within the first, 62/3 within the second, 49/9 between them
    10.7778
    """
    _require(3, "a kernel distance", features, of_real)
    n, m = len(features), len(of_real)
    among, among_real = _kernel_among(features), _kernel_among(of_real)
    between, between_real = _kernel_between(features, of_real)
    total, total_real, total_between = among.sum(), among_real.sum(), between.sum()
    distance = total / (n * (n - 1)) + total_real / (m * (m - 1)) - 2 * total_between / (n * m)
    # the same with picture i left out, but for what does not depend on i
    without = (total - 2 * among) / ((n - 1) * (n - 2)) - 2 * (total_between - between) / ((n - 1) * m)
    without_real = (total_real - 2 * among_real) / ((m - 1) * (m - 2)) - 2 * (total_between - between_real) / (
        (m - 1) * n
    )
    variance = (n - 1) * without.var(correction=0) + (m - 1) * without_real.var(correction=0)
    return distance.item(), variance.sqrt().item()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x.double() @ y.double().T / x.shape[1] + 1) ** 3


def _kernel_among(x: Tensor) -> Tensor:
    """For each row, the sum of the kernel over all other rows: `[N]`."""
    sums = x.new_zeros(len(x), dtype=torch.double)
    for rows, others in combinations_with_replacement(_blocks(x), 2):
        kernel = _kernel(x[rows], x[others])
        if rows == others:
            sums[rows] += kernel.fill_diagonal_(0).sum(dim=1)
        else:
            sums[rows] += kernel.sum(dim=1)
            sums[others] += kernel.sum(dim=0)
    return sums


def _kernel_between(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """For each row of either, the sum of the kernel over all rows of the other: `[N]`, `[M]`."""
    sums, sums_y = (some.new_zeros(len(some), dtype=torch.double) for some in (x, y))
    for rows, others in product(_blocks(x), _blocks(y)):
        kernel = _kernel(x[rows], y[others])
        sums[rows] += kernel.sum(dim=1)
        sums_y[others] += kernel.sum(dim=0)
    return sums, sums_y


# ---- by neighbours


def precision_recall(features: Tensor, of_real: Tensor, neighbours: int = 3) -> tuple[float, float]:
    """How much of what is generated looks real, and how much of what is real is generated (Kynkäänniemi et al. 2019).

    Their algorithm 1: a row of `[N, D]` looks real where it lies within the ball of some row of `[M, D]`, which reaches from
    that row to its third nearest neighbour in the same set; the same the other way round is the recall. Two equal rows are
    neighbours of each other, at a distance of 0; no row is its own neighbour. A `ValueError` where a set has no more rows
    than `neighbours`.

    >>> real = torch.tensor([[0.0], [1.0], [3.0]])
    >>> precision_recall(torch.tensor([[0.5], [5.0], [9.0]]), real, neighbours=1)  # 3 just reaches 5
    (0.6666666666666666, 1.0)
    """
    _require(neighbours + 1, f"precision and recall of {neighbours} neighbours", features, of_real)
    reach, reach_of_real = (_reach(some, neighbours) for some in (features, of_real))
    looks_real, is_generated = (torch.zeros(len(some), dtype=torch.bool) for some in (features, of_real))
    for rows, others in product(_blocks(features), _blocks(of_real)):
        distances = _squared_distances(features[rows], of_real[others])
        looks_real[rows] |= (distances <= reach_of_real[others]).any(dim=1)
        is_generated[others] |= (distances <= reach[rows, None]).any(dim=0)
    return looks_real.double().mean().item(), is_generated.double().mean().item()


def _reach(x: Tensor, neighbours: int) -> Tensor:
    """The squared distance of each row from its last neighbour: `[N]`."""
    nearest = x.new_full((len(x), neighbours), torch.inf, dtype=torch.double)

    def look(rows: slice, distances: Tensor) -> None:
        nearest[rows] = torch.cat([nearest[rows], distances], dim=1).topk(neighbours, largest=False).values

    for rows, others in combinations_with_replacement(_blocks(x), 2):
        distances = _squared_distances(x[rows], x[others])
        if rows == others:
            look(rows, distances.fill_diagonal_(torch.inf))
        else:
            look(rows, distances)
            look(others, distances.T)
    return nearest.amax(dim=1)


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """`[n, D]` and `[m, D]` -> `[n, m]`; 0 where two rows are equal."""
    x, y = x.double(), y.double()
    squares = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)
    distances = squares - 2 * x @ y.T
    # of equal rows a rounding is left, around 1e-15 of the squares, which is less than float32 features can differ by
    return distances.masked_fill_(distances < 1e-12 * squares, 0)


# ---- by patches


PATCH, PATCHES, DIRECTIONS, COARSEST = 7, 128, 512, 16  # pixels; patches of a picture and level; projections; pixels
PICTURES_AT_ONCE, DIRECTIONS_AT_ONCE = 8, 64


def sliced_wasserstein(pictures: Tensor, of_real: Tensor, seed: int = 0) -> float:
    """Sliced Wasserstein distance of 7x7 patches, level by level of the Laplacian pyramid (Karras et al. 2018, section 5).

    `[N, C, H, W]` and `[M, C, H, W]`, uint8 or float in [-1, 1], of which the first min(N, M) are taken. The mean over the
    levels, from full size down to 16 px, times 1000, as the paper prints it: 0 for equal sets. No network is needed. From
    each picture and level come 128 patches, from the same places in both sets; they are normalised for each channel and set,
    so that a change of contrast or tint alone is not seen. Takes 75 kB of memory for each colour picture of a set. A
    `ValueError` for pictures of less than 7 px.

    >>> pictures = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    >>> sliced_wasserstein(pictures, pictures)
    0.0
    """
    count, (channels, *sides) = min(len(pictures), len(of_real)), pictures.shape[1:]
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
        some, others = (_patches(given[:count], level, len(levels), rows, columns) for given in (pictures, of_real))
        directions = F.normalize(torch.randn(DIRECTIONS, channels * PATCH**2, generator=generator))
        distances += [
            wasserstein(axes @ some.T, axes @ others.T) for axes in torch.split(directions, DIRECTIONS_AT_ONCE)
        ]
    return 1e3 * torch.cat(distances).double().mean().item()


def wasserstein(some: Tensor, others: Tensor) -> Tensor:
    """The distance of two distributions on a line, of which `[A, N]` and `[A, N]` are samples, for each of A lines: `[A]`.

    >>> wasserstein(torch.tensor([[0.0, 4.0]]), torch.tensor([[5.0, 2.0]])).tolist()
    [1.5]
    """
    some, others = (
        torch.from_numpy(np.sort(given.numpy(), axis=1)) for given in (some, others)
    )  # torch's takes 8 times as long
    return (some - others).abs().mean(dim=1)


def _patches(pictures: Tensor, level: int, levels: int, rows: Tensor, columns: Tensor) -> Tensor:
    """The patches at these places, normalised: `[N * PATCHES, C * 7 * 7]`."""
    patches = torch.empty(len(pictures), PATCHES, pictures.shape[1], PATCH, PATCH)
    for chosen in _blocks(pictures, PICTURES_AT_ONCE):
        some = pictures[chosen]
        seen = some if some.dtype == torch.uint8 else EIGHT_BIT.quantized(some)
        at_level = laplacian(seen, level, levels)
        windows = at_level.unfold(2, PATCH, 1).unfold(3, PATCH, 1)  # [B, C, h, w, 7, 7], a view
        patches[chosen] = windows[torch.arange(len(some))[:, None], :, rows[chosen], columns[chosen]]
    deviation, mean = torch.std_mean(patches, dim=(0, 1, 3, 4), keepdim=True, correction=0)
    deviation.clamp_(min=1e-3)  # of a level: pictures of one colour have none, but for rounding
    return patches.sub_(mean).div_(deviation).view(len(pictures) * PATCHES, -1)


def laplacian(pictures: Tensor, level: int, levels: int) -> Tensor:
    """A level of the Laplacian pyramid (Burt and Adelson 1983): what a halving loses, or at the last level what is left.

    `[B, C, H, W]`, halved `level` times -> float `[B, C, h, w]`.

    >>> laplacian(torch.zeros(1, 3, 30, 17), 1, levels=3).shape
    torch.Size([1, 3, 15, 9])
    """
    here = pictures.float()
    for _ in range(level):
        here = _blurred(here, step=2)
    if level == levels - 1:
        return here
    spread = torch.zeros_like(here)
    spread[..., ::2, ::2] = 4 * _blurred(here, step=2)
    return here - _blurred(spread)


def _blurred(pictures: Tensor, step: int = 1) -> Tensor:
    """By the binomial kernel of 5 x 5 pixels, mirrored at the borders; every second pixel where `step` is 2."""
    for side, frame in (
        (2, (0, 0, 2, 2)),
        (3, (2, 2, 0, 0)),
    ):  # torch convolves single channels much more slowly
        a, b, c, d, e = F.pad(pictures, frame, mode="reflect").unfold(side, 5, step).unbind(-1)
        pictures = (a + e).add_(b, alpha=4).add_(d, alpha=4).add_(c, alpha=6).div_(16)
    return pictures


# ---- what they share


def _blocks(rows: Tensor, size: int | None = None) -> Iterator[slice]:
    return (slice(first, first + (size or BLOCK)) for first in range(0, len(rows), size or BLOCK))


def _require(least: int, metric: str, features: Tensor, of_real: Tensor) -> None:
    if min(len(features), len(of_real)) < least:
        raise ValueError(
            f"{metric} takes {least} pictures or more of each set, here {len(features)} and {len(of_real)} real ones"
        )
