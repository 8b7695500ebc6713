"""k-means of local descriptors, 256 centroids of 512 numbers, against scikit-learn's.

    .venv/bin/python -m benchmarks.kmeans

The peer is ``sklearn.cluster.KMeans`` (Lloyd, k-means++, one start, its defaults, all threads) on
the same float32 descriptors. Both draw by k-means++ and stop by the same rule, but end in different
local minima: the note gives the inertia of each fit, those of MiniBatchKMeans with its time, and
the most memory that our fit held above the descriptors.

The descriptors are made up like a CNN's last maps: sums of three of 300 non-negative parts and
noise, cut at zero (about half of the numbers are 0), and three in a hundred descriptors all zero as
in a black border. They are 50,000: of 10^6 a single fit of scikit-learn's took 262 s, with an
inertia of 400.91, and ours 69 s, with 400.60 (seed 0; two cores of Zen 5).
"""

from __future__ import annotations

import tracemalloc

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans

from benchmarks.measure import Row, from_pairs, main, seconds
from methods.features.codebook import fit_codebook

DESCRIPTORS, CHANNELS, CLUSTERS, PARTS, ROUNDS = 50_000, 512, 256, 300, 3


def descriptors(n: int, seed: int = 0) -> np.ndarray:
    """(n, 512) float32."""
    rng = np.random.default_rng(seed)
    parts = rng.gamma(0.3, 1.0, (PARTS, CHANNELS)).astype(np.float32)
    share = 1 / np.arange(1, PARTS + 1) ** 0.7
    rows = np.empty((n, CHANNELS), np.float32)
    for first in range(0, n, 20_000):
        block = rows[first : first + 20_000]
        block[:] = 0.5 * rng.standard_normal(block.shape, np.float32) - 0.4
        for _ in range(3):
            amount = rng.gamma(1.0, 1.0, (len(block), 1)).astype(np.float32)
            block += parts[rng.choice(PARTS, len(block), p=share / share.sum())] * amount
        np.maximum(block, 0, out=block)
        block[rng.random(len(block)) < 0.03] = 0
    return rows


def rows() -> list[Row]:
    """One row; round i has seed i."""
    data = descriptors(DESCRIPTORS)
    tracemalloc.start()
    fit_codebook(data, CLUSTERS, 0, max_iterations=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    pairs, notes = [], []
    for seed in range(ROUNDS):
        ours: list[float] = []
        theirs = KMeans(CLUSTERS, n_init=1, random_state=seed)
        batches = MiniBatchKMeans(CLUSTERS, n_init=1, random_state=seed)

        def fit(seed: int = seed, ours: list[float] = ours) -> None:
            book = fit_codebook(data, CLUSTERS, seed)
            ours += [book.inertia, book.iterations]

        pairs.append((seconds(fit), seconds(lambda theirs=theirs: theirs.fit(data))))  # type: ignore[misc]
        batch_seconds = seconds(lambda batches=batches: batches.fit(data))  # type: ignore[misc]
        notes.append(
            f"seed {seed}: inertia {ours[0]:.2f} after {ours[1]:.0f} iterations, KMeans {theirs.inertia_ / len(data):.2f} after "
            f"{theirs.n_iter_}, MiniBatchKMeans {batches.inertia_ / len(data):.2f} in {batch_seconds:.1f} s"
        )
    note = f"{'; '.join(notes)}; our peak {peak / 1e6:.0f} MB above descriptors of {data.nbytes / 1e6:.0f} MB"
    what = f"k-means, {CLUSTERS} centroids, {len(data):,} x {CHANNELS} descriptors"
    return [from_pairs(what, "scikit-learn KMeans", pairs, 3, note=note)]


if __name__ == "__main__":
    main(rows)
