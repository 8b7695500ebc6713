"""The numerical stages on synthetic rows.

They run in a process of their own, as the number of threads is set at its start.

OMP_NUM_THREADS=2 python -m faults.stages ROWS.npz SEED ...
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import torch

from methods.arrays import gram_matrix, l2_normalise
from methods.classifiers import gram_pca, linear_svm
from methods.features import frozen_network, vlad
from methods.features.codebook import fit_codebook
from methods.settings import CaeSettings
from methods.training import cae

CPU = torch.device("cpu")
BATCHES = (1, 7, 64)
Stage = Callable[[int, int], np.ndarray]
"""A function (seed, rows at once) -> numbers."""


def _maps(seed: int, n: int = 64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.maximum(rng.normal(-0.3, 1, (n, 64, 6, 6)), 0).astype(np.float32)


def alexnet(seed: int, batch: int) -> np.ndarray:
    """Compute conv5 of 16 images."""
    images = np.random.default_rng(seed).integers(0, 256, (16, 227, 227, 3), np.uint8)
    network = frozen_network.Conv5Extractor(frozen_network.random_alexnet()).eval()
    return frozen_network.extract(network, images, CPU, batch)


def _trained(seed: int) -> cae.ConvAutoEncoder:
    maps = _maps(seed)
    settings = CaeSettings(filters=32, epochs=3, batch_size=16, learning_rate=1e-4, seed=seed)
    last = None
    for _, checkpoint in cae.train_cae(lambda rows: maps[rows], len(maps), settings, CPU):
        last = checkpoint
    assert last is not None
    return cae.load_cae(last().last_weights(), settings, CPU)


def auto_encoder(seed: int, batch: int) -> np.ndarray:
    """Compute the weights after three epochs; ``batch`` is none of its settings."""
    del batch
    return np.concatenate(
        [value.detach().numpy().ravel() for _, value in sorted(_trained(seed).state_dict().items())]
    )


def codes(seed: int, batch: int) -> np.ndarray:
    """Compute the codes of 64 maps."""
    trained, maps = _trained(seed), _maps(seed + 1)
    return np.concatenate(
        [
            cae.encode(trained, maps[start : start + batch], CPU)
            for start in range(0, len(maps), batch)
        ]
    )


def svm(seed: int, batch: int) -> np.ndarray:
    """Compute decision values of 3 classes on 120 rows; the Gram matrix comes in blocks."""
    rng = np.random.default_rng(seed)
    rows = l2_normalise(
        rng.normal(size=(120, 500)).astype(np.float32)
        + rng.normal(size=(3, 500))[np.arange(120) % 3]
    )
    gram = gram_matrix(lambda start, stop: rows[start:stop], len(rows), batch)
    fit = linear_svm.fit_gram(gram, np.array(["a", "b", "c"])[np.arange(120) % 3])
    return np.asarray(gram @ fit.coefficients + fit.intercept)


def pca(seed: int, batch: int) -> np.ndarray:
    """Compute ten whitened components of 100 rows."""
    rows = np.random.default_rng(seed).normal(size=(100, 300)).astype(np.float32) * np.linspace(
        1, 9, 300, dtype=np.float32
    )
    gram = gram_matrix(lambda start, stop: rows[start:stop], len(rows), batch)
    return gram_pca.gram_pca(gram, np.arange(80), 10, whiten=True).scores


def vectors_of_residuals(seed: int, batch: int) -> np.ndarray:
    """Compute VLAD of 64 images by a codebook of 16."""
    local = _maps(seed).transpose(0, 2, 3, 1).reshape(64, 36, 64)
    book = fit_codebook(local.reshape(-1, 64), 16, seed)
    return np.concatenate(
        [vlad.encode(local[start : start + batch], book.centroids) for start in range(0, 64, batch)]
    )


STAGES: tuple[Stage, ...] = (alexnet, auto_encoder, codes, svm, pca, vectors_of_residuals)


def main() -> None:
    """Write the numbers of every seed and batch."""
    found = {}
    for seed in map(int, sys.argv[2:]):
        for batch in BATCHES:
            found[f"{seed} {batch}"] = STAGES[seed % len(STAGES)](seed, batch)
    np.savez(sys.argv[1], **found)


if __name__ == "__main__":
    main()
