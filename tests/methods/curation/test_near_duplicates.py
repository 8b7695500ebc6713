"""Pairs of close hashes and of similar features, against brute force."""

from __future__ import annotations

import tracemalloc
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from methods.curation import near_duplicates
from methods.curation.near_duplicates import (
    MIN_COSINE,
    MIN_COSINE_CLOSE,
    MIN_COSINE_MIRRORED,
    MIN_COSINE_UPSIDE_DOWN,
    Candidates,
    Pair,
    candidates,
    cosine_confirms,
    find_near_duplicates,
    required_cosine,
)
from methods.imaging.perceptual_hash import FLAT_HASH, TURNS, mirrored_hashes

ODD = 0x5555_5555_5555_5555
ODD_ROWS = 0x00FF_00FF_00FF_00FF
TURNED = {0: np.s_[:, :], 1: np.s_[:, ::-1], 2: np.s_[::-1], 3: np.s_[::-1, ::-1]}
"""A picture (h, w) straight, left to right, upside down, and both."""


def _bits(a: int, b: int) -> int:
    return (a ^ b).bit_count()


def _mirrored(hash64: int, turn: int) -> int:
    return int(mirrored_hashes(np.uint64(hash64), turn))


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


# --- candidates ---


@pytest.mark.parametrize("rows_at_once", [1, 7, 33, 2048])
@pytest.mark.parametrize("max_distance", [0, 5, 63])
def test_blocks_equal_brute_force(rows_at_once: int, max_distance: int) -> None:
    a, b = _random_hashes(33, seed=1), _random_hashes(50, seed=2)
    b[:8] = [_mirrored(int(h), turn) for h, turn in zip(a[:8], (1, 2, 3) * 3, strict=False)]
    expected = {
        (i, j, _bits(_mirrored(x, turn), y), turn)
        for i, x in enumerate(a.tolist())
        for j, y in enumerate(b.tolist())
        for turn in TURNS
        if FLAT_HASH not in (x, y) and _bits(_mirrored(x, turn), y) <= max_distance
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

    monkeypatch.setattr(near_duplicates, "MAX_HAMMING", 20)
    for name in ("MIN_COSINE", "MIN_COSINE_MIRRORED", "MIN_COSINE_CLOSE", "MIN_COSINE_UPSIDE_DOWN"):
        monkeypatch.setattr(near_duplicates, name, 0.1)

    def found() -> list[Pair]:
        return find_near_duplicates(train, test, lambda i: a[i], lambda i: b[i])

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
def test_a_pair_that_counts_both_ways_is_listed_once(
    width: list[int], mirrored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_duplicates, "MAX_HAMMING", 63)
    monkeypatch.setattr(near_duplicates, "MIN_COSINE_MIRRORED", 0.5)
    a = np.array([[[[2, 1]]]], np.float32)  # cosine 1 one way, 0.8 the other
    b = np.array([[[width]]], np.float32)
    first, second = np.array([0], np.uint64), np.array([0b0101], np.uint64)  # 2 bits straight
    found = find_near_duplicates(first, second, lambda i: a[i], lambda i: b[i])
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
