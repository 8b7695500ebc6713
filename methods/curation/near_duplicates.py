"""Near-duplicate images across a split: one picture, changed, on both sides.

A copy of a training image among the test images makes an evaluation optimistic. It may have been
re-encoded, resized, cropped, moved, rotated by a few degrees, mirrored, turned by quarters,
inverted, framed or written on. Two steps find it. Candidates are the images whose gradient grids
(:mod:`methods.curation.gradient_grids`) or perceptual hashes
(:mod:`methods.imaging.perceptual_hash`) are nearest; each is then laid over the test image, and
counts where the details agree (:mod:`methods.curation.registration`). Neither step is fitted to
anything. ``docs/near_duplicates.md`` has what they find.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from methods.curation.gradient_grids import (
    MIRRORED,
    SIDE,
    TURNS,
    Float32,
    Grey,
    changed,
    gradient_grids,
    resized,
    trimmed,
    turned,
    turned_grids,
)
from methods.curation.registration import (
    MIN_AGREEMENT,
    Views,
    likeness,
    rough_maps,
    views_of,
)
from methods.imaging.perceptual_hash import (
    FLAT_HASH,
    HALF_A_TURN,
    LEFT_RIGHT,
    STRAIGHT,
    UPSIDE_DOWN,
    Hashes,
    mirrored_hashes,
)

Take = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""Function that reads prepared images by ascending, unrepeated positions: (m,) -> (m, H, W, 3)."""

NEIGHBOURS = 5
"""Number of training images that are candidates for each form of a test image."""
MAX_HAMMING = 10
"""Maximum number of differing bits of the hashes of a candidate."""
MIN_LIKENESS = 0.9
"""Minimum likeness of the details of a copy (:func:`~methods.curation.registration.likeness`)."""

_HASH_TURNS = {
    STRAIGHT: 0,
    LEFT_RIGHT: MIRRORED,
    UPSIDE_DOWN: MIRRORED + 2,
    HALF_A_TURN: 2,
}
"""The turn of a grid for each way in which a hash can be mirrored."""
_NOWHERE = 64
"""Distance of hashes of which one is of a flat picture."""
_READ, _COMPARED, _TESTED = 256, 1024, 512
"""Number of training images that are read and that are compared, and of test images, at a time.

A block takes about 250 MB: 75 of views of the test images, 160 of products of grids.
"""


@dataclass(frozen=True)
class Side:
    """The images of one side of a comparison.

    Attributes:
        hashes: (n,) uint64 of :func:`~methods.imaging.perceptual_hash.perceptual_hash`.
        groups: (n,) whole numbers. Images of the same group are not compared.
        take: reads prepared images by position.
    """

    hashes: Hashes
    groups: NDArray[np.int64]
    take: Take

    def __len__(self) -> int:
        return len(self.hashes)

    def pictures(self, positions: NDArray[np.int64]) -> list[Grey]:
        """The images at some positions in grey levels, (H, W) uint8 each."""
        return [np.asarray(Image.fromarray(image).convert("L")) for image in self.take(positions)]


@dataclass(frozen=True)
class Pair:
    """Two images that show the same picture.

    Attributes:
        first: position on the training side.
        second: position on the test side.
        likeness: correlation that three quarters of the details have at least, 0 to 1.
        quarter_turns: by how many quarters, against the clock, the first is turned.
        mirrored: whether the first is mirrored left to right before it is turned.
        inverted: whether black is white.
    """

    first: int
    second: int
    likeness: float
    quarter_turns: int
    mirrored: bool
    inverted: bool

    def reversed(self) -> Pair:
        """The same pair, the other image first."""
        back = self.quarter_turns if self.mirrored else -self.quarter_turns % 4
        return replace(self, first=self.second, second=self.first, quarter_turns=back)


@dataclass(frozen=True)
class Candidates:
    """Pairs that may be copies; a pair may be listed for several turns, with and without borders.

    Attributes:
        rows: (n, 4) int64, sorted and unrepeated: position of the training image, position of the
            test image, turn of the first, and 1 where borders are taken away, else 0.
    """

    rows: NDArray[np.int64]

    @classmethod
    def of(cls, parts: Iterable[NDArray[np.int64]]) -> Candidates:
        """The candidates of all parts, each (n, 4)."""
        return cls(np.unique(np.concatenate([np.empty((0, 4), np.int64), *parts]), axis=0))


@dataclass(frozen=True)
class _Index:
    """The training side as the search for candidates sees it.

    Attributes:
        whole: (n, 5, 5, 8) gradient grids.
        inner: (n, 5, 5, 8) gradient grids without the borders of the pictures.
        framed: (n,) bool, which pictures have a border.
    """

    whole: Float32
    inner: Float32
    framed: NDArray[np.bool_]


def _is_framed(pictures: list[Grey]) -> NDArray[np.bool_]:
    """Return which pictures have a border, (n,) bool."""
    return np.array([trimmed(picture).shape != picture.shape for picture in pictures], bool)


def _index(side: Side) -> _Index:
    """Read a side and return its index."""
    parts: list[tuple[Float32, Float32, NDArray[np.bool_]]] = []
    for start in range(0, len(side), _READ):
        pictures = side.pictures(np.arange(start, min(start + _READ, len(side))))
        whole, inner = (
            gradient_grids(np.stack([resized(picture, SIDE) for picture in form]))
            for form in (pictures, [trimmed(picture) for picture in pictures])
        )
        parts.append((whole, inner, _is_framed(pictures)))
    return _Index(
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        np.concatenate([part[2] for part in parts]),
    )


def _nearest(
    scores: Iterable[tuple[int, Float32]], count: int
) -> tuple[NDArray[np.int64], Float32]:
    """Return the columns with the highest scores of each row, and the scores.

    Args:
        scores: blocks of columns, each with the number of its first column.
        count: how many columns of each row.

    Returns:
        (m, count or fewer) each, in no order.
    """
    columns: NDArray[np.int64] | None = None
    best: Float32 | None = None
    for start, block in scores:
        kept = min(count, block.shape[1])
        near = np.argpartition(-block, kept - 1, axis=1)[:, :kept]
        found = np.take_along_axis(block, near, 1)
        columns = near + start if columns is None else np.hstack([columns, near + start])
        best = found if best is None else np.hstack([best, found])
        kept = min(count, columns.shape[1])
        near = np.argpartition(-best, kept - 1, axis=1)[:, :kept]
        columns = np.take_along_axis(columns, near, 1)
        best = np.take_along_axis(best, near, 1)
    if columns is None or best is None:
        return np.empty((0, 0), np.int64), np.empty((0, 0), np.float32)
    return columns, best


def _grid_candidates(
    grids: Float32, of_train: Float32, same_group: NDArray[np.bool_], form: int
) -> NDArray[np.int64]:
    """Return the training images with the nearest grids in any turn.

    Args:
        grids: (m, 5, 5, 8) of one form of the test images.
        of_train: (n, 5, 5, 8).
        same_group: (m, n) bool.
        form: with (0) or without (1) borders.

    Returns:
        Rows of :class:`Candidates`, with positions among the test images given.
    """
    flat = grids.reshape(len(grids), -1)

    def scores(turn: int, start: int) -> Float32:
        turned = turned_grids(of_train[start : start + _COMPARED], turn)
        near: Float32 = flat @ turned.reshape(len(turned), -1).T
        near[same_group[:, start : start + _COMPARED]] = 0
        return near

    turns = np.empty((len(flat), len(of_train)), np.int8)

    def blocks() -> Iterator[tuple[int, Float32]]:
        for start in range(0, len(of_train), _COMPARED):
            every = np.stack([scores(turn, start) for turn in TURNS])
            turns[:, start : start + _COMPARED] = every.argmax(0)
            yield start, every.max(0)

    columns, best = _nearest(blocks(), NEIGHBOURS)
    test, place = np.nonzero(best > 0)
    train = columns[test, place]
    turn = turns[test, train].astype(np.int64)
    return np.stack([train, test, turn, np.full(len(train), form)], 1)


def _hash_candidates(
    hashes: Hashes, of_train: Hashes, same_group: NDArray[np.bool_]
) -> Iterator[NDArray[np.int64]]:
    """Yield the training images with the nearest hashes, for each way to mirror a hash.

    Flat images (FLAT_HASH) are close to nothing, not even to each other: every black slice would be
    a pair with every other. Equal files are found by their digest.
    """
    for way, turn in _HASH_TURNS.items():
        mirrored = mirrored_hashes(of_train, way)

        def blocks(mirrored: Hashes = mirrored) -> Iterator[tuple[int, Float32]]:
            for start in range(0, len(mirrored), _COMPARED):
                part = slice(start, start + _COMPARED)
                distances = np.bitwise_count(hashes[:, None] ^ mirrored[part])
                distances[same_group[:, part]] = _NOWHERE
                distances[hashes >= FLAT_HASH] = _NOWHERE
                distances[:, mirrored[part] >= FLAT_HASH] = _NOWHERE
                yield start, -distances.astype(np.float32)

        columns, best = _nearest(blocks(), NEIGHBOURS)
        test, place = np.nonzero(best >= -MAX_HAMMING)
        train = columns[test, place]
        yield np.stack([train, test, np.full(len(train), turn), np.zeros(len(train), int)], 1)


def _candidates(
    index: _Index, train: Side, test: Side, positions: NDArray[np.int64], pictures: list[Grey]
) -> Candidates:
    """Return the candidates of some test images, with positions among these."""
    same_group = test.groups[positions, None] == train.groups
    parts = list(_hash_candidates(test.hashes[positions], train.hashes, same_group))
    inner = [trimmed(picture) for picture in pictures]
    for form, (squares, grids) in enumerate(((pictures, index.whole), (inner, index.inner))):
        variants = [changed(resized(square, SIDE)) for square in squares]
        for variant in zip(*variants, strict=True):
            of_test = gradient_grids(np.stack(variant))
            parts.append(_grid_candidates(of_test, grids, same_group, form))
    found = Candidates.of(parts).rows
    framed = index.framed[found[:, 0]] | _is_framed(pictures)[found[:, 1]]
    found[:, 3] &= framed  # where neither has a border, both forms are the same
    return Candidates.of([found])


def _confirmed(
    found: Candidates, train: Side, positions: NDArray[np.int64], pictures: list[Grey]
) -> Iterator[Pair]:
    """Yield the candidates that are copies, some more than once."""
    of_test = _views(pictures)
    order = np.unique(found.rows[:, 0])
    for start in range(0, len(order), _READ):
        read = order[start : start + _READ]
        of_train = _views(train.pictures(read))
        rows = found.rows[np.isin(found.rows[:, 0], read)]
        rows = rows[np.lexsort((rows[:, 2], rows[:, 0], rows[:, 3], rows[:, 1]))]
        breaks = np.flatnonzero((np.diff(rows[:, [1, 3]], axis=0) != 0).any(1)) + 1
        for group in np.split(rows, breaks):
            second, form = int(group[0, 1]), int(group[0, 3])
            firsts = np.searchsorted(read, group[:, 0])
            for pair in _copies(of_train[form], firsts, group[:, 2], of_test[form], second):
                yield replace(pair, first=int(read[pair.first]), second=int(positions[pair.second]))


def _views(pictures: list[Grey]) -> tuple[Views, Views]:
    """Return the views of pictures with and without their borders."""
    return views_of(pictures), views_of([trimmed(picture) for picture in pictures])


def _copies(
    of_train: Views,
    firsts: NDArray[np.int64],
    turns: NDArray[np.int64],
    of_test: Views,
    second: int,
) -> Iterator[Pair]:
    """Lay pictures over a test picture and yield the copies, by their places in the views."""
    coarse = np.stack(
        [turned(of_train.coarse[i], turn) for i, turn in zip(firsts, turns, strict=True)]
    )
    maps = rough_maps(coarse, of_test.coarse[second])
    for place in np.flatnonzero(maps.agreement >= MIN_AGREEMENT):
        first, turn, sign = int(firsts[place]), int(turns[place]), int(maps.signs[place])
        alike = likeness(of_train.one(first, turn), of_test.one(second), maps.moves[place], sign)
        if alike >= MIN_LIKENESS:
            yield Pair(first, second, min(alike, 1.0), turn % 4, turn >= MIRRORED, sign < 0)


def find_near_duplicates(train: Side, test: Side) -> list[Pair]:
    """Find the pairs of a training and a test image that are copies of each other.

    A test image that is a copy of many training images is listed with some of them.

    Args:
        train: the training side.
        test: the test side.

    Returns:
        By falling likeness, then first and second. A pair that counts in several ways is listed
        once, the most alike way.
    """
    best: dict[tuple[int, int], Pair] = {}
    if not len(train) or not len(test):
        return []
    index = _index(train)
    for start in range(0, len(test), _TESTED):
        positions = np.arange(start, min(start + _TESTED, len(test)))
        pictures = test.pictures(positions)
        found = _candidates(index, train, test, positions, pictures)
        for pair in _confirmed(found, train, positions, pictures):
            other = best.get((pair.first, pair.second))
            if other is None or pair.likeness > other.likeness:
                best[pair.first, pair.second] = pair
    return _in_order(best.values())


def find_near_duplicates_within(images: Side) -> list[Pair]:
    """Find the pairs of images of different groups of one set that are copies of each other.

    Returns:
        As :func:`find_near_duplicates`; of each pair the first comes before the second.
    """
    best: dict[tuple[int, int], Pair] = {}
    for found in find_near_duplicates(images, images):
        pair = found if found.first < found.second else found.reversed()
        best.setdefault((pair.first, pair.second), pair)
    return _in_order(best.values())


def _in_order(pairs: Iterable[Pair]) -> list[Pair]:
    return sorted(pairs, key=lambda pair: (-pair.likeness, pair.first, pair.second))
