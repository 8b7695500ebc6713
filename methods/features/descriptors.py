"""Local descriptors: the columns of a network's last maps, one for each place (Farhat and Sicre,
section 6).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from methods.kernels.streams import settle, submit, threads_each

Float32 = NDArray[np.float32]
Result = TypeVar("Result")

LIBRARIES = ThreadpoolController()
"""Found once, as looking for them takes milliseconds."""


def in_threads(work: Callable[[int], Result], starts: Iterable[int]) -> Iterator[Result]:
    """``work(start)`` of every start, in their order, on as many threads as BLAS may use, each with
    a BLAS of one thread.

    So a result depends neither on how many threads there are nor on which is first, and what BLAS
    does not do (sums, casts, the nearest of the centroids) is spread over the processor as well.
    """
    threads = max(
        (
            library.num_threads
            for library in LIBRARIES.lib_controllers
            if library.user_api == "blas"
        ),
        default=1,
    )
    with LIBRARIES.limit(limits=1, user_api="blas"), threads_each(1):
        if threads == 1:
            yield from map(work, starts)
            return
        waiting: deque[Future[Result]] = deque()
        try:
            for start in starts:
                waiting.append(submit(threads, 1, work, start))
                if len(waiting) > 2 * threads:  # no more results lie about than that
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            settle(waiting)


def to_float32(values: NDArray[np.floating], into: Float32) -> None:
    """Copy numbers of any precision to a float32 array of their shape."""
    if (
        values.dtype != np.float16
        or values.view(np.int16).max(initial=0) >= 0x7C00
        or values.view(np.uint16).max(initial=0) >= 0xFC00
    ):
        np.copyto(into, values)
        return
    # Half precision by its bits, which takes a fifth of NumPy's own cast: sign, exponent and
    # fraction go to their places, and the product sets the bias of the exponent right. It is exact,
    # subnormal numbers included; infinities and NaN went above.
    bits = into.view(np.int32)
    np.copyto(bits, values.view(np.int16))
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, -0x70002000, out=bits)
    np.multiply(into, np.float32(2.0**112), out=into)


def scores(descriptors: Float32, centroids: Float32) -> Float32:
    """(n, k): the larger, the nearer is the centroid. |x - c|^2 = |x|^2 - 2 (x.c - |c|^2 / 2), and
    this is the bracket.
    """
    products: Float32 = descriptors @ centroids.T
    products -= np.vecdot(centroids, centroids) / np.float32(2)
    return products


def as_descriptors(maps: NDArray[np.floating]) -> Float32:
    """Maps (n, C, h, w) as descriptors (n, h * w, C) float32, places row by row.

    Raises:
        ValueError: not maps.
    """
    if maps.ndim != 4:
        raise ValueError(
            f"local descriptors are taken from maps (n, C, h, w), got shape {maps.shape}"
        )
    n, channels = maps.shape[:2]
    columns = maps.reshape(n, channels, -1).transpose(0, 2, 1)
    descriptors = np.empty(columns.shape, np.float32)
    to_float32(columns, descriptors)
    return descriptors


def average(maps: NDArray[np.floating]) -> Float32:
    """Mean descriptor of each image (section 6.2, "average pooling"): (n, C, h, w) -> (n, C)
    float32.
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
    """Descriptors at random places, spread as evenly as possible over the images; no place twice.

    Args:
        read: gives maps by the positions of images, (m, C, h, w).
        n_images: number of images.
        n_places: h * w.
        n_descriptors: wanted; where the images hold fewer, all of them.
        images_at_once: images whose maps are held at a time.
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
