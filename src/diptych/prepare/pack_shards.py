"""A folder of pictures -> tar files of thousands, with the files as they are, which train as the folder does."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from diptych.data import layouts, shards
from diptych.data.datasets import Dataset, FileDataset, FilePairs, LabelledDataset, SideBySide
from diptych.data.paths import SPLIT_FOLDERS, DataPaths, Split
from diptych.images.files import SUFFIXES
from diptych.kinds import DataKind
from diptych.prepare.catalogue import megabytes
from diptych.prepare.folders import KEPT, claim, locked, say_left_out
from diptych.progress import counting, say
from diptych.wording import counted

Members = Sequence[tuple[str, Path | bytes]]
"""What a sample is made of: names in the tar file, and the files or bytes that go there."""


def pack_shards(folder: Path, out: Path, count: int, console: Console) -> None:
    """Packs the samples of a folder into `count` tar files in `out`, in the order of their names, with an index beside each.

    Pairs become `NAME.a.jpg` + `NAME.b.jpg`, pictures in folders of classes `NAME.jpg` + `NAME.cls`, others `NAME.jpg`.
    Train and val go to folders of their own. Each file appears whole or not at all; the same call goes on with what was
    stopped. Raises a `ValueError` for pictures that cannot be packed, or that have changed since a file was.
    """
    found = _find(folder)
    samples = {split: _samples(dataset) for split, dataset in found.items()}
    if not 0 < count <= len(samples["train"]):
        raise ValueError(
            f"--shards {count}: {folder} has {counted(len(samples['train']), 'sample')} to train on; a number of "
            "files from 1 to that is expected"
        )
    say_left_out([folder], console)
    claim(out, "pack", {"shards": count}, [folder])
    with locked(out, "packing"):
        for split, of_split in samples.items():
            parts = max(round(count * len(of_split) / len(samples["train"])), 1)
            below = out / split if len(samples) > 1 else out
            below.mkdir(exist_ok=True)
            size = _write(below, of_split, parts, console)
            say(console, f"{below}: {_described(found[split])} in {counted(parts, 'tar file')}, {megabytes(size)}")


def _find(folder: Path) -> Mapping[Split, Dataset]:
    """The pairs, labelled or single pictures of each split."""
    paths = DataPaths(folder)
    if sides := _of_kind(DataKind.PAIRED, paths, FilePairs | SideBySide):
        return sides
    unpaired = layouts.matches(DataKind.UNPAIRED, paths)
    if unpaired and isinstance(unpaired[0].layout, layouts.NamedSides):
        raise ValueError(
            f"{folder}: holds A and B without partners; pack each folder by itself, and train with --data-a and --data-b"
        )
    if classes := _of_kind(DataKind.LABELLED, paths, LabelledDataset):
        return classes
    if images := _of_kind(DataKind.IMAGES, paths, FileDataset):
        return images
    layouts.find(DataKind.IMAGES, paths, "train")  # says what is wrong
    raise ValueError(f"{folder}: holds no files of pictures, and other layouts are not packed into shards")


def _of_kind(kind: DataKind, paths: DataPaths, types: object) -> dict[Split, Dataset]:
    with suppress(ValueError):
        found = {split: layouts.find(kind, paths, split) for split in SPLIT_FOLDERS}
        datasets = {split: of_split[0] for split, of_split in found.items() if of_split}
        if all(isinstance(dataset, types) for dataset in datasets.values()):  # type: ignore[arg-type]
            return datasets
    return {}


def _described(dataset: Dataset) -> str:
    """What was found, in a few words."""
    if isinstance(dataset, LabelledDataset):
        return f"{counted(len(dataset), 'picture')} of {len(dataset.classes)} classes"
    side_by_side = "side-by-side " if isinstance(dataset, SideBySide) else ""
    return counted(len(dataset), f"{side_by_side}pair" if len(dataset.specs) > 1 else "picture")


def _samples(dataset: Dataset) -> list[Members]:
    """The members of each sample; a `ValueError` for two that would have one name."""
    samples, seen = list[Members](), dict[str, str]()
    for index in range(len(dataset)):
        before, slash, own = dataset.name(index).rpartition("/")
        key = before + slash + own.replace(".", "_")  # what follows a dot tells the members of a sample apart
        if key in seen:
            raise ValueError(f"{dataset.files(index)}: would be {key} in a shard, as {seen[key]}; rename one")
        seen[key] = dataset.files(index)
        samples.append(_members(dataset, index, key))
    return samples


def _members(dataset: Dataset, index: int, key: str) -> Members:
    files = dataset.sources(index)
    sides = ("",) if len(files) == 1 else (".a", ".b")
    for file in files:
        if file.suffix.lower() not in SUFFIXES:
            raise ValueError(f"{file}: is no picture that a shard holds ({', '.join(SUFFIXES)}); save it as one")
    members: list[tuple[str, Path | bytes]] = [
        (f"{key}{side}{file.suffix}", file) for side, file in zip(sides, files, strict=True)
    ]
    if isinstance(dataset, LabelledDataset):
        members.append((f"{key}.{shards.CLASS}", dataset.names[index].encode()))
    return members


def _write(folder: Path, samples: Sequence[Members], parts: int, console: Console) -> int:
    """Writes the files that are missing; returns the bytes of all."""
    size = 0
    with counting(console, f"packing {folder.name}") as progress:
        for number in range(parts):
            own = samples[number * len(samples) // parts : (number + 1) * len(samples) // parts]
            tar = folder / f"{number:05d}{shards.TAR}"
            try:
                if tar.exists():
                    _require_same(tar, own)
                else:
                    shards.write(tar, _read(own))
            except KeyboardInterrupt:
                raise KeyboardInterrupt(KEPT) from None
            except OSError as error:
                raise ValueError(
                    f"{error.filename or tar}: {error.strerror or error}; mend that, and the same command goes on"
                ) from error
            size += tar.stat().st_size
            progress(number + 1, parts)
    return size


def _read(samples: Sequence[Members]) -> Iterator[tuple[str, bytes]]:
    for members in samples:
        for name, content in members:
            yield name, content if isinstance(content, bytes) else content.read_bytes()


def _require_same(tar: Path, samples: Sequence[Members]) -> None:
    """Raises a `ValueError` for a file of an earlier call whose pictures were others."""
    index = shards.read_index(str(tar), tar.stat().st_size)
    wanted = [
        (name, content.stat().st_size) for members in samples for name, content in members if isinstance(content, Path)
    ]
    if [(name, size) for name, _, size in index.members] != wanted:
        raise ValueError(f"{tar}: its pictures have changed since it was packed; choose another --out")
