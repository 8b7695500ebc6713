"""Descriptors of maps worked by hand, and where a sample of them comes from."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from methods.features.descriptors import (
    as_descriptors,
    average,
    fit_local_transform,
    sample_descriptors,
)

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
    np.testing.assert_array_equal(
        average(as_descriptors(MAPS)), [[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]
    )
    # Half precision counts in steps of 1 above 1024: the sum must not be kept in it.
    many = np.full((1, 1, 64, 64), 1.0009765625, np.float16)
    assert average(as_descriptors(many))[0, 0] == np.float32(1.0009765625)


def _read(images: np.ndarray) -> np.ndarray:
    """Five images of 12 places: descriptor (image, place)."""
    return np.stack([np.stack([np.full(12, i), np.arange(12)], axis=1) for i in images]).astype(
        np.float16
    )


def test_a_sample_is_spread_over_the_images_and_takes_no_place_twice() -> None:
    drawn = sample_descriptors(_read, 5, 12, 23, 2, seed=0)
    assert (drawn.shape, drawn.dtype) == ((23, 2), np.float32)
    assert sorted(np.bincount(drawn[:, 0].astype(int))) == [4, 4, 5, 5, 5]
    assert len({tuple(row) for row in drawn.tolist()}) == 23
    assert drawn.tolist() == sorted(drawn.tolist()), "in the order of the images and places"


def test_all_of_them_where_there_are_no_more() -> None:
    np.testing.assert_array_equal(
        sample_descriptors(_read, 5, 12, 1000, 3, seed=0),
        _read(np.arange(5)).reshape(-1, 2),
    )


def test_a_sample_is_a_function_of_its_seed_not_of_the_blocks() -> None:
    first = sample_descriptors(_read, 5, 12, 23, 1, seed=3)
    np.testing.assert_array_equal(sample_descriptors(_read, 5, 12, 23, 5, seed=3), first)
    assert not np.array_equal(sample_descriptors(_read, 5, 12, 23, 5, seed=4), first)


def test_every_place_comes_up_about_as_often() -> None:
    counts = sum(
        np.bincount(sample_descriptors(_read, 5, 12, 15, 5, seed)[:, 1].astype(int), minlength=12)
        for seed in range(400)
    )
    np.testing.assert_allclose(counts, 500, atol=100)  # standard deviation below 22


def test_images_that_give_none_are_not_read() -> None:
    read: list[int] = []

    def maps(images: np.ndarray) -> np.ndarray:
        read.extend(images.tolist())
        return _read(images)

    assert len(sample_descriptors(maps, 5, 12, 2, 5, seed=0)) == 2
    assert len(read) == 2


def test_an_empty_sample_is_refused() -> None:
    for images, wanted in ((0, 5), (5, 0)):
        with pytest.raises(
            ValueError, match=f"{wanted} descriptors cannot be drawn from {images} images"
        ):
            sample_descriptors(_read, images, 12, wanted, 5, seed=0)


def _correlated(n: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    return (rng.normal(size=(n, 6)) @ rng.normal(size=(6, 6)) + 3).astype(np.float32)


@pytest.mark.parametrize("unit_length", [False, True])
@pytest.mark.parametrize("whiten", [False, True])
def test_the_components_are_those_of_scikit_learn(unit_length: bool, whiten: bool) -> None:
    sample, images = _correlated(400), _correlated(24).reshape(2, 12, 6)
    got = fit_local_transform(sample, unit_length, 3, whiten)(images)
    if unit_length:
        sample, flat = normalize(sample), normalize(images.reshape(-1, 6))
    else:
        flat = images.reshape(-1, 6)
    pca = PCA(3, svd_solver="full").fit(sample.astype(np.float64))
    expected = pca.transform(flat)
    if whiten:
        variances = pca.explained_variance_ * 399 / 400
        expected = expected / np.sqrt(variances + 0.01 * variances[0])
    largest = np.abs(pca.components_).argmax(axis=1)
    expected = expected * np.sign(pca.components_[np.arange(3), largest])
    assert (got.shape, got.dtype) == ((2, 12, 3), np.float32)
    np.testing.assert_allclose(got.reshape(-1, 3), expected, rtol=1e-4, atol=1e-5)


def test_descriptors_may_be_scaled_alone_or_left_as_they_are() -> None:
    images = np.array([[[3, 4], [0, 0]]], np.float16)
    np.testing.assert_array_equal(fit_local_transform(images[0], False, None, True)(images), images)
    scaled = fit_local_transform(images[0], True, None, False)(images)
    np.testing.assert_allclose(scaled, [[[0.6, 0.8], [0, 0]]], rtol=1e-6)


def test_equal_descriptors_stay_equal_wherever_they_stand() -> None:
    """Else the residuals of a black border are rounding, which a normalisation blows up."""
    sample = _correlated(500)
    transform = fit_local_transform(sample, True, 4, True)
    many = transform(np.repeat(sample[:1], 1027, axis=0))
    assert (many == transform(sample[:1])).all()


def test_no_more_components_than_numbers_and_none_of_equal_descriptors() -> None:
    assert fit_local_transform(_correlated(50), False, 100, False)(_correlated(2)).shape == (2, 6)
    with pytest.raises(ValueError, match="all local descriptors are equal"):
        fit_local_transform(np.ones((9, 4)), False, 2, True)
    with pytest.raises(ValueError, match="local descriptors must be finite"):
        fit_local_transform(np.full((9, 4), np.nan), False, None, False)
