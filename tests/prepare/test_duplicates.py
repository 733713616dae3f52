"""Near-duplicates: the same picture again is found, another picture is not, whatever the set."""

import itertools
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn  # type: ignore[import-untyped]
from scipy.sparse import csr_array  # type: ignore[import-untyped]
from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

from diptych.data.builtin import facades, shapes
from diptych.data.paths import list_pictures
from diptych.images import files
from diptych.images.files import Array, Pixels, from_image
from diptych.prepare import duplicates
from diptych.prepare.duplicates import ALIKE, beside, fingerprint, groups, thumbnail

COUNT = 20


def noise(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32), np.uint8)


def cosine(a: Array, b: Array) -> float:
    return float(fingerprint(a) @ fingerprint(b))


@cache
def originals() -> list[Array]:
    """Shapes and houses, `[H, W, 3]`."""
    drawn = [shapes.draw(number, 96)[1] for number in range(COUNT)]
    drawn += [facades.draw_pair(number, 96)[0] for number in range(COUNT)]
    return [np.asarray(picture) for picture in drawn]


# ---- the same picture again


def resized(picture: Array, factor: float, how: int) -> Array:
    again: Array = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=how)
    return again


def recompressed(picture: Array, quality: int) -> Array:
    written, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert written
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def levels(picture: Array, factor: float, more: float) -> Array:
    again: Array = np.clip(picture.astype(float) * factor + more, 0, 255).astype(np.uint8)
    return again


def cut(picture: Array, share: float) -> Array:
    rows, columns = (max(round(side * share / 2), 1) for side in picture.shape[:2])
    return picture[rows:-rows, columns:-columns]


AGAIN: dict[str, Callable[[Array], Pixels]] = {
    "half the size": lambda picture: Pixels(resized(picture, 0.5, cv2.INTER_AREA)),
    "twice the size": lambda picture: Pixels(resized(picture, 2, cv2.INTER_CUBIC)),
    "stretched": lambda picture: Pixels(cv2.resize(picture, (200, 96))),
    "JPEG of quality 30": lambda picture: Pixels(recompressed(picture, 30)),
    "brighter": lambda picture: Pixels(levels(picture, 1, 20)),
    "darker": lambda picture: Pixels(levels(picture, 0.8, 0)),
    "less contrast": lambda picture: Pixels(levels(picture, 0.7, 38)),
    "cut by 2 percent": lambda picture: Pixels(cut(picture, 0.02)),
    "grey": lambda picture: Pixels(files.to_channels(Pixels(picture), 1)),
    "16 bit": lambda picture: Pixels(picture.astype(np.uint16) * 257),
    "16-bit colour as it is decoded": lambda picture: Pixels(
        (picture.astype(np.uint16) * 257)[..., ::-1].copy()[..., ::-1]
    ),
    "scaled and compressed": lambda picture: Pixels(recompressed(resized(picture, 0.7, cv2.INTER_AREA), 50)),
}


@pytest.mark.parametrize("change", AGAIN)
def test_a_picture_is_found_again_and_no_other_taken_for_it(change: str) -> None:
    first = [thumbnail(Pixels(picture)) for picture in originals()]
    again = [thumbnail(AGAIN[change](picture)) for picture in originals()]
    assert groups(first + again) == [[number, number + len(first)] for number in range(len(first))]


def test_pictures_of_the_same_kind_are_not_duplicates() -> None:
    drawn = [thumbnail(from_image(shapes.draw(number, 32)[1])) for number in range(100)]
    assert len(groups(drawn)) == 100


def test_real_pictures_that_look_alike_are_told_apart_and_found_again(research_pictures: Path) -> None:
    # Aligned faces share eyes, nose and mouth, facades a black frame, and map beside photograph one bright half.
    for name, count in (("celeba/val", 200), ("facades/val", 100), ("maps/val", 40), ("photos", 53)):
        decoded = [files.decode(path) for path in list_pictures(research_pictures / name)[:count]]
        first = [thumbnail(pixels) for pixels in decoded]
        assert [group for group in groups(first) if len(group) > 1] == []
        few = range(0, len(first), 5)
        changes = ("half the size", "JPEG of quality 30", "cut by 2 percent", "grey")
        for change in changes:
            again = [thumbnail(AGAIN[change](files.to_channels(decoded[number], 3))) for number in few]
            found = [cosine(first[number], other) > ALIKE for number, other in zip(few, again, strict=True)]
            assert all(found), (name, change, found)


# ---- the numbers


@pytest.mark.parametrize("contrast", [1.0, 0.1, 0.02])
def test_the_fingerprint_is_the_softened_sign_of_the_low_frequencies(contrast: float) -> None:
    picture = (128 + contrast * (noise(1)[0].astype(int) - 128)).astype(np.uint8)
    spectrum = dctn(picture.astype(float), norm="ortho")[:20, :20].flatten()[1:]
    softened = np.clip(spectrum / 4, -1, 1)
    assert fingerprint(picture) == pytest.approx(softened / max(np.linalg.norm(softened), 5), abs=1e-5)


def test_a_thumbnail_shows_the_means_of_its_places() -> None:
    grey = np.kron(noise(1)[0], np.ones((3, 5), np.uint8))
    np.testing.assert_array_equal(thumbnail(Pixels(grey[..., None])), noise(1)[0])
    np.testing.assert_array_equal(thumbnail(Pixels(np.repeat(grey[..., None], 3, axis=-1))), noise(1)[0])
    white = np.where(grey > 200, 255, grey)[..., None]
    rubbish = Pixels(np.where(grey > 200, 3, grey)[..., None], np.where(grey > 200, 0, 255).astype(np.uint8))
    np.testing.assert_array_equal(thumbnail(rubbish), thumbnail(Pixels(white)))  # what is see-through is white
    assert (thumbnail(Pixels(np.full((40, 40, 3), (255, 0, 0), np.uint8))) == 76).all()  # ITU-R 601
    assert thumbnail(Pixels(np.zeros((1, 9, 1), np.uint8))).shape == (32, 32)


def test_a_pair_in_two_files_looks_like_the_same_pair_in_one() -> None:
    photo, labels = facades.draw_pair(1, 96)
    both = np.hstack([np.asarray(photo), np.asarray(labels)])
    apart = beside(thumbnail(from_image(photo)), thumbnail(from_image(labels)))
    assert np.abs(apart.astype(int) - thumbnail(Pixels(both)).astype(int)).max() <= 1


def test_pairs_are_alike_only_when_both_sides_are() -> None:
    a, b, c = (thumbnail(Pixels(picture)) for picture in originals()[:3])
    flat = np.full((32, 32), 30, np.uint8)
    assert groups([beside(a, b), beside(a, c), beside(c, b), beside(a, b)]) == [[0, 3], [1], [2]]
    assert groups([beside(a, flat), beside(b, flat), beside(a, flat)]) == [[0, 2], [1]]  # an empty side decides nothing


# ---- pictures with next to nothing in them


def with_box(left: int, right: int, top: int, bottom: int) -> Array:
    mask = np.zeros((32, 32), np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


def test_what_shows_next_to_nothing_is_like_nothing() -> None:
    faint = np.random.default_rng(0).integers(100, 102, (32, 32)).astype(np.uint8)
    nothing = [np.zeros((32, 32), np.uint8), np.full((32, 32), 255, np.uint8), faint, with_box(0, 16, 0, 32)]
    twice = [picture for picture in nothing for _ in range(2)]
    assert groups(twice) == [[number] for number in range(8)]


def test_a_mask_with_something_in_it_is_found_again_and_its_neighbour_is_not() -> None:
    one, other = with_box(3, 12, 5, 20), with_box(12, 28, 9, 14)
    assert groups([one, other, one, other, one]) == [[0, 2, 4], [1, 3]]


# ---- groups


def partition(thumbnails: Array) -> list[list[int]]:
    """The same from scipy: the connected parts of the graph of all who are alike."""
    prints = np.stack([fingerprint(picture) for picture in thumbnails])
    _, part = connected_components(csr_array(prints @ prints.T > ALIKE))
    found: dict[int, list[int]] = {}
    for number, name in enumerate(part.tolist()):
        found.setdefault(name, []).append(number)
    return sorted(found.values())


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    weights=st.lists(st.tuples(*[st.sampled_from([0.0, 0.4, 0.6, 1.0])] * 4), min_size=1, max_size=30),
    block=st.integers(1, 9),
)
def test_groups_are_the_connected_parts_of_who_is_like_whom(weights: list[tuple[float, ...]], block: int) -> None:
    parents = noise(4, seed=1).astype(float) - 128
    mixed = np.stack([np.tensordot(np.array(by), parents, axes=1) / (sum(by) or 1) + 128 for by in weights])
    drawn = mixed.astype(np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "BLOCK", block)
        found = groups(list(drawn))
    assert found == partition(drawn)
    assert sorted(number for group in found for number in group) == list(range(len(weights)))


def test_a_chain_is_one_group() -> None:
    a, z = noise(2).astype(float)
    chain = [(a * (1 - t) + z * t).astype(np.uint8) for t in np.linspace(0, 1, 6)]
    assert cosine(chain[0], chain[-1]) < 0.2
    assert min(cosine(one, other) for one, other in itertools.pairwise(chain)) > ALIKE
    assert groups([chain[0], chain[-1]]) == [[0], [1]]
    assert groups([chain[-1], chain[0], *chain[1:-1]]) == [[0, 1, 2, 3, 4, 5]]


def test_many_of_the_same_and_none_at_all() -> None:
    assert groups([]) == []
    assert [len(group) for group in groups([*noise(1)] * 5000)] == [5000]
    assert [len(group) for group in groups([np.zeros((32, 32), np.uint8)] * 1000)] == [1] * 1000


def test_the_file_as_it_is_decoded_is_what_counts(tmp_path: Path) -> None:
    picture = shapes.draw(1, 64)[1]
    for suffix in (".png", ".bmp", ".jpg", ".webp"):
        picture.save(tmp_path / f"one{suffix}")
    turned = picture.transpose(Image.Transpose.ROTATE_90)  # EXIF orientation 6 turns it back
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    thumbnails = [thumbnail(files.decode(path)) for path in list_pictures(tmp_path)]
    assert groups(thumbnails) == [[0, 1, 2, 3, 4]]
