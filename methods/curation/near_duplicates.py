"""Near-duplicate images across a split: copies that were re-encoded, resized, cropped or mirrored.

A copy of a training image among the test images makes an evaluation optimistic. Two steps find
them: perceptual hashes (:mod:`methods.imaging.perceptual_hash`) give candidates in a few
nanoseconds a pair, and the cosine of the stored conv5 features confirms or drops each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from methods.arrays import l2_normalise
from methods.imaging.perceptual_hash import (
    FLAT_HASH,
    HALF_A_TURN,
    LEFT_RIGHT,
    STRAIGHT,
    TURNS,
    UPSIDE_DOWN,
    Hashes,
    mirrored_hashes,
)

Take = Callable[[NDArray[np.int64]], NDArray[np.floating]]
"""Function that reads conv5 features by ascending, unrepeated positions: (m,) -> (m, C, H, W)."""

# Chosen with benchmarks/near_duplicates.py on 9,602 images (chest x-rays, mammograms, figures of 13
# kinds, MedNIST's 64-pixel images) and changed copies of 400 of them. Recall: 1.00 for JPEG of
# quality 75 and 90, resizing to 80 %, contrast, gamma, darker, mirrored, upside down, turned by
# half and the last three as JPEG 75; 0.99 for brighter; 0.98 for JPEG 50 and resizing to 50 %; 0.97
# cropped by 2 %; 0.95 with noise; 0.72 mirrored and cropped by 5 %; 0.63 cropped by 5 %; 0.37
# rotated by 2 degrees; 0.07 cropped by 10 %. No finding is no proof of absence.
# Flagged pairs of different groups: of 17 million of chest x-rays 3, all within 2 bits; of 28
# thousand of mammograms none; of 7,140 of fundus photographs, which are all framed alike, 2 (0.90
# instead of 0.93 would flag 17). The other figures gave 32 and MedNIST 132, which are by eye nearly
# all figures and gels drawn twice and adjacent slices; the rest are plots with the same axes,
# hands, and heads.
MAX_HAMMING = 10
"""Maximum number of differing bits of the hashes of a candidate.

91 % of crops by 5 % stay below it. With 14 the candidates are ten times as many, most of which the
cosine drops.
"""
MIN_COSINE = 0.93
"""Minimum cosine of the features of a candidate that is not mirrored."""
MIN_COSINE_MIRRORED = 0.83
"""Minimum cosine of a mirrored candidate.

It is lower, since a mirrored feature map only approximates the features of the mirrored image. 0.83
flags 2 of 2 million pairs of MedNIST images, 0.80 would flag 20.
"""
CLOSE_HAMMING = 2
"""Maximum number of differing bits at which hashes count as equal, and a lower cosine is enough."""
MIN_COSINE_CLOSE = 0.75
"""Minimum cosine where the hashes are equal, since noise, blur and JPEG change conv5 alone."""
MIN_COSINE_UPSIDE_DOWN = 0.5
"""Minimum cosine where the hashes are equal upside down or by half a turn.

conv5 is far from symmetric in that direction; no copy was below 0.51. Of 20 million pairs of
different groups none has such hashes, whatever the cosine.
"""

_CANDIDATES_AT_ONCE = 1 << 20
"""Number of candidates whose features are compared at a time."""


@dataclass(frozen=True)
class Pair:
    """Two images that show the same picture.

    Attributes:
        first: position on the training side.
        second: position on the test side.
        distance: differing bits of the hashes, 0 to 63.
        similarity: cosine of the conv5 features, -1 to 1.
        mirrored: whether the second is compared with the first mirrored left to right, upside down,
            or both.
    """

    first: int
    second: int
    distance: int
    similarity: float
    mirrored: bool


@dataclass(frozen=True)
class Candidates:
    """Pairs whose hashes are close; a pair close in several ways is listed for each.

    Attributes:
        first: (n,) int64 positions in the first set.
        second: (n,) int64 positions in the second set.
        distance: (n,) uint8 differing bits.
        turn: (n,) uint8 of TURNS, how the first was mirrored.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: NDArray[np.uint8]
    turn: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.first)

    def where(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Candidates:
        """Return the candidates that a mask keeps, or those of an index in its order."""
        return Candidates(self.first[keep], self.second[keep], self.distance[keep], self.turn[keep])


def _close(
    hashes_a: Hashes, hashes_b: Hashes, max_distance: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint8]]:
    """Return rows, columns and distances of the close pairs; nothing is close to a flat image."""
    distances: NDArray[np.uint8] = np.bitwise_count(hashes_a[:, None] ^ hashes_b)
    distances[hashes_a >= FLAT_HASH] = 64
    distances[:, hashes_b >= FLAT_HASH] = 64
    i, j = np.nonzero(distances <= max_distance)
    return i, j, distances[i, j]


def candidates(
    hashes_a: Hashes, hashes_b: Hashes, max_distance: int, rows_at_once: int = 2048
) -> Iterator[Candidates]:
    """Find the pairs of two sets whose hashes are close, as they are or mirrored.

    Flat images (FLAT_HASH) are close to nothing, not even to each other: every black slice would be
    a pair with every other. Equal files are found by their digest.

    Args:
        hashes_a: (n,) uint64.
        hashes_b: (m,) uint64.
        max_distance: maximum number of differing bits of a pair, at most 63.
        rows_at_once: hashes of each side that are compared at a time; memory grows with its square
            (80 MB for 2048, more where most pairs are close).

    Yields:
        The candidates of a block, which may be none, in the order of the blocks; by turn, then by
        first and second.
    """
    for turn in TURNS:
        turned = mirrored_hashes(hashes_a, turn)
        for a in range(0, len(turned), rows_at_once):
            for b in range(0, len(hashes_b), rows_at_once):
                i, j, distance = _close(
                    turned[a : a + rows_at_once], hashes_b[b : b + rows_at_once], max_distance
                )
                yield Candidates(i + a, j + b, distance, np.full(len(i), turn, np.uint8))


def _merged(parts: list[Candidates]) -> Candidates:
    """Return the candidates of all parts, in their order."""
    return Candidates(
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.second for part in parts]),
        np.concatenate([part.distance for part in parts]),
        np.concatenate([part.turn for part in parts]),
    )


def _batches(blocks: Iterable[Candidates], at_least: int) -> Iterator[Candidates]:
    """Merge blocks until each has ``at_least`` candidates; the last may have fewer, but some."""
    waiting: list[Candidates] = []
    count = 0
    for block in blocks:
        if len(block):
            waiting.append(block)
            count += len(block)
        if count >= at_least:
            yield _merged(waiting)
            waiting, count = [], 0
    if waiting:
        yield _merged(waiting)


def _tiles(pairs: Candidates, rows_at_once: int) -> Iterator[NDArray[np.intp]]:
    """Group the indices of the pairs by the images that they need.

    A group needs at most ``rows_at_once`` different images of each side, and is of one turn.
    """
    first = np.unique(pairs.first, return_inverse=True)[1] // rows_at_once
    second = np.unique(pairs.second, return_inverse=True)[1] // rows_at_once
    order = np.lexsort((second, first, pairs.turn))
    keys = np.stack([pairs.turn[order], first[order], second[order]])
    breaks = np.flatnonzero((np.diff(keys, axis=1) != 0).any(axis=0)) + 1
    return iter(np.split(order, breaks) if len(order) else [])


def _tile_cosines(pairs: Candidates, take_first: Take, take_second: Take) -> NDArray[np.float32]:
    """Return the cosines of pairs that are all of one turn, (n,) float32."""
    rows, i = np.unique(pairs.first, return_inverse=True)
    columns, j = np.unique(pairs.second, return_inverse=True)
    turn, left = pairs.turn[0], take_first(rows)
    across = -1 if turn in (LEFT_RIGHT, HALF_A_TURN) else 1
    down = -1 if turn in (UPSIDE_DOWN, HALF_A_TURN) else 1
    turned = left[..., ::down, ::across]
    products: NDArray[np.float32] = (l2_normalise(turned) @ l2_normalise(take_second(columns)).T)[
        i, j
    ]
    return np.clip(products, -1, 1)


def cosine_confirms(
    pairs: Candidates, take_first: Take, take_second: Take, rows_at_once: int = 1024
) -> NDArray[np.float32]:
    """Return the cosines of the conv5 features of the candidates.

    The features of a mirrored image are approximated by those of the image with reversed axes. The
    filters themselves are not symmetric, so the cosine is lower than that of a copy that is not
    mirrored.

    Args:
        pairs: the candidates, any number.
        take_first: reads features of the first set.
        take_second: reads features of the second set.
        rows_at_once: images of each side whose features are in memory at a time (38 MB a side for
            1024 images of 256 x 6 x 6, and as much again while they are normalised).

    Returns:
        (n,) float32 in the order of the candidates; 0 where the features of an image are all 0.
    """
    cosines = np.empty(len(pairs), np.float32)
    for tile in _tiles(pairs, rows_at_once):
        cosines[tile] = _tile_cosines(pairs.where(tile), take_first, take_second)
    return cosines


def required_cosine(pairs: Candidates) -> NDArray[np.float64]:
    """Return the cosine from which on each candidate counts as a copy, (n,) float64."""
    required = np.where(pairs.turn != STRAIGHT, MIN_COSINE_MIRRORED, MIN_COSINE)
    close = np.where(pairs.turn >= UPSIDE_DOWN, MIN_COSINE_UPSIDE_DOWN, MIN_COSINE_CLOSE)
    return np.where(pairs.distance <= CLOSE_HAMMING, close, required)


def _confirmed(
    batch: Candidates, cosines: NDArray[np.float32], required: NDArray[np.float64]
) -> Iterator[Pair]:
    """Yield the pairs of a batch whose cosines are high enough."""
    enough = cosines >= required
    kept = batch.where(enough)
    columns = (kept.first, kept.second, kept.distance, cosines[enough], kept.turn != STRAIGHT)
    for fields in zip(*(column.tolist() for column in columns), strict=True):
        yield Pair(*fields)


def find_near_duplicates(
    hashes_train: Hashes,
    hashes_test: Hashes,
    take_train: Take,
    take_test: Take,
) -> list[Pair]:
    """Find the pairs of a training and a test image that are copies of each other.

    Candidates differ by at most MAX_HAMMING bits of their hashes; :func:`required_cosine` says how
    similar their features must be. Flat images (see :func:`candidates`) are in no pair.

    Args:
        hashes_train: (n,) uint64 of :func:`perceptual_hash`.
        hashes_test: (m,) uint64.
        take_train: reads features by position in ``hashes_train``.
        take_test: reads features by position in ``hashes_test``.

    Returns:
        By falling similarity, then first and second. A pair that counts in several ways is listed
        once, the most similar way.
    """
    best: dict[tuple[int, int], Pair] = {}
    for batch in _batches(candidates(hashes_train, hashes_test, MAX_HAMMING), _CANDIDATES_AT_ONCE):
        cosines = cosine_confirms(batch, take_train, take_test)
        for pair in _confirmed(batch, cosines, required_cosine(batch)):
            other = best.get((pair.first, pair.second))
            if other is None or pair.similarity > other.similarity:
                best[pair.first, pair.second] = pair
    return sorted(best.values(), key=lambda pair: (-pair.similarity, pair.first, pair.second))
