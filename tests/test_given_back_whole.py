"""What a picture knew of itself is in what is made of it, and its colours mean what they meant."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

import diptych
from diptych.images import profiles
from diptych.images.files import decode, decode_to_rewrite
from diptych.prepare.blank import blank
from diptych.prepare.grayscale import grayscale
from diptych.prepare.resize import resize
from diptych.translate import translate


def noise(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def opened(path: Path) -> Any:
    """A Pillow image of any of its classes, closed by `with`."""
    return Image.open(path)


def photo(path: Path, values: Any, profile: bytes, **options: Any) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Own"
    Image.fromarray(values).save(path, icc_profile=profile, dpi=(600, 600), exif=exif, **options)


@pytest.fixture
def said() -> Console:
    return Console(file=io.StringIO(), width=10_000)


def lines(console: Console) -> list[str]:
    """What was said, but for what is translated into what."""
    file = console.file
    assert isinstance(file, io.StringIO)
    return [line for line in file.getvalue().splitlines() if ", into " not in line]


def test_a_translated_photograph(tiny_run: Path, tmp_path: Path, display_p3: bytes, said: Console) -> None:
    """The network sees sRGB, and what it makes of it comes out in the photograph's own colours."""
    values = noise(20, 30, 3)
    photo(tmp_path / "in.png", values, display_p3)
    assert translate(tiny_run, tmp_path / "in.png", out=tmp_path / "out.png", device="cpu", console=said) == []
    model = diptych.load(tiny_run, device="cpu")
    want = profiles.from_srgb(model(profiles.to_srgb(values, display_p3)), display_p3)
    with opened(tmp_path / "out.png") as out:
        np.testing.assert_array_equal(np.asarray(out), want)
        assert (out.info["icc_profile"], out.getexif()[0x010F]) == (display_p3, "Own")
        assert round(out.info["dpi"][0]) == 600
    model(tmp_path / "in.png", out=tmp_path / "api.png")
    assert (tmp_path / "api.png").read_bytes() == (tmp_path / "out.png").read_bytes()
    with opened(tmp_path / "in.png") as image:
        made = model(image)
    np.testing.assert_array_equal(np.asarray(made), want)
    assert made.info["icc_profile"] == display_p3
    assert lines(said) == []


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", ["display_p3", "grey_profile", "damaged"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_completion_leaves_the_outside_bit_for_bit(
    completion_run: Path, tmp_path: Path, request: pytest.FixtureRequest, bits: int, name: str, mode: str, suffix: str
) -> None:
    """Whatever profile the picture has."""
    profile = b"damaged" * 40 if name == "damaged" else request.getfixturevalue(name)
    channels = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    values = noise(40, 48, channels).squeeze()
    if bits == 16:
        values = values.astype(np.uint16) * 251
    picture, mask = tmp_path / f"in{suffix}", np.zeros((40, 48), np.uint8)
    if suffix == ".tif":
        extra = ["unassalpha"] if mode == "RGBA" else None
        kind = "minisblack" if mode == "L" else "rgb"
        tifffile.imwrite(picture, values, photometric=kind, iccprofile=profile, extrasamples=extra)
    elif bits == 8:
        photo(picture, values, profile)
    else:
        order = values if mode == "L" else np.ascontiguousarray(values[..., [2, 1, 0, 3][:channels]])
        cv2.imwrite(str(picture), order)
        _with_profile(picture, profile)
    mask[10:22, 12:26] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    out = tmp_path / f"out{suffix}"
    assert translate(completion_run, picture, out=out, mask=tmp_path / "mask.png", device="cpu") == []
    (before, known), (after, known_after) = decode_to_rewrite(picture), decode_to_rewrite(out)
    assert after.bits == bits
    np.testing.assert_array_equal(after.values[mask == 0], before.values[mask == 0])
    assert (after.values[mask == 255] != before.values[mask == 255]).any()
    assert known_after.profile == known.profile
    if (name == "display_p3" and mode != "L") or (name == "grey_profile" and mode == "L"):
        assert known.profile == profile


def _with_profile(path: Path, profile: bytes) -> None:
    from diptych.images import png

    content = b"x\0\0" + __import__("zlib").compress(profile)
    path.write_bytes(png.with_chunks(path.read_bytes(), [png.make_chunk(b"iCCP", content)]))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6), knows=st.sets(st.sampled_from(["profile", "exif", "dpi", "text"])), deep=st.booleans()
)
def test_no_metadata_moves_a_pixel_outside_the_holes(
    completion_run: Path, tmp_path: Path, display_p3: bytes, seed: int, knows: set[str], deep: bool
) -> None:
    from PIL.PngImagePlugin import PngInfo

    options: dict[str, Any] = {}
    exif, text = Image.Exif(), PngInfo()
    exif[0x0112] = seed % 8 + 1
    text.add_text("Title", "x" * (seed % 100))
    given_options = {
        "profile": ("icc_profile", display_p3),
        "exif": ("exif", exif),
        "dpi": ("dpi", (seed % 900 + 1,) * 2),
    }
    for name in knows - {"text"}:
        options |= dict([given_options[name]])
    options |= {"pnginfo": text} if "text" in knows else {}
    values = noise(32, 32, 1 if deep else 3, seed=seed).squeeze()
    Image.fromarray(values.astype(np.uint16) * 257 if deep else values).save(tmp_path / "in.png", **options)
    mask = np.zeros((32, 32), np.uint8)
    mask[8 : 16 + seed % 4, 10:20] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    given: dict[str, Any] = {
        "out": tmp_path / "out.png",
        "mask": tmp_path / "mask.png",
        "device": "cpu",
        "overwrite": True,
    }
    assert translate(completion_run, tmp_path / "in.png", **given) == []
    (before, known), (after, known_after) = (decode_to_rewrite(tmp_path / f"{name}.png") for name in ("in", "out"))
    np.testing.assert_array_equal(after.values[mask == 0], before.values[mask == 0])
    assert (known_after.profile, known_after.texts) == (known.profile, known.texts)


def test_a_result_in_colour_has_no_grey_profile(
    colouring_run: Path, tmp_path: Path, grey_profile: bytes, said: Console
) -> None:
    photo(tmp_path / "in.png", noise(20, 30), grey_profile)
    assert translate(colouring_run, tmp_path / "in.png", out=tmp_path / "out.png", device="cpu", console=said) == []
    with opened(tmp_path / "out.png") as out:
        assert out.mode == "RGB"
        assert "icc_profile" not in out.info
    [line] = lines(said)
    assert "not kept in .png files: the colour profile, which is for other channels (1 picture" in line


def test_another_format_and_what_it_cannot_hold(tiny_run: Path, tmp_path: Path, said: Console) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(noise(20, 30, 3)).save(folder / "a.jpg", comment=b"hello")
    tifffile.imwrite(
        folder / "b.tif", noise(20, 30, 3).astype(np.uint16) * 257, extratags=[(42113, "s", 0, "-9999", True)]
    )
    translate(tiny_run, folder, out=tmp_path / "out", format="jpg", device="cpu", console=said)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jpg", "b.jpg"]
    assert lines(said) == [f"not kept in .jpg files: 16 bits, TIFF tags (1 picture, the first {folder / 'b.tif'})"]
    translate(tiny_run, folder, out=tmp_path / "png", format="png", device="cpu", console=said)
    with opened(tmp_path / "png/a.png") as out:
        assert (out.format, out.text["Comment"]) == ("PNG", "hello")


def test_a_format_that_the_output_contradicts(tiny_run: Path, tmp_path: Path) -> None:
    Image.fromarray(noise(20, 30, 3)).save(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=r"--format png: --out .*b\.jpg says another one"):
        translate(tiny_run, tmp_path / "a.jpg", out=tmp_path / "b.jpg", format="png")
    with pytest.raises(ValueError, match="--quality 0: a number from 1 to 100"):
        translate(tiny_run, tmp_path / "a.jpg", out=tmp_path / "b.jpg", quality=0)
    translate(tiny_run, tmp_path / "a.jpg", out=tmp_path / "b.jpeg", format="jpg", device="cpu", quality=30)
    with opened(tmp_path / "b.jpeg") as out:
        assert max(out.quantization[0]) > 150


def test_stripped(tiny_run: Path, tmp_path: Path, display_p3: bytes) -> None:
    photo(tmp_path / "in.png", noise(20, 30, 3), display_p3)
    given: dict[str, Any] = {"out": tmp_path / "out.png", "device": "cpu"}
    translate(tiny_run, tmp_path / "in.png", strip_metadata=True, **given)
    resize(tmp_path / "in.png", out=tmp_path / "small", size=16, strip_metadata=True)
    for path in (tmp_path / "out.png", tmp_path / "small/in.png"):
        with opened(path) as out:
            assert set(out.info) == {"icc_profile"}


def test_the_tools_hand_on_what_a_picture_knows(tmp_path: Path, display_p3: bytes, said: Console) -> None:
    values = noise(20, 30, 3)
    photo(tmp_path / "in.jpg", values, display_p3, quality=50)
    resize(tmp_path / "in.jpg", out=tmp_path / "small", size=16, console=said)
    blank(tmp_path / "in.jpg", out=tmp_path / "blank", share=0.2, console=said)
    with opened(tmp_path / "in.jpg") as before:
        for path in (tmp_path / "small/in.jpg", tmp_path / "blank/in.png"):
            with opened(path) as after:
                assert (after.info["icc_profile"], round(after.info["dpi"][0])) == (display_p3, 600)
                assert after.getexif()[0x010F] == "Own"
                if path.suffix == ".jpg":
                    assert after.quantization == before.quantization
        with opened(tmp_path / "blank/in.png") as after:
            np.testing.assert_array_equal(np.asarray(after)[0], np.asarray(before)[0])  # its own levels
    assert lines(said) == []


def test_grey_is_that_of_the_colours(tmp_path: Path, display_p3: bytes) -> None:
    """A tool that takes the colours away sees what they mean."""
    photo(tmp_path / "in.png", np.full((4, 4, 3), (250, 20, 20), np.uint8), display_p3)
    grayscale(tmp_path / "in.png", out=tmp_path / "grey")
    with opened(tmp_path / "grey/in.png") as out:
        assert "icc_profile" not in out.info
        shown = decode(tmp_path / "in.png").values
        np.testing.assert_array_equal(np.asarray(out), np.asarray(Image.fromarray(shown).convert("L")))


def test_a_scaled_map_says_that_it_has_no_place(tmp_path: Path, said: Console) -> None:
    tags = [(33550, "d", 3, (1.0, 1.0, 0.0), True)]
    tifffile.imwrite(tmp_path / "in.tif", noise(20, 30, 3), extratags=tags, photometric="rgb")
    resize(tmp_path / "in.tif", out=tmp_path / "small", size=16, console=said)
    [line] = lines(said)
    assert "the GeoTIFF position, which is that of another size (1 picture" in line


@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha", "unspecified"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("name", ["", "display_p3"])
def test_the_fourth_channel_of_a_completed_tiff_stays_what_it_was(
    completion_run: Path,
    tmp_path: Path,
    said: Console,
    request: pytest.FixtureRequest,
    kind: Any,
    dtype: str,
    name: str,
) -> None:
    values = noise(40, 48, 4).astype(dtype) * (257 if dtype == "u2" else 1)
    profile = request.getfixturevalue(name) if name else None
    tifffile.imwrite(tmp_path / "in.tif", values, photometric="rgb", extrasamples=[kind], iccprofile=profile)
    mask = np.zeros((40, 48), np.uint8)
    mask[10:22, 12:26] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    given: dict[str, Any] = {"mask": tmp_path / "mask.png", "device": "cpu", "console": said}
    assert translate(completion_run, tmp_path / "in.tif", out=tmp_path / "out.tif", **given) == []
    with tifffile.TiffFile(tmp_path / "in.tif") as before, tifffile.TiffFile(tmp_path / "out.tif") as after:
        made = after.asarray()
        np.testing.assert_array_equal(made[mask == 0], values[mask == 0])
        assert (made[mask == 255][:, :3] != values[mask == 255][:, :3]).any()
        assert after.pages.first.tags[338].value == before.pages.first.tags[338].value
    if kind == "unspecified":
        np.testing.assert_array_equal(made[..., 3], values[..., 3])
    assert lines(said) == (
        [f"{tmp_path / 'in.tif'}: RGB is filled; the channel after it stays as it is, in the holes too"]
        if kind == "unspecified"
        else []
    )


def test_a_channel_after_rgb_is_left_out_in_one_line(tiny_run: Path, tmp_path: Path, said: Console) -> None:
    (folder := tmp_path / "in").mkdir()
    for number in range(3):
        tifffile.imwrite(folder / f"{number}.tif", noise(16, 16, 4), photometric="rgb", extrasamples=["unspecified"])
    assert translate(tiny_run, folder, out=tmp_path / "out", device="cpu", console=said) == []
    [line] = lines(said)
    assert line.startswith(
        f"{folder}/0.tif (and 2 more): the channel after RGB is left out; a model that is trained with "
    )
    assert tifffile.imread(tmp_path / "out/0.tif").shape == (16, 16, 3)


def test_the_tools_say_what_becomes_of_a_channel_after_rgb(tmp_path: Path, said: Console) -> None:
    tifffile.imwrite(tmp_path / "in.tif", values := noise(16, 16, 4), photometric="rgb", extrasamples=["unspecified"])
    resize(tmp_path / "in.tif", out=tmp_path / "same", size=16, console=said)
    with tifffile.TiffFile(tmp_path / "same/in.tif") as after:
        np.testing.assert_array_equal(after.asarray(), values)
        assert after.pages.first.tags[338].value == (0,)
    assert lines(said) == []
    blank(tmp_path / "in.tif", out=tmp_path / "blank", console=said)
    assert "not kept in .png files: the last channel, which is alpha there (1 picture" in lines(said)[-1]
    grayscale(tmp_path / "in.tif", out=tmp_path / "grey", console=said)
    assert lines(said)[-1] == f"{tmp_path / 'in.tif'}: the channel after RGB is left out"


def test_a_quality_without_a_format_that_has_one(tiny_run: Path, tmp_path: Path) -> None:
    (folder := tmp_path / "in").mkdir()
    Image.fromarray(noise(20, 30, 3)).save(folder / "a.png")
    given: dict[str, Any] = {"out": tmp_path / "out", "device": "cpu", "quality": 30}
    with pytest.raises(ValueError, match=r"^--quality 30: is for JPEG and WebP, and .*a\.png is neither; leave it out"):
        translate(tiny_run, folder, **given)
    assert not (tmp_path / "out").exists()
    Image.fromarray(noise(20, 30, 3)).save(folder / "b.jpg")
    assert translate(tiny_run, folder, **given) == []
    with opened(tmp_path / "out/b.jpg") as out:
        assert max(out.quantization[0]) > 150
