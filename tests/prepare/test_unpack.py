"""What comes out of an archive: all of it or nothing, and never anything outside the folder."""

import gzip
import io
import random
import stat
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.prepare import unpack as unpack_file
from diptych.prepare.unpack import unpack, workplace

Pack = Callable[[Mapping[str, bytes]], bytes]

PICTURES = {
    f"set/{split}/{number}.jpg": random.Random(number).randbytes(3000)
    for split in ("train", "val")
    for number in range(5)
}


def pack_zip(files: Mapping[str, bytes]) -> bytes:
    data = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(data, "w") as archive:  # a name may be there twice
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return data.getvalue()


def pack_tar(files: Mapping[str, bytes]) -> bytes:
    return pack_members([(member(name), content) for name, content in files.items()])


def pack_tar_gz(files: Mapping[str, bytes]) -> bytes:
    return gzip.compress(pack_tar(files))


def pack_members(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for info, content in members:
            if info.isreg() or content:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


def member(name: str, **more: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in more.items():
        setattr(info, key, value)
    return info


PACKERS: list[Pack] = [pack_zip, pack_tar, pack_tar_gz]
every_kind = pytest.mark.parametrize("pack", PACKERS)


def out_of(data: bytes, folder: Path, **more: Any) -> dict[str, bytes]:
    """What `unpack` makes of an archive. Whatever it does, nothing may appear outside the new folder."""
    archive, out = folder / "archive", folder / "a/a/a/box/out"
    archive.write_bytes(data)
    out.parent.mkdir(parents=True)
    before = {*folder.rglob("*")}
    try:
        count = unpack(archive, out, called="http://host/archive", **more)
    finally:
        assert {path for path in folder.rglob("*") if not path.is_relative_to(out)} == before
        assert archive.read_bytes() == data
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert len(found) == count
    return found


def refused(data: bytes, folder: Path, because: str, **more: Any) -> str:
    """The line that says why there is no folder."""
    with pytest.raises(ValueError, match=because) as problem:
        out_of(data, folder, **more)
    assert not (folder / "a/a/a/box/out").exists()
    line = str(problem.value)
    assert line.startswith("http://host/archive: ")
    assert "\n" not in line
    return line


@every_kind
def test_the_folder_around_everything_is_taken_off(tmp_path: Path, pack: Pack) -> None:
    assert out_of(pack(PICTURES), tmp_path) == {name.removeprefix("set/"): data for name, data in PICTURES.items()}


@every_kind
def test_several_folders_and_files_stay_as_they_are(tmp_path: Path, pack: Pack) -> None:
    files = {"./train/1.jpg": b"1", "val/1.jpg": b"2", "read me, Zoë.txt": b"3"}
    assert out_of(pack(files), tmp_path) == {"train/1.jpg": b"1", "val/1.jpg": b"2", "read me, Zoë.txt": b"3"}


@every_kind
def test_what_macos_adds_is_passed_over(tmp_path: Path, pack: Pack) -> None:
    added = {"__MACOSX/set/._1.jpg": b"x", ".DS_Store": b"x", "set/.DS_Store": b"x"}
    assert out_of(pack({"set/1.jpg": b"1"} | added), tmp_path) == {"1.jpg": b"1"}


@every_kind
def test_an_empty_folder_may_be_there_and_a_full_one_stays(tmp_path: Path, pack: Pack) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(pack(PICTURES))
    (tmp_path / "out").mkdir()
    assert unpack(archive, tmp_path / "out", called="it") == 10
    with pytest.raises(OSError, match="not empty"):
        unpack(archive, tmp_path / "out", called="it")
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 10


def test_what_a_killed_process_left_is_not_taken_for_a_part(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(pack_zip(PICTURES))
    workplace(tmp_path / "out").claim("")
    (tmp_path / ".partial-out/content/train").mkdir(parents=True)
    (tmp_path / ".partial-out/content/train/half.jpg").touch()
    unpack(tmp_path / "archive", tmp_path / "out", called="it")
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "out"}
    assert not (tmp_path / "out/train/half.jpg").exists()


# ---- names that lead elsewhere


HOSTILE_NAMES = {
    "/etc/passwd": "absolute path",
    "../up.jpg": "leads upwards",
    "set/../../up.jpg": "leads upwards",
    "set/..": "leads upwards",
    "..\\up.jpg": "path of Windows",
    "C:/up.jpg": "path of Windows",
    "set/c:up.jpg": "path of Windows",
    "\\\\host\\share": "path of Windows",
    "a" * 256: "no name for a file",
    "a/" * 600 + "a": "no name for a file",
}


@every_kind
@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=lambda name: name[:20])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, pack: Pack, name: str) -> None:
    assert repr(name[:200]) in refused(pack({"set/1.jpg": b"1", name: b"2"}), tmp_path, HOSTILE_NAMES[name])


def test_a_name_that_ends_in_its_middle_is_refused(tmp_path: Path) -> None:
    data = pack_zip({"set/1.jpg%exe": b"1"}).replace(b"jpg%exe", b"jpg\0exe")
    refused(data, tmp_path, "no name for a file")


@every_kind
@pytest.mark.parametrize(
    "names", [("a.jpg", "A.JPG"), ("\u00e9.jpg", "e\u0301.jpg"), ("a", "a/b.jpg"), ("a/b.jpg", "a"), ("A", "a/b.jpg")]
)
def test_names_that_some_systems_take_for_the_same_are_refused(
    tmp_path: Path, pack: Pack, names: tuple[str, str]
) -> None:
    assert repr(names[1]) in refused(
        pack({"x.jpg": b"0", names[0]: b"1", names[1]: b"2"}), tmp_path, "has the name of another"
    )


@every_kind
def test_a_name_twice_is_refused(tmp_path: Path, pack: Pack) -> None:
    refused(pack({"1.jpg": b"1", "./1.jpg": b"2"}), tmp_path, r"'./1.jpg' has the name of another")


PIECES = st.sampled_from(
    ["..", ".", "", "a", "A", "b", "/", "\\", "C:", "\0", "\n", "\x1b[2J", "é", "~", "bystander", "box", "out"]
)
NAMES = st.lists(PIECES | st.text(max_size=3), min_size=1, max_size=5).map("/".join) | st.text(min_size=1, max_size=8)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.dictionaries(NAMES, st.binary(max_size=4), min_size=1, max_size=4), st.sampled_from(PACKERS))
def test_whatever_the_names_nothing_outside_is_touched(files: dict[str, bytes], pack: Pack) -> None:
    with tempfile.TemporaryDirectory() as folder, suppress(ValueError):
        out_of(pack(files), Path(folder))


# ---- members that are no files


@pytest.mark.parametrize(
    "odd",
    [
        member("odd", type=tarfile.SYMTYPE, linkname="../../bystander"),
        member("odd", type=tarfile.SYMTYPE, linkname="1.jpg"),
        member("odd", type=tarfile.LNKTYPE, linkname="1.jpg"),
        member("odd", type=tarfile.FIFOTYPE),
        member("odd", type=tarfile.CHRTYPE),
        member("odd", type=tarfile.BLKTYPE),
        member("odd", type=tarfile.GNUTYPE_SPARSE),
        member("odd", type=b"?"),
    ],
    ids=lambda odd: str(odd.type),
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, odd: tarfile.TarInfo) -> None:
    refused(pack_members([(member("1.jpg"), b"1"), (odd, b"")]), tmp_path, "'odd' is a link, a device")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, kind: int) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        info = zipfile.ZipInfo("odd")
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, "../../bystander")
    refused(data.getvalue(), tmp_path, "'odd' is a link or a device")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    data = bytearray(pack_zip({"1.jpg": b"1"}))
    for header, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(header) + offset] |= 1
    refused(bytes(data), tmp_path, r"'1.jpg' is encrypted")


def test_nothing_that_comes_out_can_be_run(tmp_path: Path) -> None:
    in_tar = pack_members([(member("run", mode=0o6777), b"#!"), (member("d", type=tarfile.DIRTYPE, mode=0o1000), b"")])
    out_of(in_tar, tmp_path)
    assert stat.S_IMODE((tmp_path / "a/a/a/box/out/run").stat().st_mode) & 0o7111 == 0
    assert stat.S_IMODE((tmp_path / "a/a/a/box/out/d").stat().st_mode) & 0o700 == 0o700


# ---- too much


@every_kind
def test_more_than_the_limit_is_refused(tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack_file, "HARMLESS", 100_000)
    data = pack({"1.jpg": bytes(10**7)})
    more = {"limit": 10**6} if pack is pack_tar else {}  # which is as large as what is in it
    refused(data, tmp_path, "holds more than .* bytes", **more)


def test_the_limit_is_for_all_files_together(tmp_path: Path) -> None:
    refused(pack_zip(PICTURES), tmp_path, "holds more than 10000 bytes", limit=10_000)


def test_a_zip_that_lies_about_its_sizes_is_refused(tmp_path: Path) -> None:
    honest = pack_zip({"1.jpg": bytes(10**6)})
    refused(
        honest.replace((10**6).to_bytes(4, "little"), (10).to_bytes(4, "little")), tmp_path, "is damaged", limit=1000
    )


@every_kind
def test_too_many_members_are_refused(tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack_file, "MEMBERS", 9)
    refused(pack(PICTURES), tmp_path, "holds more than 9 files")


def test_a_remark_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    data = pack_members([(member("1.jpg", pax_headers={"comment": "x" * 2 * 10**6}), b"1")])
    refused(data, tmp_path, "has a remark of")


# ---- damage


@every_kind
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.5, 0.7, 0.99])
def test_an_archive_cut_short_is_named(tmp_path: Path, pack: Pack, share: float) -> None:
    data = pack(PICTURES)
    end = len(data.rstrip(b"\0"))  # a tar may end in nothing
    refused(data[: int(share * end)], tmp_path, "damaged, cut short, or neither")


def test_a_tar_cut_between_two_files_is_named(tmp_path: Path) -> None:
    data = pack_tar(PICTURES)
    start_of_third = data.index(b"set/train/2.jpg")
    refused(data[:start_of_third], tmp_path, "cut short")


def test_a_tar_with_a_broken_header_does_not_pass_for_a_shorter_one(tmp_path: Path) -> None:
    data = bytearray(pack_tar(PICTURES))
    data[data.index(b"set/train/2.jpg")] ^= 1
    refused(bytes(data), tmp_path, "damaged")


def test_the_checksum_at_the_end_of_a_tar_gz_counts(tmp_path: Path) -> None:
    data = bytearray(pack_tar_gz(PICTURES))
    data[-8] ^= 1
    refused(bytes(data), tmp_path, "damaged")


@pytest.mark.parametrize(
    "data", [b"", b"PK", b"\x1f\x8b", b"hello" * 999, gzip.compress(b"hello", mtime=0), bytes(10240)]
)
def test_what_is_no_archive_is_named(tmp_path: Path, data: bytes) -> None:
    refused(data, tmp_path, "neither zip, tar nor tar.gz|holds no files")


def test_an_archive_of_folders_only_is_refused(tmp_path: Path) -> None:
    refused(pack_members([(member("set", type=tarfile.DIRTYPE), b"")]), tmp_path, "holds no files")


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.sampled_from(PACKERS), st.data())
def test_damage_is_found_or_harmless(pack: Pack, data: st.DataObject) -> None:
    damaged = bytearray(pack(PICTURES))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = out_of(bytes(damaged), Path(folder))
        except ValueError:
            return
    assert len(found) == len(PICTURES)  # a plain tar has no checksum of its files' content


def test_a_failure_of_the_disk_is_not_called_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unpack_file, "_write", fail)
    with pytest.raises(OSError, match="No space left"):
        out_of(pack_zip(PICTURES), tmp_path)
