"""Colours of files in sRGB, and back. The truth is LittleCMS called by itself, and numbers worked out by hand."""

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from diptych.images import files, profiles
from diptych.images.files import Array

HEIGHT, WIDTH = 8, 12


def noise(channels: int, bits: int = 8, seed: int = 0) -> Array:
    kind = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 2**bits, (HEIGHT, WIDTH, channels)).astype(kind)


def srgb() -> bytes:
    return bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


def encoded(image: Image.Image, format: str, profile: bytes) -> bytes:
    file = io.BytesIO()
    image.save(file, format, icc_profile=profile, **({"lossless": True} if format == "WEBP" else {}))
    return file.getvalue()


def test_a_wide_red_by_hand(display_p3: bytes) -> None:
    """The truth is that of the two standards: no profile is in it."""
    seen = profiles.to_srgb(np.array([[[200, 100, 100]]], np.uint8), display_p3)
    assert np.abs(seen.ravel().astype(int) - _p3_in_srgb(np.array([200, 100, 100]) / 255) * 255).max() <= 1


def _p3_in_srgb(values: Array) -> Array:
    """From CSS Color 4: both are under D65, with one curve."""
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    matrix = [[1.2249402, -0.2249402, 0], [-0.0420570, 1.0420570, 0], [-0.0196376, -0.0786361, 1.0982736]]
    light = np.clip(light @ np.array(matrix).T, 0, 1)
    return np.asarray(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))


def test_16_bits_have_the_colours_of_8(display_p3: bytes) -> None:
    values = noise(3, bits=16)
    seen = profiles.to_srgb(values, display_p3)
    assert seen.dtype == np.uint16
    assert np.abs(seen / 65535 - _p3_in_srgb(values / 65535)).max() < 2e-3
    of_eight = profiles.to_srgb(values[..., :3].astype(np.uint16) // 257 * 257, display_p3)
    by_littlecms = profiles.to_srgb((values // 257).astype(np.uint8), display_p3)
    assert np.abs(of_eight / 257 - by_littlecms).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_colours_come_back(display_p3: bytes, bits: int) -> None:
    levels = 2**bits
    dull = noise(3, bits) // 4 + levels // 3  # colours that sRGB has too
    dull = dull.astype(noise(1, bits).dtype)
    there = profiles.to_srgb(dull, display_p3)
    assert (there != dull).any()
    back = profiles.from_srgb(there, display_p3)
    assert np.abs(back.astype(int) - dull).max() <= (2 if bits == 8 else 16)


@pytest.mark.parametrize("bits", [8, 16])
def test_grey(grey_profile: bytes, bits: int) -> None:
    values = noise(1, bits)
    full = 2**bits - 1
    light = (values / full) ** 2
    want = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    seen = profiles.to_srgb(values, grey_profile)
    assert seen.shape == values.shape
    assert np.abs(seen / full - want).max() < 0.006
    assert np.abs(profiles.from_srgb(seen, grey_profile).astype(int) - values).max() <= full * 0.012


def test_grey_in_a_profile_of_colours(display_p3: bytes) -> None:
    values = noise(1)
    np.testing.assert_allclose(profiles.to_srgb(values, display_p3), values, atol=1)  # its greys are those of sRGB


def test_a_fourth_channel_is_no_colour(display_p3: bytes) -> None:
    values = noise(4)
    seen = profiles.to_srgb(values, display_p3)
    np.testing.assert_array_equal(seen[..., 3], values[..., 3])
    np.testing.assert_array_equal(seen[..., :3], profiles.to_srgb(values[..., :3], display_p3))


def test_an_srgb_profile_changes_nothing() -> None:
    values = noise(3)
    assert profiles.to_srgb(values, srgb()) is values


def test_a_profile_that_does_not_fit_or_is_damaged_changes_nothing(
    display_p3: bytes, grey_profile: bytes, cmyk_profile: bytes
) -> None:
    values = noise(3)
    for profile in (grey_profile, cmyk_profile, display_p3[:200], b"", bytes(1000), display_p3[:128] + b"\xff" * 400):
        assert profiles.to_srgb(values, profile) is values
        assert profiles.from_srgb(values, profile) is values


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 400), change=st.integers(1, 255), bits=st.sampled_from([8, 16]), grey=st.booleans())
def test_no_profile_breaks_a_picture(
    display_p3: bytes, grey_profile: bytes, place: int, change: int, bits: int, grey: bool
) -> None:
    damaged = bytearray(grey_profile if grey else display_p3)
    damaged[place % len(damaged)] ^= change
    values = noise(1 if grey else 3, bits)
    seen = profiles.from_srgb(profiles.to_srgb(values, bytes(damaged)), bytes(damaged))
    assert (seen.shape, seen.dtype) == (values.shape, values.dtype)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_training_sees_srgb(display_p3: bytes, format: str) -> None:
    values = np.full((HEIGHT, WIDTH, 3), (200, 100, 100), np.uint8)
    pixels = files.decode_bytes(encoded(Image.fromarray(values), format, display_p3), "x")
    want = _p3_in_srgb(np.array([200, 100, 100]) / 255) * 255
    assert np.abs(pixels.values.astype(int) - want).max() <= 3


def test_cmyk_is_read_by_its_profile(cmyk_profile: bytes) -> None:
    image = Image.fromarray(noise(4), "CMYK")
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    own = ImageCms.ImageCmsProfile(io.BytesIO(cmyk_profile))
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    want = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), intent, "RGB", flags=flags)
    assert want is not None
    seen = files.decode_bytes(encoded(image, "TIFF", cmyk_profile), "x").values
    np.testing.assert_array_equal(seen, np.asarray(want))
    assert np.abs(seen.astype(int) - np.asarray(image.convert("RGB"))).max() > 30
