"""The map between levels and [-1, 1], for 8 and 16 bits and any number of channels."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diptych.images.spec import Array, Bits, ImageSpec, floats_to_channels, to_bits, to_channels, to_eight_bit, viewable

BITS = st.sampled_from([8, 16])
CHANNELS = st.integers(1, 9)


def noise(seed: int, channels: int, bits: int, height: int = 3, width: int = 5) -> Array:
    kind = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 2**bits, (height, width, channels)).astype(kind)


@given(bits=BITS, channels=CHANNELS, seed=st.integers(0, 999))
def test_levels_survive_the_way_there_and_back(bits: Bits, channels: int, seed: int) -> None:
    spec, values = ImageSpec(channels, bits), noise(seed, channels, bits)
    levels = spec.read(values)
    assert (levels.dtype, levels.shape) == (spec.dtype, (channels, 3, 5))
    floats = spec.to_float(levels)
    assert floats.dtype == torch.float32
    assert float(floats.abs().max()) <= 1
    back = spec.to_levels(floats)
    assert back.dtype == spec.dtype
    np.testing.assert_array_equal(back.permute(1, 2, 0).numpy(), values)
    np.testing.assert_array_equal(levels.permute(1, 2, 0).numpy(), values)


@pytest.mark.parametrize("bits", [8, 16])
def test_every_level_has_its_float(bits: Bits) -> None:
    spec = ImageSpec(1, bits)
    every = torch.arange(spec.full + 1)
    floats = spec.to_float(every.to(spec.dtype))
    assert (float(floats[0]), float(floats[-1])) == (-1.0, 1.0)
    assert bool((floats.diff() > 0).all())  # 16 bits too: neighbours stay apart
    np.testing.assert_allclose(floats.double(), every.double() / spec.full * 2 - 1, atol=1e-7)
    assert torch.equal(spec.to_levels(floats).long(), every)


@given(bits=BITS, value=st.floats(-5, 5, width=32))
def test_floats_go_to_the_nearest_level_and_are_clamped(bits: Bits, value: float) -> None:
    spec = ImageSpec(bits=bits)
    level = int(spec.to_levels(torch.tensor([value])).long())
    assert 0 <= level <= spec.full
    exact = min(max((value + 1) / 2, 0), 1) * spec.full
    assert abs(level - exact) <= 0.5 + 2e-7 * spec.full


def test_the_arithmetic_of_8_bits_is_fixed() -> None:
    # What was trained before must go on bit for bit.
    levels, floats = torch.arange(256, dtype=torch.uint8), torch.linspace(-1.1, 1.1, 1001)
    assert torch.equal(ImageSpec().to_float(levels), levels.float().sub_(127.5).div_(127.5))
    assert torch.equal(ImageSpec().to_levels(floats), ((floats + 1) * 127.5).round().clamp(0, 255).byte())


@given(seed=st.integers(0, 999), channels=CHANNELS)
def test_8_bits_become_16_and_16_the_nearest_8(seed: int, channels: int) -> None:
    values = noise(seed, channels, 8)
    assert torch.equal(ImageSpec(channels, 16).read(values), torch.from_numpy(to_bits(values, 16)).permute(2, 0, 1))
    assert int(to_bits(values, 16).max()) == 257 * int(values.max())
    np.testing.assert_array_equal(to_bits(to_bits(values, 16), 8), values)
    deep = noise(seed, channels, 16)
    nearest = np.rint(deep / 257).astype(np.uint8)
    np.testing.assert_array_equal(to_bits(deep, 8), nearest)
    np.testing.assert_array_equal(to_eight_bit(torch.from_numpy(deep)).numpy(), nearest)
    assert to_eight_bit(torch.from_numpy(values)).data_ptr() == torch.from_numpy(values).data_ptr()


def test_which_channels_convert() -> None:
    grey, rgb, four, seven = (noise(0, channels, 8) for channels in (1, 3, 4, 7))
    assert (to_channels(grey, None, 3) == grey).all()
    assert to_channels(rgb, None, 1).shape == (3, 5, 1)
    assert (to_channels(four, None, 3) == four[..., :3]).all()
    assert (to_channels(four, None, 1) == to_channels(four[..., :3], None, 1)).all()
    assert to_channels(seven, None, 7) is seven
    alpha = four[..., 3]
    assert (to_channels(rgb, alpha, 4) == np.concatenate([rgb, alpha[..., None]], axis=-1)).all()
    assert (to_channels(grey, alpha, 2)[..., 1] == alpha).all()
    assert not (to_channels(rgb, alpha, 3) == rgb).all()
    for values, channels in ((rgb, 4), (rgb, 2), (grey, 4), (four, 5), (seven, 3), (seven, 1)):
        with pytest.raises(ValueError, match=f"{values.shape[-1]} channels cannot be read as {channels}"):
            to_channels(values, None, channels)


def test_floats_convert_as_files_do() -> None:
    spec, rgb = ImageSpec(3, 16), noise(1, 3, 16)
    floats = spec.to_float(spec.read(rgb))
    grey = ImageSpec(1, 16).to_float(ImageSpec(1, 16).read(rgb))
    torch.testing.assert_close(floats_to_channels(floats, 1), grey, atol=1e-4, rtol=0)
    assert torch.equal(floats_to_channels(grey, 3), grey.expand(3, -1, -1))
    assert floats_to_channels(floats, 3) is floats


@pytest.mark.parametrize("channels", range(1, 7))
def test_a_person_is_shown_one_channel_or_three(channels: int) -> None:
    shown = viewable(torch.rand(channels, 4, 4))
    assert shown.shape[0] == (1 if channels == 1 else 3)
