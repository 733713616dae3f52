"""What a training would lose of its files is said; a stated range is trained with, remembered, and undone."""

import io
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from rich.console import Console

import diptych
from diptych import cli, devices
from diptych.images.spec import ImageSpec
from diptych.prepare.inspect import inspect
from diptych.train import train
from diptych.training.run import Run
from diptych.training.settings import settings_from
from diptych.translate import translate

Train = Callable[..., Run]


def smooth(seed: int, dtype: str, low: float, high: float, channels: int = 1) -> Any:
    """A picture of 32 px whose numbers reach from `low` to `high`: `[32, 32]`, or `[32, 32, channels]`."""
    small = np.random.default_rng(seed).random((4, 4, channels)).astype(np.float32)
    large = torch.nn.functional.interpolate(torch.from_numpy(small).permute(2, 0, 1)[None], size=32, mode="bilinear")
    large = (large - large.min()) / (large.max() - large.min())
    values = large[0].permute(1, 2, 0).double().numpy() * (high - low) + low
    whole = values.round() if np.dtype(dtype).kind in "iu" else values
    return whole.astype(dtype)[..., 0] if channels == 1 else whole.astype(dtype)


def write_sides(folder: Path, a: tuple[Any, ...], b: tuple[Any, ...], suffix: str = ".tif") -> Path:
    """Four training and two val pairs; `a` and `b` are what `smooth` is given."""
    for split, count in (("train", 4), ("val", 2)):
        for side, about in (("A", a), ("B", b)):
            below = folder / f"{split}{side}"
            below.mkdir(parents=True)
            for number in range(count):
                values = smooth(number + 50 * (side == "B"), *about)
                if suffix == ".npy":
                    np.save(below / f"{number}.npy", values)
                elif values.ndim == 3:
                    extra = ["unspecified"] * (values.shape[-1] - 3)
                    tifffile.imwrite(below / f"{number}.tif", values, photometric="rgb", extrasamples=extra or None)
                elif suffix == ".tif":
                    tifffile.imwrite(below / f"{number}.tif", values)
                else:
                    Image.fromarray(values).save(below / f"{number}{suffix}")
    return folder


def said(data: Path, out: Path, **settings: Any) -> str:
    """What is said before a training that takes no step."""
    console = Console(file=StringIO(), width=1000)
    own: dict[str, Any] = {"method": {"width": 2, "patch": 16}, "device": "cpu", "steps": 2, "size": 32}
    train("pix2pix", data=data, out=out, dry_run=True, console=console, **own, **settings)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().split("\nsize = ")[0]


def notes(data: Path) -> str:
    return "\n".join(inspect(data).notes)


RGBN, CT = ("uint8", 0, 255, 4), ("uint16", 0, 3060)


def test_a_fourth_channel_is_never_dropped_without_a_word(tmp_path: Path) -> None:
    data = write_sides(tmp_path / "data", RGBN, ("uint8", 0, 255, 3))
    words = "files have 4 channels, of which --channels-a 3 reads the first three; --channels-a 4 reads all"
    assert f"A: 4 of 4 {words}" in said(data, tmp_path / "run")
    assert f"A: 6 of 6 {words}" in notes(data)
    words = said(data, tmp_path / "run", channels_a=4)
    assert "channels, of" not in words
    assert "A: previews show the first three of 4 channels as RGB" in words


@pytest.mark.parametrize("channels", [2, 5, 7])
def test_other_numbers_of_channels_are_refused_with_the_flag_or_used(tmp_path: Path, channels: int) -> None:
    data = write_sides(tmp_path / "data", ("uint8", 0, 255), ("uint8", 0, 255))
    for file in data.glob("*A/*.tif"):
        values = np.moveaxis(smooth(int(file.stem), "uint8", 0, 255, channels), -1, 0)
        tifffile.imwrite(file, values, photometric="minisblack", planarconfig="separate")
    with pytest.raises(ValueError, match=rf"{channels} channels.*--channels-a"):
        said(data, tmp_path / "run")
    assert f"have {channels} channels, which --channels-a 3 cannot read; --channels-a {channels} reads all" in notes(
        data
    )
    assert f"channels-a = {channels}" not in said(data, tmp_path / "run", channels_a=channels)


def test_transparent_pixels_are_said(tmp_path: Path) -> None:
    data = write_sides(tmp_path / "data", ("uint8", 0, 255, 3), ("uint8", 0, 255, 3))
    for file in data.glob("trainB/*.tif"):
        file.unlink()
        Image.new("RGBA", (32, 32), (1, 2, 3, 77 if file.stem == "1" else 255)).save(file.with_suffix(".png"))
    assert "B: 1 of 4 files has transparent pixels, which are laid on white; --channels-b 4" in said(
        data, tmp_path / "r"
    )


def test_levels_in_use_are_measured_said_and_offered(tmp_path: Path) -> None:
    data = write_sides(tmp_path / "data", CT, ("uint16", 12, 4095), ".png")
    for words in (said(data, tmp_path / "run"), notes(data)):
        assert (
            "A: 16-bit files that use 0 to 3,060 of 65,535 levels and are trained at 8: --range-a 0 3060 makes these black "
            "and white, --bits-a 16 keeps all of them" in words
        )
        assert "B: 16-bit files that use 12 to 4,095 of 65,535" in words
    words = said(data, tmp_path / "run", range=(0, 4095), bits_a=16, bits_b=16)
    assert "16-bit" not in words
    assert "A: files hold 0 to 3,060, and what lies beyond --range-a 0 2000 is cut to it" in said(
        data, tmp_path / "run", range_a=[0, 2000], range_b=[0, 5000]
    )


@pytest.mark.parametrize(
    ("level", "dtype", "words"),
    [(0, "uint8", "black"), (255, "uint8", "of one level (255)"), (7, "uint16", "of one level (7)")],
)
def test_files_of_one_level_are_said_and_get_no_range(tmp_path: Path, level: int, dtype: str, words: str) -> None:
    for number in range(2):
        for side in "AB":
            values = np.random.default_rng(number).integers(0, 255, (32, 32, 3)).astype(np.uint8)
            values = values if side == "A" else np.full((32, 32, 3), level, dtype)
            (tmp_path / "data" / side).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / f"data/{side}/{number}.png"), values)
    for told in (said(tmp_path / "data", tmp_path / "run"), notes(tmp_path / "data")):
        assert f"B: all 2 files are {words} everywhere" in told
        assert "--range" not in told


def test_16_bits_are_not_trained_in_the_8_of_bf16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "computes_bf16", lambda: True)
    monkeypatch.setattr(devices, "measured", lambda: SimpleNamespace(bf16_ratio=2.0))
    data = write_sides(tmp_path / "data", ("uint16", 0, 65535), ("uint8", 0, 255, 3))
    assert "--precision auto: bf16" in said(data, tmp_path / "run")
    assert "--precision auto: fp32, because bf16 has 8 bits" in said(data, tmp_path / "run", bits_a=16)


def test_full_16_bits_at_8_are_said_once_for_both_sides(tmp_path: Path) -> None:
    data = write_sides(tmp_path / "data", ("uint16", 0, 65535), ("uint16", 9, 65000), ".png")
    line = "A and B: 16-bit files, trained at 8: --bits-a 16 --bits-b 16 keeps all of them"
    assert said(data, tmp_path / "run").count(line) == 1
    assert "16-bit" not in said(data, tmp_path / "run", bits_a=16, bits_b=16)


def test_halves_that_are_taken_apart_are_told_apart(tmp_path: Path) -> None:
    for number in range(3):
        halves = np.hstack([smooth(number, "uint16", 0, 65535), smooth(number, "uint16", 0, 900)])
        Image.fromarray(halves).save(tmp_path / f"{number}.png")
    console = Console(file=StringIO(), width=1000)
    own: dict[str, Any] = {"generator": "resnet6", "width": 2, "patch": 16}
    train("cyclegan", data=tmp_path, out=tmp_path / "run", dry_run=True, console=console, steps=1, size=32, method=own)
    assert isinstance(console.file, StringIO)
    words = console.file.getvalue()
    assert "B: 16-bit files that use 0 to 900 of 65,535 levels" in words
    assert "A: 16-bit files, trained at 8: --bits-a 16" in words


def test_pictures_without_anything_to_lose_get_no_line(tmp_path: Path) -> None:
    data = write_sides(tmp_path / "data", ("uint8", 0, 255, 3), ("uint8", 3, 250), ".tif")
    assert len(said(data, tmp_path / "run").splitlines()) == 2  # what was found, and the precision


def test_a_second_look_from_the_cache_says_the_same(tmp_path: Path) -> None:
    data = write_sides(tmp_path / "data", CT, RGBN)
    first, second = (said(data, tmp_path / "run").splitlines() for _ in range(2))
    assert [line for line in second if "looked at before" not in line] == first


CASES = [
    (("int16", -1000, 3000), ("int16", -1000, 3000), ".tif", "int16"),
    (("uint16", 0, 4000), ("uint16", 0, 3060), ".png", "uint16"),
    (("uint8", 0, 255, 3), ("float32", 0, 80), ".tif", "float32"),
    (("uint8", 0, 255, 3), ("uint16", 0, 4095), ".tif", "uint16"),
    (("float64", 0, 1.5), ("uint32", 0, 100000), ".npy", "float64"),
]


@pytest.mark.parametrize(("a", "b", "suffix", "written"), CASES)
def test_a_range_is_trained_with_remembered_and_undone(
    train_tiny: Train, tmp_path: Path, a: Any, b: Any, suffix: str, written: str
) -> None:
    data = write_sides(tmp_path / "data", a, b, suffix)
    settings: dict[str, Any] = {"data": data, "direction": "AtoB", "channels_b": 1, "range_b": b[1:3], "bits_b": 16}
    if len(a) == 3:
        settings |= {"channels_a": 1, "range_a": a[1:3], "bits_a": 16}
    run = train_tiny(tmp_path / "run", **settings).path
    assert Run.open(run).settings.range_b == tuple(map(float, b[1:3]))
    assert diptych.train("pix2pix", out=run, data_a=None, **read_back(settings, run)).settings.range_b  # goes on
    translate(run, data / "valA", out=tmp_path / "out")
    file = tmp_path / f"out/0{suffix}"
    values = np.load(file) if suffix == ".npy" else tifffile.imread(file) if suffix == ".tif" else opened(file)
    assert (str(values.dtype), values.shape) == (written, (32, 32))
    low, high = b[1:3]
    assert low <= values.min() < values.max() <= high
    assert abs(float(values.mean()) - (low + high) / 2) < 0.4 * (high - low)  # tiny networks give greys
    if len(a) == 3:  # an array gives an array of the same type
        own = smooth(0, *a)
        of_array = diptych.load(run, device="cpu")(own)
        assert of_array.dtype == written
        np.testing.assert_array_equal(of_array, values)


def opened(file: Path) -> Any:
    with Image.open(file) as image:
        return np.asarray(image)


def read_back(settings: dict[str, Any], run: Path) -> dict[str, Any]:
    """The settings of the same command again."""
    own = Run.open(run).settings.model_dump(exclude={"epochs", "method"})
    method = Run.open(run).settings.method.model_dump()
    return {**own, "method": method, "data": settings["data"]}


def test_numbers_do_not_go_into_a_format_of_8_bits(train_tiny: Train, tmp_path: Path) -> None:
    data = write_sides(tmp_path / "data", ("uint8", 0, 255, 3), CT)
    run = train_tiny(tmp_path / "run", data=data, direction="AtoB", channels_b=1, range_b=(0, 3060), steps=2).path
    Image.new("RGB", (32, 32)).save(tmp_path / "x.jpg")
    [problem] = translate(run, tmp_path / "x.jpg", out=tmp_path / "y.jpg")
    assert "y.jpg" in problem
    assert ".tif" in problem
    assert translate(run, tmp_path / "x.jpg", out=tmp_path / "y.tif") == []


def test_what_lies_outside_a_hole_stays_also_beyond_the_range(train_tiny: Train, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(4):
        tifffile.imwrite(tmp_path / f"data/{number}.tif", smooth(number, "int16", -2000, 4000))
    own: dict[str, Any] = {"channels_a": 1, "channels_b": 1, "range": (-1000, 3000)}
    run = train_tiny(tmp_path / "run", "glcic", data=tmp_path / "data", **own).path
    mask = np.zeros((32, 32), bool)
    mask[10:15, 10:15] = True
    given = tifffile.imread(tmp_path / "data/0.tif")
    filled = diptych.load(run, device="cpu")(given, mask=mask)
    assert filled.dtype == np.int16
    np.testing.assert_array_equal(filled[~mask], given[~mask])
    assert (filled[mask] != given[mask]).any()
    assert filled[mask].max() <= 3000


DEPTHS = ("float32", 0, 80)


@pytest.fixture(scope="module")
def depth_run(train_tiny: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Floating point into numbers from -1000 to 3000."""
    folder = tmp_path_factory.mktemp("depths")
    data = write_sides(folder / "data", DEPTHS, ("float32", -1000, 3000))
    own: dict[str, Any] = {"channels_a": 1, "channels_b": 1, "range_a": (0, 80), "range_b": (-1000, 3000), "steps": 2}
    return train_tiny(folder / "run", data=data, direction="AtoB", **own).path


def with_gaps(seed: int, *gaps: float) -> Any:
    values = smooth(seed, *DEPTHS)
    values[0, : len(gaps)] = gaps
    return values


NOT_FINITE = "some of its numbers are NaN or infinite; NaN is read as the LOW of the range"


def test_numbers_that_are_none_are_said_with_their_files_before_training(tmp_path: Path) -> None:
    data = write_sides(tmp_path / "data", DEPTHS, DEPTHS)
    own: dict[str, Any] = {"range": (0, 80), "channels_a": 1, "channels_b": 1}
    assert "NaN" not in said(data, tmp_path / "run", **own)
    for number, gap in (("1", np.nan), ("2", np.inf)):
        tifffile.imwrite(data / f"trainA/{number}.tif", with_gaps(int(number), gap))
    assert f"used as they are: {NOT_FINITE}: 1, 2" in said(data, tmp_path / "run", **own)
    assert any(NOT_FINITE in remark for remark in inspect(data).remarks)


def test_translation_says_once_how_far_numbers_go_beyond_the_range(depth_run: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number, gaps in enumerate([(), (-7, np.nan), (1250,), (np.inf,)]):
        tifffile.imwrite(tmp_path / f"in/{number}.tif", with_gaps(number, *gaps))
    console = Console(file=StringIO(), width=1000)
    assert translate(depth_run, tmp_path / "in", out=tmp_path / "out", console=console, device="cpu") == []
    assert isinstance(console.file, StringIO)
    cut = "what lies beyond 0 to 80, the range that the model was trained with, is cut to it (numbers from -7 to 1250)"
    assert sorted(console.file.getvalue().splitlines()[1:]) == [
        f"{tmp_path}/in/1.tif (and 1 more): {NOT_FINITE}",
        f"{tmp_path}/in/1.tif (and 1 more): {cut}",
    ]


def test_python_says_the_same_of_arrays(depth_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = diptych.load(depth_run, device="cpu")
    model(with_gaps(0))
    assert capsys.readouterr().err == ""
    model([with_gaps(0), with_gaps(1, 90, np.nan), Image.fromarray(with_gaps(2, -3))])
    cut = "what lies beyond 0 to 80, the range that the model was trained with, is cut to it (numbers from -3 to 90)"
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"picture 1: {NOT_FINITE}", f"picture 1 (and 1 more): {cut}"]


def test_bytes_of_numbers_are_read_by_the_range_and_given_back_as_numbers(depth_run: Path) -> None:
    model, values = diptych.load(depth_run, device="cpu"), smooth(3, *DEPTHS)
    tifffile.imwrite(tiff := io.BytesIO(), values)
    np.save(array := io.BytesIO(), values)
    for given in (tiff.getvalue(), array.getvalue(), io.BytesIO(tiff.getvalue())):
        result: Any = model(given)
        data = result if isinstance(result, bytes) else result.read()
        np.testing.assert_array_equal(tifffile.imread(io.BytesIO(data)), model(values))


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int64, torch.float64])
def test_tensors_hold_the_numbers_that_come_out(depth_run: Path, kind: torch.dtype) -> None:
    """A tensor of bytes wrapped them around."""
    model, values = diptych.load(depth_run, device="cpu"), smooth(3, "uint8", 0, 80)
    out = model(torch.from_numpy(values).to(kind))
    np.testing.assert_array_equal(out.numpy(), model(values.astype(torch.empty(0, dtype=kind).numpy().dtype)))
    assert -1000 <= out.min() < out.max() <= 3000


def test_the_flags_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(sys.modules["diptych.train"], "train", lambda *_, **values: given.update(values))
    arguments = "train pix2pix --data x --out y --range -1000 3000 --range-b 0 1.5"
    cli.training.add_commands()
    cli.app(arguments.split(), exit_on_error=False, result_action="return_value")
    assert (given["range"], given["range_b"]) == ([-1000, 3000], [0, 1.5])
    settings = settings_from("pix2pix", {name: given[name] for name in ("range", "range_b")})
    assert settings.specs == (ImageSpec(range=(-1000, 3000)), ImageSpec(range=(0, 1.5)))


@pytest.mark.parametrize("wrong", [(3,), (3, 3), (4, 3), ("a", "b"), "0 3", (0, float("nan")), (0, 1e40), (True, 3)])
def test_what_is_no_range_is_refused_by_its_flag(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"--range-a: .*LOW and a higher HIGH"):
        settings_from("pix2pix", {"range_a": wrong})
