"""Local descriptors: the columns of a network's last maps, one for each place.

Farhat and Sicre, section 6.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def as_descriptors(maps: NDArray[np.floating]) -> Float32:
    """Rearrange maps (n, C, h, w) as descriptors (n, h * w, C) float32, places row by row.

    Raises:
        ValueError: not maps.
    """
    if maps.ndim != 4:
        raise ValueError(
            f"local descriptors are taken from maps (n, C, h, w), got shape {maps.shape}"
        )
    n, channels = maps.shape[:2]
    columns = maps.reshape(n, channels, -1).transpose(0, 2, 1)
    return np.ascontiguousarray(columns, np.float32)


def average(maps: NDArray[np.floating]) -> Float32:
    """Average the descriptors of each image, (n, C, h, w) -> (n, C) float32.

    Section 6.2, "average pooling".
    """
    means: Float32 = as_descriptors(maps).mean(axis=1, dtype=np.float64).astype(np.float32)
    return means


def sample_descriptors(
    read: Callable[[NDArray[np.int64]], NDArray[np.floating]],
    n_images: int,
    n_places: int,
    n_descriptors: int,
    images_at_once: int,
    seed: int,
) -> Float32:
    """Draw descriptors at random places, no place twice, equally many of each image.

    Args:
        read: gives maps by the positions of images, (m, C, h, w).
        n_images: number of images.
        n_places: h * w.
        n_descriptors: number to draw; where the images have fewer, all of them.
        images_at_once: images whose maps are in memory at a time.
        seed: of the places.

    Returns:
        (min(n_descriptors, n_images * n_places), C) float32, in the order of the images, then of
        the places.

    Raises:
        ValueError: no image, or no descriptor asked for.
    """
    if n_images < 1 or n_descriptors < 1:
        raise ValueError(f"{n_descriptors} descriptors cannot be drawn from {n_images} images")
    total = min(n_descriptors, n_images * n_places)
    bounds = np.arange(n_images + 1, dtype=np.int64) * total // n_images
    rng = np.random.default_rng(seed)
    places = [
        np.sort(rng.choice(n_places, stop - start, replace=False))
        for start, stop in pairwise(bounds)
    ]
    visited = np.flatnonzero(np.diff(bounds))
    drawn = []
    for first in range(0, len(visited), images_at_once):
        block = visited[first : first + images_at_once]
        descriptors = as_descriptors(read(block))
        drawn += [descriptors[i, places[image]] for i, image in enumerate(block)]
    return np.concatenate(drawn)
