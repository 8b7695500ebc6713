"""Independent component analysis of image patches, the second baseline of Ahn et al. 2019, Table 2.

FastICA (Hyvarinen and Oja 2000, sections 6.1 and 6.3) with the logcosh contrast, all components at
once, by scikit-learn.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning

from methods.settings import ICA_ITERATIONS, ICA_TOLERANCE

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class IcaFit:
    """Result of a fit.

    Attributes:
        unmixing: (components, k) float32, orthonormal rows.
        iterations: of the fixed-point algorithm.
        converged: whether the last iteration turned no row by more than the tolerance.
    """

    unmixing: Float32
    iterations: int
    converged: bool


def fit_ica(
    patches: NDArray[np.floating],
    components: int,
    seed: int,
    max_iterations: int = ICA_ITERATIONS,
    tolerance: float = ICA_TOLERANCE,
) -> IcaFit:
    """Fit the unmixing matrix of the first ``components`` coordinates.

    Its columns for the other coordinates are zero.

    Args:
        patches: (n, k) whitened patches, coordinates of the largest variance first. The algorithm
            takes their covariance for the identity; where the whitening damped the last
            coordinates, they count for less in every component.
        components: independent components, at most k.
        seed: of the first unmixing matrix; below 2**32.
        max_iterations: hitting it leaves ``converged`` False.
        tolerance: largest 1 - |cosine| between a row and itself one iteration before.

    Raises:
        ValueError: more components than coordinates or patches, or a patch that is not finite.
    """
    rows = np.asarray(patches, np.float32)
    if components > min(rows.shape):
        raise ValueError(
            f"{components} components need as many patches and coordinates, got {rows.shape[0]} "
            f"and {rows.shape[1]}"
        )
    if not np.isfinite(rows).all():
        raise ValueError(
            "independent component analysis needs finite patches, some value is NaN or infinite"
        )
    ica = FastICA(whiten=False, max_iter=max_iterations, tol=tolerance, random_state=seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        ica.fit(rows[:, :components])
    others = [w for w in caught if not issubclass(w.category, ConvergenceWarning)]
    for warning in others:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    unmixing = np.zeros((components, rows.shape[1]), np.float32)
    unmixing[:, :components] = ica.components_
    return IcaFit(unmixing, int(ica.n_iter_), len(caught) == len(others))


def encode(patches: NDArray[np.floating], unmixing: Float32) -> Float32:
    """Compute response magnitudes |W x|, (m, k) and (components, k) -> (m, components) float32."""
    magnitudes: Float32 = np.abs(np.asarray(patches, np.float32) @ unmixing.T)
    return magnitudes
