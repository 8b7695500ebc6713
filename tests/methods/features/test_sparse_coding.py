"""Sparse coding against soft thresholding, the optimality conditions of the lasso and
scikit-learn's SparseCoder."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.decomposition import SparseCoder

from methods.features import sparse_coding as method
from methods.features.sparse_coding import encode, fit_dictionary


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _problem(m: int = 40, atoms: int = 24, k: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(0, 2, (m, k)), _unit(rng.normal(size=(atoms, k)))


def _sparse_patches(n: int, atoms: int = 10, k: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Patches made of one or two of ``atoms`` orthonormal atoms, and a little noise."""
    rng = np.random.default_rng(0)
    dictionary = np.linalg.qr(rng.normal(size=(k, atoms)))[0].T
    codes = np.zeros((n, atoms))
    for _ in range(2):
        codes[np.arange(n), rng.integers(0, atoms, n)] += rng.choice([-1, 1], n) * rng.uniform(
            2, 4, n
        )
    return (codes @ dictionary + rng.normal(0, 0.01, (n, k))).astype(np.float32), dictionary


# Codes


def test_orthonormal_dictionary_is_soft_thresholding() -> None:
    """Reference: for V V' = 1 the solution is sign(Vx) max(|Vx| - alpha, 0) (closed form)."""
    rng = np.random.default_rng(0)
    dictionary = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    patches = rng.normal(0, 2, (30, 6))
    codes = encode(patches, dictionary, 0.7)
    assert codes.magnitudes.dtype == np.float32
    assert codes.unconverged == 0
    np.testing.assert_allclose(
        codes.magnitudes, np.maximum(np.abs(patches @ dictionary.T) - 0.7, 0), atol=1e-4
    )
    # By hand, on the axes: x = (3, -0.5, -2), alpha 1 -> (2, 0, 1).
    np.testing.assert_allclose(
        encode(np.array([[3, -0.5, -2]]), np.eye(3), 1.0).magnitudes, [[2, 0, 1]], atol=1e-6
    )


def test_codes_meet_the_optimality_conditions_of_the_lasso() -> None:
    """Reference: V (x - u V) = alpha sign(u) where u is not zero, and at most alpha in magnitude
    elsewhere.

    The signs, which the magnitudes have lost, are those of the correlations of the residual of the
    best of all sign patterns; with two atoms there are four patterns to try.
    """
    alpha = 0.5
    dictionary = _unit(np.array([[1.0, 0.2], [0.3, 1.0]]))
    patches = np.random.default_rng(3).normal(0, 2, (50, 2))
    magnitudes = encode(patches, dictionary, alpha).magnitudes
    assert 0 < (magnitudes == 0).mean() < 1
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    for x, u in zip(patches, magnitudes, strict=True):
        excess = []
        for sign in signs * u:
            correlation = dictionary @ (x - sign @ dictionary)
            excess.append(
                np.where(
                    sign == 0,
                    np.maximum(np.abs(correlation) - alpha, 0),
                    np.abs(correlation - alpha * np.sign(sign)),
                )
            )
        assert min(e.max() for e in excess) < 2e-4


@pytest.mark.parametrize("alpha", [0.5, 1.5])
def test_codes_are_those_of_sklearns_sparse_coder(alpha: float) -> None:
    patches, dictionary = _problem(k=16)
    reference = SparseCoder(
        dictionary, transform_algorithm="lasso_cd", transform_alpha=alpha
    ).transform(patches)
    assert (reference < 0).any()
    np.testing.assert_allclose(
        encode(patches, dictionary, alpha).magnitudes, np.abs(reference), rtol=1e-5, atol=1e-6
    )


def test_codes_depend_neither_on_threads_nor_on_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    patches, dictionary = _problem(m=45)
    whole = encode(patches, dictionary, 0.3).magnitudes
    monkeypatch.setattr(method, "PATCHES_AT_ONCE", 10)
    np.testing.assert_array_equal(encode(patches, dictionary, 0.3, jobs=3).magnitudes, whole)
    np.testing.assert_array_equal(encode(patches[7:9], dictionary, 0.3).magnitudes, whole[7:9])


def test_codes_that_do_not_converge_are_counted() -> None:
    # Atoms that are nearly the same direction, hardly a penalty: coordinate descent needs far more
    # than its 1,000 rounds.
    rng = np.random.default_rng(0)
    dictionary = _unit(1 + 1e-3 * rng.normal(size=(30, 30)))
    patches = rng.normal(size=(4, 30))
    patches[2] = 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert encode(patches, dictionary, 1e-6).unconverged == 3
    assert not caught


def test_an_all_zero_patch_has_no_code() -> None:
    _, dictionary = _problem()
    assert not encode(np.zeros((2, 8)), dictionary, 1.0).magnitudes.any()


# Dictionary


def test_a_known_dictionary_is_found() -> None:
    """Reference: the dictionary that the patches were made of, up to sign and order."""
    patches, truth = _sparse_patches(2000)
    fit = fit_dictionary(patches, 10, alpha=0.3, passes=4, seed=0)
    assert (fit.dictionary.shape, fit.dictionary.dtype) == ((10, 16), np.float32)
    np.testing.assert_allclose(np.linalg.norm(fit.dictionary, axis=1), 1, atol=1e-6)
    cosines = np.abs(truth @ fit.dictionary.T)
    assert sorted(cosines.argmax(axis=1)) == list(range(10))
    assert cosines.max(axis=1).min() > 0.9
    assert cosines.max(axis=1).mean() > 0.97


def test_passes_lower_the_cost() -> None:
    patches, _ = _sparse_patches(800)

    def cost(passes: int) -> float:
        dictionary = fit_dictionary(patches, 10, 0.3, passes, 0).dictionary.astype(np.float64)
        codes = SparseCoder(
            dictionary, transform_algorithm="lasso_cd", transform_alpha=0.3
        ).transform(patches.astype(np.float64))
        return float(0.5 * ((patches - codes @ dictionary) ** 2).sum() + 0.3 * np.abs(codes).sum())

    assert cost(6) < 0.97 * cost(1)


def test_dictionary_is_a_function_of_its_arguments() -> None:
    patches, _ = _sparse_patches(600)
    first = fit_dictionary(patches, 10, 0.3, 2, 5)
    codes = encode(patches, first.dictionary, 0.3)
    np.random.seed(1)  # noqa: NPY002
    np.testing.assert_array_equal(
        fit_dictionary(patches, 10, 0.3, 2, 5).dictionary, first.dictionary
    )
    np.testing.assert_array_equal(
        encode(patches, first.dictionary, 0.3).magnitudes, codes.magnitudes
    )
    assert (fit_dictionary(patches, 10, 0.3, 2, 6).dictionary != first.dictionary).any()


def test_first_atoms_may_repeat() -> None:
    patches, _ = _sparse_patches(300)
    patches[:150] = patches[0]
    patches[150:200] = 0
    dictionary = fit_dictionary(patches, 40, 0.3, 3, 0).dictionary
    assert np.isfinite(dictionary).all()
    np.testing.assert_allclose(np.linalg.norm(dictionary, axis=1), 1, atol=1e-6)


def test_unused_atoms_have_unit_length_too() -> None:
    # The penalty is above every correlation, so no code uses an atom and each becomes a patch, of a
    # length below one.
    patches, _ = _sparse_patches(300)
    dictionary = fit_dictionary(patches / 10, 10, 5.0, 1, 0).dictionary
    np.testing.assert_allclose(np.linalg.norm(dictionary, axis=1), 1, atol=1e-6)


def test_codes_of_the_fit_that_do_not_converge_are_counted() -> None:
    rng = np.random.default_rng(0)
    patches = 1 + 1e-3 * rng.normal(size=(40, 30))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert 0 < fit_dictionary(patches, 30, 1e-6, 1, 0).unconverged <= 40
    assert not caught


def test_wrong_arguments_are_named() -> None:
    patches, dictionary = _problem()
    patches[:20] = 0
    with pytest.raises(
        ValueError, match="24 atoms needs as many patches that are not zero, got 20"
    ):
        fit_dictionary(patches, 24, 1.0, 1, 0)
    for alpha in (0.0, -1.0):
        with pytest.raises(ValueError, match="alpha"):
            fit_dictionary(patches, 4, alpha, 1, 0)
        with pytest.raises(ValueError, match="alpha"):
            encode(patches, dictionary, alpha)
    with pytest.raises(ValueError, match="different numbers of features"):
        encode(patches[:, :5], dictionary, 1.0)
    patches[3, 2] = np.nan
    with pytest.raises(ValueError, match="finite"):
        fit_dictionary(patches, 4, 1.0, 1, 0)
    with pytest.raises(ValueError, match="finite"):
        encode(patches, dictionary, 1.0)
