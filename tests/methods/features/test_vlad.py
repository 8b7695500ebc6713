"""VLAD: a case worked by hand with every switch, a plain double loop, and scikit-learn's own checks
of an estimator."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from methods.features.codebook import fit_codebook
from methods.features.vlad import DESCRIPTORS_AT_ONCE, VLAD, assign, encode

# Centroids (0, 0) and (10, 0). The first image gives cell 0 the residuals (1, 2) + (2, 2) and cell
# 1 (0, -12) + (0, 0); the second leaves cell 1 empty; the third lies on its centroid.
CENTROIDS = np.array([[0, 0], [10, 0]], np.float32)
IMAGES = np.array(
    [
        [[1, 2], [10, -12], [2, 2], [10, 0]],
        [[0, -2], [0, 1], [0, -1], [0, -2]],
        [[10, 0], [10, 0], [10, 0], [10, 0]],
    ],
    np.float32,
)


def _loop(images: np.ndarray, centroids: np.ndarray, intra: bool, root: bool) -> np.ndarray:
    rows = []
    for image in images.astype(np.float64):
        v = np.zeros(centroids.shape)
        for x in image:
            i = int(((x - centroids) ** 2).sum(axis=1).argmin())
            v[i] += x - centroids[i]
        if root:
            v = np.sign(v) * np.abs(v) ** 0.5
        if intra:
            v = np.stack([cell / np.linalg.norm(cell) if cell.any() else cell for cell in v])
        rows.append(v.ravel() / np.linalg.norm(v) if v.any() else v.ravel())
    return np.stack(rows)


def _random_images(n: int, per_image: int, d: int = 5, k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return np.maximum(rng.normal(0.3, 1, (n, per_image, d)), 0).astype(np.float32), rng.normal(
        0.5, 1, (k, d)
    ).astype(np.float32)


@pytest.mark.parametrize(
    ("intra", "root", "first", "second"),
    [
        (False, False, np.array([3, 4, 0, -12]) / 13, [0, -1, 0, 0]),
        (False, True, np.array([3**0.5, 2, 0, -(12**0.5)]) / 19**0.5, [0, -1, 0, 0]),
        (True, False, np.array([0.6, 0.8, 0, -1]) / 2**0.5, [0, -1, 0, 0]),
        # The root before the cells: (sqrt 3, 2) / sqrt 7. After them it would be (sqrt 0.6, sqrt
        # 0.8).
        (True, True, np.array([(3 / 7) ** 0.5, (4 / 7) ** 0.5, 0, -1]) / 2**0.5, [0, -1, 0, 0]),
    ],
)
def test_two_centroids_by_hand(
    intra: bool, root: bool, first: np.ndarray, second: list[float]
) -> None:
    rows = encode(IMAGES, CENTROIDS, intra_normalisation=intra, signed_sqrt=root)
    np.testing.assert_allclose(rows, [first, second, [0, 0, 0, 0]], atol=1e-7)
    assert rows.dtype == np.float32


@pytest.mark.parametrize(("intra", "root"), list(itertools.product([False, True], repeat=2)))
@pytest.mark.parametrize(("n", "per_image"), [(31, 300), (2, DESCRIPTORS_AT_ONCE + 5), (3, 1)])
def test_agrees_with_a_double_loop(n: int, per_image: int, intra: bool, root: bool) -> None:
    images, centroids = _random_images(n, per_image)
    rows = encode(images, centroids, intra_normalisation=intra, signed_sqrt=root)
    np.testing.assert_allclose(rows, _loop(images, centroids, intra, root), atol=1e-5)


def test_an_image_does_not_depend_on_its_company() -> None:
    images, centroids = _random_images(31, 300)
    together = encode(images, centroids)
    alone = np.concatenate([encode(images[i : i + 1], centroids) for i in range(len(images))])
    assert alone.tobytes() == together.tobytes()


def test_descriptors_on_their_centroid_leave_a_zero_cell() -> None:
    # 729 times 0.1 summed in float32 is not 729 * 0.1, and intra-normalisation would make a full
    # cell of the difference.
    centroids = np.array([[0.1, 0.1, 0.1], [9, 9, 9]], np.float32)
    image = np.concatenate([np.repeat(centroids[:1], 729, axis=0), [[9, 9, 10]]]).astype(np.float32)
    assert encode(image[None], centroids, intra_normalisation=True).tolist() == [[0, 0, 0, 0, 0, 1]]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions_are_computed_in_float32(dtype: type) -> None:
    images, centroids = _random_images(4, 50)
    stored = (images * 300).astype(dtype)  # squares beyond 65504, the largest float16
    expected = encode(stored.astype(np.float32), centroids * 300)
    rows = encode(stored, centroids * 300)
    assert rows.dtype == np.float32
    assert rows.tobytes() == expected.tobytes()


def test_assignment_agrees_with_distances() -> None:
    rng = np.random.default_rng(1)
    rows, centroids = rng.normal(2, 1, (DESCRIPTORS_AT_ONCE + 700, 3)), rng.normal(2, 1, (7, 3))
    nearest = assign(rows, centroids)
    assert nearest.dtype == np.int64
    np.testing.assert_array_equal(nearest, cdist(rows, centroids).argmin(axis=1))


def test_ties_go_to_the_lowest_index() -> None:
    centroids = np.array([[4.0, 0.0], [0.0, 0.0], [4.0, 0.0], [2.0, 2.0]])
    assert assign(np.array([[2.0, 0.0], [4.0, 0.0], [2.0, -5.0]]), centroids).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("images", "centroids", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 3)), r"do not fit: \(2, 3\) and \(2, 3\)"),
        (np.ones((2, 4, 3)), np.ones((2, 4)), r"do not fit: \(2, 4, 3\) and \(2, 4\)"),
        (np.ones((2, 4, 3)), np.ones(3), r"do not fit: \(2, 4, 3\) and \(3,\)"),
        (np.ones((2, 0, 3)), np.ones((2, 3)), "got 0 and 2"),
        (np.ones((2, 4, 3)), np.ones((0, 3)), "got 4 and 0"),
        (np.array([[[1.0, np.nan]]]), np.ones((2, 2)), "finite"),
        (np.array([[[1.0, -np.inf]]]), np.ones((2, 2)), "finite"),
        (np.array([[[1.0, 1e300]]]), np.ones((2, 2)), "finite"),
        (np.ones((2, 4, 2)), np.array([[0.0, np.inf]]), "finite"),
        (np.ones((2, 4, 2)), np.array([[0.0, -1e30]]), "finite"),
    ],
)
def test_refusals(images: np.ndarray, centroids: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode(images, centroids)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_assignment_refuses_values_that_cannot_be_squared(bad: float) -> None:
    rows = np.ones((DESCRIPTORS_AT_ONCE + 3, 2))
    rows[-1, 0] = bad
    for descriptors, centroids in ((rows, np.zeros((2, 2))), (np.zeros((2, 2)), rows)):
        with pytest.raises(ValueError, match="finite descriptors and centroids"):
            assign(descriptors, centroids)


def test_the_estimator_is_codebook_and_encoding() -> None:
    images, _ = _random_images(40, 10)
    vlad = VLAD(n_clusters=6, intra_normalisation=True, signed_sqrt=True, random_state=4)
    rows = vlad.fit_transform(images)
    book = fit_codebook(images.reshape(-1, 5), 6, 4)
    assert vlad.centroids_.tobytes() == book.centroids.tobytes()
    assert (vlad.n_iter_, vlad.n_features_in_) == (book.iterations, 5)
    assert (
        rows.tobytes()
        == encode(images, book.centroids, intra_normalisation=True, signed_sqrt=True).tobytes()
    )
    assert vlad.get_feature_names_out().tolist() == [f"vlad{i}" for i in range(30)]
    # Another number of descriptors an image, another precision.
    other = images[:, :7].astype(np.float16)
    np.testing.assert_array_equal(
        vlad.transform(other),
        encode(other, book.centroids, intra_normalisation=True, signed_sqrt=True),
    )


def test_a_matrix_is_one_descriptor_an_image() -> None:
    images, _ = _random_images(50, 1)
    flat, stacked = VLAD(n_clusters=3, random_state=0), VLAD(n_clusters=3, random_state=0)
    np.testing.assert_array_equal(flat.fit_transform(images[:, 0]), stacked.fit_transform(images))
    assert flat.n_features_in_ == stacked.n_features_in_ == 5


@pytest.mark.parametrize("state", [lambda: 7, lambda: np.random.RandomState(7)])
def test_random_state(state: Callable[[], int | np.random.RandomState]) -> None:
    images, _ = _random_images(40, 10)
    first, again = (
        VLAD(n_clusters=6, random_state=state()).fit(images).centroids_ for _ in range(2)
    )
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != VLAD(n_clusters=6, random_state=8).fit(images).centroids_.tobytes()


def test_no_random_state_draws_a_new_one() -> None:
    images, _ = _random_images(40, 10)
    vlad = VLAD(n_clusters=6)
    assert len({clone(vlad).fit(images).centroids_.tobytes() for _ in range(5)}) > 1


def test_too_few_iterations_are_a_warning() -> None:
    images, _ = _random_images(40, 10)
    with pytest.warns(ConvergenceWarning, match="fewer than 2 iterations"):
        assert VLAD(n_clusters=6, max_iterations=2, random_state=0).fit(images).n_iter_ == 2


def test_the_estimator_refuses() -> None:
    images, _ = _random_images(40, 10)
    vlad = VLAD(n_clusters=6, random_state=0)
    with pytest.raises(NotFittedError):
        vlad.transform(images)
    vlad.fit(images)
    with pytest.raises(ValueError, match="4 features, but VLAD is expecting 5"):
        vlad.transform(images[:, :, :4])
    with pytest.raises(ValueError, match="NaN"):
        vlad.transform(np.where(images > 1, np.nan, images))
    with pytest.raises(ValueError, match="401 clusters need at least as many descriptors"):
        VLAD(n_clusters=401).fit(images)


@parametrize_with_checks(
    [
        VLAD(n_clusters=3, random_state=0),
        VLAD(n_clusters=2, intra_normalisation=True, signed_sqrt=True, random_state=0),
    ]
)
def test_scikit_learn_takes_it_for_an_estimator(
    estimator: VLAD, check: Callable[[VLAD], None]
) -> None:
    check(estimator)
