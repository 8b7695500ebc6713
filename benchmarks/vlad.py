"""The VLAD encoder against the obvious NumPy version.

    .venv/bin/python -m benchmarks.vlad

The peer assigns each image's descriptors by one distance matrix and sums the residuals cell after
cell, which is how VLAD is usually written in NumPy. Both encode the same random descriptors (48
images, 512 numbers, float16 as stored).

Both need the product of the descriptors with the centroids in float32. Its time alone is the
machine's limit: no encoder that makes it is faster, and the note gives the ratio that this would
have to the peer. Random descriptors are nearly as far from one centroid as from another: where the
two round a tie apart, a residual goes to another cell, a difference of some thousandths. It takes
about a minute; no GPU, no weights.
"""

from __future__ import annotations

from functools import partial
from statistics import median

import numpy as np

from benchmarks.measure import ROUNDS_OF_MILLISECONDS, Row, from_pairs, main, seconds
from methods.features.vlad import encode

IMAGES, CHANNELS = 48, 512
PLACES = (7 * 7, 17 * 17, 27 * 27)


def obvious(descriptors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """VLAD of Farhat and Sicre, section 6.3, a loop over images and cells."""
    rows = []
    for image in descriptors.astype(np.float32):
        squared = (image**2).sum(1)[:, None] - 2 * image @ centroids.T + (centroids**2).sum(1)
        nearest = squared.argmin(1)
        cells = np.zeros_like(centroids)
        for cell in range(len(centroids)):
            if (nearest == cell).any():
                cells[cell] = (image[nearest == cell] - centroids[cell]).sum(0)
        rows.append(cells.ravel() / np.linalg.norm(cells))
    return np.stack(rows)


def rows() -> list[Row]:
    """A row for each number of places and of centroids."""
    rng = np.random.default_rng(0)
    measured = []
    for places in PLACES:
        descriptors = rng.random((IMAGES, places, CHANNELS), np.float32).astype(np.float16)
        flat = descriptors.reshape(-1, CHANNELS).astype(np.float32)
        for clusters in (64, 256):
            centroids = rng.random((clusters, CHANNELS), np.float32)
            difference = np.abs(
                encode(descriptors, centroids) - obvious(descriptors, centroids)
            ).max()
            calls = (
                partial(encode, descriptors, centroids),
                partial(obvious, descriptors, centroids),
            )
            product = partial(np.matmul, flat, centroids.T)
            rounds = [
                (seconds(calls[0]), seconds(calls[1]), seconds(product))
                for _ in range(ROUNDS_OF_MILLISECONDS)
            ]
            limit = median(theirs for _, theirs, _ in rounds) / median(
                least for *_, least in rounds
            )
            note = (
                f"the product alone would be {limit:.1f} times; largest difference {difference:.0e}"
            )
            what = f"VLAD, {clusters} centroids, {places} places, {IMAGES} images"
            measured.append(
                from_pairs(
                    what,
                    "NumPy VLAD",
                    [(ours, theirs) for ours, theirs, _ in rounds],
                    10,
                    note=note,
                )
            )
    return measured


if __name__ == "__main__":
    main(rows)
