"""Tar shards through a model, into tar shards: whole files alone, nothing twice, whoever kills whom."""

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from diptych import pipeline, shard_pipeline
from diptych.cli import run as command
from diptych.data import shards
from diptych.data.remote import UnreachableError
from diptych.files import alone
from diptych.images.files import decode
from diptych.prepare.pack import pack
from diptych.translate import translate

QUIET: dict[str, Any] = {"console": Console(quiet=True), "device": "cpu"}


@pytest.fixture
def packed(tiny_classes: Path, tmp_path: Path) -> Path:
    """Ten labelled pictures in three shards."""
    pack(tiny_classes / "train", out=tmp_path / "in", shards=3, console=Console(quiet=True))
    return tmp_path / "in"


def contents(tar: Path) -> dict[str, bytes]:
    with tarfile.open(tar) as archive:
        return {one.name: archive.extractfile(one).read() for one in archive if one.isfile()}  # type: ignore[union-attr]


def all_in(folder: Path) -> dict[str, bytes]:
    return {f"{tar.name} {name}": data for tar in sorted(folder.glob("*.tar")) for name, data in contents(tar).items()}


def test_shards_become_shards_of_what_their_pictures_become(
    packed: Path, tiny_classes: Path, tiny_run: Path, tmp_path: Path
) -> None:
    assert translate(tiny_run, packed, out=tmp_path / "out", batch_size=2, workers=2, **QUIET) == []
    assert translate(tiny_run, tiny_classes / "train", out=tmp_path / "files", **QUIET) == []
    made = all_in(tmp_path / "out")
    assert made.keys() == all_in(packed).keys()
    for name, data in made.items():
        tar, member = name.split(" ", 1)
        if member.endswith(".cls"):
            assert data == contents(packed / tar)[member]
        else:
            (tmp_path / "one.png").write_bytes(data)
            assert (decode(tmp_path / "one.png").values == decode(tmp_path / "files" / member).values).all()
    assert {file.suffix for file in (tmp_path / "out").iterdir()} == {".tar", ".idx"}
    samples = shards.open_samples([str(tmp_path / "out/00000.tar")])
    assert [*samples.classes]
    with pytest.raises(ValueError, match=r"00000\.tar \(and 2 more\): exists already"):
        translate(tiny_run, packed, out=tmp_path / "out", **QUIET)
    translate(tiny_run, packed / "00001.tar", out=tmp_path / "one.tar", format="jpg", quality=80, **QUIET)
    assert {Path(name).suffix for name in contents(tmp_path / "one.tar")} == {".jpg", ".cls"}


def test_what_was_killed_goes_on_whole_and_nothing_twice(
    packed: Path, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    translate(tiny_run, packed, out=tmp_path / "whole", **QUIET)
    given = {"out": tmp_path / "out", "skip_existing": True, **QUIET}
    write, count = pipeline.Writer.encode, iter(range(100))

    def killed(*values: Any) -> str:
        if next(count) == 5:
            raise KeyboardInterrupt
        return str(write(*values))

    monkeypatch.setattr(pipeline.Writer, "encode", killed)
    with pytest.raises(KeyboardInterrupt):
        translate(tiny_run, packed, **given)
    assert [file.name for file in sorted((tmp_path / "out").glob("*.tar"))] == ["00000.tar"]
    monkeypatch.setattr(pipeline.Writer, "encode", write)
    first = (tmp_path / "out/00000.tar").stat().st_mtime_ns
    translate(tiny_run, packed, **given)
    assert all_in(tmp_path / "out") == all_in(tmp_path / "whole")
    assert (tmp_path / "out/00000.tar").stat().st_mtime_ns == first
    monkeypatch.setattr(shard_pipeline, "_through", lambda *_: pytest.fail("made twice"))
    translate(tiny_run, packed, **given)


def test_several_jobs_share_the_shards(packed: Path, tiny_run: Path, tmp_path: Path) -> None:
    for shard in ("0/2", "1/2"):
        translate(tiny_run, packed, out=tmp_path / "out", shard=shard, **QUIET)
        assert len([*(tmp_path / "out").glob("*.tar")]) == {"0/2": 2, "1/2": 3}[shard]


def test_two_jobs_never_write_one_shard(packed: Path, tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with (
        alone(tmp_path / "out/.00000.tar.lock", ""),
        pytest.raises(ValueError, match=r"00000\.tar: another job is writing it"),
    ):
        translate(tiny_run, packed, out=tmp_path / "out", **QUIET)
    through = pipeline._outcomes

    def meanwhile(*values: Any) -> Iterator[Any]:
        shutil.copy(packed / "00001.tar", tmp_path / "out/00001.tar")
        yield from through(*values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_outcomes", meanwhile)
        with pytest.raises(ValueError, match=r"00001\.tar: another job has written it meanwhile"):
            translate(tiny_run, packed, out=tmp_path / "out", **QUIET)
    assert (tmp_path / "out/00001.tar").read_bytes() == (packed / "00001.tar").read_bytes()


def test_a_bad_picture_is_named_and_the_others_are_there(
    tiny_classes: Path, tiny_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pictures = sorted((tiny_classes / "train").rglob("*.png"))[:2]
    members = [("0.png", pictures[0].read_bytes()), ("1.png", b"no picture"), ("2.png", pictures[1].read_bytes())]
    (tmp_path / "in").mkdir()
    shards.write(tmp_path / "in/0.tar", members)
    failures = tmp_path / "failed.jsonl"
    command_line = ["translate", str(tiny_run), str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert command([*command_line, "--failures", str(failures)]) == 1
    assert contents(tmp_path / "out/0.tar").keys() == {"0.png", "2.png"}
    assert "0.tar, 1.png" in capfd.readouterr().err
    assert json.loads(failures.read_text())["picture"].endswith("0.tar, 1.png")


def test_a_server_that_goes_away_leaves_no_half_shard(
    packed: Path, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = shards.Samples.read

    def gone(samples: shards.Samples, index: int) -> list[bytes]:
        if "00001" in samples.files[0] and index == 1:
            raise UnreachableError("away: cannot be read")
        return read(samples, index)

    monkeypatch.setattr(shards.Samples, "read", gone)
    with pytest.raises(UnreachableError, match="away"):
        translate(tiny_run, packed, out=tmp_path / "out", skip_existing=True, **QUIET)
    assert {file.name for file in (tmp_path / "out").iterdir() if not file.name.startswith(".d")} == {
        "00000.tar",
        "00000.idx",
    }


def test_what_is_not_translated_is_named(packed: Path, tiny_pairs: Path, tiny_run: Path, tmp_path: Path) -> None:
    pictures = tiny_pairs / "train"
    with pytest.raises(ValueError, match="holds no tar files, and other inputs do"):
        translate(tiny_run, [packed, pictures], out=tmp_path / "out", **QUIET)
    with pytest.raises(ValueError, match="have no masks"):
        translate(tiny_run, packed, out=tmp_path / "out", mask=pictures, **QUIET)
    with pytest.raises(ValueError, match="inputs, which are never overwritten"):
        translate(tiny_run, packed, out=packed, overwrite=True, **QUIET)
    with pytest.raises(ValueError, match="two of the inputs would be written"):
        translate(tiny_run, [packed, packed], out=tmp_path / "out", **QUIET)
    members = [(f"1.{side}.png", next(pictures.iterdir()).read_bytes()) for side in "ab"]
    shards.write(tmp_path / "pairs.tar", members)
    with pytest.raises(ValueError, match="is a side of a pair, and single pictures are translated"):
        translate(tiny_run, tmp_path / "pairs.tar", out=tmp_path / "out", **QUIET)
    assert not [*tmp_path.rglob("out/*.tar")]
