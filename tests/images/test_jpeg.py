"""JPEGs: what the header tells, camera files through the fast decoder, and decoding at a part of the size."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps

from diptych.images import files, formats, geometry, jpeg, remarks
from diptych.images.files import ORIENTATION, Array, decode_bytes

READERS = ("with simplejpeg", "without simplejpeg")


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to read a JPEG: the extra is optional."""
    if request.param == READERS[0]:
        pytest.importorskip("simplejpeg")
    else:
        monkeypatch.setattr(files, "simplejpeg", None)
    return str(request.param)


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    """Soft colours with fine detail, which has no mirror axis."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, orientation: int | None = None, **options: Any) -> bytes:
    if orientation is not None:
        options["exif"] = exif = Image.Exif()
        exif[ORIENTATION] = orientation
    image.save(file := io.BytesIO(), "JPEG", **options)
    return file.getvalue()


def upright(data: bytes) -> Array:
    """What Pillow makes of it, `[H, W, C]`."""
    levels = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    return levels.reshape(*levels.shape[:2], -1)


def forbid_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_decode_with_pillow", lambda *_: pytest.fail("Pillow decoded it"))


# ---- what a camera writes


@pytest.mark.parametrize("orientation", [0, *range(1, 9), 9])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_camera_file_has_pillows_levels_without_pillows_decoder(
    monkeypatch: pytest.MonkeyPatch, orientation: int, mode: str, progressive: bool
) -> None:
    pytest.importorskip("simplejpeg")
    data = encoded(picture(21, 34).convert(mode), orientation, progressive=progressive)
    want = upright(data)
    forbid_pillow(monkeypatch)
    pixels = decode_bytes(data, "x")
    np.testing.assert_array_equal(pixels.values, want)
    read = files.to_bytes(pixels, 3)  # torch takes no array that is turned by its strides alone
    np.testing.assert_array_equal(read.permute(1, 2, 0).numpy(), np.broadcast_to(want, read.permute(1, 2, 0).shape))


def test_damaged_exif_data_leave_the_picture_as_it_lies(reader: str) -> None:
    good = encoded(picture(21, 34), 6)
    damaged = good.replace(b"II*\x00", b"XX*\x00").replace(b"MM\x00*", b"XX\x00*")
    assert damaged != good
    np.testing.assert_array_equal(decode_bytes(damaged, "x").values, decode_bytes(encoded(picture(21, 34)), "x").values)


@pytest.mark.parametrize("marker", [b"\xff\xe1", b"\xff\xda"], ids=["before the metadata", "behind it"])
def test_stray_bytes_do_not_make_a_camera_file_unreadable(reader: str, marker: bytes) -> None:
    # simplejpeg refuses what libjpeg only warns of
    data = encoded(picture(21, 34), 6)
    place = data.index(marker)
    stray = data[:place] + b"\x00\x07" + data[place:]
    np.testing.assert_array_equal(decode_bytes(stray, "x").values, upright(data))


def test_a_profile_of_which_parts_are_missing_does_not_make_a_picture_unreadable(reader: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    whole = encoded(picture(40, 56), icc_profile=profile)
    count = whole.index(jpeg.PROFILE) + len(jpeg.PROFILE) + 1
    broken = whole[:count] + b"\3" + whole[count + 1 :]  # it is the first part of three
    np.testing.assert_array_equal(decode_bytes(broken, "x.jpg").values, upright(whole))


def test_the_turn_is_found_behind_padding(reader: str) -> None:
    data = encoded(picture(21, 34), 6)
    padded = data[:2] + b"\xff\xff" + data[2:]  # as many 0xFF as anybody likes may precede a marker
    np.testing.assert_array_equal(decode_bytes(padded, "x").values, upright(data))


def test_a_thumbnail_in_the_metadata_is_no_scan_of_the_picture() -> None:
    thumbnails = b"\xff\xe1" + (60_002).to_bytes(2, "big") + b"\xff\xda" * 30_000
    data = encoded(picture(32, 32))
    data = data[:2] + thumbnails * 4 + data[2:]
    formats.require_size(4000, 3000, formats.MAX_PIXELS, data)
    assert decode_bytes(data, "x").size == (32, 32)


def test_scans_are_counted_where_there_may_be_several() -> None:
    sequential, progressive = (encoded(picture(32, 32), progressive=kind) for kind in (False, True))
    assert jpeg.most_scans(sequential) == 1
    assert jpeg.most_scans(progressive) == progressive.count(b"\xff\xda") > 5
    # one component in the first scan of a sequential picture: the others need scans of their own
    scan = sequential.index(b"\xff\xda")
    apart = sequential[: scan + 4] + b"\x01" + sequential[scan + 5 :]
    assert jpeg.most_scans(apart * 3) == 3
    # and a header that is no header says nothing
    assert jpeg.most_scans(b"\xff\xd8junk" + sequential * 2) == 2


# ---- at a part of the size


@pytest.mark.parametrize(
    ("least", "times"), [((31, 1), 8), ((32, 48), 8), ((32, 49), 4), ((33, 1), 4), ((65, 1), 2), ((129, 1), 1)]
)
def test_no_side_is_smaller_than_asked_for(reader: str, least: tuple[int, int], times: int) -> None:
    pixels = decode_bytes(encoded(picture(256, 384)), "x", at_least=least)
    assert (pixels.size, pixels.reduced) == ((256 // times, 384 // times), times)
    assert pixels.file_size == (256, 384)


def test_a_turned_picture_is_asked_for_as_it_is_seen(reader: str) -> None:
    pixels = decode_bytes(encoded(picture(256, 384), 6), "x", at_least=(96, 33))
    assert (pixels.size, pixels.file_size) == ((96, 64), (384, 256))


def test_sides_that_are_no_multiples_are_decoded_whole(reader: str) -> None:
    for height, width, times in ((256, 383, 1), (254, 384, 2), (252, 388, 4)):
        assert decode_bytes(encoded(picture(height, width)), "x", at_least=(8, 8)).reduced == times


@pytest.mark.parametrize("orientation", [1, 5, 8])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": "4:2:2"}], ids=str)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pictures_are_the_same_without_simplejpeg(
    monkeypatch: pytest.MonkeyPatch, orientation: int, options: dict[str, Any], mode: str
) -> None:
    pytest.importorskip("simplejpeg")
    data = encoded(picture(128, 192).convert(mode), orientation, **options)
    for least in (16, 32, 64):
        with monkeypatch.context() as patch:
            forbid_pillow(patch)
            fast = decode_bytes(data, "x", at_least=(least, least))
        with monkeypatch.context() as patch:
            patch.setattr(files, "simplejpeg", None)
            slow = decode_bytes(data, "x", at_least=(least, least))
        assert fast.reduced == slow.reduced == 128 // least
        np.testing.assert_array_equal(fast.values, slow.values)


@pytest.mark.parametrize("times", [2, 4, 8])
def test_a_soft_picture_is_scaled_to_the_same_levels(reader: str, times: int) -> None:
    data = encoded(picture(512, 768), 6, quality=95)

    def scaled(at_least: tuple[int, int] | None) -> torch.Tensor:
        return geometry.resize(files.to_bytes(decode_bytes(data, "x", at_least=at_least), 3), 30, 30).float()

    error = (scaled((512 // times, 512 // times)) - scaled(None)).abs()
    assert error.max() <= 3
    assert error.mean() <= 0.5


def test_other_files_are_never_reduced() -> None:
    image = picture(64, 64)
    for kind in ("PNG", "WEBP", "TIFF", "BMP"):
        image.save(file := io.BytesIO(), kind)
        assert decode_bytes(file.getvalue(), "x", at_least=(8, 8)).size == (64, 64)


def test_the_size_in_the_file_is_limited_and_not_the_reduced_one(reader: str) -> None:
    with pytest.raises(ValueError, match="64x64 pixels, and at most 1,000 "):
        decode_bytes(encoded(picture(64, 64)), "x", most=1000, at_least=(8, 8))


# ---- cut off


WAYS: list[dict[str, Any]] = [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": "4:2:2"}]


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("options", WAYS, ids=str)
@pytest.mark.parametrize("orientation", [None, 6])
def test_without_its_last_bytes_it_is_read_and_that_is_said(
    reader: str, mode: str, options: dict[str, Any], orientation: int | None
) -> None:
    data = encoded(picture(200, 304).convert(mode), orientation, **options)
    whole = decode_bytes(data, "x").values
    for lost in (1, 2, 3, 20, 100):
        for tail in (b"", bytes(30)):  # zeros: blocks of the disk that were never written
            with remarks.collected() as said:
                values = decode_bytes(data[:-lost] + tail, "x", at_least=(8, 8)).values
            assert said == [remarks.Remark("x", remarks.CUT_OFF)]
            assert values.shape == whole.shape
            assert (np.abs(values.astype(int) - whole).max(axis=-1) > 24).mean() <= files.MOST_MISSING + 0.02


@pytest.mark.parametrize("options", WAYS, ids=str)
def test_cut_anywhere_it_is_refused_or_most_of_it_is_there(reader: str, options: dict[str, Any]) -> None:
    data = encoded(picture(96, 128), quality=90, **options)
    whole = decode_bytes(data, "x").values.astype(int)
    seen = {"read": 0, "refused": 0}
    for length in range(25, len(data), 23):
        try:
            with remarks.collected() as said:
                values = decode_bytes(data[:length], "x").values
        except ValueError as error:
            assert "damaged or only half written" in str(error)  # noqa: PT017
            seen["refused"] += 1
        else:
            assert [text for _, text, _ in said] == [remarks.CUT_OFF]
            assert (np.abs(values - whole).max(axis=-1) > 24).mean() <= files.MOST_MISSING + 0.02
            seen["read"] += 1
    assert min(seen.values()) > 3


def test_half_a_picture_is_refused_though_its_other_half_is_zeros(reader: str) -> None:
    data = encoded(picture(96, 128))
    with pytest.raises(ValueError, match="x: damaged or only half written"):
        decode_bytes(data[: len(data) // 2] + bytes(len(data) // 2), "x")
