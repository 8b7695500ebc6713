"""The classifier of training against test images, on sides that differ and on sides that do not."""

from __future__ import annotations

import numpy as np
import pytest

from methods.arrays import l2_normalise
from methods.classifiers.domain import domain_auc


def _auc(shift: float, seed: int, groups: list[str] | None = None) -> float | None:
    """Of 60 training and 40 test images whose features differ by a shift of their mean."""
    rng = np.random.default_rng(seed)
    is_test = np.arange(100) >= 60
    rows = rng.normal(size=(100, 8)) + shift * is_test[:, None]
    rows = l2_normalise(rows.astype(np.float32))
    own = groups or [str(i) for i in range(100)]
    found = domain_auc(rows @ rows.T, is_test, own, 1.0, 1e-6, seed)
    assert found is None or (found.low is not None and found.groups == 100)
    return None if found is None else found.value


def test_a_shift_is_seen_and_one_source_is_not() -> None:
    shifted, alike = ([_auc(shift, seed) for seed in range(6)] for shift in (1.5, 0.0))
    assert all(area is not None and area > 0.9 for area in shifted)
    assert np.mean([area for area in alike if area is not None]) == pytest.approx(0.5, abs=0.1)


def test_images_of_one_patient_do_not_tell_the_others_side() -> None:
    """Pairs of equal images: only an SVM that sees the twin of an image knows its side."""
    rng = np.random.default_rng(0)
    rows = l2_normalise(np.repeat(rng.normal(size=(50, 200)), 2, axis=0).astype(np.float32))
    is_test = np.repeat(np.arange(50) >= 25, 2)
    gram, pairs = rows @ rows.T, [str(i // 2) for i in range(100)]
    by_patient = domain_auc(gram, is_test, pairs, 1.0, 1e-6, 0)
    by_image = domain_auc(gram, is_test, [str(i) for i in range(100)], 1.0, 1e-6, 0)
    assert by_patient is not None
    assert by_image is not None
    assert by_patient.value < 0.7 < 0.9 < by_image.value
    assert by_patient.groups == 50


def test_sides_of_one_patient_each_have_no_folds() -> None:
    assert _auc(1.0, 0, ["a"] * 60 + ["b"] * 40) is None
