"""A picture in, a picture out, of the same kind and size, whatever that is."""

import io
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

import diptych
from diptych.images.formats import TooLargeError
from diptych.model import Model, load
from diptych.training.run import Run
from diptych.translate import translate
from diptych.translators.image import ImageTranslator

Train = Callable[..., Run]


@pytest.fixture(scope="module")
def model(tiny_run: Path) -> Model:
    return load(tiny_run, device="cpu")


def noise(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(height=st.integers(1, 90), width=st.integers(1, 90))
def test_any_size_comes_back_at_its_size(model: Model, height: int, width: int) -> None:
    assert model(noise(height, width, 3)).shape == (height, width, 3)


def test_the_middle_of_a_large_picture_is_not_moved(model: Model) -> None:
    """Padding is cut back where it was put: a multiple of the size goes through with no padding at all."""
    x = torch.rand(1, 3, 64, 96) * 2 - 1
    with torch.inference_mode():
        assert torch.allclose(model.run(x), model.translator.network(x), atol=1e-5)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "I;16"])
def test_every_mode_of_pillow(model: Model, mode: str) -> None:
    picture = Image.fromarray(noise(20, 30, 3)).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        picture = Image.fromarray(noise(20, 30).astype(np.uint16) * 257)
    out = model(picture)
    assert isinstance(out, Image.Image)
    assert out.size == (30, 20)
    assert out.mode == ("RGBA" if mode in ("RGBA", "LA") else "RGB")


def test_alpha_goes_through_untouched(model: Model) -> None:
    picture = Image.fromarray(noise(20, 30, 4))
    assert np.array_equal(np.asarray(model(picture))[..., 3], np.asarray(picture)[..., 3])


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (noise(20, 30, 3), np.uint8),
        (noise(20, 30), np.uint8),
        (noise(20, 30, 1), np.uint8),
        (noise(20, 30, 3).astype(np.uint16) * 257, np.uint16),
        (noise(20, 30, 3) / 255, np.float64),
        ((noise(20, 30) / 255).astype(np.float32), np.float32),
    ],
)
def test_arrays_of_every_kind(model: Model, array: Any, kind: type) -> None:
    out = model(array)
    assert isinstance(out, np.ndarray)
    assert out.dtype == kind
    assert out.shape == (20, 30, 3)


def test_the_same_picture_in_every_form_gives_the_same_result(model: Model, tmp_path: Path) -> None:
    array = noise(20, 30, 3)
    Image.fromarray(array).save(tmp_path / "in.png")
    want = model(array)
    assert np.array_equal(np.asarray(model(Image.fromarray(array))), want)
    assert np.array_equal(np.asarray(model(tmp_path / "in.png")), want)
    assert np.array_equal(np.rint(model(array / 255) * 255), want)
    wide = model(array.astype(np.uint16) * 257)
    assert np.abs(wide / 257 - want.astype(float)).max() <= 0.51
    written = model(str(tmp_path / "in.png"), out=tmp_path / "out.png")
    assert written == tmp_path / "out.png"
    with Image.open(written) as read:
        assert np.array_equal(np.asarray(read), want)


def test_grey_models(train_tiny: Train, tiny_pairs: Path, tmp_path: Path) -> None:
    """000-2: one grey channel on request, in and out."""
    run = train_tiny(tmp_path / "grey", steps=2, channels_a=1, channels_b=1)
    grey = load(run.path, device="cpu")
    assert grey(noise(20, 30)).shape == (20, 30)
    assert grey(noise(20, 30, 3)).shape == (20, 30, 1)
    out = grey(Image.fromarray(noise(20, 30).astype(np.uint16) * 257))
    assert (out.mode, out.size) == ("I;16", (30, 20))
    photo = grey(noise(20, 30, 3) / 255)
    assert np.abs(photo * 255 - grey(noise(20, 30, 3)).astype(float)).max() <= 2  # the luma of 8 bits is rounded


@pytest.mark.parametrize("array", [noise(2, 2, 2), noise(3), noise(0, 3, 3), noise(2, 2).astype(np.int64)])
def test_an_array_that_is_no_picture(model: Model, array: Any) -> None:
    with pytest.raises(ValueError, match=r"not a picture|no fixed range"):
        model(array)


def test_sixteen_bits_stay_sixteen(model: Model, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    for suffix in (".png", ".tiff"):
        cv2.imwrite(str(tmp_path / f"in{suffix}"), picture[..., ::-1])
        model(tmp_path / f"in{suffix}", out=tmp_path / f"out{suffix}")
        out: Any = cv2.imread(str(tmp_path / f"out{suffix}"), cv2.IMREAD_UNCHANGED)
        assert out.dtype == np.uint16
        assert np.array_equal(out[..., ::-1], model(picture))
        assert (out % 257 != 0).any()  # not 8 bits blown up


def test_translation_is_deterministic_unless_asked(model: Model) -> None:
    array = noise(32, 32, 3)
    assert np.array_equal(model(array), model(array))
    torch.manual_seed(0)
    first, second = model(array, stochastic=True), model(array, stochastic=True)
    assert not np.array_equal(first, second)
    torch.manual_seed(0)
    assert np.array_equal(model(array, stochastic=True), first)
    assert np.array_equal(model(array), model(array))


def test_a_translation_does_not_depend_on_its_neighbours(model: Model) -> None:
    x = torch.rand(3, 3, 32, 32) * 2 - 1
    together = model.run(x)
    alone = torch.cat([model.predict({"x": one[None]}) for one in x])
    assert torch.allclose(together, alone, atol=1e-5)


def test_working_size(model: Model) -> None:
    seen = []
    hook = model.translator.network.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    assert model(noise(300, 200, 3), working_size=32).shape == (300, 200, 3)
    assert model(noise(20, 30, 3), working_size=32).shape == (20, 30, 3)  # never enlarges
    hook.remove()
    assert [tuple(shape[2:]) for shape in seen] == [(64, 32), (32, 32)]  # 48 x 32, padded to multiples of 32


@pytest.mark.parametrize("array", [noise(4, 4, 3).astype(np.float32), np.full((4, 4), np.nan)])
def test_floats_out_of_range_are_refused(model: Model, array: Any) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        model(array)


def test_a_picture_without_pixels(model: Model) -> None:
    with pytest.raises(ValueError, match="0x4 pixels"):
        model(Image.new("RGB", (0, 4)))


def test_the_python_door_overwrites_nothing_either(model: Model, tmp_path: Path) -> None:
    mine = tmp_path / "mine.png"
    Image.fromarray(noise(8, 8, 3)).save(mine)
    before = mine.read_bytes()
    with pytest.raises(ValueError, match=r"mine\.png: .*inputs"):
        model(mine, out=mine, overwrite=True)
    model(mine, out=tmp_path / "new/out.png")
    with pytest.raises(ValueError, match=r"out\.png: .*--overwrite"):
        model(mine, out=tmp_path / "new/out.png")
    model(mine, out=tmp_path / "new/out.png", overwrite=True)
    assert mine.read_bytes() == before


# ---- files and folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in/deep").mkdir(parents=True)
    Image.fromarray(noise(20, 30, 3)).save(tmp_path / "in/a photo.jpg")
    Image.fromarray(noise(9, 40, 3)).save(tmp_path / "in/deep/Ünï#1.PNG")
    (tmp_path / "in/notes.txt").write_text("not a picture", encoding="utf-8")
    return tmp_path / "in"


def test_a_folder_to_a_folder(tiny_run: Path, folder: Path, tmp_path: Path) -> None:
    assert translate(tiny_run, [folder], out=tmp_path / "out") == []
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"a photo.jpg", "deep/Ünï#1.PNG"}
    with Image.open(tmp_path / "out/deep/Ünï#1.PNG") as picture:
        assert picture.size == (40, 9)


def test_a_bad_picture_among_good_ones_is_named_and_skipped(tiny_run: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "bad.png").write_text("text", encoding="utf-8")
    [problem] = translate(tiny_run, [folder], out=tmp_path / "out")
    assert problem.startswith(str(folder / "bad.png"))
    assert (tmp_path / "out/deep/Ünï#1.PNG").exists()
    assert (tmp_path / "out/a photo.jpg").exists()


def pictures_of_many_kinds(folder: Path) -> None:
    """Sizes, bits and alpha that change in the middle, and one file that is none."""
    folder.mkdir()
    for number in range(9):
        size = (20, 28) if number in (1, 2, 3, 6, 7) else (24, 16)
        picture = noise(*size, 4 if number == 3 else 3, seed=number)
        if number == 6:
            cv2.imwrite(str(folder / "6.png"), picture.astype(np.uint16) * 257)
        else:
            Image.fromarray(picture).save(folder / f"{number}.png")
    (folder / "5.png").write_bytes(b"no picture")


def test_a_batch_gives_what_one_by_one_gives(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures_of_many_kinds(tmp_path / "in")
    lines = translate(tiny_run, tmp_path / "in", out=tmp_path / "one", device="cpu")
    batches: list[int] = []
    done: list[int] = []
    run = Model.run

    def counted(self: Model, x: torch.Tensor) -> torch.Tensor:
        batches.append(len(x))
        return run(self, x)

    monkeypatch.setattr(Model, "run", counted)
    again = translate(
        tiny_run,
        tmp_path / "in",
        out=tmp_path / "four",
        batch_size=4,
        device="cpu",
        progress=lambda number, of: done.append(number),
    )
    assert len(lines) == 1
    assert "5.png" in lines[0]
    assert again == lines
    assert done == [*range(1, 10)]
    assert max(batches) > 1
    assert sum(batches) == 8
    for file in sorted((tmp_path / "one").iterdir()):
        source, one, four = (levels(tmp_path / folder / file.name) for folder in ("in", "one", "four"))
        assert one.dtype == four.dtype == source.dtype
        assert one.shape == four.shape == source.shape
        full = 255 if one.dtype == np.uint8 else 65535
        assert np.abs(one.astype(int) - four.astype(int)).max() <= np.ceil(1e-4 * full / 2)


def levels(file: Path) -> Any:
    return cv2.imread(str(file), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("error", [TooLargeError("does not fit"), ValueError("cannot be read as 4 channels")])
def test_a_batch_that_is_refused_is_translated_one_by_one(
    error: ValueError, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that one line names each picture that is refused, and the others are translated."""
    run = Model.run
    black = torch.tensor(-1.0)

    def small(self: Model, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 1 or (x == black).all():
            raise error
        return run(self, x)

    monkeypatch.setattr(Model, "run", small)
    (tmp_path / "in").mkdir()
    for number in range(3):
        Image.fromarray(noise(16, 16, 3)).save(tmp_path / f"in/{number}.png")
    Image.new("RGB", (16, 16)).save(black_file := tmp_path / "in/1.png")
    lines = translate(tiny_run, tmp_path / "in", out=tmp_path / "out", batch_size=3, device="cpu")
    assert lines == [f"{black_file}: {error}"]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["0.png", "2.png"]


def test_two_large_pictures_are_never_held_at_once(
    tiny_run: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["diptych.pipeline"], "LARGE", 0)
    Image.fromarray(noise(20, 30, 3)).save(folder / "b.png")  # of the same size as the one before
    events: list[str] = []
    run = Model.run

    decode, encode = Model.read, Model.write

    def read(*given: Any) -> Any:
        events.append("read")
        return decode(*given)

    def counted(self: Model, x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.02)  # time enough to read another one
        events.append("run")
        return run(self, x)

    def written(*given: Any) -> list[str]:
        time.sleep(0.02)
        lost = encode(*given)
        events.append("written")
        return lost

    monkeypatch.setattr(Model, "read", read)
    monkeypatch.setattr(Model, "write", written)
    monkeypatch.setattr(Model, "run", counted)
    translate(tiny_run, folder, out=tmp_path / "out", device="cpu", batch_size=2)
    assert events == ["read", "run", "written"] * (len(events) // 3)


def test_a_result_that_no_memory_is_left_for_costs_its_picture_alone(
    tiny_run: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = Model.write

    def short_of_memory(model: Model, pixels: Any, path: Path, *given: Any) -> list[str]:
        if path.name == "a photo.jpg":
            raise MemoryError("4 GiB")
        return encode(model, pixels, path, *given)

    monkeypatch.setattr(Model, "write", short_of_memory)
    assert translate(tiny_run, folder, out=tmp_path / "out", device="cpu") == [
        f"{tmp_path / 'out/a photo.jpg'}: could not be written (4 GiB)"
    ]
    assert (tmp_path / "out/deep/Ünï#1.PNG").exists()


def test_flags_out_of_range(tiny_run: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--working-size 0"):
        translate(tiny_run, folder, out=tmp_path / "out", working_size=0)
    with pytest.raises(ValueError, match="--seed 9999"):
        translate(tiny_run, folder, out=tmp_path / "out", seed=99999999999999999999)
    assert not (tmp_path / "out").exists()


def test_a_picture_that_cannot_be_written_is_named_and_skipped(tiny_run: Path, folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 4)).save(folder / "b.webp")
    long = f"{'n' * 240}.png"
    Image.new("RGB", (4, 4)).save(folder / long)
    (tmp_path / "out/b.webp").mkdir(parents=True)  # a folder stands where the picture should go
    [problem] = translate(tiny_run, folder, out=tmp_path / "out", overwrite=True)
    assert problem.startswith(f"{tmp_path / 'out/b.webp'}: could not be written")
    assert (tmp_path / "out" / long).exists()


def test_nothing_is_overwritten_unless_asked(tiny_run: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"mine\.png: .*--overwrite"):
        translate(tiny_run, [folder / "a photo.jpg"], out=tmp_path / "mine.png")
    assert (tmp_path / "mine.png").read_bytes() == b"mine"
    translate(tiny_run, [folder / "a photo.jpg"], out=tmp_path / "mine.png", overwrite=True)
    with Image.open(tmp_path / "mine.png") as picture:
        assert picture.size == (30, 20)


def test_inputs_are_never_written_over(tiny_run: Path, folder: Path) -> None:
    with pytest.raises(ValueError, match="inputs"):
        translate(tiny_run, [folder], out=folder, overwrite=True)
    with pytest.raises(ValueError, match=r"a photo\.jpg: .*inputs"):
        translate(tiny_run, [folder / "a photo.jpg"], out=folder / "a photo.jpg", overwrite=True)


def test_an_empty_folder(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: "):
        translate(tiny_run, [tmp_path / "empty"], out=tmp_path / "out")


def test_from_python(tiny_run: Path) -> None:
    assert diptych.load(tiny_run, device="cpu")(noise(8, 8, 3)).shape == (8, 8, 3)
    assert callable(diptych.translate)
    assert callable(diptych.train)


def test_translates_while_training_goes_on(train_tiny: Train, tmp_path: Path) -> None:
    """002-5: after every checkpoint there is a whole model to open."""
    from diptych.training import checkpoint

    steps = []
    original = checkpoint.save_model

    def save_and_open(*args: Any) -> None:
        original(*args)
        steps.append(load(tmp_path / "run", device="cpu").step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save_model", save_and_open)
        train_tiny(tmp_path / "run")
    assert steps == [4, 8, 12]


# ---- both ways from one run


def test_a_two_way_model_translates_both_ways(two_way_run: Path) -> None:
    there, back = (load(two_way_run, direction=way, device="cpu") for way in ("BtoA", "AtoB"))
    assert load(two_way_run, device="cpu").direction == "BtoA"  # the way that it was trained
    assert there.translators.keys() == back.translators.keys() == {"AtoB", "BtoA"}
    weights = load_file(two_way_run / "model/model.safetensors")
    x = torch.rand(1, 3, 32, 40) * 2 - 1
    for model, name in ((there, "G"), (back, "F")):
        for key, value in model.translator.network.state_dict().items():
            assert torch.equal(value, weights[f"{name}.{key}"])
        with torch.inference_mode():
            assert torch.allclose(model.run(x), model.translator.network(x), atol=1e-5)
    assert not torch.equal(there.run(x), back.run(x))


@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 50), width=st.integers(1, 50), direction=st.sampled_from(["AtoB", "BtoA"]))
def test_any_size_comes_back_at_its_size_from_a_residual_generator(
    two_way_run: Path, height: int, width: int, direction: Any
) -> None:
    out = load(two_way_run, direction=direction, device="cpu")(noise(height, width, 3))
    assert out.shape == (height, width, 3)


def test_a_one_way_model_says_so(tiny_run: Path) -> None:
    assert load(tiny_run, direction="BtoA", device="cpu").direction == "BtoA"
    with pytest.raises(ValueError, match=r"--direction AtoB: .*BtoA"):
        load(tiny_run, direction="AtoB", device="cpu")


@pytest.fixture(scope="module")
def named_run(train_tiny: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained from paintings to photos and back."""
    folder = tmp_path_factory.mktemp("art")
    for side in ("paintings", "photos"):
        (folder / side).mkdir()
        Image.fromarray(noise(32, 32, 3)).save(folder / side / "1.png")
    sides = {"data_a": folder / "paintings", "data_b": folder / "photos"}
    return train_tiny(folder / "run", "cyclegan", steps=1, direction="AtoB", **sides).path


def said(run: Path, source: Path, out: Path, **how: Any) -> tuple[str, Any]:
    """What is said of a translation that begins at once, and the picture that comes out."""
    with io.StringIO() as text:
        assert not translate(run, source, out=out, console=Console(file=text, width=300), device="cpu", **how)
        [line] = text.getvalue().splitlines()
    return line, np.asarray(Image.open(out))


def test_a_side_is_called_by_its_folder(named_run: Path, tmp_path: Path) -> None:
    assert load(named_run / "model", device="cpu").makes == {"photos": "AtoB", "paintings": "BtoA"}
    assert load(named_run, to="paintings", device="cpu").direction == "BtoA"
    Image.fromarray(noise(32, 32, 3)).save(tmp_path / "1.png")
    for to, direction, line in (
        ("photos", "AtoB", "paintings -> photos"),
        ("paintings", "BtoA", "photos -> paintings"),
    ):
        by_name, picture = said(named_run, tmp_path / "1.png", tmp_path / f"{to}.png", to=to)
        assert by_name == f"{line}, 1 picture, into {tmp_path / to}.png"
        by_direction, same = said(named_run, tmp_path / "1.png", tmp_path / f"{to}2.png", direction=direction)
        assert by_direction.startswith(f"{line}, ")
        assert np.array_equal(picture, same)


@pytest.mark.parametrize(
    ("name", "way", "why"),
    [
        ("photos/1.png", "photos -> paintings", "; by their names they are photos, and --to photos goes the other way"),
        ("my photo.png", "photos -> paintings", "; by their names they are photos, and --to photos goes the other way"),
        (
            "painting.png",
            "paintings -> photos",
            "; by their names they are paintings, and --to paintings goes the other ",
        ),
        ("DSC1.png", "paintings -> photos", "; no name says which way, and --to paintings goes the other"),
    ],
)
def test_what_a_picture_is_called_says_which_way(
    named_run: Path, tmp_path: Path, name: str, way: str, why: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    Image.fromarray(noise(32, 32, 3)).save(tmp_path / name)
    line, picture = said(named_run, tmp_path / name, out := tmp_path / "out.png")
    assert line.startswith(f"{way}, 1 picture, into {out}{why}")
    told, same = said(named_run, tmp_path / name, tmp_path / "2.png", to=way.split(" -> ")[1])
    assert told.endswith("2.png")
    assert np.array_equal(picture, same)


def test_a_person_is_asked_only_where_nothing_says_which_way(named_run: Path, tmp_path: Path) -> None:
    asked = list[tuple[str, str]]()

    def ask(names: tuple[str, str]) -> str:
        asked.append(names)
        return names[1]

    for name in ("photo.png", "DSC1.png"):
        Image.fromarray(noise(32, 32, 3)).save(tmp_path / name)
    said(named_run, tmp_path / "photo.png", tmp_path / "1.png", ask=ask)
    said(named_run, tmp_path / "DSC1.png", tmp_path / "2.png", to="photos", ask=ask)
    assert not asked
    line, _ = said(named_run, tmp_path / "DSC1.png", tmp_path / "3.png", ask=ask)
    assert asked == [("photos", "paintings")]
    assert line == f"photos -> paintings, 1 picture, into {tmp_path / '3.png'}"


def test_the_page_of_a_run_calls_sides_by_their_folders(named_run: Path, tmp_path: Path) -> None:
    page = diptych.report(shutil.copytree(named_run, tmp_path / "run"))
    assert "cyclegan, paintings to photos and back" in page.read_text(encoding="utf-8")


def test_a_model_of_one_way_says_that_pictures_may_be_of_the_other_side(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "testA").mkdir()
    Image.fromarray(noise(32, 32, 3)).save(tmp_path / "testA/1.png")
    line, _ = said(tiny_run, tmp_path / "testA/1.png", tmp_path / "out.png")
    assert line == f"B -> A, 1 picture, into {tmp_path / 'out.png'}; by their names they are A already"


def test_what_cannot_be_made_is_refused_with_what_can(named_run: Path, tiny_run: Path, colouring_run: Path) -> None:
    for run, to, line in (
        (named_run, "B", r"--to B: .* makes photos or paintings; give --to photos or --to paintings"),
        (tiny_run, "B", r"--to B: .* makes A; give --to A"),
        (colouring_run, "B", r"--to B: .* has no A and B; leave it out"),
    ):
        with pytest.raises(ValueError, match=line):
            load(run, to=to, device="cpu")
    with pytest.raises(ValueError, match=r"--direction AtoB and --to paintings: are two ways"):
        load(named_run, to="paintings", direction="AtoB", device="cpu")


def test_each_way_reads_and_writes_its_own_channels(train_tiny: Train, tmp_path: Path) -> None:
    """Grey A into colour B, and back."""
    run = train_tiny(
        tmp_path / "run", "cyclegan", steps=2, direction="AtoB", channels_a=1, channels_b=3,
        method={"width": 2, "patch": 16, "lambda_identity": 0.0},
    ).path  # fmt: skip
    grey, colour = Image.fromarray(noise(20, 30)), Image.fromarray(noise(20, 30, 3))
    assert load(run, direction="AtoB", device="cpu")(grey).mode == "RGB"
    assert load(run, direction="AtoB", device="cpu")(colour).mode == "RGB"
    assert load(run, direction="BtoA", device="cpu")(colour).mode == "L"


def test_translate_takes_the_direction(two_way_run: Path, tmp_path: Path) -> None:
    Image.fromarray(noise(32, 32, 3)).save(tmp_path / "in.png")
    for way in ("AtoB", "BtoA"):
        assert not translate(two_way_run, tmp_path / "in.png", out=tmp_path / f"{way}.png", direction=way, device="cpu")
        want = load(two_way_run, direction=way, device="cpu")(Image.open(tmp_path / "in.png"))
        assert np.array_equal(np.asarray(Image.open(tmp_path / f"{way}.png")), np.asarray(want))


def test_what_is_enlarged_stays_in_range(tiny_run: Path) -> None:
    """Bicubic interpolation overshoots at edges."""
    y = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0)).sign()
    translator = load(tiny_run, device="cpu").translator
    assert isinstance(translator, ImageTranslator)
    enlarged = translator.upscale(torch.zeros(3, 50, 64), y, None)
    assert enlarged.shape == (3, 50, 64)
    assert enlarged.abs().max() <= 1


def test_what_a_killed_translation_left_goes_with_the_next(tiny_run: Path, tmp_path: Path) -> None:
    for name in ("in/below/a.png", "in/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(32, 32, 3)).save(tmp_path / name)
    (tmp_path / "out/below").mkdir(parents=True)
    for name in (".partial-01234567.png", "below/.partial-01234567.png", "below/mine.txt"):
        (tmp_path / "out" / name).touch()
    assert not translate(tiny_run, tmp_path / "in", out=tmp_path / "out", device="cpu")
    there = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert there == {"b.png", "below/a.png", "below/mine.txt"}
