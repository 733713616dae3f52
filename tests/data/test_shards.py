"""Tar shards: the same batches as from the files they hold, whoever packed them; what does not fit is named in a line."""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from diptych.cli import run as command
from diptych.data import layouts, shards
from diptych.data.builtin import facades
from diptych.data.datasets import Dataset, LabelledDataset
from diptych.data.loaders import CachedDataset, TrainLoader
from diptych.data.paths import DataPaths, Split
from diptych.files import alone
from diptych.images.size import Size
from diptych.kinds import DataKind
from diptych.prepare.inspect import inspect
from diptych.prepare.pack import pack
from diptych.training.run import Run

QUIET = Console(quiet=True)
Train = Callable[..., Run]


@pytest.fixture(scope="module")
def two_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six training and two val pairs of 32 px, as JPEGs and PNGs in A and B."""
    folder = tmp_path_factory.mktemp("pairs")
    for split, numbers in (("train", range(6)), ("val", range(6, 8))):
        for side in "AB":
            (folder / split / side).mkdir(parents=True)
        for number in numbers:
            photo, labels = facades.draw_pair(number, size=32)
            photo.save(folder / split / "A" / f"no.{number}.jpg")
            labels.save(folder / split / "B" / f"no.{number}.png")
    return folder


def packed(folder: Path, out: Path, count: int = 3) -> Path:
    pack(folder, out=out, shards=count, console=QUIET)
    return out


def found(kind: DataKind, folder: Path, split: Split = "train") -> Dataset:
    datasets = layouts.find(kind, DataPaths(folder), split)
    assert datasets is not None
    return datasets[0]


def loader(datasets: Sequence[Dataset], **changes: object) -> TrainLoader:
    cached = [CachedDataset(one, Size.square(32), exact=False) for one in datasets]
    for one in cached:
        one.check(1)
    given = {"batch_size": 2, "flip": True, "seed": 3, "direction": "AtoB"} | changes
    return TrainLoader(cached, size=Size.square(24), **given)  # type: ignore[arg-type]


def same(ours: TrainLoader, theirs: TrainLoader, steps: int = 8) -> bool:
    pairs = [(ours.batch(step), theirs.batch(step)) for step in range(steps)]
    return all(a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in pairs)


def refused(folder: Path, kind: DataKind = DataKind.IMAGES) -> str:
    """The one line that a person reads."""
    with pytest.raises(ValueError, match=r".") as caught:
        layouts.find(kind, DataPaths(folder), "train")
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- what is read


def test_shards_give_the_batches_of_their_folders(
    two_folders: Path, tiny_pairs: Path, tiny_photos: Path, tiny_classes: Path, tmp_path: Path
) -> None:
    for number, (kind, folder) in enumerate(
        [
            (DataKind.PAIRED, two_folders),
            (DataKind.PAIRED, tiny_pairs),
            (DataKind.IMAGES, tiny_photos),
            (DataKind.LABELLED, tiny_classes),
        ]
    ):
        out = packed(folder, tmp_path / str(number))
        assert len([*(out / "train").glob("*.tar")]) == len([*(out / "train").glob("*.idx")]) == 3
        ours, theirs = found(kind, out), found(kind, folder)
        assert isinstance(ours, LabelledDataset) == isinstance(theirs, LabelledDataset)
        assert ours.classes == theirs.classes
        assert same(loader([ours]), loader([theirs]))
        assert len(found(kind, out, "val")) == len(found(kind, folder, "val"))
        assert f"{len(theirs)} " in ours.describe(32, 32)


def test_two_sets_of_shards_are_unpaired_pictures(two_folders: Path, tmp_path: Path) -> None:
    for side in "AB":
        packed(two_folders / "train" / side, tmp_path / "sets" / side, 2)
    folders = DataPaths(two_folders / "train/A", two_folders / "train/B")
    theirs = loader(layouts.find(DataKind.UNPAIRED, folders, "train") or [])
    for paths in (DataPaths(tmp_path / "sets"), DataPaths(tmp_path / "sets/A", tmp_path / "sets/B")):
        ours = layouts.find(DataKind.UNPAIRED, paths, "train")
        assert ours is not None
        assert [one.is_streamed for one in ours] == [True, True]
        assert same(loader(ours), theirs)


def test_a_batch_depends_on_its_number_alone(two_folders: Path, tmp_path: Path) -> None:
    pairs = found(DataKind.PAIRED, packed(two_folders, tmp_path / "out"))
    cpu = torch.device("cpu")
    whole = [*loader([pairs]).stream(0, 7, cpu, 3)]
    rest = [*loader([pairs]).stream(4, 7, cpu, 0)]
    parts = [loader([pairs], share=(number, 2)) for number in (0, 1)]
    for step, batch in enumerate(rest, start=4):
        for name in ("x", "y"):
            assert torch.equal(batch[name], whole[step][name])
            halves = [part.batch(step)[name] for part in parts]
            assert torch.equal(torch.cat(halves), loader([pairs]).batch(step)[name])


def test_a_training_on_shards_is_that_on_files(tiny_pairs: Path, train_tiny: Train, tmp_path: Path) -> None:
    packed(tiny_pairs, tmp_path / "shards")
    ours = train_tiny(tmp_path / "ours", data=tmp_path / "shards", direction="BtoA", steps=3).path
    theirs = train_tiny(tmp_path / "theirs", data=tiny_pairs, direction="BtoA", steps=3).path
    assert (ours / "model/model.safetensors").read_bytes() == (theirs / "model/model.safetensors").read_bytes()


def png(level: int = 0, width: int = 32) -> bytes:
    Image.fromarray(np.full((32, width, 3), level, np.uint8)).save(data := io.BytesIO(), "PNG")
    return data.getvalue()


def by_others(tar: Path, members: dict[str, bytes], format: int = tarfile.GNU_FORMAT) -> Path:
    """A tar file without an index, as other programs write it."""
    tar.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(tar, "w", format=format) as archive:
        folder = tarfile.TarInfo("./")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return tar


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_shards_of_others_are_read(tmp_path: Path, format: int) -> None:
    names = ["./0001", "é/0002", f"{'x' * 90}/{'y' * 60}"]
    members = {f"{name}.{end}": data for level, name in enumerate(names) for end, data in (
        ("png", png(level)), ("cls", str(7 - level).encode()), ("json", b"{}"))}  # fmt: skip
    by_others(tmp_path / "0.tar", members, format)
    for _ in ("without an index", "with the one that was made"):
        dataset = found(DataKind.LABELLED, tmp_path)
        assert [int(dataset.load(index)[0].max()) for index in range(3)] == [0, 1, 2]
        assert dataset.name(0) == "0/0001"
        assert isinstance(dataset, LabelledDataset)
        assert dataset.names == ["7", "6", "5"]
        assert (tmp_path / "0.idx").is_file()
        shards._open.cache_clear()


@pytest.mark.skipif(os.name == "nt" or not os.getuid(), reason="whoever owns the machine may write everywhere")
def test_an_index_goes_to_the_cache_where_nobody_may_write(tmp_path: Path) -> None:
    tar = by_others(tmp_path / "0.tar", {"1.png": png()})
    tmp_path.chmod(0o500)
    try:
        assert len(found(DataKind.IMAGES, tmp_path)) == 1
        assert not tar.with_suffix(".idx").exists()
        shards._open.cache_clear()
        assert len(found(DataKind.IMAGES, tmp_path)) == 1
    finally:
        tmp_path.chmod(0o700)


def test_the_index_of_a_folder_that_cannot_be_written_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_others(tmp_path / "0.tar", {"1.png": png()})
    monkeypatch.setattr(shards, "_write_index", lambda *_: (_ for _ in ()).throw(PermissionError()))
    assert len(found(DataKind.IMAGES, tmp_path)) == 1
    shards._open.cache_clear()
    monkeypatch.setattr(shards, "_scan", lambda *_: pytest.fail("read once more"))
    assert len(found(DataKind.IMAGES, tmp_path)) == 1


def test_splits_are_told_by_the_names_of_shards(tmp_path: Path) -> None:
    for name, count in (("big-train-000", 3), ("big-train-001", 2), ("big-val-000", 1)):
        by_others(tmp_path / f"{name}.tar", {f"{number}.png": png() for number in range(count)})
    assert len(found(DataKind.IMAGES, tmp_path)) == 5
    assert len(found(DataKind.IMAGES, tmp_path, "val")) == 1
    assert layouts.find(DataKind.IMAGES, DataPaths(tmp_path), "test") is None
    by_others(tmp_path / "more.tar", {"9.png": png()})
    assert "more.tar lies beside shards that are named as splits" in refused(tmp_path)
    assert len(found(DataKind.IMAGES, tmp_path / "more.tar")) == 1


# ---- what does not fit


def test_an_index_that_does_not_fit_its_tar_is_named(tmp_path: Path) -> None:
    tar = by_others(tmp_path / "0.tar", {f"{number}.png": png(number) for number in range(4)})
    found(DataKind.IMAGES, tmp_path)
    index = tar.with_suffix(".idx")
    content = json.loads(index.read_text())

    def written(**changes: object) -> str:
        index.write_text(json.dumps(content | changes))
        shards._open.cache_clear()
        return refused(tmp_path)

    assert "0.idx: does not fit 0.tar, which has" in written(size=content["size"] + 512)
    assert "0.idx: does not fit" in written(members=[["0.png", content["size"], 5]])
    assert "0.idx: does not fit" in written(members=[["0.png", -5, 5]])
    for damage in ({"members": [["0.png"]]}, {"members": 7}, {"diptych-index": 2}, {"classes": [1]}):
        assert "0.idx: is no index of a shard" in written(**damage)
    index.write_text("[")
    assert "0.idx: is no index of a shard" in refused(tmp_path)

    # One of another tar of the same length: found out where it is used, and no picture is taken for another.
    others = [[name, offset, size] for (_, offset, size), (name, _, _) in zip(
        content["members"], reversed(content["members"]), strict=True)]  # fmt: skip
    shifted = [[name, offset + 512, size] for name, offset, size in content["members"]]
    for members in (others, shifted):
        index.write_text(json.dumps(content | {"members": members}))
        shards._open.cache_clear()
        dataset = found(DataKind.IMAGES, tmp_path)
        for number in range(4):
            with pytest.raises(ValueError, match=r"0\.tar, \d\.png: does not lie where the index says"):
                dataset.load(number)


def test_a_tar_that_is_cut_off_is_named(two_folders: Path, tmp_path: Path) -> None:
    tar = packed(two_folders / "train/A", tmp_path / "out", 1) / "00000.tar"
    whole = tar.read_bytes()
    first = json.loads(tar.with_suffix(".idx").read_text())["members"][1][1]
    for end in (0, 100, 512, first - 512, first - 200, first + 10, len(whole) // 2, whole.rindex(b"\xff\xd9") + 2):
        tar.write_bytes(whole[:end])
        shards._open.cache_clear()
        assert "does not fit 00000.tar" in refused(tmp_path / "out")
        tar.with_suffix(".idx").rename(tmp_path / "kept")
        assert f"{tar}: is only half written, damaged, or no plain tar file" in refused(tmp_path / "out"), end
        (tmp_path / "kept").rename(tar.with_suffix(".idx"))
    (tmp_path / "packed").mkdir()
    with tarfile.open(tmp_path / "packed/0.tar", "w:gz"):
        pass
    assert "unpacked where it is a .gz" in refused(tmp_path / "packed")


@pytest.mark.parametrize(
    ("members", "kind", "said"),
    [
        ({"notes.txt": b"x"}, DataKind.IMAGES, "0.tar: no pictures found"),
        ({"data/val/1.png": png()}, DataKind.IMAGES, "holds a folder val (data/val/1.png), so it is an archive"),
        ({"trainA/1.png": png()}, DataKind.IMAGES, "is an archive of a data set; unpack it"),
        (
            {"1.png": png(), "1.seg.png": png()},
            DataKind.IMAGES,
            "holds 1.png and 1.seg.png; a pair is 1.a.jpg and 1.b.jpg",
        ),
        ({"1.a.png": png(), "1.b.png": png(), "2.png": png()}, DataKind.PAIRED, "0.tar: holds 2.png, and "),
        ({"1.a.png": png(), "1.b.png": png()}, DataKind.IMAGES, "1.a.png: is a side of a pair, and single pictures"),
        ({"1.png": png()}, DataKind.PAIRED, "1.png: is a single picture that is not twice as wide as tall"),
        ({"1.png": png(), "2.png": png(), "1.cls": b"cat"}, DataKind.LABELLED, "2.png has no class, and others have"),
    ],
)
def test_what_is_no_shard_is_named(tmp_path: Path, members: dict[str, bytes], kind: DataKind, said: str) -> None:
    by_others(tmp_path / "0.tar", members)
    assert said in refused(tmp_path, kind)


def test_pictures_beside_a_tar_are_what_is_read(tmp_path: Path) -> None:
    by_others(tmp_path / "0.tar", {"1.png": png()})
    (tmp_path / "2.png").write_bytes(png())
    assert not found(DataKind.IMAGES, tmp_path).is_streamed


def test_two_sides_of_different_sizes_are_named(tmp_path: Path) -> None:
    by_others(tmp_path / "0.tar", {"1.a.png": png(), "1.b.png": png(width=40)})
    with pytest.raises(ValueError, match=r"1\.a\.png is 32x32 and 1\.b\.png is 40x32"):
        found(DataKind.PAIRED, tmp_path).load(0)


# ---- no look at every picture


def many(folder: Path, count: int, bad: set[int]) -> Path:
    """Pictures of their numbers' levels, each of its own class, but those that are no pictures."""
    members = {f"{number:04d}.{end}": data for number in range(count) for end, data in (
        ("png", b"no picture" if number in bad else png(number)), ("cls", str(number).encode()))}  # fmt: skip
    folder.mkdir(exist_ok=True)
    shards.write(folder / "0.tar", members.items())
    return folder


def test_a_bad_picture_is_named_and_the_next_takes_its_place(tmp_path: Path) -> None:
    dataset = found(DataKind.LABELLED, many(tmp_path, 200, {50, 51, 199}))
    said = list[str]()
    cached = CachedDataset(dataset, Size.square(32), exact=False)
    cached.note = said.append
    assert cached.check(2) == {}
    assert len(cached) == 200
    assert 0 < len(cached.looked_at) <= 64
    assert "of which" in cached.describe()
    levels = {number: int(cached.sides(number)[0].max()) for number in (49, 50, 51, 52, 199)}
    assert levels == {49: 49, 50: 52, 51: 52, 52: 52, 199: 0}
    assert [cached.label(number) for number in (50, 199, 49)] == [52, 0, 49]
    named = {number for number in (50, 51, 199) if any(f"{number:04d}.png" in line for line in said)}
    assert named == {50, 51, 199}
    assert all(line.endswith("; the next one takes its place") for line in said)
    assert len(cached.seen) <= 64, "what is seen of each would fill the memory"


def test_batches_go_on_past_bad_pictures_the_same_way(tmp_path: Path) -> None:
    dataset = found(DataKind.LABELLED, many(tmp_path, 40, {3, 17}))
    cpu = torch.device("cpu")
    whole, rest = [*loader([dataset]).stream(0, 20, cpu, 2)], [*loader([dataset]).stream(12, 20, cpu, 0)]
    for ours, theirs in zip(whole[12:], rest, strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for batch in whole:
        levels = ((batch["y"].amax((1, 2, 3)) + 1) * 127.5).round().long()
        assert [dataset.classes[int(label)] for label in batch["label"]] == [str(int(level)) for level in levels]


def test_mostly_bad_pictures_are_an_error(tmp_path: Path) -> None:
    cached = CachedDataset(found(DataKind.IMAGES, many(tmp_path, 30, {*range(20)})), Size.square(32), exact=False)
    with pytest.raises(ValueError, match=r"0000\.png.*also"):
        cached.check(1)


def test_measuring_replaces_nothing(tmp_path: Path) -> None:
    cached = CachedDataset(found(DataKind.IMAGES, many(tmp_path, 30, {4})), Size.square(32))
    with pytest.raises(ValueError, match=r"0004\.png"):
        cached.check(1)


def test_what_a_method_rejects_is_replaced_too(tmp_path: Path) -> None:
    cached = CachedDataset(found(DataKind.IMAGES, many(tmp_path, 200, set())), Size.square(32), exact=False)
    cached.check(1, reject_reason=lambda image: "odd" if int(image.max()) % 2 else None)
    assert [int(cached.sides(number)[0].max()) for number in (6, 7, 199)] == [6, 8, 0]


# ---- packing


def test_packing_again_does_nothing_and_goes_on_where_it_was_stopped(two_folders: Path, tmp_path: Path) -> None:
    out = packed(two_folders, tmp_path / "out")
    before = {file: file.read_bytes() for file in out.rglob("*.*") if file.is_file()}
    lost = out / "train/00001.tar"
    lost.unlink()
    kept = out / "train/00000.tar"
    time = kept.stat().st_mtime_ns
    packed(two_folders, out)
    assert {file: file.read_bytes() for file in out.rglob("*.*") if file.is_file()} == before
    assert kept.stat().st_mtime_ns == time


def test_packing_loses_nothing(two_folders: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(two_folders / "train/A", folder)
    out = packed(folder, tmp_path / "out", 2)
    with pytest.raises(ValueError, match="made with other settings"):
        packed(folder, out, 3)
    with alone(tmp_path / ".partial-out.lock", ""), pytest.raises(ValueError, match="another process is packing it"):
        packed(folder, out, 2)
    (folder / "no.0.jpg").write_bytes(png())
    with pytest.raises(ValueError, match=r"00000\.tar: its pictures have changed"):
        packed(folder, out, 2)
    with pytest.raises(ValueError, match="lies inside"):
        packed(folder, folder / "out", 2)


def test_what_cannot_be_packed_is_named(two_folders: Path, tiny_pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--shards 7: .* has 6 samples"):
        packed(two_folders, tmp_path / "out", 7)
    with pytest.raises(ValueError, match="leave out --size"):
        pack(two_folders, out=tmp_path / "out", shards=2, size="64")
    shutil.copytree(two_folders / "train", tmp_path / "apart")
    (tmp_path / "apart/A/no.0.jpg").unlink()
    with pytest.raises(ValueError, match="A and B without partners"):
        packed(tmp_path / "apart", tmp_path / "out", 2)
    (tmp_path / "alike").mkdir()
    for name in ("a.b.png", "a_b.png"):
        (tmp_path / "alike" / name).write_bytes(png())
    with pytest.raises(ValueError, match="would be a_b in a shard"):
        packed(tmp_path / "alike", tmp_path / "out", 1)
    assert not (tmp_path / "out").exists()


# ---- inspect


def test_inspect_knows_shards(two_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = packed(two_folders, tmp_path / "out")
    findings = inspect(out)
    assert (findings.methods, findings.samples, findings.unreadable) == (["pix2pix"], 8, [])
    assert "tar shards: fits as paired, 6 samples" in findings.layouts
    assert command(["data", "inspect", str(many(tmp_path / "bad", 5, {2}))]) == 1
    printed = capsys.readouterr().out
    assert ": 5 samples in tar files" in printed
    assert "0002.png" in printed
    (out / "train/00000.tar").write_bytes(b"")
    with pytest.raises(ValueError, match=r"00000\.idx: does not fit 00000\.tar"):
        inspect(out)
