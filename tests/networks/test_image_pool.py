"""The image pool of REQUIREMENTS 000-8, and the slips of notes 000 and 001."""

import pytest
import torch
from torch import Tensor

from diptych.networks.image_pool import ImagePool


def pool_of(size: int) -> ImagePool:
    return ImagePool(size, channels=1, height=1, width=1)


def numbered(*numbers: int) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32).reshape(-1, 1, 1, 1)


def test_a_pool_of_none_passes_through() -> None:
    pool = pool_of(0)
    new = numbered(1, 2, 3).requires_grad_()
    assert torch.equal(pool(new), new)
    assert not pool(new).requires_grad


def test_while_it_is_not_full_it_stores_and_gives_back() -> None:
    pool = pool_of(5)
    for i in range(0, 4, 2):
        assert pool(numbered(i, i + 1)).flatten().tolist() == [i, i + 1]
    assert pool(numbered(4)).item() == 4
    assert pool.pictures.flatten().tolist() == [0, 1, 2, 3, 4]
    assert pool.stored.item() == 5


def test_a_batch_larger_than_the_room_left() -> None:
    # Slip of 001: the buffer crashed at its first swap
    torch.manual_seed(0)
    pool = pool_of(2)
    given = pool(numbered(*range(50)))
    assert given.shape == (50, 1, 1, 1)
    assert given[:2].flatten().tolist() == [0, 1]
    assert set(given.flatten().tolist()) <= set(range(50))


def test_once_full_over_100_000_draws() -> None:
    """Half are given back as they are and not stored; the others come evenly from the pool, and take their place."""
    torch.manual_seed(0)
    size, draws = 4, 100_000
    pool = pool_of(size)
    pool(numbered(0, 1, 2, 3))
    inside, ages, places = [0.0, 1.0, 2.0, 3.0], list[int](), [0] * size
    given = pool(numbered(*range(4, 4 + draws))).flatten().tolist()
    for number, picture in enumerate(given, start=4):
        if picture == number:
            continue
        place = inside.index(picture)  # a picture is given once: it is gone then
        places[place] += 1
        inside[place] = number
        ages.append(number - int(picture))
    assert pool.pictures.flatten().tolist() == inside
    swaps = len(ages)
    assert swaps / draws == pytest.approx(0.5, abs=0.005)  # 3 standard deviations: 0.0047
    assert [count / swaps for count in places] == pytest.approx([0.25] * 4, abs=0.006)
    # a stored picture is taken with probability 1/2 * 1/4 at each draw: geometric, mean 8
    assert sum(ages) / swaps == pytest.approx(8, rel=0.02)


def test_it_travels_in_the_state() -> None:
    pool, other = pool_of(3), pool_of(3)
    pool(numbered(7, 8))
    other.load_state_dict(pool.state_dict())
    assert other.stored.item() == 2
    assert other(numbered(9)).item() == 9
    assert other.pictures.flatten().tolist() == [7, 8, 9]


def test_what_is_stored_is_a_copy() -> None:
    pool = pool_of(2)
    new = numbered(5)
    pool(new)
    new.zero_()
    assert pool.pictures[0].item() == 5


@pytest.mark.parametrize("stored", [-1, 4, 2**62])
def test_a_number_of_pictures_that_cannot_be_is_not_loaded(stored: int) -> None:
    """It is an index on the device, where an index out of range ends the process."""
    pool = ImagePool(3, channels=1, height=2, width=2)
    state = {**pool.state_dict(), "stored": torch.tensor(stored)}
    with pytest.raises(ValueError, match=f"a pool of 3 pictures has stored {stored}"):
        pool.load_state_dict(state)
