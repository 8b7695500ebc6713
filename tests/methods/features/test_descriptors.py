"""Descriptors of maps worked by hand, and where a sample of them comes from."""

from __future__ import annotations

import numpy as np
import pytest

from methods.features.descriptors import as_descriptors, average, sample_descriptors

MAPS = np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2)
"""Number 12 i + 4 c + 2 y + x: which image, channel and place it is can be read off."""


def test_a_descriptor_is_the_column_of_a_place() -> None:
    rows = as_descriptors(MAPS.astype(np.float16))
    assert (rows.shape, rows.dtype) == ((2, 4, 3), np.float32)
    np.testing.assert_array_equal(rows[0], [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]])
    np.testing.assert_array_equal(rows[1, 3], [15, 19, 23])
    with pytest.raises(ValueError, match=r"maps \(n, C, h, w\), got shape \(2, 4, 3\)"):
        as_descriptors(rows)


def test_the_average_is_over_the_places() -> None:
    np.testing.assert_array_equal(average(MAPS), [[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]])
    # Half precision counts in steps of 1 above 1024: the sum must not be kept in it.
    many = np.full((1, 1, 64, 64), 1.0009765625, np.float16)
    assert average(many)[0, 0] == np.float32(1.0009765625)


def _maps(images: np.ndarray) -> np.ndarray:
    """Five images of 3 x 4 places: descriptor (image, place)."""
    return np.stack(
        [np.stack([np.full((3, 4), i), np.arange(12).reshape(3, 4)]) for i in images]
    ).astype(np.float16)


def test_a_sample_is_spread_over_the_images_and_takes_no_place_twice() -> None:
    drawn = sample_descriptors(_maps, 5, 12, 23, 2, seed=0)
    assert (drawn.shape, drawn.dtype) == ((23, 2), np.float32)
    assert sorted(np.bincount(drawn[:, 0].astype(int))) == [4, 4, 5, 5, 5]
    assert len({tuple(row) for row in drawn.tolist()}) == 23
    assert drawn.tolist() == sorted(drawn.tolist()), "in the order of the images and places"


def test_all_of_them_where_there_are_no_more() -> None:
    np.testing.assert_array_equal(
        sample_descriptors(_maps, 5, 12, 1000, 3, seed=0),
        as_descriptors(_maps(np.arange(5))).reshape(-1, 2),
    )


def test_a_sample_is_a_function_of_its_seed_not_of_the_blocks() -> None:
    first = sample_descriptors(_maps, 5, 12, 23, 1, seed=3)
    np.testing.assert_array_equal(sample_descriptors(_maps, 5, 12, 23, 5, seed=3), first)
    assert not np.array_equal(sample_descriptors(_maps, 5, 12, 23, 5, seed=4), first)


def test_every_place_comes_up_about_as_often() -> None:
    counts = sum(
        np.bincount(sample_descriptors(_maps, 5, 12, 15, 5, seed)[:, 1].astype(int), minlength=12)
        for seed in range(400)
    )
    np.testing.assert_allclose(counts, 500, atol=100)  # standard deviation below 22


def test_images_that_give_none_are_not_read() -> None:
    read: list[int] = []

    def maps(images: np.ndarray) -> np.ndarray:
        read.extend(images.tolist())
        return _maps(images)

    assert len(sample_descriptors(maps, 5, 12, 2, 5, seed=0)) == 2
    assert len(read) == 2


def test_an_empty_sample_is_refused() -> None:
    for images, wanted in ((0, 5), (5, 0)):
        with pytest.raises(
            ValueError, match=f"{wanted} descriptors cannot be drawn from {images} images"
        ):
            sample_descriptors(_maps, images, 12, wanted, 5, seed=0)
