"""Any number of channels, 8 or 16 bits: trained, resumed, translated and measured as RGB is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import diptych
from diptych.data.layouts import find, find_one
from diptych.data.loaders import EvalLoader, TrainLoader, open_cached
from diptych.data.paths import DataPaths
from diptych.evaluate import evaluate
from diptych.images import files
from diptych.images.files import Array, Pixels
from diptych.images.size import Size
from diptych.images.spec import ImageSpec
from diptych.kinds import DataKind
from diptych.training import checkpoint
from diptych.training.run import Run
from diptych.translate import translate

Train = Callable[..., Run]
GREY_16 = (ImageSpec(1, 16), ImageSpec(1, 16))


def picture(seed: int, channels: int, bits: int) -> Array:
    """A smooth picture of 32 px, `[32, 32, channels]`."""
    small = np.random.default_rng(seed).random((4, 4, channels)).astype(np.float32)
    large = torch.nn.functional.interpolate(torch.from_numpy(small).permute(2, 0, 1)[None], size=32, mode="bilinear")
    values: Array = large[0].permute(1, 2, 0).numpy() * (2**bits - 1)
    return values.astype(np.uint8 if bits == 8 else np.uint16)


def write_pairs(folder: Path, channels: int, bits: int) -> Path:
    """Six training and two val pairs of TIFFs in two folders."""
    for split, count in (("train", 6), ("val", 2)):
        for side in "AB":
            (folder / f"{split}{side}").mkdir(parents=True)
            for number in range(count):
                values = picture(number + 10 * "AB".index(side) + 100 * (split == "val"), channels, bits)
                files.encode(Pixels(values), folder / f"{split}{side}" / f"{number}.tif")
    return folder


def tensors(run: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    _, path = checkpoint.list_checkpoints(run / "checkpoints")[-1]
    return {
        f"{file.name}/{name}": value for file in path.glob("*.safetensors") for name, value in load_file(file).items()
    }


@pytest.mark.parametrize(("channels", "bits"), [(4, 8), (1, 16), (4, 16)])
def test_pairs_are_trained_resumed_translated_and_measured(
    train_tiny: Train, tmp_path: Path, channels: int, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_pairs(tmp_path / "data", channels, bits)
    settings: dict[str, Any] = {"data": data, "validate_every": 6}
    settings |= {f"{name}_{side}": value for side in "ab" for name, value in (("channels", channels), ("bits", bits))}
    run = train_tiny(tmp_path / "whole", **settings).path
    assert Run.open(run).settings.specs == (ImageSpec(channels, 8 if bits == 8 else 16),) * 2
    original = checkpoint.save_training

    def stopping(folder: Path, step: int, *rest: Any) -> Any:  # killed after the checkpoint of step 5
        original(folder, step, *rest)
        if step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_training", stopping)
        with pytest.raises(KeyboardInterrupt):
            train_tiny(tmp_path / "parts", **settings, checkpoint_every=5)
    train_tiny(tmp_path / "parts", **settings)
    whole, parts = tensors(run), tensors(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []
    assert np.asarray(Image.open(next((run / "samples").iterdir()))).shape[-1] == 3

    translate(run, [data / "valB"], out=tmp_path / "out")
    with Image.open(tmp_path / "out/0.tif") as written:
        assert len(written.getbands()) == channels
    translated, given = (files.decode(folder / "0.tif") for folder in (tmp_path / "out", data / "valB"))
    assert (translated.size, translated.bits) == (given.size, bits)
    assert files.to_channels(translated, channels).shape == files.to_channels(given, channels).shape
    if bits == 16:  # and not 8 of them, spread
        assert len(np.unique(translated.values % 257)) > 50
    array = files.to_channels(given, channels)
    of_array = diptych.load(run, device="cpu")(array)
    np.testing.assert_array_equal(of_array, files.to_channels(translated, channels))

    lines = evaluate(run, data=data, device="cpu", baselines=True)
    assert all(any(name.startswith("l1/") for name in line["metrics"]) for line in lines if line["who"] == "model")
    assert {path.name for path in (run / "results/val/output").iterdir()} == {"0.png", "1.png"}
    if channels == 4:  # whose networks see RGB
        with pytest.raises(ValueError, match="--metrics lpips"):
            evaluate(run, data=data, device="cpu", names=["lpips"])


def test_alpha_that_was_read_as_a_channel_is_not_given_back(train_tiny: Train, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", 4, 8)
    for file in data.glob("*B/*.tif"):
        files.encode(Pixels(picture(int(file.stem), 1, 16)), file)
    settings = {"channels_a": 4, "channels_b": 1, "bits_b": 16, "direction": "AtoB", "steps": 2}
    run = train_tiny(tmp_path / "run", data=data, **settings).path
    translate(run, [data / "valA"], out=tmp_path / "out")
    translated = files.decode(tmp_path / "out/0.tif")
    assert (translated.values.shape, translated.alpha) == ((32, 32, 1), None)


def test_16_bits_are_cached_and_reach_the_batch(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for side, level in (("A", 40000), ("B", 40001)):
        (data / side).mkdir(parents=True)
        Image.fromarray(np.full((16, 16), level, np.uint16)).save(data / side / "1.png")
    for kind in (DataKind.PAIRED, DataKind.UNPAIRED):
        datasets = open_cached(
            find(kind, DataPaths(data), "train", GREY_16) or [], Size.square(16), "stretch", memory_gib=1
        )
        assert sum(dataset.bytes for dataset in datasets) == 2 * 2 * 16 * 16
        loader = TrainLoader(datasets, size=Size.square(12), batch_size=2, flip=True, seed=0, direction="AtoB")
        assert {levels.dtype for levels in loader.batch(0).values()} == {torch.uint16}
        [cached, *_] = [side for dataset in datasets for side in dataset.sides(0)]
        assert (cached.dtype, cached.untyped_storage().nbytes()) == (torch.uint16, 2 * 16 * 16)
        [trained] = loader.stream(0, 1, torch.device("cpu"), workers=0)
        evaluated = EvalLoader(datasets, "AtoB").batch([0], 1)
        for batch in (trained, evaluated):
            assert batch["x"].dtype == torch.float32
            step = batch["y"] - batch["x"]
            assert step.flatten().tolist() == [pytest.approx(2 / 65535, rel=0.01)] * step.numel()


def test_sides_of_different_types_share_no_buffer_and_one_geometry(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    for side, array in (("A", values.astype(np.uint16) * 257), ("B", values)):
        (tmp_path / side).mkdir()
        Image.fromarray(array).save(tmp_path / side / "1.png")
    pairs = find_one(DataKind.PAIRED, DataPaths(tmp_path), "train", (ImageSpec(1, 16), ImageSpec(1)))
    assert pairs is not None
    loader = TrainLoader(
        open_cached([pairs], Size.square(16), "stretch", 1),
        size=Size.square(8),
        batch_size=3,
        flip=True,
        seed=0,
        direction="BtoA",
    )
    for step in range(5):
        batch = loader.batch(step)
        assert (batch["x"].dtype, batch["y"].dtype) == (torch.uint8, torch.uint16)
        assert torch.equal(batch["x"].int() * 257, batch["y"].int())
        assert len({shown.numpy().tobytes() for shown in batch["x"]}) > 1


@pytest.mark.parametrize("bits", [8, 16])
def test_arrays_may_have_any_number_of_channels(tmp_path: Path, bits: int) -> None:
    kind = np.uint8 if bits == 8 else np.uint16
    np.save(tmp_path / "x.npy", np.arange(2 * 8 * 8 * 7).reshape(2, 8, 8, 7).astype(kind))
    spec = ImageSpec(7, 8 if bits == 8 else 16)
    found = find_one(DataKind.IMAGES, DataPaths(tmp_path / "x.npy"), "train", spec)
    assert found is not None
    [levels] = found.load(1)
    assert (levels.shape, levels.dtype) == ((7, 8, 8), spec.dtype)
    np.testing.assert_array_equal(levels.permute(1, 2, 0).numpy(), np.load(tmp_path / "x.npy")[1])


def test_a_file_of_other_channels_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    found = find_one(DataKind.IMAGES, DataPaths(tmp_path), "train", ImageSpec(4))
    assert found is not None
    with pytest.raises(ValueError, match=r"1\.png: .*3 channels.*--channels-a"):
        found.load(0)


def test_a_run_of_before_has_8_bits(train_tiny: Train, tmp_path: Path) -> None:
    run = train_tiny(tmp_path / "run", steps=4).path
    text = (run / "settings.toml").read_text()
    assert "bits-a = 8\n" in text
    (run / "settings.toml").write_text(text.replace("bits-a = 8\nbits-b = 8\n", ""))
    assert Run.open(run).settings.specs == (ImageSpec(), ImageSpec())
    assert "bits" not in json.dumps(json.loads((run / "model/config.json").read_text()))
    assert train_tiny(run, steps=6).settings.steps == 6


@pytest.mark.parametrize(("channels", "bits"), [(1, 16), (4, 8)])
def test_an_array_of_any_bits_and_channels_is_trained_on(tmp_path: Path, channels: int, bits: int) -> None:
    array = np.stack([picture(seed, channels, bits) for seed in range(4)])
    np.save(tmp_path / "x.npy", array[..., 0] if channels == 1 else array)
    diptych.train(
        "cgan",
        data=tmp_path / "x.npy",
        out=tmp_path / "run",
        steps=1,
        batch_size=2,
        bits_a=bits,
        bits_b=bits,
        channels_a=channels,
        channels_b=channels,
        method={"width": 4, "noise": 4, "conditional": False},
    )
    assert next(diptych.load(tmp_path / "run").generate(None, 1)).shape == (channels, 32, 32)


def test_arrays_have_the_channels_of_the_input_not_of_the_output(train_tiny: Train, tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "pairs", 4, 8)
    run = train_tiny(tmp_path / "run", data=folder, channels_a=4, channels_b=3, direction="AtoB")
    model = diptych.load(run.path)
    values = picture(3, 4, 8)
    from_bytes, from_floats = model(values), model((values / 255).astype(np.float32))
    assert from_bytes.shape == from_floats.shape == (32, 32, 3)
    np.testing.assert_allclose(from_bytes / 255, from_floats, atol=1 / 255)
    with pytest.raises(ValueError, match="4"):
        model(np.zeros((32, 32, 3), np.float32))
