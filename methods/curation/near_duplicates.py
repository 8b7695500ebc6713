"""Near-duplicate images across a split: copies that were re-encoded, resized, brightened, slightly
cropped or turned over.

A copy of a training image among the test images makes an evaluation optimistic. Two steps find
them: a 64-bit perceptual hash (Zauner 2010, "Implementation and Benchmarking of Perceptual Image
Hash Functions", section 3.1.1) gives candidates in a few nanoseconds a pair, and the cosine of the
stored conv5 features confirms or drops each.

Deviation from Zauner: the DCT coefficients are compared with 0, not with their median. Mirroring an
image left to right turns the sign of the odd horizontal frequencies, and upside down that of the
odd vertical ones, so the hash of the mirrored image follows from the hash itself; a median would
move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Hashes = NDArray[np.uint64]
Take = Callable[[NDArray[np.int64]], NDArray[np.floating]]
"""``take(positions)`` reads the conv5 features of ascending, unrepeated positions: (m,) int64 ->
(m, C, H, W)."""

# Chosen with benchmarks/near_duplicates.py on 9,602 images (chest x-rays, mammograms, figures of 13
# kinds, MedNIST's 64-pixel images) and changed copies of 400 of them. Recall: 1.00 for JPEG of
# quality 75 and 90, resizing to 80 %, contrast, gamma, darker, mirrored, upside down, turned by
# half and the last three as JPEG 75; 0.99 for brighter; 0.98 for JPEG 50 and resizing to 50 %; 0.97
# cropped by 2 %; 0.95 with noise; 0.72 mirrored and cropped by 5 %; 0.63 cropped by 5 %; 0.37
# rotated by 2 degrees; 0.07 cropped by 10 %. Nothing found is no proof that there is nothing.
# Flagged pairs of different groups: of 17 million of chest x-rays 3, all within 2 bits; of 28
# thousand of mammograms none; of 7,140 of fundus photographs, which are all framed alike, 2 (0.90
# instead of 0.93 would flag 17). The other figures gave 32 and MedNIST 132, which are by eye nearly
# all figures and gels drawn twice and adjacent slices; the rest are plots with the same axes,
# hands, and heads.
MAX_HAMMING = 10
"""Bits: a crop by 5 % stays below for 91 %; at 14 the candidates are ten times as many, and the
cosine drops most."""
MIN_COSINE = 0.93
MIN_COSINE_MIRRORED = 0.83
"""Lower, as a map turned round only stands in; 0.83 flags 2 of 2 million pairs of MedNIST images
mirrored, 0.80 would flag 20."""
CLOSE_HAMMING = 2
MIN_COSINE_CLOSE = 0.75
"""Noise, blur and JPEG leave the hash alone and change conv5 most: where it agrees, less is asked
of the cosine."""
MIN_COSINE_UPSIDE_DOWN = 0.5
"""Where the hashes agree upside down or by half a turn: conv5 is far from symmetric that way, and
no copy was below 0.51. Of 20 million pairs of different groups none has hashes that agree so,
whatever the cosine."""

FLAT_HASH = 1 << 63
"""Hash of an image without contrast. The top bit, where the mean's coefficient would be, is set in
no other hash."""

_SIDE, _KEPT = 32, 8
# Rows of the orthonormal DCT-II. scipy.fft takes as long to import as all else that a process which
# decodes images imports.
_DCT = np.cos(np.pi / _SIDE * np.arange(_KEPT)[:, np.newaxis] * (np.arange(_SIDE) + 0.5)) * np.sqrt(
    2 / _SIDE
)
_DCT[0] /= np.sqrt(2)
# a row of 8 coefficients is a byte, the lowest frequency its top bit
_ODD_COLUMNS = 0x5555_5555_5555_5555
_ODD_ROWS = 0x00FF_00FF_00FF_00FF  # the lowest row is the top byte
STRAIGHT, LEFT_RIGHT, UPSIDE_DOWN, HALF_A_TURN = TURNS = range(4)
"""How the first image of a pair is mirrored before the two are compared; half a turn is both
ways."""
_TURNED_SIGNS = (0, _ODD_COLUMNS, _ODD_ROWS, _ODD_COLUMNS ^ _ODD_ROWS)
# grey levels; rounding stays far below, so a coefficient that is 0 by symmetry gives the same bit
# everywhere
_ZERO = 1e-3
# norm of the kept coefficients where the grey values' standard deviation is one level
_FLAT = float(_SIDE)
_CANDIDATES_AT_ONCE = 1 << 20


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
        """Those that a mask keeps, or in the order of an index."""
        return Candidates(self.first[keep], self.second[keep], self.distance[keep], self.turn[keep])


def perceptual_hash(rgb: NDArray[np.uint8]) -> int:
    """Signs of the 63 lowest frequencies, which survive encoding, scaling and changes of brightness
    and contrast.

    Grey, antialiased to 32 x 32 whatever the aspect ratio, DCT-II, the top left 8 x 8 coefficients
    without the mean. Row by row from the second highest bit on, a bit is 1 where the coefficient is
    positive.

    Args:
        rgb: (h, w, 3) or (h, w) uint8.

    Returns:
        0 <= hash < 2^63, or FLAT_HASH where the low frequencies hold less than one grey level of
        contrast: their signs would be those of the noise.
    """
    grey = (
        Image.fromarray(rgb)
        .convert("L")
        .convert("F")
        .resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    )
    low = (_DCT @ np.asarray(grey, np.float64) @ _DCT.T).ravel()[1:]
    if np.linalg.norm(low) < _FLAT:
        return FLAT_HASH
    return int.from_bytes(np.packbits(np.concatenate([[False], low > _ZERO])).tobytes(), "big")


def mirrored_hash(hash64: int, turn: int = LEFT_RIGHT) -> int:
    """Hash of the image mirrored in one of TURNS: the signs of the odd frequencies turn.

    It is exact but for a coefficient of 0, which has no sign to turn. Those of a symmetric image
    are such, and a symmetric image equals its mirror image anyway.
    """
    return hash64 ^ _TURNED_SIGNS[turn]


def _close(
    hashes_a: Hashes, hashes_b: Hashes, max_distance: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint8]]:
    """Rows, columns and distances of the pairs within ``max_distance``; nothing is close to a flat
    image.
    """
    distances: NDArray[np.uint8] = np.bitwise_count(hashes_a[:, None] ^ hashes_b)
    distances[hashes_a >= FLAT_HASH] = 64
    distances[:, hashes_b >= FLAT_HASH] = 64
    i, j = np.nonzero(distances <= max_distance)
    return i, j, distances[i, j]


def candidates(
    hashes_a: Hashes, hashes_b: Hashes, max_distance: int, rows_at_once: int = 2048
) -> Iterator[Candidates]:
    """Pairs of the two sets whose hashes are close, straight or mirrored in one of three ways.

    Flat images (FLAT_HASH) are close to nothing, not even to each other: all black slices would be
    pairs of all others. Equal files are found by their digest.

    Args:
        hashes_a: (n,) uint64.
        hashes_b: (m,) uint64.
        max_distance: differing bits up to which a pair is close, at most 63.
        rows_at_once: hashes of each side that are compared at a time; memory grows with its square
            (80 MB for 2048, more where most pairs are close).

    Yields:
        The candidates of a block, which may be none, in the order of the blocks; by turn, then by
        first and second.
    """
    for turn in TURNS:
        turned = hashes_a ^ np.uint64(_TURNED_SIGNS[turn])
        for a in range(0, len(turned), rows_at_once):
            for b in range(0, len(hashes_b), rows_at_once):
                i, j, distance = _close(
                    turned[a : a + rows_at_once], hashes_b[b : b + rows_at_once], max_distance
                )
                yield Candidates(i + a, j + b, distance, np.full(len(i), turn, np.uint8))


def _merged(parts: list[Candidates]) -> Candidates:
    return Candidates(
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.second for part in parts]),
        np.concatenate([part.distance for part in parts]),
        np.concatenate([part.turn for part in parts]),
    )


def _batches(blocks: Iterable[Candidates], at_least: int) -> Iterator[Candidates]:
    """Blocks merged until there are ``at_least`` candidates; the last may be smaller, none is
    empty.
    """
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
    """Indices of the pairs, grouped so that a group names at most ``rows_at_once`` different images
    of each side.
    """
    first = np.unique(pairs.first, return_inverse=True)[1] // rows_at_once
    second = np.unique(pairs.second, return_inverse=True)[1] // rows_at_once
    order = np.lexsort((second, first, pairs.turn))
    keys = np.stack([pairs.turn[order], first[order], second[order]])
    breaks = np.flatnonzero((np.diff(keys, axis=1) != 0).any(axis=0)) + 1
    return iter(np.split(order, breaks) if len(order) else [])


def _tile_cosines(pairs: Candidates, take_first: Take, take_second: Take) -> NDArray[np.float32]:
    """Cosines of pairs that are all of one turn, (n,) float32."""
    from methods.arrays import l2_normalise  # as above

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
    """Cosines of the conv5 features of the candidates.

    The features of a mirrored image are nearly those of the image with their axes turned round,
    which stand in for them: the filters themselves are not symmetric, so the cosine is lower than
    that of a straight copy.

    Args:
        pairs: the candidates, any number.
        take_first: reads features of the first set.
        take_second: reads features of the second set.
        rows_at_once: images of each side whose features are held at a time (38 MB a side for 1024
            images of 256 x 6 x 6, and as much again while they are normalised).

    Returns:
        (n,) float32 in the order of the candidates; 0 where the features of an image are all 0.
    """
    cosines = np.empty(len(pairs), np.float32)
    for tile in _tiles(pairs, rows_at_once):
        cosines[tile] = _tile_cosines(pairs.where(tile), take_first, take_second)
    return cosines


def required_cosine(
    pairs: Candidates,
    min_cosine: float = MIN_COSINE,
    min_cosine_mirrored: float = MIN_COSINE_MIRRORED,
    min_cosine_close: float = MIN_COSINE_CLOSE,
) -> NDArray[np.float64]:
    """Cosine from which on a candidate counts as a copy, (n,) float64; see
    :func:`find_near_duplicates`.
    """
    required = np.where(pairs.turn != STRAIGHT, min_cosine_mirrored, min_cosine)
    close = np.where(
        pairs.turn >= UPSIDE_DOWN,
        np.minimum(min_cosine_close, MIN_COSINE_UPSIDE_DOWN),
        min_cosine_close,
    )
    return np.where(pairs.distance <= CLOSE_HAMMING, np.minimum(required, close), required)


def _confirmed(
    batch: Candidates, cosines: NDArray[np.float32], required: NDArray[np.float64]
) -> Iterator[Pair]:
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
    max_distance: int = MAX_HAMMING,
    min_cosine: float = MIN_COSINE,
    min_cosine_mirrored: float = MIN_COSINE_MIRRORED,
    min_cosine_close: float = MIN_COSINE_CLOSE,
) -> list[Pair]:
    """Pairs of a training and a test image that are copies of each other.

    Flat images (see :func:`candidates`) are in no pair.

    Args:
        hashes_train: (n,) uint64 of :func:`perceptual_hash`.
        hashes_test: (m,) uint64.
        take_train: reads features by position in ``hashes_train``.
        take_test: reads features by position in ``hashes_test``.
        max_distance: differing bits up to which the features are compared at all.
        min_cosine: similarity from which on a straight candidate counts.
        min_cosine_mirrored: the same for a mirrored one.
        min_cosine_close: enough for either where at most CLOSE_HAMMING bits differ;
            MIN_COSINE_UPSIDE_DOWN is, the other way up.

    Returns:
        By falling similarity, then first and second. A pair that counts in several ways is listed
        once, the most similar way.
    """
    best: dict[tuple[int, int], Pair] = {}
    for batch in _batches(candidates(hashes_train, hashes_test, max_distance), _CANDIDATES_AT_ONCE):
        required = required_cosine(batch, min_cosine, min_cosine_mirrored, min_cosine_close)
        for pair in _confirmed(batch, cosine_confirms(batch, take_train, take_test), required):
            other = best.get((pair.first, pair.second))
            if other is None or pair.similarity > other.similarity:
                best[pair.first, pair.second] = pair
    return sorted(best.values(), key=lambda pair: (-pair.similarity, pair.first, pair.second))
