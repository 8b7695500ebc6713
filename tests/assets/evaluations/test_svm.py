"""The solver that streams, where the labelled images are too many for a Gram matrix."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from assets.core.labelled_rows import LabelledRows
from assets.evaluations import svm, svm_rows
from assets.evaluations.svm import SvmConfig
from assets.evaluations.svm_rows import MEMORY_BYTES, SvmRows, streamed_rows
from methods.classifiers import linear_svm
from methods.classifiers.row_scaling import fit_scaling


@pytest.mark.parametrize(
    ("width", "rows"), [(512, 2048), (256 * 36, 2048), (131_072, 512), (10**9, 64)]
)
def test_a_block_is_as_long_as_the_memory_allows(width: int, rows: int) -> None:
    assert streamed_rows(width) == rows
    assert rows == 64 or 16 * width * rows <= MEMORY_BYTES


def test_the_size_of_the_blocks_decides_memory_and_not_the_scores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    labels = np.array(["a", "b", "c"])[np.arange(90) % 3]
    features = rng.normal(size=(90, 6)) + 2 * np.eye(6)[np.arange(90) % 3]
    taken: list[int] = []

    def take(positions: np.ndarray) -> np.ndarray:
        taken.append(len(positions))
        return features[positions]

    reader: Any = SimpleNamespace(take=take, feature_set=SimpleNamespace(row_shape=(6,)))
    ids = [f"{i:02}" for i in range(90)]
    rows = LabelledRows(
        ids, labels, train=np.arange(60), test=np.arange(60, 90), groups=ids, has_groups=False
    )
    monkeypatch.setattr(linear_svm, "MAX_GRAM_ROWS", 10)
    monkeypatch.setattr(svm_rows, "STREAMED_ROWS", (1, 2048))

    def scores(rows_at_once: int) -> np.ndarray:
        monkeypatch.setattr(svm_rows, "MEMORY_BYTES", 16 * 6 * rows_at_once)
        taken.clear()
        of_method = SvmRows(reader, None, fit_scaling("l2", []))
        scored = svm._scored(SvmConfig(tolerance=1e-6), "rows", rows, of_method, is_main=True)
        assert [notice.split(":")[0] for notice in scored.notices] == ["FIXED C ONLY"]
        assert scored.tuned is None
        assert max(taken) == min(rows_at_once, 60)
        return scored.fixed.scores

    np.testing.assert_allclose(scores(7), scores(2048), atol=1e-5)
