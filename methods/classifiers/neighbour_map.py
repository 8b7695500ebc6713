"""A map of images in the plane, in which those of similar features lie near each other."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

PERPLEXITY = 30.0
"""Number of neighbours that the map keeps near each image, as van der Maaten and Hinton have it."""
ITERATIONS = 500
"""Number of steps of the search."""


def neighbour_map(rows: NDArray[np.floating], seed: int) -> NDArray[np.float64]:
    """Place images in the plane by t-SNE (van der Maaten and Hinton 2008), (n, 2) float64.

    It starts from the two principal components and runs on one thread, so that the same rows give
    the same map. Distances between far groups and the sizes of groups mean nothing in it.

    Args:
        rows: (n, d) features, one row an image; n is at least 4.
        seed: of the principal components.

    Raises:
        ValueError: there are fewer than four images.
    """
    if len(rows) < 4:
        raise ValueError(f"a map needs at least four images, got {len(rows)}")
    search = TSNE(
        init="pca",
        perplexity=min(PERPLEXITY, (len(rows) - 1) / 3),
        max_iter=ITERATIONS,
        random_state=seed,
        n_jobs=1,
    )
    with threadpool_limits(1):
        return cast("NDArray[np.float64]", search.fit_transform(rows).astype(np.float64))
