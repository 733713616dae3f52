"""Tar shards at an address: what a server of this machine gives, also where it drops connections, lies, or goes away."""

import importlib.util
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from rich.console import Console

from diptych.cli import run as command
from diptych.data import layouts, remote, shard_cache, shards
from diptych.data.datasets import Dataset
from diptych.data.loaders import CachedDataset, TrainLoader
from diptych.data.paths import DataPaths, Split
from diptych.data.remote import UnreachableError
from diptych.images.size import Size
from diptych.kinds import DataKind
from diptych.prepare.inspect import inspect
from diptych.prepare.pack import pack
from diptych.train import continue_training
from diptych.training.run import Run

pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")
ROOT = Path(__file__).parents[2]
Train = Callable[..., Run]
Fault = Callable[[Any], bool]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """benchmarks/shards.py, which has a server of ranges."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        spec = importlib.util.spec_from_file_location("benchmarks_shards", ROOT / "benchmarks/shards.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    return module


class Served:
    """A folder at an address; `fault` may answer a request in another way than a server should."""

    def __init__(self, benchmark: ModuleType, folder: Path) -> None:
        self.fault: Fault = lambda _: False
        self.asked = Counter[str]()
        self.server = benchmark.server(folder, fault=self._answer)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=partial_forever(self.server), daemon=True).start()

    def _answer(self, request: Any) -> bool:
        self.asked[f"{request.command} {request.path} {request.headers.get('Range')}"] += 1
        return self.fault(request)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def partial_forever(server: Any) -> Callable[[], None]:
    return lambda: server.serve_forever(poll_interval=0.02)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "WAITS", (0.01,) * 6)
    shards._open.cache_clear()


@pytest.fixture
def pairs(tiny_pairs: Path, tmp_path: Path) -> Path:
    pack(tiny_pairs, out=tmp_path / "pairs", shards=2, console=Console(quiet=True))
    return tmp_path / "pairs"


@pytest.fixture
def served(benchmark: ModuleType, pairs: Path) -> Iterator[Served]:
    served = Served(benchmark, pairs)
    yield served
    served.close()


def found(place: Path | str, kind: DataKind = DataKind.PAIRED, split: Split = "train") -> Dataset:
    datasets = layouts.find(kind, DataPaths(Path(place)), split)
    assert datasets is not None
    return datasets[0]


def all_bytes(dataset: Dataset) -> list[bytes]:
    assert isinstance(dataset, shards.OfSamples)
    samples = dataset.samples
    for index in range(len(samples)):
        samples.ahead(index)
    return [part for index in range(len(samples)) for part in samples.read(index)]


# ---- faults: each answers some requests wrongly, in turn


def drops(request: Any) -> bool:
    """No answer: the connection is closed."""
    request.close_connection = True
    return True


def breaks_off(request: Any) -> bool:
    """Half of what was promised."""
    request.send_response(206)
    request.send_header("Content-Length", "100000")
    request.end_headers()
    request.wfile.write(b"x" * 100)
    return drops(request)


def is_short(request: Any) -> bool:
    """A whole answer, of fewer bytes than were asked for."""
    request.send_response(206)
    request.send_header("Content-Length", "10")
    request.end_headers()
    request.wfile.write(b"x" * 10 if request.command == "GET" else b"")
    return True


def is_busy(request: Any) -> bool:
    request.send_error(503)
    return True


def asks_for_patience(request: Any) -> bool:
    request.send_error(429)
    return True


def at_first(fault: Fault) -> Fault:
    """Every request fails three times before it is answered; what tells a lie does so where a range is asked for."""
    count = Counter[str]()

    def answer(request: Any) -> bool:
        key = f"{request.command} {request.path} {request.headers.get('Range')}"
        count[key] += 1
        may = fault not in (breaks_off, is_short) or "Range" in request.headers
        return may and count[key] <= 3 and fault(request)

    return answer


# ---- what is read


def test_shards_at_an_address_are_those_on_the_disk(served: Served, pairs: Path, tiny_pairs: Path) -> None:
    ours, theirs = found(served.address), found(pairs)
    assert [*map(ours.name, range(6))] == [*map(theirs.name, range(6))]
    assert all_bytes(ours) == [file.read_bytes() for file in sorted((tiny_pairs / "train").iterdir())]
    assert len(found(served.address, split="val")) == 2
    assert layouts.find(DataKind.PAIRED, DataPaths(Path(served.address)), "test") is None
    numbered = found(f"{served.address}/train/{{00000..00001}}.tar")
    assert [*map(numbered.name, range(6))] == [*map(ours.name, range(6))]

    def loader(dataset: Dataset) -> TrainLoader:
        cached = CachedDataset(dataset, Size.square(32), exact=False)
        cached.check(2)
        return TrainLoader([cached], size=Size.square(24), batch_size=2, flip=True, seed=0, direction="AtoB")

    batches = [loader(one).stream(2, 9, torch.device("cpu"), workers) for one, workers in ((ours, 2), (theirs, 0))]
    for a, b in zip(*batches, strict=True):
        assert torch.equal(a["x"], b["x"])
        assert torch.equal(a["y"], b["y"])


def test_two_sets_at_addresses(benchmark: ModuleType, tiny_photos: Path, tmp_path: Path) -> None:
    pack(tiny_photos / "train", out=tmp_path / "a", shards=2, console=Console(quiet=True))
    pack(tiny_photos / "val", out=tmp_path / "b", shards=1, console=Console(quiet=True))
    served = Served(benchmark, tmp_path)
    a, b = (Path(f"{served.address}/{side}") for side in "ab")
    sets = layouts.find(DataKind.UNPAIRED, DataPaths(a, b), "train")
    assert sets is not None
    assert [len(one) for one in sets] == [7, 3]
    with pytest.raises(ValueError, match=r"--data-a and --data-b"):
        found(a, DataKind.UNPAIRED)
    served.close()


class Bucket:
    """A folder as s3fs shows a bucket: names without the scheme, and without a slash at the end of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, name: str) -> Path:
        return self.folder / name.removeprefix("s3://bucket").strip("/")

    def ls(self, name: str, detail: bool) -> list[str]:
        return [f"bucket/{one.relative_to(self.folder).as_posix()}" for one in self._path(name).iterdir()]

    def info(self, name: str) -> dict[str, int]:
        return {"size": self._path(name).stat().st_size}

    def cat_file(self, name: str, start: int = 0, end: int | None = None) -> bytes:
        return self._path(name).read_bytes()[start:end]


def test_shards_in_a_bucket(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_of_scheme", {"s3": Bucket(pairs)}.__getitem__)
    wanted = all_bytes(found(pairs))
    assert all_bytes(found("s3://bucket")) == all_bytes(found(Path("s3://bucket/train"))) == wanted
    (pairs / "val/00000.idx").unlink()
    assert len(found("s3://bucket", split="val")) == 2


def test_a_bucket_without_keys_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoCredentialsError(Exception):
        """botocore's."""

    class Locked:
        def ls(self, name: str, detail: bool) -> list[str]:
            raise NoCredentialsError("Unable to locate credentials")

    monkeypatch.setattr(remote, "_of_scheme", {"s3": Locked()}.__getitem__)
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("it was asked again"))
    with pytest.raises(ValueError, match=r"s3://bucket: cannot be read \(Unable to .*FSSPEC_S3_ANON=true\)"):
        found("s3://bucket")


def test_an_index_is_made_where_the_server_has_none(
    served: Served, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = all_bytes(found(pairs))
    for index in pairs.rglob("*.idx"):
        index.unlink()
    shards._open.cache_clear()
    assert all_bytes(found(served.address)) == wanted
    shards._open.cache_clear()
    monkeypatch.setattr(shards, "_scan", lambda *_: pytest.fail("read once more"))
    assert all_bytes(found(served.address)) == wanted


def test_samples_are_asked_for_ahead_of_time(benchmark: ModuleType, pairs: Path) -> None:
    wait = threading.Barrier(6, timeout=10)  # six requests at one time, or an error
    served = Served(benchmark, pairs)
    dataset = found(served.address)
    served.fault = lambda _: wait.wait() < 0
    cached = CachedDataset(dataset, Size.square(32), exact=False)
    loader = TrainLoader([cached], size=Size.square(24), batch_size=1, flip=True, seed=0, direction="AtoB")
    assert len([*loader.stream(0, 6, torch.device("cpu"), 1)]) == 6
    served.close()


def kept_after_a_while(cache: Path, wanted: Callable[[set[bytes]], bool]) -> list[Path]:
    """The shards in the cache, as soon as they are those that are wanted, and a little later."""
    for _ in range(500):
        kept = [path for path in cache.glob("shards/*.tar") if not path.name.startswith(".")]
        if wanted({path.read_bytes() for path in kept}) and shard_cache._fetcher().queue.empty():
            break
        time.sleep(0.02)
    time.sleep(0.1)
    return kept


def test_whole_shards_are_kept_up_to_a_limit(
    served: Served, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("DIPTYCH_CACHE", str(cache))
    wanted, size = all_bytes(found(pairs)), (pairs / "train/00000.tar").stat().st_size
    dataset = found(served.address)
    assert all_bytes(dataset) == wanted
    assert not (cache / "shards").exists()

    monkeypatch.setenv("DIPTYCH_SHARDS_GIB", str(2.5 * size / 2**30))
    (cache / "shards").mkdir(parents=True)
    (cache / "shards/old.tar").write_bytes(bytes(size))
    assert all_bytes(dataset) == wanted
    whole = {path.read_bytes() for path in pairs.glob("train/*.tar")}
    kept = kept_after_a_while(cache, whole.__eq__)
    assert {path.read_bytes() for path in kept} == whole
    served.fault = drops
    assert all_bytes(dataset) == wanted
    served.fault = lambda _: False
    kept[0].unlink()
    assert all_bytes(dataset) == wanted, "any file of the cache may be deleted at any time"

    shard_cache._fetcher.cache_clear()
    for path in kept[1:]:
        path.unlink()
    monkeypatch.setenv("DIPTYCH_SHARDS_GIB", str(1.5 * size / 2**30))
    assert all_bytes(dataset) == wanted
    assert len(kept_after_a_while(cache, lambda found: len(found) == 1)) == 1
    assert len([*cache.glob("shards/*.tar")]) == 1
    monkeypatch.setenv("DIPTYCH_SHARDS_GIB", "many")
    with pytest.raises(ValueError, match=r"DIPTYCH_SHARDS_GIB=many: a number of GiB"):
        all_bytes(dataset)


# ---- faults


@pytest.mark.parametrize("fault", [drops, breaks_off, is_short, is_busy, asks_for_patience])
def test_every_byte_comes_however_often_the_server_fails(served: Served, pairs: Path, fault: Fault) -> None:
    wanted = all_bytes(found(pairs))
    served.fault = at_first(fault)
    assert all_bytes(found(served.address)) == wanted
    assert max(served.asked.values()) > 3


def test_a_server_without_ranges_is_named(served: Served) -> None:
    def whole(request: Any) -> bool:
        del request.headers["Range"]
        return False

    dataset = found(served.address, DataKind.IMAGES)
    served.fault = whole
    with pytest.raises(UnreachableError, match=r"00000\.tar: cannot be read \(the server sends .* ranges? of bytes\)"):
        dataset.load(0)


def test_a_server_that_gives_another_file_is_named(served: Served, pairs: Path) -> None:
    dataset = found(served.address, DataKind.IMAGES)
    tar = pairs / "train/00000.tar"
    tar.write_bytes(bytes(len(tar.read_bytes())))
    with pytest.raises(ValueError, match=r"does not lie where the index says") as caught:
        dataset.load(0)
    assert not isinstance(caught.value, UnreachableError)
    tar.write_bytes(b"")
    with pytest.raises(UnreachableError, match=r"416"):
        dataset.load(1)
    shards._open.cache_clear()
    with pytest.raises(ValueError, match=r"00000\.idx: does not fit 00000\.tar, which has 0 bytes"):
        found(served.address)


def test_what_is_not_there_is_named_at_once(served: Served, pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreachableError, match=r"none: cannot be read \(no such file"):
        found(f"{served.address}/none")
    (pairs / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: no tar files found, nor in train below.*000\.\.099"):
        found(f"{served.address}/empty")
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    remote._of_scheme.cache_clear()
    with pytest.raises(ValueError, match=r"https: addresses need fsspec and aiohttp; install them: pip install"):
        found("https://127.0.0.1/shards")
    remote._of_scheme.cache_clear()


def test_a_server_that_is_gone_is_asked_a_while_and_named(served: Served) -> None:
    dataset = found(served.address, DataKind.IMAGES)
    served.fault = drops
    for index in range(6):
        dataset.ahead(index)
    for index in range(6):
        with pytest.raises(UnreachableError, match=r"cannot be read"):
            dataset.load(index)


# ---- training


def test_a_training_whose_server_goes_away_ends_with_a_checkpoint_and_goes_on(
    served: Served, pairs: Path, train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_tiny(tmp_path / "whole", data=pairs, direction="BtoA", steps=14, memory_gib=0, workers=1).path
    given: dict[str, Any] = {
        "data": served.address,
        "direction": "BtoA",
        "steps": 14,
        "memory_gib": 0,
        "workers": 1,
        "checkpoint_every": 1000,
    }
    sample = TrainLoader.sample

    def goes_away(loader: TrainLoader, number: int) -> dict[str, torch.Tensor]:
        if number == 8:
            served.fault = is_busy
        return sample(loader, number)

    monkeypatch.setattr(TrainLoader, "sample", goes_away)
    with pytest.raises(
        UnreachableError, match=r"503.*stopped at the checkpoint of step \d+; the same command"
    ) as caught:
        train_tiny(tmp_path / "run", **given)
    step = int(str(caught.value).partition("of step ")[2].partition(";")[0])
    assert 6 <= step < 14
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir() if f"{step}" in path.name]
    monkeypatch.setattr(TrainLoader, "sample", sample)
    served.fault = lambda _: False
    run = train_tiny(tmp_path / "run", **given)
    assert (run.path / "model/model.safetensors").read_bytes() == (whole / "model/model.safetensors").read_bytes()

    assert f'data = "{served.address}"' in (run.path / "settings.toml").read_text()
    longer = continue_training(run.path, steps=15, console=Console(quiet=True))
    assert longer.data_paths.arguments == f"--data {served.address}"


def test_the_command_line_ends_with_one_line(served: Served, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    served.fault = is_busy
    assert command(["train", "pix2pix", "--data", served.address, "--out", str(tmp_path / "run")]) == 2
    said = capfd.readouterr().err.strip()
    assert said.startswith(f"diptych: {served.address}: cannot be read after 7 tries (503")
    assert "\n" not in said
    assert not (tmp_path / "run").exists()


def test_inspect_knows_addresses(served: Served) -> None:
    findings = inspect(served.address)
    assert (findings.methods, findings.samples, findings.unreadable) == (["pix2pix"], 8, [])
    assert findings.command is not None
    assert f"--data {served.address} " in findings.command
