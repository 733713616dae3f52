"""A picture that is too large for the memory it may take goes in strips by itself, and its file is the same."""

import errno
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import diptych
import diptych.model
from diptych import cli
from diptych.images import files, giant, spec
from diptych.images.files import Array, Pixels
from diptych.images.size import Size
from diptych.methods import build
from diptych.methods.cyclegan import CycleGANSettings
from diptych.methods.settings import Shape
from diptych.model import Model
from diptych.networks.layers import initialise
from diptych.training import checkpoint
from diptych.translate import translate
from diptych.translators import strips
from diptych.translators.base import Request

SIZE = Size.square(32)
LITTLE = 120_000
"""Bytes: enough for strips of the pictures here, and not for the whole of one."""


@pytest.fixture(autouse=True)
def _tiny_networks_need_nothing_beside_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "OPERATORS", 0)


def saved(folder: Path, **shape: Any) -> Path:
    """A model of two residual generators, one for each way, that has learnt nothing."""
    given = CycleGANSettings(width=2, generator="resnet6", lambda_identity=0).resolved(1, SIZE)
    of_shape = Shape(size=SIZE, **shape)
    torch.manual_seed(1)
    method = build("cyclegan", given, of_shape, torch.device("cpu"))
    for name in ("G", "F"):
        initialise(getattr(method, name))
    config = checkpoint.ModelConfig(
        method="cyclegan", direction="AtoB", shape=of_shape, settings=given.model_dump(mode="json", by_alias=True)
    )
    checkpoint.save_model(folder, config, 0, method)
    return folder


def smooth(seed: int, shape: Sequence[int], dtype: str, low: float, high: float) -> Array:
    shares = np.random.default_rng(seed).random(shape)
    return (low + shares * (high - low)).astype(dtype)


def both(folder: Path, source: Pixels, **ways: Any) -> tuple[Pixels, Pixels]:
    """A picture as a whole, and in strips."""
    said = list[str]()
    whole, in_strips = (Model(folder, device="cpu", memory=memory, **ways) for memory in (None, LITTLE))
    in_strips.watch = strips.Watch("x", said.append)
    results = whole.pixels(source), in_strips.pixels(source)
    assert "in strips of rows, in 18 passes" in said[0]
    return results


@pytest.mark.parametrize(
    ("shape", "dtype", "channels", "alpha"),
    [
        ({}, "uint8", 3, False),
        ({}, "uint8", 1, True),
        ({"x_channels": 1, "y_channels": 1}, "uint16", 1, False),
        ({"x_channels": 4, "y_channels": 4}, "uint8", 3, True),
        ({"x_channels": 2, "y_channels": 5}, "uint16", 2, False),
    ],
)
def test_levels_are_those_of_the_whole(
    shape: dict[str, Any], dtype: str, channels: int, alpha: bool, tmp_path: Path
) -> None:
    values = smooth(0, (53, 61, channels), dtype, 0, np.iinfo(dtype).max)
    source = Pixels(values, smooth(1, (53, 61), dtype, 0, 255) if alpha else None)
    whole, in_strips = both(saved(tmp_path / "model", **shape), source)
    assert in_strips.values.dtype == whole.values.dtype
    levels = np.abs(whole.values.astype(int) - in_strips.values)
    assert levels.max() <= (1 if dtype == "uint8" else 3)
    assert np.array_equal(whole.alpha, in_strips.alpha) if whole.alpha is not None else in_strips.alpha is None  # type: ignore[arg-type]


def test_numbers_of_a_range_and_labels(tmp_path: Path) -> None:
    """Also the way back, whose input is the output."""
    lines = ("sky,0,0,255", "wall,255,0,0", "door,0,255,0")
    given = {"x_channels": 1, "x_range": (-1000.0, 3000.0), "y_channels": 3, "y_kind": "labels", "labels": lines}
    folder = saved(tmp_path / "model", **given)
    whole, in_strips = both(folder, Pixels(smooth(0, (53, 61, 1), "int16", -1200, 3100)))
    assert whole.values.shape == in_strips.values.shape == (53, 61, 3)
    assert (whole.values != in_strips.values).any(-1).mean() < 0.001
    colours = np.array([[0, 0, 255], [255, 0, 0], [0, 255, 0]], np.uint8)
    labels = colours[smooth(1, (53, 61), "uint8", 0, 2.9)]
    whole, in_strips = both(folder, Pixels(labels), direction="BtoA")
    assert whole.values.dtype == in_strips.values.dtype
    assert np.abs(whole.values.astype(float) - in_strips.values).max() <= 1


def test_a_folder_with_one_giant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The small ones go as they always do; the giant's file has what the whole's has, metadata included."""
    folder, model = tmp_path / "in", saved(tmp_path / "model")
    folder.mkdir()
    Image.fromarray(smooth(0, (12, 8, 3), "uint8", 0, 255)).save(folder / "small.png")
    giant = Image.fromarray(smooth(1, (75, 62, 4), "uint8", 0, 255), "RGBA")
    giant.save(folder / "giant.png", dpi=(300, 300))
    shown = list[tuple[int, int, str]]()
    translate(model, folder, out=tmp_path / "whole", device="cpu")
    assert "strips of rows" not in capsys.readouterr().err
    problems = translate(
        model,
        folder,
        out=tmp_path / "strips",
        device="cpu",
        memory="150K",
        strip_progress=lambda *told: shown.append(told),
    )
    assert not problems
    [line] = [line for line in capsys.readouterr().err.splitlines() if "strips of rows" in line]
    assert line.startswith(
        f"{folder / 'giant.png'}: too large for 0.1465 MiB of memory as a whole; it goes in strips of rows"
    )
    assert shown[-1][:2] == (1000, 1000)
    assert shown[-1][2].startswith("giant.png: pass 18 of 18, about 0 min left")
    for name in ("small.png", "giant.png"):
        whole, in_strips = (Image.open(tmp_path / way / name) for way in ("whole", "strips"))
        assert whole.info == in_strips.info
        assert np.abs(np.asarray(whole).astype(int) - np.asarray(in_strips)).max() <= 1
    assert sorted(path.name for path in (tmp_path / "strips").iterdir()) == ["giant.png", "small.png"]


def test_floats_and_batches_too(tmp_path: Path) -> None:
    whole, in_strips = (
        diptych.load(folder := saved(tmp_path / "model"), device="cpu"),
        diptych.load(folder, device="cpu", memory="150K", scratch=tmp_path),
    )
    floats = smooth(0, (75, 62, 3), "float32", 0, 1)
    assert np.abs(whole(floats) - in_strips(floats)).max() < 1e-4
    pictures = [smooth(seed, (75, 62, 3), "uint8", 0, 255) for seed in range(2)]
    for one, other in zip(whole(pictures), in_strips(pictures), strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1


@pytest.mark.parametrize("error", ["interrupted", "damaged"])
def test_what_ends_early_leaves_nothing(error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, source, out = saved(tmp_path / "model"), tmp_path / "x.png", tmp_path / "out"
    Image.fromarray(smooth(0, (75, 62, 3), "uint8", 0, 255)).save(source)
    out.mkdir()

    def put(*_: object) -> None:
        raise KeyboardInterrupt if error == "interrupted" else ValueError("the disk is full")

    monkeypatch.setattr("diptych.images.files.Gathered.put", put)
    words = ["translate", str(model), str(source), "--out", str(out / "y.png"), "--memory", "150K", "--device", "cpu"]
    assert cli.run(words) == (130 if error == "interrupted" else 1)
    assert not [*out.iterdir()]


def test_half_of_what_is_free_is_taken_unless_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of which so little is needed that it is not asked go as a whole."""
    monkeypatch.setattr(diptych.model, "free_memory", lambda device: 2 * LITTLE)
    model, said = Model(saved(tmp_path / "model"), device="cpu"), list[str]()
    model.watch = strips.Watch(say=said.append)
    source = Pixels(smooth(0, (53, 61, 3), "uint8", 0, 255))
    model.pixels(source)
    assert not said
    monkeypatch.setattr(diptych.model, "SMALL", 1000)
    model.pixels(source)
    assert said


@pytest.mark.parametrize("words", ["4 apples", "-1G", "0", "G"])
def test_memory_that_is_no_amount(words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"--memory {words}: an amount such as 4G"):
        diptych.load(saved(tmp_path / "model"), memory=words)


def test_a_scratch_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--scratch .*nowhere: there is no such folder"):
        diptych.load(saved(tmp_path / "model"), scratch=tmp_path / "nowhere")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_what_is_scaled_goes_by_rows_and_is_equal(
    dtype: str, colouring_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Colouring, and a working size: of the picture itself only levels are whole."""
    full = np.iinfo(dtype).max
    source = Pixels(smooth(0, (130, 90, 3), dtype, 0, full))
    colours = Model(colouring_run, device="cpu")
    shrinking = Model(saved(tmp_path / "model"), device="cpu")
    working = Request(working_size=40)
    whole = colours.pixels(source), shrinking.pixels(source, working)
    monkeypatch.setattr(spec, "STRIP", 1000)
    for one, other in zip(whole, (colours.pixels(source), shrinking.pixels(source, working)), strict=True):
        away = np.abs(one.values.astype(int) - other.values)
        assert away.max() <= (1 if dtype == "uint8" else 8)
        assert (away > (0 if dtype == "uint8" else 2)).mean() < 0.01


# ---- flat pictures


@pytest.mark.parametrize(("flat", "alpha"), [(True, None), (True, 90), (False, None)])
def test_a_perfectly_flat_picture_is_said(
    flat: bool, alpha: int | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody can give such a picture the result of the model: there is none."""
    colour = (200, 190, 180) if alpha is None else (200, 190, 180, alpha)
    picture = Image.new("RGB" if alpha is None else "RGBA", (40, 36), colour)
    if not flat:
        picture.putpixel((3, 30), (200, 190, 181))
    for name in ("a.png", "b.png"):
        picture.save(tmp_path / name)
    model = saved(tmp_path / "model")
    translate(model, [tmp_path / "a.png", tmp_path / "b.png"], out=tmp_path / "out", device="cpu")
    said = [line for line in capsys.readouterr().err.splitlines() if "every pixel is the same" in line]
    assert [line.split(": ")[0] for line in said] == ([f"{tmp_path / 'a.png'} (and 1 more)"] if flat else [])
    diptych.load(model, device="cpu")(tmp_path / "a.png")
    assert ("every pixel is the same" in capsys.readouterr().err) is flat


def test_of_networks_that_draw_borders_of_zeros_nothing_is_said(
    colouring_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (40, 36), (200, 190, 180)).save(tmp_path / "a.png")
    diptych.load(colouring_run, device="cpu")(tmp_path / "a.png")
    assert "every pixel" not in capsys.readouterr().err


# ---- pictures whose levels lie on the disk


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
OTHER = SRGB.replace(b"rXYZ", b"_XYZ").replace(b"gXYZ", b"rXYZ").replace(b"_XYZ", b"gXYZ")
"""The profile of a space that is not sRGB: its primaries in another order."""
BY_ROWS = "130K"
"""Memory in which so few pixels fit as a whole that the pictures here are read by rows."""


@pytest.mark.parametrize(("source", "suffix"), [(".png", ".tif"), (".tif", ".png"), (".jpg", ".jpg")])
def test_a_file_that_goes_by_rows_from_end_to_end(
    source: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its colours, alpha, rotation and knowledge too; nothing is left in the folder of what lies on the disk."""
    pytest.importorskip("pyvips", reason="pip install 'diptych[giant]'")
    model, exif = saved(tmp_path / "model"), Image.Exif()
    exif[0x010E], exif[0x0112] = "a description", 6
    bands = 3 if source == ".jpg" else 4
    picture = Image.fromarray(smooth(1, (75, 62, bands), "uint8", 0, 255), "RGB" if bands == 3 else "RGBA")
    picture.save(path := tmp_path / f"x{source}", exif=exif, dpi=(300, 300), icc_profile=OTHER)
    (scratch := tmp_path / "scratch").mkdir()
    found, read = list[Path](), giant.read

    def seen(path: Path, folder: Path) -> giant.Levels | None:
        found.append(path)
        return read(path, folder)

    monkeypatch.setattr(giant, "read", seen)
    for name, memory in (("whole", None), ("rows", BY_ROWS)):
        translate(model, path, out=tmp_path / f"{name}{suffix}", device="cpu", memory=memory, scratch=scratch)
    assert found == [path]
    (whole, known), (rows, also_known) = (files.decode_to_rewrite(tmp_path / f"{n}{suffix}") for n in ("whole", "rows"))
    assert rows.size == whole.size == (62, 75)
    assert suffix == ".jpg" or np.abs(rows.values.astype(int) - whole.values).max() <= 1
    assert np.array_equal(whole.alpha, rows.alpha) if bands == 4 else rows.alpha is None  # type: ignore[arg-type]
    assert (known.profile, known.resolution, known.exif != b"") == (OTHER, also_known.resolution, True)
    assert also_known.profile == known.profile
    assert len(also_known.exif) == len(known.exif)
    assert not [*scratch.iterdir()]


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (75, 62)).save(path := tmp_path / "x.png")
    monkeypatch.setattr(giant, "is_installed", lambda: False)
    monkeypatch.setattr(diptych.model, "free_memory", lambda device: LITTLE)
    [problem] = translate(saved(tmp_path / "model"), path, out=tmp_path / "y.png", device="cpu")
    assert problem == (
        f"{path}: 75x62 pixels, and at most 3,750 are opened here as a whole; pip install 'diptych[giant]' reads and "
        "writes it by rows"
    )


def test_too_little_disk_for_what_is_read_by_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyvips", reason="pip install 'diptych[giant]'")
    Image.new("RGB", (75, 62)).save(path := tmp_path / "x.png")
    model = saved(tmp_path / "model")
    (out := tmp_path / "out").mkdir()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    [problem] = translate(model, path, out=out / "y.png", device="cpu", memory=BY_ROWS)
    assert problem == f"{out}: the disk is full; name a folder with more room, --scratch DIR"
    assert not [*out.iterdir()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_is_ended_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """Neither a part of the picture, nor what strips and levels lay in."""
    Image.fromarray(smooth(0, (300, 200, 3), "uint8", 0, 255)).save(tmp_path / "x.png")
    saved(tmp_path / "model")
    (out := tmp_path / "out").mkdir()
    words = ["translate", str(tmp_path / "model"), str(tmp_path / "x.png"), "--out", str(out / "y.png")]
    program = (
        "from diptych import cli; from diptych.translators import strips;"
        f"strips.OPERATORS = 0; cli.main([*{words!r}, '--memory', '{BY_ROWS}', '--device', 'cpu'])"
    )
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = next(line for line in process.stderr if "in strips of rows" in line)
        process.send_signal(number)
        rest = process.stderr.read()
    assert process.returncode == (130 if number is signal.SIGTERM else -number), said + rest
    assert rest == ("diptych: interrupted\n" if number is signal.SIGTERM else "")
    assert not [*out.iterdir()]
