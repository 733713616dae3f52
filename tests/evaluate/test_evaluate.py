"""Numbers are of the held-out pairs, carry their specification, and have baselines beside them."""

import json
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from diptych import metrics
from diptych.data.builtin import facades
from diptych.evaluate import evaluate
from diptych.kinds import REVERSE, Direction
from diptych.model import Model, load
from diptych.training.run import Run, read_json_lines

Train = Callable[..., Run]


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def picture(path: Path) -> torch.Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.asarray(image, np.float32) / 127.5 - 1).permute(2, 0, 1)[None]


def test_results_are_kept_and_the_mean_is_theirs(run: Path, tiny_pairs: Path) -> None:
    names = ["l1", "psnr", "ssim"]
    [line] = evaluate(run, data=tiny_pairs, names=names, device="cpu")
    assert line == read_json_lines(run / "metrics.jsonl")[-1]
    assert (line["who"], line["split"], line["count"], line["step"]) == ("model", "val", 2, 12)
    assert set(line["metrics"]) == {"l1/8-bit/32px", "psnr/8-bit/32px", "ssim/8-bit/32px"}
    results = read_json_lines(run / "results/val/results.jsonl")
    assert [entry["name"] for entry in results] == ["facade-0006", "facade-0007"]
    for entry in results:
        panels = {panel: picture(run / f"results/val/{panel}/{entry['name']}.png") for panel in entry["panels"]}
        # the numbers are those of the pictures on disk, measured again
        for name in ("l1", "psnr", "ssim"):
            metric = metrics.PAIRED[name]
            assert entry["metrics"][f"{name}/8-bit/32px"] == pytest.approx(
                metric(panels["output"], panels["target"]).item(), rel=1e-5
            )
        with Image.open(run / f"results/val/thumbnails/{entry['name']}.jpg") as thumbnail:
            assert thumbnail.size == (3 * 96, 96)
    for name, mean in line["metrics"].items():
        assert mean == pytest.approx(np.mean([entry["metrics"][name] for entry in results]))


def test_what_goes_in_is_what_the_direction_says(run: Path, tiny_pairs: Path) -> None:
    evaluate(run, data=tiny_pairs, device="cpu")
    pair = picture(tiny_pairs / "val/facade-0006.png")
    assert torch.equal(picture(run / "results/val/input/facade-0006.png"), pair[..., 32:])  # BtoA
    assert torch.equal(picture(run / "results/val/target/facade-0006.png"), pair[..., :32])


def test_output_is_the_model_s(run: Path, tiny_pairs: Path) -> None:
    evaluate(run, data=tiny_pairs, device="cpu")
    want = load(run, device="cpu")(run / "results/val/input/facade-0006.png")
    with Image.open(run / "results/val/output/facade-0006.png") as output:
        assert np.abs(np.asarray(output, int) - np.asarray(want, int)).max() <= 1


def test_baselines_by_hand(run: Path, tiny_pairs: Path) -> None:
    lines = {line["who"]: line["metrics"] for line in evaluate(run, data=tiny_pairs, baselines=True, device="cpu")}
    train = [picture(path) for path in sorted((tiny_pairs / "train").iterdir())]
    val = [picture(path) for path in sorted((tiny_pairs / "val").iterdir())]
    photos, labels = torch.cat([p[..., :32] for p in train]), torch.cat([p[..., 32:] for p in train])
    mean = photos.mean(0, keepdim=True)
    want_mean, want_nearest = [], []
    for pair in val:
        nearest = int((labels - pair[..., 32:]).square().sum((1, 2, 3)).argmin())
        want_mean.append(metrics.l1(mean, pair[..., :32]).item())
        want_nearest.append(metrics.l1(photos[nearest][None], pair[..., :32]).item())
    assert lines["mean training target"]["l1/8-bit/32px"] == pytest.approx(np.mean(want_mean), abs=1e-5)
    assert lines["target of the nearest training input"]["l1/8-bit/32px"] == pytest.approx(
        np.mean(want_nearest), abs=1e-5
    )


def test_metrics_are_added_not_replaced(run: Path, tiny_pairs: Path) -> None:
    evaluate(run, data=tiny_pairs, names=["l1"], device="cpu")
    evaluate(run, data=tiny_pairs, names=["psnr"], device="cpu")
    assert [list(line["metrics"]) for line in read_json_lines(run / "metrics.jsonl")] == [
        ["l1/8-bit/32px"],
        ["psnr/8-bit/32px"],
    ]
    json.dumps(read_json_lines(run / "metrics.jsonl"), allow_nan=False)  # a browser reads it


def test_unknown_metric(run: Path, tiny_pairs: Path) -> None:
    with pytest.raises(ValueError, match=r"--metrics psrn: .*l1, psnr, ssim"):
        evaluate(run, data=tiny_pairs, names=["psrn"])


def test_nothing_held_out(run: Path, tmp_path: Path) -> None:
    facades.write(tmp_path / "data", size=32, train=2, val=0)
    shutil.rmtree(tmp_path / "data/val")
    with pytest.raises(ValueError, match=r"data: .*diptych data split"):
        evaluate(run, data=tmp_path / "data")


def test_an_evaluation_that_stops_leaves_the_older_results(
    run: Path, tiny_pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(run, data=tiny_pairs, device="cpu")
    before = {path: path.read_bytes() for path in (run / "results/val").rglob("*") if path.is_file()}

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Model, "run", stop)
    with pytest.raises(KeyboardInterrupt):
        evaluate(run, data=tiny_pairs, device="cpu")
    assert {path: path.read_bytes() for path in (run / "results/val").rglob("*") if path.is_file()} == before


# ---- both ways, without pairs in training


@pytest.fixture
def two_ways(two_way_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(two_way_run, tmp_path / "two-way"))


def test_side_by_side_pairs_measure_both_ways(two_ways: Path, tiny_pairs: Path) -> None:
    lines = evaluate(two_ways, data=tiny_pairs, names=["l1", "psnr", "ssim"], device="cpu")
    assert [(line["direction"], line["who"], line["count"]) for line in lines] == [
        ("BtoA", "model", 2),
        ("AtoB", "model", 2),
    ]
    pair = picture(tiny_pairs / "val/facade-0006.png")
    a, b = pair[..., :32], pair[..., 32:]
    ways: list[tuple[Direction, torch.Tensor, torch.Tensor]] = [("BtoA", b, a), ("AtoB", a, b)]
    for line, (way, real, target) in zip(lines, ways, strict=True):
        folder = two_ways / f"results/val-{way}"
        [entry, _] = read_json_lines(folder / "results.jsonl")
        assert entry["panels"] == ["input", "output", "target", "reconstructed", "identity"]
        shown = {panel: picture(folder / panel / "facade-0006.png") for panel in entry["panels"]}
        there, back = (load(two_ways, direction=d, device="cpu") for d in (way, REVERSE[way]))
        output = there.run(real)
        want = {
            "input": real,
            "output": output,
            "target": target,
            "reconstructed": back.run(output),
            "identity": back.run(real),
        }
        for panel, expected in want.items():
            assert (shown[panel] - expected).abs().max() < 1.1 / 127.5, panel  # two roundings to 8 bits
        assert entry["metrics"]["l1/8-bit/32px"] == pytest.approx(metrics.l1(shown["output"], target).item(), abs=1e-5)
        assert set(line["metrics"]) == {"l1/8-bit/32px", "psnr/8-bit/32px", "ssim/8-bit/32px"}


def test_one_way_of_two(two_ways: Path, tiny_pairs: Path) -> None:
    [line] = evaluate(two_ways, data=tiny_pairs, direction="AtoB", names=["l1"], device="cpu")
    assert line["direction"] == "AtoB"
    assert [path.name for path in (two_ways / "results").iterdir()] == ["val-AtoB"]


def test_baselines_without_pairs_by_hand(two_ways: Path, tiny_pairs: Path) -> None:
    lines = {
        (line["direction"], line["who"]): line["metrics"]["l1/8-bit/32px"]
        for line in evaluate(two_ways, data=tiny_pairs, names=["l1"], baselines=True, device="cpu")
    }
    train = torch.cat([picture(path) for path in sorted((tiny_pairs / "train").iterdir())])
    val = torch.cat([picture(path) for path in sorted((tiny_pairs / "val").iterdir())])
    a, b = val[..., :32], val[..., 32:]
    same = metrics.l1(a, b).mean().item()
    mean_a, mean_b = (side.mean(0, keepdim=True).expand(2, 3, 32, 32) for side in (train[..., :32], train[..., 32:]))
    assert lines["AtoB", "the input as it is"] == pytest.approx(same, abs=1e-5)
    assert lines["BtoA", "the input as it is"] == pytest.approx(same, abs=1e-5)
    # a mean that falls between two levels may be rounded either way
    assert lines["AtoB", "mean training picture"] == pytest.approx(metrics.l1(mean_b, b).mean().item(), abs=5e-4)
    assert lines["BtoA", "mean training picture"] == pytest.approx(metrics.l1(mean_a, a).mean().item(), abs=5e-4)


def test_pictures_that_are_no_pairs_are_compared_as_sets_alone(two_ways: Path, tmp_path: Path) -> None:
    """Files of one name in A and B are no pairs because of it: a number would compare pictures of different things."""
    random = np.random.default_rng(0)
    for side, count in (("A", 3), ("B", 2)):
        for number in range(count):
            path = tmp_path / f"data/val{side}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    lines = evaluate(two_ways, data=tmp_path / "data", device="cpu")
    swd = "swd/2-vs-2-held-out/seed-0/8-bit/32px"
    assert [(line["direction"], line["count"], [*line["metrics"]]) for line in lines] == [
        ("BtoA", 2, [swd]),
        ("AtoB", 3, [swd]),
    ]
    into_a = [picture(two_ways / f"results/val-BtoA/output/{number}.png") for number in range(2)]
    real = [picture(tmp_path / f"data/valA/{number}.png") for number in range(2)]  # as many as there are of B
    distance = metrics.sliced_wasserstein(torch.cat(into_a), torch.cat(real))
    assert lines[0]["metrics"][swd] == pytest.approx(distance, rel=1e-4)
    assert len(list((two_ways / "results/val-AtoB/output").iterdir())) == 3
    [entry, *_] = read_json_lines(two_ways / "results/val-AtoB/results.jsonl")
    assert entry == {"name": "0", "metrics": {}, "panels": ["input", "output", "reconstructed", "identity"]}
    with pytest.raises(ValueError, match=r"--metrics l1: .*target"):
        evaluate(two_ways, data=tmp_path / "data", names=["l1"])
    assert set(lines[0]["not-measured"]) == {"fid", "kid", "mifid", "precision", "recall"}
    with pytest.raises(ValueError, match=r"data: .*train"):
        evaluate(two_ways, data=tmp_path / "data", baselines=True)


def test_sides_in_two_folders(two_ways: Path, tmp_path: Path) -> None:
    for side in ("horses", "zebras"):
        (tmp_path / side / "val").mkdir(parents=True)
        Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(tmp_path / side / "val/0.png")
    [back, there] = evaluate(two_ways, data_a=tmp_path / "horses", data_b=tmp_path / "zebras", device="cpu")
    assert (back["count"], there["count"]) == (1, 1)
    assert there["data"] == f"{tmp_path / 'horses'} and {tmp_path / 'zebras'}"


def test_grey_and_colour_cannot_take_each_other_s_place(train_tiny: Train, tiny_pairs: Path, tmp_path: Path) -> None:
    """No identity, and the input as it is answers nothing."""
    own = {"width": 2, "patch": 16, "lambda_identity": 0.0}
    run = train_tiny(tmp_path / "run", "cyclegan", steps=1, channels_a=1, method=own).path
    lines = evaluate(run, data=tiny_pairs, names=["l1"], baselines=True, device="cpu")
    assert [(line["direction"], line["who"]) for line in lines] == [
        (way, who) for way in ("BtoA", "AtoB") for who in ("model", "mean training picture")
    ]
    for way in ("BtoA", "AtoB"):
        [entry, _] = read_json_lines(run / f"results/val-{way}/results.jsonl")
        assert entry["panels"] == ["input", "output", "target", "reconstructed"]


# ---- single pictures: what goes in is made of what should come out


@pytest.fixture
def colours(colouring_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(colouring_run, tmp_path / "run"))


def test_colouring_is_measured_in_colour(colours: Path, tiny_photos: Path) -> None:
    """Grey held-out pictures have no true colour to be compared with: they are left out, and counted."""
    model, grey, mean = evaluate(colours, data=tiny_photos, baselines=True, device="cpu")
    assert [line["who"] for line in (model, grey, mean)] == [
        "model",
        "the grey picture",
        "the training set's mean chroma",
    ]
    assert (model["count"], model["left-out"]) == (2, 1)
    assert "direction" not in model  # what goes in is made from what comes out
    names = ["l1", "psnr", "ssim", "ab", "colourfulness", "target-colourfulness"]
    assert [name for name in model["metrics"] if "swd" not in name] == [f"{name}/8-bit/32px" for name in names]
    assert grey["metrics"]["colourfulness/8-bit/32px"] == 0
    assert grey["metrics"]["target-colourfulness/8-bit/32px"] > 5
    assert mean["metrics"]["colourfulness/8-bit/32px"] > 1
    entries = read_json_lines(colours / "results/val/results.jsonl")
    assert [entry["name"] for entry in entries] == ["6", "7"]
    for entry in entries:
        shown = picture(colours / f"results/val/input/{entry['name']}.png")
        true = picture(colours / f"results/val/target/{entry['name']}.png")
        assert torch.equal(shown[:, 0], shown[:, 2])  # the network is not shown the answer
        assert torch.equal(true, picture(tiny_photos / f"val/{entry['name']}.png"))


def test_the_mean_chroma_is_of_the_training_pictures(colours: Path, tiny_photos: Path, tmp_path: Path) -> None:
    """And not of the held-out ones, nor of the grey ones among them."""
    own = Path(shutil.copytree(tiny_photos, tmp_path / "data"))
    Image.new("RGB", (32, 32), (120, 120, 120)).save(own / "train/another grey.png")
    before, after = (evaluate(colours, data=data, baselines=True, device="cpu")[2] for data in (tiny_photos, own))
    assert before["metrics"] == after["metrics"]
    Image.new("RGB", (32, 32), (250, 10, 10)).save(own / "train/another red.png")
    assert evaluate(colours, data=own, baselines=True, device="cpu")[2]["metrics"] != after["metrics"]


def test_only_grey_pictures_held_out(colours: Path, tmp_path: Path) -> None:
    (tmp_path / "grey/val").mkdir(parents=True)
    Image.new("L", (32, 32), 90).save(tmp_path / "grey/val/a.png")
    with pytest.raises(ValueError, match="grey: all 1 val pictures"):
        evaluate(colours, data=tmp_path / "grey", device="cpu")


def test_colours_of_grey_pictures_are_not_compared(train_tiny: Train, tiny_pairs: Path, tmp_path: Path) -> None:
    run = train_tiny(tmp_path / "run", channels_a=1, steps=1).path
    with pytest.raises(ValueError, match=r"--metrics ab: .*grey"):
        evaluate(run, data=tiny_pairs, names=["l1", "ab"], device="cpu")
    names = {name.partition("/")[0] for name in evaluate(run, data=tiny_pairs, device="cpu")[0]["metrics"]}
    assert not names & set(metrics.COLOUR_METRICS)


def test_only_grey_pictures_to_train_on(colours: Path, tiny_photos: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_photos / "val", tmp_path / "data/val")
    (tmp_path / "data/train").mkdir()
    Image.new("L", (32, 32), 90).save(tmp_path / "data/train/a.png")
    assert len(evaluate(colours, data=tmp_path / "data", device="cpu")) == 1
    with pytest.raises(ValueError, match="--baselines: all 1 training pictures"):
        evaluate(colours, data=tmp_path / "data", baselines=True, device="cpu")


def test_the_remedy_for_nothing_held_out_fits_the_method(colours: Path, tiny_photos: Path, tiny_run: Path) -> None:
    with pytest.raises(ValueError, match=r"NAME-val\.npy.*diptych data split"):
        evaluate(colours, data=tiny_photos / "train", device="cpu")
    with pytest.raises(ValueError, match=r"val/A \+ val/B.*diptych data split"):
        evaluate(tiny_run, data=tiny_photos / "train", device="cpu")


# ---- holes


@pytest.fixture(scope="module")
def measured(completion_run: Path, tiny_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = Path(shutil.copytree(completion_run, tmp_path_factory.mktemp("measured") / "run"))
    evaluate(run, data=tiny_photos, baselines=True, device="cpu")
    return run


def test_both_models_and_both_of_opencv_fill_the_same_holes(measured: Path) -> None:
    lines = read_json_lines(measured / "metrics.jsonl")
    assert [(line["who"], line["step"]) for line in lines] == [
        ("model", 12),
        ("completion", 4),
        ("OpenCV Telea", 12),
        ("OpenCV Navier-Stokes", 12),
    ]
    for line in lines:
        assert [name.split("/")[0] for name in line["metrics"]] == [
            *("hole-l1", "hole-psnr", "hole-ssim"),
            *("l1", "psnr", "ssim", "swd"),
        ]
        both = [line["metrics"][f"{name}/rectangle-10-16/8-bit/32px"] for name in ("psnr", "hole-psnr")]
        assert both[0] > both[1]  # all is known around a hole


def test_what_was_filled_is_kept_beside_what_was_given(measured: Path) -> None:
    for entry in read_json_lines(measured / "results/val/results.jsonl"):
        assert entry["panels"] == ["input", "completion", "output", "target"]
        given, early, output, target = (
            picture(measured / f"results/val/{panel}/{entry['name']}.png") for panel in entry["panels"]
        )
        outside = (given == target).all(dim=1, keepdim=True).expand_as(target)
        assert 10 * 10 <= (~outside)[:, 0].sum() <= 16 * 16
        for filled in (early, output):
            assert torch.equal(filled[outside], target[outside])
        assert not torch.equal(early, output)
        assert len(set(zip(*given[~outside].reshape(3, -1).tolist(), strict=True))) == 1  # the mean pixel


def test_the_sample_sheet_has_the_holes_that_are_measured(measured: Path) -> None:
    sheet = picture(measured / "samples/step-00000012.png")
    for row, entry in enumerate(read_json_lines(measured / "results/val/results.jsonl")):
        given = picture(measured / f"results/val/input/{entry['name']}.png")
        assert torch.equal(sheet[..., row * 34 : row * 34 + 32, :32], given)


def test_another_run_has_the_same_holes_to_fill(
    measured: Path, train_tiny: Train, tiny_photos: Path, tmp_path: Path
) -> None:
    """Whatever its seed; a hole is a matter of the picture's name."""
    other = train_tiny(
        tmp_path / "other",
        "glcic",
        seed=5,
        batch_size=3,
        steps=2,
        method={"hole_min": 10, "hole_max": 16, "t_c": 1, "t_d": 0},
    ).path
    evaluate(other, data=tiny_photos, device="cpu")
    for entry in read_json_lines(measured / "results/val/results.jsonl"):
        holes = [
            (
                picture(run / f"results/val/input/{entry['name']}.png")
                != picture(run / f"results/val/target/{entry['name']}.png")
            )
            for run in (measured, other)
        ]
        assert torch.equal(*(hole.any(dim=1) for hole in holes))


def test_what_else_lies_in_a_run_is_no_model_of_its(completion_run: Path, tiny_photos: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(completion_run, tmp_path / "run"))
    (run / "model-backup").mkdir()
    shutil.rmtree(run / "model-completion")
    assert [line["who"] for line in evaluate(run, data=tiny_photos, device="cpu")] == ["model"]


def test_metrics_of_holes_need_holes(run: Path, tiny_pairs: Path) -> None:
    with pytest.raises(ValueError, match=r"--metrics hole-psnr: .*run; .*l1, psnr"):
        evaluate(run, data=tiny_pairs, names=["hole-psnr"])


def test_two_evaluations_of_a_run_do_not_mix(run: Path, tiny_pairs: Path) -> None:
    with FileLock(run / ".results.lock"), pytest.raises(ValueError, match="run: another process is measuring it"):
        evaluate(run, data=tiny_pairs, names=["l1"], device="cpu")
    assert len(evaluate(run, data=tiny_pairs, names=["l1"], device="cpu")) == 1
    assert not (run / "results/.partial-val").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_one_that_ends_by_an_error_leaves_the_older_results_and_nothing_else(
    run: Path, tiny_pairs: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    evaluate(run, data=tiny_pairs, names=["l1"], device="cpu")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    def encode(*_: object) -> None:
        raise error

    monkeypatch.setattr(import_module("diptych.evaluate.results"), "encode", encode)
    with pytest.raises(type(error)):
        evaluate(run, data=tiny_pairs, names=["l1"], device="cpu")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert [path.name for path in (run / "results").iterdir()] == ["val"]
