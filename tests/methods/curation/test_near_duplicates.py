"""Perceptual hashes and their pairs: signs worked by hand, brute force, and phantoms copied in ways
a file is copied."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from scipy.fft import idctn

from methods.curation import near_duplicates
from methods.curation.near_duplicates import (
    FLAT_HASH,
    MAX_HAMMING,
    MIN_COSINE,
    MIN_COSINE_CLOSE,
    MIN_COSINE_MIRRORED,
    MIN_COSINE_UPSIDE_DOWN,
    TURNS,
    Candidates,
    Pair,
    candidates,
    cosine_confirms,
    find_near_duplicates,
    mirrored_hash,
    perceptual_hash,
    required_cosine,
)
from methods.imaging.phantoms import KINDS, phantom

ODD = 0x5555_5555_5555_5555
ODD_ROWS = 0x00FF_00FF_00FF_00FF
TURNED = {0: np.s_[:, :], 1: np.s_[:, ::-1], 2: np.s_[::-1], 3: np.s_[::-1, ::-1]}
"""A picture (h, w) straight, left to right, upside down, and both."""


def _bits(a: int, b: int) -> int:
    return (a ^ b).bit_count()


def _random_hashes(count: int, seed: int) -> NDArray[np.uint64]:
    """Few enough different bits that many pairs are close, and some flat ones."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 1 << 16, count, dtype=np.uint64) * np.uint64(0x0001_0000_0100)
    hashes[rng.random(count) < 0.1] = FLAT_HASH
    return hashes


def _features(count: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0.3, 1, (count, 5, 2, 3)).astype(np.float32)


def _pairs(rows: list[tuple[int, int, int, int]]) -> Candidates:
    first, second, distance, turn = zip(*rows, strict=True)
    return Candidates(
        np.array(first), np.array(second), np.array(distance, np.uint8), np.array(turn, np.uint8)
    )


def _never(positions: NDArray[np.int64]) -> NDArray[np.float32]:
    raise AssertionError(f"{positions} were read")


# --- the hash ---


def test_an_edge_by_hand() -> None:
    # Left half 0, right half 255: row 0 alone, coefficient u has the sign of -sin(u pi / 2): -, 0,
    # + for u = 1, 2, 3 and so on.
    picture = np.zeros((64, 64), np.uint8)
    picture[:, 32:] = 255
    assert perceptual_hash(picture) == 0b0001_0001 << 56  # u = 3 and 7
    assert perceptual_hash(picture[:, ::-1]) == 0b0100_0100 << 56  # u = 1 and 5
    assert perceptual_hash(picture.T) == 0x80 << 8 * 4 | 0x80  # the first bit of rows 3 and 7
    assert perceptual_hash(picture[::-1].T) == 0x80 << 8 * 4 | 0x80


def test_each_bit_is_the_sign_of_its_coefficient() -> None:
    signs = np.random.default_rng(3).random((8, 8)) < 0.5
    coefficients = np.zeros((32, 32))
    coefficients[:8, :8] = np.where(signs, 30.0, -30.0)
    coefficients[0, 0] = 128 * 32
    bits = "".join(str(int(sign)) for sign in signs.ravel()[1:])
    assert perceptual_hash(np.rint(idctn(coefficients, norm="ortho")).astype(np.uint8)) == int(
        bits, 2
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_mirrored_hash_is_that_of_the_mirrored_picture(kind: str) -> None:
    picture = phantom(kind, seed=5, size=256)[:201, :251]  # no multiple of 32
    assert mirrored_hash(perceptual_hash(picture)) == perceptual_hash(picture[:, ::-1])
    for turn in TURNS:
        assert mirrored_hash(perceptual_hash(picture), turn) == perceptual_hash(
            picture[TURNED[turn]]
        )


@pytest.mark.parametrize("kind", KINDS)
def test_coefficients_of_zero_give_zero_bits(kind: str) -> None:
    half = phantom(kind, seed=5)[:, :115]
    assert perceptual_hash(np.concatenate([half, half[:, ::-1]], axis=1)) & ODD == 0


def test_mirroring_twice_is_the_same() -> None:
    assert [mirrored_hash(0, turn) for turn in TURNS] == [0, ODD, ODD_ROWS, ODD ^ ODD_ROWS]
    assert mirrored_hash(mirrored_hash(0x0123_4567_89AB_CDEF)) == 0x0123_4567_89AB_CDEF


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (64, 64, 3)])
@pytest.mark.parametrize("level", [0, 127, 255])
def test_a_constant_picture_is_flat(shape: tuple[int, ...], level: int) -> None:
    assert perceptual_hash(np.full(shape, level, np.uint8)) == FLAT_HASH


def test_noise_about_a_constant_is_flat() -> None:
    noise = np.random.default_rng(0).integers(99, 102, (512, 512)).astype(np.uint8)
    assert perceptual_hash(noise) == FLAT_HASH
    noise[:256] += 10
    assert perceptual_hash(noise) < FLAT_HASH


def test_grey_and_its_rgb_are_one() -> None:
    grey = phantom("ct", seed=1)
    assert perceptual_hash(grey) == perceptual_hash(np.repeat(grey[..., None], 3, axis=2))


def test_views_and_repeats_change_nothing() -> None:
    picture = phantom("fundus", seed=1)
    before = picture.copy()
    assert (
        perceptual_hash(picture)
        == perceptual_hash(np.asfortranarray(picture))
        == perceptual_hash(picture)
    )
    np.testing.assert_array_equal(picture, before)


def _jpeg(image: Image.Image) -> Image.Image:
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=50)
    return Image.open(encoded)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "bits"),
    [
        (_jpeg, 4),
        (lambda image: image.resize((128, 128), Image.Resampling.BICUBIC), 4),
        (lambda image: image.resize((300, 200), Image.Resampling.BICUBIC), 4),
        (lambda image: ImageEnhance.Brightness(image).enhance(0.85), 4),
        (lambda image: ImageEnhance.Contrast(image).enhance(0.8), 4),
        (lambda image: image.crop((3, 2, 254, 253)), MAX_HAMMING),
    ],
)
def test_copies_stay_close(
    kind: str, change: Callable[[Image.Image], Image.Image], bits: int
) -> None:
    image = Image.fromarray(phantom(kind, seed=2))
    assert (
        _bits(perceptual_hash(np.asarray(image)), perceptual_hash(np.asarray(change(image))))
        <= bits
    )


def test_different_kinds_are_far_apart() -> None:
    hashes = [perceptual_hash(phantom(kind, seed=0)) for kind in KINDS]
    assert all(_bits(a, b) > MAX_HAMMING for i, a in enumerate(hashes) for b in hashes[:i])


# --- candidates ---


@pytest.mark.parametrize("rows_at_once", [1, 7, 33, 2048])
@pytest.mark.parametrize("max_distance", [0, 5, 63])
def test_blocks_equal_brute_force(rows_at_once: int, max_distance: int) -> None:
    a, b = _random_hashes(33, seed=1), _random_hashes(50, seed=2)
    b[:8] = [mirrored_hash(int(h), turn) for h, turn in zip(a[:8], (1, 2, 3) * 3, strict=False)]
    expected = {
        (i, j, _bits(mirrored_hash(x, turn), y), turn)
        for i, x in enumerate(a.tolist())
        for j, y in enumerate(b.tolist())
        for turn in TURNS
        if FLAT_HASH not in (x, y) and _bits(mirrored_hash(x, turn), y) <= max_distance
    }
    found = [
        row
        for block in candidates(a, b, max_distance, rows_at_once)
        for row in zip(*(field.tolist() for field in vars(block).values()), strict=True)
    ]
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert expected


def test_flat_pictures_are_close_to_nothing() -> None:
    flat = np.full(3, FLAT_HASH, np.uint64)
    low = np.array([0, ODD], np.uint64)
    for a, b in ((flat, flat), (flat, low), (low, flat)):
        assert sum(map(len, candidates(a, b, 63))) == 0


def test_memory_of_the_comparison_is_bounded() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 1 << 63, 4096, dtype=np.uint64)
    tracemalloc.start()
    try:
        count = sum(len(block) for block in candidates(hashes, hashes, 4, rows_at_once=256))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count >= 4096  # each with itself
    assert peak < 2_000_000  # all at once would be 134 MB


# --- cosines ---


@pytest.mark.parametrize("rows_at_once", [1, 4, 1000])
def test_cosines_of_pairs_in_any_order(rows_at_once: int) -> None:
    a, b = _features(9, seed=1), _features(11, seed=2)
    rng = np.random.default_rng(0)
    pairs = Candidates(
        rng.integers(0, 9, 60),
        rng.integers(0, 11, 60),
        np.zeros(60, np.uint8),
        rng.integers(0, 4, 60),
    )

    def reader(features: NDArray[np.float32]) -> near_duplicates.Take:
        def take(positions: NDArray[np.int64]) -> NDArray[np.float32]:
            assert 0 < len(positions) <= rows_at_once
            assert (np.diff(positions) > 0).all()
            return features[positions]

        return take

    expected = []
    for i, j, turn in zip(pairs.first, pairs.second, pairs.turn.tolist(), strict=True):
        x, y = np.stack([channel[TURNED[turn]] for channel in a[i]]).ravel(), b[j].ravel()
        expected.append(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    cosines = cosine_confirms(pairs, reader(a), reader(b), rows_at_once)
    assert cosines.dtype == np.float32
    np.testing.assert_allclose(cosines, expected, atol=1e-5)
    np.testing.assert_array_equal(
        cosines, cosine_confirms(pairs, reader(a), reader(b), rows_at_once)
    )


def test_a_mirrored_map_is_turned_round() -> None:
    a = np.zeros((1, 1, 1, 3), np.float32)
    a[0, 0, 0] = [1, 0, 0]
    b = a[..., ::-1].copy()
    pairs = _pairs([(0, 0, 0, turn) for turn in TURNS])
    assert cosine_confirms(pairs, lambda i: a[i], lambda i: b[i]).tolist() == [0, 1, 0, 1]
    a, b = a.swapaxes(2, 3), b.swapaxes(2, 3)
    assert cosine_confirms(pairs, lambda i: a[i], lambda i: b[i]).tolist() == [0, 0, 1, 1]


def test_features_of_zero_have_cosine_zero() -> None:
    a = np.zeros((1, 1, 1, 3), np.float16)
    assert cosine_confirms(_pairs([(0, 0, 0, 0)]), lambda i: a[i], lambda i: a[i]).tolist() == [0]


def test_less_is_asked_where_the_hashes_agree() -> None:
    pairs = _pairs([(0, 0, distance, turn) for turn in TURNS for distance in (2, 3)])
    over = [MIN_COSINE_UPSIDE_DOWN, MIN_COSINE_MIRRORED]
    assert required_cosine(pairs).tolist() == [
        MIN_COSINE_CLOSE,
        MIN_COSINE,
        MIN_COSINE_CLOSE,
        MIN_COSINE_MIRRORED,
        *over,
        *over,
    ]
    # never more than of the others
    assert required_cosine(pairs, 0.6, 0.4).tolist() == [0.6] * 2 + [0.4] * 6


# --- the whole search ---


def _at_cosine(features: NDArray[np.float32], cosine: float) -> NDArray[np.float32]:
    """Features (C, H, W) with a given cosine to the given ones."""
    flat = features.ravel() / np.linalg.norm(features)
    other = np.random.default_rng(9).normal(size=flat.shape)
    other -= (other @ flat) * flat
    return (
        (cosine * flat + np.sqrt(1 - cosine**2) * other / np.linalg.norm(other))
        .reshape(features.shape)
        .astype(np.float32)
    )


def test_planted_copies_are_found_in_order() -> None:
    rng = np.random.default_rng(4)
    train = rng.integers(0, 1 << 63, 40, dtype=np.uint64)
    test = rng.integers(0, 1 << 63, 30, dtype=np.uint64)
    a, b = _features(40, seed=1), _features(30, seed=2)
    test[3], b[3] = train[7], _at_cosine(a[7], 0.97)
    test[4], b[4] = train[8] ^ np.uint64(0b1_1111), _at_cosine(a[8], 0.95)
    # too little for five bits
    test[5], b[5] = train[9] ^ np.uint64(0b1_1111), _at_cosine(a[9], 0.90)
    test[6], b[6] = train[10] ^ np.uint64(0b11), _at_cosine(a[10], 0.90)
    test[7], b[7] = (
        train[11] ^ np.uint64(ODD) ^ np.uint64(0b111),
        _at_cosine(a[11][..., ::-1], 0.85),
    )
    test[8], b[8] = train[12] ^ np.uint64((1 << 11) - 1), a[12]  # eleven bits
    train[13] = test[9] = FLAT_HASH
    b[9] = a[13]
    test[10], b[10] = (
        train[14] ^ np.uint64(ODD_ROWS) ^ np.uint64(0b111),
        _at_cosine(a[14][:, ::-1], 0.84),
    )
    found = find_near_duplicates(train, test, lambda i: a[i], lambda i: b[i])
    assert [(p.first, p.second, p.distance, p.mirrored) for p in found] == [
        (7, 3, 0, False),
        (8, 4, 5, False),
        (10, 6, 2, False),
        (11, 7, 3, True),
        (14, 10, 3, True),
    ]
    assert [p.similarity for p in found] == pytest.approx([0.97, 0.95, 0.90, 0.85, 0.84], abs=1e-5)
    assert found == find_near_duplicates(train, test, lambda i: a[i], lambda i: b[i])


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = _random_hashes(60, seed=1), _random_hashes(50, seed=2)
    a, b = _features(60, seed=1), _features(50, seed=2)

    def found() -> list[Pair]:
        return find_near_duplicates(train, test, lambda i: a[i], lambda i: b[i], 20, 0.1, 0.1, 0.1)

    whole = found()
    sizes: list[int] = []

    def counted(pairs: Candidates, *readers: near_duplicates.Take) -> NDArray[np.float32]:
        sizes.append(len(pairs))
        return cosine_confirms(pairs, *readers)

    monkeypatch.setattr(near_duplicates, "cosine_confirms", counted)
    monkeypatch.setattr(near_duplicates, "candidates", partial(candidates, rows_at_once=7))
    monkeypatch.setattr(near_duplicates, "_CANDIDATES_AT_ONCE", 30)
    assert [(p.first, p.second, p.mirrored) for p in whole] == [
        (p.first, p.second, p.mirrored) for p in found()
    ]
    assert {p.mirrored for p in whole} == {False, True}
    assert sum(sizes) == sum(map(len, candidates(train, test, 20)))  # none twice
    assert all(30 <= size < 30 + 49 for size in sizes[:-1])


def test_equal_similarities_go_by_position() -> None:
    hashes = np.zeros(2, np.uint64)
    ones = np.ones((2, 1, 1, 2), np.float32)
    found = find_near_duplicates(hashes, hashes, lambda i: ones[i], lambda i: ones[i])
    assert [(p.first, p.second) for p in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize(("width", "mirrored"), [([2, 1], False), ([1, 2], True)])
def test_a_pair_that_counts_both_ways_is_listed_once(width: list[int], mirrored: bool) -> None:
    a = np.array([[[[2, 1]]]], np.float32)  # cosine 1 one way, 0.8 the other
    b = np.array([[[width]]], np.float32)
    first, second = np.array([0], np.uint64), np.array([0b0101], np.uint64)  # 2 bits straight
    found = find_near_duplicates(
        first, second, lambda i: a[i], lambda i: b[i], max_distance=63, min_cosine_mirrored=0.5
    )
    assert found == [Pair(0, 0, 30 if mirrored else 2, found[0].similarity, mirrored)]
    assert found[0].similarity == pytest.approx(1)


def test_nothing_is_read_where_nothing_is_close() -> None:
    empty, some = np.empty(0, np.uint64), np.array([1, 2], np.uint64)
    far = np.array([0x7FFF_FFFF_0000_0000, 0x7FFF_FFFF_0000_0001], np.uint64)
    for train, test in ((empty, empty), (empty, some), (some, empty), (some, far)):
        assert find_near_duplicates(train, test, _never, _never) == []
    none = Candidates(
        np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.bool_)
    )
    assert len(cosine_confirms(none, _never, _never)) == 0
