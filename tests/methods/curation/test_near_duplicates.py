"""Copies of a picture are found, whatever was done to them, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from methods.curation import near_duplicates
from methods.curation.gradient_grids import turned
from methods.curation.near_duplicates import (
    MAX_HAMMING,
    Pair,
    Side,
    find_near_duplicates,
    find_near_duplicates_within,
)
from methods.imaging.perceptual_hash import FLAT_HASH, mirrored_hashes, perceptual_hash
from tests.methods.curation.pictures import CHANGES, picture, square

COUNT = 12
"""Number of different pictures on the training side."""


def side(pictures: Sequence[NDArray[np.uint8]], groups: Sequence[int]) -> Side:
    """A side of grey pictures, whose reader checks what is asked for."""
    images = np.stack(pictures)

    def take(positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        assert (np.diff(positions) > 0).all()
        return np.repeat(images[positions][..., None], 3, -1)

    hashes = np.array([perceptual_hash(image) for image in pictures], np.uint64)
    return Side(hashes, np.array(groups, np.int64), take)


TRAIN = side([square(picture(seed)) for seed in range(COUNT)], [0] * COUNT)
COPIES = {name: COUNT - 1 - i % COUNT for i, name in enumerate(CHANGES)}
"""The training picture that each test picture is a copy of."""
TEST = side(
    [square(change(picture(COPIES[name]))) for name, change in CHANGES.items()], [1] * len(CHANGES)
)


@pytest.fixture(scope="module")
def found() -> list[Pair]:
    return find_near_duplicates(TRAIN, TEST)


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_found_and_nothing_else(name: str, found: list[Pair]) -> None:
    number = list(CHANGES).index(name)
    assert [pair.first for pair in found if pair.second == number] == [COPIES[name]]


def test_what_was_done_is_said(found: list[Pair]) -> None:
    said = {
        list(CHANGES)[pair.second]: (pair.mirrored, pair.quarter_turns, pair.inverted)
        for pair in found
    }
    straight = (False, 0, False)
    turned = {
        "inverted": (False, 0, True),
        "inverted and rotated": (False, 0, True),
        "quarter turn": (False, 1, False),
        "half a turn": (False, 2, False),
        "mirrored": (True, 0, False),
        "mirrored and cropped": (True, 0, False),
        "transposed": (True, 1, False),
    }
    assert said == {name: turned.get(name, straight) for name in CHANGES}


def test_the_most_alike_come_first(found: list[Pair]) -> None:
    values = [pair.likeness for pair in found]
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(1)
    assert 0 < values[-1] <= 1


def test_blocks_change_nothing(found: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {"_READ": 5, "_COMPARED": 7, "_TESTED": 6}.items():
        monkeypatch.setattr(near_duplicates, name, size)
    again = find_near_duplicates(TRAIN, TEST)
    assert [(p.first, p.second, p.mirrored, p.quarter_turns) for p in again] == [
        (p.first, p.second, p.mirrored, p.quarter_turns) for p in found
    ]


def test_within_one_set_only_different_groups_are_compared() -> None:
    pictures = [square(picture(0)), square(picture(1)), square(CHANGES["quarter turn"](picture(0)))]
    apart = find_near_duplicates_within(side(pictures, [0, 1, 2]))
    assert [(p.first, p.second, p.quarter_turns) for p in apart] == [(0, 2, 1)]
    assert find_near_duplicates_within(side(pictures, [0, 1, 0])) == []


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turns", range(4))
def test_a_pair_reversed_leads_back(turns: int, mirrored: bool) -> None:
    image = np.arange(9).reshape(3, 3)

    def applied(pair: Pair, to: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.rot90(to[:, ::-1] if pair.mirrored else to, pair.quarter_turns)

    pair = Pair(4, 7, 0.9, turns, mirrored, False)
    back = pair.reversed()
    assert (back.first, back.second) == (7, 4)
    np.testing.assert_array_equal(applied(back, applied(pair, image)), image)


def test_flat_pictures_and_empty_sides_are_in_no_pair() -> None:
    black = [np.zeros((227, 227), np.uint8)] * 2
    assert find_near_duplicates(side(black, [0, 0]), side(black, [1, 1])) == []
    none = Side(
        np.empty(0, np.uint64), np.empty(0, np.int64), lambda positions: pytest.fail("read")
    )
    assert find_near_duplicates(none, TEST) == find_near_duplicates(TRAIN, none) == []


def test_candidates_by_hash_equal_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    train = rng.integers(0, 1 << 16, 33, dtype=np.uint64) * np.uint64(0x0001_0000_0100)
    test = rng.integers(0, 1 << 16, 20, dtype=np.uint64) * np.uint64(0x0001_0000_0100)
    train[3] = test[4] = FLAT_HASH
    test[:3] = [mirrored_hashes(train[5], way) for way in (1, 2, 3)]
    monkeypatch.setattr(near_duplicates, "NEIGHBOURS", 33)
    monkeypatch.setattr(near_duplicates, "_COMPARED", 10)
    same = np.zeros((20, 33), bool)
    same[6] = True
    rows = np.concatenate(list(near_duplicates._hash_candidates(test, train, same)))
    expected = {
        (i, j, turn, 0)
        for way, turn in enumerate((0, 4, 6, 2))
        for i, a in enumerate(mirrored_hashes(train, way).tolist())
        for j, b in enumerate(test.tolist())
        if FLAT_HASH not in (a, b) and j != 6 and (a ^ b).bit_count() <= MAX_HAMMING
    }
    assert set(map(tuple, rows.tolist())) == expected
    assert {(5, 0, 4, 0), (5, 1, 6, 0), (5, 2, 2, 0)} <= expected


def test_hashes_and_grids_are_turned_alike() -> None:
    """A hash mirrored in its way is that of the picture in the turn that goes with it."""
    image = square(picture(3))
    for way, turn in near_duplicates._HASH_TURNS.items():
        rotated = turned(image.astype(np.float32), turn).astype(np.uint8, order="C")
        hashed = int(mirrored_hashes(np.uint64(perceptual_hash(image)), way))
        assert (perceptual_hash(rotated) ^ hashed).bit_count() <= 1
