"""A size is read as people write it, and written as it is read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.images.size import LARGEST, Size

SIZES = st.builds(Size, st.integers(1, LARGEST), st.integers(1, LARGEST))


@given(SIZES)
def test_what_is_written_is_read_again(size: Size) -> None:
    assert Size.parse(str(size)) == Size.parse(size.plain) == size


def test_the_width_is_written_first() -> None:
    assert Size.parse("512x256") == Size.parse("512X256") == Size.parse("512×256") == Size(height=256, width=512)
    assert str(Size(height=256, width=512)) == "512x256"


def test_a_square_is_one_number() -> None:
    assert Size.parse(256) == Size.parse("256") == Size.parse("256x256") == Size.square(256)
    assert Size.square(256).plain == 256


NUMBERS = (0, -1, LARGEST + 1, 10**400, True, 1.5)
TEXTS = (
    "",
    "x",
    "0",
    "8x0",
    "0x8",
    "8x",
    "x8",
    "8 x 8",
    "-8x8",
    "8x8x8",
    "8x99999",
    f"8x{'9' * 5000}",
    "٨x٨",
    "8x8\n",
)
OTHERS = (None, (8, 8), [8, 8], {"width": 8})


@pytest.mark.parametrize("value", [*NUMBERS, *TEXTS, *OTHERS])
def test_what_is_no_size_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"WIDTHxHEIGHT|1 to 65536 pixels"):
        Size.parse(value)


@given(SIZES, st.floats(1, 16))
def test_a_larger_size_has_the_same_shape(size: Size, factor: float) -> None:
    larger = size.scaled(factor)
    assert abs(larger.height - size.height * factor) <= 0.5
    assert abs(larger.width - size.width * factor) <= 0.5
