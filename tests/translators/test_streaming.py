"""In strips of rows a network gives what it gives as a whole, and holds no more of a taller picture."""

import errno
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from diptych.images.size import Size
from diptych.images.spec import ImageSpec
from diptych.methods import METHODS, build
from diptych.methods.settings import Shape
from diptych.networks.layers import initialise
from diptych.networks.resnet import ResNet
from diptych.networks.unet import UNet
from diptych.translators import scratch
from diptych.translators.image import ColorTranslator, ImageTranslator
from diptych.translators.maps import NotInStripsError, trace
from diptych.translators.scratch import Store
from diptych.translators.streaming import Moments, Plan, Windows
from diptych.translators.strips import InStrips, Room, Watch

CPU = torch.device("cpu")
NORMS = ("instance", "affine-instance", "batch", "none")
FOLDER = Path(tempfile.gettempdir())


def network(kind: str, norm: str, upsampling: str, channels: int = 2) -> nn.Module:
    """A generator with weights and shifts large enough that its layers matter."""
    torch.manual_seed(0)
    given: dict[str, Any] = {"norm": norm, "upsampling": upsampling, "width": 2}
    made = (
        ResNet(3, channels, blocks=2, dropout=True, **given)
        if kind == "resnet"
        else UNet(3, channels, size=16, **given)
    )
    initialise(made)
    for parameter in made.parameters():
        parameter.data.mul_(8).add_(torch.randn_like(parameter) * 0.05)
    return made.eval()


def picture(height: int, width: int, channels: int = 3) -> Tensor:
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(height * width)) * 2 - 1


@torch.inference_mode()
def in_strips(made: nn.Module, x: Tensor, strip: int, budget: int) -> Tensor:
    plan, found = Plan(made, *x.shape[1:]), list[Tensor]()
    with Store(budget, FOLDER) as store:
        plan.run(lambda start, stop: x[:, :, start:stop], lambda start, rows: found.append(rows.clone()), store, strip)
        assert (store.in_memory, store.in_file) == (0, 0)
    return torch.cat(found, dim=2)


@settings(max_examples=30)
@given(
    st.sampled_from(["resnet", "unet"]),
    st.sampled_from(NORMS),
    st.sampled_from(["transposed", "resize"]),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.sampled_from([1, 3_000, 7_777, 10**9]),
    st.sampled_from([0, 5_000, 10**9]),
)
@example("resnet", "instance", "transposed", (1, 4), 1, 0)
@example("unet", "batch", "resize", (4, 1), 1, 5_000)
def test_strips_are_equal_to_the_whole(
    kind: str, norm: str, upsampling: str, sides: tuple[int, int], strip: int, budget: int
) -> None:
    """Whatever the network, the picture, the strips, and where rows are kept meanwhile."""
    made, x = network(kind, norm, upsampling), picture(16 * sides[0], 16 * sides[1])
    with torch.inference_mode():
        whole = made(x)
    assert whole.std() > 0.01
    assert (in_strips(made, x, strip, budget) - whole).abs().max() < 1e-4


def test_less_is_kept_where_there_is_less_room_and_the_result_is_the_same() -> None:
    made, x, found = network("resnet", "instance", "transposed"), picture(48, 32), list[Tensor]()
    plan = Plan(made, 3, 48, 32)
    everything = plan.peak
    plan.fit(everything // 2)
    assert plan.peak < everything
    with torch.inference_mode(), Store(0, FOLDER) as store:
        plan.run(lambda start, stop: x[:, :, start:stop], lambda start, rows: found.append(rows), store, 2_000)
        assert (torch.cat(found, dim=2) - made(x)).abs().max() < 1e-4


@pytest.mark.parametrize("contrast", [1, 0.01])
def test_a_half_flat_picture_and_one_of_little_contrast(contrast: float) -> None:
    made, x = network("resnet", "instance", "transposed"), picture(64, 48) * contrast
    x[..., :24, :] = 0.9 * contrast
    with torch.inference_mode():
        assert (in_strips(made, x, 5_000, 0) - made(x)).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["resnet", "unet"])
def test_a_taller_picture_takes_no_more_rows_in_memory(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that every window holds, the output's and each norm's input included."""
    made, forget = network(kind, "instance", "transposed"), Windows.pass_by
    most = dict[int, int]()

    def pass_by(rows: Windows, row: int) -> None:
        most[height] = max(most.get(height, 0), rows.held)
        forget(rows, row)

    monkeypatch.setattr(Windows, "pass_by", pass_by)
    for height in (256, 1024):
        in_strips(made, picture(height, 16), 600, 0)
    assert most[1024] <= most[256] + 4


class Foreign(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.first, self.odd = nn.Conv2d(3, 3, 3, padding=1), layer

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.odd(self.first(x))
        return y


class Choosing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (Foreign(nn.Softmax2d()), r"a Foreign .*: odd \(Softmax2d\)"),
        (Foreign(nn.Dropout()).train(), r"odd \(Dropout\)"),
        (Foreign(nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular")), r"odd \(Conv2d\)"),
        (Foreign(nn.AvgPool2d(2)), r"odd \(AvgPool2d\)"),
        (Choosing(), "depend on the picture"),
    ],
)
def test_what_cannot_go_in_strips_is_refused_by_name(made: nn.Module, words: str) -> None:
    with pytest.raises(NotInStripsError, match=words):
        Plan(made, 3, 16, 16)


class Inplace(nn.Module):
    """Others' networks change what another layer still reads, and are built of other layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 3, (3, 5), padding=(2, 4), dilation=2), nn.ReLU(inplace=True)
        self.norm = nn.BatchNorm2d(3)
        self.up = nn.ConvTranspose2d(3, 3, 2, stride=2)
        self.down = nn.Conv2d(3, 3, 2, stride=2, groups=3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        z: Tensor = self.relu(y.clone() if not isinstance(y, torch.fx.Proxy) else y)
        made: Tensor = self.down(self.up(self.norm(z))) * 0.5 - y
        return made


class Slow(nn.Module):
    """Is traced until `end` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.end = Event(), Event()

    def forward(self, x: Tensor) -> Tensor:
        self.began.set()
        self.end.wait()
        return x.tanh()


def test_a_network_is_traced_while_other_threads_trace_and_compute() -> None:
    """Pictures are read, and their networks looked at, while others are translated."""
    usual, slow, other = nn.Module.__call__, Slow(), Slow()
    made, x = network("unet", "batch", "resize"), picture(16, 16)
    with torch.inference_mode(), ThreadPoolExecutor(2) as threads:
        whole = made(x)
        first = threads.submit(trace, slow, 3, 16, 16)
        slow.began.wait()
        second = threads.submit(trace, other, 3, 16, 16)
        other.began.wait(0.2)
        try:
            assert torch.equal(made(x), whole)
            slow.end.set()
            assert first.result().channels == 3
        finally:
            slow.end.set()
            other.end.set()
        assert second.result().channels == 3
    assert nn.Module.__call__ is usual


def test_other_layers_than_ours() -> None:
    made, x = Inplace().eval(), picture(24, 20)
    with torch.inference_mode():
        assert (in_strips(made, x, 700, 0) - made(x)).abs().max() < 1e-5


@pytest.mark.parametrize("name", METHODS)
def test_every_deployed_generator_of_pictures_goes_in_strips(
    name: str, tiny_settings: Callable[[str], dict[str, Any]]
) -> None:
    given = METHODS[name].Settings(**tiny_settings(name)).resolved(1000, Size.square(64))
    method = build(name, given, Shape(size=Size.square(64), classes=("sun",)), CPU)
    for translator in method.eval().translators("AtoB").values():
        if isinstance(translator, ImageTranslator):
            InStrips(translator, 50, 41, Room(2**40, FOLDER), held=0)
        else:
            assert name in ("glcic", "cgan")


# ---- a picture that needs padding, through a translator


@settings(max_examples=20)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from(["unet", "resnet", "colour"]))
@example(1, 1, "resnet")
def test_every_size_is_padded_and_cut_as_the_whole(height: int, width: int, kind: str) -> None:
    x, written = picture(height, width), list[tuple[slice, Tensor]]()
    translator = (
        ColorTranslator(UNet(1, 2, size=16, width=2), 64)
        if kind == "colour"
        else ImageTranslator(network(kind, "batch", "transposed"), ImageSpec(3), ImageSpec(2))  # type: ignore[arg-type]
    ).eval()
    way = InStrips(translator, height, width, Room(2**40, FOLDER), held=0)
    way.strip = 3_000
    with torch.inference_mode():
        way.run(lambda rows: x.index_select(-2, rows), lambda rows, y: written.append((rows, y)), CPU, Watch())
        whole = translator(x)
    assert [rows.start for rows, _ in written] == [0, *(rows.stop for rows, _ in written[:-1])]
    assert (torch.cat([y for _, y in written], dim=2) - whole).abs().max() < 2e-4  # Lab makes rounding a little larger


def test_too_little_memory_is_said_before_the_first_row() -> None:
    translator = ImageTranslator(ResNet(3, 3, blocks=1, width=8).eval(), ImageSpec(3), ImageSpec(3))
    with pytest.raises(ValueError, match=r"5000x4000 pixels need about .* even in strips, and 10 MiB is .* --memory"):
        InStrips(translator, 4000, 5000, Room(10 * 2**20, FOLDER), held=0)


def test_too_little_disk_is_said_before_the_first_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Store, "room", staticmethod(lambda folder: 100))
    translator = ImageTranslator(network("resnet", "instance", "transposed"), ImageSpec(3), ImageSpec(2))  # type: ignore[arg-type]
    way = InStrips(translator, 64, 64, Room(2**40, tmp_path), held=0)
    way.budget = 0
    with pytest.raises(ValueError, match=r"are needed for a while, and 0.0 GB are free; .* --scratch DIR"):
        way.run(lambda rows: pytest.fail("read"), lambda rows, y: None, CPU, Watch())


# ---- what is kept


@given(
    st.lists(st.integers(1, 2 * scratch.BLOCK // 4), min_size=1, max_size=6),
    st.integers(0, 3 * scratch.BLOCK),
    st.data(),
)
@settings(max_examples=15)
def test_a_store_gives_back_what_it_was_given(sizes: list[int], budget: int, data: Any) -> None:
    with Store(budget, FOLDER) as store:
        kept = {}
        for number, size in enumerate(sizes):
            kept[number] = store.put(torch.full((1, 1, 1, size), float(number)))
            if len(kept) > 1 and data.draw(st.booleans()):
                store.drop(kept.pop(min(kept)))
        for number, chunk in kept.items():
            assert torch.equal(store.get(chunk), torch.full((1, 1, 1, sizes[number]), float(number)))
            store.drop(chunk)
        assert (store.in_memory, store.in_file) == (0, 0)


class Stop(Exception):  # noqa: N818
    """Whatever may end the work."""


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("damaged"), Stop()])
def test_nothing_is_left_whatever_ends_the_work(error: BaseException, tmp_path: Path) -> None:
    def fail(start: int, rows: Tensor) -> None:
        assert not [*tmp_path.iterdir()], "the file has no name even now"
        raise error

    x = picture(32, 32)
    plan = Plan(network("resnet", "instance", "transposed"), 3, 32, 32)
    with pytest.raises(type(error)), torch.inference_mode(), Store(0, tmp_path) as store:
        plan.run(lambda start, stop: x[:, :, start:stop], fail, store, 1_000)
    assert store._file is not None
    assert store._file.closed
    assert not [*tmp_path.iterdir()]


def test_a_disk_that_fills_up_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def write(store: Store, place: int, part: memoryview) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Store, "_write", write)
    with Store(0, tmp_path) as store, pytest.raises(ValueError, match=r"the disk is full; .* --scratch DIR"):
        store.put(torch.zeros(1, 1, 1, 9))


# ---- moments


@pytest.mark.parametrize("mean", [0, 3, 1000])
@pytest.mark.parametrize("strip", [1, 7, 40])
def test_moments_are_those_of_float64(mean: float, strip: int) -> None:
    rows = np.random.default_rng(0).normal(mean, 1.5, (5, 40, 300)).astype(np.float32)
    rows[:, 10:20] = mean  # flat ones
    moments = Moments()
    for start in range(0, 40, strip):
        moments.add(torch.from_numpy(rows[None, :, start : start + strip]))
    exact = rows.astype(np.float64).reshape(5, -1)
    assert np.abs(moments.mean.numpy() - exact.mean(1)).max() < 1e-5 * max(1.0, mean / 10)
    assert np.abs(moments.variance.numpy() / exact.var(1) - 1).max() < 2e-6


def test_moments_of_one_number() -> None:
    moments = Moments()
    moments.add(torch.full((1, 2, 1, 1), 7.0))
    assert moments.mean.tolist() == [7, 7]
    assert moments.variance.tolist() == [0, 0]
