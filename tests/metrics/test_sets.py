"""Distances of sets against scipy, torchmetrics, brute force and hand-computed cases."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm  # type: ignore[import-untyped]
from scipy.ndimage import convolve  # type: ignore[import-untyped]
from scipy.stats import wasserstein_distance  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchmetrics.image.kid import KernelInceptionDistance

from diptych import metrics
from diptych.metrics import sets

Array = np.ndarray[Any, np.dtype[np.float64]]


def features(count: int, dimensions: int, seed: int, mix: bool = True) -> Tensor:
    """Correlated ones, float32 as a network gives them."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(count, dimensions))
    return torch.from_numpy(values @ generator.normal(size=(dimensions, dimensions)) if mix else values).float()


@pytest.fixture(params=["one block", "many blocks"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "many blocks":
        monkeypatch.setattr(sets, "BLOCK", 16)


# ---- as if both were normal


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(("n", "m", "dimensions"), [(300, 200, 6), (500, 400, 64), (40, 30, 64), (30, 400, 64)])
def test_frechet_distance_is_that_of_two_normal_distributions(n: int, m: int, dimensions: int) -> None:
    """Against scipy's square root of a matrix, as Heusel et al. 2017 write it; with fewer pictures than dimensions too."""
    one, other = features(n, dimensions, 0) + 1, features(m, dimensions, 1)
    covariances = [np.cov(some.double().numpy(), rowvar=False) for some in (one, other)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    means = (one.double().mean(0) - other.double().mean(0)).square().sum().item()
    expected = means + np.trace(sum(covariances) - 2 * root)
    assert metrics.frechet_distance(one, other) == pytest.approx(expected, rel=1e-4)
    assert metrics.frechet_distance(other, one) == pytest.approx(expected, rel=1e-4)
    assert metrics.frechet_distance(one, one) == pytest.approx(0, abs=1e-4)


def test_frechet_distance_of_close_sets_of_few_pictures() -> None:
    """What is s times as large is |s - 1| standard deviations away in each direction; a product of singular matrices
    with noise for zeros is some per cent off here."""
    of_real = features(100, 512, 0)
    covariance = np.cov(of_real.double().numpy(), rowvar=False)
    scale = 1 + 2.0**-10
    expected = (scale - 1) ** 2 * (np.trace(covariance) + of_real.double().mean(0).square().sum().item())
    assert metrics.frechet_distance(scale * of_real, of_real) == pytest.approx(expected, rel=1e-3)  # float32 features


def test_mifid_averages_over_the_generated_pictures() -> None:
    """By hand: the first lies on a real one's axis (0), the second at a cosine of 0.92 (0.08): 0.04 on average. Over the
    real ones, of which the second is met by none, it would be 0.3, which counts as nothing remembered."""
    generated = torch.tensor([[2.0, 0.0], [0.92, (1 - 0.92**2) ** 0.5]])
    of_real = torch.tensor([[-3.0, 0.0], [0.0, 1.0]])
    expected = metrics.frechet_distance(generated, of_real) / 0.04
    assert metrics.memorisation_informed(generated, of_real) == pytest.approx(expected, rel=1e-5)
    plain = metrics.frechet_distance(of_real, generated)
    assert metrics.memorisation_informed(of_real, generated) == pytest.approx(plain, rel=1e-5)


@pytest.mark.usefixtures("blocks")
def test_mifid_by_brute_force() -> None:
    of_real = features(70, 8, 0)
    generated = of_real[:50] + 0.1 * features(50, 8, 1)
    cosine = [
        [float(abs(np.dot(a, b)) / np.linalg.norm(a) / np.linalg.norm(b)) for b in of_real.double().numpy()]
        for a in generated.double().numpy()
    ]
    closeness = float(np.mean([1 - max(row) for row in cosine]))
    assert 0.001 < closeness < 0.1
    expected = metrics.frechet_distance(generated, of_real) / closeness
    assert metrics.memorisation_informed(generated, of_real) == pytest.approx(expected, rel=1e-6)


def test_mifid_leaves_out_rows_of_zeros() -> None:
    generated = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.95, (1 - 0.95**2) ** 0.5]])
    of_real = torch.tensor([[1.0, 0.0], [0.0, 0.0], [3.0, 0.0]])
    expected = metrics.frechet_distance(generated, of_real) / 0.025
    assert metrics.memorisation_informed(generated, of_real) == pytest.approx(expected, rel=1e-5)
    nothing = torch.zeros(3, 2)  # a network that sees nothing remembers nothing
    plain = metrics.frechet_distance(nothing, of_real)
    assert metrics.memorisation_informed(nothing, of_real) == pytest.approx(plain, rel=1e-12)


# ---- by a kernel


def kernel(x: Array, y: Array) -> Array:
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)


def unbiased(x: Array, y: Array) -> float:
    """Gretton et al. 2012, equation 3."""
    n, m, among_x, among_y = len(x), len(y), kernel(x, x), kernel(y, y)
    of_x = sum(among_x[i, j] for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    of_y = sum(among_y[i, j] for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return float(of_x + of_y - 2 * kernel(x, y).mean())


@pytest.mark.usefixtures("blocks")
def test_kernel_distance_and_its_jackknife_by_brute_force() -> None:
    x, y = features(19, 4, 0, mix=False), features(34, 4, 1, mix=False) + 0.5
    a, b = x.double().numpy(), y.double().numpy()
    distance, error = metrics.kernel_distance(x, y)
    assert distance == pytest.approx(unbiased(a, b), rel=1e-9)
    without_x = np.array([unbiased(np.delete(a, i, 0), b) for i in range(len(a))])
    without_y = np.array([unbiased(a, np.delete(b, i, 0)) for i in range(len(b))])
    variance = sum((len(w) - 1) / len(w) * ((w - w.mean()) ** 2).sum() for w in (without_x, without_y))
    assert error == pytest.approx(variance**0.5, rel=1e-9)


def test_kernel_distance_is_that_of_torchmetrics_over_one_subset_of_all() -> None:
    class AsTheyAre(nn.Identity):
        num_features = 64

    with pytest.warns(UserWarning, match="will save all extracted features"):
        theirs = KernelInceptionDistance(feature=AsTheyAre(), subsets=1, subset_size=50)
    of_real, generated = features(50, 64, 0, mix=False), features(50, 64, 1, mix=False) * 1.5
    theirs.update(of_real, real=True)
    theirs.update(generated, real=False)
    mean, _ = theirs.compute()
    assert metrics.kernel_distance(generated, of_real)[0] == pytest.approx(mean.item(), rel=1e-4)  # in float32


def repeated(shift: float, n: int, m: int, repeats: int) -> Tensor:
    """Distance and standard error again and again: `[repeats, 2]`."""
    generator = torch.Generator().manual_seed(0)
    draws = [
        metrics.kernel_distance(
            torch.randn(n, 8, generator=generator).relu(), (torch.randn(m, 8, generator=generator) + shift).relu()
        )
        for _ in range(repeats)
    ]
    return torch.tensor(draws, dtype=torch.double)


def test_kernel_distance_is_unbiased_on_equal_distributions() -> None:
    distances = repeated(0, 10, 25, repeats=1000)[:, 0]
    assert abs(distances.mean()) < 3 * distances.std() / 1000**0.5
    assert (distances < 0).any()


def test_the_standard_error_is_the_spread_over_repeats() -> None:
    different = repeated(0.4, 50, 80, repeats=400)
    z = (different[:, 0] - different[:, 0].mean()) / different[:, 1]
    assert 0.9 < z.std() < 1.15
    equal = repeated(0, 50, 80, repeats=400)
    z = equal[:, 0] / equal[:, 1]  # twice the variance where there is no first order
    assert 0.6 < z.std() < 0.8


# ---- by neighbours


def brute_precision(x: Array, y: Array, neighbours: int) -> float:
    """How many of x lie within reach of some y; distances as differences."""
    found = 0
    for a in x:
        inside = False
        for j, b in enumerate(y):
            others = sorted(np.linalg.norm(b - c) for k, c in enumerate(y) if k != j)
            inside = inside or bool(np.linalg.norm(a - b) <= others[neighbours - 1])
        found += inside
    return found / len(x)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("neighbours", [1, 3])
def test_precision_and_recall_by_brute_force(neighbours: int) -> None:
    generated, of_real = features(41, 3, 0, mix=False) * 0.7 + 0.6, features(50, 3, 1, mix=False)
    of_real[7], generated[4], generated[5] = of_real[30], generated[20], of_real[2]
    a, b = generated.double().numpy(), of_real.double().numpy()
    precision, recall = metrics.precision_recall(generated, of_real, neighbours)
    assert precision == pytest.approx(brute_precision(a, b, neighbours))
    assert recall == pytest.approx(brute_precision(b, a, neighbours))
    assert 0.1 < recall < precision < 1


def test_precision_and_recall_by_hand() -> None:
    """On a line: the real ones at 0, 1 and 3 reach 1, 1 and 2 far; what is drawn at 4, 5 and 9 reaches 1, 1 and 4 far."""
    generated, of_real = torch.tensor([[4.0], [5.0], [9.0]]), torch.tensor([[0.0], [1.0], [3.0]])
    assert metrics.precision_recall(generated, of_real, neighbours=1) == (2 / 3, 1 / 3)
    assert metrics.precision_recall(generated, of_real, neighbours=2) == (2 / 3, 1.0)  # 3, 2, 3 and 5, 4, 5


def test_copies_lie_at_no_distance_whatever_the_rounding() -> None:
    """The real ones are so many copies of one row that they reach nowhere: only that row itself is among them."""
    row = 100 + torch.rand(1, 2048, generator=torch.Generator().manual_seed(0))
    of_real = row.repeat(5, 1)
    assert metrics.precision_recall(of_real, of_real) == (1, 1)
    beside = row + 1e-3
    assert metrics.precision_recall(torch.cat([row, beside, beside, beside, beside]), of_real) == (0.2, 1)


# ---- what those by features share


class Largest(TorchDispatchMode):
    """The bytes of the largest tensor that is made."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, Tensor):
                self.bytes = max(self.bytes, tensor.nbytes)
        return made


OF_FEATURES = pytest.mark.parametrize(
    "metric",
    [metrics.frechet_distance, metrics.memorisation_informed, metrics.kernel_distance, metrics.precision_recall],
    ids=lambda metric: metric.__name__,
)


@OF_FEATURES
def test_no_copy_of_all_features_is_made(
    metric: Callable[[Tensor, Tensor], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sets, "BLOCK", 16)
    generated, of_real = features(400, 64, 0), features(400, 64, 1)
    with Largest() as largest:
        metric(generated, of_real)
    assert 0 < largest.bytes < of_real.nbytes


@OF_FEATURES
def test_too_few_pictures_are_a_line(metric: Callable[[Tensor, Tensor], object]) -> None:
    with pytest.raises(ValueError, match=r"takes [234] pictures or more of each set, here 1 and 9 real ones"):
        metric(torch.zeros(1, 4), torch.zeros(9, 4))


# ---- by patches


def clouds(count: int, size: int, seed: int) -> Tensor:
    """Smooth colours with some noise, uint8."""
    generator = np.random.default_rng(seed)
    coarse = torch.from_numpy(generator.uniform(30, 220, (count, 3, 8, 8)))
    smooth = nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
    return (smooth + torch.from_numpy(generator.normal(0, 4, smooth.shape))).round().clamp(0, 255).byte()


def noisy(pictures: Tensor, deviation: float) -> Tensor:
    noise = deviation * torch.randn(pictures.shape, generator=torch.Generator().manual_seed(1))
    return (pictures.float() + noise).round().clamp(0, 255).byte()


def test_wasserstein_on_a_line_is_scipys() -> None:
    generator = torch.Generator().manual_seed(0)
    some, others = torch.randn(3, 50, generator=generator), 2 * torch.randn(3, 50, generator=generator) + 1
    want = [wasserstein_distance(a, b) for a, b in zip(some.numpy(), others.numpy(), strict=True)]
    assert sets.wasserstein(some, others).tolist() == pytest.approx(want, rel=1e-5)


def blurred(pictures: Array) -> Array:
    line = np.array([1, 4, 6, 4, 1]) / 16
    return np.asarray(convolve(pictures, np.outer(line, line)[None, None], mode="mirror"))


def pyramid(pictures: Array, levels: int) -> list[Array]:
    """By scipy's convolution, as the code of the paper has it."""
    found = [pictures]
    for _ in range(levels - 1):
        smaller = blurred(found[-1])[:, :, ::2, ::2]
        spread = np.zeros_like(found[-1])
        spread[:, :, ::2, ::2] = 4 * smaller
        found[-1:] = [found[-1] - blurred(spread), smaller]
    return found


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (1, 1, 33, 50)])
def test_laplacian_pyramid_is_that_of_scipys_convolution(shape: tuple[int, ...]) -> None:
    pictures = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for level, want in enumerate(pyramid(pictures.double().numpy(), 3)):
        assert sets.laplacian(pictures, level, 3).numpy() == pytest.approx(want, abs=1e-3)


def test_sliced_wasserstein_is_about_what_a_plain_program_with_its_own_draws_finds() -> None:
    generator = np.random.default_rng(0)
    pictures, of_real = noisy(clouds(24, 32, 0), 10), clouds(24, 32, 1)
    distances = []
    for level in range(2):
        descriptors = []
        for given in (pictures, of_real):
            at_level = pyramid(given.double().numpy(), 2)[level]
            cut = []
            for picture in at_level:
                for _ in range(128):
                    row, column = generator.integers(0, picture.shape[1] - 6, 2)
                    cut.append(picture[:, row : row + 7, column : column + 7])
            patches = np.stack(cut)
            patches = patches - patches.mean((0, 2, 3), keepdims=True)
            descriptors.append((patches / patches.std((0, 2, 3), keepdims=True)).reshape(len(cut), -1))
        for _ in range(200):
            direction = generator.normal(size=147)
            direction /= np.linalg.norm(direction)
            distances.append(wasserstein_distance(*(some @ direction for some in descriptors)))
    assert metrics.sliced_wasserstein(pictures, of_real) == pytest.approx(1e3 * np.mean(distances), rel=0.1)


def test_sliced_wasserstein_is_0_for_equal_sets_and_grows_with_noise_and_blur() -> None:
    pictures = clouds(16, 32, 0)
    assert metrics.sliced_wasserstein(pictures, pictures) == 0
    by_noise = [metrics.sliced_wasserstein(noisy(pictures, deviation), pictures) for deviation in (2, 6, 18)]
    assert 1 < by_noise[0] < by_noise[1] < by_noise[2]
    once = torch.from_numpy(blurred(pictures.double().numpy())).round().byte()
    twice = torch.from_numpy(blurred(blurred(pictures.double().numpy()))).round().byte()
    assert 1 < metrics.sliced_wasserstein(once, pictures) < metrics.sliced_wasserstein(twice, pictures)


def test_sliced_wasserstein_follows_its_seed_and_reads_bytes_and_floats_alike() -> None:
    pictures, of_real = clouds(9, 32, 0), clouds(12, 32, 1)
    distance = metrics.sliced_wasserstein(pictures, of_real)
    torch.manual_seed(1)
    assert metrics.sliced_wasserstein(pictures, of_real) == distance
    assert metrics.sliced_wasserstein(pictures, of_real[:9]) == distance  # of each the first nine
    unrounded = pictures + 0.8 * torch.rand(pictures.shape) - 0.4
    assert metrics.sliced_wasserstein(unrounded / 127.5 - 1, of_real) == distance
    other = metrics.sliced_wasserstein(pictures, of_real, seed=1)
    assert other != distance
    assert other == pytest.approx(distance, rel=0.2)


@pytest.mark.parametrize(
    ("size", "levels"), [((28, 28), [0]), ((31, 90), [0]), ((64, 64), [0, 1, 2]), ((65, 33), [0, 1])]
)
def test_levels_go_down_to_16_pixels(size: tuple[int, int], levels: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[tuple[int, int]]()

    def laplacian(pictures: Tensor, level: int, levels: int) -> Tensor:
        asked.append((level, levels))
        return real_laplacian(pictures, level, levels)

    real_laplacian = sets.laplacian
    monkeypatch.setattr(sets, "laplacian", laplacian)
    metrics.sliced_wasserstein(torch.zeros(1, 3, *size), torch.zeros(1, 3, *size))
    assert asked == [(level, len(levels)) for level in levels for _ in range(2)]


@pytest.mark.parametrize("place", [(0, 0), (0, 7), (7, 0), (7, 7)])
def test_patches_reach_every_corner_of_every_picture(place: tuple[int, int]) -> None:
    of_real = clouds(20, 8, 0)
    pictures = of_real.clone()
    pictures[19, :, *place] += 100
    assert metrics.sliced_wasserstein(pictures, of_real) > 0.1


def test_pictures_of_one_colour_can_be_told_and_contrast_alone_cannot() -> None:
    """A generator that has collapsed is still worth a number."""
    of_real = clouds(8, 32, 0)
    flat = torch.full_like(of_real, 77)
    assert metrics.sliced_wasserstein(flat, of_real) > 100
    assert metrics.sliced_wasserstein(flat, flat + 1) == 0
    even = of_real // 2 * 2
    assert metrics.sliced_wasserstein(even, even // 2) == pytest.approx(0, abs=1e-2)
    less_red = even.clone()
    less_red[:, 0] //= 2
    assert metrics.sliced_wasserstein(even, less_red) == pytest.approx(0, abs=1e-2)


def test_pictures_smaller_than_a_patch_are_a_line() -> None:
    with pytest.raises(ValueError, match=r"takes pictures of 7 px or more, here 6x9"):
        metrics.sliced_wasserstein(torch.zeros(2, 3, 9, 6), torch.zeros(2, 3, 9, 6))
