"""Sets of pictures beside real ones, for any model and for any two folders, through any network that is at hand."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diptych import cli, metrics
from diptych.data.builtin import facades
from diptych.evaluate import evaluate, translation
from diptych.metrics import features, weights
from diptych.metrics.networks import lpips
from diptych.training.run import Run, read_json_lines

Train = Callable[..., Run]
OF_SETS = ["fid", "kid", "mifid", "precision", "recall"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight training and five val pairs of 32 px, side by side."""
    folder = tmp_path_factory.mktemp("facades")
    facades.write(folder, size=32, train=8, val=5)
    return folder


@pytest.fixture
def two_ways(two_way_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(two_way_run, tmp_path / "two-way"))


def read(network: Path, paths: list[Path], part: Any = np.s_[:]) -> torch.Tensor:
    reader = features.exported(network, torch.device("cpu"))
    pictures = []
    for path in paths:
        with Image.open(path) as image:
            pictures.append(torch.from_numpy(np.array(image)[part]).permute(2, 0, 1).contiguous())
    return features.extract(reader, pictures)


def written(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix == ".png")


def protocol(line: dict[str, Any], name: str) -> str:
    [found] = [key for key in line["metrics"] if key.partition("/")[0] == name]
    return str(found)


# ---- a run


def test_what_was_translated_is_measured_beside_the_training_pictures(
    two_ways: Path, pairs: Path, tiny_network: Path
) -> None:
    lines = evaluate(two_ways, data=pairs, names=OF_SETS, features=tiny_network, device="cpu")
    assert [(line["direction"], line["who"]) for line in lines] == [
        ("BtoA", "model"),
        ("BtoA", "held-out pictures"),
        ("AtoB", "model"),
        ("AtoB", "held-out pictures"),
    ]
    halves = {"BtoA": np.s_[:, :32], "AtoB": np.s_[:, 32:]}  # what comes out
    for line in lines:
        part = halves[line["direction"]]
        real = read(tiny_network, written(pairs / "train"), part)
        if line["who"] == "model":
            seen = read(tiny_network, written(two_ways / f"results/val-{line['direction']}/output"))
        else:
            seen = read(tiny_network, written(pairs / "val"), part)
        kid, error = metrics.kernel_distance(seen, real)
        precision, recall = metrics.precision_recall(seen, real)
        want = {
            "fid": metrics.frechet_distance(seen, real),
            "kid": kid,
            "mifid": metrics.memorisation_informed(seen, real),
            "precision": precision,
            "recall": recall,
        }
        for name, value in want.items():
            key = protocol(line, name)
            assert line["metrics"][key] == pytest.approx(value, rel=1e-4, abs=1e-9)
            _, network, resizing, counts, bits, size = key.split("/")
            assert network.startswith("tiny-")
            assert (resizing, counts, bits, size) == ("as-is", "5-vs-8-training", "8-bit", "32px")
        assert line["standard-error"] == {protocol(line, "kid"): pytest.approx(error, rel=1e-4)}


def test_without_weights_everything_else_is_measured(
    two_ways: Path, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = evaluate(two_ways, data=pairs, device="cpu")
    assert {"l1", "psnr", "ssim"} <= {name.partition("/")[0] for name in lines[0]["metrics"]}
    assert set(lines[0]["not-measured"]) == {*OF_SETS, "lpips"}
    assert cli.run(["evaluate", str(two_ways), "--data", str(pairs), "--device", "cpu"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "not measured" in line]
    assert len(said) == 2
    assert said[0].startswith("diptych: not measured: lpips: alexnet-owt-7be5be79.pth: ")
    assert said[1].startswith("diptych: not measured: fid, kid, mifid, precision, recall: pt_inception-2015-12-05-")
    for line in said:
        assert "--fetch-weights, or --weights DIR" in line
        assert len(line) < 300 + len(str(torch.hub.get_dir()))


def test_weights_that_are_something_else_stop_nothing(two_ways: Path, pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/alexnet-owt-7be5be79.pth").write_bytes(b"half a file")
    line = evaluate(two_ways, data=pairs, weights=tmp_path / "weights", device="cpu")[0]
    assert "it has 11 bytes" in line["not-measured"]["lpips"]
    assert {"l1", "psnr", "ssim"} <= {name.partition("/")[0] for name in line["metrics"]}


def test_what_was_asked_for_and_is_not_there_is_no_success(
    two_ways: Path, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", str(two_ways), "--data", str(pairs), "--device", "cpu", "--metrics", "l1,fid"]
    assert cli.run(command) == 1
    out, err = capsys.readouterr()
    assert "l1" in out
    assert "not measured: fid: pt_inception" in err


def test_a_set_that_is_too_small_for_a_metric(two_ways: Path, tiny_pairs: Path, tiny_network: Path) -> None:
    line = evaluate(two_ways, data=tiny_pairs, names=OF_SETS, features=tiny_network, device="cpu")[0]
    assert {name.partition("/")[0] for name in line["metrics"]} == {"fid", "mifid"}  # there are two held-out pictures
    assert line["not-measured"]["kid"].startswith("takes 3 pictures or more")
    assert line["not-measured"]["recall"].startswith("takes 4 pictures or more")


@pytest.fixture
def apart(pairs: Path, tmp_path: Path) -> Path:
    """The sides of the pairs in two folders, where no B belongs to an A."""
    for side, part in (("A", np.s_[:, :32]), ("B", np.s_[:, 32:])):
        for split in ("train", "val"):
            (tmp_path / "data" / split / side).mkdir(parents=True)
            for path in (pairs / split).iterdir():
                with Image.open(path) as image:
                    Image.fromarray(np.asarray(image)[part]).save(
                        tmp_path / "data" / split / side / f"{side}{path.name}"
                    )
    return tmp_path / "data"


def test_folders_without_pairs_have_numbers_too(two_ways: Path, pairs: Path, apart: Path, tiny_network: Path) -> None:
    lines = evaluate(two_ways, data=apart, names=["fid"], features=tiny_network, baselines=True, device="cpu")
    assert [line["who"] for line in lines[: len(lines) // 2]] == [
        "model",
        "the input as it is",
        "mean training picture",
        "held-out pictures",
    ]
    together = evaluate(two_ways, data=pairs, names=["fid"], features=tiny_network, device="cpu")
    assert lines[0]["metrics"] == together[0]["metrics"]
    with pytest.raises(ValueError, match=r"--metrics l1: .*target"):
        evaluate(two_ways, data=apart, names=["l1"])


def test_as_many_are_taken_of_what_was_made_as_of_real_pictures(
    two_ways: Path, apart: Path, tiny_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A distance depends on how many there are, and the held-out pictures say how near one can come."""
    monkeypatch.setattr(translation, "BATCH_SIZE", 2)
    for path in written(apart / "val/B")[:2]:
        path.unlink()
    lines = evaluate(two_ways, data=apart, names=["fid"], features=tiny_network, device="cpu")
    assert [(line["direction"], line["count"]) for line in lines] == [
        ("BtoA", 3),
        ("BtoA", 5),
        ("AtoB", 5),
        ("AtoB", 3),
    ]
    for line in lines:
        side = line["direction"][-1]
        made, held_out = written(two_ways / f"results/val-{line['direction']}/output"), written(apart / "val" / side)
        given = made if line["who"] == "model" else held_out
        of_three = given if len(given) == 3 else [given[0], given[1], given[3]]  # spread over all
        want = metrics.frechet_distance(
            read(tiny_network, of_three), read(tiny_network, written(apart / "train" / side))
        )
        assert "/3-vs-8-training/" in protocol(line, "fid")
        assert line["metrics"][protocol(line, "fid")] == pytest.approx(want, rel=1e-4)


def test_of_a_large_set_some_are_taken_from_all_over(
    two_ways: Path, apart: Path, tiny_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translation, "MAX_IMAGES", 4)
    training = written(apart / "train/B")
    training[1].write_bytes(b"not one of the four")
    [model, held_out] = evaluate(
        two_ways, data=apart, names=["fid"], features=tiny_network, direction="AtoB", device="cpu"
    )
    assert "/4-vs-4-training/" in protocol(model, "fid")
    real = read(tiny_network, training[::2])
    want = metrics.frechet_distance(read(tiny_network, written(apart / "val/B")[:4]), real)
    assert held_out["metrics"][protocol(held_out, "fid")] == pytest.approx(want, rel=1e-4)


def test_pairs_and_single_pictures_have_them_when_asked(
    tiny_run: Path, colouring_run: Path, pairs: Path, tiny_photos: Path, tiny_network: Path, tmp_path: Path
) -> None:
    for run, data, counts in ((tiny_run, pairs, "5-vs-8-training"), (colouring_run, tiny_photos, "2-vs-6-training")):
        copy = shutil.copytree(run, tmp_path / run.name)
        [model, held_out] = evaluate(copy, data=data, names=["fid"], features=tiny_network, device="cpu")
        assert f"/{counts}/" in protocol(model, "fid")
        assert held_out["who"] == "held-out pictures"


def test_what_is_drawn_out_of_noise(
    sampling_run: Path, tiny_classes: Path, tiny_network: Path, train_tiny: Train, tmp_path: Path
) -> None:
    run = shutil.copytree(sampling_run, tmp_path / "run")
    [model, held_out] = evaluate(run, data=tiny_classes, names=["fid", "kid"], features=tiny_network, device="cpu")
    assert "/5-vs-10-training/seed-0/8-bit/16px" in protocol(model, "fid")
    assert set(held_out["metrics"]) == set(model["metrics"])
    of_val, of_training = (read(tiny_network, written(tiny_classes / split)) for split in ("val", "train"))
    want = metrics.frechet_distance(of_val, of_training)
    assert held_out["metrics"][protocol(held_out, "fid")] == pytest.approx(want, rel=1e-4)
    assert set(model["standard-error"]) == {protocol(model, "kid")}


def test_pictures_in_no_classes(
    tiny_photos: Path, tiny_network: Path, train_tiny: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train_tiny(tmp_path / "flat", "cgan", data=tiny_photos, method={"conditional": False}).path
    [model, _] = evaluate(run, data=tiny_photos, names=["fid"], features=tiny_network, device="cpu")
    assert "/3-vs-7-training/" in protocol(model, "fid")
    assert (run / "results/drawn/results.jsonl").is_file()
    with pytest.raises(ValueError, match=r"--metrics frechet-distance: .*classes"):
        evaluate(run, data=tiny_photos, names=["frechet-distance"])
    lines = evaluate(run, data=tiny_photos, device="cpu")
    assert [line["metrics"] for line in lines] == [{}, {}]
    assert set(lines[0]["not-measured"]) == set(OF_SETS)


def test_the_best_model_is_measured_beside_the_last(train_tiny: Train, pairs: Path, tmp_path: Path) -> None:
    run = train_tiny(tmp_path / "run", validate_every=4, data=pairs).path
    lines = evaluate(run, data=pairs, names=["ssim"], device="cpu")
    by = {line["who"]: line for line in lines}
    logged = {line["step"]: line["validation"] for line in read_json_lines(run / "log.jsonl") if "validation" in line}
    for line in (by["model"], by["best"]):
        [(name, value)] = line["metrics"].items()
        assert value == pytest.approx(logged[line["step"]][name], abs=1e-6)
    best = max(one["ssim/8-bit/32px"] for one in logged.values())
    assert by["best"]["metrics"]["ssim/8-bit/32px"] == pytest.approx(best, abs=1e-6)
    assert len(written(run / "results/val/best")) == 5
    shutil.rmtree(run / "model-best")
    shutil.copytree(run / "model", run / "model-best")  # the last is the best
    assert [line["who"] for line in evaluate(run, data=pairs, names=["ssim"], device="cpu")] == ["model"]
    assert not (run / "results/val/best").exists()


# ---- two folders


@pytest.fixture
def two_folders(tmp_path: Path) -> tuple[Path, Path]:
    """Six pictures of different sizes, and others of the same names and sizes."""
    generator = np.random.default_rng(0)
    folders = (tmp_path / "real", tmp_path / "fake")
    for folder in folders:
        folder.mkdir()
        for number in range(6):
            values = generator.integers(0, 256, (32 + number, 40, 3), np.uint8)
            Image.fromarray(values).save(folder / f"{number}.png")
    return folders


def test_pictures_from_anywhere(two_folders: tuple[Path, Path], tiny_network: Path, tmp_path: Path) -> None:
    real, fake = two_folders
    (fake / "0.png").unlink()  # not all of the real ones have a partner
    [line] = evaluate(real=real, fake=fake, out=tmp_path / "numbers", features=tiny_network, device="cpu")
    assert line == read_json_lines(tmp_path / "numbers/metrics.jsonl")[0]
    assert (line["who"], line["count"], line["real"], line["fake"]) == ("fake", 5, str(real), str(fake))
    want = metrics.frechet_distance(read(tiny_network, written(fake)), read(tiny_network, written(real)))
    assert line["metrics"][protocol(line, "fid")] == pytest.approx(want, rel=1e-4)
    assert protocol(line, "fid").endswith("/as-is/5-vs-6/8-bit/own-size")
    differences = []
    for path in written(fake):
        with Image.open(path) as one, Image.open(real / path.name) as other:
            differences.append(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean() / 255)
    assert line["metrics"]["l1/8-bit/own-size"] == pytest.approx(np.mean(differences), rel=1e-5)
    assert set(line["not-measured"]) == {"lpips"}


def test_other_names_and_other_sizes(two_folders: tuple[Path, Path], tiny_network: Path, tmp_path: Path) -> None:
    real, fake = two_folders
    (fake / "5.png").rename(fake / "stranger.png")
    [line] = evaluate(real=real, fake=fake, features=tiny_network, device="cpu")
    assert {name.partition("/")[0] for name in line["metrics"]} == set(OF_SETS)
    with pytest.raises(ValueError, match=r"--metrics l1: .*stranger\.png"):
        evaluate(real=real, fake=fake, names=["l1"])
    (fake / "stranger.png").unlink()
    with Image.open(fake / "0.png") as image:
        image.resize((48, 32)).save(fake / "0.png")
    with pytest.raises(ValueError, match=r"0\.png: 48x32 .*0\.png 40x32"):
        evaluate(real=real, fake=fake, names=["l1"])
    [line] = evaluate(real=real, fake=fake, features=tiny_network, device="cpu")
    assert "l1" in line["not-measured"]
    assert line["not-measured"]["l1"].count("48x32 pixels") == 1
    assert line["metrics"][protocol(line, "fid")] > 0


def test_pictures_that_are_too_small_for_a_metric(
    two_folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "find", lambda *asked: tmp_path)
    monkeypatch.setattr(lpips, "trained", lambda file: lpips.LPIPS())
    for folder in two_folders:
        with Image.open(folder / "0.png") as image:
            image.crop((0, 0, 4, 10)).save(folder / "0.png")
    real, fake = two_folders
    [line] = evaluate(real=real, fake=fake, names=["l1", "ssim", "lpips"], out=tmp_path / "numbers", device="cpu")
    assert [name.partition("/")[0] for name in line["metrics"]] == ["l1"]
    too_small = "is not defined for pictures as small as some of these"
    assert line["not-measured"] == {"ssim": too_small, "lpips": too_small}
    assert "NaN" not in (tmp_path / "numbers/metrics.jsonl").read_text()


def test_what_does_not_go_together(two_folders: tuple[Path, Path], tiny_run: Path) -> None:
    real, fake = two_folders
    with pytest.raises(ValueError, match=r"--real .*--fake"):
        evaluate(tiny_run, real=real, fake=fake)
    with pytest.raises(ValueError, match=r"--real .*--fake"):
        evaluate(real=real)
    with pytest.raises(ValueError, match=r"run .*--data.*--real .*--fake"):
        evaluate()
    before = (tiny_run / "log.jsonl").stat().st_mtime_ns
    with pytest.raises(ValueError, match=f"--out {tiny_run}: "):
        evaluate(real=real, fake=fake, out=tiny_run)
    assert (tiny_run / "log.jsonl").stat().st_mtime_ns == before
    assert not (tiny_run / "metrics.jsonl").exists()
    with pytest.raises(ValueError, match=r"--metrics fcn: .*l1, psnr"):
        evaluate(real=real, fake=fake, names=["fcn"])


def test_the_numbers_of_two_folders_are_printed(
    two_folders: tuple[Path, Path], tiny_network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real, fake = map(str, two_folders)
    assert (
        cli.run(["evaluate", "--real", real, "--fake", fake, "--features", str(tiny_network), "--device", "cpu"]) == 0
    )
    out, err = capsys.readouterr()
    assert "6 pictures" in out
    assert re.search(r"^ *kid ", out, re.M)
    assert "tiny-" in out
    assert "±" in out
    assert "not measured: lpips" in err
