"""What `model(picture)` takes: the same kind comes out as went in, and what is no picture is one line."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from diptych.model import Model


@pytest.fixture(scope="module")
def model(tiny_run: Path, load_painting: Callable[[Path], Model]) -> Model:
    return load_painting(tiny_run)


@pytest.fixture(scope="module")
def filler(completion_run: Path, load_painting: Callable[[Path], Model]) -> Model:
    return load_painting(completion_run)


def noise(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def as_file(array: Any, format: str = "PNG") -> bytes:
    Image.fromarray(array).save(buffer := io.BytesIO(), format)
    return buffer.getvalue()


def test_bytes_and_open_files(model: Model, tmp_path: Path) -> None:
    picture = noise(20, 30, 3)
    data, want = as_file(picture), model(picture)
    (tmp_path / "in.png").write_bytes(data)
    forms: list[Any] = [data, bytearray(data), memoryview(data)]
    for form in forms:
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(model(form)))), want)
    with (tmp_path / "in.png").open("rb") as file:
        for source in (file, io.BytesIO(data)):
            assert np.array_equal(np.asarray(Image.open(model(source))), want)


def test_sixteen_bits_of_bytes_stay(model: Model) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30)).astype(np.uint16)
    out = np.asarray(Image.open(io.BytesIO(model(as_file(deep)))))
    assert out.shape[:2] == (20, 30)


@pytest.mark.parametrize("kind", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors(model: Model, kind: torch.dtype) -> None:
    """Channels first, as in torch; otherwise what an array gives."""
    picture = noise(20, 30, 3)
    array = picture if kind == torch.uint8 else picture / 255
    tensor = torch.from_numpy(array).permute(2, 0, 1).to(kind).requires_grad_(kind.is_floating_point)
    out = model(tensor)
    assert (out.dtype, out.shape, out.device) == (kind, tensor.shape, tensor.device)
    want = model(picture).astype(float) / 255
    difference = out.double().permute(1, 2, 0).numpy() / (255 if kind == torch.uint8 else 1) - want
    assert np.abs(difference).mean() < 0.02
    assert model(tensor[0]).shape == (3, 20, 30)
    assert torch.equal(model(tensor[None])[0], out)


@given(
    st.sampled_from(["uint8", ">u2", "float16", ">f4", "float64"]),
    st.tuples(*[st.sampled_from([1, -1, 2])] * 2),
    st.booleans(),
    st.sampled_from([np.asarray, np.ma.asarray, np.asfortranarray]),
)
def test_arrays_of_every_layout_give_what_a_plain_one_gives(
    model: Model, kind: str, steps: tuple[int, int], is_grey: bool, form: Any
) -> None:
    """Views, other byte orders and subclasses were errors of libraries."""
    values = np.random.default_rng(0).integers(0, 256, (20, 30, 3))
    values = values[..., 0] if is_grey else values
    whole = (values / 255 if np.dtype(kind).kind == "f" else values).astype(kind)
    array = form(whole)[:: steps[0], :: steps[1]]
    plain = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    np.testing.assert_array_equal(model(array), model(plain))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LA", "PA", "RGBa"])
def test_pillow_images_of_every_mode_give_what_their_rgb_gives(model: Model, mode: str) -> None:
    image = Image.fromarray(noise(20, 30, 3))
    image = (
        image.convert("P") if mode == "PA" else image.convert(f"{mode[:-1]}A") if mode[-1] == "a" else image
    ).convert(mode)
    np.testing.assert_array_equal(np.asarray(model(image).convert("RGB")), np.asarray(model(image.convert("RGB"))))


def test_a_number_of_eight_bits_or_less_in_a_tensor(model: Model) -> None:
    assert model(torch.zeros(3, 8, 8).to(torch.float8_e4m3fn)).dtype == torch.float8_e4m3fn


def test_lists_and_batches_give_what_each_gives(model: Model, tmp_path: Path) -> None:
    small, large = noise(20, 30, 3), noise(40, 24, 3, seed=1)
    Image.fromarray(large).save(tmp_path / "large.png")
    out = model([small, Image.fromarray(large), tmp_path / "large.png", as_file(large)])
    assert isinstance(out, list)
    assert np.array_equal(out[0], model(small))
    assert np.array_equal(np.asarray(out[1]), model(large))
    assert np.array_equal(np.asarray(out[2]), model(large))
    assert isinstance(out[3], bytes)
    assert model([]) == []
    batch = np.stack([small, small[::-1]])
    together = model(batch)
    assert together.shape == (2, 20, 30, 3)
    assert np.array_equal(together[1], model(batch[1]))
    as_tensors = model(torch.from_numpy(batch).permute(0, 3, 1, 2))
    assert np.array_equal(as_tensors.permute(0, 2, 3, 1).numpy(), together)


def test_a_mask_of_every_kind(filler: Model, tmp_path: Path) -> None:
    picture, hole = noise(30, 40, 3), np.zeros((30, 40), bool)
    hole[5:15, 10:24] = True
    levels = hole.astype(np.uint8) * np.uint8(255)
    (tmp_path / "mask.png").write_bytes(as_file(levels))
    want = filler(picture, mask=hole)
    assert np.array_equal(want[~hole], picture[~hole])
    whole = torch.from_numpy(hole)
    masks: list[Any] = [
        levels,
        hole.astype(float),
        hole.astype(np.int64) * 255,
        hole.astype(np.int64),
        levels[..., None],
    ]
    masks += [as_file(levels), io.BytesIO(as_file(levels)), str(tmp_path / "mask.png"), Image.fromarray(levels)]
    masks += [whole, whole[None], whole.float(), whole[None].byte() * 255, whole[None, None].float(), [hole]]
    for mask in masks:
        assert np.array_equal(filler(picture, mask=mask), want)


def test_one_mask_for_all_or_one_for_each(filler: Model, capsys: pytest.CaptureFixture[str]) -> None:
    pictures, holes = noise(2, 30, 40, 3), np.zeros((2, 30, 40), np.uint8)
    holes[0, 5:15, 10:24], holes[1, 12:22, 2:14] = 1, 1
    each = filler(pictures, mask=list(holes))
    assert capsys.readouterr().err.splitlines() == [
        "the mask: the higher of its two levels is taken as the hole (0 and 1, 11.67% of the pixels)"
    ]
    assert np.array_equal(each[1], filler(pictures[1], mask=holes[1]))
    assert np.array_equal(filler(list(pictures), mask=holes[0])[1], filler(pictures[1], mask=holes[0]))
    with pytest.raises(ValueError, match="2 masks for 3 pictures"):
        filler([*pictures, pictures[0]], mask=list(holes))


Call = Callable[[Model, Path], object]


def read_to_its_end() -> io.BytesIO:
    file = io.BytesIO(as_file(noise(8, 8, 3)))
    file.read()
    return file


def closed(thing: Any) -> Any:
    thing.close()
    return thing


def cut_off() -> Image.Image:
    return Image.open(io.BytesIO(as_file(noise(64, 64, 3))[:-3000]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, folder: model(None), r"the picture: None \(NoneType\) is not a path"),
        (lambda model, folder: model({"x": 1}), r"the picture: \{'x': 1\} \(dict\) is not a path"),
        (lambda model, folder: model(7), r"the picture: 7 \(int\) is not a path"),
        (lambda model, folder: model([[1, 2]]), r"the picture: \[1, 2\] \(list\) is not a path"),
        (lambda model, folder: model([None]), r"the picture: None"),
        (lambda model, folder: model(b""), r"the picture: is empty \(0 bytes\)"),
        (lambda model, folder: model(b"text"), "the picture: not a picture of a format that is read"),
        (lambda model, folder: model(io.StringIO("text")), "the picture: is open as text; open it with mode 'rb'"),
        (lambda model, folder: model(io.BytesIO(b"text")), "the picture: not a picture of a format that is read"),
        (lambda model, folder: model(folder / "none.png"), "none.png: cannot be read"),
        (lambda model, folder: model(folder, out=folder / "y.png"), "is a folder; diptych.translate takes folders"),
        (
            lambda model, folder: model(torch.zeros(8, 8, 3)),
            r"a tensor of shape \[8, 8, 3\] is not a picture; \[H, W\] or",
        ),
        (lambda model, folder: model(torch.zeros(3)), r"a tensor of shape \[3\] is not a picture"),
        (lambda model, folder: model(torch.zeros(0, 3, 8, 8)), r"a batch of shape \[0, 3, 8, 8\] has no picture"),
        (lambda model, folder: model(torch.zeros(3, 8, 8) - 1), r"floats are read in \[0, 1\]"),
        (lambda model, folder: model(torch.zeros(3, 8, 8, dtype=torch.long)), "int64 has no fixed range"),
        (lambda model, folder: model(np.zeros((8, 8), dtype=object)), "object has no fixed range"),
        (
            lambda model, folder: model(np.zeros((8, 8), np.longdouble)),
            "the picture: an array of float.* has no fixed range",
        ),
        (
            lambda model, folder: model(np.ma.masked_equal(np.eye(8), 1)),
            "the picture: 8 of its 64 numbers are masked",
        ),
        (lambda model, folder: model(np.zeros((3, 8, 8), np.uint8)), r"turn its axes, np.moveaxis\(array, 0, -1\)"),
        (lambda model, folder: model(torch.zeros(8, 8, 3)), r"turn its axes, tensor.permute\(2, 0, 1\)"),
        (
            lambda model, folder: model(torch.ones(8, 8, dtype=torch.complex64).conj()),
            "complex64 is not a picture; real",
        ),
        (
            lambda model, folder: model([noise(8, 8, 3), np.full((8, 8), 2.0)]),
            "picture 1: an array of float64 from 2.0",
        ),
        (lambda model, folder: model("https://example.com/a.png"), "is an address of the network.*; download it first"),
        (
            lambda model, folder: model(read_to_its_end()),
            r"the picture: has no bytes from where it stands; .*seek\(0\)",
        ),
        (lambda model, folder: model(closed(io.BytesIO(b"x"))), "the picture: cannot be read .*closed file"),
        (
            lambda model, folder: model(io.TextIOWrapper(io.BytesIO(b"\x89PNG"), "utf-8")),
            "the picture: is open as text",
        ),
        (lambda model, folder: model(closed(Image.new("RGB", (8, 8)))), "the picture: cannot be read .*closed image"),
        (lambda model, folder: model(cut_off()), "the picture: cannot be read .*truncated"),
        (lambda model, folder: model(noise(8, 8, 3), out=folder / "y.png"), "is for a picture given by its path"),
        (lambda model, folder: model([folder / "a.png"], out=folder / "y.png"), "is for a picture given by its path"),
    ],
)
def test_what_is_no_picture_is_one_line(model: Model, tmp_path: Path, call: Call, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        call(model, tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))
