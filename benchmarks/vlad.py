"""Images a second of the VLAD encoder, against the obvious NumPy version.

    .venv/bin/python -m benchmarks.vlad

The peer assigns each image's descriptors by one distance matrix and sums the residuals cell after cell, which is how VLAD is
usually written in NumPy. Both encode the same random descriptors (512 numbers, float16 as stored) in the same process, in turn;
the median of five rounds counts. Takes about a minute; no GPU, no weights, no network.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from methods.vlad import encode

IMAGES, CHANNELS, ROUNDS = 48, 512, 5
PLACES = {"scale 0": 7 * 7, "scale 1": 17 * 17, "scale 2": 27 * 27}


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


def _seconds(encoder: Callable[[np.ndarray, np.ndarray], np.ndarray], descriptors: np.ndarray, centroids: np.ndarray) -> float:
    started = time.perf_counter()
    encoder(descriptors, centroids)
    return time.perf_counter() - started


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    print(f"{'':<10}{'centroids':>10}{'medfeat':>12}{'NumPy':>12}{'ratio':>8}   images/s")
    for scale, places in PLACES.items():
        descriptors = rng.random((IMAGES, places, CHANNELS), np.float32).astype(np.float16)
        for clusters in (64, 256):
            centroids = rng.random((clusters, CHANNELS), np.float32)
            np.testing.assert_allclose(encode(descriptors, centroids), obvious(descriptors, centroids), atol=1e-4)
            pairs = [(_seconds(encode, descriptors, centroids), _seconds(obvious, descriptors, centroids)) for _ in range(ROUNDS)]
            ours, theirs = (IMAGES / float(np.median(times)) for times in zip(*pairs, strict=True))
            print(f"{scale:<10}{clusters:>10}{ours:>12.0f}{theirs:>12.0f}{ours / theirs:>8.2f}")


if __name__ == "__main__":
    main()
