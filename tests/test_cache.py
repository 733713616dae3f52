"""What was worked out is kept by content, and nothing is lost where it cannot be kept."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from diptych.files import cache_folder, cached, digest


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Maker:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, Tensor]:
        self.calls += 1
        return {"rows": torch.arange(6.0).reshape(3, 2).T, "number": torch.tensor(self.calls)}


def pictures(*values: int) -> list[Tensor]:
    return [torch.full((1, 2, 3), value, dtype=torch.uint8) for value in values]


def test_made_once_and_then_read(folder: Path) -> None:
    make = Maker()
    first, second = cached("rows-1", make), cached("rows-1", make)
    assert make.calls == 1
    assert torch.equal(first["rows"], second["rows"])
    assert second["number"] == 1
    assert cached("rows-2", make)["number"] == 2
    assert sorted(file.name for file in folder.iterdir()) == ["rows-1.safetensors", "rows-2.safetensors"]


@pytest.mark.parametrize("fault", ["damaged", "cut short", "a folder"])
def test_what_cannot_be_read_is_made_again(folder: Path, fault: str) -> None:
    make = Maker()
    cached("rows", make)
    file = folder / "rows.safetensors"
    if fault == "a folder":
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes(b"nothing of that kind" if fault == "damaged" else file.read_bytes()[:-1])
    assert cached("rows", make)["number"] == 2
    if fault != "a folder":
        assert cached("rows", make)["number"] == 2


@pytest.mark.parametrize("other", ["names", "shapes", "values", "another file", "fifo", "nothing"])
def test_what_is_not_what_was_written_is_made_again(folder: Path, other: str) -> None:
    """Features of other pictures, or a network that does not fit, would end in wrong numbers or a traceback."""
    make = Maker()
    kept = cached("rows", make)
    file = folder / "rows.safetensors"
    if other == "another file":
        cached("others", make)
        (folder / "others.safetensors").replace(file)
    elif other == "fifo":
        file.unlink()
        os.mkfifo(file)
    elif other == "values":
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    else:
        tensors = {"names": {"columns": kept["rows"]}, "shapes": {**kept, "rows": torch.zeros(1, 2)}}.get(other, {})
        save_file(tensors, file)
    assert torch.equal(cached("rows", make)["rows"], kept["rows"])
    assert cached("rows", make)["number"] == make.calls > 1


def test_what_cannot_be_kept_is_given_all_the_same(folder: Path) -> None:
    folder.write_bytes(b"a file where the folder should be")
    make = Maker()
    assert [int(cached("rows", make)["number"]) for _ in range(2)] == [1, 2]
    assert folder.is_file()


def test_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("DIPTYCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "of the system"))
    assert cache_folder() == tmp_path / "of the system/diptych"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home/.cache/diptych"


def test_a_digest_follows_from_what_is_digested_alone() -> None:
    one = digest("features", pictures(1, 2, 3))
    assert len(one) == 16
    assert int(one, 16) >= 0
    assert digest("features", pictures(3, 1, 2)) == one
    assert digest("features", iter(pictures(1, 2, 3))) == one
    assert digest("features", torch.stack(pictures(1, 2, 3))) == one
    others = [
        digest("other features", pictures(1, 2, 3)),
        digest("features", pictures(1, 2, 4)),
        digest("features", pictures(1, 2)),
        digest("features", pictures(1, 2, 3, 3)),
        digest("features", [picture.mT for picture in pictures(1, 2, 3)]),  # the same bytes in another shape
        digest("features", pictures(1), pictures(2, 3)),
        digest("feat", "ures", pictures(1, 2, 3)),
    ]
    assert len({one, *others}) == 1 + len(others)


def test_how_a_picture_lies_in_memory_does_not_matter() -> None:
    plain = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4)
    turned = plain.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert not turned.is_contiguous()
    assert digest([plain]) == digest([turned])


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DIPTYCH_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    make = Maker()
    assert [int(cached("rows", make)["number"]) for _ in range(2)] == [1, 2]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="fifos")
def test_a_cache_does_not_wait(folder: Path) -> None:
    folder.mkdir()
    os.mkfifo(folder / "rows.safetensors")
    assert cached("rows", Maker())["number"] == 1
