"""Sparse coding of image patches as in ScSPM (Yang et al. 2009).

It is the first baseline of Ahn et al. 2019, Table 2.

Dictionary V and codes u of the patches x minimise (Yang et al. 2009, equation 2) ::

    sum_i 1/2 ||x_i - u_i V||^2 + alpha ||u_i||_1,     ||v_k|| <= 1

which is their problem with lambda = 2 alpha. They alternate over all patches; here the dictionary
is learned online (Mairal et al. 2009) by scikit-learn. Both steps solve for the codes by coordinate
descent to a relative duality gap of 1e-8, in float64: on whitened patches that took 50 to 70 % of
the time of float32, where that gap is below the rounding and often not reached.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import MiniBatchDictionaryLearning, sparse_encode
from sklearn.exceptions import ConvergenceWarning

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

PATCHES_AT_ONCE = 256
"""Patches of one task of :func:`encode`, and of one step of the dictionary."""


@dataclass(frozen=True)
class DictionaryFit:
    """Result of :func:`fit_dictionary`.

    Attributes:
        dictionary: (atoms, k) float32, rows of unit length.
        unconverged: codes computed on the way, of ``passes * n``, that did not reach the tolerance.
    """

    dictionary: Float32
    unconverged: int


@dataclass(frozen=True)
class SparseCodes:
    """Result of :func:`encode`.

    Attributes:
        magnitudes: (m, atoms) float32, |u|.
        unconverged: patches whose code did not reach the tolerance.
    """

    magnitudes: Float32
    unconverged: int


@contextmanager
def _convergence_warnings() -> Iterator[list[warnings.WarningMessage]]:
    """Collect scikit-learn's convergence warnings, one for each code; pass on all others."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        unconverged: list[warnings.WarningMessage] = []
        yield unconverged
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            unconverged.append(warning)
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )


def _checked(patches: NDArray[np.floating], alpha: float) -> Float64:
    """Return the patches as float64, or refuse them."""
    if alpha <= 0:
        raise ValueError(f"the weight alpha of the l1 penalty must be positive, got {alpha:g}")
    if not np.isfinite(patches).all():
        raise ValueError("sparse coding needs finite patches, some value is NaN or infinite")
    return np.ascontiguousarray(patches, dtype=np.float64)


def fit_dictionary(
    patches: NDArray[np.floating], atoms: int, alpha: float, passes: int, seed: int
) -> DictionaryFit:
    """Learn a dictionary of atoms of unit length.

    It starts from patches drawn without replacement and scaled to unit length.

    An atom that no code uses is replaced by a random patch, so duplicates among the first atoms do
    no lasting harm.

    Args:
        patches: (n, k) whitened patches.
        atoms: rows of the dictionary.
        alpha: weight of the l1 penalty.
        passes: times every patch is visited; there is no earlier stop.
        seed: of the first atoms, the order of the patches and the atoms replaced; below 2**32.

    Raises:
        ValueError: fewer patches that are not zero than atoms, a patch that is not finite, or alpha
            not above zero.
    """
    rows = _checked(patches, alpha)
    usable = np.flatnonzero(rows.any(axis=1))
    if len(usable) < atoms:
        raise ValueError(
            f"a dictionary of {atoms} atoms needs as many patches that are not zero, got "
            f"{len(usable)}"
        )
    first = rows[np.random.default_rng(seed).choice(usable, atoms, replace=False)]
    learner = MiniBatchDictionaryLearning(
        n_components=atoms,
        alpha=alpha,
        max_iter=passes,
        fit_algorithm="cd",
        batch_size=PATCHES_AT_ONCE,
        dict_init=first / np.linalg.norm(first, axis=1, keepdims=True),
        random_state=seed,
        tol=0,
        max_no_improvement=None,
    )
    with _convergence_warnings() as unconverged:
        learned = learner.fit(rows).components_
    # The learner only bounds the length by one; an atom it has just replaced may be shorter.
    dictionary = (learned / np.linalg.norm(learned, axis=1, keepdims=True)).astype(np.float32)
    return DictionaryFit(dictionary, len(unconverged))


def encode(
    patches: NDArray[np.floating], dictionary: NDArray[np.floating], alpha: float, jobs: int = 1
) -> SparseCodes:
    """Compute the magnitudes of the sparse codes of patches.

    Each patch is a problem of its own, so neither the number of threads nor the other patches
    change its code.

    Args:
        patches: (m, k), whitened as those of the dictionary.
        dictionary: (atoms, k).
        alpha: weight of the l1 penalty.
        jobs: threads; the solver runs outside the interpreter's lock.

    Raises:
        ValueError: another k than the dictionary's, a patch that is not finite, or alpha not above
            zero.
    """
    rows, atoms = _checked(patches, alpha), np.ascontiguousarray(dictionary, dtype=np.float64)
    gram = atoms @ atoms.T
    magnitudes = np.empty((len(rows), len(atoms)), np.float32)

    def solve(start: int) -> None:
        block = slice(start, start + PATCHES_AT_ONCE)
        magnitudes[block] = np.abs(
            sparse_encode(rows[block], atoms, gram=gram, algorithm="lasso_cd", alpha=alpha)
        )

    with _convergence_warnings() as unconverged, ThreadPoolExecutor(jobs) as pool:
        list(pool.map(solve, range(0, len(rows), PATCHES_AT_ONCE)))
    return SparseCodes(magnitudes, len(unconverged))
