"""Rows of features as a linear SVM sees them: pooled where a method says so, and scaled."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from assets.core.labelled_rows import LabelledRows
from data_contracts.studies.study import MapPool, Method
from methods.arrays import Float32, gram_matrix
from methods.classifiers.row_scaling import RowScaling, fit_scaling
from methods.features.map_pooling import pool_maps, pooled_width
from methods.settings import RowScale
from resources.store.feature_store import FeatureReader

MEMORY_BYTES = 2**30
"""Features held at once while the Gram matrix is built, or while the solver streams over them."""
FEWEST_ROWS = 256
"""Fewest rows of a block of a Gram matrix: fewer waste its products."""
STREAMED_ROWS = (64, 2048)
"""Fewest and most rows of a block of the streaming solver: fewer waste its products, more gain
nothing."""


@dataclass(frozen=True)
class SvmRows:
    """Rows of a reader, pooled and scaled.

    Attributes:
        reader: of the stored features.
        pool: how maps become rows; None takes all of their numbers.
        scaling: fitted on the training rows.
    """

    reader: FeatureReader
    pool: MapPool | None
    scaling: RowScaling

    @property
    def width(self) -> int:
        """Numbers of a row."""
        if self.pool is None:
            return stored_width(self.reader)
        return pooled_width(self.reader.feature_set.row_shape, self.pool)

    def take(self, positions: np.ndarray) -> Float32:
        """The rows at some positions, (m, width)."""
        return self.scaling(_pooled(self.reader.take(positions), self.pool))

    def gram(self) -> Float32:
        """The Gram matrix of all rows, (n, n)."""
        return gram_matrix(
            lambda start, stop: _pooled(self.reader.rows(start, stop), self.pool),
            len(self.reader),
            rows_at_once(stored_width(self.reader)),
            self.scaling,
        )


def svm_rows(reader: FeatureReader, rows: LabelledRows, scale: RowScale, method: Method) -> SvmRows:
    """Rows of a method, with the scaling fitted on the training rows."""

    def training() -> Iterator[np.ndarray]:
        step = rows_at_once(stored_width(reader))
        for start in range(0, len(rows.train), step):
            yield _pooled(reader.take(rows.train[start : start + step]), method.pool)

    return SvmRows(reader, method.pool, fit_scaling(scale, training()))


def _pooled(values: np.ndarray, pool: MapPool | None) -> np.ndarray:
    """Stored rows as a method takes them."""
    return values if pool is None else pool_maps(values, pool)


def stored_width(reader: FeatureReader) -> int:
    """Numbers of a row of a reader."""
    return int(np.prod(reader.feature_set.row_shape))


def rows_at_once(width: int) -> int:
    """Rows of ``width`` numbers that are held at once while a Gram matrix is built."""
    return max(MEMORY_BYTES // (8 * width), FEWEST_ROWS)


def gram_of(reader: FeatureReader) -> np.ndarray:
    """Gram matrix of all rows of a reader, normalised, (n, n) float32."""
    return gram_matrix(reader.rows, len(reader), rows_at_once(stored_width(reader)))


def streamed_rows(width: int) -> int:
    """Rows of a block of the streaming solver, each of ``width`` numbers.

    A number takes 16 bytes: as stored, as float32 of unit length, and as the float64 that a product
    with the weights makes of it.
    """
    fewest, most = STREAMED_ROWS
    return min(max(MEMORY_BYTES // (16 * width), fewest), most)
