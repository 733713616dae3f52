"""Holes in pictures of any size: nothing else changes, and a crop gives what the whole picture would."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import diptych
from diptych.images import files
from diptych.images.files import Array, Pixels
from diptych.images.masks import Mask
from diptych.model import Model
from diptych.translators import completion
from diptych.translators.base import Request


@pytest.fixture(scope="module")
def model(completion_run: Path, load_painting: Callable[[Path], Model]) -> Model:
    return load_painting(completion_run)


def noise(*shape: int, kind: Any = np.uint8) -> Array:
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)


def holes(height: int, width: int, *boxes: tuple[int, int, int, int]) -> Mask:
    mask = np.zeros((height, width), bool)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


# ---- every pixel outside is the input's


@pytest.mark.parametrize("blend", ["none", "telea", "poisson"])
@given(data=st.data())
@settings(max_examples=25)
def test_nothing_outside_the_holes_changes(model: Model, blend: str, data: st.DataObject) -> None:
    """8 and 16 bits, grey and colour, with and without alpha, holes anywhere, of any size."""
    height, width = data.draw(st.integers(1, 60)), data.draw(st.integers(2, 60))
    kind: Any = data.draw(st.sampled_from([np.uint8, np.uint16]))
    channels = data.draw(st.sampled_from([1, 3]))
    alpha = noise(height, width, kind=kind) if data.draw(st.booleans()) else None
    boxes = []
    for _ in range(data.draw(st.integers(1, 3))):
        top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
        boxes.append((top, left, data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width))))
    mask = holes(height, width, *boxes)
    mask[-1, -1] = False
    source = Pixels(noise(height, width, channels, kind=kind), alpha)
    before = source.values.copy()
    filled = model.pixels(source, Request(mask, blend))  # type: ignore[arg-type]
    assert filled.values.dtype == kind
    assert np.array_equal(filled.values[~mask], source.values[~mask])
    assert np.array_equal(source.values, before)
    if alpha is not None:
        assert filled.alpha is not None
        assert np.array_equal(filled.alpha[~mask], alpha[~mask])
        assert (filled.alpha[mask] == np.iinfo(kind).max).all()


@pytest.mark.parametrize(("kind", "suffix"), [(np.uint8, "png"), (np.uint16, "png"), (np.uint16, "tiff")])
def test_from_file_to_file(model: Model, tmp_path: Path, kind: type, suffix: str) -> None:
    picture = noise(50, 70, 3, kind=kind)
    mask = holes(50, 70, (0, 10, 20, 30), (40, 60, 50, 70))
    files.encode(Pixels(picture), tmp_path / "photo.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    out = model(tmp_path / "photo.png", mask=tmp_path / "mask.png", out=tmp_path / f"whole.{suffix}")
    written = files.decode(out).values
    assert written.dtype == kind
    assert np.array_equal(written[~mask], picture[~mask])
    assert (written[mask] != picture[mask]).any(axis=-1).mean() > 0.9


def test_an_empty_mask_gives_the_picture_as_it_is(model: Model) -> None:
    picture = noise(30, 40, 3, kind=np.uint16)
    assert np.array_equal(model(picture, mask=np.zeros((30, 40), bool)), picture)


def test_what_was_in_the_hole_does_not_matter(model: Model) -> None:
    """Nor where the picture is shrunk for a large hole, which mixes neighbours."""
    for box in ((8, 8, 20, 20), (5, 7, 63, 90)):
        mask = holes(70, 100, box)
        picture = noise(70, 100, 3)
        other = np.where(mask[..., None], 255 - picture, picture)
        assert np.array_equal(model(picture, mask=mask), model(other, mask=mask))


# ---- a hole costs a crop


def seen(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What the network is shown, picture by picture."""
    shown: list[torch.Tensor] = []
    original = model.run

    def run(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        shown.append(x[0])
        return original(x, mask)

    monkeypatch.setattr(model, "run", run)
    return shown


def test_a_crop_gives_what_the_whole_picture_gives(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also at the borders of sides that are no multiples of 4; the network's reach decides what is cut out."""
    picture = noise(402, 899, 3)
    mask = holes(402, 899, (200, 400, 212, 412), (390, 880, 402, 899), (0, 0, 5, 5), (100, 650, 116, 660))
    padded = np.pad(picture, ((0, 2), (0, 1), (0, 0)), mode="reflect")
    x = files.to_tensor(Pixels(padded), 3)[None]
    whole_mask = torch.from_numpy(np.pad(mask, ((0, 2), (0, 1)), mode="reflect"))[None, None].float()
    expected = files.from_tensor(model.run(x, whole_mask)[0]).values[:402, :899]
    monkeypatch.setattr(completion, "TILE", 96)
    shown = seen(model, monkeypatch)
    filled = model(picture, mask=mask)
    assert len(shown) >= 3
    assert max(x.shape[-1] for x in shown) < 450
    difference = np.abs(filled.astype(int) - expected)
    assert difference.max() <= 1  # float sums in another order, at the edge of a level
    assert (difference > 0).mean() < 1e-3


def test_many_specks_cost_no_more_than_the_picture(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.random.default_rng(0).random((300, 400)) < 0.01
    shown = seen(model, monkeypatch)
    model(noise(300, 400, 3), mask=mask)
    assert len(shown) == 1


def test_a_hole_larger_than_any_learnt_is_seen_smaller(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run has learnt holes of 10 to 16 px: one of 64 is seen at a quarter, a long thin one as it is."""
    shown = seen(model, monkeypatch)
    model(noise(400, 400, 3), mask=holes(400, 400, (100, 100, 164, 164)))
    assert shown[-1].shape[1:] == (102, 102)  # 16 / 63 of 400
    assert shown[-1].std() < 0.2  # each pixel is a mean: single ones of this noise have 0.58
    model(noise(400, 400, 3), mask=holes(400, 400, (100, 10, 112, 390)))
    assert shown[-1].shape[1:] == (100 + 12 + 153 + 3, 400)


def test_a_working_size_shrinks_the_whole_picture(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = seen(model, monkeypatch)
    picture, mask = noise(100, 200, 3), holes(100, 200, (10, 10, 20, 20))
    filled = model(picture, mask=mask, working_size=50)
    assert [x.shape[1:] for x in shown] == [(50, 100)]
    assert np.array_equal(filled[~mask], picture[~mask])


def test_grey_pictures_stay_grey(model: Model) -> None:
    assert model(noise(30, 40), mask=holes(30, 40, (5, 5, 12, 12))).shape == (30, 40)


# ---- from Python


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_of_every_width_are_filled_alike(model: Model, kind: Any) -> None:
    picture = (np.random.default_rng(0).integers(0, 64, (30, 40, 3)) / 64).astype(kind)  # which all of them can hold
    mask = holes(30, 40, (5, 5, 12, 12))
    filled = model(picture, mask=mask)
    assert np.abs(filled[mask] - model(picture.astype(np.float64), mask=mask)[mask]).max() < 1e-3
    assert np.array_equal(filled[~mask], picture[~mask])


def test_what_goes_in_comes_out(model: Model) -> None:
    mask = holes(30, 40, (5, 5, 12, 12))
    as_image = Image.fromarray(mask)
    for picture in (noise(30, 40, 3), noise(30, 40, 3, kind=np.uint16), np.random.default_rng(0).random((30, 40, 3))):
        out = model(picture, mask=mask)
        assert (out.dtype, out.shape) == (picture.dtype, picture.shape)
        assert np.array_equal(out[~mask], picture[~mask])
        assert (out[mask] != picture[mask]).mean() > 0.9
        assert np.array_equal(model(picture, mask=as_image), out)
        assert np.array_equal(model(picture, mask=mask.astype(np.uint8) * 255), out)
    result = model(Image.fromarray(noise(30, 40, 3)), mask=mask)
    assert isinstance(result, Image.Image)


Call = Callable[[Model, Array], object]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, picture: model(picture), r"glcic .*--mask"),
        (lambda model, picture: model(picture, mask=np.ones((3, 3), bool)), "all .*hole"),
        (lambda model, picture: model(picture, mask=np.full((3, 3), 7.5)), "mask .*float64"),
        (lambda model, picture: model(picture, mask=np.full((3, 3), np.nan)), "mask .*float64"),
        (lambda model, picture: model(picture, mask=7), r"the mask: 7 \(int\) is not"),
        (lambda model, picture: model(picture, mask=np.ones(3, bool)), "mask .*shape"),
        (lambda model, picture: model(picture, mask=np.ones((3, 3, 4), np.uint8)), "mask .*shape"),
        (lambda model, picture: model(picture, mask=[["a"]]), r"the mask: \['a'\] \(list\) is not"),
        (lambda model, picture: model(picture, mask=[np.eye(3, dtype=bool)] * 2), "2 masks for 1 pictures"),
        (lambda model, picture: model(picture, mask=np.eye(3, dtype=bool), blend="pois"), "--blend pois: .*none"),
        (lambda model, picture: model.pixels(Pixels(picture)), "glcic .*--mask"),
    ],
)
def test_mistakes_are_said(model: Model, call: Call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(model, noise(30, 40, 3))


def test_a_method_that_fills_no_holes_takes_no_mask(tiny_run: Path) -> None:
    model = diptych.load(tiny_run, device="cpu")
    for given_as in ({"mask": holes(30, 40, (5, 5, 12, 12))}, {"blend": "telea"}):
        with pytest.raises(ValueError, match="--mask and --blend: pix2pix"):
            model(noise(30, 40, 3), **given_as)
    with pytest.raises(ValueError, match="--mask and --blend: pix2pix"):
        model.pixels(Pixels(noise(30, 40, 3)), Request(holes(30, 40, (5, 5, 12, 12))))


# ---- folders


def test_a_folder_with_a_folder_of_masks(completion_run: Path, tmp_path: Path) -> None:
    for folder in ("photos/in", "masks/in"):
        (tmp_path / folder).mkdir(parents=True)
    for name, left in (("a", 0), ("in/b", 20)):
        Image.fromarray(noise(30, 40, 3)).save(tmp_path / f"photos/{name}.png")
        Image.fromarray(holes(30, 40, (5, left, 15, left + 10))).save(tmp_path / f"masks/{name}.png")
    problems = diptych.translate(
        completion_run, tmp_path / "photos", out=tmp_path / "out", mask=tmp_path / "masks", device="cpu"
    )
    assert problems == []
    for name, left in (("a", 0), ("in/b", 20)):
        changed = (files.decode(tmp_path / f"out/{name}.png").values != noise(30, 40, 3)).any(axis=-1)
        assert changed[5:15, left : left + 10].mean() > 0.9
        assert changed.sum() == changed[5:15, left : left + 10].sum()


def write_two_photos_and_a_mask(folder: Path) -> None:
    """`photos/a.png`, `photos/b.png`, `masks/a.png`."""
    for name in ("photos", "masks"):
        (folder / name).mkdir()
    for name in "ab":
        Image.fromarray(noise(30, 40, 3)).save(folder / f"photos/{name}.png")
    Image.fromarray(holes(30, 40, (5, 5, 9, 9))).save(folder / "masks/a.png")


def test_a_missing_mask_is_said_before_anything_is_written(completion_run: Path, tmp_path: Path) -> None:
    write_two_photos_and_a_mask(tmp_path)
    with pytest.raises(ValueError, match=r"mask .*'b'"):
        diptych.translate(completion_run, tmp_path / "photos", out=tmp_path / "out", mask=tmp_path / "masks")
    assert not (tmp_path / "out").exists()


def test_no_mask_at_all_is_said_before_anything_is_read(completion_run: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.png").touch()
    with pytest.raises(ValueError, match=r"glcic .*--mask"):
        diptych.translate(completion_run, tmp_path / "photo.png", out=tmp_path / "whole.png")


def test_one_bad_mask_is_named_and_the_others_are_done(completion_run: Path, tmp_path: Path) -> None:
    write_two_photos_and_a_mask(tmp_path)
    Image.new("L", (40, 30), 255).save(tmp_path / "masks/b.png")
    [problem] = diptych.translate(
        completion_run, tmp_path / "photos", out=tmp_path / "out", mask=tmp_path / "masks", device="cpu"
    )
    assert "masks/b.png: " in problem
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


def test_masks_that_are_marked_in_another_way_are_said(
    completion_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first of each kind by name, the others by number; one mask for all is read once, and refused before any work."""
    write_two_photos_and_a_mask(tmp_path)
    red = np.zeros((30, 40, 3), np.uint8)
    red[5:15, 5:15] = (255, 0, 0)
    for name in "ab":
        Image.fromarray(red).save(tmp_path / f"masks/{name}.png")
    call = partial(diptych.translate, completion_run, tmp_path / "photos", device="cpu")
    assert call(out=tmp_path / "each", mask=tmp_path / "masks") == []
    line = f"{tmp_path}/masks/a.png: its paint is taken as the hole (#ff0000, 8.33% of the pixels)"
    assert capsys.readouterr().err.splitlines()[1:] == [line, "1 more: its paint is taken as the hole"]
    assert call(out=tmp_path / "one", mask=tmp_path / "masks/a.png") == []
    assert capsys.readouterr().err.splitlines()[1:] == [line]
    kept = (red == 0).all(axis=-1)
    for out in ("each/a.png", "one/b.png"):
        written = files.decode(tmp_path / out).values
        assert np.array_equal(written[kept], noise(30, 40, 3)[kept])
        assert (written != noise(30, 40, 3)).any(axis=-1)[~kept].mean() > 0.9
    Image.fromarray(noise(30, 40, 3)).save(tmp_path / "photo.png")
    with pytest.raises(ValueError, match=r"photo\.png: it looks like a photograph"):
        call(out=tmp_path / "none", mask=tmp_path / "photo.png")
    assert not (tmp_path / "none").exists()


def test_a_mask_is_never_written_over(completion_run: Path, tmp_path: Path) -> None:
    Image.fromarray(noise(30, 40, 3)).save(tmp_path / "photo.png")
    Image.fromarray(holes(30, 40, (5, 5, 9, 9))).save(tmp_path / "mask.png")
    before = (tmp_path / "mask.png").read_bytes()
    with pytest.raises(ValueError, match=r"mask\.png: .*inputs"):
        diptych.translate(
            completion_run,
            tmp_path / "photo.png",
            out=tmp_path / "mask.png",
            mask=tmp_path / "mask.png",
            overwrite=True,
        )
    with pytest.raises(ValueError, match=r"mask\.png: .*inputs"):
        diptych.load(completion_run, device="cpu")(
            tmp_path / "photo.png", mask=tmp_path / "mask.png", out=tmp_path / "mask.png", overwrite=True
        )
    assert (tmp_path / "mask.png").read_bytes() == before
