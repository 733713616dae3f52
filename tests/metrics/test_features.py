"""What reads pictures: any exported network, clean resizing, and features that are kept by content."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.export import Dim, export, save

from diptych.metrics import features, weights
from diptych.metrics.features import Features, clean, exported, extract
from diptych.metrics.networks.inception import Inception, trained

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (channels, height, width), dtype=torch.uint8, generator=generator)


class Means(nn.Module):
    """The mean and the mean square of each channel."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean(dim=(2, 3)), x.square().mean(dim=(2, 3))], dim=1)


def means(*pictures: Tensor) -> Tensor:
    x = [given.double() / 127.5 - 1 for given in pictures]
    return torch.stack([torch.cat([one.mean((1, 2)), one.square().mean((1, 2))]) for one in x]).float()


AnyShape = {"x": {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}}


def write(file: Path, *shape: int, network: nn.Module | None = None, dynamic: Any = None) -> Path:
    save(export((network or Means()).eval(), (torch.zeros(shape),), dynamic_shapes=dynamic), file)
    return file


# ---- resizing


@pytest.mark.parametrize(("size", "to"), [((40, 64), (29, 29)), ((20, 16), (29, 35)), ((301, 33), (17, 40))])
@pytest.mark.parametrize("channels", [1, 3])
def test_clean_is_pillows_bicubic_in_floats(size: tuple[int, int], to: tuple[int, int], channels: int) -> None:
    given = picture(*size, channels=channels)
    want = [
        np.asarray(Image.fromarray(plane.astype(np.float32)).resize(to[::-1], Image.Resampling.BICUBIC)).clip(0, 255)
        for plane in given.numpy()
    ]
    found = clean(given, *to)
    assert np.abs(found.numpy() - np.stack(want)).max() < 1e-2
    assert (found != found.round()).any()
    assert found.min() >= 0
    assert found.max() <= 255


# ---- exported networks


def test_a_network_for_pictures_of_any_size_reads_them_as_they_are(tmp_path: Path) -> None:
    read = exported(write(tmp_path / "means.pt2", 2, 3, 16, 16, dynamic=AnyShape), CPU)
    assert read.resizing == "as-is"
    given = torch.stack([picture(20, 30, seed=seed) for seed in range(5)])
    assert torch.allclose(read.read(given), means(*given), atol=1e-5)
    assert read.read(given).dtype == torch.float32
    assert torch.allclose(read.read(given[:1]), means(given[0]), atol=1e-5)


@pytest.mark.parametrize(("size", "resizing"), [((24, 24), "clean-24"), ((24, 40), "clean-24x40")])
@pytest.mark.parametrize("batch", [1, 4])
def test_to_fixed_sizes_pictures_are_resized_and_batches_filled_up(
    tmp_path: Path, size: tuple[int, int], resizing: str, batch: int
) -> None:
    read = exported(write(tmp_path / "means.pt2", batch, 3, *size), CPU)
    assert read.resizing == resizing
    given = torch.stack([picture(50, 31, seed=seed) for seed in range(6)])
    want = means(*(clean(one, *size) for one in given))
    assert torch.allclose(read.read(given), want, atol=1e-5)


@pytest.mark.parametrize("bounds", [{"max": 4}, {"min": 5, "max": 8}, {"min": 40}])
def test_a_batch_is_of_as_many_as_the_network_allows(tmp_path: Path, bounds: dict[str, int]) -> None:
    dynamic = {"x": {0: Dim("batch", **bounds)}}
    read = exported(write(tmp_path / "means.pt2", bounds.get("min", 2), 3, 16, 16, dynamic=dynamic), CPU)
    given = torch.stack([picture(16, 16, seed=seed) for seed in range(10)])
    assert torch.allclose(read.read(given), means(*given), atol=1e-5)


def test_grey_is_repeated_for_a_network_of_colour_and_colour_is_none_for_one_of_grey(tmp_path: Path) -> None:
    grey = picture(16, 16, channels=1)
    of_colour = exported(write(tmp_path / "colour.pt2", 1, 3, 16, 16), CPU)
    assert torch.allclose(of_colour.read(grey[None]), means(grey.expand(3, -1, -1)), atol=1e-5)
    file = write(tmp_path / "grey.pt2", 1, 1, 16, 16)
    assert torch.allclose(exported(file, CPU).read(grey[None]), means(grey), atol=1e-5)
    with pytest.raises(ValueError, match=rf"{file}: takes pictures of 1 channel, and here they have 3"):
        exported(file, CPU).read(picture(16, 16)[None])


def test_the_name_is_the_files_with_its_digest(tmp_path: Path) -> None:
    one = exported(write(tmp_path / "means.pt2", 1, 3, 16, 16), CPU).name
    other = exported(write(tmp_path / "means.pt2", 1, 3, 24, 16), CPU).name
    assert one != other
    for name in (one, other):
        stem, _, digest = name.rpartition("-")
        assert stem == "means"
        assert len(digest) == 8


class Pooled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3), keepdim=True).double()


def test_features_may_keep_the_axes_of_a_pool_and_are_float32(tmp_path: Path) -> None:
    found = exported(write(tmp_path / "pool.pt2", 1, 3, 16, 16, network=Pooled()), CPU).read(picture(16, 16)[None])
    assert torch.allclose(found, means(picture(16, 16))[:, :3], atol=1e-5)
    assert found.dtype == torch.float32


class Gives(nn.Module):
    def __init__(self, give: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.give = give

    def forward(self, x: Tensor) -> Any:
        return self.give(x)


@pytest.mark.parametrize(
    ("shape", "give", "found"),
    [
        ((2, 4, 8, 8), Means(), r"takes float32 \[2, 4, 8, 8\] and gives float32 \[2, 8\]"),
        ((2, 3, 64), lambda x: x.mean(2), r"takes float32 \[2, 3, 64\] and gives float32 \[2, 3\]"),
        ((2, 3, 8, 8), lambda x: x * 2, r"gives float32 \[2, 3, 8, 8\]"),
        ((2, 3, 8, 8), lambda x: x.mean(), r"gives float32 \[\]"),
        ((2, 3, 8, 8), lambda x: x.mean((0, 2, 3)), r"gives float32 \[3\]"),
        ((2, 3, 8, 8), lambda x: None, "gives None"),
        ((2, 3, 8, 8), lambda x: x.mean((2, 3)).T, r"gives float32 \[3, 2\]"),
        (
            (2, 3, 8, 8),
            lambda x: (x.mean((2, 3)), x + 1),
            r"gives a tuple of float32 \[2, 3\] and float32 \[2, 3, 8, 8\]",
        ),
        ((2, 3, 8, 8), lambda x: {"features": x.mean((2, 3))}, r"gives a dict of float32 \[2, 3\]"),
    ],
)
def test_another_kind_of_network_is_told_with_what_it_is(
    tmp_path: Path, shape: tuple[int, ...], give: Callable[[Tensor], Any], found: str
) -> None:
    file = write(tmp_path / "other.pt2", *shape, network=Gives(give))
    with pytest.raises(ValueError, match=f"{file}: .*{found}.*one float32 tensor") as problem:
        exported(file, CPU)
    assert "\n" not in str(problem.value)


def test_a_network_of_two_inputs_or_of_half_precision_is_told(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return (x + y).mean(dim=(2, 3))

    x = torch.zeros(1, 3, 8, 8)
    save(export(Two(), (x, x)), tmp_path / "two.pt2")
    with pytest.raises(ValueError, match=r"takes float32 \[1, 3, 8, 8\] and float32 \[1, 3, 8, 8\] and gives"):
        exported(tmp_path / "two.pt2", CPU)
    save(export(Means(), (x.half(),)), tmp_path / "half.pt2")
    with pytest.raises(ValueError, match=r"takes float16 \[1, 3, 8, 8\]"):
        exported(tmp_path / "half.pt2", CPU)


def test_pictures_that_a_symbolic_size_does_not_allow_are_told(tmp_path: Path) -> None:
    dynamic = {"x": {2: Dim("height", min=16, max=64), 3: Dim("width", min=16, max=64)}}
    file = write(tmp_path / "means.pt2", 1, 3, 32, 32, dynamic=dynamic)
    with pytest.raises(ValueError, match=rf"{file}: does not take 1 pictures of 65x20 \(.*64") as problem:
        exported(file, CPU).read(picture(20, 65)[None])
    assert "\n" not in str(problem.value)


class Weighted(nn.Module):
    """The mean of each channel, weighted."""

    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        means: Tensor = x.mean(dim=(2, 3)) * self.weights
        return means


class Bomb:
    """What runs code when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("place", ["weights/weight_0", "sample_inputs/model.pt", "aotinductor/model/a.so"])
def test_a_network_runs_no_code_of_whoever_wrote_it(tmp_path: Path, place: str) -> None:
    plain_file = write(tmp_path / "plain.pt2", 1, 3, 8, 8, network=Weighted())
    bomb = io.BytesIO()
    torch.save(Bomb(tmp_path / "went off"), bomb)
    file = tmp_path / "evil.pt2"
    with zipfile.ZipFile(plain_file) as source, zipfile.ZipFile(file, "w") as target:
        names = source.namelist()
        root = names[0].partition("/")[0]
        for name in names:
            data = source.read(name)
            if name.endswith("weights_config.json") and "weights/" in place:
                data = data.replace(b'"use_pickle": false', b'"use_pickle": true')
            target.writestr(name, bomb.getvalue() if name.endswith(place) else data)
        if not any(name.endswith(place) for name in names):
            target.writestr(f"{root}/data/{place}", b"")
    with pytest.raises(ValueError, match=r"evil\.pt2: holds more than tensors"):
        exported(file, torch.device("cpu"))
    assert not (tmp_path / "went off").exists()
    assert exported(plain_file, torch.device("cpu")).name.startswith("plain-")


@pytest.mark.parametrize("kind", ["missing", "text", "weights", "cut short", "of another torch"])
def test_a_file_that_is_no_export_is_one_line(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "network.pt2"
    if kind == "text":
        file.write_text("not a network")
    elif kind == "weights":
        torch.save(nn.Linear(2, 2).state_dict(), file)
    elif kind == "cut short":
        data = write(file, 1, 3, 8, 8).read_bytes()
        file.write_bytes(data[: len(data) // 2])
    elif kind == "of another torch":
        data = write(file, 1, 3, 8, 8).read_bytes()
        file.write_bytes(data.replace(b'"schema_version"', b'"another_format"'))
    with pytest.raises(ValueError, match=str(file)) as problem:
        exported(file, CPU)
    assert "\n" not in str(problem.value)
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelname not in ("DEBUG", "INFO")] == []


# ---- whole sets


class Network:
    """Sees the mean of each channel, and notes what it is shown."""

    def __init__(self) -> None:
        self.shown = list[tuple[int, ...]]()

    def __call__(self, pictures: Tensor) -> Tensor:
        self.shown.append(tuple(pictures.shape))
        return pictures.mean(dim=(2, 3))


def plain(network: Network, name: str = "means", resizing: str = "as-is", at_once: int = 4) -> Features:
    return Features(name, resizing, lambda given: given.float(), network, at_once)


def test_a_set_is_read_in_batches_of_pictures_of_one_size_and_in_order() -> None:
    network = Network()
    given = [picture(8, 8 + 4 * (seed % 3 == 0), seed=seed) for seed in range(10)]
    told = list[tuple[int, int]]()
    found = extract(plain(network), given, progress=lambda done, total: told.append((done, total)))
    assert torch.allclose(found, torch.stack([one.float().mean((1, 2)) for one in given]))
    assert told == [(4, 10), (8, 10), (10, 10)]
    assert sorted(network.shown) == [
        (1, 3, 8, 8),
        (1, 3, 8, 12),
        (1, 3, 8, 12),
        (2, 3, 8, 8),
        (2, 3, 8, 12),
        (3, 3, 8, 8),
    ]
    assert {shape[1:] for shape in network.shown} == {(3, 8, 8), (3, 8, 12)}


def test_without_keep_nothing_is_kept(cache_folder: Path) -> None:
    network = Network()
    for _ in range(2):
        extract(plain(network), [picture(8, 8)])
    assert len(network.shown) == 2
    assert not cache_folder.exists()


def test_a_set_that_was_read_is_not_read_again_in_any_order(cache_folder: Path) -> None:
    network, given = Network(), torch.stack([picture(8, 8, seed=seed) for seed in range(4)])
    first = extract(plain(network), given, keep=True)
    assert len(network.shown) == 1
    again = extract(plain(network), list(given.flip(0)), keep=True)
    assert len(network.shown) == 1
    assert torch.equal(again, first)
    [file] = cache_folder.iterdir()
    assert file.name.startswith("features-")


def test_other_pictures_another_network_or_other_resizing_are_read() -> None:
    network, given = Network(), [picture(8, 8, seed=seed) for seed in range(4)]
    extract(plain(network), given, keep=True)
    changed = given[0].clone()
    changed[0, 0, 0] ^= 1
    extract(plain(network), [changed, *given[1:]], keep=True)
    extract(plain(network), given[1:], keep=True)
    extract(plain(network, name="others"), given, keep=True)
    extract(plain(network, resizing="clean-8"), given, keep=True)
    assert len(network.shown) == 5


def test_of_a_lazy_set_no_more_than_a_batch_is_held() -> None:
    held, most = 0, 0

    class Lazy:
        def __len__(self) -> int:
            return 20

        def __iter__(self) -> Any:
            nonlocal held, most
            for seed in range(20):
                held += 1
                most = max(most, held)
                yield picture(8, 8, seed=seed)

    class Frees(Network):
        def __call__(self, pictures: Tensor) -> Tensor:
            nonlocal held
            held = 0
            return super().__call__(pictures)

    assert extract(plain(Frees()), Lazy()).shape == (20, 3)
    assert most == 4


# ---- the standard Inception


def test_inception_takes_levels_as_its_graph_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Inception()
    generator = torch.Generator().manual_seed(0)
    for p in network.parameters():
        if p.ndim == 4:
            nn.init.normal_(p, 0, (2 / p[0].numel()) ** 0.5, generator=generator)
    file = tmp_path / weights.INCEPTION.names[0]
    torch.save({**network.state_dict(), "fc.weight": torch.zeros(1008, 2048)}, file)
    asked = []

    def find(what: weights.Weights, folder: Path | None, fetch: bool) -> Path:
        asked.append((what, folder, fetch))
        return file

    monkeypatch.setattr(weights, "find", find)
    read = features.inception(tmp_path, True, CPU)
    assert asked == [(weights.INCEPTION, tmp_path, True)]
    assert (read.name, read.resizing) == ("inception-6726825d", "clean-299")
    grey = picture(310, 200, channels=1)
    with torch.inference_mode():
        want = trained(file)((clean(grey, 299, 299).expand(1, 3, -1, -1) - 128) / 128)
    assert torch.allclose(read.read(grey[None]), want, rtol=1e-4, atol=1e-4)


def test_without_its_weights_there_is_no_inception(tmp_path: Path) -> None:
    with pytest.raises(weights.MissingWeightsError, match="--fetch-weights"):
        features.inception(tmp_path, False, CPU)
